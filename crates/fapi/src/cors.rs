//! What scripts of other origins may learn: preflights and the fields of responses (Fetch standard §3.3, RFC 9449 §8).
//!
//! CORS grants nothing at the gateway: it tells a browser which responses a script may read. Whether a request is
//! allowed is decided as for any other client, and only a preflight, which carries no credentials, is granted without
//! them.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

use crate::text::{Names, printable, sole_value};

/// An origin as browsers send it: scheme, host, and the port unless it is the scheme's own (RFC 6454 §6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptOrigin(HeaderValue);

impl ScriptOrigin {
    /// Reads an origin such as `https://app.example`.
    ///
    /// # Errors
    /// [`ScriptOriginError`], also for `*` and `null`: neither says whose scripts are meant.
    pub fn parse(text: &str) -> Result<Self, ScriptOriginError> {
        let no_origin = || ScriptOriginError::NoOrigin { text: text.into() };
        let uri: Uri = text.parse().map_err(|_| no_origin())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(no_origin()) };
        let host = authority.host().to_ascii_lowercase();
        let default = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return Err(no_origin()),
        };
        if authority.as_str().contains(['@', '*']) || host.is_empty() {
            return Err(no_origin());
        }
        if scheme == "http" && !matches!(&*host, "localhost" | "127.0.0.1" | "[::1]") {
            return Err(ScriptOriginError::NotEncrypted { text: text.into() });
        }
        let port = uri.port_u16().filter(|port| *port != default);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let sent = format!("{scheme}://{host}{port}");
        if text != sent {
            return Err(ScriptOriginError::OtherSpelling { text: text.into(), sent: sent.into() });
        }
        HeaderValue::try_from(sent).map(Self).map_err(|_| no_origin())
    }
}

/// Why a text is not the origin of scripts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptOriginError {
    /// It is not an origin, or not only one.
    #[error("{text:?} is not one origin; write scheme and host, such as `https://app.example`")]
    NoOrigin {
        /// The text as it was written.
        text: Box<str>,
    },
    /// Its scripts could be changed on their way to the browser.
    #[error("the scripts of {text:?} cross the network unencrypted; write `https://`, or `http://` with localhost")]
    NotEncrypted {
        /// The text as it was written.
        text: Box<str>,
    },
    /// Browsers send it in another spelling.
    #[error("browsers send the origin {text:?} as `{sent}`; write it like that")]
    OtherSpelling {
        /// The text as it was written.
        text: Box<str>,
        /// What browsers send.
        sent: Box<str>,
    },
}

/// Which scripts may call a route, with what, and what they may read of its responses.
#[derive(Clone, Debug)]
pub struct Cors {
    origins: Vec<ScriptOrigin>,
    allowed_headers: HeaderValue,
    exposed_headers: HeaderValue,
    max_age: HeaderValue,
    credentials: bool,
}

impl Cors {
    /// A rule for these origins; with none, no script of another origin may read anything.
    ///
    /// `allowed_headers` are those that a request may have; `exposed_headers` are those of the upstream's responses,
    /// in addition to the gateway's own. `max_age` is in seconds. With `credentials`, browsers send cookies and client
    /// certificates, if the script asks for it.
    pub fn new(
        origins: Vec<ScriptOrigin>,
        allowed_headers: &[HeaderName],
        exposed_headers: &[HeaderName],
        max_age: u64,
        credentials: bool,
    ) -> Self {
        let own = GATEWAYS_OWN.iter().filter(|own| !exposed_headers.contains(own));
        Self {
            origins,
            allowed_headers: list(allowed_headers.iter()),
            exposed_headers: list(own.chain(exposed_headers)),
            max_age: max_age.into(),
            credentials,
        }
    }

    /// The fields of the response to a request with these fields: none unless it is from an allowed origin.
    pub fn response_fields(&self, request: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
        let Some(origin) = sole_value(request, header::ORIGIN).and_then(|origin| self.allowed(origin)) else {
            return Vec::new();
        };
        let mut fields = self.granted_to(origin);
        fields.push((header::ACCESS_CONTROL_EXPOSE_HEADERS, self.exposed_headers.clone()));
        fields
    }

