//! The header fields of each ecosystem, and the body of each refusal in a file of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::code::Code;
use crate::profile::Waivable;
use crate::rejection::error_of;

const UUID: &str = "c770aef3-6784-41f7-8e0e-ff5f97bddb3a";
const DATE: &str = "Tue, 11 Sep 2012 19:43:31 GMT";

fn fields(fields: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    fields.iter().map(field).collect()
}

fn judge(ecosystem: Ecosystem, given: &[(&str, &str)]) -> Option<(&'static str, &'static str)> {
    match ecosystem.check_headers(&fields(given)).err()? {
        HeaderError::Missing { name } => Some(("missing", name)),
        HeaderError::Invalid { name, .. } => Some(("invalid", name)),
        HeaderError::InvalidVersion { name } => Some(("version", name)),
        HeaderError::UnsupportedVersion => Some(("unsupported", "x-v")),
    }
}

#[test]
fn uk_03_uk_05_what_is_there_has_its_form() {
    let good = [
        ("x-fapi-auth-date", DATE),
        ("x-fapi-customer-ip-address", "198.51.100.7"),
        ("x-idempotency-key", "FRESCO.21302.GFX.20"),
    ];
    for version in [Ecosystem::UkObie31, Ecosystem::UkObie40] {
        assert_eq!(judge(version, &[]), None);
        assert_eq!(judge(version, &good), None, "control");
        for (index, (name, _)) in good.iter().enumerate() {
            let mut bad = good;
            bad[index].1 = "41 characters, which is more than a key has";
            assert_eq!(judge(version, &bad), Some(("invalid", *name)));
        }
    }
}

#[test]
fn br_01_cid_01_a_request_has_an_interaction_id() {
    for ecosystem in [Ecosystem::Brazil, Ecosystem::ConnectId] {
        assert_eq!(judge(ecosystem, &[("x-fapi-interaction-id", UUID)]), None, "control");
        assert_eq!(judge(ecosystem, &[]), Some(("missing", "x-fapi-interaction-id")));
        assert_eq!(judge(ecosystem, &[("x-fapi-interaction-id", "1")]), Some(("invalid", "x-fapi-interaction-id")));
    }
}

#[test]
fn au_05_au_07_to_au_09_versions_and_dates_are_there_and_more_if_the_customer_is() {
    let of = |changes: &[(&'static str, Option<&'static str>)]| {
        let mut all = BTreeMap::from([("x-v", "3"), ("x-fapi-auth-date", DATE), ("x-fapi-interaction-id", UUID)]);
        for (name, value) in changes {
            match value {
                Some(value) => drop(all.insert(name, value)),
                None => drop(all.remove(name)),
            }
        }
        judge(Ecosystem::Cdr, &all.into_iter().collect::<Vec<_>>())
    };
    assert_eq!(of(&[]), None, "control");
    assert_eq!(of(&[("x-min-v", Some("1"))]), None, "control");
    assert_eq!(of(&[("x-fapi-interaction-id", None)]), None, "it is optional");
    for (name, value, expected) in [
        ("x-v", None, ("missing", "x-v")),
        ("x-v", Some("0"), ("version", "x-v")),
        ("x-v", Some("1.0"), ("version", "x-v")),
        ("x-v", Some("-1"), ("version", "x-v")),
        ("x-v", Some("foo"), ("version", "x-v")),
        ("x-min-v", Some("foo"), ("version", "x-min-v")),
        ("x-fapi-interaction-id", Some("1"), ("invalid", "x-fapi-interaction-id")),
        ("x-fapi-auth-date", None, ("missing", "x-fapi-auth-date")),
        ("x-fapi-auth-date", Some("today"), ("invalid", "x-fapi-auth-date")),
        ("x-fapi-customer-ip-address", Some("198.51.100.7"), ("missing", "x-cds-client-headers")),
    ] {
        assert_eq!(of(&[(name, value)]), Some(expected), "{name} {value:?}");
    }
    let present = ("x-fapi-customer-ip-address", Some("198.51.100.7"));
    assert_eq!(of(&[present, ("x-cds-client-headers", Some("TW96aWxsYQ=="))]), None, "control");
    assert_eq!(of(&[present, ("x-cds-client-headers", Some("Mozilla"))]), Some(("invalid", "x-cds-client-headers")));
}

