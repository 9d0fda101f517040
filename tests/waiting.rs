//! Waits end by the piece or with the reason, and what is waited for is wanted.

mod common;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use common::{
    KIB, MIB, PATIENCE, Woken, block_on, cache, fill, film, of, poll, poll_with, schemes,
    timed_cache,
};
use lookbehind::{
    Error, Extent, Fetch, Interval, PlayerConfig, Reclaim, Storage, StorageOptions, Wait, Wanted,
};

const LEN: usize = 16 * KIB;

schemes!(
    a_wait_ends_by_the_piece,
    the_handle_that_a_wait_got_survives_the_eviction_before_it_is_polled,
    waiting_threads_all_get_the_piece_whoever_comes_first,
    removal_and_abort_end_waits_and_say_so,
);

fn pieces<R: Reclaim>(fetches: &[Fetch<R>]) -> Vec<u32> {
    fetches.iter().map(Fetch::piece).collect()
}

fn all_wanted<R: Reclaim>(film: &Storage<R>) -> Vec<Fetch<R>> {
    let mut wanted = film.wanted();
    std::iter::from_fn(|| wanted.try_next()).collect()
}

fn a_wait_ends_by_the_piece<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let film = film(&cache, 8, LEN);
    let woken = Arc::new(Woken::default());
    let mut wait = film.wait(3);
    assert!(poll_with(&mut wait, &woken).is_pending());
    fill(&film, 0..3);
    assert_eq!((woken.times(), cache.stats().waits), (0, 1), "other pieces wake nobody");
    fill(&film, 3..4);
    assert_eq!(woken.times(), 1);
    let Poll::Ready(Ok(held)) = poll_with(&mut wait, &woken) else { panic!("not ready") };
    assert_eq!((held[..] == of(3, LEN), cache.stats().waits), (true, 0));
    // What is there already is had at once.
    assert_eq!(film.wait(2).blocking().unwrap()[..], of(2, LEN));
    assert_eq!(
        film.wait(8).blocking().unwrap_err(),
        Error::PieceOutOfRange { piece: 8, first: 0, end: 8 }
    );
}

fn the_handle_that_a_wait_got_survives_the_eviction_before_it_is_polled<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let film = film(&cache, 200, LEN);
    let mut wait = film.wait(0);
    let mut dropped = film.wait(0);
    assert!(poll(&mut wait).is_pending() && poll(&mut dropped).is_pending());
    fill(&film, 0..1);
    film.evict(0..1).unwrap();
    fill(&film, 1..150); // much more than fits
    assert!(!film.contains(0));
    assert!(cache.stats().pinned >= LEN as u64);
    let Poll::Ready(Ok(held)) = poll(&mut wait) else { panic!("not ready") };
    assert_eq!(held[..], of(0, LEN));
    drop(held);
    drop(dropped); // never polled again: its handle goes with it
    let stats = cache.stats();
    assert_eq!((stats.pinned, stats.states.held, stats.waits), (0, 0, 0));
}

fn waiting_threads_all_get_the_piece_whoever_comes_first<R: Reclaim>() {
    let cache = cache::<R>(4 * MIB);
    let film = film(&cache, 300, KIB);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for piece in 0..300 {
                    let held = film.wait(piece).deadline(PATIENCE).blocking();
                    assert_eq!(held.unwrap()[..], of(piece, KIB), "piece {piece}");
                }
            });
        }
        // No pause in between: every order of waiting and publishing comes about.
        scope.spawn(|| fill(&film, 0..300));
    });
    assert_eq!(cache.stats().waits, 0);
}

#[test]
fn a_deadline_ends_a_wait_and_not_before() {
    let (cache, clock) = timed_cache::<Interval>(MIB);
    let film = film(&cache, 4, LEN);
    let woken = Arc::new(Woken::default());
    let mut wait = film.wait(0).deadline(Duration::from_secs(5));
    let mut patient = film.wait(0);
    assert!(poll_with(&mut wait, &woken).is_pending() && poll(&mut patient).is_pending());
    clock.advance(Duration::from_millis(4999));
    assert_eq!(woken.times(), 0);
    assert!(poll_with(&mut wait, &woken).is_pending());
    clock.advance(Duration::from_millis(1));
    assert!(woken.times() >= 1);
    let Poll::Ready(ended) = poll_with(&mut wait, &woken) else { panic!("not ready") };
    assert_eq!(ended.unwrap_err(), Error::TimedOut);
    assert_eq!(cache.stats().waits, 1, "the other one goes on");
    assert!(poll(&mut patient).is_pending());
    // The piece beats a deadline that has passed if it is there first.
    fill(&film, 1..2);
    let mut late = film.wait(1).deadline(Duration::ZERO);
    assert!(matches!(poll(&mut late), Poll::Ready(Ok(_))));
}

