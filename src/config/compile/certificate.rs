//! `routes[].require.certificate`, and what an ecosystem asks of the certificates of clients.

use fapi::ecosystem::Ecosystem;
use fapi::participant::Role;
use fapi::policy::{CertificateNeeds, ClaimPlace, EcosystemRules, ScopeRule};
use fapi::profile::Waivable;
use fapi::route::Pattern;

use super::Build;
use crate::config::error::KeyPath;
use crate::config::file;

impl Build<'_> {
    /// The rules of the ecosystem of a route, less what is waived for it.
    pub(super) fn ecosystem_rules(&self, entry: &file::Route, ecosystem: Ecosystem) -> EcosystemRules {
        let waived = |rule: Option<&str>| rule.and_then(|id| self.waived(id, Waivable::Route, entry.name.as_deref()));
        let (certificate, role) = (ecosystem.certificate_rule(), ecosystem.role_rule());
        EcosystemRules { ecosystem, certificate: waived(certificate), role: waived(role) }
    }

    /// Writes down the roles that the service of a route needs, where its ecosystem asks for one and the route does not say which.
    ///
    /// `pattern` is that of the route's path, if that can be read.
    pub(super) fn roles_of_service(
        &mut self,
        at: &KeyPath,
        entry: &mut file::Route,
        ecosystem: Option<Ecosystem>,
        scopes: Option<&ScopeRule>,
        pattern: Option<&Pattern>,
    ) {
        let Some((ecosystem, rule)) = ecosystem.and_then(|ecosystem| Some((ecosystem, ecosystem.role_rule()?))) else {
            return;
        };
        let written = entry.require.as_ref().and_then(|require| require.certificate.as_ref());
        let is_written = written.is_some_and(|certificate| certificate.roles.is_some());
        let (false, Some(scopes), Some(pattern)) = (is_written, scopes, pattern) else { return };
        let (ScopeRule::All(names) | ScopeRule::Any(names)) = scopes;
        let of = |names: &[Box<str>]| ecosystem.roles(names.iter().map(|name| &**name), pattern.literals());
        let roles = of(names);
        // The scopes of two services at once need the roles of both, and the certificate has to have one of the list.
        let mut of_each = names.iter().map(std::slice::from_ref).map(of).filter(|own| !own.is_empty());
        let mixes = matches!(scopes, ScopeRule::All(_)) && of_each.any(|own| own != roles);
        if roles.is_empty() || mixes {
            if self.waived(rule, Waivable::Route, entry.name.as_deref()).is_none() {
                let problem = format!(
                    "the key is missing; `{}` asks for the role of the service, which neither the scopes nor the path say; write it, such as `[PSP_AI]`, or waive `{rule}`",
                    ecosystem.as_str()
                );
                let roles_at = at.key("require").key("certificate").key("roles");
                self.report.problem_unless(&[at.key("require")], &roles_at, &problem);
            }
            return;
        }
        let certificate = entry.require.get_or_insert_default().certificate.get_or_insert_default();
        certificate.roles = Some(roles.into_iter().filter_map(file::RoleName::of).collect());
    }

    pub(super) fn required_certificate(
        &mut self,
        at: &KeyPath,
        entry: &file::RequiredCertificate,
        ecosystem: Option<Ecosystem>,
    ) -> Option<CertificateNeeds> {
        let roles = match &entry.roles {
            None => Some(Vec::new()),
            Some(names) => self.required_roles(&at.key("roles"), names, ecosystem),
        };
        let organization = self.claim_of_certificate(&at.key("organisation"), entry.organisation.as_ref());
        let software = self.claim_of_certificate(&at.key("software"), entry.software.as_ref());
        let (roles, organization, software) = (roles?, organization?, software?);
        match CertificateNeeds::new(roles, organization, software) {
            Ok(needs) => Some(needs),
            Err(error) => {
                // What was written may have been unreadable.
                if !self.report.lost_under(at) {
                    self.report.empty(at, &error.to_string());
                }
                None
            }
        }
    }

    fn required_roles(
        &mut self,
        at: &KeyPath,
        names: &[file::RoleName],
        ecosystem: Option<Ecosystem>,
    ) -> Option<Vec<Role>> {
        if names.is_empty() {
            self.report.empty(at, "the list is empty; name a role, or remove the key");
            return None;
        }
        if ecosystem == Some(Ecosystem::Brazil) {
            let problem = "the certificates of `brazil` name no roles, so nobody would pass; remove the key";
            self.problem(at, problem);
            return None;
        }
        let roles: Vec<Role> = names.iter().map(|name| name.named()).collect();
        let texts: Vec<String> = roles.iter().map(Role::to_string).collect();
        self.no_repeats(at, &texts);
        Some(roles)
    }

    /// The claim; `None` inside if nothing is compared.
    fn claim_of_certificate(
        &mut self,
        at: &KeyPath,
        entry: Option<&file::CertificateClaim>,
    ) -> Option<Option<ClaimPlace>> {
        let Some(entry) = entry else { return Some(None) };
        self.claim_place(at, entry.claim.as_deref(), "write a JSON pointer, such as `/organization_id`").map(Some)
    }
}
