//! The table of revocations, and the tokens that remember up to where they were checked.

use std::sync::Arc;
use std::time::Duration;

use fapi::UnixTime;
use fapi::credentials::PresentedToken;
use fapi::revocation::{Revocation, Subject};
use fapi::token::introspection::Answer;
use fapi::token::{AccessTokenForm, ActiveToken, Expected, MissingAudience, TokenIds};
use serde_json::json;
use shuttle::thread;

use super::table::Revocations;

/// A check of a token misses no revocation that was recorded before it, whatever others record and check meanwhile.
pub fn a_check_misses_no_revocation() {
    let table = Arc::new(Revocations::default());
    let token = Arc::new(token("token"));
    let checks = [(); 2].map(|()| {
        let (table, token) = (table.clone(), token.clone());
        thread::spawn(move || table.clears(&token))
    });
    let another = {
        let table = table.clone();
        thread::spawn(move || revoke(&table, "another"))
    };
    revoke(&table, "token");
    assert!(!table.clears(&token));
    for check in checks {
        let _either = check.join().unwrap();
    }
    another.join().unwrap();
    assert!(!table.clears(&token));
    assert!(table.clears(&self::token("third")), "control");
}

fn token(name: &str) -> ActiveToken {
    let response = json!({ "active": true, "aud": "https://api.example", "jti": name }).to_string();
    let Answer::Active(answer) = Answer::from_json(response.as_bytes()).unwrap() else { unreachable!() };
    let ids = TokenIds::of(PresentedToken::parse(name).unwrap());
    let expected = Expected {
        name: "bank".into(),
        issuer: "https://bank.example".into(),
        audiences: vec!["https://api.example".into()],
        algorithms: Vec::new(),
        rs256: None,
        form: AccessTokenForm::default(),
    };
    ActiveToken::from_introspection(answer, ids, &expected, MissingAudience::Refuse, NOW).unwrap()
}

fn revoke(table: &Revocations, jti: &str) {
    let subject = Subject::Jti(jti.into());
    let revocation = Revocation { issuer: None, subject, issued_until: NOW, expires_at: None };
    table.record(&[revocation], Duration::from_secs(3600), 100, NOW).unwrap();
}

const NOW: UnixTime = UnixTime(1_800_000_000);
