//! Why a request is refused, and the response to it.
//!
//! Combines the errors of all steps, none of which imports this file. Every refusal is answered by
//! [`Rejection::response`] (RFC 6750 §3, RFC 9110 §11.6.1).

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::authorization_server::{AnswerError, EndpointError};
use crate::code::{Code, OAuthError};
use crate::credentials::{CredentialsError, Scheme};
use crate::directory::ParticipantError;
use crate::dpop::DpopError;
use crate::ecosystem::Ecosystem;
use crate::error_format::{self, ErrorFormat, Told};
use crate::headers::{DPOP_NONCE, INTERACTION_ID, InteractionId};
use crate::jose::keys::Algorithm;
use crate::message::{ExchangeError, MessageError};
use crate::metadata::Document;
use crate::path_validation::Fault;
use crate::peer::forwarded::ForwardedError;
use crate::permit::Refused;
use crate::policy::PolicyError;
use crate::rate_limit::{RateLimitFields, RateLimited};
use crate::route::{Origin, Route, RouteError};
use crate::sender::SenderError;
use crate::shadow::WouldDeny;
use crate::signature::error::SignatureError;
use crate::signature::profile::Content;
use crate::signature::rules::{ACCEPT_SIGNATURE, RequestRules};
use crate::signed_body::error::SignedBodyError;
use crate::token::{ActiveToken, Named, RefusedToken, TokenError, TokenId};

/// The error of the step that refused a request.
///
/// Its text is the reason, for operators alone: what was found and, where the two were compared, what would have been
/// accepted. It is the `detail` of the audit, and what everything else shows that explains a refusal. It is short and
/// printable ASCII where it quotes what was sent, of a token it quotes only the values that were compared, and it never
/// contains a token, a proof or a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The request message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The body, the response or the client, after the head.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The certificate that a proxy forwarded.
    #[error(transparent)]
    Forwarded(#[from] ForwardedError),
    /// Target, route or method.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The Authorization field.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The token itself.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The sender of the token.
    #[error(transparent)]
    Sender(#[from] SenderError),
    /// The policy of the route.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The signature of the request, or the digest of its content.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The rules of an authorization server's endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// What an authorization server answered.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// A proof that cannot be redeemed: stale, or used before.
    #[error(transparent)]
    Proof(#[from] DpopError),
    /// The client uses more than its share.
    #[error(transparent)]
    Share(#[from] ShareExceeded),
    /// Requests come too fast.
    #[error(transparent)]
    Rate(#[from] RateLimited),
    /// A fault of the gateway, the issuer or the upstream.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Cause {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Message(error) => error.code(),
            Self::Exchange(error) => error.code(),
            Self::Forwarded(error) => error.code(),
            Self::Route(error) => error.code(),
            Self::Credentials(error) => error.code(),
            Self::Token(error) => error.code(),
            Self::Sender(error) => error.code(),
            Self::Policy(error) => error.code(),
            Self::Signature(error) => error.code(),
            Self::Endpoint(error) => error.code(),
            Self::Answer(error) => error.code(),
            Self::Proof(error) => error.code(),
            Self::Share(error) => error.code(),
            Self::Rate(error) => error.code(),
            Self::Unavailable(error) => error.code(),
        }
    }
}

impl From<RefusedToken> for Cause {
    fn from(refused: RefusedToken) -> Self {
        refused.error.into()
    }
}

impl From<Refused> for Cause {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Sender(error) => error.into(),
            Refused::Policy(error) => error.into(),
        }
    }
}

/// A client uses more than its share of something that all clients need, so that the others still find room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareExceeded {
    /// Of the replay log.
    #[error("the proof's key has used up its share of the replay log")]
    ReplayLog,
    /// Of the idempotency keys that are remembered.
    #[error("the client has used up its share of the idempotency keys that are remembered")]
    IdempotencyKeys,
    /// Of all exchanges.
    #[error("{most} exchanges of this client are in progress, as many as one client may have")]
    Exchanges {
        /// The limit.
        most: usize,
    },
    /// Of the exchanges of an upstream.
    #[error(
        "as many exchanges of this client are in progress or waiting at upstream {upstream:?} as one client may have"
    )]
    Upstream {
        /// The upstream's configured name.
        upstream: Arc<str>,
    },
    /// Of the requests that wait to be told about consents.
    #[error("too many requests of this client are waiting to be told about consents by {name:?}")]
    Consent {
        /// The configured name of whoever is asked.
        name: Arc<str>,
    },
    /// Of the requests that wait for an issuer.
    #[error("too many requests of this client are waiting for responses of issuer {issuer:?}")]
    Introspection {
        /// The issuer's configured name.
        issuer: Arc<str>,
    },
}

