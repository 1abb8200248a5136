//! The parameters of a request to an authorization server, read once and in one way.
//!
//! `application/x-www-form-urlencoded` is read by as many rules as there are libraries: some split at `;`, some take the first and
//! some the last of two parameters of a name, some ignore case, and some read `client.id` and `client_id[]` as `client_id`. What
//! the gateway checks has to be what the server behind it reads, so a text with several readings is refused, not repaired.

use std::borrow::Cow;

use crate::text::{printable, read_escape};

/// The parameters, in their order. None has an empty value, and no name occurs twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters<'r>(Vec<(&'r str, Cow<'r, str>)>);

/// Why parameters cannot be read, or not in one way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParametersError {
    /// There are more than [`MAX_PARAMETERS`].
    #[error("there are more than {MAX_PARAMETERS} parameters")]
    TooMany,
    /// A name or a value is not written as the form is.
    #[error("the parameter {name:?} {why}")]
    Malformed {
        /// What there is of its name, truncated and made printable.
        name: Box<str>,
        /// What is wrong.
        why: &'static str,
    },
    /// A name occurs more than once (RFC 6749 §3.1, §3.2).
    #[error("the parameter {name:?} occurs more than once")]
    Repeated {
        /// The name.
        name: Box<str>,
    },
    /// Some servers would read it as a parameter that it is not.
    #[error("the parameter {name:?} is written otherwise than {meant:?}, and some servers read it as that")]
    Disguised {
        /// The name, truncated and made printable.
        name: Box<str>,
        /// The parameter.
        meant: &'static str,
    },
}

impl<'r> Parameters<'r> {
    /// Reads a form or a query. A parameter without a value counts as omitted (RFC 6749 §3.1).
    ///
    /// # Errors
    /// [`ParametersError`], for the first parameter that has no single reading.
    pub fn parse(text: &'r [u8]) -> Result<Self, ParametersError> {
        let mut all: Vec<(&str, Cow<'_, str>)> = Vec::new();
        if text.is_empty() {
            return Ok(Self(all));
        }
        for parameter in text.split(|byte| *byte == b'&') {
            if all.len() >= MAX_PARAMETERS {
                return Err(ParametersError::TooMany);
            }
            let (name, value) = read(parameter)?;
            if all.iter().any(|(other, _)| reads_alike(other, name)) {
                return Err(ParametersError::Repeated { name: printable(name) });
            }
            if let Some(meant) = KNOWN.iter().find(|known| **known != name && reads_alike(known, name)) {
                return Err(ParametersError::Disguised { name: printable(name), meant });
            }
            all.push((name, value));
        }
        all.retain(|(_, value)| !value.is_empty());
        Ok(Self(all))
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value)
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, &**value))
    }
}

/// Reads a name and a value.
fn read(parameter: &[u8]) -> Result<(&str, Cow<'_, str>), ParametersError> {
    let malformed = |name: &[u8], why| {
        let name = printable(&String::from_utf8_lossy(name));
        Err(ParametersError::Malformed { name, why })
    };
    let (name, value) = match memchr::memchr(b'=', parameter) {
        Some(at) => parameter.split_at(at),
        None => (parameter, &b"="[..]),
    };
    let value = value.strip_prefix(b"=").unwrap_or(value);
    // RFC 6749 §8.2, `param-name`: everything else is read in another way by somebody.
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let Some(name) = std::str::from_utf8(name).ok().filter(|name| !name.is_empty() && name.bytes().all(|b| plain(&b)))
    else {
        return malformed(name, "has a name with other characters than letters, digits, `-`, `.` and `_`");
    };
    // A serializer escapes all others; some parsers end a value at `;`, and some at what comes after `#`.
    if value.iter().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b';' | b'#')) {
        return malformed(name.as_bytes(), "has a character that must be escaped");
    }
    if !value.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return match std::str::from_utf8(value) {
            Ok(value) => Ok((name, value.into())),
            Err(_) => malformed(name.as_bytes(), "is not UTF-8"),
        };
    }
    let mut decoded = Vec::with_capacity(value.len());
    let mut bytes = value.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => decoded.push(b' '),
            b'%' => match read_escape(&mut bytes) {
                Some(byte) => decoded.push(byte),
                None => return malformed(name.as_bytes(), "has an escape that is none"),
            },
            _ => decoded.push(byte),
        }
    }
    match String::from_utf8(decoded) {
        Ok(value) if value.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) => {
            malformed(name.as_bytes(), "has a control character")
        }
        Ok(value) => Ok((name, value.into())),
        Err(_) => malformed(name.as_bytes(), "is not UTF-8"),
    }
}

/// Whether somebody reads both names as one: some ignore case, and PHP reads a dot as an underscore.
fn reads_alike(one: &str, other: &str) -> bool {
    let folded = |byte: u8| if byte == b'.' { b'_' } else { byte.to_ascii_lowercase() };
    one.len() == other.len() && one.bytes().map(folded).eq(other.bytes().map(folded))
}

/// How many parameters there may be: a request to an authorization server has some twenty.
pub const MAX_PARAMETERS: usize = 64;

