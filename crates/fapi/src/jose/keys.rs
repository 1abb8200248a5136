//! An issuer's keys: a JWK Set as a list of verifying keys, each for one algorithm (RFC 7517 §5, RFC 8725 §3.1).
//!
//! Each entry is read by itself, and an unusable one is skipped and reported, whatever is wrong with it. The others are
//! selected by `kid` and algorithm together, so that a set may repeat a `kid` for keys of different types (FAPI 2.0
//! §5.4.3).

use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use super::json::{elements_of, parse_object};
use crate::text::{printable, shown_value};

/// A signature algorithm that FAPI 2.0 §5.4.1 allows; others cannot be represented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSASSA-PSS with SHA-256, a salt of 32 bytes, keys from 2048 bits (RFC 7518 §3.5).
    Ps256,
    /// ECDSA on P-256 with SHA-256, 64 bytes of R and S (RFC 7518 §3.4).
    Es256,
    /// Ed25519 under its old name `EdDSA` (RFC 8037) or its own (RFC 9864).
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Ps256, Self::Es256, Self::EdDsa];

    /// The algorithm with this registered name; names are case-sensitive (RFC 7515 §4.1.1).
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "PS256" => Some(Self::Ps256),
            "ES256" => Some(Self::Es256),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }

    /// Its registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// A public key that verifies with exactly one algorithm.
#[derive(Clone)]
pub struct VerifyingKey {
    key: Key,
    algorithm: Algorithm,
    strength: Strength,
}

/// A public key, as whoever verifies with it wants it.
#[derive(Clone)]
enum Key {
    /// Of P-256, the usual one. Parsed once, since that takes a fiftieth of the time of a signature.
    P256(Arc<ParsedPublicKey>),
    Other(DecodingKey),
}

/// Whether a key is large enough (FAPI 2.0 §5.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strength {
    Sufficient,
    Weak,
}

/// Why an entry of a JWK Set cannot verify signatures.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Its type or curve has no algorithm that FAPI allows.
    #[error("its type or curve is not for PS256, ES256 or EdDSA")]
    NotForVerifying,
    /// Its `use`, `key_ops` or `alg` is for another purpose.
    #[error("its {member} is {found}, which is for another purpose than PS256, ES256 or EdDSA signatures")]
    OtherPurpose {
        /// The member that says so.
        member: &'static str,
        /// Its value, as it may be logged.
        found: Box<str>,
    },
    /// It contains a private or symmetric member.
    #[error("it holds the private member {member}")]
    Private {
        /// The first such member.
        member: &'static str,
    },
    /// A parameter of the key is missing or malformed.
    #[error("its {member} is missing or malformed")]
    Malformed {
        /// The parameter.
        member: &'static str,
    },
    /// Its coordinates are not a point of its curve.
    #[error("its x and y are not a point of its curve")]
    OffCurve,
    /// It is an Ed25519 key with which signatures can be made that need no private key.
    #[error("its x is a point of small order, for which anybody can make signatures")]
    SmallOrder,
    /// It is an RSA key below 2048 bits; tokens that it signs are refused.
    #[error("its modulus is below 2048 bits")]
    Weak,
    /// Not a JSON object with one reading: a member twice, for example.
    #[error("it is not a JSON object in which each member appears once")]
    Ambiguous,
}

impl VerifyingKey {
    /// Reads a public JWK of a JWK Set (RFC 7517 §4), which must be for signatures by its `use`, `key_ops` and `alg`.
    ///
    /// Members that mean nothing for the key's type are ignored, and a member that is `null` counts as absent. Leading
    /// zero octets of an RSA modulus or exponent are removed: they do not change the number.
    ///
    /// An Ed25519 key of small order is refused. Does not check that one is a point of the curve: verifying a signature
    /// with such a key fails.
    ///
    /// # Errors
    /// [`KeyError`], but neither [`KeyError::Ambiguous`] nor [`KeyError::Weak`].
    pub fn from_jwk(jwk: &Map<String, Value>) -> Result<Self, KeyError> {
        let key = Self::from_key_members(jwk)?;
        let present = |name: &str| jwk.get(name).filter(|value| !value.is_null());
        let other = |member| Err(KeyError::OtherPurpose { member, found: shown_value(jwk.get(member)) });
        // RFC 7517 §4.4: "The "alg" (algorithm) parameter identifies the algorithm intended for use with the key."
        if present("alg").is_some_and(|name| name.as_str().and_then(Algorithm::from_name) != Some(key.algorithm)) {
            return other("alg");
        }
        key.check_purpose(jwk)
    }

    /// Reads a public RSA JWK of a JWK Set that is for RS256 by its `use`, `key_ops` and `alg`, which may be absent.
    fn for_rs256(jwk: &Map<String, Value>) -> Option<Self> {
        let key = Self::from_key_members(jwk).ok().filter(|key| key.algorithm == Algorithm::Ps256)?;
        let named = jwk.get("alg").filter(|name| !name.is_null());
        if named.is_some_and(|name| name != RS256) { None } else { key.check_purpose(jwk).ok() }
    }

    /// Reads a public RSA JWK that is for PS512, by its `alg`, and for signatures.
    fn for_ps512(jwk: &Map<String, Value>) -> Option<Self> {
        let named = jwk.get("alg").is_some_and(|name| name == "PS512");
        let key = named.then(|| Self::from_key_members(jwk).ok()).flatten()?;
        if key.algorithm == Algorithm::Ps256 { key.check_purpose(jwk).ok() } else { None }
    }

