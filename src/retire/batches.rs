//! What an epoch-like scheme keeps per storage: one batch that waits, and what came since.
//!
//! The library below only says "all snapshots that lived when this flag was deferred are gone";
//! the pass then takes the nodes back (invariant 8). One flag at a time: a pass is made whenever
//! a writer finds no memory, and a stalled reader would otherwise pile up flags without bound.

use std::sync::Arc;

use super::{List, Record};
use crate::sync::{AtomicBool, Ordering};

/// Raised, on whatever thread, when a grace period has passed.
#[derive(Clone)]
pub(crate) struct Flag(Arc<AtomicBool>);

impl Flag {
    pub(crate) fn raise(&self) {
        // Release: pairs with the Acquire in `Batches::take_passed`, so that every snapshot's
        // last look, which the library orders before the flag, comes before the free. Model:
        // `retire_against_snapshot`, by a flag.
        self.0.store(true, Ordering::Release);
    }
}

#[derive(Default)]
pub(crate) struct Batches {
    /// Deferred, with how many passes have found its flag down.
    waiting: Option<(Flag, List, u32)>,
    /// Unpublished since.
    next: List,
}

impl Batches {
    /// # Safety
    /// As for [`super::Scheme::collect`].
    pub(crate) unsafe fn add(&mut self, mut fresh: List) {
        // SAFETY: the caller's contract.
        unsafe { fresh.drain(|record| self.next.push(record)) };
    }

    /// The flag to be deferred for what came since, if nothing else is waiting.
    pub(crate) fn start(&mut self) -> Option<Flag> {
        if self.waiting.is_some() || self.next.is_empty() {
            return None;
        }
        let flag = Flag(Arc::new(AtomicBool::new(false)));
        self.waiting = Some((flag.clone(), std::mem::take(&mut self.next), 0));
        Some(flag)
    }

    /// The flag that is waited for, at the 1st, 2nd, 4th, 8th ... pass that finds it down, or
    /// `now`: for a library that may have put it aside.
    pub(super) fn again(&mut self, now: bool) -> Option<Flag> {
        let (flag, _, passes) = self.waiting.as_mut()?;
        *passes = passes.saturating_add(1);
        (now || passes.is_power_of_two()).then(|| flag.clone())
    }

    /// Frees the batch whose flag is up; whether it was.
    ///
    /// # Safety
    /// As for [`super::Scheme::collect`].
    pub(crate) unsafe fn take_passed(&mut self, free: &mut dyn FnMut(Record)) -> bool {
        // Acquire: pairs with `Flag::raise`.
        let passed = self.waiting.take_if(|(flag, ..)| flag.0.load(Ordering::Acquire));
        if let Some((_, mut list, _)) = passed {
            // SAFETY: the caller's contract.
            unsafe { list.drain(free) };
            return true;
        }
        false
    }

    /// # Safety
    /// As for [`super::Scheme::each`].
    #[cfg(feature = "validate")]
    pub(super) unsafe fn each(&self, see: &mut dyn FnMut(Record)) {
        // SAFETY: the caller's contract.
        unsafe {
            if let Some((_, list, _)) = &self.waiting {
                list.each(&mut *see);
            }
            self.next.each(see);
        }
    }

    /// # Safety
    /// As for [`super::Scheme::surrender`].
    pub(super) unsafe fn take_all(&mut self, free: &mut dyn FnMut(Record)) {
        // SAFETY: the caller's contract.
        unsafe {
            if let Some((_, mut list, _)) = self.waiting.take() {
                list.drain(&mut *free);
            }
            self.next.drain(free);
        }
    }
}
