//! The thread that carries lines to their output.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use super::{Event, FULL, GATHER, Output, Report, Shared, Sleep, Stamp, Taken};
use crate::sync::PoisonError;
use crate::sync::atomic::Ordering;

pub(super) struct Writer {
    shared: Arc<Shared>,
    output: Output,
    /// The lines that are being written.
    current: Vec<u8>,
    /// How much of them is written.
    written: usize,
    /// Whether the last line of the output was left without its end by someone else.
    unended: bool,
    /// Whether a fault was reported that is not over yet.
    troubled: bool,
    /// Why the output was not rotated, until it is said.
    not_rotated: Option<io::Error>,
    /// Whether the end was known at the last attempt.
    tried_last: bool,
    report: Report,
    /// What is added to lines.
    stamp: Option<Box<dyn Stamp>>,
    /// When something was last reported, in milliseconds of [`super::Health::now`], and how many lines were lost by then.
    reported: Option<u64>,
    reported_lost: u64,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, output: Output, report: Report, stamp: Option<Box<dyn Stamp>>) -> Self {
        Self {
            shared,
            unended: output.ends_within_line(),
            output,
            current: Vec::new(),
            written: 0,
            troubled: false,
            not_rotated: None,
            tried_last: false,
            report,
            stamp,
            reported: None,
            reported_lost: 0,
        }
    }

    pub(super) fn run(mut self) {
        loop {
            let last = self.gather();
            self.shared.recent.add(&self.current);
            self.stamp(|stamp, lines, lost| stamp.stamp(lines, lost));
            if !self.carry_all() {
                return;
            }
            self.note_success();
            if last {
                let mut batch = self.shared.lock();
                if batch.bytes.is_empty() {
                    batch.ended = true;
                    break;
                }
            }
        }
        // Nothing is sent any more.
        self.stamp(|stamp, lines, lost| stamp.end(lines, lost));
        self.carry_all();
    }

    /// Lets something be added to the lines that are written next.
    fn stamp(&mut self, add: impl FnOnce(&mut dyn Stamp, &mut Vec<u8>, u64)) {
        let Some(stamp) = &mut self.stamp else { return };
        let (health, before) = (&self.shared.health, self.current.len());
        add(stamp.as_mut(), &mut self.current, health.lost());
        health.held.fetch_add(self.current.len().saturating_sub(before), Ordering::Relaxed);
    }

    /// Writes what is not yet written, however long it takes; returns whether it did not give up.
    fn carry_all(&mut self) -> bool {
        while let Err(error) = self.carry() {
            if self.wait_out(&error) {
                return false;
            }
        }
        true
    }

    /// Waits for lines, or until something is due without any, and takes those for the current output; returns whether they
    /// are the last ones.
    fn gather(&mut self) -> bool {
        let shared = self.shared.clone();
        let mut batch = shared.lock();
        while batch.bytes.is_empty() && batch.next.is_none() && !batch.ending {
            let due = self.stamp.as_ref().and_then(|stamp| stamp.due());
            if due == Some(Duration::ZERO) {
                break;
            }
            shared.health.note_idleness();
            batch.sleep = Sleep::UntilWork;
            if !self.troubled {
                batch = match due {
                    None => shared.work.wait(batch).unwrap_or_else(PoisonError::into_inner),
                    Some(due) => shared.work.wait_timeout(batch, due).unwrap_or_else(PoisonError::into_inner).0,
                };
                continue;
            }
            // That a fault is over is said although no line may come for a long time.
            (batch, _) = shared.work.wait_timeout(batch, INTERVAL).unwrap_or_else(PoisonError::into_inner);
            if batch.bytes.is_empty() {
                batch.sleep = Sleep::Awake;
                drop(batch);
                self.note_success();
                batch = shared.lock();
            }
        }
        // What was sent into an empty buffer has not waited yet.
        shared.health.note_movement();
        batch.sleep = Sleep::UntilFull;
        let waiting = shared.work.wait_timeout_while(batch, GATHER, |batch| {
            batch.bytes.len() < FULL && batch.next.is_none() && !batch.ending
        });
        (batch, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        batch.sleep = Sleep::Awake;
        match batch.next.take() {
            None => self.take(&mut batch.bytes),
            Some((0, output)) => self.switch(output),
            Some((place, output)) => {
                let rest = batch.bytes.split_off(place);
                self.take(&mut batch.bytes);
                batch.bytes = rest;
                batch.next = Some((0, output));
            }
        }
        batch.ending && batch.bytes.is_empty() && batch.next.is_none()
    }

    /// Takes these lines, and leaves an empty buffer in their place.
    fn take(&mut self, lines: &mut Vec<u8>) {
        if self.current.is_empty() {
            std::mem::swap(&mut self.current, lines);
        } else {
            self.current.append(lines);
        }
    }

    /// Writes what is not yet written.
    fn carry(&mut self) -> io::Result<()> {
        // Between lines only, and after the end of one that was torn.
        if self.written == 0
            && !self.unended
            && !self.current.is_empty()
            && let Err(error) = self.output.rotate(self.current.len())
        {
            self.not_rotated = Some(error);
        }
        // Something else may have been said just now.
        if let Some(error) = self.not_rotated.take()
            && !self.tell(Event::NotRotated(&error))
        {
            self.not_rotated = Some(error);
        }
        if self.unended && self.written < self.current.len() {
            self.unended = false;
            self.current.splice(self.written..self.written, [b'\n']);
            self.shared.health.held.fetch_add(1, Ordering::Relaxed);
        }
        while let Some(rest) = self.current.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.output.write(rest) {
                Ok(Taken { bytes: 0, .. }) => return Err(ErrorKind::WriteZero.into()),
                Ok(Taken { bytes, lost }) => {
                    self.written = self.written.saturating_add(bytes);
                    self.shared.health.held.fetch_sub(bytes, Ordering::Relaxed);
                    if lost > 0 {
                        self.shared.health.lose(lost);
                    }
                    self.shared.health.note_movement();
                    self.shared.room.notify_waiters();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.take_back();
                    return Err(error);
                }
            }
        }
        self.output.flush()?;
        self.written = 0;
        self.current.clear();
        // What a burst needed is given back.
        self.current.shrink_to(4 * FULL);
        Ok(())
    }

    fn note_success(&mut self) {
        let health = &self.shared.health;
        health.failing.store(false, Ordering::Relaxed);
        let none_waits = health.held.load(Ordering::Relaxed) == 0;
        if none_waits {
            health.overflowing.store(false, Ordering::Relaxed);
        }
        self.shared.room.notify_waiters();
        let lost = health.lost() > self.reported_lost;
        if none_waits && (self.troubled || lost) {
            self.troubled = !self.tell(Event::Again);
        } else if lost {
            self.troubled = true;
            self.tell(Event::Behind);
        }
    }

    /// Waits before another attempt, or continues in the next output; returns whether it is time to give up.
    fn wait_out(&mut self, error: &io::Error) -> bool {
        let shared = self.shared.clone();
        let stalled = error.kind() == ErrorKind::WouldBlock;
        if !stalled {
            shared.health.failing.store(true, Ordering::Relaxed);
            self.troubled = true;
            self.tell(Event::Failing(error));
        } else if shared.health.lost() > self.reported_lost {
            self.troubled = true;
            self.tell(Event::Behind);
        }
        let mut batch = shared.lock();
        if !stalled {
            // A stalled pipe has been waited for already.
            batch.sleep = Sleep::UntilWork;
            let waiting = shared.work.wait_timeout_while(batch, PAUSE, |batch| batch.next.is_none() && !batch.ending);
            (batch, _) = waiting.unwrap_or_else(PoisonError::into_inner);
            batch.sleep = Sleep::Awake;
        }
        match batch.next.take() {
            Some((_, output)) if output.is(&self.output) => self.output.rotate_like(output),
            Some((_, output)) => {
                drop(batch);
                // The whole line goes to the next output, whatever the previous one has of it.
                self.begin_line_again();
                self.switch(output);
                return false;
            }
            None => {}
        }
        // A pipe may still move, and a disk may have space again; the process does not wait for long.
        if !batch.ending || stalled || !std::mem::replace(&mut self.tried_last, true) {
            return false;
        }
        batch.ended = true;
        let mut lines = std::mem::take(&mut batch.bytes);
        drop(batch);
        self.take(&mut lines);
        let lost = self.current.get(self.written..).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count();
        shared.health.lose(lost as u64);
        // There is no other time to say it.
        self.reported = None;
        self.tell(Event::Failing(error));
        true
    }

    /// Continues in another output, unless it is the same one.
    fn switch(&mut self, mut output: Output) {
        // What was opened can be written to, at least.
        let _ = output.catch_up();
        if output.is(&self.output) {
            self.output.rotate_like(output);
        } else {
            self.unended = output.ends_within_line();
            self.output = output;
        }
    }

    /// Removes what a file has of a line whose rest it does not take: the line is written as a whole later, wherever that
    /// may be. The rest of a line in a pipe comes next.
    fn take_back(&mut self) {
        let part = self.part();
        if part > 0 && self.output.take_back(part as u64) {
            self.begin_line_again();
        }
    }

    fn begin_line_again(&mut self) {
        let part = self.part();
        self.written = self.written.saturating_sub(part);
        self.shared.health.held.fetch_add(part, Ordering::Relaxed);
    }

    /// How many bytes are written of a line that is not written as a whole.
    fn part(&self) -> usize {
        let done = self.current.get(..self.written).unwrap_or_default();
        done.iter().rev().take_while(|byte| **byte != b'\n').count()
    }

    /// Reports an event, unless something was reported less than [`INTERVAL`] ago; returns whether it did.
    fn tell(&mut self, event: Event<'_>) -> bool {
        let (now, lost) = (self.shared.health.now(), self.shared.health.lost());
        if self.reported.is_some_and(|then| u128::from(now.saturating_sub(then)) < INTERVAL.as_millis()) {
            return false;
        }
        (self.report)(event, lost.saturating_sub(self.reported_lost));
        self.reported = Some(now);
        self.reported_lost = lost;
        true
    }
}

