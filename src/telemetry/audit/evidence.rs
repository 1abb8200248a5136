//! What is kept of signed messages, so that they can be verified again by whoever has the private key.
//!
//! What was signed has the token and the proof of its request among it, and names of customers in its URI. So it is encrypted, to a
//! key that the gateway does not have.

use std::fmt;

use fapi::jose::jwe::{EncryptionKey, encrypt};
use fapi::signature::evidence::Evidence;
use serde_json::{Map, Value};

/// The public key that evidence is encrypted to.
pub struct EvidenceKey(EncryptionKey);

impl EvidenceKey {
    /// Encrypts to this key.
    pub const fn new(key: EncryptionKey) -> Self {
        Self(key)
    }

    /// The evidence of a request and of its response as a JWE, of which the content is JSON with a member for each; `None` if
    /// there is none, or if it cannot be encrypted.
    pub fn seal(&self, request: Option<&Evidence>, response: Option<&Evidence>) -> Option<String> {
        let members = [(REQUEST, request), (RESPONSE, response)];
        let members = members.into_iter().filter_map(|(name, evidence)| Some((name.to_owned(), evidence?.to_json())));
        let members: Map<String, Value> = members.collect();
        if members.is_empty() {
            return None;
        }
        let sealed = encrypt(Value::Object(members).to_string().as_bytes(), &self.0, None);
        sealed.inspect_err(|error| tracing::error!(%error, "the evidence of an exchange is not kept")).ok()
    }
}

impl fmt::Debug for EvidenceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvidenceKey").finish_non_exhaustive()
    }
}

/// The member of what a client has signed.
pub const REQUEST: &str = "request";
/// The member of what the gateway has signed.
pub const RESPONSE: &str = "response";
