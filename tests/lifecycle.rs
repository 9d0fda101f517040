//! Ids, removal, abort, observers, the global instance, statistics.

mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::{Done, KIB, MIB, PATIENCE, built, cache, fill, film, join, layout, of, schemes};
use lookbehind::{
    Cache, Error, Eviction, Interval, Layout, PlayerConfig, Reason, Reclaim, Storage, StorageId,
    Wait, global,
};

const LEN: usize = 16 * KIB;

schemes!(
    an_id_never_reaches_the_film_that_came_after,
    films_can_be_removed_while_they_are_written_and_read,
    abort_ends_writes_and_waits_and_leaves_what_is_present_readable,
    each_eviction_is_told_exactly_once,
    statistics_add_up,
);

fn an_id_never_reaches_the_film_that_came_after<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let mut old: Vec<(StorageId, Storage<R>)> = Vec::new();
    for _ in 0..20 {
        let film = film(&cache, 4, KIB);
        fill(&film, 0..2);
        let id = film.id();
        assert!(old.iter().all(|(stale, _)| *stale != id), "{id} again");
        assert_eq!(cache.storage(id).unwrap().id(), id);
        for (stale, handle) in &old {
            let unknown = Error::UnknownStorage { id: *stale };
            assert_eq!(cache.storage(*stale).unwrap_err(), unknown);
            assert_eq!(handle.get(0).unwrap_err(), unknown);
            assert_eq!(handle.insert(0, &of(0, KIB)).unwrap_err(), unknown);
            assert_eq!(handle.write(0, 0, &[1]).unwrap_err(), unknown);
            assert_eq!(handle.commit(0).unwrap_err(), unknown);
            assert_eq!(handle.abandon(0).unwrap_err(), unknown);
            assert_eq!(handle.evict(0..9).unwrap_err(), unknown);
            assert_eq!(handle.remove().unwrap_err(), unknown);
            assert_eq!(handle.read_back(0, 0, 1).unwrap_err(), unknown);
            assert_eq!(handle.wait(0).blocking().unwrap_err(), unknown);
            assert_eq!(handle.player(PlayerConfig::default()).unwrap_err(), unknown);
            assert!(handle.reader().snapshot().get(0).is_none());
            assert!(!handle.contains(0) && handle.wanted().try_next().is_none());
        }
        assert_eq!((cache.storages().len(), cache.stats().storages), (1, 1));
        film.remove().unwrap();
        old.push((id, film));
    }
    assert!(old.iter().any(|(id, _)| id.generation > 0), "slots are used again");
}

fn films_can_be_removed_while_they_are_written_and_read<R: Reclaim>() {
    let cache = cache::<R>(2 * MIB);
    for _ in 0..15 {
        let film = film(&cache, 50, LEN);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let spawn = |n: u32| {
                let (film, done) = (&film, &done);
                scope.spawn(move || {
                    for piece in (n..50).step_by(2).cycle() {
                        let removed = done.load(Ordering::SeqCst);
                        let inserted = film.insert(piece, &of(piece, LEN));
                        let ended = matches!(inserted, Err(Error::UnknownStorage { .. }));
                        assert!(ended || !removed, "{inserted:?}");
                        if ended {
                            break;
                        }
                        let snapshot = film.reader();
                        if let Some(bytes) = snapshot.snapshot().get(piece) {
                            assert_eq!(bytes, of(piece, LEN));
                        }
                        let _ = film.write((piece + 7) % 50, 0, &[1; 10]);
                    }
                })
            };
            let threads: Vec<_> = (0..2).map(spawn).collect();
            while film.stats().present_pieces < 5 {
                thread::yield_now();
            }
            film.remove().unwrap();
            drop(Done(&done));
            join(threads);
        });
        assert_eq!(film.stats().present_pieces, 0);
        assert_eq!(film.stats().assembling_pieces, 0);
    }
    assert!(cache.stats().resident_peak <= 2 * MIB as u64);
    assert_eq!((cache.stats().states.assembling, cache.stats().states.published), (0, 0));
}

