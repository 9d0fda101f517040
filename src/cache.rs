//! Cache and its builder: wiring.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::{Clock, block_on};
use crate::error::{Error, Result};
use crate::evict::Need;
use crate::evict::observe::{Observer, Reason};
use crate::evict::policy::{NextUse, Policy};
use crate::evict::protect::fit;
use crate::id::StorageId;
use crate::layout::Layout;
use crate::memory::budget::{MAX_BUDGET, rounded};
use crate::memory::piece::size_for;
use crate::memory::{Memory, Refused, State};
use crate::retire::{Interval, Reclaim};
use crate::storage::{Film, Storage, StorageOptions};
use crate::sync::{AtomicBool, AtomicUsize, Counter, Mutex, Ordering, fence, lock};
use crate::table::publish::{Domain, Table};

/// The least budget: room for a table and a few small pieces.
const MIN_BUDGET: u64 = 16 << 10;
/// Versions that may be in the making at once in a full cache.
const SPARE_VERSIONS: usize = 4;

/// The storages of a cache: a slot each, with the generation of what it holds or held last.
#[derive(Clone)]
pub(crate) struct Directory<R: Reclaim> {
    slots: Vec<(u32, Option<Arc<Film<R>>>)>,
}

impl<R: Reclaim> Directory<R> {
    pub(crate) fn films(&self) -> impl Iterator<Item = &Arc<Film<R>>> {
        self.slots.iter().filter_map(|(_, film)| film.as_ref())
    }

    fn get(&self, id: StorageId) -> Option<&Arc<Film<R>>> {
        let (generation, film) = self.slots.get(id.index as usize)?;
        film.as_ref().filter(|film| *generation == id.generation && !film.removed())
    }
}

/// What all storages share.
pub(crate) struct Shared<R: Reclaim> {
    pub(crate) memory: Arc<Memory>,
    domain: Arc<Domain<R>>,
    pub(crate) directory: ArcSwap<Directory<R>>,
    /// Serialises changes of the directory, which are rare: a slot is chosen, then filled.
    changing: Mutex<()>,
    pub(crate) policy: Box<dyn Policy>,
    pub(crate) observers: Vec<Box<dyn Observer>>,
    pub(crate) clock: Clock,
    aborted: AtomicBool,
    /// Calls under way that `abort` waits for.
    calls: AtomicUsize,
    /// Where the next eviction starts among the storages.
    pub(crate) hand: AtomicUsize,
    pub(crate) published: Counter,
    pub(crate) verify_failures: Counter,
    /// Evictions of storages that are gone.
    pub(crate) past_evictions: Counter,
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

/// One budget, many storages: see the crate's documentation.
///
/// Clones share the cache. It lives until the last of its handles, storages' and readers'
/// included, is dropped; handles on pieces may outlive it.
pub struct Cache<R: Reclaim = Interval> {
    owner: Arc<Owner<R>>,
}

impl<R: Reclaim> Clone for Cache<R> {
    fn clone(&self) -> Self {
        Self { owner: Arc::clone(&self.owner) }
    }
}

impl<R: Reclaim> fmt::Debug for Cache<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("budget", &self.budget()).finish_non_exhaustive()
    }
}

/// Makes a [`Cache`].
#[must_use]
pub struct CacheBuilder {
    budget: u64,
    policy: Box<dyn Policy>,
    observers: Vec<Box<dyn Observer>>,
    clock: Clock,
}

impl CacheBuilder {
    /// The most bytes that may be alive at once: pieces arriving, published, unpublished and still
    /// reachable, kept for reuse, and the tables. 256 MiB by default, at most 512 GiB.
    pub fn budget(mut self, bytes: u64) -> Self {
        self.budget = bytes;
        self
    }

    /// Says which pieces are worth least; [`NextUse`] by default.
    pub fn policy(mut self, policy: impl Policy + 'static) -> Self {
        self.policy = Box::new(policy);
        self
    }

