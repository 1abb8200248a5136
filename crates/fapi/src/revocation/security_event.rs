//! Security event tokens (RFC 8417) that an issuer pushes (RFC 8935), and the revocations that follow from them.
//!
//! | event | revokes |
//! | --- | --- |
//! | CAEP `session-revoked` | the session, or all tokens of the user |
//! | RISC `sessions-revoked`, `account-disabled`, `account-purged` | all tokens of the account |
//! | OAuth `token-revoked` | the token; if it is a JWT, also by its `jti` |
//! | OAuth `tokens-revoked` | all tokens of the account or the client |
//!
//! Events of other types are ignored. An event of these types whose subject is not understood is an error, which the
//! sender must see: if it were acknowledged, the revocation would be lost (RFC 8935 §2.2).
//!
//! Tokens that are issued after the event are not revoked. The time of the event is by the issuer's clock, like `iat`
//! of its tokens, so that neither the delay of a push nor a wrong clock matters, and pushing an event twice has no
//! further effect.

use serde_json::{Map, Value};

use super::{Reach, Revocation, Subject};
use crate::UnixTime;
use crate::jose::claims::numeric_date;
use crate::jose::jws::Jws;
use crate::jose::keys::KeySet;
use crate::jose::statement::{Signer, Statement, StatementError, StatementKind};
use crate::text::printable;
use crate::token::TokenHash;

/// The media type (RFC 8417 §2.3).
pub const MEDIA_TYPE: &str = "application/secevent+jwt";

/// An event that an issuer reports.
#[derive(Debug)]
pub struct SecurityEvent {
    /// Its `jti`, truncated and made printable.
    pub id: Box<str>,
    /// The revocations; none, if it has only events of other types.
    pub revocations: Vec<Revocation>,
}

/// Why an event is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Not text.
    #[error("the body is not a signed JWT")]
    Malformed,
    /// No transmitter with this `iss` is configured.
    #[error("its iss is {found:?}, from which no events are accepted")]
    IssuerUnknown {
        /// The issuer found, truncated and made printable.
        found: Box<str>,
    },
    /// Not from the issuer, or not for this resource server.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// No `jti` (RFC 8417 §2.2).
    #[error("its jti is missing or not text")]
    IdMissing,
    /// Expired.
    #[error("its exp is {at}, it is {now}")]
    Expired {
        /// `exp`.
        at: UnixTime,
        /// The time of the judgement.
        now: UnixTime,
    },
    /// `events` is missing or malformed.
    #[error("its events is not an object of objects with at least one member")]
    EventsMalformed,
    /// A time that is not a NumericDate.
    #[error("its {claim} is not a number of seconds")]
    TimeMalformed {
        /// Its name.
        claim: &'static str,
    },
    /// The subject of an event that revokes tokens is not understood.
    #[error("the subject of its event {event} is not understood: {why}")]
    Subject {
        /// The last part of the event's type.
        event: &'static str,
        /// Why.
        why: &'static str,
    },
}

/// The codes of RFC 8935 §2.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventErrorCode {
    /// It cannot be parsed, or an event in it does not follow its definition.
    InvalidRequest,
    /// Its key is not accepted.
    InvalidKey,
    /// Its issuer is not accepted.
    InvalidIssuer,
    /// It is for another audience.
    InvalidAudience,
    /// The sender is not authenticated.
    AuthenticationFailed,
}

impl EventErrorCode {
    /// The registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidKey => "invalid_key",
            Self::InvalidIssuer => "invalid_issuer",
            Self::InvalidAudience => "invalid_audience",
            Self::AuthenticationFailed => "authentication_failed",
        }
    }
}

impl EventError {
    /// The error for an event whose claimed issuer is not a configured transmitter.
    pub fn issuer_unknown(claimed: &str) -> Self {
        Self::IssuerUnknown { found: printable(claimed) }
    }

