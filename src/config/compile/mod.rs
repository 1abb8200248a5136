//! Turns the file's strings and numbers into the types of the other modules.
//!
//! Opens and parses every file that is named, and writes every default into the [`File`], which is then the effective
//! configuration. A part that cannot be built is left out and its problem recorded; the rest is checked all the same.

mod access_token;
mod admin;
mod audit;
mod authorization_servers;
mod certificate;
mod consents;
mod cors;
mod directories;
mod dpop;
mod encryption;
mod enforce;
mod errors;
mod fields;
mod files;
mod forward;
mod introspection;
mod issuers;
mod limits;
mod listeners;
mod metadata;
mod methods;
mod operation;
mod profile;
mod rate_limits;
mod require;
mod routes;
mod sharing;
mod signature;
mod signature_form;
mod signing;
mod stores;
mod token;
mod tracing;
mod trusted_proxy;
mod unreadable;
mod upstreams;
mod url;
mod waivers;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fapi::UnixTime;
use fapi::signature::form::SealAuthorities;
use rustls::pki_types::CertificateDer;
use serde_yaml::Value;

use self::profile::{route_ecosystems, route_profiles};
use self::routes::Names;
use self::signing::Signing;
pub(super) use self::unreadable::unreadable;
use super::environment::{Environment, escaped};
use super::error::{ConfigError, ConfigErrors, KeyPath, nearest, quoted};
use super::file::{self, File};
use super::report::Report;
use super::scalar::{self, FilePath};
use super::waivers::Waiver;
use super::{CertificateFile, Config, NamedFiles, Profile};
use crate::certificate::{Judgement, Purpose};
use crate::config::watch::Files;
use crate::issuer::introspection::Room;
use crate::{issuer, resource};

