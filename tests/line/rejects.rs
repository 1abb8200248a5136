//! A valid request with one thing broken at a time: every code has its case here, over a real socket, and a code
//! without a case fails the test.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Mutex;

use bytes::Bytes;
use fapi::code::Code;
use fapi::headers::InteractionId;
use fapi::peer::ClientCertificate;
use fapi::rejection::{Rejection, Seen, Unavailable};
use http::{HeaderValue, Method, Request, StatusCode};
use rustls::crypto::aws_lc_rs::default_provider;
use sandbox::https::Answer;
use sandbox::pki::{Authority, Credential, self_signed};
use sandbox::tokens::{self, AccessToken, KeyKind, Proof, SigningKey};
use serde_json::{Value, json};

use crate::edge::hostile::wire::now;
use crate::support::client::Client;
use crate::support::{DEADLINE, ORIGIN, World, dpop_request, remember, request};

/// The codes that a case has produced.
#[derive(Default)]
struct Covered(Mutex<BTreeSet<Code>>);

impl Covered {
    fn note(&self, code: Code) {
        self.0.lock().expect("no panic").insert(code);
    }

    fn missing(&self) -> Vec<Code> {
        let seen = self.0.lock().expect("no panic");
        let mut elsewhere = super::authorization_server::codes();
        elsewhere.extend(super::signatures::codes());
        elsewhere.extend(super::directories::codes());
        elsewhere.extend(super::ecosystems::codes());
        elsewhere.extend(super::consents::codes());
        elsewhere.extend(super::idempotency::codes());
        Code::ALL.iter().copied().filter(|code| !seen.contains(code) && !elsewhere.contains(code)).collect()
    }
}

/// Expects `code` with its status, a challenge for both schemes and a record, and that nothing was forwarded.
async fn refused(world: &World, covered: &Covered, code: Code, what: &str, client: &Client, request: Request<Bytes>) {
    refused_with(world, covered, code, what, client, request, 2).await;
}

/// The same for a route that accepts this many schemes.
async fn refused_with(
    world: &World,
    covered: &Covered,
    code: Code,
    what: &str,
    client: &Client,
    request: Request<Bytes>,
    schemes: usize,
) {
    let before = world.accounts.server().heads();
    let response = client.send(request).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let record = world.gateway.record_of(&response);
    assert_eq!(record["code"], code.as_str(), "{what}: {record}");
    assert_eq!(response.status(), code.status(), "{what}");
    assert_eq!(record["status"], code.status().as_u16(), "{what}");
    assert_eq!(response.headers()["cache-control"], "no-store", "{what}");
    assert_eq!(world.accounts.server().heads(), before, "{what}: nothing may reach the upstream");
    let challenges = response.headers().get_all("www-authenticate").iter().count();
    let wanted = code.status() == StatusCode::UNAUTHORIZED || code.oauth_error().is_some();
    assert_eq!(challenges, if wanted { schemes } else { 0 }, "{what}: challenges");
    let body: Value = serde_json::from_slice(response.body()).unwrap_or_else(|error| panic!("{what}: {error}"));
    match code.oauth_error() {
        Some(error) => assert_eq!(body["error"], error.as_str(), "{what}"),
        None => assert!(body["error"].is_string(), "{what}"),
    }
    covered.note(code);
}

/// The same for exact bytes on HTTP/1.1.
async fn refused_raw(world: &World, covered: &Covered, code: Code, what: &str, bytes: &[u8]) {
    let before = world.accounts.server().heads();
    let answer = String::from_utf8(world.client().raw(bytes).await).expect("an answer is text");
    let status = format!("HTTP/1.1 {} ", code.status().as_u16());
    assert!(answer.starts_with(&status), "{what}: {answer:?}");
    let id = answer.to_ascii_lowercase().split("x-fapi-interaction-id: ").nth(1).map(|rest| rest[..36].to_owned());
    let record = world.gateway.record(&id.unwrap_or_else(|| panic!("{what}: no interaction id in {answer:?}")));
    assert_eq!(record["code"], code.as_str(), "{what}: {record}");
    assert_eq!(world.accounts.server().heads(), before, "{what}: nothing may reach the upstream");
    covered.note(code);
}

