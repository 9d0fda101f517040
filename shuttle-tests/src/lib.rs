//! Runs a test under many schedules, and says how many, by which seed and how fast.
//!
//! Empty without `--cfg shuttle`; `scripts/shuttle.sh` sets it, and says how a schedule is run
//! again. shuttle switches threads at each access to an atomic or a mutex of the library, and
//! treats every ordering as SeqCst: what a weaker one allows is for the loom models.
//!
//! What a test may use of the library: everything but the blocking calls, which park a thread of
//! the system; their async twins run by [`block_on`]. The clock is a manual one, for the timer's
//! thread is not shuttle's.
#![cfg(shuttle)]

pub mod parking;
pub mod scene;

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

pub use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

/// Changes of priority that a schedule of PCT makes, plus one.
const DEPTH: usize = 3;

/// Runs each generic test under each reclamation scheme, by random schedules and by PCT.
#[macro_export]
macro_rules! schemes {
    ($($test:ident),* $(,)?) => {
        $crate::schemes!(@ interval Interval $($test)*);
        $crate::schemes!(@ epoch Epoch $($test)*);
        $crate::schemes!(@ hyaline Hyaline $($test)*);
    };
    (@ $module:ident $scheme:ident $($test:ident)*) => {
        mod $module { $(mod $test {
            use super::super::$test as test;
            #[test]
            fn random() {
                $crate::random(module_path!(), test::<lookbehind::$scheme>);
            }
            #[test]
            fn pct() {
                $crate::pct(module_path!(), test::<lookbehind::$scheme>);
            }
        })* }
    };
}

/// At each step any thread, all alike.
pub fn random(name: &str, test: fn()) {
    run(name, "random", RandomScheduler::new_from_seed(seed(), schedules()), test);
}

/// Threads in an order of priority, which changes at a few steps (Burckhardt et al. 2010).
pub fn pct(name: &str, test: fn()) {
    run(name, "PCT(3)", PctScheduler::new_from_seed(seed(), DEPTH, schedules()), test);
}

fn run(name: &str, kind: &str, scheduler: impl Scheduler + 'static, test: fn()) {
    if let Some(file) = std::env::var_os("LOOKBEHIND_REPLAY") {
        let scheduler = ReplayScheduler::new_from_file(PathBuf::from(file)).expect("a schedule");
        Runner::new(scheduler, config()).run(test);
        return;
    }
    let started = Instant::now();
    say(&format!("{name}, {kind}: LOOKBEHIND_SEED={}", seed()));
    let count = Runner::new(scheduler, config()).run(test);
    let took = started.elapsed().as_secs_f64();
    let rate = count as f64 / took;
    say(&format!("{name}, {kind}: {count} schedules in {took:.1} s ({rate:.0}/s), all clean"));
}

/// Schedules of each test.
fn schedules() -> usize {
    number("LOOKBEHIND_SCHEDULES").map_or(20_000, |n| n as usize)
}

/// The seed of the first schedule, of which the others follow; the same unless asked otherwise.
pub(crate) fn seed() -> u64 {
    number("LOOKBEHIND_SEED").unwrap_or(20_131_211)
}

pub(crate) fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    config.silence_warnings = true;
    // A test takes a few thousand; one that goes on for so long does not end.
    config.max_steps = MaxSteps::FailAfter(200_000);
    if let Some(folder) = std::env::var_os("LOOKBEHIND_FAILED") {
        config.failure_persistence = FailurePersistence::File(Some(folder.into()));
    }
    config
}

/// Not by `println!`, whose output the test harness keeps to itself.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "shuttle: {line}");
}
