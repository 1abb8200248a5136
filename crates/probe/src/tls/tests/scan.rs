//! What servers answer to hellos that no library sends.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use sandbox::pki::Authority;
use sandbox::tls::tls_config;

use super::openssl::{self, OpenSsl};
use super::servers::{Rustls, one, read_record};
use crate::tls::Alert;
use crate::tls::flight::{Answer, End, Flight, KeyExchange};
use crate::tls::hello::{Hello, SSL3, TLS10, TLS11, TLS12, TLS13};
use crate::tls::scan;
use crate::tls::suites::{self, Class};

const TIMEOUT: Duration = Duration::from_secs(20);

fn ask(address: SocketAddr, hello: &Hello) -> Answer {
    scan::ask(address, hello, TIMEOUT)
}

/// The version and the suite that the server chooses.
fn chosen(address: SocketAddr, hello: &Hello) -> Option<(u16, u16)> {
    ask(address, hello).hello().map(|hello| (hello.version, hello.suite))
}

fn fatal(description: u8) -> Answer {
    Answer::Alert(Alert { level: 2, description })
}

fn flight(answer: Answer) -> Flight {
    let Answer::Flight(flight) = answer else { panic!("{answer:?}") };
    flight
}

fn class(number: u16) -> Class {
    suites::find(number).unwrap().class
}

#[test]
fn old_versions_are_accepted_by_openssl_that_is_told_to_and_refused_by_others() {
    let lenient = OpenSsl::with_rsa(&["-cipher", "ALL:@SECLEVEL=0"]);
    for version in [TLS10, TLS11, TLS12] {
        let (accepted, _) = chosen(lenient.address(), &Hello::up_to(version)).unwrap();
        assert_eq!(accepted, version);
    }
    assert_eq!(chosen(lenient.address(), &Hello::up_to(TLS13)).unwrap().0, TLS13);
    // SSL 3.0 has no alert about versions.
    assert_eq!(ask(lenient.address(), &Hello::up_to(SSL3)), fatal(Alert::HANDSHAKE_FAILURE));

    // controls
    let server = Rustls::start(tls_config(&Authority::new("ours").server(&["localhost"]), None));
    let strict = OpenSsl::with_rsa(&[]);
    for (name, address) in [("rustls", server.address()), ("openssl", strict.address())] {
        for version in [TLS10, TLS11] {
            let answer = ask(address, &Hello::up_to(version));
            assert!(answer.refuses(), "{name} {version:x}: {answer:?}");
        }
        assert_eq!(chosen(address, &Hello::up_to(TLS12)).unwrap().0, TLS12, "{name}");
        assert_eq!(chosen(address, &Hello::up_to(TLS13)).unwrap().0, TLS13, "{name}");
    }
}

#[test]
fn suites_are_told_apart_by_class() {
    let lenient = OpenSsl::with_rsa(&["-cipher", "ALL:eNULL:aNULL:@SECLEVEL=0"]);
    let server = Rustls::start(tls_config(&Authority::new("ours").server(&["localhost"]), None));
    for wanted in [Class::Recommended, Class::OtherAead, Class::Cbc, Class::StaticRsa, Class::Anonymous, Class::Null] {
        let hello = Hello::tls12(&suites::numbers(&[wanted]));
        let (version, suite) = chosen(lenient.address(), &hello).unwrap();
        assert_eq!((version, class(suite)), (TLS12, wanted), "{suite:x}");
        if [Class::Recommended, Class::OtherAead].contains(&wanted) {
            assert!(chosen(server.address(), &hello).is_some(), "control {wanted:?}");
        } else {
            assert_eq!(ask(server.address(), &hello), fatal(Alert::HANDSHAKE_FAILURE), "{wanted:?}");
        }
    }
    // What neither has.
    for missing in [Class::Rc4, Class::Export, Class::StaticDh] {
        let hello = Hello::tls12(&suites::numbers(&[missing]));
        assert_eq!(ask(lenient.address(), &hello), fatal(Alert::HANDSHAKE_FAILURE), "{missing:?}");
    }
}