async fn passes(world: &World, what: &str, request: Request<Bytes>) {
    assert_eq!(world.judge(request).await, (200, "ok".to_owned()), "control of {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_code_has_a_case() {
    let covered = Covered::default();
    let world = World::start().await;
    passes(&world, "all", world.request()).await;
    credentials(&world, &covered).await;
    tokens_and_claims(&world, &covered).await;
    requirements(&covered).await;
    customers(&covered).await;
    confirmations(&world, &covered).await;
    proofs(&world, &covered).await;
    certificates(&world, &covered).await;
    routes(&world, &covered).await;
    messages(&world, &covered).await;
    passes(&world, "after all of these", world.request()).await;
    slow_and_large(&covered).await;
    upstreams(&covered).await;
    // A client that has disconnected sees no status; endings.rs checks the record.
    covered.note(Code::ClientGone);
    // Nor does a client that is cut off after the head of a response; hostile/slow.rs checks that.
    covered.note(Code::ClientStalled);
    covered.note(Code::ExchangeTimeout);
    // Nor can a request make the disk of the audit full; operate/audit.rs does.
    covered.note(Code::AuditUnavailable);
    // Nor can it stop the gateway; hostile/drain.rs does.
    covered.note(Code::GatewayStopped);
    // This requires a connection that was accepted before a reload; hostile/certificates.rs checks it.
    covered.note(Code::ConnectionOutdated);
    proxies(&covered).await;
    issuers(&covered).await;
    introspection(&covered).await;
    overload(&covered).await;
    shares(&covered).await;
    rates(&covered).await;
    revocations(&covered).await;
    proofs_elsewhere(&covered).await;
    // Nothing that a peer sends leads to this code; its response is checked all the same.
    let internal = Rejection::new(Unavailable::Internal { detail: "x".into() }, Seen::default());
    let answer = internal.response(&InteractionId::from_uuid(uuid::Uuid::nil()));
    assert_eq!(
        (answer.status(), answer.headers().contains_key("www-authenticate")),
        (StatusCode::INTERNAL_SERVER_ERROR, false)
    );
    covered.note(Code::Internal);
    assert_eq!(covered.missing(), [], "codes without a case");
}

async fn credentials(world: &World, covered: &Covered) {
    let token = world.sign(&world.token());
    let bare = |path: &str| Request::get(format!("{ORIGIN}{path}")).body(Bytes::new()).unwrap();
    let with = |value: &str| {
        Request::get(format!("{ORIGIN}/accounts")).header("authorization", value).body(Bytes::new()).unwrap()
    };
    let client = world.client();
    refused(world, covered, Code::CredentialsMissing, "no Authorization", &client, bare("/accounts")).await;
    for (name, value) in [("cookie", format!("access_token={token}")), ("x-access-token", token.clone())] {
        let request = Request::get(format!("{ORIGIN}/accounts")).header(name, value).body(Bytes::new()).unwrap();
        refused(world, covered, Code::CredentialsMissing, "FAPI2-RS-03 elsewhere", &client, request).await;
    }
    let query = format!("/accounts?access_token={token}");
    refused(world, covered, Code::CredentialsInQuery, "FAPI2-RS-02", &client, bare(&query)).await;
    refused(world, covered, Code::CredentialsRepeated, "field and query", &client, request(&query, &token)).await;
    let twice = Request::get(format!("{ORIGIN}/accounts"))
        .header("authorization", format!("Bearer {token}"))
        .header("authorization", format!("Bearer {token}"))
        .body(Bytes::new())
        .unwrap();
    refused(world, covered, Code::CredentialsRepeated, "BEAR-03", &client, twice).await;
    let form = |authorization: Option<&str>, body: &str| {
        let mut request =
            Request::post(format!("{ORIGIN}/payments")).header("content-type", "application/x-www-form-urlencoded");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        request.body(Bytes::from(body.to_owned())).unwrap()
    };
    let bearer = format!("Bearer {token}");
    assert_eq!(world.judge(form(Some(&bearer), "amount=1")).await, (201, "ok".into()), "control of BEAR-02");
    let body = format!("amount=1&access_token={token}");
    refused(world, covered, Code::CredentialsRepeated, "BEAR-02", &client, form(Some(&bearer), &body)).await;
    refused(world, covered, Code::CredentialsMissing, "FAPI2-RS-03 form", &client, form(None, &body)).await;
    for value in ["Bearer", "Bearer a b", "Bearer a,b", "Bearer \"x\"", "Bearer a=b"] {
        refused(world, covered, Code::CredentialsMalformed, value, &client, with(value)).await;
    }
    for value in ["Basic YTpi", "Negotiate abc", &format!("DPoPx {token}")] {
        refused(world, covered, Code::SchemeUnsupported, "another scheme", &client, with(value)).await;
    }
}

async fn proofs(world: &World, covered: &Covered) {
    let client = world.anonymous();
    let holder = world.holder();
    let now = world.clock.now();
    let good = || holder.proof("/accounts", now);
    let dpop = |proof: &Proof| holder.request("/accounts", proof);
    assert_eq!(world.judge_from(&client, dpop(&good())).await, (200, "ok".into()), "control of the proofs");
    let private = json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA"});
    let curve = json!({"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"});
    let cases: Vec<(Code, &str, Request<Bytes>)> = vec![
        (Code::DpopMalformed, "DPOP-03", dpop_request("/accounts", &holder.token, "a.b")),
        (Code::DpopRepeated, "DPOP-01", dpop_request("/accounts", &holder.token, "a.b.c, a.b.c")),
        (Code::DpopTypeWrong, "DPOP-06", dpop(&good().header("typ", "JWT"))),
        (Code::DpopAlgorithmRefused, "DPOP-07", dpop(&good().header("alg", "RS256"))),
        (Code::DpopKeyPrivate, "DPOP-09", dpop(&good().header("jwk", private))),
        (Code::DpopKeyRefused, "DPOP-08", dpop(&good().header("jwk", curve))),
        (Code::DpopClaimMissing, "DPOP-04", dpop(&good().without("jti"))),
        (Code::DpopClaimMalformed, "DPOP-05", dpop(&good().claim("iat", "now"))),
        (Code::DpopMethodMismatch, "DPOP-10", dpop(&good().claim("htm", "PUT"))),
        (Code::DpopUriMismatch, "DPOP-11", dpop(&good().claim("htu", "https://other.example/accounts"))),
        (Code::DpopStale, "DPOP-19", dpop(&good().claim("iat", now - 61))),
        (Code::DpopAthMismatch, "DPOP-20", dpop(&good().for_token("another"))),
        (Code::DpopTokenAsBearer, "DPOP-30", request("/accounts", &holder.token)),
    ];
    for (code, what, request) in cases {
        refused(world, covered, code, what, &client, request).await;
    }
    let mut bare = dpop(&good());
    bare.headers_mut().remove("dpop");
    refused(world, covered, Code::DpopMissing, "DPOP-29", &client, bare).await;
    let stranger = SigningKey::generate(KeyKind::Es256, "stranger");
    let borrowed = good().header("jwk", holder.key.bare_jwk()).sign(&stranger);
    let borrowed = dpop_request("/accounts", &holder.token, &borrowed);
    refused(world, covered, Code::DpopSignatureInvalid, "DPOP-08", &client, borrowed).await;
    let stolen = dpop_request("/accounts", &holder.token, &good().sign(&stranger));
    refused(world, covered, Code::DpopKeyMismatch, "DPOP-21", &client, stolen).await;
    let unbound = world.sign(&world.token());
    let unbound = dpop_request("/accounts", &unbound, &good().for_token(&unbound).sign(&holder.key));
    refused(world, covered, Code::DpopTokenUnbound, "DPOP-31", &world.client(), unbound).await;
    let proof = good();
    assert_eq!(world.judge_from(&client, dpop(&proof)).await, (200, "ok".into()), "control of DPOP-39");
    refused(world, covered, Code::DpopReplayed, "DPOP-39", &client, dpop(&proof)).await;
}

/// A route that accepts a single binding, and a gateway that requires nonces and whose replay log is full.
async fn proofs_elsewhere(covered: &Covered) {
    let world = World::with(|scene| {
        scene
            .replace("routes:\n", "routes:\n  - { name: pinned, path: /pinned, methods: [GET], scopes: [accounts], sender_constraint: [certificate], upstream: accounts }\n")
            .replace("upstreams:\n", "dpop: { nonce: always }\nreplay: { max_entries: 1000, max_entries_per_key: 900 }\nupstreams:\n")
    })
    .await;
    let client = world.anonymous();
    let holder = world.holder();
    let pinned = holder.request("/pinned", &holder.proof("/pinned", world.clock.now()));
    refused_with(&world, covered, Code::SchemeUnsupported, "a route for certificates", &client, pinned, 1).await;
    let proof = || holder.proof("/accounts", world.clock.now());
    let first = holder.request("/accounts", &proof());
    let response = client.send(first.clone()).await.unwrap();
    let nonce = response.headers()["dpop-nonce"].to_str().unwrap().to_owned();
    refused(&world, covered, Code::DpopNonceRequired, "DPOP-18", &client, first).await;
    let next = || holder.request("/accounts", &proof().claim("nonce", nonce.as_str()));
    let mut connection = client.clone().h2().connect().await.unwrap();
    for _ in 0..900 {
        assert_eq!(connection.send(next()).await.unwrap().status(), StatusCode::OK, "control of DPOP-40");
    }
    let response = client.send(next()).await.unwrap();
    assert_eq!(response.headers()["retry-after"], "5");
    refused(&world, covered, Code::ReplayShareExceeded, "one key", &client, next()).await;
    let other = world.holder();
    let next = || other.request("/accounts", &other.proof("/accounts", world.clock.now()).claim("nonce", &*nonce));
    for _ in 0..100 {
        assert_eq!(connection.send(next()).await.unwrap().status(), StatusCode::OK, "control: another key");
    }
    let response = client.send(next()).await.unwrap();
    assert_eq!(response.headers()["retry-after"], "5");
    refused(&world, covered, Code::ReplayLogUnavailable, "DPOP-40", &client, next()).await;
}

async fn tokens_and_claims(world: &World, covered: &Covered) {
    let client = world.client();
    let now = world.clock.now();
    let key = world.issuer.key(KeyKind::Ps256);
    let claims = world.token().claims();
    let header = |name: &str, value: Value| {
        let mut header = json!({"typ": "at+jwt", "alg": "PS256", "kid": key.kid()});
        header[name] = value;
        header
    };
    for kind in KeyKind::ALL {
        let token = remember(world.token().sign(world.issuer.key(kind)));
        passes(world, "FAPI2-RS-09", request("/accounts", &token)).await;
    }
    passes(world, "AT-01", request("/accounts", &key.sign(&header("typ", json!("application/AT+JWT")), &claims))).await;
    let signed = |header: Value| remember(key.sign(&header, &claims));
    let forger = SigningKey::generate(KeyKind::Ps256, key.kid());
    let forged = |header: Value| remember(forger.sign(&header, &claims));
    for (name, value) in [("jwk", forger.jwk()), ("x5c", json!(["MIIB"])), ("jku", json!("https://localhost:1/jwks"))] {
        passes(world, name, request("/accounts", &signed(header(name, value)))).await;
    }
    let cases: Vec<(Code, &str, String)> = vec![
        (Code::TokenMalformed, "not a JWS", "abc".into()),
        (
            Code::TokenMalformed,
            "JWT-10",
            remember(key.sign_raw(header("typ", json!("at+jwt")).to_string().as_bytes(), br#"{"iss":"a","iss":"a"}"#)),
        ),
        (Code::TokenTooLarge, "BEAR-15", "a".repeat(17 * 1024)),
        (Code::TokenEncrypted, "JWT-14", "a.b.c.d.e".into()),
        (Code::TokenCriticalHeader, "FAPI2-CR-11", signed(header("crit", json!(["exp"])))),
        (Code::TokenKeySupplied, "ATK-TK-02 jwk", forged(header("jwk", forger.jwk()))),
        (Code::TokenKeySupplied, "FAPI2-RS-12 jku", forged(header("jku", json!("https://localhost:1/jwks")))),
        (Code::TokenAlgorithmRefused, "alg none", tokens::unsigned(&header("alg", json!("none")), &claims)),
        (Code::TokenAlgorithmRefused, "FAPI2-CR-02", signed(header("alg", json!("ps256")))),
        (Code::TokenAlgorithmRefused, "RS256", signed(header("alg", json!("RS256")))),
        (
            Code::TokenAlgorithmRefused,
            "JWT-01",
            tokens::hs256(key.public_key_pem().as_bytes(), &header("alg", json!("HS256")), &claims),
        ),
        (Code::TokenTypeWrong, "AT-01 JWT", signed(header("typ", json!("JWT")))),
        (Code::TokenTypeWrong, "AT-17 id token", signed(json!({"alg": "PS256", "kid": key.kid()}))),
        (Code::TokenTypeWrong, "JWT-06", signed(header("typ", json!("dpop+jwt")))),
        (Code::TokenKeyUnknown, "unknown kid", signed(header("kid", json!("nobody")))),
        (
            Code::TokenSignatureInvalid,
            "another key",
            remember(world.token().sign(&SigningKey::generate(KeyKind::Ps256, key.kid()))),
        ),
    ];
    for (code, what, token) in cases {
        refused(world, covered, code, what, &client, request("/accounts", &token)).await;
    }
    let good = || world.token();
    let cases: Vec<(Code, &str, AccessToken)> = vec![
        (Code::TokenIssuerUnknown, "AT-02", good().claim("iss", format!("{}/", world.issuer.issuer()))),
        (Code::TokenIssuerUnknown, "no iss", good().without("iss")),
        (Code::TokenAudienceMismatch, "AT-03", good().audience("https://api.bank.example.evil")),
        (Code::TokenAudienceMismatch, "AT-03 empty", good().audience(json!([]))),
        (Code::TokenClaimMalformed, "AT-03 number", good().audience(json!(7))),
        (Code::TokenClaimMissing, "no aud", good().without("aud")),
        (Code::TokenClaimMissing, "AT-06 sub", good().without("sub")),
        (Code::TokenClaimMissing, "AT-06 client_id", good().without("client_id")),
        (Code::TokenClaimMissing, "AT-06 iat", good().without("iat")),
        (Code::TokenClaimMissing, "AT-06 jti", good().without("jti")),
        (Code::TokenClaimMissing, "AT-06 exp", good().without("exp")),
        (Code::TokenClaimMalformed, "AT-07 exp text", good().claim("exp", (now + 300).to_string())),
        (Code::TokenClaimMalformed, "AT-07 exp null", good().claim("exp", Value::Null)),
        (Code::TokenClaimMalformed, "AT-07 exp negative", good().claim("exp", -1)),
        (Code::TokenClaimMalformed, "AT-07 nbf", good().claim("nbf", "future")),
        (Code::TokenClaimMalformed, "AT-08 scope list", good().claim("scope", json!(["accounts"]))),
        (Code::TokenExpired, "AT-05", good().expires_at(now)),
        // FAPI2-RS-08
        (Code::TokenNotYetValid, "AT-14 nbf", good().claim("nbf", now + 11)),
        (Code::TokenIssuedInFuture, "AT-14 iat", good().claim("iat", now + 11)),
        (Code::ScopeInsufficient, "FAPI2-RS-06", good().scope("payments")),
        (Code::ScopeInsufficient, "AT-08 prefix", good().scope("accountsX Accounts account")),
        (Code::ScopeInsufficient, "no scope", good().without("scope")),
    ];
    for control in [
        good().claim("nbf", now + 10),
        good().claim("iat", now + 10),
        good().expires_at(now + 1),
        good().audience(json!(["x", world.token().claims()["aud"]])),
    ] {
        passes(world, "claims", request("/accounts", &world.sign(&control))).await;
    }
    for (code, what, token) in cases {
        refused(world, covered, code, what, &client, request("/accounts", &world.sign(&token))).await;
    }
}

/// What a route requires beside scopes: each case differs from the control in one claim.
async fn requirements(covered: &Covered) {
    let world = World::with(|scene| {
        scene.append(
            r#"  - name: strict
    path: /accounts/1001
    methods: [GET]
    scopes: [accounts]
    upstream: accounts
    require:
      clients: { deny: [retired] }
      subject: required
      token_lifetime: 10m
      claims: [{ claim: /consent/status, equals: authorised }]
      authorization_details: [{ type: account_information, actions: [read] }]
      authentication: { acr: ["loa3"], max_age: 5m }
  - name: clients
    path: /accounts/1002
    methods: [GET]
    scopes: [accounts]
    upstream: accounts
    require: { subject: client }
"#,
        )
    })
    .await;
    let (now, client) = (world.clock.now(), world.client());
    let good = || {
        let token = world.token().claim("iat", now).claim("exp", now + 600).claim("acr", "loa3");
        let token = token.claim("auth_time", now - 310).claim("consent", json!({ "status": "authorised" }));
        token.claim("authorization_details", json!([{ "type": "account_information", "actions": ["read"] }]))
    };
    let details = |details: Value| good().claim("authorization_details", details).without("acr");
    passes(&world, "requirements", request("/accounts/1001", &world.sign(&good()))).await;
    let client_id = world.token().claims()["client_id"].clone();
    let cases: Vec<(Code, &str, AccessToken)> = vec![
        (Code::ScopeInsufficient, "STEP-08", good().scope("payments").without("acr")),
        (Code::ClientRefused, "a denied client", good().claim("client_id", "retired")),
        (Code::SubjectMissing, "AT-11", good().claim("sub", client_id.clone())),
        (Code::TokenLifetimeExceeded, "FAPI2-RS-15", good().claim("exp", now + 601)),
        (Code::ClaimRefused, "another value", good().claim("consent", json!({ "status": "revoked" }))),
        (Code::ClaimRefused, "no claim", good().without("consent")),
        (Code::TokenClaimMalformed, "RAR-01", details(json!({ "type": "account_information", "actions": ["read"] }))),
        (Code::TokenClaimMalformed, "RAR-01", details(json!([{ "actions": ["read"] }]))),
        (Code::AuthorizationDetailsInsufficient, "RAR-03", details(json!([{ "type": "account_information" }]))),
        (Code::AuthorizationDetailsInsufficient, "no claim", good().without("authorization_details")),
        (Code::AcrInsufficient, "STEP-01", good().claim("acr", "loa2")),
        (Code::AuthenticationTooOld, "STEP-06", good().claim("auth_time", now - 311)),
        (Code::AuthenticationTooOld, "STEP-05", good().without("auth_time")),
    ];
    for (code, what, token) in cases {
        refused(&world, covered, code, what, &client, request("/accounts/1001", &world.sign(&token))).await;
    }
    let of_client = world.sign(&good().claim("sub", client_id));
    passes(&world, "UK-16", request("/accounts/1002", &of_client)).await;
    let of_user = request("/accounts/1002", &world.sign(&good()));
    refused(&world, covered, Code::SubjectRefused, "UK-16", &client, of_user).await;
    let old = world.sign(&good().claim("auth_time", now - 311));
    let response = client.send(request("/accounts/1001", &old)).await.unwrap();
    let challenge = response.headers().get_all("www-authenticate").iter().next_back().unwrap().to_str().unwrap();
    assert!(challenge.contains("error=\"insufficient_user_authentication\""), "{challenge}");
    assert!(challenge.ends_with(", scope=\"accounts\", acr_values=\"loa3\", max_age=\"300\""), "{challenge}");
    bodies(covered).await;
    // The same is asked of opaque tokens (RAR-02).
    let world = World::with(|scene| {
        let route = "require: { authentication: { acr: [loa3] } }";
        scene.introspected("").replace(
            "    upstream: accounts\n    forward",
            &format!("    {route}\n    upstream: accounts\n    forward"),
        )
    })
    .await;
    for (acr, status) in [("loa3", 200), ("loa2", 401)] {
        let token = world.opaque(&world.token().claim("acr", acr));
        assert_eq!(world.judge(request("/accounts", &token)).await.0, status, "{acr}");
    }
}

/// What a client says of its customer, where FAPI 1.0 holds.
async fn customers(covered: &Covered) {
    let world = World::with(|scene| scene.replace("fapi2-security", "fapi1-advanced")).await;
    let with = |name: &'static str, value: &'static str| {
        let mut request = world.request();
        request.headers_mut().insert(name, HeaderValue::from_static(value));
        request
    };
    for (code, what, name, good, bad) in [
        (Code::AuthDateMalformed, "F1-RS-15", "x-fapi-auth-date", "Tue, 11 Sep 2012 19:43:31 GMT", "2012-09-11"),
        (Code::CustomerIpAddressMalformed, "F1-RS-13", "x-fapi-customer-ip-address", "2001:db8::1", "not-an-ip"),
    ] {
        passes(&world, what, with(name, good)).await;
        refused_with(&world, covered, code, what, &world.client(), with(name, bad), 1).await;
    }
}

/// What a route that compares the body with the token refuses in it.
async fn bodies(covered: &Covered) {
    let world = World::with(|scene| {
        let route =
            "require: { authorization_details: [{ type: payment, match: [{ detail: /to, equals: { body: /to } }] }] }";
        let usual = "scopes: { any: [payments, accounts] }";
        scene.replace(usual, &format!("{usual}\n    {route}"))
    })
    .await;
    let token = world.token().claim("authorization_details", json!([{ "type": "payment", "to": "DE02" }]));
    let token = world.sign(&token);
    let post = |kind: &str, body: &'static str| {
        let mut request = request("/payments", &token);
        *request.method_mut() = Method::POST;
        request.headers_mut().insert("content-type", kind.parse().unwrap());
        *request.body_mut() = Bytes::from_static(body.as_bytes());
        request
    };
    let good = r#"{"to":"DE02"}"#;
    assert_eq!(world.judge(post("application/json", good)).await, (201, "ok".into()), "control of the bodies");
    for (code, what, request) in [
        (Code::BodyTypeUnsupported, "another type", post("text/plain", good)),
        (Code::BodyUnreadable, "a member twice", post("application/json", r#"{"to":"DE02","to":"DE02"}"#)),
        (Code::AuthorizationDetailsInsufficient, "another account", post("application/json", r#"{"to":"DE03"}"#)),
    ] {
        refused(&world, covered, code, what, &world.client(), request).await;
    }
}

async fn confirmations(world: &World, covered: &Covered) {
    let client = world.client();
    let x5t = world.c1.x5t_s256();
    let hex: String = world.c1.thumbprint_sha256().iter().map(|byte| format!("{byte:02x}")).collect();
    let standard = format!("+{}", &x5t[1..]);
    passes(
        world,
        "MTLS-06",
        request("/accounts", &world.sign(&world.token().claim("cnf", json!({"x5t#S256": x5t, "other": 1})))),
    )
    .await;
    let cases = [
        (Code::ConfirmationEmpty, json!({})),
        (Code::ConfirmationSha1, json!({"x5t": x5t})),
        (Code::ConfirmationHex, json!({"x5t#S256": hex})),
        (Code::ConfirmationPadded, json!({"x5t#S256": format!("{x5t}=")})),
        (Code::ConfirmationStandardBase64, json!({"x5t#S256": standard})),
        (Code::ConfirmationMalformed, json!({"x5t#S256": [x5t]})),
        (Code::ConfirmationMalformed, json!(x5t)),
        (Code::ConfirmationMalformed, json!({"jkt": format!("{x5t}=")})),
        (Code::ConfirmationMalformed, json!({"jkt": 7, "x5t#S256": x5t})),
        (Code::ConfirmationUnsupported, json!({"jwk": {}})),
    ];
    for (code, cnf) in cases {
        let token = world.sign(&world.token().claim("cnf", cnf.clone()));
        refused(world, covered, code, &format!("MTLS-03 {cnf}"), &client, request("/accounts", &token)).await;
    }
    let unbound = world.sign(&world.token().without("cnf"));
    refused(world, covered, Code::TokenUnbound, "FAPI2-RS-07", &client, request("/accounts", &unbound)).await;
    refused(
        world,
        covered,
        Code::TokenUnbound,
        "FAPI2-RS-07 anonymous",
        &world.anonymous(),
        request("/accounts", &unbound),
    )
    .await;
}

async fn certificates(world: &World, covered: &Covered) {
    let token = world.sign(&world.token());
    refused(world, covered, Code::CertificateMissing, "MTLS-05", &world.anonymous(), request("/accounts", &token))
        .await;
    let other = world.anonymous().certificate(&world.c2);
    refused(world, covered, Code::CertificateMismatch, "MTLS-01", &other, request("/accounts", &token)).await;
    let authority = AccessToken::claim(world.token(), "cnf", json!({"x5t#S256": authority_x5t(&world.authority)}));
    refused(
        world,
        covered,
        Code::CertificateMismatch,
        "MTLS-04",
        &world.client(),
        request("/accounts", &world.sign(&authority)),
    )
    .await;
    // MTLS-15, with trust by possession: a chain outside its validity period is refused in the handshake.
    let world = World::with(|scene| {
        scene.replace("mode: optional, trust: chain, trust_anchors: [ca.pem]", "mode: optional, trust: possession")
    })
    .await;
    let short = world.authority.client_with("short", |params| params.not_after = hours_from_now(2));
    let bound = world.issuer.token(world.clock.now()).bound_to_certificate(&short).expires_at(world.clock.now() + 9000);
    let token = world.sign(&bound);
    let client = world.anonymous().certificate(&short);
    assert_eq!(world.judge_from(&client, request("/accounts", &token)).await.0, 200, "control of MTLS-15");
    world.clock.advance(7300);
    refused(&world, covered, Code::CertificateExpired, "MTLS-15", &client, request("/accounts", &token)).await;
}

fn hours_from_now(hours: u64) -> time::OffsetDateTime {
    let seconds = crate::support::client::now() + hours * 3600;
    time::OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).expect("this century")).expect("this century")
}

fn authority_x5t(authority: &Authority) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(fapi::sha256(authority.der()))
}

async fn routes(world: &World, covered: &Covered) {
    let client = world.client();
    let token = world.sign(&world.token());
    for path in [
        "/accounts/%2e%2e/health",
        "/accounts//1",
        "/accounts/..;/x",
        "/accounts%2F1",
        "/accounts/a%5cb",
        "/accounts/%00",
        "/Accounts",
        "/accounts.json",
    ] {
        refused(world, covered, Code::PathAmbiguous, path, &client, request(path, &token)).await;
    }
    for path in ["/", "/nothing", "/account", "/accountsx"] {
        refused(world, covered, Code::RouteNotFound, path, &client, request(path, &token)).await;
    }
    for method in [Method::DELETE, Method::OPTIONS, Method::from_bytes(b"PROPFIND").unwrap()] {
        let mut request = request("/accounts", &token);
        *request.method_mut() = method;
        refused(world, covered, Code::MethodNotAllowed, "method", &client, request).await;
    }
}

async fn messages(world: &World, covered: &Covered) {
    let token = world.sign(&world.token());
    let head = |extra: &str| {
        format!("GET /accounts HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{extra}\r\n")
    };
    let answer = world.client().raw(head("Connection: close\r\n").as_bytes()).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "control of the raw requests: {}", String::from_utf8_lossy(&answer));
    let long = "a".repeat(33 * 1024);
    let cases: Vec<(Code, &str, String)> = vec![
        (Code::FramingAmbiguous, "ATK-SM-01", head("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n")),
        (Code::FramingAmbiguous, "ATK-SM-02", head("Content-Length: 0\r\nContent-Length: 0\r\n")),
        (Code::HeaderMalformed, "ATK-SM-08 bare LF", head("").replacen("Host: localhost\r\n", "Host: localhost\n", 1)),
        (Code::HeaderMalformed, "not HTTP", "GARBAGE\r\n\r\n".into()),
        (Code::HeaderTooLarge, "ATK-SZ-01", head(&format!("X-Long: {long}\r\n"))),
        (Code::TargetTooLong, "414", head("").replacen("/accounts", &format!("/accounts/{long}"), 1)),
        (Code::HostMissing, "ATK-HD-13", head("").replacen("Host: localhost\r\n", "", 1)),
        (Code::HostMalformed, "ATK-HD-13", head("").replacen("Host: localhost", "Host: local host", 1)),
        (Code::HostUnknown, "NET-21", head("").replacen("Host: localhost", "Host: other.example", 1)),
        (Code::HostUnknown, "NET-21 port", head("").replacen("Host: localhost", "Host: localhost:1", 1)),
        (Code::MethodRefused, "FWD-04", head("").replacen("GET", "TRACE", 1)),
        (Code::MethodRefused, "FWD-03", head("").replacen("GET /accounts", "CONNECT localhost:443", 1)),
        (Code::BodyTooLarge, "413", head("Content-Length: 10485761\r\n").replacen("GET", "POST", 1)),
    ];
    for (code, what, bytes) in cases {
        refused_raw(world, covered, code, what, bytes.as_bytes()).await;
    }
}

async fn slow_and_large(covered: &Covered) {
    let world = World::with(|scene| {
        scene.replace(
            "header_bytes: 32KiB",
            "{ header_bytes: 32KiB, header_timeout: 300ms, body_timeout: 300ms, body_bytes: 1KiB }",
        )
    })
    .await;
    let token = world.sign(&world.token());
    refused_raw(&world, covered, Code::HeaderTimeout, "FWD-14", b"GET /accounts HTTP/1.1\r\nHost: lo").await;
    let post = |framing: &str, body: &str| {
        format!(
            "POST /payments HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n{framing}\r\n\r\n{body}"
        )
    };
    let good = world.client().raw(post("Content-Length: 5", "hello").as_bytes()).await;
    assert!(good.starts_with(b"HTTP/1.1 201 "), "control of the bodies: {}", String::from_utf8_lossy(&good));
    for (code, framing, body) in [
        (Code::BodyTimeout, "Content-Length: 5", "hel"),
        (Code::BodyMalformed, "Transfer-Encoding: chunked", "zz\r\nhello\r\n"),
        (Code::BodyTooLarge, "Transfer-Encoding: chunked", &format!("800\r\n{}\r\n0\r\n\r\n", "a".repeat(0x800))),
    ] {
        let answer = String::from_utf8(world.client().raw(post(framing, body).as_bytes()).await).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {} ", code.status().as_u16())), "{code}: {answer:?}");
        let record = world.gateway.record_where(|record| record["code"] == code.as_str());
        assert_eq!(record["status"], code.status().as_u16(), "{record}");
        covered.note(code);
    }
}

async fn upstreams(covered: &Covered) {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = closed.local_addr().unwrap();
    drop(closed);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let babbling = TcpListener::bind("127.0.0.1:0").unwrap();
    let (silent_at, babbling_at) = (silent.local_addr().unwrap(), babbling.local_addr().unwrap());
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = babbling.accept() {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH\r\n\r\n");
        }
    });
    let world = World::with(|scene| {
        let extra = [("gone", gone), ("silent", silent_at), ("babbling", babbling_at)];
        let upstreams = extra
            .map(|(name, at)| format!("  {name}: {{ servers: [\"http://{at}\"], response_timeout: 300ms }}\n"))
            .concat();
        let routes = extra
            .map(|(name, _)| {
                format!("  - {{ name: {name}, path: /{name}, methods: [GET], scopes: [accounts], upstream: {name} }}\n")
            })
            .concat();
        scene.replace("routes:\n", &format!("{upstreams}routes:\n{routes}"))
    })
    .await;
    let client = world.client();
    for (path, code) in
        [("/gone", Code::UpstreamUnreachable), ("/silent", Code::UpstreamTimeout), ("/babbling", Code::UpstreamInvalid)]
    {
        refused(&world, covered, code, path, &client, request(path, &world.sign(&world.token()))).await;
    }
}

