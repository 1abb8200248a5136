//! The straight line of one request, and the record of its outcome.
//!
//! This module defines the order and nothing else: each step is a call into [`fapi`], and only validating the token and
//! consulting the replay log wait for anything. What a step proves is a type that the next step requires, so skipping a
//! step does not compile.

mod consent;
mod endpoint;
mod idempotency;
mod signature;

use std::net::IpAddr;
use std::sync::Arc;

use fapi::UnixTime;
use fapi::code::Code;
use fapi::cors::{Cors, Granted, NotGranted, Preflight};
use fapi::credentials::Credentials;
use fapi::directory::Participants;
use fapi::dpop::{FirstUse, Freshness, ProofContext, ProofKeys, VerifiedProof};
use fapi::error_format::ErrorFormat;
use fapi::headers::{InteractionId, StripList, TraceContext};
use fapi::message::{self, Facts};
use fapi::metadata::{Document, Found, Metadata};
use fapi::peer::{ClientCertificate, Peer, PeerCertificate};
use fapi::permit::{Admission, Authorized, Judged, Permit};
use fapi::rejection::{Cause, Rejection, Seen};
use fapi::route::{Origins, PathCharacters, Routes, Target};
use fapi::sender::{AcceptedToken, BoundToken, SenderEvidence};
use fapi::token::{self, ActiveToken, TokenError, TokenHash};
use http::request::Parts;

use self::endpoint::without_nonce;
pub use self::signature::{HeadJudged, WholeContent, request_view};
use crate::authorization_server::AuthorizationServers;
use crate::consents::Consents;
use crate::idempotency::IdempotencyKeys;
use crate::issuer::Issuers;
use crate::issuer::introspection::Asker;
use crate::rate_limits::{RateLimits, Taken};
use crate::replay::ReplayLog;
use crate::replay::shared::SharedLog;
use crate::signatures::ClientKeySets;

/// Everything a decision depends on, except the request and the time.
pub struct Gateway {
    /// What may be called, and by whom.
    pub routes: Routes,
    /// What every client may know of that in advance.
    pub metadata: Metadata,
    /// The form of the bodies of refusals before a route is known.
    pub errors: ErrorFormat,
    /// The issuers whose tokens are accepted.
    pub issuers: Arc<Issuers>,
    /// How large a message may be.
    pub limits: message::Limits,
    /// How large a body may be where the route does not say, in bytes.
    pub body_bytes: u64,
    /// The names of header fields that are removed from a client's request.
    pub strip: StripList,
    /// How old a DPoP proof may be.
    pub freshness: Freshness,
    /// Proof keys that have already been parsed.
    pub proof_keys: Arc<dyn ProofKeys>,
    /// The log of used proofs.
    pub replay: Arc<ReplayLog>,
    /// The log of used proofs that replicas share, if they do.
    pub shared_replay: Option<Arc<SharedLog>>,
    /// The idempotency keys that were used; in the store of that log, if replicas share it.
    pub idempotency_keys: Arc<IdempotencyKeys>,
    /// How fast requests may come, if a route limits that.
    pub rate_limits: Option<RateLimits>,
    /// The authorization servers in front of which it stands.
    pub authorization_servers: AuthorizationServers,
    /// Which clients are active in their ecosystem.
    pub participants: Arc<dyn Participants>,
    /// The keys of clients that sign requests.
    pub client_keys: ClientKeySets,
    /// Who says in which state consents are.
    pub consents: Consents,
}

impl Gateway {
    /// Judges the header section of one request: the whole line except its last step, [`Self::redeem`].
    ///
    /// The returned [`Seen`] holds what the audit records about a permitted request; a [`Rejection`] holds its own. Does not
    /// look at the body. `cors` is the rule for routes without one.
    ///
    /// # Errors
    /// [`Rejection`], for the first step that refuses.
    pub async fn authorize(
        &self,
        request: &Parts,
        facts: &Facts<'_>,
        origins: &Origins,
        cors: Option<&Cors>,
        client: Client<'_>,
        now: UnixTime,
    ) -> Result<(Verdict, Seen), Rejection> {
        let mut seen = Seen::default();
        match self.line(request, facts, origins, cors, client, now, &mut seen).await {
            Ok(verdict) => Ok((verdict, seen)),
            Err(cause) => Err(Rejection::new(cause, seen)),
        }
    }

