//! Runs a model, and says how many executions it took. One race a file, in `tests/`.
//!
//! Empty without `--cfg loom`; `scripts/loom.sh` sets it.
#![cfg(loom)]

use std::future::Future;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use lookbehind::{Cache, CacheBuilder, Layout, Reclaim, States, Storage, StorageOptions};

/// A model that takes longer on its processor is stopped, and says so; `LOOM_MAX_DURATION`
/// (seconds) overrides it.
const LONGEST: Duration = Duration::from_secs(300);

/// The most preemptions that are explored. A pair says: in every run, and at most with
/// `LOOKBEHIND_LOOM=full`, for models that would take too long otherwise.
pub struct Bound {
    everyday: usize,
    full: usize,
}

impl From<usize> for Bound {
    fn from(bound: usize) -> Self {
        Self { everyday: bound, full: bound }
    }
}

impl From<(usize, usize)> for Bound {
    fn from((everyday, full): (usize, usize)) -> Self {
        Self { everyday, full }
    }
}

/// What a model that was stopped panics with, outside of everything that it has made.
struct Stopped;

/// Explores every interleaving of `model` with at most `bound` preemptions, or as many as
/// `LOOM_MAX_PREEMPTIONS` says. With `LOOKBEHIND_LOOM=full` the bound rises from the everyday one
/// to the full one, for as long as time is left: so each model tells the bound that it reached.
///
/// # Panics
/// If the everyday bound takes too long: then it is one no longer.
pub fn check(name: &str, bound: impl Into<Bound>, model: impl Fn() + Send + Sync + 'static) {
    let Bound { everyday, full } = bound.into();
    let rises = std::env::var("LOOKBEHIND_LOOM").is_ok_and(|wanted| wanted == "full");
    let model = Arc::new(model);
    let started = on_processor();
    for bound in everyday..=if rises { full } else { everyday } {
        if !explore(name, bound, started, Arc::clone(&model)) {
            let asked_for = std::env::var_os("LOOM_MAX_PREEMPTIONS").is_some();
            assert!(bound > everyday || asked_for, "{name}: {bound} is too much for every day");
            break;
        }
    }
}

/// Explores one bound; whether it came to the end.
fn explore(
    name: &str,
    bound: usize,
    since: Duration,
    model: Arc<impl Fn() + Send + Sync + 'static>,
) -> bool {
    let mut builder = loom::model::Builder::new();
    let bound = *builder.preemption_bound.get_or_insert(bound);
    builder.max_branches = 20_000;
    // loom's own limit goes by the clock on the wall.
    let longest = builder.max_duration.take().unwrap_or(LONGEST);
    let executions = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&executions);
    let started = on_processor();
    let explored = catch_unwind(AssertUnwindSafe(|| {
        builder.check(move || {
            if counted.load(Ordering::Relaxed).is_multiple_of(256)
                && on_processor().saturating_sub(since) > longest
            {
                resume_unwind(Box::new(Stopped));
            }
            counted.fetch_add(1, Ordering::Relaxed);
            lookbehind::model::start();
            model();
        });
    }));
    let ended = match &explored {
        Ok(()) => "all clean",
        Err(panic) if panic.is::<Stopped>() => "clean, but stopped before the end",
        Err(_) => "failed",
    };
    let count = executions.load(Ordering::Relaxed);
    let took = on_processor().saturating_sub(started).as_secs_f64();
    // Not by `println!`, whose output the test harness keeps to itself.
    let _ = writeln!(
        std::io::stderr(),
        "loom: {name}: {count} executions at bound {bound} in {took:.1} s, {ended}"
    );
    match explored {
        Err(panic) if !panic.is::<Stopped>() => resume_unwind(panic),
        explored => explored.is_ok(),
    }
}

/// The time that this thread has had on a processor; by the clock where the system does not say.
/// loom runs all threads of a model on the thread that checks it.
fn on_processor() -> Duration {
    thread_local! {
        static START: Instant = Instant::now();
    }
    let figures = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = figures.and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| START.with(Instant::elapsed), Duration::from_nanos)
}

/// Bytes in a piece.
pub const LEN: usize = 4;

/// A cache with room for everything, and a film in it.
pub fn film<R: Reclaim>(pieces: usize, options: StorageOptions) -> (Cache<R>, Storage<R>) {
    film_in(Cache::builder(), pieces, options)
}

/// As `film`, in a cache of this builder.
pub fn film_in<R: Reclaim>(
    builder: CacheBuilder,
    pieces: usize,
    options: StorageOptions,
) -> (Cache<R>, Storage<R>) {
    let cache = builder.budget(1 << 20).build_with().unwrap();
    let layout = Layout::fixed((pieces * LEN) as u64, LEN as u32).unwrap();
    let film = cache.add_storage_with(layout, options).unwrap();
    (cache, film)
}

/// Nobody reads, writes or holds any more: evicting the rest and a pass leave no piece anywhere.
pub fn settle<R: Reclaim>(cache: &Cache<R>, film: &Storage<R>) {
    film.evict(0..u32::MAX).unwrap();
    lookbehind::model::pass(cache);
    let stats = cache.stats();
    let States { assembling, published, limbo, held, .. } = stats.states;
    assert_eq!((assembling, published, limbo, held), (0, 0, 0, 0), "bytes are left behind");
    assert_eq!((stats.waits, stats.snapshots), (0, 0));
}

/// A waker that notes a wake.
#[derive(Default)]
pub struct Noted(AtomicBool);

impl Wake for Noted {
    fn wake(self: Arc<Self>) {
        // Read by a thread that has joined the one that wakes: orders nothing by itself.
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A future in the hands of a model.
pub struct Waiting<F: Future> {
    future: Pin<Box<F>>,
    noted: Arc<Noted>,
}

impl<F: Future> Waiting<F> {
    /// Not polled yet.
    pub fn new(future: F) -> Self {
        Self { future: Box::pin(future), noted: Arc::default() }
    }

    /// Polls once.
    pub fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(&self.noted));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// What it ends with, now that what ends it is done: it was woken, if it needed to be.
    pub fn ended(mut self, polled: Poll<F::Output>) -> F::Output {
        if let Poll::Ready(output) = polled {
            return output;
        }
        assert!(self.noted.0.load(Ordering::Relaxed), "a wake-up was lost");
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("woken for nothing"),
        }
    }
}
