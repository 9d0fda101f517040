//! More pieces than the budget has room for, while it goes down and up: never a byte too much at
//! any step, no wrong byte, and all memory comes back.
#![cfg(shuttle)]

use std::time::Duration;

use lookbehind::{Error, Reclaim};
use shuttle::thread;
use shuttle_tests::scene::{bytes, cache, check, film, join, refused, settled, within};
use shuttle_tests::schemes;

const LARGE: usize = 20 << 10;
const SMALL: usize = 16 << 10;
const LEN: usize = 3000;
const PIECES: u32 = 8;

/// Two writers, of which the second evicts as well, a reader, and one who changes the budget.
fn budget_down_and_up<R: Reclaim>() {
    let cache = cache::<R>(LARGE);
    let film = film(&cache, PIECES, LEN as u32);
    for piece in 0..4 {
        film.insert(piece, &bytes(1, piece, 0, LEN)).unwrap();
    }
    let writers = [4, 6].map(|first| {
        let (cache, film) = (cache.clone(), film.clone());
        thread::spawn(move || {
            for piece in first..first + 2 {
                refused(film.insert(piece, &bytes(1, piece, 1, LEN)));
                within(&cache, LARGE);
            }
            refused(film.evict(first..first + 1));
        })
    });
    let reading = film.clone();
    let reader = thread::spawn(move || {
        let reader = reading.reader();
        let mut held = None;
        for _ in 0..2 {
            let snapshot = reader.snapshot();
            for piece in snapshot.runs().flatten() {
                check(1, piece, snapshot.get(piece).unwrap());
                held = snapshot.held(piece).or(held);
            }
        }
        held
    });
    let changing = cache.clone();
    let changer = thread::spawn(move || {
        changing.set_budget(SMALL as u64).unwrap();
        // What is above the limit comes down, as far as nobody keeps it.
        let shrunk = changing.shrink(Duration::ZERO);
        match shrunk {
            Ok(()) => within_limit(&changing, SMALL),
            Err(error) => assert_eq!(error, Error::TimedOut),
        }
        changing.set_budget(LARGE as u64).unwrap();
    });
    join(writers);
    changer.join().unwrap();
    let held = reader.join().unwrap();
    held.iter().for_each(|held| {
        check(1, held.piece(), held);
    });
    drop((held, film));
    within(&cache, LARGE);
    settled(&cache);
}

/// Once shrunk, the smaller budget binds.
fn within_limit<R: Reclaim>(cache: &lookbehind::Cache<R>, limit: usize) {
    let stats = cache.stats();
    assert!(stats.resident <= limit as u64, "{} bytes after shrinking", stats.resident);
}

/// Two films, so that each writer makes room out of the other's, and a third that has a share.
fn two_films<R: Reclaim>() {
    let cache = cache::<R>(SMALL);
    let films = [1, 2].map(|id| {
        let film = film(&cache, PIECES, LEN as u32);
        film.insert(0, &bytes(id, 0, 0, LEN)).unwrap();
        film.insert(1, &bytes(id, 1, 0, LEN)).unwrap();
        film
    });
    let writers = [(1, 0), (2, 1)].map(|(id, at)| {
        let (cache, film) = (cache.clone(), films[at].clone());
        thread::spawn(move || {
            for piece in 2..5 {
                refused(film.insert(piece, &bytes(id, piece, 1, LEN)));
                within(&cache, SMALL);
            }
        })
    });
    let readers = [(1, 0), (2, 1)].map(|(id, at)| {
        let film = films[at].clone();
        thread::spawn(move || {
            for piece in 0..3 {
                let held = film.get(piece).ok();
                let reader = film.reader();
                let snapshot = reader.snapshot_range(piece..piece + 2);
                snapshot.get(piece + 1).iter().for_each(|found| {
                    check(id, piece + 1, found);
                });
                held.iter().for_each(|held| {
                    check(id, piece, held);
                });
            }
        })
    });
    join(writers);
    join(readers);
    drop(films);
    within(&cache, SMALL);
    settled(&cache);
}

schemes!(budget_down_and_up, two_films);
