//! Which client certificates a handshake accepts, and how long the result is valid.
//!
//! webpki validates paths: signatures, validity, basic constraints and path length, name constraints, critical
//! extensions and revocation (RFC 5280 §6). This module decides what webpki leaves to its caller: extended key usage,
//! key usage, and what happens when a revocation list has expired. Where webpki does not support something,
//! [`path_validation`] decides; every other refusal of webpki stands.

use std::collections::HashSet;
use std::sync::Arc;

use fapi::UnixTime;
use fapi::path_validation::Anchor;
use fapi::peer::ClientCertificate;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime as TlsTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, PeerMisbehaved, SignatureScheme};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, ExtendedKeyUsageValidator, KeyPurposeIdIter,
    RawPublicKeyEntity, RevocationOptionsBuilder, VerifiedPath,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::failure;
use super::path_validation::{self, Judge, Remembering, key_of_anchor, second_anchor};
use super::revocation_list::RevocationList;
use super::{Demand, ExtendedKeyUsage, OnExpired, Trust};

/// The rule by which a handshake, and every later check of the same certificates, accepts them.
#[derive(Debug)]
pub(super) struct Verifier {
    demand: Demand,
    rule: Rule,
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Rule {
    Chain(Chain),
    /// Any certificate whose key signed the handshake (RFC 8705 §6.2); its validity is checked where a token is bound
    /// to it.
    Possession,
}

#[derive(Debug)]
struct Chain {
    ways: Vec<Way>,
    extended_key_usage: ExtendedKeyUsage,
    on_expired: OnExpired,
}

/// Trust anchors that can be tried together, and the revocation lists that apply to certificates below them.
#[derive(Debug)]
struct Way {
    anchors: Vec<TrustAnchor<'static>>,
    /// The same for the second validator, without those that it cannot read.
    second: Vec<Anchor>,
    /// `None` if revocation is not checked; without any list, every certificate lacks one.
    lists: Option<Vec<RevocationList>>,
    /// The lists as webpki uses them; empty if it does not decide about revocation.
    for_webpki: Vec<Arc<CertRevocationList<'static>>>,
}

impl Way {
    fn new(anchors: &[TrustAnchor<'static>], lists: Option<Vec<RevocationList>>) -> Self {
        let for_webpki = match &lists {
            Some(lists) if lists.iter().all(RevocationList::is_read_by_webpki) => RevocationList::for_webpki(lists),
            Some(_) | None => Vec::new(),
        };
        Self {
            anchors: anchors.to_vec(),
            second: anchors.iter().filter_map(second_anchor).collect(),
            for_webpki,
            lists,
        }
    }

    /// Returns one way for all anchors, unless two share a name, as after a key rollover: webpki uses the first list
    /// with the name of an issuer, no matter who signed it.
    fn all(anchors: &[TrustAnchor<'static>], lists: &[RevocationList]) -> Vec<Self> {
        let names: HashSet<&[u8]> = anchors.iter().map(|anchor| &*anchor.subject).collect();
        if lists.is_empty() {
            return vec![Self::new(anchors, None)];
        }
        if names.len() == anchors.len() {
            return vec![Self::new(anchors, Some(lists.to_vec()))];
        }
        let below = |anchor: &TrustAnchor<'static>| {
            lists.iter().filter(|list| list.counts_below(anchor)).cloned().collect::<Vec<_>>()
        };
        anchors.iter().map(|anchor| Self::new(std::slice::from_ref(anchor), Some(below(anchor)))).collect()
    }
}

impl Verifier {
    pub(super) fn new(demand: Demand, trust: &Trust, algorithms: WebPkiSupportedAlgorithms) -> Self {
        let (rule, hints) = match trust {
            // RFC 8446 §4.2.4: without names, the client may choose freely.
            Trust::Possession => (Rule::Possession, Vec::new()),
            Trust::Chain { anchors, extended_key_usage, revocation_lists, on_expired } => {
                let chain = Chain {
                    ways: Way::all(&anchors.roots, revocation_lists),
                    extended_key_usage: *extended_key_usage,
                    on_expired: *on_expired,
                };
                let names = anchors.subjects();
                let bytes: usize = names.iter().map(|name| name.as_ref().len()).sum();
                (Rule::Chain(chain), if bytes > MAX_HINTS { Vec::new() } else { names })
            }
        };
        Self { demand, rule, hints, algorithms }
    }

    /// Whether a client must present a certificate.
    pub(super) const fn demand(&self) -> Demand {
        self.demand
    }

    /// Whether an accepted certificate leads to a trust anchor.
    pub(super) const fn verifies_chains(&self) -> bool {
        matches!(self.rule, Rule::Chain(_))
    }

