//! Hit density: the library's own policy, on a cache that is no more than a list of pieces.
//!
//! As in the library an eviction looks at a sample and at the runners-up of the last one.

use std::collections::BTreeMap;

use ahash::AHashMap;
use lookbehind::{Action, Candidate, Policy, Scene, StorageId, Term, Watcher};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::Cache;
use crate::films::{Films, Move};
use crate::measure::Measure;
use crate::players::Players;
use crate::trace::{Event, Key};

/// Candidates of an eviction, and runners-up of the last one, as in the library.
const SAMPLE: usize = 48;
const SAMPLE_FOR_FEW: usize = 128;
const FEW: std::ops::RangeInclusive<usize> = 1..=8;
const RUNNERS_UP: usize = 16;

pub struct Density {
    policy: lookbehind::Density,
    films: Films,
    capacity: usize,
    resident: Vec<Key>,
    places: AHashMap<Key, usize>,
    /// Open players, by film and viewer, in an order that is always the same; and how many.
    watchers: Vec<BTreeMap<u64, Watcher>>,
    open: usize,
    runners_up: Vec<Key>,
    rng: SmallRng,
}

impl Density {
    /// An empty cache, whose policy may do without one of its terms.
    pub fn new(capacity: usize, trace: &Measure, seed: u64, without: Option<Term>) -> Density {
        let policy = lookbehind::Density::new();
        Density {
            policy: without.into_iter().fold(policy, lookbehind::Density::without),
            films: Films::new(trace),
            capacity,
            resident: Vec::new(),
            places: AHashMap::new(),
            watchers: vec![BTreeMap::new(); trace.storages.len()],
            open: 0,
            runners_up: Vec::new(),
            rng: SmallRng::seed_from_u64(seed),
        }
    }

    fn evict(&mut self) {
        let count = if FEW.contains(&self.open) { SAMPLE_FOR_FEW } else { SAMPLE };
        let mut sample: Vec<Key> = if self.resident.len() <= count {
            self.resident.clone()
        } else {
            let draw = |_| self.resident[self.rng.random_range(0..self.resident.len())];
            (0..count).map(draw).collect()
        };
        sample.extend(self.runners_up.drain(..).filter(|key| self.places.contains_key(key)));
        sample.sort_unstable();
        sample.dedup();
        let mut ranked = Vec::with_capacity(sample.len());
        let mut worths = Vec::new();
        for film in sample.chunk_by(|a, b| a.storage == b.storage) {
            worths.clear();
            self.rank(film, &mut worths);
            ranked.extend(worths.iter().copied().zip(film.iter().copied()));
        }
        ranked.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        self.runners_up.extend(ranked.iter().skip(1).take(RUNNERS_UP).map(|(_, key)| *key));
        if let Some(&(_, victim)) = ranked.first() {
            self.remove(victim);
        }
    }

    fn rank(&self, pieces: &[Key], worths: &mut Vec<f64>) {
        let Some(&Key { storage, .. }) = pieces.first() else { return };
        let films = &self.films;
        let len = films.piece_len(storage);
        let watchers: Vec<_> = self.watchers[storage as usize].values().cloned().collect();
        let film = films.bytes(storage);
        let first = film.start;
        let (id, rate) = (id(storage), films.bitrate(storage));
        let scene = Scene::new(id, films.now(), film, len, rate, &watchers);
        let scene = if films.is_live(storage) { scene.live() } else { scene };
        let candidate = |key: &Key| {
            let start = u64::from(key.piece).saturating_mul(len);
            Candidate::new(id, key.piece, start..start.saturating_add(len))
        };
        let candidates: Vec<_> = pieces.iter().map(candidate).collect();
        self.policy.rank(&scene, &candidates, worths);
        // What fell out of a live film's window goes first.
        for (worth, candidate) in worths.iter_mut().zip(&candidates) {
            if candidate.bytes.start < first {
                *worth = f64::MIN;
            }
        }
    }

    fn remove(&mut self, key: Key) {
        if let Some(place) = self.places.remove(&key) {
            self.resident.swap_remove(place);
            if let Some(moved) = self.resident.get(place) {
                self.places.insert(*moved, place);
            }
        }
    }

    fn follow(&mut self, step: &Move) {
        let watchers = &mut self.watchers[step.storage as usize];
        let now = self.films.now();
        match step.action {
            Action::Close => {
                self.open -= usize::from(watchers.remove(&step.viewer).is_some());
            }
            Action::Open => {
                let watcher = Watcher::new(step.position, step.ahead, now);
                self.open += usize::from(watchers.insert(step.viewer, watcher).is_none());
            }
            action => {
                if let Some(watcher) = watchers.get_mut(&step.viewer) {
                    watcher.moved = now;
                    match action {
                        Action::Pause => watcher.playing = false,
                        Action::Resume => watcher.playing = true,
                        _ => watcher.position = step.position,
                    }
                }
            }
        }
    }
}

fn id(storage: u32) -> StorageId {
    StorageId { index: storage, generation: 0 }
}

impl Cache for Density {
    fn tell(&mut self, event: &Event, players: &Players) {
        for step in self.films.heed(event, players) {
            self.follow(&step);
            self.policy.notice(&self.films.event(&step, id(step.storage)));
        }
    }

    fn access(&mut self, event: &Event, _: &Players) -> bool {
        let key = event.key();
        let hit = self.places.contains_key(&key);
        if !hit && self.capacity > 0 {
            if self.resident.len() >= self.capacity {
                self.evict();
            }
            self.places.insert(key, self.resident.len());
            self.resident.push(key);
        }
        // What was needed at the playhead has been read.
        if event.kind.is_position() {
            let pieces = u64::from(event.piece) + 1;
            let position = pieces.saturating_mul(self.films.piece_len(event.storage));
            if let Some(watcher) = self.watchers[event.storage as usize].get_mut(&event.viewer) {
                watcher.position = position;
                watcher.moved = self.films.now();
            }
        }
        hit
    }
}
