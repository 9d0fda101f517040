//! What the loom models see of the crate: thin handles on the table, its readers and its memory.
//!
//! Only compiled under `--cfg loom`. Nothing is decided here: each call is the sequence of calls
//! that the layers above the table make (`storage`, `evict`, `ingest::write`, `table::snapshot`),
//! without the film's layout, the policy and the clock, which no race in the models is about.
#![allow(missing_docs, reason = "named after what they wrap; for the models only")]

use std::sync::Arc;

use crate::States;
use crate::evict::Need;
use crate::evict::roster::{Entry, Roster};
use crate::memory::piece::{PieceRef, size_for};
use crate::memory::{Memory, Purpose, State};
pub use crate::read::held::Held;
use crate::retire::batches::{Batches, Flag};
pub use crate::retire::{Epoch, Interval, Reclaim, Specification};
use crate::retire::{Lane, Line, List, Record, Span};
use crate::table::leaf::{LEAF, LeafRef, leaf_of};
use crate::table::publish::{Domain, Published, Table};
use crate::table::version::RootRef;

/// Bytes in every piece of a model.
pub const LEN: usize = 4;

/// Lets go of what the executions before kept in quarantine. Called when a model starts.
pub fn start() {
    crate::sync::quarantine::clear();
}

/// A table with its domain and memory: a film without the layers above it.
pub struct Film<R: Reclaim = Interval> {
    memory: Arc<Memory>,
    domain: Arc<Domain<R>>,
    table: Table<R>,
}

/// What came of a publication.
pub enum Shown {
    Done(Held),
    Present,
    Closed,
}

impl<R: Reclaim> Film<R> {
    /// A film of `pieces` pieces, alone in a cache.
    pub fn new(budget: u64, pieces: u32) -> Arc<Self> {
        let memory = Memory::new(budget, false);
        let domain = Domain::new();
        let table = Table::new(&memory, &domain, Some(pieces)).expect("room for a root");
        Arc::new(Self { memory, domain, table })
    }

    /// Publishes a piece, every byte of which is `byte`.
    pub fn publish(&self, piece: u32, byte: u8) -> Shown {
        let buffer = self.memory.buffer(piece, LEN as u32, false).expect("room");
        // SAFETY: within the length, and not shared yet.
        unsafe { buffer.fill(0, &[byte; LEN]) };
        let nodes = self.table.nodes(Purpose::Publish).expect("room for nodes");
        match self.domain.with_lane(|lane| self.table.publish(lane, nodes, piece, buffer)) {
            Published::Done(held) => Shown::Done(held),
            Published::Present => Shown::Present,
            Published::Closed => Shown::Closed,
            Published::OutOfWindow => unreachable!("the film is fixed"),
        }
    }

    /// Evicts a piece; whether this call did it.
    pub fn unpublish(&self, piece: u32) -> bool {
        let nodes = self.table.nodes(Purpose::Publish).expect("room for nodes");
        let wanted = |number, _| number == piece;
        let claims =
            self.domain.with_lane(|lane| self.table.claim(lane, Span::one(piece), 1, wanted));
        if claims.is_empty() {
            return false;
        }
        self.domain.with_lane(|lane| self.table.unpublish(lane, nodes, &claims));
        true
    }

    /// Closes the table, as the removal of its storage does.
    pub fn close(&self) {
        let nodes = self.table.nodes(Purpose::Publish).expect("room for nodes");
        self.domain.with_lane(|lane| self.table.close(lane, nodes));
    }

    /// A buffer that is never published, as an assembly's that is abandoned.
    pub fn buffer(&self) -> impl Send + use<R> {
        self.memory.buffer(0, LEN as u32, false).expect("room")
    }

    pub fn pass(&self) {
        self.table.pass();
    }

    /// Pieces and nodes that wait for their grace period, as of the last pass.
    pub fn has_limbo(&self) -> bool {
        self.table.has_limbo()
    }