    /// Verifies a chain, leaf first.
    ///
    /// Returns the authorities between the leaf and the trust anchor, the issuer of the leaf first: of the certificates
    /// that a client presents, these vouch for it. Empty without a chain to an anchor.
    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: TlsTime,
    ) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
        if intermediates.len() >= MAX_CHAIN {
            return Err(CertificateError::UnknownIssuer);
        }
        // Code that runs after the handshake must never see a certificate that it cannot parse.
        if ClientCertificate::from_der(leaf).is_err() {
            return Err(CertificateError::BadEncoding);
        }
        match &self.rule {
            Rule::Possession => Ok(Vec::new()),
            Rule::Chain(chain) => chain.verify(leaf, intermediates, now, &self.algorithms),
        }
    }

    /// Returns the first second after `now` in which the same certificates may no longer be accepted, even though this
    /// rule has not changed.
    ///
    /// The expiry of the leaf matters only where a certificate is required: elsewhere, it is checked for each token
    /// that is bound to it.
    pub(super) fn holds_until(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> UnixTime {
        let Rule::Chain(rule) = &self.rule else { return UnixTime(u64::MAX) };
        let ways = match rule.on_expired {
            OnExpired::Refuse => rule.ways.as_slice(),
            OnExpired::Accept => &[],
        };
        let lists = ways.iter().flat_map(|way| &way.lists).flatten().map(RevocationList::next_update);
        let first = match self.demand {
            Demand::Required => 0,
            Demand::Optional => 1,
        };
        let ends = chain.iter().skip(first).filter_map(|certificate| {
            let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
            Some(UnixTime::from(certificate.validity().not_after).plus(1))
        });
        lists.chain(ends).filter(|end| now < *end).min().unwrap_or(UnixTime(u64::MAX))
    }

    fn verify_tls12_signature_with_raw_key(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = key_of(certificate)?;
        let key = RawPublicKeyEntity::try_from(&key).map_err(refusal)?;
        let offered = self.algorithms.mapping.iter().find(|(scheme, _)| *scheme == signature.scheme);
        let (_, candidates) = offered.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        // TLS 1.2 names the hash and the kind of the key, but not its curve.
        match candidates
            .iter()
            .any(|candidate| key.verify_signature(*candidate, message, signature.signature()).is_ok())
        {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(CertificateError::BadSignature.into()),
        }
    }
}

impl Chain {
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: TlsTime,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
        self.check_leaf(leaf)?;
        let remembering = Remembering::each(algorithms.all);
        let algorithms: Vec<&dyn SignatureVerificationAlgorithm> =
            remembering.iter().map(|algorithm| algorithm as &dyn SignatureVerificationAlgorithm).collect();
        let mut refused = CertificateError::UnknownIssuer;
        for way in &self.ways {
            match self.verify_by(way, leaf, intermediates, now, &algorithms) {
                Ok(path) => return Ok(path),
                // That another anchor did not issue it is not the reason; what the right one reports is.
                Err(CertificateError::UnknownIssuer) => {}
                Err(CertificateError::BadSignature) if refused != CertificateError::UnknownIssuer => {}
                Err(reason) => refused = reason,
            }
        }
        Err(refused)
    }

    fn verify_by(
        &self,
        way: &Way,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: TlsTime,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
        let judge = Judge {
            algorithms,
            lists: way.lists.as_deref(),
            on_expired: self.on_expired,
            now: UnixTime(now.as_secs()),
        };
        let error = match self.verify_by_webpki(way, leaf, intermediates, now, algorithms) {
            Ok((path, anchor_key)) => {
                return match judge.check_unread_lists(leaf, &path, &anchor_key) {
                    Ok(()) => Ok(path),
                    Err(fault) => Err(path_validation::refusal(fault).unwrap_or(CertificateError::BadEncoding)),
                };
            }
            Err(error) => error,
        };
        if !path_validation::is_undecided(&error)
            && !path_validation::may_hide_another(&error, intermediates, &way.second)
        {
            return Err(refusal(error));
        }
        match judge.validate(leaf, intermediates, &way.second, self.extended_key_usage) {
            Ok(path) => Ok(path),
            Err(fault) => Err(path_validation::refusal(fault).unwrap_or_else(|| refusal(error))),
        }
    }

