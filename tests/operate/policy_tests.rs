//! `check --tests`: the tests beside the shipped configurations hold, one that does not is named with what was decided, and a
//! mistake in a file of tests is reported like one in gateway.yaml.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::Folder;

/// What `check` says of these tests, beside the configuration of the repository that has this path.
fn check(config: &Path, tests: &[&Path]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
    command.arg("check").arg("--config").arg(config).args(["--without-files", "--tests"]).args(tests);
    let Output { status, stdout, stderr } = command.env_remove("RUST_LOG").output().expect("the program runs");
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What `check` says of these tests beside the example, and the file that has them.
fn with_tests(text: &str) -> (Option<i32>, String, String) {
    let folder = Folder::new();
    let file = folder.write("some.tests.yaml", text);
    let (code, out, err) = check(&root().join("gateway.yaml"), &[&file]);
    let bare = |text: String| text.replace(&format!("{}/", folder.path().display()), "");
    (code, bare(out), bare(err))
}

const PERMITTED: &str = "\
- name: an account
  given:
    claims: { scope: accounts }
    request: { method: GET, path: /accounts/1 }
  expect: permit
";

#[test]
fn every_configuration_that_is_shipped_has_tests_that_hold_and_reach_all_of_it() {
    let overlays = root().join("deploy/kubernetes/overlays");
    let mut folders =
        vec![root().into(), root().join("deploy/kubernetes/base"), overlays.join("standalone"), overlays.join("bank")];
    let examples = std::fs::read_dir(root().join("deploy/examples")).expect("the examples");
    folders.extend(examples.map(|entry| entry.expect("an example").path()));
    assert!(folders.len() >= 13, "{folders:?}");
    for folder in folders {
        let (code, out, err) = check(&folder.join("gateway.yaml"), &[&folder.join("gateway.tests.yaml")]);
        assert_eq!(code, Some(0), "{}: {out}{err}", folder.display());
        assert!(out.contains(" policy tests hold\n"), "{out}");
        for nothing in ["no test is permitted: none\n", "no test is refused: none\n"] {
            assert!(out.contains(nothing), "{}: {out}", folder.display());
        }
    }
}

#[test]
fn a_test_that_does_not_hold_is_named_with_what_was_decided_and_why() {
    let (code, out, err) = with_tests(PERMITTED);
    assert_eq!((code, out.lines().next()), (Some(0), Some("1 of 1 policy tests hold")), "control: {out}{err}");
    let (code, out, _) = with_tests(&PERMITTED.replace("scope: accounts", "scope: payments"));
    assert_eq!(code, Some(1), "{out}");
    let mut lines = out.lines();
    let first = "some.tests.yaml:1: an account: expected permit, got scope_insufficient: scope is [\"payments\"], the route needs \"accounts\"";
    assert_eq!(lines.next(), Some(first));
    assert_eq!(lines.next(), Some("0 of 1 policy tests hold"));
    let (code, out, _) = with_tests(&PERMITTED.replace("expect: permit", "expect: scope_insufficient"));
    assert_eq!(code, Some(1));
    assert!(out.starts_with("some.tests.yaml:1: an account: expected scope_insufficient, got permit\n"), "{out}");
}

#[test]
fn an_issuer_that_signs_with_what_a_waiver_allows_can_be_tested() {
    let text = std::fs::read_to_string(root().join("gateway.yaml")).expect("gateway.yaml");
    let text = text.replacen("algorithms: [PS256, ES256, EdDSA]", "algorithms: [RS256]", 1);
    let waiver = "waivers: [{ rule: token.algorithms.rs256, issuer: bank, reason: a test, until: 2027-01-31 }]";
    let folder = Folder::new();
    let config = folder.write("gateway.yaml", &format!("{text}\n{waiver}\n"));
    let (code, out, err) = check(&config, &[&folder.write("some.tests.yaml", PERMITTED)]);
    assert_eq!((code, out.lines().next()), (Some(0), Some("1 of 1 policy tests hold")), "{out}{err}");
}

#[test]
fn the_calls_go_through_the_whole_line() {
    let refused = |given: &str, code: &str| {
        let (status, out, err) = with_tests(&format!(
            "{PERMITTED}- name: another\n  like: an account\n  given: {{ {given} }}\n  expect: {code}\n"
        ));
        assert_eq!(status, Some(0), "{given}: {out}{err}");
    };
    refused("binding: certificate", "permit"); // control
    refused("binding: dpop", "permit");
    refused("binding: both", "permit");
    refused("claims: { aud: [\"https://api.bank.example\", other] }", "permit");
    refused("request: { url: \"https://api.bank.example/accounts/2\" }", "permit");
    refused("binding: none", "token_unbound");
    refused("binding: another_certificate", "certificate_mismatch");
    refused("binding: another_key", "dpop_key_mismatch");
    refused("binding: missing_certificate", "certificate_missing");
    refused("binding: missing_proof", "dpop_missing");
    refused("claims: { exp: -1s }", "token_expired");
    refused("claims: { nbf: +1m }", "token_not_yet_valid");
    refused("claims: { aud: other }", "token_audience_mismatch");
    refused("claims: { iss: \"https://other.example\" }", "token_issuer_unknown");
    refused("without: [exp]", "token_claim_missing");
    refused("request: { path: /accounts/..%2f1 }", "path_ambiguous");
    refused("request: { query: access_token=x }", "credentials_repeated");
    refused("request: { headers: { authorization: Basic x } }", "credentials_repeated");
    refused("request: { url: \"https://other.example/accounts/1\" }", "host_unknown");
}

#[test]
fn calls_are_signed_in_the_form_of_their_route() {
    let route = |name: &str, more: &str| {
        format!(
            "  - {{ name: {name}, path: /{name}, methods: [GET, POST], scopes: [accounts], upstream: accounts, signature: {{ request: required, profile: {profile}, {more} }} }}\n",
            profile = name.trim_end_matches("_encrypted")
        )
    };
    let keys = "keys: tpps";
    let routes =
        [("fapi2", keys), ("uk_obie", keys), ("brazil", keys), ("gulf", keys)].map(|(name, more)| route(name, more));
    let encrypted = route("brazil_encrypted", "keys: tpps, decryption_keys: [{ private_key: encryption.pem }]");
    let sealed = route("berlin_group", "seal_trust_anchors: [seals.pem]");
    let config = format!(
        r#"profile: fapi2-security
listeners:
  - address: 127.0.0.1:8443
    origins: ["https://api.bank.example"]
    tls: {{ certificate: server.pem, private_key: key.pem, client_certificates: {{ mode: required, trust_anchors: [ca.pem] }} }}
issuers:
  - {{ name: bank, issuer: "https://as.bank.example", audiences: ["https://api.bank.example"] }}
client_keys: {{ tpps: {{ file: tpps.json }} }}
upstreams:
  accounts: {{ servers: ["http://127.0.0.1:8080"] }}
routes:
{}{encrypted}{sealed}"#,
        routes.concat()
    );
    let folder = Folder::new();
    let config = folder.write("gateway.yaml", &config);
    let decided = |given: &str, request: &str, expected: &str| {
        let test = format!(
            "- name: a call\n  given:\n    claims: {{ scope: accounts, client_id: tpp }}\n    {given}\n    request: {{ {request} }}\n  expect: {expected}\n"
        );
        let (code, out, err) = check(&config, &[&folder.write("some.tests.yaml", &test)]);
        assert_eq!(code, Some(0), "{given} {request}: {out}{err}");
    };
    let body = "method: POST, body: { amount: 1 }";
    for profile in ["fapi2", "uk_obie", "brazil", "gulf", "brazil_encrypted"] {
        decided("signed: true", &format!("path: /{profile}, {body}"), "permit");
        decided("signed: false", &format!("path: /{profile}, {body}"), "signature_missing");
    }
    for profile in ["uk_obie", "brazil", "gulf"] {
        decided("signed: false", &format!("path: /{profile}, method: GET"), "permit");
    }
    decided("signed: false", &format!("path: /berlin_group, {body}"), "signature_missing");
    decided("signed: true", &format!("path: /berlin_group, {body}"), "internal");
}

#[test]
fn a_client_has_the_certificate_that_its_route_asks_for_but_for_what_a_test_says() {
    let route = |ecosystem: &str, path: &str, needs: &str| {
        format!(
            "  - {{ name: {ecosystem}, path: /{ecosystem}{path}, methods: [GET], scopes: [accounts], upstream: accounts, profile: {{ ecosystem: {ecosystem} }}, require: {{ certificate: {needs} }} }}\n"
        )
    };
    let needs = "{ organisation: { claim: /org_id }, software: { claim: /software_id } }";
    let config = format!(
        r#"profile: fapi2-security
listeners:
  - address: 127.0.0.1:8443
    origins: ["https://api.bank.example"]
    tls: {{ certificate: server.pem, private_key: key.pem, client_certificates: {{ mode: optional, trust_anchors: [ca.pem] }} }}
issuers:
  - {{ name: bank, issuer: "https://as.bank.example", audiences: ["https://api.bank.example"] }}
upstreams:
  accounts: {{ servers: ["http://127.0.0.1:8080"] }}
routes:
{}{}{}{}"#,
        route("berlin-group", "/v1/accounts", needs),
        route("uk-obie-4.0", "/aisp", needs),
        route("brazil", "/accounts", needs),
        route("cdr", "", "{ roles: [PSP_PI] }"),
    );
    let folder = Folder::new();
    let config = folder.write("gateway.yaml", &config);
    let uuid = "74e929d9-33b6-4d85-8ba7-c146c867a817";
    let decided = |path: &str, claims: &str, given: &str, expected: &str| {
        let fields = format!(
            "{{ x-request-id: {uuid}, x-fapi-interaction-id: {uuid}, x-v: 1, x-fapi-auth-date: \"Tue, 11 Sep 2012 19:43:31 GMT\" }}"
        );
        let request = format!("{{ method: GET, path: {path}, headers: {fields} }}").replace("x-v: 1", "x-v: \"1\"");
        let test = format!(
            "- name: a call\n  given:\n    claims: {{ scope: accounts{claims} }}\n    {given}\n    request: {request}\n  expect: {expected}\n"
        );
        let (code, out, err) = check(&config, &[&folder.write("some.tests.yaml", &test)]);
        assert_eq!(code, Some(0), "{path} {given}: {out}{err}");
        out
    };
    let provider = format!(", org_id: PSDDE-BAFIN-123456, software_id: {uuid}");
    let participant = format!(", org_id: {uuid}, software_id: {uuid}");
    for (path, claims, other) in [
        ("/berlin-group/v1/accounts", &provider, "PSDFR-ACPR-1"),
        ("/uk-obie-4.0/aisp", &provider, "PSDGB-FCA-1"),
        ("/brazil/accounts", &participant, "OFBBR-10120340-3318-4baf-99e2-0b56729c4ab2"),
    ] {
        decided(path, claims, "binding: certificate", "permit");
        decided(path, claims, "binding: both", "permit");
        decided(path, claims, "binding: dpop", "permit");
        decided(path, claims, "binding: missing_certificate", "certificate_missing");
        let out = decided(
            path,
            claims,
            &format!("certificate: {{ organisation: {other} }}"),
            "certificate_organisation_refused",
        );
        let route = path.trim_start_matches('/').split('/').next().unwrap();
        assert!(
            !out.contains(&format!("{route} require.certificate")) && out.contains("cdr require.certificate"),
            "{out}"
        );
        decided(
            path,
            claims,
            "certificate: { software: other }",
            match path {
                "/brazil/accounts" => "certificate_kind_refused",
                _ => "certificate_organisation_refused",
            },
        );
        decided(path, "", "binding: certificate", "certificate_organisation_refused");
    }
    let roles = |path: &str, claims: &str, roles: &str, expected: &str| {
        decided(path, claims, &format!("certificate: {{ roles: {roles} }}"), expected);
    };
    roles("/berlin-group/v1/accounts", &provider, "[PSP_PI]", "certificate_role_refused");
    roles("/berlin-group/v1/accounts", &provider, "[PSP_PI, PSP_AI]", "permit");
    roles("/uk-obie-4.0/aisp", &provider, "[PSP_IC]", "certificate_role_refused");
    roles("/cdr", "", "[PSP_PI]", "permit");
    roles("/cdr", "", "[PSP_AI]", "certificate_role_refused");
    let test = "- name: a call\n  given:\n    claims: {}\n    certificate: { roles: [PSP_XX] }\n    request: { method: GET, path: /cdr }\n  expect: permit\n";
    let (code, out, err) = check(&config, &[&folder.write("some.tests.yaml", test)]);
    assert_eq!(code, Some(64), "{out}{err}");
    assert!(err.contains("`PSP_XX` is not a role; the choices are `Unspecified`, `PSP_AS`"), "{err}");
}

#[test]
fn what_no_test_reaches_is_listed() {
    let (_, out, _) = with_tests(PERMITTED);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[1], "routes on which no test is permitted: ledger, health");
    for part in
        ["accounts scopes", "accounts sender_constraint", "ledger require.claims", "ledger require.authentication"]
    {
        assert!(lines[2].contains(part), "{part}: {out}");
    }
    assert!(!lines[2].contains("health"), "a public route requires nothing: {out}");
    let refused = PERMITTED.replace("scope: accounts", "scope: other").replace("permit", "scope_insufficient");
    let (code, out, _) = with_tests(&refused);
    assert_eq!(code, Some(0));
    assert!(out.contains("no test is permitted: accounts, ledger, health\n"), "{out}");
    assert!(!out.contains("accounts scopes"), "{out}");
}

