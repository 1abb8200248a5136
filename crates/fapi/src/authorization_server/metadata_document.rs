//! The metadata of the guarded server, as it is true of the server with the gateway in front of it (RFC 8414 §2).
//!
//! The server describes all that it can do, at the addresses that it knows of itself. Clients are told what they can use and where.

use serde_json::{Map, Value};

use super::answer::AnswerError;
use super::rules;
use crate::jose::claims::REGISTERED;
use crate::jose::json::parse_object;
use crate::jose::jws::Jws;
use crate::jose::keys::Algorithm;
use crate::text::{Names, printable, shown_value};

/// The longest `signed_metadata`, in bytes.
pub const MAX_SIGNED: usize = 256 * 1024;

/// An endpoint that the gateway serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// Its member in the metadata, such as `token_endpoint`, or `jwks_uri`.
    pub member: &'a str,
    /// Its URL, as clients know it.
    pub url: &'a str,
}

/// The member that names the UserInfo endpoint (OpenID Connect Discovery §3).
pub const USERINFO: &str = "userinfo_endpoint";

/// Where a server says that its endpoints are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The path of each endpoint that it names.
    pub paths: Vec<(rules::Endpoint, Box<str>)>,
    /// The path of its UserInfo endpoint.
    pub userinfo: Option<Box<str>>,
}

/// Why a copy of the metadata of a server says nothing of its endpoints.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishedError {
    /// It is no JSON object, or one with two readings.
    #[error("not a JSON object with one reading")]
    NotJson,
    /// It is of another server.
    #[error("its issuer is {found}, expected {expected:?}")]
    IssuerMismatch {
        /// What it is, made printable.
        found: Box<str>,
        /// The issuer that is configured.
        expected: Box<str>,
    },
    /// An endpoint is at no path.
    #[error("{member} is {found}, expected an http or https URL with a path, without query and fragment")]
    UrlMalformed {
        /// The member.
        member: &'static str,
        /// What it is, made printable.
        found: Box<str>,
    },
}

/// Reads from the metadata of this issuer where its endpoints are. Their hosts may be others than clients know.
///
/// # Errors
/// [`PublishedError`], for the first member that is at fault.
pub fn published(document: &[u8], issuer: &str) -> Result<Published, PublishedError> {
    let members = parse_object(document).map_err(|_| PublishedError::NotJson)?;
    if members.get("issuer").and_then(Value::as_str) != Some(issuer) {
        let found = shown_value(members.get("issuer"));
        return Err(PublishedError::IssuerMismatch { found, expected: issuer.into() });
    }
    let path = |member: &'static str| match members.get(member).filter(|value| !value.is_null()) {
        None => Ok(None),
        Some(value) => {
            let path = value.as_str().and_then(path_of).map(Box::from);
            let malformed = || PublishedError::UrlMalformed { member, found: shown_value(Some(value)) };
            path.ok_or_else(malformed).map(Some)
        }
    };
    let mut paths = Vec::new();
    for endpoint in rules::Endpoint::ALL {
        let found = endpoint.member().map(&path).transpose()?.flatten();
        paths.extend(found.map(|path| (endpoint, path)));
    }
    Ok(Published { paths, userinfo: path(USERINFO)? })
}

/// The path of an http or https URL that has no query and no fragment.
fn path_of(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let is_http = ["https", "http"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let path = rest.find('/').and_then(|slash| rest.get(slash..))?;
    (is_http && !path.contains(['?', '#'])).then_some(path)
}

/// Whether clients may, or have to, sign their authorization requests (RFC 9101).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestObjects {
    /// They may not.
    Refused,
    /// They may, if the server can.
    Allowed,
    /// They have to (FAPI 2.0 Message Signing §5.3).
    Required,
}

