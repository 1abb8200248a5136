//! SMART on FHIR.

use http::HeaderValue;
use serde_json::json;

use super::body::ErrorBody;
use crate::code::Code;
use crate::error_format::told::Told;
use crate::profile::{Enforced, Rule, Setting};

/// SMART-04: an `OperationOutcome` whose issue has a type of FHIR's value set `issue-type`.
pub(super) fn error(told: &Told<'_>) -> ErrorBody {
    let kind = match (told.code, told.status.as_u16()) {
        (Code::TokenExpired, _) => "expired",
        (_, 401) => "login",
        (_, 403) => "forbidden",
        (_, 404) => "not-found",
        (_, 405 | 406 | 415) => "not-supported",
        (_, 408 | 504) => "timeout",
        (_, 413 | 414 | 431) => "too-long",
        (_, 429) => "throttled",
        (_, 503) => "transient",
        (_, 500..=599) => "exception",
        _ => "invalid",
    };
    let value = json!({
        "resourceType": "OperationOutcome",
        "issue": [{ "severity": "error", "code": kind, "diagnostics": told.description }],
    });
    ErrorBody::Json(HeaderValue::from_static("application/fhir+json"), value)
}

pub(super) const RULES: &[Rule] = &[Rule {
    id: "smart.errors",
    clause: "FHIR R4 §3.1.0.1.5",
    says: "Refusals are an OperationOutcome.",
    setting: Setting::Key("routes[].errors"),
    enforced: Enforced::Answer,
    codes: &[],
    waivable: None,
}];
