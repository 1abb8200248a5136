//! The plaintext that answers a ClientHello, read no further than it is in plaintext and never without bounds.

use std::io::Read;
use std::mem;

use rustls::pki_types::CertificateDer;

use super::alert::Alert;
use super::hello::{TLS12, TLS13, extension};
use super::record::{self, Failure};
use super::suites::{self, Exchange, Suite};
use super::wire::Input;

/// How many bytes of an answer are read. A list of authorities may have 64 KiB (RFC 5246 §7.4.4), and so may a long chain.
pub const MAX_BYTES: usize = 256 << 10;
/// How many records of an answer are read.
pub const MAX_RECORDS: usize = 256;

/// What a server answers to a ClientHello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It goes on with one of the offers.
    Flight(Flight),
    /// It would go on with one of the offers, if the client sent a key share for another group (RFC 8446 §4.1.4).
    HelloRetryRequest(ServerHello),
    /// It says what is wrong.
    Alert(Alert),
    /// It closes the connection without a word.
    Closed,
    /// It resets the connection without a word.
    Reset,
    /// It says nothing until the deadline.
    Timeout,
    /// What it says is not TLS, and how that shows.
    Garbage(&'static str),
    /// It was not asked, and why: there is no connection, or no such hello.
    NotAsked(String),
}

impl Answer {
    /// What the server chose, if it goes on.
    pub fn hello(&self) -> Option<&ServerHello> {
        match self {
            Self::Flight(flight) => Some(&flight.hello),
            Self::HelloRetryRequest(hello) => Some(hello),
            Self::Alert(_) | Self::Closed | Self::Reset | Self::Timeout | Self::Garbage(_) | Self::NotAsked(_) => None,
        }
    }

    /// Whether the server says no: with an alert, or by leaving.
    pub fn refuses(&self) -> bool {
        match self {
            Self::Alert(_) | Self::Closed | Self::Reset => true,
            Self::Flight(_) | Self::HelloRetryRequest(_) => false,
            Self::Timeout | Self::Garbage(_) | Self::NotAsked(_) => false,
        }
    }
}

/// What a server chose (RFC 5246 §7.4.1.3, RFC 8446 §4.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHello {
    /// The version: of the extension `supported_versions` if it is there, else of the field.
    pub version: u16,
    /// The cipher suite.
    pub suite: u16,
    /// The compression method; 0 is none.
    pub compression: u8,
    /// Whether it knows how to renegotiate securely (RFC 5746 §3.6).
    pub renegotiation_info: bool,
    /// Whether the extended master secret is used (RFC 7627).
    pub extended_master_secret: bool,
    /// Whether the MAC of a block cipher covers the ciphertext (RFC 7366).
    pub encrypt_then_mac: bool,
    /// The application protocol; with TLS 1.3 it is encrypted, and `None` here.
    pub alpn: Option<Vec<u8>>,
    /// Whether a session ticket will come (RFC 5077 §3.2); with TLS 1.3 that is not said here.
    pub session_ticket: bool,
    /// With TLS 1.3, the group of its key share, or the one for which a HelloRetryRequest asks.
    pub group: Option<u16>,
}

/// The messages from ServerHello to ServerHelloDone (RFC 5246 §7.3). With TLS 1.3 all but the first are encrypted, and missing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flight {
    /// What the server chose.
    pub hello: ServerHello,
    /// Its certificate, followed by those of the authorities that it sends along. Nothing of it is verified.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The parameters of its key exchange, if the suite has some.
    pub key_exchange: Option<KeyExchange>,
    /// What it asks for if it asks for a client certificate.
    pub certificate_request: Option<CertificateRequest>,
    /// What ended the flight.
    pub end: End,
}

/// The parameters in a ServerKeyExchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyExchange {
    /// The named curve (RFC 8422 §5.4).
    Curve(u16),
    /// A prime of so many bits (RFC 5246 §7.4.3).
    Prime(usize),
    /// Those of another kind, such as a curve that the server describes itself.
    Other,
}

