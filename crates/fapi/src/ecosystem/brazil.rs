//! Open Finance Brazil: the FAPI-BR security profile and the API guidelines.

use std::time::Duration;

use http::HeaderValue;
use serde_json::json;

use super::body::ErrorBody;
use super::consent::consent_rule;
use super::headers::{
    AUTH_DATE, CUSTOMER_IP_ADDRESS, HeaderRule, IDEMPOTENCY_CODES, IDEMPOTENCY_KEY, INTERACTION_ID, Needed,
};
use super::media_types::MediaTypes;
use crate::code::Code;
use crate::error_format::told::Told;
use crate::profile::{Enforced, Rule, Setting};

pub(super) const HEADERS: &[HeaderRule] =
    &[HeaderRule { needed: Needed::Always, ..INTERACTION_ID }, AUTH_DATE, CUSTOMER_IP_ADDRESS, IDEMPOTENCY_KEY];

/// BR-05: "between 300 and 900 seconds".
pub(super) const LONGEST_TOKEN_LIFETIME: Duration = Duration::from_secs(900);

/// BR-17: JSON, and signed JSON for payments.
pub(super) fn media_types() -> MediaTypes {
    let types = ["application/json", "application/jwt"];
    MediaTypes::of(&types, &types)
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
    Rule {
        id: "brazil.request.media_types",
        clause: "Open Finance Brazil API guidelines, § HTTP status codes",
        says: "Content is JSON in UTF-8 or a JWT, or of a media type that the route names, and one of these is accepted in return.",
        setting: Setting::Key("routes[].media_types"),
        enforced: Enforced::Request,
        codes: &[Code::MediaTypeUnsupported, Code::NotAcceptable],
        waivable: None,
    },
    Rule {
        id: "brazil.request.idempotency",
        clause: "Open Finance Brazil payments API, § Idempotency",
        says: "Where the route asks for x-idempotency-key, a request has one, which its client uses for no other request in 24 hours.",
        setting: Setting::Key("routes[].idempotency_key"),
        enforced: Enforced::Request,
        codes: IDEMPOTENCY_CODES,
        waivable: None,
    },
    Rule {
        id: "brazil.token.lifetime",
        clause: "FAPI-BR security profile, § Access tokens",
        says: "A token lives for at most 900 seconds; that it lives for at least 300 is left to its issuer.",
        setting: Setting::Key("routes[].require.token_lifetime"),
        enforced: Enforced::Policy,
        codes: &[Code::TokenLifetimeExceeded],
        waivable: None,
    },
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
