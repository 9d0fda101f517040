//! A snapshot is held while what it shows is unpublished and passes are made: nothing that it
//! shows is freed before it ends, and everything is freed after.
#![cfg(loom)]

use std::sync::Arc;

use lookbehind::model::{Epoch, Film, Grace, LEN, Reader, Reclaim, Shown, Snapshot};
use lookbehind::{Interval, States};
use loom::thread;
use loom_tests::check;

fn publish<R: Reclaim>(film: &Film<R>, piece: u32, byte: u8) {
    assert!(matches!(film.publish(piece, byte), Shown::Done(_)));
}

/// Versions up to 1 show the piece 0 with bytes of 7.
fn look<R: Reclaim>(snapshot: &Snapshot<R>) {
    let expected = (snapshot.version() == 1).then_some((0, [7; LEN]));
    assert_eq!(snapshot.get(0), expected);
}

/// Nobody reads any more: one pass frees everything.
fn settle<R: Reclaim>(film: Arc<Film<R>>) {
    film.pass();
    assert!(!film.has_limbo(), "nobody reads, yet something waits for its grace period");
    let States { limbo, held, assembling, .. } = film.states();
    assert_eq!((limbo, held, assembling), (0, 0, 0));
    film.finish();
}

fn hold<R: Reclaim>(readers: usize) {
    let film = Film::<R>::new(1 << 20, 1);
    publish(&film, 0, 7);
    let readers: Vec<_> = (0..readers)
        .map(|_| {
            let reader = Reader::new(&film);
            thread::spawn(move || {
                let snapshot = reader.snapshot();
                look(&snapshot);
                look(&snapshot);
            })
        })
        .collect();
    assert!(film.unpublish(0));
    film.pass();
    // The second pass finds what hangs on the root that the first one found announced.
    film.pass();
    for reader in readers {
        reader.join().unwrap();
    }
    settle(film);
}

#[test]
fn one_reader() {
    check("retire_against_snapshot, a reader", 5, || hold::<Interval>(1));
}

#[test]
fn two_readers() {
    check("retire_against_snapshot, two readers", 3, || hold::<Interval>(2));
}

#[test]
fn one_reader_by_epochs() {
    check("retire_against_snapshot, a reader by epochs", (2, 3), || hold::<Epoch>(1));
}

/// A snapshot goes to another thread and ends there; meanwhile its reader, who finds the lane
/// idle at some time, takes the next one in it.
fn send<R: Reclaim>() {
    let film = Film::<R>::new(1 << 20, 1);
    publish(&film, 0, 7);
    let reader = Reader::new(&film);
    let snapshot = reader.snapshot();
    let elsewhere = thread::spawn(move || look(&snapshot));
    let owner = thread::spawn(move || {
        if let Some(snapshot) = reader.try_snapshot(0, u32::MAX) {
            look(&snapshot);
        }
    });
    assert!(film.unpublish(0));
    film.pass();
    elsewhere.join().unwrap();
    owner.join().unwrap();
    settle(film);
}

#[test]
fn sent() {
    check("retire_against_snapshot, sent", 3, send::<Interval>);
}

#[test]
fn sent_by_epochs() {
    check("retire_against_snapshot, sent by epochs", (1, 2), send::<Epoch>);
}

/// One thread unpublishes, another makes passes, a third reads: passes take turns, and what was
/// unpublished by others is seen whole.
#[test]
fn two_passes() {
    check("retire_against_snapshot, two passes", 3, || {
        let film = Film::<Interval>::new(1 << 20, 1);
        publish(&film, 0, 7);
        let reader = Reader::new(&film);
        let reader = thread::spawn(move || look(&reader.snapshot()));
        let other = Arc::clone(&film);
        let other = thread::spawn(move || other.pass());
        assert!(film.unpublish(0));
        film.pass();
        reader.join().unwrap();
        other.join().unwrap();
        settle(film);
    });
}

/// A library of epochs says by a flag, on whatever thread, that the last snapshot has ended: the
/// pass that finds it raised comes after that snapshot's last look. What fences the libraries
/// have of their own is left out here.
#[test]
fn by_a_flag() {
    check("retire_against_snapshot, by a flag", 3, || {
        let (mut grace, last) = Grace::new();
        let library = thread::spawn(move || last.ends());
        let freed = grace.pass();
        library.join().unwrap();
        assert_eq!(grace.pass(), !freed);
    });
}

/// Who finds a pass under way goes on, and that pass collects for it as well, before it ends.
#[test]
fn taken_over() {
    check("retire_against_snapshot, taken over", 3, || {
        let film = Film::<Interval>::new(1 << 20, 1);
        publish(&film, 0, 7);
        let other = Arc::clone(&film);
        let other = thread::spawn(move || other.pass());
        assert!(film.unpublish(0));
        film.pass();
        other.join().unwrap();
        assert_eq!(film.states().limbo, 0, "neither pass has collected it");
        settle(film);
    });
}

/// A snapshot of a window keeps what lies in it, and nothing else: a piece of another leaf gives
/// its memory back by one pass, whatever the reader does.
#[test]
fn window() {
    check("retire_against_snapshot, a window", 4, || {
        let film = Film::<Interval>::new(1 << 20, 4);
        publish(&film, 2, 8);
        publish(&film, 0, 7);
        let reader = Reader::new(&film);
        let reader = thread::spawn(move || {
            let snapshot = reader.try_snapshot(0, 1).unwrap();
            let expected = (snapshot.version() <= 3).then_some((0, [7; LEN]));
            assert_eq!(snapshot.get(0), expected);
        });
        assert!(film.unpublish(2));
        film.pass();
        assert_eq!(film.states().limbo, 0, "a piece outside of every window was kept");
        assert!(film.unpublish(0));
        film.pass();
        reader.join().unwrap();
        settle(film);
    });
}

/// A lane is used again, with another window: a pass that finds the root of the first snapshot
/// and already the window of the second may free what the first looked at, and then comes after
/// its last look. It frees a leaf and no piece, for giving a piece back has a fence of its own.
#[test]
fn another_window() {
    check("retire_against_snapshot, another window", 3, || {
        let film = Film::<Interval>::new(1 << 20, 4);
        publish(&film, 0, 7);
        let reader = Reader::new(&film);
        let reader = thread::spawn(move || {
            let snapshot = reader.try_snapshot(0, 1).unwrap();
            assert_eq!(snapshot.get(0), Some((0, [7; LEN])));
            drop(snapshot);
            drop(reader.try_snapshot(2, 3));
        });
        publish(&film, 1, 8);
        film.pass();
        reader.join().unwrap();
        assert!(film.unpublish(0) && film.unpublish(1));
        settle(film);
    });
}
