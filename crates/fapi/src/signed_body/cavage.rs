//! The field `Signature` of draft-cavage-http-signatures-12: its parameters (§2.1), and the text that it signs (§2.3).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use super::error::SignedBodyError;
use crate::signature::message::RequestView;
use crate::text::{Names, is_token_byte, printable, sole_value};

/// The name of the field.
pub(super) const SIGNATURE: &str = "signature";

/// The most bytes of the field that are read.
pub(super) const MAX_FIELD_BYTES: usize = 8 * 1024;

/// The most fields that a signature may cover.
pub(super) const MAX_COVERED: usize = 32;

/// The most bytes of a signing string: as many as all fields of a head have elsewhere.
pub(super) const MAX_SIGNING_STRING_BYTES: usize = 64 * 1024;

/// The name for the method and the target (§2.3 (1)).
pub(super) const REQUEST_TARGET: &str = "(request-target)";

/// An algorithm of the registry (§4) that counts; others cannot be represented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SealAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaSha256,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RsaSha512,
    /// ECDSA on P-256 with SHA-256.
    EcdsaSha256,
}

impl SealAlgorithm {
    const ALL: [Self; 3] = [Self::RsaSha256, Self::RsaSha512, Self::EcdsaSha256];

    /// Its registered name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::RsaSha512 => "rsa-sha512",
            Self::EcdsaSha256 => "ecdsa-sha256",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }
}

/// What a `Signature` says of itself; nothing of it is verified.
pub(super) struct CavageSignature<'r> {
    /// The name of the key, as written between its quotes.
    pub(super) key_id: &'r str,
    pub(super) algorithm: SealAlgorithm,
    /// What is covered, in lower case and in its order.
    pub(super) covered: Vec<Box<str>>,
    pub(super) signature: Vec<u8>,
}

impl<'r> CavageSignature<'r> {
    /// Reads the one line of the field, which has exactly the four parameters that the Berlin Group lists.
    ///
    /// §2.2 has unknown parameters ignored. Here they are refused: `created` and `expires` say when a signature counts, and
    /// whoever sends them relies on that.
    pub(super) fn read(headers: &'r HeaderMap) -> Result<Self, SignedBodyError> {
        if !headers.contains_key(SIGNATURE) {
            return Err(SignedBodyError::Missing { what: SIGNATURE });
        }
        let value = sole_value(headers, SIGNATURE).ok_or(malformed("it has several lines"))?;
        if value.len() > MAX_FIELD_BYTES {
            return Err(SignedBodyError::TooLarge { what: SIGNATURE, limit: MAX_FIELD_BYTES });
        }
        let value = value.to_str().map_err(|_| malformed("it is not ASCII"))?;
        let [key_id, algorithm, covered, signature] = parameters(value)?;
        Ok(Self {
            key_id,
            algorithm: self::algorithm(algorithm)?,
            covered: self::covered(covered)?,
            signature: STANDARD.decode(signature).map_err(|_| malformed("its signature is not base64"))?,
        })
    }

    /// The text that is signed (§2.3).
    ///
    /// Values are the bytes that came: HTTP has no character set for them.
    pub(super) fn signing_string(&self, request: &RequestView<'_>) -> Result<Vec<u8>, SignedBodyError> {
        let mut text = Vec::new();
        for (place, name) in self.covered.iter().enumerate() {
            if place > 0 {
                text.push(b'\n');
            }
            text.extend_from_slice(name.as_bytes());
            text.extend_from_slice(b": ");
            if **name == *REQUEST_TARGET {
                let method = request.method.as_str().to_ascii_lowercase();
                text.extend_from_slice(format!("{method} {}", request.target).as_bytes());
            } else {
                let lines = request.headers.get_all(&**name).iter().map(|line| line.as_bytes().trim_ascii());
                let lines: Vec<&[u8]> = lines.collect();
                if lines.is_empty() {
                    return Err(SignedBodyError::CoveredAbsent { name: printable(name) });
                }
                // §2.3 (4.1): "If there are multiple instances of the same header field, all header field values associated
                // with the header field MUST be concatenated, separated by a ASCII comma and an ASCII space `, `".
                text.extend_from_slice(&lines.join(&b", "[..]));
            }
            if text.len() > MAX_SIGNING_STRING_BYTES {
                let what = "what the signature covers";
                return Err(SignedBodyError::TooLarge { what, limit: MAX_SIGNING_STRING_BYTES });
            }
        }
        Ok(text)
    }
}

const fn malformed(why: &'static str) -> SignedBodyError {
    SignedBodyError::Malformed { what: SIGNATURE, why }
}

const PARAMETERS: [&str; 4] = ["keyId", "algorithm", "headers", "signature"];

