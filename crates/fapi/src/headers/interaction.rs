//! The interaction id, which the client, the upstream and the audit share (FAPI Implementation Advice).

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use crate::text::{canonical_uuid, sole_value};

/// The header with the interaction id (FAPI Implementation Advice).
pub const INTERACTION_ID: HeaderName = HeaderName::from_static("x-fapi-interaction-id");

/// The id of one exchange: the UUID that the client sent, as written, or a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InteractionId(HeaderValue);

impl InteractionId {
    /// The id with this UUID.
    pub fn from_uuid(uuid: Uuid) -> Self {
        let mut buffer = Uuid::encode_buffer();
        let text = uuid.hyphenated().encode_lower(&mut buffer);
        Self(HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(NIL)))
    }

    /// The id that the client sent, if it is exactly one UUID in canonical form (RFC 9562 §4).
    pub fn from_request(headers: &HeaderMap) -> Option<Self> {
        let value = sole_value(headers, INTERACTION_ID)?;
        value.to_str().ok().and_then(canonical_uuid).map(|_| Self(value.clone()))
    }

    /// The value of the header.
    pub fn header_value(&self) -> HeaderValue {
        self.0.clone()
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or(NIL)
    }
}

impl std::fmt::Display for InteractionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

const NIL: &str = "00000000-0000-0000-0000-000000000000";
