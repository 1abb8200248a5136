//! Revocations that all replicas share, by a list in a store.
//!
//! A revocation is recorded in the list before it is in this process, and each process asks several times a second what the list
//! has that it does not know. Nobody is told of a change, so no message can be lost: after a break, a restart or a fail-over,
//! the next question finds what was missed. What this process knows and the list lacks, as after a loss of the store's data, it
//! adds. Requests never ask the store: the table answers them.

use std::fmt;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fapi::UnixTime;
use fapi::rejection::Unavailable;
use fapi::revocation::Revocation;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::RevokeError;
use super::list::{self, Identity, Occasion, Written};
use super::table::{Full, Kept, Revocations};
use crate::clock::{Clock, Moment, millis};
use crate::resource::Resource;
use crate::store::{NoAnswer, Store};

/// The section `revocations` in gateway.yaml, if it names a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// Which of the stores.
    pub store: usize,
    /// How many there may be at a time.
    pub max_entries: usize,
    /// How long it may be ago that the list was read to its end; `None` for any time.
    pub max_age: Option<Duration>,
}

/// The revocations of all replicas.
pub struct SharedRevocations {
    table: Arc<Revocations>,
    store: Arc<Store>,
    sharing: Sharing,
    progress: Arc<Progress>,
    clock: Clock,
    resource: Arc<Resource>,
}

/// How far the list is known. It outlives a reload.
#[derive(Default)]
struct Progress {
    /// Held by whoever follows the list; after a reload, somebody else does.
    place: Mutex<Option<Place>>,
    /// When the list was last known to its end, in milliseconds of the monotonic clock and one more; 0 if it never was.
    confirmed: AtomicU64,
}

/// Up to where a list is known.
struct Place {
    /// The server, the database and the prefix.
    at: [u8; 32],
    of: Identity,
    number: u64,
    /// How many entries up to there cannot be read.
    unreadable: usize,
    /// When it was read from its beginning.
    began: Moment,
}

/// Why the list is not known, or not up to date.
#[derive(Debug)]
enum Fault {
    Store(NoAnswer),
    /// It has more entries than there may be.
    TooMany(usize),
    /// There is no room for what this process knows.
    Full(usize),
    /// Some of its entries are none.
    Unreadable(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(why) => write!(f, "{why}"),
            Self::TooMany(most) => write!(
                f,
                "the list has more than {most} revocations; raise max_entries, and let it be the same at all replicas"
            ),
            Self::Full(most) => {
                write!(f, "this replica knows revocations for which the list has no room, of {most}; raise max_entries")
            }
            Self::Unreadable(count) => write!(
                f,
                "{count} entries of the list are no revocations; another version of the gateway, or somebody else, wrote them"
            ),
        }
    }
}

impl From<NoAnswer> for Fault {
    fn from(why: NoAnswer) -> Self {
        Self::Store(why)
    }
}

impl SharedRevocations {
    /// The revocations that `before` followed, or those of `table`, which are all that is known if the process has `served` with
    /// them.
    pub(super) fn new(
        table: Arc<Revocations>,
        store: Arc<Store>,
        sharing: Sharing,
        (clock, resource): (Clock, Arc<Resource>),
        before: Option<&Self>,
        served: bool,
    ) -> Self {
        let progress = match before {
            Some(before) => before.progress.clone(),
            None => {
                let progress = Progress::default();
                if served {
                    progress.confirm(clock.monotonic());
                }
                Arc::new(progress)
            }
        };
        Self { table, store, sharing, progress, clock, resource }
    }

    /// The configured name of the store.
    pub(super) fn store_name(&self) -> &Arc<str> {
        &self.store.settings().name
    }

    /// Whether the list has been known to its end once.
    pub(super) fn is_known(&self) -> bool {
        self.progress.confirmed().is_some()
    }

    /// Checks that the list was known to its end at most `max_age` ago, and once in any case.
    pub(super) fn check(&self) -> Result<(), Unavailable> {
        let confirmed = self.progress.confirmed();
        let store = || self.store_name().clone();
        let Some(confirmed) = confirmed else { return Err(Unavailable::RevocationsNeverRead { store: store() }) };
        let Some(max_age) = self.sharing.max_age else { return Ok(()) };
        let age = self.clock.monotonic().saturating_sub(confirmed);
        if age > max_age {
            let (age, max_age) = (age.as_secs(), max_age.as_secs());
            return Err(Unavailable::RevocationsTooOld { store: store(), age, max_age });
        }
        Ok(())
    }

    /// Records revocations in the list, and then in the table.
    ///
    /// # Errors
    /// [`RevokeError::Full`], [`RevokeError::NotShared`]. The list may have them all the same, and then the table soon will.
    pub(super) async fn record(
        &self,
        revocations: &[Revocation],
        keep: Duration,
        now: UnixTime,
    ) -> Result<(), RevokeError> {
        if revocations.is_empty() {
            return Ok(());
        }
        let most = self.sharing.max_entries;
        let kept: Vec<Kept> = revocations.iter().map(|revocation| Kept::of(revocation, keep, now)).collect();
        match list::write(&self.store, &kept, Occasion::Revoked, most, now).await {
            Ok(Written::Recorded) => self.table.take(&kept, most, now).map_err(|Full| RevokeError::Full),
            Ok(Written::Full) => Err(RevokeError::Full),
            Err(why) => Err(RevokeError::NotShared { store: self.store_name().clone(), why }),
        }
    }

