//! How films are cut into pieces, as their users see it.

mod common;

use common::{KIB, MIB, cache, content, of};
use lookbehind::{Cache, Error, Insert, Interval, Layout, StorageOptions};
use rand::Rng;

#[test]
fn every_byte_of_a_fixed_film_lies_in_exactly_one_piece() {
    let mut rng = common::rng(common::seed());
    for _ in 0..200 {
        let (total, len) = (rng.random_range(1..5000u64), rng.random_range(1..700u32));
        let layout = Layout::fixed(total, len).unwrap();
        let mut at = 0;
        for piece in layout.pieces() {
            let range = layout.byte_range(piece).unwrap();
            assert_eq!(range.start, at);
            assert_eq!(range.end - range.start, u64::from(layout.piece_len(piece).unwrap()));
            assert_eq!(layout.piece_at(range.start), Some((piece, 0)));
            assert_eq!(layout.piece_at(range.end - 1).unwrap().0, piece);
            at = range.end;
        }
        assert_eq!((at, layout.total_len()), (total, total));
        assert_eq!(layout.piece_at(total), None);
    }
}

#[test]
fn the_parts_of_a_range_cover_it_without_gap_or_overlap() {
    let mut rng = common::rng(common::seed());
    for _ in 0..200 {
        let layout = Layout::fixed(rng.random_range(1..5000), rng.random_range(1..700)).unwrap();
        let start = rng.random_range(0..layout.total_len());
        let end = rng.random_range(start..=layout.total_len());
        let mut at = start;
        for (piece, within) in layout.parts(start..end) {
            let whole = layout.byte_range(piece).unwrap();
            assert_eq!(whole.start + u64::from(within.start), at);
            assert!(within.start < within.end);
            at = whole.start + u64::from(within.end);
        }
        assert_eq!(at, end);
    }
}

#[test]
fn the_last_piece_is_as_short_as_the_film_leaves_it() {
    let cache = cache::<Interval>(MIB);
    let film = cache.add_storage(Layout::fixed(2 * KIB as u64 + 1, KIB as u32).unwrap()).unwrap();
    assert_eq!(film.layout().piece_len(2), Some(1));
    let expected = Error::WrongLength { piece: 2, given: 2, expected: 1 };
    assert_eq!(film.insert(2, &[1, 2]).unwrap_err(), expected);
    assert_eq!(film.insert(2, &[7]), Ok(Insert::Published));
    assert_eq!(*film.get(2).unwrap(), [7]);
    assert_eq!(film.get(3).unwrap_err(), Error::PieceOutOfRange { piece: 3, first: 0, end: 3 });
}

#[test]
fn pieces_beyond_the_first_leaf_are_kept_apart() {
    // Tables are made of leaves; pieces on both sides of each seam, and the last one.
    let cache = cache::<Interval>(4 * MIB);
    let film = cache.add_storage(Layout::fixed(5000, 1).unwrap()).unwrap();
    let some = [0, 1, 254, 255, 256, 510, 511, 512, 513, 1022, 1023, 1024, 4095, 4096, 4999];
    for piece in some {
        film.insert(piece, &[piece as u8 ^ 0x5a]).unwrap();
    }
    for piece in 0..5000 {
        let found = film.get(piece).ok().map(|held| held[0]);
        assert_eq!(found, some.contains(&piece).then_some(piece as u8 ^ 0x5a), "piece {piece}");
    }
    let runs = film.stats().runs;
    assert_eq!(runs, [0..2, 254..257, 510..514, 1022..1025, 4095..4097, 4999..5000]);
}

#[test]
fn segments_are_numbered_and_placed_one_after_another() {
    let cache = cache::<Interval>(MIB);
    let film = cache.add_storage(Layout::segments()).unwrap();
    assert_eq!(film.append_segment(100), Ok(0));
    assert_eq!(film.append_segment(50), Ok(1));
    assert_eq!(film.append_segment(200), Ok(2));
    let layout = film.layout();
    assert_eq!((layout.byte_range(1), layout.total_len()), (Some(100..150), 350));
    assert_eq!((layout.piece_at(149), layout.piece_at(150)), (Some((1, 49)), Some((2, 0))));
    assert_eq!(layout.largest_piece(), 200);
}

