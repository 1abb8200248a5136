//! Why a file cannot be used as it is, in the words of an operator: it may not be read, or it has another form.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::config::secret::in_sequence;

/// Why a file cannot be read, and what to do.
#[expect(clippy::wildcard_enum_match_arm, reason = "what the system says of other kinds is all that is known")]
pub(in crate::config) fn unreadable(path: &Path, error: &io::Error) -> String {
    let known = match error.kind() {
        // What a shell would have replaced.
        ErrorKind::NotFound if path.iter().any(|part| part == "~") => {
            "there is no such file; `~` does not stand for a home directory here, write the path in full"
        }
        ErrorKind::NotFound if path.to_string_lossy().contains('$') => {
            "there is no such file; a variable of the environment is written `${NAME}`, and `$` alone is part of the path"
        }
        ErrorKind::NotFound => "there is no such file; correct the path, or create the file",
        ErrorKind::PermissionDenied => {
            "the user of this process may not read it, or may not enter a directory above it; change its owner or its permissions"
        }
        ErrorKind::IsADirectory => "it is a directory; name a file in it",
        _ => return format!("{error}; name a file that can be read"),
    };
    known.to_owned()
}

/// A form of certificates and keys that is not PEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The binary encoding that PEM wraps (X.690).
    Der,
    /// An archive of certificates and keys under a password (RFC 7292).
    Pkcs12,
    /// The archive of Java.
    JavaKeyStore,
}

impl Form {
    /// The form of a file without PEM, if it is one of these.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(&[0xfe, 0xed, 0xfe, 0xed]) {
            return Some(Self::JavaKeyStore);
        }
        // RFC 7292 §4: a PFX begins with its version, which is 3; a key in DER with 0 or 1, a certificate with a SEQUENCE.
        in_sequence(bytes).map(|content| if content.starts_with(&[2, 1, 3]) { Self::Pkcs12 } else { Self::Der })
    }

    /// How to get certificates in PEM form.
    pub(super) const fn certificate(self) -> &'static str {
        match self {
            Self::Der => "convert it with `openssl x509 -inform der -in FILE -out FILE.pem`",
            Self::Pkcs12 => "convert it with `openssl pkcs12 -in FILE -nokeys -out FILE.pem`",
            Self::JavaKeyStore => JAVA,
        }
    }

    /// How to get a key in PEM form.
    pub(super) const fn private_key(self) -> &'static str {
        match self {
            Self::Der => "convert it with `openssl pkey -inform der -in FILE -out FILE.pem`",
            Self::Pkcs12 => "convert it with `openssl pkcs12 -in FILE -nocerts -nodes -out FILE.pem`",
            Self::JavaKeyStore => JAVA,
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Der => "DER",
            Self::Pkcs12 => "PKCS#12",
            Self::JavaKeyStore => "a Java key store",
        })
    }
}

const JAVA: &str = "convert it with `keytool -importkeystore -deststoretype PKCS12` and then `openssl pkcs12`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_forms_apart() {
        let certificate = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
        assert_eq!(Form::of(certificate.cert.der()), Some(Form::Der));
        assert_eq!(Form::of(&certificate.signing_key.serialize_der()), Some(Form::Der));
        assert_eq!(Form::of(&[0x30, 0x82, 0x09, 0x10, 2, 1, 3, 0x30]), Some(Form::Pkcs12));
        assert_eq!(Form::of(&[0x30, 0x10, 2, 1, 3, 0x30]), Some(Form::Pkcs12));
        assert_eq!(Form::of(&[0x30, 0x80, 2, 1, 3, 0x30, 0x80]), Some(Form::Pkcs12), "of indefinite length");
        assert_eq!(Form::of(&[0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2]), Some(Form::JavaKeyStore));
        for other in [certificate.cert.pem().as_bytes(), b"", b"0", b"0\x82", b"a"] {
            assert_eq!(Form::of(other), None);
        }
    }
}
