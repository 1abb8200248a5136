//! Everything that a reload replaces as a whole. An exchange keeps the generation that it started with.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fapi::UnixTime;
use fapi::credentials::Scheme;
use fapi::jose::signing_keys::SigningKeys;
use fapi::policy::{NonceMode, Policy};
use fapi::route::Route;
use fapi::signature::rules::Replay;

use crate::config::Overview;
use crate::connection::VirtualHosts;
use crate::connection::drain;
use crate::connection::limits::Limits;
use crate::connection::tls::InForce;
use crate::directory::Directories;
use crate::gateway::Gateway;
use crate::issuer::Unread;
use crate::issuer::introspection::AnswerStore;
use crate::otlp::Collector;
use crate::replay::memory::Capacity;
use crate::resource::Id;
use crate::store::Store;
use crate::store::guarantee::{Guarantee, Level};
use crate::telemetry::audit::evidence::EvidenceKey;
use crate::telemetry::audit::{OnOverflow, Pseudonyms};
use crate::telemetry::exemplars::Timing;
use crate::telemetry::routes::RouteMetrics;
use crate::trace::Tracer;
use crate::upstream::Upstream;

/// What a replay log keeps, and for how long; under other limits it may have forgotten proofs too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayLimits {
    /// How many proofs it holds at most.
    pub capacity: Capacity,
    /// How long a proof is accepted after its `iat`, in seconds.
    pub max_age: u64,
    /// How long a nonce is in use, in seconds.
    pub nonce_lifetime: u64,
    /// Where replicas share it, if they do.
    pub shared: Option<[u8; 32]>,
}

/// Everything that was built from one reading of the configuration.
pub struct Generation {
    /// What the gateway's replay log keeps under it.
    pub replay_limits: ReplayLimits,
    /// Distinguishes one generation from the next.
    pub number: u64,
    /// What is read again and again for it.
    pub resources: BTreeSet<Id>,
    /// Whether it, or the one before it, was ready once: a reload does not take a gateway out of service.
    pub was_ready: AtomicBool,
    /// Decides on requests.
    pub gateway: Gateway,
    /// The directories of participants.
    pub directories: Arc<Directories>,
    /// The stores that replicas share.
    pub stores: Vec<Arc<Store>>,
    /// The upstreams, in the order of the indexes that routes use.
    pub upstreams: Vec<Arc<Upstream>>,
    /// What each listener serves.
    pub listeners: Vec<VirtualHosts>,
    /// The TLS of the admin listener, if it has any.
    pub admin_tls: Option<Arc<InForce>>,
    /// The gateway's own keys, which the admin listener publishes.
    pub signing: Option<Arc<SigningKeys>>,
    /// What operators are shown of the configuration.
    pub overview: Overview,
    /// How many of the last decisions the admin listener shows.
    pub decisions: usize,
    /// The limits on connections and messages.
    pub limits: Limits,
    /// What happens to requests while the audit cannot be written.
    pub on_overflow: OnOverflow,
    /// What stands in the audit in place of names, if anything does.
    pub pseudonyms: Option<Arc<Pseudonyms>>,
    /// What is kept of signed messages is encrypted to this key, if anything is.
    pub evidence: Option<Arc<EvidenceKey>>,
    /// How long the drain may take.
    pub drain: drain::Settings,
    /// The metrics of each route, by its name; the empty name is for exchanges that matched no route.
    pub counts: HashMap<Arc<str>, RouteMetrics>,
    /// The response times of each upstream, in the order of `upstreams`.
    pub timings: Vec<Timing>,
    /// Decides which exchanges are recorded; `None` if none are.
    pub tracer: Option<Tracer>,
    /// Where their spans go.
    pub collector: Option<Arc<Collector>>,
}

