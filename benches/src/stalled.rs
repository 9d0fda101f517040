//! A reader that stalls inside a snapshot of film A, which shows a quarter of the budget, while
//! writers of the films A and B go on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use lookbehind::{Cache, Epoch, Hyaline, Insert, Interval, Layout, Reclaim, Stats, Storage};
use serde_json::{Value, json};

use crate::contenders::scheme;
use crate::thread::pin;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Bytes of the cache.
    pub budget: u64,
    /// Bytes of a piece.
    pub len: u32,
    /// How long the reader stalls; as long is measured without it.
    pub time: Duration,
}

/// The cache at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Seconds since the phase began.
    pub at: f64,
    /// Bytes alive.
    pub resident: u64,
    /// Bytes unpublished and not yet reclaimed.
    pub limbo: u64,
    /// Pieces published since the moment before, a millisecond: of A and of B.
    pub rates: [f64; 2],
}

/// Writers without or beside the stalled reader.
#[derive(Clone, Debug, Default)]
pub struct Phase {
    /// Pieces published, a millisecond: of A and of B.
    pub rates: [f64; 2],
    /// Calls that were refused.
    pub refused: u64,
    /// The most bytes that were seen unreclaimed.
    pub limbo: u64,
    /// The cache over time.
    pub moments: Vec<Moment>,
}

/// One scheme.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its name.
    pub scheme: &'static str,
    /// Without the reader.
    pub free: Phase,
    /// Beside it.
    pub stalled: Phase,
    /// Bytes of the pieces that its snapshot shows.
    pub shown: u64,
    /// Bytes that were ever alive beyond the budget.
    pub over_budget: u64,
    /// Bytes unreclaimed soon after the reader went on.
    pub left: u64,
}

impl Phase {
    /// Both, each as long as the other.
    fn and(mut self, other: Self) -> Self {
        self.rates = [0, 1].map(|film| (self.rates[film] + other.rates[film]) / 2.0);
        self.refused += other.refused;
        self.limbo = self.limbo.max(other.limbo);
        self.moments.extend(other.moments);
        self
    }
}

impl Outcome {
    /// What is left of the rate of film A's writer, and of B's.
    #[must_use]
    pub fn shares(&self) -> [f64; 2] {
        [0, 1].map(|film| self.stalled.rates[film] / self.free.rates[film])
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let phase = |phase: &Phase| {
            json!({
                "pieces_per_ms": phase.rates,
                "refused": phase.refused,
                "limbo": phase.limbo,
                "moments": phase.moments.iter().map(|m| json!([m.at, m.resident, m.limbo, m.rates]))
                    .collect::<Vec<_>>(),
            })
        };
        json!({
            "scheme": self.scheme,
            "free": phase(&self.free),
            "stalled": phase(&self.stalled),
            "shown": self.shown,
            "over_budget": self.over_budget,
            "left": self.left,
        })
    }
}

/// All schemes, one after another.
///
/// # Errors
/// If a cache cannot be set up.
pub fn measure(plan: Plan) -> lookbehind::Result<Vec<Outcome>> {
    Ok(vec![one::<Interval>(plan)?, one::<Epoch>(plan)?, one::<Hyaline>(plan)?])
}

fn one<R: Reclaim>(plan: Plan) -> lookbehind::Result<Outcome> {
    let Plan { budget, len, .. } = plan;
    let cache: Cache<R> = Cache::builder().budget(budget).build_with()?;
    // Of twice the budget each: what a writer comes to is missing again.
    let pieces = (2 * budget / u64::from(len)) as u32;
    let layout = Layout::fixed(u64::from(pieces) * u64::from(len), len)?;
    let films = [cache.add_storage(layout.clone())?, cache.add_storage(layout)?];
    // Half of the time before and half of it after, for the machine's pace changes.
    let half = Plan { time: plan.time / 2, ..plan };
    let before = phase(&cache, &films, pieces, half);

    films[0].evict(0..pieces)?;
    films[1].evict(0..pieces)?;
    let bytes = vec![7; len as usize];
    let reader = films[0].reader();
    // All of it goes meanwhile, so that all of it is in limbo.
    let mut shown = 0;
    while cache.stats().states.published + u64::from(len) <= budget / 4 {
        films[0].insert(shown, &bytes)?;
        shown += 1;
    }
    let asleep = reader.snapshot();
    let shown_bytes = films[0].stats().present_bytes;
    films[0].evict(0..shown)?;
    let stalled = phase(&cache, &films, pieces, plan);
    assert!((0..shown).all(|piece| asleep.get(piece).is_some_and(|found| *found == *bytes)));
    drop(asleep);
    // Whoever writes next sweeps up; enough for a pass of each scheme.
    for film in films.iter().cycle().take(8) {
        let _ = film.evict(0..pieces);
        let _ = film.insert(0, &bytes);
    }
    let stats = cache.stats();
    let after = phase(&cache, &films, pieces, half);
    Ok(Outcome {
        scheme: scheme::<R>(),
        free: before.and(after),
        stalled,
        shown: shown_bytes,
        over_budget: stats.resident_peak.saturating_sub(stats.budget),
        left: stats.states.limbo,
    })
}

/// Two writers, each on a core of its own, for as long as the plan says.
fn phase<R: Reclaim>(cache: &Cache<R>, films: &[Storage<R>; 2], pieces: u32, plan: Plan) -> Phase {
    const MOMENTS: u32 = 100;
    let written = [AtomicU64::new(0), AtomicU64::new(0)];
    let refused = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let mut phase = Phase::default();
    let begin = Instant::now();
    thread::scope(|scope| {
        for (core, (film, written)) in films.iter().zip(&written).enumerate() {
            let (stop, refused) = (&stop, &refused);
            scope.spawn(move || {
                pin(core);
                let bytes = vec![7; plan.len as usize];
                for piece in (0..pieces).cycle().take_while(|_| !stop.load(Relaxed)) {
                    match film.insert(piece, &bytes) {
                        Ok(Insert::Published) => written.fetch_add(1, Relaxed),
                        Ok(Insert::AlreadyPresent) => 0,
                        Err(_) => refused.fetch_add(1, Relaxed),
                    };
                }
            });
        }
        let (mut before, mut last) = ([0; 2], begin);
        for _ in 0..MOMENTS {
            thread::sleep(plan.time / MOMENTS);
            let Stats { resident, states, .. } = cache.stats();
            let (now, counts) = (Instant::now(), [0, 1].map(|film| written[film].load(Relaxed)));
            let millis = (now - last).as_secs_f64() * 1000.0;
            phase.moments.push(Moment {
                at: (now - begin).as_secs_f64(),
                resident,
                limbo: states.limbo,
                rates: [0, 1].map(|film| (counts[film] - before[film]) as f64 / millis),
            });
            phase.limbo = phase.limbo.max(states.limbo);
            (before, last) = (counts, now);
        }
        let millis = begin.elapsed().as_secs_f64() * 1000.0;
        phase.rates = [0, 1].map(|film| written[film].load(Relaxed) as f64 / millis);
        stop.store(true, Relaxed);
    });
    phase.refused = refused.into_inner();
    phase
}
