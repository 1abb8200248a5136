//! The public suites for certification path validation, judged by the rule with which the gateway judges client
//! certificates: NIST PKITS and x509-limbo.
//!
//! The suites are not part of the repository. `FAPI_GATEWAY_PKITS` names the folder `PKITS_data` of the Python package
//! `cryptography_vectors`, `FAPI_GATEWAY_X509_LIMBO` the file `limbo.json` of C2SP/x509-limbo; one that is not named is
//! left out, and one that cannot be read is an error. `docs/reference/certificates.md` has what is right, what is wrong
//! and why; this program compares it, and writes it if `FAPI_GATEWAY_WRITE_DOCS` is set.

#![allow(missing_docs, clippy::unwrap_used, reason = "a suite that cannot be read may panic")]

mod results;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use fapi::UnixTime;
use fapi::path_validation::Name;
use fapi_gateway::connection::tls::{
    ExtendedKeyUsage, ForwardedRule, OnExpired, RevocationList, Trust, install_provider, trust_anchor,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

/// One chain and what is expected of it.
struct Case {
    name: String,
    accept: bool,
    anchors: Vec<CertificateDer<'static>>,
    /// The leaf first.
    chain: Vec<CertificateDer<'static>>,
    lists: Vec<CertificateRevocationListDer<'static>>,
    extended_key_usage: ExtendedKeyUsage,
    now: UnixTime,
}

impl Case {
    /// Why the gateway refuses it; `None` if it does not.
    fn refusal(&self) -> Option<String> {
        let mut anchors = RootCertStore::empty();
        for anchor in &self.anchors {
            match trust_anchor(anchor) {
                Some(anchor) => anchors.roots.push(anchor),
                None => return Some("its trust anchor cannot be used".to_owned()),
            }
        }
        let lists: Result<Vec<_>, _> =
            self.lists.iter().map(|list| RevocationList::from_der(list, &self.anchors)).collect();
        let revocation_lists = match lists {
            Ok(lists) => lists,
            Err(error) => return Some(format!("a revocation list cannot be used: {error}")),
        };
        let rule = ForwardedRule::new(&Trust::Chain {
            anchors: Arc::new(anchors),
            extended_key_usage: self.extended_key_usage,
            revocation_lists,
            on_expired: OnExpired::Refuse,
        });
        rule.judge(&self.chain, self.now).err().map(str::to_owned)
    }
}

/// Why the gateway differs from a suite, by the beginning of the names of the cases.
type Explained = [(&'static str, &'static str)];

/// A suite, and why the gateway differs from it.
struct Suite {
    title: &'static str,
    version: &'static str,
    cases: Vec<Case>,
    explained: &'static Explained,
}

fn main() -> ExitCode {
    install_provider().unwrap();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/certificates.md");
    let old = std::fs::read_to_string(&page).unwrap_or_default();
    let mut text = INTRODUCTION.to_owned();
    let mut good = true;
    for (variable, title, read) in [
        ("FAPI_GATEWAY_PKITS", "NIST PKITS", pkits as fn(&Path) -> Suite),
        ("FAPI_GATEWAY_X509_LIMBO", "x509-limbo", limbo),
    ] {
        match std::env::var_os(variable) {
            Some(path) => {
                let (section, explained) = judge(&read(Path::new(&path)));
                text += &section;
                good &= explained;
            }
            None => {
                println!("{title} is left out: {variable} is not set");
                let heading = format!("\n## {title}\n");
                let kept = old.split_once(&heading).map(|(_, rest)| rest.split("\n## ").next().unwrap_or_default());
                write!(text, "{heading}{}", kept.unwrap_or_default()).unwrap();
            }
        }
    }
    let text = format!("{}\n", text.trim_end());
    if std::env::var_os("FAPI_GATEWAY_WRITE_DOCS").is_some() {
        std::fs::write(&page, &text).unwrap();
    } else if text != old {
        println!("docs/reference/certificates.md is not what the suites say now; it would be:\n\n{text}");
        good = false;
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns the section of the page, and whether every difference is explained.
fn judge(suite: &Suite) -> (String, bool) {
    let mut counts = [0_u32; 4];
    let mut wrong: BTreeMap<(bool, &str), Vec<String>> = BTreeMap::new();
    let mut all_explained = true;
    let mut unused = suite.explained.to_vec();
    for case in &suite.cases {
        let refusal = case.refusal();
        match (case.accept, &refusal) {
            (true, None) => counts[0] += 1,
            (false, Some(_)) => counts[1] += 1,
            (true, Some(_)) => counts[2] += 1,
            (false, None) => counts[3] += 1,
        }
        if case.accept != refusal.is_none() {
            let found = suite.explained.iter().find(|(name, _)| case.name.starts_with(name));
            unused.retain(|(name, _)| found.is_none_or(|(used, _)| used != name));
            if found.is_none() {
                println!("{}: {}: not explained: {refusal:?}", suite.title, case.name);
                all_explained = false;
            }
            wrong.entry((!case.accept, found.map_or("", |(_, why)| why))).or_default().push(case.name.clone());
        }
    }
    for (name, why) in unused {
        println!("{}: nothing differs that begins with {name}, where {why}", suite.title);
        all_explained = false;
    }
    let total: u32 = counts.iter().sum();
    println!(
        "{}: {} right, {} accepted wrongly, {} refused wrongly",
        suite.title,
        counts[0] + counts[1],
        counts[3],
        counts[2]
    );
    assert!(total > 0, "{} has no cases", suite.title);
    let result =
        json!({ "version": suite.version, "cases": total, "right": counts[0] + counts[1], "page": "certificates.md" });
    results::write(suite.title, &result);
    let mut text = format!(
        "\n## {}\n\n| cases | right: accepted | right: refused | differs: accepted | differs: refused |\n| --- | --- | --- | --- | --- |\n| {total} | {} | {} | {} | {} |\n",
        suite.title, counts[0], counts[1], counts[3], counts[2]
    );
    for (accepted, heading) in [(true, "Accepted"), (false, "Refused")] {
        let rows = wrong.iter().filter(|((found, _), _)| *found == accepted);
        let rows: Vec<String> =
            rows.map(|((_, why), cases)| format!("| {why} | {} | {} |\n", cases.len(), cases.join(", "))).collect();
        if !rows.is_empty() {
            write!(text, "\n{heading}, where the suite expects the opposite:\n\n| why | count | cases |\n| --- | --- | --- |\n{}", rows.concat()).unwrap();
        }
    }
    (text, all_explained)
}

/// The cases of PKITS are told by the names of its files; each chain is found by the names of the authorities.
fn pkits(folder: &Path) -> Suite {
    let read = |folder: &Path| -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
            .collect();
        files.sort();
        files
    };
    let certificates = read(&folder.join("certs"));
    let lists = read(&folder.join("crls"));
    let (anchors, authorities): (Vec<_>, Vec<_>) = certificates
        .iter()
        .filter(|(file, _)| !file.ends_with("EE"))
        .partition(|(file, _)| file == "TrustAnchorRootCertificate");
    let anchor = &anchors.first().expect("PKITS has a trust anchor").1;
    let cases = certificates.iter().filter(|(file, _)| file.ends_with("EE")).map(|(file, leaf)| {
        let mut chain = vec![leaf];
        let mut issuers = vec![Name::of(parsed(anchor).subject())];
        let mut place = 0;
        while let Some(certificate) = chain.get(place) {
            let certificate = parsed(certificate);
            for (_, authority) in &authorities {
                if issued(&parsed(authority), &certificate) && !chain.contains(&authority) {
                    chain.push(authority);
                }
            }
            issuers.push(Name::of(certificate.issuer()));
            place += 1;
        }
        let lists = lists.iter().filter(|(_, list)| {
            x509_parser::parse_x509_crl(list).is_ok_and(|(_, list)| issuers.contains(&Name::of(list.issuer())))
        });
        Case {
            name: file.trim_end_matches("EE").to_owned(),
            accept: !file.starts_with("Invalid") && !INVALID_BY_POLICY.contains(&file.trim_end_matches("EE")),
            anchors: vec![anchor.clone().into()],
            chain: chain.into_iter().map(|der| der.clone().into()).collect(),
            lists: lists.map(|(_, list)| list.clone().into()).collect(),
            extended_key_usage: ExtendedKeyUsage::ClientAuthOrAbsent,
            now: DEFAULT_TIME,
        }
    });
    Suite {
        title: "NIST PKITS",
        version: "cryptography_vectors 50.0.2",
        cases: cases.collect(),
        explained: PKITS_EXPLAINED,
    }
}

fn parsed(der: &[u8]) -> X509Certificate<'_> {
    X509Certificate::from_der(der).unwrap().1
}

/// Whether a path can have these two in a row, by name and key identifier.
fn issued(authority: &X509Certificate<'_>, certificate: &X509Certificate<'_>) -> bool {
    let its_key = authority.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(key) => Some(key.0),
        _ => None,
    });
    let signing_key = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(key) => key.key_identifier.as_ref().map(|key| key.0),
        _ => None,
    });
    Name::of(authority.subject()) == Name::of(certificate.issuer())
        && (its_key.is_none() || signing_key.is_none() || its_key == signing_key)
}

