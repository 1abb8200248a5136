//! The straight line of one request, and the record of what came of it.
//!
//! Order and nothing else: each step is a call into [`fapi`], the only waits are for the token and for the replay log. What a step
//! proves is a type that the next step needs, so that leaving one out does not compile.

use std::sync::Arc;

use fapi::UnixTime;
use fapi::credentials::Credentials;
use fapi::dpop::{Freshness, ProofContext, ProofKeys};
use fapi::headers::{InteractionId, StripList, TraceContext};
use fapi::message::{self, Facts};
use fapi::peer::Peer;
use fapi::permit::{Admission, Authorized, Judged, Permit};
use fapi::rejection::{Cause, Rejection, Seen};
use fapi::route::{Origins, Routes, Target};
use fapi::sender::BoundToken;
use fapi::token::TokenHash;
use http::request::Parts;

use crate::issuer::Issuers;
use crate::replay::ReplayLog;

/// Everything a decision depends on, except the request and the time.
pub struct Gateway {
    /// What may be called, and by whom.
    pub routes: Routes,
    /// Whose tokens count.
    pub issuers: Arc<Issuers>,
    /// How large a message may be.
    pub limits: message::Limits,
    /// Which names a client may not send on.
    pub strip: StripList,
    /// How old a DPoP proof may be.
    pub freshness: Freshness,
    /// Proof keys that were parsed before.
    pub proof_keys: Arc<dyn ProofKeys>,
    /// Which proofs were used.
    pub replay: Arc<ReplayLog>,
}

impl Gateway {
    /// Judges the header section of one request: the whole line but for its last step, [`Self::redeem`].
    ///
    /// `seen` keeps what the record will want to tell, also of a request that is permitted.
    ///
    /// # Errors
    /// [`Rejection`], for the first step that refuses.
    pub async fn authorize(
        &self,
        request: &Parts,
        facts: &Facts<'_>,
        origins: &Origins,
        peer: &Peer,
        now: UnixTime,
    ) -> Result<(Judged, Seen), Rejection> {
        let mut seen = Seen::default();
        match self.line(request, facts, origins, peer, now, &mut seen).await {
            Ok(judged) => Ok((judged, seen)),
            Err(cause) => Err(Rejection::new(cause, seen)),
        }
    }

    /// The last step: uses up the proof, if there is one, and gives the permit. `now` is the time of this step: a proof may have
    /// grown too old while the body was read.
    ///
    /// # Errors
    /// [`DpopError::Stale`](fapi::dpop::DpopError::Stale), [`DpopError::Replayed`](fapi::dpop::DpopError::Replayed), and
    /// [`Unavailable::ReplayLog`](fapi::rejection::Unavailable::ReplayLog) when the log cannot tell.
    pub async fn redeem(&self, authorized: Authorized, now: UnixTime) -> Result<Permit, Cause> {
        let first_use = match authorized.proof() {
            Some(proof) => {
                proof.check_still_fresh(now)?;
                Some(self.replay.first_use(proof, now).await?)
            }
            None => None,
        };
        Ok(authorized.redeem(first_use)?)
    }

    /// The refusal of a request of which it cannot be told who sent it: for its message, if that is at fault as well, since
    /// nothing more may be read from a connection after a message with two readings.
    pub fn refuse(&self, cause: impl Into<Cause>, request: &Parts, facts: &Facts<'_>, origins: &Origins) -> Rejection {
        match message::check(request, facts, &self.limits, origins) {
            Ok(origin) => Rejection::new(cause, Seen { origin: Some(origin), ..Seen::default() }),
            Err(error) => Rejection::new(error, Seen::default()),
        }
    }

    async fn line(
        &self,
        request: &Parts,
        facts: &Facts<'_>,
        origins: &Origins,
        peer: &Peer,
        now: UnixTime,
        seen: &mut Seen,
    ) -> Result<Judged, Cause> {
        let origin = message::check(request, facts, &self.limits, origins)?;
        seen.origin = Some(origin.clone());
        let target = Target::parse(request, &origin)?;
        let matched = match self.routes.find(&target) {
            Ok(matched) => matched,
            Err((route, error)) => {
                seen.route = route;
                return Err(error.into());
            }
        };
        seen.route = Some(matched.route().clone());
        let guard = match Admission::to(matched) {
            Admission::Public(authorized) => return Ok(Judged::Authorized(authorized)),
            Admission::Protected(guard) => guard,
        };
        let policy = guard.policy();
        let credentials = Credentials::from_request(&request.headers, target.query(), policy.schemes())?;
        seen.scheme = Some(credentials.scheme());
        let hash = TokenHash::of(credentials.token());
        seen.token_id = Some(hash.id());
        let token = self
            .issuers
            .validate(credentials.token(), &hash, policy.issuers(), policy.introspection_max_age(), now)
            .await?;
        seen.token = Some(token.clone());
        let context = ProofContext {
            target: &target,
            token: credentials.token(),
            nonce: policy.nonce(),
            freshness: &self.freshness,
            keys: &*self.proof_keys,
            began: self.replay.began(),
            now,
        };
        let bound = BoundToken::prove(token, &credentials, peer, &context)?;
        Ok(guard.authorize(bound, &request.headers)?)
    }
}

/// One request from its first to its last moment; what audit and metrics read.
#[derive(Debug)]
pub struct Exchange {
    /// The id that the client, the upstream and the audit share.
    pub interaction: InteractionId,
    /// The trace it belongs to.
    pub trace: TraceContext,
    /// What came of it.
    pub outcome: Outcome,
    /// What was known of it.
    pub seen: Seen,
}

/// What came of a request; created as [`Outcome::Pending`], from which no upstream can be learnt.
#[derive(Debug)]
pub enum Outcome {
    /// Not decided.
    Pending,
    /// Let through.
    Permit(Permit),
    /// Refused, or let through and then failed.
    Reject(Rejection),
}

impl Exchange {
    /// An exchange of which nothing is decided.
    pub fn new(interaction: InteractionId, trace: TraceContext) -> Self {
        Self { interaction, trace, outcome: Outcome::Pending, seen: Seen::default() }
    }

    /// The permit, if there is one and nothing failed since.
    pub const fn permit(&self) -> Option<&Permit> {
        match &self.outcome {
            Outcome::Permit(permit) => Some(permit),
            Outcome::Pending | Outcome::Reject(_) => None,
        }
    }

    /// Settles the outcome as refused or failed.
    pub fn reject(&mut self, cause: impl Into<Cause>) -> &Rejection {
        let seen = std::mem::take(&mut self.seen);
        self.settle(Rejection::new(cause, seen))
    }

    /// Settles the outcome with a rejection that the line made.
    pub fn settle(&mut self, rejection: Rejection) -> &Rejection {
        self.seen = rejection.seen().clone();
        self.outcome = Outcome::Reject(rejection);
        match &self.outcome {
            Outcome::Reject(rejection) => rejection,
            Outcome::Pending | Outcome::Permit(_) => unreachable!("it was set on the line before"),
        }
    }
}