    /// The bytes alive, by state.
    pub fn states(&self) -> States {
        self.memory.budget.states()
    }

    /// Drops the film and its cache, as the end of both does; handles may be left.
    ///
    /// # Panics
    /// If somebody else still has the film.
    pub fn end(self: Arc<Self>) -> Ended {
        let film = Arc::into_inner(self).expect("the last one to have the film");
        let Self { memory, domain, table } = film;
        drop(table);
        drop(domain);
        memory.close();
        Ended { memory }
    }

    /// Ends film and cache, and checks that nothing is left.
    ///
    /// # Panics
    /// As for [`Film::end`] and [`Ended::check`].
    pub fn finish(self: Arc<Self>) {
        self.end().check();
    }
}

/// The memory of a cache that is gone.
pub struct Ended {
    memory: Arc<Memory>,
}

impl Ended {
    /// Checks that all that was reserved was given back.
    ///
    /// # Panics
    /// If it was not.
    pub fn check(self) {
        let memory = self.memory;
        assert_eq!(memory.budget.resident(), 0, "bytes are resident after the end");
        assert_eq!(Arc::strong_count(&memory), 1, "a buffer still counts the memory");
    }
}

/// Takes snapshots, as [`crate::Reader`] does.
pub struct Reader<R: Reclaim = Interval> {
    film: Arc<Film<R>>,
    line: *const Line<R>,
}

// SAFETY: as for `crate::Reader`.
unsafe impl<R: Reclaim> Send for Reader<R> {}

/// A snapshot that owns a count of its film, so that it can go where the model sends it.
pub struct Snapshot<R: Reclaim = Interval> {
    _film: Arc<Film<R>>,
    lane: *const Lane<R>,
    root: RootRef,
}

// SAFETY: as for `crate::Snapshot`, which only holds references that are Send.
unsafe impl<R: Reclaim> Send for Snapshot<R> {}

impl<R: Reclaim> Reader<R> {
    pub fn new(film: &Arc<Film<R>>) -> Self {
        let line = std::ptr::from_ref(film.domain.lines.claim(&film.domain.scheme));
        Self { film: Arc::clone(film), line }
    }

    /// A snapshot of these pieces (both ends included), unless the reader's one lane is in use.
    pub fn try_snapshot(&self, first: u32, last: u32) -> Option<Snapshot<R>> {
        // SAFETY: lines live as long as the domain, which the film keeps alive.
        let lane = unsafe { (*self.line).idle_lane() }?;
        let table = &self.film.table;
        // SAFETY: the lane is idle, and this reader's alone.
        let root = unsafe {
            table.domain.scheme.enter(&lane.announcement, &table.root, Span { first, last })
        };
        Some(Snapshot { _film: Arc::clone(&self.film), lane, root })
    }

    pub fn snapshot(&self) -> Snapshot<R> {
        self.try_snapshot(0, u32::MAX).expect("the lane is idle")
    }
}

impl<R: Reclaim> Drop for Reader<R> {
    fn drop(&mut self) {
        // SAFETY: lines live as long as the domain, which the film keeps alive.
        self.film.domain.lines.leave(unsafe { &*self.line });
    }
}

impl<R: Reclaim> Snapshot<R> {
    pub fn version(&self) -> u64 {
        // SAFETY: announced. The canary is what makes the look visible to loom.
        unsafe {
            self.root.head().canary.sing();
            self.root.head().number
        }
    }

    /// What the piece says: the number in its header, and its bytes.
    pub fn get(&self, piece: u32) -> Option<(u32, [u8; LEN])> {
        // SAFETY: announced, for a window in which the models look; published, so written whole.
        unsafe {
            let found = self.root.get(piece)?;
            found.header().canary.sing();
            found.header().visit(self.root.head().mark);
            let bytes = found.bytes().try_into().expect("the length of a piece");
            Some((found.header().index(), bytes))
        }
    }

