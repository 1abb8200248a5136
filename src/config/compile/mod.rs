//! Turns the file's strings and numbers into the types of the other modules.
//!
//! Opens and parses every file that is named, and writes every default into the [`File`], which is then the effective
//! configuration. A part that cannot be built is left out and its problem recorded; the rest is checked all the same.

mod access_token;
mod admin;
mod audit;
mod connections;
mod cors;
mod dpop;
mod files;
mod forward;
mod introspection;
mod issuers;
mod listeners;
mod methods;
mod operation;
mod require;
mod routes;
mod trusted_proxy;
mod unreadable;
mod upstreams;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use fapi::UnixTime;
use rustls::pki_types::CertificateDer;
use serde_yaml::Value;

use self::connections::Connections;
use self::routes::Names;
pub(super) use self::unreadable::unreadable;
use super::environment::escaped;
use super::error::{ConfigError, ConfigErrors, KeyPath, nearest, quoted};
use super::file::{self, File};
use super::report::Report;
use super::scalar::{self, FilePath};
use super::{CertificateFile, Config, NamedFiles, Profile};
use crate::certificate::{Judgement, Purpose};
use crate::config::watch::Files;
use crate::connection::limits::Limits;
use crate::connection::shares;
use crate::{issuer, resource};

/// Builds the whole configuration, or returns every problem.
pub(super) fn compile(
    mut file: File,
    report: Report,
    path: &Path,
    files: Files,
    named_files: NamedFiles,
) -> Result<Config, ConfigErrors> {
    let mut build = Build {
        report,
        path,
        directory: path.parent().unwrap_or(Path::new("")),
        files,
        named_files,
        resources: Vec::new(),
        no_place_for_audit: false,
        certificates: BTreeMap::new(),
        certificate_files: Vec::new(),
        revocation_lists: BTreeMap::new(),
        warnings: Vec::new(),
        summary: Vec::new(),
    };
    let profile = build.profile(&file);
    let listeners = build.listeners(&mut file);
    let admin = build.admin(&mut file);
    let mut issuers = build.issuers(&mut file, profile);
    let revocations = admin.as_ref().and_then(|admin| admin.revocations.as_ref());
    for source in revocations.iter().flat_map(|settings| &settings.security_events) {
        if let Some(issuer) = issuers.iter_mut().flatten().nth(source.issuer.0) {
            issuer.security_events = true;
        }
    }
    let token_cache = build.token_cache(&mut file);
    let freshness = build.dpop(&mut file);
    let replay = build.replay(&mut file);
    let limits = build.limits(&mut file);
    let upstreams = build.upstreams(&mut file);
    let names = Names::of(&file);
    let routes = build.routes(&mut file, &names, profile);
    let audit = build.audit(&mut file);
    let log = build.log(&mut file);
    let watch = build.reload(&mut file);
    let drain = build.drain(&mut file);
    if build.report.errors().is_empty()
        && let (Some(profile), Some(listeners), Some(mut issuers), Some(token_cache), Some(limits), Some(upstreams)) =
            (profile, listeners, issuers, token_cache, limits, upstreams)
        && let (Some((routes, strip)), Some(audit), Some(drain)) = (routes, audit, drain)
        && let (Some(freshness), Some(replay), Some(watch), Some(log)) = (freshness, replay, watch, log)
    {
        build.warn_of_senders(&file, &listeners, &routes);
        build.warn_of_unused_issuers(&mut issuers, &routes);
        build.warn_of_scripts(&file);
        return Ok(Config {
            file: path.to_owned(),
            files: build.files,
            resources: build.resources.into_iter().map(|(_, file)| file).collect(),
            watch: Some(watch).filter(|watch| !watch.is_zero()),
            profile,
            listeners: listeners::by_address(listeners),
            admin,
            issuers,
            token_cache,
            freshness,
            replay,
            limits,
            upstreams,
            routes,
            strip,
            drain,
            audit,
            log,
            audit_place: build.report.error_to_come(&KeyPath::of("audit").key("destination")),
            certificates: build.certificates.into_iter().collect(),
            certificate_files: build.certificate_files,
            revocation_lists: build.revocation_lists.into_iter().collect(),
            warnings: build.warnings,
            summary: build.summary,
            effective: effective(&file),
        });
    }
    if build.report.errors().is_empty() {
        build.problem(
            &KeyPath::default(),
            "the file was refused without a reason, which is a bug in the gateway; please report it",
        );
    }
    let faults = build.faults();
    let passing = build.no_place_for_audit && build.report.errors().len() == 1;
    let errors = ConfigErrors::new(path.to_owned(), build.report.into_errors(), build.files);
    Err(errors.with_resources(faults).passing(passing))
}

