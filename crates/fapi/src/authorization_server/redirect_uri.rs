//! Redirect URIs: what a client may register (RFC 6749 §3.1.2, RFC 8252 §7), and whether a request names one of them.

use std::num::NonZeroU16;

use crate::route::{Authority, same_host};
use crate::text::{has_whole_escapes, is_scheme, is_unreserved, shown_text};

/// The longest redirect URI, in bytes.
pub const MAX_BYTES: usize = 2048;

/// What kind of application a client is (`application_type`, OpenID Connect Dynamic Client Registration 1.0 §2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApplicationType {
    /// It runs on a web server.
    #[default]
    Web,
    /// It is installed on a device of its user (RFC 8252).
    Native,
}

/// A redirect URI as a client has registered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUri {
    text: Box<str>,
    place: Box<str>,
    /// What is before and after the port, if the port may vary.
    any_port: Option<(Box<str>, Box<str>)>,
}

/// Why a text is not a redirect URI that a client may register.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectUriError {
    /// It is empty, has no scheme, or has a character or an escape that URIs do not have.
    #[error(
        "{found} is not an absolute URI; write it as it is sent, with the scheme, and escape what RFC 3986 does not \
         allow"
    )]
    Malformed {
        /// The text, truncated and made printable.
        found: Box<str>,
    },
    /// It is longer than [`MAX_BYTES`].
    #[error("it has {bytes} bytes, and at most {MAX_BYTES} are allowed; shorten it")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It has a part that it must not have. The text is not shown, since a secret may be in it.
    #[error("it has a {part}; leave it out")]
    Surplus {
        /// The part.
        part: &'static str,
    },
    /// The host or the port is missing or malformed.
    #[error("{found} has no usable host: {why}; write it as the browser is to reach it")]
    Host {
        /// The text, truncated and made printable.
        found: Box<str>,
        /// What is wrong.
        why: &'static str,
    },
    /// FAPI 2.0 §5.3.2.2: it is http, and not to the device of a native application itself.
    #[error(
        "{found} is http; use https, or, for an application_type of \"native\", http with the host 127.0.0.1, [::1] or \
         localhost"
    )]
    Insecure {
        /// The text, truncated and made printable.
        found: Box<str>,
    },
    /// RFC 8252 §7.1: another scheme belongs to a native application only as the reversed name of a domain.
    #[error(
        "{found} has a scheme that is not allowed; use https, or, for an application_type of \"native\", a private-use \
         scheme that is a reversed domain name, such as `com.example.app:/callback`"
    )]
    Scheme {
        /// The text, truncated and made printable.
        found: Box<str>,
    },
}

impl RedirectUri {
    /// Reads a redirect URI of an application of this kind: https; or, if it is native, http to the loopback interface (RFC 8252
    /// §7.3), or a private-use scheme with a dot in it (RFC 8252 §7.1).
    ///
    /// # Errors
    /// [`RedirectUriError`].
    pub fn parse(text: &str, application: ApplicationType) -> Result<Self, RedirectUriError> {
        // RFC 6749 §3.1.2: "The endpoint URI MUST NOT include a fragment component."
        if text.contains('#') {
            return Err(RedirectUriError::Surplus { part: "fragment" });
        }
        let uri = Uri::read(text)?;
        let is_native = application == ApplicationType::Native;
        match uri.kind {
            Kind::Https => {}
            Kind::Http if is_native && uri.is_loopback() => {}
            Kind::Http => return Err(RedirectUriError::Insecure { found: shown_text(text) }),
            Kind::Other if is_native && uri.scheme.contains('.') => {}
            Kind::Other => return Err(RedirectUriError::Scheme { found: shown_text(text) }),
        }
        Ok(Self { text: text.into(), place: uri.place().into(), any_port: uri.around_port(text) })
    }

    /// The URI as registered.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a request that names `presented` means this one: both are the same text (RFC 9700 §2.1).
    pub fn matches(&self, presented: &str) -> bool {
        // RFC 8252 §7.3: "The authorization server MUST allow any port to be specified at the time of the request for loopback
        // IP redirect URIs". Not for `localhost`, which RFC 9700 §2.1 does not except.
        let differs_in_port = || {
            let (before, after) = self.any_port.as_ref()?;
            let rest = without_port(presented.strip_prefix(&**before)?)?;
            Some(*rest == **after)
        };
        *self.text == *presented || differs_in_port() == Some(true)
    }

    /// What [`place`] makes of it.
    pub fn place(&self) -> &str {
        &self.place
    }
}

