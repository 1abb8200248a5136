//! `authorization_servers[].registration`: what clients are that register themselves.

use std::sync::Arc;
use std::time::Duration;

use fapi::authorization_server::registration::RegistrationRules;
use fapi::authorization_server::software_statement::{CertificateRule, StatementRules, SubjectAttribute};
use fapi::jose::keys::{Algorithm, KeySet};

use super::super::issuers::algorithm;
use super::super::{Build, UP_TO_A_DAY};
use crate::config::NamedFiles;
use crate::config::error::KeyPath;
use crate::config::file;
use crate::config::scalar::FilePath;
use crate::resource::Kind;

impl Build<'_> {
    /// The rules for the endpoint of a server, or those of nobody where it has none.
    pub(super) fn registration(
        &mut self,
        at: &KeyPath,
        entry: &mut file::AuthorizationServer,
    ) -> Option<RegistrationRules> {
        let at = at.key("registration");
        let is_served = entry.endpoints.as_ref().is_some_and(|endpoints| endpoints.registration.is_some());
        if !is_served {
            if entry.registration.is_some() && entry.endpoints.is_some() {
                let problem = "without `endpoints.registration` no client registers itself, so this has no effect; write its path, or remove the section";
                self.problem(&at, problem);
            }
            return Some(RegistrationRules { sender_constrained: true, statements: None });
        }
        let profile = entry.profile.unwrap_or_default();
        let section = entry.registration.get_or_insert_default();
        let sender_constrained = match section.sender_constrained.get_or_insert_default() {
            file::SenderConstrained::Required => true,
            file::SenderConstrained::Optional => false,
        };
        let certificate = self.in_certificate(&at, section);
        let Some(statements) = &mut section.software_statements else {
            let compared = [("organisation", section.organisation.is_some()), ("software", section.software.is_some())];
            let problem = "without `software_statements` there is nothing that a certificate could be compared with, so this has no effect; say how statements are verified, or remove the key";
            self.refuse_written(&at, &compared, problem)?;
            return Some(RegistrationRules { sender_constrained, statements: None });
        };
        let statements = self.statements(&at.key("software_statements"), statements, profile);
        let statements = StatementRules { certificate: certificate?, ..statements? };
        Some(RegistrationRules { sender_constrained, statements: Some(statements) })
    }

    fn statements(
        &mut self,
        at: &KeyPath,
        entry: &mut file::SoftwareStatements,
        profile: file::ServerProfile,
    ) -> Option<StatementRules> {
        let way_out = "write the `iss` of the directory's statements, exactly as they have it";
        let issuer = self.text(&at.key("issuer"), entry.issuer.as_deref(), way_out).map(Box::from);
        let keys = self.directory_keys(&at.key("jwks"), entry.jwks.as_ref());
        let algorithms = self.statement_algorithms(&at.key("algorithms"), &mut entry.algorithms, profile);
        let range = Duration::from_secs(1)..=*UP_TO_A_DAY.end();
        let max_age = self.time_within(&at.key("max_age"), &mut entry.max_age, Duration::from_secs(300), range);
        let required = *entry.required.get_or_insert(true);
        let (issuer, keys, algorithms, max_age) = (issuer?, keys?, algorithms?, max_age?);
        Some(StatementRules { issuer, keys, algorithms, max_age, required, certificate: Vec::new() })
    }

    fn directory_keys(&mut self, at: &KeyPath, path: Option<&FilePath>) -> Option<Arc<KeySet>> {
        let path = self.needed(at, path, "name the file with the JWK Set of the directory")?;
        if self.named_files == NamedFiles::Unread {
            return Some(Arc::default());
        }
        let document = self.read(at, path, Kind::Keys)?;
        let shown = path.0.display();
        match KeySet::parse(&document) {
            Ok(keys) if !keys.is_empty() => Some(keys.into()),
            Ok(_) => {
                self.problem(at, format!("`{shown}` has only keys below 2048 bits; download it again"));
                None
            }
            Err(error) => {
                self.problem(at, format!("`{shown}` cannot be used: {error}; download it again from the directory"));
                None
            }
        }
    }

    fn statement_algorithms(
        &mut self,
        at: &KeyPath,
        entry: &mut Option<Vec<file::Algorithm>>,
        profile: file::ServerProfile,
    ) -> Option<Vec<Algorithm>> {
        use file::Algorithm::{EdDsa, Es256, Ps256};
        // FAPI 1.0 Advanced §8.6: "shall use PS256 or ES256 algorithms".
        let advanced = profile == file::ServerProfile::Fapi1Advanced;
        let default = || if advanced { vec![Ps256, Es256] } else { vec![Ps256, Es256, EdDsa] };
        let written = entry.get_or_insert_with(default);
        if written.is_empty() {
            self.report.empty(
                at,
                "the list is empty, so no statement could be accepted; name PS256 or ES256, or remove the key",
            );
            return None;
        }
        let mut algorithms = Vec::new();
        for (index, written) in written.iter().enumerate() {
            let algorithm = algorithm(*written);
            if advanced && algorithm == Algorithm::EdDsa {
                let problem =
                    "`profile: fapi1-advanced` allows PS256 and ES256 only; remove it, or write another profile";
                self.problem(&at.index(index), problem);
            }
            algorithms.push(algorithm);
        }
        Some(algorithms)
    }

    /// What the certificate of a client has in common with its statement.
    fn in_certificate(&mut self, at: &KeyPath, section: &mut file::Registration) -> Option<Vec<CertificateRule>> {
        let mut rules = Vec::new();
        if let Some(organisation) = &mut section.organisation {
            let at = at.key("organisation");
            let way_out = "write `organizationIdentifier` or `OU`";
            let attribute = self.needed(&at.key("certificate"), organisation.certificate.as_ref(), way_out);
            let attribute = attribute.map(|attribute| match attribute {
                file::OrganisationAttribute::OrganizationIdentifier => SubjectAttribute::OrganizationIdentifier,
                file::OrganisationAttribute::OrganizationalUnit => SubjectAttribute::OrganizationalUnit,
            });
            let prefix_at = at.key("prefix");
            let prefix = match organisation.prefix.as_deref() {
                Some(written) => self.text(&prefix_at, Some(written), "write what is before the value, or remove it"),
                None => Some(""),
            };
            let prefix = prefix.map(Box::from);
            let claim = self.claim(&at, &mut organisation.claim, "org_id");
            rules.push(claim.zip(attribute).zip(prefix));
        }
        if let Some(software) = &mut section.software {
            let at = at.key("software");
            let attribute = self.needed(&at.key("certificate"), software.certificate.as_ref(), "write `CN` or `UID`");
            let attribute = attribute.map(|attribute| match attribute {
                file::SoftwareAttribute::CommonName => SubjectAttribute::CommonName,
                file::SoftwareAttribute::UserId => SubjectAttribute::UserId,
            });
            let claim = self.claim(&at, &mut software.claim, "software_id");
            rules.push(claim.zip(attribute).zip(Some(Box::default())));
        }
        let rule = |((claim, attribute), prefix)| CertificateRule { claim, attribute, prefix };
        rules.into_iter().map(|parts| parts.map(rule)).collect()
    }

    fn claim(&mut self, at: &KeyPath, entry: &mut Option<String>, default: &str) -> Option<Box<str>> {
        let claim = entry.get_or_insert_with(|| default.to_owned());
        self.text(&at.key("claim"), Some(claim), "name a claim of the software statement").map(Box::from)
    }
}