/// What is allowed here, of all that the server can do.
#[derive(Clone, Copy, Debug)]
pub struct Allowed<'a> {
    /// The issuer, as it is configured.
    pub issuer: &'a str,
    /// The endpoints that the gateway serves.
    pub endpoints: &'a [Endpoint<'a>],
    /// Those of them that clients with certificates have to use instead (RFC 8705 §5).
    pub mtls_endpoint_aliases: &'a [Endpoint<'a>],
    /// `response_modes_supported`: `query`, or `jwt` and `query.jwt`.
    pub response_modes: &'a [&'a str],
    /// Whether responses as parameters may be without `iss`: then the server itself says whether they have it.
    pub may_lack_issuer: bool,
    /// `grant_types_supported`.
    pub grant_types: &'a [&'a str],
    /// `token_endpoint_auth_methods_supported`, and those of the other endpoints.
    pub authentication_methods: &'a [&'a str],
    /// The algorithms of assertions, request objects, proofs and responses.
    pub algorithms: &'a [Algorithm],
    /// Whether requests may be signed.
    pub request_objects: RequestObjects,
    /// Whether access tokens may be bound to certificates.
    pub certificate_bound_access_tokens: bool,
}

/// The metadata as clients may have it.
///
/// `issuer` has to be the one that is configured. Each `*_endpoint`, `jwks_uri` and `check_session_iframe` becomes the URL that the
/// gateway serves, or is left out. Lists are narrowed to what is allowed, and a list that is missing counts as what RFC 8414 §2 says
/// that it means. Flags say what the gateway enforces.
///
/// With `signed_metadata`, which clients prefer, nothing is changed: all of this has to be so already, in what is signed too, and the
/// document is returned byte for byte. Its signature is not verified, which is for clients, who know whose it should be.
///
/// Does not narrow what the gateway does not judge, such as scopes, claims, and the algorithms of ID tokens.
///
/// # Errors
/// [`AnswerError`], for the first check that fails.
pub fn rewrite(document: &[u8], allowed: &Allowed<'_>) -> Result<Vec<u8>, AnswerError> {
    let members = parse_object(document).map_err(|_| AnswerError::NotJson)?;
    // RFC 8414 §3.3: "The issuer value returned MUST be identical to the authorization server's issuer identifier value".
    if members.get("issuer").and_then(Value::as_str) != Some(allowed.issuer) {
        let found = shown_value(members.get("issuer"));
        return Err(AnswerError::IssuerMismatch { found, expected: allowed.issuer.into() });
    }
    let rewritten = rewritten(members.clone(), allowed)?;
    if members.contains_key("signed_metadata") {
        check_signed(&members, &rewritten)?;
        return Ok(document.to_vec());
    }
    serde_json::to_vec(&rewritten).map_err(|_| AnswerError::NotJson)
}

/// Checks that nothing had to be changed, and that what is signed is the same.
fn check_signed(members: &Map<String, Value>, rewritten: &Map<String, Value>) -> Result<(), AnswerError> {
    let mut names = members.keys().chain(rewritten.keys());
    if let Some(changed) = names.find(|name| members.get(*name) != rewritten.get(*name)) {
        return Err(AnswerError::MetadataSigned { member: printable(changed) });
    }
    let malformed = || AnswerError::MemberMalformed { member: "signed_metadata", expected: "a signed JWT" };
    let signed = members.get("signed_metadata").and_then(Value::as_str).ok_or_else(malformed)?;
    let claims = Jws::parse(signed, MAX_SIGNED).map_err(|_| malformed())?.into_unverified_payload();
    let mut stated = claims.iter().filter(|(name, _)| !REGISTERED.contains(&name.as_str()));
    match stated.find(|(name, value)| members.get(*name) != Some(*value)) {
        Some((name, _)) => Err(AnswerError::MetadataContradicted { member: printable(name) }),
        None => Ok(()),
    }
}

