//! The checks of one service: each step needs what the step before it proved.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use fapi::UnixTime;
use fapi::credentials::Credentials;
use fapi::dpop::{FirstUse, Freshness, NoProofKeys, ProofContext, ProofId};
use fapi::jose::keys::KeySet;
use fapi::peer::{Peer, PeerCertificate};
use fapi::permit::{Admission, Authorized, Judged, Permit};
use fapi::rejection::{Cause, Seen, Unavailable};
use fapi::route::{Origin, Routes, Target};
use fapi::sender::{BoundToken, SenderEvidence};
use fapi::token::{ActiveToken, Expected, TokenHash, UnverifiedJws};
use http::request::Parts;

/// What requests are judged by.
pub(crate) struct Api {
    pub(crate) origin: Arc<Origin>,
    pub(crate) routes: Routes,
    pub(crate) issuer: Expected,
    pub(crate) keys: KeySet,
    pub(crate) freshness: Freshness,
    pub(crate) used_proofs: Mutex<HashMap<ProofId, UnixTime>>,
    pub(crate) started_at: UnixTime,
}

impl Api {
    /// Checks everything but the body, in order; nothing has changed yet when it returns.
    pub(crate) fn judge(&self, request: &Parts, peer: &Peer, now: UnixTime, seen: &mut Seen) -> Result<Judged, Cause> {
        let target = Target::parse(request, &self.origin)?;
        seen.origin = Some(self.origin.clone());
        let matched = self.routes.find(&target).map_err(|(_, error)| error)?;
        seen.route = Some(matched.route().clone());
        let guard = match Admission::to(matched) {
            Admission::Public(authorized) => return Ok(Judged::Authorized(authorized)),
            Admission::Protected(guard) => guard,
            Admission::Endpoint(_) => {
                let detail = "there is no authorization server here".to_owned();
                return Err(Unavailable::Internal { detail }.into());
            }
        };
        let policy = guard.policy();
        let credentials = Credentials::from_request(&request.headers, target.query(), policy.schemes())?;
        seen.scheme = Some(credentials.scheme());
        let token = credentials.token();
        let context = ProofContext {
            target: &target,
            nonce: policy.nonce(),
            freshness: &self.freshness,
            keys: &NoProofKeys,
            replay_log_began: &|| self.started_at,
            now,
        };
        let evidence = SenderEvidence::collect(credentials, peer, context, policy.schemes())?;
        let jws = UnverifiedJws::parse(token)?;
        let active = ActiveToken::from_jws(jws, &TokenHash::of(token), &self.issuer, &self.keys, now)?;
        let bound = BoundToken::prove(Arc::new(active), evidence)?;
        // The acceptor verifies chains, or a route that asks what a certificate says would refuse everyone.
        let client = PeerCertificate { peer, verified_chain: true };
        Ok(guard.authorize(bound, &target, &request.headers, client, &(), now)?)
    }

    /// Uses up the DPoP proof, if there is one: it is remembered for as long as it could pass again (RFC 9449 §11.1).
    pub(crate) fn redeem(&self, authorized: Authorized, now: UnixTime) -> Result<Permit, Cause> {
        let Some(proof) = authorized.proof() else { return Ok(authorized.redeem(None)?) };
        proof.check_still_fresh(now)?;
        let mut used = self.used_proofs.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, forget_after| *forget_after >= now);
        let first = used.insert(proof.id(), proof.forget_after()).is_none();
        let first_use = first.then(|| FirstUse::assertion(proof.id()));
        Ok(authorized.redeem(first_use)?)
    }
}
