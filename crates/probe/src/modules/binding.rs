//! Whether a token serves its own client alone (FAPI 2.0 §5.3.4 (5), RFC 8705 §3, RFC 9449 §7).

use sandbox::pki;

use super::{refusal_of_token, refused_alive, with_each_binding};
use crate::authorization::thumbprint;
use crate::call::{Call, Presents};
use crate::exchange::NoAnswer;
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::report::{Role, Severity, Verdict};
use crate::session::{Binding, Session, Stop, made_certificate, observed, skip};

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "certificate-of-another-client",
        purpose: "A token is refused over the certificate of another client",
        clause: "RFC 8705 §3",
        suite: &["fapi2-security-profile-final-ensure-holder-of-key-required"],
        severity: Severity::Failure,
        plans: Plans::Certificate,
        run: |session| {
            let good = session.good_with(Binding::Certificate)?;
            // The other certificate is a good one: nothing but the binding refuses it.
            let others = session.good_of(1, Binding::Certificate)?;
            session.control(&others)?;
            let stolen = good.clone().presenting(Presents::Client(1));
            session.refused_after(&good, "the certificate of the second client", &stolen, &Refusal::TOKEN)
        },
    },
    Module {
        name: "certificate-missing",
        purpose: "A certificate-bound token is refused without a client certificate",
        clause: "RFC 8705 §3",
        suite: &["fapi2-security-profile-final-ensure-holder-of-key-required"],
        severity: Severity::Failure,
        plans: Plans::Certificate,
        run: |session| {
            let good = session.good_with(Binding::Certificate)?;
            session.control(&good)?;
            let bare = good.clone().presenting(Presents::Nothing);
            let refusal = Refusal { closing: true, ..Refusal::TOKEN };
            refused_alive(session, &good, "no client certificate", &bare, &refusal)
        },
    },
    Module {
        name: "certificate-in-field",
        purpose: "A certificate in a header field of the client's is not taken for that of the connection",
        clause: "RFC 9440 §4",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Certificate,
        run: certificate_in_field,
    },
    Module {
        name: "certificate-untrusted",
        purpose: "A certificate of an authority that nobody named is refused",
        clause: "RFC 8705 §7.4, FAPI 2.0 §5.2.2.1",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Certificate,
        run: certificate_untrusted,
    },
    Module {
        name: "certificate-each-request",
        purpose: "Each request on a connection is compared with the certificate",
        clause: "RFC 8705 §3",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Certificate,
        run: certificate_each_request,
    },
    Module {
        name: "certificate-token-as-dpop",
        purpose: "A certificate-bound token under the scheme DPoP is refused",
        clause: "RFC 9449 §7.1",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::Certificate,
        run: |session| {
            let good = session.good_with(Binding::Certificate)?;
            let other = good.clone().scheme("DPoP");
            // Whoever does not know the scheme has nothing to say about it.
            let refusal = if session.settings().claims.dpop { Refusal::PROOF } else { Refusal::NO_CREDENTIALS };
            session.refused_after(&good, "the scheme DPoP and no proof", &other, &refusal)
        },
    },
    Module {
        name: "unbound-token",
        purpose: "A token that is bound to nothing is refused",
        clause: "FAPI 2.0 §5.3.4 (5), FAPI 1.0 Advanced §6.2.1 (2)",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: unbound_token,
    },
    Module {
        name: "confirmation-malformed",
        purpose: "A `cnf` whose thumbprint is of another form or of something else is refused",
        clause: "RFC 8705 §3.1",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Certificate,
        run: confirmation_malformed,
    },
    Module {
        name: "confirmation-further-members",
        purpose: "Members of `cnf` that nobody knows are ignored",
        clause: "RFC 7800 §3.1",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Certificate,
        run: |session| {
            let good = session.call_with_token(Binding::Certificate, |token| token)?;
            session.control(&good)?;
            let call = session.call_with_token(Binding::Certificate, |token| {
                let mut cnf = token.claims().get("cnf").cloned().unwrap_or_default();
                cnf["note"] = "for people".into();
                token.claim("cnf", cnf)
            })?;
            session.accepted("a `cnf` with a further member", &call).map(drop)
        },
    },
    Module {
        name: "both-bindings",
        purpose: "A token that is bound to a certificate and to a key needs both",
        clause: "RFC 8705 §3.1, RFC 9449 §6.1",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Fapi2,
        run: both_bindings,
    },
    Module {
        name: "dpop-token-as-bearer",
        purpose: "A DPoP-bound token is refused as a bearer token, with and without a proof",
        clause: "RFC 9449 §7.2",
        suite: &["fapi2-security-profile-final-dpop-negative-tests"],
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: dpop_token_as_bearer,
    },
    Module {
        name: "dpop-key-of-another-client",
        purpose: "A proof by the key of another client is refused",
        clause: "RFC 9449 §4.3 (12)",
        suite: &["fapi2-security-profile-final-dpop-negative-tests"],
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: |session| {
            let good = session.good_with(Binding::Dpop)?;
            let others = session.good_of(1, Binding::Dpop)?;
            session.control(&others)?;
            let stolen = good.clone().signed_by(session.proof_key(1)?);
            session.refused_after(&good, "a proof of the second client", &stolen, &Refusal::PROOF)
        },
    },
];

