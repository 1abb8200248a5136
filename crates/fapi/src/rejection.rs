//! Why a request is refused, and everything a client or a dashboard may see of it.
//!
//! One table, [`Code`], joins the stable fine code with its status and its OAuth error; one function,
//! [`Rejection::response`], is the only door a refusal leaves by (RFC 6750 §3, RFC 9110 §11.6.1). The fine code goes to
//! audit and metrics; the client gets the OAuth error and a fixed sentence.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::credentials::{CredentialsError, Scheme};
use super::dpop::DpopError;
use super::headers::InteractionId;
use super::hop::HopError;
use super::keys::Algorithm;
use super::message::MessageError;
use super::policy::PolicyError;
use super::route::{Origin, Route, RouteError};
use super::sender::SenderError;
use super::token::{ActiveToken, TokenError, TokenId};

/// The errors that RFC 6750 §3.1 registers; `None` in the table is a refusal without an error parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OAuthError {
    /// The request is malformed or uses more than one method to send a token.
    InvalidRequest,
    /// The token is not good for this request.
    InvalidToken,
    /// The token's scope does not cover this request.
    InsufficientScope,
    /// The DPoP proof is not good for this request (RFC 9449 §7.1).
    InvalidDpopProof,
    /// The DPoP proof needs a nonce (RFC 9449 §9).
    UseDpopNonce,
}

impl OAuthError {
    /// The registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
        }
    }

    /// The one sentence that a client is told; which check failed is for the audit alone.
    pub const fn description(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The request is malformed or carries its credentials more than once",
            Self::InvalidToken => "The access token is not valid for this request",
            Self::InsufficientScope => "The request needs a scope that the access token does not have",
            Self::InvalidDpopProof => "The DPoP proof is not valid for this request",
            Self::UseDpopNonce => "The DPoP proof must carry the nonce that comes with this answer",
        }
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal, $status:ident, $oauth:expr;)*) => {
        /// A stable, public name for each reason to refuse; never renamed, never used for another thing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[doc = $doc])* $name,)* }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name in audit and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The status that the client sees.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// The error in challenge and body, when the standard wants one.
            pub const fn oauth_error(self) -> Option<OAuthError> {
                match self { $(Self::$name => $oauth,)* }
            }

            /// What it means, in one sentence for the operator.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*).trim_ascii(),)* }
            }
        }
    };
}

use OAuthError::{InsufficientScope, InvalidDpopProof, InvalidRequest, InvalidToken, UseDpopNonce};

