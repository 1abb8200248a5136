//! Revocations: the two ways to add to the table that every cached token is checked against.
//!
//! A revocation has a different effect on the two kinds of tokens: a JWT that it covers is refused; a cached
//! introspection response from before it is no longer used, and the issuer is asked again.
//!
//! Replicas can share the table, by a list in a store.

mod list;
mod shared;
mod table;

use std::sync::Arc;
use std::time::Duration;

use fapi::UnixTime;
use fapi::jose::statement::{Signer, StatementError};
use fapi::policy::IssuerIndex;
use fapi::rejection::Unavailable;
use fapi::revocation::security_event::{EventError, SecurityEvent, claimed_issuer};
use fapi::revocation::{Reach, RequestError, Revocation, Subject};
use fapi::token::{ActiveToken, TokenHash};

use self::table::Full;
use super::jwks::{KeySource, Reread};
use super::{Issuers, Judge};
use crate::clock::Clock;
use crate::resource::Resource;
use crate::store::{NoAnswer, Store};

pub use self::shared::{SharedRevocations, Sharing};
pub use self::table::Revocations;

/// The section `revocations` of `admin` in gateway.yaml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a revocation is kept if it is not known when the last of its tokens expires.
    pub keep: Duration,
    /// How many there may be at a time.
    pub max_entries: usize,
    /// The issuers whose security events are accepted.
    pub security_events: Vec<Source>,
}

/// An issuer whose security events are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The issuer.
    pub issuer: IssuerIndex,
    /// The value of `aud` that means this gateway.
    pub audience: Box<str>,
}

/// Why nothing was recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// The configuration has no section `revocations`.
    #[error("revocations are not enabled")]
    Disabled,
    /// The request is at fault.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The event is at fault.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The table is full.
    #[error("the table of revocations is full; send it again later, or raise its max_entries")]
    Full,
    /// The store that replicas share did not say that it has it.
    #[error("the store {store:?} did not record it: {why}")]
    NotShared {
        /// Its configured name.
        store: Arc<str>,
        /// Why not.
        why: NoAnswer,
    },
    /// The store that replicas share had it, and has it no more.
    #[error("the store {store:?} has lost it at once: somebody else removes what is recorded there")]
    Removed {
        /// Its configured name.
        store: Arc<str>,
    },
    /// There are no keys to verify an event with.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What was recorded.
#[derive(Debug)]
pub struct Recorded {
    /// The `jti` of the security event, if it was one.
    pub event: Option<Box<str>>,
    /// What it revokes; empty if the event was about something else.
    pub revocations: Vec<Revocation>,
}

impl Issuers {
    /// The same issuers, accepting revocations by these settings; `None` accepts none.
    #[must_use]
    pub fn with_revocations(mut self, settings: Option<Settings>) -> Self {
        self.intake = settings;
        self
    }

    /// Whether revocations are accepted.
    pub const fn takes_revocations(&self) -> bool {
        self.intake.is_some()
    }

    /// The same issuers, whose revocations replicas share in this store; `resource` is what is noted of them.
    ///
    /// `before` are those of the previous configuration, if the process serves with them.
    #[must_use]
    pub fn sharing_revocations(
        mut self,
        (store, sharing): (Arc<Store>, Sharing),
        clock: Clock,
        resource: Arc<Resource>,
        before: Option<&Self>,
    ) -> Self {
        let known = before.and_then(|before| before.shared_revocations.as_deref());
        let (table, noted) = (self.revocations.clone(), (clock, resource));
        let shared = SharedRevocations::new(table, store, sharing, noted, known, before.is_some());
        self.shared_revocations = Some(Arc::new(shared));
        self
    }

    /// The name of the store whose revocations have not been read since the start, if there is one.
    pub fn unread_revocations(&self) -> Option<&Arc<str>> {
        let shared = self.shared_revocations.as_ref()?;
        (!shared.is_known()).then(|| shared.store_name())
    }

