//! Routes in shadow: what a route requires is judged, counted and recorded, and refuses nobody, until a day. The same traffic
//! is sent twice, with the shadow and without it, and what is counted first is what is refused then.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use fapi::shadow::noted_codes;
use http::{Request, StatusCode, header};
use sandbox::tokens::{AccessToken, KeyKind, Proof, SigningKey};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::client::{Client, now};
use crate::support::{DEADLINE, Holder, ORIGIN, Scene, World, dpop_request, request};

/// What the routes require of a token.
const REQUIRE: &str = "    require: { clients: { deny: [retired] }, subject: required, token_lifetime: 10m, claims: [{ claim: /consent, equals: given }], authentication: { acr: [loa3], max_age: 5m } }\n";

/// The key of a route that is in shadow until the day after tomorrow, so that no test sees its end; `more` follows it.
fn enforce(more: &str) -> String {
    let day = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(*LAST_DAY)).to_string();
    format!("    enforce: {{ shadow: until {}{more} }}\n", &day[..10])
}

/// A second of that day.
static LAST_DAY: LazyLock<u64> = LazyLock::new(|| now() + 2 * DAY);
const DAY: u64 = 24 * 60 * 60;

/// Three routes that require much, with these lines among their keys.
fn scene(scene: Scene, enforce: &str) -> Scene {
    let of_accounts = "    scopes: [accounts]\n    upstream: accounts\n    forward:\n";
    let of_payments = "    scopes: { any: [payments, accounts] }\n";
    let matches = "    require: { authorization_details: [{ type: payment, match: [{ detail: /to, equals: { body: /to } }] }] }\n";
    scene
        .replace(of_accounts, &format!("{REQUIRE}{enforce}{of_accounts}"))
        .replace(of_payments, &format!("{of_payments}{matches}{enforce}"))
        .append(&format!("  - name: pinned\n    path: /accounts/1001\n    methods: [GET]\n    scopes: [accounts]\n    sender_constraint: [certificate]\n{enforce}    upstream: accounts\n"))
}

/// A request, who sends it, and the code that it deserves.
struct Sent {
    deserves: &'static str,
    what: &'static str,
    client: Client,
    request: Request<Bytes>,
}