#[test]
fn segments_that_fall_out_of_the_window_are_gone_and_their_numbers_stay_theirs() {
    let cache = cache::<Interval>(MIB);
    let film = cache.add_storage(Layout::segments()).unwrap();
    for piece in 0..10 {
        film.append_segment(100).unwrap();
        film.insert(piece, &of(piece, 100)).unwrap();
    }
    film.drop_segments_before(4).unwrap();
    assert_eq!((film.layout().pieces(), film.layout().start_offset()), (4..10, 400));
    let gone = Error::PieceOutOfRange { piece: 3, first: 4, end: 10 };
    assert_eq!(film.get(3).unwrap_err(), gone);
    assert_eq!(film.insert(3, &of(3, 100)).unwrap_err(), gone);
    assert_eq!(film.get(4).unwrap()[..], of(4, 100));
    assert_eq!(film.append_segment(100), Ok(10));
    film.drop_segments_before(2).unwrap(); // already: nothing changes
    assert_eq!(film.layout().pieces(), 4..11);
}

#[test]
fn a_live_window_that_moves_on_for_long_keeps_showing_its_segments() {
    let cache = cache::<Interval>(MIB);
    let film = cache.add_storage(Layout::segments()).unwrap();
    for piece in 0..3000u32 {
        let len = 50 + piece % 70;
        assert_eq!(film.append_segment(len), Ok(piece));
        film.insert(piece, &of(piece, len as usize)).unwrap();
        if let Some(first) = piece.checked_sub(20) {
            film.drop_segments_before(first).unwrap();
        }
        if piece % 97 == 0 {
            for shown in film.layout().pieces() {
                assert_eq!(film.get(shown).unwrap()[..], of(shown, 50 + shown as usize % 70));
            }
        }
    }
    assert_eq!(film.stats().runs.len(), 1);
    assert_eq!(film.stats().runs[0], 2979..3000);
}

#[test]
fn a_live_film_gives_back_all_that_it_took() {
    let cache = cache::<Interval>(4 * MIB);
    let empty = cache.add_storage(Layout::segments()).unwrap();
    empty.remove().unwrap();
    drop(empty);
    let film = cache.add_storage(Layout::segments()).unwrap();
    for piece in 0..500 {
        film.append_segment(100).unwrap();
        film.insert(piece, &of(piece, 100)).unwrap();
    }
    // A film may also begin with the segments of another one.
    let grown = cache.add_storage(film.layout()).unwrap();
    grown.insert(499, &content(1, 0, 499, 100)).unwrap();
    for film in [film, grown] {
        film.remove().unwrap();
    }
    let stats = cache.stats();
    assert_eq!(stats.states.total(), stats.resident);
    assert_eq!(stats.resident, stats.states.pooled, "{}", stats.states);
    assert_eq!(stats.states.pooled % 256, 0, "the buffers of 100 bytes: {}", stats.states);
    assert_eq!(cache.budget(), 4 * MIB as u64);
}

#[test]
fn calls_for_the_other_kind_of_layout_are_refused() {
    let cache = cache::<Interval>(MIB);
    let film = common::film(&cache, 4, 100);
    assert_eq!(film.append_segment(1).unwrap_err(), Error::NotSegmented);
    assert_eq!(film.drop_segments_before(1).unwrap_err(), Error::NotSegmented);
    assert_eq!(film.layout().pieces(), 0..4);
}

#[test]
fn a_table_that_would_leave_no_room_for_pieces_is_refused_and_harms_nobody() {
    let cache = Cache::builder().budget(MIB as u64).build().unwrap();
    let film = common::film(&cache, 8, KIB);
    common::fill(&film, 0..4);
    let options = StorageOptions::default();
    let huge = cache.add_storage_with(Layout::fixed(1 << 24, 1).unwrap(), options);
    assert!(matches!(huge, Err(Error::BudgetTooSmall { .. })), "{huge:?}");
    common::fill(&film, 4..8);
    assert_eq!(common::present(&film).len(), 8);
    assert_eq!(cache.storages().len(), 1);
}

#[test]
fn the_budget_cannot_be_lowered_to_where_tables_leave_no_room() {
    let cache = Cache::builder().budget(16 * MIB as u64).build().unwrap();
    let film = cache.add_storage(Layout::fixed(1 << 24, 1).unwrap()).unwrap();
    let lowered = cache.set_budget(MIB as u64);
    assert!(matches!(lowered, Err(Error::BudgetTooSmall { .. })), "{lowered:?}");
    assert_eq!(cache.budget(), 16 * MIB as u64);
    film.insert((1 << 24) - 1, &[3]).unwrap();
    assert_eq!(film.get((1 << 24) - 1).unwrap()[0], 3);
}
