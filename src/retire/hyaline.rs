//! Reclamation by seize (Hyaline, Nikolaev and Ravindran 2021).
//!
//! A snapshot holds an owned guard, which may be dropped on any thread. What is retired is a
//! marker that raises a flag (and frees its own few bytes, possibly on a reader).
//!
//! Limits: as for [`Epoch`](super::Epoch). An owned guard takes and returns a thread id of
//! seize's, under a mutex of seize's: with this scheme alone a reader takes a lock. seize knows
//! nothing of loom: under the models this scheme is not to be used.

use seize::{Collector, Guard, OwnedGuard};

use super::batches::{Batches, Flag};
use super::{Lines, List, Record, Scheme, Span};
use crate::sync::{AtomicBool, AtomicPtr, Ordering, Owned, fence};
use crate::table::version::{Root, RootRef};

/// Reclamation by batches of references, with [seize](https://docs.rs/seize).
#[derive(Debug)]
pub struct Hyaline {
    // On the heap, so that guards may refer to it: see `enter`.
    collector: Box<Collector>,
}

pub(crate) struct Announced {
    busy: AtomicBool,
    guard: Owned<Option<OwnedGuard<'static>>>,
}

/// What is retired in the place of a batch. The first marker of a pass raises the flag; the
/// others fill seize's batch up, which starts only with a marker for each active guard.
struct Marker(Option<Flag>);

/// # Safety
/// `marker` came from `Box::into_raw`, and is reclaimed once.
unsafe fn reclaim(marker: *mut Marker, _: &Collector) {
    // SAFETY: the caller's contract.
    let marker = unsafe { Box::from_raw(marker) };
    if let Some(flag) = marker.0 {
        flag.raise();
    }
}

impl Scheme for Hyaline {
    type Announcement = Announced;
    type Limbo = Batches;

    const PRECISE: bool = false;

    fn new() -> Self {
        // Batches are filled up and flushed by hand: see `Marker`.
        Self { collector: Box::new(Collector::new().batch_size(64)) }
    }

    fn announcement(&self) -> Announced {
        Announced { busy: AtomicBool::new(false), guard: Owned::new(None) }
    }

    fn is_idle(lane: &Announced) -> bool {
        // Acquire: pairs with the Release in `leave`.
        !lane.busy.load(Ordering::Acquire)
    }

    unsafe fn enter(&self, lane: &Announced, root: &AtomicPtr<Root>, _: Span) -> RootRef {
        lane.busy.store(true, Ordering::Relaxed);
        let guard = self.collector.enter_owned();
        // Pairs with the barrier by which seize starts to retire a batch (`membarrier::heavy` in
        // `try_retire`: a SeqCst fence, or a barrier of the system that is one for every thread).
        // The guard has stored that it is active before this fence. If the fence comes first,
        // seize finds the guard active, and the batch waits for it; if the barrier comes first,
        // every load below sees a root that shows nothing of the batch, for its nodes were
        // unpublished before they were retired.
        fence(Ordering::SeqCst);
        // SAFETY: the collector is on the heap and freed after every lane, which the domain owns
        // beside the scheme and drops first; so the guard never outlives it. The lane is the
        // caller's alone.
        unsafe {
            let guard = std::mem::transmute::<OwnedGuard<'_>, OwnedGuard<'static>>(guard);
            lane.guard.with(|place| *place = Some(guard));
            self.renew(lane, root)
        }
    }

    unsafe fn renew(&self, _: &Announced, root: &AtomicPtr<Root>) -> RootRef {
        // Acquire: pairs with W4. What it names is protected by the fence in `enter`, now and for
        // as long as the guard lives.
        // SAFETY: a table's root is never null.
        unsafe { RootRef::from_ptr(root.load(Ordering::Acquire)).unwrap_unchecked() }
    }

    unsafe fn leave(lane: &Announced) {
        // SAFETY: the lane is the caller's alone.
        unsafe { lane.guard.with(|guard| *guard = None) };
        lane.busy.store(false, Ordering::Release);
    }

    unsafe fn collect(
        &self,
        lines: &Lines<Self>,
        limbo: &mut Batches,
        fresh: List,
        free: &mut dyn FnMut(Record),
    ) {
        // SAFETY: the caller's contract, here and below.
        unsafe { limbo.add(fresh) };
        let active = || lines.lanes().filter(|lane| !Self::is_idle(&lane.announcement)).count();
        while let Some(flag) = limbo.start().or_else(|| limbo.again(active() == 0)) {
            let guard = self.collector.enter();
            let mut flag = Some(flag);
            for _ in 0..active() + 2 {
                let marker = Box::into_raw(Box::new(Marker(flag.take())));
                // SAFETY: a fresh marker that nobody else reaches; `reclaim` suits it.
                unsafe { guard.defer_retire(marker, reclaim) };
            }
            guard.flush();
            drop(guard);
            // SAFETY: as above.
            if !unsafe { limbo.take_passed(free) } {
                return;
            }
        }
        // SAFETY: as above.
        unsafe { limbo.take_passed(free) };
    }

    #[cfg(feature = "validate")]
    unsafe fn each(limbo: &Batches, see: &mut dyn FnMut(Record)) {
        // SAFETY: the caller's contract.
        unsafe { limbo.each(see) };
    }

    unsafe fn surrender(limbo: &mut Batches, free: &mut dyn FnMut(Record)) {
        // SAFETY: the caller's contract.
        unsafe { limbo.take_all(free) };
    }
}
