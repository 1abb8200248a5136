//! Software statements (RFC 7591 §2.3): what a directory of an ecosystem says of a client that registers itself, such as UK Open
//! Banking and Open Finance Brasil have it.
//!
//! A statement says whose software the client is, where its keys are and where users may be sent back to. The request may ask for
//! less of that, and for nothing else; and the certificate of its connection is that of the same organisation, if so configured.
//!
//! Does not check that a statement is used once: it is about the software, whose every registration has it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::PeerCertificate;
use super::client::{ClientKeys, ClientMetadata, MAX_ENTRIES};
use super::redirect_uri::RedirectUri;
use crate::UnixTime;
use crate::code::Code;
use crate::jose::claims::{CLOCK_SKEW, REGISTERED, numeric_date};
use crate::jose::jws::Jws;
use crate::jose::keys::{Algorithm, KeySet};
use crate::jose::statement::{StatementError, verified_claims};
use crate::peer::{ClientCertificate, NoCertificate, Peer};
use crate::text::{printable, shown_text, shown_value};

/// The longest software statement, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// How the statements of a directory are verified.
#[derive(Clone, Debug)]
pub struct StatementRules {
    /// The exact value of `iss`.
    pub issuer: Box<str>,
    /// The keys of the directory.
    pub keys: Arc<KeySet>,
    /// The algorithms that it may sign with.
    pub algorithms: Vec<Algorithm>,
    /// How long ago `iat` may be.
    pub max_age: Duration,
    /// Whether every request has a statement.
    pub required: bool,
    /// What the certificate of the connection has in common with the statement.
    pub certificate: Vec<CertificateRule>,
}

/// A claim of the statement that is an attribute of the subject of the client's certificate too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRule {
    /// The claim, such as `org_id`.
    pub claim: Box<str>,
    /// The attribute.
    pub attribute: SubjectAttribute,
    /// What is before the value of the claim in that of the attribute, such as `OFBBR-`.
    pub prefix: Box<str>,
}

/// An attribute of a subject by which ecosystems name organisations and software.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectAttribute {
    /// `organizationIdentifier` (ETSI EN 319 412-1 §5.1.4).
    OrganizationIdentifier,
    /// `OU`.
    OrganizationalUnit,
    /// `CN`.
    CommonName,
    /// `UID`.
    UserId,
}

impl SubjectAttribute {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OrganizationIdentifier => "organizationIdentifier",
            Self::OrganizationalUnit => "OU",
            Self::CommonName => "CN",
            Self::UserId => "UID",
        }
    }

    const fn object_identifier(self) -> &'static str {
        match self {
            Self::OrganizationIdentifier => "2.5.4.97",
            Self::OrganizationalUnit => "2.5.4.11",
            Self::CommonName => "2.5.4.3",
            Self::UserId => "0.9.2342.19200300.100.1.1",
        }
    }

    /// The only value of it in the subject of a certificate, or how many there are.
    fn of(self, certificate: &ClientCertificate) -> Result<Box<str>, usize> {
        let der = certificate.der();
        let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return Err(0) };
        let attributes = certificate.subject().iter_attributes();
        let values: Vec<_> =
            attributes.filter(|it| it.attr_type().to_id_string() == self.object_identifier()).collect();
        match *values {
            [only] => only.as_str().map(Box::from).map_err(|_| 0),
            _ => Err(values.len()),
        }
    }
}

