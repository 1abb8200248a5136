//! What of DER (X.690) is read in extensions: sequences, object identifiers and strings of UTF-8.

use x509_parser::der_parser::asn1_rs::{Any, Class, FromDer, Tag};

/// The DER of each element of exactly one SEQUENCE.
pub(super) fn elements(value: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = sequence(value)?;
    let mut elements = Vec::new();
    while !rest.is_empty() {
        let (_, after) = first(rest)?;
        elements.push(rest.get(..rest.len().checked_sub(after.len())?)?);
        rest = after;
    }
    Some(elements)
}

/// The content of the object identifier at the beginning of a SEQUENCE, and the DER of what follows it there.
pub(super) fn identified(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (id, rest) = first(sequence(value)?).filter(|(id, _)| is(id, Tag::Oid))?;
    Some((id.data, rest))
}

/// The content of each identifier in a SEQUENCE of them.
pub(super) fn identifiers(value: &[u8]) -> Option<Vec<&[u8]>> {
    elements(value)?.into_iter().map(|element| content(element, Tag::Oid)).collect()
}

/// The characters of exactly one UTF8String, of which there are from 1 to 256 (ETSI TS 119 495 annex A).
pub(super) fn utf8_string(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(content(value, Tag::Utf8String)?).ok()?;
    (1..=256).contains(&text.chars().count()).then_some(text)
}

/// The content of exactly one SEQUENCE.
fn sequence(value: &[u8]) -> Option<&[u8]> {
    content(value, Tag::Sequence)
}

/// The content of exactly one value of this type.
fn content(value: &[u8], tag: Tag) -> Option<&[u8]> {
    first(value).filter(|(value, rest)| rest.is_empty() && is(value, tag)).map(|(value, _)| value.data)
}

/// The first value, and what follows it.
///
/// The library also reads lengths that are longer than they need to be, which DER does not allow (X.690 §10.1).
fn first(bytes: &[u8]) -> Option<(Any<'_>, &[u8])> {
    let (rest, value) = Any::from_der(bytes).ok()?;
    let length = match u16::try_from(value.data.len()).ok()?.to_be_bytes() {
        [0, 0..0x80] => 1_usize,
        [0, _] => 2,
        [_, _] => 3,
    };
    let taken = bytes.len().checked_sub(rest.len())?.checked_sub(value.data.len())?;
    // The tag of what is read here is one byte.
    (taken.checked_sub(1)? == length).then_some((value, rest))
}

fn is(value: &Any<'_>, tag: Tag) -> bool {
    value.class() == Class::Universal && value.tag() == tag && value.header.is_constructed() == (tag == Tag::Sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_value_in_its_shortest_form() {
        assert_eq!(utf8_string(&[12, 1, b'a']), Some("a")); // control
        for (why, value) in [
            ("something after it", &[12, 1, b'a', 0][..]),
            ("nothing in it", &[12, 0]),
            ("a longer form of its length", &[12, 0x81, 1, b'a']),
            ("an indefinite length", &[0x2c, 0x80, 12, 1, b'a', 0, 0]),
            ("parts", &[0x2c, 3, 12, 1, b'a']),
            ("another type", &[19, 1, b'a']),
            ("bytes that are not UTF-8", &[12, 1, 0xff]),
            ("an end before its end", &[12, 2, b'a']),
        ] {
            assert_eq!(utf8_string(value), None, "{why}");
        }
        let long = |length: usize| [&[12, 0x82, 1, u8::try_from(length - 256).unwrap()], &*vec![b'a'; length]].concat();
        assert!(utf8_string(&long(256)).is_some() && utf8_string(&long(257)).is_none());
    }

    #[test]
    fn a_sequence_is_one_sequence_of_whole_elements() {
        assert_eq!(elements(&[0x30, 6, 5, 0, 6, 2, 42, 3]), Some(vec![&[5, 0][..], &[6, 2, 42, 3]])); // control
        assert_eq!(identifiers(&[0x30, 4, 6, 2, 42, 3]), Some(vec![&[42, 3][..]])); // control
        assert_eq!(identified(&[0x30, 6, 6, 2, 42, 3, 5, 0]), Some((&[42, 3][..], &[5, 0][..]))); // control
        for bad in [&[0x30, 4, 5, 0, 6, 2][..], &[0x31, 2, 5, 0], &[0x30, 2, 5, 0, 0], &[0x10, 0], &[]] {
            assert_eq!((elements(bad), identifiers(bad), identified(bad)), (None, None, None), "{bad:?}");
        }
        assert_eq!((identifiers(&[0x30, 2, 5, 0]), identified(&[0x30, 0])), (None, None));
    }
}
