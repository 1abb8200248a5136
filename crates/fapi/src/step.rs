//! The steps that a request takes, for whoever asks at which one it was refused.

use crate::authorization_server::EndpointError;
use crate::idempotency::IdempotencyError;
use crate::policy::PolicyError;
use crate::rejection::{Cause, Rejection, ShareExceeded, Unavailable};
use crate::signature::error::SignatureError;

/// A step of the line, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Who the client is, by the handshake or by what a trusted proxy says of it.
    Handshake,
    /// Framing, sizes and host.
    Message,
    /// Target, route and method.
    Route,
    /// The scheme, and one token.
    Credentials,
    /// What the request shows of its sender, before the token is looked at.
    Evidence,
    /// The token itself.
    Token,
    /// Whether the sender is the token's client.
    Sender,
    /// Scopes, and what a profile says of fields of the request and of the client's certificate.
    Scope,
    /// What a route requires beside scopes.
    Requirements,
    /// At an authorization server: the parameters, and what the profile says of them.
    Parameters,
    /// At an authorization server: who the client is.
    Client,
    /// The signature of the request, and the digest of its content.
    Signature,
    /// The first use of the proof.
    Replay,
    /// At an authorization server: what it answered.
    Answer,
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 14] = [
        Self::Handshake,
        Self::Message,
        Self::Route,
        Self::Credentials,
        Self::Evidence,
        Self::Token,
        Self::Sender,
        Self::Scope,
        Self::Requirements,
        Self::Parameters,
        Self::Client,
        Self::Signature,
        Self::Replay,
        Self::Answer,
    ];

    /// Its name in audit and explanations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Message => "message",
            Self::Route => "route",
            Self::Credentials => "credentials",
            Self::Evidence => "evidence",
            Self::Token => "token",
            Self::Sender => "sender",
            Self::Scope => "scope",
            Self::Requirements => "require",
            Self::Parameters => "parameters",
            Self::Client => "client",
            Self::Signature => "signature",
            Self::Replay => "replay",
            Self::Answer => "answer",
        }
    }

    /// The step that refused a request; `None` if it was refused beside the steps, or failed after them.
    pub fn of(rejection: &Rejection) -> Option<Self> {
        let seen = rejection.seen();
        Some(match rejection.cause() {
            Cause::Message(_) if seen.route.is_some() => Self::Route,
            Cause::Message(_) => Self::Message,
            Cause::Forwarded(_) => Self::Handshake,
            Cause::Route(_) => Self::Route,
            Cause::Credentials(_) => Self::Credentials,
            Cause::Sender(_) if seen.token.is_none() => Self::Evidence,
            Cause::Sender(_) => Self::Sender,
            Cause::Policy(error) => Self::of_policy(error),
            Cause::Signature(SignatureError::NotSigned | SignatureError::ResponseTooLarge { .. }) => return None,
            Cause::Signature(SignatureError::Replayed | SignatureError::BeforeLog { .. }) => Self::Replay,
            Cause::Signature(_) => Self::Signature,
            Cause::Endpoint(error) => Self::of_endpoint(error),
            Cause::Answer(_) => Self::Answer,
            Cause::Unavailable(Unavailable::ClientKeys { .. }) => Self::Client,
            Cause::Unavailable(Unavailable::PushedRequests { .. }) => Self::Parameters,
            Cause::Rate(_) if seen.token.is_none() => Self::Route,
            Cause::Rate(_) => Self::Sender,
            Cause::Proof(_)
            | Cause::Share(ShareExceeded::ReplayLog | ShareExceeded::IdempotencyKeys)
            | Cause::Unavailable(Unavailable::ReplayLog { .. } | Unavailable::IdempotencyKeys { .. }) => Self::Replay,
            Cause::Token(_)
            | Cause::Share(ShareExceeded::Introspection { .. })
            | Cause::Unavailable(
                Unavailable::KeysNeverRead { .. }
                | Unavailable::KeysNotReadAgain { .. }
                | Unavailable::KeysTooOld { .. }
                | Unavailable::Introspection { .. }
                | Unavailable::RevocationsNeverRead { .. }
                | Unavailable::RevocationsTooOld { .. },
            ) => Self::Token,
            Cause::Share(ShareExceeded::Consent { .. }) | Cause::Unavailable(Unavailable::Consent { .. }) => {
                Self::Requirements
            }
            Cause::Exchange(_)
            | Cause::Share(ShareExceeded::Exchanges { .. } | ShareExceeded::Upstream { .. })
            | Cause::Unavailable(
                Unavailable::Overloaded { .. }
                | Unavailable::UpstreamOverloaded { .. }
                | Unavailable::Audit
                | Unavailable::Stopped
                | Unavailable::UpstreamUnreachable { .. }
                | Unavailable::UpstreamTimeout { .. }
                | Unavailable::UpstreamInvalid { .. }
                | Unavailable::Internal { .. },
            ) => return None,
        })
    }

    const fn of_endpoint(error: &EndpointError) -> Self {
        match error {
            EndpointError::Proof(_) => Self::Evidence,
            EndpointError::AssertionReplayed | EndpointError::AssertionBeforeLog { .. } => Self::Replay,
            EndpointError::ClientMissing
            | EndpointError::ClientUnknown { .. }
            | EndpointError::Unauthenticated { .. }
            | EndpointError::MethodRefused { .. }
            | EndpointError::MethodMismatch { .. }
            | EndpointError::SeveralMethods { .. }
            | EndpointError::Assertion(_)
            | EndpointError::Certificate(_) => Self::Client,
            EndpointError::NotAForm { .. }
            | EndpointError::ConnectionNames { .. }
            | EndpointError::QueryBesideForm
            | EndpointError::Parameters(_)
            | EndpointError::ParameterTooLong { .. }
            | EndpointError::ParameterMissing { .. }
            | EndpointError::ParameterMalformed { .. }
            | EndpointError::ResponseTypeRefused { .. }
            | EndpointError::ResponseModeRefused { .. }
            | EndpointError::PkceMissing
            | EndpointError::PkcePlain { .. }
            | EndpointError::RedirectUriRefused { .. }
            | EndpointError::RequestUriPushed
            | EndpointError::RequestObjectRequired
            | EndpointError::RequestObjectInvalid { .. }
            | EndpointError::RequestObjectUnverified { .. }
            | EndpointError::JktMismatch { .. }
            | EndpointError::NothingToBindTo
            | EndpointError::GrantTypeRefused { .. }
            | EndpointError::NotPushed { .. }
            | EndpointError::ParameterBeside { .. }
            | EndpointError::RequestUriUnknown { .. }
            | EndpointError::Registration(_) => Self::Parameters,
        }
    }

    const fn of_policy(error: &PolicyError) -> Self {
        match error {
            PolicyError::AuthDateMalformed
            | PolicyError::Header(_)
            | PolicyError::CustomerIpAddressMalformed
            | PolicyError::CertificateMissing { .. }
            | PolicyError::CertificateExpired { .. }
            | PolicyError::CertificateUnverified
            | PolicyError::CertificateUnreadable(_)
            | PolicyError::CertificateKindRefused(_)
            | PolicyError::CertificateRoleRefused { .. }
            | PolicyError::CertificateOrganisationRefused { .. }
            | PolicyError::ScopeInsufficient { .. } => Self::Scope,
            PolicyError::IdempotencyKey(IdempotencyError::Reused) => Self::Replay,
            PolicyError::MediaType(_)
            | PolicyError::IdempotencyKey(
                IdempotencyError::Missing | IdempotencyError::Malformed | IdempotencyError::ClientUnknown,
            )
            | PolicyError::ClientRefused { .. }
            | PolicyError::Participant { .. }
            | PolicyError::SubjectMissing { .. }
            | PolicyError::SubjectRefused { .. }
            | PolicyError::TokenLifetimeExceeded { .. }
            | PolicyError::ClaimRefused { .. }
            | PolicyError::ClaimIncomparable { .. }
            | PolicyError::AuthorizationDetailsMalformed
            | PolicyError::AuthorizationDetailsInsufficient { .. }
            | PolicyError::ConsentMissing { .. }
            | PolicyError::ConsentMismatch { .. }
            | PolicyError::ConsentUnknown
            | PolicyError::ConsentExpired { .. }
            | PolicyError::ConsentRevoked { .. }
            | PolicyError::ConsentRefused { .. }
            | PolicyError::BodyTypeUnsupported
            | PolicyError::BodyUnreadable
            | PolicyError::AcrInsufficient { .. }
            | PolicyError::AuthenticationTooOld { .. } => Self::Requirements,
        }
    }
}
