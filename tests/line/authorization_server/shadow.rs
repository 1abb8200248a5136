//! An authorization server in shadow: what its profile refuses is judged, counted and recorded, and reaches the server as it did
//! without the gateway, until a day. And the waivers of its rules.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use http::{Method, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;
use crate::support::client::now;
use crate::support::{DEADLINE, day};

const DAY: u64 = 24 * 60 * 60;

/// The key that has the server in shadow until the day after tomorrow, so that no test sees its end.
fn enforce(more: &str) -> String {
    let day = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(now() + 2 * DAY)).to_string();
    format!("    enforce: {{ shadow: until {}{more} }}\n", &day[..10])
}

impl Stage {
    async fn in_shadow(more: &str) -> Self {
        let enforce = enforce(more);
        Self::with(|section| section + &enforce).await
    }

    /// One request for each of these faults, and good ones: what it deserves, and what it is.
    fn traffic(&self) -> Vec<(&'static str, Request<Bytes>)> {
        let par = |parameters: &[(String, String)]| posted("/par", parameters, &[]);
        let good = self.pushed();
        let without_authentication =
            good.iter().filter(|(name, _)| !name.starts_with("client_assertion")).cloned().collect::<Vec<_>>();
        let audience = self.assertion(CLIENT, &json!({ "aud": format!("{ORIGIN}/token") }));
        let expired = self.assertion(CLIENT, &json!({ "exp": self.world.clock.now() - 60 }));
        let twice = [good.clone(), owned(&[("scope", "openid")])].concat();
        let proof = self.proof("/token");
        let token = |fields: &[(&str, &str)]| posted("/token", &self.exchanged(), fields);
        let exchanged = |name: &str, value: &str| {
            posted("/token", &changed(&self.exchanged(), name, value), &[("dpop", &self.proof("/token"))])
        };
        let get = |target: &str| Request::get(format!("{ORIGIN}{target}")).body(Bytes::new()).expect("a request");
        let introspected = [owned(&[("token", "t")]), self.authenticated()].concat();
        let other_type = posted("/par", &self.pushed(), &[("content-type", "application/json")]);
        vec![
            ("ok", par(&self.pushed())),
            ("parameter_repeated", par(&twice)),
            ("parameter_malformed", par(&changed(&self.pushed(), "dpop_jkt", "short"))),
            ("parameter_malformed", other_type),
            ("client_unknown", par(&changed(&without_authentication, "client_id", "client-9"))),
            ("par_unauthenticated", par(&without_authentication)),
            (
                "client_authentication_refused",
                par(&[without_authentication.clone(), owned(&[("client_secret", "s")])].concat()),
            ),
            ("client_assertion_audience", par(&changed(&good, "client_assertion", &audience))),
            ("client_assertion_stale", par(&changed(&good, "client_assertion", &expired))),
            ("response_type_refused", par(&changed(&self.pushed(), "response_type", "token"))),
            ("pkce_missing", par(&changed(&self.pushed(), "code_challenge", ""))),
            ("pkce_plain", par(&changed(&self.pushed(), "code_challenge_method", "plain"))),
            ("redirect_uri_refused", par(&changed(&self.pushed(), "redirect_uri", "https://attacker.example"))),
            ("ok", get(&format!("/authorize?client_id={CLIENT}&request_uri={REQUEST_URI}"))),
            ("par_required", get(&format!("/authorize?client_id={CLIENT}&response_type=code&scope=openid"))),
            ("request_uri_unknown", get(&format!("/authorize?client_id={CLIENT}&request_uri=urn:other"))),
            ("parameter_refused", get(&format!("/authorize?client_id={CLIENT}&request_uri={REQUEST_URI}&scope=x"))),
            ("ok", token(&[("dpop", &proof)])),
            ("dpop_replayed", token(&[("dpop", &proof)])),
            ("sender_constraint_missing", token(&[])),
            ("dpop_malformed", token(&[("dpop", "x")])),
            ("grant_type_refused", exchanged("grant_type", "password")),
            ("pkce_missing", exchanged("code_verifier", "")),
            ("client_unknown", posted("/introspect", &introspected, &[])),
        ]
    }