    /// Adds an observer of evictions.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// The clock of deadlines, lingering windows and expiry; tests give one that stands still.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The cache, with the default reclamation scheme.
    ///
    /// # Errors
    /// [`Error::BudgetTooSmall`] below 16 KiB, [`Error::BudgetTooLarge`] above 512 GiB.
    pub fn build(self) -> Result<Cache> {
        self.build_with()
    }

    /// The cache, with the reclamation scheme that is named: [`Interval`],
    /// [`Epoch`](crate::Epoch) or [`Hyaline`](crate::Hyaline).
    ///
    /// # Errors
    /// As for [`build`](Self::build).
    pub fn build_with<R: Reclaim>(self) -> Result<Cache<R>> {
        check_budget(self.budget)?;
        let shared = Arc::new(Shared {
            memory: Memory::new(self.budget),
            domain: Domain::new(),
            directory: ArcSwap::from_pointee(Directory { slots: Vec::new() }),
            changing: Mutex::new(()),
            policy: self.policy,
            observers: self.observers,
            clock: self.clock,
            aborted: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            hand: AtomicUsize::new(0),
            published: Counter::default(),
            verify_failures: Counter::default(),
            past_evictions: Counter::default(),
        });
        Ok(Cache { owner: Arc::new(Owner { shared }) })
    }
}

fn check_budget(budget: u64) -> Result<()> {
    if budget < MIN_BUDGET {
        return Err(Error::BudgetTooSmall { budget, least: MIN_BUDGET });
    }
    if budget > MAX_BUDGET {
        return Err(Error::BudgetTooLarge { budget, most: MAX_BUDGET });
    }
    Ok(())
}

/// Whether [`Cache::abort`] waits for those who are still at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Returns at once.
    No,
    /// Waits, at most so long, until calls and snapshots have ended.
    For(Duration),
}

impl Cache {
    /// Starts building a cache.
    pub fn builder() -> CacheBuilder {
        CacheBuilder {
            budget: 256 << 20,
            policy: Box::new(NextUse),
            observers: Vec::new(),
            clock: Clock::system(),
        }
    }
}

impl<R: Reclaim> Cache<R> {
    pub(crate) fn shared(&self) -> &Arc<Shared<R>> {
        &self.owner.shared
    }

    fn handle(&self, film: &Arc<Film<R>>) -> Storage<R> {
        Storage { film: Arc::clone(film), owner: Arc::clone(&self.owner) }
    }

    /// Adds a film.
    ///
    /// # Errors
    /// As for [`add_storage_with`](Self::add_storage_with).
    pub fn add_storage(&self, layout: Layout) -> Result<Storage<R>> {
        self.add_storage_with(layout, StorageOptions::default())
    }

    /// Adds a film, with options.
    ///
    /// # Errors
    /// [`Error::PieceTooLarge`] for pieces of more than half the budget, [`Error::BudgetTooSmall`]
    /// if the table would leave no room for a piece, [`Error::BudgetExhausted`] without room for its table, [`Error::Aborted`].
    pub fn add_storage_with(&self, layout: Layout, options: StorageOptions) -> Result<Storage<R>> {
        let shared = self.shared();
        let _call = shared.call()?;
        // Films that were removed under a snapshot: their slots and memory may be free by now.
        shared.directory.load().films().filter(|film| film.lingers()).for_each(|film| film.empty());
        shared.pass_all();
        shared.check_piece_len(layout.largest_piece())?;
        shared.check_table(&layout)?;
        let pieces = (!layout.is_segmented()).then(|| layout.pieces().end);
        let (memory, domain) = (&shared.memory, &shared.domain);
        let bytes = Table::<R>::root_bytes(pieces);
        let need = Need { bytes, only: None, reason: Reason::Room, patient: false };
        // The film's drop gives these back.
        shared.reserve_segments(0, layout.heap_bytes())?;
        let table = shared
            .obtain(&need, || Table::new(memory, domain, pieces))
            .inspect_err(|_| shared.release_segments(layout.heap_bytes(), 0))?;
        memory.budget.raise_headroom(SPARE_VERSIONS * table.node_bytes());
        let _changing = lock(&shared.changing);
        let mut slots = shared.directory.load().slots.clone();
        // A film whose removal could not be finished is gone once it is empty.
        for (_, slot) in &mut slots {
            if let Some(film) = slot.take_if(|film| film.gone()) {
                shared.past_evictions.add(film.evictions.get());
            }
        }
        // A slot whose generations are used up stays empty.
        let free = slots.iter().position(|(last, film)| film.is_none() && *last < u32::MAX);
        let index = free.unwrap_or(slots.len());
        let generation = slots.get(index).map_or(0, |(last, _)| last + 1);
        let id = StorageId { index: index as u32, generation };
        let film = Arc::new(Film::new(id, shared, table, layout, options));
        let slot = (generation, Some(Arc::clone(&film)));
        if index == slots.len() {
            slots.push(slot)
        } else {
            slots[index] = slot
        }
        shared.directory.store(Arc::new(Directory { slots }));
        Ok(self.handle(&film))
    }

