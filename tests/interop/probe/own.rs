//! The program of this repository, probed from outside: it keeps everything that it claims.

use std::net::TcpListener;
use std::time::Duration;

use fapi::ecosystem::Ecosystem;
use fapi::jose::keys::KeySet;
use fapi::participant::Role;
use probe::authorization::{Given, Source};
use probe::plan::Plan;
use probe::report::Verdict;
use probe::settings::{Nonce, Revoke, Settings, Write};
use sandbox::accounts::AccountsApi;
use sandbox::authorization_server::AuthorizationServer;
use sandbox::tls::tls_config;
use sandbox::tokens::{AccessToken, jwks};
use serde_json::json;
use tokio::runtime::Runtime;

use super::world::{AUDIENCE, World, found, probed};
use crate::support::participant::{brazilian, provider};
use crate::support::program::Program;
use crate::support::redis::Redis;
use crate::support::{Folder, free_ports};

/// A running gateway, and what it stands between.
struct Stage {
    world: World,
    port: u16,
    admin: u16,
    issuer: String,
    gateway: Program,
    _accounts: AccountsApi,
    _server: AuthorizationServer,
    _runtime: Runtime,
}

impl Stage {
    /// The program with a gateway.yaml: what differs from the usual one, and what its route requires more.
    fn start(profile: &str, dpop: &str, more: &str, route: &str) -> Self {
        Self::start_in(World::new, profile, dpop, more, route)
    }

    /// The same in a world of its own.
    fn start_in(world: impl FnOnce() -> World, profile: &str, dpop: &str, more: &str, route: &str) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        // The probe blocks, so it is no part of it.
        let entered = runtime.enter();
        let world = world();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let issuer = format!("https://localhost:{}", listener.local_addr().expect("bound").port());
        let tls = tls_config(&world.server, None);
        let server = AuthorizationServer::start_with(listener, tls, &issuer, world.key.clone()).expect("it starts");
        let accounts = AccountsApi::start(None, None).expect("it starts");
        let [port, admin] = free_ports(2)[..] else { unreachable!("two ports were asked for") };
        let upstream = accounts.address();
        // In an ecosystem, each route would have to say of which role its clients are.
        let loans = match profile.contains("ecosystem") {
            false => "  - { name: loans, path: /loans, methods: [GET], scopes: [payments], upstream: api }\n",
            true => "",
        };
        world.file(
            "gateway.yaml",
            &format!(
                "profile: {profile}\n\
                 listeners:\n  \
                   - address: 127.0.0.1:{port}\n    \
                     origins: [\"https://localhost:{port}\"]\n    \
                     tls:\n      \
                       certificate: server.pem\n      \
                       private_key: server-key.pem\n      \
                       client_certificates: {{ mode: optional, trust_anchors: [ca.pem] }}\n\
                 admin: {{ address: \"127.0.0.1:{admin}\", revocations: {{}} }}\n\
                 {dpop}\
                 issuers:\n  \
                   - name: issuer\n    \
                     issuer: \"{issuer}\"\n    \
                     audiences: [\"{AUDIENCE}\"]\n    \
                     trust_anchors: [ca.pem]\n    \
                     algorithms: [ES256]\n\
                 upstreams: {{ api: {{ servers: [\"http://{upstream}\"] }} }}\n\
                 {more}\
                 routes:\n\
                 {loans}  \
                   - name: api\n    \
                     path: /**\n    \
                     methods: [GET, HEAD, POST]\n    \
                     scopes: [accounts]\n    \
                     upstream: api\n{route}"
            ),
        );
        let mut gateway = Program::run(&world.folder);
        gateway.says("key set read");
        drop(entered);
        Self { world, port, admin, issuer, gateway, _accounts: accounts, _server: server, _runtime: runtime }
    }

    fn settings(&self, plans: &[Plan]) -> Settings {
        let mut settings = self.world.settings(self.port);
        settings.plans = plans.to_vec();
        settings.resource.forbidden = Some("/loans".to_owned());
        settings.writes = true;
        settings.resource.write = Some(Write {
            method: http::Method::POST,
            path: "/payments".to_owned(),
            content_type: "application/json".to_owned(),
            body: b"{\"amount\":\"1.00\"}".to_vec(),
        });
        settings.claims.metadata = false;
        // Soon after its start it asks for one.
        settings.claims.nonce = Nonce::Sometimes;
        settings.claims.revocation = Some(Duration::from_secs(1));
        settings.revoke = Some(Revoke::Post {
            url: format!("http://127.0.0.1:{}/revocations", self.admin).parse().expect("a URL"),
            content_type: "application/json".to_owned(),
            body: format!("{{\"issuer\":\"{}\",\"jti\":\"{{jti}}\"}}", self.issuer),
        });
        if let Some(issuer) = &mut settings.issuer {
            issuer.issuer.clone_from(&self.issuer);
        }
        settings
    }
}

