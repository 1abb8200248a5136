//! What is printed of a signature base.
//!
//! A line is printed as it is, unless its value is a credential: then the length of the value and its SHA-256 stand in its place,
//! by which two values are told apart all the same.

use fapi::sha256;
use fapi::signature::component::{Component, Name};
use fapi::signature::error::SignatureError;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE};

/// A line of the signature base as this side computes it.
pub(super) struct Line {
    /// The identifier.
    pub(super) identifier: String,
    /// The line, or why it cannot be computed. Never printed as it is.
    pub(super) text: Result<String, SignatureError>,
}

/// The value of a line as it may be printed.
pub(super) enum Value<'l> {
    /// The value itself.
    Plain(&'l str),
    /// In place of a credential.
    Hidden { bytes: usize, sha256: String },
}

impl Line {
    /// That of a component.
    pub(super) fn of(component: &Component, text: Result<String, SignatureError>) -> Self {
        Self { identifier: component.to_string(), text }
    }

    /// That of `@signature-params`.
    pub(super) fn last(parameters: &str) -> Self {
        let identifier = "\"@signature-params\"";
        Self { identifier: identifier.to_owned(), text: Ok(format!("{identifier}: {parameters}")) }
    }

    /// Its value as it may be printed.
    pub(super) fn value(&self) -> Result<Value<'_>, &SignatureError> {
        let text = self.text.as_deref()?;
        let value = text.get(self.identifier.len().saturating_add(2)..).unwrap_or_default();
        Ok(Value::of(&self.identifier, value))
    }

    /// The whole line as it may be printed.
    pub(super) fn printed(&self) -> String {
        match self.value() {
            Ok(value) => format!("{}: {}", self.identifier, value.printed()),
            Err(error) => format!("{}: none, {error}", self.identifier),
        }
    }
}

impl<'l> Value<'l> {
    fn of(identifier: &str, value: &'l str) -> Self {
        if is_credential(identifier, value) { Self::hidden(value) } else { Self::Plain(value) }
    }

    fn hidden(value: &str) -> Self {
        Self::Hidden { bytes: value.len(), sha256: data_encoding::HEXLOWER.encode(&sha256(value.as_bytes())) }
    }

    fn printed(&self) -> String {
        match self {
            Self::Plain(value) => printable(value),
            Self::Hidden { bytes, sha256 } => format!("({bytes} bytes, SHA-256 {sha256})"),
        }
    }
}

/// A line of a base that the other side has made, as it may be printed. It may be anything: only what has the name of a
/// component, and is no credential, is shown.
pub(in crate::commands) fn foreign(line: &str) -> String {
    match line.split_once(": ").filter(|(identifier, _)| is_name(&name_of(identifier))) {
        Some((identifier, value)) => format!("{}: {}", printable(identifier), Value::of(identifier, value).printed()),
        None => Value::hidden(line).printed(),
    }
}

/// The name in an identifier, or in what should have been one, such as a name without its quotes.
fn name_of(identifier: &str) -> String {
    match identifier.parse::<Component>() {
        Ok(component) => match component.name() {
            Name::Field(name) => name.as_str().to_owned(),
            Name::Derived(derived) => derived.as_str().to_owned(),
        },
        Err(_) => identifier.split(';').next().unwrap_or_default().trim_matches(['"', ' ']).to_ascii_lowercase(),
    }
}

/// Whether a text can be the name of a component. A token can, but for its length.
fn is_name(name: &str) -> bool {
    // That of a seal, which RFC 9421 has under another.
    if name == REQUEST_TARGET {
        return true;
    }
    let name = name.strip_prefix('@').unwrap_or(name);
    name.len() <= 64 && http::HeaderName::from_bytes(name.as_bytes()).is_ok()
}

/// Whether a value is, or has in it, what lets somebody act in the client's place.
fn is_credential(identifier: &str, value: &str) -> bool {
    let name = name_of(identifier);
    let fields = [AUTHORIZATION.as_str(), PROXY_AUTHORIZATION.as_str(), COOKIE.as_str(), SET_COOKIE.as_str(), "dpop"];
    let has_scheme = |scheme: &str| value.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme));
    // RFC 6750 §2.3, which FAPI forbids: a token in a query.
    let in_query = |text: &str| text.to_ascii_lowercase().contains("access_token");
    let is_derived = name == REQUEST_TARGET || name.starts_with('@') && name != "@signature-params";
    fields.contains(&&*name)
        || ["bearer ", "dpop ", "basic "].into_iter().any(has_scheme)
        || is_derived && (in_query(identifier) || in_query(value))
}

/// The method and the target, as draft-cavage-http-signatures has them.
const REQUEST_TARGET: &str = "(request-target)";

/// Text that may stand in a terminal: what is not printable ASCII is escaped.
pub(in crate::commands) fn printable(text: &str) -> String {
    let escape = |character: char| match character {
        ' '..='~' => character.to_string(),
        other => other.escape_default().to_string(),
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(identifier: &str, value: &str) -> String {
        Line::of(&identifier.parse().unwrap(), Ok(format!("{identifier}: {value}"))).printed()
    }

    #[test]
    fn credentials_are_not_printed() {
        let plain = "\"@method\": POST";
        assert_eq!(ours("\"@method\"", "POST"), plain); // control
        assert_eq!(foreign(plain), plain);
        assert_eq!(foreign("@method: POST"), "@method: POST", "without its quotes");
        assert_eq!(foreign("(request-target): get /a"), "(request-target): get /a", "of a seal");
        assert!(foreign("(request-target): get /a?access_token=x").starts_with("(request-target): ("));
        let secret = "c2VjcmV0IQ";
        let hash = data_encoding::HEXLOWER.encode(&sha256(secret.as_bytes()));
        for identifier in ["\"authorization\"", "\"dpop\"", "\"dpop\";bs", "\"cookie\"", "\"authorization\";req"] {
            let printed = ours(identifier, secret);
            assert_eq!(printed, format!("{identifier}: (10 bytes, SHA-256 {hash})"));
            assert_eq!(foreign(&format!("{identifier}: {secret}")), printed);
        }
        let long = format!("{0}.{0}: x", secret.repeat(4));
        for line in [
            &*long,
            "Authorization: c2VjcmV0IQ",
            "authorization: c2VjcmV0IQ",
            "c2VjcmV0IQ",
            "DPoP c2VjcmV0IQ",
            "a b: c2VjcmV0IQ",
            "DPoP c2VjcmV0IQ: x",
            "\"x-token\": Bearer c2VjcmV0IQ",
            "\"@target-uri\": https://a/?access_token=c2VjcmV0IQ",
            "\"@query-param\";name=\"access_token\": c2VjcmV0IQ",
            "\"authorization\": DPoP c2VjcmV0IQ",
        ] {
            assert!(!foreign(line).contains(secret), "{}", foreign(line));
        }
    }

    #[test]
    fn a_terminal_is_not_told_what_to_do() {
        assert_eq!(foreign("\"x\": \u{1b}[2J\u{202e}a\tb\r"), "\"x\": \\u{1b}[2J\\u{202e}a\\tb\\r");
    }
}
