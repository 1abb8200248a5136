//! Counts what each client address holds of a listener, and limits it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::limits::PerAddress;

/// The addresses of one customer of a network, as far as they can be told apart.
///
/// An IPv4 address, or the first 64 bits of an IPv6 address, which is the least that a network gives to one customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientNetwork(IpAddr);

impl ClientNetwork {
    /// The customer at this address; an IPv4-mapped IPv6 address counts as an IPv4 address.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
            address @ IpAddr::V4(_) => address,
        })
    }

    /// The address as one of IPv6.
    pub const fn octets(&self) -> [u8; 16] {
        match self.0 {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        }
    }
}

/// What the client addresses hold of one listener. An address is known only while it holds a connection, so there are
/// never more of them than connections.
#[derive(Clone, Default)]
pub struct AddressShares(Arc<Mutex<HashMap<ClientNetwork, Held>>>);

/// What one address holds.
#[derive(Clone, Copy, Default)]
struct Held {
    connections: usize,
    /// How many of the connections are in their handshake.
    handshakes: usize,
}

/// Why an address gets no share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareExceeded {
    /// It holds as many connections as it may.
    Connections,
    /// As many of its handshakes are in progress as it may have.
    Handshakes,
}

/// The share of one connection; dropping it gives it back.
pub struct AddressShare {
    shares: AddressShares,
    client: ClientNetwork,
    handshaking: bool,
}

impl AddressShares {
    /// Takes the share of a connection that begins its handshake.
    ///
    /// # Errors
    /// [`ShareExceeded`].
    pub fn take(&self, client: ClientNetwork, limits: PerAddress) -> Result<AddressShare, ShareExceeded> {
        let mut table = self.table();
        let held = table.get(&client).copied().unwrap_or_default();
        if held.connections >= limits.connections {
            return Err(ShareExceeded::Connections);
        }
        if held.handshakes >= limits.handshakes {
            return Err(ShareExceeded::Handshakes);
        }
        let held =
            Held { connections: held.connections.saturating_add(1), handshakes: held.handshakes.saturating_add(1) };
        table.insert(client, held);
        drop(table);
        Ok(AddressShare { shares: self.clone(), client, handshaking: true })
    }

    fn table(&self) -> MutexGuard<'_, HashMap<ClientNetwork, Held>> {
        // Every change is a single insertion or removal, so the table is whole even after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives back what was held, and forgets an address that holds nothing more.
    fn give_back(&self, client: ClientNetwork, connections: usize, handshakes: usize) {
        let mut table = self.table();
        let Some(held) = table.get_mut(&client) else { return };
        held.connections = held.connections.saturating_sub(connections);
        held.handshakes = held.handshakes.saturating_sub(handshakes);
        if held.connections == 0 {
            table.remove(&client);
        }
    }
}

impl AddressShare {
    /// Records that the handshake is over.
    #[must_use]
    pub fn established(mut self) -> Self {
        self.shares.give_back(self.client, 0, usize::from(self.handshaking));
        self.handshaking = false;
        self
    }
}

impl Drop for AddressShare {
    fn drop(&mut self) {
        self.shares.give_back(self.client, 1, usize::from(self.handshaking));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> ClientNetwork {
        ClientNetwork::of(address.parse().unwrap())
    }

    #[test]
    fn an_address_is_one_spelling_of_what_one_customer_has() {
        assert_eq!(at("192.0.2.1"), at("::ffff:192.0.2.1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
        assert_eq!(at("2001:db8:0:1::1"), at("2001:db8:0:1:ffff::2"));
        assert_ne!(at("2001:db8:0:1::1"), at("2001:db8:0:2::1"));
    }

    #[test]
    fn an_address_takes_its_share_and_no_more() {
        let shares = AddressShares::default();
        let take = |address| shares.take(at(address), PerAddress { connections: 3, handshakes: 2 });
        let refused = |address| take(address).err();
        let (one, two) = (take("192.0.2.1").unwrap(), take("192.0.2.1").unwrap());
        assert_eq!(refused("192.0.2.1"), Some(ShareExceeded::Handshakes));
        assert_eq!(refused("192.0.2.2"), None, "control: another address");
        let (one, two) = (one.established(), two.established());
        let three = take("192.0.2.1").unwrap().established();
        assert_eq!(refused("192.0.2.1"), Some(ShareExceeded::Connections));
        drop(one);
        assert_eq!(refused("192.0.2.1"), None, "a connection was closed");
        drop((two, three));
        assert!(shares.table().is_empty());
    }
}
