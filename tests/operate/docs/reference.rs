//! Part of each page in docs/reference is generated from the code. The tests compare that part, and rewrite it if
//! `FAPI_GATEWAY_WRITE_DOCS` is 1.

mod requirements;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fapi::UnixTime;
use fapi::authorization_server::ServerProfile;
use fapi::code::Code;
use fapi::profile::{Profile, Rule, Setting};
use fapi::rate_limit::By;
use fapi::revocation::Kind;
use fapi_gateway::clock::Clock;
use fapi_gateway::config;
use fapi_gateway::consents::{Observer as _, Outcome as ConsentOutcome};
use fapi_gateway::issuer::{
    CacheOutcome, CacheSettings, IntrospectionOutcome, Issuers, Observer, RefreshOutcome, SharedOutcome, SharedWrite,
};
use fapi_gateway::resource::Resources;
use fapi_gateway::store::guarantee::{Guarantee, Level};
use fapi_gateway::telemetry::arrivals::Handshake;
use fapi_gateway::telemetry::arrivals::ProxyHeader;
use fapi_gateway::telemetry::directories::DirectoryMetrics;
use fapi_gateway::telemetry::issuers::IssuerMetrics;
use fapi_gateway::telemetry::metrics::{Current, Format, Lost, Metrics, RevocationOutcome};
use serde_json::Value;

use super::{page, pages, program, root, text};
use crate::support::World;

#[test]
fn codes_are_those_of_the_program() {
    let mut table = "| code | status | error | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for code in Code::ALL {
        assert!(!code.meaning().contains('|'), "{code}: the meaning would break the table");
        let error = code.oauth_error().map_or_else(|| "–".to_owned(), |error| format!("`{}`", error.as_str()));
        let _ = writeln!(table, "| `{code}` | {} | {error} | {} |", code.status().as_u16(), code.meaning());
    }
    says("codes.md", &table);
}

#[test]
fn keys_of_gateway_yaml_are_those_of_its_schema() {
    let schema = config::schema();
    let mut out = String::new();
    section(&mut out, &schema, &schema, "", "");
    says("gateway-yaml.md", &out);
}

#[test]
fn rules_of_profiles_are_those_of_the_program() {
    let mut out = String::new();
    let profiles = Profile::ALL.iter().map(|profile| (profile.as_str(), profile.version(), profile.rules()));
    let servers = ServerProfile::ALL.iter().map(|profile| (profile.as_str(), profile.version(), profile.rules()));
    let of_servers = servers.map(|(name, version, rules)| (format!("{name}, authorization servers"), version, rules));
    for (name, version, rules) in
        profiles.map(|(name, version, rules)| (name.to_owned(), version, rules)).chain(of_servers)
    {
        let _ = write!(out, "\n## {name}\n\n{version}.\n\n");
        out.push_str("| rule | says | clause | setting | enforced | codes | waiver |\n| --- | --- | --- | --- | --- | --- | --- |\n");
        for Rule { id, clause, says, setting, enforced, codes, waivable } in rules {
            let setting = match setting {
                Setting::Always => "always".to_owned(),
                Setting::Key(path) => format!("`{path}`"),
            };
            let codes: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
            let codes = if codes.is_empty() { "–".to_owned() } else { codes.join(", ") };
            let waiver = waivable.map_or_else(|| "never".to_owned(), |of| format!("for one {}", of.as_words()));
            let enforced = enforced.as_str();
            let _ = writeln!(out, "| `{id}` | {says} | {clause} | {setting} | {enforced} | {codes} | {waiver} |");
        }
    }
    says("profiles.md", &out);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_those_that_the_program_has() {
    let families = every_family().await;
    let mut table = "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for (name, Family { help, kind, labels }) in &families {
        assert!(!help.contains('|'), "{name}: the help would break the table");
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
        let _ = writeln!(table, "| `{name}` | {kind} | {labels} | {} |", linked(help));
    }
    says("metrics.md", &table);
    // No metric is missing here, and no page mentions one that does not exist.
    let names: BTreeSet<String> = families.into_keys().collect();
    assert_eq!(names_in_source(), names);
    for page_name in pages() {
        let unknown: Vec<String> = words(&page(&page_name)).into_iter().filter(|name| !names.contains(name)).collect();
        assert_eq!(unknown, Vec::<String>::new(), "{page_name}");
    }
    // control
    let found = words("`fapi_gateway_a_total{b=\"c\"}`, fapi_gateway::x, fapi_gateway=debug, fapi_gateway_d");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["fapi_gateway_a_total", "fapi_gateway_d"]);
}