impl fmt::Display for SubjectAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a software statement does not count, or why a request is not what its statement says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SoftwareStatementError {
    /// There is none, and there has to be one.
    #[error("software_statement is missing")]
    Missing,
    /// It is no text.
    #[error("software_statement is {found}, expected a signed JWT")]
    NotText {
        /// What it is.
        found: Box<str>,
    },
    /// There is one, and nobody has said whose statements count.
    #[error("there is a software_statement, and no directory is configured whose statements could be verified")]
    Unverifiable,
    /// The directory has not signed it.
    #[error("the software statement is refused: {0}")]
    Refused(#[from] StatementError),
    /// A time is no number of seconds.
    #[error("{claim} of the software statement is not a number of seconds")]
    TimeMalformed {
        /// Which of them.
        claim: &'static str,
    },
    /// It was made too long ago.
    #[error("the software statement was issued at {at}, more than {max_age} seconds before {now}")]
    TooOld {
        /// `iat`.
        at: UnixTime,
        /// How long ago it may be.
        max_age: u64,
        /// The time of the judgement.
        now: UnixTime,
    },
    /// It has expired.
    #[error("the software statement expired at {at}, it is {now}")]
    Expired {
        /// `exp`.
        at: UnixTime,
        /// The time of the judgement.
        now: UnixTime,
    },
    /// It is not valid yet.
    #[error("nbf of the software statement is {at}, it is {now}")]
    NotYet {
        /// `nbf`.
        at: UnixTime,
        /// The time of the judgement.
        now: UnixTime,
    },
    /// RFC 7591 §2.3: what is in the statement takes precedence, and a server may not know that.
    #[error("{member} is not what the software statement says")]
    Contradicted {
        /// The member, truncated and made printable.
        member: Box<str>,
    },
    /// A claim about the software is not what it has to be.
    #[error("{claim} of the software statement is {found}, expected {expected}")]
    ClaimMalformed {
        /// The claim, truncated and made printable.
        claim: Box<str>,
        /// What it is, made printable.
        found: Box<str>,
        /// What it should be.
        expected: &'static str,
    },
    /// A redirect URI that the directory does not know.
    #[error("the redirect URI {found} is none of those of the software statement")]
    RedirectUriElsewhere {
        /// The URI, truncated and made printable.
        found: Box<str>,
    },
    /// Keys that the directory does not know.
    #[error("the client has its keys {found}, the software statement has them at {expected}")]
    KeysElsewhere {
        /// Where they are, made printable.
        found: Box<str>,
        /// Where they have to be, truncated and made printable.
        expected: Box<str>,
    },
    /// The connection has no certificate.
    #[error("the software statement is compared with the certificate of the client, and there is none: {0}")]
    NoCertificate(NoCertificate),
    /// Its certificate has expired, or is not valid yet (RFC 5280 §4.1.2.5).
    #[error("the certificate of the client is not valid now, {now}; the last second of its validity is {not_after}")]
    CertificateNotValid {
        /// The last second of its validity.
        not_after: UnixTime,
        /// The time of the judgement.
        now: UnixTime,
    },
    /// No authority that is trusted has issued its certificate, or nobody checked that.
    #[error("the chain of the client's certificate is not verified, and the software statement is compared with it")]
    CertificateUnverified,
    /// The certificate has no such attribute, or several.
    #[error("the certificate of the client has {count} readable values of {attribute}, expected one")]
    AttributeCount {
        /// The attribute.
        attribute: SubjectAttribute,
        /// How many there are.
        count: usize,
    },
    /// It is the certificate of somebody else.
    #[error(
        "{attribute} of the client's certificate is {found}, the software statement's {claim} has it as {expected}"
    )]
    CertificateOfAnother {
        /// The attribute.
        attribute: SubjectAttribute,
        /// What it is, truncated and made printable.
        found: Box<str>,
        /// The claim, truncated and made printable.
        claim: Box<str>,
        /// What it has to be, truncated and made printable.
        expected: Box<str>,
    },
}

impl SoftwareStatementError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::RedirectUriElsewhere { .. } => Code::RegistrationRedirectRefused,
            Self::NoCertificate(_) | Self::CertificateNotValid { .. } | Self::CertificateUnverified => {
                Code::ClientAuthenticationRefused
            }
            Self::Missing
            | Self::NotText { .. }
            | Self::Unverifiable
            | Self::Refused(_)
            | Self::TimeMalformed { .. }
            | Self::TooOld { .. }
            | Self::Expired { .. }
            | Self::NotYet { .. }
            | Self::Contradicted { .. }
            | Self::ClaimMalformed { .. }
            | Self::KeysElsewhere { .. }
            | Self::AttributeCount { .. }
            | Self::CertificateOfAnother { .. } => Code::SoftwareStatementRefused,
        }
    }
}

/// A statement that the directory has signed about the client of this connection.
#[derive(Debug)]
pub(super) struct SoftwareStatement {
    claims: Map<String, Value>,
    redirect_uris: Option<Vec<Box<str>>>,
    keys_at: Option<Box<str>>,
}