async fn issuers(covered: &Covered) {
    let weak = json!({"kty": "RSA", "kid": "weak", "use": "sig", "e": "AQAB", "n": base64_of(&[0xff; 128])});
    let world = World::start().await;
    let mut keys = world.issuer.jwks();
    keys["keys"].as_array_mut().unwrap().push(weak);
    world.issuer.script("/jwks", Answer::json(StatusCode::OK, keys));
    let token = remember(world.token().header("kid", "weak").sign(world.issuer.key(KeyKind::Ps256)));
    refused(&world, covered, Code::TokenKeyWeak, "FAPI2-RS-10", &world.client(), request("/accounts", &token)).await;

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let world = World::with(|scene| {
        scene
            .replace("tokens: jwt", &format!("tokens: jwt\n    jwks_uri: https://localhost:{}/jwks", address.port()))
            .never_ready()
    })
    .await;
    let response = world.client().send(world.request()).await.unwrap();
    assert_eq!(response.headers()["retry-after"], "5");
    refused(&world, covered, Code::KeysUnavailable, "OPS-10", &world.client(), world.request()).await;
    let health = Request::get(format!("{ORIGIN}/health")).body(Bytes::new()).unwrap();
    assert_eq!(world.judge(health).await, (200, "ok".into()), "control of OPS-10: a public route needs no keys");
    assert_eq!(world.gateway.admin("/readyz").await.0, 503);
    assert_eq!(world.gateway.admin("/livez").await.0, 200);
}

