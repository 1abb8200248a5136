//! The Consumer Data Right of Australia: the Consumer Data Standards.

use std::time::Duration;

use serde_json::json;

use super::body::ErrorBody;
use super::headers::{AUTH_DATE, CUSTOMER_IP_ADDRESS, Form, HeaderRule, INTERACTION_ID, Needed};
use super::media_types::MediaTypes;
use super::rules::{consent_rule, lifetime_rule, media_type_rule};
use super::versions::{X_MIN_V, X_V};
use crate::code::Code;
use crate::error_format::told::Told;
use crate::profile::{Enforced, Rule, Setting};

/// AU-05, AU-07 to AU-09.
pub(super) const HEADERS: &[HeaderRule] = &[
    HeaderRule { name: X_V, needed: Needed::Always, form: Form::Version },
    HeaderRule { name: X_MIN_V, needed: Needed::No, form: Form::Version },
    INTERACTION_ID,
    HeaderRule { needed: Needed::Always, ..AUTH_DATE },
    CUSTOMER_IP_ADDRESS,
    HeaderRule { name: "x-cds-client-headers", needed: Needed::Beside(CUSTOMER_IP_ADDRESS.name), form: Form::Base64 },
];

/// AU-14: "between 2 minutes to 10 minutes".
pub(super) const LONGEST_TOKEN_LIFETIME: Duration = Duration::from_secs(600);

/// AU-10.
pub(super) fn media_types() -> MediaTypes {
    MediaTypes::of(&["application/json"], &["application/json"])
}

/// AU-11, AU-12.
pub(super) fn error(told: &Told<'_>) -> ErrorBody {
    let (name, title) = match (told.code, told.status.as_u16()) {
        (Code::HeaderMissing, _) => ("Header/Missing", "Missing Required Header"),
        (Code::VersionInvalid, _) => ("Header/InvalidVersion", "Invalid Version"),
        (Code::VersionUnsupported, _) => ("Header/UnsupportedVersion", "Unsupported Version"),
        (Code::HeaderInvalid | Code::AuthDateMalformed | Code::CustomerIpAddressMalformed, _) => {
            ("Header/Invalid", "Invalid Header")
        }
        (Code::ConsentRevoked | Code::ConsentExpired, _) => ("Authorisation/RevokedConsent", "Consent Is Revoked"),
        (code, _) if code.is_about_consents() => ("Authorisation/InvalidConsent", "Consent Is Invalid"),
        (Code::ParticipantUnknown | Code::ParticipantInactive, _) => {
            ("Authorisation/AdrStatusNotActive", "ADR Status Is Not Active")
        }
        (_, 404) => ("Resource/NotFound", "Resource Not Found"),
        (_, 503) => ("Service/Unavailable", "Service Unavailable"),
        (_, 500..=599) => ("GeneralError/Unexpected", "Unexpected Error Encountered"),
        _ => ("GeneralError/Expected", "Expected Error Encountered"),
    };
    let code = format!("urn:au-cds:error:cds-all:{name}");
    ErrorBody::json(json!({ "errors": [{ "code": code, "title": title, "detail": told.description, "meta": {} }] }))
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "cdr.request.version",
        clause: "Consumer Data Standards, § HTTP Headers",
        says: "A request has one x-v, a positive number, and may have x-min-v, another.",
        setting: Setting::Key("profile.ecosystem"),
        enforced: Enforced::Request,
        codes: &[Code::HeaderMissing, Code::VersionInvalid],
        waivable: None,
    },
    Rule {
        id: "cdr.request.versions_served",
        clause: "Consumer Data Standards, § HTTP Headers",
        says: "Where the route names its versions, one of them is between x-min-v, if that is less, and x-v.",
        setting: Setting::Key("routes[].versions"),
        enforced: Enforced::Request,
        codes: &[Code::VersionUnsupported],
        waivable: None,
    },
    media_type_rule(
        "cdr.request.media_types",
        "Consumer Data Standards, § HTTP Headers",
        "Content is JSON in UTF-8, or of a media type that the route names, and one of these is accepted in return.",
    ),
    lifetime_rule(
        "cdr.token.lifetime",
        "Consumer Data Standards, § Tokens",
        "A token lives for at most 10 minutes; that it lives for at least 2 is left to its issuer.",
    ),
    Rule {
        id: "cdr.request.headers",
        clause: "Consumer Data Standards, § HTTP Headers",
        says: "A request has x-fapi-auth-date, and x-cds-client-headers if the customer is present, each in its form.",
        setting: Setting::Key("profile.ecosystem"),
        enforced: Enforced::Request,
        codes: &[Code::HeaderMissing, Code::HeaderInvalid],
        waivable: None,
    },
    consent_rule("cdr.consent", "Consumer Data Standards, § Error Codes"),
    Rule {
        id: "cdr.errors",
        clause: "Consumer Data Standards, § Error Codes",
        says: "Refusals have errors, each with the URN of the standards, a title and a detail.",
        setting: Setting::Key("routes[].errors"),
        enforced: Enforced::Answer,
        codes: &[],
        waivable: None,
    },
];
