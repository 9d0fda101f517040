//! Handles are dropped while their piece is unpublished, passes its grace period and its buffer
//! is used again: the last share hands the buffer back, once, whoever drops it.
#![cfg(loom)]

use std::sync::Arc;

use lookbehind::model::{Epoch, Film, Held, LEN, Shown};
use lookbehind::{Interval, Reclaim};
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use loom_tests::check;

fn film<R: Reclaim>() -> (Arc<Film<R>>, Held) {
    let film = Film::<R>::new(1 << 20, 2);
    let Shown::Done(held) = film.publish(0, 7) else { panic!("not shown") };
    (film, held)
}

fn read_and_drop(held: &Held) {
    assert_eq!(**held, [7; LEN]);
}

/// Evicted, and the buffer used again for another piece, while handles go.
fn model<R: Reclaim>(handles: usize) {
    let (film, held) = film::<R>();
    let gone: Vec<_> = (0..handles).map(|_| Arc::new(AtomicBool::new(false))).collect();
    let threads: Vec<_> = std::iter::repeat_n(held, handles)
        .zip(gone.clone())
        .map(|(held, gone)| {
            thread::spawn(move || {
                read_and_drop(&held);
                drop(held);
                gone.store(true, Ordering::Relaxed);
            })
        })
        .collect();
    assert!(film.unpublish(0));
    film.pass();
    // loom compares an access with the last one only: the hand-back's own load hides from it
    // that the hand-back depends on the look at the list below. These flags bring it here; they
    // order nothing.
    gone.iter().for_each(|gone| {
        gone.load(Ordering::Relaxed);
    });
    let Shown::Done(other) = film.publish(1, 8) else { panic!("not shown") };
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(*other, [8; LEN]);
    drop(other);
    film.finish();
}

#[test]
fn one_handle() {
    check("held_against_evict, a handle", 4, || model::<Interval>(1));
}

#[test]
fn one_handle_by_epochs() {
    check("held_against_evict, a handle by epochs", 2, || model::<Epoch>(1));
}

#[test]
fn two_handles() {
    check("held_against_evict, two handles", 3, || model::<Interval>(2));
}

/// A buffer comes back while the cache goes: whoever comes second frees it.
#[test]
fn recycle_against_close() {
    check("held_against_evict, a buffer comes back against close", 3, || {
        let film = Film::<Interval>::new(1 << 20, 1);
        let buffer = film.buffer();
        let thread = thread::spawn(move || drop(buffer));
        let ended = film.end();
        thread.join().unwrap();
        ended.check();
    });
}

/// Handles outlive the cache: whoever comes last frees the buffer, and the memory with it.
#[test]
fn close() {
    check("held_against_evict, close", 3, || {
        let (film, held) = film::<Interval>();
        let clone = held.clone();
        let threads = [held, clone].map(|held| thread::spawn(move || read_and_drop(&held)));
        let ended = film.end();
        for thread in threads {
            thread.join().unwrap();
        }
        ended.check();
    });
}
