//! The answer of the token endpoint: an access token that is bound to the client that asked for it (RFC 6749 §5.1, §5.2).
//!
//! FAPI 2.0 §5.3.2.1 (4): the server "shall only issue sender-constrained access tokens". A server that forgets it once, for one
//! client or one grant, has issued a token that anybody can use; here it does not get as far as the client.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use super::answer::{AnswerError, check_refusal, expires_in, success, text};
use crate::jose::claims::{CLOCK_SKEW, numeric_date};
use crate::jose::jws::Jws;
use crate::jose::thumbprint::{CertificateThumbprint, KeyThumbprint};
use crate::text::shown_value;
use crate::token::Confirmation;
use crate::{UnixTime, sha256};

/// The longest access token, in bytes.
pub const MAX_TOKEN: usize = 64 * 1024;

/// What the client has shown with its request, of which the access token has to be bound to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// The key of its DPoP proof (RFC 9449 §5).
    Key(KeyThumbprint),
    /// Its certificate (RFC 8705 §3).
    Certificate(CertificateThumbprint),
    /// Both: a client may authenticate with a certificate and bind its tokens to a key. The token is bound to one of the two, or
    /// to both.
    Either {
        /// The key of its DPoP proof.
        key: KeyThumbprint,
        /// Its certificate.
        certificate: CertificateThumbprint,
    },
}

impl Binding {
    const fn key(&self) -> Option<&KeyThumbprint> {
        match self {
            Self::Key(key) | Self::Either { key, .. } => Some(key),
            Self::Certificate(_) => None,
        }
    }

    const fn certificate(&self) -> Option<&CertificateThumbprint> {
        match self {
            Self::Certificate(certificate) | Self::Either { certificate, .. } => Some(certificate),
            Self::Key(_) => None,
        }
    }
}

/// What may come of the refresh token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum RefreshRule {
    /// Anything: there was none before, or the server may replace it.
    Any,
    /// It stays as it is (FAPI 2.0 §5.3.2.1 (9)).
    NotRotated {
        /// The SHA-256 of the one in the request.
        presented: [u8; 32],
    },
}

/// Without the hash.
impl fmt::Debug for RefreshRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "Any",
            Self::NotRotated { .. } => "NotRotated { .. }",
        })
    }
}

/// What the answer to one request may be.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedToken<'e> {
    /// What the client has shown.
    pub bound_to: &'e Binding,
    /// How long an access token may live, in whole seconds; `None` if that is up to the server.
    pub lifetime: Option<Duration>,
    /// What may come of the refresh token.
    pub refresh: RefreshRule,
    /// Whether the caller can ask the server about a token that cannot be read.
    pub may_introspect: bool,
}

/// An answer that may reach the client as it is.
#[derive(Clone, PartialEq, Eq)]
pub enum TokenAnswer {
    /// The access token is the client's, as far as the answer shows.
    Good,
    /// It may reach the client once the server has been asked about the token, and [`judge_introspected`] accepts what it says.
    Introspect {
        /// The access token.
        token: Box<str>,
        /// Whether `token_type` says that it is bound to a key.
        by_key: bool,
    },
    /// The server has refused the request, for whatever reason.
    Refused,
}

/// Without the token.
impl fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "Good",
            Self::Introspect { .. } => "Introspect { .. }",
            Self::Refused => "Refused",
        })
    }
}

