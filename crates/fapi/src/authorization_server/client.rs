//! A client as it is registered at the authorization server: its metadata (RFC 7591 §2), as far as FAPI has rules about them.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::certificate::{
    CertificateRefused, CertificateSubject, CertificateSubjectError, SelfSigned, SelfSignedError, SubjectForm,
};
use super::redirect_uri::{ApplicationType, RedirectUri, RedirectUriError, is_https_url};
use crate::jose::json::parse_object;
use crate::jose::keys::{Algorithm, KeySet, KeySetError, VerifyingKey};
use crate::jose::thumbprint::CertificateThumbprint;
use crate::peer::Peer;
use crate::text::{Names, shown_value};
use crate::{UnixTime, sha256};

/// The longest document, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;
/// How many redirect URIs and grant types a client may have, of each.
pub const MAX_ENTRIES: usize = 100;

/// A client that the authorization server knows.
///
/// Two are equal if what is read of their documents is the same. Keys are compared as they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredClient {
    id: Box<str>,
    metadata: ClientMetadata,
}

/// What a client says of itself, without the identifier, which the server gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientMetadata {
    authentication: Authentication,
    redirect_uris: Vec<RedirectUri>,
    keys: Keys,
    assertion_algorithm: Option<Algorithm>,
    request_object_algorithm: Option<Algorithm>,
    response_algorithm: Option<Algorithm>,
    grants: Vec<Box<str>>,
    dpop_bound: bool,
    certificate_bound: bool,
    signed_requests: bool,
}

/// How a client authenticates (FAPI 2.0 §5.3.2.1 (6)); other methods cannot be represented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// With a JWT that it signs (RFC 7523, OpenID Connect Core 1.0 §9).
    PrivateKeyJwt,
    /// With a certificate that an authority has issued to this subject (RFC 8705 §2.1).
    TlsClientAuth(CertificateSubject),
    /// With a certificate of its key set (RFC 8705 §2.2).
    SelfSignedTlsClientAuth,
}

/// The keys of a client.
#[derive(Clone, Debug)]
pub enum ClientKeys {
    /// It has registered none.
    None,
    /// Those in its metadata. None of them may verify signatures, if the client does not have to sign.
    Given(Arc<KeySet>),
    /// Those at this https URL.
    At(Box<str>),
}

/// The keys, and what they are compared by, since keys that are parsed cannot be.
#[derive(Clone, Debug)]
struct Keys {
    parsed: ClientKeys,
    self_signed: Option<SelfSigned>,
    /// The SHA-256 of the members that they are from.
    written: [u8; 32],
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Keys {}

impl RegisteredClient {
    /// Reads client metadata in JSON (RFC 7591 §2), with a `client_id` among them (RFC 7591 §3.2.1).
    ///
    /// Members that are not known are ignored, as RFC 7591 §2 says, and so is a `client_secret`, of which nothing is kept. A
    /// member that is `null` counts as omitted.
    ///
    /// # Errors
    /// [`ClientErrors`], all problems at once.
    pub fn parse(document: &[u8]) -> Result<Self, ClientErrors> {
        let only = |fault| ClientErrors(vec![ClientError { member: None, fault }]);
        if document.len() > MAX_BYTES {
            return Err(only(ClientFault::TooLarge));
        }
        let members = parse_object(document).map_err(|_| only(ClientFault::Ambiguous))?;
        let mut reader = Reader::of(&members);
        let id = reader.id();
        let metadata = reader.metadata();
        reader.finish(id.zip(metadata).map(|(id, metadata)| Self { id, metadata }))
    }

    /// Its identifier: 1 to 256 characters of printable ASCII.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How it authenticates.
    pub const fn authentication(&self) -> &Authentication {
        &self.metadata.authentication
    }

    /// The redirect URIs that it has registered, in their order.
    pub fn redirect_uris(&self) -> &[RedirectUri] {
        &self.metadata.redirect_uris
    }

    /// Whether it has registered the redirect URI of a request ([`RedirectUri::matches`]).
    pub fn registers(&self, presented: &str) -> bool {
        self.metadata.redirect_uris.iter().any(|registered| registered.matches(presented))
    }

    /// Its keys.
    pub const fn keys(&self) -> &ClientKeys {
        &self.metadata.keys.parsed
    }

    /// The algorithms with which it may sign client assertions (FAPI 2.0 §5.4.1).
    pub fn algorithms(&self) -> &[Algorithm] {
        self.metadata.assertion_algorithm.as_ref().map_or(Algorithm::ALL, std::slice::from_ref)
    }

    /// The algorithms with which it may sign request objects (RFC 9101 §10.5).
    pub fn request_object_algorithms(&self) -> &[Algorithm] {
        self.metadata.request_object_algorithm.as_ref().map_or(Algorithm::ALL, std::slice::from_ref)
    }

    /// The algorithm with which its authorization responses are signed, if they are (JARM §3).
    pub const fn response_algorithm(&self) -> Option<Algorithm> {
        self.metadata.response_algorithm
    }

    /// Whether all its access tokens are bound to a DPoP key (RFC 9449 §5.2).
    pub const fn dpop_bound_access_tokens(&self) -> bool {
        self.metadata.dpop_bound
    }

    /// Whether its access tokens are bound to its certificate (RFC 8705 §3.4).
    pub const fn certificate_bound_access_tokens(&self) -> bool {
        self.metadata.certificate_bound
    }

