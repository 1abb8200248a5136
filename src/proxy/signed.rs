//! Signatures of messages: those of requests are judged before anything goes on, and responses are signed when they are whole.

use bytes::Bytes;
use fapi::UnixTime;
use fapi::permit::{AwaitsSignature, Judged};
use fapi::rejection::{Cause, Seen, Unavailable};
use fapi::route::{Origin, Route};
use fapi::signature::component::Component;
use fapi::signature::create::{SignatureFields, Unsigned};
use fapi::signature::digest::{CONTENT_DIGEST, DigestAlgorithm, content_digest};
use fapi::signature::error::SignatureError;
use fapi::signature::evidence::Evidence;
use fapi::signature::input::{SIGNATURE, SIGNATURE_INPUT, SignatureParameters};
use fapi::signature::message::{Message, ResponseView};
use fapi::signature::profile::{Content, Profile};
use fapi::signature::rules::ResponseRules;
use http::{HeaderValue, Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use super::Proxy;
use super::context::Context;
use super::decision::wait_for_body;
use crate::gateway::{HeadJudged, request_view};
use crate::generation::Generation;
use crate::telemetry::routes::SignatureOutcome;

/// How the responses of a route are signed, if they are.
pub(super) fn response_rules(route: &Route) -> Option<ResponseRules> {
    route.policy()?.signature()?.response
}

/// Whether the responses of a route are signed.
pub(super) fn signs_responses(route: &Route) -> bool {
    response_rules(route).is_some()
}

impl Proxy {
    /// Judges the signature of a request, and the digest of its content, which is read for it and returned in `body`.
    pub(super) async fn judge_signature(
        &self,
        session: &mut Session,
        context: &mut Context,
        waiting: Box<AwaitsSignature>,
        seen: &Seen,
        body: &mut Option<Vec<u8>>,
    ) -> Result<Judged, Cause> {
        let Some(origin) = &seen.origin else {
            return Err(Unavailable::Internal { detail: "a request has a route and no origin".to_owned() }.into());
        };
        let content = if session.is_body_empty() { Content::Absent } else { Content::Present };
        let generation = context.generation.clone();
        let (gateway, now) = (&generation.gateway, self.clock.unix_time());
        let count = {
            let generation = generation.clone();
            let route = waiting.route().name.clone();
            move |outcome| count(&generation, &route, outcome)
        };
        let head = gateway.verify_signature(waiting, session.req_header(), origin, content, now).await;
        let refused = |cause: Cause| {
            if matches!(cause, Cause::Signature(_)) {
                count(SignatureOutcome::Refused);
            }
            cause
        };
        let waiting = match head.map_err(refused)? {
            HeadJudged::Unsigned(judged) => {
                count(SignatureOutcome::Refused);
                return Ok(*judged);
            }
            HeadJudged::Content(waiting) => waiting,
        };
        let has_one = waiting.is_signed();
        let mut hasher = waiting.hasher();
        if let Some(hasher) = &mut hasher {
            let limits = context.limits.on(&waiting.route().limits);
            let limit = usize::try_from(limits.body_bytes).unwrap_or(usize::MAX);
            *body = Some(wait_for_body(session, context, &limits, limit, Some(hasher)).await?);
        }
        let judged = waiting.judge(hasher).map_err(|error| refused(error.into()))?;
        count(match (has_one, judged.is_signed()) {
            (false, _) => SignatureOutcome::Absent,
            (true, true) => SignatureOutcome::Verified,
            (true, false) => SignatureOutcome::Refused,
        });
        Ok(judged)
    }

    /// Signs the response to a request, which is whole (HSIG-16).
    ///
    /// # Errors
    /// [`SignatureError`].
    pub(super) async fn sign_response(
        &self,
        session: &Session,
        context: &mut Context,
        head: &mut ResponseHeader,
        body: &Bytes,
    ) -> Result<(), SignatureError> {
        let Some(origin) = context.exchange.seen.origin.clone() else { return Err(SignatureError::NotSigned) };
        for name in [SIGNATURE, SIGNATURE_INPUT, CONTENT_DIGEST] {
            head.remove_header(name);
        }
        let request: &http::request::Parts = session.req_header();
        let content = content_of(&request.method, head.status);
        if content == Content::Present {
            let digest = content_digest(DigestAlgorithm::Sha256, body);
            insert(head, CONTENT_DIGEST, &digest)?;
        }
        let fields = self.signature(request, &origin, context, head, content).await;
        if let Some(route) = &context.exchange.seen.route {
            let outcome = if fields.is_ok() { SignatureOutcome::Signed } else { SignatureOutcome::NotSigned };
            count(&context.generation, &route.name, outcome);
        }
        let (fields, evidence) = fields?;
        context.signed_response = Some(evidence);
        insert(head, SIGNATURE_INPUT, &fields.signature_input)?;
        insert(head, SIGNATURE, &fields.signature)
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
        if !key.key().may_block() {
            return unsigned.sign_with_evidence(key);
        }
        let keys = keys.clone();
        // This thread serves clients. How many of these wait is bounded by the exchanges that may be in progress.
        let signing = tokio::task::spawn_blocking(move || unsigned.sign_with_evidence(keys.first()));
        signing.await.unwrap_or(Err(SignatureError::NotSigned))
    }

    /// Signs a refusal, if its route signs responses and its client is known. Whoever has no good token gets one that is not signed:
    /// anybody could have the gateway sign as often as it likes.
    pub(super) async fn sign_refusal(
        &self,
        session: &Session,
        context: &mut Context,
        head: &mut ResponseHeader,
        body: &Bytes,
    ) -> pingora::Result<()> {
        let seen = &context.exchange.seen;
        if seen.token.is_none() || !seen.route.as_deref().is_some_and(signs_responses) {
            return Ok(());
        }
        let mut signed = head.clone();
        match self.sign_response(session, context, &mut signed, body).await {
            Ok(()) => *head = signed,
            // It is refused all the same.
            Err(error) => tracing::error!(%error, "a refusal was not signed"),
        }
        Ok(())
    }
}

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
