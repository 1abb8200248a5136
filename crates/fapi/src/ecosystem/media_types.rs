//! The media types that a resource takes and answers with (UK-04, AU-10, BG-12).

use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue};

use crate::text::{is_token_byte, names_only_utf8, printable, sole_value};

/// The media types of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaTypes {
    /// Of the content of requests; any, if it is `None`.
    pub requests: Option<Box<[MediaType]>>,
    /// Of its answers, one of which a request has to accept; nobody looks, if it is `None`.
    pub responses: Option<Box<[MediaType]>>,
}

/// A media type without parameters, such as `application/json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaType {
    name: Box<str>,
    main_type: usize,
}

/// Why a request is refused for a media type. `Display` is for operators.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MediaTypeError {
    /// That of its content.
    #[error("the content is {found}, and not of a media type that the route takes, in UTF-8")]
    Unsupported {
        /// Its media type, as it may be printed.
        found: Box<str>,
    },
    /// Those that it accepts.
    #[error("Accept admits none of the media types that the route answers with")]
    NotAcceptable,
}

impl MediaType {
    /// The media type of this name.
    pub fn new(name: &str) -> Option<Self> {
        let (main_type, subtype) = name.split_once('/')?;
        let is_token = |text: &str| !text.is_empty() && text != "*" && text.bytes().all(is_token_byte);
        let name = name.to_ascii_lowercase().into();
        (is_token(main_type) && is_token(subtype)).then_some(Self { name, main_type: main_type.len() })
    }

    /// Its name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    fn main_type(&self) -> &str {
        self.name.get(..self.main_type).unwrap_or_default()
    }
}

impl MediaTypes {
    /// Those of an ecosystem. Each of the names is one.
    pub(super) fn of(requests: &[&str], responses: &[&str]) -> Self {
        let all = |names: &[&str]| Some(names.iter().filter_map(|name| MediaType::new(name)).collect());
        Self { requests: all(requests), responses: all(responses) }
    }

