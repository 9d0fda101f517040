//! Everything at once: wrong bytes, bytes over budget and bytes that are left are counted.
//!
//! A second per scheme; LOOKBEHIND_STRESS_SECONDS makes it longer, LOOKBEHIND_SEED repeats the
//! choices (not the schedule).

mod common;

use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{KIB, MIB, cache, content, eventually, layout, schemes, sweep};
use lookbehind::{Cache, Held, Reclaim, Storage};
use rand::Rng;
use rand::rngs::StdRng;

const THREADS: u64 = 4;
const FILMS: usize = 3;
const PIECES: u32 = 300;
const BUDGET: usize = 2 * MIB;

schemes!(no_byte_is_wrong_over_budget_or_left);

/// A film as it is now, and how many there were in its place before.
struct Place<R: Reclaim> {
    film: Storage<R>,
    generation: u64,
}

struct Stress<R: Reclaim> {
    cache: Cache<R>,
    places: Vec<RwLock<Place<R>>>,
    wrong: AtomicU64,
    read: AtomicU64,
    published: AtomicU64,
}

fn len(film: usize) -> usize {
    [16 * KIB, 4 * KIB, 700][film]
}

impl<R: Reclaim> Stress<R> {
    fn film(&self, n: usize) -> (Storage<R>, u64) {
        let place = self.places[n].read().unwrap();
        (place.film.clone(), place.generation)
    }

    fn check(&self, n: usize, generation: u64, piece: u32, bytes: &[u8]) {
        self.read.fetch_add(1, Ordering::Relaxed);
        if bytes != content(n as u64, generation, piece, len(n)) {
            self.wrong.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn insert(&self, rng: &mut StdRng) {
        let n = rng.random_range(0..FILMS);
        let (film, generation) = self.film(n);
        let piece = rng.random_range(0..PIECES);
        let bytes = content(n as u64, generation, piece, len(n));
        if rng.random_bool(0.7) {
            let inserted = film.insert(piece, &bytes);
            self.published.fetch_add(u64::from(inserted.is_ok()), Ordering::Relaxed);
            return;
        }
        // In blocks, from the end on; others may be at the same piece.
        for start in (0..len(n)).step_by(300).rev() {
            let block = &bytes[start..(start + 300).min(len(n))];
            if film.write(piece, start as u32, block).is_err() {
                return;
            }
        }
        let _ = film.commit(piece);
    }

    fn look(&self, rng: &mut StdRng) {
        let n = rng.random_range(0..FILMS);
        let (film, generation) = self.film(n);
        let reader = film.reader();
        let start = rng.random_range(0..PIECES);
        let snapshot = if rng.random_bool(0.5) {
            reader.snapshot()
        } else {
            reader.snapshot_range(start..start + 40)
        };
        let shown: Vec<u32> = snapshot.runs().flatten().take(12).collect();
        if rng.random_bool(0.2) {
            thread::yield_now();
        }
        for piece in shown {
            // What it showed it goes on to show.
            match snapshot.get(piece) {
                Some(bytes) => self.check(n, generation, piece, bytes),
                None => self.check(n, generation, piece, &[]),
            }
        }
    }

    fn hold(&self, rng: &mut StdRng, held: &mut Vec<(usize, u64, Held)>) {
        let n = rng.random_range(0..FILMS);
        let (film, generation) = self.film(n);
        if let Ok(piece) = film.get(rng.random_range(0..PIECES)) {
            held.push((n, generation, piece));
        }
        if held.len() > 20 {
            for (n, generation, piece) in held.drain(..10) {
                self.check(n, generation, piece.piece(), &piece);
            }
        }
    }

    /// Removes a film and adds it again, as another one.
    fn renew(&self, rng: &mut StdRng) {
        let n = rng.random_range(0..FILMS);
        let mut place = self.places[n].write().unwrap();
        let Ok(film) = self.cache.add_storage(layout(PIECES, len(n))) else { return };
        let old = std::mem::replace(&mut place.film, film);
        place.generation += 1;
        drop(place);
        old.remove().unwrap();
        assert!(self.cache.storage(old.id()).is_err() && old.get(0).is_err());
    }

    fn work(&self, seed: u64, until: Instant) {
        let mut rng = common::rng(seed);
        let mut held = Vec::new();
        while Instant::now() < until {
            match rng.random_range(0..1000) {
                0..500 => self.insert(&mut rng),
                500..750 => self.look(&mut rng),
                750..900 => self.hold(&mut rng, &mut held),
                900..985 => {
                    let film = self.film(rng.random_range(0..FILMS)).0;
                    let first = rng.random_range(0..PIECES);
                    let _ = film.evict(first..first + rng.random_range(1..20));
                }
                985..992 => {
                    let budget = BUDGET as u64 / rng.random_range(1..4);
                    self.cache.set_budget(budget).unwrap();
                    let _ = self.cache.shrink(Duration::from_millis(1));
                }
                992..996 => self.renew(&mut rng),
                _ => {
                    let stats = self.cache.stats();
                    assert!(stats.resident <= BUDGET as u64, "{stats:?}");
                    assert_eq!(stats.states.total(), stats.states.total().min(BUDGET as u64));
                }
            }
        }
        for (n, generation, piece) in held {
            self.check(n, generation, piece.piece(), &piece);
        }
    }
}

fn no_byte_is_wrong_over_budget_or_left<R: Reclaim>() {
    let seconds = std::env::var("LOOKBEHIND_STRESS_SECONDS").ok().and_then(|s| s.parse().ok());
    let time = Duration::from_secs_f64(seconds.unwrap_or(1.0));
    let seed = common::seed();
    let cache = cache::<R>(BUDGET);
    let film = |n| Place { film: common::film(&cache, PIECES, len(n)), generation: 0 };
    let stress = Stress {
        cache: cache.clone(),
        places: (0..FILMS).map(|n| RwLock::new(film(n))).collect(),
        wrong: AtomicU64::new(0),
        read: AtomicU64::new(0),
        published: AtomicU64::new(0),
    };
    let until = Instant::now() + time;
    thread::scope(|scope| {
        for n in 0..THREADS {
            let stress = &stress;
            scope.spawn(move || stress.work(seed.wrapping_add(n), until));
        }
    });
    let (read, published) = (stress.read.into_inner(), stress.published.into_inner());
    println!("{read} pieces read, {published} published, {:?}", cache.stats());
    assert_eq!(stress.wrong.into_inner(), 0, "wrong pieces, of {read}");
    assert!(read > 100 && published > 100, "{read} read, {published} published");
    assert!(cache.stats().resident_peak <= BUDGET as u64);
    for place in stress.places {
        let film = place.into_inner().unwrap().film;
        film.remove().unwrap();
    }
    assert_eq!((cache.stats().snapshots, cache.stats().storages), (0, 0));
    let last = common::film(&cache, 4, KIB);
    eventually("only pool and table are left", || {
        sweep(&cache, &[&last]);
        let states = cache.stats().states;
        states.total() == states.pooled + states.table
    });
    let stats = cache.stats();
    assert!(stats.states.table < 8 * KIB as u64, "{stats:?}");
    assert_eq!(stats.states.total(), stats.resident);
}
