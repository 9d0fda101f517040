//! Recorded histories of concurrent calls: no read is stale, and short ones are linearizable.
//!
//! LOOKBEHIND_STRESS_OPS says how many calls a thread makes in the long histories, LOOKBEHIND_SEED
//! repeats the choices (not the schedule).

mod act;
#[path = "../common/mod.rs"]
mod common;
mod linear;
mod record;
mod small;
mod stale;

use std::thread;

use common::{KIB, film, schemes};
use lookbehind::{Cache, Reclaim};
use record::Call;

const THREADS: u64 = 4;
const BUDGET: usize = 16 * KIB;

schemes!(no_read_of_a_long_history_is_stale, short_histories_are_linearizable);

/// What several threads do to a film of so many pieces, at once.
fn history<R: Reclaim>(pieces: u32, len: usize, calls: u64, seed: u64) -> Vec<Call> {
    let builder = Cache::builder().observer(record::observe);
    let cache = common::built::<R>(builder, BUDGET);
    let film = film(&cache, pieces, len);
    thread::scope(|scope| {
        let act = |n| {
            let film = &film;
            move || act::act(film, calls, &mut common::rng(seed.wrapping_add(n)))
        };
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(act(n))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn no_read_of_a_long_history_is_stale<R: Reclaim>() {
    let ops = std::env::var("LOOKBEHIND_STRESS_OPS").ok().and_then(|ops| ops.parse().ok());
    // One in eight more than fit: the policy evicts as well.
    let calls = history::<R>(18, KIB, ops.unwrap_or(10_000), common::seed());
    let pieces = stale::pieces(&calls);
    let wrong: Vec<String> = pieces.values().flat_map(stale::wrong).collect();
    let reads: usize = pieces.values().map(|piece| piece.reads.len()).sum();
    let lives: usize = pieces.values().map(|piece| piece.lives.len()).sum();
    let evictions = calls.iter().map(|call| call.evicted.len()).sum::<usize>();
    println!("{reads} reads, {lives} publications, {evictions} evictions, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{:#?}", &wrong[..wrong.len().min(10)]);
    assert!(reads > 1_000 && lives > 100 && evictions > 100);
}

fn short_histories_are_linearizable<R: Reclaim>() {
    let seed = common::seed();
    let mut most = 0;
    for round in 0..20 {
        let calls = history::<R>(linear::PIECES, 3 * KIB, 60, seed.wrapping_add(round * THREADS));
        let steps = linear::steps(&calls);
        most = most.max(steps.len());
        assert!(linear::is_linearizable(&steps), "round {round}: {steps:#?}");
    }
    println!("up to {most} steps");
}
