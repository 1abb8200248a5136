//! UK Open Banking: the Read/Write API profile, versions 3.1 and 4.0.

use http::StatusCode;
use serde_json::json;

use super::body::ErrorBody;
use super::certificate::{KindFault, check_for_web, provider};
use super::headers::{AUTH_DATE, CUSTOMER_IP_ADDRESS, HeaderRule, IDEMPOTENCY_KEY};
use super::media_types::MediaTypes;
use super::rules::{certificate_rule, consent_rule, idempotency_rule, media_type_rule, role_rule};
use crate::code::Code;
use crate::error_format::told::Told;
use crate::participant::{ParticipantCertificate, Role};
use crate::profile::{Enforced, Rule, Setting};

pub(super) const HEADERS: &[HeaderRule] = &[AUTH_DATE, CUSTOMER_IP_ADDRESS, IDEMPOTENCY_KEY];

/// UK-04: JSON, or JSON that is encrypted.
pub(super) fn media_types() -> MediaTypes {
    let types = ["application/json", "application/jose+jwe"];
    MediaTypes::of(&types, &types)
}

/// A version of the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V3,
    V4,
}

/// The id of the rule about the kind of certificate.
pub(super) const CERTIFICATE: &str = "uk_obie.certificate";
/// The id of the rule about the role that a certificate gives.
pub(super) const ROLE: &str = "uk_obie.certificate.role";

/// UK-16: that of a payment service provider, OBWAC or QWAC, and none for seals.
pub(super) fn check_certificate(certificate: &ParticipantCertificate) -> Result<(), KindFault> {
    provider(&certificate.statements)?;
    check_for_web(&certificate.statements)
}

/// UK-16: by scopes.
pub(super) fn roles<'n>(scopes: impl Iterator<Item = &'n str>) -> Vec<Role> {
    let role = |scope: &str| match scope {
        "accounts" => Some(Role::AccountInformation),
        "payments" => Some(Role::PaymentInitiation),
        "fundsconfirmations" => Some(Role::CardIssuing),
        _ => None,
    };
    scopes.filter_map(role).collect()
}

/// UK-09, UK-12 to UK-15: 400 and 5xx have a body, and in version 4.0 so has 401 for a token that has expired. Others need none.
pub(super) fn error(version: Version, told: &Told<'_>) -> ErrorBody {
    let is_of_expiry = version == Version::V4 && told.code == Code::TokenExpired;
    if told.status == StatusCode::BAD_REQUEST || told.status.is_server_error() || is_of_expiry {
        error_with_body(version, told)
    } else {
        ErrorBody::Empty
    }
}

/// The same for every status.
pub(super) fn error_with_body(version: Version, told: &Told<'_>) -> ErrorBody {
    let (name, number) = names(told);
    let code = match version {
        Version::V3 => name,
        Version::V4 => number,
    };
    ErrorBody::json(json!({
        "Code": format!("{} {}", told.status.as_str(), told.reason()),
        "Id": told.interaction,
        "Message": told.description,
        "Errors": [{ "ErrorCode": code, "Message": told.description }],
    }))
}

/// What version 3.1 and version 4.0 call it.
fn names(told: &Told<'_>) -> (&'static str, &'static str) {
    match (told.code, told.status.is_server_error()) {
        (Code::HeaderMissing, _) => ("UK.OBIE.Header.Missing", "U007"),
        (
            Code::HeaderInvalid
            | Code::VersionInvalid
            | Code::AuthDateMalformed
            | Code::CustomerIpAddressMalformed
            | Code::BodyTypeUnsupported
            | Code::IdempotencyKeyReused,
            _,
        ) => ("UK.OBIE.Header.Invalid", "U006"),
        (Code::SignatureMissing, _) => ("UK.OBIE.Signature.Missing", "U019"),
        (Code::SignatureMalformed, _) => ("UK.OBIE.Signature.Malformed", "U018"),
        (Code::SignatureClaimMissing, _) => ("UK.OBIE.Signature.MissingClaim", "U017"),
        // Such as "a kid that does not resolve to a valid certificate".
        (
            Code::SignatureClaimRefused
            | Code::SignatureStale
            | Code::SignatureKeyUnknown
            | Code::SignatureAlgorithmRefused,
            _,
        ) => ("UK.OBIE.Signature.InvalidClaim", "U016"),
        (code, _) if code.is_about_signatures() => ("UK.OBIE.Signature.Invalid", "U015"),
        (Code::TokenExpired, _) => ("UK.OBIE.Reauthenticate", "U028"),
        (_, true) => ("UK.OBIE.UnexpectedError", "U000"),
        (_, false) => ("UK.OBIE.Resource.InvalidFormat", "U010"),
    }
}

const MEDIA_TYPE_RULE: Rule = media_type_rule(
    "uk_obie.request.media_types",
    "Read/Write API profile §2.5.1, §2.6",
    "Content is JSON in UTF-8 or a JWE, or of a media type that the route names, and one of these is accepted in return.",
);

const IDEMPOTENCY_RULE: Rule = idempotency_rule("uk_obie.request.idempotency", "Read/Write API profile, § Idempotency");

const HEADER_RULE: Rule = Rule {
    id: "uk_obie.request.headers",
    clause: "Read/Write API profile §2.5.1",
    says: "The date of the customer's login, the customer's address and the idempotency key have their forms, where they are there.",
    setting: Setting::Key("profile.ecosystem"),
    enforced: Enforced::Request,
    codes: &[Code::HeaderInvalid],
    waivable: None,
};

const CONSENT_RULE: Rule = consent_rule("uk_obie.consent", "Read/Write API profile § Consents, intent");

const CERTIFICATE_RULE: Rule = certificate_rule(
    CERTIFICATE,
    "Open Banking directory, § Certificates; ETSI TS 119 495 §5.1",
    "A client has a certificate that states which payment service provider it is, OBWAC or QWAC, and is not one for seals.",
);

const ROLE_RULE: Rule = role_rule(ROLE, "Read/Write API profile, § Scopes; ETSI TS 119 495 §5.2.2");

pub(super) const RULES_3_1: &[Rule] = &[
    HEADER_RULE,
    MEDIA_TYPE_RULE,
    IDEMPOTENCY_RULE,
    CERTIFICATE_RULE,
    ROLE_RULE,
    CONSENT_RULE,
    Rule {
        id: "uk_obie.errors",
        clause: "Read/Write API profile 3.1 §2.6, §2.19",
        says: "Refusals with 400 and 5xx have the error structure, and others have no body.",
        setting: Setting::Key("routes[].errors"),
        enforced: Enforced::Answer,
        codes: &[],
        waivable: None,
    },
];

pub(super) const RULES_4_0: &[Rule] = &[
    HEADER_RULE,
    MEDIA_TYPE_RULE,
    IDEMPOTENCY_RULE,
    CERTIFICATE_RULE,
    ROLE_RULE,
    CONSENT_RULE,
    Rule {
        id: "uk_obie.errors",
        clause: "Read/Write API profile 4.0 §2.6, §2.19",
        says: "Refusals with 400 and 5xx, and of an expired token, have the error structure, and others have no body.",
        setting: Setting::Key("routes[].errors"),
        enforced: Enforced::Answer,
        codes: &[],
        waivable: None,
    },
];
