//! Clients that register themselves: what may be asked for, who vouches for it, and what comes back.

use http::header;
use rcgen::DnType;
use sandbox::pki::Credential;

use super::*;

const KEYS: &str = "https://directory.example/org-1/software-1.jwks";
const DIRECTORY: &str = "Directory SSA issuer";

/// A stage whose server has a registration endpoint, with this section.
async fn stage(section: &str) -> Stage {
    let stage = Stage::with(|servers| {
        let served = servers.replace("      jwks: /jwks\n", "      jwks: /jwks\n      registration: /register\n");
        format!("{served}{section}")
    })
    .await;
    stage.server.answers("/register", Answer::json(201, &registered(&json!({}))));
    stage
}

const STATEMENTS: &str = "    registration:
      software_statements: { issuer: Directory SSA issuer, jwks: directory.json, algorithms: [ES256] }
      organisation: { certificate: OU }
      software: { certificate: CN }
";

fn asked() -> Value {
    json!({
        "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": KEYS, "redirect_uris": [CALLBACK],
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        "tls_client_certificate_bound_access_tokens": true, "client_name": "Fintech",
    })
}

/// The good request with some members replaced, or removed by `null`.
fn with(mut object: Value, members: &Value) -> Value {
    let known = object.as_object_mut().expect("an object");
    for (name, value) in members.as_object().expect("an object") {
        known.remove(name);
        if !value.is_null() {
            known.insert(name.clone(), value.clone());
        }
    }
    object
}

/// The answer that registers the client as it asked, with these members.
fn registered(members: &Value) -> Value {
    with(with(asked(), &json!({ "client_id": "client-9", "registration_access_token": "of-client-9" })), members)
}

impl Stage {
    /// Sends this body to the registration endpoint.
    async fn register(&self, body: impl Into<Bytes>, fields: &[(&str, &str)], by: &Client) -> Response<Bytes> {
        let mut request = Request::post(format!("{ORIGIN}/register"));
        if !fields.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        by.send(request.body(body.into()).expect("a request")).await.expect("the gateway answers")
    }

    /// A statement of the directory with these claims beside the usual ones or instead.
    fn statement(&self, claims: &Value) -> String {
        self.statement_by(&self.directory, claims)
    }

    fn statement_by(&self, key: &SigningKey, claims: &Value) -> String {
        let stated = json!({
            "iss": DIRECTORY, "iat": self.world.clock.now(), "jti": "1", "org_id": "org-1", "software_id": "software-1",
            "software_jwks_uri": KEYS, "software_redirect_uris": [CALLBACK],
        });
        key.sign(&json!({ "alg": "ES256", "typ": "JWT", "kid": "directory" }), &with(stated, claims))
    }

    /// The certificate of some software of an organisation.
    fn certificate(&self, organisation: &str, software: &str) -> Credential {
        self.world.authority.client_with(software, |params| {
            params.distinguished_name.push(DnType::OrganizationalUnitName, organisation);
        })
    }

