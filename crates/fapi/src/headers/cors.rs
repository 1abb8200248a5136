//! The CORS fields of an upstream's response (Fetch standard §3.3.3).

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::edits::HeaderEdits;
use crate::cors::Cors;

/// The edits to a response on a route with a CORS rule: the gateway's fields, and none of the upstream's.
///
/// Browsers would join two values of one field to one that allows nothing, and an upstream could allow more than the
/// rule does.
pub fn with_cors(received: &HeaderMap, cors: &Cors, request: &HeaderMap) -> HeaderEdits {
    let mut edits =
        HeaderEdits { remove: cors_fields(received).cloned().collect(), set: cors.response_fields(request) };
    // RFC 9110 §12.5.5: without it, a cache could serve one origin the response for another.
    if let Some(vary) = varied_by_origin(received) {
        edits.set.push((header::VARY, vary));
    }
    edits
}

/// The names of the CORS fields of a header section.
pub(crate) fn cors_fields(received: &HeaderMap) -> impl Iterator<Item = &HeaderName> {
    received.keys().filter(|name| name.as_str().starts_with("access-control-"))
}

/// The value of `Vary` with `Origin`; `None` if it has it.
fn varied_by_origin(received: &HeaderMap) -> Option<HeaderValue> {
    let lines: Vec<&[u8]> = received.get_all(header::VARY).iter().map(HeaderValue::as_bytes).collect();
    let names = || lines.iter().flat_map(|line| line.split(|&b| b == b',')).map(<[u8]>::trim_ascii);
    if names().any(|name| name == b"*" || name.eq_ignore_ascii_case(b"origin")) {
        return None;
    }
    let all: Vec<&[u8]> = names().filter(|name| !name.is_empty()).chain([&b"Origin"[..]]).collect();
    HeaderValue::from_bytes(&all.join(&b", "[..])).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cors::ScriptOrigin;

    #[test]
    fn the_gateway_owns_the_cors_fields_of_a_response() {
        let origin = "https://app.example";
        let cors = Cors::new(vec![ScriptOrigin::parse(origin).unwrap()], &[], &[], 0, false);
        let from = |origin: &'static str| HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))]);
        let mut received = HeaderMap::new();
        received.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        received.insert("access-control-allow-private-network", HeaderValue::from_static("true"));
        received.insert(header::ETAG, HeaderValue::from_static("\"1\""));
        for (sender, granted) in [(origin, true), ("https://other.example", false)] {
            let edits = with_cors(&received, &cors, &from(sender));
            let removed: Vec<&str> = edits.remove.iter().map(HeaderName::as_str).collect();
            assert_eq!(removed, ["access-control-allow-origin", "access-control-allow-private-network"]);
            let value = edits.set.iter().find(|(name, _)| *name == header::ACCESS_CONTROL_ALLOW_ORIGIN);
            assert_eq!(value.map(|(_, value)| value.as_bytes()), granted.then_some(origin.as_bytes()));
            assert!(edits.set.contains(&(header::VARY, HeaderValue::from_static("Origin"))));
        }
    }

    #[test]
    fn a_response_varies_by_origin_once() {
        let vary = |lines: &[&'static str]| {
            let lines = lines.iter().map(|line| (header::VARY, HeaderValue::from_static(line)));
            varied_by_origin(&HeaderMap::from_iter(lines)).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(vary(&[]).as_deref(), Some("Origin")); // control
        assert_eq!(vary(&["Accept"]).as_deref(), Some("Accept, Origin"));
        assert_eq!(vary(&["Accept, ,X-Origin,"]).as_deref(), Some("Accept, X-Origin, Origin"));
        for lines in [&["*"][..], &["origin"], &["Accept, ORIGIN"]] {
            assert_eq!(vary(lines), None, "{lines:?}");
        }
    }
}
