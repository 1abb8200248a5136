//! Nonces that are recognised without being stored (RFC 9449 §8, §9).
//!
//! A nonce contains the second of its issue and an HMAC over it, so that every replica with the same key accepts it. It
//! is accepted for two lifetimes and replaced after one, so that an active client always has a valid nonce.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;

use crate::UnixTime;

/// The keys and the lifetime of nonces.
#[derive(Clone)]
pub struct Nonces {
    keys: Vec<hmac::Key>,
    lifetime: u64,
    outlive_the_process: bool,
}

/// There is no key, or the lifetime is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nonces need at least one key and a lifetime of at least one second")]
pub struct NoNonces;

impl Nonces {
    /// Nonces with a lifetime in seconds. The first key makes nonces; the others still verify them, for key rotation.
    ///
    /// # Errors
    /// [`NoNonces`].
    pub fn new(keys: &[[u8; 32]], lifetime: u64) -> Result<Self, NoNonces> {
        if keys.is_empty() || lifetime == 0 {
            return Err(NoNonces);
        }
        Ok(Self {
            keys: keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)).collect(),
            lifetime,
            outlive_the_process: true,
        })
    }

    /// The same, where each process makes keys of its own: the nonces of the one before are not recognised.
    #[must_use]
    pub fn of_this_process(self) -> Self {
        Self { outlive_the_process: false, ..self }
    }

    /// Whether a nonce that is not recognised may be of the process before this one.
    pub(super) const fn may_have_been_ours(&self) -> bool {
        !self.outlive_the_process
    }

    /// The seconds after which a nonce is replaced.
    pub const fn lifetime(&self) -> u64 {
        self.lifetime
    }

    /// The nonce for a second, which is the same for all clients. It is never `None`: base64url is a field value.
    pub fn issue(&self, at: UnixTime) -> Option<HeaderValue> {
        let tag = hmac::sign(self.keys.first()?, &message(at, self.lifetime));
        let mut bytes = at.0.to_be_bytes().to_vec();
        bytes.extend_from_slice(tag.as_ref().get(..TAG_BYTES)?);
        HeaderValue::try_from(URL_SAFE_NO_PAD.encode(bytes)).ok()
    }

    /// When a nonce that was issued at this time expires, whichever key made it.
    pub(super) const fn expiry_of(&self, issued_at: UnixTime) -> UnixTime {
        Nonce { issued_at, lifetime: self.lifetime }.expires_at()
    }

    /// Reads a nonce of any age, if it was made with one of the keys.
    pub fn read(&self, nonce: &str) -> Option<Nonce> {
        let bytes = URL_SAFE_NO_PAD.decode(nonce).ok()?;
        let (issued_at, tag) = bytes.split_first_chunk::<8>()?;
        let issued_at = UnixTime(u64::from_be_bytes(*issued_at));
        let ours = self.keys.iter().any(|key| {
            let expected = hmac::sign(key, &message(issued_at, self.lifetime));
            expected
                .as_ref()
                .get(..TAG_BYTES)
                .is_some_and(|expected| constant_time::verify_slices_are_equal(expected, tag).is_ok())
        });
        ours.then_some(Nonce { issued_at, lifetime: self.lifetime })
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").field("keys", &self.keys.len()).field("lifetime", &self.lifetime).finish()
    }
}

/// A nonce that was issued with one of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce {
    issued_at: UnixTime,
    lifetime: u64,
}

impl Nonce {
    /// When it was issued.
    pub const fn issued_at(&self) -> UnixTime {
        self.issued_at
    }

    /// The first second at which it is no longer accepted.
    pub const fn expires_at(&self) -> UnixTime {
        self.issued_at.plus(self.lifetime.saturating_mul(2))
    }

    /// Whether it is accepted at `now`; that of another replica may be up to `ahead` seconds ahead.
    pub const fn is_accepted_at(&self, now: UnixTime, ahead: u64) -> bool {
        self.issued_at.0 <= now.plus(ahead).0 && now.0 < self.expires_at().0
    }

    /// Whether the client should get a new one.
    pub const fn is_due_for_renewal_at(&self, now: UnixTime) -> bool {
        now.since(self.issued_at) >= self.lifetime
    }
}

/// The input of the HMAC, which includes the lifetime: nonces with another lifetime are not recognised.
fn message(issued_at: UnixTime, lifetime: u64) -> [u8; 40] {
    let mut message = [0; 40];
    let parts =
        b"fapi-gateway DPoP nonce ".iter().copied().chain(issued_at.0.to_be_bytes()).chain(lifetime.to_be_bytes());
    message.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
    message
}

/// FAPI 2.0 §5.4.1 requires 128 bits.
const TAG_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(nonces: &Nonces, now: u64) -> String {
        nonces.issue(UnixTime(now)).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn dpop_35_a_nonce_is_good_for_two_lifetimes_and_replaced_after_one() {
        let nonces = Nonces::new(&[[1; 32]], 60).unwrap();
        let nonce = nonces.read(&text(&nonces, 600)).unwrap();
        for (now, good) in [(589, false), (590, true), (600, true), (719, true), (720, false)] {
            assert_eq!(nonce.is_accepted_at(UnixTime(now), 10), good, "{now}");
        }
        assert!(!nonce.is_due_for_renewal_at(UnixTime(659)) && nonce.is_due_for_renewal_at(UnixTime(660)));
        let shorter = Nonces::new(&[[1; 32]], 30).unwrap();
        assert_eq!((nonces.lifetime(), shorter.lifetime()), (60, 30));
        assert_eq!(shorter.read(&text(&nonces, 600)), None, "another lifetime, another nonce");
    }

    #[test]
    fn dpop_38_replicas_know_each_others_nonces_and_nobody_elses() {
        let (one, two) = (Nonces::new(&[[1; 32]], 60).unwrap(), Nonces::new(&[[1; 32]], 60).unwrap());
        assert!(two.read(&text(&one, 600)).is_some());
        let other = Nonces::new(&[[2; 32]], 60).unwrap();
        assert_eq!(other.read(&text(&one, 600)), None);
        let rotated = Nonces::new(&[[2; 32], [1; 32]], 60).unwrap();
        assert!(rotated.read(&text(&one, 600)).is_some(), "a former key is still known");
        assert_eq!(text(&rotated, 600), text(&other, 600), "the first key signs");
    }

    #[test]
    fn dpop_33_refuses_every_other_spelling() {
        let nonces = Nonces::new(&[[1; 32]], 60).unwrap();
        let good = text(&nonces, 600);
        assert!(nonces.read(&good).is_some()); // control
        for bad in ["", "AAAA", &good[1..], &format!("{good}A"), &format!("{good}="), &good.to_uppercase()] {
            assert_eq!(nonces.read(bad), None, "{bad}");
        }
    }
}
