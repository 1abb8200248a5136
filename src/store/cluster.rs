//! Which server of a cluster has the keys, and where they go when they move to another.

use std::io;
use std::sync::{Arc, OnceLock};

use redis::{Cmd, RedisError, RedisResult, cmd};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::connection::{ConnectError, REDIRECTION, verify};
use super::link::{Answer, Link, Server, within};
use super::settings::{Address, Settings};

/// Where a server says that a key is.
#[derive(Debug, PartialEq, Eq)]
enum Elsewhere {
    /// At this server from now on.
    Moved(Address),
    /// Not here any more, or not yet anywhere, while all keys around it move to this server.
    Moving(Address),
}

impl Elsewhere {
    /// Reads it from an error of `server`, which leaves its own host out.
    fn of(error: &RedisError, server: &Address) -> Option<Self> {
        let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
        let host = if host.is_empty() { &server.host } else { host.trim_start_matches('[').trim_end_matches(']') };
        let address = Address::said(host, port)?;
        match error.code() {
            Some("MOVED") => Some(Self::Moved(address)),
            Some("ASK") => Some(Self::Moving(address)),
            Some(_) | None => None,
        }
    }
}

/// Connects to the server that has the keys; every server of the cluster says which, when it is asked for one.
pub(super) async fn owner(settings: &Arc<Settings>, servers: &[Address]) -> Result<(Link, Address), ConnectError> {
    // Not always the same one: that may be silent.
    let mut random = [0; 2];
    let _ = aws_lc_rs::rand::fill(&mut random);
    let first = usize::from(u16::from_be_bytes(random)).checked_rem(servers.len()).unwrap_or(0);
    let mut why = ConnectError::Silent;
    for server in servers.iter().cycle().skip(first).take(servers.len()) {
        match follow(settings, server).await {
            Ok(found) => return Ok(found),
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// Goes from a server to the one that has the keys.
async fn follow(settings: &Settings, server: &Address) -> Result<(Link, Address), ConnectError> {
    // There is no such key, so that whatever somebody wrote keeps nobody from finding the server.
    let mut question = cmd("GET");
    question.arg(settings.key("none"));
    let mut address = server.clone();
    for _ in 0..STEPS {
        let mut link = Link::open_one(settings, &address).await?;
        let asked = async { Ok(link.server.ask(REDIRECTION, &question).await) };
        match within(&address, asked).await? {
            Ok(_) => return Ok((link, address)),
            Err(error) => match Elsewhere::of(&error, &address) {
                Some(Elsewhere::Moved(to)) => address = to,
                Some(Elsewhere::Moving(_)) => return Ok((link, address)),
                None => return Err(ConnectError::from(error).at(&address)),
            },
        }
    }
    Err(ConnectError::Circle)
}

/// The server that has the keys, and the one to which they move while they do.
pub(super) struct Moves {
    settings: Arc<Settings>,
    owner: Address,
    target: OnceLock<Target>,
    /// Told when the target is lost.
    pub(super) lost: Arc<Notify>,
}

/// A server to which keys move.
struct Target {
    address: Address,
    /// What it is asked on, once it is connected to; closed when it is lost.
    link: watch::Receiver<Option<Server>>,
    /// Connects, and carries the questions.
    _task: JoinSet<()>,
}

impl Moves {
    pub(super) fn new(settings: Arc<Settings>, owner: Address) -> Self {
        Self { settings, owner, target: OnceLock::new(), lost: Arc::default() }
    }

    /// Whether entries may have been written to another server than the owner.
    pub(super) fn began(&self) -> bool {
        self.target.get().is_some()
    }

    /// Asks the target what the owner answered with `error` to, if that names one.
    ///
    /// The target is connected to once. If that fails, if it is lost, or if there is another, then the owner is connected to anew
    /// first, with all that is looked at then and a pause: nothing here goes round.
    pub(super) async fn follow(&self, error: RedisError, longer: u64, question: &Cmd) -> RedisResult<Answer> {
        let Some(Elsewhere::Moving(address)) = Elsewhere::of(&error, &self.owner) else { return Err(error) };
        let target = self.target.get_or_init(|| Target::new(&self.settings, address.clone(), self.lost.clone()));
        if target.address != address {
            return Err(error);
        }
        let mut link = target.link.clone();
        let server = link.wait_for(Option::is_some).await.ok().and_then(|server| server.clone());
        let lost = || io::Error::other("the server to which its keys move is lost");
        server.ok_or_else(lost)?.ask_early(longer, question).await
    }
}

impl Target {
    fn new(settings: &Arc<Settings>, address: Address, lost: Arc<Notify>) -> Self {
        let (sender, link) = watch::channel(None);
        let mut task = JoinSet::new();
        task.spawn({
            let (settings, address) = (settings.clone(), address.clone());
            async move {
                match connect(&settings, &address).await {
                    Ok(Link { server, mut driver }) => {
                        tracing::info!(store = &*settings.name, to = %address, "the keys of the store move");
                        sender.send_replace(Some(server));
                        driver.join_next().await;
                    }
                    Err(why) => {
                        tracing::warn!(store = &*settings.name, %why, "the keys of the store move to a server that cannot be used");
                    }
                }
                drop(sender);
                lost.notify_one();
            }
        });
        Self { address, link, _task: task }
    }
}

/// Connects to a target, which has to be as good as an owner.
async fn connect(settings: &Settings, address: &Address) -> Result<Link, ConnectError> {
    let mut link = Link::open_one(settings, address).await?;
    within(address, verify(&mut link.server)).await?;
    within(address, link.acknowledge(settings)).await?;
    Ok(link)
}

/// How many servers may be asked for the one that has the keys, each after what the one before said.
const STEPS: usize = 5;

#[cfg(test)]
mod tests {
    use redis::parse_redis_value;

    use super::*;

    #[test]
    fn what_a_server_says_of_a_key_is_read_or_is_an_error() {
        let server = Address::said("10.0.0.1", "7000").unwrap();
        let at = |host, port| Address::said(host, port).unwrap();
        for (said, read) in [
            ("MOVED 3999 10.0.0.2:6381", Some(Elsewhere::Moved(at("10.0.0.2", "6381")))),
            ("ASK 3999 10.0.0.2:6381", Some(Elsewhere::Moving(at("10.0.0.2", "6381")))),
            ("MOVED 3999 :6381", Some(Elsewhere::Moved(at("10.0.0.1", "6381")))),
            ("MOVED 3999 fd00::2:6381", Some(Elsewhere::Moved(at("fd00::2", "6381")))),
            ("MOVED 3999 redis-2.bank.svc:6381", Some(Elsewhere::Moved(at("redis-2.bank.svc", "6381")))),
            ("MOVED 3999 ?:6381", None),
            ("MOVED 3999 10.0.0.2:0", None),
            ("MOVED 3999 10.0.0.2", None),
            ("MOVED 3999", None),
            ("MOVED", None),
            ("CLUSTERDOWN Hash slot not served", None),
            ("ERR 3999 10.0.0.2:6381", None),
        ] {
            let error = parse_redis_value(format!("-{said}\r\n").as_bytes()).unwrap().extract_error().unwrap_err();
            assert_eq!(Elsewhere::of(&error, &server), read, "{said}");
        }
    }
}
