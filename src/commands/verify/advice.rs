//! What to look at when a signature does not hold.

use fapi::signature::error::SignatureError;

use super::Terms;
use super::difference::Difference;
use super::shown::printable;

/// What to look at, for whoever writes the client.
pub(super) fn advice(error: &SignatureError, difference: Option<&Difference>, terms: &Terms) -> String {
    let text = match error {
        SignatureError::FieldMissing { .. } => {
            "Both Signature-Input and Signature have to be there; something between may remove them."
        }
        SignatureError::FieldTooLarge { .. }
        | SignatureError::TooManySignatures { .. }
        | SignatureError::TooManyComponents { .. }
        | SignatureError::BaseTooLarge { .. } => {
            "Sign fewer components, or remove signatures that are for somebody else."
        }
        SignatureError::FieldMalformed { .. } => {
            "Compare the field with RFC 9421 §4: a label and an inner list in Signature-Input, the same label and a byte sequence between colons in Signature."
        }
        SignatureError::DigestMissing | SignatureError::DigestUnsupported => {
            "Send Content-Digest with sha-256 or sha-512, and cover it."
        }
        SignatureError::DigestMismatch { .. } => {
            "The content that was captured is not the one that was hashed. Hash the bytes that are sent, after any content coding, and capture them without a transfer coding; look for a line end that was added, or JSON that was written again."
        }
        SignatureError::ComponentRefused { .. } => {
            "Names of fields are in lower case and in quotes, and parameters those of RFC 9421 §2.1; fields of trailers are not accepted."
        }
        SignatureError::ComponentRepeated { .. } => "Cover it once.",
        SignatureError::ComponentAbsent { .. } => {
            "The message does not have it: it was removed or renamed on the way, or was added only after signing."
        }
        SignatureError::ComponentMalformed { .. } => "Cover it in another form, such as bs, or not at all.",
        SignatureError::TagMissing { .. } => {
            "Set the parameter tag; the label means nothing. --profile none accepts any."
        }
        SignatureError::ComponentNotCovered { .. } => {
            "Cover it by exactly this identifier. --profile none accepts signatures over anything."
        }
        SignatureError::ParameterMissing { .. } | SignatureError::ParameterMalformed { .. } => {
            "The parameters of a signature have the names and types of RFC 9421 §2.3."
        }
        SignatureError::Stale { .. } | SignatureError::Expired { .. } => {
            "Compare the clocks. If the message is an old one, give its time with --at TIME, or leave the time out with --any-time."
        }
        SignatureError::KeyUnknown { .. } | SignatureError::ClientUnknown { .. } => return known(terms),
        SignatureError::KeyWeak => "Use an RSA key of 2048 bits or more, or one of another type.",
        SignatureError::AlgorithmMismatch { .. } => {
            "Leave alg out, or name the algorithm of the key: ecdsa-p256-sha256, ed25519, rsa-pss-sha512."
        }
        SignatureError::SignatureInvalid => return invalid(difference),
        SignatureError::ContentNotSigned | SignatureError::ContentUnchecked => "Cover content-digest.",
        SignatureError::Body(_) => "It is not a signature of RFC 9421.",
        SignatureError::SeveralSignatures => "Sign once with this tag.",
        SignatureError::ComponentNotForwarded { .. } => {
            "Connection names fields for the next hop alone; leave it out there."
        }
        SignatureError::Replayed | SignatureError::BeforeLog { .. } => "Make a new signature for each request.",
        SignatureError::NotWritable { .. } | SignatureError::NotSigned | SignatureError::ResponseTooLarge { .. } => {
            "This is of signing."
        }
    };
    text.to_owned()
}

/// Why a signature with a base that can be computed may not be that of the key.
fn invalid(difference: Option<&Difference>) -> String {
    let text = match difference {
        None => {
            "The key has signed another base, or another key has signed. Compare the lines above with those that the signer has made: --base FILE finds the first that differs. If @target-uri is not what the client has called, say it with --uri."
        }
        Some(Difference::None { line_end: false }) => {
            "Both bases are the same: another key has signed, or with another algorithm. ECDSA signatures are 64 bytes, not DER; RSASSA-PSS has SHA-512 and a salt of 64 bytes, or without alg SHA-256 and a salt of 32."
        }
        Some(Difference::None { line_end: true }) => {
            "Both bases are the same, but for the line end at the end of the file: a base has none. If it was not signed either, another key has signed, or with another algorithm."
        }
        Some(Difference::At { .. }) => "The bases differ: see the line.",
    };
    text.to_owned()
}

fn known(terms: &Terms) -> String {
    let names: Vec<String> = terms.keys.names().into_iter().map(|name| format!("\"{}\"", printable(name))).collect();
    match names.is_empty() {
        true => "No key of the file has a kid.".to_owned(),
        false => format!("The keys of the file are {}.", names.join(", ")),
    }
}
