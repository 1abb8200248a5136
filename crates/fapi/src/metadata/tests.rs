//! Documents are compared with the routes that they are made from.

use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::UnixTime;
use crate::credentials::Scheme;
use crate::jose::signing::PrivateKey;
use crate::jose::signing_keys::{JwtSigner, NamedKey, SigningKeys};
use crate::policy::{DetailNeeds, DetailRule, IssuerIndex, NonceMode, Policy, Requirements, ScopeRule};
use crate::route::{Pattern, Requirement, Routes};

const ISSUERS: [&str; 3] = ["https://as.example", "https://wallet.example", "https://as.example"];

fn origin(text: &str) -> Arc<Origin> {
    Arc::new(Origin::parse(text).unwrap())
}

fn resource(text: &str) -> Resource {
    Resource { identifier: ResourceIdentifier::parse(text).unwrap(), name: None, documentation: None }
}

fn policy(scopes: &[&str], issuers: &[usize], schemes: &[Scheme]) -> Requirement {
    let scopes = ScopeRule::All(scopes.iter().map(|scope| Box::from(*scope)).collect());
    let issuers = issuers.iter().map(|index| IssuerIndex(*index)).collect();
    Requirement::Protected(Policy::new(scopes, issuers, schemes.to_vec(), NonceMode::Never).unwrap().into())
}

fn route(pattern: &str, hosts: &[&str], requirement: Requirement) -> Route {
    let hosts = hosts.iter().map(|host| Box::from(*host)).collect();
    Route { hosts, ..crate::testing::route(pattern, pattern, requirement) }
}

const BOTH: &[Scheme] = &[Scheme::Bearer, Scheme::Dpop];

/// The documents about these resources, in this order, where origins know certificates or do not.
fn documents(routes: Vec<Route>, origins: &[(&str, bool)], resources: &[Resource]) -> Vec<Option<Arc<Document>>> {
    let routes = Routes::new(routes).unwrap();
    let parsed: Vec<_> = origins.iter().map(|(text, certificates)| (origin(text), *certificates)).collect();
    let entrances: Vec<_> =
        parsed.iter().map(|(origin, certificates)| Entrance { origin, certificates: *certificates }).collect();
    let enforced = Enforced { routes: &routes, entrances: &entrances, issuers: &ISSUERS, jwks_uri: None };
    resources.iter().map(|one| Document::of(one, resources, enforced, 300).map(Arc::new)).collect()
}

fn json_of(document: &Option<Arc<Document>>) -> Value {
    document.as_ref().map_or(Value::Null, |document| serde_json::from_str(document.content(NOW).as_str()).unwrap())
}

fn get(path: &str) -> Parts {
    Request::get(path).body(()).unwrap().into_parts().0
}

const API: &str = "https://api.example";
const NOW: UnixTime = UnixTime(1_800_000_000);

#[test]
fn prm_03_to_08_a_document_has_the_members_that_hold_and_no_other() {
    let routes = vec![
        route("/accounts/**", &[], policy(&["accounts", "read"], &[0, 1], BOTH)),
        route("/payments", &[], policy(&["payments", "read"], &[2], BOTH)),
        route("/health", &[], Requirement::Public),
    ];
    let named = Resource {
        name: Some("The \"bank\"".into()),
        documentation: Some("https://developer.example/".into()),
        ..resource(API)
    };
    assert_eq!(
        json_of(&documents(routes, &[(API, true)], &[named])[0]),
        json!({
            "resource": "https://api.example",
            "authorization_servers": ["https://as.example", "https://wallet.example"],
            "scopes_supported": ["accounts", "read", "payments"],
            "bearer_methods_supported": ["header"],
            "resource_name": "The \"bank\"",
            "resource_documentation": "https://developer.example/",
            "tls_client_certificate_bound_access_tokens": true,
            "dpop_signing_alg_values_supported": ["PS256", "ES256", "EdDSA"],
            "dpop_bound_access_tokens_required": false,
        })
    );
}

