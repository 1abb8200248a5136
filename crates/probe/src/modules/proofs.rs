//! What a DPoP proof is checked for (RFC 9449 §4.3).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use sandbox::keys::{KeyKind, SigningKey};
use sandbox::tokens::{hs256, unsigned};
use serde_json::{Value, json};

use super::{refused_alive, weak};
use crate::call::Call;
use crate::clock::now;
use crate::exchange::Response;
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::report::{Role, Severity, Verdict};
use crate::session::{Binding, Session, Stop, observed};

const SUITE: &[&str] = &["fapi2-security-profile-final-dpop-negative-tests"];

/// A rule of which the breach is one change of a good proof.
macro_rules! refused {
    ($name:literal, $purpose:literal, $clause:literal, [$(($title:literal, $spoil:expr)),+ $(,)?]) => {
        Module {
            name: $name,
            purpose: $purpose,
            clause: $clause,
            suite: SUITE,
            severity: Severity::Failure,
            plans: Plans::Dpop,
            run: |session| {
                let good = session.good_with(Binding::Dpop)?;
                $(session.refused_after(&good, $title, &good.clone().spoiled($spoil), &Refusal::PROOF)?;)+
                Ok(())
            },
        }
    };
}

/// A proof that is odd and good.
macro_rules! accepted {
    ($name:literal, $severity:expr, $purpose:literal, $clause:literal, $suite:expr, [$(($title:literal, $change:expr)),+ $(,)?]) => {
        Module {
            name: $name,
            purpose: $purpose,
            clause: $clause,
            suite: $suite,
            severity: $severity,
            plans: Plans::Dpop,
            run: |session| {
                let good = session.good_with(Binding::Dpop)?;
                session.control(&good)?;
                $(session.accepted($title, &good.clone().spoiled($change))?;)+
                Ok(())
            },
        }
    };
}

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "dpop-proof-missing",
        purpose: "The scheme DPoP without a proof is refused",
        clause: "RFC 9449 §7.1",
        suite: SUITE,
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: |session| {
            let good = session.good_with(Binding::Dpop)?;
            session.refused_after(&good, "no proof", &Call { proofs: Vec::new(), ..good.clone() }, &Refusal::PROOF)
        },
    },
    Module {
        name: "dpop-two-proofs",
        purpose: "More than one proof is refused",
        clause: "RFC 9449 §4.3 (1)",
        suite: SUITE,
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: two_proofs,
    },
    Module {
        name: "dpop-field-name",
        purpose: "The name of the field is read in any case",
        clause: "RFC 9110 §5.1",
        suite: SUITE,
        severity: Severity::Warning,
        plans: Plans::Dpop,
        run: |session| {
            let good = session.good_with(Binding::Dpop)?;
            session.control(&good)?;
            for name in ["DPOP", "dpop"] {
                session.accepted(&format!("the field as `{name}`"), &Call { proof_field: name, ..good.clone() })?;
            }
            Ok(())
        },
    },
    refused!(
        "dpop-malformed",
        "What is not a compact JWS is refused",
        "RFC 9449 §4.3 (2)",
        [
            ("two parts", |proof, key| {
                let text = proof.sign(key);
                text.rsplit_once('.').map(|(head, _)| head.to_owned()).unwrap_or_default()
            }),
            ("four parts", |proof, key| format!("{}.e30", proof.sign(key))),
            ("five parts", |proof, key| format!("{}.e30.e30", proof.sign(key))),
            ("not base64url", |proof, key| format!("{}=", proof.sign(key))),
            ("bits that mean nothing in the last letter", |proof, key| {
                super::tokens::with_other_bits(&proof.sign(key)).unwrap_or_default()
            }),
            ("a header that is not JSON", |_, key| key.sign_raw(b"{", b"{}")),
            ("claims that are not an object", |_, key| key
                .sign(&json!({ "typ": "dpop+jwt", "alg": key.kind().algorithm(), "jwk": key.bare_jwk() }), &json!([]))),
            ("not a JWS at all", |_, _| "proof".to_owned()),
        ]
    ),
    refused!(
        "dpop-typ",
        "A `typ` other than `dpop+jwt` is refused",
        "RFC 9449 §4.3 (4)",
        [
            ("no `typ`", |proof, key| proof.without_header("typ").sign(key)),
            ("`typ` is `JWT`", |proof, key| proof.header("typ", "JWT").sign(key)),
            ("`typ` is `dpop+jwt+wrong`", |proof, key| proof.header("typ", "dpop+jwt+wrong").sign(key)),
            ("`typ` is `at+jwt`", |proof, key| proof.header("typ", "at+jwt").sign(key)),
        ]
    ),
    refused!(
        "dpop-alg",
        "An algorithm that is symmetric, `none`, or not allowed by FAPI is refused",
        "RFC 9449 §4.3 (5), FAPI 2.0 §5.4.1",
        [
            ("no `alg`", |proof, key| proof.without_header("alg").sign(key)),
            ("`none` without a signature", |proof, key| altered(&proof.sign(key), |header, claims| {
                header["alg"] = json!("none");
                unsigned(header, claims)
            })),
            ("`None`", |proof, key| altered(&proof.sign(key), |header, claims| {
                header["alg"] = json!("None");
                unsigned(header, claims)
            })),
            ("HS256 with the key in `jwk`", |proof, key| altered(&proof.sign(key), |header, claims| {
                header["alg"] = json!("HS256");
                header["jwk"] = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode([7; 32]) });
                hs256(&[7; 32], header, claims)
            })),
            ("RS256", |proof, _| {
                let rsa = SigningKey::generate(KeyKind::Ps256, "probe");
                altered(&proof.sign(&rsa), |header, claims| {
                    header["alg"] = json!("RS256");
                    rsa.danger_sign_rs256(header, claims)
                })
            }),
        ]
    ),
    Module {
        name: "dpop-alg-rs256",
        purpose: "RS256 is refused also for a key that a token is bound to",
        clause: "FAPI 2.0 §5.4.1",
        suite: SUITE,
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: bound_to_rsa,
    },
    refused!(
        "dpop-signature",
        "A signature that does not verify is refused",
        "RFC 9449 §4.3 (6)",
        [
            ("a signature that is changed", |proof, key| changed_signature(&proof.sign(key))),
            ("no signature", |proof, key| {
                let text = proof.sign(key);
                text.rsplit_once('.').map(|(head, _)| format!("{head}.")).unwrap_or_default()
            }),
            ("a signature of another key", |proof, key| proof
                .header("jwk", key.bare_jwk())
                .sign(&SigningKey::generate(key.kind(), "probe"))),
            ("claims that are changed", |proof, key| {
                let (signed, other) = (proof.sign(key), proof.claim("jti", "another").sign(key));
                let parts: Vec<&str> = signed.split('.').collect();
                let claims = other.split('.').nth(1).unwrap_or_default();
                format!("{}.{claims}.{}", parts.first().unwrap_or(&""), parts.get(2).unwrap_or(&""))
            }),
            ("zeros", |proof, key| {
                let text = proof.sign(key);
                text.rsplit_once('.')
                    .map(|(head, _)| format!("{head}.{}", URL_SAFE_NO_PAD.encode([0; 64])))
                    .unwrap_or_default()
            }),
        ]
    ),
    refused!(
        "dpop-jwk",
        "A `jwk` that is missing, private, symmetric or not a key is refused",
        "RFC 9449 §4.3 (3) and (7)",
        [
            ("no `jwk`", |proof, key| proof.without_header("jwk").sign(key)),
            ("a text", |proof, key| proof.header("jwk", "key").sign(key)),
            ("a private member", |proof, key| {
                let mut jwk = key.bare_jwk();
                jwk["d"] = json!(URL_SAFE_NO_PAD.encode([1; 32]));
                proof.header("jwk", jwk).sign(key)
            }),
            ("a point that is not on the curve", |proof, key| {
                proof.header("jwk", json!({ "kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode([1; 32]), "y": URL_SAFE_NO_PAD.encode([1; 32]) })).sign(key)
            }),
        ]
    ),
    refused!(
        "dpop-htm",
        "A proof for another method is refused",
        "RFC 9449 §4.3 (8)",
        [
            ("no `htm`", |proof, key| proof.without("htm").sign(key)),
            ("`htm` is PUT", |proof, key| proof.claim("htm", "PUT").sign(key)),
            ("a list", |proof, key| proof.claim("htm", json!(["GET", "HEAD"])).sign(key)),
        ]
    ),
    Module {
        name: "dpop-htm-case",
        purpose: "The method is compared with its case",
        clause: "RFC 9449 §4.3 (8), RFC 9110 §9.1",
        suite: &["ValidateDpopProofResourceRequest"],
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: |session| {
            let good = session.good_with(Binding::Dpop)?;
            let lower = good.method.to_ascii_lowercase();
            let call = good.clone().spoiled(move |proof, key| proof.claim("htm", lower.as_str()).sign(key));
            session.refused_after(&good, "the method in lower case", &call, &Refusal::PROOF)
        },
    },
    Module {
        name: "dpop-htu",
        purpose: "A proof for another URL is refused",
        clause: "RFC 9449 §4.3 (9)",
        suite: SUITE,
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: htu,
    },
    Module {
        name: "dpop-htu-from-fields",
        purpose: "The URL that a proof is compared with does not come from fields that the client writes",
        clause: "RFC 9449 §4.3 (9)",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: htu_from_fields,
    },
    Module {
        name: "dpop-htu-query",
        purpose: "Query and fragment do not count, on either side",
        clause: "RFC 9449 §4.3 (9)",
        suite: SUITE,
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: htu_query,
    },
    Module {
        name: "dpop-htu-normalized",
        purpose: "URLs that RFC 3986 calls equivalent are equal",
        clause: "RFC 9449 §4.3, RFC 3986 §6.2.2 and §6.2.3",
        suite: SUITE,
        severity: Severity::Warning,
        plans: Plans::Dpop,
        run: htu_normalized,
    },
    Module {
        name: "dpop-iat",
        purpose: "A proof of an hour ago or ahead, or without a time, is refused unless a nonce vouches for it",
        clause: "RFC 9449 §4.3 (11), §11.1",
        suite: SUITE,
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: iat,
    },
    accepted!(
        "dpop-iat-near",
        Severity::Warning,
        "A proof of ten seconds ago or eight seconds ahead is accepted",
        "RFC 9449 §11.1",
        &[
            "fapi2-security-profile-final-ensure-dpopproof-with-iat-10seconds-before-succeeds",
            "fapi2-security-profile-final-ensure-dpopproof-with-iat-10seconds-after-succeeds"
        ],
        [
            ("ten seconds ago", |proof, key| proof.claim("iat", now().saturating_sub(10)).sign(key)),
            ("eight seconds ahead", |proof, key| proof.claim("iat", now().saturating_add(8)).sign(key)),
        ]
    ),
    refused!(
        "dpop-jti",
        "A proof whose `jti` is missing or not a text is refused",
        "RFC 9449 §4.3 (3)",
        [
            ("no `jti`", |proof, key| proof.without("jti").sign(key)),
            ("a number", |proof, key| proof.claim("jti", 5).sign(key)),
            ("an empty text", |proof, key| proof.claim("jti", "").sign(key)),
        ]
    ),
    refused!(
        "dpop-ath",
        "A proof for another token is refused",
        "RFC 9449 §4.3 (12)",
        [
            ("no `ath`", |proof, key| proof.without("ath").sign(key)),
            ("the hash of another token", |proof, key| proof.for_token("another").sign(key)),
            ("an empty text", |proof, key| proof.claim("ath", "").sign(key)),
        ]
    ),
    Module {
        name: "dpop-key-unknown",
        purpose: "A proof by a key that nobody knows is refused",
        clause: "RFC 9449 §4.3 (12)",
        suite: SUITE,
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: |session| {
            let good = session.good_with(Binding::Dpop)?;
            for kind in KeyKind::ALL {
                let other = SigningKey::generate(kind, "probe");
                let title = format!("a new key, {}", kind.algorithm());
                session.refused_after(&good, &title, &good.clone().signed_by(&other), &Refusal::PROOF)?;
            }
            Ok(())
        },
    },
    refused!(
        "dpop-crit",
        "A critical header parameter that nobody knows is refused",
        "RFC 7515 §4.1.11",
        [
            ("`crit` names `b64`", |proof, key| proof.header("crit", json!(["b64"])).header("b64", true).sign(key)),
            ("`crit` names something unknown", |proof, key| proof
                .header("crit", json!(["probe"]))
                .header("probe", 1)
                .sign(key)),
        ]
    ),
    Module {
        name: "dpop-iat-window",
        purpose: "A proof of ten minutes ago, or of two minutes ahead, is refused unless a nonce vouches for it",
        clause: "RFC 9449 §11.1",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::Dpop,
        run: |session| {
            let good = session.good_with(Binding::Dpop)?;
            session.control(&good)?;
            early_and_late(session, &good, &[("ten minutes ago", -600), ("two minutes ahead", 120)])
        },
    },
    Module {
        name: "dpop-nbf-exp-broken",
        purpose: "A proof that says that it is not valid is refused",
        clause: "RFC 7519 §4.1.4, §4.1.5",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::Dpop,
        run: |session| {
            let good = session.good_with(Binding::Dpop)?;
            let ended = good.clone().spoiled(|proof, key| proof.claim("exp", now().saturating_sub(120)).sign(key));
            session.refused_after(&good, "`exp` two minutes ago", &ended, &Refusal::PROOF)?;
            let early = good.clone().spoiled(|proof, key| proof.claim("nbf", now().saturating_add(120)).sign(key));
            session.refused_after(&good, "`nbf` in two minutes", &early, &Refusal::PROOF)
        },
    },
    Module {
        name: "dpop-duplicate-members",
        purpose: "A proof in which a claim stands twice is refused",
        clause: "RFC 7519 §4, RFC 8259 §4",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::Dpop,
        run: |session| {
            let good = session.good_with(Binding::Dpop)?;
            let twice = good.clone().spoiled(|proof, key| {
                altered(&proof.sign(key), |header, claims| {
                    let text = claims.to_string();
                    let claims = format!("{{\"htm\":\"PUT\",{}", text.get(1..).unwrap_or_default());
                    key.sign_raw(header.to_string().as_bytes(), claims.as_bytes())
                })
            });
            session.refused_after(&good, "`htm` twice", &twice, &Refusal::PROOF)
        },
    },
    Module {
        name: "dpop-key-weak",
        purpose: "A proof by an RSA key of 1024 bits is refused",
        clause: "FAPI 2.0 §5.4.1",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: key_weak,
    },
    Module {
        name: "dpop-key-symmetric",
        purpose: "A token that is bound to a symmetric key is refused, whatever proof comes with it",
        clause: "RFC 9449 §4.3 (5)",
        suite: SUITE,
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: key_symmetric,
    },
    accepted!(
        "dpop-further-members",
        Severity::Failure,
        "Header parameters and claims that nobody knows are ignored",
        "RFC 7515 §4, RFC 7519 §4",
        SUITE,
        [
            ("a further header parameter and claim", |proof, key| proof
                .header("probe", "1")
                .claim("probe", "1")
                .sign(key)),
            ("further members of `jwk`", |proof, key| {
                let mut jwk = key.bare_jwk();
                jwk["use"] = json!("sig");
                jwk["kid"] = json!("a");
                proof.header("jwk", jwk).sign(key)
            }),
        ]
    ),
    accepted!(
        "dpop-nbf-exp",
        Severity::Failure,
        "A proof with `nbf` and `exp` that hold is accepted",
        "RFC 7519 §4.1",
        &["check-dpop-proof-nbf-exp"],
        [("`nbf` and `exp`", |proof, key| proof.claim("nbf", now()).claim("exp", now().saturating_add(300)).sign(key)),]
    ),
    accepted!(
        "dpop-iat-fraction",
        Severity::Warning,
        "An `iat` with a fraction is accepted",
        "RFC 7519 §2",
        &[],
        [("half a second", |proof, key| proof.claim("iat", json!(to_half(now()))).sign(key)),]
    ),
    Module {
        name: "dpop-no-lockout",
        purpose: "A good proof is accepted after many that were refused",
        clause: "RFC 9449 §4.3",
        suite: SUITE,
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: no_lockout,
    },
];

fn two_proofs(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good_with(Binding::Dpop)?;
    session.control(&good)?;
    let twice = good.proofs.iter().flat_map(|proof| [proof.clone(), proof.clone()]).collect();
    session.refused("two fields", &Call { proofs: twice, ..good.clone() }, &Refusal::PROOF)?;
    let joined = good.spoiled(|proof, key| format!("{}, {}", proof.sign(key), proof.claim("jti", "second").sign(key)));
    session.refused("two proofs in one field", &joined, &Refusal::PROOF)
}

fn bound_to_rsa(session: &mut Session<'_>) -> Result<(), Stop> {
    let key = SigningKey::generate(KeyKind::Ps256, "probe");
    let jkt = key.thumbprint();
    let good = session.call_with_token(Binding::Dpop, |token| token.bound_to_key(jkt))?.signed_by(&key);
    let spoiled = good.clone().spoiled(|proof, key| {
        altered(&proof.sign(key), |header, claims| {
            header["alg"] = json!("RS256");
            key.danger_sign_rs256(header, claims)
        })
    });
    session.refused_after(&good, "RS256 by the RSA key that the token is bound to", &spoiled, &Refusal::PROOF)
}

fn htu(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good_with(Binding::Dpop)?;
    session.control(&good)?;
    let (target, path) = (&session.settings().target, session.settings().target.url.path().to_owned());
    let (host, port) = (target.host().to_owned(), target.port());
    let authority = target.authority();
    let other_port = if port == 65_535 { 1_024 } else { port.saturating_add(1) };
    let urls = [
        ("another host", format!("https://probe.invalid{path}")),
        ("another host of the same port", format!("https://probe.invalid:{port}{path}")),
        ("another path", format!("https://{authority}{path}/other")),
        ("the path with a slash more", format!("https://{authority}{path}/")),
        ("the host alone", format!("https://{authority}/")),
        ("another port", format!("https://{host}:{other_port}{path}")),
        ("another scheme", format!("http://{authority}{path}")),
        ("the path alone", path.clone()),
        ("a name and password", format!("https://a:b@{authority}{path}")),
        ("nothing", String::new()),
    ];
    for (title, url) in urls {
        let call = good.clone().spoiled(move |proof, key| proof.claim("htu", url.as_str()).sign(key));
        session.refused(title, &call, &Refusal::PROOF)?;
    }
    let missing = good.spoiled(|proof, key| proof.without("htu").sign(key));
    session.refused("no `htu`", &missing, &Refusal::PROOF)
}

fn htu_from_fields(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good_with(Binding::Dpop)?;
    session.control(&good)?;
    let path = session.settings().target.url.path();
    let url = format!("https://probe.invalid{path}");
    let spoiled = good.clone().spoiled(move |proof, key| proof.claim("htu", url.as_str()).sign(key));
    let refusal = Refusal { statuses: &[400, 401, 403, 404, 421], errors: &[], closing: true };
    let forwarded = spoiled
        .clone()
        .field("X-Forwarded-Host", "probe.invalid")
        .field("X-Forwarded-Proto", "https")
        .field("X-Forwarded-Port", "443")
        .field("Forwarded", "host=probe.invalid;proto=https")
        .field("X-Original-Host", "probe.invalid");
    session.refused("a proof for the host of `X-Forwarded-Host`", &forwarded, &refusal)?;
    let host = Call { host: "probe.invalid".to_owned(), ..spoiled };
    session.refused("a proof for the host of `Host`, which is another", &host, &refusal)?;
    let original = session.good_with(Binding::Dpop)?;
    let url = format!("{}/probe", session.settings().target.origin());
    let spoiled = original.spoiled(move |proof, key| proof.claim("htu", url.as_str()).sign(key));
    let call = spoiled
        .field("X-Original-URL", "/probe")
        .field("X-Rewrite-URL", "/probe")
        .field("X-Forwarded-Prefix", "/probe");
    refused_alive(session, &good, "a proof for the path of `X-Original-URL`", &call, &refusal)
}

fn htu_query(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good_with(Binding::Dpop)?;
    session.control(&good)?;
    let htu = session.settings().target.htu();
    let with = good.clone().spoiled(move |proof, key| proof.claim("htu", format!("{htu}?probe=1#part")).sign(key));
    session.accepted("`htu` with a query and a fragment", &with)?;
    let call = good.query("probe=1");
    let exchange = session.answered(&call)?;
    let (told, title) = (observed(&exchange.answer), "a query that `htu` does not have");
    let verdict = match &exchange.answer {
        Ok(response) if response.is_success() => Verdict::Pass,
        // An API may refuse a query that it does not know, which says nothing about the proof.
        Ok(response) if response.says_nothing() || is_about_query(response) => Verdict::Inconclusive,
        Ok(_) => Verdict::Fail,
        Err(_) => Verdict::Inconclusive,
    };
    session.note(title, Role::Check, "2xx", told, verdict, &call, &exchange);
    Ok(())
}

/// Whether a call is refused for something else than its credentials.
fn is_about_query(response: &Response) -> bool {
    let of_proof = response.status == StatusCode::UNAUTHORIZED || response.error("DPoP").is_some();
    response.status.is_client_error() && !of_proof
}

fn htu_normalized(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good_with(Binding::Dpop)?;
    session.control(&good)?;
    let target = &session.settings().target;
    let path = target.url.path();
    let upper = format!("HTTPS://{}{path}", target.authority().to_ascii_uppercase());
    let mut urls = vec![("scheme and host in upper case", upper)];
    if target.port() == 443 {
        urls.push(("the default port", format!("https://{}:443{path}", target.host())));
    }
    if let Some((at, letter)) = path.char_indices().find(|(_, letter)| letter.is_ascii_alphabetic()) {
        let (before, after) =
            (path.get(..at).unwrap_or_default(), path.get(at.saturating_add(1)..).unwrap_or_default());
        let encoded = format!("{before}%{:02X}{after}", u32::from(letter));
        urls.push(("a letter that is percent-encoded", format!("{}{encoded}", target.origin())));
    }
    for (title, url) in urls {
        let call = good.clone().spoiled(move |proof, key| proof.claim("htu", url.as_str()).sign(key));
        session.accepted(title, &call)?;
    }
    Ok(())
}

fn iat(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good_with(Binding::Dpop)?;
    session.control(&good)?;
    let missing = good.clone().spoiled(|proof, key| proof.without("iat").sign(key));
    session.refused("no `iat`", &missing, &Refusal::PROOF)?;
    let text = good.clone().spoiled(|proof, key| proof.claim("iat", now().to_string()).sign(key));
    session.refused("a text", &text, &Refusal::PROOF)?;
    early_and_late(session, &good, &[("an hour ago", -3_600), ("an hour ahead", 3_600)])
}

/// Proofs without a nonce, of so many seconds ahead.
fn early_and_late(session: &mut Session<'_>, good: &Call, cases: &[(&str, i64)]) -> Result<(), Stop> {
    let refusal = Refusal { errors: &["invalid_dpop_proof", "invalid_token", "use_dpop_nonce"], ..Refusal::PROOF };
    for (title, ahead) in cases {
        let ahead = *ahead;
        let time = move || now().saturating_add_signed(ahead);
        let call = good.clone().without_nonce().spoiled(move |proof, key| proof.claim("iat", time()).sign(key));
        session.refused(title, &call, &refusal)?;
    }
    Ok(())
}

fn key_weak(session: &mut Session<'_>) -> Result<(), Stop> {
    let strong = SigningKey::generate(KeyKind::Ps256, "probe");
    let jkt = strong.thumbprint();
    let control = session.call_with_token(Binding::Dpop, |token| token.bound_to_key(jkt))?.signed_by(&strong);
    session.control(&control)?;
    let jkt = weak::thumbprint();
    let call = session.call_with_token(Binding::Dpop, |token| token.bound_to_key(jkt))?;
    let call = call.spoiled(|proof, key| {
        altered(&proof.sign(key), |header, claims| {
            header["alg"] = json!("PS256");
            header["jwk"] = weak::jwk();
            weak::sign(header, claims)
        })
    });
    session.refused("a proof by the key of 1024 bits that the token is bound to", &call, &Refusal::PROOF)
}

fn key_symmetric(session: &mut Session<'_>) -> Result<(), Stop> {
    let control = session.call_with_token(Binding::Dpop, |token| token)?;
    session.control(&control)?;
    let secret = [7; 32];
    let k = URL_SAFE_NO_PAD.encode(secret);
    // RFC 7638 §3.2: the members of a symmetric key.
    let jkt = crate::authorization::thumbprint(format!("{{\"k\":\"{k}\",\"kty\":\"oct\"}}").as_bytes());
    let call = session.call_with_token(Binding::Dpop, |token| token.bound_to_key(jkt))?;
    let call = call.spoiled(move |proof, key| {
        altered(&proof.sign(key), |header, claims| {
            header["alg"] = json!("HS256");
            header["jwk"] = json!({ "kty": "oct", "k": k });
            hs256(&secret, header, claims)
        })
    });
    session.refused("HS256 by the key that the token is bound to", &call, &Refusal::PROOF)
}

fn no_lockout(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good_with(Binding::Dpop)?;
    session.control(&good)?;
    let bad = good.clone().spoiled(|proof, key| changed_signature(&proof.sign(key)));
    // The conformance suite makes about as many in a minute.
    for _ in 0..20 {
        session.answered(&bad)?;
    }
    let exchange = session.answered(&good)?;
    // To be asked for fewer calls is what must not happen here.
    let verdict = match &exchange.answer {
        Ok(response) if response.is_success() => Verdict::Pass,
        Ok(_) => Verdict::Fail,
        Err(_) => Verdict::Inconclusive,
    };
    let told = observed(&exchange.answer);
    session.note("a good proof after twenty bad ones", Role::Check, "2xx", told, verdict, &good, &exchange);
    Ok(())
}

/// The header and claims of a proof, to be signed otherwise.
fn altered(signed: &str, sign: impl FnOnce(&mut Value, &Value) -> String) -> String {
    let part = |index: usize| {
        let part = signed.split('.').nth(index).unwrap_or_default();
        let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
        serde_json::from_slice::<Value>(&bytes).unwrap_or_default()
    };
    let (mut header, claims) = (part(0), part(1));
    sign(&mut header, &claims)
}

/// The same with another letter in the middle of the signature.
pub(super) fn changed_signature(signed: &str) -> String {
    let Some((head, signature)) = signed.rsplit_once('.') else { return String::new() };
    let middle = signature.len() / 2;
    let changed = signature.char_indices().map(|(at, letter)| match (at == middle, letter) {
        (true, 'A') => 'B',
        (true, _) => 'A',
        (false, letter) => letter,
    });
    format!("{head}.{}", changed.collect::<String>())
}

#[expect(clippy::cast_precision_loss, reason = "the seconds of a year to come are far below 2^53")]
fn to_half(seconds: u64) -> f64 {
    seconds as f64 - 0.5
}
