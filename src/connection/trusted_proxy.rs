//! A proxy that ends TLS in front of a listener, and what is remembered of the certificates that it hands on.
//!
//! Its connections carry the requests of many clients, so nothing of a client is the connection's. A certificate is read and
//! verified when it comes for the first time, and then known by the digest of what was sent; the memory is bounded, belongs to
//! one configuration, and an entry is good for as long as the verifier would say the same.

use std::net::IpAddr;
use std::sync::Arc;

use fapi::UnixTime;
use fapi::headers::client_cert_chain;
use fapi::peer::forwarded::proxies::TrustedProxies;
use fapi::peer::forwarded::{Dialect, ForwardedError};
use fapi::peer::{ClientCertificate, NoCertificate, Peer};
use http::{HeaderMap, HeaderValue};
use moka::sync::Cache;
use rustls::pki_types::CertificateDer;

use super::tls::{ForwardedRule, Trust};

/// What a listener believes of the proxies in front of it.
pub struct Settings {
    /// How they write a certificate.
    pub dialect: Dialect,
    /// Who they are.
    pub proxies: TrustedProxies,
    /// What makes a certificate acceptable.
    pub trust: Trust,
}

/// The proxies in front of a listener, as a reload left them.
#[derive(Debug)]
pub struct TrustedProxy {
    dialect: Dialect,
    proxies: TrustedProxies,
    rule: ForwardedRule,
    known: Cache<[u8; 32], Arc<Known>>,
}

/// A certificate that was handed on and found good.
#[derive(Debug)]
struct Known {
    certificate: Arc<ClientCertificate>,
    /// `Client-Cert-Chain` for the upstream.
    chain: Option<HeaderValue>,
    until: UnixTime,
}

/// The client behind a proxy.
pub struct Client {
    /// Who it is.
    pub peer: Peer,
    /// The value of `Client-Cert-Chain`: the authorities between its certificate and the anchor, if there are any.
    pub chain: Option<HeaderValue>,
}

impl TrustedProxy {
    /// Puts the settings in force.
    pub fn new(settings: Settings) -> Self {
        let weigh = |_: &[u8; 32], known: &Arc<Known>| {
            let header = known.certificate.header_value().len();
            let chain = known.chain.as_ref().map_or(0, HeaderValue::len);
            u32::try_from(header.saturating_add(chain).saturating_add(OVERHEAD)).unwrap_or(u32::MAX)
        };
        Self {
            dialect: settings.dialect,
            proxies: settings.proxies,
            rule: ForwardedRule::new(&settings.trust),
            known: Cache::builder().max_capacity(MAX_BYTES).weigher(weigh).build(),
        }
    }

    /// Whether the other end of a connection is such a proxy; `certificate`, in DER, is what it has proven and what counts now.
    pub fn is(&self, certificate: Option<&[u8]>, address: IpAddr) -> bool {
        self.proxies.contain(certificate, address)
    }

    /// Whether a certificate that it takes leads to a trust anchor.
    pub const fn verifies_chains(&self) -> bool {
        self.rule.verifies_chains()
    }

    /// The client whose request a proxy sends with these fields.
    ///
    /// One whose certificate is not trusted has none, as on a connection of its own after a reload.
    ///
    /// # Errors
    /// [`ForwardedError`] for what is not one certificate.
    pub fn client(&self, headers: &HeaderMap, now: UnixTime) -> Result<Client, ForwardedError> {
        let none = |reason| Client { peer: Peer::Anonymous(reason), chain: None };
        let Some(sent) = self.dialect.find(headers)? else { return Ok(none(NoCertificate::NotForwarded)) };
        let digest = sent.digest();
        if let Some(known) = self.known.get(&digest).filter(|known| now < known.until) {
            return Ok(known.client());
        }
        let read = sent.read()?;
        let chain: Vec<_> = read.der().iter().map(|der| CertificateDer::from(der.clone())).collect();
        let (path, until) = match self.rule.judge(&chain, now) {
            Ok(verdict) => verdict,
            Err(why) => return Ok(none(NoCertificate::ForwardedUntrusted { why })),
        };
        let certificate = Arc::new(read.leaf().clone());
        let known = Arc::new(Known { certificate, chain: client_cert_chain(&path), until });
        self.known.insert(digest, known.clone());
        Ok(known.client())
    }
}

impl Known {
    fn client(&self) -> Client {
        Client { peer: Peer::Forwarded(self.certificate.clone()), chain: self.chain.clone() }
    }
}

/// The memory that certificates may take, each with its header value.
const MAX_BYTES: u64 = 32 * 1024 * 1024;
/// What an entry takes besides its header values.
const OVERHEAD: usize = 512;
