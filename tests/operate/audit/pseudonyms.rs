//! Pseudonyms, as an operator calculates them: in the audit, at `/decisions`, in what `explain` prints and for handshakes.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::tools::tool;
use crate::support::{World, request};

const KEY: &str = "2f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";

/// As the documentation has it.
fn pseudonym(value: &str) -> String {
    let script = format!(
        "printf %s '{value}' | openssl dgst -sha256 -mac HMAC -macopt hexkey:{KEY} -binary | basenc --base64url | tr -d ="
    );
    let output = tool("bash").args(["-c", &script]).stderr(Stdio::inherit()).output().expect("it runs");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn world(fields: &str) -> World {
    World::with(|scene| {
        scene
            .replace("admin: { ", "admin: { decisions: 10, ")
            .file("pseudonyms.key", KEY)
            .append(&format!("audit: {{ pseudonymize: {{ key: pseudonyms.key{fields} }} }}\n"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_it_is_about_is_a_pseudonym_wherever_the_line_is_shown() {
    for (fields, both) in [("", true), (", fields: [subject]", false)] {
        let world = world(fields).await;
        let token = world.token();
        let subject = token.claims()["sub"].as_str().unwrap().to_owned();
        let now = world.clock.now();
        for (token, status) in [(token.clone(), 200), (token.expires_at(now), 401)] {
            let response = world.client().send(request("/accounts", &world.sign(&token))).await.unwrap();
            assert_eq!(response.status(), status);
            let record = world.gateway.record_of(&response);
            assert_eq!(record["subject"], pseudonym(&subject), "{record}");
            let address = if both { pseudonym("127.0.0.1") } else { "127.0.0.1".to_owned() };
            assert_eq!(record["client_address"], address, "{record}");
            assert!(!record.to_string().contains(&subject), "{record}");
            let id = record["interaction_id"].as_str().unwrap();
            let (_, shown) = world.gateway.admin(&format!("/decisions/{id}")).await;
            assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), record);
            let (_, shown) = world.gateway.admin(&format!("/decisions?subject={}", pseudonym(&subject))).await;
            assert!(shown.contains(id), "{shown}");
        }
        // The upstream is told as before.
        assert!(world.accounts.requests().iter().any(|seen| seen.headers["x-token-subject"] == subject));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_is_the_address_of_a_handshake_that_failed() {
    let world = world("").await;
    let mut tcp = TcpStream::connect(world.gateway.address()).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let _ = tcp.read(&mut [0; 16]).await;
    let line = world.gateway.record_where(|line| line["event"] == "handshake");
    assert_eq!(line["client_address"], pseudonym("127.0.0.1"), "{line}");
}