impl SoftwareStatement {
    /// The statement in a request, verified: type, algorithm, key, signature, `iss`, times, and the certificate of the connection.
    pub(super) fn of(
        members: &Map<String, Value>,
        rules: Option<&StatementRules>,
        certificate: &PeerCertificate<'_>,
        now: UnixTime,
    ) -> Result<Option<Self>, SoftwareStatementError> {
        let statement = match members.get(MEMBER) {
            None | Some(Value::Null) => {
                let needed = rules.is_some_and(|rules| rules.required);
                return if needed { Err(SoftwareStatementError::Missing) } else { Ok(None) };
            }
            Some(Value::String(statement)) => statement,
            Some(other) => return Err(SoftwareStatementError::NotText { found: shown_value(Some(other)) }),
        };
        let rules = rules.ok_or(SoftwareStatementError::Unverifiable)?;
        let claims = verify(statement, rules, now)?;
        for rule in &rules.certificate {
            rule.check(&claims, certificate, now)?;
        }
        let redirect_uris = list(&claims, "software_redirect_uris")?;
        let mut places = KEYS_AT.iter().filter_map(|claim| text(&claims, claim).transpose());
        let keys_at = places.next().transpose()?.map(Box::from);
        Ok(Some(Self { claims, redirect_uris, keys_at }))
    }

    /// The members of a request with those of the statement, which say the same where they are in both.
    pub(super) fn completed(&self, members: Map<String, Value>) -> Result<Map<String, Value>, SoftwareStatementError> {
        let mut whole = members;
        whole.retain(|_, value| !value.is_null());
        let about = self.claims.iter().filter(|(name, _)| !REGISTERED.contains(&name.as_str()));
        for (name, stated) in about.filter(|(name, stated)| *name != MEMBER && !stated.is_null()) {
            let differs = whole.get(name).is_some_and(|asked| asked != stated);
            if differs {
                return Err(SoftwareStatementError::Contradicted { member: printable(name) });
            }
            whole.insert(name.clone(), stated.clone());
        }
        // In these ecosystems a request leaves out what its statement has under a name of its own.
        if let Some(uris) = &self.redirect_uris {
            whole.entry("redirect_uris").or_insert_with(|| uris.iter().map(|uri| Value::from(&**uri)).collect());
        }
        if let Some(place) = &self.keys_at
            && !whole.contains_key("jwks")
        {
            whole.entry("jwks_uri").or_insert_with(|| Value::from(&**place));
        }
        Ok(whole)
    }

    /// Checks that the client is sent users, and has its keys, where the directory says.
    pub(super) fn check(&self, client: &ClientMetadata) -> Result<(), SoftwareStatementError> {
        let uris = client.redirect_uris().iter().map(RedirectUri::as_str);
        if let Some(known) = &self.redirect_uris
            && let Some(found) = uris.into_iter().find(|uri| !known.iter().any(|known| **known == **uri))
        {
            return Err(SoftwareStatementError::RedirectUriElsewhere { found: shown_text(found) });
        }
        let Some(expected) = &self.keys_at else { return Ok(()) };
        let found = match client.keys() {
            ClientKeys::At(place) if place == expected => return Ok(()),
            ClientKeys::At(place) => format!("at {}", shown_text(place)).into(),
            ClientKeys::Given(_) => "in its metadata".into(),
            ClientKeys::None => "nowhere".into(),
        };
        Err(SoftwareStatementError::KeysElsewhere { found, expected: shown_text(expected) })
    }
}

fn verify(
    statement: &str,
    rules: &StatementRules,
    now: UnixTime,
) -> Result<Map<String, Value>, SoftwareStatementError> {
    let jws = Jws::parse(statement, MAX_BYTES).map_err(StatementError::from)?;
    if !jws.may_be_of_type(&["JWT"]) {
        return Err(StatementError::TypeWrong { found: printable(jws.type_name()), expected: "JWT" }.into());
    }
    let claims = verified_claims(jws, &rules.algorithms, &rules.keys)?;
    let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
    if issuer != &*rules.issuer {
        let expected = rules.issuer.clone();
        return Err(StatementError::IssuerMismatch { found: printable(issuer), expected }.into());
    }
    let time =
        |claim, round| numeric_date(&claims, claim, round).map_err(|_| SoftwareStatementError::TimeMalformed { claim });
    let at = time("iat", f64::floor)?.ok_or(StatementError::IssuedAtMissing)?;
    if at > now.plus(CLOCK_SKEW) {
        return Err(StatementError::IssuedInFuture { at, now }.into());
    }
    let max_age = rules.max_age.as_secs();
    if now.since(at) > max_age.saturating_add(CLOCK_SKEW) {
        return Err(SoftwareStatementError::TooOld { at, max_age, now });
    }
    if let Some(at) = time("exp", f64::floor)?.filter(|at| at.plus(CLOCK_SKEW) <= now) {
        return Err(SoftwareStatementError::Expired { at, now });
    }
    match time("nbf", f64::ceil)?.filter(|at| *at > now.plus(CLOCK_SKEW)) {
        Some(at) => Err(SoftwareStatementError::NotYet { at, now }),
        None => Ok(claims),
    }
}