fn removal_and_abort_end_waits_and_say_so<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let (a, b) = (film(&cache, 4, LEN), film(&cache, 4, LEN));
    let woken = Arc::new(Woken::default());
    let (mut on_a, mut on_b) = (a.wait(0), b.wait(0));
    assert!(poll_with(&mut on_a, &woken).is_pending() && poll(&mut on_b).is_pending());
    let blocked = {
        let a = a.clone();
        thread::spawn(move || a.wait(1).blocking())
    };
    common::eventually("both wait", || a.stats().waits == 2);
    a.remove().unwrap();
    assert_eq!(woken.times(), 1);
    assert!(matches!(poll(&mut on_a), Poll::Ready(Err(Error::Removed))));
    assert_eq!(blocked.join().unwrap().unwrap_err(), Error::Removed);
    assert!(poll(&mut on_b).is_pending(), "another film's");
    cache.abort(Wait::No);
    assert!(matches!(poll(&mut on_b), Poll::Ready(Err(Error::Aborted))));
    assert_eq!(b.wait(2).blocking().unwrap_err(), Error::Aborted);
    assert_eq!(cache.stats().waits, 0);
}

#[test]
fn a_wait_that_is_dropped_leaves_nothing() {
    let cache = cache::<Interval>(MIB);
    let film = film(&cache, 4, LEN);
    let woken = Arc::new(Woken::default());
    for _ in 0..100 {
        let mut wait = film.wait(0).deadline(Duration::from_secs(3600));
        assert!(poll_with(&mut wait, &woken).is_pending());
        let fetch = all_wanted(&film).pop().unwrap();
        drop(wait);
        assert!(fetch.is_cancelled(), "nobody needs it any more");
    }
    drop(film.wait(1)); // never polled
    assert_eq!((cache.stats().waits, film.stats().waits), (0, 0));
    assert!(all_wanted(&film).is_empty());
    fill(&film, 0..1);
    assert_eq!((woken.times(), cache.stats().pinned), (0, 0));
    assert_eq!(Arc::strong_count(&woken), 1, "no waker is kept");
}

#[test]
fn what_is_wanted_comes_most_urgent_first_and_each_piece_once() {
    let (cache, clock) = timed_cache::<Interval>(4 * MIB);
    let film = film(&cache, 100, KIB);
    fill(&film, 11..12);
    let at = |piece: u64| PlayerConfig::default().position(piece * KIB as u64);
    let window =
        |config: PlayerConfig| config.ahead(Extent::Bytes(4 * KIB as u64)).behind(Extent::Bytes(0));
    let _player = film.player(window(at(10))).unwrap();
    let _other = film.player(window(at(50))).unwrap();
    let mut late = film.wait(90).deadline(Duration::from_secs(9));
    let mut soon = film.wait(91).deadline(Duration::from_secs(1));
    let mut some_time = film.wait(92);
    let _ = (poll(&mut late), poll(&mut soon), poll(&mut some_time));
    let fetches = all_wanted(&film);
    assert_eq!(pieces(&fetches), [91, 90, 92, 10, 50, 51, 12, 52, 13, 53]);
    assert!(all_wanted(&film).is_empty(), "single flight");
    assert_eq!((fetches[0].len(), fetches[0].byte_range()), (1024, 91 * 1024..92 * 1024));
    drop(fetches);
    assert_eq!(all_wanted(&film).len(), 10, "offered again");
    clock.advance(Duration::from_secs(2));
    assert!(matches!(poll(&mut soon), Poll::Ready(Err(Error::TimedOut))));
    assert_eq!(pieces(&all_wanted(&film))[0], 90);
}