async fn revocations(covered: &Covered) {
    let world = World::with(|scene| scene.replace("\"127.0.0.1:0\" }", "\"127.0.0.1:0\", revocations: {} }")).await;
    let token = world.sign(&world.token());
    passes(&world, "INT-16", request("/accounts", &token)).await;
    let jti = Value::from(world.token().claims()["jti"].as_str());
    world.gateway.revoke(&json!({ "jti": jti })).await;
    passes(&world, "INT-16: another token's jti", request("/accounts", &token)).await;
    world.gateway.revoke(&json!({ "client_id": "client-1" })).await;
    refused(&world, covered, Code::TokenRevoked, "INT-16", &world.client(), request("/accounts", &token)).await;
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let world = World::with(|scene| {
        let store =
            format!("stores: {{ shared: {{ servers: [\"redis://{address}\"] }} }}\nrevocations: {{ store: shared }}\n");
        scene.replace("upstreams:\n", &format!("{store}upstreams:\n")).never_ready()
    })
    .await;
    // It waits for the store a while before it serves.
    let client = world.client();
    let served = async { while client.send(world.request()).await.is_err() {} };
    tokio::time::timeout(DEADLINE * 2, served).await.expect("the gateway serves");
    assert_eq!(world.gateway.admin("/readyz").await.0, 503);
    let unknown = "INT-16: what other replicas revoked is not known";
    refused(&world, covered, Code::RevocationsStale, unknown, &world.client(), world.request()).await;
}

