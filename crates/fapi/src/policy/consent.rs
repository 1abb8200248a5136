//! The consent that a request uses: which one it is, whether the request is for it, and whether it still stands.
//!
//! A token is given out for a consent, and the customer can take that back while the token lives. Where the token says in which
//! state it is, that is judged with the token; where somebody else knows, that one is asked ([`ConsentQuestion`]).

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};
use serde_json::Value;

use super::claim_place::ClaimPlace;
use super::error::{InvalidPolicy, PolicyError};
use super::request::{Operand, OperandValue, Part, RequestValues};
use super::value::Pointer;
use crate::field_names::sole_of_class;
use crate::jose::json::parse_object;
use crate::text::{Names, shown_text, shown_value};
use crate::token::Claims;

/// What a route says of consents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentRule {
    /// Where the id of the consent is.
    pub id: ConsentPlace,
    /// What of the request has to be the same id, if anything has.
    pub equals: Option<ConsentUse>,
    /// Who says in which state it is.
    pub source: StatusSource,
    /// The states in which it can be used, compared exactly.
    pub statuses: Statuses,
}

/// Where the id of a consent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsentPlace {
    /// In a claim of the token.
    Claim(ClaimPlace),
    /// In the one scope of the token that begins like this; the id is the rest of it.
    Scope(ScopePrefix),
    /// In the one element of `authorization_details` of a type, or in several that say the same.
    Detail(DetailPlace),
    /// In a field of the request: whoever says in which state the consent is says whose it is, too.
    Header(HeaderName),
    /// In a part of the target, which is no member of the body: the same.
    Target(Operand),
}

impl ConsentPlace {
    /// Whether the request alone names it, as its client likes.
    pub const fn is_in_request(&self) -> bool {
        matches!(self, Self::Header(_) | Self::Target(_))
    }
}

/// How a scope begins that names a consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopePrefix(Box<str>);

impl ScopePrefix {
    /// Such as `consent:` (Open Finance Brazil) or `AIS:` (Berlin Group).
    ///
    /// # Errors
    /// [`InvalidPolicy::ConsentScope`] if a scope could not begin with it.
    pub fn new(prefix: &str) -> Result<Self, InvalidPolicy> {
        if crate::text::is_scope_token(prefix) { Ok(Self(prefix.into())) } else { Err(InvalidPolicy::ConsentScope) }
    }
}

/// A member of the elements of `authorization_details` of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetailPlace {
    kind: Box<str>,
    member: Pointer,
}

impl DetailPlace {
    /// The member of elements of this type that a JSON pointer names.
    ///
    /// # Errors
    /// [`InvalidPolicy::DetailType`], [`InvalidPolicy::DetailPointer`].
    pub fn new(kind: &str, member: &str) -> Result<Self, InvalidPolicy> {
        if kind.is_empty() {
            return Err(InvalidPolicy::DetailType);
        }
        let member = Pointer::parse(member).ok_or(InvalidPolicy::DetailPointer)?;
        Ok(Self { kind: kind.into(), member })
    }
}

/// What of a request names a consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsentUse {
    /// A part of the target, which is no member of the body.
    Target(Operand),
    /// A field.
    Header(HeaderName),
}

/// Who says in which state a consent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusSource {
    /// The token, in this claim.
    Claim(ClaimPlace),
    /// The entry of `consents` in the configuration with this index.
    Asked(usize),
}

/// The states in which a consent can be used: one at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(Vec<Box<str>>);

impl Statuses {
    /// At least one.
    ///
    /// # Errors
    /// [`InvalidPolicy::ConsentStatuses`].
    pub fn new(statuses: Vec<Box<str>>) -> Result<Self, InvalidPolicy> {
        let good = !statuses.is_empty() && statuses.iter().all(|status| !status.is_empty());
        if good { Ok(Self(statuses)) } else { Err(InvalidPolicy::ConsentStatuses) }
    }

    fn judge(&self, status: &str) -> Result<(), PolicyError> {
        if self.0.iter().any(|accepted| **accepted == *status) {
            return Ok(());
        }
        let status = shown_text(status);
        let is = |words: &[&str]| words.iter().any(|word| status.trim_matches('"').eq_ignore_ascii_case(word));
        Err(if is(EXPIRED) {
            PolicyError::ConsentExpired { status }
        } else if is(REVOKED) {
            PolicyError::ConsentRevoked { status }
        } else {
            PolicyError::ConsentRefused { status, needed: Names::of(&self.0) }
        })
    }
}

