//! Whether a server renegotiates when the client asks for it.
//!
//! Each time, the server computes another handshake, as often as the client likes. TLS 1.3 has no renegotiation, and HTTP/2 forbids it
//! with TLS 1.2 (RFC 9113 §9.2.1); RFC 9325 §3.5 demands that whoever renegotiates does it securely.
//!
//! A handshake of TLS 1.2 is made by a library, which gives the keys away when it is done. Then a second ClientHello is sent under
//! these keys, tied to the first handshake by `renegotiation_info` (RFC 5746 §3.5). A ServerHello means that the server renegotiates;
//! the second handshake goes no further.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, ClientConnection, RootCertStore};

use super::alert::Alert;
use super::flight::{MAX_RECORDS, SERVER_HELLO};
use super::hello::{Hello, TLS12};
use super::protection::Protection;
use super::record::{self, Failure};
use super::suites::{self, Class};
use super::wire::Input;
use crate::socket::Socket;

/// What a server does when a client asks to renegotiate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renegotiation {
    /// It does not renegotiate.
    Refused(Refusal),
    /// It answers with a ServerHello.
    Accepted,
    /// It has no TLS 1.2, and what it has cannot renegotiate.
    NoTls12,
    /// It cannot be said, and why: such as that the first handshake fails.
    Unclear(String),
}

/// How a server refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// With an alert: [`Alert::NO_RENEGOTIATION`] is meant for it (RFC 5246 §7.2.2).
    Alert(Alert),
    /// It closes the connection.
    Closed,
    /// It resets the connection.
    Reset,
    /// It does nothing until the deadline, and keeps the connection.
    Ignored,
}

/// A certificate with the chain behind it, and its private key.
pub type ClientCertificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Connects to `address`, makes a handshake of TLS 1.2 with `server_name`, and asks to renegotiate.
///
/// The certificate of the server is verified with `roots`; `client` is what is presented to a server that asks for a certificate. The
/// handshake may take `timeout`, and so may the answer after it.
pub fn ask(
    address: SocketAddr,
    server_name: ServerName<'static>,
    roots: RootCertStore,
    client: Option<ClientCertificate>,
    timeout: Duration,
) -> Renegotiation {
    let established = config(roots, client)
        .map_err(|error| unclear("the certificate of the client cannot be used", error))
        .and_then(|config| Session::establish(address, server_name, config, timeout));
    match established {
        Ok(session) => session.renegotiate(timeout),
        Err(otherwise) => otherwise,
    }
}

/// TLS 1.2 without resumption, whose handshakes have other messages.
fn config(roots: RootCertStore, client: Option<ClientCertificate>) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(default_provider().into())
        .with_protocol_versions(&[&rustls::version::TLS12])?
        .with_root_certificates(roots);
    let mut config = match client {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.enable_secret_extraction = true;
    Ok(config)
}

/// A connection after its first handshake.
pub(super) struct Session {
    stream: Socket,
    server_name: ServerName<'static>,
    writes: Protection,
    reads: Protection,
    /// What the Finished of the client says about the first handshake (RFC 5246 §7.4.9).
    pub(super) verify_data: Vec<u8>,
}

impl Session {
    pub(super) fn establish(
        address: SocketAddr,
        server_name: ServerName<'static>,
        config: ClientConfig,
        timeout: Duration,
    ) -> Result<Self, Renegotiation> {
        let broken = |error: io::Error| unclear("the connection fails", error);
        let failed = |error: rustls::Error| unclear("the first handshake fails", error);
        let mut stream = Socket::connect(address, timeout).map_err(broken)?;
        let mut connection = ClientConnection::new(Arc::new(config), server_name.clone()).map_err(failed)?;
        let mut sent = Vec::new();
        for _ in 0..MAX_RECORDS {
            let before = sent.len();
            while connection.wants_write() {
                connection.write_tls(&mut sent).map_err(broken)?;
            }
            stream.write_all(sent.get(before..).unwrap_or_default()).map_err(broken)?;
            if !connection.is_handshaking() {
                break;
            }
            // One record at a time, so that the library has none when it gives the keys away.
            let record =
                record::read(&mut stream).map_err(|failure| interrupted("the first handshake fails", failure))?;
            let bytes = record.encode().unwrap_or_default();
            connection.read_tls(&mut &bytes[..]).map_err(broken)?;
            match connection.process_new_packets() {
                Ok(_) => {}
                Err(rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)) => {
                    return Err(Renegotiation::NoTls12);
                }
                Err(error) => {
                    // The peer is told, if it still listens.
                    let mut alert = Vec::new();
                    let _ = connection.write_tls(&mut alert).and_then(|_| stream.write_all(&alert));
                    return Err(failed(error));
                }
            }
        }
        let secrets = connection.dangerous_extract_secrets().map_err(failed)?;
        let (sequence, keys) = secrets.tx;
        let unusable = || Renegotiation::Unclear("the first handshake has a cipher that cannot be used".to_owned());
        // The Finished of the client is the first record that the keys protect.
        let mut writes = Protection::new(0, &keys).ok_or_else(unusable)?;
        let verify_data =
            verify_data(&sent, &mut writes).filter(|_| writes.sequence == sequence).ok_or_else(unusable)?;
        let (sequence, keys) = secrets.rx;
        let reads = Protection::new(sequence, &keys).ok_or_else(unusable)?;
        Ok(Self { stream, server_name, writes, reads, verify_data })
    }

    /// Sends the second hello, and reads what the server makes of it.
    pub(super) fn renegotiate(mut self, timeout: Duration) -> Renegotiation {
        self.stream.extend(timeout);
        let suites = suites::numbers(&[Class::Recommended, Class::OtherAead]);
        let mut hello = Hello { renegotiation_info: Some(self.verify_data.clone()), ..Hello::tls12(&suites) };
        if let ServerName::DnsName(name) = &self.server_name {
            hello = hello.to(name.as_ref());
        }
        let message = match hello.message() {
            Ok(message) => message,
            Err(error) => return Renegotiation::Unclear(error.to_string()),
        };
        let sealed = self.writes.seal(record::HANDSHAKE, &message);
        let Some(bytes) = sealed.and_then(|body| record::encode(record::HANDSHAKE, TLS12, &body)) else {
            return Renegotiation::Unclear("the second hello cannot be encrypted".to_owned());
        };
        // A server that left before it has refused nothing, and the error says so; one that leaves because of it has received it.
        if let Err(error) = self.stream.write_all(&bytes) {
            return unclear("the connection fails after the first handshake", error);
        }
        self.answer()
    }

    fn answer(&mut self) -> Renegotiation {
        for _ in 0..MAX_RECORDS {
            let record = match record::read(&mut self.stream) {
                Ok(record) => record,
                Err(Failure::Closed) => return Renegotiation::Refused(Refusal::Closed),
                Err(Failure::Reset) => return Renegotiation::Refused(Refusal::Reset),
                Err(Failure::Timeout) => return Renegotiation::Refused(Refusal::Ignored),
                Err(failure @ (Failure::Garbage(_) | Failure::Io(_))) => return interrupted("no answer", failure),
            };
            let Some(plaintext) = self.reads.open(record.kind, &record.body) else {
                return Renegotiation::Unclear("a record of the server cannot be decrypted".to_owned());
            };
            let answer = match record.kind {
                record::ALERT => alert(&plaintext),
                record::HANDSHAKE => handshake(&plaintext),
                record::APPLICATION_DATA => None,
                _ => Some(Renegotiation::Unclear("the server changes its cipher".to_owned())),
            };
            if let Some(answer) = answer {
                return answer;
            }
        }
        Renegotiation::Unclear("the server sends other things than an answer".to_owned())
    }
}