/// The values of the four parameters, in the order of [`PARAMETERS`], as written between their quotes.
fn parameters(value: &str) -> Result<[&str; 4], SignedBodyError> {
    let mut found = [None; 4];
    let mut rest = value;
    loop {
        let (name, after) = rest.split_once('=').ok_or(malformed("a parameter has no value"))?;
        let known = PARAMETERS.iter().zip(&mut found).find(|(known, _)| **known == name);
        let (_, slot) = known.ok_or(malformed("it has another parameter than keyId, algorithm, headers, signature"))?;
        let (value, after) = quoted(after).ok_or(malformed("a value is not in quotes"))?;
        // §2.2: such a signature "MUST NOT be processed". Earlier drafts took the last one.
        if slot.replace(value).is_some() {
            return Err(malformed("it has a parameter twice"));
        }
        let after = after.trim_start_matches([' ', '\t']);
        if after.is_empty() {
            break;
        }
        let next = after.strip_prefix(',').ok_or(malformed("its parameters are not separated by commas"))?;
        rest = next.trim_start_matches([' ', '\t']);
    }
    let [Some(key_id), Some(algorithm), Some(covered), Some(signature)] = found else {
        return Err(malformed("it lacks keyId, algorithm, headers or signature"));
    };
    Ok([key_id, algorithm, covered, signature])
}

/// What is between two quotes, and what follows them; a backslash keeps a quote from being the second (RFC 9110 §5.6.4).
fn quoted(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('"')?;
    let mut escaped = false;
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some((text.get(..place)?, text.get(place.checked_add(1)?..)?)),
            _ => {}
        }
    }
    None
}

fn algorithm(name: &str) -> Result<SealAlgorithm, SignedBodyError> {
    SealAlgorithm::from_name(name).ok_or_else(|| {
        let expected = Names::of(SealAlgorithm::ALL.map(SealAlgorithm::as_str));
        SignedBodyError::AlgorithmRefused { found: printable(name), expected }
    })
}

