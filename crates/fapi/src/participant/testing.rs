//! Certificates of participants, for tests.

use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose,
};

use super::role::Role;

/// A value in DER, whose content has fewer than 64 KiB.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let header = match length {
        [0, short @ 0..0x80] => vec![tag, short],
        [0, long] => vec![tag, 0x81, long],
        [high, low] => vec![tag, 0x82, high, low],
    };
    [&header, content].concat()
}

/// The statements of a qualified certificate, not all of them as they have to be.
#[derive(Clone, Default)]
pub(crate) struct Statements(Vec<u8>);

impl Statements {
    /// Those of a payment service provider.
    pub(crate) fn of_provider(roles: &[Role], authority_name: &str, authority_id: &str) -> Self {
        let roles: Vec<(u8, &str)> = roles.iter().map(|role| (role.number(), role.as_str())).collect();
        Self::default().provided(&roles, authority_name, authority_id)
    }

    /// Those of a provider whose roles have these identifiers and names.
    pub(crate) fn of_roles(roles: &[(u8, &str)]) -> Self {
        Self::default().provided(roles, "BaFin", "DE-BAFIN")
    }

    fn provided(self, roles: &[(u8, &str)], authority_name: &str, authority_id: &str) -> Self {
        let role = |(number, name): &(u8, &str)| {
            let id = tlv(6, &[4, 0, 0x81, 0x98, 0x27, 1, *number]);
            tlv(0x30, &[id, tlv(12, name.as_bytes())].concat())
        };
        let roles = tlv(0x30, &roles.iter().flat_map(role).collect::<Vec<u8>>());
        let texts = [authority_name, authority_id].map(|text| tlv(12, text.as_bytes()));
        self.with(&[4, 0, 0x81, 0x98, 0x27, 2], &tlv(0x30, &[roles, texts.concat()].concat()))
    }

    /// With `QcCompliance`.
    pub(crate) fn compliant(self) -> Self {
        self.with(&[4, 0, 0x8e, 0x46, 1, 1], &[])
    }

    /// With `QcType`, by the last numbers of its identifiers.
    pub(crate) fn for_kinds(self, kinds: &[u8]) -> Self {
        let kinds = kinds.iter().flat_map(|kind| tlv(6, &[4, 0, 0x8e, 0x46, 1, 6, *kind])).collect::<Vec<u8>>();
        self.with(&[4, 0, 0x8e, 0x46, 1, 6], &tlv(0x30, &kinds))
    }

    /// With another statement.
    pub(crate) fn with(mut self, id: &[u8], info: &[u8]) -> Self {
        self.0.extend(tlv(0x30, &[&tlv(6, id), info].concat()));
        self
    }

    /// With the statements of another list.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.0.extend(&other.0);
        self
    }

    /// The value of the extension.
    pub(crate) fn der(&self) -> Vec<u8> {
        tlv(0x30, &self.0)
    }

    /// The extension.
    pub(crate) fn extension(&self) -> CustomExtension {
        CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 3], self.der())
    }
}

/// A certificate of a client with these attributes in its subject, in their order, and anything else.
pub(crate) fn certificate(subject: &[(&[u64], DnValue)], adjust: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(DnType::from_oid(kind), value.clone());
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    adjust(&mut params);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

/// A value in UTF8String.
pub(crate) fn utf8(text: &str) -> DnValue {
    DnValue::Utf8String(text.to_owned())
}

/// A value in PrintableString.
pub(crate) fn printable(text: &str) -> DnValue {
    DnValue::PrintableString(text.try_into().unwrap())
}

/// A value in BMPString.
pub(crate) fn bmp(text: &str) -> DnValue {
    DnValue::BmpString(text.try_into().unwrap())
}
