//! What operators see of an exchange: the audit line, the metrics, the admin listener; and what must never appear
//! there.

use std::io::Write;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fapi_gateway::telemetry::logging::Format;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, StatusCode};
use sandbox::authorization_server::{AuthorizationServer, Script};
use sandbox::https::{Answer, Recorded};
use sandbox::tokens::KeyKind;
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use crate::support::tools::tool;
use crate::support::{Folder, ORIGIN, World, http_client, remember, request};

fn keys(line: &Value) -> Vec<&str> {
    line.as_object().unwrap().keys().map(String::as_str).collect()
}

const AUDIT_KEYS: [&str; 35] = [
    "time",
    "interaction_id",
    "trace_id",
    "listener",
    "client_address",
    "tls_version",
    "protocol",
    "method",
    "host",
    "path",
    "route",
    "decision",
    "code",
    "step",
    "detail",
    "would_deny",
    "issuer",
    "client_id",
    "subject",
    "token_id",
    "confirmation",
    "certificate_subject",
    "certificate_source",
    "user_agent",
    "status",
    "request_bytes",
    "response_bytes",
    "upstream",
    "upstream_address",
    "upstream_status",
    "upstream_duration_ms",
    "duration_ms",
    "decision_us",
    "request_signature",
    "evidence",
];

