//! Distinguished names that compare as RFC 5280 §7.1 says: the same attributes, whatever their string types, case and
//! insignificant spaces.

use icu_normalizer::ComposingNormalizerBorrowed;
use x509_parser::der_parser::asn1_rs::{Any, Class, FromDer};
use x509_parser::x509::X509Name;

/// A distinguished name in the form in which it is compared.
///
/// Attribute values are prepared as RFC 4518 §2 says, with two exceptions: values with control characters, and those in
/// TeletexString beyond ASCII, whose character set differs between authorities, are compared octet by octet.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Vec<Vec<Attribute>>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Attribute {
    kind: Box<[u8]>,
    value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Value {
    Text(Box<str>),
    Octets(u32, Box<[u8]>),
}

impl Name {
    /// Reads a name in DER; `None` if it is not exactly one name.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        match X509Name::from_der(der) {
            Ok(([], name)) => Some(Self::of(&name)),
            Ok(_) | Err(_) => None,
        }
    }

    /// Prepares a name for comparison.
    pub fn of(name: &X509Name<'_>) -> Self {
        let rdns = name.iter_rdn().map(|rdn| {
            let mut rdn: Vec<Attribute> = rdn
                .iter()
                .map(|attribute| Attribute {
                    kind: attribute.attr_type().as_bytes().into(),
                    value: Value::of(attribute.attr_value()),
                })
                .collect();
            // RFC 5280 §7.1: the attributes of a relative distinguished name match in any order.
            rdn.sort_unstable();
            rdn
        });
        Self(rdns.collect())
    }

    /// Whether it has no attribute.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is in the subtree of `base` (RFC 5280 §7.1): its first relative distinguished names are those of
    /// `base`.
    pub(super) fn is_within(&self, base: &Self) -> bool {
        self.0.starts_with(&base.0)
    }

    /// Whether every value can be compared with values in other string types.
    pub(super) fn is_text(&self) -> bool {
        self.0.iter().flatten().all(|attribute| matches!(attribute.value, Value::Text(_)))
    }
}

impl Value {
    fn of(value: &Any<'_>) -> Self {
        match decode(value).as_deref().and_then(prepare) {
            Some(text) => Self::Text(text),
            None => Self::Octets(value.tag().0, value.data.into()),
        }
    }
}

/// Returns the characters of a string of ASN.1.
pub(crate) fn decode(value: &Any<'_>) -> Option<String> {
    if value.class() != Class::Universal {
        return None;
    }
    let data = value.data;
    match value.tag().0 {
        UTF8_STRING => std::str::from_utf8(data).ok().map(str::to_owned),
        NUMERIC_STRING | PRINTABLE_STRING | TELETEX_STRING | IA5_STRING | VISIBLE_STRING => {
            data.is_ascii().then(|| data.iter().map(|byte| char::from(*byte)).collect())
        }
        UNIVERSAL_STRING => {
            let (units, []) = data.as_chunks::<4>() else { return None };
            units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit))).collect()
        }
        BMP_STRING => {
            let (units, []) = data.as_chunks::<2>() else { return None };
            units.iter().map(|unit| char::from_u32(u32::from(u16::from_be_bytes(*unit)))).collect()
        }
        _ => None,
    }
}

/// RFC 4518 §2: maps, folds case, normalizes, and removes insignificant spaces.
fn prepare(text: &str) -> Option<Box<str>> {
    if text.chars().any(|c| c.is_control() && !matches!(c, '\t'..='\r' | '\u{85}')) {
        return None;
    }
    let folded = if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        let mapped: String = text.chars().filter(|c| !is_mapped_to_nothing(*c)).collect();
        let normalizer = ComposingNormalizerBorrowed::new_nfkc();
        normalizer.normalize(&normalizer.normalize(&mapped).to_lowercase()).into_owned()
    };
    let words: Vec<&str> = folded.split_whitespace().collect();
    Some(words.join(" ").into())
}

/// RFC 4518 §2.2.
const fn is_mapped_to_nothing(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{1806}' | '\u{180b}'..='\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2063}' | '\u{206a}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffc}'
    )
}

