//! What a token is checked for (FAPI 2.0 §5.3.4 (3), RFC 9068 §4, RFC 8725).

use std::net::TcpListener;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sandbox::keys::{KeyKind, SigningKey};
use sandbox::tokens::{AccessToken, hs256, jwks, unsigned};
use serde_json::{Value, json};

use super::fetched::Fetched;
use super::{refusal_of_token, titled, with_each_binding};
use crate::call::{Call, Token};
use crate::clock::now;
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::report::{Role, Severity, Verdict};
use crate::session::{Binding, Session, Stop, made_token, observed, skip};
use crate::settings::Issuer;

/// A rule of which the breach is one change of a good token, which its issuer signs.
macro_rules! refused {
    ($name:literal, $purpose:literal, $clause:literal, [$(($title:literal, $change:expr)),+ $(,)?]) => {
        Module {
            name: $name,
            purpose: $purpose,
            clause: $clause,
            suite: &[],
            severity: Severity::Failure,
            plans: Plans::All,
            run: |session| {
                $(issued(session, $title, $change)?;)+
                Ok(())
            },
        }
    };
}

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "token-unknown",
        purpose: "A text that nobody issued is refused",
        clause: "RFC 6750 §3.1",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: |session| {
            for (title, text) in
                [("a random text", "cHJvYmUtcHJvYmUtcHJvYmU"), ("three parts of nothing", "e30.e30.AAAA")]
            {
                forged(session, title, |_| Some(text.to_owned()))?;
            }
            Ok(())
        },
    },
    Module {
        name: "token-signature",
        purpose: "A token whose signature does not verify is refused",
        clause: "FAPI 2.0 §5.3.4 (3), FAPI 1.0 Baseline §6.2.1 (4), RFC 7515 §5.2",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: |session| {
            forged(session, "a signature that is changed", |token| {
                token.contains('.').then(|| super::proofs::changed_signature(token))
            })?;
            forged(session, "no signature", |token| token.rsplit_once('.').map(|(head, _)| format!("{head}.")))?;
            forged(session, "claims that are changed", |token| {
                let (header, mut claims) = parts(token)?;
                claims["scope"] = json!("everything");
                let signature = token.rsplit_once('.')?.1;
                Some(format!("{}.{}.{signature}", encoded(&header), encoded(&claims)))
            })?;
            forged(session, "another key", |token| {
                let (mut header, claims) = parts(token)?;
                let key = key_like(&header);
                header["alg"] = json!(key.kind().algorithm());
                Some(key.sign(&header, &claims))
            })?;
            forged(session, "another key, which is in `jwk`", |token| {
                let (mut header, claims) = parts(token)?;
                let key = key_like(&header);
                header["alg"] = json!(key.kind().algorithm());
                header["jwk"] = key.jwk();
                if let Some(header) = header.as_object_mut() {
                    header.remove("kid");
                }
                Some(key.sign(&header, &claims))
            })
        },
    },
    Module {
        name: "token-alg",
        purpose: "A token signed with `none`, or with an algorithm that FAPI does not allow, is refused",
        clause: "FAPI 2.0 §5.4.1, FAPI 1.0 Advanced §8.6, RFC 8725 §3.1",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: alg,
    },
    Module {
        name: "token-encoding",
        purpose: "A token is read in one spelling alone",
        clause: "RFC 7515 §2, RFC 4648 §3.5",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: |session| {
            forged(session, "padding", |token| token.contains('.').then(|| format!("{token}=")))?;
            forged(session, "a fourth part", |token| token.contains('.').then(|| format!("{token}.e30")))?;
            forged(session, "bits that mean nothing in the last letter", with_other_bits)
        },
    },
    Module {
        name: "token-expired",
        purpose: "A token is refused after its end, and without one",
        clause: "FAPI 2.0 §5.3.4 (3), FAPI 1.0 Baseline §6.2.1 (4), RFC 9068 §4, RFC 7519 §4.1.4",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: expired,
    },
    refused!(
        "token-early",
        "A token is refused before its time",
        "RFC 7519 §4.1.5",
        [("`nbf` in two minutes", |token| token.claim("nbf", now().saturating_add(120))),]
    ),
    Module {
        name: "token-issued-ahead",
        purpose: "A token that was issued in ten minutes is refused",
        clause: "RFC 7519 §4.1.6",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::All,
        run: |session| {
            issued(session, "`iat` in ten minutes", |token| {
                token.claim("iat", now().saturating_add(600)).expires_at(now().saturating_add(900))
            })
        },
    },
    Module {
        name: "token-nbf-near",
        purpose: "A token of a clock that is eight seconds ahead is accepted",
        clause: "RFC 7519 §4.1.5",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::All,
        run: |session| {
            with_each_binding(session, |session, binding| {
                let good = session.call_with_token(binding, |token| token)?;
                session.control(&good)?;
                let ahead = || now().saturating_add(8);
                let call =
                    session.call_with_token(binding, |token| token.claim("nbf", ahead()).claim("iat", ahead()))?;
                let title = titled(session, "`nbf` and `iat` in eight seconds", binding);
                session.accepted(&title, &call).map(drop)
            })
        },
    },
    refused!(
        "token-issuer",
        "A token of another issuer is refused",
        "RFC 9068 §4, RFC 8725 §3.8",
        [
            ("another `iss`", |token| token.claim("iss", "https://probe.invalid")),
            ("no `iss`", |token| token.without("iss")),
            ("an `iss` that begins like the issuer's", |token| longer(token, "iss")),
        ]
    ),
    refused!(
        "token-audience",
        "A token for another resource server is refused",
        "RFC 9068 §4, RFC 8725 §3.9",
        [
            ("another `aud`", |token| token.audience("https://probe.invalid")),
            ("no `aud`", |token| token.without("aud")),
            ("an empty list", |token| token.audience(json!([]))),
            ("an `aud` that begins like the target's", |token| longer(token, "aud")),
        ]
    ),
    refused!(
        "token-typ",
        "A JWT that is not an access token is refused",
        "RFC 9068 §4, RFC 8725 §3.11",
        [
            ("`typ` of a proof", |token| token.header("typ", "dpop+jwt")),
            ("`typ` of a logout token", |token| token.header("typ", "logout+jwt")),
        ]
    ),
    refused!(
        "token-crit",
        "A critical header parameter that nobody knows is refused",
        "RFC 7515 §4.1.11",
        [
            ("`crit` names something unknown", |token| token.header("crit", json!(["probe"])).header("probe", 1)),
            ("`crit` is empty", |token| token.header("crit", json!([]))),
        ]
    ),
    Module {
        name: "token-kid",
        purpose: "A `kid` is a name of a key and nothing else",
        clause: "RFC 8725 §3.10",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: |session| {
            for (title, kid) in [("a path", "../../../../dev/null"), ("SQL", "' OR '1'='1")] {
                with_each_binding(session, |session, binding| {
                    issued_with(session, binding, title, &UNKNOWN_KEY, |token| token.header("kid", kid))
                })?;
            }
            Ok(())
        },
    },
    Module {
        name: "token-jku",
        purpose: "A token whose keys are where it says is refused; on this machine it is also seen whether they are fetched",
        clause: "RFC 8725 §3.10, FAPI 2.0 §5.4.2",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: jku,
    },
    Module {
        name: "token-duplicate-members",
        purpose: "A token in which a claim stands twice is refused",
        clause: "RFC 7519 §4, RFC 8259 §4",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::All,
        run: duplicate_members,
    },
    Module {
        name: "token-scope",
        purpose: "A token without the scope of a resource is refused with 403",
        clause: "FAPI 2.0 §5.3.4 (4), FAPI 1.0 Baseline §6.2.1 (5), RFC 6750 §3.1",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: scope,
    },
    Module {
        name: "token-scope-whole",
        purpose: "Scopes are compared as whole words, with their case",
        clause: "RFC 6749 §3.3",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: scope_whole,
    },
];

