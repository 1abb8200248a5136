//! The limits of an exchange in progress: those of its route, and what ends it when its time is over.

use std::time::Duration;

use fapi::message::ExchangeError;
use fapi::peer::{NoCertificate, Peer};
use fapi::rejection::{Cause, ShareExceeded, Unavailable};
use fapi::route::OnExpiry;
use fapi::sender::AcceptedToken;
use fapi::token::TokenError;
use pingora::proxy::Session;
use pingora::{Error, ErrorType};

use super::Proxy;
use super::body::expects_continue;
use super::context::{Context, connection};
use crate::connection::addresses::ClientNetwork;
use crate::connection::shares::Holder;
use crate::upstream::{NoTurn, Waited};

impl Proxy {
    /// Applies the limits of the route, once the request is permitted.
    pub(super) fn apply_limits(&self, session: &mut Session, context: &mut Context) {
        let Some(permit) = context.exchange.permit() else { return };
        let route = permit.route();
        let mut limits = context.limits.on(&route.limits);
        if route.on_expiry == OnExpiry::Close
            && let Some(ends_at) = permit.token().and_then(|token| token.token().ends_at())
        {
            let left = Duration::from_secs(ends_at.0).saturating_sub(context.began_at);
            context.expires_first = left <= limits.exchange_timeout;
            limits.exchange_timeout = limits.exchange_timeout.min(left);
        }
        if limits == context.limits {
            return;
        }
        if let Some(facts) = connection(session) {
            facts.phase.limit(limits.exchange_timeout.saturating_sub(context.began.elapsed()));
            facts.phase.extend_idle(limits.idle_timeout);
        }
        let waits = expects_continue(session.req_header());
        session.set_read_timeout(Some(if waits {
            limits.body_timeout
        } else {
            limits.patience(0).min(limits.body_pause)
        }));
        session.set_write_timeout(Some(limits.idle_timeout));
        context.limits = limits;
    }

    /// Takes a place at the upstream, unless an earlier attempt has one.
    pub(super) async fn take_turn(&self, context: &mut Context) -> pingora::Result<()> {
        let Some(upstream) = context.upstream().filter(|_| context.turn.is_none()).cloned() else { return Ok(()) };
        match upstream.admit(context.holder, context.time_left()).await {
            Ok((turn, Waited::No)) => {
                context.turn = Some(turn);
                Ok(())
            }
            Ok((turn, Waited::Yes)) => {
                context.turn = Some(turn);
                self.check_again(context)
            }
            Err(NoTurn::Full) => {
                self.check_overdue(context)?;
                let cause = Unavailable::UpstreamOverloaded { upstream: upstream.name().clone() };
                Err(context.refuse(cause, "the upstream has no place").into_up())
            }
            Err(NoTurn::ShareExceeded) => {
                let cause = ShareExceeded::Upstream { upstream: upstream.name().clone() };
                Err(context.refuse(cause, "the client has its share of the upstream").into_down())
            }
        }
    }

    /// Ends an exchange whose time is over, or whose token is no longer good where that matters.
    pub(super) fn check_overdue(&self, context: &mut Context) -> pingora::Result<()> {
        let cause = if context.began.elapsed() > context.limits.exchange_timeout {
            self.overdue(context)
        } else if context.is_revoked() {
            TokenError::Revoked.into()
        } else {
            return Ok(());
        };
        Err(context.refuse(cause, "the exchange may not go on").into_down())
    }

    /// Ends an exchange that was held up before it is sent, or sent again, if its time is over or its token has ended
    /// meanwhile.
    pub(super) fn check_again(&self, context: &mut Context) -> pingora::Result<()> {
        self.check_overdue(context)?;
        let (gateway, now) = (&context.generation.gateway, self.clock.unix_time());
        let Some(permit) = context.exchange.permit() else { return Ok(()) };
        let active = permit.token().map_or(Ok(()), |token| gateway.still_active(token.token(), now));
        let ended = match (active, gateway.consent_stands(permit.consent(), now)) {
            (Err(error), _) => Cause::from(error),
            (Ok(()), Err(error)) => error.into(),
            (Ok(()), Ok(())) => return Ok(()),
        };
        Err(context.refuse(ended, "the token or its consent has ended").into_down())
    }

    /// Why an exchange is over that has taken as long as it may.
    pub(super) fn overdue(&self, context: &Context) -> Cause {
        let token = context.exchange.permit().and_then(|permit| permit.token()).map(AcceptedToken::token);
        match token.and_then(|token| Some((token, token.ends_at()?))) {
            Some((token, at)) if context.expires_first => {
                let now = self.clock.unix_time();
                token.claims_at(now).err().unwrap_or(TokenError::Expired { at, now }).into()
            }
            Some(_) | None => ExchangeError::ExchangeTimeout.into(),
        }
    }
}

impl Context {
    /// Whether the token was revoked since the request was permitted, on a route where that ends the exchange.
    pub(super) fn is_revoked(&self) -> bool {
        let permit = self.exchange.permit().filter(|permit| permit.route().on_expiry == OnExpiry::Close);
        let issuers = &self.generation.gateway.issuers;
        permit.and_then(|permit| permit.token()).is_some_and(|token| issuers.revoked(token.token()))
    }

    /// How much longer the exchange may take.
    pub(super) fn time_left(&self) -> Duration {
        self.limits.exchange_timeout.saturating_sub(self.began.elapsed())
    }

    /// Records a refusal after the request was permitted, and returns the error that makes Pingora end the exchange with
    /// its status.
    pub(super) fn refuse(&mut self, cause: impl Into<Cause>, why: &'static str) -> Box<Error> {
        let status = self.exchange.reject(cause).status().as_u16();
        Error::explain(ErrorType::HTTPStatus(status), why)
    }

    /// How long the upstream is waited for, if it is waited for `usual` elsewhere.
    pub(super) fn patience_with(&self, usual: Option<Duration>) -> Duration {
        let left = self.time_left();
        let silence = self.limits.response_timeout.or(usual);
        silence.unwrap_or(left).min(left).max(SHORTEST_WAIT)
    }
}

/// How long an upstream is waited for at least, so that a limit that is almost reached is not taken for none.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);

/// Counts the exchange for its client, from when the client is known: one that is slow with a body that is read before the
/// decision takes places too.
pub(super) fn take_share(
    session: &Session,
    context: &mut Context,
    token: Option<&AcceptedToken>,
) -> Result<(), ShareExceeded> {
    context.holder = holder(session, context, token);
    let (Some(holder), Some(place)) = (context.holder, &mut context.place) else { return Ok(()) };
    let most = context.generation.limits.exchanges_per_client;
    if place.count_for(holder, most) { Ok(()) } else { Err(ShareExceeded::Exchanges { most }) }
}

/// Whose the exchange is; `None` for somebody without a token behind a proxy.
fn holder(session: &Session, context: &Context, token: Option<&AcceptedToken>) -> Option<Holder> {
    match token.and_then(AcceptedToken::confirmation) {
        Some(confirmation) => Some(Holder::of(confirmation)),
        None => match context.peer {
            // Those who come with a token and do not prove that it is theirs are counted together, by the token.
            Peer::Forwarded(_)
            | Peer::Anonymous(NoCertificate::NotForwarded | NoCertificate::ForwardedUntrusted { .. }) => {
                let id = token?.token().id().to_string();
                Some(Holder::Key(fapi::sha256(id.as_bytes())))
            }
            Peer::Certificate(_) | Peer::Anonymous(_) => {
                Some(Holder::Address(ClientNetwork::of(connection(session)?.client_address)))
            }
        },
    }
}
