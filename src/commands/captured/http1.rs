//! One message of HTTP/1.1 (RFC 9112 §2) in a file.
//!
//! Reads what a person captured, and not what a connection brings: lines may end in LF alone, and `Content-Length` is compared
//! with the length of the file. The version may be any, since tools write the head of HTTP/2 in this form too.

use fapi::signature::digest::CONTENT_DIGEST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

/// What the first line says.
pub(super) enum Start {
    /// A request.
    Request(RequestLine),
    /// A response with this status.
    Response(StatusCode),
}

/// RFC 9112 §3, without the version.
pub(super) struct RequestLine {
    pub(super) method: Method,
    pub(super) target: String,
}

/// A message, without what its first line says. Has no `Debug`, since its fields have credentials.
pub(in crate::commands) struct Captured {
    /// The bytes of the head, without the empty line.
    head: Vec<u8>,
    line_end: &'static str,
    headers: HeaderMap,
    content: Vec<u8>,
}

impl Captured {
    /// Reads a message. The reason of a failure has no value of a field.
    pub(super) fn parse(bytes: &[u8]) -> Result<(Start, Self), String> {
        let mut rest = bytes;
        let (start, line_end) = next_line(&mut rest).ok_or("it is empty; expected a message of HTTP/1.1")?;
        let start = Start::parse(start)?;
        let (mut headers, mut head_bytes) = (HeaderMap::new(), bytes.len().saturating_sub(rest.len()));
        for number in 2_u32.. {
            let Some((line, _)) = next_line(&mut rest) else { break };
            if line.is_empty() {
                break;
            }
            head_bytes = bytes.len().saturating_sub(rest.len());
            let (name, value) = field(line).map_err(|why| format!("line {number} {why}"))?;
            headers.try_append(name, value).map_err(|_| "it has too many fields".to_owned())?;
        }
        let mut head = bytes.get(..head_bytes).unwrap_or_default().to_vec();
        if !head.ends_with(b"\n") {
            head.extend_from_slice(line_end.as_bytes());
        }
        let content = content(&headers, rest)?.to_vec();
        Ok((start, Self { head, line_end, headers, content }))
    }

    /// All fields.
    pub(in crate::commands) const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The content; empty if there is none.
    pub(in crate::commands) fn content(&self) -> &[u8] {
        &self.content
    }

    /// The message with one more field.
    pub(in crate::commands) fn with_field(mut self, name: &'static str, value: HeaderValue) -> Self {
        for part in [written(name).as_bytes(), b": ", value.as_bytes(), self.line_end.as_bytes()] {
            self.head.extend_from_slice(part);
        }
        self.headers.append(HeaderName::from_static(name), value);
        self
    }

    /// The message as it is sent.
    pub(in crate::commands) fn into_bytes(self) -> Vec<u8> {
        [&self.head, self.line_end.as_bytes(), &self.content].concat()
    }
}

/// The name of a field as people write it.
fn written(name: &'static str) -> &'static str {
    match name {
        CONTENT_DIGEST => "Content-Digest",
        "signature-input" => "Signature-Input",
        "signature" => "Signature",
        other => other,
    }
}

impl Start {
    fn parse(line: &[u8]) -> Result<Self, String> {
        let malformed = || "its first line is neither `METHOD TARGET HTTP/1.1` nor `HTTP/1.1 STATUS`".to_owned();
        let words: Vec<&str> = std::str::from_utf8(line).map_err(|_| malformed())?.split(' ').collect();
        match *words {
            [version, status, ..] if version.starts_with("HTTP/") => {
                let status = StatusCode::from_bytes(status.as_bytes());
                status.map(Self::Response).map_err(|_| malformed())
            }
            [method, target, version] if version.starts_with("HTTP/") => {
                let method = Method::from_bytes(method.as_bytes()).map_err(|_| malformed())?;
                let is_target = !target.is_empty() && target.bytes().all(|byte| byte.is_ascii_graphic());
                is_target
                    .then(|| Self::Request(RequestLine { method, target: target.to_owned() }))
                    .ok_or_else(malformed)
            }
            _ => Err(malformed()),
        }
    }
}

/// Takes a line, and says how it ends.
fn next_line<'b>(rest: &mut &'b [u8]) -> Option<(&'b [u8], &'static str)> {
    if rest.is_empty() {
        return None;
    }
    let end = rest.iter().position(|byte| *byte == b'\n');
    let (line, after) = rest.split_at(end.map_or(rest.len(), |end| end.saturating_add(1)));
    *rest = after;
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    Some(line.strip_suffix(b"\r").map_or((line, "\n"), |line| (line, "\r\n")))
}

