//! Several names at one address: the name in the ClientHello selects the rules, and no request can circumvent them.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, ClientConnection, HandshakeKind, RootCertStore};
use sandbox::pki::{Authority, Credential};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::still_serves;
use super::tls::alert;
use crate::support::client::Client;
use crate::support::{DEADLINE, Scene, World};

/// The other name, whose clients must present a certificate of another authority.
const STRICT: &str = "strict.example";

/// A world with two names at one address.
struct Names {
    world: World,
    authority: Authority,
    client: Credential,
}

impl Names {
    async fn start() -> Self {
        Self::with(|scene| scene).await
    }

    async fn with(adjust: impl FnOnce(Scene) -> Scene) -> Self {
        let authority = Authority::new("Strict CA");
        let server = authority.server(&[STRICT, "127.0.0.1"]);
        let world = World::with(|scene| {
            let scene = scene
                .file("strict-ca.pem", &authority.pem())
                .file("strict.pem", &server.certificate_pem())
                .file("strict-key.pem", &server.key_pem())
                .replace("admin:", &format!("{}admin:", entry("127.0.0.1:0", STRICT)));
            adjust(scene)
        })
        .await;
        let client = authority.client("strict-client");
        Self { world, authority, client }
    }

    /// A client of the strict name that presents no certificate.
    fn strict(&self) -> Client {
        Client::new(self.world.gateway.address(), &self.authority)
            .server_name(STRICT)
            .origin(&format!("https://{STRICT}"))
    }

    /// `GET /accounts` for a name, with a token that is bound to a certificate.
    fn request(&self, name: &str, credential: &Credential) -> Request<Bytes> {
        let token = self.world.issuer.token(self.world.clock.now()).bound_to_certificate(credential);
        let token = self.world.sign(&token);
        Request::get(format!("https://{name}/accounts"))
            .header("authorization", format!("Bearer {token}"))
            .body(Bytes::new())
            .unwrap()
    }
}

