//! Signatures of messages: those of requests are judged before anything goes on, and responses are signed when they are whole.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use fapi::UnixTime;
use fapi::jose::signing_keys::{NamedKey, SigningKeys};
use fapi::message::ExchangeError;
use fapi::permit::signature::{Awaited, ReadContent};
use fapi::permit::{AwaitsSignature, Judged};
use fapi::rejection::{Cause, Seen, Unavailable};
use fapi::route::{Origin, Route};
use fapi::signature::component::Component;
use fapi::signature::create::{SignatureFields, Unsigned};
use fapi::signature::digest::{CONTENT_DIGEST, DigestAlgorithm, content_digest};
use fapi::signature::error::SignatureError;
use fapi::signature::evidence::Evidence;
use fapi::signature::form::{JwtForm, is_jwt};
use fapi::signature::input::{SIGNATURE, SIGNATURE_INPUT, SignatureParameters};
use fapi::signature::message::{Message, ResponseView};
use fapi::signature::profile::{Content, Profile};
use fapi::signature::rules::{ResponseForm, ResponseRules};
use fapi::signed_body::detached::{self, X_JWS_SIGNATURE};
use fapi::signed_body::error::SignedBodyError;
use fapi::signed_body::jwt_body::{self, ValidBetween};
use fapi::text::{is_json, sole_value};
use http::{HeaderValue, Method, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use uuid::Uuid;

use super::Proxy;
use super::context::Context;
use super::decision::wait_for_body;
use crate::gateway::{Client, HeadJudged, WholeContent, request_view};
use crate::generation::Generation;
use crate::telemetry::routes::SignatureOutcome;

/// How the responses of a route are signed, if they are.
pub(super) fn response_rules(route: &Route) -> Option<&ResponseRules> {
    route.policy()?.signature()?.response.as_ref()
}

/// Whether the responses of a route are signed.
pub(super) fn signs_responses(route: &Route) -> bool {
    response_rules(route).is_some()
}

impl Proxy {
    /// Judges the signature of a request, and the content as far as it is signed, which is read for it and returned in `body`.
    pub(super) async fn judge_signature(
        &self,
        session: &mut Session,
        context: &mut Context,
        (waiting, address): (Box<AwaitsSignature>, Option<IpAddr>),
        seen: &Seen,
        body: &mut Option<Vec<u8>>,
    ) -> Result<Judged, Cause> {
        let Some(origin) = &seen.origin else {
            return Err(Unavailable::Internal { detail: "a request has a route and no origin".to_owned() }.into());
        };
        let content = content_of_request(session, context, &waiting).await?;
        let (generation, now) = (context.generation.clone(), self.clock.unix_time());
        let (gateway, peer) = (&generation.gateway, context.peer.clone());
        let client = Client { peer: &peer, verified_chain: context.verified_chain, address };
        let route = waiting.route().clone();
        let count = |outcome| count(&generation, &route.name, outcome);
        let refused = |cause: Cause| {
            if matches!(cause, Cause::Signature(_)) {
                count(SignatureOutcome::Refused);
            }
            cause
        };
        let head = gateway.verify_signature(waiting, (session.req_header(), origin), content, client, now).await;
        let waiting = match head.map_err(refused)? {
            HeadJudged::Unsigned(judged) => {
                count(SignatureOutcome::Refused);
                return Ok(*judged);
            }
            HeadJudged::Content(waiting) => waiting,
        };
        let has_one = waiting.is_signed();
        let limits = context.limits.on(&route.limits);
        let limit = usize::try_from(limits.body_bytes).unwrap_or(usize::MAX);
        let read = match waiting.awaits() {
            Awaited::Nothing => ReadContent::Unread,
            Awaited::Hashed(mut hasher) => {
                *body = Some(wait_for_body(session, context, &limits, limit, Some(&mut hasher)).await?);
                ReadContent::Hashed(hasher)
            }
            Awaited::Whole(most) => {
                let whole = wait_for_body(session, context, &limits, limit.min(most), None).await?;
                let content = WholeContent { request: session.req_header(), origin, body: &whole };
                let verified = gateway.verify_content(&waiting, content, client, self.clock.unix_time()).await?;
                *body = Some(whole);
                ReadContent::Verified(verified)
            }
        };
        let judged = waiting.judge(read).map_err(|error| refused(error.into()))?;
        count(match (has_one, judged.is_signed()) {
            (false, _) => SignatureOutcome::Absent,
            (true, true) => SignatureOutcome::Verified,
            (true, false) => SignatureOutcome::Refused,
        });
        Ok(judged)
    }

    /// Signs the response to a request, which is whole, as its route says. Returns what the client gets in place of the content.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub(super) async fn sign_response(
        &self,
        session: &Session,
        context: &mut Context,
        head: &mut ResponseHeader,
        body: &Bytes,
    ) -> Result<Bytes, SignatureError> {
        let Some(route) = context.exchange.seen.route.clone() else { return Err(SignatureError::NotSigned) };
        let signed = match response_rules(&route).map(|rules| &rules.form) {
            None => Err(SignatureError::NotSigned),
            Some(ResponseForm::Http) => {
                let evidence = self.sign_fields(session, context, head, body).await;
                evidence.map(|evidence| Some((body.clone(), Some(evidence))))
            }
            Some(ResponseForm::DetachedJws { issuer, trust_anchor }) => {
                self.sign_detached(session, context, (issuer, trust_anchor), head, body).await
            }
            Some(ResponseForm::JwtBody { jwt_form, issuer, keys }) => {
                self.sign_jwt(session, context, (*jwt_form, issuer, *keys), head, body).await
            }
        };
        let outcome = match &signed {
            Ok(Some(_)) => Some(SignatureOutcome::Signed),
            Ok(None) => None,
            Err(_) => Some(SignatureOutcome::NotSigned),
        };
        if let Some(outcome) = outcome {
            count(&context.generation, &route.name, outcome);
        }
        Ok(match signed? {
            Some((content, evidence)) => {
                context.signed_response = evidence;
                content
            }
            None => body.clone(),
        })
    }

    /// Signs a response by the fields of RFC 9421 (HSIG-16).
    async fn sign_fields(
        &self,
        session: &Session,
        context: &Context,
        head: &mut ResponseHeader,
        body: &Bytes,
    ) -> Result<Evidence, SignatureError> {
        let Some(origin) = &context.exchange.seen.origin else { return Err(SignatureError::NotSigned) };
        for name in [SIGNATURE, SIGNATURE_INPUT, CONTENT_DIGEST] {
            head.remove_header(name);
        }
        let request: &http::request::Parts = session.req_header();
        let content = content_of(&request.method, head.status);
        if content == Content::Present {
            let digest = content_digest(DigestAlgorithm::Sha256, body);
            insert(head, CONTENT_DIGEST, &digest)?;
        }
        let (fields, evidence) = self.signature(request, origin, context, head, content).await?;
        insert(head, SIGNATURE_INPUT, &fields.signature_input)?;
        insert(head, SIGNATURE, &fields.signature)?;
        Ok(evidence)
    }

    async fn signature(
        &self,
        request: &http::request::Parts,
        origin: &Origin,
        context: &Context,
        head: &ResponseHeader,
        content: Content,
    ) -> Result<(SignatureFields, Evidence), SignatureError> {
        let keys = context.generation.signing.as_ref().ok_or(SignatureError::NotSigned)?;
        let key = keys.first();
        let profile = Profile::fapi2_response(&request.headers, content);
        let components: Vec<Component> = profile.required;
        let parameters = SignatureParameters {
            created: Some(UnixTime(self.clock.now().as_secs())),
            key_id: Some(key.key_id().into()),
            tag: profile.tag,
            ..SignatureParameters::default()
        };
        let path = [origin.prefix(), request.uri.path()].concat();
        let request = request_view(request, origin, &path);
        let response = ResponseView { status: head.status, headers: &head.headers, request };
        let unsigned = Unsigned::of(&Message::Response(response), LABEL, &components, &parameters, key.algorithm())?;
        with_key(keys, move |key| unsigned.sign_with_evidence(key)).await
    }

    /// Signs the content of a response, if it has some, by `x-jws-signature` (UK-11).
    async fn sign_detached(
        &self,
        session: &Session,
        context: &Context,
        (issuer, trust_anchor): (&Arc<str>, &Arc<str>),
        head: &mut ResponseHeader,
        body: &Bytes,
    ) -> Result<Option<SignedContent>, SignatureError> {
        head.remove_header(X_JWS_SIGNATURE);
        if content_of(&session.req_header().method, head.status) == Content::Absent || body.is_empty() {
            return Ok(None);
        }
        let keys = context.generation.signing.as_ref().ok_or(SignatureError::NotSigned)?;
        let (issuer, trust_anchor, content) = (issuer.clone(), trust_anchor.clone(), body.clone());
        let issued_at = UnixTime(self.clock.now().as_secs());
        let value = with_key(keys, move |key| {
            let claims = detached::Claims { issuer: &issuer, trust_anchor: &trust_anchor, issued_at };
            Ok(detached::sign_with_evidence(&content, &claims, detached::Form::Encoded, key)?)
        });
        let (value, evidence) = value.await?;
        head.insert_header(X_JWS_SIGNATURE, value).map_err(|_| SignatureError::NotSigned)?;
        Ok(Some((body.clone(), evidence)))
    }

    /// Makes the content of a response, if it is JSON, a signed JWT (BR-15, UAE-03).
    async fn sign_jwt(
        &self,
        session: &Session,
        context: &Context,
        (jwt_form, issuer, set): (JwtForm, &Arc<str>, Option<usize>),
        head: &mut ResponseHeader,
        body: &Bytes,
    ) -> Result<Option<SignedContent>, SignatureError> {
        let content_type = sole_value(&head.headers, header::CONTENT_TYPE);
        let has_content = content_of(&session.req_header().method, head.status) == Content::Present && !body.is_empty();
        // What the server has signed is its own answer.
        if !has_content || content_type.is_some_and(is_jwt) {
            return Ok(None);
        }
        let is_json = content_type.and_then(|value| value.to_str().ok()).is_some_and(is_json);
        if !is_json || head.headers.contains_key(header::CONTENT_ENCODING) {
            return Err(NOT_JSON.into());
        }
        let keys = context.generation.signing.as_ref().ok_or(SignatureError::NotSigned)?;
        let client_id =
            context.exchange.seen.token.as_deref().and_then(|token| token.claims_for_audit().text("client_id"));
        let client_id = client_id.ok_or(SignatureError::NotSigned)?;
        let audience: Box<str> = match (jwt_form, set) {
            (JwtForm::Gulf, _) => client_id.into(),
            (JwtForm::Brazil, Some(set)) => {
                let name = context.generation.gateway.client_keys.name_of(set, client_id);
                let organization = name.and_then(|name| name.org_id.clone());
                organization.ok_or(SignedBodyError::NotWritable { what: "an answer to a client without an org_id" })?
            }
            (JwtForm::Brazil, None) => return Err(SignatureError::NotSigned),
        };
        let (issuer, issued_at) = (issuer.clone(), UnixTime(self.clock.now().as_secs()));
        let valid = (jwt_form == JwtForm::Gulf)
            .then(|| ValidBetween { not_before: issued_at, expires: issued_at.plus(RESPONSE_LIFETIME) });
        let jti = Uuid::new_v4().to_string();
        let content = body.clone();
        let jwt = with_key(keys, move |key| {
            let (issuer, audience, jti) = (&*issuer, &*audience, &*jti);
            let claims = jwt_body::Claims { issuer, audience, jti, issued_at, valid };
            let content = match jwt_form {
                JwtForm::Brazil => jwt_body::Content::brazil(&content)?,
                JwtForm::Gulf => jwt_body::Content::gulf(&content)?,
            };
            let jwt = jwt_body::sign_content(&claims, content, key)?;
            let evidence = Evidence::of_own_jws(&jwt, key);
            Ok((jwt, Some(evidence)))
        });
        let (jwt, evidence) = jwt.await?;
        let jwt = Bytes::from(jwt);
        head.insert_header(header::CONTENT_TYPE, HeaderValue::from_static("application/jwt"))
            .map_err(|_| SignatureError::NotSigned)?;
        // They are about the JSON.
        for name in ["content-digest", "digest", "content-md5", "etag"] {
            head.remove_header(name);
        }
        head.insert_header(header::CONTENT_LENGTH, jwt.len()).map_err(|_| SignatureError::NotSigned)?;
        Ok(Some((jwt, evidence)))
    }

    /// Signs a refusal, if its route signs responses and its client is known. Whoever has no good token gets one that is not signed:
    /// anybody could have the gateway sign as often as it likes.
    pub(super) async fn sign_refusal(
        &self,
        session: &Session,
        context: &mut Context,
        head: &mut ResponseHeader,
        body: Bytes,
    ) -> Bytes {
        let seen = &context.exchange.seen;
        // Of these, there are no more than exchanges may be in progress.
        let has_place = context.place.is_some() || context.answering.is_some();
        if !seen.sender_proven || !has_place || !seen.route.as_deref().is_some_and(signs_responses) {
            return body;
        }
        let mut signed = head.clone();
        match self.sign_response(session, context, &mut signed, &body).await {
            Ok(content) => {
                *head = signed;
                content
            }
            // It is refused all the same.
            Err(error) => {
                tracing::error!(%error, "a refusal was not signed");
                body
            }
        }
    }
}

