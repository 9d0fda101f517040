//! Bad input gets a typed error and loses nothing.

mod common;

use std::time::Duration;

use common::{KIB, MIB, cache, fill, film, of, present, schemes};
use lookbehind::{
    Cache, CacheBuilder, Clock, Error, Extent, Interval, Layout, PlayerConfig, Progress, Reclaim,
    Sha256Verifier, States, StorageId, StorageOptions, Viewer,
};

const LEN: usize = 16 * KIB;

schemes!(bad_calls_are_refused_and_everything_stays_usable);

#[test]
fn layouts_that_make_no_sense_are_refused() {
    assert_eq!(Layout::fixed(0, 4).unwrap_err(), Error::ZeroLength);
    assert_eq!(Layout::fixed(4, 0).unwrap_err(), Error::ZeroPieceLength);
    assert_eq!(Layout::fixed(0, 0).unwrap_err(), Error::ZeroLength);
    for (total, len) in [(u64::MAX, 1), (u64::MAX, u32::MAX), ((1 << 24) + 1, 1)] {
        let refused = Layout::fixed(total, len).unwrap_err();
        assert!(matches!(refused, Error::TooManyPieces { .. }), "{refused}");
    }
    assert_eq!(Layout::fixed(1 << 24, 1).unwrap().pieces(), 0..1 << 24);
    assert_eq!(Layout::fixed(1, u32::MAX).unwrap().piece_len(0), Some(1));
}

#[test]
fn layouts_answer_hostile_numbers() {
    for layout in [Layout::fixed(10_000, 300).unwrap(), Layout::segments()] {
        for n in [u64::MAX, u64::MAX - 1, 1 << 63, 10_000] {
            assert_eq!(layout.piece_at(n), None);
            assert!(layout.pieces_of(n..u64::MAX).is_empty());
            assert!(layout.pieces_of(n..0).is_empty());
            assert_eq!(layout.parts(n..u64::MAX).count(), 0);
        }
        assert_eq!((layout.piece_len(u32::MAX), layout.byte_range(u32::MAX)), (None, None));
    }
}

#[test]
fn budgets_that_make_no_sense_are_refused() {
    let build = |budget: u64| CacheBuilder::budget(Cache::builder(), budget).build();
    for small in [0, 1, 16 * 1024 - 1] {
        assert!(matches!(build(small), Err(Error::BudgetTooSmall { .. })), "{small}");
    }
    // The ledger counts in 32 bits, in units of 128 bytes.
    let largest = (512 << 30) - 128;
    for large in [largest + 1, 512 << 30, u64::MAX] {
        let refused = Error::BudgetTooLarge { budget: large, most: largest };
        assert_eq!(build(large).map(drop), Err(refused));
    }
    assert_eq!(build(largest).unwrap().budget(), largest);
    let cache = build(MIB as u64).unwrap();
    for wrong in [0, 1, u64::MAX] {
        assert!(cache.set_budget(wrong).is_err());
        assert_eq!(cache.budget(), MIB as u64);
    }
    // The smallest one holds something.
    let cache = build(16 * KIB as u64).unwrap();
    let film = film(&cache, 8, 1000);
    fill(&film, 0..8);
    assert!(!present(&film).is_empty() && cache.stats().resident_peak <= 16 * KIB as u64);
}

#[test]
fn pieces_over_half_the_budget_are_refused() {
    let cache = cache::<Interval>(MIB);
    for len in [MIB as u32 / 2, MIB as u32, u32::MAX] {
        let refused = cache.add_storage(Layout::fixed(1 << 40, len).unwrap()).map(drop);
        let expected = Error::PieceTooLarge { piece_len: len, budget: MIB as u64 };
        assert_eq!(refused.unwrap_err(), expected);
    }
    let live = cache.add_storage(Layout::segments()).unwrap();
    assert!(matches!(live.append_segment(u32::MAX), Err(Error::PieceTooLarge { .. })));
    assert_eq!(live.append_segment(0).unwrap_err(), Error::ZeroLength);
    assert_eq!(live.append_segment(100), Ok(0));
    assert_eq!(cache.storages().len(), 1);
    // Half the budget, less what an assembly takes beside its piece.
    let film = film(&cache, 3, MIB / 2 - 5 * KIB);
    film.insert(2, &vec![1; MIB / 2 - 5 * KIB]).unwrap();
}

