//! Never a byte over budget.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use common::{
    Done, KIB, MIB, PATIENCE, Woken, built, cache, content, eventually, film, layout, of, poll,
    poll_with, present, schemes, sweep, timed_cache,
};
use lookbehind::{
    Cache, Error, Hyaline, Insert, Interval, Layout, Progress, Reclaim, StorageOptions, verify_fn,
};
use rand::Rng;

const LEN: usize = 16 * KIB;

schemes!(
    a_sampler_never_sees_more_than_the_budget,
    sixteen_mebibytes_hold_fifteen_pieces_of_one,
    a_lowered_budget_binds_at_once_and_shrink_waits_for_it,
    an_insert_that_waits_is_woken_by_a_dropped_handle,
    a_storage_keeps_to_its_share,
    nothing_is_left_after_everything_is_dropped,
    a_film_removed_under_a_snapshot_gives_its_memory_back_after_it,
);

fn a_sampler_never_sees_more_than_the_budget<R: Reclaim>() {
    let seed = common::seed();
    let budget = 2 * MIB as u64;
    let cache = cache::<R>(2 * MIB);
    let films = [film(&cache, 300, LEN), film(&cache, 300, 3 * KIB)];
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut samples = 0;
            while !done.load(Ordering::Relaxed) {
                let stats = cache.stats();
                assert!(stats.resident <= budget, "{stats:?}");
                assert!(stats.states.total() <= budget, "{stats:?}");
                assert_eq!((stats.budget, stats.effective_budget), (budget, budget));
                samples += 1;
            }
            samples
        });
        let workers: Vec<_> = (0..3)
            .map(|n| {
                let films = &films;
                scope.spawn(move || {
                    let mut rng = common::rng(seed ^ n);
                    let mut held = Vec::new();
                    for _ in 0..1500 {
                        let film = &films[rng.random_range(0..2)];
                        let piece = rng.random_range(0..300);
                        let len = film.layout().piece_len(piece).unwrap() as usize;
                        match rng.random_range(0..10) {
                            0..5 => drop(film.insert(piece, &vec![n as u8; len])),
                            5 => drop(film.write(piece, 0, &vec![n as u8; len / 2])),
                            6 => drop(film.abandon(piece)),
                            7 => held.extend(film.get(piece).ok()),
                            8 => drop(film.evict(piece..piece + 3)),
                            _ => held.truncate(held.len() / 2),
                        }
                    }
                })
            })
            .collect();
        let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        drop(Done(&done));
        assert!(sampler.join().unwrap() > 0 && results.iter().all(Result::is_ok));
    });
    assert!(cache.stats().resident_peak <= budget);
}

fn sixteen_mebibytes_hold_fifteen_pieces_of_one<R: Reclaim>() {
    let cache = cache::<R>(16 * MIB);
    let film = film(&cache, 20, MIB);
    let bytes = vec![5; MIB];
    for piece in 0..20 {
        film.insert(piece, &bytes).unwrap();
        assert_eq!(present(&film).len(), 15.min(piece as usize + 1));
    }
    let stats = cache.stats();
    assert!(stats.resident_peak <= 16 * MIB as u64);
    assert_eq!((stats.published, stats.evictions), (20, 5));
    assert_eq!(stats.states.published, 15 * (MIB as u64 + 128), "headers count");
}

fn a_lowered_budget_binds_at_once_and_shrink_waits_for_it<R: Reclaim>() {
    let cache = cache::<R>(4 * MIB);
    let film = film(&cache, 400, LEN);
    common::fill(&film, 0..200);
    let held: Vec<_> = (0..100).map(|piece| film.get(piece).unwrap()).collect();
    cache.set_budget(MIB as u64).unwrap();
    let before = cache.stats();
    assert!(before.resident > 3 * MIB as u64 && before.effective_budget == before.resident);
    let refused = film.insert(300, &of(300, LEN)).unwrap_err();
    let Error::BudgetExhausted { needed, budget, states, snapshots } = refused else {
        panic!("{refused}")
    };
    assert!(needed >= LEN as u64 && snapshots == 0);
    assert!(states.total() <= budget, "the effective budget, not the one asked for: {refused}");
    assert!(cache.stats().resident <= before.resident, "it only falls");
    // The handles keep more than a mebibyte: shrinking does what it can, and says so.
    assert_eq!(cache.shrink(Duration::from_millis(20)).unwrap_err(), Error::TimedOut);
    let kept = cache.stats().resident;
    assert!(kept < 2 * MIB as u64 && kept > MIB as u64, "{kept}");
    assert!(held.iter().zip(0..).all(|(held, piece)| held[..] == of(piece, LEN)));
    thread::scope(|scope| {
        let shrinking = scope.spawn(|| cache.shrink(PATIENCE));
        drop(held);
        shrinking.join().unwrap().unwrap();
    });
    let after = cache.stats();
    assert!(after.resident <= MIB as u64 && after.effective_budget == MIB as u64, "{after:?}");
    film.insert(300, &of(300, LEN)).unwrap();
    assert!(cache.stats().resident <= MIB as u64);
    cache.set_budget(4 * MIB as u64).unwrap();
    common::fill(&film, 301..400);
    assert!(present(&film).len() > 100);
}