#[test]
fn the_time_of_a_call_is_that_of_the_test_in_any_order() {
    let at = |time: &str, expect: &str| {
        let text = PERMITTED.replace("an account", time).replace("scope: accounts", "scope: accounts, exp: 1800000000");
        format!("{}  at: {time}\n", text.replace("permit", expect))
    };
    let (before, after) = ("2027-01-15T07:59:59Z", "2027-01-15T08:00:00Z");
    let text =
        format!("{}{}", at(after, "token_expired"), at(before, "permit").replace("exp:", "iat: 1799999000, exp:"));
    let (code, out, err) = with_tests(&text);
    assert_eq!(code, Some(0), "{out}{err}");
}

#[test]
fn a_route_in_shadow_permits_and_says_what_it_would_refuse() {
    let trial = |end: &str| {
        let claims = "{ scope: ledger, client_id: ledger-trial }";
        let request = "{ method: POST, path: /ledger/1/x }";
        let given = format!("issuer: ledger\n    claims: {claims}\n    request: {request}");
        with_tests(&format!("- name: a trial\n  given:\n    {given}\n{end}"))
    };
    let (code, out, err) = trial("  expect: permit\n  would_deny: client_refused\n  at: 2027-01-31T23:59:59Z\n");
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(err.contains("warning: route ledger: "), "{err}");
    assert!(!out.contains("ledger require.clients"), "the requirement was reached: {out}");
    let (code, out, _) = trial("  expect: permit\n  at: 2027-01-31T23:59:59Z\n");
    assert_eq!(code, Some(1));
    let got = "a trial: expected permit, got permit in shadow, which would be client_refused: ";
    assert!(out.contains(got), "{out}");
    let (code, out, err) = trial("  expect: client_refused\n  at: 2027-02-01\n");
    assert_eq!(code, Some(0), "{out}{err}");
    let (code, _, err) = trial("  expect: client_refused\n  would_deny: client_refused\n");
    assert_eq!(code, Some(64));
    assert!(err.contains("[0].would_deny: only a call that is permitted in shadow has it"), "{err}");
}

