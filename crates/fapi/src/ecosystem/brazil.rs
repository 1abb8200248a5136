//! Open Finance Brazil: the FAPI-BR security profile and the API guidelines.

use std::time::Duration;

use http::HeaderValue;
use serde_json::json;

use super::body::ErrorBody;
use super::certificate::KindFault;
use super::headers::{AUTH_DATE, CUSTOMER_IP_ADDRESS, HeaderRule, IDEMPOTENCY_KEY, INTERACTION_ID, Needed};
use super::media_types::MediaTypes;
use super::rules::{certificate_rule, consent_rule, idempotency_rule, lifetime_rule, media_type_rule};
use crate::code::Code;
use crate::error_format::told::Told;
use crate::participant::{OrganizationId, ParticipantCertificate, SubjectAttribute, SubjectFault};
use crate::profile::{Enforced, Rule, Setting};
use crate::text::{canonical_uuid, shown_text};

pub(super) const HEADERS: &[HeaderRule] =
    &[HeaderRule { needed: Needed::Always, ..INTERACTION_ID }, AUTH_DATE, CUSTOMER_IP_ADDRESS, IDEMPOTENCY_KEY];

/// BR-05: "between 300 and 900 seconds".
pub(super) const LONGEST_TOKEN_LIFETIME: Duration = Duration::from_secs(900);

/// BR-17: JSON, and signed JSON for payments.
pub(super) fn media_types() -> MediaTypes {
    let types = ["application/json", "application/jwt"];
    MediaTypes::of(&types, &types)
}

/// The id of the rule about the kind of certificate.
pub(super) const CERTIFICATE: &str = "brazil.certificate";

/// BR-07: the profile of BRCAC.
pub(super) fn check_certificate(certificate: &ParticipantCertificate) -> Result<(), KindFault> {
    use SubjectAttribute::{
        BusinessCategory, CommonName, Country, JurisdictionCountry, Locality, Organization, OrganizationIdentifier,
        SerialNumber, State, UserId,
    };
    let named = [
        BusinessCategory,
        JurisdictionCountry,
        SerialNumber,
        Country,
        Organization,
        State,
        Locality,
        UserId,
        CommonName,
    ];
    for attribute in named {
        let text = certificate.subject.sole(attribute)?;
        if let Some(expected) = unmet(attribute, text) {
            return Err(KindFault::SubjectValue { attribute, found: shown_text(text), expected });
        }
    }
    match organization(certificate)? {
        OrganizationId::Brazil(_) => {}
        other @ (OrganizationId::Provider { .. } | OrganizationId::Other(_)) => {
            let (attribute, found) = (OrganizationIdentifier, shown_text(&other.to_string()));
            return Err(KindFault::SubjectValue { attribute, found, expected: "OFBBR- and the UUID of a participant" });
        }
    }
    let usage = certificate.key_usage;
    if !usage.is_some_and(|usage| usage.critical && usage.digital_signature && usage.key_encipherment) {
        return Err(KindFault::Lacks("has no critical keyUsage with digitalSignature and keyEncipherment"));
    }
    if certificate.for_clients != Some(true) {
        return Err(KindFault::Lacks("has no clientAuth in its extKeyUsage"));
    }
    if certificate.dns_names.is_empty() {
        return Err(KindFault::Lacks("has no DNS name in its subjectAltName"));
    }
    Ok(())
}

/// The organisation of a certificate; of those that were issued before 31 August 2022, it is `OU`.
pub(super) fn organization(certificate: &ParticipantCertificate) -> Result<OrganizationId, SubjectFault> {
    match (certificate.organization(), certificate.subject.sole(SubjectAttribute::OrganizationalUnit)) {
        (Err(SubjectFault::Missing(_)), Ok(unit)) => {
            Ok(canonical_uuid(unit).map_or_else(|| OrganizationId::Other(unit.into()), OrganizationId::Brazil))
        }
        (organization, _) => organization,
    }
}

