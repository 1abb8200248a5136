//! The signatures of the calls of policy tests, made with a key that lasts for one run.

use std::sync::Arc;

use fapi::UnixTime;
use fapi::jose::keys::{Algorithm, KeySet};
use fapi::jose::signing::PrivateKey;
use fapi::route::Origin;
use fapi::signature::component::Component;
use fapi::signature::create::sign;
use fapi::signature::digest::{CONTENT_DIGEST, DigestAlgorithm, content_digest};
use fapi::signature::input::{SIGNATURE, SIGNATURE_INPUT, SignatureParameters};
use fapi::signature::message::Message;
use fapi::signature::profile::Content;
use fapi::signature::rules::RequestRules;
use http::HeaderValue;
use http::request::Parts;
use serde_json::json;

use super::token::Unable;
use crate::gateway::request_view;

/// The key that every client of the tests signs with.
pub(super) struct RequestSigner {
    key: PrivateKey,
    keys: Arc<KeySet>,
}

impl RequestSigner {
    pub(super) fn new() -> Result<Self, Unable> {
        let key = PrivateKey::generate(Algorithm::EdDsa).map_err(|_| Unable)?;
        let mut jwk = key.public_jwk().map_err(|_| Unable)?;
        jwk.insert("kid".to_owned(), KEY_ID.into());
        let keys = KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes()).map_err(|_| Unable)?;
        Ok(Self { key, keys: Arc::new(keys) })
    }

    /// The public key, as everybody's.
    pub(super) const fn keys(&self) -> &Arc<KeySet> {
        &self.keys
    }

    /// The request with a signature as the rules of its route want it; as it is, if it has what such a signature is made of.
    pub(super) fn signed(
        &self,
        request: &Parts,
        origin: &Origin,
        body: &[u8],
        rules: &RequestRules,
        now: UnixTime,
    ) -> Result<Parts, Unable> {
        let mut signed = request.clone();
        if [SIGNATURE, SIGNATURE_INPUT].iter().any(|name| request.headers.contains_key(*name)) {
            return Ok(signed);
        }
        let content = content_of(body);
        if content == Content::Present && !signed.headers.contains_key(CONTENT_DIGEST) {
            let digest = content_digest(DigestAlgorithm::Sha256, body);
            signed.headers.insert(CONTENT_DIGEST, HeaderValue::try_from(digest).map_err(|_| Unable)?);
        }
        let profile = rules.profile(&signed.headers, content);
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

/// Whether a call has content.
pub(super) const fn content_of(body: &[u8]) -> Content {
    if body.is_empty() { Content::Absent } else { Content::Present }
}

/// The name of the key.
const KEY_ID: &str = "policy-tests";
