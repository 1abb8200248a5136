//! What a route requires of the client's certificate beside the binding of the token: its kind, which its ecosystem says, its roles,
//! and that its organisation is the one that the token is for.

use serde_json::{Map, Value};

use super::claim_place::ClaimPlace;
use super::error::{InvalidPolicy, PolicyError};
use crate::UnixTime;
use crate::ecosystem::Ecosystem;
use crate::participant::{ParticipantCertificate, Role, SubjectAttribute};
use crate::peer::{Peer, PeerCertificate};
use crate::profile::Period;
use crate::text::{Names, shown_text, shown_value};
use crate::token::Claims;

/// An ecosystem, and when each of its rules is waived; a rule without such a time always holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EcosystemRules {
    /// The ecosystem.
    pub ecosystem: Ecosystem,
    /// That about the [kind of certificate](Ecosystem::certificate_rule).
    pub certificate: Option<Period>,
    /// That about the [role of the client](Ecosystem::role_rule).
    pub role: Option<Period>,
}

/// Nothing is waived.
impl From<Ecosystem> for EcosystemRules {
    fn from(ecosystem: Ecosystem) -> Self {
        Self { ecosystem, certificate: None, role: None }
    }
}

/// What a route requires of certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateNeeds {
    roles: Vec<Role>,
    organization: Option<ClaimPlace>,
    software: Option<ClaimPlace>,
}

impl CertificateNeeds {
    /// One of these roles, if there are any; and that its organisation and its software are those in these claims of the token.
    ///
    /// # Errors
    /// [`InvalidPolicy::Certificate`] if nothing is required.
    pub fn new(
        roles: Vec<Role>,
        organization: Option<ClaimPlace>,
        software: Option<ClaimPlace>,
    ) -> Result<Self, InvalidPolicy> {
        if roles.is_empty() && organization.is_none() && software.is_none() {
            return Err(InvalidPolicy::Certificate);
        }
        Ok(Self { roles, organization, software })
    }

    /// The roles of which a certificate has to have one; empty for any.
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// The organisation that a certificate has to be of, with these claims.
    pub fn organization_of<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c str> {
        self.organization.as_ref()?.text_in(claims)
    }

    /// The software that a certificate has to be for, with these claims.
    pub fn software_of<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c str> {
        self.software.as_ref()?.text_in(claims)
    }

    /// What it requires, for operators.
    pub(super) fn shown(&self) -> String {
        let roles = (!self.roles.is_empty()).then(|| format!("certificate with role {}", joined(&self.roles)));
        let organization = self.organization.as_ref();
        let organization = organization.map(|claim| format!("certificate of the organisation in {}", claim.as_str()));
        let software = self.software.as_ref();
        let software = software.map(|claim| format!("certificate of the software in {}", claim.as_str()));
        roles.into_iter().chain(organization).chain(software).collect::<Vec<_>>().join(", ")
    }

    /// What a token has in the places that it is compared with.
    pub(super) fn found(&self, claims: &Claims) -> Vec<String> {
        self.organization.iter().chain(&self.software).map(|claim| claim.found(claims)).collect()
    }
}

/// Whether a certificate is asked for anything for which there is no waiver.
pub(super) fn is_read(needs: Option<&CertificateNeeds>, rules: Option<EcosystemRules>) -> bool {
    !Asked::of(needs, rules, |waived| waived.is_some()).is_nothing()
}

/// What a certificate is asked for.
struct Asked<'n> {
    /// Whether it is of the kind of this ecosystem.
    kind: Option<Ecosystem>,
    /// Whether it has one of these roles.
    role: bool,
    roles: &'n [Role],
    organization: Option<&'n ClaimPlace>,
    software: Option<&'n ClaimPlace>,
}