    /// Returns the key, if `use` and `key_ops` allow it to verify signatures.
    fn check_purpose(self, jwk: &Map<String, Value>) -> Result<Self, KeyError> {
        let present = |name: &str| jwk.get(name).filter(|value| !value.is_null());
        let other = |member| Err(KeyError::OtherPurpose { member, found: shown_value(jwk.get(member)) });
        if present("use").is_some_and(|usage| usage != "sig") {
            return other("use");
        }
        let verifies =
            |operations: &Value| operations.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"));
        if present("key_ops").is_some_and(|operations| !verifies(operations)) {
            return other("key_ops");
        }
        Ok(self)
    }

    /// Reads a public JWK by the members that make the key (RFC 7638 §3.2), whatever the others say about its use.
    pub(crate) fn from_key_members(jwk: &Map<String, Value>) -> Result<Self, KeyError> {
        if let Some(member) = Self::private_member(jwk) {
            return Err(KeyError::Private { member });
        }
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        // RFC 7517 §4: "Additional members can be present in the JWK; if not understood by implementations encountering
        // them, they MUST be ignored." A curve says nothing about an RSA key.
        let algorithm = match (text("kty"), text("crv")) {
            (Some("RSA"), _) => Algorithm::Ps256,
            (Some("EC"), Some("P-256")) => Algorithm::Es256,
            (Some("OKP"), Some("Ed25519")) => Algorithm::EdDsa,
            _ => return Err(KeyError::NotForVerifying),
        };
        let bytes = |member: &'static str| {
            text(member).and_then(|value| URL_SAFE_NO_PAD.decode(value).ok()).ok_or(KeyError::Malformed { member })
        };
        match algorithm {
            Algorithm::Ps256 => Self::rsa(&bytes("n")?, &bytes("e")?),
            Algorithm::Es256 => Self::p256(&bytes("x")?, &bytes("y")?),
            Algorithm::EdDsa => Self::ed25519(&bytes("x")?),
        }
    }

    /// FAPI 2.0 §5.4.1: RSA keys "shall have a minimum length of 2048 bits".
    fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        // RFC 7518 §6.3.1.1: "Note that implementers have found that some cryptographic libraries prefix an extra
        // zero-valued octet to the modulus representations they return".
        let (modulus, exponent) = (without_leading_zeros(modulus), without_leading_zeros(exponent));
        let first = modulus.first().ok_or(KeyError::Malformed { member: "n" })?;
        let bits = modulus.len().saturating_mul(8).saturating_sub(first.leading_zeros() as usize);
        let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
        // Above 8192 bits, or with an exponent above 32 bits, a single verification is too expensive. An even number is
        // neither a product of two large primes nor prime to one.
        if bits > 8192 || !is_odd(modulus) {
            return Err(KeyError::Malformed { member: "n" });
        }
        if exponent.len() > 4 || !is_odd(exponent) || exponent == [1] {
            return Err(KeyError::Malformed { member: "e" });
        }
        let strength = if bits < 2048 { Strength::Weak } else { Strength::Sufficient };
        let key = Key::Other(DecodingKey::from_rsa_raw_components(modulus, exponent));
        Ok(Self { key, algorithm: Algorithm::Ps256, strength })
    }

    /// RFC 7518 §6.2.1.2: a coordinate's octet string "MUST be the full size of a coordinate for the curve". A point off
    /// the curve verifies nothing; refusing it here keeps a broken key set from replacing a good one.
    fn p256(x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        for (member, coordinate) in [("x", x), ("y", y)] {
            if coordinate.len() != 32 {
                return Err(KeyError::Malformed { member });
            }
        }
        let uncompressed = [&[4], x, y].concat();
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &uncompressed).map_err(|_| KeyError::OffCurve)?;
        Ok(Self { key: Key::P256(key.into()), algorithm: Algorithm::Es256, strength: Strength::Sufficient })
    }

    fn ed25519(x: &[u8]) -> Result<Self, KeyError> {
        let malformed = KeyError::Malformed { member: "x" };
        let Ok(point) = <[u8; 32]>::try_from(x) else { return Err(malformed) };
        if is_of_small_order(point) {
            return Err(KeyError::SmallOrder);
        }
        let key = DecodingKey::from_ed_components(&URL_SAFE_NO_PAD.encode(x)).map_err(|_| malformed)?;
        Ok(Self { key: Key::Other(key), algorithm: Algorithm::EdDsa, strength: Strength::Sufficient })
    }

    /// The first private or symmetric member of a JWK (RFC 7518 §6.2.2, §6.3.2, §6.4), of whatever type it is. `null`
    /// and the empty text hold no secret.
    fn private_member(jwk: &Map<String, Value>) -> Option<&'static str> {
        let holds = |name: &str| jwk.get(name).is_some_and(|value| !value.is_null() && value != "");
        ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"].into_iter().find(|name| holds(name))
    }

    /// Whether a JWK contains private or symmetric members.
    pub(crate) fn has_private_members(jwk: &Map<String, Value>) -> bool {
        Self::private_member(jwk).is_some()
    }

    /// The one algorithm it verifies with.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether it is an RSA key below 2048 bits, whose signatures do not count (FAPI 2.0 §5.4.1).
    pub const fn is_weak(&self) -> bool {
        matches!(self.strength, Strength::Weak)
    }

    /// Whether `signature`, in base64url, is a signature of this key over `message` with [`Self::algorithm`].
    ///
    /// Does not check that an RSA key has 2048 bits: [`UnverifiedJws::verify`](crate::token::UnverifiedJws::verify)
    /// does, which verifies a whole token.
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        let algorithm = match self.algorithm {
            Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        };
        self.verifies_with(message, signature, algorithm)
    }

    /// Whether it is an RSA key, and `signature` is its RS256 signature over `message`. No profile allows RS256, and
    /// [`Self::algorithm`] is never it.
    pub(crate) fn verifies_rs256(&self, message: &[u8], signature: &str) -> bool {
        self.algorithm == Algorithm::Ps256 && self.verifies_with(message, signature, jsonwebtoken::Algorithm::RS256)
    }

    /// Whether `signature`, as bytes, is a signature of this key over `message` with an algorithm of RFC 9421 §3.3: the one of
    /// [`Self::algorithm`], which the key determines (§3.3.7); for an RSA key also RSASSA-PSS with SHA-512 and a salt of 64 bytes
    /// (§3.3.1), and only that if the message `names` its algorithm, since it alone has a name there.
    ///
    /// Does not check that an RSA key has 2048 bits.
    pub(crate) fn verifies_http_message(&self, message: &[u8], signature: &[u8], names: bool) -> bool {
        let signature = URL_SAFE_NO_PAD.encode(signature);
        if self.algorithm != Algorithm::Ps256 {
            return self.verifies(message, &signature);
        }
        self.verifies_with(message, &signature, jsonwebtoken::Algorithm::PS512)
            || (!names && self.verifies(message, &signature))
    }

    fn verifies_with(&self, message: &[u8], signature: &str, algorithm: jsonwebtoken::Algorithm) -> bool {
        match &self.key {
            Key::P256(key) => {
                let signature = URL_SAFE_NO_PAD.decode(signature);
                algorithm == jsonwebtoken::Algorithm::ES256
                    && signature.is_ok_and(|signature| key.verify_sig(message, &signature).is_ok())
            }
            Key::Other(key) => jsonwebtoken::crypto::verify(signature, message, key, algorithm).unwrap_or(false),
        }
    }
}

