//! nginx as the upstream: an independent server, with each protocol that the gateway can use to reach an upstream; and
//! nginx in front, as a proxy that terminates TLS.
//!
//! Needs nginx 1.22 or later with its http2, ssl, dav and grpc modules, such as Debian's nginx-light; without it the
//! tests fail.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};

use bytes::Bytes;
use fapi::peer::ClientCertificate;
use http::{Method, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sandbox::pki::{Authority, Credential, self_signed};
use tokio::time::timeout;

use crate::support::backend::{ANSWER, Backend};
use crate::support::client::Client;
use crate::support::tools::tool;
use crate::support::{DEADLINE, Folder, ORIGIN, Scene, World, certificate_of_proxy, request};

/// An nginx with its own folder; killed when dropped.
struct Nginx {
    process: Child,
    folder: Folder,
    ports: Vec<u16>,
}

/// The parameters of each `listen` line; the position determines how the gateway is configured for it.
const LISTENERS: [&str; 5] = ["", "ssl", "ssl", "http2", "ssl http2"];
const PLAIN: usize = 0;
const TLS: usize = 1;
const MTLS: usize = 2;
const H2C: usize = 3;
const H2: usize = 4;

impl Nginx {
    /// Starts nginx with a server for each of [`LISTENERS`]; gRPC calls are forwarded to `grpc`.
    fn start(bank: &Authority, gateways: &Authority, grpc: SocketAddr) -> Self {
        let folder = Folder::new();
        let certificate = bank.server(&["localhost"]);
        folder.write("bank.pem", &certificate.certificate_pem());
        folder.write("bank-key.pem", &certificate.key_pem());
        folder.write("gateways.pem", &gateways.pem());
        folder.write("files/bank/large", &large());
        Self::run(folder, LISTENERS.len(), |ports| configuration(ports, grpc))
    }

    /// Starts nginx with TLS for clients, forwarding their certificates to a gateway as nginx's documentation shows.
    fn in_front(world: &World, proxy: &Credential) -> Self {
        let folder = Folder::new();
        let certificate = world.authority.server(&["localhost"]);
        folder.write("server.pem", &certificate.certificate_pem());
        folder.write("server-key.pem", &certificate.key_pem());
        folder.write("proxy.pem", &proxy.certificate_pem());
        folder.write("proxy-key.pem", &proxy.key_pem());
        folder.write("ca.pem", &world.authority.pem());
        let gateway = world.gateway.address();
        Self::run(folder, 1, |ports| {
            let port = ports[0];
            http(&format!(
                r#"
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name localhost;
        ssl_certificate server.pem;
        ssl_certificate_key server-key.pem;
        ssl_client_certificate ca.pem;
        ssl_verify_client optional_no_ca;
        location / {{
            proxy_pass https://{gateway};
            proxy_http_version 1.1;
            proxy_ssl_certificate proxy.pem;
            proxy_ssl_certificate_key proxy-key.pem;
            proxy_ssl_trusted_certificate ca.pem;
            proxy_ssl_verify on;
            proxy_ssl_name localhost;
            proxy_ssl_server_name on;
            proxy_set_header Host $host;
            proxy_set_header Connection "";
            proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert;
        }}
    }}"#
            ))
        })
    }

    fn run(folder: Folder, listeners: usize, configuration: impl Fn(&[u16]) -> String) -> Self {
        // Another process may take the ports between choosing them and listening on them.
        for _ in 0..10 {
            let free: Vec<_> = (0..listeners).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
            let port = |socket: TcpListener| socket.local_addr().expect("an address").port();
            let ports: Vec<u16> = free.into_iter().map(port).collect();
            folder.write("nginx.conf", &configuration(&ports));
            let mut process = spawn(&folder);
            while process.try_wait().expect("the process was started by this test").is_none() {
                if ports.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok()) {
                    return Self { process, folder, ports };
                }
                std::thread::yield_now();
            }
        }
        panic!(
            "nginx does not start: {}",
            std::fs::read_to_string(folder.path().join("error.log")).unwrap_or_default()
        );
    }

    /// Kills nginx and starts another on the same ports.
    fn replace(&mut self) {
        self.process.kill().expect("the process was started by this test");
        self.process.wait().expect("the process was started by this test");
        self.process = spawn(&self.folder);
        while self.ports.iter().any(|port| TcpStream::connect(("127.0.0.1", *port)).is_err()) {
            assert!(
                self.process.try_wait().expect("the process was started by this test").is_none(),
                "nginx does not start again"
            );
            std::thread::yield_now();
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(folder: &Folder) -> Child {
    let mut nginx = tool("nginx");
    nginx.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "error.log"]);
    nginx.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("nginx runs")
}

