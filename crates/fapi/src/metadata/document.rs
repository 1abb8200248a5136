//! The document about one protected resource (RFC 9728 §2, §3.2), made from what its routes accept.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value};

use super::identifier::ResourceIdentifier;
use crate::UnixTime;
use crate::credentials::Scheme;
use crate::jose::keys::Algorithm;
use crate::jose::signing::NotSigned;
use crate::jose::signing_keys::JwtSigner;
use crate::policy::{DetailRule, IssuerIndex};
use crate::route::{Origin, Routes};
use crate::sha256;

/// A protected resource, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its identifier.
    pub identifier: ResourceIdentifier,
    /// Its name, for people.
    pub name: Option<Box<str>>,
    /// The URL of its documentation, for developers.
    pub documentation: Option<Box<str>>,
}

/// An origin at which requests arrive.
#[derive(Clone, Copy, Debug)]
pub struct Entrance<'a> {
    /// The origin.
    pub origin: &'a Origin,
    /// Whether the certificate of a client can be known there.
    pub certificates: bool,
}

/// What decides on requests, as far as clients may know it in advance.
#[derive(Clone, Copy, Debug)]
pub struct Enforced<'a> {
    /// The routes.
    pub routes: &'a Routes,
    /// Where they are reached.
    pub entrances: &'a [Entrance<'a>],
    /// The identifier of each issuer, in the order of their indexes.
    pub issuers: &'a [&'a str],
    /// Where the keys are published with which the resources sign, if everybody can read them.
    pub jwks_uri: Option<&'a str>,
}

/// What the routes of one resource accept, all of them together.
#[derive(Default)]
struct Accepted<'a> {
    scopes: Vec<&'a str>,
    detail_types: Vec<&'a str>,
    issuers: Vec<IssuerIndex>,
    certificate: bool,
    dpop: bool,
}

impl<'a> Accepted<'a> {
    /// Collects from the routes that can have a request for this resource; `beside` are the other resources, of which those
    /// below this one have what is theirs.
    fn by(identifier: &ResourceIdentifier, beside: &[Resource], enforced: Enforced<'a>) -> Self {
        let mut accepted = Self::default();
        for entrance in enforced.entrances {
            let Some(beginning) = identifier.beginning_at(entrance.origin) else { continue };
            let narrower = beside.iter().map(|other| &other.identifier).filter(|other| other.is_below(identifier));
            let narrower: Vec<_> = narrower.filter_map(|other| other.beginning_at(entrance.origin)).collect();
            for route in enforced.routes.at_host(entrance.origin.host()) {
                let pattern = &route.pattern;
                let elsewhere = narrower.iter().any(|other| pattern.leads_only_to(other, beginning.len()));
                if let Some(policy) = route.policy().filter(|_| pattern.leads_to(&beginning) && !elsewhere) {
                    // A route that takes nothing but certificates cannot be used where there are none.
                    let certificate = entrance.certificates && policy.schemes().contains(&Scheme::Bearer);
                    let dpop = policy.schemes().contains(&Scheme::Dpop);
                    if certificate || dpop {
                        accepted.certificate |= certificate;
                        accepted.dpop |= dpop;
                        add(&mut accepted.scopes, policy.scopes());
                        let details = policy.requirements().authorization_details.iter();
                        add(&mut accepted.detail_types, details.map(DetailRule::kind));
                        add(&mut accepted.issuers, policy.issuers().iter().copied());
                    }
                }
            }
        }
        accepted
    }
}

fn add<T: PartialEq>(known: &mut Vec<T>, more: impl Iterator<Item = T>) {
    for one in more {
        if !known.contains(&one) {
            known.push(one);
        }
    }
}

/// The metadata of one protected resource.
#[derive(Debug)]
pub struct Document {
    identifier: ResourceIdentifier,
    issuers: Vec<IssuerIndex>,
    scopes: Vec<Box<str>>,
    challenge: Box<str>,
    members: Map<String, Value>,
    max_age: u64,
    unsigned: Arc<Content>,
    signed: Option<Signed>,
}

