//! Certificate revocation lists (RFC 5280 §5), read once, together with the configuration.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use fapi::UnixTime;
use fapi::path_validation::{Fault, Issued, Name, Signed};
use fapi::sha256;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime as TlsTime};
use webpki::{CertRevocationList, OwnedCertRevocationList};
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

use super::path_validation::{in_sequence, is_signed_by, key_of_anchor};
use super::{OnExpired, provider};

/// A revocation list that can be used, and when its authority intends to replace it.
///
/// Does not prove that its authority signed it, unless that authority is a trust anchor: the certificate of an
/// intermediate authority arrives only in the handshake, so the signature can be verified only then.
#[derive(Clone, Debug)]
pub struct RevocationList {
    entries: Entries,
    issuer: Name,
    /// The issuer as it is spelled, DER.
    spelling: Arc<[u8]>,
    scope: Scope,
    signer: Signer,
    this_update: UnixTime,
    next_update: UnixTime,
    hash: [u8; 32],
}

#[derive(Clone, Debug)]
enum Entries {
    /// Version 2, read by webpki.
    Webpki(Arc<CertRevocationList<'static>>),
    /// Version 1, which webpki does not read: the serial numbers.
    VersionOne(Arc<HashSet<Box<[u8]>>>),
}

/// Who signed a list; keys are SubjectPublicKeyInfo in DER.
#[derive(Clone, Debug)]
enum Signer {
    /// A trust anchor.
    Anchor(Arc<[u8]>),
    /// An authority whose key arrives in a handshake; the first that was found to have signed it is remembered.
    Unknown { list: Arc<[u8]>, found: Arc<OnceLock<Box<[u8]>>> },
}

/// The certificates that a list covers (RFC 5280 §5.2.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Scope {
    covers_all_points: bool,
    only_users: bool,
    only_authorities: bool,
    points: Vec<Point>,
}

/// The name of a distribution point.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Point {
    Uri(Box<str>),
    Directory(Name),
}

/// Why a revocation list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnusableList {
    /// It is not a revocation list.
    #[error("it is not a certificate revocation list in PEM or DER")]
    Malformed,
    /// It is a delta or indirect list, has no `nextUpdate`, or has a critical extension that is not supported.
    #[error("this kind of list is not supported: {}", unsupported(.0))]
    Unsupported(webpki::Error),
    /// It has the name of a trust anchor, but not its signature.
    #[error("its issuer is a trust anchor, which did not sign it")]
    NotSigned,
}

