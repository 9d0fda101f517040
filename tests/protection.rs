//! What stays and what goes: an order of preference, never a veto.

mod common;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::{KIB, MIB, built, cache, fill, film, of, present, schemes};
use lookbehind::{
    Cache, Candidate, Clock, Error, Extent, Interval, LookbehindStats, NextUse, PlayerConfig,
    Policy, Protection, Reclaim, Storage,
};

const LEN: usize = 64 * KIB;
/// Pieces of LEN bytes that fit into the budgets used here.
const FIT: u32 = 15;

schemes!(
    what_nothing_protects_goes_first,
    pinned_pieces_go_last,
    with_everything_protected_the_least_valuable_piece_still_goes,
    preferences_never_keep_a_film_from_being_played_on,
);

fn window(ahead: u32, behind: u32, at: u32) -> PlayerConfig {
    let extent = |pieces: u32| Extent::Bytes(u64::from(pieces) * LEN as u64);
    PlayerConfig::default()
        .ahead(extent(ahead))
        .behind(extent(behind))
        .position(u64::from(at) * LEN as u64)
}

/// Inserts new pieces until `count` of the old ones are gone; the old ones, as they went.
fn press<R: Reclaim>(old: &Storage<R>, by: &Storage<R>, count: usize) -> Vec<u32> {
    let mut known = present(old);
    let mut gone = Vec::new();
    for piece in by.layout().pieces() {
        if gone.len() >= count {
            break;
        }
        by.insert(piece, &of(piece, LEN)).unwrap();
        by.evict(0..piece).unwrap(); // one newcomer at a time: the rest must come from the old
        let now = present(old);
        gone.extend(known.iter().filter(|piece| !now.contains(piece)));
        known = now;
    }
    gone
}

fn what_nothing_protects_goes_first<R: Reclaim>() {
    let cache = built::<R>(Cache::builder().policy(NextUse), MIB);
    let (a, b) = (film(&cache, FIT, LEN), film(&cache, 40, LEN));
    fill(&a, 0..FIT);
    // The newcomers are wanted more than anything here.
    let _newcomers = b.player(window(2, 0, 0)).unwrap();
    a.reserve(0..2);
    a.reserve(13..14);
    a.set_lookbehind([4, 6, 6, 99]);
    let _player = a.player(window(2, 1, 9)).unwrap(); // ahead 9 and 10, behind 8
    b.reserve(0..40);
    let mut lost = Vec::new();
    for piece in 0..7 {
        b.insert(piece, &of(piece, LEN)).unwrap();
    }
    lost.extend((0..FIT).filter(|piece| !a.contains(*piece)));
    for protected in [0, 1, 4, 6, 8, 9, 10, 13] {
        assert!(a.contains(protected), "{protected} went, of {lost:?}");
    }
    assert!(lost.len() >= 6, "{lost:?}");
}

#[test]
fn protected_pieces_go_in_the_order_of_their_protection() {
    let builder = Cache::builder().policy(NextUse).clock(Clock::manual());
    let cache = built::<Interval>(builder, MIB);
    let (a, b) = (film(&cache, FIT, LEN), film(&cache, 60, LEN));
    fill(&a, 0..8);
    let viewer = a.player(window(1, 0, 3).linger(Duration::from_secs(60)));
    drop(viewer.unwrap()); // 3 lingers
    let _player = a.player(window(1, 1, 6)).unwrap(); // ahead 6, behind 5
    a.reserve(0..1);
    a.set_lookbehind([1]);
    // So: 2, 4 and 7 are not protected, 3 lingers, 1 and 5 lie behind, 0 is reserved, 6 is next.
    let _newcomers = b.player(window(1, 0, 59)).unwrap();
    b.reserve(0..60);
    let class = |piece: u32| match piece {
        2 | 4 | 7 => 0,
        3 => 1,
        1 | 5 => 2,
        0 => 3,
        _ => 4,
    };
    let mut gone = Vec::new();
    for piece in 0..60 {
        let before = present(&a);
        // What is reserved in b ranks above all of a but its own reserved and next.
        b.insert(piece, &of(piece, LEN)).unwrap();
        gone.extend(before.into_iter().filter(|piece| !a.contains(*piece)));
    }
    let classes: Vec<_> = gone.iter().map(|piece| class(*piece)).collect();
    assert!(classes.is_sorted(), "{gone:?}");
    assert!(gone.len() >= 6 && a.contains(6), "{gone:?}");
}

