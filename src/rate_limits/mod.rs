//! How fast requests may come to a route: from one address before anything is verified; of one sender, one client and one
//! issuer once the token is.
//!
//! A request that a limit refuses counts neither for that limit nor for those that were taken together with
//! it. They are taken from the narrowest to the widest, so that one client does not use up what all clients of its issuer
//! share.
//!
//! Replicas can [share](shared) what was used; each decides by itself all the same.

pub mod shared;
mod table;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use fapi::rate_limit::{By, QuotaPolicy, RateLimitFields, RateLimited, ServiceLimit};
use fapi::sender::BoundToken;
use prometheus::IntCounter;

use self::shared::{Exchange, Shared, Sharing};
use self::table::{Pace, Table, UsedUp};
use crate::clock::Clock;
use crate::connection::addresses::ClientNetwork;
use crate::connection::shares::Holder;
use crate::store::guarantee::Level;

/// The section `rate_limits` of gateway.yaml, and those of its routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many keys are counted at a time.
    pub max_keys: usize,
    /// The routes that have limits, by name; no route has two by the same.
    pub routes: Vec<(Arc<str>, Vec<Limit>)>,
}

/// One limit of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Whose requests it counts together.
    pub by: By,
    /// How many may come in the long run.
    pub rate: Rate,
    /// How many may come at once.
    pub burst: NonZeroU32,
}

/// So many requests in a unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// The number of requests.
    pub requests: NonZeroU32,
    /// The unit.
    pub per: Unit,
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
}

impl Unit {
    /// Every unit.
    pub const ALL: [Self; 3] = [Self::Second, Self::Minute, Self::Hour];

    /// Its name in gateway.yaml.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
        }
    }

    const fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 60 * 60,
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, self.per.as_str())
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, burst {}", self.rate, self.burst)
    }
}

impl Limit {
    fn pace(&self) -> Pace {
        let interval = self.rate.per.seconds().saturating_mul(SECOND) / u64::from(self.rate.requests.get());
        let burst = interval.saturating_mul(self.burst.get().into());
        Pace { interval, burst, most: burst }
    }

    /// How many seconds this many requests take at the steady rate, rounded up.
    fn seconds_for(&self, requests: u64) -> u64 {
        requests.saturating_mul(self.rate.per.seconds()).div_ceil(self.rate.requests.get().into()).max(1)
    }

    /// A burst that is larger than the rate's own number is what a client may use at a time.
    fn policy(&self) -> QuotaPolicy {
        let quota = u64::from(self.burst.max(self.rate.requests).get());
        QuotaPolicy { by: self.by, quota, window: self.seconds_for(quota) }
    }

    /// What a client that keeps to it is told: to use what is left no faster than the steady rate, so that what it is told of
    /// a long unit does not have it send all of that within a second (draft-ietf-httpapi-ratelimit-headers-11 §8.5).
    fn left(&self, available: u64) -> ServiceLimit {
        ServiceLimit { by: self.by, available, window: self.seconds_for(available.max(1)) }
    }
}

/// The limits of all routes, and what was used of them.
pub struct RateLimits {
    table: Arc<Table>,
    exchange: Option<Arc<Exchange>>,
    routes: HashMap<Arc<str>, RouteLimits>,
}

/// The limits of one route.
pub struct RouteLimits {
    table: Arc<Table>,
    exchange: Option<Arc<Exchange>>,
    clock: Clock,
    policies: Arc<str>,
    by_address: Option<Counted>,
    /// In the order in which they are taken.
    by_token: Vec<Counted>,
}

/// A limit, and what is computed of it once.
struct Counted {
    limit: Limit,
    pace: Pace,
    text: Arc<str>,
    /// Distinguishes its keys from those of all other limits, and of other versions of itself.
    id: u64,
    sharing: Sharing,
    refused: IntCounter,
}

/// Whose request it is.
#[derive(Hash)]
enum Key<'k> {
    /// `None` where a proxy hides the address: these requests count as those of one.
    Address(Option<ClientNetwork>),
    Sender(Holder),
    /// By the configured name of the issuer. Tokens without `client_id` count as those of one client.
    Client(&'k str, Option<&'k str>),
    Issuer(&'k str),
}

impl RateLimits {
    /// Creates the limits; `None` if no route has any. What was used of a limit of `before` that is still the same stays
    /// used, unless the table gets another size. What is used from now on is `shared`, if it says where. `refused` is the counter
    /// for the refusals of a route by a limit.
    pub fn new(
        settings: &Settings,
        before: Option<&Self>,
        shared: Option<Shared>,
        clock: &Clock,
        refused: impl Fn(&str, By) -> IntCounter,
    ) -> Option<Self> {
        if settings.routes.is_empty() {
            return None;
        }
        let same = before.map(|before| &before.table).filter(|table| table.max_keys() == settings.max_keys);
        let table = same.cloned().unwrap_or_else(|| Arc::new(Table::new(settings.max_keys)));
        let exchange = shared.map(|shared| {
            let known = before.and_then(|before| before.exchange.as_ref());
            let known = known.filter(|known| known.is_between(&table, &shared.store));
            known.cloned().unwrap_or_else(|| Arc::new(Exchange::new(shared, table.clone(), clock.clone())))
        });
        let of_route = |(name, limits): &(Arc<str>, Vec<Limit>)| {
            let mut limits = limits.clone();
            limits.sort_unstable_by_key(|limit| limit.by);
            let policies: Vec<QuotaPolicy> = limits.iter().map(Limit::policy).collect();
            let counted = |limit: Limit| Counted {
                limit,
                pace: exchange.as_ref().map_or(limit.pace(), |exchange| exchange.shared(limit.pace())),
                text: limit.to_string().into(),
                id: table.limit((&**name, limit)),
                sharing: Sharing::of(name, &limit),
                refused: refused(name, limit.by),
            };
            let (by_address, by_token): (Vec<_>, Vec<_>) =
                limits.into_iter().map(counted).partition(|counted| counted.limit.by == By::Address);
            let limits = RouteLimits {
                table: table.clone(),
                exchange: exchange.clone(),
                clock: clock.clone(),
                policies: RateLimitFields::policies(&policies),
                by_address: by_address.into_iter().next(),
                by_token,
            };
            (name.clone(), limits)
        };
        let routes = settings.routes.iter().map(of_route).collect();
        Some(Self { table, exchange, routes })
    }

