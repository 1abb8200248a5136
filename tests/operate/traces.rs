//! Distributed traces: which exchanges are recorded, what a collector gets of them, and that nobody waits for it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use fapi_gateway::clock::Moment;
use http::{Request, Response, StatusCode};
use sandbox::authorization_server::AuthorizationServer;
use sandbox::https::Answer as Said;
use sandbox::pki::Authority;
use sandbox::tls::tls_config;
use tokio::net::TcpListener;

use crate::support::client::Client;
use crate::support::collector::{Answer, CLIENT, Collector, INTERNAL, Protocol, SERVER, Span, section};
use crate::support::program::Program;
use crate::support::{DEADLINE, ORIGIN, Scene, World, http_client, request};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A world whose spans go to this collector.
async fn traced(collector: &Collector, protocol: Protocol, more: &str) -> World {
    let section = collector.section(protocol, more);
    World::with(|scene| scene.append(&section)).await
}

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

fn with_parent(mut request: Request<Bytes>, traceparent: &str) -> Request<Bytes> {
    request.headers_mut().insert("traceparent", traceparent.parse().unwrap());
    request
}

fn id_of(response: &Response<Bytes>) -> &str {
    response.headers()["x-fapi-interaction-id"].to_str().unwrap()
}

/// The spans of a request, the exchange's own last.
async fn spans_of(world: &World, collector: &Collector, request: Request<Bytes>) -> (u16, Vec<Span>) {
    let response = world.client().send(request).await.unwrap();
    (response.status().as_u16(), collector.trace_of(id_of(&response)).await)
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

/// The value of a counter.
async fn counted(world: &World, outcome: &str) -> u64 {
    let line = format!("fapi_gateway_spans_total{{outcome=\"{outcome}\"}} ");
    let text = world.gateway.admin("/metrics").await.1;
    text.lines().find_map(|found| found.strip_prefix(&line)).expect("the series").parse().unwrap()
}

/// Waits until a counter is at least this high.
async fn until_counted(world: &World, outcome: &str, least: u64) -> u64 {
    let waiting = async {
        loop {
            match counted(world, outcome).await {
                count if count >= least => return count,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("not {least} spans are {outcome}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_is_one_trace_from_the_client_to_the_upstream() {
    for protocol in [Protocol::Http, Protocol::Grpc] {
        let collector = Collector::start(protocol).await;
        let world = traced(&collector, protocol, "").await;
        let mut asked = with_parent(world.request(), &parent("01"));
        asked.headers_mut().insert("tracestate", "vendor=1".parse().unwrap());
        let (status, spans) = spans_of(&world, &collector, asked.clone()).await;
        assert_eq!((status, names(&spans)), (200, vec!["token", "GET /accounts/**", "GET /accounts/**"]));
        let [token, upstream, own] = spans.as_slice() else { panic!("{spans:?}") };
        assert!(spans.iter().all(|span| span.trace == TRACE && !span.failed && span.began <= span.ended));
        assert_eq!((own.parent.as_str(), own.kind, own.flags), (PARENT, SERVER, 0x301));
        assert_eq!((&token.parent, token.kind, token.flags), (&own.id, INTERNAL, 0x101));
        assert_eq!((&upstream.parent, upstream.kind, upstream.flags), (&own.id, CLIENT, 0x101));
        assert!(own.began <= token.began && token.ended <= upstream.began && upstream.ended <= own.ended);
        let seen = world.accounts.requests().remove(0);
        assert_eq!(seen.header("traceparent"), Some(&*format!("00-{TRACE}-{}-01", upstream.id)));
        assert_eq!(seen.header("tracestate"), Some("vendor=1"));
        // The token is known now, so that nothing is done about it.
        let (_, again) = spans_of(&world, &collector, asked).await;
        assert_eq!(names(&again), ["GET /accounts/**", "GET /accounts/**"]);
        assert_ne!(again.last().map(|span| &span.id), spans.last().map(|span| &span.id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_have_the_names_of_the_semantic_conventions_and_the_decision() {
    let collector = Collector::start(Protocol::Http).await;
    let world =
        traced(&collector, Protocol::Http, ", sampling: 1, resource: { service.name: payments-gateway, team: a b }")
            .await;
    let port = world.accounts.address().port().to_string();
    let response =
        world.client().h1().send(request("/accounts/1001?page=2", &world.sign(&world.token()))).await.unwrap();
    let spans = collector.trace_of(id_of(&response)).await;
    let own = spans.last().unwrap();
    let expected = [
        ("http.request.method", "GET"),
        ("url.scheme", "https"),
        ("network.protocol.version", "1.1"),
        ("server.address", "localhost"),
        ("server.port", "443"),
        ("http.route", "/accounts/**"),
        ("url.path", "/accounts/**"),
        ("fapi.route", "accounts"),
        ("http.response.status_code", "200"),
        ("fapi.decision", "permit"),
        ("fapi.code", "ok"),
        ("fapi.issuer", "bank"),
        ("fapi.interaction_id", id_of(&response)),
    ];
    assert_eq!(own.attributes, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    let upstream = &spans[spans.len() - 2];
    let expected = [
        ("http.request.method", "GET"),
        ("url.template", "/accounts/**"),
        ("fapi.upstream", "accounts"),
        ("url.scheme", "http"),
        ("server.address", "127.0.0.1"),
        ("server.port", &port),
        ("network.peer.address", "127.0.0.1"),
        ("network.peer.port", &port),
        ("http.response.status_code", "200"),
    ];
    assert_eq!(upstream.attributes, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    let resource = |name: &str| own.resource.get(name).map(String::as_str);
    assert_eq!((resource("service.name"), resource("team")), (Some("payments-gateway"), Some("a b")));
    assert_eq!(resource("service.version"), Some(env!("CARGO_PKG_VERSION")));
    assert!(uuid::Uuid::try_parse(resource("service.instance.id").unwrap()).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_has_its_code_and_step_and_is_an_error_only_if_it_is_not_the_clients() {
    let collector = Collector::start(Protocol::Http).await;
    let mut world = traced(&collector, Protocol::Http, ", sampling: 1").await;
    let expired = world.sign(&world.token().expires_at(1));
    let narrow = world.sign(&world.token().scope("other"));
    let good = world.sign(&world.token());
    for (asked, code, step, parts) in [
        (request("/accounts", &expired), "token_expired", Some("token"), 1),
        (request("/accounts", &narrow), "scope_insufficient", Some("scope"), 1),
        (request("/nothing/secret-path", &good), "route_not_found", Some("route"), 0),
    ] {
        let (status, spans) = spans_of(&world, &collector, asked).await;
        let own = spans.last().unwrap();
        assert_eq!((own.attribute("fapi.code"), own.attribute("fapi.step")), (Some(code), step));
        assert_eq!(own.attribute("http.response.status_code"), Some(&*status.to_string()));
        assert_eq!((own.attribute("fapi.decision"), own.attribute("error.type")), (Some("reject"), None));
        assert!(spans.iter().all(|span| !span.failed) && spans.len() == parts + 1, "{spans:#?}");
    }
    let (_, spans) = spans_of(&world, &collector, request("/nothing/secret-path", &good)).await;
    assert_eq!((spans[0].name.as_str(), spans[0].attribute("http.route")), ("GET", None));
    // What the upstream answers is its error, and ours towards the client from 500 on.
    let (status, spans) = spans_of(&world, &collector, request("/accounts/none", &good)).await;
    let failed: Vec<(i32, bool)> = spans.iter().map(|span| (span.kind, span.failed)).collect();
    assert_eq!((status, failed), (404, vec![(INTERNAL, false), (CLIENT, true), (SERVER, false)]), "{spans:#?}");
    world.accounts.server_mut().stop().await.unwrap();
    let (status, spans) = spans_of(&world, &collector, request("/accounts", &good)).await;
    let [attempt, own] = spans.as_slice() else { panic!("{spans:#?}") };
    assert_eq!((status, attempt.failed, own.failed), (502, true, true));
    assert_eq!(
        (attempt.attribute("error.type"), own.attribute("error.type")),
        (Some("connect"), Some("upstream_unreachable"))
    );
    assert_eq!(own.attribute("fapi.decision"), Some("error"));
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_and_introspection_have_spans_of_their_own() {
    let collector = Collector::start(Protocol::Http).await;
    let world = traced(&collector, Protocol::Http, ", sampling: 1").await;
    let holder = world.holder();
    let proof = holder.request("/accounts", &holder.proof("/accounts", world.clock.now()));
    let send = async |request| {
        let response = world.anonymous().send(request).await.unwrap();
        collector.trace_of(id_of(&response)).await
    };
    let first = send(proof.clone()).await;
    assert_eq!(names(&first), ["token", "replay", "GET /accounts/**", "GET /accounts/**"]);
    assert_eq!((first[1].attribute("fapi.store"), first[1].attribute("fapi.code")), (Some("memory"), None));
    let again = send(proof).await;
    assert_eq!(names(&again), ["replay", "GET /accounts/**"]);
    assert_eq!((again[0].attribute("fapi.code"), again[0].failed), (Some("dpop_replayed"), false));

    let section = collector.section(Protocol::Http, ", sampling: 1");
    let world = World::with(|scene| scene.introspected(", timeout: 500ms").append(&section)).await;
    let token = world.opaque(&world.token());
    let (_, asked) = spans_of(&world, &collector, request("/accounts", &token)).await;
    assert_eq!(names(&asked), ["introspection", "GET /accounts/**", "GET /accounts/**"]);
    let introspection = &asked[0];
    assert_eq!((introspection.kind, introspection.attribute("fapi.issuer")), (CLIENT, Some("bank")));
    assert_eq!(introspection.attribute("server.address"), Some("localhost"));
    let (_, known) = spans_of(&world, &collector, request("/accounts", &token)).await;
    assert_eq!(names(&known), ["GET /accounts/**", "GET /accounts/**"]);
    world.issuer.script(AuthorizationServer::INTROSPECTION, Said::status(StatusCode::INTERNAL_SERVER_ERROR));
    let (status, failed) = spans_of(&world, &collector, request("/accounts", &world.opaque(&world.token()))).await;
    assert_eq!((status, names(&failed)), (503, vec!["introspection", "GET /accounts/**"]));
    assert_eq!(failed[0].attribute("error.type"), Some("introspection_unavailable"));
    assert!(failed.iter().all(|span| span.failed));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_reaches_the_collector() {
    for protocol in [Protocol::Http, Protocol::Grpc] {
        let collector = Collector::start(protocol).await;
        let world = traced(&collector, protocol, ", sampling: 1").await;
        let tokens = [
            world.sign(&world.token()),
            world.sign(&world.token().expires_at(1)),
            world.sign(&world.token().without("cnf")),
            "brokenheader.brokenpayload.brokensignature".to_owned(),
        ];
        let holder = world.holder();
        let proof = holder.proof("/accounts/customer-account-77", world.clock.now()).sign(&holder.key);
        let mut last = String::new();
        let mut requests: Vec<Request<Bytes>> = tokens
            .iter()
            .map(|token| request("/accounts/customer-account-77?iban=DE02120300000000202051", token))
            .collect();
        requests.push(crate::support::dpop_request("/accounts/customer-account-77", &holder.token, &proof));
        let form = Request::post(format!("{ORIGIN}/payments")).header("authorization", format!("Bearer {}", tokens[0]));
        requests.push(form.body(Bytes::from_static(b"{\"creditor\":\"somebody\"}")).unwrap());
        requests.push(Request::get(format!("{ORIGIN}/unknown/{}", tokens[0])).body(Bytes::new()).unwrap());
        requests.push(
            Request::builder().method("SECRETMETHOD").uri(format!("{ORIGIN}/health")).body(Bytes::new()).unwrap(),
        );
        for mut request in requests {
            request.headers_mut().insert("cookie", "session=secretcookie".parse().unwrap());
            request.headers_mut().insert("user-agent", "secretagent".parse().unwrap());
            request.headers_mut().insert("tracestate", "vendor=secretstate".parse().unwrap());
            let request = with_parent(request, &parent("01"));
            last = id_of(&world.client().send(request).await.unwrap()).to_owned();
        }
        collector.trace_of(&last).await;
        let mut output = String::from_utf8_lossy(&collector.bytes()).into_owned();
        output.push_str(&format!("{:?}", collector.requests()));
        assert!(output.contains("/accounts/**") && output.contains("fapi.code"), "control");
        let mut secrets: Vec<&str> =
            tokens.iter().chain([&holder.token, &proof]).flat_map(|token| token.split('.')).collect();
        let subject = world.token().claims()["sub"].as_str().unwrap().to_owned();
        secrets.extend([
            subject.as_str(),
            "customer-account-77",
            "iban",
            "DE02120300000000202051",
            "somebody",
            "secretcookie",
            "secretagent",
            "secretstate",
            "SECRETMETHOD",
            "client-1",
        ]);
        for secret in secrets {
            assert!(!output.contains(secret), "{secret} in {output}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_decides_and_otherwise_a_share() {
    for (sampling, own) in [("0", false), ("1", true)] {
        let collector = Collector::start(Protocol::Http).await;
        let world = traced(&collector, Protocol::Http, &format!(", sampling: {sampling}")).await;
        let mut sent = Vec::new();
        for (traceparent, recorded) in
            [(Some(parent("01")), true), (Some(parent("00")), false), (None, own), (Some("not one".to_owned()), own)]
        {
            world.accounts.clear();
            let request = match &traceparent {
                Some(traceparent) => with_parent(world.request(), traceparent),
                None => world.request(),
            };
            let response = world.client().send(request).await.unwrap();
            let told = world.accounts.requests()[0].header("traceparent").unwrap().to_owned();
            let trace = world.gateway.record_of(&response)["trace_id"].as_str().unwrap().to_owned();
            let known = traceparent.as_ref().is_some_and(|text| text.starts_with("00-"));
            assert_eq!(trace == TRACE, known, "{traceparent:?}");
            assert!(
                told.starts_with(&format!("00-{trace}-")) && told.ends_with(if recorded { "-01" } else { "-00" }),
                "{told}"
            );
            // Where nothing is recorded there is nothing that the upstream could be a part of.
            assert_eq!(Some(&told) == traceparent.as_ref(), known && !recorded, "{told}");
            sent.push((id_of(&response).to_owned(), recorded));
        }
        // What is recorded last comes last.
        let response = world.client().send(with_parent(world.request(), &parent("01"))).await.unwrap();
        collector.trace_of(id_of(&response)).await;
        let spans = collector.spans(|_| true).await;
        for (id, recorded) in sent {
            let found = spans.iter().any(|span| span.attribute("fapi.interaction_id") == Some(&id));
            assert_eq!(found, recorded, "sampling {sampling}, {id}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_cannot_have_more_recorded_than_they_may() {
    let collector = Collector::start(Protocol::Http).await;
    let world = traced(&collector, Protocol::Http, ", sampling: 1, max_client_sampled: 2").await;
    let mut told = Vec::new();
    // The clock of the test stands still.
    for _ in 0..4 {
        world.accounts.clear();
        world.judge(with_parent(world.request(), &parent("01"))).await;
        told.push(world.accounts.requests()[0].header("traceparent").unwrap().to_owned());
    }
    let flags: Vec<&str> = told.iter().map(|told| told.rsplit_once('-').unwrap().1).collect();
    assert_eq!(flags, ["01", "01", "00", "00"]);
    assert!(told.iter().all(|told| told.contains(TRACE) && !told.contains(PARENT)), "{told:?}");
    world.clock.advance(1);
    let (_, spans) = spans_of(&world, &collector, with_parent(world.request(), &parent("01"))).await;
    assert_eq!(spans.last().unwrap().parent, PARENT);
    let of_clients = |span: &&Span| span.parent == PARENT;
    assert_eq!(collector.spans(|_| true).await.iter().filter(of_clients).count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_its_secret_over_tls_that_was_verified() {
    for protocol in [Protocol::Http, Protocol::Grpc] {
        let authority = Authority::new("Collectors");
        let tls = tls_config(&authority.server(&["localhost", "127.0.0.1"]), Some(&authority));
        let collector = Collector::answering(protocol, Some(tls), |_| Answer::Take).await;
        let own = authority.client("gateway");
        let section = collector.section(
            protocol,
            ", sampling: 1, header_files: { Authorization: collector-key.txt }, tls: { trust_anchors: [collectors.pem], certificate: own.pem, private_key: own-key.pem }",
        );
        let files = |scene: Scene| {
            scene
                .file("collectors.pem", &authority.pem())
                .file("own.pem", &own.certificate_pem())
                .file("own-key.pem", &own.key_pem())
                .file("collector-key.txt", "Bearer for-the-collector\n")
        };
        let world = World::with(|scene| files(scene).append(&section)).await;
        let (_, spans) = spans_of(&world, &collector, world.request()).await;
        assert_eq!(spans.len(), 3);
        let received = collector.requests().remove(0);
        assert_eq!(received.headers["authorization"], "Bearer for-the-collector");
        let (path, kind) = match protocol {
            Protocol::Http => ("/v1/traces", "application/x-protobuf"),
            Protocol::Grpc => ("/opentelemetry.proto.collector.trace.v1.TraceService/Export", "application/grpc"),
        };
        assert_eq!((received.path.as_str(), received.headers["content-type"].to_str().unwrap()), (path, kind));
        let status = world.gateway.admin("/status").await.1;
        assert!(!status.contains("for-the-collector"), "{status}");
        // Who is not the one that is trusted gets nothing.
        let anchors = section.replace("[collectors.pem]", "[ca.pem]");
        let world = World::with(|scene| files(scene).append(&anchors)).await;
        let before = collector.requests().len();
        world.judge(world.request()).await;
        until_counted(&world, "failed", 3).await;
        assert_eq!(collector.requests().len(), before);
    }
}

/// Where nobody listens.
const NOBODY: &str = "127.0.0.1:1";

/// Accepts connections and reads nothing of them.
async fn deaf() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_on_whatever_the_collector_does() {
    let answers: [(&str, Protocol, Answer); 9] = [
        ("the response is not of OTLP", Protocol::Http, Answer::Bytes(b"<html>no</html>")),
        ("larger than 64 KiB", Protocol::Http, Answer::Endless),
        ("did not answer in time", Protocol::Http, Answer::Nothing),
        ("status 400", Protocol::Http, Answer::Status(400, None)),
        ("status 503", Protocol::Http, Answer::Status(503, None)),
        ("the response is not of OTLP", Protocol::Grpc, Answer::Bytes(b"<html>no</html>")),
        ("larger than 64 KiB", Protocol::Grpc, Answer::Endless),
        ("did not answer in time", Protocol::Grpc, Answer::Nothing),
        ("gRPC status 7: as the test wants it", Protocol::Grpc, Answer::Call("7")),
    ];
    let mut worlds = Vec::new();
    for (why, protocol, answer) in answers {
        let collector = Collector::answering(protocol, None, move |_| answer.clone()).await;
        worlds.push((why, traced(&collector, protocol, ", sampling: 1, timeout: 100ms").await, Some(collector)));
    }
    for (why, address) in [("cannot be reached", NOBODY.parse().unwrap()), ("did not answer in time", deaf().await)] {
        for protocol in [Protocol::Http, Protocol::Grpc] {
            let section = section(&format!("http://{address}"), protocol, ", sampling: 1, timeout: 100ms");
            worlds.push((why, World::with(|scene| scene.append(&section)).await, None));
        }
    }
    // All of them at once: each takes as long as it is asked again.
    for (why, world, _) in &worlds {
        let client = world.client();
        let began = Moment::now();
        for _ in 0..20 {
            assert_eq!(world.judge_from(&client, world.request()).await, (200, "ok".into()), "{why}");
        }
        assert!(began.elapsed() < DEADLINE, "{why}");
    }
    for (why, world, _) in &worlds {
        until_counted(world, "failed", 41).await;
        assert_eq!((counted(world, "exported").await, counted(world, "rejected").await), (0, 0), "{why}");
        let status: serde_json::Value = serde_json::from_str(&world.gateway.admin("/status").await.1).unwrap();
        let found = status["resources"].as_array().unwrap().iter().find(|one| one["kind"] == "collector").unwrap();
        let said = found["last_error"]["why"].as_str().unwrap();
        assert!(found["state"] == "failing" && said.contains(why), "{why}: {found}");
        assert_eq!(world.gateway.admin("/readyz").await.0, 200, "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_cannot_take_now_is_sent_again_and_what_it_rejects_is_counted() {
    let busy = |number: usize| match number {
        0 => Answer::Status(503, Some("0")),
        1 => Answer::Reject(2),
        2 => Answer::Reject(i64::MAX),
        _ => Answer::Reject(-1),
    };
    let calls = move |number: usize| match number {
        0 => Answer::Call("14"),
        number => busy(number),
    };
    for (protocol, collector) in [
        (Protocol::Http, Collector::answering(Protocol::Http, None, busy).await),
        (Protocol::Grpc, Collector::answering(Protocol::Grpc, None, calls).await),
    ] {
        let world = traced(&collector, protocol, ", sampling: 1").await;
        world.judge(world.request()).await;
        collector.asked(2).await;
        let requests = collector.requests();
        assert_eq!(requests[0].spans, requests[1].spans, "the same again");
        until_counted(&world, "rejected", 2).await;
        assert_eq!((counted(&world, "exported").await, counted(&world, "failed").await), (1, 0));
        // More than there were, or less than none, is nonsense.
        world.judge(world.request()).await;
        collector.asked(3).await;
        until_counted(&world, "rejected", 5).await;
        world.judge(world.request()).await;
        collector.asked(4).await;
        assert_eq!(until_counted(&world, "exported", 4).await, 4);
        let status = world.gateway.admin("/status").await.1;
        assert!(status.contains(r#""kind":"collector","name":"otlp","state":"good""#), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_who_gets_spans_and_of_what() {
    let (first, second) = (Collector::start(Protocol::Http).await, Collector::start(Protocol::Grpc).await);
    let world = traced(&first, Protocol::Http, ", sampling: 1").await;
    spans_of(&world, &first, world.request()).await;
    let (was, is) = (first.section(Protocol::Http, ", sampling: 1"), second.section(Protocol::Grpc, ", sampling: 0"));
    world.reload(1, |yaml| yaml.replace(&was, &is)).await;
    world.judge(world.request()).await;
    spans_of(&world, &second, with_parent(world.request(), &parent("01"))).await;
    let own = second.spans(|_| true).await.iter().filter(|span| span.kind == SERVER).count();
    assert_eq!((first.requests().len(), own), (1, 1));
    // Off, and on again.
    world.reload(2, |yaml| yaml.replace(&is, "")).await;
    world.accounts.clear();
    world.judge(with_parent(world.request(), &parent("01"))).await;
    assert_eq!(world.accounts.requests()[0].header("traceparent"), Some(&*parent("01")));
    world.reload(3, |yaml| format!("{yaml}{was}")).await;
    spans_of(&world, &first, world.request()).await;
    assert_eq!(second.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_spans_are_sent_before_the_process_ends_and_it_ends_all_the_same() {
    let authority = Authority::new("Test CA");
    let issuer = AuthorizationServer::start(&authority).unwrap();
    let accounts = sandbox::accounts::AccountsApi::start(None, None).unwrap();
    let collector = Collector::start(Protocol::Http).await;
    let deaf = section(&format!("http://{}", deaf().await), Protocol::Http, ", sampling: 1, timeout: 60s");
    for section in [collector.section(Protocol::Http, ", sampling: 1"), deaf] {
        let folder = Scene::new(&authority, issuer.issuer(), accounts.address()).append(&section).into_folder();
        let mut program = Program::run(&folder);
        let (address, _) = program.addresses();
        let client = Client::new(address, &authority).origin(ORIGIN);
        let request = Request::get(format!("{ORIGIN}/health")).body(Bytes::new()).unwrap();
        let response = client.send(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let began = Moment::now();
        program.signal("-TERM");
        let said = program.until_end();
        assert_eq!(program.ends().await, Some(0), "{said:#?}");
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        let lost = said.iter().any(|line| line.contains("the last spans"));
        if section.contains("60s") {
            assert!(lost, "{said:#?}");
        } else {
            // Nobody waits here: the process sent them before it ended.
            let spans = collector.spans(|_| true).await;
            assert!(spans.iter().any(|span| span.attribute("fapi.interaction_id") == Some(id_of(&response))));
            assert!(!lost, "{said:#?}");
        }
    }
}

/// The parser of Prometheus's own client library reads the exemplars.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_bucket_leads_to_a_trace() {
    let collector = Collector::start(Protocol::Http).await;
    let world = traced(&collector, Protocol::Http, ", sampling: 0").await;
    world.judge(world.request()).await;
    let scrape = async |accept: &'static str| {
        let url = format!("http://{}/metrics", world.gateway.admin_address());
        http_client().get(url).header("accept", accept).send().await.unwrap().text().await.unwrap()
    };
    let openmetrics = "application/openmetrics-text;version=1.0.0";
    assert!(!scrape(openmetrics).await.contains(" # {"), "control: nothing was recorded");
    world.judge(with_parent(world.request(), &parent("01"))).await;
    let text = scrape(openmetrics).await;
    for family in ["request_duration", "decision_duration", "upstream_duration"] {
        let found = text.lines().filter(|line| line.starts_with(&format!("fapi_gateway_{family}_seconds_bucket")));
        let exemplars: Vec<&str> =
            found.filter_map(|line| line.split_once(" # ")).map(|(_, exemplar)| exemplar).collect();
        assert!(
            matches!(exemplars.as_slice(), [one] if one.starts_with(&format!("{{trace_id=\"{TRACE}\"}} "))),
            "{text}"
        );
    }
    let read = crate::operate::observed::exemplars(&text);
    assert_eq!(read.lines().collect::<Vec<_>>(), [TRACE; 3], "{text}");
    assert!(!scrape("text/plain").await.contains(TRACE));
}
