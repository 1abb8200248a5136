//! A JWS in compact serialization: parsed strictly, verified with one key, and unreadable before that (RFC 7515 §5.2), unless it
//! comes from its signer itself.
//!
//! RFC 8725 §3 in types: the algorithm comes from the allow-list and the key, never from the header alone. Critical
//! extensions, duplicate members and non-canonical base64url do not parse.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::json::parse_object;
use super::keys::{Algorithm, VerifyingKey};

/// The parts of a compact JWS; nothing it says is verified.
pub(crate) struct Jws<'r> {
    signed: &'r str,
    signature: &'r str,
    header: Map<String, Value>,
    payload: Map<String, Value>,
}

/// Why a text is not a compact JWS with one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Over the size limit.
    #[error("it has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Parts, base64url or JSON.
    #[error("its {part} is malformed")]
    Malformed {
        /// Which part.
        part: &'static str,
    },
    /// A JWE.
    #[error("it is encrypted")]
    Encrypted,
    /// `crit` or `b64`.
    #[error("its header has a critical extension, which is not supported")]
    CriticalHeader,
}

impl<'r> Jws<'r> {
    /// Parses a compact JWS of at most `limit` bytes, whose header is understood.
    pub(crate) fn parse(text: &'r str, limit: usize) -> Result<Self, JwsError> {
        if text.len() > limit {
            return Err(JwsError::TooLarge { bytes: text.len(), limit });
        }
        let jws = Self::split(text)?;
        jws.check_header()?;
        Ok(jws)
    }

    /// Reads the parts of a compact JWS, whatever the header says about them.
    pub(crate) fn split(text: &'r str) -> Result<Self, JwsError> {
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(JwsError::Malformed { part: "serialization" });
        };
        match parts.count() {
            0 => {}
            // RFC 7516 §3.1: a compact JWE has five parts.
            2 => return Err(JwsError::Encrypted),
            _ => return Err(JwsError::Malformed { part: "serialization" }),
        }
        let header = part(header, "header")?;
        if header.contains_key("enc") {
            return Err(JwsError::Encrypted);
        }
        let payload = part(payload, "payload")?;
        let signed = text.len().saturating_sub(signature.len()).saturating_sub(1);
        let signed = text.get(..signed).ok_or(JwsError::Malformed { part: "serialization" })?;
        Ok(Self { signed, signature, header, payload })
    }

    /// Refuses a header that changes how the rest is read.
    pub(crate) fn check_header(&self) -> Result<(), JwsError> {
        // RFC 7515 §4.1.11: "If any of the listed extension Header Parameters are not understood and supported by the
        // recipient, then the JWS is invalid." None is supported; `b64` without `crit` changes what is signed (RFC 7797
        // §6).
        if self.header.contains_key("crit") || self.header.contains_key("b64") {
            return Err(JwsError::CriticalHeader);
        }
        Ok(())
    }

    /// What is signed, and the signature in base64url.
    pub(crate) const fn parts(&self) -> (&'r str, &'r str) {
        (self.signed, self.signature)
    }

    pub(crate) const fn header(&self) -> &Map<String, Value> {
        &self.header
    }

    /// The algorithm, if it is one of `allowed` (RFC 8725 §3.1).
    pub(crate) fn algorithm(&self, allowed: &[Algorithm]) -> Option<Algorithm> {
        Algorithm::from_name(self.algorithm_name()).filter(|algorithm| allowed.contains(algorithm))
    }

    /// The name of the algorithm, for reports; empty if there is none.
    pub(crate) fn algorithm_name(&self) -> &str {
        self.header.get("alg").and_then(Value::as_str).unwrap_or_default()
    }

    /// The `typ`; empty if there is none.
    pub(crate) fn type_name(&self) -> &str {
        self.header.get("typ").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether `typ` is `kind` ([`is_media_type_name`]).
    pub(crate) fn is_of_type(&self, kind: &str) -> bool {
        is_media_type_name(self.type_name(), kind)
    }

    /// Whether there is no `typ`, or it is one of these kinds.
    pub(crate) fn may_be_of_type(&self, kinds: &[&str]) -> bool {
        !self.header.contains_key("typ") || kinds.iter().any(|kind| self.is_of_type(kind))
    }

    /// The unverified value of a claim, if it is text. Use it only to find the issuer whose keys verify the JWS.
    pub(crate) fn claimed(&self, name: &str) -> Option<&str> {
        self.payload.get(name).and_then(Value::as_str)
    }

    /// Whether the payload, which is not verified, has a claim that is not `null`.
    pub(crate) fn states(&self, name: &str) -> bool {
        self.payload.get(name).is_some_and(|value| !value.is_null())
    }

    /// The payload, not verified: only for what its signer hands out over a connection that says who it is.
    pub(crate) fn into_unverified_payload(self) -> Map<String, Value> {
        self.payload
    }

    /// Returns the payload if the signature verifies with `key`.
    pub(crate) fn verify(self, key: &VerifyingKey) -> Option<Map<String, Value>> {
        key.verifies(self.signed.as_bytes(), self.signature).then_some(self.payload)
    }

    /// Returns the payload if the signature verifies with one of the first [`MAX_TRIED`] of `keys`.
    pub(crate) fn verify_with_one_of<'k>(
        self,
        keys: impl Iterator<Item = &'k VerifyingKey>,
    ) -> Result<Map<String, Value>, NotVerified> {
        self.verify_by(VerifyingKey::verifies, keys)
    }

    /// Returns the payload if the RS256 signature verifies with one of the first [`MAX_TRIED`] of `keys`.
    pub(crate) fn verify_rs256_with_one_of<'k>(
        self,
        keys: impl Iterator<Item = &'k VerifyingKey>,
    ) -> Result<Map<String, Value>, NotVerified> {
        self.verify_by(VerifyingKey::verifies_rs256, keys)
    }

    fn verify_by<'k>(
        self,
        verifies: fn(&VerifyingKey, &[u8], &str) -> bool,
        keys: impl Iterator<Item = &'k VerifyingKey>,
    ) -> Result<Map<String, Value>, NotVerified> {
        let mut failure = NotVerified::NoKey;
        // A key set may have many keys without `kid` (RFC 7517 §4.5), and a forged token costs as many verifications.
        for key in keys.take(MAX_TRIED) {
            if key.is_weak() {
                failure = NotVerified::WeakKey;
            } else if verifies(key, self.signed.as_bytes(), self.signature) {
                return Ok(self.payload);
            } else {
                failure = NotVerified::Signature;
            }
        }
        Err(failure)
    }

    /// The `kid`, for looking up a key and nothing else (RFC 8725 §3.10). A value of the wrong type is never treated as
    /// absent.
    pub(crate) fn key_id(&self) -> Result<Option<&str>, JwsError> {
        match self.header.get("kid") {
            None => Ok(None),
            Some(Value::String(kid)) => Ok(Some(kid)),
            Some(_) => Err(JwsError::Malformed { part: "header" }),
        }
    }
}