    /// Grants a preflight for a route with these methods.
    ///
    /// Headers are not compared: the response lists the allowed ones, and the browser compares.
    ///
    /// # Errors
    /// [`NotGranted::Origin`], [`NotGranted::Method`].
    pub fn grant(&self, preflight: &Preflight, methods: &[Method]) -> Result<Granted, NotGranted> {
        let origin = self.allowed(&preflight.origin).ok_or_else(|| NotGranted::Origin {
            found: printable(&String::from_utf8_lossy(preflight.origin.as_bytes())),
            allowed: Names::of(self.origins.iter().filter_map(|ScriptOrigin(origin)| origin.to_str().ok())),
        })?;
        if !methods.contains(&preflight.method) {
            return Err(NotGranted::method(preflight));
        }
        let names = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        let mut fields = self.granted_to(origin);
        fields.push((
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::try_from(names).unwrap_or(HeaderValue::from_static("")),
        ));
        fields.push((header::ACCESS_CONTROL_ALLOW_HEADERS, self.allowed_headers.clone()));
        fields.push((header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone()));
        fields.push((
            header::VARY,
            HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
        ));
        Ok(Granted(fields))
    }

    fn allowed(&self, origin: &HeaderValue) -> Option<&HeaderValue> {
        self.origins.iter().map(|ScriptOrigin(allowed)| allowed).find(|allowed| *allowed == origin)
    }

    fn granted_to(&self, origin: &HeaderValue) -> Vec<(HeaderName, HeaderValue)> {
        let mut fields = vec![(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone())];
        if self.credentials {
            fields.push((header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
        }
        fields
    }
}

/// A request that a browser sends to ask whether a script may send another one (Fetch standard §3.3.2).
#[derive(Clone, Debug)]
pub struct Preflight {
    /// The method that the script would use.
    pub method: Method,
    origin: HeaderValue,
}

impl Preflight {
    /// Reads a preflight; `None` for any other request, and where a field that makes it one is repeated.
    pub fn of(request: &Parts) -> Option<Self> {
        if request.method != Method::OPTIONS {
            return None;
        }
        let origin = sole_value(&request.headers, header::ORIGIN)?.clone();
        let method = sole_value(&request.headers, header::ACCESS_CONTROL_REQUEST_METHOD)?;
        Some(Self { method: Method::from_bytes(method.as_bytes()).ok()?, origin })
    }
}

/// Why a preflight is not granted, and judged like any other OPTIONS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotGranted {
    /// Neither the route nor the listener has a rule.
    #[error("no `cors` is configured for it")]
    NoRule,
    /// Its origin is not allowed.
    #[error("its origin is {found:?}, expected one of {allowed}")]
    Origin {
        /// What it has.
        found: Box<str>,
        /// Those of the rule.
        allowed: Names,
    },
    /// No route has its path and method.
    #[error("no route has the path and the method {found:?} that it asks for")]
    Method {
        /// What it asks for.
        found: Box<str>,
    },
}

impl NotGranted {
    /// For a method that no route has.
    pub fn method(preflight: &Preflight) -> Self {
        Self::Method { found: printable(preflight.method.as_str()) }
    }
}

/// The response to a preflight that was granted: by [`Cors::grant`], or because everybody may read what it asks for. It names
/// no upstream.
#[must_use]
#[derive(Clone, Debug)]
pub struct Granted(Vec<(HeaderName, HeaderValue)>);

impl Granted {
    /// Grants these methods to scripts of every origin, which need no credentials for what they may read.
    pub(crate) fn to_everyone(methods: &'static str) -> Self {
        Self(vec![
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
            (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods)),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*")),
            (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
        ])
    }

    /// The fields of the response.
    pub fn fields(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0
    }
}

fn list<'n>(names: impl Iterator<Item = &'n HeaderName>) -> HeaderValue {
    let names = names.map(HeaderName::as_str).collect::<Vec<_>>().join(", ");
    // Field names and commas are a field value; an empty one allows or exposes nothing.
    HeaderValue::try_from(names).unwrap_or(HeaderValue::from_static(""))
}

