//! The second opinion on chains that webpki does not support: the path validation of [`fapi::path_validation`], with the
//! signature algorithms and revocation lists of a listener.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use fapi::UnixTime;
use fapi::path_validation::{self, Anchor, Extension, Fault, Issued, Name, Rules, Signed, Verification};
use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, Der, InvalidSignature, SignatureVerificationAlgorithm,
    SubjectPublicKeyInfoDer, TrustAnchor,
};
use rustls::{CertificateError, DistinguishedName, OtherError};
use webpki::RawPublicKeyEntity;
use x509_parser::der_parser::asn1_rs::Any;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate, X509Extension};

use super::revocation_list::{RevocationList, status};
use super::{ExtendedKeyUsage, OnExpired};

/// What decides about signatures and revocation.
pub(super) struct Judge<'j> {
    pub(super) algorithms: &'j [&'j dyn SignatureVerificationAlgorithm],
    /// `None` if revocation is not checked.
    pub(super) lists: Option<&'j [RevocationList]>,
    pub(super) on_expired: OnExpired,
    pub(super) now: UnixTime,
}

impl Judge<'_> {
    /// Validates a path to one of these anchors. Returns its authorities, the issuer of the leaf first.
    pub(super) fn validate(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        anchors: &[Anchor],
        extended_key_usage: ExtendedKeyUsage,
    ) -> Result<Vec<CertificateDer<'static>>, Fault> {
        let others: Vec<&[u8]> = intermediates.iter().map(AsRef::as_ref).collect();
        let client_auth = match extended_key_usage {
            ExtendedKeyUsage::ClientAuth | ExtendedKeyUsage::ClientAuthOrAbsent => true,
            ExtendedKeyUsage::Any => false,
        };
        let rules = Rules { now: self.now, client_auth };
        let path = path_validation::validate(leaf, &others, anchors, rules, self)?;
        Ok(path.iter().filter_map(|place| intermediates.get(*place)).map(|der| der.clone().into_owned()).collect())
    }

    /// Checks a path that webpki found by the lists that webpki does not read: those of version 1, those whose issuer is spelled
    /// in another way than in the certificates, and all but the first of those that fit. For a certificate that names no
    /// distribution point, a list of any part of the certificates fits there.
    pub(super) fn check_unread_lists(
        &self,
        leaf: &CertificateDer<'_>,
        path: &[CertificateDer<'_>],
        anchor_key: &[u8],
    ) -> Result<(), Fault> {
        let Some(lists) = self.lists else { return Ok(()) };
        let authorities: Vec<&[u8]> = path.iter().map(AsRef::as_ref).collect();
        path_validation::check_status(leaf, &authorities, anchor_key, &Unread { judge: self, lists }, self.now)
    }
}

impl Verification for Judge<'_> {
    fn is_signed_by(&self, key: &[u8], signed: &Signed<'_>) -> bool {
        is_signed_by(self.algorithms, key, signed)
    }

    fn check_status(&self, issued: &Issued<'_>, now: UnixTime) -> Result<(), Fault> {
        match self.lists {
            None => Ok(()),
            Some(lists) => status(lists, issued, now, self.on_expired, self.algorithms),
        }
    }
}

/// Verifies certificates that come with a message, such as those of seals, with the algorithms of every TLS connection. If there
/// are revocation lists, one of them that is still good has to cover each.
pub struct MessageCertificates {
    algorithms: Vec<&'static dyn SignatureVerificationAlgorithm>,
    lists: Vec<RevocationList>,
}

impl MessageCertificates {
    /// With these lists, which may be none: then nothing is known to be revoked.
    pub fn new(lists: Vec<RevocationList>) -> Self {
        Self { algorithms: super::provider().signature_verification_algorithms.all.to_vec(), lists }
    }
}

impl Verification for MessageCertificates {
    fn is_signed_by(&self, key: &[u8], signed: &Signed<'_>) -> bool {
        is_signed_by(&self.algorithms, key, signed)
    }

