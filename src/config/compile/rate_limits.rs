//! `rate_limits`, and those of routes: how fast requests may come.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use fapi::rate_limit::By;

use super::Build;
use super::stores::MEMORY;
use crate::config::VirtualHost;
use crate::config::error::KeyPath;
use crate::config::file::{self, File};
use crate::rate_limits::{Limit, Rate, Settings};

impl Build<'_> {
    pub(super) fn rate_limits(
        &mut self,
        file: &mut File,
        listeners: Option<&[(SocketAddr, VirtualHost)]>,
    ) -> Option<(Settings, Option<usize>)> {
        let at = KeyPath::of("rate_limits");
        let entry = file.rate_limits.get_or_insert_default();
        let store = entry.store.get_or_insert_with(|| MEMORY.to_owned());
        let shared = self.store_named(&at.key("store"), store, file.stores.as_ref());
        let guarantee = match shared {
            None => "guarantee rate_limits: local, in the memory of each process".to_owned(),
            Some(_) => format!("guarantee rate_limits: shared, in store {store}; degraded while it does not answer"),
        };
        let max_keys = entry.max_keys.get_or_insert(100_000);
        let max_keys = self.number(&at.key("max_keys"), max_keys, 1000..=10_000_000);
        let mut routes = Vec::new();
        for (index, route) in file.routes.iter_mut().flatten().enumerate() {
            let at = KeyPath::of("routes").index(index).key("rate_limits");
            let limits = self.limits_of(&at, route, listeners.unwrap_or_default());
            if let (Some(name), Some(limits)) = (&route.name, limits) {
                routes.push((name.as_str().into(), limits));
            }
        }
        if !routes.is_empty() {
            self.summary.push(guarantee);
        }
        Some((Settings { max_keys: max_keys?, routes }, shared))
    }

    /// The limits of a route; `None` if it has none.
    fn limits_of(
        &mut self,
        at: &KeyPath,
        route: &mut file::Route,
        listeners: &[(SocketAddr, VirtualHost)],
    ) -> Option<Vec<Limit>> {
        let (public, hosts) = (route.public == Some(true), route.hosts.as_deref());
        let entries = route.rate_limits.as_deref_mut()?;
        if entries.is_empty() {
            let problem = "the list is empty, so nothing is limited; write an entry such as `{ by: client, rate: 50/s }`, or remove the key";
            self.report.empty(at, problem);
        }
        let (mut limits, mut seen) = (Vec::new(), Vec::new());
        for (index, entry) in entries.iter_mut().enumerate() {
            let at = at.index(index);
            let by = self.counted_by(&at.key("by"), entry.by, &seen, public, hosts, listeners);
            seen.extend(by);
            let rate_at = at.key("rate");
            let rate = self.needed(&rate_at, entry.rate.as_ref(), "write one such as `50/s`, `600/min` or `10/h`");
            let requests = rate.and_then(|rate| self.requests(&rate_at, rate));
            let burst = match (&mut entry.burst, requests) {
                (Some(burst), _) => self.number(&at.key("burst"), burst, 1..=MOST).and_then(NonZeroU32::new),
                (unsaid @ None, Some(requests)) => {
                    *unsaid = Some(requests.get().into());
                    Some(requests)
                }
                (None, None) => None,
            };
            if let (Some(by), Some(requests), Some(rate), Some(burst)) = (by, requests, rate, burst) {
                limits.push(Limit { by, rate: Rate { requests, per: rate.per }, burst });
            }
        }
        Some(limits)
    }

    fn counted_by(
        &mut self,
        at: &KeyPath,
        by: Option<file::CountedBy>,
        seen: &[By],
        public: bool,
        hosts: Option<&[String]>,
        listeners: &[(SocketAddr, VirtualHost)],
    ) -> Option<By> {
        let by = by_of(*self.needed(at, by.as_ref(), "write `address`, `sender`, `client` or `issuer`")?);
        if seen.contains(&by) {
            self.problem(at, format!("the route has a limit by `{by}` already; keep one"));
        }
        if by != By::Address {
            if public {
                self.problem(at, "the route is public and has no token; only `address` can be counted, write that");
            }
            return Some(by);
        }
        let serves = |host: &VirtualHost| {
            let named =
                |origin: &str| hosts.is_none_or(|hosts| hosts.iter().any(|host| host.eq_ignore_ascii_case(origin)));
            host.origins.iter().any(|origin| named(origin.host()))
        };
        let behind_proxy = |(_, host): &(SocketAddr, VirtualHost)| host.trusted_proxy.is_some() && serves(host);
        if let Some(index) = listeners.iter().position(behind_proxy) {
            let listener = self.shown_beside(&KeyPath::of("listeners").index(index), at);
            let problem = format!(
                "{listener} serves the route behind proxies, whose clients have no address here; limit addresses there, and write `sender` or `client` here"
            );
            self.problem(at, problem);
        }
        Some(by)
    }

    fn requests(&mut self, at: &KeyPath, rate: &file::Rate) -> Option<NonZeroU32> {
        let requests = u32::try_from(rate.requests).ok().and_then(NonZeroU32::new);
        let fitting = requests.filter(|requests| u64::from(requests.get()) <= MOST);
        if fitting.is_none() {
            let unit = rate.per.as_str();
            self.problem(at, format!("the rate is out of range; write one from `1/{unit}` to `{MOST}/{unit}`"));
        }
        fitting
    }
}

/// The end of a line of the summary: how fast requests may come.
pub(super) fn describe_rate_limits(entries: Option<&[file::RateLimit]>) -> String {
    let Some(entries) = entries else { return String::new() };
    let limit = |entry: &file::RateLimit| {
        let (by, rate, burst) = (by_of(entry.by?), entry.rate?, entry.burst?);
        Some(format!("{rate} by {by}, burst {burst}"))
    };
    let limits: Vec<String> = entries.iter().filter_map(limit).collect();
    format!("; rate_limits: {}", limits.join("; "))
}

const fn by_of(by: file::CountedBy) -> By {
    match by {
        file::CountedBy::Address => By::Address,
        file::CountedBy::Sender => By::Sender,
        file::CountedBy::Client => By::Client,
        file::CountedBy::Issuer => By::Issuer,
    }
}

/// More than a client can send or a gateway can serve.
const MOST: u64 = 1_000_000;
