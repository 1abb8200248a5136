//! An authentic access token from a configured issuer for this resource (RFC 9068 §4, RFC 7662 §4).
//!
//! Says nothing about who sent it ([`BoundToken::prove`](crate::sender::BoundToken::prove)) or what it may do
//! ([`Guard::authorize`](crate::permit::Guard::authorize)). It can be cached: its times are checked again whenever its
//! claims are read.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};

use super::claims::{Claims, Expected};
use super::confirmation::{Confirmation, ConfirmationError};
use super::error::TokenError;
use super::hash::{OtherSpellings, TokenHash, TokenId};
use crate::UnixTime;

/// A token that its issuer made for this resource and that was active when it was judged.
pub struct ActiveToken {
    id: TokenId,
    others: OtherSpellings,
    issuer: Arc<str>,
    claims: Arc<Claims>,
    confirmation: Result<Confirmation, ConfirmationError>,
    cleared: ClearedUpTo,
}

impl ActiveToken {
    pub(super) fn with_claims(
        members: Map<String, Value>,
        confirmation: Result<Confirmation, ConfirmationError>,
        (hash, others): (&TokenHash, OtherSpellings),
        expected: &Expected,
        now: UnixTime,
    ) -> Result<Self, TokenError> {
        let claims = Arc::new(Claims::read(members)?);
        claims.check_times(now)?;
        let issuer = expected.name.clone();
        Ok(Self { id: hash.id(), others, issuer, claims, confirmation, cleared: ClearedUpTo::default() })
    }

    /// The claims, if the token is valid at `now`; the only access to them for decisions, cached or not.
    ///
    /// # Errors
    /// [`TokenError::Expired`], [`TokenError::NotYetValid`], [`TokenError::IssuedInFuture`].
    pub fn claims_at(&self, now: UnixTime) -> Result<&Arc<Claims>, TokenError> {
        self.claims.check_times(now)?;
        Ok(&self.claims)
    }

    /// The claims for the audit record, whatever the time; not for decisions.
    pub fn claims_for_audit(&self) -> &Claims {
        &self.claims
    }

    /// The claims that revocations are matched against, whatever the time: an expired token can be revoked too.
    pub(crate) fn claims_for_revocation(&self) -> &Claims {
        &self.claims
    }

    /// What the token is bound to, or why it is bound to nothing that can be proven.
    pub const fn confirmation(&self) -> Result<&Confirmation, ConfirmationError> {
        match &self.confirmation {
            Ok(confirmation) => Ok(confirmation),
            Err(error) => Err(*error),
        }
    }

    /// The configured name of its issuer.
    pub const fn issuer(&self) -> &Arc<str> {
        &self.issuer
    }

    /// The token's name in the audit.
    pub const fn id(&self) -> TokenId {
        self.id
    }

    /// The ids that a revocation may know it by: its own, and those of its [`OtherSpellings`].
    pub(crate) fn ids_for_revocation(&self) -> impl Iterator<Item = TokenId> {
        std::iter::once(self.id).chain(self.others.ids())
    }

    /// When it expires, for caches; an introspected token may not say.
    pub fn expires_at(&self) -> Option<UnixTime> {
        self.claims.expires_at()
    }

    /// When it was issued, rounded down, for revocations; an introspected token may not say.
    pub fn issued_at(&self) -> Option<UnixTime> {
        self.claims.issued_at()
    }

    /// The revocations that are known not to concern it, for caches.
    pub const fn cleared(&self) -> &ClearedUpTo {
        &self.cleared
    }

    /// Its approximate size in memory in bytes, for caches.
    pub fn size(&self) -> usize {
        size_of::<Self>().saturating_add(size_of::<Claims>()).saturating_add(self.claims.size())
    }
}

impl fmt::Debug for ActiveToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveToken").field("id", &self.id).field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// The generation of a table of revocations up to which a token is known not to be revoked; only later entries can
/// concern it.
#[derive(Debug, Default)]
pub struct ClearedUpTo(AtomicU64);

impl ClearedUpTo {
    /// The generation; 0 before the first check.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Records that no revocation up to `generation` concerns it.
    pub fn note(&self, generation: u64) {
        self.0.fetch_max(generation, Ordering::Relaxed);
    }
}
