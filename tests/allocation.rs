//! An allocator that refuses. What the budget counts is asked for in such a way that it may be
//! refused: buffers of pieces, nodes of tables, maps of assemblies, lists of segments. Whichever
//! of these fails, the call says so, nothing is lost, and the same call works afterwards.
//!
//! What is small and not counted (an entry of a map of waits, a reader's line of lanes) ends the
//! program if it cannot be had, as everywhere in Rust; so the allocator here lets it pass.

mod common;

use std::alloc::{GlobalAlloc, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use common::{KIB, MIB, built, cache, fill, film, layout, of, schemes};
use lookbehind::{
    Cache, Error, Insert, Layout, Progress, Reclaim, Result, States, Storage, StorageOptions,
    verify_fn,
};

const LEN: usize = 16 * KIB;

schemes!(
    a_piece_that_cannot_be_had_is_not_inserted,
    a_piece_whose_memory_is_refused_is_not_opened,
    a_version_that_cannot_be_had_shows_nothing_and_loses_nothing,
    an_eviction_without_memory_for_the_version_evicts_nothing,
    a_full_cache_says_what_was_refused,
    a_film_whose_table_is_refused_is_not_added,
    a_film_removed_without_memory_goes_later,
    what_nobody_can_ask_for_any_more_goes_first,
    a_segment_that_cannot_be_had_is_not_appended,
    reading_asks_for_nothing_that_can_be_refused,
    shrinking_goes_on_when_there_is_memory_again,
    a_reader_that_is_gone_leaves_its_lines_to_the_next,
);

/// Refuses what it was told to, on the thread that told it.
struct Refusing;

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

thread_local! {
    /// Requests that still pass; none are refused without a number.
    static PASS: Cell<Option<u32>> = const { Cell::new(None) };
    /// Whether all after the first one are refused as well.
    static FOR_GOOD: Cell<bool> = const { Cell::new(false) };
    /// The size of the first one refused.
    static REFUSED: Cell<usize> = const { Cell::new(0) };
    /// Bytes that this thread has allocated, less those that it has freed.
    static ALIVE: Cell<isize> = const { Cell::new(0) };
}

/// Whether the library must survive that it is refused: buffers are aligned to lines of the
/// processor, nodes to 16 bytes, and their size is a multiple of 128 as no hash map's is; maps are
/// ranges of 32-bit numbers, lists of segments are 64-bit numbers. Such as are small may be
/// anybody's.
fn may_fail(layout: std::alloc::Layout) -> bool {
    match layout.align() {
        64 => true,
        16 => layout.size().is_multiple_of(128),
        4 => layout.size() >= KIB,
        8 => layout.size() >= 4 * KIB,
        _ => false,
    }
}

fn refuses(layout: std::alloc::Layout) -> bool {
    let Some(left) = PASS.get().filter(|_| may_fail(layout)) else { return false };
    if left > 0 {
        PASS.set(Some(left - 1));
        return false;
    }
    if REFUSED.get() == 0 {
        REFUSED.set(layout.size());
    } else if !FOR_GOOD.get() {
        return false;
    }
    true
}

fn count(bytes: isize) {
    ALIVE.set(ALIVE.get() + bytes);
}

// SAFETY: the system's allocator does the work; null says that there was no memory. The cells
// are constant and need no destructor, so that looking at them allocates nothing.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: std::alloc::Layout) -> *mut u8 {
        if refuses(layout) {
            return std::ptr::null_mut();
        }
        count(layout.size() as isize);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: std::alloc::Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Runs `call` while the request after `pass` others is refused, and those that follow if it is
/// `for_good`; with the size of the first one refused, 0 if there were not so many.
fn refusing<T>(pass: u32, for_good: bool, call: impl FnOnce() -> T) -> (T, usize) {
    PASS.set(Some(pass));
    FOR_GOOD.set(for_good);
    REFUSED.set(0);
    let result = call();
    PASS.set(None);
    (result, REFUSED.get())
}

/// What the budget counts, without nodes that are kept for the next version.
fn data<R: Reclaim>(cache: &Cache<R>) -> States {
    let stats = cache.stats();
    assert_eq!(stats.states.total(), stats.resident);
    assert!(stats.resident_peak <= stats.budget);
    States { table: 0, pooled: 0, ..stats.states }
}

/// Without films nothing is reserved but what is kept for reuse.
fn comes_to_rest<R: Reclaim>(cache: &Cache<R>) {
    common::eventually("all reservations are given back", || {
        cache.storages().iter().for_each(|film| film.remove().unwrap());
        common::sweep(cache, &[]);
        let stats = cache.stats();
        stats.resident == stats.states.pooled
    });
}

/// Has each request of a call refused, one after the other, and each with all that follow: the
/// call fails for want of memory and changes nothing, or finds another way; and then it works.
fn each<R: Reclaim, S>(
    setup: impl Fn() -> (Cache<R>, S),
    call: impl Fn(&Cache<R>, &S) -> Result<()>,
    then: impl Fn(&Cache<R>, &S),
) -> u32 {
    let mut refusals = 0;
    for for_good in [false, true] {
        for pass in 0.. {
            let alive = ALIVE.get();
            let (cache, state) = setup();
            let (before, published) = (data(&cache), cache.stats().published);
            let (result, size) = refusing(pass, for_good, || call(&cache, &state));
            if size == 0 {
                result.unwrap();
                break;
            }
            refusals += 1;
            let context = || format!("{size} bytes refused, after {pass}, for good: {for_good}");
            if let Err(error) = result {
                let Error::OutOfMemory { bytes } = error else { panic!("{error}: {}", context()) };
                assert!(bytes >= size as u64, "{bytes}: {}", context());
                assert_eq!(data(&cache), before, "{}", context());
                assert_eq!(cache.stats().published, published, "{}", context());
                call(&cache, &state).unwrap_or_else(|error| panic!("{error}: {}", context()));
            }
            then(&cache, &state);
            data(&cache);
            drop(state);
            comes_to_rest(&cache);
            drop(cache);
            if pass > 0 {
                assert_eq!(ALIVE.get(), alive, "leaked: {}", context());
            }
        }
    }
    refusals
}

fn a_piece_that_cannot_be_had_is_not_inserted<R: Reclaim>() {
    let setup = || {
        let cache = cache::<R>(MIB);
        let film = film(&cache, 400, LEN);
        fill(&film, 0..2);
        (cache, film)
    };
    // The buffer, a root, a leaf.
    let refusals = each(
        setup,
        |_, film| film.insert(2, &of(2, LEN)).map(drop),
        |_, film| assert_eq!(film.get(2).unwrap()[..], of(2, LEN)),
    );
    assert!(refusals >= 4, "{refusals}");
}

fn a_piece_whose_memory_is_refused_is_not_opened<R: Reclaim>() {
    let setup = || {
        let cache = cache::<R>(MIB);
        let film = film(&cache, 400, LEN);
        (cache, film)
    };
    let (unused, other) = setup();
    let most = (0..400).take_while(|piece| other.write(*piece, 0, &[1]).is_ok()).count();
    drop(unused);
    // The buffer and two maps.
    let refusals = each(
        setup,
        |_, film| {
            let written = film.write(0, 0, &of(0, LEN)[..100]);
            assert_eq!(film.stats().assembling_pieces, u32::from(written.is_ok()));
            written.map(drop)
        },
        |cache, film| {
            // Nothing of the half that assemblies may take is lost.
            let open = (0..400).take_while(|piece| film.write(*piece, 0, &[1]).is_ok()).count();
            assert_eq!(open, most);
            let full = film.write(most as u32, 0, &[1]).unwrap_err();
            let Error::AssembliesFull { needed, assembling, .. } = full else { panic!("{full}") };
            assert_eq!(assembling, most as u64 * needed);
            (0..400).for_each(|piece| drop(film.abandon(piece)));
            assert_eq!(cache.stats().states.assembling, 0);
        },
    );
    assert!(refusals >= 6, "{refusals}");
}

fn a_version_that_cannot_be_had_shows_nothing_and_loses_nothing<R: Reclaim>() {
    let setup = || {
        let cache = cache::<R>(MIB);
        let film = film(&cache, 400, LEN);
        film.write(0, 0, &of(0, LEN)).unwrap();
        (cache, film)
    };
    let commit = |_: &Cache<R>, film: &Storage<R>| {
        let committed = film.commit(0);
        assert_eq!(film.contains(0), committed.is_ok());
        committed
    };
    let there = |_: &Cache<R>, film: &Storage<R>| assert_eq!(film.get(0).unwrap()[..], of(0, LEN));
    let refusals = each(setup, commit, there);
    assert!(refusals >= 4, "{refusals}");
    // With a verifier it is the last block that commits; then `commit` is what is left.
    let setup = || {
        let cache = cache::<R>(MIB);
        let verifier = verify_fn(|piece, bytes: &[u8]| bytes == of(piece, LEN));
        let options = StorageOptions::default().verifier(Arc::new(verifier));
        let film = cache.add_storage_with(layout(400, LEN), options).unwrap();
        film.write(0, 0, &of(0, LEN)[..100]).unwrap();
        (cache, film)
    };
    let complete = |_: &Cache<R>, film: &Storage<R>| {
        if film.write(0, 100, &of(0, LEN)[100..])? != Progress::Published {
            film.commit(0)?;
        }
        Ok(())
    };
    let refusals = each(setup, complete, there);
    assert!(refusals >= 4, "{refusals}");
}

fn an_eviction_without_memory_for_the_version_evicts_nothing<R: Reclaim>() {
    let setup = || {
        let cache = cache::<R>(MIB);
        let film = film(&cache, 400, LEN);
        fill(&film, 0..4);
        (cache, film)
    };
    let evict = |_: &Cache<R>, film: &Storage<R>| {
        let evicted = film.evict(1..3);
        assert_eq!(common::present(film).len(), if evicted.is_ok() { 2 } else { 4 });
        evicted.map(drop)
    };
    let refusals = each(setup, evict, |_, film| fill(film, 1..3));
    assert!(refusals >= 2, "{refusals}");
}

fn a_full_cache_says_what_was_refused<R: Reclaim>() {
    // Full by the budget, and by a share of its own.
    let share = StorageOptions::default().share(4 * (LEN as u64 + 128));
    for options in [StorageOptions::default(), share] {
        for pass in 0.. {
            let cache = cache::<R>(MIB);
            let film = cache.add_storage_with(layout(400, LEN), options.clone()).unwrap();
            fill(&film, 0..100);
            let present = common::present(&film).len();
            let (inserted, size) = refusing(pass, true, || film.insert(200, &of(200, LEN)));
            data(&cache);
            if size == 0 {
                assert_eq!(inserted, Ok(Insert::Published));
                assert!(pass >= 2, "{pass}");
                break;
            }
            // Room may have been made before; no more than that.
            assert!(common::present(&film).len() >= present - 1);
            if let Err(error) = inserted {
                assert!(matches!(error, Error::OutOfMemory { .. }), "{error}, after {pass}");
            }
            film.insert(200, &of(200, LEN)).unwrap();
        }
    }
}

fn a_film_whose_table_is_refused_is_not_added<R: Reclaim>() {
    let setup = || {
        let cache = cache::<R>(MIB);
        fill(&film(&cache, 4, LEN), 0..4);
        (cache, ())
    };
    let add = |cache: &Cache<R>, layout: Layout| {
        let films = cache.storages().len();
        let added = cache.add_storage(layout);
        assert_eq!(cache.storages().len(), films + usize::from(added.is_ok()));
        added.map(drop)
    };
    let refusals = each(setup, |cache, ()| add(cache, layout(100_000, 1)), |_, ()| ());
    assert!(refusals >= 2, "{refusals}");
    let refusals = each(setup, |cache, ()| add(cache, Layout::segments()), |_, ()| ());
    assert!(refusals >= 1, "{refusals}");
}

fn a_film_removed_without_memory_goes_later<R: Reclaim>() {
    for pass in 0..20 {
        let cache = cache::<R>(MIB);
        let gone = film(&cache, 400, LEN);
        fill(&gone, 0..20);
        gone.write(30, 0, &[1]).unwrap();
        let (removed, size) = refusing(pass, true, || gone.remove());
        removed.unwrap();
        assert!(matches!(gone.get(0), Err(Error::UnknownStorage { .. })));
        assert_eq!(cache.stats().states.assembling, 0);
        let other = film(&cache, 4, LEN);
        fill(&other, 0..4);
        assert_eq!(cache.stats().evictions, 20, "adding a film has emptied it, after {pass}");
        assert_eq!(cache.stats().states.published, 4 * (LEN as u64 + 128));
        if size == 0 {
            assert!(pass >= 2, "a root and a leaf were asked for");
            return;
        }
    }
    panic!("there is always something to refuse");
}

fn what_nobody_can_ask_for_any_more_goes_first<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let (gone, other) = (film(&cache, 400, LEN), film(&cache, 400, LEN));
    let live = cache.add_storage(Layout::segments()).unwrap();
    (0..20).for_each(|piece| assert_eq!(live.append_segment(LEN as u32), Ok(piece)));
    for film in [&gone, &live] {
        film.reserve(0..400);
        fill(film, 0..20);
    }
    fill(&other, 0..16);
    // Without memory for the version what is removed stays, and what fell out of the window.
    let (removed, size) = refusing(0, true, || gone.remove());
    assert!(removed.is_ok() && size > 0 && common::present(&gone).len() == 20);
    let (dropped, _) = refusing(0, true, || live.drop_segments_before(10));
    assert!(matches!(dropped, Err(Error::OutOfMemory { .. })) && live.contains(0));
    for piece in 100..140 {
        other.insert(piece, &of(piece, LEN)).unwrap();
        if piece == 120 {
            let left = common::present(&gone).len() + (0..10).filter(|p| live.contains(*p)).count();
            assert!(left < 15, "{left}");
        }
    }
    assert_eq!((common::present(&gone), live.contains(9)), (vec![], false));
    assert_eq!(common::present(&live), Vec::from_iter(10..20));
}

