//! What ecosystems add.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fapi::ecosystem::Ecosystem::{self, BerlinGroup, Brazil, Cdr, ConnectId, Fdx, Ksa, Smart, Uae, UkObie31, UkObie40};
use fapi::ecosystem::{HeaderError, MediaTypeError, Versions};
use fapi::jose::keys::{Algorithm, KeySet};
use http::StatusCode;
use probe::module::Module;
use probe::plan::Plan;
use probe::report::Verdict;
use probe::run::modules_of;
use probe::settings::Settings;
use sandbox::https::{Answer, Recorded};
use sandbox::keys::KeyKind;
use sandbox::tokens::jwks;
use serde_json::json;
use uuid::Uuid;

use super::world::{Handler, Row, Token, World, is_complete, payload, row, with_field, without_field};

/// The plan of each row, and the row.
const ROWS: &[(&[Ecosystem], Row)] = &[
    (
        &[UkObie31, UkObie40, Brazil, Cdr, Uae, Ksa, Fdx, ConnectId],
        row("ecosystem-interaction-id-echoed", new_id, Verdict::Fail),
    ),
    (&[UkObie31, ConnectId], row("ecosystem-interaction-id-echoed", without_ids, Verdict::Fail)),
    (
        &[UkObie31, UkObie40, Brazil, Cdr, Uae, Ksa, Fdx],
        row("ecosystem-interaction-id-in-errors", refusals_without_ids, Verdict::Fail),
    ),
    (&[UkObie31, UkObie40, Cdr, Ksa, Fdx], row("ecosystem-interaction-id-made", without_ids, Verdict::Fail)),
    (&[UkObie31, Cdr], row("ecosystem-interaction-id-made", same_id, Verdict::Fail)),
    (&[Brazil, ConnectId], row("ecosystem-interaction-id-missing", lenient, Verdict::Fail)),
    (&[Brazil], row("ecosystem-interaction-id-missing", refusals_without_ids, Verdict::Fail)),
    (&[Brazil, ConnectId], row("ecosystem-interaction-id-missing", unprocessable, Verdict::Warning)),
    (&[Brazil, Cdr, ConnectId], row("ecosystem-interaction-id-malformed", lenient, Verdict::Fail)),
    (&[UkObie31, UkObie40, Brazil, Uae, Ksa], row("ecosystem-fields-malformed", lenient, Verdict::Warning)),
    (&[UkObie31, UkObie40, Brazil, Cdr, BerlinGroup], row("ecosystem-accept", lenient, Verdict::Fail)),
    (&[Cdr], row("ecosystem-accept", refusing_odd_accept, Verdict::Fail)),
    (&[UkObie31, UkObie40, Brazil, Cdr, BerlinGroup], row("ecosystem-content-type", lenient, Verdict::Fail)),
    (&[UkObie31, UkObie40, Brazil], row("ecosystem-idempotency-key", lenient, Verdict::Warning)),
    (&[Brazil, Cdr], row("ecosystem-token-lifetime", lenient, Verdict::Warning)),
    (&[UkObie31, UkObie40], row("uk-error-body", other_body, Verdict::Fail)),
    (&[UkObie31, UkObie40], row("uk-error-body", refusals_that_pass, Verdict::Skipped)),
    (&[UkObie31, UkObie40], row("uk-invalid-token-body", other_body, Verdict::Fail)),
    (&[UkObie31], row("uk-expired-token-body", other_body, Verdict::Fail)),
    (&[UkObie40], row("uk-expired-token-error", other_body, Verdict::Fail)),
    (&[Brazil], row("brazil-error-body", other_body, Verdict::Fail)),
    (&[Brazil], Row { adjust: pays, ..row("brazil-payment-signature", lenient, Verdict::Fail) }),
    (&[Brazil], Row { adjust: pays, ..row("brazil-payment-signature", other_body, Verdict::Warning) }),
    (&[Brazil], Row { adjust: pays, ..row("brazil-payment-header", lenient, Verdict::Fail) }),
    (&[Brazil], Row { adjust: pays, ..row("brazil-payment-claims", lenient, Verdict::Fail) }),
    (&[Brazil], Row { adjust: pays, ..row("brazil-payment-replay", lenient, Verdict::Fail) }),
    (&[Brazil], row("brazil-response-signature", changed_jwt, Verdict::Fail)),
    (&[Brazil], row("brazil-response-signature", lenient, Verdict::Fail)),
    (&[Cdr], row("cdr-fields-missing", lenient, Verdict::Fail)),
    (&[Cdr], row("cdr-fields-missing", other_body, Verdict::Warning)),
    (&[Cdr], row("cdr-fields-malformed", lenient, Verdict::Fail)),
    (&[Cdr], row("cdr-version-unsupported", lenient, Verdict::Fail)),
    (&[Cdr], row("cdr-version-unsupported", unprocessable, Verdict::Warning)),
    (
        &[Cdr],
        row(
            "cdr-version-range",
            |request, answer| refused_if(request.headers.contains_key("x-min-v"), 406, answer),
            Verdict::Fail,
        ),
    ),
    (&[Cdr], row("cdr-version-told", |_, answer| without_field(answer, "x-v"), Verdict::Fail)),
    (&[Cdr], row("cdr-version-told", |_, answer| with_field(answer, "x-v", "2"), Verdict::Fail)),
    (&[Cdr], row("cdr-error-body", other_body, Verdict::Fail)),
    (&[BerlinGroup], row("berlin-group-request-id", lenient, Verdict::Fail)),
    (&[BerlinGroup], row("berlin-group-request-id", other_body, Verdict::Warning)),
    (&[BerlinGroup], row("berlin-group-request-id-echoed", refusals_without_ids, Verdict::Fail)),
    (&[BerlinGroup], row("berlin-group-error-body", other_body, Verdict::Fail)),
    (
        &[BerlinGroup],
        row("berlin-group-error-body", |_, answer| without_field(answer, "www-authenticate"), Verdict::Fail),
    ),
    (&[BerlinGroup], row("berlin-group-token-expired", lenient, Verdict::Fail)),
    (&[BerlinGroup], row("berlin-group-token-expired", other_body, Verdict::Warning)),
    (
        &[BerlinGroup],
        Row {
            adjust: |settings| settings.claims.certificate_required = true,
            ..row("berlin-group-certificate-missing", lenient, Verdict::Fail)
        },
    ),
    (&[BerlinGroup], row("berlin-group-digest", lenient, Verdict::Warning)),
    (
        &[Uae],
        row(
            "uae-auth-date",
            |request, answer| {
                let date = request.header("x-fapi-auth-date").unwrap_or_default();
                refused_if(date.ends_with("UTC"), 400, answer)
            },
            Verdict::Fail,
        ),
    ),
    (&[Uae], row("uae-invalid-token-body", other_body, Verdict::Fail)),
    (&[Uae], row("uae-error-body", other_body, Verdict::Fail)),
    (&[Ksa], row("ksa-error-body", other_body, Verdict::Warning)),
    (
        &[Fdx],
        row(
            "fdx-actor",
            |request, answer| refused_if(request.headers.contains_key("fdx-api-actor-type"), 400, answer),
            Verdict::Fail,
        ),
    ),
    (&[Fdx], row("fdx-actor-other", lenient, Verdict::Warning)),
    (&[Fdx], row("fdx-error-body", other_body, Verdict::Fail)),
    (&[Smart], row("smart-audience", lenient, Verdict::Fail)),
    (
        &[Smart],
        row(
            "smart-configuration",
            |request, answer| refused_if(request.path().contains("well-known"), 401, answer),
            Verdict::Fail,
        ),
    ),
    (&[Smart], row("smart-error-body", other_body, Verdict::Warning)),
];

