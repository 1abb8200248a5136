//! Protected resource metadata: what a client has to know to call a resource (RFC 9728).
//!
//! What a [`Document`] says of tokens is made from the routes, policies and listeners that decide on requests, so that it
//! cannot say anything that they do not do. It is public: no token is needed to read it.

mod document;
mod identifier;

use std::sync::Arc;

use http::Method;
use http::request::Parts;

pub use document::{Content, Document, Enforced, Entrance, Resource, SIGNED_TYPE};
pub use identifier::{ResourceIdentifier, ResourceIdentifierError, WELL_KNOWN};
use identifier::{WELL_KNOWN_SEGMENTS, below};

use crate::cors::{Granted, NotGranted, Preflight};
use crate::route::{Origin, Route, RouteError, Target};

/// The documents of all resources; by default there are none.
#[derive(Debug, Default)]
pub struct Metadata(Vec<Arc<Document>>);

/// What a request for metadata gets.
#[derive(Debug)]
pub enum Found {
    /// A document.
    Document(Arc<Document>),
    /// It is a preflight, and is granted to scripts of any origin, since the document is public.
    Preflight(Granted),
}

impl Metadata {
    /// Holds these documents, each about another resource.
    pub fn new(mut documents: Vec<Arc<Document>>) -> Self {
        documents.sort_by_key(|document| std::cmp::Reverse(document.identifier().depth()));
        Self(documents)
    }

    /// Finds what a request for metadata gets; `None` if it is for something else.
    ///
    /// At an origin with documents, every path at or below [`WELL_KNOWN`] is for metadata, whatever the routes say.
    ///
    /// # Errors
    /// [`RouteError::NotFound`], and [`RouteError::MethodNotAllowed`] for methods other than GET and HEAD.
    pub fn find(&self, request: &Parts, target: &Target<'_>) -> Option<Result<Found, RouteError>> {
        if self.0.is_empty() {
            return None;
        }
        below(target.path(), WELL_KNOWN)?;
        let mut here = self.0.iter().filter(|document| document.identifier().is_at(target.origin())).peekable();
        here.peek()?;
        let found = here.find(|document| document.identifier().has_metadata_at(target.path()));
        Some(found.ok_or(RouteError::NotFound).and_then(|document| granted(request, document)))
    }

    /// Finds the document about the resource that a path at an origin is part of.
    pub fn about(&self, origin: &Origin, path: &str) -> Option<&Document> {
        // The most specific come first.
        self.0.iter().find(|document| document.identifier().covers(origin, path)).map(|document| &**document)
    }

    /// All documents.
    pub fn iter(&self) -> impl Iterator<Item = &Document> {
        self.0.iter().map(|document| &**document)
    }

    /// Whether a route is for nothing but metadata, at a host that has documents: no request would reach it.
    pub fn hides(&self, route: &Route) -> bool {
        let is_for_metadata = route.pattern.leads_only_to(&WELL_KNOWN_SEGMENTS, 0);
        is_for_metadata && self.iter().any(|one| route.answers_for(one.identifier().host()))
    }
}

/// What a request for this document gets.
fn granted(request: &Parts, document: &Arc<Document>) -> Result<Found, RouteError> {
    let readable = |method: &Method| matches!(*method, Method::GET | Method::HEAD);
    if readable(&request.method) {
        return Ok(Found::Document(Arc::clone(document)));
    }
    let allow = Box::from(METHODS);
    match Preflight::of(request) {
        Some(preflight) if readable(&preflight.method) => Ok(Found::Preflight(Granted::to_everyone(METHODS))),
        Some(preflight) => Err(RouteError::PreflightNotGranted { allow, why: NotGranted::method(&preflight) }),
        None => Err(RouteError::MethodNotAllowed { allow }),
    }
}

const METHODS: &str = "GET, HEAD";

#[cfg(test)]
mod tests;
