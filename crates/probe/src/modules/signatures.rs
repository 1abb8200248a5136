//! Whether requests are taken that their client did not sign, and whether answers are signed (FAPI 2.0 HTTP Signatures, RFC 9421, RFC 9530).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fapi::UnixTime;
use fapi::signature::digest::{DigestAlgorithm, content_digest};
use sandbox::keys::SigningKey;

use crate::call::Call;
use crate::clock::now;
use crate::exchange::Field;
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::report::{Role, Severity, Verdict};
use crate::session::{Binding, Session, Stop, observed, skip};
use crate::signature::{Draft, LABEL, algorithm_name, verify_response};

/// A rule of which the breach is one change of what is signed, or of how it is written.
macro_rules! refused {
    ($name:literal, $purpose:literal, $clause:literal, $of:ident, [$(($title:literal, $spoil:expr)),+ $(,)?]) => {
        Module {
            name: $name,
            purpose: $purpose,
            clause: $clause,
            suite: &[],
            severity: Severity::Failure,
            plans: Plans::Signatures,
            run: |session| {
                let good = $of(session)?;
                session.control(&good)?;
                $(refused(session, $title, &spoiled(&good, $spoil))?;)+
                Ok(())
            },
        }
    };
}

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "signature-good",
        purpose: "A call that its client signed succeeds",
        clause: "FAPI 2.0 HTTP Signatures, § Resource server",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Signatures,
        run: |session| {
            let good = signed(session)?;
            check_signed(session, &good)?;
            let exchange = session.answered(&good)?;
            let verdict = match &exchange.answer {
                Ok(response) if response.is_success() => Verdict::Pass,
                Ok(_) => Verdict::Fail,
                Err(_) => Verdict::Inconclusive,
            };
            session.note("a signed call", Role::Check, "2xx", observed(&exchange.answer), verdict, &good, &exchange);
            Ok(())
        },
    },
    Module {
        name: "signature-missing",
        purpose: "A call without a signature is refused",
        clause: "FAPI 2.0 HTTP Signatures, § Resource server",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Signatures,
        run: |session| {
            let good = signed(session)?;
            session.control(&good)?;
            let unsigned = Call { signature: None, ..good.clone() };
            session.refused("no signature", &unsigned, &Refusal::SIGNATURE)?;
            refused(session, "`Signature-Input` alone", &written(&good, |fields| keep(fields, "Signature-Input")))?;
            refused(session, "`Signature` alone", &written(&good, |fields| keep(fields, "Signature")))
        },
    },
    Module {
        name: "signature-invalid",
        purpose: "A signature that does not verify is refused",
        clause: "RFC 9421 §3.2",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Signatures,
        run: |session| {
            let good = signed(session)?;
            session.control(&good)?;
            let rewritten: [(&str, RewriteBytes); 3] = [
                ("a bit that is changed", |bytes| flipped(&bytes)),
                ("zeros", |bytes| vec![0; bytes.len()]),
                ("no bytes", |_| Vec::new()),
            ];
            for (title, rewrite) in rewritten {
                refused(session, title, &written(&good, move |fields| rewrite_signature(fields, rewrite)))?;
            }
            refused(session, "a signature of another key", &spoiled(&good, of_another_key))
        },
    },
    Module {
        name: "signature-key",
        purpose: "A key that is unknown, or that of another client, is refused",
        clause: "RFC 9421 §3.2, FAPI 2.0 HTTP Signatures, § Resource server",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Signatures,
        run: key,
    },
    refused!(
        "signature-covered-changed",
        "What is covered and was changed after signing is refused",
        "RFC 9421 §3.2, FAPI 2.0 HTTP Signatures, § Signing requests",
        signed,
        [
            ("another method", |draft| {
                draft.method = if draft.method == "GET" { "PUT".to_owned() } else { "GET".to_owned() };
            }),
            ("another path", |draft| draft.target = "/another".to_owned()),
            ("another query", |draft| {
                draft.target.push_str(if draft.target.contains('?') { "&a=b" } else { "?a=b" });
            }),
            ("another host", |draft| draft.authority = "another.example".to_owned()),
            ("another token", |draft| draft.field("authorization", "Bearer another")),
        ]
    ),
    refused!(
        "signature-not-covered",
        "A signature that covers too little is refused",
        "FAPI 2.0 HTTP Signatures, § Signing requests",
        signed,
        [
            ("the method is not covered", |draft| draft.uncover("\"@method\"")),
            ("the URI is not covered", |draft| draft.uncover("\"@target-uri\"")),
            ("the token is not covered", |draft| draft.uncover("\"authorization\"")),
            ("nothing is covered", |draft| draft.components.clear()),
        ]
    ),
    refused!(
        "signature-dpop",
        "A signature that does not cover the proof, or covers another one, is refused",
        "FAPI 2.0 HTTP Signatures, § Signing requests",
        signed_with_proof,
        [
            ("the proof is not covered", |draft| draft.uncover("\"dpop\"")),
            ("another proof", |draft| draft.field("dpop", "another")),
        ]
    ),
    refused!(
        "signature-created",
        "A signature that is old, of the future, or without a time is refused",
        "FAPI 2.0 HTTP Signatures, § Resource server",
        signed,
        [
            ("an hour ago", |draft| created(draft, |time| time.saturating_sub(3_600))),
            ("an hour ahead", |draft| created(draft, |time| time.saturating_add(3_600))),
            ("no `created`", |draft| draft.parameters.created = None),
        ]
    ),
    refused!(
        "signature-expired",
        "A signature whose `expires` is past is refused",
        "RFC 9421 §2.3, §3.2",
        signed,
        [("`expires` a moment ago", |draft| {
            draft.parameters.expires = draft.parameters.created.map(|time| UnixTime(time.0.saturating_sub(1)));
        })]
    ),
    refused!(
        "signature-tag",
        "A signature that is for something else does not count",
        "FAPI 2.0 HTTP Signatures, § Signing requests",
        signed,
        [
            ("no `tag`", |draft| draft.parameters.tag = None),
            ("the tag of responses", |draft| draft.parameters.tag = Some("fapi-2-response".into())),
            ("another tag", |draft| draft.parameters.tag = Some("another".into())),
        ]
    ),
    refused!(
        "signature-alg",
        "An algorithm that is not allowed, or is not that of the key, is refused",
        "RFC 9421 §3.2 (6), §7.3.6",
        signed,
        [
            ("`hmac-sha256`", |draft| draft.parameters.algorithm = Some("hmac-sha256".into())),
            ("`rsa-v1_5-sha256`", |draft| draft.parameters.algorithm = Some("rsa-v1_5-sha256".into())),
            ("an unknown one", |draft| draft.parameters.algorithm = Some("another".into())),
            ("that of another key", |draft| {
                let others = ["ecdsa-p256-sha256", "ed25519"];
                let own = algorithm_name(draft.key.kind());
                draft.parameters.algorithm = others.into_iter().find(|other| *other != own).map(Into::into);
            }),
        ]
    ),
    refused!(
        "signature-component-absent",
        "A signature that covers a field which is not there is refused",
        "RFC 9421 §2.5, §3.2",
        signed,
        [("a field that is signed and not sent", |draft| {
            draft.field("x-probe-absent", "a");
            draft.components.extend("\"x-probe-absent\"".parse().ok());
        })]
    ),
    Module {
        name: "signature-malformed",
        purpose: "Fields that are not dictionaries with the same labels are refused",
        clause: "RFC 9421 §4.1, §4.2",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Signatures,
        run: malformed,
    },
    Module {
        name: "signature-others-beside",
        purpose: "A good signature counts beside others that are for somebody else, whatever their order and labels",
        clause: "RFC 9421 §4.3, §7.2.5",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Signatures,
        run: others_beside,
    },
    Module {
        name: "signature-field-lines",
        purpose: "The lines of a covered field are read as one",
        clause: "RFC 9421 §2.1",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Signatures,
        run: |session| {
            let good = signed(session)?;
            session.control(&good)?;
            let lines = good.field("X-Probe", " a ").field("X-Probe", "b").signature_of(|draft| {
                draft.components.extend("\"x-probe\"".parse().ok());
            });
            check_signed(session, &lines)?;
            session.accepted("a field in two lines", &lines).map(drop)
        },
    },
    Module {
        name: "signature-replay",
        purpose: "A signature over a request that changes something is accepted once",
        clause: "RFC 9421 §7.2.2",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::Signatures,
        run: replay,
    },
    Module {
        name: "content-digest-mismatch",
        purpose: "A signed digest of other content is refused",
        clause: "RFC 9530 §6.3, RFC 9421 §7.2.8",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Signatures,
        run: |session| {
            let good = signed_write(session)?;
            session.control(&good)?;
            let other = content_digest(DigestAlgorithm::Sha256, b"other content");
            let beside = format!("{}, {}", digest_of(&good), content_digest(DigestAlgorithm::Sha512, b"other content"));
            refused(session, "the digest of other content", &good.clone().with_field(DIGEST, other))?;
            refused(session, "a good digest beside a wrong one", &good.with_field(DIGEST, beside))
        },
    },
    Module {
        name: "content-digest-missing",
        purpose: "Content without a digest that is signed is refused",
        clause: "FAPI 2.0 HTTP Signatures, § Signing requests",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Signatures,
        run: |session| {
            let good = signed_write(session)?;
            session.control(&good)?;
            let uncovered = |draft: &mut Draft| draft.uncover("\"content-digest\"");
            refused(session, "a digest that is not covered", &spoiled(&good, uncovered))?;
            let without = good.without_field(DIGEST);
            refused(session, "no digest", &spoiled(&without, uncovered))
        },
    },
    Module {
        name: "content-digest-changed",
        purpose: "A digest that was changed after signing, with its content, is refused",
        clause: "RFC 9421 §3.2",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Signatures,
        run: |session| {
            let good = signed_write(session)?;
            session.control(&good)?;
            let changed = spoiled(&good, |draft| draft.field("content-digest", OTHER_DIGEST));
            refused(session, "the digest of what was signed is another", &changed)
        },
    },
    Module {
        name: "content-digest-weak",
        purpose: "A digest with a deprecated algorithm alone is refused",
        clause: "RFC 9530 §5",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Signatures,
        run: |session| {
            let good = signed_write(session)?;
            session.control(&good)?;
            // The right hash: only its algorithm is wrong.
            let sha1 = aws_lc_rs::digest::digest(
                &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
                good.body.as_deref().unwrap_or_default().as_bytes(),
            );
            let weak = format!("sha=:{}:", STANDARD.encode(sha1.as_ref()));
            refused(session, "SHA-1 alone", &good.with_field(DIGEST, weak))
        },
    },
    Module {
        name: "content-digest-good",
        purpose: "Digests with SHA-256, with SHA-512, and both beside an unknown one are good",
        clause: "RFC 9530 §2, §5",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Signatures,
        run: digests_good,
    },
    Module {
        name: "response-signature",
        purpose: "A response is signed with its status, its content and the parts of its request",
        clause: "FAPI 2.0 HTTP Signatures, § Signing responses",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Signatures,
        run: |session| {
            let good = to_be_answered(session)?;
            session.control(&good)?;
            answer_signed(session, "a good call", &good, true)
        },
    },
    Module {
        name: "response-signature-of-errors",
        purpose: "A refusal is signed too",
        clause: "FAPI 2.0 HTTP Signatures, § Signing responses",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::Signatures,
        run: |session| {
            let good = to_be_answered(session)?;
            session.control(&good)?;
            // Of a client that is known: nobody else may have the target sign.
            let settings = session.settings();
            let bad = match (settings.claims.signed_requests, &settings.resource.forbidden) {
                (true, _) => written(&good, move |fields| rewrite_signature(fields, |bytes| flipped(&bytes))),
                (false, Some(path)) => Call { target: path.clone(), ..good },
                (false, None) => return Err(skip("`resource.forbidden` names no resource that is refused")),
            };
            answer_signed(session, "a refusal of a client that is known", &bad, false)
        },
    },
];

