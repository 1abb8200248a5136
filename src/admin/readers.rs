//! Who may read what names customers, and requests that a browser sends because a page of another site makes it do so.

use std::net::IpAddr;

use fapi::text::sole_value;
use http::uri::Authority;
use http::{HeaderMap, header};
use pingora::protocols::http::ServerSession;

use super::{Admin, Entrance, UNAUTHENTICATED};
use crate::generation::Generation;

/// Why somebody may not read what names customers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoReader {
    #[error("the request is a browser's for a page of another site, or its Host is neither localhost nor an address")]
    Page,
    #[error("{UNAUTHENTICATED}")]
    Unauthenticated,
}

impl Admin {
    /// Judges whether a request may read what names customers.
    pub(super) fn reader(&self, session: &ServerSession, generation: &Generation) -> Result<(), NoReader> {
        // A page whose name leads to this machine could read it otherwise.
        let headers = &session.req_header().headers;
        let host = sole_value(headers, header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if is_sent_by_page(headers) || (self.entrance == Entrance::Loopback && !is_local(host)) {
            return Err(NoReader::Page);
        }
        if !self.entrance.admits(session, generation, self.clock.unix_time()) {
            return Err(NoReader::Unauthenticated);
        }
        Ok(())
    }
}

/// Whether a page of another site may have caused a request.
///
/// Browsers send `Origin` with every POST and PUT, and with every request of a script for another origin. A request for an image
/// or a script has none; `Sec-Fetch-Site` (W3C Fetch Metadata) says which site caused it.
pub(super) fn is_sent_by_page(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    headers.contains_key(header::ORIGIN) || sites.any(|site| site != "none" && site != "same-origin")
}

/// Whether a Host names this machine without a name that others could make lead to it.
fn is_local(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

const SEC_FETCH_SITE: &str = "sec-fetch-site";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_site_is_told_by_origin_and_sec_fetch_site() {
        let sent = |fields: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, value.parse().unwrap());
            }
            is_sent_by_page(&headers)
        };
        for fields in [
            &[][..],
            &[("sec-fetch-site", "none")], // typed into the address bar
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-mode", "navigate")],
        ] {
            assert!(!sent(fields), "{fields:?}"); // control
        }
        for fields in [
            &[("origin", "https://attacker.example")][..],
            &[("origin", "null"), ("sec-fetch-site", "none")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "")],
            &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
        ] {
            assert!(sent(fields), "{fields:?}");
        }
    }

    #[test]
    fn a_host_is_local_by_address_or_as_localhost() {
        for host in ["localhost", "LOCALHOST:9464", "127.0.0.1:9464", "[::1]:9464", "10.0.0.1"] {
            assert!(is_local(host), "{host}");
        }
        for host in
            ["", "attacker.example", "attacker.example:9464", "localhost.attacker.example", "127.0.0.1.nip.example"]
        {
            assert!(!is_local(host), "{host}");
        }
    }
}
