//! `Digest`: the hash of a body, as it was sent (RFC 3230 §4.3.2, RFC 5843 §2), before RFC 9530 took its place.
//!
//! A digest that matches proves nothing about who sent it: only together with a signature that covers the field does it count.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use super::error::SignedBodyError;
use crate::signature::digest::{ClaimedDigest, DigestAlgorithm, FieldHash};

/// The name of the field.
pub const DIGEST: &str = "digest";

/// The most bytes of the field that are read: several times both digests that count, beside some that do not.
pub const MAX_FIELD_BYTES: usize = 1024;

/// Reads the `Digest` of a message, which has one without a body too: that of no bytes. Digests with other algorithms than
/// [`DigestAlgorithm`] are ignored.
///
/// Stricter than RFC 3230: an algorithm twice is refused, and so are empty elements.
///
/// # Errors
/// [`SignedBodyError::DigestMissing`], [`SignedBodyError::DigestUnsupported`], [`SignedBodyError::TooLarge`],
/// [`SignedBodyError::Malformed`].
pub fn read(headers: &HeaderMap) -> Result<ClaimedDigest, SignedBodyError> {
    let lines = headers.get_all(DIGEST);
    if lines.iter().next().is_none() {
        return Err(SignedBodyError::DigestMissing);
    }
    // Each line counts with the separator that joins it to the next.
    let bytes = lines.iter().fold(0_usize, |sum, line| sum.saturating_add(line.len()).saturating_add(2));
    if bytes > MAX_FIELD_BYTES.saturating_add(2) {
        return Err(SignedBodyError::TooLarge { what: DIGEST, limit: MAX_FIELD_BYTES });
    }
    let mut digests = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    for line in lines {
        let line = line.to_str().map_err(|_| malformed("it is not ASCII"))?;
        for element in line.split(',') {
            let (name, value) = element.trim_matches([' ', '\t']).split_once('=').ok_or(NO_ALGORITHM)?;
            // RFC 3230 §4.1.1: "All digest-algorithm values are case-insensitive."
            let name = name.to_ascii_lowercase();
            if seen.contains(&name) {
                return Err(malformed("it has an algorithm twice"));
            }
            if let Some(algorithm) = DigestAlgorithm::from_name(&name) {
                let value = STANDARD.decode(value).map_err(|_| malformed("a digest is not base64"))?;
                digests.push((algorithm, value));
            }
            seen.push(name);
        }
    }
    if digests.is_empty() {
        return Err(SignedBodyError::DigestUnsupported);
    }
    Ok(ClaimedDigest::new(digests, FieldHash::of(headers, DIGEST)))
}

const fn malformed(why: &'static str) -> SignedBodyError {
    SignedBodyError::Malformed { what: DIGEST, why }
}

