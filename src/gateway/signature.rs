//! The signature of a request, on routes that look at it: judged after the token, and before the content goes anywhere.

use fapi::UnixTime;
use fapi::jose::keys::KeySet;
use fapi::permit::{Authorized, AwaitsContent, AwaitsSignature, HeadSignature, Judged};
use fapi::rejection::{Cause, Unavailable};
use fapi::route::Origin;
use fapi::signature::error::SignatureError;
use fapi::signature::message::{ExternalUri, RequestView};
use fapi::signature::profile::Content;
use http::request::Parts;

use super::Gateway;
use crate::replay::UsedOnce;
use crate::signatures::{NoKeys, UsedSignature};

/// What becomes of a request whose signature was judged.
#[must_use]
#[derive(Debug)]
pub enum HeadJudged {
    /// The content is judged next.
    Content(Box<AwaitsContent>),
    /// On a route in shadow, no signature holds.
    Unsigned(Box<Judged>),
}

impl Gateway {
    /// Judges the signature over the header section of a request, with the keys of the token's client. `origin` is the one that it
    /// was sent to, and `content` says whether it has some.
    ///
    /// # Errors
    /// [`SignatureError`], and [`Unavailable::ClientKeys`] while the keys of the client cannot be read.
    pub async fn verify_signature(
        &self,
        waiting: Box<AwaitsSignature>,
        request: &Parts,
        origin: &Origin,
        content: Content,
        now: UnixTime,
    ) -> Result<HeadJudged, Cause> {
        let path = [origin.prefix(), request.uri.path()].concat();
        let view = request_view(request, origin, &path);
        let head = match self.head_signature(&waiting, view, content, now).await {
            Ok(head) => head,
            Err(Cause::Signature(error)) => return Ok(HeadJudged::Unsigned(waiting.pass_unsigned(error)?.into())),
            Err(other) => return Err(other),
        };
        Ok(HeadJudged::Content(waiting.head_signed(head).into()))
    }

    async fn head_signature(
        &self,
        waiting: &AwaitsSignature,
        view: RequestView<'_>,
        content: Content,
        now: UnixTime,
    ) -> Result<HeadSignature, Cause> {
        let none = KeySet::default();
        let Some(rules) = waiting.rules().filter(|_| AwaitsSignature::is_signed(view.headers)) else {
            return Ok(waiting.verify(view, content, &none, now)?);
        };
        let known = match self.client_keys.of(rules.keys, waiting.client_id()).await {
            Ok(known) => known,
            Err(NoKeys::Unknown(error)) => return Err(error.into()),
            Err(NoKeys::Unavailable(unavailable)) => return Err(unavailable.into()),
        };
        match waiting.verify(view, content, known.keys().unwrap_or(&none), now) {
            Err(error) if error.depends_on_keys() => {
                let again = match known.again().await {
                    Ok(again) => again,
                    // The signature may be good: the client can try again.
                    Err(unavailable) if matches!(error, SignatureError::KeyUnknown { .. }) => {
                        return Err(unavailable.into());
                    }
                    Err(_) => None,
                };
                let again = again.ok_or(error)?;
                Ok(waiting.verify(view, content, again.keys().unwrap_or(&none), now)?)
            }
            judged => Ok(judged?),
        }
    }

    /// Records the use of the signature, if that counts once.
    pub(super) async fn use_signature(&self, authorized: Authorized, now: UnixTime) -> Result<Authorized, Cause> {
        let Some(used) = authorized.signature_to_remember() else { return Ok(authorized) };
        let client = authorized.client_id().unwrap_or_default();
        let recorded = UsedSignature::of(client, used);
        let outcome = match recorded.check_still_good(now) {
            Ok(()) => {
                let route = &authorized.route().name;
                let recording = self.replay.first_use(&recorded, self.shared_replay.as_deref(), route, now).await;
                recording.and_then(|(first_use, began)| {
                    used.check_still_known(began.plus(self.freshness.clock_skew))?;
                    Ok(first_use)
                })
            }
            Err(cause) => Err(cause),
        };
        match outcome {
            Ok(first_use) => Ok(authorized.with_signature_used(&first_use)?),
            Err(Cause::Signature(error)) => Ok(authorized.pass_replayed(error)?),
            Err(cause @ Cause::Unavailable(Unavailable::ReplayLog { .. })) => {
                authorized.pass_unrecorded(cause.code(), &cause).ok_or(cause)
            }
            Err(cause) => Err(cause),
        }
    }
}

/// A request as its client sent it, with the URI by which that knows the resource. `path` has the prefix of the origin.
pub fn request_view<'r>(request: &'r Parts, origin: &'r Origin, path: &'r str) -> RequestView<'r> {
    let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
    let uri = ExternalUri { scheme: "https", authority: origin.authority(), path, query: request.uri.query() };
    RequestView { method: &request.method, uri, target, headers: &request.headers }
}
