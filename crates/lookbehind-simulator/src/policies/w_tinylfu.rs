//! W-TinyLFU (Einziger, Friedman and Manes, 2017): what leaves a small window of the newest gets
//! into the main part if it was used more often than what would have to go from there.
//!
//! The window is a hundredth, as in the paper; it does not adapt. The main part is a segmented
//! LRU, four fifths of it for what was used there.

use std::cmp::Ordering;

use ahash::AHashMap;

use super::Cache;
use super::queue::{Place, Queue};
use super::sketch::Sketch;
use crate::players::Players;
use crate::trace::{Event, Key};

const WINDOW: usize = 0;
const PROBATION: usize = 1;
const USED: usize = 2;

pub struct WTinyLfu {
    capacity: usize,
    window_share: usize,
    used_share: usize,
    sketch: Sketch,
    /// The window; the main part's new ones; those of it that were used.
    parts: [Queue<()>; 3],
    places: AHashMap<Key, (usize, Place)>,
}

impl WTinyLfu {
    pub fn new(capacity: usize) -> WTinyLfu {
        let window_share = (capacity / 100).max(1);
        WTinyLfu {
            capacity,
            window_share,
            used_share: (capacity - window_share) * 4 / 5,
            sketch: Sketch::new(capacity),
            parts: std::array::from_fn(|_| Queue::new()),
            places: AHashMap::new(),
        }
    }

    fn put(&mut self, key: Key, part: usize) {
        let place = self.parts[part].push(key, ());
        self.places.insert(key, (part, place));
    }

    fn use_again(&mut self, key: Key, part: usize, place: Place) {
        if part != PROBATION {
            let place = self.parts[part].renew(place);
            self.places.insert(key, (part, place));
            return;
        }
        self.parts[part].remove(place);
        self.put(key, USED);
        if self.parts[USED].len() > self.used_share
            && let Some(oldest) = self.parts[USED].oldest()
        {
            let (key, ()) = self.parts[USED].remove(oldest);
            self.put(key, PROBATION);
        }
    }

    /// What has to leave the window goes on, while the main part has room.
    fn fill(&mut self) {
        while self.parts[WINDOW].len() > self.window_share
            && self.places.len() < self.capacity
            && let Some(oldest) = self.parts[WINDOW].oldest()
        {
            let (key, ()) = self.parts[WINDOW].remove(oldest);
            self.put(key, PROBATION);
        }
    }

    fn evict(&mut self, players: &Players) {
        let free =
            |part: usize| Some((part, self.parts[part].oldest_that(|key| !players.protect(key))?));
        let any = |part: usize| Some((part, self.parts[part].oldest()?));
        let candidate =
            if self.parts[WINDOW].len() >= self.window_share { free(WINDOW) } else { None };
        let victim = free(PROBATION).or_else(|| free(USED));
        let (loser, winner) = match (candidate, victim) {
            (Some(candidate), Some(victim)) => {
                let often = |(part, place): (usize, Place)| {
                    self.sketch.estimate(self.parts[part].key(place))
                };
                match often(candidate).cmp(&often(victim)) {
                    Ordering::Greater => (victim, Some(candidate)),
                    _ => (candidate, None),
                }
            }
            (Some(one), None) | (None, Some(one)) => (one, None),
            (None, None) => {
                let all = || [WINDOW, PROBATION, USED].into_iter();
                let Some(one) = all().find_map(free).or_else(|| all().find_map(any)) else {
                    return;
                };
                (one, None)
            }
        };
        let (key, ()) = self.parts[loser.0].remove(loser.1);
        self.places.remove(&key);
        if let Some((part, place)) = winner {
            let (key, ()) = self.parts[part].remove(place);
            self.put(key, PROBATION);
        }
    }
}

impl Cache for WTinyLfu {
    fn access(&mut self, event: &Event, players: &Players) -> bool {
        let key = event.key();
        let is_use = players.is_use(event);
        if is_use {
            self.sketch.add(key);
        }
        if let Some((part, place)) = self.places.get(&key).copied() {
            if is_use {
                self.use_again(key, part, place);
            }
            return true;
        }
        if self.places.len() >= self.capacity {
            self.evict(players);
        }
        self.put(key, WINDOW);
        self.fill();
        false
    }
}
