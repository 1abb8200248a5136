//! `metadata`: the documents about protected resources.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::scalar::Duration;

/// Public documents that tell clients how to call the resources (RFC 9728), made from the routes. They are at
/// `/.well-known/oauth-protected-resource`, with the path of the resource after it, and challenges lead to them.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Metadata {
    /// The resources that have a document. Default: one for each origin of the listeners at which a route needs a token.
    #[schemars(length(min = 1))]
    pub(in crate::config) resources: Option<Vec<Resource>>,
    /// How long caches may keep a document, and so how late a change is noticed; from 0s to 1h.
    #[schemars(extend("default" = "300s"))]
    pub(in crate::config) max_age: Option<Duration>,
    /// Whether a document has its members once more in `signed_metadata`, a JWT that the first key of `signing` signs (RFC 9728
    /// section 2.2).
    #[schemars(extend("default" = false))]
    pub(in crate::config) signed: Option<bool>,
    /// The https URL at which everybody can read the key set of `signing`, as the documents say it. Default: they do not say.
    pub(in crate::config) jwks_uri: Option<String>,
}

/// A protected resource: every URL at or below its identifier, but for what is below the identifier of another.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Resource {
    /// Its identifier: an https URL at an origin of the listeners, as clients write it.
    #[schemars(required)]
    pub(in crate::config) resource: Option<String>,
    /// Its name, for people. Default: none.
    pub(in crate::config) resource_name: Option<String>,
    /// The URL of its documentation, for developers. Default: none.
    pub(in crate::config) resource_documentation: Option<String>,
}
