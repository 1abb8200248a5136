//! Whether a message is signed by a key that is known, as a profile requires (RFC 9421 §3.2).

use http::HeaderName;

use super::algorithm::registered_name;
use super::base::signature_base;
use super::component::Component;
use super::digest::{CONTENT_DIGEST, FieldHash, MatchedContent};
use super::error::SignatureError;
use super::evidence::Evidence;
use super::input::{SignatureInput, SignatureParameters};
use super::message::Message;
use super::profile::Profile;
use crate::jose::jws::MAX_TRIED;
use crate::jose::keys::{Algorithm, KeySet};
use crate::text::printable;
use crate::token::negated_s;
use crate::{UnixTime, sha256};

/// Verifies the signatures of a message that have the profile's tag, and returns the first that holds. Labels and the order
/// of signatures mean nothing, and those with other tags are not looked at.
///
/// `keys` are those of the one client that the message has to come from: nothing in the message names another set. `now` is
/// the time of the request.
///
/// Does not compare a digest with the content, and does not detect replay.
///
/// # Errors
/// [`SignatureError`], for the first signature with the tag if there are several.
pub fn verify(
    message: &Message<'_>,
    profile: &Profile,
    keys: &KeySet,
    now: UnixTime,
) -> Result<SignedFields, SignatureError> {
    let mut first_failure = None;
    let is_for_us = |input: &&SignatureInput| profile.tag.as_deref().is_none_or(|tag| input.tag() == Some(tag));
    let inputs = SignatureInput::read(message.headers())?;
    let several = inputs.iter().filter(is_for_us).nth(1).is_some();
    for input in inputs.iter().filter(is_for_us) {
        match verify_one(input, message, profile, keys, now) {
            Ok(signed) => return Ok(SignedFields { several, ..signed }),
            Err(error) => drop(first_failure.get_or_insert(error)),
        }
    }
    let expected = || profile.tag.clone().unwrap_or_default();
    Err(first_failure.unwrap_or_else(|| SignatureError::TagMissing { expected: expected() }))
}

/// Verifies one signature of a message, whatever its tag is: what it says before what it costs.
///
/// For whoever shows each signature. [`verify`] looks for the one that counts.
///
/// # Errors
/// [`SignatureError`], for the first step that it does not pass.
pub fn verify_one(
    input: &SignatureInput,
    message: &Message<'_>,
    profile: &Profile,
    keys: &KeySet,
    now: UnixTime,
) -> Result<SignedFields, SignatureError> {
    let components = input.components()?;
    if let Some(missing) = profile.required.iter().find(|required| !components.contains(required)) {
        return Err(SignatureError::ComponentNotCovered { component: missing.shown() });
    }
    let SignatureParameters { created, expires, nonce, algorithm: named, key_id, tag: _ } = input.parameters()?;
    let created = created.ok_or(SignatureError::ParameterMissing { name: "created" })?;
    check_times(created, expires, profile, now)?;
    let key_id = key_id.ok_or(SignatureError::ParameterMissing { name: "keyid" })?;
    let base = signature_base(message, &components, &input.serialized()?)?;
    let (algorithm, jwk) = verifying_key(&base, input.signature(), &key_id, named.as_deref(), keys)?;
    let evidence = Evidence::of_message(base, input.signature(), jwk);
    Ok(SignedFields {
        signature: VerifiedSignature {
            label: input.label().into(),
            key_id,
            created,
            nonce,
            components,
            signature_hash: signature_hash(algorithm, input.signature()),
            evidence,
        },
        content_digest: FieldHash::of(message.headers(), CONTENT_DIGEST),
        several: false,
    })
}

/// HSIG-04: `created` is in its window, and `expires` is still to come.
fn check_times(
    created: UnixTime,
    expires: Option<UnixTime>,
    profile: &Profile,
    now: UnixTime,
) -> Result<(), SignatureError> {
    if created > now.plus(profile.clock_skew) || now > created.plus(profile.max_age) {
        return Err(SignatureError::Stale { at: created, now });
    }
    match expires.filter(|at| *at <= now) {
        Some(at) => Err(SignatureError::Expired { at, now }),
        None => Ok(()),
    }
}