codes! {
    /// Content-Length and Transfer-Encoding contradict each other, are repeated or are malformed (RFC 9112 §6).
    FramingAmbiguous = "framing_ambiguous", BAD_REQUEST, None;
    /// A line ending, field name or field value that another parser may read differently (RFC 9112 §2.2, §5).
    HeaderMalformed = "header_malformed", BAD_REQUEST, None;
    /// The header section is larger than `limits.header_bytes` or has more than `limits.header_count` fields (RFC 6585 §5).
    HeaderTooLarge = "header_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, None;
    /// The request target alone is larger than `limits.header_bytes` (RFC 9110 §15.5.15).
    TargetTooLong = "target_too_long", URI_TOO_LONG, None;
    /// The body is larger than `limits.body_bytes` (RFC 9110 §15.5.14).
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, None;
    /// The header section did not arrive within `limits.header_timeout` (RFC 9110 §15.5.9).
    HeaderTimeout = "header_timeout", REQUEST_TIMEOUT, None;
    /// The body did not arrive within `limits.body_timeout`, or more slowly than `limits.body_min_rate` (RFC 9110 §15.5.9).
    BodyTimeout = "body_timeout", REQUEST_TIMEOUT, None;
    /// The client broke off its body, or framed it wrongly, while it was forwarded.
    BodyMalformed = "body_malformed", BAD_REQUEST, None;
    /// The client closed the connection before it had its response, so nobody saw a status.
    ClientGone = "client_gone", BAD_REQUEST, None;
    /// The client read nothing of its response for `limits.idle_timeout`; it was cut.
    ClientStalled = "client_stalled", REQUEST_TIMEOUT, None;
    /// The exchange had not ended within `limits.exchange_timeout`; it was cut (RFC 9110 §15.5.9).
    ExchangeTimeout = "exchange_timeout", REQUEST_TIMEOUT, None;
    /// No Host field, or more than one (RFC 9112 §3.2).
    HostMissing = "host_missing", BAD_REQUEST, None;
    /// Host, `:authority` and the target's authority contradict each other, or one of them is not a host (RFC 9110 §7.2).
    HostMalformed = "host_malformed", BAD_REQUEST, None;
    /// The host is not an origin of this listener, or not the name that the TLS handshake asked for (RFC 9110 §15.5.20).
    HostUnknown = "host_unknown", MISDIRECTED_REQUEST, None;
    /// A handshake would refuse this connection now: its certificate is required and no longer trusted, or its name is no longer served (RFC 9110 §15.5.20).
    ConnectionOutdated = "connection_outdated", MISDIRECTED_REQUEST, None;
    /// CONNECT, TRACE and methods that are not tokens are never forwarded (RFC 9110 §9.3.6, §9.3.8).
    MethodRefused = "method_refused", METHOD_NOT_ALLOWED, None;
    /// The request asks to switch to another protocol (RFC 9110 §7.8).
    UpgradeRefused = "upgrade_refused", BAD_REQUEST, None;
    /// A trusted proxy sent more than one client certificate, and nothing says which is the client's (RFC 9440 §2.4).
    ForwardedCertificateRepeated = "forwarded_certificate_repeated", BAD_REQUEST, None;
    /// What a trusted proxy sent as the client's certificate is not one in the dialect of the listener (RFC 9440 §2.1).
    ForwardedCertificateMalformed = "forwarded_certificate_malformed", BAD_REQUEST, None;
    /// The path can be read in more than one way (RFC 3986 §6).
    PathAmbiguous = "path_ambiguous", BAD_REQUEST, None;
    /// No route matches host and path; what no route names is refused.
    RouteNotFound = "route_not_found", NOT_FOUND, None;
    /// The route does not have this method (RFC 9110 §15.5.6).
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, None;
    /// The request has no access token (RFC 6750 §3).
    CredentialsMissing = "credentials_missing", UNAUTHORIZED, None;
    /// The only access token is in the query, which FAPI forbids (FAPI 2.0 §5.3.4 (2)).
    CredentialsInQuery = "credentials_in_query", UNAUTHORIZED, None;
    /// More than one Authorization field, or a token sent by more than one method (RFC 6750 §3.1).
    CredentialsRepeated = "credentials_repeated", BAD_REQUEST, Some(InvalidRequest);
    /// Authorization is not one scheme and one token68 (RFC 6750 §2.1).
    CredentialsMalformed = "credentials_malformed", BAD_REQUEST, Some(InvalidRequest);
    /// The route does not accept this authentication scheme (RFC 9110 §11.6.1).
    SchemeUnsupported = "scheme_unsupported", UNAUTHORIZED, None;
    /// The access token is larger than 16 KiB.
    TokenTooLarge = "token_too_large", UNAUTHORIZED, Some(InvalidToken);
    /// Not a compact JWS: parts, base64url, JSON grammar, duplicate members, depth (RFC 7515 §7.1, RFC 8725 §3).
    TokenMalformed = "token_malformed", UNAUTHORIZED, Some(InvalidToken);
    /// The token is encrypted (JWE); only signed ones are accepted (RFC 8725 §3.11).
    TokenEncrypted = "token_encrypted", UNAUTHORIZED, Some(InvalidToken);
    /// The header names an extension that must be understood, `crit` or `b64` (RFC 7515 §4.1.11).
    TokenCriticalHeader = "token_critical_header", UNAUTHORIZED, Some(InvalidToken);
    /// The header supplies a key of its own: `jwk`, `jku`, `x5u` or `x5c` (RFC 8725 §3.10, FAPI 2.0 §5.4.2).
    TokenKeySupplied = "token_key_supplied", UNAUTHORIZED, Some(InvalidToken);
    /// `alg` is not one of the issuer's algorithms: PS256, ES256, EdDSA (FAPI 2.0 §5.4.1).
    TokenAlgorithmRefused = "token_algorithm_refused", UNAUTHORIZED, Some(InvalidToken);
    /// `typ` is not `at+jwt` (RFC 9068 §4), or an introspected `token_type` is neither Bearer nor DPoP (RFC 7662 §2.2).
    TokenTypeWrong = "token_type_wrong", UNAUTHORIZED, Some(InvalidToken);
    /// `iss` is not an issuer that this route accepts (RFC 9068 §4).
    TokenIssuerUnknown = "token_issuer_unknown", UNAUTHORIZED, Some(InvalidToken);
    /// The issuer's key set has no key for this `kid` and algorithm.
    TokenKeyUnknown = "token_key_unknown", UNAUTHORIZED, Some(InvalidToken);
    /// The issuer's key is too small to be trusted: RSA below 2048 bits (FAPI 2.0 §5.4.1).
    TokenKeyWeak = "token_key_weak", UNAUTHORIZED, Some(InvalidToken);
    /// The signature is not valid.
    TokenSignatureInvalid = "token_signature_invalid", UNAUTHORIZED, Some(InvalidToken);
    /// A claim that RFC 9068 §2.2 requires is missing.
    TokenClaimMissing = "token_claim_missing", UNAUTHORIZED, Some(InvalidToken);
    /// A claim has the wrong JSON type or an impossible value (RFC 7519 §4.1).
    TokenClaimMalformed = "token_claim_malformed", UNAUTHORIZED, Some(InvalidToken);
    /// `aud` does not name this resource (RFC 9068 §4).
    TokenAudienceMismatch = "token_audience_mismatch", UNAUTHORIZED, Some(InvalidToken);
    /// `exp` has passed (RFC 9068 §4).
    TokenExpired = "token_expired", UNAUTHORIZED, Some(InvalidToken);
    /// `nbf` is more than 10 seconds ahead (FAPI 2.0 §5.3.2.1 (13)).
    TokenNotYetValid = "token_not_yet_valid", UNAUTHORIZED, Some(InvalidToken);
    /// `iat` is more than 10 seconds ahead (FAPI 2.0 §5.3.2.1 (13)).
    TokenIssuedInFuture = "token_issued_in_future", UNAUTHORIZED, Some(InvalidToken);
    /// The issuer says that the token is not active: unknown, expired or revoked (RFC 7662 §2.2).
    TokenInactive = "token_inactive", UNAUTHORIZED, Some(InvalidToken);
    /// The token was revoked at the gateway's `/revocations`: itself, its subject, client or session (FAPI 2.0 §5.3.4 (3)).
    TokenRevoked = "token_revoked", UNAUTHORIZED, Some(InvalidToken);
    /// The token has no `cnf`: anyone could send it (FAPI 2.0 §5.3.4 (5)).
    TokenUnbound = "token_unbound", UNAUTHORIZED, Some(InvalidToken);
    /// `cnf` is an empty object.
    ConfirmationEmpty = "confirmation_empty", UNAUTHORIZED, Some(InvalidToken);
    /// `cnf` has only the SHA-1 thumbprint `x5t` (RFC 8705 §3.1 wants `x5t#S256`).
    ConfirmationSha1 = "confirmation_sha1", UNAUTHORIZED, Some(InvalidToken);
    /// `x5t#S256` is written in hexadecimal (RFC 8705 §3.1 wants base64url).
    ConfirmationHex = "confirmation_hex", UNAUTHORIZED, Some(InvalidToken);
    /// `x5t#S256` is padded with `=` (RFC 7515 §2 omits padding).
    ConfirmationPadded = "confirmation_padded", UNAUTHORIZED, Some(InvalidToken);
    /// `x5t#S256` uses the `+` and `/` of standard base64 (RFC 7515 §2 wants base64url).
    ConfirmationStandardBase64 = "confirmation_standard_base64", UNAUTHORIZED, Some(InvalidToken);
    /// `cnf` or its thumbprint is of the wrong type or length (RFC 7800 §3.1).
    ConfirmationMalformed = "confirmation_malformed", UNAUTHORIZED, Some(InvalidToken);
    /// `cnf` names only methods that are not understood here (RFC 7800 §3.1).
    ConfirmationUnsupported = "confirmation_unsupported", UNAUTHORIZED, Some(InvalidToken);
    /// A token that is bound to a key came with scheme Bearer (RFC 9449 §7.2).
    DpopTokenAsBearer = "dpop_token_as_bearer", UNAUTHORIZED, Some(InvalidToken);
    /// A token that is not bound to a key came with scheme DPoP (RFC 9449 §7.1).
    DpopTokenUnbound = "dpop_token_unbound", UNAUTHORIZED, Some(InvalidToken);
    /// The token is bound to a certificate, and the client has none that is trusted (RFC 8705 §3).
    CertificateMissing = "certificate_missing", UNAUTHORIZED, Some(InvalidToken);
    /// The client's certificate has expired or is not valid yet (RFC 5280 §4.1.2.5).
    CertificateExpired = "certificate_expired", UNAUTHORIZED, Some(InvalidToken);
    /// The token is bound to another certificate than the client's (RFC 8705 §3).
    CertificateMismatch = "certificate_mismatch", UNAUTHORIZED, Some(InvalidToken);
    /// Scheme DPoP without a proof (RFC 9449 §7.1).
    DpopMissing = "dpop_missing", UNAUTHORIZED, Some(InvalidDpopProof);
    /// More than one DPoP field (RFC 9449 §4.3 (1)).
    DpopRepeated = "dpop_repeated", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof is not a compact JWS with one reading, or over 8 KiB (RFC 9449 §4.3 (2)).
    DpopMalformed = "dpop_malformed", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof's `typ` is not `dpop+jwt` (RFC 9449 §4.3 (4)).
    DpopTypeWrong = "dpop_type_wrong", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof's `alg` is not PS256, ES256 or EdDSA, or not its key's (RFC 9449 §4.3 (5)).
    DpopAlgorithmRefused = "dpop_algorithm_refused", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof's `jwk` holds private members (RFC 9449 §4.3 (7)).
    DpopKeyPrivate = "dpop_key_private", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof's `jwk` is malformed, too small, too large or of another type (RFC 9449 §4.3 (6)).
    DpopKeyRefused = "dpop_key_refused", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof's signature is not valid under its `jwk` (RFC 9449 §4.3 (6)).
    DpopSignatureInvalid = "dpop_signature_invalid", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof lacks a claim or header that is required (RFC 9449 §4.3 (3)).
    DpopClaimMissing = "dpop_claim_missing", UNAUTHORIZED, Some(InvalidDpopProof);
    /// A claim or header of the proof has the wrong JSON type or an impossible value (RFC 9449 §4.2).
    DpopClaimMalformed = "dpop_claim_malformed", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof was made for another method (RFC 9449 §4.3 (8)).
    DpopMethodMismatch = "dpop_method_mismatch", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof was made for another URI (RFC 9449 §4.3 (9)).
    DpopUriMismatch = "dpop_uri_mismatch", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof has no nonce, or one that is no longer valid (RFC 9449 §4.3 (10), §9).
    DpopNonceRequired = "dpop_nonce_required", UNAUTHORIZED, Some(UseDpopNonce);
    /// The proof's `iat` is outside the window, or its own `exp` or `nbf` says that it is not valid now (RFC 9449 §4.3 (11)).
    DpopStale = "dpop_stale", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof was made for another token (RFC 9449 §4.3 (12)).
    DpopAthMismatch = "dpop_ath_mismatch", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The proof is by another key than the token is bound to (RFC 9449 §4.3 (12)).
    DpopKeyMismatch = "dpop_key_mismatch", UNAUTHORIZED, Some(InvalidToken);
    /// The proof was used before (RFC 9449 §11.1).
    DpopReplayed = "dpop_replayed", UNAUTHORIZED, Some(InvalidDpopProof);
    /// The token's scope does not cover the route (RFC 6750 §3.1).
    ScopeInsufficient = "scope_insufficient", FORBIDDEN, Some(InsufficientScope);
    /// The issuer's keys were never read, or not again within `jwks.max_age` (our fault or the issuer's: no challenge).
    KeysUnavailable = "keys_unavailable", SERVICE_UNAVAILABLE, None;
    /// The issuer could not be asked about the token, or did not answer as it must (our fault or the issuer's: no challenge).
    IntrospectionUnavailable = "introspection_unavailable", SERVICE_UNAVAILABLE, None;
    /// The replay log is full or cannot tell whether a proof was used before.
    ReplayLogUnavailable = "replay_log_unavailable", SERVICE_UNAVAILABLE, None;
    /// The upstream refuses connections, breaks them, or its certificate is not trusted.
    UpstreamUnreachable = "upstream_unreachable", BAD_GATEWAY, None;
    /// The upstream did not connect or answer in time.
    UpstreamTimeout = "upstream_timeout", GATEWAY_TIMEOUT, None;
    /// The upstream's response is not a valid HTTP message (RFC 9110 §15.6.3).
    UpstreamInvalid = "upstream_invalid", BAD_GATEWAY, None;
    /// A fault of the gateway itself; nothing was forwarded unchecked.
    Internal = "internal", INTERNAL_SERVER_ERROR, None;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What refused a request: the error of the step that did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The HTTP message itself.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// What a proxy says of its client.
    #[error(transparent)]
    Hop(#[from] HopError),
    /// Target, route or method.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The Authorization field.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The token itself.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Who sent it.
    #[error(transparent)]
    Sender(#[from] SenderError),
    /// What it may do.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A proof that cannot be redeemed.
    #[error(transparent)]
    Proof(#[from] DpopError),
    /// What we needed and could not have.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Cause {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Message(error) => error.code(),
            Self::Hop(error) => error.code(),
            Self::Route(error) => error.code(),
            Self::Credentials(error) => error.code(),
            Self::Token(error) => error.code(),
            Self::Sender(error) => error.code(),
            Self::Policy(error) => error.code(),
            Self::Proof(error) => error.code(),
            Self::Unavailable(error) => error.code(),
        }
    }
}

/// Our fault, the issuer's or the upstream's; never answered with a challenge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// No key set of this issuer was ever read.
    #[error("no keys of issuer {issuer:?} were read yet")]
    Keys {
        /// The issuer's configured name.
        issuer: Arc<str>,
    },
    /// The issuer did not tell whether a token is active.
    #[error("issuer {issuer:?} cannot be asked about the token: {detail}")]
    Introspection {
        /// The issuer's configured name.
        issuer: Arc<str>,
        /// What went wrong.
        detail: Arc<str>,
    },
    /// The last key set of this issuer is too old to be used.
    #[error("the keys of issuer {issuer:?} were last read {age} seconds ago, at most {max_age} are allowed")]
    KeysTooOld {
        /// The issuer's configured name.
        issuer: Arc<str>,
        /// Seconds since the last good reading.
        age: u64,
        /// How many they may be.
        max_age: u64,
    },
    /// Whether a proof was used before cannot be told.
    #[error("the replay log is not available: {detail}")]
    ReplayLog {
        /// What the log said.
        detail: String,
    },
    /// No connection to the upstream, or one that broke.
    #[error("upstream {upstream:?} is unreachable: {detail}")]
    Upstream {
        /// The upstream's configured name.
        upstream: Arc<str>,
        /// What the connector said.
        detail: String,
    },
    /// The upstream was too slow.
    #[error("upstream {upstream:?} is late: {detail}")]
    UpstreamTimeout {
        /// The upstream's configured name.
        upstream: Arc<str>,
        /// What the connector said.
        detail: String,
    },
    /// The upstream answered with something that is not HTTP.
    #[error("upstream {upstream:?} sent no valid answer: {detail}")]
    UpstreamInvalid {
        /// The upstream's configured name.
        upstream: Arc<str>,
        /// What the parser said.
        detail: String,
    },
    /// Nothing foreseen; refused all the same.
    #[error("internal error: {detail}")]
    Internal {
        /// What happened.
        detail: String,
    },
}

