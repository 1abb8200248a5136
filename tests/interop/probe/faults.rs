//! Servers with one fault each, by an independent implementation: the probe finds every fault, and none in the right servers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use probe::report::Verdict;
use probe::settings::{Nonce, Revoke, Settings, Write};
use serde_json::{Value, json};

use super::world::{AUDIENCE, ISSUER, World, found, probed};
use crate::support::Folder;
use crate::support::node::{Script, installed};

/// The servers, and the world that they are in.
struct Servers {
    world: World,
    ports: BTreeMap<String, u16>,
    _script: Script,
    _folder: Folder,
}

impl Servers {
    fn start(faults: Value) -> Self {
        let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/probe"));
        let scripts = std::fs::read_dir(source).expect("the folder is there");
        let names: Vec<String> = scripts
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.ends_with(".mjs") && !name.starts_with("selfcheck"))
            .collect();
        let folder = installed(source, &names.iter().map(String::as_str).collect::<Vec<_>>());
        let world = World::new();
        let config = json!({
            "certificate": world.path("server.pem"), "key": world.path("server-key.pem"), "clientCa": world.path("ca.pem"),
            "issuer": ISSUER, "audience": AUDIENCE, "faults": faults,
            "jwks": serde_json::from_str::<Value>(&world.jwks()).expect("JSON"),
        });
        let config = world.file("servers.json", &config.to_string());
        let mut script = Script::start(&folder, "servers.mjs", &[&config.to_string_lossy()], &world.path("ca.pem"));
        let ports = script.hear().expect("the servers listen");
        let ports = ports.as_object().expect("an object").iter();
        let ports = ports
            .map(|(name, port)| (name.clone(), port.as_u64().and_then(|port| port.try_into().ok()).expect("a port")));
        Self { ports: ports.collect(), world, _script: script, _folder: folder }
    }

    /// What the server of this name claims.
    fn settings(&self, name: &str) -> Settings {
        let mut settings = self.world.settings(self.ports[name]);
        let nonces = name == "none-nonce" || name.starts_with("nonce-") || name == "cors-nonce-not-exposed";
        settings.claims.nonce = if nonces { Nonce::Always } else { Nonce::Never };
        settings.claims.revocation = Some(Duration::from_millis(500));
        settings.claims.cors = Some("https://app.example".to_owned());
        settings.resource.forbidden = Some("/payments".to_owned());
        settings.writes = true;
        settings.resource.write = Some(Write {
            method: http::Method::POST,
            path: "/accounts".to_owned(),
            content_type: "application/json".to_owned(),
            body: b"{}".to_vec(),
        });
        settings.revoke = Some(Revoke::Post {
            url: format!("http://127.0.0.1:{}/revoke", self.ports["admin"]).parse().expect("a URL"),
            content_type: "application/json".to_owned(),
            body: "{\"jti\":\"{jti}\"}".to_owned(),
        });
        settings
    }
}

#[test]
fn right_servers_are_found_right() {
    let servers = Servers::start(json!(["none-nonce", "none-http1", "none-combined-challenge"]));
    for name in servers.ports.keys().filter(|name| *name != "admin") {
        let report = probed(&servers.settings(name), &[]);
        assert_eq!(found(&report), Vec::new(), "{name}");
        let passed = report.count(Verdict::Pass);
        assert!(passed > 100, "{name}: only {passed} modules had something to look at");
    }
}

#[test]
fn every_planted_fault_is_found() {
    let servers = Servers::start(json!("all"));
    let names: Vec<&String> =
        servers.ports.keys().filter(|name| *name != "admin" && !name.starts_with("none")).collect();
    let left = Mutex::new(names.iter());
    let results = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                loop {
                    let Some(name) = left.lock().expect("not poisoned").next() else { break };
                    let report = probed(&servers.settings(name), &[]);
                    results.lock().expect("not poisoned").insert((*name).clone(), found(&report));
                }
            });
        }
    });
    let results = results.into_inner().expect("not poisoned");
    for (name, found) in &results {
        println!("{name}:");
        for (module, what) in found {
            println!("    {module}: {}", what.chars().take(300).collect::<String>());
        }
    }
    let missed: Vec<&String> = results.iter().filter(|(_, found)| found.is_empty()).map(|(name, _)| name).collect();
    assert_eq!(missed, Vec::<&String>::new());
}