/// What a gateway waits for after its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The keys of an issuer, by its configured name.
    Keys(Arc<str>),
    /// The address of the introspection endpoint of an issuer.
    IntrospectionEndpoint(Arc<str>),
    /// An address of an upstream, by its configured name.
    Address(Arc<str>),
    /// The revocations that replicas share, by the configured name of their store.
    Revocations(Arc<str>),
    /// A directory of participants, by its configured name.
    Directory(Arc<str>),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys(issuer) => write!(f, "the first keys of issuer {issuer}"),
            Self::IntrospectionEndpoint(issuer) => write!(f, "the introspection endpoint of issuer {issuer}"),
            Self::Address(upstream) => write!(f, "an address of upstream {upstream}"),
            Self::Revocations(store) => write!(f, "the revocations in the store {store}"),
            Self::Directory(directory) => write!(f, "the directory {directory}"),
        }
    }
}

impl Generation {
    /// Has issuers share what they say of tokens in its stores; when it comes into force, since the generation before it asks some
    /// of the same issuers.
    pub fn share_answers(&self) {
        self.gateway
            .issuers
            .share(|sharing| self.stores.get(sharing.store).map(|store| store.clone() as Arc<dyn AnswerStore>));
    }

    /// What has not been read once although requests need it.
    pub fn missing(&self) -> Vec<Missing> {
        let issuers = self.gateway.issuers.unread().map(|(name, unread)| match unread {
            Unread::Keys => Missing::Keys(name.clone()),
            Unread::IntrospectionEndpoint => Missing::IntrospectionEndpoint(name.clone()),
        });
        let used: BTreeSet<usize> = self.gateway.routes.iter().map(|route| route.upstream.index).collect();
        let used = used.into_iter().filter_map(|index| self.upstreams.get(index));
        let upstreams = used.filter(|upstream| !upstream.has_address());
        let revocations = self.gateway.issuers.unread_revocations().cloned().map(Missing::Revocations);
        let upstreams = upstreams.map(|upstream| Missing::Address(upstream.name().clone()));
        let directories = self.directories.unread().cloned().map(Missing::Directory);
        issuers.chain(upstreams).chain(revocations).chain(directories).collect()
    }

    /// What holds, and how far now.
    pub fn guarantees(&self, now: UnixTime) -> Vec<Guarantee> {
        let level = self.gateway.shared_replay.as_ref().map_or(Level::Local, |shared| shared.level(now));
        let limits = self.gateway.rate_limits.as_ref();
        let limits = limits.map(|limits| Guarantee { name: "rate_limits", level: limits.level() });
        [Guarantee { name: "replay", level }].into_iter().chain(limits).collect()
    }

    /// What keeps the gateway from being ready: nothing once it has been ready, since neither a reload nor a failure
    /// that comes later is a reason to serve nobody.
    pub fn awaited(&self) -> Vec<Missing> {
        if self.was_ready.load(Ordering::Acquire) {
            return Vec::new();
        }
        let missing = self.missing();
        if missing.is_empty() {
            self.was_ready.store(true, Ordering::Release);
        }
        missing
    }

    /// Returns for how many seconds a proof that is made now may be refused for lack of a nonce on a route that does not
    /// require one, or a client assertion at all, because the replay log may be younger than the proof; 0 if there is no such route.
    pub fn replay_log_too_young_for(&self, now: UnixTime) -> u64 {
        let without_nonce =
            |policy: &Policy| policy.schemes().contains(&Scheme::Dpop) && policy.nonce() != NonceMode::Always;
        // Neither an assertion nor a signature can have one of the gateway's.
        let remembers = |policy: &Policy| {
            let rules = policy.signature().and_then(|rules| rules.request.as_ref());
            rules.is_some_and(|rules| rules.replay != Replay::Ignore)
        };
        let needs_log = |route: &&Arc<Route>| {
            route.policy().is_some_and(|policy| without_nonce(policy) || remembers(policy))
                || route.endpoint().is_some()
        };
        let routes = self.gateway.routes.iter().filter(needs_log);
        let alone = routes.map(|route| self.gateway.may_decide_alone(&route.name, now));
        let began = alone.map(|alone| self.gateway.replay_log_began(alone)).max();
        let skew = self.gateway.freshness.clock_skew;
        began.map_or(0, |began| began.plus(skew).plus(1).since(now))
    }
}
