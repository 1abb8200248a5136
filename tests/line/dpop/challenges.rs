//! What a client is told (RFC 9449 §7.1, §9; RFC 9110 §11.6.1): one challenge for each scheme, with the error in the
//! one for the scheme that was used.

use bytes::Bytes;
use http::{Request, Response};

use super::{Stage, lines};
use crate::support::{ORIGIN, dpop_request, request};

const ALGS: &str = "algs=\"PS256 ES256 EdDSA\"";

/// Checks the two challenges of a route that accepts both schemes, with an error in one of them or in neither.
fn challenges(response: &Response<Bytes>, dpop_error: Option<&str>, bearer_error: Option<&str>) {
    let challenges = lines(response, "www-authenticate");
    let [dpop, bearer] = challenges[..] else { panic!("two lines: {challenges:?}") };
    for (challenge, scheme, error) in [(dpop, "DPoP", dpop_error), (bearer, "Bearer", bearer_error)] {
        assert!(challenge.starts_with(&format!("{scheme} realm=\"{ORIGIN}\"")), "{challenge}");
        match error {
            Some(error) => {
                assert!(challenge.contains(&format!(", error=\"{error}\", error_description=\"")), "{challenge}")
            }
            None => assert!(!challenge.contains("error"), "{challenge}"),
        }
        let mut names: Vec<_> =
            challenge.split(", ").filter_map(|part| part.split_once('=')).map(|(name, _)| name).collect();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "DPOP-27: {challenge}");
    }
    assert!(dpop.ends_with(ALGS), "DPOP-26: {dpop}");
    assert!(!bearer.contains("algs"), "{bearer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_26_dpop_27_dpop_32_conf_dp_22_the_error_stands_beside_the_scheme_that_was_used() {
    let stage = Stage::start().await;
    let bare = Request::get(format!("{ORIGIN}/accounts")).body(Bytes::new()).unwrap();
    let bad = stage.proof().claim("ath", "x").sign(&stage.holder.key);
    for client in [stage.client().h1(), stage.client().h2()] {
        let response = client.send(bare.clone()).await.unwrap();
        assert_eq!(response.status(), 401);
        challenges(&response, None, None);

        let response = client.send(dpop_request("/accounts", &stage.holder.token, &bad)).await.unwrap();
        assert_eq!(response.status(), 401);
        challenges(&response, Some("invalid_dpop_proof"), None);
        assert!(lines(&response, "dpop-nonce").is_empty());
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body["error"], "invalid_dpop_proof");

        let fitting = stage.proof().for_token("x.y.z").sign(&stage.holder.key);
        let response = client.send(dpop_request("/accounts", "x.y.z", &fitting)).await.unwrap();
        challenges(&response, Some("invalid_token"), None);

        let response = client.send(request("/accounts", &stage.holder.token)).await.unwrap();
        assert_eq!(response.status(), 401, "DPOP-30");
        challenges(&response, None, Some("invalid_token"));

        let basic = Request::get(format!("{ORIGIN}/accounts")).header("authorization", "Basic YTpi");
        let response = client.send(basic.body(Bytes::new()).unwrap()).await.unwrap();
        challenges(&response, None, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_27_a_missing_scope_is_named() {
    let stage = Stage::start().await;
    let token = stage.world.issuer.token(stage.now()).bound_to_key(stage.holder.key.thumbprint()).scope("payments");
    let token = stage.world.sign(&token);
    let proof = stage.proof().for_token(&token).sign(&stage.holder.key);
    let response = stage.send(dpop_request("/accounts", &token, &proof)).await;
    assert_eq!(response.status(), 403);
    challenges(&response, Some("insufficient_scope"), None);
    assert!(lines(&response, "www-authenticate")[0].contains(", scope=\"accounts\""));
    // A request that is refused does not use up its proof.
    let response = stage.send(dpop_request("/accounts", &token, &proof)).await;
    assert_eq!(stage.world.gateway.record_of(&response)["code"], "scope_insufficient");
}

#[tokio::test(flavor = "multi_thread")]
async fn bear_13_a_route_challenges_for_its_own_schemes_alone() {
    for (binding, scheme) in [("certificate", "Bearer "), ("dpop", "DPoP ")] {
        let stage = Stage::with(|scene| {
            scene.replace("scopes: [accounts]\n", &format!("scopes: [accounts]\n    sender_constraint: [{binding}]\n"))
        })
        .await;
        let response = stage.send(Request::get(format!("{ORIGIN}/accounts")).body(Bytes::new()).unwrap()).await;
        let challenges = lines(&response, "www-authenticate");
        assert!(challenges.len() == 1 && challenges[0].starts_with(scheme), "{binding}: {challenges:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_30_dpop_31_dpop_32_a_token_under_the_wrong_scheme_is_invalid_in_the_challenge_of_that_scheme() {
    let stage = Stage::start().await;
    let world = &stage.world;
    let unbound = world.sign(&world.issuer.token(stage.now()));
    let certificate_bound = world.sign(&world.token());
    for client in [stage.client().h1(), stage.client().h2()] {
        for (what, token) in [("unbound", &unbound), ("bound to a certificate", &certificate_bound)] {
            let proof = stage.proof().for_token(token).sign(&stage.holder.key);
            let response = client.send(dpop_request("/accounts", token, &proof)).await.unwrap();
            assert_eq!(response.status(), 401, "{what}");
            challenges(&response, Some("invalid_token"), None);
        }
        for (what, token) in [("unbound", &unbound), ("bound to a key", &stage.holder.token)] {
            let response = client.send(request("/accounts", token)).await.unwrap();
            assert_eq!(response.status(), 401, "{what}");
            challenges(&response, None, Some("invalid_token"));
        }
        let no_proof = Request::get(format!("{ORIGIN}/accounts"))
            .header("authorization", format!("DPoP {}", stage.holder.token))
            .body(Bytes::new())
            .unwrap();
        challenges(&client.send(no_proof).await.unwrap(), Some("invalid_dpop_proof"), None);
        let response = client.send(stage.holder.request("/accounts", &stage.proof())).await.unwrap();
        assert_eq!(response.status(), 200, "control");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bear_13_a_scheme_that_the_route_does_not_accept_is_no_error_of_the_token() {
    for (binding, challenge) in [("certificate", "Bearer "), ("dpop", "DPoP ")] {
        let stage = Stage::with(|scene| {
            scene.replace("scopes: [accounts]\n", &format!("scopes: [accounts]\n    sender_constraint: [{binding}]\n"))
        })
        .await;
        let bearer = request("/accounts", &stage.world.sign(&stage.world.token()));
        let dpop = stage.holder.request("/accounts", &stage.proof());
        let (accepted, other) = if binding == "dpop" { (dpop, bearer) } else { (bearer, dpop) };
        for client in [stage.world.client().h1(), stage.world.client().h2()] {
            let response = client.send(other.clone()).await.unwrap();
            assert_eq!(response.status(), 401, "{binding}");
            assert_eq!(stage.world.gateway.record_of(&response)["code"], "scheme_unsupported", "{binding}");
            let challenges = lines(&response, "www-authenticate");
            assert!(
                challenges.len() == 1 && challenges[0].starts_with(challenge) && !challenges[0].contains("error"),
                "{binding}: {challenges:?}"
            );
        }
        assert_eq!(stage.world.client().send(accepted).await.unwrap().status(), 200, "control: {binding}");
    }
}
