//! Signed responses (RFC 9701): with `response: jwt` nothing else is accepted.

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use sandbox::authorization_server::AuthorizationServer;
use sandbox::https::Answer;
use sandbox::tokens::{KeyKind, SigningKey, hs256, unsigned};
use serde_json::{Value, json};

use super::{
    INTROSPECTION, asked, counted, good, judge, judge_answer, judge_new, merged, ok, plain, refused, unavailable,
};
use crate::support::{World, remember, request};

/// A world whose issuer must sign its responses, and the parts of a valid one.
pub(super) struct Stage {
    pub(super) world: World,
    pub(super) header: Value,
    pub(super) claims: Value,
}

impl Stage {
    async fn start() -> Self {
        Self::with("").await
    }

    async fn with(more: &str) -> Self {
        Self::with_files(more, &[]).await
    }

    /// The same, with files beside gateway.yaml.
    pub(super) async fn with_files(more: &str, files: &[(&str, String)]) -> Self {
        let world = World::with(|scene| {
            let scene = scene.introspected(&format!(", response: jwt{more}"));
            files.iter().fold(scene, |scene, (name, text)| scene.file(name, text))
        })
        .await;
        let kid = world.issuer.key(KeyKind::Ps256).kid();
        let header = json!({ "typ": "token-introspection+jwt", "alg": "PS256", "kid": kid });
        let claims = json!({
            "iss": world.issuer.issuer(), "aud": "gateway", "iat": world.clock.now(), "token_introspection": good(&world),
        });
        Self { world, header, claims }
    }

    pub(super) fn key(&self, kind: KeyKind) -> &SigningKey {
        self.world.issuer.key(kind)
    }

    /// The valid response with these parts changed; `null` removes one.
    pub(super) fn signed(&self, header: Value, claims: Value) -> String {
        self.key(KeyKind::Ps256).sign(&merged(&self.header, header), &merged(&self.claims, claims))
    }

    pub(super) async fn judge(&self, jwt: impl Into<Vec<u8>>) -> (u16, String) {
        judge_answer(&self.world, signed_answer(jwt)).await
    }
}

