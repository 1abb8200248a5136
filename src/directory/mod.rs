//! Directories of participants over time: read before they are needed, and kept until they are read again or are too old.
//!
//! Requests look into what was read last, without a lock, and each is judged by it anew: what is kept is what a directory says, and
//! never a decision. Whatever goes wrong while one is read leaves the last good reading in force until it is too old; from then
//! on nobody is known to be active, and requests that need the directory are refused as nobody's fault but ours or the directory's.

mod settings;
mod source;

#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use fapi::directory::{DirectoryIndex, Participant, ParticipantError, Participants};
use tokio::task::JoinSet;

pub use self::settings::{DirectoryError, Settings};
use self::source::Source;
use crate::clock::Clock;
use crate::issuer::Timing;
use crate::issuer::http::Client;

/// The configured directories; a [`DirectoryIndex`] is an index into them.
#[derive(Default)]
pub struct Directories {
    sources: Vec<Arc<Source>>,
}

/// Learns how the reads of directories went.
pub trait Observer: Send + Sync {
    /// A directory was read, or could not be.
    fn read(&self, directory: &str, outcome: Result<(), &dyn Display>);
}

/// Learns nothing.
impl Observer for () {
    fn read(&self, _: &str, _: Result<(), &dyn Display>) {}
}

impl Directories {
    /// Prepares the calls to every directory without making any; [`Self::keep_fresh`] makes them. What was read `before` of the
    /// same document stays in force.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn new(
        settings: Vec<Settings>,
        clock: &Clock,
        observer: &Arc<dyn Observer>,
        before: Option<&Self>,
    ) -> Result<Self, DirectoryError> {
        let source = |settings: Settings| {
            let timing = Timing::default();
            let client = Client::new(&settings.trust_anchors, timing.connect_timeout, settings.timeout);
            let client = client.map_err(|error| DirectoryError { directory: settings.name.clone(), error })?;
            let known = before.iter().flat_map(|before| &before.sources).find(|known| known.reads_as(&settings));
            let source = Source::new(settings, Arc::new(client), timing, clock.clone(), observer.clone());
            Ok(Arc::new(match known {
                Some(known) => source.succeeding(known),
                None => source,
            }))
        };
        Ok(Self { sources: settings.into_iter().map(source).collect::<Result<_, _>>()? })
    }

    /// Reads every directory now, and then at intervals; never returns, and stops when it is dropped.
    pub async fn keep_fresh(&self) {
        let mut loops = JoinSet::new();
        for source in &self.sources {
            let source = source.clone();
            loops.spawn(async move { source.keep_fresh().await });
        }
        while loops.join_next().await.is_some() {}
    }

    /// Reads every directory once, and waits until each was read or could not be.
    pub async fn read_once(&self) {
        let mut reads = JoinSet::new();
        for source in &self.sources {
            let source = source.clone();
            reads.spawn(async move { source.read_once().await });
        }
        reads.join_all().await;
    }

    /// Whether each was asked since the configuration came, successfully or not.
    pub fn have_settled(&self) -> bool {
        self.sources.iter().all(|source| source.has_asked())
    }

    /// The names of those that are used and have not been read since the start.
    pub fn unread(&self) -> impl Iterator<Item = &Arc<str>> {
        self.sources.iter().filter(|source| source.is_required() && source.age().is_none()).map(|source| source.name())
    }

    /// The name of each.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.sources.iter().map(|source| source.name())
    }

    /// Each name with the time since the directory was last read, if it ever was.
    pub fn ages(&self) -> impl Iterator<Item = (&Arc<str>, Option<Duration>)> {
        self.sources.iter().map(|source| (source.name(), source.age()))
    }
}

impl Participants for Directories {
    fn check(
        &self,
        directory: DirectoryIndex,
        participant: &Participant<'_>,
        roles: &[Box<str>],
    ) -> Result<(), ParticipantError> {
        let source = self.sources.get(directory.0).ok_or(ParticipantError::NeverRead)?;
        source.in_force()?.check(participant, roles)
    }
}