// Wrong servers.

fn lenient(request: &Recorded, answer: Answer) -> Answer {
    let fields = answer.headers.into_iter().filter(|(name, _)| name.as_str().starts_with("x-"));
    let good = Answer::json(StatusCode::OK, json!({}));
    let answer = fields.fold(good, |answer, (name, value)| answer.header(name, value));
    if request.headers.contains_key("x-v") { with_field(answer, "x-v", "1") } else { answer }
}

fn other_body(_: &Recorded, answer: Answer) -> Answer {
    if answer.status.is_success() { answer } else { answer.body("{}") }
}

fn unprocessable(_: &Recorded, mut answer: Answer) -> Answer {
    if !answer.status.is_success() {
        answer.status = StatusCode::UNPROCESSABLE_ENTITY;
    }
    answer
}

fn without_ids(_: &Recorded, answer: Answer) -> Answer {
    without_field(without_field(answer, "x-fapi-interaction-id"), "x-request-id")
}

fn new_id(_: &Recorded, answer: Answer) -> Answer {
    with_field(answer, "x-fapi-interaction-id", &Uuid::new_v4().to_string())
}

fn same_id(_: &Recorded, answer: Answer) -> Answer {
    with_field(answer, "x-fapi-interaction-id", "c770aef3-6784-41f7-8e0e-ff5f97bddb3a")
}

