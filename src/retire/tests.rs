//! Spans, outlooks, lines and batches by themselves.

use super::batches::Batches;
use super::*;
use crate::memory::piece::size_for;

fn span(first: u32, last: u32) -> Span {
    Span { first, last }
}

#[test]
fn a_span_contains_and_overlaps_up_to_both_its_ends() {
    let contained: Vec<_> = (0..9).filter(|piece| span(3, 5).contains(*piece)).collect();
    assert_eq!(contained, [3, 4, 5]);
    let cases = [
        (span(3, 5), span(5, 9), true),
        (span(3, 5), span(6, 9), false),
        (span(0, 9), span(4, 4), true),
        (Span::ALL, Span::one(7), true),
        (Span::NONE, Span::one(7), false),
    ];
    for (one, other, expected) in cases {
        assert_eq!(one.overlaps(other), expected, "{one:?}, {other:?}");
        assert_eq!(other.overlaps(one), expected, "{other:?}, {one:?}");
    }
}

#[test]
fn a_hull_contains_both_spans_and_nothing_of_none() {
    assert_eq!(span(3, 5).hull(span(9, 12)), span(3, 12));
    assert_eq!(span(9, 12).hull(span(3, 5)), span(3, 12));
    assert_eq!(span(3, 5).hull(Span::NONE), span(3, 5));
    assert_eq!(Span::NONE.hull(span(3, 5)), span(3, 5));
}

#[test]
fn a_span_is_packed_and_unpacked_unchanged() {
    for span in [span(0, 0), span(1, 2), span(7, 3), span(u32::MAX, 0), Span::ALL, Span::NONE] {
        assert_eq!(Span::unpacked(span.packed()), span);
    }
}

#[test]
fn beyond_seven_stalled_versions_the_others_count_as_one() {
    let mut outlook = Outlook::default();
    for version in 1..=7 {
        outlook.add(version, Span::one(version as u32 * 10));
    }
    for (version, span) in [(9, span(80, 90)), (8, span(100, 110)), (10, span(95, 95))] {
        outlook.add(version, span);
    }
    let entries = outlook.entries();
    for (entry, version) in entries.iter().zip(1..=7) {
        assert_eq!(*entry, (version, Span::one(version as u32 * 10).packed()));
    }
    assert_eq!(entries[7], (10, span(80, 110).packed()));
}

#[test]
fn a_line_that_is_given_up_is_the_next_ones() {
    let (scheme, lines) = (Interval::new(), Lines::new());
    let (first, second) = (lines.claim(&scheme), lines.claim(&scheme));
    assert!(!std::ptr::eq(first, second));
    lines.leave(first);
    assert!(std::ptr::eq(first, lines.claim(&scheme)));
    assert_eq!(lines.lanes().count(), 2 * lines::LANES);
}

#[test]
fn a_line_full_of_forgotten_snapshots_is_nobodys() {
    let (scheme, lines) = (Interval::new(), Lines::new());
    let full = lines.claim(&scheme);
    let root = AtomicPtr::new(std::ptr::NonNull::dangling().as_ptr());
    while let Some(lane) = full.idle_lane() {
        // SAFETY: the lane is idle, and nobody follows what it announces.
        unsafe { scheme.enter(&lane.announcement, &root, Span::ALL) };
    }
    lines.leave(full);
    let next = lines.claim(&scheme);
    assert!(!std::ptr::eq(full, next) && next.idle_lane().is_some());
}

#[test]
fn calls_of_any_thread_find_a_lane_and_those_of_one_thread_the_same() {
    let (scheme, lines) = (Interval::new(), Lines::new());
    for _ in 0..300 {
        let call = || {
            lines.with_lane(&scheme, |lane| {
                assert!(Interval::is_idle(&lane.announcement));
                std::ptr::from_ref(lane).addr()
            })
        };
        let twice = || assert_eq!(call(), call());
        std::thread::scope(|scope| scope.spawn(twice).join()).unwrap();
    }
    assert!(lines.lanes().count() <= 16, "one after another they need no more");
}

#[test]
fn a_batch_waits_for_its_flag_which_is_deferred_again_ever_more_rarely() {
    let pieces = [0, 1].map(|_| PieceRef::allocate(size_for(1), None).expect("there is memory"));
    let mut batches = Batches::default();
    assert!(batches.start().is_none() && batches.again(true).is_none());
    // SAFETY: this is the one reclaimer; the pieces are on one list each, and freed at the end.
    unsafe {
        let add = |batches: &mut Batches, piece| {
            let mut fresh = List::default();
            fresh.push(Record::Piece(piece));
            batches.add(fresh);
        };
        let mut freed = Vec::new();
        add(&mut batches, pieces[0]);
        let flag = batches.start().expect("something waits");
        add(&mut batches, pieces[1]);
        let again: Vec<_> = (1..=9).filter(|_| batches.again(false).is_some()).collect();
        assert_eq!(again, [1, 2, 4, 8]);
        assert!(batches.again(true).is_some());
        assert!(batches.start().is_none(), "one flag at a time");
        assert!(!batches.take_passed(&mut |record| freed.push(record)) && freed.is_empty());
        flag.raise();
        assert!(batches.take_passed(&mut |record| freed.push(record)));
        assert_eq!(freed, [Record::Piece(pieces[0])]);
        assert!(batches.start().is_some(), "what came meanwhile");
        batches.take_all(&mut |record| freed.push(record));
        assert_eq!(freed, pieces.map(Record::Piece));
        pieces.into_iter().for_each(|piece| piece.free());
    }
}
