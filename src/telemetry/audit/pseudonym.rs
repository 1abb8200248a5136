//! Pseudonyms in place of what names a person: the HMAC-SHA-256 (RFC 2104) of it, with a key that only the operator has.
//!
//! One value has one pseudonym under one key, so that requests of one person are still found together.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::json::Value;

/// What is replaced by a pseudonym, and the key. `Debug` does not show it.
#[derive(Clone)]
pub struct Pseudonyms {
    key: hmac::Key,
    subject: bool,
    client_address: bool,
}

impl Pseudonyms {
    /// Replaces these fields.
    pub fn new(key: &[u8; 32], subject: bool, client_address: bool) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), subject, client_address }
    }

    fn of(&self, value: &str) -> Pseudonym {
        let mut bytes = [0; 32];
        // The tag has as many bytes.
        bytes.copy_from_slice(hmac::sign(&self.key, value.as_bytes()).as_ref());
        Pseudonym(bytes)
    }
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pseudonyms")
            .field("subject", &self.subject)
            .field("client_address", &self.client_address)
            .finish_non_exhaustive()
    }
}

/// 43 characters in base64url.
pub(super) struct Pseudonym([u8; 32]);

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// A value as the audit has it.
pub(super) enum Named<T> {
    Plain(T),
    Pseudonym(Pseudonym),
}

impl<T: Value> Value for Named<T> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Plain(value) => value.write(out),
            Self::Pseudonym(Pseudonym(bytes)) => bytes.write(out),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Named<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(value) => value.fmt(f),
            Self::Pseudonym(pseudonym) => pseudonym.fmt(f),
        }
    }
}

/// The subject of a token as the audit has it.
pub(super) fn subject<'s>(pseudonyms: Option<&Pseudonyms>, subject: &'s str) -> Named<&'s str> {
    match pseudonyms.filter(|pseudonyms| pseudonyms.subject) {
        Some(pseudonyms) => Named::Pseudonym(pseudonyms.of(subject)),
        None => Named::Plain(subject),
    }
}

/// The address of a client as the audit has it.
pub(super) fn client_address(pseudonyms: Option<&Pseudonyms>, address: std::net::IpAddr) -> Named<std::net::IpAddr> {
    match pseudonyms.filter(|pseudonyms| pseudonyms.client_address) {
        Some(pseudonyms) => Named::Pseudonym(pseudonyms.of(&address.to_string())),
        None => Named::Plain(address),
    }
}

/// A text about a request, in which its subject is what it is elsewhere. It stands there as details quote it: in quotes, and
/// perhaps cut off or with other characters in place of some.
pub(super) fn without_subject(pseudonyms: Option<&Pseudonyms>, text: String, subject: Option<&str>) -> String {
    match (pseudonyms.filter(|pseudonyms| pseudonyms.subject), subject.filter(|subject| !subject.is_empty())) {
        (Some(pseudonyms), Some(subject)) => {
            text.replace(&*fapi::text::shown_text(subject), &format!("\"{}\"", pseudonyms.of(subject)))
        }
        (Some(_), None) | (None, _) => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: impl Value) -> String {
        let mut out = Vec::new();
        value.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_pseudonym_is_the_hmac_of_the_value() {
        // RFC 4231 §4.3 has a shorter key; HMAC pads each to a block with zeros.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let expected = "\"W9zBRr9gdU5qBCQmCJV1x1oAP506BB2Dnez8lkOGqyg\"".len();
        let pseudonyms = Pseudonyms::new(&key, true, false);
        let written = written(subject(Some(&pseudonyms), "what do ya want for nothing?"));
        assert_eq!(written.len(), expected);
        let bytes = URL_SAFE_NO_PAD.decode(written.trim_matches('"')).unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn only_what_is_chosen_is_replaced() {
        let address = std::net::IpAddr::from([192, 0, 2, 1]);
        let of = |pseudonyms: Option<&Pseudonyms>| {
            (written(subject(pseudonyms, "customer-1")), written(client_address(pseudonyms, address)))
        };
        let plain = of(None);
        assert_eq!(plain, ("\"customer-1\"".to_owned(), "\"192.0.2.1\"".to_owned())); // control
        let key = [7; 32];
        let both = of(Some(&Pseudonyms::new(&key, true, true)));
        assert!(both.0 != plain.0 && both.1 != plain.1 && both.0 != both.1);
        assert_eq!(of(Some(&Pseudonyms::new(&key, true, false))), (both.0.clone(), plain.1.clone()));
        assert_eq!(of(Some(&Pseudonyms::new(&key, false, true))), (plain.0, both.1));
        assert_ne!(of(Some(&Pseudonyms::new(&[8; 32], true, true))).0, both.0);
    }

    #[test]
    fn a_text_has_no_subject_that_is_replaced_elsewhere() {
        let pseudonyms = Pseudonyms::new(&[7; 32], true, false);
        let detail =
            |subject: &str| format!("the claim /sub is {}, which is none of these", fapi::text::shown_text(subject));
        let text = detail("customer-1");
        let long = "x".repeat(200);
        for subject in ["customer-1", "josé@bank.example", "a \"quoted\\ one", "e", &long] {
            let shown = without_subject(Some(&pseudonyms), detail(subject), Some(subject));
            assert_eq!(shown, format!("the claim /sub is \"{}\", which is none of these", pseudonyms.of(subject)));
        }
        for (pseudonyms, subject) in
            [(None, Some("customer-1")), (Some(&pseudonyms), Some("")), (Some(&pseudonyms), None)]
        {
            assert_eq!(without_subject(pseudonyms, text.clone(), subject), text);
        }
    }
}
