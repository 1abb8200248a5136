//! From the file's strings and numbers to the types of the other rooms.
//!
//! Opens and parses every file that is named, and writes every default into the [`File`], which is then the configuration in
//! force. A part that cannot be built is left out and its problem recorded; the rest is looked at all the same.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};
use reqwest::Url;
use rustls::RootCertStore;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, VerifierBuilderError};
use rustls::sign::CertifiedKey;

use super::error::{ConfigError, KeyPath, nearest, quoted};
use super::file::{self, File, FilePath};
use super::source::Report;
use super::{Config, Listener, Profile};
use crate::fapi::UnixTime;
use crate::fapi::headers::StripList;
use crate::fapi::keys::Algorithm;
use crate::fapi::policy::{EmptyPolicy, IssuerIndex, Policy, ScopeRule};
use crate::fapi::route::{Forward, Origin, Origins, Pattern, Requirement, Route, Routes, UpstreamRef};
use crate::fapi::token::Expected;
use crate::limits::Limits;
use crate::{audit, issuer, tls, upstream};

/// Builds everything, or says everything that is wrong.
pub(super) fn build(mut file: File, report: Report, directory: &Path) -> Result<Config, Vec<ConfigError>> {
    let mut build =
        Build { report, directory, certificates: BTreeMap::new(), warnings: Vec::new(), summary: Vec::new() };
    let profile = build.profile(&file);
    let listeners = build.listeners(&mut file);
    let admin = build.admin(&file, listeners.as_deref().unwrap_or_default());
    let issuers = build.issuers(&mut file, profile);
    let token_cache = build.token_cache(&mut file);
    let limits = build.limits(&mut file);
    let upstreams = build.upstreams(&mut file);
    let names = Names::of(&file);
    let routes = build.routes(&mut file, &names);
    let audit = build.audit(&mut file);
    if build.report.errors().is_empty()
        && let (Some(profile), Some(listeners), Some(issuers), Some(token_cache), Some(limits), Some(upstreams)) =
            (profile, listeners, issuers, token_cache, limits, upstreams)
        && let (Some((routes, strip)), Some(audit)) = (routes, audit)
    {
        return Ok(Config {
            profile,
            listeners,
            admin,
            issuers,
            token_cache,
            limits,
            upstreams,
            routes,
            strip,
            audit,
            certificates: build.certificates.into_iter().collect(),
            warnings: build.warnings,
            summary: build.summary,
            effective: effective(&file),
        });
    }
    if build.report.errors().is_empty() {
        build.problem(
            &KeyPath::default(),
            "the file is refused without a reason; this is a fault of the gateway, report it",
        );
    }
    Err(build.report.into_errors())
}

struct Build<'d> {
    report: Report,
    directory: &'d Path,
    certificates: BTreeMap<String, UnixTime>,
    warnings: Vec<String>,
    summary: Vec<String>,
}

/// The names that routes may use, of entries that have faults too.
struct Names {
    hosts: Vec<Box<str>>,
    /// Name and `iss` of each issuer.
    issuers: Vec<(String, String)>,
    /// Name, and the servers that a token would reach unprotected.
    upstreams: Vec<(String, Vec<String>)>,
}

impl Names {
    fn of(file: &File) -> Self {
        let origins = file.listeners.iter().flatten().flat_map(|listener| listener.origins.iter().flatten());
        let mut hosts: Vec<Box<str>> =
            origins.filter_map(|origin| Origin::parse(origin).ok()).map(|origin| origin.host().into()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let issuers = file.issuers.iter().flatten();
        let issuers = issuers.map(|issuer| (name_of(issuer), issuer.issuer.clone().unwrap_or_default())).collect();
        let upstreams = file.upstreams.iter().flatten();
        let exposed = |upstream: &file::Upstream| {
            let servers = upstream.servers.iter().flatten();
            servers.filter(|server| server_address(server).is_ok_and(|server| is_exposed(&server))).cloned().collect()
        };
        let upstreams = upstreams.map(|(name, upstream)| (name.clone(), exposed(upstream))).collect();
        Self { hosts, issuers, upstreams }
    }
}

/// The name of an issuer: as written, or its host.
fn name_of(issuer: &file::Issuer) -> String {
    let host = || Some(https_url(issuer.issuer.as_deref()?).ok()?.host_str()?.to_owned());
    issuer.name.clone().or_else(host).unwrap_or_default()
}

impl Build<'_> {
    fn problem(&mut self, at: &KeyPath, problem: impl AsRef<str>) {
        self.report.problem(at, problem.as_ref());
    }

    fn warn(&mut self, at: &KeyPath, warning: impl Display) {
        self.warnings.push(format!("{at}: {warning}"));
    }

    fn profile(&mut self, file: &File) -> Option<Profile> {
        match file.profile {
            Some(file::Profile::Fapi2Security) => Some(Profile::Fapi2Security),
            Some(file::Profile::Fapi1Advanced) => Some(Profile::Fapi1Advanced),
            None => {
                self.problem(
                    &KeyPath::of("profile"),
                    "the key is missing; write `profile: fapi2-security` or `profile: fapi1-advanced`",
                );
                None
            }
        }
    }

    // --- listeners

    fn listeners(&mut self, file: &mut File) -> Option<Vec<Listener>> {
        let at = KeyPath::of("listeners");
        let entries =
            self.entries(&at, file.listeners.as_deref_mut(), "add a listener with `address`, `origins` and `tls`")?;
        let mut listeners = Vec::new();
        let mut taken: Vec<SocketAddr> = Vec::new();
        for (index, entry) in entries.iter_mut().enumerate() {
            listeners.push(self.listener(&at.index(index), entry, &mut taken));
        }
        listeners.into_iter().collect()
    }

    fn listener(&mut self, at: &KeyPath, entry: &mut file::Listener, taken: &mut Vec<SocketAddr>) -> Option<Listener> {
        let address = self.address(&at.key("address"), entry.address.as_deref());
        if let Some(address) = address {
            if address.port() != 0 && taken.contains(&address) {
                self.problem(
                    &at.key("address"),
                    format!("another listener has {address} already; choose another port"),
                );
            }
            taken.push(address);
        }
        let origins = self.origins(&at.key("origins"), entry.origins.as_deref());
        let tls = match &mut entry.tls {
            Some(tls) => self.listener_tls(&at.key("tls"), tls),
            None => {
                self.problem(
                    &at.key("tls"),
                    "the key is missing; add `certificate`, `private_key` and `client_certificates`, there are no listeners without TLS",
                );
                None
            }
        };
        let (address, origins, tls) = (address?, origins?, tls?);
        self.summary.push(format!(
            "listener {address}: serves {}; client certificates: {}",
            entry.origins.as_deref().unwrap_or_default().join(", "),
            describe(&tls.client_certificates)
        ));
        Some(Listener { address, origins: Origins::new(origins), tls })
    }

