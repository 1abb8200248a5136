//! The Berlin Group's NextGenPSD2: the implementation guidelines.

use http::HeaderName;
use serde_json::json;

use super::body::ErrorBody;
use super::certificate::{KindFault, check_for_web, provider};
use super::headers::{Form, HeaderRule, Needed};
use super::media_types::MediaTypes;
use super::rules::{certificate_rule, consent_rule, media_type_rule, role_rule};
use crate::code::Code;
use crate::error_format::told::Told;
use crate::participant::{OrganizationId, ParticipantCertificate, Role, SubjectAttribute};
use crate::profile::{Enforced, Rule, Setting};
use crate::text::shown_text;

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

/// The id of the rule about the kind of certificate.
pub(super) const CERTIFICATE: &str = "berlin_group.certificate";
/// The id of the rule about the role that a certificate gives.
pub(super) const ROLE: &str = "berlin_group.certificate.role";

/// BG-01, BG-04, BG-05: a qualified certificate for web sites, of the payment service provider that its subject names.
pub(super) fn check_certificate(certificate: &ParticipantCertificate) -> Result<(), KindFault> {
    let statements = &certificate.statements;
    if !statements.compliance {
        return Err(KindFault::Lacks("has no QcCompliance"));
    }
    if statements.kinds.is_none() {
        return Err(KindFault::Lacks("has no QcType"));
    }
    check_for_web(statements)?;
    let provider = provider(statements)?;
    match certificate.organization()? {
        OrganizationId::Provider { authority, .. } if authority == provider.authority_id => Ok(()),
        OrganizationId::Provider { authority, .. } => {
            Err(KindFault::Authority { found: authority, expected: shown_text(&provider.authority_id) })
        }
        other @ (OrganizationId::Brazil(_) | OrganizationId::Other(_)) => Err(KindFault::SubjectValue {
            attribute: SubjectAttribute::OrganizationIdentifier,
            found: shown_text(&other.to_string()),
            expected: "that of a payment service provider, such as PSDDE-BAFIN-123456",
        }),
    }
}

/// BG-03: by the first literal segment of the path that is the name of a service.
pub(super) fn roles<'n>(segments: impl Iterator<Item = &'n str>) -> Vec<Role> {
    let mut segments = segments.peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "consents" if segments.peek() == Some(&"confirmation-of-funds") => return vec![Role::CardIssuing],
            "accounts" | "card-accounts" | "consents" => return vec![Role::AccountInformation],
            "payments" | "bulk-payments" | "periodic-payments" => return vec![Role::PaymentInitiation],
            "funds-confirmations" => return vec![Role::CardIssuing],
            "signing-baskets" => return vec![Role::PaymentInitiation, Role::AccountInformation],
            _ => {}
        }
    }
    Vec::new()
}

/// BG-03, BG-06 to BG-10, BG-12.
pub(super) fn error(told: &Told<'_>) -> ErrorBody {
    let code = match (told.code, told.status.as_u16()) {
        (Code::CertificateMissing, _) => "CERTIFICATE_MISSING",
        (Code::CertificateExpired, _) => "CERTIFICATE_EXPIRED",
        (
            Code::SignatureCertificateRefused | Code::CertificateKindRefused | Code::CertificateOrganisationRefused,
            _,
        ) => "CERTIFICATE_INVALID",
        (Code::CertificateRoleRefused, _) => "ROLE_INVALID",
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
        says: "A request has one X-Request-ID, a UUID, which the response repeats.",
        setting: Setting::Key("profile.ecosystem"),
        enforced: Enforced::Request,
        codes: &[Code::HeaderMissing, Code::HeaderInvalid],
        waivable: None,
    },
    consent_rule("berlin_group.consent", "NextGenPSD2 implementation guidelines, § Consents"),
    media_type_rule(
        "berlin_group.request.media_types",
        "NextGenPSD2 implementation guidelines, § Error codes",
        "Content is JSON in UTF-8, XML, or both as a form, or of a media type that the route names, and JSON, XML or text is accepted in return.",
    ),
    certificate_rule(
        CERTIFICATE,
        "RTS on SCA, § Article 34; ETSI EN 319 412-5 §4.2.3; ETSI TS 119 495 §5.1, §5.2.1",
        "A client has a qualified certificate for web sites, of the payment service provider that its subject names.",
    ),
    role_rule(ROLE, "NextGenPSD2 implementation guidelines, § Error codes; ETSI TS 119 495 §5.2.2"),
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
