//! A client as it is registered at the authorization server: its metadata (RFC 7591 §2), as far as FAPI has rules about them.

mod fault;
mod metadata;
mod reader;

pub use self::fault::{ClientError, ClientErrors, ClientFault};
pub use self::metadata::{Authentication, ClientKeys, MAX_ENTRIES};
pub(super) use self::metadata::{CERTIFICATE_BOUND, ClientMetadata, DPOP_BOUND, SIGNED_REQUESTS};
pub(super) use self::reader::Reader;
use super::certificate::{CertificateRefused, SelfSigned};
use super::redirect_uri::RedirectUri;
use crate::UnixTime;
use crate::jose::json::parse_object;
use crate::jose::keys::Algorithm;
use crate::jose::thumbprint::CertificateThumbprint;
use crate::peer::Peer;
use crate::signed_body::directory::DirectoryName;

/// The longest document, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;
/// A client that the authorization server knows.
///
/// Two are equal if what is read of their documents is the same. Keys are compared as they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredClient {
    id: Box<str>,
    metadata: ClientMetadata,
}

impl RegisteredClient {
    /// Reads client metadata in JSON (RFC 7591 §2), with a `client_id` among them (RFC 7591 §3.2.1).
    ///
    /// Members that are not known are ignored, as RFC 7591 §2 says, and so is a `client_secret`, of which nothing is kept. A
    /// member that is `null` counts as omitted.
    ///
    /// # Errors
    /// [`ClientErrors`], all problems at once.
    pub fn parse(document: &[u8]) -> Result<Self, ClientErrors> {
        Self::read(document, |reader| reader.metadata())
    }

    /// Reads the same of a client of which nothing but its keys counts: `client_id`, and one of `jwks` and `jwks_uri`. Other members
    /// are ignored, so that what is read so must not be asked about them: it has no redirect URIs and no grants.
    ///
    /// # Errors
    /// [`ClientErrors`], all problems at once.
    pub fn parse_keys(document: &[u8]) -> Result<Self, ClientErrors> {
        Self::read(document, |reader| Some(reader.keys_alone()))
    }

    fn read(
        document: &[u8],
        metadata: impl FnOnce(&mut Reader<'_>) -> Option<ClientMetadata>,
    ) -> Result<Self, ClientErrors> {
        let only = |fault| ClientErrors(vec![ClientError { member: None, fault }]);
        if document.len() > MAX_BYTES {
            return Err(only(ClientFault::TooLarge));
        }
        let members = parse_object(document).map_err(|_| only(ClientFault::Ambiguous))?;
        let mut reader = Reader::of(&members);
        let id = reader.id();
        let metadata = metadata(&mut reader);
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

    /// How the directory of an ecosystem names it.
    pub const fn directory_name(&self) -> &DirectoryName {
        &self.metadata.name
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

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::sync::Arc;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    use serde_json::{Value, json};

    use super::super::certificate::{CertificateSubject, SelfSignedError, SubjectForm};
    use super::*;
    use crate::jose::keys::KeySetError;
    use crate::peer::{ClientCertificate, NoCertificate};
    use crate::testing::{self, SigningKey, with_members};
    use crate::text::shown_value;

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

    fn parse(document: &Value) -> Result<RegisteredClient, ClientErrors> {
        RegisteredClient::parse(document.to_string().as_bytes())
    }

    /// The good client with these members.
    fn client(members: Value) -> RegisteredClient {
        parse(&with_members(good(), &members)).unwrap()
    }

    /// The only problem with the good client and these members.
    fn fault(members: Value) -> (&'static str, ClientFault) {
        let errors = parse(&with_members(good(), &members)).expect_err(&members.to_string());
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
    fn a_client_whose_keys_alone_count_need_not_say_anything_else() {
        let document = json!({ "client_id": "client-1", "jwks_uri": "https://app.example/jwks" });
        let parse = |document: &Value| RegisteredClient::parse_keys(document.to_string().as_bytes());
        let client = parse(&document).unwrap();
        assert!(matches!(client.keys(), ClientKeys::At(uri) if **uri == *"https://app.example/jwks"));
        assert!(!client.grants("authorization_code") && client.redirect_uris().is_empty());
        assert!(RegisteredClient::parse(document.to_string().as_bytes()).is_err(), "control");
        for other in
            [json!({ "jwks_uri": null }), json!({ "jwks_uri": "http://app.example" }), json!({ "client_id": "" })]
        {
            assert!(parse(&with_members(document.clone(), &other)).is_err(), "{other}");
        }
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
        let document = with_members(good(), &json!({ "client_secret": secret, "registration_access_token": secret }));
        let client = parse(&document).unwrap();
        assert_eq!(client, self::client(json!({})));
        assert!(!format!("{client:?}").contains(secret));
        let errors = parse(&with_members(document, &json!({ "client_id": 1 }))).unwrap_err();
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
            assert!(parse(&with_members(good(), &json!({ "token_endpoint_auth_method": method }))).is_ok(), "{method}");
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
        let private = with_members(key.jwk(), &json!({ "d": "AAAA" }));
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
