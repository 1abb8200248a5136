//! The idempotency key of a request, on routes that have one: it counts as used when everything else has passed.

use fapi::permit::Authorized;
use fapi::policy::PolicyError;
use fapi::rejection::{Cause, Unavailable};

use super::Gateway;

impl Gateway {
    /// Notes the use of the idempotency key for a request, if it has one that counts.
    ///
    /// On a route in shadow, one that was used for another request, or of which nobody knows, is noted.
    pub(super) async fn use_key(&self, authorized: Authorized) -> Result<Authorized, Cause> {
        let Some(key) = authorized.idempotency_key() else { return Ok(authorized) };
        let Some(used) = key.key_use() else {
            let detail = "nobody said for which request an idempotency key is".to_owned();
            return Err(Unavailable::Internal { detail }.into());
        };
        let store = self.shared_replay.as_ref().map(|shared| &**shared.store());
        match self.idempotency_keys.note(&used, store).await {
            Ok(accepted) => Ok(authorized.with_key_used(&accepted).map_err(PolicyError::from)?),
            Err(cause) => authorized.pass_key(cause.code(), &cause).ok_or(cause),
        }
    }
}
