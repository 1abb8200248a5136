//! Response headers and trailers for the client (RFC 9110 §7.6, RFC 9111 §3.5, RFC 9440 §2.4).

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::cors::cors_fields;
use super::edits::HeaderEdits;
use super::interaction::{INTERACTION_ID, InteractionId};
use super::strip::FRAMING;
use crate::field_names::{class_of, is_odd};
use crate::permit::Permit;
use crate::text::{is_padded, sole_value};

/// The header with the nonce for the client's next proof (RFC 9449 §8.2).
pub const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Response fields that concern one connection (RFC 9110 §7.6.1, §11.7.1), except Transfer-Encoding: [`framing`].
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authentication-info",
    "te",
    "trailer",
    "upgrade",
];

/// Whether `Connection` names the field (RFC 9110 §7.6.1); never true for fields that frame the message.
fn nominated(headers: &HeaderMap, name: &str) -> bool {
    !FRAMING.contains(&name)
        && headers
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|&b| b == b','))
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

/// Whether a field reveals internals of the upstream, or is reserved for the gateway.
fn is_internal(name: &str) -> bool {
    name.starts_with("client-cert")
        || matches!(name, "server" | "x-powered-by" | "dpop-nonce" | "alt-svc")
        || (is_odd(name) && class_of(name).starts_with("client-cert"))
}