async fn proxies(covered: &Covered) {
    let world = World::with(|scene| {
        let hop = "    forwarded_client_certificate: { dialect: client_cert, from: { addresses: [127.0.0.1] }, trust_anchors: [ca.pem] }";
        scene.replace("trust_anchors: [ca.pem] }\nadmin", &format!("trust_anchors: [ca.pem] }}\n{hop}\nadmin"))
    })
    .await;
    let proxy = world.anonymous();
    let certificate = ClientCertificate::from_der(&world.c1.chain_der[0]).unwrap().header_value().clone();
    let forwarded = |values: &[&HeaderValue]| {
        let mut request = world.request();
        for value in values {
            request.headers_mut().append("client-cert", (*value).clone());
        }
        request
    };
    let control = world.judge_from(&proxy, forwarded(&[&certificate])).await;
    assert_eq!(control, (200, "ok".into()), "control of ATK-HD-01");
    let twice = forwarded(&[&certificate, &certificate]);
    refused(&world, covered, Code::ForwardedCertificateRepeated, "ATK-HD-02", &proxy, twice).await;
    let junk = forwarded(&[&HeaderValue::from_static(":anVuaw==:")]);
    refused(&world, covered, Code::ForwardedCertificateMalformed, "ATK-HD-01", &proxy, junk).await;
}

