//! Protected resource metadata (RFC 9728): a public document that says what the routes do, and challenges that lead to it.

use bytes::Bytes;
use http::{Method, Response, header};
use sandbox::authorization_server::AuthorizationServer;
use sandbox::pki::Authority;
use sandbox::tokens::{AccessToken, KeyKind, SigningKey};
use serde_json::{Value, json};

use super::{asked, field, sent};
use crate::edge::hostile::wire::Talk;
use crate::support::{Holder, ORIGIN, Scene, World, remember, request};

const ROOT: &str = "/.well-known/oauth-protected-resource";

/// The usual gateway.yaml with metadata of these resources, and routes that take all that they lead to otherwise.
fn described(scene: Scene, resources: &str) -> Scene {
    let section = format!("metadata: {{ {resources} }}\nupstreams:\n");
    scene.replace("upstreams:\n", &section).append(
        "  - { name: rest, path: /**, methods: [GET, HEAD, POST, OPTIONS], public: true, upstream: accounts }\n",
    )
}

async fn world() -> World {
    World::with(|scene| described(scene, "")).await
}

async fn document(world: &World, path: &str) -> Value {
    let response = sent(&world.anonymous(), asked(Method::GET, path, &[])).await;
    assert_eq!(response.status(), 200, "{path}: {response:?}");
    serde_json::from_slice(response.body()).expect("JSON")
}

