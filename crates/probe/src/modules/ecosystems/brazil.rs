//! Open Finance Brazil: refusals, signed payments and signed answers (API guidelines, FAPI-BR message signing).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fapi::ecosystem::Ecosystem::Brazil;
use fapi::jose::keys::{Algorithm, KeySet};
use sandbox::keys::KeyKind;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::{INTERACTION_ID, good, good_write, has_texts, refused_as, text_at, told};
use crate::call::Call;
use crate::clock::now;
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::report::Severity;
use crate::session::{Session, Stop, skip};

const SIGNING: &str = "FAPI-BR security profile § Message signing";

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "brazil-error-body",
        purpose: "Refusals have errors, each with code, title and detail, and the time of the request",
        clause: "Open Finance Brazil API guidelines § Errors",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[Brazil]),
        run: |session| {
            let good = good(session)?;
            session.control(&good)?;
            let call = good.without_field(INTERACTION_ID);
            let expected = "errors with code, title and detail, and meta";
            told(session, "no `x-fapi-interaction-id`", &call, 400, expected, |response| {
                has_texts(response, &["/errors/0/code", "/errors/0/title", "/errors/0/detail"])?;
                let time = text_at(response, "/meta/requestDateTime").unwrap_or_default();
                match OffsetDateTime::parse(&time, &Rfc3339) {
                    Ok(_) => Ok(()),
                    Err(_) => Err("meta.requestDateTime is no time of RFC 3339".to_owned()),
                }
            })
        },
    },
    Module {
        name: "brazil-payment-signature",
        purpose: "A payment whose signature does not verify is refused",
        clause: SIGNING,
        suite: &[
            "fapi1-advanced-final-brazil-ensure-bad-payment-signature-fails",
            "fapi2-security-profile-final-brazil-ensure-bad-payment-signature-fails",
        ],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[Brazil]),
        run: |session| {
            let good = payment(session, |_, _| {})?;
            session.control(&good)?;
            let bad = payment(session, |_, _| {})?;
            let body = bad.body.as_deref().map(crate::modules::proofs::changed_signature);
            let refusal = Refusal { statuses: &[400], errors: &[], closing: false };
            let bad = Call { body, ..bad };
            refused_as(session, "a changed signature", &bad, &refusal, "/errors/0/code", &["BAD_SIGNATURE"])
        },
    },
    Module {
        name: "brazil-payment-header",
        purpose: "A payment that brings its own key is refused",
        clause: SIGNING,
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[Brazil]),
        run: |session| {
            spoiled_payments(
                session,
                &[
                    ("`jku`", |header, _| header["jku"] = json!("https://probe.invalid/keys")),
                    ("`x5u`", |header, _| header["x5u"] = json!("https://probe.invalid/certificate")),
                    ("`x5c`", |header, _| header["x5c"] = json!(["AAAA"])),
                ],
            )
        },
    },
    Module {
        name: "brazil-payment-claims",
        purpose: "A payment that is old, of the future, for somebody else or without an id is refused",
        clause: SIGNING,
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[Brazil]),
        run: |session| {
            spoiled_payments(
                session,
                &[
                    ("`iat` an hour ago", |_, claims| claims["iat"] = json!(now().saturating_sub(3_600))),
                    ("`iat` an hour ahead", |_, claims| claims["iat"] = json!(now().saturating_add(3_600))),
                    ("another `aud`", |_, claims| claims["aud"] = json!("https://probe.invalid/payments")),
                    ("another `iss`", |_, claims| claims["iss"] = json!("00000000-0000-4000-8000-000000000000")),
                    ("`jti` that is no UUID", |_, claims| claims["jti"] = json!("probe")),
                ],
            )
        },
    },
    Module {
        name: "brazil-payment-replay",
        purpose: "The `jti` of a payment is accepted once",
        clause: SIGNING,
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[Brazil]),
        run: |session| {
            let first = payment(session, |_, _| {})?;
            session.control(&first)?;
            // Another request in all but its content.
            let again = Call { body: first.body, ..good_write(session)? };
            let refusal = Refusal { statuses: &[403], errors: &[], closing: false };
            session.refused("the same `jti` again", &again, &refusal)
        },
    },
    Module {
        name: "brazil-response-signature",
        purpose: "The answer is a JWT that the target signed a moment ago",
        clause: SIGNING,
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[Brazil]),
        run: response_signature,
    },
];