fn refusals_without_ids(request: &Recorded, answer: Answer) -> Answer {
    if answer.status.is_success() { answer } else { without_ids(request, answer) }
}

fn refusals_that_pass(request: &Recorded, answer: Answer) -> Answer {
    if answer.status.is_success() { answer } else { lenient(request, answer) }
}

fn refused_if(refused: bool, status: u16, answer: Answer) -> Answer {
    if refused { Answer::status(StatusCode::from_u16(status).unwrap()) } else { answer }
}

fn refusing_odd_accept(request: &Recorded, answer: Answer) -> Answer {
    let accept = request.header("accept").unwrap_or("application/json");
    refused_if(accept != "application/json", 406, answer)
}

fn changed_jwt(_: &Recorded, mut answer: Answer) -> Answer {
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    if let Some((input, _)) = text.rsplit_once('.') {
        answer.body = format!("{input}.AAAA").into();
    }
    answer
}

/// The settings of a signed payment.
fn pays(settings: &mut Settings) {
    settings.resource.write.as_mut().unwrap().content_type = "application/jwt".to_owned();
}

// Right ones.

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Token,
    Expired,
    Missing,
    Invalid,
    InvalidVersion,
    Unsupported,
    Media,
    Signature,
    Replayed,
}

fn right(world: &World, ecosystem: Ecosystem) -> Handler {
    let token_of = world.token_of();
    let keys = KeySet::parse(jwks(&[&world.signing_keys[0]]).to_string().as_bytes()).unwrap();
    let own = world.server.clone();
    let seen: Mutex<HashSet<String>> = Mutex::default();
    Arc::new(move |request| {
        if request.path() == "/r4/.well-known/smart-configuration" {
            return Answer::json(StatusCode::OK, json!({ "capabilities": ["launch-standalone"] }));
        }
        let judged = check_token(ecosystem, token_of(&request), &request)
            .and_then(|()| check_request(ecosystem, &request))
            .and_then(|()| check_payment(&request, &keys, &seen));
        let answer = match judged {
            Err((status, why)) => refusal(ecosystem, StatusCode::from_u16(status).unwrap(), why),
            Ok(()) if ecosystem == Brazil && request.header("accept") == Some("application/jwt") => {
                let claims = json!({
                    "iss": "bank", "aud": "client-0", "jti": Uuid::new_v4().to_string(), "iat": sandbox::now(),
                });
                let header = json!({ "alg": "PS256", "typ": "JWT", "kid": own.kid() });
                let answer = Answer::status(StatusCode::OK).body(own.sign(&header, &claims));
                with_field(answer, "content-type", "application/jwt")
            }
            Ok(()) => Answer::json(StatusCode::OK, json!({})),
        };
        with_ids(ecosystem, &request, answer)
    })
}

fn with_ids(ecosystem: Ecosystem, request: &Recorded, answer: Answer) -> Answer {
    let sent = |name: &str| request.header(name).filter(|id| Uuid::try_parse(id).is_ok()).map(str::to_owned);
    let id = sent("x-fapi-interaction-id").unwrap_or_else(|| Uuid::new_v4().to_string());
    let answer = with_field(answer, "x-fapi-interaction-id", &id);
    let answer = if ecosystem == Cdr { with_field(answer, "x-v", "1") } else { answer };
    match sent("x-request-id") {
        Some(id) => with_field(answer, "x-request-id", &id),
        None => answer,
    }
}

fn check_token(ecosystem: Ecosystem, token: Token, request: &Recorded) -> Result<(), (u16, Why)> {
    let longest = ecosystem.longest_token_lifetime().map_or(u64::MAX, |longest| longest.as_secs());
    match token {
        Token::Good { lifetime } if lifetime <= longest && request.client_certificate.is_some() => Ok(()),
        Token::Expired => Err((401, Why::Expired)),
        Token::Good { .. } | Token::Missing | Token::Invalid => Err((401, Why::Token)),
    }
}

