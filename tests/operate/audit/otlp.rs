//! The audit at a collector: over HTTP and gRPC, with and without TLS, to one that refuses, rejects, is silent, or goes away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rcgen::PKCS_ED25519;
use sandbox::pki::Authority;
use sandbox::tls::tls_config;
use serde_json::Value;
use tokio::time::timeout;

use super::chain::{good, stop, write_key};
use super::{Stage, ask, health};
use crate::support::collector::{Answer, Collector, Protocol, Record};
use crate::support::program::Program;
use crate::support::{DEADLINE, Folder};

async fn stage(collector: &Collector, more: &str, prepare: impl FnOnce(&Folder)) -> Stage {
    let audit = format!("destination: otlp, otlp: {{ endpoint: \"{}\"{more} }}", collector.endpoint());
    start(&audit, prepare).await
}

async fn start(audit: &str, prepare: impl FnOnce(&Folder)) -> Stage {
    Stage::start(audit, |folder| {
        prepare(folder);
        Program::run(folder)
    })
    .await
}

fn has(records: &[Record], id: &str) -> bool {
    records.iter().any(|record| record.body.contains(id))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_is_a_record_and_the_chain_is_whole_at_the_collector() {
    for (protocol, name, path) in [
        (Protocol::Http, "http", "/v1/logs"),
        (Protocol::Grpc, "grpc", "/opentelemetry.proto.collector.logs.v1.LogsService/Export"),
    ] {
        let collector = Collector::start(protocol).await;
        let more =
            format!(", protocol: {name}, header_files: {{ x-tenant: tenant }} }}, chain: {{ key: keys/audit.pem ");
        let stage = stage(&collector, &more, |folder| {
            write_key(folder, &PKCS_ED25519, "audit.pub");
            folder.write("tenant", "bank-1\n");
        })
        .await;
        let mut connection = stage.client.connect().await.unwrap();
        let mut ids = Vec::new();
        for _ in 0..20 {
            ids.push(ask(&mut connection).await);
        }
        let folder = stop(stage).await;
        let records =
            collector.records(|records| records.last().is_some_and(|last| last.body.contains("\"end\""))).await;
        assert!(ids.iter().all(|id| has(&records, id)), "{records:?}");
        for record in &records {
            let line: Value = serde_json::from_str(&record.body).expect("JSON");
            let milliseconds = record.time / 1_000_000;
            assert!(line["time"].as_str().unwrap().contains(&format!(".{:03}Z", milliseconds % 1000)), "{record:?}");
            assert!(record.observed.abs_diff(record.time) < 60_000_000_000, "{record:?}");
            assert_eq!((record.severity.clone(), &*record.event), ((9, "INFO".to_owned()), "fapi_gateway.audit"));
            assert_eq!(record.trace, line["trace_id"].as_str().unwrap_or_default());
            assert_eq!(record.resource["service.name"], "fapi-gateway");
        }
        let requests = collector.requests();
        assert!(requests.iter().all(|request| request.path == path && request.headers["x-tenant"] == "bank-1"));
        let lines: String = records.iter().map(|record| format!("{}\n", record.body)).collect();
        folder.write("received.jsonl", &lines);
        assert!(good(folder.path(), &["received.jsonl"]).contains("it is sealed"));
    }
}

/// What it does not take is sent again until it does, and meanwhile requests get what `on_overflow` says.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_refuses_for_a_while_gets_everything() {
    let answers = [
        Answer::Status(503, Some("3600")),
        Answer::Status(401, None),
        Answer::Status(302, None),
        Answer::Bytes(b"nonsense"),
        Answer::Endless,
        Answer::Nothing,
    ];
    for (answer, (on_overflow, status)) in answers.into_iter().zip([("drop", 200), ("refuse", 503)].into_iter().cycle())
    {
        let refuses = Arc::new(AtomicBool::new(false));
        let told = refuses.clone();
        let what = format!("{answer:?}");
        // Whoever is silent is waited for; the good calls have the time that they need on a slow machine.
        let timeout_of = if matches!(answer, Answer::Nothing | Answer::Endless) { "2s" } else { "5s" };
        let collector = Collector::answering(Protocol::Http, None, move |_| {
            if told.load(Ordering::SeqCst) { answer.clone() } else { Answer::Take }
        })
        .await;
        let more = format!(", timeout: {timeout_of} }}, on_overflow: {on_overflow}, chain: {{ key: keys/audit.pem ");
        let mut stage = stage(&collector, &more, |folder| write_key(folder, &PKCS_ED25519, "audit.pub")).await;
        let mut connection = stage.client.connect().await.unwrap();
        let first = ask(&mut connection).await;
        collector.records(|records| has(records, &first)).await; // control
        refuses.store(true, Ordering::SeqCst);
        let waiting = ask(&mut connection).await;
        let said = stage.program.says("audit lines cannot be written");
        assert!(said.contains("does not take them"), "{what}: {said}");
        assert_eq!(stage.until_ready("503").await, "the audit cannot be written\n", "{what}");
        let response = timeout(DEADLINE, connection.send(health())).await.expect("no request waits").unwrap();
        assert_eq!(response.status(), status, "{what}");
        refuses.store(false, Ordering::SeqCst);
        stage.until_ready("200").await;
        let last = ask(&mut connection).await;
        let records = collector.records(|records| has(records, &last)).await;
        assert!(has(&records, &waiting), "{what}: {records:?}");
        assert_eq!(stage.metric("fapi_gateway_audit_lines_lost_total").await, 0.0, "{what}");
        stop(stage).await;
    }
}

