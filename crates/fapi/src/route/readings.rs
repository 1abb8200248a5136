//! What a segment that is taken as data may be to an upstream (RFC 3986 §3.3).

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapDataBorrowed, CodePointSetDataBorrowed};
use percent_encoding::percent_decode_str;

use crate::text::read_escape;

/// The names that upstreams may read a segment as.
///
/// Each is what is left after decoding once or twice, with or without the compatibility forms of its characters, and
/// without invisible characters, path parameters, and the spaces and dots that some file systems drop. None contains
/// a slash, a backslash or a control character, and none is empty, so a segment remains one segment in every reading.
#[derive(Debug)]
pub(super) struct Readings {
    names: Vec<String>,
    /// Whether an upstream that parses a decoded path once more would end the path in this segment.
    pub(super) ends_path: bool,
}

impl Readings {
    /// Reads a segment, as received, in every way.
    ///
    /// # Errors
    /// Why one of the readings would be another path.
    pub(super) fn of(segment: &str) -> Result<Self, &'static str> {
        let once = decode(segment)?;
        let compatible = NFKC.normalize(&once);
        let twice = decode(&once)?;
        let compatible_twice = decode(&compatible)?;
        // RFC 3986 §2.4: "Implementations must not percent-encode or decode the same string more than once". Some do it
        // twice; that any does it three times is no longer data.
        if [&once, &compatible].iter().any(|text| has_unicode_escape(text))
            || [&twice, &compatible_twice].iter().any(|text| has_escape(text) || has_unicode_escape(text))
        {
            return Err("a segment can be decoded more than twice");
        }
        let mut readings = Self { names: Vec::new(), ends_path: false };
        for text in [&*once, &*compatible, &*twice, &*NFKC.normalize(&compatible_twice)] {
            readings.add(text)?;
        }
        Ok(readings)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    fn add(&mut self, text: &str) -> Result<(), &'static str> {
        if text.contains(['/', '\\']) {
            return Err("an escape stands for a separator");
        }
        if text.chars().any(char::is_control) {
            return Err("an escape stands for a control character");
        }
        self.ends_path |= text.contains(['?', '#']);
        let seen: String = text.chars().filter(|character| !is_unseen(*character)).collect();
        let name = seen.split([';', '?', '#']).next().unwrap_or_default();
        let name = name.trim_start_matches(' ').trim_end_matches([' ', '.']);
        if name.is_empty() {
            return Err("a segment is, or may be read as, a dot segment or nothing");
        }
        if self.names.iter().all(|known| known != name) {
            self.names.push(name.to_owned());
        }
        Ok(())
    }
}

/// Decodes each escape once; a percent sign that begins none stays.
fn decode(text: &str) -> Result<Cow<'_, str>, &'static str> {
    percent_decode_str(text).decode_utf8().map_err(|_| "its escapes are not valid UTF-8")
}

fn has_escape(text: &str) -> bool {
    text.split('%').skip(1).any(|after| read_escape(&mut after.bytes()).is_some())
}

/// Whether a text has an escape such as `%u002F`, which RFC 3986 does not know and some servers decode.
fn has_unicode_escape(text: &str) -> bool {
    text.split('%').skip(1).any(|after| {
        let digits = after.strip_prefix(['u', 'U']).and_then(|after| after.as_bytes().get(..4));
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Whether a character beyond ASCII is white space, a control (Cc), a format character (Cf), or another that programs
/// may ignore (Default_Ignorable_Code_Point, UAX #44).
pub(super) fn is_unseen(character: char) -> bool {
    !character.is_ascii()
        && (character.is_whitespace()
            || character.is_control()
            || CATEGORIES.get(character) == GeneralCategory::Format
            || IGNORABLE.contains(character))
}

pub(super) const NFKC: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfkc();

const CATEGORIES: CodePointMapDataBorrowed<'static, GeneralCategory> = CodePointMapDataBorrowed::new();

const IGNORABLE: CodePointSetDataBorrowed<'static> = CodePointSetDataBorrowed::new::<DefaultIgnorableCodePoint>();

#[cfg(test)]
mod tests {
    use super::*;

    fn names(segment: &str) -> Vec<String> {
        Readings::of(segment).unwrap().names().map(str::to_owned).collect()
    }

    #[test]
    fn a_segment_is_read_in_every_way() {
        assert_eq!(names("report"), ["report"]);
        assert_eq!(names("%72eport"), ["report"]);
        assert_eq!(names("%2572eport"), ["%72eport", "report"]);
        assert_eq!(names("report;v=1"), ["report"]);
        assert_eq!(names("report%3Bv"), ["report"]);
        assert_eq!(names("report%253Bv"), ["report%3Bv", "report"]);
        assert_eq!(names("%20report.%20."), ["report"]);
        assert_eq!(names("re%E2%80%8Bport"), ["report"]);
        assert_eq!(names("%EF%BD%92eport"), ["ｒeport", "report"]);
        assert_eq!(names("%EF%BC%8572eport"), ["％72eport", "%72eport", "report"]);
        assert!(Readings::of("a%3Fb").unwrap().ends_path && Readings::of("a%2523b").unwrap().ends_path);
        assert!(Readings::of("a%EF%BC%9Fb").unwrap().ends_path);
        assert!(!Readings::of("a%26b;c").unwrap().ends_path);
    }

    #[test]
    fn atk_pt_07_no_reading_is_another_segment() {
        for segment in ["100%25", "a%252Bb", "a%25zz", "..a", "a..b", "a;..", "a%25u00"] {
            assert!(Readings::of(segment).is_ok(), "{segment}"); // control
        }
        for segment in [
            ".",
            "..",
            "...",
            "%2e%2e",
            "..;",
            "..;x",
            ".;x",
            "%2e%2e;x",
            "..%3Bx",
            "..%253Bx",
            ";..",
            ";",
            "%3B",
            "%3F",
            "%23x",
            "%20",
            "%20..",
            "..%20",
            ".%20.",
            "..%E2%80%8B",
            "..%C2%A0",
            "%E2%80%A5",
            "%EF%BC%8E%EF%BC%8E",
            "%E2%80%A4.",
            "%252e%252e",
            "%252F",
            "%25%32%46",
            "%2%46",
            "%252%2546",
            "%255c",
            "%2500",
            "%250a",
            "%257f",
            "a%00",
            "a%0d",
            "a%C2%85",
            "a%EF%BC%8F",
            "a%EF%BC%BC",
            "a%EF%BC%852F",
            "%25252F",
            "%252541",
            "%25u002F",
            "%25U2215",
            "%2525u002F",
            "%c0%ae",
            "%25c0%25ae",
            "%e0%80%af",
            "%E9",
            "%25E9",
            "%ED%A0%80",
        ] {
            assert!(Readings::of(segment).is_err(), "{segment}");
        }
    }
}
