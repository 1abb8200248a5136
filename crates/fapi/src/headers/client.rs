//! Response headers and trailers for the client (RFC 9110 §7.6, RFC 9111 §3.5, RFC 9440 §2.4).

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::edits::HeaderEdits;
use super::interaction::{INTERACTION_ID, InteractionId};
use super::strip::{FRAMING, class_of, is_odd};
use crate::permit::Permit;

/// The header with the nonce for the client's next proof (RFC 9449 §8.2).
pub const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Response fields that concern one connection (RFC 9110 §7.6.1, §11.7.1). The parser removes Transfer-Encoding.
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
    for name in received.keys() {
        let class = name.as_str();
        if is_internal(class) || HOP_BY_HOP.contains(&class) || nominated(received, class) {
            edits.remove.push(name.clone());
        }
    }
    edits.set.push((INTERACTION_ID, interaction.header_value()));
    let proof = permit.and_then(|permit| permit.token()).and_then(|token| token.proof());
    if let Some(nonce) = proof.and_then(|proof| proof.next_nonce()) {
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

/// The trailers of an upstream that are not forwarded: those that are removed from a header section too, and those that
/// are not allowed in a trailer section, since they frame, route, control, authenticate or describe the message (RFC
/// 9110 §6.5.1).
pub fn withheld_trailers(received: &HeaderMap) -> Vec<HeaderName> {
    let withheld = |name: &&HeaderName| {
        let class = name.as_str();
        is_internal(class)
            || HOP_BY_HOP.contains(&class)
            || FRAMING.contains(&class)
            || NOT_IN_TRAILERS.contains(&class)
            || nominated(received, class)
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
