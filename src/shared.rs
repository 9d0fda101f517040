//! What the storages of a cache share.

use std::sync::Arc;

use crate::cache::SPARE_VERSIONS;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::evict::Need;
use crate::evict::observe::{Observer, Reason};
use crate::evict::policy::Policy;
use crate::evict::protect::fit;
use crate::evict::roster::Roster;
use crate::evict::shortlist::Shortlist;
use crate::film::Film;
use crate::foreign::Guest;
use crate::id::StorageId;
use crate::ingest::assembly::overhead;
use crate::layout::Layout;
use crate::marks::{Marks, STRIDE};
use crate::memory::budget::rounded;
use crate::memory::piece::size_for;
use crate::memory::{Memory, Purpose, Refused, State};
use crate::retire::Reclaim;
use crate::sync::{
    ArcSwap, AtomicBool, AtomicUsize, Counter, Mutex, MutexGuard, Ordering, fence, lock, try_lock,
};
use crate::table::publish::{Domain, Table};

/// The storages of a cache: a slot each, with the generation of what it holds or held last.
#[derive(Clone)]
pub(crate) struct Directory<R: Reclaim> {
    pub(crate) slots: Vec<(u32, Option<Arc<Film<R>>>)>,
}

impl<R: Reclaim> Directory<R> {
    pub(crate) fn films(&self) -> impl Iterator<Item = &Arc<Film<R>>> {
        self.slots.iter().filter_map(|(_, film)| film.as_ref())
    }

    /// The film in that slot.
    pub(crate) fn at(&self, slot: usize) -> Option<&Arc<Film<R>>> {
        self.slots.get(slot)?.1.as_ref()
    }

    pub(crate) fn get(&self, id: StorageId) -> Option<&Arc<Film<R>>> {
        let (generation, film) = self.slots.get(id.index as usize)?;
        film.as_ref().filter(|film| *generation == id.generation && !film.removed())
    }
}

/// What all storages share.
pub(crate) struct Shared<R: Reclaim> {
    pub(crate) memory: Arc<Memory>,
    pub(crate) domain: Arc<Domain<R>>,
    pub(crate) directory: ArcSwap<Directory<R>>,
    /// Serialises changes of the directory, which are rare: a slot is chosen, then filled.
    pub(crate) changing: Mutex<()>,
    /// Serialises the fitting of windows, when a player opens, closes or changes what it asks for.
    pub(crate) fitting: Mutex<()>,
    /// Playheads whose windows were fitted last, lingering ones included.
    pub(crate) playheads: Counter,
    pub(crate) policy: Guest<Box<dyn Policy>>,
    pub(crate) observers: Vec<Guest<Box<dyn Observer>>>,
    pub(crate) clock: Clock,
    pub(crate) aborted: AtomicBool,
    /// Calls under way that `abort` waits for.
    pub(crate) calls: AtomicUsize,
    /// Who is there, for evictions to draw from.
    pub(crate) roster: Roster,
    pub(crate) shortlist: Shortlist,
    /// Pieces present in all storages.
    pub(crate) resident: Counter,
    /// Storages that were removed and are not empty yet: they go first.
    pub(crate) lingering: Counter,
    /// Storages in which something may wait for its grace period, and those that were removed.
    pub(crate) limbo: Marks,
    /// Storages with open assemblies.
    pub(crate) arriving: Marks,
    pub(crate) published: Counter,
    pub(crate) verify_failures: Counter,
    /// Evictions of storages that are gone.
    pub(crate) past_evictions: Counter,
    /// All films that somebody has, those that are not in the directory any more included.
    #[cfg(feature = "validate")]
    pub(crate) films: Mutex<Vec<std::sync::Weak<Film<R>>>>,
}

/// Takes the storages out of the cache when the last handle is gone: they refer to each other.
pub(crate) struct Owner<R: Reclaim> {
    pub(crate) shared: Arc<Shared<R>>,
}

impl<R: Reclaim> Drop for Owner<R> {
    fn drop(&mut self) {
        self.shared.directory.store(Arc::new(Directory { slots: Vec::new() }));
        self.shared.memory.close();
    }
}

/// A call that `abort` waits for.
pub(crate) struct Call<'a>(&'a AtomicUsize);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        // Release: what the call did comes before an abort that saw it end.
        self.0.fetch_sub(1, Ordering::Release);
    }
}

impl<R: Reclaim> Shared<R> {
    pub(crate) fn aborted(&self) -> bool {
        self.aborted.load(Ordering::Relaxed)
    }