#[test]
fn a_mistake_in_a_file_of_tests_has_its_line_and_its_key() {
    for (text, problem) in [
        ("", "some.tests.yaml:1:1: the file has no tests"),
        ("[]", "some.tests.yaml:1:1: the file has no tests"),
        ("name: x", "expected a list"),
        (
            &*PERMITTED.replace("method", "methd"),
            ":4:16: [0].given.request.methd: unknown key `methd`; did you mean `method`?",
        ),
        (&*PERMITTED.replace("given:", "given:\n    binding: tls"), "[0].given.binding: `tls` is not a valid value"),
        (
            &*PERMITTED.replace("permit", "scope_insuficient"),
            ":5:3: [0].expect: `scope_insuficient` is neither a decision nor a code; did you mean `scope_insufficient`?",
        ),
        (&*PERMITTED.replace("  expect: permit\n", ""), ":1:3: [0].expect: the key is missing"),
        (
            &*PERMITTED.replace("path: /accounts/1", "path: accounts"),
            "[0].given.request.path: expected a path that begins with `/`",
        ),
        (&*PERMITTED.replace("path:", "url:"), "[0].given.request.url: expected `https://HOST/PATH`"),
        (
            &*PERMITTED.replace("claims: { scope: accounts }", "binding: dpop"),
            "[0].given.binding: there are no `claims`",
        ),
        (&*PERMITTED.replace("claims: { scope: accounts }", "claims:"), "[0].given.claims: the key has no value"),
        (&*PERMITTED.replace("given:", "given:\n    issuer: bnak"), "[0].given.issuer: no issuer is named `bnak`"),
        (&*format!("{PERMITTED}  at: yesterday\n"), "[0].at: expected a time"),
        (&*format!("{PERMITTED}{PERMITTED}"), "[1].name: a test before it has this name"),
        (
            &*PERMITTED.replace("given:", "like: nobody\n  given:"),
            "[0].like: no test before this one is named `nobody`",
        ),
        (
            &*PERMITTED.replace("given:", "given:\n    without: [scope]"),
            "[0].given.without[0]: `scope` is in `claims` too",
        ),
        (&*PERMITTED.replace("scope: accounts", "scope: &x accounts, sub: *x"), "aliases are not supported"),
    ] {
        let (code, out, err) = with_tests(text);
        assert_eq!(code, Some(64), "{text}: {out}{err}");
        assert!(err.contains(problem), "{text}: no {problem:?} in {err}");
    }
    let missing = root().join("nowhere.tests.yaml");
    let (code, ..) = check(&root().join("gateway.yaml"), &[&missing]);
    assert_eq!(code, Some(74));
}

