//! Certification path validation (RFC 5280 §6.1), with what TLS libraries often leave out: certificate policies, name
//! constraints on directory names, email addresses and URIs, and names that are spelled differently (§7.1).
//!
//! For a caller whose TLS library refuses a chain because it does not support something. It is a complete validation of
//! its own, except that the caller verifies signatures and revocation.
//!
//! The work on one chain is bounded: certificates, paths, signatures and comparisons of names are counted.

mod certificate;
mod constraints;
mod distinguished_name;
mod fault;
mod name;
mod policies;

use std::collections::HashMap;

use self::certificate::Certificate;
use self::constraints::{Comparisons, Constraints};
use self::policies::Policies;
use crate::UnixTime;

pub use certificate::Signed;
pub use distinguished_name::DistinguishedNameError;
pub use fault::{Extension, Fault};
pub use name::Name;
pub(crate) use name::decode;

/// A trust anchor (RFC 5280 §6.1.1 (d)).
#[derive(Clone, Debug)]
pub struct Anchor {
    subject: Name,
    key: Box<[u8]>,
    constraints: Option<Constraints>,
}

impl Anchor {
    /// Reads the subject, the SubjectPublicKeyInfo and the value of the name constraints of an anchor, all in DER;
    /// `None` if the subject is empty or something is malformed.
    ///
    /// RFC 5280 does not let an anchor constrain names. Here its constraints hold, as with most libraries.
    pub fn new(subject: &[u8], key: &[u8], name_constraints: Option<&[u8]>) -> Option<Self> {
        let subject = Name::from_der(subject).filter(|subject| !subject.is_empty())?;
        let constraints = match name_constraints {
            Some(value) => Some(Constraints::from_der(value)?),
            None => None,
        };
        Some(Self { subject, key: key.into(), constraints })
    }

    /// Its name.
    pub const fn subject(&self) -> &Name {
        &self.subject
    }

    /// Whether its name constraints contain subtrees that are not supported: certificates with names of their form are
    /// refused.
    pub fn has_unsupported_constraints(&self) -> bool {
        self.constraints.as_ref().is_some_and(Constraints::has_undecided)
    }
}

/// What a path has to satisfy.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The time at which it has to be valid.
    pub now: UnixTime,
    /// Whether certificates with an extended key usage must name clientAuth.
    pub client_auth: bool,
}

/// A certificate of a path and its issuer: what decides whether it is revoked.
pub struct Issued<'p> {
    /// Its serial number: the content of the INTEGER.
    pub serial: &'p [u8],
    /// The certificate, DER.
    pub certificate: &'p [u8],
    /// Whether it is the last of the path.
    pub is_leaf: bool,
    /// The name of its issuer.
    pub issuer: &'p Name,
    /// The keys that may sign lists for its issuer, as SubjectPublicKeyInfo in DER: of the authorities above it that
    /// have the issuer's name, as after a key rollover, and whose key usage allows it (RFC 5280 §6.3.3 (f)).
    pub list_keys: Vec<&'p [u8]>,
}

