//! An issuer's keys: a JWK Set as a list of verifying keys, each for one algorithm (RFC 7517 §5, RFC 8725 §3.1).
//!
//! Unusable entries are skipped. The others are selected by `kid` and algorithm together, so that a set may repeat a
//! `kid` for keys of different types (FAPI 2.0 §5.4.3).

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::Jwk;
use serde_json::{Map, Value};

use super::json::parse_object;

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
    key: DecodingKey,
    algorithm: Algorithm,
    strength: Strength,
}

/// Whether a key is large enough (FAPI 2.0 §5.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strength {
    Sufficient,
    Weak,
}

/// Why an entry of a JWK Set cannot verify signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Its `use`, `key_ops` or `alg` is for another purpose, or its type is not supported.
    #[error("the key is not for PS256, ES256 or EdDSA signatures")]
    NotForVerifying,
    /// It contains a private or symmetric member.
    #[error("the key holds private members")]
    Private,
    /// Its parameters are missing or malformed.
    #[error("the key's parameters are malformed")]
    Malformed,
}

impl VerifyingKey {
    /// Reads a public JWK of a JWK Set (RFC 7517 §4), which must be for signatures by its `use`, `key_ops` and `alg`.
    ///
    /// Does not check that an Ed25519 key is a point of the curve: verifying a signature with such a key fails.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_jwk(jwk: &Map<String, Value>) -> Result<Self, KeyError> {
        let key = Self::from_key_members(jwk)?;
        // RFC 7517 §4.4: "The "alg" (algorithm) parameter identifies the algorithm intended for use with the key."
        let alg_fits = match jwk.get("alg") {
            None => true,
            Some(Value::String(name)) => Algorithm::from_name(name) == Some(key.algorithm),
            Some(_) => false,
        };
        let use_fits = jwk.get("use").is_none_or(|usage| usage == "sig");
        let operations_fit = jwk.get("key_ops").is_none_or(|operations| {
            operations.as_array().is_some_and(|operations| operations.iter().any(|operation| operation == "verify"))
        });
        if alg_fits && use_fits && operations_fit { Ok(key) } else { Err(KeyError::NotForVerifying) }
    }

    /// Reads a public JWK by the members that make the key (RFC 7638 §3.2), whatever the others say of its use.
    pub(crate) fn from_key_members(jwk: &Map<String, Value>) -> Result<Self, KeyError> {
        if Self::has_private_members(jwk) {
            return Err(KeyError::Private);
        }
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let (algorithm, members): (_, &[&str]) = match (text("kty"), text("crv")) {
            (Some("RSA"), _) => (Algorithm::Ps256, &["kty", "n", "e"]),
            (Some("EC"), Some("P-256")) => (Algorithm::Es256, &["kty", "crv", "x", "y"]),
            (Some("OKP"), Some("Ed25519")) => (Algorithm::EdDsa, &["kty", "crv", "x"]),
            _ => return Err(KeyError::NotForVerifying),
        };
        let bytes =
            |name: &str| text(name).and_then(|value| URL_SAFE_NO_PAD.decode(value).ok()).ok_or(KeyError::Malformed);
        let strength = match algorithm {
            Algorithm::Ps256 => rsa_strength(&bytes("n")?, &bytes("e")?)?,
            Algorithm::Es256 => on_p256(&bytes("x")?, &bytes("y")?)?,
            Algorithm::EdDsa if bytes("x")?.len() == 32 => Strength::Sufficient,
            Algorithm::EdDsa => return Err(KeyError::Malformed),
        };
        // The library gets only the members of the key itself, so that another member it cannot read does no harm.
        let needed: Map<String, Value> =
            members.iter().filter_map(|name| jwk.get(*name).map(|value| ((*name).to_owned(), value.clone()))).collect();
        let jwk: Jwk = serde_json::from_value(Value::Object(needed)).map_err(|_| KeyError::Malformed)?;
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| KeyError::Malformed)?;
        Ok(Self { key, algorithm, strength })
    }

    /// Whether a JWK contains private or symmetric members (RFC 7518 §6.2.2, §6.3.2, §6.4).
    pub(crate) fn has_private_members(jwk: &Map<String, Value>) -> bool {
        ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"].iter().any(|name| jwk.contains_key(*name))
    }

    /// The one algorithm it verifies with.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether it is an RSA key below 2048 bits.
    pub(crate) const fn is_weak(&self) -> bool {
        matches!(self.strength, Strength::Weak)
    }

    /// Whether `signature`, in base64url, is a signature of this key over `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        let algorithm = match self.algorithm {
            Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        };
        jsonwebtoken::crypto::verify(signature, message, &self.key, algorithm).unwrap_or(false)
    }
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyingKey").field("algorithm", &self.algorithm).field("strength", &self.strength).finish()
    }
}

