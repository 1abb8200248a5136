//! Shutting down a gateway.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use fapi::UnixTime;
use fapi_gateway::clock::Clock;
use fapi_gateway::config::Config;
use fapi_gateway::server::{Bound, Options};
use fapi_gateway::upstream::SystemLookup;
use http::StatusCode;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server, ShutdownSignal, ShutdownSignalWatch};
use sandbox::https::{Answer, HttpServer};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::wire::{Talk, now};
use super::{head, still_serves};
use crate::support::backend::{Frames, Word};
use crate::support::client::{Client, ClientError, Connection};
use crate::support::{DEADLINE, Lines, ORIGIN, World};

struct AtOnce;

#[async_trait]
impl ShutdownSignalWatch for AtOnce {
    async fn recv(&self) -> ShutdownSignal {
        ShutdownSignal::GracefulTerminate
    }
}

/// A second gateway with the same configuration as the world's, stopped by the test.
struct Second {
    address: std::net::SocketAddr,
    admin: std::net::SocketAddr,
    control: fapi_gateway::server::Control,
    audit: Lines,
    ended: mpsc::Receiver<()>,
}

impl Second {
    fn start(world: &World, drain: &str) -> Self {
        let folder = world.gateway.folder();
        let text = std::fs::read_to_string(folder.path().join("gateway.yaml")).expect("it was loaded before");
        let file = folder.write("second.yaml", &text.replace("drain: { delay: 0s, timeout: 2s }", drain));
        let clock = world.clock.clone();
        let audit = Lines::default();
        let options = Options {
            replay_began: Some(UnixTime(0)),
            clock: Clock::from_fn(move || Duration::from_secs(clock.now())),
            audit: Some(Box::new(audit.clone())),
            lookup: Arc::new(SystemLookup),
            threads: None,
        };
        let bound = Bound::new(Config::load(&file).expect("it was loaded before"), options).expect("free ports");
        let (address, admin) = (bound.addresses()[0], bound.admin_address().expect("an admin listener"));
        let control = bound.control();
        let (end, ended) = mpsc::channel();
        std::thread::spawn(move || {
            bound.run().expect("the gateway shuts down cleanly");
            let _ = end.send(());
        });
        Self { address, admin, control, audit, ended }
    }

    fn client(&self, world: &World) -> Client {
        Client::new(self.address, &world.authority).origin(ORIGIN).certificate(&world.c1)
    }

    /// Waits until `/readyz` answers with `status`.
    async fn becomes(&self, status: u16) {
        let becoming = async {
            let mut pace = tokio::time::interval(Duration::from_millis(10));
            while self.readiness().await != status {
                pace.tick().await;
            }
        };
        timeout(DEADLINE, becoming).await.expect("in time");
    }

    async fn readiness(&self) -> u16 {
        readiness(self.admin).await
    }

    /// Waits until so many exchanges are in progress.
    async fn in_flight(&self, count: usize) {
        let wanted = format!("}} {count}\n");
        let becoming = async {
            loop {
                let mut talk = Talk::over(TcpStream::connect(self.admin).await.expect("an admin listener"));
                talk.say("GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").await.unwrap();
                let metrics = talk.rest().await;
                let line = metrics.split("\nfapi_gateway_exchanges_in_flight{").nth(1).expect("the metric");
                if line.split_inclusive('\n').next().is_some_and(|line| line.ends_with(&wanted)) {
                    return;
                }
            }
        };
        timeout(DEADLINE, becoming).await.expect("in time");
    }

