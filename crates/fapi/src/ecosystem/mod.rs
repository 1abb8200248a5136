//! What the rules of an ecosystem add to FAPI: each is data and a small function, with a version, and nothing of it is in the line.
//!
//! | name | module | specification |
//! | --- | --- | --- |
//! | `uk-obie-3.1`, `uk-obie-4.0` | `uk_obie` | UK Open Banking Read/Write API profile |
//! | `brazil` | `brazil` | Open Finance Brazil: FAPI-BR, API guidelines |
//! | `cdr` | `cdr` | Consumer Data Standards (Australia) |
//! | `berlin-group` | `berlin_group` | Berlin Group NextGenPSD2 implementation guidelines |
//! | `uae`, `ksa` | `gulf` | CBUAE Open Finance, SAMA Open Banking |
//! | `fdx` | `fdx` | FDX API |
//! | `connectid` | `connect_id` | ConnectID (Australia) |
//! | `smart` | `smart` | SMART App Launch, FHIR |
//!
//! They say which header fields a request needs, which media types there are, for how long tokens live, which certificate a client has,
//! and how clients are told of a refusal. Not what consents and directories of participants say.

mod berlin_group;
mod body;
mod brazil;
mod cdr;
mod certificate;
mod connect_id;
mod fdx;
mod gulf;
mod headers;
mod media_types;
mod rules;
mod smart;
mod uk_obie;
mod versions;

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::code::Code;
use crate::error_format::told::Told;
use crate::participant::{OrganizationId, ParticipantCertificate, Role, SubjectFault};
use crate::profile::Rule;
use crate::text::{canonical_uuid, sole_value};

pub use self::body::ErrorBody;
pub use self::certificate::KindFault;
pub use self::headers::{Form, HeaderError, HeaderRule, Needed};
pub use self::media_types::{MediaType, MediaTypeError, MediaTypes};
pub use self::versions::Versions;

/// An ecosystem, in a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ecosystem {
    /// UK Open Banking 3.1.
    UkObie31,
    /// UK Open Banking 4.0.
    UkObie40,
    /// Open Finance Brazil.
    Brazil,
    /// The Consumer Data Right of Australia.
    Cdr,
    /// The Berlin Group's NextGenPSD2.
    BerlinGroup,
    /// Open Finance in the UAE.
    Uae,
    /// Open Banking in Saudi Arabia.
    Ksa,
    /// The Financial Data Exchange of North America.
    Fdx,
    /// ConnectID of Australia.
    ConnectId,
    /// SMART on FHIR.
    Smart,
}