fn a_segment_that_cannot_be_had_is_not_appended<R: Reclaim>() {
    let setup = || {
        let cache = cache::<R>(MIB);
        let options = StorageOptions::default().window(600);
        let film = cache.add_storage_with(Layout::segments(), options).unwrap();
        for piece in 0..600 {
            film.append_segment(100).unwrap();
            if piece < 2 {
                film.insert(piece, &of(piece, 100)).unwrap();
            }
        }
        (cache, film)
    };
    let append = |_: &Cache<R>, film: &Storage<R>| {
        let before = film.layout().pieces();
        let appended = film.append_segment(100);
        let by = u32::from(appended.is_ok());
        assert_eq!(film.layout().pieces().end, before.end + by);
        assert_eq!(appended?, 600);
        Ok(())
    };
    let refusals = each(setup, append, |_, film| {
        // What could not fall out does so with the next one.
        assert_eq!(film.append_segment(100), Ok(601));
        assert_eq!(film.layout().pieces(), 2..602);
        assert!(matches!(film.insert(1, &of(1, 100)), Err(Error::PieceOutOfRange { .. })));
        assert_eq!(film.stats().present_pieces, 0);
    });
    assert!(refusals >= 2, "{refusals}");
}

fn reading_asks_for_nothing_that_can_be_refused<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let film = film(&cache, 400, LEN);
    fill(&film, 0..4);
    let ((), size) = refusing(0, true, || {
        let reader = film.reader();
        let snapshots: Vec<_> = (0..20).map(|_| reader.snapshot()).collect();
        assert!(snapshots.iter().all(|snapshot| snapshot.get(1).is_some()));
        let held = (snapshots[0].held(2).unwrap(), film.get(3).unwrap());
        let bytes = bytes::Bytes::from(held.0.clone());
        assert_eq!(bytes, of(2, LEN));
        assert!(film.wait(3).blocking().is_ok() && film.get(9).is_err());
        let _ = (film.stats().runs, cache.stats());
    });
    assert_eq!(size, 0);
}

