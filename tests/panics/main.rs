//! Code of others that panics: wherever it is called, when it is dropped, and once more when what
//! it has thrown is dropped. Nothing is lost or poisoned, and everybody else goes on.

#[path = "../common/mod.rs"]
mod common;
mod verifier;
mod waker;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use std::thread;
use std::time::Duration;

use common::{KIB, MIB, PATIENCE, Woken, built, cache, fill, film, layout, of, poll_with, schemes};
use lookbehind::{
    Cache, Candidate, Clock, Error, Eviction, Extent, Insert, Layout, Observer, PieceHasher,
    PlayerConfig, Policy, Progress, Reclaim, Storage, StorageOptions, Verifier,
};

const LEN: usize = 16 * KIB;
const BUDGET: usize = MIB;

use verifier::*;
use waker::*;

schemes!(
    a_verifier_that_panics_refuses_the_piece_and_nothing_else,
    a_verifier_that_panics_at_commit_refuses_the_piece,
    writers_beside_a_verifier_that_panics_go_on,
    an_observer_that_always_panics_prevents_no_eviction,
    a_policy_that_panics_or_says_nonsense_evicts_all_the_same,
    a_waker_that_panics_harms_no_other_wait,
    a_thread_that_panics_leaves_nothing_behind,
    what_a_caller_hands_in_may_panic,
    destructors_may_panic,
);

/// Throws something that throws again when it is dropped.
fn throw() -> ! {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("what was thrown throws again, as the test wants it");
        }
    }
    panic_any(Bomb)
}

/// Catches a panic that is the caller's to see.
fn panics<T>(call: impl FnOnce() -> T) -> bool {
    catch_unwind(AssertUnwindSafe(call)).map_err(std::mem::forget).is_err()
}

/// How many pieces can be arriving at once: less than before, if anything of the half that
/// assemblies may take was lost.
fn assemblies<R: Reclaim>(cache: &Cache<R>) -> usize {
    let film = film(cache, 400, LEN);
    let open = (0..400).take_while(|piece| film.write(*piece, 0, &[1]).is_ok()).count();
    film.remove().unwrap();
    open
}

/// All bytes come back: nothing arrives, is published, pinned or kept, and nobody waits.
fn comes_to_rest<R: Reclaim>(cache: &Cache<R>) {
    common::eventually("everything is given back", || {
        cache.storages().iter().for_each(|film| film.remove().unwrap());
        common::sweep(cache, &[]);
        let stats = cache.stats();
        assert!(stats.resident_peak <= BUDGET as u64);
        assert_eq!(stats.states.total(), stats.resident);
        assert_eq!((stats.snapshots, stats.waits, stats.pinned), (0, 0, 0));
        let states = stats.states;
        assert_eq!((states.assembling, states.published), (0, 0));
        states.limbo == 0 && states.held == 0
    });
    let film = film(cache, 8, LEN);
    fill(&film, 0..8);
    assert_eq!(common::present(&film).len(), 8, "later calls work");
    film.remove().unwrap();
}

fn an_observer_that_always_panics_prevents_no_eviction<R: Reclaim>() {
    let told = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&told);
    let builder =
        Cache::builder().observer(|_: &Eviction| throw()).observer(move |_: &Eviction| {
            seen.fetch_add(1, Ordering::SeqCst);
        });
    let cache = built::<R>(builder, BUDGET);
    let options = StorageOptions::default().share(4 * (LEN as u64 + 128));
    let shared = cache.add_storage_with(layout(40, LEN), options).unwrap();
    fill(&shared, 0..40); // by its share
    assert_eq!(shared.stats().present_pieces, 4);
    let film = film(&cache, 200, LEN);
    fill(&film, 0..200); // for room
    film.evict(190..200).unwrap();
    cache.set_budget(BUDGET as u64 / 2).unwrap();
    cache.shrink(PATIENCE).unwrap();
    let live =
        cache.add_storage_with(Layout::segments(), StorageOptions::default().window(2)).unwrap();
    for piece in 0..6 {
        live.append_segment(100).unwrap();
        live.insert(piece, &of(piece, 100)).unwrap();
    }
    for film in [&film, &shared, &live] {
        film.remove().unwrap();
    }
    let stats = cache.stats();
    assert_eq!((stats.evictions, stats.states.published), (stats.published, 0));
    assert_eq!(told.load(Ordering::SeqCst) as u64, stats.evictions, "the other one is told");
    comes_to_rest(&cache);
}

