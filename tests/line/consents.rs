//! Routes that require a consent: which one it is, and whoever says in which state it is (UK-17, BR-06, AU-12, BG-08, FDX-04).

use std::collections::BTreeSet;
use std::time::Duration;

use fapi::code::Code;
use http::{Request, Response, StatusCode, header};
use sandbox::https::Answer;
use sandbox::tokens::AccessToken;
use serde_json::{Value, json};

use super::ecosystems::of_participant;
use super::sent;
use crate::support::client::Client;
use crate::support::{ORIGIN, Scene, World, request};

/// The codes whose cases are here.
pub(super) fn codes() -> BTreeSet<Code> {
    [
        Code::ConsentMissing,
        Code::ConsentMismatch,
        Code::ConsentUnknown,
        Code::ConsentExpired,
        Code::ConsentRevoked,
        Code::ConsentRefused,
        Code::ConsentUnavailable,
        Code::ConsentShareExceeded,
    ]
    .into()
}

const CONSENT: &str = "/consents/urn%3Ac1";
const DEADLINE: Duration = Duration::from_secs(10);

/// The usual route with `require.consent`, and a service beside the issuer with these further keys.
fn requiring(scene: Scene, consent: &str, service: &str) -> Scene {
    let url = format!("{}/consents/{{consent_id}}", scene.issuer());
    // A machine under load may take its time.
    let timeout = if service.contains("timeout") { "" } else { ", timeout: 20s" };
    scene
        .replace("    scopes: [accounts]\n", &format!("    scopes: [accounts]\n    require: {{ consent: {consent} }}\n"))
        .replace(
            "routes:\n",
            &format!(
                "consents:\n  bank: {{ url: \"{url}\", status: /data/status, client: /data/client, trust_anchors: [ca.pem]{timeout}{service} }}\nroutes:\n"
            ),
        )
}

const ASKED: &str = "{ id: { claim: /consent_id }, status: { ask: bank, one_of: [AUTHORISED] } }";

/// A world whose usual route asks about the consent in the claim `consent_id`, each time.
async fn asking() -> World {
    World::with(|scene| requiring(scene, ASKED, ", cache: { max_age: 0s }")).await
}

fn state(status: &str, client: &str) -> Answer {
    Answer::json(StatusCode::OK, json!({ "data": { "status": status, "client": client } }))
}

fn token(world: &World) -> AccessToken {
    world.token().claim("consent_id", "urn:c1")
}

/// The client of the usual token.
fn client_id(world: &World) -> String {
    world.token().claims()["client_id"].as_str().expect("a client").to_owned()
}

/// The verdict on a token; checks that only a permitted request reaches the upstream.
async fn judge(world: &World, token: &AccessToken) -> (u16, String) {
    let before = world.accounts.server().heads();
    let verdict = world.judge(request("/accounts", &world.sign(token))).await;
    assert_eq!(world.accounts.server().heads() - before, usize::from(verdict.0 == 200), "{verdict:?}");
    verdict
}

