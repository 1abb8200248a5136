//! What the lines of an HTTP/1 head say of its framing and its host, for a head that a parser refuses without saying why.

use http::{HeaderName, header};

use super::error::MessageError;
use super::framing::{check_encoding, read_length};
use super::head::split_at_byte;

/// The fields of an HTTP/1 head that frame and route its message, noted line by line as they arrive.
///
/// A parser may refuse a head for one of them, and the request is then known to nobody else. Does not judge the rest of the
/// head, nor the target: what is not noted here counts as malformed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// Whether the version is HTTP/1.0.
    is_http_1_0: bool,
    encodings: u8,
    lengths: u8,
    hosts: u8,
    /// The first fault in the value of one of these fields.
    framing_fault: Option<&'static str>,
    host_fault: Option<&'static str>,
}

impl Outline {
    /// Notes the request line, without its end.
    pub fn note_request_line(&mut self, line: &[u8]) {
        self.is_http_1_0 = line.ends_with(b"HTTP/1.0");
    }

    /// Notes the line of a field, without its end.
    pub fn note_field(&mut self, line: &[u8]) {
        // Most fields begin with another letter.
        let [b'C' | b'c' | b'H' | b'h' | b'T' | b't', ..] = line else { return };
        let Some((name, value)) = split_at_byte(line, b':') else { return };
        let is = |field: &HeaderName| name.eq_ignore_ascii_case(field.as_str().as_bytes());
        if is(&header::HOST) {
            self.hosts = self.hosts.saturating_add(1);
            let fault = value.contains(&b'@').then_some("it has user information");
            self.host_fault = self.host_fault.or(fault);
        } else if is(&header::CONTENT_LENGTH) {
            self.lengths = self.lengths.saturating_add(1);
            self.framing_fault = self.framing_fault.or(read_length(value).err());
        } else if is(&header::TRANSFER_ENCODING) {
            self.encodings = self.encodings.saturating_add(1);
            self.framing_fault = self.framing_fault.or(check_encoding(value).err());
        }
    }

    /// Returns why the head is refused: for its framing, or else for its host.
    pub fn fault(self) -> MessageError {
        let framing = match self {
            Self { encodings: 1.., lengths: 1.., .. } => Some("both Transfer-Encoding and Content-Length"),
            Self { encodings: 2.., .. } => Some("more than one Transfer-Encoding"),
            Self { lengths: 2.., .. } => Some("more than one Content-Length"),
            Self { encodings: 1, is_http_1_0: true, .. } => Some("Transfer-Encoding in HTTP/1.0"),
            Self { framing_fault, .. } => framing_fault,
        };
        match (framing, self.hosts, self.host_fault) {
            (Some(why), ..) => MessageError::FramingAmbiguous { why },
            (None, 2.., _) => MessageError::HostMissing { why: "there is more than one Host" },
            (None, _, Some(why)) => MessageError::HostMalformed { why },
            (None, _, None) => MessageError::HeaderMalformed { why: "it cannot be parsed" },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::Code;

    fn code(head: &str) -> Code {
        let mut outline = Outline::default();
        let (line, fields) = head.split_once('\n').unwrap();
        outline.note_request_line(line.as_bytes());
        fields.lines().for_each(|line| outline.note_field(line.as_bytes()));
        outline.fault().code()
    }

    #[test]
    fn a_head_that_a_parser_refuses_has_the_code_of_its_framing_or_host() {
        let with = |fields: &str| code(&format!("POST / HTTP/1.1\nHost: a\n{fields}"));
        for fine in ["", "Content-Length: 5", "transfer-encoding: Chunked", "Cookie: a@b", "HostX: b", "Host"] {
            assert_eq!(with(fine), Code::HeaderMalformed, "control: {fine:?}");
        }
        for framing in [
            "Content-Length: 5\ncontent-length: 5",
            "Content-Length: five",
            "Content-Length: 5 ",
            "Content-Length:",
            "Transfer-Encoding: chunked\nTransfer-Encoding: chunked",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: gzip\nContent-Length: 5",
        ] {
            assert_eq!(with(framing), Code::FramingAmbiguous, "{framing:?}");
            assert_eq!(with(&format!("Host: a\n{framing}")), Code::FramingAmbiguous, "it comes first: {framing:?}");
        }
        assert_eq!(code("POST / HTTP/1.0\nTransfer-Encoding: chunked"), Code::FramingAmbiguous);
        assert_eq!((with("HOST: a"), with("Host: b@a")), (Code::HostMissing, Code::HostMissing));
        assert_eq!(code("GET / HTTP/1.1\nHost: b@a"), Code::HostMalformed);
    }
}