    fn address(&mut self, at: &KeyPath, text: Option<&str>) -> Option<SocketAddr> {
        let text = self.text(at, text, "write address and port, such as `0.0.0.0:8443` or `[::]:8443`")?;
        let address = text.parse().ok();
        if address.is_none() {
            let problem =
                format!("`{text}` is not an IP address with a port; write it like `0.0.0.0:8443` or `[::]:8443`");
            self.problem(at, problem);
        }
        address
    }

    fn origins(&mut self, at: &KeyPath, texts: Option<&[String]>) -> Option<Vec<Arc<Origin>>> {
        let texts = self.list(at, texts, "name at least one public origin, such as `https://api.bank.example`")?;
        let mut origins: Vec<Option<Arc<Origin>>> = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let at = at.index(index);
            match Origin::parse(text) {
                Ok(origin) => {
                    let same = |other: &&Arc<Origin>| other.host() == origin.host() && other.port() == origin.port();
                    if let Some(other) = origins.iter().flatten().find(same) {
                        let problem =
                            format!("`{other}` has this host and port already; keep one", other = other.as_str());
                        self.problem(&at, problem);
                    }
                    origins.push(Some(Arc::new(origin)));
                }
                Err(error) => {
                    self.problem(&at, error.to_string());
                    origins.push(None);
                }
            }
        }
        origins.into_iter().collect()
    }

    fn listener_tls(&mut self, at: &KeyPath, entry: &mut file::ListenerTls) -> Option<tls::Settings> {
        let (chain_at, key_at) = (at.key("certificate"), at.key("private_key"));
        let chain = self.needed(&chain_at, entry.certificate.as_ref(), "name the PEM file with the certificate chain");
        let chain = chain.and_then(|path| self.certificate_chain(&chain_at, path));
        let key =
            self.needed(&key_at, entry.private_key.as_ref(), "name the PEM file with the certificate's private key");
        let key = key.and_then(|path| self.private_key(&key_at, path));
        let clients_at = at.key("client_certificates");
        let clients = match &mut entry.client_certificates {
            Some(clients) => self.client_certificates(&clients_at, clients),
            None => {
                self.problem(&clients_at, "the key is missing; add `mode: required`, `mode: optional` or `mode: none`");
                None
            }
        };
        let (chain, key) = (chain?, key?);
        // Looked at without them too, so that a key that does not fit is found in the same run.
        let known = clients.is_some();
        let settings = tls::Settings {
            certificate_chain: chain,
            private_key: key,
            client_certificates: clients.unwrap_or(tls::ClientCertificates::None),
        };
        match settings.server_config() {
            Ok(_) if known => Some(settings),
            Ok(_) => None,
            Err(tls::TlsError::Verifier(VerifierBuilderError::InvalidCrl(error))) => {
                let problem =
                    format!("one of the lists cannot be used ({error:?}); fetch them again from their authority");
                self.problem(&clients_at.key("revocation_lists"), problem);
                None
            }
            Err(tls::TlsError::Verifier(error)) => {
                self.problem(
                    &clients_at,
                    format!("client certificates cannot be verified ({error}); correct the anchors"),
                );
                None
            }
            Err(tls::TlsError::Rustls(error)) => {
                self.problem(&key_at, misfit(&error));
                None
            }
        }
    }

    fn client_certificates(
        &mut self,
        at: &KeyPath,
        entry: &mut file::ClientCertificates,
    ) -> Option<tls::ClientCertificates> {
        let (anchors_at, lists_at) = (at.key("trust_anchors"), at.key("revocation_lists"));
        let Some(mode) = entry.mode else {
            let problem = "the key is missing; write `mode: required`, `mode: optional` or `mode: none`";
            self.problem(&at.key("mode"), problem);
            return None;
        };
        let demand = match mode {
            file::Mode::Required => tls::Demand::Required,
            file::Mode::Optional => tls::Demand::Optional,
            file::Mode::None => {
                let way_out = "remove the key, or write `mode: optional` or `mode: required`";
                let surplus = [
                    (at.key("trust"), entry.trust.is_some()),
                    (anchors_at, entry.trust_anchors.is_some()),
                    (lists_at, entry.revocation_lists.is_some()),
                ];
                for (at, _) in surplus.iter().filter(|(_, present)| *present) {
                    self.problem(
                        at,
                        format!("with `mode: none` no certificate is asked for, so this means nothing; {way_out}"),
                    );
                }
                self.warn(
                    at,
                    "no client certificate is asked for, so every route that is not public refuses on this listener",
                );
                return Some(tls::ClientCertificates::None);
            }
        };
        let trust = match entry.trust.get_or_insert(file::Trust::Chain) {
            file::Trust::Possession => {
                for (at, present) in
                    [(anchors_at, entry.trust_anchors.is_some()), (lists_at, entry.revocation_lists.is_some())]
                {
                    if present {
                        let problem = "with `trust: possession` no chain is looked at, so this means nothing; remove the key, or write `trust: chain`";
                        self.problem(&at, problem);
                    }
                }
                tls::Trust::Possession
            }
            file::Trust::Chain => {
                let anchors = match entry.trust_anchors.as_deref() {
                    Some(paths) => self.trust_anchors(&anchors_at, paths, Anchors::Authorities),
                    None => {
                        let problem = "the key is missing, so no client certificate could be trusted; name the PEM files of their authorities, or write `trust: possession` or `mode: none`";
                        self.report.problem_unless(&[at.key("mode"), at.key("trust")], &anchors_at, problem);
                        None
                    }
                };
                let lists = entry.revocation_lists.get_or_insert_default();
                let revocation_lists = self.revocation_lists(&lists_at, lists);
                let mut store = RootCertStore::empty();
                for anchor in anchors? {
                    store.add(anchor).ok()?;
                }
                tls::Trust::Chain { anchors: Arc::new(store), revocation_lists: revocation_lists? }
            }
        };
        Some(tls::ClientCertificates::Requested { demand, trust })
    }

    fn admin(&mut self, file: &File, listeners: &[Listener]) -> Option<SocketAddr> {
        let at = KeyPath::of("admin").key("address");
        let admin = self.address(&at, file.admin.as_ref()?.address.as_deref())?;
        let written = file.listeners.iter().flatten().filter_map(|listener| listener.address.as_deref()?.parse().ok());
        let clashes = |listener: &SocketAddr| {
            let every = listener.ip().is_unspecified() || admin.ip().is_unspecified();
            listener.port() == admin.port() && admin.port() != 0 && (every || listener.ip() == admin.ip())
        };
        if let Some(listener) = listeners.iter().map(|listener| listener.address).chain(written).find(clashes) {
            self.problem(
                &at,
                format!("the listener {listener} has this port, and clients would reach it; choose another port"),
            );
        }
        Some(admin)
    }

    // --- issuers

    fn issuers(&mut self, file: &mut File, profile: Option<Profile>) -> Option<Vec<issuer::Settings>> {
        let at = KeyPath::of("issuers");
        let Some(entries) = &mut file.issuers else {
            if file.routes.iter().flatten().any(|route| route.public != Some(true)) {
                self.problem(
                    &at,
                    "the key is missing, and there are routes that are not public; add the issuer of their tokens",
                );
            }
            return Some(Vec::new());
        };
        if entries.is_empty() {
            self.report.empty(&at, "the list is empty; add an issuer, or remove the key if every route is public");
        }
        let mut issuers = Vec::new();
        let mut names: Vec<String> = Vec::new();
        for (index, entry) in entries.iter_mut().enumerate() {
            let at = at.index(index);
            let name = name_of(entry);
            if names.contains(&name) && !name.is_empty() {
                self.problem(&at.key("name"), format!("another issuer is named `{name}`; choose another name"));
            }
            issuers.push(self.issuer(&at, entry, profile, &name));
            names.push(name);
        }
        issuers.into_iter().collect()
    }

    fn issuer(
        &mut self,
        at: &KeyPath,
        entry: &mut file::Issuer,
        profile: Option<Profile>,
        name: &str,
    ) -> Option<issuer::Settings> {
        if entry.name.is_some() {
            self.name(&at.key("name"), entry.name.as_deref());
        }
        let issuer_at = at.key("issuer");
        let issuer =
            self.text(&issuer_at, entry.issuer.as_deref(), "write the exact `iss` of its tokens").map(str::to_owned);
        let url = issuer.as_deref().map(https_url);
        if let Some(Err(problem)) = &url {
            self.problem(&issuer_at, problem);
        }
        // RFC 8414 §2: "a URL that uses the "https" scheme and has no query or fragment components."
        if let Some(issuer) = &issuer
            && issuer.contains(['?', '#'])
        {
            self.problem(&issuer_at, format!("`{issuer}` has a query or fragment, which no issuer has; remove it"));
        }
        let audiences_at = at.key("audiences");
        let audiences = self.list(
            &audiences_at,
            entry.audiences.as_deref(),
            "name at least one value of `aud` that means this resource, such as `https://api.bank.example`",
        );
        for (index, audience) in audiences.iter().copied().flatten().enumerate() {
            if audience.trim().is_empty() {
                self.problem(
                    &audiences_at.index(index),
                    "the audience is empty; write it as the issuer does or remove it",
                );
            }
        }
        if let Some(audiences) = audiences {
            self.no_repeats(&audiences_at, audiences);
        }
        let audiences: Option<Vec<Box<str>>> =
            audiences.map(|audiences| audiences.iter().map(|audience| audience.as_str().into()).collect());
        if *entry.tokens.get_or_insert(file::Tokens::Jwt) == file::Tokens::Introspection {
            self.problem(&at.key("tokens"), "introspection is not supported by this version; write `tokens: jwt`");
        }
        let algorithms = self.algorithms(&at.key("algorithms"), entry, profile);
        let jwks_uri = entry.jwks_uri.as_deref().map(https_url);
        if let Some(Err(problem)) = &jwks_uri {
            self.problem(&at.key("jwks_uri"), problem);
        }
        if entry.jwks_uri.as_deref().is_some_and(|uri| uri.contains('#')) {
            self.problem(&at.key("jwks_uri"), "the URL has a fragment, which is never sent; remove it");
        }
        let trust_anchors = match entry.trust_anchors.as_deref() {
            None => Some(issuer::TrustAnchors::System),
            Some(paths) => {
                self.trust_anchors(&at.key("trust_anchors"), paths, Anchors::Any).map(issuer::TrustAnchors::Given)
            }
        };
        let (issuer, audiences, algorithms, _) = (issuer?, audiences?, algorithms?, url?.ok()?);
        entry.name.get_or_insert_with(|| name.to_owned());
        self.summary.push(format!(
            "issuer {name}: {issuer}; audiences: {}; algorithms: {}; keys: {}",
            audiences.join(", "),
            algorithms.iter().map(|algorithm| algorithm.as_str()).collect::<Vec<_>>().join(", "),
            entry.jwks_uri.as_deref().unwrap_or("from its metadata"),
        ));
        Some(issuer::Settings {
            expected: Expected { name: name.into(), issuer: issuer.into(), audiences, algorithms },
            jwks_uri: jwks_uri.transpose().ok()?,
            trust_anchors: trust_anchors?,
        })
    }

    fn algorithms(
        &mut self,
        at: &KeyPath,
        entry: &mut file::Issuer,
        profile: Option<Profile>,
    ) -> Option<Vec<Algorithm>> {
        use file::Algorithm::{Ed25519, EdDsa, Es256, Ps256};
        // FAPI 1.0 Advanced §8.6: "shall use PS256 or ES256 algorithms".
        let advanced = profile == Some(Profile::Fapi1Advanced);
        let default = || if advanced { vec![Ps256, Es256] } else { vec![Ps256, Es256, EdDsa] };
        let written = entry.algorithms.get_or_insert_with(default);
        if written.is_empty() {
            self.report.empty(
                at,
                "the list is empty, so no token could be good; name PS256, ES256 or EdDSA, or remove the key",
            );
            return None;
        }
        let mut algorithms = Vec::new();
        for (index, algorithm) in written.iter().enumerate() {
            let algorithm = match algorithm {
                Ps256 => Algorithm::Ps256,
                Es256 => Algorithm::Es256,
                EdDsa | Ed25519 => Algorithm::EdDsa,
            };
            if advanced && algorithm == Algorithm::EdDsa {
                let problem = "`profile: fapi1-advanced` allows PS256 and ES256 only; remove it, or write `profile: fapi2-security`";
                self.problem(&at.index(index), problem);
            }
            if !algorithms.contains(&algorithm) {
                algorithms.push(algorithm);
            }
        }
        Some(algorithms)
    }

    // --- sections of numbers

    fn token_cache(&mut self, file: &mut File) -> Option<issuer::CacheSettings> {
        let at = KeyPath::of("token_cache");
        let entry = file.token_cache.get_or_insert_default();
        let max_entries = self.count(&at.key("max_entries"), entry.max_entries.get_or_insert(100_000));
        let max_age = self.time(&at.key("max_age"), &mut entry.max_age, Duration::from_secs(300));
        Some(issuer::CacheSettings { max_entries: max_entries?, max_age: max_age? })
    }

    fn limits(&mut self, file: &mut File) -> Option<Limits> {
        let at = KeyPath::of("limits");
        let default = Limits::default();
        let entry = file.limits.get_or_insert_default();
        let header = entry.header_bytes.get_or_insert(file::Size(default.header_bytes.try_into().ok()?)).0;
        if !(1024..=1024 * 1024).contains(&header) {
            self.problem(&at.key("header_bytes"), "the size is not from 1KiB to 1MiB; the default is `32KiB`");
        }
        let body_bytes = entry.body_bytes.get_or_insert(file::Size(default.body_bytes)).0;
        if body_bytes == 0 {
            self.problem(&at.key("body_bytes"), "no body could be sent; write a size above zero, such as `10MiB`");
        }
        let connections = entry.connections.get_or_insert(default.connections.try_into().ok()?);
        let connections = self.count(&at.key("connections"), connections);
        let header_timeout = self.time(&at.key("header_timeout"), &mut entry.header_timeout, default.header_timeout);
        let idle_timeout = self.time(&at.key("idle_timeout"), &mut entry.idle_timeout, default.idle_timeout);
        let body_timeout = self.time(&at.key("body_timeout"), &mut entry.body_timeout, default.body_timeout);
        let handshake_timeout =
            self.time(&at.key("handshake_timeout"), &mut entry.handshake_timeout, default.handshake_timeout);
        Some(Limits {
            header_bytes: header.try_into().ok()?,
            body_bytes,
            header_timeout: header_timeout?,
            idle_timeout: idle_timeout?,
            body_timeout: body_timeout?,
            handshake_timeout: handshake_timeout?,
            connections: connections?.try_into().ok()?,
        })
    }

    fn count(&mut self, at: &KeyPath, count: &u64) -> Option<u64> {
        if *count == 0 || usize::try_from(*count).is_err() {
            self.problem(at, format!("`{count}` is out of range; write a whole number above zero"));
            return None;
        }
        Some(*count)
    }

    fn time(&mut self, at: &KeyPath, entry: &mut Option<file::Duration>, default: Duration) -> Option<Duration> {
        let time = entry.get_or_insert(file::Duration(default)).0;
        // Above a day it is a typing error, and some day it would overflow a clock.
        if time < Duration::from_millis(1) || time > Duration::from_secs(24 * 60 * 60) {
            let problem = format!("the time is not from 1ms to 24h; the default is `{}`", file::Duration(default));
            self.problem(at, problem);
            return None;
        }
        Some(time)
    }

    // --- upstreams

    fn upstreams(&mut self, file: &mut File) -> Option<Vec<upstream::Settings>> {
        let at = KeyPath::of("upstreams");
        let Some(entries) = &mut file.upstreams else {
            self.problem(
                &at,
                "the key is missing; add an upstream with `servers`, such as `accounts: { servers: [...] }`",
            );
            return None;
        };
        let used: Vec<&str> = file.routes.iter().flatten().filter_map(|route| route.upstream.as_deref()).collect();
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
                            format!("`{text}` is another machine, spoken to without TLS"),
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
            self.problem(&servers_at, "the servers are partly `http` and partly `https`; write all alike");
        }
        let tls = match &entry.tls {
            None => Some(upstream::TlsSettings::default()),
            Some(_) if plain => {
                let problem =
                    "the servers are `http`, so this means nothing; write `https://` servers or remove the key";
                self.problem(&at.key("tls"), problem);
                None
            }
            Some(tls) => self.upstream_tls(&at.key("tls"), tls),
        };
        let connect = self.time(&at.key("connect_timeout"), &mut entry.connect_timeout, Duration::from_secs(2));
        let response = self.time(&at.key("response_timeout"), &mut entry.response_timeout, Duration::from_secs(30));
        texts?;
        Some(upstream::Settings {
            name: name.into(),
            servers: servers.into_iter().collect::<Option<_>>()?,
            tls: tls?,
            connect_timeout: connect?,
            response_timeout: response?,
        })
    }

    fn upstream_tls(&mut self, at: &KeyPath, entry: &file::UpstreamTls) -> Option<upstream::TlsSettings> {
        let trust_anchors = match entry.trust_anchors.as_deref() {
            None => Some(None),
            Some(paths) => self.trust_anchors(&at.key("trust_anchors"), paths, Anchors::Any).map(Some),
        };
        let (chain_at, key_at) = (at.key("certificate"), at.key("private_key"));
        let identity = match (&entry.certificate, &entry.private_key) {
            (None, None) => Some(None),
            (Some(_), None) => {
                self.problem(&key_at, "the key is missing; name the private key of `certificate`, or remove that");
                None
            }
            (None, Some(_)) => {
                self.problem(&chain_at, "the key is missing; name the certificate of `private_key`, or remove that");
                None
            }
            (Some(chain), Some(key)) => {
                let (chain, key) = (self.certificate_chain(&chain_at, chain), self.private_key(&key_at, key));
                match (chain, key) {
                    (Some(chain), Some(key)) => {
                        match CertifiedKey::from_der(chain.clone(), key.clone_key(), &tls::provider()) {
                            Ok(_) => Some(Some((chain, key))),
                            Err(error) => {
                                self.problem(&key_at, misfit(&error));
                                None
                            }
                        }
                    }
                    _ => None,
                }
            }
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

    // --- routes

    fn routes(&mut self, file: &mut File, names: &Names) -> Option<(Routes, StripList)> {
        let at = KeyPath::of("routes");
        let entries =
            self.entries(&at, file.routes.as_deref_mut(), "add a route; without one everything is refused")?;
        let mut taken: BTreeMap<String, usize> = BTreeMap::new();
        let (mut routes, mut places) = (Vec::new(), Vec::new());
        let count = entries.len();
        for (index, entry) in entries.iter_mut().enumerate() {
            let at = at.index(index);
            if let Some(name) = &entry.name
                && let Some(first) = taken.insert(name.clone(), index)
            {
                self.problem(&at.key("name"), format!("routes[{first}] is named `{name}` too; choose another name"));
            }
            if let Some(route) = self.route(&at, entry, names) {
                routes.push(route);
                places.push(index);
            }
        }
        let complete = routes.len() == count;
        let names: Vec<String> = routes.iter().map(|route| route.name.to_string()).collect();
        let strip = StripList::new(routes.iter().flat_map(|route| route.forward.claims.iter().map(|(_, name)| name)));
        match Routes::new(routes) {
            Ok(routes) => complete.then_some((routes, strip)),
            Err(conflict) => {
                let place = places.get(conflict.second).copied().unwrap_or_default();
                let other = names.get(conflict.first).map_or("", String::as_str);
                let problem = format!("conflicts with the route `{other}`: {}", conflict.detail);
                self.problem(&at.index(place).key("path"), problem);
                None
            }
        }
    }

    fn route(&mut self, at: &KeyPath, entry: &mut file::Route, names: &Names) -> Option<Route> {
        let name = self.name(&at.key("name"), entry.name.as_deref()).map(Arc::from);
        let path_at = at.key("path");
        let pattern = self
            .text(&path_at, entry.path.as_deref(), "write the path, such as `/accounts/**`")
            .map(Pattern::parse)
            .map(|pattern| pattern.map_err(|error| self.problem(&path_at, error.to_string())));
        let hosts = self.hosts(&at.key("hosts"), entry.hosts.as_deref(), names);
        let methods = self.methods(&at.key("methods"), entry.methods.as_deref());
        let requirement = self.requirement(at, entry, names);
        let upstream = self.upstream_of(&at.key("upstream"), entry.upstream.as_deref(), names);
        let forward = self.forward(&at.key("forward"), entry, upstream.as_ref(), names);
        let route = Route {
            name: name?,
            pattern: pattern?.ok()?,
            hosts: hosts?,
            methods: methods?,
            requirement: requirement?,
            upstream: upstream?,
            forward: forward?,
        };
        self.summary.push(describe_route(&route, entry));
        Some(route)
    }

    fn hosts(&mut self, at: &KeyPath, texts: Option<&[String]>, names: &Names) -> Option<Vec<Box<str>>> {
        let Some(texts) = texts else { return Some(Vec::new()) };
        if texts.is_empty() {
            self.report.empty(at, "the list is empty, so nothing could reach the route; name a host or remove the key");
            return None;
        }
        self.no_repeats(at, texts);
        let mut hosts = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let known = names.hosts.iter().find(|host| host.eq_ignore_ascii_case(text));
            if known.is_none() {
                let listeners = KeyPath::of("listeners");
                let broken = self.report.lost_under(&listeners)
                    || self.report.errors().iter().any(|error| error.path.starts_with(&listeners));
                let known = names.hosts.iter().map(|host| &**host);
                self.unknown(&at.index(index), "origin of a listener has the host", text, known, broken);
            }
            hosts.push(known.cloned());
        }
        hosts.into_iter().collect()
    }

    fn methods(&mut self, at: &KeyPath, texts: Option<&[String]>) -> Option<Vec<Method>> {
        let texts = self.list(at, texts, "name the methods that the route takes, such as `[GET, HEAD]`")?;
        self.no_repeats(at, texts);
        let mut methods = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let upper = text.to_ascii_uppercase();
            let method = Method::from_bytes(text.as_bytes()).ok();
            let problem = match &method {
                None => format!("`{text}` is not a method; write one such as `GET`"),
                // RFC 9110 §9.1: "The method token is case-sensitive".
                Some(_) if *text != upper => format!("methods compare with case; write `{upper}`"),
                Some(method) if method == Method::CONNECT || method == Method::TRACE => {
                    format!("`{method}` is never passed on; remove it")
                }
                Some(_) => {
                    methods.push(method);
                    continue;
                }
            };
            self.problem(&at.index(index), problem);
            methods.push(None);
        }
        methods.into_iter().collect()
    }

    fn requirement(&mut self, at: &KeyPath, entry: &mut file::Route, names: &Names) -> Option<Requirement> {
        let (scopes_at, public_at) = (at.key("scopes"), at.key("public"));
        let public = entry.public == Some(true);
        if public {
            let surplus =
                [("issuers", entry.issuers.is_some()), ("sender_constraint", entry.sender_constraint.is_some())];
            for (key, _) in surplus.iter().filter(|(_, present)| *present) {
                let problem =
                    "the route is public, so no token is looked at and this means nothing; remove the key, or `public`";
                self.problem(&at.key(key), problem);
            }
        }
        let scopes = match (&entry.scopes, public) {
            (None, true) => return Some(Requirement::Public),
            (None, false) => {
                let problem = "the route has neither `scopes` nor `public: true`; name the scopes that a token must have, or write `public: true` if anyone may call it";
                self.report.problem_unless(&[public_at], &scopes_at, problem);
                None
            }
            (Some(_), true) => {
                let problem =
                    "the route has `scopes` too; remove `public` to protect it, or `scopes` to open it to everyone";
                self.report.problem_unless(&[scopes_at], &public_at, problem);
                return None;
            }
            (Some(scopes), false) => {
                entry.public = Some(false);
                let own = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
                Some(match scopes {
                    file::Scopes::List(names) | file::Scopes::All(names) => ScopeRule::All(own(names)),
                    file::Scopes::Any(names) => ScopeRule::Any(own(names)),
                })
            }
        };
        self.sender_constraint(&at.key("sender_constraint"), entry);
        let issuers = self.issuers_of(&at.key("issuers"), entry, names);
        // Without issuers there is no policy, but the scopes are looked at all the same.
        let known = issuers.clone().unwrap_or_else(|| vec![IssuerIndex(0)]);
        match Policy::new(scopes?, known) {
            Ok(policy) => issuers.map(|_| Requirement::Protected(policy)),
            Err(error @ EmptyPolicy::ScopeSyntax) => {
                self.problem(&scopes_at, format!("{error}; write each as the issuer does"));
                None
            }
            Err(error @ (EmptyPolicy::Scopes | EmptyPolicy::Issuers)) => {
                self.report.empty(&scopes_at, &error.to_string());
                None
            }
        }
    }

    fn sender_constraint(&mut self, at: &KeyPath, entry: &mut file::Route) {
        let accepted = entry.sender_constraint.get_or_insert_with(|| vec![file::SenderConstraint::Certificate]);
        if accepted.is_empty() {
            self.report
                .empty(at, "the list is empty, so no token could be used; write `[certificate]` or remove the key");
        }
        for (index, constraint) in accepted.iter().enumerate() {
            match constraint {
                file::SenderConstraint::Certificate => {}
                file::SenderConstraint::Dpop => {
                    self.problem(&at.index(index), "`dpop` is not supported by this version; write `[certificate]`");
                }
            }
        }
    }

    fn issuers_of(&mut self, at: &KeyPath, entry: &mut file::Route, names: &Names) -> Option<Vec<IssuerIndex>> {
        let all = || names.issuers.iter().map(|(name, _)| name.clone()).collect();
        let written = entry.issuers.is_some();
        let chosen: &Vec<String> = entry.issuers.get_or_insert_with(all);
        if chosen.is_empty() {
            // Without any issuer configured, that is reported where it belongs.
            if written {
                self.report.empty(at, "the list is empty, so no token could be good; name an issuer or remove the key");
            }
            return None;
        }
        if written {
            self.no_repeats(at, chosen);
        }
        let mut issuers = Vec::new();
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        for (index, name) in chosen.iter().enumerate() {
            let Some(place) = names.issuers.iter().position(|(known, _)| known == name) else {
                let broken = self.report.lost_under(&KeyPath::of("issuers"));
                let known = names.issuers.iter().map(|(name, _)| name.as_str());
                self.unknown(&at.index(index), "issuer is named", name, known, broken);
                issuers.push(None);
                continue;
            };
            let (name, issuer) = &names.issuers[place];
            let other = *seen.entry(issuer).or_insert(name);
            if other != name && !issuer.is_empty() {
                self.problem(at, format!("`{other}` and `{name}` are both `{issuer}`; name one of them here"));
            }
            issuers.push(Some(IssuerIndex(place)));
        }
        issuers.into_iter().collect()
    }

    fn upstream_of(&mut self, at: &KeyPath, name: Option<&str>, names: &Names) -> Option<UpstreamRef> {
        let name = self.text(at, name, "name the upstream that answers")?;
        let place = names.upstreams.iter().position(|(known, _)| known == name);
        if place.is_none() {
            let broken = self.report.lost_under(&KeyPath::of("upstreams"));
            let known = names.upstreams.iter().map(|(name, _)| name.as_str());
            self.unknown(at, "upstream is named", name, known, broken);
        }
        Some(UpstreamRef { name: name.into(), index: place? })
    }

    fn forward(
        &mut self,
        at: &KeyPath,
        entry: &mut file::Route,
        upstream: Option<&UpstreamRef>,
        names: &Names,
    ) -> Option<Forward> {
        let public = entry.public == Some(true);
        let forward = entry.forward.get_or_insert_default();
        let access_token = *forward.access_token.get_or_insert(false);
        let client_certificate = *forward.client_certificate.get_or_insert(false);
        let claims = &*forward.claims.get_or_insert_default();
        let token_at = at.key("access_token");
        if public {
            let meaningless = "the route is public, so no token is looked at; remove the key, or `public`";
            if access_token {
                self.problem(&token_at, meaningless);
            }
            if !claims.is_empty() {
                self.problem(&at.key("claims"), meaningless);
            }
        }
        // RFC 6750 §5.3: bearer tokens are passed over TLS only; a token that leaves this machine in the clear is anyone's.
        if access_token
            && let Some((name, exposed)) = upstream.and_then(|upstream| names.upstreams.get(upstream.index))
            && let Some(server) = exposed.first()
        {
            let problem = format!(
                "the token would cross the network in the clear to `{server}` of `{name}`; write `https://` there, or `access_token: false` here"
            );
            self.problem(&token_at, problem);
        }
        let mut headers: Vec<Option<(Box<str>, HeaderName)>> = Vec::new();
        for (claim, header) in claims {
            let at = at.key("claims").key(claim);
            let taken = headers.iter().flatten().find(|(_, other)| other.as_str().eq_ignore_ascii_case(header));
            let problem = if claim.is_empty() {
                Some("the claim has no name; write one such as `sub`".to_owned())
            } else if let Some((other, _)) = taken {
                Some(format!("`{header}` carries the claim `{other}` already; choose another header"))
            } else {
                header_problem(header)
            };
            let name = HeaderName::from_bytes(header.as_bytes()).ok();
            match (problem, name) {
                (None, Some(name)) => headers.push(Some((claim.as_str().into(), name))),
                (problem, _) => {
                    self.problem(
                        &at,
                        problem.unwrap_or_else(|| format!("`{header}` is not a header name; choose another")),
                    );
                    headers.push(None);
                }
            }
        }
        Some(Forward { access_token, client_certificate, claims: headers.into_iter().collect::<Option<_>>()? })
    }

    fn audit(&mut self, file: &mut File) -> Option<audit::Destination> {
        let at = KeyPath::of("audit").key("destination");
        let entry = file.audit.get_or_insert_default();
        let written = &entry.destination.get_or_insert_with(|| FilePath("stdout".into())).0;
        let text = written.to_str().unwrap_or_default();
        if text == "stdout" {
            return Some(audit::Destination::Stdout);
        }
        if nearest(text, ["stdout", "stderr"]).is_some() {
            self.problem(&at, format!("`{text}` is not known; did you mean `stdout`? Write a file as `./{text}`"));
            return None;
        }
        let path = self.resolve(written);
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if path.is_dir() || !directory.is_dir() {
            let problem = format!(
                "`{}` is not a file in an existing directory; create the directory or correct the path",
                path.display()
            );
            self.problem(&at, problem);
            return None;
        }
        Some(audit::Destination::File(path))
    }

    // --- files

    fn resolve(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    fn read(&mut self, at: &KeyPath, path: &FilePath) -> Option<Vec<u8>> {
        let path = self.resolve(&path.0);
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes));
        if let Err(error) = read {
            let problem =
                format!("`{}` cannot be read: {error}; correct the path or the file's permissions", path.display());
            self.problem(at, problem);
            return None;
        }
        Some(bytes)
    }

    /// Every certificate of a PEM file; at least one.
    fn certificates(&mut self, at: &KeyPath, path: &FilePath) -> Option<Vec<CertificateDer<'static>>> {
        let bytes = self.read(at, path)?;
        let certificates: Result<Vec<_>, PemError> = CertificateDer::pem_slice_iter(&bytes).collect();
        let shown = path.0.display();
        // What the parser says may quote the file, which may be a key.
        let problem = match certificates {
            Ok(certificates) if !certificates.is_empty() => {
                if let Some(first) = certificates.iter().filter_map(not_after).min() {
                    self.certificates.insert(shown.to_string(), first);
                }
                return Some(certificates);
            }
            Ok(_) => format!("`{shown}` has no certificate in PEM form; convert it, or name another file"),
            Err(_) => format!("`{shown}` is not well-formed PEM; copy it again, with its BEGIN and END lines"),
        };
        self.problem(at, problem);
        None
    }

    fn certificate_chain(&mut self, at: &KeyPath, path: &FilePath) -> Option<Vec<CertificateDer<'static>>> {
        let chain = self.certificates(at, path)?;
        if let Some(error) = chain.iter().find_map(|certificate| ParsedCertificate::try_from(certificate).err()) {
            let problem =
                format!("`{}` has a certificate that cannot be used ({error}); issue it again", path.0.display());
            self.problem(at, problem);
            return None;
        }
        Some(chain)
    }

    fn private_key(&mut self, at: &KeyPath, path: &FilePath) -> Option<PrivateKeyDer<'static>> {
        let bytes = self.read(at, path)?;
        let shown = path.0.display();
        let encrypted = [&b"ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"];
        let is_encrypted = encrypted.iter().any(|mark| bytes.windows(mark.len()).any(|window| window == *mark));
        let problem = match PrivateKeyDer::from_pem_slice(&bytes) {
            _ if is_encrypted => {
                format!("`{shown}` is encrypted; decrypt it, and protect it with the file's permissions")
            }
            Ok(key) => match tls::provider().key_provider.load_private_key(key.clone_key()) {
                Ok(_) => return Some(key),
                Err(_) => {
                    format!("the key in `{shown}` cannot be used; use RSA from 2048 bits, P-256, P-384 or Ed25519")
                }
            },
            Err(PemError::NoItemsFound) => {
                format!("`{shown}` has no private key in PEM form (PKCS#8, SEC1 or PKCS#1); name the file that has it")
            }
            Err(_) => format!("`{shown}` is not well-formed PEM; copy it again, with its BEGIN and END lines"),
        };
        self.problem(at, problem);
        None
    }

    fn trust_anchors(
        &mut self,
        at: &KeyPath,
        paths: &[FilePath],
        kind: Anchors,
    ) -> Option<Vec<CertificateDer<'static>>> {
        if paths.is_empty() {
            self.report.empty(
                at,
                "the list is empty, so nothing could be trusted; name at least one PEM file, or remove the key",
            );
            return None;
        }
        let mut files = Vec::new();
        for (index, path) in paths.iter().enumerate() {
            let at = at.index(index);
            let certificates = self.certificates(&at, path);
            for (place, certificate) in certificates.iter().flatten().enumerate() {
                let problem = match RootCertStore::empty().add(certificate.clone()) {
                    Err(error) => Some(error.to_string()),
                    Ok(()) if kind == Anchors::Authorities && !is_authority(certificate) => {
                        Some("it is not a certificate authority's".to_owned())
                    }
                    Ok(()) => None,
                };
                if let Some(problem) = problem {
                    let (number, shown) = (place + 1, path.0.display());
                    let problem = format!(
                        "certificate {number} of `{shown}` cannot be a trust anchor ({problem}); remove or replace it"
                    );
                    self.problem(&at, problem);
                }
            }
            files.push(certificates);
        }
        Some(files.into_iter().collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn revocation_lists(
        &mut self,
        at: &KeyPath,
        paths: &[FilePath],
    ) -> Option<Vec<CertificateRevocationListDer<'static>>> {
        let mut files = Vec::new();
        for (index, path) in paths.iter().enumerate() {
            let at = at.index(index);
            files.push(self.read(&at, path).and_then(|bytes| {
                let is_pem = bytes.windows(PEM_MARK.len()).any(|window| window == PEM_MARK);
                let lists: Vec<CertificateRevocationListDer<'static>> = if is_pem {
                    CertificateRevocationListDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().unwrap_or_default()
                } else {
                    vec![bytes.into()]
                };
                let readable = |list: &CertificateRevocationListDer<'static>| {
                    x509_parser::parse_x509_crl(list.as_ref()).is_ok_and(|(rest, _)| rest.is_empty())
                };
                if !lists.is_empty() && lists.iter().all(readable) {
                    return Some(lists);
                }
                let shown = path.0.display();
                self.problem(
                    &at,
                    format!("`{shown}` is not a certificate revocation list in PEM or DER; fetch it again"),
                );
                None
            }));
        }
        Some(files.into_iter().collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
    }

    // --- what many keys share

    fn needed<'f, T: ?Sized>(&mut self, at: &KeyPath, value: Option<&'f T>, way_out: &str) -> Option<&'f T> {
        if value.is_none() {
            self.problem(at, format!("the key is missing; {way_out}"));
        }
        value
    }

    fn text<'f>(&mut self, at: &KeyPath, text: Option<&'f str>, way_out: &str) -> Option<&'f str> {
        let text = self.needed(at, text, way_out)?;
        if text.trim().is_empty() {
            self.problem(at, format!("the value is empty; {way_out}"));
            return None;
        }
        Some(text)
    }

    fn list<'f>(&mut self, at: &KeyPath, list: Option<&'f [String]>, way_out: &str) -> Option<&'f [String]> {
        let list = self.needed(at, list, way_out)?;
        if list.is_empty() {
            self.report.empty(at, &format!("the list is empty; {way_out}"));
            return None;
        }
        Some(list)
    }

    fn entries<'f, T>(&mut self, at: &KeyPath, entries: Option<&'f mut [T]>, way_out: &str) -> Option<&'f mut [T]> {
        match entries {
            Some([]) => {
                self.report.empty(at, &format!("the list is empty; {way_out}"));
                None
            }
            None => {
                self.problem(at, format!("the key is missing; {way_out}"));
                None
            }
            entries => entries,
        }
    }

    /// Names go into metrics and the audit, so they are short and print as they are.
    fn name<'f>(&mut self, at: &KeyPath, name: Option<&'f str>) -> Option<&'f str> {
        let name = self.text(at, name, "choose a name, such as `accounts`")?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
        if name.len() > 64 || !name.bytes().all(plain) {
            self.problem(at, "a name has at most 64 letters, digits and `-`, `_`, `.`, `:`; choose such a one");
            return None;
        }
        Some(name)
    }

    fn no_repeats(&mut self, at: &KeyPath, texts: &[String]) {
        for (index, text) in texts.iter().enumerate() {
            if texts.iter().take(index).any(|earlier| earlier == text) {
                self.problem(&at.index(index), format!("`{text}` is in the list twice; keep one"));
            }
        }
    }

    /// Says that a name is not known; not when the entry it names may have been left out for a fault of its own.
    fn unknown<'n>(
        &mut self,
        at: &KeyPath,
        what: &str,
        name: &str,
        known: impl Iterator<Item = &'n str> + Clone,
        broken: bool,
    ) {
        if broken {
            return;
        }
        let known_names = quoted(known.clone().filter(|name| !name.is_empty()));
        let problem = match nearest(name, known) {
            Some(meant) => format!("no {what} `{name}`; did you mean `{meant}`? Known are {known_names}"),
            None if known_names.is_empty() => format!("no {what} `{name}`; none is configured, add it"),
            None => format!("no {what} `{name}`; known are {known_names}"),
        };
        self.problem(at, problem);
    }
}

