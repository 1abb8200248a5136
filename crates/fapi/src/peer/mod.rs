//! The client of a request: its certificate, parsed once for each connection, or once for each that a proxy forwards.
//!
//! RFC 8705 §3 compares the SHA-256 of the certificate's DER. Its validity is checked on each request, since a
//! connection may last longer than the certificate.

mod distinguished_name;
pub mod forwarded;
pub mod proxy_protocol;

use std::fmt;
use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use x509_parser::prelude::{FromDer, X509Certificate};

pub use self::distinguished_name::distinguished_name;
use crate::UnixTime;
use crate::jose::thumbprint::CertificateThumbprint;
use crate::participant::{CertificateFault, ParticipantCertificate};

/// A client's end-entity certificate, the possession of whose key a TLS handshake proved.
///
/// Does not say that its chain was verified, which depends on the listener's `trust`.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    thumbprint: CertificateThumbprint,
    subject: Box<str>,
    serial: Box<str>,
    not_before: UnixTime,
    not_after: UnixTime,
    header: HeaderValue,
    /// What it says of a participant of an ecosystem, once somebody has asked.
    participant: OnceLock<Box<Result<ParticipantCertificate, CertificateFault>>>,
}

/// The certificate cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate is not a readable X.509 certificate")]
pub struct UnreadableCertificate;

impl ClientCertificate {
    /// Reads a certificate (RFC 5280 §4.1).
    ///
    /// # Errors
    /// [`UnreadableCertificate`] for anything that is not exactly one certificate in DER.
    pub fn from_der(der: &[u8]) -> Result<Self, UnreadableCertificate> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| UnreadableCertificate)?;
        if !rest.is_empty() {
            return Err(UnreadableCertificate);
        }
        // RFC 9440 §2.1: "Client-Cert" is a structured field whose value is a byte sequence of the leaf's DER.
        let header = HeaderValue::try_from(format!(":{}:", STANDARD.encode(der))).map_err(|_| UnreadableCertificate)?;
        Ok(Self {
            thumbprint: CertificateThumbprint::of_der(der),
            subject: distinguished_name(certificate.subject()).into(),
            serial: certificate.raw_serial_as_string().into(),
            not_before: certificate.validity().not_before.into(),
            not_after: certificate.validity().not_after.into(),
            header,
            participant: OnceLock::new(),
        })
    }

    /// The SHA-256 of its DER.
    pub const fn thumbprint(&self) -> &CertificateThumbprint {
        &self.thumbprint
    }

    /// The subject's [distinguished name](distinguished_name()), for display.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The serial number in hexadecimal with colons, for display.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// Whether `now` is within its validity, including both ends (RFC 5280 §4.1.2.5).
    pub fn valid_at(&self, now: UnixTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// The last second of its validity.
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// The value of `Client-Cert` (RFC 9440 §2.1).
    pub const fn header_value(&self) -> &HeaderValue {
        &self.header
    }

    /// Its DER, decoded each time: nothing but the header is kept of it.
    pub fn der(&self) -> Vec<u8> {
        let value = self.header.as_bytes();
        let encoded = value.strip_prefix(b":").and_then(|value| value.strip_suffix(b":")).unwrap_or_default();
        STANDARD.decode(encoded).unwrap_or_default()
    }
}

impl ClientCertificate {
    /// What it says of a participant of an ecosystem, read once.
    ///
    /// # Errors
    /// [`CertificateFault`].
    pub fn participant(&self) -> Result<&ParticipantCertificate, &CertificateFault> {
        self.participant.get_or_init(|| ParticipantCertificate::from_der(&self.der()).into()).as_ref().as_ref()
    }
}

/// Why a client has no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoCertificate {
    /// The listener does not ask for one.
    NotRequested,
    /// The client presented none.
    NotPresented,
    /// Its certificate was trusted when the connection began, and no longer is.
    NoLongerTrusted,
    /// The request came through a proxy, which forwarded none.
    NotForwarded,
    /// The request came through a proxy, and the forwarded certificate is not trusted.
    ForwardedUntrusted {
        /// The reason.
        why: &'static str,
    },
}

impl fmt::Display for NoCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRequested => f.write_str("the listener does not request one"),
            Self::NotPresented => f.write_str("the client presented none"),
            Self::NoLongerTrusted => f.write_str("the connection's certificate is no longer trusted"),
            Self::NotForwarded => f.write_str("the proxy in front forwarded none"),
            Self::ForwardedUntrusted { why } => write!(f, "the forwarded certificate is not trusted: {why}"),
        }
    }
}

/// The client of a request.
#[derive(Clone, Debug)]
pub enum Peer {
    /// The handshake of this connection proved possession of this certificate's key.
    Certificate(Arc<ClientCertificate>),
    /// A trusted proxy forwarded this certificate; the connection and its own certificate belong to the proxy.
    Forwarded(Arc<ClientCertificate>),
    /// There is no certificate, for this reason.
    Anonymous(NoCertificate),
}

impl Peer {
    /// The certificate, if there is one.
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        match self {
            Self::Certificate(certificate) | Self::Forwarded(certificate) => Some(certificate),
            Self::Anonymous(_) => None,
        }
    }
}

/// The certificate of whoever sends a request, if there is one.
#[derive(Clone, Copy, Debug)]
pub struct PeerCertificate<'r> {
    /// The client of the connection.
    pub peer: &'r Peer,
    /// Whether the chain of its certificate was verified.
    pub verified_chain: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der() -> Vec<u8> {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(vec!["client.example".into()]).unwrap().self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn reads_exactly_one_certificate() {
        let good = der();
        assert!(ClientCertificate::from_der(&good).is_ok()); // control
        let mut trailing = good.clone();
        trailing.push(0);
        assert_eq!(ClientCertificate::from_der(&trailing).unwrap_err(), UnreadableCertificate);
        assert!(ClientCertificate::from_der(&good[..good.len() - 1]).is_err());
        assert!(ClientCertificate::from_der(b"").is_err());
    }

    #[test]
    fn mtls_02_a_thumbprint_is_43_characters_of_base64url() {
        let text = CertificateThumbprint::of_der(&der()).to_string();
        assert_eq!(text.len(), 43);
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    }

    #[test]
    fn client_cert_header_is_one_byte_sequence() {
        let der = der();
        let certificate = ClientCertificate::from_der(&der).unwrap();
        let value = certificate.header_value().to_str().unwrap();
        let inner = value.strip_prefix(':').and_then(|v| v.strip_suffix(':')).unwrap();
        assert_eq!(STANDARD.decode(inner).unwrap(), der);
        assert_eq!(certificate.der(), der);
    }
}
