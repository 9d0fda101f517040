//! The origin: fetches the pieces that a storage wants, most urgent first.
//!
//! It stands for a swarm or a remote store, so it can be made as slow as one: each fetch waits
//! for the delay, and all fetches together keep to the rate. A few run side by side, which hides
//! the delay. A fetch that nobody wants any more is dropped wherever it is.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lookbehind::{Fetch, Progress};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::editions::{FileState, Threads};
use crate::source::Opened;

/// Bytes read at a time. The piece is assembled in the cache's own memory, so that this is all
/// a fetch takes beside the budget.
const BLOCK: usize = 128 * 1024;
/// Fetches of one film side by side.
const PARALLEL: u64 = 4;
/// Threads that a film may keep busy, or hanging, at a time: its fetches, and a look at its state.
pub const BLOCKING: usize = PARALLEL as usize + 1;
/// How long a fetch waits for memory before it fails.
const MEMORY_DEADLINE: Duration = Duration::from_secs(30);
/// Pause after a failure, in its place: else a broken disk is asked as fast as it can refuse.
const BACK_OFF: Duration = Duration::from_secs(1);
/// Pause after the cache dropped an unfinished piece for want of memory, before another try.
const RETRY: Duration = Duration::from_millis(20);

/// What all fetches share.
pub struct Origin {
    delay: Duration,
    pace: Option<Pace>,
    parallel: usize,
    /// What was fetched so far.
    pub counters: Counters,
}

/// What the origin did, since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Pieces asked of the origin.
    pub fetches: AtomicU64,
    /// Pieces asked again that had been fetched whole before, and evicted since.
    pub refetches: AtomicU64,
    /// Fetches dropped because nobody wanted the piece any more.
    pub cancelled: AtomicU64,
    /// Fetches in vain: the cache dropped the unfinished piece for want of memory.
    pub dropped: AtomicU64,
    /// Fetches that failed.
    pub failed: AtomicU64,
    /// Bytes read.
    pub bytes: AtomicU64,
}

/// Lets bytes through at a rate: each taker is told when its bytes would have arrived.
struct Pace {
    bytes_per_second: u64,
    free_at: Mutex<Instant>,
}

/// Why a fetch failed.
#[derive(Debug)]
enum Failure {
    Changed,
    Read(io::Error),
    Cache(lookbehind::Error),
    Dropped,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Changed => f.write_str("the file changed while it was served"),
            Failure::Read(error) => write!(f, "the file cannot be read: {error}"),
            Failure::Cache(error) => write!(f, "the cache did not take the piece: {error}"),
            Failure::Dropped => f.write_str("the cache dropped the unfinished piece"),
        }
    }
}

impl From<lookbehind::Error> for Failure {
    fn from(error: lookbehind::Error) -> Failure {
        match error {
            // It was written whole, and dropped before it could be committed.
            lookbehind::Error::NotOpen { .. } => Failure::Dropped,
            error => Failure::Cache(error),
        }
    }
}

impl Origin {
    /// An origin with this delay and rate, for a cache with this budget and length of pieces.
    pub fn new(delay: Duration, rate: Option<u64>, budget: u64, piece_len: u32) -> Origin {
        let pace = rate.map(|bytes_per_second| Pace {
            bytes_per_second: bytes_per_second.max(1),
            free_at: Mutex::new(Instant::now()),
        });
        // Pieces in assembly take at most half the budget; to begin more would only wait.
        let room = budget / 2 / u64::from(piece_len.max(1));
        let parallel = room.clamp(1, PARALLEL) as usize;
        Origin { delay, pace, parallel, counters: Counters::default() }
    }
}

impl Pace {
    async fn take(&self, bytes: usize) {
        let time = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let arrival = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            *free_at = (*free_at).max(Instant::now()) + time;
            *free_at
        };
        tokio::time::sleep_until(arrival).await;
    }
}

/// Fetches what the storage of the file's state wants until the storage is removed or the cache aborted.
pub async fn run(state: Arc<FileState>, origin: Arc<Origin>) {
    let mut wanted = state.edition.storage.wanted();
    let places = Arc::new(Semaphore::new(origin.parallel));
    let mut fetches = JoinSet::new();
    loop {
        // First a place, then the piece: what is most urgent may change while waiting.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            break;
        };
        let Some(fetch) = wanted.next().await else {
            break;
        };
        while let Some(ended) = fetches.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(film = state.edition.name, %error, "a fetch broke");
            }
        }
        let (state, origin) = (Arc::clone(&state), Arc::clone(&origin));
        fetches.spawn(async move {
            one(&state, &origin, fetch).await;
            drop(place);
        });
    }
    // Dropping the set aborts what is left.
}

