//! Requests that a browser sends because a page of another site makes it do so.

use http::{HeaderMap, header};

/// Whether a page of another site may have caused a request.
///
/// Browsers send `Origin` with every POST and PUT, and with every request of a script for another origin. A request for an image
/// or a script has none; `Sec-Fetch-Site` (W3C Fetch Metadata) says which site caused it.
pub(super) fn is_sent_by_page(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    headers.contains_key(header::ORIGIN) || sites.any(|site| site != "none" && site != "same-origin")
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
}
