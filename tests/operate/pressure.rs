//! The gateway under pressure: without descriptors, with an admin listener that is full of half requests, and with threads
//! that are stuck. The probes answer all the time, and say what is true.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use fapi_gateway::clock::Clock;
use http::Request;
use sandbox::accounts::AccountsApi;
use sandbox::authorization_server::AuthorizationServer;
use sandbox::pki::Authority;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::edge::hostile::wire::now;
use crate::support::client::Client;
use crate::support::program::Program;
use crate::support::tools::tool;
use crate::support::{DEADLINE, ORIGIN, Running, Scene, World};

/// Opens connections; one that is closed at once counts too.
async fn open(address: SocketAddr, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await.expect("the system accepts it");
        let _ = stream.write_all(bytes).await;
        held.push(stream);
    }
    held
}

/// Opens connections with half a request each, and waits until all but those that have a place are closed.
async fn half_requests(admin: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut held = open(admin, count, b"GET /livez HTTP/1.1\r\nHost: x\r\n").await;
    for early in held.iter_mut().take(count - 40) {
        let closed = timeout(DEADLINE, early.read_to_end(&mut Vec::new())).await.expect("it makes room");
        assert!(closed.is_err() || closed.is_ok_and(|count| count == 0));
    }
    held
}

/// Sends `GET` to an admin listener on a new connection; returns status and body.
async fn probe(admin: SocketAddr, path: &str) -> (u16, String) {
    let exchange = async {
        let mut stream = TcpStream::connect(admin).await?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = timeout(DEADLINE / 4, exchange).await.expect("an answer in time").expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    (status, answer)
}

/// How many connections a limit refused.
async fn refused(admin: SocketAddr, what: &str) -> u64 {
    let line = format!("fapi_gateway_overload_total{{what=\"{what}\"}} ");
    let text = probe(admin, "/metrics").await.1;
    text.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |count| count.trim().parse().unwrap())
}

fn health() -> Request<Bytes> {
    Request::get(format!("{ORIGIN}/health")).body(Bytes::new()).unwrap()
}

/// The address in a line of the log.
fn address_in(line: String) -> SocketAddr {
    let after = line.split("address=").nth(1).expect("an address");
    after.split_whitespace().next().unwrap().parse().unwrap()
}

