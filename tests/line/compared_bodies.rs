//! Routes that compare the body of a request with `authorization_details` of its token (RFC 9396).

use bytes::Bytes;
use http::{Request, header};
use sandbox::tokens::Proof;
use serde_json::{Value, json};

use crate::edge::hostile::wire::Talk;
use crate::support::client::Client;
use crate::support::{ORIGIN, Scene, World};

/// The largest body that is read.
const MOST: usize = 64 * 1024;

/// `/payments` for payments that an element names; `more` follows as keys of the route.
fn payments(scene: Scene, more: &str) -> Scene {
    let usual = "    scopes: { any: [payments, accounts] }\n";
    let require = r#"    require:
      authorization_details:
        - type: payment_initiation
          actions: [initiate]
          match:
            - { detail: /creditorAccount/iban, equals: { body: /creditorAccount/iban } }
            - { detail: /instructedAmount, covers: { body: /instructedAmount } }
"#;
    scene.replace(usual, &format!("{usual}{require}{more}"))
}

async fn world() -> World {
    World::with(|scene| payments(scene, "")).await
}

/// An element for a payment of at most so many euros.
fn element(iban: &str, amount: &str) -> Value {
    json!({
        "type": "payment_initiation",
        "actions": ["initiate", "status"],
        "creditorAccount": { "iban": iban },
        "instructedAmount": { "currency": "EUR", "amount": amount },
    })
}

/// A token for 100 euros to `DE02`.
fn token(world: &World) -> String {
    world.sign(&world.token().claim("authorization_details", json!([element("DE02", "100.00")])))
}

fn payment(iban: &str, amount: &str) -> String {
    format!(r#"{{"instructedAmount":{{"currency":"EUR","amount":"{amount}"}},"creditorAccount":{{"iban":"{iban}"}}}}"#)
}

fn post(token: &str, kind: &str, body: impl Into<Bytes>) -> Request<Bytes> {
    Request::post(format!("{ORIGIN}/payments"))
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, kind)
        .body(body.into())
        .unwrap()
}

fn head(token: &str, more: &str) -> String {
    format!(
        "POST /payments HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n{more}\r\n"
    )
}