impl<'n> Asked<'n> {
    fn of(
        needs: Option<&'n CertificateNeeds>,
        rules: Option<EcosystemRules>,
        is_waived: impl Fn(Option<Period>) -> bool,
    ) -> Self {
        let has_kind =
            |rules: &EcosystemRules| rules.ecosystem.certificate_rule().is_some() && !is_waived(rules.certificate);
        let roles = needs.map_or(&[][..], |needs| &needs.roles);
        let role = match rules.filter(|rules| rules.ecosystem.role_rule().is_some()) {
            // Even where nobody has said which.
            Some(rules) => !is_waived(rules.role),
            None => !roles.is_empty(),
        };
        Self {
            kind: rules.filter(has_kind).map(|rules| rules.ecosystem),
            role,
            roles,
            organization: needs.and_then(|needs| needs.organization.as_ref()),
            software: needs.and_then(|needs| needs.software.as_ref()),
        }
    }

    const fn is_nothing(&self) -> bool {
        self.kind.is_none() && !self.role && self.organization.is_none() && self.software.is_none()
    }
}

/// Checks the certificate of a client, if anything is required of one. It counts if its chain was verified, and while it is valid: a
/// connection may last longer.
///
/// # Errors
/// [`PolicyError`].
pub(super) fn check(
    needs: Option<&CertificateNeeds>,
    rules: Option<EcosystemRules>,
    client: PeerCertificate<'_>,
    claims: &Claims,
    now: UnixTime,
) -> Result<(), PolicyError> {
    let asked = Asked::of(needs, rules, |waived| Period::suspends(waived, now));
    if asked.is_nothing() {
        return Ok(());
    }
    let certificate = facts(client, now)?;
    if let Some(ecosystem) = asked.kind {
        ecosystem.check_certificate(certificate).map_err(PolicyError::CertificateKindRefused)?;
    }
    if asked.role {
        let own = certificate.roles().map_err(|fault| PolicyError::CertificateUnreadable(fault.clone().into()))?;
        if !asked.roles.iter().any(|role| own.contains(role)) {
            return Err(PolicyError::CertificateRoleRefused {
                found: Names::of(own.iter().map(|role| role.as_str())),
                needed: Names::of(asked.roles.iter().map(|role| role.as_str())),
            });
        }
    }
    if let Some(claim) = asked.organization {
        let own = match rules {
            Some(rules) => rules.ecosystem.organization(certificate),
            None => certificate.organization(),
        };
        let own = own.map_err(|fault| PolicyError::CertificateKindRefused(fault.into()))?;
        compare(claim, claims, &own.to_string(), |text| own.is_named_by(text))?;
    }
    if let Some(claim) = asked.software {
        let own = certificate.subject.sole(SubjectAttribute::UserId);
        let own = own.map_err(|fault| PolicyError::CertificateKindRefused(fault.into()))?;
        compare(claim, claims, own, |text| text == own)?;
    }
    Ok(())
}

/// What the client's certificate says.
fn facts<'c>(client: PeerCertificate<'c>, now: UnixTime) -> Result<&'c ParticipantCertificate, PolicyError> {
    let certificate = match client.peer {
        Peer::Certificate(certificate) | Peer::Forwarded(certificate) => certificate,
        Peer::Anonymous(reason) => return Err(PolicyError::CertificateMissing { reason: *reason }),
    };
    if !certificate.valid_at(now) {
        return Err(PolicyError::CertificateExpired { now, not_after: certificate.not_after() });
    }
    // Anybody can write anything into a certificate of their own.
    if !client.verified_chain {
        return Err(PolicyError::CertificateUnverified);
    }
    certificate.participant().map_err(|fault| PolicyError::CertificateUnreadable(fault.clone()))
}

fn compare(
    claim: &ClaimPlace,
    claims: &Claims,
    own: &str,
    is_same: impl FnOnce(&str) -> bool,
) -> Result<(), PolicyError> {
    let value = claim.find(claims);
    if value.and_then(|value| value.as_str()).is_some_and(is_same) {
        return Ok(());
    }
    let (claim, found) = (claim.as_str().into(), shown_value(value));
    Err(PolicyError::CertificateOrganisationRefused { claim, found, expected: shown_text(own) })
}

