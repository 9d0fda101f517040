//! What the cache says about itself.

use std::fmt;
use std::ops::Range;

use crate::cache::Cache;
use crate::film::Film;
use crate::memory::piece::Header;
use crate::retire::{Reclaim, Span};
use crate::storage::Storage;

/// Where the memory is: every buffer of a cache is in exactly one of these six states.
///
/// All figures are bytes as they count against the budget, hence with headers, padding and
/// the slack of size classes.
///
/// ```
/// use lookbehind::States;
///
/// let states = States { published: 48, limbo: 16, ..States::default() };
/// assert_eq!(states.total(), 64);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct States {
    /// Pieces that are still arriving, with the maps of what has arrived.
    pub assembling: u64,
    /// Pieces that readers can find, whether handles hold them or not.
    pub published: u64,
    /// Pieces that are unpublished, but that a live snapshot may still reach.
    pub limbo: u64,
    /// Pieces that are unpublished and beyond any snapshot, alive only through handles.
    pub held: u64,
    /// Free buffers kept for reuse.
    pub pooled: u64,
    /// Table nodes, live and in limbo, and other book-keeping.
    pub table: u64,
}

impl States {
    /// The sum of the six states in bytes; it stays at `u64::MAX` rather than overflow.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.assembling
            .saturating_add(self.published)
            .saturating_add(self.limbo)
            .saturating_add(self.held)
            .saturating_add(self.pooled)
            .saturating_add(self.table)
    }
}

impl fmt::Display for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "assembling {}, published {}, limbo {}, held {}, pooled {}, table {}",
            self.assembling, self.published, self.limbo, self.held, self.pooled, self.table
        )
    }
}

/// The cache at one moment. Bytes count headers and padding.
///
/// Counters are read one after another while others move on: each is right, and together they
/// are nearly of one moment. Looks through all tables for what handles pin: for dashboards, not
/// for hot paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The limit that was asked for last, in bytes.
    pub budget: u64,
    /// What is binding now: the limit, or what was resident when it was lowered and still is.
    pub effective_budget: u64,
    /// Bytes alive, in all six states.
    pub resident: u64,
    /// The most bytes that were ever alive at once.
    pub resident_peak: u64,
    /// `resident`, split by state.
    pub states: States,
    /// Bytes of pieces that are under at least one handle, published or held.
    pub pinned: u64,
    /// Lookups that found their piece. Those of a snapshot count when it ends.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Pieces published, ever.
    pub published: u64,
    /// Pieces unpublished, ever.
    pub evictions: u64,
    /// Pieces that a verifier refused, ever.
    pub verify_failures: u64,
    /// Storages now.
    pub storages: u32,
    /// Snapshots alive now, forgotten ones included.
    pub snapshots: u32,
    /// Waits for pieces now.
    pub waits: u64,
}

/// One storage at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StorageStats {
    /// The number of the current version.
    pub version: u64,
    /// Pieces present.
    pub present_pieces: u32,
    /// Bytes of memory that they take.
    pub present_bytes: u64,
    /// The runs of pieces present.
    pub runs: Vec<Range<u32>>,
    /// Pieces that are arriving.
    pub assembling_pieces: u32,
    /// Pieces evicted, ever.
    pub evictions: u64,
    /// Waits now.
    pub waits: u64,
    /// The windows of its players, lingering ones included.
    pub windows: Vec<WindowStats>,
}

/// A player's windows, as they are after all were fitted to half the budget.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WindowStats {
    /// The viewer's number.
    pub viewer: u64,
    /// The playhead, in bytes of the film.
    pub position: u64,
    /// The window ahead, in bytes of the film.
    pub ahead: Range<u64>,
    /// The window behind.
    pub behind: Range<u64>,
    /// The player is gone; the windows protect for a while, at a lower preference.
    pub lingering: bool,
}

impl<R: Reclaim> Cache<R> {
    /// What the cache says about itself.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = self.shared();
        let budget = &shared.memory.budget;
        // What handles have returned is not held by anyone.
        shared.memory.take_back_returned();
        let (hits, misses) = shared.lookups();
        let directory = shared.directory.load();
        let (mut evictions, mut pinned, mut storages, mut waits) = (0, 0, 0, 0);
        for film in directory.films() {
            evictions += film.evictions.get();
            storages += u32::from(!film.removed());
            waits += film.waits.count() as u64;
            pinned += film.pieces(|header| if header.pinned() { header.size() as u64 } else { 0 });
        }
        let (resident, limit) = (budget.resident(), budget.limit());
        let states = budget.states();
        Stats {
            budget: limit,
            effective_budget: limit.max(resident),
            resident,
            resident_peak: budget.peak(),
            states,
            pinned: pinned + states.held,
            hits,
            misses,
            published: shared.published.get(),
            evictions: evictions + shared.past_evictions.get(),
            verify_failures: shared.verify_failures.get(),
            storages,
            snapshots: shared.live_snapshots(),
            waits,
        }
    }
}

impl<R: Reclaim> Film<R> {
    /// Sums a figure over the pieces present.
    fn pieces(&self, figure: impl Fn(&Header) -> u64) -> u64 {
        // SAFETY: announced for all pieces while they are looked at.
        self.with_version(Span::ALL, |root| unsafe {
            root.iter()
                .flat_map(|leaf| leaf.pieces())
                .map(|(_, piece)| figure(piece.header()))
                .sum()
        })
    }
}

impl<R: Reclaim> Storage<R> {
    /// What the storage says about itself.
    #[must_use]
    pub fn stats(&self) -> StorageStats {
        let film = &self.film;
        let now = film.shared.clock.now();
        let playheads = film.protections.playheads.load();
        let windows = playheads.iter().filter(|p| !p.ended(now)).map(|p| WindowStats {
            viewer: p.viewer,
            position: p.position(),
            ahead: p.window_ahead(),
            behind: p.window_behind(),
            lingering: !p.active(),
        });
        let reader = self.reader();
        let snapshot = reader.snapshot();
        let runs: Vec<_> = snapshot.runs().collect();
        StorageStats {
            version: snapshot.version(),
            present_pieces: runs.iter().map(|run| run.end - run.start).sum(),
            present_bytes: film.pieces(|header| header.size() as u64),
            runs,
            assembling_pieces: u32::try_from(film.assemblies.count()).unwrap_or(u32::MAX),
            evictions: film.evictions.get(),
            waits: film.waits.count() as u64,
            windows: windows.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: States = States {
        assembling: 1,
        published: 20,
        limbo: 300,
        held: 4_000,
        pooled: 50_000,
        table: 600_000,
    };

    #[test]
    fn every_state_counts_once_in_the_total() {
        assert_eq!(EACH.total(), 654_321);
    }

    #[test]
    fn a_total_beyond_the_range_saturates() {
        let huge = States { held: u64::MAX, ..EACH };
        assert_eq!(huge.total(), u64::MAX);
    }

    #[test]
    fn all_six_figures_are_displayed_with_their_names() {
        assert_eq!(
            EACH.to_string(),
            "assembling 1, published 20, limbo 300, held 4000, pooled 50000, table 600000"
        );
    }
}
