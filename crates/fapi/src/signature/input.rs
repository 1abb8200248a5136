//! `Signature-Input` and `Signature`: which signatures a message claims to have, and over what (RFC 9421 §2.3, §4).

use http::HeaderMap;
use sfv::{BareItem, InnerList, Item, ListEntry, SerializeValue};

use super::component::Component;
use super::dictionary;
use super::error::SignatureError;
use crate::UnixTime;

/// The name of the field with what is covered.
pub const SIGNATURE_INPUT: &str = "signature-input";

/// The name of the field with the signatures.
pub const SIGNATURE: &str = "signature";

/// The most bytes of either field that are read: as many as a proof may have, and enough for [`MAX_SIGNATURES`] of RSA keys of
/// 8192 bits.
pub const MAX_FIELD_BYTES: usize = 8192;

/// The most signatures of one message: that of its client, and those of a few intermediaries. Each with the right tag costs
/// a verification, whoever made it.
pub const MAX_SIGNATURES: usize = 4;

/// The most components of one signature: several times those that a profile requires. Each is compared with all before it.
pub const MAX_COMPONENTS: usize = 32;

/// What one label stands for in both fields. Has no `Debug`, since it has the signature.
pub struct SignatureInput {
    label: Box<str>,
    covered: InnerList,
    signature: Vec<u8>,
}

/// The parameters of a signature that have a meaning (RFC 9421 §2.3). Others are covered as they are, and mean nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignatureParameters {
    /// When it was made.
    pub created: Option<UnixTime>,
    /// When it ends.
    pub expires: Option<UnixTime>,
    /// Text that its maker uses once.
    pub nonce: Option<Box<str>>,
    /// The registered name of its algorithm.
    pub algorithm: Option<Box<str>>,
    /// The name of its key.
    pub key_id: Option<Box<str>>,
    /// What it is for.
    pub tag: Option<Box<str>>,
}

impl SignatureInput {
    /// Reads both fields of a message: strictly, and with the same labels in both. Labels mean nothing else
    /// (RFC 9421 §7.2.5).
    ///
    /// Does not read components and parameters: those of a signature that is for somebody else may be of any kind.
    /// Parameters of a member of `Signature` are ignored.
    ///
    /// # Errors
    /// [`SignatureError`], for either field.
    pub fn read(headers: &HeaderMap) -> Result<Vec<Self>, SignatureError> {
        let inputs = dictionary::read(headers, SIGNATURE_INPUT, MAX_FIELD_BYTES)?;
        let mut signatures = dictionary::read(headers, SIGNATURE, MAX_FIELD_BYTES)?;
        if inputs.len() > MAX_SIGNATURES {
            return Err(SignatureError::TooManySignatures { limit: MAX_SIGNATURES });
        }
        let malformed = |field, why| Err(SignatureError::FieldMalformed { field, why });
        let mut all = Vec::with_capacity(inputs.len());
        for (label, input) in inputs {
            // RFC 9421 §4.1: a member of Signature-Input is an inner list.
            let ListEntry::InnerList(covered) = input else {
                return malformed(SIGNATURE_INPUT, "a member is not an inner list");
            };
            // §4.2: a member of Signature is a byte sequence.
            let signature = match signatures.swap_remove(&label) {
                Some(ListEntry::Item(Item { bare_item: BareItem::ByteSeq(signature), .. })) => signature,
                Some(_) => return malformed(SIGNATURE, "a member is not a byte sequence"),
                None => return malformed(SIGNATURE, "a label of signature-input is not in it"),
            };
            all.push(Self { label: label.into(), covered, signature });
        }
        // §4.2: every label of one field is in the other.
        if signatures.is_empty() { Ok(all) } else { malformed(SIGNATURE_INPUT, "a label of signature is not in it") }
    }

    /// Its label, which its maker or an intermediary has chosen.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What it says it is for, if that is text.
    pub fn tag(&self) -> Option<&str> {
        match self.covered.params.get("tag") {
            Some(BareItem::String(tag)) => Some(tag),
            _ => None,
        }
    }

    /// What it says it covers.
    ///
    /// # Errors
    /// [`SignatureError::TooManyComponents`], [`SignatureError::ComponentRefused`].
    pub fn components(&self) -> Result<Vec<Component>, SignatureError> {
        if self.covered.items.len() > MAX_COMPONENTS {
            return Err(SignatureError::TooManyComponents { limit: MAX_COMPONENTS });
        }
        self.covered.items.iter().map(Component::from_item).collect()
    }

    /// Its parameters.
    ///
    /// # Errors
    /// [`SignatureError::ParameterMalformed`] if one has another type than RFC 9421 §2.3 gives it.
    pub fn parameters(&self) -> Result<SignatureParameters, SignatureError> {
        Ok(SignatureParameters {
            created: self.time("created")?,
            expires: self.time("expires")?,
            nonce: self.text("nonce")?,
            algorithm: self.text("alg")?,
            key_id: self.text("keyid")?,
            tag: self.text("tag")?,
        })
    }

    /// The value of `@signature-params`: its list with all parameters, serialized strictly and in their order, those that mean
    /// nothing here too (RFC 9421 §2.3).
    ///
    /// # Errors
    /// [`SignatureError::FieldMalformed`] if it cannot be written again.
    pub fn serialized(&self) -> Result<String, SignatureError> {
        let why = "a member cannot be serialized";
        let list = vec![ListEntry::InnerList(self.covered.clone())];
        list.serialize_value().map_err(|_| SignatureError::FieldMalformed { field: SIGNATURE_INPUT, why })
    }

