//! What a route says of signatures: which requests have to be signed, and whether its responses are.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method};

use super::component::Component;
use super::digest::CONTENT_DIGEST;
use super::form::{Covers, Form, HttpRules, JwtForm};
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
    /// In which form it is signed, and what that has to say.
    pub form: Form,
    /// Seconds from the time of the signature for which it is accepted.
    pub max_age: u64,
    /// Seconds that this time may be ahead; for a body that is a JWT, as many as it may be old.
    pub clock_skew: u64,
    /// Whether one counts a second time.
    pub replay: Replay,
    /// Where the keys of clients are: an index into the sets of the configuration. A seal brings its own.
    pub keys: Option<usize>,
}

/// Whether a request has to be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It has to.
    Required,
    /// It need not; a signature that is there has to hold.
    WhenPresent,
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

/// How responses are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseRules {
    /// The most bytes of content that are kept until they are signed; responses with more are withheld.
    pub content_bytes: usize,
    /// In which form.
    pub form: ResponseForm,
}

/// In which form responses are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseForm {
    /// By the fields of RFC 9421 (HSIG-16): over the status, the digest of the content, and the parts of the request that are the
    /// answered question.
    Http,
    /// By `x-jws-signature`, over the content.
    DetachedJws {
        /// Who signs.
        issuer: Arc<str>,
        /// The domain of the trust anchor of its key.
        trust_anchor: Arc<str>,
    },
    /// JSON becomes a signed JWT.
    JwtBody {
        /// Whose rules these are.
        jwt_form: JwtForm,
        /// Who signs.
        issuer: Arc<str>,
        /// Where it is known how the directory names the client: an index into the sets of the configuration.
        keys: Option<usize>,
    },
}

impl RequestRules {
    /// What is required of the fields of RFC 9421 in a request with these fields; `None` if it is signed in another form.
    pub fn profile(&self, headers: &HeaderMap, content: Content) -> Option<Profile> {
        let Form::Http(HttpRules { covers, components, tag }) = &self.form else { return None };
        let dpop = if headers.contains_key("dpop") { Dpop::Present } else { Dpop::Absent };
        let mut required = match (covers, content) {
            (Covers::Fapi2, _) => Profile::fapi2_request(dpop, content).required,
            (Covers::Content, Content::Present) => vec![Component::field(HeaderName::from_static(CONTENT_DIGEST))],
            (Covers::Content, Content::Absent) => Vec::new(),
        };
        let others = components.iter().filter(|component| !required.contains(component));
        let others: Vec<Component> = others.cloned().collect();
        required.extend(others);
        Some(Profile { tag: tag.clone(), required, max_age: self.max_age, clock_skew: self.clock_skew })
    }

    /// The value of `Accept-Signature` that asks for such a signature of a request with these fields (RFC 9421 §5.1); `None` in
    /// other forms, for which the field has no words.
    pub fn accept_signature(&self, headers: &HeaderMap, content: Content) -> Option<String> {
        let profile = self.profile(headers, content)?;
        let components: Vec<String> = profile.required.iter().map(Component::to_string).collect();
        let tag = profile.tag.map(|tag| format!(";tag={}", super::component::quoted(&tag))).unwrap_or_default();
        Some(format!("sig=({});created{tag}", components.join(" ")))
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
            form: Form::Http(HttpRules {
                covers,
                components: vec![
                    Component::field(HeaderName::from_static("x-idempotency-key")),
                    Component::derived(Derived::Method),
                ],
                tag: Some(REQUEST_TAG.into()),
            }),
            max_age: 60,
            clock_skew: 10,
            replay: Replay::Remember,
            keys: Some(0),
        }
    }

    #[test]
    fn hsig_03_the_request_decides_what_has_to_be_covered() {
        let plain = HeaderMap::new();
        let with_proof = HeaderMap::from_iter([(HeaderName::from_static("dpop"), HeaderValue::from_static("x"))]);
        let asked = |covers, headers, content| rules(covers).accept_signature(headers, content).unwrap();
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
