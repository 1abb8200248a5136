//! A body that is a signed JWT, of the media type `application/jwt`: the message signing of Open Finance Brazil, of the UAE
//! and of KSA.
//!
//! The claims of the JWT say by whom and for whom it is; what would have been the body is beside them, or one of them.

use std::collections::HashSet;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use uuid::Variant;

use super::error::SignedBodyError;
use crate::UnixTime;
use crate::jose::claims::{CLOCK_SKEW, REGISTERED, audiences, numeric_date};
use crate::jose::json::{member_of, parse_object};
use crate::jose::jwe::{self, Decrypted, DecryptionKeys, JweError};
use crate::jose::jws::{Jws, JwsError};
use crate::jose::keys::{Algorithm, KeySet};
use crate::jose::signing_keys::NamedKey;
use crate::sha256;
use crate::signature::evidence::Evidence;
use crate::text::{Names, as_read, canonical_uuid, printable, shown_value};

/// The largest body that is read, in bytes.
pub const MAX_BYTES: usize = 2 * 1024 * 1024;

/// The longest `jti`, in bytes: whoever remembers it does not have to remember more.
pub const MAX_JTI_BYTES: usize = 256;

/// What a `jti` has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JtiForm {
    /// Any text.
    Text,
    /// A random UUID (RFC 9562 §5.4), in the form with hyphens.
    UuidV4,
}

/// Whether `exp` and `nbf` have to be there. What is there counts in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// They may be absent.
    Optional,
    /// Both have to be there.
    Required,
}

/// Where in the claims the payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// All claims.
    Claims,
    /// The claim with this name: `data` or `message`.
    Claim(&'static str),
}

/// What is required of a signed body.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'e> {
    /// The algorithms that are accepted.
    pub algorithms: &'e [Algorithm],
    /// The exact value of `iss`: the client, as the directory names its organisation or its software.
    pub issuer: &'e str,
    /// The values of which `aud` has to contain at least one: the URL of the endpoint, as clients write it.
    pub audiences: &'e [Box<str>],
    /// What `jti` has to be.
    pub jti: JtiForm,
    /// The most seconds between `iat` and now, in either direction.
    pub window: u64,
    /// Whether `exp` and `nbf` have to be there.
    pub validity: Validity,
    /// Where the payload is.
    pub payload: Payload,
}

impl<'e> Rules<'e> {
    /// Those of Open Finance Brazil (BR-11): PS256, a UUID, 60 seconds, and the payload in `data`.
    pub const fn brazil(issuer: &'e str, audiences: &'e [Box<str>]) -> Self {
        Self {
            algorithms: &[Algorithm::Ps256],
            issuer,
            audiences,
            jti: JtiForm::UuidV4,
            window: 60,
            validity: Validity::Optional,
            payload: Payload::Claim("data"),
        }
    }

    /// Those of the UAE and KSA (UAE-03, UAE-04): PS256, 60 seconds, `exp` and `nbf`, and the payload in `message`.
    pub const fn gulf(issuer: &'e str, audiences: &'e [Box<str>]) -> Self {
        Self {
            algorithms: &[Algorithm::Ps256],
            issuer,
            audiences,
            jti: JtiForm::Text,
            window: 60,
            validity: Validity::Required,
            payload: Payload::Claim("message"),
        }
    }
}

/// Decrypts a body that is a signed JWT within a JWE (RFC 7519 §5.2), and no further one within that.
///
/// Says nothing of who made it: what it returns has to be [verified](verify).
///
/// # Errors
/// [`SignedBodyError::Missing`], [`SignedBodyError::NotDecrypted`].
pub fn decrypt(body: &[u8], keys: &DecryptionKeys) -> Result<String, SignedBodyError> {
    if body.is_empty() {
        return Err(SignedBodyError::Missing { what: "body" });
    }
    let part = "serialization";
    let text = std::str::from_utf8(body).map_err(|_| SignedBodyError::NotDecrypted(JweError::Malformed { part }))?;
    let nested = jwe::decrypt(text, keys, MAX_BYTES).and_then(Decrypted::into_nested_jws);
    nested.map_err(SignedBodyError::NotDecrypted)
}