fn joined(roles: &[Role]) -> String {
    roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::code::Code;
    use crate::participant::testing::{Statements, certificate, printable, utf8};
    use crate::peer::{ClientCertificate, NoCertificate};
    use crate::testing::introspected;

    const NOW: UnixTime = UnixTime(1_800_000_000);
    const PROVIDER: &str = "PSDDE-BAFIN-123456";
    const SOFTWARE: &str = "10120340-3318-4baf-99e2-0b56729c4ab2";

    /// A client with a certificate of a provider with these roles.
    fn provider(roles: &[Role]) -> Peer {
        let statements = Statements::of_provider(roles, "BaFin", "DE-BAFIN").compliant().for_kinds(&[3]);
        of(PROVIDER, Some(&statements))
    }

    fn of(organization: &str, statements: Option<&Statements>) -> Peer {
        let subject =
            [(&[2, 5, 4, 97][..], printable(organization)), (&[0, 9, 2342, 19200300, 100, 1, 1], utf8(SOFTWARE))];
        let der = certificate(&subject, |params| {
            params.custom_extensions.extend(statements.map(Statements::extension));
            params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        });
        Peer::Certificate(Arc::new(ClientCertificate::from_der(&der).unwrap()))
    }

    fn judge(
        needs: Option<&CertificateNeeds>,
        rules: Option<EcosystemRules>,
        peer: &Peer,
        claims: &Value,
    ) -> Option<Code> {
        let mut answer = claims.clone();
        answer["active"] = true.into();
        let token = introspected(&answer, UnixTime(0));
        let client = PeerCertificate { peer, verified_chain: true };
        check(needs, rules, client, token.claims_for_audit(), NOW).err().map(|error| error.code())
    }

    fn claim(pointer: &str) -> Option<ClaimPlace> {
        Some(ClaimPlace::new(pointer).unwrap())
    }

    fn roles(roles: &[Role]) -> CertificateNeeds {
        CertificateNeeds::new(roles.to_vec(), None, None).unwrap()
    }

    #[test]
    fn bg_03_a_client_has_one_of_the_roles_of_the_route() {
        use Role::{AccountInformation, AccountServicing, CardIssuing, PaymentInitiation};
        let needs = roles(&[PaymentInitiation, CardIssuing]);
        for rules in [None, Some(Ecosystem::BerlinGroup.into()), Some(Ecosystem::UkObie40.into())] {
            let of = |peer: &Peer| judge(Some(&needs), rules, peer, &json!({}));
            assert_eq!(of(&provider(&[CardIssuing])), None); // control
            assert_eq!(of(&provider(&[AccountInformation, PaymentInitiation])), None); // control
            for other in [AccountInformation, AccountServicing, Role::Unspecified] {
                assert_eq!(of(&provider(&[other])), Some(Code::CertificateRoleRefused));
            }
        }
        let plain = of(PROVIDER, None);
        assert_eq!(judge(Some(&needs), None, &plain, &json!({})), Some(Code::CertificateRoleRefused));
        let rules = Some(Ecosystem::BerlinGroup.into());
        assert_eq!(judge(Some(&needs), rules, &plain, &json!({})), Some(Code::CertificateKindRefused));
    }

    #[test]
    fn bg_01_a_client_has_a_certificate_that_is_valid_and_whose_chain_is_verified() {
        let (needs, token) =
            (roles(&[Role::AccountInformation]), introspected(&json!({ "active": true }), UnixTime(0)));
        let check_at = |peer: &Peer, verified_chain, now| {
            let client = PeerCertificate { peer, verified_chain };
            let code = |needs, rules| {
                check(needs, rules, client, token.claims_for_audit(), now).err().map(|error| error.code())
            };
            let found = code(Some(&needs), None);
            assert_eq!(found, code(Some(&needs), Some(Ecosystem::BerlinGroup.into())));
            // Nothing is asked, so nothing is looked at.
            assert_eq!((code(None, None), code(None, Some(Ecosystem::Cdr.into()))), (None, None));
            found
        };
        let peer = provider(&[Role::AccountInformation]);
        let Peer::Certificate(certificate) = &peer else { unreachable!("it has one") };
        assert_eq!(check_at(&peer, true, NOW), None); // control
        assert_eq!(check_at(&Peer::Forwarded(certificate.clone()), true, NOW), None);
        assert_eq!(check_at(&peer, true, certificate.not_after()), None); // control
        assert_eq!(check_at(&peer, true, certificate.not_after().plus(1)), Some(Code::CertificateExpired));
        assert_eq!(check_at(&peer, false, NOW), Some(Code::CertificateKindRefused));
        let nobody = Peer::Anonymous(NoCertificate::NotPresented);
        assert_eq!(check_at(&nobody, true, NOW), Some(Code::CertificateMissing));
    }

    #[test]
    fn a_certificate_with_more_than_one_reading_is_refused_whatever_is_asked_of_it() {
        let good = Statements::of_provider(&[Role::AccountInformation], "BaFin", "DE-BAFIN");
        let organization = CertificateNeeds::new(Vec::new(), claim("/org"), None).unwrap();
        for (statements, expected) in
            [(good.clone(), None), (good.clone().and(&good), Some(Code::CertificateKindRefused))]
        {
            let peer = of(PROVIDER, Some(&statements));
            for needs in [&roles(&[Role::AccountInformation]), &organization] {
                assert_eq!(judge(Some(needs), None, &peer, &json!({ "org": PROVIDER })), expected);
            }
        }
    }

    #[test]
    fn roles_with_more_than_one_reading_are_refused_where_a_role_or_a_provider_is_asked_for() {
        let role = roles(&[Role::AccountInformation]);
        let organization = CertificateNeeds::new(Vec::new(), claim("/org"), None).unwrap();
        let of_roles =
            |roles: &[(u8, &str)]| of(PROVIDER, Some(&Statements::of_roles(roles).compliant().for_kinds(&[3])));
        let refused = Some(Code::CertificateKindRefused);
        for (faulty, expected) in [
            (&[(3, "PSP_AI")][..], None), // control
            (&[(2, "PSP_AI")], refused),
            (&[(3, "PSP_AI"), (9, "PSP_XX")], refused),
            (&[], refused),
        ] {
            let peer = of_roles(faulty);
            let judge = |needs, rules| judge(Some(needs), rules, &peer, &json!({ "org": PROVIDER }));
            assert_eq!(judge(&role, None), expected, "{faulty:?}");
            assert_eq!(judge(&organization, None), None, "nobody asks for a role");
            for ecosystem in [Ecosystem::BerlinGroup, Ecosystem::UkObie40] {
                let mut rules = EcosystemRules::from(ecosystem);
                rules.role = Some(Period { since: UnixTime(0), until: NOW.plus(1) });
                assert_eq!(judge(&organization, Some(rules)), expected, "{faulty:?}: {ecosystem:?}");
            }
        }
    }

    #[test]
    fn each_rule_of_an_ecosystem_is_waived_by_itself_and_for_its_time_alone() {
        let period = |since: u64, until: u64| Some(Period { since: UnixTime(since), until: UnixTime(until) });
        let (over, now) = (period(0, NOW.0), period(NOW.0, NOW.0 + 1));
        let rules = |certificate, role| Some(EcosystemRules { ecosystem: Ecosystem::BerlinGroup, certificate, role });
        let needs = roles(&[Role::AccountInformation]);
        let (kind, role) = (Some(Code::CertificateKindRefused), Some(Code::CertificateRoleRefused));
        let no_web = of(PROVIDER, Some(&Statements::of_provider(&[Role::AccountInformation], "BaFin", "DE-BAFIN")));
        let other = provider(&[Role::CardIssuing]);
        let nobody = Peer::Anonymous(NoCertificate::NotPresented);
        let of = |certificate, role, peer: &Peer| judge(Some(&needs), rules(certificate, role), peer, &json!({}));
        assert_eq!((of(None, None, &no_web), of(None, None, &other)), (kind, role));
        assert_eq!((of(over, over, &no_web), of(over, over, &other)), (kind, role));
        assert_eq!((of(now, None, &no_web), of(now, None, &other)), (None, role));
        assert_eq!((of(None, now, &no_web), of(None, now, &other)), (kind, None));
        assert_eq!((of(now, now, &no_web), of(now, now, &other), of(now, now, &nobody)), (None, None, None));
        // Where nobody has said which roles, nobody has one once the waiver is over.
        let unknown = |waived| judge(None, rules(None, waived), &other, &json!({}));
        assert_eq!((unknown(now), unknown(over), unknown(None)), (None, role, role));
    }

    #[test]
    fn bg_04_br_10_the_organisation_of_the_certificate_is_that_of_the_token() {
        let needs = CertificateNeeds::new(Vec::new(), claim("/org/id"), None).unwrap();
        let refused = Some(Code::CertificateOrganisationRefused);
        let judge = |rules, peer: &Peer, id: Value| judge(Some(&needs), rules, peer, &json!({ "org": { "id": id } }));
        let peer = provider(&[Role::CardIssuing]);
        assert_eq!(judge(None, &peer, PROVIDER.into()), None); // control
        for id in ["PSDDE-BAFIN-12345", "psdde-bafin-123456", "123456", " PSDDE-BAFIN-123456", ""] {
            assert_eq!(judge(None, &peer, id.into()), refused, "{id:?}");
        }
        for id in [json!(null), json!([PROVIDER]), json!({ "id": PROVIDER }), json!(123456)] {
            assert_eq!(judge(None, &peer, id.clone()), refused, "{id}");
        }
        let uuid = "74e929d9-33b6-4d85-8ba7-c146c867a817";
        let brazilian = of(&format!("OFBBR-{uuid}"), None);
        let waived = Some(Period { since: NOW, until: NOW.plus(1) });
        let rules = Some(EcosystemRules { ecosystem: Ecosystem::Brazil, certificate: waived, role: None });
        assert_eq!(judge(rules, &brazilian, uuid.into()), None); // control
        assert_eq!(judge(rules, &brazilian, SOFTWARE.into()), refused);
        assert_eq!(judge(rules, &brazilian, format!("OFBBR-{uuid}").into()), refused);
        let nameless = Peer::Certificate(Arc::new(crate::testing::certificate()));
        assert_eq!(judge(None, &nameless, PROVIDER.into()), Some(Code::CertificateKindRefused));
    }

    #[test]
    fn br_07_the_software_of_the_certificate_is_that_of_the_token() {
        let needs = CertificateNeeds::new(Vec::new(), None, claim("/software_id")).unwrap();
        let judge = |id: Value| judge(Some(&needs), None, &of(PROVIDER, None), &json!({ "software_id": id }));
        assert_eq!(judge(SOFTWARE.into()), None); // control
        for other in [json!(null), json!("74e929d9-33b6-4d85-8ba7-c146c867a817"), json!([SOFTWARE])] {
            assert_eq!(judge(other), Some(Code::CertificateOrganisationRefused));
        }
    }

    #[test]
    fn needs_that_ask_for_nothing_or_of_no_claim_do_not_exist() {
        let claim = |pointer: Option<&str>| pointer.map(ClaimPlace::new).transpose();
        let new = |organization, software| {
            CertificateNeeds::new(Vec::new(), claim(organization)?, claim(software)?).map(drop)
        };
        assert_eq!(new(Some("/org"), Some("/software")), Ok(())); // control
        assert_eq!(new(None, None), Err(InvalidPolicy::Certificate));
        assert_eq!(new(Some("org"), None), Err(InvalidPolicy::Pointer));
        assert_eq!(new(None, Some("")), Err(InvalidPolicy::Pointer));
        let [a, b] = [Some("/a"), Some("/b")].map(|pointer| claim(pointer).unwrap());
        let needs = CertificateNeeds::new(vec![Role::CardIssuing, Role::AccountServicing], a, b);
        let shown = "certificate with role PSP_IC or PSP_AS, certificate of the organisation in /a, certificate of the software in /b";
        assert_eq!(needs.unwrap().shown(), shown);
    }
}