    /// The code for the sender.
    pub const fn code(&self) -> EventErrorCode {
        match self {
            Self::Statement(
                StatementError::AlgorithmRefused { .. }
                | StatementError::KeyUnknown { .. }
                | StatementError::KeyWeak
                | StatementError::SignatureInvalid,
            ) => EventErrorCode::InvalidKey,
            Self::IssuerUnknown { .. } | Self::Statement(StatementError::IssuerMismatch { .. }) => {
                EventErrorCode::InvalidIssuer
            }
            Self::Statement(StatementError::AudienceMismatch { .. }) => EventErrorCode::InvalidAudience,
            Self::Malformed
            | Self::Statement(
                StatementError::Encrypted
                | StatementError::Malformed(_)
                | StatementError::TypeWrong { .. }
                | StatementError::IssuedAtMissing
                | StatementError::IssuedInFuture { .. },
            )
            | Self::IdMissing
            | Self::Expired { .. }
            | Self::EventsMalformed
            | Self::TimeMalformed { .. }
            | Self::Subject { .. } => EventErrorCode::InvalidRequest,
        }
    }
}

/// The unverified `iss` of an event. Use it only to select the keys that verify the event.
///
/// # Errors
/// [`EventError::Malformed`], [`EventError::Statement`].
pub fn claimed_issuer(body: &[u8]) -> Result<String, EventError> {
    let text = std::str::from_utf8(body).map_err(|_| EventError::Malformed)?;
    let jws = Jws::parse(text, MAX_BYTES).map_err(StatementError::from)?;
    Ok(jws.claimed("iss").unwrap_or_default().to_owned())
}

impl SecurityEvent {
    /// Verifies an event, and returns what it revokes: tokens of the transmitter, and of nobody else.
    ///
    /// # Errors
    /// [`EventError`], for the first check that fails: type, algorithm, key, signature, `iss`, `aud`, `iat`, `jti`,
    /// `exp`, `events`, then time and subject of each event. If one event is refused, all of them are.
    pub fn verify(
        body: &[u8],
        transmitter: &Signer<'_>,
        keys: &KeySet,
        reach: Reach,
        now: UnixTime,
    ) -> Result<Self, EventError> {
        let text = std::str::from_utf8(body).map_err(|_| EventError::Malformed)?;
        let Statement { members, issued_at } = Statement::verify(text, KIND, transmitter, keys, now)?;
        let issuer = transmitter.issuer;
        let id = match members.get("jti") {
            Some(Value::String(id)) if !id.is_empty() => printable(id),
            Some(_) | None => return Err(EventError::IdMissing),
        };
        // RFC 8417 §2.2 does not recommend `exp`; if it is present, RFC 7519 §4.1.4 applies.
        if let Some(at) = time(&members, "exp")?.filter(|at| now >= *at) {
            return Err(EventError::Expired { at, now });
        }
        let events = match members.get("events") {
            Some(Value::Object(events)) if !events.is_empty() => events,
            Some(_) | None => return Err(EventError::EventsMalformed),
        };
        // RFC 8417 §2.2: "toe" is the time of the event, "iat" that of the token.
        let happened = time(&members, "toe")?.unwrap_or(issued_at);
        let mut revocations = Vec::new();
        for (kind, payload) in events {
            let Value::Object(payload) = payload else { return Err(EventError::EventsMalformed) };
            let Some(event) = Event::from_type(kind) else { continue };
            // CAEP §2: "the time at which the event described by this SET occurred". Drafts had milliseconds,
            // which are limited to what the issuer's clock may show now.
            let issued_until = time(payload, "event_timestamp")?.unwrap_or(happened).min(reach.latest(now));
            let subject = payload.get("subject").or_else(|| members.get("sub_id"));
            let fault = |why| EventError::Subject { event: event.as_str(), why };
            let Some(Value::Object(subject)) = subject else {
                return Err(fault("neither sub_id nor subject is an object"));
            };
            let subject = event.subject(subject, issuer).map_err(fault)?;
            let revocation =
                |subject| Revocation { issuer: Some(issuer.into()), subject, issued_until, expires_at: None };
            revocations.extend(subject.into_iter().map(revocation));
        }
        Ok(Self { id, revocations })
    }
}

/// The events that revoke tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    SessionRevoked,
    SessionsRevoked,
    AccountDisabled,
    AccountPurged,
    TokenRevoked,
    TokensRevoked,
}

impl Event {
    const ALL: [Self; 6] = [
        Self::SessionRevoked,
        Self::SessionsRevoked,
        Self::AccountDisabled,
        Self::AccountPurged,
        Self::TokenRevoked,
        Self::TokensRevoked,
    ];

