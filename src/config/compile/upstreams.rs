//! `upstreams`: the resource servers, and TLS to them.

use std::net::IpAddr;
use std::time::Duration;

use http::uri::PathAndQuery;
use reqwest::Url;
use rustls::pki_types::ServerName;

use super::files::Anchors;
use super::url::shown;
use super::{Build, KIB, MIB};
use crate::certificate::Purpose;
use crate::config::error::KeyPath;
use crate::config::file::{self, File};
use crate::connection::shares;
use crate::upstream;

impl Build<'_> {
    pub(super) fn upstreams(&mut self, file: &mut File) -> Option<Vec<upstream::Settings>> {
        let at = KeyPath::of("upstreams");
        let Some(entries) = &mut file.upstreams else {
            self.problem(
                &at,
                "the key is missing; add an upstream with `servers`, such as `accounts: { servers: [...] }`",
            );
            return None;
        };
        let servers = file.authorization_servers.iter().flatten().filter_map(|server| server.upstream.as_deref());
        let routes = file.routes.iter().flatten().filter_map(|route| route.upstream.as_deref());
        let used: Vec<&str> = routes.chain(servers).collect();
        let mut upstreams = Vec::new();
        for (name, entry) in entries.iter_mut() {
            let at = at.key(name);
            self.name(&at, Some(name));
            if !used.contains(&name.as_str()) {
                self.warn(&at, "no route uses this upstream");
            }
            upstreams.push(self.upstream(&at, name, entry));
        }
        upstreams.into_iter().collect()
    }

    fn upstream(&mut self, at: &KeyPath, name: &str, entry: &mut file::Upstream) -> Option<upstream::Settings> {
        let servers_at = at.key("servers");
        let texts = self.list(
            &servers_at,
            entry.servers.as_deref(),
            "name at least one server, such as `http://127.0.0.1:8080` or `https://accounts.internal`",
        );
        let mut servers = Vec::new();
        for (index, text) in texts.iter().copied().flatten().enumerate() {
            match server_address(text) {
                Ok(server) => {
                    if is_exposed(&server) {
                        self.warn(
                            &servers_at.index(index),
                            format!("requests to `{text}` leave this machine without TLS; write `https://` if it can"),
                        );
                    }
                    servers.push(Some(server));
                }
                Err(problem) => {
                    self.problem(&servers_at.index(index), problem);
                    servers.push(None);
                }
            }
        }
        let plain = servers.iter().flatten().any(|server| !server.tls);
        if plain && servers.iter().flatten().any(|server| server.tls) {
            self.problem(&servers_at, "the servers are partly `http` and partly `https`; use one of them for all");
        }
        let tls = match &entry.tls {
            None => Some(upstream::TlsSettings::default()),
            Some(_) if plain => {
                let problem =
                    "the servers are `http`, so this has no effect; write `https://` servers or remove the key";
                self.problem(&at.key("tls"), problem);
                None
            }
            Some(tls) => self.server_tls(&at.key("tls"), tls),
        };
        let protocol = match entry.protocol.get_or_insert_default() {
            file::Protocol::Http1 => upstream::Protocol::Http1,
            file::Protocol::Http2 => upstream::Protocol::Http2,
        };
        let health_check = match &mut entry.health_check {
            None => Some(None),
            Some(check) => self.health_check(&at.key("health_check"), check).map(Some),
        };
        let connect = self.time(&at.key("connect_timeout"), &mut entry.connect_timeout, Duration::from_secs(2));
        let response = self.time(&at.key("response_timeout"), &mut entry.response_timeout, Duration::from_secs(30));
        let header = self.size_within(&at.key("header_bytes"), &mut entry.header_bytes, 64 * KIB, KIB..=MIB);
        let idle = self.time(&at.key("idle_timeout"), &mut entry.idle_timeout, Duration::from_secs(60));
        let limits = self.upstream_limits(&at.key("limits"), entry.limits.get_or_insert_default(), protocol);
        texts?;
        Some(upstream::Settings {
            name: name.into(),
            servers: servers.into_iter().collect::<Option<_>>()?,
            protocol,
            tls: tls?,
            connect_timeout: connect?,
            response_timeout: response?,
            header_bytes: header?,
            idle_timeout: idle?,
            health_check: health_check?,
            limits: limits?,
        })
    }

    fn upstream_limits(
        &mut self,
        at: &KeyPath,
        entry: &mut file::UpstreamLimits,
        protocol: upstream::Protocol,
    ) -> Option<upstream::Limits> {
        let exchanges = self.number(&at.key("exchanges"), entry.exchanges.get_or_insert(1000), 1..=MOST);
        let waiting = self.number(&at.key("waiting"), entry.waiting.get_or_insert(200), 0..=MOST);
        let connections: Option<usize> =
            self.number(&at.key("connections"), entry.connections.get_or_insert(1000), 1..=MOST);
        let carried = connections.unwrap_or(1).saturating_mul(protocol.streams());
        let most = exchanges.unwrap_or(1).min(carried);
        let usual = if most < 5 { MOST } else { shares::usual(most).try_into().ok()? };
        let per_client = entry.exchanges_per_client.get_or_insert(usual);
        let per_client = self.number(&at.key("exchanges_per_client"), per_client, 1..=MOST);
        Some(upstream::Limits {
            exchanges: exchanges?,
            exchanges_per_client: per_client?,
            waiting: waiting?,
            connections: connections?,
        })
    }

    fn health_check(&mut self, at: &KeyPath, entry: &mut file::HealthCheck) -> Option<upstream::HealthCheck> {
        let path = entry.path.as_deref();
        let well_formed =
            |path: &str| path.starts_with('/') && !path.contains('#') && PathAndQuery::try_from(path).is_ok();
        let is_usable = path.is_none_or(well_formed);
        if !is_usable {
            self.problem(
                &at.key("path"),
                "this is not a path; write it like `/health`, or remove the key to check connections only",
            );
        }
        let path = path.map(Into::into);
        let interval = self.time(&at.key("interval"), &mut entry.interval, Duration::from_secs(5));
        let timeout = self.time(&at.key("timeout"), &mut entry.timeout, Duration::from_secs(1));
        let healthy_after = self.count(&at.key("healthy_after"), entry.healthy_after.get_or_insert(1));
        let unhealthy_after = self.count(&at.key("unhealthy_after"), entry.unhealthy_after.get_or_insert(3));
        is_usable.then_some(upstream::HealthCheck {
            path,
            interval: interval?,
            timeout: timeout?,
            healthy_after: healthy_after?,
            unhealthy_after: unhealthy_after?,
        })
    }

    /// TLS towards servers, of upstreams and of stores.
    pub(super) fn server_tls(&mut self, at: &KeyPath, entry: &file::ServerTls) -> Option<upstream::TlsSettings> {
        let trust_anchors = match entry.trust_anchors.as_deref() {
            None => Some(None),
            Some(paths) => self.trust_anchors(&at.key("trust_anchors"), paths, Anchors::Any).map(Some),
        };
        let identity = match (&entry.certificate, &entry.private_key) {
            (None, None) => Some(None),
            (certificate, key) => self.identity(at, certificate.as_ref(), key.as_ref(), Purpose::Client).map(Some),
        };
        let server_name = entry.server_name.as_deref();
        if let Some(name) = server_name
            && ServerName::try_from(name).is_err()
        {
            let problem = format!("`{name}` is neither a DNS name nor an IP address; write it without scheme and port");
            self.problem(&at.key("server_name"), problem);
            return None;
        }
        Some(upstream::TlsSettings {
            trust_anchors: trust_anchors?,
            identity: identity?,
            server_name: server_name.map(Into::into),
        })
    }
}

