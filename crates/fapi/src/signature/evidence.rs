//! What shows later, to anybody, that a key signed a message: the bytes that were signed, the signature, and the public key.
//!
//! Whose key it was, only the record that it is kept in can say.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::error::SignatureError;
use crate::jose::json::parse_object;
use crate::jose::keys::VerifyingKey;

/// What shows that a key signed a message. `Debug` does not show it: fields with credentials are in what was signed.
#[derive(Clone, PartialEq, Eq)]
pub struct Evidence {
    base: Box<str>,
    signature: Box<[u8]>,
    jwk: Box<str>,
}

impl Evidence {
    /// Keeps the base of a signature, the signature, and the public key in JSON.
    pub(super) fn new(base: String, signature: &[u8], jwk: &str) -> Self {
        Self { base: base.into(), signature: signature.into(), jwk: jwk.into() }
    }

    /// It in JSON: `base` as text, `signature` in base64, and `key` as a JWK.
    pub fn to_json(&self) -> Value {
        let key = parse_object(self.jwk.as_bytes()).map(Value::Object).unwrap_or_default();
        json!({ "base": &*self.base, "signature": STANDARD.encode(&self.signature), "key": key })
    }

    /// Reads it from JSON.
    pub fn from_json(json: &Value) -> Option<Self> {
        let text = |name| json.get(name).and_then(Value::as_str);
        let signature = STANDARD.decode(text("signature")?).ok()?;
        let jwk = json.get("key")?.as_object()?;
        Some(Self { base: text("base")?.into(), signature: signature.into(), jwk: json!(jwk).to_string().into() })
    }

    /// What was signed: a line for each component, and the parameters of the signature (RFC 9421 §2.5).
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The public key.
    pub fn jwk(&self) -> Map<String, Value> {
        parse_object(self.jwk.as_bytes()).unwrap_or_default()
    }

    /// Verifies the signature with the key once more. Does not look at any time: it is about what was, and not what is.
    ///
    /// # Errors
    /// [`SignatureError::SignatureInvalid`].
    pub fn verify(&self) -> Result<(), SignatureError> {
        let jwk = self.jwk();
        let is_for_messages = jwk.get("alg").is_some_and(|alg| alg == "PS512");
        let mut members = jwk;
        if is_for_messages {
            members.remove("alg");
        }
        let key = VerifyingKey::from_jwk(&members).map_err(|_| SignatureError::SignatureInvalid)?;
        let parameters = self.base.lines().next_back().unwrap_or_default();
        let names = parameters.contains(";alg=\"");
        if !key.is_weak() && key.verifies_http_message(self.base.as_bytes(), &self.signature, names) {
            Ok(())
        } else {
            Err(SignatureError::SignatureInvalid)
        }
    }
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evidence").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::keys::Algorithm;
    use crate::jose::signing::PrivateKey;

    fn evidence(algorithm: Algorithm, parameters: &str) -> Evidence {
        let key = PrivateKey::generate(algorithm).unwrap();
        let base = format!("\"@method\": POST\n\"@signature-params\": (\"@method\"){parameters}");
        let signature = key.sign_http_message(base.as_bytes(), parameters.contains("alg")).unwrap();
        Evidence::new(base, &signature, &Value::Object(key.public_jwk().unwrap()).to_string())
    }

    #[test]
    fn what_was_signed_is_verified_by_itself_and_every_part_counts() {
        for algorithm in Algorithm::ALL {
            let good = evidence(*algorithm, ";created=1");
            assert_eq!(Evidence::from_json(&good.to_json()).unwrap().verify(), Ok(())); // control
            let changed = |change: &dyn Fn(&mut Value)| {
                let mut json = good.to_json();
                change(&mut json);
                Evidence::from_json(&json).unwrap().verify()
            };
            let invalid = Err(SignatureError::SignatureInvalid);
            let other = evidence(*algorithm, ";created=1").to_json();
            assert_eq!(
                changed(&|json| json["base"] = json["base"].as_str().unwrap().replace("POST", "PUT").into()),
                invalid
            );
            assert_eq!(changed(&|json| json["signature"] = other["signature"].clone()), invalid);
            assert_eq!(changed(&|json| json["key"] = other["key"].clone()), invalid);
            assert_eq!(changed(&|json| json["key"] = json!({})), invalid);
        }
        let named = evidence(Algorithm::Ps256, ";created=1;alg=\"rsa-pss-sha512\"");
        assert_eq!(named.verify(), Ok(()));
        let mut json = named.to_json();
        json["key"]["alg"] = "PS512".into();
        assert_eq!(Evidence::from_json(&json).unwrap().verify(), Ok(()));
    }

    #[test]
    fn what_is_not_evidence_is_none_and_nothing_of_it_is_shown() {
        let good = evidence(Algorithm::EdDsa, "").to_json();
        for member in ["base", "signature", "key"] {
            let mut json = good.clone();
            json[member] = 1.into();
            assert!(Evidence::from_json(&json).is_none(), "{member}");
        }
        assert_eq!(format!("{:?}", Evidence::from_json(&good).unwrap()), "Evidence { .. }");
    }
}
