//! HTTP/1.1 over one connection: what is sent is sent as given, what comes is read within bounds.

use std::io::{Read, Write};

use http::StatusCode;

use super::{NoAnswer, Response};

/// The most bytes of a head that are read.
const MAX_HEAD: usize = 64 * 1024;
/// The most bytes of content that are read.
const MAX_BODY: usize = 1024 * 1024;
/// The most fields of an answer.
const MAX_FIELDS: usize = 128;
/// The most interim responses before the final one.
const MAX_INTERIM: usize = 8;

/// A connection, with what was read beyond the last answer.
pub struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
    reusable: bool,
}

impl<S: Read + Write> Connection<S> {
    /// Begins on an open stream.
    pub fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new(), reusable: true }
    }

    /// The stream, whose deadline may be set anew.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Whether another request can be sent.
    pub fn is_reusable(&self) -> bool {
        self.reusable
    }

    /// Sends bytes as they are and reads one final response. `head_only` for HEAD, whose response has no content.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub fn exchange(&mut self, request: &[u8], head_only: bool) -> Result<Response, NoAnswer> {
        // What goes wrong in the middle leaves the connection in a state that nobody knows.
        self.reusable = false;
        // A server may answer and close before everything is sent; its answer counts.
        let sent = self.stream.write_all(request).and_then(|()| self.stream.flush());
        let answer = self.read(head_only);
        match (sent, answer) {
            (Err(error), Err(_)) => Err(NoAnswer::of(error)),
            (_, answer) => answer,
        }
    }

    /// Reads one further final response, without sending anything.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub fn read(&mut self, head_only: bool) -> Result<Response, NoAnswer> {
        for _ in 0..MAX_INTERIM {
            let (response, framing) = self.head()?;
            if response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS {
                continue;
            }
            return self.content(response, framing, head_only);
        }
        Err(NoAnswer::Malformed("only interim responses came".to_owned()))
    }

    fn head(&mut self) -> Result<(Response, Framing), NoAnswer> {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
            let mut head = httparse::Response::new(&mut fields);
            let malformed = |error: &dyn std::fmt::Display| NoAnswer::Malformed(error.to_string());
            let length = match head.parse(&self.buffer).map_err(|error| malformed(&error))? {
                httparse::Status::Complete(length) => length,
                httparse::Status::Partial if self.buffer.len() > MAX_HEAD => {
                    return Err(NoAnswer::Malformed("the head is too large".to_owned()));
                }
                httparse::Status::Partial => {
                    self.fill()?;
                    continue;
                }
            };
            let status = StatusCode::from_u16(head.code.unwrap_or_default()).map_err(|error| malformed(&error))?;
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            let fields = head.headers.iter().map(|field| (field.name.to_ascii_lowercase(), text(field.value)));
            let response = Response { status, fields: fields.collect(), body: Vec::new() };
            let framing = Framing::of(&response, head.version == Some(0))?;
            self.buffer.drain(..length);
            return Ok((response, framing));
        }
    }

    fn content(&mut self, mut response: Response, framing: Framing, head_only: bool) -> Result<Response, NoAnswer> {
        let empty = head_only || matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if !empty {
            match framing.length {
                Length::Known(length) => {
                    while self.buffer.len() < length {
                        self.fill()?;
                    }
                    response.body = self.buffer.drain(..length).collect();
                }
                Length::Chunked => response.body = self.chunks()?,
                Length::UntilClose => {
                    loop {
                        match self.fill() {
                            Ok(()) => {}
                            Err(NoAnswer::Closed) => break,
                            Err(error) => return Err(error),
                        }
                    }
                    response.body = std::mem::take(&mut self.buffer);
                }
            }
        }
        self.reusable = !framing.closes && (empty || framing.length != Length::UntilClose);
        Ok(response)
    }

    fn chunks(&mut self) -> Result<Vec<u8>, NoAnswer> {
        let malformed = |what: &str| NoAnswer::Malformed(what.to_owned());
        let mut body = Vec::new();
        loop {
            let (start, size) = match httparse::parse_chunk_size(&self.buffer).map_err(|_| malformed("a chunk"))? {
                httparse::Status::Partial => {
                    self.fill()?;
                    continue;
                }
                httparse::Status::Complete(found) => found,
            };
            if size == 0 {
                self.buffer.drain(..start);
                return self.trailers().map(|()| body);
            }
            let size =
                usize::try_from(size).ok().filter(|size| *size <= MAX_BODY).ok_or_else(|| malformed("a chunk"))?;
            let end = start.saturating_add(size);
            while self.buffer.len() < end.saturating_add(2) {
                self.fill()?;
            }
            body.extend(self.buffer.get(start..end).unwrap_or_default());
            self.buffer.drain(..end.saturating_add(2));
            if body.len() > MAX_BODY {
                return Err(malformed("the content is too large"));
            }
        }
    }

    fn trailers(&mut self) -> Result<(), NoAnswer> {
        loop {
            if self.buffer.starts_with(b"\r\n") {
                self.buffer.drain(..2);
                return Ok(());
            }
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                self.buffer.drain(..end.saturating_add(4));
                return Ok(());
            }
            self.fill()?;
        }
    }

    /// Reads more; an end is an error.
    fn fill(&mut self) -> Result<(), NoAnswer> {
        let mut bytes = [0; 16 * 1024];
        if self.buffer.len() > MAX_HEAD.saturating_add(MAX_BODY) {
            return Err(NoAnswer::Malformed("the answer is too large".to_owned()));
        }
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(NoAnswer::Closed),
            Ok(count) => {
                self.buffer.extend(bytes.get(..count).unwrap_or_default());
                Ok(())
            }
            Err(error) => Err(NoAnswer::of(error)),
        }
    }
}