/// The address of a server, which has a scheme, a host, perhaps a port, and nothing else.
pub(super) fn server_address(text: &str) -> Result<upstream::ServerAddress, String> {
    let way_out = "write it like `http://127.0.0.1:8080` or `https://accounts.internal`";
    let (tls, authority) = match text.split_once("://") {
        Some(("http", authority)) => (false, authority),
        Some(("https", authority)) => (true, authority),
        Some(_) | None => return Err(format!("the server does not begin with `http://` or `https://`; {way_out}")),
    };
    if authority.contains('@') {
        return Err(format!("the server has user information; {way_out}"));
    }
    if authority.contains(['/', '?', '#']) {
        return Err(format!("{} has a path or query; {way_out}, since the path is the request's", shown(text)));
    }
    address(tls, authority, if tls { 443 } else { 80 })
        .ok_or_else(|| format!("{} is not a host with an optional port; {way_out}", shown(text)))
}

/// The address with this authority, if it is a host, and perhaps a port.
pub(super) fn address(tls: bool, authority: &str, usual_port: u16) -> Option<upstream::ServerAddress> {
    let plain = authority.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let parsed = |scheme| Url::parse(&format!("{scheme}://{authority}")).ok().filter(|_| plain);
    let (http, https) = (parsed("http")?, parsed("https")?);
    let host = http.host_str()?.trim_start_matches('[').trim_end_matches(']');
    // Each leaves out the port that is usual for its scheme.
    let port = http.port().or(https.port()).unwrap_or(usual_port);
    (port != 0).then(|| upstream::ServerAddress { tls, host: host.into(), port })
}

/// Whether requests to this server cross a network without TLS.
pub(super) fn is_exposed(server: &upstream::ServerAddress) -> bool {
    let loopback = server.host.parse::<IpAddr>().map_or(&*server.host == "localhost", |address| address.is_loopback());
    !server.tls && !loopback
}

/// How much of anything an upstream may be allowed to have; where there are too few exchanges to share, that is the share.
const MOST: u64 = 1_000_000;
