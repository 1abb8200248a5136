//! What an upstream may send, and what a client sees of it.

use http::HeaderName;

use super::wire::{Talk, scripted};
use super::{client, head, still_serves};
use crate::support::client::Client;
use crate::support::{World, request};

/// A world with another upstream, which answers paths below `/odd` with exact bytes.
async fn world(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> World {
    let odd = scripted(answer).await;
    World::with(|scene| {
        scene.replace(
            "routes:\n",
            &format!(
                "  odd: {{ servers: [\"http://{odd}\"], response_timeout: 2s }}\nroutes:\n  - {{ name: odd, path: /odd/**, methods: [GET, HEAD], scopes: [accounts], upstream: odd }}\n"
            ),
        )
    })
    .await
}

fn ok(fields: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok").into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn fwd_10_cc_05_a_client_sees_nothing_internal_and_one_of_each() {
    let world = world(|path| match path {
        "/odd/varies" => ok("Vary: Accept, Client-Cert\r\nCache-Control: public, max-age=60\r\n"),
        _ => ok(concat!(
            "Client-Cert: :secret:\r\nClient-Cert-Chain: :secret:\r\nServer: Bank/1.0\r\nX-Powered-By: secret\r\n",
            "x-fapi-interaction-id: secret\r\nX-FAPI-Interaction-Id: secret\r\nDPoP-Nonce: secret\r\n",
            "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: x-int\r\nX-Int: secret\r\nProxy-Connection: secret\r\nKeep-Alive: timeout=5\r\n",
            "X-Kept: kept\r\nVary: Client-Cert\r\nAlt-Svc: h3=\":443\"\r\nProxy-Authenticate: Basic\r\n",
        )),
    })
    .await;
    let token = world.sign(&world.token());
    for client in [world.client().h1(), world.client().h2()] {
        let send = async |path: &str| client.send(request(path, &token)).await.unwrap();
        let response = send("/odd/all").await;
        assert_eq!((response.status().as_u16(), &response.body()[..]), (200, &b"ok"[..]));
        assert!(!format!("{:?}", response.headers()).contains("secret"), "{:?}", response.headers());
        for name in ["server", "keep-alive", "proxy-connection", "alt-svc", "proxy-authenticate", "x-int"] {
            assert!(!response.headers().contains_key(name), "{name}: {:?}", response.headers());
        }
        for name in ["x-fapi-interaction-id", "date", "x-kept", "cache-control", "vary", "content-length"] {
            let name = HeaderName::from_static(name);
            assert_eq!(response.headers().get_all(&name).iter().count(), 1, "{name}: {:?}", response.headers());
        }
        assert_eq!(
            (&response.headers()["vary"], &response.headers()["cache-control"]),
            (&"*".parse().unwrap(), &"no-store".parse().unwrap())
        );
        assert_eq!(world.gateway.record_of(&response)["status"], 200);
        let response = send("/odd/varies").await;
        assert_eq!(response.headers()["vary"], "*");
    }
    still_serves(&world).await;
}

/// The status that a client sees and the code in the record, on a separate connection.
async fn outcome(world: &World, client: &Client, path: &str) -> (u16, String) {
    world.judge_from(client, request(path, &world.sign(&world.token()))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn fwd_03_an_upstream_that_switches_protocols_unasked_is_not_followed() {
    let world = world(|_| {
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison".to_vec()
    })
    .await;
    for client in [world.client().h1(), world.client().h2()] {
        let (status, code) = outcome(&world, &client, "/odd/101").await;
        assert_eq!((status, code.as_str()), (502, "upstream_invalid"));
    }
    let mut talk = Talk::with(&client(&world)).await;
    talk.say(head(&world, "GET /odd/101", "")).await.unwrap();
    let answer = talk.answer().await.unwrap();
    assert_eq!(answer.status, 502, "{answer:?}");
    let _ = talk.say(head(&world, "GET /accounts", "")).await;
    assert!(!talk.rest().await.contains("poison"));
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sm_14_what_an_upstream_says_too_much_is_no_answer_to_the_next() {
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let world = world(move |path| {
        let good = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        match path.trim_start_matches("/odd/") {
            "two" => good("first") + poison,
            "204" => format!("HTTP/1.1 204 No Content\r\n\r\n{poison}"),
            "204-length" => format!("HTTP/1.1 204 No Content\r\nContent-Length: {}\r\n\r\n{poison}", poison.len()),
            "304" => format!("HTTP/1.1 304 Not Modified\r\nContent-Length: {}\r\n\r\n{poison}", poison.len()),
            "head" => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{poison}", poison.len()),
            "both" => {
                format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{poison}")
            }
            "lengths" => format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n{poison}"),
            "early" => format!("HTTP/1.1 103 Early Hints\r\nX-Int: 1\r\n\r\n{}", good("first")),
            _ => good("mine"),
        }
        .into_bytes()
    })
    .await;
    for (line, statuses) in [
        ("GET /odd/two", &[200][..]),
        ("GET /odd/204", &[204]),
        ("GET /odd/204-length", &[204]),
        ("GET /odd/304", &[304]),
        ("HEAD /odd/head", &[200]),
        ("GET /odd/both", &[200]),
        ("GET /odd/lengths", &[502]),
        ("GET /odd/early", &[103]),
    ] {
        let mut talk = Talk::with(&client(&world)).await;
        talk.say(head(&world, line, "")).await.unwrap();
        let answer = first_answer(&mut talk, line.starts_with("HEAD")).await;
        assert!(statuses.contains(&answer), "{line}: {answer}");
        for _ in 0..3 {
            let response = world.client().send(request("/odd/next", &world.sign(&world.token()))).await.unwrap();
            assert_eq!((response.status().as_u16(), &response.body()[..]), (200, &b"mine"[..]), "after {line}");
        }
    }
    still_serves(&world).await;
}

async fn first_answer(talk: &mut Talk, headless: bool) -> u16 {
    if headless { talk.head().await } else { talk.answer().await.map_or(0, |answer| answer.status) }
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sm_06_an_early_answer_leaves_nothing_of_the_body_behind() {
    let world = world(|_| ok("")).await;
    let hidden = head(&world, "GET /accounts/1001?hidden", "");
    for padding in [0, 300 * 1024] {
        let body = "a".repeat(padding) + &hidden;
        let mut talk = Talk::with(&client(&world)).await;
        talk.say(head(&world, "GET /odd/early", &format!("Content-Length: {}\r\n", body.len()))).await.unwrap();
        assert_eq!(talk.answer().await.expect("an answer").status, 200, "{padding}");
        let _ = talk.say(&body).await;
        let _ = talk.say(head(&world, "GET /odd/next", "")).await;
        // The connection may be closed, or serve the next request; no other response is possible, least of all an
        // unsolicited one.
        if let Some(answer) = talk.answer().await {
            assert_eq!(answer.status, 200, "{padding}: {answer:?}");
        }
        assert!(super::seen(&world).is_empty(), "{padding}: {:?}", super::seen(&world));
    }
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_framed_as_its_status_allows() {
    let world = world(|path| {
        let (status, fields, body) = match path.trim_start_matches("/odd/") {
            "204-chunked" => ("204 No Content", "Transfer-Encoding: chunked\r\n", ""),
            "204-length" => ("204 No Content", "Content-Length: 0\r\n", ""),
            "304" => ("304 Not Modified", "Transfer-Encoding: chunked\r\n", ""),
            "103" => ("103 Early Hints", "Content-Length: 5\r\n", "HTTP/1.1 204 No Content\r\n\r\n"),
            "same" => ("200 OK", "Content-Length: 2\r\nContent-Length: 2\r\n", "ok"),
            "list" => ("200 OK", "Content-Length: 2, 2\r\n", "ok"),
            "differ" => ("200 OK", "Content-Length: 2\r\nContent-Length: 3\r\n", "oke"),
            "coded" => ("200 OK", "Transfer-Encoding: gzip\r\nConnection: close\r\n", "ok"),
            "coded-chunks" => ("200 OK", "Transfer-Encoding: gzip, chunked\r\n", "2\r\nok\r\n0\r\n\r\n"),
            "chunks-coded" => ("200 OK", "Transfer-Encoding: chunked, gzip\r\n", "2\r\nok\r\n0\r\n\r\n"),
            _ => ("200 OK", "Transfer-Encoding: chunked\r\n", "2\r\nok\r\n0\r\n\r\n"),
        };
        format!("HTTP/1.1 {status}\r\n{fields}\r\n{body}").into_bytes()
    })
    .await;
    let token = world.sign(&world.token());
    for client in [world.client().h1(), world.client().h2()] {
        for (path, status, length) in [
            ("204-chunked", 204, None),
            ("204-length", 204, None),
            ("304", 304, None),
            ("103", 204, None),
            ("same", 200, Some("2")),
            ("list", 200, Some("2")),
            ("fine", 200, None),
        ] {
            let response = client.send(request(&format!("/odd/{path}"), &token)).await.unwrap();
            assert_eq!(response.status().as_u16(), status, "{path}");
            let values: Vec<_> = response.headers().get_all("content-length").iter().collect();
            assert_eq!(values, length.into_iter().collect::<Vec<_>>(), "{path}");
            let chunked = response.headers().contains_key("transfer-encoding");
            assert!(!chunked || path == "fine", "{path}: {:?}", response.headers());
            let body: &[u8] = if status == 200 { b"ok" } else { b"" };
            assert_eq!(&response.body()[..], body, "{path}");
        }
        for path in ["differ", "coded", "coded-chunks", "chunks-coded"] {
            let outcome = outcome(&world, &client, &format!("/odd/{path}")).await;
            assert_eq!(outcome, (502, "upstream_invalid".into()), "{path}");
        }
    }
    // Early hints reach an HTTP/1.1 client without a length.
    let mut talk = Talk::with(&client(&world)).await;
    talk.say(head(&world, "GET /odd/103", "")).await.unwrap();
    let hints = talk.answer().await.unwrap();
    assert_eq!((hints.status, hints.field("content-length").len()), (103, 0), "{hints:?}");
    assert_eq!(talk.answer().await.unwrap().status, 204);
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_whose_chunks_are_none_is_no_valid_response() {
    let world = world(|path| {
        let chunk = if path == "/odd/broken" { "zz" } else { "5\r\nhello\r\n0\r\n" };
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}\r\n").into_bytes()
    })
    .await;
    for (path, code) in [("/odd/whole", "ok"), ("/odd/broken", "upstream_invalid")] {
        let mut talk = Talk::with(&client(&world)).await;
        talk.say(head(&world, &format!("GET {path}"), "Connection: close\r\n")).await.unwrap();
        talk.rest().await;
        let record = world.gateway.record_where(|record| record["path"] == path);
        assert_eq!((&record["code"], &record["status"]), (&code.into(), &200.into()), "{record}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_1_0_client_gets_a_plain_body_and_no_interim_answer() {
    let world = world(|path| {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n";
        match path {
            "/odd/hints" => format!(
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Fapi-Interaction-Id: forged\r\nAccess-Control-Allow-Origin: *\r\n\r\n{chunked}"
            ),
            "/odd/continue" => format!("HTTP/1.1 100 Continue\r\n\r\n{chunked}"),
            "/odd/length" => "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!".to_owned(),
            _ => chunked.to_owned(),
        }
        .into_bytes()
    })
    .await;
    for (path, fields) in [
        ("chunked", ""),
        ("chunked", "Connection: keep-alive\r\n"),
        ("hints", ""),
        ("continue", "Expect: 100-continue\r\n"),
        ("length", ""),
    ] {
        let mut talk = Talk::with(&client(&world)).await;
        let request = head(&world, &format!("GET /odd/{path}"), fields).replacen("HTTP/1.1", "HTTP/1.0", 1);
        talk.say(request).await.unwrap();
        let answer = talk.rest().await;
        let (answer, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        let answer = answer.to_ascii_lowercase();
        assert!(!answer.contains("transfer-encoding") && !answer.contains("keep-alive"), "{path}: {answer}");
        assert_eq!(body, "hello!", "{path} {fields}");
    }
    // With a length, the connection can stay open.
    let mut talk = Talk::with(&client(&world)).await;
    for _ in 0..2 {
        let fields = "Connection: keep-alive\r\n";
        talk.say(head(&world, "GET /odd/length", fields).replacen("HTTP/1.1", "HTTP/1.0", 1)).await.unwrap();
        assert_eq!(talk.answer().await.unwrap().body, b"hello!");
    }
    // Control: an HTTP/1.1 client gets chunks and hints.
    let mut talk = Talk::with(&client(&world)).await;
    talk.say(head(&world, "GET /odd/hints", "Connection: close\r\n")).await.unwrap();
    let answer = talk.rest().await;
    assert!(answer.starts_with("HTTP/1.1 103 ") && answer.ends_with("0\r\n\r\n"), "{answer}");
    // The expectation of an HTTP/1.0 client goes no further.
    for (version, expect) in [("HTTP/1.1", Some("100-continue")), ("HTTP/1.0", None)] {
        let mut talk = Talk::with(&client(&world)).await;
        let request = head(&world, "GET /accounts", "Expect: 100-continue\r\nConnection: close\r\n");
        talk.say(request.replacen("HTTP/1.1", version, 1)).await.unwrap();
        talk.rest().await;
        let seen = world.accounts.requests();
        assert_eq!(seen.last().expect("it was forwarded").header("expect"), expect, "{version}");
    }
    // Hints are the gateway's as much as the response.
    let answer = answer.to_ascii_lowercase();
    let ids: Vec<_> = answer.lines().filter_map(|line| line.strip_prefix("x-fapi-interaction-id: ")).collect();
    assert!(ids.len() == 2 && ids[0] == ids[1], "{answer}");
    assert!(answer.contains("link: </a>") && !answer.contains("access-control"), "{answer}");
    still_serves(&world).await;
}
