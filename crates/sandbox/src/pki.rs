//! Certificate authorities and certificates that exist only as long as the process.
//!
//! The demo and the tests make every key and certificate when they start, so that none is stored and none expires
//! between runs. Nothing here is fit for certificates in production.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    RevokedCertParams, SerialNumber, SignatureAlgorithm, SigningKey,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::der;
use crate::keys::pem;

/// A certificate authority made at run time, with an ECDSA P-256 key.
///
/// Clones share the key.
///
/// # Panics
/// Its methods panic on names that a certificate cannot contain (not ASCII); names come from the demo and the tests.
#[derive(Clone, Debug)]
pub struct Authority {
    certificate: CertificateDer<'static>,
    /// From this authority up to but excluding the root; empty for a root.
    intermediates: Vec<CertificateDer<'static>>,
    issuer: Arc<Issuer<'static, KeyPair>>,
}

impl Authority {
    /// A root authority, which is its own issuer.
    pub fn new(name: &str) -> Self {
        Self::new_with(name, |_| {})
    }

    /// Like [`Authority::new`], changed by `adjust` before it is signed.
    pub fn new_with(name: &str, adjust: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority_params(name);
        adjust(&mut params);
        let key = generate_key(&PKCS_ECDSA_P256_SHA256);
        let certificate = params.self_signed(&key).expect(SIGNS);
        Self { certificate: certificate.into(), intermediates: Vec::new(), issuer: Arc::new(Issuer::new(params, key)) }
    }

    /// An intermediate authority under this one. Its credentials carry the intermediate certificates in their chain.
    pub fn intermediate(&self, name: &str) -> Self {
        self.intermediate_with(name, |_| {})
    }

    /// Like [`Authority::intermediate`], changed by `adjust` before it is signed.
    pub fn intermediate_with(&self, name: &str, adjust: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority_params(name);
        adjust(&mut params);
        let key = generate_key(&PKCS_ECDSA_P256_SHA256);
        let certificate: CertificateDer<'static> = params.signed_by(&key, &self.issuer).expect(SIGNS).into();
        let mut intermediates = vec![certificate.clone()];
        intermediates.extend(self.intermediates.iter().cloned());
        Self { certificate, intermediates, issuer: Arc::new(Issuer::new(params, key)) }
    }

    /// The authority's own certificate, PEM: a trust anchor.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// Its private key as PEM, PKCS#8, to issue more certificates with other tools.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The authority's own certificate, DER: a trust anchor.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A server certificate for DNS names and IP addresses; the first is also its common name.
    pub fn server(&self, names: &[&str]) -> Credential {
        self.server_with(names, |_| {})
    }

    /// Like [`Authority::server`], changed by `adjust` before it is signed.
    pub fn server_with(&self, names: &[&str], adjust: impl FnOnce(&mut CertificateParams)) -> Credential {
        let mut params = end_entity_params(names.first().unwrap_or(&"server"), ExtendedKeyUsagePurpose::ServerAuth);
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        params.subject_alt_names =
            CertificateParams::new(names).expect("names in the demo and the tests are ASCII").subject_alt_names;
        adjust(&mut params);
        self.issue(params, &PKCS_ECDSA_P256_SHA256)
    }

    /// A client certificate.
    pub fn client(&self, common_name: &str) -> Credential {
        self.client_with(common_name, |_| {})
    }

    /// Like [`Authority::client`], changed by `adjust` before it is signed; see [`expired`].
    pub fn client_with(&self, common_name: &str, adjust: impl FnOnce(&mut CertificateParams)) -> Credential {
        self.client_with_key(common_name, &PKCS_ECDSA_P256_SHA256, adjust)
    }

    /// Like [`Authority::client_with`], with a key for `algorithm`; `&rcgen::PKCS_RSA_SHA256` means RSA with 2048 bits.
    pub fn client_with_key(
        &self,
        common_name: &str,
        algorithm: &'static SignatureAlgorithm,
        adjust: impl FnOnce(&mut CertificateParams),
    ) -> Credential {
        let mut params = end_entity_params(common_name, ExtendedKeyUsagePurpose::ClientAuth);
        adjust(&mut params);
        self.issue(params, algorithm)
    }

