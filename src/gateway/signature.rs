//! The signature of a request, on routes that look at it: judged after the token, and before the content goes anywhere.

use std::sync::OnceLock;

use fapi::UnixTime;
use fapi::jose::keys::KeySet;
use fapi::permit::signature::{AwaitsContent, HeadEvidence};
use fapi::permit::{Authorized, AwaitsSignature, Judged};
use fapi::rejection::{Cause, Unavailable};
use fapi::route::Origin;
use fapi::signature::error::SignatureError;
use fapi::signature::form::Form;
use fapi::signature::message::{ExternalUri, RequestView};
use fapi::signature::profile::Content;
use fapi::signature::signed_content::{Expected, Signed, SignedContent};
use fapi::signed_body::directory::DirectoryName;
use http::HeaderMap;
use http::request::Parts;

use super::{Client, Gateway};
use crate::rate_limits::Taken;
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

/// The content of a request that is signed by itself.
#[derive(Clone, Copy)]
pub struct WholeContent<'c> {
    /// Its request.
    pub request: &'c Parts,
    /// The origin that this was sent to.
    pub origin: &'c Origin,
    /// All of it, as received.
    pub body: &'c [u8],
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
        (request, origin): (&Parts, &Origin),
        content: Content,
        client: Client<'_>,
        now: UnixTime,
    ) -> Result<HeadJudged, Cause> {
        let path = [origin.prefix(), request.uri.path()].concat();
        let view = request_view(request, origin, &path);
        let judge = |keys: &KeySet| {
            let evidence = HeadEvidence { keys, certificate: client.trusted_certificate() };
            waiting.verify(view, content, evidence, now)
        };
        let set =
            waiting.rules().filter(|rules| needs_keys(&rules.form, &request.headers)).and_then(|rules| rules.keys);
        let head = match set {
            Some(set) => {
                let judged = self.with_keys(set, waiting.client_id(), |keys, _| judge(keys)).await;
                judged.map_err(|cause| if waiting.is_in_shadow() { without_keys(cause) } else { cause })
            }
            None => judge(&KeySet::default()).map_err(Cause::from),
        };
        let head = match head {
            Ok(head) => head,
            Err(Cause::Signature(error)) => return Ok(HeadJudged::Unsigned(waiting.pass_unsigned(error)?.into())),
            Err(other) => return Err(other),
        };
        Ok(HeadJudged::Content(waiting.head_signed(head).into()))
    }

    /// Verifies content that is signed by itself, with the keys of the token's client.
    ///
    /// # Errors
    /// [`Unavailable::ClientKeys`] while the keys of the client cannot be read. That it does not hold is no error here.
    pub async fn verify_content(
        &self,
        waiting: &AwaitsContent,
        content: WholeContent<'_>,
        client: Client<'_>,
        now: UnixTime,
    ) -> Result<Result<SignedContent, SignatureError>, Cause> {
        let WholeContent { request, origin, body } = content;
        let endpoint = [origin.as_str(), request.uri.path()].concat();
        // Once, and not before it is known whether the client has keys.
        let opened = OnceLock::new();
        let set = waiting.rules().and_then(|rules| rules.keys).unwrap_or(usize::MAX);
        let client_id = waiting.client_id();
        let verified = self.with_keys(set, client_id, |keys, name| {
            let expected = Expected {
                client_id: client_id.unwrap_or_default(),
                name,
                certificate: client.trusted_certificate(),
                endpoint: &endpoint,
                origin: origin.as_str(),
            };
            let content = opened.get_or_init(|| waiting.open(body)).as_ref().map_err(Clone::clone)?;
            let signed = Signed { headers: &request.headers, content, method: &request.method };
            waiting.verify(signed, &expected, keys, now)
        });
        let verified = verified.await;
        match verified.map_err(|cause| if waiting.is_in_shadow() { without_keys(cause) } else { cause }) {
            Ok(signed) => Ok(Ok(signed)),
            Err(Cause::Signature(error)) => Ok(Err(error)),
            Err(other) => Err(other),
        }
    }

    /// Judges with the keys of a client, and once more with those that it has published since.
    async fn with_keys<T>(
        &self,
        set: usize,
        client_id: Option<&str>,
        judge: impl Fn(&KeySet, &DirectoryName) -> Result<T, SignatureError>,
    ) -> Result<T, Cause> {
        let none = KeySet::default();
        let known = match self.client_keys.of(set, client_id).await {
            Ok(known) => known,
            Err(NoKeys::Unknown(error)) => return Err(error.into()),
            Err(NoKeys::Unavailable(unavailable)) => return Err(unavailable.into()),
        };
        match judge(known.keys().unwrap_or(&none), known.name()) {
            Err(error) if error.depends_on_keys() => {
                let again = match known.again().await {
                    Ok(again) => again,
                    // The signature may be good: the client can try again.
                    Err(unavailable) if error.is_of_an_unknown_key() => return Err(unavailable.into()),
                    Err(_) => None,
                };
                let again = again.ok_or(error)?;
                Ok(judge(again.keys().unwrap_or(&none), again.name())?)
            }
            judged => Ok(judged?),
        }
    }

    /// Records the use of the signature, if that counts once.
    ///
    /// What was used before gives back what it has `taken`, as a proof does.
    pub(super) async fn use_signature(
        &self,
        authorized: Authorized,
        taken: &Taken,
        now: UnixTime,
    ) -> Result<Authorized, Cause> {
        let Some(used) = authorized.signature_to_remember() else { return Ok(authorized) };
        let client = authorized.client_id().unwrap_or_default();
        let recorded = UsedSignature::of(client, used);
        let outcome = match recorded.check_still_good(now) {
            Ok(()) => {
                let route = &authorized.route().name;
                let recording = self.replay.first_use(&recorded, self.shared_replay.as_deref(), route, now).await;
                recording.and_then(|(first_use, began)| {
                    used.check_still_known(began)?;
                    Ok(first_use)
                })
            }
            Err(cause) => Err(cause),
        };
        if matches!(outcome, Err(Cause::Signature(SignatureError::Replayed))) {
            self.give_back(&authorized, taken);
        }
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

/// In shadow, keys that cannot be read are those of a client of which none are known.
fn without_keys(cause: Cause) -> Cause {
    let Cause::Unavailable(Unavailable::ClientKeys { client, .. }) = &cause else { return cause };
    SignatureError::ClientUnknown { client: format!("{client:?}, whose keys cannot be read").into() }.into()
}

/// Whether the header section of a request is judged by keys.
fn needs_keys(form: &Form, headers: &HeaderMap) -> bool {
    match form {
        Form::Http(_) => form.is_claimed_by(headers),
        Form::DetachedJws(_) | Form::JwtBody(_) | Form::Seal(_) => false,
    }
}

/// A request as its client sent it, with the URI by which that knows the resource. `path` has the prefix of the origin.
pub fn request_view<'r>(request: &'r Parts, origin: &'r Origin, path: &'r str) -> RequestView<'r> {
    let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
    let uri = ExternalUri { scheme: "https", authority: origin.authority(), path, query: request.uri.query() };
    RequestView { method: &request.method, uri, target, headers: &request.headers }
}
