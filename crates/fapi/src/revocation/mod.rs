//! Revocations of tokens before they expire, and which tokens each of them covers.
//!
//! RFC 7009 revokes a token at the authorization server. A resource server that verifies tokens itself has to be
//! notified (FAPI 2.0 §5.3.4 (3)). A notification names one token by its hash, its [`TokenId`] or its `jti`, or all
//! tokens of a `sub`, a `client_id` or a `sid`. It may also name a consent, whatever token it is used with.
//!
//! Subjects are compared by a digest, so that a table of revocations contains no personal data.

pub mod security_event;

use serde_json::{Map, Value};

use crate::jose::claims::{CLOCK_SKEW, numeric_date};
use crate::jose::json::parse_object;
use crate::text::printable;
use crate::token::{ActiveToken, TokenHash, TokenId};
use crate::{UnixTime, sha256};

/// A revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The `iss` of the revoked tokens; `None` means any.
    pub issuer: Option<Box<str>>,
    /// Which tokens are revoked.
    pub subject: Subject,
    /// The latest `iat`, rounded down, of the tokens of a `sub` or a `client_id` that are revoked.
    pub issued_until: UnixTime,
    /// When the last of the tokens expires, if that is known.
    pub expires_at: Option<UnixTime>,
}

/// Which tokens are revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The token with this hash.
    Token(TokenHash),
    /// The token with this id in the audit.
    TokenId(TokenId),
    /// The token with this `jti`.
    Jti(Box<str>),
    /// All tokens of this `sub` that may have been issued before the revocation.
    Subject(Box<str>),
    /// All tokens of this `sub` without a `sid` that may have been issued before the revocation.
    SubjectWithoutSession(Box<str>),
    /// All tokens of this `client_id` that may have been issued before the revocation.
    ClientId(Box<str>),
    /// All tokens of this session (`sid`).
    SessionId(Box<str>),
    /// The consent with this id, on routes that require one.
    Consent(Box<str>),
}

impl Subject {
    /// The kind of the subject.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Token(_) | Self::TokenId(_) => Kind::Token,
            Self::Jti(_) => Kind::Jti,
            Self::Subject(_) => Kind::Subject,
            Self::SubjectWithoutSession(_) => Kind::SubjectWithoutSession,
            Self::ClientId(_) => Kind::ClientId,
            Self::SessionId(_) => Kind::SessionId,
            Self::Consent(_) => Kind::Consent,
        }
    }

    /// An id for the log: the first 16 hexadecimal digits of the SHA-256 of the subject; of a token, its id in the
    /// audit.
    pub fn id(&self) -> TokenId {
        match self {
            Self::Token(hash) => hash.id(),
            Self::TokenId(id) => *id,
            Self::Jti(text)
            | Self::Subject(text)
            | Self::SubjectWithoutSession(text)
            | Self::ClientId(text)
            | Self::SessionId(text)
            | Self::Consent(text) => TokenHash::of_text(text).id(),
        }
    }

    fn digest(&self, issuer: Option<&str>) -> SubjectDigest {
        let digest = |name: &[u8]| SubjectDigest::new(self.kind(), issuer, name);
        match self {
            // Both by the first bytes, so that either one matches the token.
            Self::Token(hash) => digest(hash.id().as_bytes()),
            Self::TokenId(id) => digest(id.as_bytes()),
            Self::Jti(text)
            | Self::Subject(text)
            | Self::SubjectWithoutSession(text)
            | Self::ClientId(text)
            | Self::SessionId(text)
            | Self::Consent(text) => digest(text.as_bytes()),
        }
    }
}

/// The kinds of subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One token, by its hash or its id.
    Token,
    /// One token, by its `jti`.
    Jti,
    /// All tokens of a `sub`.
    Subject,
    /// All tokens of a `sub` without a `sid`.
    SubjectWithoutSession,
    /// All tokens of a `client_id`.
    ClientId,
    /// All tokens of a `sid`.
    SessionId,
    /// A consent.
    Consent,
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
            Self::Consent => "consent_id",
        }
    }

    /// Whether tokens that are issued after the revocation are not revoked, since the subject may get new ones.
    const fn spares_later_tokens(self) -> bool {
        match self {
            Self::Token | Self::Jti | Self::SessionId | Self::Consent => false,
            Self::Subject | Self::SubjectWithoutSession | Self::ClientId => true,
        }
    }

    /// Whether a revocation of tokens that were issued until `issued_until` covers one of the subject that was issued at
    /// `issued_at`, rounded down. A token without `iat` is covered.
    pub fn reaches(self, issued_until: UnixTime, issued_at: Option<UnixTime>) -> bool {
        !self.spares_later_tokens() || issued_at.is_none_or(|issued_at| issued_at <= issued_until)
    }
}

