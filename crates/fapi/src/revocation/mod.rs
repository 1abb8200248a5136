//! That a token, or every token of someone, is taken back before it ends, and which tokens that covers.
//!
//! RFC 7009 revokes at the authorization server; a resource server that verifies tokens itself does not hear of it
//! (FAPI 2.0 §5.3.4 (3)) unless it is told. What it is told names a token by its hash, its [`TokenId`] or its `jti`, or all
//! tokens of a `sub`, a `client_id` or a `sid`.
//!
//! Subjects are compared by a digest, so that a table of them holds nobody's name.

pub mod security_event;

use serde_json::{Map, Value};

use crate::jose::claims::numeric_date;
use crate::jose::json::parse_object;
use crate::text::printable;
use crate::token::{ActiveToken, TokenHash, TokenId};
use crate::{UnixTime, sha256};

/// What is taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The `iss` of the tokens that are meant; any, if it is not said.
    pub issuer: Option<Box<str>>,
    /// Which of them.
    pub subject: Subject,
    /// Since when: of a `sub` or a `client_id`, tokens that were issued later are not meant.
    pub at: UnixTime,
    /// When the last of them ends, if that is known.
    pub expires_at: Option<UnixTime>,
}

/// Which tokens are taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The token with this hash.
    Token(TokenHash),
    /// The token that audit knows by this name.
    TokenId(TokenId),
    /// The token with this `jti`.
    Jti(Box<str>),
    /// What was issued until then for this `sub`.
    Subject(Box<str>),
    /// What was issued until then for this `sub` and does not say in which session.
    SubjectWithoutSession(Box<str>),
    /// What was issued until then to this `client_id`.
    ClientId(Box<str>),
    /// What was issued in this session (`sid`).
    SessionId(Box<str>),
}

impl Subject {
    /// What kind of subject it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Token(_) | Self::TokenId(_) => Kind::Token,
            Self::Jti(_) => Kind::Jti,
            Self::Subject(_) => Kind::Subject,
            Self::SubjectWithoutSession(_) => Kind::SubjectWithoutSession,
            Self::ClientId(_) => Kind::ClientId,
            Self::SessionId(_) => Kind::SessionId,
        }
    }

    /// A name of it for the log: the first 16 hexadecimal digits of the SHA-256 of what was sent; of a token, the name that
    /// audit has for it.
    pub fn id(&self) -> TokenId {
        match self {
            Self::Token(hash) => hash.id(),
            Self::TokenId(id) => *id,
            Self::Jti(text)
            | Self::Subject(text)
            | Self::SubjectWithoutSession(text)
            | Self::ClientId(text)
            | Self::SessionId(text) => TokenHash::of_text(text).id(),
        }
    }

    fn with_digest<T>(&self, digest: impl FnOnce(Kind, &[u8]) -> T) -> T {
        match self {
            // By its first bytes both ways, so that either finds the token.
            Self::Token(hash) => digest(Kind::Token, hash.id().as_bytes()),
            Self::TokenId(id) => digest(Kind::Token, id.as_bytes()),
            Self::Jti(text)
            | Self::Subject(text)
            | Self::SubjectWithoutSession(text)
            | Self::ClientId(text)
            | Self::SessionId(text) => digest(self.kind(), text.as_bytes()),
        }
    }
}

/// The kinds of subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One token, by its hash or the beginning of it.
    Token,
    /// One token, by its `jti`.
    Jti,
    /// All tokens of a `sub`.
    Subject,
    /// Those of them that have no `sid`.
    SubjectWithoutSession,
    /// All tokens of a `client_id`.
    ClientId,
    /// All tokens of a `sid`.
    SessionId,
}