    fn check_status(&self, issued: &Issued<'_>, now: UnixTime) -> Result<(), Fault> {
        if self.lists.is_empty() {
            return Ok(());
        }
        status(&self.lists, issued, now, OnExpired::Refuse, &self.algorithms)
    }
}

/// Decides where a list may apply that webpki has not read; about everything else webpki has decided.
struct Unread<'j> {
    judge: &'j Judge<'j>,
    lists: &'j [RevocationList],
}

impl Verification for Unread<'_> {
    fn is_signed_by(&self, key: &[u8], signed: &Signed<'_>) -> bool {
        self.judge.is_signed_by(key, signed)
    }

    fn check_status(&self, issued: &Issued<'_>, now: UnixTime) -> Result<(), Fault> {
        // Unless webpki reads all lists, it has read none.
        let all_read = self.lists.iter().all(RevocationList::is_read_by_webpki);
        let mut of_issuer = self.lists.iter().filter(|list| list.has_name(issued.issuer));
        match (of_issuer.next(), of_issuer.next()) {
            // The one list that there is says everything.
            (Some(only), None) if all_read && only.is_complete() && only.is_spelled_as_in(issued) => Ok(()),
            _ => self.judge.check_status(issued, now),
        }
    }
}

/// Whether a key, a SubjectPublicKeyInfo in DER, made this signature with one of these algorithms.
pub(super) fn is_signed_by(
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    key: &[u8],
    signed: &Signed<'_>,
) -> bool {
    let key = SubjectPublicKeyInfoDer::from(key);
    RawPublicKeyEntity::try_from(&key).is_ok_and(|key| {
        algorithms
            .iter()
            .filter(|algorithm| algorithm.signature_alg_id().as_ref() == signed.algorithm)
            .any(|algorithm| key.verify_signature(*algorithm, signed.message, signed.signature).is_ok())
    })
}

/// An algorithm that remembers, while a chain is judged, which signatures are good: both validators ask for the same, and
/// they are most of the work.
#[derive(Debug)]
pub(super) struct Remembering {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    good: Mutex<Vec<Good>>,
}

/// A good signature, as a whole: the key, what was signed, and the signature.
#[derive(Debug, PartialEq, Eq)]
struct Good([Box<[u8]>; 3]);