/// Changes the bytes of a signature.
type RewriteBytes = fn(Vec<u8>) -> Vec<u8>;
/// Changes the value of a field.
type RewriteText = fn(&str) -> String;

/// The field with the digest of the content.
const DIGEST: &str = "Content-Digest";
/// The SHA-256 digest of nothing.
const OTHER_DIGEST: &str = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";

// Good calls.

fn signing_key<'s>(session: &Session<'s>, client: usize) -> Result<&'s SigningKey, Stop> {
    let name = client.saturating_add(1);
    session.client(client)?.signing_key.as_ref().ok_or_else(|| skip(format!("client {name} has no `signing_key`")))
}

fn sign(session: &Session<'_>, call: Call) -> Result<Call, Stop> {
    session.needs(session.settings().claims.signed_requests, "to verify signatures of requests")?;
    Ok(call.with_signature(signing_key(session, 0)?))
}

fn signed(session: &mut Session<'_>) -> Result<Call, Stop> {
    let call = session.good()?;
    sign(session, call)
}

fn signed_with_proof(session: &mut Session<'_>) -> Result<Call, Stop> {
    let call = session.good_with(Binding::Dpop)?;
    sign(session, call)
}

fn signed_write(session: &mut Session<'_>) -> Result<Call, Stop> {
    let call = session.good_write()?;
    let digest = digest_of(&call);
    sign(session, call.with_field(DIGEST, digest))
}

