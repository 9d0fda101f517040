//! What is wanted is offered to one at a time, whoever asks; a fetch that is dropped unfinished is
//! offered again, and one that nobody needs any more is cancelled.
#![cfg(shuttle)]

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use lookbehind::{Error, Extent, Fetch, PlayerConfig, Reclaim, Storage};
use shuttle::thread;
use shuttle_tests::block_on;
use shuttle_tests::scene::{bytes, cache, check, film, join, settled, within};
use shuttle_tests::schemes;

const BUDGET: usize = 1 << 20;
const LEN: usize = 100;
const PIECES: u32 = 3;

/// The pieces that are being fetched. The tests' own threads, so `std`'s mutex: nobody is switched
/// away under it.
#[derive(Clone, Default)]
struct Air(Arc<Mutex<HashSet<u32>>>);

impl Air {
    fn takes_off<R: Reclaim>(&self, fetch: &Fetch<R>) {
        let first = self.0.lock().unwrap().insert(fetch.piece());
        assert!(first, "piece {} was offered to two", fetch.piece());
    }

    fn lands(&self, piece: u32) {
        assert!(self.0.lock().unwrap().remove(&piece));
    }
}

/// Fetches what is wanted until the film is complete; drops the first fetch.
fn fetch<R: Reclaim>(film: &Storage<R>, air: &Air) {
    let mut wanted = film.wanted();
    let mut drops = 1;
    while !(0..PIECES).all(|piece| film.contains(piece)) {
        let Some(fetch) = wanted.try_next() else {
            thread::yield_now();
            continue;
        };
        let piece = fetch.piece();
        air.takes_off(&fetch);
        thread::yield_now();
        // Landed first, for from then on others may get it.
        air.lands(piece);
        if drops == 0 {
            film.insert(piece, &bytes(1, piece, 0, LEN)).unwrap();
        }
        drops = 0;
        drop(fetch);
    }
}

/// Two fetch, one plays, one waits.
fn one_at_a_time<R: Reclaim>() {
    let cache = cache::<R>(BUDGET);
    let film = film(&cache, PIECES, LEN as u32);
    let air = Air::default();
    let window = PlayerConfig::default().ahead(Extent::Bytes(2 * LEN as u64));
    let mut player = film.player(window.behind(Extent::Bytes(0))).unwrap();
    let fetchers = [0, 1].map(|_| {
        let (film, air) = (film.clone(), air.clone());
        thread::spawn(move || fetch(&film, &air))
    });
    let playing = film.clone();
    let playing = thread::spawn(move || {
        check(1, 0, &block_on(playing.wait(0)).unwrap());
        player.seek_to(LEN as u64);
        player
    });
    let waiting = film.clone();
    let waiter = thread::spawn(move || {
        check(1, 2, &block_on(waiting.wait(2)).unwrap());
    });
    join(fetchers);
    waiter.join().unwrap();
    drop(playing.join().unwrap());
    assert!(film.wanted().try_next().is_none());
    drop(film);
    within(&cache, BUDGET);
    settled(&cache);
}

/// Whoever waits for something to fetch hears of it: by a wait, by a fetch that another one drops.
/// A fetch that fails ends the waits for its piece.
fn offered_again<R: Reclaim>() {
    let cache = cache::<R>(BUDGET);
    let film = film(&cache, PIECES, LEN as u32);
    let air = Air::default();
    let fetchers = [0, 1].map(|_| {
        let (film, air) = (film.clone(), air.clone());
        thread::spawn(move || {
            let mut wanted = film.wanted();
            while let Some(fetch) = block_on(wanted.next()) {
                air.takes_off(&fetch);
                let piece = fetch.piece();
                thread::yield_now();
                air.lands(piece);
                if piece == 1 {
                    fetch.fail("no");
                } else {
                    // Cancelled, and late, if the wait was served just before it took off.
                    let late = fetch.is_cancelled();
                    let inserted = film.insert(piece, &bytes(1, piece, 0, LEN));
                    assert!(inserted.is_ok() || late, "{inserted:?}");
                }
            }
        })
    });
    let waiters = [0, 1].map(|piece| {
        let film = film.clone();
        thread::spawn(move || block_on(film.wait(piece)))
    });
    let [found, failed] = join(waiters);
    check(1, 0, &found.unwrap());
    let error = failed.unwrap_err();
    assert!(matches!(error, Error::FetchFailed { piece: 1, .. }), "{error}");
    // Ends what is wanted.
    film.remove().unwrap();
    join(fetchers);
    drop(film);
    settled(&cache);
}

/// The only wait for a piece is dropped while its fetch takes off: the fetch is cancelled.
fn cancelled<R: Reclaim>() {
    let cache = cache::<R>(BUDGET);
    let film = film(&cache, PIECES, LEN as u32);
    let tried = Arc::new(AtomicBool::new(false));
    let (waiting, done) = (film.clone(), Arc::clone(&tried));
    let waiter = thread::spawn(move || {
        use std::future::Future;
        let mut wait = std::pin::pin!(waiting.wait(1));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        drop(waiting);
        done.store(true, Relaxed);
    });
    let fetching = film.clone();
    let fetcher = thread::spawn(move || {
        while !tried.load(Relaxed) {
            if let Some(fetch) = fetching.wanted().try_next() {
                // Never ends unless it is cancelled.
                block_on(fetch.cancelled());
                assert!(fetch.is_cancelled());
                return;
            }
            thread::yield_now();
        }
    });
    let others = [0, 2].map(|piece| {
        let film = film.clone();
        thread::spawn(move || film.insert(piece, &bytes(1, piece, 0, LEN)).unwrap())
    });
    waiter.join().unwrap();
    fetcher.join().unwrap();
    join(others);
    drop(film);
    settled(&cache);
}

schemes!(one_at_a_time, offered_again, cancelled);