/// The largest file that is read, in bytes; revocation lists are the large ones.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

const PEM_MARK: &[u8] = b"-----BEGIN ";

/// What a trust anchor must be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Anchors {
    /// An authority, for certificates that others show us.
    Authorities,
    /// An authority or a server's own certificate.
    Any,
}

/// The end of a certificate's validity (RFC 5280 §4.1.2.5).
fn not_after(certificate: &CertificateDer<'static>) -> Option<UnixTime> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(UnixTime(certificate.validity().not_after.timestamp().try_into().unwrap_or_default()))
}

/// Whether a certificate may sign others (RFC 5280 §4.2.1.9); one before version 3 cannot say and is taken.
fn is_authority(certificate: &CertificateDer<'_>) -> bool {
    x509_parser::parse_x509_certificate(certificate).is_ok_and(|(_, certificate)| {
        certificate.is_ca() || certificate.version() != x509_parser::x509::X509Version::V3
    })
}

/// An absolute https URL without user information and without characters that URLs are rid of in silence.
fn https_url(text: &str) -> Result<Url, String> {
    if !text.starts_with("https://") {
        return Err(format!("`{text}` is not an https URL; write it with `https://`, plain http is never used"));
    }
    let problem = || format!("`{text}` is not a URL with a host; correct it");
    if !text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
        return Err(problem());
    }
    let url = Url::parse(text).map_err(|_| problem())?;
    if !url.username().is_empty() || url.password().is_some() {
        // Not shown, since it may be a password.
        return Err("the URL has user information; remove it".to_owned());
    }
    Ok(url)
}

