//! Recording what threads did to one film, and when.
//!
//! Each thread writes down its own calls; all they share is a counter, which gives the start and
//! the end of each call a number of their own. No locks: they would order what is to be tested.
//! Evictions happen inside of other calls; an observer notes them with the call that made them.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use lookbehind::{Eviction, Reclaim, Storage, StorageId};

pub type Time = u64;
/// Which insertion: each writes other bytes, and no two have the same number.
pub type Id = u64;

/// What is not as anybody wrote it.
pub const TORN: Id = u64::MAX;

/// One call, and what it came to.
#[derive(Clone, Debug)]
pub struct Call {
    pub start: Time,
    pub end: Time,
    pub did: Did,
    pub evicted: Vec<Told>,
}

#[derive(Clone, Debug)]
pub enum Did {
    /// Published the piece.
    Publish(u32, Id),
    /// Did not publish it, for it was there.
    Present(u32),
    /// Looked, for one piece or for several at one moment.
    Read(Vec<(u32, Option<Id>)>),
    /// Evicted nothing, for nothing was there.
    EvictNone(u32),
    /// Evicted, or failed for want of memory: it says nothing but what the observer was told.
    Nothing,
}

/// An eviction: at `at` the piece was claimed and still there.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub piece: u32,
    pub id: Id,
    pub at: Time,
}

/// TSan would take the counter for what orders the threads' other accesses.
const TICK: Ordering = if cfg!(tsan) { Ordering::Relaxed } else { Ordering::SeqCst };

fn tick() -> Time {
    static NOW: AtomicU64 = AtomicU64::new(1);
    compiler_fence(Ordering::SeqCst);
    let now = NOW.fetch_add(1, TICK);
    compiler_fence(Ordering::SeqCst);
    now
}

/// A number for the next insertion.
pub fn fresh_id() -> Id {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The thread that records, as its observer needs it.
struct Watch {
    storage: StorageId,
    look: Box<dyn Fn(u32) -> Option<Id>>,
    told: Vec<Told>,
}

thread_local! {
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// To be given to the cache as an observer.
pub fn observe(eviction: &Eviction) {
    WATCH.with_borrow_mut(|watch| {
        let Some(watch) = watch.as_mut().filter(|watch| watch.storage == eviction.storage) else {
            return;
        };
        let at = tick();
        // Claimed by this thread, and so still shown.
        let id = (watch.look)(eviction.piece).unwrap_or(TORN);
        watch.told.push(Told { piece: eviction.piece, id, at });
    });
}

/// What one thread does to one film.
pub struct Recorder {
    calls: Vec<Call>,
}

impl Recorder {
    /// `read` tells the insertion from the bytes of a piece.
    pub fn new<R: Reclaim>(film: &Storage<R>, read: fn(u32, &[u8]) -> Id) -> Self {
        let own = film.clone();
        let look = move |piece| own.get(piece).ok().map(|held| read(piece, &held));
        let watch = Watch { storage: film.id(), look: Box::new(look), told: Vec::new() };
        WATCH.set(Some(watch));
        Self { calls: Vec::new() }
    }

    /// Makes a call, and notes what `did` makes of its result, outside of the call's time.
    pub fn call<T>(&mut self, call: impl FnOnce() -> T, did: impl FnOnce(T) -> Did) {
        let start = tick();
        let result = call();
        let end = tick();
        let evicted = WATCH.with_borrow_mut(|watch| {
            watch.as_mut().map(|watch| std::mem::take(&mut watch.told)).unwrap_or_default()
        });
        self.calls.push(Call { start, end, did: did(result), evicted });
    }

    /// Lets go of the film.
    pub fn finish(self) -> Vec<Call> {
        WATCH.set(None);
        self.calls
    }
}
