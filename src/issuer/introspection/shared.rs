//! The second level of the cache: what the issuer said to other replicas, in a store that is asked before the issuer.
//!
//! The store is neither trusted nor needed: what it says counts if a replica has sealed it for this token, this issuer and this
//! way of asking it, and for no longer than the issuer's own answer would here ([`fapi::token::shared`]). In every other case the
//! issuer is asked.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fapi::UnixTime;
use fapi::token::introspection::ActiveAnswer;
use fapi::token::shared::{Basis, Fact, MAX_SEALED_BYTES, Place, SealKeys, kept_for};
use fapi::token::{ActiveToken, TokenHash, TokenIds};
use reqwest::Url;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::warn;

use super::super::{SharedOutcome, SharedWrite};
use super::fault::Complaint;
use super::{Authentication, Introspector, Response, lock, moved_on};
use crate::clock::instant;
use crate::sync::Mutex;
use crate::tls_client::TrustAnchors;

/// A store in which replicas share answers; nothing of it is trusted.
#[async_trait]
pub trait AnswerStore: Send + Sync {
    /// Its configured name.
    fn name(&self) -> &str;
    /// The key of what has this name in it.
    fn key(&self, name: &str) -> String;
    /// What is kept under this key, `within` this time at most; empty if nothing is, and cut off after `most` bytes and one.
    async fn get(&self, key: &str, most: usize, within: Duration) -> Result<Vec<u8>, NotShared>;
    /// Keeps this under the key for this long.
    async fn set(&self, key: &str, value: &[u8], lifetime: Duration) -> Result<(), NotShared>;
}

/// Why the store has not done what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotShared {
    /// It did not answer, which its own metrics and log say.
    Unanswered,
    /// It refused, or has something else under the key; why, for operators.
    Refused(Box<str>),
}

/// How an issuer's answers are shared: the keys `store` and `seal_key` of `introspection.cache` in gateway.yaml.
#[derive(Clone, Debug)]
pub struct Sharing {
    /// The index of the store.
    pub store: usize,
    /// What the answers are sealed with.
    pub keys: SealKeys,
}

/// The second level of the cache of one issuer.
pub(in super::super) struct SharedAnswers {
    store: Arc<dyn AnswerStore>,
    keys: SealKeys,
    basis: Basis,
    writes: Arc<Semaphore>,
    complaint: Mutex<Complaint>,
}

impl SharedAnswers {
    pub(in super::super) fn new(store: Arc<dyn AnswerStore>, keys: SealKeys, basis: Basis) -> Self {
        let writes = Arc::new(Semaphore::new(MAX_WRITES));
        Self { store, keys, basis, writes, complaint: Mutex::default() }
    }

    fn place(&self, endpoint: &Url, hash: &TokenHash) -> Place {
        Place::new(|name| self.store.key(name), &self.basis, endpoint.as_str(), hash)
    }

    /// Logs at most one line a second.
    fn complain(&self, issuer: &str, why: &str) {
        let due = lock(&self.complaint).is_due();
        if let Some(unsaid) = due {
            let store = self.store.name();
            warn!(
                issuer,
                store, why, unsaid, "an introspection answer in the store cannot be used; the issuer is asked"
            );
        }
    }

    async fn write(&self, place: &Place, fact: Vec<u8>, lifetime: Duration) -> Result<(), NotShared> {
        let sealed = self.keys.seal(place, fact).map_err(|error| NotShared::Refused(error.to_string().into()))?;
        self.store.set(place.as_str(), &sealed, lifetime).await
    }
}

impl Introspector {
    /// What the issuer's answers, and how they are read, depend on besides the endpoint and the token.
    pub(in super::super) fn basis(&self, jwks_uri: Option<&Url>, trust_anchors: &TrustAnchors) -> Basis {
        let Self { expected, settings, .. } = self;
        let texts = |list: &[Box<str>]| Basis::of(&list.iter().map(|text| text.as_bytes()).collect::<Vec<_>>());
        let algorithms: Vec<&[u8]> =
            expected.algorithms.iter().map(|algorithm| algorithm.as_str().as_bytes()).collect();
        let method: &[u8] = match settings.authentication {
            Authentication::PrivateKeyJwt(_) => b"key",
            Authentication::Certificate(..) => b"certificate",
        };
        let response = match &settings.response {
            Response::Json => Basis::of(&[b"json"]),
            // Not with which keys: replicas that change over to others read the same.
            Response::Jwt { audiences, decryption_keys } => {
                let form: &[u8] = if decryption_keys.is_some() { b"encrypted jwt" } else { b"jwt" };
                Basis::of(&[form, texts(audiences).as_bytes()])
            }
        };
        let anchors = match trust_anchors {
            TrustAnchors::System => Basis::of(&[b"system"]),
            TrustAnchors::Given(anchors) => {
                let anchors = Basis::of(&anchors.iter().map(|anchor| &**anchor).collect::<Vec<_>>());
                Basis::of(&[b"given", anchors.as_bytes()])
            }
        };
        // Their debug form is derived, so it has every member.
        let form = format!("{:?} {:?}", expected.form, settings.missing_audience);
        Basis::of(&[
            expected.issuer.as_bytes(),
            texts(&expected.audiences).as_bytes(),
            Basis::of(&algorithms).as_bytes(),
            form.as_bytes(),
            settings.client_id.as_bytes(),
            method,
            response.as_bytes(),
            jwks_uri.map_or("", Url::as_str).as_bytes(),
            anchors.as_bytes(),
        ])
    }