/// A server's address: scheme, host and port, and nothing else.
fn server_address(text: &str) -> Result<upstream::ServerAddress, String> {
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
        return Err(format!("`{text}` has a path or query; {way_out}, the path comes from the request"));
    }
    let url = authority.bytes().all(|b| b.is_ascii_graphic() && b != b'\\').then(|| Url::parse(text).ok()).flatten();
    let host = url.as_ref().and_then(Url::host_str).map(|host| host.trim_start_matches('[').trim_end_matches(']'));
    match (host, url.as_ref().and_then(Url::port_or_known_default)) {
        (Some(host), Some(port)) if port != 0 => Ok(upstream::ServerAddress { tls, host: host.into(), port }),
        _ => Err(format!("`{text}` is not a host with an optional port; {way_out}")),
    }
}

/// Whether what is sent there crosses a network unprotected.
fn is_exposed(server: &upstream::ServerAddress) -> bool {
    let loopback = server.host.parse::<IpAddr>().map_or(&*server.host == "localhost", |address| address.is_loopback());
    !server.tls && !loopback
}

/// Why a header may not carry a claim.
fn header_problem(name: &str) -> Option<String> {
    const HOP: &[&str] = &[
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
        "host",
        "via",
        "expect",
        "max-forwards",
        "date",
        "range",
    ];
    const SECRET: &[&str] = &["authorization", "cookie", "set-cookie", "www-authenticate", "dpop", "dpop-nonce"];
    const OURS: &[&str] = &["forwarded", "x-fapi-interaction-id", "traceparent", "tracestate"];
    const PREFIXES: &[&str] = &["content-", "proxy-", "accept", "if-", "sec-", "access-control-"];
    const OUR_PREFIXES: &[&str] = &["client-cert", "x-forwarded-", "x-original-", "x-rewrite-", "x-http-method"];
    let lower = name.to_ascii_lowercase();
    let way_out = "choose another, such as `X-Token-Subject`";
    // Servers behind us may read `_` and `.` as `-`, and then as a name that a client may send.
    if lower.is_empty() || !lower.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Some(format!("`{name}` is not a header name of letters, digits and `-`; {way_out}"));
    }
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| lower.starts_with(prefix));
    if HOP.contains(&&*lower) || SECRET.contains(&&*lower) || starts(PREFIXES) {
        return Some(format!("`{name}` has a meaning of its own in HTTP; {way_out}"));
    }
    if OURS.contains(&&*lower) || starts(OUR_PREFIXES) {
        return Some(format!("`{name}` is written by the gateway itself; {way_out}"));
    }
    None
}

