//! What a reload replaces as a whole; an exchange takes one generation and ends with it.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::Histogram;

use crate::connection::VirtualHosts;
use crate::connection::drain;
use crate::connection::limits::Limits;
use crate::connection::tls::InForce;
use crate::gateway::Gateway;
use crate::telemetry::metrics::RouteMetrics;
use crate::upstream::Upstream;

/// The limits that a replay log is kept under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptFor {
    /// How many proofs it holds.
    pub max_entries: usize,
    /// How long a proof lives by its `iat`.
    pub max_age: u64,
    /// How long a nonce lives.
    pub nonce_lifetime: u64,
}

/// Everything that came out of one reading of the configuration.
pub struct Generation {
    /// The limits that the gateway's replay log is kept under.
    pub kept_for: KeptFor,
    /// Tells one generation from the next.
    pub number: u64,
    /// What decides.
    pub gateway: Gateway,
    /// Where permits lead, by the index that routes name.
    pub upstreams: Vec<Arc<Upstream>>,
    /// What each listener serves.
    pub listeners: Vec<VirtualHosts>,
    /// The TLS of the admin listener, if it has any.
    pub admin_tls: Option<Arc<InForce>>,
    /// The bounds of a message.
    pub limits: Limits,
    /// How long the end of the gateway may take.
    pub drain: drain::Settings,
    /// Where exchanges are counted, by the name of their route; the empty name is for those that matched none.
    pub counts: HashMap<Arc<str>, RouteMetrics>,
    /// Where upstreams are timed, in the order of `upstreams`.
    pub timings: Vec<Histogram>,
}
