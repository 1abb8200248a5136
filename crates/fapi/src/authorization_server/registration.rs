//! Dynamic registration (RFC 7591): a client that registers itself is one that could have been registered by hand.
//!
//! The request is judged before the server sees it, and forwarded byte for byte: its metadata by the rules for
//! [registered clients](super::client) and by those of the profile, and its software statement, if there is one, by
//! [`software_statement`](super::software_statement).
//!
//! Does not judge what has no rule in FAPI, such as scopes, names and the URLs of pages, nor an initial access token (RFC 7591
//! §3), which is the server's. Does not fetch keys: a request that is a JWT is verified with keys that are in it or in its
//! statement, and by the server behind if the client publishes them at a URL.

use serde_json::{Map, Value};

use super::certificate::PeerCertificate;
use super::client::{
    CERTIFICATE_BOUND, ClientErrors, ClientFault, ClientKeys, ClientMetadata, DPOP_BOUND, MAX_ENTRIES, Reader,
    SIGNED_REQUESTS,
};
use super::grant_type::AUTHORIZATION_CODE;
use super::redirect_uri::{ApplicationType, RedirectUri, is_http_url, is_https_url};
use super::rules::{Rules, ServerProfile};
use super::software_statement::{SoftwareStatement, SoftwareStatementError, StatementRules};
use crate::UnixTime;
use crate::code::Code;
use crate::jose::claims::{CLOCK_SKEW, numeric_date};
use crate::jose::json::parse_object;
use crate::jose::jws::{Jws, NotVerified};
use crate::jose::keys::{Algorithm, KeySet};
use crate::text::{Names, printable, shown_text, shown_value};

/// The largest request, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// What a server asks of clients that register themselves, beyond its profile.
#[derive(Clone, Debug)]
pub struct RegistrationRules {
    /// Whether access tokens of the client have to be bound to it by its own metadata.
    pub sender_constrained: bool,
    /// How software statements are verified. Without this, a request that has one is refused.
    pub statements: Option<StatementRules>,
}

/// How the body of a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationForm {
    /// As a JSON object (RFC 7591 §3.1).
    Json,
    /// As a JWT that the client signs, with the same members (UK Open Banking Dynamic Client Registration 3.2).
    Jwt,
}

/// Why a client is not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// The body is declared as something else.
    #[error("the body is {found}, expected application/json, application/jwt or application/jose, without a coding")]
    TypeRefused {
        /// Its media type, truncated and made printable, or what else is wrong.
        found: Box<str>,
    },
    /// The body is larger than [`MAX_BYTES`].
    #[error("the registration request has {bytes} bytes, the limit is {MAX_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The body is not JSON with one reading.
    #[error("the registration request is not a JSON object with one reading")]
    Ambiguous,
    /// The body is not a JWT of the client.
    #[error("the registration request {why}")]
    JwtInvalid {
        /// What is wrong.
        why: Box<str>,
    },
    /// The metadata is not that of a client that FAPI allows.
    #[error("{}", listed("the client metadata is refused", .0))]
    Metadata(ClientErrors),
    /// Nothing but redirect URIs is wrong with it.
    #[error("{}", listed("the redirect URIs are refused", .0))]
    RedirectUris(ClientErrors),
    /// The software statement does not count, or says something else.
    #[error(transparent)]
    Statement(#[from] SoftwareStatementError),
}

/// Every problem in one line, up to as many as are of use.
fn listed(what: &str, errors: &ClientErrors) -> String {
    const MOST: usize = 16;
    let all = errors.errors();
    let shown: Vec<String> = all.iter().take(MOST).map(ToString::to_string).collect();
    let more = match all.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("{what}: {}{more}", shown.join("; "))
}

impl RegistrationError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::TypeRefused { .. }
            | Self::TooLarge { .. }
            | Self::Ambiguous
            | Self::JwtInvalid { .. }
            | Self::Metadata(_) => Code::RegistrationRefused,
            Self::RedirectUris(_) => Code::RegistrationRedirectRefused,
            Self::Statement(error) => error.code(),
        }
    }
}

/// A request to register a client.
pub struct RegistrationRequest<'r> {
    /// How it is written.
    pub form: RegistrationForm,
    /// The body.
    pub body: &'r [u8],
    /// The certificate of the client of the connection.
    pub certificate: PeerCertificate<'r>,
    /// The time of the request.
    pub now: UnixTime,
}

