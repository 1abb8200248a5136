//! `TPP-Signature-Certificate`: a qualified certificate for electronic seals (ETSI EN 319 412-5), its key, and whose it is.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey,
    VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::cavage::SealAlgorithm;
use super::error::SignedBodyError;
use crate::participant::{QualifiedKind, QualifiedStatements, StatementsFault, Subject, SubjectAttribute};
use crate::path_validation::Name;
use crate::peer::ClientCertificate;
use crate::text::{Names, percent_decoded, shown_text, sole_value};

/// The name of the field.
pub(super) const TPP_SIGNATURE_CERTIFICATE: &str = "tpp-signature-certificate";

/// The most bytes of the field that are read: a certificate of 12 KiB.
pub(super) const MAX_FIELD_BYTES: usize = 16 * 1024;

/// The DER of the certificate in the one line of the field.
pub(super) fn der(headers: &HeaderMap) -> Result<Vec<u8>, SignedBodyError> {
    if !headers.contains_key(TPP_SIGNATURE_CERTIFICATE) {
        return Err(SignedBodyError::Missing { what: TPP_SIGNATURE_CERTIFICATE });
    }
    let value = sole_value(headers, TPP_SIGNATURE_CERTIFICATE).ok_or(malformed("it has several lines"))?;
    if value.len() > MAX_FIELD_BYTES {
        return Err(SignedBodyError::TooLarge { what: TPP_SIGNATURE_CERTIFICATE, limit: MAX_FIELD_BYTES });
    }
    STANDARD.decode(value.as_bytes()).map_err(|_| malformed("it is not base64"))
}

const fn malformed(why: &'static str) -> SignedBodyError {
    SignedBodyError::Malformed { what: TPP_SIGNATURE_CERTIFICATE, why }
}

/// A certificate that claims to be one for seals; whether it is trusted is not checked.
pub(crate) struct SealCertificate<'c>(X509Certificate<'c>);

impl<'c> SealCertificate<'c> {
    pub(crate) fn read(der: &'c [u8]) -> Result<Self, SignedBodyError> {
        match X509Certificate::from_der(der) {
            Ok(([], certificate)) => Ok(Self(certificate)),
            Ok(_) | Err(_) => Err(malformed("it is not exactly one certificate in DER")),
        }
    }

