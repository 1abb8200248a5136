//! Reads the metadata of a client, and finds everything that is wrong with it.

use serde_json::{Map, Value};

use super::super::certificate::{CertificateSubject, SelfSigned, SubjectForm};
use super::super::grant_type::AUTHORIZATION_CODE;
use super::super::redirect_uri::{ApplicationType, RedirectUri, is_https_url};
use super::fault::{ClientError, ClientErrors, ClientFault};
use super::metadata::{
    Authentication, CERTIFICATE_BOUND, ClientKeys, ClientMetadata, DPOP_BOUND, Keys, MAX_ENTRIES, SIGNED_REQUESTS,
};
use crate::jose::keys::{Algorithm, KeySet, KeySetError, VerifyingKey};
use crate::sha256;
use crate::signed_body::directory::{DirectoryName, NotAName};
use crate::text::shown_value;

/// Reads members, and collects what is wrong with them.
pub(in super::super) struct Reader<'d> {
    members: &'d Map<String, Value>,
    errors: Vec<ClientError>,
}

impl<'d> Reader<'d> {
    /// A reader of these members that has found nothing wrong yet.
    pub(in super::super) const fn of(members: &'d Map<String, Value>) -> Self {
        Self { members, errors: Vec::new() }
    }

    /// What was read, if nothing was wrong with any of it.
    pub(in super::super) fn finish<T>(self, read: Option<T>) -> Result<T, ClientErrors> {
        match read {
            Some(read) if self.errors.is_empty() => Ok(read),
            Some(_) | None => Err(ClientErrors(self.errors)),
        }
    }

    /// Everything but the identifier; `None` only after a problem was noted. What is there counts only if none was.
    pub(in super::super) fn metadata(&mut self) -> Option<ClientMetadata> {
        let authentication = self.authentication();
        let grants = self.grants();
        let redirect_uris = self.redirect_uris(&grants);
        let signed_requests = self.flag(SIGNED_REQUESTS);
        let keys = self.keys(authentication.as_ref(), signed_requests);
        let assertion_algorithm = self.algorithm("token_endpoint_auth_signing_alg");
        let request_object_algorithm = self.algorithm("request_object_signing_alg");
        let response_algorithm = self.algorithm("authorization_signed_response_alg");
        let dpop_bound = self.flag(DPOP_BOUND);
        let certificate_bound = self.flag(CERTIFICATE_BOUND);
        let name = self.directory_name();
        Some(ClientMetadata {
            authentication: authentication?,
            redirect_uris,
            keys,
            assertion_algorithm,
            request_object_algorithm,
            response_algorithm,
            grants,
            dpop_bound,
            certificate_bound,
            signed_requests,
            name,
        })
    }

    pub(in super::super) fn fail(&mut self, member: &'static str, fault: ClientFault) {
        self.errors.push(ClientError { member: Some(member), fault });
    }

    fn kind(&mut self, member: &'static str, expected: &'static str) {
        let found = shown_value(self.members.get(member));
        self.fail(member, ClientFault::Kind { found, expected });
    }