/// An entry of `listeners` that requires certificates of the strict authority.
fn entry(address: &str, name: &str) -> String {
    format!(
        "  - address: {address}
    origins: [\"https://{name}\"]
    tls:
      certificate: strict.pem
      private_key: strict-key.pem
      client_certificates: {{ mode: required, trust_anchors: [strict-ca.pem] }}
"
    )
}

/// The alert that a client receives; `None` if the handshake succeeds.
async fn refusal(client: &Client) -> Option<AlertDescription> {
    match client.handshake().await {
        Ok(_) => None,
        Err(error) => Some(alert(&error).unwrap_or_else(|| panic!("no alert: {error}"))),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_cf_03_net_10_each_name_has_its_own_certificate_and_its_own_rules() {
    let names = Names::start().await;
    let world = &names.world;
    still_serves(world).await;
    for strict in [names.strict().h1(), names.strict().h2()] {
        let good = strict.clone().certificate(&names.client);
        assert_eq!(world.judge_from(&good, names.request(STRICT, &names.client)).await, (200, "ok".into()));
        assert_eq!(refusal(&strict).await, Some(AlertDescription::CertificateRequired));
        let of_the_other_name = strict.certificate(&world.c1);
        assert_eq!(refusal(&of_the_other_name).await, Some(AlertDescription::UnknownCA));
    }
    assert_eq!(refusal(&world.anonymous()).await, None, "a lax name takes clients without a certificate");
    assert_eq!(
        refusal(&world.anonymous().certificate(&names.client)).await,
        Some(AlertDescription::UnknownCA),
        "but none of the strict authority"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn net_21_mtls_13_no_request_reaches_a_name_through_the_handshake_of_another() {
    let names = Names::start().await;
    let world = &names.world;
    for lax in [world.client().h1(), world.client().h2()] {
        let mut connection = lax.connect().await.unwrap();
        assert_eq!(connection.send(world.request()).await.unwrap().status(), 200, "control");
        let before = world.accounts.server().heads();
        for credential in [&world.c1, &names.client] {
            let Ok(response) = connection.send(names.request(STRICT, credential)).await else { continue };
            assert_eq!(response.status(), 421);
            assert_eq!(world.gateway.record_of(&response)["code"], "host_unknown");
            // The gateway closes an HTTP/1.1 connection after this refusal.
            connection = lax.connect().await.unwrap();
        }
        assert_eq!(world.accounts.server().heads(), before, "nothing is forwarded");
    }
    for strict in [names.strict().h1(), names.strict().h2()] {
        let strict = strict.certificate(&names.client);
        assert_eq!(
            world.judge_from(&strict, names.request("localhost", &names.client)).await,
            (421, "host_unknown".into())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn net_19_a_name_that_nobody_has_gets_no_default() {
    let names = Names::start().await;
    let one = World::start().await;
    let unknown = Some(AlertDescription::UnrecognisedName);
    for client in [names.world.client(), names.strict().certificate(&names.client), one.client()] {
        for client in [client.clone().tls13_only(), client.clone().h2()] {
            assert_eq!(refusal(&client).await, None, "control");
            for name in ["nope.example", "a.strict.example", "example", "localhost.example"] {
                assert_eq!(refusal(&client.clone().server_name(name)).await, unknown, "{name}");
            }
        }
    }
    assert_eq!(refusal(&one.client().server_name("LOCALHOST")).await, None, "names are case-insensitive");
    // Without a name the gateway cannot choose, unless there is only one.
    assert_eq!(refusal(&one.client().without_server_name()).await, None);
    assert_eq!(refusal(&names.world.client().without_server_name()).await, Some(AlertDescription::MissingExtension));
    let metrics = one.gateway.admin("/metrics").await.1;
    let failures = |line: &&str| line.starts_with("fapi_gateway_tls_handshakes_total") && line.contains("failure");
    let counts = metrics.lines().filter(failures).filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
    assert_eq!(counts.sum::<u64>(), 8, "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_name_gets_the_entry_with_the_ip_address() {
    let names = Names::with(|scene| scene.replace("\"https://strict.example\"", "\"https://127.0.0.1\"")).await;
    let world = &names.world;
    let address = Client::new(world.gateway.address(), &names.authority).server_name("127.0.0.1");
    let good = address.clone().origin("https://127.0.0.1").certificate(&names.client);
    assert_eq!(world.judge_from(&good, names.request("127.0.0.1", &names.client)).await, (200, "ok".into()));
    assert_eq!(refusal(&address.certificate(&world.c1)).await, Some(AlertDescription::UnknownCA), "its rules too");
    assert_eq!(world.judge_from(&good, names.request("localhost", &names.client)).await, (421, "host_unknown".into()));
    still_serves(world).await;
}

/// The first bytes that the gateway sends in response to a ClientHello for this name, sent byte by byte in records of
/// `fragment` bytes.
async fn first_answer(world: &World, name: &str, fragment: Option<usize>) -> [u8; 7] {
    let mut config = ClientConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.max_fragment_size = fragment;
    let mut connection =
        ClientConnection::new(Arc::new(config), ServerName::try_from(name.to_owned()).unwrap()).unwrap();
    let mut hello = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut hello).unwrap();
    }
    let mut stream = TcpStream::connect(world.gateway.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in hello {
        stream.write_all(&[byte]).await.unwrap();
    }
    let mut answer = [0; 7];
    timeout(DEADLINE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_cf_05_net_23_a_hello_in_pieces_gets_the_same_rules() {
    let names = Names::start().await;
    for fragment in [None, Some(64), Some(32)] {
        for name in ["localhost", STRICT] {
            // RFC 8446 §5.1: a handshake record; inside it (§4) a ServerHello.
            let answer = first_answer(&names.world, name, fragment).await;
            assert_eq!((answer[0], answer[5]), (22, 2), "{name} {fragment:?}");
        }
        assert_eq!(first_answer(&names.world, "nope.example", fragment).await, [21, 3, 3, 0, 2, 2, 112]);
    }
    still_serves(&names.world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_tk_19_no_session_goes_from_one_name_to_another() {
    let names = Names::start().await;
    let mut roots = RootCertStore::empty();
    roots.add(names.world.authority.der().clone()).unwrap();
    roots.add(names.authority.der().clone()).unwrap();
    for version in [&TLS13, &TLS12] {
        let mut config = ClientConfig::builder_with_provider(default_provider().into())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(names.client.chain_der.clone(), names.client.private_key())
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::in_memory_sessions(16);
        let config = Arc::new(config);
        for _ in 0..2 {
            let stream = TcpStream::connect(names.world.gateway.address()).await.unwrap();
            let server = ServerName::try_from(STRICT).unwrap();
            let mut stream = TlsConnector::from(config.clone()).connect(server, stream).await.unwrap();
            stream
                .write_all(b"GET /health HTTP/1.1\r\nHost: strict.example\r\nConnection: close\r\n\r\n")
                .await
                .unwrap();
            let mut answer = Vec::new();
            timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
            let connection = stream.get_ref().1;
            assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Full), "{version:?}");
            assert_eq!(connection.tls13_tickets_received(), 0, "there is no ticket to use with the other name");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn net_22_a_reload_moves_names_and_their_open_connections_with_them() {
    let names = Names::start().await;
    let world = &names.world;
    let text = std::fs::read_to_string(world.gateway.folder().path().join("gateway.yaml")).unwrap();
    let reload = async |number: usize, text: &str| world.reload(number, |_| text.to_owned()).await;
    let health = |name: &str| Request::get(format!("https://{name}/health")).body(Bytes::new()).unwrap();
    let strict = names.strict().certificate(&names.client).h2();
    let (mut lax, mut open) = (world.anonymous().h2().connect().await.unwrap(), strict.connect().await.unwrap());
    assert_eq!(lax.send(health("localhost")).await.unwrap().status(), 200, "control");
    assert_eq!(open.send(health(STRICT)).await.unwrap().status(), 200, "control");

    // The lax name gets the strict rules: a client that connected without a certificate would now be refused.
    reload(
        1,
        &text.replace(
            "mode: optional, trust: chain, trust_anchors: [ca.pem]",
            "mode: required, trust_anchors: [ca.pem]",
        ),
    )
    .await;
    let response = lax.send(health("localhost")).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &world.gateway.record_of(&response)["code"]),
        (421, &"connection_outdated".into())
    );
    assert_eq!(open.send(health(STRICT)).await.unwrap().status(), 200, "control");

    // The strict name is removed.
    reload(2, &text.replace(&entry("127.0.0.1:0", STRICT), "")).await;
    let response = open.send(health(STRICT)).await.unwrap();
    assert_eq!(world.gateway.record_of(&response)["code"], "connection_outdated");
    assert_eq!(refusal(&strict).await, Some(AlertDescription::UnrecognisedName));
    assert_eq!(lax.send(health("localhost")).await.unwrap().status(), 200, "the lax name is unaffected");

    // The strict name returns at another position in the file.
    let swapped = text.replace("listeners:\n", &format!("listeners:\n{}", entry("127.0.0.1:0", STRICT)));
    let swapped = swapped.replacen(&format!("{}admin:", entry("127.0.0.1:0", STRICT)), "admin:", 1);
    reload(3, &swapped).await;
    assert_eq!(open.send(health(STRICT)).await.unwrap().status(), 200);
    assert_eq!(lax.send(health("localhost")).await.unwrap().status(), 200);
    let response = lax.send(health(STRICT)).await.unwrap();
    assert_eq!(world.gateway.record_of(&response)["code"], "host_unknown");
}
