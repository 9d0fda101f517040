//! SIEVE (Zhang et al., NSDI 2024): a hand goes from the oldest to the newest, clears the marks of
//! what was used and evicts the first that was not; what it passes stays where it is.

use ahash::AHashMap;

use super::Cache;
use super::queue::{Place, Queue};
use crate::players::Players;
use crate::trace::{Event, Key};

pub struct Sieve {
    capacity: usize,
    /// Whether each was used since the hand came by.
    queue: Queue<bool>,
    hand: Option<Place>,
    places: AHashMap<Key, Place>,
}

impl Sieve {
    pub fn new(capacity: usize) -> Sieve {
        Sieve { capacity, queue: Queue::new(), hand: None, places: AHashMap::new() }
    }

    fn evict(&mut self, players: &Players) {
        let Some(mut hand) = self.hand.or(self.queue.oldest()) else { return };
        // After two rounds everything is protected: then what the hand points at.
        for _ in 0..2 * self.queue.len() {
            let key = self.queue.key(hand);
            if !players.protect(key) && !std::mem::take(self.queue.value(hand)) {
                break;
            }
            hand = self.queue.newer(hand).or(self.queue.oldest()).unwrap_or(hand);
        }
        self.hand = self.queue.newer(hand);
        let (key, _) = self.queue.remove(hand);
        self.places.remove(&key);
    }
}

impl Cache for Sieve {
    fn access(&mut self, event: &Event, players: &Players) -> bool {
        let key = event.key();
        if let Some(place) = self.places.get(&key) {
            *self.queue.value(*place) |= players.is_use(event);
            return true;
        }
        if self.queue.len() >= self.capacity {
            self.evict(players);
        }
        let place = self.queue.push(key, false);
        self.places.insert(key, place);
        false
    }
}