fn abort_ends_writes_and_waits_and_leaves_what_is_present_readable<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let film = film(&cache, 20, LEN);
    fill(&film, 0..3);
    let held = film.get(0).unwrap();
    let reader = film.reader();
    let snapshot = reader.snapshot();
    assert!(!cache.abort(Wait::No), "a snapshot is live");
    assert!(!cache.abort(Wait::For(Duration::from_millis(5))));
    assert_eq!(snapshot.get(1).unwrap(), of(1, LEN));
    drop(snapshot);
    assert!(cache.abort(Wait::For(PATIENCE)), "it never waits for handles");
    assert!(cache.abort(Wait::No));
    assert_eq!(film.insert(5, &of(5, LEN)).unwrap_err(), Error::Aborted);
    assert_eq!(film.insert_wait(5, &of(5, LEN), PATIENCE).unwrap_err(), Error::Aborted);
    assert_eq!(film.write(5, 0, &[1]).unwrap_err(), Error::Aborted);
    assert_eq!(film.commit(5).unwrap_err(), Error::Aborted);
    assert_eq!(film.wait(5).blocking().unwrap_err(), Error::Aborted);
    assert_eq!(cache.add_storage(layout(1, 1)).unwrap_err(), Error::Aborted);
    assert!(film.wanted().next_blocking().is_none());
    assert_eq!(held[..], of(0, LEN));
    assert_eq!(film.get(1).unwrap()[..], of(1, LEN));
    assert_eq!(film.wait(2).blocking().unwrap()[..], of(2, LEN));
    assert_eq!(reader.snapshot().get(2).unwrap(), of(2, LEN));
    assert_eq!(film.evict(0..3), Ok(3));
    film.remove().unwrap();
    assert_eq!(held[..], of(0, LEN));
}

#[test]
fn abort_waits_for_snapshots_that_end_in_time_and_for_writers_for_memory() {
    let cache = cache::<Interval>(MIB);
    let film = film(&cache, 200, LEN);
    let mut held = Vec::new();
    while film.insert(held.len() as u32, &of(held.len() as u32, LEN)).is_ok() {
        held.push(film.get(held.len() as u32).unwrap());
    }
    let reader = film.reader();
    let snapshot = reader.snapshot();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| film.insert_wait(199, &of(199, LEN), PATIENCE));
        let aborting = scope.spawn(|| cache.abort(Wait::For(PATIENCE)));
        assert_eq!(waiting.join().unwrap().unwrap_err(), Error::Aborted);
        drop(snapshot);
        assert!(aborting.join().unwrap());
    });
}

/// Counts what it is told, and panics about every third piece.
fn watched<R: Reclaim>(budget: usize) -> (Cache<R>, Arc<Mutex<Vec<Eviction>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&told);
    let builder = Cache::builder()
        .observer(|eviction: &Eviction| {
            assert!(!eviction.piece.is_multiple_of(3), "as the test wants it")
        })
        .observer(move |eviction: &Eviction| seen.lock().unwrap().push(*eviction));
    (built(builder, budget), told)
}

fn each_eviction_is_told_exactly_once<R: Reclaim>() {
    let (cache, told) = watched::<R>(MIB);
    let film = film(&cache, 400, LEN);
    let published = AtomicU32::new(0);
    thread::scope(|scope| {
        let spawn = |n: u32| {
            let (film, published) = (&film, &published);
            scope.spawn(move || {
                for round in 0..2 {
                    for piece in (n * 100..n * 100 + 150).filter(|piece| piece % 3 != 0) {
                        let inserted = film.insert(piece, &vec![round; LEN]);
                        if inserted == Ok(lookbehind::Insert::Published) {
                            published.fetch_add(1, Ordering::Relaxed);
                        }
                        if piece % 5 == 0 {
                            // Refused while the others have all nodes; they come back.
                            common::eventually("evicted", || film.evict(piece..piece + 2).is_ok());
                        }
                    }
                }
            })
        };
        join((0..3).map(spawn).collect());
    });
    film.remove().unwrap();
    let told = told.lock().unwrap();
    assert_eq!(told.len(), published.into_inner() as usize, "one for each publication");
    assert_eq!(told.len() as u64, cache.stats().evictions);
    assert!(told.iter().all(|e| e.storage == film.id() && e.size == LEN + 128));
}