/// Judges an answer of the token endpoint.
///
/// An access token that is a JWT is read, and its signature is not verified: it comes from the server itself, over the connection
/// to it. Any other is opaque. Of an opaque token, `token_type` says whether it is bound to a key, and nothing whether it is bound
/// to a certificate. If the caller can introspect, the answer is [`TokenAnswer::Introspect`] in both cases.
///
/// Does not check `scope`, an ID token, nor that the token can be used at a resource. That no cache stores the answer (RFC 6749
/// §5.1) is for the caller, who sets `Cache-Control`.
///
/// # Errors
/// [`AnswerError`], for the first check that fails.
pub fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    expected: &ExpectedToken<'_>,
    now: UnixTime,
) -> Result<TokenAnswer, AnswerError> {
    if status.is_client_error() || status.is_server_error() {
        check_refusal(status, body, &["access_token", "refresh_token", "id_token"])?;
        return Ok(TokenAnswer::Refused);
    }
    if status != StatusCode::OK {
        return Err(AnswerError::StatusWrong { found: status, expected: "200, or that of an error" });
    }
    let members = success(headers, body)?;
    let token = text(&members, "access_token", MAX_TOKEN)?;
    let token_type = text(&members, "token_type", MAX_TOKEN)?;
    let is_type = |name: &str| token_type.eq_ignore_ascii_case(name);
    let wrong_type = |expected| AnswerError::TokenTypeWrong { found: shown_value(members.get("token_type")), expected };
    check_refresh_token(&members, expected.refresh)?;
    let seconds = expires_in(&members)?;
    if let (Some(found), Some(longest)) = (seconds, expected.lifetime.as_ref().map(Duration::as_secs))
        && found > longest
    {
        return Err(AnswerError::TokenTooLongLived { found, by: "expires_in", longest });
    }
    if is_jws(token) {
        let claims = Jws::parse(token, MAX_TOKEN).map_err(AnswerError::TokenMalformed)?.into_unverified_payload();
        let confirmation = judge_claims(&claims, expected, now)?;
        // RFC 9449 §5: "A token_type of DPoP MUST be included in the access token response to signal to the client that the access
        // token was bound to its DPoP key".
        let name = if confirmation.key().is_some() { "DPoP" } else { "Bearer" };
        return if is_type(name) { Ok(TokenAnswer::Good) } else { Err(wrong_type(name)) };
    }
    if let (None, Some(longest)) = (seconds, expected.lifetime) {
        return Err(AnswerError::TokenLifetimeUnknown { by: "expires_in", longest: longest.as_secs() });
    }
    let by_key = is_type("DPoP");
    match expected.bound_to {
        Binding::Key(_) if !by_key => return Err(wrong_type("DPoP")),
        Binding::Certificate(_) if !is_type("Bearer") => return Err(wrong_type("Bearer")),
        Binding::Either { .. } if !by_key && !is_type("Bearer") => return Err(wrong_type("DPoP or Bearer")),
        Binding::Key(_) | Binding::Certificate(_) | Binding::Either { .. } => {}
    }
    if expected.may_introspect {
        return Ok(TokenAnswer::Introspect { token: token.into(), by_key });
    }
    if by_key { Ok(TokenAnswer::Good) } else { Err(AnswerError::Opaque) }
}

/// Judges what the server says of an opaque token that is active (RFC 7662 §2.2): `cnf`, and how long it lives. `by_key` is that of
/// [`TokenAnswer::Introspect`].
///
/// # Errors
/// [`AnswerError`], for the first check that fails.
pub fn judge_introspected(
    claims: &Map<String, Value>,
    by_key: bool,
    expected: &ExpectedToken<'_>,
    now: UnixTime,
) -> Result<(), AnswerError> {
    let confirmation = judge_claims(claims, expected, now)?;
    if confirmation.key().is_some() == by_key {
        return Ok(());
    }
    let (found, expected) = if by_key { ("DPoP", "Bearer") } else { ("Bearer", "DPoP") };
    Err(AnswerError::TokenTypeWrong { found: format!("{found:?}").into(), expected })
}

/// Judges what is said of a token: `cnf`, and how long it lives.
///
/// Returns what the token is bound to: to nothing else than what the client has shown, and at least to one of it. `exp` is required
/// if there is a longest lifetime; `iat` may be missing.
fn judge_claims(
    claims: &Map<String, Value>,
    expected: &ExpectedToken<'_>,
    now: UnixTime,
) -> Result<Confirmation, AnswerError> {
    let confirmation = Confirmation::from_claim(claims.get("cnf"))?;
    if let Some(found) = confirmation.key() {
        let expected = expected.bound_to.key().ok_or(AnswerError::NotShown { what: "key" })?;
        if found != expected {
            return Err(AnswerError::KeyMismatch { found: *found, expected: *expected });
        }
    }
    if let Some(found) = confirmation.certificate() {
        let expected = expected.bound_to.certificate().ok_or(AnswerError::NotShown { what: "certificate" })?;
        if found != expected {
            return Err(AnswerError::CertificateMismatch { found: *found, expected: *expected });
        }
    }
    if let Some(longest) = expected.lifetime {
        check_lifetime(claims, longest.as_secs(), now)?;
    }
    Ok(confirmation)
}

