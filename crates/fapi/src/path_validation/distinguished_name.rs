//! The text of a distinguished name (RFC 4514 §3), such as `CN=client,O=Bank,C=NL`, read into what names are compared by.
//!
//! The display of the other direction is [`peer::distinguished_name`](crate::peer::distinguished_name()).

use x509_parser::der_parser::asn1_rs::{Any, FromDer};

use super::name::Name;
use crate::text::{read_escape, shown_text};

/// The longest text, in bytes.
const MAX_BYTES: usize = 4096;

/// Why a text is not a distinguished name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DistinguishedNameError {
    /// It is empty: no certificate of a client is told from another by it.
    #[error("it is empty; write the subject of the client's certificate")]
    Empty,
    /// It is longer than 4096 bytes.
    #[error("it has {bytes} bytes, and at most {MAX_BYTES} are allowed; write the subject of the client's certificate")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It is not written as RFC 4514 says.
    #[error("{found} {why}")]
    Malformed {
        /// The part at fault and what follows it, truncated and made printable.
        found: Box<str>,
        /// What is wrong, and the way out.
        why: &'static str,
    },
    /// A type of attribute has a name that is not known.
    #[error("the type of attribute {found} is not known; write it as an object identifier, such as 2.5.4.97")]
    TypeUnknown {
        /// The name, truncated and made printable.
        found: Box<str>,
    },
}

impl Name {
    /// Reads the text of a name, with spaces around its separators ignored, as RFC 2253 §4 asks for.
    ///
    /// # Errors
    /// [`DistinguishedNameError`].
    pub fn from_text(text: &str) -> Result<Self, DistinguishedNameError> {
        let der = encode(text)?;
        Self::from_der(&der).ok_or_else(|| malformed(text, "is not a name that a certificate can have"))
    }
}

/// The name in DER, each value that is written as characters in a UTF8String.
fn encode(text: &str) -> Result<Vec<u8>, DistinguishedNameError> {
    if text.len() > MAX_BYTES {
        return Err(DistinguishedNameError::TooLong { bytes: text.len() });
    }
    if text.trim_matches(' ').is_empty() {
        return Err(DistinguishedNameError::Empty);
    }
    let mut reader = Reader { rest: text };
    let (mut names, mut set) = (Vec::new(), Vec::new());
    loop {
        let kind = reader.kind()?;
        let value = reader.value()?;
        set.extend(tlv(SEQUENCE, &[tlv(OBJECT_IDENTIFIER, &kind), value].concat()));
        match reader.next() {
            Some('+') => {}
            Some(_) => names.push(tlv(SET, &std::mem::take(&mut set))),
            None => {
                names.push(tlv(SET, &set));
                break;
            }
        }
    }
    // RFC 4514 §2.1: "the output consists of the string encodings of each RelativeDistinguishedName in the RDNSequence
    // (according to Section 2.2), starting with the last element of the sequence and moving backwards toward the first."
    names.reverse();
    Ok(tlv(SEQUENCE, &names.concat()))
}

