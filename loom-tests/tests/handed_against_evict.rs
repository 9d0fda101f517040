//! The handle comes with the wake-up: a piece that is evicted as soon as it is shown still
//! reaches everyone who waited for it, and its buffer is not used again before they are done.
#![cfg(loom)]

use lookbehind::model::{Epoch, Specification};
use lookbehind::{Interval, Reclaim, StorageOptions};
use loom::thread;
use loom_tests::{LEN, Waiting, check, film, settle};

/// A publisher and a waiter, who has registered; the evictor is on either thread, or a third one.
fn model<R: Reclaim>(third: bool) {
    let (cache, film) = film::<R>(2, StorageOptions::default());
    let mut waiting = Waiting::new(film.wait(0));
    assert!(waiting.poll().is_pending());
    let publishing = film.clone();
    let publisher = thread::spawn(move || {
        publishing.insert(0, &[7; LEN]).unwrap();
        if !third {
            assert_eq!(publishing.evict(0..1), Ok(1));
            publishing.insert(1, &[8; LEN]).unwrap();
        }
    });
    let evictor = third.then(|| {
        let film = film.clone();
        thread::spawn(move || {
            film.evict(0..1).unwrap();
            film.insert(1, &[8; LEN]).unwrap();
        })
    });
    let polled = waiting.poll();
    if let std::task::Poll::Ready(result) = &polled {
        assert_eq!(**result.as_ref().unwrap(), [7; LEN]);
    }
    publisher.join().unwrap();
    if let Some(evictor) = evictor {
        evictor.join().unwrap();
    }
    assert_eq!(*waiting.ended(polled).unwrap(), [7; LEN]);
    assert_eq!(*film.get(1).unwrap(), [8; LEN]);
    settle(&cache, &film);
}

#[test]
fn evicted_at_once() {
    check("handed_against_evict, at once", 3, || model::<Interval>(false));
}

#[test]
fn evicted_at_once_by_epochs() {
    check("handed_against_evict, at once by epochs", 2, || model::<Epoch>(false));
}

#[test]
fn evicted_by_another() {
    check("handed_against_evict, by another thread", (1, 3), || model::<Specification>(true));
}
