//! Target and route: where a request is sent to, byte for byte, and which route answers for it (RFC 3986 §3.3, §6).
//!
//! A path has one reading, or it is refused: nothing here repairs a path, so what was matched is what is forwarded. What
//! no route names is refused too.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderName, Method};
use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapDataBorrowed, CodePointSetDataBorrowed};
use percent_encoding::percent_decode_str;

use super::code::Code;
use super::policy::{Guard, Permit, Policy};
use super::text::{is_unreserved, read_escape};

/// A public origin of a listener: scheme, host, port, and the path prefix that an outer proxy removes.
///
/// The base of every `htu`; it comes from the configuration, never from `Host` (RFC 9449 §4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    text: Box<str>,
    host: Box<str>,
    port: u16,
    prefix: Box<str>,
}

impl Origin {
    /// Reads `https://host[:port][/prefix]`.
    ///
    /// Scheme and host are put in lower case; port 443, a dot after the host and one slash at the end are left out
    /// (RFC 3986 §6.2.2.1, §6.2.3).
    ///
    /// # Errors
    /// [`OriginError`], which names the part that does not belong there.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        if !scheme.eq_ignore_ascii_case("https") {
            return Err(OriginError::NotHttps { text: text.into() });
        }
        for (sign, part) in [('?', "query"), ('#', "fragment"), ('@', "userinfo")] {
            if rest.contains(sign) {
                return Err(OriginError::Surplus { text: text.into(), part });
            }
        }
        let (authority, path) = rest.find('/').and_then(|at| rest.split_at_checked(at)).unwrap_or((rest, "/"));
        let authority = Authority::parse(authority).map_err(|why| OriginError::Host { text: text.into(), why })?;
        let path = CanonicalPath::read(path).map_err(|why| OriginError::Prefix { text: text.into(), why })?;
        let host = match authority.address() {
            Some(address) => format!("[{address}]"),
            None => authority.host.to_ascii_lowercase(),
        };
        let port = authority.port.unwrap_or(HTTPS_PORT);
        let prefix = path.0.strip_suffix('/').unwrap_or(path.0);
        let text = if port == HTTPS_PORT {
            format!("https://{host}{prefix}")
        } else {
            format!("https://{host}:{port}{prefix}")
        };
        Ok(Self { text: text.into(), host: host.into(), port, prefix: prefix.into() })
    }

    /// The origin with its prefix and without a slash at the end, such as `https://api.bank.example`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Host and, unless it is 443, port: what `Host` must say.
    pub fn authority(&self) -> &str {
        let bare = self.text.strip_suffix(&*self.prefix).unwrap_or(&self.text);
        bare.strip_prefix("https://").unwrap_or(bare)
    }

    /// The host in lower case, an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the host is an IP address; clients that ask for one send no server name in TLS.
    pub fn is_address(&self) -> bool {
        self.host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
    }

    /// The port; 443 when the configuration names none.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The path that an outer proxy removes: empty, or it begins with a slash and does not end in one.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

/// Why a text is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Another scheme, or none.
    #[error("{text:?} is not https; write \"https://\", the host, and the port if it is not 443")]
    NotHttps {
        /// The text as it was written.
        text: Box<str>,
    },
    /// A part that an origin does not have.
    #[error("{text:?} has a {part}; leave it out")]
    Surplus {
        /// The text as it was written.
        text: Box<str>,
        /// The part.
        part: &'static str,
    },
    /// No host, or no port, where one should stand.
    #[error("{text:?} has no usable host: {why}; write it as clients send it in Host")]
    Host {
        /// The text as it was written.
        text: Box<str>,
        /// What is wrong.
        why: &'static str,
    },
    /// A path prefix with more than one reading.
    #[error("{text:?} has a path prefix that can be read in more than one way: {why}; write it as clients send it")]
    Prefix {
        /// The text as it was written.
        text: Box<str>,
        /// What is wrong.
        why: &'static str,
    },
}

/// All origins of one listener.
#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<Arc<Origin>>);

impl Origins {
    /// Gathers origins; of two with the same host and port the first answers.
    pub const fn new(origins: Vec<Arc<Origin>>) -> Self {
        Self(origins)
    }

    /// The origin with this host and port; no port is port 443.
    ///
    /// Hosts compare without case and without one dot at the end (RFC 3986 §6.2.2.1, RFC 1034 §3.1).
    pub fn find(&self, host: &str, port: Option<u16>) -> Option<&Arc<Origin>> {
        let port = port.unwrap_or(HTTPS_PORT);
        self.0.iter().find(|origin| origin.port == port && same_host(&origin.host, host))
    }

    /// Whether one of them has this host, whatever its port; compared as in [`Origins::find`].
    pub fn has_host(&self, host: &str) -> bool {
        self.0.iter().any(|origin| same_host(&origin.host, host))
    }

    /// Every origin, as configured.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Origin>> {
        self.0.iter()
    }
}

/// A path exactly as it was received, proven to have one reading.
///
/// Its segments are the same after decoding once or twice, after removing dot segments or empty segments, and after
/// Unicode normalisation. Whether a segment merely resembles one that a route names is for [`Routes::find`] to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanonicalPath<'r>(&'r str);

impl<'r> CanonicalPath<'r> {
    /// Takes a path as it stands in the request target.
    ///
    /// # Errors
    /// [`RouteError::PathAmbiguous`] for any path that a decoder, normaliser or file system behind us could read as
    /// another.
    pub fn parse(path: &'r str) -> Result<Self, RouteError> {
        Self::read(path).map_err(|why| RouteError::PathAmbiguous { why })
    }

