//! The UAE and Saudi Arabia.

use http::StatusCode;
use serde_json::json;

use super::body::ErrorBody;
use super::headers::{AUTH_DATE, CUSTOMER_IP_ADDRESS, Form, HeaderRule};
use super::rules::consent_rule;
use crate::code::Code;
use crate::error_format::told::Told;
use crate::profile::{Enforced, Rule, Setting};

/// UAE-02, UAE-04.
pub(super) const HEADERS_UAE: &[HeaderRule] =
    &[HeaderRule { form: Form::HttpDateOrUtc, ..AUTH_DATE }, CUSTOMER_IP_ADDRESS];

pub(super) const HEADERS_KSA: &[HeaderRule] = &[AUTH_DATE, CUSTOMER_IP_ADDRESS];

/// UAE-03: 401 has no body.
pub(super) fn error(told: &Told<'_>) -> ErrorBody {
    if told.status == StatusCode::UNAUTHORIZED {
        return ErrorBody::Empty;
    }
    let code = match (told.code, told.status) {
        (Code::SignatureMissing | Code::SignatureMalformed, _) => "JWS.Malformed",
        (
            Code::SignatureClaimMissing | Code::SignatureClaimRefused | Code::SignatureStale | Code::SignatureReplayed,
            _,
        ) => "JWS.InvalidClaim",
        (Code::SignatureKeyUnknown | Code::SignatureAlgorithmRefused, _) => "JWS.InvalidHeader",
        (Code::ContentNotDecrypted, _) => "JWE.DecryptionError",
        (code, _) if code.is_about_signatures() => "JWS.InvalidSignature",
        (code, _) if code.is_about_consents() => "Consent.Invalid",
        (Code::BodyUnreadable | Code::BodyTypeUnsupported | Code::MediaTypeUnsupported, _) => "Body.InvalidFormat",
        (Code::HeaderMissing | Code::HeaderInvalid | Code::AuthDateMalformed | Code::CustomerIpAddressMalformed, _) => {
            "Resource.InvalidFormat"
        }
        _ => "GenericError",
    };
    ErrorBody::json(json!({ "Errors": [{ "Code": code, "Message": told.description }] }))
}

pub(super) const RULES_UAE: &[Rule] = &[
    Rule {
        id: "uae.request.headers",
        clause: "UAE API specifications 2.1, § Headers",
        says: "The date of the customer's login, in GMT or UTC, and the customer's address have their forms, where they are there.",
        setting: Setting::Key("profile.ecosystem"),
        enforced: Enforced::Request,
        codes: &[Code::HeaderInvalid],
        waivable: None,
    },
    consent_rule("uae.consent", "UAE API specifications 2.1, § Errors"),
    Rule {
        id: "uae.errors",
        clause: "UAE API specifications 2.1, § Errors",
        says: "Refusals have Errors, each with Code and Message, and 401 has no body.",
        setting: Setting::Key("routes[].errors"),
        enforced: Enforced::Answer,
        codes: &[],
        waivable: None,
    },
];

pub(super) const RULES_KSA: &[Rule] = &[
    Rule {
        id: "ksa.request.headers",
        clause: "KSA Open Banking standards, § Headers and errors",
        says: "The date of the customer's login and the customer's address have their forms, where they are there.",
        setting: Setting::Key("profile.ecosystem"),
        enforced: Enforced::Request,
        codes: &[Code::HeaderInvalid],
        waivable: None,
    },
    Rule {
        id: "ksa.errors",
        clause: "KSA Open Banking standards, § Headers and errors",
        says: "Refusals have the error structure of UK Open Banking 3.1.",
        setting: Setting::Key("routes[].errors"),
        enforced: Enforced::Answer,
        codes: &[],
        waivable: None,
    },
];
