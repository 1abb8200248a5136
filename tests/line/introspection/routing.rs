//! Which issuer a token is sent to, and which tokens are sent to none.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;
use sandbox::authorization_server::{AuthorizationServer, ResourceServer};
use sandbox::pki::Authority;
use sandbox::tokens::{KeyKind, SigningKey, unsigned};
use serde_json::json;

use super::{INTROSPECTION, asked, good, judge, ok, plain, refused};
use crate::support::{ORIGIN, Scene, World, remember, request};

/// A world where `bank` signs JWTs and `other` is introspected; both are accepted on every route.
struct Mixed {
    world: World,
    other: AuthorizationServer,
}

impl Mixed {
    async fn start() -> Self {
        let authority = Authority::new("other issuer");
        let other = AuthorizationServer::start(&authority).unwrap();
        let key = SigningKey::generate(KeyKind::Es256, "gateway");
        let issuer = format!(
            r#"  - name: other
    issuer: {}
    audiences: ["{}"]
    trust_anchors: [other.pem]
    tokens: introspection
    introspection: {{ client_id: gateway, authentication: {{ method: private_key_jwt, private_key: other-key.pem }} }}
limits:
"#,
            other.issuer(),
            AuthorizationServer::AUDIENCE
        );
        let both = |scene: Scene| {
            scene
                .file("other.pem", &authority.pem())
                .file("other-key.pem", &key.private_key_pem())
                .replace("limits:\n", &issuer)
                .append("  - { name: jwt, path: /jwt, methods: [GET], scopes: [accounts], issuers: [bank], upstream: accounts }\n")
        };
        let world = World::with(both).await;
        other.register("gateway", ResourceServer::Key(key));
        Self { world, other }
    }

