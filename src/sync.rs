//! The one switch between the primitives of `std`, of loom and of shuttle, and those that count.
//!
//! Everything whose order between threads matters is taken from here, so that the code that
//! ships is the code that is model-checked. The switch changes which primitive is used, never
//! what it means. Counters that only inform ([`Counter`]) are always `std`'s: no decision that
//! safety rests on reads them, and modelling them would only multiply the executions.

#[cfg(loom)]
use loom as primitives;
#[cfg(shuttle)]
use shuttle as primitives;
#[cfg(not(any(loom, shuttle)))]
use std as primitives;

#[cfg(counted)]
use counted as atomic;
#[cfg(not(counted))]
use primitives::sync::atomic;

pub(crate) use atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
#[cfg(not(tsan))]
pub(crate) use primitives::sync::{Mutex, MutexGuard};
/// Lets another thread go first, where a step is repeated until it has come further.
pub(crate) use primitives::thread::yield_now;
#[cfg(tsan)]
pub(crate) use seen::{Mutex, MutexGuard};

#[cfg(counted)]
pub mod counted;
#[cfg(tsan)]
mod seen;
mod shadow;
mod swap;
#[cfg(any(asan, tsan))]
mod watch;

pub(crate) use shadow::Shadow;
pub(crate) use swap::{ArcSwap, ArcSwapOption, Guard, static_option};

use std::sync::{PoisonError, TryLockError};

/// What the clock uses, which is in no model.
pub(crate) mod unmodelled {
    #[cfg(tsan)]
    pub(crate) use super::seen::{Condvar, Mutex, MutexGuard};
    #[cfg(not(tsan))]
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
}

/// Locks, whether or not a thread panicked while it held the lock.
///
/// Every critical section in this crate leaves its data consistent at each step that can panic
/// (in practice: none can), so that poisoning carries no information here.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    #[cfg(counted)]
    counted::note(counted::Kind::ReadModifyWrite, mutex);
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As `lock`, unless somebody else has it.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    #[cfg(counted)]
    counted::note(counted::Kind::ReadModifyWrite, mutex);
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

#[cfg(counted)]
use counted::AtomicU64 as Figure;
#[cfg(not(counted))]
use std::sync::atomic::AtomicU64 as Figure;

/// A figure for people to read: relaxed, wrapping, never the ground of a decision about safety.
#[derive(Debug, Default)]
pub(crate) struct Counter(Figure);

impl Counter {
    const RELAXED: std::sync::atomic::Ordering = std::sync::atomic::Ordering::Relaxed;

    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Self::RELAXED);
    }

    pub(crate) fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Self::RELAXED);
    }

    pub(crate) fn raise_to(&self, n: u64) {
        if self.get() < n {
            self.0.fetch_max(n, Self::RELAXED);
        }
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Self::RELAXED);
    }

    /// Adds without a read-modify-write: only for counters with one writer at a time.
    pub(crate) fn add_alone(&self, n: u64) {
        self.set(self.get().wrapping_add(n));
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Self::RELAXED)
    }
}

/// A value that one thread at a time owns by a protocol of its own; loom checks the claim.
#[derive(Debug, Default)]
pub(crate) struct Owned<T>(Cell<T>);

#[cfg(loom)]
type Cell<T> = loom::cell::UnsafeCell<T>;
#[cfg(not(loom))]
type Cell<T> = std::cell::UnsafeCell<T>;

// SAFETY: access goes through `with`, whose caller vouches for exclusion; so sharing the cell
// moves the value between threads and never shares it.
unsafe impl<T: Send> Sync for Owned<T> {}