impl ShareExceeded {
    /// Its code.
    pub const fn code(&self) -> Code {
        match self {
            Self::ReplayLog => Code::ReplayShareExceeded,
            Self::IdempotencyKeys => Code::IdempotencyShareExceeded,
            Self::Introspection { .. } => Code::IntrospectionShareExceeded,
            Self::Consent { .. } => Code::ConsentShareExceeded,
            Self::Exchanges { .. } => Code::ShareExceeded,
            Self::Upstream { .. } => Code::UpstreamShareExceeded,
        }
    }
}

/// A fault of the gateway, the issuer or the upstream; never answered with a challenge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// No key set of this issuer has been read yet.
    #[error("no keys of issuer {issuer:?} have been read yet")]
    KeysNeverRead {
        /// The issuer's configured name.
        issuer: Arc<str>,
    },
    /// No key of the issuer has the `kid` of the token, and the key set could not be read again now.
    #[error("the keys of issuer {issuer:?} do not include the token's, and cannot be read again right now")]
    KeysNotReadAgain {
        /// The issuer's configured name.
        issuer: Arc<str>,
    },
    /// The issuer did not say whether a token is active.
    #[error("issuer {issuer:?} cannot be asked about the token: {detail}")]
    Introspection {
        /// The issuer's configured name.
        issuer: Arc<str>,
        /// What went wrong.
        detail: Arc<str>,
    },
    /// The last key set of this issuer is too old.
    #[error("the keys of issuer {issuer:?} were last read {age} seconds ago, at most {max_age} are allowed")]
    KeysTooOld {
        /// The issuer's configured name.
        issuer: Arc<str>,
        /// Seconds since it was read.
        age: u64,
        /// The limit in seconds.
        max_age: u64,
    },
    /// The revocations that replicas share have not been read yet.
    #[error("the revocations in the store {store:?} have not been read yet")]
    RevocationsNeverRead {
        /// The store's configured name.
        store: Arc<str>,
    },
    /// The revocations that replicas share were last read too long ago.
    #[error("the revocations in the store {store:?} were last read {age} seconds ago, at most {max_age} are allowed")]
    RevocationsTooOld {
        /// The store's configured name.
        store: Arc<str>,
        /// Seconds since they were read.
        age: u64,
        /// The limit in seconds.
        max_age: u64,
    },
    /// Nobody said in which state a consent is.
    #[error("nobody says in which state the consent is: {detail}")]
    Consent {
        /// What went wrong.
        detail: Arc<str>,
    },
    /// The keys of a client of an authorization server could not be read.
    #[error("the keys of the client {client:?} cannot be read: {detail}")]
    ClientKeys {
        /// Its id.
        client: Box<str>,
        /// What went wrong.
        detail: String,
    },
    /// Nobody can say whether a request was pushed at another replica.
    #[error("the pushed requests are not available: {detail}")]
    PushedRequests {
        /// What went wrong.
        detail: String,
    },
    /// The replay log cannot say whether a proof was used before.
    #[error("the replay log is not available: {detail}")]
    ReplayLog {
        /// What went wrong.
        detail: String,
    },
    /// Nobody can say whether an idempotency key was used before.
    #[error("the idempotency keys are not available: {detail}")]
    IdempotencyKeys {
        /// What went wrong.
        detail: String,
    },
    /// The gateway serves as many exchanges as it may.
    #[error("{limit} exchanges are in progress, as many as are allowed")]
    Overloaded {
        /// The limit.
        limit: usize,
    },
    /// The upstream has as many exchanges as it may.
    #[error("upstream {upstream:?} has as many exchanges in progress and waiting as are allowed")]
    UpstreamOverloaded {
        /// The upstream's configured name.
        upstream: Arc<str>,
    },
    /// The audit cannot be written, and no request is served without a record.
    #[error("the audit cannot be written, and `audit.on_overflow` allows no request without a record")]
    Audit,
    /// The gateway stops, and cuts what is left.
    #[error("the gateway stopped before the exchange had ended")]
    Stopped,
    /// No connection to the upstream, or a connection that broke.
    #[error("upstream {upstream:?} is unreachable: {detail}")]
    UpstreamUnreachable {
        /// The upstream's configured name.
        upstream: Arc<str>,
        /// What went wrong.
        detail: String,
    },
    /// The upstream is too slow.
    #[error("upstream {upstream:?} timed out: {detail}")]
    UpstreamTimeout {
        /// The upstream's configured name.
        upstream: Arc<str>,
        /// What went wrong.
        detail: String,
    },
    /// The upstream answered with something that is not HTTP.
    #[error("upstream {upstream:?} sent an invalid response: {detail}")]
    UpstreamInvalid {
        /// The upstream's configured name.
        upstream: Arc<str>,
        /// What went wrong.
        detail: String,
    },
    /// An unforeseen fault; the request is refused.
    #[error("internal error: {detail}")]
    Internal {
        /// What happened.
        detail: String,
    },
}

