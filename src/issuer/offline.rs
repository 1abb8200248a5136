//! Issuers without the background work of a running gateway, for `explain`: keys that are given, or read once.

use std::time::Duration;

use fapi::jose::keys::KeySetError;

use super::Issuers;

impl Issuers {
    /// Takes the keys of a JWK Set as those of every issuer that verifies with keys; no others are read from then on.
    ///
    /// For one token only: it is matched to the issuer that it claims, so only that issuer's keys matter.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub fn pin_keys(&self, document: &[u8]) -> Result<(), KeySetError> {
        self.entries.iter().filter_map(|entry| entry.keys.as_ref()).try_for_each(|keys| keys.pin(document))
    }

    /// Reads the keys and the endpoint of every issuer once, and waits until each was read or could not be.
    pub async fn read_once(&self) {
        let settled = async {
            while !self.have_settled() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = self.keep_fresh() => {}
            () = settled => {}
        }
    }
}
