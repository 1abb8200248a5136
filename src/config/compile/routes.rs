//! `routes`: the requests that are accepted; an absent key never permits anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fapi::credentials::Scheme;
use fapi::ecosystem::Ecosystem;
use fapi::error_format::ErrorFormat;
use fapi::headers::StripList;
use fapi::policy::{InvalidPolicy, IssuerIndex, NonceMode, Policy, Requirements, ScopeRule, TokenLifetime};
use fapi::route::{OnExpiry, Origin, PathCharacters, Pattern, Requirement, Route, Routes, UpstreamRef};
use fapi::signature::form::Form;
use fapi::signature::rules::Presence;
use http::Method;

use super::Build;
use super::authorization_servers::EndpointRoute;
use super::consents::ConsentServices;
use super::cors::{Place, describe_cors};
use super::enforce;
use super::errors::{ErrorFormats, format_name};
use super::fields::describe_fields;
use super::issuers::name_of;
use super::rate_limits::describe_rate_limits;
use super::signature::describe_signature;
use super::upstreams::{is_exposed, server_address};
use crate::config::Profile;
use crate::config::error::KeyPath;
use crate::config::file::{self, File};
use crate::config::scalar;

/// The names that routes may refer to, including those of entries with problems.
pub(super) struct Names {
    hosts: Vec<Box<str>>,
    origins: Vec<Origin>,
    pub(super) issuers: Vec<IssuerName>,
    /// The origins with a prefix.
    pub(super) prefixed: Vec<Origin>,
    /// Each name, with the servers that a token would reach without TLS.
    pub(super) upstreams: Vec<(String, Vec<String>)>,
}

impl Names {
    pub(super) fn of(file: &File) -> Self {
        let origins = file.listeners.iter().flatten().flat_map(|listener| listener.origins.iter().flatten());
        let origins: Vec<Origin> = origins.filter_map(|origin| Origin::parse(origin).ok()).collect();
        let mut hosts: Vec<Box<str>> = origins.iter().map(|origin| origin.host().into()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let issuers = file.issuers.iter().flatten();
        let issuers =
            issuers.map(|issuer| IssuerName {
                name: name_of(issuer),
                issuer: issuer.issuer.clone().unwrap_or_default(),
                introspected: issuer.tokens == Some(file::Tokens::Introspection),
                eddsa: issuer.algorithms.iter().flatten().any(|algorithm| {
                    matches!(algorithm, file::IssuerAlgorithm::EdDsa | file::IssuerAlgorithm::Ed25519)
                }),
            });
        let issuers = issuers.collect();
        let upstreams = file.upstreams.iter().flatten();
        let exposed = |upstream: &file::Upstream| {
            let servers = upstream.servers.iter().flatten();
            servers.filter(|server| server_address(server).is_ok_and(|server| is_exposed(&server))).cloned().collect()
        };
        let upstreams = upstreams.map(|(name, upstream)| (name.clone(), exposed(upstream))).collect();
        let prefixed = origins.iter().filter(|origin| !origin.prefix().is_empty()).cloned().collect();
        Self { hosts, origins, issuers, prefixed, upstreams }
    }

    /// Whether a listener has this origin.
    pub(super) fn has_origin(&self, origin: &Origin) -> bool {
        self.origins.contains(origin)
    }

    /// Those of these issuers that may sign with EdDSA.
    fn signing_with_eddsa(&self, issuers: &[IssuerIndex]) -> impl Iterator<Item = &str> {
        let issuers = issuers.iter().filter_map(|index| self.issuers.get(index.0));
        issuers.filter(|issuer| issuer.eddsa).map(|issuer| issuer.name.as_str())
    }
}

/// What routes need to know about an issuer.
pub(super) struct IssuerName {
    pub(super) name: String,
    pub(super) issuer: String,
    introspected: bool,
    /// Whether it may sign with EdDSA.
    eddsa: bool,
}

/// The values for keys that a route leaves out.
#[derive(Clone, Copy)]
struct Unsaid<'u> {
    profile: Option<Profile>,
    ecosystem: Option<Ecosystem>,
    nonce: file::NonceMode,
    formats: &'u ErrorFormats,
    client_keys: &'u BTreeMap<String, file::ClientKeys>,
    body_bytes: u64,
    consents: &'u ConsentServices,
    directories: &'u BTreeMap<String, file::Directory>,
}

/// The largest content of a request with an idempotency key, on a route that does not say.
const KEYED_BYTES: u64 = 256 * 1024;