#[test]
fn audit_members_are_those_of_a_line() {
    let schema = fapi_gateway::telemetry::audit::schema();
    let mut table = "| member | type | meaning |\n| --- | --- | --- |\n".to_owned();
    members(&mut table, &schema, &schema, "");
    table.push_str("\n## Handshakes\n\nThe members of the line of a handshake that failed.\n\n");
    table.push_str("| member | type | meaning |\n| --- | --- | --- |\n");
    let schema = fapi_gateway::telemetry::audit::handshake_schema();
    members(&mut table, &schema, &schema, "");
    table.push_str("\n## Checkpoints\n\nThe members of a signed line of a chain.\n\n");
    table.push_str("| member | type | meaning |\n| --- | --- | --- |\n");
    let schema = fapi_gateway::telemetry::audit::chain::checkpoint_schema();
    members(&mut table, &schema, &schema, "");
    says("audit.md", &table);
}

#[test]
fn commands_are_those_of_the_program() {
    let help = |arguments: &[&str]| {
        let output = program(arguments, root());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        let lines: Vec<String> = text(&output.stdout).lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n")
    };
    let whole = help(&["--help"]);
    let names = |help: &str| -> Vec<String> {
        let list = help.split_once("Commands:\n").map_or("", |(_, list)| list);
        let names = list.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
        names.filter(|name| *name != "help").map(str::to_owned).collect()
    };
    let mut out = format!("```text\n{}\n```\n", whole.trim_end());
    assert!(!names(&whole).is_empty(), "there are commands");
    for name in names(&whole) {
        let of_name = help(&[&name, "--help"]);
        let _ = write!(out, "\n## {name}\n\n```text\n{}\n```\n", of_name.trim_end());
        for below in names(&of_name) {
            let of_below = help(&[&name, &below, "--help"]);
            let _ = write!(out, "\n## {name} {below}\n\n```text\n{}\n```\n", of_below.trim_end());
        }
    }
    says("commands.md", &out);
}

/// Compares the generated part of a page, or rewrites it if told to.
fn says(name: &str, made: &str) {
    let path = root().join("docs/reference").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?)));
    let (before, (found, after)) = parts.unwrap_or_else(|| panic!("{name} has no {BEGIN:?} and {END:?}"));
    let expected = format!("\n\n{}\n\n", made.trim());
    if std::env::var(WRITE).is_ok_and(|value| value == "1") {
        std::fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).expect("the page can be written");
        return;
    }
    let differing = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(
        found == expected,
        "docs/reference/{name} is not what the code says ({differing:?}); {WRITE}=1 cargo test --locked docs::reference writes it"
    );
}

const BEGIN: &str = "<!-- made from the code by tests/operate/docs/reference.rs -->";
const END: &str = "<!-- until here -->";
/// The variable that has the tests write what they compare otherwise, if it is 1.
pub const WRITE: &str = "FAPI_GATEWAY_WRITE_DOCS";

// --- gateway.yaml