/// What remains of the text.
struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    /// Takes the type of an attribute and the equals sign; returns the content of its object identifier.
    fn kind(&mut self) -> Result<Vec<u8>, DistinguishedNameError> {
        let Some((kind, rest)) = self.rest.split_once('=') else {
            return Err(malformed(self.rest, "has no `=`; write each attribute as its type, `=` and its value"));
        };
        let kind = kind.trim_matches(' ');
        if kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.')) {
            return Err(malformed(
                self.rest,
                "does not begin with the type of an attribute; escape `,` and `+` in values",
            ));
        }
        self.rest = rest.trim_start_matches(' ');
        // RFC 2253 §4 allows the prefix, and RFC 4514 has none.
        let numbers = match kind.split_at_checked(4) {
            Some((prefix, numbers)) if prefix.eq_ignore_ascii_case("OID.") => numbers,
            Some(_) | None => kind,
        };
        // RFC 4512 §1.4: short names are case insensitive.
        let known =
            TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(kind)).map_or(numbers, |(_, numbers)| *numbers);
        object_identifier(known).ok_or_else(|| DistinguishedNameError::TypeUnknown { found: shown_text(kind) })
    }

    /// Takes a value, up to the separator; returns it in DER.
    fn value(&mut self) -> Result<Vec<u8>, DistinguishedNameError> {
        match self.rest.strip_prefix('#') {
            Some(digits) => self.hexadecimal(digits),
            None => self.characters(),
        }
    }

    /// RFC 4514 §2.4: after `#`, the hexadecimal digits of the value's encoding, of which this reads DER.
    fn hexadecimal(&mut self, digits: &'t str) -> Result<Vec<u8>, DistinguishedNameError> {
        let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
        let (digits, rest) = digits.split_at_checked(end).unwrap_or((digits, ""));
        let rest = rest.trim_start_matches(' ');
        let (mut bytes, mut value) = (digits.bytes(), Vec::new());
        while let Some(byte) = read_escape(&mut bytes) {
            value.push(byte);
        }
        let is_one = digits.len().is_multiple_of(2) && matches!(Any::from_der(&value), Ok(([], _)));
        if !is_one || !(rest.is_empty() || rest.starts_with([',', '+'])) {
            return Err(malformed(
                self.rest,
                "is not the hexadecimal digits of one value in DER; escape a `#` that is meant as such",
            ));
        }
        self.rest = rest;
        Ok(value)
    }

    /// RFC 4514 §2.4, §3: characters, of which those that mean something else are escaped by a backslash, and octets of UTF-8 as
    /// two hexadecimal digits after a backslash.
    fn characters(&mut self) -> Result<Vec<u8>, DistinguishedNameError> {
        let whole = self.rest;
        // Spaces at the end count if they are escaped.
        let (mut value, mut kept) = (Vec::new(), 0);
        while let Some(character) = self.rest.chars().next().filter(|c| !matches!(c, ',' | '+')) {
            self.next();
            match character {
                '\\' => match self.rest.chars().next() {
                    Some(special @ (' ' | '"' | '#' | '+' | ',' | ';' | '<' | '=' | '>' | '\\')) => {
                        self.next();
                        value.push(u8::try_from(special).unwrap_or_default());
                    }
                    Some(_) | None => {
                        let byte = read_escape(&mut self.rest.bytes());
                        value.push(byte.ok_or_else(|| {
                            malformed(whole, "has a backslash that escapes nothing; escape it with another")
                        })?);
                        self.next();
                        self.next();
                    }
                },
                '"' | ';' | '<' | '>' | '\0' => {
                    return Err(malformed(
                        whole,
                        "has a character that must be escaped: write a backslash before \" ; < and >",
                    ));
                }
                other => value.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
            if character != ' ' {
                kept = value.len();
            }
        }
        value.truncate(kept);
        if std::str::from_utf8(&value).is_err() {
            return Err(malformed(
                whole,
                "has escaped octets that are not UTF-8; write other values with # and hexadecimal digits",
            ));
        }
        Ok(tlv(UTF8_STRING, &value))
    }

    /// Takes a character.
    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next();
        self.rest = characters.as_str();
        next
    }
}

fn malformed(part: &str, why: &'static str) -> DistinguishedNameError {
    DistinguishedNameError::Malformed { found: shown_text(part), why }
}

/// The content of an object identifier in DER, from its numbers with dots between them (X.690 §8.19).
fn object_identifier(text: &str) -> Option<Vec<u8>> {
    let number = |text: &str| {
        let is_number =
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        text.parse::<u64>().ok().filter(|_| is_number)
    };
    let mut numbers = text.split('.').map(number);
    let (first, second) = (numbers.next()??, numbers.next()??);
    if first > 2 || (first < 2 && second >= 40) {
        return None;
    }
    let mut content = base128(first.checked_mul(40)?.checked_add(second)?);
    for number in numbers {
        content.extend(base128(number?));
    }
    Some(content)
}

/// Seven bits in each octet, and all octets but the last with the highest bit set.
fn base128(mut number: u64) -> Vec<u8> {
    let lowest = |number: u64| u8::try_from(number & 0x7f).unwrap_or_default();
    let mut octets = vec![lowest(number)];
    number >>= 7;
    while number > 0 {
        octets.push(lowest(number) | 0x80);
        number >>= 7;
    }
    octets.reverse();
    octets
}