impl Unavailable {
    const fn code(&self) -> Code {
        match self {
            Self::Keys { .. } | Self::KeysTooOld { .. } => Code::KeysUnavailable,
            Self::Introspection { .. } => Code::IntrospectionUnavailable,
            Self::ReplayLog { .. } => Code::ReplayLogUnavailable,
            Self::Upstream { .. } => Code::UpstreamUnreachable,
            Self::UpstreamTimeout { .. } => Code::UpstreamTimeout,
            Self::UpstreamInvalid { .. } => Code::UpstreamInvalid,
            Self::Internal { .. } => Code::Internal,
        }
    }
}

/// How far a request came before it was refused; what audit may tell of it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The origin it was sent to, once the host was known.
    pub origin: Option<Arc<Origin>>,
    /// The route, once one matched.
    pub route: Option<Arc<Route>>,
    /// The scheme that the token came by, once it was one that the route accepts.
    pub scheme: Option<Scheme>,
    /// The first bytes of the SHA-256 of the token that was presented.
    pub token_id: Option<TokenId>,
    /// The token, once it was found authentic and active.
    pub token: Option<Arc<ActiveToken>>,
}

/// A refusal: the cause, and what was known of the request by then.
#[derive(Clone, Debug)]
pub struct Rejection {
    cause: Cause,
    seen: Seen,
}

