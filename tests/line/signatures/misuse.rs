//! What somebody does with a signed request that is not his, or with one of his own that he has signed otherwise than others do.

use bytes::Bytes;
use fapi::code::Code;
use http::{HeaderValue, Method, Request};

use super::{PAYMENT, REQUIRED, Signed};
use crate::support::ORIGIN;
use crate::support::signature::components;

fn copy(request: &Request<Bytes>) -> Request<Bytes> {
    let mut copied = Request::new(request.body().clone());
    (*copied.method_mut(), *copied.uri_mut()) = (request.method().clone(), request.uri().clone());
    *copied.headers_mut() = request.headers().clone();
    copied
}

/// A request over HTTP/1.1, with these lines more.
fn raw(request: &Request<Bytes>, more: &str) -> String {
    let mut text = format!("{} {} HTTP/1.1\r\nHost: localhost\r\n", request.method(), request.uri().path());
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    format!("{text}{more}")
}

#[tokio::test(flavor = "multi_thread")]
async fn hsig_14_what_was_used_stays_used_where_it_would_be_accepted_for_longer() {
    let custom =
        "{ request: required, keys: tpps, profile: custom, tag: bank, components: [\"@method\"], max_age: 60s }";
    let longer = custom.replace("60s", "300s");
    let signed = Signed::with(custom, |scene| {
        let route = "  - name: longer\n    path: /longer\n    methods: [POST]\n    scopes: [accounts]\n    upstream: accounts\n";
        scene.replace("  - name: health\n", &format!("{route}    signature: {longer}\n  - name: health\n"))
    })
    .await;
    signed.world.clock.advance(30);
    let payment = signed.key.sign_with(signed.payment(PAYMENT), signed.now(), |wanted| {
        wanted.parameters.tag = Some("bank".into());
        wanted.components = Some(components(&["\"@method\"", "\"content-digest\""]));
    });
    assert_eq!(signed.judge(copy(&payment)).await.0, 201, "control");
    signed.world.clock.advance(100);
    let mut elsewhere = copy(&payment);
    *elsewhere.uri_mut() = format!("{ORIGIN}/longer").parse().unwrap();
    signed.refused(elsewhere, Code::SignatureReplayed, "on a route where it is not too old").await;
    signed.refused(copy(&payment), Code::SignatureStale, "control").await;
    signed.world.reload(1, |yaml| yaml.replace("max_age: 60s", "max_age: 300s")).await;
    signed.refused(copy(&payment), Code::SignatureReplayed, "after a reload").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hsig_14_of_two_signatures_with_the_tag_none_can_be_taken_away_for_a_second_use() {
    let signed = Signed::start().await;
    let both = signed.key.sign_with(signed.signed_payment(), signed.now(), |wanted| wanted.label = "b");
    signed.refused(both, Code::SignatureMalformed, "two").await;
    assert_eq!(signed.judge(signed.signed_payment()).await.0, 201, "control");
    let get = signed.key.sign(signed.request(Method::GET, "/accounts/1001", ""), signed.now());
    let both = signed.key.sign_with(get, signed.now(), |wanted| wanted.label = "b");
    assert_eq!(signed.judge(both).await.0, 200, "where they may come again, two are no harm");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_again_takes_nothing_of_its_clients_rate() {
    let signed = Signed::with(REQUIRED, |scene| {
        let scopes = "    scopes: { any: [payments, accounts] }\n";
        scene.replace(scopes, &format!("{scopes}    rate_limits: [{{ by: sender, rate: 3/h }}]\n"))
    })
    .await;
    let payment = signed.signed_payment();
    assert_eq!(signed.judge(copy(&payment)).await.0, 201);
    for _ in 0..4 {
        signed.refused(copy(&payment), Code::SignatureReplayed, "again").await;
    }
    assert_eq!(signed.judge(signed.signed_payment()).await.0, 201, "the client itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn hsig_15_what_is_covered_is_not_for_the_next_hop_alone() {
    let signed =
        Signed::with("{ request: required, keys: tpps, components: [x-idempotency-key] }", |scene| scene).await;
    let sent = async |connection: &str| {
        let mut request = signed.payment(PAYMENT);
        request.headers_mut().insert("x-idempotency-key", HeaderValue::from_static("1"));
        let all =
            ["\"@method\"", "\"@target-uri\"", "\"authorization\"", "\"content-digest\"", "\"x-idempotency-key\""];
        let request = signed.key.sign_with(request, signed.now(), |wanted| wanted.components = Some(components(&all)));
        let more = format!("Content-Length: {}\r\nConnection: {connection}\r\n\r\n{PAYMENT}", PAYMENT.len());
        let answer = signed.world.client().h1().raw(raw(&request, &more).as_bytes()).await;
        String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(sent("close").await, "HTTP/1.1 201 Created", "control");
    for named in ["x-idempotency-key", "Content-Digest", "signature", "signature-input"] {
        assert_eq!(sent(&format!("close, {named}")).await, "HTTP/1.1 401 Unauthorized", "{named}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hsig_20_content_that_nobody_signed_does_not_go_up_however_it_is_framed() {
    let signed = Signed::start().await;
    let bare = |number: u64| signed.key.sign(signed.request(Method::POST, "/payments", ""), signed.now() - number);
    for (number, (more, status)) in [
        ("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 201),
        ("Content-Length: 0\r\n\r\n", 201),
        ("Content-Length: 2\r\n\r\n{}", 401),
        ("Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 401),
    ]
    .into_iter()
    .enumerate()
    {
        let before = signed.world.accounts.server().heads();
        let text = raw(&bare(number as u64), &format!("Connection: close\r\n{more}"));
        let answer = signed.world.client().h1().raw(text.as_bytes()).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{more:?}: {answer}");
        assert_eq!(signed.world.accounts.server().heads() - before, usize::from(status == 201), "{more:?}");
        if status == 201 {
            assert_eq!(signed.world.accounts.requests().pop().unwrap().body, "");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_content_may_end_late_over_http2() {
    let signed = Signed::start().await;
    let stream = signed.world.client().h2().raw_stream().await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    for (method, path, status) in [(Method::GET, "/accounts/1001", 200), (Method::POST, "/payments", 201)] {
        let request = signed.key.sign(signed.request(method, path, ""), signed.now());
        let mut ready = sender.clone();
        let (answer, mut sending) = ready.send_request(request.map(drop), false).unwrap();
        sending.send_data(Bytes::new(), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_token_that_is_not_his_gets_nothing_signed() {
    let signed = Signed::with("{ response: sign }", |scene| scene).await;
    let stolen = signed.world.anonymous().send(signed.payment(PAYMENT)).await.unwrap();
    assert_eq!(signed.world.gateway.record_of(&stolen)["code"], Code::CertificateMissing.as_str());
    assert!(!stolen.headers().contains_key("signature"));
    let own = signed.send(signed.request(Method::GET, "/accounts/none", "")).await;
    assert!(own.status() == 404 && own.headers().contains_key("signature"), "control");
}