async fn introspection(covered: &Covered) {
    let world = World::with(|scene| scene.introspected("")).await;
    let client = world.client();
    let unknown = remember("opaque-and-unknown".to_owned());
    refused(&world, covered, Code::TokenInactive, "MS-INT-06", &client, request("/accounts", &unknown)).await;
    let known = world.opaque(&world.token());
    world.issuer.script("/introspect", Answer::status(StatusCode::UNAUTHORIZED));
    let down = request("/accounts", &known);
    refused(&world, covered, Code::IntrospectionUnavailable, "INT-05", &client, down).await;
    let response = client.send(request("/accounts", &known)).await.unwrap();
    assert_eq!(response.headers()["retry-after"], "5");
    assert!(!response.headers().contains_key("www-authenticate"));
    world.issuer.unscript("/introspect");
    assert_eq!(world.judge(request("/accounts", &known)).await, (200, "ok".into()), "control of INT-05");
    let world = World::with(|scene| scene.introspected(", max_waiting_per_client: 1, timeout: 9s")).await;
    let client = world.client();
    world.issuer.script("/introspect", Answer::hanging());
    let waiting = tokio::spawn({
        let (client, request) = (client.clone(), request("/accounts", &world.opaque(&world.token())));
        async move { client.send(request).await.map(drop) }
    });
    world.issuer.wait_for("/introspect", 1, DEADLINE).await.unwrap();
    let known = world.opaque(&world.token());
    let second = request("/accounts", &known);
    refused(&world, covered, Code::IntrospectionShareExceeded, "INT-20", &client, second).await;
    waiting.abort();
    world.issuer.unscript("/introspect");
    let began = now();
    while world.judge(request("/accounts", &known)).await != (200, "ok".into()) {
        assert!(began.elapsed() < DEADLINE, "control of INT-20");
    }
}