/// Where a revocation is to hold: it decides up to which `iat` a token may have been good before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// At this gateway: the issuer's clock may be 10 seconds ahead of its own.
    Gateway,
    /// At all replicas, whose clocks may in turn be 10 seconds ahead of this gateway's.
    Replicas,
}

impl Reach {
    /// The latest `iat`, rounded down, of a token that may have been good by `now`, which this gateway's clock shows.
    pub(crate) const fn latest(self, now: UnixTime) -> UnixTime {
        match self {
            Self::Gateway => now.plus(CLOCK_SKEW),
            Self::Replicas => now.plus(CLOCK_SKEW + REPLICA_SKEW),
        }
    }
}

/// The digest of a subject: the SHA-256 of its kind, issuer and name.
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
            Kind::Consent => b"consent_id",
        };
        let scope: &[u8] = if issuer.is_some() { b"of" } else { b"of any" };
        // Neither kind, scope nor issuer, which is a configured URL, contains a zero byte, so the parts cannot be
        // confused.
        Self(sha256(&[kind, scope, issuer.unwrap_or_default().as_bytes(), name].join(&0)))
    }

    /// The digest with these bytes, as somebody else made it.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Revocation {
    /// The digest of its subject and issuer.
    pub fn digest(&self) -> SubjectDigest {
        self.subject.digest(self.issuer.as_deref())
    }

    /// Reads a request such as `{"issuer": .., "jti": .., "exp": ..}` with exactly one subject and no unknown members.
    ///
    /// `issuer_of` returns the `iss` of an issuer by its configured name. `now` is by this host's clock, and the
    /// issuer's may be ahead, as `reach` says: what has an `iat` a little after `now` may have been issued before.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn from_json(
        body: &[u8],
        issuer_of: impl FnOnce(&str) -> Option<Box<str>>,
        reach: Reach,
        now: UnixTime,
    ) -> Result<Self, RequestError> {
        let members = parse_object(body).map_err(|_| RequestError::Malformed)?;
        let is_known = |name: &str| matches!(name, "issuer" | "exp") || SUBJECTS.contains(&name);
        if let Some(name) = members.keys().find(|name| !is_known(name)) {
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
            "consent_id" => Subject::Consent(name.into()),
            _ => Subject::SessionId(name.into()),
        };
        let expires_at =
            numeric_date(&members, "exp", f64::ceil).map_err(|_| malformed("exp", "a number of seconds"))?;
        if expires_at.is_some_and(|at| at > now.plus(LONGEST) || now > at.plus(LONGEST)) {
            return Err(malformed("exp", "a time within a year, in seconds"));
        }
        Ok(Self { issuer, subject, issued_until: reach.latest(now), expires_at })
    }
}

/// The digests of all subjects that cover a token, with their kinds: for its own issuer, and for any issuer.
pub fn digests_covering(token: &ActiveToken) -> impl Iterator<Item = (Kind, SubjectDigest)> {
    let claims = token.claims_for_revocation();
    let claim = |kind, name| claims.text(name).map(|text| (kind, text.as_bytes().to_vec()));
    let without_session = claims.text("sid").is_none();
    // Whoever revoked it by its hash may have seen it with another signature.
    let ids = token.ids().all().map(|id| (Kind::Token, id.as_bytes().to_vec()));
    let names = [
        claim(Kind::Jti, "jti"),
        claim(Kind::Subject, "sub"),
        claim(Kind::SubjectWithoutSession, "sub").filter(|_| without_session),
        claim(Kind::ClientId, "client_id"),
        claim(Kind::SessionId, "sid"),
    ];
    let issuer = claims.text("iss");
    ids.chain(names.into_iter().flatten()).flat_map(move |(kind, name)| {
        [(kind, SubjectDigest::new(kind, issuer, &name)), (kind, SubjectDigest::new(kind, None, &name))]
    })
}

/// The digests of the subjects that cover a consent: for the issuer of the token that it is used with, and for any.
pub fn digests_of_consent(issuer: Option<&str>, id: &str) -> [SubjectDigest; 2] {
    [issuer, None].map(|issuer| SubjectDigest::new(Kind::Consent, issuer, id.as_bytes()))
}

