//! One certificate of a path, read as strictly as path validation needs it.

use x509_parser::der_parser::asn1_rs::{Any, Class, FromDer, Tag};
use x509_parser::extensions::{ParsedExtension, PolicyInformation};
use x509_parser::prelude::{X509Certificate, X509Version};

use super::constraints::{Constraints, Names};
use super::fault::{Extension, Fault};
use super::name::{self, Name};
use crate::UnixTime;

/// What an authority signed: a certificate or a revocation list without its signature, and the signature.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'c> {
    /// What was signed, DER.
    pub message: &'c [u8],
    /// The content of the AlgorithmIdentifier.
    pub algorithm: &'c [u8],
    /// The signature.
    pub signature: &'c [u8],
}

impl<'c> Signed<'c> {
    /// Reads the outermost structure of a certificate or revocation list (RFC 5280 §4.1, §5.1); `None` if it is
    /// malformed.
    pub fn from_der(der: &'c [u8]) -> Option<Self> {
        let Ok(([], outer)) = Any::from_der(der) else { return None };
        let (rest, _) = Any::from_der(outer.data).ok()?;
        let message = outer.data.get(..outer.data.len().checked_sub(rest.len())?)?;
        let (rest, algorithm) = Any::from_der(rest).ok()?;
        let Ok(([], signature)) = Any::from_der(rest) else { return None };
        // No signature covers these tags, so that only one spelling may pass.
        let is = |value: &Any<'_>, tag, constructed| {
            value.class() == Class::Universal && value.tag() == tag && value.header.is_constructed() == constructed
        };
        if !is(&outer, Tag::Sequence, true)
            || !is(&algorithm, Tag::Sequence, true)
            || !is(&signature, Tag::BitString, false)
        {
            return None;
        }
        // The first octet of a BIT STRING is the number of bits that do not count.
        let signature = signature.data.strip_prefix(&[0])?;
        Some(Self { message, algorithm: algorithm.data, signature })
    }
}

/// A certificate in the form that the algorithm needs.
pub(super) struct Certificate<'c> {
    pub(super) der: &'c [u8],
    pub(super) names: Names<'c>,
    pub(super) issuer: Name,
    pub(super) serial: &'c [u8],
    /// SubjectPublicKeyInfo, DER.
    pub(super) key: &'c [u8],
    pub(super) signed: Signed<'c>,
    not_before: UnixTime,
    not_after: UnixTime,
    version: X509Version,
    /// `cA` and `pathLenConstraint`.
    basic_constraints: Option<(bool, Option<u32>)>,
    key_usage: Option<u16>,
    purposes: Option<Purposes>,
    pub(super) name_constraints: Option<Constraints>,
    pub(super) policies: Option<Vec<Box<[u8]>>>,
    pub(super) policy_mappings: Vec<Mapping>,
    pub(super) require_explicit_policy: Option<u32>,
    pub(super) inhibit_policy_mapping: Option<u32>,
    pub(super) inhibit_any_policy: Option<u32>,
    /// What makes it unusable in any path.
    fault: Option<Fault>,
}

/// A policy of the issuer that a policy of the subject stands for (RFC 5280 §4.2.1.5); both are identifiers.
pub(super) struct Mapping {
    pub(super) issuer_domain: Box<[u8]>,
    pub(super) subject_domain: Box<[u8]>,
}

/// The purposes of an extended key usage (RFC 5280 §4.2.1.12).
struct Purposes {
    is_empty: bool,
    client_auth: bool,
}

