//! What a body tells of a refusal.

use http::StatusCode;

use crate::code::Code;

/// What a body tells of a refusal.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    /// The status of the response.
    pub status: StatusCode,
    /// The code of the refusal, which is in no body unless a template has a name for it.
    pub code: Code,
    /// The name of the error.
    pub error: &'a str,
    /// The error in a sentence.
    pub description: &'a str,
    /// The id of the interaction.
    pub interaction: &'a str,
    /// Tells when the request was refused (RFC 3339).
    pub time: Option<&'a dyn Fn() -> String>,
}

impl Told<'_> {
    /// The name that HTTP recommends for the status, such as `Forbidden`.
    pub(crate) fn reason(&self) -> &'static str {
        self.status.canonical_reason().unwrap_or_default()
    }
}
