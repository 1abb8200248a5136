//! What systems say of their parts of a trace to each other, in `tracestate` (W3C Trace Context §3.3).
//!
//! The gateway is none of them: it passes the field on, with the trace that it belongs to, or leaves it out.

use http::{HeaderMap, HeaderName};

pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Whether the field, in all its lines, is a list that every system can read. One that is not says nothing against the trace itself:
/// "failure to parse tracestate MUST NOT affect the parsing of traceparent".
pub(super) fn is_well_formed(headers: &HeaderMap) -> bool {
    let mut keys: [&str; MOST_MEMBERS] = [""; MOST_MEMBERS];
    let mut count: usize = 0;
    for line in headers.get_all(TRACESTATE) {
        let Ok(line) = line.to_str() else { return false };
        // §3.3.2: "Empty and whitespace-only list members are allowed." "Spaces and horizontal tabs surrounding list-members are
        // ignored."
        let members =
            line.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty());
        for member in members {
            let Some((key, value)) = member.split_once('=') else { return false };
            let known = keys.get(..count).unwrap_or_default().contains(&key);
            let Some(place) = keys.get_mut(count).filter(|_| !known && is_key(key) && is_value(value)) else {
                return false;
            };
            *place = key;
            count = count.saturating_add(1);
        }
    }
    true
}

/// Of Level 2: a lower-case letter or a digit, and up to 255 more characters.
fn is_key(key: &str) -> bool {
    let begins = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let continues = |byte: &u8| begins(byte) || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@');
    key.len() <= MOST_BYTES && key.as_bytes().first().is_some_and(begins) && key.as_bytes().iter().all(continues)
}

/// Up to 256 printable characters of ASCII, the last of which is no blank: that would have been trimmed.
fn is_value(value: &str) -> bool {
    let character = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'=');
    (1..=MOST_BYTES).contains(&value.len()) && value.bytes().all(character)
}

/// §3.3.2: "There can be a maximum of 32 list-members in a list."
const MOST_MEMBERS: usize = 32;
/// The longest key, and the longest value.
const MOST_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn well_formed(lines: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(TRACESTATE, line.parse().unwrap());
        }
        is_well_formed(&headers)
    }

    fn members(count: usize) -> String {
        (0..count).map(|number| format!("k{number}=v")).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn a_tracestate_is_passed_on_only_when_well_formed() {
        let long = "a".repeat(256);
        for good in [
            "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
            "fw529a3039@dt=FfAB",
            "0tenant@x-y_z*a/b=!\"#$ %~",
            " a=1 ,, b=2\t,",
            &format!("{long}={long}"),
            &members(32),
            "",
        ] {
            assert!(well_formed(&[good]), "{good}");
        }
        assert!(well_formed(&["a=1", "b=2"]));
        for bad in [
            "a",
            "=1",
            "a=",
            "a=1=2",
            "A=1",
            "@a=1",
            "a b=1",
            "a=1,a=2",
            "a=1;b=2, c",
            &format!("a{long}=1"),
            &format!("a=1{long}"),
            &members(33),
        ] {
            assert!(!well_formed(&[bad]), "{bad}");
        }
        assert!(!well_formed(&["a=1", "a=2"]), "a key counts in all lines");
        let mut other = HeaderMap::new();
        other.insert(TRACESTATE, http::HeaderValue::from_bytes(b"a=\xff").unwrap());
        assert!(!is_well_formed(&other));
    }

    proptest! {
        #[test]
        fn no_value_makes_it_fail(line in "\\PC{0,80}|([a-z@]{0,3}=?[ -~]{0,4},?){0,40}") {
            if line.parse::<http::HeaderValue>().is_ok() {
                well_formed(&[&line, &line]);
            }
        }
    }
}
