//! The demo's protected resource: a small accounts API that returns what the gateway forwarded about the caller.
//!
//! It checks nothing and responds to everyone, which is why the gateway is in front of it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};
use rustls::ServerConfig;
use serde_json::{Map, Value, json};

use crate::https::{Answer, HttpServer, Recorded};

/// The API on loopback: `GET /accounts`, `GET /accounts/{id}`, `POST /payments` and `GET /health`; all else is 404.
/// Dropping it stops it.
#[derive(Debug)]
pub struct AccountsApi {
    server: HttpServer,
}

impl AccountsApi {
    /// Serves on `listener`, or on a free port of 127.0.0.1 if there is none; plain HTTP/1.1 without `tls`.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The port cannot be bound.
    pub fn start(listener: Option<TcpListener>, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        Ok(Self { server: HttpServer::start(listener, tls, Arc::new(|request| answer(&request)))? })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Like [`HttpServer::url`].
    pub fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    /// Every request so far, in order.
    pub fn requests(&self) -> Vec<Recorded> {
        self.server.requests()
    }

    /// Forgets the requests.
    pub fn clear(&self) {
        self.server.clear();
    }

    /// The underlying server, to wait for requests and to count heads.
    pub fn server(&self) -> &HttpServer {
        &self.server
    }

    /// The underlying server, to stop and restart it.
    pub fn server_mut(&mut self) -> &mut HttpServer {
        &mut self.server
    }
}

fn answer(request: &Recorded) -> Answer {
    let seen = || seen(&request.headers);
    let segments: Vec<&str> = request.path().split('/').skip(1).collect();
    match (&request.method, segments.as_slice()) {
        (&Method::GET | &Method::HEAD, ["accounts"]) => {
            Answer::json(StatusCode::OK, json!({ "accounts": accounts(), "seen": seen() }))
        }
        (&Method::GET | &Method::HEAD, ["accounts", id]) => match account(id) {
            Some(account) => Answer::json(StatusCode::OK, json!({ "account": account, "seen": seen() })),
            None => not_found(),
        },
        (&Method::POST, ["payments"]) => Answer::json(
            StatusCode::CREATED,
            json!({ "payment": { "id": "payment-1", "status": "accepted" }, "seen": seen() }),
        ),
        (&Method::GET | &Method::HEAD, ["health"]) => Answer::json(StatusCode::OK, json!({ "status": "up" })),
        _ => not_found(),
    }
}

fn accounts() -> Value {
    json!([
        { "id": "1001", "name": "Current account", "currency": "EUR", "balance": "1820.55" },
        { "id": "1002", "name": "Savings account", "currency": "EUR", "balance": "12400.00" },
    ])
}

fn account(id: &str) -> Option<Value> {
    accounts().as_array()?.iter().find(|account| account["id"] == id).cloned()
}

fn not_found() -> Answer {
    Answer::json(StatusCode::NOT_FOUND, json!({ "error": "not_found" }))
}

/// The header fields about the caller, by name; several lines with the same name are joined by a comma.
fn seen(headers: &HeaderMap) -> Value {
    let mut seen = Map::new();
    for name in headers.keys().filter(|name| tells_identity(name.as_str())) {
        let lines: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        let mut value = lines.join(", ");
        if name.as_str() == "client-cert" {
            value = shorten(value);
        }
        seen.insert(name.to_string(), json!(value));
    }
    Value::Object(seen)
}

fn tells_identity(name: &str) -> bool {
    matches!(name, "client-cert" | "x-fapi-interaction-id" | "forwarded")
        || name.starts_with("x-token-")
        || name.starts_with("x-forwarded-")
}

fn shorten(value: String) -> String {
    match value.char_indices().nth(32) {
        Some((end, _)) => format!("{}...", &value[..end]),
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, uri: &str) -> Recorded {
        Recorded {
            method,
            uri: uri.to_owned(),
            authority: None,
            headers: HeaderMap::new(),
            body: bytes::Bytes::new(),
            version: http::Version::HTTP_11,
            client_certificate: None,
        }
    }

    fn status(method: Method, uri: &str) -> u16 {
        answer(&request(method, uri)).status.as_u16()
    }

    fn body(request: &Recorded) -> Value {
        serde_json::from_slice(&answer(request).body).unwrap()
    }

    #[test]
    fn answers_its_four_resources_and_no_other() {
        assert_eq!(status(Method::GET, "/accounts?page=1"), 200);
        assert_eq!(status(Method::GET, "/accounts/1002"), 200);
        assert_eq!(status(Method::POST, "/payments"), 201);
        assert_eq!(body(&request(Method::GET, "/health")), json!({ "status": "up" }));

        assert_eq!(status(Method::GET, "/accounts/1003"), 404);
        assert_eq!(status(Method::GET, "/accounts/"), 404);
        assert_eq!(status(Method::DELETE, "/accounts"), 404);
        assert_eq!(status(Method::GET, "/payments"), 404);
        assert_eq!(status(Method::GET, "/"), 404);
    }

    #[test]
    fn lists_two_accounts() {
        assert_eq!(body(&request(Method::GET, "/accounts"))["accounts"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn shows_the_identity_that_it_saw_and_no_credentials() {
        let mut request = request(Method::GET, "/accounts/1001");
        for (name, value) in [
            ("x-token-subject", "customer-1"),
            ("client-cert", ":MIIBnjCCAUSgAwIBAgIQTestTestTestTestTest=:"),
            ("x-fapi-interaction-id", "73cb5b9b-1f1c-4f5c-8b64-8f3c5a3bdf4c"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=127.0.0.1"),
            ("authorization", "Bearer secret"),
            ("accept", "*/*"),
        ] {
            request.headers.append(name, value.parse().unwrap());
        }
        request.headers.append("x-token-subject", "twice".parse().unwrap());
        let expected = json!({
            "x-token-subject": "customer-1, twice",
            "client-cert": ":MIIBnjCCAUSgAwIBAgIQTestTestTes...",
            "x-fapi-interaction-id": "73cb5b9b-1f1c-4f5c-8b64-8f3c5a3bdf4c",
            "x-forwarded-proto": "https",
            "forwarded": "for=127.0.0.1",
        });
        assert_eq!(body(&request)["seen"], expected);
    }

    #[tokio::test]
    async fn serves_on_loopback_and_records() {
        let api = AccountsApi::start(None, None).unwrap();
        let stream = tokio::net::TcpStream::connect(api.address()).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get("/health").header("host", "bank").body(String::new()).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
        assert_eq!((api.requests().len(), api.requests()[0].uri.as_str()), (1, "/health"));
    }
}
