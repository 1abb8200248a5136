//! `waivers`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::date::Date;

/// A rule of the profile that is suspended for one issuer, one route or one authorization server, and until when.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["issuer"] }, { "required": ["route"] }, { "required": ["authorization_server"] }]))]
pub(in crate::config) struct Waiver {
    /// The rule, by its id: one of those that `check --profile-report` shows as waivable.
    #[schemars(required)]
    pub(in crate::config) rule: Option<String>,
    /// The issuer for whose tokens it is suspended, by name.
    pub(in crate::config) issuer: Option<String>,
    /// The route for whose requests it is suspended, by name.
    pub(in crate::config) route: Option<String>,
    /// The authorization server behind the gateway for which it is suspended, by name.
    pub(in crate::config) authorization_server: Option<String>,
    /// Why, for those who read the log and the report.
    #[schemars(required)]
    pub(in crate::config) reason: Option<String>,
    /// The first day, in UTC. Default: it counts from the start.
    pub(in crate::config) since: Option<Date>,
    /// The last day, in UTC, at most a year ahead.
    #[schemars(required)]
    pub(in crate::config) until: Option<Date>,
}