/// FAPI 2.0 §5.4.1: RSA keys "shall have a minimum length of 2048 bits".
fn rsa_strength(modulus: &[u8], exponent: &[u8]) -> Result<Strength, KeyError> {
    let significant: Vec<u8> = modulus.iter().copied().skip_while(|byte| *byte == 0).collect();
    let Some(first) = significant.first() else { return Err(KeyError::Malformed) };
    let bits = significant.len().saturating_mul(8).saturating_sub(first.leading_zeros() as usize);
    // Above 8192 bits, or with an exponent above 32 bits, a single verification is too expensive.
    if bits > 8192 || exponent.is_empty() || exponent.len() > 4 {
        return Err(KeyError::Malformed);
    }
    Ok(if bits < 2048 { Strength::Weak } else { Strength::Sufficient })
}

/// RFC 7518 §6.2.1.2: a coordinate's octet string "MUST be the full size of a coordinate for the curve". A point off
/// the curve verifies nothing; refusing it here keeps a broken key set from replacing a good one.
fn on_p256(x: &[u8], y: &[u8]) -> Result<Strength, KeyError> {
    if x.len() != 32 || y.len() != 32 {
        return Err(KeyError::Malformed);
    }
    let uncompressed = [&[4], x, y].concat();
    match ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, uncompressed) {
        Ok(_) => Ok(Strength::Sufficient),
        Err(_) => Err(KeyError::Malformed),
    }
}

/// The keys of one issuer, from one version of its JWK Set.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<(Option<Box<str>>, VerifyingKey)>,
    skipped: usize,
}

/// Why a document gives no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Not a JSON object with an array `keys`.
    #[error("the document is not a JWK Set")]
    Malformed,
    /// More than 100 keys.
    #[error("the JWK Set has more than 100 keys")]
    TooMany,
    /// No key in it verifies signatures that FAPI allows.
    #[error("the JWK Set has no key for PS256, ES256 or EdDSA signatures")]
    NoUsableKey,
}

