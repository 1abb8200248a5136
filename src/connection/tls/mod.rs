//! The listener's TLS: one `rustls::ServerConfig` of our own for each listener, and the facts of each connection.
//!
//! TLS 1.3 and 1.2, for 1.2 only the four ECDHE AES-GCM suites of BCP 195 (FAPI 2.0 §5.2.2); no resumption, since a resumed
//! handshake never asks the verifier about the certificate again.

mod client_certificates;
mod forwarded;
mod hello;
mod revocation_list;

use std::sync::Arc;

use fapi::UnixTime;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::time_provider::TimeProvider;
use rustls::{RootCertStore, ServerConfig};

use self::client_certificates::Verifier;
use self::revocation_list::tls_time;

pub use forwarded::ForwardedRule;
pub use hello::{Hello, HelloError, read_hello, refuse_name};
pub use revocation_list::{RevocationList, UnusableList};

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
        /// The anchors; at least one.
        anchors: Arc<RootCertStore>,
        /// What the certificate must be meant for.
        extended_key_usage: ExtendedKeyUsage,
        /// The revocation lists; none means that revocation is not looked at. With any, a certificate of which none tells
        /// is refused.
        revocation_lists: Vec<RevocationList>,
        /// What becomes of certificates whose revocation list is past its `nextUpdate`.
        on_expired: OnExpired,
    },
    /// Possession of the key alone (RFC 8705 §6.2): any readable certificate, self-signed or not.
    Possession,
}

/// What a client certificate must be meant for (RFC 5280 §4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtendedKeyUsage {
    /// It says that it is for TLS clients.
    ClientAuth,
    /// It says so, or says nothing of extended key usage.
    ClientAuthOrAbsent,
    /// Whatever it says.
    Any,
}

/// What becomes of certificates whose revocation list is past its `nextUpdate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExpired {
    /// They are refused.
    Refuse,
    /// The list counts as it is: what it names is refused, and nothing else.
    Accept,
}

/// Why a listener's TLS cannot be set up: rustls refused certificate, key or versions.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct TlsError(#[from] pub rustls::Error);

/// What a listener shows, asks and believes at one time; replaced as a whole by a reload.
pub struct InForce {
    /// What handshakes are made with.
    pub config: Arc<ServerConfig>,
    verifier: Option<Arc<Verifier>>,
}

impl InForce {
    /// Whether it asks clients for certificates.
    pub const fn asks_for_certificates(&self) -> bool {
        self.verifier.is_some()
    }

    /// Whether a certificate that it lets in leads to a trust anchor.
    pub fn verifies_chains(&self) -> bool {
        self.verifier.as_ref().is_some_and(|verifier| verifier.verifies_chains())
    }

    /// How a handshake would judge a client with this chain, leaf first; it is empty for a client that shows none.
    pub fn admits(&self, chain: &[CertificateDer<'static>], now: UnixTime) -> Admission {
        let Some(verifier) = &self.verifier else { return Admission::Anonymous };
        if let Some((leaf, intermediates)) = chain.split_first()
            && verifier.verify(leaf, intermediates, tls_time(now)).is_ok()
        {
            return Admission::Trusted { until: self.holds_until(chain, now) };
        }
        match verifier.demand() {
            Demand::Optional => Admission::Anonymous,
            Demand::Required => Admission::Refused,
        }
    }

    /// The authorities that lead from a certificate of this chain's leaf to a trust anchor, the leaf's first; none if nothing
    /// does, or nobody asks.
    pub fn path(&self, chain: &[CertificateDer<'static>], now: UnixTime) -> Vec<CertificateDer<'static>> {
        let (Some(verifier), Some((leaf, intermediates))) = (&self.verifier, chain.split_first()) else {
            return Vec::new();
        };
        verifier.verify(leaf, intermediates, tls_time(now)).unwrap_or_default()
    }

    /// Until when a chain that was found good at `now` need not be looked at again.
    pub fn holds_until(&self, chain: &[CertificateDer<'static>], now: UnixTime) -> UnixTime {
        self.verifier.as_ref().map_or(UnixTime(u64::MAX), |verifier| verifier.holds_until(chain, now))
    }
}

/// How a handshake would judge a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Its certificate is good, and stays so until then unless something here changes.
    Trusted {
        /// The first second in which that has to be asked again.
        until: UnixTime,
    },
    /// It has no certificate that counts, and needs none.
    Anonymous,
    /// It has no certificate that counts, and needs one.
    Refused,
}

impl Settings {
    /// The listener's TLS, by this clock.
    ///
    /// # Errors
    /// [`TlsError`] when key and certificate do not fit.
    pub fn in_force(&self, clock: Arc<dyn TimeProvider>) -> Result<InForce, TlsError> {
        let provider = Arc::new(provider());
        let verifier = match &self.client_certificates {
            ClientCertificates::None => None,
            ClientCertificates::Requested { demand, trust } => {
                Some(Arc::new(Verifier::new(*demand, trust, provider.signature_verification_algorithms)))
            }
        };
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let builder = ServerConfig::builder_with_details(provider, clock).with_protocol_versions(&versions)?;
        let builder = match &verifier {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
        };
        let mut config = builder.with_single_cert(self.certificate_chain.clone(), self.private_key.clone_key())?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        Ok(InForce { config: Arc::new(config), verifier })
    }
}
