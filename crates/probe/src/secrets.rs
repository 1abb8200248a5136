//! What must stand in nothing that is written: tokens, proofs, assertions, codes, and what a configuration calls secret.
//!
//! A target can send back what it received in any form: whole, in base64, cut in pieces, in an answer to a later request. So every
//! text that is written is looked through for all secrets of the run, and any 16 characters of one in a row are taken out.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// So many characters of a secret in a row are no coincidence.
const PIECE: usize = 16;
/// A shorter text is a word that stands in many places.
const SHORTEST: usize = 8;

/// The secrets of a run. Holds hashes of their pieces, so it does not implement `Debug`.
#[derive(Default)]
pub struct Secrets {
    pieces: HashMap<u64, usize>,
    /// Those that are shorter than a piece.
    short: Vec<(String, usize)>,
    names: Vec<String>,
    hasher: RandomState,
}

impl Secrets {
    /// Learns a secret that is of use once, such as a proof, in the form in which it was sent: there are as many as there are requests.
    pub fn learn_once(&mut self, secret: &str, name: &str) {
        if let Some(name) = self.begin(secret, name) {
            self.add(secret.as_bytes(), name);
        }
    }

    /// Learns a secret in every form, and the name that stands in its place.
    pub fn learn(&mut self, secret: &str, name: &str) {
        let Some(name) = self.begin(secret, name) else { return };
        self.add(secret.as_bytes(), name);
        // In base64 a text looks in three ways, by how many bytes stand before it.
        for before in 0..3_usize {
            let mut shifted = vec![0; before];
            shifted.extend(secret.as_bytes());
            for encoded in [URL_SAFE_NO_PAD.encode(&shifted), STANDARD_NO_PAD.encode(&shifted)] {
                // The letters at both ends depend on what stands there too.
                let end = encoded.len().saturating_sub(4);
                self.add(encoded.as_bytes().get(4..end).unwrap_or_default(), name);
            }
        }
        let escaped: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        if escaped != secret {
            self.add(escaped.as_bytes(), name);
        }
    }

    /// A text with the names of the secrets in their place.
    pub fn hide(&self, text: &str) -> String {
        let mut shown: Vec<u8> = Vec::with_capacity(text.len());
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let found = bytes.get(at..at.saturating_add(PIECE)).and_then(|piece| self.pieces.get(&self.hash(piece)));
            let Some(name) = found else {
                shown.extend(bytes.get(at));
                at = at.saturating_add(1);
                continue;
            };
            let mut end = at.saturating_add(PIECE);
            // As far as the following pieces are of a secret too.
            let mut next = at.saturating_add(1);
            while let Some(piece) = bytes.get(next..next.saturating_add(PIECE))
                && self.pieces.contains_key(&self.hash(piece))
            {
                end = next.saturating_add(PIECE);
                next = next.saturating_add(1);
            }
            shown.push(b'$');
            shown.extend(self.names.get(*name).map(String::as_bytes).unwrap_or_default());
            at = end;
        }
        let shown = String::from_utf8_lossy(&shown).into_owned();
        let name = |index: &usize| self.names.get(*index).map(String::as_str).unwrap_or_default();
        self.short.iter().fold(shown, |shown, (secret, index)| shown.replace(secret, &format!("${}", name(index))))
    }

    /// The number of a name; `None` if the secret is known, or too short for pieces, and then known too.
    fn begin(&mut self, secret: &str, name: &str) -> Option<usize> {
        let name = match self.names.iter().position(|known| known == name) {
            Some(known) => known,
            None => {
                self.names.push(name.to_owned());
                self.names.len().saturating_sub(1)
            }
        };
        if secret.len() < PIECE {
            let new = secret.len() >= SHORTEST && !self.short.iter().any(|(known, _)| known == secret);
            self.short.extend(new.then(|| (secret.to_owned(), name)));
            return None;
        }
        let last = secret.len().saturating_sub(PIECE);
        let ends = [secret.as_bytes().get(..PIECE), secret.as_bytes().get(last..)];
        let known = ends.into_iter().flatten().all(|piece| self.pieces.contains_key(&self.hash(piece)));
        (!known).then_some(name)
    }

    fn add(&mut self, secret: &[u8], name: usize) {
        for piece in secret.windows(PIECE) {
            let hash = self.hash(piece);
            self.pieces.entry(hash).or_insert(name);
        }
    }

    fn hash(&self, piece: &[u8]) -> u64 {
        self.hasher.hash_one(piece)
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLW9mLW5vYm9keQ";

    #[test]
    fn a_secret_is_found_whole_in_pieces_and_encoded() {
        let mut secrets = Secrets::default();
        secrets.learn(TOKEN, "TOKEN_1");
        secrets.learn("hunter22", "HEADER_X_KEY");
        for text in [
            format!("Bearer error=\"{TOKEN}\""),
            format!("a piece: {}", &TOKEN[10..40]),
            format!("base64: {}", STANDARD.encode(TOKEN)),
            format!("base64 of the field: {}", STANDARD.encode(format!("Bearer {TOKEN}"))),
            format!("base64url: {}", URL_SAFE_NO_PAD.encode(format!("a{TOKEN}"))),
        ] {
            let shown = secrets.hide(&text);
            assert!(shown.contains("$TOKEN_1"), "{shown}");
            assert!(shown.len() < text.len(), "{shown}");
            for piece in TOKEN.as_bytes().windows(PIECE) {
                assert!(!shown.contains(std::str::from_utf8(piece).unwrap()), "{shown}");
            }
        }
        assert_eq!(secrets.hide("key hunter22"), "key $HEADER_X_KEY");
        // control
        for text in
            ["401 (Bearer invalid_token)", "eyJhbGciOiJFUzI", "\u{e9}\u{2028} a text of another kind altogether"]
        {
            assert_eq!(secrets.hide(text), text);
        }
    }

    #[test]
    fn escaped_forms_are_found_too() {
        let mut secrets = Secrets::default();
        secrets.learn("opaque+token/with=odd&characters", "TOKEN_1");
        assert_eq!(secrets.hide("opaque%2Btoken%2Fwith%3Dodd%26characters"), "$TOKEN_1");
    }
}
