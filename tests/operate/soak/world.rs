//! The servers and the program, and what changes among them.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use sandbox::accounts::AccountsApi;
use sandbox::authorization_server::{AuthorizationServer, ResourceServer};
use sandbox::https::Answer;
use sandbox::pki::Authority;
use sandbox::tokens::{KeyKind, SigningKey, jwks};
use tokio::sync::RwLock;

use crate::support::backend::Backend;
use crate::support::client::{Client, Connection};
use crate::support::tools::tool;
use crate::support::{Folder, ORIGIN, Scene, free_ports, http_client};

/// The servers and tokens around a gateway that runs in its own process.
pub(super) struct World {
    pub(super) authority: Authority,
    /// Signs JWTs, and introspects opaque tokens under the name of a second issuer.
    pub(super) bank: AuthorizationServer,
    /// Signs JWTs with keys that change.
    pub(super) changing: AuthorizationServer,
    /// The key that signs now, of those in the key set.
    pub(super) key: RwLock<SigningKey>,
    /// Comes and goes.
    pub(super) flaky: RwLock<AuthorizationServer>,
    pub(super) client: Client,
    pub(super) admin: SocketAddr,
    accounts: AccountsApi,
    flaky_accounts: RwLock<AccountsApi>,
    large: Backend,
    gateway: Mutex<Child>,
    folder: Folder,
    over: AtomicBool,
    pub(super) counts: Counts,
    /// The interaction IDs of the responses.
    answered: Mutex<HashSet<String>>,
}

/// Where the gateway writes its audit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AuditTo {
    /// A file that is rotated.
    File,
    /// A pipe that nobody reads, and so is its log.
    FullPipe,
}

/// What happened so far.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) honest: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) replayed: AtomicU64,
    pub(super) revoked: AtomicU64,
    pub(super) flaky: [AtomicU64; 2],
    pub(super) stalled: AtomicU64,
    pub(super) key_changes: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let [good, bad] = &self.flaky;
        write!(
            f,
            "{} honest, {} refused, {} replayed, {} revoked, {}+{} at flaky servers, {} stalls, {} keys",
            of(&self.honest),
            of(&self.refused),
            of(&self.replayed),
            of(&self.revoked),
            of(good),
            of(bad),
            of(&self.stalled),
            of(&self.key_changes),
        )
    }
}

