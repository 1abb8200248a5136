//! `routes[].versions`, `media_types` and `idempotency_key`: what a route says of header fields beside its ecosystem.

use std::ops::RangeInclusive;
use std::time::Duration;

use fapi::ecosystem::{Ecosystem, MediaType, MediaTypes, Versions};
use fapi::idempotency::{Presence, Rule};
use fapi::policy::FieldRules;

use super::Build;
use crate::config::error::KeyPath;
use crate::config::file::{self, KeyPresence};
use crate::config::scalar;

impl Build<'_> {
    pub(super) fn field_rules(
        &mut self,
        at: &KeyPath,
        entry: &file::Route,
        ecosystem: Option<Ecosystem>,
    ) -> Option<FieldRules> {
        let versions = self.versions(&at.key("versions"), entry.versions.as_deref(), ecosystem);
        let media_types = self.media_types(&at.key("media_types"), entry.media_types.as_ref(), ecosystem);
        let key_at = at.key("idempotency_key");
        let key = entry.idempotency_key.map(|key| self.idempotency_key(&key_at, key, entry.methods.as_deref()));
        let (versions, media_types) = (versions?, media_types?);
        match key {
            Some(None) => None,
            key => Some(FieldRules { versions, media_types, idempotency_key: key.flatten() }),
        }
    }

    fn versions(
        &mut self,
        at: &KeyPath,
        entry: Option<&[u64]>,
        ecosystem: Option<Ecosystem>,
    ) -> Option<Option<Versions>> {
        let Some(entry) = entry else { return Some(None) };
        if !ecosystem.is_some_and(Ecosystem::has_versions) {
            let problem = "requests name versions in the ecosystem `cdr` alone; remove the key, or write `profile: { ecosystem: cdr }`";
            self.problem(at, problem);
            return None;
        }
        if entry.is_empty() {
            self.report.empty(at, "the list is empty; name a version, such as `3`, or remove the key");
            return None;
        }
        let mut versions = Vec::new();
        for (index, version) in entry.iter().enumerate() {
            let at = at.index(index);
            if entry.iter().take(index).any(|earlier| earlier == version) {
                self.problem(&at, format!("`{version}` is in the list twice; keep one"));
            }
            versions.push(self.number(&at, version, 1..=u32::MAX.into()));
        }
        Versions::new(versions.into_iter().collect::<Option<_>>()?).map(Some)
    }

    /// Those of the route, and of its ecosystem where it has none.
    fn media_types(
        &mut self,
        at: &KeyPath,
        entry: Option<&file::MediaTypes>,
        ecosystem: Option<Ecosystem>,
    ) -> Option<Option<MediaTypes>> {
        let usual = ecosystem.and_then(Ecosystem::media_types);
        let Some(entry) = entry else { return Some(usual) };
        if entry.requests.is_none() && entry.responses.is_none() {
            self.report.empty(at, "it has neither `requests` nor `responses`; write one, or remove the key");
            return None;
        }
        let usual = usual.unwrap_or_default();
        let mut own = |key: &str, names: Option<&[String]>| {
            names.map(|names| self.media_types_of(&at.key(key), names)).map_or(Some(None), |types| types.map(Some))
        };
        let (requests, responses) =
            (own("requests", entry.requests.as_deref()), own("responses", entry.responses.as_deref()));
        let (requests, responses) = (requests?, responses?);
        Some(Some(MediaTypes { requests: requests.or(usual.requests), responses: responses.or(usual.responses) }))
    }

    fn media_types_of(&mut self, at: &KeyPath, names: &[String]) -> Option<Box<[MediaType]>> {
        let names =
            self.distinct(at, Some(names), "name a media type, such as `application/json`, or remove the key")?;
        let mut types = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let media_type = MediaType::new(name);
            if media_type.is_none() {
                let problem = format!(
                    "`{name}` is not a media type without parameters and asterisks; write one such as `application/json`"
                );
                self.problem(&at.index(index), problem);
            }
            types.push(media_type);
        }
        types.into_iter().collect()
    }

    fn idempotency_key(
        &mut self,
        at: &KeyPath,
        entry: file::IdempotencyKey,
        methods: Option<&[String]>,
    ) -> Option<Rule> {
        let file::IdempotencyKeys { presence, keep } = entry.parts();
        if methods.is_some_and(|methods| !methods.iter().any(|method| WITH_KEYS.contains(&method.as_str()))) {
            let problem = "the route has none of POST, PUT and PATCH, whose requests have keys; remove the key, or add one of them to `methods`";
            self.problem(at, problem);
            return None;
        }
        if presence.is_none() {
            self.problem(&at.key("presence"), "the key is missing; write `required` or `when_present`");
        }
        let keep = self.time_of(&at.key("keep"), keep.map_or(USUAL_KEEP, |keep| keep.0), KEEP, Some(USUAL_KEEP));
        let presence = match presence? {
            KeyPresence::Required => Presence::Required,
            KeyPresence::WhenPresent => Presence::WhenPresent,
        };
        Some(Rule { presence, keep: keep? })
    }
}

/// What a route says of header fields, in its line of the summary.
pub(super) fn describe_fields(rules: &FieldRules, entry: &file::Route) -> String {
    let mut text = String::new();
    if let Some(versions) = &rules.versions {
        let versions: Vec<String> = versions.iter().map(|version| version.to_string()).collect();
        text.push_str(&format!("; versions: {}", versions.join(", ")));
    }
    if let (Some(MediaTypes { requests, responses }), Some(_)) = (&rules.media_types, &entry.media_types) {
        let list = |types: &Option<Box<[MediaType]>>| {
            let names = types.iter().flatten().map(MediaType::as_str).collect::<Vec<_>>();
            if names.is_empty() { "any".to_owned() } else { names.join(", ") }
        };
        text.push_str(&format!("; media_types: requests {}, responses {}", list(requests), list(responses)));
    }
    if let Some(Rule { presence, keep }) = &rules.idempotency_key {
        let presence = match presence {
            Presence::Required => "required",
            Presence::WhenPresent => "when_present",
        };
        text.push_str(&format!("; idempotency_key: {presence}, for {}", scalar::Duration(*keep)));
    }
    text
}

/// The methods whose requests have keys.
const WITH_KEYS: [&str; 3] = ["POST", "PUT", "PATCH"];

/// UK-05: 24 hours.
const USUAL_KEEP: Duration = Duration::from_secs(24 * 60 * 60);
const KEEP: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(72 * 60 * 60);