/// A client that may be registered, by what the request and its statement say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    metadata: ClientMetadata,
    response_types: Vec<Box<str>>,
}

impl Registration {
    pub(super) const fn metadata(&self) -> &ClientMetadata {
        &self.metadata
    }

    pub(super) fn response_types(&self) -> &[Box<str>] {
        &self.response_types
    }

    /// Judges a request.
    ///
    /// | what | rule |
    /// | --- | --- |
    /// | the body | one JSON object, or one JWT, of at most 64 KiB |
    /// | the software statement | [`software_statement`](super::software_statement) |
    /// | `client_id`, `client_secret` | not there: the server gives them (RFC 7591 §3.2.1) |
    /// | what is in both the request and the statement | the same in both (RFC 7591 §2.3) |
    /// | the metadata | as for a [registered client](super::client::RegisteredClient) |
    /// | `grant_types` | those of the server |
    /// | `response_types` | those of the profile |
    /// | the algorithms of ID tokens and other JWTs | those of FAPI, and none is encrypted with RSA1_5 |
    /// | `dpop_bound_access_tokens`, `tls_client_certificate_bound_access_tokens` | one of them is true, where that is asked for |
    /// | `require_signed_request_object` | true, under FAPI 2.0 Message Signing |
    /// | the signature of a JWT | by a key of the client, if the request or its statement has its keys |
    ///
    /// # Errors
    /// [`RegistrationError`]: for the first rule in this order that is broken, but for all problems of the metadata at once.
    pub fn judge(
        request: &RegistrationRequest<'_>,
        server: &Rules,
        rules: &RegistrationRules,
    ) -> Result<Self, RegistrationError> {
        let RegistrationRequest { form, body, certificate, now } = *request;
        if body.len() > MAX_BYTES {
            return Err(RegistrationError::TooLarge { bytes: body.len() });
        }
        let (members, jwt) = match form {
            RegistrationForm::Json => (parse_object(body).map_err(|_| RegistrationError::Ambiguous)?, None),
            RegistrationForm::Jwt => {
                let text = std::str::from_utf8(body).map_err(|_| jwt_invalid("is not a signed JWT"))?;
                (claimed(text, now)?, Some(text))
            }
        };
        let statement = SoftwareStatement::of(&members, rules.statements.as_ref(), &certificate, now)?;
        let whole = match &statement {
            Some(statement) => statement.completed(members)?,
            None => members,
        };
        let registration = Self::read(&whole, server, rules)?;
        if let Some(statement) = &statement {
            statement.check(&registration.metadata)?;
        }
        if let Some(jwt) = jwt {
            match registration.metadata.keys() {
                ClientKeys::Given(keys) => verify(jwt, keys)?,
                ClientKeys::At(_) => {}
                ClientKeys::None => return Err(jwt_invalid("is signed, and the client has no keys")),
            }
        }
        Ok(registration)
    }

