//! Why a request to an authorization server is refused before the server sees it.

use super::certificate::CertificateRefused;
use super::client_assertion::AssertionError;
use super::parameters::ParametersError;
use super::registration::RegistrationError;
use crate::UnixTime;
use crate::code::Code;
use crate::dpop::DpopError;
use crate::jose::thumbprint::KeyThumbprint;

/// Why a request to an endpoint of an authorization server is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The body is not a form (RFC 9126 §2.1, RFC 6749 §3.2).
    #[error("the body is {found}, expected application/x-www-form-urlencoded in UTF-8, without a coding")]
    NotAForm {
        /// Its media type, truncated and made printable, or what else is wrong.
        found: Box<str>,
    },
    /// `Connection` names a field that was judged, so that the server would not get it.
    #[error("Connection names {name:?}, which is no field of a connection")]
    ConnectionNames {
        /// The name, truncated and made printable.
        name: Box<str>,
    },
    /// Parameters are in the query of a request whose parameters are in its body.
    #[error("the query has parameters, which belong in the body")]
    QueryBesideForm,
    /// The parameters have no single reading.
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    /// A parameter is longer than any honest one.
    #[error("the parameter {name:?} has {bytes} bytes, the limit is {limit}")]
    ParameterTooLong {
        /// Its name.
        name: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A parameter that the request needs is missing.
    #[error("the parameter {name:?} is missing")]
    ParameterMissing {
        /// Its name.
        name: &'static str,
    },
    /// A parameter has no value that it can have.
    #[error("the parameter {name:?} is {found}, expected {expected}")]
    ParameterMalformed {
        /// Its name.
        name: &'static str,
        /// What it is, made printable; nothing secret.
        found: Box<str>,
        /// What it should be.
        expected: &'static str,
    },
    /// No client is named.
    #[error("no client is named: there is neither a client_id nor a client assertion")]
    ClientMissing,
    /// The client is not registered here, or not as what it would have to be.
    #[error("no {role} {id} is registered here")]
    ClientUnknown {
        /// What it would have to be: a client or a resource server.
        role: &'static str,
        /// Its id, truncated, made printable and quoted.
        id: Box<str>,
    },
    /// Nothing authenticates the client (FAPI 2.0 §5.3.2.2).
    #[error("the client {id:?} is not authenticated: there is neither an assertion nor a certificate")]
    Unauthenticated {
        /// Its id, truncated and made printable.
        id: Box<str>,
    },
    /// A client secret, or another method that FAPI does not have (FAPI 2.0 §5.3.2.1 (7)).
    #[error("the client authenticates with {found}, expected private_key_jwt or its certificate")]
    MethodRefused {
        /// What it sent.
        found: &'static str,
    },
    /// The client is registered for another method.
    #[error("the client {id:?} authenticates with {found}, and is registered for {expected}")]
    MethodMismatch {
        /// Its id.
        id: Box<str>,
        /// What it sent.
        found: &'static str,
        /// What it is registered for.
        expected: &'static str,
    },
    /// More than one method at once (RFC 6749 §2.3).
    #[error("the client authenticates with several methods at once: {found}")]
    SeveralMethods {
        /// The methods.
        found: &'static str,
    },
    /// The assertion does not authenticate it.
    #[error(transparent)]
    Assertion(#[from] AssertionError),
    /// The assertion was used before (RFC 7523 §3 (7)).
    #[error("the client assertion was used before")]
    AssertionReplayed,
    /// Its certificate does not authenticate it.
    #[error(transparent)]
    Certificate(#[from] CertificateRefused),
    /// Another response type than the profile has.
    #[error("response_type is {found}, expected {expected}")]
    ResponseTypeRefused {
        /// What it is, made printable.
        found: Box<str>,
        /// What it may be.
        expected: &'static str,
    },
    /// The response would not come back as the profile wants.
    #[error("response_mode is {found}, expected {expected}")]
    ResponseModeRefused {
        /// What it is, made printable.
        found: Box<str>,
        /// What it may be.
        expected: &'static str,
    },
    /// No code challenge (RFC 7636 §4.3).
    #[error("code_challenge is missing")]
    PkceMissing,
    /// Another method than S256, which is also meant if none is named (RFC 7636 §4.3).
    #[error("code_challenge_method is {found}, expected \"S256\"")]
    PkcePlain {
        /// What it is, made printable.
        found: Box<str>,
    },
    /// A redirect URI that is none, or that the client has not registered.
    #[error("redirect_uri {why}")]
    RedirectUriRefused {
        /// What is wrong.
        why: &'static str,
    },
    /// `request_uri` in a pushed request (RFC 9126 §2.1).
    #[error("a pushed authorization request has a request_uri")]
    RequestUriPushed,
    /// The request object is missing, where the profile needs one.
    #[error("there is no signed request object, which the profile or the client's registration requires")]
    RequestObjectRequired,
    /// The request object does not count.
    #[error("the request object {why}")]
    RequestObjectInvalid {
        /// What is wrong.
        why: Box<str>,
    },
    /// No key of the client verifies the request object.
    #[error("the request object {why}")]
    RequestObjectUnverified {
        /// What is wrong.
        why: &'static str,
        /// Whether it names a key that the client is not known to have, rather than have a wrong signature.
        key_unknown: bool,
    },
    /// `dpop_jkt` is another key than that of the proof (RFC 9449 §10.1).
    #[error("dpop_jkt is {found:?}, the proof is by {expected}")]
    JktMismatch {
        /// The parameter, made printable.
        found: Box<str>,
        /// The proof's key.
        expected: KeyThumbprint,
    },
    /// The proof is refused (RFC 9449 §4.3, without `ath`).
    #[error(transparent)]
    Proof(#[from] DpopError),
    /// Nothing to bind a token to (FAPI 2.0 §5.3.2.1 (5)).
    #[error("there is neither a DPoP proof nor a client certificate that a token could be bound to")]
    NothingToBindTo,
    /// Another grant type than the server may have, or the client.
    #[error("grant_type is {found}, expected {expected}")]
    GrantTypeRefused {
        /// What it is, made printable.
        found: Box<str>,
        /// Who does not have it.
        expected: &'static str,
    },
    /// An authorization request that was not pushed (FAPI 2.0 §5.3.2.2).
    #[error("the authorization request was not pushed: {why}")]
    NotPushed {
        /// What shows that.
        why: &'static str,
    },
    /// A parameter beside `client_id` and `request_uri`, where these are refused (FAPI 2.0 §5.3.3.2).
    #[error("the authorization request has the parameter {name:?} beside client_id and request_uri")]
    ParameterBeside {
        /// Its name, truncated and made printable.
        name: Box<str>,
    },
    /// No request with this URI was pushed through this gateway, or it has expired, or another client pushed it.
    #[error("the request_uri {why}")]
    RequestUriUnknown {
        /// What is known of it.
        why: &'static str,
    },
    /// The assertion may have been used before the log of uses began.
    #[error("the client assertion was made at {at} or later, and uses are known since {since}")]
    AssertionBeforeLog {
        /// The earliest time.
        at: UnixTime,
        /// When the log began.
        since: UnixTime,
    },
    /// A client is not registered (RFC 7591 §3.2.2).
    #[error(transparent)]
    Registration(#[from] RegistrationError),
}

impl EndpointError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::NotAForm { .. }
            | Self::QueryBesideForm
            | Self::Parameters(
                ParametersError::TooMany | ParametersError::Malformed { .. } | ParametersError::Disguised { .. },
            )
            | Self::ParameterTooLong { .. }
            | Self::ParameterMissing { .. }
            | Self::ParameterMalformed { .. } => Code::ParameterMalformed,
            Self::ConnectionNames { .. } => Code::HeaderMalformed,
            Self::Parameters(ParametersError::Repeated { .. }) => Code::ParameterRepeated,
            Self::ParameterBeside { .. } => Code::ParameterRefused,
            Self::ClientMissing | Self::ClientUnknown { .. } => Code::ClientUnknown,
            Self::Unauthenticated { .. } => Code::ParUnauthenticated,
            Self::MethodRefused { .. } | Self::MethodMismatch { .. } | Self::Certificate(_) => {
                Code::ClientAuthenticationRefused
            }
            Self::SeveralMethods { .. } => Code::ClientAuthenticationRepeated,
            Self::Assertion(error) => match error {
                AssertionError::AudienceMismatch { .. } => Code::ClientAssertionAudience,
                AssertionError::Expired { .. } | AssertionError::TooLong { .. } | AssertionError::NotYet { .. } => {
                    Code::ClientAssertionStale
                }
                AssertionError::Incomplete { .. }
                | AssertionError::Malformed(_)
                | AssertionError::TypeWrong { .. }
                | AssertionError::AlgorithmRefused { .. }
                | AssertionError::KeyUnknown { .. }
                | AssertionError::KeyWeak
                | AssertionError::SignatureInvalid
                | AssertionError::ClientMismatch { .. }
                | AssertionError::TimeMalformed { .. }
                | AssertionError::IdMalformed => Code::ClientAuthenticationRefused,
            },
            Self::AssertionReplayed => Code::ClientAssertionReplayed,
            Self::ResponseTypeRefused { .. } => Code::ResponseTypeRefused,
            Self::ResponseModeRefused { .. } => Code::ResponseModeRefused,
            Self::PkceMissing => Code::PkceMissing,
            Self::PkcePlain { .. } => Code::PkcePlain,
            Self::RedirectUriRefused { .. } => Code::RedirectUriRefused,
            Self::RequestUriPushed => Code::RequestUriRefused,
            Self::RequestObjectRequired => Code::RequestObjectRequired,
            Self::RequestObjectInvalid { .. } | Self::RequestObjectUnverified { .. } => Code::RequestObjectInvalid,
            Self::JktMismatch { .. } => Code::JktMismatch,
            Self::Proof(error) => error.code(),
            Self::NothingToBindTo => Code::SenderConstraintMissing,
            Self::GrantTypeRefused { .. } => Code::GrantTypeRefused,
            Self::NotPushed { .. } => Code::ParRequired,
            Self::RequestUriUnknown { .. } => Code::RequestUriUnknown,
            Self::AssertionBeforeLog { .. } => Code::ReplayLogUnavailable,
            Self::Registration(error) => error.code(),
        }
    }

    /// Whether another version of the client's key set could change the outcome.
    pub const fn depends_on_keys(&self) -> bool {
        if let Self::Assertion(error) = self {
            return error.depends_on_keys();
        }
        matches!(
            self,
            Self::Certificate(CertificateRefused::NotRegistered { .. }) | Self::RequestObjectUnverified { .. }
        )
    }

    /// Whether the client shows a key or certificate that its key set does not have, so that whoever cannot read the set again
    /// does not know whether the client is at fault.
    pub const fn lacks_key(&self) -> bool {
        matches!(
            self,
            Self::Assertion(AssertionError::KeyUnknown { .. })
                | Self::Certificate(CertificateRefused::NotRegistered { .. })
                | Self::RequestObjectUnverified { key_unknown: true, .. }
        )
    }
}
