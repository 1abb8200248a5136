//! Token, scheme, certificate and proof together (RFC 9449 §6, §7.1, §7.2; RFC 8705 §3), and what is forwarded and
//! logged.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::Request;
use sandbox::tokens::{KeyKind, SigningKey};
use serde_json::{Value, json};

use super::{Stage, ok, refused};
use crate::support::{Holder, ORIGIN, World, dpop_request, remember, request};

/// Every `cnf`, scheme, certificate and proof: the outcome depends on all four, and exactly the four proven
/// combinations pass. A missing proof is refused before the token is read.
#[tokio::test(flavor = "multi_thread")]
async fn atk_tk_10_dpop_30_dpop_31_mtls_07_no_binding_can_be_left_out() {
    let stage = Stage::start().await;
    let world = &stage.world;
    let key = &stage.holder.key;
    let bare = || world.issuer.token(world.clock.now());
    let tokens = [
        ("none", bare()),
        ("x5t", world.token()),
        ("jkt", bare().bound_to_key(key.thumbprint())),
        ("both", world.token().bound_to_key(key.thumbprint())),
    ];
    for (cnf, token) in tokens {
        let holder = Holder { key: key.clone(), token: world.sign(&token) };
        for scheme in ["Bearer", "DPoP"] {
            for certificate in [false, true] {
                for proof in [false, true] {
                    let expected = match (cnf, scheme, certificate, proof) {
                        (_, "DPoP", _, false) => refused("dpop_missing"),
                        ("none", ..) => refused("token_unbound"),
                        ("x5t", "Bearer", _, true) => (400, "credentials_repeated".to_owned()),
                        ("x5t", "Bearer", false, false) => refused("certificate_missing"),
                        ("x5t", "Bearer", true, false) => ok(),
                        ("x5t", ..) => refused("dpop_token_unbound"),
                        (_, "Bearer", ..) => refused("dpop_token_as_bearer"),
                        ("jkt", _, _, true) | ("both", _, true, true) => ok(),
                        _ => refused("certificate_missing"),
                    };
                    let mut request = holder.request("/accounts", &holder.proof("/accounts", stage.now()));
                    let headers = request.headers_mut();
                    headers.insert("authorization", format!("{scheme} {}", holder.token).parse().unwrap());
                    if !proof {
                        headers.remove("dpop");
                    }
                    let client = if certificate { world.client() } else { world.anonymous() };
                    let what = format!("cnf {cnf}, {scheme}, certificate {certificate}, proof {proof}");
                    assert_eq!(world.judge_from(&client, request).await, expected, "{what}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mtls_07_a_token_with_both_bindings_wants_both_of_its_own() {
    let stage = Stage::start().await;
    let world = &stage.world;
    let token = world.sign(&world.token().bound_to_key(stage.holder.key.thumbprint()));
    let holder = Holder { key: stage.holder.key.clone(), token };
    let good = || holder.request("/accounts", &holder.proof("/accounts", stage.now()));
    let other = world.anonymous().certificate(&world.c2);
    assert_eq!(world.judge(good()).await, ok(), "control");
    assert_eq!(world.judge_from(&other, good()).await, refused("certificate_mismatch"));
    let stranger = SigningKey::generate(KeyKind::Es256, "stranger");
    let proof = holder.proof("/accounts", stage.now()).sign(&stranger);
    assert_eq!(world.judge(dpop_request("/accounts", &holder.token, &proof)).await, refused("dpop_key_mismatch"));
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_21_conf_dp_14_conf_rs_13_the_proof_is_by_the_tokens_key() {
    let stage = Stage::start().await;
    for client in [stage.client().h1(), stage.client().h2()] {
        for kind in KeyKind::ALL {
            let stranger = SigningKey::generate(kind, "stranger");
            let request = dpop_request("/accounts", &stage.holder.token, &stage.proof().sign(&stranger));
            assert_eq!(stage.world.judge_from(&client, request).await, refused("dpop_key_mismatch"), "{kind:?}");
        }
        let good = stage.holder.request("/accounts", &stage.proof());
        assert_eq!(stage.world.judge_from(&client, good).await, ok(), "DPOP-25, control");
    }
    let other = stage.world.holder();
    let stolen = Holder { key: other.key.clone(), token: stage.holder.token.clone() };
    let proof = stolen.proof("/accounts", stage.now());
    stage.refuses_request("dpop_key_mismatch", "T(K1) by K2", stolen.request("/accounts", &proof)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_29_conf_dp_18_scheme_dpop_wants_a_proof() {
    let stage = Stage::start().await;
    let bare = |scheme: &str| {
        Request::get(format!("{ORIGIN}/accounts"))
            .header("authorization", format!("{scheme} {}", stage.holder.token))
            .body(Bytes::new())
            .unwrap()
    };
    stage.refuses_request("dpop_missing", "no proof", bare("DPoP")).await;
    stage.refuses_request("dpop_token_as_bearer", "DPOP-30: no proof, Bearer", bare("Bearer")).await;
    stage.passes("control", &stage.proof()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_28_proxy_authorization_is_not_read() {
    let stage = Stage::start().await;
    let proof = stage.proof().sign(&stage.holder.key);
    let mut request = dpop_request("/accounts", &stage.holder.token, &proof);
    let field = request.headers_mut().remove("authorization").unwrap();
    request.headers_mut().insert("proxy-authorization", field);
    stage.refuses_request("credentials_missing", "another field", request).await;
    let mut both = dpop_request("/accounts", &stage.holder.token, &proof);
    both.headers_mut().insert("proxy-authorization", format!("DPoP {}", stage.holder.token).parse().unwrap());
    stage.world.accounts.clear();
    assert_eq!(stage.judge_request(both).await, ok(), "control");
    assert_eq!(stage.world.accounts.requests().remove(0).header("proxy-authorization"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_32_conf_dp_18_one_scheme_at_a_time() {
    let stage = Stage::start().await;
    let certificate_bound = stage.world.sign(&stage.world.token());
    let mut both = stage.holder.request("/accounts", &stage.proof());
    both.headers_mut().append("authorization", format!("Bearer {certificate_bound}").parse().unwrap());
    assert_eq!(stage.world.judge(both).await, (400, "credentials_repeated".to_owned()));
    // DPOP-48: the response is the same whatever a DPoP field next to Bearer contains.
    for proof in [stage.proof().sign(&stage.holder.key), "junk".to_owned(), String::new()] {
        let mut beside = request("/accounts", &certificate_bound);
        beside.headers_mut().insert("dpop", proof.parse().unwrap());
        assert_eq!(stage.world.judge(beside).await, (400, "credentials_repeated".to_owned()), "{proof}");
    }
    assert_eq!(stage.world.judge(request("/accounts", &certificate_bound)).await, ok(), "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_tk_10_a_route_takes_only_the_bindings_that_it_names() {
    let routes = ["certificate", "dpop"].map(|binding| {
        format!(
            "  - {{ name: {binding}, path: /{binding}, methods: [GET], scopes: [accounts], sender_constraint: [{binding}], upstream: accounts }}\n"
        )
    });
    let stage = Stage::with(|scene| scene.replace("routes:\n", &format!("routes:\n{}", routes.concat()))).await;
    let world = &stage.world;
    let bearer = |path: &str, token: &str| request(path, token);
    let certificate_bound = world.sign(&world.token());
    let dpop = |path: &str| stage.holder.request(path, &stage.holder.proof(path, stage.now()));
    // The upstream knows none of these paths; it is enough that the request reached it.
    assert_eq!(world.judge(bearer("/certificate", &certificate_bound)).await, (404, "ok".to_owned()));
    assert_eq!(world.judge(dpop("/dpop")).await, (404, "ok".to_owned()));
    assert_eq!(world.judge(dpop("/certificate")).await, refused("scheme_unsupported"));
    assert_eq!(world.judge(bearer("/dpop", &certificate_bound)).await, refused("scheme_unsupported"));
    assert_eq!(world.judge(bearer("/dpop", &stage.holder.token)).await, refused("scheme_unsupported"));
    assert_eq!(world.judge(bearer("/certificate", &stage.holder.token)).await, refused("dpop_token_as_bearer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_49_a_proof_never_goes_up() {
    let stage = Stage::with(|scene| {
        scene.append(
            "  - { name: handed, path: /handed, methods: [GET], scopes: [accounts], upstream: accounts, forward: { access_token: true } }\n",
        )
    })
    .await;
    for client in [stage.client().h1(), stage.client().h2()] {
        for (path, handed_on) in [("/accounts", false), ("/handed", true)] {
            stage.world.accounts.clear();
            let request = stage.holder.request(path, &stage.holder.proof(path, stage.now()));
            assert_eq!(stage.world.judge_from(&client, request).await.1, "ok");
            let seen = stage.world.accounts.requests().remove(0);
            assert_eq!(seen.header("dpop"), None, "{path}");
            let authorization = format!("DPoP {}", stage.holder.token);
            // DPOP-50: as received, never rewritten to Bearer.
            assert_eq!(seen.header("authorization"), handed_on.then_some(authorization.as_str()), "{path}");
        }
        stage.world.accounts.clear();
        let public = stage.holder.request("/health", &stage.holder.proof("/health", stage.now()));
        assert_eq!(stage.world.judge_from(&client, public).await, ok());
        let seen = stage.world.accounts.requests().remove(0);
        assert_eq!((seen.header("dpop"), seen.header("authorization")), (None, None), "a public route");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_names_the_key_and_never_the_proof() {
    let stage = Stage::start().await;
    let good = remember(stage.proof().claim("jti", "id-of-the-good-one").sign(&stage.holder.key));
    let response = stage.send(dpop_request("/accounts", &stage.holder.token, &good)).await;
    let record = stage.world.gateway.record_of(&response);
    let confirmation = json!({"method": "jkt", "thumbprint": stage.holder.key.thumbprint()});
    assert_eq!(record["confirmation"], confirmation, "{record}");
    assert_eq!(record["decision"], "permit");
    let known = record;
    let mut secrets = vec![good, "id-of-the-good-one".to_owned(), stage.holder.token.clone()];
    // What a token is bound to is known only of a token that was read.
    for (proof, confirmation) in [
        (stage.proof().claim("htu", "https://localhost/other"), &Value::Null),
        (stage.proof().claim("htm", "PUT"), &Value::Null),
        (stage.proof().claim("ath", "x"), &Value::Null),
        (stage.proof().claim("iat", 1), &confirmation),
        (stage.proof().header("typ", "JWT"), &Value::Null),
        (stage.proof().claim("jti", 7), &Value::Null),
    ] {
        let text = remember(proof.sign(&stage.holder.key));
        let response = stage.send(dpop_request("/accounts", &stage.holder.token, &text)).await;
        let record = stage.world.gateway.record_of(&response);
        assert_eq!(record["confirmation"], *confirmation, "{record}");
        assert_eq!(record["token_id"], known["token_id"], "{record}");
        secrets.push(text);
    }
    let audit = stage.world.gateway.audit_text();
    for secret in secrets {
        for part in secret.split('.').filter(|part| part.len() > 8) {
            assert!(!audit.contains(part), "the audit has {part}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mtls_03_a_jkt_has_one_spelling() {
    let world = World::start().await;
    let key = SigningKey::generate(KeyKind::Es256, "proof");
    let jkt = key.thumbprint();
    let hash = URL_SAFE_NO_PAD.decode(&jkt).unwrap();
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    for (value, expected) in [
        (jkt.clone(), ok()),
        (format!("{jkt}="), refused("confirmation_malformed")),
        (hex, refused("confirmation_malformed")),
        (jkt[..42].to_owned(), refused("confirmation_malformed")),
        (String::new(), refused("confirmation_malformed")),
    ] {
        let token = world.sign(&world.issuer.token(world.clock.now()).bound_to_key(value.as_str()));
        let holder = Holder { key: key.clone(), token };
        let request = holder.request("/accounts", &holder.proof("/accounts", world.clock.now()));
        assert_eq!(world.judge_from(&world.anonymous(), request).await, expected, "{value:?}");
    }
}
