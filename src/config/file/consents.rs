//! `consents`, and `routes[].require.consent`: the consent that a request uses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::scalar::{Duration, FilePath};

/// A service that is asked by GET in which state a consent is. It answers with a JSON object and 200, or with 404 if there is no such
/// consent; anything else is an error, and requests are refused with 503.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ConsentService {
    /// Where: an https URL with `{consent_id}` as a whole segment of the path or value of the query, and perhaps `{client_id}` as
    /// another.
    #[schemars(required)]
    pub(in crate::config) url: Option<String>,
    /// The JSON pointer to the state in the answer, such as `/data/status` (RFC 6901).
    #[schemars(required)]
    pub(in crate::config) status: Option<String>,
    /// The JSON pointer to the `client_id` that the consent was given to, which then has to be the token's. Default: whose it is, the
    /// answer does not say.
    pub(in crate::config) client: Option<String>,
    /// PEM files with the authorities that its certificate chains to. Default: the system's.
    #[schemars(length(min = 1))]
    pub(in crate::config) trust_anchors: Option<Vec<FilePath>>,
    /// PEM file with the certificate chain that the gateway presents; requires `private_key`. Default: none.
    pub(in crate::config) certificate: Option<FilePath>,
    /// PEM file with the key of that certificate.
    pub(in crate::config) private_key: Option<FilePath>,
    /// How long one call may take, and how long it may wait for its turn; from 1ms to 30s.
    #[schemars(extend("default" = "2s"))]
    pub(in crate::config) timeout: Option<Duration>,
    /// How many calls may be in progress at a time.
    #[schemars(range(min = 1, max = 1000), extend("default" = 64))]
    pub(in crate::config) max_calls: Option<u64>,
    /// How many requests may wait for an answer at a time; more are answered with 503.
    #[schemars(range(min = 1, max = 100_000), extend("default" = 1024))]
    pub(in crate::config) max_waiting: Option<u64>,
    /// How many of these may be of one client, up to `max_waiting`; more are answered with 429. Default: a quarter of `max_waiting`, but
    /// no fewer than 16.
    #[schemars(range(min = 1))]
    pub(in crate::config) max_waiting_per_client: Option<u64>,
    /// How long an answer counts.
    pub(in crate::config) cache: Option<ConsentCache>,
}

/// How long an answer about a consent counts. A consent that is revoked at `admin.revocations` is refused at once.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ConsentCache {
    /// How long it is used, from the moment it was asked for, up to 5m; 0s asks for each request.
    #[schemars(extend("default" = "5s"))]
    pub(in crate::config) max_age: Option<Duration>,
    /// How much longer the last answer is used while the service does not answer as it must, up to 24h; 0s refuses with 503.
    #[schemars(extend("default" = "0s"))]
    pub(in crate::config) stale_for: Option<Duration>,
    /// How many answers are remembered; the least recently used are forgotten first.
    #[schemars(range(min = 1), extend("default" = 100_000))]
    pub(in crate::config) max_entries: Option<u64>,
}

/// The consent that a request uses: which one, whether the request is for it, and in which state it has to be.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RequiredConsent {
    /// Where its id is.
    #[schemars(required)]
    pub(in crate::config) id: Option<ConsentPlace>,
    /// What of the request has to be the same id. Default: nothing.
    pub(in crate::config) equals: Option<ConsentUse>,
    /// Who says in which state it is, and which states are accepted.
    #[schemars(required)]
    pub(in crate::config) status: Option<ConsentStatus>,
}

/// Where the id of a consent is: in one of these places.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    { "required": ["claim"] },
    { "required": ["scope"] },
    { "required": ["authorization_details"] },
    { "required": ["header"] },
    { "required": ["path"] },
]))]
pub(in crate::config) struct ConsentPlace {
    /// The JSON pointer to a claim of the token, such as `/consent_id` (RFC 6901).
    pub(in crate::config) claim: Option<String>,
    /// How the one scope begins whose rest is the id, such as `consent:`.
    pub(in crate::config) scope: Option<String>,
    /// A member of the token's `authorization_details`.
    pub(in crate::config) authorization_details: Option<ConsentDetail>,
    /// A variable of the path, by its name; the answer about the consent then says whose it is, by `client`.
    pub(in crate::config) path: Option<String>,
    /// A header field of the request, such as `Consent-ID`; the answer about the consent then says whose it is, by `client`.
    pub(in crate::config) header: Option<String>,
}

/// A member of the elements of `authorization_details` of one type.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ConsentDetail {
    /// The type of the elements; all that the token has name the same consent.
    #[serde(rename = "type")]
    #[schemars(required)]
    pub(in crate::config) kind: Option<String>,
    /// The JSON pointer to the id from the element, such as `/consent_id` (RFC 6901).
    #[schemars(required)]
    pub(in crate::config) member: Option<String>,
}

/// What of a request is the id of its consent: one of these.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["path"] }, { "required": ["query"] }, { "required": ["header"] }]))]
pub(in crate::config) struct ConsentUse {
    /// The variable of the path with this name.
    pub(in crate::config) path: Option<String>,
    /// The parameter of the query with this name.
    pub(in crate::config) query: Option<String>,
    /// The header field with this name, such as `Consent-ID`.
    pub(in crate::config) header: Option<String>,
}

/// Who says in which state a consent is, the token or a service, and which states are accepted.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["claim"] }, { "required": ["ask"] }]))]
pub(in crate::config) struct ConsentStatus {
    /// The JSON pointer to the claim of the token that says it, such as `/consent/status` (RFC 6901).
    pub(in crate::config) claim: Option<String>,
    /// The service that says it: one of `consents`.
    pub(in crate::config) ask: Option<String>,
    /// The states in which the consent can be used, compared exactly. Default: what the ecosystem of the route calls such a state;
    /// required without one that has a name for it.
    #[schemars(length(min = 1))]
    pub(in crate::config) one_of: Option<Vec<String>>,
}
