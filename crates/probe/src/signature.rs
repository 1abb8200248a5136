//! Signatures over requests, made when these are sent, and over responses (RFC 9421, FAPI 2.0 HTTP Signatures).
//!
//! One over a request covers its access token and its proof, which are not there before.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fapi::UnixTime;
use fapi::jose::keys::{Algorithm, KeySet};
use fapi::signature::algorithm::registered_name;
use fapi::signature::base::signature_base;
use fapi::signature::component::Component;
use fapi::signature::create::serialized;
use fapi::signature::digest::ClaimedDigest;
use fapi::signature::error::SignatureError;
use fapi::signature::input::SignatureParameters;
use fapi::signature::message::{ExternalUri, Message, RequestView, ResponseView};
use fapi::signature::profile::{Content, Dpop, Profile};
use fapi::signature::verify::{VerifiedSignature, verify};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sandbox::keys::{KeyKind, SigningKey};
use uuid::Uuid;

use crate::exchange::{Field, Response};
use crate::sent::Sent;
use crate::settings::Target;

/// The label of a signature that is not written otherwise.
pub const LABEL: &str = "sig";

/// Changes what is signed, away from what is sent.
pub type Change = Arc<dyn Fn(&mut Draft) + Send + Sync>;

/// Changes `Signature-Input` and `Signature` after signing.
pub type Rewrite = Arc<dyn Fn(&mut Vec<Field>) + Send + Sync>;

/// A signature to be made when its request is sent.
#[derive(Clone)]
pub struct PlannedSignature {
    /// The key that signs, and whose `kid` is `keyid`.
    pub key: SigningKey,
    /// What is done with it before it is signed.
    pub change: Change,
    /// What is done with its fields.
    pub rewrite: Rewrite,
}

/// A request as a signature sees it.
pub struct Request<'r> {
    /// The method.
    pub method: &'r str,
    /// The host and the port, without the default one.
    pub authority: &'r str,
    /// Path and query.
    pub target: &'r str,
    /// Every field.
    pub fields: &'r [Field],
    /// Whether there is content.
    pub has_content: bool,
}

/// What is to be signed; good until it is changed.
pub struct Draft {
    /// The method.
    pub method: String,
    /// The host and the port, without the default one.
    pub authority: String,
    /// Path and query.
    pub target: String,
    /// The fields.
    pub headers: HeaderMap,
    /// What is covered: what FAPI requires for such a request.
    pub components: Vec<Component>,
    /// `created`, `nonce`, `keyid` and `tag`.
    pub parameters: SignatureParameters,
    /// The key that signs.
    pub key: SigningKey,
}

impl PlannedSignature {
    /// A good one.
    pub fn new(key: SigningKey) -> Self {
        Self { key, change: Arc::new(|_| {}), rewrite: Arc::new(|_| {}) }
    }

    /// The fields with the signature. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// [`SignatureError`] if it covers what is not there or cannot be written.
    pub fn fields(&self, request: &Request<'_>, now: u64) -> Result<Vec<Field>, SignatureError> {
        let mut draft = Draft::of(request, &self.key, now);
        (self.change)(&mut draft);
        let mut fields = draft.fields()?;
        (self.rewrite)(&mut fields);
        Ok(fields)
    }
}

impl Draft {
    fn of(request: &Request<'_>, key: &SigningKey, now: u64) -> Self {
        let headers = map_of(request.fields);
        let dpop = if headers.contains_key("dpop") { Dpop::Present } else { Dpop::Absent };
        let content = if request.has_content { Content::Present } else { Content::Absent };
        let profile = Profile::fapi2_request(dpop, content);
        let parameters = SignatureParameters {
            created: Some(UnixTime(now)),
            // Two signatures of Ed25519 over the same in one second are the same, and the second one a replay.
            nonce: Some(Uuid::new_v4().to_string().into()),
            key_id: Some(key.kid().into()),
            tag: profile.tag,
            ..SignatureParameters::default()
        };
        Self {
            method: request.method.to_owned(),
            authority: request.authority.to_owned(),
            target: request.target.to_owned(),
            headers,
            components: profile.required,
            parameters,
            key: key.clone(),
        }
    }

    /// Signs another value of a field than the one that is sent.
    pub fn field(&mut self, name: &'static str, value: &'static str) {
        self.headers.insert(name, HeaderValue::from_static(value));
    }

    /// Leaves out a component.
    pub fn uncover(&mut self, identifier: &str) {
        self.components.retain(|component| component.to_string() != identifier);
    }

    fn fields(&self) -> Result<Vec<Field>, SignatureError> {
        let method = Method::from_bytes(self.method.as_bytes())
            .map_err(|_| SignatureError::NotWritable { what: "the method" })?;
        let view = view(&method, &self.authority, &self.target, &self.headers);
        let covered = serialized(&self.components, &self.parameters)?;
        let base = signature_base(&Message::Request(view), &self.components, &covered)?;
        let named = self.parameters.algorithm.as_deref() == Some(algorithm_name(self.key.kind()));
        let signature = STANDARD.encode(self.key.http_signature(&base, named));
        Ok(vec![
            ("Signature-Input".to_owned(), format!("{LABEL}={covered}")),
            ("Signature".to_owned(), format!("{LABEL}=:{signature}:")),
        ])
    }
}

/// The name of the algorithm with which such a key signs messages.
pub fn algorithm_name(kind: KeyKind) -> &'static str {
    registered_name(match kind {
        KeyKind::Es256 => Algorithm::Es256,
        KeyKind::Ps256 => Algorithm::Ps256,
        KeyKind::EdDsa => Algorithm::EdDsa,
    })
}

/// Verifies that a response is signed by one of the keys, with its content and with what it has to cover of the request.
///
/// # Errors
/// [`SignatureError`].
pub fn verify_response(
    sent: &Sent,
    target: &Target,
    response: &Response,
    keys: &KeySet,
    now: u64,
) -> Result<VerifiedSignature, SignatureError> {
    let method =
        Method::from_bytes(sent.method.as_bytes()).map_err(|_| SignatureError::NotWritable { what: "the method" })?;
    let (request, headers) = (map_of(&sent.fields), map_of(&response.fields));
    let content = if response.body.is_empty() { Content::Absent } else { Content::Present };
    let profile = Profile::fapi2_response(&request, content);
    let authority = target.authority();
    let view = view(&method, &authority, &sent.target, &request);
    let message = Message::Response(ResponseView { status: response.status, headers: &headers, request: view });
    let signed = verify(&message, &profile, keys, UnixTime(now))?;
    if !headers.contains_key("content-digest") && response.body.is_empty() {
        return signed.without_content();
    }
    let mut hasher = ClaimedDigest::read(&headers)?.hasher();
    hasher.update(&response.body);
    signed.with_content(&hasher.finish()?)
}

fn view<'m>(method: &'m Method, authority: &'m str, target: &'m str, headers: &'m HeaderMap) -> RequestView<'m> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    RequestView { method, uri: ExternalUri { scheme: "https", authority, path, query }, target, headers }
}

/// The fields that are such; others stand in no signature.
fn map_of(fields: &[Field]) -> HeaderMap {
    let field = |(name, value): &Field| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in fields.iter().filter_map(field) {
        headers.append(name, value);
    }
    headers
}