impl Kind {
    /// Its name in log and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Jti => "jti",
            Self::Subject | Self::SubjectWithoutSession => "sub",
            Self::ClientId => "client_id",
            Self::SessionId => "sid",
        }
    }

    /// Whether only tokens are meant that were issued until the revocation: whoever has the name may be given others later.
    const fn spares_later_tokens(self) -> bool {
        match self {
            Self::Token | Self::Jti | Self::SessionId => false,
            Self::Subject | Self::SubjectWithoutSession | Self::ClientId => true,
        }
    }

    /// Whether a revocation `at` that time means a token that was issued at `issued_at`, if its name is the one revoked. A
    /// token that does not say when it was issued is meant.
    pub fn reaches(self, at: UnixTime, issued_at: Option<UnixTime>) -> bool {
        !self.spares_later_tokens() || issued_at.is_none_or(|issued_at| issued_at <= at)
    }
}

/// What subjects are compared by: SHA-256 of kind, issuer and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubjectDigest([u8; 32]);

impl SubjectDigest {
    fn new(kind: Kind, issuer: Option<&str>, name: &[u8]) -> Self {
        let kind: &[u8] = match kind {
            Kind::Token => b"token",
            Kind::Jti => b"jti",
            Kind::Subject => b"sub",
            Kind::SubjectWithoutSession => b"sub without sid",
            Kind::ClientId => b"client_id",
            Kind::SessionId => b"sid",
        };
        let scope: &[u8] = if issuer.is_some() { b"of" } else { b"of any" };
        // Neither kind nor scope has a zero byte, and the issuer, which is configuration, is a URL: each ends where it seems to.
        Self(sha256(&[kind, scope, issuer.unwrap_or_default().as_bytes(), name].join(&0)))
    }
}

impl Revocation {
    /// What it is compared by.
    pub fn digest(&self) -> SubjectDigest {
        self.subject.with_digest(|kind, name| SubjectDigest::new(kind, self.issuer.as_deref(), name))
    }

    /// Reads a request `{"issuer": .., "jti": .., "exp": ..}`: one subject, and nothing that is not understood.
    ///
    /// `issuer_of` gives the `iss` of an issuer by what an operator calls it. Everything issued until `now` is meant.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn from_json(
        body: &[u8],
        issuer_of: impl FnOnce(&str) -> Option<Box<str>>,
        now: UnixTime,
    ) -> Result<Self, RequestError> {
        let members = parse_object(body).map_err(|_| RequestError::Malformed)?;
        if let Some(name) = members.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            return Err(RequestError::MemberUnknown { name: printable(name) });
        }
        let issuer = match text(&members, "issuer")? {
            None => None,
            Some(name) => Some(issuer_of(name).ok_or(RequestError::IssuerUnknown)?),
        };
        let malformed = |member, expected| RequestError::MemberMalformed { member, expected };
        let mut subjects = SUBJECTS.iter().filter(|name| members.contains_key(**name));
        let (Some(member), None) = (subjects.next(), subjects.next()) else { return Err(RequestError::SubjectCount) };
        let name = text(&members, member)?.unwrap_or_default();
        let subject = match *member {
            "token_hash" => Subject::Token(
                TokenHash::from_base64url(name)
                    .ok_or(malformed(member, "the SHA-256 of the token in base64url without padding"))?,
            ),
            "token_id" => Subject::TokenId(
                TokenId::from_hex(name)
                    .ok_or(malformed(member, "16 hexadecimal digits in lower case, as in the audit"))?,
            ),
            "jti" => Subject::Jti(name.into()),
            "sub" => Subject::Subject(name.into()),
            "client_id" => Subject::ClientId(name.into()),
            _ => Subject::SessionId(name.into()),
        };
        let expires_at =
            numeric_date(&members, "exp", f64::ceil).map_err(|_| malformed("exp", "a number of seconds"))?;
        if expires_at.is_some_and(|at| at > now.plus(LONGEST)) {
            return Err(malformed("exp", "a time within a year, in seconds"));
        }
        Ok(Self { issuer, subject, at: now, expires_at })
    }
}

