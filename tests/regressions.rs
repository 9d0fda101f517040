//! The faults of the system that this crate replaces, each with a test that it would fail.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use common::{
    Done, KIB, MIB, PATIENCE, block_on, cache, eventually, fill, film, of, present, schemes,
};
use lookbehind::{
    Error, Eviction, Extent, Interval, PlayerConfig, Reclaim, StorageOptions, Wait, global,
};

const LEN: usize = 64 * KIB;

schemes!(
    a_piece_that_is_being_read_is_not_freed_underneath,
    an_abort_is_seen_by_every_thread_at_once_and_ends_what_waits,
    a_stopped_reader_and_a_slow_verifier_keep_nobody_from_reading_and_writing,
    a_slot_that_is_used_again_does_not_answer_to_its_old_name,
    a_cache_in_which_everything_is_protected_still_makes_room_and_ends_doing_so,
);

/// Fault: a raw pointer to the cache stood in a global and outlived its owner.
#[test]
fn the_global_keeps_its_cache_alive_for_whoever_got_it() {
    let use_it = || {
        let cache = global::get().expect("somebody set it");
        thread::spawn(move || {
            let film = film(&cache, 4, KIB);
            fill(&film, 0..4);
            film.get(3).unwrap()
        })
    };
    global::set(cache::<Interval>(MIB));
    let first = use_it();
    global::set(cache::<Interval>(MIB)); // the owner of the first is gone
    let second = use_it();
    global::clear();
    for held in [first, second].map(|thread| thread.join().unwrap()) {
        assert_eq!(held[..], of(3, KIB));
    }
    assert!(global::get().is_none());
}