    /// Takes the last step: uses up the proof and the signature, if there are any, and then the idempotency key, and returns the
    /// permit.
    ///
    /// `now` is the time of this step: while a body or the keys of an issuer are read, the token can end and the proof become
    /// too old, and what a log that replicas share knew of proofs can be lost. On a route in shadow, a proof that cannot be used
    /// up is noted. A proof that was used before, or may have been, counts for no rate limit by what its token says: it gives back
    /// what it has `taken`.
    ///
    /// # Errors
    /// [`TokenError::Expired`], [`TokenError::Revoked`], [`DpopError::Stale`](fapi::dpop::DpopError::Stale),
    /// [`DpopError::Replayed`](fapi::dpop::DpopError::Replayed),
    /// [`DpopError::NonceRequired`](fapi::dpop::DpopError::NonceRequired),
    /// [`SignatureError::Replayed`](fapi::signature::error::SignatureError::Replayed),
    /// [`IdempotencyError::Reused`](fapi::idempotency::IdempotencyError::Reused),
    /// [`ShareExceeded::ReplayLog`](fapi::rejection::ShareExceeded),
    /// [`Unavailable::RevocationsNeverRead`](fapi::rejection::Unavailable::RevocationsNeverRead) and
    /// [`Unavailable::RevocationsTooOld`](fapi::rejection::Unavailable::RevocationsTooOld) when the token may be revoked elsewhere,
    /// and [`Unavailable::ReplayLog`](fapi::rejection::Unavailable::ReplayLog) or
    /// [`Unavailable::IdempotencyKeys`](fapi::rejection::Unavailable::IdempotencyKeys) when the log cannot tell.
    pub async fn redeem(&self, authorized: Authorized, taken: &Taken, now: UnixTime) -> Result<Permit, Cause> {
        if let Some(token) = authorized.token() {
            self.still_active(token, now)?;
            self.issuers.knows_revocations()?;
        }
        self.consent_stands(authorized.consent(), now)?;
        let authorized = match authorized.asked().is_some() {
            true => match Box::pin(self.use_assertion(&authorized, now)).await {
                Ok(Some(first_use)) => authorized.with_assertion_used(&first_use)?,
                Ok(None) => authorized,
                Err(cause) => return authorized.without_first_use(cause.code(), &cause).ok_or(cause),
            },
            false => authorized,
        };
        let authorized = match authorized.signature_to_remember() {
            Some(_) => Box::pin(self.use_signature(authorized, taken, now)).await?,
            None => authorized,
        };
        let first_use = match authorized.proof() {
            Some(proof) => match self.first_use(proof, &authorized.route().name, now).await {
                Ok(first_use) => Some(first_use),
                Err(Cause::Proof(error)) if authorized.route().endpoint().is_some() => {
                    let cause = without_nonce(error);
                    return authorized.without_first_use(cause.code(), &cause).ok_or(cause);
                }
                Err(cause) => {
                    if matches!(cause.code(), Code::DpopReplayed | Code::DpopNonceRequired) {
                        self.give_back(&authorized, taken);
                    }
                    return authorized.without_first_use(cause.code(), &cause).ok_or(cause);
                }
            },
            None => None,
        };
        // At last: nobody uses up a key with a request that is refused, such as one with a proof that was seen.
        let authorized = match authorized.idempotency_key() {
            Some(_) => Box::pin(self.use_key(authorized)).await?,
            None => authorized,
        };
        Ok(authorized.redeem(first_use)?)
    }