    /// Checks what a request says of its content and of what it accepts.
    ///
    /// # Errors
    /// [`MediaTypeError`].
    pub fn check(&self, method: &str, headers: &HeaderMap) -> Result<(), MediaTypeError> {
        if let Some(requests) = &self.requests {
            check_content(requests, method, headers)?;
        }
        match &self.responses {
            Some(responses) if !responses.iter().any(|response| is_acceptable(response, headers)) => {
                Err(MediaTypeError::NotAcceptable)
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// A request that declares content has one `Content-Type`. In HTTP/2 it need not declare it: then the type that is there counts, but
/// for methods whose requests have no content, with which many clients send one all the same.
fn check_content(known: &[MediaType], method: &str, headers: &HeaderMap) -> Result<(), MediaTypeError> {
    let length = headers.get(CONTENT_LENGTH);
    let is_empty = length.is_some_and(|length| length.as_bytes().iter().all(|byte| *byte == b'0'));
    let is_declared = length.is_some() || headers.contains_key(TRANSFER_ENCODING);
    let may_be_undeclared = matches!(method, "POST" | "PUT" | "PATCH") && headers.contains_key(CONTENT_TYPE);
    if is_empty || !(is_declared || may_be_undeclared) {
        return Ok(());
    }
    let value = sole_value(headers, CONTENT_TYPE).map(HeaderValue::to_str).and_then(Result::ok);
    let named = value.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let is_known = known.iter().any(|known| known.as_str().eq_ignore_ascii_case(named));
    if is_known && value.is_some_and(names_only_utf8) {
        return Ok(());
    }
    let found = if headers.contains_key(CONTENT_TYPE) { printable(named) } else { "without Content-Type".into() };
    Err(MediaTypeError::Unsupported { found })
}

/// Whether a request accepts a media type: the most precise ranges that it is in decide (RFC 9110 §12.5.1).
///
/// Nobody is refused for what is malformed beside that: a range whose weight cannot be read is one that is accepted.
fn is_acceptable(media_type: &MediaType, headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT).iter().map(|line| String::from_utf8_lossy(line.as_bytes()));
    let lines: Vec<_> = lines.collect();
    let ranges = lines.iter().flat_map(|line| split_outside_quotes(line, ',')).filter(|range| !range.is_empty());
    let mut found: Option<(Precision, bool)> = None;
    let mut any = false;
    for range in ranges {
        any = true;
        let mut parts = split_outside_quotes(range, ';');
        let named = parts.next().unwrap_or_default();
        let Some(precision) = Precision::of(named, media_type) else { continue };
        let accepted = !parts.any(is_weight_of_zero);
        found = match found {
            Some((most, _)) if precision < most => found,
            Some((most, before)) if precision == most => Some((most, before || accepted)),
            Some(_) | None => Some((precision, accepted)),
        };
    }
    // "A request without any Accept header field implies that the user agent will accept any media type".
    !any || found.is_some_and(|(_, accepted)| accepted)
}

/// How precisely a range names what is in it, from the least to the most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Precision {
    Anything,
    MainType,
    Whole,
}

impl Precision {
    fn of(range: &str, media_type: &MediaType) -> Option<Self> {
        // Java sends a single asterisk.
        if matches!(range, "*/*" | "*") {
            return Some(Self::Anything);
        }
        let main_type = range.strip_suffix("/*");
        if main_type.is_some_and(|main_type| main_type.eq_ignore_ascii_case(media_type.main_type())) {
            return Some(Self::MainType);
        }
        range.eq_ignore_ascii_case(media_type.as_str()).then_some(Self::Whole)
    }
}

/// Whether a parameter of a range is a weight, and that is 0.
fn is_weight_of_zero(parameter: &str) -> bool {
    let Some((name, weight)) = parameter.split_once('=') else { return false };
    let weight = weight.trim();
    name.trim().eq_ignore_ascii_case("q")
        && weight.starts_with(['0', '.'])
        && weight.bytes().all(|byte| matches!(byte, b'0' | b'.'))
}

/// The parts of a list, without the white space around them. A separator in quotes is none.
fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut in_quotes, mut is_escaped) = (false, false);
    let parts = text.split(move |character| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match character {
            '\\' if in_quotes && !was_escaped => is_escaped = true,
            '"' if !was_escaped => in_quotes = !in_quotes,
            _ => {}
        }
        character == separator && !in_quotes
    });
    parts.map(str::trim)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn accepts(lines: &[&str]) -> bool {
        let fields: Vec<_> = lines.iter().map(|line| ("accept", *line)).collect();
        MediaTypes::of(&[], &["application/json"]).check("GET", &headers(&fields)).is_ok()
    }

    #[test]
    fn au_10_uk_04_whoever_accepts_json_in_any_way_is_answered() {
        for lines in [
            &[][..],
            &[""],
            &[" , "],
            &["*/*"],
            &["*"],
            &["application/*"],
            &["APPLICATION/*"],
            &["application/json"],
            &["AppliCAtion/JSon;Charset=uTf-8"],
            &["application/json; charset=utf-8"],
            &["application/json;q=0.1"],
            &["application/json;q=.1"],
            &["application/json; q=1.000"],
            &["application/json;q=x"],
            &["application/json;version=2"],
            &["text/html, application/json"],
            &["text/html,application/xhtml+xml,*/*;q=0.8"],
            &["text/html, image/gif, *; q=.2, */*; q=.2"],
            &["text/html", "application/json"],
            &["application/json;x=\"a,b;q=0\""],
            &["*/*;q=0, application/json"],
            &["application/*;q=0, application/json;q=0.1"],
            &["application/json;q=0;version=1, application/json"],
        ] {
            assert!(accepts(lines), "{lines:?}");
        }
        for lines in [
            &["text/html"][..],
            &["text/xml"],
            &["application/xml"],
            &["application/jsonp"],
            &["application/json-patch+json"],
            &["application/json;q=0"],
            &["application/json; Q=0.000"],
            &["application/json ; q = 0"],
            &["application/json;q=0, */*"],
            &["*/*;q=0"],
            &["application/*;q=0, */*;q=1"],
            &["text/*, image/*;q=1"],
            &["json"],
            &["text/html;x=\"application/json\""],
            &["text/html;x=\", application/json\""],
            &["text/html;x=\"\\\", application/json"],
        ] {
            assert!(!accepts(lines), "{lines:?}");
        }
    }

    #[test]
    fn uk_04_au_10_content_is_of_a_type_that_the_route_takes() {
        let types = MediaTypes::of(&["application/json", "application/jose+jwe"], &[]);
        let types = MediaTypes { responses: None, ..types };
        let judge = |fields: &[(&'static str, &str)]| types.check("POST", &headers(fields)).is_ok();
        let length = ("content-length", "2");
        for value in [
            "application/json",
            "AppliCAtion/JSon;Charset=uTf-8",
            "application/json; charset=\"utf-8\"",
            "application/json; profile=x",
            "application/jose+jwe",
        ] {
            for declared in [length, ("transfer-encoding", "chunked"), ("x", "y")] {
                assert!(judge(&[declared, ("content-type", value)]), "{declared:?} {value}");
            }
        }
        for value in
            ["text/xml", "application/json; charset=utf-16", "", "application/json, text/xml", "json", "application/*"]
        {
            for declared in [length, ("transfer-encoding", "chunked"), ("x", "y")] {
                assert!(!judge(&[declared, ("content-type", value)]), "{declared:?} {value}");
            }
            assert!(judge(&[("content-length", "0"), ("content-type", value)]), "there is no content");
        }
        assert!(judge(&[]) && judge(&[("content-length", "0")]));
        let of_xml = [("content-type", "text/xml"), length];
        let read = |fields: &[(&'static str, &str)]| types.check("GET", &headers(fields)).is_ok();
        assert!(
            read(&of_xml[..1]) && !read(&of_xml),
            "many clients say of which type the content is that they do not send"
        );
        for fields in [
            &[length][..],
            &[("transfer-encoding", "chunked")],
            &[length, ("content-type", "application/json"), ("content-type", "application/json")],
        ] {
            assert!(!judge(fields), "{fields:?}");
        }
    }

    #[test]
    fn a_media_type_has_two_parts_and_no_parameters() {
        assert_eq!(MediaType::new("Application/JSON").unwrap().as_str(), "application/json"); // control
        for name in
            ["", "json", "application/", "/json", "*/*", "application/*", "application/json;x=y", "a/b/c", "a /b"]
        {
            assert_eq!(MediaType::new(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn nothing_in_accept_panics_and_what_names_json_alone_is_accepted(
            text in "[ -~]{0,40}",
            parameter in "[a-pr-z]{1,4}=[a-z0-9]{0,4}",
        ) {
            accepts(&[&text]);
            let plain = format!("application/json; {parameter}");
            prop_assert!(accepts(&[&plain]));
        }
    }
}
