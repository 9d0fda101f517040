//! Cache and its builder: wiring.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, block_on};
use crate::error::{Error, Result};
use crate::evict::Need;
use crate::evict::density::Density;
use crate::evict::observe::{Observer, Reason};
use crate::evict::policy::Policy;
use crate::evict::roster::Roster;
use crate::evict::shortlist::Shortlist;
use crate::film::Film;
use crate::foreign::Guest;
use crate::id::StorageId;
use crate::layout::Layout;
use crate::marks::Marks;
use crate::memory::Memory;
use crate::memory::budget::MAX_BUDGET;
use crate::retire::{Interval, Reclaim};
use crate::shared::{Directory, Owner, Shared};
use crate::storage::{Storage, StorageOptions};
use crate::sync::{ArcSwap, AtomicBool, AtomicUsize, Counter, Mutex, Ordering, fence, lock};
use crate::table::publish::{Domain, Table};

/// The least budget: room for a table and a few small pieces.
const MIN_BUDGET: u64 = 16 << 10;
/// Versions that may be in the making at once in a full cache.
pub(crate) const SPARE_VERSIONS: usize = 4;

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
    huge_pages: bool,
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

    /// Whether buffers of pieces come on huge pages, which makes a hit that misses the caches cheaper;
    /// off by default. On Linux, with pages of 4 KiB, for films of fixed pieces of 16 KiB and more,
    /// unless `/sys/kernel/mm/transparent_hugepage/enabled` says "never"; elsewhere it changes
    /// nothing. What the system keeps beyond the buffers is not in the budget: for each length of
    /// piece the rest of a huge page, up to 2 MiB, and what it fills up again of pages that were
    /// given back in part.
    pub fn huge_pages(mut self, wanted: bool) -> Self {
        self.huge_pages = wanted;
        self
    }

    /// Says which pieces are worth least; [`Density`] by default.
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
        let memory = Memory::new(self.budget, self.huge_pages);
        let shared = Arc::new(Shared {
            domain: Domain::new(),
            directory: ArcSwap::from_pointee(Directory { slots: Vec::new() }),
            changing: Mutex::new(()),
            fitting: Mutex::new(()),
            playheads: Counter::default(),
            policy: Guest::new(self.policy),
            observers: self.observers.into_iter().map(Guest::new).collect(),
            clock: self.clock,
            aborted: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            roster: Roster::new(&memory),
            shortlist: Shortlist::default(),
            resident: Counter::default(),
            lingering: Counter::default(),
            limbo: Marks::new(),
            arriving: Marks::new(),
            memory,
            published: Counter::default(),
            verify_failures: Counter::default(),
            past_evictions: Counter::default(),
            #[cfg(feature = "validate")]
            films: Mutex::new(Vec::new()),
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
            huge_pages: false,
            policy: Box::new(Density::new()),
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
    /// if the table would leave no room for a piece, [`Error::BudgetExhausted`] without room for its
    /// table, [`Error::Aborted`].
    pub fn add_storage_with(&self, layout: Layout, options: StorageOptions) -> Result<Storage<R>> {
        let shared = self.shared();
        let _call = shared.call()?;
        shared.check_piece_len(layout.largest_piece())?;
        shared.check_table(&layout)?;
        // Films that were removed under a snapshot: their slots and memory may be free by now.
        shared.directory.load().films().filter(|film| film.lingers()).for_each(|film| film.empty());
        shared.pass_all();
        let pieces = (!layout.is_segmented()).then(|| layout.pieces().end);
        let (memory, domain) = (&shared.memory, &shared.domain);
        let bytes = Table::<R>::root_bytes(pieces);
        let need = Need { bytes, only: None, reason: Reason::Room, patient: false };
        // The film's drop gives these back.
        shared.reserve_segments(layout.heap_bytes())?;
        let table = shared
            .obtain(&need, || Table::new(memory, domain, pieces))
            .inspect_err(|_| shared.release_segments(layout.heap_bytes()))?;
        let changing = lock(&shared.changing);
        let mut slots = shared.directory.load().slots.clone();
        // A slot whose generations are used up stays empty.
        let free = slots.iter().position(|(last, film)| film.is_none() && *last < u32::MAX);
        let index = free.unwrap_or(slots.len());
        let generation = slots.get(index).map_or(0, |(last, _)| last + 1);
        let id = StorageId { index: index as u32, generation };
        let film = Arc::new(Film::new(id, shared, table, layout, options));
        #[cfg(feature = "validate")]
        shared.register(&film);
        let slot = (generation, Some(Arc::clone(&film)));
        if index == slots.len() {
            slots.push(slot)
        } else {
            slots[index] = slot
        }
        let old = shared.directory.swap(Arc::new(Directory { slots }));
        shared.fit_headroom();
        drop(changing);
        // Outside the lock: the last films of it may go, and a user's verifiers with them.
        drop(old);
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
    /// As for [`CacheBuilder::build`]; [`Error::BudgetTooSmall`] also for what no eviction gives back:
    /// room for versions of the largest table, and 16 to 32 bytes for each piece of the most that were
    /// ever present at once, beyond 512.
    pub fn set_budget(&self, bytes: u64) -> Result<()> {
        check_budget(bytes)?;
        // What is kept for the tables cannot be given to pieces, nor what the roster takes.
        let shared = self.shared();
        let least = shared.memory.budget.headroom() + shared.roster.bytes() as u64;
        if bytes <= least {
            return Err(Error::BudgetTooSmall { budget: bytes, least });
        }
        shared.memory.budget.set_limit(bytes);
        shared.fit_windows();
        shared.memory.freed.wake_all();
        Ok(())
    }

    /// Evicts until what is resident is within the budget, waiting at most for `time`.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if handles or snapshots still keep more, or another thread has not
    /// ended an eviction that the budget of before allowed.
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
        // Pairs with the fence in `call`: the call is counted here, or it sees the flag; and with that
        // behind the registration of a wait on a film that is added meanwhile, which the loop below
        // does not see. For the other waits the lock in `end_all` does. (For calls the fence in
        // `wake_all` below would do as well, and so no model fails without this one.)
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
