//! The setup of the demo: new certificates, two servers, a gateway.yaml on disk, and the gateway itself, started from
//! that file as `run` would.

use std::collections::HashMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use sandbox::accounts::AccountsApi;
use sandbox::authorization_server::{AuthorizationServer, ResourceServer};
use sandbox::now;
use sandbox::pki::{Authority, Credential};
use sandbox::tokens::{KeyKind, SigningKey};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::config::Config;
use crate::server::{Bound, Control, Options, StartError};
use crate::upstream::SystemLookup;

/// Everything that the calls of the demo need.
pub(super) struct Stage {
    /// The authority of every certificate here.
    pub(super) authority: Authority,
    /// The honest client's certificate.
    pub(super) client: Credential,
    /// Another client's certificate, from the same authority.
    pub(super) thief: Credential,
    /// The honest client's key for proofs.
    pub(super) dpop_key: SigningKey,
    /// The authorization server.
    pub(super) issuer: AuthorizationServer,
    /// The gateway's public origin.
    pub(super) origin: String,
    audit: AuditLines,
    admin: SocketAddr,
    _accounts: AccountsApi,
    // Dropped in this order: the gateway ends before its files go.
    _gateway: Running,
    folder: Folder,
}

/// The gateway in its thread; dropping it stops it.
struct Running {
    control: Control,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The folder of the demo's files; dropping it removes them, unless they are to be kept.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    /// Makes the folder, which must not be there yet.
    fn make(keep: Option<&Path>) -> Result<Self, String> {
        let path = match keep {
            Some(path) => path.to_owned(),
            None => std::env::temp_dir().join(format!("fapi-gateway-demo-{}", std::process::id())),
        };
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| {
            if error.kind() == std::io::ErrorKind::AlreadyExists {
                return format!("{} is there already; name another folder", path.display());
            }
            format!("{}: {error}", path.display())
        })?;
        // The `curl` lines begin with `cd`, from wherever they are pasted.
        let path = std::path::absolute(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path, keep: keep.is_some() })
    }

    fn write(&self, name: &str, text: &str) -> std::io::Result<PathBuf> {
        let path = self.path.join(name);
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(text.as_bytes())?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

impl Stage {
    /// Starts everything and waits until the gateway is ready.
    pub(super) async fn set(keep: Option<&Path>) -> Result<Self, String> {
        let authority = Authority::new("Demo CA");
        let client = authority.client("demo-client");
        let thief = authority.client("another-client");
        let dpop_key = SigningKey::generate(KeyKind::Es256, "dpop");
        let gateway_key = SigningKey::generate(KeyKind::Es256, "gateway");
        let issuer = AuthorizationServer::start(&authority).map_err(|error| error.to_string())?;
        issuer.register("gateway", ResourceServer::Key(gateway_key.clone()));
        let accounts = AccountsApi::start(None, None).map_err(|error| error.to_string())?;
        let folder = Folder::make(keep)?;
        write_credentials(&folder, &authority, &authority.server(&["localhost", "127.0.0.1"]), &client)
            .and_then(|()| folder.write("dpop-key.pem", &dpop_key.private_key_pem()))
            .and_then(|_| folder.write("gateway-key.pem", &gateway_key.private_key_pem()))
            .map_err(|error| format!("{}: {error}", folder.path.display()))?;
        let audit = AuditLines::default();
        let mut attempts = 0;
        let (bound, port) = loop {
            let (bound, port) = bind(&folder, issuer.issuer(), &accounts, &audit)?;
            attempts += 1;
            match bound {
                Ok(bound) => break (bound, port),
                // Another process has taken the port since it was found free.
                Err(StartError::Bind { .. }) if attempts < 5 => {}
                Err(error) => return Err(error.to_string()),
            }
        };
        let origin = format!("https://localhost:{port}");
        let control = bound.control();
        let admin = bound.admin_address().ok_or("the demo's gateway has no admin listener")?;
        let thread = std::thread::spawn(move || {
            if let Err(error) = bound.run() {
                eprintln!("fapi-gateway demo: {error}");
            }
        });
        let gateway = Running { control, thread: Some(thread) };
        let stage = Self {
            authority,
            client,
            thief,
            dpop_key,
            issuer,
            origin,
            audit,
            admin,
            _accounts: accounts,
            _gateway: gateway,
            folder,
        };
        wait_until_ready(&format!("http://{admin}/readyz")).await?;
        Ok(stage)
    }

    /// The audit record of one exchange, by its interaction id.
    pub(super) async fn record(&self, interaction: &str) -> Option<Value> {
        for _ in 0..200 {
            if let Some(line) = self.audit.find(interaction) {
                return Some(line);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    }

    /// The lines of the audit from now on; those that are not read in time are left out.
    pub(super) fn follow(&self) -> mpsc::Receiver<Value> {
        self.audit.follow()
    }

    /// Lines to paste into another terminal while the demo runs.
    pub(super) fn invitation(&self) -> Result<String, String> {
        let exe = self.write_tokens().map_err(|error| format!("{}: {error}", self.folder.path.display()))?;
        let exe = quoted(&exe.display().to_string());
        let (folder, origin, admin) = (quoted(&self.folder.path.display().to_string()), &self.origin, self.admin);
        let certificate = "--cacert ca.pem --cert client.pem --key client-key.pem";
        let token = "-H \"Authorization: Bearer $(cat token)\"";
        let dpop_token = "-H \"Authorization: DPoP $(cat dpop-token)\"";
        let call = |path: &str, more: &str, nonce: &str| {
            let proof = format!("{exe} proof --key dpop-key.pem --method GET --url {origin}{path} --token @dpop-token");
            format!("curl -i{more} --cacert ca.pem {dpop_token} -H \"DPoP: $({proof}{nonce})\" {origin}{path}")
        };
        let nonce = r" --nonce $(sed -n 's/^[Dd][Pp]o[Pp]-[Nn]once: *\([A-Za-z0-9_-]*\).*/\1/p' answer)";
        let (proven, first, second) =
            (call("/accounts", "", ""), call("/accounts/1002", " -D answer", ""), call("/accounts/1002", "", nonce));
        let opaque = "-H \"Authorization: Bearer $(cat opaque-token)\"";
        let opaque = format!("curl -i {certificate} {opaque} {origin}/accounts/1001");
        let revocation = self.issuer.url(AuthorizationServer::REVOCATION);
        Ok(format!(
            "\nThe gateway keeps serving {origin} with {folder}/gateway.yaml. In another terminal:\n
cd {folder}
curl -i {certificate} {token} {origin}/accounts
curl -i --cacert ca.pem {token} {origin}/accounts
curl -i {certificate} {origin}/accounts
curl -i --cacert ca.pem {origin}/health

With a token that is bound to the key in dpop-key.pem, and a proof for each call:

{proven}
curl -i --cacert ca.pem {dpop_token} {origin}/accounts
{first}
{second}

With an opaque token, before and after it is revoked at its issuer:

{opaque}
curl -i {certificate} --data-urlencode token@opaque-token {revocation}
{opaque}

What the gateway counts:

curl -i http://{admin}/metrics

Ctrl-C stops the demo. Until then, every call that comes has a row here:
"
        ))
    }

    /// Writes one token of each kind for the `curl` lines, and returns the path of the program that makes their proofs.
    fn write_tokens(&self) -> std::io::Result<PathBuf> {
        let token = || self.issuer.token(now()).expires_at(now() + 8 * 3600);
        let key = self.issuer.key(KeyKind::Ps256);
        self.folder.write("token", &token().bound_to_certificate(&self.client).sign(key))?;
        self.folder.write("dpop-token", &token().bound_to_key(self.dpop_key.thumbprint()).sign(key))?;
        self.folder.write("opaque-token", &self.issuer.issue(&token().bound_to_certificate(&self.client)))?;
        std::env::current_exe()
    }
}

fn write_credentials(
    folder: &Folder,
    authority: &Authority,
    server: &Credential,
    client: &Credential,
) -> std::io::Result<()> {
    folder.write("ca.pem", &authority.pem())?;
    folder.write("server.pem", &server.certificate_pem())?;
    folder.write("server-key.pem", &server.key_pem())?;
    folder.write("client.pem", &client.certificate_pem())?;
    folder.write("client-key.pem", &client.key_pem())?;
    Ok(())
}

/// Writes a gateway.yaml for ports that are free now, and binds the gateway to them; also returns its port.
fn bind(
    folder: &Folder,
    issuer: &str,
    accounts: &AccountsApi,
    audit: &AuditLines,
) -> Result<(Result<Bound, StartError>, u16), String> {
    let no_port = |error| format!("no free port on 127.0.0.1: {error}");
    let (port, admin_port) = (free_port(8443).map_err(no_port)?, free_port(9464).map_err(no_port)?);
    let file = folder.path.join("gateway.yaml");
    let _ = std::fs::remove_file(&file);
    folder
        .write("gateway.yaml", &configuration(port, admin_port, issuer, accounts))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    let config = Config::load(&file).map_err(|errors| errors.to_string())?;
    let options = Options {
        clock: Clock::system(),
        audit: Some(Box::new(audit.clone())),
        lookup: Arc::new(SystemLookup),
        // Every key here is new, so no proof has been used before.
        replay_began: Some(fapi::UnixTime(0)),
        threads: None,
    };
    Ok((Bound::new(config, options), port))
}

fn configuration(port: u16, admin_port: u16, issuer: &str, accounts: &AccountsApi) -> String {
    let accounts = accounts.address();
    format!(
        r#"profile: fapi2-security
listeners:
  - address: 127.0.0.1:{port}
    origins: ["https://localhost:{port}"]
    tls:
      certificate: server.pem
      private_key: server-key.pem
      client_certificates: {{ mode: optional, trust: chain, trust_anchors: [ca.pem] }}
admin: {{ address: "127.0.0.1:{admin_port}" }}
drain: {{ delay: 0s, timeout: 2s }}
issuers:
  - name: demo
    issuer: {issuer}
    audiences: ["https://api.bank.example"]
    tokens: jwt
    trust_anchors: [ca.pem]
  - name: demo-opaque
    issuer: {issuer}
    audiences: ["https://api.bank.example"]
    tokens: introspection
    trust_anchors: [ca.pem]
    introspection:
      client_id: gateway
      authentication: {{ method: private_key_jwt, private_key: gateway-key.pem }}
      response: jwt
dpop: {{ proof_max_age: 60s, clock_skew: 10s, nonce: never, nonce_lifetime: 60s }}
replay: {{ store: memory, max_entries: 1000000 }}
upstreams:
  accounts: {{ servers: ["http://{accounts}"] }}
routes:
  - name: accounts
    path: /accounts/**
    methods: [GET, HEAD]
    scopes: [accounts]
    sender_constraint: [certificate, dpop]
    issuers: [demo]
    upstream: accounts
    forward:
      client_certificate: true
      claims: {{ client_id: X-Token-Client-Id, sub: X-Token-Subject, scope: X-Token-Scope }}
  - name: current-account
    path: /accounts/1001
    methods: [GET, HEAD]
    scopes: [accounts]
    issuers: [demo-opaque]
    introspection_max_age: 0s
    upstream: accounts
  - name: savings-account
    path: /accounts/1002
    methods: [GET, HEAD]
    scopes: [accounts]
    issuers: [demo]
    dpop: {{ nonce: always }}
    upstream: accounts
  - name: payments
    path: /payments
    methods: [POST]
    scopes: [payments]
    issuers: [demo]
    upstream: accounts
  - name: health
    path: /health
    methods: [GET]
    public: true
    upstream: accounts
"#
    )
}

/// The text quoted as one word for the shell.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-');
    if text.bytes().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// The port that reads well in a terminal if it is free; otherwise one that the system chooses.
fn free_port(wanted: u16) -> std::io::Result<u16> {
    let socket = TcpListener::bind(("127.0.0.1", wanted)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)))?;
    Ok(socket.local_addr()?.port())
}

async fn wait_until_ready(url: &str) -> Result<(), String> {
    let client = reqwest::Client::builder().no_proxy().build().map_err(|error| error.to_string())?;
    for _ in 0..500 {
        if client.get(url).send().await.is_ok_and(|response| response.status().is_success()) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err("the gateway did not become ready within 10 seconds".into())
}

/// The audit lines by interaction id, so that the demo can show what an operator would see.
#[derive(Clone, Default)]
struct AuditLines(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    partial: Vec<u8>,
    lines: HashMap<String, Value>,
    follower: Option<mpsc::Sender<Value>>,
}

impl AuditLines {
    fn find(&self, interaction: &str) -> Option<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lines.get(interaction).cloned()
    }

    /// Sends every line from now on, and keeps none.
    fn follow(&self) -> mpsc::Receiver<Value> {
        let (sender, receiver) = mpsc::channel(1024);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.follower, kept.lines) = (Some(sender), HashMap::new());
        receiver
    }
}

impl Write for AuditLines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.partial.extend_from_slice(bytes);
        while let Some(end) = kept.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = kept.partial.drain(..=end).collect();
            let Ok(line) = serde_json::from_slice::<Value>(&line) else { continue };
            if let Some(follower) = &kept.follower {
                let _ = follower.try_send(line);
            } else if let Some(id) = line.get("interaction_id").and_then(Value::as_str).map(str::to_owned) {
                kept.lines.insert(id, line);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