/// Whether a request has content. Where nothing says so before its end, and it claims no digest that content would have, an empty
/// message may still end: its first byte decides, with which no signature holds.
async fn content_of_request(
    session: &mut Session,
    context: &mut Context,
    waiting: &AwaitsSignature,
) -> Result<Content, Cause> {
    if session.is_body_empty() {
        return Ok(Content::Absent);
    }
    let headers = &session.req_header().headers;
    let says = [header::CONTENT_LENGTH.as_str(), CONTENT_DIGEST].iter().any(|name| headers.contains_key(*name));
    if says || !waiting.needs_digest_of(headers) {
        return Ok(Content::Present);
    }
    let limits = context.limits.on(&waiting.route().limits);
    match wait_for_body(session, context, &limits, 0, None).await {
        Ok(_) => Ok(Content::Absent),
        Err(ExchangeError::BodyTooLarge { .. }) => Err(SignatureError::DigestMissing.into()),
        Err(error) => Err(error.into()),
    }
}

/// Signs with the first key.
async fn with_key<T: Send + 'static>(
    keys: &Arc<SigningKeys>,
    sign: impl FnOnce(&NamedKey) -> Result<T, SignatureError> + Send + 'static,
) -> Result<T, SignatureError> {
    if !keys.first().key().may_block() {
        return sign(keys.first());
    }
    let keys = keys.clone();
    // This thread serves clients. How many of these wait is bounded by the exchanges that may be in progress.
    tokio::task::spawn_blocking(move || sign(keys.first())).await.unwrap_or(Err(SignatureError::NotSigned))
}

/// What the client gets of a response that is signed, and what shows that later.
type SignedContent = (Bytes, Option<Evidence>);

const NOT_JSON: SignedBodyError = SignedBodyError::NotWritable { what: "a response that is not JSON" };

/// For how many seconds a signed response counts where it says so.
const RESPONSE_LIFETIME: u64 = 300;

/// Counts the signature of a message on a route.
fn count(generation: &Generation, route: &str, outcome: SignatureOutcome) {
    if let Some(metrics) = generation.counts.get(route) {
        metrics.signature(outcome);
    }
}

/// Whether a response has content (RFC 9110 §6.4.1).
fn content_of(method: &Method, status: StatusCode) -> Content {
    let has_none = *method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if has_none { Content::Absent } else { Content::Present }
}

fn insert(head: &mut ResponseHeader, name: &'static str, value: &str) -> Result<(), SignatureError> {
    let value = HeaderValue::try_from(value).map_err(|_| SignatureError::NotSigned)?;
    head.insert_header(name, value).map_err(|_| SignatureError::NotSigned)
}

/// The label of the signature; it means nothing.
const LABEL: &str = "sig";
