//! The certificate of a client of a policy test where a route asks what it says: one that fits, but for what the test says of it.
//!
//! Nobody verifies who signed it: in no handshake is it shown, and the gateway takes what the listener says of its chain.

use std::sync::Arc;

use fapi::ecosystem::Ecosystem;
use fapi::participant::{OrganizationId, Role};
use fapi::peer::ClientCertificate;
use fapi::policy::Policy;
use serde_json::{Map, Value};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::token::Unable;
use crate::config::GivenCertificate;

/// The certificate with which a client with these claims passes, but for what is `given`. `template` is one whose key it takes.
pub(super) fn fitting(
    policy: &Policy,
    claims: &Map<String, Value>,
    given: &GivenCertificate,
    template: &[u8],
) -> Result<Arc<ClientCertificate>, Unable> {
    let needs = policy.requirements().certificate.as_ref();
    let in_brazil = policy.ecosystem() == Some(Ecosystem::Brazil);
    let organization = given.organisation.clone().unwrap_or_else(|| {
        let claimed = needs.and_then(|needs| needs.organization_of(claims));
        match (claimed, in_brazil) {
            (Some(claimed), true) => format!("OFBBR-{claimed}"),
            (Some(claimed), false) => claimed.to_owned(),
            (None, true) => format!("OFBBR-{NIL}"),
            (None, false) => "PSDGB-FCA-123456".to_owned(),
        }
    });
    let software = given.software.as_deref().or(needs.and_then(|needs| needs.software_of(claims))).unwrap_or(NIL);
    let roles = match (&given.roles, needs.map_or(&[][..], |needs| needs.roles())) {
        (Some(roles), _) => roles,
        (None, []) => Role::ALL,
        (None, roles) => roles,
    };
    let mut subject = vec![(ORGANIZATION_IDENTIFIER, &*organization), (UID, software)];
    subject.extend(if in_brazil { BRAZIL } else { PROVIDER });
    let mut extensions = vec![
        // keyUsage, critical: digitalSignature and keyEncipherment
        extension(&[0x55, 0x1d, 15], true, &[3, 2, 5, 0xa0]),
        // extKeyUsage: clientAuth
        extension(&[0x55, 0x1d, 37], false, &tlv(SEQUENCE, &tlv(OID, &[0x2b, 6, 1, 5, 5, 7, 3, 2]))),
        // subjectAltName: a DNS name
        extension(&[0x55, 0x1d, 17], false, &tlv(SEQUENCE, &tlv(0x82, HOST.as_bytes()))),
    ];
    if !in_brazil {
        extensions.push(extension(&[0x2b, 6, 1, 5, 5, 7, 1, 3], false, &statements(&organization, roles)));
    }
    let der = certificate(&subject, &extensions.concat(), template)?;
    Ok(Arc::new(ClientCertificate::from_der(&der).map_err(|_| Unable)?))
}

/// The statements of a qualified certificate for web sites, of a payment service provider (ETSI TS 119 495 §5.1).
fn statements(organization: &str, roles: &[Role]) -> Vec<u8> {
    let authority = match OrganizationId::parse(organization) {
        OrganizationId::Provider { authority, .. } => authority,
        OrganizationId::Brazil(_) | OrganizationId::Other(_) => "GB-FCA".into(),
    };
    let role = |role: &Role| {
        let id = tlv(OID, &[4, 0, 0x81, 0x98, 0x27, 1, role.number()]);
        tlv(SEQUENCE, &[id, tlv(UTF8_STRING, role.as_str().as_bytes())].concat())
    };
    let roles = tlv(SEQUENCE, &roles.iter().flat_map(role).collect::<Vec<u8>>());
    let provider = [roles, tlv(UTF8_STRING, authority.as_bytes()), tlv(UTF8_STRING, authority.as_bytes())].concat();
    let web = tlv(SEQUENCE, &tlv(OID, &[4, 0, 0x8e, 0x46, 1, 6, 3]));
    let statement = |id: &[u8], info: &[u8]| tlv(SEQUENCE, &[&tlv(OID, id), info].concat());
    let all = [
        statement(&[4, 0, 0x8e, 0x46, 1, 1], &[]),
        statement(&[4, 0, 0x8e, 0x46, 1, 6], &web),
        statement(&[4, 0, 0x81, 0x98, 0x27, 2], &tlv(SEQUENCE, &provider)),
    ];
    tlv(SEQUENCE, &all.concat())
}

