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
use super::error::{Named, TokenError};
use super::hash::{TokenId, TokenIds};
use crate::UnixTime;

/// A token that its issuer made for this resource and that was active when it was judged.
pub struct ActiveToken {
    ids: TokenIds,
    issuer: Arc<str>,
    claims: Arc<Claims>,
    confirmation: Result<Confirmation, ConfirmationError>,
    /// The end of the waiver that it depends on, if it does.
    waived_until: Option<UnixTime>,
    cleared: ClearedUpTo,
}

impl ActiveToken {
    pub(super) fn with_claims(
        members: Map<String, Value>,
        confirmation: Result<Confirmation, ConfirmationError>,
        ids: TokenIds,
        expected: &Expected,
        now: UnixTime,
    ) -> Result<Self, TokenError> {
        let claims = Arc::new(Claims::read(members)?);
        claims.check_times(now)?;
        let issuer = expected.name.clone();
        Ok(Self { ids, issuer, claims, confirmation, waived_until: None, cleared: ClearedUpTo::default() })
    }

    /// The same token, which depends on a waiver until then.
    pub(super) fn waived_until(self, until: Option<UnixTime>) -> Self {
        Self { waived_until: until, ..self }
    }

    /// The claims, if the token is valid at `now`; the only access to them for decisions, cached or not.
    ///
    /// # Errors
    /// [`TokenError::Expired`], [`TokenError::NotYetValid`], [`TokenError::IssuedInFuture`], and
    /// [`TokenError::WaiverOver`].
    pub fn claims_at(&self, now: UnixTime) -> Result<&Arc<Claims>, TokenError> {
        self.claims.check_times(now)?;
        if let Some(until) = self.waived_until.filter(|until| *until <= now) {
            return Err(TokenError::WaiverOver { until, now });
        }
        Ok(&self.claims)
    }

    /// Whose it is, for the audit of a refusal.
    pub fn named(&self) -> Named {
        let text = |claim| self.claims.text(claim).map(Into::into);
        Named { issuer: self.issuer.clone(), client_id: text("client_id"), subject: text("sub") }
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

    /// Its id in the audit.
    pub const fn id(&self) -> TokenId {
        self.ids.own()
    }

    /// The ids that a revocation may know it by.
    pub(crate) const fn ids(&self) -> TokenIds {
        self.ids
    }

    /// When it expires; an introspected token may not say.
    pub fn expires_at(&self) -> Option<UnixTime> {
        self.claims.expires_at()
    }

    /// When it is no longer active, for caches: when it expires, or the waiver ends that it depends on.
    pub fn ends_at(&self) -> Option<UnixTime> {
        self.expires_at().into_iter().chain(self.waived_until).min()
    }

    /// When it was issued, rounded down, for revocations; an introspected token may not say.
    pub fn issued_at(&self) -> Option<UnixTime> {
        self.claims.issued_at()
    }

    /// The revocations that are known not to concern it, for caches.
    pub const fn cleared(&self) -> &ClearedUpTo {
        &self.cleared
    }

    /// The bytes by which the process grows if the token is cached, approximately: its size in memory, with what a cache
    /// takes for an entry.
    pub fn size(&self) -> usize {
        const CACHED: usize = 512;
        let own = size_of::<Self>().saturating_add(size_of::<Claims>()).saturating_add(CACHED);
        own.saturating_add(self.claims.size())
    }
}

impl fmt::Debug for ActiveToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveToken").field("id", &self.id()).field("issuer", &self.issuer).finish_non_exhaustive()
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

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;
    use crate::credentials::PresentedToken;
    use crate::testing::expected;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    /// A token with this text and these claims.
    fn active(text: &str, claims: Value) -> Result<ActiveToken, TokenError> {
        let Value::Object(members) = claims else { panic!("an object") };
        let ids = TokenIds::of(PresentedToken::unparsed(text));
        ActiveToken::with_claims(members, Err(ConfirmationError::Unbound), ids, &expected(), NOW)
    }

    #[test]
    fn at_05_a_token_is_active_until_it_expires_cached_or_not() {
        let token = active("opaque", json!({ "exp": NOW.0 + 60 })).unwrap();
        assert_eq!((token.expires_at(), active("opaque", json!({})).unwrap().expires_at()), (Some(NOW.plus(60)), None));
        assert!(token.claims_at(NOW.plus(59)).is_ok()); // control
        let late = NOW.plus(60);
        assert_eq!(token.claims_at(late).map(drop), Err(TokenError::Expired { at: late, now: late }));
        assert!(active("opaque", json!({ "exp": NOW.0 })).is_err());
    }

    #[test]
    fn atk_tk_16_a_token_is_revoked_by_the_id_of_each_of_its_spellings() {
        let token = format!("a.b.{}", URL_SAFE_NO_PAD.encode([1; 64]));
        let ids = active(&token, json!({})).unwrap().ids();
        assert_eq!(ids, TokenIds::of(PresentedToken::unparsed(&token)));
        assert_eq!(ids.all().count(), 2, "its own, and that with the other signature");
    }

    #[test]
    fn a_token_is_cleared_up_to_the_latest_generation_that_was_checked() {
        let token = active("opaque", json!({})).unwrap();
        let noted = [0, 7, 5, 8].map(|generation| {
            token.cleared().note(generation);
            token.cleared().get()
        });
        assert_eq!(noted, [0, 7, 7, 8]);
    }

    #[test]
    fn the_size_of_a_token_counts_its_text() {
        let size = |text: usize| active("opaque", json!({ "sub": "x".repeat(text) })).unwrap().size();
        assert!(size(0) > size_of::<ActiveToken>());
        assert_eq!(size(1000) - size(0), 1000);
    }
}
