//! What the tests share: caches, bytes that say whose they are, and the end of a test.

use shuttle::thread::JoinHandle;

use lookbehind::{Cache, CacheBuilder, Clock, Error, Layout, Reclaim, States, Storage};

/// A cache whose clock stands still.
pub fn cache<R: Reclaim>(budget: usize) -> Cache<R> {
    built(Cache::builder(), budget)
}

/// The same, of a builder.
pub fn built<R: Reclaim>(builder: CacheBuilder, budget: usize) -> Cache<R> {
    timed(builder, budget).0
}

/// A cache, and its clock.
pub fn timed<R: Reclaim>(builder: CacheBuilder, budget: usize) -> (Cache<R>, Clock) {
    let clock = Clock::manual();
    let built = builder.clock(clock.clone()).budget(budget as u64).build_with();
    (built.expect("the budget is sensible"), clock)
}

/// A film of `pieces` pieces of `len` bytes.
pub fn film<R: Reclaim>(cache: &Cache<R>, pieces: u32, len: u32) -> Storage<R> {
    let layout = Layout::fixed(u64::from(pieces) * u64::from(len), len).expect("a layout");
    cache.add_storage(layout).expect("room for a film")
}

/// The bytes of a piece of the film `film`, each time with another `stamp`: the stamp in front,
/// and what follows from all three behind it.
pub fn bytes(film: u8, piece: u32, stamp: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![pattern(film, piece, stamp); len];
    bytes[0] = stamp;
    bytes
}

fn pattern(film: u8, piece: u32, stamp: u8) -> u8 {
    (film.wrapping_mul(31) ^ (piece as u8).wrapping_mul(17)).wrapping_add(stamp.wrapping_mul(101))
}

/// Checks that the bytes are a whole piece, and this one; its stamp.
///
/// # Panics
/// If they are not.
#[track_caller]
pub fn check(film: u8, piece: u32, found: &[u8]) -> u8 {
    let stamp = found[0];
    assert_eq!(found, bytes(film, piece, stamp, found.len()), "bytes of piece {piece}");
    stamp
}

/// What the threads return, all of which must end.
pub fn join<T, const N: usize>(threads: [JoinHandle<T>; N]) -> [T; N] {
    threads.map(|thread| thread.join().expect("it did not panic"))
}

/// Whether a call was refused for want of memory, which a crowded cache may do.
///
/// # Panics
/// If it failed otherwise.
#[track_caller]
pub fn refused<T>(result: Result<T, Error>) -> bool {
    match result {
        Ok(_) => false,
        Err(Error::BudgetExhausted { states, .. }) => {
            assert!(states.total() > 0);
            true
        }
        Err(other) => panic!("{other}"),
    }
}

/// Checks that never more than `most` bytes were alive.
///
/// # Panics
/// If more were.
#[track_caller]
pub fn within<R: Reclaim>(cache: &Cache<R>, most: usize) {
    let stats = cache.stats();
    assert!(stats.resident <= most as u64, "{} bytes of {most}", stats.resident);
    assert!(stats.resident_peak <= most as u64, "{} bytes of {most}", stats.resident_peak);
}

/// Checks that all memory came back: removes all films and compares the cache with a new one.
/// Nobody may have a handle any more, of a film or a piece.
///
/// # Panics
/// If some did not.
#[track_caller]
pub fn settled<R: Reclaim>(cache: &Cache<R>) {
    let new = self::cache::<R>(cache.budget() as usize);
    let _film = film(&new, 1, 1);
    let expected = new.stats().resident;
    let mut states = States::default();
    // Epochs end some passes later; and each pass is made when the next film is added.
    for _ in 0..20 {
        for film in cache.storages() {
            film.remove().expect("removed once");
        }
        let _film = film(cache, 1, 1);
        states = cache.stats().states;
        if states.total() - states.pooled == expected {
            assert_eq!(cache.stats().snapshots, 0);
            return;
        }
    }
    panic!("memory that nobody uses did not come back: {states}, expected table {expected}");
}
