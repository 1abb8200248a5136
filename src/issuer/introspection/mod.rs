//! Token introspection (RFC 7662 §2.1), and the cache of its responses.
//!
//! A response is cached under the SHA-256 of the whole token, in a cache that belongs to one issuer, endpoint, set of
//! credentials and set of expectations. The claims are cached, never the decision about a request. An unusable response
//! is not cached at all.
//!
//! Requests that ask about the same token at the same time share one call. The number of calls in progress is bounded,
//! and so is the number of those that wait for their turn, in total and for each client.
//!
//! Replicas can share the responses about active tokens in a store ([`Sharing`]), which is asked before the issuer.

mod endpoint;
mod fault;
mod flight;
mod places;
mod settings;
mod shared;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use fapi::UnixTime;
use fapi::credentials::PresentedToken;
use fapi::jose::statement::Signer;
use fapi::rejection::{ShareExceeded, Unavailable};
use fapi::text::is_media_type;
use fapi::token::introspection::{self, ActiveAnswer, Answer, AnswerError, MAX_ANSWER_BYTES};
use fapi::token::{ActiveToken, Expected, Named, RefusedToken, TokenError, TokenHash, TokenIds};
use http::{StatusCode, header};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::time::Instant;
use tracing::warn;

use self::endpoint::Endpoint;
use self::fault::Fault;
use self::flight::{Flight, Joined};
use super::http::{Client, ClientError};
use super::jwks::{KeySource, Reread};
use super::memory::{Remembered, memory};
use super::revocations::Revocations;
use super::{IntrospectionOutcome, JwksSettings, Observer, Shared, Timing, ValidateError};
use crate::clock::instant;
use crate::resource::Kind;
use crate::sync::{Mutex, MutexGuard, PoisonError};
use crate::tls_client::TrustAnchors;
use crate::trace::{self, names};

pub(crate) use self::fault::Complaint;
pub use self::places::{Asker, Room};
pub(crate) use self::places::{NoPlace, Place, Places};
pub use self::settings::{Authentication, CacheSettings, Response, Settings};
pub(super) use self::shared::SharedAnswers;
pub use self::shared::{AnswerStore, NotShared, Sharing};

/// One way to ask one issuer, with the cache of its responses.
pub struct Introspector {
    expected: Expected,
    settings: Settings,
    endpoint: Endpoint,
    timing: Timing,
    client: Client,
    /// The issuer's keys; present whenever responses are signed.
    keys: Option<Arc<KeySource>>,
    jwks: JwksSettings,
    observer: Arc<dyn Observer>,
    revocations: Arc<Revocations>,
    /// Tokens that the issuer reported as active, and when it was asked.
    active: Cache<TokenHash, Remembered<Instant>>,
    /// Tokens that it reported as not active or that are not acceptable here, why, and when it was asked.
    refused: Cache<TokenHash, (RefusedToken, Instant)>,
    /// The tokens that were refused within `max_age`: what other replicas were told of them may be from before.
    denied: Cache<TokenHash, ()>,
    shared: ArcSwapOption<SharedAnswers>,
    flights: Mutex<HashMap<TokenHash, Flight>>,
    places: Arc<Places>,
    complaint: Mutex<Complaint>,
}

impl Introspector {
    pub(super) fn new(
        expected: Expected,
        settings: Settings,
        trust_anchors: &TrustAnchors,
        keys: Option<Arc<KeySource>>,
        jwks: JwksSettings,
        shared: Shared,
    ) -> Result<Self, ClientError> {
        let Shared { timing, observer, revocations } = shared;
        let (identity, sought) = settings.authentication.presented();
        let client = Client::for_many_calls(trust_anchors, identity.as_ref(), settings.max_calls, settings.timeout)?;
        let endpoint = Endpoint::new(&settings, &expected.issuer, sought, trust_anchors, &timing)?;
        let CacheSettings { max_entries, max_bytes, max_age, inactive_max_age } = settings.cache;
        let active = memory(max_entries, max_bytes);
        let max_refused = MAX_REFUSED.min(max_entries);
        let refused = Cache::builder()
            .max_capacity(max_refused)
            .time_to_live(inactive_max_age)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        let denied = Cache::builder()
            .max_capacity(max_refused)
            .time_to_live(max_age)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Ok(Self {
            endpoint,
            timing,
            client,
            keys,
            jwks,
            observer,
            revocations,
            active,
            refused,
            denied,
            shared: ArcSwapOption::empty(),
            flights: Mutex::default(),
            places: Arc::new(Places::new(settings.max_calls)),
            complaint: Mutex::default(),
            expected,
            settings,
        })
    }

    /// Whether `self` has these settings.
    pub(super) fn is_of(&self, expected: &Expected, settings: &Settings, jwks: JwksSettings) -> bool {
        self.expected == *expected && self.settings == *settings && self.jwks == jwks
    }