    /// Whether a `keyId` names this certificate: `SN=`, its serial number in hexadecimal, `,CA=`, and the name of its issuer
    /// (RFC 4514).
    ///
    /// `key_id` is as written between its quotes. The examples of the Berlin Group write spaces as `%20`, and a quoted text may
    /// have further backslashes: a name counts if it is that of the issuer in one of these readings. What decides about trust
    /// is the issuer in the certificate.
    pub(super) fn check_named_by(&self, key_id: &str) -> Result<(), SignedBodyError> {
        let not_named = |why| SignedBodyError::CertificateNotNamed { why };
        let parts = key_id.strip_prefix("SN=").and_then(|rest| rest.split_once(",CA="));
        let (serial, issuer) = parts.ok_or(not_named("it is not SN=, a serial number, ,CA= and a name"))?;
        if serial.is_empty() || !serial.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(not_named("its serial number is not hexadecimal"));
        }
        let own: String = self.0.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
        if own.trim_start_matches('0') != serial.to_ascii_lowercase().trim_start_matches('0') {
            return Err(not_named("it has another serial number"));
        }
        let own = Name::of(self.0.issuer());
        let is_own = |text: &str| Name::from_text(text).is_ok_and(|name| name == own);
        let readings = [issuer.to_owned(), unescaped(issuer)];
        let is_named =
            readings.iter().any(|text| is_own(text) || percent_decoded(text).is_some_and(|text| is_own(&text)));
        if is_named { Ok(()) } else { Err(not_named("it has another issuer")) }
    }

    /// BG-05: a qualified certificate for electronic seals, whose key may sign. Which roles its holder has is asked of the certificate
    /// with which it connects.
    pub(super) fn check_for_seals(&self) -> Result<(), SignedBodyError> {
        let lacks = |why| SignedBodyError::CertificateNotForSeals { why };
        let usage = self.0.key_usage().map_err(|_| lacks("its keyUsage cannot be read"))?;
        if usage.is_some_and(|usage| !usage.value.digital_signature() && !usage.value.non_repudiation()) {
            return Err(lacks("its keyUsage has neither digitalSignature nor nonRepudiation"));
        }
        let statements = QualifiedStatements::of(&self.0).map_err(|fault| match fault {
            StatementsFault::Twice => lacks("it has QCStatements twice"),
            StatementsFault::Malformed { .. } | StatementsFault::Repeated => lacks("its QCStatements cannot be read"),
        })?;
        let statements = statements.ok_or(lacks("it has no QCStatements"))?;
        if !statements.compliance {
            return Err(lacks("it has no QcCompliance"));
        }
        let kinds = statements.kinds.ok_or(lacks("it has no QcType"))?;
        if kinds.contains(&QualifiedKind::Web) {
            return Err(lacks("its QcType is one for web sites"));
        }
        if !kinds.contains(&QualifiedKind::Seal) {
            return Err(lacks("its QcType is not the one for electronic seals"));
        }
        Ok(())
    }

    /// BG-11: it belongs to the organisation of the certificate with which the client connects. Returns the identifier.
    pub(super) fn check_organization(&self, client: &ClientCertificate) -> Result<Box<str>, SignedBodyError> {
        let der = client.der();
        let parsed = X509Certificate::from_der(&der).ok().map(|(_, certificate)| Subject::of(certificate.subject()));
        let expected = parsed.as_ref().and_then(organization_identifier);
        match (organization_identifier(&Subject::of(self.0.subject())), expected) {
            (Some(own), Some(expected)) if own == expected => Ok(own.into()),
            (found, expected) => {
                let shown = |text: Option<&str>| text.map_or_else(|| "missing".into(), shown_text);
                Err(SignedBodyError::OrganizationMismatch { found: shown(found), expected: shown(expected) })
            }
        }
    }

    /// Whether its key made a signature over `message`.
    pub(crate) fn verify(
        &self,
        algorithm: SealAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignedBodyError> {
        let info = self.0.public_key();
        let fitting = fitting(info);
        if !fitting.contains(&algorithm) {
            let expected = Names::of(fitting.iter().map(|algorithm| algorithm.as_str()));
            return Err(SignedBodyError::AlgorithmRefused { found: algorithm.as_str().into(), expected });
        }
        if matches!(info.parsed(), Ok(PublicKey::RSA(key)) if key.key_size() < 2048) {
            return Err(SignedBodyError::KeyWeak);
        }
        let verification: &'static dyn VerificationAlgorithm = match algorithm {
            SealAlgorithm::RsaSha256 => &RSA_PKCS1_2048_8192_SHA256,
            SealAlgorithm::RsaSha512 => &RSA_PKCS1_2048_8192_SHA512,
            // The registry names X9.62, which has signatures as a SEQUENCE of two numbers.
            SealAlgorithm::EcdsaSha256 => &ECDSA_P256_SHA256_ASN1,
        };
        let key = UnparsedPublicKey::new(verification, &*info.subject_public_key.data);
        key.verify(message, signature).map_err(|_| SignedBodyError::SignatureInvalid)
    }
}

/// The algorithms of a key.
fn fitting(info: &SubjectPublicKeyInfo<'_>) -> &'static [SealAlgorithm] {
    let curve = || info.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    match info.parsed() {
        Ok(PublicKey::RSA(_)) => &[SealAlgorithm::RsaSha256, SealAlgorithm::RsaSha512],
        Ok(PublicKey::EC(_)) if curve().is_some_and(|curve| curve.as_bytes() == P_256) => &[SealAlgorithm::EcdsaSha256],
        _ => &[],
    }
}

/// Without the backslashes that escape something in a quoted text (RFC 9110 §5.6.4).
fn unescaped(text: &str) -> String {
    let mut characters = text.chars();
    let mut plain = String::with_capacity(text.len());
    while let Some(character) = characters.next() {
        let literal = if character == '\\' { characters.next() } else { Some(character) };
        plain.extend(literal);
    }
    plain
}

/// The only `organizationIdentifier` of a subject (ETSI EN 319 412-1 §5.1.4).
fn organization_identifier(subject: &Subject) -> Option<&str> {
    subject.sole(SubjectAttribute::OrganizationIdentifier).ok()
}

/// 1.2.840.10045.3.1.7
const P_256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..80), text in "[ -~]{0,40}") {
            let _ = unescaped(&text);
            prop_assert!(SealCertificate::read(&bytes).is_err());
        }
    }
}
