//! The presentation language of TLS (RFC 8446 §3): numbers in network byte order, and vectors with their length before them.

/// What is left of a message. A number or vector that is not there in full is `None`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of `width` bytes.
    fn number(&mut self, width: usize) -> Option<usize> {
        Some(self.take(width)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// A vector whose length is a number of `width` bytes.
    pub(super) fn vector(&mut self, width: usize) -> Option<Self> {
        let length = self.number(width)?;
        self.take(length).map(Self)
    }

    /// All of what is left, as numbers of two bytes.
    pub(super) fn u16s(mut self) -> Option<Vec<u16>> {
        let mut numbers = Vec::new();
        while !self.is_empty() {
            numbers.push(self.u16()?);
        }
        Some(numbers)
    }
}

/// The `content` with its length before it, a number of `width` bytes; `None` if the number cannot be that high.
pub(super) fn vector(width: usize, content: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(content.len()).ok()?.to_be_bytes();
    let (high, low) = length.split_at_checked(length.len().checked_sub(width)?)?;
    high.iter().all(|byte| *byte == 0).then(|| [low, content].concat())
}

/// Numbers of two bytes each.
pub(super) fn u16s(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_read_back_and_lengths_are_bounded() {
        for width in 1..=3 {
            let bytes = vector(width, b"abc").unwrap();
            let mut input = Input::new(&bytes);
            assert_eq!(input.vector(width).unwrap().rest(), b"abc");
            assert!(input.is_empty());
            assert!(Input::new(&bytes[..bytes.len() - 1]).vector(width).is_none(), "a byte is missing");
        }
        assert!(vector(1, &[0; 255]).is_some() && vector(1, &[0; 256]).is_none());
        assert!(vector(2, &[0; 0xffff]).is_some() && vector(2, &[0; 0x1_0000]).is_none());
        assert_eq!(Input::new(&u16s(&[1, 0xc02b])).u16s(), Some(vec![1, 0xc02b]));
        assert_eq!(Input::new(&[0, 1, 2]).u16s(), None);
    }
}
