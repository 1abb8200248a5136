//! What is added to lines on their way to the output.

use std::time::Duration;

/// Adds to lines, on the thread that writes them.
pub trait Stamp: Send {
    /// Adds to these lines, which are whole and are written next, in this order. Comes once to each line, and now and then
    /// without any. `lost` is how many lines were lost since the start.
    fn stamp(&mut self, lines: &mut Vec<u8>, lost: u64);

    /// How soon it has to come again although there may be no line; `None` if it need not.
    fn due(&self) -> Option<Duration>;

    /// Adds what comes after the last line.
    fn end(&mut self, lines: &mut Vec<u8>, lost: u64);
}