impl<'c> Certificate<'c> {
    /// Reads a certificate; `None` if it is not exactly one.
    ///
    /// Of one that can be read and not be used, the reason is kept for [`usable`](Self::usable).
    pub(super) fn read(der: &'c [u8]) -> Option<Self> {
        let Ok(([], parsed)) = X509Certificate::from_der(der) else { return None };
        let signed = Signed::from_der(der)?;
        let tbs = &parsed.tbs_certificate;
        let emails = tbs
            .subject
            .iter_attributes()
            .filter(|attribute| attribute.attr_type().as_bytes() == EMAIL_ADDRESS)
            .map(|attribute| name::decode(attribute.attr_value()));
        let mut certificate = Self {
            der,
            names: Names { subject: Name::of(&tbs.subject), emails: emails.collect(), alternative: Vec::new() },
            issuer: Name::of(&tbs.issuer),
            serial: tbs.raw_serial(),
            key: tbs.subject_pki.raw,
            signed,
            not_before: tbs.validity.not_before.into(),
            not_after: tbs.validity.not_after.into(),
            version: tbs.version,
            basic_constraints: None,
            key_usage: None,
            purposes: None,
            name_constraints: None,
            policies: None,
            policy_mappings: Vec::new(),
            require_explicit_policy: None,
            inhibit_policy_mapping: None,
            inhibit_any_policy: None,
            fault: None,
        };
        // RFC 5280 §4.1.1.2: the algorithm is stated twice, and the one inside is signed.
        let well_formed = parsed.signature_algorithm == tbs.signature && !certificate.issuer.is_empty();
        certificate.fault = match certificate.read_extensions(parsed) {
            Ok(()) if well_formed => None,
            Ok(()) => Some(Fault::Malformed),
            Err(fault) => Some(fault),
        };
        Some(certificate)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "most extensions say nothing about a path")]
    fn read_extensions(&mut self, parsed: X509Certificate<'c>) -> Result<(), Fault> {
        let mut seen = Vec::new();
        for extension in parsed.tbs_certificate.extensions() {
            // RFC 5280 §4.2: "A certificate MUST NOT include more than one instance of a particular extension."
            if seen.contains(&extension.oid) {
                return Err(Fault::Malformed);
            }
            seen.push(extension.oid.clone());
            let named = Extension::of(&extension.oid);
            let is_one_value = || matches!(Any::from_der(extension.value), Ok(([], _)));
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(value) if is_one_value() => {
                    if value.path_len_constraint.is_some() && !value.ca {
                        return Err(Fault::Malformed);
                    }
                    self.basic_constraints = Some((value.ca, value.path_len_constraint));
                }
                ParsedExtension::KeyUsage(value) if is_one_value() => self.key_usage = Some(value.flags),
                ParsedExtension::ExtendedKeyUsage(value) if is_one_value() => {
                    self.purposes = Some(Purposes {
                        is_empty: Any::from_der(extension.value).is_ok_and(|(_, value)| value.data.is_empty()),
                        client_auth: value.client_auth,
                    });
                }
                ParsedExtension::SubjectAlternativeName(value) if is_one_value() && !value.general_names.is_empty() => {
                    self.names.alternative = value.general_names.clone();
                }
                ParsedExtension::NameConstraints(_) => {
                    self.name_constraints = Some(Constraints::from_der(extension.value).ok_or(Fault::Malformed)?);
                }
                ParsedExtension::CertificatePolicies(value) if is_one_value() && !value.is_empty() => {
                    self.policies = Some(policies(value, extension.critical)?);
                }
                ParsedExtension::PolicyMappings(value) if is_one_value() && !value.mappings.is_empty() => {
                    let mappings = value.mappings.iter().map(|mapping| Mapping {
                        issuer_domain: mapping.issuer_domain_policy.as_bytes().into(),
                        subject_domain: mapping.subject_domain_policy.as_bytes().into(),
                    });
                    self.policy_mappings = mappings.collect();
                }
                ParsedExtension::PolicyConstraints(value) if is_one_value() => {
                    self.require_explicit_policy = value.require_explicit_policy;
                    self.inhibit_policy_mapping = value.inhibit_policy_mapping;
                    // RFC 5280 §4.2.1.11: "Conforming CAs MUST NOT issue certificates where policy constraints is an
                    // empty sequence."
                    if self.require_explicit_policy.is_none() && self.inhibit_policy_mapping.is_none() {
                        return Err(Fault::Malformed);
                    }
                }
                ParsedExtension::InhibitAnyPolicy(value) if is_one_value() => {
                    self.inhibit_any_policy = Some(value.skip_certs);
                }
                // Which lists apply is decided with the lists; being critical changes nothing about that.
                ParsedExtension::CRLDistributionPoints(_) => {}
                // Does not read as what its identifier says.
                _ if named.is_processed() => return Err(Fault::Malformed),
                // RFC 5280 §4.2: "A certificate-using system MUST reject the certificate if it encounters a critical
                // extension it does not recognize or a critical extension that contains information that it cannot
                // process."
                _ if extension.critical => return Err(Fault::Unsupported(named)),
                _ => {}
            }
        }
        Ok(())
    }

    /// RFC 5280 §4.1.2.1, §6.1.3 (a) (2): version 3 and nothing that cannot be processed, within its validity, and
    /// issued for what it is used for.
    pub(super) fn usable(&self, now: UnixTime, client_auth: bool) -> Result<(), Fault> {
        if self.version != X509Version::V3 {
            return Err(Fault::OldVersion);
        }
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if now < self.not_before {
            return Err(Fault::NotValidYet);
        }
        if self.not_after < now {
            return Err(Fault::Expired);
        }
        match &self.purposes {
            // ExtKeyUsageSyntax ::= SEQUENCE SIZE (1..MAX)
            Some(purposes) if purposes.is_empty => Err(Fault::Malformed),
            Some(purposes) if client_auth && !purposes.client_auth => Err(Fault::WrongPurpose),
            Some(_) | None => Ok(()),
        }
    }

    /// RFC 5280 §6.1.4 (k) and (n): it may issue certificates. Returns its `pathLenConstraint`.
    pub(super) fn issues(&self) -> Result<Option<u32>, Fault> {
        let Some((true, length)) = self.basic_constraints else { return Err(Fault::NotAnAuthority) };
        // RFC 5280 §4.1.2.6: the subject of an authority "MUST be populated with a non-empty distinguished name".
        if self.names.subject.is_empty() || self.key_usage.is_some_and(|flags| flags & KEY_CERT_SIGN == 0) {
            return Err(Fault::NotAnAuthority);
        }
        Ok(length)
    }

    /// Whether it is the certificate of an authority.
    pub(super) fn is_authority(&self) -> bool {
        matches!(self.basic_constraints, Some((true, _)))
    }

    /// Whether its key may sign revocation lists (RFC 5280 §6.3.3 (f)).
    pub(super) fn signs_lists(&self) -> bool {
        self.key_usage.is_none_or(|flags| flags & CRL_SIGN != 0)
    }

    /// RFC 5280 §6.1: "A certificate is self-issued if the same DN appears in the subject and issuer fields".
    pub(super) fn is_self_issued(&self) -> bool {
        self.names.subject == self.issuer
    }
}

