//! Room is made in order: what is free goes first, then what has passed its grace period, content
//! last, and no more of it than is needed.

mod common;

use std::time::Duration;

use common::{
    KIB, MIB, PATIENCE, cache, fill, film, layout, of, pinned, present, schemes, timed_cache,
};
use lookbehind::{
    Cache, Epoch, Error, Hyaline, Insert, Interval, Layout, Reclaim, Storage, StorageOptions,
};

const LEN: usize = 16 * KIB;
const LARGE: usize = 64 * KIB;
/// Pieces of LEN bytes that nearly fill a mebibyte.
const FULL: u32 = 60;

schemes!(
    what_is_pooled_goes_before_content,
    what_has_passed_its_grace_period_goes_before_content,
    an_assembly_that_has_expired_goes_before_content,
    what_cannot_fit_costs_nothing,
    many_small_pieces_make_room_for_a_large_one,
);

/// A film that nearly fills the cache, and one of large pieces.
fn full<R: Reclaim>(cache: &Cache<R>) -> (Storage<R>, Storage<R>) {
    let (small, large) = (film(cache, FULL, LEN), film(cache, 8, LARGE));
    fill(&small, 0..FULL);
    assert_eq!(cache.stats().evictions, 0);
    (small, large)
}

fn what_is_pooled_goes_before_content<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let (small, large) = full(&cache);
    small.evict(0..30).unwrap();
    assert_eq!(cache.stats().states.pooled, 30 * (LEN as u64 + 128));
    fill(&large, 0..4);
    assert_eq!(present(&small), Vec::from_iter(30..FULL));
    assert!(cache.stats().states.pooled < 30 * (LEN as u64 + 128));
}

fn what_has_passed_its_grace_period_goes_before_content<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let (small, large) = full(&cache);
    let reader = small.reader();
    let snapshot = reader.snapshot();
    small.evict(0..10).unwrap();
    drop(snapshot);
    assert_eq!(cache.stats().states.limbo, 10 * (LEN as u64 + 128), "no pass was made since");
    fill(&large, 0..2);
    assert_eq!(present(&small), Vec::from_iter(10..FULL));
}

fn an_assembly_that_has_expired_goes_before_content<R: Reclaim>() {
    let (cache, clock) = timed_cache::<R>(MIB);
    let options = StorageOptions::default().assembly_limit(Duration::from_secs(10));
    let arriving = cache.add_storage_with(layout(4, LARGE), options).unwrap();
    let (small, large) = (film(&cache, FULL, LEN), film(&cache, 8, LARGE));
    arriving.write(0, 0, &[1]).unwrap();
    arriving.write(1, 0, &[1]).unwrap();
    fill(&small, 0..50);
    clock.advance(Duration::from_secs(10));
    fill(&large, 0..2);
    assert_eq!((arriving.stats().assembling_pieces, cache.stats().evictions), (0, 0));
}

fn what_cannot_fit_costs_nothing<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let huge = film(&cache, 2, 400 * KIB);
    let (small, _) = full(&cache);
    cache.set_budget(300 * KIB as u64).unwrap();
    cache.shrink(PATIENCE).unwrap();
    let (before, evictions) = (present(&small), cache.stats().evictions);
    let bytes = of(0, 400 * KIB);
    for refused in [huge.insert(0, &bytes), huge.insert_wait(0, &bytes, Duration::ZERO)] {
        assert!(matches!(refused, Err(Error::BudgetExhausted { .. })), "{refused:?}");
    }
    assert!(before.len() > 10);
    assert_eq!((present(&small), cache.stats().evictions), (before, evictions));
}

fn many_small_pieces_make_room_for_a_large_one<R: Reclaim>() {
    let cache = cache::<R>(512 * KIB);
    let (small, large) = (film(&cache, 400, KIB), film(&cache, 2, 200 * KIB));
    fill(&small, 0..400);
    fill(&large, 0..1);
    let lost = 400 - present(&small).len();
    assert!((100..200).contains(&lost), "{lost}");
}

#[test]
fn of_thousands_of_small_pieces_all_but_what_fits_go_when_the_budget_falls() {
    let cache = cache::<Interval>(2 * MIB);
    let films: Vec<_> = (0..50).map(|_| film(&cache, 100, 100)).collect();
    films.iter().for_each(|film| fill(film, 0..100));
    assert_eq!(cache.stats().evictions, 0);
    let tables = cache.stats().states.table;
    // Most seats that evictions draw from are free in the end.
    let budget = tables + 32 * KIB as u64;
    cache.set_budget(budget).unwrap();
    cache.shrink(PATIENCE).unwrap();
    let left: usize = films.iter().map(|film| present(film).len()).sum();
    let stats = cache.stats();
    // A piece of 100 bytes takes 256.
    let fits = (budget - stats.states.table) as usize / 256;
    assert!(stats.resident <= budget && (fits / 2..=fits).contains(&left), "{left}: {stats:?}");
    assert_eq!(stats.evictions, 5000 - left as u64);
    // And those are used again.
    films.iter().for_each(|film| film.evict(0..100).map(drop).unwrap());
    films.iter().for_each(|film| fill(film, 0..2));
    assert_eq!(films.iter().map(|film| present(film).len()).sum::<usize>(), 100);
}

