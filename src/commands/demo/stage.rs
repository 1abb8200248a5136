//! The setup of the demo: new certificates, two servers, a gateway.yaml on disk, and the gateway itself, started from
//! that file as `run` would.

use std::collections::HashMap;
use std::io::Write;
use std::net::TcpListener;
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

use crate::clock::Clock;
use crate::config::Config;
use crate::server::{Bound, Control, Options};
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
    _accounts: AccountsApi,
    folder: PathBuf,
    control: Control,
    gateway: Option<JoinHandle<()>>,
}

impl Stage {
    /// Starts everything and waits until the gateway is ready.
    pub(super) async fn set() -> Result<Self, String> {
        let authority = Authority::new("Demo CA");
        let client = authority.client("demo-client");
        let thief = authority.client("another-client");
        let dpop_key = SigningKey::generate(KeyKind::Es256, "dpop");
        let gateway_key = SigningKey::generate(KeyKind::Es256, "gateway");
        let issuer = AuthorizationServer::start(&authority).map_err(|error| error.to_string())?;
        issuer.register("gateway", ResourceServer::Key(gateway_key.clone()));
        let accounts = AccountsApi::start(None, None).map_err(|error| error.to_string())?;
        let folder = std::env::temp_dir().join(format!("fapi-gateway-demo-{}", std::process::id()));
        let port = free_port().map_err(|error| format!("no free port on 127.0.0.1: {error}"))?;
        let origin = format!("https://localhost:{port}");
        let server = authority.server(&["localhost", "127.0.0.1"]);
        let file = write_files(
            &folder,
            &authority,
            &server,
            &client,
            &Scene {
                port,
                issuer: issuer.issuer(),
                accounts: &accounts,
                dpop_key: &dpop_key,
                gateway_key: &gateway_key,
            },
        )
        .map_err(|error| format!("{}: {error}", folder.display()))?;
        let config = Config::load(&file).map_err(|errors| errors.to_string())?;
        let audit = AuditLines::default();
        let options = Options {
            clock: Clock::system(),
            audit: Some(Box::new(audit.clone())),
            lookup: Arc::new(SystemLookup),
            // Every key here is new, so no proof has been used before.
            replay_began: Some(fapi::UnixTime(0)),
            threads: None,
        };
        let bound = Bound::new(config, options).map_err(|error| error.to_string())?;
        let control = bound.control();
        let admin = bound.admin_address().ok_or("the demo's gateway has no admin listener")?;
        let gateway = std::thread::spawn(move || {
            if let Err(error) = bound.run() {
                eprintln!("fapi-gateway demo: {error}");
            }
        });
        let stage = Self {
            authority,
            client,
            thief,
            dpop_key,
            issuer,
            origin,
            audit,
            _accounts: accounts,
            folder,
            control,
            gateway: Some(gateway),
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

    /// Prints lines to paste into another terminal while the demo runs.
    pub(super) fn print_curl_lines(&self) {
        let exe = match self.write_tokens() {
            Ok(exe) => quoted(&exe.display().to_string()),
            Err(error) => return eprintln!("fapi-gateway demo: {}: {error}", self.folder.display()),
        };
        let (folder, origin) = (self.folder.display(), &self.origin);
        let token = "-H \"Authorization: Bearer $(cat token)\"";
        println!("\nThe gateway keeps serving {origin} with {folder}/gateway.yaml. In another terminal:\n");
        println!("cd {folder}");
        println!("curl -i --cacert ca.pem --cert client.pem --key client-key.pem {token} {origin}/accounts");
        println!("curl -i --cacert ca.pem {token} {origin}/accounts");
        println!("curl -i --cacert ca.pem --cert client.pem --key client-key.pem {origin}/accounts");
        println!("curl -i --cacert ca.pem {origin}/health");
        println!("\nWith a token that is bound to the key in dpop-key.pem, and a proof for each call:\n");
        let token = "-H \"Authorization: DPoP $(cat dpop-token)\"";
        let call = |path: &str, more: &str, nonce: &str| {
            let proof = format!("{exe} proof --key dpop-key.pem --method GET --url {origin}{path} --token @dpop-token");
            format!("curl -i{more} --cacert ca.pem {token} -H \"DPoP: $({proof}{nonce})\" {origin}{path}")
        };
        println!("{}", call("/accounts", "", ""));
        println!("curl -i --cacert ca.pem {token} {origin}/accounts");
        println!("{}", call("/accounts/1002", " -D answer", ""));
        let nonce = r" --nonce $(sed -n 's/^[Dd][Pp]o[Pp]-[Nn]once: *\([A-Za-z0-9_-]*\).*/\1/p' answer)";
        println!("{}", call("/accounts/1002", "", nonce));
        println!("\nWith an opaque token, before and after it is revoked at its issuer:\n");
        let opaque = "-H \"Authorization: Bearer $(cat opaque-token)\"";
        let call =
            format!("curl -i --cacert ca.pem --cert client.pem --key client-key.pem {opaque} {origin}/accounts/1001");
        let revocation = self.issuer.url(AuthorizationServer::REVOCATION);
        println!("{call}");
        println!(
            "curl -i --cacert ca.pem --cert client.pem --key client-key.pem --data-urlencode token@opaque-token {revocation}"
        );
        println!("{call}");
        println!("\nCtrl-C stops the demo.");
    }

    /// Writes one token of each kind for the `curl` lines, and returns the path of the program that makes their proofs.
    fn write_tokens(&self) -> std::io::Result<PathBuf> {
        let token = || self.issuer.token(now()).expires_at(now() + 8 * 3600);
        let key = self.issuer.key(KeyKind::Ps256);
        std::fs::write(self.folder.join("token"), token().bound_to_certificate(&self.client).sign(key))?;
        std::fs::write(self.folder.join("dpop-token"), token().bound_to_key(self.dpop_key.thumbprint()).sign(key))?;
        std::fs::write(
            self.folder.join("opaque-token"),
            self.issuer.issue(&token().bound_to_certificate(&self.client)),
        )?;
        std::env::current_exe()
    }

    /// Stops the gateway and removes the files.
    pub(super) fn strike(mut self) {
        self.control.stop();
        if let Some(gateway) = self.gateway.take() {
            let _ = gateway.join();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

struct Scene<'a> {
    port: u16,
    issuer: &'a str,
    accounts: &'a AccountsApi,
    dpop_key: &'a SigningKey,
    gateway_key: &'a SigningKey,
}

fn write_files(
    folder: &Path,
    authority: &Authority,
    server: &Credential,
    client: &Credential,
    scene: &Scene<'_>,
) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    std::fs::DirBuilder::new().mode(0o700).create(folder)?;
    let write = |name: &str, text: &str| -> std::io::Result<PathBuf> {
        let path = folder.join(name);
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(text.as_bytes())?;
        Ok(path)
    };
    write("ca.pem", &authority.pem())?;
    write("server.pem", &server.certificate_pem())?;
    write("server-key.pem", &server.key_pem())?;
    write("client.pem", &client.certificate_pem())?;
    write("client-key.pem", &client.key_pem())?;
    let Scene { port, issuer, accounts, dpop_key, gateway_key } = scene;
    write("dpop-key.pem", &dpop_key.private_key_pem())?;
    write("gateway-key.pem", &gateway_key.private_key_pem())?;
    let accounts = accounts.address();
    write(
        "gateway.yaml",
        &format!(
            r#"profile: fapi2-security
listeners:
  - address: 127.0.0.1:{port}
    origins: ["https://localhost:{port}"]
    tls:
      certificate: server.pem
      private_key: server-key.pem
      client_certificates: {{ mode: optional, trust: chain, trust_anchors: [ca.pem] }}
admin: {{ address: "127.0.0.1:0" }}
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
        ),
    )
}

/// The text quoted as one word for the shell.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-');
    if text.bytes().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// 8443 if it is free, since it reads well in a terminal; otherwise a free port that the system chooses.
fn free_port() -> std::io::Result<u16> {
    let socket = TcpListener::bind(("127.0.0.1", 8443)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)))?;
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
}

impl AuditLines {
    fn find(&self, interaction: &str) -> Option<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lines.get(interaction).cloned()
    }
}

impl Write for AuditLines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.partial.extend_from_slice(bytes);
        while let Some(end) = kept.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = kept.partial.drain(..=end).collect();
            let Ok(line) = serde_json::from_slice::<Value>(&line) else { continue };
            if let Some(id) = line.get("interaction_id").and_then(Value::as_str).map(str::to_owned) {
                kept.lines.insert(id, line);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
