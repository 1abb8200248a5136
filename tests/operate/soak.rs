//! The program under mixed traffic for a long time: memory stays flat and no descriptor leaks. Not part of a normal
//! run:
//!
//! ```sh
//! cargo test --release -- --ignored soak
//! ```
//!
//! Takes ten minutes; `FAPI_GATEWAY_SOAK_SECONDS` overrides the duration.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use sandbox::accounts::AccountsApi;
use sandbox::authorization_server::{AuthorizationServer, ResourceServer};
use sandbox::pki::Authority;
use sandbox::tokens::{KeyKind, Proof, SigningKey};

use crate::support::client::{self, Client};
use crate::support::tools::tool;
use crate::support::{ORIGIN, Scene, dpop_request, free_port, request};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes ten minutes"]
async fn memory_and_descriptors_stay_as_they_are_under_mixed_traffic() {
    let seconds = std::env::var("FAPI_GATEWAY_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(600);
    let world = Arc::new(World::start().await);
    let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let workers: Vec<_> = (0..8_u64)
        .map(|number| {
            let (world, over, answered) = (world.clone(), over.clone(), answered.clone());
            tokio::spawn(async move {
                let mut round = number;
                while !over.load(Ordering::Relaxed) {
                    world.round(round).await;
                    answered.fetch_add(6, Ordering::Relaxed);
                    round += 8;
                }
            })
        })
        .collect();
    let mut samples = Vec::new();
    let began = instant();
    while began.elapsed() < Duration::from_secs(seconds) {
        tokio::time::sleep(Duration::from_secs(seconds.div_ceil(60))).await;
        samples.push(world.sample());
        let (resident, descriptors) = samples[samples.len() - 1];
        let exchanges = answered.load(Ordering::Relaxed);
        println!(
            "{:4} s  {resident:7} KiB  {descriptors:4} descriptors  {exchanges} exchanges",
            began.elapsed().as_secs()
        );
        if samples.len().is_multiple_of(6) {
            world.signal("-HUP");
        }
    }
    over.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.expect("every exchange had the expected outcome");
    }
    let median = |part: &[(u64, usize)], of: fn(&(u64, usize)) -> u64| {
        let mut values: Vec<u64> = part.iter().map(of).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    let (early, late) = (&samples[samples.len() / 4..samples.len() / 2], &samples[samples.len() * 3 / 4..]);
    let resident = |part| median(part, |sample| sample.0);
    assert!(resident(late) <= resident(early) * 11 / 10 + 4096, "{} KiB became {}", resident(early), resident(late));
    let descriptors = |part| median(part, |sample| sample.1 as u64);
    assert!(descriptors(late) <= descriptors(early) + 16, "{} became {}", descriptors(early), descriptors(late));
}

/// The servers and tokens around a gateway that runs in its own process.
struct World {
    authority: Authority,
    issuer: AuthorizationServer,
    accounts: AccountsApi,
    /// So few that all of them are soon cached.
    proof_keys: Vec<SigningKey>,
    client: Client,
    gateway: Gateway,
}

struct Gateway {
    child: Child,
    _folder: crate::support::Folder,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl World {
    async fn start() -> Self {
        let authority = Authority::new("Test CA");
        let issuer = AuthorizationServer::start(&authority).expect("the authorization server starts");
        let accounts = AccountsApi::start(None, None).expect("the accounts API starts");
        let key = SigningKey::generate(KeyKind::Es256, "gateway");
        issuer.register("asked", ResourceServer::Key(key.clone()));
        let (port, admin) = (free_port(), free_port() + 1);
        let asked = format!(
            "  - {{ name: asked, issuer: \"{}\", audiences: [\"{}\"], tokens: introspection, trust_anchors: [ca.pem], \
             introspection: {{ client_id: asked, authentication: {{ method: private_key_jwt, private_key: key.pem }}, \
             cache: {{ max_age: 5s }} }} }}\n",
            issuer.issuer(),
            AuthorizationServer::AUDIENCE
        );
        let route = "  - { name: asked, path: /accounts/1001, methods: [GET], scopes: [accounts], issuers: [asked], \
                     upstream: accounts }\n  - name: accounts\n";
        let folder = Scene::new(&authority, issuer.issuer(), accounts.address())
            .file("key.pem", &key.private_key_pem())
            .replace("address: 127.0.0.1:0\n    origins", &format!("address: 127.0.0.1:{port}\n    origins"))
            .replace("admin: { address: \"127.0.0.1:0\" }", &format!("admin: {{ address: \"127.0.0.1:{admin}\" }}"))
            .replace(
                "limits:\n",
                &format!("{asked}token_cache: {{ max_age: 5s }}\ndpop: {{ proof_max_age: 5s }}\nlimits:\n"),
            )
            .replace("  - name: accounts\n", route)
            .replace(
                "    scopes: [accounts]\n    upstream",
                "    scopes: [accounts]\n    issuers: [bank]\n    upstream",
            )
            .replace("accounts] }\n", "accounts] }\n    issuers: [bank]\n")
            .into_folder();
        let child = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"))
            .arg("run")
            .current_dir(folder.path())
            .env("RUST_LOG", "error")
            .stdout(Stdio::null())
            .spawn()
            .expect("the program runs");
        let gateway = Gateway { child, _folder: folder };
        let client = Client::new(([127, 0, 0, 1], port).into(), &authority).origin(ORIGIN);
        fapi_gateway::connection::tls::install_provider().expect("ours is the first provider in the process");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let ready = async {
            let url = format!("http://127.0.0.1:{admin}/readyz");
            while !http.get(&url).send().await.is_ok_and(|answer| answer.status() == 200) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), ready).await.expect("the gateway becomes ready");
        let proof_keys = (0..16).map(|_| SigningKey::generate(KeyKind::Es256, "proof")).collect();
        Self { authority, issuer, accounts, proof_keys, client, gateway }
    }

    /// Makes six exchanges with known outcomes, each on a new connection, every other one over HTTP/2.
    async fn round(&self, number: u64) {
        let credential = self.authority.client(&format!("client-{}", number % 8));
        let client = self.client.clone().certificate(&credential);
        let client = if number.is_multiple_of(2) { client } else { client.h2() };
        let now = client::now();
        let token = self.issuer.token(now).bound_to_certificate(&credential);
        let jwt = token.sign(self.issuer.key(KeyKind::Es256));
        let opaque = self.issuer.issue(&token);
        let key = &self.proof_keys[usize::try_from(number).expect("a small number") % self.proof_keys.len()];
        let bound = self.issuer.token(now).bound_to_key(key.thumbprint()).sign(self.issuer.key(KeyKind::Es256));
        let proof = Proof::new("GET", &format!("{ORIGIN}/accounts"), now).for_token(&bound);
        let proof = proof.sign(key);
        let health = Request::get(format!("{ORIGIN}/health")).body(Bytes::new()).expect("a request");
        let cases = [
            (request("/accounts", &jwt), &[200][..]),
            (request("/accounts/1001", &opaque), &[200]),
            (request("/accounts/1001", &format!("invented-{number}")), &[401]),
            // For the first seconds after the start a proof is answered with a request for a nonce.
            (dpop_request("/accounts", &bound, &proof), &[200, 401]),
            (request("/accounts/%2e%2e/x", &jwt), &[400]),
            (health, &[200]),
        ];
        for (request, expected) in cases {
            let what = request.uri().clone();
            let status = client.send(request).await.unwrap_or_else(|error| panic!("{what}: {error}")).status().as_u16();
            assert!(expected.contains(&status), "{what}: {status}");
        }
        self.issuer.revoke(&opaque);
        self.issuer.clear();
        self.accounts.clear();
    }

    /// Resident memory in KiB, and open descriptors.
    fn sample(&self) -> (u64, usize) {
        let process = Path::new("/proc").join(self.gateway.child.id().to_string());
        let status = std::fs::read_to_string(process.join("status")).expect("the gateway runs");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        let resident = resident.trim().trim_end_matches(" kB").parse().expect("a number");
        (resident, std::fs::read_dir(process.join("fd")).expect("the gateway runs").count())
    }

    fn signal(&self, name: &str) {
        let pid = self.gateway.child.id().to_string();
        assert!(tool("kill").args([name, &pid]).status().expect("kill runs").success());
    }
}

#[expect(clippy::disallowed_methods, reason = "the test measures how long it has run")]
fn instant() -> Instant {
    Instant::now()
}
