//! Paths with one reading (RFC 3986 §3.3, §6). Nothing here repairs a path, so what is matched is what is forwarded.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;
use percent_encoding::percent_decode_str;

use super::error::RouteError;
use super::readings::{NFKC, Readings, is_unseen};
use crate::text::{is_unreserved, read_escape};

/// Which characters the segments that `*` and `**` of a route match may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathCharacters {
    /// Those of a [`CanonicalPath`].
    #[default]
    Strict,
    /// Those that RFC 3986 allows as data, as long as no reading of the segment is another segment: text in NFC, and
    /// percent signs, semicolons, and escapes of characters that need none.
    Uri,
}

/// A path exactly as received, proven to have one reading.
///
/// Its segments are the same after decoding once or twice, after removing dot segments or empty segments, and after
/// Unicode normalisation. Does not check whether a segment resembles one of a route
/// ([`Routes::find`](super::Routes::find)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanonicalPath<'r>(&'r str);

impl<'r> CanonicalPath<'r> {
    /// Checks a path from a request target.
    ///
    /// # Errors
    /// [`RouteError::PathAmbiguous`] for any path that a decoder, a normaliser or a file system of an upstream could
    /// read as another path.
    pub fn parse(path: &'r str) -> Result<Self, RouteError> {
        Self::read(path).map_err(|why| RouteError::PathAmbiguous { why })
    }

    /// The bytes as received.
    pub const fn as_str(self) -> &'r str {
        self.0
    }

    pub(super) fn read(path: &'r str) -> Result<Self, &'static str> {
        let segments = path.strip_prefix('/').ok_or("it does not begin with a slash")?;
        let mut escaped = false;
        let mut segments = segments.split('/').peekable();
        while let Some(segment) = segments.next() {
            if segment.is_empty() && segments.peek().is_some() {
                return Err("it has an empty segment");
            }
            // RFC 3986 §3.3: "The path segments "." and "..", also known as dot-segments, are defined for relative
            // reference". Some file systems remove a dot at the end of other segments too.
            if segment.ends_with('.') {
                return Err("a segment is, or ends in, a dot");
            }
            if segment.starts_with("%20") || segment.ends_with("%20") {
                return Err("a segment begins or ends with a space");
            }
            escaped |= check_bytes(segment)?;
        }
        if escaped {
            check_text(path)?;
        }
        Ok(Self(path))
    }
}

/// A path exactly as received, of which each segment is one segment in every reading.
///
/// It is either a [`CanonicalPath`], or has data that only a route with [`PathCharacters::Uri`] takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceivedPath<'r> {
    text: &'r str,
    data: Option<&'static str>,
}

impl<'r> ReceivedPath<'r> {
    /// Checks a path from a request target.
    ///
    /// # Errors
    /// [`RouteError::PathAmbiguous`] for a path that is neither.
    pub(super) fn parse(path: &'r str, characters: PathCharacters) -> Result<Self, RouteError> {
        match (CanonicalPath::read(path), characters) {
            (Ok(_), _) => Ok(Self { text: path, data: None }),
            (Err(why), PathCharacters::Strict) => Err(RouteError::PathAmbiguous { why }),
            (Err(why), PathCharacters::Uri) => {
                check_data(path).map_err(|why| RouteError::PathAmbiguous { why })?;
                Ok(Self { text: path, data: Some(why) })
            }
        }
    }

    /// The bytes as received.
    pub(super) const fn as_str(self) -> &'r str {
        self.text
    }

    /// Why it is not a [`CanonicalPath`], unless it is one.
    pub(super) const fn data(self) -> Option<&'static str> {
        self.data
    }

    /// The segments to match, without one slash at the end.
    pub(super) fn segments(self) -> Segments<'r> {
        let path = self.text.strip_prefix('/').unwrap_or(self.text);
        let path = path.strip_suffix('/').unwrap_or(path);
        Segments { rest: (!path.is_empty()).then_some(path), data: self.data.is_some() }
    }

    /// The segment with this index, decoded; `None` if there is none, or if it is data, which upstreams may decode to
    /// different texts.
    pub(super) fn segment(self, index: usize) -> Option<Cow<'r, str>> {
        let segment = self.text.strip_prefix('/')?.split('/').nth(index).filter(|segment| !segment.is_empty())?;
        if self.data.is_some() && !is_canonical(segment) {
            return None;
        }
        percent_decode_str(segment).decode_utf8().ok()
    }

    /// The paths that are left if an upstream parses the decoded path once more and ends it at a `?` or `#`: each up to
    /// and including the segment with that character.
    pub(super) fn ends(self) -> impl Iterator<Item = Segments<'r>> {
        let text = self.data.and_then(|_| self.text.strip_prefix('/'));
        text.into_iter().flat_map(|text| {
            let ends = text.match_indices('/').map(|(end, _)| end).chain([text.len()]);
            ends.filter_map(|end| text.get(..end)).filter_map(|rest| {
                let segment = rest.rsplit('/').next()?;
                let ends_here = Readings::of(segment).is_ok_and(|readings| readings.ends_path);
                ends_here.then_some(Segments { rest: Some(rest), data: true })
            })
        })
    }
}