#[test]
fn a_budget_that_goes_up_and_down_under_load_is_kept() {
    let cache = cache::<Interval>(4 * MIB);
    let film = film(&cache, 500, LEN);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..2u8)
            .map(|n| {
                let (film, done) = (&film, &done);
                scope.spawn(move || {
                    for piece in (u32::from(n)..500).step_by(2).cycle() {
                        let _ = film.insert(piece, &vec![n; LEN]);
                        if done.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                })
            })
            .collect();
        let ends = Done(&done);
        for n in 0..40 {
            let low = MIB as u64 + n * 4096;
            cache.set_budget(low).unwrap();
            cache.shrink(PATIENCE).unwrap();
            // Once within the budget, nothing may come above it again.
            for _ in 0..20 {
                assert!(cache.stats().resident <= low);
            }
            cache.set_budget(4 * MIB as u64).unwrap();
            thread::yield_now();
        }
        drop(ends);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
    assert!(cache.stats().resident_peak <= 4 * MIB as u64);
}

fn an_insert_that_waits_is_woken_by_a_dropped_handle<R: Reclaim>() {
    // The clock stands still: only the handle can wake it.
    let (cache, _clock) = timed_cache::<R>(MIB);
    let film = film(&cache, 100, LEN);
    let mut held = Vec::new();
    for piece in 0.. {
        match film.insert(piece, &of(piece, LEN)) {
            Ok(_) => held.push(film.get(piece).unwrap()),
            Err(_) => break,
        }
    }
    let refused = film.insert_wait(99, &of(99, LEN), Duration::ZERO).unwrap_err();
    let Error::BudgetExhausted { states, .. } = refused else { panic!("{refused}") };
    assert_eq!(states.total(), cache.stats().resident);
    assert!(present(&film).len() + 3 > held.len(), "waiting costs at most what is waited for");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| film.insert_wait(99, &of(99, LEN), Duration::from_secs(9)));
        for _ in 0..50 {
            assert!(!waiting.is_finished());
            thread::yield_now();
        }
        // One that is published and one that the wait may have had unpublished.
        held.drain(..4);
        assert_eq!(waiting.join().unwrap(), Ok(Insert::Published));
    });
    assert!(cache.stats().resident_peak <= MIB as u64);
    assert!(held.iter().all(|held| held[..] == of(held.piece(), LEN)));
}

#[test]
fn a_writer_of_blocks_waits_as_well_and_its_deadline_holds() {
    let cache = cache::<Interval>(MIB);
    let film = film(&cache, 100, LEN);
    let mut held = Vec::new();
    for piece in 0.. {
        match film.insert(piece, &of(piece, LEN)) {
            Ok(_) => held.push(film.get(piece).unwrap()),
            Err(_) => break,
        }
    }
    let late = film.write_wait(99, 0, &of(99, LEN), Duration::from_millis(20)).unwrap_err();
    assert!(matches!(late, Error::BudgetExhausted { .. }), "{late}");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| film.write_wait(99, 0, &of(99, LEN), PATIENCE));
        held.clear();
        waiting.join().unwrap().unwrap();
    });
    film.commit(99).unwrap();
    assert_eq!(film.get(99).unwrap()[..], of(99, LEN));
}

#[test]
fn a_writer_that_waits_no_longer_leaves_nothing_behind() {
    let (cache, _clock) = timed_cache::<Interval>(MIB);
    let options = StorageOptions::default().share(1); // room for nothing
    let film = cache.add_storage_with(layout(2, LEN), options).unwrap();
    let (bytes, woken) = (of(0, LEN), Arc::new(Woken::default()));
    for _ in 0..3 {
        let mut insert = Box::pin(film.insert_async(0, &bytes, None));
        assert!(poll_with(&mut insert, &woken).is_pending());
        drop(insert);
        assert_eq!(Arc::strong_count(&woken), 1, "no waker is kept");
    }
}

