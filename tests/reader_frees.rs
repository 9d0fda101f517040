//! What a writer costs a reader beside it: with the default scheme no allocation and no free.
//!
//! crossbeam-epoch and seize run what is deferred wherever a snapshot is taken or dropped, and so
//! free their few bytes on readers (`retire::epoch`, `retire::hyaline`): how often is printed.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use common::{Done, KIB, MIB, cache, film, schemes};
use lookbehind::{Epoch, Error, Hyaline, Insert, Interval, Reader, Reclaim, Storage};

const LEN: usize = 4 * KIB;
/// Three leaves of the table, not all of whose pieces have room.
const PIECES: u32 = 1100;
const BUDGET: usize = 2 * MIB;
/// What the reader does at least, and the writer: eight times what has room.
const ROUNDS: u32 = 100;
const REPLACEMENTS: u32 = 4000;

schemes!(the_last_handle_frees_nothing);

/// Counts, by thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Calls {
    allocations: u64,
    frees: u64,
}

thread_local! {
    static CALLS: Cell<Calls> = const { Cell::new(Calls { allocations: 0, frees: 0 }) };
}

// SAFETY: the system's allocator does the work. The cell is constant and needs no destructor, so
// that looking at it allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let calls = CALLS.get();
        CALLS.set(Calls { allocations: calls.allocations + 1, ..calls });
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        let calls = CALLS.get();
        CALLS.set(Calls { frees: calls.frees + 1, ..calls });
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// What `f` asks of the allocator on this thread.
fn calls(f: impl FnOnce()) -> Calls {
    let before = CALLS.replace(Calls::default());
    f();
    CALLS.replace(before)
}

/// Every byte of a piece, whenever it is published.
fn byte(piece: u32) -> u8 {
    piece as u8
}

/// Publishes a piece, and evicts an old one beside every other; whether it did. There may be no
/// room: a reader that is not scheduled inside a snapshot keeps what that shows.
fn replace<R: Reclaim>(film: &Storage<R>, piece: u32) -> bool {
    match film.insert(piece, &[byte(piece); LEN]) {
        Err(Error::BudgetExhausted { .. }) | Ok(Insert::AlreadyPresent) => return false,
        done => assert_eq!(done, Ok(Insert::Published)),
    }
    let old = (piece + PIECES / 2) % PIECES;
    if piece.is_multiple_of(2) {
        let _ = film.evict(old..old + 1);
    }
    true
}

/// What a reader asks of the allocator, while a writer on another thread replaces pieces without
/// pause: publishes, evicts by request and for room, and makes the passes.
fn borrowing_beside_a_writer<R: Reclaim>() -> Calls {
    let cache = cache::<R>(BUDGET);
    let film = film(&cache, PIECES, LEN);
    let (read, replaced) = (AtomicU32::new(0), AtomicU32::new(0));
    let (together, over) = (Barrier::new(2), AtomicBool::new(false));
    // Each goes on until the other one has done his part, so that they are at it at once.
    let goes_on = || {
        let [rounds, pieces] = [&read, &replaced].map(|count| count.load(Ordering::Relaxed));
        (rounds < ROUNDS || pieces < REPLACEMENTS) && !over.load(Ordering::Relaxed)
    };
    let reader = film.reader();
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            together.wait();
            let _done = Done(&over);
            let mut pieces = (0..PIECES).cycle();
            while goes_on() {
                let done = pieces.next().is_some_and(|piece| replace(&film, piece));
                replaced.fetch_add(u32::from(done), Ordering::Relaxed);
            }
        });
        let reader = scope.spawn(|| {
            let reader = reader;
            together.wait();
            let _done = Done(&over);
            calls(|| {
                while goes_on() {
                    borrow(&reader);
                    read.fetch_add(1, Ordering::Relaxed);
                    // Not always inside a snapshot.
                    thread::yield_now();
                }
            })
        });
        writer.join().expect("the writer does not panic");
        reader.join().expect("the reader does not panic")
    })
}

/// Snapshots in each other, of all pieces and of some, and every look that borrows.
fn borrow<R: Reclaim>(reader: &Reader<R>) {
    let whole = reader.snapshot();
    for first in (0..PIECES).step_by(16) {
        let some = reader.snapshot_range(first..first + 16);
        for piece in (first..first + 16).step_by(5) {
            for bytes in [whole.get(piece), some.get(piece)].into_iter().flatten() {
                assert!(bytes == [byte(piece); LEN], "piece {piece}");
            }
            assert_eq!(whole.contains(piece), whole.get(piece).is_some());
        }
        assert!(some.runs().all(|run| first <= run.start && run.end <= first + 16));
    }
}

#[test]
fn a_reader_that_borrows_beside_a_writer_neither_allocates_nor_frees() {
    assert_eq!(borrowing_beside_a_writer::<Interval>(), Calls::default());
}

/// Right bytes are asked of the other schemes as well; what it costs is for the record.
#[test]
fn what_the_other_schemes_free_on_a_reader() {
    println!("epoch: {:?}", borrowing_beside_a_writer::<Epoch>());
    println!("hyaline: {:?}", borrowing_beside_a_writer::<Hyaline>());
}

/// Whoever ends the last snapshot that shows a piece which is gone leaves it to a writer.
#[test]
fn the_last_snapshot_frees_nothing() {
    let film = film(&cache::<Interval>(BUDGET), 16, LEN);
    let reader = film.reader();
    for piece in 0..16 {
        film.insert(piece, &[byte(piece); LEN]).expect("there is room");
        let (whole, some) = (reader.snapshot(), reader.snapshot_range(piece..piece + 1));
        film.evict(piece..piece + 1).expect("room for a version");
        assert_eq!(calls(|| drop(whole)), Calls::default());
        assert_eq!(calls(|| drop(some)), Calls::default());
    }
}

/// Whoever drops the last handle of a piece that is gone puts it where a writer finds it.
fn the_last_handle_frees_nothing<R: Reclaim>() {
    let film = film(&cache::<R>(BUDGET), PIECES, LEN);
    for piece in 0..PIECES {
        film.insert(piece, &[byte(piece); LEN]).expect("what is old makes room");
        let held = film.get(piece).expect("it was published");
        film.evict(piece..piece + 1).expect("room for a version");
        assert_eq!(calls(|| drop(held)), Calls::default());
    }
}
