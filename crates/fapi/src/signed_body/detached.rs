//! `x-jws-signature`: a JWS without its payload, which is the body as it was sent (RFC 7515 appendix F), as the UK Open Banking
//! Read/Write API profile has it.
//!
//! The claims about the signature are in the JOSE header, under names that are critical (RFC 7515 §4.1.11).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::error::SignedBodyError;
use crate::UnixTime;
use crate::jose::claims::numeric_date;
use crate::jose::json::parse_object;
use crate::jose::jws::{MAX_TRIED, NotVerified, is_media_type_name};
use crate::jose::keys::{Algorithm, KeySet};
use crate::jose::signing_keys::NamedKey;
use crate::path_validation::Name;
use crate::signature::evidence::Evidence;
use crate::text::{Names, printable, sole_value};

/// The name of the field.
pub const X_JWS_SIGNATURE: &str = "x-jws-signature";

/// The most bytes of the field that are read: a signature of an RSA key of 8192 bits, and claims of usual length.
pub const MAX_FIELD_BYTES: usize = 8 * 1024;

/// The largest body that is hashed, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// What is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The body in base64url (RFC 7515 §5.1), from version 3.1.4 on.
    Encoded,
    /// The body as it is, with `b64` false (RFC 7797 §3), of versions before 3.1.4.
    Unencoded,
}

/// Who has to have signed.
#[derive(Clone, Copy, Debug)]
pub enum ExpectedIssuer<'e> {
    /// Exactly this text, such as `org-id/software-id` for keys of a directory.
    Exact(&'e str),
    /// The subject of the client's certificate, which `iss` has as the text of RFC 4514.
    Subject(&'e Name),
}

/// What is required of a signature.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'e> {
    /// What is signed.
    pub form: Form,
    /// The algorithms that are accepted.
    pub algorithms: &'e [Algorithm],
    /// Who has to have signed.
    pub issuer: ExpectedIssuer<'e>,
    /// The domains of the trust anchors that keys may be registered at.
    pub trust_anchors: &'e [Box<str>],
    /// Seconds from `iat` for which a signature is accepted.
    pub max_age: u64,
    /// Seconds that `iat` may be ahead.
    pub clock_skew: u64,
}

impl<'e> Rules<'e> {
    /// Those of the profile from version 3.1.4 on: PS256 over the encoded body, for 60 seconds, by clocks that may be 10 ahead.
    pub const fn new(issuer: ExpectedIssuer<'e>, trust_anchors: &'e [Box<str>]) -> Self {
        let algorithms = &[Algorithm::Ps256];
        Self { form: Form::Encoded, algorithms, issuer, trust_anchors, max_age: 60, clock_skew: 10 }
    }
}

/// Verifies the `x-jws-signature` of a message over its body, every byte of it as received (UK-10).
///
/// `keys` are those of the client. `now` and `iat` are whole seconds; a signature is fresh from `now - max_age` to
/// `now + clock_skew`.
///
/// Does not detect replay, and does not compare the body with its `Content-Type`.
///
/// # Errors
/// [`SignedBodyError`], for the first check that fails: what the header says before what it costs to verify.
pub fn verify(
    headers: &HeaderMap,
    body: &[u8],
    rules: &Rules<'_>,
    keys: &KeySet,
    now: UnixTime,
) -> Result<VerifiedDetachedSignature, SignedBodyError> {
    let value = field(headers)?;
    if body.len() > MAX_BODY_BYTES {
        return Err(SignedBodyError::TooLarge { what: "the body", limit: MAX_BODY_BYTES });
    }
    let (protected, signature) = split(value)?;
    let header = decoded_header(protected)?;
    check_names(&header, rules.form)?;
    check_types(&header, body)?;
    let algorithm = algorithm(&header, rules.algorithms)?;
    let Claims { issuer, trust_anchor, issued_at } = check_claims(&header, rules, now)?;
    let key_id = text(&header, "kid")?;
    let input = signing_input(protected, body, rules.form);
    let candidates = keys.named_with_jwk(key_id).filter(|(key, _)| key.algorithm() == algorithm);
    let mut failure = NotVerified::NoKey;
    for (key, jwk) in candidates.take(MAX_TRIED) {
        if key.is_weak() {
            failure = NotVerified::WeakKey;
        } else if key.verifies(&input, signature) {
            return Ok(VerifiedDetachedSignature {
                key_id: key_id.into(),
                issuer: issuer.into(),
                trust_anchor: trust_anchor.into(),
                issued_at,
                value: value.into(),
                evidence: evidence(&input, signature, jwk, rules.form),
            });
        } else {
            failure = NotVerified::Signature;
        }
    }
    Err(SignedBodyError::of_key(failure, key_id))
}

