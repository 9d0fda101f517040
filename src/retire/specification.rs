//! Reclamation as the contract asks for it and no better: for the models.
//!
//! One word counts the snapshots of a cache. A pass that finds none frees all; one that finds any
//! keeps all. That is trivially right, and at most as strong as the schemes that ship: it orders
//! a snapshot after the passes that found none before it, and before the pass that frees what
//! it has read; nothing else. So the races above the contract can be explored with three
//! threads, where the steps of `Interval` would multiply the executions.
//!
//! Why it is right: a snapshot's count that a pass does not see comes later in the order of the
//! word, and so reads from the pass (Acquire, AcqRel): the root that it then loads is W7's or
//! newer. The end of a snapshot that a pass does see is Release, and the pass Acquire.

use std::sync::Arc;

use super::{Lines, List, Record, Scheme, Span};
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};
use crate::table::version::{Root, RootRef};

/// The specification reclaimer.
#[derive(Debug)]
pub struct Specification {
    snapshots: Arc<AtomicUsize>,
}

pub(crate) struct Announced {
    snapshots: Arc<AtomicUsize>,
    /// Of `std`: who may use a lane is no question of this scheme, and so nothing is ordered.
    busy: std::sync::atomic::AtomicBool,
}

const RELAXED: std::sync::atomic::Ordering = std::sync::atomic::Ordering::Relaxed;

impl Scheme for Specification {
    type Announcement = Announced;
    type Limbo = List;

    const PRECISE: bool = false;

    fn new() -> Self {
        Self { snapshots: Arc::new(AtomicUsize::new(0)) }
    }

    fn announcement(&self) -> Announced {
        Announced { snapshots: Arc::clone(&self.snapshots), busy: false.into() }
    }

    fn is_idle(lane: &Announced) -> bool {
        !lane.busy.load(RELAXED)
    }

    unsafe fn enter(&self, lane: &Announced, root: &AtomicPtr<Root>, _: Span) -> RootRef {
        lane.busy.store(true, RELAXED);
        // Acquire: pairs with `collect`.
        self.snapshots.fetch_add(1, Ordering::Acquire);
        // SAFETY: the caller's contract.
        unsafe { self.renew(lane, root) }
    }

    unsafe fn renew(&self, _: &Announced, root: &AtomicPtr<Root>) -> RootRef {
        // Acquire: pairs with W4.
        // SAFETY: a table's root is never null.
        unsafe { RootRef::from_ptr(root.load(Ordering::Acquire)).unwrap_unchecked() }
    }

    unsafe fn leave(lane: &Announced) {
        lane.busy.store(false, RELAXED);
        // Release: pairs with `collect`.
        lane.snapshots.fetch_sub(1, Ordering::Release);
    }

    unsafe fn collect(
        &self,
        _: &Lines<Self>,
        limbo: &mut List,
        mut fresh: List,
        free: &mut dyn FnMut(Record),
    ) {
        // SAFETY: the caller's contract, here and below.
        unsafe { fresh.drain(|record| limbo.push(record)) };
        // AcqRel: pairs with `enter` and `leave`. A read-modify-write sees the newest count.
        if self.snapshots.fetch_add(0, Ordering::AcqRel) == 0 {
            // SAFETY: as above.
            unsafe { limbo.drain(free) };
        }
    }

    unsafe fn surrender(limbo: &mut List, free: &mut dyn FnMut(Record)) {
        // SAFETY: the caller's contract.
        unsafe { limbo.drain(free) };
    }
}
