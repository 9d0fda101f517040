//! Everything at once: wrong bytes, bytes over budget and bytes that are left are counted.
//!
//! A second per scheme; LOOKBEHIND_STRESS_SECONDS makes it longer, LOOKBEHIND_STRESS_OPS says how
//! many operations each thread makes instead. LOOKBEHIND_SEED repeats the choices (not the
//! schedule).

#[path = "../common/mod.rs"]
mod common;
mod tally;
mod work;

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use common::schemes;
use lookbehind::Reclaim;
use work::{Until, Work};

const THREADS: u64 = 4;

schemes!(no_byte_is_wrong_over_budget_or_left);

fn given<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn until() -> Until {
    match given("LOOKBEHIND_STRESS_OPS") {
        Some(ops) => Until { time: None, ops },
        None => {
            let seconds = given("LOOKBEHIND_STRESS_SECONDS").unwrap_or(1.0);
            let time = Instant::now() + Duration::from_secs_f64(seconds);
            Until { time: Some(time), ops: u64::MAX }
        }
    }
}

fn no_byte_is_wrong_over_budget_or_left<R: Reclaim>() {
    let (seed, until) = (common::seed(), until());
    let work = Work::<R>::new();
    thread::scope(|scope| {
        let run = |n| {
            let work = &work;
            move || work.run(n, seed, until)
        };
        common::join((0..THREADS).map(|n| scope.spawn(run(n))).collect());
    });
    let (cache, tally) = work.finish();
    println!("{} operations: {tally}", tally.total());
    let [compared, wrong, over] =
        [&tally.compared, &tally.wrong, &tally.over].map(|count| count.load(Ordering::Relaxed));
    assert_eq!((wrong, over), (0, 0), "wrong of {compared} compared, and bytes over budget");
    assert!(compared > 100, "{compared}");
    assert!(!tally.idle() || tally.total() < 10_000, "something was never done");
    work::nothing_is_left(&cache);
}
