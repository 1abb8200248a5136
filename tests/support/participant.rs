//! Certificates of those who take part in an ecosystem.

use fapi::participant::Role;
use rcgen::{CertificateParams, CustomExtension, DnType, DnValue, KeyUsagePurpose, SanType};
use sandbox::der::tlv;

/// The kinds of qualified certificates, by the last numbers of their identifiers.
pub const SEAL: u8 = 2;
pub const WEB: u8 = 3;

/// Makes a certificate one that is qualified for web sites, of a payment service provider with these roles.
pub fn provider(organization: &str, roles: &[Role]) -> impl FnOnce(&mut CertificateParams) + use<> {
    let roles: Vec<(u8, &str)> = roles.iter().map(|role| (role.number(), role.as_str())).collect();
    qualified(organization, &[compliance(), kind(WEB), psd2(&roles)])
}

/// Makes a certificate one of an organisation, with these statements.
pub fn qualified(organization: &str, statements: &[Vec<u8>]) -> impl FnOnce(&mut CertificateParams) + use<> {
    let organization = organization.to_owned();
    let statements = CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 3], tlv(0x30, &statements.concat()));
    move |params| {
        name(params, &[2, 5, 4, 97], DnValue::Utf8String(organization));
        params.custom_extensions.push(statements);
    }
}

/// `QcCompliance`.
pub fn compliance() -> Vec<u8> {
    tlv(0x30, &tlv(6, &[4, 0, 0x8e, 0x46, 1, 1]))
}

/// `QcType`.
pub fn kind(kind: u8) -> Vec<u8> {
    let kinds = tlv(0x30, &tlv(6, &[4, 0, 0x8e, 0x46, 1, 6, kind]));
    tlv(0x30, &[tlv(6, &[4, 0, 0x8e, 0x46, 1, 6]), kinds].concat())
}

/// The statement of a provider of the authority `DE-BAFIN`, whose roles have these numbers and names.
pub fn psd2(roles: &[(u8, &str)]) -> Vec<u8> {
    let role = |(number, name): &(u8, &str)| {
        let id = tlv(6, &[4, 0, 0x81, 0x98, 0x27, 1, *number]);
        tlv(0x30, &[id, tlv(12, name.as_bytes())].concat())
    };
    let roles = tlv(0x30, &roles.iter().flat_map(role).collect::<Vec<u8>>());
    let provider = tlv(0x30, &[roles, tlv(12, b"BaFin"), tlv(12, b"DE-BAFIN")].concat());
    tlv(0x30, &[tlv(6, &[4, 0, 0x81, 0x98, 0x27, 2]), provider].concat())
}

/// Makes a certificate the BRCAC of this participant and its software.
pub fn brazilian(organization: &str, software: &str) -> impl FnOnce(&mut CertificateParams) + use<> {
    let (organization, software) = (format!("OFBBR-{organization}"), software.to_owned());
    move |params| {
        let printable = |text: &str| DnValue::PrintableString(text.try_into().expect("printable"));
        let utf8 = |text: &str| DnValue::Utf8String(text.to_owned());
        for (kind, value) in [
            (&[2, 5, 4, 15][..], utf8("Private Organization")),
            (&[1, 3, 6, 1, 4, 1, 311, 60, 2, 1, 3], printable("BR")),
            (&[2, 5, 4, 5], printable("43142666000197")),
            (&[2, 5, 4, 6], printable("BR")),
            (&[2, 5, 4, 10], utf8("Banco Exemplo S.A.")),
            (&[2, 5, 4, 8], utf8("SP")),
            (&[2, 5, 4, 7], utf8("SAO PAULO")),
            (&[2, 5, 4, 97], utf8(&organization)),
            (&[0, 9, 2342, 19200300, 100, 1, 1], utf8(&software)),
            (&[2, 5, 4, 3], utf8("mtls.banco.example")),
        ] {
            name(params, kind, value);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.subject_alt_names = vec![SanType::DnsName("mtls.banco.example".try_into().expect("a DNS name"))];
    }
}

fn name(params: &mut CertificateParams, kind: &[u64], value: DnValue) {
    params.distinguished_name.push(DnType::from_oid(kind), value);
}