/// The rest of a path that is not matched yet; `None` at its end, and never `Some("")`.
#[derive(Clone, Copy)]
pub(super) struct Segments<'r> {
    rest: Option<&'r str>,
    data: bool,
}

impl<'r> Segments<'r> {
    /// # Errors
    /// [`RouteError::PathAmbiguous`], never for a path that [`ReceivedPath::parse`] returned.
    pub(super) fn split(self) -> Result<Option<(PathSegment<'r>, Self)>, RouteError> {
        let Some(text) = self.rest else { return Ok(None) };
        let (segment, rest) = text.split_once('/').map_or((text, None), |(segment, rest)| (segment, Some(rest)));
        let segment = if self.data && !is_canonical(segment) {
            PathSegment::Data(Readings::of(segment).map_err(|why| RouteError::PathAmbiguous { why })?)
        } else {
            PathSegment::Canonical(segment)
        };
        Ok(Some((segment, Self { rest, ..self })))
    }
}

/// One segment of a path.
pub(super) enum PathSegment<'r> {
    /// It has one reading.
    Canonical(&'r str),
    /// It is data, and never a literal of a route.
    Data(Readings),
}

fn is_canonical(segment: &str) -> bool {
    CanonicalPath::read(&format!("/{segment}")).is_ok()
}

/// Checks that a path has the characters of RFC 3986, that its text is in NFC, and that no segment can become another.
fn check_data(path: &str) -> Result<(), &'static str> {
    let mut segments = path.strip_prefix('/').ok_or("it does not begin with a slash")?.split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() {
            if segments.peek().is_some() {
                return Err("it has an empty segment");
            }
            continue;
        }
        let mut bytes = segment.bytes();
        while let Some(byte) = bytes.next() {
            if byte == b'%' {
                read_escape(&mut bytes).ok_or(NOT_AN_ESCAPE)?;
            } else if byte != b';' && !is_plain(byte) {
                return Err(why_not_plain(byte));
            }
        }
        Readings::of(segment)?;
    }
    let text = percent_decode_str(path).decode_utf8().map_err(|_| "its escapes are not valid UTF-8")?;
    if NFC.is_normalized(&text) { Ok(()) } else { Err("Unicode normalisation (NFC) gives another path") }
}

/// Checks that each byte of a segment, and each escape, has one meaning; returns whether there is an escape.
fn check_bytes(segment: &str) -> Result<bool, &'static str> {
    let mut bytes = segment.bytes();
    let mut escaped = false;
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            escaped = true;
            check_escape(read_escape(&mut bytes).ok_or(NOT_AN_ESCAPE)?)?;
        } else if !is_plain(byte) {
            return Err(why_not_plain(byte));
        }
    }
    Ok(escaped)
}

const fn why_not_plain(byte: u8) -> &'static str {
    match byte {
        b';' => "it has a semicolon, which some servers read as the start of a parameter",
        b'\\' => "it has a backslash, which some servers read as a slash",
        b'#' => "it has a fragment",
        _ => "it has a byte that RFC 3986 does not allow in a path",
    }
}

fn check_escape(byte: u8) -> Result<(), &'static str> {
    match byte {
        0..=0x1f | 0x7f => Err("an escape stands for a control character"),
        // RFC 3986 §2.2: "URIs that differ in the replacement of a reserved character with its corresponding
        // percent-encoded octet are not equivalent." Some decoders treat them as equivalent.
        b'/' | b'\\' | b';' | b'?' | b'#' => Err("an escape stands for a separator"),
        // RFC 3986 §2.4: "Implementations must not percent-encode or decode the same string more than once".
        b'%' => Err("an escape stands for a percent sign, so decoding twice gives another path"),
        // RFC 3986 §2.3: "URIs that differ in the replacement of an unreserved character with its corresponding
        // percent-encoded US-ASCII octet are equivalent".
        _ if is_unreserved(byte) => Err("an escape stands for a character that needs none"),
        _ => Ok(()),
    }
}

