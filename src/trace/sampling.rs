//! Which exchanges are recorded: those whose client recorded its part, and a share of those that begin a trace.

use std::sync::atomic::{AtomicU64, Ordering};

use fapi::headers::{TraceContext, TraceId};

/// Decides which exchanges are recorded.
pub struct Sampler {
    /// What the id of a trace has to be below.
    below: u64,
    of_clients: Quota,
}

/// Whether an exchange is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// It is.
    Recorded,
    /// It is not.
    NotRecorded,
    /// It is not, although its client asks for it: so many have in this second.
    Refused,
}

impl Sampler {
    /// Records this share of the traces that begin here, from 0 to 1, and at most so many a second of those that clients ask for.
    pub fn new(share: f64, of_clients: u32) -> Self {
        // A share of 1 is more than any id.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number from 0 to 2^63")]
        let below = (share.clamp(0.0, 1.0) * ALL) as u64;
        Self { below, of_clients: Quota { most: of_clients.into(), state: AtomicU64::new(0) } }
    }

    /// Decides on an exchange that begins in this second: as its client did, if it continues the client's trace.
    ///
    /// Trace Context, "Denial of service": where a service "naively continues any trace with the recorded flag set", whoever sends
    /// requests can have all of them recorded, here and behind the gateway.
    pub fn decide(&self, trace: &TraceContext, second: u64) -> Sampling {
        match (trace.is_continued(), trace.is_sampled()) {
            (false, _) if self.takes(trace.id()) => Sampling::Recorded,
            (false, _) | (true, false) => Sampling::NotRecorded,
            (true, true) if self.of_clients.take(second) => Sampling::Recorded,
            (true, true) => Sampling::Refused,
        }
    }

    /// Whether the id is among those that are recorded, by the part of it that other systems with a share look at too.
    fn takes(&self, id: TraceId) -> bool {
        let [.., a, b, c, d, e, f, g, h] = *id.as_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < self.below
    }
}

/// How many times something may happen in a second.
struct Quota {
    most: u64,
    /// The second, and how many times it happened in it.
    state: AtomicU64,
}

impl Quota {
    fn take(&self, second: u64) -> bool {
        let second = second & COUNT;
        let next = |state: u64| {
            let count = if state >> BITS == second { state & COUNT } else { 0 };
            (count < self.most).then_some((second << BITS) | count.wrapping_add(1))
        };
        self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

/// As many as there are numbers of 63 bits.
const ALL: f64 = 9_223_372_036_854_775_808.0;
const BITS: u32 = 32;
const COUNT: u64 = (1 << BITS) - 1;

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn continued(flags: &str) -> TraceContext {
        let text = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        TraceContext::from_request(&HeaderMap::from_iter([("traceparent".parse().unwrap(), text.parse().unwrap())]))
            .unwrap()
    }

    fn started(last: [u8; 8]) -> TraceContext {
        let mut random = [1; 24];
        random[8..16].copy_from_slice(&last);
        TraceContext::start(random)
    }

    #[test]
    fn a_client_that_recorded_its_part_decides_and_so_does_one_that_did_not() {
        let (never, always) = (Sampler::new(0.0, 10), Sampler::new(1.0, 10));
        for sampler in [&never, &always] {
            assert_eq!(sampler.decide(&continued("01"), 1), Sampling::Recorded);
            assert_eq!(sampler.decide(&continued("00"), 1), Sampling::NotRecorded);
        }
        assert_eq!(never.decide(&started([0; 8]), 1), Sampling::NotRecorded);
        assert_eq!(always.decide(&started([0xff; 8]), 1), Sampling::Recorded);
    }

    #[test]
    fn a_share_of_the_traces_that_begin_here_is_recorded() {
        let half = Sampler::new(0.5, 0);
        let decide = |last: u64| half.decide(&started(last.to_be_bytes()), 1);
        assert_eq!(decide((1 << 63) - 1), Sampling::Recorded);
        assert_eq!(decide(1 << 63), Sampling::NotRecorded);
        let hundredth = Sampler::new(0.01, 0);
        let step = u64::MAX / 100_000;
        let taken = (0..100_000).filter(|n| hundredth.takes(started((n * step).to_be_bytes()).id())).count();
        assert!((999..=1001).contains(&taken), "{taken}");
    }

    #[test]
    fn clients_may_ask_for_so_many_a_second() {
        let sampler = Sampler::new(0.0, 3);
        let decide = |second| sampler.decide(&continued("01"), second);
        assert_eq!([1, 1, 1, 1, 2].map(decide)[2..], [Sampling::Recorded, Sampling::Refused, Sampling::Recorded]);
        assert_eq!(Sampler::new(1.0, 0).decide(&continued("01"), 1), Sampling::Refused);
        let sampler = Sampler::new(0.0, 1000);
        let taken = |_| (0..1000).filter(|_| sampler.of_clients.take(7)).count();
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || taken(thread))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000, "whoever asks at the same time");
    }
}
