//! Targets that lie, repeat, are slow or are gone: nothing passes there, nothing secret is written, and the run ends.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, StatusCode, header};
use probe::authorization::{Authentication, Grant, Server, Source};
use probe::plan::Plan;
use probe::report::{Report, Verdict};
use probe::settings::Settings;
use sandbox::https::{Answer, Recorded};
use sandbox::keys::KeyKind;
use serde_json::json;

use crate::world::{Handler, World};

/// The modules that passed, but for those that look at TLS alone, which is sound here.
fn passed(report: &Report) -> Vec<&str> {
    let passed = report.modules.iter().filter(|module| module.verdict == Verdict::Pass);
    passed.map(|module| module.name.as_str()).filter(|name| !name.starts_with("tls")).collect()
}

fn quick(settings: &mut Settings) {
    settings.limits.timeout = Duration::from_millis(300);
    settings.claims.private_authorities = true;
    settings.claims.metadata = true;
}

fn good() -> Answer {
    Answer::json(StatusCode::OK, json!({ "accounts": [] }))
}

#[test]
fn nothing_passes_at_a_target_that_says_nothing() {
    let world = World::new(KeyKind::Es256);
    let limited =
        Answer::status(StatusCode::TOO_MANY_REQUESTS).header(header::RETRY_AFTER, HeaderValue::from_static("0"));
    for (what, answer) in [
        ("closes", Answer::resetting()),
        ("asks for fewer", limited.clone()),
        ("is away", Answer::status(StatusCode::SERVICE_UNAVAILABLE)),
        ("refuses everything", Answer::status(StatusCode::UNAUTHORIZED)),
    ] {
        let report = world.run(Plan::Fapi2Security, Arc::new(move |_| answer.clone()), &quick).0;
        assert_eq!(passed(&report), Vec::<&str>::new(), "{what}");
    }
    // The first call of each module is answered, and nothing after it.
    for (what, answer) in [("closes", Answer::resetting()), ("asks for fewer", limited)] {
        let calls = AtomicUsize::new(0);
        let handler: Handler = Arc::new(move |_| match calls.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => good(),
            _ => answer.clone(),
        });
        let report = world.run(Plan::Fapi2Security, handler, &quick).0;
        let refusals = ["no-credentials", "dpop-jti", "token-expired", "cors-other-origin", "framing-ambiguous"];
        let found = passed(&report);
        assert!(!refusals.iter().any(|name| found.contains(name)), "{what}: {found:?}");
    }
}

#[test]
fn a_target_that_accepts_everything_fails() {
    let world = World::new(KeyKind::Es256);
    let report = world.run(Plan::Fapi2Security, Arc::new(|_| good()), &quick).0;
    assert!(report.count(Verdict::Fail) > 40, "{}", report.count(Verdict::Fail));
}

#[test]
fn nothing_is_changed_unless_that_is_allowed() {
    let world = World::new(KeyKind::Es256);
    for writes in [false, true] {
        let methods: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let noted = Arc::clone(&methods);
        let handler: Handler = Arc::new(move |request| {
            noted.lock().unwrap().insert(request.method.to_string());
            good()
        });
        let (report, transcript) = world.run(Plan::Fapi2Security, handler, &move |settings: &mut Settings| {
            quick(settings);
            settings.writes = writes;
        });
        let methods: Vec<String> = methods.lock().unwrap().iter().cloned().collect();
        let expected: &[&str] =
            if writes { &["GET", "HEAD", "OPTIONS", "POST", "TRACE"] } else { &["GET", "HEAD", "OPTIONS", "TRACE"] };
        assert_eq!(methods, expected, "{writes}");
        assert_eq!(String::from_utf8(transcript).unwrap().lines().count() as u64, report.requests);
    }
}

#[test]
fn a_target_that_is_not_there_is_called_once() {
    let world = World::new(KeyKind::Es256);
    let gone = |settings: &mut Settings| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        settings.target.addresses = vec![listener.local_addr().unwrap()];
    };
    let report = world.run(Plan::Fapi2Security, Arc::new(|_| good()), &gone).0;
    assert_eq!((report.count(Verdict::Inconclusive), report.requests), (report.modules.len(), 0));
}

