//! What a token is checked for (FAPI 2.0 §5.3.4 (3), RFC 9068 §4, RFC 8725).

use std::net::TcpListener;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sandbox::keys::{KeyKind, SigningKey};
use sandbox::tokens::{AccessToken, hs256, jwks, unsigned};
use serde_json::{Value, json};

use super::fetched::Fetched;
use crate::call::Token;
use crate::clock::now;
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::report::Severity;
use crate::session::{Session, Stop, made_token, skip};
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
        clause: "FAPI 2.0 §5.3.4 (3), RFC 7515 §5.2",
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
                let key = SigningKey::generate(KeyKind::Es256, "probe");
                header["alg"] = json!("ES256");
                Some(key.sign(&header, &claims))
            })?;
            forged(session, "another key, which is in `jwk`", |token| {
                let (mut header, claims) = parts(token)?;
                let key = SigningKey::generate(KeyKind::Es256, "probe");
                header["alg"] = json!("ES256");
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
        clause: "FAPI 2.0 §5.4.1, RFC 8725 §3.1",
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
    refused!(
        "token-expired",
        "A token is refused after its end, and without one",
        "FAPI 2.0 §5.3.4 (3), RFC 9068 §4",
        [
            ("`exp` a minute ago", |token| token
                .expires_at(now().saturating_sub(60))
                .claim("iat", now().saturating_sub(360))),
            ("no `exp`", |token| token.without("exp")),
            ("`exp` is a text", |token| token.claim("exp", now().saturating_add(300).to_string())),
        ]
    ),
    refused!(
        "token-early",
        "A token is refused before its time",
        "RFC 7519 §4.1.5, FAPI 2.0 §5.3.2.1 (13)",
        [("`nbf` in two minutes", |token| token.claim("nbf", now().saturating_add(120))),]
    ),
    Module {
        name: "token-issued-ahead",
        purpose: "A token that was issued in ten minutes is refused",
        clause: "FAPI 2.0 §5.3.2.1 (13)",
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
        clause: "FAPI 2.0 §5.3.2.1 (13)",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: |session| {
            let binding = session.binding();
            let ahead = || now().saturating_add(8);
            let call = session.call_with_token(binding, |token| token.claim("nbf", ahead()).claim("iat", ahead()))?;
            session.accepted("`nbf` and `iat` in eight seconds", &call).map(drop)
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
            // Whoever knows no such key may say for a while that it has to ask for new ones.
            let refusal = Refusal { statuses: &[401, 503], errors: &[], closing: false };
            for (title, kid) in [("a path", "../../../../dev/null"), ("SQL", "' OR '1'='1")] {
                issued_with(session, title, &refusal, |token| token.header("kid", kid))?;
            }
            Ok(())
        },
    },
    Module {
        name: "token-jku",
        purpose: "Keys that a token itself names are not fetched",
        clause: "FAPI 2.0 §5.4.2, RFC 8725 §3.10",
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
        clause: "FAPI 2.0 §5.3.4 (4), RFC 6750 §3.1",
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
fn forged(session: &mut Session<'_>, title: &str, make: impl FnOnce(&str) -> Option<String>) -> Result<(), Stop> {
    let binding = session.binding();
    let good = session.good()?;
    session.control(&good)?;
    let token = good.token.as_ref().map(|token| token.text.clone()).unwrap_or_default();
    let made = make(&token).ok_or_else(|| skip("the token is not a JWT, so there is nothing to change"))?;
    let call = session.call_with(0, binding, made_token(made))?;
    session.refused(title, &call, &Refusal::TOKEN)
}

/// A token that its issuer signs with a fault.
fn issued(session: &mut Session<'_>, title: &str, change: impl FnOnce(AccessToken) -> AccessToken) -> Result<(), Stop> {
    issued_with(session, title, &Refusal::TOKEN, change)
}

fn issued_with(
    session: &mut Session<'_>,
    title: &str,
    refusal: &Refusal,
    change: impl FnOnce(AccessToken) -> AccessToken,
) -> Result<(), Stop> {
    let binding = session.binding();
    let good = session.call_with_token(binding, |token| token)?;
    session.control(&good)?;
    let call = session.call_with_token(binding, change)?;
    session.refused(title, &call, refusal)
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
    let binding = session.binding();
    let claims = session.issued(0, binding)?.claims();
    let mut made: Vec<(&str, Token)> = Vec::new();
    let key: &Issuer = issuer;
    let header = |alg: &str, key: &SigningKey| json!({ "typ": "at+jwt", "alg": alg, "kid": key.kid() });
    let pem = key.key.public_key_pem();
    for (title, secret) in [
        ("HS256 with the public key, PEM", pem.as_bytes()),
        ("HS256 with the public key, PEM without the last line break", pem.trim_end().as_bytes()),
        ("HS256 without a key", &[][..]),
    ] {
        made.push((title, made_token(hs256(secret, &header("HS256", &key.key), &claims))));
    }
    let jwk = key.key.jwk().to_string();
    made.push((
        "HS256 with the public key, JWK",
        made_token(hs256(jwk.as_bytes(), &header("HS256", &key.key), &claims)),
    ));
    if let Some(rsa) = &key.rsa_key {
        made.push(("RS256 by a key of the issuer", made_token(rsa.danger_sign_rs256(&header("RS256", rsa), &claims))));
    }
    let lower = key.key.kind().algorithm().to_ascii_lowercase();
    made.push((
        "the name of the algorithm in lower case",
        made_token(key.key.sign(&header(&lower, &key.key), &claims)),
    ));
    for (title, token) in made {
        let call = session.call_with(0, binding, token)?;
        session.refused(title, &call, &Refusal::TOKEN)?;
    }
    Ok(())
}

fn jku(session: &mut Session<'_>) -> Result<(), Stop> {
    let binding = session.binding();
    let claims = session.issued(0, binding)?.claims();
    let key = SigningKey::generate(KeyKind::Es256, "probe");
    let good = session.call_with_token(binding, |token| token)?;
    session.control(&good)?;
    // Whoever is on this machine can fetch from it; of others only the refusal is seen.
    let local = session.wire().address(0).ip().to_canonical().is_loopback();
    let listener = if local { TcpListener::bind(("127.0.0.1", 0)).ok() } else { None };
    let port = listener.as_ref().and_then(|listener| listener.local_addr().ok()).map(|address| address.port());
    let url = port.map_or_else(|| "https://probe.invalid/keys".to_owned(), |port| format!("http://127.0.0.1:{port}/"));
    let keys = jwks(&[&key]).to_string();
    let fetched = listener.map(|listener| Fetched::serve(listener, keys));
    for (title, name) in [("`jku` in the header", "jku"), ("`x5u` in the header", "x5u")] {
        let header = json!({ "typ": "at+jwt", "alg": "ES256", "kid": "probe", name: url });
        let call = session.call_with(0, binding, made_token(key.sign(&header, &claims)))?;
        let refusal = Refusal { statuses: &[401, 503], errors: &[], closing: false };
        session.refused(title, &call, &refusal)?;
    }
    if let Some(fetched) = fetched {
        let asked = fetched.asked();
        let told = if asked { "something fetched it" } else { "nothing fetched it" };
        session.look("the keys at the URL", "nothing fetches them", told, !asked);
    }
    Ok(())
}

fn duplicate_members(session: &mut Session<'_>) -> Result<(), Stop> {
    let issuer = session.issuer()?;
    let binding = session.binding();
    let good = session.call_with_token(binding, |token| token)?;
    session.control(&good)?;
    let claims = session.issued(0, binding)?.claims();
    let header = json!({ "typ": "at+jwt", "alg": issuer.key.kind().algorithm(), "kid": issuer.key.kid() }).to_string();
    for (name, first) in [("scope", json!("probe")), ("aud", json!("https://probe.invalid"))] {
        let text = claims.to_string();
        let twice = format!("{{\"{name}\":{first},{}", text.get(1..).unwrap_or_default());
        let token = issuer.key.sign_raw(header.as_bytes(), twice.as_bytes());
        let call = session.call_with(0, binding, made_token(token))?;
        session.refused(&format!("`{name}` twice"), &call, &Refusal::TOKEN)?;
    }
    Ok(())
}

fn scope(session: &mut Session<'_>) -> Result<(), Stop> {
    let mut made = false;
    if let Some(path) = session.settings().resource.forbidden.clone() {
        let mut call = session.good()?;
        session.control(&call)?;
        call.target = path;
        session.refused("a resource for which the token has no scope", &call, &Refusal::SCOPE)?;
        made = true;
    }
    if session.settings().resource.scope.is_some() && session.settings().issuer.is_some() {
        let binding = session.binding();
        let good = session.call_with_token(binding, |token| token)?;
        session.control(&good)?;
        for (title, scope) in [("another scope", Some("probe")), ("no scope", None)] {
            let call = session.call_with_token(binding, |token| match scope {
                Some(scope) => token.scope(scope),
                None => token.without("scope"),
            })?;
            session.refused(title, &call, &Refusal::SCOPE)?;
        }
        made = true;
    }
    if session.settings().issuer.is_some()
        && let Ok(write) = session.needs_writes()
    {
        let binding = session.binding();
        let mut call = session.call_with_token(binding, |token| token.scope("probe"))?.method(write.method.as_str());
        call.target.clone_from(&write.path);
        call.body = Some(String::from_utf8_lossy(&write.body).into_owned());
        let call = call.with_field("Content-Type", write.content_type.as_str());
        session.refused(&format!("{} with another scope", write.method), &call, &Refusal::SCOPE)?;
    }
    match made {
        true => Ok(()),
        false => Err(skip("it needs `resource.forbidden`, or `resource.scope` and an issuer whose key is at hand")),
    }
}

fn scope_whole(session: &mut Session<'_>) -> Result<(), Stop> {
    let scope = session.settings().resource.scope.clone();
    let scope = scope.ok_or_else(|| skip("`resource.scope` is not known"))?;
    let scope = scope.split(' ').next().unwrap_or_default().to_owned();
    let binding = session.binding();
    let good = session.call_with_token(binding, |token| token)?;
    session.control(&good)?;
    let half: String = scope.chars().take(scope.chars().count().div_ceil(2)).collect();
    let turned = if scope.chars().any(char::is_lowercase) { scope.to_uppercase() } else { scope.to_lowercase() };
    let cases = [
        ("a scope that begins like it", format!("{scope}x")),
        ("a scope that ends like it", format!("x{scope}")),
        ("half of it", half),
        ("the other case", turned),
        ("a comma between scopes", format!("probe,{scope}")),
    ];
    for (title, scope) in cases {
        let call = session.call_with_token(binding, |token| token.scope(&scope))?;
        session.refused(title, &call, &Refusal::SCOPE)?;
    }
    Ok(())
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
