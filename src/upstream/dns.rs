//! Resolves the names of servers to addresses, independently of any request.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::lb::Backend;
use pingora::lb::discovery::ServiceDiscovery;
use tokio::task::JoinSet;

use super::ServerAddress;
use super::server::backend;
use crate::resource::Resource;

/// The current name of each address; if two names have the same address, the later one is used.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// The names, by address.
    pub(super) addresses: BTreeMap<SocketAddr, ServerAddress>,
    /// Whether every name could be resolved.
    pub(super) complete: bool,
}

/// Resolves all servers of one upstream at once. Pingora compares backends by address alone, so the name of each
/// address is kept separately.
pub(super) struct Dns {
    pub(super) servers: Vec<ServerAddress>,
    pub(super) names: Arc<ArcSwap<Names>>,
    pub(super) lookup: Arc<dyn Lookup>,
    pub(super) resource: Arc<Resource>,
}

#[async_trait]
impl ServiceDiscovery for Dns {
    async fn discover(&self) -> pingora::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let mut lookups = JoinSet::new();
        for (index, server) in self.servers.iter().cloned().enumerate() {
            let lookup = self.lookup.clone();
            lookups.spawn(async move {
                let found = tokio::time::timeout(LOOKUP_TIMEOUT, lookup.addresses(&server.host, server.port)).await;
                let found = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                (index, found.and_then(|found| if found.is_empty() { Err(no_address()) } else { Ok(found) }))
            });
        }
        let mut found = HashMap::new();
        while let Some(lookup) = lookups.join_next().await {
            found.extend(lookup.ok());
        }
        let before = self.names.load_full();
        let mut names = Names { addresses: BTreeMap::new(), complete: true };
        let mut failures = Vec::new();
        for (index, server) in self.servers.iter().enumerate() {
            match found.remove(&index).unwrap_or_else(|| Err(no_address())) {
                Ok(addresses) => names.addresses.extend(addresses.into_iter().map(|at| (at, server.clone()))),
                Err(error) => {
                    names.complete = false;
                    failures.push(format!("{}: {error}", server.host));
                    let known = before.addresses.iter().filter(|(_, known)| *known == server);
                    let known: Vec<_> = known.map(|(at, known)| (*at, known.clone())).collect();
                    let host = &server.host;
                    if known.is_empty() {
                        tracing::warn!(%host, %error, "a name could not be resolved, and no address of it is known");
                    } else {
                        tracing::warn!(%host, %error, "a name could not be resolved; its known addresses remain in use");
                    }
                    names.addresses.extend(known);
                }
            }
        }
        let backends = names.addresses.keys().map(|address| backend(*address)).collect();
        if names.complete {
            self.resource.succeeded();
        } else {
            self.resource.failed(&failures.join("; "));
        }
        self.names.store(Arc::new(names));
        Ok((backends, HashMap::new()))
    }
}

/// Resolves names to addresses.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// Returns all addresses of a name, with this port.
    async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The system's resolver.
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}

fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
}

