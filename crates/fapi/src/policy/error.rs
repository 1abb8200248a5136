//! Why a token does not satisfy a policy, and why a policy is refused.

use crate::UnixTime;
use crate::code::Code;
use crate::directory::ParticipantError;
use crate::ecosystem::{HeaderError, KindFault, MediaTypeError};
use crate::idempotency::IdempotencyError;
use crate::participant::CertificateFault;
use crate::peer::NoCertificate;
use crate::text::Names;

/// Why a policy is refused; an incomplete one would permit too much.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// No scope.
    #[error("no scope is named; name at least one, or write `public: true`")]
    Scopes,
    /// No issuer.
    #[error("no issuer is named; name at least one")]
    Issuers,
    /// No sender constraint.
    #[error("no sender constraint is named; name certificate, dpop or both")]
    SenderConstraints,
    /// A scope that does not follow the syntax of RFC 6749 §3.3.
    #[error("{scope:?} is not a scope: it is empty, or has characters that RFC 6749 section 3.3 does not allow")]
    ScopeSyntax {
        /// The scope, as it may be printed.
        scope: Box<str>,
    },
    /// No client, or one without a name.
    #[error("no client is named, or one is empty; name at least one in `allow` or `deny`")]
    Clients,
    /// A client that is allowed and denied.
    #[error("`{client}` is in `allow` and in `deny`; remove it from one of them")]
    ClientTwice {
        /// Its `client_id`.
        client: Box<str>,
    },
    /// Neither an organisation nor software.
    #[error("nobody is named; write `organisation`, `software` or both")]
    Participant,
    /// A lifetime of less than a second.
    #[error("no token lives for less than a second; write a longer time")]
    TokenLifetime,
    /// Not a JSON pointer, or one that names all claims at once.
    #[error("is not a JSON pointer to a claim; write one such as `/acr` or `/consent/status` (RFC 6901)")]
    Pointer,
    /// No value that a claim may have.
    #[error("no value is named; name at least one")]
    ClaimValues,
    /// Nothing that a certificate would have to have.
    #[error("nothing is required of the certificate; write `roles` or `organisation`")]
    Certificate,
    /// A claim that would be compared with the body.
    #[error(
        "a claim is compared before the body is read; compare it with the path, the query or the method, or compare the body with an element in `authorization_details`"
    )]
    ClaimBody,
    /// An element without a type.
    #[error("no type is named; write that of the elements, such as `payment_initiation`")]
    DetailType,
    /// Not a JSON pointer, or one that names a whole element.
    #[error("is not a JSON pointer into an element; write one such as `/creditorAccount/iban` (RFC 6901)")]
    DetailPointer,
    /// Not a JSON pointer, or one that names the whole body.
    #[error("is not a JSON pointer into the body; write one such as `{{ body: /instructedAmount }}` (RFC 6901)")]
    BodyPointer,
    /// Neither a class nor an age.
    #[error("nothing is required of the authentication; write `acr` or `max_age`")]
    Authentication,
    /// A text with which no scope begins.
    #[error("no scope begins with that; write such as `consent:`")]
    ConsentScope,
    /// No state of a consent, or an empty one.
    #[error("no status is named, or one is empty; name those with which a consent can be used")]
    ConsentStatuses,
    /// Not a JSON pointer, or one that names a whole answer.
    #[error("is not a JSON pointer into the answer; write one such as `/data/status` (RFC 6901)")]
    AnswerPointer,
    /// A class that a challenge cannot name.
    #[error("a class is empty or has characters that cannot stand in a challenge; write it without spaces and quotes")]
    AcrSyntax,
}

