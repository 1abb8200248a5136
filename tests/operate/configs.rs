//! gateway.yaml: every invalid file in `tests/configs` causes exactly the problems listed at its top, every key of the
//! format has at least one, and the example at the root of the repository loads.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use fapi::UnixTime;
use fapi::credentials::Scheme;
use fapi::dpop::Nonces;
use fapi::error_format::ErrorFormat;
use fapi::policy::NonceMode;
use fapi::token::{AccessTokenForm, Differences, Dispensable, ScopeForm, TokenType};
use fapi_gateway::config::{Config, ConfigError, ConfigErrors, Outline, schema};
use http::HeaderValue;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use rustix::fs::{CWD, FileType};
use sandbox::tokens::{KeyKind, SigningKey};
use serde_json::Value;

use crate::support::tools::tool;

#[test]
fn every_bad_file_gives_exactly_its_problems() {
    let folder = Folder::with_certificates();
    for (file, text) in bad_files() {
        let mut unmet = expectations(&text);
        assert!(!unmet.is_empty(), "{file} expects nothing");
        let errors = folder.problems(&text);
        for error in errors.errors() {
            match unmet.iter().position(|expected| expected.is_met_by(error, &folder)) {
                Some(place) => drop(unmet.remove(place)),
                None => panic!("{file}: not expected: {}: {}\nin\n{errors}", path_of(error), error.problem),
            }
        }
        assert!(unmet.is_empty(), "{file}: not reported: {unmet:#?}\nin\n{errors}");
    }
}

#[test]
fn without_files_all_that_is_written_is_judged_all_the_same() {
    // The keys that name files, and one whose value has to fit the file of another.
    const OF_FILES: [&str; 21] = [
        // Of `header_files`.
        "*",
        "algorithm",
        "authorization_file",
        "certificate",
        "destination",
        "directory",
        "encrypt_to",
        "file",
        "jwks",
        "key",
        "metadata",
        "nonce_key",
        "password_file",
        "private_key",
        // The algorithm of the key with which responses are signed.
        "response",
        "revocation_lists",
        "seal_key",
        "seal_revocation_lists",
        "seal_trust_anchors",
        "trust_anchors",
        "username_file",
    ];
    let folder = Folder::with_certificates();
    let mut of_files = 0;
    for (file, text) in bad_files() {
        let all = folder.problems(&text);
        let without = Outline::load(&folder.0.join("gateway.yaml"), &environment).err();
        let without = without.as_ref().map_or(&[][..], |errors| errors.errors());
        for error in all.errors().iter().filter(|error| !without.contains(error)) {
            let path = general(&path_of(error));
            let key = path.rsplit('.').next().unwrap_or_default().trim_end_matches("[]");
            assert!(OF_FILES.contains(&key), "{file}: {path}: {}", error.problem);
            of_files += 1;
        }
    }
    assert!(of_files > 40, "control: {of_files} need the files");
}

#[test]
fn every_key_has_a_bad_example() {
    let schema = schema();
    let mut keys = BTreeSet::new();
    collect_keys(&schema, &schema, "", &mut keys);
    assert!(
        keys.contains("listeners[].tls.client_certificates.mode") && keys.contains("upstreams.*.servers"),
        "{keys:?}"
    );
    let named: Vec<String> =
        bad_files().iter().flat_map(|(_, text)| expectations(text)).map(|expected| general(&expected.path)).collect();
    for key in keys {
        let own = |path: &String| *path == key || *path == format!("{key}[]") || path.strip_prefix(&*key) == Some(".*");
        assert!(named.iter().any(own), "no file in tests/configs has a problem with {key}");
    }
}

#[test]
fn every_problem_has_the_line_of_its_key() {
    let folder = Folder::with_certificates();
    for (file, text) in bad_files() {
        let lines: Vec<&str> = text.lines().collect();
        let errors = folder.problems(&text);
        for error in errors.errors().iter().filter(|error| error.file.is_none()) {
            let line = lines.get(error.line.wrapping_sub(1)).unwrap_or_else(|| panic!("{file}: {error:?}"));
            let path = error.path.to_string();
            let key = path.rsplit('.').next().unwrap_or_default().trim_end_matches(['[', ']', '0', '1', '2', '3']);
            let absent = ["is missing", "neither", "are both"].iter().any(|said| error.problem.contains(said));
            let whole = path.is_empty() || path.contains('"');
            assert!(
                absent || whole || line.contains(key) || path.ends_with(']'),
                "{file}: {error:?} is not about {line:?}"
            );
            assert!(error.column >= 1 && error.column <= line.chars().count() + 1, "{file}: {error:?} in {line:?}");
        }
    }
}

#[test]
fn problems_print_in_the_order_of_lines_with_their_number() {
    let folder = Folder::with_certificates();
    let errors = folder.problems("profile: fapi2-security\nlimits:\n  conections: 1\n");
    let file = folder.0.join("gateway.yaml").display().to_string();
    let printed = errors.to_string();
    assert!(
        printed.contains(&format!(
            "{file}:3:3: limits.conections: unknown key `conections`; did you mean `connections`?\n"
        ))
    );
    assert!(printed.contains(&format!("{file}:1:1: listeners: the key is missing; ")), "{printed}");
    assert!(printed.ends_with(&format!("\n4 problems in {file}")), "{printed}");
    assert!(errors.errors().is_sorted_by_key(|error| error.line));
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem() {
    let folder = Folder::with_certificates();
    for path in [folder.0.join("absent.yaml"), folder.0.clone()] {
        let errors = Config::load(&path).err().expect("there is no such file");
        assert!(errors.to_string().contains("the file cannot be read"), "{errors}");
    }
}

#[test]
fn the_example_loads() {
    let folder = Folder::with_certificates();
    let text = example();
    let config = folder.load(&text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((config.listeners.len(), config.issuers.len(), config.upstreams.len()), (1, 4, 1));
    assert_eq!(config.routes.iter().count(), 3);
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.summary().len(), 14, "{:?}", config.summary());
    let files: Vec<&str> = config.certificates.iter().map(|(file, _)| file.as_str()).collect();
    assert_eq!(
        files,
        [
            "keys/ledger.pem",
            "tls/admin.pem",
            "tls/as-ca.pem",
            "tls/client-ca.pem",
            "tls/collector-ca.pem",
            "tls/gateway.pem",
            "tls/operators-ca.pem",
            "tls/redis-ca.pem",
            "tls/server.pem",
            "tls/upstream-ca.pem",
        ]
    );
}

#[test]
fn the_example_has_every_key_once_with_a_comment() {
    let text = example();
    let schema = schema();
    let mut keys = BTreeSet::new();
    collect_keys(&schema, &schema, "", &mut keys);
    let example: Value = serde_yaml::from_str(&text).expect("the example is YAML");
    // The files that it names would be missing.
    assert!(text.contains("\n# include: [routes, "));
    let mut written = BTreeSet::from(["include".to_owned()]);
    collect_written(&example, &schema, &schema, "", &mut written);
    // A waiver in the example would end, a store is in one mode, and the audit has one destination.
    let lines: Vec<&str> = text.lines().collect();
    let comments = ["# waivers:", "# stores:", "# audit:", "# authorization_servers:"];
    for at in (0..lines.len()).filter(|at| comments.iter().any(|comment| lines[*at].starts_with(comment))) {
        let lines: Vec<&str> = lines[at..].iter().map_while(|line| line.strip_prefix("# ")).collect();
        let comment: Value = serde_yaml::from_str(&lines.join("\n")).expect("the comment is YAML");
        collect_written(&comment, &schema, &schema, "", &mut written);
    }
    let lacks: Vec<&String> = keys.difference(&written).collect();
    assert!(lacks.is_empty(), "gateway.yaml lacks the keys {lacks:?}: add each once, with a comment");
    let unknown: Vec<&String> = written.difference(&keys).collect();
    assert!(unknown.is_empty(), "gateway.yaml has {unknown:?}, which the schema does not: correct or remove them");
    for line in text.lines().filter(|line| line.contains(": ") && !line.starts_with('#')) {
        let of_second_route = ["name: health", "path: /health", "methods: [GET]", "upstream: accounts"];
        assert!(
            line.contains(" # ") || of_second_route.iter().any(|text| line.contains(text)),
            "this line of gateway.yaml has no comment: {line}"
        );
    }
}

#[test]
fn what_the_example_calls_default_is_the_default() {
    let folder = Folder::with_certificates();
    let whole = folder.load(&example()).unwrap_or_else(|errors| panic!("{errors}"));
    // Without every line whose comment gives the default and whose value is that default.
    let is_default = |line: &str| {
        let Some((entry, comment)) = line.split_once(" # ") else { return false };
        let Some((_, value)) = entry.trim().trim_start_matches("- ").split_once(": ") else { return false };
        let said = comment.rsplit_once("default ").map(|(_, said)| said);
        said == Some(value.trim())
            || said.is_some_and(|said| {
                ["a tenth of ", "a quarter of ", "four fifths of ", "that of "]
                    .iter()
                    .any(|part| said.starts_with(part))
            })
            || said.is_some_and(|said| said.starts_with("these, with fapi1-advanced "))
    };
    let text = example();
    let (left_out, kept): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| is_default(line));
    assert!(left_out.len() >= 22, "{left_out:#?}");
    let kept = kept.join("\n").replace("\ntoken_cache: ", "\ntoken_cache: {} ").replace("\nlimits: ", "\nlimits: {} ");
    let kept = kept.replace("\n    jwks: ", "\n    jwks: {} ").replace("\n  per_address: ", "\n  # ");
    let of_upstream = "limits:                                   # how much";
    assert!(kept.contains(of_upstream));
    let kept = kept.replace(of_upstream, "limits: {} # how much");
    let kept = kept.replace("\nrate_limits: ", "\nrate_limits: {} ");
    let kept = kept
        .replace("\nreload: ", "\nreload: {} ")
        .replace("\ndrain: ", "\ndrain: {} ")
        .replace("\nlog: ", "\nlog: {} ");
    let bare = folder.load(&kept).unwrap_or_else(|errors| panic!("{errors}\n{kept}"));
    assert_eq!(bare.effective(), whole.effective());
}