    /// The bytes as received.
    pub const fn as_str(self) -> &'r str {
        self.0
    }

    fn read(path: &'r str) -> Result<Self, &'static str> {
        let segments = path.strip_prefix('/').ok_or("it does not begin with a slash")?;
        let mut escaped = false;
        let mut segments = segments.split('/').peekable();
        while let Some(segment) = segments.next() {
            if segment.is_empty() && segments.peek().is_some() {
                return Err("it has an empty segment");
            }
            // RFC 3986 §3.3: "The path segments "." and "..", also known as dot-segments, are defined for relative
            // reference". A dot at the end of any other segment is dropped by some file systems.
            if segment.ends_with('.') {
                return Err("a segment is, or ends in, a dot");
            }
            if segment.starts_with("%20") || segment.ends_with("%20") {
                return Err("a segment begins or ends with a space");
            }
            escaped |= check_bytes(segment)?;
        }
        if escaped {
            check_text(path)?;
        }
        Ok(Self(path))
    }

    /// The segments to match, joined by slashes; one slash at the end belongs to none of them.
    fn segments(self) -> Segments<'r> {
        let path = self.0.strip_prefix('/').unwrap_or(self.0);
        let path = path.strip_suffix('/').unwrap_or(path);
        Segments((!path.is_empty()).then_some(path))
    }
}

/// What is requested: method, canonical path and query, of a known origin.
#[derive(Clone, Debug)]
pub struct Target<'r> {
    method: &'r Method,
    path: CanonicalPath<'r>,
    query: Option<&'r str>,
    origin: Arc<Origin>,
}

impl<'r> Target<'r> {
    /// Reads method and target of `request`, whose host was found to be that of `origin`.
    ///
    /// The query is passed on as it is: no route depends on it.
    ///
    /// # Errors
    /// [`RouteError::PathAmbiguous`], as [`CanonicalPath::parse`]; also for a target without a path and for `*`.
    pub fn parse(request: &'r Parts, origin: &Arc<Origin>) -> Result<Self, RouteError> {
        let target = request.uri.path_and_query().ok_or(RouteError::PathAmbiguous { why: "there is none" })?;
        // `path()` of "?x" is "/", but what is forwarded begins with the question mark: ask the whole target.
        if !target.as_str().starts_with('/') {
            return Err(RouteError::PathAmbiguous { why: "it does not begin with a slash" });
        }
        let path = CanonicalPath::parse(target.path())?;
        Ok(Self { method: &request.method, path, query: target.query(), origin: Arc::clone(origin) })
    }

    /// The method.
    pub const fn method(&self) -> &'r Method {
        self.method
    }

    /// The path as received.
    pub const fn path(&self) -> &'r str {
        self.path.as_str()
    }

    /// The query as received, without its question mark.
    pub const fn query(&self) -> Option<&'r str> {
        self.query
    }

    /// The origin it is sent to.
    pub const fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// The `htu` that a proof for this request must name: the HTTP target URI "without query and fragment parts"
    /// (RFC 9449 §4.2).
    pub fn htu(&self) -> String {
        format!("{}{}", self.origin.text, self.path.0)
    }
}

/// Why a request has no route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The path has more than one reading.
    #[error("the path can be read in more than one way: {why}")]
    PathAmbiguous {
        /// What the other reading comes from.
        why: &'static str,
    },
    /// Nothing that is configured matches.
    #[error("no route matches host and path")]
    NotFound,
    /// The pattern that matches has no route for the method.
    #[error("the route has only the methods {allow:?}")]
    MethodNotAllowed {
        /// The methods that it has, as `Allow` lists them (RFC 9110 §10.2.1).
        allow: Box<str>,
    },
}

impl RouteError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::PathAmbiguous { .. } => Code::PathAmbiguous,
            Self::NotFound => Code::RouteNotFound,
            Self::MethodNotAllowed { .. } => Code::MethodNotAllowed,
        }
    }
}

/// The paths of a route: literal segments, `*` for exactly one segment, `**` at the end for the rest, also for nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: Box<str>,
    segments: Box<[Segment]>,
    rest: bool,
}

impl Pattern {
    /// Reads a pattern such as `/accounts/*/balances` or `/accounts/**`.
    ///
    /// Literals stand under the same rules as the paths of requests, so that each can be reached.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let Some(body) = text.strip_prefix('/') else {
            return Err(PatternError::NoSlash { text: text.into() });
        };
        let mut segments = Vec::new();
        let mut rest = false;
        for segment in body.split('/').filter(|_| !body.is_empty()) {
            if rest {
                return Err(PatternError::RestNotLast { text: text.into() });
            }
            match segment {
                "**" => rest = true,
                "*" => segments.push(Segment::Any),
                "" if body.ends_with('/') && !text.contains("//") => {
                    return Err(PatternError::TrailingSlash { text: text.into() });
                }
                "" => return Err(PatternError::EmptySegment { text: text.into() }),
                _ if segment.contains('*') => return Err(PatternError::PartialWildcard { text: text.into() }),
                _ if segment.contains('%') => return Err(PatternError::Escape { text: text.into() }),
                _ => segments.push(Segment::Literal(segment.into())),
            }
        }
        CanonicalPath::read(text).map_err(|why| PatternError::Ambiguous { text: text.into(), why })?;
        Ok(Self { text: text.into(), segments: segments.into(), rest })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It does not begin with a slash.
    #[error("{text:?} does not begin with a slash; put one in front")]
    NoSlash {
        /// The text as it was written.
        text: Box<str>,
    },
    /// It ends in a slash.
    #[error("{text:?} ends in a slash; leave it out, a request may have it or not")]
    TrailingSlash {
        /// The text as it was written.
        text: Box<str>,
    },
    /// Two slashes in a row.
    #[error("{text:?} has an empty segment, which no request may have; write one slash between segments")]
    EmptySegment {
        /// The text as it was written.
        text: Box<str>,
    },
    /// `*` or `**` beside other characters.
    #[error("{text:?} has \"*\" inside a segment; \"*\" stands for one whole segment, \"**\" at the end for the rest")]
    PartialWildcard {
        /// The text as it was written.
        text: Box<str>,
    },
    /// `**` before the end.
    #[error("{text:?} goes on after \"**\"; write \"*\" for each single segment, \"**\" only at the end")]
    RestNotLast {
        /// The text as it was written.
        text: Box<str>,
    },
    /// A percent-encoded literal.
    #[error(
        "{text:?} has a percent-encoding; write the character itself, or \"*\" where a path cannot have it unencoded"
    )]
    Escape {
        /// The text as it was written.
        text: Box<str>,
    },
    /// A literal that no request can have.
    #[error("{text:?} can be read in more than one way: {why}; write the path that the upstream will see")]
    Ambiguous {
        /// The text as it was written.
        text: Box<str>,
        /// What the other reading comes from.
        why: &'static str,
    },
}