/// What a CertificateRequest says (RFC 5246 §7.4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    /// The types of certificates.
    pub types: Vec<u8>,
    /// The signature algorithms; none before TLS 1.2.
    pub signature_algorithms: Vec<u16>,
    /// How many bytes the list of authorities has.
    pub authorities_bytes: usize,
}

/// What ended a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// ServerHelloDone: everything is there.
    Done,
    /// What follows is encrypted: TLS 1.3.
    Encrypted,
    /// The server changed its mind.
    Alert(Alert),
    /// The connection was closed.
    Closed,
    /// The connection was reset, or broke in another way.
    Reset,
    /// Nothing more came until the deadline.
    Timeout,
    /// What follows is not TLS, and how that shows.
    Garbage(&'static str),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Closed => Self::Closed,
            Failure::Reset | Failure::Io(_) => Self::Reset,
            Failure::Timeout => Self::Timeout,
            Failure::Garbage(why) => Self::Garbage(why),
        }
    }
}

/// Reads what answers a ClientHello, at most [`MAX_BYTES`] in [`MAX_RECORDS`]. The deadline is the stream's: it fails with
/// [`TimedOut`](std::io::ErrorKind::TimedOut) or [`WouldBlock`](std::io::ErrorKind::WouldBlock).
pub fn read(stream: &mut impl Read) -> Answer {
    let mut reader = Reader::default();
    let end = reader.run(stream);
    reader.answer(end)
}

#[derive(Default)]
struct Reader {
    /// The bytes of the handshake that are not a whole message yet.
    pending: Vec<u8>,
    /// The last warning.
    warning: Option<Alert>,
    /// Whether `flight` is a HelloRetryRequest.
    retry: bool,
    flight: Option<Flight>,
}

impl Reader {
    fn run(&mut self, stream: &mut impl Read) -> End {
        let mut bytes = 0;
        for _ in 0..MAX_RECORDS {
            let record = match record::read(stream) {
                Ok(record) => record,
                Err(failure) => return failure.into(),
            };
            bytes += record.body.len();
            if bytes > MAX_BYTES {
                return End::Garbage("more bytes than any handshake needs");
            }
            let end = match record.kind {
                record::ALERT => self.alert(&record.body),
                record::HANDSHAKE => self.handshake(&record.body),
                _ => Some(End::Garbage("a record that is not of the handshake")),
            };
            if let Some(end) = end {
                return end;
            }
        }
        End::Garbage("more records than any handshake needs")
    }

    fn answer(self, end: End) -> Answer {
        match (self.flight, end) {
            (Some(flight), _) if self.retry => Answer::HelloRetryRequest(flight.hello),
            (Some(flight), end) => Answer::Flight(Flight { end, ..flight }),
            (None, End::Alert(alert)) => Answer::Alert(alert),
            (None, End::Garbage(why)) => Answer::Garbage(why),
            // A ServerHello comes before both.
            (None, End::Done | End::Encrypted) => Answer::Garbage("no hello"),
            (None, End::Closed) => self.warning.map_or(Answer::Closed, Answer::Alert),
            (None, End::Reset) => self.warning.map_or(Answer::Reset, Answer::Alert),
            (None, End::Timeout) => self.warning.map_or(Answer::Timeout, Answer::Alert),
        }
    }

    /// A server may warn and go on, such as with `unrecognized_name` (RFC 6066 §3).
    fn alert(&mut self, body: &[u8]) -> Option<End> {
        let Some(alert) = Alert::read(body) else { return Some(End::Garbage("an alert of another length")) };
        if alert.ends() {
            return Some(End::Alert(alert));
        }
        self.warning = Some(alert);
        None
    }

    /// A message may have several records, and a record several messages (RFC 5246 §6.2.1).
    fn handshake(&mut self, body: &[u8]) -> Option<End> {
        self.pending.extend(body);
        let pending = mem::take(&mut self.pending);
        let mut input = Input::new(&pending);
        loop {
            let before = input;
            let (kind, message) = match (input.u8(), input.vector(3)) {
                (Some(kind), Some(message)) => (kind, message),
                (_, None) | (None, _) => {
                    self.pending = before.rest().to_vec();
                    return None;
                }
            };
            let end = self.message(kind, message);
            if end.is_some() {
                return end;
            }
        }
    }

