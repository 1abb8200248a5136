//! Certificate revocation lists (RFC 5280 §5), read once, when the configuration is.

use std::sync::Arc;

use fapi::UnixTime;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime as TlsTime};
use webpki::{CertRevocationList, OwnedCertRevocationList, RawPublicKeyEntity};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::provider;

/// A list that can be used, and when its authority means to replace it.
///
/// Does not say that its authority signed it, unless that is a trust anchor: an authority in between shows its certificate
/// in the handshake, and only then its signature can be verified.
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
    /// It is something else.
    #[error("it is not a certificate revocation list in PEM or DER")]
    Malformed,
    /// A delta or indirect list, one without `nextUpdate`, or one with an extension that has to be understood.
    #[error("it is a kind of list that is not supported: {0}")]
    Unsupported(webpki::Error),
    /// It has the name of a trust anchor and another's signature.
    #[error("the trust anchor whose name it bears did not sign it")]
    NotSigned,
}

impl RevocationList {
    /// Reads a list in DER; one that bears the name of a trust anchor has to be signed by it.
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

    /// When it counts no longer as the newest (RFC 5280 §5.1.2.5).
    pub const fn next_update(&self) -> UnixTime {
        self.next_update
    }

    /// Whether this anchor signed it.
    pub fn is_of(&self, anchor: &TrustAnchor<'_>) -> bool {
        // An anchor has its key without the tag and the length before it.
        self.signer.as_ref().is_some_and(|key| key.ends_with(&anchor.subject_public_key_info))
            && self.bears_name_of(anchor)
    }

    /// Whether it may tell of certificates below this anchor: its name is another's, or it is the anchor's own.
    pub(super) fn counts_below(&self, anchor: &TrustAnchor<'_>) -> bool {
        !self.bears_name_of(anchor) || self.is_of(anchor)
    }

    fn bears_name_of(&self, anchor: &TrustAnchor<'_>) -> bool {
        *self.list.issuer() == *anchor.subject
    }

    /// Of the lists of one authority for the same part of its certificates, the newest; the first of a set that is asked
    /// is the one that counts.
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

/// The time as TLS counts it.
pub(super) fn tls_time(time: UnixTime) -> TlsTime {
    TlsTime::since_unix_epoch(std::time::Duration::from_secs(time.0))
}