const UTF8_STRING: u32 = 12;
const NUMERIC_STRING: u32 = 18;
const PRINTABLE_STRING: u32 = 19;
const TELETEX_STRING: u32 = 20;
const IA5_STRING: u32 = 22;
const VISIBLE_STRING: u32 = 26;
const UNIVERSAL_STRING: u32 = 28;
const BMP_STRING: u32 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    /// A name of attributes in one relative distinguished name each: the last octet of its type (2.5.4.x), tag, value.
    fn name(attributes: &[(u8, u8, &[u8])]) -> Name {
        let rdn: Vec<Vec<u8>> = attributes.iter().map(|attribute| set(&[one(attribute)])).collect();
        Name::from_der(&tlv(0x30, &rdn.concat())).unwrap()
    }

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
    }

    fn one((kind, tag, value): &(u8, u8, &[u8])) -> Vec<u8> {
        tlv(0x30, &[vec![6, 3, 0x55, 4, *kind], tlv(*tag, value)].concat())
    }

    fn set(attributes: &[Vec<u8>]) -> Vec<u8> {
        tlv(0x31, &attributes.concat())
    }

    #[test]
    fn names_are_compared_by_what_they_say() {
        let reference = name(&[(6, 19, b"NL"), (10, 19, b"Example Bank")]);
        let bmp: Vec<u8> = "Example Bank".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let universal: Vec<u8> = "Example Bank".chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
        for (tag, value) in [
            (12, &b"Example Bank"[..]),
            (20, b"Example Bank"),
            (22, b"EXAMPLE bank"),
            (19, b"  Example   Bank "),
            (30, &bmp),
            (28, &universal),
            (12, "Example\u{a0}Bank".as_bytes()),
            (12, "Exam\u{ad}ple Bank".as_bytes()),
            (12, "\u{ff25}xample Bank".as_bytes()),
        ] {
            assert_eq!(name(&[(6, 12, b"nl"), (10, tag, value)]), reference, "{tag} {value:?}");
        }
        for other in [
            name(&[(6, 19, b"NL"), (10, 19, b"ExampleBank")]),
            name(&[(6, 19, b"NL"), (11, 19, b"Example Bank")]),
            name(&[(10, 19, b"Example Bank"), (6, 19, b"NL")]),
            name(&[(6, 19, b"NL"), (10, 12, b"Example\0 Bank")]),
            name(&[(6, 19, b"NL"), (10, 3, b"\0Example Bank")]),
            name(&[(6, 19, b"NL")]),
        ] {
            assert_ne!(other, reference);
        }
        assert_ne!(name(&[(10, 20, &[0xe9])]), name(&[(10, 12, "é".as_bytes())]));
        assert_eq!(name(&[(10, 12, "É".as_bytes())]), name(&[(10, 12, "e\u{301}".as_bytes())]));
    }

    #[test]
    fn the_order_within_a_relative_distinguished_name_does_not_matter() {
        let (country, organization) = (one(&(6, 19, b"NL")), one(&(10, 19, b"Bank")));
        let both = |first: &Vec<u8>, second: &Vec<u8>| {
            Name::from_der(&tlv(0x30, &set(&[first.clone(), second.clone()]))).unwrap()
        };
        assert_eq!(both(&country, &organization), both(&organization, &country));
        assert_ne!(both(&country, &organization), name(&[(6, 19, b"NL"), (10, 19, b"Bank")]));
    }

    #[test]
    fn a_subtree_begins_with_its_base() {
        let base = name(&[(6, 19, b"NL")]);
        assert!(name(&[(6, 12, b"nl"), (10, 19, b"Bank")]).is_within(&base));
        assert!(base.is_within(&base));
        assert!(!name(&[(6, 19, b"DE"), (10, 19, b"Bank")]).is_within(&base));
        assert!(!name(&[(10, 19, b"Bank"), (6, 19, b"NL")]).is_within(&base));
        assert!(!Name::default().is_within(&base));
    }

    #[test]
    fn what_is_not_exactly_one_name_is_not_read() {
        let good = tlv(0x30, &set(&[one(&(6, 19, b"NL"))]));
        assert!(Name::from_der(&good).is_some()); // control
        assert!(Name::from_der(&[&good[..], &[0]].concat()).is_none());
        assert!(Name::from_der(&good[..good.len() - 1]).is_none());
    }
}
