//! Responses that the gateway signs (HSIG-16 to HSIG-19).

use http::{HeaderName, HeaderValue, Method, StatusCode};
use sandbox::https::Answer;

use super::{PAYMENT, Signed};
use crate::support::signature::verified;

const BOTH: &str = "{ request: required, response: sign, keys: tpps }";

#[tokio::test(flavor = "multi_thread")]
async fn hsig_16_a_response_is_signed_with_what_it_answers() {
    let signed = Signed::with(BOTH, |scene| scene).await;
    let request = signed.signed_payment();
    let sent = request.headers().clone();
    let response = signed.send(request).await;
    assert_eq!(response.status(), 201);
    let mut asked = signed.payment(PAYMENT);
    *asked.headers_mut() = sent;
    let signature = verified(&response, &asked, &signed.keys, signed.now());
    assert_eq!((signature.key_id(), signature.components().len()), ("own", 7));
    let get = signed.key.sign(signed.request(Method::GET, "/accounts/1001", ""), signed.now());
    let mut asked = signed.request(Method::GET, "/accounts/1001", "");
    asked.headers_mut().clone_from(get.headers());
    let response = signed.send(get).await;
    assert_eq!(verified(&response, &asked, &signed.keys, signed.now()).components().len(), 6);
    let head = signed.key.sign(signed.request(Method::HEAD, "/accounts/1001", ""), signed.now());
    let mut asked = signed.request(Method::HEAD, "/accounts/1001", "");
    asked.headers_mut().clone_from(head.headers());
    let response = signed.send(head).await;
    assert!(response.headers().get("content-digest").is_none(), "a response to HEAD has no content");
    assert_eq!(verified(&response, &asked, &signed.keys, signed.now()).components().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn hsig_18_refusals_are_signed_once_the_client_is_known() {
    let signed = Signed::with(BOTH, |scene| scene).await;
    let request = signed.payment(PAYMENT);
    let mut asked = signed.payment(PAYMENT);
    asked.headers_mut().clone_from(request.headers());
    let response = signed.send(request).await;
    assert_eq!(response.status(), 401);
    assert_eq!(verified(&response, &asked, &signed.keys, signed.now()).components().len(), 4);
    let scope = signed.world.sign(&signed.world.token().claim("scope", "openid"));
    let mut request = signed.payment(PAYMENT);
    request.headers_mut().insert("authorization", HeaderValue::try_from(format!("Bearer {scope}")).unwrap());
    asked.headers_mut().clone_from(request.headers());
    let response = signed.send(request).await;
    assert_eq!(response.status(), 403);
    verified(&response, &asked, &signed.keys, signed.now());
    let mut request = signed.payment(PAYMENT);
    request.headers_mut().remove("authorization");
    let response = signed.send(request).await;
    assert_eq!(response.status(), 401);
    assert!(response.headers().get("signature").is_none(), "anybody could ask for any number of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn hsig_17_the_digest_is_of_what_leaves_the_gateway_and_nothing_of_the_upstream_stands_for_it() {
    let upstream = sandbox::https::HttpServer::start(
        None,
        None,
        std::sync::Arc::new(|request| {
            let answer = match request.path() {
                "/accounts/empty" => Answer::status(StatusCode::NO_CONTENT),
                "/accounts/large" => Answer::text(StatusCode::OK, "x".repeat(4097)),
                "/accounts/most" => Answer::text(StatusCode::OK, "x".repeat(4096)),
                _ => Answer::text(StatusCode::OK, "coded")
                    .header(HeaderName::from_static("content-encoding"), HeaderValue::from_static("gzip")),
            };
            answer
                .header(HeaderName::from_static("signature"), HeaderValue::from_static("sig=:AAAA:"))
                .header(HeaderName::from_static("signature-input"), HeaderValue::from_static("sig=()"))
                .header(HeaderName::from_static("content-digest"), HeaderValue::from_static("x"))
        }),
    )
    .unwrap();
    let signed = Signed::with("{ response: sign, response_bytes: 4KiB }", |scene| {
        scene
            .replace(
                "upstreams:\n",
                &format!("upstreams:\n  own: {{ servers: [\"http://{}\"] }}\n", upstream.address()),
            )
            .replace("    upstream: accounts\n    forward:", "    upstream: own\n    forward:")
    })
    .await;
    let answered = async |path: &str| {
        let (request, asked) = (signed.request(Method::GET, path, ""), signed.request(Method::GET, path, ""));
        (signed.send(request).await, asked)
    };
    for (path, components) in [("/accounts/1", 4), ("/accounts/most", 4), ("/accounts/empty", 3)] {
        let (response, asked) = answered(path).await;
        assert_eq!(verified(&response, &asked, &signed.keys, signed.now()).components().len(), components, "{path}");
    }
    let (response, asked) = answered("/accounts/large").await;
    assert_eq!(response.status(), 500);
    assert_eq!(signed.world.gateway.record_of(&response)["code"], "response_not_signed");
    verified(&response, &asked, &signed.keys, signed.now());
}

#[tokio::test(flavor = "multi_thread")]
async fn hsig_19_the_keys_are_public_and_change_without_a_gap() {
    let signed = Signed::with("{ response: sign }", |scene| scene).await;
    let published = signed.world.gateway.admin("/jwks.json").await.1;
    let next = sandbox::tokens::SigningKey::generate(sandbox::tokens::KeyKind::EdDsa, "next");
    signed.world.gateway.folder().write("next.pem", &next.private_key_pem());
    let answered = async |keys: &str| {
        let (request, asked) =
            (signed.request(Method::GET, "/accounts/1001", ""), signed.request(Method::GET, "/accounts/1001", ""));
        let response = signed.send(request).await;
        verified(&response, &asked, &serde_json::from_str(keys).unwrap(), signed.now()).key_id().to_owned()
    };
    assert_eq!(answered(&published).await, "own");
    let (own, new) = ("{ private_key: signing.pem, key_id: own }", "{ private_key: next.pem, key_id: next }");
    signed.world.reload(1, |yaml| yaml.replace(own, &format!("{own}, {new}"))).await;
    let published = signed.world.gateway.admin("/jwks.json").await.1;
    assert_eq!(answered(&published).await, "own", "the new key is known before it signs");
    signed.world.reload(2, |yaml| yaml.replace(&format!("{own}, {new}"), &format!("{new}, {own}"))).await;
    assert_eq!(answered(&published).await, "next");
}