/// Builds the whole configuration, or returns every problem.
pub(super) fn compile(
    mut file: File,
    report: Report,
    path: &Path,
    files: Files,
    named_files: NamedFiles,
    environment: Environment<'_>,
) -> Result<Config, ConfigErrors> {
    let mut build = Build {
        report,
        path,
        directory: path.parent().unwrap_or(Path::new("")),
        files,
        named_files,
        environment,
        resources: Vec::new(),
        passing: 0,
        certificates: BTreeMap::new(),
        certificate_files: Vec::new(),
        revocation_lists: BTreeMap::new(),
        waivers: Vec::new(),
        warnings: Vec::new(),
        summary: Vec::new(),
        signing: Signing::default(),
        seal_authorities: Vec::new(),
    };
    let profile = build.profile(&file);
    build.profiles_of_listeners(&mut file, profile);
    build.waivers = build.waivers(&file, profile);
    let mut listeners = build.listeners(&mut file);
    let of_listeners: Vec<_> = file.listeners.iter().flatten().map(|listener| listener.profile).collect();
    for (index, (own, (_, host))) in of_listeners.iter().zip(listeners.iter_mut().flatten()).enumerate() {
        if own.and_then(file::Profiles::base).or(profile) == Some(Profile::Fapi1Advanced) {
            build.listener_of_fapi1(index, &mut host.tls);
        }
    }
    let admin = build.admin(&mut file);
    let mut issuers = build.issuers(&mut file, profile);
    let revocations = admin.as_ref().and_then(|admin| admin.revocations.as_ref());
    for source in revocations.iter().flat_map(|settings| &settings.security_events) {
        if let Some(issuer) = issuers.iter_mut().flatten().nth(source.issuer.0) {
            issuer.security_events = true;
        }
    }
    let sharing = build.sharing(&mut file);
    for (issuer, sharing) in issuers.iter_mut().flatten().zip(sharing.iter().flatten()) {
        issuer.sharing = sharing.clone().filter(|_| issuer.introspection.is_some());
    }
    let token_cache = build.token_cache(&mut file);
    let freshness = build.dpop(&mut file);
    let stores = build.stores(&mut file);
    let replay = build.replay(&mut file);
    let shared_revocations = build.shared_revocations(&mut file);
    let limits = build.limits(&mut file);
    let upstreams = build.upstreams(&mut file);
    let names = Names::of(&file);
    let formats = build.error_formats(&mut file);
    let ecosystem = file.profile.and_then(file::Profiles::ecosystem);
    let errors = file.errors.get_or_insert_with(|| formats.usual(ecosystem));
    let errors = build.error_format(&KeyPath::of("errors"), errors, &formats);
    for (own, (_, host)) in of_listeners.iter().zip(listeners.iter_mut().flatten()) {
        if let Some(own) = own.and_then(file::Profiles::ecosystem) {
            host.errors = formats.of(&formats.usual(Some(own))).map(Arc::new);
        }
    }
    let rate_limits = build.rate_limits(&mut file, listeners.as_deref());
    build.signing = build.signing(&mut file, profile);
    let servers = build.authorization_servers(&mut file, &names, issuers.as_deref());
    let (servers, endpoints) = servers.map_or((None, Vec::new()), |(servers, routes)| (Some(servers), routes));
    let client_keys = build.client_keys(&file, servers.as_deref());
    let consents = build.consents(&mut file);
    let directories = build.directories(&mut file);
    let routes = build.routes(&mut file, &names, profile, &formats, endpoints);
    let metadata =
        build.metadata(&mut file, listeners.as_deref(), issuers.as_deref(), routes.as_ref().map(|(routes, _)| routes));
    build.describe_waivers();
    let audit = build.audit(&mut file);
    let log = build.log(&mut file);
    let tracing = build.tracing(&mut file);
    let watch = build.reload(&mut file);
    let drain = build.drain(&mut file);
    if build.report.errors().is_empty()
        && let (Some(profile), Some(listeners), Some(mut issuers), Some(token_cache), Some(limits), Some(upstreams)) =
            (profile, listeners, issuers, token_cache, limits, upstreams)
        && let (Some((routes, strip)), Some(metadata), Some(audit), Some(drain)) = (routes, metadata, audit, drain)
        && let (Some(freshness), Some(replay), Some(stores), Some(watch), Some(log), Some(errors)) =
            (freshness, replay, stores, watch, log, errors)
        && let (Some((rate_limits, rate_limits_store)), Some(shared_revocations), Some(tracing), Some(servers)) =
            (rate_limits, shared_revocations, tracing, servers)
        && let (Some(client_keys), Some(consents), Some(directories)) = (client_keys, consents, directories)
    {
        build.warn_of_senders(&file, &listeners, &routes);
        build.warn_of_unused_issuers(&mut issuers, &routes, &servers);
        build.warn_of_scripts(&file);
        return Ok(Config {
            file: path.to_owned(),
            files: build.files,
            resources: build.resources.into_iter().map(|(_, file)| file).collect(),
            watch: Some(watch).filter(|watch| !watch.is_zero()),
            profile,
            route_profiles: route_profiles(&file, profile),
            route_ecosystems: route_ecosystems(&file),
            waivers: build.waivers,
            listeners: listeners::by_address(listeners),
            admin,
            issuers,
            token_cache,
            freshness,
            replay: replay.capacity,
            stores,
            replay_store: replay.store,
            replay_alone: replay.alone,
            shared_revocations,
            rate_limits,
            rate_limits_store,
            limits,
            upstreams,
            routes,
            authorization_servers: servers,
            client_keys,
            consents,
            directories,
            metadata,
            signing: build.signing.keys(),
            errors,
            strip,
            drain,
            audit,
            log,
            tracing,
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
    let passing = build.report.errors().len() == build.passing;
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
    /// How many problems may disappear although no file changes: the audit's directory is missing, a directory is where its file
    /// should be, or a token is away.
    passing: usize,
    /// Whether the files that it names are read; if not, something empty stands for each.
    named_files: NamedFiles,
    /// The environment of the process.
    environment: Environment<'d>,
    certificates: BTreeMap<String, UnixTime>,
    certificate_files: Vec<CertificateFile>,
    revocation_lists: BTreeMap<String, UnixTime>,
    /// The rules that are suspended.
    waivers: Vec<Waiver>,
    warnings: Vec<String>,
    summary: Vec<String>,
    /// What other sections sign with, once it has been read.
    signing: Signing,
    /// The authorities of seals, by their files: routes that name the same ones share them.
    seal_authorities: Vec<(SealFiles, SealAuthorities)>,
}

/// The files of anchors and of revocation lists.
type SealFiles = (Vec<FilePath>, Option<Vec<FilePath>>);

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

    fn token_cache(&mut self, file: &mut File) -> Option<issuer::CacheSettings> {
        let at = KeyPath::of("token_cache");
        let entry = file.token_cache.get_or_insert_default();
        let max_entries = self.count(&at.key("max_entries"), entry.max_entries.get_or_insert(100_000));
        let max_age = self.time(&at.key("max_age"), &mut entry.max_age, Duration::from_secs(300));
        let max_bytes = self.memory(&at.key("max_bytes"), &mut entry.max_bytes);
        Some(issuer::CacheSettings { max_entries: max_entries?, max_bytes: max_bytes?, max_age: max_age? })
    }

    fn count<N: TryFrom<u64>>(&mut self, at: &KeyPath, count: &u64) -> Option<N> {
        let fitting = N::try_from(*count).ok().filter(|_| *count != 0);
        if fitting.is_none() {
            self.problem(at, format!("`{count}` is out of range; write a whole number above zero"));
        }
        fitting
    }

    fn number<N: TryFrom<u64>>(&mut self, at: &KeyPath, number: &u64, range: RangeInclusive<u64>) -> Option<N> {
        let fitting = N::try_from(*number).ok().filter(|_| range.contains(number));
        if fitting.is_none() {
            let (least, most) = range.into_inner();
            self.problem(at, format!("`{number}` is out of range; write a whole number from {least} to {most}"));
        }
        fitting
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

    /// How long what is read again and again counts while it cannot be read; `reads` are the key of the time between two reads, what
    /// is written there, and that time, if it is good.
    fn time_without_reads(
        &mut self,
        at: &KeyPath,
        entry: &mut Option<scalar::Duration>,
        (key, written, interval): (&str, scalar::Duration, Option<Duration>),
    ) -> Option<Duration> {
        let time = entry.get_or_insert(scalar::Duration(USUAL_WITHOUT_READS)).0;
        // A single failed read must not be enough to lose it.
        let shortest = interval.map_or(Duration::ZERO, |interval| interval * 2);
        if (shortest..=LONGEST_WITHOUT_READS).contains(&time) {
            return Some(time);
        }
        let problem =
            format!("the time must be from twice `{key}`, which is {written}, to 7days; the default is `24h`");
        self.problem(at, problem);
        None
    }

    /// How many requests may wait for the answers of a server, by the keys `max_waiting` and `max_waiting_per_client` of its section.
    fn room(&mut self, at: &KeyPath, total: &mut Option<u64>, per_client: &mut Option<u64>) -> Option<Room> {
        let total = *total.get_or_insert(1024);
        let good = self.number(&at.key("max_waiting"), &total, 1..=MOST_WAITING);
        // A share of a number that is wrong is no second fault.
        let most = if good.is_some() { total } else { MOST_WAITING };
        let per_client = *per_client.get_or_insert((most / 4).max(16).min(most));
        let per_client = self.number(&at.key("max_waiting_per_client"), &per_client, 1..=most);
        Some(Room { total: good?, per_client: per_client? })
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

    /// A size in bytes.
    fn size_within<N: TryFrom<u64>>(
        &mut self,
        at: &KeyPath,
        entry: &mut Option<scalar::Size>,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Option<N> {
        let size = entry.get_or_insert(scalar::Size(default)).0;
        let fitting = N::try_from(size).ok().filter(|_| range.contains(&size));
        if fitting.is_none() {
            let [least, most, default] = [*range.start(), *range.end(), default].map(scalar::Size);
            self.problem(at, format!("the size must be from {least} to {most}; the default is `{default}`"));
        }
        fitting
    }

    /// How much memory a cache may use, in bytes.
    fn memory(&mut self, at: &KeyPath, entry: &mut Option<scalar::Size>) -> Option<u64> {
        self.size_within(at, entry, 128 * MIB, MIB..=64 * 1024 * MIB)
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

    /// A list in which no text may stand twice.
    fn distinct<'f>(&mut self, at: &KeyPath, list: Option<&'f [String]>, way_out: &str) -> Option<&'f [String]> {
        let list = self.list(at, list, way_out)?;
        self.no_repeats(at, list);
        Some(list)
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

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// How long keys and directories count without being read, if nothing else is written, and at most.
const USUAL_WITHOUT_READS: Duration = Duration::from_secs(24 * 60 * 60);
const LONGEST_WITHOUT_READS: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How many requests may wait for the answers of one server at most.
const MOST_WAITING: u64 = 100_000;
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