fn challenges(response: &Response<Bytes>) -> Vec<&str> {
    response.headers().get_all(header::WWW_AUTHENTICATE).iter().map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn prm_02_the_document_is_public_and_answered_by_the_gateway() {
    let world = world().await;
    for client in [world.anonymous().h1(), world.anonymous().h2(), world.client().h1()] {
        let response = sent(&client, asked(Method::GET, ROOT, &[])).await;
        assert_eq!(response.status(), 200, "{response:?}");
        let content: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(content["resource"], ORIGIN);
        let length = response.body().len().to_string();
        for (name, value) in [
            ("content-type", "application/json"),
            ("content-length", &*length),
            ("cache-control", "public, max-age=300"),
            ("x-content-type-options", "nosniff"),
            ("access-control-allow-origin", "*"),
            ("vary", ""),
        ] {
            assert_eq!(field(&response, name), value, "{name}");
        }
        let record = world.gateway.record_of(&response);
        assert_eq!(
            (&record["decision"], &record["code"], &record["route"], &record["upstream"], &record["response_bytes"]),
            (&"metadata".into(), &"ok".into(), &Value::Null, &Value::Null, &response.body().len().into())
        );
        // HEAD is the same without the content, and a token, good or bad, changes nothing.
        let head = sent(&client, asked(Method::HEAD, ROOT, &[])).await;
        assert_eq!((head.status().as_u16(), field(&head, "content-length"), head.body().len()), (200, &*length, 0));
        assert_eq!(field(&head, "etag"), field(&response, "etag"));
        let bad = sent(&client, asked(Method::GET, ROOT, &[("authorization", "Bearer bad.bad.bad")])).await;
        assert_eq!((bad.status().as_u16(), bad.body()), (200, response.body()));
        let slash = sent(&client, asked(Method::GET, &format!("{ROOT}/"), &[])).await;
        assert_eq!(slash.body(), response.body());
        // PRM-15
        let known = field(&response, "etag");
        let unchanged = sent(&client, asked(Method::GET, ROOT, &[("if-none-match", known)])).await;
        assert_eq!((unchanged.status().as_u16(), unchanged.body().len()), (304, 0), "{unchanged:?}");
        assert_eq!((field(&unchanged, "etag"), field(&unchanged, "content-type")), (known, ""));
        let other = sent(&client, asked(Method::GET, ROOT, &[("if-none-match", "\"other\"")])).await;
        assert_eq!(other.body(), response.body(), "control");
    }
    assert_eq!(world.accounts.server().heads(), 0);
    let (_, metrics) = world.gateway.admin("/metrics").await;
    let counted = r#"fapi_gateway_requests_total{code="ok",decision="metadata",route=""} 18"#;
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_below_the_well_known_path_is_the_gateways_and_follows_the_rules_of_every_message() {
    let world = world().await;
    let client = world.anonymous();
    for (request, status, allow) in [
        (asked(Method::GET, ROOT, &[]), 200, ""), // control
        (asked(Method::POST, ROOT, &[]), 405, "GET, HEAD"),
        (asked(Method::OPTIONS, ROOT, &[]), 405, "GET, HEAD"),
        (asked(Method::GET, &format!("{ROOT}/accounts"), &[]), 404, ""),
        (asked(Method::GET, &format!("{ROOT}/%2e%2e/x"), &[]), 400, ""),
        (asked(Method::GET, ROOT, &[("x", &*"x".repeat(40_000))]), 431, ""),
        (asked(Method::GET, ROOT, &[("host", "evil.example")]), 421, ""),
    ] {
        let what = format!("{} {}", request.method(), request.uri());
        let response = sent(&client, request).await;
        assert_eq!((response.status().as_u16(), field(&response, "allow")), (status, allow), "{what}: {response:?}");
        assert!(!String::from_utf8_lossy(response.body()).contains("evil"), "PRM-13");
    }
    assert_eq!(world.accounts.server().heads(), 0);
    let mut talk = Talk::with(&client).await;
    // A body is read on, within the limits, and the connection serves the next request.
    for (head, status) in [
        (format!("GET {ROOT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"), 200),
        (
            format!(
                "GET {ROOT} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            ),
            200,
        ),
        (format!("GET {ROOT} HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200),
        (format!("GET {ROOT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000000\r\n\r\n"), 413),
    ] {
        talk.say(&head).await.unwrap();
        assert_eq!(talk.answer().await.map(|answer| answer.status), Some(status), "{head}");
    }
    let twice = format!("GET {ROOT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n");
    let answer = String::from_utf8(client.raw(twice.as_bytes()).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    // control: everything else is the routes' business.
    let other = sent(&client, asked(Method::GET, "/.well-known/other", &[])).await;
    assert_eq!((world.gateway.record_of(&other)["route"].clone(), world.accounts.server().heads()), ("rest".into(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_of_every_origin_may_read_the_document() {
    let world = World::with(|scene| {
        described(scene, "")
            .replace("admin: {", "    cors: { allowed_origins: [\"https://portal.example\"] }\nadmin: {")
    })
    .await;
    let app = ("origin", "https://app.example");
    let asks = |method, path: &str| {
        let fields = [
            app,
            ("access-control-request-method", method),
            ("access-control-request-headers", "mcp-protocol-version"),
        ];
        asked(Method::OPTIONS, path, &fields)
    };
    for client in [world.anonymous().h1(), world.anonymous().h2()] {
        let response = sent(&client, asked(Method::GET, ROOT, &[app])).await;
        assert_eq!((response.status().as_u16(), field(&response, "access-control-allow-origin")), (200, "*"));
        assert_eq!((field(&response, "access-control-allow-credentials"), field(&response, "vary")), ("", ""));
        let granted = sent(&client, asks("GET", ROOT)).await;
        assert_eq!(granted.status(), 204, "{granted:?}");
        for (name, value) in [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-methods", "GET, HEAD"),
            ("access-control-allow-headers", "*"),
            ("access-control-max-age", "600"),
            ("access-control-allow-credentials", ""),
        ] {
            assert_eq!(field(&granted, name), value, "{name}");
        }
        assert_eq!(world.gateway.record_of(&granted)["decision"], "preflight");
        // control: nothing of this is granted for a route, or for another method.
        for refused in [asks("POST", ROOT), asks("GET", "/accounts")] {
            let response = sent(&client, refused).await;
            assert_eq!((response.status().as_u16(), field(&response, "access-control-allow-origin")), (405, ""));
        }
    }
}

/// A world with two resources: one for the tokens of two issuers, bound in any way, and below it one for those of a third, bound
/// to a key.
struct Compared {
    world: World,
    wallet: AuthorizationServer,
    other: AuthorizationServer,
}

impl Compared {
    async fn start() -> Self {
        let authority = Authority::new("Test CA");
        let server = || AuthorizationServer::start(&authority).expect("the authorization server starts");
        let (bank, wallet, other) = (server(), server(), server());
        let entry = |name, server: &AuthorizationServer| {
            format!(
                "  - {{ name: {name}, issuer: {}, audiences: [\"{ORIGIN}\", \"{ORIGIN}/other\"], trust_anchors: [ca.pem] }}\n",
                server.issuer()
            )
        };
        let more = format!("{}{}limits:\n", entry("wallet", &wallet), entry("other", &other));
        let audiences = format!("audiences: [\"{ORIGIN}\", ");
        let world = World::around(authority, bank, |scene| {
            described(
                scene,
                &format!(
                    "max_age: 1m, resources: [{{ resource: \"{ORIGIN}\", resource_name: Accounts, resource_documentation: \"https://developer.bank.example/\" }}, {{ resource: \"{ORIGIN}/other\" }}]"
                ),
            )
            .replace("audiences: [", &audiences)
            .replace("limits:\n", &more)
            .replace("scopes: [accounts]\n", "scopes: [accounts]\n    issuers: [bank, wallet]\n")
            .replace("scopes: { any: [payments, accounts] }\n", "scopes: { any: [payments, accounts] }\n    issuers: [bank, wallet]\n")
            .append("  - { name: other, path: /other/**, methods: [GET], scopes: [other], sender_constraint: [dpop], issuers: [other], upstream: accounts }\n")
        })
        .await;
        Self { world, wallet, other }
    }

    fn servers(&self) -> [&AuthorizationServer; 3] {
        [&self.world.issuer, &self.wallet, &self.other]
    }

    /// A token of this server for a resource.
    fn token(&self, server: &AuthorizationServer, resource: &str, scope: &str) -> AccessToken {
        server.token(self.world.clock.now()).audience(resource).scope(scope)
    }

    /// What a request with a token that is bound to a new key of this kind gets, if its proof says that it is signed with `alg`.
    async fn with_proof(
        &self,
        server: &AuthorizationServer,
        path: &str,
        resource: &str,
        scope: &str,
        key: KeyKind,
        alg: Option<&str>,
    ) -> String {
        let key = SigningKey::generate(key, "proof");
        let token = self.token(server, resource, scope).bound_to_key(key.thumbprint());
        let holder = Holder { token: remember(token.sign(server.key(KeyKind::Ps256))), key };
        let mut proof = holder.proof(path, self.world.clock.now());
        if let Some(alg) = alg {
            proof = proof.header("alg", alg);
        }
        self.world.judge_from(&self.world.anonymous(), holder.request(path, &proof)).await.1
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prm_04_to_08_prm_12_what_the_document_says_is_what_the_gateway_does() {
    let compared = Compared::start().await;
    let world = &compared.world;
    let issuers =
        |servers: &[&AuthorizationServer]| servers.iter().map(|server| server.issuer().to_owned()).collect::<Vec<_>>();
    let [bank, wallet, other] = compared.servers();
    assert_eq!(
        document(world, ROOT).await,
        json!({
            "resource": ORIGIN,
            "authorization_servers": issuers(&[bank, wallet]),
            "scopes_supported": ["accounts", "payments"],
            "bearer_methods_supported": ["header"],
            "resource_name": "Accounts",
            "resource_documentation": "https://developer.bank.example/",
            "tls_client_certificate_bound_access_tokens": true,
            "dpop_signing_alg_values_supported": ["PS256", "ES256", "EdDSA"],
            "dpop_bound_access_tokens_required": false,
        })
    );
    assert_eq!(
        document(world, &format!("{ROOT}/other")).await,
        json!({
            "resource": format!("{ORIGIN}/other"),
            "authorization_servers": issuers(&[other]),
            "scopes_supported": ["other"],
            "tls_client_certificate_bound_access_tokens": false,
            "dpop_signing_alg_values_supported": ["PS256", "ES256", "EdDSA"],
            "dpop_bound_access_tokens_required": true,
        })
    );
    // For each resource: its path, a scope of it, and what its document says.
    for (path, resource, scope, at) in [
        ("/accounts", ORIGIN.to_owned(), "accounts", ROOT.to_owned()),
        ("/other/1", format!("{ORIGIN}/other"), "other", format!("{ROOT}/other")),
    ] {
        let document = document(world, &at).await;
        assert_eq!(document["resource"], *resource);
        let lists =
            |member: &str, value: &str| document[member].as_array().is_some_and(|list| list.contains(&value.into()));
        // Tokens of each issuer that is named, for the resource, are accepted, and no others.
        let mut named = 0;
        for server in compared.servers() {
            let got = compared.with_proof(server, path, &resource, scope, KeyKind::Es256, None).await;
            let expected = if lists("authorization_servers", server.issuer()) { "ok" } else { "token_issuer_unknown" };
            assert_eq!(got, expected, "{path} {}", server.issuer());
            named += usize::from(got == "ok");
        }
        assert_eq!(document["authorization_servers"].as_array().unwrap().len(), named);
        // Proofs of each algorithm that is named are accepted, and no others.
        let servers = compared.servers();
        let server = servers.into_iter().find(|server| lists("authorization_servers", server.issuer())).unwrap();
        for kind in KeyKind::ALL {
            assert!(lists("dpop_signing_alg_values_supported", kind.algorithm()), "{path} {}", kind.algorithm());
            let got = compared.with_proof(server, path, &resource, scope, kind, None).await;
            assert_eq!(got, "ok", "{path} {}", kind.algorithm());
        }
        assert_eq!(document["dpop_signing_alg_values_supported"].as_array().unwrap().len(), KeyKind::ALL.len());
        for alg in ["RS256", "ES384", "HS256", "none"] {
            let got = compared.with_proof(server, path, &resource, scope, KeyKind::Es256, Some(alg)).await;
            assert_eq!(got, "dpop_algorithm_refused", "{path} {alg}");
        }
        // A certificate binds a token where the document says so.
        let token = compared.token(server, &resource, scope).bound_to_certificate(&world.c1);
        let token = remember(token.sign(server.key(KeyKind::Ps256)));
        let (_, code) = world.judge(request(path, &token)).await;
        let certificates = document["tls_client_certificate_bound_access_tokens"] == true;
        assert_eq!(code, if certificates { "ok" } else { "scheme_unsupported" }, "{path}");
        assert_eq!(document["dpop_bound_access_tokens_required"] == true, !certificates);
        assert_eq!(lists("bearer_methods_supported", "header"), certificates);
        // The header is the one method: a token in the query is none.
        let in_query = sent(&world.client(), asked(Method::GET, &format!("{path}?access_token={token}"), &[])).await;
        assert_eq!(in_query.status(), 401);
        // A challenge names scopes of the document alone.
        let poor = compared.token(server, &resource, "openid");
        let key = SigningKey::generate(KeyKind::Es256, "proof");
        let holder =
            Holder { token: remember(poor.bound_to_key(key.thumbprint()).sign(server.key(KeyKind::Ps256))), key };
        let response = sent(&world.anonymous(), holder.request(path, &holder.proof(path, world.clock.now()))).await;
        assert_eq!(response.status(), 403);
        let challenge = challenges(&response)[0].to_owned();
        let (_, asked_for) = challenge.split_once(", scope=\"").expect("the scopes that are missing");
        let asked_for = asked_for.split_once('"').unwrap().0;
        assert!(asked_for.split(' ').all(|scope| lists("scopes_supported", scope)), "{challenge}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prm_09_prm_10_every_challenge_leads_to_the_document_of_the_resource() {
    let compared = Compared::start().await;
    let world = &compared.world;
    let bare = |path: &str| asked(Method::GET, path, &[]);
    let bad =
        |path: &str, scheme: &str| asked(Method::GET, path, &[("authorization", &*format!("{scheme} bad.bad.bad"))]);
    let twice = asked(Method::GET, "/accounts?access_token=x", &[("authorization", "Bearer x")]);
    for client in [world.anonymous().h1(), world.anonymous().h2()] {
        for (request, resource, status, schemes) in [
            (bare("/accounts"), "", 401, 2),
            (bare("/accounts/1?x=/other"), "", 401, 2),
            (bad("/accounts", "Bearer"), "", 401, 2),
            (bad("/accounts", "DPoP"), "", 401, 2),
            (twice.clone(), "", 400, 2),
            (bare("/other"), "/other", 401, 1),
            (bad("/other/1", "DPoP"), "/other", 401, 1),
        ] {
            let what = format!("{request:?}");
            let path = request.uri().path().to_owned();
            let response = sent(&client, request).await;
            assert_eq!(response.status(), status, "{what}");
            let challenges = challenges(&response);
            assert_eq!(challenges.len(), schemes, "{what}: {challenges:?}");
            let url = format!("{ORIGIN}{ROOT}{resource}");
            for challenge in challenges {
                assert!(challenge.ends_with(&format!(", resource_metadata=\"{url}\"")), "{what}: {challenge}");
                assert_eq!(challenge.matches("resource_metadata").count(), 1);
            }
            // The document that it leads to is about what was called.
            let named = document(world, &format!("{ROOT}{resource}")).await;
            assert!(format!("{ORIGIN}{path}").starts_with(named["resource"].as_str().unwrap()), "{what}");
        }
    }
    // Where there is no challenge, there is no parameter; a refusal before the host is known has none.
    let health = sent(&world.anonymous(), bare("/nothing")).await;
    assert_eq!((health.status().as_u16(), challenges(&health).len()), (404, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn prm_01_behind_a_proxy_that_removes_a_prefix_the_identifier_has_it() {
    let world = World::with(|scene| {
        described(scene, "").replace(&format!("origins: [\"{ORIGIN}\"]"), &format!("origins: [\"{ORIGIN}/bank\"]"))
    })
    .await;
    // The proxy passes on the well-known path as it is, and `/bank/accounts` as `/accounts`.
    assert_eq!(document(&world, &format!("{ROOT}/bank")).await["resource"], format!("{ORIGIN}/bank"));
    let client = world.anonymous();
    assert_eq!(sent(&client, asked(Method::GET, ROOT, &[])).await.status(), 404); // control
    let refused = sent(&client, asked(Method::GET, "/accounts", &[])).await;
    let url = format!(", resource_metadata=\"{ORIGIN}{ROOT}/bank\"");
    assert!(challenges(&refused).iter().all(|challenge| challenge.ends_with(&url)), "{refused:?}");
    assert_eq!(refused.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_section_nothing_is_different() {
    let world = World::start().await;
    let client = world.anonymous();
    assert_eq!(sent(&client, asked(Method::GET, ROOT, &[])).await.status(), 404);
    let refused = sent(&client, asked(Method::GET, "/accounts", &[])).await;
    let expected =
        [format!("DPoP realm=\"{ORIGIN}\", algs=\"PS256 ES256 EdDSA\""), format!("Bearer realm=\"{ORIGIN}\"")];
    assert_eq!(challenges(&refused), expected);
    assert_eq!(world.judge(world.request()).await, (200, "ok".to_owned())); // control
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_the_document_and_removes_it() {
    let world = world().await;
    let before = sent(&world.anonymous(), asked(Method::GET, ROOT, &[])).await;
    world.reload(1, |text| text.replace("scopes: [accounts]", "scopes: [balances]")).await;
    let known = [("if-none-match", field(&before, "etag"))];
    let after = sent(&world.anonymous(), asked(Method::GET, ROOT, &known)).await;
    assert_eq!(after.status(), 200);
    let content: Value = serde_json::from_slice(after.body()).unwrap();
    assert_eq!(content["scopes_supported"], json!(["balances", "payments", "accounts"]));
    // A configuration that is refused changes nothing.
    let elsewhere = "metadata: { resources: [{ resource: \"https://elsewhere.example\" }] }";
    world.edit(|text| text.replace("metadata: {  }", elsewhere));
    world.attempt_reload(2).await;
    assert!(world.gateway.admin("/metrics").await.1.contains("\nfapi_gateway_config_last_reload_success 0\n"));
    let same = sent(&world.anonymous(), asked(Method::GET, ROOT, &[])).await;
    assert_eq!(same.body(), after.body());
    world.reload(3, |text| text.replace(elsewhere, "")).await;
    // The routes have the path now.
    let heads = world.accounts.server().heads();
    let gone = sent(&world.anonymous(), asked(Method::GET, ROOT, &[])).await;
    assert_eq!(
        (world.gateway.record_of(&gone)["route"].clone(), world.accounts.server().heads()),
        ("rest".into(), heads + 1)
    );
}