/// How long the content of an answer is, and whether the connection ends with it.
#[derive(Clone, Copy)]
struct Framing {
    length: Length,
    closes: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    Known(usize),
    Chunked,
    UntilClose,
}

impl Framing {
    fn of(response: &Response, http10: bool) -> Result<Self, NoAnswer> {
        let chunked = response.all("transfer-encoding").any(|value| value.to_ascii_lowercase().ends_with("chunked"));
        let lengths: Vec<&str> = response.all("content-length").collect();
        let length = match (chunked, lengths.as_slice()) {
            (true, _) => Length::Chunked,
            (false, [length]) => {
                let length = length.trim().parse().ok().filter(|length| *length <= MAX_BODY);
                Length::Known(length.ok_or_else(|| NoAnswer::Malformed("Content-Length".to_owned()))?)
            }
            (false, []) => Length::UntilClose,
            (false, _) => return Err(NoAnswer::Malformed("several Content-Length fields".to_owned())),
        };
        let closes = http10 || response.all("connection").any(|value| value.to_ascii_lowercase().contains("close"));
        Ok(Self { length, closes })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Cursor};

    use super::*;

    /// Gives what is prepared, a few bytes at a time, and forgets what is written.
    struct Prepared(Cursor<Vec<u8>>);

    impl Read for Prepared {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let few = buffer.len().min(3);
            self.0.read(&mut buffer[..few])
        }
    }

    impl Write for Prepared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn connection(bytes: &str) -> Connection<Prepared> {
        Connection::new(Prepared(Cursor::new(bytes.as_bytes().to_vec())))
    }

    #[test]
    fn answers_follow_each_other_on_one_connection() {
        let mut connection = connection(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab\
             HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nT: 1\r\n\r\n\
             HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
        );
        let first = connection.exchange(b"", false).unwrap();
        assert_eq!((first.status.as_u16(), first.body.as_slice()), (200, &b"ab"[..]));
        assert!(connection.is_reusable());
        let second = connection.exchange(b"", false).unwrap();
        assert_eq!((second.status.as_u16(), second.body.as_slice()), (401, &b"abcd"[..]));
        let third = connection.exchange(b"", false).unwrap();
        assert_eq!(third.body, b"until the end");
        assert!(!connection.is_reusable());
    }

    #[test]
    fn what_cannot_be_read_is_no_answer() {
        assert!(matches!(connection("").exchange(b"", false), Err(NoAnswer::Closed)));
        for text in ["SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"] {
            assert!(matches!(connection(text).exchange(b"", false), Err(NoAnswer::Malformed(_))), "{text}");
        }
        assert!(connection("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").exchange(b"", false).is_ok()); // control
    }

    #[test]
    fn the_answer_to_head_has_no_content() {
        let mut connection = connection("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        assert!(connection.exchange(b"", true).unwrap().body.is_empty());
        assert!(connection.is_reusable());
    }
}