/// Why rustls takes a certificate and a key apart, but not together.
fn misfit(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            "the key does not fit the certificate; name the key of its first certificate".to_owned()
        }
        error => format!("certificate and key cannot be used ({error}); issue them again"),
    }
}

fn describe(clients: &tls::ClientCertificates) -> String {
    match clients {
        tls::ClientCertificates::None => "none".to_owned(),
        tls::ClientCertificates::Requested { demand, trust } => {
            let demand = match demand {
                tls::Demand::Optional => "optional",
                tls::Demand::Required => "required",
            };
            match trust {
                tls::Trust::Possession => format!("{demand}, by possession"),
                tls::Trust::Chain { anchors, revocation_lists } => format!(
                    "{demand}, by chain; trust anchors: {}; revocation lists: {}",
                    anchors.len(),
                    revocation_lists.len()
                ),
            }
        }
    }
}

fn describe_route(route: &Route, entry: &file::Route) -> String {
    let list = |names: &Option<Vec<String>>| names.as_deref().unwrap_or_default().join(", ");
    let hosts = match &entry.hosts {
        Some(hosts) => format!(" on {}", hosts.join(", ")),
        None => String::new(),
    };
    let asks = match (&route.requirement, &entry.scopes) {
        (Requirement::Protected(_), Some(file::Scopes::List(scopes) | file::Scopes::All(scopes))) => {
            format!("scopes: all of {}; issuers: {}", scopes.join(", "), list(&entry.issuers))
        }
        (Requirement::Protected(_), Some(file::Scopes::Any(scopes))) => {
            format!("scopes: any of {}; issuers: {}", scopes.join(", "), list(&entry.issuers))
        }
        (Requirement::Protected(_), None) | (Requirement::Public, _) => "public".to_owned(),
    };
    format!(
        "route {}: {} {}{hosts} to {}; {asks}",
        route.name,
        list(&entry.methods),
        entry.path.as_deref().unwrap_or_default(),
        route.upstream.name,
    )
}

/// The file with every default in its place.
fn effective(file: &File) -> String {
    fn without_null(value: &mut serde_yaml::Value) {
        match value {
            serde_yaml::Value::Mapping(mapping) => {
                mapping.retain(|_, value| !value.is_null());
                mapping.values_mut().for_each(without_null);
            }
            serde_yaml::Value::Sequence(list) => list.iter_mut().for_each(without_null),
            _ => {}
        }
    }
    let Ok(mut value) = serde_yaml::to_value(file) else { return String::new() };
    without_null(&mut value);
    serde_yaml::to_string(&value).unwrap_or_default()
}
