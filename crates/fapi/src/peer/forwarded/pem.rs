//! Percent-encoded (RFC 3986 §2.1) PEM certificates (RFC 7468), which proxies use to fit them into one line.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::error::{ForwardedError, MAX_CHAIN};
use crate::text::{is_unreserved, read_escape};

/// Which characters of PEM a proxy does not escape, besides the unreserved ones of RFC 3986 §2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escaping {
    /// None: nginx and Envoy.
    Whole,
    /// `+`, `/` and `=`: AWS.
    SparesBase64,
}

/// Reads the only certificate of a text.
pub(super) fn one(text: &[u8], escaping: Escaping) -> Result<Vec<Vec<u8>>, ForwardedError> {
    let chain = chain(text, escaping)?;
    if chain.len() > 1 {
        return Err(ForwardedError::Repeated { what: "several certificates in a field for one" });
    }
    Ok(chain)
}

/// Reads the certificates of a text in order, at least one.
pub(super) fn chain(text: &[u8], escaping: Escaping) -> Result<Vec<Vec<u8>>, ForwardedError> {
    let text =
        decoded(text, escaping).ok_or(ForwardedError::Malformed { why: "not percent-encoded as its proxy does" })?;
    let text = std::str::from_utf8(&text).map_err(|_| NOT_PEM)?;
    let mut lines =
        text.strip_suffix('\n').unwrap_or(text).split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let mut chain = Vec::new();
    // Anything outside the boundaries is refused; RFC 7468 §2 permits explanatory text there.
    while let Some(line) = lines.next() {
        if line != BEGIN {
            return Err(NOT_PEM);
        }
        let mut body = String::new();
        loop {
            match lines.next() {
                Some(END) => break,
                Some(line) if !line.is_empty() => body.push_str(line),
                Some(_) | None => return Err(NOT_PEM),
            }
        }
        chain.push(STANDARD.decode(body).map_err(|_| NOT_PEM)?);
        if chain.len() > MAX_CHAIN {
            return Err(ForwardedError::Malformed { why: "the chain has more than 10 certificates" });
        }
    }
    Ok(chain)
}

/// Decodes the escapes; `None` for malformed ones, and for characters that should be escaped. `+` does not mean a
/// space.
fn decoded(text: &[u8], escaping: Escaping) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        decoded.push(match byte {
            b'%' => read_escape(&mut rest)?,
            b'+' | b'/' | b'=' if escaping == Escaping::SparesBase64 => byte,
            _ if is_unreserved(byte) => byte,
            _ => return None,
        });
    }
    Some(decoded)
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
const NOT_PEM: ForwardedError = ForwardedError::Malformed { why: "not a certificate in PEM and nothing else" };