    /// Whether it may use this grant type at the token endpoint.
    pub fn grants(&self, grant_type: &str) -> bool {
        self.metadata.grants.iter().any(|granted| **granted == *grant_type)
    }

    /// Whether all its authorization requests are signed request objects (RFC 9101 §10.5).
    pub const fn require_signed_request_object(&self) -> bool {
        self.metadata.signed_requests
    }

    /// Authenticates the client by the certificate of a request (RFC 8705 §2): it is valid now, and has a verified chain and the
    /// registered subject, or is registered itself.
    ///
    /// `verified_chain` is whether the chain of the certificate leads to an authority that is trusted for clients. `self_signed`
    /// are the certificates at the client's `jwks_uri`; those that are in its metadata are known here.
    ///
    /// Does not check that the request has this client's `client_id` (FAPI2-AS-37): the caller has found the client by it.
    ///
    /// # Errors
    /// [`CertificateRefused`], for the first check that fails.
    pub fn authenticate_by_certificate(
        &self,
        peer: &Peer,
        verified_chain: bool,
        self_signed: Option<&SelfSigned>,
        now: UnixTime,
    ) -> Result<CertificateThumbprint, CertificateRefused> {
        let subject = match &self.metadata.authentication {
            Authentication::PrivateKeyJwt => return Err(CertificateRefused::OtherMethod),
            Authentication::TlsClientAuth(subject) => Some(subject),
            Authentication::SelfSignedTlsClientAuth => None,
        };
        let certificate = match peer {
            Peer::Certificate(certificate) | Peer::Forwarded(certificate) => certificate,
            Peer::Anonymous(why) => return Err(CertificateRefused::NotPresented(*why)),
        };
        if !certificate.valid_at(now) {
            return Err(CertificateRefused::NotValid { not_after: certificate.not_after(), now });
        }
        match subject {
            Some(_) if !verified_chain => return Err(CertificateRefused::Unverified),
            Some(subject) => subject.names(certificate)?,
            None => {
                let registered = self.metadata.keys.self_signed.as_ref().or(self_signed);
                registered.ok_or(CertificateRefused::KeysUnknown)?.names(certificate)?;
            }
        }
        Ok(*certificate.thumbprint())
    }
}

impl ClientMetadata {
    /// Its redirect URIs.
    pub(super) fn redirect_uris(&self) -> &[RedirectUri] {
        &self.redirect_uris
    }

    /// Its grant types.
    pub(super) fn grants(&self) -> &[Box<str>] {
        &self.grants
    }

    /// Its keys.
    pub(super) const fn keys(&self) -> &ClientKeys {
        &self.keys.parsed
    }

    /// Those of its switches that are on, by their members.
    pub(super) fn switches(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            (DPOP_BOUND, self.dpop_bound),
            (CERTIFICATE_BOUND, self.certificate_bound),
            (SIGNED_REQUESTS, self.signed_requests),
        ];
        all.into_iter().filter(|(_, is_on)| *is_on).map(|(member, _)| member)
    }
}

/// Everything that is wrong with a document, in the order in which it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientErrors(Vec<ClientError>);

impl ClientErrors {
    /// The problems; there is at least one.
    pub fn errors(&self) -> &[ClientError] {
        &self.0
    }
}

/// One line for each.
impl fmt::Display for ClientErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.0.iter();
        if let Some(first) = lines.next() {
            first.fmt(f)?;
        }
        lines.try_for_each(|line| write!(f, "\n{line}"))
    }
}

impl std::error::Error for ClientErrors {}

/// One problem of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientError {
    /// The member that it is with; none if it is with the document.
    pub member: Option<&'static str>,
    /// What is wrong, and the way out.
    pub fault: ClientFault,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.member {
            Some(member) => write!(f, "{member}: {}", self.fault),
            None => self.fault.fmt(f),
        }
    }
}

impl std::error::Error for ClientError {}