#[test]
fn prm_14_the_types_of_authorization_details_are_those_that_routes_require() {
    let with_details = |kinds: &[&str]| {
        let Requirement::Protected(policy) = policy(&["payments"], &[0], BOTH) else { panic!("it is") };
        let rules = kinds.iter().map(|kind| DetailRule::new(kind, DetailNeeds::default()).unwrap());
        let requirements = Requirements { authorization_details: rules.collect(), ..Requirements::default() };
        Requirement::Protected(Policy::clone(&policy).with_requirements(requirements).into())
    };
    let types = |routes| {
        let document = json_of(&documents(routes, &[(API, true)], &[resource(API)])[0]);
        document.get("authorization_details_types_supported").cloned()
    };
    assert_eq!(types(vec![route("/a", &[], policy(&["a"], &[0], BOTH))]), None, "control");
    let routes = vec![
        route("/a", &[], with_details(&["payment_initiation", "account_information"])),
        route("/b", &[], with_details(&["payment_initiation"])),
    ];
    assert_eq!(types(routes), Some(json!(["payment_initiation", "account_information"])));
}

#[test]
fn prm_07_the_binding_is_what_the_routes_and_the_listeners_take_together() {
    let bindings = |schemes: &[Scheme], certificates| {
        let document = json_of(
            &documents(vec![route("/a", &[], policy(&["a"], &[0], schemes))], &[(API, certificates)], &[resource(API)])
                [0],
        );
        let has = |member: &str| document.get(member).is_some();
        document.is_object().then(|| {
            (
                document["tls_client_certificate_bound_access_tokens"] == true,
                document["dpop_bound_access_tokens_required"] == true,
                has("bearer_methods_supported"),
                has("dpop_signing_alg_values_supported"),
            )
        })
    };
    assert_eq!(bindings(BOTH, true), Some((true, false, true, true)));
    assert_eq!(bindings(&[Scheme::Bearer], true), Some((true, false, true, false)));
    assert_eq!(bindings(&[Scheme::Dpop], true), Some((false, true, false, true)));
    assert_eq!(bindings(BOTH, false), Some((false, true, false, true)));
    assert_eq!(bindings(&[Scheme::Dpop], false), Some((false, true, false, true)));
    // Nobody can use the route.
    assert_eq!(bindings(&[Scheme::Bearer], false), None);
}

#[test]
fn prm_10_a_route_is_in_the_document_of_each_resource_that_its_requests_can_be_for() {
    let routes = || {
        vec![
            route("/accounts/**", &[], policy(&["accounts"], &[0], BOTH)),
            route("/accounts/*/cards/**", &[], policy(&["cards"], &[0], BOTH)),
            route("/payments", &[], policy(&["payments"], &[1], BOTH)),
            route("/**", &[], policy(&["any"], &[0], BOTH)),
            route("/*/cards/x", &[], policy(&["x"], &[0], BOTH)),
        ]
    };
    let scopes = |identifiers: &[&str]| {
        let resources: Vec<_> = identifiers.iter().map(|text| resource(text)).collect();
        let all = documents(routes(), &[(API, true)], &resources).into_iter();
        let named = |document: &Document| document.scopes().join(" ");
        all.map(|document| document.as_deref().map(named).unwrap_or_default()).collect::<Vec<_>>()
    };
    assert_eq!(scopes(&[API]), ["accounts cards payments any x"]); // control
    assert_eq!(
        scopes(&[API, "https://api.example/accounts", "https://api.example/accounts/1"]),
        ["payments any x", "accounts cards any x", "accounts cards any"]
    );
    assert_eq!(
        scopes(&["https://api.example/accounts/cards", "https://api.example/payments"]),
        ["accounts cards any x", "payments any x"]
    );
    assert_eq!(scopes(&["https://api.example:8443", "https://other.example"]), ["", ""]);
}

