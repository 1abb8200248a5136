//! The extension `qcStatements` (RFC 3739 §3.2.6) of a qualified certificate: what it is for (ETSI EN 319 412-5), and what its
//! holder may do as a payment service provider (ETSI TS 119 495 §5).

use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::Oid;

use super::der::{elements, identified, identifiers, utf8_string};
use super::role::Role;
use crate::text::shown_text;

/// What a qualified certificate states. Statements with other identifiers are not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QualifiedStatements {
    /// Whether it is qualified in the sense of the European regulation (`QcCompliance`).
    pub compliance: bool,
    /// What it is for (`QcType`), if it says so: the kinds that are known, of which there may be none.
    pub kinds: Option<Vec<QualifiedKind>>,
    /// What its holder is, if it is a payment service provider; why that does not count, otherwise, which is for whoever asks for it.
    pub provider: Option<Result<PaymentServiceProvider, ProviderFault>>,
}

/// What a qualified certificate is for (ETSI EN 319 412-5 §4.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QualifiedKind {
    /// Electronic signatures.
    Signature,
    /// Electronic seals.
    Seal,
    /// The authentication of web sites.
    Web,
}

/// A payment service provider, as its authority has it (ETSI TS 119 495 §5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentServiceProvider {
    /// Its roles, at least one.
    pub roles: Vec<Role>,
    /// The name of its authority.
    pub authority_name: Box<str>,
    /// The identifier of its authority, such as `DE-BAFIN`.
    pub authority_id: Box<str>,
}

/// Why the statements of a certificate do not count. `Display` goes on from "its qcStatements".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementsFault {
    /// The extension is there twice.
    #[error("are there twice")]
    Twice,
    /// They, or what one of them says, are not what ASN.1 says of them.
    #[error("cannot be read: {what}")]
    Malformed {
        /// What cannot be read.
        what: &'static str,
    },
    /// The same statement is made twice.
    #[error("have the same statement twice")]
    Repeated,
}

/// Why the statement of a payment service provider does not count. `Display` goes on from "its qcStatements".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderFault {
    /// It is not what ASN.1 says of it.
    #[error("cannot be read: {what}")]
    Malformed {
        /// What cannot be read.
        what: &'static str,
    },
    /// A provider without a role.
    #[error("name no role")]
    NoRole,
    /// A role that is none of those that are known.
    #[error("have a role that is not known: {found}")]
    RoleUnknown {
        /// The name beside it, truncated and made printable.
        found: Box<str>,
    },
    /// A role with the name of another, or of none.
    #[error("name the role {expected} {found}")]
    RoleMisnamed {
        /// Its name.
        expected: Role,
        /// The name beside it, truncated and made printable.
        found: Box<str>,
    },
}

impl QualifiedStatements {
    /// Reads the statements of a certificate; `None` if it has no such extension.
    ///
    /// # Errors
    /// [`StatementsFault`], if they can be read in more than one way, or in none; but for that of a provider, of which that is kept.
    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Result<Option<Self>, StatementsFault> {
        let extension = certificate.get_extension_unique(&Oid::new(QC_STATEMENTS.into()));
        let extension = extension.map_err(|_| StatementsFault::Twice)?;
        extension.map(|extension| Self::read(extension.value)).transpose()
    }

    pub(super) fn read(value: &[u8]) -> Result<Self, StatementsFault> {
        let malformed = |what| StatementsFault::Malformed { what };
        let mut read = Self::default();
        let mut seen: Vec<&[u8]> = Vec::new();
        for statement in elements(value).ok_or(malformed("they are not a list"))? {
            let (id, info) = identified(statement).ok_or(malformed("one of them has no identifier"))?;
            if seen.contains(&id) {
                return Err(StatementsFault::Repeated);
            }
            seen.push(id);
            match id {
                QC_COMPLIANCE if info.is_empty() => read.compliance = true,
                QC_COMPLIANCE => return Err(malformed("QcCompliance says something")),
                QC_TYPE => read.kinds = Some(kinds(info).ok_or(malformed("QcType is not a list of identifiers"))?),
                PSD2 => read.provider = Some(PaymentServiceProvider::read(info)),
                _ => {}
            }
        }
        Ok(read)
    }
}

/// The kinds that are known among these, each once.
fn kinds(value: &[u8]) -> Option<Vec<QualifiedKind>> {
    let known = |id: &[u8]| match id {
        QC_TYPE_SIGNATURE => Some(QualifiedKind::Signature),
        QC_TYPE_SEAL => Some(QualifiedKind::Seal),
        QC_TYPE_WEB => Some(QualifiedKind::Web),
        _ => None,
    };
    let mut kinds: Vec<QualifiedKind> = Vec::new();
    for kind in identifiers(value)?.into_iter().filter_map(known) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Some(kinds)
}