/// What shows later that the key signed; `None` of a body that is not encoded.
fn evidence(input: &[u8], signature: &str, jwk: &str, form: Form) -> Option<Evidence> {
    match form {
        Form::Encoded => std::str::from_utf8(input).ok().map(|input| Evidence::of_jws(input, signature, jwk)),
        Form::Unencoded => None,
    }
}

/// The value of the one line of the field.
fn field(headers: &HeaderMap) -> Result<&str, SignedBodyError> {
    if !headers.contains_key(X_JWS_SIGNATURE) {
        return Err(SignedBodyError::Missing { what: X_JWS_SIGNATURE });
    }
    let value = sole_value(headers, X_JWS_SIGNATURE).ok_or_else(|| malformed("it has several lines"))?;
    if value.len() > MAX_FIELD_BYTES {
        return Err(SignedBodyError::TooLarge { what: X_JWS_SIGNATURE, limit: MAX_FIELD_BYTES });
    }
    value.to_str().map_err(|_| malformed("it is not ASCII"))
}

const fn malformed(why: &'static str) -> SignedBodyError {
    SignedBodyError::Malformed { what: X_JWS_SIGNATURE, why }
}

/// The header and the signature of a JWS whose payload is elsewhere, both in base64url.
fn split(value: &str) -> Result<(&str, &str), SignedBodyError> {
    let mut parts = value.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        // RFC 7515 appendix F: "the middle part of the JWS Compact Serialization is the empty string".
        (Some(header), Some(""), Some(signature), None) => Ok((header, signature)),
        _ => Err(malformed("it is not a header, two dots and a signature")),
    }
}

fn decoded_header(protected: &str) -> Result<Map<String, Value>, SignedBodyError> {
    let bytes = URL_SAFE_NO_PAD.decode(protected).map_err(|_| malformed("its header is not base64url"))?;
    parse_object(&bytes).map_err(|_| malformed("its header is not a JSON object with one reading"))
}

/// UK-07, UK-08: the members are those of the profile and no others, and `crit` lists those that it has to.
fn check_names(header: &Map<String, Value>, form: Form) -> Result<(), SignedBodyError> {
    let critical = critical(form);
    let known = |name: &str| ["alg", "kid", "typ", "cty", "crit"].contains(&name) || critical.contains(&name);
    if let Some(other) = header.keys().find(|name| !known(name)) {
        return Err(SignedBodyError::MemberNotAllowed { member: printable(other) });
    }
    let listed = header.get("crit").ok_or(SignedBodyError::MemberMissing { member: "crit" })?;
    let listed: Option<Vec<&str>> = listed.as_array().and_then(|names| names.iter().map(Value::as_str).collect());
    // With as many names as there should be, of which each is listed, none is there twice.
    let is_exact = |listed: &Vec<&str>| {
        listed.len() == critical.len() && critical.iter().all(|expected| listed.contains(expected))
    };
    if !listed.as_ref().is_some_and(is_exact) {
        let expected = match form {
            Form::Encoded => "the list of the names of iat, iss and tan",
            Form::Unencoded => "the list of b64 and the names of iat, iss and tan",
        };
        return Err(SignedBodyError::MemberRefused { member: "crit", expected });
    }
    match (form, header.get("b64")) {
        (Form::Unencoded, None) => Err(SignedBodyError::MemberMissing { member: "b64" }),
        (Form::Unencoded, Some(value)) if *value != Value::Bool(false) => {
            Err(SignedBodyError::MemberRefused { member: "b64", expected: "false" })
        }
        (Form::Encoded | Form::Unencoded, _) => Ok(()),
    }
}

