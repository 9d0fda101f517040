//! A walk over every invariant, for moments in which nobody else uses the cache: all is counted
//! anew from the structures and compared with the ledger.
//!
//! What no structure leads to is listed while this feature is on: buffers that are alive through
//! handles only, assemblies whose prefix somebody reads, and films that only their handles keep.
//! So all six states are counted anew exactly.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use crate::cache::{Cache, SPARE_VERSIONS};
use crate::evict::roster::{self, Entry};
use crate::film::Film;
use crate::ingest::assembly::Assembly;
use crate::memory::State;
use crate::memory::budget::{UNIT, rounded};
use crate::memory::piece::{PieceRef, size_for};
use crate::retire::Reclaim;
use crate::shared::Shared;
use crate::sync::{Mutex, Ordering, lock};

/// What is alive in one memory, whoever keeps it.
#[derive(Default)]
pub(crate) struct Alive {
    buffers: Mutex<HashMap<usize, PieceRef>>,
    assemblies: Mutex<Vec<Weak<Assembly>>>,
}

impl Alive {
    pub(crate) fn buffer(&self, piece: PieceRef) {
        lock(&self.buffers).insert(piece.as_ptr().addr(), piece);
    }

    pub(crate) fn no_buffer(&self, piece: PieceRef) {
        lock(&self.buffers).remove(&piece.as_ptr().addr());
    }

    pub(crate) fn assembly(&self, assembly: &Arc<Assembly>) {
        let mut list = lock(&self.assemblies);
        list.retain(|old| old.strong_count() > 0);
        list.push(Arc::downgrade(assembly));
    }

    fn assemblies(&self) -> Vec<Arc<Assembly>> {
        lock(&self.assemblies).iter().filter_map(Weak::upgrade).collect()
    }
}

/// Says what is wrong, unless it holds.
macro_rules! check {
    ($holds:expr, $($why:tt)*) => {
        if !$holds {
            return Err(format!($($why)*));
        }
    };
}
pub(crate) use check;

/// What was found so far.
#[derive(Default)]
struct Count {
    states: [u64; 6],
    /// Each buffer that was found, and in which state.
    buffers: HashMap<usize, State>,
    kept: u64,
    /// Who sits where in the roster, but for the pieces that were found.
    seats: HashMap<u32, Entry>,
    resident: u64,
}

impl Count {
    fn add(&mut self, state: State, bytes: u64) {
        self.states[state as usize] += bytes;
    }

    /// Counts a buffer, which must not have been found elsewhere.
    fn buffer(&mut self, piece: PieceRef, state: State) -> Result<(), String> {
        if let Some(other) = self.buffers.insert(piece.as_ptr().addr(), state) {
            return Err(format!("{piece:?} is both {other:?} and {state:?}"));
        }
        // SAFETY: found in a structure, so alive; nobody else uses the cache.
        let (size, header) = unsafe { (piece.size(), piece.header()) };
        let (len, refs) = (header.len(), header.refs());
        check!(size.is_multiple_of(UNIT), "{piece:?} takes {size} bytes, no whole units");
        let free = matches!(state, State::Pooled);
        check!(free || size == size_for(len as usize), "{size} bytes for a piece of {len}");
        check!(free == (refs == 0), "{piece:?} is {state:?} and has {refs} owners");
        self.add(state, size as u64);
        Ok(())
    }
}

impl<R: Reclaim> Cache<R> {
    /// Checks every invariant; what is wrong, if anything is. Nobody else may use the cache
    /// meanwhile, nor a handle of it.
    ///
    /// # Errors
    /// The first thing found that is not as it should be.
    #[doc(hidden)]
    pub fn validate(&self) -> Result<(), String> {
        let shared = self.shared();
        let (seats, bytes) = shared.roster.audit()?;
        let mut count = Count { seats, ..Count::default() };
        count.add(State::Table, bytes);
        let films: Vec<_> = lock(&shared.films).iter().filter_map(Weak::upgrade).collect();
        check!(shared.calls.load(Ordering::Relaxed) == 0, "a call is under way");
        shared.validate_directory(&films)?;
        let mut half = 0;
        for film in &films {
            half += film.validate(&mut count).map_err(|why| format!("film {}: {why}", film.id))?;
        }
        shared.validate_marks(&films, &count)?;
        shared.validate_memory(&mut count)?;
        let counted = shared.memory.budget.assemblies();
        check!(half == counted, "assemblies take {half} of the half, {counted} are counted");
        shared.validate_budget(&count)
    }

