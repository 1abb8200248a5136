//! The endpoints of an authorization server: their paths, as they are written or as its metadata say, and their routes.

use std::sync::Arc;

use fapi::authorization_server::metadata_document;
use fapi::authorization_server::{Endpoint, Rules};
use fapi::error_format::ErrorFormat;
use fapi::route::{Forward, Limits, OnExpiry, PathCharacters, Pattern, Requirement, Route, UpstreamRef};
use http::Method;

use super::super::Build;
use crate::config::NamedFiles;
use crate::config::error::KeyPath;
use crate::config::file;
use crate::resource::Kind;

impl Build<'_> {
    /// Fills in the paths that are not written from the copy of the metadata, if there is one.
    ///
    /// Introspection and registration have settings of their own, and are served if these are written.
    pub(super) fn endpoints_of_metadata(
        &mut self,
        at: &KeyPath,
        entry: &mut file::AuthorizationServer,
        issuer: Option<&str>,
        routes: &[file::Route],
    ) {
        let at = at.key("metadata");
        let Some(path) = &entry.metadata else { return };
        let endpoints = entry.endpoints.get_or_insert_default();
        if self.named_files == NamedFiles::Unread {
            return;
        }
        let (Some(document), Some(issuer)) = (self.read(&at, path, Kind::ServerMetadata), issuer) else { return };
        let published = match metadata_document::published(&document, issuer) {
            Ok(published) => published,
            Err(error) => {
                self.problem(&at, format!("`{}`: {error}; copy it again", path.0.display()));
                return;
            }
        };
        let paths = &published.paths;
        let (introspects, registers) = (entry.resource_servers.is_some(), entry.registration.is_some());
        for (endpoint, slot) in endpoints.each() {
            let is_served = (introspects || endpoint != Endpoint::Introspection)
                && (registers || endpoint != Endpoint::Registration);
            let found = paths.iter().find(|(known, _)| *known == endpoint).filter(|_| is_served && slot.is_none());
            if let Some((_, path)) = found {
                *slot = Some(path.to_string());
            }
        }
        let userinfo = published.userinfo.filter(|path| protects(routes, path));
        if endpoints.userinfo.is_none() {
            endpoints.userinfo = userinfo.map(String::from);
        }
    }

    /// The path of the UserInfo endpoint, which a route protects: its tokens are judged like all others.
    pub(super) fn userinfo(
        &mut self,
        at: &KeyPath,
        entry: &file::AuthorizationServer,
        routes: &[file::Route],
    ) -> Option<Option<Box<str>>> {
        let Some(path) = entry.endpoints.as_ref().and_then(|endpoints| endpoints.userinfo.as_deref()) else {
            return Some(None);
        };
        let at = at.key("endpoints").key("userinfo");
        if path.contains(['*', '{']) {
            self.problem(&at, ONE_PATH);
            return None;
        }
        if !protects(routes, path) && !self.report.lost_under(&KeyPath::of("routes")) {
            let problem = format!(
                "no route protects `{path}`; add one to `routes` with this path and `scopes: [openid]`, or remove the key"
            );
            self.problem(&at, problem);
            return None;
        }
        Some(Some(path.into()))
    }

    /// The paths of the endpoints and of the pages.
    pub(super) fn endpoint_paths(
        &mut self,
        at: &KeyPath,
        entry: &mut file::AuthorizationServer,
        issuer_path: &str,
    ) -> Option<Vec<EndpointPath>> {
        let endpoints_at = at.key("endpoints");
        let Some(endpoints) = &mut entry.endpoints else {
            let problem = "the key is missing; write the paths of the server's endpoints, or name a copy of its metadata in `metadata`";
            self.problem(&endpoints_at, problem);
            return None;
        };
        let is_unread = entry.metadata.is_some() && self.named_files == NamedFiles::Unread;
        let mut paths = Vec::new();
        for (endpoint, path) in endpoints.each() {
            let is_needed =
                matches!(endpoint, Endpoint::PushedAuthorizationRequest | Endpoint::Authorization | Endpoint::Token);
            let at = endpoints_at.key(endpoint.as_str());
            match path {
                // What a file says that was not read is not known.
                None if !is_needed || is_unread => continue,
                None => self.problem(&at, "the key is missing; write the path of this endpoint"),
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
            self.problem(at, ONE_PATH);
            return None;
        }
        Pattern::parse(path).map_err(|error| self.problem(at, error.to_string())).ok()
    }
}

/// Where an endpoint is, and the key that says so.
pub(super) struct EndpointPath {
    pub(super) endpoint: Endpoint,
    pub(super) pattern: Pattern,
    pub(super) at: KeyPath,
}

/// The route to an endpoint.
pub(super) fn route(
    server: &str,
    path: &EndpointPath,
    hosts: Vec<Box<str>>,
    rules: Arc<Rules>,
    upstream: UpstreamRef,
) -> Route {
    let EndpointPath { endpoint, pattern, .. } = path;
    let (form, registers) = (endpoint.authenticates_clients(), *endpoint == Endpoint::Registration);
    let methods = match endpoint {
        // Pages in script are written against an interface of the server's own, in which consent can be a PUT.
        Endpoint::Page => {
            vec![Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE]
        }
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
pub(super) const fn is_called_by_clients(endpoint: Endpoint) -> bool {
    endpoint.authenticates_clients() || matches!(endpoint, Endpoint::Registration)
}

const OAUTH_METADATA: &str = "/.well-known/oauth-authorization-server";
const OPENID_METADATA: &str = "/.well-known/openid-configuration";

/// The largest form or registration, in bytes: what is read before the decision has to be forwarded.
const LARGEST_FORM: u64 = 64 * 1024;

const ONE_PATH: &str = "an endpoint is one path; write it without `*` and `{…}`";

/// Whether a route with exactly this path needs a token.
fn protects(routes: &[file::Route], path: &str) -> bool {
    routes.iter().any(|route| route.path.as_deref() == Some(path) && route.public != Some(true))
}
