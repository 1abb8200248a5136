//! How often an HTTP/2 client changes its settings.
//!
//! Each change of the initial window costs work for every stream that is open, and asks for nothing: a client that goes on
//! and on with it would keep those waiting who share its thread. Nothing else on the way counts these frames.

use std::time::Duration;

use crate::clock::Moment;

/// The frames of a connection, from the end of its preface on.
#[derive(Debug)]
pub(super) struct SettingsFrames {
    /// The beginning of a frame header that has not arrived whole.
    header: [u8; HEADER],
    arrived: usize,
    /// How many bytes of the current payload are still to come.
    payload: usize,
    /// How many changes were made, less those that have been forgiven.
    count: u32,
    /// Up to when some have been forgiven, from the beginning on.
    forgiven: Duration,
    began: Moment,
}

impl SettingsFrames {
    pub(super) fn new() -> Self {
        let (forgiven, began) = (Duration::ZERO, Moment::now());
        Self { header: [0; HEADER], arrived: 0, payload: 0, count: 0, forgiven, began }
    }

    /// Reads what has arrived next; returns whether the client changes its settings too often.
    pub(super) fn take(&mut self, bytes: &[u8]) -> bool {
        let began = self.began;
        self.take_at(bytes, || began.elapsed())
    }

    fn take_at(&mut self, mut bytes: &[u8], age: impl Fn() -> Duration) -> bool {
        loop {
            let skipped = self.payload.min(bytes.len());
            self.payload = self.payload.saturating_sub(skipped);
            bytes = bytes.get(skipped..).unwrap_or_default();
            let missing = self.header.get_mut(self.arrived..).unwrap_or_default();
            let length = missing.len().min(bytes.len());
            let (now, rest) = bytes.split_at(length);
            missing.iter_mut().zip(now).for_each(|(place, byte)| *place = *byte);
            (self.arrived, bytes) = (self.arrived.saturating_add(length), rest);
            if self.arrived < HEADER {
                return false;
            }
            let [a, b, c, kind, flags, ..] = self.header;
            (self.arrived, self.payload) = (0, u32::from_be_bytes([0, a, b, c]) as usize);
            if kind == SETTINGS && flags & ACK == 0 && self.is_once_too_often(age()) {
                return true;
            }
        }
    }

    fn is_once_too_often(&mut self, age: Duration) -> bool {
        let pauses = age.saturating_sub(self.forgiven).as_millis() / PAUSE.as_millis();
        if pauses > 0 {
            self.count = self.count.saturating_sub(u32::try_from(pauses).unwrap_or(u32::MAX));
            self.forgiven = age;
        }
        self.count = self.count.saturating_add(1);
        self.count > MOST
    }
}

/// RFC 9113 §4.1.
const HEADER: usize = 9;
/// RFC 9113 §6.5.
const SETTINGS: u8 = 4;
const ACK: u8 = 1;
/// How many changes may come at once: more than any client makes. HTTP libraries make a few for each connection.
const MOST: u32 = 100;
/// The time after which one more is allowed.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 0], payload].concat()
    }

    #[test]
    fn changes_are_counted_wherever_the_frames_are_cut() {
        let change = frame(SETTINGS, 0, &[0, 4, 0, 0, 0, 1]);
        let data = frame(0, 0, &change.repeat(50));
        let most: Vec<u8> = (0..MOST).flat_map(|_| [&*change, &data, &frame(SETTINGS, ACK, &[])].concat()).collect();
        for piece in [1, 2, 8, 9, 10, 100, 16_384, most.len()] {
            let mut frames = SettingsFrames::new();
            let mut take = |bytes: &[u8]| frames.take_at(bytes, || Duration::ZERO);
            assert!(most.chunks(piece).all(|bytes| !take(bytes)), "{piece}: control");
            assert!(take(&change), "{piece}: one more");
        }
    }

    #[test]
    fn what_was_a_while_ago_is_forgiven() {
        let changes = frame(SETTINGS, 0, &[]).repeat(MOST as usize);
        let change = frame(SETTINGS, 0, &[]);
        let mut frames = SettingsFrames::new();
        assert!(!frames.take_at(&changes, || Duration::ZERO));
        assert!(!frames.take_at(&change, || PAUSE), "control: one more after a pause");
        assert!(frames.take_at(&change, || PAUSE * 2 - Duration::from_millis(1)));
        assert!(!frames.take_at(&changes, || PAUSE * 200), "all is forgiven");
    }
}