/// Whether a `typ` is `kind`, compared as a media type: ignoring case, with or without `application/` (RFC 7515 §4.1.9).
pub(crate) fn is_media_type_name(typ: &str, kind: &str) -> bool {
    let short = match typ.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        Some(_) | None => typ,
    };
    short.eq_ignore_ascii_case(kind)
}

/// How many keys are tried for one JWS.
pub(crate) const MAX_TRIED: usize = 16;

/// Why no key verifies a JWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotVerified {
    /// There is no candidate key.
    NoKey,
    /// The last candidate is below 2048 bits.
    WeakKey,
    /// The signature does not verify with the last candidate.
    Signature,
}

/// Decodes one part: canonical base64url without padding, then JSON (RFC 7515 §2; RFC 4648 §3.5 for the last bits).
fn part(text: &str, name: &'static str) -> Result<Map<String, Value>, JwsError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| JwsError::Malformed { part: name })?;
    parse_object(&bytes).map_err(|_| JwsError::Malformed { part: name })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_parses_is_its_own_only_spelling(header in "\\{\"a\":\"[a-z]{0,9}\"\\}", payload in "\\{\"iss\":\"[a-z]{0,9}\"\\}") {
            let text = format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(&payload));
            let jws = Jws::parse(&text, text.len()).unwrap();
            prop_assert_eq!(format!("{}.{}", jws.signed, jws.signature), text.clone());
            prop_assert_eq!(URL_SAFE_NO_PAD.encode(serde_json::to_string(&jws.payload).unwrap()), URL_SAFE_NO_PAD.encode(&payload));
        }
    }
}