#[test]
fn who_waits_unpublishes_what_is_pinned_but_no_more_than_it_needs() {
    let (cache, _clock) = timed_cache::<Interval>(MIB);
    let film = film(&cache, 100, LEN);
    let held = pinned(&film, LEN);
    assert!(film.insert(99, &of(99, LEN)).is_err());
    assert_eq!(cache.stats().evictions, 0, "who does not wait would gain nothing");
    for _ in 0..3 {
        let refused = film.insert_wait(99, &of(99, LEN), Duration::ZERO).unwrap_err();
        assert!(matches!(refused, Error::BudgetExhausted { .. }), "{refused}");
        assert_eq!(cache.stats().evictions, 1, "its memory is on its way");
    }
    drop(held);
    assert_eq!(film.insert_wait(99, &of(99, LEN), Duration::ZERO), Ok(Insert::Published));
}

/// Evicts one piece after the other; those that went, and why no more did.
fn evict_each<R: Reclaim>(film: &Storage<R>) -> (Vec<u32>, Option<Error>) {
    let mut gone = Vec::new();
    for piece in present(film) {
        match film.evict(piece..piece + 1) {
            Ok(count) => gone.extend([piece].repeat(count)),
            Err(error) => return (gone, Some(error)),
        }
    }
    (gone, None)
}

fn an_eviction_needs_room_for_its_version<R: Reclaim>() {
    // A snapshot that keeps everything keeps the nodes of all versions after it.
    let cache = cache::<R>(MIB);
    let film = film(&cache, 400, LEN);
    fill(&film, 0..FULL);
    let held = film.get(0).unwrap();
    film.evict(0..1).unwrap();
    let reader = film.reader();
    let snapshot = reader.snapshot();
    let (gone, refused) = evict_each(&film);
    assert!(gone.len() >= 4, "{gone:?}");
    assert!(matches!(refused, Some(Error::BudgetExhausted { .. })), "{refused:?}");
    let next = *gone.last().unwrap() + 1;
    assert!(film.contains(next), "refused, and nothing of it done");
    assert!(film.evict(next..next + 1).is_err(), "nor the next time");
    // What handles return is taken back, and what the snapshot kept.
    drop(held);
    assert_eq!(film.evict(next..next + 1), Ok(1));
    assert!(evict_each(&film).1.is_some(), "all of it is kept again");
    drop(snapshot);
    film.evict(0..400).unwrap();
    assert_eq!((present(&film), cache.stats().states.limbo), (vec![], 0));
}

fn an_eviction_has_room_as_long_as_anything_is_pooled<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let film = film(&cache, 400, LEN);
    fill(&film, 0..FULL);
    film.evict(0..20).unwrap();
    let reader = film.reader();
    let snapshot = reader.snapshot();
    assert_eq!(evict_each(&film), (Vec::from_iter(20..FULL), None));
    assert_eq!(snapshot.get(20).unwrap(), of(20, LEN));
}

#[test]
fn with_epochs_an_eviction_needs_room_for_its_version() {
    an_eviction_needs_room_for_its_version::<Epoch>();
    an_eviction_has_room_as_long_as_anything_is_pooled::<Epoch>();
}

#[test]
fn with_hyaline_an_eviction_needs_room_for_its_version() {
    an_eviction_needs_room_for_its_version::<Hyaline>();
    an_eviction_has_room_as_long_as_anything_is_pooled::<Hyaline>();
}

#[test]
fn a_piece_as_large_as_the_share_takes_all_of_it_and_a_larger_one_nothing() {
    let cache = cache::<Interval>(MIB);
    let share = LEN as u64 + 128;
    let options = StorageOptions::default().share(share);
    let film = cache.add_storage_with(Layout::segments(), options).unwrap();
    for len in [LEN, LEN, LARGE] {
        film.append_segment(len as u32).unwrap();
    }
    fill(&film, 0..2);
    assert_eq!(present(&film), [1]);
    let needed = LARGE as u64 + 128;
    let refused = film.insert(2, &of(2, LARGE)).unwrap_err();
    assert_eq!(refused, Error::ShareExhausted { needed, share, used: share });
    assert_eq!(present(&film), [1], "nothing goes for what cannot fit");
}