    /// Nothing was forwarded, and the client is told no more than the error of this code.
    fn refused(&self, response: &Response<Bytes>, code: &str, status: u16, what: &str) {
        assert_eq!((self.code(response), response.status().as_u16()), (code.to_owned(), status), "{what}");
        let error = Code::ALL.iter().find(|known| known.as_str() == code).and_then(|code| code.oauth_error());
        assert_eq!(body(response)["error"], error.expect("an error of RFC 7591").as_str(), "{what}");
        assert!(!response.headers().contains_key(header::WWW_AUTHENTICATE), "{what}");
        assert_eq!(self.server.take().len(), 0, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_05_only_clients_that_fapi_allows_are_registered() {
    let stage = stage("").await;
    let nobody = stage.client();
    let text = asked().to_string();
    let response = stage.register(text.clone(), &[("authorization", "Bearer initial")], &nobody).await;
    assert_eq!((stage.code(&response), response.status().as_u16()), ("ok".into(), 201), "control");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(body(&response), registered(&json!({})), "its access token reaches the client");
    let calls = stage.server.take();
    assert_eq!((&*calls[0].body, &calls[0].headers["authorization"]), (&*text, &"Bearer initial".parse().unwrap()));
    let by_proof = json!({ "dpop_bound_access_tokens": true, "tls_client_certificate_bound_access_tokens": null });
    let response = stage.register(with(asked(), &by_proof).to_string(), &[], &nobody).await;
    assert_eq!(stage.code(&response), "ok", "control");
    stage.server.take();
    for (what, members, code) in [
        ("a secret", json!({ "token_endpoint_auth_method": "client_secret_basic" }), "registration_refused"),
        ("a public client", json!({ "token_endpoint_auth_method": "none" }), "registration_refused"),
        ("no method", json!({ "token_endpoint_auth_method": null }), "registration_refused"),
        ("no keys", json!({ "jwks_uri": null }), "registration_refused"),
        ("keys without TLS", json!({ "jwks_uri": "http://client.example/jwks" }), "registration_refused"),
        ("keys twice", json!({ "jwks": { "keys": [stage.key.jwk()] } }), "registration_refused"),
        ("a weak algorithm", json!({ "token_endpoint_auth_signing_alg": "RS256" }), "registration_refused"),
        ("unsigned ID tokens", json!({ "id_token_signed_response_alg": "none" }), "registration_refused"),
        ("passwords", json!({ "grant_types": ["password"] }), "registration_refused"),
        ("a grant of nobody", json!({ "grant_types": ["urn:openid:params:grant-type:ciba"] }), "registration_refused"),
        ("tokens in the browser", json!({ "response_types": ["code", "token"] }), "registration_refused"),
        ("unbound", json!({ "tls_client_certificate_bound_access_tokens": false }), "registration_refused"),
        ("an id of its own", json!({ "client_id": CLIENT }), "registration_refused"),
        ("http", json!({ "redirect_uris": ["http://client.example/cb"] }), "registration_redirect_refused"),
        ("a fragment", json!({ "redirect_uris": [CALLBACK, "https://a.example/#b"] }), "registration_redirect_refused"),
        (
            "a statement that nobody can verify",
            json!({ "software_statement": stage.statement(&json!({})) }),
            "software_statement_refused",
        ),
    ] {
        let response = stage.register(with(asked(), &members).to_string(), &[], &nobody).await;
        stage.refused(&response, code, 400, what);
    }
    let twice = text.replacen('{', r#"{"token_endpoint_auth_method":"none","#, 1);
    for (what, body, fields, code, status) in [
        ("two readings", twice, &[][..], "registration_refused", 400),
        ("no object", "[]".to_owned(), &[], "registration_refused", 400),
        ("a form", text.clone(), &[("content-type", "application/x-www-form-urlencoded")], "registration_refused", 400),
        ("coded", text.clone(), &[("content-encoding", "gzip")], "registration_refused", 400),
        ("Basic", text.clone(), &[("authorization", "Basic YTpi")], "client_authentication_refused", 401),
    ] {
        let response = stage.register(body, fields, &nobody).await;
        stage.refused(&response, code, status, what);
    }
    let long = text.clone() + &" ".repeat(64 * 1024);
    let response = stage.register(long, &[], &nobody).await;
    assert_eq!((stage.code(&response), response.status().as_u16()), ("body_too_large".into(), 413));
    let response = stage.send(Request::get(format!("{ORIGIN}/register")).body(Bytes::new()).unwrap()).await;
    assert_eq!(stage.code(&response), "method_not_allowed");
    assert_eq!(stage.server.take().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_vouches_for_the_software_and_its_certificate() {
    let stage = stage(STATEMENTS).await;
    let own = stage.client().certificate(&stage.certificate("org-1", "software-1"));
    let request = |statement: String, members: Value| {
        with(with(asked(), &json!({ "software_statement": statement })), &members).to_string()
    };
    let good = stage.statement(&json!({}));
    let now = stage.world.clock.now();
    for (what, body) in [
        ("control", request(good.clone(), json!({}))),
        ("what the statement says need not be said", request(good.clone(), json!({ "jwks_uri": null }))),
        ("five minutes ago", request(stage.statement(&json!({ "iat": now - 300 })), json!({}))),
    ] {
        let response = stage.register(body.clone(), &[], &own).await;
        assert_eq!(stage.code(&response), "ok", "{what}");
        let calls = stage.server.take();
        assert_eq!(calls[0].body, body, "{what}");
        assert!(calls[0].headers.contains_key("client-cert"), "{what}: the server is told of the certificate");
    }
    let forger = SigningKey::generate(KeyKind::Es256, "directory");
    let attacker = "https://attacker.example/cb";
    let refused = "software_statement_refused";
    for (what, body, code) in [
        ("no statement", asked().to_string(), refused),
        ("a forged one", request(stage.statement_by(&forger, &json!({})), json!({})), refused),
        ("another directory", request(stage.statement(&json!({ "iss": "Another" })), json!({})), refused),
        ("an old one", request(stage.statement(&json!({ "iat": now - 311 })), json!({})), refused),
        ("an expired one", request(stage.statement(&json!({ "exp": now - 11 })), json!({})), refused),
        ("another organisation", request(stage.statement(&json!({ "org_id": "org-2" })), json!({})), refused),
        ("other software", request(stage.statement(&json!({ "software_id": "software-2" })), json!({})), refused),
        ("other keys", request(good.clone(), json!({ "jwks_uri": "https://attacker.example/jwks" })), refused),
        ("a contradiction", request(good.clone(), json!({ "software_id": "software-2" })), refused),
        (
            "a redirect URI of its own",
            request(good.clone(), json!({ "redirect_uris": [CALLBACK, attacker] })),
            "registration_redirect_refused",
        ),
        (
            "what the statement alone says",
            request(
                stage.statement(&json!({ "token_endpoint_auth_method": "none" })),
                json!({ "token_endpoint_auth_method": null }),
            ),
            "registration_refused",
        ),
    ] {
        let response = stage.register(body, &[], &own).await;
        stage.refused(&response, code, 400, what);
    }
    for (what, client, code, status) in [
        ("no certificate", stage.client(), "client_authentication_refused", 401),
        (
            "that of another organisation",
            stage.client().certificate(&stage.certificate("org-2", "software-1")),
            refused,
            400,
        ),
        ("that of other software", stage.client().certificate(&stage.certificate("org-1", "software-2")), refused, 400),
        ("one without an organisation", stage.client().certificate(&stage.world.c1), refused, 400),
    ] {
        let response = stage.register(request(good.clone(), json!({})), &[], &client).await;
        stage.refused(&response, code, status, what);
    }
}

/// UK Open Banking Dynamic Client Registration 3.2: the request is a JWT.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_may_be_a_jwt_of_the_client() {
    let stage = stage("    registration: { sender_constrained: optional }\n").await;
    let nobody = stage.client();
    let by_value = json!({
        "jwks_uri": null, "jwks": { "keys": [stage.key.jwk()] }, "tls_client_certificate_bound_access_tokens": null,
    });
    stage.server.answers("/register", Answer::json(201, &registered(&by_value)));
    let claims = with(asked(), &by_value);
    let header = json!({ "alg": "ES256", "typ": "JWT", "kid": "client" });
    let signed = stage.key.sign(&header, &claims);
    let forged = SigningKey::generate(KeyKind::Es256, "client").sign(&header, &claims);
    for kind in ["application/jwt", "application/jose"] {
        let response = stage.register(signed.clone(), &[("content-type", kind)], &nobody).await;
        assert_eq!(stage.code(&response), "ok", "control: {kind}");
        assert_eq!(stage.server.take()[0].body, signed, "{kind}");
        for (what, body) in [
            ("a forged one", forged.clone()),
            ("JSON", claims.to_string()),
            (
                "a secret",
                stage.key.sign(&header, &with(claims.clone(), &json!({ "token_endpoint_auth_method": null }))),
            ),
        ] {
            let response = stage.register(body, &[("content-type", kind)], &nobody).await;
            stage.refused(&response, "registration_refused", 400, what);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_client_is_registered_otherwise_than_it_asked() {
    let stage = stage("").await;
    let nobody = stage.client();
    let secret = json!({ "client_secret": "SECRET" });
    for (what, answer, code) in [
        ("control", Answer::json(201, &registered(&json!({}))), "ok"),
        ("less", Answer::json(201, &registered(&json!({ "grant_types": ["authorization_code"] }))), "ok"),
        ("a refusal", Answer::json(400, &json!({ "error": "invalid_redirect_uri" })), "ok"),
        ("a secret", Answer::json(201, &registered(&secret)), "answer_malformed"),
        (
            "another method",
            Answer::json(201, &registered(&json!({ "token_endpoint_auth_method": "client_secret_post" }))),
            "answer_malformed",
        ),
        (
            "another redirect URI",
            Answer::json(201, &registered(&json!({ "redirect_uris": [CALLBACK, "https://attacker.example"] }))),
            "answer_malformed",
        ),
        (
            "another grant",
            Answer::json(201, &registered(&json!({ "grant_types": ["client_credentials"] }))),
            "answer_malformed",
        ),
        (
            "unbound",
            Answer::json(201, &registered(&json!({ "tls_client_certificate_bound_access_tokens": false }))),
            "answer_malformed",
        ),
        ("no client", Answer::json(201, &registered(&json!({ "client_id": null }))), "answer_malformed"),
        ("a secret as an error", Answer::json(400, &secret), "answer_malformed"),
        ("a redirect", Answer::redirect(302, "https://attacker.example"), "answer_malformed"),
        ("a page", Answer { fields: vec![], ..Answer::json(201, &registered(&json!({}))) }, "answer_malformed"),
    ] {
        stage.server.answers("/register", answer);
        let response = stage.register(asked().to_string(), &[], &nobody).await;
        assert_eq!(stage.code(&response), code, "{what}");
        if code != "ok" {
            assert_eq!(response.status(), 502, "{what}");
            let text = String::from_utf8_lossy(response.body()).into_owned() + &format!("{:?}", response.headers());
            let has = |found| text.contains(found);
            assert!(!has("SECRET") && !has("attacker") && !has("client-9"), "{what}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_names_the_endpoint_that_is_guarded() {
    let document = json!({
        "issuer": ORIGIN, "authorization_endpoint": "http://internal/authorize", "token_endpoint": "http://internal/token",
        "registration_endpoint": "http://internal/register", "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"], "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "grant_types_supported": ["authorization_code"],
    });
    let path = "/.well-known/oauth-authorization-server";
    for (stage, expected) in [(stage("").await, json!(format!("{ORIGIN}/register"))), (Stage::set().await, Value::Null)]
    {
        stage.server.answers(path, Answer::json(200, &document));
        let response = stage.send(Request::get(format!("{ORIGIN}{path}")).body(Bytes::new()).unwrap()).await;
        assert_eq!(stage.code(&response), "ok");
        assert_eq!(body(&response)["registration_endpoint"], expected);
    }
}
