//! The target of a request, byte for byte, and the route that matches it (RFC 3986 §3.3, §6).
//!
//! A path with more than one reading is refused, unless it leads to one route in every reading and that route takes
//! such data. Nothing here repairs a path, so what is matched is what is forwarded. What no route matches is refused
//! too.

mod error;
mod origin;
mod path;
mod pattern;
mod readings;
mod target;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};
use percent_encoding::percent_decode_str;

pub use error::RouteError;
pub(crate) use origin::{Authority, same_host};
pub use origin::{Origin, OriginError, Origins};
pub use path::{CanonicalPath, PathCharacters};
use path::{PathSegment, Segments};
use pattern::Segment;
pub use pattern::{Pattern, PatternError};
pub use target::Target;

use crate::authorization_server::rules::{Endpoint, Rules};
use crate::cors::Cors;
use crate::error_format::ErrorFormat;
use crate::field_names::FieldNames;
use crate::identity_jwt::IdentityJwt;
use crate::policy::Policy;
use crate::text::folded;

/// What a route requires of a request.
#[derive(Debug)]
pub enum Requirement {
    /// Nothing: the configuration says explicitly that the route is public.
    Public,
    /// A sender-constrained token that satisfies this policy.
    Protected(Arc<Policy>),
    /// What FAPI says of this endpoint of an authorization server.
    Endpoint(Arc<Rules>, Endpoint),
}

/// What a route forwards to its upstream besides the request itself.
#[derive(Clone, Debug, Default)]
pub struct Forward {
    /// `Authorization`, as received.
    pub access_token: bool,
    /// `DPoP`, as received, where it is the proof that was verified.
    pub dpop_proof: bool,
    /// `Client-Cert` (RFC 9440).
    pub client_certificate: bool,
    /// `Client-Cert-Chain` beside it (RFC 9440 §2.3).
    pub client_certificate_chain: bool,
    /// Claims of the token, each with the header field for it.
    pub claims: Vec<(Box<str>, HeaderName)>,
    /// Segments of the path by their index, such as those of [variables](Pattern::variable), each with the header field
    /// for it.
    pub segments: Vec<(usize, HeaderName)>,
    /// What was verified, as a JWT.
    pub identity_jwt: Option<Arc<IdentityJwt>>,
    /// The header fields that are removed from the request.
    pub strip: FieldNames,
}

impl Forward {
    /// The header fields that carry claims, segments and the JWT, which no client may set.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        let claims = self.claims.iter().map(|(_, name)| name);
        let segments = self.segments.iter().map(|(_, name)| name);
        claims.chain(segments).chain(self.identity_jwt.iter().map(|identity| identity.field()))
    }
}

/// An upstream by name and by its index in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamRef {
    /// The configured name.
    pub name: Arc<str>,
    /// The index in the list of upstreams.
    pub index: usize,
}

/// One entry of `routes`.
#[derive(Debug)]
pub struct Route {
    /// The configured name.
    pub name: Arc<str>,
    /// The paths it matches.
    pub pattern: Pattern,
    /// Which characters the segments of its wildcards may have.
    pub path_characters: PathCharacters,
    /// The hosts it matches, without port; empty means every host.
    pub hosts: Vec<Box<str>>,
    /// The methods it matches; GET does not include HEAD.
    pub methods: Vec<Method>,
    /// What it requires of a request.
    pub requirement: Requirement,
    /// Where its requests go.
    pub upstream: UpstreamRef,
    /// What it forwards.
    pub forward: Forward,
    /// What scripts of other origins may learn, unless that is left to the listener.
    pub cors: Option<Arc<Cors>>,
    /// The limits of its exchanges.
    pub limits: Limits,
    /// What happens to an exchange in progress when its token expires or is revoked.
    pub on_expiry: OnExpiry,
    /// The form of the body of its refusals.
    pub errors: ErrorFormat,
}

/// The limits of a route's exchanges, where they are not those of all routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The largest request body, in bytes.
    pub body_bytes: Option<u64>,
    /// How long a request body may take, whatever its rate.
    pub body_timeout: Option<Duration>,
    /// How long the upstream may send nothing.
    pub response_timeout: Option<Duration>,
    /// How long an exchange may take.
    pub exchange_timeout: Option<Duration>,
    /// How long the client may send nothing of a body, and read nothing of a response.
    pub idle_timeout: Option<Duration>,
}

/// What happens to an exchange in progress when its token expires or is revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExpiry {
    /// It may be completed: the token was good when the request arrived.
    #[default]
    Continue,
    /// It is ended.
    Close,
}

impl Route {
    /// What it requires of a token, unless it is public.
    pub fn policy(&self) -> Option<&Policy> {
        match &self.requirement {
            Requirement::Protected(policy) => Some(policy),
            Requirement::Public | Requirement::Endpoint(..) => None,
        }
    }

    /// The endpoint of an authorization server that it leads to, if it does, and the rules of that server.
    pub fn endpoint(&self) -> Option<(&Arc<Rules>, Endpoint)> {
        match &self.requirement {
            Requirement::Endpoint(rules, endpoint) => Some((rules, *endpoint)),
            Requirement::Public | Requirement::Protected(_) => None,
        }
    }

    /// Whether a browser shows its answers to a person.
    pub fn is_for_browsers(&self) -> bool {
        self.endpoint().is_some_and(|(_, endpoint)| endpoint.is_for_browsers())
    }

    /// Its CORS rule, or else the usual one. There is none where a browser shows its answers: no script of another origin reads those
    /// (FAPI 2.0 §5.2.3).
    pub fn cors_or<'c>(&'c self, usual: Option<&'c Cors>) -> Option<&'c Cors> {
        self.cors.as_deref().or(usual).filter(|_| !self.is_for_browsers())
    }

    /// Whether it is for this host, which is written as that of an [`Origin`].
    pub fn answers_for(&self, host: &str) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|named| **named == *host)
    }
}

/// A route that matches the target of a request; only [`Routes::find`] makes one.
#[must_use]
#[derive(Clone, Debug)]
pub struct Matched {
    route: Arc<Route>,
    forwarded: Option<Box<ForwardedSegments>>,
}

/// Segments of a path, decoded, each with the header field for it.
#[derive(Clone, Debug)]
struct ForwardedSegments(Vec<(HeaderName, Box<str>)>);

impl Matched {
    fn new(route: Arc<Route>, target: &Target<'_>) -> Self {
        let forwarded = (!route.forward.segments.is_empty()).then(|| {
            let named = route.forward.segments.iter();
            let found = named.filter_map(|(index, name)| Some((name.clone(), target.segment(*index)?.into())));
            Box::new(ForwardedSegments(found.collect()))
        });
        Self { route, forwarded }
    }