impl Unavailable {
    /// Its code.
    pub const fn code(&self) -> Code {
        match self {
            Self::KeysNeverRead { .. } | Self::KeysNotReadAgain { .. } | Self::KeysTooOld { .. } => {
                Code::KeysUnavailable
            }
            Self::Introspection { .. } => Code::IntrospectionUnavailable,
            Self::RevocationsNeverRead { .. } | Self::RevocationsTooOld { .. } => Code::RevocationsStale,
            Self::Consent { .. } => Code::ConsentUnavailable,
            Self::ClientKeys { .. } => Code::KeysUnavailable,
            Self::PushedRequests { .. } => Code::PushedRequestsUnavailable,
            Self::ReplayLog { .. } => Code::ReplayLogUnavailable,
            Self::IdempotencyKeys { .. } => Code::IdempotencyKeysUnavailable,
            Self::Overloaded { .. } => Code::Overloaded,
            Self::UpstreamOverloaded { .. } => Code::UpstreamOverloaded,
            Self::Audit => Code::AuditUnavailable,
            Self::Stopped => Code::GatewayStopped,
            Self::UpstreamUnreachable { .. } => Code::UpstreamUnreachable,
            Self::UpstreamTimeout { .. } => Code::UpstreamTimeout,
            Self::UpstreamInvalid { .. } => Code::UpstreamInvalid,
            Self::Internal { .. } => Code::Internal,
        }
    }
}

/// What is known of a request so far, for the audit.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The origin it was sent to, once the host is known.
    pub origin: Option<Arc<Origin>>,
    /// The route, once one matches.
    pub route: Option<Arc<Route>>,
    /// The scheme of the token, once it is one that the route accepts.
    pub scheme: Option<Scheme>,
    /// The id of the presented token.
    pub token_id: Option<TokenId>,
    /// The token, once it is found authentic and active.
    pub token: Option<Arc<ActiveToken>>,
    /// Whether the sender of that token is the client that it was issued to.
    pub sender_proven: bool,
    /// Whose token it is, if it is authentic and was refused.
    pub named: Option<Arc<Named>>,
    /// The client, at an endpoint of an authorization server, once it is authenticated.
    pub client_id: Option<Box<str>>,
    /// What is left of the route's rate limits, if it has any.
    pub rate_limits: Option<Box<RateLimitFields>>,
    /// Why it would have been refused, on a route in shadow.
    pub would_deny: Option<Box<WouldDeny>>,
}

/// What a response depends on besides the refusal.
#[derive(Clone, Copy, Default)]
pub struct ResponseContext<'a> {
    /// The form of the body where no route is known, which has its own; plain JSON if there is none.
    pub errors: Option<&'a ErrorFormat>,
    /// Tells when the request was refused (RFC 3339), for bodies that say so.
    pub time: Option<&'a dyn Fn() -> String>,
    /// The metadata of the resource, to which its challenges lead (RFC 9728 §5.1).
    pub metadata: Option<&'a Document>,
    /// The header section of the request: its `Accept` chooses a page where a browser shows the answer, and its fields decide what a
    /// signature has to cover. There are neither pages nor a request for a signature without.
    pub request: Option<&'a HeaderMap>,
}

/// A refusal: its cause, and what is known of the request.
#[derive(Clone, Debug)]
pub struct Rejection {
    cause: Cause,
    seen: Seen,
}

