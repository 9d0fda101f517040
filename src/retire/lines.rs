//! Where readers announce their snapshots.
//!
//! A line is a handful of lanes; a [`Reader`](crate::Reader) owns a line, a snapshot takes a
//! lane of it. Lines live as long as the cache and are appended on need, so that the reclaimer
//! may walk them without protection; a reader that is gone leaves its line to the next one, and
//! a lane whose snapshot was forgotten stays out of use.
//!
//! A call that looks into a table without a reader, as every writer does, claims a line of one lane
//! for that long. These are on lists of their own, so that no reader stands between them, and each
//! thread has its list, which it shares with few: no other thread's call takes its line out of the
//! nearest cache. There are as many as such calls at once.
//!
//! That a pass which misses a fresh line also misses nothing that its snapshot could need is the
//! argument of the scheme: the append stands before the reader's fence, as the announcement does.

use super::Scheme;
use crate::grown::Grown;
use crate::sync::{AtomicBool, Counter, Ordering, thread_number};

/// Lanes in a line: the snapshots of one reader that can live at once without another line.
pub(crate) const LANES: usize = if cfg!(loom) { 1 } else { 8 };

/// Lists of lines for calls: under the model checkers one, so that calls meet.
const CALLS: usize = if cfg!(any(loom, shuttle)) { 1 } else { 16 };

/// One snapshot's place, and the counts of what it was used for. The counts have one writer at
/// a time: the snapshot.
pub(crate) struct Lane<S: Scheme> {
    pub(crate) announcement: S::Announcement,
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
}

pub(crate) struct Line<S: Scheme, const N: usize = LANES> {
    lanes: [Lane<S>; N],
    owned: AtomicBool,
}

/// All lines of a cache.
pub(crate) struct Lines<S: Scheme> {
    readers: Grown<Line<S>>,
    calls: [Grown<Line<S, 1>>; CALLS],
    /// Lines that readers have left behind. A hint, so that a new reader need not look at all
    /// lines in vain.
    left: Counter,
}

impl<S: Scheme, const N: usize> Line<S, N> {
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

    /// Whether the line is the caller's now, until it disowns it.
    fn claim(&self) -> bool {
        if self.owned.load(Ordering::Relaxed) {
            return false;
        }
        // Acquire: pairs with the Release in `disown`.
        self.owned.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Gives the line to whoever wants one next.
    fn disown(&self) {
        // Release: pairs with the Acquire in `claim`.
        self.owned.store(false, Ordering::Release);
    }
}

impl<S: Scheme> Lines<S> {
    pub(crate) fn new() -> Self {
        let calls = std::array::from_fn(|_| Grown::new());
        Self { readers: Grown::new(), calls, left: Counter::default() }
    }

    pub(crate) fn lanes(&self) -> impl Iterator<Item = &Lane<S>> {
        let readers = self.readers.iter().flat_map(|line| &line.lanes);
        readers.chain(self.calls.iter().flat_map(Grown::iter).flat_map(|line| &line.lanes))
    }

    /// A line for a reader, with at least one idle lane. Lock-free: who claims a line first has it, and
    /// the others look further.
    pub(crate) fn claim(&self, scheme: &S) -> &Line<S> {
        if self.left.get() > 0
            && let Some(line) = self.readers.iter().find(|line| line.claim())
        {
            self.left.sub(1);
            return line;
        }
        self.readers.append(Line::new(scheme))
    }

    /// Takes the line of a reader that is gone. Where every lane holds a forgotten snapshot, the
    /// line stays out of use.
    pub(crate) fn leave(&self, line: &Line<S>) {
        if line.idle_lane().is_some() {
            line.disown();
            self.left.add(1);
        }
    }

    /// Runs `f` with a lane of its own. Lock-free, as `claim`.
    pub(crate) fn with_lane<T>(&self, scheme: &S, f: impl FnOnce(&Lane<S>) -> T) -> T {
        let calls = &self.calls[thread_number() % CALLS];
        let claimed = calls.iter().find(|line| line.claim());
        let line = claimed.unwrap_or_else(|| calls.append(Line::new(scheme)));
        // The lane is idle again whenever the line is disowned.
        let lane = line.idle_lane().unwrap_or_else(|| unreachable!("claimed without a lane"));
        let result = f(lane);
        line.disown();
        result
    }
}
