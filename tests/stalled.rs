//! A reader that stops inside a snapshot.

mod common;

use std::thread;
use std::time::Duration;

use common::{KIB, MIB, PATIENCE, cache, eventually, fill, film, of, schemes, sweep};
use lookbehind::{Epoch, Error, Hyaline, Interval, Reclaim};

const LEN: usize = 64 * KIB;
const BUDGET: usize = 16 * MIB;
/// Pieces in an eighth of the budget.
const EIGHTH: u32 = (BUDGET / 8 / (LEN + 128)) as u32;
/// What the table nodes of a version take, with some to spare.
const NODES: u64 = 32 * KIB as u64;

schemes!(
    what_a_stalled_reader_shows_stays_whatever_the_writers_do,
    other_readers_go_on_beside_a_stalled_one,
    memory_comes_back_when_the_stalled_reader_goes_on,
);

#[test]
fn with_intervals_writers_go_on_and_only_what_it_shows_stays() {
    let cache = cache::<Interval>(BUDGET);
    let (film, other) = (film(&cache, 2000, LEN), film(&cache, 2000, LEN));
    fill(&film, 0..EIGHTH);
    let reader = film.reader();
    let stalled = reader.snapshot();
    let shown = cache.stats().states.published;
    assert!(shown <= BUDGET as u64 / 8);
    film.evict(0..EIGHTH).unwrap(); // so that all of it is in limbo
    let bytes = vec![7; LEN];
    for piece in EIGHTH..2000 {
        film.insert(piece, &bytes).unwrap_or_else(|error| panic!("piece {piece}: {error}"));
        other.insert(piece, &bytes).unwrap_or_else(|error| panic!("piece {piece}: {error}"));
        let stats = cache.stats();
        assert!(stats.resident <= BUDGET as u64);
        let most = shown + LEN as u64 + 128 + NODES;
        assert!(stats.states.limbo <= most, "limbo {} of {most}", stats.states.limbo);
    }
    assert!(cache.stats().resident_peak <= BUDGET as u64);
    for piece in 0..EIGHTH {
        assert_eq!(stalled.get(piece).unwrap(), of(piece, LEN));
    }
    drop(stalled);
    sweep(&cache, &[&film, &other]);
    assert_eq!(cache.stats().states.limbo, 0);
}

#[test]
fn with_intervals_several_stalled_readers_cost_what_they_show_together() {
    let cache = cache::<Interval>(BUDGET);
    let film = film(&cache, 3000, LEN);
    let readers: Vec<_> = (0..6).map(|_| film.reader()).collect();
    let bytes = vec![7; LEN];
    let mut stalled = Vec::new();
    // Each sees a film of another time, of which 20 pieces.
    for (reader, n) in readers.iter().zip(0..) {
        fill(&film, n * 20..n * 20 + 20);
        stalled.push(reader.snapshot_range(n * 20..n * 20 + 20));
        film.evict(0..3000).unwrap();
    }
    let shown = 6 * 20 * (LEN as u64 + 128);
    for piece in 200..1200 {
        film.insert(piece, &bytes).unwrap();
        assert!(cache.stats().states.limbo <= shown + LEN as u64 + 128 + NODES);
    }
    for (snapshot, n) in stalled.iter().zip(0..) {
        for piece in n * 20..n * 20 + 20 {
            assert_eq!(snapshot.get(piece).unwrap(), of(piece, LEN));
        }
    }
    drop(stalled);
    sweep(&cache, &[&film]);
    assert_eq!(cache.stats().states.limbo, 0);
    assert!(cache.stats().resident_peak <= BUDGET as u64);
}

#[test]
fn with_intervals_a_stalled_reader_does_not_cost_the_cache_its_content() {
    // Room is made from what gives memory back now, as long as there is any.
    let cache = cache::<Interval>(4 * MIB);
    let film = film(&cache, 600, LEN);
    fill(&film, 0..30);
    let reader = film.reader();
    let stalled = reader.snapshot();
    for piece in 30..600 {
        film.insert(piece, &vec![1; LEN]).unwrap();
    }
    let stats = cache.stats();
    let usable = stats.states.published + stats.states.pooled;
    assert!(usable > 3 * MIB as u64, "{}", stats.states);
    assert_eq!(stalled.get(29).unwrap(), of(29, LEN));
}