/// The edits to an upstream's header section for the client (FWD-10, CC-05, RFC 9111 §3.5).
pub fn to_client(received: &HeaderMap, permit: Option<&Permit>, interaction: &InteractionId) -> HeaderEdits {
    let mut edits = HeaderEdits::default();
    for field in received.keys() {
        let name = field.as_str();
        if is_internal(name) || HOP_BY_HOP.contains(&name) || nominated(received, name) {
            edits.remove.push(field.clone());
        }
    }
    edits.set.push((INTERACTION_ID, interaction.header_value()));
    let proof = permit.and_then(|permit| permit.token()).and_then(|token| token.proof());
    let nonce = proof.and_then(|proof| proof.next_nonce());
    if let Some(nonce) = nonce.or_else(|| nonce_of_server(received, permit)) {
        edits.set.push((DPOP_NONCE, nonce.clone()));
        // RFC 9449 §8.2: responses with a nonce "should be uncacheable", so that no cache serves a stale nonce.
        edits.set.push((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
    }
    let protected = permit.is_some_and(|permit| permit.token().is_some());
    if protected && (!received.contains_key(header::CACHE_CONTROL) || nominated(received, "cache-control")) {
        edits.set.push((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
    }
    // RFC 9440 §2.4: a response chosen by Client-Cert must not be reused for another client.
    let varies = received
        .get_all(header::VARY)
        .iter()
        .any(|value| value.as_bytes().windows(11).any(|part| part.eq_ignore_ascii_case(b"client-cert")));
    if varies {
        edits.set.push((header::VARY, HeaderValue::from_static("*")));
    }
    edits
}

/// The nonce of an authorization server, which alone asks for nonces at its endpoints (RFC 9449 §8); `None` if there are several, or
/// if it is none.
fn nonce_of_server<'r>(received: &'r HeaderMap, permit: Option<&Permit>) -> Option<&'r HeaderValue> {
    let (_, endpoint) = permit?.route().endpoint()?;
    // RFC 9449 §8.1: nonce = 1*NQCHAR.
    let is_nonce = |value: &&HeaderValue| {
        let characters = value.as_bytes();
        !characters.is_empty() && characters.iter().all(|c| matches!(c, b'!' | b'#'..=b'[' | b']'..=b'~'))
    };
    let nonce = sole_value(received, DPOP_NONCE).filter(is_nonce);
    nonce.filter(|_| endpoint.authenticates_clients() && !nominated(received, DPOP_NONCE.as_str()))
}

/// The edits to the header section of an informational response (RFC 9110 §15.2): what no response has is removed, and
/// so are the fields of CORS, which mean nothing before the final response.
pub fn to_client_early(received: &HeaderMap, interaction: &InteractionId) -> HeaderEdits {
    let mut edits = to_client(received, None, interaction);
    edits.remove.extend(cors_fields(received).cloned());
    edits
}

/// The edits to the fields that frame an upstream's response: those that its status forbids are removed, and a repeated
/// length becomes one number.
///
/// # Errors
/// Why the end of the body has no one reading: a transfer coding other than chunked, which no request allows, since the
/// gateway sends no `TE` for one (RFC 9110 §10.1.4); or a length that is not one number (RFC 9110 §8.6).
pub fn framing(status: StatusCode, received: &HeaderMap) -> Result<HeaderEdits, &'static str> {
    let mut edits = HeaderEdits::default();
    // RFC 9112 §6.1 and RFC 9110 §8.6: a server MUST NOT send Transfer-Encoding or Content-Length "in any response with
    // a status code of 1xx (Informational) or 204 (No Content)".
    let forbidden = status.is_informational() || status == StatusCode::NO_CONTENT;
    let present = |name: &HeaderName| received.contains_key(name);
    if forbidden {
        edits.remove.extend([header::TRANSFER_ENCODING, header::CONTENT_LENGTH].into_iter().filter(present));
        return Ok(edits);
    }
    let mut codings = received.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next()
        && (codings.next().is_some() || !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"))
    {
        return Err("Transfer-Encoding is not \"chunked\" alone");
    }
    // A response without a body has nothing to chunk.
    if status == StatusCode::NOT_MODIFIED && present(&header::TRANSFER_ENCODING) {
        edits.remove.push(header::TRANSFER_ENCODING);
    }
    let lines = received.get_all(header::CONTENT_LENGTH).iter().map(HeaderValue::as_bytes);
    let mut lengths = lines.flat_map(|line| line.split(|&b| b == b',')).map(<[u8]>::trim_ascii);
    if let Some(length) = lengths.next() {
        let several = received.get_all(header::CONTENT_LENGTH).iter().nth(1).is_some();
        let again = lengths.all(|other| other == length);
        if !again || length.is_empty() || !length.iter().all(u8::is_ascii_digit) {
            return Err("Content-Length is not one number");
        }
        let value = HeaderValue::from_bytes(length).map_err(|_| "Content-Length is not one number")?;
        if several || received.get(header::CONTENT_LENGTH) != Some(&value) {
            edits.set.push((header::CONTENT_LENGTH, value));
        }
    }
    Ok(edits)
}

/// Whether a header section that came over HTTP/2 has a value that is malformed there (RFC 9113 §8.2.1).
pub fn has_padded_value(received: &HeaderMap) -> bool {
    received.values().any(is_padded)
}

/// The trailers of an upstream that are not forwarded: those that are removed from a header section too, those that are
/// not allowed in a trailer section, since they frame, route, control, authenticate or describe the message (RFC 9110
/// §6.5.1), and those whose value is malformed in HTTP/2 (RFC 9113 §8.2.1).
pub fn withheld_trailers(received: &HeaderMap) -> Vec<HeaderName> {
    let withheld = |field: &&HeaderName| {
        let name = field.as_str();
        is_internal(name)
            || HOP_BY_HOP.contains(&name)
            || FRAMING.contains(&name)
            || NOT_IN_TRAILERS.contains(&name)
            || nominated(received, name)
            || received.get_all(*field).iter().any(is_padded)
    };
    received.keys().filter(withheld).cloned().collect()
}

/// Fields that have to be known before the content, or that the gateway sets.
const NOT_IN_TRAILERS: &[&str] = &[
    "authorization",
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
    "date",
    "expires",
    "location",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "set-cookie",
    "vary",
    "www-authenticate",
    "x-fapi-interaction-id",
];

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_response_keeps_the_framing_that_its_status_allows() {
        let framed = |status: u16, fields: &[(&'static str, &'static str)]| {
            let mut received = HeaderMap::new();
            for (name, value) in fields {
                received.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            let edits = framing(StatusCode::from_u16(status).unwrap(), &received)?;
            for name in edits.remove {
                received.remove(name);
            }
            for (name, value) in edits.set {
                received.insert(name, value);
            }
            let values = received.into_iter().map(|(_, value)| value.to_str().unwrap().to_owned());
            Ok::<_, &'static str>(values.collect::<Vec<_>>().join("|"))
        };
        let (coding, length) = (("transfer-encoding", "chunked"), ("content-length", "5"));
        for status in [200, 206, 304, 404, 500] {
            assert_eq!(framed(status, &[length]).as_deref(), Ok("5"), "{status}"); // control
            for lengths in [&[length, length][..], &[("content-length", "5, 5")], &[("content-length", "5,5"), length]]
            {
                assert_eq!(framed(status, lengths).as_deref(), Ok("5"), "{status} {lengths:?}");
            }
            for bad in ["6", "5, 6", "05", "+5", "", "5,", "five", "-1"] {
                assert!(framed(status, &[length, ("content-length", bad)]).is_err(), "{status} {bad:?}");
            }
            for bad in ["gzip", "identity", "chunked, gzip", "gzip, chunked", "chunked, chunked", "xchunked", ""] {
                assert!(framed(status, &[("transfer-encoding", bad)]).is_err(), "{status} {bad:?}");
            }
            assert!(framed(status, &[coding, coding]).is_err(), "{status}");
        }
        assert_eq!(framed(200, &[coding]).as_deref(), Ok("chunked")); // control
        assert_eq!(framed(200, &[("transfer-encoding", " Chunked")]).as_deref(), Ok(" Chunked"));
        assert_eq!(framed(304, &[coding]).as_deref(), Ok(""));
        for status in [100, 103, 204] {
            for fields in [&[coding][..], &[length], &[length, length], &[("transfer-encoding", "gzip")]] {
                assert_eq!(framed(status, fields).as_deref(), Ok(""), "{status} {fields:?}");
            }
        }
    }

    #[test]
    fn cc_05_responses_lose_what_tells_of_the_inside() {
        let mut received = HeaderMap::new();
        let certificates = ["client-cert", "client-cert-chain", "client_cert", "client.cert-chain"];
        for name in certificates.into_iter().chain(["server", "x-powered-by", "dpop-nonce"]) {
            received.insert(name, "x".parse().unwrap());
        }
        received.insert("vary", "Accept, Client-Cert".parse().unwrap());
        let edits = to_client(&received, None, &InteractionId::from_uuid(Uuid::nil()));
        assert_eq!(edits.remove.len(), 7);
        assert!(edits.set.contains(&(header::VARY, HeaderValue::from_static("*"))));
        for vary in [&b"client-cert"[..], b"Accept,CLIENT-CERT-CHAIN", b"\xe9, Client-Cert"] {
            let odd = HeaderMap::from_iter([(header::VARY, HeaderValue::from_bytes(vary).unwrap())]);
            let edits = to_client(&odd, None, &InteractionId::from_uuid(Uuid::nil()));
            assert!(edits.set.contains(&(header::VARY, HeaderValue::from_static("*"))), "{vary:?}");
        }
        let plain = HeaderMap::from_iter([(header::VARY, HeaderValue::from_static("Accept"))]);
        let edits = to_client(&plain, None, &InteractionId::from_uuid(Uuid::nil()));
        assert_eq!((edits.remove.len(), edits.set.len()), (0, 1)); // control
    }
}
