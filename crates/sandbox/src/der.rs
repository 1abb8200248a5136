//! The encoding of certificates (X.690), as far as certificates are made here that a library would not make.

/// Encodes a value.
///
/// # Panics
/// If the content has 64 KiB or more.
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("what is made here is smaller");
    let [high, low] = length.to_be_bytes();
    let header = match length {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        0x100.. => vec![tag, 0x82, high, low],
    };
    [&header, content].concat()
}

/// Splits the content of a sequence or set into its values, each with tag and length.
///
/// # Panics
/// If it is not what a library made.
pub fn values(mut content: &[u8]) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    while let [_, length, ..] = content {
        let octets = usize::from(length.saturating_sub(0x80));
        let long = content[2..2 + octets].iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet));
        let end = 2 + octets + if octets == 0 { usize::from(*length) } else { long };
        let (value, rest) = content.split_at(end);
        values.push(value.to_vec());
        content = rest;
    }
    values
}

/// Returns the content of a value.
///
/// # Panics
/// If it is not what a library made.
pub fn content(value: &[u8]) -> &[u8] {
    let octets = usize::from(value[1].saturating_sub(0x80));
    &value[2 + octets..]
}

/// Returns the fields of what is signed in a certificate or revocation list.
///
/// # Panics
/// If it is not what a library made.
pub fn signed_fields(signed: &[u8]) -> Vec<Vec<u8>> {
    let parts = values(content(signed));
    values(content(parts.first().expect("a certificate begins with what is signed")))
}