/// What a route asks of a request before it is forwarded.
#[derive(Debug)]
pub enum Requirement {
    /// Nothing, by written word.
    Public,
    /// A sender-constrained token that satisfies this policy.
    Protected(Policy),
}

/// What a route hands on to its upstream beyond the request itself.
#[derive(Clone, Debug, Default)]
pub struct Forward {
    /// `Authorization`, as received.
    pub access_token: bool,
    /// `Client-Cert` (RFC 9440).
    pub client_certificate: bool,
    /// `Client-Cert-Chain` beside it (RFC 9440 §2.3).
    pub client_certificate_chain: bool,
    /// Claims of the token, each with the field that carries it.
    pub claims: Vec<(Box<str>, HeaderName)>,
}

/// An upstream by name and by its place in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamRef {
    /// The configured name.
    pub name: Arc<str>,
    /// The place in the list of upstreams.
    pub index: usize,
}

/// One entry of `routes`.
#[derive(Debug)]
pub struct Route {
    /// The configured name.
    pub name: Arc<str>,
    /// The paths it answers for.
    pub pattern: Pattern,
    /// The hosts it answers for, without port; empty means every host.
    pub hosts: Vec<Box<str>>,
    /// The methods it answers for; GET does not bring HEAD along.
    pub methods: Vec<Method>,
    /// What it asks of a request.
    pub requirement: Requirement,
    /// Where its requests go.
    pub upstream: UpstreamRef,
    /// What it hands on.
    pub forward: Forward,
}

impl Route {
    /// What it asks of a token, unless it is public.
    pub const fn policy(&self) -> Option<&Policy> {
        match &self.requirement {
            Requirement::Protected(policy) => Some(policy),
            Requirement::Public => None,
        }
    }
}

/// How a request may go on: at once, or past a guard.
#[derive(Clone, Debug)]
pub enum Admission {
    /// The route is public.
    Public(Permit),
    /// The route is protected.
    Protected(Guard),
}

/// All routes, ready to be searched.
#[derive(Debug)]
pub struct Routes {
    all: Vec<Arc<Route>>,
    by_host: HashMap<Box<str>, Node>,
    other_hosts: Node,
}

