//! Everything at once, for long: `cargo run --release --example soak -- --minutes 30`.
//!
//! The work of the stress test, for each reclamation scheme in turn (`Interval` for three quarters
//! of the time), and beside it threads whose calls are recorded and checked for stale reads.
//! Each minute, and at the end, it prints operations by kind, wrong bytes, bytes above the
//! effective budget and stale reads; of each scheme what is allocated beside the ledger when all
//! films are gone; at the end also the bytes that are alive when everything was dropped, and the
//! memory of the process. It fails unless those that must be 0 are, and what is beside the ledger
//! is small. `--seed N` repeats the choices (not the schedule).

#[path = "../../tests/history/act.rs"]
mod act;
mod alive;
#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../tests/history/record.rs"]
#[allow(dead_code, reason = "only the search for linearizations asks for all of it")]
mod record;
#[path = "../../tests/history/stale.rs"]
mod stale;
#[path = "../../tests/stress/tally.rs"]
mod tally;
#[path = "../../tests/stress/work.rs"]
mod work;

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use common::KIB;
use lookbehind::{Cache, Epoch, Hyaline, Interval, Reclaim};
use tally::Tally;
use work::{Until, Work};

#[global_allocator]
static ALLOCATOR: alive::Counting = alive::Counting;

const WORKERS: u64 = 4;
const RECORDERS: u64 = 2;
/// Recorded calls of a thread in a round; more would fill the memory with records.
const RECORDED: u64 = 20_000;
const ROUND: Duration = Duration::from_secs(5);
/// What a cache may allocate beside what its ledger counts, whatever has gone through it: lines of
/// lanes, the directory, what libraries keep for their threads.
const BESIDE: i64 = 1 << 20;
/// How long the schemes' last threads may take to end.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the recorded threads did.
#[derive(Default)]
struct Histories {
    calls: u64,
    stale: u64,
}

struct Soak {
    seed: u64,
    start: Instant,
    last_report: Instant,
    failures: u64,
}

fn main() -> ExitCode {
    let Some((minutes, seed)) = arguments() else {
        eprintln!("usage: soak [--minutes N] [--seed N]");
        return ExitCode::from(2);
    };
    println!("{minutes} minutes, --seed {seed}");
    let now = Instant::now();
    let mut soak = Soak { seed, start: now, last_report: now, failures: 0 };
    // What threads and libraries keep for the life of the process comes up first.
    let moment = Duration::from_millis(300);
    soak.all([moment; 3], true);
    let (live, resident) = (alive::bytes(), common::resident() / KIB);
    println!("at the start: {live} bytes allocated, {resident} KiB resident");
    let minute = |share: f64| Duration::from_secs_f64(60.0 * minutes * share);
    soak.all([minute(0.75), minute(0.125), minute(0.125)], false);
    let alive = alive::settle(live, PATIENCE);
    println!(
        "at the end: {alive} bytes more allocated than at the start, {} KiB resident (at the \
         start {resident})",
        common::resident() / KIB
    );
    soak.failures += u64::from(alive != 0);
    println!("{}", if soak.failures == 0 { "all as it must be" } else { "FAILED" });
    if soak.failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Minutes and seed.
fn arguments() -> Option<(f64, u64)> {
    let (mut minutes, mut seed) = (1.0, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next()?;
        match name.as_str() {
            "--minutes" => minutes = value.parse().ok().filter(|m| (0.1..1e6).contains(m))?,
            "--seed" => seed = Some(value.parse().ok()?),
            _ => return None,
        }
    }
    Some((minutes, seed.unwrap_or_else(common::seed)))
}

impl Soak {
    fn all(&mut self, times: [Duration; 3], quiet: bool) {
        self.scheme::<Interval>("interval", times[0], quiet);
        self.scheme::<Epoch>("epoch", times[1], quiet);
        self.scheme::<Hyaline>("hyaline", times[2], quiet);
    }

    /// One cache through all its rounds, from nothing to nothing.
    fn scheme<R: Reclaim>(&mut self, name: &str, time: Duration, quiet: bool) {
        let end = Instant::now() + time;
        let before = alive::bytes();
        let work = Work::<R>::new();
        let mut histories = Histories::default();
        while Instant::now() < end {
            self.seed = self.seed.wrapping_add(WORKERS + RECORDERS);
            let until = Instant::now() + ROUND.min(end.saturating_duration_since(Instant::now()));
            round(&work, self.seed, until, &mut histories);
            if !quiet && self.last_report.elapsed() >= Duration::from_secs(60) {
                self.last_report = Instant::now();
                self.report(name, &work.tally, &histories);
            }
        }
        let (cache, tally) = work.finish();
        work::nothing_is_left(&cache);
        let states = cache.stats().states;
        let counted = before + states.total() as i64;
        let beside = alive::settle(counted + BESIDE, PATIENCE);
        let allocated = alive::bytes() - counted;
        drop(cache);
        if !quiet {
            self.report(name, &tally, &histories);
            println!("{:8} the ledger at the end, after all films are gone: {states}", "");
            println!("{:8} allocated beside it: {allocated} bytes", "");
        }
        self.failures += u64::from(beside > 0);
        let [wrong, over, compared] =
            [&tally.wrong, &tally.over, &tally.compared].map(|n| n.load(Ordering::Relaxed));
        self.failures += wrong + over + histories.stale;
        // Where nothing was done nothing can be wrong.
        let idle = compared == 0 || tally.idle() || histories.calls == 0;
        if idle && !quiet {
            println!("{name:8} did not do all that it should");
            self.failures += 1;
        }
    }

    fn report(&self, name: &str, tally: &Tally, histories: &Histories) {
        println!(
            "{name:8} {:5.0} s: {} operations: {tally}; recorded {}, stale {}; {} KiB resident",
            self.start.elapsed().as_secs_f64(),
            tally.total(),
            histories.calls,
            histories.stale,
            common::resident() / KIB,
        );
    }
}

/// Workers and recorders side by side. The recorded film is new in each round, so that its
/// history is whole, and in a cache of its own: what others evict would not be recorded.
fn round<R: Reclaim>(work: &Work<R>, seed: u64, end: Instant, histories: &mut Histories) {
    let until = Until { time: Some(end), ops: u64::MAX };
    let recorded = common::built::<R>(Cache::builder().observer(record::observe), 16 * KIB);
    let film = common::film(&recorded, 18, KIB);
    let calls: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> =
            (0..WORKERS).map(|n| scope.spawn(move || work.run(n, seed, until))).collect();
        let record = |n| {
            let film = &film;
            move || act::act(film, RECORDED, &mut common::rng(seed.wrapping_add(WORKERS + n)))
        };
        let recorders: Vec<_> = (0..RECORDERS).map(|n| scope.spawn(record(n))).collect();
        workers.into_iter().for_each(|worker| worker.join().expect("no worker panics"));
        recorders.into_iter().flat_map(|r| r.join().expect("no recorder panics")).collect()
    });
    histories.calls += calls.len() as u64;
    for (piece, history) in stale::pieces(&calls) {
        for wrong in stale::wrong(&history) {
            histories.stale += 1;
            if histories.stale <= 10 {
                eprintln!("piece {piece}: {wrong}");
            }
        }
    }
}