    /// The storage of that id.
    ///
    /// # Errors
    /// [`Error::UnknownStorage`] if there is none, or none any more: ids are not used again.
    pub fn storage(&self, id: StorageId) -> Result<Storage<R>> {
        let directory = self.shared().directory.load();
        let film = directory.get(id).ok_or(Error::UnknownStorage { id })?;
        Ok(self.handle(film))
    }

    /// All storages.
    #[must_use]
    pub fn storages(&self) -> Vec<Storage<R>> {
        let directory = self.shared().directory.load();
        let live = directory.films().filter(|film| !film.removed());
        live.map(|film| self.handle(film)).collect()
    }

    /// The budget in bytes that was asked for last.
    #[must_use]
    pub fn budget(&self) -> u64 {
        self.shared().memory.budget.limit()
    }

    /// Changes the budget. It binds every reservation from now on; what is resident above it goes
    /// when room is next needed, or by [`shrink`](Self::shrink). Windows are fitted to it.
    ///
    /// # Errors
    /// As for [`CacheBuilder::build`].
    pub fn set_budget(&self, bytes: u64) -> Result<()> {
        check_budget(bytes)?;
        // What is kept for the tables cannot be given to pieces.
        let least = self.shared().memory.budget.headroom();
        if bytes <= least {
            return Err(Error::BudgetTooSmall { budget: bytes, least });
        }
        self.shared().memory.budget.set_limit(bytes);
        self.shared().fit_windows();
        self.shared().memory.freed.wake_all();
        Ok(())
    }

    /// Evicts until what is resident is within the budget, waiting at most for `time`.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if handles or snapshots still keep more.
    pub fn shrink(&self, time: Duration) -> Result<()> {
        block_on(self.shrink_async(time))
    }

    /// As [`shrink`](Self::shrink), async.
    ///
    /// # Errors
    /// As for `shrink`.
    pub async fn shrink_async(&self, time: Duration) -> Result<()> {
        let shared = self.shared();
        let deadline = shared.clock.now().saturating_add(time);
        loop {
            if shared.shrink_now() {
                return Ok(());
            }
            let now = shared.clock.now();
            if now >= deadline {
                return Err(Error::TimedOut);
            }
            let step = Duration::from_millis(2);
            shared.clock.sleep_until(deadline.min(now.saturating_add(step))).await;
        }
    }

