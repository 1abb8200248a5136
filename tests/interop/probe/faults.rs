//! Servers with one fault each, by an independent implementation: the probe finds every fault, and none in the right servers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use probe::report::Verdict;
use probe::settings::{Nonce, Revoke, Settings, Write};
use serde_json::{Value, json};

use super::table::{FAULTS, Rows, rows, write, writes};
use super::world::{AUDIENCE, ISSUER, World, found, probed};
use crate::support::Folder;
use crate::support::node::{Script, installed};
use crate::support::tools::tool;

/// The servers, and the world that they are in.
struct Servers {
    world: World,
    ports: BTreeMap<String, u16>,
    _script: Script,
    folder: Folder,
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
            "issuer": ISSUER, "audience": AUDIENCE, "faults": faults, "nonceSeconds": NONCE_SECONDS,
            "jwks": serde_json::from_str::<Value>(&world.jwks()).expect("JSON"),
        });
        let config = world.file("servers.json", &config.to_string());
        let mut script = Script::start(&folder, "servers.mjs", &[&config.to_string_lossy()], &world.path("ca.pem"));
        let ports = script.hear().expect("the servers listen");
        let port = |port: &Value| port.as_u64().and_then(|port| port.try_into().ok()).expect("a port");
        let ports = ports.as_object().expect("an object").iter().map(|(name, value)| (name.clone(), port(value)));
        Self { ports: ports.collect(), world, _script: script, folder }
    }

    /// What each fault is, by its name.
    fn described(&self) -> BTreeMap<String, String> {
        let mut node = tool("node");
        let script = "import { faults } from './faults.mjs'; console.log(JSON.stringify(faults));";
        node.args(["--input-type=module", "--eval", script]).current_dir(self.folder.path());
        let output = node.output().expect("node runs").stdout;
        let faults: BTreeMap<String, Value> = serde_json::from_slice(&output).expect("JSON");
        let line = |fault: &Value| {
            let text = |name: &str| fault[name].as_str().expect("a text").to_owned();
            format!("{} ({})", text("what"), text("clause"))
        };
        faults.iter().map(|(name, fault)| (name.clone(), line(fault))).collect()
    }

    /// What the server of this name claims.
    fn settings(&self, name: &str) -> Settings {
        let mut settings = self.world.settings(self.ports[name]);
        let nonces = name == "none-nonce" || name.starts_with("nonce-");
        settings.claims.nonce = if nonces { Nonce::Always } else { Nonce::Never };
        settings.claims.nonce_lifetime = Some(Duration::from_secs(NONCE_SECONDS));
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

    /// What is found in each of these servers, by some modules or by all.
    fn found_in(&self, wanted: &BTreeMap<String, Vec<String>>) -> BTreeMap<String, Vec<(String, String)>> {
        let left = Mutex::new(wanted.iter());
        let results = Mutex::new(BTreeMap::new());
        // Most of the time they wait: for the end of a token, for the other process.
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    loop {
                        let next = left.lock().expect("not poisoned").next();
                        let Some((name, only)) = next else { break };
                        let found = found(&probed(&self.settings(name), only));
                        results.lock().expect("not poisoned").insert(name.clone(), found);
                    }
                });
            }
        });
        results.into_inner().expect("not poisoned")
    }
}

/// For how long a nonce is good.
const NONCE_SECONDS: u64 = 3;

#[test]
fn right_servers_are_found_right() {
    let servers = Servers::start(json!(["none-nonce", "none-http1", "none-combined-challenge"]));
    let names: Vec<String> = servers.ports.keys().filter(|name| *name != "admin").cloned().collect();
    std::thread::scope(|scope| {
        for name in &names {
            let servers = &servers;
            scope.spawn(move || {
                let report = probed(&servers.settings(name), &[]);
                assert_eq!(found(&report), Vec::new(), "{name}");
                let passed = report.count(Verdict::Pass);
                assert!(passed > 100, "{name}: only {passed} modules had something to look at");
            });
        }
    });
}

/// With `FAPI_GATEWAY_WRITE_DOCS` set, every module is run at each server, which takes minutes, and the table is written.
/// Otherwise those of the table are.
#[test]
fn every_planted_fault_is_found() {
    let servers = Servers::start(json!("all"));
    let described = servers.described();
    if writes() {
        let all = servers.found_in(&described.keys().map(|name| (name.clone(), Vec::new())).collect());
        // A fault can disturb what comes after it: the table has what finds it alone.
        let candidates = all.into_iter().map(|(name, found)| (name, worst_first(found))).collect();
        let row = |(name, found): (String, Vec<(String, String)>)| {
            let modules = found.into_iter().map(|(module, _)| module).collect();
            (name.clone(), (described[&name].clone(), modules))
        };
        write(FAULTS, &servers.found_in(&candidates).into_iter().map(row).collect());
    }
    let table: Rows = rows(FAULTS);
    let told: BTreeMap<&String, &String> = table.iter().map(|(name, (what, _))| (name, what)).collect();
    assert_eq!(told, described.iter().collect(), "the table of docs/probe.md has every fault");
    let wanted: BTreeMap<String, Vec<String>> = table.into_iter().map(|(name, (_, modules))| (name, modules)).collect();
    let missed: Vec<&String> = wanted.iter().filter(|(_, modules)| modules.is_empty()).map(|(name, _)| name).collect();
    assert_eq!(missed, Vec::<&String>::new(), "no module finds these");
    let found = servers.found_in(&wanted);
    let names = |found: &[(String, String)]| found.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let found: BTreeMap<String, Vec<String>> = found.iter().map(|(name, found)| (name.clone(), names(found))).collect();
    assert_eq!(found, wanted);
}

/// The modules that find most clearly what is wrong, in the order of the plan.
fn worst_first(found: Vec<(String, String)>) -> Vec<String> {
    let verdicts = ["fail", "warning", "inconclusive"];
    let clear = verdicts.iter().flat_map(|verdict| found.iter().filter(move |(_, what)| what.starts_with(verdict)));
    clear.map(|(module, _)| module.clone()).take(SHOWN).collect()
}

/// How many of the modules that find a fault stand in the table.
const SHOWN: usize = 3;
