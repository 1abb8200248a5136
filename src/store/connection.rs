//! A connection to a store, from the names of its servers to what has to be known of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, RedisError, RedisResult, Value, cmd};
use tokio::task::JoinSet;

use super::cluster::{self, Moves};
use super::link::{Answer, Link, Server};
use super::settings::{Address, Servers, Settings};
use super::{rights, sentinel, shown};

/// A connection that is in order.
pub(super) struct Connection {
    pub(super) asking: Asking,
    /// The tasks that carry the questions; one ends with the connection, and all when this is dropped.
    pub(super) driver: JoinSet<()>,
    /// How long the server has kept every entry of these replicas, when the connection began.
    pub(super) kept_for: Duration,
    /// The entry that says so.
    pub(super) began: String,
    /// The commands that its user may not run, of those that what is kept there needs.
    pub(super) missing: Vec<&'static str>,
}

/// What is not believed of the entry that says since when entries are kept.
pub(super) enum Doubted {
    /// This one.
    Entry(String),
    /// Any: there is one, and it cannot be read.
    Any,
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
    #[error("it is no sentinel, or knows no primary `{0}`")]
    NoSentinel(Box<str>),
    #[error("the key {0} is too long, so that somebody else wrote it; it is written anew")]
    LongEntry(Box<str>),
    #[error("its servers send questions round in a circle")]
    Circle,
    #[error("the password would cross the network to it unencrypted; write `rediss://`")]
    Exposed,
    #[error("`{0}`: {1}")]
    At(Address, Box<Self>),
}

impl ConnectError {
    /// The same, of one server of several.
    pub(super) fn at(self, address: &Address) -> Self {
        Self::At(address.clone(), Box::new(self))
    }

    /// Whether it is the entry that says since when entries are kept.
    pub(super) fn is_of_the_entry(&self) -> bool {
        matches!(self.inner(), Self::LongEntry(_))
    }

    fn is_of_a_replica(&self) -> bool {
        matches!(self.inner(), Self::Replica)
    }

    /// The same, of whichever server.
    fn inner(&self) -> &Self {
        if let Self::At(_, error) = self { error.inner() } else { self }
    }
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
        let detail = self.0.detail().unwrap_or_default();
        match (self.0.code(), rights::denied(detail)) {
            (_, Some(command)) => write!(f, "NOPERM: {}", rights::described(&[command])),
            (Some("NOPERM"), None) => write!(f, "NOPERM: its user may not use the keys; {}", rights::WAY_OUT),
            (code, None) => Self::code(code, detail, self.0.category(), f),
        }
    }
}

impl Refusal {
    fn code(code: Option<&str>, detail: &str, category: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match code {
            Some("ERR") if detail.contains("DB index") => {
                f.write_str("it has no database with the number `database`; its own setting `databases` says how many")
            }
            Some("WRONGPASS") => f.write_str("WRONGPASS: the user or its password is not right"),
            Some("NOAUTH") => f.write_str("NOAUTH: it wants a user and a password"),
            Some(code) => f.write_str(&shown(code)),
            None => f.write_str(category),
        }
    }
}

impl From<RedisError> for ConnectError {
    fn from(error: RedisError) -> Self {
        Self::Refused(Refusal(error))
    }
}

/// Whom the questions go to.
#[derive(Clone)]
pub(super) struct Asking {
    server: Server,
    /// Where keys go that move to another server of a cluster.
    pub(super) moves: Option<Arc<Moves>>,
}

impl Asking {
    /// Asks a question to which the answer may be longer by so many bytes, at the server to which the keys move if this one says
    /// so.
    pub(super) async fn ask(&mut self, longer: u64, question: &Cmd) -> RedisResult<Answer> {
        let Some(moves) = &self.moves else { return self.server.ask(longer, question).await };
        match self.server.ask(longer.saturating_add(REDIRECTION), question).await {
            Err(error) => moves.follow(error, longer, question).await,
            answer => answer,
        }
    }

    /// The commands that the user may not run, of those that what is kept there needs.
    pub(super) async fn missing(&mut self, settings: &Settings) -> RedisResult<Vec<&'static str>> {
        rights::missing(&mut self.server, settings).await
    }

    /// Whether keys were moving to another server, and this one has all of them again: what the other was told is lost.
    pub(super) async fn has_taken_back(&mut self, settings: &Settings) -> bool {
        if !self.moves.as_ref().is_some_and(|moves| moves.began()) {
            return false;
        }
        // There is no such key, so that the server sends whoever asks for it to the other for as long as keys move.
        let mut question = cmd("GET");
        question.arg(settings.key("none"));
        self.server.ask(REDIRECTION, &question).await.is_ok()
    }
}