    /// Sends a request; returns its record and what reached the server.
    async fn watched(&self, request: Request<Bytes>) -> (Value, Response<Bytes>, Option<scripted::Call>) {
        let _ = self.server.take();
        let response = self.send(request).await;
        (self.world.gateway.record_of(&response), response, self.server.take().pop())
    }

    /// What the gateway counts in shadow, by code.
    async fn counted(&self) -> BTreeMap<String, u64> {
        let metrics = self.world.gateway.admin("/metrics").await.1;
        let lines = metrics.lines().filter(|line| line.starts_with("fapi_gateway_shadow_denials_total{"));
        let mut counted = BTreeMap::new();
        for line in lines {
            let code = line.split("code=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a code");
            let count: u64 = line.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a count");
            *counted.entry(code.to_owned()).or_insert(0) += count;
        }
        counted.retain(|_, count| *count > 0);
        counted
    }

    async fn reload(&self, adjust: impl FnOnce(String) -> String) {
        let file = self.world.gateway.folder().path().join("gateway.yaml");
        let yaml = std::fs::read_to_string(&file).expect("the configuration");
        std::fs::write(&file, adjust(yaml)).expect("a write");
        self.world.gateway.control().reload();
        timeout(DEADLINE, self.world.gateway.control().reloads(1)).await.expect("a reload");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_counted_in_shadow_is_what_is_refused_without_it() {
    let stage = Stage::in_shadow("").await;
    stage.answers_token(&stage.bound_token(), "DPoP");
    stage.server.answers("/introspect", Answer::json(200, &json!({ "active": false })));
    let mut noted = BTreeMap::new();
    for (deserves, request) in stage.traffic() {
        let (target, sent) = (request.uri().path_and_query().expect("a path").to_string(), request.body().clone());
        let is_page = request.method() == Method::GET;
        let (record, response, call) = stage.watched(request).await;
        assert_eq!((&record["decision"], &record["code"]), (&json!("permit"), &json!("ok")), "{deserves}: {record}");
        let expected = if deserves == "ok" { Value::Null } else { deserves.into() };
        assert_eq!(record["would_deny"], expected, "{record}");
        assert_eq!(record["detail"].is_null(), deserves == "ok", "{record}");
        let call = call.unwrap_or_else(|| panic!("{deserves}: it reaches the server"));
        assert_eq!((&*call.target, call.body.as_bytes()), (&*target, &*sent), "{deserves}: as it came");
        assert!(response.status().is_success() || is_page && response.status() == 303, "{deserves}: {response:?}");
        if deserves != "ok" {
            *noted.entry(deserves.to_owned()).or_insert(0) += 1;
        }
    }
    assert_eq!(stage.counted().await, noted);

    // The same without the shadow.
    stage.reload(|yaml| yaml.replace(&enforce(""), "")).await;
    for (deserves, request) in stage.traffic() {
        let (record, _, call) = stage.watched(request).await;
        assert_eq!((&record["code"], &record["would_deny"]), (&json!(deserves), &Value::Null), "{record}");
        assert_eq!(call.is_some(), deserves == "ok", "{deserves}");
    }
    assert_eq!(stage.counted().await, noted, "nothing is noted any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_shadow_an_answer_is_that_of_the_server() {
    let stage = Stage::in_shadow("").await;
    let unbound = json!({ "access_token": "opaque", "token_type": "Bearer", "expires_in": 300 });
    let proofs = || [("dpop", stage.proof("/token"))];
    stage.server.answers("/token", Answer::json(200, &unbound));
    let [(name, proof)] = proofs();
    let (record, response, _) = stage.watched(posted("/token", &stage.exchanged(), &[(name, &proof)])).await;
    assert_eq!((&record["code"], &record["would_deny"]), (&json!("ok"), &json!("answer_unbound")), "{record}");
    assert_eq!(body(&response), unbound);

    let long = json!({ "request_uri": REQUEST_URI, "expires_in": 3600 });
    stage.server.answers("/par", Answer::json(201, &long));
    let (record, response, _) = stage.watched(posted("/par", &stage.pushed(), &[])).await;
    assert_eq!(record["would_deny"], json!("answer_too_long_lived"), "{record}");
    assert_eq!(body(&response), long);

    let document =
        json!({ "issuer": ORIGIN, "token_endpoint": format!("{ORIGIN}/token"), "grant_types_supported": ["password"] });
    let get = |path: &str| Request::get(format!("{ORIGIN}{path}")).body(Bytes::new()).expect("a request");
    let metadata = "/.well-known/oauth-authorization-server";
    stage.server.answers(metadata, Answer::json(200, &document).field("etag", "\"1\""));
    let (record, response, _) = stage.watched(get(metadata)).await;
    assert_eq!((&record["code"], body(&response)), (&json!("ok"), document.clone()), "{record}");
    assert_eq!(response.headers()["etag"], "\"1\"");

    let page = |fields: &[(&'static str, &str)]| {
        let fields = fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Answer { status: 200, fields, body: "<p>".into() }
    };
    stage.server.answers("/login/1", page(&[("access-control-allow-origin", "*")]));
    let (record, response, _) = stage.watched(get("/login/1")).await;
    assert_eq!(record["code"], json!("ok"));
    assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    assert!(!response.headers().contains_key(header::X_FRAME_OPTIONS));
    stage.server.answers("/login/1", Answer::redirect(303, &format!("{CALLBACK}?code=c&state=s")));
    let (record, response, _) = stage.watched(get("/login/1")).await;
    assert_eq!((&record["code"], &record["would_deny"]), (&json!("ok"), &json!("answer_malformed")), "{record}");
    assert_eq!(response.headers()["location"], format!("{CALLBACK}?code=c&state=s"));

    // Without the shadow.
    stage.reload(|yaml| yaml.replace(&enforce(""), "")).await;
    let [(name, proof)] = proofs();
    let (record, ..) = stage.watched(posted("/token", &stage.exchanged(), &[(name, &proof)])).await;
    assert_eq!(record["code"], json!("answer_unbound"), "{record}");
    let (_, response, _) = stage.watched(get(metadata)).await;
    assert_ne!(body(&response), document);
    assert_eq!(stage.watched(get("/login/1")).await.0["code"], json!("answer_malformed"));
    stage.server.answers("/login/1", page(&[("access-control-allow-origin", "*")]));
    let (_, response, _) = stage.watched(get("/login/1")).await;
    assert!(!response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
    assert!(response.headers().contains_key(header::X_FRAME_OPTIONS));
}

/// The server judges by what the client has sent, and not by less.
#[tokio::test(flavor = "multi_thread")]
async fn in_shadow_the_server_gets_the_proof_and_the_credentials_of_whoever_breaks_a_rule() {
    let stage = Stage::in_shadow("").await;
    let assertion = stage.assertion(CLIENT, &json!({ "aud": format!("{ORIGIN}/token") }));
    let elsewhere = changed(&stage.exchanged(), "client_assertion", &assertion);
    let proof = stage.proof("/token");
    let (record, _, call) = stage.watched(posted("/token", &elsewhere, &[("dpop", &proof)])).await;
    assert_eq!(record["would_deny"], json!("client_assertion_audience"), "{record}");
    assert_eq!(call.expect("a call").headers["dpop"], proof.as_str());
    let secret = [("authorization", "Basic Y2xpZW50LTE6c2VjcmV0"), ("client-cert", ":AAAA:")];
    let (record, _, call) = stage.watched(posted("/token", &stage.exchanged(), &secret)).await;
    assert!(!record["would_deny"].is_null(), "{record}");
    let headers = call.expect("a call").headers;
    assert_eq!(headers["authorization"], secret[0].1);
    assert!(!headers.contains_key("client-cert"), "nobody says of himself what his connection shows");
}

/// RFC 9126 §2.2: what was pushed without being judged is forgotten, or it would count when the shadow has ended.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_pushed_against_a_rule_does_not_outlive_the_shadow() {
    let stage = Stage::in_shadow("").await;
    let get = || {
        let target = format!("{ORIGIN}/authorize?client_id={CLIENT}&request_uri={REQUEST_URI}");
        Request::get(target).body(Bytes::new()).expect("a request")
    };
    let plain = changed(&stage.pushed(), "code_challenge_method", "plain");
    assert_eq!(stage.watched(posted("/par", &plain, &[])).await.0["would_deny"], json!("pkce_plain"));
    assert_eq!(stage.watched(get()).await.0["would_deny"], json!("request_uri_unknown"));
    stage.reload(|yaml| yaml.replace(&enforce(""), "")).await;
    assert_eq!(stage.watched(get()).await.0["code"], json!("request_uri_unknown"));
    assert_eq!(stage.watched(posted("/par", &stage.pushed(), &[])).await.0["code"], json!("ok"), "control");
    assert_eq!(stage.watched(get()).await.0["code"], json!("ok"), "control");
}

/// A shadow for some is for nobody who says two things of himself.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_names_a_client_of_the_shadow_beside_another_is_not_in_it() {
    let stage = Stage::in_shadow(", clients: [client-2]").await;
    let exchanged = |id: &str, of: &str| {
        let own = stage.authenticated_with(&stage.assertion(of, &json!({})));
        let asked =
            [("grant_type", "authorization_code"), ("code", "c"), ("code_verifier", VERIFIER), ("client_id", id)];
        [owned(&asked), own].concat()
    };
    stage.answers_token("opaque", "Bearer");
    let post =
        |path: &str, parameters: &[(String, String)], kind: &str| posted(path, parameters, &[("content-type", kind)]);
    let form = "application/x-www-form-urlencoded";
    let (listed, mixed) = (exchanged("client-2", "client-2"), exchanged("client-2", CLIENT));
    for (what, request, passes) in [
        ("control", post("/token", &listed, form), true),
        ("another in the assertion", post("/token", &mixed, form), false),
        ("another in the query", post("/token?client_id=client-1", &listed, form), false),
        ("not declared as a form", post("/token", &listed, "application/json"), false),
    ] {
        let (record, _, call) = stage.watched(request).await;
        assert_eq!((record["decision"] == "permit", call.is_some()), (passes, passes), "{what}: {record}");
    }
    // What client-1 has pushed is its own, whoever brings it.
    assert_eq!(stage.watched(posted("/par", &stage.pushed(), &[])).await.0["code"], json!("ok"));
    let get = |id: &str, uri: &str| {
        Request::get(format!("{ORIGIN}/authorize?client_id={id}&request_uri={uri}"))
            .body(Bytes::new())
            .expect("a request")
    };
    let (unknown, beside) = ("request_uri_unknown", "parameter_refused");
    for (id, uri, code) in [
        ("client-2", "urn:other", unknown),
        ("client-2", REQUEST_URI, unknown),
        ("client-2", &format!("{REQUEST_URI}&scope=x"), beside),
        (CLIENT, REQUEST_URI, "ok"),
    ] {
        let (record, _, call) = stage.watched(get(id, uri)).await;
        assert_eq!((&record["code"], call.is_some()), (&json!(code), code == "ok"), "{id} {uri}: {record}");
    }
    // What client-2 has pushed against a rule, or what came back against one, is its own too, while the shadow lasts.
    let own = |method: &str| {
        let authenticated = stage.authenticated_with(&stage.assertion("client-2", &json!({})));
        let asked = changed(&changed(&stage.pushed(), "client_id", "client-2"), "code_challenge_method", method);
        let asked = asked.into_iter().filter(|(name, _)| !name.starts_with("client_assertion"));
        posted("/par", &asked.chain(authenticated).collect::<Vec<_>>(), &[])
    };
    for (method, uri, seconds, noted) in
        [("plain", "urn:x:plain", 60, "pkce_plain"), ("S256", "urn:x:long", 3600, "answer_too_long_lived")]
    {
        stage.server.answers("/par", Answer::json(201, &json!({ "request_uri": uri, "expires_in": seconds })));
        assert_eq!(stage.watched(own(method)).await.0["would_deny"], json!(noted));
        let (record, ..) = stage.watched(get("client-2", uri)).await;
        assert_eq!((&record["code"], &record["would_deny"]), (&json!("ok"), &json!(unknown)), "{record}");
        assert_eq!(stage.watched(get(CLIENT, uri)).await.0["code"], json!(unknown), "{uri} of another");
    }
    // An answer that leads elsewhere too is nobody's.
    let page = || Request::get(format!("{ORIGIN}/login/1")).body(Bytes::new()).expect("a request");
    let leads = Answer::redirect(303, &format!("{CALLBACK}?code=c"));
    for (what, answer, code) in [
        ("control", leads.clone(), "ok"),
        ("two", leads.clone().field("location", "https://attacker.example"), "answer_malformed"),
        ("refresh", leads.clone().field("refresh", "0;url=https://attacker.example"), "answer_malformed"),
        (
            "a page",
            Answer { status: 200, ..leads.field("refresh", "0;url=https://attacker.example") },
            "answer_malformed",
        ),
    ] {
        stage.server.answers("/login/1", answer);
        assert_eq!(stage.watched(page()).await.0["code"], json!(code), "{what}");
    }
    stage.reload(|yaml| yaml.replace(&enforce(", clients: [client-2]"), "")).await;
    let (record, ..) = stage.watched(get("client-2", "urn:x:plain")).await;
    assert_eq!(record["code"], json!(unknown), "it does not outlive the shadow");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_shadow_nobody_passes_with_a_message_that_is_at_fault_itself() {
    let stage = Stage::in_shadow("").await;
    let plain = || changed(&stage.pushed(), "code_challenge_method", "plain");
    assert_eq!(stage.watched(posted("/par", &plain(), &[])).await.0["code"], json!("ok"), "control");
    for (what, request, code) in [
        ("too long", posted("/par", &changed(&plain(), "scope", &"x".repeat(64 * 1024)), &[]), "body_too_large"),
        ("a field of the connection", posted("/par", &plain(), &[("connection", "dpop")]), "header_malformed"),
        ("not an endpoint", posted("/other", &plain(), &[]), "route_not_found"),
    ] {
        let (record, _, call) = stage.watched(request).await;
        assert_eq!((&record["code"], call.is_none()), (&json!(code), true), "{what}: {record}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_for_one_client_lets_no_other_pass() {
    let stage = Stage::in_shadow(", clients: [client-1]").await;
    let plain = |id: &str| {
        let authenticated = stage.authenticated_with(&stage.assertion(id, &json!({})));
        let asked = changed(&changed(&stage.pushed(), "code_challenge_method", "plain"), "client_id", id);
        let asked = asked.into_iter().filter(|(name, _)| !name.starts_with("client_assertion"));
        posted("/par", &asked.chain(authenticated).collect::<Vec<_>>(), &[])
    };
    let (record, ..) = stage.watched(plain(CLIENT)).await;
    assert_eq!((&record["code"], &record["would_deny"]), (&json!("ok"), &json!("pkce_plain")), "{record}");
    assert_eq!(record["client_id"], json!(CLIENT), "who has to be told");
    let (record, _, call) = stage.watched(plain("client-2")).await;
    assert_eq!((&record["decision"], call.is_none()), (&json!("reject"), true), "{record}");
    // Nothing says whose it is.
    let nobody = changed(&changed(&stage.pushed(), "client_id", ""), "client_assertion", "");
    assert_eq!(stage.watched(posted("/par", &nobody, &[])).await.0["decision"], json!("reject"));
    // Nobody frames a page, whosever it is.
    let page = Request::get(format!("{ORIGIN}/login/1")).body(Bytes::new()).expect("a request");
    assert!(stage.watched(page).await.1.headers().contains_key(header::X_FRAME_OPTIONS));
    // A page leads to a client of the shadow, or it is judged as ever.
    let get = || Request::get(format!("{ORIGIN}/login/1")).body(Bytes::new()).expect("a request");
    for (location, code) in [(CALLBACK, "ok"), ("https://attacker.example/", "answer_malformed")] {
        stage.server.answers("/login/1", Answer::redirect(303, &format!("{location}?code=c")));
        assert_eq!(stage.watched(get()).await.0["code"], json!(code), "{location}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_ends_with_its_day_and_without_a_reload() {
    let stage = Stage::in_shadow("").await;
    let plain = || posted("/par", &changed(&stage.pushed(), "code_challenge_method", "plain"), &[]);
    let end = (now() + 2 * DAY) / DAY * DAY + DAY;
    stage.world.clock.advance(end - 1 - stage.world.clock.now());
    assert_eq!(stage.watched(plain()).await.0["would_deny"], json!("pkce_plain"), "its last second");
    stage.world.clock.advance(1);
    assert_eq!(stage.watched(plain()).await.0["code"], json!("pkce_plain"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_ends_while_a_body_comes_lets_no_head_pass() {
    for is_form in [true, false] {
        let stage = Stage::in_shadow("").await;
        let end = (now() + 2 * DAY) / DAY * DAY + DAY;
        stage.world.clock.advance(end - 1 - stage.world.clock.now());
        let (body, id) = (form(&stage.pushed()), uuid::Uuid::new_v4());
        let kind = if is_form { "application/x-www-form-urlencoded" } else { "text/plain" };
        let head = format!(
            "POST /par HTTP/1.1\r\nHost: localhost\r\nx-fapi-interaction-id: {id}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
            body.len()
        );
        let mut stream = stage.client().raw_stream().await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 64];
        let read = timeout(DEADLINE, stream.read(&mut answer)).await.expect("an answer").unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 100 "), "the body is asked for");
        stage.world.clock.advance(1);
        stream.write_all(body.as_bytes()).await.unwrap();
        let record = stage.world.gateway.record(&id.to_string());
        let code = if is_form { "ok" } else { "parameter_malformed" };
        assert_eq!((&record["code"], &record["would_deny"]), (&json!(code), &Value::Null), "{record}");
        assert_eq!(stage.server.take().len(), usize::from(is_form));
    }
}

/// FAPI2-AS-07, FAPI2-AS-20
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_is_waived_holds_again_after_its_day() {
    let until = day(now() + 2 * DAY);
    let waiver =
        |rule: &str| format!("  - {{ rule: {rule}, authorization_server: as, reason: a move, until: {until} }}\n");
    let waivers = format!("waivers:\n{}{}", waiver("client.assertion_audience"), waiver("response.issuer"));
    let stage = Stage::in_scene(|section| section, |scene| scene.append(&waivers)).await;
    let audience = || {
        let assertion = stage.assertion(CLIENT, &json!({ "aud": format!("{ORIGIN}/token") }));
        posted("/par", &changed(&stage.pushed(), "client_assertion", &assertion), &[])
    };
    let get = |path: &str| Request::get(format!("{ORIGIN}{path}")).body(Bytes::new()).expect("a request");
    let metadata = "/.well-known/oauth-authorization-server";
    let supported = "authorization_response_iss_parameter_supported";
    let document = json!({
        "issuer": ORIGIN, "response_types_supported": ["code"], "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
    });
    stage.server.answers(metadata, Answer::json(200, &document));
    stage.server.answers("/login/1", Answer::redirect(303, &format!("{CALLBACK}?code=c")));
    for (is_waived, audience_code, issuer_code) in
        [(true, "ok", "ok"), (false, "client_assertion_audience", "answer_malformed")]
    {
        if !is_waived {
            stage.world.clock.advance((now() + 2 * DAY) / DAY * DAY + DAY - stage.world.clock.now());
        }
        let (record, ..) = stage.watched(audience()).await;
        assert_eq!((&record["code"], &record["would_deny"]), (&json!(audience_code), &Value::Null), "{record}");
        assert_eq!(stage.watched(get("/login/1")).await.0["code"], json!(issuer_code));
        let (record, response, _) = stage.watched(get(metadata)).await;
        assert_eq!(record["code"], json!("ok"), "{record}");
        assert_eq!(body(&response).get(supported).is_none(), is_waived, "clients are told what is so");
    }
}
