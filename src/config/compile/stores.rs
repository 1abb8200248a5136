//! `stores`: servers in which replicas share what they remember.

use std::collections::BTreeMap;
use std::time::Duration;

use rustls::pki_types::ServerName;

use super::upstreams::{address, is_exposed};
use super::{Build, NamedFiles};
use crate::config::error::KeyPath;
use crate::config::file::{self, File};
use crate::config::scalar::FilePath;
use crate::issuer::TrustAnchors;
use crate::issuer::http::Identity;
use crate::issuer::revocations::Sharing;
use crate::resource::Kind;
use crate::store::settings::{Password, Settings, TlsSettings};
use crate::upstream::ServerAddress;

impl Build<'_> {
    pub(super) fn stores(&mut self, file: &mut File) -> Option<Vec<Settings>> {
        let at = KeyPath::of("stores");
        let used = [
            ("used proofs", file.replay.as_ref().and_then(|replay| replay.store.clone())),
            ("rate limits", file.rate_limits.as_ref().and_then(|limits| limits.store.clone())),
            ("revocations", file.revocations.as_ref().and_then(|revocations| revocations.store.clone())),
        ];
        let mut stores = Vec::new();
        for (name, entry) in file.stores.iter_mut().flatten() {
            let at = at.key(name);
            self.name(&at, Some(name));
            if name == MEMORY {
                self.problem(&at, "`memory` is the memory of this process; choose another name");
            }
            let held = used.iter().filter(|(_, store)| store.as_ref() == Some(name));
            let held: Vec<&str> = held.map(|(what, _)| *what).collect();
            if held.is_empty() {
                self.warn(&at, "nothing uses this store");
            }
            let settings = self.store(&at, name, entry);
            if let Some(Settings { host, port, tls, .. }) = &settings {
                let scheme = if tls.is_some() { "rediss" } else { "redis" };
                let holds = match &*held {
                    [] => "nothing".to_owned(),
                    [what] => format!("{what} of all replicas"),
                    [most @ .., last] => format!("{} and {last} of all replicas", most.join(", ")),
                };
                self.summary.push(format!("store {name}: {scheme}://{host}:{port}; {holds}"));
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

    fn store(&mut self, at: &KeyPath, name: &str, entry: &mut file::Store) -> Option<Settings> {
        entry.kind.get_or_insert_default();
        entry.mode.get_or_insert_default();
        let servers_at = at.key("servers");
        let servers =
            self.list(&servers_at, entry.servers.as_deref(), "name its server, such as `rediss://redis.internal:6379`");
        let has_password = entry.password_file.is_some();
        let server = servers.and_then(|servers| match servers {
            [server] => self.store_server(&servers_at.index(0), server, has_password),
            _ => {
                let problem = "a store has one server, since Sentinel and Cluster are not supported by this version; name one that leads to the primary";
                self.problem(&servers_at, problem);
                None
            }
        });
        let tls_at = at.key("tls");
        let tls = match (&server, &entry.tls) {
            (Some(server), tls) if server.tls => self.store_tls(&tls_at, server, tls.as_ref()).map(Some),
            (Some(_), Some(_)) => {
                self.problem(&tls_at, "the server is reached without TLS; write `rediss://`, or remove the key");
                None
            }
            (Some(_), None) | (None, _) => Some(None),
        };
        let username = self.secret(&at.key("username_file"), entry.username_file.as_ref());
        let password = self.secret(&at.key("password_file"), entry.password_file.as_ref());
        if entry.username_file.is_some() && entry.password_file.is_none() {
            self.problem(&at.key("password_file"), "the key is missing; name the file with the password of the user");
        }
        let database = *entry.database.get_or_insert(0);
        let database = u16::try_from(database).ok();
        if database.is_none() {
            self.problem(&at.key("database"), "the number must be from 0 to 65535; the default is `0`");
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
        let (server, tls, username, password) = (server?, tls?, username?, password?);
        Some(Settings {
            name: name.into(),
            host: server.host,
            port: server.port,
            tls,
            username: username.map(Into::into),
            password: password.as_deref().map(Password::new),
            database: database?,
            prefix: prefix?,
            timeout: timeout?,
            in_flight: in_flight?,
            min_replicas: min_replicas?,
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
        server: &ServerAddress,
        entry: Option<&file::ServerTls>,
    ) -> Option<TlsSettings> {
        let tls = entry.map_or_else(|| Some(Default::default()), |entry| self.server_tls(at, entry))?;
        let name = tls.server_name.as_deref().unwrap_or(&server.host);
        let server_name = ServerName::try_from(name.to_owned()).ok();
        if server_name.is_none() {
            let problem = format!("`{name}` is neither a DNS name nor an IP address; write it without scheme and port");
            self.problem(&at.key("server_name"), problem);
        }
        Some(TlsSettings {
            trust_anchors: tls.trust_anchors.map_or(TrustAnchors::System, TrustAnchors::Given),
            identity: tls.identity.map(|(chain, key)| Identity { chain, key }),
            server_name: server_name?,
        })
    }

    /// The text of a file, without the line ending after it; `None` in it if no file is named.
    fn secret(&mut self, at: &KeyPath, path: Option<&FilePath>) -> Option<Option<String>> {
        let Some(path) = path.filter(|_| self.named_files != NamedFiles::Unread) else { return Some(None) };
        let bytes = self.read(at, path, Kind::PrivateKey)?;
        let text = String::from_utf8(bytes).ok();
        let text = text.as_deref().map(|text| text.trim_end_matches(['\r', '\n']));
        match text.filter(|text| !text.is_empty() && text.len() <= 1024 && !text.contains(['\r', '\n', '\0'])) {
            Some(text) => Some(Some(text.to_owned())),
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
        return Err(format!("`{text}` has a path or query; {way_out}, and choose the database with `database`"));
    }
    address(tls, authority, 6379).ok_or_else(|| format!("`{text}` is not a host with an optional port; {way_out}"))
}

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