/// Where a URI leads, in the form in which places are compared: scheme and host in lower case, a port that is not the usual one,
/// and the path; without query and fragment, and without the port of a loopback address.
///
/// `None` if browsers may read it in more than one way.
pub fn place(uri: &str) -> Option<String> {
    let end = uri.find(['?', '#']).unwrap_or(uri.len());
    let (uri, _) = uri.split_at_checked(end)?;
    Uri::read(uri).ok().map(|uri| uri.place())
}

/// Whether a text is an https URL without userinfo and fragment.
pub(super) fn is_https_url(text: &str) -> bool {
    !text.contains('#') && Uri::read(text).is_ok_and(|uri| uri.kind == Kind::Https)
}

/// Whether a text is the URL of a page over http.
pub(super) fn is_http_url(text: &str) -> bool {
    Uri::read(text).is_ok_and(|uri| uri.kind == Kind::Http)
}

/// The parts of a URI in which a redirect can be told from another.
struct Uri<'u> {
    scheme: &'u str,
    kind: Kind,
    /// The host as written; empty for another scheme than http and https.
    host: &'u str,
    port: Option<u16>,
    /// What comes after the authority, or after the colon of another scheme; without the query.
    path: &'u str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Https,
    Http,
    Other,
}

impl<'u> Uri<'u> {
    /// Reads an absolute URI without a fragment.
    fn read(text: &'u str) -> Result<Self, RedirectUriError> {
        if text.len() > MAX_BYTES {
            return Err(RedirectUriError::TooLong { bytes: text.len() });
        }
        let malformed = || RedirectUriError::Malformed { found: shown_text(text) };
        let (scheme, rest) = text.split_once(':').ok_or_else(malformed)?;
        let (hierarchy, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match hierarchy.strip_prefix("//") {
            Some(rest) => {
                let (authority, path) =
                    rest.split_at_checked(rest.find('/').unwrap_or(rest.len())).unwrap_or((rest, ""));
                (Some(authority), path)
            }
            None => (None, hierarchy),
        };
        // Before any error that shows the text, since a password may be in it.
        if authority.is_some_and(|authority| authority.contains('@')) {
            return Err(RedirectUriError::Surplus { part: "user name" });
        }
        // RFC 3986 §3.3, §3.4. Brackets are for addresses.
        let is_allowed = |b: u8| is_unreserved(b) || b"%!$&'()*+,;=:@/?".contains(&b);
        let has_allowed = |part: &str| part.bytes().all(is_allowed) && has_whole_escapes(part);
        if !is_scheme(scheme) || !has_allowed(path) || !has_allowed(query) {
            return Err(malformed());
        }
        let kind = match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => Kind::Https,
            _ if scheme.eq_ignore_ascii_case("http") => Kind::Http,
            _ => Kind::Other,
        };
        if kind == Kind::Other {
            let is_name = |authority: &str| has_allowed(authority);
            if hierarchy.is_empty() || !authority.is_none_or(is_name) {
                return Err(malformed());
            }
            return Ok(Self { scheme, kind, host: "", port: None, path: hierarchy });
        }
        let host = |why| RedirectUriError::Host { found: shown_text(text), why };
        let authority = authority.ok_or_else(malformed)?;
        if authority.ends_with(':') {
            return Err(host("its port is empty"));
        }
        let parsed = Authority::parse(authority).map_err(host)?;
        match authority.strip_prefix(parsed.host) {
            Some(rest) if rest.is_empty() || rest.starts_with(':') => {}
            Some(_) | None => return Err(host("it ends with a dot")),
        }
        Ok(Self { scheme, kind, host: parsed.host, port: parsed.port, path })
    }

    /// Whether it leads to the device on which it is followed.
    fn is_loopback(&self) -> bool {
        self.has_loopback_address() || self.host.eq_ignore_ascii_case("localhost")
    }

    fn has_loopback_address(&self) -> bool {
        self.host == "127.0.0.1" || same_host(self.host, "[::1]")
    }

    fn place(&self) -> String {
        let scheme = self.scheme.to_ascii_lowercase();
        let usual = match self.kind {
            Kind::Https => 443,
            Kind::Http => 80,
            Kind::Other => return format!("{scheme}:{}", self.path),
        };
        let fixed =
            self.port.filter(|port| *port != usual && !(self.kind == Kind::Http && self.has_loopback_address()));
        let port = fixed.map(|port| format!(":{port}")).unwrap_or_default();
        // RFC 3986 §6.2.3: an empty path is that of the root.
        let path = if self.path.is_empty() { "/" } else { self.path };
        format!("{scheme}://{}{port}{path}", self.host.to_ascii_lowercase())
    }

