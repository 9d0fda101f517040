//! S3-FIFO (Yang et al., SOSP 2023): a small queue that most things leave unused, a main one for
//! what was used, and the keys of what left the small one lately.

use ahash::AHashMap;

use super::Cache;
use super::queue::{Place, Queue};
use crate::players::Players;
use crate::trace::{Event, Key};

/// A piece is used this often at most, as far as is counted.
const MOST: u8 = 3;

#[derive(Clone, Copy)]
enum Where {
    Small(Place),
    Main(Place),
}

pub struct S3Fifo {
    capacity: usize,
    /// From this size on the small queue gives, below it the main one: a tenth.
    small_share: usize,
    /// How often each was used.
    small: Queue<u8>,
    main: Queue<u8>,
    resident: AHashMap<Key, Where>,
    ghosts: Queue<()>,
    ghost_places: AHashMap<Key, Place>,
}

impl S3Fifo {
    pub fn new(capacity: usize) -> S3Fifo {
        S3Fifo {
            capacity,
            small_share: (capacity / 10).max(1),
            small: Queue::new(),
            main: Queue::new(),
            resident: AHashMap::new(),
            ghosts: Queue::new(),
            ghost_places: AHashMap::new(),
        }
    }

    fn evict(&mut self, players: &Players) {
        let small_first = self.small.len() >= self.small_share || self.main.len() == 0;
        let done = (small_first && self.evict_small(players))
            || self.evict_main(players)
            || (!small_first && self.evict_small(players));
        if !done {
            // Everything is protected.
            if let Some(place) = self.small.oldest() {
                self.drop_small(place);
            } else if let Some(place) = self.main.oldest() {
                self.drop_main(place);
            }
        }
    }

    /// Moves on what was used more than once, evicts the first that was not.
    fn evict_small(&mut self, players: &Players) -> bool {
        let mut at = self.small.oldest();
        while let Some(place) = at {
            at = self.small.newer(place);
            if players.protect(self.small.key(place)) {
                continue;
            }
            if *self.small.value(place) <= 1 {
                self.drop_small(place);
                return true;
            }
            let (key, _) = self.small.remove(place);
            let place = self.main.push(key, 0);
            self.resident.insert(key, Where::Main(place));
            if self.main.len() > self.capacity - self.small_share && self.evict_main(players) {
                return true;
            }
        }
        false
    }

    /// Lets what was used go round again, evicts the first that was not.
    fn evict_main(&mut self, players: &Players) -> bool {
        // Each round lowers the counts: one more than the highest count is enough.
        for _ in 0..=MOST {
            let mut at = self.main.oldest();
            for _ in 0..self.main.len() {
                let Some(place) = at else { break };
                at = self.main.newer(place);
                let key = self.main.key(place);
                if players.protect(key) {
                    continue;
                }
                let used = self.main.value(place);
                if *used == 0 {
                    self.drop_main(place);
                    return true;
                }
                *used -= 1;
                let place = self.main.renew(place);
                self.resident.insert(key, Where::Main(place));
            }
        }
        false
    }

    fn drop_small(&mut self, place: Place) {
        let (key, _) = self.small.remove(place);
        self.resident.remove(&key);
        // As many ghosts as the main queue has places.
        let most = self.capacity - self.small_share;
        if self.ghosts.len() >= most.max(1)
            && let Some(oldest) = self.ghosts.oldest()
        {
            let (key, ()) = self.ghosts.remove(oldest);
            self.ghost_places.remove(&key);
        }
        let place = self.ghosts.push(key, ());
        self.ghost_places.insert(key, place);
    }

    fn drop_main(&mut self, place: Place) {
        let (key, _) = self.main.remove(place);
        self.resident.remove(&key);
    }
}

impl Cache for S3Fifo {
    fn access(&mut self, event: &Event, players: &Players) -> bool {
        let key = event.key();
        if let Some(at) = self.resident.get(&key) {
            let used = match at {
                Where::Small(place) => self.small.value(*place),
                Where::Main(place) => self.main.value(*place),
            };
            *used = (*used + u8::from(players.is_use(event))).min(MOST);
            return true;
        }
        if self.resident.len() >= self.capacity {
            self.evict(players);
        }
        let at = match self.ghost_places.remove(&key) {
            Some(ghost) => {
                self.ghosts.remove(ghost);
                Where::Main(self.main.push(key, 0))
            }
            None => Where::Small(self.small.push(key, 0)),
        };
        self.resident.insert(key, at);
        false
    }
}
