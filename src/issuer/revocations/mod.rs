//! Revocations: the two ways to add to the table that every cached token is checked against.
//!
//! A revocation has a different effect on the two kinds of tokens: a JWT that it covers is refused; a cached
//! introspection response from before it is no longer used, and the issuer is asked again.

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
    #[error("the table of revocations is full; send it again later, or raise admin.revocations.max_entries")]
    Full,
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

    /// How many revocations are in effect.
    pub fn revocations(&self, now: UnixTime) -> usize {
        self.revocations.entries(now)
    }

    /// Revokes what a request names; from then on no request is permitted with it.
    ///
    /// # Errors
    /// [`RevokeError`]; then nothing was recorded.
    pub fn revoke(&self, body: &[u8], now: UnixTime) -> Result<Recorded, RevokeError> {
        let settings = self.intake.as_ref().ok_or(RevokeError::Disabled)?;
        let issuer_of = |called: &str| {
            let mut expected = self.entries.iter().map(|entry| &entry.expected);
            let found = expected.find(|expected| *expected.name == *called || *expected.issuer == *called);
            found.map(|expected| expected.issuer.clone())
        };
        let mut revocation = Revocation::from_json(body, issuer_of, Reach::Gateway, now)?;
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
        self.record(None, [revocation].into_iter().chain(same).collect(), settings, now)
    }

    /// Revokes what a security event reports (RFC 8935 §2).
    ///
    /// # Errors
    /// [`RevokeError`]; then nothing was recorded.
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
        let SecurityEvent { id, revocations } = verify(body, &transmitter, keys, now).await?;
        self.record(Some(id), revocations, settings, now)
    }

    fn record(
        &self,
        event: Option<Box<str>>,
        revocations: Vec<Revocation>,
        settings: &Settings,
        now: UnixTime,
    ) -> Result<Recorded, RevokeError> {
        let Settings { keep, max_entries, .. } = *settings;
        self.revocations.record(&revocations, keep, max_entries, now).map_err(|Full| RevokeError::Full)?;
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
    now: UnixTime,
) -> Result<SecurityEvent, RevokeError> {
    let known = source.in_force()?;
    let first = SecurityEvent::verify(body, transmitter, &known.keys, Reach::Gateway, now);
    if let Err(EventError::Statement(error)) = &first
        && error.depends_on_keys()
    {
        match source.refresh_for_token(known.generation).await {
            Reread::Newer(newer) => {
                return Ok(SecurityEvent::verify(body, transmitter, &newer.keys, Reach::Gateway, now)?);
            }
            // A transmitter does not send again what was refused as invalid, and the revocation would be lost.
            Reread::NotRead if matches!(error, StatementError::KeyUnknown { .. }) => {
                return Err(source.not_read().into());
            }
            Reread::Same | Reread::NotRead => {}
        }
    }
    Ok(first?)
}