async fn rates(covered: &Covered) {
    let route = "routes:\n  - { name: slow, path: /slow, methods: [GET], scopes: [accounts], upstream: slow, rate_limits: [{ by: client, rate: 1/h }] }\n";
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let slow = format!("upstreams:\n  slow: {{ servers: [\"http://{}\"] }}\n", upstream.local_addr().unwrap());
    drop(upstream);
    let world = World::with(|scene| scene.replace("upstreams:\n", &slow).replace("routes:\n", route)).await;
    let ask = || request("/slow", &world.sign(&world.token()));
    let control = world.judge(ask()).await;
    assert_eq!(control, (502, "upstream_unreachable".into()), "control: the first is sent on");
    refused(&world, covered, Code::RateLimited, "the second", &world.client(), ask()).await;
}

/// Of all exchanges, and of those of an upstream.
async fn shares(covered: &Covered) {
    for (code, all, of_upstream) in [(Code::ShareExceeded, 1, 2), (Code::UpstreamShareExceeded, 2, 1)] {
        share(covered, code, all, of_upstream).await;
    }
}

async fn share(covered: &Covered, code: Code, all: usize, of_upstream: usize) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = format!(
        "upstreams:\n  shared: {{ servers: [\"http://{}\"], limits: {{ exchanges: 4, exchanges_per_client: {of_upstream} }} }}\n",
        silent.local_addr().unwrap()
    );
    let route = "routes:\n  - { name: shared, path: /shared, methods: [GET], scopes: [accounts], upstream: shared }\n";
    let world = World::with(|scene| {
        let limits = format!("{{ header_bytes: 32KiB, exchanges: 4, exchanges_per_client: {all} }}");
        let scene = scene.replace("header_bytes: 32KiB", &limits);
        scene.replace("upstreams:\n", &upstream).replace("routes:\n", route)
    })
    .await;
    let ask = |credential: &Credential| {
        let token = world.issuer.token(world.clock.now()).bound_to_certificate(credential);
        request("/shared", &world.sign(&token))
    };
    let hold = |credential: &Credential| {
        let (client, request) = (world.anonymous().certificate(credential), ask(credential));
        tokio::spawn(async move { client.send(request).await.map(drop) })
    };
    let first = hold(&world.c1);
    let _first = silent.accept().unwrap();
    refused(&world, covered, code, "a share that is used", &world.client(), ask(&world.c1)).await;
    let another = hold(&world.c2);
    let _control = silent.accept().unwrap();
    first.abort();
    another.abort();
}

