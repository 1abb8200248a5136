//! Who sent the token: `cnf` against what the connection proved (RFC 8705 §3, RFC 7800 §3.1).
//!
//! The token's `cnf` decides what must be proven, never the request. There is no value for an unbound token, so no
//! configuration can let one through (FAPI 2.0 §5.3.4 (5)).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::UnixTime;
use super::peer::{CertificateThumbprint, NoCertificate, Peer};
use super::rejection::Code;
use super::token::{ActiveToken, Claims, TokenError};

/// What a token is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// `x5t#S256`: the client's certificate (RFC 8705 §3.1).
    Certificate(CertificateThumbprint),
}

/// Why a token's `cnf` binds it to nothing we can prove.
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
    /// A method that is not implemented.
    #[error("cnf asks for a proof other than x5t#S256")]
    Unsupported,
}

impl Confirmation {
    /// Reads the claim `cnf`. Unknown members beside a known one are ignored (RFC 7800 §3.1), except `jkt`, which asks
    /// for a proof of its own.
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
        // Both bindings in one token: both must hold, and a key's cannot be proven here.
        if members.contains_key("jkt") {
            return Err(ConfirmationError::Unsupported);
        }
        match members.get("x5t#S256") {
            Some(Value::String(text)) => thumbprint(text).map(Self::Certificate),
            Some(_) => Err(ConfirmationError::Malformed { member: "x5t#S256", expected: "a string" }),
            None if members.contains_key("x5t") => Err(ConfirmationError::Sha1),
            None => Err(ConfirmationError::Unsupported),
        }
    }
}

/// RFC 8705 §3.1: "the base64url-encoded SHA-256 hash … of the DER encoding"; one spelling, the others are named.
fn thumbprint(text: &str) -> Result<CertificateThumbprint, ConfirmationError> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ConfirmationError::Hex);
    }
    if text.ends_with('=') {
        return Err(ConfirmationError::Padded);
    }
    if text.contains(['+', '/']) {
        return Err(ConfirmationError::StandardBase64);
    }
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .map(CertificateThumbprint::from_bytes)
        .ok_or(ConfirmationError::Malformed { member: "x5t#S256", expected: "43 characters of base64url" })
}

/// Why the token was not shown to be sent by the one it was issued to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SenderError {
    /// The token is bound to nothing we can prove.
    #[error(transparent)]
    Confirmation(#[from] ConfirmationError),
    /// The token has ended since it was read.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// No certificate on this connection.
    #[error("token is bound to certificate {expected}, {reason}")]
    CertificateMissing {
        /// The token's thumbprint.
        expected: CertificateThumbprint,
        /// Why there is none.
        reason: NoCertificate,
    },
    /// Another certificate on this connection.
    #[error("token is bound to certificate {expected}, the connection has {found}")]
    CertificateMismatch {
        /// The token's thumbprint.
        expected: CertificateThumbprint,
        /// The connection's.
        found: CertificateThumbprint,
    },
    /// The right certificate, but out of its time.
    #[error("the certificate is not valid at {now}, its last second is {not_after}")]
    CertificateExpired {
        /// The time of the request.
        now: UnixTime,
        /// `notAfter`.
        not_after: UnixTime,
    },
}

impl SenderError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Confirmation(error) => match error {
                ConfirmationError::Unbound => Code::TokenUnbound,
                ConfirmationError::Empty => Code::ConfirmationEmpty,
                ConfirmationError::Sha1 => Code::ConfirmationSha1,
                ConfirmationError::Hex => Code::ConfirmationHex,
                ConfirmationError::Padded => Code::ConfirmationPadded,
                ConfirmationError::StandardBase64 => Code::ConfirmationStandardBase64,
                ConfirmationError::Malformed { .. } => Code::ConfirmationMalformed,
                ConfirmationError::Unsupported => Code::ConfirmationUnsupported,
            },
            Self::Token(error) => error.code(),
            Self::CertificateMissing { .. } => Code::CertificateMissing,
            Self::CertificateMismatch { .. } => Code::CertificateMismatch,
            Self::CertificateExpired { .. } => Code::CertificateExpired,
        }
    }
}

/// An active token together with the proof that this connection's client is the one it was issued to.
#[derive(Clone, Debug)]
pub struct BoundToken {
    token: Arc<ActiveToken>,
    confirmation: Confirmation,
}

impl BoundToken {
    /// Proves the binding, for this request and at this time (RFC 8705 §3).
    ///
    /// Does not check: scopes and policy ([`Guard::authorize`](super::policy::Guard::authorize)); that a chain leads to a
    /// trust anchor (the listener's `trust`).
    ///
    /// # Errors
    /// [`SenderError`].
    pub fn prove(token: Arc<ActiveToken>, peer: &Peer, now: UnixTime) -> Result<Self, SenderError> {
        token.claims_at(now)?;
        let confirmation = *token.confirmation()?;
        match confirmation {
            // RFC 8705 §3: "the protected resource MUST obtain … the client certificate used for mutual TLS and MUST
            // verify that the certificate matches the certificate associated with the access token."
            Confirmation::Certificate(expected) => match peer {
                Peer::Anonymous(reason) => Err(SenderError::CertificateMissing { expected, reason: *reason }),
                Peer::Certificate(certificate) if *certificate.thumbprint() != expected => {
                    Err(SenderError::CertificateMismatch { expected, found: *certificate.thumbprint() })
                }
                Peer::Certificate(certificate) if !certificate.valid_at(now) => {
                    Err(SenderError::CertificateExpired { now, not_after: certificate.not_after() })
                }
                Peer::Certificate(_) => Ok(Self { token, confirmation }),
            },
        }
    }

    /// The token.
    pub const fn token(&self) -> &Arc<ActiveToken> {
        &self.token
    }

    /// The claims; the clock was asked when the binding was proven.
    pub fn claims(&self) -> &Claims {
        self.token.claims_for_audit()
    }

    /// What it is bound to.
    pub const fn confirmation(&self) -> &Confirmation {
        &self.confirmation
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const RFC_8705: &str = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2";

    fn code(claim: Value) -> Option<Code> {
        Confirmation::from_claim(Some(&claim)).err().map(|error| SenderError::from(error).code())
    }

    #[test]
    fn mtls_06_reads_the_example_of_rfc_8705_and_ignores_unknown_members() {
        // The example's last character has bits that no 32 bytes have; the canonical spelling differs in that one.
        let canonical = RFC_8705.replace("dg2", "dg0");
        assert_eq!(code(json!({"x5t#S256": canonical})), None);
        assert_eq!(code(json!({"x5t#S256": canonical, "kc-jkt-type": "x", "x5t": "y"})), None);
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
            (json!({"x5t#S256": good, "jkt": good}), Code::ConfirmationUnsupported),
        ];
        for (claim, expected) in cases {
            assert_eq!(code(claim.clone()), Some(expected), "{claim}");
        }
        assert_eq!(Confirmation::from_claim(None), Err(ConfirmationError::Unbound));
    }
}