/// A value in DER (X.690 §8.1.3).
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut encoded = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => encoded.push(short),
        Ok(_) | Err(_) => {
            let length = content.len().to_be_bytes();
            let significant = length.iter().skip_while(|byte| **byte == 0);
            encoded.push(0x80 | u8::try_from(significant.clone().count()).unwrap_or_default());
            encoded.extend(significant);
        }
    }
    encoded.extend_from_slice(content);
    encoded
}

const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// The types of attributes that have names: those of RFC 4514 §3, and those by which the usual tools show subjects of clients
/// (RFC 4519 §2, RFC 5280 appendix A.1, ETSI EN 319 412-1 §5.1.4). `S` is left out, which is a surname or a state.
const TYPES: &[(&str, &str)] = &[
    ("CN", "2.5.4.3"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("C", "2.5.4.6"),
    ("STREET", "2.5.4.9"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("commonName", "2.5.4.3"),
    ("SN", "2.5.4.4"),
    ("surname", "2.5.4.4"),
    ("serialNumber", "2.5.4.5"),
    ("countryName", "2.5.4.6"),
    ("localityName", "2.5.4.7"),
    ("stateOrProvinceName", "2.5.4.8"),
    ("streetAddress", "2.5.4.9"),
    ("organizationName", "2.5.4.10"),
    ("organizationalUnit", "2.5.4.11"),
    ("organizationalUnitName", "2.5.4.11"),
    ("title", "2.5.4.12"),
    ("description", "2.5.4.13"),
    ("businessCategory", "2.5.4.15"),
    ("postalAddress", "2.5.4.16"),
    ("postalCode", "2.5.4.17"),
    ("telephoneNumber", "2.5.4.20"),
    ("name", "2.5.4.41"),
    ("GN", "2.5.4.42"),
    ("givenName", "2.5.4.42"),
    ("initials", "2.5.4.43"),
    ("generationQualifier", "2.5.4.44"),
    ("uniqueIdentifier", "2.5.4.45"),
    ("dnQualifier", "2.5.4.46"),
    ("pseudonym", "2.5.4.65"),
    ("organizationIdentifier", "2.5.4.97"),
    ("domainComponent", "0.9.2342.19200300.100.1.25"),
    ("userId", "0.9.2342.19200300.100.1.1"),
    ("E", "1.2.840.113549.1.9.1"),
    ("Email", "1.2.840.113549.1.9.1"),
    ("emailAddress", "1.2.840.113549.1.9.1"),
    ("unstructuredName", "1.2.840.113549.1.9.2"),
    ("jurisdictionL", "1.3.6.1.4.1.311.60.2.1.1"),
    ("jurisdictionLocalityName", "1.3.6.1.4.1.311.60.2.1.1"),
    ("msJurisdictionLocality", "1.3.6.1.4.1.311.60.2.1.1"),
    ("jurisdictionST", "1.3.6.1.4.1.311.60.2.1.2"),
    ("jurisdictionStateOrProvinceName", "1.3.6.1.4.1.311.60.2.1.2"),
    ("msJurisdictionStateOrProvince", "1.3.6.1.4.1.311.60.2.1.2"),
    ("jurisdictionC", "1.3.6.1.4.1.311.60.2.1.3"),
    ("jurisdictionCountryName", "1.3.6.1.4.1.311.60.2.1.3"),
    ("msJurisdictionCountry", "1.3.6.1.4.1.311.60.2.1.3"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use x509_parser::objects::{oid_registry, oid2abbrev};
    use x509_parser::x509::X509Name;

    use super::*;
    use crate::peer::distinguished_name;

    /// A name in DER with each part in a relative distinguished name of its own, in the order of certificates.
    fn der(parts: &[(&str, u8, &[u8])]) -> Vec<u8> {
        let parts = parts.iter().map(|(kind, tag, value)| {
            let kind = tlv(OBJECT_IDENTIFIER, &object_identifier(kind).unwrap());
            tlv(SET, &tlv(SEQUENCE, &[kind, tlv(*tag, value)].concat()))
        });
        tlv(SEQUENCE, &parts.collect::<Vec<_>>().concat())
    }

    #[test]
    fn fapi2_as_35_a_subject_is_compared_by_what_rfc4514_and_rfc5280_say() {
        const ORGANIZATION: &str = "2.5.4.10";
        let subject =
            der(&[("2.5.4.6", 19, b"NL"), (ORGANIZATION, 12, b"Example  Bank, N.V."), ("2.5.4.3", 19, b"client 1")]);
        let subject = Name::from_der(&subject).unwrap();
        for text in [
            r"CN=client 1,O=Example Bank\, N.V.,C=NL", // control
            r"cn=CLIENT 1,o=example bank\, n.v.,c=nl",
            r"CN = client 1 , O = Example   Bank\, N.V. , C = NL ",
            r"2.5.4.3=client 1,2.5.4.10=Example Bank\, N.V.,2.5.4.6=NL",
            r"OID.2.5.4.3=client 1,oid.2.5.4.10=Example Bank\2C N.V.,C=NL",
            r"commonName=client 1,organizationName=Example Bank\2c N.V.,countryName=NL",
            r"CN=#1308636C69656E742031,O=Example Bank\, N.V.,C=#0c024e4c",
            r"CN=\63lient\ 1,O=Example Bank\, N.V.\20,C=NL",
        ] {
            assert_eq!(Name::from_text(text).as_ref(), Ok(&subject), "{text}");
        }
        for text in [
            r"C=NL,O=Example Bank\, N.V.,CN=client 1",
            r"CN=client 1,C=NL,O=Example Bank\, N.V.",
            r"CN=client 1,O=Example Bank\, N.V.",
            r"CN=client 1,O=Example Bank\, N.V.,C=NL,DC=example",
            r"CN=client 1,O=ExampleBank\, N.V.,C=NL",
            r"CN=client 2,O=Example Bank\, N.V.,C=NL",
            r"OU=client 1,O=Example Bank\, N.V.,C=NL",
            r"CN=client 1+O=Example Bank\, N.V.,C=NL",
            r"CN=client 1\,O=Example Bank\, N.V.,C=NL",
            r"CN=#0408636C69656E742031,O=Example Bank\, N.V.,C=NL",
        ] {
            assert_ne!(Name::from_text(text).as_ref(), Ok(&subject), "{text}");
            assert!(Name::from_text(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn rfc2253_4_spaces_around_separators_are_no_part_of_values() {
        let plain = encode("CN=a,O=b+OU=c");
        assert_eq!(encode(" CN = a , O = b + OU = c "), plain);
        for text in [r"CN=\ a,O=b+OU=c", r"CN=a\ ,O=b+OU=c", r"CN=a,O=b+OU=c\20", "CN=a a,O=b+OU=c"] {
            assert_ne!(encode(text), plain, "{text}");
        }
    }

    #[test]
    fn rfc4514_2_2_the_parts_of_a_relative_distinguished_name_have_no_order() {
        let both = Name::from_text("CN=a+OU=b,O=c").unwrap();
        assert_eq!(Name::from_text("ou=B + cn=A,O=c"), Ok(both.clone()));
        for other in ["CN=a,OU=b,O=c", "CN=a+O=c,OU=b", "CN=a+OU=b+OU=b,O=c", "CN=a,O=c"] {
            assert_ne!(Name::from_text(other), Ok(both.clone()), "{other}");
        }
    }

    #[test]
    fn rfc4514_4_the_examples_are_read() {
        for (text, expected) in [
            (
                "UID=jsmith,DC=example,DC=net",
                der(&[
                    ("0.9.2342.19200300.100.1.25", 22, b"net"),
                    ("0.9.2342.19200300.100.1.25", 22, b"example"),
                    ("0.9.2342.19200300.100.1.1", 12, b"jsmith"),
                ]),
            ),
            (
                r#"CN=James \"Jim\" Smith\, III,DC=example"#,
                der(&[("0.9.2342.19200300.100.1.25", 22, b"example"), ("2.5.4.3", 12, b"James \"Jim\" Smith, III")]),
            ),
            (r"CN=Before\0dAfter", der(&[("2.5.4.3", 12, b"Before\rAfter")])),
            ("1.3.6.1.4.1.1466.0=#04024869", der(&[("1.3.6.1.4.1.1466.0", 4, b"Hi")])),
            (r"CN=Lu\C4\8Di\C4\87", der(&[("2.5.4.3", 12, "Lučić".as_bytes())])),
            ("CN=Lučić", der(&[("2.5.4.3", 12, "Lučić".as_bytes())])),
            (r"CN=\#a=b#", der(&[("2.5.4.3", 12, b"#a=b#")])),
            (r"CN=\ a\ ", der(&[("2.5.4.3", 12, b" a ")])),
            ("CN=", der(&[("2.5.4.3", 12, b"")])),
            ("2.999.18446744073709551615=a", der(&[("2.999.18446744073709551615", 12, b"a")])),
        ] {
            assert_eq!(
                Name::from_text(text).as_ref(),
                Name::from_der(&expected).as_ref().ok_or(&DistinguishedNameError::Empty),
                "{text}"
            );
        }
        assert_eq!(object_identifier("2.999.3"), Some(vec![0x88, 0x37, 3])); // X.690 §8.19.5
    }

    #[test]
    fn a_text_that_is_no_name_is_refused() {
        use DistinguishedNameError::{Empty, Malformed, TooLong, TypeUnknown};
        assert!(Name::from_text("CN=client,O=Bank").is_ok()); // control
        for text in ["", " ", "   "] {
            assert_eq!(Name::from_text(text), Err(Empty), "{text:?}");
        }
        for text in [
            "client",
            "CN",
            "=client",
            "CN=client,",
            "CN=client,O",
            "CN=client+",
            "CN=client,,O=Bank",
            "CN=client, Bank",
            "CN=client;O=Bank",
            "CN=\"client\"",
            "CN=<client>",
            "CN=client\0",
            r"CN=client\",
            r"CN=client\1",
            r"CN=client\xx",
            r"CN=\é",
            r"CN=\FF",
            "CN=#",
            "CN=#1",
            "CN=#0c",
            "CN=#0c01",
            "CN=#0c016100",
            "CN=#0c0161 b",
            "CN=#0c016",
            "CN=#0c01610",
            "CN=#xyz",
            "C N=client",
            "C\u{4d}é=client",
        ] {
            assert!(matches!(Name::from_text(text), Err(Malformed { .. })), "{text:?}: {:?}", Name::from_text(text));
        }
        for text in [
            "X=client",
            "S=client",
            "2=a",
            "2.=a",
            ".2.5=a",
            "3.1=a",
            "1.40=a",
            "2.05.4=a",
            "2.5.4.=a",
            "OID.CN=a",
            "OID.=a",
            "2.18446744073709551616=a",
            "1.2.-3=a",
        ] {
            assert!(matches!(Name::from_text(text), Err(TypeUnknown { .. })), "{text:?}: {:?}", Name::from_text(text));
        }
        let long = |length: usize| format!("CN={}", "a".repeat(length - 3));
        assert!(Name::from_text(&long(MAX_BYTES)).is_ok()); // control
        assert_eq!(Name::from_text(&long(MAX_BYTES + 1)), Err(TooLong { bytes: MAX_BYTES + 1 }));
    }

    #[test]
    fn every_type_is_read_by_the_name_under_which_it_is_shown() {
        for (name, numbers) in TYPES {
            let content = object_identifier(numbers).unwrap();
            assert_eq!(encode(&format!("{name}=a")), encode(&format!("{numbers}=a")), "{name}");
            let kind = x509_parser::der_parser::Oid::new(content.into());
            let shown = oid2abbrev(&kind, oid_registry()).map_or_else(|_| kind.to_id_string(), str::to_owned);
            assert_eq!(encode(&format!("{shown}=a")), encode(&format!("{numbers}=a")), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(text in "[A-Z=,+\\\\#\" a-f0-9é\0]{0,32}") {
            let _ = Name::from_text(&text);
        }

        #[test]
        fn what_is_shown_of_a_name_is_read_as_it(values in proptest::collection::vec("[ -~é\t\n]{0,20}", 1..4)) {
            let parts: Vec<(&str, u8, &[u8])> =
                values.iter().map(|value| ("2.5.4.10", 12, value.as_bytes())).collect();
            let der = der(&parts);
            let (_, name) = X509Name::from_der(&der).unwrap();
            let last_first: X509Name<'_> = name.iter_rdn().cloned().collect::<Vec<_>>().into_iter().rev().collect();
            let shown = distinguished_name(&last_first);
            prop_assert_eq!(encode(&shown), Ok(der.clone()), "{}", shown);
        }
    }
}
