//! Blocks of one piece by two writers, against those who commit, abandon, insert and read what is
//! there: unwritten bytes are never readable, and the piece is published once, whole.
#![cfg(shuttle)]

use std::sync::Arc;

use lookbehind::{Error, Layout, Progress, Reclaim, Storage, StorageOptions, verify_fn};
use shuttle::thread;
use shuttle_tests::scene::{bytes, cache, check, film, join, settled, within};
use shuttle_tests::schemes;

const BUDGET: usize = 1 << 20;
const LEN: usize = 600;

/// Writes three blocks that overlap, in this order.
fn write<R: Reclaim>(film: &Storage<R>, whole: &[u8], order: [usize; 3]) -> Vec<Progress> {
    let blocks = order.map(|at| (at * 200, (at * 200 + 250).min(LEN)));
    let write = |(from, to): (usize, usize)| film.write(0, from as u32, &whole[from..to]);
    blocks.into_iter().filter_map(|block| known(write(block))).collect()
}

/// What may come of a call on a piece that others abandon.
fn known<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(done) => Some(done),
        Err(Error::NotOpen { .. } | Error::Incomplete { .. } | Error::Missing { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

fn one_is_the_last<R: Reclaim>() {
    let cache = cache::<R>(BUDGET);
    let film = film(&cache, 1, LEN as u32);
    let writers = [[0, 1, 2], [2, 0, 1]].map(|order| {
        let film = film.clone();
        thread::spawn(move || {
            let steps = write(&film, &bytes(1, 0, 7, LEN), order);
            // Nobody abandons it here: who completes it commits.
            assert_eq!(steps.len(), 3);
            let complete = steps.contains(&Progress::Complete);
            if complete {
                film.commit(0).unwrap();
            }
            complete
        })
    });
    let reading = film.clone();
    let readers = [0, 1].map(|at| {
        let film = reading.clone();
        thread::spawn(move || {
            let whole = bytes(1, 0, 7, LEN);
            for _ in 0..2 {
                let from = at * 300;
                if let Some(part) = known(film.read_back(0, from as u32, 100)) {
                    assert_eq!(part, whole[from..from + 100]);
                }
            }
        })
    });
    let complete = join(writers);
    join(readers);
    assert!(complete.contains(&true), "nobody saw it complete");
    assert_eq!(check(1, 0, &film.get(0).unwrap()), 7);
    assert_eq!(cache.stats().published, 1);
    drop((film, reading));
    settled(&cache);
}

fn abandoned_and_inserted<R: Reclaim>() {
    let cache = cache::<R>(BUDGET);
    let options = StorageOptions::default().readable_prefix(true);
    let layout = Layout::fixed(LEN as u64, LEN as u32).unwrap();
    let film = cache.add_storage_with(layout, options).unwrap();
    let writing = film.clone();
    let writer = thread::spawn(move || {
        write(&writing, &bytes(1, 0, 7, LEN), [0, 1, 2]);
        known(writing.commit(0));
    });
    let abandoning = film.clone();
    let abandoner = thread::spawn(move || {
        abandoning.abandon(0).unwrap();
        abandoning.abandon(0).unwrap();
    });
    let inserting = film.clone();
    let inserter = thread::spawn(move || inserting.insert(0, &bytes(1, 0, 7, LEN)).unwrap());
    let reading = film.clone();
    let reader = thread::spawn(move || {
        let whole = bytes(1, 0, 7, LEN);
        let arriving: Vec<_> = (0..3).filter_map(|_| reading.arriving(0)).collect();
        for prefix in arriving {
            assert_eq!(*prefix, whole[..prefix.len()], "an unwritten byte was shown");
        }
    });
    writer.join().unwrap();
    abandoner.join().unwrap();
    inserter.join().unwrap();
    reader.join().unwrap();
    assert_eq!(check(1, 0, &film.get(0).unwrap()), 7);
    let states = cache.stats().states;
    assert_eq!(states.assembling, 0, "an assembly of a published piece was left open: {states}");
    drop(film);
    within(&cache, BUDGET);
    settled(&cache);
}

/// Whoever writes the last block has the piece verified and published; removal comes in between.
fn verified_and_removed<R: Reclaim>() {
    let cache = cache::<R>(BUDGET);
    let verifier = verify_fn(|piece, found: &[u8]| *found == bytes(1, piece, 7, LEN)[..]);
    let options = StorageOptions::default().verifier(Arc::new(verifier));
    let layout = Layout::fixed(2 * LEN as u64, LEN as u32).unwrap();
    let film = cache.add_storage_with(layout, options).unwrap();
    let writers = [[0, 1, 2], [2, 1, 0]].map(|order| {
        let film = film.clone();
        thread::spawn(move || {
            for at in order {
                let (from, to) = (at * 200, at * 200 + 200);
                match film.write(0, from as u32, &bytes(1, 0, 7, LEN)[from..to]) {
                    Ok(_) | Err(Error::UnknownStorage { .. } | Error::NotOpen { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        })
    });
    let wrong = film.clone();
    let wrong = thread::spawn(move || match wrong.insert(1, &[3; LEN]) {
        Err(Error::VerifyFailed { piece: 1 } | Error::UnknownStorage { .. }) => {}
        other => panic!("{other:?}"),
    });
    let removing = film.clone();
    let remover = thread::spawn(move || {
        let held = removing.get(0).ok();
        removing.remove().unwrap();
        held.iter().for_each(|held| {
            check(1, 0, held);
        });
    });
    join(writers);
    wrong.join().unwrap();
    remover.join().unwrap();
    let states = cache.stats().states;
    assert_eq!(states.assembling, 0, "an assembly of a removed film was left open: {states}");
    drop(film);
    settled(&cache);
}

schemes!(one_is_the_last, abandoned_and_inserted, verified_and_removed);
