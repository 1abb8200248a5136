//! Handshakes: resumption, unreadable certificates, versions and cipher suites, limits.

use std::io;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fapi::peer::ClientCertificate;
use http::StatusCode;
use pingora::utils::tls::get_organization_serial_bytes;
use rustls::client::Resumption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::{cipher_suite as suite, default_provider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, DistinguishedName, HandshakeKind, ProtocolVersion,
    RootCertStore, ServerConfig, SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion,
};
use sandbox::https::{Answer, HttpServer};
use sandbox::pki::{Authority, Credential, self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::still_serves;
use super::wire::{SHORT, Talk, now};
use crate::support::client::Client;
use crate::support::{DEADLINE, ORIGIN, World};

/// A verifier that counts how often it is called.
#[derive(Debug)]
struct Counting(Arc<dyn ClientCertVerifier>, Arc<AtomicUsize>);

impl ClientCertVerifier for Counting {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.verify_client_cert(leaf, rest, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    roots
}

/// A client that stores sessions for resumption, as every client does by default.
fn remembering(
    authority: &Authority,
    credential: &Credential,
    version: &'static SupportedProtocolVersion,
) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(default_provider().into())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots(authority))
        .with_client_auth_cert(credential.chain_der.clone(), credential.private_key())
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(16);
    config
}

/// Makes one exchange on a new connection; returns the kind of handshake and the number of session tickets received.
async fn exchange(config: &Arc<ClientConfig>, address: std::net::SocketAddr, request: &str) -> (HandshakeKind, u32) {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(config.clone()).connect(name, stream);
    let mut stream = timeout(DEADLINE, stream).await.unwrap().unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    let (_, connection) = stream.get_ref();
    (connection.handshake_kind().unwrap(), connection.tls13_tickets_received())
}

/// NET-08: without a session there is no early data either.
#[tokio::test(flavor = "multi_thread")]
async fn atk_tk_23_t1_a_second_handshake_is_never_resumed() {
    let world = World::start().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let inner = WebPkiClientVerifier::builder_with_provider(roots(&world.authority).into(), default_provider().into());
    let server = world.authority.server(&["localhost"]);
    let naive = ServerConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(Arc::new(Counting(inner.build().unwrap(), asked.clone())))
        .with_single_cert(server.chain_der.clone(), server.private_key())
        .unwrap();
    let answer = Arc::new(|_| Answer::text(StatusCode::OK, "ok"));
    let naive = HttpServer::start(None, Some(Arc::new(naive)), answer).unwrap();
    let plain = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let good = super::head(&world, "GET /accounts", "Connection: close\r\n");
    for version in [&TLS13, &TLS12] {
        asked.store(0, Ordering::SeqCst);
        let config = Arc::new(remembering(&world.authority, &world.c1, version));
        assert_eq!(exchange(&config, naive.address(), plain).await.0, HandshakeKind::Full);
        assert_eq!(exchange(&config, naive.address(), plain).await.0, HandshakeKind::Resumed, "{version:?}: the trap");
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{version:?}: the trap is that the verifier is not asked again");

        let config = Arc::new(remembering(&world.authority, &world.c1, version));
        for _ in 0..3 {
            let (kind, tickets) = exchange(&config, world.gateway.address(), &good).await;
            assert_eq!((kind, tickets), (HandshakeKind::Full, 0), "{version:?}");
        }
    }
    still_serves(&world).await;
}

/// A self-signed certificate whose `notBefore` is not a valid time: webpki does not notice, x509-parser does.
fn unreadable() -> Credential {
    let mut credential = self_signed("unreadable");
    let mut der = credential.chain_der[0].to_vec();
    // RFC 5280 §4.1.2.5.1: UTCTime is YYMMDDHHMMSSZ, 13 bytes under tag 23.
    let time = der.windows(2).position(|two| two == [0x17, 13]).expect("notBefore");
    der[time + 2..time + 15].copy_from_slice(b"9913325999XXZ");
    credential.chain_der[0] = CertificateDer::from(der);
    credential
}

/// The alert in a handshake error.
pub(super) fn alert(error: &io::Error) -> Option<AlertDescription> {
    let rustls::Error::AlertReceived(alert) = error.get_ref()?.downcast_ref()? else { return None };
    Some(*alert)
}