fn limbo(file: &Path) -> Suite {
    let text = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let suite: Value = serde_json::from_slice(&text).unwrap();
    let pems = |value: &Value| -> Vec<CertificateDer<'static>> {
        let texts = value.as_array().unwrap().iter().map(|text| text.as_str().unwrap());
        texts.map(|text| CertificateDer::from_pem_slice(text.as_bytes()).unwrap()).collect()
    };
    let cases = suite["testcases"].as_array().unwrap().iter().map(|case| {
        let mut chain = pems(&Value::Array(vec![case["peer_certificate"].clone()]));
        chain.extend(pems(&case["untrusted_intermediates"]));
        let lists = case["crls"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|text| CertificateRevocationListDer::from_pem_slice(text.as_str().unwrap().as_bytes()).unwrap());
        Case {
            name: case["id"].as_str().unwrap().to_owned(),
            accept: case["expected_result"] == "SUCCESS",
            anchors: pems(&case["trusted_certs"]),
            chain,
            lists: lists.collect(),
            extended_key_usage: match case["validation_kind"].as_str() {
                Some("CLIENT") => ExtendedKeyUsage::ClientAuthOrAbsent,
                _ => ExtendedKeyUsage::Any,
            },
            now: case["validation_time"].as_str().map_or(DEFAULT_TIME, seconds),
        }
    });
    Suite {
        title: "x509-limbo",
        version: "C2SP/x509-limbo, 2026-06-29",
        cases: cases.collect(),
        explained: LIMBO_EXPLAINED,
    }
}

