//! One JWS in compact serialization: parsed strictly, verified with one key, unreadable before that (RFC 7515 §5.2).
//!
//! RFC 8725 §3 in types: the algorithm comes from the allow-list and the key, never from the header alone; a header that
//! brings its own key, or extensions that must be understood, ends the matter; duplicate members and second spellings of
//! the same bytes do not parse.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::json::parse_object;
use super::keys::VerifyingKey;

/// A compact JWS, taken apart; nothing it says is known to be true.
pub(crate) struct Jws<'r> {
    signed: &'r str,
    signature: &'r str,
    header: Map<String, Value>,
    payload: Map<String, Value>,
}

/// Why a text is no compact JWS with one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Over the size limit.
    #[error("it has {bytes} bytes, at most {limit} are looked at")]
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
    #[error("its header has an extension that must be understood")]
    CriticalHeader,
}

impl<'r> Jws<'r> {
    /// Takes a compact JWS apart.
    pub(crate) fn parse(text: &'r str, limit: usize) -> Result<Self, JwsError> {
        if text.len() > limit {
            return Err(JwsError::TooLarge { bytes: text.len(), limit });
        }
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
        // RFC 7515 §4.1.11: "If any of the listed extension Header Parameters are not understood and supported by the
        // recipient, then the JWS is invalid." None is; `b64` without `crit` would change what was signed (RFC 7797 §6).
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(JwsError::CriticalHeader);
        }
        if header.contains_key("enc") {
            return Err(JwsError::Encrypted);
        }
        let payload = part(payload, "payload")?;
        let signed = text.len().saturating_sub(signature.len()).saturating_sub(1);
        let signed = text.get(..signed).ok_or(JwsError::Malformed { part: "serialization" })?;
        Ok(Self { signed, signature, header, payload })
    }

    pub(crate) const fn header(&self) -> &Map<String, Value> {
        &self.header
    }

    /// The name of the algorithm; empty when there is none, which no allow-list has.
    pub(crate) fn algorithm_name(&self) -> &str {
        self.header.get("alg").and_then(Value::as_str).unwrap_or_default()
    }

    /// The `typ`, or nothing.
    pub(crate) fn type_name(&self) -> &str {
        self.header.get("typ").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether it is of `kind`, compared as a media type: without case, with or without `application/` (RFC 7515 §4.1.9).
    pub(crate) fn is_of_type(&self, kind: &str) -> bool {
        let found = self.type_name();
        let short = match found.split_at_checked("application/".len()) {
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
            Some(_) | None => found,
        };
        short.eq_ignore_ascii_case(kind)
    }

    /// What it says of itself under this name, if that is text. A claim, not a fact: use it to find the one to ask.
    pub(crate) fn claimed(&self, name: &str) -> Option<&str> {
        self.payload.get(name).and_then(Value::as_str)
    }

    /// The payload, if `key` signed it.
    pub(crate) fn verify(self, key: &VerifyingKey) -> Option<Map<String, Value>> {
        key.verifies(self.signed.as_bytes(), self.signature).then_some(self.payload)
    }

    /// The payload, if one of the first of `keys` signed it.
    pub(crate) fn verify_with_one_of<'k>(
        self,
        keys: impl Iterator<Item = &'k VerifyingKey>,
    ) -> Result<Map<String, Value>, NotVerified> {
        let mut failure = NotVerified::NoKey;
        // RFC 7515 allows a set to hold many keys without `kid`; a stranger does not get to choose how many we try.
        for key in keys.take(4) {
            if key.is_weak() {
                failure = NotVerified::WeakKey;
            } else if key.verifies(self.signed.as_bytes(), self.signature) {
                return Ok(self.payload);
            } else {
                failure = NotVerified::Signature;
            }
        }
        Err(failure)
    }

    /// The `kid`: a name to look a key up with, nothing else (RFC 8725 §3.10). A wrong type is never the same as absence.
    pub(crate) fn key_id(&self) -> Result<Option<&str>, JwsError> {
        match self.header.get("kid") {
            None => Ok(None),
            Some(Value::String(kid)) => Ok(Some(kid)),
            Some(_) => Err(JwsError::Malformed { part: "header" }),
        }
    }
}

/// Why no key verified a JWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotVerified {
    /// There was none to try.
    NoKey,
    /// The only ones are below 2048 bits.
    WeakKey,
    /// None of them signed it.
    Signature,
}

/// One part: canonical base64url without padding, then JSON (RFC 7515 §2; RFC 4648 §3.5 for the last bits).
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