#[test]
fn several_files_are_one_set_of_tests() {
    let folder = Folder::new();
    let (one, other) = (folder.write("one.yaml", PERMITTED), folder.write("other.yaml", PERMITTED));
    let (code, out, _) = check(&root().join("gateway.yaml"), &[&one, &other]);
    assert!(code == Some(0) && out.starts_with("2 of 2 policy tests hold\n"), "{out}");
    folder.write("one.yaml", "- 1\n");
    folder.write("other.yaml", "- 2\n");
    let (code, _, err) = check(&root().join("gateway.yaml"), &[&one, &other]);
    assert_eq!(code, Some(64));
    assert!(err.contains("one.yaml:1:") && err.contains("other.yaml:1:"), "{err}");
}

#[test]
fn the_page_about_tests_has_every_key() {
    let page = std::fs::read_to_string(root().join("docs/operate/policy-tests.md")).unwrap();
    for key in [
        "name",
        "like",
        "given",
        "expect",
        "would_deny",
        "at",
        "issuer",
        "claims",
        "without",
        "binding",
        "consent",
        "participant",
        "certificate",
        "signed",
        "request",
        "method",
    ] {
        assert!(page.contains(&format!("| `{key}`")), "{key}");
    }
    for key in ["path", "url", "query", "headers", "body"] {
        assert!(page.contains(&format!("`{key}`")), "{key}");
    }
}

