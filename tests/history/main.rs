//! Recorded histories of concurrent calls: no read is stale, and short ones are linearizable.
//!
//! LOOKBEHIND_STRESS_OPS says how many calls a thread makes in the long histories, LOOKBEHIND_SEED
//! repeats the choices (not the schedule).

#[path = "../common/mod.rs"]
mod common;
mod linear;
mod record;
mod small;
mod stale;

use std::thread;

use common::{KIB, content, film, schemes};
use lookbehind::{Cache, Insert, Reclaim, Storage};
use rand::Rng;
use rand::rngs::StdRng;
use record::{Call, Did, Id, Recorder, TORN, fresh_id};

const THREADS: u64 = 4;
const BUDGET: usize = 16 * KIB;

schemes!(no_read_of_a_long_history_is_stale, short_histories_are_linearizable);

/// The bytes of an insertion: its number, and what follows from it.
fn bytes_of(piece: u32, id: Id, len: usize) -> Vec<u8> {
    let mut bytes = content(0, id, piece, len);
    bytes[..8].copy_from_slice(&id.to_le_bytes());
    bytes
}

/// Which insertion wrote these bytes.
fn id_of(piece: u32, bytes: &[u8]) -> Id {
    let id = Id::from_le_bytes(*bytes.first_chunk().expect("at least eight bytes"));
    if bytes == bytes_of(piece, id, bytes.len()) { id } else { TORN }
}

/// One thread's part: random calls, each written down.
fn act<R: Reclaim>(film: &Storage<R>, calls: u64, len: usize, rng: &mut StdRng) -> Vec<Call> {
    let pieces = film.layout().pieces();
    let mut recorder = Recorder::new(film, id_of);
    let reader = film.reader();
    for _ in 0..calls {
        let piece = rng.random_range(pieces.clone());
        match rng.random_range(0..100) {
            0..45 => {
                let id = fresh_id();
                let bytes = bytes_of(piece, id, len);
                recorder.call(
                    || film.insert(piece, &bytes),
                    |inserted| match inserted {
                        Ok(Insert::Published) => Did::Publish(piece, id),
                        Ok(Insert::AlreadyPresent) => Did::Present(piece),
                        Err(_) => Did::Nothing,
                    },
                );
            }
            45..65 => {
                let evicted =
                    |count| if count == Ok(0) { Did::EvictNone(piece) } else { Did::Nothing };
                recorder.call(|| film.evict(piece..piece + 1), evicted);
            }
            65..90 => {
                recorder.call(
                    || film.get(piece).ok(),
                    |held| Did::Read(vec![(piece, held.map(|held| id_of(piece, &held)))]),
                );
            }
            _ => {
                let wait = rng.random_bool(0.5);
                recorder.call(
                    || reader.snapshot(),
                    |snapshot| {
                        // Looked at later: it goes on to show what it did when it was taken.
                        if wait {
                            thread::yield_now();
                        }
                        let id = |piece| snapshot.get(piece).map(|bytes| id_of(piece, bytes));
                        Did::Read(pieces.clone().map(|piece| (piece, id(piece))).collect())
                    },
                );
            }
        }
        if rng.random_bool(0.1) {
            thread::yield_now();
        }
    }
    recorder.finish()
}

/// What several threads do to a film of so many pieces, at once.
fn history<R: Reclaim>(pieces: u32, len: usize, calls: u64, seed: u64) -> Vec<Call> {
    let builder = Cache::builder().observer(record::observe);
    let cache = common::built::<R>(builder, BUDGET);
    let film = film(&cache, pieces, len);
    thread::scope(|scope| {
        let act = |n| {
            let film = &film;
            move || act(film, calls, len, &mut common::rng(seed.wrapping_add(n)))
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
