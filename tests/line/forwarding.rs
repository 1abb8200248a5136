//! What an upstream gets of a request, as the route says.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::Value;

use super::{asked, sent};
use crate::support::client::Client;
use crate::support::{World, dpop_request};

/// What the upstream saw of the last request.
fn seen(world: &World) -> HeaderMap {
    let seen = world.accounts.requests().pop().expect("a request");
    world.accounts.clear();
    seen.headers
}

/// What the upstream sees of this request, whatever it answers.
async fn forwards(world: &World, client: &Client, request: Request<Bytes>) -> HeaderMap {
    sent(client, request).await;
    seen(world)
}

#[tokio::test(flavor = "multi_thread")]
async fn fwd_07_a_proof_is_kept_with_its_token_for_an_upstream_that_verifies_both() {
    let kept =
        World::with(|scene| scene.replace("client_certificate: true", "access_token: true\n      dpop: keep")).await;
    let removed = World::with(|scene| scene.replace("client_certificate: true", "access_token: true")).await;
    for (world, keeps) in [(&kept, true), (&removed, false)] {
        for client in [world.anonymous().h1(), world.anonymous().h2()] {
            let holder = world.holder();
            let proof = holder.proof("/accounts", world.clock.now()).sign(&holder.key);
            let headers = forwards(world, &client, dpop_request("/accounts", &holder.token, &proof)).await;
            assert_eq!(headers["authorization"], format!("DPoP {}", holder.token));
            let found: Vec<&HeaderValue> = headers.get_all("dpop").iter().collect();
            assert_eq!(found, if keeps { vec![&*proof] } else { Vec::new() });
            // What the upstream compares `htu` with: the URL of the client, from `Host` and the path.
            let mut any = Validation::new(Algorithm::ES256);
            (any.validate_exp, any.validate_aud) = (false, false);
            any.required_spec_claims.clear();
            let key = DecodingKey::from_jwk(&serde_json::from_value(holder.key.jwk()).unwrap()).unwrap();
            let claims = decode::<Value>(&proof, &key, &any).unwrap().claims;
            assert_eq!(claims["htu"], format!("https://{}/accounts", headers["host"].to_str().unwrap()));
        }
    }
    // A proof that was not judged goes nowhere: beside a bearer token it is refused, and a public route has no proofs.
    let mut bound = kept.request();
    bound.headers_mut().insert("dpop", HeaderValue::from_static("unjudged"));
    assert_eq!(kept.judge(bound).await.0, 400);
    let headers = forwards(&kept, &kept.client(), asked(Method::GET, "/health", &[("dpop", "unjudged")])).await;
    assert_eq!(headers.get("dpop"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn fwd_07_cookies_and_api_keys_that_a_route_names_do_not_reach_the_upstream() {
    let world = World::with(|scene| {
        scene
            .replace("      client_certificate: true\n", "      client_certificate: true\n      strip: [Cookie, X-Api-Key]\n")
            .append("  - { name: open, path: /open, methods: [GET], public: true, upstream: accounts, forward: { strip: [Cookie] } }\n")
    })
    .await;
    let fields =
        [("cookie", "a=1"), ("x-api-key", "k"), ("x_api_key", "k"), ("x-api-keys", "k"), ("accept", "text/plain")];
    for client in [world.client().h1(), world.client().h2()] {
        let mut token = world.request();
        for (name, value) in fields {
            token.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        token.headers_mut().append("cookie", HeaderValue::from_static("b=2"));
        let left = |headers: &HeaderMap| {
            fields.iter().filter(|(name, _)| headers.contains_key(*name)).map(|(name, _)| *name).collect::<Vec<_>>()
        };
        let headers = forwards(&world, &client, token).await;
        assert_eq!(left(&headers), ["x-api-keys", "accept"]);
        let headers = forwards(&world, &client, asked(Method::GET, "/open", &fields)).await;
        assert_eq!(left(&headers), ["x-api-key", "x_api_key", "x-api-keys", "accept"]);
        let headers = forwards(&world, &client, asked(Method::GET, "/health", &fields)).await;
        assert_eq!(left(&headers), ["cookie", "x-api-key", "x_api_key", "x-api-keys", "accept"], "control");
    }
}