/// What an alert means, unless it is a warning about something else.
fn alert(plaintext: &[u8]) -> Option<Renegotiation> {
    let Some(alert) = Alert::read(plaintext) else {
        return Some(Renegotiation::Unclear("the server sends an alert of another length".to_owned()));
    };
    if alert.description == Alert::CLOSE_NOTIFY {
        Some(Renegotiation::Refused(Refusal::Closed))
    } else if alert.ends() || alert.description == Alert::NO_RENEGOTIATION {
        Some(Renegotiation::Refused(Refusal::Alert(alert)))
    } else {
        None
    }
}

/// What the first message of a handshake means. A HelloRequest (RFC 5246 §7.4.1.1) may have crossed the hello.
fn handshake(plaintext: &[u8]) -> Option<Renegotiation> {
    const HELLO_REQUEST: [u8; 4] = [0; 4];
    let mut message = plaintext;
    while let Some(rest) = message.strip_prefix(&HELLO_REQUEST) {
        message = rest;
    }
    Some(match message.first()? {
        &SERVER_HELLO => Renegotiation::Accepted,
        kind => Renegotiation::Unclear(format!("the server answers with a handshake message of type {kind}")),
    })
}

/// What the Finished of the client says, which is the record after ChangeCipherSpec in what was `sent`.
fn verify_data(mut sent: &[u8], writes: &mut Protection) -> Option<Vec<u8>> {
    const FINISHED: u8 = 20;
    while record::read(&mut sent).ok()?.kind != record::CHANGE_CIPHER_SPEC {}
    let finished = record::read(&mut sent).ok()?;
    let plaintext = writes.open(finished.kind, &finished.body)?;
    let mut message = Input::new(&plaintext);
    (message.u8()? == FINISHED).then_some(())?;
    Some(message.vector(3)?.rest().to_vec())
}

fn interrupted(what: &str, failure: Failure) -> Renegotiation {
    Renegotiation::Unclear(match failure {
        Failure::Closed => format!("{what}: the connection is closed"),
        Failure::Reset => format!("{what}: the connection is reset"),
        Failure::Timeout => format!("{what}: the server says nothing"),
        Failure::Garbage(why) => format!("{what}: {why}"),
        Failure::Io(kind) => format!("{what}: {kind}"),
    })
}

fn unclear(what: &str, error: impl std::error::Error) -> Renegotiation {
    Renegotiation::Unclear(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_hello_is_acceptance() {
        assert_eq!(handshake(&[SERVER_HELLO, 0, 0, 70]), Some(Renegotiation::Accepted));
        assert_eq!(handshake(&[0, 0, 0, 0, SERVER_HELLO]), Some(Renegotiation::Accepted));
        assert_eq!(handshake(&[0; 8]), None);
        assert!(matches!(handshake(&[0, 0, 0]), Some(Renegotiation::Unclear(_))));
        assert!(matches!(handshake(&[11, 0, 0, 0]), Some(Renegotiation::Unclear(_))));
    }

    #[test]
    fn warnings_about_something_else_are_no_answer() {
        let refused = |level, description| {
            let refusal = Refusal::Alert(Alert { level, description });
            Some(Renegotiation::Refused(refusal))
        };
        assert_eq!(alert(&[1, 100]), refused(1, 100));
        assert_eq!(alert(&[2, 100]), refused(2, 100));
        assert_eq!(alert(&[2, 40]), refused(2, 40));
        assert_eq!(alert(&[1, 112]), None);
        assert_eq!(alert(&[1, 0]), Some(Renegotiation::Refused(Refusal::Closed)));
        assert!(matches!(alert(&[1]), Some(Renegotiation::Unclear(_))));
    }
}
