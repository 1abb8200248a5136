//! `Content-Digest`: the hash of a message's content, as it was sent (RFC 9530 §2).
//!
//! That is the content after content coding, and before transfer coding. A digest that matches proves nothing about who
//! sent it: only together with a signature that covers the field does it count.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA256, SHA512, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use sfv::{BareItem, ListEntry};

use super::dictionary;
use super::error::SignatureError;
use crate::sha256;
use crate::signed_body::error::SignedBodyError;

/// The name of the field.
pub const CONTENT_DIGEST: &str = "content-digest";

/// The most bytes of the field that are read: several times both digests that count, beside some that do not.
pub const MAX_DIGEST_FIELD_BYTES: usize = 1024;

/// An algorithm that counts (RFC 9530 §5); others cannot be represented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DigestAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl DigestAlgorithm {
    /// Its registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha512 => "sha-512",
        }
    }

    /// The algorithm with this registered name. Those that RFC 9530 §5 calls deprecated (md5, sha, unixsum, unixcksum, adler,
    /// crc32c) help against accidents, not against an attacker.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha512].into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    const fn hash(self) -> &'static aws_lc_rs::digest::Algorithm {
        match self {
            Self::Sha256 => &SHA256,
            Self::Sha512 => &SHA512,
        }
    }
}

/// The value of a `Content-Digest` for this content.
pub fn content_digest(algorithm: DigestAlgorithm, content: &[u8]) -> String {
    format!("{}=:{}:", algorithm.as_str(), STANDARD.encode(digest(algorithm.hash(), content)))
}

/// The digests that a message claims, in whichever field; not yet compared with its content.
#[derive(Clone)]
pub struct ClaimedDigest {
    digests: Vec<(DigestAlgorithm, Vec<u8>)>,
    field: FieldHash,
}

impl ClaimedDigest {
    /// Reads the `Content-Digest` of a message. Digests with other algorithms than [`DigestAlgorithm`] are ignored.
    ///
    /// # Errors
    /// [`SignatureError::DigestUnsupported`] if no other is there, and those of a field that is missing, too large, or not
    /// a dictionary of byte sequences.
    pub fn read(headers: &HeaderMap) -> Result<Self, SignatureError> {
        if !headers.contains_key(CONTENT_DIGEST) {
            return Err(SignatureError::DigestMissing);
        }
        let mut digests = Vec::new();
        for (name, member) in dictionary::read(headers, CONTENT_DIGEST, MAX_DIGEST_FIELD_BYTES)? {
            // RFC 9530 §2: each value is a byte sequence, whatever its algorithm.
            let ListEntry::Item(sfv::Item { bare_item: BareItem::ByteSeq(value), .. }) = member else {
                let why = "a member is not a byte sequence";
                return Err(SignatureError::FieldMalformed { field: CONTENT_DIGEST, why });
            };
            digests.extend(DigestAlgorithm::from_name(&name).map(|algorithm| (algorithm, value)));
        }
        if digests.is_empty() {
            return Err(SignatureError::DigestUnsupported);
        }
        Ok(Self::new(digests, FieldHash::of(headers, CONTENT_DIGEST)))
    }

    /// These, of which there is at least one, as `field` has them.
    pub(crate) const fn new(digests: Vec<(DigestAlgorithm, Vec<u8>)>, field: FieldHash) -> Self {
        Self { digests, field }
    }

    /// Begins to hash the content.
    pub fn hasher(self) -> ContentHasher {
        let parts = self.digests.into_iter().map(|(algorithm, expected)| Part {
            algorithm,
            context: Context::new(algorithm.hash()),
            expected,
        });
        ContentHasher { parts: parts.collect(), field: self.field }
    }
}

impl fmt::Debug for ClaimedDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.digests.iter().map(|(algorithm, _)| algorithm)).finish()
    }
}

/// Hashes content while it arrives, with all algorithms of its digest in one pass.
pub struct ContentHasher {
    parts: Vec<Part>,
    field: FieldHash,
}

