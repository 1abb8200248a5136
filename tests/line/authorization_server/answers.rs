//! What may come from the server.

use http::Request;
use sandbox::authorization_server::AuthorizationServer;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;
use crate::support::DEADLINE;

const INTROSPECTION: &str = AuthorizationServer::INTROSPECTION;

/// No answer that breaks a rule reaches the client, and nothing of it does.
async fn withheld(stage: &Stage, response: Response<Bytes>, code: &str, what: &str) {
    let record = stage.world.gateway.record_of(&response);
    assert_eq!((&record["code"], response.status().as_u16()), (&json!(code), 502), "{what}: {record}");
    let text = String::from_utf8_lossy(response.body()).into_owned() + &format!("{:?}", response.headers());
    let nothing = ["SECRET", "attacker", "response="].iter().all(|part| !text.contains(part));
    assert!(nothing, "{what}: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_04_a_token_that_is_not_bound_to_its_client_is_withheld() {
    let stage = Stage::set().await;
    let now = stage.world.clock.now();
    let sign = |token: sandbox::tokens::AccessToken| stage.world.sign(&token);
    let bound = stage.bound_token();
    let unbound = sign(stage.world.issuer.token(now));
    let of_another = sign(stage.world.issuer.token(now).bound_to_key(CHALLENGE));
    let long = sign(stage.world.issuer.token(now).bound_to_key(stage.proof_key.thumbprint()).expires_at(now + 3600));
    let good = json!({ "access_token": bound, "token_type": "DPoP", "expires_in": 300 });
    let with = |name: &str, value: Value| {
        let mut answer = good.clone();
        answer[name] = value;
        Answer::json(200, &answer)
    };
    let html = Answer { status: 200, fields: vec![("content-type", "text/html".into())], body: "SECRET".into() };
    for (what, answer, code) in [
        ("control", Answer::json(200, &good), "ok"),
        ("an opaque token", with("access_token", json!("opaque-token")), "ok"),
        ("an error", Answer::json(400, &json!({ "error": "invalid_grant" })), "ok"),
        ("a bearer token", with("token_type", json!("Bearer")), "answer_unbound"),
        ("a token without cnf", with("access_token", json!(unbound)), "answer_unbound"),
        ("a token of another", with("access_token", json!(of_another)), "answer_unbound"),
        ("a token of an hour", with("access_token", json!(long)), "answer_too_long_lived"),
        ("for longer than it may", with("expires_in", json!(3600)), "answer_too_long_lived"),
        ("no token", with("access_token", json!(1)), "answer_malformed"),
        ("an error as success", Answer::json(200, &json!({ "error": "SECRET" })), "answer_malformed"),
        ("a token as an error", Answer::json(400, &json!({ "access_token": "SECRET" })), "answer_malformed"),
        ("a page", html, "answer_malformed"),
        ("a redirect", Answer::redirect(302, "https://attacker.example"), "answer_malformed"),
        (
            "two readings",
            Answer {
                body: good.to_string().replacen('{', "{\"token_type\":\"Bearer\",", 1),
                ..Answer::json(200, &good)
            },
            "answer_malformed",
        ),
        ("coded", Answer::json(200, &good).field("content-encoding", "gzip"), "answer_malformed"),
    ] {
        stage.server.answers("/token", answer);
        let response = stage.post("/token", &stage.exchanged(), &[("dpop", &stage.proof("/token"))]).await;
        if code == "ok" {
            assert_eq!(stage.code(&response), code, "{what}: {response:?}");
        } else {
            assert!(!String::from_utf8_lossy(response.body()).contains("access_token"), "{what}");
            withheld(&stage, response, code, what).await;
        }
    }
    // FAPI2-AS-08
    let refresh = |stage: &Stage| {
        [owned(&[("grant_type", "refresh_token"), ("refresh_token", "r1")]), stage.authenticated()].concat()
    };
    for (token, code) in [("r1", "ok"), ("r2", "answer_malformed")] {
        stage.server.answers("/token", with("refresh_token", json!(token)));
        let response = stage.post("/token", &refresh(&stage), &[("dpop", &stage.proof("/token"))]).await;
        assert_eq!(stage.code(&response), code, "{token}");
    }
}

/// Whoever leaves takes no place while the server goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_the_answer_is_waited_for_no_longer() {
    let stage = Stage::set().await;
    stage.server.answers("/par", Answer::never());
    for is_http2 in [false, true] {
        let id = uuid::Uuid::new_v4().to_string();
        let mut request = posted("/par", &stage.pushed(), &[("x-fapi-interaction-id", &id)]);
        let client = if is_http2 { stage.client().h2() } else { stage.client() };
        *request.version_mut() = if is_http2 { http::Version::HTTP_2 } else { http::Version::HTTP_11 };
        let sending = tokio::spawn(async move { client.send(request).await.map(drop) });
        timeout(DEADLINE, stage.server.called()).await.expect("the server is asked");
        sending.abort();
        assert!(sending.await.unwrap_err().is_cancelled());
        let record = stage.world.gateway.record(&id);
        assert_eq!((&record["decision"], &record["code"]), (&json!("permit"), &json!("client_gone")), "{record}");
        let _ = stage.server.take();
    }
    // Who sends the next request already has not left.
    stage.server.answers("/par", Answer::json(201, &json!({ "request_uri": REQUEST_URI, "expires_in": 60 })));
    let form = form(&stage.pushed());
    let length = form.len();
    let request = format!(
        "POST /par HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
    );
    let mut stream = stage.client().raw_stream().await.unwrap();
    stream.write_all(request.repeat(2).as_bytes()).await.unwrap();
    let mut answer = vec![0; 64];
    let read = timeout(DEADLINE, stream.read(&mut answer)).await.expect("an answer").unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 201 "), "{}", String::from_utf8_lossy(&answer[..read]));
}