#[tokio::test(flavor = "multi_thread")]
async fn t6_a_certificate_that_cannot_be_read_fails_the_handshake_and_nothing_else() {
    let bad = unreadable();
    let der = &bad.chain_der[0];
    assert!(ParsedCertificate::try_from(der).is_ok(), "rustls accepts it");
    assert!(ClientCertificate::from_der(der).is_err(), "the gateway does not");
    assert!(catch_unwind(|| get_organization_serial_bytes(der).is_ok()).is_err(), "the trap: Pingora panics");

    let world = World::with(|scene| {
        scene.replace("mode: optional, trust: chain, trust_anchors: [ca.pem]", "mode: optional, trust: possession")
    })
    .await;
    let config = sandbox::tls::danger_tls_config_with_any_client(&world.authority.server(&["localhost"]));
    let naive = HttpServer::start(None, Some(config), Arc::new(|_| Answer::text(StatusCode::OK, "ok"))).unwrap();
    let through = Client::new(naive.address(), &world.authority).certificate(&bad).handshake().await;
    assert!(through.is_ok(), "the trap: rustls alone lets it through: {through:?}");

    let good = self_signed("good");
    let suites = [suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256];
    for client in [world.anonymous().tls13_only(), world.anonymous().tls12_only(&suites), world.anonymous().h2()] {
        assert!(client.clone().certificate(&good).handshake().await.is_ok(), "control");
        let error = client.certificate(&bad).handshake().await.expect_err("refused");
        assert_eq!(alert(&error), Some(AlertDescription::BadCertificate), "{error}");
    }
    // A task that panicked would not have been counted.
    let metrics = world.gateway.admin("/metrics").await.1;
    let failures = |line: &&str| line.starts_with("fapi_gateway_tls_handshakes_total") && line.contains("failure");
    let counts = metrics.lines().filter(failures).filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
    assert_eq!(counts.sum::<u64>(), 3, "{metrics}");
    let token = world.sign(&world.issuer.token(world.clock.now()).bound_to_certificate(&good));
    let request = crate::support::request("/accounts", &token);
    assert_eq!(world.judge_from(&world.anonymous().certificate(&good), request).await, (200, "ok".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn net_03_net_04_tls_1_2_has_the_four_aes_gcm_suites_and_1_3_comes_first() {
    let world = World::start().await;
    let other = Authority::new("Other CA");
    let rsa = other.client_with_key("localhost", &rcgen::PKCS_RSA_SHA256, |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = vec![rcgen::SanType::DnsName("localhost".try_into().unwrap())];
    });
    let with_rsa =
        World::with(|scene| scene.file("server.pem", &rsa.certificate_pem()).file("server-key.pem", &rsa.key_pem()))
            .await;
    let ecdsa = world.client();
    let rsa = Client::new(with_rsa.gateway.address(), &other).origin(ORIGIN);
    let accepted: [(&Client, SupportedCipherSuite); 4] = [
        (&ecdsa, suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
        (&ecdsa, suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
        (&rsa, suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
        (&rsa, suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ];
    for (client, suite) in accepted {
        let handshake = client.clone().tls12_only(&[suite]).handshake().await.unwrap();
        assert_eq!((handshake.version, handshake.suite), (ProtocolVersion::TLSv1_2, suite.suite()));
    }
    for (client, suite) in [
        (&ecdsa, suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
        (&rsa, suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ] {
        let error = client.clone().tls12_only(&[suite]).handshake().await.expect_err("CHACHA20 is not of BCP 195");
        assert_eq!(alert(&error), Some(AlertDescription::HandshakeFailure), "{error}");
    }
    assert_eq!(ecdsa.handshake().await.unwrap().version, ProtocolVersion::TLSv1_3);
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_20_other_protocols_are_refused_and_h2_is_preferred() {
    let world = World::start().await;
    let connect = async |protocols: &[&[u8]]| {
        let mut config = remembering(&world.authority, &world.c1, &TLS13);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let stream = TcpStream::connect(world.gateway.address()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        timeout(DEADLINE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap()
    };
    for odd in [&b"foo"[..], b"http/1.0", b"h2c", b"HTTP/1.1"] {
        let error = connect(&[odd]).await.expect_err("no such protocol");
        assert_eq!(alert(&error), Some(AlertDescription::NoApplicationProtocol), "{error}");
    }
    let both = connect(&[b"http/1.1", b"h2"]).await.unwrap();
    assert_eq!(both.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    still_serves(&world).await;
}

/// NET-01.
#[tokio::test(flavor = "multi_thread")]
async fn fwd_01_plain_http_on_the_tls_port_gets_nothing_up() {
    let world = World::start().await;
    let before = world.accounts.server().heads();
    let mut talk = Talk::over(TcpStream::connect(world.gateway.address()).await.unwrap());
    talk.say(super::head(&world, "GET /health", "")).await.unwrap();
    let rest = talk.rest().await;
    assert!(!rest.contains("HTTP/"), "{rest:?}");
    assert_eq!(world.accounts.server().heads(), before);
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_30_a_handshake_that_never_comes_is_cut_in_time() {
    let world =
        World::with(|scene| scene.replace("header_bytes: 32KiB", "{ header_bytes: 32KiB, handshake_timeout: 300ms }"))
            .await;
    // One client sends nothing, the other announces a ClientHello and stops.
    let slow = [&b""[..], &[0x16, 3, 1, 0x02, 0x00, 1]].map(|words| {
        let address = world.gateway.address();
        tokio::spawn(async move {
            let began = now();
            let mut talk = Talk::over(TcpStream::connect(address).await.unwrap());
            talk.say(words).await.unwrap();
            talk.rest().await;
            let took = began.elapsed();
            assert!(took >= SHORT && took < DEADLINE / 2, "{took:?}");
        })
    });
    for slow in slow {
        slow.await.unwrap();
    }
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_09_net_30_a_chain_of_a_hundred_certificates_is_refused() {
    let world = World::start().await;
    let mut long = world.c1.clone();
    let ninety_nine = std::iter::repeat_with(|| world.authority.der().clone()).take(99);
    long.chain_der.extend(ninety_nine);
    let suites = [suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256];
    for client in [world.client().tls13_only(), world.client().tls12_only(&suites)] {
        assert!(client.clone().handshake().await.is_ok(), "control");
        let error = client.certificate(&long).handshake().await.expect_err("refused");
        assert!(alert(&error).is_some(), "{error}");
    }
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_30_the_connection_over_the_cap_is_refused_until_another_ends() {
    let world =
        World::with(|scene| scene.replace("header_bytes: 32KiB", "{ header_bytes: 32KiB, connections: 2 }")).await;
    let client = world.client().tls13_only();
    let get = super::head(&world, "GET /accounts", "");
    let (mut first, mut second) = (Talk::with(&client).await, Talk::with(&client).await);
    for talk in [&mut first, &mut second] {
        talk.say(&get).await.unwrap();
        assert_eq!(talk.answer().await.unwrap().status, 200);
    }
    assert!(client.raw_stream().await.is_err(), "the third is refused");
    second.say(&get).await.unwrap();
    assert_eq!(second.answer().await.unwrap().status, 200, "the others are served");
    drop(first);
    let recovers = async {
        // Refusals are quick; the gateway notices a closed connection once it reads the close.
        while client.raw_stream().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, recovers).await.expect("a slot becomes free again");
    drop(second);
    let serves = async {
        while client.send(world.request()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, serves).await.expect("the gateway still serves");
}

#[tokio::test(flavor = "multi_thread")]
async fn mtls_15_a_certificate_that_expires_during_a_connection_ends_its_use() {
    let world = World::start().await;
    let end = i64::try_from(world.clock.now() + 3600).unwrap();
    let short = world
        .authority
        .client_with("short", |params| params.not_after = time::OffsetDateTime::from_unix_timestamp(end).unwrap());
    let bound = world.issuer.token(world.clock.now()).bound_to_certificate(&short).expires_at(world.clock.now() + 9000);
    let token = world.sign(&bound);
    let request = || crate::support::request("/accounts", &token);
    let client = world.anonymous().certificate(&short);
    let mut connections = [client.clone().h1().connect().await.unwrap(), client.h2().connect().await.unwrap()];
    for connection in &mut connections {
        assert_eq!(connection.send(request()).await.unwrap().status(), 200, "control");
    }
    world.clock.advance(3601);
    for connection in &mut connections {
        let response = connection.send(request()).await.unwrap();
        assert_eq!(response.status(), 401);
        assert_eq!(world.gateway.record_of(&response)["code"], "certificate_expired");
    }
    still_serves(&world).await;
}