    /// Counts a call, unless the cache was aborted.
    pub(crate) fn call(&self) -> Result<Call<'_>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let call = Call(&self.calls);
        // Pairs with the fence in `abort`.
        fence(Ordering::SeqCst);
        if self.aborted() { Err(Error::Aborted) } else { Ok(call) }
    }

    pub(crate) fn now_millis(&self) -> u64 {
        u64::try_from(self.clock.now().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn check_piece_len(&self, len: u32) -> Result<()> {
        let budget = self.memory.budget.limit();
        if (size_for(len as usize) + overhead(len)) as u64 > budget / 2 {
            return Err(Error::PieceTooLarge { piece_len: len, budget });
        }
        Ok(())
    }

    /// Refuses a film whose table would leave no room for the largest piece of any film: what is
    /// kept for versions to come, and for the seats of pieces, cannot be evicted.
    pub(crate) fn check_table(&self, layout: &Layout) -> Result<()> {
        let pieces = (!layout.is_segmented()).then(|| layout.pieces().end);
        let tables =
            Table::<R>::root_bytes(pieces) + SPARE_VERSIONS * Table::<R>::version_bytes(pieces);
        let directory = self.directory.load();
        let others = directory.films().map(|film| film.layout().largest_piece()).max();
        let largest = layout.largest_piece().max(others.unwrap_or(0));
        let least = (tables + self.roster.bytes() + size_for(largest as usize)) as u64;
        let budget = self.memory.budget.limit();
        if least > budget { Err(Error::BudgetTooSmall { budget, least }) } else { Ok(()) }
    }

    /// Snapshots that are announced now, forgotten ones included.
    pub(crate) fn live_snapshots(&self) -> u32 {
        let live = self.domain.lines.lanes().filter(|lane| !R::is_idle(&lane.announcement));
        u32::try_from(live.count()).unwrap_or(u32::MAX)
    }

    /// Hits and misses of all snapshots that have ended.
    pub(crate) fn lookups(&self) -> (u64, u64) {
        self.domain.lines.lanes().fold((0, 0), |(hits, misses), lane| {
            (hits + lane.hits.get(), misses + lane.misses.get())
        })
    }

    /// Fits all windows together to half the budget: where they grew, more is wanted, and where they
    /// shrank, nobody needs some of what is being fetched.
    pub(crate) fn fit_windows(&self) {
        // One at a time, lest the older list of players be fitted last.
        let fitting = lock(&self.fitting);
        let directory = self.directory.load();
        let playheads: Vec<_> = directory
            .films()
            .flat_map(|film| film.protections.playheads.load().iter().cloned().collect::<Vec<_>>())
            .collect();
        fit(&playheads, self.memory.budget.limit() / 2);
        self.playheads.set(playheads.len() as u64);
        drop(fitting);
        // Outside the lock: a waker is a user's code.
        directory.films().for_each(|film| film.demand.recheck(film));
    }

    /// Visits the films that are marked; a mark stays for as long as there is a reason.
    pub(crate) fn visit(
        &self,
        marks: &Marks,
        reason: impl Fn(&Film<R>) -> bool,
        mut visit: impl FnMut(&Arc<Film<R>>),
    ) {
        for slot in marks.marked() {
            // Anew for each look: a film that came meanwhile may have been marked.
            let films = |see: &mut dyn FnMut(&Arc<Film<R>>)| {
                let directory = self.directory.load();
                let slots = (slot..directory.slots.len()).step_by(STRIDE);
                slots.filter_map(|slot| directory.at(slot)).for_each(see);
            };
            films(&mut visit);
            marks.unless(slot, || {
                let mut any = false;
                films(&mut |film| any |= reason(film));
                any
            });
        }
    }

    /// One attempt to come within the budget.
    pub(crate) fn shrink_now(&self) -> bool {
        let budget = &self.memory.budget;
        loop {
            if budget.settle() {
                return true;
            }
            if !budget.over() {
                // Another thread gave the rest back, or is evicting by what bound before.
                return budget.settle();
            }
            if self.memory.take_back_returned() || self.memory.free_one_pooled() {
                continue;
            }
            self.expire_assemblies();
            self.pass_all();
            let over = budget.resident().saturating_sub(budget.room_for_data());
            if over == 0 {
                continue;
            }
            // What is on its way need not be evicted for.
            let coming = budget.state(State::Limbo) + budget.state(State::Held);
            let need = Need { bytes: 0, only: None, reason: Reason::Shrink, patient: true };
            if coming >= over && !R::PRECISE {
                return false;
            }
            if !matches!(self.evict_one(&need, coming < over, false), Ok(1..)) {
                return false;
            }
        }
    }

    /// Takes a storage out of the directory.
    pub(crate) fn forget(&self, id: StorageId) {
        self.forget_under(lock(&self.changing), id);
    }

    /// The same, unless the directory is being changed: then a later pass does. Passes are made by
    /// who publishes and evicts, and must not wait.
    pub(crate) fn try_forget(&self, id: StorageId) {
        if let Some(changing) = try_lock(&self.changing) {
            self.forget_under(changing, id);
        }
    }

    fn forget_under(&self, changing: MutexGuard<'_, ()>, id: StorageId) {
        let mut slots = self.directory.load().slots.clone();
        if let Some((generation, slot)) = slots.get_mut(id.index as usize)
            && *generation == id.generation
        {
            self.past_evictions.add(slot.as_ref().map_or(0, |film| film.evictions.get()));
            *slot = None;
            let old = self.directory.swap(Arc::new(Directory { slots }));
            self.fit_headroom();
            drop(changing);
            // Outside the lock: see `add_storage_with`.
            drop(old);
        }
    }

    /// Keeps room for some versions of the largest table.
    pub(crate) fn fit_headroom(&self) {
        let directory = self.directory.load();
        let largest = directory.films().map(|film| film.table.node_bytes()).max();
        self.memory.budget.set_headroom(SPARE_VERSIONS * largest.unwrap_or(0));
    }

    /// Reserves what a live film's list of segments takes.
    pub(crate) fn reserve_segments(&self, bytes: usize) -> Result<()> {
        let bytes = rounded(bytes);
        let need = Need { bytes, only: None, reason: Reason::Room, patient: false };
        self.obtain(&need, || {
            let reserved = bytes == 0 || self.memory.reserve_node(bytes, Purpose::Publish);
            reserved.then_some(()).ok_or(Refused::Budget)
        })
    }

    /// Gives back what it does not take any more.
    pub(crate) fn release_segments(&self, bytes: usize) {
        if bytes > 0 {
            self.memory.release_node(rounded(bytes));
        }
    }
}