/// A certificate that is valid whenever a call is made, with the key of another and a signature that is none (RFC 5280 §4.1).
fn certificate(subject: &[(&[u8], &str)], extensions: &[u8], template: &[u8]) -> Result<Vec<u8>, Unable> {
    let (_, template) = X509Certificate::from_der(template).map_err(|_| Unable)?;
    let attribute = |(kind, text): &(&[u8], &str)| {
        tlv(SET, &tlv(SEQUENCE, &[tlv(OID, kind), tlv(UTF8_STRING, text.as_bytes())].concat()))
    };
    let name = tlv(SEQUENCE, &subject.iter().flat_map(attribute).collect::<Vec<u8>>());
    // ecdsa-with-SHA256
    let algorithm = tlv(SEQUENCE, &tlv(OID, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]));
    let validity = [tlv(0x18, b"19700101000000Z"), tlv(0x18, b"99991231235959Z")].concat();
    let signed = [
        tlv(0xa0, &[2, 1, 2]),
        tlv(2, &[1]),
        algorithm.clone(),
        name.clone(),
        tlv(SEQUENCE, &validity),
        name,
        template.public_key().raw.to_vec(),
        tlv(0xa3, &tlv(SEQUENCE, extensions)),
    ];
    Ok(tlv(SEQUENCE, &[tlv(SEQUENCE, &signed.concat()), algorithm, tlv(3, &[0])].concat()))
}

fn extension(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { &[1, 1, 0xff][..] } else { &[] };
    tlv(SEQUENCE, &[&tlv(OID, id), critical, &tlv(4, value)].concat())
}

/// A value in DER (X.690 §8.1.3).
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut encoded = vec![tag];
    match *significant {
        [] => encoded.push(0),
        [short @ 0..0x80] => encoded.push(short),
        _ => {
            encoded.push(0x80 | u8::try_from(significant.len()).unwrap_or_default());
            encoded.extend(significant);
        }
    }
    encoded.extend_from_slice(content);
    encoded
}

const OID: u8 = 6;
const UTF8_STRING: u8 = 12;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// 2.5.4.97
const ORGANIZATION_IDENTIFIER: &[u8] = &[0x55, 4, 97];
/// 0.9.2342.19200300.100.1.1
const UID: &[u8] = &[9, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1];
const HOST: &str = "client.example";
const NIL: &str = "00000000-0000-0000-0000-000000000000";
/// The other attributes of a payment service provider: C, O and CN.
const PROVIDER: &[(&[u8], &str)] = &[(&[0x55, 4, 6], "GB"), (&[0x55, 4, 10], "Client"), (&[0x55, 4, 3], HOST)];
/// Those of a participant in Brazil: businessCategory, jurisdictionC, serialNumber, C, O, ST, L and CN.
const BRAZIL: &[(&[u8], &str)] = &[
    (&[0x55, 4, 15], "Private Organization"),
    (&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 60, 2, 1, 3], "BR"),
    (&[0x55, 4, 5], "00000000000191"),
    (&[0x55, 4, 6], "BR"),
    (&[0x55, 4, 10], "Client"),
    (&[0x55, 4, 8], "SP"),
    (&[0x55, 4, 7], "SAO PAULO"),
    (&[0x55, 4, 3], HOST),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_as_short_as_it_can_be() {
        for (length, header) in
            [(0, &[4, 0][..]), (1, &[4, 1]), (127, &[4, 127]), (128, &[4, 0x81, 128]), (256, &[4, 0x82, 1, 0])]
        {
            assert_eq!(tlv(4, &vec![0; length]), [header, &vec![0; length]].concat());
        }
    }
}