impl Document {
    /// Makes the document about `resource`; `None` if no request for it needs a token, or none that a client could use there.
    ///
    /// `all` are the resources that have documents, `resource` among them. Caches may keep it for `max_age` seconds.
    pub fn of(resource: &Resource, all: &[Resource], enforced: Enforced<'_>, max_age: u64) -> Option<Self> {
        let identifier = resource.identifier.clone();
        let accepted = Accepted::by(&identifier, all, enforced);
        if accepted.issuers.is_empty() {
            return None;
        }
        let members = members(resource, &accepted, enforced);
        Some(Self {
            challenge: format!(", resource_metadata=\"{}\"", identifier.metadata_url()).into(),
            issuers: accepted.issuers,
            scopes: accepted.scopes.into_iter().map(Box::from).collect(),
            unsigned: Arc::new(Content::of(&members, max_age)?),
            members,
            max_age,
            identifier,
            signed: None,
        })
    }

    /// The same document, with a signature over it (RFC 9728 §2.2).
    #[must_use]
    pub fn signed_by(self, signer: JwtSigner) -> Self {
        let mut claims = self.members.clone();
        // RFC 9728 §2.2: it "MUST contain an iss (issuer) claim denoting the party attesting to the claims". The resource
        // speaks for itself: clients know no other party, and the keys that a document names are those of the resource.
        claims.insert("iss".to_owned(), self.identifier.as_str().into());
        Self { signed: Some(Signed { signer, claims, last: Mutex::default() }), ..self }
    }

    /// Whose metadata it is.
    pub const fn identifier(&self) -> &ResourceIdentifier {
        &self.identifier
    }

    /// The issuers that it names.
    pub fn issuers(&self) -> &[IssuerIndex] {
        &self.issuers
    }

    /// The scopes that it names.
    pub fn scopes(&self) -> &[Box<str>] {
        &self.scopes
    }

    /// Its content at `now`. What is signed is signed again after half its lifetime. If that fails, it is what was signed before,
    /// as long as that is valid, or else unsigned, which is for the client to judge.
    pub fn content(&self, now: UnixTime) -> Arc<Content> {
        let Some(signed) = &self.signed else { return Arc::clone(&self.unsigned) };
        let mut last = signed.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, content)) = &*last
            && *at <= now
            && now.since(*at) < SIGNED_FOR / 2
        {
            return Arc::clone(content);
        }
        let renewed = signed.at(now).ok().and_then(|jwt| {
            let mut members = self.members.clone();
            members.insert("signed_metadata".to_owned(), jwt.into());
            Content::of(&members, self.max_age)
        });
        match renewed.map(Arc::new) {
            Some(content) => Arc::clone(&last.insert((now, content)).1),
            None => {
                let valid = last.as_ref().filter(|(at, _)| now.since(*at) < SIGNED_FOR);
                Arc::clone(valid.map_or(&self.unsigned, |(_, content)| content))
            }
        }
    }

    /// The parameter of a challenge that leads to it, after a comma (RFC 9728 §5.1).
    pub(crate) fn challenge(&self) -> &str {
        &self.challenge
    }
}

/// What a document is signed with.
#[derive(Debug)]
struct Signed {
    signer: JwtSigner,
    /// All but the times. RFC 9728 §2.2: "A signed_metadata parameter SHOULD NOT appear as a claim in the JWT".
    claims: Map<String, Value>,
    /// What was signed last, and when.
    last: Mutex<Option<(UnixTime, Arc<Content>)>>,
}

impl Signed {
    fn at(&self, now: UnixTime) -> Result<String, NotSigned> {
        let mut claims = self.claims.clone();
        claims.insert("iat".to_owned(), now.0.into());
        claims.insert("exp".to_owned(), now.plus(SIGNED_FOR).0.into());
        self.signer.sign(&Value::Object(claims))
    }
}