/// Reads a time such as `2024-01-01T00:00:00+00:00`.
fn seconds(text: &str) -> UnixTime {
    let numbers: Vec<u16> = text[..19].split(['-', 'T', ':']).map(|number| number.parse().unwrap()).collect();
    let small = |place: usize| u8::try_from(numbers[place]).unwrap();
    let date = time::Date::from_calendar_date(numbers[0].into(), small(1).try_into().unwrap(), small(2)).unwrap();
    let time = date.with_hms(small(3), small(4), small(5)).unwrap().assume_utc();
    UnixTime(time.unix_timestamp().try_into().unwrap())
}

/// 2026-06-01, within the validity of what is meant to be valid.
const DEFAULT_TIME: UnixTime = UnixTime(1_780_272_000);

const INTRODUCTION: &str = "# Certificates: the public suites

What the gateway makes of two public suites for certification path validation (RFC 5280 §6), with `trust: chain`. `.ci/run` judges them and
compares this page, which is written by `tests/external/certificate_suites.rs`.
";

/// Cases that are not valid although their names do not say so: an authority requires an explicit policy.
const INVALID_BY_POLICY: &[&str] = &[
    "DifferentPoliciesTest4",
    "DifferentPoliciesTest5",
    "DifferentPoliciesTest7",
    "DifferentPoliciesTest8",
    "DifferentPoliciesTest9",
    "DifferentPoliciesTest12",
];