/// Sends a body with this token, and expects this code; what is refused never reaches the upstream.
async fn judge(world: &World, client: &Client, request: Request<Bytes>, code: &str) -> Value {
    let before = world.accounts.server().heads();
    let what = String::from_utf8_lossy(request.body()).chars().take(200).collect::<String>();
    let response = client.send(request).await.unwrap();
    let record = world.gateway.record_of(&response);
    assert_eq!(record["code"], code, "{what}: {record}");
    let status = match code {
        "ok" => 201,
        "body_unreadable" => 400,
        "body_too_large" => 413,
        "body_type_unsupported" => 415,
        "authorization_details_insufficient" => 403,
        other => panic!("what is the status of {other}?"),
    };
    assert_eq!(response.status(), status, "{what}");
    assert_eq!(world.accounts.server().heads() - before, usize::from(code == "ok"), "{what}");
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_covered_is_forwarded_byte_for_byte() {
    let world = world().await;
    let token = token(&world);
    let odd = " {\r\n\t\"creditorAccount\" : {\"\\u0069ban\":\"DE\\u00302\"} , \"x\":[1.50,1e2,-0, \"\\/\"],\n\
               \"instructedAmount\":{\"amount\":\"100\",\"currency\":\"EUR\"}} \n";
    let plain = payment("DE02", "99.99");
    let largest = format!("{plain}{}", " ".repeat(MOST - plain.len()));
    for client in [world.client().h1(), world.client().h2()] {
        for body in [odd, &plain, &largest] {
            for kind in ["application/json", "application/json; charset=UTF-8", "application/vnd.bank+json"] {
                world.accounts.clear();
                judge(&world, &client, post(&token, kind, body.to_owned()), "ok").await;
                let seen = world.accounts.requests().remove(0);
                assert_eq!((&*seen.body, seen.header("content-type")), (body.as_bytes(), Some(kind)));
            }
        }
    }
    // In chunks, one of which ends within a character.
    let body = plain.replace("DE02", "DE02\",\"name\":\"\u{e9}");
    let (one, two) = body.as_bytes().split_at(body.find('\u{e9}').unwrap() + 1);
    let mut chunked = head(&token, "Transfer-Encoding: chunked\r\nConnection: close\r\n").into_bytes();
    for part in [one, two] {
        chunked.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        chunked.extend_from_slice(part);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    world.accounts.clear();
    let answer = world.client().raw(&chunked).await;
    assert!(answer.starts_with(b"HTTP/1.1 201 "), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(world.accounts.requests().remove(0).body, body);
}

#[tokio::test(flavor = "multi_thread")]
async fn rar_03_a_body_that_no_element_covers_is_refused() {
    let world = world().await;
    let token = token(&world);
    for client in [world.client().h1(), world.client().h2()] {
        let send =
            async |body: String, code: &str| judge(&world, &client, post(&token, "application/json", body), code).await;
        send(payment("DE02", "100.00"), "ok").await; // control
        let insufficient = "authorization_details_insufficient";
        for body in [
            payment("DE03", "1.00"),
            payment("DE02 ", "1.00"),
            payment("DE02", "100.01"),
            payment("DE02", "1e2"),
            payment("DE02", "-0"),
            payment("DE02", "-1.00"),
            payment("DE02", "00.1"),
            payment("DE02", "+1"),
            payment("DE02", "1,00"),
            payment("DE02", ".5"),
            payment("DE02", "5."),
            payment("DE02", " 1"),
            payment("DE02", "0.000001"),
            payment("DE02", "\u{661}"),
            payment("DE02", "\\u0661"),
            payment("DE02", "1.00").replace("EUR", "USD"),
            payment("DE02", "1.00").replace("EUR", "eur"),
            payment("DE02", "1.00").replace("\"1.00\"", "1.00"),
            payment("DE02", "1").replace("\"1\"", "1"),
            payment("DE02", "1").replace("\"1\"", "[\"1\"]"),
            payment("DE02", "1").replace("\"DE02\"", "[\"DE02\"]"),
            payment("DE02", "1").replace("\"iban\"", "\"IBAN\""),
            // Readers that ignore the case of names take the second.
            payment("DE02\",\"IBAN\":\"DE03", "1.00"),
            payment("DE02", "1.00\",\"Amount\":\"900"),
            payment("DE02", "1.00").replace("{\"instructedAmount\"", "{\"InstructedAmount\":{},\"instructedAmount\""),
            "{}".to_owned(),
        ] {
            let record = send(body, insufficient).await;
            let detail = record["detail"].as_str().unwrap();
            assert!(detail.contains("entry 0 of the route, type \"payment_initiation\": /"), "{detail}");
            assert!(!detail.contains("DE0") && !detail.contains("100"), "{detail}");
        }
        for body in [
            String::new(),
            "[]".to_owned(),
            format!("[{}]", payment("DE02", "1.00")),
            payment("DE02", "1.00") + "{}",
            payment("DE02", "1.00\",\"amount\":\"900"),
            payment("DE02\",\"\\u0069ban\":\"DE03", "1.00"),
            payment("DE02", "1.00\\ud800"),
            format!("\u{feff}{}", payment("DE02", "1.00")),
            payment("DE02\",\"x\":1e999,\"y\":\"", "1.00"),
            format!("{{\"x\":{}{},{}", "[".repeat(20), "]".repeat(20), &payment("DE02", "1.00")[1..]),
            format!("{{\"x\":{},{}", "[".repeat(30_000), &payment("DE02", "1.00")[1..]),
            format!("{{\"x\":[{}1],{}", "1,".repeat(5000), &payment("DE02", "1.00")[1..]),
            "access_token=x".to_owned(),
        ] {
            send(body, "body_unreadable").await;
        }
        let latin = [&payment("DE02", "1.00").as_bytes()[..20], &b"\xe9"[..]].concat();
        judge(&world, &client, post(&token, "application/json", latin), "body_unreadable").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_declared_as_json_is_refused_before_it_is_read() {
    let world = world().await;
    let token = token(&world);
    let body = payment("DE02", "1.00");
    for client in [world.client().h1(), world.client().h2()] {
        judge(&world, &client, post(&token, "Application/JSON", body.clone()), "ok").await; // control
        for kind in [
            "text/plain",
            "text/json",
            "application/x-www-form-urlencoded",
            "application/json; charset=utf-16",
            "application/json, text/plain",
            "multipart/form-data; boundary=x",
        ] {
            judge(&world, &client, post(&token, kind, body.clone()), "body_type_unsupported").await;
        }
        let mut twice = post(&token, "application/json", body.clone());
        twice.headers_mut().append(header::CONTENT_TYPE, "application/json".parse().unwrap());
        judge(&world, &client, twice, "body_type_unsupported").await;
        let mut none = post(&token, "application/json", body.clone());
        none.headers_mut().remove(header::CONTENT_TYPE);
        judge(&world, &client, none, "body_type_unsupported").await;
        let mut coded = post(&token, "application/json", body.clone());
        coded.headers_mut().insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        judge(&world, &client, coded, "body_type_unsupported").await;
    }
    // Nothing of these bodies is asked for; that of the last, which no element can cover, is not either.
    let other = world.sign(&world.token().claim("authorization_details", json!([{ "type": "other" }])));
    let continued = "Content-Length: 90\r\nExpect: 100-continue\r\n";
    for (head, status) in [
        (head(&token, continued), "HTTP/1.1 100 "), // control
        (head(&token, continued).replace("application/json", "text/plain"), "HTTP/1.1 415 "),
        (head(&token, continued).replace(": 90", ": 65537"), "HTTP/1.1 413 "),
        (head(&other, continued), "HTTP/1.1 403 "),
    ] {
        let mut talk = Talk::with(&world.client()).await;
        talk.say(head).await.unwrap();
        talk.until(status).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_a_body_is_read_up_to_64_kib_or_to_the_limit_of_the_route() {
    let small = World::with(|scene| payments(scene, "    limits: { body_bytes: 200B }\n")).await;
    for (world, most) in [(world().await, MOST), (small, 200)] {
        let token = token(&world);
        let body = |size: usize| {
            let body = payment("DE02", "1.00");
            format!("{body}{}", " ".repeat(size - body.len()))
        };
        for client in [world.client().h1(), world.client().h2()] {
            judge(&world, &client, post(&token, "application/json", body(most)), "ok").await; // control
            judge(&world, &client, post(&token, "application/json", body(most + 1)), "body_too_large").await;
        }
        // Without a length, it is known when it is read.
        for (size, status) in [(most, 201), (most + 1, 413)] {
            let chunked = head(&token, "Transfer-Encoding: chunked\r\nConnection: close\r\n");
            let chunked = format!("{chunked}{size:x}\r\n{}\r\n0\r\n\r\n", body(size));
            let answer = String::from_utf8(world.client().raw(chunked.as_bytes()).await).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{size}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_41_a_proof_is_not_used_up_by_a_body_that_is_refused() {
    let world = world().await;
    let holder = world.holder();
    let token = world.issuer.token(world.clock.now()).bound_to_key(holder.key.thumbprint());
    let token = world.sign(&token.claim("authorization_details", json!([element("DE02", "100.00")])));
    let url = format!("{ORIGIN}/payments");
    let proof = Proof::new("POST", &url, world.clock.now()).for_token(&token).sign(&holder.key);
    let send = async |kind: &str, body: String| {
        let mut request = post(&token, kind, body);
        request.headers_mut().insert(header::AUTHORIZATION, format!("DPoP {token}").parse().unwrap());
        request.headers_mut().insert("dpop", proof.parse().unwrap());
        world.judge_from(&world.anonymous(), request).await.1
    };
    for _ in 0..2 {
        assert_eq!(send("application/json", payment("DE03", "1.00")).await, "authorization_details_insufficient");
        assert_eq!(send("application/json", "{".to_owned()).await, "body_unreadable");
        assert_eq!(send("text/plain", payment("DE02", "1.00")).await, "body_type_unsupported");
        assert_eq!(send("application/json", " ".repeat(MOST + 1)).await, "body_too_large");
    }
    assert_eq!(send("application/json", payment("DE02", "1.00")).await, "ok"); // control
    assert_eq!(send("application/json", payment("DE02", "1.00")).await, "dpop_replayed");
    // A used proof is not told apart by its body: that is judged first.
    assert_eq!(send("application/json", payment("DE03", "1.00")).await, "authorization_details_insufficient");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_05_a_token_that_ends_while_the_body_is_read_permits_nothing() {
    let world =
        World::with(|scene| payments(scene, "").replace("\"127.0.0.1:0\" }", "\"127.0.0.1:0\", revocations: {} }"))
            .await;
    let body = payment("DE02", "1.00");
    let (one, two) = body.split_at(20);
    for (what, expected) in [("nothing", "ok"), ("it expires", "token_expired"), ("it is revoked", "token_revoked")] {
        let token = world.token().claim("jti", what).expires_at(world.clock.now() + 60);
        let token = world.sign(&token.claim("authorization_details", json!([element("DE02", "100.00")])));
        let mut talk = Talk::with(&world.client()).await;
        let continued = format!("Content-Length: {}\r\nExpect: 100-continue\r\n", body.len());
        talk.say(head(&token, &continued)).await.unwrap();
        talk.until("HTTP/1.1 100 Continue\r\n\r\n").await;
        talk.say(one).await.unwrap();
        match what {
            "it expires" => world.clock.advance(60),
            "it is revoked" => world.gateway.revoke(&json!({ "jti": what })).await,
            _ => {}
        }
        let before = world.accounts.server().heads();
        talk.say(two).await.unwrap();
        assert_eq!(talk.head().await, if expected == "ok" { 201 } else { 401 }, "{what}");
        let record = world.gateway.record_where(|record| record["code"] == expected);
        assert_eq!(record["path"], "/payments", "{what}");
        assert_eq!(world.accounts.server().heads() - before, usize::from(expected == "ok"), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_03_a_body_that_does_not_come_is_not_waited_for() {
    let world = World::with(|scene| payments(scene, "    limits: { body_timeout: 300ms }\n")).await;
    let token = token(&world);
    let body = payment("DE02", "1.00");
    let length = format!("Content-Length: {}\r\n", body.len());
    for (sent, status, code) in [(&*body, 201, "ok"), (&body[..20], 408, "body_timeout"), ("", 408, "body_timeout")] {
        let before = world.accounts.server().heads();
        let mut talk = Talk::with(&world.client()).await;
        talk.say(format!("{}{sent}", head(&token, &length))).await.unwrap();
        let answer = talk.answer().await.expect("an answer");
        assert_eq!(answer.status, status, "{sent}");
        assert_eq!(world.gateway.record(answer.field("x-fapi-interaction-id")[0])["code"], code);
        assert_eq!(world.accounts.server().heads() - before, usize::from(code == "ok"));
    }
    // One that ends before it is whole.
    let mut talk = Talk::with(&world.client()).await;
    talk.say(format!("{}zz\r\n", head(&token, "Transfer-Encoding: chunked\r\n"))).await.unwrap();
    let answer = talk.answer().await.expect("an answer");
    assert_eq!(world.gateway.record(answer.field("x-fapi-interaction-id")[0])["code"], "body_malformed");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_routes_do_not_read_their_bodies_first() {
    let world = World::with(|scene| {
        payments(scene, "").append(
            "  - name: free
    path: /accounts/{account_id}
    methods: [POST]
    scopes: [accounts]
    upstream: accounts
    require: { authorization_details: [{ type: payment_initiation, actions: [initiate] }] }
",
        )
    })
    .await;
    let large = " ".repeat(MOST + 1);
    let mut request = post(&token(&world), "text/plain", large);
    *request.uri_mut() = format!("{ORIGIN}/accounts/1001").parse().unwrap();
    // The accounts API has no POST there; what counts is that all of it arrives.
    assert_eq!(world.judge(request).await, (404, "ok".to_owned()));
    assert_eq!(world.accounts.requests().remove(0).body.len(), MOST + 1);
}