/// RFC 5280 §4.2.1.4: each policy once, and in a critical extension no qualifier of an unknown kind.
fn policies(value: &[PolicyInformation<'_>], critical: bool) -> Result<Vec<Box<[u8]>>, Fault> {
    let mut policies: Vec<Box<[u8]>> = value.iter().map(|policy| policy.policy_id.as_bytes().into()).collect();
    policies.sort_unstable();
    let count = policies.len();
    policies.dedup();
    if policies.len() != count {
        return Err(Fault::Malformed);
    }
    let mut qualifiers = value.iter().flat_map(|policy| policy.policy_qualifiers.iter().flatten());
    if critical && qualifiers.any(|qualifier| !QUALIFIERS.contains(&qualifier.policy_qualifier_id.as_bytes())) {
        return Err(Fault::Unsupported(Extension::CERTIFICATE_POLICIES));
    }
    Ok(policies)
}

const KEY_CERT_SIGN: u16 = 1 << 5;
const CRL_SIGN: u16 = 1 << 6;
/// 1.2.840.113549.1.9.1
const EMAIL_ADDRESS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];
/// id-qt-cps and id-qt-unotice: text for people, which changes nothing about the path.
const QUALIFIERS: [&[u8]; 2] = [&[0x2b, 6, 1, 5, 5, 7, 2, 1], &[0x2b, 6, 1, 5, 5, 7, 2, 2]];
