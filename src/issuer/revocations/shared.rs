//! Revocations that all replicas share, by a list in a store.
//!
//! A revocation is recorded in the list before it is in this process, and each process asks several times a second what the list
//! has that it does not know. Nobody is told of a change, so no message can be lost: after a break, a restart or a fail-over,
//! the next question finds what was missed. What this process knows and the list lacks, as after a loss of the store's data, it
//! adds. Requests never ask the store: the table answers them.
//!
//! Somebody else may write to the store as well. So the list is also read again, part by part and without an end: what was removed
//! or changed is told again, and what was added where nobody looked is found.

use std::fmt;
use std::mem::{Discriminant, discriminant};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use fapi::UnixTime;
use fapi::rejection::Unavailable;
use fapi::revocation::Revocation;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::RevokeError;
use super::list::{self, Identity, Occasion, Page, Start, Written};
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
    /// Which list a process that starts has read, and when for the first time.
    first: std::sync::Mutex<Option<(Identity, Moment)>>,
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
    /// From where on it is read again.
    again: Start,
    /// Whether somebody is telling it what it has lost.
    is_being_told: bool,
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
    /// Some of its numbers are not those that are given.
    Disordered,
    /// It has lost entries, or parts of them.
    Changed(usize),
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
            Self::Disordered => f.write_str("somebody else writes the numbers of the list"),
            Self::Changed(count) => write!(
                f,
                "somebody else has removed or changed {count} entries of the list, which are told again; see who can write to it"
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
        let mut kept: Vec<Kept> = Vec::new();
        // One event can revoke the same in two ways, and the list takes each digest once.
        for one in revocations.iter().map(|revocation| Kept::of(revocation, keep, now)) {
            match kept.iter_mut().find(|known| known.digest == one.digest) {
                Some(known) => known.extend(&one),
                None => kept.push(one),
            }
        }
        let store = || self.store_name().clone();
        let not_shared = |why| RevokeError::NotShared { store: store(), why };
        let written = list::write(&self.store, &kept, Occasion::Revoked, most, now).await.map_err(not_shared)?;
        let Written::Recorded(last) = written else { return Err(RevokeError::Full) };
        if !list::has(&self.store, &kept, last).await.map_err(not_shared)? {
            return Err(RevokeError::Removed { store: store() });
        }
        self.table.take(&kept, most, now).map_err(|Full| RevokeError::Full)?;
        // Until they are read there: somebody else may remove them before the other replicas have.
        self.table.doubt(&kept);
        Ok(())
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

    /// Reads what is new in the list and some of what is not, and adds some of what it lacks.
    async fn step(&self, place: &mut Option<Place>) -> Result<Followed, Fault> {
        let began = self.clock.monotonic();
        let known = self.read(place).await?;
        let unreadable = known.unreadable;
        if !self.is_known() {
            if unreadable > 0 {
                return Err(Fault::Unreadable(unreadable));
            }
            if !self.has_settled(known) {
                return Ok(Followed::Wholly);
            }
            if known.of.is_unnamed() {
                // So that the next one need not wait.
                list::put_in_order(&self.store, &known.of).await?;
            }
        }
        if unreadable == 0 {
            self.progress.confirm(began);
        }
        // What cannot be read keeps nothing from being told again, least of all what it was before somebody spoilt it.
        let looked = self.look_again(known).await;
        let looked = if unreadable == 0 { looked } else { Err(Fault::Unreadable(unreadable)) };
        let (most, now) = (self.sharing.max_entries, self.clock.unix_time());
        let unshared = self.table.unshared(ADDED_AT_A_TIME, now);
        if unshared.is_empty() {
            return looked.map(|()| Followed::Wholly);
        }
        let occasion = Occasion::Known { more: unshared.len() >= ADDED_AT_A_TIME };
        match list::write(&self.store, &unshared, occasion, most, now).await? {
            Written::Recorded(_) => self.table.shared(&unshared),
            Written::Full => return Err(Fault::Full(most)),
        }
        looked.map(|()| Followed::SoFar)
    }

    /// Whether a process that starts need not wait for what others tell the list: after a loss, they notice it and begin to.
    fn has_settled(&self, known: &Place) -> bool {
        let waited = self.progress.first_read(&known.of).elapsed();
        let is_older = !known.of.is_unnamed() && self.store.kept_for() >= Some(NOTICED);
        waited >= TOLD || !known.is_being_told && (is_older || waited >= NOTICED)
    }

    /// Reads the list to its end; some of its entries may be unreadable.
    async fn read<'p>(&self, place: &'p mut Option<Place>) -> Result<&'p mut Place, Fault> {
        let (at, most) = (self.store.settings().place(), self.sharing.max_entries);
        let is_worth_going_on =
            |known: &Place| known.at == at && (known.unreadable == 0 || known.began.elapsed() < READ_AGAIN);
        if !place.as_ref().is_some_and(is_worth_going_on) {
            *place = None;
        }
        let (mut unreadable, mut whole, mut is_put_in_order) = (0_usize, false, false);
        // As many pages as the list may have, one that is not full, one of another list, and one of a list in disorder.
        for _ in 0..=most.div_ceil(list::PAGE.saturating_sub(1)).saturating_add(2) {
            let from = place.as_ref().map_or(Start::Beginning, |known| Start::After(known.number));
            let page = list::read(&self.store, from).await?;
            if let Some(known) = place.take_if(|known| !follows(known, &page)) {
                // What comes after a number of another list says nothing of this one.
                if known.number > 0 {
                    let store = &**self.store_name();
                    tracing::info!(store, "the list of revocations is another one than before, and is read as a whole");
                }
                continue;
            }
            if page.is_disordered && !is_put_in_order {
                list::put_in_order(&self.store, &page.of).await?;
                is_put_in_order = true;
                if place.take().is_some_and(|known| known.number > 0) {
                    // The turns that are left may be too few for all of it.
                    return Err(Fault::Disordered);
                }
                continue;
            }
            let known = place.get_or_insert_with(|| {
                self.table.share_all();
                whole = true;
                let (again, is_being_told) = (Start::Beginning, page.is_being_told);
                Place { at, of: page.of.clone(), number: 0, unreadable: 0, began: Moment::now(), again, is_being_told }
            });
            let now = self.clock.unix_time();
            let kept: Vec<Kept> = page.kept.into_iter().map(|kept| bounded(kept, now)).collect();
            self.table.take(&kept, most, now).map_err(|Full| Fault::TooMany(most))?;
            if page.is_disordered {
                *place = None;
                return Err(Fault::Disordered);
            }
            unreadable = unreadable.saturating_add(page.unreadable);
            known.unreadable = known.unreadable.max(unreadable);
            known.is_being_told = page.is_being_told;
            if page.is_full {
                if let Start::After(last) = page.last {
                    known.number = last;
                }
                continue;
            }
            // The last changes of a list that is read as a whole may be over, and have left it.
            if !whole && page.last != Start::After(page.number) {
                *place = None;
                continue;
            }
            known.number = page.number;
            // It was put there above.
            return place.as_mut().ok_or(Fault::Disordered);
        }
        Err(Fault::TooMany(most))
    }

    /// Reads the next part of what is known of the list again.
    async fn look_again(&self, known: &mut Place) -> Result<(), Fault> {
        let page = list::read(&self.store, known.again).await?;
        if page.of != known.of {
            // The next step sees that too.
            return Ok(());
        }
        if page.is_disordered {
            list::put_in_order(&self.store, &page.of).await?;
            return Err(Fault::Disordered);
        }
        let (most, now) = (self.sharing.max_entries, self.clock.unix_time());
        let more = self.table.seen(page.kept.into_iter().map(|kept| bounded(kept, now)).collect());
        self.table.take(&more, most, now).map_err(|Full| Fault::TooMany(most))?;
        known.unreadable = known.unreadable.max(page.unreadable);
        known.again = if page.is_full { page.last } else { Start::Beginning };
        let changed = if page.is_full { 0 } else { self.table.end_round(now) };
        match (page.unreadable, changed) {
            (0, 0) => Ok(()),
            (0, changed) => Err(Fault::Changed(changed)),
            (count, _) => Err(Fault::Unreadable(count)),
        }
    }
}

/// Whether a page goes on where a list is known up to.
fn follows(known: &Place, page: &Page) -> bool {
    known.of == page.of && known.number <= page.number
}

impl Progress {
    fn confirm(&self, at: Duration) {
        self.confirmed.fetch_max(millis(at).saturating_add(1), Ordering::AcqRel);
    }

    /// When this list was read for the first time, though it may have been read as a whole since.
    fn first_read(&self, list: &Identity) -> Moment {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        match &*first {
            Some((of, since)) if of == list => *since,
            Some(_) | None => first.insert((list.clone(), Moment::now())).1,
        }
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
/// How many entries are added to the list in one step: as many as keep the server busy for some milliseconds.
const ADDED_AT_A_TIME: usize = 500;
/// Within which time every replica has noticed that the list is lost, and begun to tell it what it knows.
const NOTICED: Duration = Duration::from_secs(3);
/// How long is waited for those who tell it, at most.
const TOLD: Duration = Duration::from_secs(30);
/// A year, in which a token expires that is revoked with its `exp`, and more than the clocks of replicas differ by.
const LONGEST: u64 = 367 * 24 * 60 * 60;