const NO_ALGORITHM: SignedBodyError = malformed("an element is not an algorithm, an equals sign and a digest");

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{SHA512, digest};
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::code::Code;
    use crate::sha256;
    use crate::signature::digest::MatchedContent;

    const BODY: &[u8] = b"{\"hello\": \"world\"}";

    fn sha_256(body: &[u8]) -> String {
        format!("SHA-256={}", STANDARD.encode(sha256(body)))
    }

    fn sha_512(body: &[u8]) -> String {
        format!("SHA-512={}", STANDARD.encode(digest(&SHA512, body)))
    }

    fn judge(lines: &[&str], body: &[u8]) -> Result<MatchedContent, SignedBodyError> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(DIGEST, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let mut hasher = read(&headers)?.hasher();
        hasher.update(body);
        Ok(hasher.finish()?)
    }

    fn code(lines: &[&str]) -> Option<Code> {
        judge(lines, BODY).err().map(|error| error.code())
    }

    #[test]
    fn bg_10_the_digest_is_that_of_the_body() {
        // draft-cavage-http-signatures-12 appendix C.
        let printed = "SHA-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=";
        assert!(judge(&[printed], BODY).is_ok(), "control");
        assert!(judge(&[&sha_512(BODY)], BODY).is_ok(), "control");
        assert!(judge(&[&sha_256(b"")], b"").is_ok(), "control: without a body");
        let mismatch = |algorithm| Err(SignedBodyError::DigestMismatch { algorithm });
        assert_eq!(judge(&[printed], b"{\"hello\":\"world\"}"), mismatch("sha-256"));
        assert_eq!(judge(&[&sha_512(BODY)], b""), mismatch("sha-512"));
        assert_eq!(code(&[&sha_256(b"")]), Some(Code::DigestMismatch));
    }

    #[test]
    fn bg_10_only_sha_256_and_sha_512_count_and_all_of_them() {
        let (short, long) = (sha_256(BODY), sha_512(BODY));
        assert_eq!(code(&[&format!("{short},{long}")]), None, "control");
        assert_eq!(code(&[&short, &long]), None, "control: two lines");
        assert_eq!(code(&[&format!("MD5=AAAA, {}", short.replace("SHA", "sha"))]), None, "control");
        assert_eq!(code(&[&format!("{short},{}", sha_512(b""))]), Some(Code::DigestMismatch));
        assert_eq!(code(&[&sha_256(b""), &long]), Some(Code::DigestMismatch));
        for weak in ["MD5=AAAA", "SHA=AAAA", "UNIXsum=1", "SHA-384=AAAA", "id-SHA-256=AAAA", "=AAAA"] {
            assert_eq!(code(&[weak]), Some(Code::DigestMissing), "{weak}");
        }
        assert_eq!(judge(&[], BODY), Err(SignedBodyError::DigestMissing));
        assert_eq!(code(&[]), Some(Code::DigestMissing));
    }

    #[test]
    fn bg_10_a_digest_that_has_no_one_reading_is_refused() {
        let good = sha_256(BODY);
        assert_eq!(code(&[&good]), None, "control");
        for malformed in [
            String::new(),
            "SHA-256".into(),
            format!("{good},"),
            format!(",{good}"),
            format!("{good},{good}"),
            format!("{good},{}", good.replace("SHA", "sha")),
            format!("MD5=x,md5=y,{good}"),
            good.trim_end_matches('=').into(),
            format!("SHA-256=:{}:", &good[8..]),
            format!("SHA-256=\"{}\"", &good[8..]),
            format!("SHA-256= {}", &good[8..]),
            "SHA-256=\u{e9}".into(),
        ] {
            assert_eq!(code(&[&malformed]), Some(Code::SignatureMalformed), "{malformed}");
        }
        for short in ["SHA-256=", "SHA-256=AAAA"] {
            assert_eq!(code(&[short]), Some(Code::DigestMismatch), "{short}");
        }
        let long = |length: usize| format!("{good},MD5={}", "A".repeat(length - good.len() - 5));
        assert_eq!(code(&[&long(MAX_FIELD_BYTES)]), None, "control");
        assert_eq!(code(&[&long(MAX_FIELD_BYTES + 1)]), Some(Code::SignatureMalformed));
    }

    #[test]
    fn debug_shows_no_digest() {
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static(DIGEST), sha_256(BODY).parse().unwrap())]);
        assert_eq!(format!("{:?}", read(&headers).unwrap()), "[Sha256]");
    }

    proptest! {
        #[test]
        fn the_parts_in_which_a_body_arrives_do_not_matter(
            body in prop::collection::vec(any::<u8>(), 0..200),
            size in 1_usize..50,
        ) {
            let value = format!("{},{}", sha_256(&body), sha_512(&body)).parse().unwrap();
            let headers = HeaderMap::from_iter([(http::HeaderName::from_static(DIGEST), value)]);
            let mut hasher = read(&headers).unwrap().hasher();
            body.chunks(size).for_each(|part| hasher.update(part));
            prop_assert!(hasher.finish().is_ok());
        }

        #[test]
        fn never_panics(value in "[ -~\\t\\x80-\\xff]{0,200}", rest in "(SHA-256|sha-512)=[A-Za-z0-9+/=,]{0,60}") {
            let _ = (judge(&[&value], BODY).is_ok(), judge(&[&rest], BODY).is_ok());
        }
    }
}