/// Checks that a token lives for at most `longest` seconds, from its `iat` and from now on.
fn check_lifetime(claims: &Map<String, Value>, longest: u64, now: UnixTime) -> Result<(), AnswerError> {
    let time = |member, round| {
        let malformed = AnswerError::MemberMalformed { member, expected: "a number of seconds" };
        numeric_date(claims, member, round).map_err(|_| malformed)
    };
    let expires = time("exp", f64::ceil)?.ok_or(AnswerError::TokenLifetimeUnknown { by: "exp", longest })?;
    if let Some(issued) = time("iat", f64::floor)? {
        let found = expires.since(issued);
        if found > longest {
            return Err(AnswerError::TokenTooLongLived { found, by: "exp and iat", longest });
        }
    }
    // The server's clock may be ahead.
    let found = expires.since(now);
    if found > longest.saturating_add(CLOCK_SKEW) {
        return Err(AnswerError::TokenTooLongLived { found, by: "exp", longest });
    }
    Ok(())
}

fn check_refresh_token(members: &Map<String, Value>, rule: RefreshRule) -> Result<(), AnswerError> {
    let presented = match (rule, members.get("refresh_token")) {
        (RefreshRule::Any, _) | (RefreshRule::NotRotated { .. }, None) => return Ok(()),
        (RefreshRule::NotRotated { presented }, Some(_)) => presented,
    };
    let found = sha256(text(members, "refresh_token", MAX_TOKEN)?.as_bytes());
    aws_lc_rs::constant_time::verify_slices_are_equal(&found, &presented).map_err(|_| AnswerError::RefreshTokenRotated)
}

