//! The UAE and Saudi Arabia.

use fapi::ecosystem::Ecosystem::{Ksa, Uae};

use super::uk_obie::error_structure;
use super::{good, has_texts, is_empty, told, told_of_bad_date, without_good_token};
use crate::module::{Module, Plans};
use crate::report::Severity;

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "uae-auth-date",
        purpose: "The date of the customer's login may end in GMT or UTC",
        clause: "UAE API specifications 2.1 § Headers",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[Uae]),
        run: |session| {
            let good = good(session)?;
            session.control(&good)?;
            for date in ["Tue, 11 Sep 2012 19:43:31 GMT", "Tue, 11 Sep 2012 19:43:31 UTC"] {
                session.accepted(&format!("`{date}`"), &good.clone().with_field("x-fapi-auth-date", date))?;
            }
            Ok(())
        },
    },
    Module {
        name: "uae-invalid-token-body",
        purpose: "The refusal of a token that is missing or invalid has no body",
        clause: "UAE API specifications 2.1 § Errors",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[Uae]),
        run: |session| {
            let good = good(session)?;
            session.control(&good)?;
            let bad = without_good_token(&good);
            told(session, "a token that nobody issued", &bad, 401, "without a body", is_empty)
        },
    },
    Module {
        name: "uae-error-body",
        purpose: "A refusal with 400 has Errors, each with Code and Message, or is a JWT",
        clause: "UAE API specifications 2.1 § Errors",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[Uae]),
        run: |session| {
            told_of_bad_date(session, "Errors with Code and Message", |response| match response.sole("content-type") {
                Some("application/jwt") => Ok(()),
                Some(_) | None => has_texts(response, &["/Errors/0/Code", "/Errors/0/Message"]),
            })
        },
    },
    Module {
        name: "ksa-error-body",
        purpose: "Refusals have the error structure of UK Open Banking",
        clause: "KSA Open Banking standards § Headers and errors",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::Ecosystems(&[Ksa]),
        run: |session| {
            let good = good(session)?;
            session.control(&good)?;
            let bad = without_good_token(&good);
            let expected = "Code, Id, Message and Errors";
            told(session, "a token that nobody issued", &bad, 401, expected, error_structure)
        },
    },
];