    /// The route.
    pub const fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// The segments that the route forwards, decoded, each with the header field for it; without those that have more
    /// than one reading.
    pub(crate) fn forwarded_segments(&self) -> impl Iterator<Item = &(HeaderName, Box<str>)> {
        self.forwarded.iter().flat_map(|forwarded| &forwarded.0)
    }
}

/// All routes, ready to be searched.
#[derive(Debug)]
pub struct Routes {
    all: Vec<Arc<Route>>,
    by_host: HashMap<Box<str>, Node>,
    other_hosts: Node,
}

impl Routes {
    /// Compiles routes; their order does not matter.
    ///
    /// Each host that a route names gets its own tree, which also contains the routes for every host. If both have the
    /// same pattern and method, the route that names the host wins.
    ///
    /// # Errors
    /// [`RouteConflict`] if two routes match the same host, path and method with the same precedence.
    pub fn new(routes: Vec<Route>) -> Result<Self, RouteConflict> {
        let mut claims = HashMap::new();
        for (index, route) in routes.iter().enumerate() {
            for host in hosts_of(route) {
                for method in &route.methods {
                    let paths = (route.pattern.segments(), route.pattern.has_rest());
                    match claims.insert((paths, method, host.clone()), index) {
                        Some(first) if first != index => {
                            let other = routes.get(first).map_or("", |other| other.pattern.as_str());
                            return Err(RouteConflict::new((first, other), index, route, method, host.as_deref()));
                        }
                        Some(_) | None => {}
                    }
                }
            }
        }
        drop(claims);
        let all: Vec<_> = routes.into_iter().map(Arc::new).collect();
        let mut other_hosts = Node::default();
        let mut by_host: HashMap<Box<str>, Node> = HashMap::new();
        for host in all.iter().flat_map(|route| hosts_of(route)).flatten() {
            by_host.entry(host).or_default();
        }
        // In two passes, so that a route that names the host replaces one for every host.
        for route in all.iter().filter(|route| route.hosts.is_empty()) {
            other_hosts.insert(route);
            by_host.values_mut().for_each(|tree| tree.insert(route));
        }
        for route in &all {
            for host in hosts_of(route).into_iter().flatten() {
                by_host.entry(host).or_default().insert(route);
            }
        }
        Ok(Self { all, by_host, other_hosts })
    }

    /// Finds the route that matches `target`.
    ///
    /// Segments are decoded once and compared case-sensitively. From left to right, a literal is preferred to `*` or a
    /// variable, which match the same, and these to `**`. Only the pattern found this way counts: a method that it does
    /// not have is refused, even if a wider pattern has it. A slash at the end of the path is ignored.
    ///
    /// A segment with data ([`PathCharacters::Uri`]) is matched by wildcards alone, and no reading of it may resemble a
    /// literal at the same place.
    ///
    /// # Errors
    /// [`RouteError`], with a route of the pattern if only the method is wrong. A segment that differs from a literal
    /// at the same place only in case is ambiguous, so that no wildcard matches what an upstream may read as that
    /// literal. One that differs by a suffix after a dot is data, unless what the upstream may read it as is protected
    /// in another way than the route that matches.
    pub fn find(&self, target: &Target<'_>) -> Result<Matched, (Option<Arc<Route>>, RouteError)> {
        let tree = self.by_host.get(target.origin().host()).unwrap_or(&self.other_hosts);
        let path = target.received_path();
        let ambiguous = |why| (None, RouteError::PathAmbiguous { why });
        let (leaf, neighbours) = tree.search(path.segments()).map_err(|error| (None, error))?;
        let Some(leaf) = leaf else {
            let why = path.data().or((!neighbours.is_empty()).then_some(RESEMBLES));
            return Err(why.map_or((None, RouteError::NotFound), ambiguous));
        };
        let found = leaf.routes.iter().find(|(method, _)| method == target.method()).map(|(_, route)| route);
        let takes_data = |route: &Arc<Route>| route.path_characters == PathCharacters::Uri;
        if let Some(why) = path.data()
            && !found.map_or_else(|| leaf.routes.iter().any(|(_, route)| takes_data(route)), takes_data)
        {
            return Err(ambiguous(why));
        }
        for end in path.ends() {
            let (other, _) = tree.search(end).map_err(|error| (None, error))?;
            if !other.is_some_and(|other| std::ptr::eq(other, leaf)) {
                return Err(ambiguous("an escape stands for a separator, and what is before it has another route"));
            }
        }
        let Some(route) = found else {
            let route = leaf.routes.first().map(|(_, route)| Arc::clone(route));
            return Err((route, RouteError::MethodNotAllowed { allow: leaf.allow.clone() }));
        };
        if neighbours.iter().any(|neighbour| neighbour.leaf.hides(route, target.method(), neighbour.suffix)) {
            return Err(ambiguous(RESEMBLES));
        }
        Ok(Matched::new(Arc::clone(route), target))
    }

    /// The routes that requests for this host can match, in the order of the configuration.
    pub(crate) fn at_host(&self, host: &str) -> impl Iterator<Item = &Arc<Route>> {
        let tree = self.by_host.get(host).unwrap_or(&self.other_hosts);
        self.all.iter().filter(|route| tree.has(route))
    }

    /// All routes, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.all.iter()
    }
}

/// Two routes that match the same requests with the same precedence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct RouteConflict {
    /// The index of the first one.
    pub first: usize,
    /// The index of the second one.
    pub second: usize,
    /// What they share, and how to resolve it.
    pub detail: String,
}

impl RouteConflict {
    fn new((first, other): (usize, &str), second: usize, route: &Route, method: &Method, host: Option<&str>) -> Self {
        let place = host.map_or_else(|| "every host".to_owned(), |host| format!("host {host:?}"));
        let path = route.pattern.as_str();
        let same = if path == other { String::new() } else { format!(", since {other:?} matches the same paths") };
        let detail =
            format!("{method} {path:?} on {place} has two routes{same}; give each method of a path to one of them");
        Self { first, second, detail }
    }
}

/// A node in the tree of patterns. Only one path leads to it, so a search visits it at most once.
#[derive(Debug, Default)]
struct Node {
    literals: BTreeMap<Box<str>, Self>,
    any: Option<Box<Self>>,
    here: Option<Leaf>,
    rest: Option<Leaf>,
}

impl Node {
    fn insert(&mut self, route: &Arc<Route>) {
        let node = route.pattern.segments().iter().fold(self, |node, segment| match segment {
            Segment::Literal(literal) => node.literals.entry(literal.clone()).or_default(),
            Segment::Any => node.any.get_or_insert_default(),
        });
        let leaf = if route.pattern.has_rest() { &mut node.rest } else { &mut node.here };
        leaf.get_or_insert_default().insert(route);
    }