impl Routes {
    /// Compiles routes; their order has no meaning.
    ///
    /// Each host that a route names gets a tree of its own, with the routes for every host in it too; where both have
    /// the same pattern and method, the one that names the host wins.
    ///
    /// # Errors
    /// [`RouteConflict`] when two routes would answer for the same host, path and method with equal right.
    pub fn new(routes: Vec<Route>) -> Result<Self, RouteConflict> {
        let mut claims = HashMap::new();
        for (index, route) in routes.iter().enumerate() {
            for host in hosts_of(route) {
                for method in &route.methods {
                    match claims.insert((route.pattern.as_str(), method, host.clone()), index) {
                        Some(first) if first != index => {
                            return Err(RouteConflict::new(first, index, route, method, host.as_deref()));
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
        // Two rounds: a route that names the host replaces what a route for every host has put there.
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

    /// The route that answers for `target`.
    ///
    /// Segments compare once decoded and with case. From left to right a literal is preferred to `*`, and `*` to `**`;
    /// the pattern that is found so decides alone: a method that it does not have is refused, even if a wider pattern
    /// has it. A slash at the end of the path is ignored.
    ///
    /// # Errors
    /// [`RouteError`], with a route of the pattern when only the method is wrong. A segment that differs from a literal
    /// beside it only in case or by a suffix after a dot is ambiguous, so that no wildcard can take what an upstream
    /// may read as that literal.
    #[expect(clippy::type_complexity, reason = "a pair on either side; names for both would have one user")]
    pub fn find(&self, target: &Target<'_>) -> Result<(Arc<Route>, Admission), (Option<Arc<Route>>, RouteError)> {
        let tree = self.by_host.get(target.origin.host()).unwrap_or(&self.other_hosts);
        let leaf = tree.find(target.path.segments()).map_err(|error| (None, error))?;
        let Some(leaf) = leaf else {
            return Err((None, RouteError::NotFound));
        };
        let Some((_, route)) = leaf.routes.iter().find(|(method, _)| method == target.method) else {
            let route = leaf.routes.first().map(|(_, route)| Arc::clone(route));
            return Err((route, RouteError::MethodNotAllowed { allow: leaf.allow.clone() }));
        };
        let admission = match route.requirement {
            Requirement::Public => Admission::Public(Permit::public(Arc::clone(route))),
            Requirement::Protected(_) => Admission::Protected(Guard::new(Arc::clone(route))),
        };
        Ok((Arc::clone(route), admission))
    }

    /// Every route, as configured.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.all.iter()
    }
}

/// Two routes that would answer for the same request with equal right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct RouteConflict {
    /// The place of the earlier one.
    pub first: usize,
    /// The place of the later one.
    pub second: usize,
    /// What they share, and the way out.
    pub detail: String,
}

impl RouteConflict {
    fn new(first: usize, second: usize, route: &Route, method: &Method, host: Option<&str>) -> Self {
        let place = host.map_or_else(|| "every host".to_owned(), |host| format!("host {host:?}"));
        let detail = format!(
            "{method} {:?} on {place} has two routes; give each method of a path to one of them",
            route.pattern.as_str()
        );
        Self { first, second, detail }
    }
}

/// Host and port of an authority without userinfo (RFC 3986 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Authority<'r> {
    /// As written, without a dot at the end; an IPv6 address in its brackets.
    pub(crate) host: &'r str,
    /// `None` when there is none.
    pub(crate) port: Option<u16>,
}

impl<'r> Authority<'r> {
    /// Reads `host[:port]`: a name of letters, digits, `-`, `_` and dots, an IPv4 address, or `[IPv6]` without a zone.
    ///
    /// RFC 3986 §3.2.2 lets a `reg-name` have escapes and other signs; no name that DNS or a certificate can hold has.
    pub(crate) fn parse(text: &'r str) -> Result<Self, &'static str> {
        let (host, port) = if text.starts_with('[') {
            let end = text.find(']').ok_or("a bracket is not closed")?;
            let (host, port) = text.split_at_checked(end.saturating_add(1)).ok_or("a bracket is not closed")?;
            (
                host,
                if port.is_empty() {
                    None
                } else {
                    Some(port.strip_prefix(':').ok_or("a bracket is followed by no port")?)
                },
            )
        } else {
            text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
        };
        let port = port.map(read_port).transpose()?;
        let authority = Self { host: host.strip_suffix('.').unwrap_or(host), port };
        if host.starts_with('[') {
            return authority.address().map(|_| authority).ok_or("no IPv6 address stands between the brackets");
        }
        if authority.host.is_empty() {
            return Err("it is empty");
        }
        if authority.host.len() > MAX_NAME {
            return Err("it is longer than a name can be");
        }
        if !authority.host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
            return Err("it has a byte that no host name has");
        }
        if authority.host.split('.').any(str::is_empty) {
            return Err("it has an empty label");
        }
        Ok(authority)
    }

    fn address(&self) -> Option<Ipv6Addr> {
        self.host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
    }
}

/// Whether two hosts are the same name, without regard to case and to one dot at the end.
pub(crate) fn same_host(one: &str, other: &str) -> bool {
    let plain = |host| str::strip_suffix(host, '.').unwrap_or(host);
    plain(one).eq_ignore_ascii_case(plain(other))
}

fn read_port(text: &str) -> Result<u16, &'static str> {
    if text.starts_with('0') || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("its port is no plain number");
    }
    text.parse().map_err(|_| "its port is no number from 1 to 65535")
}

/// What remains to be matched of a path; `None` at its end, where `Some("")` cannot be.
#[derive(Clone, Copy)]
struct Segments<'r>(Option<&'r str>);

impl<'r> Segments<'r> {
    fn split(self) -> Option<(&'r str, Self)> {
        let text = self.0?;
        Some(text.split_once('/').map_or((text, Self(None)), |(segment, rest)| (segment, Self(Some(rest)))))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Segment {
    Literal(Box<str>),
    Any,
}

/// A place in the tree of patterns: each has one way to it, so a search visits it at most once.
#[derive(Debug, Default)]
struct Node {
    literals: BTreeMap<Box<str>, Self>,
    any: Option<Box<Self>>,
    here: Option<Leaf>,
    rest: Option<Leaf>,
}

impl Node {
    fn insert(&mut self, route: &Arc<Route>) {
        let node = route.pattern.segments.iter().fold(self, |node, segment| match segment {
            Segment::Literal(literal) => node.literals.entry(literal.clone()).or_default(),
            Segment::Any => node.any.get_or_insert_default(),
        });
        let leaf = if route.pattern.rest { &mut node.rest } else { &mut node.here };
        leaf.get_or_insert_default().insert(route);
    }

    fn find(&self, segments: Segments<'_>) -> Result<Option<&Leaf>, RouteError> {
        let Some((segment, rest)) = segments.split() else {
            return Ok(self.here.as_ref().or(self.rest.as_ref()));
        };
        if let Some(node) = self.literal(segment) {
            if let Some(leaf) = node.find(rest)? {
                return Ok(Some(leaf));
            }
        } else if self.literals.keys().any(|literal| resembles(segment, literal)) {
            return Err(RouteError::PathAmbiguous { why: "a segment resembles one that a route names" });
        }
        if let Some(node) = &self.any
            && let Some(leaf) = node.find(rest)?
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
}

/// The hosts of a route as origins write them; one `None` for every host.
fn hosts_of(route: &Route) -> Vec<Option<Box<str>>> {
    if route.hosts.is_empty() {
        return vec![None];
    }
    route.hosts.iter().map(|host| Some(host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase().into())).collect()
}

/// Whether a segment that is not `literal` may be taken for it: by an upstream that ignores case, or one that reads a
/// suffix after a dot as the wanted format.
fn resembles(segment: &str, literal: &str) -> bool {
    let mut bytes = percent_decode_str(segment);
    literal.bytes().all(|byte| bytes.next().is_some_and(|other| other.eq_ignore_ascii_case(&byte)))
        && matches!(bytes.next(), None | Some(b'.'))
}

/// Whether each byte of a segment, and what each escape stands for, has one meaning; `true` if there is an escape.
fn check_bytes(segment: &str) -> Result<bool, &'static str> {
    let mut bytes = segment.bytes();
    let mut escaped = false;
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            escaped = true;
            check_escape(read_escape(&mut bytes).ok_or("a percent sign is not followed by two hexadecimal digits")?)?;
        } else if !is_plain(byte) {
            return Err(match byte {
                b';' => "it has a semicolon, where some servers begin a parameter",
                b'\\' => "it has a backslash, which some servers read as a slash",
                b'#' => "it has a fragment",
                _ => "it has a byte that RFC 3986 does not allow in a path",
            });
        }
    }
    Ok(escaped)
}