    async fn first_use(&self, proof: &VerifiedProof, route: &str, now: UnixTime) -> Result<FirstUse, Cause> {
        proof.check_still_fresh(now)?;
        let (first_use, began) = self.replay.first_use(proof, self.shared_replay.as_deref(), route, now).await?;
        proof.check_still_known(began, &self.freshness, now)?;
        Ok(first_use)
    }

    /// Gives back what a request took of the limits of its sender, whose proof was used before or may have been: whoever has seen
    /// one could otherwise use up what another may send.
    fn give_back(&self, authorized: &Authorized, taken: &Taken) {
        let limits = self.rate_limits.as_ref().and_then(|limits| limits.of_route(&authorized.route().name));
        if let (Some(limits), Some(bound)) = (limits, authorized.bound()) {
            limits.give_back_by_token(bound, taken);
        }
    }

    /// Checks that a token that was found active has neither expired nor been revoked since.
    ///
    /// # Errors
    /// [`TokenError::Expired`], [`TokenError::Revoked`].
    pub fn still_active(&self, token: &ActiveToken, now: UnixTime) -> Result<(), TokenError> {
        token.claims_at(now)?;
        if self.issuers.revoked(token) { Err(TokenError::Revoked) } else { Ok(()) }
    }

    /// Since when every use of a proof is known, where this process may have to decide [`alone`](Self::may_decide_alone) or not.
    pub fn replay_log_began(&self, alone: bool) -> UnixTime {
        self.replay.began(self.shared_replay.as_deref(), alone, self.freshness.clock_skew)
    }

    /// Whether proofs on this route are accepted while the log that replicas share does not answer, now or later.
    pub fn may_decide_alone(&self, route: &str, now: UnixTime) -> bool {
        self.shared_replay.as_ref().is_some_and(|shared| shared.may_decide_alone(route, now))
    }