/// What ecosystems call a consent whose time is over. It is a name for what is refused in any case.
const EXPIRED: &[&str] = &["expired", "exp", "expd"];
/// What they call one that was taken back.
const REVOKED: &[&str] =
    &["revoked", "revokedByPsu", "terminatedByTpp", "withdrawn", "cancelled", "canceled", "canc", "terminated"];

/// The id of a consent, which can stand in a URL without becoming another part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConsentId(Box<str>);

impl ConsentId {
    /// An id of 1 to 256 visible ASCII characters; `None` for others, and for `.` and `..`, which are steps in a path.
    pub fn parse(text: &str) -> Option<Self> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        let good = visible && (1..=LONGEST_ID).contains(&text.len()) && !matches!(text, "." | "..");
        good.then(|| Self(text.into()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const LONGEST_ID: usize = 256;

/// What is to be found out about a consent before a request passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentQuestion {
    /// Which consent.
    pub id: ConsentId,
    /// The `iss` of the token.
    pub issuer: Option<Box<str>>,
    /// The client of the token.
    pub client_id: Option<Box<str>>,
    /// Who is asked: an index into `consents` of the configuration. `None` if the token has said in which state it is.
    pub asked: Option<usize>,
    /// Whether the request alone names it, so that only the answer shows whose it is.
    of_request: bool,
}

impl ConsentQuestion {
    /// Whether the request alone names it, as its client likes.
    pub const fn is_of_request(&self) -> bool {
        self.of_request
    }
}

/// What is known of a consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsentAnswer {
    /// It was revoked, as somebody has notified the gateway.
    Notified,
    /// There is no such consent.
    Unknown,
    /// It is in this state.
    Known(ConsentState),
    /// Nobody was asked.
    NotAsked,
}

/// What somebody says of a consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentState {
    status: Box<str>,
    client_id: Option<Box<str>>,
}

/// Where an answer about a consent has what counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentMembers {
    status: Pointer,
    client_id: Option<Pointer>,
}

impl ConsentMembers {
    /// By JSON pointers: the state, and the client that the consent was given to, if the answer says that.
    ///
    /// # Errors
    /// [`InvalidPolicy::AnswerPointer`].
    pub fn new(status: &str, client_id: Option<&str>) -> Result<Self, InvalidPolicy> {
        let parse = |text| Pointer::parse(text).ok_or(InvalidPolicy::AnswerPointer);
        Ok(Self { status: parse(status)?, client_id: client_id.map(parse).transpose()? })
    }

    /// Whether the answer says whose a consent is.
    pub const fn name_client(&self) -> bool {
        self.client_id.is_some()
    }
}

/// Why an answer about a consent cannot be used. Nothing of it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsentAnswerError {
    /// Not one JSON object with one reading.
    #[error("it is not a JSON object in which each member appears once")]
    Malformed,
    /// No state, or no text, or one that is too long.
    #[error("it has no status where one has to be, or it is not a text of at most 64 characters")]
    Status,
    /// No client.
    #[error("it does not say where it has to which client the consent was given to")]
    Client,
}

impl ConsentState {
    /// Reads an answer.
    ///
    /// # Errors
    /// [`ConsentAnswerError`].
    pub fn from_json(body: &[u8], members: &ConsentMembers) -> Result<Self, ConsentAnswerError> {
        let answer = parse_object(body).map_err(|_| ConsentAnswerError::Malformed)?;
        let text = |pointer: &Pointer, longest: usize| {
            let found = pointer.find(|name| answer.get(name)).and_then(Value::as_str);
            found.filter(|text| (1..=longest).contains(&text.len())).map(Box::from)
        };
        let status = text(&members.status, 64).ok_or(ConsentAnswerError::Status)?;
        let client_id = match &members.client_id {
            Some(pointer) => Some(text(pointer, LONGEST_ID).ok_or(ConsentAnswerError::Client)?),
            None => None,
        };
        Ok(Self { status, client_id })
    }

    /// A consent in this state, of this client.
    pub fn new(status: &str, client_id: Option<&str>) -> Self {
        Self { status: status.into(), client_id: client_id.map(Box::from) }
    }
}

