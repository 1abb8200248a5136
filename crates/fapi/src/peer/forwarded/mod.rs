//! Client certificates that a proxy in front forwards: the header that contains one, and its encoding.
//!
//! A proxy that terminates TLS in front of the gateway forwards its client's certificate in a header. RFC 9440 §2,
//! Envoy, nginx and AWS each have a dialect of their own. A listener reads one of them, strictly: a value with two
//! readings is refused. [`proxies`] determines which proxies are trusted.

mod error;
mod pem;
pub mod proxies;
mod xfcc;

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};

pub use error::ForwardedError;
use error::{MAX_BYTES, MAX_CHAIN};

use crate::peer::ClientCertificate;

/// How a proxy encodes the certificate of its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `Client-Cert` and `Client-Cert-Chain`, byte sequences of structured fields (RFC 9440 §2).
    ClientCert,
    /// Envoy's `X-Forwarded-Client-Cert`: one element with `Hash` and with `Cert` or `Chain`.
    XForwardedClientCert,
    /// nginx's `$ssl_client_escaped_cert`, in a configured field.
    NginxEscapedPem(HeaderName),
    /// `X-Amzn-Mtls-Clientcert-Leaf` of the AWS load balancer, which has verified the chain.
    AwsAlbVerify,
    /// `X-Amzn-Mtls-Clientcert` of the AWS load balancer: the chain as the client presented it.
    AwsAlbPassthrough,
}

impl Dialect {
    /// The field that contains the certificate.
    pub fn header(&self) -> &HeaderName {
        match self {
            Self::ClientCert => &CLIENT_CERT,
            Self::XForwardedClientCert => &XFCC,
            Self::NginxEscapedPem(header) => header,
            Self::AwsAlbVerify => &AWS_LEAF,
            Self::AwsAlbPassthrough => &AWS_CHAIN,
        }
    }

    /// Finds what a request has in this dialect; ignores other fields. `None` means that the client has no certificate.
    ///
    /// # Errors
    /// [`ForwardedError::Repeated`] for a second line of a field that is not a list, [`ForwardedError::TooLarge`], and
    /// [`ForwardedError::Malformed`] for a chain without a certificate.
    pub fn find<'r>(&'r self, headers: &'r HeaderMap) -> Result<Option<Sent<'r>>, ForwardedError> {
        let certificate = only(headers, self.header())?;
        let chain = match self {
            Self::ClientCert => joined(headers, &CLIENT_CERT_CHAIN)?,
            Self::XForwardedClientCert | Self::NginxEscapedPem(_) | Self::AwsAlbVerify | Self::AwsAlbPassthrough => {
                None
            }
        };
        match (certificate, chain) {
            (Some(certificate), chain) => Ok(Some(Sent { dialect: self, certificate, chain })),
            (None, None) => Ok(None),
            // RFC 9440 §2.3: "The Client-Cert-Chain … MUST NOT appear unless Client-Cert is also present".
            (None, Some(_)) => Err(ForwardedError::Malformed { why: "Client-Cert-Chain without Client-Cert" }),
        }
    }
}

/// The value of a field that may have only one line.
fn only<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Result<Option<&'r [u8]>, ForwardedError> {
    let mut lines = headers.get_all(name).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(ForwardedError::Repeated { what: "several field lines" });
    }
    match line.len() {
        bytes if bytes > MAX_BYTES => Err(ForwardedError::TooLarge { bytes }),
        _ => Ok(Some(line.as_bytes())),
    }
}

/// The value of a list, whose lines are joined (RFC 9440 §2.3, RFC 9651 §4.2: "If the field's value is split across
/// multiple lines, […] combine them").
fn joined<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Result<Option<Cow<'r, [u8]>>, ForwardedError> {
    let lines = || headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let Some(first) = lines().next() else { return Ok(None) };
    let separators = lines().skip(1).count().saturating_mul(SEPARATOR.len());
    let bytes = lines().fold(separators, |sum, line| sum.saturating_add(line.len()));
    if bytes > MAX_BYTES {
        return Err(ForwardedError::TooLarge { bytes });
    }
    Ok(Some(match separators {
        0 => Cow::Borrowed(first),
        _ => Cow::Owned(lines().collect::<Vec<_>>().join(SEPARATOR)),
    }))
}