impl World {
    pub(super) async fn start(audit: AuditTo) -> Self {
        let authority = Authority::new("Test CA");
        let server = || AuthorizationServer::start(&authority).expect("the authorization server starts");
        let (bank, changing, flaky) = (server(), server(), server());
        let accounts = AccountsApi::start(None, None).expect("the accounts API starts");
        let flaky_accounts = AccountsApi::start(None, None).expect("another one starts");
        let large = Backend::http1().await;
        let secret = SigningKey::generate(KeyKind::Es256, "gateway");
        for issuer in [&bank, &flaky] {
            issuer.register("asked", ResourceServer::Key(secret.clone()));
        }
        let [port, admin] = free_ports(2)[..] else { panic!("two ports") };
        let audience = AuthorizationServer::AUDIENCE;
        let asked = |name: &str, issuer: &AuthorizationServer, more: &str| {
            format!(
                "  - {{ name: {name}, issuer: \"{}\", audiences: [\"{audience}\"], tokens: introspection, \
                 trust_anchors: [ca.pem]{more}, introspection: {{ client_id: asked, authentication: {{ method: \
                 private_key_jwt, private_key: key.pem }}, cache: {{ max_age: 5s }} }} }}\n",
                issuer.issuer()
            )
        };
        let issuers = asked("asked", &bank, "")
            + &asked("flaky", &flaky, ", required: false")
            + &format!(
                "  - {{ name: changing, issuer: \"{}\", audiences: [\"{audience}\"], tokens: jwt, trust_anchors: [ca.pem] }}\n",
                changing.issuer()
            );
        let upstreams = format!(
            "  flaky: {{ servers: [\"http://{}\"], response_timeout: 5s }}\n  large: {{ servers: [\"http://{}\"] }}\nroutes:\n",
            flaky_accounts.address(),
            large.address()
        );
        let route = |name: &str, path: &str, issuer: &str, upstream: &str| {
            format!(
                "  - {{ name: {name}, path: {path}, methods: [GET, POST], scopes: [accounts], issuers: [{issuer}], upstream: {upstream} }}\n"
            )
        };
        let routes = route("opaque", "/accounts/1001", "asked", "accounts")
            + &route("flaky-issuer", "/flaky", "flaky", "accounts")
            + &route("flaky-upstream", "/accounts/1002", "bank", "flaky")
            + &route("large", "/large", "bank", "large");
        let first = "  - name: accounts\n";
        let destination = match audit {
            AuditTo::File => "audit.jsonl",
            AuditTo::FullPipe => "stdout",
        };
        let by_address = accounts.address().to_string();
        let folder = Scene::new(&authority, bank.issuer(), accounts.address())
            .file("key.pem", &secret.private_key_pem())
            .replace("address: 127.0.0.1:0\n    origins", &format!("address: 127.0.0.1:{port}\n    origins"))
            .replace(
                "admin: { address: \"127.0.0.1:0\" }",
                &format!(
                    "admin: {{ address: \"127.0.0.1:{admin}\", revocations: {{}} }}\naudit: {{ destination: {destination} }}"
                ),
            )
            .replace(&by_address, &format!("{NAME}:{}", accounts.address().port()))
            .replace("limits:\n", &format!("{issuers}token_cache: {{ max_age: 5s }}\ndpop: {{ proof_max_age: 10s }}\nlimits:\n"))
            .replace("  header_bytes: 32KiB\n", "  header_bytes: 32KiB\n  idle_timeout: 20s\n  header_timeout: 10s\n")
            .replace("routes:\n", &upstreams)
            .replace(first, &(routes + first))
            .replace("    scopes: [accounts]\n    upstream", "    scopes: [accounts]\n    issuers: [bank, changing]\n    upstream")
            .replace("accounts] }\n    upstream", "accounts] }\n    issuers: [bank]\n    upstream")
            .into_folder();
        resolves(&folder, true);
        let program = std::env::var_os("FAPI_GATEWAY_SOAK_PROGRAM")
            .map_or(env!("CARGO_BIN_EXE_fapi-gateway").into(), PathBuf::from);
        let mut command = Command::new(program);
        command.arg("run").current_dir(folder.path());
        command.env("LD_PRELOAD", "libnss_wrapper.so").env("NSS_WRAPPER_HOSTS", folder.path().join(HOSTS));
        match audit {
            AuditTo::File => command.env("RUST_LOG", "error").stdout(Stdio::null()),
            AuditTo::FullPipe => command.env("RUST_LOG", "info").stdout(Stdio::piped()).stderr(Stdio::piped()),
        };
        let gateway = command.spawn().expect("the program runs");
        let client = Client::new(([127, 0, 0, 1], port).into(), &authority).origin(ORIGIN);
        let key = RwLock::new(changing.key(KeyKind::Es256).clone());
        fapi_gateway::connection::tls::install_provider().expect("ours is the first provider in the process");
        let world = Self {
            authority,
            bank,
            changing,
            key,
            flaky: RwLock::new(flaky),
            client,
            admin: ([127, 0, 0, 1], admin).into(),
            accounts,
            flaky_accounts: RwLock::new(flaky_accounts),
            large,
            gateway: Mutex::new(gateway),
            folder,
            over: AtomicBool::new(false),
            counts: Counts::default(),
            answered: Mutex::default(),
        };
        world.until_ready().await;
        world
    }