fn a_reader_that_is_gone_leaves_its_lines_to_the_next<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let film = film(&cache, 400, LEN);
    fill(&film, 0..4);
    let read = || {
        let reader = film.reader();
        let snapshots: Vec<_> = (0..20).map(|_| reader.snapshot()).collect();
        assert!(snapshots.iter().all(|snapshot| snapshot.get(1).is_some()) && film.contains(2));
        drop(snapshots);
        ALIVE.get()
    };
    // Lines are made as they are needed, and the epochs' participants as lanes are.
    let alive = (0..3).fold(0, |_, _| read());
    (0..100).for_each(|_| assert_eq!(read(), alive));
}

fn shrinking_goes_on_when_there_is_memory_again<R: Reclaim>() {
    let cache = built::<R>(Cache::builder(), MIB);
    let film = film(&cache, 400, LEN);
    fill(&film, 0..100);
    let (shrunk, size) = refusing(0, true, || {
        cache.set_budget(MIB as u64 / 2).unwrap();
        cache.shrink(Duration::ZERO)
    });
    // It goes on with the roots that are at hand, until it needs a leaf.
    assert!(size > 0, "nothing was asked for");
    assert_eq!(shrunk, Err(Error::TimedOut));
    cache.shrink(common::PATIENCE).unwrap();
    assert!(cache.stats().resident <= MIB as u64 / 2);
    assert!(!common::present(&film).is_empty());
}