    /// Waits for the end, and returns the lines of the audit.
    async fn end(self) -> Vec<Value> {
        tokio::task::spawn_blocking(move || self.ended.recv_timeout(DEADLINE)).await.unwrap().expect("it shuts down");
        self.audit.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

async fn readiness(admin: std::net::SocketAddr) -> u16 {
    let mut talk = Talk::over(TcpStream::connect(admin).await.expect("the admin listener outlives the others"));
    talk.say("GET /readyz HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").await.unwrap();
    talk.answer().await.expect("an answer").status
}

#[tokio::test(flavor = "multi_thread")]
async fn t7_a_drain_answers_what_is_in_flight_and_ends_with_it() {
    fapi_gateway::connection::tls::install_provider().expect("ours is the first provider in the process");
    let naive = std::thread::spawn(|| {
        let began = now();
        let conf = ServerConf {
            grace_period_seconds: Some(1),
            graceful_shutdown_timeout_seconds: Some(0),
            ..ServerConf::default()
        };
        let mut server = Server::new_with_opt_and_conf(None, conf);
        server.bootstrap();
        server.run(RunArgs { shutdown_signal: Box::new(AtOnce) });
        began.elapsed()
    });

    let slow = HttpServer::start(
        None,
        None,
        Arc::new(|_| Answer::text(StatusCode::OK, "complete").delayed(Duration::from_millis(1800))),
    )
    .unwrap();
    let world = World::with(|scene| scene.replace("routes:\n", &slow_route(slow.address()))).await;
    // The timeout exceeds anything this test waits for, so an earlier end is not caused by the timeout.
    let second = Second::start(&world, "drain: { delay: 500ms, timeout: 10s }");
    second.becomes(200).await;
    let connecting = second.client(&world);
    let mut idle = Talk::with(&connecting).await;
    let get = head(&world, "GET /accounts", "");
    idle.say(&get).await.unwrap();
    assert_eq!(idle.answer().await.unwrap().status, 200);
    let mut idle_h2 = connecting.clone().h2().connect().await.unwrap();
    assert_eq!(idle_h2.send(world.request()).await.unwrap().status(), 200);

    second.control.stop();
    second.becomes(503).await;
    let request = crate::support::request("/slow", &world.sign(&world.token()));
    let in_flight = [connecting.clone().h1(), connecting.clone().h2()].map(|client| {
        let request = request.clone();
        tokio::spawn(async move { client.send(request).await })
    });
    slow.wait_until(DEADLINE, |requests| requests.len() == 2)
        .await
        .expect("before the drain: new connections are served");
    idle.say(&get).await.unwrap();
    assert_eq!(idle.answer().await.unwrap().status, 200, "before the drain: open connections are served too");

    // Then the gateway stops accepting connections, while the admin listener still answers and the slow requests
    // continue.
    let closing = async {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        while TcpStream::connect(second.address).await.is_ok() {
            pace.tick().await;
        }
    };
    timeout(DEADLINE, closing).await.expect("new connections are refused");
    assert_eq!(second.readiness().await, 503);
    for (response, http1) in in_flight.into_iter().zip([true, false]) {
        let response = response.await.unwrap().expect("what was in flight is answered");
        let said = response.headers().get("connection").is_some_and(|value| value == "close");
        assert_eq!(said, http1, "the client is told that this is the last response");
        assert_eq!((response.status().as_u16(), &response.body()[..]), (200, &b"complete"[..]));
    }
    let answered = now();
    assert_eq!(idle.rest().await, "", "an idle connection is closed");
    second.end().await;
    let took = answered.elapsed();
    assert!(took < Duration::from_secs(3), "run() returns soon after the last response: {took:?}");

    let took = tokio::task::spawn_blocking(|| naive.join()).await.unwrap().unwrap();
    assert!(
        took >= Duration::from_secs(1),
        "the trap: with nothing to wait for, it takes the whole grace period: {took:?}"
    );
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t7_a_request_that_outlives_the_drain_is_cut() {
    let hanging = HttpServer::start(None, None, Arc::new(|_| Answer::hanging())).unwrap();
    let world = World::with(|scene| scene.replace("routes:\n", &slow_route(hanging.address()))).await;
    let second = Second::start(&world, "drain: { delay: 0s, timeout: 300ms }");
    second.becomes(200).await;
    let mut talk = Talk::with(&second.client(&world)).await;
    talk.say(head(&world, "GET /slow", "")).await.unwrap();
    hanging.wait_until(DEADLINE, |requests| requests.len() == 1).await.expect("it is in flight");
    let began = now();
    second.control.stop();
    second.end().await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!(talk.rest().await, "");
    still_serves(&world).await;
}

/// Whatever was forwarded may have been carried out, and the audit has to say so.
#[tokio::test(flavor = "multi_thread")]
async fn t7_what_a_drain_cuts_is_in_the_audit() {
    const REQUESTS: usize = 5;
    for again in [false, true] {
        let upstream = Frames::start(&[Word::Silence, Word::Begin, Word::Silence, Word::Begin, Word::Silence]).await;
        let route = slow_route(upstream.address()).replace("] }\n", "], protocol: http2 }\n");
        let world = World::with(|scene| scene.replace("routes:\n", &route)).await;
        let drain = if again { "drain: { delay: 0s, timeout: 1h }" } else { "drain: { delay: 0s, timeout: 1s }" };
        let second = Second::start(&world, drain);
        second.becomes(200).await;
        let token = world.sign(&world.token());
        let mut ids = Vec::new();
        let mut open = Vec::new();
        for number in 0..REQUESTS {
            let client = second.client(&world);
            let client = if number < 2 { client.h1() } else { client.h2() };
            let (mut request, id) = (crate::support::request("/slow", &token), uuid::Uuid::new_v4().to_string());
            request.headers_mut().insert("x-fapi-interaction-id", id.parse().unwrap());
            ids.push(id);
            open.push(tokio::spawn(async move { client.send(request).await.is_ok() }));
            second.in_flight(number + 1).await;
            becomes(|| upstream.requests() == number + 1).await;
        }
        // One that is not decided yet.
        let mut waiting = Talk::with(&second.client(&world).h1()).await;
        let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n";
        waiting.say(head(&world, "POST /payments", form)).await.unwrap();
        second.in_flight(REQUESTS + 1).await;
        second.control.stop();
        // Control: one whose client leaves before it is cut.
        open.pop().expect("the last").abort();
        second.in_flight(REQUESTS).await;
        if again {
            second.control.stop();
        }
        let lines = second.end().await;
        for open in open {
            assert!(!open.await.unwrap(), "it is cut");
        }
        let of = |id: &String| -> Vec<_> { lines.iter().filter(|line| line["interaction_id"] == **id).collect() };
        for (number, id) in ids.iter().enumerate() {
            let code = if number + 1 == REQUESTS { "client_gone" } else { "gateway_stopped" };
            let status = if number % 2 == 1 { json!(200) } else { Value::Null };
            let [line] = of(id)[..] else { panic!("{number}: {lines:?}") };
            assert_eq!((&line["decision"], &line["code"]), (&json!("permit"), &json!(code)), "{line}");
            assert_eq!((&line["status"], &line["upstream"], &line["route"]), (&status, &json!("slow"), &json!("slow")));
        }
        let [line] = lines.iter().filter(|line| line["path"] == "/payments").collect::<Vec<_>>()[..] else {
            panic!("{lines:?}")
        };
        assert_eq!((&line["decision"], &line["code"]), (&json!("error"), &json!("gateway_stopped")), "{line}");
        assert_eq!(lines.len(), REQUESTS + 1);
    }
}

async fn becomes(condition: impl Fn() -> bool) {
    let becoming = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, becoming).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn t7_the_drain_tells_clients_to_leave_before_it_closes_their_connections() {
    let world = World::start().await;
    let second = Second::start(&world, "drain: { delay: 3s, timeout: 10s }");
    second.becomes(200).await;
    let mut talk = Talk::with(&second.client(&world)).await;
    let get = head(&world, "GET /accounts", "");
    let mut ask = async || {
        talk.say(&get).await?;
        let answer = talk.answer().await.expect("an answer");
        assert_eq!(answer.status, 200);
        Ok::<bool, std::io::Error>(answer.field("connection") == ["close"])
    };
    assert!(!ask().await.unwrap(), "control: connections are kept");
    second.control.stop();
    second.becomes(503).await;
    assert!(!ask().await.unwrap(), "a client that reconnects now would reach the same gateway");
    let mut last = false;
    while !last {
        last = ask().await.expect("no connection is closed without notice");
    }
    assert_eq!(talk.rest().await, "");
    assert_eq!(second.client(&world).send(world.request()).await.unwrap().status(), 200, "new ones are still accepted");
    second.end().await;
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t7_a_second_stop_cuts_the_drain() {
    let hanging = HttpServer::start(None, None, Arc::new(|_| Answer::hanging())).unwrap();
    let at = hanging.address();
    let world = World::with(|scene| scene.replace("routes:\n", &slow_route(at))).await;
    let second = Second::start(&world, "drain: { delay: 5m, timeout: 1h }");
    second.becomes(200).await;
    let mut talk = Talk::with(&second.client(&world)).await;
    talk.say(head(&world, "GET /slow", "")).await.unwrap();
    hanging.wait_until(DEADLINE, |requests| requests.len() == 1).await.expect("it is in flight");
    second.control.stop();
    second.becomes(503).await;
    second.control.stop();
    second.end().await;
    assert_eq!(talk.rest().await, "");
}

/// Distributes new connections in turn over the gateways that were ready when last asked, as a Kubernetes Service does.
#[derive(Default)]
struct Balancer {
    ready: Mutex<Vec<std::net::SocketAddr>>,
    turn: AtomicUsize,
}

impl Balancer {
    fn choose(&self) -> std::net::SocketAddr {
        let ready = self.ready.lock().unwrap();
        ready[self.turn.fetch_add(1, Ordering::Relaxed) % ready.len()]
    }

    /// Probes one gateway at intervals until it is no longer ready.
    fn watch(self: &Arc<Self>, gateway: &Second) -> tokio::task::JoinHandle<()> {
        let (balancer, address, admin) = (self.clone(), gateway.address, gateway.admin);
        balancer.ready.lock().unwrap().push(address);
        tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(200));
            while readiness(admin).await == 200 {
                pace.tick().await;
            }
            balancer.ready.lock().unwrap().retain(|ready| *ready != address);
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t7_a_rolling_restart_under_load_loses_no_request() {
    let world = Arc::new(World::start().await);
    let drain = "drain: { delay: 1s, timeout: 10s }";
    let first = Second::start(&world, drain);
    first.becomes(200).await;
    let balancer = Arc::new(Balancer::default());
    let mut watched = balancer.watch(&first);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let clients: Vec<_> = (0..6)
        .map(|number| {
            let (world, balancer, stopped) = (world.clone(), balancer.clone(), stopped.clone());
            tokio::spawn(async move {
                let (mut answered, mut connections) = (0, 0);
                let mut connection = None;
                while !*stopped.borrow() {
                    // Most clients keep their connection until `Connection: close` or GOAWAY tells them to leave it;
                    // two open one for each request.
                    let mut kept = match connection.take().filter(|kept: &Connection| !kept.is_closed()) {
                        Some(kept) => kept,
                        None => {
                            let client = Client::new(balancer.choose(), &world.authority).origin(ORIGIN);
                            let client = client.certificate(&world.c1);
                            connections += 1;
                            let client = if number % 2 == 0 { client.h1() } else { client.h2() };
                            client.connect().await.expect("a balancer's choice accepts")
                        }
                    };
                    // A request that was never sent is not lost: the end of the connection was announced.
                    match kept.send(world.request()).await {
                        Ok(response) => assert_eq!(response.status(), 200),
                        Err(ClientError::Http(error)) if error.is_canceled() || error.is_closed() => continue,
                        Err(ClientError::Http(error)) if is_goaway(&error) => continue,
                        Err(error) => panic!("client {number}: {error:?}"),
                    }
                    answered += 1;
                    if number < 4 {
                        connection = Some(kept);
                    }
                }
                (answered, connections)
            })
        })
        .collect();

    let mut serving = first;
    for _ in 0..3 {
        let next = Second::start(&world, drain);
        next.becomes(200).await;
        let next_watched = balancer.watch(&next);
        serving.control.stop();
        serving.end().await;
        watched.await.expect("the balancer noticed");
        watched = next_watched;
        serving = next;
    }
    stop.send(true).unwrap();
    for client in clients {
        let (answered, connections) = client.await.expect("no request was lost");
        // A client that reconnects late may never reach a gateway that is about to stop.
        assert!(answered > 20 && connections > 1, "{answered} answers on {connections} connections");
    }
    serving.control.stop();
    serving.end().await;
}

/// RFC 9113 §6.8: a stream beyond the last that GOAWAY names was not processed, and can be tried elsewhere.
fn is_goaway(error: &hyper::Error) -> bool {
    format!("{error:?}").contains("GoAway(b\"\", NO_ERROR, Remote)")
}

fn slow_route(at: std::net::SocketAddr) -> String {
    format!(
        "  slow: {{ servers: [\"http://{at}\"] }}\nroutes:\n  - {{ name: slow, path: /slow, methods: [GET], scopes: [accounts], upstream: slow }}\n"
    )
}
