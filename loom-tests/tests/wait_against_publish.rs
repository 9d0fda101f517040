//! A waiter registers while what it waits for arrives: no wake-up is lost. Once by the set of
//! wakers alone, once by a whole cache.
#![cfg(loom)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool as Plain, Ordering::SeqCst};
use std::task::{Wake, Waker};

use lookbehind::model::{Epoch, Specification, Wakers};
use lookbehind::{Cache, Error, Held, Interval, Layout, Reclaim, Storage};
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use loom_tests::{Waiting, check, settle};

/// Large enough that publishing a piece makes no pass, whose fence would stand in for others.
const LEN: usize = 4096;

/// Notes a wake.
#[derive(Default)]
struct Noted(Plain);

impl Wake for Noted {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn wakers() {
    check("wait_against_publish, wakers", 4, || {
        let shared = Arc::new((Wakers::default(), AtomicBool::new(false)));
        let noted = Arc::new(Noted::default());
        let other = Arc::clone(&shared);
        let notifier = thread::spawn(move || {
            other.1.store(true, Ordering::Relaxed);
            other.0.wake_all();
        });
        let ticket = shared.0.register(&Waker::from(Arc::clone(&noted)));
        assert!(ticket.is_some());
        let seen = shared.1.load(Ordering::Relaxed);
        notifier.join().unwrap();
        assert!(seen || noted.0.load(SeqCst), "a wake-up was lost");
    });
}

/// Waits of a whole cache, one on this thread and so many on others, all of which `end` ends on
/// one more thread; what they ended with.
fn model<R: Reclaim>(others: usize, end: fn(&Storage<R>), check: fn(Result<Held, Error>)) {
    let cache = Cache::builder().budget(1 << 20).build_with::<R>().unwrap();
    let film = cache.add_storage(Layout::fixed(LEN as u64, LEN as u32).unwrap()).unwrap();
    let ending = film.clone();
    let ender = thread::spawn(move || end(&ending));
    let others: Vec<_> = (0..others)
        .map(|_| {
            let mut waiting = Waiting::new(film.wait(0));
            thread::spawn(move || {
                let polled = waiting.poll();
                (waiting, polled)
            })
        })
        .collect();
    let mut waiting = Waiting::new(film.wait(0));
    let polled = waiting.poll();
    ender.join().unwrap();
    check(waiting.ended(polled));
    for other in others {
        let (waiting, polled) = other.join().unwrap();
        check(waiting.ended(polled));
    }
    if film.stats().present_pieces > 0 {
        settle(&cache, &film);
    }
    assert_eq!(cache.stats().waits, 0);
}

fn publish<R: Reclaim>(waiters: usize) {
    let end = |film: &Storage<R>| {
        film.insert(0, &[7; LEN]).unwrap();
    };
    model(waiters - 1, end, |ended| assert_eq!(*ended.unwrap(), [7; LEN]));
}

#[test]
fn one_wait() {
    check("wait_against_publish, a wait", 3, || publish::<Interval>(1));
}

#[test]
fn one_wait_by_epochs() {
    check("wait_against_publish, a wait by epochs", 2, || publish::<Epoch>(1));
}

#[test]
fn one_wait_above_the_specification() {
    check("wait_against_publish, a wait above the specification", 3, || {
        publish::<Specification>(1);
    });
}

#[test]
fn two_waits() {
    check("wait_against_publish, two waits", (1, 3), || publish::<Specification>(2));
}

#[test]
fn removal() {
    check("wait_against_publish, a removal", (1, 3), || {
        let end = |film: &Storage<Specification>| film.remove().unwrap();
        model(1, end, |ended| {
            let error = ended.unwrap_err();
            assert!(matches!(error, Error::Removed | Error::UnknownStorage { .. }));
        });
    });
}