#[test]
fn the_last_block_of_a_verified_piece_waits_for_the_version_too() {
    let (cache, _clock) = timed_cache::<Interval>(MIB);
    let options = StorageOptions::default().verifier(Arc::new(verify_fn(|_, _: &[u8]| true)));
    let film = cache.add_storage_with(layout(4000, LEN), options).unwrap();
    let whole = of(0, LEN);
    let first = film.write_wait(0, 0, &whole[..100], Duration::ZERO);
    assert_eq!(first, Ok(Progress::Partial { written: 100 }));
    // Handles leave no room for the version in which it would be shown.
    let mut held = Vec::new();
    for len in [LEN, KIB, 16] {
        let other = common::film(&cache, 4000, len);
        while other.insert(held.len() as u32, &of(held.len() as u32, len)).is_ok() {
            held.push(other.get(held.len() as u32).unwrap());
        }
    }
    let mut write = Box::pin(film.write_async(0, 100, &whole[100..], None));
    assert!(poll(&mut write).is_pending() && poll(&mut write).is_pending());
    assert!(!film.contains(0));
    drop(held);
    assert_eq!(poll(&mut write), Poll::Ready(Ok(Progress::Published)));
    assert_eq!(film.get(0).unwrap()[..], whole);
}

#[test]
fn a_writer_that_waits_commits_nothing_of_its_own_accord() {
    let cache = cache::<Interval>(MIB);
    let film = film(&cache, 2, LEN);
    let whole = of(0, LEN);
    assert_eq!(film.write_wait(0, 0, &whole, PATIENCE), Ok(Progress::Complete));
    let again = film.write_wait(0, 0, &whole, PATIENCE);
    assert_eq!(again, Ok(Progress::Partial { written: LEN as u64 }));
    assert!(!film.contains(0));
    film.commit(0).unwrap();
    assert_eq!(film.write_wait(0, 0, &whole, PATIENCE), Ok(Progress::Published));
}

fn a_storage_keeps_to_its_share<R: Reclaim>() {
    let cache = cache::<R>(4 * MIB);
    let share = 10 * (LEN as u64 + 128);
    let options = StorageOptions::default().share(share);
    let small = cache.add_storage_with(layout(300, LEN), options).unwrap();
    let other = film(&cache, 100, LEN);
    common::fill(&other, 0..100);
    common::fill(&small, 0..100);
    assert_eq!((present(&small).len(), present(&other).len()), (10, 100), "its own made room");
    assert_eq!(small.stats().present_bytes, share);
    thread::scope(|scope| {
        // Insertions and evictions of the same pieces at once.
        for n in 0..3 {
            let small = &small;
            scope.spawn(move || {
                for piece in 0..400 {
                    let _ = small.write(200 + piece % 7, 0, &vec![n; LEN / 2]);
                    let _ = small.insert(100 + piece % 5, &vec![n; LEN]);
                    let _ = small.evict(100..110);
                    let _ = small.abandon(200 + piece % 7);
                }
            });
        }
    });
    let pinned: Vec<_> = present(&small).iter().map(|piece| small.get(*piece).unwrap()).collect();
    small.evict(0..300).unwrap();
    common::fill(&small, 0..10);
    assert_eq!(small.stats().present_bytes, share);
    drop(pinned);
    let tiny = StorageOptions::default().share(LEN as u64);
    let tiny = cache.add_storage_with(layout(2, LEN), tiny).unwrap();
    let refused = tiny.insert(0, &of(0, LEN)).unwrap_err();
    let expected = Error::ShareExhausted { needed: LEN as u64 + 128, share: LEN as u64, used: 0 };
    assert_eq!(refused, expected);
}

fn nothing_is_left_after_everything_is_dropped<R: Reclaim>() {
    let cache = cache::<R>(4 * MIB);
    for generation in 0..3 {
        let film = film(&cache, 300, KIB);
        common::fill(&film, 0..200);
        film.write(250, 0, &[1; 10]).unwrap();
        let reader = film.reader();
        let snapshot = reader.snapshot();
        let held = snapshot.held(7).unwrap();
        film.evict(0..50).unwrap();
        film.insert(0, &content(generation, 1, 0, KIB)).unwrap();
        film.remove().unwrap();
        drop(snapshot);
        drop((reader, held, film));
    }
    let last = film(&cache, 4, KIB);
    eventually("only pool and table are left", || {
        sweep(&cache, &[&last]);
        let states = cache.stats().states;
        states.total() == states.pooled + states.table
    });
    let table = cache.stats().states.table;
    assert!(table < 4 * KIB as u64, "one small film is left, its table takes {table}");
    last.remove().unwrap();
    drop(last);
    eventually("the table is gone", || {
        drop(cache.add_storage(layout(1, 1)).and_then(|film| film.remove()));
        cache.stats().states.table == 0
    });
    assert_eq!((cache.budget(), cache.stats().snapshots), (4 * MIB as u64, 0));
}

