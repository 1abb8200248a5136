//! The hash of what a token is bound to: a proof key (RFC 7638) or a certificate (RFC 8705 §3.1).
//!
//! Thumbprints are 32 bytes, never text and never empty, and compare in constant time.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::sha256;

/// The value of `jkt`: SHA-256 of the canonical public JWK (RFC 7638 §3, RFC 9449 §6.1).
#[derive(Clone, Copy)]
pub struct KeyThumbprint([u8; 32]);

impl KeyThumbprint {
    /// A thumbprint that a token names.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Computes the thumbprint of a public JWK from its required members, in lexical order and without white space.
    ///
    /// `None` if the type of the key is not supported, or if a member is not base64url.
    pub fn of_jwk(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let members: &[&str] = match text("kty")? {
            "EC" => &["crv", "kty", "x", "y"],
            "OKP" => &["crv", "kty", "x"],
            "RSA" => &["e", "kty", "n"],
            _ => return None,
        };
        let mut canonical = String::with_capacity(160);
        for name in members {
            let value = text(name)?;
            if !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
                return None;
            }
            for part in [if canonical.is_empty() { "{\"" } else { ",\"" }, *name, "\":\"", value, "\""] {
                canonical.push_str(part);
            }
        }
        canonical.push('}');
        Some(Self(sha256(canonical.as_bytes())))
    }
}

impl PartialEq for KeyThumbprint {
    fn eq(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for KeyThumbprint {}

impl fmt::Display for KeyThumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for KeyThumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A SHA-256 from its only valid spelling, 43 characters of base64url.
pub(crate) fn digest(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// The value of `x5t#S256`: SHA-256 over the DER of the end-entity certificate (RFC 8705 §3.1).
#[derive(Clone, Copy)]
pub struct CertificateThumbprint([u8; 32]);

impl CertificateThumbprint {
    /// The thumbprint of a certificate.
    pub fn of_der(der: &[u8]) -> Self {
        Self(sha256(der))
    }

    /// A thumbprint that a token names.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for CertificateThumbprint {
    fn eq(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for CertificateThumbprint {}

impl fmt::Display for CertificateThumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for CertificateThumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dpop_22_the_thumbprints_of_the_standards_examples() {
        for (jwk, thumbprint) in [
            // RFC 7638 §3.1.
            (
                json!({
                    "kty": "RSA",
                    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
                    "e": "AQAB",
                    "alg": "RS256",
                    "kid": "2011-04-29"
                }),
                "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
            ),
            // RFC 9449 §6.1.
            (
                json!({
                    "kty": "EC",
                    "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
                    "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
                    "crv": "P-256"
                }),
                "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
            ),
            // RFC 8037 appendix A.3.
            (
                json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }),
                "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            ),
        ] {
            let found = KeyThumbprint::of_jwk(jwk.as_object().unwrap()).map(|thumbprint| thumbprint.to_string());
            assert_eq!(found.as_deref(), Some(thumbprint));
        }
    }

    #[test]
    fn thumbprints_are_equal_if_all_their_bytes_are() {
        let mut last = [7; 32];
        last[31] = 8;
        assert_eq!(KeyThumbprint::from_bytes([7; 32]), KeyThumbprint::from_bytes([7; 32])); // control
        assert_ne!(KeyThumbprint::from_bytes([7; 32]), KeyThumbprint::from_bytes(last));
        assert_eq!(CertificateThumbprint::from_bytes([7; 32]), CertificateThumbprint::from_bytes([7; 32])); // control
        assert_ne!(CertificateThumbprint::from_bytes([7; 32]), CertificateThumbprint::from_bytes(last));
    }
}
