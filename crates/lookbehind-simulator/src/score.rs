//! How well a policy did.

use serde::Serialize;

/// What a replay counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Score {
    /// Events that needed a piece.
    pub accesses: u64,
    /// Those that did not find it.
    pub misses: u64,
    /// Misses of a piece that had been fetched before.
    pub refetches: u64,
    /// Refetches that somebody waited for: at a seek, a play or a probe.
    pub stalls: u64,
    /// What was fetched again.
    pub refetched_bytes: u64,
}

impl Score {
    /// Counts a miss; `again` if the piece was fetched before.
    pub(crate) fn miss(&mut self, again: bool, waited_for: bool, bytes: u64) {
        self.misses += 1;
        if again {
            self.refetches += 1;
            self.stalls += u64::from(waited_for);
            self.refetched_bytes = self.refetched_bytes.saturating_add(bytes);
        }
    }
}