async fn overload(covered: &Covered) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("servers: [\"http://{}\"]", silent.local_addr().unwrap());
    let upstreams =
        format!("upstreams:\n  one: {{ {server}, limits: {{ exchanges: 1, waiting: 0 }} }}\n  other: {{ {server} }}\n");
    let route = |name: &str| {
        format!("  - {{ name: {name}, path: /{name}, methods: [GET], scopes: [accounts], upstream: {name} }}\n")
    };
    let routes = format!("routes:\n{}{}", route("one"), route("other"));
    let world = World::with(|scene| {
        scene
            .replace("header_bytes: 32KiB", "{ header_bytes: 32KiB, exchanges: 2 }")
            .replace("upstreams:\n", &upstreams)
            .replace("routes:\n", &routes)
    })
    .await;
    let client = world.client();
    let ask = |path: &str| request(path, &world.sign(&world.token()));
    passes(&world, "control of overload", ask("/accounts")).await;
    let hold = |path: &str| {
        let (client, request) = (client.clone(), ask(path));
        tokio::spawn(async move { client.send(request).await.map(drop) })
    };
    let first = hold("/one");
    let _first = silent.accept().unwrap();
    refused(&world, covered, Code::UpstreamOverloaded, "a full upstream", &client, ask("/one")).await;
    let second = hold("/other");
    let _second = silent.accept().unwrap();
    refused(&world, covered, Code::Overloaded, "a full gateway", &client, ask("/accounts")).await;
    first.abort();
    second.abort();
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// NET-12.
#[tokio::test(flavor = "multi_thread")]
async fn mtls_09_possession_takes_self_signed_and_chain_refuses_them() {
    let stranger = self_signed("stranger");
    let world = World::with(|scene| {
        scene.replace("mode: optional, trust: chain, trust_anchors: [ca.pem]", "mode: optional, trust: possession")
    })
    .await;
    let token = world.sign(&world.issuer.token(world.clock.now()).bound_to_certificate(&stranger));
    assert_eq!(
        world.judge_from(&world.anonymous().certificate(&stranger), request("/accounts", &token)).await,
        (200, "ok".into())
    );
    let stolen = request("/accounts", &world.sign(&world.token()));
    assert_eq!(
        world.judge_from(&world.anonymous().certificate(&stranger), stolen).await,
        (401, "certificate_mismatch".into())
    );
    let strict = World::start().await;
    assert!(strict.anonymous().certificate(&stranger).handshake().await.is_err());
    assert!(strict.client().handshake().await.is_ok(), "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn mtls_09_by_possession_only_the_key_of_a_certificate_counts() {
    let world = World::with(|scene| {
        scene.replace("mode: optional, trust: chain, trust_anchors: [ca.pem]", "mode: optional, trust: possession")
    })
    .await;
    // RFC 5280 §4.2.1.4: the policy 0.4.0.194112.1.4, of qualified certificates for websites.
    let policies = [&[0x30, 0x0b, 0x30, 0x09, 0x06, 0x07][..], &[0x04, 0x00, 0x8b, 0xec, 0x40, 0x01, 0x04]].concat();
    let algorithms = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_RSA_SHA256];
    for ((object, content), algorithm) in [(&[2, 5, 29, 32][..], policies), (&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0])]
        .into_iter()
        .flat_map(|extension| algorithms.map(|algorithm| (extension.clone(), algorithm)))
    {
        let with = |critical: bool| {
            world.authority.client_with_key("qualified", algorithm, |params| {
                let mut extension = rcgen::CustomExtension::from_oid_content(object, content.clone());
                extension.set_criticality(critical);
                params.custom_extensions.push(extension);
            })
        };
        let mut stolen = with(true);
        stolen.key_pkcs8_der = world.authority.client_with_key("thief", algorithm, |_| {}).key_pkcs8_der;
        for (credential, good) in [(with(false), true), (with(true), true), (stolen, false)] {
            let client = world.anonymous().certificate(&credential);
            let versions = [client.clone().tls13_only(), client.tls12_only(&default_provider().cipher_suites)];
            for client in versions {
                if good {
                    let token = world.issuer.token(world.clock.now()).bound_to_certificate(&credential);
                    let request = request("/accounts", &world.sign(&token));
                    assert_eq!(world.judge_from(&client, request).await, (200, "ok".into()), "{object:?}");
                } else {
                    assert!(client.handshake().await.is_err(), "{object:?}");
                }
            }
        }
    }
}