impl Rejection {
    /// Refuses for `cause` a request that came as far as `seen`.
    pub fn new(cause: impl Into<Cause>, seen: Seen) -> Self {
        Self { cause: cause.into(), seen }
    }

    /// The step's error; its text is for operators.
    pub const fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The stable code.
    pub const fn code(&self) -> Code {
        self.cause.code()
    }

    /// What was known of the request.
    pub const fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The whole answer to the client: status, challenge, a small JSON body, the interaction id.
    ///
    /// The text depends on the code and the route's configuration alone; nothing that the client sent comes back, so
    /// nothing can be reflected (RFC 6750 §3, BEAR-08).
    pub fn response(&self, interaction: &InteractionId) -> http::Response<String> {
        let code = self.code();
        let status = code.status();
        let (error, description) = match code.oauth_error() {
            Some(error) => (error.as_str(), error.description()),
            None => plain_error(status),
        };
        let mut response = http::Response::new(format!(r#"{{"error":"{error}","error_description":"{description}"}}"#));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(super::headers::INTERACTION_ID, interaction.header_value());
        self.add_challenge(headers);
        match &self.cause {
            Cause::Route(RouteError::MethodNotAllowed { allow }) => {
                if let Ok(value) = HeaderValue::try_from(&**allow) {
                    headers.insert(header::ALLOW, value);
                }
            }
            // RFC 9110 §10.2.1: "An empty Allow field value indicates that the resource allows no methods".
            Cause::Message(MessageError::MethodRefused) => {
                headers.insert(header::ALLOW, HeaderValue::from_static(""));
            }
            Cause::Unavailable(
                Unavailable::Keys { .. }
                | Unavailable::KeysTooOld { .. }
                | Unavailable::Introspection { .. }
                | Unavailable::ReplayLog { .. },
            ) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            Cause::Sender(SenderError::Proof(DpopError::NonceRequired { fresh: Some(nonce), .. })) => {
                headers.insert(super::headers::DPOP_NONCE, nonce.clone());
            }
            Cause::Message(_)
            | Cause::Hop(_)
            | Cause::Route(_)
            | Cause::Credentials(_)
            | Cause::Token(_)
            | Cause::Sender(_)
            | Cause::Policy(_)
            | Cause::Proof(_)
            | Cause::Unavailable(_) => {}
        }
        response
    }

    /// RFC 6750 §3, RFC 9449 §7.1: every 401 has a challenge for each scheme that the route accepts, each on a line of its
    /// own and with at least one parameter; an error only when credentials were sent, and only for the scheme they came by.
    fn add_challenge(&self, headers: &mut HeaderMap) {
        let error = self.code().oauth_error();
        if error.is_none() && self.code().status() != StatusCode::UNAUTHORIZED {
            return;
        }
        let realm = self.seen.origin.as_deref().map_or("fapi", Origin::as_str);
        let policy = self.seen.route.as_ref().and_then(|route| route.policy());
        let schemes = policy.map_or(&[Scheme::Bearer][..], |policy| policy.schemes());
        for scheme in schemes {
            let mut challenge = format!("{} realm=\"{realm}\"", scheme.as_str());
            if let Some(error) = error.filter(|_| self.seen.scheme.is_none_or(|sent| sent == *scheme)) {
                let (error, description) = (error.as_str(), error.description());
                challenge.push_str(&format!(", error=\"{error}\", error_description=\"{description}\""));
            }
            if error == Some(InsufficientScope)
                && let Some(policy) = policy
            {
                challenge.push_str(&format!(", scope=\"{}\"", policy.scope_text()));
            }
            if *scheme == Scheme::Dpop {
                let names: Vec<_> = Algorithm::ALL.iter().map(|algorithm| algorithm.as_str()).collect();
                challenge.push_str(&format!(", algs=\"{}\"", names.join(" ")));
            }
            if let Ok(value) = HeaderValue::try_from(challenge) {
                headers.append(header::WWW_AUTHENTICATE, value);
            }
        }
    }
}

/// What the body says where no OAuth error applies.
fn plain_error(status: StatusCode) -> (&'static str, &'static str) {
    match status.as_u16() {
        401 => ("unauthorized", "An access token in the Authorization field is required"),
        404 => ("not_found", "There is nothing here"),
        405 => ("method_not_allowed", "The resource does not have this method"),
        408 => ("request_timeout", "The request did not arrive in time"),
        413 => ("content_too_large", "The request body is too large"),
        414 => ("uri_too_long", "The request target is too long"),
        421 => ("misdirected_request", "This host is not served here"),
        431 => ("header_fields_too_large", "The header fields are too large"),
        400..=499 => ("bad_request", "The request is malformed"),
        502 => ("bad_gateway", "The resource server could not be reached"),
        503 => ("temporarily_unavailable", "The request cannot be judged at the moment"),
        504 => ("gateway_timeout", "The resource server did not answer in time"),
        _ => ("server_error", "The request could not be processed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_snake_case_and_distinct() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert!(
            names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'))
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }

    #[test]
    fn server_faults_carry_no_oauth_error() {
        for code in Code::ALL {
            assert!(!(code.status().is_server_error() && code.oauth_error().is_some()), "{code}");
        }
    }

    #[test]
    fn every_401_has_one_challenge_and_no_other_status_without_oauth_error_has_any() {
        let interaction = InteractionId::from_uuid(uuid::Uuid::nil());
        let missing = Rejection::new(CredentialsError::Missing, Seen::default()).response(&interaction);
        assert_eq!(missing.status(), 401);
        let challenge = missing.headers().get(header::WWW_AUTHENTICATE).unwrap().to_str().unwrap();
        assert_eq!(challenge, "Bearer realm=\"fapi\"");
        for down in [
            Unavailable::Keys { issuer: "bank".into() },
            Unavailable::KeysTooOld { issuer: "bank".into(), age: 86401, max_age: 86400 },
        ] {
            let down = Rejection::new(down, Seen::default());
            assert_eq!(down.code(), Code::KeysUnavailable);
            let down = down.response(&interaction);
            assert_eq!(down.status(), 503);
            assert!(down.headers().get(header::WWW_AUTHENTICATE).is_none());
            assert_eq!(down.headers().get(header::RETRY_AFTER).unwrap(), "5");
        }
    }
}