/// Writes the table of an object's keys, then the tables of the objects in it.
fn section(out: &mut String, schema: &Value, object: &Value, at: &str, description: &str) {
    if !at.is_empty() {
        let depth = at.replace(".*", "").matches('.').count().min(2) + 2;
        let _ = write!(out, "\n{} {at}\n\n{}\n\n", "#".repeat(depth), description);
    }
    out.push_str("| key | type | default | meaning |\n| --- | --- | --- | --- |\n");
    let required: Vec<&str> = strings(&object["required"]);
    let properties = object["properties"].as_object().expect("an object has properties");
    let mut inner = Vec::new();
    for (key, property) in properties {
        let (meaning, said) = meaning_and_default(property);
        let kind = kind_of(schema, property);
        let has_defaults =
            kind.suffix.is_empty() && kind.object.is_some_and(|object| strings(&object["required"]).is_empty());
        let default = match (&property["default"], said) {
            _ if required.contains(&key.as_str()) => "required".to_owned(),
            (Value::Null, Some(said)) => said,
            (Value::Null, None) if has_defaults => "as below".to_owned(),
            (Value::Null, None) => "none".to_owned(),
            (Value::String(text), _) => format!("`{text}`"),
            (value, _) => format!("`{value}`"),
        };
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        let choices = choices(schema, property);
        let _ = writeln!(out, "| `{key}` | {} | {default} | {meaning}{choices} |", kind.text);
        if let Some(object) = kind.object {
            inner.push((format!("{path}{}", kind.suffix), object));
        }
    }
    for (path, object) in inner {
        let description = object["description"].as_str().unwrap_or_default();
        section(out, schema, object, &path, &in_one_line(description));
    }
}

struct Type<'s> {
    text: String,
    /// The object whose keys have a table of their own.
    object: Option<&'s Value>,
    /// What follows the key in the heading of that table.
    suffix: &'static str,
}

impl Type<'_> {
    fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), object: None, suffix: "" }
    }
}

fn kind_of<'s>(schema: &'s Value, value: &'s Value) -> Type<'s> {
    let (name, value) = resolved(schema, value);
    match name {
        Some("Duration") => return Type::plain("duration"),
        Some("Size") => return Type::plain("size"),
        Some("Date") => return Type::plain("day"),
        Some("FilePath") => return Type::plain("file"),
        Some("Scopes") => return Type::plain("list of strings, or `{ all: [...] }`, or `{ any: [...] }`"),
        Some("Scalar") => return Type::plain("string, integer or boolean"),
        Some("Operand") => return Type::plain("string, integer, boolean or object"),
        Some(_) | None => {}
    }
    // A key may be in a token instead, a profile in an ecosystem, and idempotency keys remembered for another time.
    let forms = value["anyOf"].as_array().into_iter().flatten();
    for (form, text) in
        [("InToken", "file, or object"), ("InEcosystem", "choice, or object"), ("IdempotencyKeys", "choice, or object")]
    {
        if let Some((_, object)) = forms.clone().map(|one| resolved(schema, one)).find(|(name, _)| *name == Some(form))
        {
            return Type { text: text.into(), object: Some(object), suffix: "" };
        }
    }
    // One whose keys exclude each other has both.
    if value.get("properties").is_some() {
        return Type { text: "object".into(), object: Some(value), suffix: "" };
    }
    if value.get("oneOf").is_some() || value.get("enum").is_some() {
        return Type::plain("choice");
    }
    let at_least_one = if value["minItems"] == 1 { ", at least one" } else { "" };
    match value["type"].as_str() {
        Some("array") => {
            let entry = kind_of(schema, &value["items"]);
            Type { text: format!("list of {}{at_least_one}", plural(&entry.text)), object: entry.object, suffix: "[]" }
        }
        Some("object") if value["additionalProperties"] == true => Type::plain("object"),
        Some("object") => {
            let entry = kind_of(schema, &value["additionalProperties"]);
            Type { text: format!("{}s by name", entry.text), object: entry.object, suffix: ".*" }
        }
        // In the schema a required file or day is a plain string; no other string has a minimum length, or this pattern.
        Some("string") if value["pattern"].as_str().is_some_and(|pattern| pattern.starts_with("^[0-9]{4}-")) => {
            Type::plain("day")
        }
        Some("string") if value["minLength"] == 1 => Type::plain("file"),
        Some("integer") => Type::plain(format!("integer{}", range_of(value))),
        Some(plain) => Type::plain(plain),
        None => panic!("what is the type of {value}?"),
    }
}

