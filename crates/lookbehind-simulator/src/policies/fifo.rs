//! FIFO: what came first goes first.

use ahash::AHashSet;

use super::Cache;
use super::queue::Queue;
use crate::players::Players;
use crate::trace::{Event, Key};

pub struct Fifo {
    capacity: usize,
    queue: Queue<()>,
    resident: AHashSet<Key>,
}

impl Fifo {
    pub fn new(capacity: usize) -> Fifo {
        Fifo { capacity, queue: Queue::new(), resident: AHashSet::new() }
    }
}

impl Cache for Fifo {
    fn access(&mut self, event: &Event, players: &Players) -> bool {
        let key = event.key();
        if self.resident.contains(&key) {
            return true;
        }
        if self.queue.len() >= self.capacity
            && let Some(victim) =
                self.queue.oldest_that(|key| !players.protect(key)).or(self.queue.oldest())
        {
            let (key, ()) = self.queue.remove(victim);
            self.resident.remove(&key);
        }
        self.queue.push(key, ());
        self.resident.insert(key);
        false
    }
}
