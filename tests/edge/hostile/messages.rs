//! HTTP/1: what a client may name in `Connection`, how slow it may be, and requests that hide another one.

use std::time::Duration;

use http::StatusCode;
use sandbox::https::{Answer, HttpServer};
use serde_json::Value;
use tokio::net::TcpStream;

use super::wire::{SHORT, Talk, naive};
use super::{MARKER, client, head, marked, seen, still_serves};
use crate::support::{DEADLINE, World};

/// The upstream of the naive proxy.
fn plain() -> HttpServer {
    HttpServer::start(None, None, std::sync::Arc::new(|_| Answer::text(StatusCode::OK, "ok"))).unwrap()
}

async fn naive_talk(upstream: &HttpServer) -> Talk<TcpStream> {
    Talk::over(TcpStream::connect(naive(upstream.address()).await).await.unwrap())
}

/// The code of a refusal, from its record.
fn code(world: &World, answer: &super::wire::Answer) -> String {
    let ids = answer.field("x-fapi-interaction-id");
    let [id] = ids.as_slice() else { panic!("one interaction id: {answer:?}") };
    assert_eq!(answer.field("cache-control"), ["no-store"], "{answer:?}");
    assert_eq!(answer.field("date").len(), 1, "FWD-11, FAPI2-RS-22: {answer:?}");
    let record: Value = world.gateway.record(id);
    assert_eq!(record["status"], answer.status, "{record}");
    record["code"].as_str().unwrap().to_owned()
}

/// CC-11.
#[tokio::test(flavor = "multi_thread")]
async fn atk_hd_03_t3_a_client_removes_nothing_that_the_gateway_says() {
    let upstream = plain();
    let mut talk = naive_talk(&upstream).await;
    talk.say("GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Token-Client-Id\r\n\r\n").await.unwrap();
    assert_eq!(talk.answer().await.unwrap().status, 200);
    assert_eq!(upstream.requests()[0].header("x-token-client-id"), None, "the trap");

    let world = World::start().await;
    let mut talk = Talk::with(&client(&world)).await;
    let names = [
        "Connection: x-token-client-id, client-cert, x-fapi-interaction-id, x-custom",
        "Connection: X-Token-Client-Id,Client-Cert\r\nconnection: X-FAPI-Interaction-Id\r\nCONNECTION: keep-alive, X-CUSTOM",
        "Connection: ,, forwarded ,\ttraceparent,x-custom",
    ];
    for fields in names {
        world.accounts.clear();
        let extra = format!("X-Custom: 1\r\nX-Kept: 1\r\n{fields}\r\nX-Token-Client-Id: forged\r\n");
        talk.say(head(&world, "GET /accounts", &extra)).await.unwrap();
        assert_eq!(talk.answer().await.unwrap().status, 200, "{fields}");
        let request = seen(&world).remove(0);
        assert_eq!(request.header("x-token-client-id"), world.token().claims()["client_id"].as_str(), "{fields}");
        for name in [
            "client-cert",
            "x-fapi-interaction-id",
            "x-token-subject",
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "traceparent",
            "host",
            "x-kept",
        ] {
            assert_eq!(request.headers.get_all(name).iter().count(), 1, "{name}: {fields}");
        }
        assert_eq!(request.header("x-custom"), None, "control: a client may name its own fields");
        assert_eq!(request.header("connection"), None, "FWD-02");
    }
    // Naming a field that frames or authorizes the message does not remove it; naming one that routes it is refused.
    for framing in ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"] {
        world.accounts.clear();
        let fields = "Connection: content-length, transfer-encoding, authorization\r\n";
        let (line, body) = framing.split_once("\r\n\r\n").unwrap();
        talk.say(head(&world, "POST /payments", &format!("{fields}{line}\r\n")) + body).await.unwrap();
        assert_eq!(talk.answer().await.unwrap().status, 201, "{framing}");
        assert_eq!(&seen(&world).remove(0).body[..], b"hello", "{framing}");
    }
    let many: Vec<String> = (0..20).map(|number| format!("x-{number}")).collect();
    let before = world.accounts.server().heads();
    for names in
        ["host", "Host", "x-forwarded-for", "X-Forwarded-Proto", "\"x-token-client-id\"", ":authority", &many.join(",")]
    {
        let mut talk = Talk::with(&client(&world)).await;
        talk.say(head(&world, "GET /accounts", &format!("Connection: {names}\r\n"))).await.unwrap();
        let answer = talk.answer().await.unwrap();
        assert_eq!((answer.status, code(&world, &answer).as_str()), (400, "header_malformed"), "{names}");
    }
    assert_eq!(world.accounts.server().heads(), before);
    still_serves(&world).await;
}