/// Everything that a token can be taken back by, with what kind each is: of its own issuer, and of any.
pub fn names_of(token: &ActiveToken, hash: &TokenHash) -> impl Iterator<Item = (Kind, SubjectDigest)> {
    let claims = token.claims_for_revocation();
    let claim = |kind, name| claims.text(name).map(|text| (kind, text.as_bytes().to_vec()));
    let without_session = claims.text("sid").is_none();
    let names = [
        Some((Kind::Token, hash.id().as_bytes().to_vec())),
        claim(Kind::Jti, "jti"),
        claim(Kind::Subject, "sub"),
        claim(Kind::SubjectWithoutSession, "sub").filter(|_| without_session),
        claim(Kind::ClientId, "client_id"),
        claim(Kind::SessionId, "sid"),
    ];
    let issuer = claims.text("iss");
    names.into_iter().flatten().flat_map(move |(kind, name)| {
        [(kind, SubjectDigest::new(kind, issuer, &name)), (kind, SubjectDigest::new(kind, None, &name))]
    })
}

/// Why a request is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not a JSON object with one reading.
    #[error("the body is not a JSON object with one reading")]
    Malformed,
    /// A member that means nothing here.
    #[error(
        "member {name:?} is not known; known are issuer, exp, and one of token_hash, token_id, jti, sub, client_id and sid"
    )]
    MemberUnknown {
        /// Its name, cut and made printable.
        name: Box<str>,
    },
    /// None or several of the members that say what is revoked.
    #[error("exactly one of token_hash, token_id, jti, sub, client_id and sid must say what is revoked")]
    SubjectCount,
    /// A member of the wrong form.
    #[error("{member} is malformed, expected {expected}")]
    MemberMalformed {
        /// Its name.
        member: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// No such issuer is configured.
    #[error("issuer is none that is configured; write its name or its iss")]
    IssuerUnknown,
}

/// A member that is text and not empty, if it is there.
fn text<'m>(members: &'m Map<String, Value>, member: &'static str) -> Result<Option<&'m str>, RequestError> {
    match members.get(member) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(RequestError::MemberMalformed { member, expected: "a non-empty string" }),
    }
}