impl ConsentRule {
    /// The first of the states in which it can be used.
    pub(crate) fn usual_status(&self) -> &str {
        self.statuses.0.first().map_or("", |status| status)
    }

    /// What it requires, for operators.
    pub(super) fn shown(&self) -> String {
        let place = self.id.shown();
        let used = self.equals.as_ref().map(|equals| format!(" equal to {}", equals.shown())).unwrap_or_default();
        let source = match &self.source {
            StatusSource::Claim(claim) => format!("by {}", claim.as_str()),
            StatusSource::Asked(_) => "as is asked".to_owned(),
        };
        format!("a consent in {place}{used}, with status one of {} {source}", Names::of(&self.statuses.0))
    }

    /// What a token has in its place.
    pub(super) fn found(&self, claims: &Claims) -> String {
        let id = match self.id.in_token(claims) {
            Found::One(id) => shown_text(&id),
            Found::None => "none".into(),
            Found::Several => "more than one".into(),
        };
        format!("consent {id}")
    }

    /// Finds the consent and compares it with the request; of one whose state the token says, that too.
    ///
    /// # Errors
    /// [`PolicyError::ConsentMissing`], [`PolicyError::ConsentMismatch`], and those of a state.
    pub(super) fn check(
        &self,
        claims: &Claims,
        request: &dyn RequestValues,
        headers: &HeaderMap,
    ) -> Result<ConsentQuestion, PolicyError> {
        let missing = |why| PolicyError::ConsentMissing { place: self.id.shown().into(), why };
        let found = match &self.id {
            ConsentPlace::Header(name) => field(headers, name).map_or(Found::None, |text| Found::One(text.into())),
            ConsentPlace::Target(operand) => match operand.of(Part::Head(request)) {
                Some(OperandValue::Text(text)) => Found::One(text.into_owned()),
                Some(OperandValue::Scalar(_) | OperandValue::Member(_)) | None => Found::None,
            },
            place @ (ConsentPlace::Claim(_) | ConsentPlace::Scope(_) | ConsentPlace::Detail(_)) => {
                place.in_token(claims)
            }
        };
        let id = match found {
            Found::One(text) => {
                ConsentId::parse(&text).ok_or_else(|| missing("what is there cannot be the id of one"))?
            }
            Found::None => return Err(missing("there is none")),
            Found::Several => return Err(missing("there is more than one")),
        };
        match &self.equals {
            Some(ConsentUse::Header(name)) if field(headers, name).is_none() => {
                let place = format!("the field {name}").into();
                return Err(PolicyError::ConsentMissing { place, why: "there is none, or more than one" });
            }
            Some(equals) if !equals.is(id.as_str(), request, headers) => {
                return Err(PolicyError::ConsentMismatch { what: equals.shown().into() });
            }
            Some(_) | None => {}
        }
        let asked = match &self.source {
            StatusSource::Asked(index) => Some(*index),
            StatusSource::Claim(claim) => {
                let value = claim.find(claims);
                let status = value.and_then(Value::as_str).ok_or_else(|| PolicyError::ConsentRefused {
                    status: shown_value(value),
                    needed: Names::of(&self.statuses.0),
                })?;
                self.statuses.judge(status)?;
                None
            }
        };
        let text = |name| claims.text(name).map(Box::from);
        let of_request = self.id.is_in_request();
        Ok(ConsentQuestion { id, issuer: text("iss"), client_id: text("client_id"), asked, of_request })
    }

    /// Judges what was found out.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub(crate) fn judge(&self, question: &ConsentQuestion, answer: &ConsentAnswer) -> Result<(), PolicyError> {
        match answer {
            ConsentAnswer::Notified => Err(PolicyError::ConsentRevoked { status: "revoked here".into() }),
            ConsentAnswer::Unknown => Err(PolicyError::ConsentUnknown),
            ConsentAnswer::NotAsked if question.asked.is_none() => Ok(()),
            ConsentAnswer::NotAsked => Err(PolicyError::ConsentUnknown),
            ConsentAnswer::Known(state) => {
                let is_its_own = match (&state.client_id, &question.client_id) {
                    (Some(owner), Some(client)) => owner == client,
                    (Some(_), None) => false,
                    (None, _) => !question.of_request,
                };
                if !is_its_own {
                    return Err(PolicyError::ConsentMismatch { what: "the client that it was given to".into() });
                }
                self.statuses.judge(&state.status)
            }
        }
    }
}

