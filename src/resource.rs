//! What the gateway reads again and again, and how the last attempts to read each of them went.
//!
//! Every resource is one that gateway.yaml names, so their number is that of its entries. Whoever reads a resource
//! notes the outcome without a lock, and the admin listener shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::clock::{Clock, millis};

/// What kind of thing a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// gateway.yaml itself; its success means that it, and every file that it names, is in force.
    Configuration,
    /// A file with certificates.
    Certificate,
    /// A file with revocation lists.
    RevocationList,
    /// A file with a private key, or with the keys of nonces; or a private key in a token.
    PrivateKey,
    /// A file with a public key that something is encrypted to.
    PublicKey,
    /// A file with the metadata of a client of an authorization server.
    Client,
    /// A file with the metadata of an authorization server.
    ServerMetadata,
    /// The keys of an issuer, or a file with those of a directory of software.
    Keys,
    /// The introspection endpoint of an issuer that has to be found in its metadata.
    IntrospectionEndpoint,
    /// The answers of an issuer to introspection requests.
    Introspection,
    /// The answers of a service of consents.
    Consents,
    /// A directory of participants.
    Directory,
    /// The names of an upstream's servers.
    Upstream,
    /// The connection to a store.
    Store,
    /// The revocations that replicas share in a store.
    Revocations,
    /// The collector of spans; its success means that it took some.
    Collector,
}

impl Kind {
    /// Its name in metrics and in `/status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Certificate => "certificate",
            Self::RevocationList => "revocation_list",
            Self::PrivateKey => "private_key",
            Self::PublicKey => "public_key",
            Self::Client => "client",
            Self::ServerMetadata => "server_metadata",
            Self::Keys => "keys",
            Self::IntrospectionEndpoint => "introspection_endpoint",
            Self::Introspection => "introspection",
            Self::Consents => "consents",
            Self::Directory => "directory",
            Self::Upstream => "upstream",
            Self::Store => "store",
            Self::Revocations => "revocations",
            Self::Collector => "collector",
        }
    }
}

/// The kind of a resource, and its name in gateway.yaml.
pub type Id = (Kind, Arc<str>);

/// One resource.
pub struct Resource {
    clock: Clock,
    /// When it was last read, in milliseconds since 1970; 0 if it never was.
    success: AtomicU64,
    failing: AtomicBool,
    failure: ArcSwapOption<Failure>,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When, since 1970.
    pub at: Duration,
    /// Why: one line of bounded length.
    pub why: String,
}

/// How the last attempts to read a resource went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How the last attempt went; `None` if there was none yet.
    pub succeeded: Option<bool>,
    /// When it was last read, since 1970.
    pub last_success: Option<Duration>,
    /// The last attempt that failed, even if one has succeeded since.
    pub last_error: Option<Arc<Failure>>,
}

impl Resource {
    fn new(clock: Clock) -> Self {
        Self { clock, success: AtomicU64::new(0), failing: AtomicBool::new(false), failure: ArcSwapOption::empty() }
    }

    /// Notes that it was read just now.
    pub fn succeeded(&self) {
        let now = millis(self.clock.now());
        self.success.store(now.max(1), Ordering::Relaxed);
        self.failing.store(false, Ordering::Relaxed);
    }

    /// Notes that it could not be read just now; `why` must not contain a secret.
    pub fn failed(&self, why: &dyn Display) {
        let why = why.to_string();
        let mut shown: String =
            why.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_CHARACTERS).collect();
        if shown.len() < why.len() {
            shown.push('…');
        }
        self.failure.store(Some(Arc::new(Failure { at: self.clock.now(), why: shown })));
        self.failing.store(true, Ordering::Relaxed);
    }

    fn report(&self) -> Report {
        let last_error = self.failure.load_full();
        let success = self.success.load(Ordering::Relaxed);
        let last_success = (success != 0).then(|| Duration::from_millis(success));
        let tried = last_error.is_some() || last_success.is_some();
        Report { succeeded: tried.then(|| !self.failing.load(Ordering::Relaxed)), last_success, last_error }
    }
}

/// The resources of the current configuration, and of one that is about to replace it.
pub struct Resources {
    clock: Clock,
    all: Mutex<BTreeMap<Id, Arc<Resource>>>,
}

impl Resources {
    /// No resources yet; this clock dates what is noted of them.
    pub const fn new(clock: Clock) -> Self {
        Self { clock, all: Mutex::new(BTreeMap::new()) }
    }

    /// The resource with this name, with what was noted of it before.
    pub fn of(&self, kind: Kind, name: &str) -> Arc<Resource> {
        let mut all = self.lock();
        all.entry((kind, name.into())).or_insert_with(|| Arc::new(Resource::new(self.clock.clone()))).clone()
    }

    /// Forgets all but these.
    pub fn keep(&self, wanted: &BTreeSet<Id>) {
        self.lock().retain(|id, _| wanted.contains(id));
    }

    /// What is known of each, in the order of kinds and names.
    pub fn reports(&self) -> Vec<(Id, Report)> {
        self.lock().iter().map(|(id, resource)| (id.clone(), resource.report())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Id, Arc<Resource>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much of an error is kept.
const MAX_CHARACTERS: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    fn resources() -> Resources {
        Resources::new(Clock::from_fn(|| Duration::from_secs(1_800_000_000)))
    }

    #[test]
    fn a_success_ends_a_failure_and_the_failure_stays_known() {
        let resources = resources();
        let keys = resources.of(Kind::Keys, "bank");
        let report = || resources.reports().remove(0).1;
        assert_eq!(report(), Report { succeeded: None, last_success: None, last_error: None });
        keys.failed(&"no route");
        let now = Duration::from_secs(1_800_000_000);
        let failure = Some(Arc::new(Failure { at: now, why: "no route".to_owned() }));
        assert_eq!(report(), Report { succeeded: Some(false), last_success: None, last_error: failure.clone() });
        resources.of(Kind::Keys, "bank").succeeded();
        assert_eq!(report(), Report { succeeded: Some(true), last_success: Some(now), last_error: failure });
    }

    #[test]
    fn an_error_is_one_line_of_bounded_length() {
        let resources = resources();
        let keys = resources.of(Kind::Keys, "bank");
        let why = |said: &str| {
            keys.failed(&said);
            resources.reports().remove(0).1.last_error.unwrap().why.clone()
        };
        assert_eq!(why("one\r\ntwo"), "one  two");
        assert_eq!(why(&"é".repeat(MAX_CHARACTERS)), "é".repeat(MAX_CHARACTERS)); // control
        assert_eq!(why(&"é".repeat(10_000)).chars().count(), MAX_CHARACTERS + 1);
    }

    #[test]
    fn only_what_is_wanted_is_kept() {
        let resources = resources();
        for name in ["a", "b"] {
            resources.of(Kind::Upstream, name).succeeded();
        }
        resources.keep(&[(Kind::Upstream, "b".into()), (Kind::Keys, "b".into())].into());
        let left: Vec<Id> = resources.reports().into_iter().map(|(id, _)| id).collect();
        assert_eq!(left, [(Kind::Upstream, "b".into())]);
    }
}
