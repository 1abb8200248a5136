//! Reads gateway.yaml into the types of the other modules; no other module knows the format.
//!
//! ```text
//! gateway.yaml ──source───▶ File      strings and numbers; unknown keys refused; every choice an enum
//!              ──compile──▶ Config    routes, issuers, TLS: every file opened, every certificate and key parsed
//! ```
//!
//! Reports every problem, not only the first, each with its line, its key path and how to correct it. Nothing that
//! needs the network, such as an issuer's keys, is checked here; readiness covers that.

mod certificates;
mod compile;
mod date;
mod document;
mod environment;
mod error;
mod file;
mod include;
mod judge;
mod policy_test;
#[cfg(feature = "probe")]
pub mod probe;
mod report;
mod scalar;
mod secret;
mod shadows;
mod source;
mod syntax;
pub mod waivers;
pub mod watch;

use std::collections::BTreeSet;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fapi::UnixTime;
use fapi::authorization_server::ServerProfile;
use fapi::cors::Cors;
use fapi::dpop::Freshness;
use fapi::ecosystem::Ecosystem;
use fapi::error_format::ErrorFormat;
use fapi::headers::StripList;
use fapi::jose::signing_keys::SigningKeys;
use fapi::metadata::Metadata;
use fapi::peer::forwarded::proxies::Network;
use fapi::profile::Period;
use fapi::route::{Origins, Routes};
use serde_json::Value;

use crate::config::watch::Files;
use crate::connection::limits::Limits;
use crate::connection::{drain, tls, trusted_proxy};
use crate::replay::memory::Capacity;
use crate::telemetry::{audit, logging};
use crate::{
    authorization_server, consents, directory, issuer, otlp, rate_limits, resource, signatures, store, upstream,
};

pub use certificates::CertificateFile;
pub use environment::Environment;
pub use error::{ConfigError, ConfigErrors, KeyPath};
pub use fapi::profile::Profile;
pub use policy_test::{Binding, Call, Decision, GivenCertificate, GivenParticipant, GivenToken, Known, PolicyTest};
pub(crate) use secret::misplaced;

use include::Surroundings;
use waivers::Waiver;

/// The checked content of gateway.yaml; each part has the type of the module that uses it.
///
/// Holds private keys, so it does not implement `Debug`.
pub struct Config {
    /// The path it was read from.
    pub file: PathBuf,
    /// Every file that was read: gateway.yaml, and the files that it names.
    pub files: Files,
    /// The files that gateway.yaml names.
    pub resources: BTreeSet<resource::Id>,
    /// How often these files are checked for changes; `None` if they are not.
    pub watch: Option<Duration>,
    /// The FAPI profile that every route enforces at least.
    pub profile: Profile,
    /// The profile of each route that needs a token, by its name.
    pub route_profiles: Vec<(String, Profile)>,
    /// The ecosystem of each route that needs a token and is in one, by its name.
    pub route_ecosystems: Vec<(String, Ecosystem)>,
    /// The rules of the profile that are suspended for a while.
    pub waivers: Vec<Waiver>,
    /// Where clients connect; at least one.
    pub listeners: Vec<Listener>,
    /// Where operators connect.
    pub admin: Option<Admin>,
    /// The authorization servers; an [`IssuerIndex`](fapi::policy::IssuerIndex) of a route is an index into this list.
    pub issuers: Vec<issuer::Settings>,
    /// The cache of verified tokens.
    pub token_cache: issuer::CacheSettings,
    /// How old a DPoP proof may be, and how its nonces are made.
    pub freshness: Freshness,
    /// How many used proofs are remembered at a time.
    pub replay: Capacity,
    /// The stores that replicas share.
    pub stores: Vec<store::settings::Settings>,
    /// Which of them has used proofs too, if they are shared.
    pub replay_store: Option<usize>,
    /// The routes, by name, on which a proof is accepted while that store does not answer, and when.
    pub replay_alone: Vec<(Arc<str>, Period)>,
    /// How replicas share their revocations, if they do.
    pub shared_revocations: Option<issuer::revocations::Sharing>,
    /// How fast requests may come.
    pub rate_limits: rate_limits::Settings,
    /// Which of the stores has what was used of them, if it is shared.
    pub rate_limits_store: Option<usize>,
    /// Limits on what a peer may use.
    pub limits: Limits,
    /// The resource servers; the index of a route's [`UpstreamRef`](fapi::route::UpstreamRef) points into this list.
    pub upstreams: Vec<upstream::Settings>,
    /// The requests that are accepted.
    pub routes: Routes,
    /// The authorization servers in front of which FAPI is enforced; the `server` of a route's rules is an index into them.
    pub authorization_servers: Vec<authorization_server::Settings>,
    /// Where the keys are of clients that sign requests; the `keys` of a route's rules is an index into them.
    pub client_keys: Vec<signatures::Settings>,
    /// Who says in which state consents are.
    pub consents: Vec<consents::Source>,
    /// The directories of participants; a [`DirectoryIndex`](fapi::directory::DirectoryIndex) of a route is an index into them.
    pub directories: Vec<directory::Settings>,
    /// What clients may know of them in advance.
    pub metadata: Metadata,
    /// The keys that it signs with; they are published.
    pub signing: Option<Arc<SigningKeys>>,
    /// The form of the bodies of refusals before a route is known.
    pub errors: ErrorFormat,
    /// The headers that are removed from every request, including those in which any route says who the sender is.
    pub strip: StripList,
    /// How long stopping the gateway may take.
    pub drain: drain::Settings,
    /// Where the audit is written, and what happens if it cannot be.
    pub audit: audit::Settings,
    /// The key that says so, for a problem that is found later.
    audit_place: ConfigError,
    /// What is logged, and in which format.
    pub log: logging::Settings,
    /// Where the spans of exchanges go, if anywhere.
    pub tracing: Option<otlp::Settings>,
    /// Every file with certificates, as gateway.yaml names it, and when the first of them expires.
    pub certificates: Vec<(String, UnixTime)>,
    /// The files with certificates, once for each key that names one, and what is wrong with the certificates in it.
    pub certificate_files: Vec<CertificateFile>,
    /// Every file with revocation lists, as gateway.yaml names it, and the earliest `nextUpdate` in it.
    pub revocation_lists: Vec<(String, UnixTime)>,
    /// Settings that are allowed but questionable, each with its key path.
    pub warnings: Vec<String>,
    summary: Vec<String>,
    effective: String,
}