impl CertificateRule {
    /// Checks that the certificate of the connection, which an authority vouches for, has what the statement says.
    fn check(
        &self,
        claims: &Map<String, Value>,
        PeerCertificate { peer, verified_chain }: &PeerCertificate<'_>,
        now: UnixTime,
    ) -> Result<(), SoftwareStatementError> {
        let stated = text(claims, &self.claim)?.ok_or_else(|| claim_malformed(claims, &self.claim, A_TEXT))?;
        let certificate = match peer {
            Peer::Certificate(certificate) | Peer::Forwarded(certificate) => certificate,
            Peer::Anonymous(why) => return Err(SoftwareStatementError::NoCertificate(*why)),
        };
        if !certificate.valid_at(now) {
            return Err(SoftwareStatementError::CertificateNotValid { not_after: certificate.not_after(), now });
        }
        if !verified_chain {
            return Err(SoftwareStatementError::CertificateUnverified);
        }
        let attribute = self.attribute;
        let found =
            attribute.of(certificate).map_err(|count| SoftwareStatementError::AttributeCount { attribute, count })?;
        if found.strip_prefix(&*self.prefix) == Some(stated) {
            return Ok(());
        }
        let expected = shown_text(&format!("{}{stated}", self.prefix));
        let claim = printable(&self.claim);
        Err(SoftwareStatementError::CertificateOfAnother { attribute, found: shown_text(&found), claim, expected })
    }
}

fn claim_malformed(claims: &Map<String, Value>, claim: &str, expected: &'static str) -> SoftwareStatementError {
    let found = shown_value(claims.get(claim));
    SoftwareStatementError::ClaimMalformed { claim: printable(claim), found, expected }
}

/// A claim that is a text and not empty; `None` if it is omitted.
fn text<'c>(claims: &'c Map<String, Value>, claim: &str) -> Result<Option<&'c str>, SoftwareStatementError> {
    match claims.get(claim) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(claim_malformed(claims, claim, A_TEXT)),
    }
}

/// A claim that is a list of texts; `None` if it is omitted.
fn list(claims: &Map<String, Value>, claim: &str) -> Result<Option<Vec<Box<str>>>, SoftwareStatementError> {
    let entries = match claims.get(claim) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_array().filter(|entries| entries.len() <= MAX_ENTRIES),
    };
    let texts = entries.and_then(|entries| entries.iter().map(|entry| entry.as_str().map(Box::from)).collect());
    texts.map(Some).ok_or_else(|| claim_malformed(claims, claim, "a list of at most 100 texts"))
}

const A_TEXT: &str = "a text that is not empty";

/// RFC 7591 §2.3.
const MEMBER: &str = "software_statement";

