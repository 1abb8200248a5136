//! The subject of a certificate by its attributes, whatever their order and the string types of their values.

use std::fmt;

use x509_parser::der_parser::asn1_rs::Any;
use x509_parser::x509::X509Name;

use crate::path_validation::decode;

/// The attributes of a subject. Two are equal if they have the same attributes: the same characters, in whatever string type, in
/// whatever relative distinguished name and order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(Vec<(Box<[u8]>, Value)>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Text(Box<str>),
    /// What is no text, or none with one reading.
    Octets(u32, Box<[u8]>),
}

/// An attribute of a subject that ecosystems use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectAttribute {
    /// `CN`.
    CommonName,
    /// `serialNumber`: the number in a register, not that of the certificate.
    SerialNumber,
    /// `C`.
    Country,
    /// `L`.
    Locality,
    /// `ST`.
    State,
    /// `O`.
    Organization,
    /// `OU`.
    OrganizationalUnit,
    /// `businessCategory`.
    BusinessCategory,
    /// `organizationIdentifier`.
    OrganizationIdentifier,
    /// `UID`.
    UserId,
    /// `jurisdictionC`, the country in which an organisation is registered.
    JurisdictionCountry,
}

/// Why a subject does not have an attribute that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectFault {
    /// It has none of these.
    #[error("its subject has no {0}")]
    Missing(SubjectAttribute),
    /// It has several, and different readers would take different ones.
    #[error("its subject has {0} more than once")]
    Repeated(SubjectAttribute),
    /// It is empty, or not a text.
    #[error("{0} of its subject is not a text")]
    NotText(SubjectAttribute),
}

impl Subject {
    /// Reads a name.
    pub(crate) fn of(name: &X509Name<'_>) -> Self {
        let attributes = name.iter_attributes();
        let attributes =
            attributes.map(|attribute| (attribute.attr_type().as_bytes().into(), Value::of(attribute.attr_value())));
        let mut attributes: Vec<_> = attributes.collect();
        attributes.sort_unstable();
        Self(attributes)
    }

    /// The text of an attribute that is there once.
    ///
    /// # Errors
    /// [`SubjectFault`].
    pub fn sole(&self, attribute: SubjectAttribute) -> Result<&str, SubjectFault> {
        let mut values = self.0.iter().filter(|(kind, _)| **kind == *attribute.oid()).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (None, _) => Err(SubjectFault::Missing(attribute)),
            (Some(_), Some(_)) => Err(SubjectFault::Repeated(attribute)),
            (Some(Value::Text(text)), None) if !text.is_empty() => Ok(text),
            (Some(Value::Text(_) | Value::Octets(..)), None) => Err(SubjectFault::NotText(attribute)),
        }
    }
}

impl Value {
    fn of(value: &Any<'_>) -> Self {
        match decode(value) {
            Some(text) => Self::Text(text.into()),
            None => Self::Octets(value.tag().0, value.data.into()),
        }
    }
}

impl SubjectAttribute {
    /// The content of its identifier.
    const fn oid(self) -> &'static [u8] {
        match self {
            Self::CommonName => &[0x55, 4, 3],
            Self::SerialNumber => &[0x55, 4, 5],
            Self::Country => &[0x55, 4, 6],
            Self::Locality => &[0x55, 4, 7],
            Self::State => &[0x55, 4, 8],
            Self::Organization => &[0x55, 4, 10],
            Self::OrganizationalUnit => &[0x55, 4, 11],
            Self::BusinessCategory => &[0x55, 4, 15],
            Self::OrganizationIdentifier => &[0x55, 4, 97],
            // 0.9.2342.19200300.100.1.1
            Self::UserId => &[9, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1],
            // 1.3.6.1.4.1.311.60.2.1.3
            Self::JurisdictionCountry => &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 60, 2, 1, 3],
        }
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CommonName => "CN",
            Self::SerialNumber => "serialNumber",
            Self::Country => "C",
            Self::Locality => "L",
            Self::State => "ST",
            Self::Organization => "O",
            Self::OrganizationalUnit => "OU",
            Self::BusinessCategory => "businessCategory",
            Self::OrganizationIdentifier => "organizationIdentifier",
            Self::UserId => "UID",
            Self::JurisdictionCountry => "jurisdictionC",
        }
    }
}