impl KeySet {
    /// Reads a JWK Set; skips keys that have an unknown type, are for other uses, or are malformed (RFC 7517 §5).
    ///
    /// # Errors
    /// [`KeySetError`] if it is not a JWK Set, or if no usable key remains.
    pub fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        let document = parse_object(document).map_err(|_| KeySetError::Malformed)?;
        let entries = document.get("keys").and_then(Value::as_array).ok_or(KeySetError::Malformed)?;
        if entries.len() > 100 {
            return Err(KeySetError::TooMany);
        }
        let mut keys = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(jwk) = entry.as_object() else { continue };
            if let Ok(key) = VerifyingKey::from_jwk(jwk) {
                keys.push((jwk.get("kid").and_then(Value::as_str).map(Box::from), key));
            }
        }
        if keys.is_empty() {
            return Err(KeySetError::NoUsableKey);
        }
        let skipped = entries.len().saturating_sub(keys.len());
        Ok(Self { keys, skipped })
    }

    /// The keys that may verify a JWS with this `kid` and algorithm.
    ///
    /// Without a `kid`, these are all keys of the algorithm; with one, only those that have it.
    pub fn candidates<'s>(
        &'s self,
        key_id: Option<&'s str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'s VerifyingKey> + 's {
        self.keys
            .iter()
            .filter(move |(kid, key)| key.algorithm == algorithm && (key_id.is_none() || kid.as_deref() == key_id))
            .map(|(_, key)| key)
    }

    /// The number of usable keys.
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it has no keys; only the default value has none.
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The number of entries that were skipped.
    pub const fn skipped(&self) -> usize {
        self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EC: &str = r#"{"kty":"EC","crv":"P-256","kid":"a","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    const OKP: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    fn set(keys: &[&str]) -> Result<KeySet, KeySetError> {
        KeySet::parse(format!("{{\"keys\":[{}]}}", keys.join(",")).as_bytes())
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
        assert_eq!((keys.len(), keys.skipped()), (1, 4));
        assert_eq!(set(&[r#"{"kty":"XYZ"}"#]).unwrap_err(), KeySetError::NoUsableKey);
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
        // Two keys of one type and one `kid` are both candidates; a `kid` that is not a string matches nothing.
        assert_eq!((count(Some("a"), Algorithm::Es256), count(Some("b"), Algorithm::Es256)), (2, 1));
        assert_eq!((count(Some("1"), Algorithm::Es256), count(Some(""), Algorithm::Es256)), (0, 0));
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
            assert_eq!(set(&[&with(bad)]).unwrap_err(), KeySetError::NoUsableKey, "{bad}");
        }
    }

    #[test]
    fn fapi2_cr_06_rsa_keys_for_another_algorithm_are_skipped() {
        let rsa = |alg: &str| {
            let n = URL_SAFE_NO_PAD.encode([0xff_u8; 256]);
            set(&[&format!(r#"{{"kty":"RSA",{alg}"n":"{n}","e":"AQAB"}}"#)]).map(|keys| keys.len())
        };
        assert_eq!((rsa(""), rsa(r#""alg":"PS256","#)), (Ok(1), Ok(1))); // control
        for alg in ["RS256", "PS384", "PS512", "RSA-OAEP", "RSA-OAEP-256", "ES256", "ps256"] {
            assert_eq!(rsa(&format!("\"alg\":\"{alg}\",")), Err(KeySetError::NoUsableKey), "{alg}");
        }
    }

    #[test]
    fn fapi2_cr_07_a_curve_on_an_rsa_key_does_no_harm() {
        let n = URL_SAFE_NO_PAD.encode([0xff_u8; 256]);
        for curve in ["", r#""crv":"","#, r#""crv":null,"#, r#""crv":"P-256","#, r#""crv":7,"#] {
            let keys = set(&[&format!(r#"{{"kty":"RSA",{curve}"n":"{n}","e":"AQAB"}}"#)]).unwrap();
            assert_eq!(keys.candidates(None, Algorithm::Ps256).count(), 1, "{curve}");
            assert_eq!(keys.len(), 1, "{curve}");
        }
    }

    #[test]
    fn fapi2_cr_06_keys_on_other_curves_are_skipped() {
        let on = |key: &str, curve: &str| {
            let (p256, ed25519) = (r#""crv":"P-256""#, r#""crv":"Ed25519""#);
            set(&[&key.replace(p256, curve).replace(ed25519, curve)]).map(|keys| keys.len())
        };
        assert_eq!((on(EC, r#""crv":"P-256""#), on(OKP, r#""crv":"Ed25519""#)), (Ok(1), Ok(1))); // control
        for curve in ["P-384", "P-521", "secp256k1", "p-256", "Ed25519", "X25519", "Ed448", "X448", ""] {
            let curve = format!("\"crv\":\"{curve}\"");
            assert_eq!(on(EC, &curve), Err(KeySetError::NoUsableKey), "{curve}");
        }
        for curve in ["X25519", "Ed448", "X448", "ed25519", "P-256", ""] {
            let curve = format!("\"crv\":\"{curve}\"");
            assert_eq!(on(OKP, &curve), Err(KeySetError::NoUsableKey), "{curve}");
        }
        assert_eq!(on(EC, r#""crv":null"#), Err(KeySetError::NoUsableKey));
    }

    #[test]
    fn fapi2_cr_07_a_point_off_the_curve_is_no_key() {
        assert!(set(&[EC]).is_ok()); // control
        let (x, y) = ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
        let zero = URL_SAFE_NO_PAD.encode([0; 32]);
        for (from, to) in [(y, x), (x, &*zero), (y, &*zero), (y, "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5Q")] {
            assert_eq!(set(&[&EC.replace(from, to)]).unwrap_err(), KeySetError::NoUsableKey, "{to}");
        }
    }

    #[test]
    fn refuses_private_and_symmetric_keys() {
        assert_eq!(set(&[&with(r#""d":"AAAA""#)]).unwrap_err(), KeySetError::NoUsableKey);
        assert_eq!(set(&[r#"{"kty":"oct","k":"AAAA"}"#]).unwrap_err(), KeySetError::NoUsableKey);
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
        assert_eq!(rsa(1025).unwrap_err(), KeySetError::NoUsableKey);
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
