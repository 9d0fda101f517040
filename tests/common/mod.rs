//! What the integration tests share. Nothing here goes around the public API.
#![allow(dead_code, unused_macros, unused_imports)]

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures_core::Stream;
use futures_io::{AsyncRead, AsyncSeek};
use lookbehind::{Cache, CacheBuilder, Clock, Held, Layout, Player, Reclaim, Storage};

pub const KIB: usize = 1 << 10;
pub const MIB: usize = 1 << 20;

/// What a test waits for at most; only a failing test takes so long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Runs each generic test under each of the three reclamation schemes.
macro_rules! schemes {
    ($($name:ident),* $(,)?) => {
        mod interval { $(#[test] fn $name() { super::$name::<lookbehind::Interval>(); })* }
        mod epoch { $(#[test] fn $name() { super::$name::<lookbehind::Epoch>(); })* }
        mod hyaline { $(#[test] fn $name() { super::$name::<lookbehind::Hyaline>(); })* }
    };
}
pub(crate) use schemes;

/// Bytes of the process in memory, as Linux says; 0 elsewhere.
pub fn resident() -> usize {
    status("VmRSS:")
}

/// Bytes of addresses that the process has mapped, as Linux says; 0 elsewhere.
pub fn mapped() -> usize {
    status("VmSize:")
}

fn status(what: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .map_or(0, |kib: usize| kib * KIB)
}

pub fn cache<R: Reclaim>(budget: usize) -> Cache<R> {
    built(Cache::builder(), budget)
}

/// A cache whose clock stands still, and the clock.
pub fn timed_cache<R: Reclaim>(budget: usize) -> (Cache<R>, Clock) {
    let clock = Clock::manual();
    (built(Cache::builder().clock(clock.clone()), budget), clock)
}

pub fn built<R: Reclaim>(builder: CacheBuilder, budget: usize) -> Cache<R> {
    builder.budget(budget as u64).build_with().expect("the budget is sensible")
}

/// A film of `pieces` pieces of `len` bytes.
pub fn film<R: Reclaim>(cache: &Cache<R>, pieces: u32, len: usize) -> Storage<R> {
    cache.add_storage(layout(pieces, len)).expect("there is room for the table")
}

pub fn layout(pieces: u32, len: usize) -> Layout {
    Layout::fixed(u64::from(pieces) * len as u64, len as u32).expect("the lengths are sensible")
}

/// The bytes of a piece, derived from who it is: no two pieces are alike.
pub fn content(storage: u64, generation: u64, piece: u32, len: usize) -> Vec<u8> {
    let mut state = storage.wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ generation.wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
        ^ u64::from(piece).wrapping_mul(0x1656_67B1_9E37_79F9);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The bytes of a piece of a test's only film.
pub fn of(piece: u32, len: usize) -> Vec<u8> {
    content(0, 0, piece, len)
}

/// Inserts the pieces of that range, as [`of`] has them.
pub fn fill<R: Reclaim>(film: &Storage<R>, pieces: std::ops::Range<u32>) {
    for piece in pieces {
        let len = film.layout().piece_len(piece).expect("the film has the piece") as usize;
        film.insert(piece, &of(piece, len)).unwrap_or_else(|e| panic!("piece {piece}: {e}"));
    }
}

/// Inserts pieces of `len` bytes and holds them until there is no room for one more.
pub fn pinned<R: Reclaim>(film: &Storage<R>, len: usize) -> Vec<Held> {
    let mut held = Vec::new();
    while film.insert(held.len() as u32, &of(held.len() as u32, len)).is_ok() {
        held.push(film.get(held.len() as u32).expect("it was just inserted"));
    }
    held
}

pub fn present<R: Reclaim>(film: &Storage<R>) -> Vec<u32> {
    film.layout().pieces().filter(|piece| film.contains(*piece)).collect()
}

/// Publishes and evicts a piece of a film of its own, so that what has passed is taken back.
pub fn sweep<R: Reclaim>(cache: &Cache<R>, films: &[&Storage<R>]) {
    for film in films {
        let free = film.layout().pieces().rev().find(|piece| !film.contains(*piece));
        if let Some(piece) = free {
            let len = film.layout().piece_len(piece).unwrap_or(0) as usize;
            let _ = film.insert(piece, &of(piece, len));
            let _ = film.evict(piece..piece + 1);
        }
    }
    // Adding a film looks after those that were removed.
    let _ = cache.add_storage(layout(1, 1)).and_then(|film| film.remove());
    let _ = cache.stats();
}

/// Looks again and again until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "still not: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits for threads one by one: how the end of a scope waits for them TSan does not see.
pub fn join(threads: Vec<thread::ScopedJoinHandle<'_, ()>>) {
    threads.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
}

/// Raised when it is dropped, also by a failing test: whoever goes on until then ends.
pub struct Done<'a>(pub &'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The seed of a random test: LOOKBEHIND_SEED, or one from the time. Printed either way.
pub fn seed() -> u64 {
    let given = std::env::var("LOOKBEHIND_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| since.as_nanos() as u64)
    });
    println!("LOOKBEHIND_SEED={seed}");
    seed
}

pub fn rng(seed: u64) -> rand::rngs::StdRng {
    rand::SeedableRng::seed_from_u64(seed)
}

/// A waker that counts.
#[derive(Default)]
pub struct Woken(AtomicUsize);

impl Woken {
    pub fn times(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls once, with a waker that does nothing.
pub fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

pub fn poll_with<F: Future + Unpin>(future: &mut F, woken: &Arc<Woken>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::clone(woken));
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

struct Unpark(Thread, AtomicBool);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.store(true, Ordering::SeqCst);
        self.0.unpark();
    }
}

/// Runs a future on this thread; fails the test if it does not end in [`PATIENCE`].
pub fn block_on<F: Future>(future: F) -> F::Output {
    let unpark = Arc::new(Unpark(thread::current(), AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&unpark));
    let mut future = pin!(future);
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        while !unpark.1.swap(false, Ordering::SeqCst) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the future was not woken in {PATIENCE:?}");
            thread::park_timeout(left);
        }
    }
}

pub async fn read<R: Reclaim>(player: &mut Player<R>, buffer: &mut [u8]) -> std::io::Result<usize> {
    poll_fn(|cx| Pin::new(&mut *player).poll_read(cx, buffer)).await
}

pub async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}

pub fn poll_read<R: Reclaim>(
    player: &mut Player<R>,
    buffer: &mut [u8],
) -> Poll<std::io::Result<usize>> {
    Pin::new(player).poll_read(&mut Context::from_waker(Waker::noop()), buffer)
}

pub fn seek<R: Reclaim>(player: &mut Player<R>, to: std::io::SeekFrom) -> std::io::Result<u64> {
    match Pin::new(player).poll_seek(&mut Context::from_waker(Waker::noop()), to) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("a seek never waits"),
    }
}

/// The library's error inside an I/O error.
pub fn cause(error: std::io::Error) -> lookbehind::Error {
    error.downcast().expect("the library's error")
}
