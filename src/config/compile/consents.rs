//! `consents`, and `routes[].require.consent`.

use std::sync::Arc;
use std::time::Duration;

use fapi::ecosystem::Ecosystem;
use fapi::headers::StripList;
use fapi::policy::{
    ClaimPlace, ConsentMembers, ConsentPlace, ConsentRule, ConsentUse, DetailPlace, InvalidPolicy, Operand,
    ScopePrefix, StatusSource, Statuses,
};
use fapi::route::Pattern;
use http::HeaderName;

use super::Build;
use crate::certificate::Purpose;
use crate::config::error::KeyPath;
use crate::config::file::{self, File};
use crate::consents::{CacheSettings, Settings, Source, Template};
use crate::tls_client::Identity;

impl Build<'_> {
    pub(super) fn consents(&mut self, file: &mut File) -> Option<Vec<Source>> {
        let at = KeyPath::of("consents");
        let asked: Vec<String> = file
            .routes
            .iter()
            .flatten()
            .filter_map(|route| route.require.as_ref()?.consent.as_ref()?.status.as_ref()?.ask.clone())
            .collect();
        let mut sources = Vec::new();
        for (name, entry) in file.consents.iter_mut().flatten() {
            let at = at.key(name);
            let settings = self.consent_service(&at, name, entry);
            if !asked.contains(name) {
                self.warn(&at, "no route asks this service in its `require.consent`");
            }
            sources.push(settings.map(|settings| Source::Service(settings.into())));
        }
        sources.into_iter().collect()
    }

    fn consent_service(&mut self, at: &KeyPath, name: &str, entry: &mut file::ConsentService) -> Option<Settings> {
        let name = self.name(at, Some(name)).map(Arc::from);
        let (url_at, status_at) = (at.key("url"), at.key("status"));
        let way_out = "write such as `https://consents.bank.example/consents/{consent_id}`";
        let url = self.text(&url_at, entry.url.as_deref(), way_out).map(Template::parse);
        let url = url.and_then(|url| url.map_err(|error| self.problem(&url_at, format!("{error}; {way_out}"))).ok());
        let status = self.text(&status_at, entry.status.as_deref(), "write a JSON pointer, such as `/data/status`");
        let members = status.and_then(|status| {
            let status = self.valid(&status_at, ConsentMembers::new(status, None)).map(|_| status);
            let client = entry.client.as_deref();
            // Each is judged by itself, so that both problems are said.
            let client =
                client.map(|client| self.valid(&at.key("client"), ConsentMembers::new(client, None)).map(|_| client));
            ConsentMembers::new(status?, client.map_or(Some(None), |client| client.map(Some))?).ok()
        });
        let trust_anchors = self.anchors_of_servers(at, entry.trust_anchors.as_deref());
        let identity = match (&entry.certificate, &entry.private_key) {
            (None, None) => Some(None),
            (certificate, key) => {
                let identity = self.identity(at, certificate.as_ref(), key.as_ref(), Purpose::Client);
                identity.map(|(chain, key)| Some(Identity { chain, key }))
            }
        };
        let longest = Duration::from_millis(1)..=Duration::from_secs(30);
        let timeout = self.time_within(&at.key("timeout"), &mut entry.timeout, Duration::from_secs(2), longest);
        let max_calls = self.number(&at.key("max_calls"), entry.max_calls.get_or_insert(64), 1..=1000);
        let max_waiting = self.room(at, &mut entry.max_waiting, &mut entry.max_waiting_per_client);
        let cache = self.consent_cache(&at.key("cache"), entry.cache.get_or_insert_default());
        Some(Settings {
            name: name?,
            url: url?,
            members: members?,
            trust_anchors: trust_anchors?,
            identity: identity?,
            timeout: timeout?,
            max_calls: max_calls?,
            max_waiting: max_waiting?,
            cache: cache?,
        })
    }

    fn consent_cache(&mut self, at: &KeyPath, entry: &mut file::ConsentCache) -> Option<CacheSettings> {
        let (five_minutes, day) = (Duration::from_secs(300), Duration::from_secs(86_400));
        let (max_age, zero) = (&mut entry.max_age, Duration::ZERO);
        let max_age = self.time_within(&at.key("max_age"), max_age, Duration::from_secs(5), zero..=five_minutes);
        let stale_for = self.time_within(&at.key("stale_for"), &mut entry.stale_for, zero, zero..=day);
        let max_entries = self.count(&at.key("max_entries"), entry.max_entries.get_or_insert(100_000));
        Some(CacheSettings { max_entries: max_entries?, max_age: max_age?, stale_for: stale_for? })
    }

    /// `pattern` is that of the route's path, if that can be read.
    pub(super) fn required_consent(
        &mut self,
        at: &KeyPath,
        entry: &mut file::RequiredConsent,
        pattern: Option<&Pattern>,
        ecosystem: Option<Ecosystem>,
        services: &ConsentServices,
    ) -> Option<ConsentRule> {
        let id_at = at.key("id");
        let id = self.needed(&id_at, entry.id.as_ref(), "say where the id is, such as `{ claim: /consent_id }`");
        let id = id.and_then(|place| self.consent_place(&id_at, place, pattern));
        let equals = match &entry.equals {
            None => Some(None),
            Some(entry) => self.consent_use(&at.key("equals"), entry, pattern).map(Some),
        };
        let status_at = at.key("status");
        let way_out = "say who knows the state, such as `{ ask: SERVICE, one_of: [AUTHORISED] }`";
        let status = match entry.status.as_mut() {
            Some(status) => self.consent_status(&status_at, status, ecosystem, services),
            None => {
                self.problem(&status_at, format!("the key is missing; {way_out}"));
                None
            }
        };
        let (id, equals, (source, statuses)) = (id?, equals?, status?);
        if id.is_in_request() {
            let says = match &source {
                StatusSource::Asked(index) => services.names_client(*index),
                StatusSource::Claim(_) => false,
            };
            if !says {
                let problem = "the request alone names the consent, so that a client could name another's; ask a service that says whose it is, by `client`, or take the id from the token";
                let key = if matches!(id, ConsentPlace::Header(_)) { "header" } else { "path" };
                self.problem(&id_at.key(key), problem);
                return None;
            }
        }
        Some(ConsentRule { id, equals, source, statuses })
    }

    fn consent_place(
        &mut self,
        at: &KeyPath,
        entry: &file::ConsentPlace,
        pattern: Option<&Pattern>,
    ) -> Option<ConsentPlace> {
        match (&entry.claim, &entry.scope, &entry.authorization_details, &entry.header, &entry.path) {
            (Some(claim), None, None, None, None) => {
                self.valid(&at.key("claim"), ClaimPlace::new(claim)).map(ConsentPlace::Claim)
            }
            (None, Some(scope), None, None, None) => {
                self.valid(&at.key("scope"), ScopePrefix::new(scope)).map(ConsentPlace::Scope)
            }
            (None, None, Some(detail), None, None) => {
                let at = at.key("authorization_details");
                let kind = self.text(&at.key("type"), detail.kind.as_deref(), "write the type of the elements");
                let way_out = "write a JSON pointer, such as `/consent_id`";
                let member = self.text(&at.key("member"), detail.member.as_deref(), way_out);
                self.valid(&at.key("member"), DetailPlace::new(kind?, member?)).map(ConsentPlace::Detail)
            }
            (None, None, None, Some(name), None) => self.field_name(&at.key("header"), name).map(ConsentPlace::Header),
            (None, None, None, None, Some(name)) => {
                let segment = self.path_variable(&at.key("path"), name, pattern)?;
                Some(ConsentPlace::Target(Operand::Path { name: name.as_str().into(), segment }))
            }
            _ => {
                let written = ["claim", "scope", "authorization_details", "header", "path"].map(|key| at.key(key));
                let problem = "write exactly one of `claim`, `scope`, `authorization_details`, `header` and `path`";
                self.report.problem_unless(&written, at, problem);
                None
            }
        }
    }

    fn consent_use(&mut self, at: &KeyPath, entry: &file::ConsentUse, pattern: Option<&Pattern>) -> Option<ConsentUse> {
        match (&entry.path, &entry.query, &entry.header) {
            (Some(name), None, None) => {
                let segment = self.path_variable(&at.key("path"), name, pattern)?;
                Some(ConsentUse::Target(Operand::Path { name: name.as_str().into(), segment }))
            }
            (None, Some(name), None) if !name.is_empty() => {
                Some(ConsentUse::Target(Operand::Query(name.as_str().into())))
            }
            (None, Some(_), None) => {
                self.problem(&at.key("query"), "the name is empty; write that of a parameter of the query");
                None
            }
            (None, None, Some(name)) => self.field_name(&at.key("header"), name).map(ConsentUse::Header),
            _ => {
                let written = ["path", "query", "header"].map(|key| at.key(key));
                self.report.problem_unless(&written, at, "write exactly one of `path`, `query` and `header`");
                None
            }
        }
    }

    fn field_name(&mut self, at: &KeyPath, name: &str) -> Option<HeaderName> {
        let Ok(parsed) = HeaderName::try_from(name) else {
            self.problem(at, "this is not the name of a header field; write such as `Consent-ID`");
            return None;
        };
        if StripList::new([]).holds(parsed.as_str()) {
            let problem = "the gateway removes this field from requests, so that nobody behind it would see what is compared; write another";
            self.problem(at, problem);
            return None;
        }
        Some(parsed)
    }

    fn consent_status(
        &mut self,
        at: &KeyPath,
        entry: &mut file::ConsentStatus,
        ecosystem: Option<Ecosystem>,
        services: &ConsentServices,
    ) -> Option<(StatusSource, Statuses)> {
        let source = match (&entry.claim, &entry.ask) {
            (Some(claim), None) => self.valid(&at.key("claim"), ClaimPlace::new(claim)).map(StatusSource::Claim),
            (None, Some(name)) => {
                let index = services.0.iter().position(|(known, _)| known == name);
                if index.is_none() {
                    let known = services.0.iter().map(|(known, _)| known.as_str());
                    self.unknown(&at.key("ask"), "service in `consents` is named", name, known, false);
                }
                index.map(StatusSource::Asked)
            }
            _ => {
                let written = ["claim", "ask"].map(|key| at.key(key));
                self.report.problem_unless(&written, at, "write exactly one of `claim` and `ask`");
                None
            }
        };
        let one_of_at = at.key("one_of");
        let usual = ecosystem.map(Ecosystem::consent_statuses).filter(|usual| !usual.is_empty());
        let statuses = match (&entry.one_of, usual) {
            (None, None) => {
                let problem =
                    "the key is missing; name the states in which the consent can be used, such as `[AUTHORISED]`";
                self.problem(&one_of_at, problem);
                return None;
            }
            _ => entry
                .one_of
                .get_or_insert_with(|| usual.unwrap_or_default().iter().map(|status| (*status).to_owned()).collect()),
        };
        let statuses = match Statuses::new(statuses.iter().map(|status| status.as_str().into()).collect()) {
            Err(error @ InvalidPolicy::ConsentStatuses) => {
                self.report.empty(&one_of_at, &error.to_string());
                None
            }
            statuses => self.valid(&one_of_at, statuses),
        };
        Some((source?, statuses?))
    }
}

/// The services that routes may ask, including those with problems, and whether each says whose a consent is.
pub(super) struct ConsentServices(Vec<(String, bool)>);

impl ConsentServices {
    pub(super) fn of(file: &File) -> Self {
        let entries = file.consents.iter().flatten();
        Self(entries.map(|(name, entry)| (name.clone(), entry.client.is_some())).collect())
    }

    fn names_client(&self, index: usize) -> bool {
        self.0.get(index).is_some_and(|(_, names_client)| *names_client)
    }
}
