//! URLs of the configuration, as problems show them.

use std::borrow::Cow;

/// A URL up to its host and port, in code quotes: a secret may be in what comes after them, and in user information before.
pub(super) fn shown(text: &str) -> Cow<'static, str> {
    if text.contains('@') {
        return Cow::Borrowed("the URL");
    }
    let parts = text.split_once("://").filter(|(scheme, _)| scheme.bytes().all(|b| b.is_ascii_alphanumeric()));
    let (scheme, rest) = parts.map_or((None, text), |(scheme, rest)| (Some(scheme), rest));
    let host = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let cut = if host.len() < rest.len() { "…" } else { "" };
    match scheme {
        Some(scheme) => Cow::Owned(format!("`{scheme}://{host}{cut}`")),
        None => Cow::Owned(format!("`{host}{cut}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_up_to_its_host_and_port() {
        for (text, as_shown) in [
            ("redis://127.0.0.1:6379", "`redis://127.0.0.1:6379`"),
            ("redis://127.0.0.1:6379/3?password=secret", "`redis://127.0.0.1:6379…`"),
            ("redis://127.0.0.1#secret", "`redis://127.0.0.1…`"),
            ("https://as.bank.example\\secret", "`https://as.bank.example…`"),
            ("https://user:secret@as.bank.example", "the URL"),
            ("https://user:se/cret@as.bank.example", "the URL"),
            ("as.bank.example/secret", "`as.bank.example…`"),
            ("a?secret://b", "`a…`"),
            ("", "``"),
        ] {
            assert_eq!(shown(text), as_shown, "{text}");
        }
    }
}