impl Rejection {
    /// Refuses for `cause` a request of which `seen` is known.
    pub fn new(cause: impl Into<Cause>, seen: Seen) -> Self {
        Self { cause: cause.into(), seen }
    }

    /// The error of the step, whose text is for operators.
    pub const fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The stable code.
    pub const fn code(&self) -> Code {
        self.cause.code()
    }

    /// What is known of the request.
    pub const fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The status that the client sees: that of the code, but at an authorization server a proof at fault is no 401 (RFC 9449 §5,
    /// §8), and some ecosystems have others for signatures, certificates, consents and idempotency keys.
    pub fn status(&self) -> StatusCode {
        let of_a_proof =
            matches!(self.code().oauth_error(), Some(OAuthError::InvalidDpopProof | OAuthError::UseDpopNonce));
        if of_a_proof && self.is_at_an_endpoint() {
            return StatusCode::BAD_REQUEST;
        }
        if let Some(status) = self.ecosystem().and_then(|ecosystem| ecosystem.status(self.code())) {
            return status;
        }
        self.signature_rules().map_or(self.code().status(), |rules| rules.form.status(self.code()))
    }

    /// What the route says of signatures of requests.
    fn signature_rules(&self) -> Option<&RequestRules> {
        self.seen.route.as_ref()?.policy()?.signature()?.request.as_ref()
    }

    /// The ecosystem of the route, whatever form its errors have.
    fn ecosystem(&self) -> Option<Ecosystem> {
        self.seen.route.as_ref()?.policy()?.ecosystem()
    }

    /// Whether the request was for an endpoint of an authorization server, whose clients expect its errors and no challenges (RFC
    /// 6749 §5.2).
    fn is_at_an_endpoint(&self) -> bool {
        self.seen.route.as_ref().is_some_and(|route| route.endpoint().is_some())
    }

    /// The response of a gateway without metadata, in which refusals without a route are plain JSON.
    pub fn response(&self, interaction: &InteractionId) -> http::Response<String> {
        self.response_in(interaction, ResponseContext::default())
    }

    /// The whole response to the client: status, challenge, a small JSON body, and the interaction id.
    ///
    /// Where a browser shows the answers of an authorization server, a person reads it: who prefers HTML there gets a page. It is never
    /// a redirect, since nobody has verified where a request that is refused would lead (RFC 6749 §4.1.2.1).
    ///
    /// The text depends only on the code and on the configuration. It contains nothing that the client sent, so
    /// nothing can be reflected (RFC 6750 §3, BEAR-08).
    pub fn response_in(&self, interaction: &InteractionId, context: ResponseContext<'_>) -> http::Response<String> {
        let code = self.code();
        let status = self.status();
        let (error, description) = error_of(code);
        let format = self.seen.route.as_ref().map(|route| &route.errors).or(context.errors);
        let format = format.unwrap_or(&ErrorFormat::Json);
        let told = Told { status, code, error, description, interaction: interaction.as_str(), time: context.time };
        let for_browsers = self.seen.route.as_ref().is_some_and(|route| route.is_for_browsers());
        let content = match context.request.filter(|_| for_browsers) {
            Some(request) => format.shown(&told, request),
            None => format.body(&told),
        };
        let (media_type, body) = content.map_or_else(Default::default, |(media_type, body)| (Some(media_type), body));
        let mut response = http::Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if let Some(media_type) = media_type {
            headers.insert(header::CONTENT_TYPE, media_type);
        }
        if let (Some(ecosystem), Some(request)) = (self.ecosystem().or(format.ecosystem()), context.request) {
            headers.extend(ecosystem.repeated(request));
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(INTERACTION_ID, interaction.header_value());
        if for_browsers {
            error_format::protect(headers);
        }
        self.add_challenge(headers, context.metadata);
        self.ask_for_signature(headers, context.request);
        headers.extend(self.seen.rate_limits.iter().flat_map(|limits| limits.fields()));
        match &self.cause {
            Cause::Route(RouteError::MethodNotAllowed { allow } | RouteError::PreflightNotGranted { allow, .. }) => {
                if let Ok(value) = HeaderValue::try_from(&**allow) {
                    headers.insert(header::ALLOW, value);
                }
            }
            // RFC 9110 §10.2.1: "An empty Allow field value indicates that the resource allows no methods".
            Cause::Message(MessageError::MethodRefused) => {
                headers.insert(header::ALLOW, HeaderValue::from_static(""));
            }
            Cause::Unavailable(
                Unavailable::KeysNeverRead { .. }
                | Unavailable::KeysNotReadAgain { .. }
                | Unavailable::KeysTooOld { .. }
                | Unavailable::Introspection { .. }
                | Unavailable::RevocationsNeverRead { .. }
                | Unavailable::RevocationsTooOld { .. }
                | Unavailable::Consent { .. }
                | Unavailable::ClientKeys { .. }
                | Unavailable::PushedRequests { .. }
                | Unavailable::ReplayLog { .. }
                | Unavailable::IdempotencyKeys { .. }
                | Unavailable::Overloaded { .. }
                | Unavailable::UpstreamOverloaded { .. }
                | Unavailable::Audit,
            )
            | Cause::Policy(PolicyError::Participant {
                error: ParticipantError::NeverRead | ParticipantError::TooOld { .. },
                ..
            })
            | Cause::Endpoint(EndpointError::AssertionBeforeLog { .. })
            | Cause::Signature(
                SignatureError::BeforeLog { .. }
                | SignatureError::Body(SignedBodyError::CertificateUntrusted(Fault::ExpiredList | Fault::UnknownStatus)),
            )
            | Cause::Share(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            Cause::Rate(limited) => {
                headers.insert(header::RETRY_AFTER, limited.retry_after.into());
            }
            Cause::Sender(SenderError::Proof(DpopError::NonceRequired { fresh: Some(nonce), .. }))
            | Cause::Endpoint(EndpointError::Proof(DpopError::NonceRequired { fresh: Some(nonce), .. })) => {
                headers.insert(DPOP_NONCE, nonce.clone());
            }
            Cause::Message(_)
            | Cause::Exchange(_)
            | Cause::Forwarded(_)
            | Cause::Route(_)
            | Cause::Credentials(_)
            | Cause::Token(_)
            | Cause::Sender(_)
            | Cause::Policy(_)
            | Cause::Signature(_)
            | Cause::Endpoint(_)
            | Cause::Answer(_)
            | Cause::Proof(_)
            | Cause::Unavailable(_) => {}
        }
        response
    }

    /// Says what signature a request has to have that had none which holds (RFC 9421 §5.1): what is configured, whatever is wrong.
    fn ask_for_signature(&self, headers: &mut HeaderMap, request: Option<&HeaderMap>) {
        if let (Cause::Signature(_), StatusCode::UNAUTHORIZED, Some(rules)) =
            (&self.cause, self.status(), self.signature_rules())
            && let Some(request) = request
            && let Some(value) = rules.accept_signature(request, Content::declared_by(request))
            && let Ok(value) = HeaderValue::try_from(value)
        {
            headers.insert(ACCEPT_SIGNATURE, value);
        }
    }

    /// Adds the challenges (RFC 6750 §3, RFC 9449 §7.1). Every 401 has one for each scheme that the route accepts, each
    /// in a field line of its own and with at least one parameter. `error` is present only if credentials were sent,
    /// and only for their scheme.
    fn add_challenge(&self, headers: &mut HeaderMap, metadata: Option<&Document>) {
        let error = self.code().oauth_error();
        if error.is_none() && self.status() != StatusCode::UNAUTHORIZED || self.is_at_an_endpoint() {
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
            if let (Some(OAuthError::InsufficientScope | OAuthError::InsufficientUserAuthentication), Some(policy)) =
                (error, policy)
            {
                challenge.push_str(&format!(", scope=\"{}\"", policy.scope_text()));
            }
            if let (Some(OAuthError::InsufficientUserAuthentication), Some(policy)) = (error, policy) {
                challenge.push_str(policy.authentication_challenge());
            }
            if *scheme == Scheme::Dpop {
                let names: Vec<_> = Algorithm::ALL.iter().map(|algorithm| algorithm.as_str()).collect();
                challenge.push_str(&format!(", algs=\"{}\"", names.join(" ")));
            }
            challenge.push_str(metadata.map_or("", Document::challenge));
            if let Ok(value) = HeaderValue::try_from(challenge) {
                headers.append(header::WWW_AUTHENTICATE, value);
            }
        }
    }
}

/// Every name that an error has in a body.
pub fn error_names() -> BTreeSet<&'static str> {
    Code::ALL.iter().map(|code| error_of(*code).0).collect()
}

/// The error and its description in the body.
pub(crate) fn error_of(code: Code) -> (&'static str, &'static str) {
    code.oauth_error().map_or_else(|| plain_error(code), |error| (error.as_str(), error.description()))
}

/// The error and its description in the body where no OAuth error applies.
fn plain_error(code: Code) -> (&'static str, &'static str) {
    match code.status().as_u16() {
        403 if code.is_about_certificates() => {
            ("invalid_certificate", "The client's certificate is not one that this resource accepts")
        }
        401 if code.is_about_signatures() => {
            ("invalid_signature", "The request is not signed as this resource requires")
        }
        401 => ("unauthorized", "An access token in the Authorization field is required"),
        404 => ("not_found", "There is nothing here"),
        405 => ("method_not_allowed", "The resource does not have this method"),
        406 if code == Code::VersionUnsupported => {
            ("not_acceptable", "The resource has none of the versions that the request names")
        }
        406 => ("not_acceptable", "The resource has no representation that the request accepts"),
        408 => ("request_timeout", "The request did not arrive in time"),
        413 => ("content_too_large", "The request body is too large"),
        414 => ("uri_too_long", "The request target is too long"),
        415 if code == Code::MediaTypeUnsupported => {
            ("unsupported_media_type", "The request body is not of a media type that the resource takes")
        }
        415 => ("unsupported_media_type", "The request body has to be JSON in UTF-8, without a coding"),
        421 => ("misdirected_request", "This host is not served here"),
        422 => ("idempotency_key_reused", "The idempotency key was used for another request"),
        429 if code == Code::IdempotencyShareExceeded => {
            ("too_many_requests", "Too many idempotency keys of this client are remembered")
        }
        429 if code == Code::RateLimited => ("too_many_requests", "Requests come faster than they may"),
        429 => ("too_many_requests", "Too many requests of this client are in progress"),
        431 => ("header_fields_too_large", "The header fields are too large"),
        400..=499 => ("bad_request", "The request is malformed"),
        502 if matches!(
            code,
            Code::AnswerUnbound | Code::AnswerTooLongLived | Code::AnswerMalformed | Code::MetadataMismatch
        ) =>
        {
            ("bad_gateway", "The authorization server's answer is not one that the profile allows")
        }
        502 if code == Code::UpstreamInvalid => ("bad_gateway", "The resource server's response is not valid"),
        502 => ("bad_gateway", "The resource server could not be reached"),
        503 => ("temporarily_unavailable", "The request cannot be judged at the moment"),
        504 => ("gateway_timeout", "The resource server did not answer in time"),
        _ => ("server_error", "The request could not be processed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorization_server::testing::rules;
    use crate::authorization_server::{Endpoint, ServerProfile};
    use crate::rate_limit::By;
    use crate::route::Requirement;
    use crate::testing::route;

    #[test]
    fn a_resource_server_that_answers_nonsense_is_not_called_unreachable() {
        let interaction = InteractionId::from_uuid(uuid::Uuid::nil());
        let (upstream, detail) = (Arc::<str>::from("bank"), "InvalidHTTPHeader".to_owned());
        let body = |cause: Unavailable| Rejection::new(cause, Seen::default()).response(&interaction).into_body();
        let down = body(Unavailable::UpstreamUnreachable { upstream: upstream.clone(), detail: detail.clone() });
        assert!(down.contains("could not be reached"), "control: {down}");
        let invalid = body(Unavailable::UpstreamInvalid { upstream, detail });
        assert!(invalid.contains("\"bad_gateway\"") && !invalid.contains("could not be reached"), "{invalid}");
    }

    #[test]
    fn every_401_has_one_challenge_and_no_other_status_without_oauth_error_has_any() {
        let interaction = InteractionId::from_uuid(uuid::Uuid::nil());
        let missing = Rejection::new(CredentialsError::Missing, Seen::default()).response(&interaction);
        assert_eq!(missing.status(), 401);
        let challenge = missing.headers().get(header::WWW_AUTHENTICATE).unwrap().to_str().unwrap();
        assert_eq!(challenge, "Bearer realm=\"fapi\"");
        for down in [
            Unavailable::KeysNeverRead { issuer: "bank".into() },
            Unavailable::KeysNotReadAgain { issuer: "bank".into() },
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

    /// The response to a request with this `Accept`, or without one, on a route.
    fn answer(
        cause: impl Into<Cause>,
        requirement: Requirement,
        errors: ErrorFormat,
        accept: Option<&'static str>,
    ) -> http::Response<String> {
        let mut route = route("r", "/r", requirement);
        route.errors = errors;
        let request = accept.map(|accept| (header::ACCEPT, HeaderValue::from_static(accept))).into_iter().collect();
        let seen = Seen { route: Some(route.into()), ..Seen::default() };
        let context = ResponseContext { request: Some(&request), ..ResponseContext::default() };
        Rejection::new(cause, seen).response_in(&InteractionId::from_uuid(uuid::Uuid::nil()), context)
    }

    fn at(endpoint: Endpoint) -> Requirement {
        Requirement::Endpoint(rules(ServerProfile::Fapi2Security).into(), endpoint)
    }

    const HTML: &str = "text/html; charset=utf-8";
    const BROWSER: Option<&str> = Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");

    #[test]
    fn a_refusal_is_a_page_where_a_browser_shows_it_and_prefers_one() {
        let content_type = |endpoint, errors: &ErrorFormat, accept| {
            let response = answer(Unavailable::Audit, at(endpoint), errors.clone(), accept);
            assert_eq!(
                response.body().starts_with("<!DOCTYPE html>"),
                response.headers()[header::CONTENT_TYPE] == HTML
            );
            response.headers()[header::CONTENT_TYPE].clone()
        };
        for endpoint in Endpoint::ALL {
            for (errors, own) in
                [(ErrorFormat::Json, "application/json"), (ErrorFormat::Problem, "application/problem+json")]
            {
                let shown = if endpoint.is_for_browsers() { HTML } else { own };
                assert_eq!(content_type(endpoint, &errors, BROWSER), shown, "{endpoint:?}");
                for accept in [None, Some("*/*"), Some("application/*, text/html;q=0.5"), Some("text/html;q=0")] {
                    assert_eq!(content_type(endpoint, &errors, accept), own, "{endpoint:?} {accept:?}");
                }
            }
        }
        let of_an_api = answer(Unavailable::Audit, Requirement::Public, ErrorFormat::Json, BROWSER);
        assert_eq!(of_an_api.headers()[header::CONTENT_TYPE], "application/json");
    }

    #[test]
    fn fapi2_as_06_a_page_says_what_the_json_says_and_leads_nowhere() {
        let causes: [fn() -> Cause; 8] = [
            || EndpointError::ParameterMissing { name: "client_id" }.into(),
            || EndpointError::ClientUnknown { role: "client", id: "SECRET".into() }.into(),
            || RouteError::MethodNotAllowed { allow: "GET".into() }.into(),
            || RateLimited { by: By::Address, limit: "1 in 7s".into(), retry_after: 7 }.into(),
            || AnswerError::RedirectElsewhere { place: "SECRET".into() }.into(),
            || Unavailable::PushedRequests { detail: "SECRET".to_owned() }.into(),
            || Unavailable::UpstreamTimeout { upstream: "SECRET".into(), detail: "SECRET".to_owned() }.into(),
            || Unavailable::Internal { detail: "SECRET".to_owned() }.into(),
        ];
        for cause in causes {
            let asked = |accept| answer(cause(), at(Endpoint::Authorization), ErrorFormat::Json, accept);
            let (mut json, mut page) = (asked(None), asked(BROWSER));
            assert_eq!(json.status(), page.status());
            for (name, value) in [
                ("cache-control", "no-store"),
                ("referrer-policy", "no-referrer"),
                ("vary", "Accept"),
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
            ] {
                assert_eq!(page.headers()[name], value, "{:?}", cause());
            }
            let error = error_of(cause().code()).0;
            assert!(json.body().contains(&format!("{{\"error\":\"{error}\"")), "{json:?}");
            assert!(page.body().contains(&format!("<dd>{error}</dd>")) && !page.body().contains("SECRET"), "{page:?}");
            assert!(!page.headers().contains_key(header::LOCATION));
            for response in [&mut json, &mut page] {
                response.headers_mut().remove(header::CONTENT_TYPE);
            }
            assert_eq!(json.headers(), page.headers());
            let plain = answer(cause(), Requirement::Public, ErrorFormat::Json, BROWSER); // control
            for name in ["content-security-policy", "referrer-policy", "vary", "x-frame-options"] {
                assert!(json.headers().contains_key(name) && !plain.headers().contains_key(name), "{name}: {plain:?}");
            }
        }
    }
}
