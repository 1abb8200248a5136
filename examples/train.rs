//! What a gateway does most, for a build that is to be good at it: `train GATEWAY` starts that program, with an issuer and an
//! upstream around it, and sends it some 20,000 requests.
//!
//! `deploy/build` runs it with a program that counts what is executed how often. All on loopback; it takes seconds.

#![expect(clippy::unwrap_used, reason = "a program that cannot be trained must not be built")]

#[path = "../benches/exchange/mod.rs"]
mod exchange;

use std::process::Command;

use http::header::AUTHORIZATION;
use http::request::Builder;
use http::{Request, StatusCode};
use sandbox::tokens::{KeyKind, SigningKey, ath};

use self::exchange::{Client, Gateway, Protocol, Surroundings};

#[tokio::main]
async fn main() {
    let program = std::env::args().nth(1).expect("usage: train GATEWAY");
    let around = Surroundings::start();
    let gateway = Gateway::start(Command::new(program), &around, "");
    gateway.ready().await;
    let mut sent = 0;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for _ in 0..20 {
            let mut client = Client::connect(&around, gateway.address, protocol).await;
            sent += conversation(&around, &mut client).await;
        }
        // A handshake for each request.
        for _ in 0..100 {
            let mut client = Client::connect(&around, gateway.address, protocol).await;
            let bearer = format!("Bearer {}", around.sign(&around.token()));
            assert_eq!(client.send(get(&bearer), "/accounts", b"").await.status, StatusCode::OK);
            sent += 1;
        }
    }
    gateway.stop();
    println!("{sent} requests");
}

/// What a client sends on one connection; returns how many requests that are.
async fn conversation(around: &Surroundings, client: &mut Client) -> u64 {
    let bearer = format!("Bearer {}", around.sign(&around.token()));
    for _ in 0..300 {
        assert_eq!(client.send(get(&bearer), "/accounts", b"").await.status, StatusCode::OK);
    }
    for _ in 0..30 {
        let post = Request::post("/").header(AUTHORIZATION, &bearer).header("content-type", "application/json");
        assert_eq!(client.send(post, "/accounts", &[b' '; 2000]).await.status, StatusCode::OK);
    }
    let opaque = around.issuer.issue(&around.token());
    for _ in 0..60 {
        assert_eq!(client.send(get(&format!("Bearer {opaque}")), "/balances", b"").await.status, StatusCode::OK);
    }
    let key = SigningKey::generate(KeyKind::Es256, "proofs");
    let bound = around.sign(&around.issuer.token(sandbox::now()).bound_to_key(key.thumbprint()));
    let mut nonce = None;
    for number in 0..60 {
        let (url, id) = ("https://localhost/accounts", format!("proof-{number}"));
        let proof = key.proof("GET", url, sandbox::now(), &id, Some(&ath(&bound)), nonce.as_deref());
        let request = get(&format!("DPoP {bound}")).header("dpop", proof);
        let answer = client.send(request, "/accounts", b"").await;
        // A gateway that has just started asks for a nonce.
        let given = answer.headers.get("dpop-nonce").and_then(|value| value.to_str().ok());
        nonce = given.map(str::to_owned).or(nonce);
        assert!(answer.status == StatusCode::OK || number == 0, "{}", answer.status);
    }
    for number in 0..30 {
        let new = around.sign(&around.token().claim("jti", format!("token-{number}")));
        assert_eq!(client.send(get(&format!("Bearer {new}")), "/accounts", b"").await.status, StatusCode::OK);
        let spoiled = format!("Bearer {new}x");
        assert_eq!(client.send(get(&spoiled), "/accounts", b"").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(client.send(Request::get("/"), "/accounts", b"").await.status, StatusCode::UNAUTHORIZED);
    }
    300 + 30 + 60 + 60 + 90
}

fn get(authorization: &str) -> Builder {
    Request::get("/").header(AUTHORIZATION, authorization)
}
