//! A message that somebody captured, with what it takes to sign it or to verify its signatures: the URI by which the client
//! knows the resource, and for a response the request that it answers.

mod http1;
mod profile;

use std::path::{Path, PathBuf};

use fapi::signature::message::{ExternalUri, Message, RequestView, ResponseView};
use http::{StatusCode, Uri, header};

pub(super) use self::http1::Captured;
use self::http1::Start;
pub(super) use self::profile::{ProfileName, any_time, anything};
use super::{BAD_USAGE, Failure, input, one_from_standard_input};

/// Where the message is.
#[derive(Debug, clap::Args)]
pub(super) struct MessageFile {
    /// The message as HTTP/1.1 has it, with lines that end in LF or CRLF; `-` for standard input.
    ///
    /// Its content is what `Content-Length` says, or all that follows the head, decoded from any transfer coding and not from
    /// a content coding. Without `Content-Length`, line ends alone are no content.
    #[arg(value_name = "MESSAGE", allow_hyphen_values = true)]
    file: PathBuf,
    /// The request that a response answers, as its client sent it.
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    request: Option<PathBuf>,
    /// The URI to which the client sent the request; by default https, `Host` and the target of the request line. Behind a
    /// proxy, these are not what the client has signed.
    #[arg(long, value_name = "URL")]
    uri: Option<String>,
}

/// A message with the request and the URI.
pub(super) struct Subject {
    message: Captured,
    kind: Kind,
    uri: Uri,
}

enum Kind {
    Request(http1::RequestLine),
    Response(StatusCode, http1::RequestLine, Box<Captured>),
}

impl MessageFile {
    /// Reads the files, where these others may be standard input too.
    pub(super) fn read<'p>(
        &'p self,
        others: impl IntoIterator<Item = Option<&'p PathBuf>>,
    ) -> Result<Subject, Failure> {
        one_from_standard_input(others.into_iter().chain([Some(&self.file), self.request.as_ref()]))?;
        let usage = |why: &str| Err(Failure::new(BAD_USAGE, why));
        let (start, message) = captured(&self.file)?;
        let request = self.request.as_ref().map(|file| Ok((file, captured(file)?))).transpose()?;
        let kind = match (start, request) {
            (Start::Request(line), None) => Kind::Request(line),
            (Start::Request(_), Some(_)) => return usage("the message is a request; --request is for responses"),
            (Start::Response(_), None) => {
                return usage("the message is a response; give its request with --request FILE");
            }
            (Start::Response(status), Some((_, (Start::Request(line), request)))) => {
                Kind::Response(status, line, Box::new(request))
            }
            (Start::Response(_), Some((file, (Start::Response(_), _)))) => {
                return Err(Failure::io(file, &"it is a response"));
            }
        };
        let (line, headers) = match &kind {
            Kind::Request(line) => (line, message.headers()),
            Kind::Response(_, line, request) => (line, request.headers()),
        };
        let uri = match &self.uri {
            Some(uri) => absolute(uri).ok_or("--uri is not https://HOST/PATH"),
            None if line.target.starts_with('/') => {
                let host = fapi::text::sole_value(headers, header::HOST).and_then(|host| host.to_str().ok());
                let uri = host.and_then(|host| absolute(&format!("https://{host}{}", line.target)));
                uri.ok_or("the request has not one Host that is a name; say where it was sent with --uri URL")
            }
            None => {
                absolute(&line.target).ok_or("the target of the request is no path and no URL; say it with --uri URL")
            }
        };
        let uri = uri.map_err(|why| Failure::new(BAD_USAGE, why))?;
        Ok(Subject { message, kind, uri })
    }
}

fn captured(file: &Path) -> Result<(Start, Captured), Failure> {
    Captured::parse(&input(file)?).map_err(|why| Failure::io(file, &why))
}

/// A URL of http or https without user information and fragment. It is never shown: its query may have a token.
fn absolute(text: &str) -> Option<Uri> {
    // The parser would leave a fragment out.
    let uri: Uri = Some(text).filter(|text| !text.contains('#'))?.parse().ok()?;
    let is_usable = matches!(uri.scheme_str(), Some("https" | "http"))
        && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    is_usable.then_some(uri)
}

impl Subject {
    /// The message itself.
    pub(super) const fn captured(&self) -> &Captured {
        &self.message
    }

    /// The message alone.
    pub(super) fn into_message(self) -> Captured {
        self.message
    }

    /// The message after `change`.
    pub(super) fn with(self, change: impl FnOnce(Captured) -> Captured) -> Self {
        Self { message: change(self.message), ..self }
    }

    /// The message as whoever signs or verifies sees it.
    pub(super) fn view(&self) -> Message<'_> {
        let request = |line, of| self.request_view(line, of);
        match &self.kind {
            Kind::Request(line) => Message::Request(request(line, &self.message)),
            Kind::Response(status, line, of) => Message::Response(ResponseView {
                status: *status,
                headers: self.message.headers(),
                request: request(line, of),
            }),
        }
    }

    fn request_view<'s>(&'s self, line: &'s http1::RequestLine, captured: &'s Captured) -> RequestView<'s> {
        let uri = ExternalUri {
            scheme: self.uri.scheme_str().unwrap_or_default(),
            authority: self.uri.authority().map(|authority| authority.as_str()).unwrap_or_default(),
            path: self.uri.path(),
            query: self.uri.query(),
        };
        RequestView { method: &line.method, uri, target: &line.target, headers: captured.headers() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_absolute_and_without_secrets() {
        for good in ["https://api.example/a?b=c", "http://localhost:8080", "HTTPS://API.example/"] {
            assert!(absolute(good).is_some(), "{good}");
        }
        for bad in ["", "/a", "api.example/a", "https://a:b@c/", "https://a/#b", "ftp://a/", "https://a b/"] {
            assert!(absolute(bad).is_none(), "{bad}");
        }
    }
}