impl Stage {
    /// A second gateway for the same origin, with the same configuration.
    fn replica(&self) -> (u16, Program, Folder) {
        let folder = Folder::new();
        for name in ["ca.pem", "server.pem", "server-key.pem", "nonce.key"] {
            std::fs::copy(self.world.path(name), folder.path().join(name)).expect("the file is there");
        }
        let [port, admin] = free_ports(2)[..] else { unreachable!("two ports were asked for") };
        let text = std::fs::read_to_string(self.world.path("gateway.yaml")).expect("the file is there");
        let text = text
            .replace(&format!("- address: 127.0.0.1:{}", self.port), &format!("- address: 127.0.0.1:{port}"))
            .replace(&format!("\"127.0.0.1:{}\"", self.admin), &format!("\"127.0.0.1:{admin}\""));
        folder.write("gateway.yaml", &text);
        let mut gateway = Program::run(&folder);
        gateway.ready();
        (port, gateway, folder)
    }
}

#[test]
fn what_replicas_do_not_share_is_found() {
    let redis = Redis::start(&[]);
    let store = format!("stores: {{ shared: {{ servers: [\"redis://127.0.0.1:{}\"] }} }}\n", redis.port());
    for (replay, expected) in [("shared", &[][..]), ("memory", &["dpop-replay-at-once", "dpop-replay-elsewhere"][..])] {
        let world = || {
            let world = World::new();
            let key: String = (1..33).map(|byte: u8| format!("{:02x}", byte.wrapping_mul(37))).collect();
            world.file("nonce.key", &key);
            world
        };
        let dpop = "dpop: { nonce: always, nonce_key: nonce.key }\n";
        let more = format!("{store}replay: {{ store: {replay} }}\nrevocations: {{ store: shared }}\n");
        let mut stage = Stage::start_in(world, "fapi2-security", dpop, &more, "");
        // Each asks the store on connections that it has to open first.
        stage.gateway.ready();
        let (port, _gateway, _folder) = stage.replica();
        let mut settings = stage.settings(&[Plan::Fapi2Dpop]);
        settings.claims.nonce = Nonce::Always;
        settings.target.addresses.push(([127, 0, 0, 1], port).into());
        let modules =
            ["dpop-replay", "dpop-replay-at-once", "dpop-replay-elsewhere", "dpop-nonce-elsewhere", "tls-replicas"];
        let report = probed(&settings, &modules.map(str::to_owned));
        let names: Vec<String> = found(&report).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, expected, "{replay}: {:#?}", found(&report));
        assert_eq!(report.count(Verdict::Pass) + expected.len(), modules.len());
    }
}

/// Nothing is found, and at least this many modules had something to look at.
#[track_caller]
fn passes(settings: &Settings, at_least: usize) {
    passes_but(settings, at_least, &[]);
}

/// The same, but for what stays with the API behind the gateway.
#[track_caller]
fn passes_but(settings: &Settings, at_least: usize, of_the_api: &[&str]) {
    let report = probed(settings, &[]);
    let skipped = report.modules.iter().filter(|module| module.verdict == Verdict::Skipped);
    let skipped: Vec<_> = skipped.map(|module| (&module.name, &module.reason)).collect();
    let mut found = found(&report);
    found.retain(|(module, _)| !of_the_api.contains(&module.as_str()));
    assert_eq!(found, Vec::new());
    let passed = report.count(Verdict::Pass);
    assert!(passed >= at_least, "only {passed} modules had something to look at; skipped: {skipped:#?}");
}

#[test]
fn it_keeps_what_fapi_2_asks_of_a_resource_server() {
    let cors = "    cors: { allowed_origins: [\"https://app.example\"] }\n";
    let metadata = "metadata: {}\n";
    let stage = Stage::start("fapi2-security", "", metadata, cors);
    let mut settings = stage.settings(&[Plan::Fapi2Security, Plan::Fapi2Dpop, Plan::Fapi2Mtls]);
    settings.claims.metadata = true;
    settings.claims.cors = Some("https://app.example".to_owned());
    passes(&settings, 100);
}

#[test]
fn tokens_that_are_given_are_not_revoked() {
    let stage = Stage::start("fapi2-security", "", "", "");
    let mut settings = stage.settings(&[Plan::Fapi2Mtls]);
    let signed = |index: usize| {
        let token = AccessToken::new(stage.issuer.as_str(), AUDIENCE, sandbox::now());
        let token = token.claim("client_id", format!("client-{}", index + 1));
        token.bound_to_certificate(&stage.world.clients[index]).sign(&stage.world.key)
    };
    settings.source = Source::Given([0, 1].map(|index| Given { certificate: Some(signed(index)), dpop: None }));
    settings.claims.dpop = false;
    settings.issuer = None;
    let report = probed(&settings, &[]);
    assert_eq!(found(&report), Vec::new());
    let verdict = |name: &str| report.modules.iter().find(|module| module.name == name).map(|module| module.verdict);
    assert_eq!(verdict("token-revoked"), Some(Verdict::Skipped));
    assert_eq!(verdict("certificate-of-another-client"), Some(Verdict::Pass));
}

