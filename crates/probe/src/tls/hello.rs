//! A ClientHello written by hand (RFC 5246 §7.4.1.2, RFC 8446 §4.1.2), which can offer what no library offers any more.

use aws_lc_rs::agreement::{self, PrivateKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;

use super::record;
use super::suites::{self, Class};
use super::wire::{u16s, vector};

/// SSL 3.0 (RFC 6101).
pub const SSL3: u16 = 0x0300;
/// TLS 1.0 (RFC 2246).
pub const TLS10: u16 = 0x0301;
/// TLS 1.1 (RFC 4346).
pub const TLS11: u16 = 0x0302;
/// TLS 1.2 (RFC 5246).
pub const TLS12: u16 = 0x0303;
/// TLS 1.3 (RFC 8446).
pub const TLS13: u16 = 0x0304;

/// What a client offers, and in which pieces it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// `legacy_version`: the highest version of a client that does not send `supported_versions` (RFC 8446 §4.1.2).
    pub legacy_version: u16,
    /// The versions of the extension `supported_versions`, the best first (RFC 8446 §4.2.1); none if it is not sent.
    pub supported_versions: Vec<u16>,
    /// The cipher suites, the best first.
    pub suites: Vec<u16>,
    /// The compression methods (RFC 3749): 0 is none, 1 is DEFLATE.
    pub compression_methods: Vec<u8>,
    /// The groups for key exchange, the best first (RFC 8446 §4.2.7); none if the extension is not sent. With TLS 1.3, a key share of
    /// the first one that is an elliptic curve made here is sent along (RFC 8446 §4.2.8), and none if there is no such one, which asks
    /// for a HelloRetryRequest.
    pub groups: Vec<u16>,
    /// The signature algorithms (RFC 8446 §4.2.3). Not sent if the highest version is one before TLS 1.2 (RFC 5246 §7.4.1.4.1), for
    /// the lack of which some servers refuse such a version with `handshake_failure` instead of `protocol_version`.
    pub signature_algorithms: Vec<u16>,
    /// The name of the server (RFC 6066 §3); `None` if it is not sent.
    pub server_name: Option<String>,
    /// The application protocols, the best first (RFC 7301); none if the extension is not sent.
    pub alpn: Vec<Vec<u8>>,
    /// The content of `renegotiation_info` (RFC 5746 §3.2): empty in the first handshake of a connection; `None` if it is not sent.
    pub renegotiation_info: Option<Vec<u8>>,
    /// Whether the extended master secret is offered (RFC 7627).
    pub extended_master_secret: bool,
    /// Whether the MAC of a block cipher may cover the ciphertext (RFC 7366).
    pub encrypt_then_mac: bool,
    /// Whether session tickets are offered (RFC 5077).
    pub session_ticket: bool,
    /// How many bytes of the message are in each record; `None` for as many as fit.
    pub bytes_per_record: Option<usize>,
    /// How many bytes are in each write to the connection, which makes a segment of TCP of each; `None` for all in one.
    pub split: Option<usize>,
}

/// Why a hello cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// A list or a name is longer than the number before it can say.
    #[error("the hello has more in it than the format of TLS allows")]
    TooLong,
    /// The system has no random numbers.
    #[error("there are no random numbers")]
    Random,
}

impl From<Unspecified> for HelloError {
    fn from(_: Unspecified) -> Self {
        Self::Random
    }
}

impl Hello {
    /// TLS 1.2 and no other version, with these suites.
    pub fn tls12(suites: &[u16]) -> Self {
        Self { suites: suites.to_vec(), ..Self::up_to(TLS12) }
    }

    /// TLS 1.3 and no other version, with its suites.
    pub fn tls13() -> Self {
        Self { supported_versions: vec![TLS13], suites: suites::numbers(&[Class::Tls13]), ..Self::up_to(TLS12) }
    }

    /// TLS 1.3 and 1.2, with authenticated encryption and ephemeral keys: what a client of today offers.
    pub fn both() -> Self {
        let suites = suites::numbers(&[Class::Tls13, Class::Recommended, Class::OtherAead]);
        Self { supported_versions: vec![TLS13, TLS12], suites, ..Self::up_to(TLS12) }
    }

