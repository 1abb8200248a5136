//! The header of the PROXY protocol, versions 1 and 2, with which a balancer that passes TLS through says who its client
//! is. Specified by HAProxy: "The PROXY protocol, Versions 1 & 2".
//!
//! The header comes before everything else, so it is read exactly: [`parse`] says how many bytes are still part of it
//! for sure, and nothing beyond the header is ever read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The balancer forwards a connection of this client.
    Client(IpAddr),
    /// The balancer does not say whose connection it is (UNKNOWN, UNSPEC), or it is its own (LOCAL), such as a health
    /// check.
    Unspecified,
}

/// The result of reading a prefix of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The header is whole.
    Whole(Source),
    /// The header has at least this many bytes in all, more than were given.
    Needs(usize),
}

/// Why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The connection does not begin with a header.
    #[error("the connection does not begin with a PROXY protocol header")]
    Missing,
    /// A header of version 1 does not end within 107 bytes.
    #[error("the header of version 1 does not end within {MAX_V1} bytes")]
    EndMissing,
    /// A header of version 1 has another form.
    #[error("the header of version 1 is malformed")]
    Line,
    /// A header of version 2 has a version or command that does not exist.
    #[error("the version or command of the header is not 2, LOCAL or PROXY")]
    Command,
    /// A header of version 2 has an address family or a transport protocol that does not exist.
    #[error("the address family or protocol of the header does not exist")]
    Protocol,
    /// A header of version 2 is shorter than its addresses, or larger than any that is needed.
    #[error("the length of the header does not fit its addresses, or is beyond {MAX_V2}")]
    Length,
    /// A field after the addresses of version 2 goes beyond the header.
    #[error("a field after the addresses does not fit into the header")]
    Field,
    /// The checksum in a header of version 2 is wrong.
    #[error("the checksum of the header is wrong")]
    Checksum,
}

/// Reads the header from the first bytes of a connection: of these, no more than [`Progress::Needs`] has asked for.
///
/// # Errors
/// [`HeaderError`], as soon as no further bytes can make it a header.
pub fn parse(bytes: &[u8]) -> Result<Progress, HeaderError> {
    match bytes.first() {
        None => Ok(Progress::Needs(1)),
        Some(b'P') => line(bytes),
        Some(b'\r') => binary(bytes),
        Some(_) => Err(HeaderError::Missing),
    }
}

/// Version 1, a line of text.
fn line(bytes: &[u8]) -> Result<Progress, HeaderError> {
    // §2.1: "PROXY" and a space.
    if !starts_alike(bytes, V1) {
        return Err(HeaderError::Missing);
    }
    // §2.1: "If the CRLF sequence is not found in the first 107 characters, the receiver should declare the line
    // invalid." It "must not tolerate a single CR or LF character to end the line".
    let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        let needed = SHORTEST_V1.max(bytes.len().saturating_add(2));
        return if needed > MAX_V1 { Err(HeaderError::EndMissing) } else { Ok(Progress::Needs(needed)) };
    };
    let (text, rest) = bytes.split_at(end);
    match rest {
        b"\r" if bytes.len() < MAX_V1 => Ok(Progress::Needs(bytes.len().saturating_add(1))),
        b"\r\n" => source_of_line(text).map(Progress::Whole),
        _ => Err(HeaderError::Line),
    }
}

fn source_of_line(text: &[u8]) -> Result<Source, HeaderError> {
    let text = text.strip_prefix(V1).ok_or(HeaderError::Line)?;
    // §2.1: "the receiver must ignore anything presented before the CRLF is found".
    if text == b"UNKNOWN" || text.starts_with(b"UNKNOWN ") {
        return Ok(Source::Unspecified);
    }
    let text = std::str::from_utf8(text).map_err(|_| HeaderError::Line)?;
    let mut words = text.split(' ');
    let mut next = || words.next().ok_or(HeaderError::Line);
    let (family, source, destination) = (next()?, next()?, next()?);
    let (source_port, destination_port) = (next()?, next()?);
    if words.next().is_some() || !is_port(source_port) || !is_port(destination_port) {
        return Err(HeaderError::Line);
    }
    let client = match family {
        "TCP4" => both::<Ipv4Addr>(source, destination).map(IpAddr::V4),
        "TCP6" => both::<Ipv6Addr>(source, destination).map(IpAddr::V6),
        _ => None,
    };
    client.map(Source::Client).ok_or(HeaderError::Line)
}

