//! Builds a generation from a configuration.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fapi::UnixTime;
use fapi::dpop::ProofKeys;
use fapi::message;
use fapi::policy::Policy;
use fapi::rate_limit::By;
use fapi::route::Route;
use rustls::time_provider::TimeProvider;

use super::StartError;
use crate::authorization_server::AuthorizationServers;
use crate::clock::Clock;
use crate::config::Config;
use crate::connection::trusted_proxy::TrustedProxy;
use crate::connection::{VirtualHost, VirtualHosts};
use crate::consents::Consents;
use crate::directory::{self, Directories};
use crate::gateway::Gateway;
use crate::generation::{Generation, ReplayLimits};
use crate::idempotency::IdempotencyKeys;
use crate::issuer::Issuers;
use crate::otlp::{self, Collector, Exporter};
use crate::rate_limits::RateLimits;
use crate::rate_limits::shared::Shared as SharedLimits;
use crate::replay::ReplayLog;
use crate::replay::keys::KnownKeys;
use crate::replay::memory::MemoryLog;
use crate::replay::shared::SharedLog;
use crate::resource::{Kind, Resources};
use crate::signatures::ClientKeySets;
use crate::store::Store;
use crate::telemetry::directories::DirectoryMetrics;
use crate::telemetry::issuers::IssuerMetrics;
use crate::telemetry::metrics::Metrics;
use crate::trace::{Queue, Sampler, Tracer};
use crate::upstream::{Lookup, SystemLookup, Upstream};

/// What all generations share.
pub(super) struct Shared {
    pub(super) metrics: Arc<Metrics>,
    pub(super) resources: Arc<Resources>,
    pub(super) lookup: Arc<dyn Lookup>,
    pub(super) clock: Clock,
    pub(super) exporter: Arc<Exporter>,
}

impl Shared {
    /// Notes that the files of a generation that is in force have been read, and forgets resources that it does not have.
    pub(super) fn note_files(&self, generation: &Generation) {
        let from_issuers = |kind| matches!(kind, Kind::Keys | Kind::IntrospectionEndpoint | Kind::Introspection);
        for (kind, name) in &generation.resources {
            let resource = self.resources.of(*kind, name);
            let is_server = matches!(
                kind,
                Kind::Directory | Kind::Upstream | Kind::Store | Kind::Revocations | Kind::Collector | Kind::Consents
            );
            if !from_issuers(*kind) && !is_server {
                resource.succeeded();
            }
        }
        self.resources.keep(&generation.resources);
    }
}