impl<T> Owned<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Cell::new(value))
    }

    /// # Safety
    /// No other thread may be inside `with` on this value, and the last one to have been there
    /// must happen before this call.
    #[inline]
    pub(crate) unsafe fn with<U>(&self, f: impl FnOnce(&mut T) -> U) -> U {
        #[cfg(counted)]
        counted::note(counted::Kind::Store, self);
        #[cfg(loom)]
        // SAFETY: the caller's contract, which loom verifies.
        return self.0.with_mut(|p| f(unsafe { &mut *p }));
        #[cfg(not(loom))]
        // SAFETY: the caller's contract.
        return f(unsafe { &mut *self.0.get() });
    }
}

/// Tells loom when a node dies, for it does not see raw frees; and the sanitizers, for they do not
/// see that a node was put aside for reuse.
///
/// A reader touches the canary of every node it looks into, and freeing is a write to it: a
/// read that races with the free, or comes after it, fails the model. Costs nothing elsewhere.
pub(crate) struct Canary {
    #[cfg(loom)]
    alive: loom::cell::UnsafeCell<bool>,
    #[cfg(any(asan, tsan))]
    alive: watch::Watched,
}

impl Canary {
    pub(crate) fn new() -> Self {
        Self {
            #[cfg(loom)]
            alive: loom::cell::UnsafeCell::new(true),
            #[cfg(any(asan, tsan))]
            alive: watch::Watched::default(),
        }
    }

    /// Called by whoever looks into the node.
    #[inline(always)]
    pub(crate) fn sing(&self) {
        #[cfg(loom)]
        // SAFETY: loom checks that no `fall` or `rise` races with this.
        self.alive.with(|p| assert!(unsafe { *p }, "a node was used after it was freed"));
        #[cfg(any(asan, tsan))]
        self.alive.look();
    }

    /// Called when the node is freed.
    #[inline(always)]
    pub(crate) fn fall(&self) {
        #[cfg(loom)]
        self.alive.with_mut(|p| {
            // SAFETY: loom checks that nothing else touches the canary meanwhile.
            assert!(unsafe { std::mem::replace(&mut *p, false) }, "a node was freed twice");
        });
        #[cfg(any(asan, tsan))]
        self.alive.forbid();
    }

    /// Called when the node's memory is used again, and when the node was written: whoever looks
    /// into it must see that.
    #[inline(always)]
    pub(crate) fn rise(&self) {
        #[cfg(loom)]
        // SAFETY: as for `fall`.
        self.alive.with_mut(|p| unsafe { *p = true });
        #[cfg(any(asan, tsan))]
        self.alive.allow();
    }
}

/// On a pair of cache lines of its own, for processors fetch them in pairs: what is written beside
/// it takes it from nobody's cache.
#[repr(align(128))]
pub(crate) struct Apart<T>(pub(crate) T);

impl<T> std::ops::Deref for Apart<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// A number of the calling thread, by the order in which threads first ask. To keep them from each
/// other's cache lines; nothing that must be right depends on it.
pub(crate) fn thread_number() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    // A thread that ends may have none any more.
    NUMBER.try_with(|number| *number).unwrap_or(0)
}

/// Memory that was freed in a model stays until the model's next execution, so that a use after
/// free finds a fallen [`Canary`] and not memory of another kind.
#[cfg(loom)]
pub(crate) mod quarantine {
    use std::alloc::Layout;
    use std::cell::RefCell;

    thread_local! {
        // loom runs all threads of a model on one thread of the system.
        static KEPT: RefCell<Vec<(*mut u8, Layout)>> = const { RefCell::new(Vec::new()) };
    }

    /// Keeps memory instead of deallocating it. Nothing in it is dropped: nodes own no memory.
    pub(crate) fn keep(memory: *mut u8, layout: Layout) {
        KEPT.with(|kept| kept.borrow_mut().push((memory, layout)));
    }

    /// Deallocates what was kept. Called when no thread of the last execution is left.
    pub(crate) fn clear() {
        for (memory, layout) in KEPT.with(RefCell::take) {
            // SAFETY: it was to be deallocated with this layout; its last users are gone.
            unsafe { std::alloc::dealloc(memory, layout) };
        }
    }
}
