//! What was signed of an exchange: opened with the private key, and verified again, without the client, the issuer or the gateway.

use std::fmt::Write as _;
use std::path::Path;

use fapi::jose::json::parse_object;
use fapi::jose::jwe::{DecryptionKey, DecryptionKeys, decrypt};
use fapi::signature::evidence::{Evidence, Part};

use crate::commands::verify::shown::{foreign, printable};
use crate::commands::{Failure, input};
use crate::telemetry::audit::evidence::{REQUEST, RESPONSE};

/// Opens what was encrypted to a key.
pub(super) struct Opener(DecryptionKeys);

impl Opener {
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let key = DecryptionKey::from_pem(&input(path)?, None).map_err(|error| Failure::io(path, &error))?;
        Ok(Self(DecryptionKeys::new(vec![key])))
    }

    /// Writes what was signed, and whether the signatures hold; returns whether all do.
    pub(super) fn explain(&self, sealed: &str, out: &mut String) -> bool {
        let opened = match decrypt(sealed, &self.0, MOST) {
            Ok(opened) => opened,
            Err(error) => {
                // Writing to a string does not fail.
                let _ = writeln!(out, "evidence: it cannot be opened: {error}");
                return false;
            }
        };
        let members = parse_object(opened.plaintext()).unwrap_or_default();
        let mut holds = !members.is_empty();
        for name in [REQUEST, RESPONSE] {
            let Some(member) = members.get(name) else { continue };
            let evidence = Evidence::from_json(member);
            let verified = evidence.as_ref().is_some_and(|evidence| evidence.verify().is_ok());
            holds &= verified;
            let says = if verified { "the signature holds" } else { "the signature does NOT hold" };
            let key = evidence.as_ref().and_then(Evidence::thumbprint).unwrap_or_else(|| "unknown".to_owned());
            let _ = writeln!(out, "evidence, {name}: {says}; the key has the thumbprint {key}");
            if let Some(evidence) = evidence {
                evidence.show(|part| {
                    let _ = match part {
                        Part::Line(line) => writeln!(out, "  {}", foreign(line)),
                        Part::Decoded { name, text } => writeln!(out, "  {name}: {}", printable(text)),
                        Part::Digest(digest) => {
                            let digest = data_encoding::HEXLOWER.encode(&digest);
                            writeln!(out, "  content: not kept; the SHA-256 of the signing input is {digest}")
                        }
                    };
                });
            }
        }
        holds
    }
}

/// The most that is opened, in bytes: several times the largest line.
const MOST: usize = 1024 * 1024;
