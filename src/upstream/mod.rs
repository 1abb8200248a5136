//! The resource servers: their addresses, and which one receives a request.
//!
//! No request waits here: names are resolved (`dns`) and servers are checked (`health`) in the background, and a
//! request chooses among the known addresses.

mod admission;
mod alert;
mod dns;
mod health;
mod server;
mod settings;
mod standing;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderMap;
use pingora::lb::Backends;

use self::admission::Admission;
use self::dns::{Dns, Names};
use self::health::Check;
use self::server::PeerTemplate;
use crate::connection::shares::Holder;
use crate::resource::Resource;

pub use self::admission::{Limits, NoTurn, Turn, Waited};
pub use self::alert::alert;
pub use self::dns::{Lookup, SystemLookup};
pub use self::server::Server;
pub use self::settings::{HealthCheck, Protocol, ServerAddress, Settings, TlsSettings};

/// The servers of one configured upstream, ready to be chosen from.
pub struct Upstream {
    name: Arc<str>,
    /// Its servers as gateway.yaml names them.
    configured: Vec<ServerAddress>,
    /// Resolves the names, and calls the health checks.
    backends: Backends,
    /// The addresses that were found for the names.
    names: Arc<ArcSwap<Names>>,
    /// One for each address.
    servers: Arc<ArcSwap<Vec<Arc<Server>>>>,
    /// How many times a server was chosen.
    turn: AtomicUsize,
    all_resolved: AtomicBool,
    health_check_interval: Option<Duration>,
    admission: Arc<Admission>,
    header_bytes: usize,
    template: PeerTemplate,
}

/// Whether a server receives requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does.
    Healthy,
    /// It could not be connected to or did not respond, and has not responded since.
    Ejected,
    /// It failed its health checks.
    Unhealthy,
}

impl State {
    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Ejected => "ejected",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// How many servers are in each state; every server counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Servers that receive requests.
    pub healthy: usize,
    /// Servers that could not be connected to or did not respond, and have not responded since.
    pub ejected: usize,
    /// Servers that failed their health checks.
    pub unhealthy: usize,
}

impl Upstream {
    /// Prepares the upstream; no address is known before [`Upstream::resolve`], which notes its outcome in `resource`.
    pub fn new(settings: Settings, lookup: Arc<dyn Lookup>, resource: Arc<Resource>) -> Self {
        let (names, servers) = (Arc::new(ArcSwap::default()), Arc::new(ArcSwap::default()));
        let dns = Dns { servers: settings.servers.clone(), names: names.clone(), lookup, resource };
        let mut backends = Backends::new(Box::new(dns));
        if let Some(check) = &settings.health_check {
            backends.set_health_check(Box::new(Check::new(settings.name.clone(), check.clone(), servers.clone())));
        }
        Self {
            name: settings.name.clone(),
            configured: settings.servers.clone(),
            backends,
            names,
            servers,
            turn: AtomicUsize::new(0),
            all_resolved: AtomicBool::new(false),
            health_check_interval: settings.health_check.as_ref().map(|check| check.interval),
            admission: Arc::new(Admission::new(settings.limits, settings.protocol.streams(), settings.connect_timeout)),
            header_bytes: settings.header_bytes,
            template: PeerTemplate::of(settings),
        }
    }

    /// Starts with the addresses that the upstreams of the previous configuration know of the same names, so that a name
    /// that cannot be resolved during a reload keeps its addresses, and with the places that are taken.
    #[must_use]
    pub fn succeeding(mut self, before: &[Arc<Self>]) -> Self {
        let known: Vec<_> = before.iter().map(|upstream| upstream.names.load_full()).collect();
        let mut names = Names::default();
        for server in &self.configured {
            let same = known.iter().flat_map(|names| &names.addresses).filter(|(_, known)| known.host == server.host);
            names.addresses.extend(same.map(|(at, _)| (SocketAddr::new(at.ip(), server.port), server.clone())));
        }
        self.names.store(Arc::new(names));
        let same = before.iter().find(|upstream| upstream.name == self.name);
        self.apply_names(same.map(|upstream| upstream.servers.load_full()).unwrap_or_default().as_slice());
        if let Some(same) = same.filter(|same| same.admission.has_limits_of(&self.admission)) {
            self.admission = same.admission.clone();
        }
        self
    }

    /// Whether it has a server that a request can be sent to.
    pub fn has_address(&self) -> bool {
        !self.servers.load().is_empty()
    }

    /// Its configured name.
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Takes a place for an exchange, and waits for one for as long as connecting may take and no longer than `at_most`, if
    /// few enough others do. An exchange without a holder has a place as long as there is one.
    ///
    /// # Errors
    /// [`NoTurn`].
    pub async fn admit(&self, holder: Option<Holder>, at_most: Duration) -> Result<(Turn, Waited), NoTurn> {
        self.admission.admit(holder, at_most).await
    }

    /// Resolves the names of its servers. If that fails for a name, its known addresses remain in use. Calls must not
    /// overlap.
    pub async fn resolve(&self) {
        if let Err(error) = self.backends.update(|_| {}).await {
            tracing::warn!(upstream = %self.name, %error, "upstream names could not be resolved");
        }
        self.apply_names(&[]);
    }

