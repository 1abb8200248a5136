//! Remembers for which request each idempotency key was used, in this process or in a store that all replicas share.
//!
//! If nobody can tell, the request is refused: the client may send it again. What a process or a store has forgotten, when it was
//! started again, the resource server behind has to know.

mod memory;
mod shared;

use fapi::idempotency::{AcceptedUse, IdempotencyError, KeyUse};
use fapi::policy::PolicyError;
use fapi::rejection::{Cause, ShareExceeded, Unavailable};

use self::memory::{Kept, MemoryKeys};
use self::shared::Known;
use crate::clock::Clock;
use crate::replay::memory::Capacity;
use crate::store::{NoAnswer, Store};

/// The idempotency keys that were used.
pub struct IdempotencyKeys {
    memory: MemoryKeys,
    clock: Clock,
}

impl IdempotencyKeys {
    /// None yet, and no more than this: in all, and of one client.
    pub fn new(capacity: Capacity, clock: Clock) -> Self {
        Self { memory: MemoryKeys::new(capacity), clock }
    }

    /// Continues with other limits, without forgetting a key.
    pub fn resize(&self, capacity: Capacity) {
        self.memory.resize(capacity);
    }

    /// Notes the use of a key, unless the client used it for another request; in the store that replicas share, if there is one, which
    /// then decides. This process counts all the same, of each client, the keys that it saw first.
    ///
    /// # Errors
    /// [`IdempotencyError::Reused`], [`ShareExceeded::IdempotencyKeys`], and [`Unavailable::IdempotencyKeys`] if there is no room, or
    /// if the store does not say.
    pub async fn note(&self, used: &KeyUse, store: Option<&Store>) -> Result<AcceptedUse, Cause> {
        let now = self.clock.monotonic();
        let Some(store) = store else { return accepted(self.memory.note(used, now), used) };
        let known = match self.memory.look(used, now) {
            Kept::Other => Known::Other,
            // What another replica noted needs no room here.
            room @ (Kept::ShareExceeded | Kept::Full) => match shared::look(store, used).await {
                Ok(Some(known)) => known,
                Ok(None) => return accepted(room, used),
                Err(why) => return Err(unanswered(store, &why)),
            },
            Kept::First | Kept::Same => match shared::note(store, used).await {
                Ok(known) => known,
                Err(why) => return Err(unanswered(store, &why)),
            },
        };
        match known {
            Known::First => {
                // Of several at once that find room, all are counted as far as there is some.
                let _ = self.memory.note(used, now);
                Ok(AcceptedUse::assertion(used))
            }
            // How long ago the first use was, the store alone knows: noted here from now on, it would be kept for too long.
            Known::Same => Ok(AcceptedUse::assertion(used)),
            Known::Other => Err(PolicyError::from(IdempotencyError::Reused).into()),
        }
    }
}

fn accepted(kept: Kept, used: &KeyUse) -> Result<AcceptedUse, Cause> {
    match kept {
        Kept::First | Kept::Same => Ok(AcceptedUse::assertion(used)),
        Kept::Other => Err(PolicyError::from(IdempotencyError::Reused).into()),
        Kept::ShareExceeded => Err(ShareExceeded::IdempotencyKeys.into()),
        Kept::Full => Err(Unavailable::IdempotencyKeys { detail: "there is no room for more".into() }.into()),
    }
}

fn unanswered(store: &Store, why: &NoAnswer) -> Cause {
    let detail = format!("the store `{}`: {why}", store.settings().name);
    Unavailable::IdempotencyKeys { detail }.into()
}