/// Verifies a body that is a JWT in compact serialization and nothing else, not even white space around it.
///
/// `keys` are those of the client. Times are whole seconds; for `exp` and `nbf`, clocks may differ by 10.
///
/// Does not check the `Content-Type`, and does not detect replay: [`VerifiedBody::jti`] is for whoever remembers (BR-12).
///
/// # Errors
/// [`SignedBodyError`], for the first check that fails: the header, the signature, and then the claims.
pub fn verify(body: &[u8], rules: &Rules<'_>, keys: &KeySet, now: UnixTime) -> Result<VerifiedBody, SignedBodyError> {
    if body.is_empty() {
        return Err(SignedBodyError::Missing { what: "body" });
    }
    let part = "serialization";
    let text = std::str::from_utf8(body).map_err(|_| SignedBodyError::NotSignedJwt(JwsError::Malformed { part }))?;
    let jws = Jws::parse(text, MAX_BYTES).map_err(SignedBodyError::NotSignedJwt)?;
    let algorithm = check_header(&jws, rules)?;
    let key_id = key_id(&jws)?;
    let mut made_by = "";
    let (signed, signature) = jws.parts();
    let candidates = keys.named_with_jwk(&key_id).filter(|(key, _)| key.algorithm() == algorithm);
    // The last one that is tried is the one that verifies.
    let candidates = candidates.inspect(|(_, jwk)| made_by = jwk).map(|(key, _)| key);
    let claims = jws.verify_with_one_of(candidates).map_err(|failure| SignedBodyError::of_key(failure, &key_id))?;
    check_names(&claims)?;
    check_issuer(&claims, rules)?;
    check_audience(&claims, rules)?;
    let jti = jti(&claims, rules.jti)?.into();
    let (issued_at, expires) = check_times(&claims, rules, now)?;
    let payload = payload(&claims, text, rules.payload)?;
    let (issuer, hash) = (rules.issuer.into(), sha256(text.as_bytes()));
    let evidence = Evidence::of_jws(signed, signature, made_by);
    Ok(VerifiedBody { issuer, jti, issued_at, expires, key_id, payload, hash, evidence })
}

/// BR-11, BR-13: the type, no key that the sender brings along, and one of the algorithms.
fn check_header(jws: &Jws<'_>, rules: &Rules<'_>) -> Result<Algorithm, SignedBodyError> {
    // RFC 8725 §3.10: a key that the sender chooses proves nothing about the sender.
    if let Some(member) = ["x5u", "x5c", "jku", "jwk"].into_iter().find(|name| jws.header().contains_key(*name)) {
        return Err(SignedBodyError::MemberNotAllowed { member: member.into() });
    }
    if !jws.header().contains_key("typ") {
        return Err(SignedBodyError::MemberMissing { member: "typ" });
    }
    if !jws.is_of_type("JWT") {
        return Err(SignedBodyError::MemberRefused { member: "typ", expected: "JWT" });
    }
    jws.algorithm(rules.algorithms).ok_or_else(|| SignedBodyError::AlgorithmRefused {
        found: printable(jws.algorithm_name()),
        expected: Names::of(rules.algorithms.iter().map(|algorithm| algorithm.as_str())),
    })
}

fn key_id(jws: &Jws<'_>) -> Result<Box<str>, SignedBodyError> {
    match jws.key_id() {
        Ok(Some(key_id)) if !key_id.is_empty() => Ok(key_id.into()),
        Ok(None) => Err(SignedBodyError::MemberMissing { member: "kid" }),
        Ok(Some(_)) | Err(_) => Err(SignedBodyError::MemberRefused { member: "kid", expected: "a text" }),
    }
}

/// Readers that ignore case take one of two claims, and nobody knows which: the payload that was judged, or another.
fn check_names(claims: &Map<String, Value>) -> Result<(), SignedBodyError> {
    let mut names = HashSet::new();
    if claims.keys().all(|name| names.insert(as_read(name))) {
        return Ok(());
    }
    Err(SignedBodyError::Malformed { what: "the body", why: "it has two claims with names that differ in case alone" })
}

fn check_issuer(claims: &Map<String, Value>, rules: &Rules<'_>) -> Result<(), SignedBodyError> {
    let issuer = text(claims, "iss")?;
    if issuer != rules.issuer {
        return Err(SignedBodyError::IssuerMismatch { found: printable(issuer), expected: printable(rules.issuer) });
    }
    Ok(())
}

fn check_audience(claims: &Map<String, Value>, rules: &Rules<'_>) -> Result<(), SignedBodyError> {
    let expected = "a text or a list of texts";
    let found = audiences(claims).map_err(|_| SignedBodyError::ClaimMalformed { claim: "aud", expected })?;
    let found = found.ok_or(SignedBodyError::ClaimMissing { claim: "aud" })?;
    if found.iter().any(|audience| rules.audiences.iter().any(|own| **own == **audience)) {
        return Ok(());
    }
    let shown = match claims.get("aud") {
        Some(Value::Array(_)) => Names::of(found).to_string().into(),
        other => shown_value(other),
    };
    Err(SignedBodyError::AudienceMismatch { found: shown, expected: Names::of(rules.audiences) })
}

