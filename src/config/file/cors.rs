//! `cors` of a listener and of a route.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::scalar::Duration;

/// What scripts of other origins may send and read (CORS, Fetch standard). It is no part of the decision about a request, except
/// that preflights for allowed origins and methods are answered by the gateway, without credentials.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Cors {
    /// The origins of the scripts, as browsers send them, such as `https://app.example`. Empty, on a route only: none, whatever
    /// the listener says.
    #[schemars(required)]
    pub(in crate::config) allowed_origins: Option<Vec<String>>,
    /// The headers that scripts may set.
    #[schemars(extend("default" = ["Authorization", "DPoP", "Content-Type", "x-fapi-interaction-id"]))]
    pub(in crate::config) allowed_headers: Option<Vec<String>>,
    /// The headers of answers that scripts may read, besides `DPoP-Nonce`, `WWW-Authenticate`, `x-fapi-interaction-id` and
    /// `Retry-After`.
    #[schemars(extend("default" = []))]
    pub(in crate::config) exposed_headers: Option<Vec<String>>,
    /// How long a browser may remember the answer to a preflight.
    #[schemars(extend("default" = "600s"))]
    pub(in crate::config) max_age: Option<Duration>,
    /// Whether browsers may send cookies and client certificates, and let scripts read the answers; not needed for tokens.
    #[schemars(extend("default" = false))]
    pub(in crate::config) allow_credentials: Option<bool>,
}