/// What is wrong with the metadata of a client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientFault {
    /// The document is longer than [`MAX_BYTES`].
    #[error(
        "the document is larger than 256 KiB; keep one client in a document, and leave large key sets at a jwks_uri"
    )]
    TooLarge,
    /// It is not JSON with one reading.
    #[error(
        "the document is not a JSON object in which each member appears once; write the metadata of one client as one \
         object"
    )]
    Ambiguous,
    /// Some servers would read another member as this one.
    #[error("{found} is another spelling of it; leave that out")]
    Disguised {
        /// The other, as it may be logged.
        found: Box<str>,
    },
    /// A member is missing, or has a value of another kind or size.
    #[error("it is {found}; write {expected}")]
    Kind {
        /// What it is, as it may be logged.
        found: Box<str>,
        /// What it has to be.
        expected: &'static str,
    },
    /// FAPI 2.0 §5.3.2.1 (3), (6): the client authenticates otherwise, or not at all.
    #[error(
        "it is {found}, which FAPI does not allow; write private_key_jwt, tls_client_auth or \
         self_signed_tls_client_auth"
    )]
    MethodRefused {
        /// What it is, as it may be logged.
        found: Box<str>,
    },
    /// RFC 8705 §2.1.2: "A client using the tls_client_auth authentication method MUST use exactly one of the below metadata
    /// parameters to indicate the certificate subject value".
    #[error(
        "it is tls_client_auth, and of the members that have the subject of the certificate there are {count}; write \
         exactly one of tls_client_auth_subject_dn, tls_client_auth_san_dns, tls_client_auth_san_uri, \
         tls_client_auth_san_ip and tls_client_auth_san_email"
    )]
    SubjectCount {
        /// How many there are.
        count: usize,
    },
    /// No certificate has this subject.
    #[error(transparent)]
    Subject(#[from] CertificateSubjectError),
    /// A client may not register this redirect URI.
    #[error(transparent)]
    RedirectUri(#[from] RedirectUriError),
    /// RFC 7591 §2: "clients using flows with redirection MUST register their redirection URI values."
    #[error(
        "it is missing or empty, and the client has the grant type authorization_code; write where it has users \
         sent back to"
    )]
    RedirectUrisMissing,
    /// FAPI 2.0 §5.3.2.1 (2), §5.3.2.2: the grant type is not allowed.
    #[error("{found} is a grant type that FAPI does not allow; remove it, and use authorization_code")]
    GrantRefused {
        /// The grant type.
        found: &'static str,
    },
    /// A client that registers itself asks for a grant type that its server does not have here.
    #[error("{found} is a grant type that this server does not have; it has {expected}")]
    GrantElsewhere {
        /// What it is, as it may be logged.
        found: Box<str>,
        /// Those of the server.
        expected: Names,
    },
    /// FAPI 2.0 §5.3.2.2, FAPI 1.0 Advanced §5.2.2 (2): the response type is not one of the profile.
    #[error("{found} is a response type that the profile does not have; it has {expected}")]
    ResponseTypeRefused {
        /// What it is, as it may be logged.
        found: Box<str>,
        /// Those of the profile.
        expected: Names,
    },
    /// FAPI 2.0 §5.3.2.1 (4): access tokens are bound to their client.
    #[error(
        "neither it nor dpop_bound_access_tokens is true, so that access tokens could be bound to nothing; set one"
    )]
    Unbound,
    /// FAPI 2.0 Message Signing §5.3.1: authorization requests are signed.
    #[error("it is not true, and the profile has signed authorization requests alone; set it")]
    UnsignedRequests,
    /// FAPI 1.0 Advanced §8.6.1: "shall not use algorithm with the RSA1_5 algorithm".
    #[error("it is RSA1_5, which FAPI does not allow; write RSA-OAEP-256 or ECDH-ES, or leave it out")]
    EncryptionRefused,
    /// RFC 7591 §3.2.1: the server gives it to the client.
    #[error("it is for the server to give; leave it out")]
    Assigned,
    /// FAPI 2.0 §5.4.1: the algorithm is not allowed.
    #[error("it is {found}, which FAPI does not allow; write PS256, ES256 or EdDSA, and for any of them leave it out")]
    AlgorithmRefused {
        /// What it is, as it may be logged.
        found: Box<str>,
    },
    /// RFC 7591 §2: "The jwks_uri and jwks parameters MUST NOT both be present in the same request or response."
    #[error("it is there beside jwks_uri; remove one of them")]
    KeysTwice,
    /// The client has to prove something with keys, and has none.
    #[error("it is missing, and so is jwks_uri, and the client needs keys for {needed_for}; write one of them")]
    KeysMissing {
        /// What it needs them for.
        needed_for: &'static str,
    },
    /// The keys are not at an https URL.
    #[error(
        "it is {found}, which is not an https URL; write where the client publishes its keys, without user name and \
         fragment"
    )]
    KeysElsewhere {
        /// What it is, as it may be logged.
        found: Box<str>,
    },
    /// RFC 7591 §2: the key set "contains the client's public keys".
    #[error(
        "the key set has {count} keys with private or symmetric members; replace them, since others have seen them, \
         and write public keys only"
    )]
    KeysPrivate {
        /// How many.
        count: usize,
    },
    /// The key set gives no keys.
    #[error("{0}; write a JWK Set with the public keys of the client")]
    KeySet(KeySetError),
    /// The key set gives no certificates.
    #[error("{0}; write a JWK Set whose keys have the certificates of the client")]
    Certificates(SelfSignedError),
    /// RFC 7517 §4.7.
    #[error(
        "the key set has {count} keys with an x5c that cannot be read; write each certificate in base64 of its DER"
    )]
    CertificatesUnreadable {
        /// How many.
        count: usize,
    },
}

/// Reads members, and collects what is wrong with them.
pub(super) struct Reader<'d> {
    members: &'d Map<String, Value>,
    errors: Vec<ClientError>,
}

impl<'d> Reader<'d> {
    /// A reader of these members that has found nothing wrong yet.
    pub(super) const fn of(members: &'d Map<String, Value>) -> Self {
        Self { members, errors: Vec::new() }
    }

    /// What was read, if nothing was wrong with any of it.
    pub(super) fn finish<T>(self, read: Option<T>) -> Result<T, ClientErrors> {
        match read {
            Some(read) if self.errors.is_empty() => Ok(read),
            Some(_) | None => Err(ClientErrors(self.errors)),
        }
    }

