//! A waiter registers while what it waits for arrives: no wake-up is lost. Once by the set of
//! wakers alone, once by a whole cache.
#![cfg(loom)]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool as Plain, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};

use lookbehind::model::Wakers;
use lookbehind::{Cache, Error, Held, Layout, Storage};
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use loom_tests::check;

/// Large enough that publishing one makes no pass, whose fence would stand in for others.
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

/// A wait of a whole cache, which `end` ends on another thread; registered before that starts,
/// or against it.
fn cache(early: bool, end: fn(&Storage)) -> Result<Held, Error> {
    let cache = Cache::builder().budget(1 << 20).build().unwrap();
    let film = cache.add_storage(Layout::fixed(LEN as u64, LEN as u32).unwrap()).unwrap();
    let noted = Arc::new(Noted::default());
    let waker = Waker::from(Arc::clone(&noted));
    let mut cx = Context::from_waker(&waker);
    let mut wait = pin!(film.wait(0));
    if early {
        assert!(wait.as_mut().poll(&mut cx).is_pending());
    }
    let other = film.clone();
    let ender = thread::spawn(move || end(&other));
    let first = wait.as_mut().poll(&mut cx);
    ender.join().unwrap();
    if let Poll::Ready(result) = first {
        return result;
    }
    assert!(noted.0.load(SeqCst), "a wake-up was lost");
    match wait.as_mut().poll(&mut cx) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("woken for nothing"),
    }
}

#[test]
fn publish() {
    check("wait_against_publish, a publication", 2, || {
        let held = cache(false, |film| {
            film.insert(0, &[7; LEN]).unwrap();
        });
        assert_eq!(*held.unwrap(), [7; LEN]);
    });
}

/// The handle is given out with the wake-up: no eviction comes between.
#[test]
fn publish_and_evict() {
    check("wait_against_publish, a publication and an eviction", 2, || {
        let held = cache(true, |film| {
            film.insert(0, &[7; LEN]).unwrap();
            assert_eq!(film.evict(0..1), Ok(1));
        });
        assert_eq!(*held.unwrap(), [7; LEN]);
    });
}

#[test]
fn remove() {
    check("wait_against_publish, a removal", 2, || {
        let error = cache(false, |film| film.remove().unwrap()).unwrap_err();
        assert!(matches!(error, Error::Removed | Error::UnknownStorage { .. }));
    });
}