    /// `version` and every one before it, with every suite that the table has for them.
    ///
    /// Before TLS 1.3 a client cannot offer a version without those before it (RFC 5246 §E.1): a server that refuses `version` may
    /// accept an earlier one, which is in its answer. The signal of a fallback (RFC 7507) is not sent.
    pub fn up_to(version: u16) -> Self {
        Self {
            legacy_version: version.min(TLS12),
            supported_versions: if version < TLS13 { Vec::new() } else { vec![TLS13, TLS12, TLS11, TLS10] },
            suites: if version < TLS13 { suites::before_tls13() } else { suites::all() },
            compression_methods: vec![0],
            groups: GROUPS.to_vec(),
            signature_algorithms: SIGNATURE_ALGORITHMS.to_vec(),
            server_name: None,
            alpn: Vec::new(),
            renegotiation_info: Some(Vec::new()),
            extended_master_secret: true,
            encrypt_then_mac: true,
            session_ticket: true,
            bytes_per_record: None,
            split: None,
        }
    }

    /// The same hello for the server of this name.
    #[must_use]
    pub fn to(self, server_name: &str) -> Self {
        Self { server_name: Some(server_name.to_owned()), ..self }
    }

    /// The hello in a record, or in as many as [`Hello::bytes_per_record`] makes of it. Each time it has other random numbers and
    /// another key share.
    ///
    /// # Errors
    /// See [`HelloError`].
    pub fn encode(&self) -> Result<Vec<u8>, HelloError> {
        let message = self.message()?;
        let size = self.bytes_per_record.unwrap_or(record::MAX_PLAINTEXT).clamp(1, record::MAX_PLAINTEXT);
        let mut records = Vec::new();
        for fragment in message.chunks(size) {
            // The version of the first record is the lowest that servers know (RFC 5246 §E.1, RFC 8446 §5.1).
            let version = self.legacy_version.min(TLS10);
            records.extend(record::encode(record::HANDSHAKE, version, fragment).ok_or(HelloError::TooLong)?);
        }
        Ok(records)
    }

    /// The handshake message without a record around it.
    pub(super) fn message(&self) -> Result<Vec<u8>, HelloError> {
        let mut random = [0; 32];
        rand::fill(&mut random)?;
        let mut body = [&self.legacy_version.to_be_bytes()[..], &random].concat();
        // With TLS 1.3, an identifier of a session that never was makes the hello look like one that resumes it, and middleboxes let
        // the answer pass (RFC 8446 §D.4).
        let mut session = [0; 32];
        rand::fill(&mut session)?;
        body.extend(sized(1, if self.offers_tls13() { &session } else { &[] })?);
        body.extend(sized(2, &u16s(&self.suites))?);
        body.extend(sized(1, &self.compression_methods)?);
        let extensions = self.extensions()?;
        if !extensions.is_empty() {
            body.extend(sized(2, &extensions)?);
        }
        Ok([&[CLIENT_HELLO], &sized(3, &body)?[..]].concat())
    }

    fn offers_tls13(&self) -> bool {
        self.supported_versions.contains(&TLS13)
    }

    fn extensions(&self) -> Result<Vec<u8>, HelloError> {
        let mut extensions = Vec::new();
        let mut add = |number: u16, body: &[u8]| {
            extensions.extend(number.to_be_bytes());
            sized(2, body).map(|body| extensions.extend(body))
        };
        if let Some(name) = &self.server_name {
            let name = [&[0], &sized(2, name.as_bytes())?[..]].concat(); // host_name
            add(extension::SERVER_NAME, &sized(2, &name)?)?;
        }
        if !self.groups.is_empty() {
            add(extension::SUPPORTED_GROUPS, &sized(2, &u16s(&self.groups))?)?;
            add(extension::EC_POINT_FORMATS, &[1, 0])?; // uncompressed (RFC 8422 §5.1.2)
        }
        if self.legacy_version >= TLS12 && !self.signature_algorithms.is_empty() {
            add(extension::SIGNATURE_ALGORITHMS, &sized(2, &u16s(&self.signature_algorithms))?)?;
        }
        if !self.alpn.is_empty() {
            let mut protocols = Vec::new();
            for protocol in &self.alpn {
                protocols.extend(sized(1, protocol)?);
            }
            add(extension::ALPN, &sized(2, &protocols)?)?;
        }
        if self.extended_master_secret {
            add(extension::EXTENDED_MASTER_SECRET, &[])?;
        }
        if self.encrypt_then_mac {
            add(extension::ENCRYPT_THEN_MAC, &[])?;
        }
        if self.session_ticket {
            add(extension::SESSION_TICKET, &[])?;
        }
        if !self.supported_versions.is_empty() {
            add(extension::SUPPORTED_VERSIONS, &sized(1, &u16s(&self.supported_versions))?)?;
        }
        if self.offers_tls13() {
            add(extension::KEY_SHARE, &sized(2, &key_share(&self.groups)?)?)?;
        }
        if let Some(info) = &self.renegotiation_info {
            add(extension::RENEGOTIATION_INFO, &sized(1, info)?)?;
        }
        Ok(extensions)
    }
}

