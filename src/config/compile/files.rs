//! The files that gateway.yaml names: certificates, private keys, revocation lists.
//!
//! No error message ever contains any of their content.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fapi::UnixTime;
use rustls::RootCertStore;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use x509_parser::public_key::PublicKey;
use zeroize::Zeroizing;

use super::Build;
use super::unreadable::{Form, unreadable};
use crate::certificate::Purpose;
use crate::config::NamedFiles;
use crate::config::error::KeyPath;
use crate::config::scalar::FilePath;
use crate::connection::tls::{self, RevocationList, UnusableList};
use crate::resource::Kind;
use crate::tls_client::TrustAnchors;

impl Build<'_> {
    /// The path that a path in gateway.yaml stands for.
    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    /// The content of a file, which is noted as a resource of this kind.
    pub(super) fn read(&mut self, at: &KeyPath, path: &FilePath, kind: Kind) -> Option<Vec<u8>> {
        self.resources.push((self.report.as_written(at), (kind, path.0.display().to_string().into())));
        let path = self.resolve(&path.0);
        match self.files.read(&path, MAX_FILE_BYTES) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let problem = format!("`{}` cannot be read: {}", path.display(), unreadable(&path, &error));
                self.problem(at, problem);
                None
            }
        }
    }

    /// The content of a file that nobody else should know. It is overwritten in memory when it is dropped.
    pub(super) fn read_secret(&mut self, at: &KeyPath, path: &FilePath) -> Option<Zeroizing<Vec<u8>>> {
        let bytes = self.read(at, path, Kind::PrivateKey).map(Zeroizing::new)?;
        self.judge_permissions(at, &self.resolve(&path.0))?;
        Some(bytes)
    }

    /// Refuses a key that every user of the machine can replace, and warns of one that every user can read. The group may read
    /// it: so may the gateway in Kubernetes, where a secret belongs to root and to the group of the pod.
    fn judge_permissions(&mut self, at: &KeyPath, path: &Path) -> Option<()> {
        let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.mode());
        if mode & 0o002 != 0 {
            let problem = format!(
                "`{}` is a key that every user of this machine can replace; take that away (`chmod o-w`), and make another key",
                path.display()
            );
            self.problem(at, problem);
            return None;
        }
        if mode & 0o004 != 0 {
            let warning = format!(
                "`{}` is a key that every user of this machine can read; take that away (`chmod o-r`, in Kubernetes `defaultMode: 0440`)",
                path.display()
            );
            self.warn(at, warning);
        }
        Some(())
    }

    /// Every certificate of a PEM file; at least one.
    fn certificates(&mut self, at: &KeyPath, path: &FilePath) -> Option<Vec<CertificateDer<'static>>> {
        let bytes = self.read(at, path, Kind::Certificate)?;
        let certificates: Result<Vec<_>, PemError> = CertificateDer::pem_slice_iter(&bytes).collect();
        let shown = path.0.display();
        // The parser's message may quote the file, which may be a key.
        let problem = match certificates {
            Ok(certificates) if !certificates.is_empty() => {
                if let Some(first) = certificates.iter().filter_map(not_after).min() {
                    self.certificates.insert(shown.to_string(), first);
                }
                return Some(certificates);
            }
            Ok(_) => match Form::of(&bytes) {
                Some(form) => {
                    format!("`{shown}` is {form}, and certificates are read in PEM form; {}", form.certificate())
                }
                None => format!("`{shown}` has no certificate in PEM form; convert it, or name another file"),
            },
            Err(_) => format!("`{shown}` is not well-formed PEM; copy it again, with its BEGIN and END lines"),
        };
        self.problem(at, problem);
        None
    }

    /// The chain at `certificate` and the key at `private_key` of a section, which belong together.
    ///
    /// Each is read whatever is wrong with the other, so that all problems are reported at once.
    pub(super) fn identity(
        &mut self,
        at: &KeyPath,
        certificate: Option<&FilePath>,
        private_key: Option<&FilePath>,
        purpose: Purpose<'_>,
    ) -> Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let (chain_at, key_at) = (at.key("certificate"), at.key("private_key"));
        let path = self.needed(&chain_at, certificate, "name the PEM file with the certificate chain");
        let chain = path.and_then(|path| self.certificate_chain(&chain_at, path));
        let key_path = self.needed(&key_at, private_key, "name the PEM file with the certificate's private key");
        let key = key_path.and_then(|path| self.private_key(&key_at, path));
        let (path, chain, key) = (path?, chain?, key?);
        if self.named_files == NamedFiles::Unread {
            return Some((chain, key));
        }
        if let Err(error) = CertifiedKey::from_der(chain.clone(), key.clone_key(), &tls::provider()) {
            self.problem(&key_at, misfit(&error, &chain, &key));
            return None;
        }
        self.judge(&chain_at, path, &chain, purpose);
        Some((chain, key))
    }

    /// The certificates of a chain, each of which rustls can parse.
    fn certificate_chain(&mut self, at: &KeyPath, path: &FilePath) -> Option<Vec<CertificateDer<'static>>> {
        if self.named_files == NamedFiles::Unread {
            return Some(Vec::new());
        }
        let chain = self.certificates(at, path)?;
        if chain.iter().any(|certificate| ParsedCertificate::try_from(certificate).is_err()) {
            let problem = format!("`{}` has a certificate that cannot be parsed; issue it again", path.0.display());
            self.problem(at, problem);
            return None;
        }
        Some(chain)
    }

    /// The private key of a PEM file, of a kind that TLS can use.
    pub(super) fn private_key(&mut self, at: &KeyPath, path: &FilePath) -> Option<PrivateKeyDer<'static>> {
        if self.named_files == NamedFiles::Unread {
            return Some(PrivatePkcs8KeyDer::from(Vec::new()).into());
        }
        let bytes = self.read_secret(at, path)?;
        let shown = path.0.display();
        let encrypted = [&b"ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"];
        let is_encrypted = encrypted.iter().any(|mark| bytes.windows(mark.len()).any(|window| window == *mark));
        let problem = match PrivateKeyDer::from_pem_slice(&bytes) {
            _ if is_encrypted => {
                format!("`{shown}` is encrypted; decrypt it, and protect it with the file's permissions")
            }
            Ok(key) => match tls::provider().key_provider.load_private_key(key.clone_key()) {
                Ok(_) => return Some(key),
                Err(_) => {
                    format!("the key in `{shown}` cannot be used; use RSA from 2048 bits, P-256, P-384 or Ed25519")
                }
            },
            Err(PemError::NoItemsFound) if let Some(form) = Form::of(&bytes) => {
                format!("`{shown}` is {form}, and keys are read in PEM form; {}", form.private_key())
            }
            Err(PemError::NoItemsFound) => {
                format!("`{shown}` has no private key in PEM form (PKCS#8, SEC1 or PKCS#1); name the file that has it")
            }
            Err(_) => format!("`{shown}` is not well-formed PEM; copy it again, with its BEGIN and END lines"),
        };
        self.problem(at, problem);
        None
    }

    /// The authorities of servers, which the key `trust_anchors` of this section has: the system's, if it is not there.
    pub(super) fn anchors_of_servers(&mut self, at: &KeyPath, paths: Option<&[FilePath]>) -> Option<TrustAnchors> {
        let Some(paths) = paths else { return Some(TrustAnchors::System) };
        self.trust_anchors(&at.key("trust_anchors"), paths, Anchors::Any).map(TrustAnchors::Given)
    }

    /// Every certificate of these files, each of which can be a trust anchor; at least one.
    pub(super) fn trust_anchors(
        &mut self,
        at: &KeyPath,
        paths: &[FilePath],
        kind: Anchors,
    ) -> Option<Vec<CertificateDer<'static>>> {
        if paths.is_empty() {
            self.report.empty(
                at,
                "the list is empty, so nothing could be trusted; name at least one PEM file, or remove the key",
            );
            return None;
        }
        if self.named_files == NamedFiles::Unread {
            return Some(Vec::new());
        }
        let mut files = Vec::new();
        for (index, path) in paths.iter().enumerate() {
            let at = at.index(index);
            let certificates = self.certificates(&at, path);
            self.judge(&at, path, certificates.as_deref().unwrap_or_default(), Purpose::Anchor);
            let mut usable = true;
            for (number, certificate) in (1..).zip(certificates.iter().flatten()) {
                let is_readable = match kind {
                    Anchors::Authorities => tls::trust_anchor(certificate).is_some(),
                    Anchors::Any => RootCertStore::empty().add(certificate.clone()).is_ok(),
                };
                let problem = match kind {
                    _ if !is_readable => "it cannot be parsed",
                    Anchors::Authorities if !is_authority(certificate) => "it is not a CA certificate",
                    Anchors::Authorities => {
                        self.warn_of_unsupported(&at, path, number, certificate);
                        continue;
                    }
                    Anchors::Any => continue,
                };
                let shown = path.0.display();
                let problem = format!(
                    "certificate {number} of `{shown}` cannot be a trust anchor ({problem}); remove or replace it"
                );
                self.problem(&at, problem);
                usable = false;
            }
            files.push(certificates.filter(|_| usable));
        }
        Some(files.into_iter().collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Warns of what a trust anchor says and the gateway does not apply: an operator who relies on it should know.
    fn warn_of_unsupported(&mut self, at: &KeyPath, path: &FilePath, number: usize, anchor: &CertificateDer<'_>) {
        let which = format!("certificate {number} of `{}`", path.0.display());
        if tls::trust_anchor(anchor).is_some_and(|anchor| tls::has_unsupported_constraints(&anchor)) {
            let consequence = "so client certificates with names of that form are refused";
            self.warn(
                at,
                format!(
                    "{which} has the extension nameConstraints with a form of names that is not supported, {consequence}"
                ),
            );
        }
        for extension in tls::unused_extensions(anchor) {
            self.warn(
                at,
                format!(
                    "{which} has the extension {extension}, which has no effect there: of a trust anchor the name, the key and nameConstraints count (RFC 5280 §6.1.1)"
                ),
            );
        }
    }

    /// Every list of these files; a list that names one of the anchors as its issuer is signed by that anchor.
    pub(super) fn revocation_lists(
        &mut self,
        at: &KeyPath,
        paths: &[FilePath],
        anchors: &[CertificateDer<'static>],
    ) -> Option<Vec<RevocationList>> {
        if self.named_files == NamedFiles::Unread {
            return Some(Vec::new());
        }
        let mut files = Vec::new();
        for (index, path) in paths.iter().enumerate() {
            let at = at.index(index);
            let bytes = self.read(&at, path, Kind::RevocationList);
            files.push(bytes.and_then(|bytes| self.revocation_list_file(&at, path, bytes, anchors)));
        }
        Some(files.into_iter().collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn revocation_list_file(
        &mut self,
        at: &KeyPath,
        path: &FilePath,
        bytes: Vec<u8>,
        anchors: &[CertificateDer<'static>],
    ) -> Option<Vec<RevocationList>> {
        let is_pem = bytes.windows(PEM_MARK.len()).any(|window| window == PEM_MARK);
        let lists: Vec<CertificateRevocationListDer<'static>> = if is_pem {
            CertificateRevocationListDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().unwrap_or_default()
        } else {
            vec![bytes.into()]
        };
        let lists: Result<Vec<_>, _> = lists.iter().map(|list| RevocationList::from_der(list, anchors)).collect();
        let shown = path.0.display();
        let problem = match lists {
            Ok(lists) if !lists.is_empty() => {
                if let Some(first) = lists.iter().map(RevocationList::next_update).min() {
                    self.revocation_lists.insert(shown.to_string(), first);
                }
                return Some(lists);
            }
            Ok(_) => UnusableList::Malformed,
            Err(problem) => problem,
        };
        let way_out = match problem {
            UnusableList::Malformed => "download it again",
            UnusableList::Unsupported(_) => "have its authority issue a complete list of its own, with nextUpdate",
            UnusableList::NotSigned => "download it again from that authority",
        };
        self.problem(at, format!("`{shown}` cannot be used: {problem}; {way_out}"));
        None
    }
}

const PEM_MARK: &[u8] = b"-----BEGIN ";

/// The largest file that is read, in bytes; revocation lists are the largest.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Which certificates may be trust anchors.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchors {
    /// Only authorities, for client certificates.
    Authorities,
    /// Authorities and servers' own certificates.
    Any,
}

/// The store of these trust anchors; `None` if one of them cannot be parsed.
pub(super) fn store(anchors: &[CertificateDer<'static>]) -> Option<RootCertStore> {
    anchors.iter().map(tls::trust_anchor).collect()
}

/// The end of a certificate's validity (RFC 5280 §4.1.2.5).
fn not_after(certificate: &CertificateDer<'static>) -> Option<UnixTime> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(certificate.validity().not_after.into())
}

/// Whether a certificate may sign others (RFC 5280 §4.2.1.9); one before version 3 cannot say, and is accepted.
fn is_authority(certificate: &CertificateDer<'_>) -> bool {
    x509_parser::parse_x509_certificate(certificate).is_ok_and(|(_, certificate)| {
        certificate.is_ca() || certificate.version() != x509_parser::x509::X509Version::V3
    })
}

/// Whether the key of a certificate is an RSA key.
pub(super) fn is_for_rsa(certificate: &CertificateDer<'_>) -> bool {
    x509_parser::parse_x509_certificate(certificate)
        .is_ok_and(|(_, certificate)| matches!(certificate.public_key().parsed(), Ok(PublicKey::RSA(_))))
}

/// Explains why rustls accepts a certificate and a key separately, but not together.
fn misfit(error: &rustls::Error, chain: &[CertificateDer<'static>], key: &PrivateKeyDer<'static>) -> String {
    if matches!(error, rustls::Error::InconsistentKeys(_)) {
        let fits = |certificate: &CertificateDer<'static>| {
            CertifiedKey::from_der(vec![certificate.clone()], key.clone_key(), &tls::provider()).is_ok()
        };
        if let Some(place) = chain.iter().position(fits) {
            return format!(
                "the key is that of certificate {} in the file; put that one first, then each after the one that it issued",
                place + 1
            );
        }
        return "the key does not match the certificate; name the key of the first certificate in the file".to_owned();
    }
    format!("the certificate and the key cannot be used ({error}); issue them again")
}