#[tokio::test(flavor = "multi_thread")]
async fn ops_03_the_audit_line_of_a_permit_tells_who_did_what() {
    let world = World::start().await;
    let token = world.sign(&world.token());
    let mut asked = request("/accounts/1001?secret=query", &token);
    asked.headers_mut().insert("user-agent", HeaderValue::from_static("bank-app/7.1"));
    let response = world.client().h1().send(asked).await.unwrap();
    let line = world.gateway.record_of(&response);
    assert_eq!(keys(&line), AUDIT_KEYS);
    let digest = fapi::sha256(token.as_bytes());
    let token_id: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = json!({
        "client_address": "127.0.0.1", "tls_version": "TLSv1.3", "protocol": "HTTP/1.1", "host": "localhost", "method": "GET", "path": "/accounts/1001", "route": "accounts", "decision": "permit",
        "code": "ok", "detail": null, "issuer": "bank", "client_id": "client-1", "subject": "customer-1",
        "token_id": token_id, "confirmation": {"method": "x5t#S256", "thumbprint": world.c1.x5t_s256()},
        "certificate_subject": "CN=client-1", "certificate_source": "handshake",
        "user_agent": "bank-app/7.1", "status": 200, "request_bytes": 0, "response_bytes": response.body().len(), "upstream": "accounts",
        "upstream_address": world.accounts.address().to_string(), "upstream_status": 200,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&line[name], value, "{name}");
    }
    assert_eq!(line["trace_id"].as_str().unwrap().len(), 32);
    assert!(line["time"].as_str().unwrap().ends_with('Z'));
    let (duration, upstream) = (line["duration_ms"].as_f64().unwrap(), line["upstream_duration_ms"].as_f64().unwrap());
    assert!(duration >= upstream && upstream > 0.0, "{duration} {upstream}");
    assert!(line["decision_us"].as_u64().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_line_tells_how_much_was_sent_how_and_by_which_program() {
    let world = World::start().await;
    let post = |path: &str, body: &'static [u8]| {
        let token = world.sign(&world.token());
        let request = Request::post(format!("{ORIGIN}{path}")).header("authorization", format!("Bearer {token}"));
        request.header("user-agent", "a".repeat(300)).body(Bytes::from_static(body)).unwrap()
    };
    let tls12 = world.client().h2().tls12_only(rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES);
    for (client, protocol, version) in [(world.client().h1(), "HTTP/1.1", "TLSv1.3"), (tls12, "HTTP/2", "TLSv1.2")] {
        let response = client.send(post("/payments", &[b'x'; 5000])).await.unwrap();
        let line = world.gateway.record_of(&response);
        assert_eq!((&line["protocol"], &line["tls_version"]), (&json!(protocol), &json!(version)));
        assert_eq!((&line["host"], &line["request_bytes"]), (&json!("localhost"), &json!(5000)));
        assert_eq!(line["response_bytes"], json!(response.body().len()));
        assert_eq!(line["user_agent"], json!("a".repeat(256)), "shortened");
        // What the gateway answers itself counts like what an upstream does; nothing was forwarded.
        let response = client.send(post("/accounts/..%2f", b"")).await.unwrap();
        let line = world.gateway.record_of(&response);
        assert_eq!(line["response_bytes"], json!(response.body().len()));
        assert_ne!(response.body().len(), 0);
        for absent in ["upstream", "upstream_address", "upstream_status", "upstream_duration_ms"] {
            assert_eq!(line[absent], Value::Null, "{absent}");
        }
    }
    // A form is read before it is decided on, and counts whether or not it is forwarded.
    for (form, status) in [(&b"amount=1&currency=EUR"[..], 201), (&b"access_token=a&amount=1"[..], 400)] {
        let mut request = post("/payments", form);
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, kind);
        let response = world.client().h1().send(request).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(world.gateway.record_of(&response)["request_bytes"], json!(form.len()));
    }
    let metrics = world.gateway.admin("/metrics").await.1;
    let received = r#"fapi_gateway_bytes_total{direction="received",listener="127.0.0.1:0"} 10044"#;
    assert!(metrics.contains(received), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_makes_a_long_line_or_one_with_a_query_in_its_host() {
    let world = World::start().await;
    let client = world.client();
    let send = async |method: &str, host: &str| {
        let head = format!("{method} /accounts/1001 HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let answer = String::from_utf8(client.raw(head.as_bytes()).await).unwrap();
        let id = answer
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("x-fapi-interaction-id: ").map(str::to_owned));
        let line = world.gateway.record(id.expect("each response has it").trim());
        assert!(line.to_string().len() < 1500, "{line}");
        line
    };
    let usual = send("GET", "localhost").await; // control
    assert_eq!((&usual["method"], &usual["host"]), (&json!("GET"), &json!("localhost")));
    let line = send("GET", "localhost?access_token=secret").await;
    assert_eq!((&line["code"], &line["host"]), (&json!("host_malformed"), &json!("localhost")));
    assert!(!line.to_string().contains("secret"), "{line}");
    let line = send(&"M".repeat(20_000), "localhost").await;
    assert_eq!(line["method"], json!("M".repeat(64)), "shortened");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_over_ipv4_is_recorded_as_one_on_an_ipv6_socket_too() {
    for (listener, recorded) in
        [("[::ffff:127.0.0.1]:0", "127.0.0.1"), ("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")]
    {
        let own = format!("- address: \"{listener}\"");
        let world = World::with(|scene| scene.replace("- address: 127.0.0.1:0", &own)).await;
        world.accounts.clear();
        let response = world.client().send(world.request()).await.unwrap();
        assert_eq!(world.gateway.record_of(&response)["client_address"], recorded, "{listener}");
        assert_eq!(world.accounts.requests()[0].header("x-forwarded-for"), Some(recorded), "{listener}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ops_14_a_refusal_has_exactly_one_line_with_both_sides_of_the_comparison() {
    let world = World::start().await;
    let client = world.anonymous().certificate(&world.c2);
    let response = client.send(world.request()).await.unwrap();
    let line = world.gateway.record_of(&response);
    assert_eq!((&line["decision"], &line["code"]), (&json!("reject"), &json!("certificate_mismatch")));
    let detail = line["detail"].as_str().unwrap();
    assert!(detail.contains(&world.c1.x5t_s256()) && detail.contains(&world.c2.x5t_s256()), "{detail}");
    assert_eq!((&line["client_id"], &line["upstream"]), (&json!("client-1"), &Value::Null));
    let id = line["interaction_id"].as_str().unwrap();
    assert_eq!(world.gateway.audit_text().matches(id).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_rs_19_a_uuid_is_kept_and_anything_else_replaced() {
    let world = World::start().await;
    for (sent, kept) in [
        (vec!["7C9E6679-7425-40DE-944B-E07FC1F90AE7"], true),
        (vec!["not a uuid"], false),
        (vec!["7c9e6679742540de944be07fc1f90ae7"], false),
        (vec!["7c9e6679-7425-40de-944b-e07fc1f90ae7", "7c9e6679-7425-40de-944b-e07fc1f90ae7"], false),
        (vec![], false),
    ] {
        for token in [world.sign(&world.token()), "broken".to_owned()] {
            let mut request = request("/accounts", &token);
            for value in &sent {
                request.headers_mut().append("x-fapi-interaction-id", value.parse().unwrap());
            }
            let response = world.client().send(request).await.unwrap();
            let ids: Vec<_> = response.headers().get_all("x-fapi-interaction-id").iter().collect();
            assert_eq!(ids.len(), 1, "{sent:?}");
            let id = ids[0].to_str().unwrap();
            assert!(uuid::Uuid::try_parse(id).is_ok_and(|uuid| !uuid.is_nil()), "{id}");
            assert_eq!(sent.first().is_some_and(|sent| sent.eq_ignore_ascii_case(id)), kept, "{sent:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ops_05_metrics_count_exchanges_and_take_no_label_from_a_request() {
    let world = World::start().await;
    let token = world.sign(&world.token());
    for path in ["/accounts", "/accounts", "/nothing-1", "/nothing-2", "/accounts/..%2f"] {
        let response = world.client().send(request(path, &token)).await.unwrap();
        world.gateway.record_of(&response);
    }
    let (status, text) = world.gateway.admin("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        r#"fapi_gateway_requests_total{code="ok",decision="permit",route="accounts"} 2"#,
        r#"fapi_gateway_requests_total{code="route_not_found",decision="reject",route=""} 2"#,
        r#"fapi_gateway_requests_total{code="path_ambiguous",decision="reject",route=""} 1"#,
        r#"fapi_gateway_responses_total{route="accounts",status_class="2xx"} 2"#,
        r#"fapi_gateway_responses_total{route="",status_class="4xx"} 3"#,
        r#"fapi_gateway_token_cache_requests_total{issuer="bank",outcome="hit"} 1"#,
        r#"fapi_gateway_token_cache_requests_total{issuer="bank",outcome="miss"} 1"#,
        r#"fapi_gateway_jwks_refreshes_total{issuer="bank",outcome="success"} 1"#,
        "fapi_gateway_token_cache_entries 1",
        "fapi_gateway_config_last_reload_success 1",
        "process_open_fds",
        "fapi_gateway_jwks_age_seconds{issuer=\"bank\"}",
        "fapi_gateway_certificate_not_after_timestamp_seconds{file=",
        "fapi_gateway_build_info{commit=\"unknown\",version=",
        "fapi_gateway_upstream_duration_seconds_count{upstream=\"accounts\"} 2",
        "fapi_gateway_request_duration_seconds_count{route=\"accounts\"} 2",
        "fapi_gateway_decision_duration_seconds_count{route=\"accounts\"} 2",
        r#"outcome="success",reason="none"} 5"#,
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    assert!(!text.contains("nothing-"), "a path became a label");
}

/// Without a first sample of 0, a rate does not see the first event of a series.
#[tokio::test(flavor = "multi_thread")]
async fn every_series_whose_labels_are_known_begins_at_zero() {
    let world = World::with(|scene| scene.introspected("")).await;
    let text = world.gateway.admin("/metrics").await.1;
    for series in [
        r#"fapi_gateway_requests_total{code="ok",decision="permit",route="accounts"}"#,
        r#"fapi_gateway_requests_total{code="ok",decision="preflight",route="accounts"}"#,
        r#"fapi_gateway_requests_total{code="ok",decision="metadata",route=""}"#,
        r#"fapi_gateway_requests_total{code="scope_insufficient",decision="reject",route="accounts"}"#,
        r#"fapi_gateway_requests_total{code="upstream_unreachable",decision="error",route="payments"}"#,
        r#"fapi_gateway_requests_total{code="client_gone",decision="permit",route="accounts"}"#,
        r#"fapi_gateway_requests_total{code="client_gone",decision="reject",route="accounts"}"#,
        r#"fapi_gateway_responses_total{route="health",status_class="5xx"}"#,
        r#"fapi_gateway_responses_total{route="",status_class="none"}"#,
        r#"fapi_gateway_bytes_total{direction="sent",listener="127.0.0.1:0"}"#,
        r#"fapi_gateway_tls_handshakes_total{listener="127.0.0.1:0",outcome="failure",reason="unknown_ca"}"#,
        r#"fapi_gateway_upstream_errors_total{kind="timeout",upstream="accounts"}"#,
        r#"fapi_gateway_upstream_retries_total{upstream="accounts"}"#,
        r#"fapi_gateway_introspection_requests_total{issuer="bank",outcome="busy"}"#,
        r#"fapi_gateway_revocations_total{kind="sub",outcome="recorded"}"#,
        r#"fapi_gateway_config_reloads_total{outcome="failure"}"#,
    ] {
        assert!(text.contains(&format!("{series} 0\n")), "no {series} in\n{text}");
    }
    assert!(!text.contains(r#"fapi_gateway_requests_total{code="no_such_code""#), "control");
    // Keys are read where tokens are verified with them.
    let of_keys = r#"fapi_gateway_jwks_refreshes_total{issuer="bank",outcome="failure"}"#;
    assert!(!text.contains(of_keys));
    let text = World::start().await.gateway.admin("/metrics").await.1;
    assert!(text.contains(&format!("{of_keys} 0\n")), "no {of_keys} in\n{text}");
}

/// The parser of Prometheus's own client library refuses what strays from the format.
#[tokio::test(flavor = "multi_thread")]
async fn a_scraper_that_asks_for_openmetrics_gets_it() {
    let world = World::start().await;
    world.judge(world.request()).await;
    let client = http_client();
    let url = format!("http://{}/metrics", world.gateway.admin_address());
    let get = |accept: &'static str| client.get(&url).header("accept", accept).send();
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
    let response = get(accept).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = response.text().await.unwrap();
    let samples = parsed("openmetrics.parser", &text);
    assert!(samples.contains("fapi_gateway_requests_total permit 1.0\n"), "{samples}");
    for accept in ["text/plain;version=0.0.4, */*;q=0.1", "*/*", "application/openmetrics-text;q=0"] {
        let response = get(accept).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8", "{accept}");
        let samples = parsed("parser", &response.text().await.unwrap());
        assert!(samples.contains("fapi_gateway_requests_total permit 1.0\n"), "{samples}");
    }
}

/// The samples of the requests, as Prometheus's client library for Python reads them, which Debian's own interpreter has.
pub fn parsed(parser: &str, text: &str) -> String {
    let printed = "if sample.name == 'fapi_gateway_requests_total' and sample.labels['code'] == 'ok': print(sample.name, sample.labels['decision'], float(sample.value))";
    read_by(parser, printed, text)
}

/// The traces of exemplars, as the same library reads them.
pub(super) fn exemplars(text: &str) -> String {
    read_by("openmetrics.parser", "if sample.exemplar: print(sample.exemplar.labels['trace_id'])", text)
}

fn read_by(parser: &str, printed: &str, text: &str) -> String {
    let script = format!(
        "import sys\nfrom prometheus_client.{parser} import text_string_to_metric_families\n\
         for family in text_string_to_metric_families(open(sys.argv[1]).read()):\n  for sample in family.samples:\n    {printed}"
    );
    let folder = Folder::new();
    let output = tool("/usr/bin/python3").args(["-c", &script]).arg(folder.write("metrics", text)).output().unwrap();
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ops_07_the_admin_listener_serves_its_four_pages_and_the_data_listener_none_of_them() {
    let world = World::start().await;
    for (path, status) in
        [("/livez", 200), ("/readyz", 200), ("/status", 200), ("/metrics", 200), ("/nothing", 404), ("/accounts", 404)]
    {
        let (answered, body) = world.gateway.admin(path).await;
        assert_eq!(answered, status, "{path}");
        assert_eq!(body.contains("the paths are /livez, /readyz,"), status == 404, "{path}: {body}");
    }
    for path in ["/livez", "/readyz", "/status", "/metrics"] {
        assert_eq!(world.judge(request(path, "x")).await, (404, "route_not_found".into()), "{path}");
    }
}

/// Everything that is logged during a test, at every level that the program can be configured to use.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn att_a5_nothing_secret_leaves_in_logs_audit_metrics_or_answers() {
    let log = Log::default();
    fapi_gateway::telemetry::logging::start(&"trace".parse().unwrap(), Format::Text, log.clone());
    tracing::debug!(target: "fapi_gateway::control", "the log is being read");
    let world = World::start().await;
    let good = world.token();
    let key = world.issuer.key(KeyKind::Ps256);
    let mut tokens = vec![
        world.sign(&good),
        world.sign(&good.clone().without("cnf")),
        world.sign(&good.clone().scope("other")),
        world.sign(&good.clone().expires_at(1)),
        world.sign(&good.clone().audience("https://other.example")),
        remember(good.clone().header("kid", "unknown").sign(key)),
        remember(good.clone().header("typ", "JWT").sign(key)),
    ];
    tokens.push(format!("{}x", tokens[0]));
    let mut output = String::new();
    for client in [world.client().h1(), world.client().h2(), world.anonymous()] {
        for token in &tokens {
            let mut requests = vec![request("/accounts", token), request("/health", token)];
            requests.push(Request::get(format!("{ORIGIN}/accounts?access_token={token}")).body(Bytes::new()).unwrap());
            for request in requests {
                let response = client.send(request).await.unwrap();
                world.gateway.record_of(&response);
                output.push_str(&format!("{:?}{:?}", response.headers(), response.body()));
            }
        }
    }
    output.push_str(&world.gateway.admin("/metrics").await.1);
    output.push_str(&world.gateway.audit_text());
    let (told, mut secrets) = introspected().await;
    output.push_str(&told);
    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(logged.contains("the log is being read"), "control");
    output.push_str(&logged);
    assert!(logged.contains("introspection failed"), "control");
    secrets.extend(tokens);
    for secret in &secrets {
        let signature = secret.rsplit_once('.').map_or(secret.as_str(), |(_, signature)| signature);
        for secret in [secret.as_str(), signature] {
            let at = output.find(secret);
            assert_eq!(at, None, "a secret in: …{}…", at.map_or("", |at| &output[at.saturating_sub(200)..at]));
        }
    }
}

/// Introspects tokens with every kind of response; returns the output, and the secrets that must not be in it (INT-19).
async fn introspected() -> (String, Vec<String>) {
    let world = World::with(|scene| scene.introspected(", timeout: 500ms")).await;
    let new = || world.opaque(&world.token());
    let key = std::fs::read_to_string(world.gateway.folder().path().join("gateway.pem")).unwrap();
    let mut secrets: Vec<String> = key.lines().filter(|line| !line.starts_with('-')).map(str::to_owned).collect();
    let mut output = String::new();
    let echo = |status: StatusCode| {
        Script::Function(Box::new(move |question: &Recorded| {
            let kind = HeaderValue::from_static("application/json");
            Answer::status(status).header(CONTENT_TYPE, kind).body(question.body.clone())
        }))
    };
    let scripts: [Option<Script>; 7] = [
        None,
        Some(Answer::json(StatusCode::OK, json!({ "active": false })).into()),
        Some(Answer::hanging().into()),
        Some(Answer::resetting().into()),
        Some(echo(StatusCode::OK)),
        Some(echo(StatusCode::UNAUTHORIZED)),
        Some(echo(StatusCode::INTERNAL_SERVER_ERROR)),
    ];
    for script in scripts {
        match script {
            Some(script) => world.issuer.script(AuthorizationServer::INTROSPECTION, script),
            None => world.issuer.unscript(AuthorizationServer::INTROSPECTION),
        }
        let token = new();
        for client in [world.client(), world.anonymous()] {
            let response = client.send(request("/accounts", &token)).await.unwrap();
            world.gateway.record_of(&response);
            output.push_str(&format!("{:?}{:?}", response.headers(), response.body()));
        }
        secrets.push(token);
    }
    let questions = world.issuer.requests();
    let forms = questions.iter().map(|question| form_urlencoded::parse(&question.body).into_owned());
    secrets.extend(forms.flatten().filter(|(name, _)| name == "client_assertion").map(|(_, assertion)| assertion));
    assert!(secrets.len() > 15, "control: a key, tokens, assertions");
    output.push_str(&world.gateway.admin("/metrics").await.1);
    output.push_str(&world.gateway.audit_text());
    (output, secrets)
}
