//! The Financial Data Exchange of North America.

use serde_json::json;

use super::body::ErrorBody;
use super::headers::{Form, HeaderRule, Needed};
use super::rules::consent_rule;
use crate::code::Code;
use crate::error_format::told::Told;
use crate::profile::{Enforced, Rule, Setting};

/// FDX-03.
pub(super) const HEADERS: &[HeaderRule] =
    &[HeaderRule { name: "fdx-api-actor-type", needed: Needed::No, form: Form::OneOf(&["USER", "BATCH"]) }];

/// FDX-02.
pub(super) fn error(told: &Told<'_>) -> ErrorBody {
    ErrorBody::json(json!({ "code": told.status.as_str(), "message": told.description }))
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "fdx.request.actor",
        clause: "FDX API, § Headers",
        says: "FDX-API-Actor-Type is USER or BATCH, where it is there.",
        setting: Setting::Key("profile.ecosystem"),
        enforced: Enforced::Request,
        codes: &[Code::HeaderInvalid],
        waivable: None,
    },
    consent_rule("fdx.consent", "FDX API, § Consent"),
    Rule {
        id: "fdx.errors",
        clause: "FDX API, § Errors",
        says: "Refusals have code and message.",
        setting: Setting::Key("routes[].errors"),
        enforced: Enforced::Answer,
        codes: &[],
        waivable: None,
    },
];
