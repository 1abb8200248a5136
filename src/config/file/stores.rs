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
    /// Its server, such as `rediss://redis.bank.svc:6379`; `redis://` is in the clear. One, until there are other modes.
    #[schemars(required, length(min = 1, max = 1))]
    pub(in crate::config) servers: Option<Vec<String>>,
    /// TLS to a `rediss` server.
    pub(in crate::config) tls: Option<ServerTls>,
    /// File with the name of the ACL user. Default: the user `default`.
    pub(in crate::config) username_file: Option<FilePath>,
    /// File with its password. Default: none.
    pub(in crate::config) password_file: Option<FilePath>,
    /// The number of the database.
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
}
