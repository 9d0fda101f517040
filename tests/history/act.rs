//! What the threads of a history do: random calls on one film, each written down.

use std::thread;

use lookbehind::{Insert, Reclaim, Storage};
use rand::Rng;
use rand::rngs::StdRng;

use super::common::content;
use super::record::{Call, Did, Id, Recorder, TORN, fresh_id};

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
pub fn act<R: Reclaim>(film: &Storage<R>, calls: u64, rng: &mut StdRng) -> Vec<Call> {
    let pieces = film.layout().pieces();
    let len = film.layout().largest_piece() as usize;
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
