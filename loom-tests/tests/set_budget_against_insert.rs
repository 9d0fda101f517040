//! The limit falls while pieces are inserted, one of which must make room: no insert goes by a
//! limit that it saw before, and what is resident above the limit only falls.
#![cfg(loom)]

use lookbehind::model::{Epoch, Specification};
use lookbehind::{Cache, Error, Insert, Interval, Layout, Reclaim, Storage};
use loom::thread;
use loom_tests::{check, settle};

/// Room for three pieces and all else before the limit falls, and for two afterwards.
const LEN: usize = 4608;
const BEFORE: u64 = 32 << 10;
const AFTER: u64 = 16 << 10;

fn insert<R: Reclaim>(film: &Storage<R>, piece: u32) -> bool {
    match film.insert(piece, &[piece as u8; LEN]) {
        Ok(done) => {
            assert_eq!(done, Insert::Published);
            true
        }
        // Another one was using the room, or had the pass that would have made it.
        Err(error) => {
            assert!(matches!(error, Error::BudgetExhausted { .. }), "{error}");
            false
        }
    }
}

fn model<R: Reclaim>(inserts: u32) {
    let cache = Cache::builder().budget(BEFORE).build_with::<R>().unwrap();
    let film = cache.add_storage(Layout::fixed(3 * LEN as u64, LEN as u32).unwrap()).unwrap();
    for piece in 0..3 - inserts {
        assert!(insert(&film, piece));
    }
    let inserts: Vec<_> = (3 - inserts..3)
        .map(|piece| {
            let film = film.clone();
            thread::spawn(move || insert(&film, piece))
        })
        .collect();
    cache.set_budget(AFTER).unwrap();
    let seen = cache.stats().resident;
    assert!(seen <= BEFORE);
    inserts.into_iter().for_each(|insert| {
        insert.join().unwrap();
    });
    let stats = cache.stats();
    assert!(stats.resident <= AFTER.max(seen), "{} grew above {AFTER}", stats.resident);
    for piece in 0..3 {
        if let Ok(held) = film.get(piece) {
            assert!(held.iter().all(|byte| *byte == piece as u8));
        }
    }
    settle(&cache, &film);
}

#[test]
fn one_insert() {
    check("set_budget_against_insert, an insert", (1, 2), || model::<Interval>(1));
}

#[test]
fn one_insert_by_epochs() {
    check("set_budget_against_insert, an insert by epochs", (0, 2), || model::<Epoch>(1));
}

#[test]
fn two_inserts() {
    check("set_budget_against_insert, two inserts", (1, 2), || model::<Specification>(2));
}