fn rewritten(mut members: Map<String, Value>, allowed: &Allowed<'_>) -> Result<Map<String, Value>, AnswerError> {
    members.retain(|name, value| {
        if !name.ends_with("_endpoint") && !OTHER_URLS.contains(&name.as_str()) {
            return true;
        }
        let served = allowed.endpoints.iter().find(|endpoint| endpoint.member == *name);
        served.is_some_and(|endpoint| {
            *value = endpoint.url.into();
            true
        })
    });
    let aliases = allowed.mtls_endpoint_aliases.iter();
    let aliases: Map<_, _> = aliases.map(|alias| (alias.member.to_owned(), alias.url.into())).collect();
    set(&mut members, "mtls_endpoint_aliases", (!aliases.is_empty()).then(|| aliases.into()));
    let by_code = |name: &str| name == "code";
    narrow(&mut members, "response_types_supported", Some(&[]), by_code)?;
    let modes = Some(&["query", "fragment"][..]);
    narrow(&mut members, "response_modes_supported", modes, |name| allowed.response_modes.contains(&name))?;
    let grants = Some(&["authorization_code", "implicit"][..]);
    narrow(&mut members, "grant_types_supported", grants, |name| allowed.grant_types.contains(&name))?;
    narrow(&mut members, "code_challenge_methods_supported", Some(&[]), |name| name == "S256")?;
    narrow_authentication(&mut members, allowed)?;
    narrow_algorithms(&mut members, allowed)?;
    let certificates = allowed.certificate_bound_access_tokens;
    let certificates = certificates && members.get("tls_client_certificate_bound_access_tokens") == Some(&true.into());
    set(&mut members, "tls_client_certificate_bound_access_tokens", certificates.then(|| true.into()));
    set(&mut members, "require_pushed_authorization_requests", Some(true.into()));
    // RFC 9207 §3 is about the parameter. A JWT has the issuer as a claim, which goes without saying.
    let is_parameter = allowed.response_modes.contains(&"query");
    if !(is_parameter && allowed.may_lack_issuer) {
        set(&mut members, "authorization_response_iss_parameter_supported", is_parameter.then(|| true.into()));
    }
    match allowed.request_objects {
        RequestObjects::Refused => {
            set(&mut members, "require_signed_request_object", None);
            set(&mut members, "request_parameter_supported", Some(false.into()));
        }
        RequestObjects::Allowed => {}
        RequestObjects::Required => {
            set(&mut members, "require_signed_request_object", Some(true.into()));
            set(&mut members, "request_parameter_supported", Some(true.into()));
        }
    }
    // RFC 9126 §5: a pushed request is usable "regardless of other authorization server metadata such as
    // request_uri_parameter_supported", which is about requests at the URLs of clients.
    set(&mut members, "request_uri_parameter_supported", Some(false.into()));
    Ok(members)
}

/// Narrows how clients authenticate at each endpoint, and with which algorithms.
fn narrow_authentication(members: &mut Map<String, Value>, allowed: &Allowed<'_>) -> Result<(), AnswerError> {
    for (endpoint, methods, algorithms, default) in AUTHENTICATED {
        if !members.contains_key(endpoint) {
            set(members, methods, None);
            set(members, algorithms, None);
            continue;
        }
        narrow(members, methods, default, |name| allowed.authentication_methods.contains(&name))?;
        let signs =
            |methods: &Value| methods.as_array().is_some_and(|all| all.iter().any(|one| one == PRIVATE_KEY_JWT));
        if members.get(methods).is_none_or(signs) {
            narrow(members, algorithms, None, |name| is_algorithm(name, allowed))?;
        } else {
            set(members, algorithms, None);
        }
    }
    Ok(())
}

/// Narrows the algorithms of what is signed by clients, and of responses.
fn narrow_algorithms(members: &mut Map<String, Value>, allowed: &Allowed<'_>) -> Result<(), AnswerError> {
    let objects = allowed.request_objects != RequestObjects::Refused;
    let responses = allowed.response_modes.iter().any(|mode| mode.ends_with("jwt"));
    for (member, is_used) in [
        ("dpop_signing_alg_values_supported", true),
        ("request_object_signing_alg_values_supported", objects),
        ("authorization_signing_alg_values_supported", responses),
    ] {
        if is_used {
            narrow(members, member, None, |name| is_algorithm(name, allowed))?;
        } else {
            set(members, member, None);
        }
    }
    Ok(())
}