    /// Makes the servers those of the current names. What was noted of a server that stays is kept, and so is what was
    /// noted of `others` with the same addresses.
    fn apply_names(&self, others: &[Arc<Server>]) {
        let standing = |address| {
            let other = others.iter().find(|server| server.address == address);
            other.map(|server| server.standing.clone()).unwrap_or_default()
        };
        let (names, before) = (self.names.load(), self.servers.load());
        let servers = names.addresses.iter().map(|(address, named)| {
            let kept = before.iter().find(|server| server.address == *address && server.configured == *named);
            kept.cloned().unwrap_or_else(|| Arc::new(self.template.server(*address, named, standing(*address))))
        });
        let servers = servers.collect();
        self.servers.store(Arc::new(servers));
        self.all_resolved.store(names.complete, Ordering::Relaxed);
    }

    /// Keeps resolving names and checking servers until dropped.
    pub async fn keep_fresh(&self) {
        tokio::join!(self.keep_resolving(), self.keep_checking());
    }

    async fn keep_resolving(&self) {
        loop {
            let pause = if self.all_resolved.load(Ordering::Relaxed) { RESOLVE_EVERY } else { RESOLVE_AGAIN };
            tokio::time::sleep(pause).await;
            self.resolve().await;
        }
    }

    async fn keep_checking(&self) {
        let Some(interval) = self.health_check_interval else { return };
        loop {
            self.backends.run_health_check(true).await;
            tokio::time::sleep(interval).await;
        }
    }

    /// Returns the next server that is not among `tried`; `None` if no name has been resolved yet, or if all were
    /// tried.
    ///
    /// Servers take turns; one that has returned from an ejection takes only some of its turns at first. An unhealthy or
    /// ejected server is skipped while there is another one. If there is none, it is used anyway, since its state may be
    /// out of date and refusing the request for certain would help nobody.
    pub fn choose(&self, tried: &[SocketAddr], now: Duration) -> Option<Arc<Server>> {
        let servers = self.servers.load();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let round = || {
            let steps = (0..servers.len()).filter_map(|step| servers.get(turn.wrapping_add(step) % servers.len()));
            steps.filter(|server| !tried.contains(&server.address))
        };
        let healthy = |server: &&Arc<Server>| self.is_healthy(server);
        let number = turn.checked_div(servers.len()).unwrap_or_default();
        round()
            .find(|server| {
                healthy(server) && server.standing.takes_turn(number, now) && server.standing.may_be_tried(now)
            })
            .or_else(|| round().find(|server| healthy(server) && server.standing.may_be_tried(now)))
            .or_else(|| round().find(healthy))
            .or_else(|| round().next())
            .cloned()
    }

    /// Without health checks, what earlier ones have found does not count: nothing would ever change it.
    fn is_healthy(&self, server: &Server) -> bool {
        self.health_check_interval.is_none() || !server.standing.is_unhealthy()
    }

    /// Whether [`Upstream::choose`] would find another server.
    pub fn has_another(&self, tried: &[SocketAddr]) -> bool {
        self.servers.load().iter().any(|server| !tried.contains(&server.address))
    }

    /// Ejects a server for a while, because it could not be connected to; `error` says why.
    pub fn unreachable(&self, server: &Server, now: Duration, error: &str) {
        if server.standing.unreachable(now) {
            let (upstream, server) = (&self.name, server.address);
            tracing::warn!(%upstream, %server, error, "a server cannot be connected to; it is ejected for a while");
        }
    }

    /// Notes that a server did not respond to a request; ejects it for a while after several in a row. `error` is what
    /// happened instead.
    pub fn unanswered(&self, server: &Server, now: Duration, error: &str) {
        if server.standing.unanswered(now) {
            let (upstream, server) = (&self.name, server.address);
            tracing::warn!(%upstream, %server, error, "a server does not respond to requests; it is ejected for a while");
        }
    }

    /// Notes that a server responded, which ends its ejection.
    pub fn answered(&self, server: &Server, now: Duration) {
        if server.standing.answered(now) {
            let (upstream, server) = (&self.name, server.address);
            tracing::info!(%upstream, %server, "a server responds again");
        }
    }

    /// Its servers, each with its state.
    pub fn servers(&self) -> Vec<(SocketAddr, State)> {
        self.servers.load().iter().map(|server| (server.address, self.state(server))).collect()
    }

    fn state(&self, server: &Server) -> State {
        if !self.is_healthy(server) {
            State::Unhealthy
        } else if server.standing.is_ejected() {
            State::Ejected
        } else {
            State::Healthy
        }
    }

    /// Counts its servers by state.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for server in self.servers.load().iter() {
            let count = match self.state(server) {
                State::Healthy => &mut census.healthy,
                State::Ejected => &mut census.ejected,
                State::Unhealthy => &mut census.unhealthy,
            };
            *count = count.saturating_add(1);
        }
        census
    }

    /// Whether the header section of a response is within `header_bytes`; fields count as HTTP/1.1 writes them.
    pub fn accepts_header_section(&self, headers: &HeaderMap) -> bool {
        let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
        bytes.sum::<usize>() <= self.header_bytes
    }

    /// Whether its servers use HTTP/2.
    pub fn speaks_http2(&self) -> bool {
        self.template.protocol == Protocol::Http2
    }
}

