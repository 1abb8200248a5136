//! Those whose every request has to be answered as it should.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use sandbox::pki::Credential;
use sandbox::tokens::{KeyKind, Proof, SigningKey};
use serde_json::json;

use super::world::{World, count};
use crate::support::client::{self, Connection};
use crate::support::{ORIGIN, dpop_request, http_client, request};

const BETWEEN: Duration = Duration::from_millis(25);
/// After so many requests a client opens another connection.
const REQUESTS: u64 = 40;

/// A client with a certificate and a key for proofs; every other one uses HTTP/2.
pub(super) async fn client(world: Arc<World>, number: u64) {
    let credential = world.authority.client(&format!("client-{number}"));
    let client = world.client.clone().certificate(&credential);
    let client = if number.is_multiple_of(2) { client.h1() } else { client.h2() };
    let client = Honest { world: &world, credential, key: SigningKey::generate(KeyKind::Es256, "proof"), client };
    while !world.is_over() {
        let mut connection = client.client.connect().await.expect("honest clients can connect");
        for round in 0..REQUESTS {
            if world.is_over() || connection.is_closed() {
                break;
            }
            client.request(&mut connection, number + round).await;
            world.pause(BETWEEN).await;
        }
    }
}

struct Honest<'w> {
    world: &'w World,
    credential: Credential,
    key: SigningKey,
    client: client::Client,
}

impl Honest<'_> {
    async fn request(&self, connection: &mut Connection, round: u64) {
        let (world, now) = (self.world, client::now());
        let answer = match round % 5 {
            0 => {
                let token = world.bank.token(now).bound_to_certificate(&self.credential);
                let token = token.sign(world.bank.key(KeyKind::Es256));
                world.send(connection, request("/accounts", &token)).await
            }
            1 => {
                let key = world.key.read().await;
                let token = world.changing.token(now).bound_to_certificate(&self.credential).sign(&key);
                world.send(connection, request("/accounts", &token)).await
            }
            2 => {
                let token = world.bank.token(now).bound_to_certificate(&self.credential);
                let opaque = world.bank.issue(&token);
                let answer = world.send(connection, request("/accounts/1001", &opaque)).await;
                world.bank.revoke(&opaque);
                answer
            }
            3 => self.with_proof(connection, now).await,
            _ => {
                let health = Request::get(format!("{ORIGIN}/health")).body(Bytes::new()).expect("a request");
                world.send(connection, health).await
            }
        };
        let answer = answer.unwrap_or_else(|| panic!("request {round} has no answer"));
        assert_eq!(answer.status(), 200, "request {round}: {answer:?}");
        count(&world.counts.honest);
    }

    /// Sends the proof again with the nonce that it lacks, as after a start.
    async fn with_proof(&self, connection: &mut Connection, now: u64) -> Option<Response<Bytes>> {
        let token = self.world.bank.token(now).bound_to_key(self.key.thumbprint());
        let token = token.sign(self.world.bank.key(KeyKind::Es256));
        let proof = || Proof::new("GET", &format!("{ORIGIN}/accounts"), now).for_token(&token);
        let answer = self.world.send(connection, dpop_request("/accounts", &token, &proof().sign(&self.key))).await?;
        let Some(nonce) = answer.headers().get("dpop-nonce").filter(|_| answer.status() == 401) else {
            return Some(answer);
        };
        let proof = proof().claim("nonce", nonce.to_str().expect("printable"));
        self.world.send(connection, dpop_request("/accounts", &token, &proof.sign(&self.key))).await
    }
}

/// A token is good until it is revoked here, and never after.
pub(super) async fn revoking(world: Arc<World>) {
    let credential = world.authority.client("revoked");
    let http = http_client();
    let client = world.client.clone().certificate(&credential);
    while !world.is_over() {
        let jti = format!("revoked-{}", world.counts.revoked.load(Ordering::Relaxed));
        let token = world.bank.token(client::now()).bound_to_certificate(&credential).claim("jti", jti.as_str());
        let token = token.sign(world.bank.key(KeyKind::Es256));
        let mut open = Vec::new();
        for client in [client.clone().h1(), client.clone().h2()] {
            open.push(client.connect().await.expect("honest clients can connect"));
        }
        let mut statuses = Vec::new();
        for connection in &mut open {
            statuses.push(world.send(connection, request("/accounts", &token)).await.expect("an answer").status());
        }
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
        let revocation = json!({ "jti": jti, "exp": client::now() + 600 }).to_string();
        let posted = http.post(format!("http://{}/revocations", world.admin)).body(revocation);
        let posted = posted.header("content-type", "application/json").send().await.expect("an answer");
        assert_eq!(posted.status(), 204);
        for connection in &mut open {
            let answer = world.send(connection, request("/accounts", &token)).await.expect("an answer");
            assert_eq!(answer.status(), 401, "a revoked token");
        }
        count(&world.counts.revoked);
        world.pause(Duration::from_millis(500)).await;
    }
}

/// What needs a server that is away is answered with 5xx, never with 401, and passes again once it is back.
pub(super) async fn of_flaky_servers(world: Arc<World>) {
    let credential = world.authority.client("flaky");
    let client = world.client.clone().certificate(&credential);
    while !world.is_over() {
        let (bank, now) = (&world.bank, client::now());
        let at_upstream = bank.token(now).bound_to_certificate(&credential).sign(bank.key(KeyKind::Es256));
        let at_issuer = {
            let issuer = world.flaky.read().await;
            issuer.issue(&issuer.token(now).bound_to_certificate(&credential))
        };
        // The accounts API has no such resource as /flaky.
        for (path, token, passed) in [("/accounts/1002", at_upstream, 200), ("/flaky", at_issuer, 404)] {
            let mut connection = client.connect().await.expect("honest clients can connect");
            let status = world.send(&mut connection, request(path, &token)).await.expect("an answer").status().as_u16();
            assert!(status == passed || [502, 503, 504].contains(&status), "{path}: {status}");
            count(&world.counts.flaky[usize::from(status != passed)]);
        }
        world.pause(Duration::from_millis(200)).await;
    }
}