fn check_request(ecosystem: Ecosystem, request: &Recorded) -> Result<(), (u16, Why)> {
    ecosystem.check_headers(&request.headers).map_err(|error| match error {
        HeaderError::Missing { .. } => (400, Why::Missing),
        HeaderError::Invalid { .. } => (400, Why::Invalid),
        HeaderError::InvalidVersion { .. } => (400, Why::InvalidVersion),
        HeaderError::UnsupportedVersion => (406, Why::Unsupported),
    })?;
    // What its rules leave to the gateway's own checks.
    if matches!(ecosystem, Cdr | Brazil | ConnectId | UkObie31 | UkObie40 | Ksa)
        && request.header("x-fapi-interaction-id").is_some_and(|id| Uuid::try_parse(id).is_err())
    {
        return Err((400, Why::Invalid));
    }
    let versions = Versions::new(vec![1]).unwrap();
    ecosystem.check_versions(&versions, &request.headers).map_err(|_| (406, Why::Unsupported))?;
    if let Some(types) = ecosystem.media_types() {
        types.check(request.method.as_str(), &request.headers).map_err(|error| match error {
            MediaTypeError::NotAcceptable => (406, Why::Media),
            MediaTypeError::Unsupported { .. } => (415, Why::Media),
        })?;
    }
    if request.method == "POST" && !request.headers.contains_key("x-idempotency-key") {
        return Err((400, Why::Missing));
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &request.body);
    let digest = format!("SHA-256={}", STANDARD.encode(digest.as_ref()));
    match request.header("digest") {
        Some(found) if found != digest => Err((401, Why::Signature)),
        Some(_) | None => Ok(()),
    }
}

fn check_payment(request: &Recorded, keys: &KeySet, seen: &Mutex<HashSet<String>>) -> Result<(), (u16, Why)> {
    if request.header("content-type") != Some("application/jwt") {
        return Ok(());
    }
    let text = String::from_utf8(request.body.to_vec()).unwrap();
    let (input, signature) = text.rsplit_once('.').ok_or((400, Why::Signature))?;
    if !keys.candidates(None, Algorithm::Ps256).any(|key| key.verifies(input.as_bytes(), signature)) {
        return Err((400, Why::Signature));
    }
    let (header, claims) = (payload(&format!(".{input}")), payload(&text));
    let brings_key = ["jku", "x5u", "x5c"].iter().any(|name| header.get(name).is_some());
    let fresh = claims["iat"].as_u64().unwrap_or_default().abs_diff(sandbox::now()) <= 60;
    let meant = claims["aud"] == "https://api.example/payments" && claims["iss"] == "bank";
    let id = claims["jti"].as_str().unwrap_or_default();
    if brings_key || !fresh || !meant || Uuid::try_parse(id).is_err() {
        return Err((400, Why::Invalid));
    }
    if seen.lock().unwrap().insert(id.to_owned()) { Ok(()) } else { Err((403, Why::Replayed)) }
}

