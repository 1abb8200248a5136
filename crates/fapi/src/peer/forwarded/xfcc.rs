//! Envoy's `X-Forwarded-Client-Cert`: elements separated by commas, one for each proxy, of pairs separated by
//! semicolons.
//!
//! Exactly one element is accepted, as Envoy writes it with `forward_client_cert_details: SANITIZE_SET`; every other
//! mode also forwards what the client sent. Envoy writes names of the certificate (`URI`, `DNS`) without quotes, so
//! that a name could contain pairs of its own: `Hash`, `Cert` and `Chain` must occur only once and must agree.

use data_encoding::HEXLOWER_PERMISSIVE;

use super::error::{ForwardedError, MAX_CHAIN};
use super::pem::{self, Escaping};
use crate::sha256;

/// Reads the client's certificate and, with `Chain`, the rest of its chain.
pub(super) fn read(value: &[u8]) -> Result<Vec<Vec<u8>>, ForwardedError> {
    let (mut hash, mut certificate, mut chain) = (None, None, None);
    for Pair { key, value } in pairs(value)? {
        let slot = match key.to_ascii_lowercase().as_slice() {
            b"hash" => &mut hash,
            b"cert" => &mut certificate,
            b"chain" => &mut chain,
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(ForwardedError::Repeated { what: "several Hash, Cert or Chain in one element" });
        }
    }
    let certificate = certificate.map(|text| pem::one(&text, Escaping::Whole)).transpose()?;
    let chain = chain.map(|text| pem::chain(&text, Escaping::Whole)).transpose()?;
    let read = match (certificate, chain) {
        (Some(certificate), None) => certificate,
        // "Chain: The entire client certificate chain (including the leaf certificate)".
        (None, Some(chain)) => chain,
        (Some(certificate), Some(chain)) if certificate.first() == chain.first() => chain,
        (Some(_), Some(_)) => return Err(ForwardedError::Malformed { why: "Chain does not begin with Cert" }),
        (None, None) => {
            return Err(ForwardedError::Malformed { why: "neither Cert nor Chain; a hash is not a certificate" });
        }
    };
    let found = read.first().map(|leaf| sha256(leaf).to_vec());
    if hash.and_then(|hash| HEXLOWER_PERMISSIVE.decode(&hash).ok()) != found {
        return Err(ForwardedError::Malformed { why: "Hash is not the SHA-256 of the certificate" });
    }
    Ok(read)
}

/// A key as written, and its value without quotes.
struct Pair<'v> {
    key: &'v [u8],
    value: Vec<u8>,
}

/// Reads the pairs of the only element.
///
/// "If ‘,’, ‘;’ or ‘=’ appear in a value, the value should be double-quoted"; within quotes a backslash escapes the
/// next character.
fn pairs(value: &[u8]) -> Result<Vec<Pair<'_>>, ForwardedError> {
    let mut pairs = Vec::new();
    let mut rest = value;
    loop {
        let end = rest.iter().position(|b| !b.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        let Some(text) = after.strip_prefix(b"=").filter(|_| !key.is_empty()) else { return Err(NOT_PAIRS) };
        let (value, after) = match text.strip_prefix(b"\"") {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = text.iter().position(|b| b",;\"".contains(b)).unwrap_or(text.len());
                let (value, after) = text.split_at(end);
                (value.to_vec(), after)
            }
        };
        pairs.push(Pair { key, value });
        if pairs.len() > MAX_PAIRS {
            return Err(NOT_PAIRS);
        }
        rest = match after.split_first() {
            None => return Ok(pairs),
            Some((b';', after)) => after,
            Some((b',', _)) => {
                return Err(ForwardedError::Repeated {
                    what: "several elements; Envoy needs forward_client_cert_details: SANITIZE_SET",
                });
            }
            Some(_) => return Err(NOT_PAIRS),
        };
    }
}

/// Reads a quoted text; returns it without quotes, and the rest after it.
fn unquoted(quoted: &[u8]) -> Result<(Vec<u8>, &[u8]), ForwardedError> {
    let mut value = Vec::new();
    let mut rest = quoted;
    loop {
        let (byte, after) = rest.split_first().ok_or(NOT_PAIRS)?;
        match byte {
            b'"' => return Ok((value, after)),
            b'\\' => {
                let (escaped, after) = after.split_first().ok_or(NOT_PAIRS)?;
                value.push(*escaped);
                rest = after;
            }
            _ => {
                value.push(*byte);
                rest = after;
            }
        }
    }
}

/// The maximum number of pairs, which is more than a certificate has names.
const MAX_PAIRS: usize = 32 * MAX_CHAIN;
const NOT_PAIRS: ForwardedError = ForwardedError::Malformed { why: "not pairs of key and value by semicolon" };
