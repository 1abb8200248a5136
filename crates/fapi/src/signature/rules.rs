//! What a route says of signatures: which requests have to be signed, and whether its responses are.

use http::{HeaderMap, HeaderName, Method};

use super::component::Component;
use super::digest::CONTENT_DIGEST;
use super::profile::{Content, Dpop, Profile};

/// The name of the field that asks for a signature (RFC 9421 §5.1).
pub const ACCEPT_SIGNATURE: HeaderName = HeaderName::from_static("accept-signature");

/// What a route says of signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignatureRules {
    /// What its requests have to be signed with; `None` if nobody looks.
    pub request: Option<RequestRules>,
    /// How its responses are signed; `None` if they are not.
    pub response: Option<ResponseRules>,
}

/// What the signature of a request has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRules {
    /// Whether there has to be one.
    pub presence: Presence,
    /// What it has to cover.
    pub covers: Covers,
    /// Identifiers that it has to cover beside.
    pub components: Vec<Component>,
    /// The `tag` that it has to have; without one, any signature counts.
    pub tag: Option<Box<str>>,
    /// Seconds from `created` for which it is accepted.
    pub max_age: u64,
    /// Seconds that `created` may be ahead.
    pub clock_skew: u64,
    /// Whether one counts a second time.
    pub replay: Replay,
    /// Where the keys of clients are: an index into the sets of the configuration.
    pub keys: usize,
}

/// Whether a request has to be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It has to.
    Required,
    /// It need not; a signature that is there has to hold.
    WhenPresent,
}

/// What a signature has to cover, beside what the configuration adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covers {
    /// What FAPI 2.0 HTTP Signatures says.
    Fapi2,
    /// The digest of the content, if there is some, and nothing else.
    Content,
}

/// Whether a signature counts a second time (RFC 9421 §7.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// Once, unless the method is safe (RFC 9110 §9.2.1): a client that asks twice within a second may sign the same bytes.
    Remember,
    /// Once, whatever the method is.
    RememberAll,
    /// As often as it comes, until it is too old.
    Ignore,
}

impl Replay {
    /// Whether a signature over a request with this method is accepted only once.
    pub fn remembers(self, method: &Method) -> bool {
        match self {
            Self::Remember => !method.is_safe(),
            Self::RememberAll => true,
            Self::Ignore => false,
        }
    }
}

/// How responses are signed (HSIG-16): over the status, the digest of the content, and the parts of the request that are the
/// answered question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseRules {
    /// The most bytes of content that are kept until they are signed; responses with more are withheld.
    pub content_bytes: usize,
}

impl RequestRules {
    /// What is required of a request with these fields.
    pub fn profile(&self, headers: &HeaderMap, content: Content) -> Profile {
        let dpop = if headers.contains_key("dpop") { Dpop::Present } else { Dpop::Absent };
        let mut required = match (self.covers, content) {
            (Covers::Fapi2, _) => Profile::fapi2_request(dpop, content).required,
            (Covers::Content, Content::Present) => vec![Component::field(HeaderName::from_static(CONTENT_DIGEST))],
            (Covers::Content, Content::Absent) => Vec::new(),
        };
        let others = self.components.iter().filter(|component| !required.contains(component));
        let others: Vec<Component> = others.cloned().collect();
        required.extend(others);
        Profile { tag: self.tag.clone(), required, max_age: self.max_age, clock_skew: self.clock_skew }
    }

    /// The value of `Accept-Signature` that asks for such a signature of a request with these fields (RFC 9421 §5.1).
    pub fn accept_signature(&self, headers: &HeaderMap, content: Content) -> String {
        let profile = self.profile(headers, content);
        let components: Vec<String> = profile.required.iter().map(Component::to_string).collect();
        let tag = profile.tag.map(|tag| format!(";tag={}", super::component::quoted(&tag))).unwrap_or_default();
        format!("sig=({});created{tag}", components.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::signature::component::Derived;
    use crate::signature::profile::REQUEST_TAG;

    fn rules(covers: Covers) -> RequestRules {
        RequestRules {
            presence: Presence::Required,
            covers,
            components: vec![
                Component::field(HeaderName::from_static("x-idempotency-key")),
                Component::derived(Derived::Method),
            ],
            tag: Some(REQUEST_TAG.into()),
            max_age: 60,
            clock_skew: 10,
            replay: Replay::Remember,
            keys: 0,
        }
    }

    #[test]
    fn hsig_03_the_request_decides_what_has_to_be_covered() {
        let plain = HeaderMap::new();
        let with_proof = HeaderMap::from_iter([(HeaderName::from_static("dpop"), HeaderValue::from_static("x"))]);
        let asked = |covers, headers, content| rules(covers).accept_signature(headers, content);
        let rest = "\"x-idempotency-key\");created;tag=\"fapi-2-request\"";
        let fapi2 = "sig=(\"@method\" \"@target-uri\" \"authorization\"";
        assert_eq!(asked(Covers::Fapi2, &plain, Content::Absent), format!("{fapi2} {rest}"));
        assert_eq!(asked(Covers::Fapi2, &with_proof, Content::Absent), format!("{fapi2} \"dpop\" {rest}"));
        assert_eq!(asked(Covers::Fapi2, &plain, Content::Present), format!("{fapi2} \"content-digest\" {rest}"));
        let own = "\"x-idempotency-key\" \"@method\");created;tag=\"fapi-2-request\"";
        assert_eq!(asked(Covers::Content, &with_proof, Content::Absent), format!("sig=({own}"));
        assert_eq!(asked(Covers::Content, &plain, Content::Present), format!("sig=(\"content-digest\" {own}"));
    }

    #[test]
    fn hsig_14_a_signature_over_a_safe_method_may_come_again() {
        let remembered = |replay: Replay| [Method::GET, Method::POST].map(|method| replay.remembers(&method));
        assert_eq!(remembered(Replay::Remember), [false, true]);
        assert_eq!(remembered(Replay::RememberAll), [true, true]);
        assert_eq!(remembered(Replay::Ignore), [false, false]);
    }
}
