//! A page for people at `/`, and `/livez`, `/readyz`, `/status`, `/metrics`, `/jwks.json`, `/decisions`, `/log` and
//! `/revocations`, on a separate listener that outlives the data listeners.

mod accept;
mod body;
mod decisions;
mod heartbeats;
mod key_set;
mod log;
mod page;
mod places;
mod readers;
mod readiness;
mod revocations;
mod status;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use http::{HeaderMap, Method, Response, StatusCode, header};
use pingora::protocols::http::ServerSession;

use crate::clock::Clock;
use crate::connection::drain::Drain;
use crate::generation::Generation;
use crate::resource::Resources;
use crate::telemetry::lines::{Health, Recent};
use crate::telemetry::logging;
use crate::telemetry::metrics::{Current, Format, Lost, Metrics};

pub use self::accept::{AdminListener, Entrance};
pub use self::heartbeats::{Heartbeats, Pulse};
pub use self::places::MAX_CONNECTIONS;
use self::places::Place;
use self::readiness::accepts;

/// What the admin listener serves.
pub struct Admin {
    /// The current generation; the gateway is ready once the keys of its issuers have been read.
    pub generation: Arc<ArcSwap<Generation>>,
    /// The metrics that are scraped.
    pub metrics: Arc<Metrics>,
    /// How the last attempts to read each resource went.
    pub resources: Arc<Resources>,
    /// Whether the data plane is alive.
    pub heartbeats: Arc<Heartbeats>,
    /// Whether the audit can be written.
    pub audit: Arc<Health>,
    /// The last lines of the audit.
    pub recent: Arc<Recent>,
    /// Whether the gateway is shutting down.
    pub drain: Arc<Drain>,
    /// The clock.
    pub clock: Clock,
    /// Who can reach the listener.
    pub entrance: Entrance,
    /// Whether clients are served: not before names and stores were asked for the first time, or waited for in vain.
    pub serves: Arc<AtomicBool>,
    /// Whether the replay log was once old enough for proofs without nonces. A reload that restarts it does not make the
    /// gateway unready.
    pub replay_log_known: AtomicBool,
}

impl Admin {
    fn render(&self, format: Format) -> Vec<u8> {
        let generation = self.generation.load();
        let servers = generation.upstreams.iter().flat_map(|upstream| {
            let census = upstream.census();
            let states = [("healthy", census.healthy), ("ejected", census.ejected), ("unhealthy", census.unhealthy)];
            states.map(|(state, count)| (&**upstream.name(), state, count))
        });
        let ages = generation.directories.ages();
        let current = Current {
            issuers: &generation.gateway.issuers,
            directories: ages.filter_map(|(name, age)| Some((&**name, age?))).collect(),
            servers: servers.collect(),
            stores: generation.stores.iter().map(|store| (&*store.settings().name, store.is_connected())).collect(),
            guarantees: generation.guarantees(self.clock.unix_time()),
            resources: self.resources.reports(),
            replay_entries: generation.gateway.replay.entries(),
            lost: Lost { audit: self.audit.lost(), log: logging::lines_lost() },
            now: self.clock.unix_time(),
        };
        self.metrics.render(&current, format)
    }

    /// Answers a request whose header section has been read.
    async fn answer(&self, session: &mut ServerSession, place: &Place) -> Response<Vec<u8>> {
        if session.req_header().uri.path() == "/revocations" {
            return self.take_revocation(session, place).await;
        }
        if session.req_header().uri.path() == "/log" {
            return self.serve_log(session, place).await;
        }
        if decisions::below_decisions(session.req_header().uri.path()).is_some() {
            return self.serve_decisions(session);
        }
        if session.req_header().uri.path() == "/" {
            return self.serve_page(session);
        }
        let request = session.req_header();
        if request.uri.path() == "/jwks.json" {
            return self.serve_key_set(&request.method);
        }
        self.state(&request.method, request.uri.path(), &request.headers)
    }

    fn state(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Vec<u8>> {
        let (status, kind, body) = match (path, *method == Method::GET || *method == Method::HEAD) {
            ("/livez" | "/readyz" | "/status" | "/metrics", false) => {
                (StatusCode::METHOD_NOT_ALLOWED, TEXT, Vec::new())
            }
            ("/livez", true) => match self.heartbeats.stuck() {
                None => (StatusCode::OK, TEXT, b"ok\n".to_vec()),
                Some(reasons) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, reasons.into_bytes()),
            },
            ("/readyz", true) => self.readiness(headers),
            ("/status", true) => (StatusCode::OK, JSON, self.status()),
            ("/metrics", true) if accepts(headers, "application/openmetrics-text") => {
                (StatusCode::OK, OPENMETRICS, self.render(Format::OpenMetrics))
            }
            ("/metrics", true) => (StatusCode::OK, METRICS, self.render(Format::Prometheus)),
            _ => (StatusCode::NOT_FOUND, TEXT, PATHS.to_vec()),
        };
        let mut response = plain(status, kind, body);
        if status == StatusCode::METHOD_NOT_ALLOWED {
            allow("GET, HEAD", &mut response);
        }
        if *method == Method::HEAD {
            response.body_mut().clear();
        }
        response
    }
}

fn plain(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let length = response.body().len();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    // RFC 9110 §8.6: a response with status 204 has no Content-Length.
    if status != StatusCode::NO_CONTENT {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

/// RFC 9110 §15.5.6: "The origin server MUST generate an Allow header field in a 405 response".
fn allow(methods: &'static str, response: &mut Response<Vec<u8>>) {
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(methods));
}

/// Why nothing is read or changed by somebody without a certificate where one is needed.
const UNAUTHENTICATED: &str = "the connection has no client certificate that leads to a trust anchor of admin.tls";

/// What an operator finds at any other path. `/decisions`, `/log` and `/revocations` are there only where they are allowed.
const PATHS: &[u8] =
    b"the paths are /livez, /readyz, /status, /metrics, /jwks.json and, where they are allowed, /decisions, /log, /revocations and, for browsers, /\n";

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
