//! `errors` and `error_templates`: the body that tells a client of a refusal.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A JSON object in the form that others prescribe, such as the rules of an ecosystem.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ErrorTemplate {
    /// The value of `Content-Type`: `application/json`, or another in `application` that ends in `+json`.
    #[schemars(extend("default" = "application/json"))]
    pub(in crate::config) media_type: Option<String>,
    /// The object. In its strings `{status}`, `{reason}`, `{error}`, `{error_name}`, `{error_description}`, `{interaction_id}` and
    /// `{time}` stand for what they name.
    #[schemars(required, length(min = 1))]
    pub(in crate::config) body: Option<serde_json::Map<String, serde_json::Value>>,
    /// What `{error_name}` is for each error, such as `invalid_token`. Default: the error itself.
    #[schemars(length(min = 1))]
    pub(in crate::config) error_names: Option<BTreeMap<String, String>>,
    /// What `{error_name}` is for single codes of refusals, such as `signature_missing`, before that of the error. They tell clients
    /// which check failed: for those of which an ecosystem prescribes that. Default: none.
    #[schemars(length(min = 1))]
    pub(in crate::config) code_names: Option<BTreeMap<String, String>>,
}