/// How long to wait after a failed write before the next attempt.
const PAUSE: Duration = Duration::from_millis(100);
/// The time between two reports.
const INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};

    use super::super::Lines;
    use super::*;

    fn quiet(_: Event<'_>, _: u64) {}

    /// An output that has space for a while.
    #[derive(Clone, Default)]
    struct Limited(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Limited {
        fn allow(&self, bytes: usize) {
            self.0.lock().unwrap().1 += bytes;
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap()
        }
    }

    impl Write for Limited {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (taken, space) = &mut *self.0.lock().unwrap();
            if *space == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            let count = bytes.len().min(*space);
            taken.extend_from_slice(&bytes[..count]);
            *space -= count;
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let began = crate::clock::Moment::now();
        while !holds() {
            assert!(began.elapsed() < Duration::from_secs(20), "{what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_rest_of_a_line_comes_before_the_next_line_when_there_is_space_again() {
        let disk = Limited::default();
        disk.allow(8);
        let lines = Lines::start("t", Output::Other(Box::new(disk.clone())), 1000, quiet).unwrap();
        for line in ["first\n", "second\n", "third\n"] {
            lines.sender().send(line.as_bytes());
        }
        until("the disk fills up", || !lines.health().good());
        assert_eq!(disk.text(), "first\nse");
        disk.allow(1000);
        assert!(lines.close(Duration::from_secs(20)), "nothing is lost");
        assert_eq!(disk.text(), "first\nsecond\nthird\n");
    }

    #[test]
    fn a_line_that_the_old_output_took_in_part_is_whole_in_the_new_one() {
        let (old, new) = (Limited::default(), Limited::default());
        old.allow(8);
        new.allow(1000);
        let lines = Lines::start("t", Output::Other(Box::new(old.clone())), 1000, quiet).unwrap();
        lines.sender().send(b"first\n");
        lines.sender().send(b"second\n");
        until("the disk fills up", || !lines.health().good());
        lines.sender().continue_in(Output::Other(Box::new(new.clone())));
        lines.sender().send(b"third\n");
        assert!(lines.close(Duration::from_secs(20)));
        assert_eq!(new.text(), "second\nthird\n");
    }

    #[test]
    fn lines_before_a_switch_go_to_the_old_output_and_later_ones_to_the_new() {
        let (old, new) = (Limited::default(), Limited::default());
        old.allow(1000);
        new.allow(1000);
        let lines = Lines::start("t", Output::Other(Box::new(old.clone())), 1000, quiet).unwrap();
        lines.sender().send(b"before\n");
        lines.sender().continue_in(Output::Other(Box::new(new.clone())));
        lines.sender().send(b"after\n");
        assert!(lines.close(Duration::from_secs(20)));
        assert_eq!((old.text().as_str(), new.text().as_str()), ("before\n", "after\n"));
    }

    #[test]
    fn a_file_whose_last_line_was_torn_by_a_kill_gets_its_end_before_the_next_line() {
        let path = std::env::temp_dir().join(format!("lines-{}-{:?}", std::process::id(), std::thread::current().id()));
        for (before, after) in
            [("whole\n{\"torn", "whole\n{\"torn\nnext\n"), ("whole\n", "whole\nnext\n"), ("", "next\n")]
        {
            std::fs::write(&path, before).unwrap();
            let lines = Lines::start("t", Output::append_to(&path).unwrap(), 1000, quiet).unwrap();
            lines.sender().send(b"next\n");
            assert!(lines.close(Duration::from_secs(20)));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
        std::fs::remove_file(&path).unwrap();
    }

    /// An output that blocks until it is released.
    struct Stalled(Receiver<()>);

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_more_bytes_wait_for_a_stalled_output_than_allowed() {
        let (release, stalled) = channel();
        let lines = Lines::start("t", Output::Other(Box::new(Stalled(stalled))), 1000, quiet).unwrap();
        for _ in 0..150 {
            lines.sender().send(b"12345678\n");
        }
        let health = lines.health();
        assert_eq!((health.lost(), health.good(), health.has_room()), (150 - 1000 / 9, false, false));
        drop(release);
        until("the output catches up", || health.good() && health.has_room());
    }

    /// The thread that writes has not been woken yet, and already somebody asks.
    #[test]
    fn what_comes_after_a_pause_has_not_waited() {
        let disk = Limited::default();
        disk.allow(1000);
        let lines = Lines::start("t", Output::Other(Box::new(disk.clone())), 1000, quiet).unwrap();
        let health = lines.health();
        lines.sender().send(b"first\n");
        until("it is written", || {
            disk.text() == "first\n" && health.moved.load(Ordering::Relaxed) == super::super::IDLE
        });
        health.held.fetch_add(1, Ordering::Relaxed);
        assert!(!health.stalled());
        health.held.fetch_sub(1, Ordering::Relaxed);
    }

    #[test]
    fn lines_of_many_threads_arrive_whole_and_in_the_order_of_each() {
        let disk = Limited::default();
        disk.allow(usize::MAX);
        let lines = Lines::start("t", Output::Other(Box::new(disk.clone())), 1 << 20, quiet).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let sender = lines.sender();
                scope.spawn(move || (0..500).for_each(|n| sender.send(format!("{thread} {n}\n").as_bytes())));
            }
        });
        assert!(lines.close(Duration::from_secs(20)));
        let text = disk.text();
        for thread in 0..4 {
            let of_thread: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(&format!("{thread} "))).collect();
            assert_eq!(of_thread, (0..500).map(|n| n.to_string()).collect::<Vec<_>>());
        }
    }
}
