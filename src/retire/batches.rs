//! What an epoch-like scheme keeps per storage: batches that pass in order.
//!
//! The library below only says "all snapshots that lived when this flag was deferred are gone";
//! the pass then takes the nodes back (invariant 8). A flag that is raised speaks for every
//! batch before it as well, for those were unpublished earlier.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{List, Record};
use crate::sync::{AtomicBool, Ordering};

/// Raised, on whatever thread, when a grace period has passed.
#[derive(Clone)]
pub(crate) struct Flag(Arc<AtomicBool>);

impl Flag {
    pub(super) fn raise(&self) {
        // Release: pairs with the Acquire in `Batches::take_passed`, so that every snapshot's
        // last look, which the library orders before the flag, comes before the free.
        self.0.store(true, Ordering::Release);
    }
}

#[derive(Default)]
pub(crate) struct Batches(VecDeque<(Flag, List)>);

impl Batches {
    /// Adds a batch; the flag is to be deferred. `None` if nothing waits at all.
    pub(super) fn add(&mut self, fresh: List) -> Option<Flag> {
        if fresh.is_empty() && self.0.is_empty() {
            return None;
        }
        let flag = Flag(Arc::new(AtomicBool::new(false)));
        self.0.push_back((flag.clone(), fresh));
        Some(flag)
    }

    /// # Safety
    /// As for [`super::Scheme::collect`].
    pub(super) unsafe fn take_passed(&mut self, free: &mut dyn FnMut(Record)) {
        // Acquire: pairs with `Flag::raise`.
        let passed = self.0.iter().rposition(|(flag, _)| flag.0.load(Ordering::Acquire));
        let count = passed.map_or(0, |last| last + 1);
        for (_, mut list) in self.0.drain(..count) {
            // SAFETY: the caller's contract.
            unsafe { list.drain(&mut *free) };
        }
    }

    /// # Safety
    /// As for [`super::Scheme::surrender`].
    pub(super) unsafe fn take_all(&mut self, free: &mut dyn FnMut(Record)) {
        for (_, mut list) in self.0.drain(..) {
            // SAFETY: the caller's contract.
            unsafe { list.drain(&mut *free) };
        }
    }
}