    fn read(
        members: &Map<String, Value>,
        server: &Rules,
        rules: &RegistrationRules,
    ) -> Result<Self, RegistrationError> {
        let mut reader = Reader::of(members);
        // Some libraries read names without regard to case, or in camel case.
        let folded = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
        let judged = || {
            let others = [&SIGNED[..], &ENCRYPTED, &CALLED, &SHOWN, &[REQUEST_URIS, AFTER_LOGOUT, "application_type"]];
            JUDGED.iter().chain(others.into_iter().flatten())
        };
        for name in members.keys() {
            // RFC 7591 §2.2: what comes after `#` is a language.
            let plain = name.split_once('#').map_or(name.as_str(), |(plain, _)| plain);
            if let Some(meant) = judged().find(|known| **known != plain && folded(known) == folded(plain)) {
                reader.fail(meant, ClientFault::Disguised { found: shown_text(name) });
            }
        }
        for member in ["client_id", "client_secret"] {
            if reader.value(member).is_some() {
                reader.fail(member, ClientFault::Assigned);
            }
        }
        let metadata = reader.metadata();
        let grants = metadata.as_ref().map(ClientMetadata::grants).unwrap_or_default();
        for grant in grants.iter().filter(|grant| !server.grant_types.contains(grant)) {
            // Those have been told of already.
            if !matches!(&**grant, "password" | "implicit") {
                let (found, expected) = (shown_text(grant), Names::of(&server.grant_types));
                reader.fail("grant_types", ClientFault::GrantElsewhere { found, expected });
            }
        }
        let has_codes = grants.iter().any(|grant| **grant == *AUTHORIZATION_CODE);
        let response_types = response_types(&mut reader, server.profile, has_codes);
        for member in SIGNED {
            let _ = reader.algorithm(member);
        }
        for member in ENCRYPTED {
            if reader.value(member).and_then(Value::as_str) == Some("RSA1_5") {
                reader.fail(member, ClientFault::EncryptionRefused);
            }
        }
        judge_urls(members, &mut reader);
        let is_set = |reader: &Reader<'_>, member| reader.value(member) == Some(&Value::Bool(true));
        if rules.sender_constrained && !is_set(&reader, DPOP_BOUND) && !is_set(&reader, CERTIFICATE_BOUND) {
            reader.fail(CERTIFICATE_BOUND, ClientFault::Unbound);
        }
        let signs = has_codes && server.profile == ServerProfile::Fapi2MessageSigning;
        if signs && !is_set(&reader, SIGNED_REQUESTS) {
            reader.fail(SIGNED_REQUESTS, ClientFault::UnsignedRequests);
        }
        let registration = metadata.map(|metadata| Self { metadata, response_types });
        reader.finish(registration).map_err(|errors| {
            let only_redirects = errors.errors().iter().all(|error| error.member == Some("redirect_uris"));
            if only_redirects { RegistrationError::RedirectUris(errors) } else { RegistrationError::Metadata(errors) }
        })
    }
}

/// Reads `response_types` (RFC 7591 §2.1): what the profile has, and something if the client gets codes.
fn response_types(reader: &mut Reader<'_>, profile: ServerProfile, has_codes: bool) -> Vec<Box<str>> {
    const MEMBER: &str = "response_types";
    const CODE: &[&str] = &["code"];
    let expected = match profile {
        ServerProfile::Fapi2Security | ServerProfile::Fapi2MessageSigning => CODE,
        ServerProfile::Fapi1Advanced => &["code", "code id_token", "id_token code"],
    };
    // RFC 7591 §2: "If omitted, the default is that the client will use only the "code" response type."
    let found = match reader.value(MEMBER) {
        Some(_) => reader.list(MEMBER),
        None => Some(CODE.to_vec()),
    };
    let Some(found) = found else { return Vec::new() };
    for other in found.iter().filter(|found| !expected.contains(found)) {
        let refused = ClientFault::ResponseTypeRefused { found: shown_text(other), expected: Names::of(expected) };
        reader.fail(MEMBER, refused);
    }
    if found.is_empty() && has_codes {
        let refused = ClientFault::ResponseTypeRefused { found: "none".into(), expected: Names::of(expected) };
        reader.fail(MEMBER, refused);
    }
    found.into_iter().map(Box::from).collect()
}

/// Judges the other URLs of a client. What the server calls, or sends a browser to, is https: with http, whoever is in between answers
/// in the client's place, and a server that calls what it is told is led to where nobody else gets. What it shows as a link is a page:
/// another scheme, such as `javascript:`, is a script on the page of the server.
fn judge_urls(members: &Map<String, Value>, reader: &mut Reader<'_>) {
    let is_https = |value: &Value| value.as_str().is_some_and(is_https_url);
    let are = |value: &Value, each: &dyn Fn(&Value) -> bool| {
        value.as_array().is_some_and(|urls| urls.len() <= MAX_ENTRIES && urls.iter().all(each))
    };
    let application = match members.get("application_type").and_then(Value::as_str) {
        Some("native") => ApplicationType::Native,
        Some(_) | None => ApplicationType::Web,
    };
    // A fragment is the hash of what is there.
    let is_request =
        |value: &Value| value.as_str().is_some_and(|url| is_https_url(url.split_once('#').map_or(url, |(url, _)| url)));
    let leads_back = |value: &Value| value.as_str().is_some_and(|uri| RedirectUri::parse(uri, application).is_ok());
    let is_page = |value: &Value| is_https(value) || value.as_str().is_some_and(is_http_url);
    for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        // RFC 7591 §2.2: what people read may be there in several languages.
        let plain = name.split_once('#').map_or(name.as_str(), |(plain, _)| plain);
        let find = |known: &[&'static str]| known.iter().find(|known| **known == plain).copied();
        let refused = match (find(&CALLED), find(&SHOWN), plain) {
            (Some(member), ..) if !is_https(value) => Some((member, "an https URL")),
            (_, Some(member), _) if !is_page(value) => Some((member, "the https URL of a page")),
            (.., REQUEST_URIS) if !are(value, &is_request) => Some((REQUEST_URIS, "a list of at most 100 https URLs")),
            (.., AFTER_LOGOUT) if !are(value, &leads_back) => {
                Some((AFTER_LOGOUT, "a list of at most 100 URIs that could be redirect URIs"))
            }
            (..) => None,
        };
        if let Some((member, expected)) = refused {
            reader.fail(member, ClientFault::Kind { found: shown_value(Some(value)), expected });
        }
    }
}