/// How many connections a request may try before it fails.
pub const ATTEMPTS: usize = 5;

/// How often names are resolved again.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);

/// How soon names are resolved again after one could not be resolved.
const RESOLVE_AGAIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::standing::{FIRST_PAUSE, SLOW_START};
    use super::*;
    use crate::clock::Clock;
    use crate::resource::{Kind, Resources};

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    /// Where a test's upstream notes how its names were resolved.
    pub(super) fn resource() -> Arc<Resource> {
        Resources::new(Clock::from_fn(|| NOW)).of(Kind::Upstream, "bank")
    }

    async fn upstream(ports: &[u16]) -> Upstream {
        let server = |port: &u16| ServerAddress { tls: false, host: "127.0.0.1".into(), port: *port };
        let settings = Settings {
            name: "bank".into(),
            servers: ports.iter().map(server).collect(),
            protocol: Protocol::Http1,
            tls: TlsSettings::default(),
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(1),
            header_bytes: 1024,
            idle_timeout: Duration::from_secs(1),
            health_check: None,
            limits: Limits { exchanges: 100, exchanges_per_client: 100, waiting: 0, connections: 100 },
        };
        let upstream = Upstream::new(settings, Arc::new(SystemLookup), resource());
        upstream.resolve().await;
        upstream
    }

    fn ports(upstream: &Upstream, tried: &[SocketAddr], now: Duration, count: usize) -> Vec<u16> {
        let chosen = (0..count).filter_map(|_| upstream.choose(tried, now));
        chosen.map(|server| server.address().port()).collect()
    }

    fn server(upstream: &Upstream, port: u16) -> Arc<Server> {
        upstream.servers.load().iter().find(|server| server.address.port() == port).unwrap().clone()
    }

    #[tokio::test]
    async fn servers_take_turns_and_none_is_tried_twice() {
        let upstream = upstream(&[1, 2, 3]).await;
        assert_eq!(ports(&upstream, &[], NOW, 6), [1, 2, 3, 1, 2, 3]);
        let tried = [server(&upstream, 2).address()];
        assert!(ports(&upstream, &tried, NOW, 6).iter().all(|port| *port != 2));
        assert!(upstream.has_another(&tried));
        let all = [1, 2, 3].map(|port| server(&upstream, port).address());
        assert_eq!((ports(&upstream, &all, NOW, 3), upstream.has_another(&all)), (vec![], false));
    }

    #[tokio::test]
    async fn an_ejected_server_is_tried_by_one_request_when_its_time_is_over() {
        let upstream = upstream(&[1, 2]).await;
        let one = server(&upstream, 1);
        upstream.unreachable(&one, NOW, "");
        assert_eq!(ports(&upstream, &[], NOW, 4), [2; 4]);
        assert_eq!(upstream.census(), Census { healthy: 1, ejected: 1, unhealthy: 0 });
        let states: Vec<(u16, State)> = upstream.servers().iter().map(|(at, state)| (at.port(), *state)).collect();
        assert_eq!(states, [(1, State::Ejected), (2, State::Healthy)]);
        let almost = NOW + FIRST_PAUSE - Duration::from_millis(1);
        assert_eq!(ports(&upstream, &[], almost, 4), [2; 4]);
        let mut later = ports(&upstream, &[], NOW + FIRST_PAUSE, 8);
        later.sort_unstable();
        assert_eq!(later, [1, 2, 2, 2, 2, 2, 2, 2], "one request tries it for all");
        assert_eq!(upstream.census().ejected, 1, "until it responds");
        upstream.answered(&one, NOW + FIRST_PAUSE);
        assert_eq!(upstream.census(), Census { healthy: 2, ejected: 0, unhealthy: 0 });
        let count = |now| ports(&upstream, &[], now, 40).iter().filter(|port| **port == 1).count();
        assert_eq!(count(NOW + FIRST_PAUSE), 2, "a tenth of its turns at first");
        assert_eq!(count(NOW + FIRST_PAUSE + SLOW_START), 20);
    }

    #[tokio::test]
    async fn when_all_are_ejected_all_are_asked() {
        let upstream = upstream(&[1, 2]).await;
        for port in [1, 2] {
            upstream.unreachable(&server(&upstream, port), NOW, "");
        }
        assert_eq!(ports(&upstream, &[], NOW, 4), [1, 2, 1, 2]);
        let tried = [server(&upstream, 1).address()];
        assert_eq!(ports(&upstream, &tried, NOW, 2), [2, 2]);
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_keeps_no_server_out() {
        let upstream = upstream(&[1, 2]).await;
        upstream.unreachable(&server(&upstream, 1), NOW, "");
        let back = NOW - Duration::from_secs(3600);
        assert!(ports(&upstream, &[], back, 4).contains(&1));
    }
}
