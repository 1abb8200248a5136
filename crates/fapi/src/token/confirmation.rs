//! The claim `cnf`: what a token is bound to (RFC 7800 §3.1, RFC 8705 §3.1, RFC 9449 §6.1).
//!
//! An unbound confirmation cannot be represented (FAPI 2.0 §5.3.4 (5)).

use serde_json::Value;

use crate::code::Code;
use crate::jose::thumbprint::{CertificateThumbprint, KeyThumbprint, digest};

/// What a token is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// `x5t#S256`: the client's certificate (RFC 8705 §3.1).
    Certificate(CertificateThumbprint),
    /// `jkt`: the client's proof key (RFC 9449 §6.1).
    Key(KeyThumbprint),
    /// Both; both must be proven.
    Both(CertificateThumbprint, KeyThumbprint),
}

impl Confirmation {
    /// Reads the claim `cnf`; ignores unknown members next to a known one (RFC 7800 §3.1).
    ///
    /// # Errors
    /// [`ConfirmationError`].
    pub fn from_claim(claim: Option<&Value>) -> Result<Self, ConfirmationError> {
        let members = match claim {
            None => return Err(ConfirmationError::Unbound),
            Some(Value::Object(members)) if members.is_empty() => return Err(ConfirmationError::Empty),
            Some(Value::Object(members)) => members,
            Some(_) => return Err(ConfirmationError::Malformed { member: "cnf", expected: "an object" }),
        };
        let text = |member: &'static str| match members.get(member) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(ConfirmationError::Malformed { member, expected: "a string" }),
        };
        let certificate = text("x5t#S256")?.map(read_thumbprint).transpose()?;
        let key = text("jkt")?.map(|text| hash(text, "jkt")).transpose()?.map(KeyThumbprint::from_bytes);
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Self::Both(certificate, key)),
            (Some(certificate), None) => Ok(Self::Certificate(certificate)),
            (None, Some(key)) => Ok(Self::Key(key)),
            (None, None) if members.contains_key("x5t") => Err(ConfirmationError::Sha1),
            (None, None) => Err(ConfirmationError::Unsupported),
        }
    }

    /// The certificate it names, if any.
    pub const fn certificate(&self) -> Option<&CertificateThumbprint> {
        match self {
            Self::Certificate(certificate) | Self::Both(certificate, _) => Some(certificate),
            Self::Key(_) => None,
        }
    }

    /// The proof key it names, if any.
    pub const fn key(&self) -> Option<&KeyThumbprint> {
        match self {
            Self::Key(key) | Self::Both(_, key) => Some(key),
            Self::Certificate(_) => None,
        }
    }
}

/// Why a token's `cnf` binds it to nothing that can be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfirmationError {
    /// No `cnf`.
    #[error("token has no cnf")]
    Unbound,
    /// `{}`.
    #[error("cnf is empty")]
    Empty,
    /// `x5t` alone.
    #[error("cnf has x5t, a SHA-1 thumbprint, expected x5t#S256")]
    Sha1,
    /// 64 hexadecimal digits.
    #[error("x5t#S256 is hexadecimal, expected 43 characters of base64url")]
    Hex,
    /// `=` at the end.
    #[error("x5t#S256 is padded, expected 43 characters of base64url")]
    Padded,
    /// `+` or `/`.
    #[error("x5t#S256 is standard base64, expected 43 characters of base64url")]
    StandardBase64,
    /// The wrong JSON type, or no thumbprint of any kind.
    #[error("{member} is malformed, expected {expected}")]
    Malformed {
        /// Which member.
        member: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Only confirmation methods that are not supported.
    #[error("cnf asks for a proof other than x5t#S256 and jkt")]
    Unsupported,
}

