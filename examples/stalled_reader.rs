//! What a stalled reader costs: `cargo run --release --example stalled_reader`.
//!
//! A reader falls asleep for two seconds inside a snapshot that shows an eighth of the budget,
//! and what it sees is evicted meanwhile. Beside it a writer publishes without pause, each piece
//! in the place of another, and a second reader reads. Printed for each reclamation scheme: how
//! many pieces the writer published and the second reader found per millisecond without and
//! beside the sleeper, the most bytes that stayed unreclaimed, the same as a share of the
//! budget, and what is left unreclaimed when the sleeper has woken.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use lookbehind::{Cache, Epoch, Error, Hyaline, Insert, Interval, Layout, Reclaim, Storage};

const BUDGET: u64 = 48 << 20;
const PIECE: u32 = 16 << 10;
const PIECES: u32 = 2 * (BUDGET / PIECE as u64) as u32;
const SHOWN: u32 = (BUDGET / 8) as u32 / (PIECE + 128);
const SLEEP: Duration = Duration::from_secs(2);

fn main() -> Result<(), Error> {
    println!("scheme     writes/ms: free asleep   finds/ms: free asleep   limbo MiB  share  left");
    measure::<Interval>("interval")?;
    measure::<Epoch>("epoch")?;
    measure::<Hyaline>("hyaline")
}

/// Pieces published and found per millisecond, and the most bytes in limbo.
struct Pace {
    written: f64,
    found: f64,
    limbo: u64,
}

fn measure<R: Reclaim>(name: &str) -> Result<(), Error> {
    let cache: Cache<R> = Cache::builder().budget(BUDGET).build_with()?;
    let film = cache.add_storage(Layout::fixed(u64::from(PIECE) * u64::from(PIECES), PIECE)?)?;
    let free = pace(&cache, &film);

    film.evict(0..PIECES)?;
    for piece in 0..SHOWN {
        film.insert(piece, &[7; PIECE as usize])?;
    }
    let reader = film.reader();
    let sleeper = reader.snapshot();
    film.evict(0..SHOWN)?;
    let asleep = pace(&cache, &film);
    drop(sleeper);
    // Whoever writes next sweeps up what the sleeper kept; enough for a pass of each scheme.
    film.evict(0..PIECES)?;
    for _ in 0..4 {
        film.insert(0, &[7; PIECE as usize])?;
        film.evict(0..1)?;
    }
    let left = cache.stats().states.limbo;
    println!(
        "{name:9} {:15.0} {:6.0} {:16.0} {:6.0} {:11.2} {:6.3} {left:5}",
        free.written,
        asleep.written,
        free.found,
        asleep.found,
        asleep.limbo as f64 / f64::from(1 << 20),
        asleep.limbo as f64 / BUDGET as f64,
    );
    Ok(())
}

/// Writes and reads for as long as the sleeper sleeps.
fn pace<R: Reclaim>(cache: &Cache<R>, film: &Storage<R>) -> Pace {
    let (written, found) = (AtomicU64::new(0), AtomicU64::new(0));
    let stop = AtomicBool::new(false);
    let going = || !stop.load(Relaxed);
    let start = Instant::now();
    let mut limbo = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            // Round and round through twice the budget: what is written is always missing.
            for piece in (0..PIECES).cycle().take_while(|_| going()) {
                let done = film.insert(piece, &[7; PIECE as usize]) == Ok(Insert::Published);
                written.fetch_add(u64::from(done), Relaxed);
            }
        });
        scope.spawn(|| {
            let reader = film.reader();
            for piece in (0..PIECES).cycle().take_while(|_| going()) {
                let hit = reader.snapshot_range(piece..piece + 1).get(piece).is_some();
                found.fetch_add(u64::from(hit), Relaxed);
            }
        });
        while start.elapsed() < SLEEP {
            let stats = cache.stats();
            assert!(stats.resident <= stats.budget, "over budget: {stats:?}");
            limbo = limbo.max(stats.states.limbo);
            thread::sleep(Duration::from_millis(1));
        }
        stop.store(true, Relaxed);
    });
    let millis = start.elapsed().as_secs_f64() * 1000.0;
    let per_milli = |count: AtomicU64| count.into_inner() as f64 / millis;
    Pace { written: per_milli(written), found: per_milli(found), limbo }
}
