//! The signatures of the calls of policy tests, made with keys that last for one run.

use std::sync::Arc;

use fapi::UnixTime;
use fapi::jose::jwe::{DecryptionKeys, EncryptionKey, encrypt};
use fapi::jose::keys::{Algorithm, KeySet};
use fapi::jose::signing::PrivateKey;
use fapi::jose::signing_keys::NamedKey;
use fapi::route::{Origin, Routes};
use fapi::signature::component::Component;
use fapi::signature::create::sign;
use fapi::signature::digest::{CONTENT_DIGEST, DigestAlgorithm, content_digest};
use fapi::signature::form::{Form, JwtForm};
use fapi::signature::input::{SIGNATURE, SIGNATURE_INPUT, SignatureParameters};
use fapi::signature::message::Message;
use fapi::signature::profile::Content;
use fapi::signature::rules::RequestRules;
use fapi::signed_body::detached::{self, X_JWS_SIGNATURE};
use fapi::signed_body::directory::DirectoryName;
use fapi::signed_body::jwt_body::{self, ValidBetween};
use http::request::Parts;
use http::{HeaderValue, header};
use serde_json::{Value, json};
use uuid::Uuid;

use super::token::Unable;
use crate::gateway::request_view;
use crate::signatures::Listed;

/// The keys that every client of the tests signs with.
pub(super) struct RequestSigner {
    key: PrivateKey,
    /// For the forms of ecosystems, if a route has one.
    rsa: Option<NamedKey>,
    client: Arc<Listed>,
}

/// A request, and its content.
pub(super) struct Call {
    pub(super) request: Parts,
    pub(super) body: Vec<u8>,
}

impl RequestSigner {
    /// Keys for all routes.
    pub(super) fn new(routes: &Routes) -> Result<Self, Unable> {
        let key = PrivateKey::generate(Algorithm::EdDsa).map_err(|_| Unable)?;
        let mut jwk = key.public_jwk().map_err(|_| Unable)?;
        jwk.insert("kid".to_owned(), KEY_ID.into());
        let needs_rsa = routes.iter().filter_map(|route| route.policy()?.signature()?.request.as_ref());
        let needs_rsa = needs_rsa.into_iter().any(|rules| rules.form.signs_content_alone());
        let (mut jwks, mut rsa) = (vec![jwk], None);
        if needs_rsa {
            let key = PrivateKey::generate(Algorithm::Ps256).map_err(|_| Unable)?;
            let mut jwk = key.public_jwk().map_err(|_| Unable)?;
            jwk.insert("kid".to_owned(), RSA_KEY_ID.into());
            jwks.push(jwk);
            rsa = Some(NamedKey::new(key, Some(RSA_KEY_ID)).map_err(|_| Unable)?);
        }
        let keys = KeySet::parse(json!({ "keys": jwks }).to_string().as_bytes()).map_err(|_| Unable)?;
        let name = DirectoryName { org_id: Some(ORGANIZATION.into()), software_id: Some(SOFTWARE.into()) };
        Ok(Self { key, rsa, client: Listed { keys: Arc::new(keys), name }.into() })
    }

    /// The client that everybody is.
    pub(super) const fn client(&self) -> &Arc<Listed> {
        &self.client
    }

    /// The call with a signature as the rules of its route want it; as it is, if it has what such a signature is made of.
    ///
    /// # Errors
    /// What a test cannot have, in words.
    pub(super) fn signed(
        &self,
        (request, body): (&Parts, &[u8]),
        origin: &Origin,
        client_id: &str,
        rules: &RequestRules,
        now: UnixTime,
    ) -> Result<Call, String> {
        let plain = || Call { request: request.clone(), body: body.to_vec() };
        let nothing_to_sign = rules.form.signs_content_alone() && body.is_empty();
        if rules.form.is_claimed_by(&request.headers) || nothing_to_sign {
            return Ok(plain());
        }
        match &rules.form {
            Form::Http(_) => {
                let request = self.by_fields(request, origin, body, rules, now).map_err(|error| error.to_string())?;
                Ok(Call { request, ..plain() })
            }
            Form::DetachedJws(form) => {
                let key = self.rsa.as_ref().ok_or_else(|| Unable.to_string())?;
                let (issuer, trust_anchor) = (format!("{ORGANIZATION}/{SOFTWARE}"), form.trust_anchors.first());
                let trust_anchor = trust_anchor.map_or("", |domain| &**domain);
                let claims = detached::Claims { issuer: &issuer, trust_anchor, issued_at: now };
                let value = detached::sign(body, &claims, detached::Form::Encoded, key);
                let mut call = plain();
                call.request.headers.insert(X_JWS_SIGNATURE, value.map_err(|error| error.to_string())?);
                Ok(call)
            }
            Form::JwtBody(form) => {
                let key = self.rsa.as_ref().ok_or_else(|| Unable.to_string())?;
                let mut call = plain();
                let jwt = jwt(form.jwt_form, request, origin, body, client_id, key, now)?;
                let jwt = match &form.decryption_keys {
                    Some(keys) => encrypted(&jwt, keys).map_err(|error| error.to_string())?,
                    None => jwt,
                };
                call.body = jwt.into_bytes();
                call.request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jwt"));
                call.request.headers.insert(header::CONTENT_LENGTH, call.body.len().into());
                Ok(call)
            }
            Form::Seal(_) => Err("policy tests have no certificate for seals, so that the call cannot be judged; write `signed: false`, or test it with `verify`".to_owned()),
        }
    }