    fn from_type(uri: &str) -> Option<Self> {
        let rest = uri.strip_prefix("https://schemas.openid.net/secevent/")?;
        Self::ALL.into_iter().find(|event| rest.split_once("/event-type/") == Some((event.family(), event.as_str())))
    }

    const fn family(self) -> &'static str {
        match self {
            Self::SessionRevoked => "caep",
            Self::SessionsRevoked | Self::AccountDisabled | Self::AccountPurged => "risc",
            Self::TokenRevoked | Self::TokensRevoked => "oauth",
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::SessionRevoked => "session-revoked",
            Self::SessionsRevoked => "sessions-revoked",
            Self::AccountDisabled => "account-disabled",
            Self::AccountPurged => "account-purged",
            Self::TokenRevoked => "token-revoked",
            Self::TokensRevoked => "tokens-revoked",
        }
    }

    /// The revoked subjects (RFC 9493 §3, and the formats of the Shared Signals Framework and of OAuth Event Types).
    fn subject(self, subject: &Map<String, Value>, issuer: &str) -> Result<Vec<Subject>, &'static str> {
        match format(subject)? {
            "complex" if self != Self::TokenRevoked => self.complex(subject, issuer),
            // The event determines what an opaque identifier identifies: a session in CAEP §3.1.
            "opaque" if self == Self::SessionRevoked => Ok(vec![Subject::SessionId(required(subject, "id")?)]),
            "opaque" if self != Self::TokenRevoked => Ok(vec![Subject::Subject(required(subject, "id")?)]),
            "iss_sub" | "iss-sub" if self != Self::TokenRevoked => {
                Ok(vec![Subject::Subject(iss_sub(subject, issuer)?)])
            }
            "jwt_id" | "jwt-id" => {
                check_issuer(subject, issuer)?;
                Ok(vec![Subject::Jti(required(subject, "jti")?)])
            }
            "oauth_token" if self == Self::TokenRevoked => oauth_token(subject, issuer),
            "oauth_client" if self == Self::TokensRevoked => {
                Ok(vec![Subject::ClientId(required(subject, "client_id")?)])
            }
            _ => Err("its format is unknown, or not one of the event"),
        }
    }

    /// Reads several identifiers of one subject: a session, a user, or a session of a user (CAEP §3.1). Others that
    /// narrow it down, such as a device, are ignored, so that more is revoked rather than less.
    fn complex(self, subject: &Map<String, Value>, issuer: &str) -> Result<Vec<Subject>, &'static str> {
        let session = match subject.get("session") {
            None => None,
            Some(Value::Object(session)) if format(session)? == "opaque" => Some(required(session, "id")?),
            Some(_) => return Err("its session is not opaque"),
        };
        let user = match subject.get("user") {
            None => None,
            Some(Value::Object(user)) => Some(match format(user)? {
                "opaque" => required(user, "id")?,
                "iss_sub" | "iss-sub" => iss_sub(user, issuer)?,
                _ => return Err("its user is neither iss_sub nor opaque"),
            }),
            Some(_) => return Err("its user is not an object"),
        };
        match (session, user) {
            (Some(session), user) if self == Self::SessionRevoked => {
                // A token without a session may belong to this one.
                let user = user.map(Subject::SubjectWithoutSession);
                Ok([Subject::SessionId(session)].into_iter().chain(user).collect())
            }
            (_, Some(user)) => Ok(vec![Subject::Subject(user)]),
            (_, None) => Err("it does not say which user or session the event is about"),
        }
    }
}

/// The format of a subject (RFC 9493 §3); in drafts, the member had another name.
fn format(subject: &Map<String, Value>) -> Result<&str, &'static str> {
    match (subject.get("format"), subject.get("subject_type")) {
        (Some(Value::String(format)), None) | (None, Some(Value::String(format))) => Ok(format),
        // A complex subject of the drafts has no format.
        (None, None) if subject.contains_key("user") || subject.contains_key("session") => Ok("complex"),
        _ => Err("it has no format"),
    }
}

/// The value of a member that the format requires, a non-empty text.
fn required(subject: &Map<String, Value>, member: &str) -> Result<Box<str>, &'static str> {
    match subject.get(member) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.as_str().into()),
        Some(_) | None => Err("a member that its format requires is missing or not text"),
    }
}

