//! Routes that look at signatures of requests, and sign their responses (RFC 9421, FAPI 2.0 HTTP Signatures).

mod content;
mod detached;
mod ecosystem;
mod errors;
mod evidence;
mod held;
mod jwt_bodies;
mod keys;
mod misuse;
mod requests;
mod responses;
mod seals;

use std::collections::BTreeSet;

use bytes::Bytes;
use fapi::code::Code;
use fapi::jose::keys::Algorithm;
use http::{Method, Request, Response, header};
use sandbox::tokens::SigningKey;
use serde_json::{Value, json};

use crate::support::signature::MessageKey;
use crate::support::{ORIGIN, Scene, World};

/// The codes whose cases are here.
pub(super) fn codes() -> BTreeSet<Code> {
    let of_requests = Code::ALL.iter().copied().filter(|code| code.is_about_signatures());
    of_requests.chain([Code::RevocationStatusUnknown, Code::ResponseNotSigned]).collect()
}

/// A world whose payments are signed, and a client that signs.
struct Signed {
    world: World,
    key: MessageKey,
    /// The gateway's own key set.
    keys: Value,
}

/// A scene in which the routes of payments and accounts say this of signatures, with the keys of clients and the gateway's own, of
/// which `signing` says this too.
fn with_signatures(scene: Scene, signature: &str, keys: &Value, own: &SigningKey, of_signing: &str) -> Scene {
    let sections = format!(
        "client_keys: {{ tpps: {{ file: tpps.json }} }}\nsigning: {{ {of_signing}keys: [{{ private_key: signing.pem, key_id: own }}] }}\n"
    );
    let saying = |scene: Scene, scopes: &str| scene.replace(scopes, &format!("    signature: {signature}\n{scopes}"));
    let scene = saying(saying(scene, "    scopes: [accounts]\n"), "    scopes: { any: [payments, accounts] }\n");
    scene
        .file("tpps.json", &keys.to_string())
        .file("signing.pem", &own.private_key_pem())
        .replace("upstreams:\n", &format!("{sections}upstreams:\n"))
}

/// What a route says whose requests have to be signed.
const REQUIRED: &str = "{ request: required, keys: tpps }";

impl Signed {
    async fn start() -> Self {
        Self::with(REQUIRED, |scene| scene).await
    }

    /// The same where the route of payments, and that of accounts, say this.
    async fn with(signature: &str, adjust: impl FnOnce(Scene) -> Scene) -> Self {
        let key = MessageKey::new(Algorithm::Es256, "tpp-1");
        let own = SigningKey::generate(sandbox::tokens::KeyKind::Es256, "own");
        let keys = json!({ "client-1": key.jwks() });
        let keys_of_gateway = json!({ "keys": [own.jwk()] });
        let world = World::with(|scene| adjust(with_signatures(scene, signature, &keys, &own, ""))).await;
        Self { world, key, keys: keys_of_gateway }
    }

    fn now(&self) -> u64 {
        self.world.clock.now()
    }

    /// A payment of the client, which is not signed yet.
    fn payment(&self, body: impl Into<Bytes>) -> Request<Bytes> {
        self.request(Method::POST, "/payments", body)
    }

    fn request(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Request<Bytes> {
        let token = self.world.sign(&self.world.token());
        Request::builder()
            .method(method)
            .uri(format!("{ORIGIN}{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.into())
            .unwrap()
    }

    /// The same, signed as it has to be.
    fn signed_payment(&self) -> Request<Bytes> {
        self.key.sign(self.payment(PAYMENT), self.now())
    }

    async fn send(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.world.client().send(request).await.expect("the gateway answers")
    }

    /// The status, and the code of the record; `ok` if it has none.
    async fn judge(&self, request: Request<Bytes>) -> (u16, String) {
        self.world.judge(request).await
    }

    /// Expects that a request is refused with this code, and that nothing of it goes up.
    async fn refused(&self, request: Request<Bytes>, code: Code, what: &str) -> Response<Bytes> {
        let before = self.world.accounts.server().heads();
        let response = self.send(request).await;
        let record = self.world.gateway.record_of(&response);
        assert_eq!(record["code"], code.as_str(), "{what}: {record}");
        assert_eq!(response.status(), code.status(), "{what}");
        assert_eq!(self.world.accounts.server().heads(), before, "{what}: nothing may reach the upstream");
        response
    }
}

const PAYMENT: &str = r#"{"amount":"10.00","to":"DE02"}"#;