/// The fields of the gateway's own responses that a client needs to continue.
///
/// RFC 9449 §8: "the server needs to make it available to the application by including DPoP-Nonce in the
/// Access-Control-Expose-Headers response header list value."
static GATEWAYS_OWN: [HeaderName; 4] = [
    HeaderName::from_static("dpop-nonce"),
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("x-fapi-interaction-id"),
    header::RETRY_AFTER,
];

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const APP: &str = "https://app.example";

    fn cors(credentials: bool) -> Cors {
        let origins = [APP, "http://localhost:3000"].map(|text| ScriptOrigin::parse(text).unwrap());
        Cors::new(origins.into(), &[header::AUTHORIZATION], &[header::ETAG], 600, credentials)
    }

    fn parts(method: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn text(fields: &[(HeaderName, HeaderValue)]) -> Vec<String> {
        fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn an_origin_is_written_as_browsers_send_it() {
        for origin in [
            APP,
            "https://app.example:8443",
            "http://localhost",
            "http://127.0.0.1:8080",
            "http://[::1]:1",
            "https://a",
        ] {
            assert!(ScriptOrigin::parse(origin).is_ok(), "{origin}"); // control
        }
        for (origin, sent) in [
            ("https://App.example", "https://app.example"),
            ("https://app.example/", "https://app.example"),
            ("https://app.example:443", "https://app.example"),
            ("https://app.example/x?y", "https://app.example"),
            ("http://localhost:80", "http://localhost"),
        ] {
            let error = ScriptOriginError::OtherSpelling { text: origin.into(), sent: sent.into() };
            assert_eq!(ScriptOrigin::parse(origin), Err(error));
        }
        for origin in [
            "*",
            "null",
            "",
            "app.example",
            "https://",
            "https://*.app.example",
            "https://u@app.example",
            "https://é.example",
            "https://a b",
            "file:///x",
            "https:app.example",
            "ws://app.example",
            APP.trim_start_matches("https:"),
        ] {
            assert_eq!(ScriptOrigin::parse(origin), Err(ScriptOriginError::NoOrigin { text: origin.into() }));
        }
        for origin in ["http://app.example", "http://localhost.example", "http://127.0.0.2"] {
            assert_eq!(ScriptOrigin::parse(origin), Err(ScriptOriginError::NotEncrypted { text: origin.into() }));
        }
    }

    #[test]
    fn rfc9449_8_an_allowed_origin_may_read_the_nonce_and_no_other_origin_may() {
        let response = |credentials, fields: &[(&str, &str)]| {
            text(&cors(credentials).response_fields(&parts("GET", fields).headers))
        };
        let exposed =
            "access-control-expose-headers: dpop-nonce, www-authenticate, x-fapi-interaction-id, retry-after, etag";
        let origin = "access-control-allow-origin: https://app.example";
        assert_eq!(response(false, &[("origin", APP)]), [origin, exposed]); // control
        assert_eq!(response(true, &[("origin", APP)]), [origin, "access-control-allow-credentials: true", exposed]);
        for other in [
            "https://app.example.evil",
            "https://app.exampl",
            "https://APP.example",
            "null",
            "*",
            "",
            "http://app.example",
        ] {
            assert_eq!(response(true, &[("origin", other)]), <[String; 0]>::default(), "{other}");
        }
        assert_eq!(response(true, &[]), <[String; 0]>::default());
        assert_eq!(response(true, &[("origin", APP), ("origin", APP)]), <[String; 0]>::default());
    }

    #[test]
    fn a_preflight_is_granted_for_an_allowed_origin_and_method() {
        let good = [("origin", APP), ("access-control-request-method", "POST")];
        let granted = |method: &str, fields: &[(&str, &str)]| {
            let preflight = Preflight::of(&parts(method, fields))?;
            let granted = cors(false).grant(&preflight, &[Method::GET, Method::POST]);
            granted.ok().map(|granted| text(granted.fields()))
        };
        assert_eq!(
            granted("OPTIONS", &good).unwrap(),
            [
                "access-control-allow-origin: https://app.example",
                "access-control-allow-methods: GET, POST",
                "access-control-allow-headers: authorization",
                "access-control-max-age: 600",
                "vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
            ]
        ); // control
        for method in ["GET", "POST", "HEAD", "options"] {
            assert_eq!(granted(method, &good), None, "{method}");
        }
        for fields in [
            &good[..1],
            &good[1..],
            &[good[0], good[0], good[1]],
            &[good[0], good[1], good[1]],
            &[("origin", "https://other.example"), good[1]],
            &[good[0], ("access-control-request-method", "DELETE")],
            &[good[0], ("access-control-request-method", "post")],
            &[good[0], ("access-control-request-method", "P OST")],
            &[good[0], ("access-control-request-method", "")],
            &[good[0], ("access-control-request-method", "GET, POST")],
        ] {
            assert_eq!(granted("OPTIONS", fields), None, "{fields:?}");
        }
    }
}
