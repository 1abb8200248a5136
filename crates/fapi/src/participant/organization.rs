//! What identifies an organisation in a certificate (ETSI EN 319 412-1 §5.1.4), in the forms of ecosystems.

use std::fmt;

use uuid::Uuid;

use crate::text::canonical_uuid;

/// The identifier of an organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrganizationId {
    /// That of a payment service provider, `PSD`, a country, `-`, its authority, `-` and the number there (ETSI TS 119 495 §5.2.1).
    Provider {
        /// All of it.
        text: Box<str>,
        /// The identifier of the authority, such as `DE-BAFIN`.
        authority: Box<str>,
    },
    /// That of a participant of Open Finance Brazil: what follows `OFBBR-`.
    Brazil(Uuid),
    /// Any other.
    Other(Box<str>),
}

impl OrganizationId {
    /// Reads an `organizationIdentifier`.
    pub fn parse(text: &str) -> Self {
        if let Some(authority) = authority_of_provider(text) {
            return Self::Provider { text: text.into(), authority: authority.into() };
        }
        match text.split_at_checked(BRAZIL.len()) {
            // RFC 4517 §4.2.11: the case of letters does not count where subjects are compared.
            Some((scheme, id)) if scheme.eq_ignore_ascii_case(BRAZIL) => {
                canonical_uuid(id).map_or_else(|| Self::Other(text.into()), Self::Brazil)
            }
            Some(_) | None => Self::Other(text.into()),
        }
    }

    /// Whether somebody means it with this text: all of it, or the UUID of one in Brazil.
    pub fn is_named_by(&self, text: &str) -> bool {
        match self {
            Self::Provider { text: own, .. } | Self::Other(own) => **own == *text,
            Self::Brazil(own) => canonical_uuid(text) == Some(*own),
        }
    }
}

/// The text by which others mean it.
impl fmt::Display for OrganizationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provider { text, .. } | Self::Other(text) => f.write_str(text),
            Self::Brazil(id) => id.hyphenated().fmt(f),
        }
    }
}

/// The identifier of the authority in a text of the form `PSDDE-BAFIN-123456`.
fn authority_of_provider(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("PSD")?;
    let (country, rest_of_authority) = rest.split_once('-')?;
    let (authority, number) = rest_of_authority.split_once('-')?;
    let is_upper = |part: &str| part.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_one = country.len() == 2 && (2..=8).contains(&authority.len()) && !number.is_empty();
    // The country, a hyphen, and the authority.
    let length = authority.len().checked_add(3)?;
    rest.get(..length).filter(|_| is_one && is_upper(country) && is_upper(authority))
}

const BRAZIL: &str = "OFBBR-";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UUID: &str = "74e929d9-33b6-4d85-8ba7-c146c867a817";

    #[test]
    fn bg_04_a_provider_has_a_country_an_authority_and_a_number() {
        for (good, authority) in [
            ("PSDDE-BAFIN-123456", "DE-BAFIN"),
            ("PSDES-BDE-3DFD5", "ES-BDE"),
            ("PSDGB-OB-Unknown0015800001041REAAY", "GB-OB"),
            ("PSDPL-KNF-12/3 - 4", "PL-KNF"),
        ] {
            let expected = OrganizationId::Provider { text: good.into(), authority: authority.into() };
            assert_eq!(OrganizationId::parse(good), expected);
            assert!(expected.is_named_by(good) && !expected.is_named_by(&good.to_lowercase()));
            assert_eq!(expected.to_string(), good);
        }
        for other in [
            "",
            "PSD",
            "psdde-bafin-123456",
            "PSDde-BAFIN-123456",
            "PSDDE-BaFin-123456",
            "PSDDE-BAFIN-",
            "PSDDE-BAFIN",
            "PSDDE--123456",
            "PSDDE-B-123456",
            "PSDDE-BUNDESBNK-1",
            "PSDDEU-BAFIN-1",
            "PSDDÄ-BAFIN-1",
            "VATDE-123456789",
            "PSDGB-5c45f82da93b750125c7adeb",
        ] {
            let read = OrganizationId::parse(other);
            assert_eq!(read, OrganizationId::Other(other.into()));
            assert!(read.is_named_by(other) && !read.is_named_by("PSDDE-BAFIN-123456"));
        }
    }

    #[test]
    fn br_10_a_participant_in_brazil_is_its_uuid() {
        let own = OrganizationId::Brazil(UUID.parse().unwrap());
        for good in [format!("OFBBR-{UUID}"), format!("ofbbr-{}", UUID.to_uppercase())] {
            assert_eq!(OrganizationId::parse(&good), own);
            assert!(own.is_named_by(UUID) && !own.is_named_by(&good) && own.to_string() == UUID);
        }
        for other in [format!("OFBBR{UUID}"), format!("OPIBR-{UUID}"), "OFBBR-12345678".to_owned(), UUID.to_owned()] {
            assert_eq!(OrganizationId::parse(&other), OrganizationId::Other((&*other).into()));
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,30}", number in "\\PC{1,8}") {
            let _ = OrganizationId::parse(&text);
            let text = format!("PSDFR-ACPR-{number}");
            let provider = OrganizationId::Provider { text: (*text).into(), authority: "FR-ACPR".into() };
            prop_assert_eq!(OrganizationId::parse(&text), provider);
        }
    }
}
