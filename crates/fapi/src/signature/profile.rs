//! What a signature has to cover, and how old it may be (FAPI 2.0 HTTP Signatures).

use http::HeaderName;
use http::header::AUTHORIZATION;

use super::component::{Component, Derived};
use super::digest::CONTENT_DIGEST;

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

/// What is required of a signature.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The value of `tag`: signatures with another are for somebody else.
    pub tag: &'static str,
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
        Self { tag: "fapi-2-request", required, max_age: 60, clock_skew: 10 }
    }
}