#[test]
fn an_rsa_key_that_signs_or_decrypts_too_slowly_is_refused() {
    let folder = Folder::with_certificates();
    let make = |bits: usize| {
        let name = format!("keys/rsa-{bits}.pem");
        let made = tool("openssl")
            .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", &format!("rsa_keygen_bits:{bits}"), "-out"])
            .arg(folder.0.join(&name))
            .output()
            .expect("openssl runs");
        assert!(made.status.success(), "{made:?}");
        name
    };
    let of = |yaml: &str| folder.load(yaml).err().map(|errors| errors.to_string()).unwrap_or_default();
    let signing = |name: &str| of(&format!("{}signing: {{ keys: [{{ private_key: {name} }}] }}\n", minimal()));
    let decrypting = |name: &str| {
        let section = format!(
            ", tokens: introspection, introspection: {{ client_id: gateway, authentication: {{ method: private_key_jwt, \
             private_key: keys/gateway.pem }}, response: jwt, decryption_keys: [{{ private_key: {name} }}] }} }}\nupstreams:"
        );
        of(&minimal().replacen(" }\nupstreams:", &section, 1))
    };
    let (usual, large) = (make(2048), make(4104));
    assert_eq!((signing(&usual), decrypting(&usual)), (String::new(), String::new())); // control
    for (larger, expected) in [
        (signing(&large), "signing.keys[0].private_key: an RSA key of more than 4096 bits takes too long"),
        (
            decrypting(&large),
            "introspection.decryption_keys[0].private_key: the private key cannot be used to decrypt, expected EC P-256, or RSA from 2048 to 4096 bits",
        ),
    ] {
        assert!(larger.contains(expected), "{larger}");
    }
}

#[test]
fn what_signs_is_shown_with_what_is_published_and_a_key_set_that_nobody_can_read_is_warned_of() {
    let folder = Folder::with_certificates();
    let of = |more: &str| {
        let section = "signing: { keys: [{ private_key: keys/signing.pem, key_id: r-2027 }, { private_key: keys/gateway.pem, key_id: r-2028 }] }\n";
        folder.load(&(minimal() + section + more)).unwrap_or_else(|errors| panic!("{errors}"))
    };
    let (without, with) = (of(""), of("admin: { address: 127.0.0.1:9464 }\n"));
    let shown = "signing: r-2027 (ES256) signs; published beside it: r-2028 (ES256)";
    assert!(with.summary().contains(&shown.to_owned()), "{:?}", with.summary());
    let warned =
        |config: &Config| config.warnings.iter().any(|warning| warning.starts_with("signing.keys: nobody can read"));
    assert_eq!((warned(&without), warned(&with)), (true, false));
    assert!(with.effective().contains("algorithm: ES256"), "the algorithm of the key is written out");
}