/// What the caller decides.
pub trait Verification {
    /// Whether the key, a SubjectPublicKeyInfo in DER, made this signature.
    fn is_signed_by(&self, key: &[u8], signed: &Signed<'_>) -> bool;

    /// Whether a certificate of a valid path is not revoked now.
    ///
    /// # Errors
    /// [`Fault::Revoked`], or why its status is unknown.
    fn check_status(&self, issued: &Issued<'_>, now: UnixTime) -> Result<(), Fault>;
}

/// Finds a valid path from one of the anchors to the leaf.
///
/// Returns the places of its authorities in `others`, the issuer of the leaf first. The order of `others` does not
/// matter, and those that do not belong to the path are ignored.
///
/// # Errors
/// [`Fault`]: of several paths, that of the one that came closest.
pub fn validate(
    leaf: &[u8],
    others: &[&[u8]],
    anchors: &[Anchor],
    rules: Rules,
    verification: &dyn Verification,
) -> Result<Vec<usize>, Fault> {
    let bytes = others.iter().fold(leaf.len(), |sum, other| sum.saturating_add(other.len()));
    if bytes > MAX_BYTES || others.len() >= MAX_CERTIFICATES {
        return Err(Fault::TooMuchWork);
    }
    let leaf = Certificate::read(leaf).ok_or(Fault::Malformed)?;
    if leaf.is_authority() {
        return Err(Fault::NotAnAuthority);
    }
    leaf.usable(rules.now, rules.client_auth)?;
    let others: Vec<_> = others.iter().map(|der| Certificate::read(der)).collect();
    let mut search = Search {
        leaf: &leaf,
        others: &others,
        anchors,
        rules,
        verification,
        steps_left: MAX_STEPS,
        signatures_left: MAX_SIGNATURES,
        comparisons_left: Comparisons(MAX_COMPARISONS),
        known: HashMap::new(),
        fault: Fault::NoPath,
    };
    let mut path = Vec::new();
    if search.extend(&mut path)? { Ok(path) } else { Err(search.fault) }
}

/// Asks `verification` for the status of every certificate of a path that was found valid by other means: the leaf, and
/// its authorities, the issuer of the leaf first.
///
/// # Errors
/// [`Fault::Malformed`] if a certificate cannot be read, or what `verification` says.
pub fn check_status(
    leaf: &[u8],
    authorities: &[&[u8]],
    anchor_key: &[u8],
    verification: &dyn Verification,
    now: UnixTime,
) -> Result<(), Fault> {
    let read = |der| Certificate::read(der).ok_or(Fault::Malformed);
    let authorities = authorities.iter().rev().map(|der| read(der)).collect::<Result<Vec<_>, _>>()?;
    check_chain_status(anchor_key, authorities.iter(), &read(leaf)?, verification, now)
}

/// RFC 5280 §6.1.3 (a) (3), from the anchor to the leaf.
fn check_chain_status<'p, 'c: 'p>(
    anchor_key: &'p [u8],
    authorities: impl Iterator<Item = &'p Certificate<'c>>,
    leaf: &'p Certificate<'c>,
    verification: &dyn Verification,
    now: UnixTime,
) -> Result<(), Fault> {
    let mut above: Vec<(&Name, &[u8])> = Vec::new();
    for (certificate, is_leaf) in authorities.map(|authority| (authority, false)).chain([(leaf, true)]) {
        let Certificate { serial, der, issuer, .. } = certificate;
        if above.is_empty() {
            above.push((issuer, anchor_key));
        }
        let list_keys = above.iter().filter(|(name, _)| *name == issuer).map(|(_, key)| *key).collect();
        verification.check_status(&Issued { serial, certificate: der, is_leaf, issuer, list_keys }, now)?;
        if certificate.signs_lists() {
            above.push((&certificate.names.subject, certificate.key));
        }
    }
    Ok(())
}

/// The search for a path, from the leaf upwards by names.
struct Search<'s, 'c> {
    leaf: &'s Certificate<'c>,
    others: &'s [Option<Certificate<'c>>],
    anchors: &'s [Anchor],
    rules: Rules,
    verification: &'s dyn Verification,
    steps_left: u32,
    signatures_left: u32,
    comparisons_left: Comparisons,
    /// Whether the certificate was signed with the key of the issuer; both by their place.
    known: HashMap<(Option<usize>, Issuer), bool>,
    fault: Fault,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Issuer {
    Anchor(usize),
    Other(usize),
}

impl<'s, 'c> Search<'s, 'c> {
    /// Adds authorities to a path until it reaches an anchor and is valid.
    ///
    /// # Errors
    /// Only [`Fault::TooMuchWork`]; whatever else is wrong with one path, another may be valid.
    fn extend(&mut self, path: &mut Vec<usize>) -> Result<bool, Fault> {
        let top = path.last().map_or(Some(self.leaf), |place| self.at(*place));
        let Some(top) = top else { return Ok(false) };
        for (place, anchor) in self.anchors.iter().enumerate() {
            if anchor.subject == top.issuer {
                self.steps_left = self.steps_left.checked_sub(1).ok_or(Fault::TooMuchWork)?;
                match self.walk(path, place, anchor) {
                    Ok(()) => return Ok(true),
                    Err(Fault::TooMuchWork) => return Err(Fault::TooMuchWork),
                    Err(fault) => self.fault = self.fault.max(fault),
                }
            }
        }
        for (place, other) in self.others.iter().enumerate() {
            let Some(other) = other else { continue };
            // A path has each key of a name once: a second time adds nothing but length.
            let is_new = path
                .iter()
                .filter_map(|place| self.at(*place))
                .all(|used| used.names.subject != other.names.subject || used.key != other.key);
            if other.names.subject == top.issuer && is_new {
                self.steps_left = self.steps_left.checked_sub(1).ok_or(Fault::TooMuchWork)?;
                path.push(place);
                if self.extend(path)? {
                    return Ok(true);
                }
                path.pop();
            }
        }
        Ok(false)
    }