impl ConfirmationError {
    /// The stable code.
    pub const fn code(self) -> Code {
        match self {
            Self::Unbound => Code::TokenUnbound,
            Self::Empty => Code::ConfirmationEmpty,
            Self::Sha1 => Code::ConfirmationSha1,
            Self::Hex => Code::ConfirmationHex,
            Self::Padded => Code::ConfirmationPadded,
            Self::StandardBase64 => Code::ConfirmationStandardBase64,
            Self::Malformed { .. } => Code::ConfirmationMalformed,
            Self::Unsupported => Code::ConfirmationUnsupported,
        }
    }
}

/// Decodes 32 bytes from their only valid spelling.
fn hash(text: &str, member: &'static str) -> Result<[u8; 32], ConfirmationError> {
    digest(text).ok_or(ConfirmationError::Malformed { member, expected: "43 characters of base64url" })
}

/// Reads `x5t#S256`, "the base64url-encoded SHA-256 hash … of the DER encoding" (RFC 8705 §3.1).
///
/// # Errors
/// [`ConfirmationError`], which names the wrong spelling.
pub fn read_thumbprint(text: &str) -> Result<CertificateThumbprint, ConfirmationError> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ConfirmationError::Hex);
    }
    if text.ends_with('=') {
        return Err(ConfirmationError::Padded);
    }
    if text.contains(['+', '/']) {
        return Err(ConfirmationError::StandardBase64);
    }
    hash(text, "x5t#S256").map(CertificateThumbprint::from_bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RFC_8705: &str = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2";

    fn code(claim: Value) -> Option<Code> {
        Confirmation::from_claim(Some(&claim)).err().map(|error| error.code())
    }

    #[test]
    fn mtls_06_reads_the_example_of_rfc_8705_and_ignores_unknown_members() {
        // The example's last character sets bits beyond the 32 bytes; the canonical spelling differs in that character.
        let canonical = RFC_8705.replace("dg2", "dg0");
        assert_eq!(code(json!({"x5t#S256": canonical})), None);
        assert_eq!(code(json!({"x5t#S256": canonical, "kc-jkt-type": "x", "x5t": "y"})), None);
    }

    #[test]
    fn mtls_07_both_bindings_are_kept() {
        let good = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";
        let both = Confirmation::from_claim(Some(&json!({"x5t#S256": good, "jkt": good}))).unwrap();
        assert!(both.certificate().is_some() && both.key().is_some());
        assert!(Confirmation::from_claim(Some(&json!({"jkt": good}))).unwrap().certificate().is_none());
    }

    #[test]
    fn mtls_03_names_each_wrong_spelling() {
        let good = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";
        assert_eq!(code(json!({"x5t#S256": good})), None); // control
        let cases = [
            (json!({}), Code::ConfirmationEmpty),
            (json!({"x5t": good}), Code::ConfirmationSha1),
            (
                json!({"x5t#S256": "0380ed2f626650c840b2f263e6d2b29fae12ab39ae5db32b25ad27efad72e6fd"}),
                Code::ConfirmationHex,
            ),
            (json!({"x5t#S256": format!("{good}=")}), Code::ConfirmationPadded),
            (json!({"x5t#S256": good.replace('v', "+")}), Code::ConfirmationStandardBase64),
            (json!({"x5t#S256": good.replace('v', "/")}), Code::ConfirmationStandardBase64),
            (json!({"x5t#S256": good[..42]}), Code::ConfirmationMalformed),
            (json!({"x5t#S256": ""}), Code::ConfirmationMalformed),
            (json!({"x5t#S256": [good]}), Code::ConfirmationMalformed),
            (json!({"x5t#S256": null}), Code::ConfirmationMalformed),
            (json!(good), Code::ConfirmationMalformed),
            (json!(null), Code::ConfirmationMalformed),
            (json!({"jwk": {}}), Code::ConfirmationUnsupported),
            (json!({"x5t#S256": good, "jkt": "x"}), Code::ConfirmationMalformed),
            (json!({"jkt": 7}), Code::ConfirmationMalformed),
        ];
        for (claim, expected) in cases {
            assert_eq!(code(claim.clone()), Some(expected), "{claim}");
        }
        assert_eq!(Confirmation::from_claim(None), Err(ConfirmationError::Unbound));
    }
}
