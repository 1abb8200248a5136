//! What may go to the server.

use http::Request;
use serde_json::json;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_flow_of_fapi_2_passes() {
    let stage = Stage::set().await;
    // FAPI2-AS-15, FAPI2-AS-26, FAPI2-AS-27
    let pushed = [stage.pushed(), owned(&[("nonce", &"n".repeat(64)), ("state", &"s".repeat(1100))])].concat();
    let response = stage.post("/par", &pushed, &[("dpop", &stage.proof("/par"))]).await;
    assert_eq!((response.status().as_u16(), stage.code(&response)), (201, "ok".into()), "{response:?}");
    assert_eq!(body(&response), json!({ "request_uri": REQUEST_URI, "expires_in": 60 }));
    assert_eq!(response.headers()["cache-control"], "no-store");
    let record = stage.world.gateway.record_of(&response);
    assert_eq!((&record["client_id"], &record["route"]), (&json!(CLIENT), &json!("as:pushed_authorization_request")));
    let [call] = &stage.server.take()[..] else { panic!("one call") };
    assert!(call.headers.contains_key("dpop") && call.body.contains("code_challenge"), "{call:?}");
    assert_eq!(call.headers["host"], "localhost", "FAPI2-AS-45: the server sees the host that clients call");

    let target = format!("/authorize?client_id={CLIENT}&request_uri={}", REQUEST_URI.replace(':', "%3A"));
    let response = stage.send(Request::get(format!("{ORIGIN}{target}")).body(Bytes::new()).unwrap()).await;
    assert_eq!((response.status().as_u16(), &response.headers()["location"]), (303, &"/login/1".parse().unwrap()));
    assert_eq!(stage.server.take()[0].target, target);
    let response = stage.send(Request::get(format!("{ORIGIN}/login/1")).body(Bytes::new()).unwrap()).await;
    assert_eq!(response.status(), 200);
    // FAPI2-AS-46
    for (name, value) in [
        ("content-security-policy", "frame-ancestors 'none'"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(response.headers()[name], value);
    }
    stage.server.take();

    let token = stage.bound_token();
    stage.answers_token(&token, "DPoP");
    let response = stage.post("/token", &stage.exchanged(), &[("dpop", &stage.proof("/token"))]).await;
    assert_eq!((response.status().as_u16(), stage.code(&response)), (200, "ok".into()), "{response:?}");
    assert_eq!(body(&response)["access_token"], token);
    assert_eq!(response.headers()["cache-control"], "no-store");

    // The same with certificates, which the server is told of.
    let by_certificate = owned(&[
        ("client_id", "client-mtls"),
        ("grant_type", "authorization_code"),
        ("code", "c"),
        ("code_verifier", VERIFIER),
    ]);
    let token = stage.world.sign(&stage.world.token());
    stage.answers_token(&token, "Bearer");
    stage.server.take();
    let response = stage.world.client().send(posted("/token", &by_certificate, &[])).await.unwrap();
    assert_eq!((response.status().as_u16(), stage.code(&response)), (200, "ok".into()), "{response:?}");
    assert!(stage.server.take()[0].headers.contains_key("client-cert"));
    stage.server.answers("/revoke", Answer::json(200, &json!({})));
    let revoked = [owned(&[("token", "t")]), stage.authenticated()].concat();
    assert_eq!(stage.post("/revoke", &revoked, &[]).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_the_profile_never_reaches_the_server() {
    let stage = Stage::set().await;
    let assertion = |claims| stage.authenticated_with(&stage.assertion(CLIENT, &claims));
    let now = stage.world.clock.now();
    let good = stage.post("/par", &stage.pushed(), &[]).await;
    assert_eq!(stage.code(&good), "ok", "control");
    let unauthenticated: Vec<_> =
        stage.pushed().into_iter().filter(|(name, _)| !name.starts_with("client_assertion")).collect();
    let with = |more: Vec<(String, String)>| [unauthenticated.clone(), more].concat();
    let twice = [stage.pushed(), owned(&[("scope", "x")])].concat();
    let used = stage.pushed();
    assert_eq!(stage.code(&stage.post("/par", &used, &[]).await), "ok", "control");
    stage.server.take();
    let cases = [
        // FAPI2-AS-14, FAPI2-AS-18, FAPI2-AS-19, FAPI2-AS-17
        ("another response type", changed(&stage.pushed(), "response_type", "token"), "response_type_refused", 400),
        ("form_post", changed(&stage.pushed(), "response_mode", "form_post"), "response_mode_refused", 400),
        ("no challenge", changed(&stage.pushed(), "code_challenge", ""), "pkce_missing", 400),
        ("plain", changed(&stage.pushed(), "code_challenge_method", "plain"), "pkce_plain", 400),
        (
            "another redirect",
            changed(&stage.pushed(), "redirect_uri", "https://x.example"),
            "redirect_uri_refused",
            400,
        ),
        ("no redirect", changed(&stage.pushed(), "redirect_uri", ""), "redirect_uri_refused", 400),
        ("a request_uri", changed(&stage.pushed(), "request_uri", "urn:x"), "request_uri_refused", 400),
        ("another key", changed(&stage.pushed(), "dpop_jkt", CHALLENGE), "jkt_mismatch", 400),
        ("twice", twice, "parameter_repeated", 400),
        ("disguised", changed(&stage.pushed(), "Scope", "x"), "parameter_repeated", 400),
        ("nobody", with(vec![]), "par_unauthenticated", 401),
        ("a secret", with(owned(&[("client_secret", "s")])), "client_authentication_refused", 401),
        ("two methods", changed(&stage.pushed(), "client_secret", "s"), "client_authentication_repeated", 400),
        ("a stranger", with(owned(&[]).into_iter().collect::<Vec<_>>()), "par_unauthenticated", 401),
        ("another client", changed(&with(vec![]), "client_id", "client-9"), "client_unknown", 401),
        (
            "the endpoint as audience",
            with(assertion(json!({ "aud": format!("{ORIGIN}/par") }))),
            "client_assertion_audience",
            401,
        ),
        ("an array", with(assertion(json!({ "aud": [ORIGIN] }))), "client_assertion_audience", 401),
        ("expired", with(assertion(json!({ "iat": now - 400, "exp": now - 300 }))), "client_assertion_stale", 401),
        ("of an hour", with(assertion(json!({ "exp": now + 3700 }))), "client_assertion_stale", 401),
        ("used before", used, "client_assertion_replayed", 401),
        (
            "of another",
            with(stage.authenticated_with(&stage.assertion("client-2", &json!({})))),
            "client_authentication_refused",
            401,
        ),
        (
            "a malformed request object",
            [stage.authenticated(), owned(&[("request", "a.b.c")])].concat(),
            "request_object_invalid",
            400,
        ),
    ];
    for (what, parameters, code, status) in cases {
        let response = stage.post("/par", &parameters, &[("dpop", &stage.proof("/par"))]).await;
        let found = (stage.code(&response), response.status().as_u16());
        assert_eq!(found, (code.to_owned(), status), "{what}");
        let error = Code::ALL.iter().find(|known| known.as_str() == code).and_then(|code| code.oauth_error());
        assert_eq!(body(&response)["error"], error.expect("an error of RFC 6749").as_str(), "{what}");
        assert!(!response.headers().contains_key("www-authenticate"), "{what}");
        assert_eq!(stage.server.take().len(), 0, "{what}");
    }
    for (what, parameters, fields, code, status) in [
        ("JSON", stage.pushed(), &[("content-type", "application/json")][..], "parameter_malformed", 400),
        ("a header", stage.pushed(), &[("authorization", "Basic YTpi")], "client_authentication_refused", 401),
        ("no proof", stage.pushed(), &[("dpop", "a.b.c")], "dpop_malformed", 400),
        ("another method", stage.pushed(), &[("content-encoding", "gzip")], "parameter_malformed", 400),
    ] {
        let response = stage.post("/par", &parameters, fields).await;
        assert_eq!((stage.code(&response), response.status().as_u16()), (code.to_owned(), status), "{what}");
        assert_eq!(stage.server.take().len(), 0, "{what}");
    }
    // FAPI2-AS-28
    let response = stage.send(Request::get(format!("{ORIGIN}/par")).body(Bytes::new()).unwrap()).await;
    assert_eq!((stage.code(&response), response.status().as_u16()), ("method_not_allowed".into(), 405));
    let with_query = stage.post("/par?scope=x", &stage.pushed(), &[]).await;
    assert_eq!(stage.code(&with_query), "parameter_malformed");
    for path in ["/register", "/token/", "/Token", "/par.json", "/userinfo", "/login/1/2"] {
        let response = stage.post(path, &stage.pushed(), &[]).await;
        assert_ne!(stage.code(&response), "ok", "{path}: whatever is no endpoint is refused");
    }
    assert_eq!(stage.server.take().len(), 0);
}

/// A login and a consent that are a script call the server in whatever way it has for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_called_with_any_method_and_an_endpoint_with_its_own() {
    let stage = Stage::set().await;
    let (passes, refused) = (("ok", 200), ("method_not_allowed", 405));
    for (path, method, expected) in [
        ("/login/1", "GET", passes),
        ("/login/1", "POST", passes),
        ("/login/1", "PUT", passes),
        ("/login/1", "PATCH", passes),
        ("/login/1", "DELETE", passes),
        ("/login/1", "OPTIONS", refused),
        ("/login/1", "BREW", refused),
        ("/authorize", "PUT", refused),
        ("/authorize", "POST", refused),
        ("/par", "PUT", refused),
        ("/token", "DELETE", refused),
    ] {
        let request = Request::builder().method(method).uri(format!("{ORIGIN}{path}"));
        let response = stage.send(request.body(Bytes::new()).expect("a request")).await;
        let code = stage.code(&response);
        assert_eq!((&*code, response.status().as_u16()), expected, "{method} {path}");
        assert_eq!(stage.server.take().len(), usize::from(expected == passes), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_request_proves_who_asks_and_what_to_bind_to() {
    let stage = Stage::set().await;
    stage.answers_token(&stage.bound_token(), "DPoP");
    let proven = |parameters: Vec<(String, String)>| {
        let stage = &stage;
        async move {
            let response = stage.post("/token", &parameters, &[("dpop", &stage.proof("/token"))]).await;
            (stage.code(&response), response.status().as_u16())
        }
    };
    assert_eq!(proven(stage.exchanged()).await, ("ok".into(), 200), "control");
    let refresh = [owned(&[("grant_type", "refresh_token"), ("refresh_token", "r")]), stage.authenticated()].concat();
    assert_eq!(proven(refresh).await.0, "ok", "control");
    for (name, value, code, status) in [
        ("grant_type", "password", "grant_type_refused", 400),
        ("grant_type", "urn:openid:params:grant-type:ciba", "grant_type_refused", 400),
        ("code_verifier", "", "pkce_missing", 400),
        ("code", "", "parameter_malformed", 400),
        ("client_assertion", "", "client_authentication_refused", 401),
    ] {
        let found = proven(changed(&stage.exchanged(), name, value)).await;
        assert_eq!(found, (code.to_owned(), status), "{name}={value}");
    }
    stage.server.take();
    // FAPI2-AS-37
    let nameless = owned(&[("grant_type", "authorization_code"), ("code", "c"), ("code_verifier", VERIFIER)]);
    let response = stage.world.client().send(posted("/token", &nameless, &[])).await.unwrap();
    assert_eq!((stage.code(&response), response.status().as_u16()), ("client_unknown".into(), 401));
    // FAPI2-AS-48
    let by_key = changed(&nameless, "client_id", "client-mtls-dpop");
    let response = stage.world.client().send(posted("/token", &by_key, &[])).await.unwrap();
    assert_eq!((stage.code(&response), response.status().as_u16()), ("dpop_missing".into(), 400));
    assert_eq!(body(&response)["error"], "invalid_dpop_proof");
    assert_eq!(stage.server.take().len(), 0);
    let response =
        stage.world.client().send(posted("/token", &by_key, &[("dpop", &stage.proof("/token"))])).await.unwrap();
    assert_eq!(stage.code(&response), "ok", "control");
    stage.server.take();
    // FAPI2-AS-04, FAPI2-AS-39, FAPI2-AS-41
    let elsewhere = Proof::new("POST", &format!("{ORIGIN}/par"), stage.world.clock.now()).sign(&stage.proof_key);
    let used = stage.proof("/token");
    let first = stage.post("/token", &stage.exchanged(), &[("dpop", &used)]).await;
    assert_eq!(stage.code(&first), "ok", "control");
    stage.server.take();
    for (what, fields, code) in [
        ("neither a proof nor a certificate", &[][..], "sender_constraint_missing"),
        ("a proof for another endpoint", &[("dpop", &*elsewhere)], "dpop_uri_mismatch"),
        ("a proof that was used", &[("dpop", &*used)], "dpop_replayed"),
    ] {
        let response = stage.post("/token", &stage.exchanged(), fields).await;
        assert_eq!((stage.code(&response), response.status().as_u16()), (code.to_owned(), 400), "{what}");
        assert_eq!(stage.server.take().len(), 0, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_brings_what_was_pushed_and_by_whom() {
    let stage = Stage::set().await;
    let authorize = |query: String| {
        let stage = &stage;
        async move {
            let response =
                stage.send(Request::get(format!("{ORIGIN}/authorize?{query}")).body(Bytes::new()).unwrap()).await;
            (stage.code(&response), response.status().as_u16())
        }
    };
    let query = |client: &str, uri: &str| form(&owned(&[("client_id", client), ("request_uri", uri)]));
    assert_eq!(authorize(query(CLIENT, REQUEST_URI)).await, ("request_uri_unknown".into(), 400));
    assert_eq!(stage.code(&stage.post("/par", &stage.pushed(), &[]).await), "ok");
    stage.server.take();
    for (query, code) in [
        // FAPI2-AS-29
        (query("client-2", REQUEST_URI), "request_uri_unknown"),
        (query(CLIENT, "urn:ietf:params:oauth:request_uri:2"), "request_uri_unknown"),
        // MS-07
        (query(CLIENT, "https://attacker.example/request"), "request_uri_unknown"),
        // FAPI2-AS-16
        (format!("response_type=code&client_id={CLIENT}&redirect_uri={CALLBACK}"), "par_required"),
        (format!("{}&scope=payments", query(CLIENT, REQUEST_URI)), "parameter_refused"),
        (format!("{}&request=a.b.c", query(CLIENT, REQUEST_URI)), "par_required"),
        (format!("{}&client_id={CLIENT}", query(CLIENT, REQUEST_URI)), "parameter_repeated"),
        (form(&owned(&[("request_uri", REQUEST_URI)])), "parameter_malformed"),
    ] {
        let found = authorize(query.clone()).await;
        assert_eq!(found.0, code, "{query}");
        assert_eq!(stage.server.take().len(), 0, "{query}");
    }
    // FAPI2-AS-25: a page can be loaded again.
    for _ in 0..2 {
        assert_eq!(authorize(query(CLIENT, REQUEST_URI)).await, ("ok".into(), 303), "control");
    }
    stage.world.reload(1, |yaml| yaml.replace("access_token_lifetime: 10m", "access_token_lifetime: 5m")).await;
    assert_eq!(authorize(query(CLIENT, REQUEST_URI)).await.0, "ok", "a reload forgets nothing that was pushed");
    // FAPI2-AS-24
    stage.world.clock.advance(60);
    assert_eq!(authorize(query(CLIENT, REQUEST_URI)).await, ("request_uri_unknown".into(), 400));
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_were_not_pushed_can_be_left_out() {
    let stage =
        Stage::with(|section| section.replace("    answers:", "    other_parameters: drop\n    answers:")).await;
    assert_eq!(stage.code(&stage.post("/par", &stage.pushed(), &[]).await), "ok");
    stage.server.take();
    let pushed = form(&owned(&[("client_id", CLIENT), ("request_uri", REQUEST_URI)]));
    let uri = format!("{ORIGIN}/authorize?scope=payments&{pushed}&redirect_uri=https%3A%2F%2Fattacker.example");
    let response = stage.send(Request::get(uri).body(Bytes::new()).unwrap()).await;
    assert_eq!(stage.code(&response), "ok");
    assert_eq!(stage.server.take()[0].target, format!("/authorize?{pushed}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_registered_is_judged_without_keys_if_so_configured() {
    let stage = Stage::with(|section| {
        section.replace("directory: clients }", "directory: clients, unknown: judge_without_keys }")
    })
    .await;
    let stranger = |more: &[(&str, &str)]| {
        let asked = [
            ("client_id", "stranger"),
            ("response_type", "code"),
            ("redirect_uri", "https://stranger.example/cb"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        let assertion = stage.authenticated_with(&stage.assertion("stranger", &json!({})));
        [owned(&asked), assertion, owned(more)].concat()
    };
    assert_eq!(stage.code(&stage.post("/par", &stranger(&[]), &[]).await), "ok", "control");
    for (name, value, code) in [
        ("code_challenge_method", "plain", "pkce_plain"),
        ("redirect_uri", "http://stranger.example/cb", "redirect_uri_refused"),
        ("client_assertion", "", "client_authentication_refused"),
    ] {
        let response = stage.post("/par", &changed(&stranger(&[]), name, value), &[]).await;
        assert_eq!(stage.code(&response), code, "{name}={value}");
    }
}

/// RFC 7662 §4: only a resource server asks about tokens.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_42_a_client_never_passes_for_a_resource_server() {
    let stage = Stage::set().await;
    stage.server.answers("/introspect", Answer::json(200, &json!({ "active": false })));
    let asked = |assertion: Vec<(String, String)>| [owned(&[("token", "t")]), assertion].concat();
    let response = stage.post("/introspect", &asked(stage.authenticated()), &[]).await;
    assert_eq!((stage.code(&response), response.status().as_u16()), ("client_unknown".into(), 401));
    let detail = |response| stage.world.gateway.record_of(response)["detail"].clone();
    assert_eq!(detail(&response), "no resource server \"client-1\" is registered here");
    let response = stage.post("/revoke", &owned(&[("token", "t"), ("client_id", "client-9")]), &[]).await;
    assert_eq!(detail(&response), "no client \"client-9\" is registered here");
    assert_eq!(stage.server.take().len(), 0);
    for path in ["/introspect", "/revoke"] {
        let response = stage.post(path, &owned(&[("token", "t")]), &[]).await;
        assert_eq!((stage.code(&response), response.status().as_u16()), ("client_unknown".into(), 401), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn message_signing_takes_signed_requests_alone() {
    let stage = Stage::signing(message_signing).await;
    let response = stage.post("/par", &stage.pushed(), &[]).await;
    assert_eq!(stage.code(&response), "request_object_required");
    let object = |more: Value| stage.pushed_object(&more);
    // MS-02
    for more in [json!({}), json!({ "aud": [ORIGIN, "https://other.example"] })] {
        assert_eq!(stage.code(&stage.post("/par", &object(more), &[]).await), "ok", "control");
    }
    for (more, code) in [
        (json!({ "aud": "https://other.example" }), "request_object_invalid"),
        // MS-04
        (json!({ "typ": "at+jwt" }), "request_object_invalid"),
        (json!({ "response_mode": "query" }), "response_mode_refused"),
        (json!({ "code_challenge_method": "plain" }), "pkce_plain"),
        (json!({ "redirect_uri": "https://attacker.example" }), "redirect_uri_refused"),
    ] {
        assert_eq!(stage.code(&stage.post("/par", &object(more.clone()), &[]).await), code, "{more}");
    }
    let beside = [object(json!({})), owned(&[("scope", "payments")])].concat();
    assert_eq!(stage.code(&stage.post("/par", &beside, &[]).await), "parameter_refused");
}

/// What a proxy takes out of a request, or a server prefers to what was judged.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_judges_the_request_that_was_judged_here() {
    let stage = Stage::set().await;
    stage.answers_token(&stage.bound_token(), "DPoP");
    let proof = || stage.proof("/token");
    let h1 = |request| {
        let client = stage.client().h1();
        async move { client.send(request).await.expect("the gateway answers") }
    };
    let good = h1(posted("/token", &stage.exchanged(), &[("dpop", &proof()), ("connection", "keep-alive")])).await;
    assert_eq!(stage.code(&good), "ok", "control");
    for named in ["content-type", "dpop", "close, dpop"] {
        let response = h1(posted("/token", &stage.exchanged(), &[("dpop", &proof()), ("connection", named)])).await;
        assert_eq!((stage.code(&response), response.status().as_u16()), ("header_malformed".into(), 400), "{named}");
    }
    stage.server.take();
    // Fields in which products expect a certificate from a proxy.
    let fields = [("dpop", &*proof()), ("x-wso2-mtls-cert", "a"), ("x-remote-user", "a"), ("x-client-verify", "a")];
    assert_eq!(stage.code(&stage.post("/token", &stage.exchanged(), &fields).await), "ok");
    let [call] = &stage.server.take()[..] else { panic!("one call") };
    assert!(fields[1..].iter().all(|(name, _)| !call.headers.contains_key(*name)), "{call:?}");
    // A body beside a query.
    assert_eq!(stage.code(&stage.post("/par", &stage.pushed(), &[]).await), "ok");
    stage.server.take();
    let query = form(&owned(&[("client_id", CLIENT), ("request_uri", REQUEST_URI)]));
    let with_body =
        Request::get(format!("{ORIGIN}/authorize?{query}")).header("content-type", "application/x-www-form-urlencoded");
    let response = h1(with_body.body("request_uri=urn:evil".into()).unwrap()).await;
    assert_eq!((stage.code(&response), response.status().as_u16()), ("body_too_large".into(), 413));
    assert_eq!(stage.server.take().len(), 0);
}

/// RFC 9449 §8: the nonces are the server's, so what only a nonce of the gateway's could help is no client's fault.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_used_before_the_start_is_the_logs_fault() {
    let stage = Stage::set().await;
    stage.answers_token(&stage.bound_token(), "DPoP");
    // The gateway of the tests began two minutes ago; what is older than that is too old as well.
    let old = Proof::new("POST", &format!("{ORIGIN}/token"), stage.world.clock.now() - 100).sign(&stage.proof_key);
    let response = stage.post("/token", &stage.exchanged(), &[("dpop", &old)]).await;
    assert_eq!((stage.code(&response), response.status().as_u16()), ("dpop_stale".into(), 400), "control");
    stage.world.clock.set_back(125);
    let young = Proof::new("POST", &format!("{ORIGIN}/token"), stage.world.clock.now()).sign(&stage.proof_key);
    for (proof, assertion) in [(young, stage.exchanged())] {
        let response = stage.post("/token", &assertion, &[("dpop", &proof)]).await;
        let found = (stage.code(&response), response.status().as_u16());
        assert_eq!(found, ("replay_log_unavailable".into(), 503));
        assert!(response.headers().contains_key("retry-after") && !response.headers().contains_key("dpop-nonce"));
    }
}
