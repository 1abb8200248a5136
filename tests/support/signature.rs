//! Clients that sign their requests (RFC 9421), and what they make of signed responses.

use bytes::Bytes;
use fapi::UnixTime;
use fapi::jose::keys::{Algorithm, KeySet};
use fapi::jose::signing::PrivateKey;
use fapi::signature::component::Component;
use fapi::signature::create::sign;
use fapi::signature::digest::{CONTENT_DIGEST, ClaimedDigest, DigestAlgorithm, content_digest};
use fapi::signature::input::{SIGNATURE, SIGNATURE_INPUT, SignatureParameters};
use fapi::signature::message::{ExternalUri, Message, RequestView, ResponseView};
use fapi::signature::profile::{Content, Dpop, Profile};
use fapi::signature::verify::{VerifiedSignature, verify};
use http::{HeaderValue, Request, Response};
use serde_json::{Value, json};

/// A key that signs messages.
pub struct MessageKey {
    pub key: PrivateKey,
    pub key_id: String,
}

/// What is signed, and how; by default what FAPI 2.0 HTTP Signatures says.
pub struct Wanted {
    pub components: Option<Vec<Component>>,
    pub parameters: SignatureParameters,
    pub label: &'static str,
}

impl MessageKey {
    pub fn new(algorithm: Algorithm, key_id: &str) -> Self {
        Self { key: PrivateKey::generate(algorithm).unwrap(), key_id: key_id.to_owned() }
    }

    /// The public key.
    pub fn jwk(&self) -> Value {
        let mut jwk = self.key.public_jwk().unwrap();
        jwk.insert("kid".to_owned(), self.key_id.as_str().into());
        jwk.into()
    }

    /// The set with this key alone.
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.jwk()] })
    }

    /// The request, signed as FAPI 2.0 says at this time.
    pub fn sign(&self, request: Request<Bytes>, now: u64) -> Request<Bytes> {
        self.sign_with(request, now, |_| {})
    }

    /// The request, signed in another way.
    pub fn sign_with(&self, mut request: Request<Bytes>, now: u64, adjust: impl FnOnce(&mut Wanted)) -> Request<Bytes> {
        let content = if request.body().is_empty() { Content::Absent } else { Content::Present };
        if content == Content::Present && !request.headers().contains_key(CONTENT_DIGEST) {
            let digest = content_digest(DigestAlgorithm::Sha256, request.body());
            request.headers_mut().insert(CONTENT_DIGEST, HeaderValue::try_from(digest).unwrap());
        }
        let dpop = if request.headers().contains_key("dpop") { Dpop::Present } else { Dpop::Absent };
        let profile = Profile::fapi2_request(dpop, content);
        let mut wanted = Wanted {
            components: None,
            parameters: SignatureParameters {
                created: Some(UnixTime(now)),
                key_id: Some(self.key_id.as_str().into()),
                tag: profile.tag,
                ..SignatureParameters::default()
            },
            label: "sig",
        };
        adjust(&mut wanted);
        let components = wanted.components.unwrap_or(profile.required);
        let message = Message::Request(view(&request));
        let fields = sign(&message, wanted.label, &components, &wanted.parameters, &self.key).unwrap();
        for (name, value) in [(SIGNATURE_INPUT, fields.signature_input), (SIGNATURE, fields.signature)] {
            request.headers_mut().append(name, HeaderValue::try_from(value).unwrap());
        }
        request
    }
}

/// The components with these identifiers.
pub fn components(identifiers: &[&str]) -> Vec<Component> {
    identifiers.iter().map(|text| text.parse().unwrap()).collect()
}

fn view(request: &Request<Bytes>) -> RequestView<'_> {
    let uri = request.uri();
    let target = uri.path_and_query().unwrap().as_str();
    let authority = uri.authority().unwrap().as_str();
    let uri = ExternalUri { scheme: "https", authority, path: uri.path(), query: uri.query() };
    RequestView { method: request.method(), uri, target, headers: request.headers() }
}

/// The signature of a response to this request, if it holds at this time with these keys, content included.
pub fn verified(response: &Response<Bytes>, request: &Request<Bytes>, keys: &Value, now: u64) -> VerifiedSignature {
    let keys = KeySet::parse(keys.to_string().as_bytes()).unwrap();
    let content = if response.headers().contains_key(CONTENT_DIGEST) { Content::Present } else { Content::Absent };
    let profile = Profile::fapi2_response(request.headers(), content);
    let view = ResponseView { status: response.status(), headers: response.headers(), request: view(request) };
    let signed = verify(&Message::Response(view), &profile, &keys, UnixTime(now)).unwrap();
    if content == Content::Absent {
        return signed.without_content().unwrap();
    }
    let mut hasher = ClaimedDigest::read(response.headers()).unwrap().hasher();
    hasher.update(response.body());
    signed.with_content(&hasher.finish().unwrap()).unwrap()
}
