//! A message as those see it who sign and verify: borrowed, and with the URI by which clients know the resource
//! (RFC 9421 §2.2).

use http::{HeaderMap, Method, StatusCode};

/// The URI of a resource as clients use it, in the parts of RFC 3986 §3.
///
/// Behind a proxy it is not in the message: whoever verifies has to know its own external name (RFC 9421 §7.4.3). Does not
/// check that the parts are what their names say.
#[derive(Clone, Copy)]
pub struct ExternalUri<'m> {
    /// `https`, in any case.
    pub scheme: &'m str,
    /// Host and, unless it is the scheme's own, port; in any case, without user information.
    pub authority: &'m str,
    /// The path as received, with its escapes.
    pub path: &'m str,
    /// What follows the question mark, with its escapes; `None` if there is no question mark.
    pub query: Option<&'m str>,
}

impl ExternalUri<'_> {
    /// The scheme in lower case (RFC 9421 §2.2.4).
    pub(super) fn normal_scheme(&self) -> String {
        self.scheme.to_ascii_lowercase()
    }

    /// RFC 9421 §2.2.3: "the host name is normalized to lowercase, and the default port is omitted".
    pub(super) fn normal_authority(&self) -> String {
        let authority = self.authority.to_ascii_lowercase();
        let default_port = match self.normal_scheme().as_str() {
            "https" => ":443",
            "http" => ":80",
            _ => return authority,
        };
        authority.strip_suffix(default_port).map(str::to_owned).unwrap_or(authority)
    }

    /// RFC 9421 §2.2.6: "an empty path string is normalized as a single slash (/) character".
    pub(super) const fn normal_path(&self) -> &str {
        if self.path.is_empty() { "/" } else { self.path }
    }
}

/// A request. Has no `Debug`, since its fields have credentials.
#[derive(Clone, Copy)]
pub struct RequestView<'m> {
    /// The method.
    pub method: &'m Method,
    /// Where the client sent it.
    pub uri: ExternalUri<'m>,
    /// The target of the request line; over HTTP/2, `:path`, or `:authority` of a CONNECT request (RFC 9421 §2.2.5).
    pub target: &'m str,
    /// All fields of the head.
    pub headers: &'m HeaderMap,
}

/// A response, with the request that it answers (RFC 9421 §2.4).
#[derive(Clone, Copy)]
pub struct ResponseView<'m> {
    /// The final status.
    pub status: StatusCode,
    /// All fields of the head.
    pub headers: &'m HeaderMap,
    /// The request as its client sent it.
    pub request: RequestView<'m>,
}

/// What is signed.
#[derive(Clone, Copy)]
pub enum Message<'m> {
    /// A request.
    Request(RequestView<'m>),
    /// A response.
    Response(ResponseView<'m>),
}

impl<'m> Message<'m> {
    /// The fields of the message itself, not of the request that it answers.
    pub const fn headers(&self) -> &'m HeaderMap {
        match self {
            Self::Request(request) => request.headers,
            Self::Response(response) => response.headers,
        }
    }
}