fn pinned_pieces_go_last<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let (a, b) = (film(&cache, FIT, LEN), film(&cache, 40, LEN));
    fill(&a, 0..8);
    let held: Vec<_> = (2..5).map(|piece| a.get(piece).unwrap()).collect();
    a.reserve(5..8);
    let gone = press(&a, &b, 5);
    assert!((2..5).all(|piece| a.contains(piece)), "evicting them frees nothing: {gone:?}");
    assert_eq!(cache.stats().states.held, 0);
    drop(held);
    assert_eq!(cache.stats().pinned, 0);
}

fn with_everything_protected_the_least_valuable_piece_still_goes<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let film = film(&cache, 200, LEN);
    film.reserve(0..200);
    film.set_lookbehind(0..200);
    let everything = PlayerConfig::default()
        .ahead(Extent::Time(Duration::MAX))
        .behind(Extent::Time(Duration::MAX));
    let _player = film.player(everything).unwrap();
    for piece in 0..200 {
        film.insert(piece, &of(piece, LEN)).unwrap();
        assert!(film.contains(piece), "the newcomer is not its own victim");
    }
    let stats = cache.stats();
    assert!(stats.resident_peak <= MIB as u64);
    assert!(present(&film).len() >= 10 && stats.evictions >= 180);
}

fn preferences_never_keep_a_film_from_being_played_on<R: Reclaim>() {
    // Everything reserved in one film, and another one is played through.
    let cache = cache::<R>(MIB);
    let (a, b) = (film(&cache, FIT, LEN), film(&cache, 100, LEN));
    a.reserve(0..FIT);
    fill(&a, 0..FIT);
    let mut player = b.player(window(3, 3, 0)).unwrap();
    for piece in 0..100 {
        let fetch = b.wanted().try_next().unwrap();
        assert_eq!(fetch.piece(), piece);
        b.insert(piece, &of(piece, LEN)).unwrap();
        let bytes = common::block_on(common::next(&mut player)).unwrap().unwrap();
        assert_eq!(bytes, of(piece, LEN));
    }
    assert!(cache.stats().resident_peak <= MIB as u64);
}

#[test]
fn what_lies_behind_a_playhead_is_there_when_it_seeks_back() {
    let cache = cache::<Interval>(2 * MIB);
    let film = film(&cache, 200, LEN);
    let mut player = film.player(window(4, 8, 0)).unwrap();
    for piece in 0..200u32 {
        film.insert(piece, &of(piece, LEN)).unwrap();
        common::block_on(common::next(&mut player)).unwrap().unwrap();
        let behind = piece.saturating_sub(7)..piece + 1;
        assert!(behind.clone().all(|p| film.contains(p)), "at {piece}: {:?}", present(&film));
        assert!(behind.clone().all(|p| film.is_lookbehind_available(p)));
    }
}

#[test]
fn reservations_add_up_and_can_be_taken_back() {
    let cache = cache::<Interval>(MIB);
    let (a, b) = (film(&cache, FIT, LEN), film(&cache, 40, LEN));
    fill(&a, 0..12);
    a.reserve(0..2);
    a.reserve(10..12);
    press(&a, &b, 6);
    assert!([0, 1, 10, 11].iter().all(|piece| a.contains(*piece)), "{:?}", present(&a));
    a.unreserve();
    a.reserve(11..12);
    b.evict(0..40).unwrap();
    b.reserve(0..40);
    fill(&b, 20..20 + FIT - 1);
    assert_eq!(present(&a), [11]);
}

#[test]
fn the_lookbehind_calls_say_what_they_do() {
    let cache = cache::<Interval>(MIB);
    let film = film(&cache, 40, LEN);
    fill(&film, 0..6);
    assert_eq!(film.lookbehind_stats(), LookbehindStats::default());
    film.set_lookbehind([5, 3, 3, 20, u32::MAX]);
    let stats = film.lookbehind_stats();
    assert_eq!((stats.available, stats.protected), (2, 4));
    assert_eq!(stats.bytes, 2 * (LEN as u64 + 128));
    assert!(film.is_lookbehind_available(3) && !film.is_lookbehind_available(20));
    for piece in 6..40 {
        if piece != 20 {
            film.insert(piece, &of(piece, LEN)).unwrap();
        }
    }
    assert!(film.contains(3) && film.contains(5), "{:?}", present(&film));
    film.set_lookbehind([30]); // in place of the others
    assert_eq!(film.lookbehind_stats().protected, 1);
    film.clear_lookbehind();
    assert_eq!(film.lookbehind_stats(), LookbehindStats::default());
    film.remove().unwrap();
    assert!(!film.is_lookbehind_available(5));
}

