//! TLS of the listeners: one `rustls::ServerConfig` for each virtual host, and how it judges client certificates.
//!
//! TLS 1.3 and 1.2, for 1.2 only the four ECDHE AES-GCM suites of BCP 195 (FAPI 2.0 §5.2.2), or the two of them that FAPI
//! 1.0 Advanced §8.5 allows. There is no session resumption, since a resumed handshake does not verify the certificate again.

mod client_certificates;
mod failure;
mod forwarded;
mod hello;
mod path_validation;
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

pub(super) use failure::noting;
pub use failure::{Attempt, Reason};
pub use forwarded::ForwardedRule;
pub use hello::{Hello, HelloError, read_hello, refuse_name};
pub use path_validation::{
    MessageCertificates, has_unsupported_constraints, path_anchor, trust_anchor, unused_extensions,
};
pub use revocation_list::{RevocationList, UnusableList};

/// Returns the cipher suites and groups that every TLS connection of this process may use, as client or server.
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

/// Installs [`provider`] as the default of the whole process, before any library can install another.
///
/// # Errors
/// [`OtherProvider`] if a provider with other cipher suites is already installed: those would be used.
pub fn install_provider() -> Result<(), OtherProvider> {
    let ours = provider();
    let suites = ours.cipher_suites.clone();
    // Losing a race against another call of this function is not an error; only the installed provider matters.
    let _ = ours.install_default();
    match CryptoProvider::get_default() {
        Some(installed) if installed.cipher_suites == suites => Ok(()),
        Some(_) | None => Err(OtherProvider),
    }
}

/// Another TLS provider is already installed in this process.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("another TLS provider is already installed, so its cipher suites would be used instead of the gateway's")]
pub struct OtherProvider;

/// What a listener presents and requests in the handshake.
pub struct Settings {
    /// Its certificate chain, leaf first.
    pub certificate_chain: Vec<CertificateDer<'static>>,
    /// The private key of the leaf.
    pub private_key: PrivateKeyDer<'static>,
    /// What it requests of clients.
    pub client_certificates: ClientCertificates,
    /// The application protocols that it speaks, by preference (ALPN, RFC 7301).
    pub protocols: &'static [&'static [u8]],
    /// The cipher suites that it has for TLS 1.2.
    pub suites: Suites,
}

/// The cipher suites of a listener for TLS 1.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Suites {
    /// The four of BCP 195 (FAPI 2.0 §5.2.2).
    #[default]
    Bcp195,
    /// Those of them that FAPI 1.0 Advanced §8.5 has too: the two for RSA certificates.
    Fapi1,
}

impl Suites {
    /// The provider of a listener.
    fn provider(self) -> CryptoProvider {
        let mut provider = provider();
        if self == Self::Fapi1 {
            use aws_lc_rs::cipher_suite as suite;
            let refused =
                [suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384];
            provider.cipher_suites.retain(|suite| !refused.contains(suite));
        }
        provider
    }
}

/// What a listener requests of clients.
pub enum ClientCertificates {
    /// No certificate is requested.
    None,
    /// A certificate is requested.
    Requested {
        /// Whether a client without one is accepted.
        demand: Demand,
        /// What makes one acceptable.
        trust: Trust,
    },
}

impl ClientCertificates {
    /// Whether a certificate is requested.
    pub const fn are_requested(&self) -> bool {
        !matches!(self, Self::None)
    }
}

/// Whether a client must present a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// It may connect without one; tokens that are bound to a certificate are then refused.
    Optional,
    /// The handshake fails without one.
    Required,
}

/// What makes a client certificate acceptable.
pub enum Trust {
    /// A chain to one of these trust anchors, without a certificate on one of these revocation lists (RFC 5280 §6).
    Chain {
        /// The trust anchors; at least one.
        anchors: Arc<RootCertStore>,
        /// What the certificate must be issued for.
        extended_key_usage: ExtendedKeyUsage,
        /// The revocation lists. If there are none, revocation is not checked; otherwise, a certificate that no list
        /// covers is refused.
        revocation_lists: Vec<RevocationList>,
        /// What happens to certificates whose revocation list is past its `nextUpdate`.
        on_expired: OnExpired,
    },
    /// Possession of the key alone (RFC 8705 §6.2): any readable certificate, self-signed or not.
    Possession,
}

/// What a client certificate must be issued for, by its extended key usage (RFC 5280 §4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtendedKeyUsage {
    /// TLS client authentication.
    ClientAuth,
    /// TLS client authentication, or the extension is absent.
    ClientAuthOrAbsent,
    /// Anything.
    Any,
}