/// Whether somebody would read a token as a JWS: three parts, or four, the first of which is the base64url of what begins with `{`, after
/// white space or a byte order mark.
///
/// Whether it has one reading is another question, and one that has none is not opaque.
fn is_jws(token: &str) -> bool {
    let mut parts = token.trim().split('.');
    let first = parts.next().unwrap_or_default().trim_end_matches('=');
    // What another alphabet writes otherwise comes after the first three bytes of any JSON.
    let head = URL_SAFE_NO_PAD.decode(first.get(..first.len().min(16) & !3).unwrap_or_default()).unwrap_or_default();
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&head);
    // Five are encrypted (RFC 7516 §3.1), and opaque here.
    matches!(parts.count(), 2 | 3) && text.trim_ascii_start().first() == Some(&b'{')
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::CONTENT_TYPE;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::code::Code;
    use crate::testing::unsigned;

    const NOW: UnixTime = UnixTime(1_800_000_000);
    const KEY: KeyThumbprint = KeyThumbprint::from_bytes([1; 32]);
    const CERTIFICATE: CertificateThumbprint = CertificateThumbprint::from_bytes([2; 32]);
    const BY_KEY: Binding = Binding::Key(KEY);
    const BY_CERTIFICATE: Binding = Binding::Certificate(CERTIFICATE);
    const BY_EITHER: Binding = Binding::Either { key: KEY, certificate: CERTIFICATE };

    type Judged = Result<TokenAnswer, AnswerError>;

    const fn expected(bound_to: &Binding) -> ExpectedToken<'_> {
        ExpectedToken { bound_to, lifetime: None, refresh: RefreshRule::Any, may_introspect: false }
    }

    fn judged(status: u16, content_type: &'static str, body: &str, expected: &ExpectedToken<'_>) -> Judged {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        judge(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes(), expected, NOW)
    }

    fn granted(body: &Value, expected: &ExpectedToken<'_>) -> Judged {
        judged(200, "application/json", &body.to_string(), expected)
    }

    fn code(answer: Judged) -> Option<Code> {
        answer.err().map(|error| error.code())
    }

    fn thumbprint(byte: u8) -> String {
        URL_SAFE_NO_PAD.encode([byte; 32])
    }

    fn jwt(claims: &Value) -> String {
        unsigned(&json!({ "typ": "at+jwt", "alg": "PS256", "kid": "a" }), claims) + "c2lnbmF0dXJl"
    }

    fn bound(cnf: &Value) -> String {
        jwt(&json!({ "iss": "https://as.example", "exp": NOW.0 + 300, "iat": NOW.0, "cnf": cnf }))
    }

    /// The answer that grants a token of this type.
    fn answer(token: &str, token_type: &str) -> Value {
        json!({ "access_token": token, "token_type": token_type, "expires_in": 300, "scope": "accounts" })
    }

    fn changed(mut body: Value, member: &str, value: Value) -> Value {
        body[member] = value;
        body
    }

    #[test]
    fn rfc6749_5_1_5_2_a_success_is_200_and_a_refusal_has_no_token() {
        let good = answer(&bound(&json!({ "jkt": thumbprint(1) })), "DPoP");
        let expected = expected(&BY_KEY);
        for content_type in ["application/json", "application/json;charset=UTF-8"] {
            let answer = judged(200, content_type, &good.to_string(), &expected);
            assert_eq!(answer, Ok(TokenAnswer::Good), "{content_type}"); // control
        }
        for status in [100, 201, 202, 204, 206, 301, 302, 303, 307] {
            let answer = judged(status, "application/json", &good.to_string(), &expected);
            assert!(matches!(answer, Err(AnswerError::StatusWrong { .. })), "{status}");
        }
        for status in [400, 401, 429, 500, 502] {
            for body in [r#"{"error":"invalid_grant"}"#, "<html>error</html>", ""] {
                let answer = judged(status, "text/html", body, &expected);
                assert_eq!(answer, Ok(TokenAnswer::Refused), "{status} {body}");
            }
            for member in ["access_token", "refresh_token", "id_token"] {
                let body = json!({ "error": "invalid_grant", member: "t" }).to_string();
                let answer = judged(status, "application/json", &body, &expected);
                let status = StatusCode::from_u16(status).unwrap();
                assert_eq!(answer, Err(AnswerError::GrantInRefusal { status, member }), "{body}");
            }
        }
        let html = judged(200, "text/html", "<html></html>", &expected);
        assert_eq!(html, Err(AnswerError::ContentTypeWrong));
        let html = judged(200, "application/json", "<html></html>", &expected);
        assert_eq!(html, Err(AnswerError::NotJson));
        let error = granted(&changed(good.clone(), "error", json!("invalid_grant")), &expected);
        assert_eq!(error, Err(AnswerError::ErrorInSuccess));
        let twice = format!("{{\"access_token\":\"t\",{}", &good.to_string()[1..]);
        assert_eq!(judged(200, "application/json", &twice, &expected), Err(AnswerError::NotJson));
        for member in ["access_token", "token_type"] {
            for value in [json!(null), json!(""), json!(7), json!(["t"]), json!("t\u{e4}"), json!("t\n")] {
                let answer = granted(&changed(good.clone(), member, value.clone()), &expected);
                assert!(
                    matches!(answer, Err(AnswerError::MemberMalformed { member: found, .. }) if found == member),
                    "{value}"
                );
            }
        }
    }

    #[test]
    fn an_access_token_is_not_longer_than_64_kibibytes() {
        for (bytes, is_good) in [(64 * 1024, true), (64 * 1024 + 1, false)] {
            let answer = granted(&answer(&"t".repeat(bytes), "DPoP"), &expected(&BY_KEY));
            assert_eq!(answer.is_ok(), is_good, "{bytes}");
        }
    }

    #[test]
    fn fapi2_as_04_a_jwt_is_bound_to_what_the_client_has_shown() {
        let (key, certificate) = (json!({ "jkt": thumbprint(1) }), json!({ "x5t#S256": thumbprint(2) }));
        let both = json!({ "jkt": thumbprint(1), "x5t#S256": thumbprint(2) });
        let (other_key, other_certificate) = (json!({ "jkt": thumbprint(3) }), json!({ "x5t#S256": thumbprint(3) }));
        let half = [
            json!({ "jkt": thumbprint(1), "x5t#S256": thumbprint(3) }),
            json!({ "jkt": thumbprint(3), "x5t#S256": thumbprint(2) }),
        ];
        let judged = |cnf: &Value, token_type, binding| granted(&answer(&bound(cnf), token_type), &expected(binding));
        for (binding, cnf, token_type) in [
            (&BY_KEY, &key, "DPoP"),
            (&BY_CERTIFICATE, &certificate, "Bearer"),
            (&BY_EITHER, &key, "DPoP"),
            (&BY_EITHER, &certificate, "Bearer"),
            (&BY_EITHER, &both, "DPoP"),
        ] {
            assert_eq!(judged(cnf, token_type, binding), Ok(TokenAnswer::Good), "{binding:?} {cnf}"); // control
            for faulty in [&other_key, &other_certificate, &half[0], &half[1]] {
                let answer = judged(faulty, token_type, binding);
                assert_eq!(code(answer), Some(Code::AnswerUnbound), "{binding:?} {faulty}");
            }
            for faulty in [json!({}), json!({ "jwk": {} }), json!(null), json!("x")] {
                let answer = judged(&faulty, token_type, binding);
                assert!(matches!(answer, Err(AnswerError::TokenUnbound(_))), "{binding:?} {faulty}");
            }
            let unbound = answer(&jwt(&json!({ "exp": NOW.0 + 300 })), token_type);
            assert!(matches!(granted(&unbound, &expected(binding)), Err(AnswerError::TokenUnbound(_))));
        }
        let not_shown = |what| Err(AnswerError::NotShown { what });
        assert_eq!(judged(&certificate, "Bearer", &BY_KEY), not_shown("certificate"));
        assert_eq!(judged(&both, "DPoP", &BY_KEY), not_shown("certificate"));
        assert_eq!(judged(&key, "DPoP", &BY_CERTIFICATE), not_shown("key"));
        assert_eq!(judged(&both, "DPoP", &BY_CERTIFICATE), not_shown("key"));
        let found = KeyThumbprint::from_bytes([3; 32]);
        assert_eq!(judged(&other_key, "DPoP", &BY_KEY), Err(AnswerError::KeyMismatch { found, expected: KEY }));
    }

    #[test]
    fn fapi2_as_39_the_token_type_says_how_the_token_is_bound() {
        let key = bound(&json!({ "jkt": thumbprint(1) }));
        let certificate = bound(&json!({ "x5t#S256": thumbprint(2) }));
        for (token, binding, names, others) in [
            (key.as_str(), BY_KEY, ["DPoP", "dpop", "DPOP"], ["Bearer", "DPoP ", "N_A"]),
            (&key, BY_EITHER, ["DPoP", "dpop", "DPOP"], ["Bearer", "DPoP ", "N_A"]),
            ("opaque", BY_KEY, ["DPoP", "dpop", "DPOP"], ["Bearer", "DPoP ", "N_A"]),
            (&certificate, BY_CERTIFICATE, ["Bearer", "bearer", "BEARER"], ["DPoP", "mac", " Bearer"]),
            (&certificate, BY_EITHER, ["Bearer", "bearer", "BEARER"], ["DPoP", "mac", " Bearer"]),
        ] {
            for name in names {
                assert_eq!(granted(&answer(token, name), &expected(&binding)), Ok(TokenAnswer::Good), "{name}"); // control
            }
            for name in others {
                let answer = granted(&answer(token, name), &expected(&binding));
                assert!(matches!(answer, Err(AnswerError::TokenTypeWrong { .. })), "{name}");
                assert_eq!(code(answer), Some(Code::AnswerUnbound));
            }
        }
    }

    #[test]
    fn fapi2_as_04_an_opaque_token_is_introspected_or_shown_by_its_type_to_be_bound() {
        let wrong =
            |found: &str, expected| Err(AnswerError::TokenTypeWrong { found: format!("{found:?}").into(), expected });
        let introspect = |by_key| Ok(TokenAnswer::Introspect { token: "b.c".into(), by_key });
        for (binding, token_type, asked, not_asked) in [
            (BY_KEY, "DPoP", introspect(true), Ok(TokenAnswer::Good)),
            (BY_KEY, "Bearer", wrong("Bearer", "DPoP"), wrong("Bearer", "DPoP")),
            (BY_CERTIFICATE, "Bearer", introspect(false), Err(AnswerError::Opaque)),
            (BY_CERTIFICATE, "DPoP", wrong("DPoP", "Bearer"), wrong("DPoP", "Bearer")),
            (BY_EITHER, "DPoP", introspect(true), Ok(TokenAnswer::Good)),
            (BY_EITHER, "Bearer", introspect(false), Err(AnswerError::Opaque)),
            (BY_EITHER, "mac", wrong("mac", "DPoP or Bearer"), wrong("mac", "DPoP or Bearer")),
        ] {
            let judged = |may_introspect| {
                granted(&answer("b.c", token_type), &ExpectedToken { may_introspect, ..expected(&binding) })
            };
            assert_eq!((judged(true), judged(false)), (asked, not_asked), "{binding:?} {token_type}");
        }
        // A JWT is not asked about.
        let asked = ExpectedToken { may_introspect: true, ..expected(&BY_KEY) };
        let token = bound(&json!({ "jkt": thumbprint(1) }));
        assert_eq!(granted(&answer(&token, "DPoP"), &asked), Ok(TokenAnswer::Good));
    }

    #[test]
    fn fapi2_as_04_an_opaque_token_is_what_the_server_says_of_it() {
        let said = |cnf: Value, by_key, binding: &Binding| {
            let claims = json!({ "active": true, "cnf": cnf, "exp": NOW.0 + 300 });
            let lifetime = Some(Duration::from_secs(300));
            let expected = ExpectedToken { may_introspect: true, lifetime, ..expected(binding) };
            judge_introspected(claims.as_object().unwrap(), by_key, &expected, NOW)
        };
        let (key, certificate) = (json!({ "jkt": thumbprint(1) }), json!({ "x5t#S256": thumbprint(2) }));
        assert_eq!(said(key.clone(), true, &BY_KEY), Ok(())); // control
        assert_eq!(said(certificate.clone(), false, &BY_CERTIFICATE), Ok(())); // control
        assert_eq!(said(key.clone(), true, &BY_EITHER), Ok(())); // control
        for (cnf, by_key, binding) in [
            (Value::Null, true, BY_KEY),
            (json!({ "jkt": thumbprint(9) }), true, BY_KEY),
            (json!({ "x5t#S256": thumbprint(9) }), false, BY_CERTIFICATE),
            (key.clone(), false, BY_CERTIFICATE),
            (key, false, BY_EITHER),
            (certificate, true, BY_EITHER),
        ] {
            let refused = said(cnf.clone(), by_key, &binding).map_err(|error| error.code());
            assert_eq!(refused, Err(Code::AnswerUnbound), "{cnf} {by_key} {binding:?}");
        }
        let long = json!({ "cnf": { "jkt": thumbprint(1) }, "exp": NOW.0 + 3600 });
        let expected = ExpectedToken { lifetime: Some(Duration::from_secs(300)), ..expected(&BY_KEY) };
        let judged = judge_introspected(long.as_object().unwrap(), true, &expected, NOW);
        assert!(matches!(judged, Err(AnswerError::TokenTooLongLived { .. })), "{judged:?}");
    }

    #[test]
    fn a_jwt_with_several_readings_is_not_opaque() {
        let expected = expected(&BY_KEY);
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let payload = format!("{{\"cnf\":{{\"jkt\":\"{}\"}}}}", thumbprint(1));
        let token = |header: &str, payload: &str| format!("{}.{}.c2ln", part(header), part(payload));
        let judged = |token: String| granted(&answer(&token, "DPoP"), &expected);
        let header = r#"{"alg":"PS256"}"#;
        assert_eq!(judged(token(header, &payload)), Ok(TokenAnswer::Good)); // control
        assert_eq!(judged(token("{ \"alg\":\"PS256\"}", &payload)), Ok(TokenAnswer::Good)); // control
        for header in [
            r#"{"alg":"PS256","alg":"none"}"#,
            r#"{"alg":"PS256","crit":["x"]}"#,
            r#"{"alg":"PS256","b64":false}"#,
            r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#,
            "{\n\"alg\":",
        ] {
            assert!(matches!(judged(token(header, &payload)), Err(AnswerError::TokenMalformed(_))), "{header}");
        }
        let twice = payload.replacen('{', r#"{"cnf":{},"#, 1);
        for payload in [&twice, "", "[]", "text"] {
            assert!(matches!(judged(token(header, payload)), Err(AnswerError::TokenMalformed(_))), "{payload}");
        }
        let padded = format!("{}=.{}.c2ln", part(header), part(&payload));
        assert!(matches!(judged(padded), Err(AnswerError::TokenMalformed(_))));
        // Five parts are a JWE, and those that do not begin like JSON are anything.
        for opaque in [format!("{}.a.b.c.d", part(header)), "a.b.c".to_owned(), "eyJ".to_owned()] {
            assert_eq!(judged(opaque), Ok(TokenAnswer::Good));
        }
    }

    #[test]
    fn a_token_lives_as_long_as_it_may() {
        let expected = |seconds| ExpectedToken { lifetime: Some(Duration::from_secs(seconds)), ..expected(&BY_KEY) };
        let cnf = json!({ "jkt": thumbprint(1) });
        let judged = |claims: Value, expires_in: Value, longest| {
            let mut body = answer(&jwt(&changed(claims, "cnf", cnf.clone())), "DPoP");
            match expires_in {
                Value::Null => drop(body.as_object_mut().unwrap().remove("expires_in")),
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                    body["expires_in"] = expires_in;
                }
            }
            granted(&body, &expected(longest))
        };
        let claims = || json!({ "exp": NOW.0 + 300, "iat": NOW.0 });
        for (claims, expires_in) in [
            (claims(), json!(300)),
            (claims(), json!(1)),
            (claims(), json!(null)),
            (json!({ "exp": NOW.0 + 300 }), json!(300)),
            (json!({ "exp": NOW.0 + 310 }), json!(300)),
            (json!({ "exp": NOW.0 + 310, "iat": NOW.0 + 10 }), json!(300)),
            (json!({ "exp": NOW.0 + 290, "iat": NOW.0 - 10 }), json!(290)),
        ] {
            let shown = format!("{claims} {expires_in}");
            assert_eq!(judged(claims, expires_in, 300), Ok(TokenAnswer::Good), "{shown}"); // control
        }
        let too_long = |found, by| Err(AnswerError::TokenTooLongLived { found, by, longest: 300 });
        assert_eq!(judged(claims(), json!(301), 300), too_long(301, "expires_in"));
        assert_eq!(
            judged(json!({ "exp": NOW.0 + 300, "iat": NOW.0 - 1 }), json!(300), 300),
            too_long(301, "exp and iat")
        );
        assert_eq!(
            judged(json!({ "exp": NOW.0 as f64 + 300.5, "iat": NOW.0 }), json!(300), 300),
            too_long(301, "exp and iat")
        );
        assert_eq!(judged(json!({ "exp": NOW.0 + 311 }), json!(300), 300), too_long(311, "exp"));
        assert_eq!(judged(json!({ "exp": NOW.0 + 311, "iat": NOW.0 + 11 }), json!(300), 300), too_long(311, "exp"));
        let unknown = |by| Err(AnswerError::TokenLifetimeUnknown { by, longest: 300 });
        assert_eq!(judged(json!({ "iat": NOW.0 }), json!(300), 300), unknown("exp"));
        assert_eq!(code(judged(json!({}), json!(300), 300)), Some(Code::AnswerTooLongLived));
        for claim in ["exp", "iat"] {
            let answer = judged(changed(claims(), claim, json!("1800000000")), json!(300), 300);
            assert!(matches!(answer, Err(AnswerError::MemberMalformed { member, .. }) if member == claim), "{claim}");
        }
        for value in [json!(0), json!(-1), json!("300"), json!(0.5), json!([])] {
            let answer = judged(claims(), value.clone(), 300);
            assert!(matches!(answer, Err(AnswerError::MemberMalformed { member: "expires_in", .. })), "{value}");
        }
        // Nothing says how long an opaque token lives but the answer.
        for may_introspect in [false, true] {
            let expected = ExpectedToken { may_introspect, ..expected(300) };
            let mut body = answer("opaque", "DPoP");
            assert!(granted(&body, &expected).is_ok()); // control
            body.as_object_mut().unwrap().remove("expires_in");
            assert_eq!(granted(&body, &expected), unknown("expires_in"));
        }
    }

    #[test]
    fn without_a_longest_lifetime_a_token_lives_as_long_as_the_server_says() {
        let token = jwt(&json!({ "cnf": { "jkt": thumbprint(1) } }));
        let body = json!({ "access_token": token, "token_type": "DPoP" });
        assert_eq!(granted(&body, &expected(&BY_KEY)), Ok(TokenAnswer::Good));
        let years = changed(body, "expires_in", json!(1_000_000_000));
        assert_eq!(granted(&years, &expected(&BY_KEY)), Ok(TokenAnswer::Good));
    }

    #[test]
    fn fapi2_as_08_the_refresh_token_stays_as_it_is() {
        let body = |refresh_token: &str| changed(answer("t", "DPoP"), "refresh_token", json!(refresh_token));
        let stays =
            ExpectedToken { refresh: RefreshRule::NotRotated { presented: sha256(b"refresh-1") }, ..expected(&BY_KEY) };
        assert_eq!(granted(&body("refresh-1"), &stays), Ok(TokenAnswer::Good)); // control
        assert_eq!(granted(&answer("t", "DPoP"), &stays), Ok(TokenAnswer::Good));
        assert_eq!(granted(&body("refresh-2"), &expected(&BY_KEY)), Ok(TokenAnswer::Good));
        for other in ["refresh-2", "Refresh-1", "refresh-1 "] {
            assert_eq!(granted(&body(other), &stays), Err(AnswerError::RefreshTokenRotated), "{other}");
        }
        for value in [json!(""), json!(null), json!(["refresh-1"])] {
            let answer = granted(&changed(answer("t", "DPoP"), "refresh_token", value.clone()), &stays);
            assert!(matches!(answer, Err(AnswerError::MemberMalformed { .. })), "{value}");
        }
    }

    #[test]
    fn what_is_logged_of_an_answer_has_no_token() {
        let asked = ExpectedToken {
            may_introspect: true,
            refresh: RefreshRule::NotRotated { presented: [7; 32] },
            ..expected(&BY_KEY)
        };
        let answer = granted(&answer("secret", "DPoP"), &asked).unwrap();
        assert_eq!(format!("{answer:?}"), "Introspect { .. }");
        assert!(format!("{asked:?}").contains("refresh: NotRotated { .. }"));
    }

    proptest! {
        #[test]
        fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..200), token in "ey[A-Za-z0-9_.-]{0,60}") {
            let expected = ExpectedToken { lifetime: Some(Duration::from_secs(1)), ..expected(&BY_EITHER) };
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
            let _ = judge(StatusCode::OK, &headers, &body, &expected, NOW);
            let _ = granted(&answer(&token, "DPoP"), &expected);
        }
    }
}
