//! Runs a model, and says how many executions it took. One model a file, in `tests/`.
//!
//! Empty without `--cfg loom`; `scripts/loom.sh` sets it.
#![cfg(loom)]

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A model that takes longer is stopped, and says so; `LOOM_MAX_DURATION` (seconds) overrides it.
const LONGEST: Duration = Duration::from_secs(120);

/// Explores every interleaving of `model` with at most `bound` preemptions, or as many as
/// `LOOM_MAX_PREEMPTIONS` says.
pub fn check(name: &str, bound: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    let bound = *builder.preemption_bound.get_or_insert(bound);
    builder.max_branches = 20_000;
    let longest = *builder.max_duration.get_or_insert(LONGEST);
    let executions = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&executions);
    let started = Instant::now();
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        lookbehind::model::start();
        model();
    });
    let count = executions.load(Ordering::Relaxed);
    let took = started.elapsed();
    let ended = if took < longest { "all clean" } else { "clean, but stopped before the end" };
    let took = took.as_secs_f64();
    // Not by `println!`, whose output the test harness keeps to itself.
    let _ = writeln!(
        std::io::stderr(),
        "loom: {name}: {count} executions at bound {bound} in {took:.1} s, {ended}"
    );
}