/// What the value of an attribute has to be and is not.
fn unmet(attribute: SubjectAttribute, text: &str) -> Option<&'static str> {
    let (is_met, expected) = match attribute {
        SubjectAttribute::BusinessCategory => (is_business_category(text), "a category such as Private Organization"),
        SubjectAttribute::JurisdictionCountry | SubjectAttribute::Country => (text == "BR", "BR"),
        SubjectAttribute::SerialNumber => (is_cnpj(text), "a CNPJ of 14 characters"),
        SubjectAttribute::UserId => (canonical_uuid(text).is_some(), "the UUID of a software statement"),
        SubjectAttribute::CommonName => (is_domain_name(text), "the name of a host"),
        SubjectAttribute::Locality
        | SubjectAttribute::State
        | SubjectAttribute::Organization
        | SubjectAttribute::OrganizationalUnit
        | SubjectAttribute::OrganizationIdentifier => (true, "a text"),
    };
    (!is_met).then_some(expected)
}

fn is_business_category(text: &str) -> bool {
    let known = ["Private Organization", "Government Entity", "Business Entity", "Non-Commercial Entity"];
    known.iter().any(|known| known.eq_ignore_ascii_case(text))
}

/// Twelve digits or, in those that are given since July 2026, letters, and two check digits.
fn is_cnpj(text: &str) -> bool {
    let is_digit_or_letter = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
    text.as_bytes().split_at_checked(12).is_some_and(|(number, check)| {
        number.iter().all(is_digit_or_letter) && check.len() == 2 && check.iter().all(u8::is_ascii_digit)
    })
}

/// The fully qualified name of a host, of at least two labels (RFC 1123 §2.1).
fn is_domain_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(is_inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.contains('.') && text.split('.').all(is_label)
}

/// BR-14, BR-16, BR-19.
pub(super) fn error(told: &Told<'_>) -> ErrorBody {
    let code = match (told.code, told.code.is_about_signatures()) {
        (_, true) => "BAD_SIGNATURE".to_owned(),
        (Code::IdempotencyKeyReused, _) => "ERRO_IDEMPOTENCIA".to_owned(),
        (_, false) => told.error.to_ascii_uppercase(),
    };
    let errors = json!([{ "code": code, "title": told.reason(), "detail": told.description }]);
    let value = match told.time {
        Some(time) => {
            // In whole seconds.
            let time = time();
            let seconds = time.split_once('.').map_or_else(|| time.clone(), |(seconds, _)| format!("{seconds}Z"));
            json!({ "errors": errors, "meta": { "requestDateTime": seconds } })
        }
        None => json!({ "errors": errors }),
    };
    ErrorBody::Json(HeaderValue::from_static("application/json; charset=utf-8"), value)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "brazil.request.interaction_id",
        clause: "FAPI-BR security profile, § Resource server",
        says: "A request has one x-fapi-interaction-id, a UUID.",
        setting: Setting::Key("profile.ecosystem"),
        enforced: Enforced::Request,
        codes: &[Code::HeaderMissing, Code::HeaderInvalid],
        waivable: None,
    },
    consent_rule("brazil.consent", "FAPI-BR security profile, § Consent"),
    media_type_rule(
        "brazil.request.media_types",
        "Open Finance Brazil API guidelines, § HTTP status codes",
        "Content is JSON in UTF-8 or a JWT, or of a media type that the route names, and one of these is accepted in return.",
    ),
    idempotency_rule("brazil.request.idempotency", "Open Finance Brazil payments API, § Idempotency"),
    lifetime_rule(
        "brazil.token.lifetime",
        "FAPI-BR security profile, § Access tokens",
        "A token lives for at most 900 seconds; that it lives for at least 300 is left to its issuer.",
    ),
    certificate_rule(
        CERTIFICATE,
        "Open Finance Brazil certificate standard, § Client certificate",
        "A client has a BRCAC: its subject has each attribute in its form, and its key signs and enciphers for a TLS client.",
    ),
    Rule {
        id: "brazil.errors",
        clause: "Open Finance Brazil API guidelines, § Errors",
        says: "Refusals have errors, each with code, title and detail, and meta.",
        setting: Setting::Key("routes[].errors"),
        enforced: Enforced::Answer,
        codes: &[],
        waivable: None,
    },
];