    /// What is kept for evictions: no piece gets it.
    #[doc(hidden)]
    #[must_use]
    pub fn headroom(&self) -> u64 {
        self.shared().memory.budget.headroom()
    }

    /// Collects what can be collected, and then validates: with no snapshot alive nothing may be
    /// left in limbo.
    ///
    /// # Errors
    /// As for [`validate`](Self::validate).
    #[doc(hidden)]
    pub fn validate_swept(&self) -> Result<(), String> {
        let shared = self.shared();
        let films: Vec<_> = lock(&shared.films).iter().filter_map(Weak::upgrade).collect();
        for film in films {
            film.table.pass();
        }
        shared.pass_all();
        shared.memory.take_back_returned();
        self.validate()?;
        let limbo = shared.memory.budget.state(State::Limbo);
        let snapshots = shared.live_snapshots();
        check!(limbo == 0 || snapshots > 0, "{limbo} bytes in limbo without a snapshot");
        Ok(())
    }
}

impl<R: Reclaim> Shared<R> {
    /// Knows the film for as long as somebody has it.
    pub(crate) fn register(&self, film: &Arc<Film<R>>) {
        let mut list = lock(&self.films);
        list.retain(|old| old.strong_count() > 0);
        list.push(Arc::downgrade(film));
    }

    fn validate_directory(&self, films: &[Arc<Film<R>>]) -> Result<(), String> {
        let directory = self.directory.load();
        for (index, (generation, film)) in directory.slots.iter().enumerate() {
            let Some(film) = film else { continue };
            let (id, at) = (film.id, (index as u32, *generation));
            check!((id.index, id.generation) == at, "film {id} is in slot {at:?}");
        }
        let listed: Vec<_> = directory.films().map(Arc::as_ptr).collect();
        for film in films.iter().filter(|film| !film.removed()) {
            check!(listed.contains(&Arc::as_ptr(film)), "film {} is not listed", film.id);
        }
        let largest = directory.films().map(|film| film.table.node_bytes()).max();
        let (expected, headroom) =
            (SPARE_VERSIONS * largest.unwrap_or(0), self.memory.budget.headroom());
        check!(rounded(expected) as u64 == headroom, "the headroom is {headroom}, not {expected}");
        Ok(())
    }

    /// Whether evictions and passes find what there is.
    fn validate_marks(&self, films: &[Arc<Film<R>>], count: &Count) -> Result<(), String> {
        check!(count.seats.is_empty(), "seats of pieces that are not there: {:?}", count.seats);
        let (resident, counted) = (count.resident, self.resident.get());
        check!(resident == counted, "{resident} pieces are resident, {counted} are counted");
        let directory = self.directory.load();
        for film in directory.films() {
            let slot = film.id.index as usize;
            let waits = film.table.has_limbo() || film.removed();
            check!(!waits || self.limbo.has(slot), "no pass will come to film {}", film.id);
            let open = film.assemblies.count() > 0;
            check!(!open || self.arriving.has(slot), "none of film {} will expire", film.id);
        }
        let (lingering, counted) =
            (films.iter().filter(|film| film.lingers()).count() as u64, self.lingering.get());
        check!(lingering == counted, "{lingering} films linger, {counted} are counted");
        Ok(())
    }

    /// Assemblies, free buffers, and those that only handles keep.
    fn validate_memory(&self, count: &mut Count) -> Result<(), String> {
        let memory = &self.memory;
        for assembly in memory.alive.assemblies() {
            let (beside, piece) = assembly.charged();
            count.add(State::Assembling, beside as u64);
            if let Some(piece) = piece {
                count.buffer(piece, State::Assembling)?;
            }
        }
        let (pooled, returned) = memory.free_buffers().ok_or("the shelf of buffers is torn")?;
        for piece in pooled {
            count.buffer(piece, State::Pooled)?;
        }
        let returned: HashSet<_> = returned.iter().map(|piece| piece.as_ptr().addr()).collect();
        let alive = lock(&memory.alive.buffers);
        for (address, piece) in &*alive {
            if count.buffers.contains_key(address) {
                continue;
            }
            // SAFETY: listed, so allocated and not freed.
            let (size, refs) = unsafe { (piece.size(), piece.header().refs()) };
            let back = returned.contains(address);
            check!(back == (refs == 0), "{piece:?} has {refs} owners, and is returned: {back}");
            count.add(State::Held, size as u64);
        }
        let known = |address: &usize| alive.contains_key(address);
        check!(count.buffers.keys().all(known), "a buffer is used that was freed");
        check!(
            returned.iter().all(|at| known(at) && !count.buffers.contains_key(at)),
            "a returned buffer is in use"
        );
        check!(memory.freed.consistent(), "as many do not wait for memory as are counted");
        Ok(())
    }

