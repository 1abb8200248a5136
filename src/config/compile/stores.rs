//! `stores`: servers in which replicas share what they remember.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use zeroize::Zeroizing;

use super::issuers::name_of;
use super::upstreams::{address, is_exposed};
use super::url::shown;
use super::{Build, NamedFiles};
use crate::config::error::KeyPath;
use crate::config::file::{self, File, StoreMode};
use crate::config::scalar::FilePath;
use crate::issuer::revocations::Sharing;
use crate::store::settings::{Address, Credentials, Holds, Password, Sentinels, Servers, Settings, TlsSettings};
use crate::tls_client::{Identity, TrustAnchors};
use crate::upstream::ServerAddress;

impl Build<'_> {
    pub(super) fn stores(&mut self, file: &mut File) -> Option<Vec<Settings>> {
        let at = KeyPath::of("stores");
        let used = [
            (Holds::Proofs, "used proofs", file.replay.as_ref().and_then(|replay| replay.store.clone())),
            (Holds::Rates, "rate limits", file.rate_limits.as_ref().and_then(|limits| limits.store.clone())),
            (
                Holds::Revocations,
                "revocations",
                file.revocations.as_ref().and_then(|revocations| revocations.store.clone()),
            ),
        ];
        let shared = answers(file);
        let mut stores = Vec::new();
        for (name, entry) in file.stores.iter_mut().flatten() {
            let at = at.key(name);
            self.name(&at, Some(name));
            if name == MEMORY {
                self.problem(&at, "`memory` is the memory of this process; choose another name");
            }
            let held = used.iter().filter(|(_, _, store)| store.as_ref() == Some(name));
            let (mut holds, held): (Vec<Holds>, Vec<&str>) = held.map(|(holds, what, _)| (*holds, *what)).unzip();
            let of_all = match &*held {
                [] => None,
                [what] => Some(format!("{what} of all replicas")),
                [most @ .., last] => Some(format!("{} and {last} of all replicas", most.join(", "))),
            };
            let answers: Vec<&String> =
                shared.iter().filter(|(store, _)| store == name).map(|(_, what)| what).collect();
            holds.extend((!answers.is_empty()).then_some(Holds::Answers));
            let servers = file.authorization_servers.iter().flatten();
            let pushed: Vec<String> = servers
                .filter(|server| server.store.as_ref() == Some(name))
                .map(|server| format!("requests pushed to {}", server.name.as_deref().unwrap_or_default()))
                .collect();
            holds.extend((!pushed.is_empty()).then_some(Holds::PushedRequests));
            let held: Vec<String> = of_all.into_iter().chain(answers.into_iter().cloned()).chain(pushed).collect();
            if held.is_empty() {
                self.warn(&at, "nothing uses this store");
            }
            let settings = self.store(&at, name, entry, holds);
            if let Some(Settings { servers, tls, .. }) = &settings {
                let servers = servers.described(if tls.is_some() { "rediss://" } else { "redis://" });
                let holds = if held.is_empty() { "nothing".to_owned() } else { held.join("; ") };
                self.summary.push(format!("store {name}: {servers}; {holds}"));
            }
            stores.push(settings);
        }
        stores.into_iter().collect()
    }

    /// The index of the store that is named there; `None` for the memory of the process.
    pub(super) fn store_named(
        &mut self,
        at: &KeyPath,
        name: &str,
        stores: Option<&BTreeMap<String, file::Store>>,
    ) -> Option<usize> {
        let stores: Vec<&str> = stores.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let found = stores.iter().position(|store| *store == name);
        if found.is_none() && name != MEMORY {
            self.unknown(at, "store is named", name, stores.iter().copied().chain([MEMORY]), false);
        }
        found
    }

    /// How replicas share their revocations; `None` in it if they do not.
    pub(super) fn shared_revocations(&mut self, file: &mut File) -> Option<Option<Sharing>> {
        let at = KeyPath::of("revocations");
        let File { revocations, stores, admin, .. } = file;
        let entry = revocations.get_or_insert_default();
        let name = entry.store.get_or_insert_with(|| MEMORY.to_owned());
        let store = self.store_named(&at.key("store"), name, stores.as_ref());
        let (most_at, age_at) = (at.key("max_entries"), at.key("max_age"));
        let Some(store) = store else {
            if entry.store.as_deref() == Some(MEMORY) {
                let given = [(&most_at, entry.max_entries.is_some()), (&age_at, entry.max_age.is_some())];
                for (at, _) in given.into_iter().filter(|(_, given)| *given) {
                    self.problem(at, "nothing is shared; name one of `stores` in `store`, or remove the key");
                }
            }
            return Some(None);
        };
        let usual = admin.as_ref().and_then(|admin| admin.revocations.as_ref()).and_then(|own| own.max_entries);
        let max_entries = *entry.max_entries.get_or_insert(usual.unwrap_or(100_000));
        let max_entries = self.number(&most_at, &max_entries, 1..=10_000_000);
        let range = Duration::from_secs(2)..=Duration::from_secs(24 * 60 * 60);
        let max_age = match &entry.max_age {
            None => Some(None),
            Some(given) => self.time_of(&age_at, given.0, range, None).map(Some),
        };
        Some(Some(Sharing { store, max_entries: max_entries?, max_age: max_age? }))
    }

    fn store(&mut self, at: &KeyPath, name: &str, entry: &mut file::Store, holds: Vec<Holds>) -> Option<Settings> {
        entry.kind.get_or_insert_default();
        let mode = *entry.mode.get_or_insert_default();
        let credentials = self.credentials(at, entry.username_file.as_ref(), entry.password_file.as_ref());
        let has_password = entry.password_file.is_some();
        let sentinel_at = at.key("sentinel");
        let group = match (mode, &entry.sentinel) {
            (StoreMode::Sentinel, sentinel) => {
                let file::Sentinel { master, username_file, password_file } = sentinel.as_ref().unwrap_or(&NO_SENTINEL);
                let way_out = "name what the sentinels call the primary, such as `gateway`";
                let master_at = sentinel_at.key("master");
                let master = self.needed(&master_at, master.as_ref(), way_out);
                let master = master.and_then(|master| self.name(&master_at, Some(master)).map(Box::from));
                let credentials = self.credentials(&sentinel_at, username_file.as_ref(), password_file.as_ref());
                master.zip(credentials).map(Some)
            }
            (StoreMode::Single | StoreMode::Cluster, Some(_)) => {
                self.problem(
                    &sentinel_at,
                    "the store is not reached through sentinels; write `mode: sentinel`, or remove the key",
                );
                None
            }
            (StoreMode::Single | StoreMode::Cluster, None) => Some(None),
        };
        let any_password =
            has_password || entry.sentinel.as_ref().is_some_and(|sentinel| sentinel.password_file.is_some());
        let servers = self.store_servers(&at.key("servers"), mode, entry.servers.as_deref(), any_password);
        let tls_at = at.key("tls");
        let tls = match (servers.as_deref(), &entry.tls) {
            (Some(servers @ [ServerAddress { tls: true, .. }, ..]), tls) => {
                self.store_tls(&tls_at, servers, tls.as_ref()).map(Arc::new).map(Some)
            }
            (Some(_), Some(_)) => {
                self.problem(&tls_at, "the server is reached without TLS; write `rediss://`, or remove the key");
                None
            }
            (Some(_), None) | (None, _) => Some(None),
        };
        let database = *entry.database.get_or_insert(0);
        let database = u16::try_from(database).ok().filter(|number| mode != StoreMode::Cluster || *number == 0);
        match (mode, database) {
            (_, Some(_)) => {}
            (StoreMode::Cluster, None) => {
                self.problem(&at.key("database"), "a cluster has only the database `0`; remove the key");
            }
            (StoreMode::Single | StoreMode::Sentinel, None) => {
                self.problem(&at.key("database"), "the number must be from 0 to 65535; the default is `0`");
            }
        }
        let prefix_at = at.key("prefix");
        let prefix = entry.prefix.get_or_insert_with(|| "fapi:".to_owned()).clone();
        let prefix = self.name(&prefix_at, Some(&prefix)).map(Into::into);
        let range = Duration::from_millis(1)..=Duration::from_secs(5);
        let timeout = self.time_within(&at.key("timeout"), &mut entry.timeout, Duration::from_millis(50), range);
        let in_flight = *entry.max_in_flight.get_or_insert(2_000);
        let in_flight = usize::try_from(in_flight).ok().filter(|number| (1..=100_000).contains(number));
        if in_flight.is_none() {
            self.problem(&at.key("max_in_flight"), "the number must be from 1 to 100000; the default is `2000`");
        }
        let min_replicas = *entry.min_replicas.get_or_insert(0);
        let min_replicas = u32::try_from(min_replicas).ok().filter(|number| *number <= 100);
        if min_replicas.is_none() {
            self.problem(&at.key("min_replicas"), "the number must be from 0 to 100; the default is `0`");
        }
        let (servers, group, tls, credentials) = (servers?, group?, tls?, credentials?);
        let mut servers = servers.into_iter().map(|ServerAddress { host, port, .. }| Address { host, port });
        Some(Settings {
            name: name.into(),
            servers: match (mode, group) {
                (StoreMode::Sentinel, Some((master, credentials))) => {
                    Servers::Sentinel(Arc::new(Sentinels { master, sentinels: servers.collect(), credentials }))
                }
                (StoreMode::Cluster, _) => Servers::Cluster(servers.collect()),
                (StoreMode::Single | StoreMode::Sentinel, _) => Servers::Single(servers.next()?),
            },
            tls,
            credentials,
            database: database?,
            prefix: prefix?,
            timeout: timeout?,
            in_flight: in_flight?,
            min_replicas: min_replicas?,
            holds,
        })
    }

    /// The servers of a store: one, or where there may be several, each of them once, and all with TLS or none.
    fn store_servers(
        &mut self,
        at: &KeyPath,
        mode: StoreMode,
        servers: Option<&[String]>,
        has_password: bool,
    ) -> Option<Vec<ServerAddress>> {
        let (way_out, most) = match mode {
            StoreMode::Single => ("name its server, such as `rediss://redis.internal:6379`", 1),
            StoreMode::Sentinel => ("name its sentinels, such as `rediss://sentinel-1.internal:26379`", MOST_SERVERS),
            StoreMode::Cluster => {
                ("name servers of the cluster, such as `rediss://redis-1.internal:6379`", MOST_SERVERS)
            }
        };
        let texts = self.list(at, servers, way_out)?;
        if texts.len() > most {
            match mode {
                StoreMode::Single => self.problem(
                    at,
                    "the store has one server; name one that leads to the primary, or write `mode: sentinel` or `mode: cluster`",
                ),
                StoreMode::Sentinel | StoreMode::Cluster => {
                    self.problem(at, format!("the list has more than {MOST_SERVERS} servers; name some of them"));
                }
            }
            return None;
        }
        let mut servers: Vec<ServerAddress> = Vec::new();
        let mut complete = true;
        for (index, text) in texts.iter().enumerate() {
            let at = at.index(index);
            let Some(server) = self.store_server(&at, text, has_password) else {
                complete = false;
                continue;
            };
            if servers.iter().any(|known| (&known.host, known.port) == (&server.host, server.port)) {
                self.problem(&at, format!("`{text}` is in the list twice; keep one"));
                complete = false;
            }
            if servers.first().is_some_and(|first| first.tls != server.tls) {
                self.problem(&at, "some servers are reached with TLS and some without; write `rediss://` for all");
                complete = false;
            }
            servers.push(server);
        }
        complete.then_some(servers)
    }

    /// Whom the gateway is to servers, from the files that are named beside `username_file`.
    fn credentials(
        &mut self,
        at: &KeyPath,
        username: Option<&FilePath>,
        password: Option<&FilePath>,
    ) -> Option<Credentials> {
        if username.is_some() && password.is_none() {
            self.problem(&at.key("password_file"), "the key is missing; name the file with the password of the user");
        }
        let username = self.secret(&at.key("username_file"), username);
        let password = self.secret(&at.key("password_file"), password);
        Some(Credentials {
            username: username?.map(|name| name.as_str().into()),
            password: password?.map(|text| Password::new(&text)),
        })
    }

    fn store_server(&mut self, at: &KeyPath, text: &str, has_password: bool) -> Option<ServerAddress> {
        match store_address(text) {
            Ok(server) => {
                if is_exposed(&server) && has_password {
                    let problem =
                        format!("the password would cross the network unencrypted to `{text}`; write `rediss://`");
                    self.problem(at, problem);
                    return None;
                }
                if is_exposed(&server) {
                    let warning = format!(
                        "what is asked at `{text}` leaves this machine without TLS; write `rediss://` if it can"
                    );
                    self.warn(at, warning);
                }
                Some(server)
            }
            Err(problem) => {
                self.problem(at, problem);
                None
            }
        }
    }

    fn store_tls(
        &mut self,
        at: &KeyPath,
        servers: &[ServerAddress],
        entry: Option<&file::ServerTls>,
    ) -> Option<TlsSettings> {
        let tls = entry.map_or_else(|| Some(Default::default()), |entry| self.server_tls(at, entry))?;
        let names: Vec<&str> = match &tls.server_name {
            Some(name) => vec![name],
            None => servers.iter().map(|server| &*server.host).collect(),
        };
        let mut parsed = Vec::new();
        for name in names {
            match ServerName::try_from(name.to_owned()) {
                Ok(name) => parsed.push(name),
                Err(_) => {
                    let problem =
                        format!("`{name}` is neither a DNS name nor an IP address; write it without scheme and port");
                    self.problem(&at.key("server_name"), problem);
                    return None;
                }
            }
        }
        Some(TlsSettings {
            trust_anchors: tls.trust_anchors.map_or(TrustAnchors::System, TrustAnchors::Given),
            identity: tls.identity.map(|(chain, key)| Identity { chain, key }),
            server_name: parsed.pop().filter(|_| tls.server_name.is_some()),
        })
    }

    /// The text of a file, without the line ending after it; `None` in it if no file is named.
    pub(super) fn secret(&mut self, at: &KeyPath, path: Option<&FilePath>) -> Option<Option<Zeroizing<String>>> {
        let Some(path) = path.filter(|_| self.named_files != NamedFiles::Unread) else { return Some(None) };
        let bytes = self.read_secret(at, path)?;
        let text = std::str::from_utf8(&bytes).ok().map(|text| text.trim_end_matches(['\r', '\n']));
        match text.filter(|text| !text.is_empty() && text.len() <= 1024 && !text.contains(['\r', '\n', '\0'])) {
            Some(text) => Some(Some(Zeroizing::new(text.to_owned()))),
            None => {
                let shown = path.0.display();
                self.problem(
                    at,
                    format!(
                        "`{shown}` is not one line of at most 1024 bytes; write the value into it, and nothing else"
                    ),
                );
                None
            }
        }
    }
}

