//! Hashes that represent a token where the token itself must not be stored.

use std::fmt;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use data_encoding::HEXLOWER;

use crate::credentials::PresentedToken;
use crate::sha256;

/// The SHA-256 of a whole token, as presented.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Hashes a presented token.
    pub fn of(token: PresentedToken<'_>) -> Self {
        Self::of_text(token.as_str())
    }

    /// Hashes the text of a token that was not presented in a request.
    pub(crate) fn of_text(token: &str) -> Self {
        Self(sha256(token.as_bytes()))
    }

    /// Reads a hash in base64url without padding.
    pub fn from_base64url(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// All of it.
    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The part that the audit shows.
    pub fn id(&self) -> TokenId {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        TokenId([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.id(), f)
    }
}

/// The first 16 hexadecimal digits of a token's SHA-256: enough to identify the token, useless as a credential.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenId([u8; 8]);

impl TokenId {
    /// Reads 16 hexadecimal digits in lower case.
    pub fn from_hex(text: &str) -> Option<Self> {
        HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its 16 hexadecimal digits, in lower case.
    pub fn to_hex(&self) -> [u8; 16] {
        let mut digits = [b'0'; 16];
        HEXLOWER.encode_mut(&self.0, &mut digits);
        digits
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&HEXLOWER.encode_display(&self.0), f)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The ids by which a token can be revoked: its own, and those that it has with its signature written in other ways that
/// verify too.
///
/// If (r, s) is an ECDSA signature, so is (r, n − s), and anybody can calculate it. Whoever revokes a token by its hash
/// knows one of the two; both have to be refused. Only the signature can be written differently: it covers every other
/// byte of the token.
///
/// The signature's length decides, whatever the header says: of a token that is not signed with ES256, the id with the
/// other signature is the id of nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenIds {
    own: TokenId,
    others: [Option<TokenId>; 2],
}

impl TokenIds {
    /// Those of a presented token; no others than its own if it is not a JWS.
    pub fn of(token: PresentedToken<'_>) -> Self {
        let own = TokenHash::of(token).id();
        match token.as_str().rsplit_once('.') {
            Some((signed, signature)) => Self::of_jws(own, signed, signature),
            None => Self { own, others: [None; 2] },
        }
    }

    /// Those of the JWS with this id, of which `signed` is all but the last dot and the signature.
    pub(super) fn of_jws(own: TokenId, signed: &str, signature: &str) -> Self {
        // The gateway verifies only the canonical base64url of a signature. An issuer that it asks may read others.
        let url_safe = signature.replace('+', "-").replace('/', "_");
        let Ok(bytes) = LENIENT.decode(url_safe) else { return Self { own, others: [None; 2] } };
        let id = |bytes: &[u8]| TokenHash::of_text(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes))).id();
        let canonical = (URL_SAFE_NO_PAD.encode(&bytes) != signature).then(|| id(&bytes));
        let negated = match bytes.as_chunks::<32>() {
            ([r, s], []) => negated_s(s).map(|s| id(&[*r, s].concat())),
            _ => None,
        };
        Self { own, others: [canonical, negated] }
    }

    /// Its own id, which the audit shows.
    pub const fn own(self) -> TokenId {
        self.own
    }

    /// All of them, its own first.
    pub(crate) fn all(self) -> impl Iterator<Item = TokenId> {
        std::iter::once(self.own).chain(self.others.into_iter().flatten())
    }
}

/// n − s, where n is the order of P-256; nothing if `s` is larger, which no valid signature has.
pub(crate) fn negated_s(s: &[u8; 32]) -> Option<[u8; 32]> {
    let mut difference = [0; 32];
    let mut borrow = false;
    for ((digit, n), s) in difference.iter_mut().zip(ORDER).zip(s).rev() {
        let (partial, first) = n.overflowing_sub(*s);
        let (whole, second) = partial.overflowing_sub(u8::from(borrow));
        (*digit, borrow) = (whole, first || second);
    }
    (!borrow).then_some(difference)
}

/// The order of P-256 (SP 800-186 §3.2.1.3).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// Base64url as other decoders read it: with or without padding, and whatever the unused bits are.
pub(super) const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::jose::keys::{Algorithm, VerifyingKey};
    use crate::testing::SigningKey;

    fn others(token: &str) -> Vec<TokenId> {
        let ids = TokenIds::of(PresentedToken::unparsed(token));
        assert_eq!(ids.all().next(), Some(ids.own()));
        ids.all().skip(1).collect()
    }

    fn id(token: &str) -> TokenId {
        TokenHash::of_text(token).id()
    }

    fn twin(token: &str) -> String {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let (r, s) = bytes.split_at(32);
        let s = negated_s(s.try_into().unwrap()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode([r, &s].concat()))
    }

    #[test]
    fn an_id_is_read_and_written_as_the_same_digits() {
        let id = TokenId::from_hex("00ff10a09b8c7d6e").unwrap();
        assert_eq!((id.to_string().as_str(), &id.to_hex()), ("00ff10a09b8c7d6e", b"00ff10a09b8c7d6e"));
        assert_eq!(TokenId::from_hex("00ff10a09b8c7d6"), None);
    }

    #[test]
    fn atk_tk_16_both_signatures_of_es256_verify_and_each_knows_the_other() {
        let key = SigningKey::generate(Algorithm::Es256, "a");
        let verifying = VerifyingKey::from_jwk(key.jwk().as_object().unwrap()).unwrap();
        for n in 0..20 {
            let token = key.sign(&json!({ "alg": "ES256" }), &json!({ "n": n }));
            let twin = twin(&token);
            for token in [&token, &twin] {
                let (signed, signature) = token.rsplit_once('.').unwrap();
                assert!(verifying.verifies(signed.as_bytes(), signature), "{token}");
            }
            assert_eq!((others(&token), others(&twin)), (vec![id(&twin)], vec![id(&token)]));
        }
    }

    #[test]
    fn atk_tk_15_a_signature_that_only_an_issuer_reads_leads_to_both_canonical_ones() {
        let token = format!("a.b.{}", URL_SAFE_NO_PAD.encode([0xfb; 64]));
        let both = vec![id(&token), id(&twin(&token))];
        let (front, last) = token.split_at(token.len() - 1);
        let next = char::from(last.as_bytes()[0] + 1);
        let standard = token.replace('-', "+").replace('_', "/");
        for other in [format!("{token}=="), format!("{token}="), format!("{front}{next}"), standard] {
            assert_ne!(other, token);
            assert_eq!(others(&other), both, "{other}");
        }
    }

    #[test]
    fn what_is_not_a_jws_has_no_other_spelling() {
        for token in [
            "opaque",
            "a.b.",
            "a.b.c2ln",
            "a.b.c",
            &SigningKey::generate(Algorithm::Ps256, "a").sign(&json!({ "alg": "PS256" }), &json!({})),
        ] {
            assert_eq!(others(token).into_iter().filter(|other| *other != id(token)).count(), 0, "{token}");
        }
        assert_eq!(negated_s(&[0xff; 32]), None);
    }

    proptest! {
        #[test]
        fn negating_twice_changes_nothing(s: [u8; 32]) {
            if let Some(other) = negated_s(&s) {
                prop_assert_eq!(negated_s(&other), Some(s));
            }
        }

        #[test]
        fn never_panics(token in "[A-Za-z0-9_.=+/~-]{0,200}") {
            let _ = others(&token);
        }
    }
}