#[test]
fn a_fetch_that_arrived_is_over_and_one_that_was_evicted_is_wanted_again() {
    let film = film(&cache::<Interval>(MIB), 4, KIB);
    // A window of one piece: shorter ones are served by the player's wait.
    let config = PlayerConfig::default().ahead(Extent::Bytes(KIB as u64)).behind(Extent::Bytes(0));
    let player = film.player(config).unwrap();
    let mut wanted = film.wanted();
    let fetch = wanted.try_next().unwrap();
    film.insert(fetch.piece(), &of(0, KIB)).unwrap();
    assert!(!fetch.is_cancelled() && wanted.try_next().is_none());
    film.evict(0..1).unwrap();
    let again = wanted.try_next().unwrap();
    drop(fetch); // the first flight's end does not end the second
    assert_eq!(again.piece(), 0);
    assert!(wanted.try_next().is_none());
    drop(player);
    assert!(again.is_cancelled());
}

#[test]
fn a_fetch_is_cancelled_when_its_player_goes_elsewhere_or_closes() {
    let film = film(&cache::<Interval>(4 * MIB), 100, KIB);
    let config = PlayerConfig::default();
    let config = config.ahead(Extent::Bytes(2 * KIB as u64)).behind(Extent::Bytes(0));
    let mut player = film.player(config).unwrap();
    let fetches = all_wanted(&film);
    assert_eq!(pieces(&fetches), [0, 1]);
    let woken = Arc::new(Woken::default());
    let mut cancelled = fetches[1].cancelled();
    assert!(poll_with(&mut cancelled, &woken).is_pending());
    let mut wait = film.wait(0);
    let _ = poll(&mut wait);
    player.seek_to(50 * KIB as u64);
    assert_eq!(woken.times(), 1);
    assert!(poll_with(&mut cancelled, &woken).is_ready());
    assert!(!fetches[0].is_cancelled(), "somebody waits for it");
    assert_eq!(pieces(&all_wanted(&film)), [50, 51]);
    let elsewhere = all_wanted(&film);
    player.close();
    assert!(elsewhere.iter().all(Fetch::is_cancelled));
    drop(wait);
    assert!(fetches[0].is_cancelled());
}

