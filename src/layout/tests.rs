//! The layout against a plain list of lengths, and at the ends of its ranges.

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

/// There is room for every list.
fn granted(_: usize) -> Result<()> {
    Ok(())
}

/// A layout of these segments.
fn segments(lens: &[u32]) -> Layout {
    lens.iter().fold(Layout::segments(), |layout, &len| {
        layout.appended(len, granted).expect("a good segment").0
    })
}

/// Compares every method with the lengths of the pieces from number `first`, offset `start` on.
fn agrees(layout: &Layout, first: u32, start: u64, lens: &[u32], rng: &mut StdRng) {
    let end = start + lens.iter().map(|&len| u64::from(len)).sum::<u64>();
    assert_eq!(layout.pieces(), first..first + lens.len() as u32);
    assert_eq!((layout.start_offset(), layout.total_len()), (start, end));
    assert_eq!(layout.largest_piece(), lens.iter().copied().max().unwrap_or(0));
    // The piece and the place within it of each byte, in order.
    let bytes: Vec<(u32, u32)> = (first..)
        .zip(lens)
        .flat_map(|(piece, &len)| (0..len).map(move |within| (piece, within)))
        .collect();
    for (offset, &at) in (start..).zip(&bytes) {
        assert_eq!(layout.piece_at(offset), Some(at));
    }
    let mut at = start;
    for (piece, &len) in (first..).zip(lens) {
        assert_eq!(layout.piece_len(piece), Some(len));
        assert_eq!(layout.byte_range(piece), Some(at..at + u64::from(len)));
        at += u64::from(len);
    }
    for _ in 0..20 {
        let from = rng.random_range(0..=end + 3);
        let to = rng.random_range(0..=end + 3);
        let told: Vec<_> = layout
            .parts(from..to)
            .flat_map(|(piece, part)| part.map(move |within| (piece, within)))
            .collect();
        let index = |offset: u64| (offset.clamp(start, end) - start) as usize;
        let wanted = bytes.get(index(from)..index(to)).unwrap_or_default();
        assert_eq!(told, wanted, "{from}..{to}");
        let mut pieces: Vec<u32> = wanted.iter().map(|&(piece, _)| piece).collect();
        pieces.dedup();
        assert_eq!(layout.pieces_of(from..to).collect::<Vec<_>>(), pieces);
    }
    for beyond in [first.wrapping_sub(1), first + lens.len() as u32] {
        assert_eq!(layout.byte_range(beyond), None);
        assert_eq!(layout.piece_len(beyond), None);
    }
    assert_eq!(layout.piece_at(end), None);
    assert_eq!(layout.piece_at(start.wrapping_sub(1)), None);
}

#[test]
fn any_fixed_layout_agrees_with_the_list_of_its_lengths() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..200 {
        let (total, len) = (rng.random_range(1..60), rng.random_range(1..20));
        let mut lens = vec![len; (total / len) as usize];
        lens.extend((total % len != 0).then_some(total % len));
        let layout = Layout::fixed(u64::from(total), len).expect("a good layout");
        agrees(&layout, 0, 0, &lens, &mut rng);
    }
}

#[test]
fn any_history_of_segments_agrees_with_the_list_of_its_lengths() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..30 {
        let mut layout = Layout::segments();
        let (mut first, mut start, mut lens) = (0, 0, Vec::new());
        for _ in 0..25 {
            if rng.random_ratio(2, 3) {
                let len = rng.random_range(1..9);
                let (next, number) = layout.appended(len, granted).expect("room");
                assert_eq!(number, first + lens.len() as u32);
                lens.push(len);
                layout = next;
            } else {
                let gone = rng.random_range(0..=lens.len());
                first += gone as u32;
                start += lens.drain(..gone).map(u64::from).sum::<u64>();
                layout = layout.dropped_before(first).expect("a known segment");
            }
            agrees(&layout, first, start, &lens, &mut rng);
        }
    }
}

#[test]
fn lengths_of_zero_are_refused() {
    assert_eq!(Layout::fixed(0, 1).unwrap_err(), Error::ZeroLength);
    assert_eq!(Layout::fixed(1, 0).unwrap_err(), Error::ZeroPieceLength);
    let none = Layout::segments().appended(0, granted);
    assert_eq!(none.unwrap_err(), Error::ZeroLength);
}

#[test]
fn one_piece_more_than_the_limit_is_refused() {
    assert_eq!(Layout::fixed(1 << 24, 1).unwrap().pieces(), 0..1 << 24);
    for (total, len, pieces) in [((1 << 24) + 1, 1, (1 << 24) + 1), (u64::MAX, 1, u64::MAX)] {
        assert_eq!(
            Layout::fixed(total, len).unwrap_err(),
            Error::TooManyPieces { pieces, limit: 1 << 24 }
        );
    }
}

