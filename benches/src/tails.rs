//! How long single hits take at worst, beside a writer that replaces pieces without pause.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::contender::{Body, Case};
use crate::contenders;
use crate::draw::Draw;
use crate::stock::{Key, Shape, Stock, content, mark};
use crate::thread::{pin, preemptions};

/// Hits between two looks at whether the thread was preempted.
const CHUNK: usize = 256;

fn histogram() -> Histogram<u64> {
    // From 1 ns to 10 s, to three digits: the bounds are valid.
    Histogram::new_with_bounds(1, 10_000_000_000, 3).unwrap_or_else(|error| unreachable!("{error}"))
}

/// Single hits, each timed.
pub struct Tail {
    /// What to hit.
    pub draw: Draw,
    /// How long.
    pub time: Duration,
}

/// What came of it.
pub struct TailSample {
    /// Nanoseconds of a hit that found its piece, the timer's cost included.
    pub nanos: Histogram<u64>,
    /// Chunks of hits that do not count, for the thread was preempted.
    pub dropped: u64,
    /// Chunks that do.
    pub kept: u64,
    /// Hits that found nothing: the piece was between two versions.
    pub misses: u64,
}

impl Default for TailSample {
    fn default() -> Self {
        Self { nanos: histogram(), dropped: 0, kept: 0, misses: 0 }
    }
}

impl TailSample {
    fn add(&mut self, other: &Self) {
        // Of the same bounds.
        self.nanos.add(&other.nanos).unwrap_or_else(|error| unreachable!("{error}"));
        self.dropped += other.dropped;
        self.kept += other.kept;
        self.misses += other.misses;
    }
}

impl Body for Tail {
    type Output = TailSample;

    fn run<H: FnMut(Key) -> u64>(self, mut hit: H) -> TailSample {
        let Self { mut draw, time } = self;
        let mut sample = TailSample::default();
        let mut chunk = [(0_u64, false); CHUNK];
        let begin = Instant::now();
        while begin.elapsed() < time {
            let before = preemptions();
            for time in &mut chunk {
                let key = draw.key();
                let start = Instant::now();
                let found = hit(key);
                *time = (start.elapsed().as_nanos() as u64, found != 0);
            }
            if preemptions() != before {
                sample.dropped += 1;
                continue;
            }
            sample.kept += 1;
            for (nanos, found) in chunk {
                if found {
                    sample.nanos.saturating_record(nanos);
                } else {
                    sample.misses += 1;
                }
            }
        }
        sample
    }
}

/// The times of two looks at the clock in a row: what each figure contains.
#[must_use]
pub fn timer() -> Histogram<u64> {
    let mut times = histogram();
    for _ in 0..100_000 {
        let start = Instant::now();
        times.saturating_record(start.elapsed().as_nanos() as u64);
    }
    times
}

/// One contender's tail.
pub struct TailRow {
    /// Its name.
    pub name: String,
    /// All its samples.
    pub sample: TailSample,
    /// Pieces replaced meanwhile, a millisecond.
    pub writes: f64,
}

/// Tails of all who see what is replaced: one reader on one core, one writer on another, who
/// take turns `rounds` times for `time` each.
#[must_use]
pub fn measure(shape: Shape, rounds: usize, time: Duration) -> Vec<TailRow> {
    let stock = Stock::new(shape);
    let cases = contenders::watching(&stock);
    let names = cases.iter().map(|case| case.name());
    let row = |name| TailRow { name, sample: TailSample::default(), writes: 0.0 };
    let mut rows: Vec<TailRow> = names.map(row).collect();
    pin(0);
    for round in 0..rounds {
        for (case, row) in cases.iter().zip(&mut rows) {
            let draw = Draw::all(&shape, round as u64);
            let (sample, writes) = beside_a_writer(&**case, &draw, shape.len, time);
            row.sample.add(&sample);
            row.writes += writes / rounds as f64;
        }
    }
    rows
}

fn beside_a_writer(case: &dyn Case, draw: &Draw, len: usize, time: Duration) -> (TailSample, f64) {
    let stop = AtomicBool::new(false);
    let written = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            pin(1);
            let mut draw = draw.reseeded(!0 >> 1);
            let mut bytes = content(draw.key(), len);
            while !stop.load(Relaxed) {
                let key = draw.key();
                mark(&mut bytes, key);
                written.fetch_add(u64::from(case.replace(key, &bytes)), Relaxed);
            }
        });
        // The writer has begun before the first hit counts.
        let begin = Instant::now();
        while written.load(Relaxed) == 0 && begin.elapsed() < time {
            thread::yield_now();
        }
        let (before, begin) = (written.load(Relaxed), Instant::now());
        let sample = case.tail(Tail { draw: draw.clone(), time });
        let writes = written.load(Relaxed) - before;
        let millis = begin.elapsed().as_secs_f64() * 1000.0;
        stop.store(true, Relaxed);
        (sample, writes as f64 / millis)
    })
}