/// What a configuration says, without the files that it names.
pub struct Outline {
    /// Settings that are allowed but questionable, each with its key path.
    pub warnings: Vec<String>,
    /// One line for each listener, issuer, route, waiver and document of `metadata`, and one for `signing`, for people.
    pub summary: Vec<String>,
    /// The effective configuration as YAML.
    pub effective: String,
    /// The profile of each route that needs a token, by its name; first, without a name, that of all routes.
    pub profiles: Vec<(String, Profile)>,
    /// The ecosystem of each route that needs a token and is in one, by its name.
    pub ecosystems: Vec<(String, Ecosystem)>,
    /// The profile of each authorization server behind the gateway, by its name.
    pub server_profiles: Vec<(String, ServerProfile)>,
    /// The rules of the profile that are suspended for a while.
    pub waivers: Vec<Waiver>,
    /// One line for each route whose requirements are in shadow.
    pub shadows: Vec<String>,
}

/// What operators are shown of a configuration that is in force.
pub struct Overview {
    /// The lines of [`Config::summary`].
    pub summary: Vec<String>,
    /// The files with certificates.
    pub certificate_files: Vec<CertificateFile>,
    /// Every file with revocation lists, and the earliest `nextUpdate` in it.
    pub revocation_lists: Vec<(String, UnixTime)>,
    /// The rules of the profile that are suspended for a while.
    pub waivers: Vec<Waiver>,
}

impl Outline {
    /// Checks everything but the files that the configuration names: certificates, keys, revocation lists and the audit's.
    /// Included files are read.
    ///
    /// # Errors
    /// [`ConfigErrors`] with every problem that was found.
    pub fn load(path: &Path, environment: Environment<'_>) -> Result<Self, ConfigErrors> {
        Config::load_without_files(path, environment).map(|config| config.outline())
    }
}

/// Whether the files that a configuration names are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NamedFiles {
    /// They are, and what is in them is checked.
    Read,
    /// They are not there. The configuration has none of their content, and nobody may be served with it.
    Unread,
}

/// One address that clients connect to, with every entry of `listeners` in gateway.yaml that has this address.
pub struct Listener {
    /// The address it listens on.
    pub address: SocketAddr,
    /// The networks of the balancers whose connections begin with a header of the PROXY protocol.
    pub balancers: Vec<Network>,
    /// The entries that are served there; at least one, and no two with the same host.
    pub hosts: Vec<VirtualHost>,
}

/// One entry of `listeners` in gateway.yaml.
pub struct VirtualHost {
    /// The origins it serves.
    pub origins: Origins,
    /// Its TLS settings; the key is that of the certificate.
    pub tls: tls::Settings,
    /// The proxies in front of it.
    pub trusted_proxy: Option<trusted_proxy::Settings>,
    /// What scripts of other origins may learn of routes that do not say.
    pub cors: Option<Arc<Cors>>,
    /// The form of the bodies of refusals before a route is known, if it is not that of all.
    pub errors: Option<Arc<ErrorFormat>>,
    /// The networks of the balancers whose connections begin with a header of the PROXY protocol; the same in all entries
    /// of an address.
    balancers: Vec<Network>,
}