impl Remembering {
    pub(super) fn each(algorithms: &[&'static dyn SignatureVerificationAlgorithm]) -> Vec<Self> {
        algorithms.iter().map(|algorithm| Self { algorithm: *algorithm, good: Mutex::default() }).collect()
    }
}

impl SignatureVerificationAlgorithm for Remembering {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let parts = [public_key, message, signature];
        let known = |good: &Good| good.0.iter().zip(parts).all(|(good, part)| **good == *part);
        // Whoever held the lock has added one signature or none.
        if self.good.lock().unwrap_or_else(PoisonError::into_inner).iter().any(known) {
            return Ok(());
        }
        self.algorithm.verify_signature(public_key, message, signature)?;
        if message.len() <= MAX_REMEMBERED {
            self.good.lock().unwrap_or_else(PoisonError::into_inner).push(Good(parts.map(Into::into)));
        }
        Ok(())
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}

/// The largest certificate whose signature is remembered, in bytes; revocation lists are larger, and remember it themselves.
const MAX_REMEMBERED: usize = 8 * 1024;

/// Whether another validator may know better than webpki: it does not support something, cannot parse something, or
/// knows no issuer or list of this name, which may be spelled differently there.
///
/// webpki refuses every name below a constraint on directory names, and so does not tell the permitted ones from the
/// others; of several lists with the name of an issuer it looks only at the first, no matter who signed it; and it stops at
/// a depth of its own, below the longest chain that the gateway accepts.
pub(super) const fn is_undecided(error: &webpki::Error) -> bool {
    use webpki::Error as Fault;
    matches!(
        error,
        Fault::BadDer
            | Fault::BadDerTime
            | Fault::TrailingData(_)
            | Fault::MalformedExtensions
            | Fault::ExtensionValueInvalid
            | Fault::MalformedNameConstraint
            | Fault::UnsupportedCriticalExtension
            | Fault::UnsupportedNameType
            | Fault::NameConstraintViolation
            | Fault::UnknownIssuer
            | Fault::UnknownRevocationStatus
            | Fault::MaximumPathDepthExceeded
            | Fault::InvalidCrlSignatureForPublicKey
    )
}

/// Whether this may be the reason against one path, while webpki does not support something of another: of all paths that
/// it tried, it reports the reason that it ranks highest.
///
/// Of two authorities with one name, as after a key rollover, the signature of only one fits; and an authority that
/// certifies itself under its own name does not count for the length of a path, but does for webpki.
pub(super) fn may_hide_another(
    error: &webpki::Error,
    intermediates: &[CertificateDer<'_>],
    anchors: &[Anchor],
) -> bool {
    use webpki::Error as Fault;
    let of_one_path = matches!(
        error,
        Fault::InvalidSignatureForPublicKey
            | Fault::PathLenConstraintViolated
            | Fault::CertExpired { .. }
            | Fault::CertNotValidYet { .. }
    );
    let subject = |der| X509Certificate::from_der(der).ok().map(|(_, parsed)| Name::of(parsed.subject()));
    let mut names = HashSet::new();
    of_one_path
        && (!anchors.iter().all(|anchor| names.insert(anchor.subject().clone()))
            || !intermediates.iter().filter_map(|der| subject(der)).all(|name| names.insert(name)))
}

/// Converts the reason of the second validator to the one from which rustls chooses an alert; `None` if webpki's own is
/// as good.
pub(super) fn refusal(fault: Fault) -> Option<CertificateError> {
    Some(match fault {
        Fault::NoPath | Fault::TooMuchWork | Fault::Malformed | Fault::OldVersion | Fault::NotAnAuthority => {
            return None;
        }
        Fault::BadSignature => CertificateError::BadSignature,
        Fault::WrongPurpose => CertificateError::InvalidPurpose,
        Fault::NotValidYet => CertificateError::NotValidYet,
        Fault::Expired => CertificateError::Expired,
        Fault::UnknownStatus => CertificateError::UnknownRevocationStatus,
        Fault::ExpiredList => CertificateError::ExpiredRevocationList,
        Fault::Revoked => CertificateError::Revoked,
        Fault::PathTooLong | Fault::NameNotPermitted | Fault::NoValidPolicy | Fault::Unsupported(_) => {
            CertificateError::Other(OtherError(Arc::new(fault)))
        }
    })
}

/// Reads a trust anchor (RFC 5280 §6.1.1 (d)); `None` if the certificate cannot be read.
///
/// What webpki cannot read, such as a certificate with unique identifiers, can still have a name and a key.
pub fn trust_anchor(certificate: &CertificateDer<'_>) -> Option<TrustAnchor<'static>> {
    if let Ok(anchor) = webpki::anchor_from_trusted_cert(certificate) {
        return Some(anchor.to_owned());
    }
    let Ok(([], parsed)) = X509Certificate::from_der(certificate) else { return None };
    let tbs = &parsed.tbs_certificate;
    let constraints = tbs.get_extension_unique(&x509_parser::oid_registry::OID_X509_EXT_NAME_CONSTRAINTS).ok()?;
    Some(TrustAnchor {
        subject: content(tbs.subject.as_raw())?,
        subject_public_key_info: content(tbs.subject_pki.raw)?,
        name_constraints: match constraints {
            Some(constraints) => Some(content(constraints.value)?),
            None => None,
        },
    })
}

fn content(der: &[u8]) -> Option<Der<'static>> {
    match Any::from_der(der) {
        Ok(([], any)) => Some(Der::from_slice(any.data).as_ref().to_vec().into()),
        Ok(_) | Err(_) => None,
    }
}

/// Reads a trust anchor for [`fapi::path_validation`]; `None` if its name or its constraints cannot be read.
pub fn path_anchor(certificate: &CertificateDer<'_>) -> Option<Anchor> {
    second_anchor(&trust_anchor(certificate)?)
}

/// Prepares an anchor for the second validator; `None` if its name or its constraints cannot be read.
pub(super) fn second_anchor(anchor: &TrustAnchor<'_>) -> Option<Anchor> {
    let constraints = anchor.name_constraints.as_ref().map(|constraints| in_sequence(constraints));
    Anchor::new(&in_sequence(&anchor.subject), &key_of_anchor(anchor), constraints.as_deref())
}

/// Whether an anchor limits names in a form that neither validator supports.
pub fn has_unsupported_constraints(anchor: &TrustAnchor<'_>) -> bool {
    anchor.name_constraints.is_some() && second_anchor(anchor).is_none_or(|anchor| anchor.has_unsupported_constraints())
}

/// Returns the extensions of an anchor that would limit what is below it, and have no effect in an anchor: those about
/// policies, and critical ones that RFC 5280 does not define.
pub fn unused_extensions(anchor: &CertificateDer<'_>) -> Vec<Extension> {
    let Ok((_, anchor)) = X509Certificate::from_der(anchor) else { return Vec::new() };
    let limits = |extension: &&X509Extension<'_>| {
        let parsed = extension.parsed_extension();
        matches!(parsed, ParsedExtension::PolicyConstraints(_) | ParsedExtension::InhibitAnyPolicy(_))
            || extension.critical && parsed.unsupported()
    };
    anchor.extensions().iter().filter(limits).map(|extension| Extension::of(&extension.oid)).collect()
}

/// Returns the SubjectPublicKeyInfo of an anchor, DER.
pub(super) fn key_of_anchor(anchor: &TrustAnchor<'_>) -> Vec<u8> {
    in_sequence(&anchor.subject_public_key_info)
}

/// An anchor has its fields without the outermost tag and length.
pub(super) fn in_sequence(content: &[u8]) -> Vec<u8> {
    DistinguishedName::in_sequence(content).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustls::pki_types::alg_id;

    use super::*;

    /// Takes signatures that say so for good, and counts how often it is asked.
    #[derive(Debug)]
    struct Counting(AtomicUsize);

    impl SignatureVerificationAlgorithm for Counting {
        fn verify_signature(&self, _: &[u8], _: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
            self.0.fetch_add(1, Ordering::SeqCst);
            if signature.starts_with(b"good") { Ok(()) } else { Err(InvalidSignature) }
        }

        fn public_key_alg_id(&self) -> AlgorithmIdentifier {
            alg_id::ECDSA_P256
        }

        fn signature_alg_id(&self) -> AlgorithmIdentifier {
            alg_id::ECDSA_SHA256
        }
    }

    #[test]
    fn a_good_signature_is_verified_once_and_every_other_each_time() {
        static COUNTING: Counting = Counting(AtomicUsize::new(0));
        let algorithms = Remembering::each(&[&COUNTING]);
        let ask = |key: &[u8], message: &[u8], signature: &[u8]| {
            let before = COUNTING.0.load(Ordering::SeqCst);
            let good = algorithms[0].verify_signature(key, message, signature).is_ok();
            (good, COUNTING.0.load(Ordering::SeqCst) - before)
        };
        assert_eq!(ask(b"key", b"message", b"good"), (true, 1));
        assert_eq!(ask(b"key", b"message", b"good"), (true, 0));
        for (key, message) in [(&b"other"[..], &b"message"[..]), (b"key", b"other"), (b"keym", b"essage")] {
            assert_eq!(ask(key, message, b"good"), (true, 1));
        }
        assert_eq!(ask(b"key", b"message", b"good, but another"), (true, 1));
        for _ in 0..2 {
            assert_eq!(ask(b"key", b"message", b"bad"), (false, 1));
            assert_eq!(ask(b"key", &[0; MAX_REMEMBERED + 1], b"good"), (true, 1));
        }
        // Another chain starts anew.
        assert!(Remembering::each(&[&COUNTING])[0].verify_signature(b"key", b"message", b"good").is_ok());
        assert_eq!(COUNTING.0.load(Ordering::SeqCst), 10);
    }
}