/// The numbers of the extensions that a hello has and an answer can have.
pub(super) mod extension {
    pub(in crate::tls) const SERVER_NAME: u16 = 0;
    pub(in crate::tls) const SUPPORTED_GROUPS: u16 = 10;
    pub(in crate::tls) const EC_POINT_FORMATS: u16 = 11;
    pub(in crate::tls) const SIGNATURE_ALGORITHMS: u16 = 13;
    pub(in crate::tls) const ALPN: u16 = 16;
    pub(in crate::tls) const ENCRYPT_THEN_MAC: u16 = 22;
    pub(in crate::tls) const EXTENDED_MASTER_SECRET: u16 = 23;
    pub(in crate::tls) const SESSION_TICKET: u16 = 35;
    pub(in crate::tls) const SUPPORTED_VERSIONS: u16 = 43;
    pub(in crate::tls) const KEY_SHARE: u16 = 51;
    pub(in crate::tls) const RENEGOTIATION_INFO: u16 = 0xff01;
}

const CLIENT_HELLO: u8 = 1;

/// X25519, P-256, P-384, P-521 and X448, and the groups of finite fields (RFC 7919) from 2048 to 8192 bits.
const GROUPS: &[u16] = &[0x001d, 0x0017, 0x0018, 0x0019, 0x001e, 0x0100, 0x0101, 0x0102, 0x0103, 0x0104];

/// Every algorithm that a certificate may need, so that a server has no reason to refuse for the lack of one: ECDSA, EdDSA, RSA-PSS
/// and RSA with SHA-2, then the same and DSA with SHA-1 and SHA-224 (RFC 8446 §4.2.3, RFC 5246 §7.4.1.4.1).
const SIGNATURE_ALGORITHMS: &[u16] = &[
    0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806, 0x0809, 0x080a, 0x080b, 0x0401, 0x0501, 0x0601,
    0x0303, 0x0301, 0x0203, 0x0201, 0x0402, 0x0302, 0x0202,
];

/// The one share of a key exchange, for the first of the `groups` that has an algorithm here. The private key is thrown away: what
/// the server encrypts with it is not read.
fn key_share(groups: &[u16]) -> Result<Vec<u8>, HelloError> {
    let algorithm = |group: &u16| match group {
        0x0017 => Some(&agreement::ECDH_P256),
        0x0018 => Some(&agreement::ECDH_P384),
        0x0019 => Some(&agreement::ECDH_P521),
        0x001d => Some(&agreement::X25519),
        _ => None,
    };
    let Some((group, algorithm)) = groups.iter().find_map(|group| Some((group, algorithm(group)?))) else {
        return Ok(Vec::new());
    };
    let public_key = PrivateKey::generate(algorithm)?.compute_public_key()?;
    Ok([&group.to_be_bytes()[..], &sized(2, public_key.as_ref())?].concat())
}

fn sized(width: usize, content: &[u8]) -> Result<Vec<u8>, HelloError> {
    vector(width, content).ok_or(HelloError::TooLong)
}

#[cfg(test)]
mod tests {
    use super::super::wire::Input;
    use super::*;

