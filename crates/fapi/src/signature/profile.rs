//! What a signature has to cover, and how old it may be (FAPI 2.0 HTTP Signatures).

use http::header::{AUTHORIZATION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName};

use super::component::{Component, Derived};
use super::digest::CONTENT_DIGEST;
use super::input::{SIGNATURE, SIGNATURE_INPUT};

/// The tag of requests.
pub const REQUEST_TAG: &str = "fapi-2-request";

/// The tag of responses.
pub const RESPONSE_TAG: &str = "fapi-2-response";

/// Whether a request has a field `DPoP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dpop {
    /// It has none.
    Absent,
    /// It has one, which has to be covered.
    Present,
}

/// Whether a message has content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// It has none.
    Absent,
    /// It has some, whose digest has to be covered.
    Present,
}

impl Content {
    /// Whether these fields say that there is some (RFC 9110 §6.4). Over HTTP/2 there may be content of which they say nothing.
    pub fn declared_by(headers: &HeaderMap) -> Self {
        let is_empty =
            headers.get(CONTENT_LENGTH).is_none_or(|length| length.as_bytes().iter().all(|byte| *byte == b'0'));
        if is_empty && !headers.contains_key(TRANSFER_ENCODING) { Self::Absent } else { Self::Present }
    }
}

/// What is required of a signature.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The value of `tag`: signatures with another are for somebody else. Without one, every signature counts, whatever its tag.
    pub tag: Option<Box<str>>,
    /// What has to be covered, by exactly these identifiers.
    pub required: Vec<Component>,
    /// Seconds from `created` for which a signature is accepted.
    pub max_age: u64,
    /// Seconds that `created` may be ahead.
    pub clock_skew: u64,
}

impl Profile {
    /// That of requests (HSIG-02, HSIG-03), for 60 seconds, by clocks that may be 10 ahead.
    ///
    /// Does not look at the request: the caller knows whether it has content before that is read.
    pub fn fapi2_request(dpop: Dpop, content: Content) -> Self {
        let mut required = vec![
            Component::derived(Derived::Method),
            Component::derived(Derived::TargetUri),
            Component::field(AUTHORIZATION),
        ];
        if dpop == Dpop::Present {
            required.push(Component::field(HeaderName::from_static("dpop")));
        }
        if content == Content::Present {
            required.push(Component::field(HeaderName::from_static(CONTENT_DIGEST)));
        }
        Self { tag: Some(REQUEST_TAG.into()), required, max_age: 60, clock_skew: 10 }
    }

    /// That of responses (HSIG-16): the status and the content, and of the request its method, its URI, its content, and its own
    /// signatures. `request` are the fields of the request, `content` says whether the response has some.
    pub fn fapi2_response(request: &HeaderMap, content: Content) -> Self {
        let mut required = vec![Component::derived(Derived::Status)];
        if content == Content::Present {
            required.push(Component::field(HeaderName::from_static(CONTENT_DIGEST)));
        }
        required.push(Component::derived(Derived::Method).of_request());
        required.push(Component::derived(Derived::TargetUri).of_request());
        for name in [CONTENT_DIGEST, SIGNATURE_INPUT, SIGNATURE] {
            if request.contains_key(name) {
                required.push(Component::field(HeaderName::from_static(name)).of_request());
            }
        }
        Self { tag: Some(RESPONSE_TAG.into()), required, max_age: 60, clock_skew: 10 }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn names(profile: &Profile) -> Vec<String> {
        profile.required.iter().map(Component::to_string).collect()
    }

    fn fields(names: &[&'static str]) -> HeaderMap {
        names.iter().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("x"))).collect()
    }

    #[test]
    fn hsig_03_a_request_covers_what_it_has() {
        let covered = |dpop, content| names(&Profile::fapi2_request(dpop, content));
        let always = ["\"@method\"", "\"@target-uri\"", "\"authorization\""];
        assert_eq!(covered(Dpop::Absent, Content::Absent), always); // control
        assert_eq!(covered(Dpop::Present, Content::Absent), [&always[..], &["\"dpop\""]].concat());
        assert_eq!(covered(Dpop::Absent, Content::Present), [&always[..], &["\"content-digest\""]].concat());
        let all = [&always[..], &["\"dpop\"", "\"content-digest\""]].concat();
        assert_eq!(covered(Dpop::Present, Content::Present), all);
    }

    #[test]
    fn hsig_16_a_response_covers_itself_and_what_its_request_has_of_method_uri_content_and_signature() {
        let covered = |request: &[&'static str], content| names(&Profile::fapi2_response(&fields(request), content));
        let of_request = ["\"@method\";req", "\"@target-uri\";req"];
        let without = [&["\"@status\""], &of_request[..]].concat();
        assert_eq!(covered(&[], Content::Absent), without); // control
        assert_eq!(
            covered(&["authorization", "dpop", "digest"], Content::Absent),
            without,
            "credentials are not echoed"
        );
        let with_content = [&["\"@status\"", "\"content-digest\""], &of_request[..]].concat();
        assert_eq!(covered(&[], Content::Present), with_content);
        for (name, identifier) in [
            ("content-digest", "\"content-digest\";req"),
            ("signature-input", "\"signature-input\";req"),
            ("signature", "\"signature\";req"),
        ] {
            assert_eq!(covered(&[name], Content::Absent), [&without[..], &[identifier]].concat(), "{name}");
        }
        let everything = ["\"content-digest\";req", "\"signature-input\";req", "\"signature\";req"];
        let request = ["content-digest", "signature-input", "signature"];
        assert_eq!(covered(&request, Content::Present), [&with_content[..], &everything].concat());
    }

    #[test]
    fn hsig_02_hsig_04_each_has_its_tag_and_a_minute() {
        let request = Profile::fapi2_request(Dpop::Absent, Content::Absent);
        let response = Profile::fapi2_response(&HeaderMap::new(), Content::Absent);
        assert_eq!((request.max_age, request.clock_skew), (60, 10));
        assert_eq!((response.max_age, response.clock_skew), (60, 10));
        assert_eq!(request.tag.as_deref(), Some("fapi-2-request"));
        assert_eq!(response.tag.as_deref(), Some("fapi-2-response"));
    }
}