#[test]
fn the_largest_lengths_do_not_overflow() {
    let layout = Layout::fixed(u64::from(u32::MAX) << 24, u32::MAX).unwrap();
    let last = (1 << 24) - 1;
    assert_eq!(layout.piece_at(layout.total_len() - 1), Some((last, u32::MAX - 1)));
    assert_eq!(layout.piece_at(u64::MAX), None);
    assert_eq!(layout.pieces_of(0..u64::MAX), 0..1 << 24);
    let end: Vec<_> = layout.parts(layout.total_len() - 1..u64::MAX).collect();
    assert_eq!(end, [(last, u32::MAX - 1..u32::MAX)]);
    assert_eq!(layout.byte_range(u32::MAX), None);
}

#[test]
fn numbers_and_offsets_that_are_used_up_are_an_error() {
    let near = |first, end| Layout::of_segments(first, 0, vec![end]);
    let (layout, number) = near(u32::MAX - 1, 0).appended(1, granted).unwrap();
    assert_eq!(number, u32::MAX - 1);
    assert_eq!(layout.byte_range(u32::MAX), None);
    let refused = layout.appended(1, granted).unwrap_err();
    assert!(matches!(refused, Error::TooManyPieces { .. }), "{refused}");

    let (layout, _) = near(0, u64::MAX - 3).appended(3, granted).unwrap();
    assert_eq!(layout.piece_at(u64::MAX - 1), Some((0, 2)));
    assert_eq!(layout.piece_at(u64::MAX), None);
    assert_eq!(layout.pieces_of(0..u64::MAX), 0..1);
    let refused = layout.appended(1, granted).unwrap_err();
    assert!(matches!(refused, Error::OffsetOutOfRange { .. }), "{refused}");
}

#[test]
fn a_full_window_takes_a_segment_again_once_one_has_fallen_out() {
    let full = Layout::of_segments(7, 1, (0..=MAX_SEGMENTS as u64).collect());
    assert_eq!(
        full.appended(1, granted).unwrap_err(),
        Error::TooManyPieces { pieces: 65_537, limit: 65_536 }
    );
    let (layout, number) = full.dropped_before(8).unwrap().appended(5, granted).unwrap();
    assert_eq!(layout.pieces(), 8..7 + 65_537);
    assert_eq!(number, 7 + 65_536);
    assert_eq!(layout.largest_piece(), 5);
}

#[test]
fn dropping_goes_forward_only_and_not_beyond_the_end() {
    let layout = segments(&[3, 9, 2]).dropped_before(2).unwrap();
    assert_eq!(layout.largest_piece(), 2, "the long segment is gone");
    assert_eq!(layout.dropped_before(0).unwrap().pieces(), 2..3);
    let all = layout.dropped_before(3).unwrap();
    assert_eq!((all.pieces(), all.start_offset()), (3..3, 14));
    assert_eq!(
        layout.dropped_before(4).unwrap_err(),
        Error::PieceOutOfRange { piece: 4, first: 2, end: 3 }
    );
    assert!(layout.dropped_before(u32::MAX).is_err());
}

#[test]
fn a_fixed_layout_has_no_segments_to_append_or_drop() {
    let layout = Layout::fixed(4, 4).unwrap();
    assert_eq!(layout.appended(1, granted).unwrap_err(), Error::NotSegmented);
    assert_eq!(layout.dropped_before(0).unwrap_err(), Error::NotSegmented);
    assert!(!layout.is_segmented());
}

#[test]
fn only_a_list_of_segments_takes_memory_and_each_segment_counts() {
    assert_eq!(Layout::fixed(4, 4).unwrap().heap_bytes(), 0);
    let (one, three) = (segments(&[1]), segments(&[1, 1, 1]));
    assert!(three.heap_bytes() >= one.heap_bytes() + 2 * size_of::<u64>());
    // What was dropped is in the list until the next segment, which has room reserved for its own.
    let two = three.dropped_before(2).unwrap();
    assert_eq!(two.heap_bytes(), three.heap_bytes());
    let asked = std::cell::Cell::new(0);
    let reserve = |bytes| {
        asked.set(bytes);
        Ok(())
    };
    let (next, _) = two.appended(1, reserve).unwrap();
    assert_eq!(next.heap_bytes(), asked.get());
    assert_eq!(next.heap_bytes() + size_of::<u64>(), three.heap_bytes());
    let refused = two.appended(1, |_| Err(Error::Aborted));
    assert_eq!(refused.unwrap_err(), Error::Aborted);
}
