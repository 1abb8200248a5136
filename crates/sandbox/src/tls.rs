//! The TLS configurations of the sandbox's servers.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};

use crate::pki::{Authority, Credential};

/// TLS 1.2 and 1.3 with `credential`, ALPN `h2` and `http/1.1`. With `client_ca`, a client certificate from there is
/// required.
pub fn tls_config(credential: &Credential, client_ca: Option<&Authority>) -> Arc<ServerConfig> {
    let verifier = match client_ca {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).expect("an authority's certificate is a trust anchor");
            WebPkiClientVerifier::builder_with_provider(roots.into(), default_provider().into())
                .build()
                .expect("there is a trust anchor")
        }
    };
    config(credential.chain_der.clone(), credential.private_key(), verifier).expect(BELONGS)
}

/// A client that trusts the certificates of `authority`, with `credential` if there is one: TLS 1.2 and 1.3, no ALPN.
pub fn client_config(authority: &Authority, credential: Option<&Credential>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).expect("an authority's certificate is a trust anchor");
    let builder = ClientConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has the suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots);
    match credential {
        None => builder.with_no_client_auth(),
        Some(credential) => {
            builder.with_client_auth_cert(credential.chain_der.clone(), credential.private_key()).expect(BELONGS)
        }
    }
}

/// Like [`tls_config`], but accepts any client certificate or none: only possession of its key is verified.
pub fn danger_tls_config_with_any_client(credential: &Credential) -> Arc<ServerConfig> {
    danger_with_any_client(credential.chain_der.clone(), credential.private_key()).expect(BELONGS)
}

/// The same with a certificate that was not made here.
///
/// # Errors
/// The key does not belong to the certificate.
pub fn danger_with_any_client(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    config(chain, key, Arc::new(Possession(default_provider().signature_verification_algorithms)))
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    verifier: Arc<dyn ClientCertVerifier>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has the suites of TLS 1.2 and 1.3")
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

const BELONGS: &str = "a credential's key belongs to its certificate";

/// Checks that the client has the certificate's key, and nothing else about the certificate.
#[derive(Debug)]
struct Possession(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for Possession {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