    /// The value of a member, unless it is omitted.
    pub(in super::super) fn value(&self, member: &str) -> Option<&'d Value> {
        self.members.get(member).filter(|value| !value.is_null())
    }

    fn text(&mut self, member: &'static str, expected: &'static str) -> Option<&'d str> {
        let text = self.value(member)?.as_str();
        if text.is_none() {
            self.kind(member, expected);
        }
        text
    }

    fn flag(&mut self, member: &'static str) -> bool {
        let Some(value) = self.value(member) else { return false };
        let flag = value.as_bool();
        if flag.is_none() {
            self.kind(member, "true or false, without quotes");
        }
        flag.unwrap_or(false)
    }

    pub(in super::super) fn list(&mut self, member: &'static str) -> Option<Vec<&'d str>> {
        let entries = self.value(member)?.as_array().filter(|entries| entries.len() <= MAX_ENTRIES);
        let texts = entries.and_then(|entries| entries.iter().map(Value::as_str).collect());
        if texts.is_none() {
            self.kind(member, "a list of at most 100 texts");
        }
        texts
    }

    pub(super) fn id(&mut self) -> Option<Box<str>> {
        // RFC 6749 appendix A.1: client-id = *VSCHAR, %x20-7E.
        let is_id = |id: &str| (1..=256).contains(&id.len()) && id.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        let id = self.value("client_id").and_then(Value::as_str).filter(|id| is_id(id));
        if id.is_none() {
            self.kind("client_id", "1 to 256 characters of printable ASCII");
        }
        id.map(Box::from)
    }

    fn authentication(&mut self) -> Option<Authentication> {
        const MEMBER: &str = "token_endpoint_auth_method";
        match self.value(MEMBER).map(|method| method.as_str().unwrap_or_default()) {
            Some("private_key_jwt") => Some(Authentication::PrivateKeyJwt),
            Some("self_signed_tls_client_auth") => Some(Authentication::SelfSignedTlsClientAuth),
            Some("tls_client_auth") => self.subject(MEMBER).map(Authentication::TlsClientAuth),
            other => {
                // RFC 7591 §2: "If unspecified or omitted, the default is "client_secret_basic"".
                let found = match other {
                    Some(_) => shown_value(self.value(MEMBER)),
                    None => "missing, which means client_secret_basic".into(),
                };
                self.fail(MEMBER, ClientFault::MethodRefused { found });
                None
            }
        }
    }

    fn subject(&mut self, method: &'static str) -> Option<CertificateSubject> {
        let forms: Vec<SubjectForm> =
            SubjectForm::ALL.into_iter().filter(|form| self.value(form.member()).is_some()).collect();
        let [form] = *forms else {
            self.fail(method, ClientFault::SubjectCount { count: forms.len() });
            return None;
        };
        let text = self.text(form.member(), "the subject of the client's certificate as text")?;
        match CertificateSubject::parse(form, text) {
            Ok(subject) => Some(subject),
            Err(error) => {
                self.fail(form.member(), error.into());
                None
            }
        }
    }

    fn grants(&mut self) -> Vec<Box<str>> {
        const MEMBER: &str = "grant_types";
        if self.value(MEMBER).is_none() {
            // RFC 7591 §2: "If omitted, the default behavior is that the client will use only the "authorization_code" Grant Type."
            return vec![AUTHORIZATION_CODE.into()];
        }
        let grants = self.list(MEMBER).unwrap_or_default();
        for found in ["password", "implicit"] {
            if grants.contains(&found) {
                self.fail(MEMBER, ClientFault::GrantRefused { found });
            }
        }
        grants.into_iter().map(Box::from).collect()
    }

    fn redirect_uris(&mut self, grants: &[Box<str>]) -> Vec<RedirectUri> {
        const MEMBER: &str = "redirect_uris";
        let application = match self.value("application_type").map(|kind| kind.as_str().unwrap_or_default()) {
            None | Some("web") => ApplicationType::Web,
            Some("native") => ApplicationType::Native,
            Some(_) => {
                self.kind("application_type", "\"web\" or \"native\"");
                ApplicationType::Web
            }
        };
        let texts = match self.value(MEMBER) {
            Some(_) => self.list(MEMBER),
            None => Some(Vec::new()),
        };
        let Some(texts) = texts else { return Vec::new() };
        if texts.is_empty() && grants.iter().any(|grant| **grant == *AUTHORIZATION_CODE) {
            self.fail(MEMBER, ClientFault::RedirectUrisMissing);
        }
        let mut uris = Vec::with_capacity(texts.len());
        for text in texts {
            match RedirectUri::parse(text, application) {
                Ok(uri) => uris.push(uri),
                Err(error) => self.fail(MEMBER, error.into()),
            }
        }
        uris
    }

    pub(in super::super) fn algorithm(&mut self, member: &'static str) -> Option<Algorithm> {
        let value = self.value(member)?;
        let algorithm = value.as_str().and_then(Algorithm::from_name);
        if algorithm.is_none() {
            self.fail(member, ClientFault::AlgorithmRefused { found: shown_value(Some(value)) });
        }
        algorithm
    }

    /// The metadata of a client of which nothing but the keys counts, with which it signs messages.
    pub(super) fn keys_alone(&mut self) -> ClientMetadata {
        ClientMetadata {
            authentication: Authentication::PrivateKeyJwt,
            redirect_uris: Vec::new(),
            keys: self.keys_for(Some("a signature of a message"), false),
            assertion_algorithm: None,
            request_object_algorithm: None,
            response_algorithm: None,
            grants: Vec::new(),
            dpop_bound: false,
            certificate_bound: false,
            signed_requests: false,
            name: self.directory_name(),
        }
    }

    /// How the directory of an ecosystem names it.
    fn directory_name(&mut self) -> DirectoryName {
        DirectoryName::read(self.members).unwrap_or_else(|NotAName { member }| {
            self.kind(member, "a text");
            DirectoryName::default()
        })
    }

    fn keys(&mut self, authentication: Option<&Authentication>, signed_requests: bool) -> Keys {
        // What it signs, if it does.
        let signs = match authentication {
            Some(Authentication::PrivateKeyJwt) => Some("private_key_jwt"),
            Some(_) | None => Some(SIGNED_REQUESTS).filter(|_| signed_requests),
        };
        self.keys_for(signs, matches!(authentication, Some(Authentication::SelfSignedTlsClientAuth)))
    }

    /// The keys of a client that `signs` this with them.
    fn keys_for(&mut self, signs: Option<&'static str>, has_own_certificate: bool) -> Keys {
        let none = Keys { parsed: ClientKeys::None, self_signed: None, written: sha256(b"") };
        match (self.value("jwks"), self.value("jwks_uri")) {
            (Some(_), Some(_)) => self.fail("jwks", ClientFault::KeysTwice),
            (Some(jwks), None) => return self.keys_given(jwks, signs.is_some(), has_own_certificate).unwrap_or(none),
            (None, Some(uri)) => match uri.as_str().filter(|uri| is_https_url(uri)) {
                Some(uri) => {
                    let written = sha256(format!("jwks_uri {uri}").as_bytes());
                    return Keys { parsed: ClientKeys::At(uri.into()), self_signed: None, written };
                }
                None => self.fail("jwks_uri", ClientFault::KeysElsewhere { found: shown_value(Some(uri)) }),
            },
            (None, None) => {
                let certificate = Some("self_signed_tls_client_auth").filter(|_| has_own_certificate);
                if let Some(needed_for) = certificate.or(signs) {
                    self.fail("jwks", ClientFault::KeysMissing { needed_for });
                }
            }
        }
        none
    }

    fn keys_given(&mut self, jwks: &Value, signs: bool, has_own_certificate: bool) -> Option<Keys> {
        let entries = jwks.get("keys").and_then(Value::as_array).into_iter().flatten();
        let count = entries.filter_map(Value::as_object).filter(|jwk| VerifyingKey::has_private_members(jwk)).count();
        if count > 0 {
            self.fail("jwks", ClientFault::KeysPrivate { count });
            return None;
        }
        let text = jwks.to_string();
        let parsed = match KeySet::parse_with_ps512(text.as_bytes()) {
            Ok(keys) => keys,
            // Keys for encryption, or those of certificates, which may be of any type.
            Err(KeySetError::NoUsableKey { .. }) if !signs => KeySet::default(),
            Err(error) => {
                self.fail("jwks", ClientFault::KeySet(error));
                return None;
            }
        };
        let self_signed = match has_own_certificate.then(|| SelfSigned::parse(text.as_bytes())).transpose() {
            Ok(self_signed) => self_signed,
            Err(error) => {
                self.fail("jwks", ClientFault::Certificates(error));
                return None;
            }
        };
        let unreadable = self_signed.as_ref().map_or(0, SelfSigned::skipped);
        if unreadable > 0 {
            self.fail("jwks", ClientFault::CertificatesUnreadable { count: unreadable });
        }
        let written = sha256(format!("jwks {text}").as_bytes());
        Some(Keys { parsed: ClientKeys::Given(parsed.into()), self_signed, written })
    }
}
