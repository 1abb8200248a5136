//! `explain` ends in the code that the gateway would answer with, says both sides of each step, asks nobody unless it is
//! told to, and prints no secret. `token` makes what it explains.

use std::path::Path;
use std::process::{Command, Output};

use http::StatusCode;
use sandbox::authorization_server::AuthorizationServer;
use sandbox::https::Answer;
use sandbox::pki::{Authority, self_signed};
use sandbox::tokens::{AccessToken, KeyKind, SigningKey, jwks};
use serde_json::Value;

use crate::support::{Folder, ORIGIN, Scene, World, remember, request};

/// A folder with a configuration, and what its issuer and its client have.
struct Offline {
    folder: Folder,
    authority: Authority,
    issuer_key: SigningKey,
}

const ISSUER: &str = "https://localhost:9";

impl Offline {
    fn new() -> Self {
        Self::with(|scene| scene)
    }

    fn with(adjust: impl FnOnce(Scene) -> Scene) -> Self {
        let authority = Authority::new("Test CA");
        let scene = Scene::new(&authority, ISSUER, "127.0.0.1:9".parse().unwrap());
        let folder = adjust(scene).into_folder();
        let issuer_key = SigningKey::generate(KeyKind::Es256, "es-1");
        folder.write("jwks.json", &jwks(&[&issuer_key]).to_string());
        Self { folder, authority, issuer_key }
    }

    fn token(&self) -> AccessToken {
        AccessToken::new(ISSUER, AuthorizationServer::AUDIENCE, sandbox::now())
    }

    /// Explains a call with this token, and these arguments beside it.
    fn explain(&self, token: &str, more: &[&str]) -> Explained {
        self.folder.write("token", &remember(token.to_owned()));
        let arguments = ["explain", "--token", "token", "--jwks", "jwks.json"];
        let output = program(&[&arguments[..], more].concat(), self.folder.path());
        let explained = Explained::of(&output);
        for part in token.split('.').filter(|part| part.len() > 16) {
            assert!(!explained.text.contains(part), "a part of the token is printed: {}", explained.text);
        }
        explained
    }
}

#[derive(Debug)]
struct Explained {
    exit: Option<i32>,
    text: String,
}

impl Explained {
    fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Self { exit: output.status.code(), text }
    }

    /// The code that it ends in.
    fn code(&self) -> &str {
        let last = self.text.rsplit("\n\n").next().unwrap_or_default();
        last.split(':').next().unwrap_or_default()
    }

    #[track_caller]
    fn assert(&self, exit: i32, code: &str) {
        assert_eq!((self.exit, self.code()), (Some(exit), code), "{}", self.text);
    }
}

fn program(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
    command.args(arguments).current_dir(folder).env_remove("RUST_LOG").output().expect("the program runs")
}

#[test]
fn a_call_for_metadata_is_answered_whatever_its_token_is() {
    let well_known = format!("GET {ORIGIN}/.well-known/oauth-protected-resource");
    let call = ["--request", &well_known];
    let offline = Offline::with(|scene| scene.replace("upstreams:\n", "metadata: {}\nupstreams:\n"));
    let explained = offline.explain("no.token.at-all", &call);
    explained.assert(0, "ok");
    let expected =
        format!("  expected   metadata {ORIGIN}: at {ORIGIN}/.well-known/oauth-protected-resource; issuers: bank;");
    assert!(explained.text.contains(&expected) && !explained.text.contains("credentials"), "{}", explained.text);
    // control
    Offline::new().explain("no.token.at-all", &call).assert(1, "route_not_found");
}