/// "strings, integers or booleans" of "string, integer or boolean".
fn plural(kind: &str) -> String {
    let words = kind.split(' ').map(|word| match word.strip_suffix(',') {
        Some(word) => format!("{word}s,"),
        None if word == "or" => word.to_owned(),
        None => format!("{word}s"),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn range_of(value: &Value) -> String {
    match (value["minimum"].as_u64(), value["maximum"].as_u64()) {
        (Some(least), Some(most)) => format!(", {least} to {most}"),
        (Some(least), None) if least > 0 => format!(", at least {least}"),
        (_, _) => String::new(),
    }
}

/// The choices of an enumeration, each with its meaning.
fn choices(schema: &Value, value: &Value) -> String {
    let (_, value) = resolved(schema, value);
    let (_, value) = if value["type"] == "array" { resolved(schema, &value["items"]) } else { (None, value) };
    let mut text = String::new();
    for choice in value["oneOf"].as_array().into_iter().flatten() {
        if let Some(name) = choice["const"].as_str() {
            let meaning = in_one_line(choice["description"].as_str().expect("a choice has a description"));
            let _ = write!(text, "<br>`{name}`: {}", sentence(&meaning));
        }
    }
    for name in strings(&value["enum"]) {
        let _ = write!(text, "<br>`{name}`");
    }
    text
}

/// A description without the sentence that names the default, and that default.
fn meaning_and_default(property: &Value) -> (String, Option<String>) {
    let description = in_one_line(property["description"].as_str().expect("a key has a description"));
    assert!(!description.contains('|'), "the description would break the table: {description}");
    match description.split_once("Default: ") {
        Some((meaning, default)) => (meaning.trim_end().to_owned(), Some(default.trim_end_matches('.').to_owned())),
        None => (description, None),
    }
}

/// The target of a `$ref`, with its name.
fn resolved<'s>(schema: &'s Value, value: &'s Value) -> (Option<&'s str>, &'s Value) {
    match value["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
        Some(name) => (Some(name), &schema["$defs"][name]),
        None => (None, value),
    }
}

// --- audit

fn members(table: &mut String, schema: &Value, object: &Value, at: &str) {
    for (name, member) in object["properties"].as_object().expect("an object has properties") {
        let meaning = in_one_line(member["description"].as_str().expect("a member has a description"));
        assert!(!meaning.contains('|'), "{name}: the description would break the table");
        let optional = member["type"].as_array().is_some_and(|types| types.contains(&"null".into()))
            || member["anyOf"].as_array().is_some_and(|forms| forms.iter().any(|form| form["type"] == "null"));
        let form = member["anyOf"].as_array().and_then(|forms| forms.iter().find(|form| form["type"] != "null"));
        let (_, value) = resolved(schema, form.unwrap_or(member));
        let kind = match (&value["type"], value.get("oneOf")) {
            (_, Some(_)) => "string",
            (Value::Array(types), None) => types.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap(),
            (kind, None) => kind.as_str().expect("a member has a type"),
        };
        let null = if optional { " or null" } else { "" };
        let _ = writeln!(table, "| `{at}{name}` | {kind}{null} | {meaning}{} |", choices(schema, value));
        if value.get("properties").is_some() {
            members(table, schema, value, &format!("{at}{name}."));
        }
    }
}

// --- metrics

/// A metric in the reference.
pub struct Family {
    pub help: String,
    pub kind: String,
    pub labels: Vec<String>,
}

/// Every metric that the gateway defines itself, by its name.
pub async fn every_family() -> BTreeMap<String, Family> {
    // Metrics that require an issuer whose keys have been read come from a running gateway.
    let world = World::start().await;
    let (status, running) = world.gateway.admin("/metrics").await;
    assert_eq!(status, 200);
    let mut families = families(&running);
    families.append(&mut self::families(&every_metric(Format::Prometheus)));
    families
}

/// The metric families in a Prometheus text, without those of the process collector.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and its help");
            current = name.to_owned();
            families.insert(current.clone(), Family { help: help.to_owned(), kind: String::new(), labels: Vec::new() });
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (_, kind) = rest.split_once(' ').expect("a name and its type");
            families.get_mut(&current).expect("help comes first").kind = kind.to_owned();
        } else if let Some((_, labels)) = line.split_once('{') {
            let labels = labels.split('}').next().unwrap_or_default();
            let names = labels.split("\",").filter_map(|label| label.split_once('=')).map(|(name, _)| name.to_owned());
            families.get_mut(&current).expect("help comes first").labels = names.filter(|name| name != "le").collect();
        }
    }
    families.retain(|name, _| name.starts_with(PREFIX));
    families
}