/// Fault: the memory size was an unsynchronised global, read while it was written, and read once.
#[test]
fn a_budget_that_is_set_binds_other_threads_at_once() {
    let cache = cache::<Interval>(8 * MIB);
    let film = film(&cache, 500, LEN);
    fill(&film, 0..20);
    let low = 2 * MIB as u64;
    let (set, done) = (Barrier::new(3), AtomicBool::new(false));
    thread::scope(|scope| {
        for n in 0..2u32 {
            let (film, set, done) = (&film, &set, &done);
            scope.spawn(move || {
                set.wait();
                for piece in (20 + n..500).step_by(2).cycle() {
                    let _ = film.insert(piece, &vec![1; LEN]);
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        cache.set_budget(low).unwrap();
        set.wait();
        let _ends = Done(&done);
        assert!((0..200).all(|_| cache.stats().resident <= low), "{:?}", cache.stats());
    });
    // Both are whole at any time: never a limit that nobody set.
    thread::scope(|scope| {
        let setter = scope.spawn(|| {
            for n in 0..20_000u64 {
                cache.set_budget([3 << 20, 5 << 32][n as usize % 2]).unwrap();
            }
        });
        while !setter.is_finished() {
            assert!([2 << 20, 3 << 20, 5 << 32].contains(&cache.budget()));
        }
    });
}

/// Fault: the abort flag was a plain bool that other threads might never see, and abort waited for
/// nothing.
fn an_abort_is_seen_by_every_thread_at_once_and_ends_what_waits<R: Reclaim>() {
    let cache = cache::<R>(4 * MIB);
    let film = film(&cache, 1000, KIB);
    let aborted = AtomicBool::new(false);
    thread::scope(|scope| {
        for n in 0..3u32 {
            let (film, aborted) = (&film, &aborted);
            scope.spawn(move || {
                for piece in (n..1000).step_by(3).cycle() {
                    let before = aborted.load(Ordering::SeqCst);
                    let inserted = film.insert(piece, &[1; KIB]);
                    let _ = film.evict(piece..piece + 1);
                    match inserted {
                        Err(Error::Aborted) => break,
                        other => assert!(!before, "{other:?} after the abort"),
                    }
                }
            });
        }
        let waiting = scope.spawn(|| film.wait(999).deadline(PATIENCE).blocking());
        while film.stats().evictions < 20 {
            thread::yield_now();
        }
        assert!(cache.abort(Wait::For(PATIENCE)), "calls under way end");
        aborted.store(true, Ordering::SeqCst);
        // The wait began before or after; the piece may have been there for a moment.
        assert!(matches!(waiting.join().unwrap(), Err(Error::Aborted) | Ok(_)));
        assert!(cache.abort(Wait::No));
    });
}

/// Fault: callbacks captured `this` and ran after it had been destroyed.
#[test]
fn what_was_called_back_late_finds_everything_that_it_needs() {
    let told = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&told);
    let cache = lookbehind::Cache::builder()
        .budget(MIB as u64)
        .observer(move |_: &Eviction| {
            seen.fetch_add(1, Ordering::Relaxed);
        })
        .build()
        .unwrap();
    let film = film(&cache, 8, KIB);
    // Everything that is pending holds what it will need.
    let mut wait = film.wait(0);
    let mut player = film.player(PlayerConfig::default()).unwrap();
    let mut wanted = film.wanted();
    assert!(common::poll(&mut wait).is_pending());
    let fetch = wanted.try_next().unwrap();
    let cancelled = fetch.cancelled();
    drop((cache, film));
    let storage = fetch.storage().clone();
    storage.insert(0, &of(0, KIB)).unwrap();
    assert_eq!(block_on(wait).unwrap()[..], of(0, KIB));
    let bytes = block_on(common::next(&mut player)).unwrap().unwrap();
    storage.evict(0..8).unwrap();
    assert_eq!(told.load(Ordering::Relaxed), 1);
    drop((storage, player, wanted, fetch));
    drop(cancelled);
    assert_eq!(bytes, of(0, KIB));
    assert_eq!(Arc::strong_count(&told), 1, "and nothing of it is left");
}

/// Fault: buffers were handed out that the cache freed underneath; its free function was empty.
fn a_piece_that_is_being_read_is_not_freed_underneath<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let film = film(&cache, 1000, LEN);
    fill(&film, 0..3);
    let held = film.get(0).unwrap();
    let reader = film.reader();
    let snapshot = reader.snapshot();
    let (borrowed, again) = (snapshot.get(1).unwrap(), snapshot.held(2).unwrap());
    film.evict(0..3).unwrap();
    for piece in 3..400 {
        // Its memory would be used again at once, if it were free.
        let _ = film.insert(piece, &vec![0xff; LEN]);
    }
    assert_eq!(
        (&held[..], borrowed, &again[..]),
        (&of(0, LEN)[..], &of(1, LEN)[..], &of(2, LEN)[..])
    );
    drop(snapshot);
    drop((held, again));
    eventually("given back, it is used again", || film.insert(900, &vec![1; LEN]).is_ok());
    assert_eq!(cache.stats().states.held, 0);
}

/// Fault: one lock around everything, held while reading, writing and copying.
fn a_stopped_reader_and_a_slow_verifier_keep_nobody_from_reading_and_writing<R: Reclaim>() {
    let cache = cache::<R>(8 * MIB);
    let (inside, go_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (entered, resume) = (Arc::clone(&inside), Arc::clone(&go_on));
    let verifier = lookbehind::verify_fn(move |piece, _: &[u8]| {
        if piece == 0 {
            entered.wait();
            resume.wait();
        }
        true
    });
    let options = StorageOptions::default().verifier(Arc::new(verifier));
    let slow = cache.add_storage_with(common::layout(8, LEN), options).unwrap();
    let other = film(&cache, 8, LEN);
    let reader = slow.reader();
    let stopped = reader.snapshot();
    thread::scope(|scope| {
        let verifying = scope.spawn(|| slow.insert(0, &of(0, LEN)));
        inside.wait();
        // One thread stands in the middle of an insert, a reader in the middle of a read.
        for film in [&slow, &other] {
            fill(film, 1..8);
            film.evict(1..3).unwrap();
            assert_eq!(film.reader().snapshot().get(5).unwrap(), of(5, LEN));
            assert_eq!(film.wait(6).blocking().unwrap()[..], of(6, LEN));
        }
        assert!(cache.stats().published >= 14 && !slow.contains(0));
        go_on.wait();
        verifying.join().unwrap().unwrap();
    });
    assert_eq!(stopped.runs().count(), 0);
    assert_eq!(slow.get(0).unwrap()[..], of(0, LEN));
}

/// Fault: the index of a removed film was used again without a generation, so that late calls
/// reached the next film.
fn a_slot_that_is_used_again_does_not_answer_to_its_old_name<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let old = film(&cache, 4, KIB);
    fill(&old, 0..4);
    let (reader, mut player) = (old.reader(), old.player(PlayerConfig::default()).unwrap());
    old.remove().unwrap();
    let new = film(&cache, 4, KIB);
    new.insert(0, &[9; KIB]).unwrap();
    assert_eq!(new.id().index, old.id().index, "the slot is used again");
    assert!(new.id().generation > old.id().generation);
    let unknown = Error::UnknownStorage { id: old.id() };
    assert_eq!(cache.storage(old.id()).unwrap_err(), unknown);
    assert_eq!(old.insert(1, &of(1, KIB)).unwrap_err(), unknown);
    assert_eq!(old.evict(0..4).unwrap_err(), unknown);
    assert_eq!(old.get(0).unwrap_err(), unknown);
    assert!(reader.snapshot().get(0).is_none());
    let read = block_on(common::read(&mut player, &mut [0; 9])).unwrap_err();
    assert_eq!(common::cause(read), unknown);
    assert_eq!((present(&new), &new.get(0).unwrap()[..]), (vec![0], &[9; KIB][..]));
}

/// Fault: bytes that had not been written were read as zeros.
#[test]
fn unwritten_bytes_are_missing_not_zero() {
    let cache = cache::<Interval>(MIB);
    let options = StorageOptions::default().readable_prefix(true);
    let film = cache.add_storage_with(common::layout(4, KIB), options).unwrap();
    film.write(0, 100, &[7; 100]).unwrap();
    let mut buffer = [0xaa; 200];
    for (offset, len) in [(0, 1), (0, 200), (99, 2), (150, 60), (1023, 1)] {
        let read = film.read_back(0, offset, len);
        assert_eq!(read.unwrap_err(), Error::Missing { piece: 0 });
    }
    assert!(film.reader().snapshot().get(0).is_none() && film.get(0).is_err());
    assert!(film.arriving(0).unwrap().is_empty() && film.commit(0).is_err());
    let mut player = film.player(PlayerConfig::default()).unwrap();
    assert!(common::poll_read(&mut player, &mut buffer).is_pending());
    // Nor are they what the buffer held before.
    film.insert(1, &[0x55; KIB]).unwrap();
    film.evict(1..2).unwrap();
    film.write(2, 1000, &[7; 24]).unwrap();
    assert!(film.read_back(2, 999, 25).is_err());
    assert!(film.arriving(2).unwrap().is_empty());
}

/// Fault: trimming gave up, or never ended, when everything was protected.
fn a_cache_in_which_everything_is_protected_still_makes_room_and_ends_doing_so<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let film = film(&cache, 300, LEN);
    film.reserve(0..300);
    film.set_lookbehind(0..300);
    let all = || Extent::Time(Duration::MAX);
    let players: Vec<_> = (0..4)
        .map(|n| {
            let config = PlayerConfig::default().ahead(all()).behind(all());
            film.player(config.position(n * 70 * LEN as u64)).unwrap()
        })
        .collect();
    fill(&film, 0..300);
    assert!(film.contains(299) && present(&film).len() >= 10);
    // Pinned on top of it, it says so and comes to an end.
    let held: Vec<_> = present(&film).iter().map(|piece| film.get(*piece).unwrap()).collect();
    let missing = (0..300).find(|piece| !film.contains(*piece)).unwrap();
    let refused = film.insert(missing, &of(missing, LEN)).unwrap_err();
    assert!(matches!(refused, Error::BudgetExhausted { .. }), "{refused}");
    let late = cache.set_budget(MIB as u64 / 2).and_then(|()| cache.shrink(Duration::ZERO));
    assert_eq!(late.unwrap_err(), Error::TimedOut);
    drop(held);
    cache.shrink(PATIENCE).unwrap();
    assert!(cache.stats().resident <= MIB as u64 / 2);
    drop(players);
}

/// Fault: the "LRU" looked at writes only, so that what was read all the time went first.
#[test]
fn what_is_read_stays_and_what_was_only_written_goes() {
    let cache = cache::<Interval>(MIB);
    let film = film(&cache, 400, LEN);
    fill(&film, 0..15);
    let reader = film.reader();
    for piece in 15..200 {
        // The oldest by far, but read between any two insertions.
        assert_eq!(reader.snapshot().get(2).map(<[u8]>::len), Some(LEN), "before {piece}");
        assert!(film.get(3).is_ok(), "before {piece}");
        film.insert(piece, &of(piece, LEN)).unwrap();
    }
}

/// Fault: reserved pieces and the windows of readers were declared, and heeded by nobody.
#[test]
fn reserved_pieces_and_windows_are_heeded() {
    let cache = cache::<Interval>(2 * MIB);
    let (a, b) = (film(&cache, 100, LEN), film(&cache, 400, LEN));
    a.reserve(0..2);
    a.reserve(98..100);
    let extent = |pieces: usize| Extent::Bytes((pieces * LEN) as u64);
    // A piece plays a minute: the viewer is not expected to jump back for half an hour.
    let config =
        PlayerConfig::default().ahead(extent(3)).behind(extent(4)).bitrate(LEN as u64 / 60);
    let _player = a.player(config.position(50 * LEN as u64)).unwrap();
    let heeded = [0, 1, 46, 47, 48, 49, 50, 51, 52, 98, 99];
    for piece in heeded {
        a.insert(piece, &of(piece, LEN)).unwrap();
    }
    fill(&b, 0..400);
    assert_eq!(present(&a), heeded);
    assert!(b.stats().evictions > 350);
}