fn check_escape(byte: u8) -> Result<(), &'static str> {
    match byte {
        0..=0x1f | 0x7f => Err("an escape stands for a control character"),
        // RFC 3986 §2.2: "URIs that differ in the replacement of a reserved character with its corresponding
        // percent-encoded octet are not equivalent." Decoders behind us may think otherwise.
        b'/' | b'\\' | b';' | b'?' | b'#' => Err("an escape stands for a character that divides a path"),
        // RFC 3986 §2.4: "Implementations must not percent-encode or decode the same string more than once".
        b'%' => Err("an escape stands for a percent sign, so decoding twice gives another path"),
        // RFC 3986 §2.3: "URIs that differ in the replacement of an unreserved character with its corresponding
        // percent-encoded US-ASCII octet are equivalent".
        _ if is_unreserved(byte) => Err("an escape stands for a character that needs none"),
        _ => Ok(()),
    }
}

/// Whether the decoded path is text, and the same text after Unicode normalisation.
fn check_text(path: &str) -> Result<(), &'static str> {
    // RFC 3629 §3: "Implementations of the decoding algorithm above MUST protect against decoding invalid sequences."
    let text = percent_decode_str(path).decode_utf8().map_err(|_| "its escapes are not valid UTF-8")?;
    if text.is_ascii() {
        return Ok(());
    }
    if text.chars().any(is_unseen) {
        return Err("an escape stands for a character that cannot be seen");
    }
    // UAX #15: characters that are alike in NFKC may be folded into each other, a full-width slash into a slash.
    if !NFKC.is_normalized(&text) {
        return Err("Unicode normalisation (NFKC) gives another path");
    }
    Ok(())
}

/// `pchar` of RFC 3986 §3.3 without escapes and without the semicolon.
const fn is_plain(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@')
}

/// Beyond ASCII: white space, controls (Cc), formats (Cf) and whatever else Unicode lets a program leave out
/// (Default_Ignorable_Code_Point, UAX #44).
fn is_unseen(character: char) -> bool {
    !character.is_ascii()
        && (character.is_whitespace()
            || character.is_control()
            || CATEGORIES.get(character) == GeneralCategory::Format
            || IGNORABLE.contains(character))
}

const HTTPS_PORT: u16 = 443;

/// RFC 1035 §2.3.4: "names 255 octets or less".
const MAX_NAME: usize = 255;

const NFKC: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfkc();

const CATEGORIES: CodePointMapDataBorrowed<'static, GeneralCategory> = CodePointMapDataBorrowed::new();

const IGNORABLE: CodePointSetDataBorrowed<'static> = CodePointSetDataBorrowed::new::<DefaultIgnorableCodePoint>();

#[cfg(test)]
mod tests {
    use http::{Request, Uri, uri};
    use proptest::prelude::*;

    use super::super::credentials::Scheme;
    use super::super::dpop::NonceMode;
    use super::super::policy::{IssuerIndex, ScopeRule};
    use super::*;

    fn origin(text: &str) -> Arc<Origin> {
        Arc::new(Origin::parse(text).unwrap())
    }

    fn route(name: &str, pattern: &str, methods: &[Method], hosts: &[&str]) -> Route {
        Route {
            name: name.into(),
            pattern: Pattern::parse(pattern).unwrap(),
            hosts: hosts.iter().map(|host| Box::from(*host)).collect(),
            methods: methods.to_vec(),
            requirement: Requirement::Public,
            upstream: UpstreamRef { name: "accounts".into(), index: 0 },
            forward: Forward::default(),
        }
    }

    /// Routes for GET on every host, each named as its pattern.
    fn routes(patterns: &[&str]) -> Routes {
        Routes::new(patterns.iter().map(|pattern| route(pattern, pattern, &[Method::GET], &[])).collect()).unwrap()
    }

    fn get(target: &str) -> Parts {
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from(uri::PathAndQuery::try_from(target).unwrap());
        request.into_parts().0
    }

    /// The name of the route that answers, or the reason why none does.
    fn outcome(routes: &Routes, request: &Parts, origin_text: &str) -> Result<String, RouteError> {
        let target = Target::parse(request, &origin(origin_text))?;
        routes.find(&target).map(|(route, _)| route.name.to_string()).map_err(|(_, error)| error)
    }

    fn winner(routes: &Routes, path: &str) -> Result<String, Code> {
        outcome(routes, &get(path), "https://api.example").map_err(|error| error.code())
    }

    fn refused(path: &str) -> bool {
        CanonicalPath::parse(path).map(|_| ()).map_err(|error| error.code()) == Err(Code::PathAmbiguous)
    }

