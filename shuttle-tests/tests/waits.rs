//! Every wait ends, and says by what: against publication, eviction, removal, abort, deadline and
//! its own drop. A wake-up that is lost shows as a deadlock.
#![cfg(shuttle)]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Waker};
use std::time::Duration;

use lookbehind::{Cache, Error, Held, Insert, Reclaim, Storage, Wait};
use shuttle::thread::{self, JoinHandle};
use shuttle_tests::block_on;
use shuttle_tests::scene::{bytes, cache, check, film, join, settled, timed, within};
use shuttle_tests::schemes;

const BUDGET: usize = 1 << 20;
const LEN: usize = 100;

fn waiter<R: Reclaim>(film: &Storage<R>, piece: u32) -> JoinHandle<Result<Held, Error>> {
    let film = film.clone();
    thread::spawn(move || block_on(film.wait(piece)))
}

/// Two threads wait for one piece, which is evicted as soon as it is there: both get it. A third
/// one gives its wait up, and evicts.
fn published_and_evicted<R: Reclaim>() {
    let cache = cache::<R>(BUDGET);
    let film = film(&cache, 2, LEN as u32);
    let early = pin_wait(&film);
    let waiters = [0, 1].map(|_| waiter(&film, 0));
    let publishing = film.clone();
    let publisher = thread::spawn(move || {
        publishing.insert(0, &bytes(1, 0, 7, LEN)).unwrap();
        // Who comes too late waits for the next time.
        publishing.evict(0..1).unwrap();
        publishing.insert(0, &bytes(1, 0, 8, LEN)).unwrap();
        publishing
    });
    let other = film.clone();
    let evictor = thread::spawn(move || {
        let mut wait = pin!(other.wait(0));
        let mut cx = Context::from_waker(Waker::noop());
        let _ = wait.as_mut().poll(&mut cx).map(|held| check(1, 0, &held.unwrap()));
        other.evict(0..1).unwrap();
    });
    let publishing = publisher.join().unwrap();
    evictor.join().unwrap();
    // The last one may have been evicted before who came late looked.
    publishing.insert(0, &bytes(1, 0, 9, LEN)).unwrap();
    for found in join(waiters) {
        assert!([7, 8, 9].contains(&check(1, 0, &found.unwrap())));
    }
    // Registered before the first publication: no eviction comes between.
    assert_eq!(check(1, 0, &block_on(early).unwrap()), 7);
    assert_eq!(cache.stats().waits, 0, "a wait was left behind");
    drop((film, publishing));
    within(&cache, BUDGET);
    settled(&cache);
}

/// A wait that is registered.
fn pin_wait<R: Reclaim>(film: &Storage<R>) -> lookbehind::WaitPiece<R> {
    let mut wait = film.wait(0);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(std::pin::Pin::new(&mut wait).poll(&mut cx).is_pending());
    wait
}

/// Waits of two threads, of which one may be served, against who ends them all.
fn ended<R: Reclaim>(end: fn(&Cache<R>, &Storage<R>), by: fn(&Error) -> bool) -> Cache<R> {
    let cache = cache::<R>(BUDGET);
    let film = film(&cache, 2, LEN as u32);
    let never = waiter(&film, 1);
    let maybe = waiter(&film, 0);
    let publishing = film.clone();
    let publisher = thread::spawn(move || match publishing.insert(0, &bytes(1, 0, 7, LEN)) {
        Ok(Insert::Published) => true,
        Err(error) => {
            assert!(by_end(&error), "{error}");
            false
        }
        other => panic!("{other:?}"),
    });
    let ender = {
        let (cache, film) = (cache.clone(), film.clone());
        thread::spawn(move || end(&cache, &film))
    };
    let error = never.join().unwrap().unwrap_err();
    assert!(by(&error), "{error}");
    match maybe.join().unwrap() {
        Ok(held) => assert_eq!(check(1, 0, &held), 7),
        Err(error) => assert!(by(&error), "{error}"),
    }
    publisher.join().unwrap();
    ender.join().unwrap();
    assert_eq!(cache.stats().waits, 0, "a wait was left behind");
    cache
}

fn by_end(error: &Error) -> bool {
    matches!(error, Error::UnknownStorage { .. } | Error::Aborted)
}

fn removed<R: Reclaim>() {
    let by = |error: &Error| matches!(error, Error::Removed | Error::UnknownStorage { .. });
    let cache = ended::<R>(|_, film| film.remove().unwrap(), by);
    settled(&cache);
}

fn aborted<R: Reclaim>() {
    let end = |cache: &Cache<R>, _: &Storage<R>| {
        cache.abort(Wait::No);
        cache.abort(Wait::No);
    };
    ended::<R>(end, |error| *error == Error::Aborted);
}

/// Two waits with a deadline, the clock, and who publishes the piece of one of them.
fn timed_out<R: Reclaim>() {
    let (cache, clock) = timed::<R>(Cache::builder(), BUDGET);
    let film = film(&cache, 2, LEN as u32);
    let done = Arc::new(AtomicUsize::new(0));
    let waiters = [0, 1].map(|piece| {
        let (film, done) = (film.clone(), Arc::clone(&done));
        thread::spawn(move || {
            let found = block_on(film.wait(piece).deadline(Duration::from_secs(2)));
            done.fetch_add(1, Relaxed);
            found
        })
    });
    let publishing = film.clone();
    let publisher = thread::spawn(move || publishing.insert(0, &bytes(1, 0, 7, LEN)).unwrap());
    let ticker = thread::spawn(move || {
        while done.load(Relaxed) < 2 {
            clock.advance(Duration::from_secs(1));
            thread::yield_now();
        }
    });
    let [served, missed] = join(waiters);
    publisher.join().unwrap();
    ticker.join().unwrap();
    assert_eq!(missed.unwrap_err(), Error::TimedOut);
    match served {
        Ok(held) => assert_eq!(check(1, 0, &held), 7),
        Err(error) => assert_eq!(error, Error::TimedOut),
    }
    assert_eq!(cache.stats().waits, 0, "a wait was left behind");
    drop(film);
    settled(&cache);
}

/// Writers wait for memory that is all under handles, which another one drops. Nothing else wakes them:
/// the clock stands still.
fn memory<R: Reclaim>() {
    const FULL: usize = 20 << 10;
    const LEN: usize = 4000;
    let cache = cache::<R>(FULL);
    let film = film(&cache, 8, LEN as u32);
    let held = [0, 1, 2, 3].map(|piece| {
        film.insert(piece, &bytes(1, piece, 0, LEN)).unwrap();
        film.get(piece).unwrap()
    });
    film.evict(0..4).unwrap();
    assert!(film.insert(4, &bytes(1, 4, 0, LEN)).is_err(), "there is room");
    let writers = [4, 5].map(|piece| {
        let film = film.clone();
        thread::spawn(move || {
            block_on(film.insert_async(piece, &bytes(1, piece, 1, LEN), None)).unwrap()
        })
    });
    let dropper = thread::spawn(move || drop(held));
    dropper.join().unwrap();
    assert_eq!(join(writers), [Insert::Published; 2]);
    drop(film);
    within(&cache, FULL);
    settled(&cache);
}

schemes!(published_and_evicted, removed, aborted, timed_out, memory);