#[test]
fn a_certificate_bound_token_is_explained_with_right_wrong_and_missing_certificates() {
    let offline = Offline::new();
    let client = offline.authority.client("client");
    offline.folder.write("client.pem", &client.certificate_pem());
    offline.folder.write("thief.pem", &offline.authority.client("thief").certificate_pem());
    offline.folder.write("stranger.pem", &self_signed("stranger").certificate_pem());
    let token = offline.token().bound_to_certificate(&client).sign(&offline.issuer_key);
    let request = format!("GET {ORIGIN}/accounts/1");
    let explain = |certificate: &[&str]| offline.explain(&token, &[&["--request", &request], certificate].concat());
    let good = explain(&["--certificate", "client.pem"]);
    good.assert(0, "ok"); // control
    for part in [&*client.x5t_s256(), "route accounts: GET, HEAD, POST /accounts/**", "scope \"accounts\"", ISSUER] {
        assert!(good.text.contains(part), "no {part:?} in {}", good.text);
    }
    explain(&[]).assert(1, "certificate_missing");
    explain(&["--certificate", "thief.pem"]).assert(1, "certificate_mismatch");
    let stranger = explain(&["--certificate", "stranger.pem"]);
    assert!(stranger.exit == Some(1) && stranger.text.contains("handshake unknown_ca"), "{}", stranger.text);
    // The `detail` that the audit has.
    assert!(stranger.text.contains("UnknownIssuer"), "{}", stranger.text);
    // Without --request, the call is one for the first route.
    offline.explain(&token, &["--certificate", "client.pem"]).assert(0, "ok");
}

