//! What the server's user has to be allowed, by what is kept in the store.
//!
//! A script says of a command that it may not run less than the server does, some servers not even that this was it, and which
//! commands it runs depends on what it finds. So each is asked for by itself when a connection begins, and not when it matters.

use redis::{Cmd, RedisResult, cmd};

use super::connection::REDIRECTION;
use super::link::Server;
use super::settings::{Holds, Settings};

/// A question that changes nothing at a key that does not exist, by its command and what follows the key.
type Trial = (&'static str, &'static [&'static str]);

impl Holds {
    /// The commands that it needs, beside those with which every connection begins.
    const fn trials(self) -> &'static [Trial] {
        match self {
            Self::Proofs | Self::PushedRequests => &[],
            Self::Rates => &[("eval", &[]), ("evalsha", &[])],
            Self::Revocations => &[
                ("eval", &[]),
                ("getrange", &["0", "0"]),
                // A field without its value, which is looked at only after the rights.
                ("hset", &["x", "x", "x"]),
                ("hdel", &["x"]),
                ("hlen", &[]),
                ("hmget", &["x"]),
                ("zadd", &["XX", "0", "x"]),
                ("zrem", &["x"]),
                ("zrangebyscore", &["0", "0"]),
                ("zrevrange", &["0", "0"]),
            ],
            Self::Answers => &[("getrange", &["0", "0"])],
        }
    }
}

/// The commands that the user may not run, of those that what is kept there needs.
pub(super) async fn missing(server: &mut Server, settings: &Settings) -> RedisResult<Vec<&'static str>> {
    let mut trials: Vec<Trial> = settings.holds.iter().flat_map(|holds| holds.trials()).copied().collect();
    trials.sort_unstable();
    trials.dedup();
    if trials.is_empty() {
        return Ok(Vec::new());
    }
    let key = settings.key("none");
    let questions: Vec<Cmd> = trials.iter().map(|trial| question(*trial, &key)).collect();
    let longer = REDIRECTION.saturating_mul(questions.len().try_into().unwrap_or(u64::MAX));
    let answers = server.ask_all(longer, &questions).await?;
    let refused = trials.iter().zip(answers).filter(|(_, answer)| answer.as_ref().is_err_and(is_of_rights));
    Ok(refused.map(|((command, _), _)| *command).collect())
}

fn question((command, more): Trial, key: &str) -> Cmd {
    let mut question = cmd(command);
    match command {
        "eval" => question.arg("return 1").arg(1),
        // No script has it.
        "evalsha" => question.arg("0".repeat(40)).arg(1),
        _ => &mut question,
    };
    question.arg(key).arg(more);
    question
}

fn is_of_rights(error: &redis::RedisError) -> bool {
    error.code() == Some("NOPERM")
}

/// The same, for operators.
pub(super) fn described(missing: &[&str]) -> String {
    let list = missing.iter().map(|command| format!("`{command}`")).collect::<Vec<String>>().join(", ");
    format!("its user may not run {list}; {WAY_OUT}")
}

/// The command that the server says may not be run, which the gateway has asked it for.
pub(super) fn denied(detail: &str) -> Option<&str> {
    let command = detail.split_once("run the '")?.1.split_once('\'')?.0;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'|';
    (command.len() <= 40 && command.bytes().all(plain)).then_some(command)
}

pub(super) const WAY_OUT: &str = "docs/operate/replicas.md has the rule of a user with all that is needed";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The commands that a script runs.
    fn of_script(text: &str) -> BTreeSet<String> {
        let calls = text.split("call('").skip(1).filter_map(|rest| rest.split_once('\''));
        calls.map(|(command, _)| command.to_ascii_lowercase()).collect()
    }

    #[test]
    fn every_command_of_a_script_is_tried_or_is_one_with_which_a_connection_begins() {
        let first = ["get", "set", "time"].map(str::to_owned);
        for (holds, scripts) in [
            (Holds::Rates, &[include_str!("../rate_limits/shared/bucket.lua")][..]),
            (
                Holds::Revocations,
                &[include_str!("../issuer/revocations/read.lua"), include_str!("../issuer/revocations/write.lua")],
            ),
        ] {
            let mut run: BTreeSet<String> = scripts.iter().flat_map(|text| of_script(text)).collect();
            assert!(run.remove("set"), "{holds:?}: what is looked for is found");
            run.retain(|command| !first.contains(command));
            let tried: BTreeSet<String> = holds.trials().iter().map(|(command, _)| (*command).to_owned()).collect();
            let tried: BTreeSet<String> = tried.into_iter().filter(|command| !command.starts_with("eval")).collect();
            assert_eq!(run, tried, "{holds:?}");
        }
    }

    #[test]
    fn the_documented_user_may_run_what_is_tried() {
        let lines = include_str!("../../docs/operate/replicas.md").lines();
        let rules: Vec<&str> =
            lines.filter(|line| line.starts_with("user fapi-gateway ") && line.contains("+eval ")).collect();
        assert_eq!(rules.len(), 2, "of a server alone, and of a cluster");
        for rule in rules {
            for (command, _) in
                [Holds::Rates, Holds::Revocations, Holds::Answers].iter().flat_map(|holds| holds.trials())
            {
                assert!(rule.split(' ').any(|word| word.strip_prefix('+') == Some(command)), "{command}: {rule}");
            }
        }
    }

    #[test]
    fn the_command_that_is_refused_is_read_from_what_servers_say() {
        for (said, command) in [
            ("User fapi-gateway has no permissions to run the 'select' command", Some("select")),
            ("this user has no permissions to run the 'evalsha' command or its subcommand", Some("evalsha")),
            ("User a has no permissions to run the 'sentinel|master' command", Some("sentinel|master")),
            ("this user has no permissions to access one of the keys used as arguments", None),
            ("No permissions to access a key", None),
            ("to run the 'a b' command", None),
            ("to run the 'a", None),
        ] {
            assert_eq!(denied(said), command, "{said}");
        }
    }
}