/// What happens to certificates whose revocation list is past its `nextUpdate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExpired {
    /// They are refused.
    Refuse,
    /// The list still applies: the certificates on it are refused, and no others.
    Accept,
}

/// Why a listener's TLS cannot be set up: rustls refused the certificate, the key or the versions.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct TlsError(#[from] pub rustls::Error);

/// What a listener currently presents, requests and trusts; a reload replaces it as a whole.
pub struct InForce {
    /// The configuration of its handshakes.
    pub config: Arc<ServerConfig>,
    verifier: Option<Arc<Verifier>>,
}

impl InForce {
    /// Whether it requests certificates from clients.
    pub const fn asks_for_certificates(&self) -> bool {
        self.verifier.is_some()
    }

    /// Whether an accepted certificate leads to a trust anchor.
    pub fn verifies_chains(&self) -> bool {
        self.verifier.as_ref().is_some_and(|verifier| verifier.verifies_chains())
    }

    /// Returns how a handshake would judge a client with this chain, leaf first; empty for a client without a
    /// certificate.
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

    /// Judges a client with this chain, leaf first, as a handshake would.
    ///
    /// # Errors
    /// The [`Reason`] for which the handshake fails, and what the `detail` of the audit says of it.
    pub fn judge(&self, chain: &[CertificateDer<'static>], now: UnixTime) -> Result<(), (Reason, String)> {
        let Some(verifier) = &self.verifier else { return Ok(()) };
        let judged = match (chain.split_first(), verifier.demand()) {
            (Some((leaf, intermediates)), _) => {
                verifier.verify(leaf, intermediates, tls_time(now)).map(|_| ()).map_err(rustls::Error::from)
            }
            (None, Demand::Required) => Err(rustls::Error::NoCertificatesPresented),
            (None, Demand::Optional) => Ok(()),
        };
        judged.map_err(|error| (Reason::of(&error), error.to_string()))
    }

    /// Returns the authorities that lead from the leaf of this chain to a trust anchor, the issuer of the leaf first;
    /// empty if there is no such path, or if no certificate is requested.
    pub fn path(&self, chain: &[CertificateDer<'static>], now: UnixTime) -> Vec<CertificateDer<'static>> {
        let (Some(verifier), Some((leaf, intermediates))) = (&self.verifier, chain.split_first()) else {
            return Vec::new();
        };
        verifier.verify(leaf, intermediates, tls_time(now)).unwrap_or_default()
    }

    /// Returns until when a chain that was accepted at `now` need not be verified again.
    pub fn holds_until(&self, chain: &[CertificateDer<'static>], now: UnixTime) -> UnixTime {
        self.verifier.as_ref().map_or(UnixTime(u64::MAX), |verifier| verifier.holds_until(chain, now))
    }
}

/// How a handshake would judge a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Its certificate is acceptable, and remains so until then unless the configuration changes.
    Trusted {
        /// The first second in which the certificate must be verified again.
        until: UnixTime,
    },
    /// It has no acceptable certificate, and needs none.
    Anonymous,
    /// It has no acceptable certificate, and needs one.
    Refused,
}

impl Settings {
    /// Sets up the listener's TLS, which takes the time from `clock`.
    ///
    /// # Errors
    /// [`TlsError`] if the key does not match the certificate.
    pub fn in_force(&self, clock: Arc<dyn TimeProvider>) -> Result<InForce, TlsError> {
        let provider = Arc::new(self.suites.provider());
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
        config.alpn_protocols = self.protocols.iter().map(|name| name.to_vec()).collect();
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        Ok(InForce { config: Arc::new(config), verifier })
    }
}

#[cfg(test)]
mod tests {
    use rustls::CipherSuite;

    use super::*;

    #[test]
    fn f1_adv_03_fapi_1_leaves_the_two_suites_for_rsa_certificates() {
        let of_tls12 = |suites: Suites| {
            let provider = suites.provider();
            let suites = provider.cipher_suites.iter().filter(|suite| suite.tls13().is_none());
            suites.map(|suite| suite.suite()).collect::<Vec<_>>()
        };
        let both =
            [CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384];
        assert_eq!(of_tls12(Suites::Fapi1), both);
        let usual = of_tls12(Suites::Bcp195);
        assert!(usual.len() == 4 && both.iter().all(|suite| usual.contains(suite)), "control: {usual:?}");
        assert_eq!(
            Suites::Fapi1.provider().cipher_suites.len(),
            provider().cipher_suites.len() - 2,
            "those of TLS 1.3 stay"
        );
    }
}