const fn critical(form: Form) -> &'static [&'static str] {
    match form {
        Form::Encoded => &[IAT, ISS, TAN],
        Form::Unencoded => &["b64", IAT, ISS, TAN],
    }
}

/// UK-07: `typ` and `cty` say what they have to, if they are there, and the body is what `cty` says.
fn check_types(header: &Map<String, Value>, body: &[u8]) -> Result<(), SignedBodyError> {
    let is = |value: &Value, kind| value.as_str().is_some_and(|text| is_media_type_name(text, kind));
    if header.get("typ").is_some_and(|value| !is(value, "JOSE")) {
        return Err(SignedBodyError::MemberRefused { member: "typ", expected: "JOSE" });
    }
    let Some(content_type) = header.get("cty") else { return Ok(()) };
    if !is(content_type, "json") {
        return Err(SignedBodyError::MemberRefused { member: "cty", expected: "json or application/json" });
    }
    match serde_json::from_slice::<IgnoredAny>(body) {
        Ok(_) => Ok(()),
        Err(_) => Err(SignedBodyError::MemberRefused { member: "cty", expected: "the type of the body" }),
    }
}

fn algorithm(header: &Map<String, Value>, accepted: &[Algorithm]) -> Result<Algorithm, SignedBodyError> {
    let name = text(header, "alg")?;
    Algorithm::from_name(name).filter(|algorithm| accepted.contains(algorithm)).ok_or_else(|| {
        let expected = Names::of(accepted.iter().map(|algorithm| algorithm.as_str()));
        SignedBodyError::AlgorithmRefused { found: printable(name), expected }
    })
}

/// A member of the header that has to be there, as text.
fn text<'h>(header: &'h Map<String, Value>, member: &'static str) -> Result<&'h str, SignedBodyError> {
    let value = header.get(member).ok_or(SignedBodyError::MemberMissing { member })?;
    let text = value.as_str().filter(|text| !text.is_empty());
    text.ok_or(SignedBodyError::MemberRefused { member, expected: "a text" })
}

/// UK-08: who signed, under which trust anchor, and when.
fn check_claims<'h>(
    header: &'h Map<String, Value>,
    rules: &Rules<'_>,
    now: UnixTime,
) -> Result<Claims<'h>, SignedBodyError> {
    let issuer = claim(header, ISS)?;
    check_issuer(issuer, rules.issuer)?;
    let trust_anchor = claim(header, TAN)?;
    // RFC 4343: the names of domains are compared regardless of case.
    if !rules.trust_anchors.iter().any(|trusted| trusted.eq_ignore_ascii_case(trust_anchor)) {
        let expected = Names::of(rules.trust_anchors);
        return Err(SignedBodyError::TrustAnchorUnknown { found: printable(trust_anchor), expected });
    }
    let issued_at = numeric_date(header, IAT, f64::floor);
    let issued_at =
        issued_at.map_err(|_| SignedBodyError::ClaimMalformed { claim: IAT, expected: "a number of seconds" })?;
    let issued_at = issued_at.ok_or(SignedBodyError::ClaimMissing { claim: IAT })?;
    if issued_at > now.plus(rules.clock_skew) || now > issued_at.plus(rules.max_age) {
        return Err(SignedBodyError::Stale { at: issued_at, now });
    }
    Ok(Claims { issuer, trust_anchor, issued_at })
}

fn claim<'h>(header: &'h Map<String, Value>, claim: &'static str) -> Result<&'h str, SignedBodyError> {
    let value = header.get(claim).ok_or(SignedBodyError::ClaimMissing { claim })?;
    value.as_str().ok_or(SignedBodyError::ClaimMalformed { claim, expected: "a text" })
}

fn check_issuer(found: &str, expected: ExpectedIssuer<'_>) -> Result<(), SignedBodyError> {
    let (same, shown) = match expected {
        ExpectedIssuer::Exact(text) => (found == text, printable(text)),
        ExpectedIssuer::Subject(subject) => (
            Name::from_text(found).is_ok_and(|name| name == *subject),
            "the subject of the client's certificate".into(),
        ),
    };
    if same { Ok(()) } else { Err(SignedBodyError::IssuerMismatch { found: printable(found), expected: shown }) }
}