fn jti(claims: &Map<String, Value>, form: JtiForm) -> Result<&str, SignedBodyError> {
    let jti = text(claims, "jti")?;
    if jti.is_empty() || jti.len() > MAX_JTI_BYTES {
        return Err(SignedBodyError::ClaimMalformed { claim: "jti", expected: "a text of 1 to 256 bytes" });
    }
    match form {
        JtiForm::UuidV4 if !is_uuid_v4(jti) => {
            Err(SignedBodyError::ClaimMalformed { claim: "jti", expected: "a UUID of version 4" })
        }
        JtiForm::UuidV4 | JtiForm::Text => Ok(jti),
    }
}

/// RFC 9562 §5.4.
fn is_uuid_v4(text: &str) -> bool {
    canonical_uuid(text).is_some_and(|uuid| uuid.get_version_num() == 4 && uuid.get_variant() == Variant::RFC4122)
}

/// Whether the body is of now; returns `iat` and `exp`.
fn check_times(
    claims: &Map<String, Value>,
    rules: &Rules<'_>,
    now: UnixTime,
) -> Result<(UnixTime, Option<UnixTime>), SignedBodyError> {
    let issued_at = time(claims, "iat", f64::floor)?.ok_or(SignedBodyError::ClaimMissing { claim: "iat" })?;
    if issued_at > now.plus(rules.window) || now > issued_at.plus(rules.window) {
        return Err(SignedBodyError::Stale { at: issued_at, now });
    }
    let (not_before, expires) = (time(claims, "nbf", f64::ceil)?, time(claims, "exp", f64::floor)?);
    for (claim, time) in [("exp", expires), ("nbf", not_before)] {
        if rules.validity == Validity::Required && time.is_none() {
            return Err(SignedBodyError::ClaimMissing { claim });
        }
    }
    // RFC 7519 §4.1.4, §4.1.5: valid from `nbf` on, and before `exp`.
    if let Some(at) = not_before.filter(|at| *at > now.plus(CLOCK_SKEW)) {
        return Err(SignedBodyError::NotValidYet { at, now });
    }
    match expires.filter(|at| at.plus(CLOCK_SKEW) <= now) {
        Some(at) => Err(SignedBodyError::Expired { at, now }),
        None => Ok((issued_at, expires)),
    }
}

fn time(
    claims: &Map<String, Value>,
    claim: &'static str,
    round: fn(f64) -> f64,
) -> Result<Option<UnixTime>, SignedBodyError> {
    let expected = "a number of seconds";
    numeric_date(claims, claim, round).map_err(|_| SignedBodyError::ClaimMalformed { claim, expected })
}

fn text<'c>(claims: &'c Map<String, Value>, claim: &'static str) -> Result<&'c str, SignedBodyError> {
    let value = claims.get(claim).ok_or(SignedBodyError::ClaimMissing { claim })?;
    value.as_str().ok_or(SignedBodyError::ClaimMalformed { claim, expected: "a text" })
}

/// The payload as it is written in the JWT.
fn payload(claims: &Map<String, Value>, jwt: &str, payload: Payload) -> Result<Box<str>, SignedBodyError> {
    // The part was read before, so that neither fails.
    let part = || SignedBodyError::NotSignedJwt(JwsError::Malformed { part: "payload" });
    let bytes = jwt.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).ok_or_else(part)?;
    match payload {
        Payload::Claims => {
            let text = String::from_utf8(bytes).map_err(|_| part())?;
            Ok(text.into())
        }
        Payload::Claim(claim) => {
            if !claims.contains_key(claim) {
                return Err(SignedBodyError::ClaimMissing { claim });
            }
            let text = member_of(&bytes, claim).map_err(|_| part())?;
            Ok(text.into())
        }
    }
}

/// The proof that a key of the client signed a body, for this endpoint and for now.
///
/// Does not say that the body comes for the first time.
#[derive(Clone)]
pub struct VerifiedBody {
    issuer: Box<str>,
    jti: Box<str>,
    issued_at: UnixTime,
    expires: Option<UnixTime>,
    key_id: Box<str>,
    payload: Box<str>,
    hash: [u8; 32],
    evidence: Evidence,
}

impl VerifiedBody {
    /// Who signed.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The text that its maker uses once.
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// When it was made.
    pub const fn issued_at(&self) -> UnixTime {
        self.issued_at
    }

    /// Its `exp`, if it has one.
    pub const fn expires(&self) -> Option<UnixTime> {
        self.expires
    }

    /// The name of the key that made it.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// What would have been the body without a signature, as its signer wrote it, with its white space and its numbers: JSON.
    pub fn payload(&self) -> &str {
        &self.payload
    }

    /// What shows it later.
    pub const fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// The SHA-256 of the whole JWT.
    pub const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }
}

/// Does not show the payload and the signature.
impl fmt::Debug for VerifiedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("VerifiedBody");
        shown.field("issuer", &self.issuer).field("jti", &self.jti).field("issued_at", &self.issued_at);
        shown.field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// When a body counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidBetween {
    /// `nbf`.
    pub not_before: UnixTime,
    /// `exp`.
    pub expires: UnixTime,
}

