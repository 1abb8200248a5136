//! What a person sees of a refusal: a page where a browser shows the answer, and what programs get everywhere else.

use http::{Method, Request};
use serde_json::json;

use super::*;

/// What Chromium sends when somebody opens a page.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// The fields of an answer that a browser may show and nobody else may use.
const PROTECTION: [(&str, &str); 5] = [
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("vary", "Accept"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];

fn asked(method: Method, target: &str, fields: &[(&str, &str)]) -> Request<Bytes> {
    let mut request = Request::builder().method(method).uri(format!("{ORIGIN}{target}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Bytes::new()).expect("a request")
}

fn content_type(response: &Response<Bytes>) -> &str {
    response.headers()["content-type"].to_str().expect("a media type")
}

fn text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).expect("UTF-8")
}

/// Where a browser brings what was pushed.
fn pushed_target() -> String {
    format!("/authorize?{}", form(&owned(&[("client_id", CLIENT), ("request_uri", REQUEST_URI)])))
}

impl Stage {
    /// Shows a refusal to a person and to programs: all of them get the same status and the same record.
    async fn refuses(&self, what: &str, request: impl Fn() -> Request<Bytes>, code: &str, status: u16, title: &str) {
        let error = Code::ALL.iter().find(|known| known.as_str() == code).and_then(|code| code.oauth_error());
        for client in [self.client().h1(), self.client().h2()] {
            for (accept, expected) in [(Some(BROWSER), HTML), (Some(JSON), JSON), (Some("*/*"), JSON), (None, JSON)] {
                let mut request = request();
                request.headers_mut().extend(accept.map(|accept| (http::header::ACCEPT, accept.parse().unwrap())));
                let response = client.send(request).await.expect("the gateway answers");
                let record = self.world.gateway.record_of(&response);
                let context = format!("{what}, {accept:?}: {response:?}, {record}");
                assert_eq!((response.status().as_u16(), content_type(&response)), (status, expected), "{context}");
                assert_eq!((&record["code"], &record["status"]), (&json!(code), &json!(status)), "{context}");
                assert_eq!(record["response_bytes"], json!(response.body().len()), "{context}");
                for (name, value) in PROTECTION {
                    assert_eq!(response.headers()[name], value, "{name} of {context}");
                }
                let policy = response.headers()["content-security-policy"].to_str().unwrap();
                for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"] {
                    assert!(policy.contains(part) && !policy.contains("unsafe"), "{context}");
                }
                assert_eq!(response.headers()["content-length"], response.body().len().to_string(), "{context}");
                assert!(!response.headers().contains_key("location"), "{context}");
                let text = text(&response);
                for secret in ["SECRET", "attacker", "urn:", "callback", CLIENT, "payments"] {
                    assert!(!text.contains(secret), "{secret} in {context}");
                }
                if expected == HTML {
                    for part in [
                        "<html lang=\"en\">".to_owned(),
                        format!("<title>{title}</title>"),
                        format!("<h1>{title}</h1>"),
                        "go back to the application where you began".to_owned(),
                        format!("<dd>{}</dd>", response.headers()["x-fapi-interaction-id"].to_str().unwrap()),
                        error.map_or_else(String::new, |error| format!("<dd>{}</dd>", error.as_str())),
                    ] {
                        assert!(text.contains(&part), "{part} in {context}");
                    }
                    assert!(!text.contains("<script") && !text.contains("<form"), "{context}");
                } else {
                    let body = body(&response);
                    let members: Vec<_> = body.as_object().expect("an object").keys().collect();
                    assert_eq!(members, ["error", "error_description"], "{context}");
                }
            }
        }
    }
}

