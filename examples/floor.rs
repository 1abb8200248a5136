//! What a request costs before anything is checked: a bare proxy of Pingora on the gateway's own TLS, stream, threads and
//! allocator, which forwards every request to the first server of the first upstream.
//!
//! `cargo run --release --example floor -- run --config gateway.yaml` reads the gateway's own configuration, of which it
//! uses the first listener and the first upstream. It is for measurements on loopback, and for nothing else: it asks for no
//! token. Serves HTTP/1.1 and HTTP/2, until it is killed.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made may panic")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fapi_gateway::clock::Clock;
use fapi_gateway::config::{self, Config};
use fapi_gateway::connection::handshake::handshake;
use fapi_gateway::connection::lingering::LingeringLimits;
use fapi_gateway::connection::stream::{ClientStream, HeaderLimits};
use fapi_gateway::connection::tls::{self, Attempt};
use fapi_gateway::connection::{ConnectionFacts, VirtualHost, VirtualHosts};
use fapi_gateway::workers::{self, Workers};
use pingora::apps::ServerApp;
use pingora::protocols::Ssl;
use pingora::protocols::l4::stream::Stream as TcpStream;
use pingora::proxy::{HttpProxy, ProxyHttp, Session, http_proxy};
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use tokio::sync::watch;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Forwards everything.
struct Floor {
    server: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Floor {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn early_request_filter(&self, session: &mut Session, (): &mut ()) -> pingora::Result<()> {
        // The stream below ends connections whose header section does not end.
        with_facts(session, |facts| facts.phase.busy(LIMIT));
        Ok(())
    }

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(self.server, false, String::new());
        peer.group_key = workers::current().into();
        peer.options.read_timeout = Some(LIMIT);
        Ok(Box::new(peer))
    }

    async fn logging(&self, session: &mut Session, _: Option<&pingora::Error>, (): &mut ()) {
        with_facts(session, |facts| facts.phase.idle());
    }
}

fn with_facts(session: &Session, tell: impl FnOnce(&ConnectionFacts)) {
    let digest = session.digest().and_then(|digest| digest.ssl_digest.as_ref());
    if let Some(facts) = digest.and_then(|digest| digest.extension.get::<ConnectionFacts>()) {
        tell(facts);
    }
}

async fn serve(stream: std::net::TcpStream, hosts: &VirtualHosts, http: &Arc<HttpProxy<Floor>>) -> Option<()> {
    let mut stream = TcpStream::from(tokio::net::TcpStream::from_std(stream).ok()?);
    stream.set_nodelay().ok()?;
    let (address, now) = ([127, 0, 0, 1].into(), Clock::system().unix_time());
    let tls = handshake(stream, address, hosts, now, &Arc::new(Attempt::default())).await.ok()?;
    let phase = tls.get_ssl_digest()?.extension.get::<ConnectionFacts>()?.phase.clone();
    let header = HeaderLimits { timeout: LIMIT, bytes: 128 * 1024, fields: 100, idle: LIMIT };
    let lingering = LingeringLimits { bytes: 0, time: Duration::ZERO };
    let stream = ClientStream::new(tls, phase, header, lingering, Arc::new(|_| bytes::Bytes::new()));
    let (_shutdown, shutdown) = watch::channel(false);
    http.process_new(Box::new(stream), &shutdown).await;
    Some(())
}

fn main() {
    tls::install_provider().unwrap();
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [run, flag, file] = arguments.as_slice() else { panic!("usage: floor run --config FILE") };
    assert!(run == "run" && flag == "--config", "usage: floor run --config FILE");
    let mut config = Config::load(&PathBuf::from(file)).unwrap_or_else(|errors| panic!("{errors}"));
    let listener = config.listeners.remove(0);
    let server = config.upstreams.remove(0).servers.remove(0);
    let clock = Arc::new(Clock::system());
    let host = |host: config::VirtualHost| VirtualHost {
        origins: host.origins,
        tls: host.tls.in_force(clock.clone()).unwrap(),
        trusted_proxy: None,
        cors: None,
        errors: None,
    };
    let hosts = Arc::new(VirtualHosts::new(listener.hosts.into_iter().map(host).collect(), 0));
    let server = SocketAddr::new(server.host.parse().unwrap(), server.port);
    let threads = workers::processors();
    let conf = ServerConf { threads, upstream_keepalive_pool_size: 1024, ..ServerConf::default() };
    let http = Arc::new(http_proxy(&Arc::new(conf), Floor { server }));
    let workers = Workers::start(threads.try_into().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(listener.address).await.unwrap();
        loop {
            let stream = listener.accept().await.unwrap().0.into_std().unwrap();
            let (hosts, http) = (hosts.clone(), http.clone());
            workers.serve(async move {
                serve(stream, &hosts, &http).await;
            });
        }
    });
}

/// Longer than anything takes here.
const LIMIT: Duration = Duration::from_secs(60);