/// Builds a generation; during a reload, it keeps what must not be forgotten from the previous one.
pub(super) fn build(
    config: Config,
    shared: &Shared,
    now: UnixTime,
    before: Option<&Generation>,
) -> Result<Generation, StartError> {
    let Shared { metrics, resources, lookup, clock, exporter } = shared;
    let number = before.map_or(0, |before| before.number.wrapping_add(1));
    let overview = config.overview();
    let mut named = config.resources;
    named.insert((Kind::Configuration, config.file.display().to_string().into()));
    let tls_clock: Arc<dyn TimeProvider> = Arc::new(clock.clone());
    let (admin_tls, revocations, decisions) =
        config.admin.map_or((None, None, 0), |admin| (admin.tls, admin.revocations, admin.decisions));
    let admin_tls = match (admin_tls, before.map(|before| &before.admin_tls)) {
        // Startup decides whether there is TLS; if a reload brings no settings, the previous ones remain.
        (_, Some(None)) | (None, None) => None,
        (None, Some(Some(before))) => Some(before.clone()),
        (Some(settings), _) => Some(Arc::new(settings.in_force(tls_clock.clone())?)),
    };
    let mut listeners = Vec::new();
    for listener in config.listeners {
        let mut hosts = Vec::new();
        for host in listener.hosts {
            hosts.push(VirtualHost {
                tls: host.tls.in_force(tls_clock.clone())?,
                trusted_proxy: host.trusted_proxy.map(TrustedProxy::new),
                origins: host.origins,
                cors: host.cors,
                errors: host.errors,
            });
        }
        listeners.push(VirtualHosts::new(hosts, number).behind(listener.balancers));
    }
    let observer = IssuerMetrics::new(metrics, resources, &config.issuers);
    let issuers = match before {
        None => Issuers::new(config.issuers, config.token_cache, Arc::new(observer))?,
        Some(before) => before.gateway.issuers.succeeding(config.issuers, config.token_cache, Arc::new(observer))?,
    };
    named.extend(issuers.resources().map(|(kind, issuer)| (kind, issuer.clone())));
    let names = config.directories.iter().map(|settings| &settings.name);
    let observer: Arc<dyn directory::Observer> = Arc::new(DirectoryMetrics::new(metrics, resources, names));
    let directories_before = before.map(|before| &*before.directories);
    let directories = Arc::new(Directories::new(config.directories, clock, &observer, directories_before)?);
    named.extend(directories.names().map(|name| (Kind::Directory, name.clone())));
    let names: Vec<_> = config.routes.iter().map(|route| route.name.clone()).chain([Arc::from("")]).collect();
    let counts = metrics.routes(&names);
    let stores: Vec<Arc<Store>> = config
        .stores
        .into_iter()
        .map(|settings| {
            named.insert((Kind::Store, settings.name.clone()));
            let mut known = before.iter().flat_map(|before| &before.stores);
            let hash = settings.hash();
            if let Some(known) = known.find(|known| known.settings().hash() == hash) {
                return known.clone();
            }
            let (observer, resource) = (metrics.store(&settings.name), resources.of(Kind::Store, &settings.name));
            let store = Store::new(settings, clock.clone(), Arc::new(observer), resource);
            Arc::new(if before.is_some() { store.on_trial() } else { store })
        })
        .collect();
    let replay_store = config.replay_store.and_then(|index| stores.get(index));
    let shared = config.shared_revocations.and_then(|sharing| Some((stores.get(sharing.store)?.clone(), sharing)));
    let issuers = issuers.with_revocations(revocations);
    let issuers = match shared {
        Some((store, sharing)) => {
            let name = store.settings().name.clone();
            let resource = resources.of(Kind::Revocations, &name);
            named.insert((Kind::Revocations, name));
            let issuers_before = before.map(|before| &*before.gateway.issuers);
            issuers.sharing_revocations((store, sharing), clock.clone(), resource, issuers_before)
        }
        None => issuers,
    };
    let in_shadow =
        |route: &&Arc<Route>| route.policy().and_then(Policy::shadow).is_some_and(|shadow| now < shadow.end());
    for route in config.routes.iter().filter(in_shadow) {
        metrics.begin_shadow(&route.name);
    }
    for route in config.routes.iter().filter(|route| route.policy().is_some_and(|policy| policy.signature().is_some()))
    {
        metrics.begin_signatures(&route.name);
    }
    let replay_limits = ReplayLimits {
        shared: replay_store.map(|store| store.settings().place()),
        capacity: config.replay,
        max_age: config.freshness.max_age,
        nonce_lifetime: config.freshness.nonces.lifetime(),
    };
    let (replay, proof_keys) = match before {
        Some(before) => (before.gateway.replay.clone(), before.gateway.proof_keys.clone()),
        None => {
            let log = MemoryLog::new(replay_limits.capacity, now);
            let log = ReplayLog::new(log, Arc::new(metrics.replay("memory")), clock.clone());
            (Arc::new(log), Arc::new(KnownKeys::new(PROOF_KEYS)) as Arc<dyn ProofKeys>)
        }
    };
    let idempotency_keys = match before {
        Some(before) => before.gateway.idempotency_keys.clone(),
        None => Arc::new(IdempotencyKeys::new(replay_limits.capacity, clock.clone())),
    };
    let shared_replay = replay_store.map(|store| {
        let (observer, alone) =
            (metrics.replay(&store.settings().name), replay.alone(config.replay_alone, replay_limits.capacity));
        Arc::new(SharedLog::new(store.clone(), Arc::new(observer), alone, clock.clone()))
    });
    let limited_before = before.and_then(|before| before.gateway.rate_limits.as_ref());
    let rate_limited = |route: &str, by: By| metrics.rate_limited(route, by);
    let shared = config.rate_limits_store.and_then(|index| stores.get(index));
    let shared = shared.map(|store| SharedLimits {
        store: store.clone(),
        untold: metrics.rate_limit_uses_untold(&store.settings().name),
    });
    let rate_limits = RateLimits::new(&config.rate_limits, limited_before, shared, clock, rate_limited);
    let collector = config.tracing.as_ref().map(|settings| {
        named.insert((Kind::Collector, COLLECTOR.into()));
        Collector::new(&settings.peer, resources.of(Kind::Collector, COLLECTOR)).map(Arc::new)
    });
    let sampler = |settings: otlp::Settings| Sampler::new(settings.sampling, settings.max_client_sampled);
    let tracer = config.tracing.map(|settings| Tracer::new(sampler(settings), exporter.queue().clone()));
    let bodies = config.routes.iter().filter_map(|route| route.limits.body_bytes);
    let largest_body = bodies.fold(config.limits.body_bytes, u64::max);
    let timings = config.upstreams.iter().map(|settings| metrics.upstream(&settings.name)).collect();
    let upstreams = config.upstreams.into_iter().map(|settings| {
        named.insert((Kind::Upstream, settings.name.clone()));
        let resource = resources.of(Kind::Upstream, &settings.name);
        let upstream = Upstream::new(settings, lookup.clone(), resource);
        Arc::new(match before {
            Some(before) => upstream.succeeding(&before.upstreams),
            None => upstream,
        })
    });
    let upstreams = upstreams.collect();
    named.extend(config.consents.iter().filter_map(|source| Some((Kind::Consents, source.name()?.clone()))));
    let consents = Consents::new(config.consents, before.map(|before| &before.gateway.consents), |name| {
        (Arc::new(metrics.consents(name)), resources.of(Kind::Consents, name))
    })?;
    let authorization_servers = AuthorizationServers::new(
        config.authorization_servers,
        &stores,
        clock,
        before.map(|before| &before.gateway.authorization_servers),
    )?;
    Ok(Generation {
        number,
        resources: named,
        was_ready: AtomicBool::new(false),
        listeners,
        admin_tls,
        signing: config.signing,
        overview,
        decisions,
        counts,
        replay_limits,
        timings,
        tracer,
        collector: collector.transpose()?,
        directories: directories.clone(),
        gateway: Gateway {
            participants: directories,
            body_bytes: config.limits.body_bytes,
            issuers: Arc::new(issuers),
            limits: message::Limits {
                header_bytes: config.limits.header_bytes,
                header_count: config.limits.header_count,
                token_bytes: config.limits.token_bytes,
                body_bytes: largest_body,
            },
            routes: config.routes,
            metadata: config.metadata,
            errors: config.errors.clone(),
            strip: config.strip,
            freshness: config.freshness,
            proof_keys,
            replay,
            shared_replay,
            idempotency_keys,
            rate_limits,
            client_keys: ClientKeySets::new(
                config.client_keys,
                &authorization_servers,
                clock,
                before.map(|before| &before.gateway.client_keys),
            )?,
            authorization_servers,
            consents,
        },
        upstreams,
        stores,
        limits: config.limits,
        on_overflow: config.audit.on_overflow,
        pseudonyms: config.audit.pseudonyms,
        evidence: config.audit.evidence,
        drain: config.drain,
    })
}

/// Builds a generation that serves nobody, in which no proof has been used and no token revoked yet, and what is noted of its
/// resources: for `explain`.
///
/// # Errors
/// [`StartError`].
pub fn detached(mut config: Config, clock: Clock) -> Result<(Generation, Arc<Resources>), StartError> {
    let shared = Shared {
        metrics: Arc::new(Metrics::new()?),
        resources: Arc::new(Resources::new(clock.clone())),
        lookup: Arc::new(SystemLookup),
        clock,
        exporter: Arc::new(Exporter::new(Arc::new(Queue::new(Arc::new(()))))),
    };
    config.tracing = None;
    // Nobody keeps a connection to a store, so that none would ever answer.
    config.replay_store = None;
    config.replay_alone = Vec::new();
    config.rate_limits_store = None;
    config.shared_revocations = None;
    config.stores.clear();
    Ok((build(config, &shared, UnixTime(0), None)?, shared.resources))
}

/// What the collector of spans is called.
const COLLECTOR: &str = "otlp";
/// How many parsed proof keys are cached, of up to about 1 KiB each.
const PROOF_KEYS: u64 = 50_000;
