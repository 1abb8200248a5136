//! Small writes that go out together: Pingora writes the head of a response and its body apart, and each would be a TLS
//! record and a system call of its own.

use std::io::IoSlice;

/// What was written and not yet sent.
#[derive(Default)]
pub(super) struct Gathered {
    bytes: Vec<u8>,
    sent: usize,
}

impl Gathered {
    /// Takes all of these bytes and returns how many they are; `None`, and nothing, if there is no room for them.
    pub(super) fn take(&mut self, buffers: &[IoSlice<'_>]) -> Option<usize> {
        let length = length_of(buffers);
        let fits = self.bytes.len().saturating_add(length) <= MOST;
        fits.then(|| {
            buffers.iter().for_each(|buffer| self.push(buffer));
            length
        })
    }

    /// Takes these bytes, however much room there is.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What is left to send.
    pub(super) fn left(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// Notes how many of these bytes were sent.
    pub(super) fn advance(&mut self, sent: usize) {
        self.sent = self.sent.saturating_add(sent);
        if self.left().is_empty() {
            self.sent = 0;
            self.bytes.clear();
            // An idle connection holds little memory.
            self.bytes.shrink_to(KEPT);
        }
    }
}

/// How many bytes there are in these buffers.
pub(super) fn length_of(buffers: &[IoSlice<'_>]) -> usize {
    buffers.iter().fold(0, |length, buffer| length.saturating_add(buffer.len()))
}

/// How many bytes are gathered: what fits in a TLS record.
const MOST: usize = 16 * 1024;
/// The room that is kept for the next response, in bytes.
const KEPT: usize = 2 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn take(gathered: &mut Gathered, length: usize) -> Option<usize> {
        gathered.take(&[IoSlice::new(&vec![b'a'; length])])
    }

    #[test]
    fn what_fits_is_taken_and_leaves_in_order() {
        let mut gathered = Gathered::default();
        assert_eq!(gathered.take(&[IoSlice::new(b"head"), IoSlice::new(b"body")]), Some(8));
        assert_eq!(gathered.left(), b"headbody");
        gathered.advance(3);
        assert_eq!((take(&mut gathered, 1), gathered.left()), (Some(1), &b"dbodya"[..]));
        gathered.advance(6);
        assert!(gathered.left().is_empty());
        assert_eq!(
            (take(&mut gathered, MOST + 1), take(&mut gathered, MOST), take(&mut gathered, 1)),
            (None, Some(MOST), None)
        );
        gathered.advance(MOST);
        assert!(gathered.bytes.capacity() <= KEPT, "an idle connection holds little");
        assert_eq!(take(&mut gathered, 1), Some(1));
    }
}