/// A good payment, whose header and claims are changed before they are signed. The configuration has those claims that stay the same.
fn payment(session: &mut Session<'_>, change: impl FnOnce(&mut Value, &mut Value)) -> Result<Call, Stop> {
    let call = good_write(session)?;
    let is_signed = call
        .fields
        .iter()
        .any(|(name, value)| name.eq_ignore_ascii_case("content-type") && value.starts_with("application/jwt"));
    if !is_signed {
        return Err(skip("`resource.write` is no signed payment: its `content_type` is not `application/jwt`"));
    }
    let body = call.body.as_deref().unwrap_or_default();
    let claims: Map<String, Value> =
        serde_json::from_str(body).map_err(|_| skip("the body of `resource.write` has no claims in JSON"))?;
    let key = session.client(0)?.signing_key.as_ref().filter(|key| key.kind() == KeyKind::Ps256);
    let key = key.ok_or_else(|| skip("client 1 has no `signing_key` for PS256"))?;
    let mut header = json!({ "alg": "PS256", "typ": "JWT", "kid": key.kid() });
    let mut claims = Value::Object(claims);
    claims["iat"] = json!(now());
    claims["jti"] = json!(Uuid::new_v4().to_string());
    change(&mut header, &mut claims);
    Ok(Call { body: Some(key.sign(&header, &claims)), ..call })
}

/// A change of a header and claims.
type Spoil = fn(&mut Value, &mut Value);

fn spoiled_payments(session: &mut Session<'_>, spoils: &[(&str, Spoil)]) -> Result<(), Stop> {
    let good = payment(session, |_, _| {})?;
    session.control(&good)?;
    for (title, spoil) in spoils {
        let call = payment(session, spoil)?;
        session.refused(title, &call, &Refusal { statuses: &[400], errors: &[], closing: false })?;
    }
    Ok(())
}

fn response_signature(session: &mut Session<'_>) -> Result<(), Stop> {
    let settings = session.settings();
    session.needs(settings.claims.signed_responses, "to sign its responses")?;
    let keys = settings.response_keys.as_ref().ok_or_else(|| skip("`response_keys` names no key of the target"))?;
    let good = good(session)?.with_field("Accept", "application/jwt");
    let response = session.control(&good)?;
    let kind = response.sole("content-type").unwrap_or_default().to_owned();
    let named = kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/jwt");
    session.look("`Content-Type`", "application/jwt", format!("`{kind}`"), named);
    let text = String::from_utf8_lossy(&response.body);
    let (kept, told) = match verified(text.trim(), keys, now()) {
        Ok(()) => (true, "it holds".to_owned()),
        Err(why) => (false, why.to_owned()),
    };
    session.look("the content", "a JWT with PS256, typ, iss, aud, jti and iat", told, kept);
    Ok(())
}

/// Whether a JWT is signed by one of the keys and has the claims of an answer.
fn verified(text: &str, keys: &KeySet, now: u64) -> Result<(), &'static str> {
    let (input, signature) = text.rsplit_once('.').ok_or("it is no compact JWS")?;
    let (header, claims) = input.split_once('.').ok_or("it is no compact JWS")?;
    let read = |part: &str| -> Option<Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
    let header = read(header).ok_or("its header cannot be read")?;
    let claims = read(claims).ok_or("its claims cannot be read")?;
    let text_of = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    if text_of(&header, "alg").as_deref() != Some("PS256") {
        return Err("its alg is not PS256");
    }
    if text_of(&header, "typ").as_deref() != Some("JWT") {
        return Err("its typ is not JWT");
    }
    let kid = text_of(&header, "kid");
    if !keys.candidates(kid.as_deref(), Algorithm::Ps256).any(|key| key.verifies(input.as_bytes(), signature)) {
        return Err("its signature is of none of the keys");
    }
    if text_of(&claims, "iss").is_none() || claims.get("aud").is_none() {
        return Err("it has no iss or no aud");
    }
    if text_of(&claims, "jti").and_then(|jti| Uuid::try_parse(&jti).ok()).is_none() {
        return Err("its jti is no UUID");
    }
    match claims.get("iat").and_then(Value::as_u64) {
        Some(iat) if iat.abs_diff(now) <= MOST_AWAY => Ok(()),
        _ => Err("its iat is not now"),
    }
}

/// How many seconds the clock of the target may be away.
const MOST_AWAY: u64 = 300;
