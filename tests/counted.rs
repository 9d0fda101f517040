//! What a hit writes, counted: nothing that another reader's hit reads or writes.
//!
//! Empty without `--cfg counted`; `scripts/counted.sh` sets it. What is noted, and what is not, is
//! told in `src/sync/counted.rs`. A line of the processor has 64 bytes, and a prefetcher may fetch
//! its neighbour along: so readers are told apart by pairs of lines as well.
#![cfg(counted)]

mod common;

use std::collections::BTreeSet;
use std::ops::Range;
use std::thread;

use common::{KIB, MIB, cache, fill, film, of, schemes};
use lookbehind::counted::{Access, Kind, record};
use lookbehind::{Interval, Reader, Reclaim, Snapshot, Storage};

const LEN: usize = 4 * KIB;
/// Pieces that everybody reads, over two leaves of the table.
const HOT: Range<u32> = 480..544;
const LINE: usize = 64;
const PAIR: usize = 128;
/// How often each hit is repeated.
const ROUNDS: u64 = 3;
const HITS: u64 = ROUNDS * 64;

schemes!(
    a_hit_under_a_kept_snapshot_writes_nothing,
    the_first_hit_alone_leaves_a_mark,
    the_lines_of_a_reader_are_pairs_of_its_own,
);

/// A film with hot pieces that nobody has read yet.
fn unread<R: Reclaim>() -> Storage<R> {
    let film = film(&cache::<R>(4 * MIB), 700, LEN);
    fill(&film, HOT);
    film
}

/// A film whose hot pieces bear the mark of a first hit.
fn hot<R: Reclaim>() -> Storage<R> {
    let film = unread();
    look(&film.reader().snapshot());
    film
}

fn look<R: Reclaim>(snapshot: &Snapshot<'_, R>) {
    HOT.for_each(|piece| assert_eq!(snapshot.get(piece), Some(&of(piece, LEN)[..])));
}

/// All that can be asked of a kept snapshot, and does not allocate.
fn look_everywhere<R: Reclaim>(snapshot: &Snapshot<'_, R>) {
    look(snapshot);
    assert!(snapshot.contains(HOT.start) && !snapshot.contains(HOT.end));
    assert!(snapshot.get(HOT.end).is_none() && snapshot.get(u32::MAX).is_none());
    assert_eq!(snapshot.runs().collect::<Vec<_>>(), [HOT]);
    assert!(snapshot.version() >= HOT.len() as u64);
}

/// Each hit under a snapshot of its own.
fn hit_by_hit<R: Reclaim>(reader: &Reader<R>) {
    for piece in (0..ROUNDS).flat_map(|_| HOT) {
        assert_eq!(reader.snapshot().get(piece), Some(&of(piece, LEN)[..]));
    }
}

fn of_kind(accesses: &[Access], kind: Kind) -> u64 {
    accesses.iter().filter(|access| access.kind == kind).count() as u64
}

fn written(accesses: &[Access]) -> impl Iterator<Item = &Access> {
    accesses.iter().filter(|access| access.writes())
}

fn lines<'a>(accesses: impl IntoIterator<Item = &'a Access>, size: usize) -> BTreeSet<usize> {
    accesses.into_iter().flat_map(|access| access.lines(size)).collect()
}

fn is_within(access: &Access, own: &Range<usize>) -> bool {
    own.contains(&access.at) && access.at + access.len <= own.end
}

/// Prints what one hit amounts to.
fn tell(what: &str, accesses: &[Access], own: &Range<usize>) {
    let per_hit = |kind, others: bool| {
        let counted = accesses.iter().filter(|a| a.kind == kind && is_within(a, own) != others);
        counted.count() as f64 / HITS as f64
    };
    println!("{what}, a hit: loads, stores, read-modify-writes");
    for (whose, others) in [("the reader's own", false), ("all other memory", true)] {
        let [loads, stores, changes] =
            [Kind::Load, Kind::Store, Kind::ReadModifyWrite].map(|kind| per_hit(kind, others));
        println!("    {whose}: {loads:.2}, {stores:.2}, {changes:.2}");
    }
}

fn a_hit_under_a_kept_snapshot_writes_nothing<R: Reclaim>() {
    let reader = hot::<R>().reader();
    let snapshot = reader.snapshot();
    let ((), accesses) = record(|| (0..ROUNDS).for_each(|_| look(&snapshot)));
    tell("snapshot kept", &accesses, &reader.own());
    assert_eq!(written(&accesses).collect::<Vec<_>>(), Vec::<&Access>::new());
    // The mark is looked at, and nothing else that changes.
    assert_eq!(accesses.len() as u64, HITS);
    let ((), accesses) = record(|| look_everywhere(&snapshot));
    assert_eq!(written(&accesses).collect::<Vec<_>>(), Vec::<&Access>::new());
}

