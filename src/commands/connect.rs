//! `check --connect`: asks the issuers for their keys and connects to the upstreams, all at once and for a bounded time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fapi::UnixTime;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::certificate::{Judgement, Purpose};
use crate::clock::Clock;
use crate::config::Config;
use crate::issuer::http::Client;
use crate::issuer::jwks::{KeySource, Location};
use crate::issuer::metadata::Discovery;
use crate::issuer::{self, Timing};
use crate::tls_client::{Identity, TrustAnchors, client_config};
use crate::upstream::{self, Lookup, Protocol, ServerAddress, SystemLookup};

/// How one thing that the gateway needs answered.
pub(super) struct Answer {
    /// What it is, its name in gateway.yaml, and where it is.
    what: [String; 3],
    /// What it said, or why it cannot be used.
    outcome: Result<String, String>,
}

impl Answer {
    /// Whether the gateway can use it.
    pub(super) const fn is_good(&self) -> bool {
        self.outcome.is_ok()
    }
}

/// Asks everything that the configuration names; in the order of gateway.yaml.
pub(super) fn run(config: Config) -> Vec<Answer> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        let what = ["check".to_owned(), "--connect".to_owned(), "this machine".to_owned()];
        return vec![Answer { what, outcome: Err("the system gives no resources for connections".to_owned()) }];
    };
    let answers = runtime.block_on(ask(config));
    // A lookup that does not end would keep the runtime.
    runtime.shutdown_background();
    answers
}

async fn ask(config: Config) -> Vec<Answer> {
    let mut asking = JoinSet::new();
    let mut places = Vec::new();
    for settings in config.issuers {
        let settings = Arc::new(settings);
        if settings.needs_keys() {
            let at = settings.jwks_uri.as_ref().map_or(&*settings.expected.issuer, |url| url.as_str()).to_owned();
            let (place, for_keys) = (places.len(), settings.clone());
            places.push(["keys of issuer".to_owned(), settings.expected.name.to_string(), at]);
            asking.spawn(async move { (place, bounded(CALLS, keys(&for_keys)).await) });
        }
        if let Some(section) = &settings.introspection {
            let at = section.endpoint.as_ref().map_or(&*settings.expected.issuer, |url| url.as_str()).to_owned();
            let place = places.len();
            places.push(["introspection at".to_owned(), settings.expected.name.to_string(), at]);
            asking.spawn(async move { (place, bounded(CALLS, introspection(&settings)).await) });
        }
    }
    for settings in config.upstreams {
        let settings = Arc::new(settings);
        for server in settings.servers.clone() {
            let host = if server.host.contains(':') { format!("[{}]", server.host) } else { server.host.to_string() };
            let place = places.len();
            places.push(["upstream".to_owned(), settings.name.to_string(), format!("{host}:{}", server.port)]);
            let settings = settings.clone();
            asking.spawn(async move { (place, servers(&settings, &server).await) });
        }
    }
    let mut answers: Vec<Answer> = places
        .into_iter()
        .map(|what| Answer { what, outcome: Err("the attempt failed unexpectedly; report it".to_owned()) })
        .collect();
    while let Some(asked) = asking.join_next().await {
        if let Ok((place, outcome)) = asked
            && let Some(answer) = answers.get_mut(place)
        {
            answer.outcome = outcome;
        }
    }
    answers
}

/// Waits for an answer for so long and no longer.
async fn bounded<T>(time: Duration, asked: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = format!("there was no answer within {} s", time.as_secs_f64());
    tokio::time::timeout(time, asked).await.unwrap_or(Err(late))
}

/// Reads the keys as the gateway will.
async fn keys(settings: &issuer::Settings) -> Result<String, String> {
    let timing = Timing::default();
    let location = match &settings.jwks_uri {
        Some(url) => Location::Configured(url.clone()),
        None => Location::Discovered(Discovery::new(&settings.expected.issuer).map_err(|error| error.to_string())?),
    };
    let client = Client::new(&settings.trust_anchors, timing.connect_timeout, timing.timeout);
    let client = client.map_err(|error| error.to_string())?;
    let name = settings.expected.name.clone();
    let source = KeySource::new(name, location, client, settings.jwks, timing, Arc::new(()));
    let source = source.with_rs256(settings.expected.rs256.is_some());
    source.refresh().await.map_err(|error| error.to_string())?;
    let usable = source.current().map_or(0, |read| read.keys.len());
    Ok(format!("{usable} usable {}", if usable == 1 { "key" } else { "keys" }))
}

/// Finds the endpoint and connects to it; no token is sent.
async fn introspection(settings: &issuer::Settings) -> Result<String, String> {
    let Some(section) = &settings.introspection else { return Ok(String::new()) };
    let (identity, sought) = section.authentication.presented();
    let url = match &section.endpoint {
        Some(url) => url.clone(),
        None => {
            let timing = Timing::default();
            let client = Client::new(&settings.trust_anchors, timing.connect_timeout, timing.timeout);
            let client = client.map_err(|error| error.to_string())?;
            let discovery = Discovery::new(&settings.expected.issuer).map_err(|error| error.to_string())?;
            discovery.find(&client, sought).await.map_err(|error| error.to_string())?
        }
    };
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = url.port_or_known_default().unwrap_or(443);
    let peer = Peer { anchors: &settings.trust_anchors, identity, name: &host, protocol: Protocol::Http1 };
    let reached = addresses(&host, port).await?;
    let mut said = String::new();
    for address in reached {
        said = peer.connect(address, CALLS).await.map_err(|why| format!("{address}: {why}"))?;
    }
    Ok(format!("{url}: {said}"))
}