/// The stores of introspection answers, each with whose they are.
fn answers(file: &File) -> Vec<(String, String)> {
    let of_issuer = |issuer: &file::Issuer| {
        let introspected = issuer.tokens == Some(file::Tokens::Introspection);
        let store = issuer.introspection.as_ref().filter(|_| introspected)?.cache.as_ref()?.store.clone()?;
        Some((store, format!("sealed introspection answers of {}", name_of(issuer))))
    };
    file.issuers.iter().flatten().filter_map(of_issuer).collect()
}

/// The address of a store, which has a scheme, a host, perhaps a port, and nothing else.
fn store_address(text: &str) -> Result<ServerAddress, String> {
    let way_out = "write it like `rediss://redis.internal:6379`";
    let (tls, authority) = match text.split_once("://") {
        Some(("redis", authority)) => (false, authority),
        Some(("rediss", authority)) => (true, authority),
        Some(_) | None => return Err(format!("the server does not begin with `rediss://` or `redis://`; {way_out}")),
    };
    if authority.contains('@') {
        return Err(format!(
            "the server has user information; {way_out}, and name `username_file` and `password_file`"
        ));
    }
    if authority.contains(['/', '?', '#']) {
        return Err(format!("{} has a path or query; {way_out}, and choose the database with `database`", shown(text)));
    }
    address(tls, authority, 6379)
        .ok_or_else(|| format!("{} is not a host with an optional port; {way_out}", shown(text)))
}

/// What is missing where `sentinel` is.
const NO_SENTINEL: file::Sentinel = file::Sentinel { master: None, username_file: None, password_file: None };

/// How many sentinels, or servers of a cluster, may be named.
const MOST_SERVERS: usize = 16;

/// What `store` says for the memory of the process.
pub(super) const MEMORY: &str = "memory";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_a_store_is_the_one_that_is_written_or_6379() {
        for (text, host, port) in [
            ("rediss://redis.bank.svc", "redis.bank.svc", 6379),
            ("rediss://redis.bank.svc:443", "redis.bank.svc", 443),
            ("rediss://redis.bank.svc:80", "redis.bank.svc", 80),
            ("redis://[::1]:7000", "::1", 7000),
        ] {
            let server = store_address(text).unwrap();
            assert_eq!((server.tls, &*server.host, server.port), (text.starts_with("rediss"), host, port), "{text}");
        }
        for text in ["rediss://", "rediss://redis:0", "rediss://redis:65536", "rediss://re dis", "rediss://redis\\x"] {
            assert!(store_address(text).is_err(), "{text}");
        }
    }
}
