//! The last lines that were taken to a destination, for whoever asks before they can be found there.

use std::collections::VecDeque;
use std::sync::Arc;

use memchr::memchr_iter;

use crate::sync::{Mutex, MutexGuard, PoisonError};

/// The last lines of a destination. Keeps none until it is told how many, and never more than 8 MiB of them.
#[derive(Debug, Default)]
pub struct Recent {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Arc<[u8]>>,
    bytes: usize,
    most: usize,
}

impl Recent {
    /// Keeps so many lines from now on.
    pub fn keep(&self, most: usize) {
        let mut kept = self.lock();
        kept.most = most;
        kept.shorten();
    }

    /// The lines without their ends, the last one first.
    pub fn lines(&self) -> Vec<Arc<[u8]>> {
        self.lock().lines.iter().rev().cloned().collect()
    }

    /// Adds whole lines.
    pub(super) fn add(&self, lines: &[u8]) {
        let mut kept = self.lock();
        if kept.most == 0 {
            return;
        }
        let mut begin = 0_usize;
        for end in memchr_iter(b'\n', lines) {
            let line = lines.get(begin..end).unwrap_or_default();
            kept.bytes = kept.bytes.saturating_add(line.len());
            kept.lines.push_back(line.into());
            kept.shorten();
            begin = end.saturating_add(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn shorten(&mut self) {
        while self.lines.len() > self.most || self.bytes > MAX_BYTES {
            let length = self.lines.pop_front().map_or(0, |line| line.len());
            self.bytes = self.bytes.saturating_sub(length);
        }
    }
}

const MAX_BYTES: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(recent: &Recent) -> Vec<String> {
        recent.lines().iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    #[test]
    fn the_last_lines_are_kept_and_no_more() {
        let recent = Recent::default();
        recent.add(b"none\n");
        assert!(texts(&recent).is_empty());
        recent.keep(3);
        recent.add(b"one\ntwo\n");
        recent.add(b"three\nfour\n");
        assert_eq!(texts(&recent), ["four", "three", "two"]);
        recent.keep(1);
        assert_eq!(texts(&recent), ["four"]);
        recent.keep(0);
        recent.add(b"five\n");
        assert!(texts(&recent).is_empty());
        assert_eq!(recent.lock().bytes, 0);
    }

    #[test]
    fn long_lines_are_fewer() {
        let recent = Recent::default();
        recent.keep(1000);
        let line = [vec![b'a'; MAX_BYTES / 2], vec![b'\n']].concat();
        for _ in 0..3 {
            recent.add(&line);
        }
        assert_eq!(recent.lines().len(), 2);
    }
}
