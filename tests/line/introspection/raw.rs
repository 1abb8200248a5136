//! An introspection endpoint that writes raw bytes, valid or not.

use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use sandbox::pki::Authority;
use sandbox::tls::tls_config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::support::{Scene, World};

/// What the endpoint does with a request.
#[derive(Clone)]
pub(super) enum Move {
    /// Writes this, then waits for the next request.
    Answer(Vec<u8>),
    /// Writes the first part, then repeats the second until the connection is closed.
    Endless(Vec<u8>, Vec<u8>),
    /// The same, with a pause after each repetition.
    Dripping(Vec<u8>, Vec<u8>),
    /// Writes this and closes the connection.
    Close(Vec<u8>),
}

/// The endpoint; dropping it stops it.
pub(super) struct Raw {
    url: String,
    authority: Authority,
    questions: Arc<Mutex<Vec<String>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Raw {
    /// Starts the endpoint with `name` in its certificate; `talk` decides what to do with a request, given the number
    /// of the connection and the number of the request on it, both from 0.
    pub(super) async fn start(name: &str, talk: impl Fn(usize, usize) -> Move + Send + Sync + 'static) -> Self {
        let authority = Authority::new("endpoint");
        let acceptor = TlsAcceptor::from(tls_config(&authority.server(&[name]), None));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/introspect", listener.local_addr().unwrap().port());
        let questions = Arc::<Mutex<Vec<String>>>::default();
        let (kept, talk) = (questions.clone(), Arc::new(talk));
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, talk, kept) = (acceptor.clone(), talk.clone(), kept.clone());
                connections.spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let _ = serve(&mut stream, |question| talk(connection, question), &kept).await;
                });
            }
        });
        Self { url, authority, questions, serving }
    }

    /// A world whose gateway introspects here; `more` as in [`Scene::introspected`].
    pub(super) async fn world(&self, more: &str) -> World {
        World::with(|scene: Scene| {
            scene
                .introspected(&format!(", endpoint: \"{}\"{more}", self.url))
                .file("endpoint.pem", &self.authority.pem())
                .replace("    trust_anchors: [ca.pem]\n", "    trust_anchors: [ca.pem, endpoint.pem]\n")
        })
        .await
    }

    /// The URL of the endpoint.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The bodies of the requests so far.
    pub(super) fn questions(&self) -> Vec<String> {
        self.questions.lock().unwrap().clone()
    }
}

async fn serve(
    stream: &mut TlsStream<TcpStream>,
    talk: impl Fn(usize) -> Move,
    kept: &Mutex<Vec<String>>,
) -> io::Result<()> {
    for number in 0.. {
        let question = read(stream).await?;
        kept.lock().unwrap().push(question);
        match talk(number) {
            Move::Answer(bytes) => stream.write_all(&bytes).await?,
            Move::Endless(first, again) => {
                stream.write_all(&first).await?;
                loop {
                    stream.write_all(&again).await?;
                }
            }
            Move::Dripping(first, again) => {
                stream.write_all(&first).await?;
                loop {
                    stream.write_all(&again).await?;
                    stream.flush().await?;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            Move::Close(bytes) => {
                stream.write_all(&bytes).await?;
                return stream.shutdown().await;
            }
        }
        stream.flush().await?;
    }
    Ok(())
}

/// Reads one request: its head, and as much body as the head announces.
async fn read(stream: &mut TlsStream<TcpStream>) -> io::Result<String> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .to_ascii_lowercase()
            .split("content-length: ")
            .nth(1)
            .map(|rest| rest.split("\r\n").next().unwrap_or_default().parse::<usize>().expect("a length"));
        if body.len() >= length.unwrap_or(0) {
            return Ok(body.to_owned());
        }
    }
}

/// A 200 response with `Content-Length`.
pub(super) fn json_bytes(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
}
