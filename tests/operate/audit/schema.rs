//! The published schema, and the names that others have for its members: every line that the program writes is valid, and no
//! member is without a name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use boon::{Compiler, Schemas};
use bytes::Bytes;
use fapi_gateway::telemetry::audit::{chain, handshake_schema, schema};
use http::Request;
use rcgen::PKCS_ED25519;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::chain::{stop, until_lines, write_key};
use super::{Stage, ask};
use crate::support::ORIGIN;
use crate::support::program::Program;

/// The schema that the program prints.
fn published() -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
    let output = command.args(["schema", "--audit"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0));
    serde_json::from_slice(&output.stdout).expect("a schema is JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_that_is_written_is_valid_by_the_published_schema() {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("file:///audit.json", published()).expect("it is a schema");
    let schema = compiler.compile("file:///audit.json", &mut schemas).expect("it is a schema");
    let is_valid = |line: &Value| schemas.validate(line, schema).is_ok();
    for chained in [true, false] {
        let chain = if chained { ", chain: { key: keys/audit.pem }" } else { "" };
        let stage = Stage::start(&format!("destination: audit.jsonl{chain}"), |folder| {
            write_key(folder, &PKCS_ED25519, "audit.pub");
            Program::run(folder)
        })
        .await;
        let mut connection = stage.client.connect().await.unwrap();
        ask(&mut connection).await;
        let refused = Request::get(format!("{ORIGIN}/accounts")).header("user-agent", "a").body(Bytes::new()).unwrap();
        assert_eq!(connection.send(refused).await.unwrap().status(), 401);
        let mut tcp = TcpStream::connect(stage.client.address()).await.unwrap();
        tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let _ = tcp.read(&mut [0; 16]).await;
        until_lines(&stage, "audit.jsonl", if chained { 4 } else { 3 }).await;
        let folder = stop(stage).await;
        let text = fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let events: BTreeSet<&str> = lines.iter().map(|line| line["event"].as_str().unwrap_or("exchange")).collect();
        let expected: &[&str] =
            if chained { &["checkpoint", "exchange", "handshake"] } else { &["exchange", "handshake"] };
        assert_eq!(events.into_iter().collect::<Vec<_>>(), expected);
        for line in &lines {
            let problem = schemas.validate(line, schema).err().map(|error| error.to_string());
            assert_eq!(problem, None, "{line}");
            assert_eq!(line.get("chain").is_some(), chained, "{line}");
            // A line that lacks a member, or has another type, is not valid.
            for (name, value) in line.as_object().unwrap().iter().filter(|(name, _)| *name != "chain") {
                let mut without = line.clone();
                without.as_object_mut().unwrap().remove(name);
                assert!(!is_valid(&without), "without {name}: {line}");
                let mut other = line.clone();
                other[name] = if value.is_array() { Value::Bool(true) } else { Value::Array(Vec::new()) };
                assert!(!is_valid(&other), "another {name}: {line}");
            }
        }
    }
}

#[test]
fn every_member_has_a_name_in_both_common_schemas() {
    fn members(schema: &Value, object: &Value, at: &str, found: &mut BTreeSet<String>) {
        for (name, member) in object["properties"].as_object().expect("an object has properties") {
            found.insert(format!("{at}{name}"));
            let form = member["anyOf"].as_array().and_then(|forms| forms.iter().find(|form| form["type"] != "null"));
            let reference = form.unwrap_or(member)["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/"));
            let inner = reference.map(|name| &schema["$defs"][name]).filter(|inner| inner.get("properties").is_some());
            if let Some(inner) = inner {
                members(schema, inner, &format!("{at}{name}."), found);
            }
        }
    }
    let mut known = BTreeSet::new();
    for schema in [schema(), handshake_schema(), chain::checkpoint_schema()] {
        members(&schema, &schema, "", &mut known);
    }
    assert!(known.contains("confirmation.method") && known.contains("certificate.subject"), "{known:?}");
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operate/siem.md")).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    let named: BTreeSet<String> = rows.iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    assert_eq!(named.len(), rows.len(), "each once");
    assert_eq!(named, known);
    assert!(rows.iter().all(|row| row.len() == 3 && row[1..].iter().all(|cell| cell.starts_with('`'))), "{rows:?}");
}