/// What never goes to an upstream, and what reads like it (CC-09, CC-10, CC-13, ATK-HD-01, -02, -04, -07, -08).
const FORGED: &[&str] = &[
    "Client-Cert",
    "CLIENT-CERT",
    "client_cert",
    "Client.Cert",
    "client-cert-chain",
    "Client_Cert_Chain",
    "X-Token-Client-Id",
    "x_token_client_id",
    "X.Token.Client.Id",
    "x-token_client~id",
    "X-Token-Anything",
    "X-Forwarded-For",
    "x_forwarded_for",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Uri",
    "X-Forwarded-Method",
    "X-Forwarded-Client-Cert",
    "X_Forwarded_Client_Cert",
    "Forwarded",
    "FORWARDED",
    "X-Real-IP",
    "x_real_ip",
    "X-Client-Cert",
    "x.client.cert",
    "X-SSL-Client-Cert",
    "X-SSL-Anything",
    "ssl_client_cert",
    "SSL-Client-S-DN",
    "X-Amzn-Mtls-Clientcert",
    "X-Amzn-Mtls-Clientcert-Leaf",
    "x_amzn_mtls_clientcert",
    "X-ARR-ClientCert",
    "x_arr_clientcert",
    "X-Original-URL",
    "X_Original_URL",
    "X-Original-Method",
    "X-Rewrite-URL",
    "x_rewrite.url",
    "X-HTTP-Method",
    "X-HTTP-Method-Override",
    "x_http_method_override",
    "X-Method-Override",
    "X-Envoy-Original-Path",
    "X-Client-Id",
    "X-Consent-Id",
    "X-Userinfo",
    "DPoP",
    "d_p_o_p",
    "Keep-Alive",
    "Proxy-Connection",
    "Proxy-Authorization",
    "proxy_authorization",
    "TE",
    "Trailer",
    "x_fapi_interaction_id",
    "content_length",
    "transfer_encoding",
    "authorization_",
];

