//! The world of a test: a real authorization server, a recording resource server, clients with certificates, and the
//! gateway itself on port 0 inside the test process, with a clock that the test controls.

pub mod backend;
pub mod chromium;
pub mod client;
pub mod collector;
pub mod node;
pub mod panics;
pub mod participant;
pub mod program;
pub mod prometheus;
pub mod python;
pub mod redis;
pub mod relay;
pub mod signature;
pub mod source;
pub mod token;
pub mod tools;
pub mod zone;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::Permissions;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use client::Client;
use fapi_gateway::clock::Clock;
use fapi_gateway::config::Config;
use fapi_gateway::server::{Bound, Control, Options};
use fapi_gateway::upstream::{Lookup, SystemLookup};
use http::{Request, Response};
use rcgen::SanType;
use sandbox::accounts::AccountsApi;
use sandbox::authorization_server::{AuthorizationServer, ResourceServer};
use sandbox::pki::{Authority, Credential};
use sandbox::tokens::{AccessToken, KeyKind, Proof, SigningKey};
use serde_json::Value;
use zone::Zone;

/// How long a test waits for anything that should happen before it fails.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Everything around one gateway.
pub struct World {
    pub authority: Authority,
    pub c1: Credential,
    pub c2: Credential,
    pub issuer: AuthorizationServer,
    pub accounts: AccountsApi,
    pub gateway: Running,
    pub clock: TestClock,
}

