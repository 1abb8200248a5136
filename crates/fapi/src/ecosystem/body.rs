//! The body that tells of a refusal.

use http::HeaderValue;
use serde_json::Value;

/// The body that tells of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorBody {
    /// There is none.
    Empty,
    /// JSON of this media type.
    Json(HeaderValue, Value),
    /// The ecosystem has no form of its own.
    Usual,
}

impl ErrorBody {
    /// JSON of the usual media type.
    pub(super) const fn json(value: Value) -> Self {
        Self::Json(HeaderValue::from_static("application/json"), value)
    }
}
