//! Which rules an authorization server has to follow, and which of its endpoints they are for.

use std::time::Duration;

use crate::UnixTime;
use crate::profile::Period;
use crate::shadow::Shadow;

/// What an authorization server has to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerProfile {
    /// FAPI 2.0 Security Profile.
    Fapi2Security,
    /// FAPI 2.0 Message Signing on top: signed request objects, and responses as JWTs.
    Fapi2MessageSigning,
    /// FAPI 1.0 Advanced, with pushed requests.
    Fapi1Advanced,
}

impl ServerProfile {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Fapi2Security, Self::Fapi2MessageSigning, Self::Fapi1Advanced];

    /// Its name in configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fapi2Security => "fapi2-security",
            Self::Fapi2MessageSigning => "fapi2-message-signing",
            Self::Fapi1Advanced => "fapi1-advanced",
        }
    }
}

/// What becomes of a request whose client is not registered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownClients {
    /// It is refused.
    Refused,
    /// What needs no registration data is judged, and the server behind verifies signatures and the rest.
    JudgedWithoutKeys,
}

/// What becomes of parameters beside `client_id` and `request_uri` at the authorization endpoint (FAPI 2.0 §5.3.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherParameters {
    /// The request is refused.
    Refused,
    /// They are left out of what is forwarded.
    Dropped,
}

/// The rules of one authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The index of the server in the list of those behind the gateway.
    pub server: usize,
    /// Its issuer identifier (RFC 8414 §2).
    pub issuer: Box<str>,
    /// The profile.
    pub profile: ServerProfile,
    /// Whether its keys are known here, so that it may answer with JWTs (JARM). Message signing and FAPI 1.0 need that.
    pub jwt_responses: bool,
    /// What becomes of clients that are not registered here.
    pub unknown_clients: UnknownClients,
    /// What becomes of parameters that were not pushed.
    pub other_parameters: OtherParameters,
    /// The grant types that its token endpoint may have.
    pub grant_types: Vec<Box<str>>,
    /// Other audiences of client assertions than the issuer, under FAPI 1.0 and where that is waived: its endpoints.
    pub endpoint_audiences: Vec<Box<str>>,
    /// When its clients may name other audiences than FAPI 2.0 allows.
    pub audience_waived: Option<Period>,
    /// When its authorization responses may be without `iss`.
    pub response_issuer_waived: Option<Period>,
    /// Until when what breaks the rules is noted, and not refused.
    pub shadow: Option<Shadow>,
    /// How long an access token may live, if that is limited.
    pub access_token_lifetime: Option<Duration>,
    /// Whether an answer to a refresh request may have another refresh token (FAPI 2.0 §5.3.2.1 (9)).
    pub refresh_token_rotation: bool,
}

impl Rules {
    /// Whether an authorization request has to be a signed request object.
    pub const fn needs_request_object(&self) -> bool {
        matches!(self.profile, ServerProfile::Fapi2MessageSigning | ServerProfile::Fapi1Advanced)
    }

    /// Whether its authorization responses may be without `iss` at this time.
    pub fn may_lack_issuer(&self, now: UnixTime) -> bool {
        Period::suspends(self.response_issuer_waived, now)
    }
}

/// An endpoint of an authorization server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// Pushed authorization requests (RFC 9126).
    PushedAuthorizationRequest,
    /// Authorization, in the browser (RFC 6749 §3.1).
    Authorization,
    /// The pages behind it: login, consent and what they need.
    Page,
    /// Tokens (RFC 6749 §3.2).
    Token,
    /// Introspection (RFC 7662).
    Introspection,
    /// Revocation (RFC 7009).
    Revocation,
    /// Registration of clients by themselves (RFC 7591).
    Registration,
    /// Its keys.
    Jwks,
    /// Its metadata (RFC 8414).
    Metadata,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: [Self; 9] = [
        Self::PushedAuthorizationRequest,
        Self::Authorization,
        Self::Page,
        Self::Token,
        Self::Introspection,
        Self::Revocation,
        Self::Registration,
        Self::Jwks,
        Self::Metadata,
    ];

    /// Its name in the configuration, and in the names of its routes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PushedAuthorizationRequest => "pushed_authorization_request",
            Self::Authorization => "authorization",
            Self::Page => "page",
            Self::Token => "token",
            Self::Introspection => "introspection",
            Self::Revocation => "revocation",
            Self::Registration => "registration",
            Self::Jwks => "jwks",
            Self::Metadata => "metadata",
        }
    }

    /// The member of the metadata that names it (RFC 8414 §2), if one does.
    pub const fn member(self) -> Option<&'static str> {
        match self {
            Self::PushedAuthorizationRequest => Some("pushed_authorization_request_endpoint"),
            Self::Authorization => Some("authorization_endpoint"),
            Self::Token => Some("token_endpoint"),
            Self::Introspection => Some("introspection_endpoint"),
            Self::Revocation => Some("revocation_endpoint"),
            Self::Registration => Some("registration_endpoint"),
            Self::Jwks => Some("jwks_uri"),
            Self::Page | Self::Metadata => None,
        }
    }

    /// Whether its requests are forms of a client that authenticates itself.
    pub const fn authenticates_clients(self) -> bool {
        match self {
            Self::PushedAuthorizationRequest | Self::Token | Self::Introspection | Self::Revocation => true,
            Self::Authorization | Self::Page | Self::Registration | Self::Jwks | Self::Metadata => false,
        }
    }

    /// Whether its answers are judged as a whole before any of them reaches a client.
    pub const fn holds_answers(self) -> bool {
        match self {
            Self::PushedAuthorizationRequest | Self::Token | Self::Registration | Self::Metadata => true,
            Self::Authorization | Self::Page | Self::Introspection | Self::Revocation | Self::Jwks => false,
        }
    }

    /// Whether a browser shows its answers.
    pub const fn is_for_browsers(self) -> bool {
        matches!(self, Self::Authorization | Self::Page)
    }
}
