//! `authorization_servers`: their endpoints as routes, and their clients.

mod clients;
mod endpoints;
mod registration;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fapi::authorization_server::client::RegisteredClient;
use fapi::authorization_server::clients::Clients;
use fapi::authorization_server::grant_type::{AUTHORIZATION_CODE, CIBA, CLIENT_CREDENTIALS, REFRESH_TOKEN};
use fapi::authorization_server::metadata_document::USERINFO;
use fapi::authorization_server::{Endpoint, OtherParameters, Rules, ServerProfile, UnknownClients};
use fapi::profile::{CLIENT_ASSERTION_AUDIENCE, RESPONSE_ISSUER, Waivable};
use fapi::route::{Origin, Route};

use self::endpoints::{is_called_by_clients, route};
use super::routes::Names;
use super::stores::MEMORY;
use super::url::shown;
use super::{Build, enforce};
use crate::authorization_server::Settings;
use crate::config::error::{KeyPath, quoted};
use crate::config::file::{self, File};
use crate::issuer;

/// What the other sections say that the entry of a server depends on.
struct Around<'f> {
    issuers: Option<&'f [issuer::Settings]>,
    names: &'f Names,
    stores: Option<&'f BTreeMap<String, file::Store>>,
    routes: &'f [file::Route],
}

/// A route to an endpoint, and the key that names its path.
pub(super) struct EndpointRoute {
    pub(super) route: Route,
    pub(super) at: KeyPath,
}