fn a_policy_that_panics_or_says_nonsense_evicts_all_the_same<R: Reclaim>() {
    struct Nonsense(fn(&Candidate) -> f64);
    impl Policy for Nonsense {
        fn worth(&self, candidate: &Candidate) -> f64 {
            self.0(candidate)
        }
    }
    let each = |candidate: &Candidate| match candidate.piece % 4 {
        0 => throw(),
        1 => f64::NAN,
        2 => f64::INFINITY,
        _ => f64::NEG_INFINITY,
    };
    let nonsense: [fn(&Candidate) -> f64; 5] =
        [|_| throw(), |_| f64::NAN, |_| f64::INFINITY, |_| f64::NEG_INFINITY, each];
    for worth in nonsense {
        let cache = built::<R>(Cache::builder().policy(Nonsense(worth)), BUDGET);
        let film = film(&cache, 200, LEN);
        let config = PlayerConfig::default().ahead(Extent::Bytes(8 * LEN as u64));
        let player = film.player(config).unwrap();
        fill(&film, 0..200);
        assert!(common::present(&film).len() > 40, "the cache is full");
        cache.set_budget(BUDGET as u64 / 2).unwrap();
        cache.shrink(PATIENCE).unwrap();
        drop(player);
        drop(film);
        comes_to_rest(&cache);
    }
}

fn a_thread_that_panics_leaves_nothing_behind<R: Reclaim>() {
    let cache = cache::<R>(BUDGET);
    let film = film(&cache, 200, LEN);
    fill(&film, 0..10);
    let other = thread::scope(|scope| {
        let dying = scope.spawn(|| {
            let reader = film.reader();
            // More than a line of lanes.
            let snapshots: Vec<_> = (0..20).map(|n| reader.snapshot_range(n..n + 4)).collect();
            let all = reader.snapshot();
            let held = (all.held(3).unwrap(), film.get(4).unwrap());
            let bytes = bytes::Bytes::from(held.0.clone());
            let mut player = film.player(PlayerConfig::default().position(50)).unwrap();
            let read = common::block_on(common::read(&mut player, &mut [0; 100])).unwrap();
            let mut wait = film.wait(20).deadline(PATIENCE);
            let mut wanted = film.wanted();
            let fetches: Vec<_> = std::iter::from_fn(|| wanted.try_next()).take(5).collect();
            film.write(30, 0, &[1; 100]).unwrap();
            let _ = common::poll(&mut wait);
            let kept = (&snapshots, &all, &held, &bytes, &wanted, &fetches);
            assert!(read == 0, "as the test wants it, with {}", kept.0.len());
        });
        let going_on = scope.spawn(|| {
            for piece in 100..150 {
                film.insert_wait(piece, &of(piece, LEN), PATIENCE).unwrap();
                assert_eq!(film.get(piece).unwrap()[..], of(piece, LEN));
            }
        });
        assert!(dying.join().map_err(drop).is_err());
        going_on.join()
    });
    assert!(other.is_ok());
    let stats = cache.stats();
    assert_eq!((stats.snapshots, stats.pinned, stats.waits), (0, 0, 0));
    assert!(film.stats().windows.is_empty());
    assert_eq!(film.stats().assembling_pieces, 1, "a block that was written stays");
    // What it was fetching is offered again when it is wanted.
    let player = film.player(PlayerConfig::default().position(10 * LEN as u64)).unwrap();
    assert_eq!(film.wanted().try_next().map(|fetch| fetch.piece()), Some(10));
    drop(player);
    // In the poll of a task that waits.
    let task = thread::scope(|scope| {
        let task = scope.spawn(|| {
            common::block_on(async {
                let held = film.wait(199).deadline(PATIENCE).await;
                assert!(held.is_err(), "as the test wants it");
            });
        });
        common::eventually("it waits", || film.stats().waits == 1);
        film.insert(199, &of(199, LEN)).unwrap();
        task.join().map_err(drop)
    });
    assert!(task.is_err());
    assert_eq!((cache.stats().waits, cache.stats().pinned), (0, 0));
    drop(film);
    comes_to_rest(&cache);
}