fn bad_calls_are_refused_and_everything_stays_usable<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let film = film(&cache, 10, LEN);
    fill(&film, 0..2);
    film.write(2, 0, &[1; 100]).unwrap();
    let before = cache.stats();
    for piece in [10, 11, 255, 256, 1 << 24, u32::MAX - 1, u32::MAX] {
        let beyond = Error::PieceOutOfRange { piece, first: 0, end: 10 };
        assert_eq!(film.insert(piece, &[0; LEN]).unwrap_err(), beyond);
        assert_eq!(film.write(piece, 0, &[0; 8]).unwrap_err(), beyond);
        assert_eq!(film.commit(piece).unwrap_err(), beyond);
        assert_eq!(film.get(piece).unwrap_err(), beyond);
        assert_eq!(film.wait(piece).blocking().unwrap_err(), beyond);
        assert_eq!(film.read_back(piece, 0, 10).unwrap_err(), beyond);
        assert_eq!(film.abandon(piece), Ok(false));
        assert_eq!(film.evict(piece..u32::MAX), Ok(0));
        assert!(!film.contains(piece) && film.arriving(piece).is_none());
        let reader = film.reader();
        assert!(reader.snapshot().get(piece).is_none());
        assert!(reader.snapshot_range(piece..piece.saturating_add(1)).held(piece).is_none());
    }
    for len in [0, 1, LEN - 1, LEN + 1] {
        let wrong = film.insert(3, &vec![0; len]).unwrap_err();
        assert_eq!(wrong, Error::WrongLength { piece: 3, given: len as u64, expected: LEN as u32 });
    }
    let end = LEN as u32;
    for (offset, len) in [(end, 1), (end - 1, 2), (u32::MAX, 1), (u32::MAX, 10), (0, LEN + 1)] {
        let crossing = Error::BlockOutOfRange { piece: 3, offset, len: len as u64, piece_len: end };
        assert_eq!(film.write(3, offset, &vec![0; len]).unwrap_err(), crossing);
        assert_eq!(film.read_back(3, offset, len as u32).unwrap_err(), crossing);
    }
    let (low, high) = (3, u32::MAX); // the wrong way round below
    film.reserve(high..low);
    film.reserve(0..u32::MAX);
    film.set_lookbehind([u32::MAX, 0, u32::MAX - 1]);
    assert_eq!((film.evict(high..low), film.evict(high..high)), (Ok(0), Ok(0)));
    let after = cache.stats();
    let data = |states: lookbehind::States| States { table: 0, ..states }; // nodes are kept
    assert_eq!(data(after.states), data(before.states), "nothing was lost or kept");
    assert_eq!((film.stats().assembling_pieces, after.waits, after.snapshots), (1, 0, 0));
    fill(&film, 2..10);
    assert_eq!(present(&film).len(), 10);
}

#[test]
fn ids_that_were_made_up_are_unknown() {
    let cache = cache::<Interval>(MIB);
    let film = film(&cache, 1, KIB);
    let numbers = [0, 1, 7, u32::MAX];
    for id in numbers.iter().flat_map(|&i| numbers.map(|g| StorageId { index: i, generation: g })) {
        let found = cache.storage(id).map(|found| found.id());
        let expected = if id == film.id() { Ok(id) } else { Err(Error::UnknownStorage { id }) };
        assert_eq!(found, expected);
    }
}