fn jwt_invalid(why: impl Into<Box<str>>) -> RegistrationError {
    RegistrationError::JwtInvalid { why: why.into() }
}

/// What a request that is a JWT says, before it is known whose keys verify it.
fn claimed(text: &str, now: UnixTime) -> Result<Map<String, Value>, RegistrationError> {
    let jws = Jws::parse(text, MAX_BYTES).map_err(|error| jwt_invalid(format!("is not a signed JWT: {error}")))?;
    if jws.algorithm(Algorithm::ALL).is_none() {
        return Err(jwt_invalid(format!("has the alg {:?}", printable(jws.algorithm_name()))));
    }
    if !jws.may_be_of_type(&["JWT"]) {
        return Err(jwt_invalid(format!("has the typ {:?}", printable(jws.type_name()))));
    }
    let claims = jws.into_unverified_payload();
    let time = |claim, round| {
        let malformed = |_| jwt_invalid(format!("has {claim}, which is no number of seconds"));
        numeric_date(&claims, claim, round).map_err(malformed)
    };
    if time("exp", f64::floor)?.is_some_and(|at| at.plus(CLOCK_SKEW) <= now) {
        return Err(jwt_invalid("has expired"));
    }
    for claim in ["iat", "nbf"] {
        if time(claim, f64::ceil)?.is_some_and(|at| at > now.plus(CLOCK_SKEW)) {
            return Err(jwt_invalid(format!("has {claim}, which is in the future")));
        }
    }
    Ok(claims)
}

/// Verifies the signature of a request that is a JWT.
fn verify(text: &str, keys: &KeySet) -> Result<(), RegistrationError> {
    let malformed = |error| jwt_invalid(format!("is not a signed JWT: {error}"));
    let jws = Jws::parse(text, MAX_BYTES).map_err(malformed)?;
    let algorithm = jws.algorithm(Algorithm::ALL);
    let algorithm =
        algorithm.ok_or_else(|| jwt_invalid(format!("has the alg {:?}", printable(jws.algorithm_name()))))?;
    let key_id = jws.key_id().map_err(malformed)?.map(str::to_owned);
    let verified = jws.verify_with_one_of(keys.candidates(key_id.as_deref(), algorithm));
    verified.map(drop).map_err(|error| {
        jwt_invalid(match error {
            NotVerified::NoKey => "is signed with a key that is not the client's",
            NotVerified::WeakKey => "is signed with a key below 2048 bits",
            NotVerified::Signature => "has an invalid signature",
        })
    })
}

/// The members on which something depends.
const JUDGED: &[&str] = &[
    "authorization_signed_response_alg",
    "client_id",
    "client_secret",
    "dpop_bound_access_tokens",
    "grant_types",
    "jwks",
    "jwks_uri",
    "redirect_uris",
    "request_object_signing_alg",
    "require_pushed_authorization_requests",
    "require_signed_request_object",
    "response_types",
    "software_statement",
    "tls_client_auth_san_dns",
    "tls_client_auth_san_email",
    "tls_client_auth_san_ip",
    "tls_client_auth_san_uri",
    "tls_client_auth_subject_dn",
    "tls_client_certificate_bound_access_tokens",
    "token_endpoint_auth_method",
    "token_endpoint_auth_signing_alg",
];

/// The members that name what JWTs for the client, and by it, are signed with (OpenID Connect Dynamic Client Registration 1.0 §2,
/// RFC 9701 §6, CIBA Core 1.0 §4).
const SIGNED: [&str; 4] = [
    "id_token_signed_response_alg",
    "userinfo_signed_response_alg",
    "introspection_signed_response_alg",
    "backchannel_authentication_request_signing_alg",
];

