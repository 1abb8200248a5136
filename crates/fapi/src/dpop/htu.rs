//! The claim `htu`, compared with the URI of the request (RFC 9449 §4.3 (9)).
//!
//! The two sides are read differently. The claim is normalised leniently, as RFC 3986 §6.2.2 and §6.2.3 allow. The
//! request target has been judged strictly before ([`Target`]); only its escapes are converted to upper case, and those
//! of unreserved characters, which some routes take, are decoded. The expected origin is the configured one, never a
//! field of the request.

use percent_encoding::percent_encode_byte;

use crate::route::Target;
use crate::text::{is_unreserved, printable, read_escape};

/// A part of `htu` that differs from the request's URI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {part} of htu differs: {found:?}, expected {expected:?}")]
pub struct HtuMismatch {
    /// `scheme`, `host`, `port`, `prefix`, `path`, or `form` if it is not an absolute URI.
    pub part: &'static str,
    /// The claim, truncated and made printable.
    pub found: Box<str>,
    /// The URI of the request.
    pub expected: Box<str>,
}

/// Checks that the claim is the URI of the request.
///
/// # Errors
/// [`HtuMismatch`], with the first part that differs.
pub(super) fn check(claim: &str, target: &Target<'_>) -> Result<(), HtuMismatch> {
    // RFC 9449 §4.3 (9): the URI is compared "ignoring any query and fragment parts".
    let bare = claim.split(['?', '#']).next().unwrap_or_default();
    // The error leaves out what could be a secret: what was ignored, and the userinfo.
    let shown = bare.rsplit('@').next().unwrap_or_default();
    let differs = |part| HtuMismatch { part, found: printable(shown), expected: target.htu().into() };
    let (scheme, rest) = bare.split_once("://").ok_or_else(|| differs("form"))?;
    if !scheme.eq_ignore_ascii_case("https") {
        return Err(differs("scheme"));
    }
    let (authority, path) = rest.find('/').and_then(|at| rest.split_at_checked(at)).unwrap_or((rest, "/"));
    if authority.contains('@') || !authority.is_ascii() {
        return Err(differs("form"));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        Some(_) | None => (authority, ""),
    };
    let origin = target.origin();
    if !host.eq_ignore_ascii_case(origin.host()) {
        return Err(differs("host"));
    }
    // RFC 3986 §6.2.3: an empty port or the scheme's default port may be omitted; §3.2.3: a port has only digits.
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = if port.is_empty() { Some(443) } else { port.parse().ok().filter(|_| digits) };
    if port != Some(origin.port()) {
        return Err(differs("port"));
    }
    let path = normalized(path).ok_or_else(|| differs("path"))?;
    let own = path
        .strip_prefix(&*upper_escapes(origin.prefix()))
        .filter(|rest| rest.starts_with('/'))
        .ok_or_else(|| differs("prefix"))?;
    if own == target.path() || own == spelled(target.path()) { Ok(()) } else { Err(differs("path")) }
}

/// Normalises a path (RFC 3986 §6.2.2): escapes in upper case, unreserved characters unescaped, dot segments removed.
fn normalized(path: &str) -> Option<String> {
    unescaped(path).map(|text| without_dot_segments(&text))
}

/// The path of a target in the spelling of [`normalized`]; it has no dot segments.
fn spelled(path: &str) -> String {
    unescaped(path).unwrap_or_else(|| path.to_owned())
}