fn certificate_in_field(session: &mut Session<'_>) -> Result<(), Stop> {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let good = session.good_with(Binding::Certificate)?;
    let leaf = session.certificate(0)?.chain.first().cloned().ok_or_else(|| skip("the client has no certificate"))?;
    let encoded = STANDARD.encode(&leaf);
    let pem = format!("-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n");
    let escaped: String = form_urlencoded::byte_serialize(pem.as_bytes()).collect::<String>().replace('+', "%20");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &leaf);
    let hash = data_encoding::HEXLOWER.encode(digest.as_ref());
    let fields = [
        ("Client-Cert", format!(":{encoded}:")),
        ("X-SSL-Cert", escaped.clone()),
        ("X-SSL-Client-Cert", escaped.clone()),
        ("ssl-client-cert", escaped.clone()),
        ("X-Client-Cert", escaped.clone()),
        ("X-Forwarded-Client-Cert", format!("Hash={hash};Cert=\"{escaped}\"")),
        ("X-Amzn-Mtls-Clientcert", escaped.clone()),
        ("X-ARR-ClientCert", encoded.clone()),
        ("X-Client-Certificate", encoded.clone()),
    ];
    let mut presents = vec![(Presents::Nothing, "no certificate")];
    if session.certificate(1).is_ok() {
        presents.push((Presents::Client(1), "the certificate of the second client"));
    }
    // A field alone in its call is refused for nothing else: neither for its size nor for the company of others.
    let refusal = Refusal { closing: true, statuses: &[400, 401, 403, 431], errors: &[] };
    for (name, value) in fields {
        let good = good.clone().field(name, value);
        for (presents, what) in &presents {
            match session.control(&good) {
                Err(Stop::Inconclusive(why)) => {
                    let title = format!("`{name}`, which a good call cannot have");
                    let expected = "a control that succeeds";
                    session.step(&title, Role::Check, None, expected, why, Verdict::Inconclusive, Vec::new());
                    break;
                }
                control => control.map(drop)?,
            }
            let title = format!("{what}, and that of the token in `{name}`");
            session.refused(&title, &good.clone().presenting(presents.clone()), &refusal)?;
        }
    }
    session.control(&good).map(drop)
}

fn certificate_untrusted(session: &mut Session<'_>) -> Result<(), Stop> {
    session.needs(session.settings().claims.private_authorities, "to trust certificates of named authorities alone")?;
    let name = "probe-unknown-authority";
    let made = pki::Authority::new(name).client("probe");
    // With a token for it, if one can be made: then nothing but the trust refuses it.
    let good = session.good_with(Binding::Certificate)?;
    let call = match session.issued(0, Binding::Certificate) {
        Ok(token) => {
            let token = token.bound_to_certificate(&made).sign(&session.issuer()?.key);
            session.call_with(0, Binding::Certificate, crate::session::made_token(token))?
        }
        Err(_) => good.clone(),
    };
    let call = call.presenting(made_certificate("MADE", &made));
    session.control(&good)?;
    let title = "a certificate of an authority made for this call";
    refused_alive(session, &good, title, &call, &Refusal::CERTIFICATE)
}

fn certificate_each_request(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good_with(Binding::Certificate)?;
    let others = session.good_of(1, Binding::Certificate)?;
    session.control(&others)?;
    let stolen = Call { presents: Presents::Client(0), ..others };
    let exchanges = session.wire().send_in_a_row(&[good.clone(), stolen.clone()])?;
    let first = exchanges.first().ok_or_else(|| Stop::Inconclusive("nothing was sent".to_owned()))?;
    let good_came = matches!(&first.answer, Ok(response) if response.is_success());
    let told = observed(&first.answer);
    let verdict = if good_came { Verdict::Pass } else { Verdict::Inconclusive };
    session.note("the token of the connection's client", Role::Control, "2xx", told, verdict, &good, first);
    if !good_came {
        return Err(Stop::Inconclusive("the first request on the connection did not succeed".to_owned()));
    }
    let Some(second) = exchanges.get(1) else {
        return Err(skip("the target closes the connection after each request"));
    };
    let verdict = match &second.answer {
        // Between two requests a server may close at any time.
        Err(NoAnswer::Closed) => Verdict::Inconclusive,
        answer => Refusal::TOKEN.judge(answer),
    };
    let told = observed(&second.answer);
    let expected = Refusal::TOKEN.to_string();
    let title = "then the token of another client on the same connection";
    session.note(title, Role::Check, &expected, told, verdict, &stolen, second);
    Ok(())
}