    /// Whether it has a method for this route, and not only for those that replace it.
    fn has(&self, route: &Arc<Route>) -> bool {
        let node = route.pattern.segments().iter().try_fold(self, |node, segment| match segment {
            Segment::Literal(literal) => node.literals.get(literal),
            Segment::Any => node.any.as_deref(),
        });
        let leaf = node.and_then(|node| if route.pattern.has_rest() { node.rest.as_ref() } else { node.here.as_ref() });
        leaf.is_some_and(|leaf| leaf.routes.iter().any(|(_, other)| Arc::ptr_eq(other, route)))
    }

    /// Returns the most specific leaf for a path, and those that it leads to if a suffix after a dot is left out.
    fn search(&self, segments: Segments<'_>) -> Result<(Option<&Leaf>, Vec<Neighbour<'_>>), RouteError> {
        let mut neighbours = Vec::new();
        let leaf = self.find(segments, &mut neighbours)?;
        Ok((leaf, neighbours))
    }

    fn find<'t>(
        &'t self,
        segments: Segments<'_>,
        neighbours: &mut Vec<Neighbour<'t>>,
    ) -> Result<Option<&'t Leaf>, RouteError> {
        let Some((segment, rest)) = segments.split()? else {
            return Ok(self.here.as_ref().or(self.rest.as_ref()));
        };
        let literal = match segment {
            PathSegment::Canonical(text) => self.literal(text),
            // What a literal matches has one reading.
            PathSegment::Data(_) => None,
        };
        if let Some(node) = literal {
            if let Some(leaf) = node.find(rest, neighbours)? {
                return Ok(Some(leaf));
            }
        } else if !self.literals.is_empty() {
            let (one, several);
            let names: &[Cow<'_, str>] = match &segment {
                PathSegment::Canonical(text) => {
                    one = folded(percent_decode_str(text).decode_utf8_lossy());
                    std::slice::from_ref(&one)
                }
                PathSegment::Data(readings) => {
                    several = readings.names().map(folded).collect::<Vec<_>>();
                    &several
                }
            };
            for (literal, node) in &self.literals {
                match resemblance(names, literal) {
                    None => {}
                    Some(Resemblance::Equal) => {
                        return Err(RouteError::PathAmbiguous { why: RESEMBLES });
                    }
                    Some(Resemblance::Suffix(suffix)) => {
                        let leaf = node.find(rest, neighbours)?;
                        neighbours.extend(leaf.map(|leaf| Neighbour { leaf, suffix }));
                    }
                }
            }
        }
        if let Some(node) = &self.any
            && let Some(leaf) = node.find(rest, neighbours)?
        {
            return Ok(Some(leaf));
        }
        Ok(self.rest.as_ref())
    }

    fn literal(&self, segment: &str) -> Option<&Self> {
        if segment.contains('%') {
            return self
                .literals
                .iter()
                .find(|(literal, _)| percent_decode_str(segment).eq(literal.bytes()))
                .map(|(_, node)| node);
        }
        self.literals.get(segment)
    }
}

/// The routes that an upstream means if it reads a suffix after a dot as the requested format.
struct Neighbour<'t> {
    leaf: &'t Leaf,
    suffix: Suffix,
}

/// The routes of one pattern on one host, by method.
#[derive(Debug, Default)]
struct Leaf {
    routes: Vec<(Method, Arc<Route>)>,
    allow: Box<str>,
}

impl Leaf {
    fn insert(&mut self, route: &Arc<Route>) {
        for method in &route.methods {
            self.routes.retain(|(other, _)| other != method);
            self.routes.push((method.clone(), Arc::clone(route)));
        }
        self.routes.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
        self.allow = self.routes.iter().map(|(method, _)| method.as_str()).collect::<Vec<_>>().join(", ").into();
    }

    /// Whether these routes, taken for `matched` because of a suffix, are protected in another way than it.
    ///
    /// If they are public, or if their policy is the same, then nothing is gained by the confusion. Otherwise the suffix
    /// of a file is data beside another protected route, and the name of a format is not; beside a public route, no
    /// suffix is.
    fn hides(&self, matched: &Route, method: &Method, suffix: Suffix) -> bool {
        let of_method = self.routes.iter().filter(|(other, _)| other == method);
        let Some((_, other)) = of_method.chain(&self.routes).next() else { return false };
        // No endpoint of an authorization server is called by another name than its own.
        if other.endpoint() != matched.endpoint() && (other.endpoint().is_some() || matched.endpoint().is_some()) {
            return other.endpoint().is_some() || other.policy().is_some();
        }
        match (other.policy(), matched.policy()) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(other), Some(policy)) => other != policy && suffix == Suffix::Format,
        }
    }
}

/// The hosts of a route in the form of origins; a single `None` means every host.
fn hosts_of(route: &Route) -> Vec<Option<Box<str>>> {
    if route.hosts.is_empty() {
        return vec![None];
    }
    route.hosts.iter().map(|host| Some(host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase().into())).collect()
}

/// How an upstream may take a segment for a literal that it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resemblance {
    /// It ignores case.
    Equal,
    /// It reads a suffix after a dot as the requested format.
    Suffix(Suffix),
}

/// What follows the dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suffix {
    /// The name of a format that frameworks offer one resource in, or of their own handlers.
    Format,
    /// Anything else, such as `pdf`.
    File,
}

