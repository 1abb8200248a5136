//! The text of a distinguished name (RFC 4514), which is chosen by whoever made the certificate.

use std::fmt::Write;

use x509_parser::der_parser::asn1_rs::{Any, Tag, ToDer};
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::x509::X509Name;

/// The text of a name, at most 256 characters, with its parts in the order in which the certificate has them.
///
/// Values are escaped as RFC 4514 §2.4 says, and control characters too, so that a value cannot be read as several
/// parts.
pub fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut text = Shortened { text: String::new(), left: LONGEST };
    // The only error is that there is no room for more.
    let _ = write_name(name, &mut text);
    text.text
}

fn write_name(name: &X509Name<'_>, out: &mut Shortened) -> std::fmt::Result {
    for (number, part) in name.iter_rdn().enumerate() {
        for (place, attribute) in part.iter().enumerate() {
            match (number, place) {
                (0, 0) => {}
                (_, 0) => out.write_str(", ")?,
                (_, _) => out.write_str(" + ")?,
            }
            match oid2abbrev(attribute.attr_type(), oid_registry()) {
                Ok(short) => out.write_str(short)?,
                Err(_) => out.write_str(&attribute.attr_type().to_id_string())?,
            }
            out.write_char('=')?;
            match string(attribute.attr_value()) {
                Some(value) => write_escaped(&value, out)?,
                None => write_hex(attribute.attr_value(), out)?,
            }
        }
    }
    Ok(())
}

/// The characters of a value; `None` if it is not a string, or its bytes are not what its type says.
fn string(value: &Any<'_>) -> Option<String> {
    let bytes = value.data;
    match value.tag() {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::NumericString
        | Tag::VisibleString
        | Tag::T61String => Some(std::str::from_utf8(bytes).ok()?.to_owned()),
        Tag::BmpString => {
            let (units, rest) = bytes.as_chunks::<2>();
            let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
            if rest.is_empty() { String::from_utf16(&units).ok() } else { None }
        }
        _ => None,
    }
}

/// RFC 4514 §2.4: escapes special characters with a backslash, and control characters as the hexadecimal digits of their
/// bytes.
fn write_escaped(value: &str, out: &mut Shortened) -> std::fmt::Result {
    let last = value.char_indices().next_back().map_or(0, |(last, _)| last);
    for (place, character) in value.char_indices() {
        let is_special = matches!(character, '"' | '+' | ',' | ';' | '<' | '>' | '\\')
            || (character == '#' && place == 0)
            || (character == ' ' && (place == 0 || place == last));
        if character.is_control() {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                write!(out, "\\{byte:02X}")?;
            }
        } else {
            if is_special {
                out.write_char('\\')?;
            }
            out.write_char(character)?;
        }
    }
    Ok(())
}

fn write_hex(value: &Any<'_>, out: &mut Shortened) -> std::fmt::Result {
    out.write_char('#')?;
    value.to_der_vec().unwrap_or_default().iter().try_for_each(|byte| write!(out, "{byte:02X}"))
}

/// A text to which so many characters can still be added.
struct Shortened {
    text: String,
    left: usize,
}

impl Write for Shortened {
    fn write_str(&mut self, more: &str) -> std::fmt::Result {
        for character in more.chars() {
            self.left = self.left.checked_sub(1).ok_or(std::fmt::Error)?;
            self.text.push(character);
        }
        Ok(())
    }
}

const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    fn shown(parts: &[(DnType, DnValue)]) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        distinguished_name(X509Certificate::from_der(&der).unwrap().1.subject())
    }

    fn common(name: &str) -> String {
        shown(&[(DnType::CommonName, DnValue::Utf8String(name.to_owned()))])
    }

    #[test]
    fn a_value_cannot_be_read_as_several() {
        let [name, organization] = ["a", "Bank"].map(|text| DnValue::Utf8String(text.to_owned()));
        let two = shown(&[(DnType::CommonName, name), (DnType::OrganizationName, organization)]);
        assert_eq!(two, "CN=a, O=Bank");
        for (value, expected) in [
            ("client", "CN=client"), // control
            ("a=b c", "CN=a=b c"),   // control
            ("a, O=Bank", "CN=a\\, O=Bank"),
            ("a + O=Bank", "CN=a \\+ O=Bank"),
            (" a ", "CN=\\ a\\ "),
            (" ", "CN=\\ "),
            ("#a#", "CN=\\#a#"),
            ("\"<>;\\", "CN=\\\"\\<\\>\\;\\\\"),
            ("a\n\0\u{85}", "CN=a\\0A\\00\\C2\\85"),
            ("Ä€", "CN=Ä€"),
        ] {
            assert_eq!(common(value), expected, "{value:?}");
        }
    }

    #[test]
    fn a_type_without_a_name_is_its_numbers() {
        let kind = DnType::CustomDnType(vec![1, 2, 3, 4]);
        assert_eq!(shown(&[(kind, DnValue::Utf8String("a,b".to_owned()))]), "1.2.3.4=a\\,b");
    }

    #[test]
    fn a_name_is_as_long_as_may_be_at_most() {
        assert_eq!(common(&"ä".repeat(253)).chars().count(), 256); // control
        assert_eq!(common(&"ä".repeat(60_000)).chars().count(), 256);
        let many = vec![(DnType::OrganizationName, DnValue::Utf8String("a".repeat(100))); 4];
        assert!(shown(&many).chars().count() <= 256);
    }
}