/// RFC 7515 §5.1 (8), and with `b64` false RFC 7797 §3.
fn signing_input(protected: &str, body: &[u8], form: Form) -> Vec<u8> {
    let mut input = format!("{protected}.");
    match form {
        Form::Encoded => {
            URL_SAFE_NO_PAD.encode_string(body, &mut input);
            input.into_bytes()
        }
        Form::Unencoded => [input.as_bytes(), body].concat(),
    }
}

/// The proof that a key of the client signed a body, as the rules require.
///
/// Does not say that the message comes for the first time.
#[derive(Clone)]
pub struct VerifiedDetachedSignature {
    key_id: Box<str>,
    issuer: Box<str>,
    trust_anchor: Box<str>,
    issued_at: UnixTime,
    value: Box<str>,
    evidence: Option<Evidence>,
}

impl VerifiedDetachedSignature {
    /// The name of the key that made it.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Who signed, as claimed: it is the one that was expected.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The domain of the trust anchor.
    pub fn trust_anchor(&self) -> &str {
        &self.trust_anchor
    }

    /// When it was made.
    pub const fn issued_at(&self) -> UnixTime {
        self.issued_at
    }

    /// What shows it later; `None` of a body that is not encoded.
    pub const fn evidence(&self) -> Option<&Evidence> {
        self.evidence.as_ref()
    }

    /// The value of the field, with which and the body anybody can verify the signature again.
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// Does not show the signature.
impl fmt::Debug for VerifiedDetachedSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("VerifiedDetachedSignature");
        shown.field("key_id", &self.key_id).field("issuer", &self.issuer);
        shown.field("issued_at", &self.issued_at).finish_non_exhaustive()
    }
}

/// What a signature says of its maker.
#[derive(Clone, Copy, Debug)]
pub struct Claims<'c> {
    /// Who signs, as the directory or the certificate names it.
    pub issuer: &'c str,
    /// The domain of the trust anchor that the key is registered at.
    pub trust_anchor: &'c str,
    /// The time of the signature.
    pub issued_at: UnixTime,
}

/// Signs a body: the value of `x-jws-signature` for exactly these bytes. May block where the key is kept elsewhere.
///
/// Does not check that the profile accepts the algorithm of the key.
///
/// # Errors
/// [`SignedBodyError::NotSigned`].
pub fn sign(body: &[u8], claims: &Claims<'_>, form: Form, key: &NamedKey) -> Result<HeaderValue, SignedBodyError> {
    sign_with_evidence(body, claims, form, key).map(|(value, _)| value)
}

/// The same, with what shows later that the key has signed; `None` of a body that is not encoded.
///
/// # Errors
/// As [`sign`].
pub fn sign_with_evidence(
    body: &[u8],
    claims: &Claims<'_>,
    form: Form,
    key: &NamedKey,
) -> Result<(HeaderValue, Option<Evidence>), SignedBodyError> {
    let mut header = json!({
        "alg": key.algorithm().as_str(),
        "kid": key.key_id(),
        "typ": "JOSE",
        "crit": critical(form),
        IAT: claims.issued_at.0,
        ISS: claims.issuer,
        TAN: claims.trust_anchor,
    });
    if let (Form::Unencoded, Some(members)) = (form, header.as_object_mut()) {
        members.insert("b64".to_owned(), Value::Bool(false));
    }
    let protected = URL_SAFE_NO_PAD.encode(header.to_string());
    let input = signing_input(&protected, body, form);
    let signature = URL_SAFE_NO_PAD.encode(key.sign(&input).map_err(|_| SignedBodyError::NotSigned)?);
    let value = HeaderValue::try_from(format!("{protected}..{signature}"));
    let value = value.map_err(|_| SignedBodyError::NotWritable { what: X_JWS_SIGNATURE })?;
    Ok((value, evidence(&input, &signature, &key.jwk_text(), form)))
}

const IAT: &str = "http://openbanking.org.uk/iat";
const ISS: &str = "http://openbanking.org.uk/iss";
const TAN: &str = "http://openbanking.org.uk/tan";

#[cfg(test)]
mod tests;