    fn at(&self, place: usize) -> Option<&'s Certificate<'c>> {
        self.others.get(place).and_then(Option::as_ref)
    }

    /// RFC 5280 §6.1.2 to §6.1.5, from the anchor to the leaf.
    fn walk(&mut self, path: &[usize], anchor_place: usize, anchor: &Anchor) -> Result<(), Fault> {
        let mut authorities = Vec::with_capacity(path.len());
        for place in path.iter().rev() {
            let authority = self.at(*place).ok_or(Fault::Malformed)?;
            authority.usable(self.rules.now, self.rules.client_auth)?;
            authorities.push((*place, authority, authority.issues()?));
        }
        let mut policies = Policies::initial(authorities.len().saturating_add(1));
        let mut constraints: Vec<&Constraints> = anchor.constraints.iter().collect();
        let mut longest = u32::MAX;
        let (mut issuer, mut key) = (Issuer::Anchor(anchor_place), &*anchor.key);
        for (place, authority, path_length) in &authorities {
            // §6.1.3 (a) (1); (2) and (4) are done, and revocation comes last.
            self.check_signature(Some(*place), authority, issuer, key)?;
            // §6.1.3 (b), (c)
            if !authority.is_self_issued() {
                for constraints in &constraints {
                    constraints.check(&authority.names, &mut self.comparisons_left)?;
                }
            }
            policies.enter(authority, false)?;
            policies.leave(authority)?;
            // §6.1.4 (g)
            constraints.extend(&authority.name_constraints);
            // §6.1.4 (l), (m)
            if !authority.is_self_issued() {
                longest = longest.checked_sub(1).ok_or(Fault::PathTooLong)?;
            }
            longest = path_length.unwrap_or(u32::MAX).min(longest);
            (issuer, key) = (Issuer::Other(*place), authority.key);
        }
        self.check_signature(None, self.leaf, issuer, key)?;
        for constraints in &constraints {
            constraints.check(&self.leaf.names, &mut self.comparisons_left)?;
        }
        policies.enter(self.leaf, true)?;
        policies.wrap_up(self.leaf)?;
        check_chain_status(
            &anchor.key,
            authorities.iter().map(|(_, authority, _)| *authority),
            self.leaf,
            self.verification,
            self.rules.now,
        )
    }