async fn one(state: &FileState, origin: &Origin, fetch: Fetch) {
    let edition = &state.edition;
    let piece = fetch.piece();
    let counters = &origin.counters;
    counters.fetches.fetch_add(1, Relaxed);
    if state.was_fetched(piece) {
        counters.refetches.fetch_add(1, Relaxed);
    }
    let outcome = tokio::select! {
        biased;
        outcome = deliver(state, origin, &fetch) => Some(outcome),
        () = fetch.cancelled() => None,
    };
    // Until the claim is dropped nobody else writes this piece; so what is unfinished is ours.
    if !matches!(outcome, Some(Ok(()))) && !edition.has_ended() {
        let _ = edition.storage.abandon(piece);
    }
    match outcome {
        Some(Ok(())) => state.note_fetched(piece),
        None => {
            counters.cancelled.fetch_add(1, Relaxed);
        }
        // The storage was removed or the cache aborted: whoever did it knows why.
        Some(Err(Failure::Cache(lookbehind::Error::Removed | lookbehind::Error::Aborted))) => {}
        Some(Err(Failure::Cache(lookbehind::Error::UnknownStorage { .. }))) => {}
        // Nothing is wrong with the piece: who waits for it goes on waiting, and it is offered anew.
        Some(Err(failure @ Failure::Dropped)) => {
            counters.dropped.fetch_add(1, Relaxed);
            tracing::debug!(film = edition.name, piece, %failure, "fetched in vain");
            drop(fetch);
            tokio::time::sleep(RETRY).await;
        }
        Some(Err(failure)) => {
            counters.failed.fetch_add(1, Relaxed);
            tracing::warn!(film = edition.name, piece, %failure, "fetch failed");
            fetch.fail(&failure);
            match failure {
                Failure::Changed => drop(edition.end()),
                Failure::Read(_) | Failure::Cache(_) | Failure::Dropped => {
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }
}

/// Reads the piece block by block into the cache, and publishes it if the file stayed the same.
async fn deliver(state: &FileState, origin: &Origin, fetch: &Fetch) -> Result<(), Failure> {
    if !origin.delay.is_zero() {
        tokio::time::sleep(origin.delay).await;
    }
    let (piece, start, len) = (fetch.piece(), fetch.byte_range().start, fetch.len());
    let source = Arc::clone(state.source());
    let (threads, storage) = (state.threads(), &state.edition.storage);
    let opened = threads.run(move || {
        let opened = source.open()?;
        Ok((opened.stamp()?, opened))
    });
    let (stamp, mut opened) = opened.await.map_err(vanished)?;
    if stamp != *state.stamp() {
        return Err(Failure::Changed);
    }
    let mut block = Vec::new();
    let mut offset = 0;
    while offset < len {
        let size = BLOCK.min((len - offset) as usize);
        block.resize(size, 0);
        let at = start + u64::from(offset);
        (opened, block) = read(threads, opened, block, at).await.map_err(vanished)?;
        origin.counters.bytes.fetch_add(size as u64, Relaxed);
        if let Some(pace) = &origin.pace {
            pace.take(size).await;
        }
        let deadline = Some(MEMORY_DEADLINE);
        let progress = storage.write_async(piece, offset, &block, deadline).await?;
        offset += size as u32; // at most BLOCK
        match progress {
            Progress::Partial { written } if offset < len && written >= u64::from(offset) => {}
            Progress::Complete if offset == len => {}
            Progress::Published => return Ok(()),
            // Under pressure the cache may drop an assembly; what follows then begins another.
            _ => return Err(Failure::Dropped),
        }
    }
    let stamp = threads.run(move || opened.stamp()).await.map_err(vanished)?;
    if stamp != *state.stamp() {
        return Err(Failure::Changed);
    }
    Ok(storage.commit_async(piece, Some(MEMORY_DEADLINE)).await?)
}

async fn read(
    threads: &Threads,
    opened: Opened,
    mut block: Vec<u8>,
    at: u64,
) -> io::Result<(Opened, Vec<u8>)> {
    let work = move || opened.read_exact_at(&mut block, at).map(|()| (opened, block));
    threads.run(work).await
}

/// A file that is gone, or shorter than it was, has changed.
fn vanished(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::IsADirectory => {
            Failure::Changed
        }
        _ => Failure::Read(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_large_pieces_are_fetched_one_by_one() {
        let parallel = |budget, piece| Origin::new(Duration::ZERO, None, budget, piece).parallel;
        assert_eq!(parallel(256 << 20, 1 << 20), 4);
        assert_eq!(parallel(4 << 20, 1 << 20), 2);
        assert_eq!(parallel(2 << 20, 1 << 20), 1);
        assert_eq!(parallel(0, 0), 1);
    }

    #[tokio::test]
    async fn the_rate_is_shared() {
        let pace = Pace { bytes_per_second: 1_000_000, free_at: Mutex::new(Instant::now()) };
        let begun = Instant::now();
        tokio::join!(pace.take(50_000), pace.take(50_000), pace.take(50_000));
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(149), "{took:?}");
    }
}