const SEPARATOR: &[u8] = b", ";

/// What a proxy sent, not yet decoded.
#[derive(Clone, Debug)]
pub struct Sent<'r> {
    dialect: &'r Dialect,
    certificate: &'r [u8],
    chain: Option<Cow<'r, [u8]>>,
}

impl Sent<'_> {
    /// A digest that identifies it among all values of the dialect, as a cache key.
    pub fn digest(&self) -> [u8; 32] {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        for part in [Some(self.certificate), self.chain.as_deref()] {
            let length = part.map_or(u64::MAX, |part| u64::try_from(part.len()).unwrap_or(u64::MAX));
            context.update(&length.to_be_bytes());
            context.update(part.unwrap_or_default());
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        digest
    }

    /// Decodes it.
    ///
    /// # Errors
    /// [`ForwardedError`] for anything but one certificate in the syntax of the dialect, with at most nine more of its
    /// chain.
    pub fn read(&self) -> Result<ForwardedChain, ForwardedError> {
        let chain = match self.dialect {
            Dialect::ClientCert => {
                let mut chain = vec![byte_sequence(self.certificate)?];
                if let Some(others) = &self.chain {
                    for item in others.split(|&b| b == b',') {
                        chain.push(byte_sequence(trim(item))?);
                    }
                }
                chain
            }
            Dialect::XForwardedClientCert => xfcc::read(self.certificate)?,
            Dialect::NginxEscapedPem(_) => pem::one(self.certificate, pem::Escaping::Whole)?,
            Dialect::AwsAlbVerify => pem::one(self.certificate, pem::Escaping::SparesBase64)?,
            Dialect::AwsAlbPassthrough => pem::chain(self.certificate, pem::Escaping::SparesBase64)?,
        };
        ForwardedChain::new(chain)
    }
}

/// A forwarded certificate and the forwarded part of its chain, all of them readable X.509.
///
/// Does not say that the chain was verified, nor that the proxy is trusted.
#[derive(Clone, Debug)]
pub struct ForwardedChain {
    leaf: ClientCertificate,
    chain: Vec<Vec<u8>>,
}

impl ForwardedChain {
    fn new(chain: Vec<Vec<u8>>) -> Result<Self, ForwardedError> {
        if chain.len() > MAX_CHAIN {
            return Err(ForwardedError::Malformed { why: "the chain has more than 10 certificates" });
        }
        let (first, others) =
            chain.split_first().ok_or(ForwardedError::Malformed { why: "there is no certificate" })?;
        let leaf = ClientCertificate::from_der(first)?;
        for other in others {
            ClientCertificate::from_der(other)?;
        }
        Ok(Self { leaf, chain })
    }

    /// The client's certificate.
    pub const fn leaf(&self) -> &ClientCertificate {
        &self.leaf
    }

    /// All of them in DER, the client's first.
    pub fn der(&self) -> &[Vec<u8>] {
        &self.chain
    }
}

/// Decodes a byte sequence (RFC 9651 §3.3.5) in the form that serializers produce: padded, without parameters (RFC 9440
/// §2.1).
fn byte_sequence(item: &[u8]) -> Result<Vec<u8>, ForwardedError> {
    let inner = item.strip_prefix(b":").and_then(|rest| rest.strip_suffix(b":"));
    let inner = inner.filter(|inner| !inner.is_empty());
    let inner = inner.ok_or(ForwardedError::Malformed { why: "not a byte sequence between colons" })?;
    STANDARD.decode(inner).map_err(|_| ForwardedError::Malformed { why: "not padded base64" })
}

/// Removes optional white space around the commas of a list (RFC 9651 §4.2.1).
fn trim(item: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = item.iter().position(|b| !blank(b)).unwrap_or(item.len());
    let end = item.iter().rposition(|b| !blank(b)).map_or(start, |last| last.saturating_add(1));
    item.get(start..end).unwrap_or_default()
}

static CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
static CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
static XFCC: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
static AWS_LEAF: HeaderName = HeaderName::from_static("x-amzn-mtls-clientcert-leaf");
static AWS_CHAIN: HeaderName = HeaderName::from_static("x-amzn-mtls-clientcert");

#[cfg(test)]
mod tests;