impl RevocationList {
    /// Parses a list in DER; a list with the name of a trust anchor must be signed by it.
    ///
    /// # Errors
    /// [`UnusableList`].
    pub fn from_der(der: &[u8], anchors: &[CertificateDer<'_>]) -> Result<Self, UnusableList> {
        let (rest, parsed) = x509_parser::parse_x509_crl(der).map_err(|_| UnusableList::Malformed)?;
        if !rest.is_empty() {
            return Err(UnusableList::Malformed);
        }
        let entries = match parsed.version() {
            None => Entries::VersionOne(Arc::new(version_one(&parsed)?)),
            Some(_) => Entries::Webpki(Arc::new(
                OwnedCertRevocationList::from_der(der).map_err(UnusableList::Unsupported)?.into(),
            )),
        };
        // RFC 5280 §5.1.2.5: "Conforming CRL issuers MUST include the nextUpdate field in all CRLs."
        let next_update = parsed.next_update().ok_or(UnusableList::Unsupported(webpki::Error::BadDerTime))?;
        let issuer = Name::of(parsed.issuer());
        let signed = Signed::from_der(der).ok_or(UnusableList::Malformed)?;
        let mut of_its_name = anchors
            .iter()
            .filter_map(|anchor| X509Certificate::from_der(anchor).ok())
            .filter(|(_, anchor)| Name::of(anchor.subject()) == issuer)
            .peekable();
        let algorithms = provider().signature_verification_algorithms.all;
        let signer = if of_its_name.peek().is_none() {
            Signer::Unknown { list: der.into(), found: Arc::default() }
        } else {
            let (_, anchor) = of_its_name
                .find(|(_, anchor)| is_signed_by(algorithms, anchor.public_key().raw, &signed))
                .ok_or(UnusableList::NotSigned)?;
            Signer::Anchor(anchor.public_key().raw.into())
        };
        Ok(Self {
            scope: Scope::of(&parsed),
            spelling: parsed.issuer().as_raw().into(),
            this_update: parsed.last_update().into(),
            next_update: next_update.into(),
            entries,
            issuer,
            signer,
            hash: sha256(der),
        })
    }

    /// Returns when the next list is due (RFC 5280 §5.1.2.5).
    pub const fn next_update(&self) -> UnixTime {
        self.next_update
    }

    /// The SHA-256 of it, by which the lists of two configurations are compared.
    pub const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Whether this anchor signed it.
    pub fn is_of(&self, anchor: &TrustAnchor<'_>) -> bool {
        matches!(&self.signer, Signer::Anchor(key) if **key == *key_of_anchor(anchor)) && self.bears_name_of(anchor)
    }

    /// Whether it may apply to certificates below this anchor: it has another name, or this anchor signed it.
    pub(super) fn counts_below(&self, anchor: &TrustAnchor<'_>) -> bool {
        !self.bears_name_of(anchor) || self.is_of(anchor)
    }

    fn bears_name_of(&self, anchor: &TrustAnchor<'_>) -> bool {
        Name::from_der(&in_sequence(&anchor.subject)).is_some_and(|name| self.has_name(&name))
    }

    /// Whether its issuer has this name, however either is spelled (RFC 5280 §7.1).
    pub(super) fn has_name(&self, name: &Name) -> bool {
        self.issuer == *name
    }

    /// Whether its issuer is spelled as in this certificate: webpki compares octets.
    pub(super) fn is_spelled_as_in(&self, issued: &Issued<'_>) -> bool {
        X509Certificate::from_der(issued.certificate)
            .is_ok_and(|(_, certificate)| certificate.issuer().as_raw() == &*self.spelling)
    }

    /// Whether it covers all certificates of its issuer.
    pub(super) fn is_complete(&self) -> bool {
        self.scope == Scope { covers_all_points: true, ..Scope::default() }
    }

    /// Whether webpki applies it, at least where the issuer is spelled in the same way.
    pub(super) const fn is_read_by_webpki(&self) -> bool {
        matches!(self.entries, Entries::Webpki(_))
    }

    /// Returns the lists that webpki applies: of one authority and for the same part of its certificates the newest,
    /// since webpki uses only the first one that matches.
    pub(super) fn for_webpki(lists: &[Self]) -> Vec<Arc<CertRevocationList<'static>>> {
        let mut newest: Vec<(&Self, &Arc<CertRevocationList<'static>>)> = Vec::new();
        for list in lists {
            let Entries::Webpki(read) = &list.entries else { continue };
            let part = (&list.spelling, read.issuing_distribution_point());
            match newest.iter_mut().find(|(other, read)| (&other.spelling, read.issuing_distribution_point()) == part) {
                Some(other) if other.0.this_update < list.this_update => *other = (list, read),
                Some(_) => {}
                None => newest.push((list, read)),
            }
        }
        newest.into_iter().map(|(_, read)| read.clone()).collect()
    }

    fn is_signed_by(&self, key: &[u8], algorithms: &[&dyn SignatureVerificationAlgorithm]) -> bool {
        match &self.signer {
            Signer::Anchor(signer) => **signer == *key,
            Signer::Unknown { found, .. } if found.get().is_some_and(|found| **found == *key) => true,
            Signer::Unknown { list, found } => {
                let signed = Signed::from_der(list).is_some_and(|signed| is_signed_by(algorithms, key, &signed));
                if signed {
                    // Another thread may have been first.
                    let _ = found.set(key.into());
                }
                signed
            }
        }
    }

    fn names(&self, serial: &[u8]) -> bool {
        match &self.entries {
            Entries::Webpki(list) => !matches!(list.find_serial(serial), Ok(None)),
            Entries::VersionOne(serials) => serials.contains(serial),
        }
    }
}

/// Whether a certificate is revoked (RFC 5280 §6.3.3), by the newest list that its issuer signed for each part of its
/// certificates.
pub(super) fn status(
    lists: &[RevocationList],
    issued: &Issued<'_>,
    now: UnixTime,
    on_expired: OnExpired,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<(), Fault> {
    let covers = |list: &&RevocationList| list.has_name(issued.issuer) && list.scope.covers(issued);
    let mut candidates: Vec<&RevocationList> = lists.iter().filter(covers).collect();
    candidates.sort_by_key(|list| std::cmp::Reverse(list.this_update));
    let mut parts: Vec<&Scope> = Vec::new();
    let mut status = Err(Fault::UnknownStatus);
    for list in candidates {
        let is_signed = || issued.list_keys.iter().any(|key| list.is_signed_by(key, algorithms));
        if parts.contains(&&list.scope) || !is_signed() {
            continue;
        }
        parts.push(&list.scope);
        if list.names(issued.serial) {
            return Err(Fault::Revoked);
        }
        if on_expired == OnExpired::Accept || now < list.next_update {
            status = Ok(());
        } else if status.is_err() {
            status = Err(Fault::ExpiredList);
        }
    }
    status
}

impl Scope {
    fn of(list: &CertificateRevocationList<'_>) -> Self {
        let point = list.extensions().iter().find_map(|extension| {
            if let ParsedExtension::IssuingDistributionPoint(point) = extension.parsed_extension() {
                Some(point)
            } else {
                None
            }
        });
        let Some(point) = point else { return Self { covers_all_points: true, ..Self::default() } };
        Self {
            covers_all_points: point.distribution_point.is_none(),
            only_users: point.only_contains_user_certs,
            only_authorities: point.only_contains_ca_certs,
            points: point.distribution_point.as_ref().map(Point::all).unwrap_or_default(),
        }
    }

    /// RFC 5280 §6.3.3 (b) (2): by the kind of the certificate, and by a distribution point that both name, if the list
    /// names any.
    fn covers(&self, issued: &Issued<'_>) -> bool {
        if self.only_users && !issued.is_leaf || self.only_authorities && issued.is_leaf {
            return false;
        }
        if self.covers_all_points {
            return true;
        }
        let Ok((_, certificate)) = X509Certificate::from_der(issued.certificate) else { return false };
        let points = certificate.extensions().iter().find_map(|extension| {
            if let ParsedExtension::CRLDistributionPoints(points) = extension.parsed_extension() {
                Some(points)
            } else {
                None
            }
        });
        points
            .into_iter()
            .flat_map(|points| points.iter())
            .filter(|point| point.crl_issuer.is_none() && point.reasons.is_none())
            .filter_map(|point| point.distribution_point.as_ref())
            .any(|point| Point::all(point).iter().any(|point| self.points.contains(point)))
    }
}

impl Point {
    fn all(point: &DistributionPointName<'_>) -> Vec<Self> {
        let DistributionPointName::FullName(names) = point else { return Vec::new() };
        let one = |name: &GeneralName<'_>| {
            if let GeneralName::URI(uri) = name {
                Some(Self::Uri((*uri).into()))
            } else if let GeneralName::DirectoryName(name) = name {
                Some(Self::Directory(Name::of(name)))
            } else {
                None
            }
        };
        names.iter().filter_map(one).collect()
    }
}

/// Reads the entries of a list of version 1, which has no extensions (RFC 5280 §5.1.2.1).
fn version_one(list: &CertificateRevocationList<'_>) -> Result<HashSet<Box<[u8]>>, UnusableList> {
    let extended = |entry: &x509_parser::revocation_list::RevokedCertificate<'_>| !entry.extensions().is_empty();
    if !list.extensions().is_empty()
        || list.iter_revoked_certificates().any(extended)
        || list.signature_algorithm != list.tbs_cert_list.signature
    {
        return Err(UnusableList::Malformed);
    }
    Ok(list.iter_revoked_certificates().map(|entry| entry.raw_serial().into()).collect())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "webpki may distinguish more errors in the future")]
const fn unsupported(error: &webpki::Error) -> &'static str {
    use webpki::Error as Fault;
    match error {
        Fault::UnsupportedDeltaCrl => "it is a delta list",
        Fault::UnsupportedIndirectCrl => "it is an indirect list",
        Fault::UnsupportedRevocationReasonsPartitioning => "it covers only some reasons for revocation",
        Fault::UnsupportedCrlIssuingDistributionPoint => "its issuing distribution point is not supported",
        Fault::UnsupportedCriticalExtension => "it has a critical extension that is not supported",
        Fault::UnsupportedCrlVersion => "its version is neither 1 nor 2",
        Fault::BadDerTime => "its nextUpdate is missing or malformed",
        _ => "it cannot be processed",
    }
}

/// Converts a time to the type of rustls.
pub(super) fn tls_time(time: UnixTime) -> TlsTime {
    TlsTime::since_unix_epoch(std::time::Duration::from_secs(time.0))
}