#[test]
fn a_server_with_chacha20_alone_has_no_recommended_suite() {
    let credential = Authority::new("ours").server(&["localhost"]);
    let recommended = Hello::tls12(&suites::numbers(&[Class::Recommended]));
    let other = Hello::tls12(&suites::numbers(&[Class::OtherAead]));
    let chacha = OpenSsl::start(&credential, &["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"]);
    assert_eq!(ask(chacha.address(), &recommended), fatal(Alert::HANDSHAKE_FAILURE));
    assert_eq!(chosen(chacha.address(), &other), Some((TLS12, 0xcca9)));
    assert_eq!(ask(chacha.address(), &Hello::tls13()), fatal(Alert::PROTOCOL_VERSION));

    let control = OpenSsl::start(&credential, &["-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"]);
    assert_eq!(chosen(control.address(), &recommended), Some((TLS12, 0xc02b)));
    assert_eq!(ask(control.address(), &other), fatal(Alert::HANDSHAKE_FAILURE));
    assert_eq!(chosen(control.address(), &Hello::tls13()).unwrap().0, TLS13);
}

#[test]
fn parameters_of_the_key_exchange_and_the_chain_are_read() {
    let authority = Authority::new("ours");
    let credential = authority.intermediate("below").server(&["localhost"]);
    let server = Rustls::start(tls_config(&credential, None));
    let curves = Hello { groups: vec![0x0018], ..Hello::tls12(&suites::numbers(&[Class::Recommended])) };
    let found = flight(ask(server.address(), &curves));
    assert_eq!((found.key_exchange, found.end), (Some(KeyExchange::Curve(0x18)), End::Done));
    assert_eq!(found.certificates, credential.chain_der);
    assert!(found.hello.extended_master_secret && found.hello.renegotiation_info);
    let bare = Hello { extended_master_secret: false, renegotiation_info: None, ..curves };
    let found = flight(ask(server.address(), &bare)).hello;
    assert!(!found.extended_master_secret && !found.renegotiation_info);

    let openssl = OpenSsl::with_rsa(&["-cipher", "ALL:@SECLEVEL=0"]);
    let found = flight(ask(openssl.address(), &Hello::tls12(&[0x009e])));
    assert!(matches!(found.key_exchange, Some(KeyExchange::Prime(1024..=4096))), "{found:?}");
    assert!(found.hello.session_ticket && found.certificates.len() == 1, "{found:?}");
    let etm = |encrypt_then_mac| Hello { encrypt_then_mac, ..Hello::tls12(&[0xc027]) };
    let found = [true, false].map(|offered| flight(ask(openssl.address(), &etm(offered))).hello.encrypt_then_mac);
    assert_eq!(found, [true, false]);
    let found = flight(ask(openssl.address(), &Hello { session_ticket: false, ..Hello::tls12(&[0x009c]) }));
    assert_eq!((found.key_exchange, found.hello.session_ticket), (None, false));
}

#[test]
fn alpn_and_compression_are_read() {
    let server = Rustls::start(tls_config(&Authority::new("ours").server(&["localhost"]), None));
    let hello = Hello::tls12(&suites::numbers(&[Class::Recommended]));
    let alpn = |protocols: &[&[u8]]| {
        let hello = Hello { alpn: protocols.iter().map(|protocol| protocol.to_vec()).collect(), ..hello.clone() };
        ask(server.address(), &hello.to("localhost"))
    };
    assert_eq!(flight(alpn(&[b"http/1.1", b"unheard-of"])).hello.alpn.as_deref(), Some(&b"http/1.1"[..]));
    assert_eq!(flight(alpn(&[])).hello.alpn, None);
    assert_eq!(alpn(&[b"unheard-of"]), fatal(120));
    let compressing = Hello { compression_methods: vec![1, 0], ..hello };
    assert_eq!(flight(ask(server.address(), &compressing)).hello.compression, 0);
}

#[test]
fn another_group_is_asked_for_with_a_hello_retry_request() {
    let credential = Authority::new("ours").server(&["localhost"]);
    let server = OpenSsl::start(&credential, &["-groups", "P-384"]);
    let answer = ask(server.address(), &Hello::tls13());
    assert!(matches!(&answer, Answer::HelloRetryRequest(_)), "{answer:?}");
    let hello = answer.hello().unwrap();
    assert_eq!((hello.version, hello.group), (TLS13, Some(0x0018)));

    // control
    for group in [0x0018, 0x0017, 0x001d] {
        let server = OpenSsl::start(&credential, &[]);
        let found = flight(ask(server.address(), &Hello { groups: vec![group], ..Hello::both() }));
        assert_eq!((found.hello.version, found.hello.group, found.end), (TLS13, Some(group), End::Encrypted));
    }
}

