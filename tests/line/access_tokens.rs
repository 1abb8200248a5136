//! `issuers[].access_token`: tokens of issuers that differ from RFC 9068 pass, and no other JWT that such an issuer signs
//! with the same key does (RFC 8725 §3.11, §3.12).
//!
//! Every hostile JWT here has all that an access token needs, binding and scope included, besides the one thing that
//! gives it away, so that no other check can be the one that refuses it. The control is the same JWT without that thing.

use http::StatusCode;
use sandbox::authorization_server::AuthorizationServer;
use sandbox::tokens::{AccessToken, KeyKind, SigningKey};
use serde_json::{Value, json};

use crate::support::{ORIGIN, World, dpop_request, remember, request};

/// Like those of many issuers: `JWT`, a claim `typ` with the kind, `azp`, and a list of scopes in `scp`.
const SECTION: &str = "{ typ: [at+jwt, jwt, absent], kind: { claim: typ, is: [Bearer, DPoP] }, client_id: azp, scope: scp, \
                       scope_form: list }";

/// A world whose issuer has this section, and whose resource is also known by the name of a client.
async fn world(section: &str) -> World {
    let section = format!("tokens: jwt\n    access_token: {section}");
    World::with(|scene| scene.replace("tokens: jwt", &section).replace("audiences: [", "audiences: [client-7, ")).await
}

/// A token as [`SECTION`] describes them.
fn differing(world: &World) -> AccessToken {
    let token = world.token().without("client_id").without("scope").header("typ", "JWT");
    token.claim("typ", "Bearer").claim("azp", "client-1").claim("scp", json!(["accounts", "openid"]))
}

