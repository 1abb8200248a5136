//! The lines of the audit and the log: written once and in order or counted as lost, by a thread that always wakes up.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;

use super::lines::{Event, LineSender, Lines, Output};

/// Every line is written or counted, none twice, and those of one sender in its order, although the end comes meanwhile.
pub fn what_is_not_written_is_counted() {
    let disk = Disk::default();
    let lines = start(&disk, 3 * LINE);
    let senders = ["a", "b"].map(|name| at_the_same_time(&lines, move |lines| send(lines, name, 3)));
    let _whether_all_are_written = lines.close(LONG);
    for sender in senders {
        sender.join().unwrap();
    }
    let written = disk.text();
    assert_eq!(written.lines().count() as u64 + lines.health().lost(), 6, "{written}");
    in_order(&written, "a");
    in_order(&written, "b");
}

/// No more bytes wait than allowed, while the output takes nothing.
pub fn no_more_waits_than_allowed() {
    let disk = Disk::default();
    let blocked = disk.0.taken.lock().unwrap();
    let lines = start(&disk, 2 * LINE);
    let senders = ["a", "b"].map(|name| at_the_same_time(&lines, move |lines| send(lines, name, 2)));
    for sender in senders {
        sender.join().unwrap();
    }
    assert_eq!(lines.health().lost(), 2);
    drop(blocked);
    assert!(!lines.close(LONG), "two are lost");
    assert_eq!(disk.text().lines().count(), 2);
    assert!(lines.health().has_room());
}

/// A line is written without waiting for another or for the end, and the end finds nothing left.
pub fn a_line_is_written_by_itself() {
    let disk = Disk::default();
    let lines = start(&disk, 10 * LINE);
    let senders = ["a", "b"].map(|name| at_the_same_time(&lines, move |lines| send(lines, name, 1)));
    disk.wait_for(2);
    for sender in senders {
        sender.join().unwrap();
    }
    assert!(lines.close(LONG));
    assert_eq!(disk.text().lines().count(), 2);
}

/// What is sent before a switch of the output goes to the old one, and what is sent after it to the new one.
pub fn a_switch_divides_the_lines() {
    let (old, new) = (Disk::default(), Disk::default());
    let lines = start(&old, 10 * LINE);
    let next = new.clone();
    let switching = at_the_same_time(&lines, move |lines| {
        send(lines, "a", 1);
        lines.continue_in(Output::Other(Box::new(next)));
        send(lines, "b", 1);
    });
    let other = at_the_same_time(&lines, |lines| send(lines, "c", 2));
    switching.join().unwrap();
    other.join().unwrap();
    assert!(lines.close(LONG));
    let (old, new) = (old.text(), new.text());
    assert!(old.contains("a 0") && !old.contains("b 0"), "{old}");
    assert!(new.contains("b 0") && !new.contains("a 0"), "{new}");
    let both = old + &new;
    assert_eq!(both.lines().count(), 4, "{both}");
    in_order(&both, "c");
}

/// An output that takes part of what it gets.
#[derive(Clone, Default)]
struct Disk(Arc<Taken>);

#[derive(Default)]
struct Taken {
    taken: Mutex<Vec<u8>>,
    more: Condvar,
}

impl Disk {
    fn text(&self) -> String {
        String::from_utf8(self.0.taken.lock().unwrap().clone()).unwrap()
    }

    fn wait_for(&self, lines: usize) {
        let has_fewer = |taken: &mut Vec<u8>| taken.len() < lines * LINE;
        drop(self.0.more.wait_while(self.0.taken.lock().unwrap(), has_fewer).unwrap());
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = self.0.taken.lock().unwrap();
        let part = bytes.len().min(LINE + 1);
        taken.extend_from_slice(&bytes[..part]);
        self.0.more.notify_all();
        Ok(part)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn start(disk: &Disk, bound: usize) -> Lines {
    Lines::start("lines", Output::Other(Box::new(disk.clone())), bound, |_: Event<'_>, _| {}).unwrap()
}

fn at_the_same_time(lines: &Lines, act: impl FnOnce(&LineSender) + Send + 'static) -> thread::JoinHandle<()> {
    let sender = lines.sender();
    thread::spawn(move || act(&sender))
}

fn send(lines: &LineSender, name: &str, count: usize) {
    for number in 0..count {
        lines.send(format!("{name} {number}\n").as_bytes());
    }
}

fn in_order(text: &str, name: &str) {
    let of_sender: Vec<&str> = text.lines().filter(|line| line.starts_with(name)).collect();
    let mut sorted = of_sender.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(of_sender, sorted);
}

const LINE: usize = "a 0\n".len();
const LONG: Duration = Duration::from_secs(3600);