/// Why a request to revoke tokens is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not a JSON object with one reading.
    #[error("the body is not a JSON object with one reading")]
    Malformed,
    /// A member that is not known.
    #[error(
        "member {name:?} is not known; known are issuer, exp, and one of token_hash, token_id, jti, sub, client_id, sid and consent_id"
    )]
    MemberUnknown {
        /// Its name, truncated and made printable.
        name: Box<str>,
    },
    /// No subject, or more than one.
    #[error("exactly one of token_hash, token_id, jti, sub, client_id, sid and consent_id must say what is revoked")]
    SubjectCount,
    /// A malformed member.
    #[error("{member} is malformed, expected {expected}")]
    MemberMalformed {
        /// Its name.
        member: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// No such issuer is configured.
    #[error("issuer is not a configured issuer; write its name or its iss")]
    IssuerUnknown,
}

/// The value of a member, which must be a non-empty text if it is present.
fn text<'m>(members: &'m Map<String, Value>, member: &'static str) -> Result<Option<&'m str>, RequestError> {
    match members.get(member) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(RequestError::MemberMalformed { member, expected: "a non-empty string" }),
    }
}

/// By how many seconds the clocks of two replicas may differ.
const REPLICA_SKEW: u64 = 10;
const SUBJECTS: [&str; 7] = ["token_hash", "token_id", "jti", "sub", "client_id", "sid", "consent_id"];
/// The accepted `exp`, in seconds from now in both directions; one that is further away is probably no time in seconds.
const LONGEST: u64 = 366 * 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::introspected;
    use proptest::prelude::*;
    use serde_json::json;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    #[test]
    fn a_kind_has_the_name_of_its_member() {
        let kinds =
            [Kind::Token, Kind::Jti, Kind::Subject, Kind::SubjectWithoutSession, Kind::ClientId, Kind::SessionId];
        assert_eq!(kinds.map(Kind::as_str), ["token", "jti", "sub", "sub", "client_id", "sid"]);
    }

    fn read(body: &str) -> Result<Revocation, RequestError> {
        let issuer_of = |name: &str| (name == "bank").then(|| "https://as.example".into());
        Revocation::from_json(body.as_bytes(), issuer_of, Reach::Gateway, NOW)
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
        assert_eq!(subject(r#"{"consent_id":"a"}"#), Subject::Consent("a".into()));
        let whole = read(r#"{"issuer":"bank","jti":"a","exp":1800000060.5}"#).unwrap();
        let (issuer, subject) = (Some("https://as.example".into()), Subject::Jti("a".into()));
        assert_eq!(whole, Revocation { issuer, subject, issued_until: NOW.plus(10), expires_at: Some(NOW.plus(61)) });
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
    fn int_16_a_token_expires_or_has_expired_within_366_days() {
        let expires_at = |exp: u64| read(&json!({ "jti": "a", "exp": exp }).to_string()).map(|read| read.expires_at);
        let latest = NOW.plus(31_622_400);
        assert_eq!(expires_at(latest.0), Ok(Some(latest))); // control
        let (member, expected) = ("exp", "a time within a year, in seconds");
        let malformed = Err(RequestError::MemberMalformed { member, expected });
        assert_eq!(expires_at(latest.0 + 1), malformed);
        // What has expired may have done so while the request was under way.
        let earliest = UnixTime(NOW.0 - 31_622_400);
        assert_eq!(expires_at(earliest.0), Ok(Some(earliest))); // control
        for exp in [earliest.0 - 1, 1, 0] {
            assert_eq!(expires_at(exp), malformed, "{exp}");
        }
    }

    #[test]
    fn what_has_another_kind_issuer_or_name_is_another_subject() {
        let digest = |issuer: Option<&str>, subject: Subject| {
            Revocation { issuer: issuer.map(Box::from), subject, issued_until: NOW, expires_at: None }.digest()
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

    /// A token with this `iat` that is judged well after it.
    fn issued(iat: Option<f64>) -> ActiveToken {
        let mut answer = json!({ "active": true, "sub": "a", "client_id": "a" });
        if let Some(iat) = iat {
            answer["iat"] = json!(iat);
        }
        introspected(&answer, NOW.plus(1000))
    }

    fn issued_by(iat: f64, truncated: bool) -> ActiveToken {
        issued(Some(if truncated { iat.floor() } else { iat }))
    }

    #[test]
    fn a_digest_is_the_same_after_it_was_written_down() {
        let digest = read(r#"{"jti":"a"}"#).unwrap().digest();
        assert_eq!(SubjectDigest::from_bytes(*digest.as_bytes()), digest);
        assert_ne!(SubjectDigest::from_bytes([0; 32]), digest);
    }

    #[test]
    fn fapi2_rs_05_a_revocation_for_all_replicas_covers_twenty_seconds_ahead() {
        for (reach, seconds) in [(Reach::Gateway, 10), (Reach::Replicas, 20)] {
            let revocation = Revocation::from_json(br#"{"sub":"a"}"#, |_| None, reach, NOW).unwrap();
            assert_eq!(revocation.issued_until, NOW.plus(seconds), "{reach:?}");
        }
    }

    fn covers(revocation: &Revocation, token: &ActiveToken) -> bool {
        let digest = revocation.digest();
        digests_covering(token)
            .any(|(kind, other)| other == digest && kind.reaches(revocation.issued_until, token.issued_at()))
    }

    #[test]
    fn fapi2_rs_05_a_revocation_covers_ten_seconds_ahead_and_every_token_without_iat() {
        let at = |seconds: f64| Some(NOW.0 as f64 + seconds);
        for body in [r#"{"sub":"a"}"#, r#"{"client_id":"a"}"#] {
            let revocation = read(body).unwrap();
            for iat in [None, at(-0.5), at(0.0), at(0.9), at(1.0), at(10.0), at(10.9)] {
                assert!(covers(&revocation, &issued(iat)), "{body} {iat:?}");
            }
            for iat in [at(11.0), at(11.5), at(60.0)] {
                assert!(!covers(&revocation, &issued(iat)), "{body} {iat:?}");
            }
        }
        assert!(!covers(&read(r#"{"sub":"b"}"#).unwrap(), &issued(at(0.0))), "another's");
    }

    proptest! {
        /// Times are in milliseconds from `NOW`; the gateway's clock shows whole seconds.
        #[test]
        fn fapi2_rs_05_what_was_issued_before_a_revocation_is_covered_and_what_comes_later_works(
            revoked in 0_u32..5000,
            before in 0_u32..5000,
            later in 0_u32..60_000,
            ahead in -10_000_i32..=10_000,
            truncated: bool,
        ) {
            let now = NOW.plus(u64::from(revoked / 1000));
            let revocation = Revocation::from_json(br#"{"sub":"a"}"#, |_| None, Reach::Gateway, now).unwrap();
            let iat = |issued: i64| {
                let iat = NOW.0 as f64 + (issued + i64::from(ahead)) as f64 / 1000.0;
                issued_by(iat, truncated)
            };
            let token = iat(i64::from(revoked) - i64::from(before));
            prop_assert!(covers(&revocation, &token), "{:?}", token.issued_at());
            // A new login works, at the latest after the skew in both directions and the second that is rounded away.
            let token = iat(i64::from(revoked) + 21_000 + i64::from(later));
            prop_assert!(!covers(&revocation, &token), "{:?}", token.issued_at());
        }

        /// A replica whose clock is up to 10 seconds off has accepted the token, whatever the issuer's clock shows.
        #[test]
        fn fapi2_rs_05_what_any_replica_accepted_before_a_revocation_is_covered_at_all(
            iat in -20.0..25.0_f64,
            off in -10_i64..=10,
        ) {
            let token = issued(Some(NOW.0 as f64 + iat));
            let there = UnixTime(NOW.0.saturating_add_signed(off));
            let shared = Revocation::from_json(br#"{"sub":"a"}"#, |_| None, Reach::Replicas, NOW).unwrap();
            prop_assert!(covers(&shared, &token) || token.claims_at(there).is_err());
        }

        #[test]
        fn fapi2_rs_05_a_token_that_was_good_before_a_revocation_is_covered(iat in -20.0..20.0_f64) {
            let token = issued(Some(NOW.0 as f64 + iat));
            let revocation = read(r#"{"client_id":"a"}"#).unwrap();
            prop_assert!(covers(&revocation, &token) || token.claims_at(NOW).is_err());
        }

        #[test]
        fn never_panics(body: Vec<u8>, text in "\\{\"(jti|sub|exp|issuer|token_hash|token_id)\":(\"[a-z0-9]{0,20}\"|-?[0-9]{0,9})\\}") {
            let _ = Revocation::from_json(&body, |_| None, Reach::Gateway, NOW);
            let _ = read(&text);
        }
    }
}