#[test]
fn a_piece_in_too_many_parts_is_refused_and_can_still_be_finished() {
    let film = film(&cache::<Interval>(MIB), 2, LEN);
    let whole = of(0, LEN);
    let block = |at: usize| film.write(0, at as u32, &whole[at..at + 1]);
    let refused = (0..LEN).step_by(2).find_map(|at| block(at).err().map(|error| (at, error)));
    let (at, error) = refused.unwrap();
    assert_eq!(error, Error::TooFragmented { piece: 0, limit: 128 });
    assert_eq!(at, 256);
    assert_eq!(film.write(0, 0, &whole), Ok(Progress::Complete));
    film.commit(0).unwrap();
    assert_eq!(film.get(0).unwrap()[..], whole);
}

#[test]
fn players_take_hostile_numbers() {
    let clock = Clock::manual();
    let cache = common::built::<Interval>(Cache::builder().clock(clock.clone()), MIB);
    let film = film(&cache, 10, KIB);
    fill(&film, 0..10);
    let extents = [
        Extent::Bytes(0),
        Extent::Bytes(u64::MAX),
        Extent::Time(Duration::ZERO),
        Extent::Time(Duration::MAX),
    ];
    let viewer = Viewer::new();
    let mut players = Vec::new();
    for position in [0, 1, 10 * KIB as u64, 1 << 63, u64::MAX] {
        for (extent, bitrate) in extents.iter().zip([0, 1, u64::MAX, 1 << 40]) {
            let config = PlayerConfig::default().position(position).bitrate(bitrate);
            let config = config.ahead(*extent).behind(*extent).viewer(viewer.clone());
            let config = config.linger(Duration::MAX).deadline(Duration::MAX);
            let mut player = film.player(config).unwrap();
            let inside = position < 10 * KIB as u64;
            let read = common::block_on(common::read(&mut player, &mut [0; 4])).unwrap();
            assert_eq!(read, if inside { 4 } else { 0 }, "{position}");
            player.set_bitrate(u64::MAX);
            player.seek_to(u64::MAX);
            players.push(player);
        }
    }
    clock.advance(Duration::MAX);
    assert!(!film.stats().windows.is_empty());
    drop(players);
    fill(&film, 0..10);
}

#[test]
fn times_without_end_are_taken() {
    let cache = common::cache::<Interval>(MIB);
    let options = StorageOptions::default().assembly_limit(Duration::MAX);
    let film = cache.add_storage_with(common::layout(4, KIB), options).unwrap();
    film.write(0, 0, &[1]).unwrap();
    fill(&film, 1..2);
    assert!(film.wait(1).deadline(Duration::MAX).blocking().is_ok());
    film.insert_wait(2, &of(2, KIB), Duration::MAX).unwrap();
    cache.shrink(Duration::MAX).unwrap();
    assert_eq!(film.stats().assembling_pieces, 1);
    assert!(cache.abort(lookbehind::Wait::For(Duration::MAX)));
}

#[test]
fn hash_lists_of_a_wrong_length_are_refused() {
    for len in [1, 31, 33] {
        let refused = Sha256Verifier::from_concatenated(&vec![0; len]).unwrap_err();
        assert_eq!(refused, Error::HashListLength { given: len as u64, hash_len: 32 });
    }
}

#[test]
fn a_live_window_refuses_what_it_does_not_have() {
    let cache = cache::<Interval>(4 * MIB);
    let film = cache.add_storage(Layout::segments()).unwrap();
    assert!(matches!(film.insert(0, &[]), Err(Error::PieceOutOfRange { .. })));
    for piece in 0..3 {
        film.append_segment(10).unwrap();
        film.insert(piece, &[piece as u8; 10]).unwrap();
    }
    for piece in [4, 1 << 20, u32::MAX] {
        let beyond = Error::PieceOutOfRange { piece, first: 0, end: 3 };
        assert_eq!(film.drop_segments_before(piece).unwrap_err(), beyond);
    }
    assert_eq!(present(&film), [0, 1, 2]);
    film.drop_segments_before(3).unwrap();
    assert_eq!((present(&film), film.append_segment(5)), (vec![], Ok(3)));
}