/// A token that is made without the key of its issuer. `make` has a good one; `None` if that is not a JWT.
fn forged(session: &mut Session<'_>, title: &str, make: impl Fn(&str) -> Option<String>) -> Result<(), Stop> {
    with_each_binding(session, |session, binding| {
        let good = session.good_with(binding)?;
        session.control(&good)?;
        let token = good.token.as_ref().map(|token| token.text.clone()).unwrap_or_default();
        let made = make(&token).ok_or_else(|| skip("the token is not a JWT, so there is nothing to change"))?;
        refused(session, binding, title, made_token(made))
    })
}

/// A token that its issuer signs with a fault.
fn issued(session: &mut Session<'_>, title: &str, change: impl Fn(AccessToken) -> AccessToken) -> Result<(), Stop> {
    with_each_binding(session, |session, binding| {
        issued_with(session, binding, title, &refusal_of_token(binding), &change)
    })
}

fn issued_with(
    session: &mut Session<'_>,
    binding: Binding,
    title: &str,
    refusal: &Refusal,
    change: impl FnOnce(AccessToken) -> AccessToken,
) -> Result<(), Stop> {
    let good = session.call_with_token(binding, |token| token)?;
    session.control(&good)?;
    let call = session.call_with_token(binding, change)?;
    let title = titled(session, title, binding);
    session.refused(&title, &call, refusal)
}