/// A client for plain HTTP that uses no proxy.
pub fn http_client() -> reqwest::Client {
    // As a gateway does, which a test that runs alone may not have started yet.
    fapi_gateway::connection::tls::install_provider().expect("ours is the first provider in the process");
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

impl World {
    /// Starts the usual world.
    pub async fn start() -> Self {
        Self::with(|scene| scene).await
    }

    /// Starts a world whose gateway.yaml has been changed by `adjust`.
    pub async fn with(adjust: impl FnOnce(Scene) -> Scene) -> Self {
        let authority = Authority::new("Test CA");
        let issuer = AuthorizationServer::start(&authority).expect("the authorization server starts");
        Self::around(authority, issuer, adjust).await
    }

    /// The same around an authorization server that has been prepared before the gateway asks it anything.
    pub async fn around(
        authority: Authority,
        issuer: AuthorizationServer,
        adjust: impl FnOnce(Scene) -> Scene,
    ) -> Self {
        let accounts = AccountsApi::start(None, None).expect("the accounts API starts");
        let scene = Scene::new(&authority, issuer.issuer(), accounts.address());
        let clock = TestClock::new();
        let time = clock.clone();
        issuer.keep_time(move || time.now());
        issuer.register("gateway", ResourceServer::Key(scene.gateway_key.clone()));
        let scene = adjust(scene);
        let ready = scene.becomes_ready;
        let gateway = Running::start(scene, &clock).await;
        if ready {
            gateway.ready().await;
        }
        // Proofs made before the gateway started are refused; those of the tests may be a minute old.
        clock.advance(120);
        let (c1, c2) = (authority.client("client-1"), authority.client("client-2"));
        Self { authority, c1, c2, issuer, accounts, gateway, clock }
    }

    /// Changes gateway.yaml and reloads it, which succeeds; it is the reload with this number.
    pub async fn reload(&self, number: usize, adjust: impl FnOnce(String) -> String) {
        self.edit(adjust);
        self.attempt_reload(number).await;
        let metrics = self.gateway.admin("/metrics").await.1;
        assert!(metrics.contains("\nfapi_gateway_config_last_reload_success 1\n"), "{metrics}");
    }

    /// Changes gateway.yaml.
    pub fn edit(&self, adjust: impl FnOnce(String) -> String) {
        let folder = self.gateway.folder();
        let text = std::fs::read_to_string(folder.path().join("gateway.yaml")).expect("gateway.yaml");
        folder.write("gateway.yaml", &adjust(text));
    }

    /// Reloads, whether or not that succeeds; it is the reload with this number.
    pub async fn attempt_reload(&self, number: usize) {
        let control = self.gateway.control();
        control.reload();
        tokio::time::timeout(DEADLINE, control.reloads(number)).await.expect("the reload ends");
    }

    /// A client that presents `C1`.
    pub fn client(&self) -> Client {
        self.anonymous().certificate(&self.c1)
    }

    /// A client that presents no certificate.
    pub fn anonymous(&self) -> Client {
        Client::new(self.gateway.address(), &self.authority).origin(ORIGIN)
    }

    /// Whoever connects to an admin listener with TLS, with a certificate or without one.
    pub fn operator(&self, credential: Option<&Credential>) -> reqwest::Client {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.der().clone()).expect("a certificate");
        let builder =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("versions of TLS")
                .with_root_certificates(roots);
        let config = match credential {
            Some(credential) => builder
                .with_client_auth_cert(credential.chain_der.clone(), credential.private_key())
                .expect("a certificate and its key"),
            None => builder.with_no_client_auth(),
        };
        reqwest::Client::builder().no_proxy().use_preconfigured_tls(config).build().expect("a client")
    }

    /// `T(C1)`, not yet signed.
    pub fn token(&self) -> AccessToken {
        self.issuer.token(self.clock.now()).bound_to_certificate(&self.c1)
    }

    /// Signs with the issuer's PS256 key.
    pub fn sign(&self, token: &AccessToken) -> String {
        remember(token.sign(self.issuer.key(KeyKind::Ps256)))
    }

    /// An opaque `T(C1)` that the issuer knows.
    pub fn opaque(&self, token: &AccessToken) -> String {
        remember(self.issuer.issue(token))
    }

    /// The good request: `GET /accounts` with `T(C1)`.
    pub fn request(&self) -> Request<Bytes> {
        request("/accounts", &self.sign(&self.token()))
    }

    /// A client with a new proof key `K1`, and `T(K1)`.
    pub fn holder(&self) -> Holder {
        let key = SigningKey::generate(KeyKind::Es256, "proof");
        let token = self.sign(&self.issuer.token(self.clock.now()).bound_to_key(key.thumbprint()));
        Holder { key, token }
    }

    /// Sends the request from a client that presents `C1`; returns status and code.
    pub async fn judge(&self, request: Request<Bytes>) -> (u16, String) {
        self.judge_from(&self.client(), request).await
    }

    /// Sends a request from this client; returns status and code.
    pub async fn judge_from(&self, client: &Client, request: Request<Bytes>) -> (u16, String) {
        let response = client.send(request).await.expect("the gateway answers");
        let record = self.gateway.record_of(&response);
        (response.status().as_u16(), record["code"].as_str().unwrap_or_default().to_owned())
    }
}

/// The public origin in the usual gateway.yaml; its port differs from the socket's, as it does behind a Service.
pub const ORIGIN: &str = "https://localhost";