/// One request for each fault, and good ones.
fn traffic(world: &World) -> Vec<Sent> {
    let now = world.clock.now();
    let (own, other) = (world.client(), world.anonymous().certificate(&world.c2));
    let nobody = world.anonymous();
    let good = |token: AccessToken| {
        let token = token.claim("iat", now).claim("exp", now + 600).claim("consent", "given");
        token.claim("acr", "loa3").claim("auth_time", now - 60)
    };
    let signed = |token: AccessToken| world.sign(&token);
    let bearer = |token: AccessToken| request("/accounts", &signed(token));
    let bound = || good(world.token());
    let client_id = world.token().claims()["client_id"].clone();
    let mut all: Vec<Sent> = Vec::new();
    let mut send = |deserves, what, client: &Client, request| {
        all.push(Sent { deserves, what, client: client.clone(), request });
    };
    send("ok", "a good token", &own, bearer(bound()));
    send("certificate_missing", "no certificate", &nobody, bearer(bound()));
    send("certificate_mismatch", "a stolen token", &other, bearer(bound()));
    send("token_unbound", "a token that is bound to nothing", &own, bearer(bound().without("cnf")));
    let hex = json!({ "x5t#S256": "0".repeat(64) });
    send("confirmation_hex", "a thumbprint in hexadecimal", &own, bearer(bound().claim("cnf", hex)));
    for (code, token) in [
        ("scope_insufficient", bound().scope("payments")),
        ("client_refused", bound().claim("client_id", "retired")),
        ("subject_missing", bound().claim("sub", client_id)),
        ("token_lifetime_exceeded", bound().claim("exp", now + 601)),
        ("claim_refused", bound().claim("consent", "revoked")),
        ("acr_insufficient", bound().claim("acr", "loa2")),
        ("authentication_too_old", bound().claim("auth_time", now - 600)),
        ("token_expired", bound().expires_at(now)),
        ("token_audience_mismatch", bound().audience("https://other.example")),
        ("token_issuer_unknown", bound().claim("iss", "https://other.example")),
    ] {
        send(code, "one claim", &own, bearer(token));
    }
    let forger = SigningKey::generate(KeyKind::Ps256, world.issuer.key(KeyKind::Ps256).kid());
    send("token_signature_invalid", "a forged token", &own, request("/accounts", &bound().sign(&forger)));
    send("token_malformed", "no token", &own, request("/accounts", "abc"));

    let key = SigningKey::generate(KeyKind::Es256, "proof");
    let token = signed(good(world.issuer.token(now).bound_to_key(key.thumbprint())));
    let holder = Holder { key, token };
    let proof = || holder.proof("/accounts", now);
    let dpop = |proof: &Proof| holder.request("/accounts", proof);
    let used = proof();
    send("ok", "a good proof", &nobody, dpop(&used));
    send("dpop_replayed", "the same proof", &nobody, dpop(&used));
    send("dpop_malformed", "no proof", &nobody, dpop_request("/accounts", &holder.token, "a.b"));
    send("dpop_stale", "an old proof", &nobody, dpop(&proof().claim("iat", now - 61)));
    send("dpop_ath_mismatch", "a proof for another token", &nobody, dpop(&proof().for_token("another")));
    send("dpop_method_mismatch", "a proof for another method", &nobody, dpop(&proof().claim("htm", "PUT")));
    send("dpop_token_as_bearer", "no DPoP at all", &nobody, request("/accounts", &holder.token));
    let stranger = SigningKey::generate(KeyKind::Es256, "stranger");
    let stolen = dpop_request("/accounts", &holder.token, &proof().sign(&stranger));
    send("dpop_key_mismatch", "a proof by another key", &nobody, stolen);
    let mut bare = dpop(&proof());
    bare.headers_mut().remove("dpop");
    send("dpop_missing", "no proof", &nobody, bare);
    let unbound = signed(bound());
    let unbound = dpop_request("/accounts", &unbound, &proof().for_token(&unbound).sign(&holder.key));
    send("dpop_token_unbound", "a token that is bound to a certificate", &own, unbound);
    let pinned = holder.request("/accounts/1001", &holder.proof("/accounts/1001", now));
    send("scheme_unsupported", "a route for certificates", &nobody, pinned);
    let mut both = bearer(bound());
    both.headers_mut().insert("dpop", "a.b.c".parse().unwrap());
    send("credentials_repeated", "a proof beside a bearer token", &own, both);

    let payment = |token: AccessToken, kind: &str, body: Bytes| {
        let token = signed(token.claim("authorization_details", json!([{ "type": "payment", "to": "DE02" }])));
        let request =
            Request::post(format!("{ORIGIN}/payments")).header(header::AUTHORIZATION, format!("Bearer {token}"));
        request.header(header::CONTENT_TYPE, kind).body(body).unwrap()
    };
    let of_json = "application/json";
    let to = |iban: &str| Bytes::from(format!("{{\"to\":\"{iban}\"}}"));
    send("ok", "a good payment", &own, payment(world.token(), of_json, to("DE02")));
    send("authorization_details_insufficient", "to another", &own, payment(world.token(), of_json, to("DE03")));
    let malformed = signed(world.token().claim("authorization_details", json!({ "type": "payment" })));
    let mut of_nothing = payment(world.token(), of_json, to("DE02"));
    of_nothing.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {malformed}").parse().unwrap());
    send("token_claim_malformed", "no list", &own, of_nothing);
    send("body_unreadable", "no JSON", &own, payment(world.token(), of_json, "to: DE02".into()));
    send("body_type_unsupported", "no JSON either", &own, payment(world.token(), "text/plain", to("DE02")));
    let large = Bytes::from(format!("{{\"to\":\"DE02\",\"more\":\"{}\"}}", "x".repeat(70_000)));
    send("body_too_large", "more than can be read", &own, payment(world.token(), of_json, large));
    let form = Request::post(format!("{ORIGIN}/accounts"))
        .header(header::AUTHORIZATION, format!("Bearer {}", signed(bound())))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let form = form.body("access_token=x".into()).unwrap();
    send("credentials_repeated", "a second token in a form", &own, form);

    let plain = |path: &str| Request::get(format!("{ORIGIN}{path}")).body(Bytes::new()).unwrap();
    send("credentials_missing", "no token", &own, plain("/accounts"));
    send("credentials_in_query", "a token in the query", &own, plain("/accounts?access_token=x"));
    send("credentials_malformed", "two words", &own, request("/accounts", "a b"));
    send("route_not_found", "another path", &own, request("/nowhere", &signed(bound())));
    send("path_ambiguous", "a path with two readings", &own, request("/accounts/..%2f", &signed(bound())));
    all
}