    fn words(text: &'static str) -> Vec<&'static str> {
        text.split(' ').collect()
    }

    fn assert_refused(paths: &[&str], controls: &[&str]) {
        for path in controls {
            assert_eq!(CanonicalPath::parse(path).map(CanonicalPath::as_str), Ok(*path)); // control
        }
        for path in paths {
            assert!(refused(path), "{path:?}");
        }
    }

    #[test]
    fn origin_is_read_into_its_normal_form() {
        let cases = [
            ("https://api.bank.example", "https://api.bank.example", "api.bank.example", 443, ""),
            ("HTTPS://API.Bank.example:443/", "https://api.bank.example", "api.bank.example", 443, ""),
            ("https://api.bank.example.:8443", "https://api.bank.example:8443", "api.bank.example", 8443, ""),
            ("https://h/Bank/v1/", "https://h/Bank/v1", "h", 443, "/Bank/v1"),
            ("https://[0:0::1]:8443", "https://[::1]:8443", "[::1]", 8443, ""),
            ("https://127.0.0.1:8443", "https://127.0.0.1:8443", "127.0.0.1", 8443, ""),
        ];
        for (text, normal, host, port, prefix) in cases {
            let origin = Origin::parse(text).unwrap();
            assert_eq!((origin.as_str(), origin.host(), origin.port(), origin.prefix()), (normal, host, port, prefix));
            assert_eq!(Origin::parse(normal), Ok(origin));
        }
    }

    #[test]
    fn origin_is_refused_with_the_way_out() {
        let cases = [
            ("http://x", "\"http://x\" is not https; write \"https://\", the host, and the port if it is not 443"),
            ("x", "\"x\" is not https; write \"https://\", the host, and the port if it is not 443"),
            ("https://u@x", "\"https://u@x\" has a userinfo; leave it out"),
            ("https://x?y", "\"https://x?y\" has a query; leave it out"),
            ("https://x/#y", "\"https://x/#y\" has a fragment; leave it out"),
            ("https://", "\"https://\" has no usable host: it is empty; write it as clients send it in Host"),
        ];
        for (text, message) in cases {
            assert_eq!(Origin::parse(text).unwrap_err().to_string(), message);
        }
        for text in ["https://x:0", "https://x:", "https://x y", "https://é", "https://[::1%25lo]", "https://*.x"] {
            assert!(matches!(Origin::parse(text), Err(OriginError::Host { .. })), "{text}");
        }
        for text in ["https://x//", "https://x/a//", "https://x/../a", "https://x/a;b", "https://x/a b", "https://x/\""]
        {
            assert!(matches!(Origin::parse(text), Err(OriginError::Prefix { .. })), "{text}");
        }
    }

    #[test]
    fn net_21_origins_are_found_by_host_and_port() {
        let origins = Origins::new(vec![origin("https://a.example"), origin("https://b.example:8443")]);
        let find = |host, port| origins.find(host, port).map(|origin| origin.as_str());
        for (host, port) in [("a.example", None), ("A.EXAMPLE.", None), ("a.example", Some(443))] {
            assert_eq!(find(host, port), Some("https://a.example"));
        }
        assert_eq!(find("b.example", Some(8443)), Some("https://b.example:8443"));
        for (host, port) in
            [("b.example", None), ("a.example", Some(8443)), ("a.example..", None), ("", None), ("example", None)]
        {
            assert_eq!(find(host, port), None, "{host}");
        }
        assert_eq!(origins.iter().count(), 2);
    }

    #[test]
    fn atk_cf_04_a_long_list_of_origins_is_searched_as_a_short_one() {
        for count in [2, 200] {
            let list = (0..count).map(|number| origin(&format!("https://host-{number}.example:8443"))).collect();
            let origins = Origins::new(list);
            for (host, port, found) in [
                ("host-1.example", Some(8443), true),
                ("HOST-1.Example", Some(8443), true),
                ("host-1.example", None, false),
                ("host-1.example.evil", Some(8443), false),
                ("host-", Some(8443), false),
            ] {
                assert_eq!(origins.find(host, port).is_some(), found, "{count}: {host}");
            }
        }
    }

    #[test]
    fn accepts_paths_with_one_reading() {
        let paths = words(
            "/ /a /a/ /a/b.json /a%20b /a%3Ab /a%40b /a%2Bb%2Cc /a%2bb /caf%C3%A9 /caf%c3%a9 /.well-known /a..b \
             /~x/-_.y /!$&'()*+,=:@ /%E6%97%A5%E6%9C%AC /...a /%22%3C%7B",
        );
        for path in paths {
            assert_eq!(CanonicalPath::parse(path).map(CanonicalPath::as_str), Ok(path));
        }
    }

    #[test]
    fn atk_pt_01_refuses_dot_segments() {
        let paths = words(
            "/public/../protected /public/%2e%2e/protected /public/%2E%2E/protected /public/.%2e/protected \
             /%2e/ /./a /a/. /a/.. /.. /. /a/./b /%2E /a/... /.../a",
        );
        assert_refused(&paths, &["/public/.a/protected", "/public/..a"]);
    }

    #[test]
    fn atk_pt_02_refuses_encoded_slash_and_any_backslash() {
        assert_refused(&["/a%2Fb", "/a%2fb", "/a%5Cb", "/a%5cb", "/a\\b", "/..\\b", "\\a"], &["/a/b", "/a%20b"]);
    }

    #[test]
    fn atk_pt_03_refuses_empty_segments() {
        assert_refused(&["//protected", "/a//b", "//", "/a//", "///"], &["/protected", "/a/b/", "/"]);
    }

    #[test]
    fn atk_pt_04_refuses_semicolons() {
        assert_refused(
            &["/protected;x=1", "/..;/protected", "/a;/b", "/;", "/a%3Bb", "/a%3bb"],
            &["/protected,x=1", "/a%3Ab"],
        );
    }

    #[test]
    fn atk_pt_05_refuses_number_and_question_signs() {
        assert_refused(
            &["/public#/../protected", "/public%23", "/a#", "/a%3Fb", "/a%3fb", "/a?b"],
            &["/public", "/a%24b"],
        );
    }

    #[test]
    fn atk_pt_06_refuses_escaped_letters_and_dots_at_the_end() {
        assert_refused(
            &words(
                "/%70rotected /%50rotected /a%2Db /a%5Fb /a%7Eb /a%30 /protected. /a./b /a%2E /a%20 /a%20/b /%20a \
             /%20",
            ),
            &["/protected", "/a-b", "/a.b", "/a%20b"],
        );
    }

    #[test]
    fn atk_pt_07_refuses_double_encoding() {
        assert_refused(&["/%252e%252e", "/a%252Fb", "/a%25", "/a%2520b", "/100%25"], &["/a%24b"]);
        assert_refused(&["/a%", "/a%2", "/a%zz", "/a%2g", "/a%+1", "/%/a", "/a%2/0"], &["/a%2B"]);
    }

    #[test]
    fn atk_pt_08_refuses_controls_overlong_forms_and_look_alike_characters() {
        assert_refused(
            &["/a%00", "/%00", "/a\0", "/a\tb", "/a%09b", "/a%0d%0ab", "/a%7F", "/a%7f", "/a%1b", "/a b", "/a\u{7f}"],
            &["/a%20b"],
        );
        // Overlong, truncated, surrogate, beyond U+10FFFF, Latin-1.
        assert_refused(
            &["/%c0%ae%c0%ae/a", "/%c0%af", "/%e0%80%ae", "/%C3", "/%C3/%A9", "/%ED%A0%80", "/%F4%90%80%80", "/caf%E9"],
            &["/caf%C3%A9"],
        );
        assert_refused(&["/café", "/／a", "/\u{200b}"], &["/caf%C3%A9"]);
    }

    #[test]
    fn atk_pt_08_refuses_text_that_normalisation_changes_or_nobody_sees() {
        let path = |text: &str| text.bytes().fold("/a".to_owned(), |path, byte| format!("{path}%{byte:02X}"));
        for text in ["é", "日", "ß", "\u{301c}", "😀", "م"] {
            assert!(!refused(&path(text)), "{text:?}"); // control
        }
        for text in
            ["．", "／", "＼", "ａ", "\u{301}", "ﬁ", "①", "\u{2024}", "\u{2126}", "\u{212a}", "\u{17f}", "\u{a0}", "¼"]
        {
            assert!(refused(&path(text)), "{text:?}");
        }
        let unseen = words(
            "\u{200b} \u{200d} \u{feff} \u{2028} \u{2029} \u{202e} \u{2066} \u{200f} \u{ad} \u{85} \u{9f} \
             \u{1680} \u{2060} \u{fe0f} \u{e0041} \u{34f} \u{600} \u{61c} \u{180e} \u{3000}",
        );
        for text in unseen {
            assert!(refused(&path(text)), "{text:?}");
        }
        // A mark that combines with the letter, or the slash, before it.
        assert!(refused("/e%CC%81"));
        assert!(refused("/=%CC%B8"));
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
    fn atk_pt_13_refuses_targets_that_are_no_path() {
        let code = |uri: &'static str| {
            let request = Request::builder().uri(Uri::from_static(uri)).body(()).unwrap().into_parts().0;
            Target::parse(&request, &origin("https://api.example"))
                .map(|target| target.path().to_owned())
                .map_err(|e| e.code())
        };
        assert_eq!(code("/a?x"), Ok("/a".into())); // control
        assert_eq!(code("https://api.example/a"), Ok("/a".into())); // control
        for uri in ["*", "api.example:443"] {
            assert_eq!(code(uri), Err(Code::PathAmbiguous), "{uri}");
        }
        let query_only = uri::PathAndQuery::try_from("?x").map(Uri::from).unwrap_or(Uri::from_static("*"));
        let request = Request::builder().uri(query_only).body(()).unwrap().into_parts().0;
        assert!(Target::parse(&request, &origin("https://api.example")).is_err());
        assert_refused(&["", "*", "a", "a/b"], &["/"]);
    }

    #[test]
    fn htu_is_origin_prefix_and_path_without_query() {
        let request = get("/accounts/a%20b/?page=2");
        let htu = |text| Target::parse(&request, &origin(text)).unwrap().htu();
        assert_eq!(htu("https://API.bank.example:443/"), "https://api.bank.example/accounts/a%20b/");
        assert_eq!(htu("https://api.bank.example:8443/bank/"), "https://api.bank.example:8443/bank/accounts/a%20b/");
        let target = Target::parse(&request, &origin("https://api.bank.example")).unwrap();
        assert_eq!(target.origin().as_str(), "https://api.bank.example");
    }

    #[test]
    fn pattern_is_refused_with_the_way_out() {
        for text in ["/", "/a", "/a/b.c/*", "/**", "/*", "/a/*/b/**", "/.well-known/x", "/a:b@c"] {
            assert_eq!(Pattern::parse(text).unwrap().as_str(), text); // control
        }
        let cases = [
            ("a", "\"a\" does not begin with a slash; put one in front"),
            ("", "\"\" does not begin with a slash; put one in front"),
            ("/a/", "\"/a/\" ends in a slash; leave it out, a request may have it or not"),
            ("/a/*/", "\"/a/*/\" ends in a slash; leave it out, a request may have it or not"),
            ("/a//b", "\"/a//b\" has an empty segment, which no request may have; write one slash between segments"),
            ("//", "\"//\" has an empty segment, which no request may have; write one slash between segments"),
            (
                "/a*",
                "\"/a*\" has \"*\" inside a segment; \"*\" stands for one whole segment, \"**\" at the end for the rest",
            ),
            (
                "/***",
                "\"/***\" has \"*\" inside a segment; \"*\" stands for one whole segment, \"**\" at the end for the rest",
            ),
            ("/**/a", "\"/**/a\" goes on after \"**\"; write \"*\" for each single segment, \"**\" only at the end"),
            (
                "/a%20b",
                "\"/a%20b\" has a percent-encoding; write the character itself, or \"*\" where a path cannot have it unencoded",
            ),
            (
                "/a/../b",
                "\"/a/../b\" can be read in more than one way: a segment is, or ends in, a dot; write the path that the upstream will see",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(Pattern::parse(text).unwrap_err().to_string(), message);
        }
        for text in ["/a b", "/é", "/a;b", "/a#b", "/a?b", "/a\\b", "/a."] {
            assert!(matches!(Pattern::parse(text), Err(PatternError::Ambiguous { .. })), "{text}");
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
    fn fwd_01_the_requirement_decides_the_admission() {
        let policy = || {
            Policy::new(
                ScopeRule::All(vec!["accounts".into()]),
                vec![IssuerIndex(0)],
                vec![Scheme::Bearer],
                NonceMode::Never,
            )
            .unwrap()
        };
        let protected =
            Route { requirement: Requirement::Protected(policy()), ..route("p", "/p", &[Method::GET], &[]) };
        assert_eq!(protected.policy().map(Policy::scope_text), Some("accounts"));
        let open = route("o", "/o", &[Method::GET], &[]);
        assert!(open.policy().is_none());
        let routes = Routes::new(vec![protected, open]).unwrap();
        let public = |path| {
            let request = get(path);
            let target = Target::parse(&request, &origin("https://api.example")).unwrap();
            match routes.find(&target).unwrap() {
                (route, Admission::Public(permit)) => (Arc::ptr_eq(permit.route(), &route), true),
                (_, Admission::Protected(_)) => (true, false),
            }
        };
        assert_eq!(public("/o"), (true, true));
        assert_eq!(public("/p"), (true, false));
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
        let some = routes(&["/protected", "/a/protected/x", "/a/*", "/**"]);
        for (path, pattern) in [
            ("/protected", "/protected"),
            ("/protected2", "/**"),
            ("/a/b", "/a/*"),
            ("/protecte", "/**"),
            ("/protected-x", "/**"),
        ] {
            assert_eq!(winner(&some, path), Ok(pattern.into()), "{path}"); // control
        }
        let paths = words(
            "/Protected /PROTECTED /protected.json /Protected.JSON /protected.a.b /Protected/ /protected.json/x \
             /A /a/Protected/x /a/protected.json/x /A/protected/x /a.json/b /a/protected/X",
        );
        for path in paths {
            assert_eq!(winner(&some, path), Err(Code::PathAmbiguous), "{path}");
        }
        // Equal to one literal, and like another: equal decides.
        let both = routes(&["/report", "/report.pdf", "/Report", "/*"]);
        for path in ["/report", "/report.pdf", "/Report"] {
            assert_eq!(winner(&both, path), Ok(path.into()));
        }
        assert_eq!(winner(&both, "/REPORT"), Err(Code::PathAmbiguous));
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

    /// Paths of pieces that parsers stumble over, about half of them canonical.
    fn paths() -> impl Strategy<Value = String> {
        let good = prop::sample::select(words("a B /a /b %20x %C3%A9 %3A + ~ .a /.w %E6%97%A5 * ="));
        let odd = prop::sample::select(vec![
            "/",
            ".",
            "..",
            "//",
            "%2e",
            "%2F",
            "%25",
            "%252e",
            "é",
            "%EF%BC%8F",
            "%EF%BC%8E",
            "%E2%80%8B",
            "%CC%81",
            ";",
            "\\",
            "%5C",
            "%00",
            "%",
            "%C3",
            "%41",
            "#",
            "%20",
            "%2E%2E",
            "%c0%ae",
            " ",
        ]);
        prop::collection::vec(prop_oneof![9 => good, 1 => odd], 0..10)
            .prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    fn decode(text: &str) -> String {
        percent_decode_str(text).decode_utf8_lossy().into_owned()
    }

    /// What a path normaliser leaves: RFC 3986 §5.2.4, backslashes as slashes, path parameters, dots and spaces at the
    /// end of segments and empty segments away.
    fn normalised(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        for segment in text.replace('\\', "/").split('/') {
            let segment = segment.split([';', '?', '#', '\0']).next().unwrap_or_default();
            match segment {
                "" | "." => {}
                ".." => drop(out.pop()),
                _ => out.push(segment.trim_matches(' ').trim_end_matches('.').to_owned()),
            }
        }
        out
    }

    fn segments_of(text: &str) -> Vec<String> {
        text.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
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

    /// How specific a pattern is for a path that it matches, smaller is more; `None` if it does not match.
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
            }
        }

        #[test]
        fn an_accepted_path_has_the_same_segments_however_it_is_read(path in paths()) {
            let Ok(accepted) = CanonicalPath::parse(&path) else { return Ok(()) };
            prop_assert_eq!(accepted.as_str(), &path);
            let once = decode(&path);
            let segments: Vec<_> = segments_of(&path).iter().map(|segment| decode(segment)).collect();
            prop_assert_eq!(&segments_of(&once), &segments);
            prop_assert_eq!(&decode(&once), &once);
            prop_assert_eq!(&normalised(&once), &segments);
            prop_assert_eq!(&normalised(&path), &segments_of(&path));
            prop_assert_eq!(NFKC.normalize(&once), once.as_str());
            prop_assert_eq!(NFKC.normalize(&path), path.as_str());
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
        fn atk_pt_06_another_case_or_suffix_never_reaches_another_route(
            list in some_routes(),
            path in "(/[abcd]){1,4}",
            upper in 0..9_usize,
            suffix in prop::sample::select(words("- .json .a.b /"))
        ) {
            let Ok(routes) = build(&list) else { return Ok(()) };
            let plain = outcome(&routes, &get(&path), "https://h.example");
            let shouted: String =
                path.char_indices().map(|(at, c)| if at == upper { c.to_ascii_uppercase() } else { c }).collect();
            let twin = outcome(&routes, &get(&format!("{shouted}{}", suffix.trim_matches('-'))), "https://h.example");
            prop_assert!(twin == plain || twin.is_err(), "{twin:?} for {plain:?}");
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