    /// Returns the rejection of a request whose client cannot be determined.
    ///
    /// If the message itself is also at fault, it is rejected for that instead, since nothing more may be read from a
    /// connection after a message with two readings.
    pub fn refuse(&self, cause: impl Into<Cause>, request: &Parts, facts: &Facts<'_>, origins: &Origins) -> Rejection {
        match message::check(request, facts, &self.limits, origins) {
            Ok(origin) => Rejection::new(cause, Seen { origin: Some(origin), ..Seen::default() }),
            Err(error) => Rejection::new(error, Seen::default()),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "each is an input of a different step")]
    async fn line(
        &self,
        request: &Parts,
        facts: &Facts<'_>,
        origins: &Origins,
        cors: Option<&Cors>,
        client: Client<'_>,
        now: UnixTime,
        seen: &mut Seen,
    ) -> Result<Verdict, Cause> {
        let origin = message::check(request, facts, &self.limits, origins)?;
        seen.origin = Some(origin.clone());
        let target = Target::parse_with(request, &origin, PathCharacters::Uri)?;
        // RFC 9728 §3.1: whoever has no token yet learns here where to get one.
        if let Some(found) = self.metadata.find(request, &target) {
            message::check_length(&request.headers, self.body_bytes)?;
            return Ok(match found? {
                Found::Document(document) => Verdict::Metadata(document),
                Found::Preflight(granted) => Verdict::Preflight(granted),
            });
        }
        // Fetch standard §3.3.5: a preflight "never includes credentials", so none are asked for.
        let not_granted = match Preflight::of(request) {
            Some(preflight) => match self.grant(&preflight, &target, cors, seen) {
                Ok(granted) => return Ok(Verdict::Preflight(granted)),
                Err(why) => Some(why),
            },
            None => None,
        };
        let matched = match (self.routes.find(&target), not_granted) {
            (Ok(matched), _) => matched,
            (Err((route, error)), not_granted) => {
                seen.route = route;
                return Err(match not_granted {
                    Some(why) => error.of_preflight(why).into(),
                    None => error.into(),
                });
            }
        };
        seen.route = Some(matched.route().clone());
        message::check_length(&request.headers, matched.route().limits.body_bytes.unwrap_or(self.body_bytes))?;
        let rates = self.rate_limits.as_ref().and_then(|limits| limits.of_route(&matched.route().name));
        if let Some(rates) = rates {
            rates.take_by_address(client.address, &mut seen.rate_limits)?;
        }
        let guard = match Admission::to(matched) {
            Admission::Public(authorized) => {
                return Ok(Verdict::Judged(Judged::Authorized(authorized), Taken::default()));
            }
            Admission::Endpoint(guard) => {
                let judged = Box::pin(self.endpoint(guard, request, &target, now, seen)).await?;
                return Ok(Verdict::Judged(judged, Taken::default()));
            }
            Admission::Protected(guard) => guard,
        };
        let policy = guard.policy();
        let shadow = guard.shadow(now);
        let credentials = Credentials::from_request(&request.headers, target.query(), guard.schemes(shadow))?;
        seen.scheme = Some(credentials.scheme());
        token::check_size(credentials.token(), self.limits.token_bytes)?;
        let hash = TokenHash::of(credentials.token());
        seen.token_id = Some(hash.id());
        let alone = self.may_decide_alone(&guard.route().name, now);
        let context = ProofContext {
            target: &target,
            nonce: policy.nonce(),
            freshness: &self.freshness,
            keys: &*self.proof_keys,
            replay_log_began: &|| self.replay_log_began(alone),
            now,
        };
        let evidence = match shadow {
            None => SenderEvidence::collect(credentials, client.peer, context, policy.schemes())?,
            Some(shadow) => {
                SenderEvidence::collect_in_shadow(credentials, client.peer, context, policy.schemes(), shadow)
            }
        };
        let validated = self.issuers.validate(&evidence, &hash, client.asker(&evidence), policy, now).await;
        let token = validated.inspect_err(|error| seen.named = error.named().cloned())?;
        seen.token = Some(token.clone());
        let mut taken = Taken::default();
        let judged = match shadow {
            None => {
                let bound = BoundToken::prove(token, evidence)?;
                seen.sender_proven = true;
                // Before the proof is used up, so that a client can send the same request again.
                if let Some(rates) = rates {
                    taken = rates.take_by_token(&bound, &mut seen.rate_limits)?;
                }
                let participants = &*self.participants;
                guard.authorize(bound, &target, &request.headers, client.certificate(), participants, now)?
            }
            Some(shadow) => {
                let sent = (&target, &request.headers, client.certificate());
                let judged = guard.authorize_in_shadow(token, evidence, sent, shadow, &*self.participants, now)?;
                // Whose token it is counts only if that was proven: nobody uses up what is another's.
                seen.sender_proven = judged.token().and_then(AcceptedToken::bound).is_some();
                if let (Some(rates), Some(bound)) = (rates, judged.token().and_then(AcceptedToken::bound)) {
                    taken = rates.take_by_token(bound, &mut seen.rate_limits)?;
                }
                judged
            }
        };
        let judged = match judged.without_consent() {
            Ok(judged) => judged,
            Err(waiting) => Box::pin(self.judge_consent(waiting, now)).await?,
        };
        Ok(Verdict::Judged(judged, taken))
    }

    /// Grants a preflight if a route has its method and the route's rule, or else the listener's, allows its origin.
    fn grant(
        &self,
        preflight: &Preflight,
        target: &Target<'_>,
        cors: Option<&Cors>,
        seen: &mut Seen,
    ) -> Result<Granted, NotGranted> {
        let matched = self.routes.find(&target.with_method(&preflight.method));
        let matched = matched.map_err(|_| NotGranted::method(preflight))?;
        let route = matched.route();
        let rule = route.cors_or(cors).ok_or(NotGranted::NoRule)?;
        let granted = rule.grant(preflight, &route.methods)?;
        seen.route = Some(route.clone());
        Ok(granted)
    }
}

