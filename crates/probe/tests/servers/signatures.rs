//! Signed messages.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use fapi::UnixTime;
use fapi::jose::keys::KeySet;
use fapi::signature::base::signature_base;
use fapi::signature::create::serialized;
use fapi::signature::digest::{ClaimedDigest, DigestAlgorithm, content_digest};
use fapi::signature::input::SignatureParameters;
use fapi::signature::message::{ExternalUri, Message, RequestView, ResponseView};
use fapi::signature::profile::{Content, Dpop, Profile};
use fapi::signature::verify::verify;
use http::{HeaderMap, StatusCode};
use probe::plan::Plan;
use probe::report::Verdict;
use probe::run::modules_of;
use sandbox::https::{Answer, Recorded};
use sandbox::keys::{KeyKind, SigningKey};
use sandbox::tokens::jwks;
use serde_json::json;

use super::world::{Handler, Row, Token, World, is_complete, row, with_field, without_field};

const ROWS: &[Row] = &[
    row("signature-good", refusing, Verdict::Fail),
    row("signature-missing", lenient, Verdict::Fail),
    row("signature-invalid", lenient, Verdict::Fail),
    row("signature-key", lenient, Verdict::Fail),
    row("signature-covered-changed", lenient, Verdict::Fail),
    row("signature-not-covered", lenient, Verdict::Fail),
    Row { adjust: |settings| settings.claims.certificate = false, ..row("signature-dpop", lenient, Verdict::Fail) },
    row("signature-created", lenient, Verdict::Fail),
    row("signature-expired", lenient, Verdict::Fail),
    row("signature-tag", lenient, Verdict::Fail),
    row("signature-alg", lenient, Verdict::Fail),
    row("signature-component-absent", lenient, Verdict::Fail),
    row("signature-malformed", lenient, Verdict::Fail),
    // 400 is a refusal, and not the one that is asked for.
    row("signature-malformed", |_, answer| renumbered(answer, 401, 400), Verdict::Warning),
    row(
        "signature-others-beside",
        |request, answer| refused_if(request.headers.get_all("signature").iter().count() > 1, answer),
        Verdict::Fail,
    ),
    row(
        "signature-field-lines",
        |request, answer| refused_if(request.headers.contains_key("x-probe"), answer),
        Verdict::Fail,
    ),
    row("signature-replay", lenient, Verdict::Warning),
    row("content-digest-mismatch", lenient, Verdict::Fail),
    row("content-digest-missing", lenient, Verdict::Fail),
    row("content-digest-changed", lenient, Verdict::Fail),
    row("content-digest-weak", lenient, Verdict::Fail),
    row(
        "content-digest-good",
        |request, answer| {
            refused_if(request.header("content-digest").is_some_and(|value| value.contains("sha-512")), answer)
        },
        Verdict::Fail,
    ),
    row("response-signature", |_, answer| without_field(answer, "signature"), Verdict::Fail),
    row("response-signature", |_, answer| answer.body("other content"), Verdict::Fail),
    row("response-signature", |_, answer| renumbered(answer, 200, 206), Verdict::Fail),
    row("response-signature-of-errors", |_, answer| without_field(answer, "signature-input"), Verdict::Warning),
];

fn lenient(_: &Recorded, _: Answer) -> Answer {
    Answer::json(StatusCode::OK, json!({}))
}

fn refusing(_: &Recorded, _: Answer) -> Answer {
    Answer::status(StatusCode::UNAUTHORIZED)
}

fn refused_if(refused: bool, answer: Answer) -> Answer {
    if refused { Answer::status(StatusCode::UNAUTHORIZED) } else { answer }
}

fn renumbered(mut answer: Answer, from: u16, to: u16) -> Answer {
    if answer.status.as_u16() == from {
        answer.status = StatusCode::from_u16(to).unwrap();
    }
    answer
}

fn view(request: &Recorded) -> RequestView<'_> {
    let (path, query) = request.uri.split_once('?').map_or((request.uri.as_str(), None), |(p, q)| (p, Some(q)));
    let authority = request.authority.as_deref().unwrap_or_default();
    RequestView {
        method: &request.method,
        uri: ExternalUri { scheme: "https", authority, path, query },
        target: &request.uri,
        headers: &request.headers,
    }
}

