//! A world whose payments are signed in the form of an ecosystem, and a client that signs so.

use bytes::Bytes;
use fapi::code::Code;
use fapi::jose::keys::{Algorithm, KeySet};
use fapi::jose::signing::PrivateKey;
use fapi::jose::signing_keys::NamedKey;
use http::{Method, Request, Response, header};
use sandbox::tokens::{KeyKind, SigningKey};
use serde_json::{Value, json};

use super::with_signatures;
use crate::support::signature::MessageKey;
use crate::support::{ORIGIN, Scene, World};

/// The client in the directory.
pub const ORGANIZATION: &str = "5f69111c-5549-4d4f-8a4b-c4fc7c5c4f01";
pub const SOFTWARE: &str = "software-1";

/// The gateway in the directory.
pub const BANK: &str = "bank-organization";

/// The endpoint of payments, as clients know it.
pub const PAYMENTS: &str = "https://localhost/payments";

/// A world and its client.
pub struct Ecosystem {
    pub world: World,
    pub key: NamedKey,
    /// The gateway's own keys.
    pub keys: KeySet,
}

/// A key for PS256 of this name, and its public part.
pub fn rsa_key(key_id: &str) -> (NamedKey, Value) {
    let key = MessageKey { key: PrivateKey::generate(Algorithm::Ps256).unwrap(), key_id: key_id.to_owned() };
    let jwk = key.jwk();
    (NamedKey::new(key.key, Some(key_id)).unwrap(), jwk)
}

impl Ecosystem {
    /// A world where the routes of payments and accounts say this of signatures, and the client is known by these names beside its
    /// keys.
    pub async fn with(signature: &str, names: Value, adjust: impl FnOnce(Scene) -> Scene) -> Self {
        let (key, jwk) = rsa_key("tpp-1");
        let own = SigningKey::generate(KeyKind::Ps256, "own");
        let mut client = names;
        client["keys"] = json!([jwk]);
        let (keys, issuer) = (json!({ "client-1": client }), format!("issuer: {BANK}, "));
        let world = World::with(|scene| adjust(with_signatures(scene, signature, &keys, &own, &issuer))).await;
        let keys = KeySet::parse(json!({ "keys": [own.jwk()] }).to_string().as_bytes()).unwrap();
        Self { world, key, keys }
    }

    pub fn now(&self) -> u64 {
        self.world.clock.now()
    }

    pub fn request(&self, method: Method, path: &str, content_type: &str, body: impl Into<Bytes>) -> Request<Bytes> {
        self.request_with(&self.world.sign(&self.world.token()), method, path, content_type, body)
    }

    /// The same with this token.
    pub fn request_with(
        &self,
        token: &str,
        method: Method,
        path: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Request<Bytes> {
        Request::builder()
            .method(method)
            .uri(format!("{ORIGIN}{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, content_type)
            .body(body.into())
            .unwrap()
    }

    /// A payment of the client, which is not signed yet.
    pub fn payment(&self, body: impl Into<Bytes>) -> Request<Bytes> {
        self.request(Method::POST, "/payments", "application/json", body)
    }

    pub async fn send(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.world.client().send(request).await.expect("the gateway answers")
    }

    /// Sends a request that is accepted; returns the body that the upstream got.
    pub async fn accepted(&self, request: Request<Bytes>, what: &str) -> Bytes {
        let response = self.send(request).await;
        assert!(response.status().is_success(), "{what}: {}", self.world.gateway.record_of(&response));
        self.world.accounts.requests().pop().unwrap().body
    }

    /// Expects that a request is refused with this status and code, and that nothing of it goes up.
    pub async fn refused(&self, request: Request<Bytes>, status: u16, code: Code, what: &str) -> Response<Bytes> {
        let before = self.world.accounts.server().heads();
        let response = self.send(request).await;
        let record = self.world.gateway.record_of(&response);
        assert_eq!(record["code"], code.as_str(), "{what}: {record}");
        assert_eq!((response.status().as_u16(), &record["status"]), (status, &json!(status)), "{what}");
        assert_eq!(self.world.accounts.server().heads(), before, "{what}: nothing may reach the upstream");
        if status != 401 {
            assert!(response.headers().get(header::WWW_AUTHENTICATE).is_none(), "{what}");
        }
        assert!(response.headers().get("accept-signature").is_none(), "{what}");
        response
    }
}