pub(super) fn signed_answer(jwt: impl Into<Vec<u8>>) -> Answer {
    let kind = HeaderValue::from_static("application/token-introspection+jwt");
    Answer::status(StatusCode::OK).header(CONTENT_TYPE, kind).body(jwt.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn ms_int_01_asks_for_a_signed_answer() {
    let stage = Stage::start().await;
    assert_eq!(judge_new(&stage.world).await, ok());
    let question = &asked(&stage.world)[0];
    assert_eq!(question.header("accept"), Some("application/token-introspection+jwt"));
    assert!(super::form(question).iter().any(|(name, _)| name == "client_assertion"));
    assert_eq!(stage.judge(stage.signed(json!({}), json!({}))).await, ok(), "control for everything below");
}

#[tokio::test(flavor = "multi_thread")]
async fn ms_int_02_another_media_type_or_typ_is_no_signed_answer() {
    let stage = Stage::start().await;
    let jwt = stage.signed(json!({}), json!({}));
    for (what, answer) in [
        ("plain JSON", plain(good(&stage.world).to_string())),
        ("plain JSON with the type of a signed response", signed_answer(good(&stage.world).to_string())),
        ("a JWT as application/json", plain(jwt.clone())),
        ("a JWT without a type", Answer::status(StatusCode::OK).body(jwt.clone())),
        ("a JWT as application/jwt", {
            let kind = HeaderValue::from_static("application/jwt");
            Answer::status(StatusCode::OK).header(CONTENT_TYPE, kind).body(jwt.clone())
        }),
        ("a JWT in quotes", signed_answer(json!(jwt).to_string())),
        ("a JWT and a line", signed_answer(format!("{jwt}\n"))),
        ("two JWTs", signed_answer(format!("{jwt}{jwt}"))),
        ("a JWT in JSON serialization", signed_answer(json!({ "payload": jwt, "signatures": [] }).to_string())),
        ("nothing", signed_answer("")),
    ] {
        assert_eq!(judge_answer(&stage.world, answer).await, unavailable(), "{what}");
    }
    for typ in [
        json!("JWT"),
        json!("at+jwt"),
        json!("application/at+jwt"),
        json!("secevent+jwt"),
        json!("logout+jwt"),
        json!(""),
        json!(1),
        Value::Null,
    ] {
        let jwt = stage.signed(json!({ "typ": typ }), json!({}));
        assert_eq!(stage.judge(jwt).await, unavailable(), "{typ}");
    }
    for typ in ["application/token-introspection+jwt", "Token-Introspection+JWT"] {
        assert_eq!(stage.judge(stage.signed(json!({ "typ": typ }), json!({}))).await, ok(), "control: {typ}");
    }
    assert_eq!((counted(&stage.world, "active").await, counted(&stage.world, "invalid").await), (2, 18));
}

#[tokio::test(flavor = "multi_thread")]
async fn ms_int_03_iss_aud_and_iat_are_the_issuer_the_gateway_and_now() {
    let stage = Stage::start().await;
    let now = stage.world.clock.now();
    for claims in [
        json!({ "iss": "https://other.example" }),
        json!({ "iss": format!("{}/", stage.world.issuer.issuer()) }),
        json!({ "iss": [stage.world.issuer.issuer()] }),
        json!({ "iss": null }),
        json!({ "aud": "another-gateway" }),
        json!({ "aud": "Gateway" }),
        json!({ "aud": [] }),
        json!({ "aud": ["another-gateway"] }),
        json!({ "aud": ["gateway", 1] }),
        json!({ "aud": { "gateway": true } }),
        json!({ "aud": null }),
        json!({ "iat": null }),
        json!({ "iat": "now" }),
        json!({ "iat": now.to_string() }),
        json!({ "iat": now + 11 }),
        json!({ "iat": now - 61 }),
        json!({ "iat": 0 }),
    ] {
        assert_eq!(stage.judge(stage.signed(json!({}), claims.clone())).await, unavailable(), "{claims}");
    }
    for claims in [
        json!({ "aud": ["another-gateway", "gateway"] }),
        json!({ "aud": AuthorizationServer::AUDIENCE }),
        json!({ "iat": now + 10 }),
        json!({ "iat": now - 60 }),
    ] {
        assert_eq!(stage.judge(stage.signed(json!({}), claims.clone())).await, ok(), "control: {claims}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ms_int_03_the_gateway_is_known_by_the_names_that_are_configured() {
    let stage = Stage::with(", audience: [\"https://gateway.example\"]").await;
    let own = stage.signed(json!({}), json!({ "aud": "https://gateway.example" }));
    assert_eq!(stage.judge(own).await, ok(), "control");
    for audience in ["gateway", AuthorizationServer::AUDIENCE] {
        assert_eq!(stage.judge(stage.signed(json!({}), json!({ "aud": audience }))).await, unavailable(), "{audience}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ms_int_04_only_what_stands_in_token_introspection_counts() {
    let stage = Stage::start().await;
    let good = good(&stage.world);
    let with = |changes: Value| merged(&good, changes);
    for (what, claims, verdict) in [
        (
            "inactive within",
            json!({ "active": true, "token_introspection": { "active": false } }),
            refused("token_inactive"),
        ),
        ("nothing within", merged(&good, json!({ "token_introspection": null })), unavailable()),
        ("not an object", json!({ "active": true, "token_introspection": "true" }), unavailable()),
        ("a list", json!({ "token_introspection": [good] }), unavailable()),
        ("null", json!({ "token_introspection": {} }), unavailable()),
        (
            "active above",
            json!({ "active": true, "token_introspection": with(json!({ "active": null })) }),
            unavailable(),
        ),
        ("active as text", json!({ "token_introspection": with(json!({ "active": "true" })) }), unavailable()),
        (
            "scope above",
            json!({ "scope": "accounts", "token_introspection": with(json!({ "scope": null })) }),
            (403, "scope_insufficient".into()),
        ),
        (
            "cnf above",
            json!({ "cnf": good["cnf"], "token_introspection": with(json!({ "cnf": null })) }),
            refused("token_unbound"),
        ),
        (
            "exp above",
            json!({ "exp": stage.world.clock.now() + 60, "token_introspection": with(json!({ "exp": 1 })) }),
            refused("token_expired"),
        ),
        ("aud above", json!({ "token_introspection": with(json!({ "aud": null })) }), refused("token_claim_missing")),
        ("its own exp", json!({ "exp": stage.world.clock.now() }), unavailable()),
        ("its own nbf", json!({ "nbf": stage.world.clock.now() + 60 }), unavailable()),
        (
            "control",
            json!({ "active": false, "scope": "", "cnf": {}, "exp": stage.world.clock.now() + 1, "nbf": 1 }),
            ok(),
        ),
    ] {
        let mut all = stage.claims.clone();
        if what == "nothing within" {
            all.as_object_mut().unwrap().remove("token_introspection");
            all["active"] = json!(true);
        } else {
            all = merged(&all, claims);
        }
        let jwt = stage.key(KeyKind::Ps256).sign(&stage.header, &all);
        assert_eq!(stage.judge(jwt).await, verdict, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ms_int_05_only_the_algorithms_of_fapi_and_the_issuers_keys_count() {
    let stage = Stage::start().await;
    let key = stage.key(KeyKind::Ps256);
    let foreign = SigningKey::generate(KeyKind::Ps256, key.kid());
    let with = |changes: Value| merged(&stage.header, changes);
    let good = stage.signed(json!({}), json!({}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let changed = signature.replacen(&signature[..1], if signature.starts_with('A') { "B" } else { "A" }, 1);
    for (what, jwt) in [
        ("RS256", key.sign(&with(json!({ "alg": "RS256" })), &stage.claims)),
        ("PS512", key.sign(&with(json!({ "alg": "PS512" })), &stage.claims)),
        ("another key's algorithm", key.sign(&with(json!({ "alg": "ES256" })), &stage.claims)),
        ("none", unsigned(&with(json!({ "alg": "none" })), &stage.claims)),
        ("None", unsigned(&with(json!({ "alg": "None" })), &stage.claims)),
        ("PS256 unsigned", unsigned(&stage.header, &stage.claims)),
        ("HS256", hs256(key.public_key_pem().as_bytes(), &with(json!({ "alg": "HS256" })), &stage.claims)),
        ("a foreign key", foreign.sign(&stage.header, &stage.claims)),
        ("a key in its own header", foreign.sign(&with(json!({ "jwk": foreign.jwk() })), &stage.claims)),
        ("an extension", key.sign(&with(json!({ "crit": ["x"], "x": 1 })), &stage.claims)),
        ("a changed signature", format!("{signed}.{changed}")),
        ("no signature", format!("{signed}.")),
        ("padding", format!("{good}=")),
        (
            "the client's own key",
            SigningKey::generate(KeyKind::Es256, "x").sign(&with(json!({ "alg": "ES256", "kid": "x" })), &stage.claims),
        ),
    ] {
        assert_eq!(stage.judge(jwt).await, unavailable(), "{what}");
    }
    for kind in KeyKind::ALL {
        let key = stage.key(kind);
        let header = with(json!({ "alg": kind.algorithm(), "kid": key.kid() }));
        assert_eq!(stage.judge(key.sign(&header, &stage.claims)).await, ok(), "control: {kind:?}");
    }
    assert_eq!(stage.judge(stage.signed(json!({ "kid": null }), json!({}))).await, ok(), "control: no kid");
}

#[tokio::test(flavor = "multi_thread")]
async fn ms_int_05_a_key_that_is_new_works_on_its_first_use_and_unknown_ones_cost_a_few_readings() {
    let mut stage = Stage::start().await;
    assert_eq!(judge_new(&stage.world).await, ok(), "control");
    stage.world.issuer.clear();
    stage.world.issuer.rotate(KeyKind::Ps256);
    assert_eq!(judge_new(&stage.world).await, ok(), "the first response signed with the new key");
    assert_eq!(stage.world.issuer.requests_to(AuthorizationServer::JWKS), 1);
    for _ in 0..30 {
        let unknown = stage.signed(json!({ "kid": "unknown" }), json!({}));
        assert_eq!(stage.judge(unknown).await, unavailable());
    }
    let readings = stage.world.issuer.requests_to(AuthorizationServer::JWKS);
    assert!((2..15).contains(&readings), "{readings}: four in a row, and one more every ten seconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn ms_int_06_inactive_within_is_the_tokens_fault() {
    let stage = Stage::start().await;
    let token = stage.world.opaque(&stage.world.token());
    stage.world.issuer.revoke(&token);
    assert_eq!(judge(&stage.world, &token).await, refused("token_inactive"));
    assert_eq!(counted(&stage.world, "inactive").await, 1);
    assert_eq!(judge_new(&stage.world).await, ok(), "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn ms_int_07_a_signed_answer_is_no_access_token() {
    // Where tokens are verified locally, the type is what refuses it: the control has the same claims and only another
    // type.
    let world = World::start().await;
    let key = world.issuer.key(KeyKind::Ps256);
    let mut claims = world.token().claims();
    claims["token_introspection"] = good(&world);
    let token = |typ: &str| remember(key.sign(&json!({ "typ": typ, "alg": "PS256", "kid": key.kid() }), &claims));
    assert_eq!(judge(&world, &token("token-introspection+jwt")).await, refused("token_type_wrong"));
    assert_eq!(judge(&world, &token("at+jwt")).await, ok(), "control");
    // Where the issuer is introspected, it does not know the token.
    let stage = Stage::start().await;
    let offered = remember(stage.signed(json!({}), json!({})));
    assert_eq!(judge(&stage.world, &offered).await, refused("token_inactive"));
    assert_eq!(asked(&stage.world).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ms_int_08_an_old_answer_that_someone_kept_says_nothing() {
    let stage = Stage::with(", cache: { max_age: 0s, inactive_max_age: 0s }").await;
    let token = stage.world.opaque(&stage.world.token());
    let kept = stage.signed(json!({}), json!({}));
    stage.world.issuer.script(INTROSPECTION, signed_answer(kept));
    assert_eq!(judge(&stage.world, &token).await, ok(), "control");
    stage.world.clock.advance(60);
    assert_eq!(judge(&stage.world, &token).await, ok(), "control: as old as permitted");
    stage.world.clock.advance(1);
    assert_eq!(judge(&stage.world, &token).await, unavailable());
    stage.world.issuer.unscript(INTROSPECTION);
    stage.world.issuer.revoke(&token);
    assert_eq!(judge(&stage.world, &token).await, refused("token_inactive"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ms_int_09_an_encrypted_answer_is_refused_and_the_operator_told_what_to_register() {
    let stage = Stage::start().await;
    for jwe in ["e30.AA.AA.AA.AA", "eyJhbGciOiJSU0EtT0FFUC0yNTYiLCJlbmMiOiJBMjU2R0NNIiwiY3R5IjoiSldUIn0.AA.AA.AA.AA"] {
        stage.world.issuer.script(INTROSPECTION, signed_answer(jwe));
        let token = stage.world.opaque(&stage.world.token());
        let response = stage.world.client().send(request("/accounts", &token)).await.unwrap();
        assert_eq!(response.status(), 503);
        let detail = stage.world.gateway.record_of(&response)["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("encrypted") && detail.contains("signed only"), "{detail}");
    }
    assert_eq!(stage.judge(stage.signed(json!({}), json!({}))).await, ok(), "control");
}