/// Resolves a server and connects to each of its addresses.
async fn servers(settings: &upstream::Settings, server: &ServerAddress) -> Result<String, String> {
    let found = addresses(&server.host, server.port).await?;
    let anchors = settings.tls.trust_anchors.clone().map_or(TrustAnchors::System, TrustAnchors::Given);
    let mut said = Vec::new();
    for address in found {
        let outcome = if server.tls {
            let identity = settings.tls.identity.as_ref();
            let identity = identity.map(|(chain, key)| Identity { chain: chain.clone(), key: key.clone_key() });
            let name = settings.tls.server_name.as_deref().unwrap_or(&server.host);
            let peer = Peer { anchors: &anchors, identity, name, protocol: settings.protocol };
            peer.connect(address, settings.connect_timeout).await
        } else {
            let connected = async { TcpStream::connect(address).await.map_err(|error| error.to_string()) };
            bounded(settings.connect_timeout, connected).await.map(|_| "connected, without TLS".to_owned())
        };
        said.push(format!("{address}: {}", outcome.map_err(|why| format!("{address}: {why}"))?));
    }
    Ok(said.join("; "))
}

async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = async { SystemLookup.addresses(host, port).await.map_err(|error| error.to_string()) };
    let found = bounded(LOOKUP, found).await.map_err(|why| format!("the name cannot be resolved: {why}"))?;
    if found.is_empty() { Err("the name has no address".to_owned()) } else { Ok(found) }
}

/// A server that is connected to over TLS.
struct Peer<'p> {
    anchors: &'p TrustAnchors,
    identity: Option<Identity>,
    name: &'p str,
    protocol: Protocol,
}

impl Peer<'_> {
    /// Connects within `time` and verifies the certificate as the gateway does for requests.
    async fn connect(&self, address: SocketAddr, time: Duration) -> Result<String, String> {
        let config = client_config(self.anchors, self.identity.as_ref());
        let mut config = config.map_err(|error| error.to_string())?;
        if self.protocol == Protocol::Http2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        let name = ServerName::try_from(self.name.to_owned()).map_err(|_| "the name cannot be verified".to_owned())?;
        let connecting = async {
            let socket = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
            let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await;
            stream.map_err(|error| match upstream::alert(&error.to_string()) {
                Some(alert) => format!("TLS failed: {alert}"),
                None => format!("TLS failed: {error}"),
            })
        };
        let mut stream = bounded(time, connecting).await?;
        if self.identity.is_some() {
            refusal(&mut stream).await?;
        }
        let (_, session) = stream.get_ref();
        if self.protocol == Protocol::Http2 && session.alpn_protocol() != Some(b"h2") {
            return Err("it does not speak HTTP/2; write `protocol: http1`".to_owned());
        }
        let version = session.protocol_version().and_then(|version| version.as_str()).unwrap_or("TLS");
        let soon = remarks(session.peer_certificates().unwrap_or_default(), Clock::system().unix_time());
        Ok(format!("{}, certificate verified{soon}", version.replace("TLSv1_", "TLS 1.")))
    }
}

/// Waits a moment for an alert about the gateway's certificate, which with TLS 1.3 a server sends when the handshake is over
/// for its client (RFC 8446 §4.4.2.4).
async fn refusal(stream: &mut (impl AsyncRead + Unpin)) -> Result<(), String> {
    match tokio::time::timeout(SECOND_THOUGHTS, stream.read(&mut [0])).await {
        Ok(Err(error)) => match upstream::alert(&error.to_string()) {
            Some(alert) => Err(format!("TLS failed: {alert}")),
            None => Err(format!("the connection broke after the handshake: {error}")),
        },
        // A server may say something first, and may close a connection on which nothing is asked.
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}

/// What is questionable about a chain that was accepted.
fn remarks(chain: &[CertificateDer<'_>], now: UnixTime) -> String {
    let purpose = Purpose::Server { hosts: &[], behind_proxy: false };
    Judgement::of(chain, purpose).problems(now).iter().map(|problem| format!(" ({problem})")).collect()
}

/// The answers as a table, and a last line with how many failed.
pub(super) fn table(answers: &[Answer]) -> String {
    let width = |column: usize| {
        answers.iter().filter_map(|answer| answer.what.get(column)).map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let (first, second, third) = (width(0), width(1), width(2));
    let mut table = String::new();
    for Answer { what: [kind, name, place], outcome } in answers {
        let (word, said) = match outcome {
            Ok(said) => ("ok    ", said),
            Err(why) => ("FAILED", why),
        };
        let said: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        table.push_str(&format!("{word}  {kind:first$}  {name:second$}  {place:third$}  {said}\n"));
    }
    let failed = answers.iter().filter(|answer| !answer.is_good()).count();
    table.push_str(&format!("{} of {} could be used\n", answers.len() - failed, answers.len()));
    table
}

/// How long an issuer may take, its metadata included.
const CALLS: Duration = Duration::from_secs(15);

/// How long a server has to refuse the gateway's certificate after the handshake.
const SECOND_THOUGHTS: Duration = Duration::from_secs(1);

/// How long a name may take.
const LOOKUP: Duration = Duration::from_secs(3);
