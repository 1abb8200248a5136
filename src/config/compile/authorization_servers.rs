//! `authorization_servers`: their endpoints as routes, and their clients.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fapi::authorization_server::client::RegisteredClient;
use fapi::authorization_server::clients::Clients;
use fapi::authorization_server::grant_type::{AUTHORIZATION_CODE, CIBA, CLIENT_CREDENTIALS, REFRESH_TOKEN};
use fapi::authorization_server::{Endpoint, OtherParameters, Rules, ServerProfile, UnknownClients};
use fapi::error_format::ErrorFormat;
use fapi::profile::{CLIENT_ASSERTION_AUDIENCE, RESPONSE_ISSUER, Waivable};
use fapi::route::{Forward, Limits, OnExpiry, Origin, PathCharacters, Pattern, Requirement, Route, UpstreamRef};
use http::Method;

use super::files::Anchors;
use super::routes::Names;
use super::stores::MEMORY;
use super::unreadable::unreadable;
use super::url::shown;
use super::{Build, enforce};
use crate::authorization_server::Settings;
use crate::config::NamedFiles;
use crate::config::error::{KeyPath, quoted};
use crate::config::file::{self, File};
use crate::config::scalar::FilePath;
use crate::issuer;
use crate::resource::Kind;
use crate::tls_client::TrustAnchors;

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
        let File { authorization_servers, stores, .. } = file;
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
            match self.authorization_server(&at, entry, (index, issuers), names, stores.as_ref()) {
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
        (index, issuers): (usize, Option<&[issuer::Settings]>),
        names: &Names,
        stores: Option<&BTreeMap<String, file::Store>>,
    ) -> Option<(Settings, Vec<EndpointRoute>)> {
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
        let paths = self.endpoint_paths(at, entry, issuer_path.as_deref().unwrap_or_default());
        let registration = self.registration(at, entry);
        let shadow = self.enforce(&at.key("enforce"), entry.enforce.as_ref());
        let clients_at = at.key("clients");
        let (directory, unknown, client_trust_anchors) = match &mut entry.clients {
            Some(clients) => {
                let anchors = self.client_trust_anchors(&clients_at, clients.trust_anchors.as_deref());
                (clients.directory.clone(), *clients.unknown.get_or_insert_default(), anchors)
            }
            None => {
                self.problem(&clients_at, "the key is missing; name the folder with the clients' metadata");
                (None, file::UnknownClients::Refuse, None)
            }
        };
        let written = entry.clients.is_some();
        let clients = if written { self.clients(&clients_at.key("directory"), directory.as_ref()) } else { None };
        let servers_at = at.key("resource_servers");
        let resource_servers = match &entry.resource_servers {
            Some(servers) => self.clients(&servers_at.key("directory"), servers.directory.as_ref()),
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
        let urls = |origin: &Origin| {
            let base = origin.as_str().to_owned();
            paths
                .iter()
                .filter(|path| path.endpoint != Endpoint::Page)
                .map(move |path| (path.endpoint, format!("{base}{}", path.pattern.as_str()).into_boxed_str()))
        };
        let endpoint_urls: Vec<_> = urls(&origin).collect();
        let aliases: Vec<_> =
            mtls.iter().flat_map(&urls).filter(|(endpoint, _)| is_called_by_clients(*endpoint)).collect();
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
        let mut routes = Vec::new();
        for path in paths {
            let hosts = std::iter::once(&origin).chain(mtls.iter().filter(|_| is_called_by_clients(path.endpoint)));
            let hosts = hosts.map(|origin| origin.host().into()).collect();
            let route = route(&name, &path, hosts, rules.clone(), upstream.clone());
            routes.push(EndpointRoute { route, at: path.at });
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
        Some((settings, routes))
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

    /// The paths of the endpoints and of the pages.
    fn endpoint_paths(
        &mut self,
        at: &KeyPath,
        entry: &file::AuthorizationServer,
        issuer_path: &str,
    ) -> Option<Vec<EndpointPath>> {
        let endpoints_at = at.key("endpoints");
        let Some(endpoints) = &entry.endpoints else {
            self.problem(&endpoints_at, "the key is missing; write the paths of the server's endpoints");
            return None;
        };
        let needed = [
            (Endpoint::PushedAuthorizationRequest, &endpoints.pushed_authorization_request, true),
            (Endpoint::Authorization, &endpoints.authorization, true),
            (Endpoint::Token, &endpoints.token, true),
            (Endpoint::Introspection, &endpoints.introspection, false),
            (Endpoint::Revocation, &endpoints.revocation, false),
            (Endpoint::Registration, &endpoints.registration, false),
            (Endpoint::Jwks, &endpoints.jwks, false),
        ];
        let mut paths = Vec::new();
        for (endpoint, path, is_needed) in needed {
            let at = endpoints_at.key(endpoint.as_str());
            match path {
                None if is_needed => self.problem(&at, "the key is missing; write the path of this endpoint"),
                None => continue,
                Some(_) => {}
            }
            let pattern = path.as_deref().map(|path| self.endpoint_pattern(&at, path, false));
            paths.push(pattern.flatten().map(|pattern| EndpointPath { endpoint, pattern, at }));
        }
        let pages_at = at.key("browser_paths");
        if let Some(pages) = &entry.browser_paths {
            let pages = self.distinct(&pages_at, Some(pages), "name a path, or remove the key").unwrap_or_default();
            for (index, page) in pages.iter().enumerate() {
                let at = pages_at.index(index);
                let pattern = self.endpoint_pattern(&at, page, true);
                paths.push(pattern.map(|pattern| EndpointPath { endpoint: Endpoint::Page, pattern, at }));
            }
        }
        // RFC 8414 §3.1 puts its path before that of the issuer, and OpenID Connect Discovery §4 after it.
        for path in [format!("{OAUTH_METADATA}{issuer_path}"), format!("{issuer_path}{OPENID_METADATA}")] {
            let pattern =
                Pattern::parse(&path).map_err(|error| self.problem(&at.key("issuer"), error.to_string())).ok();
            let at = at.clone();
            paths.push(pattern.map(|pattern| EndpointPath { endpoint: Endpoint::Metadata, pattern, at }));
        }
        paths.into_iter().collect()
    }

    fn endpoint_pattern(&mut self, at: &KeyPath, path: &str, wildcards: bool) -> Option<Pattern> {
        if !wildcards && path.contains(['*', '{']) {
            self.problem(at, "an endpoint is one path; write it without `*` and `{…}`");
            return None;
        }
        Pattern::parse(path).map_err(|error| self.problem(at, error.to_string())).ok()
    }

    /// The authorities of the hosts at which clients publish their keys.
    fn client_trust_anchors(&mut self, clients: &KeyPath, paths: Option<&[FilePath]>) -> Option<TrustAnchors> {
        match paths {
            None => Some(TrustAnchors::System),
            Some(paths) => {
                let anchors = self.trust_anchors(&clients.key("trust_anchors"), paths, Anchors::Any);
                anchors.map(TrustAnchors::Given)
            }
        }
    }

    /// The documents of a folder, one for each client.
    fn clients(&mut self, at: &KeyPath, directory: Option<&FilePath>) -> Option<Clients> {
        let directory = self.needed(at, directory, "name a folder with a file of metadata for each")?;
        if self.named_files == NamedFiles::Unread {
            return Some(Clients::default());
        }
        let folder = self.resolve(&directory.0);
        let names = match self.files.list(&folder, &["json"]) {
            Ok(names) => names,
            Err(error) => {
                let problem = format!("`{}` cannot be listed: {}", folder.display(), unreadable(&folder, &error));
                self.problem(at, problem);
                return None;
            }
        };
        if names.len() > MOST_CLIENTS {
            self.problem(at, format!("the folder has more than {MOST_CLIENTS} files that end with `.json`"));
            return None;
        }
        let mut clients = Vec::new();
        for name in &names {
            let path = FilePath(directory.0.join(name));
            let document = self.read(at, &path, Kind::Client)?;
            match RegisteredClient::parse(&document) {
                Ok(client) => clients.push(Some(client)),
                Err(errors) => {
                    for error in errors.errors() {
                        self.problem(at, format!("`{}`: {error}", path.0.display()));
                    }
                    clients.push(None);
                }
            }
        }
        let clients: Option<Vec<RegisteredClient>> = clients.into_iter().collect();
        Clients::new(clients?).map_err(|error| self.problem(at, error.to_string())).ok()
    }
}

/// Where an endpoint is, and the key that says so.
struct EndpointPath {
    endpoint: Endpoint,
    pattern: Pattern,
    at: KeyPath,
}

fn route(server: &str, path: &EndpointPath, hosts: Vec<Box<str>>, rules: Arc<Rules>, upstream: UpstreamRef) -> Route {
    let EndpointPath { endpoint, pattern, .. } = path;
    let (form, registers) = (endpoint.authenticates_clients(), *endpoint == Endpoint::Registration);
    let methods = match endpoint {
        Endpoint::Page => vec![Method::GET, Method::HEAD, Method::POST],
        Endpoint::Authorization => vec![Method::GET],
        Endpoint::Jwks => vec![Method::GET, Method::HEAD],
        Endpoint::Metadata => vec![Method::GET],
        Endpoint::PushedAuthorizationRequest
        | Endpoint::Token
        | Endpoint::Introspection
        | Endpoint::Revocation
        | Endpoint::Registration => vec![Method::POST],
    };
    Route {
        name: format!("{server}:{}", endpoint.as_str()).into(),
        pattern: pattern.clone(),
        path_characters: if *endpoint == Endpoint::Page { PathCharacters::Uri } else { PathCharacters::Strict },
        hosts,
        methods,
        requirement: Requirement::Endpoint(rules, *endpoint),
        upstream,
        forward: Forward {
            // RFC 7591 §3: the initial access token is the server's.
            access_token: registers,
            dpop_proof: form,
            client_certificate: form || registers,
            ..Forward::default()
        },
        cors: None,
        // Where parameters come in the query, a server could prefer those of a body.
        limits: Limits {
            body_bytes: match endpoint {
                Endpoint::Page => None,
                Endpoint::Authorization | Endpoint::Jwks | Endpoint::Metadata => Some(0),
                Endpoint::PushedAuthorizationRequest
                | Endpoint::Token
                | Endpoint::Introspection
                | Endpoint::Revocation
                | Endpoint::Registration => Some(LARGEST_FORM),
            },
            ..Limits::default()
        },
        on_expiry: OnExpiry::Continue,
        errors: ErrorFormat::Json,
    }
}

/// Whether clients call an endpoint themselves, and so may do it with their certificate.
const fn is_called_by_clients(endpoint: Endpoint) -> bool {
    endpoint.authenticates_clients() || matches!(endpoint, Endpoint::Registration)
}

const OAUTH_METADATA: &str = "/.well-known/oauth-authorization-server";
const OPENID_METADATA: &str = "/.well-known/openid-configuration";

/// The grant types that can be judged.
const GRANTS: [&str; 4] = [AUTHORIZATION_CODE, REFRESH_TOKEN, CLIENT_CREDENTIALS, CIBA];

/// How many clients a folder may have.
const MOST_CLIENTS: usize = 10_000;

/// The largest form or registration, in bytes: what is read before the decision has to be forwarded.
const LARGEST_FORM: u64 = 64 * 1024;
