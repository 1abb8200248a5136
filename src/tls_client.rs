//! TLS to the servers that the gateway calls by itself: authorization servers and stores.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroize;

/// The certificate authorities that are trusted for calls to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustAnchors {
    /// Those of the system.
    System,
    /// These and no others.
    Given(Vec<CertificateDer<'static>>),
}

/// The certificate that the gateway presents, and its key, which is overwritten in memory when it is dropped.
pub struct Identity {
    /// The certificate chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the leaf.
    pub key: PrivateKeyDer<'static>,
}

impl Drop for Identity {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// Why there is no TLS to a server.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TlsClientError {
    /// No anchor at all: no server could ever be trusted.
    #[error("there are no trust anchors; the system has none, or trust_anchors is empty")]
    NoAnchors,
    /// An anchor that is not a certificate.
    #[error("a trust anchor cannot be used: {0}")]
    Anchor(rustls::Error),
    /// rustls refused its settings.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// The TLS of a client that trusts these anchors, and presents this certificate if it is asked for one; without ALPN.
///
/// # Errors
/// [`TlsClientError`].
pub fn client_config(anchors: &TrustAnchors, identity: Option<&Identity>) -> Result<ClientConfig, TlsClientError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(crate::connection::tls::provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_root_certificates(roots(anchors)?);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { chain, key }) => builder.with_client_auth_cert(chain.clone(), key.clone_key())?,
    };
    // A resumed handshake does not verify the server's certificate again.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The certificates that may lead to a server.
///
/// # Errors
/// [`TlsClientError`] when there is no anchor to trust.
fn roots(anchors: &TrustAnchors) -> Result<RootCertStore, TlsClientError> {
    let mut roots = RootCertStore::empty();
    match anchors {
        TrustAnchors::System => {
            // One malformed certificate among the system's hundreds is no reason to trust none of them.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        TrustAnchors::Given(certificates) => {
            for certificate in certificates {
                roots.add(certificate.clone()).map_err(TlsClientError::Anchor)?;
            }
        }
    }
    if roots.is_empty() {
        return Err(TlsClientError::NoAnchors);
    }
    Ok(roots)
}