/// Verifies a signature with the keys of this name, and returns the algorithm of the one that made it, and what makes it in JSON.
///
/// RFC 9421 §3.2: where the algorithm is known from the key and from `alg`, they have to be the same.
fn verifying_key<'k>(
    base: &str,
    signature: &[u8],
    key_id: &'k str,
    named: Option<&str>,
    keys: &'k KeySet,
) -> Result<(Algorithm, &'k str), SignatureError> {
    let mut failure = SignatureError::KeyUnknown { key_id: printable(key_id) };
    for (key, jwk) in keys.of_messages(key_id).take(MAX_TRIED) {
        let expected = registered_name(key.algorithm());
        if let Some(found) = named.filter(|found| *found != expected) {
            failure = SignatureError::AlgorithmMismatch { found: printable(found), expected };
        } else if key.is_weak() {
            failure = SignatureError::KeyWeak;
        } else if key.verifies_http_message(base.as_bytes(), signature, named.is_some()) {
            return Ok((key.algorithm(), jwk));
        } else {
            failure = SignatureError::SignatureInvalid;
        }
    }
    Err(failure)
}

/// The SHA-256 of a signature, the same for both that ECDSA allows: if (r, s) is one, so is (r, n − s), and anybody can
/// calculate it.
fn signature_hash(algorithm: Algorithm, signature: &[u8]) -> [u8; 32] {
    if let (Algorithm::Es256, ([r, s], [])) = (algorithm, signature.as_chunks::<32>()) {
        let lower = negated_s(s).map_or(*s, |other| other.min(*s));
        return sha256(&[*r, lower].concat());
    }
    sha256(signature)
}

/// A signature of a known key over fields and derived components.
///
/// Proves nothing yet of the content: a signed digest may be that of other content (RFC 9530 §6.3).
#[derive(Debug)]
pub struct SignedFields {
    signature: VerifiedSignature,
    /// The field as it was when the signature was verified.
    content_digest: FieldHash,
    /// Whether other signatures of the message have the tag too.
    several: bool,
}

impl SignedFields {
    /// The signature over a message with this content.
    ///
    /// # Errors
    /// [`SignatureError::ContentNotSigned`] unless it covers the very field that the content was compared with.
    pub fn with_content(self, content: &MatchedContent) -> Result<VerifiedSignature, SignatureError> {
        let is_signed = self.covers_digest() && content.field() == self.content_digest;
        if is_signed { Ok(self.signature) } else { Err(SignatureError::ContentNotSigned) }
    }

    /// The signature over a message without content. The caller knows that it has none.
    ///
    /// # Errors
    /// [`SignatureError::ContentUnchecked`] if it covers a digest, which has to be compared even with no bytes.
    pub fn without_content(self) -> Result<VerifiedSignature, SignatureError> {
        if self.covers_digest() { Err(SignatureError::ContentUnchecked) } else { Ok(self.signature) }
    }

    /// Checks that no other signature of the message has the tag: whoever takes this one away would have a message that counts
    /// once more.
    ///
    /// # Errors
    /// [`SignatureError::SeveralSignatures`].
    pub(crate) const fn check_only(&self) -> Result<(), SignatureError> {
        if self.several { Err(SignatureError::SeveralSignatures) } else { Ok(()) }
    }

    /// What it covers.
    pub(crate) fn components(&self) -> &[Component] {
        self.signature.components()
    }

    /// Whether the digest of the content is covered.
    pub(crate) fn covers_digest(&self) -> bool {
        self.signature.components.contains(&Component::field(HeaderName::from_static(CONTENT_DIGEST)))
    }
}

/// The proof that a known key signed a message, its content included.
///
/// Does not say that the message comes for the first time: [`Self::signature_hash`] and [`Self::nonce`] are for whoever
/// remembers (RFC 9421 §7.2.2).
#[derive(Clone, Debug)]
pub struct VerifiedSignature {
    label: Box<str>,
    key_id: Box<str>,
    created: UnixTime,
    nonce: Option<Box<str>>,
    components: Vec<Component>,
    signature_hash: [u8; 32],
    evidence: Evidence,
}

impl VerifiedSignature {
    /// What shows later that the key made it.
    pub const fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// Its label in the message.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The name of the key that made it.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// When it was made.
    pub const fn created(&self) -> UnixTime {
        self.created
    }

    /// The text that its maker uses once, if there is one.
    pub fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    /// What it covers, in its order.
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// The SHA-256 of its bytes; of the one with the smaller s if it is of ECDSA, where there are two.
    pub const fn signature_hash(&self) -> &[u8; 32] {
        &self.signature_hash
    }
}

#[cfg(test)]
mod tests;