/// §2.1.6: names of fields with single spaces between them. They should be in lower case, and those in the examples of the
/// Berlin Group are not; what is signed has them in lower case anyway.
fn covered(list: &str) -> Result<Vec<Box<str>>, SignedBodyError> {
    let mut names: Vec<Box<str>> = Vec::new();
    for name in list.split(' ') {
        let name = name.to_ascii_lowercase();
        if name != REQUEST_TARGET && (name.is_empty() || !name.bytes().all(is_token_byte)) {
            return Err(malformed("headers is not a list of names with single spaces"));
        }
        if names.iter().any(|before| **before == *name) {
            return Err(malformed("headers has a name twice"));
        }
        if names.len() == MAX_COVERED {
            return Err(malformed("headers has more than 32 names"));
        }
        names.push(name.into());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, Method};
    use proptest::prelude::*;

    use super::*;
    use crate::code::Code;
    use crate::signature::message::ExternalUri;

    const GOOD: &str = r#"keyId="SN=1,CA=CN=ca",algorithm="rsa-sha256",headers="digest date",signature="AAAA""#;

    fn fields(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(SIGNATURE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        headers
    }

    fn code(lines: &[&str]) -> Option<Code> {
        CavageSignature::read(&fields(lines)).err().map(|error| error.code())
    }

    #[test]
    fn bg_10_the_four_parameters_are_read_in_any_order() {
        for good in [GOOD, r#"signature="AAAA", headers="digest date" ,	algorithm="rsa-sha256",keyId="SN=1,CA=CN=ca""#]
        {
            let headers = fields(&[good]);
            let read = CavageSignature::read(&headers).unwrap();
            assert_eq!((read.key_id, read.algorithm), ("SN=1,CA=CN=ca", SealAlgorithm::RsaSha256));
            assert_eq!((read.covered.join(" ").as_str(), &*read.signature), ("digest date", &[0_u8, 0, 0][..]));
        }
        let escaped = fields(&[&GOOD.replace("CN=ca", r#"O=\"a\\, b"#)]);
        assert_eq!(CavageSignature::read(&escaped).unwrap().key_id, r#"SN=1,CA=O=\"a\\, b"#);
    }

    #[test]
    fn bg_10_parameters_that_have_no_one_reading_are_refused() {
        assert_eq!(code(&[GOOD]), None, "control");
        for (from, to) in [
            (GOOD, ""),
            (GOOD, "keyId"),
            (GOOD, "Signature keyId=\"a\""),
            (GOOD, "sig=:AAAA:"),
            (r#",signature="AAAA""#, ""),
            (r#"keyId="SN=1,CA=CN=ca","#, ""),
            (r#"headers="digest date","#, ""),
            (r#"algorithm="rsa-sha256","#, ""),
            (r#""AAAA""#, r#""AAAA","#),
            (r#""AAAA""#, r#""AAAA",signature="BBBB""#),
            (r#""AAAA""#, r#""AAAA",keyId="SN=2,CA=CN=ca""#),
            (r#""AAAA""#, r#""AAAA",created=1"#),
            (r#""AAAA""#, r#""AAAA",created="1""#),
            (r#""AAAA""#, r#""AAAA",expires=1"#),
            (r#""AAAA""#, r#""AAAA"x"#),
            (r#""AAAA""#, r#""AAAA"#),
            (r#""AAAA""#, r#""AAAA\""#),
            (r#""AAAA""#, "AAAA"),
            (r#""AAAA""#, r#""AAA""#),
            (r#""AAAA""#, r#""AA A""#),
            (r#""AAAA""#, r#""AA-_""#),
            ("keyId", "keyid"),
            ("keyId=", "keyId ="),
            (",headers", "headers"),
            (",headers", ";headers"),
            ("digest date", ""),
            ("digest date", "digest  date"),
            ("digest date", "digest date "),
            ("digest date", "digest,date"),
            ("digest date", "digest Digest"),
            ("digest date", "digest date digest"),
            ("digest date", "digest (created)"),
            ("digest date", "digest (request-target"),
            ("digest date", "digest d\u{e9}te"),
        ] {
            let changed = GOOD.replacen(from, to, 1);
            assert_ne!(changed, GOOD, "{from}");
            assert_eq!(code(&[&changed]), Some(Code::SignatureMalformed), "{changed}");
        }
        assert_eq!(code(&[GOOD, GOOD]), Some(Code::SignatureMalformed));
        assert_eq!(code(&[]), Some(Code::SignatureMissing));
        let many = |count: usize| {
            let names: Vec<String> = (0..count).map(|number| format!("x-{number}")).collect();
            GOOD.replace("digest date", &names.join(" "))
        };
        assert_eq!(code(&[&many(MAX_COVERED)]), None, "control");
        assert_eq!(code(&[&many(MAX_COVERED + 1)]), Some(Code::SignatureMalformed));
        let long = |length: usize| GOOD.replace("CN=ca", &"a".repeat(length - GOOD.len() + 5));
        assert_eq!(code(&[&long(MAX_FIELD_BYTES)]), None, "control");
        assert_eq!(code(&[&long(MAX_FIELD_BYTES + 1)]), Some(Code::SignatureMalformed));
    }

    #[test]
    fn bg_10_only_algorithms_of_the_registry_count() {
        for good in ["rsa-sha256", "rsa-sha512", "ecdsa-sha256"] {
            assert_eq!(code(&[&GOOD.replace("rsa-sha256", good)]), None, "control: {good}");
        }
        for bad in ["", "rsa-sha1", "RSA-SHA256", "hs2019", "hmac-sha256", "none", "ed25519"] {
            let refused = code(&[&GOOD.replace("rsa-sha256", bad)]);
            assert_eq!(refused, Some(Code::SignatureAlgorithmRefused), "{bad}");
        }
    }

    fn signing_string(covered: &str, headers: &HeaderMap) -> Result<String, SignedBodyError> {
        let field = fields(&[&GOOD.replace("digest date", covered)]);
        let uri = ExternalUri { scheme: "https", authority: "example.com", path: "/foo", query: Some("a=b") };
        let request = RequestView { method: &Method::POST, uri, target: "/foo?a=b", headers };
        let text = CavageSignature::read(&field).unwrap().signing_string(&request)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    #[test]
    fn bg_10_the_signing_string_is_that_of_the_draft() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "example.org"),
            ("date", "Tue, 07 Jun 2014 20:51:35 GMT"),
            ("x-example", "   Example header\twith some whitespace.   "),
            ("x-emptyheader", ""),
            ("cache-control", "max-age=60"),
            ("cache-control", "   must-revalidate"),
            ("x-bytes", "\u{e9}"),
        ] {
            let name = HeaderName::from_static(name);
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        // After the example of §2.3.
        let printed = "(request-target): post /foo?a=b\nhost: example.org\ndate: Tue, 07 Jun 2014 20:51:35 GMT\n\
            cache-control: max-age=60, must-revalidate\nx-emptyheader: \nx-example: Example header\twith some whitespace.";
        let covered = "(request-target) host date cache-control x-emptyheader x-example";
        assert_eq!(signing_string(covered, &headers).as_deref(), Ok(printed));
        assert_eq!(signing_string("x-bytes", &headers).as_deref(), Ok("x-bytes: \u{e9}"));
        let absent = SignedBodyError::CoveredAbsent { name: "digest".into() };
        assert_eq!(signing_string("host digest", &headers), Err(absent));
    }

    #[test]
    fn bg_10_a_signing_string_has_a_limit() {
        let judge = |length: usize| {
            let value = HeaderValue::try_from("a".repeat(length)).unwrap();
            signing_string("x", &HeaderMap::from_iter([(HeaderName::from_static("x"), value)])).map(drop)
        };
        let large = |limit| Err(SignedBodyError::TooLarge { what: "what the signature covers", limit });
        assert_eq!(judge(MAX_SIGNING_STRING_BYTES - 3), Ok(()), "control");
        assert_eq!(judge(MAX_SIGNING_STRING_BYTES - 2), large(MAX_SIGNING_STRING_BYTES));
    }

    proptest! {
        #[test]
        fn never_panics(value in "[ -~\\t\\x80-\\xff]{0,120}", inner in "[ -~]{0,40}", names in "[a-z() -]{0,40}") {
            let within = format!(r#"keyId="{inner}",algorithm="rsa-sha256",headers="{names}",signature="{inner}""#);
            for value in [value, within] {
                let headers = fields(&[&value]);
                if let Ok(read) = CavageSignature::read(&headers) {
                    prop_assert!(!read.covered.is_empty());
                    let _ = signing_string(&read.covered.join(" "), &headers).is_ok();
                }
            }
        }
    }
}
