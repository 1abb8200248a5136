//! `fapi-gateway sign`: signs a captured HTTP message (RFC 9421 §3.1), with the digest of its content (RFC 9530).

use std::path::PathBuf;
use std::process::ExitCode;

use fapi::jose::signing::PrivateKey;
use fapi::jose::thumbprint::KeyThumbprint;
use fapi::signature::algorithm::registered_name;
use fapi::signature::base::signature_base;
use fapi::signature::component::Component;
use fapi::signature::create::{self, SignatureFields};
use fapi::signature::digest::{CONTENT_DIGEST, ClaimedDigest, DigestAlgorithm, content_digest};
use fapi::signature::error::SignatureError;
use fapi::signature::input::{SIGNATURE, SIGNATURE_INPUT, SignatureInput, SignatureParameters};
use http::HeaderValue;

use super::captured::{Captured, MessageFile, ProfileName, Subject};
use super::time::time_or_now;
use super::{BAD_USAGE, Failure, NOT_GOOD, input};

/// The arguments of the command.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    message: MessageFile,
    /// The private key, PEM: PKCS#8, SEC1 or PKCS#1; EC P-256, Ed25519, or RSA of 2048 bits or more.
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    key: PathBuf,
    /// `keyid`: the `kid` by which the other side knows the key; by default its thumbprint, as `thumbprint` prints it.
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,
    /// What is covered, and `tag`; by default what FAPI 2.0 HTTP Signatures says for a request, or for a response.
    #[arg(long, value_enum)]
    profile: Option<ProfileName>,
    /// Cover this too, once for each: `content-type`, `@query-param;name="id"`, `signature;req;key="sig"`.
    #[arg(long, value_name = "IDENTIFIER")]
    component: Vec<String>,
    /// The label of the signature; no other signature of the message may have it.
    #[arg(long, default_value = "sig")]
    label: String,
    /// `tag`, instead of that of the profile.
    #[arg(long)]
    tag: Option<String>,
    /// `nonce`.
    #[arg(long, allow_hyphen_values = true)]
    nonce: Option<String>,
    /// `created`: seconds since 1970, or a time such as `2027-01-31T12:00:00Z`; by default now.
    #[arg(long, value_name = "TIME")]
    created: Option<String>,
    /// `expires`, in the same form; by default there is none.
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// Name the algorithm in the signature, as `alg`: `ecdsa-p256-sha256`, `ed25519`, or `rsa-pss-sha512`.
    #[arg(long)]
    name_algorithm: bool,
}

/// Prints the message with `Content-Digest`, if it has content and lacks it, `Signature-Input` and `Signature`. What was there
/// stays as it is. Never prints the key.
pub fn run(arguments: &Arguments) -> ExitCode {
    super::ended(sign(arguments).and_then(|message| super::print_bytes(&message)), "sign")
}

fn sign(arguments: &Arguments) -> Result<Vec<u8>, Failure> {
    let Arguments { message, key: file, profile, component, label, .. } = arguments;
    let subject = message.read([Some(file)])?;
    let key = PrivateKey::from_pem(&input(file)?).map_err(|error| Failure::io(file, &error))?;
    let profile = ProfileName::of(*profile, &subject)?;
    let parameters = parameters(arguments, &key, profile)?;
    let subject = with_digest(subject)?;
    let mut components = profile.required(&subject);
    for text in component {
        let component = identifier(text)?;
        if !components.contains(&component) {
            components.push(component);
        }
    }
    check_label(&subject, label)?;
    let signed = create::sign(&subject.view(), label, &components, &parameters, &key).map_err(refused)?;
    with_signature(subject, &signed, &components)
}

fn parameters(arguments: &Arguments, key: &PrivateKey, profile: ProfileName) -> Result<SignatureParameters, Failure> {
    let Arguments { key: file, key_id, tag, nonce, created, expires, name_algorithm, .. } = arguments;
    let boxed = |text: &Option<String>| text.as_deref().map(Box::from);
    let key_id = match key_id {
        Some(key_id) => key_id.as_str().into(),
        None => thumbprint(key).ok_or_else(|| Failure::io(file, &"the public key has no thumbprint"))?,
    };
    Ok(SignatureParameters {
        created: Some(time_or_now("--created", created.as_deref())?),
        expires: expires.as_deref().map(|at| time_or_now("--expires", Some(at))).transpose()?,
        nonce: boxed(nonce),
        algorithm: name_algorithm.then(|| registered_name(key.algorithm()).into()),
        key_id: Some(key_id),
        tag: boxed(tag).or_else(|| profile.tag().map(Box::from)),
    })
}

