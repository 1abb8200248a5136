//! The setup of the demo: new certificates, three servers, a gateway.yaml on disk, and the gateway itself, started from
//! that file as `run` would.

mod audit_lines;
mod configuration;
mod folder;
mod invitation;
mod registered;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use sandbox::accounts::AccountsApi;
use sandbox::authorization_server::{AuthorizationServer, ResourceServer};
use sandbox::lenient_authorization_server::LenientAuthorizationServer;
use sandbox::pki::{Authority, Credential};
use sandbox::tokens::{KeyKind, SigningKey};
use serde_json::Value;
use tokio::sync::mpsc;

use self::audit_lines::AuditLines;
use self::configuration::configuration;
use self::folder::{Folder, write_credentials};
use self::registered::Registered;
pub(super) use self::registered::{CERTIFICATE_CLIENT, CLIENT, REDIRECT_URI, RESOURCE_SERVER};
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
    /// What stands around the gateway.
    pub(super) servers: Servers,
    /// Who is registered at the authorization server behind the gateway.
    pub(super) registered: Registered,
    /// The gateway's public origin.
    pub(super) origin: String,
    audit: AuditLines,
    admin: SocketAddr,
    // Dropped in this order: the gateway ends before its files go.
    _gateway: Running,
    folder: Folder,
}

/// The servers around the gateway.
pub(super) struct Servers {
    /// An authorization server that issues tokens by itself.
    pub(super) issuer: AuthorizationServer,
    /// One that knows nothing of FAPI, behind the gateway.
    pub(super) guarded: LenientAuthorizationServer,
    accounts: AccountsApi,
}

impl Servers {
    fn start(authority: &Authority) -> std::io::Result<Self> {
        Ok(Self {
            issuer: AuthorizationServer::start(authority)?,
            guarded: LenientAuthorizationServer::start(authority)?,
            accounts: AccountsApi::start(None, None)?,
        })
    }
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

impl Stage {
    /// Starts everything and waits until the gateway is ready.
    pub(super) async fn set(keep: Option<&Path>) -> Result<Self, String> {
        let authority = Authority::new("Demo CA");
        let client = authority.client("demo-client");
        let thief = authority.client("another-client");
        let dpop_key = SigningKey::generate(KeyKind::Es256, "dpop");
        let gateway_key = SigningKey::generate(KeyKind::Es256, "gateway");
        let servers = Servers::start(&authority).map_err(|error| error.to_string())?;
        servers.issuer.register("gateway", ResourceServer::Key(gateway_key.clone()));
        let registered = Registered::new();
        let folder = Folder::make(keep)?;
        write_credentials(&folder, &authority, &authority.server(&["localhost", "127.0.0.1"]), &client)
            .and_then(|()| folder.write("dpop-key.pem", &dpop_key.private_key_pem()))
            .and_then(|_| folder.write("gateway-key.pem", &gateway_key.private_key_pem()))
            .and_then(|_| registered.write(&folder))
            .map_err(|error| format!("{}: {error}", folder.path.display()))?;
        let audit = AuditLines::default();
        let mut attempts = 0;
        let (bound, port) = loop {
            let (bound, port) = bind(&folder, &servers, &audit)?;
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
            servers,
            registered,
            origin,
            audit,
            admin,
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
}

/// Writes a gateway.yaml for ports that are free now, and binds the gateway to them; also returns its port.
fn bind(folder: &Folder, servers: &Servers, audit: &AuditLines) -> Result<(Result<Bound, StartError>, u16), String> {
    let no_port = |error| format!("no free port on 127.0.0.1: {error}");
    let (port, admin_port) = (free_port(8443).map_err(no_port)?, free_port(9464).map_err(no_port)?);
    let file = folder.path.join("gateway.yaml");
    let _ = std::fs::remove_file(&file);
    folder
        .write("gateway.yaml", &configuration(port, admin_port, servers))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    let config = Config::load(&file).map_err(|errors| errors.to_string())?;
    let options = Options {
        clock: Clock::system(),
        audit: Some(Box::new(audit.clone())),
        lookup: Arc::new(SystemLookup),
        // Every key here is new, so no proof and no assertion has been used before.
        replay_began: Some(fapi::UnixTime(0)),
        threads: None,
    };
    Ok((Bound::new(config, options), port))
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
