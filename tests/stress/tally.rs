//! What was done, by kind. Relaxed: a count orders nothing, least of all for TSan.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Insert,
    Blocks,
    Fetch,
    Peek,
    Snapshot,
    Hold,
    Play,
    Wait,
    Evict,
    Resize,
    Renew,
    Abort,
}

const NAMES: [&str; 12] = [
    "insert", "blocks", "fetch", "peek", "snapshot", "hold", "play", "wait", "evict", "resize",
    "renew", "abort",
];

#[derive(Default)]
pub struct Tally {
    kinds: [AtomicU64; NAMES.len()],
    /// Pieces and parts of pieces whose bytes were compared.
    pub compared: AtomicU64,
    /// Those that were wrong.
    pub wrong: AtomicU64,
    /// Most bytes that were ever alive above what was binding.
    pub over: AtomicU64,
}

impl Tally {
    pub fn count(&self, kind: Kind) {
        self.kinds[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn total(&self) -> u64 {
        self.kinds.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Whether something of each kind was not done at all.
    pub fn idle(&self) -> bool {
        self.kinds.iter().any(|count| count.load(Ordering::Relaxed) == 0)
    }

    pub fn compare(&self, right: bool) {
        self.compared.fetch_add(1, Ordering::Relaxed);
        self.wrong.fetch_add(u64::from(!right), Ordering::Relaxed);
    }

    pub fn resident(&self, bytes: u64, binding: u64) {
        self.over.fetch_max(bytes.saturating_sub(binding), Ordering::Relaxed);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in NAMES.iter().zip(&self.kinds) {
            write!(f, "{name} {}, ", count.load(Ordering::Relaxed))?;
        }
        let [compared, wrong, over] =
            [&self.compared, &self.wrong, &self.over].map(|count| count.load(Ordering::Relaxed));
        write!(f, "compared {compared}, wrong {wrong}, over budget {over}")
    }
}