    async fn until_ready(&self) {
        let http = http_client();
        let url = format!("http://{}/readyz", self.admin);
        let ready = async {
            while !http.get(&url).send().await.is_ok_and(|answer| answer.status() == 200) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), ready).await.expect("the gateway becomes ready");
    }

    /// A metric without labels.
    pub(super) async fn metric(&self, name: &str) -> f64 {
        let http = http_client();
        let answer = http.get(format!("http://{}/metrics", self.admin)).send().await.expect("an answer");
        let text = answer.text().await.expect("text");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).expect("the metric");
        value.parse().expect("a number")
    }

    pub(super) const fn folder(&self) -> &Folder {
        &self.folder
    }

    pub(super) const fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Sends a request, and remembers that it was answered; the response has the status and what follows it in clear.
    pub(super) async fn send(&self, connection: &mut Connection, request: Request<Bytes>) -> Option<Response<Bytes>> {
        let response = connection.send(request).await.ok()?;
        let interaction =
            response.headers().get("x-fapi-interaction-id").expect("every response has an interaction id");
        let new = self.answered.lock().unwrap().insert(interaction.to_str().expect("a UUID").to_owned());
        assert!(new, "no interaction ID comes twice");
        Some(response)
    }

    pub(super) fn answered(&self) -> HashSet<String> {
        std::mem::take(&mut *self.answered.lock().unwrap())
    }

    /// Resident memory in KiB, and open descriptors. The servers forget what they were asked.
    pub(super) fn sample(&self) -> (u64, u64) {
        for server in [&self.bank, &self.changing] {
            server.clear();
        }
        self.accounts.clear();
        self.large.take();
        let process = Path::new("/proc").join(self.gateway.lock().unwrap().id().to_string());
        let status = std::fs::read_to_string(process.join("status")).expect("the gateway runs");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        let resident = resident.trim().trim_end_matches(" kB").parse().expect("a number");
        (resident, std::fs::read_dir(process.join("fd")).expect("the gateway runs").count() as u64)
    }

    pub(super) fn signal(&self, name: &str) {
        let pid = self.gateway.lock().unwrap().id().to_string();
        assert!(tool("kill").args([name, &pid]).status().expect("kill runs").success());
    }

    /// Lets the gateway end in time; returns its exit status.
    pub(super) async fn stop(&self) -> Option<i32> {
        self.signal("-TERM");
        let ended = async {
            loop {
                if let Some(status) = self.gateway.lock().unwrap().try_wait().expect("it is ours") {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ended).await.expect("it ends").code()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Ok(gateway) = self.gateway.get_mut() {
            let _ = gateway.kill();
            let _ = gateway.wait();
        }
    }
}

/// As a careful issuer does it: a new key is in the key set for a while before it signs, and the former one after.
pub(super) async fn keys_change(world: Arc<World>) {
    const NOTICE: Duration = Duration::from_secs(70);
    let serve = |keys: &[&SigningKey]| {
        world.changing.script(AuthorizationServer::JWKS, Answer::json(StatusCode::OK, jwks(keys)));
    };
    while !world.is_over() {
        let old = world.key.read().await.clone();
        let new =
            SigningKey::generate(KeyKind::Es256, &format!("key-{}", world.counts.key_changes.load(Ordering::Relaxed)));
        serve(&[&old, &new]);
        world.pause(NOTICE).await;
        *world.key.write().await = new.clone();
        count(&world.counts.key_changes);
        // Requests with the former one may be on their way.
        world.pause(Duration::from_secs(5)).await;
        serve(&[&new]);
        world.pause(Duration::from_secs(5)).await;
    }
}

/// The name of the upstream that all honest requests go to can be resolved for seven seconds, and then not for five.
pub(super) async fn name_comes_and_goes(world: Arc<World>) {
    while !world.is_over() {
        world.pause(Duration::from_secs(7)).await;
        resolves(&world.folder, false);
        world.pause(Duration::from_secs(5)).await;
        resolves(&world.folder, true);
    }
}

/// Writes the file of names that the gateway's resolver reads.
fn resolves(folder: &Folder, known: bool) {
    let name = if known { NAME } else { "another.test" };
    folder.write(HOSTS, &format!("127.0.0.1 {name}\n"));
}

const NAME: &str = "accounts.test";
const HOSTS: &str = "hosts";

/// An issuer and an upstream are there for seven seconds, and then away for five.
pub(super) async fn servers_come_and_go(world: Arc<World>) {
    while !world.is_over() {
        world.pause(Duration::from_secs(7)).await;
        world.flaky.write().await.stop().await.expect("it stops");
        world.flaky_accounts.write().await.server_mut().stop().await.expect("it stops");
        world.pause(Duration::from_secs(5)).await;
        world.flaky.write().await.restart().await.expect("it starts again");
        world.flaky_accounts.write().await.server_mut().restart().await.expect("it starts again");
        world.flaky.read().await.clear();
        world.flaky_accounts.read().await.clear();
    }
}

impl World {
    /// Waits, but not beyond the end.
    pub(super) async fn pause(&self, time: Duration) {
        let until = instant() + time;
        while instant() < until && !self.is_over() {
            tokio::time::sleep(Duration::from_millis(100).min(time)).await;
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the clock measures how long the soak takes, no token is checked against it"
)]
pub(super) fn instant() -> Instant {
    Instant::now()
}