impl Build<'_> {
    pub(super) fn routes(
        &mut self,
        file: &mut File,
        names: &Names,
        profile: Option<Profile>,
        formats: &ErrorFormats,
        endpoints: Vec<EndpointRoute>,
    ) -> Option<(Routes, StripList)> {
        let at = KeyPath::of("routes");
        let nonce = file.dpop.as_ref().and_then(|dpop| dpop.nonce).unwrap_or_default();
        let ecosystem = file.profile.and_then(file::Profiles::ecosystem);
        let none = BTreeMap::new();
        let client_keys = file.client_keys.as_ref().unwrap_or(&none);
        let consents = &ConsentServices::of(file);
        let no_directories = BTreeMap::new();
        let directories = file.directories.as_ref().unwrap_or(&no_directories);
        let body_bytes = file.limits.as_ref().and_then(|limits| limits.body_bytes).map_or(u64::MAX, |size| size.0);
        let unsaid = Unsaid { profile, ecosystem, nonce, formats, client_keys, body_bytes, consents, directories };
        // In front of an authorization server alone, there is none.
        let entries = match file.routes.as_deref_mut() {
            None if file.authorization_servers.is_some() => &mut [],
            entries => self.entries(&at, entries, "add a route, since without one every request is refused")?,
        };
        let mut taken: BTreeMap<String, usize> = BTreeMap::new();
        let (mut routes, mut places) = (Vec::new(), Vec::new());
        let count = entries.len();
        for (index, entry) in entries.iter_mut().enumerate() {
            let at = at.index(index);
            if let Some(name) = &entry.name
                && let Some(first) = taken.insert(name.clone(), index)
            {
                let first = self.shown_beside(&KeyPath::of("routes").index(first), &at);
                self.problem(&at.key("name"), format!("{first} is named `{name}` too; choose another name"));
            }
            if let Some(route) = self.route(&at, entry, names, unsaid) {
                routes.push(route);
                places.push(at);
            }
        }
        let complete = routes.len() == count;
        for EndpointRoute { route, at } in endpoints {
            routes.push(route);
            places.push(at);
        }
        let names: Vec<String> = routes.iter().map(|route| route.name.to_string()).collect();
        let strip = StripList::new(routes.iter().flat_map(|route| route.forward.headers()));
        match Routes::new(routes) {
            Ok(routes) => complete.then_some((routes, strip)),
            Err(conflict) => {
                let place = |index: usize| places.get(index).cloned().unwrap_or_else(|| at.clone());
                let other = names.get(conflict.first).map_or("", String::as_str);
                let (first, at) = (place(conflict.first), place(conflict.second));
                let (first, file) = (self.shown_beside(&first, &at), self.report.file_of(&at).is_some());
                let first = if file { format!(", {first}") } else { String::new() };
                let problem = format!("conflicts with the route `{other}`{first}: {}", conflict.detail);
                // An endpoint is named by its own key, and a route by the one of its path.
                let at = if at.starts_with(&KeyPath::of("routes")) { at.key("path") } else { at };
                self.problem(&at, problem);
                None
            }
        }
    }

    fn route(&mut self, at: &KeyPath, entry: &mut file::Route, names: &Names, unsaid: Unsaid<'_>) -> Option<Route> {
        let name = self.name(&at.key("name"), entry.name.as_deref()).map(Arc::from);
        let path_at = at.key("path");
        let pattern = self
            .text(&path_at, entry.path.as_deref(), "write the path, such as `/accounts/**`")
            .map(Pattern::parse)
            .map(|pattern| pattern.map_err(|error| self.problem(&path_at, error.to_string())));
        let path_characters = self.path_characters(&at.key("path_characters"), entry);
        let hosts = self.hosts(&at.key("hosts"), entry.hosts.as_deref(), names);
        let methods = self.methods(&at.key("methods"), entry.methods.as_deref());
        let profile = self.route_profile(&at.key("profile"), entry, unsaid.profile);
        let ecosystem = self.ecosystem(&at.key("profile"), entry.profile).or(unsaid.ecosystem);
        let unsaid = Unsaid { profile, ecosystem, ..unsaid };
        let readable = pattern.as_ref().and_then(|pattern| pattern.as_ref().ok());
        let requirement = self.requirement(at, entry, names, unsaid, readable);
        if let (Some(Requirement::Protected(policy)), Some(methods)) = (&requirement, &methods)
            && policy.requirements().compare_body()
            && let Some(method) = methods.iter().find(|method| matches!(**method, Method::GET | Method::HEAD))
        {
            let problem = format!(
                "`require` compares the body with the token, and {method} has no body; give {method} a route of its own"
            );
            self.problem(&at.key("methods"), problem);
        }
        if let Some(Requirement::Protected(policy)) = &requirement
            && policy.requirements().compare_body()
            && let Some(rules) = policy.signature().and_then(|rules| rules.request.as_ref())
            && rules.presence == Presence::WhenPresent
            && matches!(rules.form, Form::JwtBody(_))
        {
            let problem = "`require` compares the body, and `when_present` lets it be the signed JWT or plain JSON, where the same pointer leads to another member; write `required`";
            self.problem(&at.key("signature").key("request"), problem);
        }
        let upstream = self.upstream_of(&at.key("upstream"), entry.upstream.as_deref(), names);
        let forward = self.forward(&at.key("forward"), entry, upstream.as_ref(), names, readable);
        // Content that a key names is kept until all of it is there; who expects files says how large they are.
        if entry.idempotency_key.is_some() && unsaid.body_bytes > KEYED_BYTES {
            entry.limits.get_or_insert_default().body_bytes.get_or_insert(scalar::Size(KEYED_BYTES));
        }
        let limits = self.route_limits(&at.key("limits"), entry.limits.as_mut());
        let on_expiry = match entry.on_expiry.get_or_insert_default() {
            file::OnExpiry::Continue => OnExpiry::Continue,
            file::OnExpiry::Close if entry.public == Some(true) => {
                self.problem(&at.key("on_expiry"), "the route is public and has no token; remove the key");
                OnExpiry::Continue
            }
            file::OnExpiry::Close => OnExpiry::Close,
        };
        let cors = self.cors(&at.key("cors"), entry.cors.as_mut(), Place::Route);
        let errors = entry.errors.get_or_insert_with(|| unsaid.formats.usual(unsaid.ecosystem));
        let errors = self.error_format(&at.key("errors"), errors, unsaid.formats);
        let route = Route {
            name: name?,
            pattern: pattern?.ok()?,
            path_characters,
            hosts: hosts?,
            methods: methods?,
            requirement: requirement?,
            upstream: upstream?,
            forward: forward?,
            limits: limits?,
            on_expiry,
            errors: errors?,
            cors: cors?,
        };
        self.summary.push(describe_route(&route, entry));
        Some(route)
    }

    fn path_characters(&mut self, at: &KeyPath, entry: &mut file::Route) -> PathCharacters {
        match entry.path_characters.get_or_insert_default() {
            file::PathCharacters::Strict => PathCharacters::Strict,
            file::PathCharacters::Uri => {
                if entry.path.as_ref().is_some_and(|path| !path.contains(['*', '{'])) {
                    let problem =
                        "the path has no `*`, `{name}` or `**`, and literal segments are always strict; remove the key";
                    self.problem(at, problem);
                }
                PathCharacters::Uri
            }
        }
    }

    fn hosts(&mut self, at: &KeyPath, texts: Option<&[String]>, names: &Names) -> Option<Vec<Box<str>>> {
        let Some(texts) = texts else { return Some(Vec::new()) };
        if texts.is_empty() {
            self.report
                .empty(at, "the list is empty, so no request could reach the route; name a host or remove the key");
            return None;
        }
        self.no_repeats(at, texts);
        let mut hosts = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let known = names.hosts.iter().find(|host| host.eq_ignore_ascii_case(text));
            if known.is_none() {
                let listeners = KeyPath::of("listeners");
                let broken = self.report.lost_under(&listeners)
                    || self.report.errors().iter().any(|error| error.path.starts_with(&listeners));
                let known = names.hosts.iter().map(|host| &**host);
                self.unknown(&at.index(index), "origin of a listener has the host", text, known, broken);
            }
            hosts.push(known.cloned());
        }
        hosts.into_iter().collect()
    }

    fn requirement(
        &mut self,
        at: &KeyPath,
        entry: &mut file::Route,
        names: &Names,
        unsaid: Unsaid,
        pattern: Option<&Pattern>,
    ) -> Option<Requirement> {
        let (scopes_at, public_at) = (at.key("scopes"), at.key("public"));
        let public = entry.public == Some(true);
        if public {
            let surplus = [
                ("profile", entry.profile.is_some()),
                ("require", entry.require.is_some()),
                ("enforce", entry.enforce.is_some()),
                ("signature", entry.signature.is_some()),
                ("idempotency_key", entry.idempotency_key.is_some()),
                ("versions", entry.versions.is_some()),
                ("media_types", entry.media_types.is_some()),
                ("issuers", entry.issuers.is_some()),
                ("sender_constraint", entry.sender_constraint.is_some()),
                ("dpop", entry.dpop.is_some()),
                ("introspection_max_age", entry.introspection_max_age.is_some()),
            ];
            let problem = "the route is public, so no token is checked and this has no effect; remove the key, or remove `public`";
            // The scopes are looked at all the same.
            let _ = self.refuse_written(at, &surplus, problem);
        }
        let scopes = match (&entry.scopes, public) {
            (None, true) => return Some(Requirement::Public),
            (None, false) => {
                let problem = "the route has neither `scopes` nor `public: true`; name the scopes that a token must have, or write `public: true` if anyone may call it";
                self.report.problem_unless(&[public_at], &scopes_at, problem);
                None
            }
            (Some(_), true) => {
                let problem =
                    "the route also has `scopes`; remove `public` to protect it, or `scopes` to open it to everyone";
                self.report.problem_unless(&[scopes_at], &public_at, problem);
                return None;
            }
            (Some(scopes), false) => {
                entry.public = Some(false);
                let own = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
                Some(match scopes {
                    file::Scopes::List(names) | file::Scopes::All(names) => ScopeRule::All(own(names)),
                    file::Scopes::Any(names) => ScopeRule::Any(own(names)),
                })
            }
        };
        self.roles_of_service(at, entry, unsaid.ecosystem, scopes.as_ref(), pattern);
        let named = (unsaid.consents, unsaid.directories);
        let requirements = self.require(&at.key("require"), entry.require.as_mut(), pattern, unsaid.ecosystem, named);
        let shadow = self.enforce(&at.key("enforce"), entry.enforce.as_ref());
        let signature = self.signature(&at.key("signature"), entry.signature.as_mut(), unsaid.client_keys);
        let fields = self.field_rules(at, entry, unsaid.ecosystem);
        let accepted = self.sender_constraint(at, entry, unsaid);
        let issuers = self.issuers_of(&at.key("issuers"), entry, names);
        let max_age = self.introspection_max_age(&at.key("introspection_max_age"), entry, issuers.as_deref(), names);
        let signers = names.signing_with_eddsa(issuers.as_deref().unwrap_or_default());
        self.refuse_eddsa(&at.key("profile"), entry, signers);
        // Without issuers or schemes there is no policy, but the scopes are checked all the same.
        let known = issuers.clone().unwrap_or_else(|| vec![IssuerIndex(0)]);
        let (schemes, nonce) = accepted.clone().unwrap_or_else(|| (vec![Scheme::Bearer], NonceMode::Never));
        match Policy::new(scopes?, known, schemes, nonce) {
            Ok(policy) => {
                let requirements = within_ecosystem(requirements?, unsaid.ecosystem);
                let policy = policy.with_requirements(requirements);
                let policy = match unsaid.profile {
                    Some(Profile::Fapi1Advanced) => policy.with_fapi1(self.fapi1(entry)),
                    Some(Profile::Fapi2Security) | None => policy,
                };
                let policy = match unsaid.ecosystem {
                    Some(ecosystem) => policy.with_ecosystem(self.ecosystem_rules(entry, ecosystem)),
                    None => policy,
                };
                let policy = policy.with_fields(fields?);
                let policy = match signature? {
                    Some(signature) => policy.with_signature(signature),
                    None => policy,
                };
                let policy = match shadow? {
                    Some(shadow) => policy.with_shadow(shadow),
                    None => policy,
                };
                let policy = match max_age? {
                    Some(max_age) => policy.with_introspection_max_age(max_age),
                    None => policy,
                };
                issuers.and(accepted).map(|_| Requirement::Protected(policy.into()))
            }
            Err(error @ InvalidPolicy::ScopeSyntax { .. }) => {
                self.problem(&scopes_at, format!("{error}; write each as the issuer does"));
                None
            }
            Err(error) => {
                self.report.empty(&scopes_at, &error.to_string());
                None
            }
        }
    }

    /// The schemes of `sender_constraint`, and when they require a nonce.
    fn sender_constraint(
        &mut self,
        at: &KeyPath,
        entry: &mut file::Route,
        unsaid: Unsaid,
    ) -> Option<(Vec<Scheme>, NonceMode)> {
        use file::SenderConstraint::{Certificate, Dpop};
        let (accepted_at, dpop_at) = (at.key("sender_constraint"), at.key("dpop"));
        // FAPI 1.0 Advanced §6.2.1 (2): "shall adhere to the requirements in MTLS".
        let advanced = unsaid.profile == Some(Profile::Fapi1Advanced);
        let default = || if advanced { vec![Certificate] } else { vec![Certificate, Dpop] };
        let accepted = entry.sender_constraint.get_or_insert_with(default);
        if accepted.is_empty() {
            let problem = "the list is empty, so no token could be accepted; write `certificate`, `dpop` or both, or remove the key";
            self.report.empty(&accepted_at, problem);
            return None;
        }
        let mut schemes = Vec::new();
        for (index, constraint) in accepted.iter().enumerate() {
            let scheme = match constraint {
                Certificate => Scheme::Bearer,
                Dpop => Scheme::Dpop,
            };
            if advanced && scheme == Scheme::Dpop {
                let problem =
                    "`profile: fapi1-advanced` allows mutual TLS only; remove it, or write `profile: fapi2-security`";
                self.problem(&accepted_at.index(index), problem);
            }
            if schemes.contains(&scheme) {
                let problem = format!("`{}` is in the list twice; keep one", constraint.as_str());
                self.problem(&accepted_at.index(index), problem);
            }
            schemes.push(scheme);
        }
        if !schemes.contains(&Scheme::Dpop) {
            // The entry that was removed may have been `dpop`.
            if entry.dpop.is_some() && !self.report.lost_under(&accepted_at) {
                let problem = "the route does not accept `dpop`, so this has no effect; remove the key, or add `dpop` to `sender_constraint`";
                self.problem(&dpop_at, problem);
            }
            return Some((schemes, NonceMode::Never));
        }
        let nonce = match entry.dpop.get_or_insert_default().nonce.get_or_insert(unsaid.nonce) {
            file::NonceMode::Never => NonceMode::Never,
            file::NonceMode::WhenStale => NonceMode::WhenStale,
            file::NonceMode::Always => NonceMode::Always,
        };
        Some((schemes, nonce))
    }

    fn issuers_of(&mut self, at: &KeyPath, entry: &mut file::Route, names: &Names) -> Option<Vec<IssuerIndex>> {
        let all = || names.issuers.iter().map(|known| known.name.clone()).collect();
        let written = entry.issuers.is_some();
        let chosen: &Vec<String> = entry.issuers.get_or_insert_with(all);
        if chosen.is_empty() {
            // If no issuer is configured at all, that is reported at `issuers`.
            if written {
                self.report
                    .empty(at, "the list is empty, so no token could be accepted; name an issuer or remove the key");
            }
            return None;
        }
        if written {
            self.no_repeats(at, chosen);
        }
        let mut issuers = Vec::new();
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        let mut asked: Option<&str> = None;
        for (index, name) in chosen.iter().enumerate() {
            let Some(place) = names.issuers.iter().position(|known| known.name == *name) else {
                let broken = self.report.lost_under(&KeyPath::of("issuers"));
                let known = names.issuers.iter().map(|known| known.name.as_str());
                self.unknown(&at.index(index), "issuer is named", name, known, broken);
                issuers.push(None);
                continue;
            };
            let IssuerName { name, issuer, introspected, .. } = &names.issuers[place];
            let other = *seen.entry(issuer).or_insert(name);
            if other != name && !issuer.is_empty() {
                self.problem(
                    at,
                    format!("`{other}` and `{name}` are both the issuer `{issuer}`; name one of them here"),
                );
            }
            if *introspected
                && let Some(first) = asked.replace(name).filter(|first| first != name)
                && other == name
            {
                let problem = format!(
                    "`{first}` and `{name}` are both introspected, so the gateway could not tell which to ask about an opaque token; name one of them here"
                );
                self.problem(at, problem);
            }
            issuers.push(Some(IssuerIndex(place)));
        }
        issuers.into_iter().collect()
    }

    fn introspection_max_age(
        &mut self,
        at: &KeyPath,
        entry: &mut file::Route,
        issuers: Option<&[IssuerIndex]>,
        names: &Names,
    ) -> Option<Option<Duration>> {
        let Some(scalar::Duration(max_age)) = entry.introspection_max_age else { return Some(None) };
        let introspected = |index: &IssuerIndex| names.issuers.get(index.0).is_some_and(|issuer| issuer.introspected);
        if issuers.is_some_and(|issuers| !issuers.iter().any(introspected)) {
            let problem = "no issuer of the route is introspected, so this has no effect; remove the key";
            self.problem(at, problem);
            return None;
        }
        let longest = Duration::ZERO..=Duration::from_secs(60 * 60);
        self.time_of(at, max_age, longest, None).map(Some)
    }

    pub(super) fn upstream_of(&mut self, at: &KeyPath, name: Option<&str>, names: &Names) -> Option<UpstreamRef> {
        let name = self.text(at, name, "name the upstream that the requests go to")?;
        let place = names.upstreams.iter().position(|(known, _)| known == name);
        if place.is_none() {
            let broken = self.report.lost_under(&KeyPath::of("upstreams"));
            let known = names.upstreams.iter().map(|(name, _)| name.as_str());
            self.unknown(at, "upstream is named", name, known, broken);
        }
        Some(UpstreamRef { name: name.into(), index: place? })
    }
}

