//! Which server is the primary, by those that watch over it.

use std::collections::HashMap;
use std::sync::Arc;

use redis::{cmd, from_redis_value};
use tokio::task::JoinSet;

use super::connection::ConnectError;
use super::link::{Link, within};
use super::settings::{Address, Sentinels, Settings};

/// What sentinels say is the primary by their last decision: one server, unless they contradict each other.
///
/// All are asked at the same time. They number their decisions, so that one that was cut off, or has left the group, is seen to
/// be behind; the first that answers might be it.
pub(super) async fn primaries(settings: &Arc<Settings>, group: &Arc<Sentinels>) -> Result<Vec<Address>, ConnectError> {
    let mut asked = JoinSet::new();
    for sentinel in &group.sentinels {
        let (settings, group, sentinel) = (settings.clone(), group.clone(), sentinel.clone());
        asked.spawn(async move { within(&sentinel, primary(&settings, &group, &sentinel)).await });
    }
    let (mut said, mut why) = (Vec::new(), ConnectError::Silent);
    while let Some(answer) = asked.join_next().await {
        match answer {
            Ok(Ok(primary)) => said.push(primary),
            Ok(Err(error)) => why = error,
            // It was not asked to the end.
            Err(_) => {}
        }
    }
    let last = said.iter().map(|(epoch, _)| *epoch).max();
    let mut addresses: Vec<Address> = Vec::new();
    for (epoch, address) in said {
        if Some(epoch) == last && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(why) } else { Ok(addresses) }
}

/// The number of a sentinel's last decision, and the primary by it.
async fn primary(settings: &Settings, group: &Sentinels, sentinel: &Address) -> Result<(u64, Address), ConnectError> {
    let mut link = Link::to_sentinel(settings, sentinel, &group.credentials).await?;
    let mut question = cmd("SENTINEL");
    question.arg("MASTER").arg(&*group.master);
    let answer = link.server.ask(0, &question).await;
    let answer = answer.map_err(|error| match error.code() {
        Some("ERR") => ConnectError::NoSentinel(group.master.clone()),
        Some(_) | None => error.into(),
    })?;
    let nonsense = || ConnectError::Nonsense("SENTINEL MASTER");
    let members: HashMap<String, String> = from_redis_value(answer.value).map_err(|_| nonsense())?;
    let member = |name: &str| members.get(name).map(String::as_str).unwrap_or_default();
    let epoch = member("config-epoch").parse().map_err(|_| nonsense())?;
    Ok((epoch, Address::said(member("ip"), member("port")).ok_or_else(nonsense)?))
}
