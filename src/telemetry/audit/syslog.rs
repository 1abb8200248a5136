//! The audit as messages of syslog (RFC 5424) to a server over TLS (RFC 5425).
//!
//! The thread that writes the lines sends them, and waits for the server only for moments; another one connects. A line counts
//! as written when the system has taken all of its message: the protocol knows no acknowledgement. One that was not is sent
//! again over the next connection.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use memchr::memmem;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::clock::Moment;
use crate::telemetry::lines::portion;

/// Where messages go.
pub struct Settings {
    /// The host, a name or an IP address.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
    /// The name that the server's certificate must have.
    pub server_name: ServerName<'static>,
    /// What is trusted, and who the gateway is.
    pub tls: Arc<ClientConfig>,
    /// A hash of the files and names that `tls` was made from.
    pub tls_hash: [u8; 32],
}

impl PartialEq for Settings {
    fn eq(&self, other: &Self) -> bool {
        let of = |settings: &Self| (settings.host.clone(), settings.port, settings.tls_hash);
        self.server_name == other.server_name && of(self) == of(other)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Settings").field(&self.to_string()).finish()
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Lines on their way to a server. Writing takes whole lines, each with its end.
pub(super) struct Syslog {
    settings: Arc<Settings>,
    /// What stands between the time and the line of each message.
    header: String,
    state: State,
}

enum State {
    /// There is no connection since the last attempt, which began then.
    Waiting { tried: Moment, why: String },
    /// Another thread connects.
    Connecting { tried: Moment, outcome: Receiver<io::Result<Connection>> },
    /// Messages are sent.
    Connected { since: Moment, connection: Box<Connection> },
}

struct Connection {
    tls: ClientConnection,
    tcp: TcpStream,
    /// How many bytes the lines have whose messages are being sent.
    sending: usize,
}

impl Syslog {
    /// Connects, without waiting for it.
    ///
    /// # Errors
    /// When no thread can be created.
    pub(super) fn connect(settings: Arc<Settings>) -> io::Result<Self> {
        let state = State::connecting(&settings)?;
        // RFC 5424 §6.2.4: a field whose value is not known is a hyphen.
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host =
            Some(host.trim()).filter(|host| host.bytes().all(|byte| byte.is_ascii_graphic()) && !host.is_empty());
        let header = format!(" {} fapi-gateway {} audit - ", host.unwrap_or("-"), std::process::id());
        Ok(Self { settings, header, state })
    }
}

impl State {
    fn connecting(settings: &Arc<Settings>) -> io::Result<Self> {
        let (sender, outcome) = channel();
        let settings = settings.clone();
        let tried = Moment::now();
        std::thread::Builder::new().name("syslog".into()).spawn(move || {
            // Whoever asked may have been told to stop.
            let _ = sender.send(Connection::open(&settings));
        })?;
        Ok(Self::Connecting { tried, outcome })
    }
}

impl Write for Syslog {
    /// Sends the first of these lines, and returns how many bytes they have. Waits for moments only.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        match &mut self.state {
            State::Waiting { tried, why } if tried.elapsed() < PAUSE => Err(io::Error::other(why.clone())),
            State::Waiting { .. } => {
                self.state = State::connecting(&self.settings)?;
                Err(ErrorKind::WouldBlock.into())
            }
            State::Connecting { tried, outcome } => {
                let (tried, outcome) = match outcome.recv_timeout(MOMENT) {
                    Err(RecvTimeoutError::Timeout) => return Err(ErrorKind::WouldBlock.into()),
                    Err(RecvTimeoutError::Disconnected) => (*tried, Err(ErrorKind::ConnectionAborted.into())),
                    Ok(outcome) => (*tried, outcome),
                };
                match outcome {
                    Ok(connection) => {
                        tracing::info!(server = %self.settings, "the audit is sent to the syslog server");
                        self.state = State::Connected { since: tried, connection: Box::new(connection) };
                        // What comes next is sent without another wait.
                        Err(ErrorKind::Interrupted.into())
                    }
                    Err(error) => {
                        let why = format!("the syslog server {} cannot be reached: {error}", self.settings);
                        self.state = State::Waiting { tried, why: why.clone() };
                        Err(io::Error::other(why))
                    }
                }
            }
            State::Connected { since, connection } => {
                let error = match connection.send(lines, &self.header) {
                    Err(error) if error.kind() != ErrorKind::WouldBlock => error,
                    sent => return sent,
                };
                if since.elapsed() >= PAUSE {
                    // A server that is replaced is no fault yet.
                    tracing::info!(server = %self.settings, %error, "the connection to the syslog server has ended");
                    self.state = State::connecting(&self.settings)?;
                    return Err(ErrorKind::WouldBlock.into());
                }
                let why = format!("the connection to the syslog server {} has ended: {error}", self.settings);
                self.state = State::Waiting { tried: *since, why: why.clone() };
                Err(io::Error::other(why))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Connection {
    /// Connects to the first address that answers; takes a bounded time for each.
    fn open(settings: &Settings) -> io::Result<Self> {
        let mut last = io::Error::new(ErrorKind::NotFound, "its name has no address");
        for address in (&*settings.host, settings.port).to_socket_addrs()?.take(MOST_ADDRESSES) {
            let opened =
                TcpStream::connect_timeout(&address, PATIENCE).and_then(|tcp| Self::shake_hands(settings, tcp));
            match opened {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn shake_hands(settings: &Settings, mut tcp: TcpStream) -> io::Result<Self> {
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        tcp.set_nodelay(true)?;
        let mut tls =
            ClientConnection::new(settings.tls.clone(), settings.server_name.clone()).map_err(io::Error::other)?;
        let began = Moment::now();
        while tls.is_handshaking() || tls.wants_write() {
            if began.elapsed() > PATIENCE {
                return Err(ErrorKind::TimedOut.into());
            }
            if tls.wants_write() {
                tls.write_tls(&mut tcp)?;
                continue;
            }
            if tls.read_tls(&mut tcp)? == 0 {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed it during the handshake"));
            }
            if let Err(error) = tls.process_new_packets() {
                // The server learns why.
                let _ = tls.write_tls(&mut tcp);
                return Err(io::Error::other(error));
            }
        }
        // In TLS 1.3, the client is finished before the server has judged its certificate, and what it sends until it hears of that
        // is lost. Most servers send something when they are content.
        tcp.set_read_timeout(Some(VERDICT))?;
        match tls.read_tls(&mut tcp) {
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed it after the handshake")),
            Ok(_) => {
                tls.process_new_packets().map_err(io::Error::other)?;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        // What is sent at a time is bounded here.
        tls.set_buffer_limit(None);
        tcp.set_nonblocking(true)?;
        Ok(Self { tls, tcp, sending: 0 })
    }

    fn send(&mut self, lines: &[u8], header: &str) -> io::Result<usize> {
        self.hear()?;
        if self.sending == 0 {
            let portion = portion(lines);
            let mut messages = Vec::with_capacity(portion.len().saturating_mul(2));
            for line in portion.split_inclusive(|byte| *byte == b'\n') {
                frame(line.strip_suffix(b"\n").unwrap_or(line), header, &mut messages);
            }
            self.tls.writer().write_all(&messages)?;
            self.sending = portion.len();
        }
        let began = Moment::now();
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.tcp) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let rest = MOMENT.saturating_sub(began.elapsed());
                    if rest.is_zero() || !self.has_room(rest)? {
                        return Err(error);
                    }
                    self.hear()?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(std::mem::take(&mut self.sending))
    }

    /// Notices that the server has ended the connection. It has nothing else to say (RFC 5425 §4.3).
    fn hear(&mut self) -> io::Result<()> {
        for _ in 0..MOST_RECORDS {
            match self.tls.read_tls(&mut self.tcp) {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed it")),
                Ok(_) => {
                    let state = self.tls.process_new_packets().map_err(io::Error::other)?;
                    if state.peer_has_closed() {
                        return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed it"));
                    }
                    let mut nothing = [0; 1024];
                    while self.tls.reader().read(&mut nothing).is_ok_and(|count| count > 0) {}
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits a moment until the connection takes something, or has something to tell.
    fn has_room(&self, moment: Duration) -> io::Result<bool> {
        let mut sockets = [PollFd::from_borrowed_fd(self.tcp.as_fd(), PollFlags::OUT)];
        match poll(&mut sockets, i32::try_from(moment.as_millis()).unwrap_or(i32::MAX)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// RFC 5425 §4.4: "The transport sender MUST close a TLS connection if the connection is not expected to deliver any syslog
/// messages later. It MUST send a TLS close_notify alert before closing the connection."
impl Drop for Connection {
    fn drop(&mut self) {
        self.tls.send_close_notify();
        let _ = self.tls.write_tls(&mut self.tcp);
    }
}

/// Appends the message of a line (RFC 5424 §6), and before it its length (RFC 5425 §4.3).
fn frame(line: &[u8], header: &str, out: &mut Vec<u8>) {
    let time = time_of(line).unwrap_or(b"-");
    let length = [PRIORITY.len(), time.len(), header.len(), line.len()].into_iter().fold(0, usize::saturating_add);
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    for part in [PRIORITY, time, header.as_bytes(), line] {
        out.extend_from_slice(part);
    }
}

/// The time of a line, which is that of RFC 5424 §6.2.3 too.
fn time_of(line: &[u8]) -> Option<&[u8]> {
    const MEMBER: &[u8] = b"\"time\":\"";
    let start = memmem::find(line.get(..64).unwrap_or(line), MEMBER)?.saturating_add(MEMBER.len());
    let time = line.get(start..start.saturating_add(24))?;
    (time.ends_with(b"Z") && line.get(start.saturating_add(24)) == Some(&b'"')).then_some(time)
}

/// RFC 5424 §6.2.1: facility 13, log audit, and severity 6, informational; and the version, 1.
const PRIORITY: &[u8] = b"<110>1 ";
/// How long to wait for the server before the writer looks whether it has anything else to do.
const MOMENT: Duration = Duration::from_millis(50);
/// How long to wait after an attempt to connect before the next one.
const PAUSE: Duration = Duration::from_secs(1);
/// How long an address, and then its handshake, may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the server may take to refuse the certificate of the gateway.
const VERDICT: Duration = Duration::from_millis(500);
/// How many addresses of a name are tried.
const MOST_ADDRESSES: usize = 8;
/// How many times in a row is read what the server says.
const MOST_RECORDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_length_the_time_of_its_line_and_the_line() {
        let framed = |line: &str| {
            let mut out = Vec::new();
            frame(line.as_bytes(), " host fapi-gateway 7 audit - ", &mut out);
            String::from_utf8(out).unwrap()
        };
        let line = r#"{"event":"handshake","time":"2026-11-21T12:35:41.829Z","listener":"ä"}"#;
        let message = format!("<110>1 2026-11-21T12:35:41.829Z host fapi-gateway 7 audit - {line}");
        assert_eq!(framed(line), format!("{} {message}", message.len()));
        for without in ["{}", r#"{"time":"2026"}"#, r#"{"time":"2026-11-21T12:35:41.829+01:00"}"#, r#"{"time":"#] {
            let message = format!("<110>1 - host fapi-gateway 7 audit - {without}");
            assert_eq!(framed(without), format!("{} {message}", message.len()));
        }
    }
}
