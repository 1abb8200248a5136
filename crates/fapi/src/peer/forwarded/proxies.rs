//! The proxies that are trusted to forward certificates, identified by their own certificate, their address, or both.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::jose::thumbprint::CertificateThumbprint;

/// The trusted proxies in front of a listener. Cannot be configured to trust everyone.
#[derive(Clone, Debug)]
pub struct TrustedProxies {
    networks: Vec<Network>,
    names: Vec<ProxyName>,
    thumbprints: Vec<CertificateThumbprint>,
}

impl TrustedProxies {
    /// The proxies with an address in `networks`, if there are any, and with a certificate that has one of `names` or
    /// `thumbprints`, if there are any; `None` without any of them.
    pub fn new(networks: Vec<Network>, names: Vec<ProxyName>, thumbprints: Vec<CertificateThumbprint>) -> Option<Self> {
        let anybody = networks.is_empty() && names.is_empty() && thumbprints.is_empty();
        (!anybody).then_some(Self { networks, names, thumbprints })
    }

    /// Whether the peer of a connection is one of them. `certificate`, in DER, is the one that the handshake proved and
    /// that is still trusted.
    pub fn contain(&self, certificate: Option<&[u8]>, address: IpAddr) -> bool {
        let at_any_address = self.networks.is_empty();
        let with_any_certificate = self.names.is_empty() && self.thumbprints.is_empty();
        (at_any_address || self.contain_address(address))
            && (with_any_certificate || certificate.is_some_and(|certificate| self.contain_certificate(certificate)))
    }

    /// Whether this address is in one of the networks; never if there are none.
    pub fn contain_address(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    fn contain_certificate(&self, certificate: &[u8]) -> bool {
        self.thumbprints.contains(&CertificateThumbprint::of_der(certificate))
            || names_of(certificate).iter().any(|name| self.names.contains(name))
    }
}

/// The subject alternative names (RFC 5280 §4.2.1.6). The subject's distinguished name has too many spellings to be
/// compared.
fn names_of(certificate: &[u8]) -> Vec<ProxyName> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = extension.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(ProxyName::Dns(name.to_ascii_lowercase().into())),
            GeneralName::URI(name) => Some(ProxyName::Uri((*name).into())),
            GeneralName::OtherName(..)
            | GeneralName::RFC822Name(_)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::IPAddress(_)
            | GeneralName::RegisteredID(_) => None,
        })
        .collect()
}

/// A subject alternative name, compared as a whole: `*` is not a wildcard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyName {
    /// A host, in lower case.
    Dns(Box<str>),
    /// A URI, such as a SPIFFE ID.
    Uri(Box<str>),
}

impl FromStr for ProxyName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        if text.contains("://") {
            let plain = text.bytes().all(|b| b.is_ascii_graphic());
            return if plain { Ok(Self::Uri(text.into())) } else { Err(NotAName) };
        }
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if text.split('.').all(label) { Ok(Self::Dns(text.to_ascii_lowercase().into())) } else { Err(NotAName) }
    }
}

/// The text is neither a host nor a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is neither a host name nor a URI; wildcards are not supported")]
pub struct NotAName;

/// A network: the addresses with a common prefix (RFC 4632 §3.1, RFC 4291 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// Whether it contains this address; an IPv4-mapped IPv6 address counts as an IPv4 address.
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        // `IpNet` reads 010.0.0.0 as 10.0.0.0, others as an octal number; the standard library refuses it.
        let address: IpAddr = address.parse().map_err(|_| NotANetwork::Syntax)?;
        if address != address.to_canonical() {
            return Err(NotANetwork::Mapped);
        }
        let network = match prefix {
            None => IpNet::from(address),
            Some(prefix) if prefix.starts_with('+') => return Err(NotANetwork::Syntax),
            Some(prefix) => {
                let prefix = prefix.parse().map_err(|_| NotANetwork::Syntax)?;
                IpNet::new(address, prefix).map_err(|_| NotANetwork::Syntax)?
            }
        };
        if network.prefix_len() == 0 {
            return Err(NotANetwork::Everybody);
        }
        if network != network.trunc() {
            return Err(NotANetwork::HostBits);
        }
        Ok(Self(network))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Why a text is not a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotANetwork {
    /// It is not a network.
    #[error("it is not an IP address with a prefix length, such as `10.0.0.0/8` or `2001:db8::/32`")]
    Syntax,
    /// It is an IPv4-mapped IPv6 address.
    #[error("it is an IPv4 address within IPv6; write it as an IPv4 address")]
    Mapped,
    /// It has bits beyond its prefix.
    #[error("it has bits beyond its prefix; write zeros there, or a longer prefix")]
    HostBits,
    /// It contains every address.
    #[error("it contains every address, so that every client could pass for a proxy; name the proxies")]
    Everybody,
}