#[test]
fn what_a_target_repeats_is_not_written() {
    let world = World::new(KeyKind::Es256);
    let received: Arc<Mutex<Vec<String>>> = Arc::default();
    let (noted, calls) = (Arc::clone(&received), AtomicUsize::new(0));
    let handler: Handler = Arc::new(move |request| {
        let mut received = noted.lock().unwrap();
        let answer = match calls.fetch_add(1, Ordering::Relaxed) % 3 {
            2 => Answer::status(StatusCode::UNAUTHORIZED),
            _ => good(),
        };
        let answer = repeating(answer, &request, received.last().cloned().as_deref());
        received.extend(["authorization", "dpop"].iter().filter_map(|name| request.header(name)).map(str::to_owned));
        answer
    });
    let (report, transcript) = world.run(Plan::Fapi2Security, handler, &quick);
    let written = format!("{}{}", serde_json::to_string(&report).unwrap(), String::from_utf8(transcript).unwrap());
    let received = received.lock().unwrap();
    assert!(received.len() > 100, "control");
    for value in received.iter() {
        // A scheme is no secret, and what modules make up is short.
        let secret = value.rsplit(' ').next().unwrap_or_default();
        for text in [secret.to_owned(), STANDARD.encode(secret)] {
            let middle =
                text.get(text.len() / 3..text.len() / 3 + 40).unwrap_or("a secret that is too short to be one");
            assert!(!written.contains(middle), "{middle} of {value}");
        }
    }
}

#[test]
fn what_an_authorization_server_repeats_is_not_written() {
    let world = World::new(KeyKind::Es256);
    let received: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&received);
    let handler: Handler = Arc::new(move |request| {
        let origin = format!("https://{}", request.header("host").unwrap_or_default());
        match request.path() {
            "/.well-known/oauth-authorization-server" => {
                Answer::json(StatusCode::OK, json!({ "issuer": origin, "token_endpoint": format!("{origin}/token") }))
            }
            "/token" => {
                let form: Vec<_> = form_urlencoded::parse(&request.body).into_owned().collect();
                let assertion = form.into_iter().find(|(name, _)| name == "client_assertion").map(|(_, value)| value);
                let assertion = assertion.unwrap_or_default();
                noted.lock().unwrap().push(assertion.clone());
                let challenge = HeaderValue::from_str(&format!("Bearer error=\"{assertion}\"")).unwrap();
                Answer::json(StatusCode::BAD_REQUEST, json!({ "error": assertion }))
                    .header(header::WWW_AUTHENTICATE, challenge)
            }
            _ => good(),
        }
    });
    let (report, transcript) = world.run(Plan::Fapi2Mtls, handler, &|settings: &mut Settings| {
        quick(settings);
        settings.issuer = None;
        settings.source = Source::Server(Box::new(Server {
            issuer: settings.target.origin(),
            token_endpoint: None,
            par_endpoint: None,
            authorization_endpoint: None,
            revocation_endpoint: None,
            authentication: Authentication::PrivateKeyJwt,
            grant: Grant::ClientCredentials,
            resource: None,
            roots: Arc::clone(&settings.target.roots),
            metadata: OnceLock::new(),
        }));
    });
    assert!(passed(&report).is_empty(), "{:?}", passed(&report));
    let written = format!("{}{}", serde_json::to_string(&report).unwrap(), String::from_utf8(transcript).unwrap());
    let received = received.lock().unwrap();
    // It is asked twice for each client, and then known to have no tokens.
    assert!((1..=4).contains(&received.len()), "{}", received.len());
    for assertion in received.iter() {
        assert!(!written.contains(&assertion[40..80]), "{assertion}");
    }
    assert!(written.contains("$CLIENT_ASSERTION"), "control: it came back");
}

/// An answer that repeats what it was asked, and what was asked before.
fn repeating(answer: Answer, request: &Recorded, before: Option<&str>) -> Answer {
    let token = request.header("authorization").and_then(|value| value.rsplit(' ').next()).unwrap_or("none");
    let proof = request.header("dpop").unwrap_or("none");
    let fields = [
        ("www-authenticate", format!("Bearer error=\"{token}\", error_description=\"{proof}\"")),
        ("x-before", before.unwrap_or("none").to_owned()),
        ("x-encoded", STANDARD.encode(format!("Bearer {token}"))),
        ("location", format!("https://elsewhere.example/?token={token}")),
        ("set-cookie", format!("token={token}")),
        ("x-fapi-interaction-id", token.to_owned()),
        ("content-type", format!("application/json; token={token}")),
    ];
    fields.into_iter().fold(answer, |answer, (name, value)| match HeaderValue::from_str(&value) {
        Ok(value) => answer.header(HeaderName::from_static(name), value),
        Err(_) => answer,
    })
}
