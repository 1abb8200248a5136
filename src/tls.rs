//! The listener's TLS: one `rustls::ServerConfig` of our own for each listener, and the facts of each connection.
//!
//! TLS 1.3 and 1.2, for 1.2 only the four ECDHE AES-GCM suites of BCP 195 (FAPI 2.0 §5.2.2); no resumption, since a resumed
//! handshake never asks the verifier about the certificate again.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime as TlsTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};

use crate::fapi::UnixTime;
use crate::fapi::peer::ClientCertificate;

/// The suites and groups that every TLS connection of this process may use, client or server.
pub fn provider() -> CryptoProvider {
    use aws_lc_rs::cipher_suite as suite;
    CryptoProvider {
        cipher_suites: vec![
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS13_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ],
        ..aws_lc_rs::default_provider()
    }
}

/// Makes [`provider`] the one in force for the whole process, before any library can choose another.
///
/// # Errors
/// [`OtherProvider`] if one was installed before that is not ours: its suites would be in force.
pub fn install_provider() -> Result<(), OtherProvider> {
    let ours = provider();
    let suites = ours.cipher_suites.clone();
    // Losing the race to another call of ours is no fault; what counts is which provider is in force afterwards.
    let _ = ours.install_default();
    match CryptoProvider::get_default() {
        Some(installed) if installed.cipher_suites == suites => Ok(()),
        Some(_) | None => Err(OtherProvider),
    }
}

/// Another TLS provider than ours is in force in this process.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("another TLS provider was installed before the gateway's, so its cipher suites would be in force")]
pub struct OtherProvider;

/// What a listener shows and asks in the handshake.
pub struct Settings {
    /// Its certificate chain, leaf first.
    pub certificate_chain: Vec<CertificateDer<'static>>,
    /// The key of the leaf.
    pub private_key: PrivateKeyDer<'static>,
    /// What it asks of clients.
    pub client_certificates: ClientCertificates,
}

/// What a listener asks of clients.
pub enum ClientCertificates {
    /// No certificate is asked for.
    None,
    /// One is asked for.
    Requested {
        /// Whether a client without one is let in.
        demand: Demand,
        /// What makes one acceptable.
        trust: Trust,
    },
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// It may come without; bound tokens are then refused.
    Optional,
    /// The handshake fails without.
    Required,
}

/// What makes a client certificate acceptable.
pub enum Trust {
    /// A chain to one of these anchors, and on none of these revocation lists (RFC 5280 §6).
    Chain {
        /// The anchors.
        anchors: Arc<RootCertStore>,
        /// The revocation lists; none means that revocation is not looked at.
        revocation_lists: Vec<CertificateRevocationListDer<'static>>,
    },
    /// Possession of the key alone (RFC 8705 §6.2): any readable certificate, self-signed or not.
    Possession,
}

/// Why a listener's TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// rustls refused certificate, key or versions.
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
    /// The client verifier could not be made.
    #[error("{0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// What a listener shows, asks and believes at one time; replaced as a whole by a reload.
pub struct InForce {
    /// What handshakes are made with.
    pub config: Arc<ServerConfig>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    chains: bool,
    generation: u64,
}

impl InForce {
    /// Whether it asks clients for certificates.
    pub const fn asks_for_certificates(&self) -> bool {
        self.verifier.is_some()
    }

    /// Whether a certificate that it lets in leads to a trust anchor.
    pub const fn verifies_chains(&self) -> bool {
        self.chains
    }

    /// Tells one state of a listener from the next.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether a client's chain, leaf first, would be let in by a handshake now.
    ///
    /// A connection may outlive what its handshake relied on; this asks again, of what is in force.
    pub fn still_trusts(&self, chain: &[CertificateDer<'static>], now: UnixTime) -> bool {
        let (Some(verifier), Some((leaf, intermediates))) = (&self.verifier, chain.split_first()) else { return false };
        let now = TlsTime::since_unix_epoch(Duration::from_secs(now.0));
        verifier.verify_client_cert(leaf, intermediates, now).is_ok()
    }
}

impl Settings {
    /// The listener's TLS, as the state that follows `generation`.
    ///
    /// # Errors
    /// [`TlsError`] when key and certificate do not fit, or anchors or lists cannot be used.
    pub fn in_force(&self, generation: u64) -> Result<InForce, TlsError> {
        let verifier = self.verifier()?;
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let builder = ServerConfig::builder_with_provider(Arc::new(provider())).with_protocol_versions(&versions)?;
        let builder = match &verifier {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
        };
        let mut config = builder.with_single_cert(self.certificate_chain.clone(), self.private_key.clone_key())?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        let chains =
            matches!(self.client_certificates, ClientCertificates::Requested { trust: Trust::Chain { .. }, .. });
        Ok(InForce { config: Arc::new(config), verifier, chains, generation })
    }

    fn verifier(&self) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        let provider = Arc::new(provider());
        let inner: Arc<dyn ClientCertVerifier> = match &self.client_certificates {
            ClientCertificates::None => return Ok(None),
            ClientCertificates::Requested { demand, trust } => match trust {
                Trust::Chain { anchors, revocation_lists } => {
                    let verifier = WebPkiClientVerifier::builder_with_provider(anchors.clone(), provider)
                        .with_crls(revocation_lists.iter().cloned());
                    match demand {
                        Demand::Optional => verifier.allow_unauthenticated().build()?,
                        Demand::Required => verifier.build()?,
                    }
                }
                Trust::Possession => Arc::new(PossessionVerifier {
                    demand: *demand,
                    algorithms: provider.signature_verification_algorithms,
                }),
            },
        };
        Ok(Some(Arc::new(ReadableVerifier { inner })))
    }
}

/// Refuses certificates that cannot be read, before anything behind the handshake tries to read them.
#[derive(Debug)]
struct ReadableVerifier {
    inner: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for ReadableVerifier {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: TlsTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if intermediates.len() >= MAX_CHAIN {
            return Err(CertificateError::UnknownIssuer.into());
        }
        if ClientCertificate::from_der(end_entity).is_err() {
            return Err(CertificateError::BadEncoding.into());
        }
        self.inner.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The longest chain that is looked at.
const MAX_CHAIN: usize = 10;

/// Takes any certificate whose key signed the handshake (RFC 8705 §6.2); validity counts where a token is bound to it.
#[derive(Debug)]
struct PossessionVerifier {
    demand: Demand,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for PossessionVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.demand == Demand::Required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: TlsTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