#[test]
fn prm_03_each_host_has_its_own_documents() {
    let routes = || {
        vec![
            route("/a", &[], policy(&["everywhere"], &[0], BOTH)),
            route("/a", &["two.example"], policy(&["two"], &[1], BOTH)),
            route("/open", &["three.example"], Requirement::Public),
        ]
    };
    let origins = [("https://one.example", true), ("https://two.example", true), ("https://three.example/p", true)];
    let resources = ["https://one.example", "https://two.example", "https://three.example/p"].map(resource);
    let all = documents(routes(), &origins, &resources);
    let scopes = all.iter().map(|document| document.as_deref().map(|document| document.scopes().join(" ")));
    assert_eq!(scopes.collect::<Vec<_>>(), [Some("everywhere".into()), Some("two".into()), Some("everywhere".into())]);
    let metadata = Metadata::new(all.into_iter().flatten().collect());
    let found = |at: &str, path: &str| {
        let (request, origin) = (get(path), origin(at));
        let target = Target::parse(&request, &origin).unwrap();
        match metadata.find(&request, &target)? {
            Ok(Found::Document(document)) => Some(document.identifier().as_str().to_owned()),
            Ok(Found::Preflight(_)) => panic!("it is not a preflight"),
            Err(error) => Some(format!("{:?}", error.code())),
        }
    };
    let root = WELL_KNOWN;
    for (at, path, what) in [
        ("https://one.example", root.to_owned(), Some("https://one.example")),
        ("https://one.example", format!("{root}/"), Some("https://one.example")),
        ("https://two.example", root.to_owned(), Some("https://two.example")),
        ("https://one.example", format!("{root}/x"), Some("RouteNotFound")),
        ("https://one.example", format!("{root}x"), None),
        ("https://one.example", "/.well-known".to_owned(), None),
        ("https://one.example", format!("/x{root}"), None),
        // The outer proxy removes nothing here: its prefix is at the end.
        ("https://three.example/p", format!("{root}/p"), Some("https://three.example/p")),
        ("https://three.example/p", root.to_owned(), Some("RouteNotFound")),
        ("https://one.example:8443", root.to_owned(), None),
        ("https://four.example", root.to_owned(), None),
    ] {
        assert_eq!(found(at, &path).as_deref(), what, "{at}{path}");
    }
}

#[test]
fn prm_02_only_get_and_head_read_a_document() {
    let metadata = Metadata::new(
        documents(vec![route("/a", &[], policy(&["a"], &[0], BOTH))], &[(API, true)], &[resource(API)])
            .into_iter()
            .flatten()
            .collect(),
    );
    let found = |method: &str, fields: &[(&str, &str)]| {
        let mut request = Request::builder().method(method).uri(WELL_KNOWN);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (request, origin) = (request.body(()).unwrap().into_parts().0, origin(API));
        let target = Target::parse(&request, &origin).unwrap();
        match metadata.find(&request, &target).unwrap() {
            Ok(Found::Document(_)) => "document".to_owned(),
            Ok(Found::Preflight(granted)) => format!("{:?}", granted.fields()[0].1),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!((&*found("GET", &[]), &*found("HEAD", &[])), ("document", "document")); // control
    let app = ("origin", "https://app.example");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get"] {
        assert_eq!(found(method, &[app]), "the route has only the methods \"GET, HEAD\"", "{method}");
    }
    let asks = |method| found("OPTIONS", &[app, ("access-control-request-method", method)]);
    assert_eq!((&*asks("GET"), &*asks("HEAD")), ("\"*\"", "\"*\""));
    assert!(asks("POST").contains("the preflight is not granted"), "{}", asks("POST"));
}

#[test]
fn prm_15_who_has_the_document_is_told_so() {
    let all = documents(vec![route("/a", &[], policy(&["a"], &[0], BOTH))], &[(API, true)], &[resource(API)]);
    let content = all[0].as_ref().unwrap().content(NOW);
    let fresh = content.response(&HeaderMap::new());
    assert_eq!((fresh.status(), *fresh.body()), (StatusCode::OK, content.as_str()));
    let field = |name| fresh.headers().get(name).unwrap().to_str().unwrap();
    assert_eq!(field(header::CACHE_CONTROL), "public, max-age=300");
    assert_eq!(field(header::CONTENT_TYPE), "application/json");
    let etag = field(header::ETAG);
    assert_eq!(etag.len(), 45);
    for (known, status) in [
        (etag.to_owned(), 304),
        (format!("W/{etag}"), 304),
        (format!("\"other\", {etag}"), 304),
        ("*".to_owned(), 304),
        ("\"other\"".to_owned(), 200),
        (etag.trim_matches('"').to_owned(), 200),
        (String::new(), 200),
    ] {
        let request = HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::try_from(&known).unwrap())]);
        let response = content.response(&request);
        assert_eq!(response.status(), status, "{known}");
        assert_eq!(response.headers().get(header::ETAG).unwrap(), etag);
        assert_eq!(response.body().is_empty(), status == 304);
    }
}