/// A good call, signed if that is claimed, whose answer is to be signed.
fn to_be_answered(session: &mut Session<'_>) -> Result<Call, Stop> {
    let claims = &session.settings().claims;
    session.needs(claims.signed_responses, "to sign its responses")?;
    if session.settings().response_keys.is_none() {
        return Err(skip("`response_keys` names no key of the target"));
    }
    let call = session.good()?;
    if claims.signed_requests { sign(session, call) } else { Ok(call) }
}

fn digest_of(call: &Call) -> String {
    content_digest(DigestAlgorithm::Sha256, call.body.as_deref().unwrap_or_default().as_bytes())
}

// Bad ones.

/// A call that is not as it was signed.
fn spoiled(good: &Call, change: impl Fn(&mut Draft) + Send + Sync + 'static) -> Call {
    good.clone().signature_of(change)
}

fn written(good: &Call, rewrite: impl Fn(&mut Vec<Field>) + Send + Sync + 'static) -> Call {
    good.clone().signature_written(rewrite)
}

/// Sends a call whose signature must be refused; its control was sent before.
fn refused(session: &mut Session<'_>, title: &str, call: &Call) -> Result<(), Stop> {
    check_signed(session, call)?;
    session.refused(title, call, &Refusal::SIGNATURE)
}