/// A token that must be refused; its control was sent before.
fn refused(session: &mut Session<'_>, binding: Binding, title: &str, token: Token) -> Result<(), Stop> {
    let call = session.call_with(0, binding, token)?;
    let title = titled(session, title, binding);
    session.refused(&title, &call, &refusal_of_token(binding))
}

fn expired(session: &mut Session<'_>) -> Result<(), Stop> {
    issued(session, "`exp` two hours ago", |token| ended_before(token, 7_200))?;
    issued(session, "no `exp`", |token| token.without("exp"))?;
    issued(session, "`exp` is a text", |token| token.claim("exp", now().saturating_add(300).to_string()))?;
    with_each_binding(session, |session, binding| {
        let call = session.call_with_token(binding, |token| ended_before(token, 600))?;
        let exchange = session.answered(&call)?;
        let refusal = refusal_of_token(binding);
        // A leeway of a few minutes is allowed (RFC 7519 §4.1.4), and where it ends is not said.
        let verdict = refusal.judge(&exchange.answer).min(Verdict::Warning);
        let title = titled(session, "`exp` ten minutes ago", binding);
        let told = observed(&exchange.answer);
        session.note(&title, Role::Check, &refusal.to_string(), told, verdict, &call, &exchange);
        Ok(())
    })
}

/// A token of five minutes that ended so many seconds ago.
fn ended_before(token: AccessToken, seconds: u64) -> AccessToken {
    let end = now().saturating_sub(seconds);
    token.expires_at(end).claim("iat", end.saturating_sub(300))
}

fn alg(session: &mut Session<'_>) -> Result<(), Stop> {
    for spelling in ["none", "None", "nOnE"] {
        forged(session, &format!("`{spelling}`"), |token| {
            let (mut header, claims) = parts(token)?;
            header["alg"] = json!(spelling);
            Some(unsigned(&header, &claims))
        })?;
    }
    let Ok(issuer) = session.issuer() else { return Ok(()) };
    with_each_binding(session, |session, binding| {
        let good = session.call_with_token(binding, |token| token)?;
        session.control(&good)?;
        let claims = session.issued(0, binding)?.claims();
        for (title, token) in with_other_algorithms(issuer, &claims) {
            refused(session, binding, title, token)?;
        }
        Ok(())
    })
}