/// What a signed body says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Claims<'c> {
    /// Who signs, as the directory names its organisation.
    pub issuer: &'c str,
    /// Whom it is for: the client, as the directory names its organisation.
    pub audience: &'c str,
    /// A text that is used once.
    pub jti: &'c str,
    /// The time of the signature.
    pub issued_at: UnixTime,
    /// `exp` and `nbf`, if there are to be any.
    pub valid: Option<ValidBetween>,
}

/// Signs a body (BR-15, UAE-03): a JWT with these claims, and beside them `content`, such as `data` with a body, or `data`,
/// `links` and `meta`. May block where the key is kept elsewhere.
///
/// Does not check that the ecosystem accepts the algorithm of the key.
///
/// # Errors
/// [`SignedBodyError::NotWritable`] if `content` has a claim that is about the JWT itself, or [`SignedBodyError::NotSigned`].
pub fn sign(claims: &Claims<'_>, content: Map<String, Value>, key: &NamedKey) -> Result<String, SignedBodyError> {
    if let Some(what) = REGISTERED.into_iter().find(|name| content.contains_key(*name)) {
        return Err(SignedBodyError::NotWritable { what });
    }
    let mut all = content;
    all.extend(own_claims(claims));
    sign_text(&Value::Object(all).to_string(), key)
}

/// What is signed of a message, as text: its numbers and its white space stay as they are.
#[derive(Clone, Copy, Debug)]
pub enum Content<'c> {
    /// An object, whose members become claims.
    Members(&'c str),
    /// Any JSON, which becomes the claim of this name.
    Claim(&'static str, &'c str),
}

impl<'c> Content<'c> {
    /// How a response of Open Finance Brazil is signed: the `data`, `links` and `meta` of its body are claims. A body that is no
    /// object, or has claims about the JWT itself, is `data`.
    ///
    /// # Errors
    /// [`SignedBodyError::NotWritable`] if it is not JSON with one reading.
    pub fn brazil(body: &'c [u8]) -> Result<Self, SignedBodyError> {
        let text = json_text(body)?;
        match parse_object(text.as_bytes()) {
            Ok(members) if !REGISTERED.into_iter().any(|name| members.contains_key(name)) => Ok(Self::Members(text)),
            Ok(_) | Err(_) => Ok(Self::Claim("data", text)),
        }
    }

    /// How a response of the UAE and KSA is signed: its body is `message`.
    ///
    /// # Errors
    /// [`SignedBodyError::NotWritable`] if it is not JSON.
    pub fn gulf(body: &'c [u8]) -> Result<Self, SignedBodyError> {
        Ok(Self::Claim("message", json_text(body)?))
    }
}

/// Signs what [`sign`] does, with this content.
///
/// # Errors
/// [`SignedBodyError::NotSigned`].
pub fn sign_content(claims: &Claims<'_>, content: Content<'_>, key: &NamedKey) -> Result<String, SignedBodyError> {
    let own = Value::Object(own_claims(claims)).to_string();
    let own = own.strip_suffix('}').unwrap_or(&own);
    let all = match content {
        Content::Members(object) => {
            let members = object.strip_prefix('{').unwrap_or(object);
            let comma = if members.trim_start().starts_with('}') { "" } else { "," };
            format!("{own}{comma}{members}")
        }
        Content::Claim(name, text) => format!("{own},{}:{text}}}", json!(name)),
    };
    sign_text(&all, key)
}

fn json_text(body: &[u8]) -> Result<&str, SignedBodyError> {
    let not_json = SignedBodyError::NotWritable { what: "a body that is not JSON" };
    match (std::str::from_utf8(body), serde_json::from_slice::<IgnoredAny>(body)) {
        (Ok(text), Ok(_)) => Ok(text.trim()),
        (Err(_), _) | (_, Err(_)) => Err(not_json),
    }
}

fn own_claims(Claims { issuer, audience, jti, issued_at, valid }: &Claims<'_>) -> Map<String, Value> {
    let mut own = Map::new();
    let mut add = |name: &str, value: Value| drop(own.insert(name.to_owned(), value));
    add("iss", json!(issuer));
    add("aud", json!(audience));
    add("jti", json!(jti));
    add("iat", json!(issued_at.0));
    if let Some(ValidBetween { not_before, expires }) = valid {
        add("nbf", json!(not_before.0));
        add("exp", json!(expires.0));
    }
    own
}

fn sign_text(claims: &str, key: &NamedKey) -> Result<String, SignedBodyError> {
    let header = json!({ "alg": key.algorithm().as_str(), "kid": key.key_id(), "typ": "JWT" }).to_string();
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = key.sign(input.as_bytes()).map_err(|_| SignedBodyError::NotSigned)?;
    Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

#[cfg(test)]
mod tests;