fn of(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn br_06_a_consent_is_asked_about_and_its_state_decides() {
    let world = asking().await;
    let client = client_id(&world);
    world.issuer.script(CONSENT, state("AUTHORISED", &client));
    assert_eq!(judge(&world, &token(&world)).await, of(200, "ok"), "control");
    for (status, code) in [
        ("REVOKED", "consent_revoked"),
        ("EXPIRED", "consent_expired"),
        ("REJECTED", "consent_refused"),
        ("authorised", "consent_refused"),
    ] {
        world.issuer.script(CONSENT, state(status, &client));
        assert_eq!(judge(&world, &token(&world)).await, of(403, code), "{status}");
    }
    world.issuer.script(CONSENT, state("AUTHORISED", "another"));
    assert_eq!(judge(&world, &token(&world)).await, of(403, "consent_mismatch"));
    world.issuer.script(CONSENT, Answer::status(StatusCode::NOT_FOUND));
    assert_eq!(judge(&world, &token(&world)).await, of(403, "consent_unknown"));
    world.issuer.script(CONSENT, state("AUTHORISED", &client));
    let asked = world.issuer.requests_to(CONSENT);
    assert_eq!(judge(&world, &world.token()).await, of(403, "consent_missing"));
    let step = token(&world).claim("consent_id", "..");
    assert_eq!(judge(&world, &step).await, of(403, "consent_missing"));
    assert_eq!(world.issuer.requests_to(CONSENT), asked, "nobody is asked about none");
    assert_eq!(judge(&world, &token(&world)).await, of(200, "ok"), "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_for_a_token_that_does_not_pass() {
    let world = asking().await;
    world.issuer.script(CONSENT, state("AUTHORISED", &client_id(&world)));
    for (token, code) in [
        (token(&world).claim("scope", "other"), "scope_insufficient"),
        (token(&world).claim("exp", world.clock.now() - 600), "token_expired"),
        (token(&world).bound_to_certificate(&world.c2), "certificate_mismatch"),
    ] {
        assert_eq!(judge(&world, &token).await.1, code);
    }
    assert_eq!(world.issuer.requests_to(CONSENT), 0);
    assert_eq!(judge(&world, &token(&world)).await, of(200, "ok"), "control");
    assert_eq!(world.issuer.requests_to(CONSENT), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_answer_as_it_must_is_no_reason_to_let_anybody_pass() {
    let world = World::with(|scene| requiring(scene, ASKED, ", timeout: 300ms, cache: { max_age: 0s }")).await;
    let client = client_id(&world);
    for (answer, what) in [
        (Answer::status(StatusCode::INTERNAL_SERVER_ERROR), "500"),
        (Answer::status(StatusCode::UNAUTHORIZED), "401"),
        (Answer::status(StatusCode::FOUND), "a redirect"),
        (Answer::text(StatusCode::OK, "AUTHORISED"), "no JSON"),
        (Answer::json(StatusCode::OK, json!({ "data": { "status": "AUTHORISED" } })), "whose it is, is not said"),
        (Answer::json(StatusCode::OK, json!({ "data": { "client": client } })), "no status"),
        (
            Answer::text(
                StatusCode::OK,
                format!(r#"{{"data":{{"status":"REVOKED","status":"AUTHORISED","client":"{client}"}}}}"#),
            ),
            "two",
        ),
        (Answer::hanging(), "nothing"),
        (Answer::resetting(), "a broken connection"),
    ] {
        world.issuer.script(CONSENT, answer);
        let response = sent(&world.client(), request("/accounts", &world.sign(&token(&world)))).await;
        let record = world.gateway.record_of(&response);
        assert_eq!((response.status().as_u16(), &record["code"]), (503, &json!("consent_unavailable")), "{what}");
        assert_eq!(response.headers()[header::RETRY_AFTER], "5");
        assert!(!response.headers().contains_key(header::WWW_AUTHENTICATE));
        assert!(!record.to_string().contains("AUTHORISED"), "{record}");
    }
    world.issuer.script(CONSENT, state("AUTHORISED", &client));
    assert_eq!(judge(&world, &token(&world)).await, of(200, "ok"), "control");
    let metrics = world.gateway.admin("/metrics").await.1;
    for (outcome, count) in [("known", 1), ("unauthorized", 1), ("timeout", 1), ("unreachable", 1)] {
        let line = format!("fapi_gateway_consent_answers_total{{outcome=\"{outcome}\",service=\"bank\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_counts_for_its_time_and_longer_only_while_there_is_no_other() {
    let world = World::with(|scene| requiring(scene, ASKED, ", cache: { max_age: 1m }")).await;
    let client = client_id(&world);
    world.issuer.script(CONSENT, state("AUTHORISED", &client));
    for _ in 0..3 {
        assert_eq!(judge(&world, &token(&world)).await, of(200, "ok"));
    }
    assert_eq!(world.issuer.requests_to(CONSENT), 1);
    let other = token(&world).claim("consent_id", "urn:c2");
    world.issuer.script("/consents/urn%3Ac2", state("REVOKED", &client));
    assert_eq!(judge(&world, &other).await, of(403, "consent_revoked"), "another consent is another answer");
    // What is remembered is whose it is, and never the decision.
    let anothers = token(&world).claim("client_id", "another");
    assert_eq!(judge(&world, &anothers).await, of(403, "consent_mismatch"));

    let service = ", cache: { max_age: 1ms, stale_for: 1h }";
    let world = World::with(|scene| requiring(scene, ASKED, service)).await;
    world.issuer.script(CONSENT, Answer::status(StatusCode::BAD_GATEWAY));
    assert_eq!(judge(&world, &token(&world)).await, of(503, "consent_unavailable"), "there was no answer yet");
    world.issuer.script(CONSENT, state("AUTHORISED", &client));
    assert_eq!(judge(&world, &token(&world)).await, of(200, "ok"));
    world.issuer.script(CONSENT, Answer::status(StatusCode::BAD_GATEWAY));
    assert_eq!(judge(&world, &token(&world)).await, of(200, "ok"), "the last one counts");
    world.issuer.script(CONSENT, state("REVOKED", &client));
    assert_eq!(judge(&world, &token(&world)).await, of(403, "consent_revoked"), "there is another");
    world.issuer.script(CONSENT, Answer::status(StatusCode::BAD_GATEWAY));
    assert_eq!(judge(&world, &token(&world)).await, of(403, "consent_revoked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_that_is_revoked_here_is_refused_at_once() {
    let revocations = |scene: Scene| scene.replace("\"127.0.0.1:0\" }", "\"127.0.0.1:0\", revocations: {} }");
    let in_token = "{ id: { claim: /consent_id }, status: { claim: /status, one_of: [AUTHORISED] } }";
    for (consent, what) in [(ASKED, "asked"), (in_token, "in the token")] {
        let world = World::with(|scene| revocations(requiring(scene, consent, ", cache: { max_age: 5m }"))).await;
        world.issuer.script(CONSENT, state("AUTHORISED", &client_id(&world)));
        let token = token(&world).claim("status", "AUTHORISED");
        assert_eq!(judge(&world, &token).await, of(200, "ok"), "control: {what}");
        world.gateway.revoke(&json!({ "consent_id": "urn:c2" })).await;
        assert_eq!(judge(&world, &token).await, of(200, "ok"), "control: another, {what}");
        world.gateway.revoke(&json!({ "issuer": "bank", "consent_id": "urn:c1" })).await;
        assert_eq!(judge(&world, &token).await, of(403, "consent_revoked"), "{what}");
        let other = token.clone().claim("consent_id", "urn:c3");
        world.issuer.script("/consents/urn%3Ac3", state("AUTHORISED", &client_id(&world)));
        assert_eq!(judge(&world, &other).await, of(200, "ok"), "control: {what}");
    }
}

/// A call with these fields.
fn call(world: &World, token: &AccessToken, path: &str, fields: &[(&str, &str)]) -> Request<bytes::Bytes> {
    let token = world.sign(token);
    let mut request = Request::get(format!("{ORIGIN}{path}")).header(header::AUTHORIZATION, format!("Bearer {token}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(bytes::Bytes::new()).expect("a request")
}

#[tokio::test(flavor = "multi_thread")]
async fn uk_17_a_request_is_for_the_consent_of_its_token() {
    let world = World::with(|scene| {
        scene.append(
            "  - { name: consent, path: \"/accounts/consents/{id}\", methods: [GET], scopes: [accounts], upstream: accounts, require: { consent: { id: { scope: \"consent:\" }, equals: { path: id }, status: { claim: /status, one_of: [AUTHORISED] } } } }\n",
        )
    })
    .await;
    let token = world.token().claim("status", "AUTHORISED").claim("scope", "accounts consent:urn-c1");
    assert_eq!(world.judge(call(&world, &token, "/accounts/consents/urn-c1", &[])).await.1, "ok", "control");
    assert_eq!(world.judge(call(&world, &token, "/accounts/consents/urn-c2", &[])).await, of(403, "consent_mismatch"));
    let revoked = token.claim("status", "Revoked");
    assert_eq!(world.judge(call(&world, &revoked, "/accounts/consents/urn-c1", &[])).await, of(403, "consent_revoked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn uk_17_a_client_asks_for_its_own_consent_alone() {
    let world = World::with(|scene| {
        requiring(scene, ASKED, ", cache: { max_age: 0s }").append(
            "  - { name: consent, path: \"/accounts/consents/{id}\", methods: [GET], scopes: [accounts], upstream: accounts, require: { consent: { id: { path: id }, status: { ask: bank, one_of: [AUTHORISED] } } } }\n",
        )
    })
    .await;
    let asks = async || world.judge(call(&world, &world.token(), "/accounts/consents/c7", &[])).await.1;
    world.issuer.script("/consents/c7", state("AUTHORISED", &client_id(&world)));
    assert_eq!(asks().await, "ok", "control");
    world.issuer.script("/consents/c7", state("AUTHORISED", "another"));
    assert_eq!(asks().await, "consent_mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn bg_08_a_consent_that_the_request_names_is_the_clients_own() {
    let consent = "{ id: { header: Consent-ID }, status: { ask: bank } }";
    let world = of_participant(
        World::with(|scene| {
            let profile = "profile: { base: fapi2-security, ecosystem: berlin-group }\n";
            requiring(scene.replace("profile: fapi2-security\n", profile), consent, ", cache: { max_age: 0s }")
        })
        .await,
        "berlin-group",
    );
    let id = ("x-request-id", "c770aef3-6784-41f7-8e0e-ff5f97bddb3a");
    let client = client_id(&world);
    let told = async |fields: &[(&str, &str)]| -> (u16, String, Value) {
        let response: Response<_> = sent(&world.client(), call(&world, &world.token(), "/accounts", fields)).await;
        let code = world.gateway.record_of(&response)["code"].as_str().expect("a code").to_owned();
        let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        (response.status().as_u16(), code, body["tppMessages"][0]["code"].clone())
    };
    world.issuer.script(CONSENT, state("valid", &client));
    let named = [id, ("consent-id", "urn:c1")];
    assert_eq!(told(&named).await.0, 200, "control");
    assert_eq!(told(&[id]).await, (400, "consent_missing".into(), json!("CONSENT_UNKNOWN")));
    for (answer, expected) in [
        (state("valid", "another"), (401, "consent_mismatch".into(), json!("CONSENT_INVALID"))),
        (state("expired", &client), (401, "consent_expired".into(), json!("CONSENT_EXPIRED"))),
        (state("received", &client), (401, "consent_refused".into(), json!("CONSENT_INVALID"))),
        (state("revokedByPsu", &client), (401, "consent_revoked".into(), json!("CONSENT_INVALID"))),
        (Answer::status(StatusCode::NOT_FOUND), (403, "consent_unknown".into(), json!("CONSENT_UNKNOWN"))),
    ] {
        world.issuer.script(CONSENT, answer);
        assert_eq!(told(&named).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_cannot_keep_another_from_being_told() {
    let service = ", timeout: 9s, max_waiting_per_client: 1, cache: { max_age: 0s }";
    let world = World::with(|scene| requiring(scene, ASKED, service)).await;
    world.issuer.script(CONSENT, Answer::hanging());
    let waiting = tokio::spawn({
        let (client, request): (Client, _) = (world.client(), request("/accounts", &world.sign(&token(&world))));
        async move { client.send(request).await.map(drop) }
    });
    world.issuer.wait_for(CONSENT, 1, DEADLINE).await.expect("the first asks");
    let second = judge(&world, &token(&world)).await;
    assert_eq!(second, of(429, "consent_share_exceeded"));
    world.issuer.script("/consents/urn%3Ac9", state("AUTHORISED", "another"));
    let other = token(&world).claim("client_id", "another").claim("consent_id", "urn:c9");
    assert_eq!(judge(&world, &other).await, of(200, "ok"), "control: another client");
    waiting.abort();
    let service = ", timeout: 9s, max_waiting: 1, cache: { max_age: 0s }";
    let world = World::with(|scene| requiring(scene, ASKED, service)).await;
    world.issuer.script(CONSENT, Answer::hanging());
    let waiting = tokio::spawn({
        let (client, request): (Client, _) = (world.client(), request("/accounts", &world.sign(&token(&world))));
        async move { client.send(request).await.map(drop) }
    });
    world.issuer.wait_for(CONSENT, 1, DEADLINE).await.expect("the first asks");
    let other = token(&world).claim("client_id", "another").claim("consent_id", "urn:c9");
    assert_eq!(judge(&world, &other).await, of(503, "consent_unavailable"));
    let busy = "fapi_gateway_consent_answers_total{outcome=\"busy\",service=\"bank\"} 1\n";
    assert!(world.gateway.admin("/metrics").await.1.contains(busy));
    waiting.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_keeps_its_own_calls_waiting_gets_no_last_answer() {
    let service = ", timeout: 500ms, max_calls: 2, cache: { max_age: 1ms, stale_for: 1h }";
    let world = World::with(|scene| requiring(scene, ASKED, service)).await;
    let client = client_id(&world);
    world.issuer.script(CONSENT, state("AUTHORISED", &client));
    assert_eq!(judge(&world, &token(&world)).await, of(200, "ok"));
    world.issuer.script(CONSENT, state("REVOKED", &client));
    let other = "/consents/urn%3Ac2";
    world.issuer.script(other, Answer::hanging());
    let hangs = request("/accounts", &world.sign(&token(&world).claim("consent_id", "urn:c2")));
    let waiting = tokio::spawn({
        let (client, hangs): (Client, _) = (world.client(), hangs);
        async move { client.send(hangs).await.map(drop) }
    });
    world.issuer.wait_for(other, 1, DEADLINE).await.expect("its one turn is taken");
    let asked = world.issuer.requests_to(CONSENT);
    let (status, code) = judge(&world, &token(&world)).await;
    // It gets its turn when the first call has ended, just before its own wait does, or not.
    let was_asked = world.issuer.requests_to(CONSENT) > asked;
    assert_eq!((status, &*code), if was_asked { (403, "consent_revoked") } else { (503, "consent_unavailable") });
    waiting.await.expect("it ends").expect("it is answered");
    assert_eq!(judge(&world, &token(&world)).await, of(403, "consent_revoked"), "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_names_the_consent_of_another_does_not_have_that_one_wait_for_its_turn() {
    let by_field = "{ id: { header: Consent-ID }, status: { ask: bank, one_of: [AUTHORISED] } }";
    let world = World::with(|scene| requiring(scene, by_field, ", max_calls: 2, cache: { max_age: 1m }")).await;
    let hanging = "/consents/urn%3Ac2";
    world.issuer.script(hanging, Answer::hanging());
    world.issuer.script(CONSENT, state("AUTHORISED", "another"));
    let mut held = Vec::new();
    // The first takes the one turn of its client, and the second waits for it.
    for (count, id) in [(1, "urn:c2"), (2, "urn:c1")] {
        let (client, asks) = (world.client(), call(&world, &world.token(), "/accounts", &[("consent-id", id)]));
        held.push(tokio::spawn(async move { client.send(asks).await.map(drop) }));
        let begun = format!("fapi_gateway_exchanges_in_flight{{listener=\"127.0.0.1:0\"}} {count}\n");
        for _ in 0..500 {
            if world.gateway.admin("/metrics").await.1.contains(&begun) {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    world.issuer.wait_for(hanging, 1, DEADLINE).await.expect("the turn is taken");
    let owner = world.token().claim("client_id", "another");
    let asks = call(&world, &owner, "/accounts", &[("consent-id", "urn:c1")]);
    assert_eq!(world.judge(asks).await, of(200, "ok"));
    held.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_says_of_an_id_that_a_client_made_up_is_the_clients_fault() {
    let by_field = "{ id: { header: Consent-ID }, status: { ask: bank, one_of: [AUTHORISED] } }";
    for (consent, expected) in [(by_field, (403, "consent_unknown")), (ASKED, (503, "consent_unavailable"))] {
        let world = World::with(|scene| requiring(scene, consent, ", cache: { max_age: 0s }")).await;
        let asks = || call(&world, &token(&world), "/accounts", &[("consent-id", "urn:c1")]);
        world.issuer.script(CONSENT, state("AUTHORISED", &client_id(&world)));
        assert_eq!(world.judge(asks()).await, of(200, "ok"), "control");
        for status in [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY] {
            world.issuer.script(CONSENT, Answer::status(status));
            assert_eq!(world.judge(asks()).await, of(expected.0, expected.1), "{consent} {status}");
        }
        let status: Value = serde_json::from_str(&world.gateway.admin("/status").await.1).expect("JSON");
        let resources = status.to_string();
        assert!(resources.contains("\"consents\"") && !resources.contains("answered with status 4"), "{resources}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_reload_the_service_is_still_seen_and_what_it_said_still_counts() {
    let world = World::with(|scene| requiring(scene, ASKED, ", cache: { max_age: 5m }")).await;
    world.issuer.script(CONSENT, state("AUTHORISED", &client_id(&world)));
    assert_eq!(judge(&world, &token(&world)).await, of(200, "ok"));
    world.reload(1, |yaml| yaml.replace("header_bytes: 32KiB", "header_bytes: 31KiB")).await;
    assert_eq!(judge(&world, &token(&world)).await, of(200, "ok"));
    assert_eq!(world.issuer.requests_to(CONSENT), 1);
    assert!(world.gateway.admin("/status").await.1.contains("\"consents\""));
    world.reload(2, |yaml| yaml.replace("status: /data/status", "status: /data/client")).await;
    assert_eq!(judge(&world, &token(&world)).await, of(403, "consent_refused"), "it is asked for something else");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_shadow_what_a_consent_would_be_refused_for_is_noted() {
    let world = World::with(|scene| {
        requiring(scene, ASKED, ", timeout: 300ms, cache: { max_age: 0s }")
            .replace("    scopes: [accounts]\n", "    scopes: [accounts]\n    enforce: { shadow: until 2099-01-31 }\n")
    })
    .await;
    let noted = async |answer: Option<Answer>| {
        if let Some(answer) = answer {
            world.issuer.script(CONSENT, answer);
        }
        let response = sent(&world.client(), request("/accounts", &world.sign(&token(&world)))).await;
        assert_eq!(response.status(), 200);
        world.gateway.record_of(&response)["would_deny"].clone()
    };
    let client = client_id(&world);
    assert_eq!(noted(Some(state("AUTHORISED", &client))).await, json!(null), "control");
    assert_eq!(noted(Some(state("REVOKED", &client))).await, "consent_revoked");
    assert_eq!(noted(Some(Answer::status(StatusCode::BAD_GATEWAY))).await, "consent_unavailable");
}
