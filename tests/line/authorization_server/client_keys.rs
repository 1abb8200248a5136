//! Clients that publish their keys at a `jwks_uri`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use sandbox::https::Answer as Sent;
use sandbox::pki::Credential;
use sandbox::tokens::jwks;

use super::*;
use crate::support::DEADLINE;

const PUBLISHED: &str = "/clients/published";
const HANGING: &str = "/clients/hanging";

/// With clients that publish their keys at the host of the issuer, which has certificates of the test's authority.
async fn publishing() -> Stage {
    let section =
        |section: String| section.replace("directory: clients }", "directory: clients, trust_anchors: [ca.pem] }");
    Stage::in_scene(section, |scene| {
        let registered = |id: &str, path: &str, more: Value| {
            let mut document = json!({
                "client_id": id, "token_endpoint_auth_method": "private_key_jwt", "redirect_uris": [CALLBACK],
                "jwks_uri": format!("{}{path}", scene.issuer()),
            });
            for (name, value) in more.as_object().expect("an object") {
                document[name] = value.clone();
            }
            document.to_string()
        };
        let files = [
            ("published", registered("published", PUBLISHED, json!({}))),
            ("hanging", registered("hanging", HANGING, json!({}))),
            (
                "signing",
                registered(
                    "signing",
                    PUBLISHED,
                    json!({
                        "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_subject_dn": "CN=client-1",
                        "require_signed_request_object": true,
                    }),
                ),
            ),
            (
                "certificate",
                registered(
                    "certificate",
                    PUBLISHED,
                    json!({ "token_endpoint_auth_method": "self_signed_tls_client_auth" }),
                ),
            ),
        ];
        files.iter().fold(scene, |scene, (name, document)| scene.file(&format!("clients/{name}.json"), document))
    })
    .await
}

impl Stage {
    fn publish(&self, keys: &[&SigningKey]) {
        self.world.issuer.script(PUBLISHED, Sent::json(StatusCode::OK, jwks(keys)));
    }

    fn reads(&self) -> usize {
        self.world.issuer.requests_to(PUBLISHED)
    }

    /// Pushes a good request of this client, which signs with this key; returns code and status.
    async fn push_as(&self, client: &str, key: &SigningKey) -> (String, u16) {
        let asked = changed(&self.pushed(), "client_id", client);
        let pushed = changed(&asked, "client_assertion", &self.assertion_by(key, client, &json!({})));
        let response = self.post("/par", &pushed, &[]).await;
        (self.code(&response), response.status().as_u16())
    }

    /// The same for a client that presents the certificate of `client-1`.
    async fn push_with_certificate(&self, parameters: &[(String, String)]) -> (String, u16) {
        let response = self.world.client().send(posted("/par", parameters, &[])).await.expect("the gateway answers");
        (self.code(&response), response.status().as_u16())
    }
}

fn ok() -> (String, u16) {
    ("ok".into(), 201)
}

fn refused(code: &str, status: u16) -> (String, u16) {
    (code.into(), status)
}

