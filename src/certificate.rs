//! What is wrong with a certificate: what makes everybody who verifies it refuse it, and what soon will.
//!
//! Judges the certificates of files, with nobody to ask: it knows the chain of a file and what it is for, but not whom its
//! readers trust. What a certificate says never changes, and is judged once; its validity is judged by a time.

use std::fmt;
use std::net::IpAddr;

use fapi::UnixTime;
use fapi::peer::distinguished_name;
use rustls::pki_types::{CertificateDer, ServerName};
use webpki::EndEntityCert;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{ExtendedKeyUsage, FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::clock::rfc3339_second;

/// What the certificates of a file are for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'p> {
    /// The chain of a server, leaf first.
    Server {
        /// The hosts that clients ask for, if they are known.
        hosts: &'p [&'p str],
        /// Whether those who connect are proxies of the operator, which may ask for another name.
        behind_proxy: bool,
    },
    /// The chain that the gateway presents as a client, leaf first.
    Client,
    /// Certificates that others have to lead to.
    Anchor,
}

/// What kind of problem a certificate has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Its validity is over.
    Expired,
    /// Its validity has not begun.
    NotYetValid,
    /// Its validity ends within [`SOON`].
    ExpiresSoon,
    /// It does not have the name of a host, or no name at all.
    Name,
    /// It is not meant for what it is used for.
    KeyUsage,
    /// The certificates after it are not those that lead to an authority.
    Chain,
    /// Its key is too short, or of a kind that TLS does not use.
    WeakKey,
    /// It is signed with a digest that can be forged.
    WeakSignature,
}

impl Fault {
    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::ExpiresSoon => "expires_soon",
            Self::Name => "name",
            Self::KeyUsage => "key_usage",
            Self::Chain => "chain",
            Self::WeakKey => "weak_key",
            Self::WeakSignature => "weak_signature",
        }
    }
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Everybody, or nearly everybody, refuses the certificate.
    Error,
    /// Some refuse it, or all soon will.
    Warning,
}

/// One problem of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its kind.
    pub fault: Fault,
    /// How bad it is.
    pub severity: Severity,
    /// Which certificate, what is wrong, and how to correct it.
    pub text: String,
}

/// What the certificates of a file say, judged for one purpose.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    lasting: Vec<Problem>,
    validities: Vec<Validity>,
    holders: Vec<Holder>,
}

/// Whom one certificate of a file names, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its subject, as RFC 4514 writes it.
    pub subject: String,
    /// The DNS names, IP addresses and URIs of its subjectAltName, up to [`NAMES`] of them.
    pub names: Vec<String>,
    /// The last second of its validity.
    pub not_after: UnixTime,
}

/// How many names of a certificate are kept to be shown.
pub const NAMES: usize = 20;

/// From when to when a certificate is valid, in seconds since 1970.
#[derive(Clone, Debug)]
struct Validity {
    which: String,
    from: u64,
    until: u64,
    /// How bad it is when it is not valid.
    severity: Severity,
    is_anchor: bool,
}

/// How long before its end a certificate is said to expire soon, in seconds: 14 days.
pub const SOON: u64 = 14 * DAY;

const DAY: u64 = 24 * 60 * 60;

