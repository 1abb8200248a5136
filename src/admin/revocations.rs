//! `POST /revocations`: revokes tokens, by a request of the operator or by a security event (RFC 8935).
//!
//! The path exists only if the configuration enables it. A response is true when it is sent: after 204 or 202, no later
//! request passes with what was revoked; after any other status, nothing was recorded, unless replicas share it and the status is
//! 503: the store may have it all the same.

use fapi::revocation::security_event::{self, EventErrorCode};
use fapi::text::{is_media_type, sole_value};
use http::{Method, Response, StatusCode, header};
use pingora::protocols::http::ServerSession;
use serde_json::json;

use super::body::{Unread, body_of, peer};
use super::places::Place;
use super::readers::is_sent_by_page;
use super::{Admin, Entrance, JSON, TEXT, UNAUTHENTICATED, plain};
use crate::issuer::revocations::{Recorded, RevokeError};
use crate::telemetry::metrics::RevocationOutcome;

impl Admin {
    /// Handles a request to `/revocations`.
    pub(super) async fn take_revocation(&self, session: &mut ServerSession, place: &Place) -> Response<Vec<u8>> {
        let generation = self.generation.load_full();
        if !generation.gateway.issuers.takes_revocations() || self.entrance == Entrance::Network {
            return plain(StatusCode::NOT_FOUND, TEXT, Vec::new());
        }
        let form = match self.form_of(session) {
            Ok(form) if !self.entrance.admits(session, &generation, self.clock.unix_time()) => {
                Err(Refusal::Unauthenticated(form))
            }
            form => form,
        };
        let body = body_of(session, place, security_event::MAX_BYTES).await;
        let (form, body) = match form.and_then(|form| Ok((form, body?))) {
            Ok(whole) => whole,
            Err(refusal) => return self.refuse(session, &refusal),
        };
        // Tokens that were issued while the body was arriving are revoked too.
        let now = self.clock.unix_time();
        let outcome = match form {
            Form::Json => generation.gateway.issuers.revoke(&body, now).await,
            Form::SecurityEvent => generation.gateway.issuers.revoke_by_event(&body, now).await,
        };
        match outcome {
            Ok(recorded) => self.recorded(session, form, &recorded),
            Err(error) => self.refuse(session, &Refusal::Revoke(form, error)),
        }
    }

    fn form_of(&self, session: &ServerSession) -> Result<Form, Refusal> {
        let request = session.req_header();
        if request.method != Method::POST {
            return Err(Refusal::Method);
        }
        // No matter which name the page uses for this address.
        if is_sent_by_page(&request.headers) {
            return Err(Refusal::Browser);
        }
        match sole_value(&request.headers, header::CONTENT_TYPE) {
            Some(kind) if is_media_type(kind, JSON) => Ok(Form::Json),
            Some(kind) if is_media_type(kind, security_event::MEDIA_TYPE) => Ok(Form::SecurityEvent),
            Some(_) | None => Err(Refusal::ContentType),
        }
    }

    /// Logs one line for each revocation: its kind, whose tokens, and by whom. Names of people appear only as digests.
    fn recorded(&self, session: &ServerSession, form: Form, recorded: &Recorded) -> Response<Vec<u8>> {
        let (peer, event) = (peer(session), recorded.event.as_deref());
        for revocation in &recorded.revocations {
            let (kind, issuer) = (revocation.subject.kind(), revocation.issuer.as_deref().unwrap_or("any"));
            self.metrics.revocation(Some(kind), RevocationOutcome::Recorded);
            tracing::info!(kind = kind.as_str(), issuer, subject = %revocation.subject.id(), issued_until = revocation.issued_until.0,
                event, peer, "tokens were revoked");
        }
        if recorded.revocations.is_empty() {
            self.metrics.revocation(None, RevocationOutcome::Ignored);
            tracing::info!(event, peer, "a security event revoked nothing");
        }
        match form {
            Form::Json => plain(StatusCode::NO_CONTENT, TEXT, Vec::new()),
            // RFC 8935 §2.2: "The body of the response MUST be empty."
            Form::SecurityEvent => plain(StatusCode::ACCEPTED, TEXT, Vec::new()),
        }
    }