/// The `sub` of the format `iss_sub`.
fn iss_sub(subject: &Map<String, Value>, issuer: &str) -> Result<Box<str>, &'static str> {
    check_issuer(subject, issuer)?;
    required(subject, "sub")
}

/// Checks that the subject is of the issuer that reports the event.
fn check_issuer(subject: &Map<String, Value>, issuer: &str) -> Result<(), &'static str> {
    if *required(subject, "iss")? == *issuer { Ok(()) } else { Err("it is of another issuer than the event") }
}

/// OAuth Event Types §2.1. Only the token itself can be hashed; other identifiers of a token are not supported.
///
/// A JWT is revoked by its `jti` too. Its signature need not be verified: the issuer that signed the event may revoke
/// whichever of its tokens it names.
fn oauth_token(subject: &Map<String, Value>, issuer: &str) -> Result<Vec<Subject>, &'static str> {
    if *required(subject, "token_type")? != *"access_token" {
        return Err("the token is not an access token; name the session or the user of a refresh token");
    }
    match &*required(subject, "token_identifier_alg")? {
        "plain" | "token_string" => {
            let token = required(subject, "token")?;
            let jws = Jws::split(&token).ok().filter(|jws| jws.claimed("iss") == Some(issuer));
            let jti = jws.as_ref().and_then(|jws| jws.claimed("jti")).filter(|jti| !jti.is_empty());
            let jti = jti.map(|jti| Subject::Jti(jti.into()));
            Ok([Subject::Token(TokenHash::of_text(&token))].into_iter().chain(jti).collect())
        }
        _ => Err("token_identifier_alg is not plain; name the token by jwt_id"),
    }
}

/// Reads a time, rounded up: of what may have happened within a second, rather more is revoked than less.
fn time(members: &Map<String, Value>, claim: &'static str) -> Result<Option<UnixTime>, EventError> {
    numeric_date(members, claim, f64::ceil).map_err(|_| EventError::TimeMalformed { claim })
}

/// The size in bytes above which an event is not parsed.
pub const MAX_BYTES: usize = 64 * 1024;

