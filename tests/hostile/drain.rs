//! The end of a gateway.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use fapi_gateway::commands::demo::https::{Answer, HttpServer};
use fapi_gateway::config::Config;
use fapi_gateway::proxy::Clock;
use fapi_gateway::server::{Bound, Options};
use http::StatusCode;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server, ShutdownSignal, ShutdownSignalWatch};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::wire::{Talk, now};
use super::{head, still_serves};
use crate::support::client::Client;
use crate::support::{DEADLINE, ORIGIN, World};

struct AtOnce;

#[async_trait]
impl ShutdownSignalWatch for AtOnce {
    async fn recv(&self) -> ShutdownSignal {
        ShutdownSignal::GracefulTerminate
    }
}

/// A second gateway with the configuration of the world's, stopped by hand.
struct Second {
    address: std::net::SocketAddr,
    admin: std::net::SocketAddr,
    control: fapi_gateway::server::Control,
    ended: mpsc::Receiver<()>,
}

impl Second {
    fn start(world: &World, lame_duck: Duration, drain: Duration) -> Self {
        let file = world.gateway.folder().path().join("gateway.yaml");
        let clock = world.clock.clone();
        let options = Options {
            replay_began: None,
            clock: Clock::from_fn(move || Duration::from_secs(clock.now())),
            audit: Some(Box::new(std::io::sink())),
            lame_duck,
            drain,
            reload: Box::new(|| Err("no reload here".into())),
        };
        let bound = Bound::new(Config::load(&file).expect("it was loaded before"), options).expect("free ports");
        let (address, admin) = (bound.addresses()[0], bound.admin_address().expect("an admin listener"));
        let control = bound.control();
        let (end, ended) = mpsc::channel();
        std::thread::spawn(move || {
            bound.run().expect("the gateway ends well");
            let _ = end.send(());
        });
        Self { address, admin, control, ended }
    }

    fn client(&self, world: &World) -> Client {
        Client::new(self.address, &world.authority).origin(ORIGIN).certificate(&world.c1)
    }

    async fn readiness(&self) -> u16 {
        let mut talk =
            Talk::over(TcpStream::connect(self.admin).await.expect("the admin listener outlives the others"));
        talk.say("GET /readyz HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").await.unwrap();
        talk.answer().await.expect("an answer").status
    }

    /// Waits until readiness is `status`.
    async fn becomes(&self, status: u16) {
        let becoming = async {
            let mut pace = tokio::time::interval(Duration::from_millis(10));
            while self.readiness().await != status {
                pace.tick().await;
            }
        };
        timeout(DEADLINE, becoming).await.expect("in time");
    }

    async fn end(self) {
        tokio::task::spawn_blocking(move || self.ended.recv_timeout(DEADLINE)).await.unwrap().expect("it ends");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t7_a_drain_answers_what_is_in_flight_and_ends_with_it() {
    fapi_gateway::tls::install_provider().expect("ours is the first provider in the process");
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
    let world = World::with(|scene| {
        let at = slow.address();
        scene.replace(
            "routes:\n",
            &format!(
                "  slow: {{ servers: [\"http://{at}\"] }}\nroutes:\n  - {{ name: slow, path: /slow, methods: [GET], scopes: [accounts], upstream: slow }}\n"
            ),
        )
    })
    .await;
    // As long as the drain may take, so that an end before it is an end by itself.
    let second = Second::start(&world, Duration::from_millis(500), DEADLINE);
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
    slow.wait_until(DEADLINE, |requests| requests.len() == 2).await.expect("lame duck: new connections are served");
    idle.say(&get).await.unwrap();
    assert_eq!(idle.answer().await.unwrap().status, 200, "lame duck: old ones are too");

    // Then the door closes while the admin listener still answers and the slow ones go on.
    let closing = async {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        while TcpStream::connect(second.address).await.is_ok() {
            pace.tick().await;
        }
    };
    timeout(DEADLINE, closing).await.expect("new connections are refused");
    assert_eq!(second.readiness().await, 503);
    for response in in_flight {
        let response = response.await.unwrap().expect("what was in flight is answered");
        assert_eq!((response.status().as_u16(), &response.body()[..]), (200, &b"complete"[..]));
    }
    let answered = now();
    assert_eq!(idle.rest().await, "", "an idle connection is closed");
    second.end().await;
    let took = answered.elapsed();
    assert!(took < Duration::from_secs(3), "run() returns soon after the last response: {took:?}");

    let took = tokio::task::spawn_blocking(|| naive.join()).await.unwrap().unwrap();
    assert!(took >= Duration::from_secs(1), "the trap: with nothing to wait for, all of the grace period: {took:?}");
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t7_a_request_that_outlives_the_drain_is_cut() {
    let hanging = HttpServer::start(None, None, Arc::new(|_| Answer::hanging())).unwrap();
    let world = World::with(|scene| {
        let at = hanging.address();
        scene.replace(
            "routes:\n",
            &format!(
                "  slow: {{ servers: [\"http://{at}\"] }}\nroutes:\n  - {{ name: slow, path: /slow, methods: [GET], scopes: [accounts], upstream: slow }}\n"
            ),
        )
    })
    .await;
    let second = Second::start(&world, Duration::ZERO, Duration::from_millis(300));
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