/// Connects to the server that decides, and asks what has to be known before the first question. What the entry `doubted` says is
/// not believed.
pub(super) async fn connect(settings: &Arc<Settings>, doubted: Option<&Doubted>) -> Result<Connection, ConnectError> {
    match &settings.servers {
        Servers::Single(server) => begin(Link::open(settings, server).await?, None, settings, doubted).await,
        Servers::Sentinel(group) => {
            let mut refused = ConnectError::Silent;
            for server in sentinel::primaries(settings, group).await? {
                let link = Link::open_one(settings, &server).await?;
                match begin(link, None, settings, doubted).await.map_err(|error| error.at(&server)) {
                    // Whoever said so is wrong, and another may be right. Of a server that cannot be asked nobody knows that.
                    Err(error) if error.is_of_a_replica() => refused = error,
                    begun => return begun,
                }
            }
            Err(refused)
        }
        Servers::Cluster(servers) => {
            let (link, owner) = cluster::owner(settings, servers).await?;
            let moves = Arc::new(Moves::new(settings.clone(), owner.clone()));
            begin(link, Some(moves), settings, doubted).await.map_err(|error| error.at(&owner))
        }
    }
}

async fn begin(
    mut link: Link,
    moves: Option<Arc<Moves>>,
    settings: &Settings,
    doubted: Option<&Doubted>,
) -> Result<Connection, ConnectError> {
    let run = verify(&mut link.server).await?;
    link.acknowledge(settings).await?;
    let Link { server, driver } = link;
    let mut asking = Asking { server, moves };
    let (kept_for, began) = kept_for(&mut asking, settings, &run, doubted).await?;
    let missing = asking.missing(settings).await?;
    Ok(Connection { asking, driver, kept_for, began, missing })
}

/// The run of a server that may decide: a primary that forgets nothing too early.
///
/// It is another one after a restart, and each time the server becomes a primary.
pub(super) async fn verify(server: &mut Server) -> Result<String, ConnectError> {
    let info = text(server.ask(0, &cmd("INFO")).await?.value).ok_or(ConnectError::Nonsense("INFO"))?;
    let member = |name: &str| info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'));
    if member("role") != Some("master") {
        return Err(ConnectError::Replica);
    }
    match member("maxmemory_policy") {
        Some("noeviction") => {}
        Some(policy) => return Err(ConnectError::Evicts(shown(policy))),
        None => return Err(ConnectError::Nonsense("INFO")),
    }
    let plain = |id: &&str| id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let short = |name| member(name).filter(plain).and_then(|id| id.get(..8)).ok_or(ConnectError::Nonsense("INFO"));
    Ok(format!("{}{}", short("run_id")?, short("master_replid")?))
}

/// How long the server has kept every entry of these replicas, and the entry that says so; zero if it may have lost some, as
/// after a restart.
///
/// That entry has no end: its value is the run of the server in which it was written, and when. Another run may have lost what
/// was acknowledged before, as after a fail-over, and so has one without the entry.
async fn kept_for(
    asking: &mut Asking,
    settings: &Settings,
    run: &str,
    doubted: Option<&Doubted>,
) -> Result<(Duration, String), ConnectError> {
    let now = time(ask(asking, &cmd("TIME")).await?).ok_or(ConnectError::Nonsense("TIME"))?;
    let key = settings.key(BEGAN);
    let value = format!("{run} {now}");
    let doubted = match doubted {
        Some(Doubted::Any) => {
            ask(asking, cmd("SET").arg(&key).arg(&value)).await?;
            return Ok((Duration::ZERO, value));
        }
        Some(Doubted::Entry(doubted)) => Some(doubted),
        None => None,
    };
    if ask(asking, cmd("SET").arg(&key).arg(&value).arg("NX")).await? == Value::Okay {
        return Ok((Duration::ZERO, value));
    }
    let found = entry(asking, settings, &key).await?;
    let believed = found.as_ref().filter(|found| doubted != Some(found));
    let began = believed.and_then(|found| found.strip_prefix(run)?.strip_prefix(' ')?.parse::<u64>().ok());
    match (began, found) {
        // Both are whole seconds, rounded down.
        (Some(began), Some(found)) => Ok((Duration::from_secs(now.saturating_sub(began).saturating_sub(1)), found)),
        (None, _) | (_, None) => {
            ask(asking, cmd("SET").arg(&key).arg(&value)).await?;
            Ok((Duration::ZERO, value))
        }
    }
}

/// What the entry says since when entries are kept; `None` if it is no text, which only somebody else can have written.
async fn entry(asking: &mut Asking, settings: &Settings, key: &str) -> Result<Option<String>, ConnectError> {
    let store = &*settings.name;
    match asking.ask(0, cmd("GET").arg(key)).await {
        Ok(Answer { value: Value::BulkString(bytes), .. }) => {
            let text = String::from_utf8(bytes).ok();
            if text.is_none() {
                tracing::warn!(store, key, "the key has no text, but what somebody else wrote; it is written anew");
            }
            Ok(text)
        }
        // Somebody has deleted it since.
        Ok(Answer { value: Value::Nil, .. }) => Ok(None),
        Ok(_) => Err(ConnectError::Nonsense("GET")),
        Err(error) if error.code() == Some("WRONGTYPE") => {
            tracing::warn!(store, key, "the key is of another type (WRONGTYPE); it is written anew");
            Ok(None)
        }
        Err(_) if asking.server.has_said_too_much() => Err(ConnectError::LongEntry(key.into())),
        Err(error) => Err(error.into()),
    }
}

async fn ask(asking: &mut Asking, command: &Cmd) -> Result<Value, ConnectError> {
    Ok(asking.ask(0, command).await?.value)
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

/// How long an error may be that names another server.
pub(super) const REDIRECTION: u64 = 300;
