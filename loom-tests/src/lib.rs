//! Runs a model, and says how many executions it took. One race a file, in `tests/`.
//!
//! Empty without `--cfg loom`; `scripts/loom.sh` sets it.
#![cfg(loom)]

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A model that takes longer on its processor is stopped, and says so; `LOOM_MAX_DURATION`
/// (seconds) overrides it.
const LONGEST: Duration = Duration::from_secs(300);

/// The most preemptions that are explored. A pair says: in every run, and with
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
/// `LOOM_MAX_PREEMPTIONS` says.
pub fn check(name: &str, bound: impl Into<Bound>, model: impl Fn() + Send + Sync + 'static) {
    let bound = bound.into();
    let full = std::env::var("LOOKBEHIND_LOOM").is_ok_and(|wanted| wanted == "full");
    let bound = if full { bound.full } else { bound.everyday };
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
                && on_processor().saturating_sub(started) > longest
            {
                resume_unwind(Box::new(Stopped));
            }
            counted.fetch_add(1, Ordering::Relaxed);
            lookbehind::model::start();
            model();
        });
    }));
    let ended = match explored {
        Ok(()) => "all clean",
        Err(panic) if panic.is::<Stopped>() => "clean, but stopped before the end",
        Err(panic) => resume_unwind(panic),
    };
    let count = executions.load(Ordering::Relaxed);
    let took = on_processor().saturating_sub(started).as_secs_f64();
    // Not by `println!`, whose output the test harness keeps to itself.
    let _ = writeln!(
        std::io::stderr(),
        "loom: {name}: {count} executions at bound {bound} in {took:.1} s, {ended}"
    );
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
