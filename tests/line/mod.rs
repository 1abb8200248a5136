//! What is accepted and what is refused, step by step.

mod accepts;
mod access_tokens;
mod allocations;
mod authorization_details;
mod authorization_server;
mod compared_bodies;
mod consents;
mod cors;
mod directories;
mod dpop;
mod ecosystem_certificates;
mod ecosystems;
mod errors;
mod forwarding;
mod idempotency;
mod introspection;
mod keys;
mod metadata;
mod path_variables;
mod profiles;
mod rate_limits;
mod rejects;
mod revocations;
mod shadow;
mod shared_rate_limits;
mod shared_revocations;
mod signatures;
mod vectors;

use bytes::Bytes;
use http::{Method, Request, Response};

use crate::support::ORIGIN;
use crate::support::client::Client;

/// A request without a body, with these fields.
fn asked<M: TryInto<Method, Error: Into<http::Error>>>(
    method: M,
    path: &str,
    fields: &[(&str, &str)],
) -> Request<Bytes> {
    let mut request = Request::builder().method(method).uri(format!("{ORIGIN}{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Bytes::new()).expect("a request")
}

async fn sent(client: &Client, request: Request<Bytes>) -> Response<Bytes> {
    client.send(request).await.expect("the gateway answers")
}

/// The value of a field of a response; empty if there is none.
fn field<'r>(response: &'r Response<Bytes>, name: &str) -> &'r str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}