#[tokio::test(flavor = "multi_thread")]
async fn atk_hd_01_atk_hd_02_atk_hd_04_cc_09_cc_10_nothing_forged_goes_up_on_protected_and_public_routes() {
    let world =
        World::with(|scene| scene.replace("header_bytes: 32KiB", "{ header_bytes: 32KiB, header_count: 256 }")).await;
    // These two are not names of the gateway under any reading: they must pass, which shows that the list is effective.
    let ours = |name: &&&str| !["d_p_o_p", "authorization_"].contains(*name);
    let fields: String =
        FORGED.iter().filter(ours).map(|name| format!("{name}: forged\r\n{name}: forged twice\r\n")).collect();
    let fields = fields.replace("DPoP: forged twice\r\n", "").replace("TE: forged twice\r\n", "");
    for line in ["GET /accounts", "GET /health"] {
        for with_certificate in [true, false] {
            let from = if with_certificate { client(&world) } else { world.anonymous() };
            if line.ends_with("accounts") && !with_certificate {
                continue;
            }
            world.accounts.clear();
            let mut talk = Talk::with(&from).await;
            // A proof next to a bearer token is refused, so one is only forged where tokens are not examined.
            let fields =
                if line.ends_with("accounts") { fields.replace("DPoP: forged\r\n", "") } else { fields.clone() };
            talk.say(head(&world, line, &format!("{fields}X-Control: passes\r\n"))).await.unwrap();
            let answer = talk.answer().await.unwrap();
            assert_eq!(answer.status, 200, "{line}: {answer:?}");
            let request = seen(&world).remove(0);
            assert_eq!(request.header("x-control"), Some("passes"));
            let forged: Vec<_> = request
                .headers
                .iter()
                .filter(|(_, value)| value.to_str().is_ok_and(|value| value.contains("forged")))
                .map(|(name, _)| name.as_str())
                .collect();
            assert_eq!(forged, [""; 0], "{line}");
            assert_eq!(request.header("client-cert").is_some(), line.ends_with("accounts"), "{line}: CC-04");
            assert_eq!(request.header("authorization"), None, "{line}: FWD-07");
            assert_eq!(request.headers.get_all("x-forwarded-for").iter().count(), 1);
        }
    }
    // HTTP/2 has no hop-by-hop fields; the other names are the same.
    let not_in_h2 = ["keep-alive", "proxy-connection", "te"];
    for path in ["/accounts", "/health"] {
        world.accounts.clear();
        let mut request = crate::support::request(path, &world.sign(&world.token()));
        for name in FORGED.iter().filter(ours).map(|name| name.to_ascii_lowercase()) {
            let refused_beside_bearer = name == "dpop" && path == "/accounts";
            if !not_in_h2.contains(&name.as_str()) && !refused_beside_bearer {
                let name = http::HeaderName::try_from(name).unwrap();
                request.headers_mut().append(name, "forged".parse().unwrap());
            }
        }
        assert_eq!(world.client().h2().send(request).await.unwrap().status(), 200, "{path}");
        assert!(!format!("{:?}", seen(&world)).contains("forged"), "{path}: {:?}", seen(&world));
    }
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_hd_05_trailers_do_not_go_up_and_carry_no_credentials() {
    let world = World::start().await;
    let token = world.sign(&world.token());
    let body = format!(
        "5\r\nhello\r\n0\r\nClient-Cert: forged\r\nX-Token-Client-Id: forged\r\nX-{MARKER}: 1\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let mut talk = Talk::with(&client(&world)).await;
    talk.say(head(&world, "POST /payments", "Transfer-Encoding: chunked\r\nTrailer: Client-Cert\r\n")).await.unwrap();
    talk.say(&body).await.unwrap();
    assert_eq!(talk.answer().await.unwrap().status, 201);
    let request = seen(&world).remove(0);
    assert_eq!((&request.body[..], request.header("client-cert")), (&b"hello"[..], None));
    assert_eq!(marked(&world), [""; 0]);
    assert!(!format!("{request:?}").contains("forged"));
    // A token in a trailer is ignored.
    let mut talk = Talk::with(&client(&world)).await;
    talk.say("POST /payments HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    let _ = talk.say(&body).await;
    let answer = talk.answer().await.unwrap();
    assert_eq!((answer.status, code(&world, &answer).as_str()), (401, "credentials_missing"));
    assert_eq!(seen(&world).len(), 1);
    still_serves(&world).await;
}

/// One piece for each byte.
fn bytes(text: &str) -> Vec<Vec<u8>> {
    text.bytes().map(|byte| vec![byte]).collect()
}

async fn short_limits() -> World {
    World::with(|scene| {
        scene.replace("header_bytes: 32KiB", "{ header_bytes: 32KiB, header_timeout: 300ms, body_timeout: 300ms }")
    })
    .await
}

const BETWEEN: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread")]
async fn t4_a_dripped_header_ends_at_its_deadline() {
    let trap = async {
        let upstream = plain();
        let mut talk = naive_talk(&upstream).await;
        let (answer, took) = talk.drip(bytes("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), BETWEEN).await;
        assert_eq!(answer.unwrap().status, 200, "the trap: Pingora only has a timeout for each read");
        assert!(took > 2 * SHORT, "{took:?}");
    };

    let world = short_limits().await;
    let endless = format!("GET /accounts HTTP/1.1\r\nHost: localhost\r\nX-Slow: {}", "a".repeat(2000));
    // On a new connection, and on one that has already served requests.
    let late = async |requests_before: usize| {
        let mut talk = Talk::with(&client(&world)).await;
        for _ in 0..requests_before {
            talk.say(head(&world, "GET /accounts", "")).await.unwrap();
            assert_eq!(talk.answer().await.unwrap().status, 200);
        }
        let (answer, took) = talk.drip(bytes(&endless), BETWEEN).await;
        let answer = answer.expect("an answer");
        assert_eq!((answer.status, code(&world, &answer).as_str()), (408, "header_timeout"));
        assert!((SHORT..SHORT + Duration::from_secs(3)).contains(&took), "{took:?}");
        assert_eq!(talk.rest().await, "", "the connection is closed");
    };

    // Slow, but in time: the deadline applies to the whole header section, not to each byte or to the connection.
    let patient = World::start().await;
    let in_time = async {
        let whole = head(&patient, "GET /accounts", "");
        let (start, end) = whole.split_at(8);
        let mut pieces = bytes(start);
        pieces.push(end.into());
        let mut talk = Talk::with(&client(&patient)).await;
        for _ in 0..2 {
            let (answer, took) = talk.drip(pieces.clone(), BETWEEN).await;
            assert_eq!(answer.unwrap().status, 200);
            assert!(took >= SHORT, "{took:?}");
        }
    };
    tokio::join!(trap, late(0), late(2), in_time);
    still_serves(&world).await;
    still_serves(&patient).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t4_a_body_slower_than_the_header_may_be_is_no_slow_header() {
    let world =
        World::with(|scene| scene.replace("header_bytes: 32KiB", "{ header_bytes: 32KiB, header_timeout: 300ms }"))
            .await;
    let mut talk = Talk::with(&client(&world)).await;
    for _ in 0..2 {
        let mut pieces = vec![head(&world, "POST /payments", "Content-Length: 10\r\n").into_bytes()];
        pieces.extend(bytes("0123456789"));
        let (answer, took) = talk.drip(pieces, BETWEEN).await;
        assert_eq!(answer.unwrap().status, 201);
        assert!(took > SHORT, "{took:?}");
    }
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t8_a_header_without_end_is_refused_early() {
    let world =
        World::with(|scene| scene.replace("header_bytes: 32KiB", "{ header_bytes: 32KiB, header_count: 64 }")).await;
    let before = world.accounts.server().heads();
    let line = format!("X-Long: {}\r\n", "a".repeat(8 * 1024 - 10));
    // 2 MiB: as many lines, as one line, and as bytes that are not a line.
    for piece in [line, "a".repeat(8 * 1024), "\0".repeat(8 * 1024)] {
        let mut pieces = vec![b"GET /accounts HTTP/1.1\r\nHost: localhost\r\nX: ".to_vec()];
        pieces.extend(std::iter::repeat_n(piece.into_bytes(), 256));
        let mut talk = Talk::with(&client(&world)).await;
        let (answer, _) = talk.drip(pieces, Duration::from_millis(1)).await;
        let answer = answer.expect("an answer");
        let wanted = [(431, "header_too_large"), (400, "header_malformed")];
        let got = (answer.status, code(&world, &answer));
        assert!(wanted.contains(&(got.0, got.1.as_str())), "{got:?}");
        let record = world.gateway.record(answer.field("x-fapi-interaction-id")[0]);
        if got.0 == 431 {
            // "the header section has N bytes, the limit is 32768"
            let detail = record["detail"].as_str().unwrap();
            let held: usize = detail.split(' ').find_map(|word| word.parse().ok()).unwrap();
            assert!(held <= 160 * 1024, "{detail}");
        }
    }
    // Many small fields in one write: more than the limit, more than Pingora's parser accepts, and 1 MiB in 1 KiB lines.
    // The request has two fields of its own.
    let many = |count: usize| (2..count).map(|number| format!("X-{number}: 1\r\n")).collect::<String>();
    let large: String = (0..1024).map(|number| format!("X-{number}: {}\r\n", "a".repeat(1016))).collect();
    for fields in [many(65), many(257), many(300), large] {
        let mut talk = Talk::with(&client(&world)).await;
        let (answer, _) = talk.drip([head(&world, "GET /accounts", &fields).into_bytes()], BETWEEN).await;
        let answer = answer.expect("an answer");
        assert_eq!((answer.status, code(&world, &answer).as_str()), (431, "header_too_large"));
        assert_eq!(talk.rest().await, "", "the connection is closed");
    }
    assert_eq!(world.accounts.server().heads(), before);
    // Lines in the body are not fields, however many there are.
    let body = "a: b\r\n".repeat(500);
    let mut talk = Talk::with(&client(&world)).await;
    let fields = format!("{}Content-Length: {}\r\n", many(63), body.len());
    talk.say(head(&world, "POST /payments", &fields) + &body).await.unwrap();
    assert_eq!(talk.answer().await.expect("an answer").status, 201, "control: 63 fields and Content-Length");
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t8_what_has_two_readings_is_refused_and_what_it_hides_is_never_seen() {
    let upstream = plain();
    let naive_at = naive(upstream.address()).await;
    for trap in [
        "GET / HTTP/1.1\r\nX: y\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
    ] {
        let mut talk = Talk::over(TcpStream::connect(naive_at).await.unwrap());
        talk.say(trap).await.unwrap();
        let heads = upstream.heads();
        let answer = talk.answer().await;
        let went_up = upstream.heads() > heads || answer.is_some_and(|answer| answer.status == 200);
        assert!(went_up, "the trap: {trap:?}");
    }

    let world = World::start().await;
    let hidden = head(&world, &format!("GET /accounts/1001?{MARKER}"), "");
    let length = hidden.len();
    let chunk = format!("{length:x}\r\n{hidden}\r\n0\r\n\r\n");
    let get = |extra: &str| head(&world, "GET /accounts", extra);
    let post = |extra: &str| head(&world, "POST /payments", extra);
    let close = format!("0\r\n\r\n{hidden}");
    let framing = "framing_ambiguous";
    let cases = [
        (
            "ATK-SM-01",
            post(&format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n")) + &close,
            400,
            framing,
        ),
        (
            "ATK-SM-01 order",
            post(&format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n")) + &close,
            400,
            framing,
        ),
        ("ATK-SM-02 equal", get(&"Content-Length: 0\r\n".repeat(2)) + &hidden, 400, framing),
        (
            "ATK-SM-02 differ",
            post(&format!("Content-Length: 0\r\nContent-Length: {length}\r\n")) + &hidden,
            400,
            framing,
        ),
        ("ATK-SM-02 plus", post(&format!("Content-Length: +{length}\r\n")) + &hidden, 400, framing),
        ("ATK-SM-02 list", post("Content-Length: 0, 0\r\n") + &hidden, 400, framing),
        ("ATK-SM-02 hex", post("Content-Length: 0x0\r\n") + &hidden, 400, framing),
        ("ATK-SM-02 space after", post("Content-Length: 0 \r\n") + &hidden, 400, framing),
        ("ATK-SM-03 xchunked", post("Transfer-Encoding: xchunked\r\n") + &close, 400, framing),
        ("ATK-SM-03 identity", post("Transfer-Encoding: chunked, identity\r\n") + &close, 400, framing),
        ("ATK-SM-03 last", post("Transfer-Encoding: identity, chunked\r\n") + &close, 400, framing),
        ("ATK-SM-03 two", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n") + &close, 400, framing),
        ("ATK-SM-03 twice", post(&"Transfer-Encoding: chunked\r\n".repeat(2)) + &close, 400, framing),
        ("ATK-SM-03 tab", post("Transfer-Encoding:\tchunked\r\n") + &close, 400, framing),
        ("ATK-SM-03 space", post("Transfer-Encoding : chunked\r\n") + &close, 400, "header_malformed"),
        ("ATK-SM-04", post("Transfer-Encoding: chunked\r\n").replace("HTTP/1.1", "HTTP/1.0") + &close, 400, framing),
        ("ATK-SM-08 LF", get("X: y\nX-Z: z\r\n") + &hidden, 400, "header_malformed"),
        ("ATK-SM-08 LF only", get("").replace("\r\n", "\n") + &hidden, 400, "header_malformed"),
        ("ATK-SM-08 CR", get("X: y\rX-Z: z\r\n") + &hidden, 400, "header_malformed"),
        ("ATK-SM-08 fold", get("X: y\r\n z\r\n") + &hidden, 400, "header_malformed"),
        ("ATK-SM-08 leading", format!("\r\n{}{hidden}", get("")), 400, "header_malformed"),
        ("ATK-SM-08 NUL", get("X: y\0z\r\n") + &hidden, 400, "header_malformed"),
        ("ATK-SM-08 name", get("X(y): z\r\n") + &hidden, 400, "header_malformed"),
        ("ATK-SM-08 no name", get(": z\r\n") + &hidden, 400, "header_malformed"),
        ("ATK-HD-13 no Host", get("").replacen("Host: localhost\r\n", "", 1) + &hidden, 400, "host_missing"),
        ("ATK-HD-13 two", get("Host: localhost\r\n") + &hidden, 400, "host_missing"),
        ("ATK-HD-13 list", get("").replacen("localhost", "localhost, localhost", 1) + &hidden, 400, "host_malformed"),
        ("ATK-HD-13 user", get("").replacen("localhost", "user@localhost", 1) + &hidden, 400, "host_malformed"),
        (
            "ATK-SM-13",
            get("").replacen("/accounts", "https://other.example/accounts", 1) + &hidden,
            400,
            "header_malformed",
        ),
        ("FWD-04", get("").replacen("GET", "TRACE", 1) + &hidden, 405, "method_refused"),
    ];
    for (what, bytes, status, wanted) in cases {
        let mut talk = Talk::with(&client(&world)).await;
        talk.say(get("")).await.unwrap();
        assert_eq!(talk.answer().await.unwrap().status, 200, "{what}: control: the connection works");
        let before = world.accounts.server().heads();
        talk.say(bytes).await.unwrap();
        let answer = talk.answer().await.unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        let code = code(&world, &answer);
        assert_eq!(code, wanted, "{what}");
        assert_eq!(talk.rest().await, "", "{what}: the connection is closed");
        assert_eq!(world.accounts.server().heads(), before, "{what}");
    }
    // ATK-SM-07: here the head is valid and may be forwarded; the body, and the request hidden in it, must not be.
    for (what, body) in [
        ("overflow", format!("10000000000000000\r\n{hidden}")),
        ("no CRLF after the chunk", format!("1\r\nab\r\n0\r\n\r\n{hidden}")),
        ("LF", format!("0\n\n{hidden}")),
        ("LF in an extension", format!("1;x\n{chunk}")),
        ("sign", format!("+1\r\na\r\n0\r\n\r\n{hidden}")),
    ] {
        let mut talk = Talk::with(&client(&world)).await;
        talk.say(post("Transfer-Encoding: chunked\r\n") + &body).await.unwrap();
        let rest = talk.rest().await;
        assert!(rest.starts_with("HTTP/1.1 400 ") && rest.matches("HTTP/1.1").count() == 1, "{what}: {rest}");
    }
    assert_eq!(marked(&world), [""; 0]);
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sm_16_a_pipelined_request_is_judged_itself_or_not_at_all() {
    let world = World::start().await;
    let bare = format!("GET /accounts/1001?{MARKER} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let good = head(&world, "GET /accounts", "");
    let posted = head(&world, "POST /payments", "Content-Length: 5\r\n") + "hello";
    for first in [&good, &posted] {
        for second in [bare.as_str(), "GARBAGE\r\n\r\n", "GET /acc"] {
            world.accounts.clear();
            let mut talk = Talk::with(&client(&world)).await;
            talk.say(format!("{first}{second}")).await.unwrap();
            assert!(talk.answer().await.unwrap().status < 300);
            // The rest of a half-sent request is refused, or the connection is closed.
            let _ = talk.say("x".repeat(16)).await;
            let _ = talk.say("\r\n\r\n").await;
            if let Some(answer) = talk.answer().await {
                assert!((400..500).contains(&answer.status), "{answer:?}");
                code(&world, &answer);
            }
            assert_eq!(seen(&world).len(), 1, "{second}");
            assert_eq!(marked(&world), [""; 0], "{second}");
        }
    }
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sm_06_the_unread_body_of_a_refused_request_is_no_request() {
    let world = World::with(|scene| {
        scene.replace("header_bytes: 32KiB", "{ header_bytes: 32KiB, unread_body_timeout: 500ms }")
    })
    .await;
    let before = world.accounts.server().heads();
    let hidden = head(&world, &format!("GET /accounts/1001?{MARKER}"), "");
    for framing in
        [format!("Content-Length: {}\r\n\r\n", 2 * hidden.len() + 5), "Transfer-Encoding: chunked\r\n\r\n".to_owned()]
    {
        for token in ["", "Authorization: Bearer bad.bad.bad\r\n"] {
            for at_once in [true, false] {
                let start = format!("POST /payments HTTP/1.1\r\nHost: localhost\r\n{token}{framing}");
                let mut talk = Talk::with(&client(&world)).await;
                if at_once {
                    talk.say(start + &hidden).await.unwrap();
                } else {
                    talk.say(start).await.unwrap();
                }
                let answer = talk.answer().await.unwrap();
                assert_eq!(answer.status, 401, "{answer:?}");
                code(&world, &answer);
                let _ = talk.say(&hidden).await;
                assert_eq!(talk.rest().await, "", "the connection is closed");
            }
        }
    }
    assert_eq!((world.accounts.server().heads(), marked(&world)), (before, vec![]));
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sm_09_bear_17_a_refusal_comes_instead_of_100() {
    let world = World::start().await;
    let before = world.accounts.server().heads();
    for (token, kind) in [
        ("", "text/plain"),
        ("", "application/x-www-form-urlencoded"),
        ("Authorization: Bearer bad.bad.bad\r\n", "text/plain"),
        ("Authorization: Bearer bad.bad.bad\r\n", "application/x-www-form-urlencoded"),
    ] {
        let mut talk = Talk::with(&client(&world)).await;
        talk.say(format!(
            "POST /payments HTTP/1.1\r\nHost: localhost\r\n{token}Content-Type: {kind}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        ))
        .await
        .unwrap();
        let answer = talk.answer().await.unwrap();
        assert_eq!(answer.status, 401, "{answer:?}");
        assert_eq!(talk.rest().await, "");
    }
    assert_eq!(world.accounts.server().heads(), before);
    for kind in ["text/plain", "application/x-www-form-urlencoded"] {
        let expect = format!("Content-Type: {kind}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n");
        let mut talk = Talk::with(&client(&world)).await;
        talk.say(head(&world, "POST /payments", &expect)).await.unwrap();
        let answer = talk.answer().await.expect("a 100");
        assert_eq!(answer.status, 100, "{kind}: {answer:?}");
        talk.say("hello").await.unwrap();
        let answer = talk.answer().await.expect("an answer");
        assert_eq!(answer.status, 201, "{kind}: {answer:?}");
    }
    // A fault after the 100 is still answered.
    let expect = "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n";
    let mut talk = Talk::with(&client(&world)).await;
    talk.say(head(&world, "POST /payments", expect)).await.unwrap();
    assert_eq!(talk.answer().await.expect("a 100").status, 100);
    talk.say("zz\r\n").await.unwrap();
    let answer = talk.answer().await.expect("an answer");
    assert_eq!((answer.status, code(&world, &answer).as_str()), (400, "body_malformed"));
    assert_eq!(talk.rest().await, "");
    // ATK-SM-09
    world.accounts.clear();
    for expect in ["y 100-continue", "100-continue, 100-continue", "\t100-Continue", "nothing"] {
        let mut talk = Talk::with(&client(&world)).await;
        let fields = format!("Content-Length: 5\r\nExpect: {expect}\r\n");
        let hidden = head(&world, &format!("GET /accounts/1001?{MARKER}"), "");
        talk.say(head(&world, "POST /payments", &fields) + "hello" + &hidden).await.unwrap();
        let mut answer = talk.answer().await.expect("an answer");
        if answer.status == 100 {
            answer = talk.answer().await.expect("an answer");
        }
        assert!([201, 417].contains(&answer.status), "{expect}: {answer:?}");
        let second = talk.answer().await;
        assert!(seen(&world).iter().all(|request| &request.body[..] == b"hello" || second.is_some()), "{expect}");
    }
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fwd_14_idle_connections_and_slow_bodies_end() {
    let world = World::with(|scene| {
        scene.replace("header_bytes: 32KiB", "{ header_bytes: 32KiB, idle_timeout: 600ms, body_timeout: 300ms }")
    })
    .await;
    let mut talk = Talk::with(&client(&world)).await;
    talk.say(head(&world, "GET /accounts", "")).await.unwrap();
    assert_eq!(talk.answer().await.unwrap().status, 200);
    assert_eq!(talk.rest().await, "", "an idle connection is closed without a response");
    assert_eq!(Talk::with(&client(&world)).await.rest().await, "");

    let mut pieces = vec![head(&world, "POST /payments", "Content-Length: 1000\r\n").into_bytes()];
    pieces.extend(std::iter::repeat_n(b"a".to_vec(), 1000));
    let mut talk = Talk::with(&client(&world)).await;
    let (answer, took) = talk.drip(pieces, BETWEEN).await;
    let answer = answer.expect("an answer");
    assert_eq!((answer.status, code(&world, &answer).as_str()), (408, "body_timeout"));
    assert!(took >= SHORT && took < DEADLINE / 2, "{took:?}");
    still_serves(&world).await;
}