/// What a token has where the id of a consent should be.
enum Found {
    One(String),
    None,
    Several,
}

impl Found {
    /// The one text that all of them are.
    fn of<'t>(texts: impl Iterator<Item = Option<&'t str>>) -> Self {
        let mut found = None;
        for text in texts {
            let Some(text) = text else { return Self::None };
            if found.is_some_and(|found| found != text) {
                return Self::Several;
            }
            found = Some(text);
        }
        found.map_or(Self::None, |text| Self::One(text.to_owned()))
    }
}

impl ConsentPlace {
    /// What it is, for operators.
    fn shown(&self) -> String {
        match self {
            Self::Claim(claim) => format!("the claim {}", claim.as_str()),
            Self::Scope(prefix) => format!("the scope {}...", prefix.0),
            Self::Detail(place) => {
                format!("{} of authorization_details with type {:?}", place.member.as_str(), place.kind)
            }
            Self::Header(name) => format!("the field {name}"),
            Self::Target(operand) => operand.shown(),
        }
    }

    /// Nothing of the request, which is not in the token.
    fn in_token(&self, claims: &Claims) -> Found {
        match self {
            Self::Claim(claim) => match claim.find(claims) {
                Some(value) => Found::of([value.as_str()].into_iter()),
                None => Found::None,
            },
            Self::Scope(ScopePrefix(prefix)) => {
                Found::of(claims.scopes().filter_map(|scope| scope.strip_prefix(&**prefix)).map(Some))
            }
            Self::Detail(DetailPlace { kind, member }) => {
                let elements = claims.get("authorization_details").and_then(Value::as_array).into_iter().flatten();
                let of_kind = elements
                    .filter_map(Value::as_object)
                    .filter(|element| element.get("type").and_then(Value::as_str) == Some(kind));
                Found::of(of_kind.map(|element| member.find(|name| element.get(name)).and_then(Value::as_str)))
            }
            Self::Header(_) | Self::Target(_) => Found::None,
        }
    }
}

impl ConsentUse {
    fn shown(&self) -> String {
        match self {
            Self::Target(operand) => operand.shown(),
            Self::Header(name) => format!("the field {name}"),
        }
    }

    fn is(&self, id: &str, request: &dyn RequestValues, headers: &HeaderMap) -> bool {
        match self {
            Self::Target(operand) => match operand.of(Part::Head(request)) {
                Some(OperandValue::Text(text)) => text == Cow::Borrowed(id),
                Some(OperandValue::Scalar(_) | OperandValue::Member(_)) | None => false,
            },
            Self::Header(name) => field(headers, name) == Some(id),
        }
    }
}