impl fmt::Display for SubjectAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::FromDer;

    use super::super::testing::tlv;
    use super::*;

    const UTF8: u8 = 12;
    const PRINTABLE: u8 = 19;
    const TELETEX: u8 = 20;
    const IA5: u8 = 22;
    const BMP: u8 = 30;

    /// A subject of relative distinguished names, each with its attributes: their identifiers, string types and values.
    fn subject(names: &[&[(SubjectAttribute, u8, &[u8])]]) -> Subject {
        let attribute = |(kind, tag, value): &(SubjectAttribute, u8, &[u8])| {
            tlv(0x30, &[tlv(6, kind.oid()), tlv(*tag, value)].concat())
        };
        let name = |attributes: &&[(SubjectAttribute, u8, &[u8])]| {
            tlv(0x31, &attributes.iter().flat_map(attribute).collect::<Vec<u8>>())
        };
        let der = tlv(0x30, &names.iter().flat_map(name).collect::<Vec<u8>>());
        Subject::of(&X509Name::from_der(&der).unwrap().1)
    }

    #[test]
    fn br_08_subjects_are_equal_by_attribute_whatever_their_order_and_encoding() {
        use SubjectAttribute::{CommonName, Country, Organization, UserId};
        let plain = subject(&[
            &[(Country, PRINTABLE, b"BR")],
            &[(Organization, UTF8, b"Banco")],
            &[(UserId, UTF8, b"1")],
            &[(CommonName, UTF8, b"banco.example")],
        ]);
        let reordered = subject(&[
            &[(CommonName, PRINTABLE, b"banco.example")],
            &[(UserId, IA5, b"1"), (Organization, BMP, b"\0B\0a\0n\0c\0o")],
            &[(Country, UTF8, b"BR")],
        ]);
        assert_eq!(plain, reordered);
        for attribute in [CommonName, Country, Organization, UserId] {
            assert_eq!(plain.sole(attribute), reordered.sole(attribute));
        }
        assert_eq!(plain.sole(Organization), Ok("Banco"));
        for other in [
            subject(&[&[(Country, PRINTABLE, b"BR")], &[(Organization, UTF8, b"banco")], &[(UserId, UTF8, b"1")]]),
            subject(&[
                &[(Country, PRINTABLE, b"BR")],
                &[(UserId, UTF8, b"1")],
                &[(CommonName, UTF8, b"banco.example")],
            ]),
            subject(&[&[
                (Country, PRINTABLE, b"BR"),
                (Organization, UTF8, b"1"),
                (UserId, UTF8, b"Banco"),
                (CommonName, UTF8, b"banco.example"),
            ]]),
        ] {
            assert_ne!(plain, other);
        }
    }

    #[test]
    fn an_attribute_counts_if_it_is_there_once_as_a_text() {
        use SubjectAttribute::OrganizationIdentifier as Id;
        let of = |values: &[(u8, &[u8])]| {
            let attributes: Vec<_> = values.iter().map(|(tag, value)| (Id, *tag, *value)).collect();
            subject(&[&attributes]).sole(Id).map(str::to_owned)
        };
        assert_eq!(of(&[(UTF8, b"PSDDE-BAFIN-1")]), Ok("PSDDE-BAFIN-1".to_owned())); // control
        assert_eq!(of(&[]), Err(SubjectFault::Missing(Id)));
        for second in [&b"PSDDE-BAFIN-1"[..], b"PSDDE-BAFIN-2"] {
            assert_eq!(of(&[(UTF8, b"PSDDE-BAFIN-1"), (PRINTABLE, second)]), Err(SubjectFault::Repeated(Id)));
        }
        for (tag, value) in
            [(UTF8, &b""[..]), (UTF8, b"\xff"), (TELETEX, b"\xe4"), (BMP, b"\0a\0"), (2, b"\x01"), (0x80, b"a")]
        {
            assert_eq!(of(&[(tag, value)]), Err(SubjectFault::NotText(Id)), "{tag} {value:?}");
        }
        assert_ne!(subject(&[&[(Id, TELETEX, b"\xe4")]]), subject(&[&[(Id, TELETEX, b"\xe5")]]));
    }
}