    fn check_signature(
        &mut self,
        place: Option<usize>,
        certificate: &Certificate<'_>,
        issuer: Issuer,
        key: &[u8],
    ) -> Result<(), Fault> {
        let good = match self.known.get(&(place, issuer)) {
            Some(good) => *good,
            None => {
                self.signatures_left = self.signatures_left.checked_sub(1).ok_or(Fault::TooMuchWork)?;
                let good = self.verification.is_signed_by(key, &certificate.signed);
                self.known.insert((place, issuer), good);
                good
            }
        };
        if good { Ok(()) } else { Err(Fault::BadSignature) }
    }
}

/// The largest chain that is looked at, in bytes; rustls accepts no larger one in a handshake.
const MAX_BYTES: usize = 64 * 1024;
/// The most certificates that are looked at, including the leaf.
const MAX_CERTIFICATES: usize = 10;
/// How many times an issuer is tried for a certificate.
const MAX_STEPS: u32 = 128;
/// How many signatures are verified.
const MAX_SIGNATURES: u32 = 24;
/// How many names are compared with a subtree.
const MAX_COMPARISONS: usize = 100_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
        Issuer as Signer, KeyPair, SanType, date_time_ymd,
    };
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    /// A chain of a leaf and one authority, and its anchor.
    struct Chain {
        leaf: Vec<u8>,
        authority: Vec<u8>,
        anchor: Anchor,
    }

    impl Chain {
        fn new() -> Self {
            let policy = [0x30, 7, 0x30, 5, 6, 3, 0x2a, 3, 4];
            let critical = |number: u64, content: &[u8]| {
                let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, number], content.to_vec());
                extension.set_criticality(true);
                extension
            };
            let named = |name: &str| {
                let mut params = CertificateParams::default();
                params.distinguished_name = rcgen::DistinguishedName::new();
                params.distinguished_name.push(DnType::OrganizationName, "Bank");
                params.distinguished_name.push(DnType::CommonName, name);
                params.not_before = date_time_ymd(2001, 1, 1);
                params.not_after = date_time_ymd(2033, 1, 1);
                params
            };
            let (root_key, key, leaf_key) =
                (KeyPair::generate().unwrap(), KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
            let mut bank = rcgen::DistinguishedName::new();
            bank.push(DnType::OrganizationName, "Bank");
            let mut between = named("between");
            between.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            between.custom_extensions = vec![critical(32, &policy), critical(36, &[0x30, 3, 0x80, 1, 0])];
            between.name_constraints = Some(rcgen::NameConstraints {
                permitted_subtrees: vec![
                    GeneralSubtree::DirectoryName(bank),
                    GeneralSubtree::DnsName("bank.example".into()),
                ],
                excluded_subtrees: vec![GeneralSubtree::Rfc822Name("evil.example".into())],
            });
            let mut client = named("client");
            client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            client.custom_extensions = vec![critical(32, &policy)];
            client.subject_alt_names = vec![
                SanType::DnsName("a.bank.example".try_into().unwrap()),
                SanType::Rfc822Name("a@bank.example".try_into().unwrap()),
            ];
            let root = Signer::new(named("root"), root_key);
            let authority = between.signed_by(&key, &root).unwrap().der().to_vec();
            let leaf = client.signed_by(&leaf_key, &Signer::new(between, key)).unwrap().der().to_vec();
            let (_, parsed) = X509Certificate::from_der(&authority).unwrap();
            let anchor = Anchor::new(parsed.issuer().as_raw(), b"root", None).unwrap();
            Self { leaf, authority, anchor }
        }

        fn validate(&self, leaf: &[u8], authority: &[u8]) -> Result<Vec<usize>, Fault> {
            let rules = Rules { now: UnixTime(1_500_000_000), client_auth: true };
            validate(leaf, &[authority], std::slice::from_ref(&self.anchor), rules, self)
        }
    }

    /// Knows the signatures that were made, instead of verifying them.
    impl Verification for Chain {
        fn is_signed_by(&self, key: &[u8], signed: &Signed<'_>) -> bool {
            let (_, authority) = X509Certificate::from_der(&self.authority).unwrap();
            let (expected, expected_key) =
                if key == b"root" { (&self.authority, &b"root"[..]) } else { (&self.leaf, authority.public_key().raw) };
            let original = Signed::from_der(expected).unwrap();
            key == expected_key
                && (signed.message, signed.algorithm, signed.signature)
                    == (original.message, original.algorithm, original.signature)
        }

        fn check_status(&self, _: &Issued<'_>, _: UnixTime) -> Result<(), Fault> {
            Ok(())
        }
    }

    #[test]
    fn a_chain_that_differs_in_one_bit_is_refused() {
        let chain = Chain::new();
        assert_eq!(chain.validate(&chain.leaf, &chain.authority), Ok(vec![0])); // control
        for in_leaf in [true, false] {
            let original = if in_leaf { &chain.leaf } else { &chain.authority };
            for place in 0..original.len() {
                let judge = |changed: &[u8]| match in_leaf {
                    true => chain.validate(changed, &chain.authority),
                    false => chain.validate(&chain.leaf, changed),
                };
                assert!(judge(&original[..place]).is_err(), "cut at {place}, {in_leaf}");
                for bit in 0..8 {
                    let mut changed = original.clone();
                    changed[place] ^= 1 << bit;
                    assert!(judge(&changed).is_err(), "bit {bit} at {place}, {in_leaf}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_chain_that_differs_in_one_octet_is_refused(
            at in any::<prop::sample::Index>(),
            octet in any::<u8>(),
            in_leaf in any::<bool>(),
        ) {
            let chain = Chain::new();
            let (mut leaf, mut authority) = (chain.leaf.clone(), chain.authority.clone());
            let changed = if in_leaf { &mut leaf } else { &mut authority };
            let place = at.index(changed.len());
            prop_assume!(changed[place] != octet);
            changed[place] = octet;
            prop_assert!(chain.validate(&leaf, &authority).is_err());
        }

        #[test]
        fn anything_at_all_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let chain = Chain::new();
            prop_assert!(chain.validate(&bytes, &chain.authority).is_err());
            prop_assert!(chain.validate(&chain.leaf, &bytes).is_err());
            let _ = Anchor::new(&bytes, &bytes, Some(&bytes));
        }
    }
}