#[test]
fn bg_07_a_request_has_an_id_which_the_response_repeats() {
    let group = Ecosystem::BerlinGroup;
    assert_eq!(judge(group, &[("x-request-id", UUID)]), None, "control");
    assert_eq!(judge(group, &[]), Some(("missing", "x-request-id")));
    assert_eq!(judge(group, &[("x-request-id", "1")]), Some(("invalid", "x-request-id")));
    let repeated = |ecosystem: Ecosystem, id: &str| {
        let (name, value) = ecosystem.repeated(&fields(&[("x-request-id", id)]))?;
        assert_eq!(name, "x-request-id");
        Some(value.to_str().unwrap().to_owned())
    };
    assert_eq!(repeated(group, UUID).as_deref(), Some(UUID));
    assert_eq!(repeated(group, "<script>"), None, "nothing else comes back");
    assert_eq!(repeated(Ecosystem::Brazil, UUID), None);
}

#[test]
fn uae_04_fdx_03_other_values_are_refused() {
    let date = |date: &str| judge(Ecosystem::Uae, &[("x-fapi-auth-date", date)]);
    assert_eq!((date(DATE), date("Tue, 11 Sep 2012 19:43:31 UTC")), (None, None));
    assert_eq!(date("Tue, 11 Sep 2012 19:43:31 CET"), Some(("invalid", "x-fapi-auth-date")));
    assert_eq!(
        judge(Ecosystem::Ksa, &[("x-fapi-auth-date", "Tue, 11 Sep 2012 19:43:31 UTC")]),
        Some(("invalid", "x-fapi-auth-date"))
    );
    let actor = |actor: &str| judge(Ecosystem::Fdx, &[("fdx-api-actor-type", actor)]);
    assert_eq!((actor("USER"), actor("BATCH")), (None, None));
    assert_eq!(actor("ROBOT"), Some(("invalid", "fdx-api-actor-type")));
}

#[test]
fn each_rule_is_one_sentence_under_an_id_of_its_own() {
    let mut ids = BTreeSet::new();
    for ecosystem in Ecosystem::ALL {
        let own: BTreeSet<&str> = ecosystem.rules().iter().map(|rule| rule.id).collect();
        assert_eq!(own.len(), ecosystem.rules().len(), "{ecosystem:?}");
        ids.extend(own);
        for rule in ecosystem.rules() {
            assert!(rule.says.ends_with('.') && rule.clause.contains('§'), "{}", rule.id);
            let rules = [ecosystem.certificate_rule(), ecosystem.role_rule()];
            let waivable = rules.contains(&Some(rule.id)).then_some(Waivable::Route);
            assert_eq!(rule.waivable, waivable, "what can be waived is a closed list: {}", rule.id);
        }
        assert_eq!(Ecosystem::ALL.iter().filter(|other| other.as_str() == ecosystem.as_str()).count(), 1);
    }
}

/// The status of a refusal in an ecosystem whose messages are signed in its own form.
fn status(ecosystem: Ecosystem, code: Code) -> StatusCode {
    if let Some(status) = ecosystem.status(code) {
        return status;
    }
    let signs = [Ecosystem::UkObie31, Ecosystem::UkObie40, Ecosystem::Brazil, Ecosystem::Uae, Ecosystem::Ksa];
    if (ecosystem, code) == (Ecosystem::Brazil, Code::SignatureReplayed) {
        StatusCode::FORBIDDEN
    } else if code.is_about_signatures() && signs.contains(&ecosystem) {
        StatusCode::BAD_REQUEST
    } else {
        ecosystem.status(code).unwrap_or(code.status())
    }
}

/// What is told of each code: its status, and the body, which is null if there is none.
fn told_of_all(ecosystem: Ecosystem) -> Value {
    let told = |code: Code| {
        let (error, description) = error_of(code);
        let time = || "2027-01-01T00:00:00.000Z".to_owned();
        let status = status(ecosystem, code);
        let told = Told { status, code, error, description, interaction: UUID, time: Some(&time) };
        let body = match ecosystem.error(&told) {
            ErrorBody::Empty => Value::Null,
            ErrorBody::Json(_, value) => value,
            ErrorBody::Usual => json!({ "error": error, "error_description": description }),
        };
        (code.as_str().to_owned(), json!({ "status": status.as_u16(), "body": body }))
    };
    Code::ALL.iter().map(|code| told(*code)).collect()
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the files are what this test expects, and it writes them when it is told to"
)]
fn each_refusal_has_the_body_that_is_kept() {
    let write = std::env::var_os("FAPI_GATEWAY_WRITE_DOCS").is_some();
    for ecosystem in Ecosystem::ALL {
        let file = format!("src/ecosystem/golden/{}.json", ecosystem.as_str());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let told = told_of_all(*ecosystem);
        if write {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, format!("{told:#}\n")).unwrap();
        }
        // The order of members depends on what else is built.
        let kept: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap_or_default()).unwrap_or_default();
        assert!(kept == told, "{}: FAPI_GATEWAY_WRITE_DOCS=1 cargo test -p fapi ecosystem writes it", path.display());
    }
}