fn refusal(ecosystem: Ecosystem, status: StatusCode, why: Why) -> Answer {
    let uk = json!({
        "Code": "400 Bad Request", "Id": "1", "Message": "no",
        "Errors": [{ "ErrorCode": "UK.OBIE.Header.Invalid", "Message": "no" }],
    });
    let body = match ecosystem {
        UkObie31 | UkObie40 | Ksa => {
            let told = status == 400 || ecosystem == Ksa || (ecosystem == UkObie40 && why == Why::Expired);
            told.then_some(uk)
        }
        Brazil => {
            let code = if why == Why::Signature { "BAD_SIGNATURE" } else { "PARAMETRO_INVALIDO" };
            let errors = json!([{ "code": code, "title": "no", "detail": "no" }]);
            Some(json!({ "errors": errors, "meta": { "requestDateTime": "2026-01-01T00:00:00Z" } }))
        }
        Cdr => {
            let code = match why {
                Why::Missing => "Header/Missing",
                Why::InvalidVersion => "Header/InvalidVersion",
                Why::Unsupported => "Header/UnsupportedVersion",
                Why::Invalid => "Header/Invalid",
                Why::Token | Why::Expired | Why::Media | Why::Signature | Why::Replayed => "GeneralError/Expected",
            };
            let code = format!("urn:au-cds:error:cds-all:{code}");
            Some(json!({ "errors": [{ "code": code, "title": "no", "detail": "no", "meta": {} }] }))
        }
        BerlinGroup => {
            let code = match why {
                Why::Token => "TOKEN_INVALID",
                Why::Expired => "TOKEN_EXPIRED",
                Why::Missing
                | Why::Invalid
                | Why::InvalidVersion
                | Why::Unsupported
                | Why::Media
                | Why::Signature
                | Why::Replayed => "FORMAT_ERROR",
            };
            Some(json!({ "tppMessages": [{ "category": "ERROR", "code": code, "text": "no" }] }))
        }
        Uae => (status != 401).then(|| json!({ "Errors": [{ "Code": "GenericError", "Message": "no" }] })),
        Fdx => Some(json!({ "code": "401", "message": "no" })),
        ConnectId => None,
        Smart => Some(json!({
            "resourceType": "OperationOutcome", "issue": [{ "severity": "error", "code": "login" }],
        })),
    };
    let answer = match body {
        Some(body) => Answer::json(status, body),
        None => Answer::status(status),
    };
    match status.as_u16() {
        401 => with_field(answer, "www-authenticate", "Bearer error=\"invalid_token\""),
        _ => answer,
    }
}

/// The fields of a good call.
fn fields(ecosystem: Ecosystem) -> Vec<(String, String)> {
    let of_cdr = [("x-v", "1"), ("x-fapi-auth-date", "Tue, 11 Sep 2012 19:43:31 GMT")];
    let fields = if ecosystem == Cdr { of_cdr.as_slice() } else { &[] };
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn each_module_tells_a_right_server_from_a_wrong_and_a_dead_one() {
    let world = World::new(KeyKind::Ps256);
    for (ecosystems, row) in ROWS {
        for ecosystem in *ecosystems {
            let plan = Plan::Ecosystem(*ecosystem);
            let fields = fields(*ecosystem);
            let adjust = |settings: &mut Settings| {
                settings.resource.fields.clone_from(&fields);
                (row.adjust)(settings);
            };
            world.prove(plan, row, &adjust, &right(&world, *ecosystem));
        }
    }
}

/// The modules of an ecosystem that look at answers, and not at TLS.
fn answered_modules(ecosystem: Ecosystem) -> Vec<Module> {
    let mut modules = modules_of(&[Plan::Ecosystem(ecosystem)]);
    modules.retain(|module| module.name != RESUMPTION);
    modules
}

const RESUMPTION: &str = "brazil-tls-resumption";

/// The server of these tests does so; one that does not is the gateway of this repository, in its own tests.
#[test]
fn a_server_that_resumes_sessions_is_none_of_brazil() {
    let world = World::new(KeyKind::Ps256);
    let fields = fields(Brazil);
    let handler = right(&world, Brazil);
    let report = world.report(Plan::Ecosystem(Brazil), RESUMPTION, handler, &|settings: &mut Settings| {
        settings.resource.fields.clone_from(&fields);
    });
    assert_eq!(report.verdict, Verdict::Fail, "{report:#?}");
}

#[test]
fn each_module_of_an_ecosystem_is_in_the_table() {
    for ecosystem in Ecosystem::ALL {
        let rows = ROWS.iter().filter(|(ecosystems, _)| ecosystems.contains(ecosystem));
        is_complete(&answered_modules(*ecosystem), rows.map(|(_, row)| row.module));
    }
}

#[test]
fn nothing_is_changed_unless_that_is_allowed() {
    let world = World::new(KeyKind::Ps256);
    for ecosystem in Ecosystem::ALL {
        for module in answered_modules(*ecosystem) {
            let inner = right(&world, *ecosystem);
            let handler: Handler = Arc::new(move |request| {
                assert_eq!(request.method, "GET");
                inner(request)
            });
            let fields = fields(*ecosystem);
            let report = world.report(Plan::Ecosystem(*ecosystem), module.name, handler, &|settings: &mut Settings| {
                settings.resource.fields.clone_from(&fields);
                settings.writes = false;
            });
            assert!(matches!(report.verdict, Verdict::Pass | Verdict::Skipped), "{report:#?}");
        }
    }
}