impl Ecosystem {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::UkObie31,
        Self::UkObie40,
        Self::Brazil,
        Self::Cdr,
        Self::BerlinGroup,
        Self::Uae,
        Self::Ksa,
        Self::Fdx,
        Self::ConnectId,
        Self::Smart,
    ];

    /// Its name in configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UkObie31 => "uk-obie-3.1",
            Self::UkObie40 => "uk-obie-4.0",
            Self::Brazil => "brazil",
            Self::Cdr => "cdr",
            Self::BerlinGroup => "berlin-group",
            Self::Uae => "uae",
            Self::Ksa => "ksa",
            Self::Fdx => "fdx",
            Self::ConnectId => "connectid",
            Self::Smart => "smart",
        }
    }

    /// The specification that it stands for.
    pub const fn version(self) -> &'static str {
        match self {
            Self::UkObie31 => "UK Open Banking Read/Write API 3.1",
            Self::UkObie40 => "UK Open Banking Read/Write API 4.0",
            Self::Brazil => "Open Finance Brazil",
            Self::Cdr => "Consumer Data Standards (Australia)",
            Self::BerlinGroup => "Berlin Group NextGenPSD2",
            Self::Uae => "UAE Open Finance API 2.1",
            Self::Ksa => "KSA Open Banking",
            Self::Fdx => "FDX API",
            Self::ConnectId => "ConnectID",
            Self::Smart => "SMART App Launch",
        }
    }

    /// Its rules, which the others of a profile come beside.
    pub const fn rules(self) -> &'static [Rule] {
        match self {
            Self::UkObie31 => uk_obie::RULES_3_1,
            Self::UkObie40 => uk_obie::RULES_4_0,
            Self::Brazil => brazil::RULES,
            Self::Cdr => cdr::RULES,
            Self::BerlinGroup => berlin_group::RULES,
            Self::Uae => gulf::RULES_UAE,
            Self::Ksa => gulf::RULES_KSA,
            Self::Fdx => fdx::RULES,
            Self::ConnectId => connect_id::RULES,
            Self::Smart => smart::RULES,
        }
    }

    /// What it says of the header fields of requests, in the order in which they are checked.
    pub const fn headers(self) -> &'static [HeaderRule] {
        match self {
            Self::UkObie31 | Self::UkObie40 => uk_obie::HEADERS,
            Self::Brazil => brazil::HEADERS,
            Self::Cdr => cdr::HEADERS,
            Self::BerlinGroup => berlin_group::HEADERS,
            Self::Uae => gulf::HEADERS_UAE,
            Self::Ksa => gulf::HEADERS_KSA,
            Self::Fdx => fdx::HEADERS,
            Self::ConnectId => connect_id::HEADERS,
            Self::Smart => &[],
        }
    }

    /// Checks the header fields of a request.
    ///
    /// # Errors
    /// [`HeaderError`], for the first rule that it breaks.
    pub fn check_headers(self, headers: &HeaderMap) -> Result<(), HeaderError> {
        headers::check(self.headers(), headers)
    }

    /// Checks whether one of the versions of a resource is one that a request understands, whose fields were
    /// [checked](Self::check_headers).
    ///
    /// # Errors
    /// [`HeaderError::UnsupportedVersion`].
    pub fn check_versions(self, versions: &Versions, headers: &HeaderMap) -> Result<(), HeaderError> {
        if self.has_versions() { versions.check(headers) } else { Ok(()) }
    }

    /// Whether its requests name the versions that they understand.
    pub const fn has_versions(self) -> bool {
        matches!(self, Self::Cdr)
    }

    /// The media types of its resources, if it says which these are.
    pub fn media_types(self) -> Option<MediaTypes> {
        match self {
            Self::UkObie31 | Self::UkObie40 => Some(uk_obie::media_types()),
            Self::Brazil => Some(brazil::media_types()),
            Self::Cdr => Some(cdr::media_types()),
            Self::BerlinGroup => Some(berlin_group::media_types()),
            Self::Uae | Self::Ksa | Self::Fdx | Self::ConnectId | Self::Smart => None,
        }
    }

    /// How long an access token may live, if it says so.
    pub const fn longest_token_lifetime(self) -> Option<Duration> {
        match self {
            Self::Brazil => Some(brazil::LONGEST_TOKEN_LIFETIME),
            Self::Cdr => Some(cdr::LONGEST_TOKEN_LIFETIME),
            Self::UkObie31
            | Self::UkObie40
            | Self::BerlinGroup
            | Self::Uae
            | Self::Ksa
            | Self::Fdx
            | Self::ConnectId
            | Self::Smart => None,
        }
    }

    /// The id of its rule about the kind of certificate that a client has, if it has one.
    pub const fn certificate_rule(self) -> Option<&'static str> {
        match self {
            Self::UkObie31 | Self::UkObie40 => Some(uk_obie::CERTIFICATE),
            Self::Brazil => Some(brazil::CERTIFICATE),
            Self::BerlinGroup => Some(berlin_group::CERTIFICATE),
            Self::Cdr | Self::Uae | Self::Ksa | Self::Fdx | Self::ConnectId | Self::Smart => None,
        }
    }

    /// The id of its rule about the role that a certificate gives to a client, if it has one.
    pub const fn role_rule(self) -> Option<&'static str> {
        match self {
            Self::UkObie31 | Self::UkObie40 => Some(uk_obie::ROLE),
            Self::BerlinGroup => Some(berlin_group::ROLE),
            Self::Brazil | Self::Cdr | Self::Uae | Self::Ksa | Self::Fdx | Self::ConnectId | Self::Smart => None,
        }
    }

    /// The roles of a service, of which a client has one: by the scopes of its route, or by the literal segments of its path.
    /// Empty, if they do not say.
    pub fn roles<'n>(
        self,
        scopes: impl Iterator<Item = &'n str>,
        segments: impl Iterator<Item = &'n str>,
    ) -> Vec<Role> {
        match self {
            Self::UkObie31 | Self::UkObie40 => uk_obie::roles(scopes),
            Self::BerlinGroup => berlin_group::roles(segments),
            Self::Brazil | Self::Cdr | Self::Uae | Self::Ksa | Self::Fdx | Self::ConnectId | Self::Smart => Vec::new(),
        }
    }

    /// Checks what kind of certificate a client has.
    ///
    /// # Errors
    /// [`KindFault`].
    pub fn check_certificate(self, certificate: &ParticipantCertificate) -> Result<(), KindFault> {
        match self {
            Self::UkObie31 | Self::UkObie40 => uk_obie::check_certificate(certificate),
            Self::Brazil => brazil::check_certificate(certificate),
            Self::BerlinGroup => berlin_group::check_certificate(certificate),
            Self::Cdr | Self::Uae | Self::Ksa | Self::Fdx | Self::ConnectId | Self::Smart => Ok(()),
        }
    }

    /// The organisation of a certificate.
    ///
    /// # Errors
    /// [`SubjectFault`].
    pub fn organization(self, certificate: &ParticipantCertificate) -> Result<OrganizationId, SubjectFault> {
        match self {
            Self::Brazil => brazil::organization(certificate),
            Self::UkObie31
            | Self::UkObie40
            | Self::Cdr
            | Self::BerlinGroup
            | Self::Uae
            | Self::Ksa
            | Self::Fdx
            | Self::ConnectId
            | Self::Smart => certificate.organization(),
        }
    }

    /// The status of a refusal with this code, where it is another than everywhere else.
    pub(crate) fn status(self, code: Code) -> Option<StatusCode> {
        match (self, code) {
            // BG-03, BG-06: CERTIFICATE_INVALID and ROLE_INVALID come with 401.
            (Self::BerlinGroup, code) if code.is_about_certificates() => Some(StatusCode::UNAUTHORIZED),
            // UK-06: the specification has no 422, and 400 alone has a body.
            (Self::UkObie31 | Self::UkObie40 | Self::Ksa, Code::IdempotencyKeyReused) => Some(StatusCode::BAD_REQUEST),
            // BG-08.
            (Self::BerlinGroup, Code::ConsentMissing) => Some(StatusCode::BAD_REQUEST),
            (
                Self::BerlinGroup,
                Code::ConsentExpired | Code::ConsentRevoked | Code::ConsentRefused | Code::ConsentMismatch,
            ) => Some(StatusCode::UNAUTHORIZED),
            _ => None,
        }
    }

    /// How it tells of a refusal.
    pub(crate) fn error(self, told: &Told<'_>) -> ErrorBody {
        match self {
            Self::UkObie31 => uk_obie::error(uk_obie::Version::V3, told),
            Self::UkObie40 => uk_obie::error(uk_obie::Version::V4, told),
            Self::Brazil => brazil::error(told),
            Self::Cdr => cdr::error(told),
            Self::BerlinGroup => berlin_group::error(told),
            Self::Uae => gulf::error(told),
            Self::Ksa => uk_obie::error_with_body(uk_obie::Version::V3, told),
            Self::Fdx => fdx::error(told),
            Self::ConnectId => ErrorBody::Usual,
            Self::Smart => smart::error(told),
        }
    }

    /// What it calls a consent that can be used; nothing where its consents have no states of their own.
    pub const fn consent_statuses(self) -> &'static [&'static str] {
        match self {
            Self::UkObie31 => &["Authorised"],
            Self::UkObie40 => &["AUTH"],
            Self::Brazil => &["AUTHORISED"],
            Self::BerlinGroup => &["valid"],
            Self::Uae => &["Authorized"],
            Self::Ksa => &["Authorised"],
            Self::Fdx => &["ACTIVE"],
            Self::Cdr | Self::ConnectId | Self::Smart => &[],
        }
    }

    /// What of a request every response has to repeat, if it is a UUID.
    pub fn repeated(self, request: &HeaderMap) -> Option<(HeaderName, HeaderValue)> {
        let name = self.echoed()?;
        let value = sole_value(request, &name)?;
        value.to_str().ok().and_then(canonical_uuid)?;
        Some((name, value.clone()))
    }

    const fn echoed(self) -> Option<HeaderName> {
        match self {
            Self::BerlinGroup => Some(berlin_group::X_REQUEST_ID),
            Self::UkObie31
            | Self::UkObie40
            | Self::Brazil
            | Self::Cdr
            | Self::Uae
            | Self::Ksa
            | Self::Fdx
            | Self::ConnectId
            | Self::Smart => None,
        }
    }
}

#[cfg(test)]
mod tests;