    fn by_fields(
        &self,
        request: &Parts,
        origin: &Origin,
        body: &[u8],
        rules: &RequestRules,
        now: UnixTime,
    ) -> Result<Parts, Unable> {
        let mut signed = request.clone();
        let content = content_of(body);
        if content == Content::Present && !signed.headers.contains_key(CONTENT_DIGEST) {
            let digest = content_digest(DigestAlgorithm::Sha256, body);
            signed.headers.insert(CONTENT_DIGEST, HeaderValue::try_from(digest).map_err(|_| Unable)?);
        }
        let profile = rules.profile(&signed.headers, content).ok_or(Unable)?;
        let parameters = SignatureParameters {
            created: Some(now),
            key_id: Some(KEY_ID.into()),
            tag: profile.tag,
            ..SignatureParameters::default()
        };
        let path = [origin.prefix(), signed.uri.path()].concat();
        let message = Message::Request(request_view(&signed, origin, &path));
        let sign = |components: &[Component]| sign(&message, "sig", components, &parameters, &self.key);
        // What it has to cover and does not have is a fault of the call, which the gateway finds.
        let covered: Vec<Component> =
            profile.required.iter().filter(|one| sign(std::slice::from_ref(one)).is_ok()).cloned().collect();
        let fields = sign(&covered).map_err(|_| Unable)?;
        for (name, value) in [(SIGNATURE_INPUT, fields.signature_input), (SIGNATURE, fields.signature)] {
            signed.headers.insert(name, HeaderValue::try_from(value).map_err(|_| Unable)?);
        }
        Ok(signed)
    }
}

/// A body as its ecosystem has it: what has the claim already is signed as it is, and everything else becomes it.
fn jwt(
    jwt_form: JwtForm,
    request: &Parts,
    origin: &Origin,
    body: &[u8],
    client_id: &str,
    key: &NamedKey,
    now: UnixTime,
) -> Result<String, String> {
    let value: Value =
        serde_json::from_slice(body).map_err(|_| "a body that is not JSON cannot be signed".to_owned())?;
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?.trim();
    let (issuer, claim, valid) = match jwt_form {
        JwtForm::Brazil => (ORGANIZATION, "data", None),
        JwtForm::Gulf => (client_id, "message", Some(ValidBetween { not_before: now, expires: now.plus(60) })),
    };
    let content = if value.get(claim).is_some() {
        jwt_body::Content::Members(text)
    } else {
        jwt_body::Content::Claim(claim, text)
    };
    let (audience, jti) = ([origin.as_str(), request.uri.path()].concat(), Uuid::new_v4().to_string());
    let claims = jwt_body::Claims { issuer, audience: &audience, jti: &jti, issued_at: now, valid };
    jwt_body::sign_content(&claims, content, key).map_err(|error| error.to_string())
}

/// The JWT as its route requires it to be encrypted.
fn encrypted(jwt: &str, keys: &DecryptionKeys) -> Result<String, Unable> {
    let key = keys.first().ok_or(Unable)?;
    let key = EncryptionKey::from_jwk(&key.public_jwk()).map_err(|_| Unable)?;
    encrypt(jwt.as_bytes(), &key, Some("JWT")).map_err(|_| Unable)
}

/// Whether a call has content.
pub(super) const fn content_of(body: &[u8]) -> Content {
    if body.is_empty() { Content::Absent } else { Content::Present }
}

/// The names of the keys.
const KEY_ID: &str = "policy-tests";
const RSA_KEY_ID: &str = "policy-tests-rsa";

/// The client in a directory.
const ORGANIZATION: &str = "policy-tests";
const SOFTWARE: &str = "client";