/// Tokens that the key of the issuer, or what everyone knows of it, signs with an algorithm that is not its own.
fn with_other_algorithms(issuer: &Issuer, claims: &Value) -> Vec<(&'static str, Token)> {
    let mut made: Vec<(&str, Token)> = Vec::new();
    let header = |alg: &str, key: &SigningKey| json!({ "typ": "at+jwt", "alg": alg, "kid": key.kid() });
    let (pem, jwk) = (issuer.key.public_key_pem(), issuer.key.jwk().to_string());
    for (title, secret) in [
        ("HS256 with the public key, PEM", pem.as_bytes()),
        ("HS256 with the public key, PEM without the last line break", pem.trim_end().as_bytes()),
        ("HS256 without a key", &[][..]),
        ("HS256 with the public key, JWK", jwk.as_bytes()),
    ] {
        made.push((title, made_token(hs256(secret, &header("HS256", &issuer.key), claims))));
    }
    if let Some(rsa) = &issuer.rsa_key {
        made.push(("RS256 by a key of the issuer", made_token(rsa.danger_sign_rs256(&header("RS256", rsa), claims))));
    }
    let lower = issuer.key.kind().algorithm().to_ascii_lowercase();
    made.push((
        "the name of the algorithm in lower case",
        made_token(issuer.key.sign(&header(&lower, &issuer.key), claims)),
    ));
    made
}

fn jku(session: &mut Session<'_>) -> Result<(), Stop> {
    session.issuer()?;
    let key = SigningKey::generate(KeyKind::Es256, "probe");
    // Whoever is on this machine can fetch from it; of others only the refusal is seen.
    let local = session.wire().address(0).ip().to_canonical().is_loopback();
    let listener = if local { TcpListener::bind(("127.0.0.1", 0)).ok() } else { None };
    let port = listener.as_ref().and_then(|listener| listener.local_addr().ok()).map(|address| address.port());
    let url = port.map_or_else(|| "https://probe.invalid/keys".to_owned(), |port| format!("http://127.0.0.1:{port}/"));
    let keys = jwks(&[&key]).to_string();
    let fetched = listener.map(|listener| Fetched::serve(listener, keys));
    let looked = with_each_binding(session, |session, binding| {
        let good = session.call_with_token(binding, |token| token)?;
        session.control(&good)?;
        let claims = session.issued(0, binding)?.claims();
        for (title, name) in [("`jku` in the header", "jku"), ("`x5u` in the header", "x5u")] {
            let header = json!({ "typ": "at+jwt", "alg": "ES256", "kid": "probe", name: url });
            let call = session.call_with(0, binding, made_token(key.sign(&header, &claims)))?;
            let title = titled(session, title, binding);
            session.refused(&title, &call, &UNKNOWN_KEY)?;
        }
        Ok(())
    });
    if let Some(fetched) = fetched {
        // Some fetch after they have answered.
        for _ in 0..20 {
            if fetched.is_asked() {
                break;
            }
            session.wait(Duration::from_millis(100));
        }
        let asked = fetched.asked();
        let told = if asked { "something fetched it" } else { "nothing fetched it" };
        session.look("the keys at the URL", "nothing fetches them", told, !asked);
    }
    looked
}

/// Whoever knows no key of a name may say for a while that it has to ask for new ones.
const UNKNOWN_KEY: Refusal = Refusal { statuses: &[401, 503], errors: &[], closing: false };

fn duplicate_members(session: &mut Session<'_>) -> Result<(), Stop> {
    let issuer = session.issuer()?;
    let header = json!({ "typ": "at+jwt", "alg": issuer.key.kind().algorithm(), "kid": issuer.key.kid() }).to_string();
    with_each_binding(session, |session, binding| {
        let good = session.call_with_token(binding, |token| token)?;
        session.control(&good)?;
        let claims = session.issued(0, binding)?.claims();
        for (name, first) in [("scope", json!("probe")), ("aud", json!("https://probe.invalid"))] {
            let text = claims.to_string();
            let twice = format!("{{\"{name}\":{first},{}", text.get(1..).unwrap_or_default());
            let token = issuer.key.sign_raw(header.as_bytes(), twice.as_bytes());
            refused(session, binding, &format!("`{name}` twice"), made_token(token))?;
        }
        Ok(())
    })
}