/// What a route requires, in an ecosystem that says how long tokens may live: the shorter time counts.
fn within_ecosystem(requirements: Requirements, ecosystem: Option<Ecosystem>) -> Requirements {
    let longest = ecosystem.and_then(Ecosystem::longest_token_lifetime);
    let longest = longest.and_then(|longest| TokenLifetime::new(longest).ok());
    let own = requirements.token_lifetime;
    let token_lifetime = longest.map_or(own, |longest| own.map_or(Some(longest), |own| Some(own.min(longest))));
    Requirements { token_lifetime, ..requirements }
}

fn describe_route(route: &Route, entry: &file::Route) -> String {
    let list = |names: &Option<Vec<String>>| names.as_deref().unwrap_or_default().join(", ");
    let hosts = match &entry.hosts {
        Some(hosts) => format!(" on {}", hosts.join(", ")),
        None => String::new(),
    };
    let scopes = match &entry.scopes {
        Some(file::Scopes::List(scopes) | file::Scopes::All(scopes)) => format!("all of {}", scopes.join(", ")),
        Some(file::Scopes::Any(scopes)) => format!("any of {}", scopes.join(", ")),
        None => String::new(),
    };
    let asks = match &route.requirement {
        Requirement::Protected(policy) => {
            let accepted = entry.sender_constraint.iter().flatten();
            let accepted: Vec<&str> = accepted.map(|constraint| constraint.as_str()).collect();
            let nonce = match entry.dpop.as_ref().and_then(|dpop| dpop.nonce) {
                None => "",
                Some(file::NonceMode::Never) => "; nonce: never",
                Some(file::NonceMode::WhenStale) => "; nonce: when_stale",
                Some(file::NonceMode::Always) => "; nonce: always",
            };
            let (issuers, accepted) = (list(&entry.issuers), accepted.join(", "));
            let requires = policy.requirements().to_string();
            let requires = if requires.is_empty() { requires } else { format!("; require: {requires}") };
            let profile = entry.profile.and_then(file::Profiles::base);
            let profile = profile.map(|own| format!("; profile: {}", own.as_str())).unwrap_or_default();
            let ecosystem = policy.ecosystem().map(|ecosystem| format!("; ecosystem: {}", ecosystem.as_str()));
            let profile = profile + &ecosystem.unwrap_or_default();
            let fields = describe_fields(policy.fields(), entry);
            let enforce = enforce::describe(entry.enforce.as_ref());
            let signature = entry.signature.as_ref().map(describe_signature);
            let signature = signature.map(|signature| format!("; signature: {signature}")).unwrap_or_default();
            format!(
                "scopes: {scopes}{requires}; issuers: {issuers}; sender_constraint: {accepted}{nonce}{profile}{fields}{signature}{enforce}"
            )
        }
        Requirement::Public | Requirement::Endpoint(..) => "public".to_owned(),
    };
    let characters = match route.path_characters {
        PathCharacters::Strict => "",
        PathCharacters::Uri => " (path_characters: uri)",
    };
    let cors = describe_cors(entry.cors.as_ref());
    let rate_limits = describe_rate_limits(entry.rate_limits.as_deref());
    let errors = match &route.errors {
        ErrorFormat::Json => String::new(),
        ErrorFormat::Problem | ErrorFormat::Template(_) | ErrorFormat::Ecosystem(_) => {
            format!("; errors: {}", format_name(&route.errors))
        }
    };
    format!(
        "route {}: {} {}{characters}{hosts} to {}; {asks}{cors}{rate_limits}{errors}",
        route.name,
        list(&entry.methods),
        entry.path.as_deref().unwrap_or_default(),
        route.upstream.name,
    )
}
