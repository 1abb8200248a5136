//! A connection to a store, from the name of its server to what has to be known of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ProtocolVersion, RedisConnectionInfo, RedisError, Value, cmd};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::acknowledging::{Acknowledging, wait};
use super::bounded::{Bounded, Expected};
use super::settings::Settings;
use super::shown;
use crate::issuer::http::client_config;

/// A connection that is in order.
pub(super) struct Connection {
    pub(super) asking: MultiplexedConnection,
    /// Hears of answers that are longer than their questions.
    pub(super) expected: Expected,
    /// Which of the writes on it replicas have, if that matters.
    pub(super) acknowledging: Option<Arc<Acknowledging>>,
    /// The tasks that carry the questions; one ends with the connection, and all when this is dropped.
    pub(super) driver: JoinSet<()>,
    /// How long the server has kept every entry of these replicas, when the connection began.
    pub(super) kept_for: Duration,
    /// The entry that says so.
    pub(super) began: String,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("its name cannot be resolved, or it cannot be connected to: {0}")]
    Unreachable(std::io::Error),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("{0}")]
    Refused(Refusal),
    #[error("it does not answer")]
    Silent,
    #[error("it is a replica, which accepts no entries; name the primary, or a service that leads to it")]
    Replica,
    #[error("its `maxmemory-policy` is `{0}`, by which it forgets entries too early; set it to `noeviction`")]
    Evicts(Box<str>),
    #[error("what it answers to {0} is not understood")]
    Nonsense(&'static str),
}

/// An error that the server answers with, or that ended the connection. Only the code of the former is shown: its text may
/// repeat what was asked.
pub(super) struct Refusal(RedisError);

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.code() {
            Some("NOPERM") => {
                f.write_str("NOPERM: the user lacks a command or a key; docs/operate/replicas.md has the list")
            }
            Some("WRONGPASS") => f.write_str("WRONGPASS: the user or its password is not right"),
            Some("NOAUTH") => f.write_str("NOAUTH: it wants a user and a password"),
            Some(code) => f.write_str(&shown(code)),
            None => write!(f, "{}", self.0.category()),
        }
    }
}

impl From<RedisError> for ConnectError {
    fn from(error: RedisError) -> Self {
        Self::Refused(Refusal(error))
    }
}

/// Connects, and asks what has to be known before the first question.
pub(super) async fn connect(settings: &Settings) -> Result<Connection, ConnectError> {
    let stream = TcpStream::connect((&*settings.host, settings.port)).await.map_err(ConnectError::Unreachable)?;
    stream.set_nodelay(true).map_err(ConnectError::Unreachable)?;
    let Some(tls) = &settings.tls else { return over(stream, settings).await };
    let config = client_config(&tls.trust_anchors, tls.identity.as_ref())
        .map_err(|error| ConnectError::Tls(error.to_string()))?;
    let connecting = TlsConnector::from(Arc::new(config)).connect(tls.server_name.clone(), stream);
    over(connecting.await.map_err(|error| ConnectError::Tls(error.to_string()))?, settings).await
}

async fn over<S>(stream: S, settings: &Settings) -> Result<Connection, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut info = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_db(settings.database.into())
        .set_skip_set_lib_name();
    if let Some(username) = &settings.username {
        info = info.set_username(username);
    }
    if let Some(password) = &settings.password {
        info = info.set_password(password.as_str());
    }
    // Whoever asks has a limit of its own, and its place among those in flight.
    let config =
        AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(settings.in_flight.max(1));
    let expected = Expected::default();
    let bounded = Bounded::new(stream, expected.clone());
    let (mut asking, driving) = MultiplexedConnection::new_with_config(&info, bounded, config).await?;
    let mut driver = JoinSet::new();
    driver.spawn(driving);
    let (kept_for, began) = kept_for(&mut asking, settings).await?;
    let acknowledging = match settings.min_replicas {
        0 => None,
        least => {
            // Whether the user may ask that is known now, and not only when something was written.
            ask(&mut asking, &wait(0, settings.patience())).await?;
            let (acknowledging, asking) = (Arc::new(Acknowledging::default()), asking.clone());
            let (of_task, patience) = (acknowledging.clone(), settings.patience());
            driver.spawn(async move { of_task.ask(asking, least, patience).await });
            Some(acknowledging)
        }
    };
    Ok(Connection { asking, expected, acknowledging, driver, kept_for, began })
}

/// How long the server has kept every entry of these replicas, and the entry that says so; zero if it may have lost some, as
/// after a restart.
///
/// That entry has no end: its value is the run of the server in which it was written, in short, and when. Another run may have
/// lost what was acknowledged before, as after a fail-over, and so has one without the entry.
async fn kept_for(asking: &mut MultiplexedConnection, settings: &Settings) -> Result<(Duration, String), ConnectError> {
    let info = text(ask(asking, &cmd("INFO")).await?).ok_or(ConnectError::Nonsense("INFO"))?;
    let member = |name: &str| info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'));
    if member("role") != Some("master") {
        return Err(ConnectError::Replica);
    }
    match member("maxmemory_policy") {
        Some("noeviction") => {}
        Some(policy) => return Err(ConnectError::Evicts(shown(policy))),
        None => return Err(ConnectError::Nonsense("INFO")),
    }
    let plain = |run: &&str| run.len() == 40 && run.bytes().all(|byte| byte.is_ascii_hexdigit());
    let run = member("run_id").filter(plain).and_then(|run| run.get(..8)).ok_or(ConnectError::Nonsense("INFO"))?;
    let now = time(ask(asking, &cmd("TIME")).await?).ok_or(ConnectError::Nonsense("TIME"))?;
    let key = settings.key(BEGAN);
    let value = format!("{run} {now}");
    if ask(asking, cmd("SET").arg(&key).arg(&value).arg("NX")).await? == Value::Okay {
        return Ok((Duration::ZERO, value));
    }
    let found = text(ask(asking, cmd("GET").arg(&key)).await?).ok_or(ConnectError::Nonsense("GET"))?;
    let began = found.split_once(' ').filter(|(of, _)| *of == run).and_then(|(_, began)| began.parse::<u64>().ok());
    match began {
        // Both are whole seconds, rounded down.
        Some(began) => Ok((Duration::from_secs(now.saturating_sub(began).saturating_sub(1)), found)),
        None => {
            ask(asking, cmd("SET").arg(&key).arg(&value)).await?;
            Ok((Duration::ZERO, value))
        }
    }
}

async fn ask(asking: &mut MultiplexedConnection, command: &Cmd) -> Result<Value, ConnectError> {
    Ok(asking.send_packed_command(command).await.and_then(Value::extract_error)?)
}

fn text(value: Value) -> Option<String> {
    if let Value::VerbatimString { text, .. } = value {
        return Some(text);
    }
    let Value::BulkString(bytes) = value else { return None };
    String::from_utf8(bytes).ok()
}

/// The seconds of an answer to TIME.
fn time(value: Value) -> Option<u64> {
    let Value::Array(parts) = value else { return None };
    text(parts.into_iter().next()?)?.parse().ok()
}

/// The name of the entry that says since when a server keeps entries.
pub(crate) const BEGAN: &str = "began";