/// How long a signature over a document is good, in seconds. It is renewed after half of that, which is longer than any cache may
/// keep the document.
const SIGNED_FOR: u64 = 24 * 60 * 60;

/// The type of the JWT in `signed_metadata`, for which RFC 9728 registers none.
pub const SIGNED_TYPE: &str = "JWT";

/// The content of a document, ready to be sent.
#[derive(Debug)]
pub struct Content {
    text: Box<str>,
    fields: Vec<(HeaderName, HeaderValue)>,
    etag: HeaderValue,
}

impl Content {
    fn of(members: &Map<String, Value>, max_age: u64) -> Option<Self> {
        let text = serde_json::to_string(members).ok()?;
        let hash = URL_SAFE_NO_PAD.encode(sha256(text.as_bytes()));
        let etag = HeaderValue::try_from(format!("\"{hash}\"")).ok()?;
        let fields = vec![
            (header::CACHE_CONTROL, HeaderValue::try_from(format!("public, max-age={max_age}")).ok()?),
            (header::ETAG, etag.clone()),
            // Everybody may read it, and it is the same for all.
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("etag, x-fapi-interaction-id")),
        ];
        Some(Self { text: text.into(), fields, etag })
    }

    /// Its JSON text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The response to a GET with these fields: 200 with the document (RFC 9728 §3.2), or 304 without content if the client
    /// has it (RFC 9110 §13.1.2).
    pub fn response(&self, request: &HeaderMap) -> Response<&str> {
        let mut response = Response::new(&*self.text);
        let headers = response.headers_mut();
        headers.extend(self.fields.iter().cloned());
        if self.is_known(request) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = "";
            return response;
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    fn is_known(&self, request: &HeaderMap) -> bool {
        let lines = request.get_all(header::IF_NONE_MATCH).iter();
        let mut tags = lines.flat_map(|line| line.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii);
        // RFC 9110 §13.1.2: "A recipient MUST use the weak comparison function".
        tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == self.etag.as_bytes())
    }
}

/// The members of the document (RFC 9728 §2), all but `signed_metadata`.
fn members(resource: &Resource, accepted: &Accepted<'_>, enforced: Enforced<'_>) -> Map<String, Value> {
    let mut authorization_servers = Vec::new();
    let identifier = |index: &IssuerIndex| enforced.issuers.get(index.0).copied();
    add(&mut authorization_servers, accepted.issuers.iter().filter_map(identifier));
    let bearer_methods: &[&str] = if accepted.certificate { &["header"] } else { &[] };
    let algorithms = Algorithm::ALL.iter().filter(|_| accepted.dpop).map(|algorithm| algorithm.as_str());
    let lists = [
        ("authorization_servers", authorization_servers),
        ("scopes_supported", accepted.scopes.clone()),
        ("authorization_details_types_supported", accepted.detail_types.clone()),
        ("bearer_methods_supported", bearer_methods.to_vec()),
        ("dpop_signing_alg_values_supported", algorithms.collect()),
    ];
    // RFC 9728 §3.2: "Parameters with zero values MUST be omitted from the response."
    let lists = lists.into_iter().filter(|(_, values)| !values.is_empty());
    let texts = [
        ("resource", Some(resource.identifier.as_str())),
        ("resource_name", resource.name.as_deref()),
        ("resource_documentation", resource.documentation.as_deref()),
        ("jwks_uri", enforced.jwks_uri),
    ];
    let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text?)));
    let switches = [
        ("tls_client_certificate_bound_access_tokens", accepted.certificate),
        ("dpop_bound_access_tokens_required", !accepted.certificate),
    ];
    let members = lists.map(|(name, values)| (name, Value::from(values)));
    let members = members.chain(texts.map(|(name, text)| (name, text.into())));
    members.chain(switches.map(|(name, on)| (name, on.into()))).map(|(name, value)| (name.to_owned(), value)).collect()
}