fn configuration(ports: &[u16], grpc: SocketAddr) -> String {
    let mut servers = String::new();
    for (index, (listener, port)) in LISTENERS.iter().zip(ports).enumerate() {
        let verify = if index == MTLS || index == H2 { "ssl_verify_client on;" } else { "" };
        servers += &format!(
            r#"
    server {{
        listen 127.0.0.1:{port} {listener};
        server_name localhost;
        root files;
        ssl_certificate bank.pem;
        ssl_certificate_key bank-key.pem;
        ssl_client_certificate gateways.pem;
        {verify}
        location /bank/seen {{
            add_header X-Connection $connection;
            return 200 "$server_protocol|$ssl_client_s_dn|$http_x_token_client_id|$http_authorization|$host|$args";
        }}
        location /bank/brief/ {{
            keepalive_requests 3;
            return 200 ok;
        }}
        location /bank/stored/ {{
            dav_methods PUT;
            create_full_put_path on;
            client_max_body_size 4m;
        }}
        location /bank.v1.Accounts/ {{
            grpc_pass grpc://{grpc};
        }}
        location = /health {{
            return 204;
        }}
    }}"#
        );
    }
    http(&servers)
}

/// The whole configuration file around its servers.
fn http(servers: &str) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("    {kind}_temp_path temporary;\n"))
        .collect();
    format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log error.log;\nevents {{}}\n\
         http {{\n    access_log off;\n    keepalive_timeout 60s;\n{temporary}{servers}\n}}\n"
    )
}

/// A little more than a mebibyte, all printable.
fn large() -> String {
    (0..150_000).map(|number| format!("{number:07}")).collect()
}

/// Adds the upstream `bank` on one of the listeners, with health checks, and routes to it.
fn scene(scene: Scene, nginx: &Nginx, which: usize, bank: &Authority, gateway: &Credential) -> Scene {
    let port = nginx.ports[which];
    let identity = "certificate: gateway.pem, private_key: gateway-key.pem";
    let (server, keys) = match which {
        PLAIN => (format!("http://127.0.0.1:{port}"), String::new()),
        H2C => (format!("http://127.0.0.1:{port}"), ", protocol: http2".into()),
        TLS => {
            (format!("https://127.0.0.1:{port}"), ", tls: { trust_anchors: [bank.pem], server_name: localhost }".into())
        }
        _ => {
            let protocol = if which == H2 { ", protocol: http2" } else { "" };
            let tls = format!("trust_anchors: [bank.pem], server_name: localhost, {identity}");
            (format!("https://127.0.0.1:{port}"), format!("{protocol}, tls: {{ {tls} }}"))
        }
    };
    let check = "health_check: { path: /health, interval: 20ms, timeout: 5s, unhealthy_after: 1 }";
    let route = |name: &str, path: &str| {
        format!(
            "  - {{ name: {name}, path: {path}, methods: [GET, HEAD, POST, PUT], scopes: [accounts], upstream: bank, \
             forward: {{ claims: {{ client_id: X-Token-Client-Id }} }} }}\n"
        )
    };
    let routes = route("bank", "/bank/**") + &route("grpc", "/bank.v1.Accounts/**");
    scene
        .file("bank.pem", &bank.pem())
        .file("gateway.pem", &gateway.certificate_pem())
        .file("gateway-key.pem", &gateway.key_pem())
        .replace("routes:\n", &format!("  bank: {{ servers: [\"{server}\"], {check}{keys} }}\nroutes:\n{routes}"))
}

/// The servers and credentials around one nginx.
struct Stage {
    nginx: Nginx,
    bank: Authority,
    gateway: Credential,
    backend: Backend,
}

impl Stage {
    async fn set() -> Self {
        let (bank, gateways) = (Authority::new("Bank"), Authority::new("Gateways"));
        let backend = Backend::h2c().await;
        let nginx = Nginx::start(&bank, &gateways, backend.address());
        Self { nginx, gateway: gateways.client("gateway"), bank, backend }
    }

    async fn world(&self, which: usize) -> World {
        World::with(|usual| scene(usual, &self.nginx, which, &self.bank, &self.gateway).one_thread()).await
    }
}

