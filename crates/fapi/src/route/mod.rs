//! The target of a request, byte for byte, and the route that matches it (RFC 3986 §3.3, §6).
//!
//! A path with more than one reading is refused. Nothing here repairs a path, so what is matched is what is forwarded.
//! What no route matches is refused too.

mod error;
mod origin;
mod path;
mod pattern;
mod target;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};
use percent_encoding::percent_decode_str;

pub use error::RouteError;
pub(crate) use origin::{Authority, same_host};
pub use origin::{Origin, OriginError, Origins};
pub use path::CanonicalPath;
use path::Segments;
use pattern::Segment;
pub use pattern::{Pattern, PatternError};
pub use target::Target;

use crate::policy::Policy;

/// What a route requires of a request.
#[derive(Debug)]
pub enum Requirement {
    /// Nothing: the configuration says explicitly that the route is public.
    Public,
    /// A sender-constrained token that satisfies this policy.
    Protected(Arc<Policy>),
}

/// What a route forwards to its upstream besides the request itself.
#[derive(Clone, Debug, Default)]
pub struct Forward {
    /// `Authorization`, as received.
    pub access_token: bool,
    /// `Client-Cert` (RFC 9440).
    pub client_certificate: bool,
    /// `Client-Cert-Chain` beside it (RFC 9440 §2.3).
    pub client_certificate_chain: bool,
    /// Claims of the token, each with the header field for it.
    pub claims: Vec<(Box<str>, HeaderName)>,
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
    /// The limits of its exchanges.
    pub limits: Limits,
    /// What happens to an exchange in progress when its token expires or is revoked.
    pub on_expiry: OnExpiry,
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
            Requirement::Public => None,
        }
    }
}

/// A route that matches the target of a request; only [`Routes::find`] makes one.
#[must_use]
#[derive(Clone, Debug)]
pub struct Matched(Arc<Route>);

impl Matched {
    /// The route.
    pub const fn route(&self) -> &Arc<Route> {
        &self.0
    }

    pub(crate) fn into_route(self) -> Arc<Route> {
        self.0
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
    /// Segments are decoded once and compared case-sensitively. From left to right, a literal is preferred to `*`, and
    /// `*` to `**`. Only the pattern found this way counts: a method that it does not have is refused, even if a wider
    /// pattern has it. A slash at the end of the path is ignored.
    ///
    /// # Errors
    /// [`RouteError`], with a route of the pattern if only the method is wrong. A segment that differs from a literal
    /// at the same place only in case or by a suffix after a dot is ambiguous, so that no wildcard matches what an
    /// upstream may read as that literal.
    pub fn find(&self, target: &Target<'_>) -> Result<Matched, (Option<Arc<Route>>, RouteError)> {
        let tree = self.by_host.get(target.origin().host()).unwrap_or(&self.other_hosts);
        let leaf = tree.find(target.segments()).map_err(|error| (None, error))?;
        let Some(leaf) = leaf else {
            return Err((None, RouteError::NotFound));
        };
        let Some((_, route)) = leaf.routes.iter().find(|(method, _)| method == target.method()) else {
            let route = leaf.routes.first().map(|(_, route)| Arc::clone(route));
            return Err((route, RouteError::MethodNotAllowed { allow: leaf.allow.clone() }));
        };
        Ok(Matched(Arc::clone(route)))
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
    fn new(first: usize, second: usize, route: &Route, method: &Method, host: Option<&str>) -> Self {
        let place = host.map_or_else(|| "every host".to_owned(), |host| format!("host {host:?}"));
        let detail = format!(
            "{method} {:?} on {place} has two routes; give each method of a path to one of them",
            route.pattern.as_str()
        );
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

/// The hosts of a route in the form of origins; a single `None` means every host.
fn hosts_of(route: &Route) -> Vec<Option<Box<str>>> {
    if route.hosts.is_empty() {
        return vec![None];
    }
    route.hosts.iter().map(|host| Some(host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase().into())).collect()
}

/// Whether an upstream may take a segment for `literal` because it ignores case, or because it reads a suffix after a
/// dot as the requested format.
fn resembles(segment: &str, literal: &str) -> bool {
    let mut bytes = percent_decode_str(segment);
    literal.bytes().all(|byte| bytes.next().is_some_and(|other| other.eq_ignore_ascii_case(&byte)))
        && matches!(bytes.next(), None | Some(b'.'))
}

#[cfg(test)]
mod tests {
    use http::request::Parts;
    use http::{Request, Uri, uri};
    use proptest::prelude::*;

    use super::*;
    use crate::code::Code;

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
            limits: Limits::default(),
            on_expiry: OnExpiry::default(),
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

    /// The name of the matching route, or the reason why there is none.
    fn outcome(routes: &Routes, request: &Parts, origin_text: &str) -> Result<String, RouteError> {
        let target = Target::parse(request, &origin(origin_text))?;
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
        // Equal to one literal and similar to another: equality decides.
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