#[test]
fn every_step_that_refuses_ends_in_the_code_of_the_gateway() {
    let offline = Offline::new();
    let client = offline.authority.client("client");
    offline.folder.write("client.pem", &client.certificate_pem());
    let good = || offline.token().bound_to_certificate(&client);
    let sign = |token: AccessToken| token.sign(&offline.issuer_key);
    let stranger = SigningKey::generate(KeyKind::Es256, "es-2");
    let path = |path: &str| format!("GET {ORIGIN}{path}");
    let certificate = ["--certificate", "client.pem"];
    for (token, request, exit, code) in [
        (sign(good()), path("/accounts"), 0, "ok"),
        // A server name of the gateway, but no origin of it.
        (sign(good()), "GET https://localhost:9/accounts".to_owned(), 1, "host_unknown"),
        // The client of another name gets no further than the handshake; one that uses an address sends no name.
        (sign(good()), "GET https://elsewhere.example/accounts".to_owned(), 1, "handshake name_unknown"),
        (sign(good()), "GET https://127.0.0.1/accounts".to_owned(), 1, "host_unknown"),
        (sign(good()), path("/nowhere"), 1, "route_not_found"),
        (sign(good()), path("/a/..%2faccounts"), 1, "path_ambiguous"),
        (sign(good()), format!("DELETE {ORIGIN}/accounts"), 1, "method_not_allowed"),
        (sign(good()), path("/accounts?access_token=x"), 1, "credentials_repeated"),
        (good().sign(&stranger), path("/accounts"), 1, "token_key_unknown"),
        (good().sign(&stranger.with_kid("es-1")), path("/accounts"), 1, "token_signature_invalid"),
        (sign(good().without("cnf")), path("/accounts"), 1, "token_unbound"),
        (sign(good().scope("other")), path("/accounts"), 1, "scope_insufficient"),
        ("opaque".to_owned(), path("/accounts"), 1, "token_malformed"),
        (sign(good()), path("/health"), 0, "ok"),
    ] {
        offline.explain(&token, &[&["--request", &request][..], &certificate].concat()).assert(exit, code);
    }
    // The time of a call that is over.
    let at = (sandbox::now() + 301).to_string();
    let late = offline.explain(&sign(good()), &["--certificate", "client.pem", "--at", &at]);
    late.assert(1, "token_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_a_call_is_the_one_that_the_gateway_would_write() {
    // What a call that nobody makes does not have, or has anew.
    const OF_A_CONNECTION: [&str; 12] = [
        "time",
        "interaction_id",
        "trace_id",
        "client_address",
        "tls_version",
        "protocol",
        "status",
        "response_bytes",
        "upstream_address",
        "upstream_status",
        "upstream_duration_ms",
        "duration_ms",
    ];
    let world = World::with(|scene| scene).await;
    let files = Folder::new();
    files.write("client.pem", &world.c1.certificate_pem());
    let at = world.clock.now().to_string();
    let config = world.gateway.folder().path().join("gateway.yaml").display().to_string();
    for (path, token, exit, code, step) in [
        ("/accounts", world.token(), 0, "ok", None),
        ("/nowhere", world.token(), 1, "route_not_found", Some("route")),
        ("/accounts", world.token().audience("https://other.example"), 1, "token_audience_mismatch", Some("token")),
        ("/accounts", world.token().without("cnf"), 1, "token_unbound", Some("sender")),
        ("/accounts", world.token().scope("other"), 1, "scope_insufficient", Some("scope")),
    ] {
        let token = world.sign(&token);
        files.write("token", &token);
        let url = format!("GET {ORIGIN}{path}");
        let call = ["--token", "token", "--certificate", "client.pem", "--request", &url, "--at", &at, "--fetch"];
        let output = program(&[&["explain", "--json", "--config", &config], &call[..]].concat(), files.path());
        let said = String::from_utf8(output.stdout).unwrap();
        let mut said: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{code}: {said}"));
        let mut record = world.gateway.record_of(&world.client().send(request(path, &token)).await.unwrap());
        for (of, name) in [(&mut said, "explain"), (&mut record, "gateway")] {
            assert_eq!((&of["code"], &of["step"]), (&code.into(), &step.into()), "{name}");
            for member in OF_A_CONNECTION.iter().chain(&["decision_us"]) {
                assert!(of.as_object_mut().unwrap().remove(*member).is_some(), "{name}: {member}");
            }
        }
        assert_eq!((output.status.code(), said), (Some(exit), record));
    }
    // Without a decision there is no record, but a reason.
    for (more, exit, why) in [
        (&["--request", "GET https://localhost:9/health"][..], 1, ""),
        (&["--request", "GET https://elsewhere.example/accounts"], 1, "name_unknown"),
        (&[], 69, "--fetch"),
    ] {
        let call = ["--token", "token", "--certificate", "client.pem", "--at", &at];
        let output = program(&[&["explain", "--json", "--config", &config], &call[..], more].concat(), files.path());
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!((output.status.code(), out.is_empty()), (Some(exit), !why.is_empty()), "{out}{error}");
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn what_a_route_requires_is_a_step_with_both_sides_where_there_is_anything() {
    let offline = Offline::with(|scene| {
        let require = "require: { clients: { deny: [x] }, subject: required, token_lifetime: 5m, claims: [{ claim: /role, \
                       one_of: [1, true] }, { claim: /consent/status, equals: ok }, { claim: /roles, contains: a }], \
                       authorization_details: [{ type: t, match: [{ detail: /m, equals: { method: true } }] }], authentication: { acr: [loa3], max_age: 5m } }";
        let usual = "scopes: { any: [payments, accounts] }";
        scene.replace(usual, &format!("{usual}\n    {require}"))
    });
    let client = offline.authority.client("client");
    offline.folder.write("client.pem", &client.certificate_pem());
    let now = sandbox::now();
    let good = || {
        let token =
            offline.token().bound_to_certificate(&client).claim("consent", serde_json::json!({ "status": "ok" }));
        let token = token.claim("role", true).claim("roles", serde_json::json!(["a"])).claim("acr", "loa3");
        let token = token.claim("authorization_details", serde_json::json!([{ "type": "t", "m": "POST" }]));
        token.claim("auth_time", now).claim("client_id", "app").claim("iat", now).claim("exp", now + 300)
    };
    let explain = |path: &str, token: AccessToken| {
        let request = format!("POST {ORIGIN}{path}");
        offline.explain(&token.sign(&offline.issuer_key), &["--certificate", "client.pem", "--request", &request])
    };
    let permitted = explain("/payments", good());
    permitted.assert(0, "ok"); // control
    let expected = "client_id none of [\"x\"], a sub that is not the client's, a lifetime of at most 300 seconds, /role one of \
                    [1, true], /consent/status \"ok\", /roles with \"a\", authorization_details with type \"t\", /m equal to the method, acr one of [\"loa3\"] and auth_time at most 300 \
                    seconds ago";
    let found = "a lifetime of 300 seconds, /role true, /consent/status \"ok\", /roles a list, authorization_details with the types \
         [\"t\"], acr \"loa3\" and auth_time";
    for part in [expected, found, "scope one of [\"payments\", \"accounts\"]", "; require: client_id none of"] {
        assert!(permitted.text.contains(part), "no {part:?} in {}", permitted.text);
    }
    let details = serde_json::json!([{ "type": "t", "m": "GET" }]);
    let refused = explain("/payments", good().claim("authorization_details", details));
    refused.assert(1, "authorization_details_insufficient");
    assert!(refused.text.contains("entry 0 of the route, type \"t\": /m of the nearest"), "{}", refused.text);
    let refused = explain("/payments", good().claim("acr", "loa2"));
    refused.assert(1, "acr_insufficient");
    assert!(
        refused.text.contains("\nscope        ok\n") && refused.text.contains("\nrequire      REFUSED\n"),
        "{}",
        refused.text
    );
    assert!(refused.text.contains("The client sees 401 insufficient_user_authentication."), "{}", refused.text);
    let other = explain("/accounts", good().without("acr"));
    other.assert(0, "ok");
    assert!(!other.text.contains("\nrequire "), "{}", other.text);
}

#[test]
fn a_body_that_the_token_is_compared_with_is_part_of_the_call() {
    let offline = Offline::with(|scene| {
        let require =
            "require: { authorization_details: [{ type: t, match: [{ detail: /to, equals: { body: /to } }] }] }";
        let usual = "scopes: { any: [payments, accounts] }";
        scene.replace(usual, &format!("{usual}\n    {require}"))
    });
    let client = offline.authority.client("client");
    offline.folder.write("client.pem", &client.certificate_pem());
    let details = serde_json::json!([{ "type": "t", "to": "DE02" }]);
    let token = offline.token().bound_to_certificate(&client).claim("authorization_details", details);
    let token = token.sign(&offline.issuer_key);
    let request = format!("POST {ORIGIN}/payments");
    let explain = |body: &[&str]| {
        offline.explain(&token, &[&["--certificate", "client.pem", "--request", &request][..], body].concat())
    };
    for (body, exit, code) in [
        (r#"{"to":"DE02"}"#, 0, "ok"), // control
        (r#"{"to":"DE03"}"#, 1, "authorization_details_insufficient"),
        (r#"{"to":"DE02","to":"DE02"}"#, 1, "body_unreadable"),
    ] {
        offline.folder.write("body.json", body);
        explain(&["--body", "body.json"]).assert(exit, code);
    }
    let without = explain(&[]);
    without.assert(69, "not decided");
    for part in ["\nrequire      not decided\n", "/to equal to /to of the body", "--body FILE"] {
        assert!(without.text.contains(part), "no {part:?} in {}", without.text);
    }
}

#[test]
fn proofs_are_judged_for_the_call_the_token_and_the_time() {
    let offline = Offline::new();
    let key = SigningKey::generate(KeyKind::Es256, "dpop");
    let token = offline.token().bound_to_key(key.thumbprint()).sign(&offline.issuer_key);
    let url = format!("{ORIGIN}/accounts");
    let proof = || sandbox::tokens::Proof::new("GET", &url, sandbox::now()).for_token(&token);
    let explain = |proof: String, more: &[&str]| {
        offline.folder.write("proof", &remember(proof.clone()));
        let request = format!("GET {url}");
        let explained = offline.explain(&token, &[&["--proof", "proof", "--request", &request], more].concat());
        let signature = proof.rsplit('.').next().unwrap().to_owned();
        assert!(!explained.text.contains(&signature), "{}", explained.text);
        explained
    };
    let good = explain(proof().sign(&key), &[]);
    good.assert(0, "ok"); // control
    assert!(good.text.contains(&key.thumbprint()), "{}", good.text);
    assert!(good.text.contains("made at most 60s before the call or 10s after it"), "{}", good.text);
    explain(proof().claim("htm", "POST").sign(&key), &[]).assert(1, "dpop_method_mismatch");
    explain(proof().claim("htu", format!("{url}/1")).sign(&key), &[]).assert(1, "dpop_uri_mismatch");
    explain(proof().claim("ath", "x").sign(&key), &[]).assert(1, "dpop_ath_mismatch");
    explain(proof().sign(&SigningKey::generate(KeyKind::Es256, "thief")), &[]).assert(1, "dpop_key_mismatch");
    let at = (sandbox::now() + 120).to_string();
    let stale = explain(proof().sign(&key), &["--at", &at]);
    stale.assert(1, "dpop_stale");
    let (_, sender) = stale.text.split_once("sender       REFUSED").expect("it is refused at this step");
    assert!(sender.contains("made at most 60s before") && sender.contains("made 2m ago"), "{}", stale.text);
    offline.explain(&token, &[]).assert(1, "dpop_token_as_bearer");
}

#[test]
fn what_replicas_share_in_a_store_is_left_out() {
    let explained = |sections: &str| {
        let offline = Offline::with(|scene| scene.replace("upstreams:\n", &format!("{sections}upstreams:\n")));
        let key = SigningKey::generate(KeyKind::Es256, "dpop");
        let token = offline.token().bound_to_key(key.thumbprint()).sign(&offline.issuer_key);
        let proof = sandbox::tokens::Proof::new("GET", &format!("{ORIGIN}/accounts"), sandbox::now()).for_token(&token);
        offline.folder.write("proof", &remember(proof.sign(&key)));
        offline.explain(&token, &["--proof", "proof", "--request", &format!("GET {ORIGIN}/accounts")])
    };
    explained("").assert(0, "ok"); // control
    let stores = "stores: { shared: { servers: [\"redis://127.0.0.1:9\"] } }\n";
    for shared in
        ["replay: { store: shared }\n", "revocations: { store: shared }\n", "rate_limits: { store: shared }\n"]
    {
        explained(&format!("{stores}{shared}")).assert(0, "ok");
    }
}

#[test]
fn what_is_seen_of_a_token_has_the_names_that_its_issuer_uses() {
    let seen = |section: &str| {
        let offline = Offline::with(|scene| scene.replace("tokens: jwt", &format!("tokens: jwt{section}")));
        let client = offline.authority.client("client");
        offline.folder.write("client.pem", &client.certificate_pem());
        let token = offline.token().bound_to_certificate(&client).claim("azp", "client-9").claim("typ", "Bearer");
        let explained = offline.explain(&token.sign(&offline.issuer_key), &["--certificate", "client.pem"]);
        let (_, token) = explained.text.split_once("\ntoken ").expect("it comes to this step");
        token.lines().nth(2).unwrap_or_default().to_owned()
    };
    let (plain, mapped) =
        (seen(""), seen("\n    access_token: { kind: { claim: typ, is: [Bearer] }, client_id: azp }"));
    assert!(plain.contains(", client_id ") && !plain.contains("azp") && !plain.contains("claim typ"), "{plain}");
    assert!(mapped.contains(", azp \"client-9\", claim typ \"Bearer\""), "{mapped}");
}

#[test]
fn a_nonce_counts_if_its_key_is_in_a_file() {
    let nonce_key = [7, 1].repeat(16);
    let hex = data_encoding::HEXLOWER.encode(&nonce_key);
    let offline = Offline::with(|scene| {
        let dpop = "dpop: { nonce: always, nonce_key: nonce.key }\nupstreams:\n";
        scene.replace("upstreams:\n", dpop).file("nonce.key", &hex)
    });
    let key = SigningKey::generate(KeyKind::Es256, "dpop");
    let token = offline.token().bound_to_key(key.thumbprint()).sign(&offline.issuer_key);
    let nonces = fapi::dpop::Nonces::new(&[nonce_key.try_into().unwrap()], 60).unwrap();
    let nonce = nonces.issue(fapi::UnixTime(sandbox::now())).unwrap();
    let proof = || sandbox::tokens::Proof::new("GET", &format!("{ORIGIN}/accounts"), sandbox::now()).for_token(&token);
    let explain = |proof: String| {
        offline.folder.write("proof", &remember(proof));
        offline.explain(&token, &["--proof", "proof"])
    };
    explain(proof().claim("nonce", nonce.to_str().unwrap()).sign(&key)).assert(0, "ok"); // control
    explain(proof().sign(&key)).assert(1, "dpop_nonce_required");
    explain(proof().claim("nonce", "another").sign(&key)).assert(1, "dpop_nonce_required");
}

#[test]
fn a_certificate_is_judged_by_the_rules_of_its_listener() {
    let end = "trust_anchors: [ca.pem] }\nadmin";
    let proxy = "trust_anchors: [ca.pem] }\n    forwarded_client_certificate: { dialect: client_cert, from: { names: \
                 [proxy.bank.internal] }, trust: chain, trust_anchors: [ca.pem] }\nadmin";
    for (from, to, missing, stranger) in [
        ("mode: optional", "mode: required", "handshake no_certificate", "handshake unknown_ca"),
        (end, proxy, "certificate_missing", "certificate_missing"),
    ] {
        let offline = Offline::with(|scene| scene.replace(from, to));
        let (client, other) = (offline.authority.client("client"), self_signed("stranger"));
        offline.folder.write("client.pem", &client.certificate_pem());
        offline.folder.write("stranger.pem", &other.certificate_pem());
        let explain = |bound: &sandbox::pki::Credential, certificate: &[&str]| {
            offline.explain(&offline.token().bound_to_certificate(bound).sign(&offline.issuer_key), certificate)
        };
        explain(&client, &["--certificate", "client.pem"]).assert(0, "ok"); // control
        explain(&client, &[]).assert(1, missing);
        explain(&other, &["--certificate", "stranger.pem"]).assert(1, stranger);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_is_asked_only_if_told_to() {
    let authority = Authority::new("Test CA");
    let server = AuthorizationServer::start(&authority).unwrap();
    let client = authority.client("client");
    let token = remember(server.token(sandbox::now()).bound_to_certificate(&client).sign(server.key(KeyKind::Ps256)));
    let opaque = remember(server.issue(&server.token(sandbox::now()).bound_to_certificate(&client)));
    for (introspected, token) in [(false, token), (true, opaque)] {
        let mut scene = Scene::new(&authority, server.issuer(), "127.0.0.1:9".parse().unwrap());
        if introspected {
            let key = SigningKey::generate(KeyKind::Es256, "gateway");
            server.register("gateway", sandbox::authorization_server::ResourceServer::Key(key.clone()));
            // An endpoint that is configured must not be called either.
            let endpoint = format!(", endpoint: {}", server.url(AuthorizationServer::INTROSPECTION));
            scene = scene.introspected(&endpoint).file("gateway.pem", &key.private_key_pem());
        }
        let folder = scene.file("client.pem", &client.certificate_pem()).file("token", &token).into_folder();
        let explain = |more: &[&str]| {
            let arguments = ["explain", "--token", "token", "--certificate", "client.pem"];
            Explained::of(&program(&[&arguments[..], more].concat(), folder.path()))
        };
        server.clear();
        let undecided = explain(&[]);
        undecided.assert(69, "not decided");
        assert!(undecided.text.contains("--fetch"), "{}", undecided.text);
        assert!(server.requests().is_empty(), "introspected: {introspected}");
        explain(&["--fetch"]).assert(0, "ok");
        assert!(!server.requests().is_empty(), "introspected: {introspected}");
    }
}

#[test]
fn only_issuers_of_the_route_are_expected() {
    let other = "https://other.example";
    let offline = Offline::with(|scene| {
        let second = format!(
            "  - {{ name: second, issuer: \"{other}\", audiences: [\"{}\"], tokens: jwt }}\nlimits:\n",
            AuthorizationServer::AUDIENCE
        );
        scene.replace("limits:\n", &second).replace("path: /payments\n", "path: /payments\n    issuers: [bank]\n")
    });
    let client = offline.authority.client("client");
    offline.folder.write("client.pem", &client.certificate_pem());
    let token = offline.token().bound_to_certificate(&client).claim("iss", other).sign(&offline.issuer_key);
    let explain = |token: &str, request: &str| {
        let request = format!("{} {ORIGIN}{}", request.split_once(' ').unwrap().0, request.split_once(' ').unwrap().1);
        offline.explain(token, &["--certificate", "client.pem", "--request", &request])
    };
    let everywhere = explain(&token, "GET /accounts");
    everywhere.assert(0, "ok"); // control
    assert!(everywhere.text.contains("expected   issuer second: "), "{}", everywhere.text);
    for (token, code) in [(&*token, "token_issuer_unknown"), ("opaque", "token_malformed")] {
        let refused = explain(token, "POST /payments");
        refused.assert(1, code);
        let text = &refused.text;
        assert!(text.contains("issuer bank: ") && !text.contains("issuer second: "), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_was_asked_in_vain_ends_in_the_code_of_the_gateway_and_the_reason() {
    let authority = Authority::new("Test CA");
    let server = AuthorizationServer::start(&authority).unwrap();
    let client = authority.client("client");
    let token = remember(server.token(sandbox::now()).bound_to_certificate(&client).sign(server.key(KeyKind::Ps256)));
    let folder = Scene::new(&authority, server.issuer(), "127.0.0.1:9".parse().unwrap())
        .file("client.pem", &client.certificate_pem())
        .file("token", &token)
        .into_folder();
    let explain = || {
        let arguments = ["explain", "--token", "token", "--certificate", "client.pem", "--fetch"];
        Explained::of(&program(&arguments, folder.path()))
    };
    explain().assert(0, "ok"); // control
    let mut key = server.key(KeyKind::Ps256).jwk();
    key["alg"] = "RS256".into();
    server.script(AuthorizationServer::JWKS, Answer::json(StatusCode::OK, serde_json::json!({ "keys": [key] })));
    let vain = explain();
    vain.assert(69, "keys_unavailable");
    let end = vain.text.rsplit("\n\n").next().unwrap();
    for part in ["Reading the keys of issuer \"bank\" failed: ", "no key for PS256", "The client sees 503"] {
        assert!(end.contains(part), "no {part:?} in {end}");
    }
}

#[test]
fn every_fault_of_token_has_its_code() {
    for form in [
        "",
        "    access_token: { typ: [jwt], kind: { claim: typ, is: [Bearer] }, client_id: azp }\n",
        "    access_token: { typ: [absent, at+jwt], kind: { claim: token_use, is: [access] }, scope: scp, scope_form: list }\n",
    ] {
        every_fault_has_its_code(form);
    }
}

/// `form` is that of the issuer's tokens.
fn every_fault_has_its_code(form: &str) {
    let authority = Authority::new("Test CA");
    let key = SigningKey::generate(KeyKind::Es256, "");
    let key = key.with_kid(&key.thumbprint());
    let (client, dpop_key) = (authority.client("client"), SigningKey::generate(KeyKind::Ps256, ""));
    let scene = Scene::new(&authority, ISSUER, "127.0.0.1:9".parse().unwrap());
    let folder = scene.replace("    tokens: jwt\n", &format!("    tokens: jwt\n{form}")).into_folder();
    folder.write("sandbox/issuer-key.pem", &key.private_key_pem());
    folder.write("jwks.json", &jwks(&[&key]).to_string());
    folder.write("client.pem", &client.certificate_pem());
    folder.write("dpop.pem", &dpop_key.private_key_pem());
    let explain = |made: &Output| {
        assert_eq!(made.status.code(), Some(0), "{}", String::from_utf8_lossy(&made.stderr));
        folder.write("token", &remember(String::from_utf8_lossy(&made.stdout).trim().to_owned()));
        let arguments = ["explain", "--token", "token", "--jwks", "jwks.json", "--certificate", "client.pem"];
        Explained::of(&program(&arguments, folder.path()))
    };
    let token = |more: &[&str]| program(&[&["token", "--certificate", "client.pem"], more].concat(), folder.path());
    explain(&token(&[])).assert(0, "ok"); // control
    let help = program(&["token", "--help"], folder.path());
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let faults: Vec<(&str, &str)> = help
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- "))
        .filter_map(|line| Some((line.split_once(':')?.0, line.rsplit_once(": `")?.1.trim_end_matches('`'))))
        .collect();
    assert!(faults.len() >= 10, "{help}");
    for (fault, code) in faults {
        explain(&token(&["--fault", fault])).assert(1, code);
    }
    // What it is made of.
    explain(&token(&["--claim", "aud=[\"https://other.example\"]"])).assert(1, "token_audience_mismatch");
    let client_claim = if form.contains("azp") { "azp" } else { "client_id" };
    let nameless = explain(&token(&["--without", client_claim]));
    nameless.assert(1, "token_claim_missing");
    // The claim that the configuration names, and not RFC 9068.
    assert_eq!(nameless.text.contains("which the issuer's `access_token.client_id` names"), client_claim == "azp");
    explain(&token(&["--header", "crit=[\"x\"]"])).assert(1, "token_critical_header");
    explain(&token(&["--expires-in", "0s"])).assert(1, "token_expired");
    explain(&program(&["token", "--key", "dpop.pem"], folder.path())).assert(1, "dpop_token_as_bearer");
    // Bound to nothing only when asked for.
    assert_eq!(program(&["token"], folder.path()).status.code(), Some(1));
}

#[test]
fn a_token_in_the_query_is_not_printed() {
    let offline = Offline::new();
    for (url, exit) in [
        (format!("{ORIGIN}/accounts?access_token=hunter2hunter2"), 1),
        ("https://localhost:x/accounts?access_token=hunter2hunter2".to_owned(), 1),
        ("https://user:hunter2hunter2@localhost/accounts".to_owned(), 2),
    ] {
        let explained = offline.explain("opaque", &["--request", &format!("GET {url}")]);
        assert_eq!(explained.exit, Some(exit), "{}", explained.text);
        assert!(!explained.text.contains("hunter2"), "{}", explained.text);
    }
}

#[test]
fn what_cannot_be_read_has_its_exit_code() {
    let offline = Offline::new();
    let client = offline.authority.client("client");
    offline.folder.write("client.pem", &client.certificate_pem());
    offline.folder.write("token", "opaque");
    offline.folder.write("broken.yaml", "listeners: []\n");
    offline.folder.write("two words", "a b");
    let exit = |arguments: &[&str]| program(&[&["explain"], arguments].concat(), offline.folder.path()).status.code();
    assert_eq!(exit(&["--token", "token", "--jwks", "jwks.json"]), Some(1), "control");
    assert_eq!(exit(&["--token", "nowhere"]), Some(74));
    assert_eq!(exit(&["--token", "two words"]), Some(74));
    let says = |file: &str| Explained::of(&program(&["explain", "--token", file], offline.folder.path())).text;
    assert!(says("two words").contains("expected one word") && !says("two words").contains("it is empty")); // control
    offline.folder.write("nothing", "\n");
    assert!(says("nothing").contains("nothing: it is empty"), "{}", says("nothing"));
    assert_eq!(exit(&["--token", "token", "--certificate", "token"]), Some(74));
    assert_eq!(exit(&["--token", "token", "--jwks", "token"]), Some(74));
    assert_eq!(exit(&["--token", "token", "-c", "broken.yaml"]), Some(64));
    // 1 would say that the call is refused.
    assert_eq!(exit(&["--token", "token", "--request", "GET"]), Some(2));
    assert_eq!(exit(&["--token", "token", "--request", "GET /accounts"]), Some(2));
    assert_eq!(exit(&["--token", "token", "--at", "yesterday"]), Some(2));
    assert_eq!(exit(&[]), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_read_only_if_so_asked() {
    let authority = Authority::new("Test CA");
    let server = AuthorizationServer::start(&authority).unwrap();
    let document = serde_json::json!([{ "OrganisationId": "a", "Status": "Active" }]);
    let tls = sandbox::tls::tls_config(&authority.server(&["localhost"]), None);
    let answer = Answer::json(StatusCode::OK, document);
    let mut directory =
        sandbox::https::HttpServer::start(None, Some(tls), std::sync::Arc::new(move |_| answer.clone())).unwrap();
    let client = authority.client("client");
    let token = server.token(sandbox::now()).bound_to_certificate(&client).claim("org_id", "a");
    let token = remember(token.sign(server.key(KeyKind::Ps256)));
    let url = directory.url("/participants");
    let section =
        format!("directories:\n  d: {{ kind: brazil, url: \"{url}\", trust_anchors: [ca.pem] }}\nupstreams:\n");
    let required = "require: { participant: { directory: d, organisation: { claim: /org_id } } }";
    let route = "    upstream: accounts\n    forward";
    let folder = Scene::new(&authority, server.issuer(), "127.0.0.1:9".parse().unwrap())
        .replace("upstreams:\n", &section)
        .replace(route, &format!("    {required}\n{route}"))
        .file("client.pem", &client.certificate_pem())
        .file("token", &token)
        .file("jwks.json", &jwks(&[server.key(KeyKind::Ps256)]).to_string())
        .into_folder();
    let explain = |more: &[&str]| {
        let arguments = [&["explain", "--token", "token", "--certificate", "client.pem"], more].concat();
        Explained::of(&program(&arguments, folder.path()))
    };
    let fetched = explain(&["--fetch"]);
    fetched.assert(0, "ok"); // control
    let needed = "organisation /org_id active in the directory \"d\"";
    assert!(fetched.text.contains(needed) && fetched.text.contains("/org_id \"a\""), "{}", fetched.text);
    let reads = directory.requests().len();
    let unread = explain(&["--jwks", "jwks.json"]);
    unread.assert(69, "not decided");
    assert!(unread.text.contains("The directory would have to be read: --fetch does it."), "{}", unread.text);
    assert_eq!((directory.requests().len(), reads), (1, 1));
    directory.stop().await.unwrap();
    let vain = explain(&["--fetch"]);
    vain.assert(69, "directory_unavailable");
    assert!(vain.text.contains("Reading directory \"d\" failed: "), "{}", vain.text);
}