/// Compares what an upstream that ignores case may read a segment as.
fn resemblance(names: &[Cow<'_, str>], literal: &str) -> Option<Resemblance> {
    names.iter().filter_map(|name| resembles(name, literal)).max_by_key(|resemblance| match resemblance {
        Resemblance::Equal => 2,
        Resemblance::Suffix(Suffix::Format) => 1,
        Resemblance::Suffix(Suffix::File) => 0,
    })
}

/// Compares a [folded] name; literals have no characters beyond ASCII.
fn resembles(name: &str, literal: &str) -> Option<Resemblance> {
    let (start, rest) = name.as_bytes().split_at_checked(literal.len())?;
    if !start.eq_ignore_ascii_case(literal.as_bytes()) {
        return None;
    }
    let Some(suffix) = rest.strip_prefix(b".") else {
        return rest.is_empty().then_some(Resemblance::Equal);
    };
    let is_format = |part: &[u8]| FORMATS.iter().any(|format| part.eq_ignore_ascii_case(format.as_bytes()));
    let format = suffix.split(|byte| *byte == b'.').any(is_format);
    Some(Resemblance::Suffix(if format { Suffix::Format } else { Suffix::File }))
}

const RESEMBLES: &str = "a segment resembles one that a route names";

const FORMATS: &[&str] = &[
    "json", "xml", "html", "htm", "xhtml", "yaml", "yml", "csv", "txt", "text", "js", "rss", "atom", "do", "action",
    "jsp", "php", "asp", "aspx",
];

#[cfg(test)]
mod tests {
    use http::request::Parts;
    use http::{Request, Uri, uri};
    use proptest::prelude::*;

    use super::path::ReceivedPath;
    use super::*;
    use crate::code::Code;
    use crate::credentials::Scheme;
    use crate::policy::{IssuerIndex, NonceMode, ScopeRule};

    fn origin(text: &str) -> Arc<Origin> {
        Arc::new(Origin::parse(text).unwrap())
    }

    fn route(name: &str, pattern: &str, methods: &[Method], hosts: &[&str]) -> Route {
        Route {
            hosts: hosts.iter().map(|host| Box::from(*host)).collect(),
            methods: methods.to_vec(),
            ..crate::testing::route(name, pattern, Requirement::Public)
        }
    }

    /// Routes for GET on every host, each named as its pattern.
    fn routes(patterns: &[&str]) -> Routes {
        Routes::new(patterns.iter().map(|pattern| route(pattern, pattern, &[Method::GET], &[])).collect()).unwrap()
    }

    /// A policy that differs from others by its scope alone.
    fn scope(name: &str) -> Requirement {
        let rule = ScopeRule::All(vec![name.into()]);
        let policy = Policy::new(rule, vec![IssuerIndex(0)], vec![Scheme::Bearer], NonceMode::Never).unwrap();
        Requirement::Protected(Arc::new(policy))
    }

    /// Routes for GET on every host, each named as its pattern; the ones with a scope are protected.
    fn guarded(list: &[(&str, Option<&str>)], path_characters: PathCharacters) -> Routes {
        let one = |(pattern, name): &(&str, Option<&str>)| Route {
            requirement: name.map_or(Requirement::Public, scope),
            path_characters,
            ..route(pattern, pattern, &[Method::GET], &[])
        };
        Routes::new(list.iter().map(one).collect()).unwrap()
    }

    fn get(target: &str) -> Parts {
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from(uri::PathAndQuery::try_from(target).unwrap());
        request.into_parts().0
    }

    /// The name of the matching route, or the reason why there is none.
    fn outcome(routes: &Routes, request: &Parts, origin_text: &str) -> Result<String, RouteError> {
        let target = Target::parse_with(request, &origin(origin_text), PathCharacters::Uri)?;
        routes.find(&target).map(|found| found.route().name.to_string()).map_err(|(_, error)| error)
    }

    fn winner(routes: &Routes, path: &str) -> Result<String, Code> {
        outcome(routes, &get(path), "https://api.example").map_err(|error| error.code())
    }

    fn words(text: &'static str) -> Vec<&'static str> {
        text.split(' ').collect()
    }

    #[test]
    fn atk_pt_09_matches_the_path_and_keeps_the_query_as_it_is() {
        let request = get("/public?x=/../protected&x=1;y");
        let target = Target::parse(&request, &origin("https://api.example")).unwrap();
        assert_eq!((target.path(), target.query()), ("/public", Some("x=/../protected&x=1;y")));
        assert_eq!(target.method(), Method::GET);
        let routes = routes(&["/public", "/protected"]);
        assert_eq!(winner(&routes, "/public?x=/../protected"), Ok("/public".into()));
        assert_eq!(winner(&routes, "/public%3Fx"), Err(Code::PathAmbiguous));
    }

    #[test]
    fn atk_pt_10_a_star_takes_one_segment_that_is_not_empty() {
        let routes = routes(&["/accounts/*/balances", "/accounts/*"]);
        assert_eq!(winner(&routes, "/accounts/1"), Ok("/accounts/*".into())); // control
        assert_eq!(winner(&routes, "/accounts/a%20b/balances"), Ok("/accounts/*/balances".into())); // control
        for path in
            ["/accounts/..", "/accounts/a%2Fb", "/accounts//balances", "/accounts/%2e/balances", "/accounts/%2e"]
        {
            assert_eq!(winner(&routes, path), Err(Code::PathAmbiguous), "{path}");
        }
        for path in ["/accounts", "/accounts/", "/accounts/a/b", "/", "/accounts/1/balances/2"] {
            assert_eq!(winner(&routes, path), Err(Code::RouteNotFound), "{path}");
        }
    }

    #[test]
    fn fwd_01_what_no_route_names_is_refused() {
        let some = routes(&["/accounts/**"]);
        assert_eq!(winner(&some, "/accounts"), Ok("/accounts/**".into())); // control
        for path in ["/", "/other", "/other/accounts", "/account", "/accountsx"] {
            assert_eq!(winner(&some, path), Err(Code::RouteNotFound), "{path}");
        }
        assert_eq!(winner(&routes(&[]), "/"), Err(Code::RouteNotFound));
    }

    #[test]
    fn atk_pt_06_the_end_slash_does_not_change_the_route() {
        let routes = routes(&["/", "/accounts", "/accounts/*", "/files/**"]);
        let cases = [
            ("/", "/"),
            ("/accounts", "/accounts"),
            ("/accounts/", "/accounts"),
            ("/accounts/1/", "/accounts/*"),
            ("/files", "/files/**"),
            ("/files/", "/files/**"),
            ("/files/a/b/", "/files/**"),
        ];
        for (path, pattern) in cases {
            assert_eq!(winner(&routes, path), Ok(pattern.into()), "{path}");
        }
    }

    #[test]
    fn atk_pt_06_what_resembles_a_literal_never_reaches_a_wildcard() {
        let secret = Some("secret");
        let list = [("/protected", secret), ("/a/protected/x", secret), ("/a/*", None), ("/a", secret), ("/**", None)];
        let some = guarded(&list, PathCharacters::Strict);
        for (path, pattern) in [
            ("/protected", "/protected"),
            ("/protected2", "/**"),
            ("/a/b", "/a/*"),
            ("/protecte", "/**"),
            ("/protected-x", "/**"),
            ("/a.json/b", "/**"),         // `/a/b` is public
            ("/protected.json/x", "/**"), // as is `/protected/x`
        ] {
            assert_eq!(winner(&some, path), Ok(pattern.into()), "{path}"); // control
        }
        let paths = words(
            "/Protected /PROTECTED /protected.json /Protected.JSON /protected.a.b /Protected/ \
             /A /a/Protected/x /a/protected.json/x /A/protected/x /a/protected/X",
        );
        for path in paths {
            assert_eq!(winner(&some, path), Err(Code::PathAmbiguous), "{path}");
        }
        // Beyond ASCII too: the dotless and the dotted i, and the letter that is SS in upper case.
        let some = guarded(&[("/secret/*/details", secret), ("/pass", secret), ("/**", None)], PathCharacters::Strict);
        for path in ["/secret/1/deta%C3%ADls", "/secret/1/deta%C4%B1", "/secre%C5%A7/1/details", "/pa%C3%9Fs"] {
            assert_eq!(winner(&some, path), Ok("/**".into()), "{path}"); // control
        }
        for path in words(
            "/secret/1/deta%C4%B1ls /secret/1/deta%C4%B0ls /SECRET/1/DETA%C4%B0LS /secret/1/deta%C4%B1ls.json /pa%C3%9F \
             /PA%C3%9F.JSON",
        ) {
            assert_eq!(winner(&some, path), Err(Code::PathAmbiguous), "{path}");
        }
        // Protected in another way, a format is not data, and a file is; what only ignores case is never data.
        let some = guarded(&[("/protected", secret), ("/**", Some("other"))], PathCharacters::Strict);
        for (path, found) in [
            ("/protected.pdf", Ok("/**".to_owned())), // control
            ("/protected.json", Err(Code::PathAmbiguous)),
            ("/protected.JSON", Err(Code::PathAmbiguous)),
            ("/Protected.xml", Err(Code::PathAmbiguous)),
            ("/protected.json.pdf", Err(Code::PathAmbiguous)),
            ("/protected.pdf.json/x", Ok("/**".to_owned())), // `/protected/x` has the same route
            ("/PROTECTED", Err(Code::PathAmbiguous)),
        ] {
            assert_eq!(winner(&some, path), found, "{path}");
        }
        // Equal to one literal and similar to another: equality decides.
        let both = routes(&["/report", "/report.pdf", "/Report", "/*"]);
        for path in ["/report", "/report.pdf", "/Report"] {
            assert_eq!(winner(&both, path), Ok(path.into()));
        }
        assert_eq!(winner(&both, "/REPORT"), Err(Code::PathAmbiguous));
    }

    #[test]
    fn fwd_05_a_file_beside_a_route_is_data() {
        let reports =
            |literal, wildcard| guarded(&[("/files/report", literal), ("/files/*", wildcard)], PathCharacters::Strict);
        let (one, two) = (Some("one"), Some("two"));
        for (literal, wildcard, data) in [
            (None, None, true),
            (None, one, true),
            (one, one, true),
            (one, two, true),
            (one, None, false), // an upstream that reads the suffix as a format would give away what is protected
        ] {
            let wanted = if data { Ok("/files/*".to_owned()) } else { Err(Code::PathAmbiguous) };
            let routes = reports(literal, wildcard);
            assert_eq!(winner(&routes, "/files/report.pdf"), wanted, "{literal:?} {wildcard:?}");
            assert_eq!(winner(&routes, "/files/report"), Ok("/files/report".into()));
        }
        assert_eq!(winner(&reports(one, one), "/files/report.json"), Ok("/files/*".into())); // control
        assert_eq!(
            winner(&guarded(&[("/files/report", one)], PathCharacters::Strict), "/files/report.pdf"),
            Err(Code::PathAmbiguous)
        );
        assert_eq!(winner(&reports(one, two), "/files/report.json"), Err(Code::PathAmbiguous));
        assert_eq!(winner(&reports(one, one), "/files/Report"), Err(Code::PathAmbiguous));
    }

    #[test]
    fn fwd_05_a_route_beside_a_file_counts_for_its_own_methods() {
        let one = |pattern: &str, method: Method, name: &str| Route {
            requirement: scope(name),
            ..route(&format!("{method} {pattern}"), pattern, &[method], &[])
        };
        let routes = Routes::new(vec![
            one("/files/report", Method::GET, "one"),
            one("/files/report", Method::POST, "two"),
            one("/files/*", Method::GET, "one"),
            one("/files/*", Method::POST, "one"),
            one("/files/*", Method::PUT, "one"),
        ])
        .unwrap();
        let find = |method: Method| {
            let mut request = get("/files/report.json");
            request.method = method;
            outcome(&routes, &request, "https://api.example").map_err(|error| error.code())
        };
        assert_eq!(find(Method::GET), Ok("GET /files/*".into()));
        assert_eq!(find(Method::POST), Err(Code::PathAmbiguous));
        assert_eq!(find(Method::PUT), Ok("PUT /files/*".into()), "the first route of another method has its policy");
    }

    #[test]
    fn fwd_05_data_is_for_the_wildcards_of_a_route_that_takes_it() {
        let list = [("/files/**", None), ("/files/*/parts", None), ("/only", None)];
        let (strict, uri) = (guarded(&list, PathCharacters::Strict), guarded(&list, PathCharacters::Uri));
        for segment in [
            "100%25",
            "a;v=1",
            "a%3Bb",
            "%7Euser",
            "%41",
            "what%3F.pdf",
            "C%23",
            "a.",
            "a%20",
            "%20a",
            "%EF%AC%81",
            "1%C2%BD",
            "%F0%9F%91%A9%E2%80%8D%F0%9F%92%BB",
            "a%E2%80%8Bb",
            "Q&A%3b",
            "%2541",
        ] {
            let path = format!("/files/{segment}");
            assert_eq!(winner(&uri, &path), Ok("/files/**".into()), "{path}"); // control
            assert_eq!(winner(&strict, &path), Err(Code::PathAmbiguous), "{path}");
            assert_eq!(winner(&uri, &format!("/{segment}/a")), Err(Code::PathAmbiguous), "no route: {segment}");
        }
        assert_eq!(winner(&uri, "/files/a;v=1/parts"), Ok("/files/*/parts".into()));
        assert_eq!(winner(&uri, "/files/a;v=1/parts/"), Ok("/files/*/parts".into()));
        // Literal segments stay strict, whatever follows.
        for path in
            ["/%66iles/a", "/files;x/a", "/only;x", "/%6Fnly", "/files/a/part%73", "/files/a/parts;x", "/only%3Fx"]
        {
            assert_eq!(winner(&uri, path), Err(Code::PathAmbiguous), "{path}");
        }
        // Only the route that matches counts, by method too.
        let post = route("post", "/files/**", &[Method::POST], &[]);
        let take = Route { path_characters: PathCharacters::Uri, ..route("get", "/files/**", &[Method::GET], &[]) };
        let both = Routes::new(vec![post, take]).unwrap();
        let find = |method: Method| {
            let mut request = get("/files/a;b");
            request.method = method;
            outcome(&both, &request, "https://api.example").map_err(|error| error.code())
        };
        assert_eq!(find(Method::GET), Ok("get".into())); // control
        assert_eq!(find(Method::POST), Err(Code::PathAmbiguous));
        assert_eq!(find(Method::PUT), Err(Code::MethodNotAllowed));
    }

    #[test]
    fn atk_pt_07_no_data_becomes_another_route() {
        let list = [("/files/**", None), ("/files/secret", None), ("/files/*/parts", None), ("/files/x/*", None)];
        let uri = guarded(&list, PathCharacters::Uri);
        for path in ["/files/secre;t", "/files/secret-x;y", "/files/a%3Fb", "/files/y/a;b", "/files/secrets%2541"] {
            assert_eq!(winner(&uri, path), Ok("/files/**".into()), "{path}"); // control
        }
        let names = words(
            "secret;x secret%3Bx secret%253Bx %73ecret %2573ecret %53ECRET SECRET;x secret. secret%20 secret.;x \
             secret%3Fx secret%2523x %EF%BD%93ecret secret%E2%80%8B s%C2%ADecret%7E..%252F.. %C5%BFecret %E2%84%AAx%2F",
        );
        for name in names {
            assert_eq!(winner(&uri, &format!("/files/{name}")), Err(Code::PathAmbiguous), "{name}");
            assert_eq!(winner(&uri, &format!("/files/{name}/")), Err(Code::PathAmbiguous), "{name}");
        }
        for path in words(
            "/files/..;/secret /files/a%2F..%2Fsecret /files/a%252F..%252Fsecret /files/%25%32%46 /files/%2e%2e;x/secret \
             /files/a/..;x /files/..%3B/secret /files/%252e%252e/secret /files/%c0%ae%c0%ae;/x /files/%00 /files/a;%0a \
             /files/a%2500b /files/;/secret /files/;a /files//a;b /files/a;b//c /files/a%3B/../secret /files/a;\\b \
             /files/a%5C;b /files/e%CC%81;a /files/a;%zz /files/\u{e9};a /files/a%u002F;b /files/%25u002Fa",
        ) {
            assert_eq!(winner(&uri, path), Err(Code::PathAmbiguous), "{path}");
        }
        // An upstream that parses a decoded path again ends it at the question mark: `/files/a` has another route than
        // `/files/a/parts`.
        assert_eq!(winner(&uri, "/files/a;b/parts"), Ok("/files/*/parts".into())); // control
        assert_eq!(winner(&uri, "/files/a%3Fb/parts"), Err(Code::PathAmbiguous));
        assert_eq!(winner(&uri, "/files/a%2523b/parts"), Err(Code::PathAmbiguous));
        assert_eq!(winner(&uri, "/files/a%3Fb/other"), Ok("/files/**".into()));
        // The letter that only upper case turns into one of ASCII.
        let admin = guarded(&[("/admin", None), ("/**", None)], PathCharacters::Uri);
        assert_eq!(winner(&admin, "/adm%C4%B1m;x"), Ok("/**".into())); // control
        assert_eq!(winner(&admin, "/adm%C4%B1n;x"), Err(Code::PathAmbiguous));
    }

    #[test]
    fn segments_compare_once_decoded() {
        let some = routes(&["/a+b", "/x:y/z", "/**"]);
        assert_eq!(winner(&some, "/a+b"), Ok("/a+b".into())); // control
        assert_eq!(winner(&some, "/a%2Bb"), Ok("/a+b".into()));
        assert_eq!(winner(&some, "/x%3ay/z/"), Ok("/x:y/z".into()));
        assert_eq!(winner(&some, "/A%2bb"), Err(Code::PathAmbiguous));
        assert_eq!(winner(&some, "/a%20b"), Ok("/**".into()));
    }

    #[test]
    fn atk_pt_11_methods_are_those_of_the_most_specific_pattern_alone() {
        let some = || {
            vec![
                route("read", "/accounts/*", &[Method::HEAD, Method::GET], &[]),
                route("write", "/accounts/*", &[Method::POST], &[]),
                route("rest", "/**", &[Method::GET, Method::DELETE], &[]),
                route("get", "/only", &[Method::GET], &[]),
            ]
        };
        let routes = Routes::new(some()).unwrap();
        let find = |method: &str, path| {
            let mut request = get(path);
            request.method = Method::from_bytes(method.as_bytes()).unwrap();
            outcome(&routes, &request, "https://api.example")
        };
        assert_eq!(find("GET", "/accounts/1"), Ok("read".into())); // control
        assert_eq!(find("POST", "/accounts/1"), Ok("write".into())); // control
        assert_eq!(find("DELETE", "/x"), Ok("rest".into())); // control
        let refused = |allow: &str| Err(RouteError::MethodNotAllowed { allow: allow.into() });
        for method in ["DELETE", "get", "GETX", "PROPFIND", "OPTIONS"] {
            assert_eq!(find(method, "/accounts/1"), refused("GET, HEAD, POST"), "{method}");
        }
        assert_eq!(find("HEAD", "/only"), refused("GET"));
        let mut request = get("/accounts/1");
        request.method = Method::DELETE;
        let target = Target::parse(&request, &origin("https://api.example")).unwrap();
        let (route, error) = routes.find(&target).err().unwrap();
        assert_eq!((route.unwrap().pattern.as_str(), error.code()), ("/accounts/*", Code::MethodNotAllowed));
    }

    #[test]
    fn a_route_that_names_the_host_wins_over_one_for_every_host() {
        let all = || {
            vec![
                route("a", "/x", &[Method::GET], &["A.example."]),
                route("every", "/x", &[Method::GET, Method::POST], &[]),
                route("only-b", "/y", &[Method::GET], &["b.example"]),
                route("rest", "/**", &[Method::GET], &[]),
            ]
        };
        for reverse in [false, true] {
            let mut list = all();
            if reverse {
                list.reverse();
            }
            let routes = Routes::new(list).unwrap();
            let find = |method: Method, host: &str, path: &str| {
                let mut request = get(path);
                request.method = method;
                outcome(&routes, &request, &format!("https://{host}")).map_err(|error| error.code())
            };
            assert_eq!(find(Method::GET, "a.example", "/x"), Ok("a".into()));
            assert_eq!(find(Method::GET, "a.example:8443", "/x"), Ok("a".into()));
            assert_eq!(find(Method::POST, "a.example", "/x"), Ok("every".into()));
            assert_eq!(find(Method::GET, "b.example", "/x"), Ok("every".into()));
            assert_eq!(find(Method::GET, "c.example", "/x"), Ok("every".into()));
            assert_eq!(find(Method::GET, "b.example", "/y"), Ok("only-b".into()));
            assert_eq!(find(Method::GET, "a.example", "/y"), Ok("rest".into()));
            assert_eq!(find(Method::PUT, "a.example", "/x"), Err(Code::MethodNotAllowed));
            assert_eq!(routes.iter().count(), 4);
        }
    }

    #[test]
    fn two_routes_with_equal_right_are_a_conflict() {
        let pair = |hosts: [&[&str]; 2], methods: [&[Method]; 2], patterns: [&str; 2]| {
            let other = route("other", "/other", &[Method::GET], &[]);
            let one = route("one", patterns[0], methods[0], hosts[0]);
            Routes::new(vec![one, other, route("two", patterns[1], methods[1], hosts[1])]).err()
        };
        let get: &[Method] = &[Method::GET];
        let both: &[Method] = &[Method::POST, Method::GET];
        assert_eq!(pair([&[], &[]], [get, &[Method::POST]], ["/a", "/a"]), None); // control
        assert_eq!(pair([&[], &[]], [get, get], ["/a", "/a/**"]), None); // control
        assert_eq!(pair([&["x"], &["y"]], [get, get], ["/a", "/a"]), None); // control
        assert_eq!(pair([&["x"], &[]], [get, get], ["/a", "/a"]), None); // control
        assert_eq!(pair([&["x", "X"], &[]], [&[Method::GET, Method::GET], get], ["/a", "/a"]), None); // control
        let conflict = pair([&[], &[]], [get, both], ["/a", "/a"]).unwrap();
        assert_eq!((conflict.first, conflict.second), (0, 2));
        let text = "GET \"/a\" on every host has two routes; give each method of a path to one of them";
        assert_eq!(conflict.to_string(), text);
        let conflict = pair([&["x", "y"], &["Y."]], [both, get], ["/a", "/a"]).unwrap();
        let text = "GET \"/a\" on host \"y\" has two routes; give each method of a path to one of them";
        assert_eq!(conflict.to_string(), text);
        // What a variable is called does not tell two routes apart.
        assert_eq!(pair([&[], &[]], [get, &[Method::POST]], ["/a/{b}", "/a/{c}"]), None); // control
        assert_eq!(pair([&[], &[]], [get, get], ["/a/{b}", "/a/{b}/**"]), None); // control
        for patterns in [["/a/{b}", "/a/{c}"], ["/a/{b}", "/a/*"], ["/*/{b}/**", "/{a}/*/**"]] {
            let conflict = pair([&[], &[]], [get, get], patterns).unwrap();
            let text = format!(
                "GET {:?} on every host has two routes, since {:?} matches the same paths; give each method of a path to one of them",
                patterns[1], patterns[0]
            );
            assert_eq!(conflict.to_string(), text);
        }
    }

    #[test]
    fn a_variable_matches_what_a_star_matches() {
        let patterns = ["/{a}/**", "/accounts/**", "/accounts/{id}", "/accounts/me", "/accounts/{id}/balances"];
        let routes = routes(&patterns);
        for (path, found) in [
            ("/accounts/me", Ok("/accounts/me")),     // a literal before a variable
            ("/accounts/1001", Ok("/accounts/{id}")), // a variable before `**`
            ("/accounts/1001/", Ok("/accounts/{id}")),
            ("/accounts/caf%C3%A9", Ok("/accounts/{id}")),
            ("/accounts/1001/balances", Ok("/accounts/{id}/balances")),
            ("/accounts/me/balances", Ok("/accounts/{id}/balances")),
            ("/accounts/1001/other", Ok("/accounts/**")),
            ("/accounts", Ok("/accounts/**")),
            ("/payments/1", Ok("/{a}/**")),
            ("/", Err(Code::RouteNotFound)),
            ("/accounts/ME", Err(Code::PathAmbiguous)),
            ("/accounts/%31001", Err(Code::PathAmbiguous)),
            ("/accounts/1001;v=1", Err(Code::PathAmbiguous)),
            ("/accounts/a%2Fb", Err(Code::PathAmbiguous)),
            ("/accounts//balances", Err(Code::PathAmbiguous)),
        ] {
            assert_eq!(winner(&routes, path), found.map(str::to_owned), "{path}");
        }
    }

    #[test]
    fn atk_pt_12_the_same_route_wins_in_every_order_of_configuration() {
        let patterns = ["/**", "/a/**", "/a/*", "/a/b", "/*/b/**", "/a/*/c"];
        let expected = [
            ("/", Ok("/**")),
            ("/x", Ok("/**")),
            ("/a", Ok("/a/**")),
            ("/a/x", Ok("/a/*")),
            ("/a/b", Ok("/a/b")),
            ("/a/b/", Ok("/a/b")),
            ("/a/b/c", Ok("/a/*/c")),
            ("/a/x/c", Ok("/a/*/c")),
            ("/a/x/d", Ok("/a/**")),
            ("/a/b/d", Ok("/a/**")),
            ("/x/b", Ok("/*/b/**")),
            ("/x/b/c/d", Ok("/*/b/**")),
            ("/x/y", Ok("/**")),
            ("/A/b", Err(Code::PathAmbiguous)),
            ("/x/B", Err(Code::PathAmbiguous)),
        ];
        let mut orders = 0;
        permute(&mut patterns.to_vec(), 0, &mut |order| {
            let routes = routes(order);
            for (path, pattern) in &expected {
                assert_eq!(winner(&routes, path), pattern.map(str::to_owned), "{path} of {order:?}");
            }
            orders += 1;
        });
        assert_eq!(orders, 720);
    }

    fn permute<'a>(items: &mut Vec<&'a str>, from: usize, visit: &mut impl FnMut(&[&'a str])) {
        if from == items.len() {
            return visit(items);
        }
        for at in from..items.len() {
            items.swap(from, at);
            permute(items, from + 1, visit);
            items.swap(from, at);
        }
    }

    /// Routes for GET or POST by small patterns, so that many overlap, with some limited to a host.
    fn some_routes() -> impl Strategy<Value = Vec<(String, bool, bool)>> {
        let segment = prop::sample::select(vec!["a", "b", "c", "*"]);
        let pattern = (prop::collection::vec(segment, 0..4), any::<bool>()).prop_map(|(segments, rest)| {
            let text = segments
                .iter()
                .chain(rest.then_some(&"**"))
                .fold(String::new(), |text, segment| format!("{text}/{segment}"));
            if text.is_empty() { "/".to_owned() } else { text }
        });
        prop::collection::vec((pattern, any::<bool>(), any::<bool>()), 0..8)
    }

    fn build(list: &[(String, bool, bool)]) -> Result<Routes, RouteConflict> {
        let one = |(pattern, post, limited): &(String, bool, bool)| {
            let method = if *post { Method::POST } else { Method::GET };
            let hosts: &[&str] = if *limited { &["h.example"] } else { &[] };
            route(&format!("{method} {pattern} {limited}"), pattern, &[method], hosts)
        };
        Routes::new(list.iter().map(one).collect())
    }

    /// The precedence of a pattern for a path that it matches, lowest first; `None` if it does not match.
    fn rank(pattern: &str, path: &str) -> Option<Vec<u8>> {
        let mut wanted = pattern.split('/').filter(|segment| !segment.is_empty());
        let mut given = path.split('/').filter(|segment| !segment.is_empty());
        let mut rank = Vec::new();
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return Some(rank),
                (Some("**"), _) => {
                    rank.push(2);
                    return Some(rank);
                }
                (Some("*"), Some(_)) => rank.push(1),
                (Some(literal), Some(segment)) if literal == segment => rank.push(0),
                (_, _) => return None,
            }
        }
    }

    /// Segments of fragments that become letters of literals, separators and dots in some reading.
    fn data_paths() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(words(
            "a b A x %61 %2561 %25 ; %3B %253B %3F %23 %253F %20 . %2e %252e %2F %252F %5C %EF%BD%81 %E2%80%8B %7E ~ %25%32%46 \
             %C3%A9 .json %EF%BC%8F %EF%BC%85 ;a %00",
        ));
        let segment = prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat());
        let plain = prop::sample::select(words("a b c x")).prop_map(str::to_owned);
        prop::collection::vec(prop_oneof![2 => plain, 3 => segment], 1..4)
            .prop_map(|segments| format!("/{}", segments.join("/")))
    }

    /// One thing that an upstream may do to a path before it looks for a handler.
    fn misread(path: &str, how: usize) -> String {
        let decoded = percent_decode_str(path).decode_utf8_lossy().into_owned();
        let by_segment = |change: &dyn Fn(&str) -> String| path.split('/').map(change).collect::<Vec<_>>().join("/");
        match how {
            0 | 1 => decoded,
            2 => by_segment(&|segment| segment.split(';').next().unwrap_or_default().to_owned()),
            3 => path.split(['?', '#']).next().unwrap_or_default().to_owned(),
            4 => icu_normalizer::ComposingNormalizerBorrowed::new_nfkc().normalize(path).into_owned(),
            5 => path.replace('\\', "/").replace('\u{200b}', ""),
            6 => by_segment(&|segment| segment.trim_matches(' ').trim_end_matches(['.', ' ']).to_owned()),
            7 => path.to_lowercase(),
            _ => {
                let mut out = Vec::new();
                for segment in path.split('/') {
                    match segment {
                        "" | "." => {}
                        ".." => drop(out.pop()),
                        _ => out.push(segment),
                    }
                }
                format!("/{}", out.join("/"))
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn atk_pt_07_what_matched_is_what_every_upstream_reads(
            list in some_routes(),
            path in data_paths(),
            steps in prop::collection::vec(0..9_usize, 0..7),
        ) {
            let patterns: std::collections::BTreeSet<_> = list.iter().map(|(pattern, _, _)| pattern.as_str()).collect();
            let routes: Vec<_> = patterns.iter().map(|pattern| (*pattern, None)).collect();
            let found = winner(&guarded(&routes, PathCharacters::Uri), &path);
            let Ok(found) = found else { return Ok(()) };
            let mut decodings = 0;
            let mut read = path.clone();
            for step in steps {
                decodings += usize::from(step < 2);
                if decodings <= 2 || step >= 2 {
                    read = misread(&read, step);
                }
            }
            let best = patterns.iter().filter_map(|pattern| rank(pattern, &read).map(|rank| (rank, *pattern))).min();
            prop_assert_eq!(best.map(|(_, pattern)| pattern), Some(&*found), "{} read as {}", path, read);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>(), ascii in "[ -~]{0,24}") {
            for text in [&text, &ascii] {
                let _ = CanonicalPath::parse(text);
                let _ = CanonicalPath::parse(&format!("/{text}"));
                let _ = Origin::parse(text);
                let _ = Origin::parse(&format!("https://{text}"));
                let _ = Pattern::parse(text);
                let _ = Pattern::parse(&format!("/{text}"));
                let _ = Authority::parse(text);
                let _ = resembles(text, "a");
                let _ = ReceivedPath::parse(&format!("/{text}"), PathCharacters::Uri);
            }
        }

        #[test]
        fn atk_pt_12_what_is_found_does_not_depend_on_the_order(
            (list, shuffled) in some_routes().prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle())),
            path in "/|(/[abcA]){1,4}/?",
            host in prop::sample::select(vec!["https://h.example", "https://other.example"]),
        ) {
            let (one, other) = (build(&list), build(&shuffled));
            prop_assert_eq!(one.is_err(), other.is_err());
            let (Ok(one), Ok(other)) = (one, other) else { return Ok(()) };
            let request = get(&path);
            prop_assert_eq!(outcome(&one, &request, host), outcome(&other, &request, host));
        }

        #[test]
        fn atk_pt_06_another_case_or_suffix_never_evades_a_policy(
            list in some_routes(),
            path in "(/[abcd]){1,4}",
            upper in 0..9_usize,
            suffix in prop::sample::select(words("- .json .a.b / .pdf"))
        ) {
            // The first letter of the pattern decides about the policy, so that neighbours often differ.
            let names: std::collections::BTreeSet<_> = list.iter().map(|(pattern, _, _)| pattern.as_str()).collect();
            let policy = |pattern: &str| match pattern.len() % 3 { 0 => None, 1 => Some("one"), _ => Some("two") };
            let routes: Vec<_> = names.iter().map(|pattern| (*pattern, policy(pattern))).collect();
            let routes = guarded(&routes, PathCharacters::Strict);
            let plain = winner(&routes, &path);
            let shouted: String =
                path.char_indices().map(|(at, c)| if at == upper { c.to_ascii_uppercase() } else { c }).collect();
            let twin = winner(&routes, &format!("{shouted}{}", suffix.trim_matches('-')));
            let harmless = match (&plain, &twin) {
                (_, Err(_)) => true,
                (Ok(plain), Ok(twin)) => {
                    let (plain_policy, twin_policy) = (policy(plain), policy(twin));
                    plain == twin || plain_policy.is_none() || plain_policy == twin_policy
                        || twin_policy.is_some() && suffix != ".json"
                }
                (Err(_), Ok(_)) => false,
            };
            prop_assert!(harmless, "{twin:?} for {plain:?}");
        }

        #[test]
        fn atk_pt_12_the_most_specific_pattern_decides(list in some_routes(), path in "(/[abcd]){1,4}/?") {
            let Ok(routes) = build(&list) else { return Ok(()) };
            let best = list.iter().filter_map(|(pattern, _, _)| rank(pattern, &path).map(|rank| (rank, pattern))).min();
            let found = outcome(&routes, &get(&path), "https://h.example");
            match (best, found) {
                (None, found) => prop_assert_eq!(found, Err(RouteError::NotFound)),
                (Some((_, pattern)), Ok(name)) => {
                    let limited = list.contains(&(pattern.clone(), false, true));
                    prop_assert_eq!(name, format!("GET {pattern} {limited}"));
                }
                (Some((_, pattern)), Err(error)) => {
                    prop_assert_eq!(error, RouteError::MethodNotAllowed { allow: "POST".into() });
                    prop_assert!(!list.iter().any(|(other, post, _)| other == pattern && !post));
                }
            }
        }

    }
}
