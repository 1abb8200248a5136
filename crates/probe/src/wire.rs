//! Everything that leaves the probe leaves here: at the agreed pace, within the agreed number, and noted.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode, Uri};

use crate::call::{Call, Presents};
use crate::clock::{instant, now, timestamp};
use crate::exchange::door::{Door, Stream};
use crate::exchange::http1::Connection;
use crate::exchange::{NoAnswer, Response, http2};
use crate::sent::{Sent, presented};
use crate::settings::{Certificate, Settings};
use crate::socket::Socket;
use crate::transcript::{Circumstances, Transcript};

/// Why nothing is sent any more.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The agreed number is reached.
    #[error("the {0} requests of `limits.total` are used up")]
    Total(u64),
    /// The transcript cannot be written, and nothing may be sent without it.
    #[error("the transcript cannot be written: {0}")]
    Transcript(#[from] std::io::Error),
    /// A dry run makes no handshakes.
    #[error("a handshake: {0}")]
    Dry(String),
}

/// The way to the target.
pub struct Wire<'s> {
    settings: &'s Settings,
    transcript: Transcript<'s>,
    agent: String,
    next: Option<Instant>,
    module: String,
    /// The nonce that each server sent last, the target's and those of authorization servers.
    nonces: HashMap<String, String>,
}

/// What came, and where it is noted.
pub struct Exchange {
    /// The request as it went out.
    pub sent: Sent,
    /// The answer.
    pub answer: Result<Response, NoAnswer>,
    /// The line of the transcript.
    pub line: u64,
}

impl<'s> Wire<'s> {
    /// Begins with an empty transcript.
    pub fn new(settings: &'s Settings, transcript: Transcript<'s>) -> Self {
        let agent = format!("fapi-gateway-probe/{} ({})", env!("CARGO_PKG_VERSION"), settings.contact);
        Self { settings, transcript, agent, next: None, module: String::new(), nonces: HashMap::new() }
    }

    /// What follows belongs to this module.
    pub fn begin(&mut self, module: &str) {
        module.clone_into(&mut self.module);
    }