/// The name of the algorithm that only a waiver makes acceptable: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3).
pub(crate) const RS256: &str = "RS256";

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyingKey").field("algorithm", &self.algorithm).field("strength", &self.strength).finish()
    }
}

/// Whether a point of Ed25519, as it is encoded (RFC 8032 §5.1.2), is one of the eight whose order divides 8.
///
/// What RFC 8032 §5.1.7 compares then depends on the message in at most eight ways, so a constant signature verifies
/// every message, or one in a few, and nobody needs a private key for it.
fn is_of_small_order(mut point: [u8; 32]) -> bool {
    // The highest bit is the sign of `x`: both points with this `y` are of the same order.
    if let Some(last) = point.last_mut() {
        *last &= 0x7f;
    }
    SMALL_ORDER.contains(&point)
}

/// Every `y` of a point of small order, in little-endian bytes; decoders accept those that are not below `p` too.
const SMALL_ORDER: [[u8; 32]; 7] = [
    // 0, of order 4, and the same as `p`.
    little_endian(0, 0, 0),
    little_endian(0xed, 0xff, 0x7f),
    // 1, of order 1, and the same as `p + 1`.
    little_endian(1, 0, 0),
    little_endian(0xee, 0xff, 0x7f),
    // `p - 1`, of order 2.
    little_endian(0xec, 0xff, 0x7f),
    // Of order 8.
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

const fn little_endian(first: u8, between: u8, last: u8) -> [u8; 32] {
    let mut bytes = [between; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

pub(super) fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// The keys of one issuer, from one version of its JWK Set.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<(Option<Box<str>>, VerifyingKey)>,
    /// The keys that verify RS256, if that was asked for.
    for_rs256: Vec<(Option<Box<str>>, VerifyingKey)>,
    /// How many of those verify nothing else.
    only_rs256: usize,
    /// The keys that sign messages and no tokens, which are RSA keys for PS512.
    for_messages: Vec<(Option<Box<str>>, VerifyingKey)>,
    /// Of each of `keys`, and then of `for_messages`, the members that make the key, in JSON.
    jwks: Vec<Box<str>>,
    skipped: Vec<SkippedKey>,
}

/// The members of a JWK that make the key (RFC 7638 §3.2), in JSON.
fn key_members(jwk: &Map<String, Value>) -> Box<str> {
    let members = ["kty", "crv", "x", "y", "n", "e"].into_iter();
    let members = members.filter_map(|name| Some((name.to_owned(), jwk.get(name)?.clone())));
    Value::Object(members.collect()).to_string().into()
}

/// For which algorithm beside those of FAPI keys are read too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Also {
    Nothing,
    Rs256,
    Ps512,
}

/// An entry of a JWK Set with which no token verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its `kid`, truncated and made printable, if it has one that is text.
    pub key_id: Option<Box<str>>,
    /// What is wrong with it.
    pub reason: KeyError,
}

/// Why a document gives no keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Not a JSON object with an array `keys`.
    #[error("the document is not a JWK Set")]
    Malformed,
    /// More than 100 keys.
    #[error("the JWK Set has more than 100 keys")]
    TooMany,
    /// No key in it verifies signatures that FAPI allows.
    #[error("the JWK Set has no key for PS256, ES256 or EdDSA signatures")]
    NoUsableKey {
        /// Its keys, none of which can be used.
        skipped: Vec<SkippedKey>,
    },
}