/// How long a lookup may take; a later answer is ignored.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;
    use std::time::Duration;

    use super::super::tests::resource;
    use super::super::{Limits, Protocol, Settings, TlsSettings, Upstream};
    use super::*;
    use crate::telemetry::testing::Log;

    /// A name server whose answers a test changes; the lookup of a name without an answer never completes.
    #[derive(Default)]
    struct Zone(Mutex<HashMap<&'static str, Option<Vec<&'static str>>>>);

    impl Zone {
        fn set(&self, name: &'static str, addresses: Option<&[&'static str]>) {
            self.0.lock().unwrap().insert(name, addresses.map(<[_]>::to_vec));
        }
    }

    #[async_trait]
    impl Lookup for Zone {
        async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            let found = self.0.lock().unwrap().get(host).cloned();
            match found {
                Some(Some(addresses)) => {
                    Ok(addresses.iter().map(|at| SocketAddr::new(at.parse().unwrap(), port)).collect())
                }
                Some(None) => Err(io::ErrorKind::HostUnreachable.into()),
                None => std::future::pending().await,
            }
        }
    }

    fn upstream(zone: &Arc<Zone>, names: &[&str]) -> Upstream {
        let server = |name: &&str| ServerAddress { tls: false, host: (*name).into(), port: 80 };
        let settings = Settings {
            name: "bank".into(),
            servers: names.iter().map(server).collect(),
            protocol: Protocol::Http1,
            tls: TlsSettings::default(),
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(1),
            header_bytes: 1024,
            idle_timeout: Duration::from_secs(1),
            health_check: None,
            limits: Limits { exchanges: 100, exchanges_per_client: 100, waiting: 0, connections: 100 },
        };
        Upstream::new(settings, zone.clone(), resource())
    }

    /// Every address that requests are sent to.
    fn asked(upstream: &Upstream) -> BTreeSet<String> {
        (0..8).filter_map(|_| upstream.choose(&[], Duration::ZERO)).map(|server| server.address().to_string()).collect()
    }

    fn set(addresses: &[&str]) -> BTreeSet<String> {
        addresses.iter().map(|address| (*address).to_owned()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_moves_is_followed_and_a_name_server_that_fails_changes_nothing() {
        let zone = Arc::new(Zone::default());
        zone.set("a", Some(&["10.0.0.1", "10.0.0.2"]));
        zone.set("b", Some(&["10.0.0.3"]));
        let upstream = Arc::new(upstream(&zone, &["a", "b"]));
        assert_eq!(asked(&upstream), set(&[]), "nothing is known before the first answer");
        upstream.resolve().await;
        assert_eq!(asked(&upstream), set(&["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]));

        let fresh = upstream.clone();
        let work = tokio::spawn(async move { fresh.keep_fresh().await });
        zone.set("a", Some(&["10.0.0.2", "10.0.0.9"]));
        tokio::time::sleep(Duration::from_secs(29)).await;
        assert_eq!(asked(&upstream), set(&["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]), "not resolved again yet");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(asked(&upstream), set(&["10.0.0.2:80", "10.0.0.3:80", "10.0.0.9:80"]));

        for failure in [None, Some(&[][..])] {
            zone.set("a", failure);
            tokio::time::sleep(Duration::from_secs(31)).await;
            assert_eq!(asked(&upstream), set(&["10.0.0.2:80", "10.0.0.3:80", "10.0.0.9:80"]), "{failure:?}");
        }
        zone.set("a", Some(&["10.0.0.4"]));
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(asked(&upstream), set(&["10.0.0.3:80", "10.0.0.4:80"]), "a failed lookup is retried soon");
        work.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_says_whether_addresses_of_a_name_are_known() {
        let (log, _guards) = Log::of_this_thread();
        let zone = Arc::new(Zone::default());
        zone.set("a", Some(&[]));
        let upstream = upstream(&zone, &["a"]);
        let resolved = async || {
            upstream.resolve().await;
            log.take()
        };
        let text = resolved().await;
        assert!(text.contains("no address of it is known") && !text.contains("remain in use"), "{text}");
        zone.set("a", Some(&["10.0.0.1"]));
        assert_eq!(resolved().await, "", "control");
        zone.set("a", Some(&[]));
        assert!(resolved().await.contains("its known addresses remain in use"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_configuration_starts_with_the_addresses_that_are_known_of_its_names() {
        let zone = Arc::new(Zone::default());
        zone.set("a", Some(&["10.0.0.1"]));
        let before = Arc::new(upstream(&zone, &["a"]));
        before.resolve().await;
        zone.set("a", None);
        let fresh = upstream(&zone, &["a"]);
        fresh.resolve().await;
        assert_eq!(
            (asked(&fresh), fresh.has_address()),
            (set(&[]), false),
            "control: without a previous configuration"
        );
        let after = upstream(&zone, &["a", "b"]).succeeding(&[before]);
        assert_eq!(asked(&after), set(&["10.0.0.1:80"]), "known before the first lookup");
        zone.set("b", None);
        after.resolve().await;
        assert_eq!((asked(&after), after.has_address()), (set(&["10.0.0.1:80"]), true));
        zone.set("a", Some(&["10.0.0.2"]));
        after.resolve().await;
        assert_eq!(asked(&after), set(&["10.0.0.2:80"]), "a good answer replaces what was known");
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_server_that_never_answers_delays_neither_requests_nor_other_names() {
        let zone = Arc::new(Zone::default());
        zone.set("b", Some(&["10.0.0.3"]));
        let upstream = Arc::new(upstream(&zone, &["silent", "b"]));
        let looking = upstream.clone();
        let first = tokio::spawn(async move { looking.resolve().await });
        assert!(upstream.choose(&[], Duration::ZERO).is_none(), "a request does not wait for an address");
        tokio::time::timeout(Duration::from_secs(5), first).await.unwrap().unwrap();
        assert_eq!(asked(&upstream), set(&["10.0.0.3:80"]));
    }

    #[tokio::test]
    async fn what_was_noted_of_a_server_outlives_the_next_answer() {
        let zone = Arc::new(Zone::default());
        zone.set("a", Some(&["10.0.0.1", "10.0.0.2"]));
        let upstream = upstream(&zone, &["a"]);
        upstream.resolve().await;
        let server = upstream.choose(&[], Duration::ZERO).unwrap();
        upstream.unreachable(&server, Duration::ZERO, "");
        zone.set("a", Some(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]));
        upstream.resolve().await;
        let asked = asked(&upstream);
        assert_eq!((asked.len(), asked.contains(&server.address().to_string())), (2, false));
    }
}
