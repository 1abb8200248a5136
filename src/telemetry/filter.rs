//! What the log has: a level, or levels for parts of the program.

use std::fmt;
use std::str::FromStr;

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;

/// A filter in the syntax of `RUST_LOG`: `LEVEL` or `TARGET=LEVEL`, several of them with commas in between. A level is `off`,
/// `error`, `warn`, `info`, `debug` or `trace`.
///
/// A word alone that is not a level is refused: it would otherwise be a target, with all of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(Box<str>);

/// Why a text is not a [`Filter`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{part}` is neither a level nor TARGET=LEVEL; a level is off, error, warn, info, debug or trace")]
pub struct FilterError {
    part: Box<str>,
}

impl Filter {
    /// Errors alone.
    pub fn errors() -> Self {
        Self("error".into())
    }

    /// Warnings and errors.
    pub fn warnings() -> Self {
        Self("warn".into())
    }

    /// Its targets that nothing in the program is called by; whoever names one means another.
    pub fn unknown_targets(&self) -> impl Iterator<Item = &str> {
        let targets = self.0.split(',').filter_map(|part| Some(part.split_once('=')?.0));
        targets.filter(|target| !is_known(target))
    }

    pub(super) fn to_env_filter(&self) -> EnvFilter {
        EnvFilter::new(&*self.0)
    }
}

impl Default for Filter {
    /// What happens, without the details.
    fn default() -> Self {
        Self("info".into())
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let is_level = |text: &str| {
            let levels = ["off", "error", "warn", "info", "debug", "trace"];
            levels.iter().any(|level| text.eq_ignore_ascii_case(level))
        };
        let is_target = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'-'))
        };
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        for part in &parts {
            let known = match part.split_once('=') {
                None => is_level(part),
                Some((target, level)) => is_target(target) && is_level(level),
            };
            if !known {
                let part = part.chars().filter(|c| !c.is_control()).take(64).collect::<String>();
                return Err(FilterError { part: part.into() });
            }
        }
        Ok(Self(parts.join(",").into()))
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a target is that of lines of the gateway or of a library, or of some of them.
fn is_known(target: &str) -> bool {
    let of_gateway = |part: &&str| {
        let whole = format!("fapi_gateway::{part}");
        whole.starts_with(target) || target.strip_prefix(&whole).is_some_and(|rest| rest.starts_with("::"))
    };
    PARTS.iter().any(of_gateway)
        || LIBRARIES.iter().any(|library| library.starts_with(target) || target.starts_with(library))
}

/// The modules of the gateway.
const PARTS: [&str; 28] = [
    "admin",
    "authorization_server",
    "certificate",
    "clock",
    "commands",
    "config",
    "connection",
    "consents",
    "directory",
    "gateway",
    "generation",
    "idempotency",
    "issuer",
    "otlp",
    "pkcs11",
    "proxy",
    "rate_limits",
    "replay",
    "resource",
    "server",
    "signatures",
    "store",
    "sync",
    "telemetry",
    "tls_client",
    "trace",
    "upstream",
    "workers",
];

/// How the names of libraries with lines of their own begin.
const LIBRARIES: [&str; 9] = ["pingora", "rustls", "hyper", "h2", "reqwest", "tokio", "hickory", "mio", "want"];

/// Whether a line may be in the log, whatever the filter says.
///
/// Libraries print whole requests, including tokens, at `debug` and `trace`. What Pingora says of its own start and of
/// exchanges that fail is nothing that an operator can act on; the audit has those exchanges. What a library says of bytes
/// that it reads is left out altogether: it quotes them, and whoever sends them decides how many lines there are.
pub(super) fn is_for_operators(line: &Metadata<'_>) -> bool {
    let (target, level) = (line.target(), *line.level());
    if target.starts_with("fapi_gateway") {
        true
    } else if SAY_WHAT_PEERS_SEND.iter().any(|library| target.starts_with(library)) {
        false
    } else if target.starts_with("pingora") {
        level <= Level::WARN
    } else {
        level <= Level::INFO
    }
}

/// Targets of what libraries say of connections and of what arrives on them.
const SAY_WHAT_PEERS_SEND: &[&str] =
    &["h2::", "pingora_core::apps", "pingora_core::protocols", "pingora_proxy", "rustls", "tokio_rustls"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_targets_with_levels_are_a_filter_and_nothing_else_is() {
        let parsed = |text: &str| text.parse::<Filter>().map(|filter| filter.to_string());
        for (text, expected) in [
            ("info", "info"),
            ("WARN", "WARN"),
            ("off", "off"),
            ("info,fapi_gateway::issuer=debug", "info,fapi_gateway::issuer=debug"),
            ("warn, rustls=info ,x-y=trace", "warn,rustls=info,x-y=trace"),
        ] {
            assert_eq!(parsed(text).as_deref(), Ok(expected), "{text}"); // control
        }
        for (text, part) in [
            ("", ""),
            ("verbose", "verbose"),
            ("inf", "inf"),
            ("info,", ""),
            ("info;debug", "info;debug"),
            ("fapi_gateway", "fapi_gateway"),
            ("fapi_gateway=loud", "fapi_gateway=loud"),
            ("=debug", "=debug"),
            ("a b=debug", "a b=debug"),
            ("[span]=debug", "[span]=debug"),
            ("debug\u{1b}[0m", "debug[0m"),
        ] {
            assert_eq!(parsed(text), Err(FilterError { part: part.into() }), "{text}");
        }
    }

    #[test]
    fn a_target_that_is_no_part_of_the_program_is_known_as_such() {
        let unknown = |text: &str| {
            let filter: Filter = text.parse().unwrap();
            filter.unknown_targets().map(str::to_owned).collect::<Vec<String>>()
        };
        for good in [
            "info",
            "fapi_gateway=debug",
            "fapi=debug",
            "info,fapi_gateway::server=debug",
            "fapi_gateway::server::listener=debug",
            "warn,rustls=info,pingora_core=off,hyper_util::client=info",
        ] {
            assert_eq!(unknown(good), Vec::<String>::new(), "{good}"); // control
        }
        assert_eq!(unknown("fapi_gatway=debug"), ["fapi_gatway"]);
        let several = "info,fapi_gateway::conection=debug,fapi-gateway=warn,fapi_gateway::serverx=info";
        assert_eq!(unknown(several), ["fapi_gateway::conection", "fapi-gateway", "fapi_gateway::serverx"]);
    }

    #[test]
    fn the_parts_are_the_modules_of_the_program() {
        let lines = include_str!("../lib.rs").lines();
        let modules = lines.filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'));
        assert_eq!(modules.collect::<Vec<_>>(), PARTS);
    }

    #[test]
    fn a_filter_is_never_read_in_part() {
        for text in ["info", "off", "warn,rustls=info,x-y=trace"] {
            let filter: Filter = text.parse().unwrap();
            let count = filter.to_env_filter().to_string().split(',').count();
            assert_eq!(count, text.split(',').count(), "{text}");
        }
    }
}
