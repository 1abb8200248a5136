//! The introspection request: what is sent, where, and how the gateway authenticates.

use sandbox::authorization_server::{AuthorizationServer, ResourceServer};
use sandbox::pki::Authority;
use sandbox::tokens::{KeyKind, Proof, SigningKey};
use serde_json::{Value, json};

use super::{asked, form, ok, part, payload, refused};
use crate::support::{ORIGIN, World, dpop_request, remember, request};

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_rs_01_opaque_tokens_of_both_bindings_come_through() {
    let world = World::with(|scene| scene.introspected("")).await;
    let token = world.opaque(&world.token());
    let response = world.client().send(request("/accounts", &token)).await.unwrap();
    assert_eq!(response.status(), 200);
    let record = world.gateway.record_of(&response);
    assert_eq!(
        (&record["issuer"], &record["client_id"], &record["subject"]),
        (&json!("bank"), &json!("client-1"), &json!("customer-1"))
    );
    let seen = &world.accounts.requests()[0];
    assert_eq!(seen.header("x-token-client-id"), Some("client-1"));
    assert_eq!(seen.header("x-token-issuer"), Some(world.issuer.issuer()));

    let key = SigningKey::generate(KeyKind::Es256, "proof");
    let token =
        world.opaque(&world.issuer.token(world.clock.now()).bound_to_key(key.thumbprint()).claim("token_type", "DPoP"));
    let proof = Proof::new("GET", &format!("{ORIGIN}/accounts"), world.clock.now()).for_token(&token).sign(&key);
    assert_eq!(
        world.judge_from(&world.anonymous(), dpop_request("/accounts", &token, &proof)).await,
        (200, "ok".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn int_01_fapi2_cl_02_the_question_is_a_form_with_the_token_and_an_assertion() {
    let world = World::with(|scene| scene.introspected("")).await;
    let token = world.opaque(&world.token());
    assert_eq!(world.judge(request("/accounts", &token)).await.0, 200);
    let asked = asked(&world);
    let [question] = &asked[..] else { panic!("{} questions", asked.len()) };
    assert_eq!(question.method, "POST");
    assert_eq!(question.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(question.header("accept"), Some("application/json"));
    assert_eq!(question.header("accept-encoding"), Some("identity"));
    assert_eq!(question.header("authorization"), None);
    let form = form(question);
    let names: Vec<&str> = form.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["token", "token_type_hint", "client_assertion_type", "client_assertion"]);
    assert_eq!((form[0].1.as_str(), form[1].1.as_str()), (token.as_str(), "access_token"));
    assert_eq!(form[2].1, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let claims = payload(&form[3].1);
    assert_eq!(
        (&claims["iss"], &claims["sub"], &claims["aud"]),
        (&json!("gateway"), &json!("gateway"), &json!(world.issuer.issuer()))
    );
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 60);

    let other = world.opaque(&world.token());
    assert_eq!(world.judge(request("/accounts", &other)).await.0, 200);
    let second = payload(&super::form(&super::asked(&world)[1])[3].1);
    assert_ne!(claims["jti"], second["jti"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_cl_02_assertions_of_every_algorithm_are_accepted() {
    for kind in KeyKind::ALL {
        let key = SigningKey::generate(kind, "gateway-key");
        let world = World::with(|scene| {
            scene
                .file("key.pem", &key.private_key_pem())
                .introspected("")
                .replace("private_key: gateway.pem", "private_key: key.pem, key_id: gateway-key")
        })
        .await;
        let token = world.opaque(&world.token());
        // Control: another key is registered with the issuer.
        assert_eq!(world.judge(request("/accounts", &token)).await, (503, "introspection_unavailable".into()));
        world.issuer.register("gateway", ResourceServer::Key(key));
        assert_eq!(world.judge(request("/accounts", &token)).await, (200, "ok".into()), "{kind:?}");
        let assertion = &form(&asked(&world)[1])[3].1;
        let header: Value = part(assertion, 0);
        assert_eq!((&header["alg"], &header["kid"]), (&json!(kind.algorithm()), &json!("gateway-key")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_cl_03_a_certificate_authenticates_and_goes_to_the_alias() {
    for method in ["tls_client_auth", "self_signed_tls_client_auth"] {
        let credential = Authority::new("the gateway's").client("gateway");
        let world = World::with(|scene| {
            scene
                .file("gateway-chain.pem", &credential.certificate_pem())
                .file("gateway-key.pem", &credential.key_pem())
                .introspected("")
                .replace(
                    "method: private_key_jwt, private_key: gateway.pem",
                    &format!("method: {method}, certificate: gateway-chain.pem, private_key: gateway-key.pem"),
                )
        })
        .await;
        let token = world.opaque(&world.token());
        // Control: a key is registered with the issuer, not the certificate.
        assert_eq!(world.judge(request("/accounts", &token)).await, (503, "introspection_unavailable".into()));
        world.issuer.register("gateway", ResourceServer::Certificate(credential.clone()));
        assert_eq!(world.judge(request("/accounts", &token)).await, (200, "ok".into()), "{method}");
        let question = asked(&world).pop().unwrap();
        assert_eq!(question.path(), AuthorizationServer::INTROSPECTION_BY_CERTIFICATE);
        assert_eq!(question.client_certificate.as_ref(), credential.chain_der.first());
        let form = form(&question);
        assert!(form.contains(&("client_id".into(), "gateway".into())) && form.len() == 3, "{method}");
    }
}

/// What no answer could help is refused before the issuer is asked, with the same code whether or not the token is
/// cached; each control needs the answer.
#[tokio::test(flavor = "multi_thread")]
async fn int_20_atk_sz_06_a_request_that_no_token_could_help_costs_the_issuer_nothing() {
    let world = World::with(|scene| {
        scene.introspected("").replace(
            "routes:\n",
            "routes:\n  - { name: pinned, path: /pinned, methods: [GET], scopes: [accounts], sender_constraint: [certificate], upstream: accounts }\n",
        )
    })
    .await;
    let (key, stranger) =
        (SigningKey::generate(KeyKind::Es256, "proof"), SigningKey::generate(KeyKind::Es256, "other"));
    let issued = || world.issuer.token(world.clock.now()).bound_to_key(key.thumbprint());
    let good = |token: &str| Proof::new("GET", &format!("{ORIGIN}/accounts"), world.clock.now()).for_token(token);
    let anonymous = world.anonymous();
    let [cached, bound] = [issued(), world.token()].map(|token| world.opaque(&token));
    let first = dpop_request("/accounts", &cached, &good(&cached).sign(&key));
    assert_eq!(world.judge_from(&anonymous, first).await, ok(), "control");
    assert_eq!(world.judge(request("/pinned", &bound)).await.1, "ok", "control");
    assert_eq!(asked(&world).len(), 2, "both are cached now");

    for token in [cached.clone(), remember("invented".to_owned())] {
        let proof = || good(&token);
        let signed = |proof: Proof| dpop_request("/accounts", &token, &proof.sign(&key));
        let mut without = signed(proof());
        without.headers_mut().remove("dpop");
        let mut twice = signed(proof());
        twice.headers_mut().append("dpop", proof().sign(&key).parse().unwrap());
        let borrowed = proof().header("jwk", key.bare_jwk()).sign(&stranger);
        for (request, code) in [
            (without, "dpop_missing"),
            (twice, "dpop_repeated"),
            (dpop_request("/accounts", &token, "a.b"), "dpop_malformed"),
            (dpop_request("/accounts", &token, &borrowed), "dpop_signature_invalid"),
            (signed(proof().without("jti")), "dpop_claim_missing"),
            (signed(proof().claim("htm", "PUT")), "dpop_method_mismatch"),
            (signed(proof().claim("htu", "https://other.example/accounts")), "dpop_uri_mismatch"),
            (signed(proof().for_token("another")), "dpop_ath_mismatch"),
        ] {
            assert_eq!(world.judge_from(&anonymous, request).await, refused(code));
        }
    }
    for token in [bound.clone(), remember("invented".to_owned())] {
        assert_eq!(world.judge_from(&anonymous, request("/pinned", &token)).await, refused("certificate_missing"));
    }
    assert_eq!(asked(&world).len(), 2, "nobody was asked about any of these");

    for (number, (client, request)) in [
        (&anonymous, dpop_request("/accounts", "invented-1", &good("invented-1").sign(&key))),
        (&anonymous, dpop_request("/accounts", "invented-2", &good("invented-2").claim("iat", 1).sign(&key))),
        (&anonymous, request("/accounts", "invented-3")),
        (&world.client(), request("/pinned", "invented-4")),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(world.judge_from(client, request).await, refused("token_inactive"), "control {number}");
        assert_eq!(asked(&world).len(), 3 + number, "control {number}");
    }
    // What depends on the token is judged as before.
    let unfit = dpop_request("/accounts", &bound, &good(&bound).sign(&key));
    assert_eq!(world.judge(unfit).await, refused("dpop_token_unbound"));
    let other = dpop_request("/accounts", &cached, &good(&cached).sign(&stranger));
    assert_eq!(world.judge_from(&anonymous, other).await, refused("dpop_key_mismatch"));
    for client in [&world.client(), &anonymous] {
        assert_eq!(world.judge_from(client, request("/accounts", &cached)).await, refused("dpop_token_as_bearer"));
    }
}