/// Without a signature a call would be refused for another reason than the one that is looked for.
fn check_signed(session: &mut Session<'_>, call: &Call) -> Result<(), Stop> {
    match session.wire().prepare(call).not_signed {
        None => Ok(()),
        Some(error) => Err(Stop::Inconclusive(format!("the request cannot be signed: {error}"))),
    }
}

fn of_another_key(draft: &mut Draft) {
    draft.key = SigningKey::generate(draft.key.kind(), draft.key.kid());
}

fn created(draft: &mut Draft, change: impl FnOnce(u64) -> u64) {
    draft.parameters.created = draft.parameters.created.map(|time| UnixTime(change(time.0)));
}

fn keep(fields: &mut Vec<Field>, name: &str) {
    fields.retain(|(field, _)| field == name);
}

fn flipped(bytes: &[u8]) -> Vec<u8> {
    let flip = |(at, byte): (usize, &u8)| if at == 0 { byte ^ 1 } else { *byte };
    bytes.iter().enumerate().map(flip).collect()
}

fn rewrite_signature(fields: &mut [Field], rewrite: RewriteBytes) {
    for (_, value) in fields.iter_mut().filter(|(name, _)| name == "Signature") {
        let text = value.split(':').nth(1).unwrap_or_default();
        let bytes = rewrite(STANDARD.decode(text).unwrap_or_default());
        *value = format!("{LABEL}=:{}:", STANDARD.encode(bytes));
    }
}

fn rewrite_value(fields: &mut [Field], field: &str, rewrite: impl Fn(&str) -> String) {
    for (_, value) in fields.iter_mut().filter(|(name, _)| name == field) {
        *value = rewrite(value);
    }
}

fn key(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = signed(session)?;
    session.control(&good)?;
    let unknown = |draft: &mut Draft| draft.parameters.key_id = Some("probe-unknown".into());
    refused(session, "an unknown `keyid`", &spoiled(&good, unknown))?;
    if let Some(other) = &session.client(1)?.signing_key {
        let call = Call { signature: None, ..good }.with_signature(other);
        refused(session, "the key of the second client", &call)?;
    }
    Ok(())
}