    /// A revocation list that names `revoked`, valid from an hour ago for 30 days, DER.
    pub fn revocation_list(&self, revoked: &[&Credential]) -> CertificateRevocationListDer<'static> {
        self.revocation_list_with(revoked, |_| {})
    }

    /// Like [`Authority::revocation_list`], changed by `adjust` before it is signed.
    pub fn revocation_list_with(
        &self,
        revoked: &[&Credential],
        adjust: impl FnOnce(&mut CertificateRevocationListParams),
    ) -> CertificateRevocationListDer<'static> {
        let revocation_time = from_now(-Duration::minutes(30));
        let revoked_certs = revoked.iter().map(|credential| RevokedCertParams {
            serial_number: credential.serial_number.clone(),
            revocation_time,
            reason_code: None,
            invalidity_date: None,
        });
        let mut list = CertificateRevocationListParams {
            this_update: from_now(-Duration::hours(1)),
            next_update: from_now(Duration::days(30)),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        adjust(&mut list);
        list.signed_by(&self.issuer).expect(SIGNS).into()
    }

    /// Like [`Authority::revocation_list`], as PEM.
    pub fn revocation_list_pem(&self, revoked: &[&Credential]) -> String {
        pem("X509 CRL", &self.revocation_list(revoked))
    }

    /// A revocation list of version 1 that names `revoked` (RFC 5280 §5.1.2.1), DER.
    pub fn version_one_list(
        &self,
        revoked: &[&Credential],
        adjust: impl FnOnce(&mut CertificateRevocationListParams),
    ) -> CertificateRevocationListDer<'static> {
        let list = self.revocation_list_with(revoked, adjust);
        let fields = der::signed_fields(&list);
        let plain = fields.iter().filter(|field| !matches!(field.first(), Some(0x02 | 0xa0))).cloned().collect();
        self.sign(plain).into()
    }

    /// The same authority, which writes its own name in another way into what it issues, such as in another string type.
    pub fn spelled(&self, common_name: DnValue) -> Self {
        let mut params = authority_params("");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::try_from(self.issuer.key().serialize_der()).expect("the key was made here");
        Self { issuer: Arc::new(Issuer::new(params, key)), ..self.clone() }
    }

    /// The credential with other fields in its certificate, and signed again: what rcgen does not make. The fields are
    /// those of TBSCertificate (RFC 5280 §4.1), each in DER.
    pub fn reissued(&self, credential: &Credential, adjust: impl FnOnce(&mut Vec<Vec<u8>>)) -> Credential {
        let mut reissued = credential.clone();
        if let Some(leaf) = reissued.chain_der.first_mut() {
            let mut fields = der::signed_fields(leaf);
            adjust(&mut fields);
            *leaf = self.sign(fields).into();
        }
        reissued
    }

    fn sign(&self, fields: Vec<Vec<u8>>) -> Vec<u8> {
        let tbs = der::tlv(0x30, &fields.concat());
        let signature = self.issuer.key().sign(&tbs).expect(SIGNS);
        let algorithm = der::tlv(0x30, &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]); // ecdsa-with-SHA256
        let signature = der::tlv(0x03, &[&[0], &signature[..]].concat());
        der::tlv(0x30, &[tbs, algorithm, signature].concat())
    }

    fn issue(&self, mut params: CertificateParams, algorithm: &'static SignatureAlgorithm) -> Credential {
        params.use_authority_key_identifier_extension = true;
        let key = generate_key(algorithm);
        let certificate = params.signed_by(&key, &self.issuer).expect(SIGNS);
        let mut chain_der = vec![certificate.into()];
        chain_der.extend(self.intermediates.iter().cloned());
        Credential::new(chain_der, &key, params)
    }
}

/// A certificate with its chain and private key. `Debug` does not show the key.
#[derive(Clone)]
pub struct Credential {
    /// The certificate, followed by the intermediate authorities; never the root.
    pub chain_der: Vec<CertificateDer<'static>>,
    /// PKCS#8, DER.
    pub key_pkcs8_der: Vec<u8>,
    serial_number: SerialNumber,
}

impl Credential {
    /// The chain as PEM, in order.
    pub fn certificate_pem(&self) -> String {
        self.chain_der.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect()
    }

    /// The private key as PEM, PKCS#8.
    pub fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.key_pkcs8_der)
    }

    /// The private key in the type that rustls expects.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key_pkcs8_der.clone()).into()
    }

    /// The SHA-256 digest of the DER certificate.
    pub fn thumbprint_sha256(&self) -> [u8; 32] {
        let leaf = self.chain_der.first().expect("a credential is made with its certificate");
        digest(&SHA256, leaf).as_ref().try_into().expect("SHA-256 gives 32 bytes")
    }

    /// The value of the confirmation method `x5t#S256` (RFC 8705 §3.1): base64url without padding.
    pub fn x5t_s256(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.thumbprint_sha256())
    }

    fn new(chain_der: Vec<CertificateDer<'static>>, key: &KeyPair, params: CertificateParams) -> Self {
        let serial_number = params.serial_number.expect("every certificate here is made with a serial number");
        Self { chain_der, key_pkcs8_der: key.serialize_der(), serial_number }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credential").field("x5t#S256", &self.x5t_s256()).finish_non_exhaustive()
    }
}

/// A certificate that is its own issuer, for client authentication as in RFC 8705 §2.2.
pub fn self_signed(common_name: &str) -> Credential {
    let params = end_entity_params(common_name, ExtendedKeyUsagePurpose::ClientAuth);
    let key = generate_key(&PKCS_ECDSA_P256_SHA256);
    let certificate = params.self_signed(&key).expect(SIGNS);
    Credential::new(vec![certificate.into()], &key, params)
}

/// Makes a certificate that expired an hour ago: `authority.client_with("late", pki::expired)`.
pub fn expired(params: &mut CertificateParams) {
    params.not_before = from_now(-Duration::days(30));
    params.not_after = from_now(-Duration::hours(1));
}