    /// The cached token, if the issuer was asked at most `max_age` ago and within its own limit, and the token has not
    /// been revoked since.
    pub fn remembered(&self, hash: &TokenHash, max_age: Option<Duration>) -> Option<Arc<ActiveToken>> {
        let Remembered { token, basis: asked_at, .. } = self.active.get(hash)?;
        if max_age.is_some_and(|max_age| asked_at.elapsed() >= max_age) {
            return None;
        }
        self.revocations.clears(&token).then_some(token)
    }

    /// Why the token is not accepted, if the issuer was asked at most `max_age` ago and within `inactive_max_age`.
    fn refused(&self, hash: &TokenHash, max_age: Option<Duration>) -> Option<RefusedToken> {
        let (refused, asked_at) = self.refused.get(hash)?;
        max_age.is_none_or(|max_age| asked_at.elapsed() < max_age).then_some(refused)
    }

    /// The cached token, whether or not it has been revoked since.
    pub(super) fn last_said(&self, hash: &TokenHash) -> Option<Arc<ActiveToken>> {
        self.active.get(hash).map(|found| found.token)
    }

    /// Asks the issuer, unless it said within `max_age` and `inactive_max_age` that the token is not active.
    ///
    /// With `max_age` zero the call is this request's own; otherwise it may be shared with others that ask about the
    /// same token. If the token is revoked while the call is in progress, the response may be from before, so the
    /// issuer is asked again.
    ///
    /// # Errors
    /// [`ValidateError::Token`] when the issuer says that the token is not active, or the response does not fit, or the
    /// token is revoked during every call; [`ValidateError::Share`] when the client's other requests have all its places;
    /// [`ValidateError::Unavailable`] when there is no usable response.
    pub async fn introspect(
        self: &Arc<Self>,
        (token, hash): (PresentedToken<'_>, &TokenHash),
        asker: Asker,
        max_age: Option<Duration>,
        now: UnixTime,
    ) -> Result<Arc<ActiveToken>, ValidateError> {
        let mut found = self.introspect_once((token, hash), asker, max_age, now).await?;
        for _ in 1..QUESTIONS {
            if self.revocations.clears(&found) {
                return Ok(found);
            }
            found = self.introspect_once((token, hash), asker, max_age, now).await?;
        }
        if self.revocations.clears(&found) { Ok(found) } else { Err(ValidateError::revoked(&found)) }
    }

    async fn introspect_once(
        self: &Arc<Self>,
        (token, hash): (PresentedToken<'_>, &TokenHash),
        asker: Asker,
        max_age: Option<Duration>,
        now: UnixTime,
    ) -> Result<Arc<ActiveToken>, ValidateError> {
        if let Some(refused) = self.refused(hash, max_age) {
            return Err(refused.into());
        }
        let own = self.settings.cache.max_age;
        let max_age = max_age.map_or(own, |max_age| max_age.min(own));
        let mut span = self.span();
        let outcome = if max_age.is_zero() {
            match self.take_place(asker) {
                Ok(place) => self.ask(token.as_str(), (hash, TokenIds::of(token)), &place, now).await,
                Err(none) => Err(self.turned_away(none)),
            }
        } else {
            match self.join((token, hash), asker, max_age, now) {
                Ok(Joined::Known(outcome)) => {
                    span.forget();
                    return outcome;
                }
                Ok(Joined::Flight(mut flight)) => {
                    let outcome = flight.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
                    // Only a panic ends the call without an outcome.
                    outcome.unwrap_or_else(|| Err(self.unavailable("the call was lost")))
                }
                Err(error) => Err(error),
            }
        };
        outcome.inspect_err(|error| span.refused(error.code()))
    }

    /// What is recorded of a question, also if another request asks it.
    fn span(&self) -> trace::Child {
        let mut span = trace::child("introspection", trace::Kind::Client);
        span.set(names::ISSUER, || self.expected.name.clone());
        if span.id().is_some()
            && let Some(url) = self.endpoint.url()
        {
            span.set(names::SERVER_ADDRESS, || url.host_str().unwrap_or_default().to_owned());
            span.set(names::SERVER_PORT, || url.port_or_known_default().unwrap_or_default());
        }
        span
    }

    /// Makes one call, within the timeout, and caches its result.
    async fn ask(
        &self,
        token: &str,
        (hash, ids): (&TokenHash, TokenIds),
        place: &Place,
        now: UnixTime,
    ) -> Result<Arc<ActiveToken>, ValidateError> {
        let began = instant();
        let (answer, Asked { at: asked_at, generation }) = self.answered(token, place, now, began).await?;
        let asked_in = now.plus(asked_at.saturating_duration_since(began).as_secs());
        let now = moved_on(now, began);
        let mut fact = None;
        let judged = match answer {
            Answer::Active(answer) => {
                fact = self.fact(&answer, asked_in);
                let missing_audience = self.settings.missing_audience;
                ActiveToken::from_introspection(answer, ids, &self.expected, missing_audience, now).map(Arc::new)
            }
            Answer::Inactive => {
                let issuer = self.expected.name.clone();
                let named = Named { issuer, client_id: None, subject: None };
                Err(RefusedToken { error: TokenError::Inactive, named: Some(Arc::new(named)) })
            }
        };
        match &judged {
            Ok(token) => {
                token.cleared().note(generation);
                self.remember(hash, token, asked_at, now);
                if let Some(fact) = fact {
                    self.share_fact(hash, token, fact, asked_at, now);
                }
            }
            Err(refused) => {
                if self.shares() {
                    self.denied.insert(*hash, ());
                }
                self.active.invalidate(hash);
                self.refused.insert(*hash, (with_short_names(refused), asked_at));
            }
        }
        Ok(judged?)
    }

    /// What the issuer says of a token that it has issued just now; `None` if it says that it is not active.
    ///
    /// It is neither judged nor remembered: whether the token is for this resource is not the question.
    ///
    /// # Errors
    /// [`ValidateError::Share`] and [`ValidateError::Unavailable`], as for [`Self::introspect`].
    pub async fn describe(
        &self,
        token: &str,
        asker: Asker,
        now: UnixTime,
    ) -> Result<Option<ActiveAnswer>, ValidateError> {
        let mut span = self.span();
        let described = async {
            let place = self.take_place(asker).map_err(|none| self.turned_away(none))?;
            let (answer, _) = self.answered(token, &place, now, instant()).await?;
            Ok(match answer {
                Answer::Active(answer) => Some(answer),
                Answer::Inactive => None,
            })
        };
        described.await.inspect_err(|error: &ValidateError| span.refused(error.code()))
    }

    /// The answer to one call, within the timeout. `began` is the moment of `now`.
    async fn answered(
        &self,
        token: &str,
        place: &Place,
        now: UnixTime,
        began: Instant,
    ) -> Result<(Answer, Asked), ValidateError> {
        let answered = tokio::time::timeout(self.settings.timeout, self.call(token, place, now, began)).await;
        let (answer, asked) = match answered {
            Ok(Ok(answered)) => answered,
            Ok(Err(fault)) => return Err(self.fail(&fault, began.elapsed())),
            Err(_) => return Err(self.fail(&Fault::TimedOut, began.elapsed())),
        };
        let outcome = match &answer {
            Answer::Active(_) => IntrospectionOutcome::Active,
            Answer::Inactive => IntrospectionOutcome::Inactive,
        };
        self.observer.resource(Kind::Introspection, &self.expected.name, Ok(()));
        self.observer.introspection(&self.expected.name, outcome, began.elapsed());
        Ok((answer, asked))
    }

    fn remember(&self, hash: &TokenHash, token: &Arc<ActiveToken>, asked_at: Instant, now: UnixTime) {
        let CacheSettings { max_age, .. } = self.settings.cache;
        let left = token.expires_at().map_or(max_age, |at| Duration::from_secs(at.since(now)));
        let lifetime = left.min(max_age.saturating_sub(asked_at.elapsed()));
        // A later call may have returned earlier; its result is not overwritten.
        match self.refused.get(hash) {
            Some((_, refused_at)) if refused_at >= asked_at => return,
            Some(_) => self.refused.invalidate(hash),
            None => {}
        }
        if !lifetime.is_zero() {
            self.active.insert(*hash, Remembered { token: token.clone(), basis: asked_at, lifetime });
        }
    }

    /// The call itself, after waiting for its turn; returns the response and when the request was sent. `began` is the
    /// moment of `now`.
    async fn call(&self, token: &str, place: &Place, now: UnixTime, began: Instant) -> Result<(Answer, Asked), Fault> {
        let url = self.endpoint.url().ok_or(Fault::EndpointUnknown)?;
        let _turn = place.turn().await.ok_or(Fault::Busy)?;
        let asked = Asked { at: instant(), generation: self.revocations.generation() };
        let accept = match self.settings.response {
            Response::Json => introspection::JSON,
            Response::Jwt { .. } => introspection::JWT,
        };
        let form = || self.form(token, moved_on(now, began));
        let response = self.client.post_form(&url, accept, MAX_ANSWER_BYTES, form).await?;
        if response.status() != StatusCode::OK {
            let fault = Fault::of(response.status(), response.body());
            // The error of RFC 7009 §2.2.1: the issuer does not support this kind of token. Any client can cause this
            // response, so it does not mean that the gateway or the issuer is at fault.
            if fault.names("unsupported_token_type") {
                return Ok((Answer::Inactive, asked));
            }
            return Err(fault);
        }
        if !response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| is_media_type(kind, accept)) {
            return Err(Fault::ContentType { expected: accept });
        }
        Ok((self.read(response.body(), moved_on(now, began)).await?, asked))
    }

    async fn read(&self, body: &[u8], now: UnixTime) -> Result<Answer, Fault> {
        let Response::Jwt { audiences, decryption_keys } = &self.settings.response else {
            return Ok(Answer::from_json(body)?);
        };
        let nested = decryption_keys.as_ref().map(|keys| introspection::decrypted(body, keys)).transpose()?;
        let body = nested.as_deref().map_or(body, str::as_bytes);
        let source = self.keys.as_ref().ok_or(Fault::NoKeys)?;
        let known = source.in_force().map_err(|_| Fault::NoKeys)?;
        let signer = Signer { issuer: &self.expected.issuer, audiences, algorithms: &self.expected.algorithms };
        let first = Answer::from_jwt(body, &signer, &known.keys, now);
        if let Err(AnswerError::Statement(error)) = &first
            && error.depends_on_keys()
            && let Reread::Newer(newer) = source.refresh_for_token(known.generation).await
        {
            return Ok(Answer::from_jwt(body, &signer, &newer.keys, now)?);
        }
        Ok(first?)
    }

    async fn form(&self, token: &str, now: UnixTime) -> Result<String, Fault> {
        let assertion = match &self.settings.authentication {
            Authentication::PrivateKeyJwt(key) => {
                Some(key.assertion(&self.settings.client_id, &self.expected.issuer, now).await?)
            }
            Authentication::Certificate(..) => None,
        };
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("token", token).append_pair("token_type_hint", "access_token");
        match assertion {
            Some(assertion) => {
                form.append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
                form.append_pair("client_assertion", &assertion);
            }
            // RFC 8705 §2: the request names the client_id, and the connection's certificate proves it.
            None => {
                form.append_pair("client_id", &self.settings.client_id);
            }
        }
        Ok(form.finish())
    }

    fn take_place(&self, asker: Asker) -> Result<Place, NoPlace> {
        self.places.take(asker, self.settings.max_waiting)
    }

    fn turned_away(&self, none: NoPlace) -> ValidateError {
        match none {
            NoPlace::Full => self.fail(&Fault::Busy, Duration::ZERO),
            NoPlace::Share => {
                let outcome = IntrospectionOutcome::ShareExceeded;
                self.observer.introspection(&self.expected.name, outcome, Duration::ZERO);
                ShareExceeded::Introspection { issuer: self.expected.name.clone() }.into()
            }
        }
    }

    fn fail(&self, fault: &Fault, took: Duration) -> ValidateError {
        self.observer.introspection(&self.expected.name, fault.outcome(), took);
        if !matches!(fault, Fault::Busy) {
            self.observer.resource(Kind::Introspection, &self.expected.name, Err(fault));
        }
        let due = lock(&self.complaint).is_due();
        if let Some(unsaid) = due {
            warn!(issuer = %self.expected.name, %fault, unsaid, "introspection failed");
        }
        self.unavailable(&fault.to_string())
    }

    fn unavailable(&self, detail: &str) -> ValidateError {
        Unavailable::Introspection { issuer: self.expected.name.clone(), detail: detail.into() }.into()
    }

    /// How many active tokens are cached.
    pub(super) fn entries(&self) -> u64 {
        self.active.run_pending_tasks();
        self.active.entry_count()
    }
}

/// When an introspection request was sent.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// The moment from which the age of the response counts.
    at: Instant,
    /// The generation of the revocations; the response may not reflect later ones.
    generation: u64,
}

/// The current time of a request that arrived at `now`, measured from `began`: waiting for a turn and a response may
/// take longer than the clock skew that is tolerated.
fn moved_on(now: UnixTime, began: Instant) -> UnixTime {
    now.plus(began.elapsed().as_secs())
}

/// The refusal without names that are long: they are the issuer's, and there is room for [`MAX_REFUSED`] refusals.
fn with_short_names(refused: &RefusedToken) -> RefusedToken {
    let short = |name: &Option<Box<str>>| name.clone().filter(|name| name.len() <= MAX_NAME);
    let named = refused.named.as_deref().map(|Named { issuer, client_id, subject }| {
        Arc::new(Named { issuer: issuer.clone(), client_id: short(client_id), subject: short(subject) })
    });
    RefusedToken { error: refused.error.clone(), named }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The most calls for one request: a second one if the token is revoked meanwhile, and a third if the call that it then
/// shares was already in progress.
const QUESTIONS: usize = 3;
/// The most refused tokens in the cache; anyone can invent more.
const MAX_REFUSED: u64 = 10_000;
/// The longest name of a client or a subject that is cached with a refusal, in bytes.
const MAX_NAME: usize = 256;