impl Build<'_> {
    /// The authorization servers, and the routes to their endpoints.
    pub(super) fn authorization_servers(
        &mut self,
        file: &mut File,
        names: &Names,
        issuers: Option<&[issuer::Settings]>,
    ) -> Option<(Vec<Settings>, Vec<EndpointRoute>)> {
        let at = KeyPath::of("authorization_servers");
        let File { authorization_servers, stores, routes, .. } = file;
        let around = Around { issuers, names, stores: stores.as_ref(), routes: routes.as_deref().unwrap_or_default() };
        let Some(entries) = authorization_servers.as_deref_mut() else { return Some((Vec::new(), Vec::new())) };
        let entries = self.entries(&at, Some(entries), "add a server, or remove the section")?;
        let mut taken: BTreeMap<String, usize> = BTreeMap::new();
        let (mut servers, mut routes, mut complete) = (Vec::new(), Vec::new(), true);
        for (index, entry) in entries.iter_mut().enumerate() {
            let at = at.index(index);
            if let Some(name) = &entry.name
                && let Some(first) = taken.insert(name.clone(), index)
            {
                let first = KeyPath::of("authorization_servers").index(first);
                self.problem(&at.key("name"), format!("{first} is named `{name}` too; choose another name"));
            }
            match self.authorization_server(&at, entry, index, &around) {
                Some((server, own)) => {
                    servers.push(server);
                    routes.extend(own);
                }
                None => complete = false,
            }
        }
        complete.then_some((servers, routes))
    }

    fn authorization_server(
        &mut self,
        at: &KeyPath,
        entry: &mut file::AuthorizationServer,
        index: usize,
        around: &Around<'_>,
    ) -> Option<(Settings, Vec<EndpointRoute>)> {
        let Around { issuers, names, stores, routes } = *around;
        let store_at = at.key("store");
        let store = entry.store.get_or_insert_with(|| MEMORY.to_owned());
        let store = match store.as_str() {
            MEMORY => Some(None),
            name => self.store_named(&store_at, name, stores).map(Some),
        };
        let name: Option<Arc<str>> = self.name(&at.key("name"), entry.name.as_deref()).map(Arc::from);
        let way_out = "write it as the server's metadata has it, such as `https://as.bank.example`";
        let issuer_at = at.key("issuer");
        let issuer = self.text(&issuer_at, entry.issuer.as_deref(), way_out).map(str::to_owned);
        let origin = issuer.as_deref().and_then(|issuer| self.server_origin(&issuer_at, issuer, names));
        let (origin, issuer_path) = origin.unzip();
        let mtls_at = at.key("mtls_origin");
        let mtls = entry.mtls_origin.as_deref().map(|text| {
            let (origin, path) = self.server_origin(&mtls_at, text, names)?;
            if path.is_empty() {
                return Some(origin);
            }
            self.problem(&mtls_at, "an origin has no path; the endpoints are at the same paths as at the other");
            None
        });
        let upstream = self.upstream_of(&at.key("upstream"), entry.upstream.as_deref(), names);
        let profile = entry.profile.get_or_insert_default().named();
        let jwt_responses = self.jwt_responses(&at.key("profile"), profile, issuer.as_deref(), issuers);
        let grant_types = self.grant_types(&at.key("grant_types"), entry);
        let other_parameters = match entry.other_parameters.get_or_insert_default() {
            file::OtherParameters::Refuse => OtherParameters::Refused,
            file::OtherParameters::Drop => OtherParameters::Dropped,
        };
        let answers = entry.answers.get_or_insert_default();
        let range = Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);
        let lifetime = answers
            .access_token_lifetime
            .map(|lifetime| self.time_of(&at.key("answers").key("access_token_lifetime"), lifetime.0, range, None));
        let refresh_token_rotation = *answers.refresh_token_rotation.get_or_insert(false);
        self.endpoints_of_metadata(at, entry, issuer.as_deref(), routes);
        let userinfo = self.userinfo(at, entry, routes);
        let paths = self.endpoint_paths(at, entry, issuer_path.as_deref().unwrap_or_default());
        let registration = self.registration(at, entry);
        let shadow = self.enforce(&at.key("enforce"), entry.enforce.as_ref());
        let clients_at = at.key("clients");
        let (directory, unknown, client_trust_anchors) = match &mut entry.clients {
            Some(clients) => {
                let anchors = self.anchors_of_servers(&clients_at, clients.trust_anchors.as_deref());
                (clients.directory.clone(), *clients.unknown.get_or_insert_default(), anchors)
            }
            None => {
                self.problem(&clients_at, "the key is missing; name the folder with the clients' metadata");
                (None, file::UnknownClients::Refuse, None)
            }
        };
        let written = entry.clients.is_some();
        let clients = if written {
            self.clients(&clients_at.key("directory"), directory.as_ref(), RegisteredClient::parse)
        } else {
            None
        };
        let servers_at = at.key("resource_servers");
        let resource_servers = match &entry.resource_servers {
            Some(servers) => {
                self.clients(&servers_at.key("directory"), servers.directory.as_ref(), RegisteredClient::parse)
            }
            None => {
                if entry.endpoints.as_ref().is_some_and(|endpoints| endpoints.introspection.is_some()) {
                    let problem = "the key is missing, so that nobody could call `endpoints.introspection`; name the folder with the resource servers' metadata";
                    self.problem(&servers_at, problem);
                }
                Some(Clients::default())
            }
        };
        let (name, issuer, origin, upstream) = (name?, issuer?, origin?, upstream?);
        let (paths, mtls) = (paths?, mtls.map_or(Some(None), |mtls| mtls.map(Some))?);
        // Pages are at patterns, and nobody looks for the metadata in the metadata.
        let named = || paths.iter().filter_map(|path| Some((path.endpoint, path.endpoint.member()?, &path.pattern)));
        let url = |origin: &Origin, path: &str| format!("{}{path}", origin.as_str()).into_boxed_str();
        let urls = |origin: &Origin, is_named: fn(Endpoint) -> bool| -> Vec<(&'static str, Box<str>)> {
            let named = named().filter(|(endpoint, ..)| is_named(*endpoint));
            named.map(|(_, member, pattern)| (member, url(origin, pattern.as_str()))).collect()
        };
        let mut endpoint_urls = urls(&origin, |_| true);
        let mut aliases = mtls.as_ref().map_or_else(Vec::new, |mtls| urls(mtls, is_called_by_clients));
        let endpoint_audiences = endpoint_urls.iter().chain(&aliases).map(|(_, url)| url.clone()).collect();
        let waived = |rule| self.waived(rule, Waivable::AuthorizationServer, Some(&name));
        let rules = Arc::new(Rules {
            server: index,
            issuer: issuer.into(),
            profile,
            jwt_responses,
            unknown_clients: match unknown {
                file::UnknownClients::Refuse => UnknownClients::Refused,
                file::UnknownClients::JudgeWithoutKeys => UnknownClients::JudgedWithoutKeys,
            },
            other_parameters,
            grant_types: grant_types?,
            endpoint_audiences,
            shadow: shadow?,
            audience_waived: waived(CLIENT_ASSERTION_AUDIENCE),
            response_issuer_waived: waived(RESPONSE_ISSUER),
            access_token_lifetime: lifetime.map_or(Some(None), |lifetime| lifetime.map(Some))?,
            refresh_token_rotation,
        });
        let mut own = Vec::new();
        for path in paths {
            let hosts = std::iter::once(&origin).chain(mtls.iter().filter(|_| is_called_by_clients(path.endpoint)));
            let hosts = hosts.map(|origin| origin.host().into()).collect();
            let route = route(&name, &path, hosts, rules.clone(), upstream.clone());
            own.push(EndpointRoute { route, at: path.at });
        }
        let (clients, resource_servers, registration) = (clients?, resource_servers?, registration?);
        self.summary.push(format!(
            "authorization server {name}: {} to {}; {}; clients: {}{}",
            rules.issuer,
            upstream.name,
            profile.as_str(),
            clients.len(),
            enforce::describe(entry.enforce.as_ref()),
        ));
        if let Some(path) = userinfo? {
            endpoint_urls.push((USERINFO, url(&origin, &path)));
            aliases.extend(mtls.iter().map(|mtls| (USERINFO, url(mtls, &path))));
        }
        let origin = origin.as_str().into();
        let client_trust_anchors = client_trust_anchors?;
        let settings = Settings {
            name,
            rules,
            store: store?,
            origin,
            clients,
            resource_servers,
            client_trust_anchors,
            registration,
            endpoint_urls,
            aliases,
        };
        Some((settings, own))
    }

    /// The origin of a URL of the server, which has to be one of the listeners', and the path after it.
    fn server_origin(&mut self, at: &KeyPath, text: &str, names: &Names) -> Option<(Origin, Box<str>)> {
        let parsed = Origin::parse(text).and_then(|whole| {
            let origin = Origin::parse(whole.as_str().strip_suffix(whole.prefix()).unwrap_or(whole.as_str()))?;
            Ok((origin, whole.prefix().into()))
        });
        let (origin, path) = parsed.map_err(|error| self.problem(at, error.to_string())).ok()?;
        if !names.has_origin(&origin) && !self.report.lost_under(&KeyPath::of("listeners")) {
            let problem = format!(
                "{} is not at an origin of a listener; add it to the `origins` of one, or correct it",
                shown(text)
            );
            self.problem(at, problem);
            return None;
        }
        Some((origin, path))
    }

    /// Whether the server's keys are known, as those of an issuer, so that its responses may be JWTs.
    fn jwt_responses(
        &mut self,
        at: &KeyPath,
        profile: ServerProfile,
        issuer: Option<&str>,
        issuers: Option<&[issuer::Settings]>,
    ) -> bool {
        let (Some(issuer), Some(issuers)) = (issuer, issuers) else { return false };
        let mut named = issuers.iter().filter(|settings| *settings.expected.issuer == *issuer);
        let known = named.any(|settings| settings.needs_keys());
        if !known && profile != ServerProfile::Fapi2Security {
            let problem = format!(
                "the server has to answer with JWTs, and no entry of `issuers` with the issuer {} has the keys that verify them; add one with `tokens: jwt`, or write `fapi2-security`",
                shown(issuer)
            );
            self.problem(at, problem);
        }
        known
    }

    fn grant_types(&mut self, at: &KeyPath, entry: &mut file::AuthorizationServer) -> Option<Vec<Box<str>>> {
        let usual = || vec![AUTHORIZATION_CODE.to_owned(), REFRESH_TOKEN.to_owned()];
        let texts: &Vec<String> = entry.grant_types.get_or_insert_with(usual);
        let list = self.distinct(at, Some(texts), "name a grant type, or remove the key")?;
        let mut known = true;
        for (index, text) in list.iter().enumerate().filter(|(_, text)| !GRANTS.contains(&text.as_str())) {
            let choices = quoted(GRANTS.iter().copied());
            let problem = match text.as_str() {
                "password" | "implicit" => format!("FAPI forbids the grant type `{text}`; the choices are {choices}"),
                _ => format!("no grant type `{text}` can be judged; the choices are {choices}"),
            };
            self.problem(&at.index(index), problem);
            known = false;
        }
        known.then(|| list.iter().map(|text| text.as_str().into()).collect())
    }
}

/// The grant types that can be judged.
const GRANTS: [&str; 4] = [AUTHORIZATION_CODE, REFRESH_TOKEN, CLIENT_CREDENTIALS, CIBA];
