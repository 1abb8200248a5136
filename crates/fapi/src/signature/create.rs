//! Making a signature over a message (RFC 9421 §3.1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::algorithm::registered_name;
use super::base::signature_base;
use super::component::{Component, quoted};
use super::error::SignatureError;
use super::evidence::Evidence;
use super::input::{MAX_COMPONENTS, SignatureParameters};
use super::message::Message;
use crate::jose::keys::Algorithm;
use crate::jose::signing::PrivateKey;
use crate::jose::signing_keys::NamedKey;
use crate::text::printable;

/// The members that a signature adds to two fields, each as text.
#[derive(Clone, PartialEq, Eq)]
pub struct SignatureFields {
    /// For `Signature-Input`.
    pub signature_input: String,
    /// For `Signature`.
    pub signature: String,
}

/// Signs these components of a message, with these parameters, under a label. May block where
/// [`PrivateKey::may_block`] says so.
///
/// A signature that is to cover a `Content-Digest` needs that field in the message already. Does not check that the
/// parameters make sense, or that other signatures of the message have other labels.
///
/// # Errors
/// [`SignatureError`] if a component is repeated or not in the message, if `alg` is not that of the key, if a text cannot be
/// written, or if the key does not sign: one that is kept elsewhere signs no messages that name their algorithm if it is of RSA.
pub fn sign(
    message: &Message<'_>,
    label: &str,
    components: &[Component],
    parameters: &SignatureParameters,
    key: &PrivateKey,
) -> Result<SignatureFields, SignatureError> {
    Unsigned::of(message, label, components, parameters, key.algorithm())?.sign(key)
}

/// What is to be signed, so that a key that blocks can sign it elsewhere.
pub struct Unsigned {
    label: Box<str>,
    covered: String,
    base: String,
    names_algorithm: bool,
}

impl Unsigned {
    /// These components of a message with these parameters, for a key with this algorithm.
    ///
    /// # Errors
    /// As [`sign`], before it signs.
    pub fn of(
        message: &Message<'_>,
        label: &str,
        components: &[Component],
        parameters: &SignatureParameters,
        algorithm: Algorithm,
    ) -> Result<Self, SignatureError> {
        if components.len() > MAX_COMPONENTS {
            return Err(SignatureError::TooManyComponents { limit: MAX_COMPONENTS });
        }
        let expected = registered_name(algorithm);
        if let Some(found) = parameters.algorithm.as_deref().filter(|found| *found != expected) {
            return Err(SignatureError::AlgorithmMismatch { found: printable(found), expected });
        }
        check_label(label)?;
        let covered = serialized(components, parameters)?;
        let base = signature_base(message, components, &covered)?;
        let names_algorithm = parameters.algorithm.is_some();
        Ok(Self { label: label.into(), covered, base, names_algorithm })
    }

    /// The bytes that are signed.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The fields with the signature of this key. May block where [`PrivateKey::may_block`] says so.
    ///
    /// # Errors
    /// [`SignatureError::NotSigned`].
    pub fn sign(&self, key: &PrivateKey) -> Result<SignatureFields, SignatureError> {
        Ok(self.fields(&self.signature(key)?))
    }

    /// The same by a key whose public part is known under a name, with what shows later that it has signed.
    ///
    /// # Errors
    /// [`SignatureError::NotSigned`].
    pub fn sign_with_evidence(self, key: &NamedKey) -> Result<(SignatureFields, Evidence), SignatureError> {
        let signature = self.signature(key.key())?;
        let fields = self.fields(&signature);
        Ok((fields, Evidence::of_message(self.base, &signature, &key.jwk_text())))
    }

    fn signature(&self, key: &PrivateKey) -> Result<Vec<u8>, SignatureError> {
        key.sign_http_message(self.base.as_bytes(), self.names_algorithm).map_err(|_| SignatureError::NotSigned)
    }

    fn fields(&self, signature: &[u8]) -> SignatureFields {
        let Self { label, covered, .. } = self;
        SignatureFields {
            signature_input: format!("{label}={covered}"),
            signature: format!("{label}=:{}:", STANDARD.encode(signature)),
        }
    }
}

/// A label is a key of a dictionary (RFC 8941 §3.1.2).
fn check_label(label: &str) -> Result<(), SignatureError> {
    let begins = label.starts_with(|first: char| first.is_ascii_lowercase() || first == '*');
    let is_key = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte);
    if begins && label.bytes().all(is_key) { Ok(()) } else { Err(SignatureError::NotWritable { what: "the label" }) }
}

/// The list of components with its parameters (RFC 9421 §2.3), as it is read again. Does not check that they make sense.
///
/// # Errors
/// [`SignatureError::NotWritable`] if a time has too many digits or a text is not printable ASCII.
pub fn serialized(components: &[Component], parameters: &SignatureParameters) -> Result<String, SignatureError> {
    let SignatureParameters { created, expires, nonce, algorithm, key_id, tag } = parameters;
    let names: Vec<String> = components.iter().map(Component::to_string).collect();
    let mut text = format!("({})", names.join(" "));
    for (name, time) in [("created", created), ("expires", expires)] {
        if let Some(time) = time {
            // RFC 8941 §3.3.1: an integer has at most 15 digits.
            if time.0 > 999_999_999_999_999 {
                return Err(SignatureError::NotWritable { what: name });
            }
            text.push_str(&format!(";{name}={time}"));
        }
    }
    for (name, value) in [("nonce", nonce), ("alg", algorithm), ("keyid", key_id), ("tag", tag)] {
        if let Some(value) = value {
            // RFC 8941 §3.3.3: a string is printable ASCII.
            if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
                return Err(SignatureError::NotWritable { what: name });
            }
            text.push_str(&format!(";{name}={}", quoted(value)));
        }
    }
    Ok(text)
}