/// Writes until nothing goes any more; how many went.
fn write_on<R: Reclaim>(film: &lookbehind::Storage<R>, from: u32) -> Result<u32, Error> {
    for piece in from..2000 {
        film.insert(piece, &vec![7; LEN])?;
    }
    Ok(2000 - from)
}

fn others_are_refused_or_wait<R: Reclaim>() {
    let cache = cache::<R>(BUDGET);
    let film = film(&cache, 2000, LEN);
    fill(&film, 0..EIGHTH);
    let reader = film.reader();
    let stalled = reader.snapshot();
    let refused = write_on(&film, EIGHTH).unwrap_err();
    let Error::BudgetExhausted { states, snapshots, .. } = refused else { panic!("{refused}") };
    assert!(states.limbo > 0 && snapshots >= 1, "it says who keeps the memory: {refused}");
    assert!(film.insert(1998, &of(1998, LEN)).is_err());
    assert_eq!(cache.stats().evictions, 1, "what it needs is in limbo: more would give nothing");
    let refused = film.insert_wait(1999, &of(1999, LEN), Duration::from_millis(30));
    assert!(matches!(refused, Err(Error::BudgetExhausted { .. })), "{refused:?}");
    assert!(cache.stats().resident_peak <= BUDGET as u64);
    assert!(film.stats().present_pieces > EIGHTH, "refusals do not empty the cache");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| film.insert_wait(1999, &of(1999, LEN), PATIENCE));
        assert_eq!(stalled.get(0).unwrap(), of(0, LEN));
        drop(stalled);
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(film.get(1999).unwrap()[..], of(1999, LEN));
}

#[test]
fn with_epochs_writers_are_refused_or_wait_and_go_on_afterwards() {
    others_are_refused_or_wait::<Epoch>();
}

#[test]
fn with_hyaline_writers_are_refused_or_wait_and_go_on_afterwards() {
    others_are_refused_or_wait::<Hyaline>();
}

fn what_a_stalled_reader_shows_stays_whatever_the_writers_do<R: Reclaim>() {
    let cache = cache::<R>(4 * MIB);
    let film = film(&cache, 2000, LEN);
    fill(&film, 0..8);
    let reader = film.reader();
    let stalled = reader.snapshot();
    thread::scope(|scope| {
        for n in 0..2 {
            let film = &film;
            scope.spawn(move || {
                for piece in (100 + n..700).step_by(2) {
                    let _ = film.insert(piece, &vec![0xee; LEN]);
                    let _ = film.evict(0..8);
                    let _ = film.insert(piece % 8, &vec![0xdd; LEN]);
                }
            });
        }
        for round in 0..40 {
            assert_eq!(stalled.get(round % 8).unwrap(), of(round % 8, LEN));
        }
    });
    for piece in 0..8 {
        assert_eq!(stalled.get(piece).unwrap(), of(piece, LEN), "piece {piece}");
    }
    assert_eq!(stalled.runs().collect::<Vec<_>>(), vec![0..8]);
    assert!(cache.stats().resident_peak <= 4 * MIB as u64);
}

fn other_readers_go_on_beside_a_stalled_one<R: Reclaim>() {
    let cache = cache::<R>(4 * MIB);
    let film = film(&cache, 100, LEN);
    fill(&film, 0..20);
    let reader = film.reader();
    let stalled = reader.snapshot();
    let other = film.reader();
    for piece in 0..20 {
        film.insert(piece + 30, &of(piece + 30, LEN)).unwrap();
        let snapshot = other.snapshot();
        assert_eq!(snapshot.get(piece).unwrap(), of(piece, LEN));
        assert_eq!(snapshot.get(piece + 30).unwrap(), of(piece + 30, LEN));
        assert!(!stalled.contains(piece + 30));
    }
}

fn memory_comes_back_when_the_stalled_reader_goes_on<R: Reclaim>() {
    let cache = cache::<R>(BUDGET);
    let film = film(&cache, 2000, LEN);
    for round in 0..5 {
        fill(&film, 0..EIGHTH);
        let reader = film.reader();
        let stalled = reader.snapshot();
        let _ = write_on(&film, EIGHTH + round);
        drop(stalled);
        eventually("the limbo is empty", || {
            sweep(&cache, &[&film]);
            cache.stats().states.limbo == 0
        });
        film.evict(0..2000).unwrap();
    }
    assert!(cache.stats().resident_peak <= BUDGET as u64);
}