struct Part {
    algorithm: DigestAlgorithm,
    context: Context,
    expected: Vec<u8>,
}

impl ContentHasher {
    /// Adds the next bytes of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        for part in &mut self.parts {
            part.context.update(bytes);
        }
    }

    /// Compares what was added with every digest that counts, in constant time.
    ///
    /// # Errors
    /// [`DigestMismatch`] if one is that of other content.
    pub fn finish(self) -> Result<MatchedContent, DigestMismatch> {
        for Part { algorithm, context, expected } in self.parts {
            verify_slices_are_equal(context.finish().as_ref(), &expected)
                .map_err(|_| DigestMismatch { algorithm: algorithm.as_str() })?;
        }
        Ok(MatchedContent { field: self.field })
    }
}

/// The content is not the one that was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {algorithm} digest is not that of the content")]
pub struct DigestMismatch {
    /// The algorithm's registered name.
    pub algorithm: &'static str,
}

/// The whole content has the digests that its message claims.
///
/// Anybody can make such a message: this is no proof of who sent it until it is joined with a signature over the same
/// field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchedContent {
    field: FieldHash,
}

impl MatchedContent {
    /// The field that the content was compared with.
    pub(crate) const fn field(&self) -> FieldHash {
        self.field
    }
}

/// The SHA-256 of a field with digests, its name and all its lines, so that a digest and a signature are known to be of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FieldHash([u8; 32]);

impl FieldHash {
    /// That of the field with this name, whether it is among these or not.
    pub(crate) fn of(headers: &HeaderMap, name: &'static str) -> Self {
        let lines: Vec<&[u8]> = headers.get_all(name).iter().map(|line| line.as_bytes().trim_ascii()).collect();
        Self(sha256(&[name.as_bytes(), &lines.join(&b", "[..])].join(&b": "[..])))
    }
}

impl From<DigestMismatch> for SignatureError {
    fn from(DigestMismatch { algorithm }: DigestMismatch) -> Self {
        Self::DigestMismatch { algorithm }
    }
}