/// OTLP 1.x, "Partial Success": what was rejected "MUST NOT" be sent again.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_rejects_is_counted_as_lost_and_holds_up_nothing() {
    let collector = Collector::answering(Protocol::Http, None, |number| match number {
        0 => Answer::Reject(1),
        1 => Answer::Reject(i64::MAX),
        2 => Answer::Reject(-1),
        _ => Answer::Take,
    })
    .await;
    let mut stage = stage(&collector, "", |_| {}).await;
    let mut connection = stage.client.connect().await.unwrap();
    for (number, lost) in [(1, 1.0), (2, 2.0), (3, 2.0), (4, 2.0)] {
        let id = ask(&mut connection).await;
        collector.records(|records| has(records, &id)).await;
        collector.asked(number).await;
        let counted = async { while stage.metric("fapi_gateway_audit_lines_lost_total").await != lost {} };
        timeout(DEADLINE, counted).await.unwrap_or_else(|_| panic!("{number}: {lost} are counted"));
    }
    stage.program.says("the collector rejected audit lines for good");
    assert_eq!(collector.requests().len(), 4, "none was sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_another_gets_nothing() {
    let (ours, theirs) = (Authority::new("collector CA"), Authority::new("another CA"));
    for (authority, is_ours) in [(&ours, true), (&theirs, false)] {
        let tls = tls_config(&authority.server(&["127.0.0.1"]), None);
        let collector = Collector::answering(Protocol::Http, Some(tls), |_| Answer::Take).await;
        let more = ", tls: { trust_anchors: [collector-ca.pem] }";
        let mut stage = stage(&collector, more, |folder| {
            folder.write("collector-ca.pem", &ours.pem());
        })
        .await;
        let id = ask(&mut stage.client.connect().await.unwrap()).await;
        if is_ours {
            collector.records(|records| has(records, &id)).await; // control
            continue;
        }
        let said = stage.program.says("audit lines cannot be written");
        assert!(said.contains("invalid peer certificate"), "{said}");
        assert_eq!(collector.bytes(), b"");
    }
}

/// A collector that never answers does not keep the process from ending, which says that lines were lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_a_silent_collector() {
    let collector = Collector::answering(Protocol::Http, None, |_| Answer::Nothing).await;
    let stage = stage(&collector, ", timeout: 60s", |_| {}).await;
    ask(&mut stage.client.connect().await.unwrap()).await;
    collector.asked(1).await;
    stage.program.signal("-TERM");
    let ended = timeout(DEADLINE + Duration::from_secs(10), stage.program.ends()).await;
    assert_eq!(ended.expect("it ends"), Some(1));
}
