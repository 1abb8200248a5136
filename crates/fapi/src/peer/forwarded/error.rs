//! Why a forwarded certificate cannot be read.

use crate::code::Code;
use crate::peer::UnreadableCertificate;

/// Why a forwarded certificate cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForwardedError {
    /// There is more than one, and nothing says which is the client's.
    #[error("there is more than one forwarded client certificate: {what}")]
    Repeated {
        /// What there is more than one of.
        what: &'static str,
    },
    /// The field is too large.
    #[error("the field of the forwarded client certificate has {bytes} bytes, at most {MAX_BYTES} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It does not follow the syntax of the dialect.
    #[error("the forwarded client certificate is malformed: {why}")]
    Malformed {
        /// The rule that it breaks.
        why: &'static str,
    },
}

impl From<UnreadableCertificate> for ForwardedError {
    fn from(_: UnreadableCertificate) -> Self {
        Self::Malformed { why: "not exactly one X.509 certificate in DER" }
    }
}

impl ForwardedError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Repeated { .. } => Code::ForwardedCertificateRepeated,
            Self::TooLarge { .. } | Self::Malformed { .. } => Code::ForwardedCertificateMalformed,
        }
    }
}

/// The largest accepted value in bytes; a chain of four RSA certificates has about 10 KiB.
pub(super) const MAX_BYTES: usize = 32 * 1024;
/// The longest accepted chain, as in a handshake.
pub(super) const MAX_CHAIN: usize = 10;