/// FAPI2-AS-04: the server is asked about a token that cannot be read.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_04_an_opaque_token_is_what_the_server_says_of_it() {
    let stage = Stage::in_scene(
        |section| section,
        |scene| {
            let entry = format!(
                "  - name: as\n    issuer: {ORIGIN}\n    audiences: [none]\n    tokens: introspection\n    trust_anchors: [ca.pem]\n    introspection: {{ endpoint: {}{INTROSPECTION}, client_id: gateway, authentication: {{ method: private_key_jwt, private_key: gateway.pem }} }}\n",
                scene.issuer()
            );
            scene.replace("limits:\n  header_bytes", &format!("{entry}limits:\n  header_bytes"))
        },
    )
    .await;
    let client = stage.client().certificate(&stage.world.c1);
    let by_certificate = owned(&[
        ("grant_type", "authorization_code"),
        ("code", "the-code"),
        ("code_verifier", VERIFIER),
        ("client_id", "client-mtls"),
    ]);
    let certificate = stage.world.c1.x5t_s256();
    let exp = stage.world.clock.now() + 300;
    let key = json!({ "jkt": stage.proof_key.thumbprint() });
    let own = json!({ "x5t#S256": certificate });
    let said = |cnf: &Value| json!({ "active": true, "exp": exp, "cnf": cnf });
    let asked = || stage.world.issuer.requests().iter().filter(|asked| asked.path().ends_with(INTROSPECTION)).count();
    for (what, token_type, answer, code) in [
        ("control", "Bearer", said(&own), "ok"),
        ("control", "DPoP", said(&key), "ok"),
        ("of another key", "DPoP", said(&json!({ "jkt": CHALLENGE })), "answer_unbound"),
        ("of another certificate", "Bearer", said(&json!({ "x5t#S256": CHALLENGE })), "answer_unbound"),
        ("unbound", "Bearer", said(&Value::Null), "answer_unbound"),
        ("unbound", "DPoP", said(&Value::Null), "answer_unbound"),
        ("bound otherwise than it says", "DPoP", said(&own), "answer_unbound"),
        ("not active", "Bearer", json!({ "active": false }), "answer_unbound"),
        ("for too long", "Bearer", json!({ "active": true, "exp": exp + 3600, "cnf": own }), "answer_too_long_lived"),
        ("nothing", "Bearer", json!({}), "introspection_unavailable"),
    ] {
        stage.world.issuer.script(INTROSPECTION, introspected(&answer));
        stage.answers_token("SECRET-token", token_type);
        let before = asked();
        let response = if token_type == "DPoP" {
            stage.post("/token", &stage.exchanged(), &[("dpop", &stage.proof("/token"))]).await
        } else {
            client.send(posted("/token", &by_certificate, &[])).await.expect("the gateway answers")
        };
        assert_eq!(stage.code(&response), code, "{what}: {response:?}");
        assert_eq!(asked(), before + 1, "{what}: the server is asked each time");
        let text = String::from_utf8_lossy(response.body());
        assert_eq!(text.contains("SECRET"), code == "ok", "{what}: {text}");
    }
    // What can be read is not asked about.
    stage.answers_token(&stage.bound_token(), "DPoP");
    let before = asked();
    let response = stage.post("/token", &stage.exchanged(), &[("dpop", &stage.proof("/token"))]).await;
    assert_eq!((&*stage.code(&response), asked()), ("ok", before));
}

