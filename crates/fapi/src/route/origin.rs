//! The configured origins of a listener, to which clients send their requests (RFC 6454 §4, RFC 3986 §3.2).

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::path::CanonicalPath;

/// A public origin of a listener: scheme, host, port, and the path prefix that an outer proxy removes.
///
/// It is the base of every `htu`, and comes from the configuration, never from `Host` (RFC 9449 §4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    text: Box<str>,
    host: Box<str>,
    port: u16,
    prefix: Box<str>,
}

impl Origin {
    /// Reads `https://host[:port][/prefix]`.
    ///
    /// Converts scheme and host to lower case; removes port 443, a dot after the host and one slash at the end (RFC
    /// 3986 §6.2.2.1, §6.2.3).
    ///
    /// # Errors
    /// [`OriginError`], which names the faulty part.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        // First of all, since every other error shows the text, and these may have a password in them.
        for (sign, part) in [('?', "query"), ('#', "fragment"), ('@', "userinfo")] {
            if text.contains(sign) {
                return Err(OriginError::Surplus { part });
            }
        }
        if !scheme.eq_ignore_ascii_case("https") {
            return Err(OriginError::NotHttps { text: text.into() });
        }
        let (authority, path) = rest.find('/').and_then(|at| rest.split_at_checked(at)).unwrap_or((rest, "/"));
        let host = |why| OriginError::Host { text: text.into(), why };
        // A client may send an empty port; in a configuration it is a slip.
        if authority.ends_with(':') {
            return Err(host("its port is empty"));
        }
        let authority = Authority::parse(authority).map_err(host)?;
        let path = CanonicalPath::read(path).map_err(|why| OriginError::Prefix { text: text.into(), why })?;
        let host = match authority.address() {
            Some(address) => format!("[{address}]"),
            None => authority.host.to_ascii_lowercase(),
        };
        let port = authority.port.unwrap_or(HTTPS_PORT);
        let prefix = path.as_str().strip_suffix('/').unwrap_or(path.as_str());
        let text = if port == HTTPS_PORT {
            format!("https://{host}{prefix}")
        } else {
            format!("https://{host}:{port}{prefix}")
        };
        Ok(Self { text: text.into(), host: host.into(), port, prefix: prefix.into() })
    }

    /// The origin with its prefix and without a slash at the end, such as `https://api.bank.example`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host and, unless it is 443, the port: the value of `Host`.
    pub fn authority(&self) -> &str {
        let bare = self.text.strip_suffix(&*self.prefix).unwrap_or(&self.text);
        bare.strip_prefix("https://").unwrap_or(bare)
    }

    /// The host in lower case; an IPv6 address is in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the host is an IP address; clients send no server name in TLS for it.
    pub fn is_address(&self) -> bool {
        self.host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
    }

    /// The port; 443 by default.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The path that an outer proxy removes: empty, or with a slash at the beginning and none at the end.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

/// Why a text is not an origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Another scheme, or none.
    #[error("{text:?} is not https; write \"https://\", the host, and the port if it is not 443")]
    NotHttps {
        /// The text as it was written.
        text: Box<str>,
    },
    /// A part that an origin does not have. The text is not shown, since a secret may be in it.
    #[error("the URL has a {part}; leave it out")]
    Surplus {
        /// The part.
        part: &'static str,
    },
    /// The host or the port is missing or malformed.
    #[error("{text:?} has no usable host: {why}; write it as clients send it in Host")]
    Host {
        /// The text as it was written.
        text: Box<str>,
        /// What is wrong.
        why: &'static str,
    },
    /// A path prefix with more than one reading.
    #[error("{text:?} has a path prefix that can be read in more than one way: {why}; write it as clients send it")]
    Prefix {
        /// The text as it was written.
        text: Box<str>,
        /// What is wrong.
        why: &'static str,
    },
}

/// All origins of one listener.
#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<Arc<Origin>>);

impl Origins {
    /// The origins in this order; of two with the same host and port, the first is used.
    pub const fn new(origins: Vec<Arc<Origin>>) -> Self {
        Self(origins)
    }

    /// Finds the origin with this host and port, which is 443 by default.
    ///
    /// Hosts are compared ignoring case and one dot at the end (RFC 3986 §6.2.2.1, RFC 1034 §3.1), IPv6 addresses as
    /// numbers.
    pub fn find(&self, host: &str, port: Option<u16>) -> Option<&Arc<Origin>> {
        let port = port.unwrap_or(HTTPS_PORT);
        self.0.iter().find(|origin| origin.port == port && same_host(&origin.host, host))
    }

