//! Open Finance Brazil: the FAPI-BR security profile and the API guidelines.

use http::HeaderValue;
use serde_json::json;

use super::body::ErrorBody;
use super::consent::consent_rule;
use super::headers::{AUTH_DATE, CUSTOMER_IP_ADDRESS, HeaderRule, IDEMPOTENCY_KEY, INTERACTION_ID, Needed};
use crate::code::Code;
use crate::error_format::told::Told;
use crate::profile::{Enforced, Rule, Setting};

pub(super) const HEADERS: &[HeaderRule] =
    &[HeaderRule { needed: Needed::Always, ..INTERACTION_ID }, AUTH_DATE, CUSTOMER_IP_ADDRESS, IDEMPOTENCY_KEY];

/// BR-14, BR-16.
pub(super) fn error(told: &Told<'_>) -> ErrorBody {
    let code = match told.code {
        code if code.is_about_signatures() => "BAD_SIGNATURE".to_owned(),
        _ => told.error.to_ascii_uppercase(),
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
