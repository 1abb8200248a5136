//! Keys that were written where a path or a name belongs. What may be one is refused, and never shown.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What is wrong with a text that stands for a path and cannot be one; without the text, which may be a key.
pub(crate) fn misplaced(text: &str) -> Option<&'static str> {
    if text.contains(PEM) || text.contains(['\n', '\r', '\0']) || text.starts_with('{') || is_der(text) {
        return Some("this is the content of a file, not its path; save it to a file and write the path here");
    }
    if text.len() > LONGEST_PATH || text.split('/').any(|name| name.len() > LONGEST_NAME) {
        return Some(
            "this is longer than the path of a file; if it is a key, save it to a file and write the path here",
        );
    }
    None
}

/// A message without the keys that it quotes.
pub(super) fn without_keys(message: &str) -> Cow<'_, str> {
    let Some((before, key)) = key_in(message).and_then(|start| message.split_at_checked(start)) else {
        return message.into();
    };
    let after = key.find(['"', '`']).and_then(|end| key.get(end..)).unwrap_or_default();
    format!("{before}(a key, which is not shown){}", without_keys(after)).into()
}

/// Whether a line may be one of a key in PEM form, with or without the lines around it.
pub(super) fn may_be_of_key(line: &str) -> bool {
    line.contains(PEM) || line.split(|character| !is_base64(character)).any(|run| run.len() >= PEM_LINE)
}

/// Where the first key begins.
fn key_in(message: &str) -> Option<usize> {
    let mut start = 0_usize;
    let mut first = message.find(PEM);
    for run in message.split_inclusive(|character| !is_base64(character)) {
        if is_der(run.trim_end_matches(|character| !is_base64(character))) {
            first = Some(first.map_or(start, |first| first.min(start)));
            break;
        }
        start = start.saturating_add(run.len());
    }
    first
}

/// Whether a text is the beginning of a key, an archive or a certificate in DER (X.690), in base64 or hexadecimal.
fn is_der(text: &str) -> bool {
    let text: String = text.split_ascii_whitespace().collect();
    if text.len() < SHORTEST_KEY || !text.chars().all(is_base64) {
        return false;
    }
    let beginning = text.get(..16).unwrap_or_default();
    let bytes = match text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => (0..8).map_while(|at| u8::from_str_radix(beginning.get(2 * at..2 * at + 2)?, 16).ok()).collect(),
        false => STANDARD.decode(beginning.replace('-', "+").replace('_', "/")).unwrap_or_default(),
    };
    // It begins with a version, or with another SEQUENCE.
    matches!(in_sequence(&bytes), Some([0x02, 0x01, 0x00..=0x03, ..] | [0x30, ..]))
}

/// The content of a SEQUENCE (X.690 §8.9), of which the end may be missing; archives may have one of indefinite length.
pub(super) const fn in_sequence(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [0x30, 0x01..=0x80, content @ ..]
        | [0x30, 0x81, _, content @ ..]
        | [0x30, 0x82, _, _, content @ ..]
        | [0x30, 0x83, _, _, _, content @ ..] => Some(content),
        _ => None,
    }
}

/// Whether a character is one of base64 or base64url (RFC 4648 §4, §5).
const fn is_base64(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '+' | '/' | '-' | '_' | '=')
}

/// How the first line of a key in PEM form begins (RFC 7468 §2).
pub(super) const PEM: &str = "-----BEGIN";

/// RFC 7468 §2: the lines of PEM have 64 characters; those of some programs have fewer.
const PEM_LINE: usize = 48;

/// A key for Ed25519 has 48 bytes in PKCS#8, and 64 characters; one of which the end is missing is a secret as well.
const SHORTEST_KEY: usize = 40;

/// Far longer than the path of any configuration, and far shorter than an RSA key.
const LONGEST_PATH: usize = 1024;

/// The most bytes that a name may have in the file systems of Linux.
const LONGEST_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};

    use super::*;

    /// Keys in DER: those of two types, and the beginning of an RSA key in PKCS#8 and PKCS#1.
    fn keys() -> Vec<Vec<u8>> {
        let made = |kind| KeyPair::generate_for(kind).unwrap().serialize_der();
        let rsa = |beginning: &[u8]| [beginning, &[0x5a; 1200]].concat();
        let (pkcs8, pkcs1) = ([0x30, 0x82, 4, 0xbd, 2, 1, 0, 0x30], [0x30, 0x82, 4, 0xa3, 2, 1, 0, 2]);
        vec![made(&PKCS_ED25519), made(&PKCS_ECDSA_P256_SHA256), rsa(&pkcs8), rsa(&pkcs1)]
    }

    #[test]
    fn a_key_is_not_a_path_however_it_is_written() {
        for key in keys() {
            let hexadecimal: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            let base64 = STANDARD.encode(&key);
            let in_lines = base64.replace(&base64[20..40], &format!(" {} ", &base64[20..40]));
            for text in [&base64, &URL_SAFE_NO_PAD.encode(&key), &in_lines, &base64[..44].to_owned(), &hexadecimal] {
                assert!(misplaced(text).is_some_and(|problem| problem.contains("content of a file")), "{text}");
            }
        }
        for text in ["-----BEGIN PRIVATE KEY-----", "a\nb", r#"{"kty":"OKP","d":"AA"}"#] {
            assert!(misplaced(text).is_some(), "{text}");
        }
        let long = |names: usize, length: usize| vec!["a".repeat(length); names].join("/");
        for (text, expected) in
            [(long(4, 255), false), (long(1, 256), true), (long(5, 204), false), (long(5, 205), true)]
        {
            assert_eq!(misplaced(&text).is_some(), expected, "{}", text.len());
        }
        for path in [
            "server.pem",
            "/etc/fapi-gateway/keys/production/eu-west-1/gateway",
            "MEDIA/certificates/clients/production/eu-west-1/gateway/key",
            "MIIRRORS/certificates/clients/production/gateway/key",
            "3082aa",
            "60f1d4a1e2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d",
        ] {
            assert_eq!(misplaced(path), None, "{path}"); // control
        }
    }

    #[test]
    fn a_message_is_shown_without_the_keys_that_it_quotes() {
        for key in keys() {
            let key = STANDARD.encode(key);
            let message = format!("{key:?} is not https; write `{key}` or \"-----BEGIN KEY-----\\n{key}\"");
            let shown = "(a key, which is not shown)";
            assert_eq!(without_keys(&message), format!("\"{shown}\" is not https; write `{shown}` or \"{shown}\""),);
        }
        for message in ["`/etc/a/b.pem` cannot be read", "\"http://api.bank.example/a\" is not https; use \"https://\""]
        {
            assert_eq!(without_keys(message), message); // control
        }
    }

    #[test]
    fn a_line_of_a_key_is_known_without_the_others() {
        assert!(may_be_of_key(&format!("  {}", "Ab/+".repeat(16))));
        assert!(may_be_of_key("  key: -----BEGIN PRIVATE KEY-----"));
        assert!(!may_be_of_key("  origins: [https://accounts.api.bank.example:8443/a/prefix/of/it]"));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: String) {
            let _ = (misplaced(&text), without_keys(&text), may_be_of_key(&text));
        }
    }
}
