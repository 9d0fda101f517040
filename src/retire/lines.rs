//! Where readers announce their snapshots.
//!
//! A line is a handful of lanes; a [`Reader`](crate::Reader) owns a line, a snapshot takes a
//! lane of it. Lines live as long as the cache and are appended on need, so that the reclaimer
//! may walk them without protection; a reader that is gone leaves its line to the next one, and
//! a lane whose snapshot was forgotten stays out of use.
//!
//! Orderings: a line is appended with Release and walked with Acquire. That a pass which misses
//! a fresh line also misses nothing that its snapshot could need is the argument of the scheme:
//! the append stands before the reader's fence, as the announcement does.

use super::Scheme;
use crate::sync::{AtomicBool, AtomicPtr, Counter, Ordering};

/// Lanes in a line: the snapshots of one reader that can live at once without another line.
pub(crate) const LANES: usize = if cfg!(loom) { 1 } else { 8 };

/// One snapshot's place, and the counts of what it was used for. The counts have one writer at
/// a time: the snapshot.
pub(crate) struct Lane<S: Scheme> {
    pub(crate) announcement: S::Announcement,
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
}

#[repr(align(128))]
pub(crate) struct Line<S: Scheme> {
    lanes: [Lane<S>; LANES],
    owned: AtomicBool,
    next: *mut Line<S>,
}

/// All lines of a cache.
pub(crate) struct Lines<S: Scheme> {
    head: AtomicPtr<Line<S>>,
}

// SAFETY: `next` is written before the line is shared, and never again; all else is Sync.
unsafe impl<S: Scheme> Sync for Line<S> {}
// SAFETY: the raw pointer is to a line, which may be freed on any thread.
unsafe impl<S: Scheme> Send for Line<S> {}

impl<S: Scheme> Line<S> {
    fn new(scheme: &S) -> Self {
        let lane = |_| Lane {
            announcement: scheme.announcement(),
            hits: Counter::default(),
            misses: Counter::default(),
        };
        Self {
            lanes: std::array::from_fn(lane),
            owned: AtomicBool::new(true),
            next: std::ptr::null_mut(),
        }
    }

    /// A lane that announces nothing. The line must be the caller's.
    #[inline]
    pub(crate) fn idle_lane(&self) -> Option<&Lane<S>> {
        self.lanes.iter().find(|lane| S::is_idle(&lane.announcement))
    }

    /// Gives the line to whoever wants one next.
    pub(crate) fn disown(&self) {
        // Release: pairs with the Acquire in `claim`.
        self.owned.store(false, Ordering::Release);
    }
}

impl<S: Scheme> Lines<S> {
    pub(crate) fn new() -> Self {
        Self { head: AtomicPtr::new(std::ptr::null_mut()) }
    }

    fn iter(&self) -> impl Iterator<Item = &Line<S>> {
        // Acquire: pairs with the Release in `claim` that appended the line.
        let mut next = self.head.load(Ordering::Acquire);
        std::iter::from_fn(move || {
            // SAFETY: lines are freed only with the whole list, which is borrowed.
            let line = unsafe { next.as_ref() }?;
            next = line.next;
            Some(line)
        })
    }

    pub(crate) fn lanes(&self) -> impl Iterator<Item = &Lane<S>> {
        self.iter().flat_map(|line| &line.lanes)
    }

    /// A line for the caller alone, with at least one idle lane, until it disowns it.
    /// Lock-free: a step is repeated only because another thread got a line.
    pub(crate) fn claim(&self, scheme: &S) -> &Line<S> {
        for line in self.iter() {
            if line.owned.load(Ordering::Relaxed) {
                continue;
            }
            // Acquire: pairs with the Release in `disown`.
            let claimed =
                line.owned.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
            // Where every lane holds a forgotten snapshot, the claimed line stays out of use.
            if claimed.is_ok() && line.idle_lane().is_some() {
                return line;
            }
        }
        let line = Box::into_raw(Box::new(Line::new(scheme)));
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // SAFETY: not shared yet.
            unsafe { (*line).next = head };
            let pushed =
                self.head.compare_exchange_weak(head, line, Ordering::Release, Ordering::Relaxed);
            match pushed {
                // SAFETY: freed only with the whole list, which is borrowed.
                Ok(_) => return unsafe { &*line },
                Err(now) => head = now,
            }
        }
    }
}

impl<S: Scheme> Drop for Lines<S> {
    fn drop(&mut self) {
        let mut next = self.head.load(Ordering::Relaxed);
        while !next.is_null() {
            // SAFETY: made by `Box::into_raw` in `claim`; nobody borrows the list any more.
            let line = unsafe { Box::from_raw(next) };
            next = line.next;
        }
    }
}
