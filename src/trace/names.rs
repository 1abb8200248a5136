//! The names of attributes: those of OpenTelemetry's semantic conventions where there are any, and the gateway's own.

/// The method, or `_OTHER`.
pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
/// How many times the request was sent before.
pub const HTTP_REQUEST_RESEND_COUNT: &str = "http.request.resend_count";
/// The status.
pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
/// The path of the route, as gateway.yaml has it.
pub const HTTP_ROUTE: &str = "http.route";
/// The same on the span of the exchange: the path that was sent names customers' accounts.
pub const URL_PATH: &str = "url.path";
/// The same on the span of a request to an upstream.
pub const URL_TEMPLATE: &str = "url.template";
/// `https` or `http`.
pub const URL_SCHEME: &str = "url.scheme";
/// The host: of the origin, of an upstream's server, or of an issuer.
pub const SERVER_ADDRESS: &str = "server.address";
/// The port beside it.
pub const SERVER_PORT: &str = "server.port";
/// The IP address of an upstream's server.
pub const NETWORK_PEER_ADDRESS: &str = "network.peer.address";
/// The port beside it.
pub const NETWORK_PEER_PORT: &str = "network.peer.port";
/// The version of HTTP.
pub const NETWORK_PROTOCOL_VERSION: &str = "network.protocol.version";
/// A code, a status, or how an upstream failed.
pub const ERROR_TYPE: &str = "error.type";

/// The `name` of the route.
pub const ROUTE: &str = "fapi.route";
/// The decision, as in the audit.
pub const DECISION: &str = "fapi.decision";
/// The code, as in the audit.
pub const CODE: &str = "fapi.code";
/// The step of the line that refused the request.
pub const STEP: &str = "fapi.step";
/// The code with which the request would have been refused, if its route were not in shadow.
pub const WOULD_DENY: &str = "fapi.would_deny";
/// The `x-fapi-interaction-id`, by which the audit is searched.
pub const INTERACTION_ID: &str = "fapi.interaction_id";
/// The `name` of an issuer.
pub const ISSUER: &str = "fapi.issuer";
/// The `name` of an upstream.
pub const UPSTREAM: &str = "fapi.upstream";
/// `memory`, or the name of a store.
pub const STORE: &str = "fapi.store";