fn what_a_caller_hands_in_may_panic<R: Reclaim>() {
    struct Unspeakable;
    impl fmt::Display for Unspeakable {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            throw()
        }
    }
    let cache = cache::<R>(BUDGET);
    let film = film(&cache, 20, LEN);
    let woken = Arc::<Woken>::default();
    let mut wait = film.wait(5);
    assert!(poll_with(&mut wait, &woken).is_pending());
    let fetch = film.wanted().try_next().unwrap();
    assert!(panics(|| fetch.fail(Unspeakable)));
    assert!(poll_with(&mut wait, &woken).is_pending());
    assert_eq!(film.wanted().try_next().map(|fetch| fetch.piece()), Some(5), "offered again");
    film.set_lookbehind([1]);
    assert!(panics(|| film.set_lookbehind((0..9).inspect(|n| {
        if *n == 4 {
            throw()
        }
    }))));
    assert_eq!(film.lookbehind_stats().protected, 1, "what was named before stays");
    drop(wait);
    comes_to_rest(&cache);
}

/// An observer, a policy and a verifier whose destructors panic.
struct Undroppable;

impl Drop for Undroppable {
    fn drop(&mut self) {
        if !thread::panicking() {
            throw();
        }
    }
}

impl Observer for Undroppable {
    fn evicted(&self, _: &Eviction) {}
}

impl Policy for Undroppable {
    fn worth(&self, candidate: &Candidate) -> f64 {
        f64::from(candidate.piece)
    }
}

impl Verifier for Undroppable {
    fn begin(&self, _: u32) -> Option<Box<dyn PieceHasher>> {
        Some(Box::new(Hasher(Switch::new(At::Drop))))
    }

    fn verify(&self, _: u32, _: &[u8]) -> bool {
        true
    }
}

fn destructors_may_panic<R: Reclaim>() {
    let builder = Cache::builder().observer(Undroppable).observer(Undroppable).policy(Undroppable);
    let cache = built::<R>(builder, BUDGET);
    let film = |_: u32| {
        let options = StorageOptions::default().verifier(Arc::new(Undroppable));
        cache.add_storage_with(layout(100, LEN), options).unwrap()
    };
    let films: Vec<_> = (0..4).map(film).collect();
    for film in &films {
        fill(film, 0..10);
        film.write(20, 0, &[1]).unwrap();
        film.write(21, 0, &[1]).unwrap();
    }
    // One goes while the cache stays, with all its handles; the others with the cache.
    let mut films = films.into_iter();
    let (first, held) = (films.next().unwrap(), films.next().unwrap().get(0).unwrap());
    first.remove().unwrap();
    drop(first);
    comes_to_rest_beside(&cache);
    drop(films);
    drop(cache);
    assert_eq!(held[..], of(0, LEN));
}

/// The films that are left work.
fn comes_to_rest_beside<R: Reclaim>(cache: &Cache<R>) {
    assert_eq!(cache.storages().len(), 3);
    for film in cache.storages() {
        film.insert(30, &of(30, LEN)).unwrap();
        film.evict(0..100).unwrap();
    }
    assert_eq!(cache.stats().states.published, 0);
}