/// The code for a token of the issuer, and what the audit says about it; nothing that is refused reaches the upstream, and
/// all refusals look alike to the client.
async fn judged(world: &World, token: &str) -> (String, Value) {
    let before = world.accounts.server().heads();
    let response = world.client().send(request("/accounts", token)).await.expect("an answer");
    let record = world.gateway.record_of(&response);
    let permitted = record["code"] == "ok";
    assert_eq!(world.accounts.server().heads() - before, usize::from(permitted), "{record}");
    if !permitted {
        let text = "The access token is not valid for this request";
        let body = format!(r#"{{"error":"invalid_token","error_description":"{text}"}}"#);
        assert_eq!((response.status(), &response.body()[..]), (StatusCode::UNAUTHORIZED, body.as_bytes()), "{record}");
        let challenges: Vec<_> = response.headers().get_all("www-authenticate").iter().collect();
        let bearer = format!(r#"Bearer realm="{ORIGIN}", error="invalid_token", error_description="{text}""#);
        let dpop = format!(r#"DPoP realm="{ORIGIN}", algs="PS256 ES256 EdDSA""#);
        assert_eq!(challenges, [&*dpop, &*bearer], "{record}");
    }
    (record["code"].as_str().expect("a code").to_owned(), record)
}

async fn code(world: &World, token: &AccessToken) -> String {
    judged(world, &world.sign(token)).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc9068_4_without_the_section_only_tokens_of_rfc_9068_pass() {
    let world = World::start().await;
    assert_eq!(code(&world, &world.token()).await, "ok"); // control
    let token = || world.token();
    for (what, token, expected) in [
        ("JWT", token().header("typ", "JWT"), "token_type_wrong"),
        ("no typ", token().without_header("typ"), "token_type_wrong"),
        ("azp", token().without("client_id").claim("azp", "client-1"), "token_claim_missing"),
        ("a list", token().claim("scope", json!(["accounts"])), "token_claim_malformed"),
        ("no sub", token().without("sub"), "token_claim_missing"),
        ("no jti", token().without("jti"), "token_claim_missing"),
    ] {
        assert_eq!(code(&world, &token).await, expected, "{what}");
    }
    // What only other kinds have is no reason to refuse a token that is typed.
    assert_eq!(code(&world, &token().claim("nonce", "n")).await, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_form_is_what_it_would_be_in_that_of_rfc_9068() {
    let world = world(SECTION).await;
    for token in [
        differing(&world),
        differing(&world).without_header("typ"),
        differing(&world).header("typ", "at+jwt").without("typ"),
        differing(&world).claim("client_id", "client-1"),
        // What is called `scope` and is not the claim that has the scopes counts for nothing.
        differing(&world).claim("scope", "payments admin"),
        differing(&world).claim("scope", 7),
    ] {
        let (code, record) = judged(&world, &world.sign(&token)).await;
        assert_eq!(
            (&*code, &record["client_id"], &record["subject"]),
            ("ok", &json!("client-1"), &json!("customer-1"))
        );
        let seen = world.accounts.requests().pop().expect("it was forwarded");
        assert_eq!(seen.header("x-token-client-id"), Some("client-1"));
        assert_eq!(seen.header("x-token-scope"), Some("accounts openid"));
    }
    // The policy reads the same claim.
    let response = world
        .client()
        .send(request(
            "/accounts",
            &world.sign(&differing(&world).claim("scp", json!(["openid"])).claim("scope", "accounts")),
        ))
        .await
        .expect("an answer");
    let record = world.gateway.record_of(&response);
    assert_eq!((response.status().as_u16(), &record["code"]), (403, &json!("scope_insufficient")));
    assert_eq!(record["detail"], r#"scope is ["openid"], the route needs "accounts""#);
    // And a token that is bound to a key.
    let holder = world.holder();
    let bound = differing(&world).claim("cnf", json!({ "jkt": holder.key.thumbprint() })).claim("typ", "DPoP");
    let bound = world.sign(&bound);
    let proof = sandbox::tokens::Proof::new("GET", "https://localhost/accounts", world.clock.now()).for_token(&bound);
    let call = dpop_request("/accounts", &bound, &proof.sign(&holder.key));
    assert_eq!(world.judge_from(&world.anonymous(), call).await, (200, "ok".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc8725_3_11_a_jwt_that_is_typed_as_another_kind_is_refused_whatever_is_configured() {
    let world = world(SECTION).await;
    assert_eq!(code(&world, &differing(&world).header("typ", "JWT")).await, "ok"); // control
    assert_eq!(code(&world, &differing(&world).header("typ", "application/jwt")).await, "ok"); // control
    for typ in [
        json!("logout+jwt"),
        json!("dpop+jwt"),
        json!("secevent+jwt"),
        json!("token-introspection+jwt"),
        json!("oauth-authz-req+jwt"),
        json!("oauth-authz-resp+jwt"),
        json!("vc+sd-jwt"),
        json!("rt+jwt"),
        json!("id_token+jwt"),
        json!(""),
        json!(null),
        json!(0),
        json!(["JWT"]),
    ] {
        assert_eq!(code(&world, &differing(&world).header("typ", typ.clone())).await, "token_type_wrong", "{typ}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc8725_3_12_no_other_jwt_of_the_issuer_passes_for_an_access_token() {
    let world = world(SECTION).await;
    let token = || differing(&world);
    // Each with the claim that names the kind as its issuer would write it, and with everything else of an access token.
    for (what, hostile) in [
        ("an ID token", token().claim("typ", "ID").claim("auth_time", 1)),
        ("a refresh token", token().claim("typ", "Refresh")),
        ("an offline token", token().claim("typ", "Offline")),
        ("a logout token", token().claim("typ", "Logout").claim("sid", "s")),
        ("an answer of the authorization endpoint", token().without("typ").claim("code", "c").claim("state", "s")),
        ("signed claims of /userinfo", token().without("typ").claim("email", "a@b.example")),
        ("another case", token().claim("typ", "bearer")),
        ("no text", token().claim("typ", json!(["Bearer"]))),
        ("null", token().claim("typ", json!(null))),
    ] {
        for untyped in [hostile.clone(), hostile.without_header("typ")] {
            assert_eq!(code(&world, &untyped.clone().claim("typ", "Bearer")).await, "ok", "control of {what}");
            assert_eq!(code(&world, &untyped).await, "token_type_wrong", "{what}");
        }
    }
    // Each with the kind of an access token, and a claim that only another kind has.
    for (claim, value) in [
        ("nonce", json!("n")),
        ("at_hash", json!("h")),
        ("c_hash", json!("h")),
        ("s_hash", json!("h")),
        ("events", json!({ "http://schemas.openid.net/event/backchannel-logout": {} })),
        ("events", json!({ "https://schemas.openid.net/secevent/caep/event-type/session-revoked": {} })),
        ("token_introspection", json!({ "active": true })),
        ("nonce", json!(null)),
    ] {
        assert_eq!(code(&world, &token()).await, "ok"); // control
        assert_eq!(code(&world, &token().claim(claim, value)).await, "token_type_wrong", "{claim}");
    }
    assert_eq!(code(&world, &token().claim("Nonce", "n")).await, "ok", "another claim");
}

#[tokio::test(flavor = "multi_thread")]
async fn oidc_2_a_token_whose_audience_is_its_own_client_is_refused() {
    let world = world(SECTION).await;
    let of = |client: &str, audience: Value| differing(&world).claim("azp", client).audience(audience);
    let api = AuthorizationServer::AUDIENCE;
    assert_eq!(code(&world, &of("client-1", json!("client-7"))).await, "ok", "a resource with such a name");
    assert_eq!(code(&world, &of("client-7", json!([api, "client-7"]))).await, "ok", "for the resource too");
    for audience in [json!("client-7"), json!(["client-7"]), json!(["client-7", "https://other.example"])] {
        let (code, record) = judged(&world, &world.sign(&of("client-7", audience.clone()))).await;
        assert_eq!(code, "token_audience_mismatch", "{audience}: {record}");
    }
    let typed = of("client-7", json!("client-7")).header("typ", "at+jwt");
    assert_eq!(code(&world, &typed).await, "ok", "its typ says what it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_names_one_client_and_its_scopes_in_one_form() {
    let world = world(SECTION).await;
    let token = || differing(&world);
    for (what, token, expected) in [
        ("the same client", token().claim("client_id", "client-1"), "ok"), // control
        ("two clients", token().claim("client_id", "client-2"), "token_claim_malformed"),
        ("a client and null", token().claim("client_id", json!(null)), "token_claim_malformed"),
        ("no client", token().without("azp"), "token_claim_missing"),
        ("a client by another name", token().without("azp").claim("client_id", "client-1"), "token_claim_missing"),
        ("a list of clients", token().claim("azp", json!(["client-1"])), "token_claim_malformed"),
        ("a list", token().claim("scp", json!(["accounts"])), "ok"), // control
        ("a string", token().claim("scp", "accounts"), "token_claim_malformed"),
        ("two scopes in one", token().claim("scp", json!(["accounts payments"])), "token_claim_malformed"),
        ("an empty scope", token().claim("scp", json!(["accounts", ""])), "token_claim_malformed"),
        ("a number", token().claim("scp", json!(["accounts", 1])), "token_claim_malformed"),
        ("null", token().claim("scp", json!(null)), "token_claim_malformed"),
        ("no subject", token().without("sub"), "token_claim_missing"),
        ("no expiry", token().without("exp"), "token_claim_missing"),
        ("no time", token().without("iat"), "token_claim_missing"),
        ("no audience", token().without("aud"), "token_claim_missing"),
        ("no binding", token().without("cnf"), "token_unbound"),
        ("binding outside cnf", token().without("cnf").claim("x5t#S256", world.c1.x5t_s256()), "token_unbound"),
    ] {
        for token in [token.clone(), token.header("typ", "at+jwt")] {
            assert_eq!(code(&world, &token).await, expected, "{what}");
        }
    }
    for scopes in [json!([]), json!(["openid"]), json!(["accountsx"])] {
        let response =
            world.client().send(request("/accounts", &world.sign(&token().claim("scp", scopes.clone())))).await;
        assert_eq!(response.expect("an answer").status(), 403, "{scopes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_signs_and_dates_a_token_is_judged_as_ever() {
    let world = world(SECTION).await;
    let token = || differing(&world);
    let now = world.clock.now();
    let other = SigningKey::generate(KeyKind::Ps256, world.issuer.key(KeyKind::Ps256).kid());
    let forged = remember(token().sign(&other));
    assert_eq!(judged(&world, &forged).await.0, "token_signature_invalid");
    for (what, token, expected) in [
        ("good", token(), "ok"), // control
        ("alg", token().header("alg", "RS256"), "token_algorithm_refused"),
        ("crit", token().header("crit", json!(["exp"])), "token_critical_header"),
        ("iss", token().claim("iss", "https://other.example"), "token_issuer_unknown"),
        ("aud", token().audience("https://other.example"), "token_audience_mismatch"),
        ("exp", token().expires_at(now), "token_expired"),
        ("iat", token().claim("iat", now + 11), "token_issued_in_future"),
    ] {
        assert_eq!(code(&world, &token).await, expected, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_lacks_is_nowhere_and_it_is_revoked_by_what_it_has() {
    let section = format!("{}, may_lack: [sub, jti] }}", SECTION.trim_end_matches(" }"));
    let world = World::with(|scene| {
        scene
            .replace("tokens: jwt", &format!("tokens: jwt\n    access_token: {section}"))
            .replace("\"127.0.0.1:0\" }", "\"127.0.0.1:0\", revocations: {} }")
    })
    .await;
    let bare = |client: &str| differing(&world).without("sub").without("jti").claim("azp", client);
    let call = |token: &str| {
        let mut call = request("/accounts", token);
        call.headers_mut().insert("x-token-subject", "admin".parse().expect("a value"));
        call
    };
    let response = world.client().send(call(&world.sign(&bare("client-1")))).await.expect("an answer");
    let record = world.gateway.record_of(&response);
    assert_eq!(
        (&record["code"], &record["subject"], &record["client_id"]),
        (&json!("ok"), &json!(null), &json!("client-1"))
    );
    assert_eq!(world.accounts.requests().pop().expect("it was forwarded").header("x-token-subject"), None);
    // Each token differs by its expiry, since it has no `jti`.
    let now = world.clock.now();
    let new = |client: &str, life: u64| world.sign(&bare(client).expires_at(now + life));
    for (what, revocation, token, other) in [
        (
            "token_id",
            json!({ "token_id": token_id(&new("client-2", 100)) }),
            new("client-2", 100),
            new("client-2", 101),
        ),
        ("client_id", json!({ "client_id": "client-3" }), new("client-3", 100), new("client-4", 100)),
    ] {
        let revocation = match what {
            "token_id" => json!({ "token_id": token_id(&token) }),
            _ => revocation,
        };
        assert_eq!(judged(&world, &token).await.0, "ok", "control of {what}");
        world.gateway.revoke(&revocation).await;
        assert_eq!(judged(&world, &token).await.0, "token_revoked", "{what}");
        assert_eq!(judged(&world, &other).await.0, "ok", "{what}: another token");
    }
    // A revocation by what the token does not have finds tokens that have it.
    let with = world.sign(&bare("client-5").claim("sub", "customer-1"));
    let without = new("client-5", 100);
    world.gateway.revoke(&json!({ "sub": "customer-1" })).await;
    assert_eq!(judged(&world, &with).await.0, "token_revoked");
    assert_eq!(judged(&world, &without).await.0, "ok");
}

fn token_id(token: &str) -> String {
    fapi::sha256(token.as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_verified_under_one_section_is_judged_anew_under_another() {
    let world = world(SECTION).await;
    let token = world.sign(&differing(&world));
    assert_eq!(judged(&world, &token).await.0, "ok");
    let sections = [
        ("none", String::new(), "token_type_wrong"),
        ("the first again", format!("    access_token: {SECTION}\n"), "ok"),
        (
            "another kind",
            format!("    access_token: {}\n", SECTION.replace("[Bearer, DPoP]", "[at]")),
            "token_type_wrong",
        ),
        ("another client", format!("    access_token: {}\n", SECTION.replace("azp", "cid")), "token_claim_missing"),
        ("another form", format!("    access_token: {}\n", SECTION.replace("list", "string")), "token_claim_malformed"),
        ("the first again", format!("    access_token: {SECTION}\n"), "ok"),
    ];
    let mut written = format!("    access_token: {SECTION}\n");
    for (turn, (what, section, expected)) in sections.into_iter().enumerate() {
        // A comment holds the place of a section that is not there.
        let section = if section.is_empty() { "    # none\n".to_owned() } else { section };
        world.reload(turn + 1, |text| text.replace(&written, &section)).await;
        written = section;
        assert_eq!(judged(&world, &token).await.0, expected, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_issuer_said_under_one_section_is_asked_anew_under_another() {
    let list = "access_token: { scope_form: list }";
    let world = World::with(|scene| {
        scene.introspected("").replace("    trust_anchors", &format!("    {list}\n    trust_anchors"))
    })
    .await;
    let token = world.opaque(&world.token().claim("scope", json!(["accounts"])));
    let asked = || {
        let all = world.issuer.requests();
        all.iter().filter(|request| request.path().ends_with(AuthorizationServer::INTROSPECTION)).count()
    };
    for _ in 0..2 {
        assert_eq!(judged(&world, &token).await.0, "ok");
        assert_eq!(asked(), 1, "control: the answer is remembered");
    }
    let string = "access_token: { scope_form: string }";
    world.reload(1, |text| text.replace(list, string)).await;
    assert_eq!((judged(&world, &token).await.0.as_str(), asked()), ("token_claim_malformed", 2));
    world.reload(2, |text| text.replace(string, list)).await;
    assert_eq!((judged(&world, &token).await.0.as_str(), asked()), ("ok", 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc7662_2_2_introspection_responses_have_scopes_in_the_form_of_the_section() {
    for (section, list, string) in [
        ("", "token_claim_malformed", "ok"),
        ("\n    access_token: { scope_form: list }", "ok", "token_claim_malformed"),
    ] {
        let world = World::with(|scene| {
            scene.introspected("").replace("\n    trust_anchors", &format!("{section}\n    trust_anchors"))
        })
        .await;
        let issued = |scope: Value| world.opaque(&world.token().claim("scope", scope));
        assert_eq!(judged(&world, &issued(json!(["accounts", "openid"]))).await.0, list, "{section}");
        assert_eq!(judged(&world, &issued(json!("accounts openid"))).await.0, string, "{section}");
        assert_eq!(judged(&world, &issued(json!(["accounts openid"]))).await.0, "token_claim_malformed", "{section}");
        let seen = world.accounts.requests().pop().expect("one was forwarded");
        assert_eq!(seen.header("x-token-scope"), Some("accounts openid"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_says_what_was_found_and_what_would_have_been_accepted() {
    let world = world(SECTION).await;
    let issuer = world.issuer.issuer().to_owned();
    let api = AuthorizationServer::AUDIENCE;
    let token = || differing(&world);
    for (token, detail) in [
        (token().header("typ", "logout+jwt"), r#"typ is "logout+jwt", expected "at+jwt", "JWT" or none"#.to_owned()),
        (token().header("alg", "RS256"), r#"alg is "RS256", expected one of ["PS256", "ES256", "EdDSA"]"#.to_owned()),
        (token().claim("iss", format!("{issuer}/")), format!(r#"iss is "{issuer}/", expected one of ["{issuer}"]"#)),
        (
            token().audience(json!(["https://other.example", "a\"\n\u{e9}"])),
            format!(r#"aud is ["https://other.example", "a\"??"], expected one of ["client-7", "{api}"]"#),
        ),
        (
            token().claim("typ", "ID"),
            r#"claim "typ", which says what kind of token it is, is "ID", expected one of ["Bearer", "DPoP"]"#
                .to_owned(),
        ),
        (
            token().claim("nonce", "not shown"),
            r#"typ is not "at+jwt", and claim "nonce" is one of another kind of token"#.to_owned(),
        ),
    ] {
        let (_, record) = judged(&world, &world.sign(&token)).await;
        assert_eq!(record["detail"], detail);
    }
    let long = world.sign(&token().audience(json!(vec!["x".repeat(300); 30])));
    let (_, record) = judged(&world, &long).await;
    let detail = record["detail"].as_str().expect("a reason");
    assert!(detail.len() < 2300 && detail.contains("...\"] and 14 more, expected one of"), "{detail}");
    // Without an issuer in the token, there is none to choose.
    let (_, record) = judged(&world, &world.sign(&token().without("iss"))).await;
    assert_eq!(record["detail"], format!(r#"iss is missing, expected one of ["{issuer}"]"#));
}