fn is_algorithm(name: &str, allowed: &Allowed<'_>) -> bool {
    Algorithm::from_name(name).is_some_and(|algorithm| allowed.algorithms.contains(&algorithm))
}

/// Keeps of a list what is allowed. A list that is missing is `default`, or stays missing if nothing is known of it.
fn narrow(
    members: &mut Map<String, Value>,
    member: &'static str,
    default: Option<&[&str]>,
    is_allowed: impl Fn(&str) -> bool,
) -> Result<(), AnswerError> {
    let malformed = AnswerError::MemberMalformed { member, expected: "a list of texts" };
    let supported: Vec<&str> = match (members.get(member), default) {
        (None, None) => return Ok(()),
        (None, Some(default)) => default.to_vec(),
        (Some(Value::Array(all)), _) => all.iter().map(Value::as_str).collect::<Option<_>>().ok_or(malformed)?,
        (Some(_), _) => return Err(malformed),
    };
    let kept: Vec<Value> = supported.iter().filter(|name| is_allowed(name)).map(|name| (*name).into()).collect();
    if kept.is_empty() {
        return Err(AnswerError::NothingAllowed { member, found: Names::of(supported) });
    }
    set(members, member, Some(kept.into()));
    Ok(())
}

/// Sets a member, or leaves it out.
fn set(members: &mut Map<String, Value>, member: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(members.insert(member.to_owned(), value)),
        None => drop(members.remove(member)),
    }
}

/// URLs of the server whose members do not end in `_endpoint`.
const OTHER_URLS: &[&str] = &["jwks_uri", "check_session_iframe"];

const PRIVATE_KEY_JWT: &str = "private_key_jwt";