impl PaymentServiceProvider {
    /// `PSD2QcType ::= SEQUENCE { rolesOfPSP, nCAName, nCAId }`
    fn read(value: &[u8]) -> Result<Self, ProviderFault> {
        let malformed = |what| ProviderFault::Malformed { what };
        let parts = elements(value).ok_or(malformed("that of PSD2 is not a list"))?;
        let [roles, name, id] = *parts else { return Err(malformed("that of PSD2 has not three parts")) };
        let roles = elements(roles).ok_or(malformed("the roles are not a list"))?;
        if roles.is_empty() {
            return Err(ProviderFault::NoRole);
        }
        let roles = roles.into_iter().map(read_role).collect::<Result<_, _>>()?;
        let authority_name = utf8_string(name).ok_or(malformed("nCAName is not a text"))?.into();
        let authority_id = utf8_string(id).ok_or(malformed("nCAId is not a text"))?.into();
        Ok(Self { roles, authority_name, authority_id })
    }
}

/// `RoleOfPSP ::= SEQUENCE { roleOfPspOid, roleOfPspName }`
fn read_role(value: &[u8]) -> Result<Role, ProviderFault> {
    let malformed = ProviderFault::Malformed { what: "a role is not an identifier and a name" };
    let Some((id, name)) = identified(value) else { return Err(malformed) };
    let name = utf8_string(name).ok_or(malformed)?;
    let role = Role::of(id).ok_or_else(|| ProviderFault::RoleUnknown { found: shown_text(name) })?;
    // ETSI TS 119 495 REG-5.2.2-5: the name is the one that belongs to the identifier. Who reads one alone must not find another
    // role than who reads the other.
    if name != role.as_str() {
        return Err(ProviderFault::RoleMisnamed { expected: role, found: shown_text(name) });
    }
    Ok(role)
}

