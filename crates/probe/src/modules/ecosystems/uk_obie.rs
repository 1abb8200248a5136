//! UK Open Banking: how refusals are told (Read/Write API profile).

use fapi::ecosystem::Ecosystem::{UkObie31, UkObie40};

use super::{complete, good, has_texts, is_empty, told, told_of_bad_date, without_good_token};
use crate::clock::now;
use crate::exchange::Response;
use crate::module::{Module, Plans};
use crate::report::Severity;
use crate::session::{Session, Stop};

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "uk-error-body",
        purpose: "A refusal with 400 has the error structure",
        clause: "Read/Write API profile § Error response structure",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[UkObie31, UkObie40]),
        run: |session| told_of_bad_date(session, "Code, Id, Message and Errors", error_structure),
    },
    Module {
        name: "uk-invalid-token-body",
        purpose: "The refusal of a token that is missing or invalid has no body",
        clause: "Read/Write API profile § HTTP status codes",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[UkObie31, UkObie40]),
        run: |session| {
            let good = good(session)?;
            session.control(&good)?;
            let bad = without_good_token(&good);
            told(session, "a token that nobody issued", &bad, 401, "without a body", is_empty)?;
            told(session, "no credentials", &good.without_credentials(), 401, "without a body", is_empty)
        },
    },
    Module {
        name: "uk-expired-token-body",
        purpose: "The refusal of a token that has expired has no body in version 3.1",
        clause: "Read/Write API profile 3.1 § HTTP status codes",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[UkObie31]),
        run: |session| expired(session, "without a body", is_empty),
    },
    Module {
        name: "uk-expired-token-error",
        purpose: "The refusal of a token that has expired has the error structure in version 4.0",
        clause: "Read/Write API profile 4.0 § HTTP status codes",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[UkObie40]),
        run: |session| expired(session, "Code, Id, Message and Errors", error_structure),
    },
];

pub(super) fn error_structure(response: &Response) -> Result<(), String> {
    has_texts(response, &["/Code", "/Id", "/Message", "/Errors/0/ErrorCode", "/Errors/0/Message"])
}

fn expired(session: &mut Session<'_>, expected: &str, look: fn(&Response) -> Result<(), String>) -> Result<(), Stop> {
    let time = now();
    let binding = session.binding();
    let good = session.call_with_token(binding, |token| token)?;
    let good = complete(session, good);
    session.control(&good)?;
    let call = session.call_with_token(binding, |token| {
        token.claim("iat", time.saturating_sub(7_200)).expires_at(time.saturating_sub(3_600))
    })?;
    let call = complete(session, call);
    told(session, "a token that expired an hour ago", &call, 401, expected, look)
}