/// The section `admin` of gateway.yaml.
pub struct Admin {
    /// The address it listens on.
    pub address: SocketAddr,
    /// Its TLS settings, if it has any; a client certificate is requested but not required.
    pub tls: Option<tls::Settings>,
    /// How revocations are accepted, if they are.
    pub revocations: Option<issuer::revocations::Settings>,
    /// How many of the last decisions it shows.
    pub decisions: usize,
}

impl Config {
    /// Reads the file and every file that it names.
    ///
    /// # Errors
    /// [`ConfigErrors`] with every problem that was found.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Self::load_in(path, &|name| std::env::var_os(name))
    }

    /// Reads the file and every file that it names, with these variables instead of the environment of the process.
    ///
    /// # Errors
    /// [`ConfigErrors`] with every problem that was found.
    pub fn load_in(path: &Path, environment: Environment<'_>) -> Result<Self, ConfigErrors> {
        Self::read(path, environment, NamedFiles::Read)
    }

    /// Reads the file, and none of the certificates, keys and lists that it names: something empty stands for each. Nobody can
    /// be served with it, but what it decides is the same.
    ///
    /// # Errors
    /// [`ConfigErrors`] with every problem that was found.
    pub fn load_without_files(path: &Path, environment: Environment<'_>) -> Result<Self, ConfigErrors> {
        Self::read(path, environment, NamedFiles::Unread)
    }

    /// What it says.
    pub fn outline(&self) -> Outline {
        let all = std::iter::once((String::new(), self.profile));
        let servers = self.authorization_servers.iter();
        Outline {
            warnings: self.warnings.clone(),
            summary: self.summary.clone(),
            effective: self.effective.clone(),
            profiles: all.chain(self.route_profiles.iter().cloned()).collect(),
            ecosystems: self.route_ecosystems.clone(),
            server_profiles: servers.map(|server| (server.name.to_string(), server.rules.profile)).collect(),
            waivers: self.waivers.clone(),
            shadows: self.shadowed(),
        }
    }

    /// What operators are shown of it while it is in force.
    pub fn overview(&self) -> Overview {
        Overview {
            summary: self.summary.clone(),
            certificate_files: self.certificate_files.clone(),
            revocation_lists: self.revocation_lists.clone(),
            waivers: self.waivers.clone(),
        }
    }

    fn read(path: &Path, environment: Environment<'_>, named_files: NamedFiles) -> Result<Self, ConfigErrors> {
        let fail = |errors, files| ConfigErrors::new(path.to_owned(), errors, files);
        let mut files = Files::default();
        let read = match path == Path::new("-") {
            true => standard_input(),
            false => files.read(path, document::READ_AT_MOST),
        };
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) => {
                let problem =
                    format!("the file cannot be read: {}; --config names another", compile::unreadable(path, &error));
                let path = KeyPath::default();
                let error = ConfigError { file: None, path, line: 1, column: 1, problem, excerpt: None };
                return Err(fail(vec![error], files));
            }
        };
        let (file, report) = source::read(&bytes, &mut Surroundings { file: path, files: &mut files, environment });
        let Some(file) = file else { return Err(fail(report.into_errors(), files)) };
        compile::compile(file, report, path, files, named_files, environment)
    }

    /// One line for each listener, issuer, route, waiver and document of `metadata`, and one for `signing`, for people.
    pub fn summary(&self) -> &[String] {
        &self.summary
    }

    /// The effective configuration as YAML: the content of the file with every default written out. Files that it names
    /// stay names; their content is not included.
    pub fn effective(&self) -> &str {
        &self.effective
    }
}

/// The text on standard input, which can be read only once: a reload finds the same there, and reads the files that it names
/// again.
fn standard_input() -> std::io::Result<Vec<u8>> {
    static READ: OnceLock<Vec<u8>> = OnceLock::new();
    if let Some(bytes) = READ.get() {
        return Ok(bytes.clone());
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(document::READ_AT_MOST).read_to_end(&mut bytes)?;
    Ok(READ.get_or_init(|| bytes).clone())
}

/// The JSON Schema (2020-12) of gateway.yaml.
pub fn schema() -> Value {
    let mut schema =
        schemars::generate::SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<file::File>();
    schema.insert("title".to_owned(), "gateway.yaml".into());
    let mut schema = schema.to_value();
    without_null(&mut schema);
    schema
}

/// Removes `null` from the schema: an absent key is `None` in Rust, but `null` in the file is an error.
fn without_null(schema: &mut Value) {
    if let Value::Array(entries) = schema {
        entries.iter_mut().for_each(without_null);
    }
    let Value::Object(members) = schema else { return };
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_mut_slice() {
            let only = only.take();
            members.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = members.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
        if let [Value::Object(only)] = choices.as_mut_slice() {
            let only = std::mem::take(only);
            members.remove("anyOf");
            members.extend(only);
        }
    }
    members.values_mut().for_each(without_null);
}