impl Judgement {
    /// Judges all certificates of a file. What cannot be parsed has no problem here: others refuse it.
    pub fn of(certificates: &[CertificateDer<'_>], purpose: Purpose<'_>) -> Self {
        let parsed = certificates.iter().map(|der| X509Certificate::from_der(der).map(|(_, certificate)| certificate));
        let Ok(parsed) = parsed.collect::<Result<Vec<_>, _>>() else { return Self::default() };
        let mut judgement = Self::default();
        for (index, certificate) in parsed.iter().enumerate() {
            judgement.validity(index, certificate, purpose);
            judgement.strength(index, certificate, purpose);
            judgement.holders.push(Holder::of(certificate));
        }
        let (Some(der), Some(leaf)) = (certificates.first(), parsed.first()) else { return judgement };
        match purpose {
            Purpose::Server { hosts, behind_proxy } => {
                judgement.usage(leaf, &SERVER);
                judgement.chain(&parsed);
                judgement.names(der, leaf, hosts, behind_proxy);
            }
            Purpose::Client => {
                judgement.usage(leaf, &CLIENT);
                judgement.chain(&parsed);
            }
            Purpose::Anchor => {}
        }
        judgement
    }

    /// The problems at this time.
    pub fn problems(&self, now: UnixTime) -> Vec<Problem> {
        let passing = self.validities.iter().filter_map(|validity| validity.problem(now));
        self.lasting.iter().cloned().chain(passing).collect()
    }

    /// Whom the certificates name, in the order of the file.
    pub fn holders(&self) -> &[Holder] {
        &self.holders
    }

    fn add(&mut self, fault: Fault, severity: Severity, text: impl Into<String>) {
        self.lasting.push(Problem { fault, severity, text: text.into() });
    }

    fn validity(&mut self, index: usize, certificate: &X509Certificate<'_>, purpose: Purpose<'_>) {
        let validity = certificate.validity();
        let is_anchor = matches!(purpose, Purpose::Anchor);
        // A root at the end of a chain is sent for nothing: those who verify have their own.
        let counts = !is_anchor && (index == 0 || !is_self_issued(certificate));
        self.validities.push(Validity {
            which: which(index),
            from: UnixTime::from(validity.not_before).0,
            until: UnixTime::from(validity.not_after).0,
            severity: if counts { Severity::Error } else { Severity::Warning },
            is_anchor,
        });
    }

    fn strength(&mut self, index: usize, certificate: &X509Certificate<'_>, purpose: Purpose<'_>) {
        let which = which(index);
        if let Some(weakness) = weakness(certificate.public_key()) {
            let way_out = match purpose {
                Purpose::Anchor => {
                    "no certificate that it signed is accepted; remove it, or have the authority make another"
                }
                Purpose::Server { .. } | Purpose::Client => "have one issued for RSA from 2048 bits or P-256",
            };
            self.add(Fault::WeakKey, Severity::Error, format!("{which} has {weakness}; {way_out}"));
        }
        // The signature of a root by itself proves nothing, and nobody looks at it.
        let algorithm = certificate.signature_algorithm.algorithm.to_id_string();
        let weak = WEAK_SIGNATURES.iter().find(|(id, _)| *id == algorithm);
        if let Some((_, name)) = weak
            && !matches!(purpose, Purpose::Anchor)
            && !is_self_issued(certificate)
        {
            let text =
                format!("{which} is signed with {name}, which can be forged, so it is refused; have another issued");
            self.add(Fault::WeakSignature, Severity::Error, text);
        }
    }

    fn usage(&mut self, leaf: &X509Certificate<'_>, role: &Role) {
        let Role { plural, usage, has_usage } = role;
        // RFC 5280 §4.2.1.12: what has no extendedKeyUsage is not restricted.
        let is_meant =
            leaf.extended_key_usage().ok().flatten().is_none_or(|named| named.value.any || has_usage(named.value));
        if !is_meant {
            let text = format!(
                "the certificate is not meant for {plural}: its extendedKeyUsage lacks {usage}; have one issued with it"
            );
            self.add(Fault::KeyUsage, Severity::Error, text);
        }
        // RFC 8446 §4.4.2.2: "If the certificate contains a keyUsage extension, then the digitalSignature bit MUST be set."
        if leaf.key_usage().is_ok_and(|usage| usage.is_some_and(|usage| !usage.value.digital_signature())) {
            let text = "the key of the certificate may not sign: its keyUsage lacks digitalSignature, which TLS 1.3 needs; have one issued with it";
            self.add(Fault::KeyUsage, Severity::Error, text);
        }
        if leaf.is_ca() {
            let text =
                "the certificate is that of an authority, which some refuse in this place; have one issued that is not";
            self.add(Fault::KeyUsage, Severity::Warning, text);
        }
    }

    fn chain(&mut self, chain: &[X509Certificate<'_>]) {
        for (index, (certificate, next)) in chain.iter().zip(chain.iter().skip(1)).enumerate() {
            if certificate.issuer().as_raw() == next.subject().as_raw() && !is_self_issued(certificate) {
                continue;
            }
            let (own, following) = (which(index), which(index + 1));
            let issuer = chain.iter().position(|other| other.subject().as_raw() == certificate.issuer().as_raw());
            let way_out = match issuer.filter(|_| !is_self_issued(certificate)) {
                Some(place) => format!("{} did; put each after the one that it issued", which(place)),
                None => {
                    "put the certificates of the authorities after it, each after the one that it issued, and no others"
                        .to_owned()
                }
            };
            self.add(Fault::Chain, Severity::Warning, format!("{following} did not issue {own}; {way_out}"));
            return;
        }
        let [leaf] = chain else { return };
        if !is_self_issued(leaf) && says_where_its_issuer_is(leaf) {
            let issuer = leaf.issuer();
            let text = format!(
                "the certificate of its issuer ({issuer}) is not in the file, so it leads to no trust anchor unless that issuer is one; append the certificates of the authorities between them"
            );
            self.add(Fault::Chain, Severity::Warning, text);
        }
    }

    /// Judges the names of a leaf, which is given as bytes for webpki, and parsed.
    fn names(&mut self, der: &CertificateDer<'_>, leaf: &X509Certificate<'_>, hosts: &[&str], behind_proxy: bool) {
        let severity = if behind_proxy { Severity::Warning } else { Severity::Error };
        if !leaf.subject_alternative_name().is_ok_and(|names| names.is_some()) {
            let text = "the certificate has no subjectAltName, and clients do not look at its common name (RFC 9525 §2); have one issued with the host in subjectAltName";
            self.add(Fault::Name, severity, text);
            return;
        }
        let Ok(certificate) = EndEntityCert::try_from(der) else { return };
        let is_covered = |host: &&str| {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            ServerName::try_from(host).is_ok_and(|name| certificate.verify_is_valid_for_subject_name(&name).is_ok())
        };
        for host in hosts.iter().filter(|host| !is_covered(host)) {
            let names = certificate.valid_dns_names().collect::<Vec<_>>().join(", ");
            let names = if names.is_empty() { "no DNS name".to_owned() } else { names };
            let text = format!(
                "the certificate has no name that covers the origin's host `{host}`, but {names}; have one issued for it, or correct `origins`"
            );
            self.add(Fault::Name, severity, text);
        }
    }
}

impl Holder {
    fn of(certificate: &X509Certificate<'_>) -> Self {
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(name_of);
        Self {
            subject: distinguished_name(certificate.subject()),
            names: names.take(NAMES).collect(),
            not_after: certificate.validity().not_after.into(),
        }
    }
}

/// A name of a subjectAltName that clients or servers are known by (RFC 5280 §4.2.1.6).
fn name_of(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
            v4.or(v6).ok().map(|address| address.to_string())
        }
        GeneralName::OtherName(..)
        | GeneralName::RFC822Name(_)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::RegisteredID(_) => None,
    }
}

