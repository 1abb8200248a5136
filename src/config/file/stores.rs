//! `stores`: servers in which replicas share what they remember.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::scalar::{Duration, FilePath};
use super::ServerTls;

/// A Redis or Valkey server, from Redis 6.0 on, in which replicas share what they remember.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Store {
    /// What it is; Valkey is `redis` too.
    #[schemars(extend("default" = "redis"))]
    pub(in crate::config) kind: Option<StoreKind>,
    /// How its servers work together.
    #[schemars(extend("default" = "single"))]
    pub(in crate::config) mode: Option<StoreMode>,
    /// Its server, such as `rediss://redis.bank.svc:6379`; `redis://` is in the clear. With `mode: sentinel` up to 16 sentinels, with
    /// `mode: cluster` up to 16 servers of the cluster.
    #[schemars(required, length(min = 1, max = 16))]
    pub(in crate::config) servers: Option<Vec<String>>,
    /// What the sentinels are asked for; with `mode: sentinel` only.
    pub(in crate::config) sentinel: Option<Sentinel>,
    /// TLS to `rediss` servers, sentinels among them. Without `server_name`, each certificate must have the name or address that
    /// the server is reached by, which with Sentinel and Cluster is what other servers say.
    pub(in crate::config) tls: Option<ServerTls>,
    /// File with the name of the ACL user. Default: the user `default`.
    pub(in crate::config) username_file: Option<FilePath>,
    /// File with its password. Default: none.
    pub(in crate::config) password_file: Option<FilePath>,
    /// The number of the database; a cluster has only `0`.
    #[schemars(range(min = 0, max = 65535), extend("default" = 0))]
    pub(in crate::config) database: Option<u64>,
    /// What every key in it begins with; letters, digits, `-`, `_`, `.` and `:`, at most 64.
    #[schemars(extend("default" = "fapi:"))]
    pub(in crate::config) prefix: Option<String>,
    /// How long each answer is waited for; from 1ms to 5s.
    #[schemars(extend("default" = "50ms"))]
    pub(in crate::config) timeout: Option<Duration>,
    /// How many questions may wait for their answers at a time.
    #[schemars(range(min = 1, max = 100_000), extend("default" = 2_000))]
    pub(in crate::config) max_in_flight: Option<u64>,
    /// How many replicas of the server must have what is written before it counts.
    #[schemars(range(min = 0, max = 100), extend("default" = 0))]
    pub(in crate::config) min_replicas: Option<u64>,
}

/// What kind of server a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum StoreKind {
    /// Redis, or Valkey.
    #[default]
    Redis,
}

/// How the servers of a store work together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum StoreMode {
    /// One server, or one name that leads to the primary.
    #[default]
    Single,
    /// Sentinels, which are asked for the primary.
    Sentinel,
    /// A cluster: one of its servers holds all entries.
    Cluster,
}

/// What the sentinels of a store are asked for.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Sentinel {
    /// What the sentinels call the primary and its replicas; letters, digits, `-`, `_`, `.` and `:`, at most 64.
    #[schemars(required)]
    pub(in crate::config) master: Option<String>,
    /// File with the name of the ACL user at the sentinels. Default: the user `default`.
    pub(in crate::config) username_file: Option<FilePath>,
    /// File with its password. Default: none.
    pub(in crate::config) password_file: Option<FilePath>,
}

/// Where revocations are kept, and how sure a replica is of those of the others.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct SharedRevocations {
    /// Where they are kept: `memory` is that of this process alone; any other is the name of one of `stores`, in which replicas
    /// share them, also those that accept none themselves.
    #[schemars(extend("default" = "memory"))]
    pub(in crate::config) store: Option<String>,
    /// How many are kept in the store at a time, the same at all replicas; more are answered with 503. Only with a store. The
    /// default is that of `admin.revocations`, or else 100000.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(in crate::config) max_entries: Option<u64>,
    /// How long it may be ago that the store was last asked for new ones, from 2s to 24h; after that, requests with a token
    /// are answered with 503. Only with a store. Default: any time, so that requests go on with what is known.
    pub(in crate::config) max_age: Option<Duration>,
}