fn scope(session: &mut Session<'_>) -> Result<(), Stop> {
    let (resource, signs) = (&session.settings().resource, session.settings().issuer.is_some());
    let knows = signs && resource.scope.is_some();
    let writes = signs && session.needs_writes().is_ok();
    if resource.forbidden.is_none() && !knows && !writes {
        return Err(skip("it needs `resource.forbidden`, or `resource.scope` and an issuer whose key is at hand"));
    }
    with_each_binding(session, |session, binding| {
        if let Some(path) = &resource.forbidden {
            let good = session.good_with(binding)?;
            session.control(&good)?;
            let title = titled(session, "a resource for which the token has no scope", binding);
            session.refused(&title, &Call { target: path.clone(), ..good }, &Refusal::SCOPE)?;
        }
        if knows {
            issued_with(session, binding, "another scope", &Refusal::SCOPE, |token| token.scope("probe"))?;
            issued_with(session, binding, "no scope", &Refusal::SCOPE, |token| token.without("scope"))?;
        }
        if writes {
            let good = session.call_with_token(binding, |token| token)?;
            let good = writing(session, good)?;
            session.control(&good)?;
            let call = session.call_with_token(binding, |token| token.scope("probe"))?;
            let call = writing(session, call)?;
            let title = titled(session, &format!("{} with another scope", call.method), binding);
            session.refused(&title, &call, &Refusal::SCOPE)?;
        }
        Ok(())
    })
}

/// What `resource.write` is, with the token of a call.
fn writing(session: &mut Session<'_>, call: Call) -> Result<Call, Stop> {
    let Call { method, target, body, fields, .. } = session.good_write()?;
    Ok(Call { method, target, body, fields, ..call })
}

fn scope_whole(session: &mut Session<'_>) -> Result<(), Stop> {
    let scope = session.settings().resource.scope.clone();
    let scope = scope.ok_or_else(|| skip("`resource.scope` is not known"))?;
    let scope = scope.split(' ').next().unwrap_or_default().to_owned();
    let half: String = scope.chars().take(scope.chars().count().div_ceil(2)).collect();
    let turned = if scope.chars().any(char::is_lowercase) { scope.to_uppercase() } else { scope.to_lowercase() };
    let cases = [
        ("a scope that begins like it", format!("{scope}x")),
        ("a scope that ends like it", format!("x{scope}")),
        ("half of it", half),
        ("the other case", turned),
        ("a comma between scopes", format!("probe,{scope}")),
    ];
    with_each_binding(session, |session, binding| {
        for (title, scope) in &cases {
            issued_with(session, binding, title, &Refusal::SCOPE, |token| token.scope(scope))?;
        }
        Ok(())
    })
}

/// A new key of the kind that signed a token with this header; of another algorithm, it would be refused for that.
fn key_like(header: &Value) -> SigningKey {
    let alg = header["alg"].as_str().unwrap_or_default();
    let kind = KeyKind::ALL.into_iter().find(|kind| kind.algorithm() == alg).unwrap_or(KeyKind::Es256);
    SigningKey::generate(kind, "probe")
}

/// A token with a claim that goes on where that of a good one ends.
fn longer(token: AccessToken, claim: &str) -> AccessToken {
    let text = token.claims().get(claim).and_then(Value::as_str).unwrap_or_default().to_owned();
    token.claim(claim, format!("{text}.probe.invalid"))
}

/// The same text of a JWS, but for the bits of the last letter that mean nothing; `None` if it is no JWS.
pub(super) fn with_other_bits(jws: &str) -> Option<String> {
    let last = jws.chars().last().filter(|_| jws.contains('.'))?;
    let head = jws.get(..jws.len().checked_sub(last.len_utf8())?)?;
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let next = alphabet.chars().nth(alphabet.find(last)?.checked_add(1)?)?;
    Some(format!("{head}{next}"))
}

/// The header and claims of a JWT.
fn parts(token: &str) -> Option<(Value, Value)> {
    let mut parts = token.split('.');
    let mut part = || serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok();
    let (header, claims) = (part()?, part()?);
    (header.is_object() && claims.is_object()).then_some((header, claims))
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