/// Where the keys of the software are, in the directories of Brazil and the UK, or else those of its organisation.
const KEYS_AT: [&str; 4] = ["software_jwks_uri", "software_jwks_endpoint", "org_jwks_uri", "org_jwks_endpoint"];

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    use serde_json::json;

    use super::*;
    use crate::authorization_server::registration::{
        Registration, RegistrationError, RegistrationForm, RegistrationRequest, RegistrationRules,
    };
    use crate::authorization_server::testing::{CALLBACK, NOBODY, NOW, rules};
    use crate::authorization_server::{EndpointError, ServerProfile};
    use crate::testing::{SigningKey, hs256, jwks, unsigned, with_members};

    const DIRECTORY: &str = "Directory SSA issuer";
    const KEYS: &str = "https://directory.example/org-1/software-1.jwks";

    struct Stage {
        key: SigningKey,
        rules: RegistrationRules,
    }

    impl Stage {
        fn new(kind: Algorithm) -> Self {
            let key = SigningKey::generate(kind, "directory");
            let statements = StatementRules {
                issuer: DIRECTORY.into(),
                keys: KeySet::parse(jwks(&[&key]).to_string().as_bytes()).unwrap().into(),
                algorithms: Algorithm::ALL.to_vec(),
                max_age: Duration::from_secs(300),
                required: true,
                certificate: Vec::new(),
            };
            Self { key, rules: RegistrationRules { sender_constrained: true, statements: Some(statements) } }
        }

        fn statements(&mut self) -> &mut StatementRules {
            self.rules.statements.as_mut().unwrap()
        }

        fn header(&self) -> Value {
            json!({ "alg": self.key.algorithm(), "typ": "JWT", "kid": "directory" })
        }

        /// The good statement with some claims replaced, or removed by `null`.
        fn statement(&self, claims: &Value) -> String {
            self.key.sign(&self.header(), &with_members(stated(), claims))
        }

        /// Judges the good request with this statement and these members.
        fn judge_from(
            &self,
            statement: &str,
            members: &Value,
            certificate: PeerCertificate<'_>,
        ) -> Result<Registration, RegistrationError> {
            let body =
                with_members(with_members(asked(), &json!({ "software_statement": statement })), members).to_string();
            let form = RegistrationForm::Json;
            let request = RegistrationRequest { form, body: body.as_bytes(), certificate, now: NOW };
            Registration::judge(&request, &rules(ServerProfile::Fapi2Security), &self.rules)
        }

        fn error(&self, statement: &str, members: &Value) -> Option<SoftwareStatementError> {
            match self.judge_from(statement, members, NOBODY) {
                Ok(_) => None,
                Err(RegistrationError::Statement(error)) => Some(error),
                Err(other) => panic!("{other}"),
            }
        }
    }

    fn asked() -> Value {
        json!({
            "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": KEYS, "redirect_uris": [CALLBACK],
            "tls_client_certificate_bound_access_tokens": true,
        })
    }

    fn stated() -> Value {
        json!({
            "iss": DIRECTORY, "iat": NOW.0 - 10, "jti": "1", "software_id": "software-1", "org_id": "org-1",
            "software_jwks_uri": KEYS, "org_jwks_uri": "https://directory.example/org-1.jwks",
            "software_redirect_uris": [CALLBACK, "https://client.example/other"],
        })
    }

    #[test]
    fn a_statement_is_signed_by_the_directory_with_an_algorithm_of_fapi() {
        for kind in Algorithm::ALL.iter().copied() {
            let stage = Stage::new(kind);
            let none = json!({});
            assert_eq!(stage.error(&stage.statement(&none), &none), None, "control: {kind:?}");
            let forged = SigningKey::generate(kind, "directory").sign(&stage.header(), &stated());
            let invalid = Some(StatementError::SignatureInvalid.into());
            assert_eq!(stage.error(&forged, &none), invalid);
            let with_header = |members: &Value| stage.key.sign(&with_members(stage.header(), members), &stated());
            assert_eq!(stage.error(&with_header(&json!({ "typ": null })), &none), None, "control");
            for (header, refused) in [
                (json!({ "kid": "b" }), "KeyUnknown"),
                (json!({ "typ": "at+jwt" }), "TypeWrong"),
                (json!({ "alg": "RS256" }), "AlgorithmRefused"),
                (json!({ "crit": ["exp"] }), "Malformed"),
            ] {
                let error = stage.error(&with_header(&header), &none);
                assert!(format!("{error:?}").contains(refused), "{header}: {error:?}");
                assert_eq!(error.unwrap().code(), Code::SoftwareStatementRefused);
            }
        }
        let stage = Stage::new(Algorithm::Ps256);
        for forged in [
            unsigned(&json!({ "alg": "none" }), &stated()),
            hs256(b"secret", &json!({ "alg": "HS256" }), &stated()),
            "a.b.c".to_owned(),
            String::new(),
        ] {
            assert!(matches!(stage.error(&forged, &json!({})), Some(SoftwareStatementError::Refused(_))), "{forged}");
        }
        let mut stage = Stage::new(Algorithm::Es256);
        stage.statements().algorithms = vec![Algorithm::Ps256];
        let refused = stage.error(&stage.statement(&json!({})), &json!({}));
        assert!(
            matches!(refused, Some(SoftwareStatementError::Refused(StatementError::AlgorithmRefused { .. }))),
            "an algorithm that is not the directory's: {refused:?}"
        );
    }

    #[test]
    fn a_statement_is_of_the_directory_that_is_configured_and_of_now() {
        let stage = Stage::new(Algorithm::Ps256);
        let of = |claims: Value| stage.error(&stage.statement(&claims), &json!({}));
        let at = |seconds: u64| UnixTime(seconds);
        let now = NOW.0;
        for good in [
            json!({ "iat": now - 310 }),
            json!({ "iat": now + 10 }),
            json!({ "exp": now - 9 }),
            json!({ "nbf": now + 10 }),
            json!({ "sub": "x", "aud": "y" }),
        ] {
            assert_eq!(of(good.clone()), None, "control: {good}");
        }
        let (max_age, now_at) = (300, NOW);
        for (claims, refused) in [
            (json!({ "iat": now - 311 }), SoftwareStatementError::TooOld { at: at(now - 311), max_age, now: now_at }),
            (json!({ "iat": now + 11 }), StatementError::IssuedInFuture { at: at(now + 11), now: now_at }.into()),
            (json!({ "iat": null }), StatementError::IssuedAtMissing.into()),
            (json!({ "iat": "1" }), SoftwareStatementError::TimeMalformed { claim: "iat" }),
            (json!({ "exp": now - 10 }), SoftwareStatementError::Expired { at: at(now - 10), now: now_at }),
            (json!({ "exp": [] }), SoftwareStatementError::TimeMalformed { claim: "exp" }),
            (json!({ "nbf": now + 11 }), SoftwareStatementError::NotYet { at: at(now + 11), now: now_at }),
            (
                json!({ "iss": "Another SSA issuer" }),
                StatementError::IssuerMismatch { found: "Another SSA issuer".into(), expected: DIRECTORY.into() }
                    .into(),
            ),
            (
                json!({ "iss": null }),
                StatementError::IssuerMismatch { found: "".into(), expected: DIRECTORY.into() }.into(),
            ),
        ] {
            assert_eq!(of(claims.clone()), Some(refused), "{claims}");
        }
    }

    #[test]
    fn a_statement_is_there_if_it_has_to_be() {
        let mut stage = Stage::new(Algorithm::Es256);
        let missing = json!({ "software_statement": null });
        let statement = stage.statement(&json!({}));
        assert_eq!(stage.error(&statement, &json!({})), None, "control");
        assert_eq!(stage.error(&statement, &missing), Some(SoftwareStatementError::Missing));
        let not_text = stage.error(&statement, &json!({ "software_statement": [statement] }));
        assert_eq!(not_text, Some(SoftwareStatementError::NotText { found: "a list".into() }));
        stage.statements().required = false;
        assert_eq!(stage.error(&statement, &missing), None, "control: it may be left out");
        stage.rules.statements = None;
        assert_eq!(stage.error(&statement, &missing), None, "control: metadata alone");
        assert_eq!(stage.error(&statement, &json!({})), Some(SoftwareStatementError::Unverifiable));
    }

    #[test]
    fn a_request_says_nothing_else_than_its_statement() {
        let stage = Stage::new(Algorithm::Es256);
        for (claims, members) in [
            (json!({}), json!({ "software_id": "software-1" })),
            (json!({ "scope": "accounts" }), json!({ "scope": "accounts" })),
            // What is about the JWT is not about the client.
            (json!({ "aud": "a" }), json!({ "aud": "b", "iss": "software-1" })),
        ] {
            assert_eq!(stage.error(&stage.statement(&claims), &members), None, "control: {members}");
        }
        for (claims, members, member) in [
            (json!({}), json!({ "software_id": "software-2" }), "software_id"),
            (json!({ "scope": "accounts" }), json!({ "scope": "payments" }), "scope"),
            (
                json!({ "token_endpoint_auth_method": "tls_client_auth" }),
                json!({ "token_endpoint_auth_method": "private_key_jwt" }),
                "token_endpoint_auth_method",
            ),
        ] {
            let refused = stage.error(&stage.statement(&claims), &members);
            assert_eq!(refused, Some(SoftwareStatementError::Contradicted { member: member.into() }), "{members}");
        }
        // What the statement alone says is judged like what the request says.
        let weak = stage.statement(&json!({ "token_endpoint_auth_method": "none" }));
        let judged = stage.judge_from(&weak, &json!({ "token_endpoint_auth_method": null }), NOBODY);
        assert!(matches!(judged, Err(RegistrationError::Metadata(_))), "{judged:?}");
        let method = stage.statement(&json!({ "token_endpoint_auth_method": "private_key_jwt" }));
        assert_eq!(stage.error(&method, &json!({ "token_endpoint_auth_method": null })), None, "control");
    }

    #[test]
    fn users_and_keys_are_where_the_directory_says() {
        let stage = Stage::new(Algorithm::Es256);
        let none = json!({});
        let good = stage.statement(&none);
        for members in [
            json!({ "redirect_uris": [CALLBACK, "https://client.example/other"] }),
            // The statement says where.
            json!({ "redirect_uris": null }),
            json!({ "jwks_uri": null }),
        ] {
            assert_eq!(stage.error(&good, &members), None, "control: {members}");
        }
        for (uri, found) in [
            ("https://attacker.example/callback", r#""https://attacker.example/callback""#),
            ("https://client.example/callback/", r#""https://client.example/callback/""#),
        ] {
            let refused = stage.error(&good, &json!({ "redirect_uris": [CALLBACK, uri] })).unwrap();
            assert_eq!(refused, SoftwareStatementError::RedirectUriElsewhere { found: found.into() });
            assert_eq!(refused.code(), Code::RegistrationRedirectRefused);
        }
        let key = SigningKey::generate(Algorithm::Es256, "own");
        let elsewhere = "https://attacker.example/jwks";
        for members in [json!({ "jwks_uri": elsewhere }), json!({ "jwks_uri": null, "jwks": jwks(&[&key]) })] {
            let refused = stage.error(&good, &members);
            assert!(matches!(refused, Some(SoftwareStatementError::KeysElsewhere { .. })), "{members}: {refused:?}");
        }
        // In the UK they have other names, and some statements have only the keys of the organisation.
        for claim in ["software_jwks_endpoint", "org_jwks_uri", "org_jwks_endpoint"] {
            let mut claims = json!({ "software_jwks_uri": null, "org_jwks_uri": null });
            claims[claim] = KEYS.into();
            let statement = stage.statement(&claims);
            assert_eq!(stage.error(&statement, &none), None, "control: {claim}");
            let refused = stage.error(&statement, &json!({ "jwks_uri": elsewhere }));
            assert!(matches!(refused, Some(SoftwareStatementError::KeysElsewhere { .. })), "{claim}: {refused:?}");
        }
        for claims in [
            json!({ "software_redirect_uris": CALLBACK }),
            json!({ "software_redirect_uris": [1] }),
            json!({ "software_jwks_uri": "" }),
            json!({ "software_jwks_uri": [KEYS] }),
        ] {
            let refused = stage.error(&stage.statement(&claims), &none);
            assert!(matches!(refused, Some(SoftwareStatementError::ClaimMalformed { .. })), "{claims}: {refused:?}");
        }
    }

    /// A certificate with these attributes in its subject.
    fn named(attributes: &[(DnType, &str)]) -> Peer {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in attributes {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Peer::Certificate(Arc::new(ClientCertificate::from_der(der.der()).unwrap()))
    }

    #[test]
    fn the_certificate_is_that_of_the_organisation_and_of_the_software() {
        use SubjectAttribute::{CommonName, OrganizationIdentifier, OrganizationalUnit, UserId};
        let identifier = || DnType::CustomDnType(vec![2, 5, 4, 97]);
        let user = || DnType::CustomDnType(vec![0, 9, 2342, 19200300, 100, 1, 1]);
        let unit = || DnType::OrganizationalUnitName;
        let rule = |claim: &str, attribute, prefix: &str| CertificateRule {
            claim: claim.into(),
            attribute,
            prefix: prefix.into(),
        };
        let brazil = [rule("org_id", OrganizationIdentifier, "OFBBR-"), rule("software_id", UserId, "")];
        let uk = [rule("org_id", OrganizationalUnit, ""), rule("software_id", CommonName, "")];
        for (of, good, bad) in [
            (
                &brazil,
                vec![(identifier(), "OFBBR-org-1"), (user(), "software-1")],
                vec![
                    vec![(identifier(), "OFBBR-org-2"), (user(), "software-1")],
                    vec![(identifier(), "org-1"), (user(), "software-1")],
                    vec![(identifier(), "OFBBR-org-1"), (user(), "software-2")],
                    vec![(identifier(), "OFBBR-org-1")],
                    vec![(unit(), "OFBBR-org-1"), (user(), "software-1")],
                ],
            ),
            (
                &uk,
                vec![(unit(), "org-1"), (DnType::CommonName, "software-1")],
                vec![
                    vec![(unit(), "org-2"), (DnType::CommonName, "software-1")],
                    vec![(unit(), "ORG-1"), (DnType::CommonName, "software-1")],
                    vec![(unit(), "org-1"), (DnType::CommonName, "software-2")],
                    vec![(DnType::CommonName, "software-1")],
                ],
            ),
        ] {
            let mut stage = Stage::new(Algorithm::Ps256);
            let statement = stage.statement(&json!({}));
            stage.statements().certificate = of.to_vec();
            let judge = |peer: &Peer, verified_chain, now| {
                let certificate = PeerCertificate { peer, verified_chain };
                let body = with_members(asked(), &json!({ "software_statement": statement })).to_string();
                let form = RegistrationForm::Json;
                let request = RegistrationRequest { form, body: body.as_bytes(), certificate, now };
                let judged = Registration::judge(&request, &rules(ServerProfile::Fapi2Security), &stage.rules);
                judged.map(drop).map_err(|error| EndpointError::from(error).code())
            };
            let own = named(&good);
            assert_eq!(judge(&own, true, NOW), Ok(()), "control");
            let Peer::Certificate(certificate) = &own else { panic!("{own:?}") };
            assert_eq!(judge(&Peer::Forwarded(certificate.clone()), true, NOW), Ok(()), "control");
            assert_eq!(judge(&own, false, NOW), Err(Code::ClientAuthenticationRefused), "nobody vouches for it");
            assert_eq!(judge(NOBODY.peer, true, NOW), Err(Code::ClientAuthenticationRefused));
            for subject in bad {
                assert_eq!(judge(&named(&subject), true, NOW), Err(Code::SoftwareStatementRefused), "{subject:?}");
            }
            let long = stage.statement(&json!({ "org_id": null }));
            let verified = PeerCertificate { peer: &own, verified_chain: true };
            let judged = stage.judge_from(&long, &json!({}), verified);
            let Err(RegistrationError::Statement(SoftwareStatementError::ClaimMalformed { claim, .. })) = judged else {
                panic!("{judged:?}")
            };
            assert_eq!(&*claim, "org_id");
        }
    }

    #[test]
    fn a_certificate_that_is_not_valid_or_has_two_names_is_nobodys() {
        let mut stage = Stage::new(Algorithm::Ps256);
        let claim = "org_id".into();
        let attribute = SubjectAttribute::OrganizationalUnit;
        stage.statements().certificate = vec![CertificateRule { claim, attribute, prefix: "".into() }];
        let rule = stage.statements().certificate[0].clone();
        let claims = stated();
        let check = |peer: &Peer, now| {
            rule.check(claims.as_object().unwrap(), &PeerCertificate { peer, verified_chain: true }, now)
        };
        let own = named(&[(DnType::OrganizationalUnitName, "org-1")]);
        assert_eq!(check(&own, NOW), Ok(()), "control");
        let not_after = own.certificate().unwrap().not_after();
        let now = not_after.plus(1);
        assert_eq!(check(&own, now), Err(SoftwareStatementError::CertificateNotValid { not_after, now }));
        // rcgen replaces an attribute of the same type, so that the second one is written as another type of the same length.
        let other =
            named(&[(DnType::OrganizationalUnitName, "org-1"), (DnType::CustomDnType(vec![2, 5, 4, 97]), "org-2")]);
        let mut der = other.certificate().unwrap().der();
        while let Some(place) = der.windows(3).position(|three| three == [0x55, 4, 97]) {
            der[place + 2] = 11;
        }
        let twice = Peer::Certificate(Arc::new(ClientCertificate::from_der(&der).unwrap()));
        assert_eq!(check(&twice, NOW), Err(SoftwareStatementError::AttributeCount { attribute, count: 2 }));
        assert_eq!(check(&other, NOW), Ok(()), "control");
    }
}
