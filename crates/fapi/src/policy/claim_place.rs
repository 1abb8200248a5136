//! Where in a token a claim is.

use serde_json::{Map, Value};

use super::error::InvalidPolicy;
use super::value::Pointer;
use crate::text::shown_value;
use crate::token::Claims;

/// A claim, or what is in one, by a JSON pointer (RFC 6901).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPlace(Pointer);

impl ClaimPlace {
    /// What a JSON pointer names, such as `/consent_id`.
    ///
    /// # Errors
    /// [`InvalidPolicy::Pointer`].
    pub fn new(pointer: &str) -> Result<Self, InvalidPolicy> {
        Pointer::parse(pointer).map(Self).ok_or(InvalidPolicy::Pointer)
    }

    /// The pointer as written.
    pub(super) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(super) fn find<'c>(&self, claims: &'c Claims) -> Option<&'c Value> {
        self.0.find(|name| claims.get(name))
    }

    /// The text that is there, in claims that are not read.
    pub(super) fn text_in<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c str> {
        self.0.find(|name| claims.get(name))?.as_str()
    }

    /// What a token has there, for operators.
    pub(super) fn found(&self, claims: &Claims) -> String {
        format!("{} {}", self.as_str(), shown_value(self.find(claims)))
    }
}