fn malformed(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = signed(session)?;
    session.control(&good)?;
    let label = |value: &str| value.replacen(LABEL, "another", 1);
    let rewritten: [(&str, &'static str, RewriteText); 5] = [
        ("another label in `Signature`", "Signature", label),
        ("a signature that is text", "Signature", |value| value.replacen('=', "=\"", 1) + "\""),
        ("a signature without colons", "Signature", |value| value.replace(':', "")),
        ("`Signature-Input` that ends early", "Signature-Input", |value| {
            value.split(')').next().unwrap_or_default().to_owned()
        }),
        ("`Signature-Input` that is not a list", "Signature-Input", |_| format!("{LABEL}=1")),
    ];
    for (title, field, rewrite) in rewritten {
        refused(session, title, &written(&good, move |fields| rewrite_value(fields, field, rewrite)))?;
    }
    Ok(())
}

fn others_beside(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = signed(session)?;
    session.control(&good)?;
    let input = || format!("other=(\"@method\");created={};keyid=\"probe-unknown\";tag=\"another\"", now());
    let signature = format!("other=:{}:", STANDARD.encode([7; 64]));
    let before = {
        let signature = signature.clone();
        move |fields: &mut Vec<Field>| {
            rewrite_value(fields, "Signature-Input", |value| format!("{}, {value}", input()));
            rewrite_value(fields, "Signature", |value| format!("{signature}, {value}"));
        }
    };
    let behind = move |fields: &mut Vec<Field>| {
        fields.push(("Signature-Input".to_owned(), input()));
        fields.push(("Signature".to_owned(), signature.clone()));
    };
    let renamed = |fields: &mut Vec<Field>| {
        for field in ["Signature-Input", "Signature"] {
            rewrite_value(fields, field, |value| value.replacen(LABEL, "another-1", 1));
        }
    };
    let calls = [
        ("another signature before it", written(&good, before)),
        ("another signature in lines of its own", written(&good, behind)),
        ("another label", written(&good, renamed)),
    ];
    for (title, call) in calls {
        check_signed(session, &call)?;
        session.accepted(title, &call)?;
    }
    Ok(())
}

fn replay(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = signed_write(session)?;
    if !good.proofs.is_empty() {
        return Err(skip("a replay would be refused for its proof; the target does not claim certificates"));
    }
    session.control(&good)?;
    check_signed(session, &good)?;
    let sent = session.wire().prepare(&good);
    for (title, role) in [("a signed call", Role::Control), ("the same again", Role::Check)] {
        let exchange = session.wire().send_prepared(&good, sent.clone())?;
        let told = observed(&exchange.answer);
        let accepted = matches!(&exchange.answer, Ok(response) if response.is_success());
        let (expected, verdict) = match (role, accepted) {
            (Role::Control, true) => ("2xx".to_owned(), Verdict::Pass),
            (Role::Control, false) => ("2xx".to_owned(), Verdict::Inconclusive),
            (Role::Check, _) => (Refusal::SIGNATURE.to_string(), Refusal::SIGNATURE.judge(&exchange.answer)),
        };
        session.note(title, role, &expected, told.clone(), verdict, &good, &exchange);
        if role == Role::Control && !accepted {
            return Err(Stop::Inconclusive(format!("the signed call was not answered with success: {told}")));
        }
    }
    Ok(())
}

fn digests_good(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = signed_write(session)?;
    session.control(&good)?;
    let content = good.body.as_deref().unwrap_or_default().as_bytes().to_vec();
    let (short, long) =
        (content_digest(DigestAlgorithm::Sha256, &content), content_digest(DigestAlgorithm::Sha512, &content));
    let values = [
        ("SHA-512", long.clone()),
        ("both", format!("{short}, {long}")),
        ("SHA-256 beside an unknown one", format!("{short}, x-probe=:AAAA:")),
    ];
    for (title, value) in values {
        let call = good.clone().with_field(DIGEST, value);
        check_signed(session, &call)?;
        session.accepted(title, &call)?;
    }
    Ok(())
}

/// Sends a call and verifies the signature of its answer, which is a success or not.
fn answer_signed(session: &mut Session<'_>, title: &str, call: &Call, success: bool) -> Result<(), Stop> {
    let exchange = session.answered(call)?;
    let settings = session.settings();
    let keys = settings.response_keys.as_ref().ok_or_else(|| skip("`response_keys` names no key of the target"))?;
    let told = observed(&exchange.answer);
    let (verdict, told) = match &exchange.answer {
        Ok(response) if response.is_success() == success => {
            match verify_response(&exchange.sent, &settings.target, response, keys, now()) {
                Ok(signature) => (Verdict::Pass, format!("{told}, signed by {}", signature.key_id())),
                Err(error) => (Verdict::Fail, format!("{told}: {error}")),
            }
        }
        Ok(_) | Err(_) => (Verdict::Inconclusive, told),
    };
    session.note(title, Role::Check, "a signature that holds", told, verdict, call, &exchange);
    Ok(())
}
