//! `routes[].require`: what a route requires of a token beside its scopes; each part is a rule of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use fapi::ecosystem::Ecosystem;
use fapi::policy::{
    Authentication, BodyMember, ClaimPlace, ClaimRule, Clients, Comparison, DetailNeeds, DetailRule, InvalidPolicy,
    MemberRule, Operand, Requirements, Scalar, SubjectRule, TokenLifetime,
};
use fapi::route::Pattern;

use super::Build;
use super::consents::ConsentServices;
use crate::config::error::KeyPath;
use crate::config::file;

impl Build<'_> {
    /// `pattern` is that of the route's path, if that can be read.
    pub(super) fn require(
        &mut self,
        at: &KeyPath,
        entry: Option<&mut file::Require>,
        pattern: Option<&Pattern>,
        ecosystem: Option<Ecosystem>,
        (services, directories): (&ConsentServices, &BTreeMap<String, file::Directory>),
    ) -> Option<Requirements> {
        let Some(entry) = entry else { return Some(Requirements::default()) };
        let parts = [
            entry.clients.is_some(),
            entry.participant.is_some(),
            entry.subject.is_some(),
            entry.token_lifetime.is_some(),
            entry.claims.is_some(),
            entry.authorization_details.is_some(),
            entry.consent.is_some(),
            entry.authentication.is_some(),
            entry.certificate.is_some(),
        ];
        if !parts.contains(&true) {
            self.report
                .empty(at, "nothing is required; write a requirement, such as `subject: required`, or remove the key");
            return None;
        }
        let clients = entry.clients.as_ref().map(|clients| self.required_clients(&at.key("clients"), clients));
        let participant = entry.participant.as_ref();
        let participant =
            participant.map(|entry| self.required_participant(&at.key("participant"), entry, directories));
        let lifetime = entry.token_lifetime.map(|longest| {
            let at = at.key("token_lifetime");
            if longest.0.subsec_nanos() != 0 {
                self.problem(&at, "the time must be a whole number of seconds, the unit of `iat` and `exp`");
                return None;
            }
            self.valid(&at, TokenLifetime::new(longest.0))
        });
        let claims = self.required_claims(&at.key("claims"), entry.claims.as_deref(), pattern);
        let details = entry.authorization_details.as_deref();
        let details = self.required_details(&at.key("authorization_details"), details, pattern);
        let consent_at = at.key("consent");
        let consent = entry.consent.as_mut();
        let consent = consent.map(|entry| self.required_consent(&consent_at, entry, pattern, ecosystem, services));
        let authentication = entry.authentication.as_ref();
        let authentication = authentication.map(|entry| self.authentication_of_user(&at.key("authentication"), entry));
        let certificate = entry.certificate.as_ref();
        let certificate = certificate.map(|entry| self.required_certificate(&at.key("certificate"), entry, ecosystem));
        let all = |good: bool| if good { Some(()) } else { None };
        all(clients != Some(None) && participant != Some(None) && consent != Some(None))?;
        all(lifetime != Some(None) && authentication != Some(None) && certificate != Some(None))?;
        Some(Requirements {
            clients: clients.flatten(),
            participant: participant.flatten(),
            subject: entry.subject.map(|subject| match subject {
                file::RequiredSubject::Required => SubjectRule::Other,
                file::RequiredSubject::Client => SubjectRule::Client,
            }),
            token_lifetime: lifetime.flatten(),
            claims: claims?,
            authorization_details: details?,
            consent: consent.flatten(),
            authentication: authentication.flatten(),
            certificate: certificate.flatten(),
        })
    }

    fn required_clients(&mut self, at: &KeyPath, entry: &file::RequiredClients) -> Option<Clients> {
        for (key, names) in [("allow", &entry.allow), ("deny", &entry.deny)] {
            if let Some(names) = names {
                self.distinct(&at.key(key), Some(names), "name a client, or remove the key")?;
            }
        }
        let deny = entry.deny.as_deref().map(boxed).unwrap_or_default();
        let clients = Clients::new(entry.allow.as_deref().map(boxed), deny);
        self.valid(at, clients)
    }

    fn required_claims(
        &mut self,
        at: &KeyPath,
        entries: Option<&[file::RequiredClaim]>,
        pattern: Option<&Pattern>,
    ) -> Option<Vec<ClaimRule>> {
        self.rules(at, entries, "name a claim, or remove the key", |build, at, entry| {
            build.required_claim(at, entry, pattern)
        })
    }

    fn required_claim(
        &mut self,
        at: &KeyPath,
        entry: &file::RequiredClaim,
        pattern: Option<&Pattern>,
    ) -> Option<ClaimRule> {
        let way_out = "write a JSON pointer, such as `/acr` or `/consent/status`";
        let claim = self.text(&at.key("claim"), entry.claim.as_deref(), way_out);
        let needed = match (&entry.equals, &entry.one_of, &entry.contains) {
            (Some(value), None, None) => self.operand(&at.key("equals"), value, pattern).map(Comparison::Equals),
            (None, Some(values), None) => Some(Comparison::OneOf(values.iter().map(scalar).collect())),
            (None, None, Some(value)) => self.operand(&at.key("contains"), value, pattern).map(Comparison::Contains),
            _ => {
                // One whose value cannot be read is not missing.
                let written = ["equals", "one_of", "contains"].map(|key| at.key(key));
                self.report.problem_unless(&written, at, "write exactly one of `equals`, `one_of` and `contains`");
                return None;
            }
        };
        match ClaimRule::new(claim?, needed?) {
            Err(error @ InvalidPolicy::ClaimValues) => {
                self.report.empty(&at.key("one_of"), &error.to_string());
                None
            }
            Err(error @ InvalidPolicy::ClaimBody) => {
                let key = if entry.equals.is_some() { "equals" } else { "contains" };
                self.problem(&at.key(key), error.to_string());
                None
            }
            rule => self.valid(&at.key("claim"), rule),
        }
    }

    fn required_details(
        &mut self,
        at: &KeyPath,
        entries: Option<&[file::RequiredDetail]>,
        pattern: Option<&Pattern>,
    ) -> Option<Vec<DetailRule>> {
        self.rules(at, entries, "name a type, or remove the key", |build, at, entry| {
            build.required_detail(at, entry, pattern)
        })
    }

    fn required_detail(
        &mut self,
        at: &KeyPath,
        entry: &file::RequiredDetail,
        pattern: Option<&Pattern>,
    ) -> Option<DetailRule> {
        let way_out = "write the type of the elements, such as `payment_initiation`";
        let kind = self.text(&at.key("type"), entry.kind.as_deref(), way_out);
        let mut needed = |key: &str, names: &Option<Vec<String>>| {
            let Some(names) = names else { return Some(Vec::new()) };
            self.distinct(&at.key(key), Some(names), "name what the element must have, or remove the key").map(boxed)
        };
        let actions = needed("actions", &entry.actions);
        let locations = needed("locations", &entry.locations);
        let privileges = needed("privileges", &entry.privileges);
        // An empty list says that there may be no other members.
        let harmless_members = entry.harmless_members.as_ref().map(|names| {
            self.no_repeats(&at.key("harmless_members"), names);
            boxed(names)
        });
        let members = self.required_members(&at.key("match"), entry.members.as_deref(), pattern);
        let needs = DetailNeeds {
            actions: actions?,
            privileges: privileges?,
            locations: locations?,
            members: members?,
            harmless_members,
        };
        let rule = DetailRule::new(kind?, needs);
        self.valid(&at.key("type"), rule)
    }

    fn required_members(
        &mut self,
        at: &KeyPath,
        entries: Option<&[file::RequiredMember]>,
        pattern: Option<&Pattern>,
    ) -> Option<Vec<MemberRule>> {
        self.rules(at, entries, "name a member, or remove the key", |build, at, entry| {
            build.required_member(at, entry, pattern)
        })
    }

    fn required_member(
        &mut self,
        at: &KeyPath,
        entry: &file::RequiredMember,
        pattern: Option<&Pattern>,
    ) -> Option<MemberRule> {
        let way_out = "write a JSON pointer, such as `/creditorAccount/iban`";
        let member = self.text(&at.key("detail"), entry.detail.as_deref(), way_out);
        let needed = match (&entry.equals, &entry.one_of, &entry.contains, &entry.covers) {
            (Some(value), None, None, None) => self.operand(&at.key("equals"), value, pattern).map(Comparison::Equals),
            (None, Some(values), None, None) => Some(Comparison::OneOf(values.iter().map(scalar).collect())),
            (None, None, Some(value), None) => {
                self.operand(&at.key("contains"), value, pattern).map(Comparison::Contains)
            }
            (None, None, None, Some(file::Operand::Body(pointer))) => {
                let amount = BodyMember::new(pointer);
                self.valid(&at.key("covers"), amount).map(Comparison::Covers)
            }
            (None, None, None, Some(_)) => {
                let problem = "an amount is compared with one of the body; write such as `{ body: /instructedAmount }`";
                self.problem(&at.key("covers"), problem);
                None
            }
            _ => {
                // One whose value cannot be read is not missing.
                let written = ["equals", "one_of", "contains", "covers"].map(|key| at.key(key));
                let problem = "write exactly one of `equals`, `one_of`, `contains` and `covers`";
                self.report.problem_unless(&written, at, problem);
                None
            }
        };
        match MemberRule::new(member?, needed?) {
            Err(error @ InvalidPolicy::ClaimValues) => {
                self.report.empty(&at.key("one_of"), &error.to_string());
                None
            }
            rule => self.valid(&at.key("detail"), rule),
        }
    }

    fn operand(&mut self, at: &KeyPath, operand: &file::Operand, pattern: Option<&Pattern>) -> Option<Operand> {
        Some(match operand {
            file::Operand::Value(value) => Operand::Value(scalar(value)),
            file::Operand::Path(name) => {
                let segment = self.path_variable(at, name, pattern)?;
                Operand::Path { name: name.as_str().into(), segment }
            }
            file::Operand::Query(name) => {
                if name.is_empty() {
                    self.problem(at, "the name is empty; write that of a parameter of the query");
                    return None;
                }
                Operand::Query(name.as_str().into())
            }
            file::Operand::Method => Operand::Method,
            file::Operand::Body(pointer) => Operand::Body(self.valid(at, BodyMember::new(pointer))?),
        })
    }

    /// The index of the segment with this name, in the pattern of the route's path if that can be read; the problem of
    /// one that cannot is reported there.
    pub(super) fn path_variable(&mut self, at: &KeyPath, name: &str, pattern: Option<&Pattern>) -> Option<usize> {
        let pattern = pattern?;
        let segment = pattern.variable(name);
        if segment.is_none() {
            self.unknown(at, "variable of the path is named", name, pattern.variables(), false);
        }
        segment
    }

    fn authentication_of_user(&mut self, at: &KeyPath, entry: &file::RequiredAuthentication) -> Option<Authentication> {
        let acr_at = at.key("acr");
        if let Some(acr) = &entry.acr {
            self.distinct(&acr_at, Some(acr), "name a class, or remove the key")?;
        }
        let max_age = match entry.max_age.map(|max_age| max_age.0) {
            Some(max_age) if max_age.subsec_nanos() != 0 || max_age > LONGEST_AGE => {
                let problem = "the time must be a whole number of seconds from 0s to 24h";
                self.problem(&at.key("max_age"), problem);
                None
            }
            max_age => Some(max_age),
        };
        let acr = entry.acr.as_deref().map(boxed).unwrap_or_default();
        // The classes are judged all the same.
        match Authentication::new(acr, max_age.unwrap_or(Some(LONGEST_AGE))) {
            Err(error @ InvalidPolicy::AcrSyntax) => {
                self.problem(&acr_at, error.to_string());
                None
            }
            authentication => max_age.and(self.valid(at, authentication)),
        }
    }

    /// Compiles every entry of a list that may be absent, but not empty.
    fn rules<E, R>(
        &mut self,
        at: &KeyPath,
        entries: Option<&[E]>,
        way_out: &str,
        mut compile: impl FnMut(&mut Self, &KeyPath, &E) -> Option<R>,
    ) -> Option<Vec<R>> {
        let Some(entries) = entries else { return Some(Vec::new()) };
        if entries.is_empty() {
            self.report.empty(at, &format!("the list is empty; {way_out}"));
            return None;
        }
        let each = entries.iter().enumerate();
        let rules: Vec<_> = each.map(|(index, entry)| compile(self, &at.index(index), entry)).collect();
        rules.into_iter().collect()
    }

    /// The claim that the key `claim` of this section names.
    pub(super) fn claim_place(&mut self, at: &KeyPath, claim: Option<&str>, way_out: &str) -> Option<ClaimPlace> {
        let at = at.key("claim");
        let claim = self.text(&at, claim, way_out)?;
        self.valid(&at, ClaimPlace::new(claim))
    }

    /// Records why there is no such rule.
    pub(super) fn valid<T>(&mut self, at: &KeyPath, rule: Result<T, InvalidPolicy>) -> Option<T> {
        rule.map_err(|error| self.problem(at, error.to_string())).ok()
    }
}

/// An authentication of yesterday says nothing about who is there now; longer times are typing errors.
const LONGEST_AGE: Duration = Duration::from_secs(24 * 60 * 60);

fn boxed(names: &[String]) -> Vec<Box<str>> {
    names.iter().map(|name| name.as_str().into()).collect()
}

fn scalar(value: &file::Scalar) -> Scalar {
    match value {
        file::Scalar::Text(text) => Scalar::Text(text.as_str().into()),
        file::Scalar::Number(number) => Scalar::Number(*number),
        file::Scalar::Bool(value) => Scalar::Bool(*value),
    }
}
