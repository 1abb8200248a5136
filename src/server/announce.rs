//! One line of the log when the gateway becomes ready: what it is, what it serves, and what it guarantees.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use fapi::credentials::Scheme;
use fapi::policy::NonceMode;

use crate::clock::Clock;
use crate::config::Config;
use crate::connection::drain::Drain;
use crate::generation::Generation;
use crate::telemetry::audit::{Destination, OnOverflow};
use crate::telemetry::lines::Health;

/// What the line says of the configuration.
pub(super) struct Guarantees {
    configuration: String,
    issuers: String,
    replay: String,
    revocations: String,
    nonce: &'static str,
    audit: String,
}

impl Guarantees {
    /// `destination` is that of the audit, if it comes from the configuration.
    pub(super) fn of(config: &Config, destination: Option<&Destination>) -> Self {
        let names: Vec<&str> = config.issuers.iter().map(|issuer| &*issuer.expected.name).collect();
        let audit = match destination {
            None => "given".to_owned(),
            Some(Destination::Stdout) => "stdout".to_owned(),
            Some(Destination::File(path, _)) => path.display().to_string(),
            Some(Destination::Otlp(settings)) => format!("the collector {settings}"),
            Some(Destination::Syslog(settings)) => format!("the syslog server {settings}"),
        };
        let full = match config.audit.on_overflow {
            OnOverflow::Drop => "lines may be lost",
            OnOverflow::Block => "requests wait for room",
            OnOverflow::Refuse => "requests are refused without room",
        };
        Self {
            configuration: config.file.display().to_string(),
            issuers: names.join(", "),
            replay: match config.replay_store.and_then(|index| config.stores.get(index)) {
                Some(store) => format!("shared in the store {}", store.name),
                None => format!("{} proofs in the memory of this process", config.replay.total),
            },
            revocations: match config.shared_revocations.and_then(|sharing| config.stores.get(sharing.store)) {
                Some(store) => format!("shared in the store {}", store.name),
                None => "in the memory of this process".to_owned(),
            },
            nonce: nonce(config),
            audit: format!("{audit}, {full}"),
        }
    }
}

/// For which proofs a nonce is asked, on the route that asks for the fewest.
fn nonce(config: &Config) -> &'static str {
    let policies = config.routes.iter().filter_map(|route| route.policy());
    let modes = policies.filter(|policy| policy.schemes().contains(&Scheme::Dpop)).map(|policy| policy.nonce());
    let rank = |mode: &NonceMode| match mode {
        NonceMode::Never => 0,
        NonceMode::WhenStale => 1,
        NonceMode::Always => 2,
    };
    match modes.min_by_key(rank) {
        None => "no route accepts proofs",
        Some(NonceMode::Never) => "never",
        Some(NonceMode::WhenStale) => "when_stale",
        Some(NonceMode::Always) => "always",
    }
}

/// Waits until the gateway is ready, and says so once; never, if it drains before.
pub(super) struct Announcement {
    pub(super) generation: Arc<ArcSwap<Generation>>,
    pub(super) clock: Clock,
    pub(super) audit: Arc<Health>,
    pub(super) drain: Arc<Drain>,
    pub(super) guarantees: Guarantees,
    pub(super) listeners: Vec<SocketAddr>,
}

impl Announcement {
    fn is_due(&self) -> bool {
        let generation = self.generation.load();
        generation.awaited().is_empty()
            && generation.replay_log_too_young_for(self.clock.unix_time()) == 0
            && generation.on_overflow.is_ready(&self.audit)
    }

    /// Says that the gateway is ready, once `/readyz` would.
    pub(super) async fn say(&self) {
        let mut look = tokio::time::interval(BETWEEN_LOOKS);
        while !self.is_due() && !self.drain.began() {
            look.tick().await;
        }
        if self.drain.began() {
            return;
        }
        let Guarantees { configuration, issuers, replay, revocations, nonce, audit } = &self.guarantees;
        let (version, listeners) = (env!("CARGO_PKG_VERSION"), &self.listeners);
        tracing::info!(version, configuration, ?listeners, issuers, replay, revocations, nonce, audit, "ready");
    }
}

const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
