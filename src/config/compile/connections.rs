//! `limits.connections`, `limits.handshakes` and `limits.per_address`: how many connections are held at a time.

use super::Build;
use crate::config::error::KeyPath;
use crate::config::file;
use crate::connection::limits::{Limits, PerAddress};

/// How many connections are held at a time.
pub(super) struct Connections {
    pub(super) connections: usize,
    pub(super) handshakes: usize,
    pub(super) per_address: PerAddress,
}

impl Build<'_> {
    pub(super) fn connections(&mut self, at: &KeyPath, entry: &mut file::Limits) -> Option<Connections> {
        let connections = entry.connections.get_or_insert(Limits::default().connections.try_into().ok()?);
        if *connections > MAX_CONNECTIONS {
            self.problem(&at.key("connections"), "no process can hold so many; write at most 1000000");
        }
        let connections = self.count(&at.key("connections"), connections)?;
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
            connections: connections.try_into().ok()?,
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
}

pub(super) const MAX_CONNECTIONS: u64 = 1_000_000;
