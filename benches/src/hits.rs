//! The bodies of whole hits: draw a key, look it up, touch both ends of the piece.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::contender::Body;
use crate::draw::Draw;
use crate::stock::Key;
use crate::thread;

/// Lets the threads of a sample begin together, and keeps each at work until all are done: who
/// is first must not leave the others alone.
pub struct Gate {
    threads: usize,
    begun: AtomicUsize,
    done: AtomicUsize,
}

impl Gate {
    /// For so many threads, which make the same samples in the same order.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { threads, begun: AtomicUsize::new(0), done: AtomicUsize::new(0) }
    }

    fn begin(&self, turn: usize) {
        self.begun.fetch_add(1, Ordering::AcqRel);
        let mut spins = 0_u32;
        while self.begun.load(Ordering::Acquire) < self.threads * (turn + 1) {
            std::hint::spin_loop();
            spins += 1;
            if spins.is_multiple_of(4096) {
                std::thread::yield_now();
            }
        }
    }

    fn end(&self, turn: usize, mut meanwhile: impl FnMut()) {
        self.done.fetch_add(1, Ordering::AcqRel);
        while self.done.load(Ordering::Acquire) < self.threads * (turn + 1) {
            meanwhile();
        }
    }
}

/// One sample.
pub struct Hits<'a> {
    /// What to hit.
    pub draw: Draw,
    /// How often.
    pub hits: u64,
    /// With whom.
    pub gate: &'a Gate,
    /// The how many-eth sample of each thread it is.
    pub turn: usize,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Nanoseconds of one hit.
    pub nanos: f64,
    /// The thread had its core all the time.
    pub clean: bool,
}

impl Body for Hits<'_> {
    type Output = Sample;

    fn run<H: FnMut(Key) -> u64>(self, mut hit: H) -> Sample {
        let mut draw = self.draw;
        let warm_up = (self.hits / 2).max(8 * draw.count());
        let mut some = |count: u64| {
            let mut sum = 0;
            for _ in 0..count {
                sum += hit(draw.key());
            }
            black_box(sum);
        };
        // What the contender before left in the caches is no part of it: first each piece is hit
        // some times.
        some(warm_up);
        self.gate.begin(self.turn);
        let before = thread::preemptions();
        let start = Instant::now();
        some(self.hits);
        let nanos = start.elapsed().as_nanos() as f64 / self.hits as f64;
        let clean = thread::preemptions() == before;
        self.gate.end(self.turn, || some(64));
        Sample { nanos, clean }
    }
}

/// Hits, and nothing else: for counting instructions, and to see that all are found.
pub struct Count {
    /// What to hit.
    pub draw: Draw,
    /// How often.
    pub hits: u64,
}

impl Body for Count {
    /// The sum of what was touched.
    type Output = u64;

    fn run<H: FnMut(Key) -> u64>(mut self, mut hit: H) -> u64 {
        let mut sum = 0;
        for _ in 0..self.hits {
            sum += hit(self.draw.key());
        }
        sum
    }
}