    /// The extensions of a hello: number and body.
    fn extensions(hello: &Hello) -> Vec<(u16, Vec<u8>)> {
        let message = hello.message().unwrap();
        let mut input = Input::new(&message);
        assert_eq!(input.u8(), Some(CLIENT_HELLO));
        let mut body = input.vector(3).unwrap();
        assert!(input.is_empty());
        assert_eq!(body.u16(), Some(hello.legacy_version));
        body.take(32).unwrap();
        body.vector(1).unwrap();
        assert_eq!(body.vector(2).unwrap().u16s().as_ref(), Some(&hello.suites));
        assert_eq!(body.vector(1).unwrap().rest(), hello.compression_methods);
        if body.is_empty() {
            return Vec::new();
        }
        let mut list = body.vector(2).unwrap();
        assert!(body.is_empty());
        let mut found = Vec::new();
        while !list.is_empty() {
            found.push((list.u16().unwrap(), list.vector(2).unwrap().rest().to_vec()));
        }
        found
    }

    fn numbers(hello: &Hello) -> Vec<u16> {
        extensions(hello).into_iter().map(|(number, _)| number).collect()
    }

    #[test]
    fn extensions_are_those_that_are_asked_for() {
        assert_eq!(numbers(&Hello::tls12(&[0xc02f])), [10, 11, 13, 23, 22, 35, 0xff01]);
        assert_eq!(numbers(&Hello::tls13()), [10, 11, 13, 23, 22, 35, 43, 51, 0xff01]);
        assert_eq!(
            numbers(&Hello::up_to(TLS11)),
            [10, 11, 23, 22, 35, 0xff01],
            "no signature algorithms before TLS 1.2"
        );
        let full = Hello { alpn: vec![b"h2".to_vec()], ..Hello::both() }.to("localhost");
        assert_eq!(numbers(&full), [0, 10, 11, 13, 16, 23, 22, 35, 43, 51, 0xff01]);
        let bare = Hello {
            groups: Vec::new(),
            signature_algorithms: Vec::new(),
            extended_master_secret: false,
            encrypt_then_mac: false,
            session_ticket: false,
            renegotiation_info: None,
            ..Hello::tls12(&[0x002f])
        };
        assert!(numbers(&bare).is_empty());
        let body = |number| extensions(&full).into_iter().find(|(found, _)| *found == number).unwrap().1;
        assert_eq!(body(0), b"\x00\x0c\x00\x00\x09localhost");
        assert_eq!(body(16), b"\x00\x03\x02h2");
        assert_eq!(body(43), [4, 3, 4, 3, 3]);
        assert_eq!(body(0xff01), [0]);
    }

    #[test]
    fn key_share_is_of_the_first_group_that_can_be_made() {
        let share = |groups: &[u16]| {
            let hello = Hello { groups: groups.to_vec(), ..Hello::tls13() };
            let share = extensions(&hello).into_iter().find(|(number, _)| *number == extension::KEY_SHARE).unwrap().1;
            (share.get(2..4).map(<[u8]>::to_vec), share.len())
        };
        assert_eq!(share(&[0x001e, 0x001d, 0x0017]), (Some(vec![0, 0x1d]), 2 + 4 + 32));
        assert_eq!(share(&[0x0017]), (Some(vec![0, 0x17]), 2 + 4 + 65));
        assert_eq!(share(&[0x001e]), (None, 2));
    }

    #[test]
    fn records_hold_as_much_as_they_are_told_to() {
        let hello = Hello::both();
        let whole = hello.encode().unwrap();
        assert_eq!(whole[..3], [22, 3, 1]);
        let length = whole.len() - 5;
        let halves = Hello { bytes_per_record: Some(length / 2 + 1), ..hello.clone() }.encode().unwrap();
        assert_eq!(halves.len(), length + 2 * 5);
        let mut stream = &halves[..];
        let first = record::read(&mut stream).unwrap();
        let second = record::read(&mut stream).unwrap();
        assert_eq!((first.body.len(), second.body.len(), stream.len()), (length / 2 + 1, length - length / 2 - 1, 0));
        assert_ne!(whole, hello.encode().unwrap(), "its random numbers are new each time");
        assert!(Hello { bytes_per_record: Some(0), ..hello }.encode().is_ok());
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let hello = Hello { alpn: vec![vec![b'a'; 255]], ..Hello::both() };
        assert!(hello.encode().is_ok());
        assert_eq!(Hello { alpn: vec![vec![b'a'; 256]], ..hello.clone() }.encode(), Err(HelloError::TooLong));
        assert_eq!(Hello { suites: vec![0; 0x8000], ..hello }.encode(), Err(HelloError::TooLong));
    }
}
