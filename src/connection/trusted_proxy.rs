//! Proxies that terminate TLS in front of a listener, and a cache of the certificates that they forward.
//!
//! A proxy's connection carries the requests of many clients, so nothing about a client is stored with the connection.
//! A certificate is parsed and verified when it first arrives, and is then recognized by the digest of what was sent.
//! The cache is bounded and belongs to one configuration, and an entry is valid for as long as the verifier would give
//! the same result.

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

/// Which proxies in front of it a listener trusts, and how.
pub struct Settings {
    /// How they encode a certificate.
    pub dialect: Dialect,
    /// How they are recognized.
    pub proxies: TrustedProxies,
    /// What makes a certificate acceptable.
    pub trust: Trust,
}

/// The trusted proxies in front of a listener, as of the last reload.
#[derive(Debug)]
pub struct TrustedProxy {
    dialect: Dialect,
    proxies: TrustedProxies,
    rule: ForwardedRule,
    known: Cache<[u8; 32], Arc<Known>>,
}

/// A forwarded certificate that is acceptable.
#[derive(Debug)]
struct Known {
    certificate: Arc<ClientCertificate>,
    /// `Client-Cert-Chain` for the upstream.
    chain: Option<HeaderValue>,
    until: UnixTime,
}

/// The client behind a proxy.
pub struct Client {
    /// Its certificate, or why there is none.
    pub peer: Peer,
    /// The value of `Client-Cert-Chain`: the authorities between its certificate and the trust anchor, if there are
    /// any.
    pub chain: Option<HeaderValue>,
}

impl TrustedProxy {
    /// Applies the settings, with an empty cache.
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

    /// Whether the other end of a connection is a trusted proxy. `certificate`, in DER, is the one whose key it
    /// possesses and that is valid now.
    pub fn is(&self, certificate: Option<&[u8]>, address: IpAddr) -> bool {
        self.proxies.contain(certificate, address)
    }

    /// Whether the proxies have addresses, and this is one of them.
    pub fn is_expected_at(&self, address: IpAddr) -> bool {
        self.proxies.contain_address(address)
    }

    /// Whether an accepted certificate leads to a trust anchor.
    pub const fn verifies_chains(&self) -> bool {
        self.rule.verifies_chains()
    }

    /// Judges a chain, leaf first, as if a proxy had forwarded it.
    ///
    /// # Errors
    /// Why the client counts as one without a certificate.
    pub fn judge(&self, chain: &[CertificateDer<'static>], now: UnixTime) -> Result<(), NoCertificate> {
        self.rule.judge(chain, now).map(|_| ()).map_err(|why| NoCertificate::ForwardedUntrusted { why })
    }

    /// Returns the client whose request a proxy forwards with these fields.
    ///
    /// A client whose certificate is not trusted counts as one without a certificate, as on a direct connection after a
    /// reload; so does the proxy itself, whose certificate is `own`, if it has one.
    ///
    /// # Errors
    /// [`ForwardedError`] if the fields hold anything other than one certificate.
    pub fn client(
        &self,
        headers: &HeaderMap,
        own: Option<&ClientCertificate>,
        now: UnixTime,
    ) -> Result<Client, ForwardedError> {
        let client = self.read(headers, now)?;
        let own = own.map(ClientCertificate::thumbprint);
        if own.is_some() && client.peer.certificate().map(ClientCertificate::thumbprint) == own {
            return Ok(none(NoCertificate::ForwardedUntrusted { why: "it is the proxy's own" }));
        }
        Ok(client)
    }

    fn read(&self, headers: &HeaderMap, now: UnixTime) -> Result<Client, ForwardedError> {
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

fn none(reason: NoCertificate) -> Client {
    Client { peer: Peer::Anonymous(reason), chain: None }
}

impl Known {
    fn client(&self) -> Client {
        Client { peer: Peer::Forwarded(self.certificate.clone()), chain: self.chain.clone() }
    }
}

/// The memory that the cached certificates with their header values may take, in bytes.
const MAX_BYTES: u64 = 32 * 1024 * 1024;
/// What an entry takes besides its header values, in bytes.
const OVERHEAD: usize = 512;
