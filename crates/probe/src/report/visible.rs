//! Text of elsewhere as it may be shown: what a reader would not see, or what would steer a terminal, is spelled out.

use std::borrow::Cow;

/// The text with its control characters, and those that are invisible or turn the direction of writing, as `\u{1b}`.
///
/// Line breaks stay: a command line may have several lines. Much of a report is what the target sent.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len().saturating_mul(2));
    for character in text.chars() {
        if is_hidden(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// The same on one line: line breaks are spelled out too.
pub(super) fn visible_line(text: &str) -> Cow<'_, str> {
    let shown = visible(text);
    if shown.contains('\n') { Cow::Owned(shown.replace('\n', "\\n")) } else { shown }
}

/// Whether a character is shown as nothing, or as something else than itself.
fn is_hidden(character: char) -> bool {
    match character {
        '\n' => false,
        // Zero width, marks and overrides of direction, separators of lines, the byte order mark, and tags.
        '\u{ad}'
        | '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{fffe}'
        | '\u{ffff}'
        | '\u{e0000}'..='\u{e007f}' => true,
        _ => character.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_not_be_seen_is_spelled_out() {
        for text in ["", "a proof for PUT", "two\nlines", "Zürich – 東京 §4.3"] {
            assert!(matches!(visible(text), Cow::Borrowed(shown) if shown == text), "control: {text}");
        }
        for (text, shown) in [
            ("\x1b[2J", r"\u{1b}[2J"),
            ("a\tb\rc\0", r"a\u{9}b\u{d}c\u{0}"),
            ("\u{9b}31m\u{7f}", r"\u{9b}31m\u{7f}"),
            ("\u{202e}gpj.exe", r"\u{202e}gpj.exe"),
            ("a\u{200b}b\u{feff}", r"a\u{200b}b\u{feff}"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn a_line_has_no_line_break() {
        assert_eq!(visible_line("one line"), "one line"); // control
        assert_eq!(visible_line("two\nlines\x07"), r"two\nlines\u{7}");
        assert_eq!(visible("two\nlines\x07"), "two\nlines\\u{7}");
    }
}
