//! The cache is aborted while a waiter registers and a writer publishes: the wait ends, by the
//! piece or by the abort; and an abort that says that all calls have ended is right.
#![cfg(loom)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use lookbehind::model::{Epoch, Specification};
use lookbehind::{Error, Interval, Reclaim, StorageOptions, Wait, verify_fn};
use loom::cell::UnsafeCell;
use loom::thread;
use loom_tests::{LEN, Waiting, check, film, settle};

fn model<R: Reclaim>(writers: usize) {
    let (cache, film) = film::<R>(1, StorageOptions::default());
    let aborting = cache.clone();
    let aborter = thread::spawn(move || aborting.abort(Wait::No));
    let writers: Vec<_> = (0..writers)
        .map(|_| {
            let film = film.clone();
            thread::spawn(move || film.insert(0, &[7; LEN]).is_ok())
        })
        .collect();
    let mut waiting = Waiting::new(film.wait(0));
    let polled = waiting.poll();
    aborter.join().unwrap();
    let written = writers.into_iter().any(|writer| writer.join().unwrap());
    match waiting.ended(polled) {
        Ok(held) => {
            assert!(written);
            assert_eq!(*held, [7; LEN]);
        }
        Err(error) => assert_eq!(error, Error::Aborted),
    }
    assert_eq!(film.get(0).is_ok(), written, "what is present stays readable");
    assert_eq!(film.insert(0, &[7; LEN]), Err(Error::Aborted));
    settle(&cache, &film);
}

#[test]
fn a_wait() {
    check("wait_against_abort, a wait", 3, || model::<Interval>(0));
}

#[test]
fn a_wait_by_epochs() {
    check("wait_against_abort, a wait by epochs", 2, || model::<Epoch>(0));
}

#[test]
fn a_wait_and_a_writer() {
    check("wait_against_abort, a wait and a writer", (2, 3), || model::<Specification>(1));
}

/// What the verifier of a user has at hand. loom sees who touches it.
struct Ground(UnsafeCell<()>);

// SAFETY: loom reports races on the cell, which holds nothing.
unsafe impl Sync for Ground {}
// SAFETY: as above.
unsafe impl Send for Ground {}

/// Once abort has said that all calls have ended, no call is under way, and what they have done
/// is done: a user may pull the ground from under the verifier.
#[test]
fn a_call() {
    check("wait_against_abort, a call", 3, || {
        let ground = Arc::new(Ground(UnsafeCell::new(())));
        let below = Arc::clone(&ground);
        // Noted when the look is over: what loom finds in it is a panic, which is caught.
        let looked = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&looked);
        let verifier = verify_fn(move |_, _| {
            below.0.with(|_| ());
            noted.store(true, SeqCst);
            false
        });
        let options = StorageOptions::default().verifier(Arc::new(verifier));
        let (cache, film) = film::<Interval>(1, options);
        let other = film.clone();
        let caller = thread::spawn(move || other.insert(0, &[7; LEN]).unwrap_err());
        if cache.abort(Wait::No) {
            ground.0.with_mut(|_| ());
        }
        let error = caller.join().unwrap();
        assert!(matches!(error, Error::Aborted | Error::VerifyFailed { .. }));
        assert_eq!(looked.load(SeqCst), error != Error::Aborted, "the look raced with the abort");
    });
}
