//! `issuers[].access_token`: how the access tokens of an issuer differ from RFC 9068 (RFC 8725 §3.11, §3.12).

use fapi::token::{AccessTokenForm, Differences, Dispensable, FormError, ScopeForm, TokenType};

use super::Build;
use crate::config::error::KeyPath;
use crate::config::file;

impl Build<'_> {
    /// Compiles the section; `introspected` says that the issuer is asked about its tokens.
    pub(super) fn access_token(
        &mut self,
        at: &KeyPath,
        entry: Option<&mut file::AccessToken>,
        introspected: bool,
    ) -> Option<AccessTokenForm> {
        let Some(entry) = entry else { return Some(AccessTokenForm::default()) };
        let scope_form = match entry.scope_form.get_or_insert(file::ScopeForm::String) {
            file::ScopeForm::String => ScopeForm::String,
            file::ScopeForm::List => ScopeForm::List,
        };
        if introspected {
            let surplus = [
                ("typ", entry.typ.is_some()),
                ("kind", entry.kind.is_some()),
                ("client_id", entry.client_id.is_some()),
                ("scope", entry.scope.is_some()),
                ("may_lack", entry.may_lack.is_some()),
            ];
            let problem =
                "the issuer is asked about its tokens, so this has no effect; remove the key, or write `tokens: jwt`";
            self.refuse_written(at, &surplus, problem)?;
            return AccessTokenForm::new(Differences { scope_form, ..Differences::NONE }).ok();
        }
        let types = entry.typ.get_or_insert_with(|| vec![file::TokenType::AtJwt]).iter().map(|name| match name {
            file::TokenType::AtJwt => TokenType::AtJwt,
            file::TokenType::Jwt => TokenType::Jwt,
            file::TokenType::Absent => TokenType::Absent,
        });
        let types: Vec<TokenType> = types.collect();
        let may_lack = entry.may_lack.iter().flatten().map(|claim| match claim {
            file::Dispensable::Sub => Dispensable::Subject,
            file::Dispensable::Jti => Dispensable::TokenId,
        });
        let may_lack: Vec<Dispensable> = may_lack.collect();
        if entry.may_lack.as_ref().is_some_and(Vec::is_empty) {
            self.report.empty(&at.key("may_lack"), "the list is empty; name `sub` or `jti`, or remove the key");
        }
        let kind_at = at.key("kind");
        let kind = entry.kind.as_ref().map(|kind| self.access_token_kind(&kind_at, kind));
        let written = Differences {
            types: &types,
            kind: kind.flatten(),
            client_claim: entry.client_id.get_or_insert_with(|| Differences::NONE.client_claim.to_owned()),
            scope_claim: entry.scope.get_or_insert_with(|| Differences::NONE.scope_claim.to_owned()),
            scope_form,
            may_lack: &may_lack,
        };
        match AccessTokenForm::new(written) {
            Ok(form) => Some(form).filter(|_| kind.is_none_or(|kind| kind.is_some())),
            Err(problems) => {
                for problem in problems.iter().filter(|problem| kind.is_none() || **problem != FormError::KindMissing) {
                    self.form_problem(at, problem);
                }
                None
            }
        }
    }

    fn access_token_kind<'f>(
        &mut self,
        at: &KeyPath,
        kind: &'f file::AccessTokenKind,
    ) -> Option<(&'f str, &'f [String])> {
        let claim = "name the claim that says what kind of token it is in, such as `typ` or `token_use`";
        let claim = self.text(&at.key("claim"), kind.claim.as_deref(), claim);
        let values = "name the values that only access tokens have, such as `Bearer`";
        let values = self.distinct(&at.key("is"), kind.is.as_deref(), values);
        Some((claim?, values?))
    }

    fn form_problem(&mut self, at: &KeyPath, problem: &FormError) {
        let (at, way_out) = match problem {
            FormError::TypesEmpty => {
                let at = at.key("typ");
                return self
                    .report
                    .empty(&at, &format!("{problem}; name `at+jwt`, `jwt` or `absent`, or remove the key"));
            }
            FormError::KindMissing => {
                let problem = format!(
                    "the key is missing: {problem}; write what only access tokens have, such as `{{ claim: token_use, is: [access] }}`"
                );
                return self.problem(&at.key("kind"), problem);
            }
            FormError::KindClaimRefused { .. } => {
                (at.key("kind").key("claim"), "name a claim that does, such as `typ` or `token_use`")
            }
            FormError::KindCount { .. } => (at.key("kind").key("is"), "name those that access tokens have"),
            FormError::KindEmpty { index } => (at.key("kind").key("is").index(*index), "write it, or remove it"),
            FormError::ClientClaimRefused { .. } => {
                (at.key("client_id"), "name the claim that does, such as `client_id`, `azp` or `cid`")
            }
            FormError::ScopeClaimRefused { .. } => {
                (at.key("scope"), "name the claim that does, such as `scope` or `scp`")
            }
        };
        self.problem(&at, format!("{problem}; {way_out}"));
    }
}

/// What the summary of an issuer says about the section.
pub(super) fn summary(entry: &file::AccessToken) -> String {
    let mut parts = Vec::new();
    if let Some(types) = &entry.typ {
        let names = types.iter().map(|name| match name {
            file::TokenType::AtJwt => "at+jwt",
            file::TokenType::Jwt => "jwt",
            file::TokenType::Absent => "absent",
        });
        parts.push(format!("typ {}", names.collect::<Vec<_>>().join(" or ")));
    }
    if let Some(file::AccessTokenKind { claim: Some(claim), is: Some(values) }) = &entry.kind {
        parts.push(format!("claim {claim} {}", values.join(" or ")));
    }
    if let Some(client) = &entry.client_id {
        parts.push(format!("client in {client}"));
    }
    let form = match entry.scope_form {
        Some(file::ScopeForm::List) => "a list",
        Some(file::ScopeForm::String) | None => "a string",
    };
    parts.push(format!("scopes in {}, {form}", entry.scope.as_deref().unwrap_or("scope")));
    let lacking = entry.may_lack.iter().flatten().map(|claim| match claim {
        file::Dispensable::Sub => "may lack sub",
        file::Dispensable::Jti => "may lack jti",
    });
    parts.extend(lacking.map(str::to_owned));
    format!("access tokens: {}", parts.join(", "))
}
