//! `check --profile-report`, and what else tells an operator of waivers: the summary of `check`, the log, and errors.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use fapi::authorization_server::ServerProfile;
use fapi::profile::{Profile, Setting};
use fapi_gateway::config::schema;
use sandbox::pki::Authority;
use serde_json::{Value, json};

use crate::support::program::Program;
use crate::support::{Folder, ORIGIN, Scene, day};

fn check(folder: &Path, options: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
    let command = command.arg("check").args(options).current_dir(folder).env_remove("RUST_LOG");
    let Output { status, stdout, stderr } = command.output().expect("the program runs");
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A folder with a gateway.yaml whose servers do not answer.
fn scene(adjust: impl FnOnce(Scene) -> Scene) -> Folder {
    let authority = Authority::new("Test CA");
    adjust(Scene::new(&authority, "https://localhost:9", "127.0.0.1:9".parse().unwrap())).into_folder()
}

/// The day that is so many days from now.
fn in_days(days: i64) -> String {
    day(sandbox::now().saturating_add_signed(days * 24 * 60 * 60))
}

/// A scene with a waiver for RS256 of its issuer, and one for a route with a profile of its own.
fn waiving(until: &str, more: &str) -> Folder {
    let waivers = format!(
        "waivers:\n  - {{ rule: token.algorithms.rs256, issuer: bank, reason: a move, until: {until}{more} }}\n  - {{ rule: request.auth_date, route: cards, reason: one client, until: {until} }}\n"
    );
    scene(|scene| {
        scene
            .replace("tokens: jwt", "tokens: jwt\n    algorithms: [PS256, RS256]")
            .append("  - { name: cards, path: /cards, methods: [GET], scopes: [accounts], upstream: accounts, profile: fapi1-advanced }\n")
            .append(&waivers)
    })
}

#[test]
fn the_report_has_every_rule_of_the_table_and_nothing_else() {
    let folder = scene(|scene| scene);
    let (code, report, text) = check(folder.path(), &["--profile-report", "--format", "json"]);
    assert_eq!(code, Some(0), "{text}");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let profiles = report["profiles"].as_array().unwrap();
    assert_eq!(profiles.len(), 1);
    let profile = Profile::Fapi2Security;
    assert_eq!(
        (&profiles[0]["profile"], &profiles[0]["version"]),
        (&json!(profile.as_str()), &json!(profile.version()))
    );
    assert_eq!(profiles[0]["routes"], json!(["accounts", "payments"]), "no token comes to a public route");
    let found = profiles[0]["rules"].as_array().unwrap();
    assert_eq!(found.len(), profile.rules().len());
    for (found, rule) in found.iter().zip(profile.rules()) {
        let codes: Vec<&str> = rule.codes.iter().map(|code| code.as_str()).collect();
        let expected = json!({
            "id": rule.id, "clause": rule.clause, "says": rule.says, "setting": rule.setting.to_string(),
            "value": found["value"], "enforced": rule.enforced.as_str(), "codes": codes,
            "waivable": rule.waivable.map(|of| of.as_str()), "waived": false, "waivers": [],
        });
        assert_eq!(*found, expected);
    }
    let value = |id: &str| found.iter().find(|rule| rule["id"] == id).unwrap()["value"].clone();
    assert_eq!(
        (value("proof.age"), value("proof.replay"), value("tls.version")),
        ("60s".into(), "memory".into(), Value::Null)
    );
}

#[test]
fn the_settings_of_rules_are_keys_of_gateway_yaml() {
    fn keys(part: &Value, schema: &Value, place: &str, found: &mut BTreeSet<String>) {
        let part = match part["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
            Some(pointer) => schema.pointer(pointer).expect("a definition"),
            None => part,
        };
        for (key, value) in part["properties"].as_object().into_iter().flatten() {
            let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
            found.insert(place.clone());
            keys(value, schema, &place, found);
        }
        if part["items"].is_object() {
            keys(&part["items"], schema, &format!("{place}[]"), found);
        }
    }
    let (schema, mut known) = (schema(), BTreeSet::new());
    keys(&schema, &schema, "", &mut known);
    assert!(known.contains("issuers[].audiences") && !known.contains("issuers[].nothing"), "control: {known:?}");
    let of_servers = ServerProfile::ALL.iter().flat_map(|profile| profile.rules());
    for rule in Profile::ALL.iter().flat_map(|profile| profile.rules()).chain(of_servers) {
        if let Setting::Key(path) = rule.setting {
            assert!(known.contains(path), "{}: {path}", rule.id);
        }
    }
}

#[test]
fn what_is_waived_is_shown_with_its_reason_and_its_days() {
    let (since, until) = (in_days(-1), in_days(30));
    let folder = waiving(&until, &format!(", since: {since}"));
    let (code, report, text) = check(folder.path(), &["--profile-report", "--format", "json"]);
    assert_eq!(code, Some(0), "{text}");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let names: Vec<&Value> = report["profiles"].as_array().unwrap().iter().map(|one| &one["profile"]).collect();
    assert_eq!(names, ["fapi2-security", "fapi1-advanced"]);
    assert_eq!(report["profiles"][1]["routes"], json!(["cards"]));
    let rule = |profile: usize, id: &str| {
        let rules = report["profiles"][profile]["rules"].as_array().unwrap();
        rules.iter().find(|rule| rule["id"] == id).cloned().unwrap()
    };
    let of_issuer =
        json!([{ "issuer": "bank", "reason": "a move", "since": since, "until": until, "standing": "active" }]);
    for profile in [0, 1] {
        let rule = rule(profile, "token.algorithms.rs256");
        assert_eq!((&rule["waived"], &rule["waivers"]), (&json!(true), &of_issuer));
    }
    let of_route =
        json!([{ "route": "cards", "reason": "one client", "since": null, "until": until, "standing": "active" }]);
    assert_eq!(rule(1, "request.auth_date")["waivers"], of_route);
    for never in ["token.algorithms", "binding.required", "token.audience", "token.signature"] {
        assert_eq!((&rule(0, never)["waivable"], &rule(0, never)["waived"]), (&Value::Null, &json!(false)), "{never}");
    }
    let (_, report, _) = check(folder.path(), &["--profile-report"]);
    for line in [
        format!("  waived for issuer bank since {since} until {until}: a move\n"),
        format!("  waived for route cards until {until}: one client\n"),
        "  waiver: for one route at a time; none\n".to_owned(),
        "  waiver: never\n".to_owned(),
    ] {
        assert!(report.contains(&line), "no {line:?} in\n{report}");
    }
    let (_, summary, _) = check(folder.path(), &[]);
    for line in [
        format!("waiver token.algorithms.rs256: issuer bank; since {since}; until {until}; a move\n"),
        format!("waiver request.auth_date: route cards; until {until}; one client\n"),
    ] {
        assert!(summary.contains(&line), "no {line:?} in\n{summary}");
    }
    let (_, effective, _) = check(folder.path(), &["--print-effective"]);
    assert!(effective.contains(&format!("until: {until}")), "{effective}");
    // A waiver of the future suspends nothing yet.
    let folder = waiving(&until, &format!(", since: {}", in_days(2)));
    let (_, report, _) = check(folder.path(), &["--profile-report"]);
    assert!(report.contains("  not yet waived for issuer bank since "), "{report}");
}

#[test]
fn the_rules_of_authorization_servers_are_a_part_of_their_own() {
    let until = in_days(30);
    let server = |name: &str, origin: &str, more: &str| {
        format!(
            "  - name: {name}\n    issuer: {origin}\n    upstream: accounts\n    endpoints: {{ pushed_authorization_request: /par, authorization: /authorize, token: /as-token }}\n    clients: {{ directory: clients }}\n{more}"
        )
    };
    let enforce = format!("    enforce: {{ shadow: until {until} }}\n");
    let waiver = format!(
        "waivers:\n  - {{ rule: client.assertion_audience, authorization_server: as, reason: a move, until: {until} }}\n"
    );
    let folder = scene(|scene| {
        scene
            .file("clients/none.txt", "")
            .append(&format!("authorization_servers:\n{}{waiver}", server("as", ORIGIN, &enforce)))
    });
    let (code, report, text) = check(folder.path(), &["--profile-report", "--format", "json"]);
    assert_eq!(code, Some(0), "{text}");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let part = &report["authorization_server_profiles"][0];
    let profile = ServerProfile::Fapi2Security;
    assert_eq!(
        (&part["profile"], &part["version"], &part["authorization_servers"]),
        (&json!(profile.as_str()), &json!(profile.version()), &json!(["as"]))
    );
    let rules = part["rules"].as_array().unwrap();
    assert_eq!(rules.len(), profile.rules().len());
    for (found, rule) in rules.iter().zip(profile.rules()) {
        let is_waived = rule.id == "client.assertion_audience";
        assert_eq!((&found["id"], &found["waived"]), (&json!(rule.id), &json!(is_waived)));
        if is_waived {
            let waiver = json!([{ "authorization_server": "as", "reason": "a move", "since": null, "until": until, "standing": "active" }]);
            assert_eq!((&found["waivable"], &found["waivers"]), (&json!("authorization_server"), &waiver));
        }
    }
    let in_shadow = format!("authorization server as: in shadow until {until}");
    assert_eq!(report["shadows"], json!([in_shadow]));
    // No waiver of a server is one of the routes'.
    let of_routes = report["profiles"][0]["rules"].as_array().unwrap();
    assert!(of_routes.iter().all(|rule| rule["waivers"] == json!([])), "{of_routes:?}");
    let (_, report, _) = check(folder.path(), &["--profile-report"]);
    for line in [
        "fapi2-security: FAPI 2.0 Security Profile Final, authorization servers\nauthorization servers: as\n"
            .to_owned(),
        format!("  waived for authorization server as until {until}: a move\n"),
        format!("  {in_shadow}\n"),
    ] {
        assert!(report.contains(&line), "no {line:?} in\n{report}");
    }
    let (_, summary, warnings) = check(folder.path(), &[]);
    let line = format!("waiver client.assertion_audience: authorization server as; until {until}; a move\n");
    assert!(summary.contains(&line), "{summary}");
    assert!(warnings.contains(&format!("{in_shadow}: it refuses nobody for what its profile says")), "{warnings}");
}

#[test]
fn what_a_waiver_needs_of_the_day_is_judged_when_it_is_checked() {
    for (until, says) in [
        (in_days(30), None), // control
        (in_days(365), None),
        (in_days(0), None),
        (in_days(-1), Some("the waiver of `token.algorithms.rs256` ended with `")),
        (in_days(400), Some("is more than a year ahead; write an earlier day")),
    ] {
        let (code, _, text) = check(waiving(&until, "").path(), &[]);
        assert_eq!(code, Some(if says.is_some() { 64 } else { 0 }), "{until}: {text}");
        if let Some(says) = says {
            assert!(text.contains("waivers[0].until: ") && text.contains(says), "{text}");
            assert!(text.contains("waivers[1].until: "), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_says_what_is_waived_and_does_not_come_about_with_a_waiver_that_is_over() {
    let until = in_days(30);
    let folder = waiving(&until, "");
    let mut program = Program::run(&folder);
    for (rule, name) in [("token.algorithms.rs256", "bank"), ("request.auth_date", "cards")] {
        let line = program.says("a rule of the profile is waived");
        for part in ["WARN", rule, name, &until] {
            assert!(line.contains(part), "no {part} in {line}");
        }
    }
    drop(program);
    let folder = waiving(&in_days(-1), "");
    let mut program = Program::run(&folder);
    let lines = program.until_end().join("\n");
    assert!(lines.contains("waivers[0].until: the waiver of `token.algorithms.rs256` ended"), "{lines}");
    assert_eq!(program.ends().await, Some(64));
}

#[test]
fn the_report_of_the_example_reads_as_it_is_kept() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (code, report, text) = check(root, &["--without-files", "--profile-report"]);
    assert_eq!(code, Some(0), "{text}");
    let kept = root.join("tests/operate/profile_report.txt");
    if std::env::var("FAPI_GATEWAY_WRITE_DOCS").is_ok_and(|value| value == "1") {
        std::fs::write(&kept, &report).expect("it can be written");
    }
    let kept = std::fs::read_to_string(&kept).expect("it is kept");
    assert_eq!(report, kept, "FAPI_GATEWAY_WRITE_DOCS=1 cargo test --locked profile_report writes it");
}

#[test]
fn the_report_excludes_other_output() {
    let folder = scene(|scene| scene);
    for options in [
        &["--profile-report", "--print-effective"][..],
        &["--profile-report", "--connect"],
        &["--format", "json"],
        &["--profile-report", "--format", "yaml"],
    ] {
        assert_eq!(check(folder.path(), options).0, Some(2), "{options:?}");
    }
    assert_eq!(check(folder.path(), &["--profile-report", "--format", "text"]).0, Some(0)); // control
}