    /// Shares answers in this way from now on; `None` ends it.
    pub(in super::super) fn share(&self, shared: Option<SharedAnswers>) {
        self.shared.store(shared.map(Arc::new));
    }

    pub(super) fn shares(&self) -> bool {
        self.shared.load().is_some()
    }

    /// The token, if the issuer called it active less than `max_age` ago when another replica asked, and this one knows of nothing
    /// that speaks against it. It is remembered for as long as if this one had asked.
    pub(super) async fn shared(
        &self,
        (hash, ids): (&TokenHash, TokenIds),
        max_age: Duration,
        now: UnixTime,
    ) -> Option<Arc<ActiveToken>> {
        let shared = self.shared.load_full()?;
        if self.denied.contains_key(hash) {
            return None;
        }
        let place = shared.place(&*self.endpoint.url()?, hash);
        let began = instant();
        let within = self.settings.timeout / PART_OF_THE_TIME;
        let (outcome, found) = match shared.store.get(place.as_str(), MAX_SEALED_BYTES, within).await {
            Ok(sealed) if sealed.is_empty() => (SharedOutcome::Miss, None),
            Ok(sealed) => match self.open(&shared, &place, &sealed, (hash, ids), max_age, moved_on(now, began)) {
                Some(token) => (SharedOutcome::Hit, Some(token)),
                None => (SharedOutcome::Unusable, None),
            },
            Err(NotShared::Unanswered) => (SharedOutcome::Error, None),
            Err(NotShared::Refused(why)) => {
                shared.complain(&self.expected.name, &why);
                (SharedOutcome::Error, None)
            }
        };
        self.observer.shared_answer(&self.expected.name, outcome);
        found
    }

    fn open(
        &self,
        shared: &SharedAnswers,
        place: &Place,
        sealed: &[u8],
        (hash, ids): (&TokenHash, TokenIds),
        max_age: Duration,
        now: UnixTime,
    ) -> Option<Arc<ActiveToken>> {
        let Some(fact) = shared.keys.open(place, sealed).and_then(|fact| Fact::from_bytes(&fact)) else {
            shared.complain(&self.expected.name, "it was not sealed for its place with a key of `seal_key`");
            return None;
        };
        let age = fact.age_at(now).filter(|age| *age < max_age)?;
        let asked_at = instant().checked_sub(age)?;
        let missing_audience = self.settings.missing_audience;
        let token = ActiveToken::from_introspection(fact.into_answer(), ids, &self.expected, missing_audience, now);
        let token = Arc::new(token.ok()?);
        // Whether a revocation was before the answer, the clocks of two replicas cannot say; the issuer can.
        if !self.revocations.clears(&token) {
            return None;
        }
        if let Some(own) = self.remembered(hash, Some(max_age)) {
            return Some(own);
        }
        self.remember(hash, &token, asked_at, now);
        // In this order: who denies a token says so first, and forgets it then.
        if self.denied.contains_key(hash) {
            self.active.invalidate(hash);
            return None;
        }
        Some(token)
    }

    /// What is to be shared of this answer to a question of this second, if anything is.
    pub(super) fn fact(&self, answer: &ActiveAnswer, asked_in: UnixTime) -> Option<Vec<u8>> {
        if !self.shares() {
            return None;
        }
        let fact = Fact::bytes_of(answer, asked_in);
        if fact.is_none() {
            self.observer.shared_write(&self.expected.name, SharedWrite::Skipped);
        }
        fact
    }

    /// Shares a fact about a token that was judged good here, without waiting for it.
    pub(super) fn share_fact(
        &self,
        hash: &TokenHash,
        token: &ActiveToken,
        fact: Vec<u8>,
        asked_at: Instant,
        now: UnixTime,
    ) {
        let (Some(shared), Some(endpoint)) = (self.shared.load_full(), self.endpoint.url()) else { return };
        let left = token.expires_at().map_or(Duration::MAX, |at| Duration::from_secs(at.since(now)));
        let kept_for = kept_for(self.settings.cache.max_age, asked_at.elapsed()).map(|kept_for| kept_for.min(left));
        let Some(lifetime) = kept_for.filter(|lifetime| !lifetime.is_zero()) else { return };
        let (observer, issuer) = (self.observer.clone(), self.expected.name.clone());
        let Ok(permit) = shared.writes.clone().try_acquire_owned() else {
            return observer.shared_write(&issuer, SharedWrite::Skipped);
        };
        let place = shared.place(&endpoint, hash);
        tokio::spawn(async move {
            let written = shared.write(&place, fact, lifetime).await;
            drop(permit);
            if let Err(NotShared::Refused(why)) = &written {
                shared.complain(&issuer, why);
            }
            let outcome = if written.is_ok() { SharedWrite::Stored } else { SharedWrite::Error };
            observer.shared_write(&issuer, outcome);
        });
    }
}

/// Which part of the time that the issuer may take to answer a look-up may take at most, before the issuer is asked.
const PART_OF_THE_TIME: u32 = 4;
/// How many answers may be on their way to the store at a time; more are not shared.
const MAX_WRITES: usize = 256;