#[test]
fn whoever_is_named_is_a_participant_and_whoever_is_not_is_none() {
    let folder = Folder::new();
    let yaml = std::fs::read_to_string(root().join("gateway.yaml")).unwrap();
    let directory = "directories: { ofb: { kind: brazil, url: \"https://directory.example\" } }\nroutes:  ";
    let required = "require: { participant: { directory: ofb, organisation: { claim: /org_id }, roles: [DADOS] } }";
    let route = "    path_characters: strict";
    assert!(yaml.contains("\nroutes:  ") && yaml.contains(route));
    let yaml = yaml.replacen("routes:  ", directory, 1).replacen(route, &format!("    {required}\n{route}"), 1);
    let config = folder.write("gateway.yaml", &yaml);
    let named = PERMITTED.replace("scope: accounts", "scope: accounts, org_id: anybody");
    let unnamed = PERMITTED.replace("an account", "nobody").replace("permit", "participant_unknown");
    let (code, out, err) = check(&config, &[&folder.write("some.tests.yaml", &format!("{named}{unnamed}"))]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(!out.contains("accounts require.participant"), "{out}");
    let (_, out, _) = check(&config, &[&folder.write("some.tests.yaml", &named)]);
    assert!(out.contains("accounts require.participant"), "control: {out}");
}

#[test]
fn au_13_a_participant_is_active_with_every_role_but_for_what_a_test_says() {
    let folder = Folder::new();
    let yaml = std::fs::read_to_string(root().join("gateway.yaml")).unwrap();
    let directory = "directories: { ofb: { kind: brazil, url: \"https://directory.example\" } }\nroutes:  ";
    let route = "    path_characters: strict";
    let decided = |roles: &str, participant: &str, expected: &str| {
        let required =
            format!("require: {{ participant: {{ directory: ofb, organisation: {{ claim: /org_id }}{roles} }} }}");
        let yaml = yaml.replacen("routes:  ", directory, 1).replacen(route, &format!("    {required}\n{route}"), 1);
        let config = folder.write("gateway.yaml", &yaml);
        let test = PERMITTED
            .replace(
                "scope: accounts }",
                &format!("scope: accounts, org_id: anybody }}\n    participant: {participant}"),
            )
            .replace("permit", expected);
        let (code, out, err) = check(&config, &[&folder.write("some.tests.yaml", &test)]);
        assert_eq!(code, Some(0), "{participant}: {out}{err}");
    };
    let roles = ", roles: [DADOS]";
    decided(roles, "active", "permit");
    decided(roles, "inactive", "participant_inactive");
    decided(roles, "unknown", "participant_unknown");
    decided(roles, "without_role", "participant_role_missing");
    decided("", "without_role", "permit");
    let (code, _, err) = with_tests(&PERMITTED.replace("given:", "given:\n    participant: gone"));
    assert_eq!(code, Some(64));
    assert!(err.contains("[0].given.participant: `gone` is not a valid value"), "{err}");
}
