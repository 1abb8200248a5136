//! Servers that renegotiate, and servers that do not.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use sandbox::pki::{Authority, Credential};
use sandbox::tls::{client_config, tls_config};

use super::openssl::OpenSsl;
use super::servers::{Rustls, one, read_record};
use crate::tls::Alert;
use crate::tls::renegotiation::{self, Refusal, Renegotiation, Session};

const TIMEOUT: Duration = Duration::from_secs(20);

fn ask(address: SocketAddr, authority: &Authority, client: Option<&Credential>) -> Renegotiation {
    ask_within(TIMEOUT, address, authority, client)
}

fn ask_within(
    timeout: Duration,
    address: SocketAddr,
    authority: &Authority,
    client: Option<&Credential>,
) -> Renegotiation {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let client = client.map(|client| (client.chain_der.clone(), client.private_key()));
    renegotiation::ask(address, localhost(), roots, client, timeout)
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

const REFUSED: Renegotiation =
    Renegotiation::Refused(Refusal::Alert(Alert { level: 1, description: Alert::NO_RENEGOTIATION }));

fn unclear(answer: &Renegotiation, why: &str) {
    assert!(matches!(answer, Renegotiation::Unclear(reason) if reason.contains(why)), "{answer:?}");
}

#[test]
fn openssl_renegotiates_only_if_it_is_told_to() {
    let authority = Authority::new("ours");
    let credential = authority.server(&["localhost"]);
    for cipher in ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"] {
        let cipher = format!("ECDHE-ECDSA-{cipher}");
        let accepting = OpenSsl::start(&credential, &["-cipher", &cipher, "-client_renegotiation"]);
        assert_eq!(ask(accepting.address(), &authority, None), Renegotiation::Accepted, "{cipher}");
        let refusing = OpenSsl::start(&credential, &["-cipher", &cipher]);
        assert_eq!(ask(refusing.address(), &authority, None), REFUSED, "{cipher}");
    }
}

#[test]
fn a_hello_that_is_not_tied_to_the_first_handshake_is_refused() {
    let authority = Authority::new("ours");
    let server = OpenSsl::start(&authority.server(&["localhost"]), &["-tls1_2", "-client_renegotiation"]);
    let renegotiate = |change: u8| {
        let mut config = client_config(&authority, None);
        config.enable_secret_extraction = true;
        let mut session = Session::establish(server.address(), localhost(), config, TIMEOUT).map_err(drop).unwrap();
        assert_eq!(session.verify_data.len(), 12);
        session.verify_data[0] ^= change;
        session.renegotiate(TIMEOUT)
    };
    assert_eq!(renegotiate(0), Renegotiation::Accepted, "control");
    let failure = Alert { level: 2, description: Alert::HANDSHAKE_FAILURE };
    assert_eq!(renegotiate(1), Renegotiation::Refused(Refusal::Alert(failure)));
}

#[test]
fn rustls_does_not_renegotiate() {
    let authority = Authority::new("ours");
    let server = Rustls::start(tls_config(&authority.server(&["localhost"]), None));
    assert_eq!(ask(server.address(), &authority, None), REFUSED);
}

#[test]
fn a_client_certificate_is_presented_where_it_is_required() {
    let authority = Authority::new("ours");
    let (credential, client) = (authority.server(&["localhost"]), authority.client("client"));
    let accepting = OpenSsl::with_clients(&credential, &[&authority], &["-client_renegotiation"]);
    assert_eq!(ask(accepting.address(), &authority, Some(&client)), Renegotiation::Accepted);
    unclear(&ask(accepting.address(), &authority, None), "the first handshake fails");
    let refusing = Rustls::start(tls_config(&credential, Some(&authority)));
    assert_eq!(ask(refusing.address(), &authority, Some(&client)), REFUSED);
    unclear(&ask(refusing.address(), &authority, None), "the first handshake fails");
}

#[test]
fn without_a_first_handshake_nothing_can_be_said() {
    let authority = Authority::new("ours");
    let credential = authority.server(&["localhost"]);
    let modern = OpenSsl::start(&credential, &["-tls1_3"]);
    assert_eq!(ask(modern.address(), &authority, None), Renegotiation::NoTls12);
    let cbc = OpenSsl::start(&credential, &["-cipher", "ECDHE-ECDSA-AES128-SHA256", "-client_renegotiation"]);
    unclear(&ask(cbc.address(), &authority, None), "HandshakeFailure");
    let stranger = Authority::new("another");
    unclear(&ask(cbc.address(), &stranger, None), "the first handshake fails");
    let server = OpenSsl::start(&credential, &["-client_renegotiation"]);
    unclear(&ask(server.address(), &stranger, None), "certificate");
    assert_eq!(ask(server.address(), &authority, None), Renegotiation::Accepted, "control");
    let silent = one(|mut stream| drop(read_record(&mut stream)));
    unclear(&ask(silent, &authority, None), "the connection is closed");
    let belongs_not = Some((authority.client("one").chain_der, authority.client("another").private_key()));
    let answer = renegotiation::ask(silent, localhost(), RootCertStore::empty(), belongs_not, TIMEOUT);
    unclear(&answer, "the certificate of the client cannot be used");
}

#[test]
fn servers_that_leave_or_do_nothing_refuse() {
    let authority = Authority::new("ours");
    let config = tls_config(&authority.server(&["localhost"]), None);
    let (done, until) = mpsc::channel::<()>();
    let ignoring = after_handshake(config.clone(), move |_stream| {
        let _ = until.recv();
    });
    let short = Duration::from_millis(500);
    assert_eq!(ask_within(short, ignoring, &authority, None), Renegotiation::Refused(Refusal::Ignored));
    drop(done);

    let closing = after_handshake(config.clone(), |mut stream| drop(read_record(&mut stream)));
    assert_eq!(ask(closing, &authority, None), Renegotiation::Refused(Refusal::Closed));
    // What is received and not read makes a reset of a close.
    let resetting = after_handshake(config, |stream| assert_eq!(stream.peek(&mut [0]).unwrap(), 1));
    assert_eq!(ask(resetting, &authority, None), Renegotiation::Refused(Refusal::Reset));
}

/// A server that makes one handshake and then does `conduct` with the connection.
fn after_handshake(config: Arc<ServerConfig>, conduct: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
    one(move |mut stream| {
        let mut connection = ServerConnection::new(config).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).unwrap();
        }
        while connection.wants_write() {
            connection.write_tls(&mut stream).unwrap();
        }
        conduct(stream);
    })
}
