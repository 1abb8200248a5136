//! `limits`: what a client may use of the gateway, and of one route.

use std::time::Duration;

use fapi::route;

use super::{Build, KIB, MIB, UP_TO_A_DAY};
use crate::config::error::KeyPath;
use crate::config::file::{self, File};
use crate::config::scalar;
use crate::connection::limits::{Limits, PerAddress};
use crate::connection::shares;

/// How many connections are held at a time.
struct Connections {
    connections: usize,
    handshakes: usize,
    per_address: PerAddress,
}

impl Build<'_> {
    pub(super) fn limits(&mut self, file: &mut File) -> Option<Limits> {
        let at = KeyPath::of("limits");
        let default = Limits::default();
        let entry = file.limits.get_or_insert_default();
        let usual = default.header_bytes.try_into().ok()?;
        let header_bytes = self.size_within(&at.key("header_bytes"), &mut entry.header_bytes, usual, KIB..=MIB);
        let header_count = entry.header_count.get_or_insert(default.header_count.try_into().ok()?);
        let header_count = self.number(&at.key("header_count"), header_count, 1..=MAX_FIELDS);
        let room = entry.header_bytes.map_or(usual, |size| size.0);
        let token = scalar::Size(room.min(default.token_bytes.try_into().ok()?));
        let token_bytes = entry.token_bytes.get_or_insert(token).0;
        if !(KIB..=room).contains(&token_bytes) {
            self.problem(
                &at.key("token_bytes"),
                "the size must be from 1KiB to that of `header_bytes`, which holds the token; the default is `16KiB`",
            );
        }
        let body_bytes = entry.body_bytes.get_or_insert(scalar::Size(default.body_bytes)).0;
        if body_bytes == 0 {
            self.problem(
                &at.key("body_bytes"),
                "no request body could be sent; write a size above zero, such as `10MiB`",
            );
        }
        let rate_at = at.key("body_min_rate");
        let body_min_rate = self.size_within(&rate_at, &mut entry.body_min_rate, default.body_min_rate, 1..=MIB);
        let connections = self.connections(&at, entry);
        let exchanges = entry.exchanges.get_or_insert(default.exchanges.try_into().ok()?);
        let exchanges = self.number(&at.key("exchanges"), exchanges, 1..=1_000_000);
        let usual = exchanges.map_or(default.exchanges_per_client, shares::usual).try_into().ok()?;
        let per_client = entry.exchanges_per_client.get_or_insert(usual);
        let per_client = self.number(&at.key("exchanges_per_client"), per_client, 1..=1_000_000);
        let streams = self.number(&at.key("streams"), entry.streams.get_or_insert(default.streams.into()), 1..=1000);
        let requests = entry.connection_max_requests.get_or_insert(default.connection_max_requests.into());
        let requests = self.number(&at.key("connection_max_requests"), requests, 10..=1_000_000_000);
        let age = self.time_within(
            &at.key("connection_max_age"),
            &mut entry.connection_max_age,
            default.connection_max_age,
            Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60),
        );
        // Each client waits for one response at a time over HTTP/1.1, so no more connections become idle at once.
        let usual = entry.connections.filter(|_| connections.is_some()).unwrap_or(1);
        let idle = entry.idle_upstream_connections.get_or_insert(usual);
        let idle = self.number(&at.key("idle_upstream_connections"), idle, 1..=MAX_CONNECTIONS);
        let header_timeout = self.time(&at.key("header_timeout"), &mut entry.header_timeout, default.header_timeout);
        let idle_timeout = self.time(&at.key("idle_timeout"), &mut entry.idle_timeout, default.idle_timeout);
        let body_timeout = self.time(&at.key("body_timeout"), &mut entry.body_timeout, default.body_timeout);
        let body_grace = self.time(&at.key("body_grace"), &mut entry.body_grace, default.body_grace);
        let unread_body_bytes = entry.unread_body_bytes.get_or_insert(scalar::Size(default.unread_body_bytes)).0;
        let unread_body_timeout = self.time_within(
            &at.key("unread_body_timeout"),
            &mut entry.unread_body_timeout,
            default.unread_body_timeout,
            Duration::from_millis(1)..=Duration::from_secs(60),
        );
        let exchange_timeout =
            self.time(&at.key("exchange_timeout"), &mut entry.exchange_timeout, default.exchange_timeout);
        let handshake_timeout =
            self.time(&at.key("handshake_timeout"), &mut entry.handshake_timeout, default.handshake_timeout);
        let Connections { connections, handshakes, per_address } = connections?;
        Some(Limits {
            header_bytes: header_bytes?,
            header_count: header_count?,
            token_bytes: token_bytes.try_into().ok()?,
            body_bytes,
            header_timeout: header_timeout?,
            idle_timeout: idle_timeout?,
            body_timeout: body_timeout?,
            body_grace: body_grace?,
            body_min_rate: body_min_rate?,
            unread_body_bytes,
            unread_body_timeout: unread_body_timeout?,
            exchange_timeout: exchange_timeout?,
            handshake_timeout: handshake_timeout?,
            connections,
            handshakes,
            per_address,
            exchanges: exchanges?,
            exchanges_per_client: per_client?,
            streams: streams?,
            connection_max_age: age?,
            connection_max_requests: requests?,
            idle_upstream_connections: idle?,
        })
    }

    fn connections(&mut self, at: &KeyPath, entry: &mut file::Limits) -> Option<Connections> {
        let connections = *entry.connections.get_or_insert(Limits::default().connections.try_into().ok()?);
        let held = self.number(&at.key("connections"), &connections, 1..=MAX_CONNECTIONS)?;
        // Half-open connections leave room for those that are established; a few can all be half open for a moment.
        let handshakes = *entry.handshakes.get_or_insert((connections / 2).max(connections.min(100)));
        let handshakes = self.up_to(&at.key("handshakes"), handshakes, "connections", connections);
        let (at, per_address) = (at.key("per_address"), entry.per_address.get_or_insert_default());
        let own = *per_address.connections.get_or_insert(connections);
        let own = self.up_to(&at.key("connections"), own, "limits.connections", connections);
        let all = handshakes?;
        let handshaking = *per_address.handshakes.get_or_insert(all);
        let handshaking = self.up_to(&at.key("handshakes"), handshaking, "limits.handshakes", all);
        Some(Connections {
            connections: held,
            handshakes: all.try_into().ok()?,
            per_address: PerAddress { connections: own?.try_into().ok()?, handshakes: handshaking?.try_into().ok()? },
        })
    }

    /// Checks a number that is part of another one, which `key` names.
    fn up_to(&mut self, at: &KeyPath, number: u64, key: &str, most: u64) -> Option<u64> {
        let fits = (1..=most).contains(&number);
        if !fits {
            self.problem(at, format!("the number must be from 1 to that of `{key}`, which is {most}"));
        }
        fits.then_some(number)
    }

    /// The limits of a route, where they are not those of all.
    pub(super) fn route_limits(
        &mut self,
        at: &KeyPath,
        entry: Option<&mut file::RouteLimits>,
    ) -> Option<route::Limits> {
        let Some(entry) = entry else { return Some(route::Limits::default()) };
        let body_bytes = entry.body_bytes.map(|size| size.0);
        if body_bytes == Some(0) {
            let problem = "no request body could be sent; write a size above zero, such as `10MiB`";
            self.problem(&at.key("body_bytes"), problem);
            return None;
        }
        let mut time = |key: &str, entry: &mut Option<scalar::Duration>| match entry {
            // Without it, the limit is that of the gateway or the upstream.
            Some(scalar::Duration(time)) => self.time_of(&at.key(key), *time, UP_TO_A_DAY, None).map(Some),
            None => Some(None),
        };
        let body_timeout = time("body_timeout", &mut entry.body_timeout);
        let response_timeout = time("response_timeout", &mut entry.response_timeout);
        let exchange_timeout = time("exchange_timeout", &mut entry.exchange_timeout);
        let idle_timeout = time("idle_timeout", &mut entry.idle_timeout);
        Some(route::Limits {
            body_bytes,
            body_timeout: body_timeout?,
            response_timeout: response_timeout?,
            exchange_timeout: exchange_timeout?,
            idle_timeout: idle_timeout?,
        })
    }
}

/// More than any process can hold.
const MAX_CONNECTIONS: u64 = 1_000_000;

/// The most header fields that Pingora's HTTP/1 parser accepts.
const MAX_FIELDS: u64 = 256;