    /// Whether one of them has this host, with any port; compared as in [`Origins::find`].
    pub fn has_host(&self, host: &str) -> bool {
        self.0.iter().any(|origin| same_host(&origin.host, host))
    }

    /// All origins, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Origin>> {
        self.0.iter()
    }
}

/// Host and port of an authority without userinfo (RFC 3986 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Authority<'r> {
    /// The host as written, without a dot at the end; an IPv6 address is in brackets.
    pub(crate) host: &'r str,
    /// The port, if there is one.
    pub(crate) port: Option<u16>,
}

impl<'r> Authority<'r> {
    /// Reads `host[:port]`: a name of letters, digits, `-`, `_` and dots, an IPv4 address, or `[IPv6]` without a zone.
    ///
    /// RFC 3986 §3.2.2 allows escapes and other characters in a `reg-name`; names in DNS and in certificates do not
    /// have them.
    pub(crate) fn parse(text: &'r str) -> Result<Self, &'static str> {
        let (host, port) = if text.starts_with('[') {
            let end = text.find(']').ok_or("a bracket is not closed")?;
            let (host, after) = text.split_at_checked(end.saturating_add(1)).ok_or("a bracket is not closed")?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err("a bracket is not followed by a port"),
            }
        } else {
            text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
        };
        // RFC 3986 §3.2.3: a colon with an empty port is equivalent to none.
        let port = port.filter(|port| !port.is_empty()).map(read_port).transpose()?;
        let authority = Self { host: host.strip_suffix('.').unwrap_or(host), port };
        if host.starts_with('[') {
            return authority.address().map(|_| authority).ok_or("there is no IPv6 address between the brackets");
        }
        if authority.host.is_empty() {
            return Err("it is empty");
        }
        if authority.host.len() > MAX_NAME {
            return Err("it is longer than a name can be");
        }
        if !authority.host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
            return Err("it has a character that host names cannot have");
        }
        if authority.host.split('.').any(str::is_empty) {
            return Err("it has an empty label");
        }
        Ok(authority)
    }

    fn address(&self) -> Option<Ipv6Addr> {
        read_address(self.host)
    }
}

fn read_address(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Whether two hosts are the same name, ignoring case and one dot at the end, or the same IPv6 address, however it is
/// written.
pub(crate) fn same_host(one: &str, other: &str) -> bool {
    if let (Some(one), Some(other)) = (read_address(one), read_address(other)) {
        return one == other;
    }
    let plain = |host| str::strip_suffix(host, '.').unwrap_or(host);
    plain(one).eq_ignore_ascii_case(plain(other))
}

fn read_port(text: &str) -> Result<u16, &'static str> {
    if text.starts_with('0') || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("its port is not a plain number");
    }
    text.parse().map_err(|_| "its port is not a number from 1 to 65535")
}

const HTTPS_PORT: u16 = 443;

