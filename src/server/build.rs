//! Builds a generation from a configuration.

use std::sync::Arc;

use fapi::UnixTime;
use fapi::dpop::ProofKeys;
use fapi::message;
use rustls::time_provider::TimeProvider;

use super::StartError;
use crate::clock::Clock;
use crate::config::Config;
use crate::connection::trusted_proxy::TrustedProxy;
use crate::connection::{VirtualHost, VirtualHosts};
use crate::gateway::Gateway;
use crate::generation::{Generation, KeptFor};
use crate::issuer::Issuers;
use crate::replay::ReplayLog;
use crate::replay::keys::KnownKeys;
use crate::replay::memory::MemoryLog;
use crate::telemetry::metrics::{IssuerMetrics, Metrics};
use crate::upstream::Upstream;

/// Builds a generation; during a reload, it keeps what must not be forgotten from the previous one.
pub(super) fn build(
    config: Config,
    metrics: &Arc<Metrics>,
    clock: &Clock,
    now: UnixTime,
    before: Option<&Generation>,
) -> Result<Generation, StartError> {
    let number = before.map_or(0, |before| before.number.wrapping_add(1));
    let time = clock.clone();
    let clock: Arc<dyn TimeProvider> = Arc::new(clock.clone());
    let (admin_tls, revocations) = config.admin.map_or((None, None), |admin| (admin.tls, admin.revocations));
    let admin_tls = match (admin_tls, before.map(|before| &before.admin_tls)) {
        // Startup decides whether there is TLS; if a reload brings no settings, the previous ones remain.
        (_, Some(None)) | (None, None) => None,
        (None, Some(Some(before))) => Some(before.clone()),
        (Some(settings), _) => Some(Arc::new(settings.in_force(clock.clone())?)),
    };
    let mut listeners = Vec::new();
    for listener in config.listeners {
        let mut hosts = Vec::new();
        for host in listener.hosts {
            hosts.push(VirtualHost {
                tls: host.tls.in_force(clock.clone())?,
                trusted_proxy: host.trusted_proxy.map(TrustedProxy::new),
                origins: host.origins,
                cors: host.cors,
            });
        }
        listeners.push(VirtualHosts::new(hosts, number).behind(listener.balancers));
    }
    let observer = IssuerMetrics::new(metrics, config.issuers.iter().map(|settings| &settings.expected.name));
    let issuers = match before {
        None => Issuers::new(config.issuers, config.token_cache, Arc::new(observer))?,
        Some(before) => before.gateway.issuers.succeeding(config.issuers, config.token_cache, Arc::new(observer))?,
    };
    let names = config.routes.iter().map(|route| route.name.clone()).chain([Arc::from("")]);
    let counts = names.map(|name| (name.clone(), metrics.route(&name))).collect();
    let kept_for = KeptFor {
        replay: config.replay,
        max_age: config.freshness.max_age,
        nonce_lifetime: config.freshness.nonces.lifetime(),
    };
    let (replay, proof_keys) = match before {
        Some(before) => (before.gateway.replay.clone(), before.gateway.proof_keys.clone()),
        None => {
            let log = MemoryLog::new(kept_for.replay, now);
            let log = ReplayLog::memory(log, Arc::new(metrics.replay("memory")), time);
            (Arc::new(log), Arc::new(KnownKeys::new(PROOF_KEYS)) as Arc<dyn ProofKeys>)
        }
    };
    let bodies = config.routes.iter().filter_map(|route| route.limits.body_bytes);
    let largest_body = bodies.fold(config.limits.body_bytes, u64::max);
    Ok(Generation {
        number,
        listeners,
        admin_tls,
        counts,
        kept_for,
        timings: config.upstreams.iter().map(|settings| metrics.upstream(&settings.name)).collect(),
        gateway: Gateway {
            body_bytes: config.limits.body_bytes,
            issuers: Arc::new(issuers.with_revocations(revocations)),
            limits: message::Limits {
                header_bytes: config.limits.header_bytes,
                header_count: config.limits.header_count,
                token_bytes: config.limits.token_bytes,
                body_bytes: largest_body,
            },
            routes: config.routes,
            strip: config.strip,
            freshness: config.freshness,
            proof_keys,
            replay,
        },
        upstreams: config.upstreams.into_iter().map(|settings| Arc::new(Upstream::new(settings))).collect(),
        limits: config.limits,
        drain: config.drain,
    })
}

/// How many parsed proof keys are cached, of up to about 1 KiB each.
const PROOF_KEYS: u64 = 50_000;
