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
const SAMPLE: usize = 40;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use lookbehind::{Layout, PlayerConfig};

    use super::*;
    use crate::trace::{Kind, Storage};

    /// So many pieces of a film, and viewers who are all at its start.
    fn watched(viewers: u64, pieces: u32) -> Density {
        let storage =
            Storage { id: 0, pieces, piece_bytes: 1000, piece_seconds: 1.0, live_window: 0.0 };
        let trace = Measure { storages: vec![storage], windows: vec![0], ..Measure::default() };
        let (mut density, players) =
            (Density::new(usize::MAX, &trace, 1, None), Players::new(&trace));
        let mut event = |viewer, kind, piece| {
            let event = Event { time: 0.0, viewer, storage: 0, kind, piece };
            density.tell(&event, &players);
            if kind.touches() {
                density.access(&event, &players);
            }
        };
        (0..viewers).for_each(|viewer| event(viewer, Kind::Open, 0));
        (0..pieces).for_each(|piece| event(0, Kind::Probe, piece));
        density
    }

    fn worth(density: &Density, key: Key) -> f64 {
        let mut worths = Vec::new();
        density.rank(&[key], &mut worths);
        worths[0]
    }

    fn worst(density: &Density, keys: &[Key]) -> Option<Key> {
        let order =
            |a: &Key, b: &Key| worth(density, *a).total_cmp(&worth(density, *b)).then(a.cmp(b));
        keys.iter().copied().min_by(order)
    }

    #[test]
    fn an_eviction_finds_the_worst_of_more_pieces_where_a_few_watch() {
        for viewers in [0, 1, 8, 9] {
            let always_found = |pieces: usize| {
                let mut density = watched(viewers, pieces as u32);
                (0..20).all(|_| {
                    let worst = worst(&density, &density.resident);
                    density.evict();
                    worst.is_some_and(|worst| !density.places.contains_key(&worst))
                })
            };
            let few = FEW.contains(&(viewers as usize));
            assert!(always_found(SAMPLE), "{viewers}");
            assert_eq!(always_found(SAMPLE_FOR_FEW), few, "{viewers}");
            assert!(!always_found(2 * SAMPLE_FOR_FEW), "{viewers}");
        }
    }

    #[test]
    fn no_runner_up_is_worth_less_than_what_goes_next() {
        let mut density = watched(1, 2000);
        density.evict();
        for _ in 0..20 {
            let before = density.runners_up.clone();
            assert_eq!(before.len(), RUNNERS_UP);
            let least = worst(&density, &before).map(|key| worth(&density, key));
            let there = density.resident.clone();
            density.evict();
            let gone = there.into_iter().find(|key| !density.places.contains_key(key));
            assert!(gone.map(|key| worth(&density, key)) <= least);
        }
    }

    /// Counts the candidates that it is asked about.
    struct Counting(Arc<AtomicUsize>);

    impl Policy for Counting {
        fn worth(&self, candidate: &Candidate) -> f64 {
            self.0.fetch_add(1, Ordering::Relaxed);
            -(candidate.age as f64)
        }

        fn soft_windows(&self) -> bool {
            true
        }
    }

    #[test]
    fn an_eviction_looks_at_as_many_pieces_as_in_the_library() {
        for viewers in [0, 1, 8, 9] {
            let looks = Arc::<AtomicUsize>::default();
            let cache = lookbehind::Cache::builder().budget(4 << 20);
            let cache = cache.policy(Counting(Arc::clone(&looks))).build().unwrap();
            let film = cache.add_storage(Layout::fixed(5000 << 10, 1 << 10).unwrap()).unwrap();
            let player = |_| film.player(PlayerConfig::default()).unwrap();
            let players: Vec<_> = (0..viewers).map(player).collect();
            let mut pieces = 0..5000;
            let mut insert = || film.insert(pieces.next().unwrap(), &[0; 1 << 10]).unwrap();
            while looks.load(Ordering::Relaxed) == 0 {
                insert();
            }
            let counts: Vec<_> = (0..50)
                .map(|_| {
                    let evictions = cache.stats().evictions;
                    looks.store(0, Ordering::Relaxed);
                    insert();
                    (cache.stats().evictions - evictions, looks.load(Ordering::Relaxed))
                })
                .collect();
            let counts = counts.iter().filter(|(evictions, _)| *evictions == 1);
            let counts: Vec<_> = counts.map(|(_, looks)| *looks).collect();
            let sample = if FEW.contains(&players.len()) { SAMPLE_FOR_FEW } else { SAMPLE };
            // Hardly any is both drawn and known from the eviction before.
            assert_eq!(counts.iter().max(), Some(&(sample + RUNNERS_UP)), "{viewers}: {counts:?}");
        }
    }
}