/// RFC 1035 §2.3.4: "names 255 octets or less".
const MAX_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Arc<Origin> {
        Arc::new(Origin::parse(text).unwrap())
    }

    #[test]
    fn origin_is_read_into_its_normal_form() {
        let cases = [
            ("https://api.bank.example", "https://api.bank.example", "api.bank.example", 443, ""),
            ("HTTPS://API.Bank.example:443/", "https://api.bank.example", "api.bank.example", 443, ""),
            ("https://api.bank.example.:8443", "https://api.bank.example:8443", "api.bank.example", 8443, ""),
            ("https://h/Bank/v1/", "https://h/Bank/v1", "h", 443, "/Bank/v1"),
            ("https://[0:0::1]:8443", "https://[::1]:8443", "[::1]", 8443, ""),
            ("https://127.0.0.1:8443", "https://127.0.0.1:8443", "127.0.0.1", 8443, ""),
        ];
        for (text, normal, host, port, prefix) in cases {
            let origin = Origin::parse(text).unwrap();
            assert_eq!((origin.as_str(), origin.host(), origin.port(), origin.prefix()), (normal, host, port, prefix));
            assert_eq!(Origin::parse(normal), Ok(origin));
        }
    }

    #[test]
    fn rfc9110_7_2_the_authority_is_what_host_says() {
        for (text, authority) in [
            ("https://API.bank.example:443/bank", "api.bank.example"),
            ("https://api.bank.example:8443/bank", "api.bank.example:8443"),
            ("https://[0:0::1]:8443", "[::1]:8443"),
        ] {
            assert_eq!(origin(text).authority(), authority, "{text}");
        }
    }

    #[test]
    fn origin_is_refused_with_the_way_out() {
        let cases = [
            ("http://x", "\"http://x\" is not https; write \"https://\", the host, and the port if it is not 443"),
            ("x", "\"x\" is not https; write \"https://\", the host, and the port if it is not 443"),
            ("http://u:p@x", "the URL has a userinfo; leave it out"),
            ("https://u@x", "the URL has a userinfo; leave it out"),
            ("https://x?y", "the URL has a query; leave it out"),
            ("https://x/#y", "the URL has a fragment; leave it out"),
            ("https://", "\"https://\" has no usable host: it is empty; write it as clients send it in Host"),
        ];
        for (text, message) in cases {
            assert_eq!(Origin::parse(text).unwrap_err().to_string(), message);
        }
        for text in ["https://x:0", "https://x:", "https://x y", "https://é", "https://[::1%25lo]", "https://*.x"] {
            assert!(matches!(Origin::parse(text), Err(OriginError::Host { .. })), "{text}");
        }
        for text in ["https://x//", "https://x/a//", "https://x/../a", "https://x/a;b", "https://x/a b", "https://x/\""]
        {
            assert!(matches!(Origin::parse(text), Err(OriginError::Prefix { .. })), "{text}");
        }
    }

    #[test]
    fn net_21_origins_are_found_by_host_and_port() {
        let origins = Origins::new(vec![origin("https://a.example"), origin("https://b.example:8443")]);
        let find = |host, port| origins.find(host, port).map(|origin| origin.as_str());
        for (host, port) in [("a.example", None), ("A.EXAMPLE.", None), ("a.example", Some(443))] {
            assert_eq!(find(host, port), Some("https://a.example"));
        }
        assert_eq!(find("b.example", Some(8443)), Some("https://b.example:8443"));
        for (host, port) in
            [("b.example", None), ("a.example", Some(8443)), ("a.example..", None), ("", None), ("example", None)]
        {
            assert_eq!(find(host, port), None, "{host}");
        }
        assert_eq!(origins.iter().count(), 2);
        let addresses = Origins::new(vec![origin("https://[2001:db8:0:0:0:0:0:1]")]);
        for (host, found) in [
            ("[2001:db8::1]", true),
            ("[2001:DB8:0:0::1]", true),
            ("[2001:0db8:0:0:0:0:0:0001]", true),
            ("[2001:db8::2]", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(addresses.find(host, None).is_some(), found, "{host}");
        }
        for (host, known) in [("a.example", true), ("B.Example.", true), ("c.example", false), ("example", false)] {
            assert_eq!(origins.has_host(host), known, "{host}");
        }
    }

    #[test]
    fn an_address_is_told_from_a_name() {
        for text in ["https://127.0.0.1:8443", "https://[::1]", "https://[2001:db8::1]:8443/a"] {
            assert!(origin(text).is_address(), "{text}");
        }
        for text in ["https://a.example", "https://127.0.0.1.example", "https://1.2.3"] {
            assert!(!origin(text).is_address(), "{text}"); // control
        }
    }

    #[test]
    fn rfc1035_2_3_4_a_name_has_255_octets_at_most() {
        let reads = |length: usize| Authority::parse(&"a".repeat(length)).map(|authority| authority.host.len());
        assert_eq!(reads(255), Ok(255)); // control
        for length in [256, 257] {
            assert_eq!(reads(length), Err("it is longer than a name can be"), "{length}");
        }
    }

    #[test]
    fn atk_cf_04_a_long_list_of_origins_is_searched_as_a_short_one() {
        for count in [2, 200] {
            let list = (0..count).map(|number| origin(&format!("https://host-{number}.example:8443"))).collect();
            let origins = Origins::new(list);
            for (host, port, found) in [
                ("host-1.example", Some(8443), true),
                ("HOST-1.Example", Some(8443), true),
                ("host-1.example", None, false),
                ("host-1.example.evil", Some(8443), false),
                ("host-", Some(8443), false),
            ] {
                assert_eq!(origins.find(host, port).is_some(), found, "{count}: {host}");
            }
        }
    }
}
