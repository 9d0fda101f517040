//! Two lock-free writers and a reader: both install versions, both make passes, and roots are
//! recycled under the other's eyes.
#![cfg(loom)]

use std::sync::Arc;

use lookbehind::model::{Epoch, Film, LEN, Reader, Shown, Specification};
use lookbehind::{Interval, Reclaim};
use loom::thread;
use loom_tests::check;

fn settle<R: Reclaim>(film: Arc<Film<R>>) {
    film.pass();
    assert!(!film.has_limbo(), "nobody reads, yet something waits for its grace period");
    assert_eq!(film.states().limbo, 0);
    film.finish();
}

fn film<R: Reclaim>() -> Arc<Film<R>> {
    let film = Film::<R>::new(1 << 20, 2);
    assert!(matches!(film.publish(0, 7), Shown::Done(_)));
    film
}

/// One writer replaces piece 0, the other publishes piece 1: no update is lost.
fn model<R: Reclaim>(readers: usize) {
    let film = film::<R>();
    let readers: Vec<_> = (0..readers)
        .map(|_| {
            let reader = Reader::new(&film);
            thread::spawn(move || {
                let snapshot = reader.snapshot();
                for piece in 0..2 {
                    if let Some((index, bytes)) = snapshot.get(piece) {
                        assert_eq!(index, piece);
                        assert!(bytes == [7; LEN] || bytes == [8; LEN] || bytes == [9; LEN]);
                        assert!((piece == 1) == (bytes == [9; LEN]));
                    }
                }
            })
        })
        .collect();
    let other = Arc::clone(&film);
    let other = thread::spawn(move || {
        assert!(matches!(other.publish(1, 9), Shown::Done(_)));
        other.pass();
    });
    assert!(film.unpublish(0));
    film.pass();
    assert!(matches!(film.publish(0, 8), Shown::Done(_)));
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    other.join().unwrap();
    let reader = Reader::new(&film);
    let snapshot = reader.snapshot();
    assert_eq!(snapshot.version(), 4);
    assert_eq!(snapshot.get(0), Some((0, [8; LEN])));
    assert_eq!(snapshot.get(1), Some((1, [9; LEN])));
    drop((snapshot, reader));
    settle(film);
}

/// Bound 2 was explored whole once: 3,812,039 executions in 17 minutes, all clean.
#[test]
fn two_writers() {
    check("writers_against_snapshot, two writers", (1, 2), || model::<Interval>(0));
}

/// Bound 1 takes long, and bound 2 was not tried to its end.
#[test]
fn two_writers_and_a_reader() {
    check("writers_against_snapshot, two writers and a reader", (0, 1), || model::<Interval>(1));
}

#[test]
fn two_writers_by_epochs() {
    check("writers_against_snapshot, two writers by epochs", (0, 2), || model::<Epoch>(0));
}

#[test]
fn two_writers_above_the_specification() {
    check("writers_against_snapshot, two writers above the specification", (1, 3), || {
        model::<Specification>(0);
    });
}

#[test]
fn two_writers_and_a_reader_above_the_specification() {
    check(
        "writers_against_snapshot, two writers and a reader above the specification",
        (1, 3),
        || {
            model::<Specification>(1);
        },
    );
}

/// Both claim the same piece: exactly one of them unpublishes it.
#[test]
fn same_victim() {
    check("writers_against_snapshot, the same victim", 2, || {
        let film = film::<Interval>();
        let other = Arc::clone(&film);
        let other = thread::spawn(move || {
            let mine = other.unpublish(0);
            other.pass();
            mine
        });
        let mine = film.unpublish(0);
        film.pass();
        assert!(mine ^ other.join().unwrap());
        settle(film);
    });
}

/// Each unpublishes a piece and makes a pass, or leaves it to the other one's: nothing that was
/// unpublished is forgotten, though no further pass is made.
#[test]
fn no_record_is_lost() {
    check("writers_against_snapshot, no record is lost", 2, || {
        let film = film::<Interval>();
        assert!(matches!(film.publish(1, 8), Shown::Done(_)));
        let other = Arc::clone(&film);
        let other = thread::spawn(move || {
            assert!(other.unpublish(1));
            other.pass();
        });
        assert!(film.unpublish(0));
        film.pass();
        other.join().unwrap();
        assert_eq!(film.states().limbo, 0);
        film.finish();
    });
}

/// Both publish the same piece: one of them does, the other finds it present, or closed.
#[test]
fn same_piece_and_close() {
    check("writers_against_snapshot, the same piece and a close", 2, || {
        let film = film::<Interval>();
        let other = Arc::clone(&film);
        let other = thread::spawn(move || {
            let shown = other.publish(1, 8);
            other.close();
            shown
        });
        let mine = film.publish(1, 9);
        film.pass();
        let theirs = other.join().unwrap();
        match (&mine, &theirs) {
            (Shown::Done(mine), Shown::Present) => assert_eq!(**mine, [9; LEN]),
            (Shown::Present | Shown::Closed, Shown::Done(theirs)) => {
                assert_eq!(**theirs, [8; LEN]);
            }
            _ => panic!("the piece was shown twice, or never"),
        }
        drop((mine, theirs));
        assert!(matches!(film.publish(1, 1), Shown::Closed | Shown::Present));
        settle(film);
    });
}
