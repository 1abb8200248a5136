//! Where a request came from and which host it was sent to (RFC 7239 §4).

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::route::Origin;

/// The values of `Forwarded`, the `X-Forwarded` fields and `Host`, which all requests of a connection to one origin
/// share.
#[derive(Debug)]
pub struct Forwarded {
    origin: Arc<Origin>,
    forwarded: HeaderValue,
    address: HeaderValue,
    host: HeaderValue,
}

impl Forwarded {
    /// The values for the requests of one client to one origin.
    pub fn of(client_address: IpAddr, origin: Arc<Origin>) -> Self {
        let host = origin.authority();
        let address = client_address.to_canonical();
        // RFC 7239 §6: "an IPv6 address is always enclosed in square brackets", and then quoted.
        let node = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        };
        // Neither an address nor a parsed host has a byte that a field value may not have.
        let value = |text: String| HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self {
            forwarded: value(format!("for={node};host=\"{host}\";proto=https")),
            address: value(address.to_string()),
            host: value(host.to_owned()),
            origin,
        }
    }

    /// Whether these are the values for requests to this origin.
    pub fn is_of(&self, origin: &Arc<Origin>) -> bool {
        Arc::ptr_eq(&self.origin, origin)
    }

    pub(super) fn set(&self, headers: &mut HeaderMap) {
        headers.insert(header::FORWARDED, self.forwarded.clone());
        headers.insert(X_FORWARDED_FOR, self.address.clone());
        headers.insert(X_FORWARDED_HOST, self.host.clone());
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
        headers.insert(header::HOST, self.host.clone());
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