    /// The signature's bytes.
    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }

    fn time(&self, name: &'static str) -> Result<Option<UnixTime>, SignatureError> {
        let malformed = || SignatureError::ParameterMalformed { name, expected: "an integer that is not negative" };
        match self.covered.params.get(name) {
            None => Ok(None),
            Some(BareItem::Integer(seconds)) => {
                u64::try_from(*seconds).map(|seconds| Some(UnixTime(seconds))).map_err(|_| malformed())
            }
            Some(_) => Err(malformed()),
        }
    }

    fn text(&self, name: &'static str) -> Result<Option<Box<str>>, SignatureError> {
        match self.covered.params.get(name) {
            None => Ok(None),
            Some(BareItem::String(text)) => Ok(Some(text.as_str().into())),
            Some(_) => Err(SignatureError::ParameterMalformed { name, expected: "a string" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(input: &str, signature: &str) -> Result<Vec<SignatureInput>, SignatureError> {
        let mut headers = HeaderMap::new();
        for (name, value) in [(SIGNATURE_INPUT, input), (SIGNATURE, signature)] {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        SignatureInput::read(&headers)
    }

    fn one(input: &str) -> SignatureInput {
        read(&format!("a={input}"), "a=:AA==:").unwrap().remove(0)
    }

    #[test]
    fn hsig_11_both_fields_have_the_same_labels() {
        let good = read("a=(), b=(\"date\")", "b=:AA==:, a=:AQ==:").unwrap();
        let found: Vec<(&str, &[u8])> = good.iter().map(|input| (input.label(), input.signature())).collect();
        assert_eq!(found, [("a", &[1][..]), ("b", &[0])]); // control
        for (input, signature) in [
            ("a=(), b=()", "a=:AA==:"),
            ("a=()", "a=:AA==:, b=:AA==:"),
            ("a=()", "b=:AA==:"),
            ("a=1", "a=:AA==:"),
            ("a=()", "a=(:AA==:)"),
            ("a=()", "a=\"AA==\""),
            ("a=(", "a=:AA==:"),
            ("a=()", "a=:A!:"),
            ("a=(), a=()", "a=:AA==:"),
            ("", "a=:AA==:"),
        ] {
            let error = read(input, signature).err();
            assert!(matches!(error, Some(SignatureError::FieldMalformed { .. })), "{input} {signature}: {error:?}");
        }
        let mut headers = HeaderMap::new();
        let missing = |headers: &HeaderMap| SignatureInput::read(headers).err();
        assert_eq!(missing(&headers), Some(SignatureError::FieldMissing { field: SIGNATURE_INPUT }));
        headers.insert(SIGNATURE_INPUT, HeaderValue::from_static("a=()"));
        assert_eq!(missing(&headers), Some(SignatureError::FieldMissing { field: SIGNATURE }));
    }

    #[test]
    fn hsig_11_signatures_and_components_are_counted() {
        let many = |count: usize| {
            let of = |value: &str| (0..count).map(|n| format!("a{n}={value}")).collect::<Vec<_>>().join(", ");
            read(&of("()"), &of(":AA==:")).map(|all| all.len())
        };
        assert_eq!(many(MAX_SIGNATURES), Ok(4)); // control
        assert_eq!(many(5), Err(SignatureError::TooManySignatures { limit: 4 }));
        let covered = |count: usize| {
            let names: Vec<String> = (0..count).map(|n| format!("\"x{n}\"")).collect();
            one(&format!("({})", names.join(" "))).components().map(|all| all.len())
        };
        assert_eq!(covered(MAX_COMPONENTS), Ok(32)); // control
        assert_eq!(covered(33), Err(SignatureError::TooManyComponents { limit: 32 }));
    }

    #[test]
    fn hsig_04_parameters_have_their_types() {
        let good = one("();created=1;expires=2;nonce=\"n\";alg=\"a\";keyid=\"k\";tag=\"t\"").parameters().unwrap();
        let text = |text: &str| Some(text.into());
        let expected = SignatureParameters {
            created: Some(UnixTime(1)),
            expires: Some(UnixTime(2)),
            nonce: text("n"),
            algorithm: text("a"),
            key_id: text("k"),
            tag: text("t"),
        };
        assert_eq!(good, expected); // control
        for name in ["created", "expires"] {
            for value in ["-1", "1.0", "\"1\"", "?1", "a", ":AA==:"] {
                let error = one(&format!("();{name}={value}")).parameters();
                assert!(matches!(error, Err(SignatureError::ParameterMalformed { .. })), "{name}={value}");
            }
        }
        for name in ["nonce", "alg", "keyid", "tag"] {
            for value in ["1", "a", "?1", ":AA==:"] {
                let error = one(&format!("();{name}={value}")).parameters();
                assert!(matches!(error, Err(SignatureError::ParameterMalformed { .. })), "{name}={value}");
            }
        }
    }

    #[test]
    fn hsig_11_what_means_nothing_is_covered_as_it_is() {
        let text = "(\"x\";req \"@method\");x=a;created=1;y=\"a\\\"b\";z;w=?0;v=1.5;u=:AA==:";
        assert_eq!(one(text).serialized().unwrap(), text);
        assert_eq!(one("(  \"x\"   ); x=1").serialized().unwrap(), "(\"x\");x=1", "serialized strictly");
    }

    proptest! {
        #[test]
        fn never_panics(input in "[ -~]{0,120}", signature in "[ -~]{0,120}") {
            let _ = read(&input, &signature).is_ok();
            if let Ok(all) = read(&format!("a=({input}"), "a=:AA==:") {
                for one in all {
                    let _ = (one.components().is_ok(), one.parameters().is_ok(), one.serialized().is_ok());
                }
            }
        }
    }
}