    /// A handle on a piece.
    pub fn held(&self, piece: u32) -> Option<Held> {
        // SAFETY: announced; the table's share cannot go meanwhile.
        unsafe {
            let found = self.root.get(piece)?;
            found.header().canary.sing();
            found.retain();
            Some(Held::new(found))
        }
    }
}

impl<R: Reclaim> Drop for Snapshot<R> {
    fn drop(&mut self) {
        // SAFETY: announced by `try_snapshot`; lanes live as long as the film.
        unsafe { R::leave(&(*self.lane).announcement) };
    }
}

/// A pass of every film, as a call that needs room makes it.
pub fn pass<R: Reclaim>(cache: &crate::Cache<R>) {
    cache.shared().pass_all();
}

/// Evicts the least valuable piece, as a call that needs room does; its bytes.
pub fn evict_one<R: Reclaim>(cache: &crate::Cache<R>) -> usize {
    let need = Need { bytes: LEN, only: None, reason: crate::Reason::Room, patient: false };
    cache.shared().evict_one(&need, false, false).expect("room for nodes")
}

/// The ledger.
pub struct Budget(crate::memory::budget::Budget);

impl Budget {
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self(crate::memory::budget::Budget::new(limit)))
    }

    pub fn reserve(&self, bytes: usize) -> bool {
        self.0.reserve(bytes, State::Assembling)
    }

    pub fn reserve_to_evict(&self, bytes: usize) -> bool {
        self.0.reserve_to_evict(bytes, State::Table)
    }

    pub fn release(&self, bytes: usize) {
        self.0.release(bytes, State::Assembling);
    }

    pub fn set_headroom(&self, bytes: usize) {
        self.0.set_headroom(bytes);
    }

    pub fn settle(&self) -> bool {
        self.0.settle()
    }

    pub fn set_limit(&self, bytes: u64) {
        self.0.set_limit(bytes);
    }

    pub fn resident(&self) -> u64 {
        self.0.resident()
    }
}

/// A shelf of things whose use by two at once loom notices.
pub struct Shelf(crate::memory::pool::Shelf<Thing>);

/// A thing on a [`Shelf`]; only its taker uses it.
pub struct Thing(loom::cell::UnsafeCell<u32>);

// SAFETY: used by its taker alone, which loom verifies.
unsafe impl Sync for Thing {}
// SAFETY: as above.
unsafe impl Send for Thing {}

impl Shelf {
    /// A shelf of two places with these things on it, which must outlive it.
    pub fn new(things: &[Thing]) -> Self {
        let shelf = crate::memory::pool::Shelf::new(2);
        for thing in things {
            shelf.put(std::ptr::from_ref(thing).cast_mut()).expect("a place");
        }
        Self(shelf)
    }

    pub fn take(&self) -> Option<*const Thing> {
        self.0.take(|_| true).map(<*mut Thing>::cast_const)
    }

    /// Looks at the things that are there, and takes none.
    pub fn refuse(&self) {
        // SAFETY: what is on the shelf is alive, and nobody's while it is looked at.
        let taken = self.0.take(|thing| unsafe { &*thing }.with() == u32::MAX);
        assert!(taken.is_none());
    }

    pub fn put(&self, thing: *const Thing) -> bool {
        self.0.put(thing.cast_mut()).is_ok()
    }
}

/// The places of a slab.
pub struct Places(crate::memory::slab::Places);

impl Places {
    pub fn new(count: usize) -> Self {
        Self(crate::memory::slab::Places::new(count))
    }

    pub fn take(&self) -> Option<usize> {
        self.0.take()
    }

    pub fn take_this(&self, place: usize) -> bool {
        self.0.take_this(place)
    }

    pub fn put(&self, place: usize) {
        self.0.put(place);
    }
}

/// The roster, of seats for pieces of one film.
pub struct Seats {
    roster: Roster,
    memory: Arc<Memory>,
}

impl Seats {
    pub fn new() -> Self {
        let memory = Memory::new(1 << 20, false);
        Self { roster: Roster::new(&memory), memory }
    }

