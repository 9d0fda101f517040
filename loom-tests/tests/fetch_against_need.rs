//! A fetch takes off while whoever needed its piece goes: one of the two sees the other, so that a
//! fetch that nobody needs is cancelled, and says so; and one that is dropped is offered again.
#![cfg(loom)]

use lookbehind::model::{Epoch, Specification};
use lookbehind::{Interval, PlayerConfig, Reclaim, Storage, StorageOptions, Wait};
use loom::thread;
use loom_tests::{LEN, Waiting, check, film, settle};

/// Takes off for a piece while the one `need` for it goes.
fn take_off<R: Reclaim>(need: fn(&Storage<R>) -> Box<dyn FnOnce()>) {
    let (cache, film) = film::<R>(1, StorageOptions::default());
    let goes = need(&film);
    let other = film.clone();
    let fetcher = thread::spawn(move || other.wanted().try_next());
    goes();
    if let Some(fetch) = fetcher.join().unwrap() {
        assert!(fetch.is_cancelled(), "nobody needs the piece");
    }
    assert!(film.wanted().try_next().is_none());
    settle(&cache, &film);
}

/// A wait that is dropped.
fn wait<R: Reclaim>(film: &Storage<R>) -> Box<dyn FnOnce()> {
    let mut waiting = Waiting::new(film.wait(0));
    assert!(waiting.poll().is_pending());
    Box::new(move || drop(waiting))
}

/// A player that is closed.
fn player<R: Reclaim>(film: &Storage<R>) -> Box<dyn FnOnce()> {
    let mut player = film.player(PlayerConfig::default()).unwrap();
    Box::new(move || player.close())
}

#[test]
fn a_wait() {
    check("fetch_against_need, a wait", 3, || take_off::<Interval>(wait));
}

#[test]
fn a_wait_above_the_specification() {
    check("fetch_against_need, a wait above the specification", 3, || {
        take_off::<Specification>(wait);
    });
}

#[test]
fn a_wait_by_epochs() {
    check("fetch_against_need, a wait by epochs", 3, || take_off::<Epoch>(wait));
}

#[test]
fn a_player() {
    check("fetch_against_need, a player", 3, || take_off::<Specification>(player));
}

/// The cache is aborted, and with it every fetch, though the player's window is still there.
#[test]
fn an_abort() {
    check("fetch_against_need, an abort", 3, || {
        let (cache, film) = film::<Specification>(1, StorageOptions::default());
        let player = film.player(PlayerConfig::default()).unwrap();
        let other = film.clone();
        let fetcher = thread::spawn(move || other.wanted().try_next());
        cache.abort(Wait::No);
        if let Some(fetch) = fetcher.join().unwrap() {
            assert!(fetch.is_cancelled(), "the cache was aborted");
        }
        assert!(film.wanted().try_next().is_none());
        drop(player);
        settle(&cache, &film);
    });
}

/// Who listens for the cancellation of a fetch is woken by it.
#[test]
fn cancelled() {
    check("fetch_against_need, cancelled", 3, || {
        let (cache, film) = film::<Specification>(1, StorageOptions::default());
        let goes = wait(&film);
        let fetch = film.wanted().try_next().unwrap();
        let listener = thread::spawn(move || {
            let mut cancelled = Waiting::new(fetch.cancelled());
            let polled = cancelled.poll();
            (cancelled, polled, fetch)
        });
        goes();
        let (cancelled, polled, fetch) = listener.join().unwrap();
        cancelled.ended(polled);
        drop(fetch);
        settle(&cache, &film);
    });
}

/// A fetch is dropped while another fetcher begins to wait for one: that gets it.
#[test]
fn offered_again() {
    check("fetch_against_need, offered again", 3, || {
        let (cache, film) = film::<Specification>(1, StorageOptions::default());
        let mut waiting = Waiting::new(film.wait(0));
        assert!(waiting.poll().is_pending());
        let mut wanted = film.wanted();
        let fetch = wanted.try_next().unwrap();
        let fetcher = thread::spawn(move || {
            let mut next = Waiting::new(async move { wanted.next().await });
            let polled = next.poll();
            (next, polled)
        });
        drop(fetch);
        let (next, polled) = fetcher.join().unwrap();
        assert_eq!(next.ended(polled).map(|fetch| fetch.piece()), Some(0));
        drop(waiting);
        settle(&cache, &film);
    });
}

/// A piece arrives and is evicted while a fetcher begins to wait: that gets it, for a window still
/// wants it, whether the first fetch is seen or not.
#[test]
fn evicted_at_once() {
    check("fetch_against_need, evicted at once", 2, || {
        let (cache, film) = film::<Specification>(1, StorageOptions::default());
        let player = film.player(PlayerConfig::default()).unwrap();
        let mut wanted = film.wanted();
        let fetch = wanted.try_next().unwrap();
        let other = film.clone();
        let fetcher = thread::spawn(move || {
            other.evict(0..1).unwrap();
            let mut next = Waiting::new(async move { wanted.next().await });
            let polled = next.poll();
            (next, polled)
        });
        film.insert(0, &[0; LEN]).unwrap();
        drop(fetch);
        let (next, polled) = fetcher.join().unwrap();
        if !film.contains(0) {
            assert_eq!(next.ended(polled).map(|fetch| fetch.piece()), Some(0));
        }
        drop(player);
        settle(&cache, &film);
    });
}