impl KeySet {
    /// Reads a JWK Set; skips keys that have an unknown type, are for other uses, or are malformed (RFC 7517 §5).
    ///
    /// Of the document itself only `keys` is read. An RSA key below 2048 bits is both skipped and kept: it verifies
    /// nothing, but the tokens that it signs get an error of their own.
    ///
    /// # Errors
    /// [`KeySetError`] if it is not a JWK Set, or if no usable key remains.
    pub fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        Self::read(document, Also::Nothing)
    }

    /// Like [`Self::parse`], for a client that may sign messages (RFC 9421): RSA keys that are for PS512 verify those, and nothing
    /// else, and a set that has no others can be used.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_with_ps512(document: &[u8]) -> Result<Self, KeySetError> {
        Self::read(document, Also::Ps512)
    }

    /// Like [`Self::parse`], for an issuer whose tokens may have RS256 for a while: RSA keys that are for RS256, or for no
    /// algorithm in particular, verify that too, and a set that has no others can be used.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_with_rs256(document: &[u8]) -> Result<Self, KeySetError> {
        Self::read(document, Also::Rs256)
    }

    fn read(document: &[u8], also: Also) -> Result<Self, KeySetError> {
        let entries = elements_of(document, "keys").map_err(|_| KeySetError::Malformed)?;
        if entries.len() > 100 {
            return Err(KeySetError::TooMany);
        }
        let (mut keys, mut skipped) = (Vec::with_capacity(entries.len()), Vec::new());
        let (mut for_rs256, mut only_rs256, mut for_messages) = (Vec::new(), 0_usize, Vec::new());
        let (mut jwks, mut jwks_for_messages) = (Vec::new(), Vec::new());
        for entry in entries {
            let Ok(jwk) = parse_object(entry.as_bytes()) else {
                skipped.push(SkippedKey { key_id: last_key_id(entry), reason: KeyError::Ambiguous });
                continue;
            };
            let key_id = jwk.get("kid").and_then(Value::as_str);
            let mut skip = |reason| skipped.push(SkippedKey { key_id: key_id.map(printable), reason });
            if let Some(key) = Some(&jwk).filter(|_| also == Also::Ps512).and_then(VerifyingKey::for_ps512) {
                if key.is_weak() {
                    skip(KeyError::Weak);
                }
                for_messages.push((key_id.map(Box::from), key));
                jwks_for_messages.push(key_members(&jwk));
                continue;
            }
            let of_rs256 = Some(&jwk).filter(|_| also == Also::Rs256).and_then(VerifyingKey::for_rs256);
            let is_weak = of_rs256.as_ref().map(VerifyingKey::is_weak);
            for_rs256.extend(of_rs256.map(|key| (key_id.map(Box::from), key)));
            match VerifyingKey::from_jwk(&jwk) {
                Ok(key) => {
                    if key.is_weak() {
                        skip(KeyError::Weak);
                    }
                    keys.push((key_id.map(Box::from), key));
                    jwks.push(key_members(&jwk));
                }
                Err(reason) => match is_weak {
                    Some(false) => only_rs256 = only_rs256.saturating_add(1),
                    Some(true) => skip(KeyError::Weak),
                    None => skip(reason),
                },
            }
        }
        if keys.is_empty() && for_rs256.is_empty() && for_messages.is_empty() {
            return Err(KeySetError::NoUsableKey { skipped });
        }
        jwks.append(&mut jwks_for_messages);
        Ok(Self { keys, for_rs256, only_rs256, for_messages, jwks, skipped })
    }

    /// The keys that may verify a JWS with this `kid` and algorithm, the likely ones first.
    ///
    /// Without a `kid`, these are all keys of the algorithm; with one, those that have it, and after them those that
    /// have none: a set need not name its keys (RFC 7517 §4.5). A key that has another `kid` is never a candidate.
    pub fn candidates<'s>(
        &'s self,
        key_id: Option<&'s str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'s VerifyingKey> + 's {
        in_order(&self.keys, key_id).filter(move |key| key.algorithm == algorithm)
    }

    /// The keys of this name, each with what makes it in JSON.
    pub(crate) fn named_with_jwk<'s>(
        &'s self,
        key_id: &'s str,
    ) -> impl Iterator<Item = (&'s VerifyingKey, &'s str)> + 's {
        let all = self.keys.iter().zip(&self.jwks);
        all.filter(move |((kid, _), _)| kid.as_deref() == Some(key_id)).map(|((_, key), jwk)| (key, &**jwk))
    }

    /// The same of HTTP messages, each with what makes it in JSON.
    pub(crate) fn of_messages<'s>(&'s self, key_id: &'s str) -> impl Iterator<Item = (&'s VerifyingKey, &'s str)> + 's {
        let all = self.keys.iter().chain(&self.for_messages).zip(&self.jwks);
        all.filter(move |((kid, _), _)| kid.as_deref() == Some(key_id)).map(|((_, key), jwk)| (key, &**jwk))
    }

    /// The same for a JWS with RS256; none unless the set was read with [`Self::parse_with_rs256`].
    pub(crate) fn candidates_for_rs256<'s>(
        &'s self,
        key_id: Option<&'s str>,
    ) -> impl Iterator<Item = &'s VerifyingKey> + 's {
        in_order(&self.for_rs256, key_id)
    }

    /// The number of keys that tokens can verify with.
    pub fn len(&self) -> usize {
        let strong = self.keys.iter().filter(|(_, key)| !key.is_weak()).count();
        strong.saturating_add(self.only_rs256)
    }

    /// Whether there is no key that tokens can verify with.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries with which no token verifies, and why.
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }
}

/// The keys with this `kid`, and then those without any; all of them if no `kid` is given.
fn in_order<'s>(
    keys: &'s [(Option<Box<str>>, VerifyingKey)],
    key_id: Option<&'s str>,
) -> impl Iterator<Item = &'s VerifyingKey> + 's {
    let named = keys.iter().filter(move |(kid, _)| key_id.is_none() || kid.as_deref() == key_id);
    let nameless = keys.iter().filter(move |(kid, _)| key_id.is_some() && kid.is_none());
    named.chain(nameless).map(|(_, key)| key)
}

