//! CLOCK (Corbató, 1968): FIFO in a ring whose hand passes over what was used since it last came
//! by.

use ahash::AHashMap;

use super::Cache;
use crate::players::Players;
use crate::trace::{Event, Key};

pub struct Clock {
    capacity: usize,
    /// Pieces, and whether each was used since the hand came by.
    ring: Vec<(Key, bool)>,
    hand: usize,
    places: AHashMap<Key, usize>,
}

impl Clock {
    pub fn new(capacity: usize) -> Clock {
        Clock { capacity, ring: Vec::new(), hand: 0, places: AHashMap::new() }
    }

    /// Turns the hand to the victim. After two rounds everything is protected.
    fn turn(&mut self, players: &Players) {
        for _ in 0..2 * self.ring.len() {
            let (key, used) = &mut self.ring[self.hand];
            if !players.protect(*key) && !std::mem::take(used) {
                return;
            }
            self.hand = (self.hand + 1) % self.capacity;
        }
    }
}

impl Cache for Clock {
    fn access(&mut self, event: &Event, players: &Players) -> bool {
        let key = event.key();
        if let Some(place) = self.places.get(&key) {
            self.ring[*place].1 |= players.is_use(event);
            return true;
        }
        if self.ring.len() < self.capacity {
            self.places.insert(key, self.ring.len());
            self.ring.push((key, false));
            return false;
        }
        self.turn(players);
        self.places.remove(&self.ring[self.hand].0);
        self.ring[self.hand] = (key, false);
        self.places.insert(key, self.hand);
        self.hand = (self.hand + 1) % self.capacity;
        false
    }
}