/// What an introspection endpoint answers.
fn introspected(answer: &Value) -> sandbox::https::Answer {
    let kind = http::HeaderValue::from_static("application/json");
    let answered = sandbox::https::Answer::status(http::StatusCode::OK).header(http::header::CONTENT_TYPE, kind);
    answered.body(answer.to_string().into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_47_a_nonce_of_the_server_reaches_the_client_alone() {
    let stage = Stage::set().await;
    let good = json!({ "access_token": stage.bound_token(), "token_type": "DPoP", "expires_in": 300 });
    for (what, answer, passes) in [
        ("granted", Answer::json(200, &good).field("dpop-nonce", "a-nonce"), true), // control
        ("asked for", Answer::json(400, &json!({ "error": "use_dpop_nonce" })).field("dpop-nonce", "a-nonce"), true),
        ("cacheable", Answer::json(200, &good).field("dpop-nonce", "a-nonce").field("cache-control", "public"), true),
        ("two", Answer::json(200, &good).field("dpop-nonce", "a-nonce").field("dpop-nonce", "another"), false),
        ("quoted", Answer::json(200, &good).field("dpop-nonce", "\"a-nonce\""), false),
        ("empty", Answer::json(200, &good).field("dpop-nonce", ""), false),
    ] {
        stage.server.answers("/token", answer);
        let response = stage.post("/token", &stage.exchanged(), &[("dpop", &stage.proof("/token"))]).await;
        assert_eq!(stage.code(&response), "ok", "{what}");
        let nonces: Vec<_> = response.headers().get_all("dpop-nonce").iter().collect();
        assert_eq!(nonces, if passes { &["a-nonce"][..] } else { &[] }, "{what}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{what}");
    }
    // Browsers send no proofs.
    stage.server.answers("/login/1", Answer::json(200, &json!({})).field("dpop-nonce", "a-nonce"));
    let response = stage.send(Request::get(format!("{ORIGIN}/login/1")).body(Bytes::new()).expect("a request")).await;
    assert_eq!((&*stage.code(&response), response.headers().contains_key("dpop-nonce")), ("ok", false));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_pushed_request_is_one() {
    let stage = Stage::set().await;
    for (what, answer, code) in [
        ("control", Answer::json(201, &json!({ "request_uri": "urn:x:1", "expires_in": 599 })), "ok"),
        ("refused", Answer::json(400, &json!({ "error": "invalid_request" })), "ok"),
        // FAPI2-AS-24
        (
            "for ten minutes",
            Answer::json(201, &json!({ "request_uri": "urn:SECRET", "expires_in": 600 })),
            "answer_too_long_lived",
        ),
        ("for ever", Answer::json(201, &json!({ "request_uri": "urn:SECRET" })), "answer_malformed"),
        ("nothing", Answer::json(201, &json!({ "expires_in": 60 })), "answer_malformed"),
        (
            "text",
            Answer { fields: vec![], ..Answer::json(201, &json!({ "request_uri": "urn:SECRET", "expires_in": 60 })) },
            "answer_malformed",
        ),
        ("elsewhere", Answer::redirect(307, "https://attacker.example"), "answer_malformed"),
    ] {
        stage.server.answers("/par", answer);
        let response = stage.post("/par", &stage.pushed(), &[]).await;
        if code == "ok" {
            assert_eq!(stage.code(&response), code, "{what}: {response:?}");
        } else {
            withheld(&stage, response, code, what).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_20_a_browser_is_sent_to_a_client_with_what_belongs_to_it() {
    let stage = Stage::set().await;
    assert_eq!(stage.code(&stage.post("/par", &stage.pushed(), &[]).await), "ok");
    let uri = form(&owned(&[("client_id", CLIENT), ("request_uri", REQUEST_URI)]));
    let issuer = "iss=https%3A%2F%2Flocalhost";
    for (what, status, location, code) in [
        ("control", 303, format!("{CALLBACK}?code=c&state=s&{issuer}"), "ok"),
        ("an error", 302, format!("{CALLBACK}?error=access_denied&{issuer}"), "ok"),
        ("a step", 303, "/login/1".to_owned(), "ok"),
        ("a step by its whole URL", 303, format!("{ORIGIN}/login/1"), "ok"),
        ("without iss", 303, format!("{CALLBACK}?code=SECRET&state=s"), "answer_malformed"),
        ("another iss", 303, format!("{CALLBACK}?code=SECRET&iss=https%3A%2F%2Fattacker.example"), "answer_malformed"),
        ("in the fragment", 303, format!("{CALLBACK}#code=SECRET&{issuer}"), "answer_malformed"),
        ("a token", 303, format!("{CALLBACK}?code=c&access_token=SECRET&{issuer}"), "answer_malformed"),
        ("to a stranger", 303, format!("https://attacker.example/?code=SECRET&{issuer}"), "answer_malformed"),
        ("to a stranger without a scheme", 303, "//attacker.example/".to_owned(), "answer_malformed"),
        // FAPI2-AS-23
        ("with the form", 307, format!("{CALLBACK}?code=SECRET&{issuer}"), "answer_malformed"),
    ] {
        stage.server.answers("/authorize", Answer::redirect(status, &location));
        let request = Request::get(format!("{ORIGIN}/authorize?{uri}")).header("origin", "https://evil.example");
        let response = stage.send(request.body(Bytes::new()).unwrap()).await;
        assert_eq!(stage.code(&response), code, "{what}: {response:?}");
        // FAPI2-AS-32
        assert!(!response.headers().contains_key("access-control-allow-origin"), "{what}");
        if code != "ok" {
            withheld(&stage, response, code, what).await;
        }
    }
    let twice = Answer::redirect(303, "/login/1").field("location", "https://attacker.example");
    stage.server.answers("/authorize", twice);
    let response = stage.send(Request::get(format!("{ORIGIN}/authorize?{uri}")).body(Bytes::new()).unwrap()).await;
    withheld(&stage, response, "answer_malformed", "two Location fields").await;
}

impl Stage {
    /// The authorization response in a JWT of the server's key, with claims of its own.
    fn response(&self, more: &Value) -> String {
        self.response_by(self.world.issuer.key(KeyKind::Ps256), more)
    }

    fn response_by(&self, key: &SigningKey, more: &Value) -> String {
        let now = self.world.clock.now();
        let mut claims = json!({ "iss": ORIGIN, "aud": CLIENT, "exp": now + 60, "code": "SECRET", "state": "s" });
        for (name, value) in more.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        let header = json!({ "alg": key.kind().algorithm(), "kid": key.kid() });
        format!("response={}", key.sign(&header, &claims))
    }

    /// Has the server send a browser back to the client with this query.
    async fn sent_back(&self, query: &str) -> Response<Bytes> {
        self.server.answers("/authorize", Answer::redirect(303, &format!("{CALLBACK}?{query}")));
        let uri = form(&owned(&[("client_id", CLIENT), ("request_uri", REQUEST_URI)]));
        self.send(Request::get(format!("{ORIGIN}/authorize?{uri}")).body(Bytes::new()).unwrap()).await
    }

    /// What of these the metadata say that responses may be.
    async fn response_modes(&self) -> Value {
        let path = "/.well-known/oauth-authorization-server";
        let document = json!({
            "issuer": ORIGIN,
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "response_modes_supported": ["query", "fragment", "form_post", "jwt", "query.jwt", "fragment.jwt"],
            "authorization_signing_alg_values_supported": ["RS256", "PS256"],
        });
        self.server.answers(path, Answer::json(200, &document));
        let response = self.send(Request::get(format!("{ORIGIN}{path}")).body(Bytes::new()).unwrap()).await;
        assert_eq!(self.code(&response), "ok", "{response:?}");
        let found = body(&response);
        json!([found["response_modes_supported"], found["authorization_signing_alg_values_supported"]])
    }
}

const QUERY: &str = "code=c&state=s&iss=https%3A%2F%2Flocalhost";

#[tokio::test(flavor = "multi_thread")]
async fn ms_08_ms_09_with_message_signing_a_client_gets_what_the_server_has_signed() {
    let mut stage = Stage::signing(message_signing).await;
    assert_eq!(stage.code(&stage.post("/par", &stage.pushed_object(&json!({})), &[]).await), "ok");
    let now = stage.world.clock.now();
    for (what, query, code) in [
        ("control", stage.response(&json!({})), "ok"),
        ("of another key", stage.response_by(stage.world.issuer.key(KeyKind::Es256), &json!({})), "ok"),
        ("in the query", QUERY.to_owned(), "answer_malformed"),
        ("beside a code", format!("{}&code=SECRET", stage.response(&json!({}))), "answer_malformed"),
        ("of another issuer", stage.response(&json!({ "iss": "https://attacker.example" })), "answer_malformed"),
        ("for a stranger", stage.response(&json!({ "aud": "stranger" })), "answer_malformed"),
        ("for several", stage.response(&json!({ "aud": [CLIENT, "client-2"] })), "answer_malformed"),
        ("expired", stage.response(&json!({ "exp": now - 60 })), "answer_malformed"),
        ("for an hour", stage.response(&json!({ "exp": now + 3600 })), "answer_too_long_lived"),
        ("with a token", stage.response(&json!({ "access_token": "SECRET" })), "answer_malformed"),
    ] {
        let response = stage.sent_back(&query).await;
        assert_eq!(stage.code(&response), code, "{what}: {response:?}");
        if code == "ok" {
            assert_eq!(response.headers()["location"], format!("{CALLBACK}?{query}"), "{what}");
        } else {
            withheld(&stage, response, code, what).await;
        }
    }
    let kid = stage.world.issuer.key(KeyKind::Es256).kid().to_owned();
    let forged = stage.response_by(&SigningKey::generate(KeyKind::Es256, &kid), &json!({}));
    let response = stage.sent_back(&forged).await;
    withheld(&stage, response, "answer_malformed", "a forged signature").await;
    // Pages need no keys.
    stage.server.answers("/authorize", Answer::redirect(303, "/login/1"));
    let uri = form(&owned(&[("client_id", CLIENT), ("request_uri", REQUEST_URI)]));
    let step = stage.send(Request::get(format!("{ORIGIN}/authorize?{uri}")).body(Bytes::new()).unwrap()).await;
    assert_eq!(stage.code(&step), "ok");
    assert_eq!(stage.response_modes().await, json!([["jwt", "query.jwt"], ["PS256"]]));
    let former = stage.world.issuer.rotate(KeyKind::Ps256);
    let response = stage.sent_back(&stage.response(&json!({}))).await;
    assert_eq!(stage.code(&response), "ok", "a new key works at once");
    let response = stage.sent_back(&stage.response_by(&former, &json!({}))).await;
    withheld(&stage, response, "answer_malformed", "a key that is gone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_whose_key_cannot_be_read_is_the_fault_of_nobody_yet() {
    let mut stage = Stage::signing(message_signing).await;
    assert_eq!(stage.code(&stage.post("/par", &stage.pushed_object(&json!({})), &[]).await), "ok");
    let known = stage.response(&json!({}));
    let former = stage.world.issuer.rotate(KeyKind::Ps256);
    let down = sandbox::https::Answer::status(http::StatusCode::SERVICE_UNAVAILABLE);
    stage.world.issuer.script("/jwks", down);
    assert_eq!(stage.code(&stage.sent_back(&known).await), "ok", "control: {}", former.kid());
    let response = stage.sent_back(&stage.response(&json!({}))).await;
    assert_eq!((stage.code(&response), response.status().as_u16()), ("keys_unavailable".into(), 503));
    assert!(!response.headers().contains_key("location"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_ask_for_a_jwt_where_the_keys_of_the_server_are_known() {
    let (with_keys, without) = (Stage::signing(|section| section).await, Stage::set().await);
    for (stage, jwt, modes) in [
        (&with_keys, "ok", json!([["query", "jwt", "query.jwt"], ["PS256"]])),
        (&without, "response_mode_refused", json!([["query"], null])),
    ] {
        let asked = [stage.pushed(), owned(&[("response_mode", "jwt")])].concat();
        assert_eq!(stage.code(&stage.post("/par", &asked, &[]).await), jwt);
        assert_eq!(stage.code(&stage.post("/par", &stage.pushed(), &[]).await), "ok", "control");
        assert_eq!(stage.code(&stage.sent_back(QUERY).await), "ok", "control");
        assert_eq!(stage.response_modes().await, modes);
    }
    let response = with_keys.sent_back(&with_keys.response(&json!({}))).await;
    assert_eq!(with_keys.code(&response), "ok");
    let response = with_keys.sent_back(&with_keys.response_by(&with_keys.key, &json!({}))).await;
    withheld(&with_keys, response, "answer_malformed", "signed by a client").await;
    let response = without.sent_back(&without.response(&json!({}))).await;
    withheld(&without, response, "answer_malformed", "nobody can verify it").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_01_metadata_is_what_is_really_allowed() {
    let stage = Stage::set().await;
    let document = json!({
        "issuer": ORIGIN,
        "authorization_endpoint": "http://as.internal/authorize",
        "token_endpoint": "http://as.internal/token",
        "pushed_authorization_request_endpoint": "http://as.internal/par",
        "registration_endpoint": "http://as.internal/register",
        "jwks_uri": "http://as.internal/jwks",
        "response_types_supported": ["code", "token", "code id_token"],
        "grant_types_supported": ["authorization_code", "password", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt", "none"],
        "code_challenge_methods_supported": ["plain", "S256"],
        "scopes_supported": ["accounts"],
    });
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        stage.server.answers(path, Answer::json(200, &document));
        let response = stage.send(Request::get(format!("{ORIGIN}{path}")).body(Bytes::new()).unwrap()).await;
        assert_eq!(stage.code(&response), "ok", "{response:?}");
        let found = body(&response);
        for (name, value) in [
            ("issuer", json!(ORIGIN)),
            ("authorization_endpoint", json!(format!("{ORIGIN}/authorize"))),
            ("token_endpoint", json!(format!("{ORIGIN}/token"))),
            ("pushed_authorization_request_endpoint", json!(format!("{ORIGIN}/par"))),
            ("registration_endpoint", Value::Null),
            ("jwks_uri", json!(format!("{ORIGIN}/jwks"))),
            ("response_types_supported", json!(["code"])),
            ("grant_types_supported", json!(["authorization_code", "refresh_token"])),
            ("token_endpoint_auth_methods_supported", json!(["private_key_jwt"])),
            ("code_challenge_methods_supported", json!(["S256"])),
            ("require_pushed_authorization_requests", json!(true)),
            ("scopes_supported", json!(["accounts"])),
        ] {
            assert_eq!(found[name], value, "{name}: {found}");
        }
    }
    let path = "/.well-known/oauth-authorization-server";
    let mut other = document.clone();
    other["issuer"] = json!("https://attacker.example");
    let mut nothing = document;
    nothing["token_endpoint_auth_methods_supported"] = json!(["none"]);
    for (what, document) in [("another issuer", other), ("nothing that the profile has", nothing)] {
        stage.server.answers(path, Answer::json(200, &document));
        let response = stage.send(Request::get(format!("{ORIGIN}{path}")).body(Bytes::new()).unwrap()).await;
        withheld(&stage, response, "metadata_mismatch", what).await;
    }
}

/// The endpoints are where a copy of the metadata says, but for those that are named, and UserInfo is a route.
#[tokio::test(flavor = "multi_thread")]
async fn endpoints_are_where_the_metadata_of_the_server_say() {
    let mut document = json!({
        "issuer": ORIGIN,
        "authorization_endpoint": "http://as:8080/authorize",
        "token_endpoint": "http://as:8080/oauth/token",
        "pushed_authorization_request_endpoint": "http://as:8080/oauth/par",
        "introspection_endpoint": "http://as:8080/introspect",
        "revocation_endpoint": "http://as:8080/oauth/revoke",
        "registration_endpoint": "http://as:8080/register",
        "jwks_uri": "http://as:8080/oauth/jwks",
        "userinfo_endpoint": "http://as:8080/userinfo",
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
    });
    let file = document.to_string();
    let stage = Stage::in_scene(
        |section| {
            let (before, after) = section.split_once("    endpoints:\n").expect("endpoints");
            let (_, after) = after.split_once("    browser_paths").expect("pages");
            format!("{before}    metadata: as.json\n    endpoints: {{ pushed_authorization_request: /par }}\n    browser_paths{after}")
        },
        |scene| {
            scene.file("as.json", &file).append(
                "  - { name: userinfo, path: /userinfo, methods: [GET], scopes: [accounts], upstream: as, forward: { access_token: true } }\n",
            )
        },
    )
    .await;
    let path = "/.well-known/oauth-authorization-server";
    stage.server.answers(path, Answer::json(200, &document));
    stage.server.answers("/userinfo", Answer::json(200, &json!({ "sub": "user" })));
    let get = |path: &str| Request::get(format!("{ORIGIN}{path}")).body(Bytes::new()).unwrap();
    let found = body(&stage.send(get(path)).await);
    for (member, path) in [
        ("authorization_endpoint", "/authorize"),
        ("token_endpoint", "/oauth/token"),
        ("pushed_authorization_request_endpoint", "/par"),
        ("introspection_endpoint", "/introspect"),
        ("revocation_endpoint", "/oauth/revoke"),
        ("jwks_uri", "/oauth/jwks"),
        ("userinfo_endpoint", "/userinfo"),
    ] {
        assert_eq!(found[member], json!(format!("{ORIGIN}{path}")), "{member}");
    }
    // Without the settings of registration, nobody registers.
    assert!(found["registration_endpoint"].is_null(), "{found}");
    let response = stage.post("/par", &stage.pushed(), &[]).await;
    assert_eq!(stage.code(&response), "ok", "as it is named");
    for (path, code) in [("/oauth/par", "route_not_found"), ("/register", "route_not_found")] {
        assert_eq!(stage.code(&stage.post(path, &stage.pushed(), &[]).await), code, "{path}");
    }
    // A client asks about the user with a token that is its own.
    let token =
        stage.world.sign(&stage.world.issuer.token(stage.world.clock.now()).bound_to_certificate(&stage.world.c1));
    for (client, code) in [(stage.world.client(), "ok"), (stage.client(), "certificate_missing")] {
        let mut asked = get("/userinfo");
        asked.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        assert_eq!(stage.code(&client.send(asked).await.unwrap()), code);
    }
    assert_eq!(stage.code(&stage.send(get("/userinfo")).await), "credentials_missing");

    // A copy that is of another server keeps what is in force.
    document["issuer"] = json!("https://attacker.example");
    let folder = stage.world.gateway.folder().path().to_owned();
    std::fs::write(folder.join("as.json"), document.to_string()).unwrap();
    let errors = fapi_gateway::config::Config::load(&folder.join("gateway.yaml")).err().expect("a problem");
    let says = "authorization_servers[0].metadata: `as.json`: its issuer is";
    assert!(errors.to_string().contains(says), "{errors}");
}

/// RFC 8414 §3.1, OpenID Connect Discovery §4.
#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_may_have_a_path() {
    let stage =
        Stage::with(|section| section.replace("issuer: https://localhost\n", "issuer: https://localhost/realms/a\n"))
            .await;
    let document = json!({
        "issuer": format!("{ORIGIN}/realms/a"), "token_endpoint": "http://as.internal/token",
        "response_types_supported": ["code"], "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
    });
    for (path, code) in [
        ("/.well-known/oauth-authorization-server/realms/a", "ok"),
        ("/realms/a/.well-known/openid-configuration", "ok"),
        ("/.well-known/oauth-authorization-server", "route_not_found"),
        ("/.well-known/oauth-authorization-server/realms/b", "route_not_found"),
    ] {
        stage.server.answers(path, Answer::json(200, &document));
        let response = stage.send(Request::get(format!("{ORIGIN}{path}")).body(Bytes::new()).unwrap()).await;
        assert_eq!(stage.code(&response), code, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_or_endless_is_no_ones_fault_but_its_own() {
    let stage = Stage::set().await;
    let large = Answer { status: 200, fields: vec![], body: "x".repeat(2 << 20) };
    stage.server.answers("/token", large);
    let response = stage.post("/token", &stage.exchanged(), &[("dpop", &stage.proof("/token"))]).await;
    assert_eq!((stage.code(&response), response.status().as_u16()), ("upstream_invalid".into(), 502));
    stage.answers_token(&stage.bound_token(), "DPoP");
    let response = stage.post("/token", &stage.exchanged(), &[("dpop", &stage.proof("/token"))]).await;
    assert_eq!(stage.code(&response), "ok", "control: the next request has a connection of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_is_an_error_or_elsewhere_says_nothing() {
    let stage = Stage::set().await;
    let path = "/.well-known/oauth-authorization-server";
    let document = json!({ "issuer": ORIGIN, "token_endpoint": "http://SECRET" });
    stage.server.answers(path, Answer::json(404, &document));
    let response = stage.send(Request::get(format!("{ORIGIN}{path}")).body(Bytes::new()).unwrap()).await;
    assert_eq!((response.status().as_u16(), response.body().len()), (404, 0));
    stage.server.answers(path, Answer::redirect(302, "https://attacker.example"));
    let response = stage.send(Request::get(format!("{ORIGIN}{path}")).body(Bytes::new()).unwrap()).await;
    withheld(&stage, response, "answer_malformed", "elsewhere").await;
}

/// Who is judged without keys has a login all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_the_login_may_be_absolute_whoever_is_known() {
    let stage = Stage::with(|section| {
        section.replace("directory: clients }", "directory: clients, unknown: judge_without_keys }")
    })
    .await;
    let issuer = "iss=https%3A%2F%2Flocalhost";
    for (location, code) in [
        ("/login/2".to_owned(), "ok"),
        (format!("{ORIGIN}/login/2"), "ok"),
        (format!("https://anybody.example/cb?code=c&{issuer}"), "ok"),
        ("https://anybody.example/cb?code=SECRET".to_owned(), "answer_malformed"),
    ] {
        stage.server.answers("/login/1", Answer::redirect(302, &location));
        let response = stage.send(Request::get(format!("{ORIGIN}/login/1")).body(Bytes::new()).unwrap()).await;
        assert_eq!(stage.code(&response), code, "{location}");
    }
}

/// The server's version of HTTP is not the client's.
#[tokio::test(flavor = "multi_thread")]
async fn a_held_answer_reaches_clients_of_every_version() {
    for stage in [Stage::set().await, Stage::over_http2().await] {
        for client in [stage.client().h1(), stage.client().h2()] {
            let token = stage.bound_token();
            stage.answers_token(&token, "DPoP");
            let request = posted("/token", &stage.exchanged(), &[("dpop", &stage.proof("/token"))]);
            let response = client.send(request).await.expect("the gateway answers");
            assert_eq!((stage.code(&response), &body(&response)["access_token"]), ("ok".into(), &json!(token)));
        }
    }
}
