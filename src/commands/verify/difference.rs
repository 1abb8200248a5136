//! Where the signature base of the other side differs from that of this side.

use super::shown::{Line, foreign};

/// The base that the other side has made.
pub(super) struct Base {
    text: String,
}

/// The first difference, or that there is none.
pub(super) enum Difference {
    /// Both are the same.
    None {
        /// Whether the file ends with a line end, which is no part of a base (RFC 9421 §2.5).
        line_end: bool,
    },
    /// The first line that differs.
    At {
        /// From 1.
        line: usize,
        /// From 1; `None` if one side has no such line.
        column: Option<usize>,
        /// What may be printed of the other side's line.
        there: Option<String>,
        /// What may be printed of this side's line.
        here: Option<String>,
    },
}

impl Base {
    /// Reads the base in a file.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { text: String::from_utf8_lossy(bytes).into_owned() }
    }

    /// Compares it with the lines of this side, one of which may be missing.
    pub(super) fn compare(&self, ours: &[Line]) -> Difference {
        let text = self.text.strip_suffix('\n').unwrap_or(&self.text);
        let mut theirs = text.split('\n');
        for (index, ours) in ours.iter().enumerate() {
            let (theirs, line) = (theirs.next(), index.saturating_add(1));
            if ours.text.as_deref().ok() != theirs {
                let column = ours.text.as_deref().ok().zip(theirs).map(|(ours, theirs)| column(ours, theirs));
                return Difference::At { line, column, there: theirs.map(foreign), here: Some(ours.printed()) };
            }
        }
        match theirs.next() {
            Some(more) => Difference::At {
                line: ours.len().saturating_add(1),
                column: None,
                there: Some(foreign(more)),
                here: None,
            },
            None => Difference::None { line_end: text.len() != self.text.len() },
        }
    }
}

/// The first character, from 1, that differs, or that only one side has.
fn column(ours: &str, theirs: &str) -> usize {
    ours.chars().zip(theirs.chars()).take_while(|(ours, theirs)| ours == theirs).count().saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(theirs: &str) -> Option<(usize, Option<usize>)> {
        let lines = [
            Line::of(&"\"@method\"".parse().unwrap(), Ok("\"@method\": POST".to_owned())),
            Line::of(&"\"authorization\"".parse().unwrap(), Ok("\"authorization\": DPoP abc".to_owned())),
            Line::last("()"),
        ];
        match Base::of(theirs.as_bytes()).compare(&lines) {
            Difference::None { .. } => None,
            Difference::At { line, column, there, here } => {
                assert!(![there, here].iter().flatten().any(|line| line.contains("abc")));
                Some((line, column))
            }
        }
    }

    #[test]
    fn the_first_line_that_differs_is_found() {
        let good = "\"@method\": POST\n\"authorization\": DPoP abc\n\"@signature-params\": ()";
        assert_eq!(compare(good), None); // control
        assert_eq!(compare(&format!("{good}\n")), None, "as an editor writes it");
        assert_eq!(compare(&good.replace("POST", "post")), Some((1, Some(12))));
        assert_eq!(compare(&good.replace("abc", "abcd")), Some((2, Some(26))));
        assert_eq!(compare(&good.replace('\n', "\r\n")), Some((1, Some(16))));
        assert_eq!(compare(&good.replace("\n\"@signature-params\": ()", "")), Some((3, None)));
        assert_eq!(compare(&format!("{good}\n\n")), Some((4, None)));
        assert_eq!(compare(""), Some((1, Some(1))));
    }
}