/// What the header section of a request leads to, unless it is refused.
#[must_use]
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is made, and a box would cost an allocation")]
pub enum Verdict {
    /// It may be forwarded, once the rest is judged; and what it took of the limits of its route.
    Judged(Judged, Taken),
    /// It is a preflight, which the gateway answers itself.
    Preflight(Granted),
    /// It is for the metadata of a resource, which is public.
    Metadata(Arc<Document>),
}

/// Who sent a request, as far as the connection shows.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// Its certificate.
    pub peer: &'a Peer,
    /// Whether the chain of that certificate was verified, so that nobody can make any number of them.
    pub verified_chain: bool,
    /// Its address; `None` behind a proxy.
    pub address: Option<IpAddr>,
}

impl<'a> Client<'a> {
    /// Its certificate, and whether an authority vouches for what is in it.
    const fn certificate(&self) -> PeerCertificate<'a> {
        PeerCertificate { peer: self.peer, verified_chain: self.verified_chain }
    }

    /// Its certificate, if an authority vouches for what is in it.
    fn trusted_certificate(&self) -> Option<&'a ClientCertificate> {
        self.peer.certificate().filter(|_| self.verified_chain)
    }

    /// Who it is among those who wait for an issuer.
    fn asker(&self, evidence: &SenderEvidence<'_>) -> Asker {
        match (self.trusted_certificate(), self.address, evidence.proof_key()) {
            (Some(certificate), _, _) => Asker::Certificate(*certificate.thumbprint().as_bytes()),
            (None, Some(address), _) => Asker::at(address),
            (None, None, Some(key)) => Asker::Key(*key.as_bytes()),
            (None, None, None) => Asker::Unknown,
        }
    }
}

/// One request from start to finish, as the audit and the metrics see it.
#[derive(Debug)]
pub struct Exchange {
    /// The ID that the client, the upstream and the audit share.
    pub interaction: InteractionId,
    /// The trace that the request belongs to.
    pub trace: TraceContext,
    /// Whether the request was permitted.
    pub outcome: Outcome,
    /// What is known about the request.
    pub seen: Seen,
}

/// The outcome of a request. It starts as [`Outcome::Pending`], which names no upstream.
#[derive(Debug)]
pub enum Outcome {
    /// Not decided yet.
    Pending,
    /// Permitted.
    Permit(Permit),
    /// A preflight that was granted; it is never forwarded.
    Preflight(Granted),
    /// Answered with the metadata of a resource.
    Metadata(Arc<Document>),
    /// Refused, or permitted and then failed.
    Reject(Rejection),
}

impl Exchange {
    /// Creates an exchange that is not decided yet.
    pub fn new(interaction: InteractionId, trace: TraceContext) -> Self {
        Self { interaction, trace, outcome: Outcome::Pending, seen: Seen::default() }
    }

    /// Returns the permit, if there is one and nothing has failed since.
    pub const fn permit(&self) -> Option<&Permit> {
        match &self.outcome {
            Outcome::Permit(permit) => Some(permit),
            Outcome::Pending | Outcome::Preflight(_) | Outcome::Metadata(_) | Outcome::Reject(_) => None,
        }
    }

    /// Sets the outcome to refused or failed, because of `cause`.
    pub fn reject(&mut self, cause: impl Into<Cause>) -> &Rejection {
        let seen = std::mem::take(&mut self.seen);
        self.settle(Rejection::new(cause, seen))
    }

    /// Sets the outcome to a rejection that the line returned.
    pub fn settle(&mut self, rejection: Rejection) -> &Rejection {
        self.seen = rejection.seen().clone();
        self.outcome = Outcome::Reject(rejection);
        match &self.outcome {
            Outcome::Reject(rejection) => rejection,
            Outcome::Pending | Outcome::Permit(_) | Outcome::Preflight(_) | Outcome::Metadata(_) => {
                unreachable!("the outcome was set to a rejection above")
            }
        }
    }
}