/// What the server calls, or sends a browser to (OpenID Connect Dynamic Client Registration 1.0 §2, Back-Channel Logout 1.0 §2.2,
/// Front-Channel Logout 1.0 §2, CIBA Core 1.0 §4).
const CALLED: [&str; 5] = [
    "sector_identifier_uri",
    "initiate_login_uri",
    "backchannel_logout_uri",
    "frontchannel_logout_uri",
    "backchannel_client_notification_endpoint",
];

/// OpenID Connect Dynamic Client Registration 1.0 §2.
const REQUEST_URIS: &str = "request_uris";

/// OpenID Connect RP-Initiated Logout 1.0 §3.1.
const AFTER_LOGOUT: &str = "post_logout_redirect_uris";

/// What it shows (RFC 7591 §2).
const SHOWN: [&str; 4] = ["client_uri", "logo_uri", "policy_uri", "tos_uri"];

/// Those that name how keys of encrypted ones are encrypted.
const ENCRYPTED: [&str; 5] = [
    "id_token_encrypted_response_alg",
    "userinfo_encrypted_response_alg",
    "request_object_encryption_alg",
    "authorization_encrypted_response_alg",
    "introspection_encrypted_response_alg",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::authorization_server::client::ClientFault;
    use crate::authorization_server::testing::{CALLBACK, NOBODY, NOW, rules};
    use crate::testing::{SigningKey, jwks, unsigned, with_members};

    const RULES: RegistrationRules = RegistrationRules { sender_constrained: true, statements: None };

    fn good() -> Value {
        json!({
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks_uri": "https://client.example/jwks",
            "redirect_uris": [CALLBACK],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "tls_client_certificate_bound_access_tokens": true,
            "scope": "accounts",
        })
    }

    /// The good request with some members replaced, or removed by `null`.
    fn with(members: &Value) -> Value {
        with_members(good(), members)
    }

    fn judge_bytes(form: RegistrationForm, body: &[u8]) -> Result<Registration, RegistrationError> {
        let request = RegistrationRequest { form, body, certificate: NOBODY, now: NOW };
        Registration::judge(&request, &rules(ServerProfile::Fapi2Security), &RULES)
    }

    fn judge_by(
        members: &Value,
        profile: ServerProfile,
        registration: &RegistrationRules,
    ) -> Result<Registration, RegistrationError> {
        let body = with(members).to_string();
        let form = RegistrationForm::Json;
        let request = RegistrationRequest { form, body: body.as_bytes(), certificate: NOBODY, now: NOW };
        Registration::judge(&request, &rules(profile), registration)
    }

    fn judge(members: &Value) -> Result<Registration, RegistrationError> {
        judge_by(members, ServerProfile::Fapi2Security, &RULES)
    }

    /// The only problem with the good request and these members.
    fn fault(judged: Result<Registration, RegistrationError>) -> (&'static str, ClientFault) {
        match judged {
            Err(RegistrationError::Metadata(errors) | RegistrationError::RedirectUris(errors)) => {
                let [error] = errors.errors() else { panic!("{errors}") };
                (error.member.unwrap(), error.fault.clone())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fapi2_as_05_a_client_registers_itself_with_a_method_of_fapi_alone() {
        assert!(judge(&json!({})).is_ok(), "control");
        let by_certificate = json!({
            "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_subject_dn": "CN=client", "jwks_uri": null
        });
        assert!(judge(&by_certificate).is_ok(), "control");
        for method in [json!("client_secret_basic"), json!("client_secret_jwt"), json!("none"), json!(null), json!(1)] {
            let (member, fault) = fault(judge(&json!({ "token_endpoint_auth_method": method })));
            assert_eq!(member, "token_endpoint_auth_method");
            assert!(matches!(fault, ClientFault::MethodRefused { .. }), "{method}: {fault:?}");
        }
        assert_eq!(fault(judge(&json!({ "jwks_uri": null }))).0, "jwks");
        assert_eq!(fault(judge(&json!({ "jwks": { "keys": [] } }))), ("jwks", ClientFault::KeysTwice));
    }

    #[test]
    fn urls_are_called_over_tls_and_shown_as_pages() {
        let mut good = json!({ "client_uri#de": "https://client.example/de", "tos_uri": null });
        for member in CALLED.iter().chain(&SHOWN) {
            good[*member] = json!("https://client.example/a?b=c");
        }
        for member in [REQUEST_URIS, AFTER_LOGOUT] {
            good[member] = json!(["https://client.example/1", "https://client.example/2"]);
        }
        let native = json!({
            "application_type": "native", "redirect_uris": ["com.example.app:/cb"], AFTER_LOGOUT: ["com.example.app:/out"],
        });
        assert!(judge(&native).is_ok(), "control: {:?}", judge(&native).err());
        good["logo_uri"] = json!("http://client.example/logo.png");
        assert!(judge(&good).is_ok(), "control");
        let kind = |member: &str, value: Value| {
            let (found, fault) = fault(judge(&json!({ member: value })));
            assert!(matches!(fault, ClientFault::Kind { .. }), "{member}: {fault:?}");
            found
        };
        for member in CALLED {
            for wrong in ["http://client.example/a", "http://169.254.169.254/latest", "file:///etc/passwd", "a", ""] {
                assert_eq!(kind(member, json!(wrong)), member, "{wrong}");
            }
        }
        for member in [REQUEST_URIS, AFTER_LOGOUT] {
            for wrong in [json!(["http://client.example/a"]), json!("https://client.example/a"), json!([1])] {
                assert_eq!(kind(member, wrong.clone()), member, "{wrong}");
            }
        }
        for member in SHOWN {
            for wrong in [
                "javascript:alert(1)",
                "data:text/html,x",
                "//client.example",
                "JavaScript://client.example/%0aalert(1)",
            ] {
                assert_eq!(kind(member, json!(wrong)), member, "{wrong}");
            }
        }
        assert_eq!(kind("client_uri#fr", json!("javascript:alert(1)")), "client_uri");
        // OpenID Connect Dynamic Client Registration 1.0 §2: a fragment is the hash of what is there.
        assert!(judge(&json!({ REQUEST_URIS: ["https://client.example/1#hash"] })).is_ok());
        for (name, meant) in [
            ("clientUri", "client_uri"),
            ("LOGO_URI", "logo_uri"),
            ("tos-uri#de", "tos_uri"),
            ("sectorIdentifierUri", "sector_identifier_uri"),
            ("requestUris", REQUEST_URIS),
            ("Id_Token_Signed_Response_Alg", "id_token_signed_response_alg"),
            ("applicationType", "application_type"),
        ] {
            let (member, fault) = fault(judge(&json!({ name: "x" })));
            assert!(member == meant && matches!(fault, ClientFault::Disguised { .. }), "{name}: {fault:?}");
        }
    }

    #[test]
    fn what_the_server_gives_is_not_asked_for() {
        for member in ["client_id", "client_secret"] {
            assert_eq!(fault(judge(&json!({ member: "client-1" }))), (member, ClientFault::Assigned));
        }
    }

    #[test]
    fn fapi2_as_02_grants_are_those_of_the_server() {
        let grants = |grants: &[&str]| judge(&json!({ "grant_types": grants }));
        assert!(grants(&["authorization_code", "client_credentials"]).is_ok(), "control");
        let (member, fault_found) = fault(grants(&["authorization_code", "urn:openid:params:grant-type:ciba"]));
        assert_eq!(member, "grant_types");
        assert!(matches!(fault_found, ClientFault::GrantElsewhere { .. }), "{fault_found:?}");
        for found in ["password", "implicit"] {
            let refused = ("grant_types", ClientFault::GrantRefused { found });
            assert_eq!(fault(grants(&["authorization_code", found])), refused);
        }
    }

    #[test]
    fn f1_adv_07_response_types_are_those_of_the_profile() {
        use ServerProfile::{Fapi1Advanced, Fapi2Security};
        let asked = |profile, types: &Value| judge_by(&json!({ "response_types": types }), profile, &RULES);
        for (types, fapi2, fapi1) in [
            (json!(["code"]), true, true),
            (json!(null), true, true),
            (json!(["code id_token"]), false, true),
            (json!(["code", "token"]), false, false),
            (json!(["none"]), false, false),
            (json!([]), false, false),
            (json!("code"), false, false),
        ] {
            for (profile, passes) in [(Fapi2Security, fapi2), (Fapi1Advanced, fapi1)] {
                let judged = asked(profile, &types);
                assert_eq!(judged.is_ok(), passes, "{types}: {judged:?}");
                if !passes {
                    assert_eq!(fault(judged).0, "response_types", "{types}");
                }
            }
        }
        let without_codes = json!({ "grant_types": ["client_credentials"], "response_types": [], "redirect_uris": [] });
        assert!(judge(&without_codes).is_ok(), "control: a client without codes has no response types");
    }

    #[test]
    fn fapi2_as_04_tokens_are_bound_by_the_metadata_where_that_is_asked_for() {
        let optional = RegistrationRules { sender_constrained: false, ..RULES };
        let by_proof = json!({ CERTIFICATE_BOUND: null, DPOP_BOUND: true });
        assert!(judge(&by_proof).is_ok(), "control");
        for bound in [json!({ CERTIFICATE_BOUND: null }), json!({ CERTIFICATE_BOUND: false, DPOP_BOUND: false })] {
            assert_eq!(fault(judge(&bound)), (CERTIFICATE_BOUND, ClientFault::Unbound));
            assert!(judge_by(&bound, ServerProfile::Fapi2Security, &optional).is_ok(), "control");
        }
    }

    #[test]
    fn message_signing_has_signed_requests_alone() {
        let signing = |members: Value| judge_by(&members, ServerProfile::Fapi2MessageSigning, &RULES);
        assert!(signing(json!({ SIGNED_REQUESTS: true })).is_ok(), "control");
        assert!(judge(&json!({})).is_ok(), "control: another profile");
        for members in [json!({}), json!({ SIGNED_REQUESTS: false })] {
            assert_eq!(fault(signing(members)), (SIGNED_REQUESTS, ClientFault::UnsignedRequests));
        }
        let without_codes = json!({ "grant_types": ["client_credentials"], "redirect_uris": [] });
        assert!(signing(without_codes).is_ok(), "control: a client that has no authorization requests");
    }

    #[test]
    fn f1_adv_04_f1_adv_05_algorithms_are_those_of_fapi() {
        for member in SIGNED {
            assert!(judge(&json!({ member: "PS256" })).is_ok(), "control: {member}");
            for name in ["RS256", "none", "HS256"] {
                let (found, fault) = fault(judge(&json!({ member: name })));
                assert_eq!(found, member);
                assert!(matches!(fault, ClientFault::AlgorithmRefused { .. }), "{member}: {fault:?}");
            }
        }
        for member in ENCRYPTED {
            assert!(judge(&json!({ member: "RSA-OAEP-256" })).is_ok(), "control: {member}");
            assert_eq!(fault(judge(&json!({ member: "RSA1_5" }))), (member, ClientFault::EncryptionRefused));
        }
    }

    #[test]
    fn what_is_wrong_with_redirect_uris_alone_has_an_error_of_its_own() {
        let redirects = |more: Value| {
            let mut members = json!({ "redirect_uris": [CALLBACK, "http://client.example/callback"] });
            members.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            judge(&members).unwrap_err().code()
        };
        assert_eq!(redirects(json!({})), Code::RegistrationRedirectRefused);
        assert_eq!(redirects(json!({ "grant_types": ["password"] })), Code::RegistrationRefused);
        assert!(judge(&json!({ "redirect_uris": [CALLBACK] })).is_ok(), "control");
    }

    #[test]
    fn every_problem_is_told_at_once_in_one_line() {
        let members = json!({
            "client_id": "x", "token_endpoint_auth_method": "none\n", "redirect_uris": ["http://a.example\n"],
            "grant_types": ["password"], "id_token_signed_response_alg": "none", CERTIFICATE_BOUND: false,
        });
        let text = judge(&members).unwrap_err().to_string();
        for member in members.as_object().unwrap().keys() {
            assert!(text.contains(&format!("{member}: ")), "{member}: {text}");
        }
        assert_eq!(text.lines().count(), 1, "{text}");
        let many = vec!["http://a.example"; 100];
        let text = judge(&json!({ "redirect_uris": many })).unwrap_err().to_string();
        assert!(text.ends_with("; and 84 more") && text.len() < 8192, "{text}");
    }

    #[test]
    fn the_body_is_one_object_with_one_reading() {
        let json = |body: &[u8]| judge_bytes(RegistrationForm::Json, body);
        let good = good().to_string();
        assert!(json(good.as_bytes()).is_ok(), "control");
        for body in [
            "",
            "[]",
            "{}{}",
            &good.replacen('{', r#"{"token_endpoint_auth_method":"none","#, 1),
            &good.replacen('{', r#"{"token\u005fendpoint_auth_method":"none","#, 1),
        ] {
            assert_eq!(json(body.as_bytes()), Err(RegistrationError::Ambiguous), "{body}");
        }
        let long = good.clone() + &" ".repeat(MAX_BYTES - good.len());
        assert!(json(long.as_bytes()).is_ok(), "control");
        let bytes = MAX_BYTES + 1;
        assert_eq!(json((long + " ").as_bytes()), Err(RegistrationError::TooLarge { bytes }));
        let statement = with(&json!({ "software_statement": "a.b.c" })).to_string();
        let refused = Err(RegistrationError::Statement(SoftwareStatementError::Unverifiable));
        assert_eq!(json(statement.as_bytes()), refused);
    }

    #[test]
    fn a_request_that_is_a_jwt_is_signed_by_the_client_and_valid_now() {
        let (key, other) = (SigningKey::generate(Algorithm::Ps256, "a"), SigningKey::generate(Algorithm::Ps256, "a"));
        let by_value = with(&json!({ "jwks_uri": null, "jwks": jwks(&[&key]) }));
        let header = json!({ "alg": "PS256", "typ": "JWT", "kid": "a" });
        let judge = |jwt: &str| judge_bytes(RegistrationForm::Jwt, jwt.as_bytes());
        let claims = |more: Value| {
            let mut claims = by_value.clone();
            claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            claims
        };
        let timed = claims(json!({ "iss": "software-1", "iat": NOW.0, "exp": NOW.0 + 60, "jti": "1" }));
        assert!(judge(&key.sign(&header, &timed)).is_ok(), "control");
        assert!(judge(&key.sign(&header, &good())).is_ok(), "control: the server behind verifies with keys at a URL");
        let by_certificate = with(&json!({
            "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "a.example", "jwks_uri": null,
        }));
        for (what, jwt) in [
            ("another key", other.sign(&header, &timed)),
            ("another kid", key.sign(&json!({ "alg": "PS256", "kid": "b" }), &timed)),
            ("another kind", key.sign(&json!({ "alg": "PS256", "kid": "a", "typ": "dpop+jwt" }), &timed)),
            ("unsigned", unsigned(&json!({ "alg": "none", "kid": "a" }), &timed)),
            ("RS256", key.sign(&json!({ "alg": "RS256", "kid": "a" }), &timed)),
            ("no keys", key.sign(&header, &by_certificate)),
            ("expired", key.sign(&header, &claims(json!({ "exp": NOW.0 - 11 })))),
            ("in the future", key.sign(&header, &claims(json!({ "iat": NOW.0 + 11 })))),
            ("not valid yet", key.sign(&header, &claims(json!({ "nbf": NOW.0 + 11 })))),
            ("no time", key.sign(&header, &claims(json!({ "exp": "tomorrow" })))),
            ("JSON", good().to_string()),
        ] {
            let judged = judge(&jwt);
            assert!(matches!(judged, Err(RegistrationError::JwtInvalid { .. })), "{what}: {judged:?}");
        }
        let weak = claims(json!({ "token_endpoint_auth_method": "none" }));
        assert!(matches!(judge(&key.sign(&header, &weak)), Err(RegistrationError::Metadata(_))));
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_is_more_than_refused(body: Vec<u8>, member in "[a-z_]{1,20}", value: String) {
            for form in [RegistrationForm::Json, RegistrationForm::Jwt] {
                let judged = judge_bytes(form, &body);
                prop_assert!(judged.is_err(), "{judged:?}");
            }
            let _ = judge(&json!({ member: value }));
        }
    }

    #[test]
    fn a_member_has_one_spelling_whoever_reads_it() {
        assert!(judge(&json!({ "client_name": "A", "Client_Name": "B" })).is_ok(), "control: nothing depends on it");
        for (name, meant) in [
            ("Redirect_Uris", "redirect_uris"),
            ("redirectUris", "redirect_uris"),
            ("Token_Endpoint_Auth_Method", "token_endpoint_auth_method"),
            ("Client_Secret", "client_secret"),
        ] {
            let found = shown_text(name);
            assert_eq!(fault(judge(&json!({ name: ["x"] }))), (meant, ClientFault::Disguised { found }), "{name}");
        }
    }
}