/// The scene of a gateway that is not started, with what it needs.
fn scene() -> (Authority, AuthorizationServer, AccountsApi, Scene) {
    let authority = Authority::new("Test CA");
    let issuer = AuthorizationServer::start(&authority).expect("the authorization server starts");
    let accounts = AccountsApi::start(None, None).expect("the accounts API starts");
    let scene = Scene::new(&authority, issuer.issuer(), accounts.address());
    (authority, issuer, accounts, scene)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_clients_are_refused_at_once_and_everything_else_goes_on() {
    let (authority, _issuer, _accounts, scene) = scene();
    let folder = scene.replace("header_bytes: 32KiB", "{ header_bytes: 32KiB, handshake_timeout: 60s }").into_folder();
    let mut program = Program::run_with_files(&folder, 100, 200);
    // The soft limit would have been 100.
    program.says("and the process may have 200");
    let data = address_in(program.says(" listening"));
    let admin = address_in(program.says("admin listening"));
    let client = Client::new(data, &authority).origin(ORIGIN);
    let mut established = client.connect().await.expect("control");
    assert_eq!(established.send(health()).await.unwrap().status(), 200, "control");

    let held = open(data, 300, b"").await;
    let noticed = async { while refused(admin, "descriptors").await < 150 {} };
    timeout(DEADLINE, noticed).await.expect("those beyond the limit are refused");
    program.says("connections are refused, a limit is reached");
    let open_now = refused(admin, "descriptors").await;
    assert!(open_now <= 240, "{open_now}: more than the soft limit would have allowed are held");
    // An admin listener that is full as well.
    let half = half_requests(admin, 100).await;
    let mut more = Vec::new();
    for _ in 0..5 {
        let began = now();
        assert_eq!(probe(admin, "/livez").await.0, 200);
        // A descriptor that was in use for a moment may be free again.
        while let Ok(another) = client.raw_stream().await {
            more.push(another);
            assert!(more.len() < 20, "clients are refused");
        }
        assert_eq!(established.send(health()).await.unwrap().status(), 200);
        assert!(began.elapsed() < DEADLINE / 2, "{:?}", began.elapsed());
    }
    drop((held, half, more));
    let recovers = async { while client.send(health()).await.is_err() {} };
    timeout(DEADLINE, recovers).await.expect("there are descriptors again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_serves_connections_for_each_processor_that_the_process_may_use() {
    let (_authority, _issuer, _accounts, scene) = scene();
    let folder = scene.into_folder();
    let serving = |mut program: Program| {
        program.addresses();
        program.threads().iter().filter(|name| name.starts_with("connections-")).count()
    };
    assert_eq!(serving(Program::run_on_one_processor(&folder)), 1);
    let all = std::thread::available_parallelism().expect("a number").get();
    assert_eq!(serving(Program::run(&folder)), all, "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_may_open_too_few_files_says_so_and_does_not_start() {
    let (_authority, _issuer, _accounts, scene) = scene();
    let folder = scene.into_folder();
    for few in [12, 24, 32] {
        let mut program = Program::run_with_files(&folder, few, few);
        let said = program.says("fapi-gateway: ");
        assert!(said.contains("too few files may be open") && said.contains("LimitNOFILE"), "{few}: {said}");
        assert_eq!(program.ends().await, Some(1), "{few}");
    }
    let mut program = Program::run_with_files(&folder, 128, 128);
    program.says(" listening"); // control
}

#[tokio::test(flavor = "multi_thread")]
async fn check_warns_of_connections_that_do_not_fit_the_hard_limit() {
    let (_authority, _issuer, _accounts, scene) = scene();
    let folder = scene.replace("header_bytes: 32KiB", "{ header_bytes: 32KiB, connections: 100 }").into_folder();
    // The soft limit does not count: it is raised.
    let needed = 456 + 4 * std::thread::available_parallelism().unwrap().get();
    for (hard, warns) in [(needed - 1, true), (needed, false)] {
        let script = format!("ulimit -Sn 100 && ulimit -Hn {hard} && exec \"$0\" check");
        let mut command = tool("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_fapi-gateway")]).current_dir(folder.path());
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let warning = format!(
            "warning: limits.connections: 100 client connections with an exchange each may need {needed} descriptors"
        );
        assert_eq!(said.contains(&warning), warns, "{hard}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_very_last_descriptors_refuse_clients_and_serve_operators() {
    let (_authority, _issuer, _accounts, scene) = scene();
    let folder = scene.into_folder();
    let metric = |text: &str, name: &str| -> usize {
        let value = text.lines().find_map(|line| line.strip_prefix(name)).expect("the process collector");
        value.trim().parse().unwrap()
    };
    let needed = {
        let mut program = Program::run_with_files(&folder, 500, 500);
        let admin = address_in(program.says("admin listening"));
        let ready = async { while probe(admin, "/readyz").await.1.contains("first keys") {} };
        timeout(DEADLINE, ready).await.expect("it reads the keys");
        metric(&probe(admin, "/metrics").await.1, "process_open_fds ")
    };
    let mut program = Program::run_with_files(&folder, 60, needed + 4);
    let data = address_in(program.says(" listening"));
    let admin = address_in(program.says("admin listening"));
    assert_eq!(metric(&probe(admin, "/metrics").await.1, "process_max_fds "), needed + 4, "the soft limit is raised");
    // More than there are descriptors for.
    let half = half_requests(admin, 100).await;
    for _ in 0..3 {
        let began = now();
        assert_eq!(probe(admin, "/livez").await.0, 200);
        for mut client in open(data, 20, b"").await {
            let closed = timeout(DEADLINE, client.read_to_end(&mut Vec::new())).await.expect("it is refused");
            assert!(closed.is_err() || closed.is_ok_and(|count| count == 0));
        }
        assert!(began.elapsed() < DEADLINE / 2, "{:?}", began.elapsed());
    }
    assert!(refused(admin, "descriptors").await >= 60);
    drop(half);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_revocation_keeps_nobody_from_the_admin_listener() {
    let world = World::with(|scene| scene.replace("\"127.0.0.1:0\" }", "\"127.0.0.1:0\", revocations: {} }")).await;
    let admin = world.gateway.admin_address();
    let fields = "Host: x\r\nContent-Type: application/json\r\nContent-Length: 65000";
    let held = open(admin, 100, format!("POST /revocations HTTP/1.1\r\n{fields}\r\n\r\n{{").as_bytes()).await;
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(probe(admin, path).await.0, 200, "{path}");
    }
    let revocation = json!({"issuer": world.issuer.issuer(), "jti": "anything"}).to_string();
    assert_eq!(world.gateway.post_revocation("application/json", revocation).await.0, 204, "control");
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_too_connections_without_a_request_keep_nobody_from_the_admin_listener() {
    let world = World::with(|scene| {
        let tls = "tls: { certificate: server.pem, private_key: server-key.pem, trust_anchors: [ca.pem] }";
        scene
            .replace("admin: { address: \"127.0.0.1:0\"", &format!("admin: {{ address: \"127.0.0.1:0\", {tls}"))
            .never_ready()
    })
    .await;
    let client = Client::new(world.gateway.admin_address(), &world.authority);
    let livez = || Request::get("/livez").body(Bytes::new()).unwrap();
    let mut held = Vec::new();
    for _ in 0..50 {
        let mut connection = client.connect().await.expect("an older connection makes room");
        assert_eq!(connection.send(livez()).await.expect("an answer").status(), 200);
        held.push(connection);
    }
    // HTTP/2 is not spoken: a connection that makes no room.
    assert!(client.clone().h2().handshake().await.is_err());
    assert_eq!(client.handshake().await.expect("control").alpn.as_deref(), Some(&b"http/1.1"[..]));
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_waits_for_a_huge_page() {
    let (_authority, _issuer, _accounts, scene) = scene();
    let folder = scene.into_folder();
    let mut program = Program::run(&folder);
    program.addresses();
    assert_eq!(program.status("THP_enabled"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_requests_keep_nobody_from_the_admin_listener_and_end_in_time() {
    let world = World::start().await;
    let admin = world.gateway.admin_address();
    let mut held = half_requests(admin, 3000).await;
    for path in ["/livez", "/metrics"] {
        assert_eq!(probe(admin, path).await.0, 200, "{path}");
    }
    assert!(refused(admin, "admin_connections").await > 2900);
    // The last one has a place, and loses it when its header section is late.
    let mut last = held.pop().unwrap();
    let closed = timeout(DEADLINE, last.read_to_end(&mut Vec::new())).await.expect("it is closed");
    assert!(closed.is_err() || closed.is_ok_and(|count| count == 0));
    // Control: a client that goes on in time is answered, and again on the same connection.
    let mut client = TcpStream::connect(admin).await.unwrap();
    for pieces in [["GET /livez HTT", "P/1.1\r\nHost: x\r\n\r\n"]; 2] {
        for piece in pieces {
            client.write_all(piece.as_bytes()).await.unwrap();
            client.flush().await.unwrap();
        }
        let mut answer = vec![0; 15];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 200 OK");
        let mut rest = Vec::new();
        while !rest.ends_with(b"ok\n") {
            assert!(timeout(DEADLINE, client.read_buf(&mut rest)).await.unwrap().unwrap() > 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn livez_fails_while_a_thread_of_the_data_plane_is_stuck() {
    let (authority, _issuer, _accounts, scene) = scene();
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let (closed, system) = (gate.clone(), Clock::system());
    // Whoever asks for the time while the gate is closed waits, and its thread with it.
    let clock = Clock::from_fn(move || {
        let (locked, changed) = &*closed;
        let _open = changed.wait_while(locked.lock().unwrap(), |closed| *closed).unwrap();
        system.now()
    });
    let gateway = Running::start_by(scene, clock);
    let admin = gateway.admin_address();
    let client = Client::new(gateway.address(), &authority).origin(ORIGIN);
    assert_eq!(client.send(health()).await.unwrap().status(), 200, "control");
    assert_eq!(probe(admin, "/livez").await.0, 200, "control");

    *gate.0.lock().unwrap() = true;
    let waits = TcpStream::connect(gateway.address()).await.unwrap();
    let fails = async {
        loop {
            let (status, body) = probe(admin, "/livez").await;
            if status == 503 && body.contains("are stuck") {
                return body;
            }
        }
    };
    let body = timeout(DEADLINE * 2, fails).await.expect("it is noticed");
    assert!(body.contains("threads that serve connections are stuck\n"), "{body}");
    *gate.0.lock().unwrap() = false;
    gate.1.notify_all();
    let recovers = async { while probe(admin, "/livez").await.0 != 200 {} };
    timeout(DEADLINE, recovers).await.expect("it goes on");
    assert_eq!(client.send(health()).await.unwrap().status(), 200);
    drop(waits);
}