/// Checks that the decoded path is text, and the same text after Unicode normalisation.
fn check_text(path: &str) -> Result<(), &'static str> {
    // RFC 3629 §3: "Implementations of the decoding algorithm above MUST protect against decoding invalid sequences."
    let text = percent_decode_str(path).decode_utf8().map_err(|_| "its escapes are not valid UTF-8")?;
    if text.is_ascii() {
        return Ok(());
    }
    if text.chars().any(is_unseen) {
        return Err("an escape stands for an invisible character");
    }
    // UAX #15: NFKC replaces compatible characters with each other, such as a full-width slash with a slash.
    if !NFKC.is_normalized(&text) {
        return Err("Unicode normalisation (NFKC) gives another path");
    }
    Ok(())
}

/// Whether a byte is a `pchar` (RFC 3986 §3.3) other than an escape or a semicolon.
const fn is_plain(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@')
}

const NFC: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfc();

const NOT_AN_ESCAPE: &str = "a percent sign is not followed by two hexadecimal digits";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::code::Code;

    fn refused(path: &str) -> bool {
        CanonicalPath::parse(path).map(|_| ()).map_err(|error| error.code()) == Err(Code::PathAmbiguous)
    }

    fn words(text: &'static str) -> Vec<&'static str> {
        text.split(' ').collect()
    }

    fn assert_refused(paths: &[&str], controls: &[&str]) {
        for path in controls {
            assert_eq!(CanonicalPath::parse(path).map(CanonicalPath::as_str), Ok(*path)); // control
        }
        for path in paths {
            assert!(refused(path), "{path:?}");
        }
    }

    #[test]
    fn accepts_paths_with_one_reading() {
        let paths = words(
            "/ /a /a/ /a/b.json /a%20b /a%3Ab /a%40b /a%2Bb%2Cc /a%2bb /caf%C3%A9 /caf%c3%a9 /.well-known /a..b \
             /~x/-_.y /!$&'()*+,=:@ /%E6%97%A5%E6%9C%AC /...a /%22%3C%7B",
        );
        for path in paths {
            assert_eq!(CanonicalPath::parse(path).map(CanonicalPath::as_str), Ok(path));
        }
    }

    #[test]
    fn atk_pt_01_refuses_dot_segments() {
        let paths = words(
            "/public/../protected /public/%2e%2e/protected /public/%2E%2E/protected /public/.%2e/protected \
             /%2e/ /./a /a/. /a/.. /.. /. /a/./b /%2E /a/... /.../a",
        );
        assert_refused(&paths, &["/public/.a/protected", "/public/..a"]);
    }

    #[test]
    fn atk_pt_02_refuses_encoded_slash_and_any_backslash() {
        assert_refused(&["/a%2Fb", "/a%2fb", "/a%5Cb", "/a%5cb", "/a\\b", "/..\\b", "\\a"], &["/a/b", "/a%20b"]);
    }

    #[test]
    fn atk_pt_03_refuses_empty_segments() {
        assert_refused(&["//protected", "/a//b", "//", "/a//", "///"], &["/protected", "/a/b/", "/"]);
    }

    #[test]
    fn atk_pt_04_refuses_semicolons() {
        assert_refused(
            &["/protected;x=1", "/..;/protected", "/a;/b", "/;", "/a%3Bb", "/a%3bb"],
            &["/protected,x=1", "/a%3Ab"],
        );
    }

    #[test]
    fn atk_pt_05_refuses_number_and_question_signs() {
        assert_refused(
            &["/public#/../protected", "/public%23", "/a#", "/a%3Fb", "/a%3fb", "/a?b"],
            &["/public", "/a%24b"],
        );
    }

    #[test]
    fn atk_pt_06_refuses_escaped_letters_and_dots_at_the_end() {
        assert_refused(
            &words(
                "/%70rotected /%50rotected /a%2Db /a%5Fb /a%7Eb /a%30 /protected. /a./b /a%2E /a%20 /a%20/b /%20a \
             /%20",
            ),
            &["/protected", "/a-b", "/a.b", "/a%20b"],
        );
    }

    #[test]
    fn atk_pt_07_refuses_double_encoding() {
        assert_refused(&["/%252e%252e", "/a%252Fb", "/a%25", "/a%2520b", "/100%25"], &["/a%24b"]);
        assert_refused(&["/a%", "/a%2", "/a%zz", "/a%2g", "/a%+1", "/%/a", "/a%2/0"], &["/a%2B"]);
    }

    #[test]
    fn atk_pt_08_refuses_controls_overlong_forms_and_look_alike_characters() {
        assert_refused(
            &["/a%00", "/%00", "/a\0", "/a\tb", "/a%09b", "/a%0d%0ab", "/a%7F", "/a%7f", "/a%1b", "/a b", "/a\u{7f}"],
            &["/a%20b"],
        );
        // Overlong, truncated, surrogate, beyond U+10FFFF, Latin-1.
        assert_refused(
            &["/%c0%ae%c0%ae/a", "/%c0%af", "/%e0%80%ae", "/%C3", "/%C3/%A9", "/%ED%A0%80", "/%F4%90%80%80", "/caf%E9"],
            &["/caf%C3%A9"],
        );
        assert_refused(&["/café", "/／a", "/\u{200b}"], &["/caf%C3%A9"]);
    }

    #[test]
    fn atk_pt_08_refuses_text_that_normalisation_changes_or_nobody_sees() {
        let path = |text: &str| text.bytes().fold("/a".to_owned(), |path, byte| format!("{path}%{byte:02X}"));
        for text in ["é", "日", "ß", "\u{301c}", "😀", "م"] {
            assert!(!refused(&path(text)), "{text:?}"); // control
        }
        for text in
            ["．", "／", "＼", "ａ", "\u{301}", "ﬁ", "①", "\u{2024}", "\u{2126}", "\u{212a}", "\u{17f}", "\u{a0}", "¼"]
        {
            assert!(refused(&path(text)), "{text:?}");
        }
        let unseen = words(
            "\u{200b} \u{200d} \u{feff} \u{2028} \u{2029} \u{202e} \u{2066} \u{200f} \u{ad} \u{85} \u{9f} \
             \u{1680} \u{2060} \u{fe0f} \u{e0041} \u{34f} \u{600} \u{61c} \u{180e} \u{3000}",
        );
        for text in unseen {
            assert!(refused(&path(text)), "{text:?}");
        }
        // Marks that combine with the character before them.
        assert!(refused("/e%CC%81"));
        assert!(refused("/=%CC%B8"));
    }

    #[test]
    fn an_operator_is_told_which_character_is_at_fault() {
        for (path, why) in [
            ("/a;b", "it has a semicolon, which some servers read as the start of a parameter"),
            ("/a\\b", "it has a backslash, which some servers read as a slash"),
            ("/a#b", "it has a fragment"),
            ("/a b", "it has a byte that RFC 3986 does not allow in a path"),
        ] {
            assert_eq!(CanonicalPath::read(path), Err(why), "{path}");
        }
    }

    /// Paths of fragments that parsers may misread, about half of them canonical.
    fn paths() -> impl Strategy<Value = String> {
        let good = prop::sample::select(words("a B /a /b %20x %C3%A9 %3A + ~ .a /.w %E6%97%A5 * ="));
        let odd = prop::sample::select(vec![
            "/",
            ".",
            "..",
            "//",
            "%2e",
            "%2F",
            "%25",
            "%252e",
            "é",
            "%EF%BC%8F",
            "%EF%BC%8E",
            "%E2%80%8B",
            "%CC%81",
            ";",
            "\\",
            "%5C",
            "%00",
            "%",
            "%C3",
            "%41",
            "#",
            "%20",
            "%2E%2E",
            "%c0%ae",
            " ",
        ]);
        prop::collection::vec(prop_oneof![9 => good, 1 => odd], 0..10)
            .prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    fn decode(text: &str) -> String {
        percent_decode_str(text).decode_utf8_lossy().into_owned()
    }

    /// The segments that a path normaliser returns: RFC 3986 §5.2.4, backslashes as slashes, without path parameters,
    /// without dots and spaces at the end of segments, without empty segments.
    fn normalised(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        for segment in text.replace('\\', "/").split('/') {
            let segment = segment.split([';', '?', '#', '\0']).next().unwrap_or_default();
            match segment {
                "" | "." => {}
                ".." => drop(out.pop()),
                _ => out.push(segment.trim_matches(' ').trim_end_matches('.').to_owned()),
            }
        }
        out
    }

    fn segments_of(text: &str) -> Vec<String> {
        text.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
    }

    proptest! {
        #[test]
        fn an_accepted_path_has_the_same_segments_however_it_is_read(path in paths()) {
            let Ok(accepted) = CanonicalPath::parse(&path) else { return Ok(()) };
            prop_assert_eq!(accepted.as_str(), &path);
            let once = decode(&path);
            let segments: Vec<_> = segments_of(&path).iter().map(|segment| decode(segment)).collect();
            prop_assert_eq!(&segments_of(&once), &segments);
            prop_assert_eq!(&decode(&once), &once);
            prop_assert_eq!(&normalised(&once), &segments);
            prop_assert_eq!(&normalised(&path), &segments_of(&path));
            prop_assert_eq!(NFKC.normalize(&once), once.as_str());
            prop_assert_eq!(NFKC.normalize(&path), path.as_str());
        }
    }
}