    /// What is before and after the port in its text, if the port may vary.
    fn around_port(&self, text: &str) -> Option<(Box<str>, Box<str>)> {
        if self.kind != Kind::Http || !self.has_loopback_address() {
            return None;
        }
        let (_, rest) = text.split_once("://")?;
        let rest = without_port(rest.strip_prefix(self.host)?)?;
        Some((format!("{}://{}", self.scheme, self.host).into(), rest.into()))
    }
}

/// What comes after the port with which a text may begin.
fn without_port(text: &str) -> Option<&str> {
    let Some(text) = text.strip_prefix(':') else { return Some(text) };
    let (port, rest) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))?;
    port.parse::<NonZeroU16>().ok().filter(|_| !port.starts_with('0'))?;
    Some(rest)
}

#[cfg(test)]
mod tests {
    use ApplicationType::{Native, Web};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fapi2_as_21_redirect_uris_are_https_or_lead_to_the_device_of_a_native_application() {
        for (uri, for_web, for_native) in [
            ("https://app.example/cb", true, true), // control
            ("HTTPS://App.example:8443/cb?tenant=1", true, true),
            ("https://app.example", true, true),
            ("https://[2001:db8::1]/cb", true, true),
            ("https://127.0.0.1/cb", true, true),
            ("https://app.example/a@b:c", true, true),
            ("http://127.0.0.1/cb", false, true),
            ("http://127.0.0.1:8080/cb", false, true),
            ("http://[::1]:8080/cb", false, true),
            ("http://[0:0::1]/cb", false, true),
            ("http://localhost/cb", false, true),
            ("http://LOCALHOST:1/cb", false, true),
            ("http://127.0.0.2/cb", false, false),
            ("http://[::2]/cb", false, false),
            ("http://app.example/cb", false, false),
            ("http://localhost.app.example/cb", false, false),
            ("http://127.0.0.1.app.example/cb", false, false),
            ("com.example.app:/cb", false, true),
            ("com.example.app://cb", false, true),
            ("app:/cb", false, false),
            ("javascript:alert(1)", false, false),
            ("urn:ietf:wg:oauth:2.0:oob", false, false),
        ] {
            for (application, allowed) in [(Web, for_web), (Native, for_native)] {
                let parsed = RedirectUri::parse(uri, application);
                assert_eq!(parsed.is_ok(), allowed, "{uri} {application:?}: {parsed:?}");
                let reason = parsed.err();
                let expected = match uri {
                    _ if allowed => reason.is_none(),
                    _ if uri.starts_with("http:") => matches!(reason, Some(RedirectUriError::Insecure { .. })),
                    _ => matches!(reason, Some(RedirectUriError::Scheme { .. })),
                };
                assert!(expected, "{uri} {application:?}: {reason:?}");
            }
        }
    }

    #[test]
    fn rfc6749_3_1_2_a_redirect_uri_is_absolute_and_has_no_fragment() {
        use RedirectUriError::{Host, Malformed, Surplus, TooLong};
        let reason = |uri: &str| RedirectUri::parse(uri, Native).unwrap_err();
        assert!(RedirectUri::parse("https://app.example/cb", Native).is_ok()); // control
        for uri in [
            "",
            "/cb",
            "app.example/cb",
            "//app.example/cb",
            "https:/app.example/cb",
            "https:app.example",
            "https://app.example/c b",
            "https://app.example/c\\b",
            "https://app.example/%",
            "https://app.example/%2",
            "https://app.example/cb?a=%zz",
            "https://app.example/cb?a=[1]",
            "https://app.example/é",
            "https://app.example/\n",
            "1.a:/cb",
            ":/cb",
            "com.example.app:",
            "com.example.app://a b",
        ] {
            assert!(matches!(reason(uri), Malformed { .. }), "{uri}: {:?}", reason(uri));
        }
        for uri in [
            "https://",
            "https:///cb",
            "https://app.example:/cb",
            "https://app.example:0/cb",
            "https://app.example:65536/cb",
            "https://app.example./cb",
            "https://app..example/cb",
            "https://*.app.example/cb",
            "https://app.example\\",
            "http://127.0.0.1./cb",
            "http://[::1/cb",
        ] {
            assert!(matches!(reason(uri), Host { .. }), "{uri}: {:?}", reason(uri));
        }
        for (uri, part) in [
            ("https://app.example/cb#", "fragment"),
            ("https://app.example/cb#a", "fragment"),
            ("https://user:password@app.example/cb", "user name"),
            ("https://app.example@other.example/cb", "user name"),
        ] {
            assert_eq!(reason(uri), Surplus { part }, "{uri}");
            assert!(!reason(uri).to_string().contains("password"));
        }
        let long = |length: usize| format!("https://app.example/{}", "a".repeat(length - 20));
        assert!(RedirectUri::parse(&long(MAX_BYTES), Web).is_ok()); // control
        assert_eq!(RedirectUri::parse(&long(MAX_BYTES + 1), Web), Err(TooLong { bytes: MAX_BYTES + 1 }));
    }