    pub fn take(&self, piece: u32) -> Option<u32> {
        // Nobody follows it.
        let nowhere = PieceRef::from_ptr(std::ptr::dangling_mut()).expect("not null");
        self.roster.take(Entry { film: 0, piece }, nowhere)
    }

    pub fn give_back(&self, seat: u32) {
        self.roster.give_back(seat);
    }

    pub fn grow(&self) {
        self.roster.grow().expect("room for seats");
    }

    /// The pieces that a sample finds.
    pub fn sample(&self) -> Vec<u32> {
        let mut words = Vec::new();
        self.roster.sample(64, 64, &mut words);
        words.into_iter().filter_map(|word| Some(Entry::unpacked(word)?.piece)).collect()
    }

    /// Bytes that are counted for seats.
    pub fn bytes(&self) -> u64 {
        self.memory.budget.resident()
    }
}

impl Default for Seats {
    fn default() -> Self {
        Self::new()
    }
}

/// Marks of films.
pub struct Marks(crate::marks::Marks);

impl Marks {
    pub fn new() -> Self {
        Self(crate::marks::Marks::new())
    }

    pub fn mark(&self, slot: usize) {
        self.0.mark(slot);
    }

    pub fn marked(&self) -> Vec<usize> {
        self.0.marked().collect()
    }

    pub fn unless(&self, slot: usize, reason: impl Fn() -> bool) {
        self.0.unless(slot, reason);
    }
}

impl Default for Marks {
    fn default() -> Self {
        Self::new()
    }
}

impl Thing {
    pub fn new() -> Self {
        Self(loom::cell::UnsafeCell::new(0))
    }

    /// Uses the thing; how often that was done before.
    pub fn with(&self) -> u32 {
        self.0.with_mut(|uses| {
            // SAFETY: loom verifies that nobody else uses it.
            let uses = unsafe { &mut *uses };
            *uses += 1;
            *uses - 1
        })
    }
}

impl Default for Thing {
    fn default() -> Self {
        Self::new()
    }
}

/// A leaf that was unpublished, waiting for a library of epochs to say that its time has come.
pub struct Grace {
    memory: Arc<Memory>,
    batches: Batches,
}

/// The last snapshot that shows the leaf, and what the library does when it has ended.
pub struct Last {
    leaf: LeafRef,
    flag: Flag,
}

impl Grace {
    pub fn new() -> (Self, Last) {
        let (memory, mut batches) = (Memory::new(1 << 20, false), Batches::default());
        let leaf = LeafRef::allocate(&memory, LEAF, Purpose::Publish).expect("room for a leaf");
        let mut list = List::default();
        // SAFETY: the leaf is owned here alone, and handed over once.
        unsafe {
            leaf.copy(None, 0, 1);
            list.push(Record::Leaf(leaf));
            batches.add(list);
        }
        let flag = batches.start().expect("something waits");
        (Self { memory, batches }, Last { leaf, flag })
    }

    /// A pass; whether it freed the leaf.
    pub fn pass(&mut self) -> bool {
        let Self { memory, batches } = self;
        let mut freed = false;
        // SAFETY: the one reclaimer; whatever it frees is a leaf.
        let passed = unsafe {
            batches.take_passed(&mut |record| {
                if let Record::Leaf(leaf) = record {
                    leaf.free(memory);
                    freed = true;
                }
            })
        };
        assert_eq!(passed, freed);
        freed
    }
}

impl Last {
    pub fn ends(self) {
        // SAFETY: shown until the flag is raised.
        unsafe { self.leaf.head() }.canary.sing();
        self.flag.raise();
    }
}

/// Tasks that wait for the same event.
#[derive(Default)]
pub struct Wakers(crate::wake::Wakers);

impl Wakers {
    pub fn register(&self, waker: &std::task::Waker) -> Option<impl Sized + use<>> {
        let mut ticket = None;
        self.0.register(&mut ticket, waker);
        ticket
    }

    pub fn wake_all(&self) {
        self.0.wake_all();
    }
}