    /// Ends the cache's work: pending waits end with [`Error::Aborted`], later writes and waits
    /// fail with it, and what is present stays readable. Idempotent.
    ///
    /// With [`Wait::For`], says whether all calls and snapshots ended in that time; never waits
    /// for handles.
    pub fn abort(&self, wait: Wait) -> bool {
        let shared = self.shared();
        shared.aborted.store(true, Ordering::Relaxed);
        // Pairs with the fence in `call`: the call is counted here, or it sees the flag. The
        // waits have theirs in `end_all`.
        fence(Ordering::SeqCst);
        for film in shared.directory.load().films() {
            film.waits.end_all(&Error::Aborted);
            film.demand.cancel_all();
            film.demand.grew();
        }
        shared.memory.freed.wake_all();
        let drained = || shared.calls.load(Ordering::Acquire) == 0 && shared.live_snapshots() == 0;
        let Wait::For(time) = wait else { return drained() };
        let deadline = shared.clock.now().saturating_add(time);
        block_on(async {
            while !drained() {
                let now = shared.clock.now();
                if now >= deadline {
                    return false;
                }
                let step = Duration::from_millis(1);
                shared.clock.sleep_until(deadline.min(now.saturating_add(step))).await;
            }
            true
        })
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
        if size_for(len as usize) as u64 > budget / 2 {
            return Err(Error::PieceTooLarge { piece_len: len, budget });
        }
        Ok(())
    }

    /// Refuses a film whose table would leave no room for the largest piece of any film: what is
    /// kept for versions to come cannot be evicted.
    fn check_table(&self, layout: &Layout) -> Result<()> {
        let pieces = (!layout.is_segmented()).then(|| layout.pieces().end);
        let tables =
            Table::<R>::root_bytes(pieces) + SPARE_VERSIONS * Table::<R>::version_bytes(pieces);
        let directory = self.directory.load();
        let others = directory.films().map(|film| film.layout().largest_piece()).max();
        let largest = layout.largest_piece().max(others.unwrap_or(0));
        let least = tables as u64 + size_for(largest as usize) as u64;
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

    /// Fits all windows together to half the budget.
    pub(crate) fn fit_windows(&self) {
        let directory = self.directory.load();
        let playheads: Vec<_> = directory
            .films()
            .flat_map(|film| film.protections.playheads.load().iter().cloned().collect::<Vec<_>>())
            .collect();
        fit(&playheads, self.memory.budget.limit() / 2);
    }

    /// One attempt to come within the budget.
    fn shrink_now(&self) -> bool {
        let budget = &self.memory.budget;
        loop {
            if budget.is_within() {
                return true;
            }
            if self.memory.take_back_returned() || self.memory.free_one_pooled() {
                continue;
            }
            self.pass_all();
            if budget.is_within() {
                return true;
            }
            let over = budget.resident().saturating_sub(budget.room_for_data());
            // What is on its way need not be evicted for.
            let coming = budget.state(State::Limbo) + budget.state(State::Held);
            let need = Need { bytes: 0, only: None, reason: Reason::Shrink, patient: true };
            if coming >= over && !R::PRECISE {
                return false;
            }
            if !matches!(self.evict_one(&need, coming < over), Ok(true)) {
                return false;
            }
        }
    }

    /// Takes a storage out of the directory.
    pub(crate) fn forget(&self, id: StorageId) {
        let _changing = lock(&self.changing);
        let mut slots = self.directory.load().slots.clone();
        if let Some((generation, slot)) = slots.get_mut(id.index as usize)
            && *generation == id.generation
        {
            self.past_evictions.add(slot.as_ref().map_or(0, |film| film.evictions.get()));
            *slot = None;
            self.directory.store(Arc::new(Directory { slots }));
        }
    }

    /// Reserves what a live film's table of segments is about to grow by.
    pub(crate) fn reserve_segments(&self, before: usize, after: usize) -> Result<()> {
        let bytes = rounded(after).saturating_sub(rounded(before));
        let need = Need { bytes, only: None, reason: Reason::Room, patient: false };
        self.obtain(&need, || {
            let reserved = bytes == 0 || self.memory.reserve_node(bytes);
            reserved.then_some(()).ok_or(Refused::Budget)
        })
    }

    /// Gives back what it has shrunk by.
    pub(crate) fn release_segments(&self, before: usize, after: usize) {
        let bytes = rounded(before).saturating_sub(rounded(after));
        if bytes > 0 {
            self.memory.release_node(bytes);
        }
    }
}