    /// Everything but the identifier; `None` only after a problem was noted. What is there counts only if none was.
    pub(super) fn metadata(&mut self) -> Option<ClientMetadata> {
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
        })
    }

    pub(super) fn fail(&mut self, member: &'static str, fault: ClientFault) {
        self.errors.push(ClientError { member: Some(member), fault });
    }

    fn kind(&mut self, member: &'static str, expected: &'static str) {
        let found = shown_value(self.members.get(member));
        self.fail(member, ClientFault::Kind { found, expected });
    }

    /// The value of a member, unless it is omitted.
    pub(super) fn value(&self, member: &str) -> Option<&'d Value> {
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

    pub(super) fn list(&mut self, member: &'static str) -> Option<Vec<&'d str>> {
        let entries = self.value(member)?.as_array().filter(|entries| entries.len() <= MAX_ENTRIES);
        let texts = entries.and_then(|entries| entries.iter().map(Value::as_str).collect());
        if texts.is_none() {
            self.kind(member, "a list of at most 100 texts");
        }
        texts
    }

    fn id(&mut self) -> Option<Box<str>> {
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

    pub(super) fn algorithm(&mut self, member: &'static str) -> Option<Algorithm> {
        let value = self.value(member)?;
        let algorithm = value.as_str().and_then(Algorithm::from_name);
        if algorithm.is_none() {
            self.fail(member, ClientFault::AlgorithmRefused { found: shown_value(Some(value)) });
        }
        algorithm
    }

    fn keys(&mut self, authentication: Option<&Authentication>, signed_requests: bool) -> Keys {
        let none = Keys { parsed: ClientKeys::None, self_signed: None, written: sha256(b"") };
        // What it signs, if it does.
        let signs = match authentication {
            Some(Authentication::PrivateKeyJwt) => Some("private_key_jwt"),
            Some(_) | None => Some(SIGNED_REQUESTS).filter(|_| signed_requests),
        };
        let has_own_certificate = matches!(authentication, Some(Authentication::SelfSignedTlsClientAuth));
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
        let parsed = match KeySet::parse(text.as_bytes()) {
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

/// RFC 7591 §2: "If omitted, the default behavior is that the client will use only the "authorization_code" Grant Type."
pub(super) const AUTHORIZATION_CODE: &str = "authorization_code";
/// RFC 9449 §5.2.
pub(super) const DPOP_BOUND: &str = "dpop_bound_access_tokens";
/// RFC 8705 §3.4.
pub(super) const CERTIFICATE_BOUND: &str = "tls_client_certificate_bound_access_tokens";
/// RFC 9101 §10.5.
pub(super) const SIGNED_REQUESTS: &str = "require_signed_request_object";

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    use serde_json::json;

    use super::*;
    use crate::peer::{ClientCertificate, NoCertificate};
    use crate::testing::{self, SigningKey};

    const NOW: UnixTime = UnixTime(1_800_000_000);

    /// A client that signs assertions.
    fn good() -> Value {
        json!({
            "client_id": "client-1",
            "token_endpoint_auth_method": "private_key_jwt",
            "redirect_uris": ["https://app.example/cb"],
            "jwks_uri": "https://app.example/jwks",
        })
    }

    /// A document with some members replaced, or removed by `null`.
    fn with(mut document: Value, members: Value) -> Value {
        let known = document.as_object_mut().unwrap();
        for (name, value) in members.as_object().unwrap() {
            drop(known.remove(name));
            if !value.is_null() {
                drop(known.insert(name.clone(), value.clone()));
            }
        }
        document
    }

    fn parse(document: &Value) -> Result<RegisteredClient, ClientErrors> {
        RegisteredClient::parse(document.to_string().as_bytes())
    }

    /// The good client with these members.
    fn client(members: Value) -> RegisteredClient {
        parse(&with(good(), members)).unwrap()
    }

    /// The only problem with the good client and these members.
    fn fault(members: Value) -> (&'static str, ClientFault) {
        let errors = parse(&with(good(), members.clone())).expect_err(&members.to_string());
        let [error] = errors.errors() else { panic!("{members}: {errors}") };
        (error.member.unwrap(), error.fault.clone())
    }

    fn kind_fault(member: &'static str, value: Value) {
        let (found, fault) = fault(json!({ member: value }));
        assert!(found == member && matches!(fault, ClientFault::Kind { .. }), "{member}: {value}: {found}: {fault}");
    }

    #[test]
    fn rfc7591_2_a_client_is_what_its_metadata_say() {
        let client = client(json!({}));
        assert_eq!((client.id(), client.authentication()), ("client-1", &Authentication::PrivateKeyJwt));
        assert_eq!(
            client.redirect_uris().iter().map(RedirectUri::as_str).collect::<Vec<_>>(),
            ["https://app.example/cb"]
        );
        assert!(matches!(client.keys(), ClientKeys::At(uri) if **uri == *"https://app.example/jwks"));
        assert_eq!((client.algorithms(), client.request_object_algorithms()), (Algorithm::ALL, Algorithm::ALL));
        assert_eq!(client.response_algorithm(), None);
        assert!(client.grants("authorization_code") && !client.grants("refresh_token") && !client.grants(""));
        assert!(!client.dpop_bound_access_tokens() && !client.certificate_bound_access_tokens());
        assert!(!client.require_signed_request_object());
    }

    #[test]
    fn rfc7591_2_members_that_are_not_known_are_ignored_and_null_is_omitted() {
        let plain = client(json!({}));
        let mut document = good();
        document["client_name"] = json!({ "de": ["Bank"] });
        document["response_types"] = json!(7);
        for member in
            ["jwks", "grant_types", "application_type", "dpop_bound_access_tokens", "request_object_signing_alg"]
        {
            document[member] = Value::Null;
        }
        assert_eq!(parse(&document), Ok(plain));
    }

    #[test]
    fn nothing_is_kept_of_a_secret() {
        let secret = "c2VjcmV0LW9mLXRoZS1jbGllbnQ";
        let document = with(good(), json!({ "client_secret": secret, "registration_access_token": secret }));
        let client = parse(&document).unwrap();
        assert_eq!(client, self::client(json!({})));
        assert!(!format!("{client:?}").contains(secret));
        let errors = parse(&with(document, json!({ "client_id": 1 }))).unwrap_err();
        assert!(!format!("{errors:?} {errors}").contains(secret));
    }

    #[test]
    fn a_document_is_one_json_object_with_one_reading_and_not_too_long() {
        let only = |document: &[u8]| match RegisteredClient::parse(document).unwrap_err().errors() {
            [ClientError { member: None, fault }] => fault.clone(),
            other => panic!("{other:?}"),
        };
        let text = good().to_string();
        assert!(RegisteredClient::parse(text.as_bytes()).is_ok()); // control
        let twice = text.replacen('{', r#"{"client_id":"client-2","#, 1);
        let list = format!("[{text}]");
        for document in ["", "null", &twice, &list, &text[1..]] {
            assert_eq!(only(document.as_bytes()), ClientFault::Ambiguous, "{document}");
        }
        let padded = |length: usize| format!("{text}{}", " ".repeat(length - text.len()));
        assert!(RegisteredClient::parse(padded(MAX_BYTES).as_bytes()).is_ok()); // control
        assert_eq!(only(padded(MAX_BYTES + 1).as_bytes()), ClientFault::TooLarge);
    }

    #[test]
    fn rfc6749_a_1_a_client_id_is_printable_ascii() {
        for id in ["a", "a b", " ", "~", "https://client.example", &"a".repeat(256)] {
            assert_eq!(client(json!({ "client_id": id })).id(), id); // control
        }
        for id in [json!(""), json!("a".repeat(257)), json!("é"), json!("a\n"), json!("\u{7f}"), json!(1), json!(["a"])]
        {
            kind_fault("client_id", id);
        }
        kind_fault("client_id", Value::Null);
    }

    #[test]
    fn fapi2_as_05_a_client_authenticates_with_a_certificate_or_private_key_jwt() {
        for method in ["private_key_jwt", "self_signed_tls_client_auth"] {
            // Control.
            assert!(parse(&with(good(), json!({ "token_endpoint_auth_method": method }))).is_ok(), "{method}");
        }
        for (method, shown) in [
            (Value::Null, "missing, which means client_secret_basic"),
            (json!("client_secret_basic"), r#""client_secret_basic""#),
            (json!("client_secret_post"), r#""client_secret_post""#),
            (json!("client_secret_jwt"), r#""client_secret_jwt""#),
            (json!("PRIVATE_KEY_JWT"), r#""PRIVATE_KEY_JWT""#),
            (json!(""), r#""""#),
            (json!(["private_key_jwt"]), "a list"),
        ] {
            let refused = fault(json!({ "token_endpoint_auth_method": method }));
            assert_eq!(refused, ("token_endpoint_auth_method", ClientFault::MethodRefused { found: shown.into() }));
        }
    }

    #[test]
    fn fapi2_as_03_a_client_is_confidential() {
        let refused = fault(json!({ "token_endpoint_auth_method": "none" }));
        assert_eq!(refused, ("token_endpoint_auth_method", ClientFault::MethodRefused { found: "\"none\"".into() }));
    }

    #[test]
    fn fapi2_as_35_a_client_has_exactly_one_subject() {
        let members = |mut members: Value| {
            members["token_endpoint_auth_method"] = json!("tls_client_auth");
            members
        };
        for (form, text) in SubjectForm::ALL.into_iter().zip(["CN=a", "a.example", "urn:a", "192.0.2.1", "a@b.example"])
        {
            let client = client(members(json!({ form.member(): text, "jwks_uri": null })));
            let subject = CertificateSubject::parse(form, text).unwrap();
            assert_eq!(client.authentication(), &Authentication::TlsClientAuth(subject)); // control
            assert!(matches!(client.keys(), ClientKeys::None));
            let (member, malformed) = fault(members(json!({ form.member(): " " })));
            assert!(member == form.member() && matches!(malformed, ClientFault::Subject(_)), "{member}: {malformed}");
            let (member, other) = fault(members(json!({ form.member(): 1 })));
            assert!(member == form.member() && matches!(other, ClientFault::Kind { .. }), "{member}: {other}");
        }
        let count = |count| ("token_endpoint_auth_method", ClientFault::SubjectCount { count });
        assert_eq!(fault(members(json!({}))), count(0));
        let two = json!({ "tls_client_auth_san_dns": "a.example", "tls_client_auth_subject_dn": "CN=a" });
        assert_eq!(fault(members(two.clone())), count(2));
        // Members that another method does not use are ignored.
        assert_eq!(client(two), client(json!({})));
    }

    #[test]
    fn fapi2_as_21_redirect_uris_are_those_of_the_application_type() {
        let uris = |application: Value, uri: &str| json!({ "application_type": application, "redirect_uris": [uri] });
        for (application, uri) in [
            (Value::Null, "https://app.example/cb"),
            (json!("web"), "https://app.example/cb"),
            (json!("native"), "https://app.example/cb"),
            (json!("native"), "http://127.0.0.1/cb"),
            (json!("native"), "com.example.app:/cb"),
        ] {
            assert!(client(uris(application, uri)).registers(uri)); // control
        }
        for (application, uri) in [
            (Value::Null, "http://127.0.0.1/cb"),
            (json!("web"), "http://127.0.0.1/cb"),
            (json!("web"), "com.example.app:/cb"),
            (json!("native"), "http://app.example/cb"),
            (json!("native"), "app:/cb"),
        ] {
            let (member, fault) = fault(uris(application, uri));
            assert!(member == "redirect_uris" && matches!(fault, ClientFault::RedirectUri(_)), "{uri}: {fault}");
        }
        for application in [json!("Native"), json!(""), json!(1)] {
            kind_fault("application_type", application);
        }
    }

    #[test]
    fn rfc7591_2_a_client_with_codes_has_redirect_uris() {
        let missing = ("redirect_uris", ClientFault::RedirectUrisMissing);
        assert_eq!(fault(json!({ "redirect_uris": null })), missing);
        assert_eq!(fault(json!({ "redirect_uris": [] })), missing);
        let other = client(json!({ "redirect_uris": null, "grant_types": ["client_credentials"] })); // control
        assert!(other.redirect_uris().is_empty() && !other.registers("") && !other.grants("authorization_code"));
        for value in
            [json!("https://app.example/cb"), json!([1]), json!({}), json!(vec!["https://app.example/cb"; 101])]
        {
            kind_fault("redirect_uris", value);
        }
        assert!(
            client(json!({ "redirect_uris": vec!["https://app.example/cb"; 100] })).registers("https://app.example/cb")
        );
    }

    #[test]
    fn fapi2_as_06_only_what_is_registered_is_redirected_to() {
        let uris = ["https://app.example/cb", "http://127.0.0.1/cb"];
        let client = client(json!({ "application_type": "native", "redirect_uris": uris }));
        for (presented, registered) in [
            ("https://app.example/cb", true),   // control
            ("http://127.0.0.1:4711/cb", true), // control
            ("https://app.example/cb/", false),
            ("https://app.example:4711/cb", false),
            ("https://evil.example/cb", false),
        ] {
            assert_eq!(client.registers(presented), registered, "{presented}");
        }
    }

    #[test]
    fn fapi2_as_02_the_grants_of_a_password_and_of_the_implicit_flow_are_refused() {
        let grants = ["authorization_code", "refresh_token", "urn:openid:params:grant-type:ciba"];
        let client = client(json!({ "grant_types": grants }));
        assert!(grants.iter().all(|grant| client.grants(grant)) && !client.grants("client_credentials")); // control
        for found in ["password", "implicit"] {
            let refused = fault(json!({ "grant_types": ["authorization_code", found] }));
            assert_eq!(refused, ("grant_types", ClientFault::GrantRefused { found }));
        }
        for value in [json!("authorization_code"), json!([1]), json!({}), json!(vec!["a"; 101])] {
            kind_fault("grant_types", value);
        }
    }

    #[test]
    fn fapi2_cr_02_algorithms_are_those_that_fapi_allows() {
        let read = |client: &RegisteredClient| {
            (client.algorithms().to_vec(), client.request_object_algorithms().to_vec(), client.response_algorithm())
        };
        let members =
            ["token_endpoint_auth_signing_alg", "request_object_signing_alg", "authorization_signed_response_alg"];
        let all = Algorithm::ALL.to_vec();
        for (name, one) in [("PS256", Algorithm::Ps256), ("ES256", Algorithm::Es256), ("EdDSA", Algorithm::EdDsa)] {
            let of = |member: &str| read(&client(json!({ member: name })));
            assert_eq!(of(members[0]), (vec![one], all.clone(), None)); // control
            assert_eq!(of(members[1]), (all.clone(), vec![one], None)); // control
            assert_eq!(of(members[2]), (all.clone(), all.clone(), Some(one))); // control
        }
        for member in members {
            for name in [json!("RS256"), json!("none"), json!("HS256"), json!("ps256"), json!(""), json!(["PS256"])] {
                let refused = ClientFault::AlgorithmRefused { found: shown_value(Some(&name)) };
                assert_eq!(fault(json!({ member: name })), (member, refused));
            }
        }
    }

    #[test]
    fn switches_are_true_or_false() {
        type Switch = fn(&RegisteredClient) -> bool;
        let switches: [(&str, Switch); 3] = [
            ("dpop_bound_access_tokens", RegisteredClient::dpop_bound_access_tokens),
            ("tls_client_certificate_bound_access_tokens", RegisteredClient::certificate_bound_access_tokens),
            ("require_signed_request_object", RegisteredClient::require_signed_request_object),
        ];
        for (member, switch) in switches {
            for on in [true, false] {
                let client = client(json!({ member: on }));
                assert_eq!(switch(&client), on, "{member}");
                let others = switches.iter().filter(|(other, _)| *other != member);
                assert_eq!(others.filter(|(_, switch)| switch(&client)).count(), 0, "{member}");
            }
            for value in [json!("true"), json!(1), json!([])] {
                kind_fault(member, value);
            }
        }
    }

    #[test]
    fn a_client_that_signs_has_keys_that_are_public() {
        let key = SigningKey::generate(Algorithm::Es256, "a");
        let jwks = testing::jwks(&[&key]);
        let given = client(json!({ "jwks_uri": null, "jwks": jwks }));
        let ClientKeys::Given(keys) = given.keys() else { panic!("{given:?}") };
        assert_eq!(keys.candidates(Some("a"), Algorithm::Es256).count(), 1); // control

        assert_eq!(fault(json!({ "jwks": jwks })), ("jwks", ClientFault::KeysTwice));
        let private = with(key.jwk(), json!({ "d": "AAAA" }));
        let faulty = |keys: Value| fault(json!({ "jwks_uri": null, "jwks": keys }));
        assert_eq!(faulty(json!({ "keys": [key.jwk(), private] })), ("jwks", ClientFault::KeysPrivate { count: 1 }));
        assert_eq!(
            faulty(json!({ "keys": [{ "kty": "oct", "k": "AAAA" }] })),
            ("jwks", ClientFault::KeysPrivate { count: 1 })
        );
        for (keys, error) in [
            (json!({}), KeySetError::Malformed),
            (json!([]), KeySetError::Malformed),
            (json!("keys"), KeySetError::Malformed),
            (json!({ "keys": [] }), KeySetError::NoUsableKey { skipped: Vec::new() }),
            (json!({ "keys": vec![json!({}); 101] }), KeySetError::TooMany),
        ] {
            assert_eq!(faulty(keys), ("jwks", ClientFault::KeySet(error)));
        }
        for uri in [
            json!("http://app.example/jwks"),
            json!("https://"),
            json!("https://user@app.example/jwks"),
            json!("https://app.example/jwks#a"),
            json!("app.example"),
            json!(1),
        ] {
            let refused = ClientFault::KeysElsewhere { found: shown_value(Some(&uri)) };
            assert_eq!(fault(json!({ "jwks_uri": uri })), ("jwks_uri", refused));
        }
    }

    #[test]
    fn who_needs_keys_has_some() {
        let by_certificate = json!({
            "token_endpoint_auth_method": "tls_client_auth",
            "tls_client_auth_san_dns": "a.example",
            "jwks_uri": null,
        });
        assert!(matches!(client(by_certificate.clone()).keys(), ClientKeys::None)); // control
        let missing = |needed_for| ("jwks", ClientFault::KeysMissing { needed_for });
        assert_eq!(fault(json!({ "jwks_uri": null })), missing("private_key_jwt"));
        let mut signed = by_certificate.clone();
        signed["require_signed_request_object"] = json!(true);
        assert_eq!(fault(signed), missing("require_signed_request_object"));
        let own = json!({ "token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks_uri": null });
        assert_eq!(fault(own), missing("self_signed_tls_client_auth"));
        // A key set for something else.
        let encryption = json!({ "keys": [{ "kty": "EC", "crv": "P-384" }] });
        let mut other = by_certificate;
        other["jwks"] = encryption;
        assert!(matches!(client(other.clone()).keys(), ClientKeys::Given(keys) if keys.is_empty())); // control
        other["require_signed_request_object"] = json!(true);
        assert!(matches!(fault(other), ("jwks", ClientFault::KeySet(KeySetError::NoUsableKey { .. }))));
    }

    #[test]
    fn every_problem_is_told_at_once_and_in_a_line_of_its_own() {
        let document = json!({
            "client_id": "\n",
            "token_endpoint_auth_method": "client_secret_basic\nx",
            "grant_types": ["password", "implicit", "authorization_code"],
            "redirect_uris": ["http://app.example\n", "https://app.example/#"],
            "jwks": {},
            "jwks_uri": "https://app.example/jwks",
            "request_object_signing_alg": "none\n",
            "dpop_bound_access_tokens": "yes\n",
        });
        let errors = parse(&document).unwrap_err();
        let members: Vec<_> = errors.errors().iter().map(|error| error.member.unwrap()).collect();
        let expected = [
            "client_id",
            "token_endpoint_auth_method",
            "grant_types",
            "grant_types",
            "redirect_uris",
            "redirect_uris",
            "jwks",
            "request_object_signing_alg",
            "dpop_bound_access_tokens",
        ];
        assert_eq!(members, expected);
        let text = errors.to_string();
        let mut lines = String::new();
        for error in errors.errors() {
            writeln!(lines, "{error}").unwrap();
        }
        assert_eq!(text.lines().count(), expected.len());
        assert_eq!(format!("{text}\n"), lines);
        assert!(text.lines().zip(expected).all(|(line, member)| line.starts_with(&format!("{member}: "))), "{text}");
    }

    #[test]
    fn a_client_differs_by_what_is_read_of_it() {
        let key = |kid| testing::jwks(&[&SigningKey::generate(Algorithm::Es256, kid)]);
        let (one, other) = (key("a"), key("a"));
        let given = |jwks: &Value| client(json!({ "jwks_uri": null, "jwks": jwks }));
        assert_eq!((client(json!({})), given(&one)), (client(json!({ "client_name": "a" })), given(&one))); // control
        assert_ne!(given(&one), given(&other));
        assert_ne!(given(&one), client(json!({})));
        for members in [
            json!({ "client_id": "client-2" }),
            json!({ "token_endpoint_auth_method": "self_signed_tls_client_auth" }),
            json!({ "redirect_uris": ["https://app.example/cb2"] }),
            json!({ "jwks_uri": "https://app.example/jwks2" }),
            json!({ "token_endpoint_auth_signing_alg": "PS256" }),
            json!({ "request_object_signing_alg": "PS256" }),
            json!({ "authorization_signed_response_alg": "PS256" }),
            json!({ "grant_types": ["authorization_code", "refresh_token"] }),
            json!({ "dpop_bound_access_tokens": true }),
            json!({ "tls_client_certificate_bound_access_tokens": true }),
            json!({ "require_signed_request_object": true }),
        ] {
            assert_ne!(client(members.clone()), client(json!({})), "{members}");
        }
    }

    fn named(name: &str) -> Peer {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Peer::Certificate(Arc::new(ClientCertificate::from_der(der.der()).unwrap()))
    }

    #[test]
    fn fapi2_as_35_a_certificate_of_the_subject_authenticates_with_a_verified_chain() {
        let (own, other) = (named("client 1"), named("client 2"));
        let client = client(json!({
            "token_endpoint_auth_method": "tls_client_auth",
            "tls_client_auth_subject_dn": "CN=Client 1",
        }));
        let thumbprint = *own.certificate().unwrap().thumbprint();
        assert_eq!(client.authenticate_by_certificate(&own, true, None, NOW), Ok(thumbprint)); // control
        assert_eq!(client.authenticate_by_certificate(&own, false, None, NOW), Err(CertificateRefused::Unverified));
        let Err(CertificateRefused::SubjectDiffers { member, found, expected }) =
            client.authenticate_by_certificate(&other, true, None, NOW)
        else {
            panic!("another client is authenticated")
        };
        assert_eq!(member, "tls_client_auth_subject_dn");
        assert_eq!((&*found, &*expected), (r#"the subject "CN=client 2""#, r#""CN=Client 1""#));
        // Certificates of a key set are for the other method.
        let certificate = own.certificate().unwrap();
        let jwks = json!({ "keys": [{ "x5c": [STANDARD.encode(certificate.der())] }] });
        let self_signed = SelfSigned::parse(jwks.to_string().as_bytes()).unwrap();
        let judged = client.authenticate_by_certificate(&own, false, Some(&self_signed), NOW);
        assert_eq!(judged, Err(CertificateRefused::Unverified));
    }

    #[test]
    fn fapi2_as_36_a_certificate_of_the_key_set_authenticates_without_a_chain() {
        let (own, other) = (named("client"), named("client"));
        let thumbprint = |peer: &Peer| *peer.certificate().unwrap().thumbprint();
        let jwks = |peer: &Peer| {
            let der = peer.certificate().unwrap().der();
            json!({ "keys": [{ "kty": "EC", "x5c": [STANDARD.encode(der)] }] })
        };
        let method = json!({ "token_endpoint_auth_method": "self_signed_tls_client_auth" });
        let fetched = SelfSigned::parse(jwks(&own).to_string().as_bytes()).unwrap();
        let others = SelfSigned::parse(jwks(&other).to_string().as_bytes()).unwrap();
        let at = client(method.clone());
        let mut members = method;
        members["jwks_uri"] = Value::Null;
        members["jwks"] = jwks(&own);
        let given = client(members.clone());
        let refused = Err(CertificateRefused::NotRegistered { thumbprint: thumbprint(&other), registered: 1 });
        for verified_chain in [true, false] {
            let judge = |client: &RegisteredClient, peer: &Peer, self_signed: Option<&SelfSigned>| {
                client.authenticate_by_certificate(peer, verified_chain, self_signed, NOW)
            };
            assert_eq!(judge(&given, &own, None), Ok(thumbprint(&own))); // control
            assert_eq!(judge(&at, &own, Some(&fetched)), Ok(thumbprint(&own))); // control
            assert_eq!(judge(&given, &other, None), refused);
            assert_eq!(judge(&at, &other, Some(&fetched)), refused);
            assert_eq!(judge(&given, &other, Some(&others)), refused);
            assert_eq!(judge(&at, &own, None), Err(CertificateRefused::KeysUnknown));
        }
        for (x5c, expected) in [
            (json!([]), ClientFault::CertificatesUnreadable { count: 1 }),
            (Value::Null, ClientFault::Certificates(SelfSignedError::NoCertificate)),
        ] {
            let mut members = members.clone();
            let mut keys = vec![json!({ "kty": "EC", "x5c": x5c })];
            keys.extend(members["jwks"]["keys"].as_array().unwrap().iter().filter(|_| !x5c.is_null()).cloned());
            members["jwks"] = json!({ "keys": keys });
            assert_eq!(fault(members), ("jwks", expected));
        }
    }

    #[test]
    fn a_certificate_is_there_and_valid_and_what_the_client_is_registered_with() {
        let own = named("client");
        let by_certificate = client(json!({
            "token_endpoint_auth_method": "tls_client_auth",
            "tls_client_auth_subject_dn": "CN=client",
        }));
        let judge = |client: &RegisteredClient, peer: &Peer, now| {
            client.authenticate_by_certificate(peer, true, None, now).map(|_| ())
        };
        let not_after = own.certificate().unwrap().not_after();
        let start = UnixTime(1_577_836_800);
        for now in [NOW, start, not_after] {
            assert_eq!(judge(&by_certificate, &own, now), Ok(())); // control
        }
        let Peer::Certificate(certificate) = &own else { panic!("{own:?}") };
        let forwarded = Peer::Forwarded(Arc::clone(certificate));
        assert_eq!(judge(&by_certificate, &forwarded, NOW), Ok(())); // control
        for now in [UnixTime(start.0 - 1), not_after.plus(1)] {
            assert_eq!(judge(&by_certificate, &own, now), Err(CertificateRefused::NotValid { not_after, now }));
        }
        for why in [NoCertificate::NotPresented, NoCertificate::NoLongerTrusted, NoCertificate::NotForwarded] {
            let judged = judge(&by_certificate, &Peer::Anonymous(why), NOW);
            assert_eq!(judged, Err(CertificateRefused::NotPresented(why)));
        }
        assert_eq!(judge(&client(json!({})), &own, NOW), Err(CertificateRefused::OtherMethod));
    }
}