fn thumbprint(key: &PrivateKey) -> Option<Box<str>> {
    KeyThumbprint::of_jwk(&key.public_jwk().ok()?).map(|thumbprint| thumbprint.to_string().into())
}

/// An identifier of a component, whose name may be without its quotes: a shell takes them away.
fn identifier(text: &str) -> Result<Component, Failure> {
    let quoted = if text.starts_with('"') {
        text.to_owned()
    } else {
        let (name, parameters) = text.split_at(text.find(';').unwrap_or(text.len()));
        format!("\"{name}\"{parameters}")
    };
    quoted.parse().map_err(|error: SignatureError| Failure::new(BAD_USAGE, format!("--component: {error}")))
}

/// The message with a digest, if it has content. One that it has already has to be right: signing another proves nothing.
fn with_digest(subject: Subject) -> Result<Subject, Failure> {
    let message = subject.captured();
    if message.headers().contains_key(CONTENT_DIGEST) {
        let mut hasher = ClaimedDigest::read(message.headers()).map_err(refused)?.hasher();
        hasher.update(message.content());
        hasher.finish().map_err(|error| refused(error.into()))?;
        return Ok(subject);
    }
    if message.content().is_empty() {
        return Ok(subject);
    }
    let digest = content_digest(DigestAlgorithm::Sha256, message.content());
    let digest = field_value(&digest)?;
    Ok(subject.with(|message| message.with_field(CONTENT_DIGEST, digest)))
}

/// Labels tell the signatures of a message apart (RFC 9421 §4.1).
fn check_label(subject: &Subject, label: &str) -> Result<(), Failure> {
    let headers = subject.captured().headers();
    if ![SIGNATURE_INPUT, SIGNATURE].iter().any(|name| headers.contains_key(*name)) {
        return Ok(());
    }
    let others = SignatureInput::read(headers).map_err(refused)?;
    if others.iter().any(|other| other.label() == label) {
        let why = format!("the message has a signature labelled {label:?}; choose another with --label");
        return Err(Failure::new(NOT_GOOD, why));
    }
    Ok(())
}

/// The message with both fields.
fn with_signature(subject: Subject, signed: &SignatureFields, components: &[Component]) -> Result<Vec<u8>, Failure> {
    let SignatureFields { signature_input, signature } = signed;
    let base = |subject: &Subject| signature_base(&subject.view(), components, "").map_err(refused);
    let before = base(&subject)?;
    let (input, value) = (field_value(signature_input)?, field_value(signature)?);
    let add = |message: Captured| message.with_field(SIGNATURE_INPUT, input).with_field(SIGNATURE, value);
    let subject = subject.with(add);
    // A message that has signatures already may be signed with those fields as they are, and now has others.
    if base(&subject)? != before {
        let why = "a component covers all of a field that the signature is added to; cover a member with key=\"LABEL\"";
        return Err(Failure::new(NOT_GOOD, why));
    }
    Ok(subject.into_message().into_bytes())
}

fn field_value(text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text).map_err(|_| Failure::new(NOT_GOOD, "the signature cannot be written in a field"))
}

fn refused(error: SignatureError) -> Failure {
    Failure::new(NOT_GOOD, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_may_be_without_quotes() {
        for (text, expected) in [
            ("\"@method\"", "\"@method\""),
            ("@method", "\"@method\""),
            ("content-type", "\"content-type\""),
            ("@query-param;name=\"id\"", "\"@query-param\";name=\"id\""),
            ("signature;req;key=\"sig\"", "\"signature\";req;key=\"sig\""),
        ] {
            assert_eq!(identifier(text).unwrap().to_string(), expected);
        }
        for text in ["", "Content-Type", "@nothing", "a b", "\"a", "x;nope"] {
            assert_eq!(identifier(text).err().map(|failure| failure.exit), Some(BAD_USAGE), "{text}");
        }
    }
}