/// The recorder sees what it is to see: the one write to shared memory that a hit can make.
fn the_first_hit_alone_leaves_a_mark<R: Reclaim>() {
    let reader = unread::<R>().reader();
    let snapshot = reader.snapshot();
    let ((), first) = record(|| look(&snapshot));
    let ((), second) = record(|| look(&snapshot));
    assert_eq!(of_kind(&first, Kind::Store), HOT.len() as u64);
    assert_eq!(lines(written(&first), LINE), lines(&second, LINE));
    assert!(written(&first).all(|access| !is_within(access, &reader.own())));
    assert_eq!(written(&second).count(), 0);
}

fn the_lines_of_a_reader_are_pairs_of_its_own<R: Reclaim>() {
    let film = hot::<R>();
    let readers: Vec<_> = (0..8).map(|_| film.reader()).collect();
    let mut own: Vec<_> = readers.iter().map(Reader::own).collect();
    own.sort_by_key(|own| own.start);
    assert!(own.iter().all(|own| own.start.is_multiple_of(PAIR) && own.end.is_multiple_of(PAIR)));
    assert!(own.windows(2).all(|two| two[0].end <= two[1].start));
}

#[test]
fn a_hit_with_its_own_snapshot_writes_to_the_readers_own_lines_only() {
    let reader = hot::<Interval>().reader();
    let ((), accesses) = record(|| hit_by_hit(&reader));
    tell("snapshot per hit", &accesses, &reader.own());
    let shared: Vec<_> = written(&accesses).filter(|a| !is_within(a, &reader.own())).collect();
    assert_eq!(shared, Vec::<&Access>::new());
    // Own memory needs no exchange of lines, and no processor's lock.
    assert_eq!(of_kind(&accesses, Kind::ReadModifyWrite), 0);
    // Announced, with its span, and taken back; a hit counted.
    assert_eq!(of_kind(&accesses, Kind::Store), 4 * HITS);
}

#[test]
fn a_reader_writes_no_line_that_the_hits_of_another_read_or_write() {
    let film = hot::<Interval>();
    // Both at once, lest the second one get the first one's lanes.
    let readers = [film.reader(), film.reader()];
    let [one, other] = thread::scope(|scope| {
        let threads = readers.map(|reader| {
            scope.spawn(move || {
                let all = |_| {
                    hit_by_hit(&reader);
                    look_everywhere(&reader.snapshot_range(HOT.start..HOT.end + 1));
                    // As many at once as a line has lanes.
                    let snapshots: Vec<_> = (0..8).map(|_| reader.snapshot()).collect();
                    snapshots.iter().for_each(look_everywhere);
                };
                let ((), accesses) = record(|| (0..2).for_each(all));
                (accesses, reader)
            })
        });
        threads.map(|thread| thread.join().expect("no reader panics"))
    });
    for size in [LINE, PAIR] {
        for ((mine, _), (theirs, _)) in [(&one, &other), (&other, &one)] {
            let (written, touched) = (lines(written(mine), size), lines(theirs, size));
            assert!(!written.is_empty() && !touched.is_empty());
            let shared: Vec<_> = written.intersection(&touched).collect();
            assert!(shared.is_empty(), "lines of {size} bytes that both need: {shared:?}");
        }
    }
}

/// A handle is counted, in memory that all share: but not in the line that borrowed hits read.
#[test]
fn a_handle_writes_to_the_line_of_the_pieces_counts_only() {
    let film = hot::<Interval>();
    let reader = film.reader();
    let snapshot = reader.snapshot();
    let ((), borrowed) = record(|| look(&snapshot));
    let all = |take: &dyn Fn(u32)| (0..ROUNDS).for_each(|_| HOT.for_each(take));
    let ((), accesses) = record(|| all(&|piece| drop(snapshot.held(piece).unwrap())));
    tell("handle taken and dropped", &accesses, &reader.own());
    assert_eq!(of_kind(&accesses, Kind::ReadModifyWrite), 2 * HITS);
    assert_eq!(of_kind(&accesses, Kind::Store), 0);
    let counts = lines(written(&accesses), LINE);
    assert_eq!(counts.len(), HOT.len());
    assert!(counts.is_disjoint(&lines(&borrowed, LINE)));
    // For comparison: without a reader it also looks for a lane, where a few others look.
    let ((), accesses) = record(|| all(&|piece| drop(film.get(piece).unwrap())));
    tell("the same without a reader", &accesses, &(0..0));
    assert!(counts.is_subset(&lines(written(&accesses), LINE)));
}