    fn message(&mut self, kind: u8, message: Input<'_>) -> Option<End> {
        const MALFORMED: Option<End> = Some(End::Garbage("a handshake message that is malformed"));
        match (kind, &mut self.flight) {
            // A HelloRequest may come at any time, and means nothing during a handshake (RFC 5246 §7.4.1.1).
            (0, _) => None,
            (SERVER_HELLO, None) => {
                let Some((hello, retry)) = server_hello(message) else { return MALFORMED };
                self.retry = retry;
                let encrypted = retry || hello.version >= TLS13;
                let end = if encrypted { End::Encrypted } else { End::Done };
                self.flight = Some(Flight {
                    hello,
                    certificates: Vec::new(),
                    key_exchange: None,
                    certificate_request: None,
                    end,
                });
                encrypted.then_some(end)
            }
            (CERTIFICATE, Some(flight)) => {
                let Some(certificates) = certificates(message) else { return MALFORMED };
                flight.certificates = certificates;
                None
            }
            (SERVER_KEY_EXCHANGE, Some(flight)) => {
                let suite = suites::find(flight.hello.suite);
                let exchange = suite.map_or(Exchange::Other, Suite::key_exchange);
                let Some(found) = key_exchange(message, exchange) else { return MALFORMED };
                flight.key_exchange = Some(found);
                None
            }
            (CERTIFICATE_REQUEST, Some(flight)) => {
                let Some(request) = certificate_request(message, flight.hello.version) else { return MALFORMED };
                flight.certificate_request = Some(request);
                None
            }
            (CERTIFICATE_STATUS, Some(_)) => None,
            (SERVER_HELLO_DONE, Some(_)) if message.is_empty() => Some(End::Done),
            (SERVER_HELLO_DONE, Some(_)) => MALFORMED,
            (_, _) => Some(End::Garbage("a handshake message out of place")),
        }
    }
}

pub(super) const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const SERVER_KEY_EXCHANGE: u8 = 12;
const CERTIFICATE_REQUEST: u8 = 13;
const SERVER_HELLO_DONE: u8 = 14;
const CERTIFICATE_STATUS: u8 = 22;

/// The random number that makes a HelloRetryRequest of a ServerHello (RFC 8446 §4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// What the server chose, and whether it asks for another hello.
fn server_hello(mut message: Input<'_>) -> Option<(ServerHello, bool)> {
    let legacy_version = message.u16()?;
    let random = message.take(32)?;
    message.vector(1)?; // the identifier of the session
    let mut hello = ServerHello {
        version: legacy_version,
        suite: message.u16()?,
        compression: message.u8()?,
        renegotiation_info: false,
        extended_master_secret: false,
        encrypt_then_mac: false,
        alpn: None,
        session_ticket: false,
        group: None,
    };
    let mut extensions = if message.is_empty() { message } else { message.vector(2)? };
    if !message.is_empty() {
        return None;
    }
    while !extensions.is_empty() {
        let number = extensions.u16()?;
        let mut body = extensions.vector(2)?;
        match number {
            extension::SUPPORTED_VERSIONS => hello.version = body.u16()?,
            extension::RENEGOTIATION_INFO => hello.renegotiation_info = true,
            extension::EXTENDED_MASTER_SECRET => hello.extended_master_secret = true,
            extension::ENCRYPT_THEN_MAC => hello.encrypt_then_mac = true,
            extension::SESSION_TICKET => hello.session_ticket = true,
            extension::ALPN => hello.alpn = Some(body.vector(2)?.vector(1)?.rest().to_vec()),
            extension::KEY_SHARE => hello.group = Some(body.u16()?),
            _ => {}
        }
    }
    Some((hello, random == RETRY))
}