const NOT_ACCEPTED: &str = "This request was not accepted";
const WRONG: &str = "Something went wrong";
const LATER: &str = "Please try again later";

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_16_fapi2_as_29_a_person_is_shown_a_page_where_a_request_is_refused() {
    let stage = Stage::set().await;
    assert_eq!(stage.code(&stage.post("/par", &stage.pushed(), &[]).await), "ok");
    let pushed = pushed_target();
    let passes = stage.send(asked(Method::GET, &pushed, &[("accept", BROWSER)])).await;
    assert_eq!((&*stage.code(&passes), passes.status().as_u16()), ("ok", 303), "control");
    let plain = format!("/authorize?response_type=code&client_id={CLIENT}&redirect_uri={CALLBACK}");
    for (what, method, target, code, status) in [
        ("not pushed", Method::GET, plain, "par_required", 400),
        ("of another", Method::GET, pushed.replace(CLIENT, "client-2"), "request_uri_unknown", 400),
        ("more", Method::GET, format!("{pushed}&scope=payments"), "parameter_refused", 400),
        ("twice", Method::GET, format!("{pushed}&client_id={CLIENT}"), "parameter_repeated", 400),
        ("markup", Method::GET, "/authorize?client_id=%3Cscript%3Eattacker".to_owned(), "par_required", 400),
        ("nothing", Method::GET, "/authorize".to_owned(), "par_required", 400),
        ("a form", Method::POST, "/authorize".to_owned(), "method_not_allowed", 405),
        ("another method of a page", Method::OPTIONS, "/login/1".to_owned(), "method_not_allowed", 405),
    ] {
        stage.refuses(what, || asked(method.clone(), &target, &[]), code, status, NOT_ACCEPTED).await;
    }
    let small = |scene: Scene| scene.replace("  header_bytes", "  body_bytes: 10B\n  header_bytes");
    let stage = Stage::in_scene(|section| section, small).await;
    let sent = || asked(Method::POST, "/login/1", &[]).map(|_| Bytes::from_static(b"more than ten bytes"));
    stage.refuses("a large form", sent, "body_too_large", 413, NOT_ACCEPTED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_06_a_person_is_shown_a_page_where_an_answer_is_withheld() {
    let stage = Stage::set().await;
    assert_eq!(stage.code(&stage.post("/par", &stage.pushed(), &[]).await), "ok");
    let pushed = pushed_target();
    for (what, path, target, location) in [
        ("without iss", "/authorize", &*pushed, format!("{CALLBACK}?code=SECRET&state=s")),
        ("to a stranger", "/authorize", &pushed, "https://attacker.example/?code=SECRET".to_owned()),
        ("of a page", "/login/1", "/login/1", "https://attacker.example/".to_owned()),
    ] {
        stage.server.answers(path, Answer::redirect(303, &location));
        stage.refuses(what, || asked(Method::GET, target, &[]), "answer_malformed", 502, WRONG).await;
    }
    let page = stage.send(asked(Method::GET, "/login/1", &[("accept", BROWSER)])).await;
    let head = stage.send(asked(Method::HEAD, "/login/1", &[("accept", BROWSER)])).await;
    assert_eq!((head.status().as_u16(), content_type(&head), head.body().len()), (502, HTML, 0));
    assert_eq!(head.headers()["content-length"], page.body().len().to_string());
    // What the server itself answers is its own, whoever asks.
    let own = Answer { status: 400, ..Answer::json(400, &json!({ "error": "of the server" })) };
    stage.server.answers("/login/1", own);
    let response = stage.send(asked(Method::GET, "/login/1", &[("accept", BROWSER)])).await;
    assert_eq!((stage.code(&response), content_type(&response)), ("ok".into(), JSON), "control");
    assert!(!response.headers().contains_key("vary"), "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_shown_a_page_where_nobody_answers() {
    let down = |scene: Scene| {
        scene.replace("  as: { servers", "  down: { servers: [\"http://127.0.0.1:9\"] }\n  as: { servers")
    };
    let stage = Stage::in_scene(|section| section.replace("upstream: as\n", "upstream: down\n"), down).await;
    let page = || asked(Method::GET, "/login/1", &[]);
    stage.refuses("nobody", page, "upstream_unreachable", 502, WRONG).await;

    let stage = Stage::signing(message_signing).await;
    assert_eq!(stage.code(&stage.post("/par", &stage.pushed_object(&json!({})), &[]).await), "ok");
    let unavailable = sandbox::https::Answer::status(http::StatusCode::SERVICE_UNAVAILABLE);
    stage.world.issuer.script("/jwks", unavailable);
    let header = json!({ "alg": "PS256", "kid": "new" });
    let jwt = SigningKey::generate(KeyKind::Ps256, "new").sign(&header, &json!({ "iss": ORIGIN, "code": "SECRET" }));
    stage.server.answers("/authorize", Answer::redirect(303, &format!("{CALLBACK}?response={jwt}")));
    let pushed = pushed_target();
    stage.refuses("no keys", || asked(Method::GET, &pushed, &[]), "keys_unavailable", 503, LATER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_get_no_page_whatever_they_accept() {
    let stage = Stage::set().await;
    for (what, method, target, code) in [
        ("a protected API", Method::GET, "/accounts/1001", "credentials_missing"),
        ("an endpoint for clients", Method::GET, "/token", "method_not_allowed"),
        ("a form of a client", Method::POST, "/par", "parameter_malformed"),
        ("no route", Method::GET, "/nothing", "route_not_found"),
        ("a path with two readings", Method::GET, "/authorize/..%2fx", "path_ambiguous"),
    ] {
        let response = stage.send(asked(method, target, &[("accept", BROWSER)])).await;
        assert_eq!((stage.code(&response), content_type(&response)), (code.into(), JSON), "{what}: {response:?}");
        for name in ["content-security-policy", "referrer-policy", "vary", "x-frame-options"] {
            assert!(!response.headers().contains_key(name), "{name} of {what}: {response:?}");
        }
    }
    let response = stage.send(asked(Method::GET, "/authorize", &[("accept", BROWSER)])).await;
    assert_eq!(content_type(&response), HTML, "control");
}

/// A rule of the listener is for APIs.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_32_no_script_of_another_origin_reads_a_refusal_that_a_browser_shows() {
    const APP: &str = "https://app.example";
    let rule =
        |scene: Scene| scene.replace("admin: {", &format!("    cors: {{ allowed_origins: [\"{APP}\"] }}\nadmin: {{"));
    let stage = Stage::in_scene(|section| section, rule).await;
    let preflight = [("origin", APP), ("access-control-request-method", "GET")];
    let posted = [("origin", APP), ("access-control-request-method", "POST")];
    for (what, method, target, fields, code, granted) in [
        ("an API", Method::GET, "/accounts/1001", &[("origin", APP)][..], "credentials_missing", true), // control
        ("the token endpoint", Method::POST, "/token", &[("origin", APP)], "parameter_malformed", true), // control
        ("a preflight for it", Method::OPTIONS, "/token", &posted, "ok", true),                         // control
        ("the authorization endpoint", Method::GET, "/authorize", &[("origin", APP)], "par_required", false),
        ("a page", Method::OPTIONS, "/login/1", &[("origin", APP)], "method_not_allowed", false),
        ("a preflight for that", Method::OPTIONS, "/authorize", &preflight, "method_not_allowed", false),
        ("a preflight for a page", Method::OPTIONS, "/login/1", &posted, "method_not_allowed", false),
    ] {
        let response = stage.send(asked(method, target, fields)).await;
        assert_eq!(stage.code(&response), code, "{what}: {response:?}");
        let mut fields = response.headers().keys().filter(|name| name.as_str().starts_with("access-control-"));
        assert_eq!(fields.next().is_some(), granted, "{what}: {response:?}");
    }
}
