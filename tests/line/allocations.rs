//! What a decision allocates: a number, not a time.

use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use fapi::headers::TraceContext;
use fapi_gateway::clock::Moment;
use fapi_gateway::trace::{Queue, Sampler, Tracer};
use http::HeaderMap;
use sandbox::tokens::{KeyKind, SigningKey, ath};

use crate::stage::{Sent, Stage};

/// How many allocations the decision on this request makes.
fn allocations(stage: &Stage, sent: &Sent) -> u64 {
    let mut permit = None;
    let counted = measure(|| permit = Some(stage.decide_at_once(sent)));
    drop(permit);
    counted.count_total
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_decision_on_a_token_for_a_certificate_allocates_nothing() {
    let stage = Stage::set().await;
    let bound = stage.sent("/accounts/1", &format!("Bearer {}", stage.token()), None);
    assert!(allocations(&stage, &bound) > 0, "control: the first one verifies the token");
    // What a cache notes of its use is worked off now and then, by whoever comes.
    let least = (0..100).map(|_| allocations(&stage, &bound)).min();
    assert_eq!(least, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn requirements_beside_scopes_allocate_nothing() {
    let stage = Stage::set().await;
    let sent = stage.sent("/required/1001?view=full", &format!("Bearer {}", stage.token_with_more()), None);
    assert!(allocations(&stage, &sent) > 0, "control: the first one verifies the token");
    assert_eq!((0..100).map(|_| allocations(&stage, &sent)).min(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_decision_with_a_proof_allocates_for_the_proof_alone() {
    let stage = Stage::set().await;
    let key = SigningKey::generate(KeyKind::Es256, "proofs");
    let token = stage.issuer.token(stage.now).bound_to_key(key.thumbprint()).sign(stage.issuer.key(KeyKind::Es256));
    let each = (0..100).map(|number| {
        let (url, id) = ("https://api.bank.example/accounts/1", format!("proof-{number}"));
        let proof = key.proof("GET", url, stage.now, &id, Some(&ath(&token)), None);
        allocations(&stage, &stage.sent("/accounts/1", &format!("DPoP {token}"), Some(&proof)))
    });
    let least = each.min().unwrap_or_default();
    assert!((1..=PROOF).contains(&least), "{least}");
}

#[test]
fn an_exchange_that_is_not_recorded_costs_no_allocation() {
    let tracer = Tracer::new(Sampler::new(0.5, 1), Arc::new(Queue::new(Arc::new(()))));
    let begin = |trace: &TraceContext| {
        let (mut trace, mut recorder) = (trace.clone(), None);
        let counted = measure(|| recorder = tracer.begin(&mut trace, Moment::now(), Duration::ZERO));
        (recorder.is_some(), counted.count_total)
    };
    let continued = |flags: &str| {
        let text = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        let headers: HeaderMap = [("traceparent".parse().unwrap(), text.parse().unwrap())].into_iter().collect();
        TraceContext::from_request(&headers).unwrap()
    };
    let (recorded, allocations) = begin(&continued("01"));
    assert!(recorded && allocations > 0, "control");
    assert!(begin(&TraceContext::start([1; 24])).0, "control");
    assert_eq!(begin(&continued("00")), (false, 0));
    assert_eq!(begin(&TraceContext::start([0xff; 24])), (false, 0));
}

/// For two JSON objects with their members, the parts of the proof in base64url, the thumbprint of its key, and the entry of
/// the replay log.
const PROOF: u64 = 48;
