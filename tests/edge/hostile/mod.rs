//! Each trap that Pingora or rustls sets, demonstrated in the smallest setup that has it and shown to be closed in the
//! gateway; and what an attacker sends to find the next one.
//!
//! T1 to T8, in the names of the tests, are: resumption that skips the client's certificate (T1), connections to
//! upstreams shared between identities (T2), headers that the client's `Connection` removes (T3), headers (T4) and
//! HTTP/2 bodies (T5) that never end, certificates that cause a panic (T6), a shutdown that takes a fixed time (T7),
//! requests that can be read in two ways (T8).

mod answers;
mod certificates;
mod drain;
mod early;
mod floods;
mod http2;
mod messages;
mod names;
mod overload;
mod shares;
mod slow;
mod tls;
mod upstreams;
pub mod wire;

use http::Request;
use sandbox::https::Recorded;

use crate::support::client::Client;
use crate::support::{ORIGIN, World};

/// Checks that the gateway still serves requests; with short limits, a busy machine may need a second attempt.
async fn still_serves(world: &World) {
    for client in [world.client().h1(), world.client().h2()] {
        let mut last = None;
        for _ in 0..5 {
            match client.send(world.request()).await {
                Ok(response) => {
                    assert_eq!(
                        (response.status().as_u16(), &world.gateway.record_of(&response)["code"]),
                        (200, &"ok".into())
                    );
                    last = None;
                    break;
                }
                Err(error) => last = Some(error),
            }
        }
        assert!(last.is_none(), "{last:?}");
    }
}

/// The head of a request with `T(C1)`, without its final empty line; `extra` holds whole lines.
fn head(world: &World, line: &str, extra: &str) -> String {
    let token = world.sign(&world.token());
    format!("{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{extra}\r\n")
}

/// What the upstream received, across all requests.
fn seen(world: &World) -> Vec<Recorded> {
    world.accounts.requests()
}

/// The requests that contain the marker anywhere; there must not be any.
fn marked(world: &World) -> Vec<String> {
    let requests = seen(world).into_iter().map(|request| format!("{request:?}"));
    requests.filter(|request| request.contains(MARKER)).collect()
}

/// An HTTP/2 request whose body the test sends frame by frame.
fn h2_request(world: &World, method: &str, path: &str) -> http::request::Builder {
    let token = world.sign(&world.token());
    Request::builder()
        .method(method)
        .uri(format!("{ORIGIN}{path}"))
        .version(http::Version::HTTP_2)
        .header("authorization", format!("Bearer {token}"))
}

/// A client that uses HTTP/1 and the certificate of `T(C1)`.
fn client(world: &World) -> Client {
    world.client().h1()
}

/// Appears in requests that must never reach an upstream.
const MARKER: &str = "marker-7f3a";
