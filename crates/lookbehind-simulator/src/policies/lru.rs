//! LRU: what was used least recently goes; on wish, heads and tails go last.

use ahash::AHashMap;

use super::Cache;
use super::queue::{Place, Queue};
use crate::players::Players;
use crate::trace::{Event, Key, Storage};

pub struct Lru {
    capacity: usize,
    /// The last piece of each storage, if first and last ones are reserved.
    tails: Option<Vec<u32>>,
    /// What is not reserved, and what is.
    queues: [Queue<()>; 2],
    places: AHashMap<Key, Place>,
}

impl Lru {
    pub fn new(capacity: usize) -> Lru {
        let queues = [Queue::new(), Queue::new()];
        Lru { capacity, tails: None, queues, places: AHashMap::new() }
    }

    /// Evicts the first and the last piece of a storage only if nothing else is left.
    pub fn reserving(capacity: usize, storages: &[Storage]) -> Lru {
        let tails = storages.iter().map(|storage| storage.pieces - 1).collect();
        Lru { tails: Some(tails), ..Lru::new(capacity) }
    }

    fn is_reserved(&self, key: Key) -> bool {
        self.tails
            .as_ref()
            .is_some_and(|tails| key.piece == 0 || key.piece == tails[key.storage as usize])
    }

    fn evict(&mut self, players: &Players) {
        let free = |queue: &Queue<()>| queue.oldest_that(|key| !players.protect(key));
        let any = |queue: &Queue<()>| queue.oldest();
        let find = |find: &dyn Fn(&Queue<()>) -> Option<Place>| {
            self.queues.iter().enumerate().find_map(|(i, queue)| Some((i, find(queue)?)))
        };
        if let Some((queue, place)) = find(&free).or_else(|| find(&any)) {
            let (key, ()) = self.queues[queue].remove(place);
            self.places.remove(&key);
        }
    }
}

impl Cache for Lru {
    fn access(&mut self, event: &Event, players: &Players) -> bool {
        let key = event.key();
        let queue = usize::from(self.is_reserved(key));
        if let Some(place) = self.places.get_mut(&key) {
            *place = self.queues[queue].renew(*place);
            return true;
        }
        if self.places.len() >= self.capacity {
            self.evict(players);
        }
        let place = self.queues[queue].push(key, ());
        self.places.insert(key, place);
        false
    }
}
