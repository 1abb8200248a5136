//! What a probe in a test has at hand: an authority, two clients, an issuer whose keys it has, and a folder with their files.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use probe::authorization::Source;
use probe::module::Module;
use probe::plan::Plan;
use probe::report::{Module as ModuleReport, Report, Verdict};
use probe::run::{Watch, run};
use probe::settings::{Certificate, Claims, Client, Issuer, Limits, Nonce, Resource, Settings, Target};
use rustls::RootCertStore;
use sandbox::pki::{self, Authority, Credential};
use sandbox::tokens::{KeyKind, SigningKey, jwks};

use crate::support::Folder;

pub const ISSUER: &str = "https://issuer.example";
pub const AUDIENCE: &str = "https://api.example";

pub struct World {
    pub authority: Authority,
    pub server: Credential,
    pub clients: [Credential; 2],
    pub expired: Credential,
    pub proof_keys: [SigningKey; 2],
    pub key: SigningKey,
    pub rsa_key: SigningKey,
    pub folder: Folder,
}

impl World {
    pub fn new() -> Self {
        let authority = Authority::new("Probe CA");
        let server = authority.server(&["localhost"]);
        let clients = [authority.client("client-1"), authority.client("client-2")];
        let expired = authority.client_with("client-1", pki::expired);
        let world = Self {
            server,
            clients,
            expired,
            proof_keys: ["a", "b"].map(|kid| SigningKey::generate(KeyKind::Es256, kid)),
            key: SigningKey::generate(KeyKind::Es256, "ec"),
            rsa_key: SigningKey::generate(KeyKind::Ps256, "rsa"),
            folder: Folder::new(),
            authority,
        };
        world.file("ca.pem", &world.authority.pem());
        world.file("server.pem", &world.server.certificate_pem());
        world.file("server-key.pem", &world.server.key_pem());
        world
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        self.folder.write(name, text)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn jwks(&self) -> String {
        jwks(&[&self.key, &self.rsa_key]).to_string()
    }

    /// Settings for a server of `localhost` on a port of 127.0.0.1, which claims everything.
    pub fn settings(&self, port: u16) -> Settings {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).expect("the authority is one");
        let certificate = |credential: &Credential| Certificate {
            chain: credential.chain_der.clone(),
            key: credential.private_key(),
        };
        let [first, second] = [0, 1].map(|index| Client {
            client_id: format!("client-{}", index + 1),
            certificate: Some(certificate(&self.clients[index])),
            proof_key: Some(self.proof_keys[index].clone()),
            signing_key: Some(self.proof_keys[index].clone()),
        });
        Settings {
            target: Target {
                url: format!("https://localhost:{port}/accounts").parse().expect("a URL"),
                addresses: vec![([127, 0, 0, 1], port).into()],
                roots: Arc::new(roots),
            },
            plans: vec![Plan::Fapi2Security],
            resource: Resource {
                method: http::Method::GET,
                fields: Vec::new(),
                scope: Some("accounts".to_owned()),
                forbidden: None,
                write: None,
            },
            claims: Claims {
                certificate: true,
                dpop: true,
                nonce: Nonce::Never,
                nonce_lifetime: None,
                revocation: None,
                metadata: true,
                cors: None,
                interaction_id: true,
                signed_requests: false,
                signed_responses: false,
                certificate_required: false,
                private_authorities: true,
            },
            clients: [first, second],
            expired: Some(certificate(&self.expired)),
            response_keys: None,
            source: Source::Issuer,
            issuer: Some(Issuer {
                issuer: ISSUER.to_owned(),
                audience: AUDIENCE.to_owned(),
                key: self.key.clone(),
                rsa_key: Some(self.rsa_key.clone()),
                claims: serde_json::Map::new(),
            }),
            revoke: None,
            contact: "probe@test.example".to_owned(),
            limits: Limits { rate: 10_000, total: 10_000, timeout: Duration::from_secs(5) },
            writes: false,
            dry: false,
        }
    }
}

/// Runs the plans of the settings, or some modules of them.
pub fn probed(settings: &Settings, only: &[String]) -> Report {
    struct Silent;
    impl Watch for Silent {
        fn begins(&mut self, _: usize, _: usize, _: &Module) {}
        fn ended(&mut self, _: usize, _: usize, _: &ModuleReport) {}
    }
    run(settings, only, "", None, &mut Silent)
}

/// The modules that are neither good nor skipped, each with what it found.
pub fn found(report: &Report) -> Vec<(String, String)> {
    let bad = report.modules.iter().filter(|module| !matches!(module.verdict, Verdict::Pass | Verdict::Skipped));
    bad.map(|module| {
        let steps = module.steps.iter().filter(|step| step.verdict == module.verdict);
        let steps: Vec<String> = steps.map(|step| format!("{}: {}", step.title, step.observed)).collect();
        (module.name.clone(), format!("{} ({:?}) {}", module.verdict, module.reason, steps.join("; ")))
    })
    .collect()
}