#[test]
fn the_environment_and_included_files_are_part_of_the_configuration() {
    let folder = Folder::with_certificates();
    let plain = folder.load(&minimal()).unwrap_or_else(|errors| panic!("{errors}")); // control
    let text = minimal().replace("https://api.bank.example", "https://${HOST}");
    assert!(text.contains("[\"https://${HOST}\"]"));
    let config = folder.load(&(text + "limits:\n  connections: ${UNSET:-77}\n"));
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((config.limits.connections, config.summary()), (77, plain.summary()));
    assert!(config.effective().contains("https://api.bank.example") && !config.effective().contains("${"));

    let config = folder.load(&format!("include: [include/more]\n{}", minimal()));
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let names = |config: &Config| config.routes.iter().map(|route| route.name.to_string()).collect::<Vec<_>>();
    assert_eq!(
        (names(&plain), names(&config)),
        (vec!["accounts".into(), "health".into()], vec!["accounts".into(), "health".into(), "payments".into()])
    );
    assert_eq!(config.upstreams.len(), plain.upstreams.len() + 1);
    let read: Vec<PathBuf> = config.files.paths().map(Path::to_owned).collect();
    for part in ["include/more", "include/more/payments.yaml"] {
        assert!(read.contains(&folder.0.join(part)), "a change of {part} is not seen: {read:?}");
    }
    let again = folder.load(config.effective()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((again.effective(), again.summary()), (config.effective(), config.summary()));
}

#[test]
fn a_problem_is_that_of_its_own_file_although_an_entry_before_it_is_taken_out() {
    let folder = Folder::with_certificates();
    folder.write("tls/broken.pem", b"no certificate");
    for (list, place) in [
        ("tls/broken.pem, tls/as-ca.pem", "[0]"), // control
        ("\"${UNSET}\", tls/broken.pem, tls/as-ca.pem", "[1]"),
    ] {
        let broken = minimal().replace("trust_anchors: [tls/client-ca.pem]", &format!("trust_anchors: [{list}]"));
        let errors = folder.problems(&broken);
        let files: Vec<&str> = errors.resources().iter().map(|((_, file), _)| &**file).collect();
        assert_eq!(files, ["tls/broken.pem"], "{errors}");
        let path = errors.errors().last().map(|error| error.path.to_string()).unwrap_or_default();
        assert!(path.ends_with(&format!("trust_anchors{place}")), "{path}");
    }
}

#[test]
fn what_means_itself_stays_so_in_the_effective_configuration() {
    let folder = Folder::with_certificates();
    let audience = minimal().replace("audiences: [\"https://api.bank.example\"]", "audiences: [\"$${HOST}\"]");
    let config = folder.load(&audience).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(*config.issuers[0].expected.audiences, [Box::<str>::from("${HOST}")]);
    let again = folder.load(config.effective()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(again.issuers[0].expected.audiences, config.issuers[0].expected.audiences);
}

#[test]
fn the_effective_configuration_loads_and_is_its_own() {
    let folder = Folder::with_certificates();
    for text in [example(), minimal()] {
        let config = folder.load(&text).unwrap_or_else(|errors| panic!("{errors}"));
        let again = folder.load(config.effective()).unwrap_or_else(|errors| panic!("{errors}\n{}", config.effective()));
        assert_eq!(again.effective(), config.effective());
        assert_eq!(again.summary(), config.summary());
        for secret in ["BEGIN", "null"] {
            assert!(!config.effective().contains(secret), "{}", config.effective());
        }
    }
}

#[test]
fn what_is_not_said_is_the_strict_or_the_documented_choice() {
    let folder = Folder::with_certificates();
    let config = folder.load(&minimal()).unwrap_or_else(|errors| panic!("{errors}"));
    let effective: Value = serde_yaml::from_str(config.effective()).expect("YAML");
    assert_eq!(effective["listeners"][0]["tls"]["client_certificates"]["trust"], "chain");
    assert_eq!(effective["issuers"][0]["name"], "as.bank.example");
    assert_eq!(effective["issuers"][0]["algorithms"], serde_json::json!(["PS256", "ES256", "EdDSA"]));
    assert_eq!(effective["issuers"][0]["jwks"], serde_json::json!({"refresh_interval": "300s", "max_age": "86400s"}));
    assert_eq!(effective["limits"]["header_bytes"], "32KiB");
    let dpop =
        serde_json::json!({"proof_max_age": "60s", "clock_skew": "10s", "nonce": "never", "nonce_lifetime": "60s"});
    assert_eq!(effective["dpop"], dpop);
    assert_eq!(
        effective["replay"],
        serde_json::json!({"store": "memory", "on_failure": "refuse", "max_entries": 1_000_000, "max_entries_per_key": 100_000})
    );
    assert_eq!(effective["rate_limits"], serde_json::json!({"store": "memory", "max_keys": 100_000}));
    assert_eq!(effective["revocations"], serde_json::json!({"store": "memory"}));
    assert_eq!(effective["routes"][0]["rate_limits"], Value::Null);
    assert_eq!((config.freshness.max_age, config.freshness.clock_skew, config.replay.per_key), (60, 10, 100_000));
    assert_eq!(effective["routes"][0]["sender_constraint"], serde_json::json!(["certificate", "dpop"]));
    assert_eq!(effective["routes"][0]["dpop"], serde_json::json!({"nonce": "never"}));
    assert_eq!(
        (&effective["routes"][1]["sender_constraint"], &effective["routes"][1]["dpop"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(effective["routes"][0]["forward"]["access_token"], false);
    assert!(config.admin.is_none());
    let advanced = minimal().replace("fapi2-security", "fapi1-advanced");
    let advanced = folder.load(&advanced).unwrap_or_else(|errors| panic!("{errors}"));
    let effective: Value = serde_yaml::from_str(advanced.effective()).expect("YAML");
    assert_eq!(effective["issuers"][0]["algorithms"], serde_json::json!(["PS256", "ES256"]));
    assert_eq!(effective["routes"][0]["sender_constraint"], serde_json::json!(["certificate"]));
    assert_eq!(effective["routes"][0]["dpop"], Value::Null);
    assert_eq!(senders(&advanced), [(vec![Scheme::Bearer], NonceMode::Never)]);
}

#[test]
fn routes_accept_the_schemes_and_ask_for_the_nonces_that_the_file_says() {
    let folder = Folder::with_certificates();
    let said = |sender_constraint: &str| {
        minimal().replace("upstream: accounts }\n  -", &format!("{sender_constraint}, upstream: accounts }}\n  -"))
    };
    let always = "dpop: { nonce: always, nonce_key: keys/dpop-nonce.key }\n";
    for (text, wanted, line) in [
        (
            minimal(),
            (vec![Scheme::Dpop, Scheme::Bearer], NonceMode::Never),
            "sender_constraint: certificate, dpop; nonce: never",
        ),
        (
            said("sender_constraint: [certificate]"),
            (vec![Scheme::Bearer], NonceMode::Never),
            "sender_constraint: certificate",
        ),
        (
            said("sender_constraint: [dpop]"),
            (vec![Scheme::Dpop], NonceMode::Never),
            "sender_constraint: dpop; nonce: never",
        ),
        (
            said("sender_constraint: [dpop]") + always,
            (vec![Scheme::Dpop], NonceMode::Always),
            "sender_constraint: dpop; nonce: always",
        ),
        (
            said("dpop: { nonce: when_stale }") + always,
            (vec![Scheme::Dpop, Scheme::Bearer], NonceMode::WhenStale),
            "sender_constraint: certificate, dpop; nonce: when_stale",
        ),
        (
            said("sender_constraint: [certificate]") + always,
            (vec![Scheme::Bearer], NonceMode::Never),
            "sender_constraint: certificate",
        ),
    ] {
        let config = folder.load(&text).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(senders(&config), [wanted], "{text}");
        assert!(config.summary().iter().any(|shown| shown.ends_with(&format!("; {line}"))), "{:?}", config.summary());
        assert_eq!(config.warnings, Vec::<String>::new());
    }
}

#[test]
fn a_burst_is_the_number_of_its_rate_unless_it_is_said() {
    let folder = Folder::with_certificates();
    let (limits, of_routes) = (
        "rate_limits: [{ by: client, rate: 600/min }, { by: address, rate: 20/s, burst: 5 }]",
        "scopes: { any: [accounts] },",
    );
    let text = minimal().replacen(of_routes, &format!("{of_routes} {limits},"), 1);
    assert_ne!(text, minimal());
    let config = folder.load(&text).unwrap_or_else(|errors| panic!("{errors}"));
    let shown = "; rate_limits: 600/min by client, burst 600; 20/s by address, burst 5";
    assert!(config.summary().iter().any(|line| line.ends_with(shown)), "{:?}", config.summary());
    let guarantee = |config: &Config| {
        let mut lines = config.summary().iter().filter(|line| line.starts_with("guarantee rate_limits: "));
        lines.next().cloned().unwrap_or_default()
    };
    assert_eq!(guarantee(&config), "guarantee rate_limits: local, in the memory of each process");
    let stores = "stores: { one: { servers: [\"redis://127.0.0.1\"] } }\nrate_limits: { store: one }\n";
    let shared = folder.load(&format!("{text}{stores}")).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(guarantee(&shared), "guarantee rate_limits: shared, in store one; degraded while it does not answer");
    let unlimited = folder.load(&format!("{}{stores}", minimal())).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(guarantee(&unlimited), "", "control: there is none");
    let again = folder.load(config.effective()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((again.effective(), again.summary()), (config.effective(), config.summary()));
    assert_eq!(again.rate_limits, config.rate_limits);
    assert_eq!((config.rate_limits.routes.len(), config.rate_limits.max_keys), (1, 100_000));
}

#[test]
fn check_says_what_a_store_holds_and_warns_of_one_that_holds_nothing() {
    let folder = Folder::with_certificates();
    let stores = "stores: { one: { servers: [\"redis://127.0.0.1\"] }, two: { servers: [\"redis://127.0.0.1:1\"] } }\n";
    let (replay, limits) = ("replay: { store: one }\n", |store: &str| format!("rate_limits: {{ store: {store} }}\n"));
    let unused = |name: &str| format!("stores.{name}: nothing uses this store");
    for (uses, held, unused) in [
        (String::new(), ["nothing", "nothing"], vec![unused("one"), unused("two")]),
        (replay.to_owned(), ["used proofs of all replicas", "nothing"], vec![unused("two")]),
        (limits("two"), ["nothing", "rate limits of all replicas"], vec![unused("one")]),
        (limits("two") + replay, ["used proofs of all replicas", "rate limits of all replicas"], vec![]),
        (limits("one") + replay, ["used proofs and rate limits of all replicas", "nothing"], vec![unused("two")]),
    ] {
        let config = folder.load(&format!("{}{stores}{uses}", minimal())).unwrap_or_else(|errors| panic!("{errors}"));
        let shown: Vec<&String> = config.summary().iter().filter(|line| line.starts_with("store ")).collect();
        let [one, two] = held;
        let wanted =
            [format!("store one: redis://127.0.0.1:6379; {one}"), format!("store two: redis://127.0.0.1:1; {two}")];
        assert_eq!(shown, wanted.iter().collect::<Vec<_>>(), "{uses}");
        assert_eq!(config.warnings.len(), unused.len(), "{uses}: {:?}", config.warnings);
        for (warning, wanted) in config.warnings.iter().zip(unused) {
            assert!(warning.contains(&wanted), "{uses}: {warning}");
        }
        let [replayed, limited] = [config.replay_store, config.rate_limits_store];
        assert_eq!(replayed, uses.contains(replay).then_some(0), "{uses}");
        assert_eq!(limited, uses.contains("rate_limits").then(|| usize::from(uses.contains("two"))), "{uses}");
    }
}

#[test]
fn a_store_of_introspection_answers_is_in_the_summary_and_one_that_shares_nothing_is_a_warning() {
    let folder = Folder::with_certificates();
    let stores = "stores: { shared: { servers: [\"redis://127.0.0.1\"] } }\n";
    let with = |tokens: &str, cache: &str| {
        let section = format!(
            "\"], tokens: {tokens}, introspection: {{ client_id: gateway, authentication: {{ method: private_key_jwt, \
             private_key: keys/gateway.pem }}, cache: {{ {cache} }} }} }}\nupstreams:"
        );
        let text = minimal().replace("\"] }\nupstreams:", &section) + stores;
        folder.load(&text).unwrap_or_else(|errors| panic!("{errors}"))
    };
    let shared = "store: shared, seal_key: secrets/seal.key";
    let config = with("introspection", shared);
    assert_eq!(config.warnings, Vec::<String>::new());
    let holds = "store shared: redis://127.0.0.1:6379; sealed introspection answers of as.bank.example";
    assert!(config.summary().iter().any(|line| line == holds), "{:?}", config.summary());
    let sharing = config.issuers[0].sharing.as_ref().map(|sharing| sharing.store);
    assert_eq!(sharing, Some(0));
    let again = folder.load(config.effective()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((again.effective(), again.summary()), (config.effective(), config.summary()));
    for (tokens, cache, paths) in [
        ("introspection", "max_age: 12s", vec!["stores.shared"]),
        ("introspection", "store: memory", vec!["stores.shared"]),
        ("introspection", &format!("{shared}, max_age: 12s"), vec![]),
        ("introspection", &format!("{shared}, max_age: 11s"), vec!["issuers[0].introspection.cache.store"]),
        ("jwt", shared, vec!["issuers[0].introspection", "stores.shared"]),
    ] {
        let config = with(tokens, cache);
        let places: Vec<&str> =
            config.warnings.iter().filter_map(|warning| Some(warning.split_once(": ")?.0)).collect();
        assert_eq!(places, paths, "{tokens} {cache}: {:?}", config.warnings);
    }
    assert!(with("jwt", shared).issuers[0].sharing.is_none());
}

#[test]
fn nonces_without_a_key_and_a_skew_below_the_profiles_are_warnings() {
    let folder = Folder::with_certificates();
    let warnings = |end: &str| {
        let config = folder.load(&(minimal() + end)).unwrap_or_else(|errors| panic!("{errors}"));
        config
            .warnings
            .iter()
            .filter_map(|warning| Some(warning.split_once(": ")?.0.to_owned()))
            .collect::<Vec<String>>()
    };
    assert!(warnings("dpop: { nonce: never, clock_skew: 10s }").is_empty()); // control
    assert!(warnings("dpop: { nonce: always, nonce_key: keys/dpop-nonce.key }").is_empty());
    assert_eq!(warnings("dpop: { nonce: always }"), ["dpop.nonce_key"]);
    assert_eq!(warnings("dpop: { nonce: when_stale, clock_skew: 9s }"), ["dpop.clock_skew", "dpop.nonce_key"]);
    let text = minimal().replace("upstream: accounts }\n  -", "dpop: { nonce: always }, upstream: accounts }\n  -");
    let config = folder.load(&text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.warnings.len(), 1, "a route alone asks for nonces: {:?}", config.warnings);
    let text = minimal().replace("upstream: accounts }\n  -", "dpop: { nonce: never }, upstream: accounts }\n  -");
    let config = folder.load(&(text + "dpop: { nonce: always }")).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.warnings, Vec::<String>::new(), "no route asks for any");
}

#[test]
fn a_listener_that_fapi_1_leaves_no_suite_of_tls_1_2_is_a_warning() {
    let folder = Folder::with_certificates();
    let warned = |profile: &str| {
        let text = minimal().replace("fapi2-security", profile);
        let config = folder.load(&text).unwrap_or_else(|errors| panic!("{errors}"));
        config.warnings.iter().any(|warning| {
            warning.starts_with("listeners[0].tls.certificate: ") && warning.contains("clients without TLS 1.3")
        })
    };
    assert!(warned("fapi1-advanced"));
    assert!(!warned("fapi2-security"), "control");
    let key = SigningKey::generate(KeyKind::Ps256, "server").private_key_pem();
    let key = KeyPair::from_pem(&key).expect("an RSA key");
    let params = CertificateParams::new(vec!["api.bank.example".to_owned()]).expect("a name");
    folder.write("tls/server.pem", params.self_signed(&key).expect("a certificate").pem().as_bytes());
    folder.write("tls/server-key.pem", key.serialize_pem().as_bytes());
    assert!(!warned("fapi1-advanced"), "an RSA certificate");
}

#[test]
fn cors_that_lets_no_script_send_a_token_is_a_warning() {
    let folder = Folder::with_certificates();
    let warnings = |own: &str, of: &str| {
        let text = minimal();
        let (from, to) = match of {
            "listener" => ("    tls:", format!("    cors: {{ {own} }}\n    tls:")),
            _ => ("scopes: { any: [accounts] },", format!("scopes: {{ any: [accounts] }}, cors: {{ {own} }},")),
        };
        let text = text.replacen(from, &to, 1);
        let config = folder.load(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        let of_headers = config.warnings.iter().filter_map(|warning| warning.split_once(".cors.allowed_headers: "));
        of_headers.map(|(place, _)| place.to_owned()).collect::<Vec<String>>()
    };
    let (some, none) = ("allowed_origins: [\"https://app.example\"]", "allowed_origins: []");
    for (of, place) in [("listener", "listeners[0]"), ("route", "routes[0]")] {
        for good in ["", ", allowed_headers: [authorization, ETag]"] {
            assert_eq!(warnings(&format!("{some}{good}"), of), Vec::<String>::new(), "control: {of} {good}");
        }
        assert_eq!(warnings(&format!("{some}, allowed_headers: [ETag]"), of), [place]);
    }
    assert_eq!(warnings(&format!("{none}, allowed_headers: [ETag]"), "route"), Vec::<String>::new());
}

#[test]
fn a_time_out_of_range_names_a_default_only_where_the_key_has_one() {
    let folder = Folder::with_certificates();
    let problem = |from: &str, to: &str| {
        let errors = folder.problems(&minimal().replacen(from, to, 1));
        errors.errors()[0].problem.clone()
    };
    let introspected = "scopes: { any: [accounts] }, introspection_max_age: 61m,";
    let says = "the time must be from 1ms to 24h";
    for key in ["body_timeout", "response_timeout", "exchange_timeout", "idle_timeout"] {
        let route = format!("scopes: {{ any: [accounts] }}, limits: {{ {key}: 25h }},");
        assert_eq!(problem("scopes: { any: [accounts] },", &route), says, "{key}");
    }
    let own = problem("profile:", "limits: { body_timeout: 25h }\nprofile:");
    assert!(own.starts_with(says) && own.contains("; the default is `"), "control: {own}");
    let text = minimal().replacen("scopes: { any: [accounts] },", introspected, 1);
    let issuer = ", tokens: introspection, introspection: { client_id: gateway, authentication: { method: \
                  private_key_jwt, private_key: keys/gateway.pem } } }";
    let errors = folder.problems(&text.replacen(" }\nupstreams:", &format!("{issuer}\nupstreams:"), 1));
    assert_eq!(errors.errors()[0].problem, "the time must be from 0s to 1h");
}

#[test]
fn a_part_of_the_program_that_does_not_exist_is_a_warning() {
    let folder = Folder::with_certificates();
    let warnings = |level: &str| {
        let text = minimal() + &format!("log: {{ level: \"{level}\" }}\n");
        folder.load(&text).unwrap_or_else(|errors| panic!("{errors}")).warnings
    };
    assert_eq!(warnings("info,fapi_gateway::server=debug"), Vec::<String>::new()); // control
    let warnings = warnings("info,fapi_gatway=debug");
    assert!(warnings.len() == 1 && warnings[0].starts_with("log.level: ") && warnings[0].contains("`fapi_gatway`"));
}

#[test]
fn nonces_are_made_with_the_first_key_of_the_file() {
    let folder = Folder::with_certificates();
    let issued = |config: &Config| config.freshness.nonces.issue(UnixTime(6000)).expect("a nonce");
    let known =
        |config: &Config, nonce: &HeaderValue| config.freshness.nonces.read(nonce.to_str().expect("text")).is_some();
    let load = |key: &[u8]| {
        folder.write("keys/own.key", key);
        let end = "dpop: { nonce: always, nonce_key: keys/own.key, nonce_lifetime: 30s }";
        folder.load(&(minimal() + end)).unwrap_or_else(|errors| panic!("{errors}"))
    };
    let (one, two): ([u8; 32], [u8; 32]) =
        (std::array::from_fn(|place| place as u8), std::array::from_fn(|place| !(place as u8)));
    let expected = Nonces::new(&[one], 30).expect("a key").issue(UnixTime(6000)).expect("a nonce");
    let hex = |key: [u8; 32]| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for file in [one.to_vec(), [one, two].concat(), format!("{}\n{}\n", hex(one), hex(two)).into_bytes()] {
        assert_eq!(issued(&load(&file)), expected);
    }
    assert_ne!(issued(&load(&[two, one].concat())), expected);
    assert!(known(&load(&[two, one].concat()), &expected) && !known(&load(&two), &expected));
    // Without a file the key belongs to the process, so after a reload it still accepts the nonces it has issued.
    let own = folder.load(&minimal()).unwrap_or_else(|errors| panic!("{errors}"));
    let again = folder.load(&minimal()).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(known(&again, &issued(&own)) && !known(&own, &expected));
}

#[test]
fn a_nonce_key_is_never_shown() {
    let folder = Folder::with_certificates();
    let key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    for (file, text) in [("keys/short.key", &key[..62]), ("keys/long.key", &key.repeat(3)), ("keys/good.key", key)] {
        folder.write(file, text.as_bytes());
        let text = minimal() + &format!("dpop: {{ nonce_key: {file} }}");
        let shown = match folder.load(&text) {
            Ok(config) => format!("{} {:?} {:?}", config.effective(), config.summary(), config.freshness),
            Err(errors) => errors.to_string(),
        };
        assert!(
            shown.contains(if file == "keys/good.key" { "nonce_key: keys/good.key" } else { "has no key of 32 bytes" }),
            "{shown}"
        );
        assert!(!shown.contains("2233"), "{shown}");
    }
    let errors = folder.problems(&(minimal() + &format!("dpop: {{ nonce_key: \"{key}\" }}")));
    assert!(!errors.to_string().contains("2233"), "{errors}");
}

#[test]
fn bounds_of_dpop_and_replay_are_good_themselves() {
    let folder = Folder::with_certificates();
    for end in [
        "dpop: { proof_max_age: 1s, clock_skew: 0s, nonce_lifetime: 10s }\nreplay: { max_entries: 1000 }\n",
        "dpop: { proof_max_age: 5m, clock_skew: 1m, nonce_lifetime: 1h }\nreplay: { max_entries: 100000000, max_entries_per_key: 100000000 }\n",
    ] {
        folder.load(&(minimal() + end)).unwrap_or_else(|errors| panic!("{errors}"));
    }
}

#[test]
fn bounds_of_jwks_are_good_themselves() {
    let folder = Folder::with_certificates();
    let entry = "audiences: [\"https://api.bank.example\"] }";
    for (jwks, seconds) in [
        ("{}", (300, 86400)),
        ("{ refresh_interval: 60s, max_age: 120s }", (60, 120)),
        ("{ refresh_interval: 1h, max_age: 2h }", (3600, 7200)),
        ("{ max_age: 7days }", (300, 604_800)),
    ] {
        let text = minimal().replace(entry, &entry.replace(" }", &format!(", jwks: {jwks} }}")));
        assert!(text.contains(jwks));
        let config = folder.load(&text).unwrap_or_else(|errors| panic!("{errors}"));
        let jwks = config.issuers[0].jwks;
        assert_eq!((jwks.refresh_interval.as_secs(), jwks.max_age.as_secs()), seconds);
    }
}

#[test]
fn access_tokens_differ_in_what_the_section_names() {
    let folder = Folder::with_certificates();
    let entry = "audiences: [\"https://api.bank.example\"] }";
    let load = |section: &str, profile: &str| {
        let text = minimal().replace(entry, &entry.replace(" }", &format!(", {section} }}")));
        let config = folder.load(&text.replace("fapi2-security", profile)).unwrap_or_else(|errors| panic!("{errors}"));
        let others = config.warnings.iter().filter(|warning| !warning.starts_with("listeners[0].tls.certificate: "));
        assert_eq!(others.count(), 0, "{section}: {:?}", config.warnings);
        config
    };
    let kind = vec!["Bearer".to_owned(), "DPoP".to_owned()];
    let all = Differences {
        types: &[TokenType::AtJwt, TokenType::Jwt, TokenType::Absent],
        kind: Some(("typ", &kind)),
        client_claim: "azp",
        scope_claim: "scp",
        scope_form: ScopeForm::List,
        may_lack: &[Dispensable::Subject, Dispensable::TokenId],
    };
    let written = "access_token: { typ: [at+jwt, jwt, absent], kind: { claim: typ, is: [Bearer, DPoP] }, client_id: azp, \
                   scope: scp, scope_form: list, may_lack: [sub, jti] }";
    for (section, differences) in [
        ("tokens: jwt", Differences::NONE),
        ("access_token: {}", Differences::NONE),
        ("access_token: { typ: [at+jwt], client_id: client_id, scope: scope, scope_form: string }", Differences::NONE),
        ("access_token: { client_id: cid }", Differences { client_claim: "cid", ..Differences::NONE }),
        (
            "access_token: { kind: { claim: typ, is: [Bearer, DPoP] } }",
            Differences { kind: Some(("typ", &kind)), ..Differences::NONE },
        ),
        (written, all),
    ] {
        for profile in ["fapi2-security", "fapi1-advanced"] {
            let config = load(section, profile);
            let form = AccessTokenForm::new(differences).expect("good differences");
            assert_eq!(config.issuers[0].expected.form, form, "{section} {profile}");
        }
    }
    let (plain, other) = (load("tokens: jwt", "fapi2-security"), load(written, "fapi2-security"));
    let shown = "; access tokens: typ at+jwt or jwt or absent, claim typ Bearer or DPoP, client in azp, scopes in scp, a list, may \
                 lack sub, may lack jti";
    let says = |config: &Config| config.summary().iter().any(|line| line.ends_with(shown));
    assert_eq!((says(&plain), says(&other)), (false, true), "{:?}", other.summary());
    let effective: Value = serde_yaml::from_str(load("access_token: {}", "fapi2-security").effective()).expect("YAML");
    let defaults = serde_json::json!({
        "typ": ["at+jwt"], "client_id": "client_id", "scope": "scope", "scope_form": "string"
    });
    assert_eq!(effective["issuers"][0]["access_token"], defaults);
}

#[test]
fn metadata_is_of_each_origin_unless_it_says_and_a_resource_that_is_no_audience_is_a_warning() {
    let folder = Folder::with_certificates();
    let load = |section: &str| folder.load(&(minimal() + section)).unwrap_or_else(|errors| panic!("{errors}"));
    let documents = |config: &Config| {
        let all = config.metadata.iter().map(|document| document.identifier().as_str().to_owned());
        all.collect::<Vec<_>>()
    };
    let (off, on) = (load(""), load("metadata: {}\n"));
    assert_eq!((documents(&off), off.summary().len()), (vec![], on.summary().len() - 1));
    assert_eq!((documents(&on), &on.warnings), (vec!["https://api.bank.example".to_owned()], &vec![]));
    let line = "metadata https://api.bank.example: at https://api.bank.example/.well-known/oauth-protected-resource; issuers: as.bank.example; scopes: accounts";
    assert!(on.summary().iter().any(|shown| shown == line), "{:?}", on.summary());
    let again = folder.load(on.effective()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((again.effective(), documents(&again)), (on.effective(), documents(&on)));
    let named = load("metadata: { resources: [{ resource: \"https://api.bank.example/accounts\" }] }\n");
    assert_eq!(documents(&named), ["https://api.bank.example/accounts"]);
    assert_eq!(
        named.warnings,
        [
            "issuers[0].audiences: `metadata` tells clients to ask for tokens for `https://api.bank.example/accounts`, which is not in the list, so that tokens with this `aud` are refused; add it, if the issuer issues such tokens"
        ]
    );
}

#[test]
fn the_form_of_errors_is_that_of_the_route_or_else_the_global_one() {
    let folder = Folder::with_certificates();
    let forms = |section: &str, route: &str| {
        let text = minimal().replace("upstream: accounts }", &format!("upstream: accounts{route} }}")) + section;
        let config = folder.load(&text).unwrap_or_else(|errors| panic!("{errors}"));
        let said = config.summary().iter().filter(|line| line.ends_with("; errors: problem")).count();
        let first = config.routes.iter().next().map(|route| route.errors.clone());
        (config.errors.clone(), first, said)
    };
    let (json, problem) = (|| ErrorFormat::Json, || ErrorFormat::Problem);
    assert_eq!(forms("", ""), (json(), Some(json()), 0));
    assert_eq!(forms("errors: problem\n", ""), (problem(), Some(problem()), 2));
    assert_eq!(forms("errors: problem\n", ", errors: json"), (problem(), Some(json()), 0));
    assert_eq!(forms("", ", errors: problem"), (json(), Some(problem()), 2));
}

#[test]
fn an_audience_that_every_token_of_an_issuer_has_is_a_warning() {
    let folder = Folder::with_certificates();
    let warnings = |audience: &str| {
        let text = minimal().replace("audiences: [", &format!("audiences: [\"{audience}\", "));
        folder.load(&text).unwrap_or_else(|errors| panic!("{errors}")).warnings
    };
    for audience in ["accounts", "https://as.bank.example/", "https://as.bank.example/userinfo2"] {
        assert_eq!(warnings(audience), Vec::<String>::new(), "{audience}"); // control
    }
    let way_out = "have the issuer write a value that means this resource alone";
    for (audience, everywhere) in [
        ("account", "tokens for every resource at some issuers, whose account console is called so"),
        ("https://as.bank.example", "tokens for every resource at some issuers, since it is the issuer itself"),
        ("https://as.bank.example/userinfo", "tokens for every resource at some issuers, with the scope `openid`"),
    ] {
        let expected = format!("issuers[0].audiences[0]: `{audience}` is in {everywhere}; {way_out}");
        assert_eq!(warnings(audience), [expected]);
    }
}

#[test]
fn issuers_and_upstreams_that_nothing_uses_are_a_warning_and_no_reason_to_wait() {
    let folder = Folder::with_certificates();
    let load = |text: &str| folder.load(text).unwrap_or_else(|errors| panic!("{errors}"));
    let required = |config: &Config| config.issuers.iter().map(|issuer| issuer.required).collect::<Vec<_>>();
    let second = "issuers:\n  - { name: second, issuer: \"https://second.bank.example\", audiences: [a] }\n";
    let two = minimal().replace("issuers:\n", second);
    let config = load(&two);
    assert_eq!(
        (required(&config), config.warnings),
        (vec![true; 2], vec![]),
        "control: without `issuers` a route has all"
    );
    let optional = load(&two.replace("audiences: [a] }", "audiences: [a], required: false }"));
    assert_eq!((required(&optional), optional.warnings), (vec![false, true], vec![]));

    let name = "as.bank.example";
    let one = two.replace("scopes: {", &format!("issuers: [{name}], scopes: {{"));
    assert_ne!(one, two);
    let config = load(&one);
    assert_eq!(config.warnings, ["issuers[0]: no route uses this issuer"]);
    assert_eq!(required(&config), [false, true]);
    let events =
        "admin: { address: \"127.0.0.1:9464\", revocations: { security_events: [{ issuer: second, audience: a }] } }\n";
    let config = load(&format!("{one}{events}"));
    assert_eq!((required(&config), config.warnings), (vec![true; 2], vec![]), "its security events are accepted");

    let unused = minimal().replace("upstreams:\n", "upstreams:\n  unused: { servers: [\"http://127.0.0.1:1\"] }\n");
    assert_eq!(load(&unused).warnings, ["upstreams.unused: no route uses this upstream"]);
}

#[test]
fn a_store_says_what_it_has_and_nothing_is_a_warning() {
    let folder = Folder::with_certificates();
    let admin = "admin: { address: \"127.0.0.1:9464\", revocations: { max_entries: 7 } }\n";
    for (sections, holds, shared) in [
        ("", "nothing", None),
        ("replay: { store: s }\n", "used proofs of all replicas", None),
        ("revocations: { store: s }\n", "revocations of all replicas", Some((100_000, None))),
        (
            "replay: { store: s }\nrevocations: { store: s, max_entries: 9, max_age: 30s }\n",
            "used proofs and revocations of all replicas",
            Some((9, Some(30))),
        ),
        (&format!("{admin}revocations: {{ store: s }}\n"), "revocations of all replicas", Some((7, None))),
        (
            &format!("{admin}revocations: {{ store: s, max_entries: 8 }}\n"),
            "revocations of all replicas",
            Some((8, None)),
        ),
    ] {
        let store = "stores: { s: { servers: [\"redis://127.0.0.1:6379\"] } }\n";
        let config =
            folder.load(&format!("{}{store}{sections}", minimal())).unwrap_or_else(|errors| panic!("{errors}"));
        let line = format!("store s: redis://127.0.0.1:6379; {holds}");
        assert!(config.summary().contains(&line), "{sections} {:?}", config.summary());
        let warned = config.warnings.iter().any(|warning| warning == "stores.s: nothing uses this store");
        assert_eq!(warned, holds == "nothing", "{sections}");
        let sharing = config.shared_revocations.map(|sharing| {
            assert_eq!(sharing.store, 0);
            (sharing.max_entries, sharing.max_age.map(|age| age.as_secs()))
        });
        assert_eq!(sharing, shared, "{sections}");
    }
}

#[test]
fn a_key_that_others_can_read_is_a_warning() {
    let folder = Folder::with_certificates();
    let warnings = |mode| {
        let key = folder.0.join("tls/server-key.pem");
        fs::set_permissions(key, fs::Permissions::from_mode(mode)).expect("it is ours");
        folder.load(&minimal()).unwrap_or_else(|errors| panic!("{errors}")).warnings
    };
    assert_eq!((warnings(0o600), warnings(0o440)), (vec![], vec![])); // control
    let readable = warnings(0o644);
    assert_eq!(readable.len(), 1, "{readable:?}");
    assert!(
        readable[0].starts_with("listeners[0].tls.private_key: ") && readable[0].contains("chmod o-r"),
        "{readable:?}"
    );
}

#[test]
fn a_secret_that_others_can_replace_is_refused() {
    let folder = Folder::with_certificates();
    let text = format!("{}dpop: {{ nonce: always, nonce_key: keys/dpop-nonce.key }}\n", minimal());
    let mode_of = |name: &str, mode| {
        fs::set_permissions(folder.0.join(name), fs::Permissions::from_mode(mode)).expect("it is ours");
        folder.load(&text).err().map(|errors| errors.to_string()).unwrap_or_default()
    };
    for (name, key) in
        [("tls/server-key.pem", "listeners[0].tls.private_key"), ("keys/dpop-nonce.key", "dpop.nonce_key")]
    {
        let problem = mode_of(name, 0o662);
        assert!(problem.contains(&format!("{key}: ")) && problem.contains("chmod o-w"), "{problem}");
        for mode in [0o660, 0o440, 0o600] {
            assert_eq!(mode_of(name, mode), "", "{mode:o}"); // control
        }
    }
}

#[test]
fn plain_http_to_another_machine_is_a_warning() {
    let folder = Folder::with_certificates();
    let config = folder.load(&minimal().replace("127.0.0.1:8080", "accounts.bank.svc"));
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let about: Vec<&str> = config.warnings.iter().filter_map(|warning| warning.split(": ").next()).collect();
    assert_eq!(about, ["upstreams.accounts.servers[0]"]);
}

#[test]
fn routes_that_need_a_certificate_which_nobody_asks_for_are_a_warning() {
    let folder = Folder::with_certificates();
    let none = minimal().replace("mode: required, trust_anchors: [tls/client-ca.pem]", "mode: none");
    let warnings = |text: &str| folder.load(text).unwrap_or_else(|errors| panic!("{errors}")).warnings;
    let needing = |text: &str| text.replace("scopes: {", "sender_constraint: [certificate], scopes: {");
    assert_eq!(warnings(&none), Vec::<String>::new(), "the route accepts dpop");
    assert_eq!(warnings(&needing(&minimal())), Vec::<String>::new(), "the listener requests a certificate");
    let stuck = warnings(&needing(&none));
    assert_eq!(stuck.len(), 1, "{stuck:?}");
    assert!(
        stuck[0].starts_with("listeners[0].tls.client_certificates: ") && stuck[0].ends_with(": `accounts`"),
        "{stuck:?}"
    );
    let of_fapi1 = warnings(&none.replace("fapi2-security", "fapi1-advanced"));
    let of_accounts = of_fapi1.iter().filter(|warning| warning.ends_with(": `accounts`"));
    assert_eq!(of_accounts.count(), 1, "certificate alone is the default there: {of_fapi1:?}");
    // Another listener requests a certificate; then, only for another host.
    let other = "
  - address: 127.0.0.1:8444
    origins: [\"https://mtls.bank.example\"]
    tls: { certificate: tls/server.pem, private_key: tls/server-key.pem, client_certificates: { mode: optional, trust: possession } }
issuers:";
    let both = needing(&none).replace("\nissuers:", other);
    assert_eq!(warnings(&both), Vec::<String>::new());
    assert_eq!(warnings(&both.replace("scopes: {", "hosts: [api.bank.example], scopes: {")), stuck);
    assert_eq!(warnings(&both.replace("scopes: {", "hosts: [mtls.bank.example], scopes: {")), Vec::<String>::new());
}

#[test]
fn each_listener_that_serves_a_route_which_reads_certificates_and_verifies_none_is_a_warning() {
    let folder = Folder::with_certificates();
    let warnings = |text: &str| folder.load(text).unwrap_or_else(|errors| panic!("{errors}")).warnings;
    let reading = minimal().replace("scopes: {", "require: { certificate: { roles: [PSP_AI] } }, scopes: {");
    let with = |client_certificates: &str| {
        let other = format!(
            "
  - address: 127.0.0.1:8444
    origins: [\"https://other.bank.example\"]
    tls: {{ certificate: tls/server.pem, private_key: tls/server-key.pem, client_certificates: {{ {client_certificates} }} }}
issuers:"
        );
        reading.replace("\nissuers:", &other)
    };
    assert_eq!(warnings(&reading), Vec::<String>::new(), "control");
    let chain = with("mode: required, trust_anchors: [tls/client-ca.pem]");
    assert_eq!(warnings(&chain), Vec::<String>::new(), "control: both verify");
    for client_certificates in ["mode: optional, trust: possession", "mode: none"] {
        let one = with(client_certificates);
        let warned = warnings(&one);
        assert_eq!(warned.len(), 1, "{warned:?}");
        assert!(
            warned[0].starts_with("listeners[1].tls.client_certificates: no chain")
                && warned[0].ends_with(": `accounts`"),
            "{warned:?}"
        );
        let of_hosts = |host: &str| warnings(&one.replace("scopes: {", &format!("hosts: [{host}], scopes: {{")));
        assert_eq!(of_hosts("other.bank.example"), warned);
        assert_eq!(of_hosts("api.bank.example"), Vec::<String>::new(), "it is not served there");
        let neither = one.replace("mode: required, trust_anchors: [tls/client-ca.pem]", client_certificates);
        assert_eq!(warnings(&neither).len(), 2);
        let nothing_read = one.replace("require: { certificate: { roles: [PSP_AI] } }, ", "");
        assert_eq!(warnings(&nothing_read), Vec::<String>::new(), "control");
    }
}

#[test]
fn takes_revocation_lists_in_pem_and_der() {
    let folder = Folder::with_certificates();
    for lists in ["tls/client-ca.crl", "tls/client-ca.der.crl", "tls/client-ca.crl, tls/client-ca.der.crl"] {
        let chain = format!("trust_anchors: [tls/client-ca.pem], revocation_lists: [{lists}]");
        let text = minimal().replace("trust_anchors: [tls/client-ca.pem]", &chain);
        folder.load(&text).unwrap_or_else(|errors| panic!("{errors}"));
    }
}

#[test]
fn the_schema_refuses_unknown_keys_and_asks_for_what_is_required() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["title"], "gateway.yaml");
    assert_eq!(schema["required"], serde_json::json!(["profile", "listeners", "upstreams"]));
    let route = &schema["$defs"]["Route"];
    assert_eq!(route["required"], serde_json::json!(["name", "path", "methods", "upstream"]));
    let mut open = Vec::new();
    walk(&schema, &mut |part| {
        if part.get("properties").is_some() && part["additionalProperties"] != false {
            open.push(part.clone());
        }
        assert_ne!(part["type"], serde_json::json!("null"));
        assert!(part["type"].as_array().is_none_or(|types| !types.contains(&"null".into())), "{part}");
    });
    assert!(open.is_empty(), "{open:#?}");
    let mut undescribed = Vec::new();
    walk(&schema, &mut |part| {
        for (key, value) in part["properties"].as_object().into_iter().flatten() {
            // The two forms of `scopes` repeat the description of the key itself.
            if value.get("description").is_none() && !["all", "any"].contains(&key.as_str()) {
                undescribed.push(key.clone());
            }
        }
    });
    assert!(undescribed.is_empty(), "{undescribed:?}");
}

/// The schemes that each protected route accepts, and when it requires a nonce.
fn senders(config: &Config) -> Vec<(Vec<Scheme>, NonceMode)> {
    config
        .routes
        .iter()
        .filter_map(|route| route.policy())
        .map(|policy| (policy.schemes().to_vec(), policy.nonce()))
        .collect()
}

/// A configuration without the keys that have a default.
fn minimal() -> String {
    r#"profile: fapi2-security
listeners:
  - address: 127.0.0.1:8443
    origins: ["https://api.bank.example"]
    tls:
      certificate: tls/server.pem
      private_key: tls/server-key.pem
      client_certificates: { mode: required, trust_anchors: [tls/client-ca.pem] }
issuers:
  - { issuer: "https://as.bank.example", audiences: ["https://api.bank.example"] }
upstreams:
  accounts: { servers: ["http://127.0.0.1:8080"] }
routes:
  - { name: accounts, path: /accounts/**, methods: [GET], scopes: { any: [accounts] }, upstream: accounts }
  - { name: health, path: /health, methods: [GET], public: true, upstream: accounts }
"#
    .to_owned()
}

fn example() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway.yaml")).expect("the example")
}

fn bad_files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs");
    let mut files: Vec<(String, String)> = fs::read_dir(folder)
        .expect("tests/configs")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| (path.display().to_string(), fs::read_to_string(&path).expect("UTF-8")))
        .collect();
    files.sort();
    assert!(files.len() >= 20);
    files
}

/// What an invalid file says of one of its problems.
#[derive(Debug)]
struct Expected {
    /// Its line, and the included file that it is in.
    place: Option<(usize, Option<String>)>,
    path: String,
    /// Parts of the problem: the cause and the way out, in this order.
    parts: Vec<String>,
}

impl Expected {
    fn is_met_by(&self, error: &ConfigError, folder: &Folder) -> bool {
        let mut rest = error.problem.as_str();
        let said = self.parts.iter().all(|part| match rest.split_once(part.as_str()) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        });
        let file = error.file.as_ref().map(|file| file.strip_prefix(&folder.0).expect("a file of the folder"));
        let there = self
            .place
            .as_ref()
            .is_none_or(|(line, named)| *line == error.line && named.as_deref().map(Path::new) == file);
        said && there && self.path == path_of(error)
    }
}

/// The lines at the top of an invalid file: `# expect: <key path>: <part of the problem>`, or with the line, counted below
/// these comments, and the way out: `# expect 3: <key path>: <cause> ... <way out>`, and `# expect 3 of <included file>: `.
fn expectations(text: &str) -> Vec<Expected> {
    let comments = text.lines().take_while(|line| line.starts_with('#')).count();
    let expected = text.lines().map_while(|line| line.strip_prefix("# expect"));
    let split = |line: &str| {
        let (place, line) = line.split_once(": ").expect("a place");
        let (path, problem) = line.split_once(": ").expect("a key path and a part of the problem");
        let place = place.trim();
        let place = (!place.is_empty()).then(|| match place.split_once(" of ") {
            Some((line, file)) => (line.parse().expect("a line"), Some(file.to_owned())),
            None => (place.parse::<usize>().expect("a line") + comments, None),
        });
        let parts: Vec<String> = problem.split(" ... ").map(str::to_owned).collect();
        assert!(place.is_none() || parts.len() >= 2, "no way out is expected: {line}");
        Expected { place, path: path.to_owned(), parts }
    };
    expected.map(split).collect()
}

fn path_of(error: &ConfigError) -> String {
    let path = error.path.to_string();
    if path.is_empty() { "(file)".to_owned() } else { path }
}

/// The path with every index and every name chosen by the file replaced by a placeholder.
fn general(path: &str) -> String {
    let mut general = String::new();
    for part in path.split('.') {
        let part = part.split_once('[').map_or(part.to_owned(), |(key, _)| format!("{key}[]"));
        let maps = ["upstreams", "error_templates", "stores", "client_keys", "consents", "directories"];
        let chosen = maps.contains(&&*general)
            || general == "directories.*.headers"
            || general.ends_with(".claims")
            || general.ends_with(".header_files")
            || general == "tracing.otlp.resource"
            || general.ends_with(".path_variables");
        general = match (general.is_empty(), chosen) {
            (true, _) => part,
            (false, true) => format!("{general}.*"),
            (false, false) => format!("{general}.{part}"),
        };
    }
    general
}

fn resolve<'s>(part: &'s Value, schema: &'s Value) -> &'s Value {
    match part["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        Some(pointer) => schema.pointer(pointer).expect("a definition"),
        None => part,
    }
}

fn collect_keys(part: &Value, schema: &Value, place: &str, keys: &mut BTreeSet<String>) {
    let part = resolve(part, schema);
    for (key, value) in part["properties"].as_object().into_iter().flatten() {
        let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
        keys.insert(place.clone());
        collect_keys(value, schema, &place, keys);
    }
    if part["items"].is_object() {
        collect_keys(&part["items"], schema, &format!("{place}[]"), keys);
    }
    if part["additionalProperties"].is_object() {
        collect_keys(&part["additionalProperties"], schema, &format!("{place}.*"), keys);
    }
}

/// Collects the keys that `value` contains, with the names of the schema.
fn collect_written(value: &Value, part: &Value, schema: &Value, place: &str, keys: &mut BTreeSet<String>) {
    let part = resolve(part, schema);
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                if let Some(part) = part["properties"].get(key) {
                    let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                    keys.insert(place.clone());
                    collect_written(value, part, schema, &place, keys);
                } else {
                    collect_written(value, &part["additionalProperties"], schema, &format!("{place}.*"), keys);
                }
            }
        }
        Value::Array(entries) => {
            for entry in entries {
                collect_written(entry, &part["items"], schema, &format!("{place}[]"), keys);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn walk(value: &Value, visit: &mut impl FnMut(&Value)) {
    visit(value);
    match value {
        Value::Object(members) => members.values().for_each(|value| walk(value, visit)),
        Value::Array(entries) => entries.iter().for_each(|value| walk(value, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A temporary folder, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    /// Creates a folder with every file that the example and the invalid files name, valid or not.
    fn with_certificates() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("fapi-gateway-configs-{}-{count}", std::process::id()));
        for part in ["tls", "keys", "secrets", "clients", "partners", "resource-servers"] {
            fs::create_dir_all(path.join(part)).expect("a folder");
        }
        let folder = Self(path);
        let authority = CertifiedIssuer::self_signed(authority_params(), key()).expect("an authority");
        for name in ["client-ca", "as-ca", "upstream-ca", "operators-ca", "redis-ca", "collector-ca"] {
            folder.write(&format!("tls/{name}.pem"), authority.pem().as_bytes());
        }
        for name in ["server", "gateway", "admin"] {
            let key = key();
            let params = CertificateParams::new(vec!["api.bank.example".to_owned()]).expect("a name");
            let certificate = params.signed_by(&key, &authority).expect("a certificate");
            folder.write(&format!("tls/{name}.pem"), certificate.pem().as_bytes());
            folder.write(&format!("tls/{name}-key.pem"), key.serialize_pem().as_bytes());
            if name == "server" {
                folder.write_refused(&key, &authority);
            }
        }
        let revoked = revocation_list_params().signed_by(&authority).expect("a list");
        folder.write("tls/client-ca.crl", revoked.pem().expect("PEM").as_bytes());
        folder.write("tls/client-ca.der.crl", revoked.der());
        // RFC 5280 §5.1.2.1: the version is 2, encoded as 1; this list claims to be of version 1.
        let mut old = revoked.der().to_vec();
        let version = old.windows(3).position(|three| three == [2, 1, 1]).expect("a version");
        old[version + 2] = 0;
        folder.write("tls/old.crl", &old);
        let namesake = CertifiedIssuer::self_signed(authority_params(), key()).expect("an authority");
        let forged = revocation_list_params().signed_by(&namesake).expect("a list");
        folder.write("tls/forged.crl", forged.der());
        folder.write("tls/other-key.pem", key().serialize_pem().as_bytes());
        folder.write("tls/cut.pem", b"-----BEGIN CERTIFICATE-----\nMIIB\n");
        folder.write("tls/garbage.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        folder.write("tls/garbage-key.pem", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
        let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        folder.write("tls/encrypted-key.pem", encrypted);
        let key = key();
        let certificate = CertificateParams::new(vec!["gateway".to_owned()]).expect("a name");
        let certificate = certificate.self_signed(&key).expect("a certificate");
        folder.write("secrets/redis-user", b"fapi-gateway\n");
        folder.write("secrets/redis-password", b"correct horse\n");
        folder.write("secrets/collector-authorization", b"Bearer of-the-gateway\n");
        folder.write("secrets/bell", b"\x07\n");
        folder.write("secrets/seal.key", b"1f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0\n");
        folder.write("keys/gateway.pem", key.serialize_pem().as_bytes());
        // The key of RFC 7517 appendix A.1.
        let members = r#"{ "tpp": { "org_id": 1, "keys": [{ "kty": "EC", "crv": "P-256", "kid": "1",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM" }] } }"#;
        folder.write("partners/members.json", members.as_bytes());
        for (name, algorithm) in [
            ("signing", &rcgen::PKCS_ECDSA_P256_SHA256),
            ("audit", &rcgen::PKCS_ECDSA_P256_SHA256),
            ("encryption", &rcgen::PKCS_ECDSA_P256_SHA256),
            ("p384", &rcgen::PKCS_ECDSA_P384_SHA384),
            ("ed25519", &rcgen::PKCS_ED25519),
        ] {
            let key = KeyPair::generate_for(algorithm).expect("a key");
            folder.write(&format!("keys/{name}.pem"), key.serialize_pem().as_bytes());
        }
        folder.write("keys/ledger.pem", certificate.pem().as_bytes());
        folder.write("keys/ledger-key.pem", key.serialize_pem().as_bytes());
        folder.write("keys/pseudonyms.key", b"2f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0\n");
        folder.write("keys/two.key", &[[1; 16], [2; 16], [3; 16], [4; 16]].concat());
        folder.write("keys/dpop-nonce.key", b"0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0\n");
        folder.write("keys/zero.key", &[0; 32]);
        let jwk = r#"{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        folder.write("partners/keys.json", format!(r#"{{"tpp-1":{{"keys":[{jwk}]}}}}"#).as_bytes());
        folder.write("partners/empty.json", b"{}");
        folder.write("keys/evidence.pub.pem", KeyPair::generate().expect("a key").public_key_pem().as_bytes());
        folder.write("partners/no-keys.json", br#"{"tpp-1":{"keys":[]}}"#);
        folder.write_other_forms();
        folder
    }

    /// Writes what is not a file in PEM form, and what is not a file at all, and the files that others include.
    fn write_other_forms(&self) {
        let certificate =
            rcgen::generate_simple_self_signed(vec!["api.bank.example".to_owned()]).expect("a certificate");
        self.write("tls/server.der", certificate.cert.der());
        self.write("tls/server-key.der", &certificate.signing_key.serialize_der());
        // RFC 7292 §4: the beginning of a PFX.
        self.write("tls/server.p12", &[0x30, 0x82, 0x09, 0x10, 2, 1, 3, 0x30, 0x82]);
        self.write("tls/server.jks", &[0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2]);
        let made = rustix::fs::mknodat(CWD, self.0.join("tls/pipe.pem"), FileType::Fifo, 0o600.into(), 0);
        made.expect("a pipe");
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        copy(&tests.join("configs/include"), &self.0.join("include"));
        copy(&tests.join("certificates"), &self.0.join("weak"));
    }

    /// Writes certificates that nobody accepts, each with `server-key.pem`, for the reason in its name.
    fn write_refused(&self, key: &KeyPair, authority: &CertifiedIssuer<'_, KeyPair>) {
        let write = |name: &str, adjust: &dyn Fn(&mut CertificateParams)| {
            let mut params = CertificateParams::new(vec!["api.bank.example".to_owned()]).expect("a name");
            adjust(&mut params);
            let certificate = params.signed_by(key, authority).expect("a certificate");
            self.write(&format!("tls/{name}.pem"), certificate.pem().as_bytes());
        };
        write("expired", &|params| params.not_after = date_time_ymd(2026, 12, 31));
        write("not-yet-valid", &|params| params.not_before = date_time_ymd(2027, 12, 31));
        write("another-name", &|params| {
            params.subject_alt_names =
                CertificateParams::new(vec!["www.bank.example".to_owned()]).expect("a name").subject_alt_names;
        });
        write("common-name", &|params| {
            params.subject_alt_names.clear();
            params.distinguished_name.push(DnType::CommonName, "api.bank.example");
        });
        write("for-clients", &|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
        write("for-servers", &|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
        write("encipherment", &|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]);
        let own = fs::read(self.0.join("tls/server.pem")).expect("it was written");
        self.write("tls/upside-down.pem", &[authority.pem().as_bytes(), &own].concat());
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.0.join(name);
        fs::write(&path, bytes).expect("a file");
        if name.contains("key") || name.starts_with("secrets") {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        }
    }

    fn load(&self, text: &str) -> Result<Config, ConfigErrors> {
        self.write("gateway.yaml", text.as_bytes());
        Config::load_in(&self.0.join("gateway.yaml"), &environment)
    }

    fn problems(&self, text: &str) -> ConfigErrors {
        // 2027-01-15.
        let judged = |config: Config| config.judge(UnixTime(1_800_000_000));
        self.load(text).and_then(judged).err().unwrap_or_else(|| panic!("is good, but should not be:\n{text}"))
    }
}

fn environment(name: &str) -> Option<OsString> {
    (name == "HOST").then(|| "api.bank.example".into())
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).expect("a file");
        }
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn revocation_list_params() -> CertificateRevocationListParams {
    CertificateRevocationListParams {
        this_update: date_time_ymd(2025, 1, 1),
        next_update: date_time_ymd(2125, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    }
}