#[test]
fn observers_learn_the_reason_and_a_panic_of_one_stops_nobody() {
    let (cache, told) = watched::<Interval>(MIB);
    let film = film(&cache, 200, LEN);
    fill(&film, 0..80); // more than fits
    let reasons = || {
        let mut counts = HashMap::<Reason, u64>::new();
        told.lock().unwrap().iter().for_each(|e| *counts.entry(e.reason).or_default() += 1);
        counts
    };
    let room = reasons()[&Reason::Room];
    assert_eq!(reasons().len(), 1);
    assert!(room >= 17 && told.lock().unwrap().iter().any(|e| e.piece % 3 == 0), "{room}");
    assert_eq!(film.evict(70..73), Ok(3));
    assert_eq!(reasons()[&Reason::Requested], 3);
    cache.set_budget(MIB as u64 / 2).unwrap();
    cache.shrink(PATIENCE).unwrap();
    assert!(reasons()[&Reason::Shrink] > 20);
    let live = cache.add_storage(Layout::segments()).unwrap();
    for piece in 0..4 {
        live.append_segment(100).unwrap();
        live.insert(piece, &of(piece, 100)).unwrap();
    }
    live.drop_segments_before(2).unwrap();
    assert_eq!(reasons()[&Reason::Window], 2);
    let present = u64::from(film.stats().present_pieces);
    film.remove().unwrap();
    assert_eq!(reasons()[&Reason::Removed], present);
    assert_eq!(reasons().values().sum::<u64>(), cache.stats().evictions);
}

#[test]
fn what_an_observer_throws_is_dropped() {
    struct Thrown(Arc<AtomicU32>);
    impl Drop for Thrown {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&dropped);
    let observer = move |_: &Eviction| std::panic::resume_unwind(Box::new(Thrown(count.clone())));
    let cache = built::<Interval>(Cache::builder().observer(observer), MIB);
    let film = film(&cache, 4, LEN);
    fill(&film, 0..4);
    assert_eq!((film.evict(0..4), dropped.load(Ordering::SeqCst)), (Ok(4), 4));
}

#[test]
fn an_observer_may_use_the_cache() {
    let film = Arc::new(std::sync::OnceLock::<Storage>::new());
    // Weak: the cache owns its observers, and a storage keeps its cache.
    let own = Arc::downgrade(&film);
    let found = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&found);
    let observer = move |eviction: &Eviction| {
        let Some(film) = own.upgrade() else { return };
        let Some(film) = film.get() else { return };
        // Told before the piece is unpublished.
        let held = film.get(eviction.piece).unwrap();
        assert_eq!(held[..], of(eviction.piece, LEN));
        let _ = (film.stats(), film.contains(0), film.reader().snapshot().runs().count());
        seen.fetch_add(1, Ordering::Relaxed);
    };
    let cache = built::<Interval>(Cache::builder().observer(observer), MIB);
    film.set(common::film(&cache, 100, LEN)).unwrap();
    let film = film.get().unwrap();
    fill(film, 0..100);
    film.evict(0..100).unwrap();
    assert_eq!(found.load(Ordering::Relaxed), 100);
}

#[test]
fn the_global_cache_is_held_by_who_got_it() {
    assert!(global::get().is_none() && global::clear().is_none());
    assert!(global::set(cache(MIB)).is_none());
    let first = global::get().unwrap();
    let film = film(&first, 2, LEN);
    fill(&film, 0..1);
    let replaced = global::set(cache(2 * MIB)).unwrap();
    assert_eq!(replaced.budget(), MIB as u64);
    drop((replaced, first));
    assert_eq!(film.get(0).unwrap()[..], of(0, LEN), "not pulled away");
    assert_eq!(global::get().unwrap().budget(), 2 * MIB as u64);
    assert!(global::clear().is_some() && global::get().is_none());
}

fn statistics_add_up<R: Reclaim>() {
    let cache = cache::<R>(4 * MIB);
    let film = film(&cache, 600, KIB);
    fill(&film, 0..300);
    film.evict(100..110).unwrap();
    let reader = film.reader();
    let snapshot = reader.snapshot();
    assert!(snapshot.get(5).is_some() && snapshot.get(105).is_none());
    assert!(snapshot.held(6).is_some() && snapshot.held(500).is_none());
    drop(snapshot);
    assert!(film.get(7).is_ok() && film.get(101).is_err());
    let _wait = film.wait(0);
    let (stats, own) = (cache.stats(), film.stats());
    assert_eq!((stats.hits, stats.misses), (3, 3));
    assert_eq!((stats.published, stats.evictions, own.evictions), (300, 10, 10));
    assert_eq!((own.present_pieces, own.runs), (290, vec![0..100, 110..300]));
    assert_eq!(own.present_bytes, 290 * (KIB as u64 + 128));
    assert_eq!(own.present_bytes, stats.states.published);
    assert_eq!((own.version, stats.verify_failures), (film.version(), 0));
    assert_eq!(stats.states.total(), stats.resident);
    film.remove().unwrap();
    assert_eq!(cache.stats().evictions, 300, "those of films that are gone count");
}
