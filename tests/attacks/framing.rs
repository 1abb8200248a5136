//! Messages whose end two servers place differently; hostile/messages.rs and hostile/http2.rs have more of them.

use sandbox::https::Recorded;

use crate::edge::hostile::wire::Talk;
use crate::support::World;

const MARKER: &str = "marker-91c4";

/// A request line with `T(C1)` and further fields, given as whole lines.
fn head(world: &World, line: &str, fields: &str) -> String {
    let token = world.sign(&world.token());
    format!("{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{fields}\r\n")
}

fn marked(requests: &[Recorded]) -> bool {
    requests.iter().any(|request| request.uri.contains(MARKER))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_two_ends_is_refused_and_the_connection_with_it() {
    let world = World::start().await;
    let hidden = head(&world, &format!("GET /accounts/1?{MARKER}"), "");
    let (length, zero) = (hidden.len(), "0\r\n\r\n");
    let heads: &[(&str, &str)] = &[
        ("ATK-SM-01", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        ("ATK-SM-01", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        ("ATK-SM-01", "Transfer-Encoding: identity\r\nContent-Length: 5\r\n"),
        ("ATK-SM-02", "Content-Length: 5\r\nContent-Length: 5\r\n"),
        ("ATK-SM-02", "Content-Length: 5\r\ncontent-length: 6\r\n"),
        ("ATK-SM-02", "Content-Length: 5,5\r\n"),
        ("ATK-SM-02", "Content-Length: +5\r\n"),
        ("ATK-SM-02", "Content-Length: 5 \r\n"),
        ("ATK-SM-02", "Content-Length: -1\r\n"),
        ("ATK-SM-02", "Content-Length: 0x5\r\n"),
        ("ATK-SM-02", "Content-Length: 5_0\r\n"),
        ("ATK-SM-02", "Content-Length: 99999999999999999999\r\n"),
        ("ATK-SM-02", "Content-Length:\r\n"),
        ("ATK-SM-03", "Transfer-Encoding: chunked;q=1\r\n"),
        ("ATK-SM-03", "Transfer-Encoding: chunked, identity\r\n"),
        ("ATK-SM-03", "Transfer-Encoding: identity, chunked\r\n"),
        ("ATK-SM-03", "Transfer-Encoding: gzip, chunked\r\n"),
        ("ATK-SM-03", "Transfer-Encoding: xchunked\r\n"),
        ("ATK-SM-03", "Transfer-Encoding: \"chunked\"\r\n"),
        ("ATK-SM-03", "Transfer-Encoding:\tchunked\r\n"),
        ("ATK-SM-03", "Transfer-Encoding: chunked\t\r\n"),
        ("ATK-SM-03", "Transfer-Encoding:\r\n chunked\r\n"),
        ("ATK-SM-03", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n"),
        ("ATK-SM-03", "Transfer_Encoding: chunked\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        ("ATK-SM-03", "Transfer-Encoding\x0b: chunked\r\n"),
        ("ATK-SM-08", "X: a\nX-Y: b\r\n"),
        ("ATK-SM-08", "X: a\r X-Y: b\r\n"),
        ("ATK-SM-08", "X : a\r\n"),
        ("ATK-SM-08", " X: a\r\n"),
        ("ATK-SM-08", "X: a\r\n\tb\r\n"),
        ("ATK-SM-08", "X\0: a\r\n"),
        ("ATK-SM-08", "X: \x01\r\n"),
        ("ATK-SM-08", "X\u{e4}: a\r\n"),
        ("ATK-SM-08", "no colon\r\n"),
    ];
    for (row, fields) in heads {
        for line in ["POST /payments", "GET /accounts", "GET /health"] {
            let before = world.accounts.server().heads();
            let mut talk = Talk::with(&world.client()).await;
            let _ = talk.say(head(&world, line, fields) + zero + &hidden).await;
            let answer = talk.answer().await.unwrap_or_else(|| panic!("{row} {fields:?}: no answer"));
            assert_eq!(answer.status, 400, "{row} {fields:?}: {answer:?}");
            assert_eq!(answer.field("x-fapi-interaction-id").len(), 1, "{row} {fields:?}: {answer:?}");
            assert_eq!(talk.rest().await, "", "{row} {fields:?}: the connection is closed");
            assert_eq!(world.accounts.server().heads(), before, "{row} {fields:?}");
        }
    }
    // ATK-SM-07: the head may have been forwarded; the body, and the request hidden in it, must not be.
    let bodies: &[(&str, String)] = &[
        ("ATK-SM-07", format!("{length:x};a\n{hidden}\r\n{zero}")),
        ("ATK-SM-07", format!("{length:x}\n{hidden}\r\n{zero}")),
        ("ATK-SM-07", format!("{length:x}\r{hidden}\r\n{zero}")),
        ("ATK-SM-07", format!("ffffffffffffffff1\r\n{hidden}")),
        ("ATK-SM-07", format!("1\r\nab{zero}{hidden}")),
        ("ATK-SM-07", format!("0\n\n{hidden}")),
        ("ATK-SM-07", format!("-1\r\n{hidden}")),
        ("ATK-SM-07", format!("0x1\r\na\r\n{zero}{hidden}")),
        ("ATK-SM-07", format!(" 1\r\na\r\n{zero}{hidden}")),
        ("ATK-SM-07", format!("1 \r\na\r\n{zero}{hidden}")),
        ("ATK-SM-07", format!("\r\n{hidden}")),
    ];
    for (row, body) in bodies {
        let mut talk = Talk::with(&world.client()).await;
        let _ = talk.say(head(&world, "POST /payments", "Transfer-Encoding: chunked\r\n") + body).await;
        let rest = talk.rest().await;
        assert!(rest.starts_with("HTTP/1.1 400 ") && rest.matches("HTTP/1.1 ").count() == 1, "{row} {body:?}: {rest}");
    }
    assert!(!marked(&world.accounts.requests()));
    for chunk in ["5;a=b\r\nhello\r\n", "5 \t; a = b\r\nhello\r\n"] {
        let mut talk = Talk::with(&world.client()).await;
        talk.say(head(&world, "POST /payments", "Transfer-Encoding: chunked\r\n") + chunk + zero).await.unwrap();
        assert_eq!(talk.answer().await.unwrap().status, 201, "control: {chunk:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sm_12_a_body_of_any_method_is_framed_once() {
    let world = World::with(|scene| {
        scene.append(
            "  - { name: any, path: /any, methods: [GET, DELETE, OPTIONS, POST], scopes: [accounts], upstream: accounts }\n",
        )
    })
    .await;
    let hidden = format!("GET /accounts/1?{MARKER} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for method in ["GET", "DELETE", "OPTIONS", "POST"] {
        world.accounts.clear();
        let mut talk = Talk::with(&world.client()).await;
        let chunked = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
        let fields = "Transfer-Encoding: chunked\r\n";
        talk.say(head(&world, &format!("{method} /any"), fields) + &chunked).await.unwrap();
        assert!(talk.answer().await.is_some(), "{method}");
        let requests = world.accounts.requests();
        assert_eq!(requests.len(), 1, "{method}: {requests:?}");
        assert_eq!((requests[0].method.as_str(), requests[0].uri.as_str()), (method, "/any"));
        assert_eq!(requests[0].body, hidden.as_bytes(), "{method}: it is a body, not a request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sm_05_atk_sm_15_what_follows_an_upgrade_is_no_stream_of_bytes() {
    let world = World::start().await;
    let hidden = head(&world, &format!("GET /accounts/1?{MARKER}"), "").replace("Authorization", "X-Authorization");
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for fields in [
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        "Upgrade: anything\r\n",
        "Connection: upgrade\r\n",
        "Connection: keep-alive, UPGRADE\r\nUpgrade: h2c\r\nContent-Length: 0\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    ] {
        for follows in [&*hidden, preface] {
            for version in ["HTTP/1.1", "HTTP/1.0"] {
                world.accounts.clear();
                let mut talk = Talk::with(&world.client()).await;
                let first = head(&world, "GET /accounts", fields).replacen("HTTP/1.1", version, 1);
                let _ = talk.say(first + follows).await;
                assert_eq!(talk.head().await, 200, "{version} {fields}");
                let requests = world.accounts.requests();
                assert_eq!(requests.len(), 1, "{version} {fields}: {requests:?}");
                for field in ["connection", "upgrade", "http2-settings"] {
                    assert_eq!(requests[0].header(field), None, "{version} {fields}");
                }
                let rest = talk.rest().await;
                assert!(!rest.contains(" 101 ") && !rest.contains(" 200 "), "{version} {fields}: {rest}");
                assert_eq!(world.accounts.requests().len(), 1, "{version} {fields}");
            }
        }
        // A body is still a body.
        world.accounts.clear();
        let mut talk = Talk::with(&world.client()).await;
        if !fields.contains("Content-Length") {
            let length = format!("{fields}Content-Length: {}\r\n", hidden.len());
            talk.say(head(&world, "POST /accounts", &length) + &hidden).await.unwrap();
            assert!(talk.answer().await.is_some(), "{fields}");
            let requests = world.accounts.requests();
            assert_eq!((requests.len(), &requests[0].body[..]), (1, hidden.as_bytes()), "{fields}");
        }
    }
}
