//! What replicas call the buckets in their store, so that each finds those of the others.
//!
//! A name is a part of a SHA-256: nobody can choose what is counted so that it has the name of another's, and the store has
//! nothing that can be read.

use std::net::Ipv6Addr;

use fapi::sha256;

use crate::connection::shares::Holder;
use crate::rate_limits::{Key, Limit};

/// The name of a limit, or of a bucket.
pub(super) type Name = [u8; 16];

/// The name of a limit of a route; another for each rate and burst.
pub(super) fn of_limit(route: &str, limit: &Limit) -> Name {
    beginning(sha256(format!("rate limit by {} of {limit} on {route}", limit.by).as_bytes()))
}

/// The name of the bucket of a key under a limit.
pub(super) fn of_bucket(limit: &Name, key: &Key<'_>) -> Name {
    let (kind, parts): (u8, [&[u8]; 2]) = match key {
        Key::Address(None) => (0, [&[], &[]]),
        Key::Address(Some(network)) => return named(limit, 1, [&network.octets(), &[]]),
        Key::Sender(Holder::Certificate(thumbprint)) => (2, [thumbprint, &[]]),
        Key::Sender(Holder::Key(thumbprint)) => (3, [thumbprint, &[]]),
        Key::Sender(Holder::Address(network)) => return named(limit, 4, [&network.octets(), &[]]),
        Key::Client(issuer, Some(client_id)) => (5, [issuer.as_bytes(), client_id.as_bytes()]),
        Key::Client(issuer, None) => (6, [issuer.as_bytes(), &[]]),
        Key::Issuer(issuer) => (7, [issuer.as_bytes(), &[]]),
    };
    named(limit, kind, parts)
}

/// Hashes what is written so that no two lists of parts are written alike: each part after its length, or the SHA-256 of one
/// that is too long after a length that none has.
fn named(limit: &Name, kind: u8, parts: [&[u8]; 2]) -> Name {
    let mut bytes = [0; LIMIT + 1 + 2 * (1 + LONGEST)];
    bytes[..LIMIT].copy_from_slice(limit);
    bytes[LIMIT] = kind;
    let mut written = LIMIT + 1;
    for part in parts {
        let digest;
        let (length, part) = if part.len() <= LONGEST {
            (part.len() as u8, part)
        } else {
            digest = sha256(part);
            (u8::MAX, &digest[..])
        };
        bytes[written] = length;
        bytes[written + 1..][..part.len()].copy_from_slice(part);
        written += 1 + part.len();
    }
    beginning(sha256(&bytes[..written]))
}

fn beginning(hash: [u8; 32]) -> Name {
    let mut name = [0; 16];
    name.copy_from_slice(&hash[..16]);
    name
}

const LIMIT: usize = size_of::<Name>();

/// How long a part may be that is written as it is.
const LONGEST: usize = 64;

const _: () = assert!(LONGEST < u8::MAX as usize && LONGEST >= size_of::<Ipv6Addr>());

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::num::NonZeroU32;

    use fapi::rate_limit::By;

    use super::*;
    use crate::connection::addresses::ClientNetwork;
    use crate::rate_limits::{Rate, Unit};

    fn limit(by: By, requests: u32, per: Unit, burst: u32) -> Limit {
        let number = |number| NonZeroU32::new(number).unwrap();
        Limit { by, rate: Rate { requests: number(requests), per }, burst: number(burst) }
    }

    #[test]
    fn whatever_differs_has_another_name() {
        let limits = [
            of_limit("r", &limit(By::Client, 1, Unit::Second, 1)),
            of_limit("s", &limit(By::Client, 1, Unit::Second, 1)),
            of_limit("r", &limit(By::Issuer, 1, Unit::Second, 1)),
            of_limit("r", &limit(By::Client, 2, Unit::Second, 1)),
            of_limit("r", &limit(By::Client, 60, Unit::Minute, 1)),
            of_limit("r", &limit(By::Client, 1, Unit::Second, 2)),
        ];
        let network = |address: &str| Some(ClientNetwork::of(address.parse().unwrap()));
        let (long, longer) = ("a".repeat(65), "a".repeat(66));
        let of_long = data_encoding::HEXLOWER.encode(&sha256(long.as_bytes()));
        let keys = [
            Key::Address(None),
            Key::Address(network("192.0.2.1")),
            Key::Address(network("192.0.2.2")),
            Key::Address(network("2001:db8::1")),
            Key::Address(network("::")),
            Key::Sender(Holder::Certificate([1; 32])),
            Key::Sender(Holder::Key([1; 32])),
            Key::Sender(Holder::Key([2; 32])),
            Key::Client("a", Some("b")),
            Key::Client("ab", Some("")),
            Key::Client("", Some("ab")),
            Key::Client("a", None),
            Key::Client("a", Some("")),
            Key::Client("a", Some(&long)),
            Key::Client("a", Some(&longer)),
            Key::Client("a", Some(&long[..64])),
            Key::Client("a", Some(&of_long)),
            Key::Issuer("a"),
            Key::Issuer("ab"),
        ];
        let names: HashSet<Name> =
            limits.iter().flat_map(|limit| keys.iter().map(|key| of_bucket(limit, key))).collect();
        assert_eq!(names.len(), limits.len() * keys.len());
    }

    #[test]
    fn every_replica_has_the_same_name_for_the_same() {
        let limit = of_limit("payments", &limit(By::Address, 20, Unit::Second, 20));
        let network = |address: &str| Key::Address(Some(ClientNetwork::of(address.parse().unwrap())));
        let name = |key: Key<'_>| data_encoding::HEXLOWER.encode(&of_bucket(&limit, &key));
        assert_eq!(name(network("2001:db8::1")), name(network("2001:db8::ffff:2")), "one customer");
        assert_eq!(name(network("192.0.2.1")), name(network("::ffff:192.0.2.1")));
        // Replicas of two versions of the gateway share buckets while one follows the other.
        assert_eq!(name(network("192.0.2.1")), "17169f478cfe15707c02eaeefa2ee9c5");
        assert_eq!(name(Key::Client("bank", Some("client-1"))), "fe7e7f2020f0b1d73315ba6471b47365");
    }
}
