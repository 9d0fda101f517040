//! A wait is dropped while the piece arrives: it leaves nothing behind, neither a registration
//! nor the handle that it was given, and the waits beside it end as they should.
#![cfg(loom)]

use std::task::Poll;

use lookbehind::model::{Epoch, Specification};
use lookbehind::{Interval, Reclaim, StorageOptions};
use loom::thread;
use loom_tests::{LEN, Waiting, check, film, settle};

fn model<R: Reclaim>(another: bool) {
    let (cache, film) = film::<R>(1, StorageOptions::default());
    let mut dropped = Waiting::new(film.wait(0));
    assert!(dropped.poll().is_pending());
    let mut stays = Waiting::new(film.wait(0));
    assert!(!another || stays.poll().is_pending());
    let dropper = thread::spawn(move || drop(dropped));
    if another {
        let other = film.clone();
        let polled = thread::spawn(move || {
            other.insert(0, &[7; LEN]).unwrap();
        });
        let again = stays.poll();
        polled.join().unwrap();
        assert_eq!(*stays.ended(again).unwrap(), [7; LEN]);
    } else {
        film.insert(0, &[7; LEN]).unwrap();
        assert!(matches!(stays.poll(), Poll::Ready(Ok(_))));
        drop(stays);
    }
    dropper.join().unwrap();
    assert_eq!(cache.stats().waits, 0);
    assert_eq!(cache.stats().pinned, 0, "the handle was left behind");
    settle(&cache, &film);
}

#[test]
fn alone() {
    check("wait_dropped_against_wake, alone", 3, || model::<Interval>(false));
}

#[test]
fn alone_by_epochs() {
    check("wait_dropped_against_wake, alone by epochs", 2, || model::<Epoch>(false));
}

#[test]
fn beside_another() {
    check("wait_dropped_against_wake, beside another wait", 3, || model::<Specification>(true));
}

/// Another piece arrives, whose arrival takes nothing of this one's list.
#[test]
fn beside_another_piece() {
    check("wait_dropped_against_wake, beside another piece", 3, || {
        let (cache, film) = film::<Specification>(2, StorageOptions::default());
        let mut waiting = Waiting::new(film.wait(0));
        assert!(waiting.poll().is_pending());
        let dropper = thread::spawn(move || drop(waiting));
        film.insert(1, &[7; LEN]).unwrap();
        dropper.join().unwrap();
        settle(&cache, &film);
    });
}