async fn send(world: &World, client: &Client, method: Method, path: &str, body: Bytes) -> Response<Bytes> {
    let (mut head, _) = request(path, &world.sign(&world.token())).into_parts();
    head.method = method;
    let answer = client.send(Request::from_parts(head, body)).await.expect("the gateway answers");
    // The audit line is written when the exchange has ended and its connection is back in the pool.
    world.gateway.record_of(&answer);
    answer
}

/// Whether one server of the upstream is in this state.
async fn servers(world: &World, state: &str) -> bool {
    let line = format!("fapi_gateway_upstream_servers{{state=\"{state}\",upstream=\"bank\"}} 1");
    world.gateway.admin("/metrics").await.1.contains(&line)
}

#[tokio::test(flavor = "multi_thread")]
async fn fwd_06_nginx_is_spoken_to_over_every_protocol() {
    let stage = Stage::set().await;
    for (which, protocol, shown) in [
        (PLAIN, "HTTP/1.1", ""),
        (TLS, "HTTP/1.1", ""),
        (MTLS, "HTTP/1.1", "CN=gateway"),
        (H2C, "HTTP/2.0", ""),
        (H2, "HTTP/2.0", "CN=gateway"),
    ] {
        let world = stage.world(which).await;
        for client in [world.client().h1(), world.client().h2()] {
            let what = format!("{:?}, {client:?}", LISTENERS[which]);
            let mut connections = Vec::new();
            for _ in 0..3 {
                let answer = send(&world, &client, Method::GET, "/bank/seen?a=%2F", Bytes::new()).await;
                assert_eq!(answer.status(), 200, "{what}");
                let seen = String::from_utf8(answer.body().to_vec()).unwrap();
                assert_eq!(seen, format!("{protocol}|{shown}|client-1||localhost|a=%2F"), "{what}");
                assert_eq!(answer.headers().get("server"), None, "{what}");
                connections.push(answer.headers()["x-connection"].clone());
            }
            assert!(connections.windows(2).all(|two| two[0] == two[1]), "{what}: kept alive: {connections:?}");

            let answer = send(&world, &client, Method::GET, "/bank/large", Bytes::new()).await;
            assert!(*answer.body() == large(), "{what}: {} bytes", answer.body().len());
            let answer = send(&world, &client, Method::HEAD, "/bank/large", Bytes::new()).await;
            assert_eq!((answer.status().as_u16(), answer.body().len()), (200, 0), "{what}");
            assert_eq!(answer.headers()["content-length"], large().len().to_string(), "{what}");
            let path = format!("/bank/stored/{which}");
            let answer = send(&world, &client, Method::PUT, &path, large().into()).await;
            assert!(answer.status().is_success(), "{what}: {}", answer.status());
            let stored = stage.nginx.folder.path().join(format!("files{path}"));
            assert!(std::fs::read_to_string(&stored).unwrap() == large(), "{what}");
            std::fs::remove_file(stored).unwrap();
            let answer = send(&world, &client, Method::GET, "/bank/nothing", Bytes::new()).await;
            assert_eq!((answer.status().as_u16(), &world.gateway.record_of(&answer)["code"]), (404, &"ok".into()));
        }
        assert!(servers(&world, "healthy").await, "{:?}", LISTENERS[which]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fwd_06_nginx_refuses_and_is_refused_where_identities_do_not_fit() {
    let stage = Stage::set().await;
    for (what, from, to) in [
        ("another name", "server_name: localhost", "server_name: other.example"),
        ("another authority", "trust_anchors: [bank.pem]", "trust_anchors: [ca.pem]"),
    ] {
        let world =
            World::with(|usual| scene(usual, &stage.nginx, MTLS, &stage.bank, &stage.gateway).replace(from, to)).await;
        let answer = send(&world, &world.client(), Method::GET, "/bank/seen", Bytes::new()).await;
        assert_eq!(answer.status(), 502, "{what}");
        assert_eq!(world.gateway.record_of(&answer)["code"], "upstream_unreachable", "{what}");
    }
    let identity = ", certificate: gateway.pem, private_key: gateway-key.pem";
    for which in [MTLS, H2] {
        let world =
            World::with(|usual| scene(usual, &stage.nginx, which, &stage.bank, &stage.gateway).replace(identity, ""))
                .await;
        let answer = send(&world, &world.client(), Method::GET, "/bank/seen", Bytes::new()).await;
        // nginx completes the handshake and refuses in HTTP.
        assert_eq!(answer.status(), 400, "without a certificate");
        assert!(String::from_utf8_lossy(answer.body()).contains("No required SSL certificate was sent"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_nginx_ends_cost_no_request() {
    let mut stage = Stage::set().await;
    for which in [PLAIN, MTLS, H2C, H2] {
        let world = stage.world(which).await;
        let connection = world.client().h2().connect().await.expect("a connection");
        // After three requests nginx closes the connection, or sends GOAWAY.
        for round in 0..10 {
            let path = format!("/bank/brief/{round}");
            let mut several = [(); 4].map(|()| connection.another().expect("HTTP/2"));
            let [a, b, c, d] = &mut several;
            let token = world.sign(&world.token());
            let ask = || request(&path, &token);
            let (a, b, c, d) = tokio::join!(a.send(ask()), b.send(ask()), c.send(ask()), d.send(ask()));
            for answer in [a, b, c, d] {
                assert_eq!(answer.expect("an answer").status(), 200, "{:?}, {round}", LISTENERS[which]);
            }
        }
        stage.nginx.replace();
        for _ in 0..3 {
            let answer = send(&world, &world.client(), Method::POST, "/bank/seen", Bytes::from_static(b"x")).await;
            assert_eq!(answer.status(), 200, "{:?}: after a restart", LISTENERS[which]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_passes_through_nginx_with_its_trailers() {
    let stage = Stage::set().await;
    for which in [H2C, H2] {
        let world = stage.world(which).await;
        let stream = world.client().h2().raw_stream().await.expect("the gateway accepts the connection");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        tokio::spawn(connection);
        for _ in 0..3 {
            let token = world.sign(&world.token());
            let call = Request::post(format!("{ORIGIN}/bank.v1.Accounts/List"))
                .version(Version::HTTP_2)
                .header("authorization", format!("Bearer {token}"))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(Full::new(Bytes::from_static(b"\0\0\0\0\x04ping")))
                .unwrap();
            let answer = timeout(DEADLINE, sender.send_request(call)).await.expect("in time").expect("an answer");
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()["content-type"]),
                (200, &"application/grpc".parse().unwrap())
            );
            let body = timeout(DEADLINE, answer.into_body().collect()).await.expect("in time").expect("a body");
            assert_eq!(body.trailers().expect("trailers")["grpc-status"], "0");
            assert_eq!(&body.to_bytes()[..], ANSWER);
            let seen = stage.backend.take().remove(0);
            assert_eq!((seen.path.as_str(), &seen.body[..]), ("/bank.v1.Accounts/List", &b"\0\0\0\0\x04ping"[..]));
            assert_eq!(seen.headers["x-token-client-id"], "client-1");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mtls_14_nginx_in_front_hands_on_the_certificate_of_its_client() {
    let world =
        World::with(|scene| scene.behind("nginx_escaped_pem, header: X-SSL-Client-Cert", "nginx.bank.internal")).await;
    let proxy = certificate_of_proxy(&world.authority, "nginx.bank.internal");
    let nginx = Nginx::in_front(&world, &proxy);
    let address = SocketAddr::from(([127, 0, 0, 1], nginx.ports[0]));
    let client = Client::new(address, &world.authority).origin(ORIGIN);
    let stranger = self_signed("stranger");
    let token =
        |credential: &Credential| world.sign(&world.issuer.token(world.clock.now()).bound_to_certificate(credential));
    for (shown, bound, expected) in [
        (Some(&world.c1), &world.c1, (200, "ok")),
        (Some(&world.c2), &world.c2, (200, "ok")),
        (Some(&world.c2), &world.c1, (401, "certificate_mismatch")),
        (None, &world.c1, (401, "certificate_missing")),
        (None, &proxy, (401, "certificate_missing")),
        (Some(&stranger), &stranger, (401, "certificate_missing")),
        (Some(&world.c1), &world.c1, (200, "ok")),
    ] {
        let client = shown.map_or(client.clone(), |shown| client.clone().certificate(shown));
        world.accounts.clear();
        let mut request = request("/accounts", &token(bound));
        // nginx replaces a field of this name sent by a client.
        request.headers_mut().insert("x-ssl-client-cert", "-----BEGIN%20CERTIFICATE-----".parse().unwrap());
        let (status, code) = world.judge_from(&client, request).await;
        assert_eq!((status, code.as_str()), expected, "shown {:?}", shown.map(Credential::x5t_s256));
        if code == "ok" {
            let seen = world.accounts.requests().remove(0);
            let certificate = ClientCertificate::from_der(&bound.chain_der[0]).unwrap();
            assert_eq!(seen.header("client-cert"), certificate.header_value().to_str().ok());
            assert_eq!(seen.header("x-ssl-client-cert"), None);
        }
    }
}