const KIND: StatementKind = StatementKind { typ: "secevent+jwt", max_bytes: MAX_BYTES };

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use crate::jose::keys::Algorithm;
    use crate::testing::{SigningKey, jwks};

    const ISSUER: &str = "https://as.example";
    const NOW: UnixTime = UnixTime(1_800_000_000);
    const DISABLED: &str = "https://schemas.openid.net/secevent/risc/event-type/account-disabled";

    fn subject(event: &str, subject: Value) -> Result<Vec<Subject>, &'static str> {
        let event = Event::from_type(&format!("https://schemas.openid.net/secevent/{event}")).expect(event);
        let Value::Object(subject) = subject else { panic!("an object") };
        event.subject(&subject, ISSUER)
    }

    #[test]
    fn knows_six_events_by_their_whole_type() {
        let known = |uri: &str| Event::from_type(uri).is_some();
        assert!(known("https://schemas.openid.net/secevent/caep/event-type/session-revoked")); // control
        for uri in [
            "https://schemas.openid.net/secevent/risc/event-type/session-revoked",
            "https://schemas.openid.net/secevent/caep/event-type/session-revoked/",
            "https://schemas.openid.net/secevent/caep/event-type/credential-change",
            "https://schemas.openid.net/secevent/ssf/event-type/verification",
            "http://schemas.openid.net/secevent/caep/event-type/session-revoked",
            "",
        ] {
            assert!(!known(uri), "{uri}");
        }
    }

    #[test]
    fn int_16_tells_who_is_meant_in_each_format() {
        let user = json!({"format": "iss_sub", "iss": ISSUER, "sub": "u"});
        let session = json!({"format": "opaque", "id": "s"});
        let (by_user, by_session) = (Subject::Subject("u".into()), Subject::SessionId("s".into()));
        let of_session = vec![by_session.clone(), Subject::SubjectWithoutSession("u".into())];
        let caep = "caep/event-type/session-revoked";
        for (event, given, meant) in [
            (caep, user.clone(), vec![by_user.clone()]),
            (caep, session.clone(), vec![by_session.clone()]),
            (caep, json!({"format": "complex", "session": session}), vec![by_session.clone()]),
            (
                caep,
                json!({"format": "complex", "user": user, "tenant": {"format": "opaque", "id": "t"}}),
                vec![by_user.clone()],
            ),
            (caep, json!({"format": "complex", "user": user, "session": session}), of_session.clone()),
            (caep, json!({"user": user, "session": session}), of_session),
            (caep, json!({"user": user}), vec![by_user.clone()]),
            (caep, json!({"session": session}), vec![by_session.clone()]),
            (caep, json!({"format": "complex", "user": {"format": "opaque", "id": "u"}}), vec![by_user.clone()]),
            (caep, json!({"format": "jwt_id", "iss": ISSUER, "jti": "j"}), vec![Subject::Jti("j".into())]),
            (
                "risc/event-type/sessions-revoked",
                json!({"subject_type": "iss-sub", "iss": ISSUER, "sub": "u"}),
                vec![by_user.clone()],
            ),
            ("risc/event-type/account-disabled", json!({"format": "opaque", "id": "u"}), vec![by_user.clone()]),
            (
                "risc/event-type/account-purged",
                json!({"format": "complex", "user": user, "session": session}),
                vec![by_user.clone()],
            ),
            ("oauth/event-type/tokens-revoked", user.clone(), vec![by_user]),
            (
                "oauth/event-type/tokens-revoked",
                json!({"format": "oauth_client", "client_id": "c"}),
                vec![Subject::ClientId("c".into())],
            ),
            (
                "oauth/event-type/token-revoked",
                json!({"subject_type": "oauth_token", "token_type": "access_token", "token_identifier_alg": "plain", "token": "t"}),
                vec![Subject::Token(TokenHash::of_text("t"))],
            ),
        ] {
            assert_eq!(subject(event, given.clone()), Ok(meant), "{event} {given}");
        }
    }

    #[test]
    fn atk_tk_16_a_jwt_is_revoked_by_its_hash_and_its_jti() {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let jwt = |claims: Value| format!("{}.{}.c2ln", part(json!({"alg": "ES256"})), part(claims));
        let revoked = |token: &str| {
            let named = json!({"format": "oauth_token", "token_type": "access_token", "token_identifier_alg": "plain", "token": token});
            subject("oauth/event-type/token-revoked", named).unwrap()
        };
        let by_hash = |token: &str| Subject::Token(TokenHash::of_text(token));
        let own = jwt(json!({"iss": ISSUER, "jti": "j"}));
        assert_eq!(revoked(&own), [by_hash(&own), Subject::Jti("j".into())]);
        for other in [
            jwt(json!({"iss": "https://other.example", "jti": "j"})),
            jwt(json!({"jti": "j"})),
            jwt(json!({"iss": ISSUER})),
            jwt(json!({"iss": ISSUER, "jti": ""})),
            jwt(json!({"iss": ISSUER, "jti": 7})),
            "opaque".to_owned(),
        ] {
            assert_eq!(revoked(&other), [by_hash(&other)], "{other}");
        }
    }

    #[test]
    fn int_16_refuses_a_subject_that_it_cannot_tell() {
        let caep = "caep/event-type/session-revoked";
        let user = json!({"format": "iss_sub", "iss": ISSUER, "sub": "u"});
        assert!(subject(caep, user.clone()).is_ok()); // control
        let token = |name: &str, value: &str| {
            let mut token = json!({"format": "oauth_token", "token_type": "access_token", "token_identifier_alg": "plain", "token": "t"});
            token[name] = json!(value);
            token
        };
        for (event, given) in [
            (caep, json!({})),
            (caep, json!({"format": "email", "email": "u@as.example"})),
            (caep, json!({"format": "iss_sub", "subject_type": "iss_sub", "iss": ISSUER, "sub": "u"})),
            (caep, json!({"format": "iss_sub", "iss": "https://other.example", "sub": "u"})),
            (caep, json!({"format": "iss_sub", "iss": ISSUER})),
            (caep, json!({"format": "iss_sub", "iss": ISSUER, "sub": ""})),
            (caep, json!({"format": "opaque", "id": 7})),
            (caep, json!({"format": "complex"})),
            (caep, json!({"format": "complex", "device": {"format": "opaque", "id": "d"}})),
            (caep, json!({"format": "complex", "user": "u"})),
            (caep, json!({"format": "complex", "user": user, "session": {"format": "email", "email": "u"}})),
            (caep, json!({"format": "complex", "user": {"format": "email", "email": "u"}})),
            (caep, json!({"format": "complex", "user": {"format": "email", "id": "u"}})),
            (caep, json!({"format": "complex", "session": {"format": "email", "id": "s"}})),
            (caep, json!({"format": "jwt_id", "iss": "https://other.example", "jti": "j"})),
            (caep, json!({"format": "oauth_client", "client_id": "c"})),
            (caep, token("token", "t")),
            (
                "risc/event-type/account-disabled",
                json!({"format": "complex", "session": {"format": "opaque", "id": "s"}}),
            ),
            ("oauth/event-type/token-revoked", user.clone()),
            ("oauth/event-type/token-revoked", json!({"format": "opaque", "id": "u"})),
            ("oauth/event-type/token-revoked", token("token_type", "refresh_token")),
            ("oauth/event-type/token-revoked", token("token_identifier_alg", "prefix")),
            ("oauth/event-type/token-revoked", token("token", "")),
        ] {
            assert!(subject(event, given.clone()).is_err(), "{event} {given}");
        }
        assert_eq!(subject(caep, json!({"id": "s"})), Err("it has no format"));
    }

    /// Verifies the good event with these members instead of its own; `null` leaves one out.
    fn verify(changes: Value) -> Result<(Box<str>, Vec<Revocation>), EventError> {
        verify_for(Reach::Gateway, changes)
    }

    fn verify_for(reach: Reach, changes: Value) -> Result<(Box<str>, Vec<Revocation>), EventError> {
        let key = SigningKey::generate(Algorithm::EdDsa, "a");
        let keys = KeySet::parse(jwks(&[&key]).to_string().as_bytes()).unwrap();
        let mut members = json!({
            "iss": ISSUER,
            "aud": "gateway",
            "iat": NOW.0,
            "jti": "e",
            "sub_id": {"format": "opaque", "id": "u"},
            "events": {DISABLED: {}},
        });
        members.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        members.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let header = json!({"typ": "secevent+jwt", "alg": key.algorithm(), "kid": key.kid()});
        let audiences = [Box::from("gateway")];
        let transmitter = Signer { issuer: ISSUER, audiences: &audiences, algorithms: Algorithm::ALL };
        let event = SecurityEvent::verify(key.sign(&header, &members).as_bytes(), &transmitter, &keys, reach, NOW)?;
        Ok((event.id, event.revocations))
    }

    fn revoked(name: &str, issued_until: u64) -> Revocation {
        let (issuer, subject) = (Some(ISSUER.into()), Subject::Subject(name.into()));
        Revocation { issuer, subject, issued_until: UnixTime(issued_until), expires_at: None }
    }

    #[test]
    fn int_16_an_event_revokes_what_its_events_name() {
        assert_eq!(verify(json!({})), Ok(("e".into(), vec![revoked("u", NOW.0)])));
        let own = json!({"subject": {"format": "opaque", "id": "own"}});
        let other = "https://schemas.openid.net/secevent/ssf/event-type/verification";
        let purged = "https://schemas.openid.net/secevent/risc/event-type/account-purged";
        for (events, revocations) in [
            (json!({DISABLED: own}), vec![revoked("own", NOW.0)]),
            (json!({DISABLED: own, purged: {}}), vec![revoked("own", NOW.0), revoked("u", NOW.0)]),
            (json!({other: {}}), vec![]),
        ] {
            assert_eq!(verify(json!({"events": events})), Ok(("e".into(), revocations)), "{events}");
        }
        let why = "neither sub_id nor subject is an object";
        for subject in [Value::Null, json!("u")] {
            let refused = verify(json!({"sub_id": subject}));
            assert_eq!(refused, Err(EventError::Subject { event: "account-disabled", why }), "{subject}");
        }
    }

    #[test]
    fn int_16_an_event_has_an_id_and_events_and_has_not_expired() {
        for (changes, expected) in [
            (json!({"exp": NOW.0 + 1}), Ok(())), // control
            (json!({"exp": NOW.0}), Err(EventError::Expired { at: NOW, now: NOW })),
            (json!({"exp": NOW.0 - 1}), Err(EventError::Expired { at: UnixTime(NOW.0 - 1), now: NOW })),
            (json!({"jti": null}), Err(EventError::IdMissing)),
            (json!({"jti": ""}), Err(EventError::IdMissing)),
            (json!({"jti": 7}), Err(EventError::IdMissing)),
            (json!({"events": null}), Err(EventError::EventsMalformed)),
            (json!({"events": {}}), Err(EventError::EventsMalformed)),
            (json!({"events": [DISABLED]}), Err(EventError::EventsMalformed)),
            (json!({"events": {DISABLED: 1}}), Err(EventError::EventsMalformed)),
        ] {
            assert_eq!(verify(changes.clone()).map(drop), expected, "{changes}");
        }
    }

    #[test]
    fn int_16_the_time_of_an_event_is_what_it_says_or_when_it_was_issued() {
        let at = |happened: Value| json!({DISABLED: {"event_timestamp": happened}});
        for (changes, issued_until) in [
            (json!({"iat": NOW.0 - 5}), NOW.0 - 5),
            (json!({"toe": NOW.0 - 100}), NOW.0 - 100),
            (json!({"toe": NOW.0 as f64 - 99.5}), NOW.0 - 99),
            (json!({"toe": NOW.0 - 100, "events": at(json!(NOW.0 - 200))}), NOW.0 - 200),
            (json!({"events": at(json!(NOW.0 + 10))}), NOW.0 + 10),
            (json!({"events": at(json!(NOW.0 + 11))}), NOW.0 + 10),
            (json!({"events": at(json!(NOW.0 * 1000))}), NOW.0 + 10),
        ] {
            assert_eq!(verify(changes.clone()), Ok(("e".into(), vec![revoked("u", issued_until)])), "{changes}");
        }
        for (changes, claim) in [
            (json!({"exp": "soon"}), "exp"),
            (json!({"toe": "then"}), "toe"),
            (json!({"events": at(json!("then"))}), "event_timestamp"),
        ] {
            assert_eq!(verify(changes), Err(EventError::TimeMalformed { claim }));
        }
    }

    #[test]
    fn fapi2_rs_05_an_event_for_all_replicas_counts_as_twenty_seconds_ahead_at_most() {
        for (reach, ahead, issued_until) in [
            (Reach::Gateway, 8, 8),
            (Reach::Gateway, 15, 10),
            (Reach::Replicas, 8, 8),
            (Reach::Replicas, 15, 15),
            (Reach::Replicas, 9000, 20),
        ] {
            let changes = json!({"events": {DISABLED: {"event_timestamp": NOW.0 + ahead}}});
            let expected = Ok(("e".into(), vec![revoked("u", NOW.0 + issued_until)]));
            assert_eq!(verify_for(reach, changes), expected, "{reach:?} {ahead}");
        }
    }

    #[test]
    fn the_issuer_of_an_event_is_read_before_its_keys_are_known() {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let of = |claims: Value| format!("{}.{}.", part(json!({"alg": "ES256"})), part(claims));
        assert_eq!(claimed_issuer(of(json!({"iss": ISSUER})).as_bytes()), Ok(ISSUER.to_owned()));
        assert_eq!(claimed_issuer(of(json!({"iss": 7})).as_bytes()), Ok(String::new()));
        assert_eq!(claimed_issuer(b"\xff"), Err(EventError::Malformed));
        let event = of(json!({"iss": ISSUER}));
        let fits = |bytes: usize| {
            let text = format!("{event}{}", "A".repeat(bytes - event.len()));
            claimed_issuer(text.as_bytes()).is_ok()
        };
        assert_eq!([65_536, 65_537].map(fits), [true, false]);
    }

    #[test]
    fn rfc8935_2_4_errors_have_their_registered_names() {
        let names = [
            EventErrorCode::InvalidRequest,
            EventErrorCode::InvalidKey,
            EventErrorCode::InvalidIssuer,
            EventErrorCode::InvalidAudience,
            EventErrorCode::AuthenticationFailed,
        ];
        let registered =
            ["invalid_request", "invalid_key", "invalid_issuer", "invalid_audience", "authentication_failed"];
        assert_eq!(names.map(EventErrorCode::as_str), registered);
    }
}