/// The signed document about a resource, its keys, and the claims that another library verifies at a time.
struct SignedDocument {
    document: Document,
    keys: Arc<SigningKeys>,
}

impl SignedDocument {
    fn new() -> Self {
        let key =
            NamedKey::new(PrivateKey::generate(crate::jose::keys::Algorithm::Es256).unwrap(), Some("one")).unwrap();
        let keys = Arc::new(SigningKeys::new(key, &[]));
        let all = documents(vec![route("/a", &[], policy(&["a"], &[0], BOTH))], &[(API, true)], &[resource(API)]);
        let document = Arc::into_inner(all.into_iter().flatten().next().unwrap()).unwrap();
        Self { document: document.signed_by(JwtSigner::new(keys.clone(), SIGNED_TYPE)), keys }
    }

    fn members(&self, now: UnixTime) -> Value {
        serde_json::from_str(self.document.content(now).as_str()).unwrap()
    }

    fn claims(&self, now: UnixTime) -> Value {
        let set: JwkSet = serde_json::from_str(self.keys.key_set()).unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[API]);
        // The time of the test is not that of the library's clock.
        validation.validate_exp = false;
        let key = DecodingKey::from_jwk(set.find("one").unwrap()).unwrap();
        decode(self.members(now)["signed_metadata"].as_str().unwrap(), &key, &validation).unwrap().claims
    }
}

#[test]
fn prm_11_a_signed_document_has_its_members_in_a_jwt_too() {
    let signed = SignedDocument::new();
    let mut members = signed.members(NOW);
    let mut claims = signed.claims(NOW);
    let jwt = members.as_object_mut().unwrap().remove("signed_metadata");
    assert!(jwt.is_some());
    let claims = claims.as_object_mut().unwrap();
    let own = ["iss", "iat", "exp"].map(|name| claims.remove(name).unwrap());
    assert_eq!(own, [json!(API), json!(NOW.0), json!(NOW.0 + 86_400)]);
    // "A signed_metadata parameter SHOULD NOT appear as a claim in the JWT": the rest is the document without it.
    assert_eq!(Value::Object(claims.clone()), members);
    // control
    let all = documents(vec![route("/a", &[], policy(&["a"], &[0], BOTH))], &[(API, true)], &[resource(API)]);
    assert_eq!(json_of(&all[0]), members);
}

#[test]
fn prm_11_a_signature_is_renewed_before_it_ages_and_when_the_clock_is_set_back() {
    let signed = SignedDocument::new();
    let issued = |now| signed.claims(now)["iat"].clone();
    assert_eq!(issued(NOW), NOW.0);
    assert_eq!(issued(NOW.plus(43_199)), NOW.0, "control");
    assert_eq!(issued(NOW.plus(43_200)), NOW.0 + 43_200);
    assert_eq!(issued(UnixTime(NOW.0 - 1)), NOW.0 - 1);
    let [one, other] = [NOW, NOW].map(|now| signed.document.content(now));
    assert!(Arc::ptr_eq(&one, &other), "one signature serves everybody");
}