    fn validate_budget(&self, count: &Count) -> Result<(), String> {
        let budget = &self.memory.budget;
        let ledger = budget.counters();
        let states = [
            State::Assembling,
            State::Published,
            State::Limbo,
            State::Held,
            State::Pooled,
            State::Table,
        ];
        for state in states {
            let (found, noted) = (count.states[state as usize], ledger[state as usize]);
            check!(found == noted, "{found} bytes are {state:?}, the ledger has {noted}");
        }
        let (sum, resident) = (ledger.iter().sum::<u64>(), budget.resident());
        check!(sum == resident, "the states are {sum} bytes together, resident are {resident}");
        let bound = budget.bound();
        check!(resident <= bound, "{resident} bytes are resident, {bound} may be");
        let peak = budget.peak();
        check!(resident <= peak, "{resident} bytes are resident, and the peak was {peak}");
        let (kept, found) = (budget.kept(), count.kept);
        check!(kept == found, "{found} bytes are kept in limbo, {kept} are counted");
        Ok(())
    }
}

impl<R: Reclaim> Film<R> {
    /// Counts what this film has; what its assemblies take of the half.
    fn validate(&self, count: &mut Count) -> Result<u64, String> {
        // SAFETY: nobody else uses the cache.
        let audit = unsafe { self.table.audit()? };
        let layout = self.layout();
        let (mut bytes, mut pieces) = (0, 0);
        for piece in audit.published {
            count.buffer(piece, State::Published)?;
            // SAFETY: published, so alive.
            let header = unsafe { piece.header() };
            if header.seat() != roster::NONE {
                let entry = Entry { film: self.id.index, piece: header.index() };
                let seated = count.seats.remove(&header.seat());
                check!(seated == Some(entry), "{entry:?} has the seat of {seated:?}");
            }
            (bytes, pieces) = (bytes + header.size() as u64, pieces + 1);
            let (index, len) = (header.index(), header.len());
            // A segment that fell out of the window may wait for room for its eviction.
            let known = layout.piece_len(index);
            check!(known.is_none_or(|known| known == len), "piece {index} is {len} bytes long");
            check!(index < layout.pieces().end, "piece {index} is beyond the film");
        }
        for piece in audit.limbo {
            count.buffer(piece, State::Limbo)?;
        }
        count.kept += audit.kept;
        count.add(State::Table, audit.nodes + rounded(layout.heap_bytes()) as u64);
        count.resident += pieces;
        let (present, published) = (self.present.get(), self.published.get());
        check!(present == pieces, "{pieces} pieces are present, {present} are counted");
        check!(published == bytes, "{bytes} bytes are published, {published} are counted");
        check!(self.waits.consistent(), "as many do not wait as are counted");
        check!(self.demand.consistent(), "as many fetches are not under way as are counted");
        let mut half = 0;
        let open = self.assemblies.list();
        for assembly in &open {
            half += assembly.size() as u64;
            let piece = assembly.piece;
            let same =
                self.assemblies.get(piece).is_some_and(|found| Arc::ptr_eq(&found, assembly));
            check!(same, "the assembly of piece {piece} is under another number");
            check!(assembly.charged().1.is_some(), "the open assembly of {piece} has no buffer");
            if let Some(flaw) = assembly.flaw() {
                return Err(format!("the assembly of piece {piece}: {flaw}"));
            }
        }
        if self.removed() {
            check!(open.is_empty() && self.waits.count() == 0, "a removed film is waited for");
        }
        Ok(half)
    }
}
