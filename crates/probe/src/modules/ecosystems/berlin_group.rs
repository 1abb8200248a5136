//! The Berlin Group's NextGenPSD2 (implementation guidelines).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fapi::ecosystem::Ecosystem::BerlinGroup;
use fapi::ecosystem::Form;
use uuid::Uuid;

use super::{complete, good, good_write, has_texts, refused_as, told, unfitting, without_good_token};
use crate::call::{Call, Presents};
use crate::clock::now;
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::report::{Role, Severity, Verdict};
use crate::session::{Session, Stop, observed};

const HEADERS: &str = "NextGenPSD2 implementation guidelines § Request headers";
const CODES: &str = "NextGenPSD2 implementation guidelines § Error codes";

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "berlin-group-request-id",
        purpose: "A call without `X-Request-ID`, or with one that is no UUID, is refused",
        clause: HEADERS,
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[BerlinGroup]),
        run: |session| {
            let good = good(session)?;
            session.control(&good)?;
            let without = good.clone().without_field(REQUEST_ID);
            refused_as(session, "no `X-Request-ID`", &without, &Refusal::FIELD, CODE, &["FORMAT_ERROR"])?;
            for value in unfitting(Form::Uuid) {
                let (title, call) = (format!("`X-Request-ID: {value}`"), good.clone().with_field(REQUEST_ID, value));
                refused_as(session, &title, &call, &Refusal::FIELD, CODE, &["FORMAT_ERROR"])?;
            }
            Ok(())
        },
    },
    Module {
        name: "berlin-group-request-id-echoed",
        purpose: "Answers have the `X-Request-ID` of their request, refusals too",
        clause: HEADERS,
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[BerlinGroup]),
        run: |session| {
            let good = good(session)?;
            session.control(&good)?;
            echoed(session, "a good call", &good, true)?;
            echoed(session, "a token that nobody issued", &without_good_token(&good), false)
        },
    },
    Module {
        name: "berlin-group-error-body",
        purpose: "The refusal of a token has tppMessages, and a challenge",
        clause: CODES,
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[BerlinGroup]),
        run: |session| {
            let good = good(session)?;
            session.control(&good)?;
            let bad = without_good_token(&good);
            told(session, "a token that nobody issued", &bad, 401, "tppMessages and a challenge", |response| {
                has_texts(response, &["/tppMessages/0/category", CODE])?;
                match response.challenges().first() {
                    Some(_) => Ok(()),
                    None => Err("it has no challenge".to_owned()),
                }
            })?;
            let codes = &["TOKEN_UNKNOWN", "TOKEN_INVALID"];
            refused_as(session, "the same, by its code", &bad, &UNAUTHORIZED, CODE, codes)
        },
    },
    Module {
        name: "berlin-group-token-expired",
        purpose: "A token that has expired is called so",
        clause: CODES,
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[BerlinGroup]),
        run: |session| {
            let binding = session.binding();
            let good = session.call_with_token(binding, |token| token)?;
            let good = complete(session, good);
            session.control(&good)?;
            let time = now();
            let call = session.call_with_token(binding, |token| {
                token.claim("iat", time.saturating_sub(7_200)).expires_at(time.saturating_sub(3_600))
            })?;
            let call = complete(session, call);
            let title = "a token that expired an hour ago";
            refused_as(session, title, &call, &UNAUTHORIZED, CODE, &["TOKEN_EXPIRED"])
        },
    },
    Module {
        name: "berlin-group-certificate-missing",
        purpose: "A call without a certificate is refused",
        clause: "RTS on SCA, Article 34; NextGenPSD2 implementation guidelines § Error codes",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[BerlinGroup]),
        run: |session| {
            session.needs(session.settings().claims.certificate_required, "to require a certificate")?;
            let good = good(session)?;
            session.control(&good)?;
            let bare = Call { presents: Presents::Nothing, ..good.clone() };
            let refusal = Refusal { closing: true, ..UNAUTHORIZED };
            super::super::refused_alive(session, &good, "no certificate", &bare, &refusal)
        },
    },
    Module {
        name: "berlin-group-digest",
        purpose: "Content whose `Digest` is that of other content is refused",
        clause: "NextGenPSD2 implementation guidelines § Signing messages",
        suite: &[],
        // Whether a bank asks for signatures is for the bank to say.
        severity: Severity::Warning,
        plans: Plans::Ecosystems(&[BerlinGroup]),
        run: |session| {
            let good = good_write(session)?;
            let digest = digest_of(good.body.as_deref().unwrap_or_default());
            let good = good.with_field("Digest", digest);
            session.control(&good)?;
            let other = complete(session, good).with_field("Digest", digest_of("other content"));
            session.refused("the digest of other content", &other, &Refusal { statuses: &[400, 401], ..UNAUTHORIZED })
        },
    },
];

const REQUEST_ID: &str = "x-request-id";
/// Where a body has the code.
const CODE: &str = "/tppMessages/0/code";
const UNAUTHORIZED: Refusal = Refusal { statuses: &[401], errors: &[], closing: false };

/// RFC 3230 §4.3.2.
fn digest_of(content: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content.as_bytes());
    format!("SHA-256={}", STANDARD.encode(digest.as_ref()))
}

fn echoed(session: &mut Session<'_>, title: &str, call: &Call, success: bool) -> Result<(), Stop> {
    let id = Uuid::new_v4().to_string();
    let call = call.clone().with_field(REQUEST_ID, id.as_str());
    let exchange = session.answered(&call)?;
    let told = observed(&exchange.answer);
    let (verdict, told) = match &exchange.answer {
        Ok(response) if response.is_success() == success => {
            let found = response.sole(REQUEST_ID);
            let same = found.is_some_and(|found| found.eq_ignore_ascii_case(&id));
            (if same { Verdict::Pass } else { Verdict::Fail }, format!("{told}, {found:?}"))
        }
        Ok(_) | Err(_) => (Verdict::Inconclusive, told),
    };
    session.note(title, Role::Check, &format!("`X-Request-ID: {id}`"), told, verdict, &call, &exchange);
    Ok(())
}