const SUBJECTS: [&str; 6] = ["token_hash", "token_id", "jti", "sub", "client_id", "sid"];
const KNOWN: [&str; 8] = ["issuer", "exp", "token_hash", "token_id", "jti", "sub", "client_id", "sid"];
/// How far off the end of a token may be; what lies beyond was not written in seconds.
const LONGEST: u64 = 366 * 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn read(body: &str) -> Result<Revocation, RequestError> {
        let issuer_of = |name: &str| (name == "bank").then(|| "https://as.example".into());
        Revocation::from_json(body.as_bytes(), issuer_of, NOW)
    }

    fn subject(body: &str) -> Subject {
        read(body).expect(body).subject
    }

    #[test]
    fn int_16_reads_one_subject_of_each_kind() {
        let hash = "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg"; // of "test"
        let hash = subject(&format!("{{\"token_hash\":\"{hash}\"}}"));
        assert_eq!(hash, Subject::Token(TokenHash::of_text("test")));
        let id = subject(r#"{"token_id":"9f86d081884c7d65"}"#);
        assert_eq!(id, Subject::TokenId(TokenHash::of_text("test").id()));
        assert_eq!(subject(r#"{"jti":"a"}"#), Subject::Jti("a".into()));
        assert_eq!(subject(r#"{"sub":"a"}"#), Subject::Subject("a".into()));
        assert_eq!(subject(r#"{"client_id":"a"}"#), Subject::ClientId("a".into()));
        assert_eq!(subject(r#"{"sid":"a"}"#), Subject::SessionId("a".into()));
        let whole = read(r#"{"issuer":"bank","jti":"a","exp":1800000060.5}"#).unwrap();
        let (issuer, subject) = (Some("https://as.example".into()), Subject::Jti("a".into()));
        assert_eq!(whole, Revocation { issuer, subject, at: NOW, expires_at: Some(NOW.plus(61)) });
    }

    #[test]
    fn int_16_refuses_what_is_not_exactly_one_subject() {
        assert!(read(r#"{"jti":"a"}"#).is_ok()); // control
        let malformed = |member, expected| Err(RequestError::MemberMalformed { member, expected });
        for (body, error) in [
            ("", Err(RequestError::Malformed)),
            ("[]", Err(RequestError::Malformed)),
            (r#"{"jti":"a","jti":"b"}"#, Err(RequestError::Malformed)),
            ("{}", Err(RequestError::SubjectCount)),
            (r#"{"issuer":"bank"}"#, Err(RequestError::SubjectCount)),
            (r#"{"jti":"a","sub":"b"}"#, Err(RequestError::SubjectCount)),
            (r#"{"jti":"a","reason":"b"}"#, Err(RequestError::MemberUnknown { name: "reason".into() })),
            (r#"{"jti":"a","issuer":"else"}"#, Err(RequestError::IssuerUnknown)),
            (r#"{"jti":"a","issuer":7}"#, malformed("issuer", "a non-empty string")),
            (r#"{"jti":""}"#, malformed("jti", "a non-empty string")),
            (r#"{"sub":["a"]}"#, malformed("sub", "a non-empty string")),
            (r#"{"jti":"a","exp":"soon"}"#, malformed("exp", "a number of seconds")),
            (r#"{"jti":"a","exp":1800000000000}"#, malformed("exp", "a time within a year, in seconds")),
        ] {
            assert_eq!(read(body), error, "{body}");
        }
        for body in [
            r#"{"token_hash":"n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg="}"#,
            r#"{"token_hash":"n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg"}"#,
            r#"{"token_hash":"n4bQgYhMfWU"}"#,
            r#"{"token_id":"9F86D081884C7D65"}"#,
            r#"{"token_id":"9f86d081884c7d6"}"#,
            r#"{"token_id":"+f86d081884c7d65"}"#,
        ] {
            assert!(matches!(read(body), Err(RequestError::MemberMalformed { .. })), "{body}");
        }
    }

    #[test]
    fn what_has_another_kind_issuer_or_name_is_another_subject() {
        let digest = |issuer: Option<&str>, subject: Subject| {
            Revocation { issuer: issuer.map(Box::from), subject, at: NOW, expires_at: None }.digest()
        };
        let jti = |name: &str| Subject::Jti(name.into());
        let one = digest(Some("https://a.example"), jti("x"));
        assert_eq!(one, digest(Some("https://a.example"), jti("x"))); // control
        for other in [
            digest(Some("https://a.example"), jti("y")),
            digest(Some("https://b.example"), jti("x")),
            digest(None, jti("x")),
            digest(None, jti("https://a.example\0x")),
            digest(Some("https://a.example"), Subject::SessionId("x".into())),
            digest(Some("https://a.example"), Subject::Subject("x".into())),
            digest(Some("https://a.example"), Subject::SubjectWithoutSession("x".into())),
            digest(Some("https://a.example"), Subject::ClientId("x".into())),
        ] {
            assert_ne!(one, other);
        }
        let hash = TokenHash::of_text("x");
        assert_eq!(digest(None, Subject::Token(hash)), digest(None, Subject::TokenId(hash.id())));
    }

    #[test]
    fn tokens_issued_later_are_meant_by_their_own_names_alone() {
        let later = Some(NOW.plus(1));
        for kind in [Kind::Subject, Kind::SubjectWithoutSession, Kind::ClientId] {
            assert!(kind.reaches(NOW, Some(NOW)) && kind.reaches(NOW, None)); // control
            assert!(!kind.reaches(NOW, later));
        }
        for kind in [Kind::Token, Kind::Jti, Kind::SessionId] {
            assert!(kind.reaches(NOW, later));
        }
    }

    proptest! {
        #[test]
        fn never_panics(body: Vec<u8>, text in "\\{\"(jti|sub|exp|issuer|token_hash|token_id)\":(\"[a-z0-9]{0,20}\"|-?[0-9]{0,9})\\}") {
            let _ = Revocation::from_json(&body, |_| None, NOW);
            let _ = read(&text);
        }
    }
}
