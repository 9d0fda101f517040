//! OPT (Belady, 1966) with bypass: what is needed again last goes, or is not even stored.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Cache;
use crate::players::Players;
use crate::trace::Event;

/// In a list of next uses: there is none.
pub const NEVER: u32 = u32::MAX;

/// Pieces are known by the number of the access that will need them next, which belongs to one
/// piece alone; what is never needed again is never stored.
pub struct Opt {
    capacity: usize,
    /// Of millions of accesses: not copied.
    next: Arc<Vec<u32>>,
    /// The number of the access that comes.
    now: u32,
    resident: BTreeSet<u32>,
}

impl Opt {
    pub fn new(next: Arc<Vec<u32>>, capacity: usize) -> Opt {
        Opt { capacity, next, now: 0, resident: BTreeSet::new() }
    }
}

impl Cache for Opt {
    fn access(&mut self, _: &Event, _: &Players) -> bool {
        let hit = self.resident.remove(&self.now);
        let next = self.next.get(self.now as usize).copied().unwrap_or(NEVER);
        self.now += 1;
        if next == NEVER {
            return hit;
        }
        if self.resident.len() < self.capacity {
            self.resident.insert(next);
        } else if self.resident.last().is_some_and(|last| *last > next) {
            self.resident.pop_last();
            self.resident.insert(next);
        }
        hit
    }
}
