//! Those who want in, or want others out. They come from an address of their own.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Request, Version};
use sandbox::tokens::{KeyKind, Proof, SigningKey};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::time::timeout;
use uuid::Uuid;

use super::world::{World, count};
use crate::edge::hostile::wire::{Drops, dripping_h2};
use crate::support::client::{self, Client};
use crate::support::{ORIGIN, dpop_request, request};

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

impl World {
    fn enemy(&self) -> Client {
        self.client.clone().certificate(&self.authority.client("enemy")).bind(ADDRESS)
    }
}

/// Tokens and proofs of all kinds, none of them good.
pub(super) async fn junk(world: Arc<World>) {
    let (own, client) = (SigningKey::generate(KeyKind::Es256, "own"), world.enemy());
    let stolen = world.authority.client("victim");
    let mut round = 0_u64;
    while !world.is_over() {
        round += 1;
        let now = client::now();
        let good = world.bank.token(now).bound_to_certificate(&stolen);
        let key = world.bank.key(KeyKind::Es256);
        // An invented `kid` has the gateway ask for the keys of the issuer, which must not be to the harm of others.
        let invented = SigningKey::generate(KeyKind::Es256, &format!("invented-{round}"));
        let request = match round % 8 {
            0 => request("/accounts", &Uuid::new_v4().to_string()),
            1 => request("/accounts", &good.sign(key)),
            2 => request("/accounts", &good.sign(&own)),
            3 => request("/accounts", &world.changing.token(now).bound_to_certificate(&stolen).sign(&invented)),
            4 => request("/accounts", &good.expires_at(now - 3600).sign(key)),
            5 => request("/accounts/1001", &format!("invented-{round}")),
            6 => request("/accounts/%2e%2e/x", &good.sign(key)),
            _ => {
                let token = world.bank.token(now).bound_to_key(own.thumbprint()).sign(key);
                let proof = Proof::new("POST", &format!("{ORIGIN}/accounts"), now).for_token(&token).sign(&own);
                dpop_request("/accounts", &token, &proof)
            }
        };
        let client = if round.is_multiple_of(3) { client.clone().h2() } else { client.clone().h1() };
        if let Ok(mut connection) = client.connect().await
            && let Some(answer) = world.send(&mut connection, request).await
        {
            // Nobody knows whether a key that is not in the key set exists, unless the keys may be read again.
            let unknown = matches!(round % 8, 2 | 3) && answer.status() == 503;
            assert!(answer.status().is_client_error() || unknown, "{}: {answer:?}", round % 8);
            count(&world.counts.refused);
        }
        world.pause(Duration::from_millis(20)).await;
    }
}

/// The same proof over two connections at once.
pub(super) async fn replays(world: Arc<World>) {
    let (key, client) = (SigningKey::generate(KeyKind::Es256, "proof"), world.enemy());
    let mut twice_refused = 0;
    while !world.is_over() {
        let now = client::now();
        let token = world.bank.token(now).bound_to_key(key.thumbprint()).sign(world.bank.key(KeyKind::Es256));
        let proof = Proof::new("GET", &format!("{ORIGIN}/accounts"), now).for_token(&token).sign(&key);
        let send = |client: Client| {
            let (world, request) = (&world, dpop_request("/accounts", &token, &proof));
            async move {
                let mut connection = client.connect().await.ok()?;
                Some(world.send(&mut connection, request).await?.status().as_u16())
            }
        };
        let (first, second) = tokio::join!(send(client.clone().h1()), send(client.clone().h2()));
        let accepted = [first, second].iter().filter(|status| **status == Some(200)).count();
        assert!(accepted <= 1, "one proof was accepted twice");
        twice_refused += u64::from(accepted == 0);
        count(&world.counts.replayed);
        world.pause(Duration::from_millis(100)).await;
    }
    // After the start, proofs need a nonce for a while.
    let replayed = world.counts.replayed.load(Ordering::Relaxed);
    assert!(twice_refused * 2 < replayed.max(200), "control: {twice_refused} of {replayed} were refused twice");
}

/// Connections without a handshake, a hundred at a time.
pub(super) async fn floods(world: Arc<World>) {
    let gateway = world.client.address();
    while !world.is_over() {
        let mut held = Vec::new();
        for _ in 0..100 {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind((ADDRESS, 0).into()).expect("a local address");
            held.extend(socket.connect(gateway).await);
        }
        world.pause(Duration::from_secs(2)).await;
    }
}

/// Half a head, half a body, and answers of 64 MiB that nobody reads, each for five seconds.
pub(super) async fn stalls(world: Arc<World>, number: u64) {
    const HELD: Duration = Duration::from_secs(5);
    let credential = world.authority.client("enemy");
    let client = world.client.clone().certificate(&credential).bind(ADDRESS);
    while !world.is_over() {
        let token = world.bank.token(client::now()).bound_to_certificate(&credential);
        let token = token.sign(world.bank.key(KeyKind::Es256));
        let head = |method: &str, path: &str| {
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n")
        };
        let bytes = match number % 4 {
            0 => head("GET", "/accounts"),
            1 => head("POST", "/accounts") + "Content-Length: 1000\r\n\r\nhalf",
            2 => head("GET", "/large") + "\r\n",
            _ => String::new(),
        };
        if bytes.is_empty() {
            if let Ok(stream) = client.clone().h2().raw_stream().await {
                let mut connection = dripping_h2(stream).await;
                let mut unread = Vec::new();
                for _ in 0..20 {
                    let request = Request::get(format!("{ORIGIN}/large")).version(Version::HTTP_2);
                    let request = request.header("authorization", format!("Bearer {token}"));
                    let response = connection.send_request(request.body(Drops::none()).expect("a request"));
                    unread.push(timeout(HELD, response).await);
                }
                world.pause(HELD).await;
            }
        } else if let Ok(mut stream) = client.clone().h1().raw_stream().await {
            let _ = stream.write_all(bytes.as_bytes()).await;
            world.pause(HELD).await;
        }
        count(&world.counts.stalled);
    }
}