/// Makes a certificate that becomes valid in an hour.
pub fn not_yet_valid(params: &mut CertificateParams) {
    params.not_before = from_now(Duration::hours(1));
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = named_params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn end_entity_params(common_name: &str, purpose: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = named_params(common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params
}

fn named_params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.serial_number = Some(serial_number());
    params.not_before = from_now(-Duration::hours(1));
    params.not_after = from_now(Duration::days(30));
    params
}

/// A random serial number; RFC 5280 §4.1.2.2: positive, at most 20 octets.
fn serial_number() -> SerialNumber {
    let mut octets = Uuid::new_v4().into_bytes();
    octets[0] = octets[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&octets)
}

fn generate_key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).expect("aws-lc-rs makes keys for every algorithm of rcgen")
}

fn from_now(offset: Duration) -> OffsetDateTime {
    #[allow(clippy::disallowed_methods, reason = "certificates are made for the wall clock that TLS checks")]
    let now = SystemTime::now();
    OffsetDateTime::from(now) + offset
}

const SIGNS: &str = "an authority's key signs what rcgen can encode";

#[cfg(test)]
mod tests {
    use rustls::RootCertStore;
    use rustls::crypto::aws_lc_rs::default_provider;
    use rustls::pki_types::UnixTime;
    use rustls::pki_types::pem::PemObject;
    use rustls::server::WebPkiClientVerifier;
    use rustls::server::danger::ClientCertVerifier;
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

    use super::*;

    fn verifier(
        root: &Authority,
        lists: impl IntoIterator<Item = CertificateRevocationListDer<'static>>,
    ) -> Arc<dyn ClientCertVerifier> {
        let mut roots = RootCertStore::empty();
        roots.add(root.der().clone()).unwrap();
        WebPkiClientVerifier::builder_with_provider(roots.into(), default_provider().into())
            .with_crls(lists)
            .build()
            .unwrap()
    }

    fn accepts(verifier: &dyn ClientCertVerifier, credential: &Credential) -> bool {
        let (leaf, intermediates) = credential.chain_der.split_first().unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            from_now(Duration::ZERO).unix_timestamp().try_into().unwrap(),
        ));
        verifier.verify_client_cert(leaf, intermediates, now).is_ok()
    }

    #[test]
    fn client_certificates_verify_against_their_authority_only() {
        let authority = Authority::new("ours");
        let verifier = verifier(&authority, []);
        assert!(accepts(&*verifier, &authority.client("client")));
        assert!(accepts(&*verifier, &authority.intermediate("below").intermediate("lower").client("client")));
        assert!(accepts(&*verifier, &authority.client_with_key("client", &rcgen::PKCS_RSA_SHA256, |_| {})));

        assert!(!accepts(&*verifier, &Authority::new("ours").client("client")));
        assert!(!accepts(&*verifier, &self_signed("client")));
        assert!(!accepts(&*verifier, &authority.server(&["localhost"])));
        assert!(!accepts(&*verifier, &authority.client_with("client", expired)));
        assert!(!accepts(&*verifier, &authority.client_with("client", not_yet_valid)));
    }

    #[test]
    fn revocation_list_names_the_revoked_and_no_other() {
        let authority = Authority::new("ours");
        let (kept, revoked) = (authority.client("kept"), authority.client("revoked"));
        let verifier = verifier(&authority, [authority.revocation_list(&[&revoked])]);
        assert!(accepts(&*verifier, &kept));
        assert!(!accepts(&*verifier, &revoked));
        let text = authority.revocation_list_pem(&[&revoked]);
        assert!(CertificateRevocationListDer::from_pem_slice(text.as_bytes()).is_ok());
    }

    #[test]
    fn server_certificate_carries_names_and_addresses() {
        let credential = Authority::new("ours").server(&["localhost", "127.0.0.1"]);
        let (_, certificate) = X509Certificate::from_der(&credential.chain_der[0]).unwrap();
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert_eq!(
            names.value.general_names,
            [GeneralName::DNSName("localhost"), GeneralName::IPAddress(&[127, 0, 0, 1])]
        );
    }

    #[test]
    fn pem_reads_back_as_the_same_der() {
        let credential = Authority::new("ours").intermediate("below").client("client");
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(credential.certificate_pem().as_bytes()).collect();
        assert_eq!(chain.unwrap(), credential.chain_der);
        let key = PrivateKeyDer::from_pem_slice(credential.key_pem().as_bytes()).unwrap();
        assert_eq!(key.secret_der(), credential.key_pkcs8_der);
    }

    #[test]
    fn thumbprint_is_the_digest_of_the_leaf() {
        let credential = Authority::new("ours").client("client");
        let expected = digest(&SHA256, &credential.chain_der[0]);
        assert_eq!(credential.thumbprint_sha256(), expected.as_ref());
        assert_eq!(URL_SAFE_NO_PAD.decode(credential.x5t_s256()).unwrap(), expected.as_ref());
        assert_eq!(credential.x5t_s256().len(), 43);
    }

    #[test]
    fn debug_shows_no_key() {
        let credential = Authority::new("ours").client("client");
        assert_eq!(format!("{credential:?}"), format!("Credential {{ x5t#S256: {:?}, .. }}", credential.x5t_s256()));
    }
}
