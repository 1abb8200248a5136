//! What `src/clock.rs` names. The time is the system's: in a scene nothing expires.

pub fn instant() -> crate::time::Instant {
    crate::time::Instant::now()
}

/// A clock that stands.
#[derive(Clone)]
pub struct Clock;

impl Clock {
    pub fn now(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

pub fn rfc3339(_: std::time::Duration) -> String {
    String::new()
}

/// A point in time; none passes after it.
#[derive(Clone, Copy, Debug)]
pub struct Moment;

impl Moment {
    pub fn now() -> Self {
        Self
    }

    pub fn elapsed(self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}
