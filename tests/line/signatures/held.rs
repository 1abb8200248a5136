//! Exchanges that are held: what a server and a client do in them that does not end as it should, or not as soon.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::interval;

use super::{REQUIRED, Signed};

const BOTH: &str = "{ request: required, response: sign, keys: tpps }";

/// What a server does with a request.
#[derive(Clone, Copy)]
enum Server {
    /// It breaks off within its response.
    Truncates,
    /// It sends a byte of its response every quarter of a second, four times as long as it may be silent.
    IsSlow,
    /// It answers after the beginning of the request, and reads no more of it.
    AnswersEarly,
}

async fn read_request(stream: &mut TcpStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    stream.read_exact(&mut vec![0; length.unwrap_or(0)]).await.ok()?;
    Some(())
}

impl Server {
    async fn start(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(self.answer(stream));
            }
        });
        address
    }

    async fn answer(self, mut stream: TcpStream) -> Option<()> {
        match self {
            Self::Truncates => {
                read_request(&mut stream).await?;
                let part = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
                stream.write_all(part).await.ok()?;
            }
            Self::IsSlow => {
                read_request(&mut stream).await?;
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n").await.ok()?;
                let mut pace = interval(Duration::from_millis(250));
                for _ in 0..16 {
                    pace.tick().await;
                    stream.write_all(b"x").await.ok()?;
                }
            }
            Self::AnswersEarly => {
                let _ = stream.read(&mut [0; 1024]).await.ok()?;
                let answer = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
                stream.write_all(answer).await.ok()?;
                stream.shutdown().await.ok()?;
            }
        }
        Some(())
    }
}

async fn world(signature: &str, servers: &[SocketAddr]) -> Signed {
    let servers: Vec<String> = servers.iter().map(|server| format!("\"http://{server}\"")).collect();
    let own = format!("upstreams:\n  own: {{ servers: [{}], response_timeout: 1s }}\n", servers.join(", "));
    Signed::with(signature, |scene| {
        scene
            .replace("upstreams:\n", &own)
            .replace("    upstream: accounts\n  - name: health", "    upstream: own\n  - name: health")
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_breaks_off_has_no_end() {
    let signed = world(REQUIRED, &[Server::Truncates.start().await]).await;
    for client in [signed.world.client().h1(), signed.world.client().h2()] {
        // The larger one goes up beside Pingora.
        for size in [10, 70_000] {
            let request = signed.key.sign(signed.payment(vec![b'a'; size]), signed.now());
            assert!(client.send(request).await.is_err(), "{size}: nobody takes a part of it for all");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_silent_server_that_is_late_and_not_a_slow_one() {
    for signature in [REQUIRED, BOTH] {
        let signed = world(signature, &[Server::IsSlow.start().await]).await;
        let response = signed.send(signed.signed_payment()).await;
        assert_eq!((response.status().as_u16(), response.body().len()), (200, 16), "{signature}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_answer_before_it_has_read_everything_and_nobody_leaves_it_out_for_that() {
    let servers = [Server::AnswersEarly.start().await, Server::AnswersEarly.start().await];
    let signed = world(REQUIRED, &servers).await;
    for number in 0..12 {
        let request = signed.key.sign(signed.payment(vec![number; 9 << 20]), signed.now());
        assert_eq!(signed.send(request).await.status(), 413);
    }
    let text = signed.world.gateway.admin("/metrics").await.1;
    assert!(text.contains("fapi_gateway_upstream_servers{state=\"ejected\",upstream=\"own\"} 0\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_without_content_has_none_whatever_comes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let head = http::Response::builder().status(204).body(()).unwrap();
                    let mut sending = respond.send_response(head, false).unwrap();
                    sending.send_data(Bytes::from_static(b"unsigned"), true).unwrap();
                }
            });
        }
    });
    for signature in [REQUIRED, BOTH] {
        let signed = Signed::with(signature, |scene| {
            let upstream = format!("upstreams:\n  own: {{ servers: [\"http://{own}\"], protocol: http2 }}\n");
            scene
                .replace("upstreams:\n", &upstream)
                .replace("    upstream: accounts\n  - name: health", "    upstream: own\n  - name: health")
        })
        .await;
        for size in [10, 70_000] {
            let request = signed.key.sign(signed.payment(vec![b'a'; size]), signed.now());
            let response = signed.world.client().h2().send(request).await.unwrap();
            assert_eq!((response.status().as_u16(), &**response.body()), (204, &b""[..]), "{signature} {size}");
        }
    }
}