const NOT_CRITICAL: &str = "a policy is required by an extension that is not critical; the certificate library (rustls-webpki) ignores it, and its yes stands";
const CLIENT_IS_AUTHORITY: &str = "the client's certificate is that of an authority, which is never accepted";
const OTHER_SIGNER: &str = "the revocation list is signed with a key that no authority of the path has";
const ANCHOR: &str =
    "of a trust anchor the name, the key and the name constraints count, and nothing else (RFC 5280 §6.1.1 (d))";
const KEY_IDENTIFIERS: &str = "key identifiers help to find a path and prove nothing; they are not looked at";
const SERVER_NAMES: &str =
    "a rule about the names of servers; names of a client's certificate are only compared with name constraints";
const SERVER_RULES: &str = "a rule about servers and public authorities (CA/Browser Forum), or about extended key usage, judged here with `extended_key_usage: any`";
const ISSUED_WRONGLY: &str =
    "a rule for the authority that issues, which changes nothing about what the certificate proves";
const HANDSHAKE: &str = "the key of the leaf is judged by the handshake that it signs, which is not part of the suite";

const PKITS_EXPLAINED: &Explained = &[
    ("DifferentPolicies", NOT_CRITICAL),
    ("OverlappingPoliciesTest6", CLIENT_IS_AUTHORITY),
    ("ValidpathLenConstraintTest", CLIENT_IS_AUTHORITY),
    ("ValidBasicSelfIssued", OTHER_SIGNER),
    ("ValidSeparateCertificateandCRLKeys", OTHER_SIGNER),
    ("ValidDSA", "DSA is not supported"),
    ("ValidIDPwithindirectCRL", "indirect revocation lists are not supported"),
    ("ValidcRLIssuer", "indirect revocation lists are not supported"),
    ("ValiddeltaCRL", "delta revocation lists are not supported"),
    ("ValiddistributionPoint", "a distribution point with a relative name is not supported"),
    ("ValidonlyContainsCACerts", "a list for authorities alone that names no distribution point is not supported"),
    ("ValidonlySomeReasons", "revocation lists for some reasons only are not supported"),
];

const LIMBO_EXPLAINED: &Explained = &[
    ("crl::crlnumber", "of the lists of one authority the newest counts by its date; its number is not looked at"),
    ("crl::issuer-missing-crlsign", ANCHOR),
    ("pathlen::max-chain-depth", "there is no such setting; a chain has at most 10 certificates"),
    ("pathlen::validation-ignores-pathlen-in-leaf", CLIENT_IS_AUTHORITY),
    ("pathological::nc-dos-3", "it is valid, and decided within the bounds on work"),
    ("rfc5280::aki::", KEY_IDENTIFIERS),
    ("rfc5280::ski::", KEY_IDENTIFIERS),
    ("webpki::aki::", KEY_IDENTIFIERS),
    ("rfc5280::eku::", SERVER_RULES),
    ("rfc5280::nc::", ISSUED_WRONGLY),
    ("rfc5280::pc::ica-noncritical-pc", ISSUED_WRONGLY),
    ("rfc5280::san::", SERVER_NAMES),
    ("rfc5280::serial::", ISSUED_WRONGLY),
    ("rfc5280::validity::expired-root", ANCHOR),
    ("rfc5280::ca-empty-subject", ANCHOR),
    ("rfc5280::unknown-critical-extension-root", ANCHOR),
    ("rfc5280::root-", ANCHOR),
    ("rfc5280::leaf-ku-keycertsign", ISSUED_WRONGLY),
    ("rfc5280::ca-as-leaf", CLIENT_IS_AUTHORITY),
    ("webpki::cn::", SERVER_NAMES),
    ("webpki::san::", SERVER_NAMES),
    ("webpki::eku::", SERVER_RULES),
    ("webpki::nc::", SERVER_RULES),
    ("webpki::malformed-aia", ISSUED_WRONGLY),
    ("webpki::forbidden-rsa-not-divisible-by-8-in-root", SERVER_RULES),
    ("webpki::forbidden-", HANDSHAKE),
];