    /// Returns the authorities of the path that webpki finds, and the key of its anchor.
    fn verify_by_webpki(
        &self,
        way: &Way,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: TlsTime,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Result<(Vec<CertificateDer<'static>>, Vec<u8>), webpki::Error> {
        let lists: Vec<_> = way.for_webpki.iter().map(|list| &**list).collect();
        // Applies to every certificate below the anchor; one that no list covers is refused.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            let expiration = match self.on_expired {
                OnExpired::Refuse => ExpirationPolicy::Enforce,
                OnExpired::Accept => ExpirationPolicy::Ignore,
            };
            options.with_expiration_policy(expiration).build()
        });
        let leaf = EndEntityCert::try_from(leaf)?;
        let path = leaf.verify_for_usage(
            algorithms,
            &way.anchors,
            intermediates,
            now,
            self.extended_key_usage,
            revocation,
            Some(&signs_certificates),
        )?;
        let authorities = path.intermediate_certificates().map(|authority| authority.der().into_owned()).collect();
        Ok((authorities, key_of_anchor(path.anchor())))
    }

    fn check_leaf(&self, leaf: &CertificateDer<'_>) -> Result<(), CertificateError> {
        let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| CertificateError::BadEncoding)?;
        // RFC 5280 §4.2.1.3: "The digitalSignature bit is asserted when the subject public key is used for verifying
        // digital signatures, other than signatures on certificates"; a handshake contains such a signature.
        let usage = leaf.key_usage().map_err(|_| CertificateError::BadEncoding)?;
        if usage.is_some_and(|usage| !usage.value.digital_signature()) {
            return Err(CertificateError::InvalidPurpose);
        }
        if self.extended_key_usage == ExtendedKeyUsage::ClientAuth {
            let purposes = leaf.extended_key_usage().map_err(|_| CertificateError::BadEncoding)?;
            if !purposes.is_some_and(|purposes| purposes.value.client_auth) {
                return Err(CertificateError::InvalidPurpose);
            }
        }
        Ok(())
    }
}

/// RFC 5280 §6.1.4 (n): "If a key usage extension is present, verify that the keyCertSign bit is set."
fn signs_certificates(path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
    for authority in path.intermediate_certificates() {
        let der = authority.der();
        let (_, authority) = X509Certificate::from_der(&der).map_err(|_| webpki::Error::BadDer)?;
        let usage = authority.key_usage().map_err(|_| webpki::Error::BadDer)?;
        if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
            return Err(webpki::Error::UnknownIssuer);
        }
    }
    Ok(())
}

impl ExtendedKeyUsageValidator for ExtendedKeyUsage {
    fn validate(&self, mut purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        match self {
            // An authority without the extension restricts nothing; the leaf has already been checked.
            Self::ClientAuth | Self::ClientAuthOrAbsent => webpki::KeyUsage::client_auth().validate(purposes),
            Self::Any => purposes.try_for_each(|purpose| purpose.map(|_| ())),
        }
    }
}

/// Whether webpki can read this certificate: it refuses some that RFC 5280 allows, even where only their key counts.
fn webpki_reads(certificate: &CertificateDer<'_>) -> bool {
    EndEntityCert::try_from(certificate).is_ok()
}

/// Returns the key of a certificate, whatever else it contains.
fn key_of<'c>(certificate: &'c CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'c>, CertificateError> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    Ok(SubjectPublicKeyInfoDer::from(certificate.tbs_certificate.subject_pki.raw))
}

/// Converts an error of webpki to the one from which rustls chooses an alert (RFC 8446 §6.2).
#[expect(clippy::wildcard_enum_match_arm, reason = "webpki may distinguish more errors in the future")]
fn refusal(error: webpki::Error) -> CertificateError {
    use webpki::Error as Fault;
    match error {
        Fault::BadDer | Fault::BadDerTime | Fault::TrailingData(_) => CertificateError::BadEncoding,
        Fault::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after },
        Fault::CertNotValidYet { time, not_before } => CertificateError::NotValidYetContext { time, not_before },
        Fault::InvalidCertValidity => CertificateError::Expired,
        Fault::UnknownIssuer => CertificateError::UnknownIssuer,
        Fault::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        Fault::CertRevoked => CertificateError::Revoked,
        Fault::UnknownRevocationStatus => CertificateError::UnknownRevocationStatus,
        Fault::CrlExpired { time, next_update } => CertificateError::ExpiredRevocationListContext { time, next_update },
        Fault::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.demand == Demand::Required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: TlsTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let judged = self.verify(end_entity, intermediates, now).map_err(rustls::Error::from);
        failure::note(end_entity, &judged);
        judged.map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms) {
            Err(_) if !webpki_reads(certificate) => {
                self.verify_tls12_signature_with_raw_key(message, certificate, signature)
            }
            result => result,
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms) {
            Err(_) if !webpki_reads(certificate) => {
                verify_tls13_signature_with_raw_key(message, &key_of(certificate)?, signature, &self.algorithms)
            }
            result => result,
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The longest chain that is verified, including the leaf.
const MAX_CHAIN: usize = 10;
/// The largest list of trusted authorities that a handshake sends, in bytes; some clients cannot handle more.
const MAX_HINTS: usize = 8 * 1024;
