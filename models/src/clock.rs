//! What `src/clock.rs` names. The time is the system's: in a scene nothing expires.

pub fn instant() -> crate::time::Instant {
    crate::time::Instant::now()
}