/// Whether a request that deserves this code is let pass in shadow.
fn passes(deserves: &str) -> bool {
    deserves == "ok" || noted_codes().any(|code| code.as_str() == deserves)
}

/// Sends it, and returns its record, whether it reached the upstream, and the status.
async fn send(world: &World, sent: Sent) -> (Value, bool, StatusCode) {
    let before = world.accounts.server().heads();
    let response = sent.client.send(sent.request).await.unwrap_or_else(|error| panic!("{}: {error}", sent.what));
    let record = world.gateway.record_of(&response);
    (record, world.accounts.server().heads() > before, response.status())
}

/// The sum of the series of a metric by code, of those that have this text.
async fn counted(world: &World, metric: &str, with: &str) -> BTreeMap<String, u64> {
    let text = world.gateway.admin("/metrics").await.1;
    let mut counts = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with(&format!("{metric}{{")) && line.contains(with)) {
        let (labels, value) = line.rsplit_once(' ').unwrap();
        let code = labels.split("code=\"").nth(1).unwrap().split('"').next().unwrap();
        *counts.entry(code.to_owned()).or_default() += value.parse::<u64>().unwrap();
    }
    counts.retain(|_, count| *count > 0);
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_counted_in_shadow_is_what_is_refused_without_it() {
    let world = World::with(|usual| scene(usual, &enforce(""))).await;
    let mut noted = BTreeMap::new();
    for sent in traffic(&world) {
        let (deserves, what) = (sent.deserves, sent.what);
        let (record, forwarded, status) = send(&world, sent).await;
        assert_eq!(forwarded, passes(deserves), "{deserves}, {what}: {record}");
        if passes(deserves) {
            assert!(status.is_success() && record["decision"] == "permit" && record["code"] == "ok", "{record}");
            let expected = if deserves == "ok" { Value::Null } else { deserves.into() };
            assert_eq!(record["would_deny"], expected, "{what}: {record}");
            assert_eq!(record["detail"].is_null(), deserves == "ok", "{what}: {record}");
        } else {
            assert_eq!((&record["code"], &record["would_deny"]), (&deserves.into(), &Value::Null), "{what}: {record}");
        }
        if deserves != "ok" && passes(deserves) {
            *noted.entry(deserves.to_owned()).or_insert(0) += 1;
        }
    }
    let in_shadow = counted(&world, "fapi_gateway_shadow_denials_total", "").await;
    assert_eq!(in_shadow, noted);
    assert!(noted.len() > 20, "control: {noted:?}");
    let refused_before = counted(&world, "fapi_gateway_requests_total", "decision=\"reject\"").await;
    assert!(refused_before.keys().all(|code| !passes(code)), "{refused_before:?}");

    // The same without the shadow.
    let file = world.gateway.folder().path().join("gateway.yaml");
    let yaml = std::fs::read_to_string(&file).unwrap();
    assert_eq!(yaml.matches(&enforce("")).count(), 3);
    std::fs::write(&file, yaml.replace(&enforce(""), "")).unwrap();
    world.gateway.control().reload();
    timeout(DEADLINE, world.gateway.control().reloads(1)).await.expect("a reload");
    for sent in traffic(&world) {
        let (deserves, what) = (sent.deserves, sent.what);
        let (record, forwarded, _) = send(&world, sent).await;
        assert_eq!((&record["code"], &record["would_deny"]), (&deserves.into(), &Value::Null), "{what}: {record}");
        assert_eq!(forwarded, deserves == "ok", "{deserves}, {what}: {record}");
    }
    let mut refused = counted(&world, "fapi_gateway_requests_total", "decision=\"reject\"").await;
    refused.retain(|code, _| passes(code));
    assert_eq!(refused, in_shadow);
    assert_eq!(counted(&world, "fapi_gateway_shadow_denials_total", "").await, in_shadow, "nothing is noted any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_ends_with_its_day_and_without_a_reload() {
    let world = World::with(|usual| scene(usual, &enforce(""))).await;
    let stolen = || request("/accounts/1001", &world.sign(&world.token()));
    let thief = world.anonymous().certificate(&world.c2);
    assert_eq!(world.judge_from(&thief, stolen()).await, (200, "ok".into()), "control");
    let end = *LAST_DAY / DAY * DAY + DAY;
    world.clock.advance(end - 1 - world.clock.now());
    assert_eq!(world.judge_from(&thief, stolen()).await, (200, "ok".into()), "its last second");
    world.clock.advance(1);
    assert_eq!(world.judge_from(&thief, stolen()).await, (401, "certificate_mismatch".into()));
    assert_eq!(world.judge(stolen()).await, (200, "ok".into()), "control: whose token it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_for_one_client_lets_no_other_pass() {
    let world = World::with(|usual| scene(usual, &enforce(", clients: [trial]"))).await;
    let of = |client: &str| world.token().claim("client_id", client);
    let thief = world.anonymous().certificate(&world.c2);
    let nobody = world.anonymous();
    for (client, expected) in
        [("trial", "ok"), ("client-1", "certificate_mismatch"), ("trial-2", "certificate_mismatch")]
    {
        let stolen = request("/accounts/1001", &world.sign(&of(client)));
        assert_eq!(world.judge_from(&thief, stolen).await.1, expected, "{client}");
    }
    for (client, expected) in [("trial", "ok"), ("client-1", "scope_insufficient")] {
        let other = request("/accounts/1001", &world.sign(&of(client).scope("other")));
        assert_eq!(world.judge(other).await.1, expected, "{client}");
    }
    for (client, expected) in [("trial", "ok"), ("client-1", "certificate_missing")] {
        let bare = request("/accounts/1001", &world.sign(&of(client)));
        assert_eq!(world.judge_from(&nobody, bare).await.1, expected, "{client}");
    }
    // Who the client is says the issuer, with its signature.
    let forger = SigningKey::generate(KeyKind::Ps256, world.issuer.key(KeyKind::Ps256).kid());
    let forged = request("/accounts/1001", &of("trial").sign(&forger));
    assert_eq!(world.judge_from(&thief, forged).await.1, "token_signature_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upstream_is_told_of_no_binding_that_is_not_proven() {
    let world = World::with(|usual| {
        usual
            .replace("trust: chain, trust_anchors: [ca.pem]", "trust: possession")
            .replace("iss: X-Token-Issuer }", "iss: X-Token-Issuer, cnf: X-Token-Confirmation }")
            .replace("    scopes: [accounts]\n", &format!("    scopes: [accounts]\n{}", enforce("")))
    })
    .await;
    let told = || {
        let requests = world.accounts.requests();
        let last = requests.last().expect("a request");
        ["client-cert", "x-token-confirmation", "x-token-subject"].map(|name| last.header(name).is_some())
    };
    assert_eq!(world.judge(world.request()).await.1, "ok");
    assert_eq!(told(), [true, true, true], "control");
    let thief = world.anonymous().certificate(&world.c2);
    assert_eq!(world.judge_from(&thief, world.request()).await.1, "ok");
    assert_eq!(told(), [false, false, true]);
    let holder = world.holder();
    let proof = holder.proof("/accounts", world.clock.now());
    let nobody = world.anonymous();
    for (expected, what) in [(true, "control"), (false, "a proof that was used before")] {
        assert_eq!(world.judge_from(&nobody, holder.request("/accounts", &proof)).await.1, "ok", "{what}");
        assert_eq!(told(), [false, expected, true], "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_found_by_what_they_would_have_been() {
    let world = World::with(|usual| scene(usual, &enforce(""))).await;
    let (other, good) = (world.token().scope("other"), world.token());
    for token in [other, good] {
        assert_eq!(world.judge(request("/accounts/1001", &world.sign(&token))).await.1, "ok");
    }
    let found = async {
        loop {
            let (_, text) = world.gateway.admin("/decisions?would_deny=scope_insufficient").await;
            let found: Vec<Value> = serde_json::from_str(&text).unwrap();
            if !found.is_empty() {
                return found;
            }
        }
    };
    let found = timeout(DEADLINE, found).await.expect("the decision is there");
    assert_eq!((found.len(), &found[0]["code"], &found[0]["route"]), (1, &"ok".into(), &"pinned".into()));
    assert!(found[0]["detail"].as_str().unwrap().contains("the route needs \"accounts\""), "{found:?}");
}
