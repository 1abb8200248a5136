//! The configurations on the pages for operators are accepted by `check`, each beside the rest of the smallest one; what the
//! threat model names exists; and refusals are as the pages of ecosystems say.

use std::collections::BTreeSet;

use fapi::code::Code;
use fapi::step::Step;
use fapi_gateway::config;
use sandbox::pki::Authority;
use serde::Deserialize;
use serde_json::Value;
use serde_yaml::{Mapping, Value as Yaml};

use super::{code, configuration, page, pages, program, root, rows, scene, text};

/// The pages whose blocks with keys of gateway.yaml are whole, and how many each has.
const PAGES: [(&str, usize); 5] = [
    ("docs/concepts/directories.md", 2),
    ("docs/operate/mesh.md", 1),
    ("docs/operate/proxies.md", 7),
    ("docs/operate/secrets.md", 2),
    ("docs/operate/sizing.md", 1),
];

#[test]
fn configurations_on_pages_are_accepted() {
    let folder = scene();
    let (proxies, server) = (Authority::new("Proxies"), Authority::new("Another").server(&["api.bank.example"]));
    let clients = Authority::new("Clients").pem();
    let both = server.key_pem() + &server.certificate_pem();
    for (name, content) in [
        ("tls/proxies-ca.pem", &proxies.pem()),
        ("proxies-ca/ca.crt", &proxies.pem()),
        ("client-ca/ca.crt", &clients),
        ("tls/tls.crt", &server.certificate_pem()),
        ("tls/tls.key", &server.key_pem()),
        ("secrets/directory", &"Bearer token\n".to_owned()),
        ("secrets/server.pem", &server.certificate_pem()),
        ("secrets/server-key.pem", &server.key_pem()),
        ("vault/server.pem", &both),
    ] {
        folder.write(name, content);
    }
    let check = |configuration: &str| {
        folder.write("gateway.yaml", configuration);
        program(&["check"], folder.path())
    };
    for (name, count) in PAGES {
        let blocks = configurations(&page(name));
        assert_eq!(blocks.len(), count, "{name}");
        for block in blocks {
            let whole = beside_the_smallest(&block);
            let output = check(&whole);
            assert_eq!(output.status.code(), Some(0), "{name}: {}in\n{whole}", text(&output.stderr));
            // control
            let misspelled = whole.replacen("  ", "  x", 1);
            assert_ne!(misspelled, whole, "{name}");
            assert_eq!(check(&misspelled).status.code(), Some(64), "{name}: {misspelled}");
        }
    }
}

/// The blocks of a page whose keys are all keys of gateway.yaml; the others have to be YAML too.
fn configurations(page: &str) -> Vec<Mapping> {
    let schema = config::schema();
    let keys = schema["properties"].as_object().expect("keys");
    let blocks = page.split("\n```yaml\n").skip(1).filter_map(|rest| rest.split_once("\n```"));
    let documents = blocks.flat_map(|(block, _)| {
        serde_yaml::Deserializer::from_str(block)
            .map(move |document| Mapping::deserialize(document).unwrap_or_else(|error| panic!("{error} in\n{block}")))
    });
    let of_gateway = |block: &Mapping| block.keys().all(|key| key.as_str().is_some_and(|key| keys.contains_key(key)));
    documents.filter(of_gateway).collect()
}

/// The smallest configuration with these keys instead of its own; what a volume would have is beside it.
fn beside_the_smallest(block: &Mapping) -> String {
    let mut whole: Mapping = serde_yaml::from_str(&configuration()).expect("YAML");
    for (key, value) in block {
        whole.insert(key.clone(), value.clone());
    }
    serde_yaml::to_string(&Yaml::Mapping(whole)).expect("YAML").replace("/etc/fapi-gateway/", "")
}

#[test]
fn the_threat_model_names_codes_and_steps_that_exist() {
    let page = page("docs/threat-model.md");
    let codes: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let steps: BTreeSet<&str> = Step::ALL.iter().map(|step| step.as_str()).chain(["permit", "–"]).collect();
    let head = "| tries | is stopped at | code | in |";
    let tables = page.matches(head).count();
    assert_eq!(tables, 3);
    let (mut rest, mut named) = (page.as_str(), BTreeSet::new());
    while let Some((_, after)) = rest.split_once(head) {
        for row in rows(&format!("{head}{after}"), head) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            for step in cells[2].split(", ") {
                assert!(steps.contains(step), "{step} in {row}");
            }
            for code in code(cells[3]).into_iter().filter(|word| word.contains('_') && !word.contains('.')) {
                assert!(codes.contains(code.as_str()), "{code} in {row}");
                named.insert(code);
            }
        }
        rest = after;
    }
    assert!(named.len() > 25, "{named:?}");
}

#[test]
fn the_pages_of_ecosystems_have_the_status_and_the_body_of_each_code() {
    let codes: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let pages: Vec<String> = pages().into_iter().filter(|name| name.starts_with("docs/ecosystems/")).collect();
    assert_eq!(pages.len(), 9);
    for name in pages {
        let ecosystem = match name.trim_start_matches("docs/ecosystems/").trim_end_matches(".md") {
            "uk" => "uk-obie-4.0",
            other => other,
        };
        let golden = root().join(format!("crates/fapi/src/ecosystem/golden/{ecosystem}.json"));
        let golden: Value = serde_json::from_slice(&std::fs::read(golden).expect("refusals")).expect("JSON");
        let page = page(&name);
        let head = page.lines().find(|line| line.starts_with("| id | what | by | code | status")).expect("a table");
        let mut judged = 0;
        for row in rows(&page, head) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let (named, told) = (code(cells[4]), cells[5]);
            for refused in named.iter().filter(|word| !word.contains('…')) {
                assert!(codes.contains(refused.as_str()), "{name}: {refused} in {row}");
                let (status, body) = (&golden[refused]["status"], golden[refused]["body"].to_string());
                assert!(told.contains(&status.to_string()), "{name}: {refused} is {status}: {row}");
                let said: Vec<String> = code(told);
                let is_said = said.is_empty() || body == "null" || said.iter().any(|word| body.contains(word.as_str()));
                assert!(is_said, "{name}: {refused} has the body {body}: {row}");
                let numbers: Vec<&str> = told.split([' ', ',']).filter(|word| word.starts_with("U0")).collect();
                let is_numbered = numbers.is_empty() || numbers.iter().any(|number| body.contains(number));
                assert!(is_numbered, "{name}: {refused} has the body {body}: {row}");
                judged += 1;
            }
        }
        assert!(judged > 3, "{name} names {judged} codes");
    }
}