/// The `kid` of an entry that has no one reading; only for reports.
fn last_key_id(entry: &str) -> Option<Box<str>> {
    let jwk: Value = serde_json::from_str(entry).ok()?;
    jwk.get("kid").and_then(Value::as_str).map(printable)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::jose::jws::{Jws, MAX_TRIED, NotVerified};
    use crate::testing::SigningKey;

    const EC: &str = r#"{"kty":"EC","crv":"P-256","kid":"a","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    const OKP: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    fn set(keys: &[&str]) -> Result<KeySet, KeySetError> {
        KeySet::parse(format!("{{\"keys\":[{}]}}", keys.join(",")).as_bytes())
    }

    /// The number of usable keys; `None` if there is none.
    fn usable(keys: &[&str]) -> Option<usize> {
        match set(keys) {
            Ok(keys) => Some(keys.len()),
            Err(KeySetError::NoUsableKey { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Why the one key of a set is not usable.
    fn reason(key: &str) -> KeyError {
        match set(&[key]).unwrap_err() {
            KeySetError::NoUsableKey { skipped } => skipped[0].reason.clone(),
            error @ (KeySetError::Malformed | KeySetError::TooMany) => panic!("{error}"),
        }
    }

    fn with(member: &str) -> String {
        EC.replacen('{', &format!("{{{member},"), 1)
    }

    #[test]
    fn fapi2_cr_07_skips_what_cannot_serve_and_keeps_the_rest() {
        let keys = set(&[
            r#"{"kty":"XYZ"}"#,
            r#"{"kty":"RSA","n":"!","e":"AQAB"}"#,
            "7",
            r#"{"kty":"AKP","alg":"ML-DSA-44"}"#,
            EC,
        ])
        .unwrap();
        let reasons: Vec<KeyError> = keys.skipped().iter().map(|skipped| skipped.reason.clone()).collect();
        let malformed = KeyError::Malformed { member: "n" };
        assert_eq!(keys.len(), 1);
        assert_eq!(reasons, [KeyError::NotForVerifying, malformed, KeyError::Ambiguous, KeyError::NotForVerifying]);
        assert_eq!(usable(&[r#"{"kty":"XYZ"}"#]), None);
    }

    #[test]
    fn a_key_for_which_anybody_can_sign_is_refused_however_it_is_written() {
        let named =
            |point: &[u8]| OKP.replace("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", &URL_SAFE_NO_PAD.encode(point));
        let ordinary = URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        assert_eq!(usable(&[&named(&ordinary)]), Some(1)); // control
        for y in SMALL_ORDER {
            for sign in [0, 0x80] {
                let mut point = y;
                point[31] |= sign;
                assert_eq!(reason(&named(&point)), KeyError::SmallOrder, "{point:x?}");
            }
            let mut beside = y;
            beside[1] ^= 1;
            assert_eq!(usable(&[&named(&beside)]), Some(1), "control: {beside:x?}");
        }
        // R = 1 and S = 0 are a signature of the key 1 over everything (RFC 8032 §5.1.7: [8][S]B = [8]R + [8][k]A').
        let signature = URL_SAFE_NO_PAD.encode([&SMALL_ORDER[2][..], &[0; 32]].concat());
        let key = DecodingKey::from_ed_components(&URL_SAFE_NO_PAD.encode(SMALL_ORDER[2])).unwrap();
        let key = VerifyingKey { key: Key::Other(key), algorithm: Algorithm::EdDsa, strength: Strength::Sufficient };
        assert!(key.verifies(b"anything", &signature), "the library accepts it");
    }

    #[test]
    fn fapi2_cr_07_one_key_that_has_no_one_reading_is_skipped_alone() {
        let odd = [
            r#"{"kty":"EC","kid":"odd","kid":"odd","crv":"P-256"}"#,
            r#"{"kty":"EC","kid":"odd","x5c":[{"a":1,"a":2}]}"#,
            r#"{"kty":"EC","kid":"odd","x":[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}"#,
            r#"{"kty":"EC","kid":"odd","x":1e999}"#,
            r#"{"kty":"EC","kid":"odd","x":"\ud800"}"#,
            "null",
            r#""odd""#,
            "[]",
        ];
        for odd in odd {
            let keys = set(&[odd, EC]).unwrap();
            assert_eq!(
                (keys.len(), keys.skipped().len(), keys.skipped()[0].reason.clone()),
                (1, 1, KeyError::Ambiguous),
                "{odd}"
            );
        }
        assert_eq!(set(&[odd[0], EC]).unwrap().skipped()[0].key_id.as_deref(), Some("odd"));
        let copy = EC.replacen(r#""x":"#, r#""x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","x":"#, 1);
        assert_eq!(reason(&copy), KeyError::Ambiguous, "a good key twice in itself is not used either");
        // What is not JSON at all, or has two sets, spoils the document.
        for document in [format!("{{\"keys\":[{EC},]}}"), format!("{{\"keys\":[{EC}],\"keys\":[{OKP}]}}")] {
            assert_eq!(KeySet::parse(document.as_bytes()).unwrap_err(), KeySetError::Malformed);
        }
    }

    #[test]
    fn fapi2_cr_07_members_that_mean_nothing_for_the_type_and_null_members_decide_nothing() {
        let rsa = |member: &str| {
            let n = URL_SAFE_NO_PAD.encode([0xff_u8; 256]);
            format!(r#"{{"kty":"RSA",{member}"n":"{n}","e":"AQAB"}}"#)
        };
        for member in [
            "",
            r#""crv":"","#,
            r#""crv":null,"#,
            r#""crv":"P-256","#,
            r#""crv":["P-256"],"#,
            r#""crv":7,"#,
            r#""x":"","y":1,"#,
            r#""alg":null,"use":null,"key_ops":null,"kid":null,"#,
            r#""d":null,"k":"","#,
        ] {
            let keys = set(&[&rsa(member)]).unwrap();
            assert_eq!((keys.len(), keys.candidates(None, Algorithm::Ps256).count()), (1, 1), "{member}");
        }
        for member in [r#""n":"""#, r#""e":[],"n":null"#, r#""alg":null"#, r#""use":null,"d":"","priv":null"#] {
            assert_eq!(usable(&[&with(member)]), Some(1), "{member}");
        }
        assert_eq!(usable(&[&OKP.replacen('{', r#"{"y":"","n":7,"#, 1)]), Some(1));
        // Members that mean something still decide, and a secret is a secret in a key of any type.
        for (member, expected) in [
            (r#""alg":"RS256","#, KeyError::OtherPurpose { member: "alg", found: "\"RS256\"".into() }),
            (r#""use":"","#, KeyError::OtherPurpose { member: "use", found: "\"\"".into() }),
            (r#""key_ops":[null],"#, KeyError::OtherPurpose { member: "key_ops", found: "a list".into() }),
            (r#""d":"AQ","#, KeyError::Private { member: "d" }),
            (r#""k":"AQ","#, KeyError::Private { member: "k" }),
            (r#""oth":[],"#, KeyError::Private { member: "oth" }),
        ] {
            assert_eq!(reason(&rsa(member)), expected, "{member}");
        }
        assert_eq!(reason(r#"{"kty":"RSA","n":null,"e":"AQAB"}"#), KeyError::Malformed { member: "n" });
        assert_eq!(reason(r#"{"kty":null,"n":"AQ","e":"AQAB"}"#), KeyError::NotForVerifying);
    }

    #[test]
    fn rfc7518_6_3_1_1_leading_zeros_do_not_change_an_rsa_key() {
        let signer = SigningKey::generate(Algorithm::Ps256, "a");
        let token = signer.sign(&json!({ "alg": "PS256" }), &json!({}));
        let (message, signature) = token.rsplit_once('.').unwrap();
        let with_zeros = |n: usize, e: usize| {
            let mut jwk = signer.jwk();
            for (member, zeros) in [("n", n), ("e", e)] {
                let number = URL_SAFE_NO_PAD.decode(jwk[member].as_str().unwrap()).unwrap();
                jwk[member] = URL_SAFE_NO_PAD.encode([vec![0; zeros], number].concat()).into();
            }
            VerifyingKey::from_jwk(jwk.as_object().unwrap()).unwrap()
        };
        for (n, e) in [(0, 0), (1, 0), (0, 1), (2, 5)] {
            let key = with_zeros(n, e);
            assert!(key.verifies(message.as_bytes(), signature), "{n} {e}");
            assert!(!key.verifies(b"another message", signature), "{n} {e}");
            assert!(!key.is_weak());
        }
    }

    #[test]
    fn what_cannot_verify_is_not_counted() {
        let rsa = |n: &[u8], e: &str| {
            let n = URL_SAFE_NO_PAD.encode(n);
            format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#)
        };
        let odd = [0xff_u8; 256];
        let even = [0xfe_u8; 256];
        assert_eq!(usable(&[&rsa(&odd, "AQAB")]), Some(1)); // control
        assert_eq!(reason(&rsa(&even, "AQAB")), KeyError::Malformed { member: "n" });
        for n in [&[][..], &[0, 0]] {
            assert_eq!(reason(&rsa(n, "AQAB")), KeyError::Malformed { member: "n" });
        }
        assert_eq!(usable(&[&rsa(&odd, "AQAAAQ")]), Some(1), "control: 32 bits");
        for e in ["", "AA", "AQ", "AAE", "Ag", "AQAAAAE", "AQAB="] {
            assert_eq!(reason(&rsa(&odd, e)), KeyError::Malformed { member: "e" }, "{e}");
        }
        assert_eq!(usable(&[&rsa(&[0xff; 1024], "AQAB")]), Some(1), "control: 8192 bits");
        let longer = [&[1][..], &[0xff; 1024]].concat();
        assert_eq!(reason(&rsa(&longer, "AQAB")), KeyError::Malformed { member: "n" }, "8193 bits");
        let keys = set(&[&rsa(&odd[..128], "AQAB"), EC]).unwrap();
        let weak = SkippedKey { key_id: None, reason: KeyError::Weak };
        assert_eq!((keys.len(), keys.skipped()), (1, &[weak][..]));
        assert!(!keys.is_empty()); // control
        assert!(set(&[&rsa(&odd[..128], "AQAB")]).unwrap().is_empty());
        // Zeros in front do not make a key longer.
        let padded = [&[0; 128][..], &odd[..128]].concat();
        assert!(set(&[&rsa(&padded, "AQAB")]).unwrap().is_empty());
    }

    #[test]
    fn a_set_has_100_keys_at_most() {
        let of_size = |size: usize| set(&vec![EC; size]).map(|keys| keys.len());
        assert_eq!(of_size(100), Ok(100)); // control
        for size in [101, 102] {
            assert_eq!(of_size(size), Err(KeySetError::TooMany), "{size}");
        }
    }

    #[test]
    fn fapi2_rs_11_a_repeated_kid_is_told_apart_by_algorithm() {
        let keys = set(&[EC, OKP]).unwrap();
        assert_eq!(keys.candidates(Some("a"), Algorithm::Es256).count(), 1);
        assert_eq!(keys.candidates(Some("a"), Algorithm::EdDsa).count(), 1);
        assert_eq!(keys.candidates(Some("b"), Algorithm::Es256).count(), 0);
        assert_eq!(keys.candidates(None, Algorithm::Ps256).count(), 0);
    }

    #[test]
    fn without_a_kid_every_key_of_the_algorithm_is_a_candidate() {
        let other = EC.replace(r#""kid":"a""#, r#""kid":"b""#);
        let nameless = EC.replace(r#""kid":"a","#, "");
        let numbered = EC.replace(r#""kid":"a""#, r#""kid":1"#);
        let keys = set(&[EC, EC, &other, OKP, &nameless, &numbered]).unwrap();
        let count = |key_id, algorithm| keys.candidates(key_id, algorithm).count();
        assert_eq!((count(None, Algorithm::Es256), count(None, Algorithm::EdDsa)), (5, 1));
        // Two keys of one type and one `kid` are both candidates, and so are keys without a `kid` that is text.
        assert_eq!((count(Some("a"), Algorithm::Es256), count(Some("b"), Algorithm::Es256)), (4, 3));
        assert_eq!((count(Some("1"), Algorithm::Es256), count(Some(""), Algorithm::Es256)), (2, 2));
        assert_eq!(set(&[EC, &other]).unwrap().candidates(Some("c"), Algorithm::Es256).count(), 0);
    }

    #[test]
    fn a_key_is_found_without_a_name_on_either_side_but_not_under_another_and_not_beyond_the_bound() {
        let signer = SigningKey::generate(Algorithm::Es256, "signer");
        let others: Vec<_> = (0..MAX_TRIED).map(|_| SigningKey::generate(Algorithm::Es256, "other")).collect();
        // The set has `before` keys of others before the one that signs; `named` says whether they have a `kid`.
        let verified = |before: usize, named: bool, key_id: Option<&str>| {
            let jwk = |key: &SigningKey| {
                let mut jwk = key.jwk();
                if !named {
                    jwk.as_object_mut().unwrap().remove("kid");
                }
                jwk
            };
            let keys: Vec<_> = others[..before].iter().chain([&signer]).map(jwk).collect();
            let keys = KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
            let token = signer.sign(&json!({ "alg": "ES256", "kid": key_id }), &json!({}));
            let jws = Jws::parse(&token, 4096).unwrap();
            jws.verify_with_one_of(keys.candidates(key_id, Algorithm::Es256)).map(drop)
        };
        for key_id in [None, Some("signer"), Some("of another time")] {
            for before in [0, 3, 4, MAX_TRIED - 1] {
                assert_eq!(verified(before, false, key_id), Ok(()), "{before} {key_id:?}");
            }
            assert_eq!(verified(MAX_TRIED, false, key_id), Err(NotVerified::Signature), "{key_id:?}");
        }
        assert_eq!(verified(MAX_TRIED, true, Some("signer")), Ok(()), "its name saves it from the queue");
        assert_eq!(verified(MAX_TRIED - 1, true, None), Ok(()));
        assert_eq!(verified(4, true, Some("of another time")), Err(NotVerified::NoKey));
        assert_eq!(verified(4, true, Some("other")), Err(NotVerified::Signature));
    }

    #[test]
    fn fapi2_cr_06_honours_use_key_ops_and_alg() {
        for good in [
            r#""use":"sig""#,
            r#""key_ops":["verify"]"#,
            r#""key_ops":["verify","sign"]"#,
            r#""alg":"ES256""#,
            r#""use":"sig","key_ops":["verify"],"alg":"ES256""#,
        ] {
            assert!(set(&[&with(good)]).is_ok(), "{good}"); // control
        }
        for bad in [
            r#""use":"enc""#,
            r#""use":1"#,
            r#""key_ops":["sign"]"#,
            r#""key_ops":[]"#,
            r#""key_ops":"verify""#,
            r#""use":"enc","key_ops":["verify"]"#,
            r#""alg":"ES384""#,
            r#""alg":"ECDH-ES""#,
            r#""alg":["ES256"]"#,
        ] {
            assert!(matches!(reason(&with(bad)), KeyError::OtherPurpose { .. }), "{bad}");
        }
    }

    #[test]
    fn fapi2_cr_06_rsa_keys_for_another_algorithm_are_skipped() {
        let rsa = |alg: &str| {
            let n = URL_SAFE_NO_PAD.encode([0xff_u8; 256]);
            usable(&[&format!(r#"{{"kty":"RSA",{alg}"n":"{n}","e":"AQAB"}}"#)])
        };
        assert_eq!((rsa(""), rsa(r#""alg":"PS256","#)), (Some(1), Some(1))); // control
        for alg in ["RS256", "PS384", "PS512", "RSA-OAEP", "RSA-OAEP-256", "ES256", "ps256"] {
            assert_eq!(rsa(&format!("\"alg\":\"{alg}\",")), None, "{alg}");
        }
    }

    #[test]
    fn rs256_is_verified_by_the_rsa_keys_that_allow_it_and_only_where_that_is_asked_for() {
        let key = SigningKey::generate(Algorithm::Ps256, "a");
        let with = |alg: Option<&str>, usage: &str| {
            let mut jwk = key.jwk();
            jwk["use"] = json!(usage);
            jwk["alg"] = json!(alg);
            json!({ "keys": [jwk] }).to_string()
        };
        let token = key.sign_rs256(&json!({ "alg": "RS256" }), &json!({}));
        let verified = |keys: &KeySet, token: &str| {
            let jws = Jws::parse(token, 4096).unwrap();
            jws.verify_rs256_with_one_of(keys.candidates_for_rs256(None)).map(drop)
        };
        for (document, for_ps256) in [(with(None, "sig"), 1), (with(Some("RS256"), "sig"), 0)] {
            let keys = KeySet::parse_with_rs256(document.as_bytes()).unwrap();
            assert_eq!((keys.len(), keys.skipped().len()), (1, 0), "{document}");
            assert_eq!(keys.candidates(None, Algorithm::Ps256).count(), for_ps256, "{document}");
            assert_eq!(verified(&keys, &token), Ok(()), "{document}"); // control
            let other = SigningKey::generate(Algorithm::Ps256, "a");
            let forged = other.sign_rs256(&json!({ "alg": "RS256" }), &json!({}));
            assert_eq!(verified(&keys, &forged), Err(NotVerified::Signature));
            // A signature with PS256 is none with RS256.
            let mislabelled = key.sign(&json!({ "alg": "RS256" }), &json!({}));
            assert_eq!(verified(&keys, &mislabelled), Err(NotVerified::Signature));
        }
        for document in [with(Some("PS256"), "sig"), with(Some("RS512"), "sig"), with(Some("RS256"), "enc")] {
            let keys = KeySet::parse_with_rs256(document.as_bytes());
            assert_eq!(keys.map_or(0, |keys| keys.candidates_for_rs256(None).count()), 0, "{document}");
        }
        let elliptic = format!("{{\"keys\":[{EC},{OKP}]}}");
        let keys = KeySet::parse_with_rs256(elliptic.as_bytes()).unwrap();
        assert_eq!((keys.len(), keys.candidates_for_rs256(None).count()), (2, 0));
        // Nobody asked for RS256.
        let keys = KeySet::parse(with(None, "sig").as_bytes()).unwrap();
        assert_eq!(verified(&keys, &token), Err(NotVerified::NoKey));
        let only = KeySet::parse(with(Some("RS256"), "sig").as_bytes());
        assert!(matches!(only, Err(KeySetError::NoUsableKey { .. })));
    }

    #[test]
    fn a_weak_key_verifies_no_rs256_either() {
        let n = URL_SAFE_NO_PAD.encode(vec![0xff_u8; 255]);
        let document = format!("{{\"keys\":[{{\"kty\":\"RSA\",\"alg\":\"RS256\",\"n\":\"{n}\",\"e\":\"AQAB\"}}]}}");
        let keys = KeySet::parse_with_rs256(document.as_bytes()).unwrap();
        let reasons: Vec<_> = keys.skipped().iter().map(|skipped| skipped.reason.clone()).collect();
        assert_eq!((keys.is_empty(), reasons), (true, vec![KeyError::Weak]));
        let token = SigningKey::generate(Algorithm::Ps256, "a").sign_rs256(&json!({ "alg": "RS256" }), &json!({}));
        let jws = Jws::parse(&token, 4096).unwrap();
        let verified = jws.verify_rs256_with_one_of(keys.candidates_for_rs256(None)).map(drop);
        assert_eq!(verified, Err(NotVerified::WeakKey));
    }

    #[test]
    fn fapi2_cr_06_keys_on_other_curves_are_skipped() {
        let on = |key: &str, curve: &str| {
            let (p256, ed25519) = (r#""crv":"P-256""#, r#""crv":"Ed25519""#);
            usable(&[&key.replace(p256, curve).replace(ed25519, curve)])
        };
        assert_eq!((on(EC, r#""crv":"P-256""#), on(OKP, r#""crv":"Ed25519""#)), (Some(1), Some(1))); // control
        for curve in ["P-384", "P-521", "secp256k1", "p-256", "Ed25519", "X25519", "Ed448", "X448", ""] {
            let curve = format!("\"crv\":\"{curve}\"");
            assert_eq!(on(EC, &curve), None, "{curve}");
        }
        for curve in ["X25519", "Ed448", "X448", "ed25519", "P-256", ""] {
            let curve = format!("\"crv\":\"{curve}\"");
            assert_eq!(on(OKP, &curve), None, "{curve}");
        }
        assert_eq!(on(EC, r#""crv":null"#), None);
    }

    #[test]
    fn fapi2_cr_07_a_point_off_the_curve_is_not_a_key() {
        assert!(set(&[EC]).is_ok()); // control
        let (x, y) = ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
        let zero = URL_SAFE_NO_PAD.encode([0; 32]);
        for (from, to) in [(y, x), (x, &*zero), (y, &*zero), (y, "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5aA")] {
            assert_eq!(reason(&EC.replace(from, to)), KeyError::OffCurve, "{to}");
        }
    }

    #[test]
    fn refuses_private_and_symmetric_keys() {
        assert_eq!(reason(&with(r#""d":"AAAA""#)), KeyError::Private { member: "d" });
        assert_eq!(reason(r#"{"kty":"oct","k":"AAAA"}"#), KeyError::Private { member: "k" });
    }

    #[test]
    fn fapi2_rs_10_marks_rsa_keys_below_2048_bits() {
        let rsa = |bytes: usize| {
            let n = URL_SAFE_NO_PAD.encode(vec![0xff_u8; bytes]);
            set(&[&format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB"}}"#)])
        };
        let weak = |keys: &KeySet| keys.candidates(None, Algorithm::Ps256).next().unwrap().is_weak();
        assert!(!weak(&rsa(256).unwrap())); // control
        assert!(weak(&rsa(255).unwrap()));
        assert!(matches!(rsa(1025).unwrap_err(), KeySetError::NoUsableKey { .. }));
    }

    #[test]
    fn fapi2_cr_02_algorithm_names_compare_with_case() {
        assert_eq!(Algorithm::from_name("PS256"), Some(Algorithm::Ps256)); // control
        assert_eq!(Algorithm::from_name("Ed25519"), Some(Algorithm::EdDsa));
        for name in ["ps256", "none", "None", "noNE", "RS256", "PS384", "HS256", "ES256K", "Ed448", ""] {
            assert_eq!(Algorithm::from_name(name), None, "{name}");
        }
    }
}