    /// Waits until [`Self::unread_revocations`] names none.
    pub async fn revocations_read(&self) {
        while self.unread_revocations().is_some() {
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Checks that the revocations of other replicas are known up to a time that is recent enough.
    ///
    /// # Errors
    /// [`Unavailable::RevocationsNeverRead`], [`Unavailable::RevocationsTooOld`].
    pub fn knows_revocations(&self) -> Result<(), Unavailable> {
        self.shared_revocations.as_ref().map_or(Ok(()), |shared| shared.check())
    }

    /// How many revocations are in effect.
    pub fn revocations(&self, now: UnixTime) -> usize {
        self.revocations.entries(now)
    }

    /// Revokes what a request names; from then on no request is permitted with it.
    ///
    /// # Errors
    /// [`RevokeError`]; then nothing was recorded, unless replicas share it: then the store may have it all the same.
    pub async fn revoke(&self, body: &[u8], now: UnixTime) -> Result<Recorded, RevokeError> {
        let settings = self.intake.as_ref().ok_or(RevokeError::Disabled)?;
        let issuer_of = |called: &str| {
            let mut expected = self.entries.iter().map(|entry| &entry.expected);
            let found = expected.find(|expected| *expected.name == *called || *expected.issuer == *called);
            found.map(|expected| expected.issuer.clone())
        };
        let mut revocation = Revocation::from_json(body, issuer_of, self.reach(), now)?;
        let mut same = None;
        if let Subject::Token(hash) = &revocation.subject
            && let Some(token) = self.remembered_by_hash(hash)
            && let Ok(claims) = token.claims_at(now)
            && revocation.issuer.as_deref().is_none_or(|issuer| claims.text("iss") == Some(issuer))
        {
            revocation.expires_at = revocation.expires_at.max(token.expires_at());
            // An issuer that is asked may read more spellings of a token than `names_of` knows; the jti of all of them is
            // the same.
            same = claims.text("jti").map(|jti| Revocation {
                issuer: claims.text("iss").map(Box::from),
                subject: Subject::Jti(jti.into()),
                ..revocation.clone()
            });
        }
        self.record(None, [revocation].into_iter().chain(same).collect(), settings, now).await
    }

    /// Revokes what a security event reports (RFC 8935 §2).
    ///
    /// # Errors
    /// [`RevokeError`], as from [`Self::revoke`].
    pub async fn revoke_by_event(&self, body: &[u8], now: UnixTime) -> Result<Recorded, RevokeError> {
        let settings = self.intake.as_ref().ok_or(RevokeError::Disabled)?;
        let claimed = claimed_issuer(body)?;
        let known = settings.security_events.iter().find_map(|source| {
            let entry = self.entries.get(source.issuer.0)?;
            (*entry.expected.issuer == *claimed).then_some((source, entry, entry.keys.as_ref()?))
        });
        let Some((source, entry, keys)) = known else { return Err(EventError::issuer_unknown(&claimed).into()) };
        let transmitter = Signer {
            issuer: &entry.expected.issuer,
            audiences: std::slice::from_ref(&source.audience),
            algorithms: &entry.expected.algorithms,
        };
        let SecurityEvent { id, revocations } = verify(body, &transmitter, keys, self.reach(), now).await?;
        self.record(Some(id), revocations, settings, now).await
    }

    fn reach(&self) -> Reach {
        if self.shared_revocations.is_some() { Reach::Replicas } else { Reach::Gateway }
    }

    async fn record(
        &self,
        event: Option<Box<str>>,
        revocations: Vec<Revocation>,
        settings: &Settings,
        now: UnixTime,
    ) -> Result<Recorded, RevokeError> {
        let Settings { keep, max_entries, .. } = *settings;
        match &self.shared_revocations {
            Some(shared) => shared.record(&revocations, keep, now).await?,
            None => {
                self.revocations.record(&revocations, keep, max_entries, now).map_err(|Full| RevokeError::Full)?;
            }
        }
        Ok(Recorded { event, revocations })
    }

    fn remembered_by_hash(&self, hash: &TokenHash) -> Option<Arc<ActiveToken>> {
        let verified = self.verified(self.entries.iter(), hash).map(|(_, token)| token);
        verified.or_else(|| {
            self.entries.iter().find_map(|entry| match &entry.judge {
                Judge::Issuer(introspector) => introspector.last_said(hash),
                Judge::Keys(_) => None,
            })
        })
    }
}

/// Like [`SecurityEvent::verify`], but reads the keys again if none fits.
async fn verify(
    body: &[u8],
    transmitter: &Signer<'_>,
    source: &Arc<KeySource>,
    reach: Reach,
    now: UnixTime,
) -> Result<SecurityEvent, RevokeError> {
    let known = source.in_force()?;
    let first = SecurityEvent::verify(body, transmitter, &known.keys, reach, now);
    if let Err(EventError::Statement(error)) = &first
        && error.depends_on_keys()
    {
        match source.refresh_for_token(known.generation).await {
            Reread::Newer(newer) => return Ok(SecurityEvent::verify(body, transmitter, &newer.keys, reach, now)?),
            // A transmitter does not send again what was refused as invalid, and the revocation would be lost.
            Reread::NotRead if matches!(error, StatementError::KeyUnknown { .. }) => {
                return Err(source.not_read().into());
            }
            Reread::Same | Reread::NotRead => {}
        }
    }
    Ok(first?)
}

const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