fn a_film_removed_under_a_snapshot_gives_its_memory_back_after_it<R: Reclaim>() {
    let cache = cache::<R>(2 * MIB);
    let (old, new) = (film(&cache, 100, LEN), film(&cache, 100, LEN));
    common::fill(&old, 0..100);
    let reader = old.reader();
    let snapshot = reader.snapshot();
    old.remove().unwrap();
    assert_eq!(snapshot.get(1).unwrap(), of(1, LEN));
    drop(snapshot);
    // The handle and the reader stay; they keep nothing.
    common::fill(&new, 0..100);
    assert_eq!(present(&new).len(), 100);
    assert_eq!(cache.stats().evictions, 100, "those of the removed film");
    assert_eq!(old.get(0).unwrap_err(), Error::UnknownStorage { id: old.id() });
}

#[test]
fn a_handle_that_outlives_its_cache_gives_its_memory_back() {
    let held = {
        let cache = built::<Hyaline>(Cache::builder(), MIB);
        let film = film(&cache, 4, LEN);
        common::fill(&film, 0..4);
        film.get(2).unwrap()
    };
    assert_eq!(held[..], of(2, LEN));
}

#[test]
fn where_all_seats_are_taken_the_one_of_a_victim_does() {
    // Under ASan pieces have more around them.
    let cache = cache::<Interval>(if cfg!(asan) { 160 } else { 96 } * KIB);
    let (old, new) = (film(&cache, 512, 1), film(&cache, 512, 1));
    common::fill(&old, 0..512);
    assert_eq!(cache.stats().evictions, 0, "the seats that a cache has from the start are taken");
    let evictions = |piece| {
        let before = cache.stats().evictions;
        common::fill(&new, piece..piece + 1);
        cache.stats().evictions - before
    };
    // Room for more seats would take 128 pieces.
    let evictions: Vec<_> = (0..512).map(evictions).collect();
    assert!(evictions.iter().all(|count| *count == 1), "{evictions:?}");
}

#[test]
fn the_budget_cannot_fall_to_what_the_most_pieces_ever_present_have_left_behind() {
    let cache = cache::<Interval>(8 * MIB);
    let film = film(&cache, 20_000, 1);
    common::fill(&film, 0..20_000);
    film.remove().unwrap();
    drop(film);
    let left = cache.stats().states.table;
    let seat = if cfg!(asan) { 24 } else { 16 };
    assert!((seat * 20_000..2 * seat * 20_000).contains(&left), "{left}");
    let refused = cache.set_budget(left).unwrap_err();
    assert_eq!(refused, Error::BudgetTooSmall { budget: left, least: left });
    let budget = left + 64 * KIB as u64;
    cache.set_budget(budget).unwrap();
    cache.shrink(Duration::ZERO).unwrap();
    let small = self::film(&cache, 10, 10);
    common::fill(&small, 0..10);
    assert_eq!(present(&small).len(), 10);
    let refused = cache.add_storage(Layout::fixed(budget / 3, (budget / 3) as u32).unwrap());
    assert!(matches!(refused, Err(Error::BudgetTooSmall { .. })));
}

#[test]
fn a_list_of_segments_is_counted_beside_the_one_that_it_takes_the_place_of() {
    let cache = cache::<Interval>(MIB);
    let film = cache.add_storage(Layout::segments()).unwrap();
    (0..1000).for_each(|piece| assert_eq!(film.append_segment(100), Ok(piece)));
    let stats = cache.stats();
    assert!(stats.resident_peak >= stats.resident + 8 * 1000, "{stats:?}");
    assert_eq!(stats.resident, stats.states.table);
    // Letting them go needs no memory, and the next list is shorter.
    let refused = cache.set_budget(16 * KIB as u64).unwrap_err();
    let Error::BudgetTooSmall { least, .. } = refused else { panic!("{refused}") };
    cache.set_budget(least + stats.resident + KIB as u64).unwrap();
    let refused = film.append_segment(100).unwrap_err();
    assert!(matches!(refused, Error::BudgetExhausted { .. }), "{refused}");
    film.drop_segments_before(990).unwrap();
    assert_eq!(film.layout().pieces(), 990..1000);
    assert_eq!(cache.stats().resident, stats.resident);
    assert_eq!(film.append_segment(100), Ok(1000));
    assert!(cache.stats().resident < stats.resident - 8 * 900);
}