/// A line of a head (RFC 9112 §5).
fn field(line: &[u8]) -> Result<(HeaderName, HeaderValue), &'static str> {
    // §5.2: a sender must not fold lines.
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        return Err("is folded; write the field on one line");
    }
    let colon = line.iter().position(|byte| *byte == b':').ok_or("has no colon")?;
    let (name, value) = line.split_at(colon);
    // A space before the colon is no part of a name, and refused with it.
    let name = HeaderName::from_bytes(name).map_err(|_| "does not begin with the name of a field")?;
    let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
    let value = HeaderValue::from_bytes(value).map_err(|_| "has a control character in the value")?;
    Ok((name, value))
}

/// The content in what follows a head. An editor may have added line ends to the file.
fn content<'b>(headers: &HeaderMap, rest: &'b [u8]) -> Result<&'b [u8], String> {
    let only_line_ends = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else {
        return Ok(if only_line_ends(rest) { &[] } else { rest });
    };
    let number = length.to_str().ok().and_then(|length| length.parse::<usize>().ok());
    let number =
        number.filter(|_| lengths.all(|other| other == length)).ok_or("its Content-Length is not one number")?;
    match rest.split_at_checked(number) {
        Some((content, after)) if only_line_ends(after) => Ok(content),
        Some(_) | None => Err(format!("its content has {} bytes, and Content-Length says {number}", rest.len())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Captured, String> {
        Captured::parse(text.as_bytes()).map(|(_, message)| message)
    }

    fn content_of(text: &str) -> Result<String, String> {
        read(text).map(|message| String::from_utf8(message.content).unwrap())
    }

    #[test]
    fn lines_end_in_lf_or_crlf() {
        for end in ["\n", "\r\n"] {
            let text = ["POST /a?b HTTP/1.1", "Host: a", "X: 1", "X:  2 ", "", "body\n"].join(end);
            let Ok((Start::Request(line), message)) = Captured::parse(text.as_bytes()) else { panic!("{text:?}") };
            assert_eq!((line.method, &*line.target), (Method::POST, "/a?b"));
            assert_eq!(message.headers.get_all("x").iter().collect::<Vec<_>>(), ["1", "2"]);
            assert_eq!(message.content(), b"body\n");
            let longer = message.with_field("signature", HeaderValue::from_static("a=:AA==:")).into_bytes();
            let expected = text.replace(&format!("2 {end}"), &format!("2 {end}Signature: a=:AA==:{end}"));
            assert_eq!(String::from_utf8(longer).unwrap(), expected);
        }
    }

    #[test]
    fn a_response_has_a_status_and_perhaps_a_reason() {
        for (line, expected) in [("HTTP/1.1 201 Created", 201), ("HTTP/1.1 404 Not Found", 404), ("HTTP/2 200", 200)] {
            let Ok((Start::Response(status), _)) = Captured::parse(format!("{line}\n\n").as_bytes()) else {
                panic!("{line}")
            };
            assert_eq!(status.as_u16(), expected);
        }
    }

    #[test]
    fn the_length_of_the_content_is_the_one_that_is_declared() {
        let with = |length: &str, content: &str| content_of(&format!("POST / HTTP/1.1\n{length}\n{content}"));
        assert_eq!(with("", "ab").unwrap(), "ab"); // control
        assert_eq!(with("Content-Length: 2\n", "ab").unwrap(), "ab");
        assert_eq!(with("Content-Length: 2\n", "ab\n").unwrap(), "ab", "an editor ends the last line");
        assert_eq!(with("Content-Length: 3\n", "ab\n").unwrap(), "ab\n");
        assert_eq!(with("Content-Length: 2\nContent-Length: 2\n", "ab").unwrap(), "ab");
        assert_eq!(with("", "\n\r\n").unwrap(), "");
        for length in ["3", "1", "-2", "x", "2\nContent-Length: 3"] {
            assert!(with(&format!("Content-Length: {length}\n"), "ab").is_err(), "{length}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert!(read("GET / HTTP/1.1\nHost: a\n\n").is_ok()); // control
        assert!(read("GET / HTTP/1.1\nHost: a").is_ok(), "a head alone");
        for text in [
            "",
            "\n",
            "GET /\n",
            "GET  / HTTP/1.1\n",
            "GET / a HTTP/1.1\n",
            "HTTP/1.1 x\n",
            "HTTP/1.1\n",
            "G(T / HTTP/1.1\n",
            "GET / HTTP/1.1\nno colon\n",
            "GET / HTTP/1.1\nHost : a\n",
            "GET / HTTP/1.1\n: a\n",
            "GET / HTTP/1.1\nX: a\n folded\n",
            "GET / HTTP/1.1\nX: a\u{7f}\n",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(GET / HTTP/1.1\\r?\\n)?[ -~\\r\\n\\t\\x80-\\xff]{0,80}") {
            let _ = read(&text).is_ok();
        }

        #[test]
        fn a_message_is_written_as_it_was_read(value in "[!-~]{1,20}", content in "[a-z\\r\\n]{0,9}x") {
            let text = format!("POST / HTTP/1.1\r\nX: {value}\r\n\r\n{content}");
            prop_assert_eq!(read(&text).unwrap().into_bytes(), text.into_bytes());
        }
    }
}