impl Validity {
    fn problem(&self, now: UnixTime) -> Option<Problem> {
        let Self { which, from, until, severity, is_anchor } = self;
        let (since, end) = (rfc3339_second(UnixTime(*from)), rfc3339_second(UnixTime(*until)));
        let still =
            if *is_anchor { ", and still counts as a trust anchor, whose validity is not looked at" } else { "" };
        let (fault, severity, text) = if *until < now.0 {
            (Fault::Expired, *severity, format!("{which} expired at {end}{still}; replace it"))
        } else if *from > now.0 {
            let text = format!("{which} is not valid before {since}{still}; replace it, or correct the clock");
            (Fault::NotYetValid, *severity, text)
        } else if until.saturating_sub(now.0) < SOON {
            let days = until.saturating_sub(now.0) / DAY;
            (Fault::ExpiresSoon, Severity::Warning, format!("{which} expires in {days} days, at {end}; renew it"))
        } else {
            return None;
        };
        Some(Problem { fault, severity, text })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn which(index: usize) -> String {
    format!("certificate {}", index + 1)
}

fn is_self_issued(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().as_raw() == certificate.issuer().as_raw()
}

/// Whether it has the address of its issuer's certificate (RFC 5280 §4.2.2.1), as those of intermediate authorities have.
fn says_where_its_issuer_is(certificate: &X509Certificate<'_>) -> bool {
    certificate.extensions().iter().any(|extension| {
        let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() else { return false };
        access.accessdescs.iter().any(|entry| entry.access_method.to_id_string() == CA_ISSUERS)
    })
}

/// Why no TLS peer accepts a key, if none does.
fn weakness(key: &SubjectPublicKeyInfo<'_>) -> Option<String> {
    if let Ok(PublicKey::RSA(key)) = key.parsed() {
        let zeros = key.modulus.iter().take_while(|byte| **byte == 0).count();
        let first = key.modulus.get(zeros).map_or(8, |byte| byte.leading_zeros());
        let bits = ((key.modulus.len() - zeros) * 8).saturating_sub(first.try_into().unwrap_or_default());
        return (bits < 2048).then(|| format!("an RSA key of {bits} bits, which is refused below 2048"));
    }
    match key.algorithm.algorithm.to_id_string().as_str() {
        ED25519 => None,
        EC_PUBLIC_KEY => {
            let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
            let curve = curve.map(|curve| curve.to_id_string()).unwrap_or_default();
            (![P_256, P_384, P_521].contains(&curve.as_str()))
                .then(|| format!("a key on the curve {curve}, and TLS has P-256, P-384 and P-521"))
        }
        other => Some(format!("a key of the algorithm {other}, and TLS has RSA, ECDSA and Ed25519")),
    }
}

/// What a peer in TLS has a certificate for.
struct Role {
    plural: &'static str,
    /// The name of its extended key usage.
    usage: &'static str,
    has_usage: fn(&ExtendedKeyUsage<'_>) -> bool,
}

const SERVER: Role = Role { plural: "servers", usage: "serverAuth", has_usage: |usage| usage.server_auth };
const CLIENT: Role = Role { plural: "clients", usage: "clientAuth", has_usage: |usage| usage.client_auth };

/// id-ad-caIssuers (RFC 5280 §4.2.2.1).
const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";

/// Keys and curves (RFC 5480 §2.1, RFC 8410 §3).
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const P_256: &str = "1.2.840.10045.3.1.7";
const P_384: &str = "1.3.132.0.34";
const P_521: &str = "1.3.132.0.35";
const ED25519: &str = "1.3.101.112";

/// Signature algorithms with digests for which two texts with the same digest can be made.
const WEAK_SIGNATURES: [(&str, &str); 5] = [
    ("1.2.840.113549.1.1.2", "MD2"),
    ("1.2.840.113549.1.1.4", "MD5"),
    ("1.2.840.113549.1.1.5", "SHA-1"),
    ("1.2.840.10045.4.1", "SHA-1"),
    ("1.2.840.10040.4.3", "SHA-1"),
];

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType,
        ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, date_time_ymd,
    };

    use super::*;

    const FOR_HOST: Purpose<'_> = Purpose::Server { hosts: &["api.bank.example"], behind_proxy: false };

    /// 2027-01-15.
    const NOW: UnixTime = UnixTime(1_800_000_000);

    #[test]
    fn a_time_is_written_as_in_the_log() {
        assert_eq!(rfc3339_second(UnixTime(1_700_000_001)), "2023-11-14T22:13:21Z");
        assert_eq!(rfc3339_second(UnixTime(253_402_300_799)), "9999-12-31T23:59:59Z");
    }

    fn params(names: &[&str]) -> CertificateParams {
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params
    }

    fn authority(name: &str, key: KeyPair) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, key).unwrap()
    }

    fn issued(params: &CertificateParams) -> CertificateDer<'static> {
        let authority = authority("CA", KeyPair::generate().unwrap());
        params.signed_by(&KeyPair::generate().unwrap(), &authority).unwrap().into()
    }

    fn found(chain: &[CertificateDer<'_>], purpose: Purpose<'_>) -> Vec<(Fault, Severity)> {
        let problems = Judgement::of(chain, purpose).problems(NOW);
        problems.iter().map(|problem| (problem.fault, problem.severity)).collect()
    }

    #[test]
    fn a_certificate_is_shown_by_its_subject_its_names_and_its_end() {
        let shown = |names: &[&str]| {
            let mut params = params(names);
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, "Bank, <API>");
            params.not_after = date_time_ymd(2027, 1, 15);
            Judgement::of(&[issued(&params)], Purpose::Client).holders().to_vec()
        };
        let holder = Holder {
            subject: "CN=Bank\\, \\<API\\>".to_owned(),
            names: ["api.bank.example", "192.0.2.1", "2001:db8::1"].map(str::to_owned).to_vec(),
            not_after: UnixTime(1_799_971_200),
        };
        assert_eq!(shown(&["api.bank.example", "192.0.2.1", "2001:db8::1"]), [holder]);
        let many: Vec<String> = (0..NAMES + 5).map(|number| format!("{number}.bank.example")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(shown(&many)[0].names.len(), NAMES);
    }

    #[test]
    fn what_everybody_refuses_is_an_error() {
        let good = params(&["api.bank.example"]);
        assert_eq!(found(&[issued(&good)], FOR_HOST), [], "control");
        let with = |adjust: &dyn Fn(&mut CertificateParams)| {
            let mut params = params(&["api.bank.example"]);
            adjust(&mut params);
            found(&[issued(&params)], FOR_HOST)
        };
        assert_eq!(with(&|params| params.not_after = date_time_ymd(2027, 1, 14)), [(Fault::Expired, Severity::Error)]);
        assert_eq!(
            with(&|params| params.not_before = date_time_ymd(2027, 1, 16)),
            [(Fault::NotYetValid, Severity::Error)]
        );
        assert_eq!(with(&|params| params.subject_alt_names.clear()), [(Fault::Name, Severity::Error)]);
        let usage = [(Fault::KeyUsage, Severity::Error)];
        assert_eq!(with(&|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]), usage);
        assert_eq!(with(&|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]), usage);
        let absent = with(&|params| (params.extended_key_usages, params.key_usages) = (Vec::new(), Vec::new()));
        assert_eq!(absent, [], "what is absent is not restricted");
    }

    #[test]
    fn what_soon_will_be_refused_is_a_warning() {
        for (day, wanted) in [(28, vec![(Fault::ExpiresSoon, Severity::Warning)]), (30, vec![])] {
            let mut params = params(&["api.bank.example"]);
            params.not_after = date_time_ymd(2027, 1, day);
            assert_eq!(found(&[issued(&params)], FOR_HOST), wanted, "{day}");
        }
    }

    #[test]
    fn names_cover_origins_as_clients_compare_them() {
        for (names, host, covered) in [
            (&["api.bank.example"][..], "api.bank.example", true),
            (&["other.example", "api.bank.example"], "api.bank.example", true),
            (&["*.bank.example"], "api.bank.example", true),
            (&["*.bank.example"], "v1.api.bank.example", false),
            (&["bank.example"], "api.bank.example", false),
            (&["127.0.0.1"], "127.0.0.1", true),
            (&["127.0.0.1"], "127.0.0.2", false),
            (&["::1"], "[::1]", true),
        ] {
            let chain = [issued(&params(names))];
            let hosts = [host];
            let purpose = |behind_proxy| Purpose::Server { hosts: &hosts, behind_proxy };
            let wanted = |severity| if covered { vec![] } else { vec![(Fault::Name, severity)] };
            let seen = Judgement::of(&chain, purpose(false)).problems(NOW);
            assert_eq!(found(&chain, purpose(false)), wanted(Severity::Error), "{names:?}, {host}: {seen:?}");
            assert_eq!(found(&chain, purpose(true)), wanted(Severity::Warning), "{names:?}, {host}");
        }
    }

    #[test]
    fn a_client_needs_another_usage_and_no_name() {
        let mut params = params(&[]);
        assert_eq!(found(&[issued(&params)], Purpose::Client), [(Fault::KeyUsage, Severity::Error)]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        assert_eq!(found(&[issued(&params)], Purpose::Client), [], "control");
    }

    #[test]
    fn a_chain_is_in_order_and_complete() {
        let root = authority("root", KeyPair::generate().unwrap());
        let mut middle = CertificateParams::default();
        middle.distinguished_name = DistinguishedName::new();
        middle.distinguished_name.push(DnType::CommonName, "middle");
        middle.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let middle = CertifiedIssuer::signed_by(middle, KeyPair::generate().unwrap(), &root).unwrap();
        let mut params = params(&["api.bank.example"]);
        let leaf = |params: &CertificateParams| -> CertificateDer<'static> {
            params.signed_by(&KeyPair::generate().unwrap(), &middle).unwrap().into()
        };
        let (own, middle_der, root_der) = (leaf(&params), middle.der().clone(), root.der().clone());
        let wrong = vec![(Fault::Chain, Severity::Warning)];
        for (chain, wanted) in [
            (vec![own.clone(), middle_der.clone()], vec![]),
            (vec![own.clone(), middle_der.clone(), root_der.clone()], vec![]),
            (vec![own.clone(), root_der.clone(), middle_der.clone()], wrong.clone()),
            (vec![own.clone(), root_der], wrong.clone()),
            (vec![own.clone(), own.clone()], wrong.clone()),
            (vec![own], vec![]),
        ] {
            assert_eq!(found(&chain, FOR_HOST), wanted, "{} certificates", chain.len());
        }
        // RFC 5280 §4.2.2.1: SEQUENCE { SEQUENCE { id-ad-caIssuers, [6] "http://a" } }
        let access = [&[0x30, 0x16, 0x30, 0x14, 0x06, 0x08, 0x2b, 6, 1, 5, 5, 7, 0x30, 2, 0x86, 8][..], b"http://a"];
        let access = CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access.concat());
        params.custom_extensions.push(access);
        assert_eq!(found(&[leaf(&params)], FOR_HOST), wrong, "its issuer can be fetched, so it is no root");
        assert_eq!(found(&[leaf(&params), middle_der], FOR_HOST), [], "control");
    }

    #[test]
    fn weak_keys_and_digests_are_errors() {
        for (pem, wanted) in [
            (&include_bytes!("../tests/certificates/rsa-1024.pem")[..], "an RSA key of 1024 bits"),
            (&include_bytes!("../tests/certificates/secp256k1.pem")[..], "a key on the curve 1.3.132.0.10"),
        ] {
            use rustls::pki_types::pem::PemObject;
            let anchor = CertificateDer::from_pem_slice(pem).unwrap();
            let problems = Judgement::of(&[anchor], Purpose::Anchor).problems(NOW);
            assert_eq!((problems.len(), problems[0].fault, problems[0].severity), (1, Fault::WeakKey, Severity::Error));
            assert!(problems[0].text.contains(wanted), "{problems:?}");
        }
        let authority = authority("CA", KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap());
        let leaf = params(&["api.bank.example"]).signed_by(&KeyPair::generate().unwrap(), &authority).unwrap();
        assert_eq!(found(&[leaf.der().clone()], FOR_HOST), [], "control");
        assert_eq!(found(&[sha1(leaf.der())], FOR_HOST), [(Fault::WeakSignature, Severity::Error)]);
        assert_eq!(found(&[sha1(leaf.der())], Purpose::Anchor), [], "nobody looks at the signature of an anchor");
    }

    /// The certificate with sha1WithRSAEncryption in place of sha256WithRSAEncryption.
    fn sha1(der: &[u8]) -> CertificateDer<'static> {
        let sha256 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0b];
        let mut der = der.to_vec();
        for place in 0..der.len() - sha256.len() {
            if der[place..].starts_with(&sha256) {
                der[place + 8] = 5;
            }
        }
        der.into()
    }

    #[test]
    fn an_anchor_that_has_expired_still_counts() {
        let mut expired = CertificateParams::default();
        expired.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        expired.not_after = date_time_ymd(2027, 1, 14);
        let expired = CertifiedIssuer::self_signed(expired, KeyPair::generate().unwrap()).unwrap();
        assert_eq!(found(&[expired.der().clone()], Purpose::Anchor), [(Fault::Expired, Severity::Warning)]);
        assert_eq!(
            found(&[authority("CA", KeyPair::generate().unwrap()).der().clone()], Purpose::Anchor),
            [],
            "control"
        );
    }

    #[test]
    fn no_certificate_is_too_odd_to_be_judged() {
        let purposes = [FOR_HOST, Purpose::Client, Purpose::Anchor];
        let other = issued(&params(&["a"]));
        let judge = |der: Vec<u8>| -> usize {
            let chain = [CertificateDer::from(der), other.clone()];
            let judged = purposes.map(|purpose| Judgement::of(&chain, purpose));
            judged
                .iter()
                .map(|judgement| judgement.problems(NOW).len() + judgement.problems(UnixTime(u64::MAX)).len())
                .sum()
        };
        let mut params = params(&["api.bank.example", "127.0.0.1"]);
        params.not_after = date_time_ymd(2027, 1, 14);
        let good = issued(&params).to_vec();
        assert!(judge(good.clone()) > 0, "control: it is read, and is expired");
        let (mut read, mut least) = (0, usize::MAX);
        for place in 0..good.len() {
            for bits in [0x01, 0x80, 0xff] {
                let mut odd = good.clone();
                odd[place] ^= bits;
                let found = judge(odd);
                (read, least) = (read + usize::from(found > 0), least.min(found));
            }
        }
        assert!(read > 100 && least == 0, "{read} were read, and some were not");
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let files = ["certificate", "chain"].map(|name| std::fs::read_dir(corpus.join(name)).expect("the corpus"));
        for entry in files.into_iter().flatten() {
            let _ = judge(std::fs::read(entry.expect("a file").path()).expect("a file"));
        }
    }
}
