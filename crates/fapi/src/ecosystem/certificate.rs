//! What an ecosystem asks of the certificates with which clients connect.

use crate::participant::{
    PaymentServiceProvider, ProviderFault, QualifiedKind, QualifiedStatements, SubjectAttribute, SubjectFault,
};

/// Why a certificate is not of the kind that an ecosystem asks for. `Display` is for operators.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KindFault {
    /// An attribute of its subject is missing, or not once there.
    #[error(transparent)]
    Subject(#[from] SubjectFault),
    /// An attribute of its subject has another value.
    #[error("{attribute} of its subject is {found}, expected {expected}")]
    SubjectValue {
        /// The attribute.
        attribute: SubjectAttribute,
        /// Its value, truncated and made printable.
        found: Box<str>,
        /// What it has to be.
        expected: &'static str,
    },
    /// Its subject names another authority than its statement does.
    #[error("its subject is a provider of the authority {found}, its statement says {expected}")]
    Authority {
        /// That in the subject.
        found: Box<str>,
        /// That in the statement, truncated and made printable.
        expected: Box<str>,
    },
    /// What it states of its holder as a payment service provider does not count.
    #[error("its qcStatements {0}")]
    Provider(#[from] ProviderFault),
    /// It lacks something else.
    #[error("it {0}")]
    Lacks(&'static str),
}

/// Whether a certificate that says what kind it is says that it is for web sites, which is for TLS, and for nothing else: a
/// certificate for seals or signatures identifies nobody in a handshake (BG-05).
pub(super) fn check_for_web(statements: &QualifiedStatements) -> Result<(), KindFault> {
    match statements.kinds.as_deref() {
        None | Some([QualifiedKind::Web]) => Ok(()),
        Some(_) => Err(KindFault::Lacks("has a QcType other than that for web sites alone")),
    }
}

/// What a certificate states of its holder, which is a payment service provider.
pub(super) fn provider(statements: &QualifiedStatements) -> Result<&PaymentServiceProvider, KindFault> {
    let stated =
        statements.provider.as_ref().ok_or(KindFault::Lacks("has no statement of a payment service provider"))?;
    stated.as_ref().map_err(|fault| fault.clone().into())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnValue, ExtendedKeyUsagePurpose, KeyUsagePurpose};

    use super::super::Ecosystem;
    use crate::participant::testing::{Statements, bmp, certificate, printable, utf8};
    use crate::participant::{ParticipantCertificate, Role};

    const PROVIDER: &str = "PSDDE-BAFIN-123456";
    const ORGANIZATION: &str = "74e929d9-33b6-4d85-8ba7-c146c867a817";
    const SOFTWARE: &str = "10120340-3318-4baf-99e2-0b56729c4ab2";
    const UID: &[u64] = &[0, 9, 2342, 19200300, 100, 1, 1];
    const JURISDICTION: &[u64] = &[1, 3, 6, 1, 4, 1, 311, 60, 2, 1, 3];
    const ORGANIZATION_IDENTIFIER: &[u64] = &[2, 5, 4, 97];

    fn judge(ecosystem: Ecosystem, der: &[u8]) -> Result<(), String> {
        let certificate = ParticipantCertificate::from_der(der).map_err(|fault| fault.to_string())?;
        ecosystem.check_certificate(&certificate).map_err(|fault| fault.to_string())
    }

    /// A certificate of a payment service provider with these statements.
    fn qualified(organization: &str, statements: Option<&Statements>) -> Vec<u8> {
        let subject = [(&[2, 5, 4, 6][..], printable("DE")), (ORGANIZATION_IDENTIFIER, utf8(organization))];
        certificate(&subject, |params| params.custom_extensions.extend(statements.map(Statements::extension)))
    }

    fn of_provider() -> Statements {
        Statements::of_provider(&[Role::AccountInformation], "BaFin", "DE-BAFIN")
    }

    #[test]
    fn bg_05_a_client_of_the_berlin_group_has_a_qualified_certificate_for_web_sites() {
        let judge = |organization: &str, statements: &Statements| {
            judge(Ecosystem::BerlinGroup, &qualified(organization, Some(statements))).err()
        };
        assert_eq!(judge(PROVIDER, &of_provider().compliant().for_kinds(&[3])), None); // control
        let no_web = Some("it has a QcType other than that for web sites alone");
        for (statements, why) in [
            (of_provider().for_kinds(&[3]), Some("it has no QcCompliance")),
            (of_provider().compliant(), Some("it has no QcType")),
            (of_provider().compliant().for_kinds(&[2]), no_web),
            (of_provider().compliant().for_kinds(&[1]), no_web),
            (of_provider().compliant().for_kinds(&[2, 3]), no_web),
            (of_provider().compliant().for_kinds(&[]), no_web),
            (
                Statements::of_roles(&[(9, "PSP_XX")]).compliant().for_kinds(&[3]),
                Some("its qcStatements have a role that is not known: \"PSP_XX\""),
            ),
            (
                Statements::default().compliant().for_kinds(&[3]),
                Some("it has no statement of a payment service provider"),
            ),
        ] {
            assert_eq!(judge(PROVIDER, &statements).as_deref(), why);
        }
        let plain = super::tests::judge(Ecosystem::BerlinGroup, &qualified(PROVIDER, None));
        assert_eq!(plain, Err("it has no QcCompliance".to_owned()));
    }

    #[test]
    fn bg_04_its_subject_is_the_provider_that_its_statement_says() {
        let judge = |organization: &str, authority: &str| {
            let statements = Statements::of_provider(&[Role::CardIssuing], "BaFin", authority);
            let der = qualified(organization, Some(&statements.compliant().for_kinds(&[3])));
            judge(Ecosystem::BerlinGroup, &der).err()
        };
        assert_eq!(judge(PROVIDER, "DE-BAFIN"), None); // control
        for (organization, authority) in [(PROVIDER, "FR-ACPR"), (PROVIDER, "NA"), ("PSDFR-BAFIN-1", "DE-BAFIN")] {
            let fault = judge(organization, authority).unwrap();
            assert!(fault.contains("provider of the authority"), "{fault}");
        }
        for organization in ["VATDE-123456", "psdde-bafin-1"] {
            let fault = judge(organization, "DE-BAFIN").unwrap();
            assert!(fault.starts_with("organizationIdentifier of its subject is"), "{fault}");
        }
    }

    #[test]
    fn uk_16_a_client_in_the_uk_has_the_statement_of_a_provider_and_no_seal() {
        for ecosystem in [Ecosystem::UkObie31, Ecosystem::UkObie40] {
            let judge = |statements: Option<&Statements>| {
                judge(ecosystem, &qualified("PSDGB-OB-Unknown0015800001041REAAY", statements)).err()
            };
            for good in [of_provider(), of_provider().for_kinds(&[3]), of_provider().compliant().for_kinds(&[3])] {
                assert_eq!(judge(Some(&good)), None); // control
            }
            assert_eq!(judge(None).as_deref(), Some("it has no statement of a payment service provider"));
            let faulty = judge(Some(&Statements::of_roles(&[])));
            assert_eq!(faulty.as_deref(), Some("its qcStatements name no role"));
            let seal = judge(Some(&of_provider().for_kinds(&[2])));
            assert_eq!(seal.as_deref(), Some("it has a QcType other than that for web sites alone"));
        }
    }

    /// The subject of a certificate of Open Finance Brazil.
    fn brazilian() -> Vec<(&'static [u64], DnValue)> {
        vec![
            (&[2, 5, 4, 15], utf8("Private Organization")),
            (JURISDICTION, printable("BR")),
            (&[2, 5, 4, 5], printable("43142666000197")),
            (&[2, 5, 4, 6], printable("BR")),
            (&[2, 5, 4, 10], utf8("Banco Exemplo S.A.")),
            (&[2, 5, 4, 8], utf8("SP")),
            (&[2, 5, 4, 7], utf8("SAO PAULO")),
            (ORGANIZATION_IDENTIFIER, utf8("OFBBR-74e929d9-33b6-4d85-8ba7-c146c867a817")),
            (UID, utf8(SOFTWARE)),
            (&[2, 5, 4, 3], utf8("mtls.banco.example.com.br")),
        ]
    }

    fn judge_brazil(
        subject: &[(&'static [u64], DnValue)],
        adjust: impl FnOnce(&mut CertificateParams),
    ) -> Option<String> {
        judge(Ecosystem::Brazil, &certificate(subject, adjust)).err()
    }

    #[test]
    fn br_07_a_client_in_brazil_has_each_attribute_as_it_has_to_be() {
        assert_eq!(judge_brazil(&brazilian(), |_| {}), None); // control
        for (index, (kind, _)) in brazilian().into_iter().enumerate() {
            let mut without = brazilian();
            without.remove(index);
            let fault = judge_brazil(&without, |_| {}).unwrap();
            assert!(fault.starts_with("its subject has no "), "{kind:?}: {fault}");
        }
        let with = |index: usize, value: &str| {
            let mut subject = brazilian();
            subject[index].1 = utf8(value);
            judge_brazil(&subject, |_| {})
        };
        // Letters are in numbers that are given since 2026.
        for (index, good) in [(2, "12ABC34501DE35"), (0, "Government Entity"), (9, "banco.com.br"), (8, ORGANIZATION)] {
            assert_eq!(with(index, good), None, "{good}");
        }
        for (index, bad) in [
            (0, "Bank"),
            (1, "UK"),
            (2, "4314266600019"),
            (2, "43142666/0001-97"),
            (2, "431426660001AB"),
            (3, "PT"),
            (7, "OFBBR-1"),
            (7, ORGANIZATION),
            (7, "PSDDE-BAFIN-123456"),
            (8, "1012034033184baf99e20b56729c4ab2"),
            (8, "software"),
            (9, "https://web.banco.example.com.br"),
            (9, "banco"),
            (9, "*.banco.example"),
        ] {
            let fault = with(index, bad).unwrap_or_else(|| panic!("{bad}"));
            assert!(fault.contains(" of its subject is "), "{fault}");
        }
    }

    #[test]
    fn br_07_its_key_signs_and_enciphers_for_a_client_with_a_name() {
        let of = |adjust: fn(&mut CertificateParams)| judge_brazil(&brazilian(), adjust);
        assert_eq!(of(|_| {}), None); // control
        assert_eq!(of(|params| params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth)), None);
        let usage = Some("it has no critical keyUsage with digitalSignature and keyEncipherment".to_owned());
        assert_eq!(of(|params| params.key_usages.clear()), usage);
        assert_eq!(of(|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]), usage);
        assert_eq!(of(|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]), usage);
        let purpose = Some("it has no clientAuth in its extKeyUsage".to_owned());
        assert_eq!(of(|params| params.extended_key_usages.clear()), purpose);
        assert_eq!(of(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]), purpose);
        let name = Some("it has no DNS name in its subjectAltName".to_owned());
        assert_eq!(of(|params| params.subject_alt_names.clear()), name);
    }

    #[test]
    fn br_08_the_order_of_its_attributes_and_their_encodings_do_not_matter() {
        let mut reordered = brazilian();
        reordered.reverse();
        assert_eq!(judge_brazil(&reordered, |_| {}), None);
        for (index, text) in [(2, "43142666000197"), (8, SOFTWARE), (9, "mtls.banco.example.com.br"), (3, "BR")] {
            for encoded in [printable(text), utf8(text), bmp(text)] {
                let mut subject = brazilian();
                subject[index].1 = encoded;
                assert_eq!(judge_brazil(&subject, |_| {}), None, "{text}");
            }
        }
    }

    #[test]
    fn br_10_older_certificates_have_their_organisation_in_ou() {
        let organization = |subject: &[(&'static [u64], DnValue)]| {
            let certificate = ParticipantCertificate::from_der(&certificate(subject, |_| {})).unwrap();
            let organization = Ecosystem::Brazil.organization(&certificate);
            organization.map(|id| id.is_named_by(ORGANIZATION)).map_err(|fault| fault.to_string())
        };
        assert_eq!(organization(&brazilian()), Ok(true));
        let mut older = brazilian();
        older[7] = (&[2, 5, 4, 11], printable(ORGANIZATION));
        assert_eq!((organization(&older), judge_brazil(&older, |_| {})), (Ok(true), None));
        older[7].1 = printable("Banking");
        assert_eq!(organization(&older), Ok(false));
        assert!(judge_brazil(&older, |_| {}).is_some());
        older.remove(7);
        assert_eq!(organization(&older), Err("its subject has no organizationIdentifier".to_owned()));
        // Where both are, the newer one counts.
        let mut both = brazilian();
        both.push((&[2, 5, 4, 11], printable(SOFTWARE)));
        assert_eq!(organization(&both), Ok(true));
    }

    #[test]
    fn bg_03_uk_16_the_role_is_that_of_the_service() {
        let group = |path: &str| Ecosystem::BerlinGroup.roles([].into_iter(), path.split('/').skip(1));
        for (path, role) in [
            ("/v1/accounts", Role::AccountInformation),
            ("/v1/card-accounts/1/balances", Role::AccountInformation),
            ("/v1/consents", Role::AccountInformation),
            ("/v2/consents/confirmation-of-funds", Role::CardIssuing),
            ("/v1/payments/sepa-credit-transfers", Role::PaymentInitiation),
            ("/v1/bulk-payments", Role::PaymentInitiation),
            ("/v1/periodic-payments", Role::PaymentInitiation),
            ("/v1/funds-confirmations", Role::CardIssuing),
            ("/payments/accounts", Role::PaymentInitiation),
        ] {
            assert_eq!(group(path), [role], "{path}");
        }
        assert_eq!(group("/v1/signing-baskets"), [Role::PaymentInitiation, Role::AccountInformation]);
        assert_eq!((group("/v1"), group("/Accounts"), group("/accountsx")), (vec![], vec![], vec![]));
        for ecosystem in [Ecosystem::UkObie31, Ecosystem::UkObie40] {
            let of = |scopes: &[&'static str]| ecosystem.roles(scopes.iter().copied(), ["accounts"].into_iter());
            assert_eq!(of(&["accounts"]), [Role::AccountInformation]);
            assert_eq!(of(&["openid", "payments"]), [Role::PaymentInitiation]);
            assert_eq!(of(&["fundsconfirmations"]), [Role::CardIssuing]);
            assert_eq!(of(&["payments", "accounts"]), [Role::PaymentInitiation, Role::AccountInformation]);
            assert_eq!(of(&["openid"]), []);
        }
        assert_eq!(Ecosystem::Brazil.roles(["accounts"].into_iter(), ["accounts"].into_iter()), []);
    }
}
