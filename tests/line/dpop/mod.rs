//! DPoP (RFC 9449) at the resource, over real sockets: for every rule, a proof that violates only that rule, and one
//! that does not.

mod binding;
mod challenges;
mod nonces;
mod proofs;
mod replays;
mod replica_faults;
mod replica_guarantees;
mod replica_users;
pub(super) mod replicas;
mod uris;

use bytes::Bytes;
use http::{Request, Response};
use sandbox::tokens::Proof;

use crate::support::client::Client;
use crate::support::{Holder, Scene, World, dpop_request};

/// A world, and a client that has a proof key and no certificate.
struct Stage {
    world: World,
    holder: Holder,
}

impl Stage {
    async fn start() -> Self {
        Self::with(|scene| scene).await
    }

    async fn with(adjust: impl FnOnce(Scene) -> Scene) -> Self {
        let world = World::with(adjust).await;
        let holder = world.holder();
        Self { world, holder }
    }

    fn now(&self) -> u64 {
        self.world.clock.now()
    }

    fn client(&self) -> Client {
        self.world.anonymous()
    }

    /// A valid proof for `GET /accounts`.
    fn proof(&self) -> Proof {
        self.holder.proof("/accounts", self.now())
    }

    async fn send(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.client().send(request).await.expect("the gateway answers")
    }

    /// Returns status and code of `GET /accounts` with this proof.
    async fn judge(&self, proof: &Proof) -> (u16, String) {
        self.judge_text(&proof.sign(&self.holder.key)).await
    }

    async fn judge_text(&self, proof: &str) -> (u16, String) {
        self.judge_request(dpop_request("/accounts", &self.holder.token, proof)).await
    }

    async fn judge_request(&self, request: Request<Bytes>) -> (u16, String) {
        self.world.judge_from(&self.client(), request).await
    }

    /// Expects a 401 with this code, and that nothing was forwarded.
    async fn refuses(&self, code: &str, what: &str, proof: &Proof) {
        self.refuses_text(code, what, &proof.sign(&self.holder.key)).await;
    }

    async fn refuses_text(&self, code: &str, what: &str, proof: &str) {
        self.refuses_request(code, what, dpop_request("/accounts", &self.holder.token, proof)).await;
    }

    async fn refuses_request(&self, code: &str, what: &str, request: Request<Bytes>) {
        let before = self.world.accounts.server().heads();
        assert_eq!(self.judge_request(request).await, (401, code.to_owned()), "{what}");
        assert_eq!(self.world.accounts.server().heads(), before, "{what}: nothing may reach the upstream");
    }

    async fn passes(&self, what: &str, proof: &Proof) {
        assert_eq!(self.judge(proof).await, ok(), "{what}");
    }
}

fn ok() -> (u16, String) {
    (200, "ok".to_owned())
}

fn refused(code: &str) -> (u16, String) {
    (401, code.to_owned())
}

/// The values of a field, in the order of its field lines.
fn lines<'r>(response: &'r Response<Bytes>, name: &str) -> Vec<&'r str> {
    response.headers().get_all(name).iter().map(|value| value.to_str().expect("text")).collect()
}