#[test]
fn a_policy_decides_within_a_class_and_not_across() {
    struct HighestFirst(Arc<AtomicU32>);
    impl Policy for HighestFirst {
        fn worth(&self, candidate: &Candidate) -> f64 {
            self.0.fetch_add(1, Ordering::Relaxed);
            assert!(candidate.size >= LEN);
            assert_eq!(candidate.protection == Protection::Reserved, candidate.piece >= 10);
            -f64::from(candidate.piece)
        }
    }
    let asked = Arc::new(AtomicU32::new(0));
    let policy = HighestFirst(Arc::clone(&asked));
    let cache = built::<Interval>(Cache::builder().policy(policy), MIB);
    let film = film(&cache, 40, LEN);
    film.reserve(10..40);
    fill(&film, 0..FIT);
    let mut gone = Vec::new();
    for piece in FIT..FIT + 9 {
        let before = present(&film);
        film.insert(piece, &of(piece, LEN)).unwrap();
        gone.extend(before.into_iter().filter(|piece| !film.contains(*piece)));
    }
    assert_eq!(gone[..8], [9, 8, 7, 6, 5, 4, 3, 2][..], "{gone:?}");
    assert!(asked.load(Ordering::Relaxed) > 0);
}

#[test]
fn reading_a_piece_keeps_it_and_writing_it_does_not() {
    // A film without a player: what was read since eviction last looked goes after what was not.
    let cache = cache::<Interval>(MIB);
    let (a, b) = (film(&cache, FIT, LEN), film(&cache, 40, LEN));
    fill(&a, 0..FIT - 1);
    let reader = a.reader();
    for piece in [0, 1, 2] {
        assert!(reader.snapshot().get(piece).is_some());
    }
    drop(a.get(3).unwrap());
    let gone = press(&a, &b, 4);
    assert!((0..4).all(|piece| a.contains(piece)), "{gone:?}");
}

#[test]
fn in_the_only_film_what_was_read_last_stays() {
    let cache = cache::<Interval>(MIB);
    let film = film(&cache, 200, LEN);
    fill(&film, 0..14);
    let read = |pieces: Range<u32>| {
        pieces.for_each(|piece| drop(film.get(piece).unwrap()));
        for _ in 0..100 {
            fill(&film, 150..151);
            film.evict(150..151).unwrap();
        }
    };
    // All are read, and those last that were published first.
    read(7..14);
    read(0..7);
    let left = |pieces: Range<u32>| pieces.filter(|piece| film.contains(*piece)).count();
    for piece in 20.. {
        fill(&film, piece..piece + 1);
        assert_eq!(left(0..7), 7);
        if left(7..14) == 0 {
            break;
        }
    }
}

#[test]
fn a_mark_counts_once() {
    let cache = cache::<Interval>(MIB);
    let (a, b) = (film(&cache, FIT, LEN), film(&cache, 40, LEN));
    fill(&a, 0..FIT);
    drop(a.get(0).unwrap());
    b.reserve(0..40);
    let gone = [0, 1, 2].map(|piece| {
        let before = present(&a);
        fill(&b, piece..piece + 1);
        before.into_iter().filter(|piece| !a.contains(*piece)).collect::<Vec<_>>()
    });
    // The oldest was read, and so the next one goes; then nothing speaks for it any more.
    assert_eq!(gone, [[1], [0], [2]]);
}

#[test]
fn with_everything_pinned_an_insert_says_so_and_goes_on_when_a_handle_is_dropped() {
    let cache = cache::<Interval>(MIB);
    let film = film(&cache, 40, LEN);
    let mut held = Vec::new();
    let refused = loop {
        let piece = held.len() as u32;
        match film.insert(piece, &of(piece, LEN)) {
            Ok(_) => held.push(film.get(piece).unwrap()),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::BudgetExhausted { .. }), "{refused}");
    assert!(held.len() >= 14 && (0..held.len() as u32).all(|piece| film.contains(piece)));
    let next = held.len() as u32;
    held.truncate(held.len() - 1);
    film.insert(next, &of(next, LEN)).unwrap();
    assert_eq!(held.iter().filter(|h| h[..] == of(h.piece(), LEN)).count(), held.len());
}
