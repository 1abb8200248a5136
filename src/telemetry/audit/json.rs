//! Writes the members of a JSON object (RFC 8259) whose names are known, without a string in between.
//!
//! serde_json looks at each byte of each name and value for what has to be escaped; of a line there are a thousand.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fapi::token::TokenId;

/// Writes an object with these fields of `Self` as its members, in this order; does not compile if one is left out.
macro_rules! write_object {
    ($out:expr, $object:expr; $first:ident $(, $name:ident)* $(,)?) => {{
        let Self { $first $(, $name)* } = $object;
        $crate::telemetry::audit::json::member($out, concat!("{\"", stringify!($first), "\":"), $first);
        $($crate::telemetry::audit::json::member($out, concat!(",\"", stringify!($name), "\":"), $name);)*
        $out.push(b'}');
    }};
}
pub(super) use write_object;

pub(super) fn member(out: &mut Vec<u8>, name: &str, value: &impl Value) {
    out.extend_from_slice(name.as_bytes());
    value.write(out);
}

/// A value of a member.
pub(super) trait Value {
    /// Appends it.
    fn write(&self, out: &mut Vec<u8>);
}

impl<T: Value> Value for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.write(out),
            None => out.extend_from_slice(b"null"),
        }
    }
}

impl Value for &str {
    fn write(&self, out: &mut Vec<u8>) {
        // RFC 8259 §7: "All Unicode characters may be placed within the quotation marks, except for the characters that MUST
        // be escaped: quotation mark, reverse solidus, and the control characters". Without an early end, so that many bytes
        // are compared at once.
        let special = |byte: u8| (byte < b' ') | (byte == b'"') | (byte == b'\\');
        if self.bytes().fold(false, |found, byte| found | special(byte)) {
            // Writing to a vector does not fail, nor does writing a string.
            let _ = serde_json::to_writer(out, self);
        } else {
            quoted(out, self.as_bytes());
        }
    }
}

impl Value for String {
    fn write(&self, out: &mut Vec<u8>) {
        self.as_str().write(out);
    }
}

impl Value for u16 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(itoa::Buffer::new().format(*self).as_bytes());
    }
}

impl Value for u64 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(itoa::Buffer::new().format(*self).as_bytes());
    }
}

/// In milliseconds, with three decimals.
impl Value for Duration {
    fn write(&self, out: &mut Vec<u8>) {
        let _ = write!(out, "{}.{:03}", self.as_millis(), self.subsec_micros() % 1000);
    }
}

impl Value for IpAddr {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::V4(address) => {
                let [first, rest @ ..] = address.octets();
                out.push(b'"');
                u16::from(first).write(out);
                for octet in rest {
                    out.push(b'.');
                    u16::from(octet).write(out);
                }
                out.push(b'"');
            }
            Self::V6(address) => {
                let _ = write!(out, "\"{address}\"");
            }
        }
    }
}

impl Value for SocketAddr {
    fn write(&self, out: &mut Vec<u8>) {
        let _ = write!(out, "\"{self}\"");
    }
}

impl Value for TokenId {
    fn write(&self, out: &mut Vec<u8>) {
        quoted(out, &self.to_hex());
    }
}

/// In base64url.
impl Value for [u8; 32] {
    fn write(&self, out: &mut Vec<u8>) {
        let mut text = [0; 43];
        // 32 bytes are 43 characters.
        if URL_SAFE_NO_PAD.encode_slice(self, &mut text).is_ok() {
            quoted(out, &text);
        }
    }
}

/// Writes a string of which no byte has to be escaped.
fn quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: impl Value) -> serde_json::Value {
        let mut out = Vec::new();
        value.write(&mut out);
        serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)))
    }

    proptest! {
        #[test]
        fn every_text_is_read_back_as_it_was(text in "\\PC{0,40}|[\\x00-\\x7f]{0,40}|[\"\\\\]{0,3}|.{0,5}") {
            prop_assert_eq!(written(&*text), text);
        }

        #[test]
        fn numbers_and_addresses_are_read_back_as_they_were(number: u64, address: IpAddr, micros in 0_u64..1 << 50) {
            prop_assert_eq!(written(number), number);
            prop_assert_eq!(written(address), address.to_string());
            prop_assert_eq!(written(Duration::from_micros(micros)), micros as f64 / 1e3);
        }
    }

    #[test]
    fn hashes_are_written_as_everywhere_else() {
        let id = TokenId::from_hex("00ff10a09b8c7d6e").unwrap();
        assert_eq!(written(id), id.to_string());
        let thumbprint = fapi::jose::thumbprint::KeyThumbprint::from_bytes([0xfb; 32]);
        assert_eq!(written(*thumbprint.as_bytes()), thumbprint.to_string());
        assert_eq!(written(None::<u64>), serde_json::Value::Null);
    }

    #[test]
    fn members_stand_in_the_order_they_are_named() {
        struct Object {
            second: Option<&'static str>,
            first: u16,
        }
        impl Value for Object {
            fn write(&self, out: &mut Vec<u8>) {
                write_object!(out, self; first, second);
            }
        }
        let mut out = Vec::new();
        Object { second: Some("a\"b"), first: 1 }.write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"first":1,"second":"a\"b"}"#);
    }
}
