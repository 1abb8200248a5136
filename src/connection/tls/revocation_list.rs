//! Certificate revocation lists (RFC 5280 §5), read once, together with the configuration.

use std::sync::Arc;

use fapi::UnixTime;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime as TlsTime};
use webpki::{CertRevocationList, OwnedCertRevocationList, RawPublicKeyEntity};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::provider;

/// A revocation list that can be used, and when its authority intends to replace it.
///
/// Does not prove that its authority signed it, unless that authority is a trust anchor: the certificate of an
/// intermediate authority arrives only in the handshake, so the signature can be verified only then.
#[derive(Clone, Debug)]
pub struct RevocationList {
    pub(super) list: Arc<CertRevocationList<'static>>,
    /// The key of the trust anchor that signed it, as SubjectPublicKeyInfo.
    signer: Option<Arc<[u8]>>,
    this_update: UnixTime,
    next_update: UnixTime,
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
        let list = OwnedCertRevocationList::from_der(der).map_err(UnusableList::Unsupported)?;
        // RFC 5280 §5.1.2.5: "Conforming CRL issuers MUST include the nextUpdate field in all CRLs."
        let next_update = parsed.next_update().ok_or(UnusableList::Unsupported(webpki::Error::BadDerTime))?;
        let seconds = |time: x509_parser::time::ASN1Time| UnixTime(u64::try_from(time.timestamp()).unwrap_or(0));
        let mut of_its_name = anchors
            .iter()
            .filter_map(|anchor| X509Certificate::from_der(anchor).ok())
            .filter(|(_, anchor)| anchor.subject().as_raw() == parsed.issuer().as_raw())
            .peekable();
        let signed = |key: &[u8]| {
            let key = SubjectPublicKeyInfoDer::from(key);
            let (message, signature) = (parsed.tbs_cert_list.as_ref(), &*parsed.signature_value.data);
            RawPublicKeyEntity::try_from(&key).is_ok_and(|key| {
                let mut algorithms = provider().signature_verification_algorithms.all.iter();
                algorithms.any(|algorithm| key.verify_signature(*algorithm, message, signature).is_ok())
            })
        };
        let of_an_anchor = of_its_name.peek().is_some();
        let signer = of_its_name.map(|(_, anchor)| Arc::<[u8]>::from(anchor.public_key().raw)).find(|key| signed(key));
        if of_an_anchor && signer.is_none() {
            return Err(UnusableList::NotSigned);
        }
        Ok(Self {
            signer,
            this_update: seconds(parsed.last_update()),
            next_update: seconds(next_update),
            list: Arc::new(list.into()),
        })
    }

    /// Returns when the next list is due (RFC 5280 §5.1.2.5).
    pub const fn next_update(&self) -> UnixTime {
        self.next_update
    }

    /// Whether this anchor signed it.
    pub fn is_of(&self, anchor: &TrustAnchor<'_>) -> bool {
        // An anchor stores its key without the leading tag and length.
        self.signer.as_ref().is_some_and(|key| key.ends_with(&anchor.subject_public_key_info))
            && self.bears_name_of(anchor)
    }

    /// Whether it may apply to certificates below this anchor: it has another name, or this anchor signed it.
    pub(super) fn counts_below(&self, anchor: &TrustAnchor<'_>) -> bool {
        !self.bears_name_of(anchor) || self.is_of(anchor)
    }

    fn bears_name_of(&self, anchor: &TrustAnchor<'_>) -> bool {
        *self.list.issuer() == *anchor.subject
    }

    /// Keeps the newest of the lists of one authority for the same part of its certificates, since webpki uses only the
    /// first one that matches.
    pub(super) fn newest<'l>(lists: impl IntoIterator<Item = &'l Self>) -> Vec<Self> {
        let part =
            |list: &Self| (list.list.issuer().to_vec(), list.list.issuing_distribution_point().map(<[u8]>::to_vec));
        let mut newest: Vec<Self> = Vec::new();
        for list in lists {
            match newest.iter_mut().find(|other| part(other) == part(list)) {
                Some(other) if other.this_update < list.this_update => *other = list.clone(),
                Some(_) => {}
                None => newest.push(list.clone()),
            }
        }
        newest
    }
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
        Fault::UnsupportedCrlVersion => "it is not a list of version 2",
        Fault::BadDerTime => "its nextUpdate is missing or malformed",
        _ => "it cannot be processed",
    }
}

/// Converts a time to the type of rustls.
pub(super) fn tls_time(time: UnixTime) -> TlsTime {
    TlsTime::since_unix_epoch(std::time::Duration::from_secs(time.0))
}
