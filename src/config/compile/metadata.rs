//! `metadata`: documents that say of the resources what the routes enforce (RFC 9728).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fapi::UnixTime;
use fapi::metadata::{Document, Enforced, Entrance, Metadata, Resource, ResourceIdentifier, SIGNED_TYPE};
use fapi::route::Routes;
use reqwest::Url;

use super::Build;
use super::url::shown;
use crate::config::VirtualHost;
use crate::config::error::{KeyPath, quoted};
use crate::config::file::{self, File};
use crate::issuer;

impl Build<'_> {
    /// Makes the documents, once everything that they are made from has been built.
    pub(super) fn metadata(
        &mut self,
        file: &mut File,
        listeners: Option<&[(SocketAddr, VirtualHost)]>,
        issuers: Option<&[issuer::Settings]>,
        routes: Option<&Routes>,
    ) -> Option<Metadata> {
        let at = KeyPath::of("metadata");
        let Some(entry) = &mut file.metadata else { return Some(Metadata::default()) };
        let range = Duration::ZERO..=Duration::from_secs(60 * 60);
        let max_age = self.time_within(&at.key("max_age"), &mut entry.max_age, Duration::from_secs(300), range);
        let signer = match *entry.signed.get_or_insert(false) {
            true => self.jwt_signer(&at.key("signed"), SIGNED_TYPE),
            false => None,
        };
        let jwks_uri = entry.jwks_uri.as_deref().map(|url| self.jwks_uri(&at.key("jwks_uri"), url));
        let resources_at = at.key("resources");
        let named = entry.resources.as_deref().map(|entries| self.resources(&resources_at, entries));
        let (listeners, issuers, routes) = (listeners?, issuers?, routes?);
        let entrances: Vec<Entrance<'_>> = listeners.iter().flat_map(|(_, host)| entrances(host)).collect();
        let identifiers: Vec<&str> = issuers.iter().map(|issuer| &*issuer.expected.issuer).collect();
        let jwks_uri = entry.jwks_uri.as_deref().filter(|_| jwks_uri.is_some_and(|found| found.is_some()));
        let enforced = Enforced { routes, entrances: &entrances, issuers: &identifiers, jwks_uri };
        let written = named.is_some();
        let resources = match named {
            Some(resources) => resources?,
            None => resources_of(&entrances),
        };
        let mut documents = Vec::new();
        for (index, resource) in resources.iter().enumerate() {
            match Document::of(resource, &resources, enforced, max_age?.as_secs()) {
                Some(document) => documents.push(match &signer {
                    Some(signer) => document.signed_by(signer.clone()),
                    None => document,
                }),
                None if written => self.no_document(&resources_at.index(index), &resource.identifier, &entrances),
                None => {}
            }
        }
        if !written {
            if documents.is_empty() {
                self.problem(&at, "no route needs a token, so there is nothing to tell clients; remove the section");
            }
            let identifiers = documents.iter().map(|document| document.identifier().as_str().to_owned());
            let of = |resource| file::Resource { resource: Some(resource), ..file::Resource::default() };
            entry.resources = Some(identifiers.map(of).collect());
        }
        for document in &documents {
            self.check_document(&at, document, issuers);
        }
        let metadata = Metadata::new(documents.into_iter().map(Arc::new).collect());
        for (index, _) in routes.iter().enumerate().filter(|(_, route)| metadata.hides(route)) {
            let problem = "`metadata` answers here, so no request would reach the route; remove the route, or have `metadata` leave out the resources of its hosts";
            self.problem(&KeyPath::of("routes").index(index).key("path"), problem);
        }
        Some(metadata)
    }

    /// Checks where the documents say that the keys are.
    fn jwks_uri(&mut self, at: &KeyPath, url: &str) -> Option<()> {
        if !self.signing.is_written() {
            self.problem(at, "there are no keys of the gateway; add the section `signing`, or remove the key");
            return None;
        }
        self.endpoint(at, url).map(|_| ())
    }

    fn resources(&mut self, at: &KeyPath, entries: &[file::Resource]) -> Option<Vec<Resource>> {
        if entries.is_empty() {
            let problem = "the list is empty; name a resource, or remove the key for one at each origin";
            self.report.empty(at, problem);
            return None;
        }
        let mut resources: Vec<Option<Resource>> = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let resource = self.resource(&at.index(index), entry);
            let same = |other: &Resource| {
                resource.as_ref().is_some_and(|own| own.identifier.shares_place_with(&other.identifier))
            };
            if let Some(first) = resources.iter().position(|other| other.as_ref().is_some_and(same)) {
                let first = at.index(first);
                let problem = format!("{first} has its document at the same place; keep one of the two");
                self.problem(&at.index(index).key("resource"), problem);
            }
            resources.push(resource);
        }
        resources.into_iter().collect()
    }

    fn resource(&mut self, at: &KeyPath, entry: &file::Resource) -> Option<Resource> {
        let identifier_at = at.key("resource");
        let way_out = "write the URL that clients know it by, such as `https://api.bank.example/accounts`";
        let identifier = self.text(&identifier_at, entry.resource.as_deref(), way_out);
        let identifier = identifier.map(|text| {
            let parsed = ResourceIdentifier::parse(text);
            parsed.map_err(|error| self.problem(&identifier_at, error.to_string()))
        });
        let name = entry.resource_name.as_deref();
        if let Some(name) = name {
            let name_at = at.key("resource_name");
            if name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
                self.problem(&name_at, "a name is one line of at most 200 characters; shorten it");
            }
            self.text(&name_at, Some(name), "write a name, or remove the key");
        }
        let documentation = entry.resource_documentation.as_deref();
        if let Some(url) = documentation
            && !Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "https" | "http"))
        {
            let problem = format!(
                "{} is not a URL of a web page; write one such as `https://developer.bank.example`",
                shown(url)
            );
            self.problem(&at.key("resource_documentation"), problem);
        }
        let boxed = |text: &str| Box::from(text);
        Some(Resource { identifier: identifier?.ok()?, name: name.map(boxed), documentation: documentation.map(boxed) })
    }

    /// Reports a resource of which there is nothing to say.
    fn no_document(&mut self, at: &KeyPath, identifier: &ResourceIdentifier, entrances: &[Entrance<'_>]) {
        let own = identifier.as_str();
        let problem = if entrances.iter().any(|entrance| identifier.is_at(entrance.origin)) {
            format!(
                "no route at `{own}` or below it needs a token; write the URL that clients call, or remove the entry"
            )
        } else {
            let origins = quoted(entrances.iter().map(|entrance| entrance.origin.as_str()));
            format!("`{own}` is not at an origin of a listener; the origins are {origins}")
        };
        self.problem(&at.key("resource"), problem);
    }

    /// Reports a document that is too large, and warns of tokens that it makes clients ask for and that are refused.
    fn check_document(&mut self, at: &KeyPath, document: &Document, issuers: &[issuer::Settings]) {
        // The size is nearly the same at any time.
        let (own, size) = (document.identifier().as_str(), document.content(UnixTime(0)).as_str().len());
        if size > LARGEST {
            let problem = format!(
                "the document about `{own}` has {size} bytes, more than the 64KiB that every client can be expected to read; divide it among several `resources`"
            );
            self.problem(at, problem);
        }
        // RFC 9728 §7.4: clients ask for tokens for the resource (RFC 8707 §2), which then is their audience.
        for index in document.issuers() {
            let audiences = issuers.get(index.0).map(|issuer| &issuer.expected.audiences);
            if audiences.is_some_and(|audiences| !audiences.iter().any(|audience| **audience == *own)) {
                let warning = format!(
                    "`metadata` tells clients to ask for tokens for `{own}`, which is not in the list, so that tokens with this `aud` are refused; add it, if the issuer issues such tokens"
                );
                self.warn(&KeyPath::of("issuers").index(index.0).key("audiences"), warning);
            }
        }
        let named = document.issuers().iter().filter_map(|index| issuers.get(index.0));
        let names: Vec<&str> = named.map(|issuer| &*issuer.expected.name).collect();
        let (url, scopes) = (document.identifier().metadata_url(), document.scopes().join(", "));
        self.summary.push(format!("metadata {own}: at {url}; issuers: {}; scopes: {scopes}", names.join(", ")));
    }
}

/// The origins of an entry of `listeners`.
fn entrances(host: &VirtualHost) -> impl Iterator<Item = Entrance<'_>> {
    let certificates = host.tls.client_certificates.are_requested() || host.trusted_proxy.is_some();
    host.origins.iter().map(move |origin| Entrance { origin, certificates })
}

/// One resource for each origin.
fn resources_of(entrances: &[Entrance<'_>]) -> Vec<Resource> {
    let mut resources: Vec<Resource> = Vec::new();
    for entrance in entrances {
        let identifier = ResourceIdentifier::of_origin(entrance.origin);
        if !resources.iter().any(|other| other.identifier == identifier) {
            resources.push(Resource { identifier, name: None, documentation: None });
        }
    }
    resources
}

/// The largest document, in bytes.
const LARGEST: usize = 64 * 1024;

/// The longest `resource_name`, in characters.
const LONGEST_NAME: usize = 200;