fn unbound_token(session: &mut Session<'_>) -> Result<(), Stop> {
    with_each_binding(session, |session, binding| {
        let good = session.call_with_token(binding, |token| token)?;
        session.control(&good)?;
        let refusal = refusal_of_token(binding);
        // The calls say which binding they are made for, since these tokens do not.
        let proven = match binding {
            Binding::Certificate => "over a certificate",
            Binding::Dpop => "with a proof",
        };
        let unbound = session.call_with_token(binding, |token| token.without("cnf"))?;
        session.refused(&format!("a token without `cnf` {proven}"), &unbound, &refusal)?;
        let other = session.call_with_token(binding, |token| token.claim("cnf", serde_json::json!({ "kid": "a" })))?;
        session.refused(&format!("a token with a `cnf` of another kind {proven}"), &other, &refusal)?;
        if binding == Binding::Dpop {
            let bearer = Call { proofs: Vec::new(), ..unbound.scheme("Bearer") };
            session.refused("a token without `cnf` as a bearer token", &bearer, &Refusal::TOKEN)?;
        }
        Ok(())
    })
}

fn confirmation_malformed(session: &mut Session<'_>) -> Result<(), Stop> {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use serde_json::{Value, json};
    let good = session.call_with_token(Binding::Certificate, |token| token)?;
    session.control(&good)?;
    let chain = &session.certificate(0)?.chain;
    let leaf = chain.first().ok_or_else(|| skip("the client has no certificate"))?;
    let right = thumbprint(leaf);
    let sha1 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, leaf);
    let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, leaf);
    let hex = data_encoding::HEXLOWER.encode(sha256.as_ref());
    let short: String = right.chars().take(20).collect();
    let tail: String = "A".repeat(right.len().saturating_sub(20));
    let pem = STANDARD.encode(leaf);
    let cases: Vec<(&str, Value)> = vec![
        ("a list", json!({ "x5t#S256": [right] })),
        ("a text in the place of `cnf`", json!(right)),
        ("hexadecimal", json!({ "x5t#S256": hex })),
        ("padding", json!({ "x5t#S256": format!("{right}=") })),
        ("lower case", json!({ "x5t#S256": right.to_ascii_lowercase() })),
        ("the first half of the thumbprint, and then something else", json!({ "x5t#S256": format!("{short}{tail}") })),
        ("the beginning of the thumbprint alone", json!({ "x5t#S256": short })),
        ("an empty text", json!({ "x5t#S256": "" })),
        ("a SHA-1 thumbprint as `x5t`", json!({ "x5t": URL_SAFE_NO_PAD.encode(sha1.as_ref()) })),
        ("the hash of the encoded certificate", json!({ "x5t#S256": thumbprint(pem.as_bytes()) })),
    ];
    for (title, cnf) in cases {
        let call = session.call_with_token(Binding::Certificate, |token| token.claim("cnf", cnf))?;
        session.refused(title, &call, &Refusal::TOKEN)?;
    }
    Ok(())
}

fn both_bindings(session: &mut Session<'_>) -> Result<(), Stop> {
    let claims = &session.settings().claims;
    session.needs(claims.certificate && claims.dpop, "both bindings")?;
    let leaf = session.certificate(0)?.chain.first().ok_or_else(|| skip("the client has no certificate"))?;
    let bound = thumbprint(leaf);
    let good = session.call_with_token(Binding::Dpop, |token| token.bound_to_thumbprint(&bound))?;
    let good = good.presenting(Presents::Client(0));
    session.control(&good)?;
    let bare = good.clone().presenting(Presents::Nothing);
    let refusal = Refusal { statuses: &[400, 401], errors: &[], closing: true };
    session.refused("its proof without its certificate", &bare, &refusal)?;
    let unproven = Call { proofs: Vec::new(), ..good.clone() };
    session.refused("its certificate without a proof", &unproven, &refusal)?;
    refused_alive(session, &good, "its certificate under the scheme Bearer", &unproven.scheme("Bearer"), &refusal)
}

fn dpop_token_as_bearer(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good_with(Binding::Dpop)?;
    session.control(&good)?;
    let bearer = good.clone().scheme("Bearer");
    session.refused("the scheme Bearer with a good proof", &bearer, &Refusal::PROOF)?;
    session.refused("the scheme Bearer without a proof", &Call { proofs: Vec::new(), ..bearer }, &Refusal::TOKEN)?;
    session.refused("the scheme DPoP without a proof", &Call { proofs: Vec::new(), ..good }, &Refusal::PROOF)
}
