//! Private keys that stay in a token of PKCS#11 (OASIS PKCS #11 v2.40) and sign there.
//!
//! A token comes with a module: a library that becomes part of this process. One thread for each module asks everything of it,
//! one thing after another, since what it may do to other threads is not known (`worker`). Whoever needs a signature waits
//! for that thread, for a bounded time: a module that hangs keeps its own thread and no other.
//!
//! A PIN that a token has refused is not tried again, since a token locks itself after a few wrong ones.

#[cfg(feature = "pkcs11")]
mod key;
#[cfg(feature = "pkcs11")]
mod objects;
mod problem;
#[cfg(feature = "pkcs11")]
mod session;
#[cfg(feature = "pkcs11")]
mod worker;

use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use fapi::jose::signing::PrivateKey;
use fapi::sha256;
use zeroize::Zeroizing;

pub use self::problem::{Names, Part, Problem};

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The module, with its whole path: a name without a folder would be looked for in the system's folders.
    pub module: PathBuf,
    /// The label of the token.
    pub token: String,
    /// The label of the private key in it.
    pub object: String,
}

impl Location {
    /// Its name as a URI (RFC 7512), without the module, which is a matter of this machine.
    pub fn uri(&self) -> String {
        format!("pkcs11:token={};object={}", escaped(&self.token), escaped(&self.object))
    }
}

/// RFC 7512 §2.3: everything but what RFC 3986 calls unreserved is percent-encoded here.
fn escaped(label: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    label.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The PIN of a token's user. It is overwritten in memory when it is dropped, and `Debug` does not show it.
#[cfg_attr(not(feature = "pkcs11"), expect(dead_code, reason = "there is no token to log in to"))]
pub struct Pin {
    text: Zeroizing<String>,
    digest: [u8; 32],
    /// When its file was changed last.
    written: Option<SystemTime>,
}

impl Pin {
    /// A PIN, and when the file that it is from was changed last: after a change the same PIN may be tried again.
    pub fn new(text: Zeroizing<String>, written: Option<SystemTime>) -> Self {
        Self { digest: sha256(text.as_bytes()), text, written }
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin")
    }
}

/// A key that has signed.
pub struct Opened {
    /// The key, which signs in its token.
    pub key: PrivateKey,
    /// Distinguishes it from other keys, and from the same key elsewhere.
    pub identity: [u8; 32],
}

/// Finds a key, logging in to its token, and has it sign once. Blocks, for a bounded time.
///
/// # Errors
/// [`Problem`].
#[cfg(feature = "pkcs11")]
pub fn open(location: &Location, pin: Pin) -> Result<Opened, Problem> {
    key::open(location, pin)
}

/// Says that this program has no keys in tokens.
///
/// # Errors
/// [`Problem::NotBuilt`].
#[cfg(not(feature = "pkcs11"))]
pub fn open(_: &Location, _: Pin) -> Result<Opened, Problem> {
    Err(Problem::NotBuilt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_uri_and_a_pin_is_not_shown() {
        let location =
            Location { module: "/lib/a.so".into(), token: "the audit".to_owned(), object: "a;b%é-1".to_owned() };
        assert_eq!(location.uri(), "pkcs11:token=the%20audit;object=a%3Bb%25%C3%A9-1");
        let pin = Pin::new(Zeroizing::new("314159".to_owned()), None);
        assert!(!format!("{pin:?}").contains("314159"));
    }
}