fn es256(kid: &str) -> SigningKey {
    SigningKey::generate(KeyKind::Es256, kid)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_known_by_the_keys_that_it_publishes_and_by_new_ones_soon() {
    let stage = publishing().await;
    let (first, second, stranger) = (es256("first"), es256("second"), es256("first"));
    stage.publish(&[&first]);
    assert_eq!(stage.reads(), 0, "nobody has come yet");
    for _ in 0..2 {
        assert_eq!(stage.push_as("published", &first).await, ok());
        assert_eq!(stage.reads(), 1);
    }
    stage.publish(&[&second]);
    stage.server.take();
    let forged = refused("client_authentication_refused", 401);
    for key in [&stranger, &second] {
        assert_eq!(stage.push_as("published", key).await, forged, "too soon after the last read");
    }
    assert_eq!((stage.reads(), stage.server.take().len()), (1, 0));
    stage.world.clock.advance(30);
    assert_eq!(stage.push_as("published", &second).await, ok(), "it is read again for it");
    assert_eq!(stage.reads(), 2);
    stage.server.take();
    for key in [&stranger, &first] {
        assert_eq!(stage.push_as("published", key).await, forged);
    }
    assert_eq!((stage.reads(), stage.server.take().len()), (2, 0));
    stage.world.reload(1, |yaml| yaml.replace("access_token_lifetime: 10m", "access_token_lifetime: 5m")).await;
    assert_eq!(stage.push_as("published", &second).await, ok());
    assert_eq!(stage.reads(), 2, "a reload keeps what was read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_down_is_not_the_fault_of_its_client_and_of_no_other() {
    let stage = publishing().await;
    let key = es256("first");
    stage.world.issuer.script(PUBLISHED, Sent::status(StatusCode::SERVICE_UNAVAILABLE));
    stage.world.issuer.script(HANGING, Sent::hanging());
    let unavailable = refused("keys_unavailable", 503);
    for _ in 0..2 {
        assert_eq!(stage.push_as("published", &key).await, unavailable);
    }
    assert_eq!((stage.reads(), stage.server.take().len()), (1, 0), "there is a pause after a failure");
    {
        let mut hanging = std::pin::pin!(stage.push_as("hanging", &key));
        tokio::select! {
            biased;
            answer = &mut hanging => panic!("the host does not answer: {answer:?}"),
            called = stage.world.issuer.wait_for(HANGING, 1, DEADLINE) => assert!(called.is_ok()),
        }
        assert_eq!(stage.push_as(CLIENT, &stage.key).await, ok(), "another client");
    }
    stage.publish(&[&key]);
    stage.world.clock.advance(30);
    assert_eq!(stage.push_as("published", &key).await, ok(), "control: the host is up");
    // With keys, an outage is none; but nobody knows whether the client has the other one by now.
    stage.world.issuer.script(PUBLISHED, Sent::status(StatusCode::SERVICE_UNAVAILABLE));
    stage.world.clock.advance(30);
    assert_eq!(stage.push_as("published", &es256("other")).await, unavailable);
    assert_eq!(stage.push_as("published", &es256("first")).await, refused("client_authentication_refused", 401));
    assert_eq!(stage.push_as("published", &key).await, ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_object_is_verified_with_keys_that_are_published() {
    let stage = publishing().await;
    let (first, second) = (es256("first"), es256("second"));
    stage.publish(&[&first]);
    let object = |key: &SigningKey| {
        let now = stage.world.clock.now();
        let claims = json!({
            "iss": "signing", "client_id": "signing", "aud": ORIGIN, "nbf": now, "exp": now + 60,
            "response_type": "code", "redirect_uri": CALLBACK, "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        });
        let header = json!({ "alg": "ES256", "typ": "oauth-authz-req+jwt", "kid": key.kid() });
        owned(&[("client_id", "signing"), ("request", &key.sign(&header, &claims))])
    };
    let invalid = refused("request_object_invalid", 400);
    let anonymous = stage.post("/par", &object(&first), &[]).await;
    assert_eq!((stage.code(&anonymous), stage.reads()), ("client_authentication_refused".into(), 0));
    assert_eq!(stage.push_with_certificate(&object(&first)).await, ok());
    assert_eq!(stage.push_with_certificate(&object(&second)).await, invalid);
    stage.publish(&[&second]);
    stage.world.clock.advance(30);
    assert_eq!(stage.push_with_certificate(&object(&second)).await, ok());
    assert_eq!(stage.push_with_certificate(&object(&first)).await, invalid);
    assert_eq!(stage.reads(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_05_a_certificate_is_registered_where_it_is_published() {
    let stage = publishing().await;
    let publish = |credential: &Credential| {
        let x5c = STANDARD.encode(&credential.chain_der[0]);
        let set = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "use": "sig", "x5c": [x5c] }] });
        stage.world.issuer.script(PUBLISHED, Sent::json(StatusCode::OK, set));
    };
    let asked: Vec<_> = changed(&stage.pushed(), "client_id", "certificate")
        .into_iter()
        .filter(|(name, _)| !name.starts_with("client_assertion"))
        .collect();
    publish(&stage.world.c2);
    assert_eq!(stage.push_with_certificate(&asked).await, refused("client_authentication_refused", 401));
    publish(&stage.world.c1);
    stage.world.clock.advance(30);
    assert_eq!(stage.push_with_certificate(&asked).await, ok());
    assert_eq!(stage.reads(), 2);
}