    /// What is to be [kept](Exchange::keep) so that replicas share what is used, if they do.
    pub const fn exchange(&self) -> Option<&Arc<Exchange>> {
        self.exchange.as_ref()
    }

    /// How far it reaches now what is counted.
    pub fn level(&self) -> Level {
        self.exchange.as_ref().map_or(Level::Local, |exchange| exchange.level())
    }

    /// The limits of the route with this name, if it has any.
    pub fn of_route(&self, name: &str) -> Option<&RouteLimits> {
        self.routes.get(name)
    }
}

impl RouteLimits {
    /// Takes a request from this address, before anything else of it is looked at. `fields` become those of its response.
    ///
    /// # Errors
    /// [`RateLimited`].
    pub fn take_by_address(
        &self,
        address: Option<IpAddr>,
        fields: &mut Option<Box<RateLimitFields>>,
    ) -> Result<(), RateLimited> {
        let network = address.map(ClientNetwork::of);
        self.take(self.by_address.as_slice(), |_| Key::Address(network), fields).map(|_| ())
    }

    /// Takes a request with this token; returns what it took.
    ///
    /// # Errors
    /// [`RateLimited`], for the first limit that is used up.
    pub fn take_by_token(
        &self,
        token: &BoundToken,
        fields: &mut Option<Box<RateLimitFields>>,
    ) -> Result<Taken, RateLimited> {
        self.take(&self.by_token, keys_of(token), fields)
    }

    /// Gives back what [`RouteLimits::take_by_token`] took, unless the rate has given it again since.
    pub fn give_back_by_token(&self, token: &BoundToken, taken: &Taken) {
        self.give_back(&self.by_token, keys_of(token), (taken, nanos(&self.clock)));
    }

    fn give_back<'k>(&self, limits: &[Counted], key: impl Fn(By) -> Key<'k>, (taken, now): (&Taken, u64)) {
        for (counted, whole_at) in limits.iter().zip(taken.0) {
            let key = key(counted.limit.by);
            let (hash, times) = (self.table.hash(counted.id, &key), (whole_at, now));
            match &self.exchange {
                None => {
                    self.table.give_back(hash, counted.pace, times);
                }
                Some(exchange) => exchange.give_back(hash, counted.pace, &counted.sharing, times, &key),
            }
        }
    }

    fn take<'k>(
        &self,
        limits: &[Counted],
        key: impl Fn(By) -> Key<'k>,
        fields: &mut Option<Box<RateLimitFields>>,
    ) -> Result<Taken, RateLimited> {
        let mut all = Taken::default();
        let fields = fields.get_or_insert_with(|| Box::new(RateLimitFields::new(self.policies.clone())));
        if limits.is_empty() {
            return Ok(all);
        }
        let now = nanos(&self.clock);
        for (index, counted) in limits.iter().enumerate() {
            let Counted { limit, pace, text, id, sharing, refused } = counted;
            let of = key(limit.by);
            let hash = self.table.hash(*id, &of);
            let taken = match &self.exchange {
                None => self.table.take(hash, *pace, now),
                Some(exchange) => exchange.take(hash, *pace, sharing, now, &of),
            };
            match taken {
                Ok(table::Taken { left, whole_at }) => {
                    fields.add(limit.left(left));
                    if let Some(place) = all.0.get_mut(index) {
                        *place = whole_at;
                    }
                }
                Err(UsedUp { wait }) => {
                    self.give_back(limits.get(..index).unwrap_or_default(), key, (&all, now));
                    refused.inc();
                    let retry_after = wait.div_ceil(SECOND).max(1);
                    fields.add(ServiceLimit { by: limit.by, available: 0, window: retry_after });
                    return Err(RateLimited { by: limit.by, limit: text.clone(), retry_after });
                }
            }
        }
        Ok(all)
    }
}

/// What a request took of the limits by what its token says: for each of them, when the rate has given again all that was taken
/// until then. Without a limit, nothing.
#[derive(Debug, Default)]
#[must_use]
pub struct Taken([u64; BY_TOKEN]);

/// Whose request it is, for each limit by what a token says.
fn keys_of<'t>(token: &'t BoundToken) -> impl Fn(By) -> Key<'t> {
    let (issuer, client_id) = (token.token().issuer(), token.claims().text("client_id"));
    move |by| match by {
        By::Address => Key::Address(None),
        By::Sender => Key::Sender(Holder::of(token.confirmation())),
        By::Client => Key::Client(issuer, client_id),
        By::Issuer => Key::Issuer(issuer),
    }
}

/// The time that has passed, in nanoseconds.
fn nanos(clock: &Clock) -> u64 {
    u64::try_from(clock.monotonic().as_nanos()).unwrap_or(u64::MAX)
}

/// How many limits of a route can go by what a token says.
const BY_TOKEN: usize = 3;
/// In nanoseconds.
const SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests;