/// Why a token or a request does not satisfy a policy, or why that cannot be said of the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Its scopes do not cover the route.
    #[error("scope is {found}, the route needs {needed}")]
    ScopeInsufficient {
        /// The token's scopes.
        found: Names,
        /// The route's scopes, as shown: one in quotes, or `all of` or `one of` a list.
        needed: Box<str>,
    },
    /// The route is not for its client.
    #[error("client_id is {found}, for which the route is not")]
    ClientRefused {
        /// Its client.
        found: Box<str>,
    },
    /// A directory does not have its client as an active participant, or nobody can say whether it has.
    #[error("directory {directory:?}: {error}")]
    Participant {
        /// The directory's configured name.
        directory: Box<str>,
        /// Why.
        error: ParticipantError,
    },
    /// It stands for nobody but the client itself.
    #[error("sub is {found}, the route needs a subject other than the client")]
    SubjectMissing {
        /// Its subject.
        found: Box<str>,
    },
    /// It stands for somebody other than the client.
    #[error("sub is {found}, the route is for clients that act for themselves")]
    SubjectRefused {
        /// Its subject.
        found: Box<str>,
    },
    /// It lives longer than the route allows, or may.
    #[error("{}, the route allows {longest}", shown_lifetime(*.found))]
    TokenLifetimeExceeded {
        /// The seconds between `iat` and `exp`; `None` if one of them is missing.
        found: Option<u64>,
        /// The most seconds.
        longest: u64,
    },
    /// A claim is missing or not what the route requires.
    #[error("the claim {claim} is {found}, which the route does not accept")]
    ClaimRefused {
        /// The JSON pointer to it.
        claim: Box<str>,
        /// Its value.
        found: Box<str>,
    },
    /// The request does not have what a claim is compared with, or not with one reading.
    #[error("{lack}, so the claim {claim} cannot be compared with it")]
    ClaimIncomparable {
        /// The JSON pointer to it.
        claim: Box<str>,
        /// What the request does not have.
        lack: Box<str>,
    },
    /// `authorization_details` is not what RFC 9396 §2 says.
    #[error("authorization_details is not a list of objects that each have a type")]
    AuthorizationDetailsMalformed,
    /// No element of `authorization_details` has all that an entry of the route requires.
    #[error("no element of authorization_details meets entry {entry} of the route, type {kind:?}: {why}")]
    AuthorizationDetailsInsufficient {
        /// The index of the entry.
        entry: usize,
        /// Its type.
        kind: Box<str>,
        /// What the nearest element lacks; names members, and nothing of their values.
        why: Box<str>,
    },
    /// No consent is named, or not one.
    #[error("the route needs the consent in {place}, and {why}")]
    ConsentMissing {
        /// Where it has to be.
        place: Box<str>,
        /// What is there.
        why: &'static str,
    },
    /// The request, or the consent, is not the token's.
    #[error("the consent is not that of {what}")]
    ConsentMismatch {
        /// What is another's.
        what: Box<str>,
    },
    /// Nobody knows the consent.
    #[error("there is no such consent")]
    ConsentUnknown,
    /// Its time is over.
    #[error("the consent is {status}")]
    ConsentExpired {
        /// Its state.
        status: Box<str>,
    },
    /// It was taken back.
    #[error("the consent is {status}")]
    ConsentRevoked {
        /// Its state.
        status: Box<str>,
    },
    /// It is in another state.
    #[error("the consent is {status}, the route needs one of {needed}")]
    ConsentRefused {
        /// Its state.
        status: Box<str>,
        /// The states that the route accepts.
        needed: Names,
    },
    /// The request has no body that it could be compared with.
    #[error("the body is not declared as JSON in UTF-8 without a coding, by one Content-Type")]
    BodyTypeUnsupported,
    /// The body can be read in more than one way, or in none.
    #[error("the body is not one JSON object with one reading")]
    BodyUnreadable,
    /// The request says in a malformed way when its customer last logged in.
    #[error("x-fapi-auth-date is not one HTTP-date, such as Tue, 11 Sep 2012 19:43:31 GMT")]
    AuthDateMalformed,
    /// The request says in a malformed way which address its customer has.
    #[error("x-fapi-customer-ip-address is not one IPv4 or IPv6 address")]
    CustomerIpAddressMalformed,
    /// A header field that the ecosystem of the route requires.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A media type that the route does not take, or does not answer with.
    #[error(transparent)]
    MediaType(#[from] MediaTypeError),
    /// The idempotency key.
    #[error(transparent)]
    IdempotencyKey(#[from] IdempotencyError),
    /// The client has no certificate, and the route requires something of it.
    #[error("the route requires something of the client's certificate, {reason}")]
    CertificateMissing {
        /// Why there is none.
        reason: NoCertificate,
    },
    /// The client's certificate has expired or is not valid yet.
    #[error("the certificate is not valid at {now}, its validity ends at {not_after}")]
    CertificateExpired {
        /// The time of the request.
        now: UnixTime,
        /// `notAfter`.
        not_after: UnixTime,
    },
    /// Nobody has verified who issued the client's certificate.
    #[error("the route requires something of the client's certificate, whose chain is not verified")]
    CertificateUnverified,
    /// The client's certificate has more than one reading, or none.
    #[error("the client's certificate cannot be read: {0}")]
    CertificateUnreadable(CertificateFault),
    /// The client's certificate is not of the kind that the ecosystem of the route asks for.
    #[error("the client's certificate is of another kind: {0}")]
    CertificateKindRefused(KindFault),
    /// The client's certificate gives it none of the roles of the route.
    #[error("the certificate gives the roles {found}, the route needs one of {needed}")]
    CertificateRoleRefused {
        /// The roles of the certificate.
        found: Names,
        /// Those of the route.
        needed: Names,
    },
    /// The client's certificate is of another organisation, or for another software, than the token.
    #[error("the claim {claim} is {found}, the certificate says {expected}")]
    CertificateOrganisationRefused {
        /// The JSON pointer to the claim.
        claim: Box<str>,
        /// Its value.
        found: Box<str>,
        /// What the certificate says.
        expected: Box<str>,
    },
    /// Its user was authenticated in another way.
    #[error("acr is {found}, the route needs one of {needed}")]
    AcrInsufficient {
        /// Its class.
        found: Box<str>,
        /// The classes of the route.
        needed: Names,
    },
    /// Its user was authenticated too long ago, or nobody knows when.
    #[error("auth_time is {found} at {now}, the route allows {max_age} seconds")]
    AuthenticationTooOld {
        /// Its `auth_time`.
        found: Box<str>,
        /// The time of the request.
        now: UnixTime,
        /// The most seconds.
        max_age: u64,
    },
}

fn shown_lifetime(found: Option<u64>) -> String {
    match found {
        Some(seconds) => format!("the token lives for {seconds} seconds"),
        None => "the token lacks iat or exp".to_owned(),
    }
}

impl PolicyError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::ScopeInsufficient { .. } => Code::ScopeInsufficient,
            Self::ClientRefused { .. } => Code::ClientRefused,
            Self::Participant { error, .. } => match error {
                ParticipantError::Unnamed(_)
                | ParticipantError::Unknown { .. }
                | ParticipantError::Unrelated { .. } => Code::ParticipantUnknown,
                ParticipantError::Inactive { .. } => Code::ParticipantInactive,
                ParticipantError::RoleMissing { .. } => Code::ParticipantRoleMissing,
                ParticipantError::NeverRead | ParticipantError::TooOld { .. } => Code::DirectoryUnavailable,
            },
            Self::SubjectMissing { .. } => Code::SubjectMissing,
            Self::SubjectRefused { .. } => Code::SubjectRefused,
            Self::TokenLifetimeExceeded { .. } => Code::TokenLifetimeExceeded,
            Self::ClaimRefused { .. } | Self::ClaimIncomparable { .. } => Code::ClaimRefused,
            Self::AuthorizationDetailsMalformed => Code::TokenClaimMalformed,
            Self::AuthorizationDetailsInsufficient { .. } => Code::AuthorizationDetailsInsufficient,
            Self::ConsentMissing { .. } => Code::ConsentMissing,
            Self::ConsentMismatch { .. } => Code::ConsentMismatch,
            Self::ConsentUnknown => Code::ConsentUnknown,
            Self::ConsentExpired { .. } => Code::ConsentExpired,
            Self::ConsentRevoked { .. } => Code::ConsentRevoked,
            Self::ConsentRefused { .. } => Code::ConsentRefused,
            Self::BodyTypeUnsupported => Code::BodyTypeUnsupported,
            Self::BodyUnreadable => Code::BodyUnreadable,
            Self::AuthDateMalformed => Code::AuthDateMalformed,
            Self::CustomerIpAddressMalformed => Code::CustomerIpAddressMalformed,
            Self::Header(HeaderError::Missing { .. }) => Code::HeaderMissing,
            Self::Header(HeaderError::Invalid { .. }) => Code::HeaderInvalid,
            Self::Header(HeaderError::InvalidVersion { .. }) => Code::VersionInvalid,
            Self::Header(HeaderError::UnsupportedVersion) => Code::VersionUnsupported,
            Self::MediaType(MediaTypeError::Unsupported { .. }) => Code::MediaTypeUnsupported,
            Self::MediaType(MediaTypeError::NotAcceptable) => Code::NotAcceptable,
            Self::IdempotencyKey(error) => error.code(),
            Self::CertificateMissing { .. } => Code::CertificateMissing,
            Self::CertificateExpired { .. } => Code::CertificateExpired,
            Self::CertificateUnverified | Self::CertificateUnreadable(_) | Self::CertificateKindRefused(_) => {
                Code::CertificateKindRefused
            }
            Self::CertificateRoleRefused { .. } => Code::CertificateRoleRefused,
            Self::CertificateOrganisationRefused { .. } => Code::CertificateOrganisationRefused,
            Self::AcrInsufficient { .. } => Code::AcrInsufficient,
            Self::AuthenticationTooOld { .. } => Code::AuthenticationTooOld,
        }
    }
}