/// 1.3.6.1.5.5.7.1.3
const QC_STATEMENTS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 3];
/// 0.4.0.1862.1.1 (ETSI EN 319 412-5 §4.2.1)
const QC_COMPLIANCE: &[u8] = &[4, 0, 0x8e, 0x46, 1, 1];
/// 0.4.0.1862.1.6 (ETSI EN 319 412-5 §4.2.3)
const QC_TYPE: &[u8] = &[4, 0, 0x8e, 0x46, 1, 6];
/// 0.4.0.1862.1.6.1
const QC_TYPE_SIGNATURE: &[u8] = &[4, 0, 0x8e, 0x46, 1, 6, 1];
/// 0.4.0.1862.1.6.2
const QC_TYPE_SEAL: &[u8] = &[4, 0, 0x8e, 0x46, 1, 6, 2];
/// 0.4.0.1862.1.6.3
const QC_TYPE_WEB: &[u8] = &[4, 0, 0x8e, 0x46, 1, 6, 3];
/// 0.4.0.19495.2 (ETSI TS 119 495 §5.1)
const PSD2: &[u8] = &[4, 0, 0x81, 0x98, 0x27, 2];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{Statements, tlv};
    use super::*;

    fn read(statements: &Statements) -> Result<QualifiedStatements, StatementsFault> {
        QualifiedStatements::read(&statements.der())
    }

    fn provider(statements: &Statements) -> Result<PaymentServiceProvider, ProviderFault> {
        read(statements).unwrap().provider.unwrap()
    }

    fn qwac() -> Statements {
        Statements::of_provider(&[Role::AccountInformation, Role::PaymentInitiation], "BaFin", "DE-BAFIN")
            .compliant()
            .for_kinds(&[3])
    }

    #[test]
    fn bg_02_each_statement_is_read_and_others_are_not() {
        let expected = QualifiedStatements {
            compliance: true,
            kinds: Some(vec![QualifiedKind::Web]),
            provider: Some(Ok(PaymentServiceProvider {
                roles: vec![Role::AccountInformation, Role::PaymentInitiation],
                authority_name: "BaFin".into(),
                authority_id: "DE-BAFIN".into(),
            })),
        };
        assert_eq!(read(&qwac()), Ok(expected.clone()));
        // QcSSCD, which says nothing, and QcLimitValue, which says something.
        let other = qwac().with(&[4, 0, 0x8e, 0x46, 1, 4], &[]).with(&[4, 0, 0x8e, 0x46, 1, 2], &[0x30, 0]);
        assert_eq!(read(&other), Ok(expected));
        assert_eq!(read(&Statements::default()), Ok(QualifiedStatements::default()));
        let kinds = |kinds: &[u8]| read(&Statements::default().for_kinds(kinds)).unwrap().kinds;
        assert_eq!(kinds(&[1, 2, 9, 2]), Some(vec![QualifiedKind::Signature, QualifiedKind::Seal]));
        assert_eq!((kinds(&[9]), kinds(&[])), (Some(vec![]), Some(vec![])));
    }

    #[test]
    fn bg_02_each_role_is_the_one_of_its_identifier_and_its_name() {
        for role in Role::ALL {
            let stated = provider(&Statements::of_provider(&[*role], "BaFin", "DE-BAFIN"));
            assert_eq!(stated.unwrap().roles, [*role]);
            for other in Role::ALL.iter().filter(|other| *other != role) {
                let swapped = Statements::of_roles(&[(role.number(), other.as_str())]);
                let (expected, found) = (*role, shown_text(other.as_str()));
                assert_eq!(provider(&swapped), Err(ProviderFault::RoleMisnamed { expected, found }));
            }
        }
        for (number, name, found) in [(7, "PSP_AI", "\"PSP_AI\""), (99, "\u{1}", "\"?\"")] {
            let unknown = Statements::of_roles(&[(3, "PSP_AI"), (number, name)]);
            assert_eq!(provider(&unknown), Err(ProviderFault::RoleUnknown { found: found.into() }));
        }
        for name in ["psp_ai", "PSP_AI ", "AISP"] {
            let misnamed = provider(&Statements::of_roles(&[(3, name)]));
            assert!(matches!(misnamed, Err(ProviderFault::RoleMisnamed { .. })), "{name:?}");
        }
        assert_eq!(provider(&Statements::of_roles(&[])), Err(ProviderFault::NoRole));
    }

    #[test]
    fn what_is_wrong_with_the_statement_of_a_provider_is_nothing_of_the_others() {
        let without = Statements::default().compliant().for_kinds(&[2]);
        let expected = read(&without).unwrap();
        for faulty in [Statements::of_roles(&[(9, "PSP_XX")]), Statements::default().with(PSD2, &[5, 0])] {
            let faulty = read(&without.clone().and(&faulty)).unwrap();
            assert!(matches!(faulty.provider, Some(Err(_))), "{faulty:?}");
            assert_eq!(QualifiedStatements { provider: None, ..faulty }, expected);
        }
    }

    #[test]
    fn the_same_statement_twice_is_refused_whichever_it_is() {
        assert!(read(&qwac()).is_ok()); // control
        let psd2 = Statements::of_provider(&[Role::CardIssuing], "BaFin", "DE-BAFIN");
        let unknown = Statements::default().with(&[42, 3], &[]);
        for twice in [qwac().and(&psd2), qwac().compliant(), qwac().for_kinds(&[2]), unknown.clone().and(&unknown)] {
            assert_eq!(read(&twice), Err(StatementsFault::Repeated));
        }
    }

    #[test]
    fn what_is_not_as_asn_1_says_is_refused() {
        let good = qwac().der();
        let code = |der: &[u8]| QualifiedStatements::read(der).map(drop);
        assert_eq!(code(&good), Ok(())); // control
        let is_malformed = |der: &[u8], why: &str| {
            assert!(matches!(code(der), Err(StatementsFault::Malformed { .. })), "{why}: {:?}", code(der));
        };
        is_malformed(&[&good[..], &[0]].concat(), "something after them");
        is_malformed(&good[..good.len() - 1], "an end before their end");
        is_malformed(&[&[0x31], &good[1..]].concat(), "a set");
        is_malformed(&[], "nothing");
        is_malformed(&[0x30, 2, 5, 0], "a statement that is null");
        is_malformed(&Statements::default().with(QC_COMPLIANCE, &[5, 0]).der(), "QcCompliance with a null");
        is_malformed(&Statements::default().with(QC_TYPE, &[]).der(), "QcType without anything");
        is_malformed(&Statements::default().with(QC_TYPE, &[0x30, 2, 5, 0]).der(), "QcType with a null");
        let text = |tag: u8| tlv(tag, b"DE-BAFIN");
        let role = tlv(0x30, &[&tlv(6, &[4, 0, 0x81, 0x98, 0x27, 1, 3])[..], &tlv(12, b"PSP_AI")].concat());
        let psd2 = |parts: &[&[u8]]| Statements::default().with(PSD2, &tlv(0x30, &parts.concat()));
        let roles = tlv(0x30, &role);
        assert!(provider(&psd2(&[&roles, &text(12), &text(12)])).is_ok()); // control
        let is_malformed = |statements: &Statements, why: &str| {
            let stated = provider(statements);
            assert!(matches!(stated, Err(ProviderFault::Malformed { .. })), "{why}: {stated:?}");
        };
        is_malformed(&psd2(&[&roles, &text(12)]), "no nCAId");
        is_malformed(&psd2(&[&roles, &text(12), &text(12), &text(12)]), "a fourth part");
        is_malformed(&psd2(&[&roles, &text(19), &text(12)]), "nCAName in another type");
        is_malformed(&psd2(&[&roles, &text(12), &tlv(12, b"")]), "nCAId without characters");
        is_malformed(&psd2(&[&role, &text(12), &text(12)]), "a role in place of a list of roles");
        let longer = tlv(0x30, &[&role[2..], &tlv(5, &[])].concat());
        is_malformed(&psd2(&[&tlv(0x30, &longer), &text(12), &text(12)]), "a role with a third part");
        is_malformed(&Statements::default().with(PSD2, &[]), "that of PSD2 without anything");
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..80), place in 0_usize..100, byte in any::<u8>()) {
            let _ = QualifiedStatements::read(&tlv(0x30, &bytes));
            let mut changed = qwac().der();
            let place = place % changed.len();
            changed[place] = byte;
            let _ = QualifiedStatements::read(&changed);
        }
    }
}