#[test]
fn it_keeps_what_it_says_of_nonces() {
    let stage = Stage::start("fapi2-security", "dpop: { nonce: always }\n", "", "");
    let mut settings = stage.settings(&[Plan::Fapi2Dpop]);
    settings.claims.nonce = Nonce::Always;
    passes(&settings, 90);
}

#[test]
fn it_keeps_what_fapi_1_asks_of_a_resource_server() {
    let stage = Stage::start("fapi1-advanced", "", "", "");
    let mut settings = stage.settings(&[Plan::Fapi1Advanced]);
    settings.claims.dpop = false;
    passes(&settings, 60);
}

#[test]
fn it_keeps_what_fapi_2_asks_of_signed_messages() {
    let world = || {
        let world = World::new();
        let keys = |index: usize| jwks(&[&world.proof_keys[index]]);
        let clients = json!({ "client-1": keys(0), "client-2": keys(1) });
        world.file("clients.json", &clients.to_string());
        world.file("signing.pem", &world.key.private_key_pem());
        world
    };
    let more = "client_keys: { tpps: { file: clients.json } }\n\
                signing: { keys: [{ private_key: signing.pem, key_id: own }] }\n";
    let signature = "    signature: { request: required, response: sign, keys: tpps }\n";
    let mut stage = Stage::start_in(world, "fapi2-security", "", more, signature);
    // Until then it refuses signatures that were made before it started, which it may have seen.
    stage.gateway.ready();
    let mut settings = stage.settings(&[Plan::MessageSigning]);
    settings.claims.signed_requests = true;
    settings.claims.signed_responses = true;
    let own = jwks(&[&stage.world.key.with_kid("own")]).to_string();
    settings.response_keys = Some(KeySet::parse(own.as_bytes()).expect("a key set"));
    passes(&settings, 20);
}

#[test]
fn it_keeps_what_ecosystems_add() {
    for ecosystem in Ecosystem::ALL.iter().copied() {
        let world = || {
            let mut world = World::new();
            let client = if ecosystem == Ecosystem::Brazil {
                world.authority.client_with("client-1", brazilian(UUID, UUID))
            } else {
                world.authority.client_with("client-1", provider("PSDDE-BAFIN-123456", &[Role::AccountInformation]))
            };
            world.clients[0] = client;
            world
        };
        let base = match ecosystem {
            Ecosystem::UkObie31 | Ecosystem::UkObie40 | Ecosystem::Brazil | Ecosystem::Cdr | Ecosystem::Ksa => {
                "fapi1-advanced"
            }
            Ecosystem::BerlinGroup | Ecosystem::Uae | Ecosystem::Fdx | Ecosystem::ConnectId | Ecosystem::Smart => {
                "fapi2-security"
            }
        };
        let profile = format!("{{ base: {base}, ecosystem: {} }}", ecosystem.as_str());
        let route = match ecosystem {
            Ecosystem::UkObie31 | Ecosystem::UkObie40 | Ecosystem::Brazil | Ecosystem::Uae | Ecosystem::Ksa => {
                "    idempotency_key: required\n"
            }
            Ecosystem::BerlinGroup => "    require: { certificate: { roles: [PSP_AI] } }\n",
            Ecosystem::Cdr => "    versions: [1]\n",
            Ecosystem::Fdx | Ecosystem::ConnectId | Ecosystem::Smart => "",
        };
        let stage = Stage::start_in(world, &profile, "", "", route);
        let mut settings = stage.settings(&[Plan::Ecosystem(ecosystem)]);
        settings.claims.dpop = false;
        let fields: &[(&str, &str)] = if ecosystem == Ecosystem::Cdr {
            &[("x-v", "1"), ("x-fapi-auth-date", DATE)]
        } else if ecosystem == Ecosystem::Uae {
            &[("x-fapi-auth-date", DATE)]
        } else {
            &[]
        };
        settings.resource.fields =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        println!("{}", ecosystem.as_str());
        // Which version is served (AU-06), and where the configuration of SMART is, only the API knows. A route whose requests are
        // not signed compares no digests.
        passes_but(&settings, 2, &["cdr-version-told", "berlin-group-digest", "smart-configuration"]);
    }
}

const UUID: &str = "c770aef3-6784-41f7-8e0e-ff5f97bddb3a";
const DATE: &str = "Tue, 11 Sep 2012 19:43:31 GMT";
