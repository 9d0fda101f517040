//! Next use: what the nearest playhead behind a piece reaches last goes.
//!
//! First goes what no playhead will come by, the least recently used of it; then the piece that is
//! furthest ahead, in seconds, of the playhead that reaches it first. What lies at most
//! [`KEPT`] seconds behind a playhead stays, for short steps back.

use std::collections::BTreeSet;

use ahash::AHashMap;

use super::Cache;
use crate::players::Players;
use crate::trace::{Event, Key, Storage};

/// So much is kept behind a playhead, in seconds.
const KEPT: f64 = 15.0;

pub struct NextUse {
    capacity: usize,
    films: Vec<Film>,
    /// When each was used last, by a count of accesses.
    used: AHashMap<Key, u64>,
    count: u64,
    /// What no playhead will come by, by when it was used.
    passed: BTreeSet<(u64, Key)>,
}

struct Film {
    seconds: f64,
    /// How many pieces are kept behind a playhead.
    kept: u32,
    resident: BTreeSet<u32>,
    /// Below this every playhead has passed, and the resident pieces are in `passed`.
    bound: u32,
}

impl NextUse {
    pub fn new(capacity: usize, storages: &[Storage]) -> NextUse {
        let films = storages.iter().map(|storage| Film {
            seconds: storage.piece_seconds,
            kept: (KEPT / storage.piece_seconds) as u32,
            resident: BTreeSet::new(),
            bound: u32::MAX,
        });
        NextUse {
            capacity,
            films: films.collect(),
            used: AHashMap::new(),
            count: 0,
            passed: BTreeSet::new(),
        }
    }

    /// Sorts anew what lies between where the last playhead was and where it is.
    fn shift(&mut self, storage: u32, players: &Players) {
        let film = &mut self.films[storage as usize];
        let last = players.positions(storage).next();
        let bound = last.map_or(u32::MAX, |last| last.saturating_sub(film.kept));
        let (low, high) = (bound.min(film.bound), bound.max(film.bound));
        for piece in film.resident.range(low..high) {
            let key = Key { storage, piece: *piece };
            let entry = (self.used[&key], key);
            if bound > film.bound {
                self.passed.insert(entry);
            } else {
                self.passed.remove(&entry);
            }
        }
        film.bound = bound;
    }

    /// The piece that a playhead reaches last, with or without those in windows and those kept
    /// behind playheads.
    fn furthest(&self, players: &Players, spare_windows: bool, spare_kept: bool) -> Option<Key> {
        let mut found: Option<(f64, Key)> = None;
        for storage in players.watched() {
            let film = &self.films[storage as usize];
            let window = if spare_windows { players.window(storage) } else { 0 };
            let kept = if spare_kept { film.kept } else { 0 };
            // From one playhead to the next, the last piece is the furthest.
            let mut end = u32::MAX;
            for position in players.positions(storage).rev() {
                let first = position.saturating_add(window).saturating_add(1);
                let piece = (first < end).then(|| film.resident.range(first..end).next_back());
                if let Some(piece) = piece.flatten() {
                    let ahead = f64::from(piece - position) * film.seconds;
                    if found.is_none_or(|(most, _)| ahead > most) {
                        found = Some((ahead, Key { storage, piece: *piece }));
                    }
                }
                end = position.saturating_sub(kept);
            }
        }
        found.map(|(_, key)| key)
    }

    /// Of what lies just behind the last playheads, the least recently used.
    fn just_passed(&self, players: &Players) -> Option<Key> {
        let last = |storage: u32| {
            let film = &self.films[storage as usize];
            let position = players.positions(storage).next()?;
            let piece = *film.resident.range(film.bound.min(position)..position).next()?;
            Some(Key { storage, piece })
        };
        players.watched().filter_map(last).min_by_key(|key| self.used[key])
    }

    fn evict(&mut self, players: &Players) {
        let passed = self.passed.first().map(|(_, key)| *key);
        let victim = passed
            .or_else(|| self.furthest(players, true, true))
            .or_else(|| self.just_passed(players))
            .or_else(|| self.furthest(players, true, false))
            .or_else(|| self.furthest(players, false, false));
        // What is left are pieces at playheads.
        let Some(key) = victim.or_else(|| self.used.iter().min_by_key(|e| e.1).map(|e| *e.0))
        else {
            return;
        };
        self.films[key.storage as usize].resident.remove(&key.piece);
        if let Some(used) = self.used.remove(&key) {
            self.passed.remove(&(used, key));
        }
    }
}

impl Cache for NextUse {
    fn tell(&mut self, event: &Event, players: &Players) {
        // A viewer may have come from another film; that happens at an open at most, and its old
        // film is sorted anew when somebody does something there.
        self.shift(event.storage, players);
    }

    fn access(&mut self, event: &Event, players: &Players) -> bool {
        let key = event.key();
        self.count += 1;
        let before = self.used.get(&key).copied();
        match before {
            Some(used) => {
                self.passed.remove(&(used, key));
            }
            None => {
                if self.used.len() >= self.capacity {
                    self.evict(players);
                }
                self.films[key.storage as usize].resident.insert(key.piece);
            }
        }
        self.used.insert(key, self.count);
        if key.piece < self.films[key.storage as usize].bound {
            self.passed.insert((self.count, key));
        }
        before.is_some()
    }
}
