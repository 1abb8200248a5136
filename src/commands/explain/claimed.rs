//! What a token or a proof says of itself, before anyone has verified it: for display only.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fapi::jose::json::parse_object;
use serde_json::{Map, Value};

/// The header and the payload of a JWS; never its signature.
pub(super) struct Jws {
    header: Map<String, Value>,
    payload: Map<String, Value>,
}

impl Jws {
    /// Reads a compact JWS; `None` for anything else, such as an opaque token.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let mut part = || parse_object(&URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok();
        Some(Self { header: part()?, payload: part()? })
    }

    pub(super) fn header(&self, name: &str) -> Option<&Value> {
        self.header.get(name)
    }

    pub(super) fn claim(&self, name: &str) -> Option<&Value> {
        self.payload.get(name)
    }

    /// `name value` for each of these members of the header and claims, or that it is missing.
    pub(super) fn list(&self, header: &[&str], claims: &[&str]) -> String {
        let header = header.iter().map(|name| (name, self.header.get(*name)));
        let claims = claims.iter().map(|name| (name, self.payload.get(*name)));
        let all = header.chain(claims).map(|(name, value)| match value {
            Some(value) => format!("{name} {}", shown(value)),
            None => format!("no {name}"),
        });
        all.collect::<Vec<_>>().join(", ")
    }
}

/// A value as it may stand in a terminal: printable ASCII of bounded length.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    let mut shown: String =
        text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(MAX_CHARACTERS).collect();
    if text.chars().count() > MAX_CHARACTERS {
        shown.push_str("...");
    }
    shown
}

const MAX_CHARACTERS: usize = 160;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_shown_is_printable_and_short() {
        assert_eq!(shown(&json!("at+jwt")), "\"at+jwt\"");
        assert_eq!(shown(&json!("\u{202e}x")), "\"?x\"");
        assert_eq!(shown(&json!("x".repeat(1000))).len(), MAX_CHARACTERS + 3);
    }

    #[test]
    fn an_opaque_token_is_no_jws() {
        assert!(Jws::read("eyJhbGciOiJFUzI1NiJ9.e30.sig").is_some()); // control
        for text in ["opaque", "a.b.c", "..", ""] {
            assert!(Jws::read(text).is_none(), "{text}");
        }
    }
}