    #[test]
    fn rfc9700_2_1_a_redirect_uri_is_compared_as_text() {
        let registered = RedirectUri::parse("https://app.example/cb?tenant=1", Native).unwrap();
        assert!(registered.matches("https://app.example/cb?tenant=1")); // control
        for presented in [
            "https://app.example/cb",
            "https://app.example/cb?tenant=1&x=2",
            "https://app.example/cb?tenant=1#",
            "https://app.example:443/cb?tenant=1",
            "https://APP.example/cb?tenant=1",
            "HTTPS://app.example/cb?tenant=1",
            "https://app.example/c%62?tenant=1",
            "https://app.example/a/../cb?tenant=1",
            "",
        ] {
            assert!(!registered.matches(presented), "{presented}");
        }
    }

    #[test]
    fn rfc8252_7_3_only_the_port_of_a_loopback_address_varies() {
        for (registered, presented, same) in [
            ("http://127.0.0.1/cb", "http://127.0.0.1/cb", true), // control
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb", true),
            ("http://127.0.0.1:8080/cb", "http://127.0.0.1:51004/cb", true),
            ("http://127.0.0.1:8080/cb", "http://127.0.0.1/cb", true),
            ("http://[::1]/cb", "http://[::1]:51004/cb", true),
            ("http://127.0.0.1", "http://127.0.0.1:51004", true),
            ("http://127.0.0.1/cb?a=1", "http://127.0.0.1:51004/cb?a=1", true),
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/other", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb?a=1", false),
            ("http://127.0.0.1/cb", "http://127.0.0.2:51004/cb", false),
            ("http://127.0.0.1/cb", "https://127.0.0.1:51004/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:0/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:080/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:65536/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:1@evil.example/cb", false),
            ("http://127.0.0.1", "http://127.0.0.1.evil.example", false),
            ("http://127.0.0.1", "http://127.0.0.1:1.evil.example", false),
            ("http://[::1]/cb", "http://[0::1]:51004/cb", false),
            ("http://localhost:8080/cb", "http://localhost:8080/cb", true), // control
            ("http://localhost:8080/cb", "http://localhost:51004/cb", false),
            ("https://127.0.0.1:8080/cb", "https://127.0.0.1:51004/cb", false),
            ("https://app.example:8080/cb", "https://app.example:51004/cb", false),
        ] {
            let registered = RedirectUri::parse(registered, Native).unwrap();
            assert_eq!(registered.matches(presented), same, "{registered:?} {presented}");
        }
    }

    #[test]
    fn a_place_is_what_a_browser_goes_to_without_the_query() {
        for (uri, expected) in [
            ("https://app.example/cb", Some("https://app.example/cb")), // control
            ("HTTPS://APP.example:443/cb?code=a%20b&x=[]#y", Some("https://app.example/cb")),
            ("https://app.example:8443?code=1", Some("https://app.example:8443/")),
            ("https://app.example/CB/", Some("https://app.example/CB/")),
            ("http://127.0.0.1:51004/cb?code=1", Some("http://127.0.0.1/cb")),
            ("http://localhost:80/cb", Some("http://localhost/cb")),
            ("http://localhost:81/cb", Some("http://localhost:81/cb")),
            ("https://127.0.0.1:81/cb", Some("https://127.0.0.1:81/cb")),
            ("com.Example.app:/Cb?code=1", Some("com.example.app:/Cb")),
            ("com.example.app://cb?code=1", Some("com.example.app://cb")),
            ("https://app.example@evil.example/cb", None),
            ("https://app.example\\@evil.example/cb", None),
            ("https://app.example/cb\n", None),
            ("//app.example/cb", None),
            ("/cb", None),
            ("", None),
        ] {
            assert_eq!(place(uri).as_deref(), expected, "{uri}");
        }
        let long = format!("https://app.example/cb?code={}", "a".repeat(10 * MAX_BYTES));
        assert_eq!(place(&long).as_deref(), Some("https://app.example/cb"));
    }

    proptest! {
        #[test]
        fn whatever_is_presented_is_judged(
            uri in "(https?|com\\.a)(://|:/|:)(127\\.0\\.0\\.1|\\[::1\\]|a\\.example)?[:@/?#%\\\\\\[\\]a0-9é]{0,12}",
        ) {
            let place = place(&uri);
            if let Ok(registered) = RedirectUri::parse(&uri, Native) {
                prop_assert!(registered.matches(&uri));
                prop_assert_eq!(place.as_deref(), Some(registered.place()));
                let other = uri + "x";
                prop_assert!(!registered.matches(&other));
            }
        }
    }
}