    fn questions(&self) -> usize {
        assert!(asked(&self.world).is_empty(), "an issuer of JWTs is not introspected");
        self.other.requests_to(INTROSPECTION)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn int_10_on_one_route_jwts_are_verified_and_the_others_tokens_asked_about() {
    let Mixed { world, other } = &mixed().await;
    let theirs = other.token(world.clock.now()).bound_to_certificate(&world.c1).claim("sub", "customer-2");
    let opaque = remember(other.issue(&theirs));
    let jwt = remember(theirs.sign(other.key(KeyKind::Ps256)));
    other.know(&jwt, &theirs);
    let own = world.sign(&world.token());
    for (token, issuer, questions) in [(&own, "bank", 0), (&opaque, "other", 1), (&jwt, "other", 2), (&own, "bank", 2)]
    {
        let response = world.client().send(request("/accounts", token)).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(world.gateway.record_of(&response)["issuer"], issuer);
        assert_eq!(other.requests_to(INTROSPECTION), questions);
    }
    // A JWT of the introspected issuer is accepted because the issuer confirms it, not for its signature.
    other.revoke(&jwt);
    let forged = remember(unsigned(&json!({ "alg": "none" }), &theirs.claims()));
    assert_eq!(judge(world, &forged).await, refused("token_inactive"));
    let signed = remember(theirs.claim("jti", "unknown").sign(other.key(KeyKind::Ps256)));
    assert_eq!(judge(world, &signed).await, refused("token_inactive"));
}

async fn mixed() -> Mixed {
    Mixed::start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn int_10_an_issuer_that_is_asked_makes_no_token_of_another() {
    let mixed = mixed().await;
    let Mixed { world, other } = &mixed;
    let mut answer = good(world);
    assert_eq!(answer["iss"], world.issuer.issuer());
    other.script(INTROSPECTION, plain(answer.to_string()));
    assert_eq!(
        judge(world, "opaque-1").await,
        refused("token_issuer_unknown"),
        "though the route accepts that one too"
    );
    // A token that names the issuer of JWTs is not introspected at all.
    let strange = SigningKey::generate(KeyKind::Ps256, world.issuer.key(KeyKind::Ps256).kid());
    let forged = remember(world.token().sign(&strange));
    assert_eq!(judge(world, &forged).await, refused("token_signature_invalid"));
    assert_eq!(mixed.questions(), 1);
    answer["iss"] = json!(other.issuer());
    other.script(INTROSPECTION, plain(answer.to_string()));
    assert_eq!(judge(world, "opaque-2").await, ok(), "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn int_10_a_route_of_jwt_issuers_asks_nobody() {
    let mixed = mixed().await;
    let Mixed { world, other } = &mixed;
    let theirs = other.token(world.clock.now()).bound_to_certificate(&world.c1);
    let opaque = remember(other.issue(&theirs));
    let jwt = remember(theirs.sign(other.key(KeyKind::Ps256)));
    other.know(&jwt, &theirs);
    let jwt_route = async |token: &str| world.judge(request("/jwt", token)).await;
    for _ in 0..2 {
        assert_eq!(jwt_route(&opaque).await, refused("token_malformed"));
        assert_eq!(jwt_route(&jwt).await, refused("token_issuer_unknown"));
        // A token that is cached where it is accepted is still refused here.
        for token in [&opaque, &jwt] {
            assert_eq!(judge(world, token).await, ok(), "control");
        }
    }
    assert_eq!(mixed.questions(), 2);
    assert_eq!(jwt_route(&world.sign(&world.token())).await.1, "ok", "control");
}

/// The token with another text for its header, its payload, or both; its signature is not that of the result.
fn rewritten(token: &str, header: impl Fn(String) -> String, payload: impl Fn(String) -> String) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let text = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let part = |text: String| URL_SAFE_NO_PAD.encode(text);
    remember(format!("{}.{}.{}", part(header(text(parts[0]))), part(payload(text(parts[1]))), parts[2]))
}

#[tokio::test(flavor = "multi_thread")]
async fn int_10_a_jwt_that_cannot_be_read_is_not_shown_to_another_issuer() {
    let mixed = mixed().await;
    let Mixed { world, other } = &mixed;
    let own = world.sign(&world.token());
    let with = |member: &str| format!("{{{member},");
    let same = |text: String| text;
    let deep = |levels: usize| with(&format!(r#""d":{}{}"#, "[".repeat(levels), "]".repeat(levels)));
    let unreadable = [deep(16), with(r#""n":"Ann \ud83d""#), with(r#""n":1,"n":1"#), with(r#""n":1e400"#)];
    for begin in &unreadable {
        let payload = rewritten(&own, same, |text| text.replacen('{', begin, 1));
        let header = rewritten(&own, |text| text.replacen('{', begin, 1), same);
        for (token, part) in [(&payload, "payload"), (&header, "header")] {
            assert_eq!(judge(world, token).await, refused("token_malformed"), "{part}: {begin}");
        }
    }
    let mark = |text: String| format!("\u{feff}{text}");
    for token in [rewritten(&own, mark, same), rewritten(&own, same, mark)] {
        assert_eq!(judge(world, &token).await, refused("token_malformed"), "a byte order mark");
    }
    let list = world.sign(&world.token().claim("iss", json!([world.issuer.issuer()])));
    assert_eq!(judge(world, &list).await, refused("token_issuer_unknown"));
    assert_eq!(mixed.questions(), 0);
    let readable = rewritten(&own, same, |text| text.replacen('{', &deep(15), 1));
    assert_eq!(judge(world, &readable).await, refused("token_signature_invalid"), "control");
    assert_eq!(judge(world, &own).await, ok(), "control");
    assert_eq!(mixed.questions(), 0);
    // What says neither that it is a JWS nor whose it is goes to the issuer that can be asked.
    let nameless = world.sign(&world.token().without("iss"));
    let session = remember(format!("{}.aWQ.c2ln", URL_SAFE_NO_PAD.encode(r#"{"user":{"user":1},"user":2}"#)));
    for (number, token) in [&nameless, &session].into_iter().enumerate() {
        assert_eq!(judge(world, token).await, refused("token_inactive"), "control");
        assert_eq!(other.requests_to(INTROSPECTION), number + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn int_01_a_jwt_that_cannot_be_read_is_its_issuers_to_judge_on_a_route_of_its_own() {
    let world = World::with(|scene| scene.introspected("")).await;
    let token = world.token();
    let odd = rewritten(&world.sign(&token), |text| text, |text| text.replacen('{', r#"{"n":1,"n":1,"#, 1));
    assert_eq!(judge(&world, &odd).await, refused("token_inactive"), "control");
    let again = rewritten(&world.sign(&token), |text| text, |text| text.replacen('{', r#"{"m":1,"m":1,"#, 1));
    world.issuer.know(&again, &token);
    assert_eq!(judge(&world, &again).await, ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn bear_15_a_token_may_be_as_large_as_the_configuration_says() {
    let limits = "{ header_bytes: 64KiB, token_bytes: 40KiB }";
    let world = World::with(|scene| scene.introspected("").replace("header_bytes: 32KiB", limits)).await;
    let fill = |bytes: usize| remember("x".repeat(bytes));
    assert_eq!(judge(&world, &fill(40 * 1024)).await, refused("token_inactive"), "control");
    assert_eq!(judge(&world, &fill(40 * 1024 + 1)).await, refused("token_too_large"));
    let world = World::with(|scene| scene.replace("header_bytes: 32KiB", limits)).await;
    let token = world.sign(&world.token().claim("groups", "g".repeat(20_000)));
    assert!(token.len() > 16 * 1024);
    assert_eq!(judge(&world, &token).await, ok());
    let world = World::with(|scene| scene.replace("header_bytes: 32KiB", "{ header_bytes: 8KiB }")).await;
    assert_eq!(judge(&world, &world.sign(&world.token())).await, ok(), "the default follows header_bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn int_18_garbage_causes_no_question() {
    let world = World::with(|scene| scene.introspected("")).await;
    let limit = 16 * 1024;
    for (what, token, code) in [
        ("one byte too many", "x".repeat(limit + 1), "token_too_large"),
        ("far too many", "x".repeat(20_000), "token_too_large"),
        ("another issuer's", world.sign(&world.token().claim("iss", "https://other.example")), "token_issuer_unknown"),
    ] {
        assert_eq!(judge(&world, &token).await, refused(code), "{what}");
    }
    for odd in ["", " ", "a b", "a,b", "a;b", "a\"b", "=", "a=b", "a\u{e9}", "<x>", "a%20b", "a\\b"] {
        let request =
            Request::get(format!("{ORIGIN}/accounts")).header("authorization", format!("Bearer {odd}").as_bytes());
        let (status, code) = world.judge(request.body(bytes::Bytes::new()).unwrap()).await;
        assert!(matches!(status, 400 | 401), "{odd:?}");
        assert_ne!(code, "token_inactive", "{odd:?}");
    }
    assert!(asked(&world).is_empty());
    for (what, token) in [
        ("as long as permitted", "x".repeat(limit)),
        ("every character", "aZ09-._~+/==".to_owned()),
        ("a key in the header", world.sign(&world.token().header("jwk", json!({})))),
        ("an extension that must be understood", world.sign(&world.token().header("crit", json!(["exp"])))),
        ("a kid that is not text", world.sign(&world.token().header("kid", json!(7)))),
        ("no issuer", world.sign(&world.token().without("iss"))),
        ("encrypted", "e30.AA.AA.AA.AA".to_owned()),
        ("dots", "a.b.c".to_owned()),
        ("one character", "x".to_owned()),
    ] {
        let before = asked(&world).len();
        assert_eq!(judge(&world, &remember(token.clone())).await, refused("token_inactive"), "control: {what}");
        let questions = asked(&world);
        assert_eq!(questions.len(), before + 1, "control: {what}");
        assert_eq!(super::token_of(questions.last().unwrap()), token, "{what}: it arrives unchanged");
    }
}
