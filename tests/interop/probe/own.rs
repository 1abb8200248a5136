//! The program of this repository, probed from outside: it keeps everything that it claims.

use std::net::TcpListener;
use std::time::Duration;

use probe::plan::Plan;
use probe::report::Verdict;
use probe::settings::{Nonce, Revoke, Settings};
use sandbox::accounts::AccountsApi;
use sandbox::authorization_server::AuthorizationServer;
use sandbox::tls::tls_config;

use super::world::{AUDIENCE, World, found, probed};
use crate::support::free_ports;
use crate::support::program::Program;

/// A running gateway, and what it stands between.
struct Stage {
    world: World,
    port: u16,
    admin: u16,
    issuer: String,
    _gateway: Program,
    _accounts: AccountsApi,
    _server: AuthorizationServer,
}

impl Stage {
    /// The program with a gateway.yaml: what differs from the usual one, and what its route requires more.
    fn start(profile: &str, dpop: &str, more: &str, route: &str) -> Self {
        let world = World::new();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let issuer = format!("https://localhost:{}", listener.local_addr().expect("bound").port());
        let tls = tls_config(&world.server, None);
        let server = AuthorizationServer::start_with(listener, tls, &issuer, world.key.clone()).expect("it starts");
        let accounts = AccountsApi::start(None, None).expect("it starts");
        let [port, admin] = free_ports(2)[..] else { unreachable!("two ports were asked for") };
        let upstream = accounts.address();
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
                 routes:\n  \
                   - {{ name: payments, path: /payments, methods: [GET], scopes: [payments], upstream: api }}\n  \
                   - name: api\n    \
                     path: /**\n    \
                     methods: [GET, HEAD]\n    \
                     scopes: [accounts]\n    \
                     upstream: api\n{route}"
            ),
        );
        let mut gateway = Program::run(&world.folder);
        gateway.says(" ready ");
        Self { world, port, admin, issuer, _gateway: gateway, _accounts: accounts, _server: server }
    }

    fn settings(&self, plans: &[Plan]) -> Settings {
        let mut settings = self.world.settings(self.port);
        settings.plans = plans.to_vec();
        settings.resource.forbidden = Some("/payments".to_owned());
        settings.claims.metadata = false;
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

/// Nothing is found, and at least this many modules had something to look at.
#[track_caller]
fn passes(settings: &Settings, at_least: usize) {
    let report = probed(settings, &[]);
    let skipped = report.modules.iter().filter(|module| module.verdict == Verdict::Skipped);
    let skipped: Vec<_> = skipped.map(|module| (&module.name, &module.reason)).collect();
    assert_eq!(found(&report), Vec::new());
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