/// The parameters on which something depends.
const KNOWN: &[&str] = &[
    "acr_values",
    "assertion",
    "authorization_details",
    "claims",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code",
    "code_challenge",
    "code_challenge_method",
    "code_verifier",
    "dpop_jkt",
    "grant_type",
    "iss",
    "nonce",
    "password",
    "redirect_uri",
    "refresh_token",
    "request",
    "request_uri",
    "resource",
    "response_mode",
    "response_type",
    "scope",
    "state",
    "token",
    "token_type_hint",
    "username",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(text: &str) -> Result<Vec<(String, String)>, ParametersError> {
        let parameters = Parameters::parse(text.as_bytes())?;
        Ok(parameters.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn why(text: &str) -> String {
        read_all(text).unwrap_err().to_string()
    }

    #[test]
    fn fapi2_as_31_a_parameter_has_one_name_and_one_value() {
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        for (text, expected) in [
            ("", pairs(&[])),
            ("a=b", pairs(&[("a", "b")])),
            ("client_id=c&scope=a+b%20c", pairs(&[("client_id", "c"), ("scope", "a b c")])),
            ("redirect_uri=https://c.example/cb?x=1", pairs(&[("redirect_uri", "https://c.example/cb?x=1")])),
            ("state=%C3%A4%0A", pairs(&[("state", "ä\n")])),
            // RFC 6749 §3.1: "Parameters sent without a value MUST be treated as if they were omitted from the request."
            ("scope=&nonce&a=b", pairs(&[("a", "b")])),
            ("x.y=1&x-y=2", pairs(&[("x.y", "1"), ("x-y", "2")])),
        ] {
            assert_eq!(read_all(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn fapi2_as_31_a_name_does_not_occur_twice_whoever_reads_it() {
        for (text, name) in [
            ("a=1&a=1", "a"),
            ("a=&a=1", "a"),
            ("a&a", "a"),
            ("client_id=1&x=2&client_id=3", "client_id"),
            ("abc=1&ABC=2", "ABC"),
            ("x_y=1&x.y=2", "x.y"),
        ] {
            assert_eq!(read_all(text), Err(ParametersError::Repeated { name: name.into() }), "{text}");
        }
    }

    #[test]
    fn what_some_server_reads_otherwise_is_refused() {
        for (name, meant) in [
            ("Request_Uri", "request_uri"),
            ("client.id", "client_id"),
            ("SCOPE", "scope"),
            ("grant.Type", "grant_type"),
        ] {
            let expected = ParametersError::Disguised { name: name.into(), meant };
            assert_eq!(read_all(&format!("{name}=x")), Err(expected));
            assert!(read_all(&format!("{meant}=x")).is_ok(), "control");
        }
        for text in
            ["client_id[]=x", "client_id%5B%5D=x", "=x", "client_id%00=x", " client_id=x", "a%=x", "ä=x", "a&&b", "&"]
        {
            assert!(why(text).contains("has a name with other characters"), "{text}: {}", why(text));
        }
        for text in ["a=1;b=2", "a=x#y", "a=b c", "a=\u{7f}", "a=ä", "a=\t"] {
            assert!(why(text).contains("must be escaped"), "{text}");
        }
        for text in ["a=%", "a=%4", "a=%zz", "a=%u0041"] {
            assert!(why(text).contains("an escape that is none"), "{text}");
        }
        assert!(why("a=%ff").contains("is not UTF-8"));
        for text in ["a=%00", "a=x%7F", "a=%C2%85"] {
            assert!(why(text).contains("a control character"), "{text}");
        }
    }

    #[test]
    fn there_are_so_many_parameters_and_no_more() {
        let some = |count: usize| (0..count).map(|number| format!("p{number}=1")).collect::<Vec<_>>().join("&");
        assert_eq!(read_all(&some(MAX_PARAMETERS)).map(|all| all.len()), Ok(MAX_PARAMETERS));
        assert_eq!(read_all(&some(MAX_PARAMETERS + 1)), Err(ParametersError::TooMany));
    }

    proptest! {
        #[test]
        fn what_a_serializer_writes_is_read_as_it_was(values in proptest::collection::vec("[ -~ä-ü]{1,20}", 0..8)) {
            let mut serializer = form_urlencoded::Serializer::new(String::new());
            for (number, value) in values.iter().enumerate() {
                serializer.append_pair(&format!("p{number}"), value);
            }
            let text = serializer.finish();
            let found: Vec<String> = read_all(&text).unwrap().into_iter().map(|(_, value)| value).collect();
            prop_assert_eq!(found, values);
        }

        /// What is accepted, the WHATWG's parser reads in the same way.
        #[test]
        fn what_is_read_is_what_others_read(text in "[a-c=&%+0-9;\\[\\]. ]{0,40}") {
            if let Ok(found) = read_all(&text) {
                let others: Vec<(String, String)> = form_urlencoded::parse(text.as_bytes())
                    .map(|(name, value)| (name.into_owned(), value.into_owned()))
                    .filter(|(_, value)| !value.is_empty())
                    .collect();
                prop_assert_eq!(found, others);
            }
        }

        #[test]
        fn never_panics(text: Vec<u8>) {
            let _ = Parameters::parse(&text);
        }
    }
}
