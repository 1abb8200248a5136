//! The files that probe.yaml names: keys, certificates, authorities and tokens.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use ::probe::settings::Certificate;
use fapi::jose::keys::KeySet;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sandbox::keys::SigningKey;

use super::Reader;
use crate::config::error::KeyPath;
use crate::config::misplaced;

impl Reader {
    /// The authorities of a file, or those of the system.
    pub(super) fn roots(&mut self, at: &KeyPath, file: Option<&str>) -> Option<Arc<RootCertStore>> {
        let mut roots = RootCertStore::empty();
        match file {
            Some(file) => {
                let chain = self.chain(at, file)?;
                let (added, _) = roots.add_parsable_certificates(chain);
                if added == 0 {
                    self.report.problem(at, "no certificate in the file can be an authority");
                    return None;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        Some(Arc::new(roots))
    }

    /// A certificate with its key; `Some(None)` where neither is written.
    pub(super) fn certificate(
        &mut self,
        at: &KeyPath,
        certificate: Option<&str>,
        key: Option<&str>,
    ) -> Option<Option<Certificate>> {
        let (certificate, key) = match (certificate, key) {
            (None, None) => return Some(None),
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => {
                self.report
                    .problem(&at.key("key"), "the key is missing; name the file of the private key of `certificate`");
                return None;
            }
            (None, Some(_)) => {
                self.report
                    .problem(&at.key("certificate"), "the key is missing; name the file of the certificate of `key`");
                return None;
            }
        };
        let chain = self.chain(&at.key("certificate"), certificate);
        let key_at = at.key("key");
        let bytes = self.file(&key_at, key);
        let key = bytes.and_then(|bytes| {
            let key = PrivateKeyDer::from_pem_slice(&bytes).ok();
            if key.is_none() {
                self.report.problem(&key_at, "the file has no private key, PEM");
            }
            key
        });
        let (chain, key) = (chain?, key?);
        let fits = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
            .is_ok_and(|key| rustls::sign::CertifiedKey::new(chain.clone(), key).keys_match().is_ok());
        if !fits {
            self.report.problem(&key_at, "this is not the private key of `certificate`, or that cannot be read");
            return None;
        }
        Some(Some(Certificate { chain, key }))
    }

    /// A key that signs; `Some(None)` where none is written.
    pub(super) fn signing_key(
        &mut self,
        at: &KeyPath,
        file: Option<&str>,
        kid: Option<&str>,
    ) -> Option<Option<SigningKey>> {
        let Some(file) = file else { return Some(None) };
        let bytes = self.file(at, file)?;
        match SigningKey::from_pem(&bytes) {
            Ok(key) => Some(Some(match kid {
                Some(kid) => key.with_kid(kid),
                None => key,
            })),
            Err(error) => {
                self.report.problem(at, &format!("the private key cannot be used: {error}"));
                None
            }
        }
    }

    /// The token in a file; `Some(None)` where none is written.
    pub(super) fn token(&mut self, at: &KeyPath, file: Option<&str>) -> Option<Option<String>> {
        let Some(file) = file else { return Some(None) };
        let bytes = self.file(at, file)?;
        let text = String::from_utf8(bytes).ok().map(|text| text.trim().to_owned());
        let text = text.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()));
        if text.is_none() {
            self.report.problem(at, "the file has no access token");
        }
        text.map(Some)
    }

    /// The public keys of a JWK set.
    pub(super) fn key_set(&mut self, at: &KeyPath, file: &str) -> Option<KeySet> {
        let bytes = self.file(at, file)?;
        match KeySet::parse_with_ps512(&bytes) {
            Ok(keys) => Some(keys),
            Err(error) => {
                self.report.problem(at, &format!("the file is not a JWK set: {error}"));
                None
            }
        }
    }

    fn chain(&mut self, at: &KeyPath, file: &str) -> Option<Vec<CertificateDer<'static>>> {
        let bytes = self.file(at, file)?;
        let chain = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>().ok();
        let chain = chain.filter(|chain| !chain.is_empty());
        if chain.is_none() {
            self.report.problem(at, "the file has no certificate, PEM");
        }
        chain
    }

    /// The bytes of a file beside probe.yaml. What stands in place of a path, and may be a key, is not printed.
    fn file(&mut self, at: &KeyPath, file: &str) -> Option<Vec<u8>> {
        if let Some(problem) = misplaced(file) {
            self.report.problem(at, problem);
            return None;
        }
        let path = self.folder.join(Path::new(file));
        // A pipe would be waited for.
        if std::fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
            self.report.problem(at, &format!("{} is not a file", path.display()));
            return None;
        }
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
        match read {
            Ok(_) => Some(bytes),
            Err(error) => {
                self.report.problem(at, &format!("{}: {error}", path.display()));
                None
            }
        }
    }
}

/// More than a chain or a token needs.
const MAX_FILE: u64 = 1024 * 1024;