/// The day in UTC that has this second, as it is written in gateway.yaml.
pub fn day(seconds: u64) -> String {
    let date = time::OffsetDateTime::from_unix_timestamp(seconds.try_into().expect("a time")).expect("a time").date();
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

/// `GET path` with a bearer token.
pub fn request(path: &str, token: &str) -> Request<Bytes> {
    Request::get(format!("{ORIGIN}{path}"))
        .header("authorization", format!("Bearer {token}"))
        .body(Bytes::new())
        .expect("a request")
}

/// `GET path` with scheme `DPoP` and a proof, valid or not.
pub fn dpop_request(path: &str, token: &str, proof: &str) -> Request<Bytes> {
    Request::get(format!("{ORIGIN}{path}"))
        .header("authorization", format!("DPoP {token}"))
        .header("dpop", proof)
        .body(Bytes::new())
        .expect("a request")
}

/// A certificate of a client that has this DNS name, as a proxy's does.
pub fn certificate_of_proxy(authority: &Authority, name: &str) -> Credential {
    let name = SanType::DnsName(name.try_into().expect("a DNS name"));
    authority.client_with("proxy", |params| params.subject_alt_names = vec![name])
}

/// A proof key, and a token that is bound to it.
pub struct Holder {
    pub key: SigningKey,
    pub token: String,
}

impl Holder {
    /// A valid proof for `GET path`, not yet signed.
    pub fn proof(&self, path: &str, now: u64) -> Proof {
        Proof::new("GET", &format!("{ORIGIN}{path}"), now).for_token(&self.token)
    }

    /// `GET path` with the token and this proof.
    pub fn request(&self, path: &str, proof: &Proof) -> Request<Bytes> {
        dpop_request(path, &self.token, &proof.sign(&self.key))
    }
}

/// A gateway.yaml and the files that it names.
pub struct Scene {
    folder: Folder,
    yaml: String,
    issuer: String,
    gateway_key: SigningKey,
    becomes_ready: bool,
    lookup: Arc<dyn Lookup>,
    threads: Option<u16>,
}

impl Scene {
    /// The usual gateway.yaml for these servers.
    pub fn new(authority: &Authority, issuer: &str, accounts: SocketAddr) -> Self {
        let folder = Folder::new();
        let server = authority.server(&["localhost", "127.0.0.1"]);
        folder.write("ca.pem", &authority.pem());
        folder.write("server.pem", &server.certificate_pem());
        folder.write("server-key.pem", &server.key_pem());
        let audience = AuthorizationServer::AUDIENCE;
        let yaml = format!(
            r#"profile: fapi2-security
listeners:
  - address: 127.0.0.1:0
    origins: ["{ORIGIN}"]
    tls:
      certificate: server.pem
      private_key: server-key.pem
      client_certificates: {{ mode: optional, trust: chain, trust_anchors: [ca.pem] }}
admin: {{ address: "127.0.0.1:0" }}
reload: {{ watch: 0s }}
drain: {{ delay: 0s, timeout: 2s }}
issuers:
  - name: bank
    issuer: {issuer}
    audiences: ["{audience}"]
    tokens: jwt
    trust_anchors: [ca.pem]
limits:
  header_bytes: 32KiB
upstreams:
  accounts: {{ servers: ["http://{accounts}"], response_timeout: 5s }}
routes:
  - name: accounts
    path: /accounts/**
    methods: [GET, HEAD, POST]
    scopes: [accounts]
    upstream: accounts
    forward:
      client_certificate: true
      claims: {{ client_id: X-Token-Client-Id, sub: X-Token-Subject, scope: X-Token-Scope, iss: X-Token-Issuer }}
  - name: payments
    path: /payments
    methods: [POST]
    scopes: {{ any: [payments, accounts] }}
    upstream: accounts
  - name: health
    path: /health
    methods: [GET, POST]
    public: true
    upstream: accounts
"#
        );
        let gateway_key = SigningKey::generate(KeyKind::Es256, "gateway");
        folder.write("gateway.pem", &gateway_key.private_key_pem());
        Self {
            folder,
            yaml,
            issuer: issuer.to_owned(),
            gateway_key,
            becomes_ready: true,
            lookup: Arc::new(SystemLookup),
            threads: None,
        }
    }

    /// The issuer that the usual gateway.yaml names.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Replaces text that must be present.
    pub fn replace(mut self, from: &str, to: &str) -> Self {
        assert!(self.yaml.contains(from), "gateway.yaml of the tests has no {from:?}");
        self.yaml = self.yaml.replace(from, to);
        self
    }

    /// Makes the gateway introspect the issuer's tokens; `more` is added to the section, in flow style.
    pub fn introspected(self, more: &str) -> Self {
        let section = format!(
            "tokens: introspection\n    introspection: {{ client_id: gateway, authentication: {{ method: \
             private_key_jwt, private_key: gateway.pem }}{more} }}"
        );
        self.replace("tokens: jwt", &section)
    }

    /// Takes another gateway.yaml in place of the usual one.
    pub fn rewrite(mut self, yaml: &str) -> Self {
        yaml.clone_into(&mut self.yaml);
        self
    }

    /// Appends routes, or anything else that may come last.
    pub fn append(mut self, text: &str) -> Self {
        let _ = write!(self.yaml, "{text}");
        self
    }

    /// Writes gateway.yaml and returns the folder, to run the program itself in.
    pub fn into_folder(self) -> Folder {
        self.folder.write("gateway.yaml", &self.yaml);
        self.folder
    }

    /// Prepares the folder in any other way.
    pub fn folder(self, prepare: impl FnOnce(&Path)) -> Self {
        prepare(self.folder.path());
        self
    }

    /// Resolves the names of upstream servers with `zone`.
    pub fn zone(mut self, zone: &Arc<Zone>) -> Self {
        self.lookup = zone.clone();
        self
    }

    /// Serves all connections with one thread, so that they share the connections to upstreams.
    pub fn one_thread(mut self) -> Self {
        self.threads = Some(1);
        self
    }

    /// Gives the admin listener TLS, of which only those know more who have a certificate of these.
    pub fn admin_over_tls(self, operators: &Authority) -> Self {
        let tls = "tls: { certificate: server.pem, private_key: server-key.pem, trust_anchors: [operators.pem] }";
        self.file("operators.pem", &operators.pem())
            .replace("admin: { address: \"127.0.0.1:0\"", &format!("admin: {{ address: \"127.0.0.1:0\", {tls}"))
            .never_ready()
    }

    /// Takes the certificates that a proxy with this name forwards in such fields.
    pub fn behind(self, dialect: &str, name: &str) -> Self {
        let hop = format!("{{ dialect: {dialect}, from: {{ names: [{name}] }}, trust_anchors: [ca.pem] }}");
        self.replace(
            "trust_anchors: [ca.pem] }\nadmin",
            &format!("trust_anchors: [ca.pem] }}\n    forwarded_client_certificate: {hop}\nadmin"),
        )
    }

    /// Skips waiting for readiness, which will not be reached.
    pub fn never_ready(mut self) -> Self {
        self.becomes_ready = false;
        self
    }

    /// Writes a file beside gateway.yaml.
    pub fn file(self, name: &str, text: &str) -> Self {
        self.folder.write(name, text);
        self
    }
}

/// A gateway that serves on its own threads.
pub struct Running {
    address: SocketAddr,
    admin: SocketAddr,
    control: Control,
    audit: Lines,
    folder: Folder,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Loads the scene as `run` does, binds the listeners and serves.
    pub async fn start(scene: Scene, clock: &TestClock) -> Self {
        let time = clock.clone();
        Self::start_by(scene, Clock::from_fn(move || Duration::from_secs(time.now())))
    }

    /// The same with any clock.
    pub fn start_by(scene: Scene, clock: Clock) -> Self {
        panics::watch();
        fapi_gateway::connection::tls::install_provider().expect("ours is the first provider in the process");
        let file = scene.folder.write("gateway.yaml", &scene.yaml);
        let config = Config::load(&file).unwrap_or_else(|errors| panic!("{errors}"));
        let audit = Lines::default();
        let audit_to = Some(Box::new(audit.clone()) as Box<dyn Write + Send>);
        let Scene { lookup, threads, .. } = scene;
        let options = Options { clock, audit: audit_to, lookup, replay_began: None, threads };
        let bound = Bound::new(config, options).expect("the gateway binds");
        let address = bound.addresses()[0];
        let admin = bound.admin_address().expect("an admin listener");
        let control = bound.control();
        let run = move || match bound.run() {
            Ok(()) => {}
            Err(error) => panic!("the gateway does not shut down cleanly: {error}"),
        };
        let thread = std::thread::Builder::new().name("gateway".into()).spawn(run).expect("a thread");
        Self { address, admin, control, audit, folder: scene.folder, thread: Some(thread) }
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub const fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    pub const fn control(&self) -> &Control {
        &self.control
    }

    pub const fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Waits until `/readyz` answers 200, or waits only for the test's clock to advance.
    pub async fn ready(&self) {
        let ready = async {
            loop {
                match self.admin("/readyz").await {
                    (200, _) => return,
                    (503, body) if body.trim_end() == "waiting until the replay log knows every use of a proof" => {
                        return;
                    }
                    _ => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(DEADLINE, ready).await.expect("the gateway becomes ready");
    }

    /// Sends `GET` to the admin listener; returns status and body.
    pub async fn admin(&self, path: &str) -> (u16, String) {
        let client = http_client();
        let response =
            client.get(format!("http://{}{path}", self.admin)).send().await.expect("the admin listener answers");
        (response.status().as_u16(), response.text().await.expect("a body"))
    }

    /// Sends `GET /readyz` with `Accept: application/json`; returns status and body.
    pub async fn readiness(&self) -> (u16, Value) {
        let client = http_client();
        let request = client.get(format!("http://{}/readyz", self.admin)).header("accept", "application/json");
        let response = request.send().await.expect("the admin listener answers");
        assert_eq!(response.headers()["content-type"], "application/json");
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.expect("a body")).expect("JSON"))
    }

    /// Sends `POST /revocations` to the admin listener; returns status and body.
    pub async fn post_revocation(&self, content_type: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
        let client = http_client();
        let request = client.post(format!("http://{}/revocations", self.admin)).header("content-type", content_type);
        let response = request.body(body).send().await.expect("the admin listener answers");
        (response.status().as_u16(), response.text().await.expect("a body"))
    }

    /// Revokes tokens.
    pub async fn revoke(&self, revocation: &Value) {
        let answer = self.post_revocation("application/json", revocation.to_string()).await;
        assert_eq!(answer, (204, String::new()), "{revocation}");
    }

    /// The audit line of the exchange that a response belongs to.
    pub fn record_of<B>(&self, response: &Response<B>) -> Value {
        let id = response.headers().get("x-fapi-interaction-id").expect("every response has an interaction id");
        self.audit.wait_for(id.to_str().expect("a UUID"))
    }

    /// The audit line of an exchange.
    pub fn record(&self, interaction: &str) -> Value {
        self.audit.wait_for(interaction)
    }

    /// Whether an exchange is recorded within a time, for exchanges that may never have begun.
    pub fn knows_within(&self, interaction: &str, time: Duration) -> bool {
        self.audit.knows_within(interaction, time)
    }

    /// All audit lines so far, as text.
    pub fn audit_text(&self) -> String {
        self.audit.text()
    }

    /// Waits for the first audit line that matches `predicate`.
    pub fn record_where(&self, predicate: impl Fn(&Value) -> bool) -> Value {
        self.audit.wait_where(predicate)
    }

    fn end(&mut self) {
        // The second call closes connections that a test left open.
        self.control.stop();
        self.control.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
        if !std::thread::panicking() {
            assert_eq!(
                panics::noted(),
                Vec::<String>::new(),
                "nothing that a peer sends may make a task of the gateway panic"
            );
        }
    }
}

/// The time that a gateway sees; it stands still until the test moves it.
#[derive(Clone)]
pub struct TestClock(Arc<AtomicU64>);

impl TestClock {
    /// Starts at the wall clock's current time, since certificates are made for it.
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(client::now())))
    }

    pub fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Advances to the wall clock's current time.
    pub fn catch_up(&self) {
        self.0.fetch_max(client::now(), Ordering::SeqCst);
    }

    pub fn set_back(&self, seconds: u64) {
        self.0.fetch_sub(seconds, Ordering::SeqCst);
    }
}

/// The audit stream of one gateway.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<Kept>, Condvar)>);

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    read: usize,
    lines: Vec<Value>,
    by_id: HashMap<String, usize>,
}

impl Lines {
    fn wait_for(&self, interaction: &str) -> Value {
        let (kept, came) = &*self.0;
        let kept = kept.lock().expect("no panic while writing");
        let (kept, late) =
            came.wait_timeout_while(kept, DEADLINE, |kept| !kept.by_id.contains_key(interaction)).expect("no panic");
        assert!(!late.timed_out(), "no audit line with interaction id {interaction}");
        kept.lines[kept.by_id[interaction]].clone()
    }

    fn knows_within(&self, interaction: &str, time: Duration) -> bool {
        let (kept, came) = &*self.0;
        let kept = kept.lock().expect("no panic while writing");
        let (_kept, late) =
            came.wait_timeout_while(kept, time, |kept| !kept.by_id.contains_key(interaction)).expect("no panic");
        !late.timed_out()
    }

    fn wait_where(&self, predicate: impl Fn(&Value) -> bool) -> Value {
        let (kept, came) = &*self.0;
        let kept = kept.lock().expect("no panic while writing");
        let (kept, late) =
            came.wait_timeout_while(kept, DEADLINE, |kept| !kept.lines.iter().any(&predicate)).expect("no panic");
        assert!(!late.timed_out(), "no such audit line");
        kept.lines.iter().find(|line| predicate(line)).expect("it was just there").clone()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.0.lock().expect("no panic").bytes.clone()).expect("audit is UTF-8")
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let (kept, came) = &*self.0;
        let mut kept = kept.lock().expect("no panic while waiting");
        kept.bytes.extend_from_slice(bytes);
        while let Some(length) = kept.bytes[kept.read..].iter().position(|byte| *byte == b'\n') {
            let (start, end) = (kept.read, kept.read + length);
            let line: Value = serde_json::from_slice(&kept.bytes[start..end]).expect("an audit line is JSON");
            let index = kept.lines.len();
            if line["event"] != "handshake" {
                let id = line["interaction_id"].as_str().expect("an interaction id").to_owned();
                kept.by_id.insert(id, index);
            }
            kept.lines.push(line);
            kept.read = end + 1;
        }
        came.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A temporary folder, removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("fapi-gateway-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, text).expect("a temporary file");
        if name.contains("key") {
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
        }
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A port that no other call returns, like each of [`free_ports`].
pub fn free_port() -> u16 {
    free_ports(1)[0]
}

/// Different ports that no other call returns. They are below those that the system assigns, so that no other test receives
/// one before it is used.
pub fn free_ports(count: usize) -> Vec<u16> {
    static NEXT: Mutex<u16> = Mutex::new(0);
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    let first = 12_000 + u16::try_from(std::process::id() % 15_000).unwrap();
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let found: Vec<u16> = ((*next).max(first)..32_000).filter(is_free).take(count).collect();
    *next = found.last().expect("free ports") + 1;
    assert_eq!(found.len(), count);
    found
}

/// The text with other ports. Each is replaced once, even by one that looks like the next.
pub fn with_ports(text: &str, ports: &[(&str, String)]) -> String {
    let marked = ports
        .iter()
        .enumerate()
        .fold(text.to_owned(), |text, (index, (port, _))| text.replace(port, &format!("<port {index}>")));
    ports.iter().enumerate().fold(marked, |text, (index, (_, free))| text.replace(&format!("<port {index}>"), free))
}

/// Records every token that a test makes, so that the output of a whole run can be searched for them. A short text is
/// not recorded, since it may be a word that appears anywhere.
pub fn remember(token: String) -> String {
    if let Ok(path) = std::env::var("FAPI_GATEWAY_TEST_TOKENS")
        && token.len() >= 32
    {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("the list of tokens");
        // A single write for each line: many tests do this at the same time.
        file.write_all(format!("{token}\n").as_bytes()).expect("the list of tokens");
    }
    token
}