    /// Follows the list, for as long as this is polled.
    pub(crate) async fn follow(&self) {
        let mut place = self.progress.place.lock().await;
        let mut said = None;
        // At the start nobody has connected to the store yet, which is nothing to complain of.
        let _ = timeout(FIRST, self.store.connected()).await;
        loop {
            let followed = self.step(&mut place).await;
            // Others read what was added, and need not add it too.
            let pause = if matches!(followed, Ok(Followed::SoFar)) { Duration::ZERO } else { BETWEEN };
            self.say(followed.err(), &mut said);
            tokio::time::sleep(pause).await;
        }
    }

    /// Tells of a fault, or that it is over; of each kind once.
    fn say(&self, fault: Option<Fault>, said: &mut Option<Discriminant<Fault>>) {
        let store = &**self.store_name();
        match fault {
            Some(fault) => {
                self.resource.failed(&fault);
                let kind = Some(discriminant(&fault));
                if *said != kind {
                    tracing::warn!(store, why = %fault, "the revocations that replicas share are not up to date");
                    *said = kind;
                }
            }
            None => {
                self.resource.succeeded();
                if said.take().is_some() {
                    tracing::info!(store, "the revocations that replicas share are up to date again");
                }
            }
        }
    }

    /// Reads what is new in the list, and adds some of what it lacks.
    async fn step(&self, place: &mut Option<Place>) -> Result<Followed, Fault> {
        let began = self.clock.monotonic();
        self.read(place).await?;
        self.progress.confirm(began);
        let (most, now) = (self.sharing.max_entries, self.clock.unix_time());
        let unshared = self.table.unshared(ADDED_AT_A_TIME, now);
        if unshared.is_empty() {
            return Ok(Followed::Wholly);
        }
        match list::write(&self.store, &unshared, Occasion::Known, most, now).await? {
            Written::Recorded => self.table.shared(&unshared),
            Written::Full => return Err(Fault::Full(most)),
        }
        Ok(Followed::SoFar)
    }

    /// Reads the list to its end.
    async fn read(&self, place: &mut Option<Place>) -> Result<(), Fault> {
        let (at, most) = (self.store.settings().place(), self.sharing.max_entries);
        let is_worth_going_on =
            |known: &Place| known.at == at && (known.unreadable == 0 || known.began.elapsed() < READ_AGAIN);
        if !place.as_ref().is_some_and(is_worth_going_on) {
            *place = None;
        }
        let mut unreadable = 0_usize;
        // As many pages as the list may have, one that is not full, and one of another list.
        for _ in 0..=most.div_ceil(list::PAGE).saturating_add(1) {
            let after = place.as_ref().map_or(0, |known| known.number);
            let page = list::read(&self.store, after).await?;
            if let Some(known) = place.take_if(|known| known.of != page.of) {
                // What comes after a number of another list says nothing of this one.
                if known.number > 0 {
                    let store = &**self.store_name();
                    tracing::info!(store, "the list of revocations is another one than before, and is read as a whole");
                }
                continue;
            }
            let known = place.get_or_insert_with(|| {
                self.table.share_all();
                Place { at, of: page.of, number: 0, unreadable: 0, began: Moment::now() }
            });
            let now = self.clock.unix_time();
            let in_effect: Vec<Kept> = page.kept.into_iter().map(|kept| bounded(kept, now)).collect();
            let in_effect: Vec<Kept> = in_effect.into_iter().filter(|kept| kept.until > now).collect();
            self.table.take(&in_effect, most, now).map_err(|Full| Fault::TooMany(most))?;
            unreadable = unreadable.saturating_add(page.unreadable);
            known.unreadable = known.unreadable.max(unreadable);
            let goes_on = page.is_full && page.last > known.number;
            known.number = page.last;
            if !goes_on {
                return match known.unreadable {
                    0 if page.is_full => Err(NoAnswer::Nonsense.into()),
                    0 => Ok(()),
                    count => Err(Fault::Unreadable(count)),
                };
            }
        }
        Err(Fault::TooMany(most))
    }
}

impl Progress {
    fn confirm(&self, at: Duration) {
        self.confirmed.fetch_max(millis(at).saturating_add(1), Ordering::AcqRel);
    }

    fn confirmed(&self) -> Option<Duration> {
        self.confirmed.load(Ordering::Acquire).checked_sub(1).map(Duration::from_millis)
    }
}

/// How far one step has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Followed {
    Wholly,
    /// The list may lack more of what this process knows.
    SoFar,
}

/// The same, kept no longer than a revocation can be: somebody else may have written it.
fn bounded(kept: Kept, now: UnixTime) -> Kept {
    Kept { until: kept.until.min(now.plus(LONGEST)), ..kept }
}

/// How long a connection is waited for before the first question.
const FIRST: Duration = Duration::from_secs(1);
/// How often the list is asked for what is new.
const BETWEEN: Duration = Duration::from_millis(200);
/// How often a list with entries that cannot be read is read as a whole, since they may be gone.
const READ_AGAIN: Duration = Duration::from_secs(2);
/// How many entries are added to the list in one step.
const ADDED_AT_A_TIME: usize = 100;
/// A year, in which a token expires that is revoked with its `exp`, and more than the clocks of replicas differ by.
const LONGEST: u64 = 367 * 24 * 60 * 60;
