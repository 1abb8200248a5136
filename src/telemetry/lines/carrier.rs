//! Destinations that answer.

use std::io;

use memchr::{memchr, memrchr};

/// A destination that says what it has taken.
pub trait Carrier: Send {
    /// Takes the first of these lines, each with its end.
    ///
    /// # Errors
    /// When it took none, and may take them later.
    fn carry(&mut self, lines: &[u8]) -> io::Result<Taken>;
}

/// What a destination took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// How many bytes.
    pub bytes: usize,
    /// How many lines of them it will never have, whoever asks.
    pub lost: u64,
}

/// The whole lines that are sent at a time; the first one in any case.
pub fn portion(lines: &[u8]) -> &[u8] {
    let Some(first) = lines.get(..PORTION) else { return lines };
    let end = memrchr(b'\n', first).or_else(|| memchr(b'\n', lines));
    end.and_then(|end| lines.get(..=end)).unwrap_or(lines)
}

/// How many bytes of lines are sent at a time.
const PORTION: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_sent_at_a_time_and_at_least_one() {
        let line = [&[b'x'; 999][..], b"\n"].concat();
        let (few, many) = (line.repeat(3), line.repeat(100));
        assert_eq!(portion(&few), few);
        assert_eq!(portion(&many).len(), 65_000);
        let long = [&[b'x'; 2 * PORTION][..], b"\n{}\n"].concat();
        assert_eq!(portion(&long).len(), 2 * PORTION + 1);
    }
}