    /// The settings of the run.
    pub fn settings(&self) -> &'s Settings {
        self.settings
    }

    /// The lines so far.
    pub fn transcript(&self) -> &Transcript<'s> {
        &self.transcript
    }

    /// The nonce that the target sent last.
    pub fn nonce(&self) -> Option<&str> {
        self.nonce_of(&self.settings.target.origin())
    }

    /// The nonce that a server sent last.
    pub fn nonce_of(&self, origin: &str) -> Option<&str> {
        self.nonces.get(origin).map(String::as_str)
    }

    /// Forgets the nonce of the target, as a client does that calls for the first time.
    pub fn forget_nonce(&mut self) {
        self.nonces.remove(&self.settings.target.origin());
    }

    /// Makes the request of a call.
    pub fn prepare(&self, call: &Call) -> Sent {
        Sent::of(call, &self.settings.target, &self.agent, now(), self.nonce())
    }

    /// Sends a call on a connection of its own.
    ///
    /// # Errors
    /// [`Ended`].
    pub fn send(&mut self, call: &Call) -> Result<Exchange, Ended> {
        let sent = self.prepare(call);
        self.send_prepared(call, sent)
    }

    /// The same for a request that was prepared before.
    ///
    /// # Errors
    /// [`Ended`].
    pub fn send_prepared(&mut self, call: &Call, sent: Sent) -> Result<Exchange, Ended> {
        let authority = self.settings.target.authority();
        self.exchange(call, sent, |door, sent| match call.http2 {
            true => over_http2(door, call, sent, &authority),
            false => over_http1(door, sent),
        })
    }

    /// Sends a call in a way of the module's, which has the way to the target and the request.
    ///
    /// # Errors
    /// [`Ended`].
    pub fn send_by(
        &mut self,
        call: &Call,
        send: impl FnOnce(&Door, &Sent) -> Result<Response, NoAnswer>,
    ) -> Result<Exchange, Ended> {
        let sent = self.prepare(call);
        self.exchange(call, sent, send)
    }

    fn exchange(
        &mut self,
        call: &Call,
        sent: Sent,
        send: impl FnOnce(&Door, &Sent) -> Result<Response, NoAnswer>,
    ) -> Result<Exchange, Ended> {
        self.turn()?;
        let (began, time) = (instant(), timestamp());
        let door = self.door(call);
        let answer = if self.settings.dry { pretended() } else { send(&door, &sent) };
        self.note(call, sent, answer, time, began)
    }

    /// Sends several calls one after the other on one connection of HTTP/1.1, that of the first. Ends early if the server closes it.
    ///
    /// # Errors
    /// [`Ended`].
    pub fn send_in_a_row(&mut self, calls: &[Call]) -> Result<Vec<Exchange>, Ended> {
        let mut exchanges = Vec::new();
        let mut connection: Option<Connection<Stream>> = None;
        for call in calls {
            self.turn()?;
            let (began, time) = (instant(), timestamp());
            let sent = self.prepare(call);
            if self.settings.dry {
                exchanges.push(self.note(call, sent, pretended(), time, began)?);
                continue;
            }
            let answer = match &mut connection {
                Some(open) => {
                    open.stream().sock.extend(self.settings.limits.timeout);
                    open.exchange(&sent.http1(), call.method == "HEAD")
                }
                None => self.door(call).open().and_then(|stream| {
                    connection.insert(Connection::new(stream)).exchange(&sent.http1(), call.method == "HEAD")
                }),
            };
            exchanges.push(self.note(call, sent, answer, time, began)?);
            if !connection.as_ref().is_some_and(Connection::is_reusable) {
                break;
            }
        }
        Ok(exchanges)
    }

    /// Sends bytes that no library would write, and reads the first answer.
    ///
    /// # Errors
    /// [`Ended`].
    pub fn send_raw(&mut self, call: &Call, bytes: &[u8]) -> Result<(Result<Response, NoAnswer>, u64), Ended> {
        self.turn()?;
        let (began, time) = (instant(), timestamp());
        let answer = match self.settings.dry {
            true => pretended(),
            false => self.door(call).open().and_then(|stream| Connection::new(stream).exchange(bytes, false)),
        };
        self.learn_fields(bytes);
        let of = self.circumstances(self.address(call.replica), presented(&call.presents), time, began);
        let line = self.transcript.raw(&of, bytes, &answer)?;
        Ok((answer, line))
    }

    /// Sends the same requests at the same moment, each on a connection of its own that is open before.
    ///
    /// # Errors
    /// [`Ended`].
    pub fn send_at_once(&mut self, calls: Vec<(Call, Sent)>) -> Result<Vec<Exchange>, Ended> {
        // They go out together, so they wait for the time of all of them.
        self.turns(calls.len())?;
        let (began, time) = (instant(), timestamp());
        if self.settings.dry {
            let noted = calls.into_iter();
            return noted.map(|(call, sent)| self.note(&call, sent, pretended(), time.clone(), began)).collect();
        }
        let opened: Vec<_> = calls.iter().map(|(call, _)| self.door(call).open()).collect();
        let barrier = std::sync::Barrier::new(opened.len());
        let answers: Vec<Result<Response, NoAnswer>> = std::thread::scope(|scope| {
            let threads: Vec<_> = opened
                .into_iter()
                .zip(&calls)
                .map(|(opened, (_, sent))| {
                    let barrier = &barrier;
                    scope.spawn(move || {
                        barrier.wait();
                        Connection::new(opened?).exchange(&sent.http1(), false)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(Err(NoAnswer::Closed))).collect()
        });
        let noted = calls.into_iter().zip(answers);
        noted.map(|((call, sent), answer)| self.note(&call, sent, answer, time.clone(), began)).collect()
    }

    /// Does a handshake that has no request, and notes it.
    ///
    /// # Errors
    /// [`Ended`].
    pub fn handshake<A>(
        &mut self,
        replica: usize,
        offered: &str,
        shake: impl FnOnce(SocketAddr, Duration) -> A,
        told: impl FnOnce(&A) -> String,
    ) -> Result<(A, u64), Ended> {
        self.turn()?;
        let (began, time) = (instant(), timestamp());
        let address = self.address(replica);
        if self.settings.dry {
            return Err(Ended::Dry(offered.to_owned()));
        }
        let answer = shake(address, self.settings.limits.timeout);
        let of = self.circumstances(address, None, time, began);
        let line = self.transcript.handshake(&of, offered, &told(&answer))?;
        Ok((answer, line))
    }

    /// Sends a request to another server than the target, such as an authorization server.
    ///
    /// # Errors
    /// [`Ended`].
    pub fn send_elsewhere(&mut self, door: &Door, origin: &str, sent: Sent) -> Result<Exchange, Ended> {
        let exchange = self.elsewhere(door.address, sent, |sent| over_http1(door, sent))?;
        self.keep_nonce(origin.to_owned(), &exchange.answer);
        Ok(exchange)
    }

    /// The same in a way of the caller's.
    ///
    /// # Errors
    /// [`Ended`].
    pub fn elsewhere(
        &mut self,
        address: SocketAddr,
        sent: Sent,
        send: impl FnOnce(&Sent) -> Result<Response, NoAnswer>,
    ) -> Result<Exchange, Ended> {
        self.turn()?;
        let (began, time) = (instant(), timestamp());
        let answer = if self.settings.dry { pretended() } else { send(&sent) };
        let of = self.circumstances(address, None, time, began);
        self.learn_all(&sent);
        let line = self.transcript.request(&of, &sent, &answer)?;
        Ok(Exchange { sent, answer, line })
    }

    /// The name by which the probe calls.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// How the connection of a call is opened.
    pub fn door(&self, call: &Call) -> Door {
        let Settings { target, clients, limits, .. } = self.settings;
        Door {
            address: self.address(call.replica),
            name: target.host().to_owned(),
            certificate: certificate(&call.presents, clients),
            protocols: if call.http2 { &[b"h2"] } else { &[b"http/1.1"] },
            roots: Arc::clone(&target.roots),
            timeout: limits.timeout,
        }
    }

    /// The address of a replica; that of the first, if there are fewer.
    pub fn address(&self, replica: usize) -> SocketAddr {
        let addresses = &self.settings.target.addresses;
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        addresses.get(replica).or(addresses.first()).copied().unwrap_or(unspecified)
    }

    fn note(
        &mut self,
        call: &Call,
        sent: Sent,
        answer: Result<Response, NoAnswer>,
        time: String,
        began: Instant,
    ) -> Result<Exchange, Ended> {
        self.keep_nonce(self.settings.target.origin(), &answer);
        self.learn_all(&sent);
        if let Ok(response) = &answer
            && response.status == StatusCode::TOO_MANY_REQUESTS
        {
            self.back_off(response);
        }
        let of = self.circumstances(self.address(call.replica), presented(&call.presents), time, began);
        let line = self.transcript.request(&of, &sent, &answer)?;
        Ok(Exchange { sent, answer, line })
    }

    fn circumstances(
        &self,
        address: SocketAddr,
        presented: Option<String>,
        time: String,
        began: Instant,
    ) -> Circumstances {
        Circumstances {
            module: self.module.clone(),
            time,
            address: address.to_string(),
            presented,
            took: began.elapsed(),
        }
    }

    /// Keeps the nonce of an answer for the next proof (RFC 9449 §8.2).
    fn keep_nonce(&mut self, origin: String, answer: &Result<Response, NoAnswer>) {
        let nonce = answer.as_ref().ok().and_then(|response| response.sole("dpop-nonce"));
        if let Some(nonce) = nonce {
            self.nonces.insert(origin, nonce.to_owned());
        }
    }

    /// Keeps a secret out of everything that is written.
    pub fn learn(&mut self, secret: &str, name: &str) {
        self.transcript.secrets().learn(secret, name);
    }

    /// A text without the secrets of the run.
    pub fn hide(&self, text: &str) -> String {
        self.transcript.hide(text)
    }

    fn learn_all(&mut self, sent: &Sent) {
        for (secret, name) in sent.secrets() {
            match ONCE.contains(&name.as_str()) {
                true => self.transcript.secrets().learn_once(secret, name),
                false => self.transcript.secrets().learn(secret, name),
            }
        }
    }

    /// Learns what stands in the fields of bytes that a module wrote itself.
    fn learn_fields(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        for line in text.lines() {
            let Some((name, value)) = line.split_once(':') else { continue };
            if name.eq_ignore_ascii_case("dpop") {
                self.transcript.secrets().learn_once(value.trim(), "PROOF");
            } else if name.eq_ignore_ascii_case("authorization") {
                self.learn(value.trim().rsplit(' ').next().unwrap_or_default(), "TOKEN");
            }
        }
    }

    /// Waits for as long as a target asks for, within reason.
    fn back_off(&mut self, response: &Response) {
        let asked = response.sole("retry-after").and_then(|value| value.trim().parse().ok()).unwrap_or(1);
        self.next = instant().checked_add(Duration::from_secs(asked).min(LONGEST_PAUSE));
    }

    /// Whether the target can be reached at all.
    ///
    /// # Errors
    /// Why not.
    pub fn reach(&mut self) -> Result<(), String> {
        if self.settings.dry {
            return Ok(());
        }
        let address = self.address(0);
        match Socket::connect(address, self.settings.limits.timeout) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{address} cannot be reached: {error}")),
        }
    }

    /// Waits for its turn.
    fn turn(&mut self) -> Result<(), Ended> {
        self.turns(1)
    }

    /// Waits for the turn of so many requests.
    fn turns(&mut self, count: usize) -> Result<(), Ended> {
        let limits = self.settings.limits;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if self.transcript.lines().saturating_add(count.into()) > limits.total {
            return Err(Ended::Total(limits.total));
        }
        if self.settings.dry {
            return Ok(());
        }
        let now = instant();
        let at = self.next.filter(|next| *next > now).unwrap_or(now);
        std::thread::sleep(at.saturating_duration_since(now));
        let pause = Duration::from_secs(1).saturating_mul(count).checked_div(limits.rate).unwrap_or_default();
        self.next = at.checked_add(pause);
        Ok(())
    }
}

/// What is of use once.
const ONCE: [&str; 2] = ["PROOF", "SIGNATURE"];

/// The longest pause that a target can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What a dry run goes on with.
fn pretended() -> Result<Response, NoAnswer> {
    Ok(Response { status: StatusCode::OK, fields: Vec::new(), body: b"{}".to_vec() })
}

fn over_http1(door: &Door, sent: &Sent) -> Result<Response, NoAnswer> {
    Connection::new(door.open()?).exchange(&sent.http1(), sent.method == "HEAD")
}

fn over_http2(door: &Door, call: &Call, sent: &Sent, authority: &str) -> Result<Response, NoAnswer> {
    let malformed = |error: &dyn std::fmt::Display| NoAnswer::Malformed(error.to_string());
    let host = if call.host.is_empty() { authority } else { &call.host };
    let uri = format!("https://{host}{}", sent.target).parse::<Uri>().map_err(|error| malformed(&error))?;
    let method = Method::from_bytes(sent.method.as_bytes()).map_err(|error| malformed(&error))?;
    let fields: Vec<_> = sent.fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")).cloned().collect();
    http2::exchange(door, &method, &uri, &fields, sent.body.as_deref().unwrap_or_default())
}

fn certificate(presents: &Presents, clients: &[crate::settings::Client; 2]) -> Option<Certificate> {
    match presents {
        Presents::Nothing => None,
        Presents::Client(client) => clients.get(*client)?.certificate.clone(),
        Presents::Other(_, certificate) => Some((**certificate).clone()),
    }
}
