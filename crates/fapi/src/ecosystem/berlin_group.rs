//! The Berlin Group's NextGenPSD2: the implementation guidelines.

use http::HeaderName;
use serde_json::json;

use super::body::ErrorBody;
use super::consent::consent_rule;
use super::headers::{Form, HeaderRule, Needed};
use super::media_types::MediaTypes;
use crate::code::Code;
use crate::error_format::told::Told;
use crate::profile::{Enforced, Rule, Setting};

/// The id of a request, which its answer repeats.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// BG-07.
pub(super) const HEADERS: &[HeaderRule] =
    &[HeaderRule { name: "x-request-id", needed: Needed::Always, form: Form::Uuid }];

/// BG-12: JSON, the XML of payment files alone or beside JSON, and accounts as text.
pub(super) fn media_types() -> MediaTypes {
    MediaTypes::of(
        &["application/json", "application/xml", "multipart/form-data"],
        &["application/json", "application/xml", "application/text", "text/plain"],
    )
}

/// BG-06 to BG-10, BG-12.
pub(super) fn error(told: &Told<'_>) -> ErrorBody {
    let code = match (told.code, told.status.as_u16()) {
        (Code::CertificateMissing, _) => "CERTIFICATE_MISSING",
        (Code::CertificateExpired, _) => "CERTIFICATE_EXPIRED",
        (Code::SignatureCertificateRefused, _) => "CERTIFICATE_INVALID",
        (Code::SignatureMissing, _) => "SIGNATURE_MISSING",
        (code, 401) if code.is_about_signatures() => "SIGNATURE_INVALID",
        (Code::ConsentUnknown | Code::ConsentMissing, _) => "CONSENT_UNKNOWN",
        (Code::ConsentExpired, _) => "CONSENT_EXPIRED",
        (Code::ConsentRevoked | Code::ConsentRefused | Code::ConsentMismatch, _) => "CONSENT_INVALID",
        (Code::TokenExpired, _) => "TOKEN_EXPIRED",
        (Code::CredentialsMissing | Code::TokenIssuerUnknown, _) => "TOKEN_UNKNOWN",
        (_, 401) => "TOKEN_INVALID",
        (_, 403) => "SERVICE_BLOCKED",
        (_, 404) => "RESOURCE_UNKNOWN",
        (_, 405) => "SERVICE_INVALID",
        (_, 406) => "REQUESTED_FORMATS_INVALID",
        (_, 429) => "ACCESS_EXCEEDED",
        (_, 500..=599) => "INTERNAL_SERVER_ERROR",
        _ => "FORMAT_ERROR",
    };
    ErrorBody::json(json!({ "tppMessages": [{ "category": "ERROR", "code": code, "text": told.description }] }))
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "berlin_group.request.id",
        clause: "NextGenPSD2 implementation guidelines, § Request headers",
        says: "A request has one X-Request-ID, a UUID, which a refusal repeats.",
        setting: Setting::Key("profile.ecosystem"),
        enforced: Enforced::Request,
        codes: &[Code::HeaderMissing, Code::HeaderInvalid],
        waivable: None,
    },
    consent_rule("berlin_group.consent", "NextGenPSD2 implementation guidelines, § Consents"),
    Rule {
        id: "berlin_group.request.media_types",
        clause: "NextGenPSD2 implementation guidelines, § Error codes",
        says: "Content is JSON in UTF-8, XML, or both as a form, or of a media type that the route names, and JSON, XML or text is accepted in return.",
        setting: Setting::Key("routes[].media_types"),
        enforced: Enforced::Request,
        codes: &[Code::MediaTypeUnsupported, Code::NotAcceptable],
        waivable: None,
    },
    Rule {
        id: "berlin_group.errors",
        clause: "NextGenPSD2 implementation guidelines, § Error codes",
        says: "Refusals have tppMessages, each with category, code and text.",
        setting: Setting::Key("routes[].errors"),
        enforced: Enforced::Answer,
        codes: &[],
        waivable: None,
    },
];
