//! What the certificate of a participant says of it: who it is, which roles it has, and what the certificate is for.
//!
//! Facts that an authority put into a certificate, read so that there is one reading or none. Which of them an ecosystem asks for is
//! up to [`ecosystem`](crate::ecosystem). They count if the chain of the certificate was verified, which this does not say.

mod der;
mod organization;
mod role;
mod statements;
mod subject;
#[cfg(test)]
pub(crate) mod testing;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

pub use self::organization::OrganizationId;
pub use self::role::Role;
pub use self::statements::{
    PaymentServiceProvider, ProviderFault, QualifiedKind, QualifiedStatements, StatementsFault,
};
pub use self::subject::{Subject, SubjectAttribute, SubjectFault};

/// What a certificate says of the participant that it was issued to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantCertificate {
    /// Its subject.
    pub subject: Subject,
    /// What it states as a qualified one; nothing, if it has no such extension.
    pub statements: QualifiedStatements,
    /// What its key may be used for, if it says so.
    pub key_usage: Option<KeyUsage>,
    /// Whether it names TLS clients among its purposes; `None` if it names no purposes.
    pub for_clients: Option<bool>,
    /// Its DNS names.
    pub dns_names: Vec<Box<str>>,
}

/// What the key of a certificate may be used for, of what ecosystems ask for (RFC 5280 §4.2.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUsage {
    /// `digitalSignature`.
    pub digital_signature: bool,
    /// `keyEncipherment`.
    pub key_encipherment: bool,
    /// Whether readers that do not know the extension have to refuse the certificate.
    pub critical: bool,
}

/// Why a certificate has not one reading.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// It is not exactly one certificate in DER.
    #[error("it is not exactly one certificate in DER")]
    Unreadable,
    /// An extension is there twice, or cannot be read.
    #[error("its {0} is there twice, or cannot be read")]
    Extension(&'static str),
    /// Its statements as a qualified certificate.
    #[error("its qcStatements {0}")]
    Statements(#[from] StatementsFault),
    /// Its statement as that of a payment service provider, if somebody asks for it.
    #[error("its qcStatements {0}")]
    Provider(#[from] ProviderFault),
}

impl ParticipantCertificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// [`CertificateFault`].
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateFault> {
        let Ok(([], certificate)) = X509Certificate::from_der(der) else { return Err(CertificateFault::Unreadable) };
        let unreadable = |extension| move |_| CertificateFault::Extension(extension);
        let key_usage = certificate.key_usage().map_err(unreadable("keyUsage"))?;
        let purposes = certificate.extended_key_usage().map_err(unreadable("extKeyUsage"))?;
        let names = certificate.subject_alternative_name().map_err(unreadable("subjectAltName"))?;
        let names = names.map(|names| names.value.general_names.iter()).into_iter().flatten();
        let dns_name =
            |name: &GeneralName<'_>| if let GeneralName::DNSName(name) = name { Some((*name).into()) } else { None };
        Ok(Self {
            subject: Subject::of(certificate.subject()),
            statements: QualifiedStatements::of(&certificate)?.unwrap_or_default(),
            key_usage: key_usage.map(|usage| KeyUsage {
                digital_signature: usage.value.digital_signature(),
                key_encipherment: usage.value.key_encipherment(),
                critical: usage.critical,
            }),
            for_clients: purposes.map(|purposes| purposes.value.client_auth),
            dns_names: names.filter_map(dns_name).collect(),
        })
    }

    /// Its roles as a payment service provider; none, if it is not stated that it is one.
    ///
    /// # Errors
    /// [`ProviderFault`].
    pub fn roles(&self) -> Result<&[Role], &ProviderFault> {
        match &self.statements.provider {
            None => Ok(&[]),
            Some(stated) => stated.as_ref().map(|provider| &*provider.roles),
        }
    }

    /// The organisation that its `organizationIdentifier` names.
    ///
    /// # Errors
    /// [`SubjectFault`].
    pub fn organization(&self) -> Result<OrganizationId, SubjectFault> {
        self.subject.sole(SubjectAttribute::OrganizationIdentifier).map(OrganizationId::parse)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CustomExtension, ExtendedKeyUsagePurpose};

    use super::testing::{Statements, certificate, utf8};
    use super::*;

    fn of(adjust: impl FnOnce(&mut rcgen::CertificateParams)) -> Result<ParticipantCertificate, CertificateFault> {
        let subject = [(&[2, 5, 4, 97][..], utf8("PSDDE-BAFIN-123456"))];
        ParticipantCertificate::from_der(&certificate(&subject, adjust))
    }

    #[test]
    fn a_certificate_is_read_into_facts() {
        let statements = Statements::of_provider(&[Role::AccountInformation], "BaFin", "DE-BAFIN");
        let read = of(|params| params.custom_extensions.push(statements.extension())).unwrap();
        assert_eq!(read.roles(), Ok(&[Role::AccountInformation][..]));
        assert!(read.organization().unwrap().is_named_by("PSDDE-BAFIN-123456"));
        let usage = KeyUsage { digital_signature: true, key_encipherment: true, critical: true };
        assert_eq!((read.key_usage, read.for_clients), (Some(usage), Some(true)));
        assert_eq!(read.dns_names, [Box::from("client.example")]);
        let plain = of(|params| {
            (params.key_usages, params.extended_key_usages, params.subject_alt_names) = Default::default();
        });
        let plain = plain.unwrap();
        assert_eq!((plain.key_usage, plain.for_clients, plain.dns_names.len()), (None, None, 0));
        assert_eq!((plain.statements, plain.subject), (QualifiedStatements::default(), read.subject));
        let server = of(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
        assert_eq!(server.unwrap().for_clients, Some(false));
    }

    #[test]
    fn a_certificate_with_more_than_one_reading_is_refused() {
        let statements = Statements::of_provider(&[Role::AccountInformation], "BaFin", "DE-BAFIN").extension();
        assert!(of(|params| params.custom_extensions.push(statements.clone())).is_ok()); // control
        let twice = of(|params| params.custom_extensions.extend([statements.clone(), statements.clone()]));
        assert_eq!(twice, Err(CertificateFault::Statements(StatementsFault::Twice)));
        let garbage = of(|params| {
            params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 3], vec![5, 0]));
        });
        assert!(matches!(garbage, Err(CertificateFault::Statements(StatementsFault::Malformed { .. }))), "{garbage:?}");
        for (oid, name) in [(15, "keyUsage"), (37, "extKeyUsage"), (17, "subjectAltName")] {
            let twice = of(|params| {
                params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, oid], vec![3, 2, 7, 0x80]));
            });
            assert_eq!(twice, Err(CertificateFault::Extension(name)));
        }
        let good = certificate(&[], |_| {});
        assert!(ParticipantCertificate::from_der(&good).is_ok()); // control
        for bad in [&[&good[..], &[0]].concat()[..], &good[..good.len() - 1], b""] {
            assert_eq!(ParticipantCertificate::from_der(bad), Err(CertificateFault::Unreadable));
        }
    }
}