    fn refuse(&self, session: &mut ServerSession, refusal: &Refusal) -> Response<Vec<u8>> {
        let (status, form) = (refusal.status(), refusal.form());
        self.metrics.revocation(None, refusal.outcome());
        let peer = peer(session);
        tracing::warn!(peer, status = status.as_u16(), error = %refusal, "a revocation was not recorded");
        // The gateway does not wait for the rest of the body.
        session.set_keepalive(None);
        let description = refusal.to_string();
        let body = match form {
            Form::Json => json!({ "error": refusal.error(), "error_description": description }),
            Form::SecurityEvent => json!({ "err": refusal.error(), "description": description }),
        };
        let mut response = plain(status, JSON, body.to_string().into_bytes());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LANGUAGE, header::HeaderValue::from_static("en"));
        match status {
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(header::ALLOW, header::HeaderValue::from_static("POST"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
            }
            _ => {}
        }
        response
    }
}

/// The format of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    SecurityEvent,
}

/// Why nothing was recorded.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("only POST means something here")]
    Method,
    #[error("the request is a browser's")]
    Browser,
    #[error("Content-Type is neither application/json nor application/secevent+jwt")]
    ContentType,
    #[error("{UNAUTHENTICATED}")]
    Unauthenticated(Form),
    #[error("the body is larger than 64 KiB")]
    TooLarge,
    #[error("the body could not be read")]
    Broken,
    #[error("the body did not arrive in time")]
    Late,
    #[error("{1}")]
    Revoke(Form, RevokeError),
}

impl From<Unread> for Refusal {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge => Self::TooLarge,
            Unread::Broken => Self::Broken,
            Unread::Late => Self::Late,
        }
    }
}

impl Refusal {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Browser | Self::Unauthenticated(Form::Json) => StatusCode::FORBIDDEN,
            // RFC 8935 §2.3: a request that cannot be authenticated is answered with 400, like one that cannot be
            // parsed.
            Self::Unauthenticated(Form::SecurityEvent) => StatusCode::BAD_REQUEST,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::Revoke(_, RevokeError::Disabled) => StatusCode::NOT_FOUND,
            Self::Revoke(_, RevokeError::Request(_) | RevokeError::Event(_)) => StatusCode::BAD_REQUEST,
            Self::Revoke(
                _,
                RevokeError::Full
                | RevokeError::NotShared { .. }
                | RevokeError::Removed { .. }
                | RevokeError::Unavailable(_),
            ) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn form(&self) -> Form {
        match self {
            Self::Revoke(form, _) | Self::Unauthenticated(form) => *form,
            Self::Method | Self::Browser | Self::ContentType | Self::TooLarge | Self::Broken | Self::Late => Form::Json,
        }
    }

    const fn error(&self) -> &'static str {
        match self {
            Self::Revoke(_, RevokeError::Event(error)) => error.code().as_str(),
            Self::Browser => "access_denied",
            Self::Unauthenticated(_) => EventErrorCode::AuthenticationFailed.as_str(),
            Self::Revoke(
                _,
                RevokeError::Full
                | RevokeError::NotShared { .. }
                | RevokeError::Removed { .. }
                | RevokeError::Unavailable(_),
            ) => "temporarily_unavailable",
            Self::Method
            | Self::ContentType
            | Self::TooLarge
            | Self::Broken
            | Self::Late
            | Self::Revoke(_, RevokeError::Disabled | RevokeError::Request(_)) => {
                EventErrorCode::InvalidRequest.as_str()
            }
        }
    }

    const fn outcome(&self) -> RevocationOutcome {
        match self {
            Self::Revoke(_, RevokeError::Full) => RevocationOutcome::Full,
            Self::Revoke(
                _,
                RevokeError::NotShared { .. } | RevokeError::Removed { .. } | RevokeError::Unavailable(_),
            ) => RevocationOutcome::Unavailable,
            Self::Method
            | Self::Browser
            | Self::ContentType
            | Self::Unauthenticated(_)
            | Self::TooLarge
            | Self::Broken
            | Self::Late
            | Self::Revoke(_, RevokeError::Disabled | RevokeError::Request(_) | RevokeError::Event(_)) => {
                RevocationOutcome::Refused
            }
        }
    }
}