/// The text of every metric that the gateway defines itself, with one value each.
pub fn every_metric(format: Format) -> String {
    let metrics = Arc::new(Metrics::new().expect("every metric has a name of its own"));
    let _ = metrics.routes(&[Arc::from("r")]);
    let _ = metrics.traffic("l");
    let _ = metrics.rate_limited("r", By::Client);
    let _ = metrics.rate_limit_uses_untold("s");
    metrics.consents("c").asked(ConsentOutcome::Known, Some(Duration::ZERO));
    metrics.begin_shadow("r");
    metrics.begin_signatures("r");
    metrics.upstream("u").observe(Duration::ZERO, None);
    metrics.upstream_failed("u", "connect");
    metrics.upstream_retried("u");
    metrics.arrivals.handshake("l", Handshake::Success, "none");
    metrics.arrivals.proxy_header("listener", ProxyHeader::Client);
    metrics.revocation(Some(Kind::Jti), RevocationOutcome::Recorded);
    metrics.connections("l").inc();
    metrics.reloaded(true);
    let file = [("file.pem".to_owned(), UnixTime(1))];
    metrics.certificates(&file);
    metrics.certificate_problems(&[("file.pem".to_owned(), "expired")].into());
    metrics.revocation_lists(&file);
    metrics.waivers([(["rule", "issuer", ""], UnixTime(1))]);
    let resources = Resources::new(Clock::from_fn(|| Duration::ZERO));
    let observer = IssuerMetrics::new(&metrics, &resources, &[]);
    observer.token_cache("i", CacheOutcome::Hit);
    observer.jwks_refresh("i", RefreshOutcome::Success);
    observer.introspection("i", IntrospectionOutcome::Active, Duration::ZERO);
    observer.shared_answer("i", SharedOutcome::Hit);
    observer.shared_write("i", SharedWrite::Stored);
    let _ = DirectoryMetrics::new(&metrics, &resources, [Arc::from("d")].iter());
    let _ = metrics.replay("memory");
    let _ = metrics.store("s");
    let cache = CacheSettings { max_entries: 1, max_bytes: 1024, max_age: Duration::from_secs(1) };
    let issuers = Issuers::new(Vec::new(), cache, Arc::new(observer)).expect("there is no issuer to reject");
    let current = Current {
        issuers: &issuers,
        directories: vec![("d", Duration::from_secs(1))],
        servers: vec![("u", "healthy", 1)],
        stores: vec![("shared", true)],
        guarantees: vec![Guarantee { name: "replay", level: Level::Local }],
        resources: resources.reports(),
        replay_entries: 0,
        lost: Lost::default(),
        now: UnixTime(1),
    };
    text(&metrics.render(&current, format))
}

/// Every name of a metric that is a string literal of its own in the source.
fn names_in_source() -> BTreeSet<String> {
    fn within(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("a folder of sources").path();
            if path.is_dir() {
                within(&path, names);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(&path).expect("a source");
                names.extend(source.split('"').filter(|part| words(part).contains(*part)).map(str::to_owned));
            }
        }
    }
    let mut names = BTreeSet::new();
    within(&root().join("src"), &mut names);
    names
}

/// Every word that begins like the name of a metric.
fn words(text: &str) -> BTreeSet<String> {
    let word = |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    text.split(PREFIX).skip(1).map(|rest| format!("{PREFIX}{}", word(rest))).collect()
}

const PREFIX: &str = "fapi_gateway_";

/// A help text as a page shows it: the table of codes becomes a link.
fn linked(help: &str) -> String {
    help.replace("the table of codes", "the [codes](codes.md)")
}

// --- text

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A sentence adapted to the middle of another.
fn sentence(text: &str) -> String {
    text.trim_end_matches('.').to_owned()
}