/// The value of a field that is there once, whoever reads it, and that goes on.
fn field<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    sole_of_class(headers, name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::UnixTime;
    use crate::code::Code;
    use crate::testing::introspected;

    /// `GET /accounts/urn:c1`.
    struct Sent;

    impl RequestValues for Sent {
        fn method(&self) -> &str {
            "GET"
        }

        fn segment(&self, index: usize) -> Option<Cow<'_, str>> {
            ["accounts", "urn:c1"].get(index).map(|segment| Cow::from(*segment))
        }

        fn query(&self) -> Option<&str> {
            None
        }
    }

    fn claim(pointer: &str) -> ClaimPlace {
        ClaimPlace::new(pointer).unwrap()
    }

    fn rule(id: ConsentPlace) -> ConsentRule {
        let statuses = Statuses::new(vec!["AUTHORISED".into()]).unwrap();
        ConsentRule { id, equals: None, source: StatusSource::Asked(3), statuses }
    }

    fn check(
        rule: &ConsentRule,
        claims: Value,
        fields: &[(&'static str, &str)],
    ) -> Result<ConsentQuestion, PolicyError> {
        let mut answer = json!({ "active": true, "client_id": "tpp" });
        answer.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let token = introspected(&answer, UnixTime(0));
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        rule.check(token.claims_for_audit(), &Sent, &headers)
    }

    fn code(outcome: Result<ConsentQuestion, PolicyError>) -> Result<String, Code> {
        outcome.map(|question| question.id.as_str().to_owned()).map_err(|error| error.code())
    }

    #[test]
    fn uk_17_br_06_the_id_of_a_consent_is_where_the_ecosystem_has_it() {
        let missing = Err(Code::ConsentMissing);
        let in_claim = rule(ConsentPlace::Claim(claim("/consent/id")));
        assert_eq!(code(check(&in_claim, json!({ "consent": { "id": "urn:c1" } }), &[])), Ok("urn:c1".into()));
        for other in [json!({}), json!({ "consent": { "id": 7 } }), json!({ "consent": { "id": "" } })] {
            assert_eq!(code(check(&in_claim, other, &[])), missing);
        }
        let in_scope = rule(ConsentPlace::Scope(ScopePrefix::new("consent:").unwrap()));
        let scope = |scope: &str| code(check(&in_scope, json!({ "scope": scope }), &[]));
        assert_eq!(scope("openid consent:urn:c1 accounts"), Ok("urn:c1".into()));
        assert_eq!(scope("consent:urn:c1 consent:urn:c1"), Ok("urn:c1".into()));
        assert_eq!(scope("openid accounts"), missing);
        assert_eq!(scope("consent:urn:c1 consent:urn:c2"), missing);
        assert_eq!(scope("consent:"), missing);
        let in_detail = rule(ConsentPlace::Detail(DetailPlace::new("account", "/consent/id").unwrap()));
        let detail = |details: Value| code(check(&in_detail, json!({ "authorization_details": details }), &[]));
        let one = |id: &str| json!({ "type": "account", "consent": { "id": id } });
        assert_eq!(detail(json!([one("c1"), { "type": "other", "consent": { "id": "c2" } }])), Ok("c1".into()));
        assert_eq!(detail(json!([one("c1"), one("c1")])), Ok("c1".into()));
        for other in [json!([]), json!([one("c1"), one("c2")]), json!([one("c1"), { "type": "account" }])] {
            assert_eq!(detail(other), missing);
        }
        let in_field = rule(ConsentPlace::Header(HeaderName::from_static("consent-id")));
        assert_eq!(code(check(&in_field, json!({}), &[("consent-id", "c1")])), Ok("c1".into()));
        assert_eq!(code(check(&in_field, json!({}), &[])), missing);
        for others in [[("consent-id", "c1")], [("consent_id", "c2")], [("connection", "close, Consent-ID")]] {
            let fields = [&[("consent-id", "c1")][..], &others].concat();
            assert_eq!(code(check(&in_field, json!({}), &fields)), missing, "{others:?}");
        }
        assert_eq!(code(check(&in_field, json!({}), &[("consent_id", "c1")])), missing);
        let beside = [("consent-id", "c1"), ("connection", "close"), ("consent", "c2")];
        assert_eq!(code(check(&in_field, json!({}), &beside)), Ok("c1".into()), "control");
    }

    #[test]
    fn uk_17_the_id_of_a_consent_may_be_in_the_path() {
        let place = |segment| ConsentPlace::Target(Operand::Path { name: "id".into(), segment });
        let question = check(&rule(place(1)), json!({}), &[]).unwrap();
        assert_eq!((question.id.as_str(), question.is_of_request()), ("urn:c1", true));
        assert_eq!(code(check(&rule(place(2)), json!({}), &[])), Err(Code::ConsentMissing));
    }

    #[test]
    fn an_id_that_would_be_another_part_of_a_url_is_none() {
        for good in ["c1", "urn:bancoex:C1DD33123", "a/b", "%2e%2e", "..."] {
            assert!(ConsentId::parse(good).is_some(), "{good}"); // control
        }
        assert!(ConsentId::parse(&"x".repeat(256)).is_some());
        for bad in ["", ".", "..", "a b", "a\r\nb", "\u{e9}", &"x".repeat(257)] {
            assert_eq!(ConsentId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn uk_17_the_request_is_for_the_consent_of_its_token() {
        let path = ConsentUse::Target(Operand::Path { name: "id".into(), segment: 1 });
        let field = ConsentUse::Header(HeaderName::from_static("consent-id"));
        let with = |equals| ConsentRule { equals: Some(equals), ..rule(ConsentPlace::Claim(claim("/consent_id"))) };
        let mismatch = Err(Code::ConsentMismatch);
        let mine = json!({ "consent_id": "urn:c1" });
        assert_eq!(code(check(&with(path.clone()), mine.clone(), &[])), Ok("urn:c1".into()));
        assert_eq!(code(check(&with(path), json!({ "consent_id": "urn:c2" }), &[])), mismatch);
        assert_eq!(code(check(&with(field.clone()), mine.clone(), &[("consent-id", "urn:c1")])), Ok("urn:c1".into()));
        assert_eq!(code(check(&with(field.clone()), mine.clone(), &[("consent-id", "urn:c2")])), mismatch);
        assert_eq!(code(check(&with(field), mine, &[])), Err(Code::ConsentMissing), "BG-08");
    }

    #[test]
    fn bg_08_fdx_04_a_state_that_is_not_accepted_is_refused_by_its_name() {
        let source = StatusSource::Claim(claim("/status"));
        let rule = ConsentRule { source, ..rule(ConsentPlace::Claim(claim("/consent_id"))) };
        let judge = |status: Value| code(check(&rule, json!({ "consent_id": "c1", "status": status }), &[]));
        assert_eq!(judge(json!("AUTHORISED")), Ok("c1".into()));
        assert_eq!(judge(json!("authorised")), Err(Code::ConsentRefused));
        assert_eq!(judge(json!("expired")), Err(Code::ConsentExpired));
        assert_eq!(judge(json!("revokedByPsu")), Err(Code::ConsentRevoked));
        assert_eq!(judge(json!("Rejected")), Err(Code::ConsentRefused));
        assert_eq!(judge(json!(null)), Err(Code::ConsentRefused));
        assert_eq!(code(check(&rule, json!({ "consent_id": "c1" }), &[])), Err(Code::ConsentRefused));
        let question = check(&rule, json!({ "consent_id": "c1", "status": "AUTHORISED" }), &[]).unwrap();
        assert_eq!(rule.judge(&question, &ConsentAnswer::NotAsked), Ok(()));
        let notified = rule.judge(&question, &ConsentAnswer::Notified);
        assert_eq!(notified.map_err(|error| error.code()), Err(Code::ConsentRevoked));
    }

    #[test]
    fn what_is_asked_is_judged_with_whose_it_is() {
        let members = ConsentMembers::new("/data/status", Some("/data/client")).unwrap();
        let read = |body: &str| ConsentState::from_json(body.as_bytes(), &members);
        let mine = read(r#"{"data":{"status":"AUTHORISED","client":"tpp"}}"#).unwrap();
        let others = read(r#"{"data":{"status":"AUTHORISED","client":"another"}}"#).unwrap();
        for (body, error) in [
            ("[]", ConsentAnswerError::Malformed),
            (r#"{"data":{"status":"a","status":"b","client":"tpp"}}"#, ConsentAnswerError::Malformed),
            (r#"{"data":{"client":"tpp"}}"#, ConsentAnswerError::Status),
            (r#"{"data":{"status":true,"client":"tpp"}}"#, ConsentAnswerError::Status),
            (r#"{"data":{"status":"AUTHORISED"}}"#, ConsentAnswerError::Client),
        ] {
            assert_eq!(read(body), Err(error), "{body}");
        }
        let in_token = rule(ConsentPlace::Claim(claim("/consent_id")));
        let question = check(&in_token, json!({ "consent_id": "c1" }), &[]).unwrap();
        let judge = |answer| in_token.judge(&question, &answer).map_err(|error| error.code());
        assert_eq!(judge(ConsentAnswer::Known(mine.clone())), Ok(()));
        assert_eq!(judge(ConsentAnswer::Known(ConsentState::new("AUTHORISED", None))), Ok(()));
        assert_eq!(judge(ConsentAnswer::Known(others)), Err(Code::ConsentMismatch));
        assert_eq!(judge(ConsentAnswer::Unknown), Err(Code::ConsentUnknown));
        assert_eq!(judge(ConsentAnswer::NotAsked), Err(Code::ConsentUnknown), "somebody has to be asked");
        assert_eq!(judge(ConsentAnswer::Known(ConsentState::new("REJECTED", None))), Err(Code::ConsentRefused));
        let in_field = rule(ConsentPlace::Header(HeaderName::from_static("consent-id")));
        let question = check(&in_field, json!({}), &[("consent-id", "c1")]).unwrap();
        let judge = |answer| in_field.judge(&question, &answer).map_err(|error| error.code());
        assert_eq!(judge(ConsentAnswer::Known(mine)), Ok(()));
        let unnamed = judge(ConsentAnswer::Known(ConsentState::new("AUTHORISED", None)));
        assert_eq!(unnamed, Err(Code::ConsentMismatch), "anybody could name it");
    }
}