impl From<DigestMismatch> for SignedBodyError {
    fn from(DigestMismatch { algorithm }: DigestMismatch) -> Self {
        Self::DigestMismatch { algorithm }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::DigestAlgorithm::{Sha256, Sha512};
    use super::*;

    const BODY: &[u8] = b"{\"hello\": \"world\"}";

    fn headers(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.append(CONTENT_DIGEST, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        headers
    }

    fn judge(value: &str, body: &[u8]) -> Result<MatchedContent, SignatureError> {
        let mut hasher = ClaimedDigest::read(&headers(value))?.hasher();
        hasher.update(body);
        Ok(hasher.finish()?)
    }

    #[test]
    fn hsig_05_the_digest_is_that_of_the_body_that_came() {
        // RFC 9421 appendix B.2.
        let printed =
            "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
        assert_eq!(content_digest(Sha512, BODY), printed);
        // RFC 9530 appendix B.1.
        let printed_256 = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";
        assert_eq!(content_digest(Sha256, b"{\"hello\": \"world\"}\n"), printed_256);
        assert!(judge(printed, BODY).is_ok(), "control");
        assert_eq!(
            judge(printed, b"{\"hello\": \"world\"} "),
            Err(SignatureError::DigestMismatch { algorithm: "sha-512" })
        );
    }

    #[test]
    fn hsig_06_only_sha_256_and_sha_512_count_and_all_of_them() {
        let (short, long) = (content_digest(Sha256, BODY), content_digest(Sha512, BODY));
        let other = content_digest(Sha512, b"other");
        assert!(judge(&short, BODY).is_ok(), "control");
        assert!(judge(&long, BODY).is_ok(), "control");
        assert!(judge(&format!("{short}, {long}"), BODY).is_ok(), "control");
        let mismatch = Err(SignatureError::DigestMismatch { algorithm: "sha-512" });
        assert_eq!(judge(&format!("{short}, {other}"), BODY), mismatch);
        assert_eq!(judge(&format!("{other}, {short}"), BODY), mismatch);
        for name in ["md5", "sha", "unixsum", "unixcksum", "adler", "crc32c", "sha-384", "x"] {
            let weak = format!("{name}=:AAAA:");
            assert_eq!(judge(&weak, BODY), Err(SignatureError::DigestUnsupported), "{name}");
            assert!(judge(&format!("{weak}, {short}"), BODY).is_ok(), "{name} is ignored beside one that counts");
        }
    }

    #[test]
    fn hsig_06_a_digest_that_has_no_one_reading_is_refused() {
        let good = content_digest(Sha256, BODY);
        let text = good.trim_start_matches("sha-256=").trim_matches(':');
        assert!(judge(&format!("sha-256=:{text}:"), BODY).is_ok(), "control");
        let malformed = [
            String::new(),
            format!("sha-256={text}"),
            format!("sha-256=\"{text}\""),
            format!("sha-256=(:{text}:)"),
            format!("SHA-256=:{text}:"),
            format!("{good}, {good}"),
            format!("{good}, md5=1"),
            format!("{good},"),
        ];
        for value in malformed {
            let error = judge(&value, BODY);
            assert!(matches!(error, Err(SignatureError::FieldMalformed { .. })), "{value}: {error:?}");
        }
        for part in ["", "AAAA", &text[..40]] {
            let short = judge(&format!("sha-256=:{part}:"), BODY);
            assert_eq!(short, Err(SignatureError::DigestMismatch { algorithm: "sha-256" }), "{part:?}");
        }
        let error = ClaimedDigest::read(&HeaderMap::new()).err();
        assert_eq!(error, Some(SignatureError::DigestMissing));
    }

    #[test]
    fn hsig_07_the_digest_is_of_the_bytes_as_sent() {
        // `{}` under gzip, as a client's library wrote it.
        let coded = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0xae, 5, 0, 0x43, 0xbf, 0xa6, 0xa3, 2, 0, 0, 0];
        assert!(judge(&content_digest(Sha256, &coded), &coded).is_ok());
        assert!(judge(&content_digest(Sha256, b"{}"), &coded).is_err());
    }

    #[test]
    fn a_digest_in_one_field_is_not_one_in_another() {
        let line = content_digest(Sha256, BODY);
        let of = |own: &'static str, asked: &'static str| {
            let headers = HeaderMap::from_iter([(http::HeaderName::from_static(own), line.parse().unwrap())]);
            FieldHash::of(&headers, asked)
        };
        assert_eq!(of(CONTENT_DIGEST, CONTENT_DIGEST), of(CONTENT_DIGEST, CONTENT_DIGEST), "control");
        assert_ne!(of(CONTENT_DIGEST, CONTENT_DIGEST), of("digest", "digest"));
        assert_ne!(of(CONTENT_DIGEST, CONTENT_DIGEST), of(CONTENT_DIGEST, "digest"));
    }

    #[test]
    fn debug_shows_no_digest() {
        let shown = format!("{:?}", ClaimedDigest::read(&headers(&content_digest(Sha256, BODY))).unwrap());
        assert_eq!(shown, "[Sha256]");
    }

    proptest! {
        #[test]
        fn the_parts_in_which_content_arrives_do_not_matter(
            body in prop::collection::vec(any::<u8>(), 0..200),
            size in 1_usize..50,
        ) {
            let value = format!("{}, {}", content_digest(Sha256, &body), content_digest(Sha512, &body));
            let mut hasher = ClaimedDigest::read(&headers(&value)).unwrap().hasher();
            body.chunks(size).for_each(|part| hasher.update(part));
            prop_assert!(hasher.finish().is_ok());
            prop_assert!(judge(&value, &[&body[..], b"x"].concat()).is_err());
        }

        #[test]
        fn never_panics(value in "[ -~\\t\\x80-\\xff]{0,200}") {
            let _ = judge(&value, BODY).is_ok();
        }
    }
}