struct Build<'d> {
    report: Report,
    /// gateway.yaml itself.
    path: &'d Path,
    directory: &'d Path,
    files: Files,
    /// The files that were read besides gateway.yaml, each with the key that names it, as it is written.
    resources: Vec<(KeyPath, resource::Id)>,
    /// Whether the audit's directory is missing, or a directory is where its file should be.
    no_place_for_audit: bool,
    /// Whether the files that it names are read; if not, something empty stands for each.
    named_files: NamedFiles,
    certificates: BTreeMap<String, UnixTime>,
    certificate_files: Vec<CertificateFile>,
    revocation_lists: BTreeMap<String, UnixTime>,
    warnings: Vec<String>,
    summary: Vec<String>,
}

impl Build<'_> {
    fn problem(&mut self, at: &KeyPath, problem: impl AsRef<str>) {
        self.report.problem(at, problem.as_ref());
    }

    fn warn(&mut self, at: &KeyPath, warning: impl Display) {
        self.warnings.push(format!("{}: {warning}", self.report.shown(at)));
    }

    /// A path in a problem of `at`: with its file, unless that is gateway.yaml for both.
    fn shown_beside(&self, place: &KeyPath, at: &KeyPath) -> String {
        match (self.report.file_of(place), self.report.file_of(at)) {
            (None, Some(_)) => format!("{place} in {}", self.path.display()),
            (Some(_), _) | (None, None) => self.report.shown(place),
        }
    }

    /// The files that have a problem, each with it.
    fn faults(&self) -> Vec<(resource::Id, String)> {
        let of = |error: &ConfigError| {
            let found = self.resources.iter().find(|(at, _)| *at == error.path);
            found.map(|(_, file)| (file.clone(), error.problem.clone()))
        };
        self.report.errors().iter().filter_map(of).collect()
    }

    /// Judges the certificates of the file at this key.
    fn judge(&mut self, at: &KeyPath, file: &FilePath, certificates: &[CertificateDer<'_>], purpose: Purpose<'_>) {
        let (name, place) = (file.0.display().to_string(), self.report.error_to_come(at));
        self.certificate_files.push(CertificateFile { name, place, judgement: Judgement::of(certificates, purpose) });
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

    fn token_cache(&mut self, file: &mut File) -> Option<issuer::CacheSettings> {
        let at = KeyPath::of("token_cache");
        let entry = file.token_cache.get_or_insert_default();
        let max_entries = self.count(&at.key("max_entries"), entry.max_entries.get_or_insert(100_000));
        let max_age = self.time(&at.key("max_age"), &mut entry.max_age, Duration::from_secs(300));
        let max_bytes = self.memory(&at.key("max_bytes"), &mut entry.max_bytes);
        Some(issuer::CacheSettings { max_entries: max_entries?, max_bytes: max_bytes?, max_age: max_age? })
    }

    fn limits(&mut self, file: &mut File) -> Option<Limits> {
        let at = KeyPath::of("limits");
        let default = Limits::default();
        let entry = file.limits.get_or_insert_default();
        let header = entry.header_bytes.get_or_insert(scalar::Size(default.header_bytes.try_into().ok()?)).0;
        if !(1024..=1024 * 1024).contains(&header) {
            self.problem(&at.key("header_bytes"), "the size must be from 1KiB to 1MiB; the default is `32KiB`");
        }
        let header_count = *entry.header_count.get_or_insert(default.header_count.try_into().ok()?);
        if !(1..=MAX_FIELDS).contains(&header_count) {
            self.problem(&at.key("header_count"), "the number must be from 1 to 256; the default is `100`");
        }
        let token = scalar::Size(header.min(default.token_bytes.try_into().ok()?));
        let token_bytes = entry.token_bytes.get_or_insert(token).0;
        if !(1024..=header).contains(&token_bytes) {
            self.problem(
                &at.key("token_bytes"),
                "the size must be from 1KiB to that of `header_bytes`, which holds the token; the default is `16KiB`",
            );
        }
        let body_bytes = entry.body_bytes.get_or_insert(scalar::Size(default.body_bytes)).0;
        if body_bytes == 0 {
            self.problem(
                &at.key("body_bytes"),
                "no request body could be sent; write a size above zero, such as `10MiB`",
            );
        }
        let body_min_rate = entry.body_min_rate.get_or_insert(scalar::Size(default.body_min_rate)).0;
        if !(1..=1024 * 1024).contains(&body_min_rate) {
            self.problem(&at.key("body_min_rate"), "the size must be from 1B to 1MiB; the default is `1KiB`");
        }
        let connections = self.connections(&at, entry);
        let exchanges = entry.exchanges.get_or_insert(default.exchanges.try_into().ok()?);
        let exchanges = self.number(&at.key("exchanges"), exchanges, 1..=1_000_000);
        let usual = exchanges.map_or(default.exchanges_per_client, shares::usual).try_into().ok()?;
        let exchanges_per_client = self.number(
            &at.key("exchanges_per_client"),
            entry.exchanges_per_client.get_or_insert(usual),
            1..=1_000_000,
        );
        let streams = self.number(&at.key("streams"), entry.streams.get_or_insert(default.streams.into()), 1..=1000);
        let requests = entry.connection_max_requests.get_or_insert(default.connection_max_requests.into());
        let requests = self.number(&at.key("connection_max_requests"), requests, 10..=1_000_000_000);
        let age = self.time_within(
            &at.key("connection_max_age"),
            &mut entry.connection_max_age,
            default.connection_max_age,
            Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60),
        );
        let idle_at = at.key("idle_upstream_connections");
        // Each client waits for one response at a time over HTTP/1.1, so no more connections become idle at once.
        let idle = entry.idle_upstream_connections.get_or_insert(entry.connections.unwrap_or(1).max(1));
        if *idle > connections::MAX_CONNECTIONS {
            self.problem(&idle_at, "no process can hold so many; write at most 1000000");
        }
        let idle = self.count(&idle_at, idle);
        let header_timeout = self.time(&at.key("header_timeout"), &mut entry.header_timeout, default.header_timeout);
        let idle_timeout = self.time(&at.key("idle_timeout"), &mut entry.idle_timeout, default.idle_timeout);
        let body_timeout = self.time(&at.key("body_timeout"), &mut entry.body_timeout, default.body_timeout);
        let body_grace = self.time(&at.key("body_grace"), &mut entry.body_grace, default.body_grace);
        let unread_body_bytes = entry.unread_body_bytes.get_or_insert(scalar::Size(default.unread_body_bytes)).0;
        let unread_body_timeout = self.time_within(
            &at.key("unread_body_timeout"),
            &mut entry.unread_body_timeout,
            default.unread_body_timeout,
            Duration::from_millis(1)..=Duration::from_secs(60),
        );
        let exchange_timeout =
            self.time(&at.key("exchange_timeout"), &mut entry.exchange_timeout, default.exchange_timeout);
        let handshake_timeout =
            self.time(&at.key("handshake_timeout"), &mut entry.handshake_timeout, default.handshake_timeout);
        let Connections { connections, handshakes, per_address } = connections?;
        Some(Limits {
            header_bytes: header.try_into().ok()?,
            header_count: header_count.try_into().ok()?,
            token_bytes: token_bytes.try_into().ok()?,
            body_bytes,
            header_timeout: header_timeout?,
            idle_timeout: idle_timeout?,
            body_timeout: body_timeout?,
            body_grace: body_grace?,
            body_min_rate,
            unread_body_bytes,
            unread_body_timeout: unread_body_timeout?,
            exchange_timeout: exchange_timeout?,
            handshake_timeout: handshake_timeout?,
            connections,
            handshakes,
            per_address,
            exchanges: exchanges?,
            exchanges_per_client: exchanges_per_client?,
            streams: streams?.try_into().ok()?,
            connection_max_age: age?,
            connection_max_requests: requests?.try_into().ok()?,
            idle_upstream_connections: idle?.try_into().ok()?,
        })
    }

    fn count(&mut self, at: &KeyPath, count: &u64) -> Option<u64> {
        if *count == 0 || usize::try_from(*count).is_err() {
            self.problem(at, format!("`{count}` is out of range; write a whole number above zero"));
            return None;
        }
        Some(*count)
    }

    fn time(&mut self, at: &KeyPath, entry: &mut Option<scalar::Duration>, default: Duration) -> Option<Duration> {
        self.time_within(at, entry, default, UP_TO_A_DAY)
    }

    fn time_within(
        &mut self,
        at: &KeyPath,
        entry: &mut Option<scalar::Duration>,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let time = entry.get_or_insert(scalar::Duration(default)).0;
        self.time_of(at, time, range, Some(default))
    }

    /// A time that is written; `default` is what the key means where it is not, if that is a time of its own.
    fn time_of(
        &mut self,
        at: &KeyPath,
        time: Duration,
        range: RangeInclusive<Duration>,
        default: Option<Duration>,
    ) -> Option<Duration> {
        if !range.contains(&time) {
            let shown = |time: Duration| match time.as_secs() / 3600 {
                0 => scalar::Duration(time).to_string(),
                hours => format!("{hours}h"),
            };
            let (least, most) = (shown(*range.start()), shown(*range.end()));
            let default = default.map(|default| format!("; the default is `{}`", shown(default))).unwrap_or_default();
            self.problem(at, format!("the time must be from {least} to {most}{default}"));
            return None;
        }
        Some(time)
    }

    /// How much memory a cache may use, in bytes.
    fn memory(&mut self, at: &KeyPath, entry: &mut Option<scalar::Size>) -> Option<u64> {
        const MIB: u64 = 1024 * 1024;
        let size = entry.get_or_insert(scalar::Size(128 * MIB)).0;
        if !(MIB..=64 * 1024 * MIB).contains(&size) {
            self.problem(at, "the size must be from 1MiB to 64GiB; the default is `128MiB`");
            return None;
        }
        Some(size)
    }

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

    /// Checks a name; names are metric labels and audit fields, so they are short and need no escaping.
    fn name<'f>(&mut self, at: &KeyPath, name: Option<&'f str>) -> Option<&'f str> {
        let name = self.text(at, name, "choose a name, such as `accounts`")?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
        if name.len() > 64 || !name.bytes().all(plain) {
            self.problem(at, "a name has at most 64 letters, digits, `-`, `_`, `.` and `:`; choose another name");
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

    /// Reports each of these keys that is written, with the same problem; `None` if there is one.
    fn refuse_written(&mut self, at: &KeyPath, keys: &[(&str, bool)], problem: &str) -> Option<()> {
        let mut found = Some(());
        for (key, _) in keys.iter().filter(|(_, written)| *written) {
            self.problem(&at.key(key), problem);
            found = None;
        }
        found
    }

    /// Reports an unknown name, unless the entry that it names may be missing because of a problem of its own
    /// (`broken`).
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
            Some(meant) => format!("no {what} `{name}`; did you mean `{meant}`? The choices are {known_names}"),
            None if known_names.is_empty() => format!("no {what} `{name}`; none is configured, add one"),
            None => format!("no {what} `{name}`; the choices are {known_names}"),
        };
        self.problem(at, problem);
    }
}

/// More than a day is a typing error, and very long times would overflow a clock.
const UP_TO_A_DAY: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 60 * 60);

/// The file as YAML, with every default written out.
fn effective(file: &File) -> String {
    fn tidy(value: &mut Value) {
        match value {
            Value::Mapping(mapping) => {
                mapping.retain(|_, value| !value.is_null());
                mapping.values_mut().for_each(tidy);
            }
            Value::Sequence(list) => list.iter_mut().for_each(tidy),
            Value::String(text) => *text = escaped(text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Tagged(_) => {}
        }
    }
    let Ok(mut value) = serde_yaml::to_value(file) else { return String::new() };
    tidy(&mut value);
    serde_yaml::to_string(&value).unwrap_or_default()
}

/// The most header fields that Pingora's HTTP/1 parser accepts.
const MAX_FIELDS: u64 = 256;