#[test]
fn what_ecosystems_prescribe_is_said() {
    let of = |ecosystem: Ecosystem, code: Code| told_of_all(ecosystem)[code.as_str()]["body"].clone();
    let uk = |ecosystem, code| of(ecosystem, code)["Errors"][0]["ErrorCode"].clone();
    for (code, three, four) in [
        (Code::SignatureMissing, "UK.OBIE.Signature.Missing", "U019"),
        (Code::SignatureInvalid, "UK.OBIE.Signature.Invalid", "U015"),
        (Code::HeaderInvalid, "UK.OBIE.Header.Invalid", "U006"),
        (Code::IdempotencyKeyReused, "UK.OBIE.Header.Invalid", "U006"),
        (Code::UpstreamUnreachable, "UK.OBIE.UnexpectedError", "U000"),
    ] {
        assert_eq!((uk(Ecosystem::UkObie31, code), uk(Ecosystem::UkObie40, code)), (three.into(), four.into()));
    }
    // UK-13: an expired token is told in version 4.0 alone, and other tokens never.
    assert_eq!(of(Ecosystem::UkObie31, Code::TokenExpired), Value::Null);
    assert!(of(Ecosystem::UkObie40, Code::TokenExpired).is_object());
    assert_eq!(of(Ecosystem::UkObie40, Code::TokenMalformed), Value::Null);
    assert_eq!(of(Ecosystem::Uae, Code::TokenExpired), Value::Null, "UAE-03");
    assert_eq!(of(Ecosystem::Brazil, Code::SignatureInvalid)["errors"][0]["code"], "BAD_SIGNATURE");
    assert_eq!(of(Ecosystem::Brazil, Code::HeaderMissing)["meta"]["requestDateTime"], "2027-01-01T00:00:00Z");
    assert_eq!(
        of(Ecosystem::Cdr, Code::VersionInvalid)["errors"][0]["code"],
        "urn:au-cds:error:cds-all:Header/InvalidVersion"
    );
    assert_eq!(
        of(Ecosystem::Cdr, Code::VersionUnsupported)["errors"][0]["code"],
        "urn:au-cds:error:cds-all:Header/UnsupportedVersion"
    );
    assert_eq!(of(Ecosystem::Brazil, Code::IdempotencyKeyReused)["errors"][0]["code"], "ERRO_IDEMPOTENCIA");
    // AU-12: whoever the register does not call active.
    for (code, urn) in [
        (Code::ParticipantInactive, "Authorisation/AdrStatusNotActive"),
        (Code::ParticipantUnknown, "Authorisation/AdrStatusNotActive"),
        (Code::ClientRefused, "GeneralError/Expected"), // control
        (Code::DirectoryUnavailable, "Service/Unavailable"),
    ] {
        let told = of(Ecosystem::Cdr, code)["errors"][0]["code"].clone();
        assert_eq!(told, format!("urn:au-cds:error:cds-all:{urn}"), "{code:?}");
    }
    let group = |code| of(Ecosystem::BerlinGroup, code)["tppMessages"][0]["code"].clone();
    assert_eq!(
        (group(Code::TokenExpired), group(Code::HeaderMissing)),
        ("TOKEN_EXPIRED".into(), "FORMAT_ERROR".into())
    );
    // BG-08, AU-12, UAE-03.
    let told = told_of_all(Ecosystem::BerlinGroup);
    assert_eq!(
        (&told["consent_expired"]["status"], group(Code::ConsentExpired)),
        (&json!(401), "CONSENT_EXPIRED".into())
    );
    assert_eq!(
        (&told["consent_unknown"]["status"], group(Code::ConsentUnknown)),
        (&json!(403), "CONSENT_UNKNOWN".into())
    );
    let of_cdr = |code| of(Ecosystem::Cdr, code)["errors"][0]["code"].clone();
    assert_eq!(of_cdr(Code::ConsentRevoked), "urn:au-cds:error:cds-all:Authorisation/RevokedConsent");
    assert_eq!(of_cdr(Code::ConsentUnknown), "urn:au-cds:error:cds-all:Authorisation/InvalidConsent");
    assert_eq!(of(Ecosystem::Uae, Code::ConsentRevoked)["Errors"][0]["Code"], "Consent.Invalid");
    assert_eq!(group(Code::NotAcceptable), "REQUESTED_FORMATS_INVALID", "BG-12");
    assert_eq!(of(Ecosystem::Smart, Code::ScopeInsufficient)["issue"][0]["code"], "forbidden");
}
