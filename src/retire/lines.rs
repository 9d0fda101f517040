//! Where readers announce their snapshots.
//!
//! A line is a handful of lanes; a [`Reader`](crate::Reader) owns a line, a snapshot takes a
//! lane of it. Lines live as long as the cache and are appended on need, so that the reclaimer
//! may walk them without protection; a reader that is gone leaves its line to the next one, and
//! a lane whose snapshot was forgotten stays out of use.
//!
//! That a pass which misses a fresh line also misses nothing that its snapshot could need is the
//! argument of the scheme: the append stands before the reader's fence, as the announcement does.

use super::Scheme;
use crate::grown::Grown;
use crate::sync::{AtomicBool, Counter, Ordering};

/// Lanes in a line: the snapshots of one reader that can live at once without another line.
pub(crate) const LANES: usize = if cfg!(loom) { 1 } else { 8 };

/// One snapshot's place, and the counts of what it was used for. The counts have one writer at
/// a time: the snapshot.
pub(crate) struct Lane<S: Scheme> {
    pub(crate) announcement: S::Announcement,
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
}

pub(crate) struct Line<S: Scheme> {
    lanes: [Lane<S>; LANES],
    owned: AtomicBool,
}

/// All lines of a cache.
pub(crate) struct Lines<S: Scheme>(Grown<Line<S>>);

impl<S: Scheme> Line<S> {
    fn new(scheme: &S) -> Self {
        let lane = |_| Lane {
            announcement: scheme.announcement(),
            hits: Counter::default(),
            misses: Counter::default(),
        };
        Self { lanes: std::array::from_fn(lane), owned: AtomicBool::new(true) }
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
        Self(Grown::new())
    }

    pub(crate) fn lanes(&self) -> impl Iterator<Item = &Lane<S>> {
        self.0.iter().flat_map(|line| &line.lanes)
    }

    /// A line for the caller alone, with at least one idle lane, until it disowns it.
    /// Lock-free: a step is repeated only because another thread got a line.
    pub(crate) fn claim(&self, scheme: &S) -> &Line<S> {
        for line in self.0.iter() {
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
        self.0.append(Line::new(scheme))
    }
}