/// A server that does everything right.
fn right(world: &World) -> Handler {
    let token_of = world.token_of();
    let keys = KeySet::parse(jwks(&[&world.signing_keys[0]]).to_string().as_bytes()).unwrap();
    let own = world.server.clone();
    let seen: Mutex<HashSet<[u8; 32]>> = Mutex::default();
    Arc::new(move |request| {
        let signed = holds(&request, &keys, &seen);
        let good = matches!(token_of(&request), Token::Good { .. }) && signed;
        let (status, body) = if good { (200, json!({ "a": 1 })) } else { (401, json!({ "error": "refused" })) };
        let answer = Answer::json(StatusCode::from_u16(status).unwrap(), body);
        answer_signed(&request, answer, &own)
    })
}

fn holds(request: &Recorded, keys: &KeySet, seen: &Mutex<HashSet<[u8; 32]>>) -> bool {
    let dpop = if request.headers.contains_key("dpop") { Dpop::Present } else { Dpop::Absent };
    let content = if request.body.is_empty() { Content::Absent } else { Content::Present };
    let profile = Profile::fapi2_request(dpop, content);
    let signed = verify(&Message::Request(view(request)), &profile, keys, UnixTime(sandbox::now()));
    let Ok(signed) = signed else { return false };
    let verified = if request.body.is_empty() {
        signed.without_content()
    } else {
        ClaimedDigest::read(&request.headers).and_then(|digest| {
            let mut hasher = digest.hasher();
            hasher.update(&request.body);
            signed.with_content(&hasher.finish()?)
        })
    };
    verified.is_ok_and(|signature| seen.lock().unwrap().insert(*signature.signature_hash()))
}

fn answer_signed(request: &Recorded, answer: Answer, key: &SigningKey) -> Answer {
    let answer = with_field(answer.clone(), "content-digest", &content_digest(DigestAlgorithm::Sha256, &answer.body));
    let profile = Profile::fapi2_response(&request.headers, Content::Present);
    let headers: HeaderMap = answer.headers.iter().cloned().collect();
    let parameters = SignatureParameters {
        created: Some(UnixTime(sandbox::now())),
        key_id: Some(key.kid().into()),
        tag: profile.tag.clone(),
        ..SignatureParameters::default()
    };
    let covered = serialized(&profile.required, &parameters).unwrap();
    let message = Message::Response(ResponseView { status: answer.status, headers: &headers, request: view(request) });
    let Ok(base) = signature_base(&message, &profile.required, &covered) else { return answer };
    let signature = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(key.http_signature(&base, false))
    };
    let answer = with_field(answer, "signature-input", &format!("sig={covered}"));
    with_field(answer, "signature", &format!("sig=:{signature}:"))
}

#[test]
fn each_module_tells_a_right_server_from_a_wrong_and_a_dead_one() {
    for kind in KeyKind::ALL {
        let world = World::new(kind);
        for row in ROWS {
            world.prove(Plan::MessageSigning, row, &row.adjust, &right(&world));
        }
    }
}

#[test]
fn each_module_is_in_the_table() {
    is_complete(&modules_of(&[Plan::MessageSigning]), ROWS.iter().map(|row| row.module));
}

#[test]
fn what_is_not_claimed_is_skipped() {
    let world = World::new(KeyKind::EdDsa);
    let unclaimed = |settings: &mut probe::settings::Settings| {
        (settings.claims.signed_requests, settings.claims.signed_responses) = (false, false);
    };
    for row in ROWS {
        let report = world.report(Plan::MessageSigning, row.module, right(&world), &unclaimed);
        assert_eq!(report.verdict, Verdict::Skipped, "{report:#?}");
        assert!(report.steps.is_empty() && report.reason.is_some(), "{report:#?}");
    }
}

#[test]
fn a_report_shows_no_signature() {
    let world = World::new(KeyKind::EdDsa);
    let report = world.report(Plan::MessageSigning, "signature-invalid", right(&world), &|_| {});
    let curls: Vec<&str> = report.steps.iter().filter_map(|step| step.curl.as_deref()).collect();
    assert!(!curls.is_empty());
    for curl in curls {
        assert!(curl.contains("\"Signature: $SIGNATURE\"") && !curl.contains("sig=:"), "{curl}");
        assert!(curl.contains("Signature-Input: sig="), "{curl}");
    }
}