fn certificates(mut message: Input<'_>) -> Option<Vec<CertificateDer<'static>>> {
    let mut list = message.vector(3)?;
    let mut certificates = Vec::new();
    while !list.is_empty() {
        certificates.push(list.vector(3)?.rest().to_vec().into());
    }
    message.is_empty().then_some(certificates)
}

/// The parameters at the beginning of the message; what follows them, such as the signature, is not looked at.
fn key_exchange(mut message: Input<'_>, exchange: Exchange) -> Option<KeyExchange> {
    const NAMED_CURVE: u8 = 3;
    Some(match exchange {
        Exchange::Curve if message.u8()? == NAMED_CURVE => KeyExchange::Curve(message.u16()?),
        Exchange::Prime => KeyExchange::Prime(bits(message.vector(2)?.rest())),
        Exchange::Curve | Exchange::Other => KeyExchange::Other,
    })
}

/// How many bits a number has without leading zeros.
fn bits(number: &[u8]) -> usize {
    let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    let significant = number.get(first..).unwrap_or_default();
    significant.first().map_or(0, |byte| significant.len() * 8 - byte.leading_zeros() as usize)
}

fn certificate_request(mut message: Input<'_>, version: u16) -> Option<CertificateRequest> {
    let types = message.vector(1)?.rest().to_vec();
    let signature_algorithms = if version >= TLS12 { message.vector(2)?.u16s()? } else { Vec::new() };
    let authorities_bytes = message.vector(2)?.rest().len();
    message.is_empty().then_some(CertificateRequest { types, signature_algorithms, authorities_bytes })
}

#[cfg(test)]
mod tests {
    use super::super::record::{ALERT, APPLICATION_DATA, HANDSHAKE};
    use super::super::wire::{u16s, vector};
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind], &vector(3, body).unwrap()[..]].concat()
    }

    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        record::encode(kind, TLS12, body).unwrap()
    }

    fn hello(random: [u8; 32], suite: u16, extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut list = Vec::new();
        for (number, body) in extensions {
            list.extend([&number.to_be_bytes()[..], &vector(2, body).unwrap()].concat());
        }
        let fixed =
            [&TLS12.to_be_bytes()[..], &random, &vector(1, &[7; 32]).unwrap(), &suite.to_be_bytes(), &[0]].concat();
        message(SERVER_HELLO, &[fixed, vector(2, &list).unwrap()].concat())
    }

    /// A flight of TLS 1.2 with everything in it.
    fn messages() -> Vec<Vec<u8>> {
        let certificates = [vector(3, b"leaf").unwrap(), vector(3, b"issuer").unwrap()].concat();
        let request = [
            vector(1, &[1, 64]).unwrap(),
            vector(2, &u16s(&[0x0403, 0x0804])).unwrap(),
            vector(2, &vector(2, b"an authority").unwrap()).unwrap(),
        ];
        let extensions: [(u16, &[u8]); 5] = [
            (extension::RENEGOTIATION_INFO, &[0]),
            (extension::EXTENDED_MASTER_SECRET, &[]),
            (extension::ENCRYPT_THEN_MAC, &[]),
            (extension::SESSION_TICKET, &[]),
            (extension::ALPN, b"\x00\x03\x02h2"),
        ];
        vec![
            hello([1; 32], 0xc02f, &extensions),
            message(CERTIFICATE, &vector(3, &certificates).unwrap()),
            message(CERTIFICATE_STATUS, b"anything"),
            message(SERVER_KEY_EXCHANGE, &[3, 0, 0x17, 1, 4, 0]),
            message(CERTIFICATE_REQUEST, &request.concat()),
            message(SERVER_HELLO_DONE, &[]),
        ]
    }

    fn flight() -> Flight {
        Flight {
            hello: ServerHello {
                version: TLS12,
                suite: 0xc02f,
                compression: 0,
                renegotiation_info: true,
                extended_master_secret: true,
                encrypt_then_mac: true,
                alpn: Some(b"h2".to_vec()),
                session_ticket: true,
                group: None,
            },
            certificates: vec![b"leaf".to_vec().into(), b"issuer".to_vec().into()],
            key_exchange: Some(KeyExchange::Curve(0x17)),
            certificate_request: Some(CertificateRequest {
                types: vec![1, 64],
                signature_algorithms: vec![0x0403, 0x0804],
                authorities_bytes: 14,
            }),
            end: End::Done,
        }
    }

    fn answer(bytes: &[u8]) -> Answer {
        read(&mut &bytes[..])
    }

    #[test]
    fn a_flight_is_the_same_in_one_record_and_in_many() {
        let messages = messages().concat();
        assert_eq!(answer(&record(HANDSHAKE, &messages)), Answer::Flight(flight()));
        for size in [1, 3, 100] {
            let records: Vec<u8> = messages.chunks(size).flat_map(|chunk| record(HANDSHAKE, chunk)).collect();
            assert_eq!(answer(&records), Answer::Flight(flight()), "{size}");
        }
    }

    #[test]
    fn how_a_flight_ends_is_told() {
        let mut messages = messages();
        messages.truncate(2);
        let begin = record(HANDSHAKE, &messages.concat());
        let end = |rest: &[u8]| {
            let answer = answer(&[&begin, rest].concat());
            let Answer::Flight(flight) = answer else { panic!("{answer:?}") };
            flight.end
        };
        let fatal = Alert { level: 2, description: Alert::HANDSHAKE_FAILURE };
        assert_eq!(end(&record(HANDSHAKE, &message(SERVER_HELLO_DONE, &[]))), End::Done, "control");
        assert_eq!(end(&[]), End::Closed);
        assert_eq!(end(&record(ALERT, &[2, 40])), End::Alert(fatal));
        assert_eq!(end(&record(ALERT, &[1, 112])), End::Closed, "a warning ends nothing");
        assert_eq!(end(b"HTTP/1.1 "), End::Garbage("not a record of TLS"));
        assert_eq!(end(&record(HANDSHAKE, &messages.concat())), End::Garbage("a handshake message out of place"));
        let done = record(HANDSHAKE, &message(SERVER_HELLO_DONE, &[0]));
        assert_eq!(end(&done), End::Garbage("a handshake message that is malformed"));
    }

    #[test]
    fn without_a_hello_the_alert_or_the_end_is_the_answer() {
        let warning = Alert { level: 1, description: 112 };
        let fatal = Alert { level: 2, description: Alert::PROTOCOL_VERSION };
        assert_eq!(answer(&[]), Answer::Closed);
        assert_eq!(answer(&record(ALERT, &[2, 70])), Answer::Alert(fatal));
        assert_eq!(answer(&record(ALERT, &[1, 112])), Answer::Alert(warning));
        let warned = [record(ALERT, &[1, 112]), record(HANDSHAKE, &messages().concat())].concat();
        assert_eq!(answer(&warned), Answer::Flight(flight()), "it may warn and go on");
        assert_eq!(answer(&record(ALERT, &[2])), Answer::Garbage("an alert of another length"));
        assert_eq!(answer(&record(APPLICATION_DATA, &[0])), Answer::Garbage("a record that is not of the handshake"));
        assert!(answer(&[]).refuses() && !answer(&warned).refuses() && !answer(b"HTTP/1.1 400").refuses());
    }

    #[test]
    fn nothing_is_read_after_a_hello_of_tls_1_3() {
        let extensions: [(u16, &[u8]); 2] =
            [(extension::SUPPORTED_VERSIONS, &[3, 4]), (extension::KEY_SHARE, &[0, 0x1d, 0, 1, 9])];
        let chosen = |answer: &Answer| answer.hello().map(|hello| (hello.version, hello.suite, hello.group));
        let accepted = answer(&record(HANDSHAKE, &hello([1; 32], 0x1301, &extensions)));
        assert!(matches!(&accepted, Answer::Flight(flight) if flight.end == End::Encrypted), "{accepted:?}");
        assert_eq!(chosen(&accepted), Some((TLS13, 0x1301, Some(0x1d))));

        let group: [(u16, &[u8]); 2] = [(extension::SUPPORTED_VERSIONS, &[3, 4]), (extension::KEY_SHARE, &[0, 0x17])];
        let retry = answer(&record(HANDSHAKE, &hello(RETRY, 0x1302, &group)));
        assert!(matches!(retry, Answer::HelloRetryRequest(_)), "{retry:?}");
        assert_eq!(chosen(&retry), Some((TLS13, 0x1302, Some(0x17))));
    }

    #[test]
    fn key_exchanges_are_told_apart_by_the_suite() {
        let curve = |bytes| key_exchange(Input::new(bytes), Exchange::Curve);
        assert_eq!(curve(&[3, 0, 0x1d, 1]), Some(KeyExchange::Curve(0x1d)));
        assert_eq!(curve(&[1, 0, 0]), Some(KeyExchange::Other));
        assert_eq!(curve(&[3, 0]), None);
        let prime = |prime: &[u8]| key_exchange(Input::new(&vector(2, prime).unwrap()), Exchange::Prime);
        assert_eq!(prime(&[0xff; 256]), Some(KeyExchange::Prime(2048)));
        assert_eq!(prime(&[&[0, 0x7f][..], &[1; 127]].concat()), Some(KeyExchange::Prime(1023)));
        assert_eq!(prime(&[0, 0]), Some(KeyExchange::Prime(0)));
        assert_eq!(key_exchange(Input::new(&[0]), Exchange::Prime), None);
    }

    #[test]
    fn more_than_a_handshake_needs_is_not_read() {
        let empty = record(HANDSHAKE, &[]).repeat(MAX_RECORDS + 1);
        assert_eq!(answer(&empty), Answer::Garbage("more records than any handshake needs"));
        let mut stream = &empty[..];
        read(&mut stream);
        assert_eq!(stream.len(), 5, "one record is left");

        let endless = [&[CERTIFICATE, 0xff, 0xff, 0xff][..], &[0; record::MAX_PLAINTEXT - 4]].concat();
        let endless = record(HANDSHAKE, &endless).repeat(MAX_BYTES / record::MAX_PLAINTEXT + 1);
        assert_eq!(answer(&endless), Answer::Garbage("more bytes than any handshake needs"));
    }

    /// The bytes of a generator of random numbers that starts anywhere but at zero.
    fn random(state: &mut u64) -> usize {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state as usize
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let whole = record(HANDSHAKE, &messages().concat());
        let split: Vec<u8> = messages().iter().flat_map(|message| record(HANDSHAKE, message)).collect();
        for bytes in [&whole, &split] {
            for length in 0..bytes.len() {
                let answer = answer(&bytes[..length]);
                assert!(!matches!(&answer, Answer::Flight(flight) if flight.end == End::Done), "{length} {answer:?}");
            }
        }
        let (mut state, mut flights, mut malformed) = (0x5eed, 0, 0);
        for _ in 0..50_000 {
            let mut bytes = if random(&mut state).is_multiple_of(2) { whole.clone() } else { split.clone() };
            for _ in 0..1 + random(&mut state) % 4 {
                let at = random(&mut state) % bytes.len();
                bytes[at] = random(&mut state) as u8;
            }
            let answer = answer(&bytes);
            flights += usize::from(matches!(answer, Answer::Flight(_)));
            malformed += usize::from(matches!(answer, Answer::Garbage(_)));
        }
        assert!(flights > 1000 && malformed > 1000, "control: both come about, {flights} and {malformed} times");
        for _ in 0..20_000 {
            let length = random(&mut state) % 64;
            let body: Vec<u8> = (0..length).map(|_| random(&mut state) as u8).collect();
            for kind in [0, SERVER_HELLO, CERTIFICATE, SERVER_KEY_EXCHANGE, CERTIFICATE_REQUEST, SERVER_HELLO_DONE] {
                answer(&record(HANDSHAKE, &[messages()[0].clone(), message(kind, &body)].concat()));
                answer(&record(HANDSHAKE, &message(kind, &body)));
            }
        }
    }
}