/// Parses both addresses, and returns that of the source.
fn both<A: std::str::FromStr>(source: &str, destination: &str) -> Option<A> {
    destination.parse::<A>().ok()?;
    source.parse().ok()
}

/// §2.1: "a decimal integer in the range [0..65535] inclusive. Heading zeroes are not permitted".
fn is_port(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain && text.parse::<u16>().is_ok()
}

/// Version 2, in binary.
fn binary(bytes: &[u8]) -> Result<Progress, HeaderError> {
    if !starts_alike(bytes, V2) {
        return Err(HeaderError::Missing);
    }
    let Some((start, rest)) = bytes.split_first_chunk::<START_V2>() else { return Ok(Progress::Needs(START_V2)) };
    let [.., command, protocol, high, low] = *start;
    let local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(HeaderError::Command),
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let addresses = match protocol {
        // §2.2: with LOCAL, the receiver must "discard the protocol block including the family which is ignored".
        _ if local => None,
        0x11 => Some(12),
        0x21 => Some(36),
        // §2.2: a receiver "automatically falls back to the UNSPEC mode for the valid combinations above that it does
        // not support": UDP and UNIX sockets.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => None,
        _ => return Err(HeaderError::Protocol),
    };
    let whole = START_V2.saturating_add(length);
    if length < addresses.unwrap_or(0) || whole > MAX_V2 {
        return Err(HeaderError::Length);
    }
    if rest.len() < length {
        return Ok(Progress::Needs(whole));
    }
    if rest.len() > length {
        return Err(HeaderError::Length);
    }
    // §2.2: without addresses that are used, the bytes are skipped.
    let Some(addresses) = addresses else { return Ok(Progress::Whole(Source::Unspecified)) };
    let (block, fields) = rest.split_at_checked(addresses).ok_or(HeaderError::Length)?;
    check_fields(bytes, fields)?;
    let client = match protocol {
        0x11 => block.first_chunk().map(|source: &[u8; 4]| IpAddr::from(*source)),
        _ => block.first_chunk().map(|source: &[u8; 16]| IpAddr::from(*source)),
    };
    client.map(Source::Client).map(Progress::Whole).ok_or(HeaderError::Length)
}

/// Checks that the fields (type, length, value) after the addresses fill the header, and its checksum if there is one.
fn check_fields(header: &[u8], mut fields: &[u8]) -> Result<(), HeaderError> {
    while let Some((&[kind, high, low], rest)) = fields.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, rest) = rest.split_at_checked(length).ok_or(HeaderError::Field)?;
        if kind == CRC32C {
            let stated: [u8; 4] = value.try_into().map_err(|_| HeaderError::Field)?;
            let place = header.len().saturating_sub(rest.len()).saturating_sub(stated.len());
            if crc32c(header, place) != u32::from_be_bytes(stated) {
                return Err(HeaderError::Checksum);
            }
        }
        fields = rest;
    }
    if fields.is_empty() { Ok(()) } else { Err(HeaderError::Field) }
}

/// The CRC32c (RFC 4960 appendix B) of the header. §2.2.3: the four bytes of the checksum, which begin at `place`, count
/// as zeros.
fn crc32c(header: &[u8], place: usize) -> u32 {
    let own = place..place.saturating_add(4);
    let bytes = header.iter().enumerate().map(|(at, byte)| if own.contains(&at) { 0 } else { *byte });
    let sum = bytes.fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 })
    });
    !sum
}

/// Whether one of the two begins with the other.
fn starts_alike(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(byte, expected)| byte == expected)
}

const V1: &[u8] = b"PROXY ";
/// `PROXY UNKNOWN` and CRLF.
const SHORTEST_V1: usize = 15;
/// §2.1: "a 108-byte buffer is always enough to store all the line and a trailing zero".
const MAX_V1: usize = 107;
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, the command, the protocol and the length.
const START_V2: usize = 16;
/// The largest header of version 2, in bytes: more than any balancer needs for its fields.
const MAX_V2: usize = 4096;
/// The type of the field that has the checksum, PP2_TYPE_CRC32C.
const CRC32C: u8 = 3;

#[cfg(test)]
mod tests;