#[test]
fn a_route_for_nothing_but_metadata_is_hidden_where_there_are_documents() {
    let all = documents(vec![route("/a", &[], policy(&["a"], &[0], BOTH))], &[(API, true)], &[resource(API)]);
    let metadata = Metadata::new(all.into_iter().flatten().collect());
    let hidden = |pattern, hosts: &[&str]| metadata.hides(&route(pattern, hosts, Requirement::Public));
    for pattern in [WELL_KNOWN, "/.well-known/oauth-protected-resource/**", "/.well-known/oauth-protected-resource/a/*"]
    {
        assert!(hidden(pattern, &[]) && hidden(pattern, &["api.example"]), "{pattern}");
        assert!(!hidden(pattern, &["other.example"]), "control: {pattern}");
        assert!(!Metadata::default().hides(&route(pattern, &[], Requirement::Public)), "control: {pattern}");
    }
    for pattern in [
        "/**",
        "/.well-known/**",
        "/.well-known/*",
        "/.well-known/oauth-protected-resources",
        "/*/oauth-protected-resource",
    ] {
        assert!(!hidden(pattern, &[]), "{pattern}");
    }
}

/// A path or pattern of up to three of these segments.
fn segments(from: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(from), 0..4).prop_map(|all| format!("/{}", all.join("/")))
}

proptest! {
    /// Whatever a request is refused for, the document to which its challenge leads names what the route accepts; and it
    /// names nothing that no route of the resource accepts.
    #[test]
    fn prm_12_a_document_names_what_its_routes_accept(
        patterns in proptest::collection::btree_set(segments(&["a", "b", "*"]), 1..6),
        rest in any::<[bool; 6]>(),
        identifiers in proptest::collection::btree_set(segments(&["a", "b"]), 1..4),
        path in segments(&["a", "b", "c"]),
    ) {
        let slash = |text: &str| if text == "/" { String::new() } else { text.to_owned() };
        let written = patterns.iter().zip(rest).map(|(text, rest)| if rest { format!("{}/**", slash(text)) } else { text.clone() });
        let routes: Vec<_> = written.enumerate().map(|(index, pattern)| {
            let scope = format!("s{index}");
            route(&pattern, &[], policy(&[&scope], &[index % 2], &[[Scheme::Bearer, Scheme::Dpop][index % 2]]))
        }).collect();
        let resources: Vec<_> = identifiers.iter().map(|path| resource(&format!("{API}{}", slash(path)))).collect();
        let copies: Vec<_> = routes.iter().map(|one| (one.pattern.clone(), one.policy().unwrap().clone())).collect();
        let documents = documents(routes, &[(API, true)], &resources);
        // What is named is accepted by a route that leads into the resource.
        for (document, identifier) in documents.iter().zip(&resources) {
            for scope in document.iter().flat_map(|document| document.scopes()) {
                let beginning = identifier.identifier.beginning_at(&origin(API)).unwrap();
                let own = |(pattern, policy): &&(Pattern, Policy)| policy.scopes().eq([&**scope]) && pattern.leads_to(&beginning);
                prop_assert!(copies.iter().any(|copy| own(&copy)), "{scope}");
            }
        }
        // What decides on a request is named in the document that its challenge leads to.
        let again: Vec<_> = copies.iter().map(|(pattern, policy)| {
            route(pattern.as_str(), &[], Requirement::Protected(Arc::new(policy.clone())))
        }).collect();
        let (request, at) = (get(&path), origin(API));
        let found = Routes::new(again).unwrap().find(&Target::parse(&request, &at).unwrap());
        let metadata = Metadata::new(documents.into_iter().flatten().collect());
        let covered = resources.iter().any(|resource| resource.identifier.covers(&at, &path));
        if let (Ok(matched), true) = (found, covered) {
            let policy = matched.route().policy().unwrap();
            let document = metadata.about(&at, &path).unwrap();
            prop_assert!(policy.scopes().all(|scope| document.scopes().iter().any(|named| **named == *scope)));
            prop_assert!(policy.issuers().iter().all(|index| document.issuers().contains(index)));
            let content: Value = serde_json::from_str(document.content(NOW).as_str()).unwrap();
            for scheme in policy.schemes() {
                let member = match scheme {
                    Scheme::Bearer => "bearer_methods_supported",
                    Scheme::Dpop => "dpop_signing_alg_values_supported",
                };
                prop_assert!(content[member].is_array(), "{member}");
            }
        }
    }
}