/// Writes escapes in upper case and unreserved characters without them; `None` if a percent sign begins no escape.
fn unescaped(path: &str) -> Option<String> {
    let mut text = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let (escape, after) = after.split_at_checked(2)?;
        let byte = read_escape(&mut escape.bytes())?;
        if is_unreserved(byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(percent_encode_byte(byte));
        }
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

/// Removes dot segments (RFC 3986 §5.2.4) from a path that begins with `/`.
fn without_dot_segments(path: &str) -> String {
    if !path.contains("/.") {
        return path.to_owned();
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." if last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop();
                if last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

/// The URI of the request in its only spelling: requests that differ only in escapes, in their case or in whether an
/// unreserved character has one, match the same claim, so that a proof cannot be used once for each spelling.
pub(super) fn of_target(target: &Target<'_>) -> String {
    let origin = target.htu();
    let origin = origin.strip_suffix(target.path()).unwrap_or_default();
    format!("{}{}", upper_escapes(origin), spelled(target.path()))
}

fn upper_escapes(path: &str) -> String {
    let mut parts = path.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (escape, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        text.push('%');
        text.push_str(&escape.to_ascii_uppercase());
        text.push_str(rest);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Request;
    use proptest::prelude::*;

    use super::*;
    use crate::route::{Origin, PathCharacters};

    /// The part in which `claim` differs from a request for `path` at `origin`.
    fn differs(origin: &str, path: &str, claim: &str) -> Option<&'static str> {
        let (request, ()) = Request::get(path).body(()).unwrap().into_parts();
        let origin = Arc::new(Origin::parse(origin).unwrap());
        let target = Target::parse_with(&request, &origin, PathCharacters::Uri).unwrap();
        check(claim, &target).err().map(|mismatch| mismatch.part)
    }

    #[test]
    fn att_a5_what_an_operator_is_shown_has_no_query_and_no_userinfo() {
        let (request, ()) = Request::get("/a").body(()).unwrap().into_parts();
        let origin = Arc::new(Origin::parse("https://api.example").unwrap());
        let target = Target::parse(&request, &origin).unwrap();
        for claim in
            ["https://api.example/b?access_token=secret", "https://u:secret@api.example/a", "https://secret@x/#secret"]
        {
            let shown = check(claim, &target).unwrap_err().to_string();
            assert!(!shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn dpop_11_the_first_part_that_differs_is_named() {
        for (claim, part) in [
            ("https://api.example/bank/a", None), // control
            ("/bank/a", Some("form")),
            ("https:/api.example/bank/a", Some("form")),
            ("https://u@api.example/bank/a", Some("form")),
            ("http://other.example:1/x", Some("scheme")),
            ("https://other.example:1/x", Some("host")),
            ("https://api.example:1/x", Some("port")),
            ("https://api.example/x", Some("prefix")),
            ("https://api.example/bank/x", Some("path")),
            ("https://api.example/bank/%zz", Some("path")),
        ] {
            assert_eq!(differs("https://api.example/bank", "/a", claim), part, "{claim}");
        }
    }

    #[test]
    fn dpop_13_ports_have_digits_and_nothing_else() {
        for (port, part) in [
            ("", None), // control
            (":", None),
            (":443", None),
            (":+443", Some("port")),
            (":-443", Some("port")),
            (": 443", Some("port")),
            (":443x", Some("port")),
            (":65979", Some("port")),
            (":8443", Some("port")),
        ] {
            let claim = format!("https://api.example{port}/a");
            assert_eq!(differs("https://api.example", "/a", &claim), part, "{claim}");
        }
        assert_eq!(differs("https://api.example:8443", "/a", "https://api.example:8443/a"), None);
        assert_eq!(differs("https://api.example:8443", "/a", "https://api.example/a"), Some("port"));
        assert_eq!(differs("https://[2001:db8::1]", "/a", "https://[2001:DB8::1]/a"), None);
        assert_eq!(differs("https://[2001:db8::1]:1", "/a", "https://[2001:db8::1]:1/a"), None);
        assert_eq!(differs("https://[2001:db8::1]:1", "/a", "https://[2001:db8::1]/a"), Some("port"));
    }

    #[test]
    fn dpop_13_dot_segments_go_as_rfc_3986_says() {
        // RFC 3986 §5.2.4 and §5.4, the paths among its examples.
        for (path, expected) in [
            ("/a/b/c/./../../g", "/a/g"),
            ("/b/c/..", "/b/"),
            ("/b/c/.", "/b/c/"),
            ("/../g", "/g"),
            ("/b/c/g..", "/b/c/g.."),
            ("/b/c/..g", "/b/c/..g"),
            ("/a//../b", "/a/b"),
            ("/%2e%2E/g", "/g"),
            ("/%7euser/%c3%a9", "/~user/%C3%A9"),
            ("/%2561", "/%2561"),
        ] {
            assert_eq!(normalized(path).as_deref(), Some(expected), "{path}");
        }
        for path in ["/%", "/%4", "/%zz", "/%+4", "/%-1", "/%é"] {
            assert_eq!(normalized(path), None, "{path}");
        }
    }

    #[test]
    fn dpop_13_a_claim_fits_a_path_with_data_in_each_equivalent_spelling() {
        for (path, claim, part) in [
            ("/a;v=1", "/a;v=1", None), // control
            ("/a;v=1", "/a%3Bv=1", Some("path")),
            ("/a%3bv=1", "/a%3Bv=1", None),
            ("/a%3Bv=1", "/a;v=1", Some("path")),
            ("/100%25", "/100%25", None),
            ("/100%25", "/100%2525", Some("path")),
            ("/%7euser/%41", "/~user/A", None),
            ("/%7euser/%41", "/%7Euser/%41", None),
            ("/~user/A", "/%7Euser/%41", None),
            ("/a%257Eb", "/a~b", Some("path")),
            ("/a%2eb.", "/a.b.", None),
            ("/a%3Fb", "/a%3Fb", None),
            ("/a%3Fb", "/a?b", Some("path")),
            ("/a%23b", "/a#b", Some("path")),
        ] {
            let claim = format!("https://api.example{claim}");
            assert_eq!(differs("https://api.example", path, &claim), part, "{path} {claim}");
        }
    }

    #[test]
    fn dpop_39_targets_that_one_claim_fits_have_one_spelling() {
        let spelling = |path: &str| {
            let (request, ()) = Request::get(path).body(()).unwrap().into_parts();
            let origin = Arc::new(Origin::parse("https://api.example/b%c3%a9").unwrap());
            of_target(&Target::parse_with(&request, &origin, PathCharacters::Uri).unwrap())
        };
        assert_eq!(spelling("/%c3%a9"), "https://api.example/b%C3%A9/%C3%A9");
        assert_eq!(spelling("/%c3%a9"), spelling("/%C3%A9"));
        assert_ne!(spelling("/a%20b"), spelling("/A%20b"));
        assert_eq!(spelling("/%7ea;b%3b"), "https://api.example/b%C3%A9/~a;b%3B");
        assert_eq!(spelling("/%7Ea"), spelling("/~a"));
        assert_ne!(spelling("/a%3Bb"), spelling("/a;b"));
        assert_ne!(spelling("/a%257Eb"), spelling("/a%7Eb"));
        for claim in ["https://api.example/b%c3%a9/%C3%A9", "https://api.example/b%C3%A9/%c3%a9"] {
            assert_eq!(differs("https://api.example/b%c3%a9", "/%c3%A9", claim), None, "{claim}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(claim in "(https://)?\\PC{0,40}") {
            let _ = differs("https://api.example/bank", "/a", &claim);
        }

        #[test]
        fn a_request_fits_its_own_uri_and_no_other_path(path in "(/[a-z0-9~_-]{1,4}|/%C3%A9){1,4}", other in "(/[a-z0-9~_-]{1,4}){1,4}") {
            let own = format!("https://api.example/bank{path}");
            prop_assert_eq!(differs("https://api.example/bank", &path, &own), None);
            let another = format!("https://api.example/bank{other}");
            prop_assert_eq!(differs("https://api.example/bank", &path, &another).is_none(), path == other);
        }
    }
}