#[test]
fn client_certificates_that_are_asked_for_are_seen() {
    let authority = Authority::new("ours");
    let others = ["one", "another"].map(Authority::new);
    let credential = authority.server(&["localhost"]);
    let hello = Hello::tls12(&suites::numbers(&[Class::Recommended]));
    let request = |address| flight(ask(address, &hello)).certificate_request;

    let server = OpenSsl::with_clients(&credential, &others.each_ref(), &[]);
    let found = request(server.address()).unwrap();
    // A name of one attribute, CN, has 13 bytes and its text in DER (X.690); two for its length stand before it.
    assert_eq!(found.authorities_bytes, 2 * (2 + 13) + "one".len() + "another".len());
    assert!(found.types.contains(&64) && found.signature_algorithms.contains(&0x0403), "{found:?}");
    let server = Rustls::start(tls_config(&credential, Some(&others[0])));
    assert_eq!(request(server.address()).unwrap().authorities_bytes, 2 + 13 + "one".len());

    // controls
    let (openssl, rustls) = (OpenSsl::start(&credential, &[]), Rustls::start(tls_config(&credential, None)));
    assert_eq!(request(openssl.address()), None);
    assert_eq!(request(rustls.address()), None);
}

#[test]
fn a_hello_in_pieces_gets_the_same_answer() {
    let credential = Authority::new("ours").server(&["localhost"]);
    let server = Rustls::start(tls_config(&credential, None));
    let openssl = OpenSsl::start(&credential, &[]);
    let accepted = Hello::tls12(&suites::numbers(&[Class::Recommended])).to("localhost");
    let refused = Hello::tls12(&suites::numbers(&[Class::StaticRsa])).to("localhost");
    for address in [server.address(), openssl.address()] {
        for hello in [&accepted, &refused] {
            let whole = ask(address, hello);
            assert_eq!(whole.refuses(), hello == &refused, "control {whole:?}");
            for (bytes_per_record, split) in [(None, Some(1)), (Some(100), None), (Some(100), Some(7)), (None, Some(0))]
            {
                let pieces = Hello { bytes_per_record, split, ..hello.clone() };
                assert_eq!(ask(address, &pieces), whole, "{bytes_per_record:?} {split:?}");
            }
        }
    }
}

#[test]
fn servers_that_do_not_answer_in_tls_are_told_apart() {
    let short = Duration::from_millis(300);
    let (done, until) = mpsc::channel::<()>();
    let silent = one(move |_stream| {
        let _ = until.recv();
    });
    assert_eq!(scan::ask(silent, &Hello::both(), short), Answer::Timeout);
    drop(done);

    let closing = one(|mut stream| drop(read_record(&mut stream)));
    assert_eq!(ask(closing, &Hello::both()), Answer::Closed);
    // What is received and not read makes a reset of a close.
    let resetting = one(|stream| assert_eq!(stream.peek(&mut [0]).unwrap(), 1));
    assert_eq!(ask(resetting, &Hello::both()), Answer::Reset);
    let http = one(|mut stream| {
        read_record(&mut stream);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    assert_eq!(ask(http, &Hello::both()), Answer::Garbage("not a record of TLS"));

    // Nobody listens on the port of tcpmux, which no other test can be given.
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let answer = ask(nobody, &Hello::both());
    assert!(matches!(&answer, Answer::NotAsked(why) if why.starts_with("no connection: ")), "{answer:?}");
    let endless = Hello { alpn: vec![vec![0; 300]], ..Hello::both() };
    assert!(matches!(ask(nobody, &endless), Answer::NotAsked(why) if why.starts_with("the hello ")));
}

#[test]
fn one_byte_at_a_time_does_not_move_the_deadline() {
    let dripping = |bytes: usize| {
        one(move |mut stream| {
            read_record(&mut stream);
            let record = [&[22, 3, 3, 0x20, 0][..], &[0; 0x2000]].concat();
            for byte in record.chunks(1).take(bytes) {
                if stream.write_all(byte).is_err() {
                    break;
                }
                thread::park_timeout(Duration::from_millis(10)); // the pace of this server
            }
            let _ = stream.read(&mut [0]);
        })
    };
    assert_eq!(scan::ask(dripping(1000), &Hello::both(), Duration::from_millis(200)), Answer::Timeout);
}

#[test]
fn names_and_numbers_are_those_of_openssl() {
    let theirs: BTreeMap<u16, String> = openssl::suites().into_iter().collect();
    let mut compared = 0;
    for suite in suites::SUITES {
        if let Some(name) = theirs.get(&suite.number) {
            assert_eq!(suite.name, name);
            compared += 1;
        }
    }
    assert!(compared > 50, "control: {compared} suites are in both tables");
}