/// A waker runs in the pass that a publication makes, before the fetch is landed.
#[test]
fn a_fetch_that_fails_while_its_piece_is_published_fails_nobody() {
    struct Fails(Mutex<Option<Fetch>>);
    impl Wake for Fails {
        fn wake(self: Arc<Self>) {
            if let Some(fetch) = self.0.lock().unwrap().take() {
                assert!(fetch.storage().contains(fetch.piece()), "the test is too early");
                fetch.fail("too late");
            }
        }
    }
    let (cache, _clock) = timed_cache::<Interval>(MIB);
    let film = film(&cache, 10, 100);
    // Its only piece is larger than its share: who inserts it waits for memory.
    let options = StorageOptions::default().share(1);
    let other = cache.add_storage_with(common::layout(10, 100), options).unwrap();
    fill(&film, 0..1);
    fill(&film, 2..3);
    let mut wait = film.wait(1);
    assert!(poll(&mut wait).is_pending());
    let fetch = all_wanted(&film).pop();
    let waker = Waker::from(Arc::new(Fails(Mutex::new(fetch))));
    let bytes = of(0, 100);
    let mut insert = Box::pin(other.insert_async(0, &bytes, None));
    assert!(insert.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    fill(&film, 1..2);
    assert!(matches!(poll(&mut wait), Poll::Ready(Ok(_))));
}

/// A waker runs when the piece is published, and before its fetch is landed.
#[test]
fn a_piece_that_goes_before_its_fetch_is_landed_is_offered_again() {
    struct Evicts {
        wanted: Mutex<Wanted>,
        woken: Arc<Woken>,
        film: Storage,
    }
    impl Wake for Evicts {
        fn wake(self: Arc<Self>) {
            assert_eq!(self.film.evict(0..1).unwrap(), 1, "the test is too early");
            let mut wanted = self.wanted.lock().unwrap();
            let next = poll_with(&mut wanted.next(), &self.woken);
            assert!(next.is_pending(), "the test is too late");
        }
    }
    let film = film(&cache::<Interval>(MIB), 1, KIB);
    let _player = film.player(PlayerConfig::default()).unwrap();
    let fetches = all_wanted(&film);
    assert_eq!(pieces(&fetches), [0]);
    let (woken, wanted) = (Arc::new(Woken::default()), Mutex::new(film.wanted()));
    let evicts = Arc::new(Evicts { wanted, woken, film: film.clone() });
    let mut wait = film.wait(0);
    let waker = Waker::from(Arc::clone(&evicts));
    assert!(Pin::new(&mut wait).poll(&mut Context::from_waker(&waker)).is_pending());
    fill(&film, 0..1);
    drop(fetches);
    assert!(evicts.woken.times() > 0, "nobody said that it is wanted and not under way");
    assert_eq!(pieces(&all_wanted(&film)), [0]);
}

#[test]
fn windows_that_are_fitted_anew_change_what_is_wanted_in_all_films() {
    let cache = cache::<Interval>(MIB);
    let (film, other) = (film(&cache, 100, LEN), film(&cache, 100, LEN));
    let config =
        || PlayerConfig::default().ahead(Extent::Bytes(MIB as u64)).behind(Extent::Bytes(0));
    let watching = other.player(config()).unwrap();
    let _player = film.player(config()).unwrap();
    // Half the budget, shared by two.
    let mut fetches = all_wanted(&film);
    assert_eq!(fetches.len(), MIB / 4 / LEN);
    let (woken, mut wanted) = (Arc::new(Woken::default()), film.wanted());
    assert!(poll_with(&mut wanted.next(), &woken).is_pending());
    drop(watching);
    assert!(woken.times() > 0, "nobody said that the other film's window is free");
    fetches.extend(all_wanted(&film));
    assert_eq!(fetches.len(), MIB / 2 / LEN);
    let before = woken.times();
    assert!(poll_with(&mut wanted.next(), &woken).is_pending());
    cache.set_budget(4 * MIB as u64).unwrap();
    assert!(woken.times() > before, "nobody said that there is more room");
    fetches.extend(all_wanted(&film));
    assert_eq!(fetches.len(), MIB / LEN);
    cache.set_budget(MIB as u64 / 2).unwrap();
    let left = fetches.iter().filter(|fetch| !fetch.is_cancelled());
    assert_eq!(left.count(), MIB / 4 / LEN);
}

#[test]
fn a_fetch_that_fails_after_its_piece_arrived_fails_nobody() {
    let cache = cache::<Interval>(MIB);
    let film = film(&cache, 8, LEN);
    let mut first = film.wait(2);
    assert!(poll(&mut first).is_pending());
    let mut late = all_wanted(&film);
    fill(&film, 2..3);
    assert!(poll(&mut first).is_ready());
    film.evict(2..3).unwrap();
    // It is wanted anew, and fetched by another one.
    let mut second = film.wait(2);
    assert!(poll(&mut second).is_pending());
    let fetches = all_wanted(&film);
    late.remove(0).fail("too late");
    assert!(poll(&mut second).is_pending());
    assert_eq!((pieces(&fetches), fetches[0].is_cancelled()), (vec![2], false));
    fill(&film, 2..3);
    assert!(matches!(poll(&mut second), Poll::Ready(Ok(_))));
}

#[test]
fn a_failed_fetch_ends_the_waits_for_it_with_the_reason() {
    let film = film(&cache::<Interval>(MIB), 4, KIB);
    let mut wait = film.wait(2);
    assert!(poll(&mut wait).is_pending());
    all_wanted(&film).pop().unwrap().fail("origin said 503");
    let Poll::Ready(Err(error)) = poll(&mut wait) else { panic!("not ended") };
    assert_eq!(error, Error::FetchFailed { piece: 2, reason: "origin said 503".into() });
    assert!(all_wanted(&film).is_empty(), "nobody wants it now");
    let mut anew = film.wait(2);
    assert!(poll(&mut anew).is_pending());
    assert_eq!(pieces(&all_wanted(&film)), [2]);
}

#[test]
fn whoever_fetches_hears_of_each_new_want_and_of_the_end() {
    let film = film(&cache::<Interval>(4 * MIB), 200, KIB);
    let fetcher = {
        let film = film.clone();
        thread::spawn(move || {
            let mut wanted = film.wanted();
            let mut count = 0;
            while let Some(fetch) = block_on(common::next(&mut wanted)) {
                film.insert(fetch.piece(), &of(fetch.piece(), KIB)).unwrap();
                count += 1;
            }
            count
        })
    };
    for piece in 0..200 {
        let held = film.wait(piece).deadline(PATIENCE).blocking().unwrap();
        assert_eq!(held[..], of(piece, KIB));
    }
    film.remove().unwrap();
    assert_eq!(fetcher.join().unwrap(), 200);
    assert!(film.wanted().next_blocking().is_none());
}