/// The endpoints at which clients authenticate: with which methods and algorithms, and with which methods if there are none.
///
/// At the revocation endpoint that would be `client_secret_basic` too. Many servers leave it out that have one list for all
/// endpoints, and the gateway has the same methods for all of them.
const AUTHENTICATED: [(&str, &str, &str, Option<&[&str]>); 3] = [
    (
        "token_endpoint",
        "token_endpoint_auth_methods_supported",
        "token_endpoint_auth_signing_alg_values_supported",
        Some(&["client_secret_basic"]),
    ),
    (
        "introspection_endpoint",
        "introspection_endpoint_auth_methods_supported",
        "introspection_endpoint_auth_signing_alg_values_supported",
        None,
    ),
    (
        "revocation_endpoint",
        "revocation_endpoint_auth_methods_supported",
        "revocation_endpoint_auth_signing_alg_values_supported",
        None,
    ),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::code::Code;
    use crate::testing::unsigned;

    const ENDPOINTS: &[Endpoint<'static>] = &[
        Endpoint { member: "authorization_endpoint", url: "https://as.example/authorize" },
        Endpoint { member: "token_endpoint", url: "https://as.example/token" },
        Endpoint { member: "pushed_authorization_request_endpoint", url: "https://as.example/par" },
        Endpoint { member: "revocation_endpoint", url: "https://as.example/revoke" },
        Endpoint { member: "jwks_uri", url: "https://as.example/jwks" },
    ];
    const ALIASES: &[Endpoint<'static>] =
        &[Endpoint { member: "token_endpoint", url: "https://mtls.as.example/token" }];

    const ALLOWED: Allowed<'static> = Allowed {
        issuer: "https://as.example",
        endpoints: ENDPOINTS,
        mtls_endpoint_aliases: ALIASES,
        response_modes: &["query"],
        may_lack_issuer: false,
        grant_types: &["authorization_code", "refresh_token"],
        authentication_methods: &["private_key_jwt", "tls_client_auth"],
        algorithms: Algorithm::ALL,
        request_objects: RequestObjects::Refused,
        certificate_bound_access_tokens: true,
    };

    const WITH_MESSAGES: Allowed<'static> =
        Allowed { response_modes: &["jwt", "query.jwt"], request_objects: RequestObjects::Required, ..ALLOWED };

    /// What a server says that can do everything.
    fn full() -> Value {
        let algorithms = ["RS256", "ES256", "PS256", "HS256", "EdDSA", "none"];
        json!({
            "issuer": "https://as.example",
            "authorization_endpoint": "http://as:8080/authorize",
            "token_endpoint": "http://as:8080/token",
            "pushed_authorization_request_endpoint": "http://as:8080/par",
            "introspection_endpoint": "http://as:8080/introspect",
            "revocation_endpoint": "http://as:8080/revoke",
            "registration_endpoint": "http://as:8080/register",
            "check_session_iframe": "http://as:8080/session",
            "jwks_uri": "http://as:8080/jwks",
            "mtls_endpoint_aliases": { "token_endpoint": "http://as:8443/token" },
            "scopes_supported": ["accounts"],
            "response_types_supported": ["token", "code", "code id_token"],
            "response_modes_supported": ["query", "fragment", "form_post", "query.jwt", "jwt"],
            "grant_types_supported": ["authorization_code", "implicit", "password", "refresh_token"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "tls_client_auth", "private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": algorithms,
            "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
            "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
            "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
            "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
            "request_object_signing_alg_values_supported": algorithms,
            "authorization_signing_alg_values_supported": algorithms,
            "dpop_signing_alg_values_supported": algorithms,
            "code_challenge_methods_supported": ["plain", "S256"],
            "tls_client_certificate_bound_access_tokens": true,
            "require_pushed_authorization_requests": false,
            "require_signed_request_object": true,
            "request_parameter_supported": true,
            "request_uri_parameter_supported": true,
            "claims_supported": ["sub"],
        })
    }

    fn read(document: &Value, allowed: &Allowed<'_>) -> Result<Value, AnswerError> {
        let rewritten = rewrite(document.to_string().as_bytes(), allowed)?;
        Ok(serde_json::from_slice(&rewritten).unwrap())
    }

    /// Rewrites what the server says, with one member replaced, or removed by `null`.
    fn with(member: &str, value: Value, allowed: &Allowed<'_>) -> Result<Value, AnswerError> {
        read(&changed(full(), member, value), allowed)
    }

    fn changed(mut document: Value, member: &str, value: Value) -> Value {
        set(document.as_object_mut().unwrap(), member, (!value.is_null()).then_some(value));
        document
    }

    #[test]
    fn fapi2_as_45_clients_are_told_what_they_can_use_and_where() {
        let algorithms = ["ES256", "PS256", "EdDSA"];
        let expected = json!({
            "issuer": "https://as.example",
            "authorization_endpoint": "https://as.example/authorize",
            "token_endpoint": "https://as.example/token",
            "pushed_authorization_request_endpoint": "https://as.example/par",
            "revocation_endpoint": "https://as.example/revoke",
            "jwks_uri": "https://as.example/jwks",
            "mtls_endpoint_aliases": { "token_endpoint": "https://mtls.as.example/token" },
            "scopes_supported": ["accounts"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_methods_supported": ["tls_client_auth", "private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": algorithms,
            "revocation_endpoint_auth_methods_supported": ["private_key_jwt"],
            "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
            "dpop_signing_alg_values_supported": algorithms,
            "code_challenge_methods_supported": ["S256"],
            "tls_client_certificate_bound_access_tokens": true,
            "require_pushed_authorization_requests": true,
            "authorization_response_iss_parameter_supported": true,
            "request_parameter_supported": false,
            "request_uri_parameter_supported": false,
            "claims_supported": ["sub"],
        });
        assert_eq!(read(&full(), &ALLOWED), Ok(expected.clone()));
        assert_eq!(read(&expected, &ALLOWED), Ok(expected), "what is so already stays so");
    }

    #[test]
    fn fapi2_as_20_where_iss_may_be_missing_the_server_says_whether_it_is() {
        let member = "authorization_response_iss_parameter_supported";
        let said = |value: Value, may_lack_issuer| {
            with(member, value, &Allowed { may_lack_issuer, ..ALLOWED }).unwrap().get(member).cloned()
        };
        for value in [json!(true), json!(false), json!(null)] {
            assert_eq!(said(value.clone(), false), Some(json!(true)), "{value}"); // control
        }
        assert_eq!(said(json!(true), true), Some(json!(true)));
        assert_eq!(said(json!(false), true), Some(json!(false)));
    }

    #[test]
    fn f2sp_message_signing_is_said_where_it_is_enforced() {
        let algorithms = json!(["ES256", "PS256", "EdDSA"]);
        let document = read(&full(), &WITH_MESSAGES).unwrap();
        for (member, expected) in [
            ("response_modes_supported", json!(["query.jwt", "jwt"])),
            ("require_signed_request_object", json!(true)),
            ("request_parameter_supported", json!(true)),
            ("request_object_signing_alg_values_supported", algorithms.clone()),
            ("authorization_signing_alg_values_supported", algorithms.clone()),
        ] {
            assert_eq!(document[member], expected, "{member}");
        }
        assert_eq!(document.get("authorization_response_iss_parameter_supported"), None);
        // Where requests may be signed and need not be, it is as the server says.
        let document = read(&full(), &Allowed { request_objects: RequestObjects::Allowed, ..ALLOWED }).unwrap();
        assert_eq!(document["require_signed_request_object"], true);
        assert_eq!(document["request_parameter_supported"], true);
        assert_eq!(document["request_object_signing_alg_values_supported"], algorithms);
    }

    #[test]
    fn endpoints_are_where_their_server_says() {
        let read = |document: &Value| published(document.to_string().as_bytes(), "https://as.example");
        let document = json!({
            "issuer": "https://as.example",
            "token_endpoint": "https://as.example/oauth/token",
            "authorization_endpoint": "HTTP://as:8080/authorize",
            "jwks_uri": null,
            "userinfo_endpoint": "https://as.example/me",
        });
        let paths = vec![
            (rules::Endpoint::Authorization, "/authorize".into()),
            (rules::Endpoint::Token, "/oauth/token".into()),
        ];
        assert_eq!(read(&document), Ok(Published { paths, userinfo: Some("/me".into()) })); // control
        for wrong in [
            json!("https://as.example"),
            json!("/token"),
            json!("ftp://as.example/t"),
            json!("https://as.example/t?a=b"),
            json!("https://as.example/t#a"),
            json!(1),
        ] {
            let found = read(&changed(document.clone(), "token_endpoint", wrong.clone()));
            assert!(matches!(found, Err(PublishedError::UrlMalformed { member: "token_endpoint", .. })), "{wrong}");
        }
        let other = read(&changed(document, "issuer", json!("https://as.example/")));
        assert!(matches!(other, Err(PublishedError::IssuerMismatch { .. })));
        assert_eq!(published(b"[]", "https://as.example"), Err(PublishedError::NotJson));
        assert_eq!(published(br#"{"issuer":"a","issuer":"a"}"#, "a"), Err(PublishedError::NotJson));
    }

    #[test]
    fn fapi2_as_01_the_issuer_is_the_one_that_is_configured() {
        assert!(with("issuer", json!("https://as.example"), &ALLOWED).is_ok()); // control
        for other in [
            json!("https://as.example/"),
            json!("HTTPS://as.example"),
            json!("http://as:8080"),
            json!(["https://as.example"]),
            json!(null),
        ] {
            let error = with("issuer", other.clone(), &ALLOWED).unwrap_err();
            assert!(matches!(error, AnswerError::IssuerMismatch { .. }), "{other}: {error}");
            assert_eq!(error.code(), Code::MetadataMismatch);
        }
        let twice = full().to_string().replacen('{', r#"{"issuer":"https://as.example","#, 1);
        for document in [twice.as_str(), "", "[]", "<html></html>"] {
            assert_eq!(rewrite(document.as_bytes(), &ALLOWED), Err(AnswerError::NotJson), "{document}");
        }
    }

    #[test]
    fn fapi2_as_33_aliases_are_those_that_the_gateway_serves() {
        let aliases = json!({ "token_endpoint": "https://mtls.as.example/token" });
        for found in [json!({}), json!({ "token_endpoint": "http://evil.example" }), json!("x"), json!(null)] {
            let document = with("mtls_endpoint_aliases", found.clone(), &ALLOWED).unwrap();
            assert_eq!(document["mtls_endpoint_aliases"], aliases, "{found}");
        }
        let without = read(&full(), &Allowed { mtls_endpoint_aliases: &[], ..ALLOWED }).unwrap();
        assert_eq!(without.get("mtls_endpoint_aliases"), None);
        // An endpoint that the server does not have is not invented.
        let document = with("revocation_endpoint", json!(null), &ALLOWED).unwrap();
        for member in [
            "revocation_endpoint",
            "revocation_endpoint_auth_methods_supported",
            "revocation_endpoint_auth_signing_alg_values_supported",
        ] {
            assert_eq!(document.get(member), None, "{member}");
        }
    }

    #[test]
    fn fapi2_as_05_as_14_as_18_a_server_that_supports_nothing_of_what_is_allowed_is_the_wrong_one() {
        let refused = |member: &str, value: Value| {
            let error = with(member, value.clone(), &WITH_MESSAGES).unwrap_err();
            assert!(matches!(error, AnswerError::NothingAllowed { member: found, .. } if found == member), "{value}");
            assert_eq!(error.code(), Code::MetadataMismatch);
        };
        assert!(read(&full(), &WITH_MESSAGES).is_ok()); // control
        for (member, only) in [
            ("response_types_supported", "code id_token"),
            ("response_modes_supported", "query"),
            ("grant_types_supported", "implicit"),
            ("token_endpoint_auth_methods_supported", "client_secret_jwt"),
            ("revocation_endpoint_auth_methods_supported", "client_secret_basic"),
            ("token_endpoint_auth_signing_alg_values_supported", "RS256"),
            ("revocation_endpoint_auth_signing_alg_values_supported", "HS256"),
            ("request_object_signing_alg_values_supported", "none"),
            ("authorization_signing_alg_values_supported", "RS256"),
            ("dpop_signing_alg_values_supported", "RS256"),
            ("code_challenge_methods_supported", "plain"),
        ] {
            refused(member, json!([only]));
            refused(member, json!([]));
            for value in [json!(only), json!([only, 7]), json!({})] {
                let error = with(member, value.clone(), &WITH_MESSAGES).unwrap_err();
                assert!(
                    matches!(error, AnswerError::MemberMalformed { member: found, .. } if found == member),
                    "{value}"
                );
            }
        }
        // What is missing has the value that the standard gives it.
        for member in [
            "response_types_supported",
            "response_modes_supported",
            "token_endpoint_auth_methods_supported",
            "code_challenge_methods_supported",
        ] {
            refused(member, json!(null));
        }
        for (member, value) in
            [("response_modes_supported", json!(["query"])), ("grant_types_supported", json!(["authorization_code"]))]
        {
            assert_eq!(with(member, json!(null), &ALLOWED).unwrap()[member], value, "{member}");
        }
        for member in ["revocation_endpoint_auth_methods_supported", "dpop_signing_alg_values_supported"] {
            assert_eq!(with(member, json!(null), &ALLOWED).unwrap().get(member), None, "{member}");
        }
    }

    #[test]
    fn algorithms_are_narrowed_to_those_that_are_allowed_and_only_where_something_is_signed() {
        let only = Allowed { algorithms: &[Algorithm::EdDsa], ..ALLOWED };
        let member = "token_endpoint_auth_signing_alg_values_supported";
        assert_eq!(read(&full(), &only).unwrap()[member], json!(["EdDSA"]));
        assert_eq!(with(member, json!(["Ed25519", "ES256"]), &only).unwrap()[member], json!(["Ed25519"]));
        let certificates = Allowed { authentication_methods: &["tls_client_auth"], ..ALLOWED };
        let document = changed(full(), "revocation_endpoint_auth_methods_supported", json!(null));
        assert_eq!(read(&document, &certificates).unwrap().get(member), None);
        let of_revocation = "revocation_endpoint_auth_signing_alg_values_supported";
        let narrowed = &read(&document, &certificates).unwrap()[of_revocation];
        assert_eq!(*narrowed, json!(["ES256", "PS256", "EdDSA"]), "of methods that are not known");
        let document = changed(document, member, json!(["RS256"]));
        assert!(read(&document, &certificates).is_ok());
        assert!(matches!(read(&document, &ALLOWED), Err(AnswerError::NothingAllowed { .. })));
    }

    #[test]
    fn tokens_are_said_to_be_bound_to_certificates_if_server_and_gateway_do_it() {
        let member = "tls_client_certificate_bound_access_tokens";
        let without = Allowed { certificate_bound_access_tokens: false, ..ALLOWED };
        assert_eq!(with(member, json!(true), &ALLOWED).unwrap()[member], true); // control
        assert_eq!(with(member, json!(true), &without).unwrap().get(member), None);
        for value in [json!(false), json!("true"), json!(null)] {
            assert_eq!(with(member, value.clone(), &ALLOWED).unwrap().get(member), None, "{value}");
        }
    }

    #[test]
    fn fapi2_as_44_signed_metadata_is_compared_and_not_altered() {
        let header = json!({ "alg": "PS256" });
        let plain = read(&full(), &ALLOWED).unwrap();
        let signed = |mut claims: Value| {
            for (name, value) in [("iss", json!("https://as.example")), ("iat", json!(1)), ("exp", json!(2))] {
                claims[name] = value;
            }
            changed(plain.clone(), "signed_metadata", json!(unsigned(&header, &claims)))
        };
        for claims in [plain.clone(), json!({}), json!({ "token_endpoint": "https://as.example/token" })] {
            // White space and order are as the server wrote them.
            let document = format!(" {}\n", signed(claims));
            assert_eq!(rewrite(document.as_bytes(), &ALLOWED), Ok(document.into_bytes())); // control
        }
        for (member, value) in [
            ("token_endpoint", json!("http://as:8080/token")),
            ("registration_endpoint", json!("https://as.example/register")),
            ("response_types_supported", json!(["code", "token"])),
            ("token_endpoint_auth_methods_supported", json!(["private_key_jwt", "client_secret_post"])),
            ("require_pushed_authorization_requests", json!(null)),
            ("authorization_response_iss_parameter_supported", json!(false)),
            ("mtls_endpoint_aliases", json!(null)),
        ] {
            let answer = read(&changed(signed(json!({})), member, value.clone()), &ALLOWED);
            assert_eq!(answer, Err(AnswerError::MetadataSigned { member: member.into() }), "{value}");
            // The same in what is signed.
            if !value.is_null() {
                let answer = read(&signed(changed(plain.clone(), member, value.clone())), &ALLOWED);
                assert_eq!(answer, Err(AnswerError::MetadataContradicted { member: member.into() }), "{value}");
            }
        }
        for faulty in [json!("a.b.c"), json!(""), json!({}), json!(7)] {
            let answer = read(&changed(plain.clone(), "signed_metadata", faulty.clone()), &ALLOWED);
            let malformed = matches!(answer, Err(AnswerError::MemberMalformed { member: "signed_metadata", .. }));
            assert!(malformed, "{faulty}");
        }
    }

    proptest! {
        #[test]
        fn what_is_rewritten_stays_as_it_is(
            members in proptest::collection::vec(
                (
                    proptest::sample::select(vec![
                        "grant_types_supported",
                        "response_modes_supported",
                        "introspection_endpoint",
                        "token_endpoint",
                        "request_parameter_supported",
                        "signed_metadata",
                    ]),
                    proptest::sample::select(vec![
                        json!(null), json!(true), json!("x"), json!(["query", "jwt"]), json!(["refresh_token"]), json!({}),
                    ]),
                ),
                0..4,
            ),
        ) {
            let document = members.into_iter().fold(full(), |document, (member, value)| changed(document, member, value));
            for allowed in [ALLOWED, WITH_MESSAGES] {
                if let Ok(rewritten) = read(&document, &allowed) {
                    prop_assert_eq!(read(&rewritten, &allowed), Ok(rewritten));
                }
            }
        }
    }
}
