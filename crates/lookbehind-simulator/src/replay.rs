//! A trace through many caches at once.

use ahash::AHashSet;

use crate::measure::Measure;
use crate::players::Players;
use crate::policies::Cache;
use crate::score::Score;
use crate::trace::{Error, TraceFile};

/// A cache that a trace is replayed through, and what came of it.
pub struct Run {
    cache: Box<dyn Cache>,
    /// What came of it so far.
    pub score: Score,
}

impl Run {
    /// An empty cache.
    pub fn new(cache: Box<dyn Cache>) -> Run {
        Run { cache, score: Score::default() }
    }
}

/// Goes over the trace once and through all caches.
///
/// `progress` is told how many bytes of the file were read.
///
/// # Errors
/// If the trace is malformed, or not the one that was measured.
pub fn replay(
    trace: &TraceFile,
    measure: &Measure,
    runs: &mut [Run],
    progress: &mut dyn FnMut(u64),
) -> Result<(), Error> {
    let changed = || Error::Changed(trace.path().to_owned());
    let mut events = trace.events()?;
    let mut players = Players::new(measure);
    // The first access of a piece misses in every cache, so this is what each of them has fetched.
    let mut fetched = AHashSet::with_capacity(measure.distinct as usize);
    let (mut count, mut described) = (0_u64, 0);
    while let Some(event) = events.next_event()? {
        // Caches count on what was measured.
        if events.storages().len() != described {
            described = events.storages().len();
            if !measure.storages.starts_with(events.storages()) {
                return Err(changed());
            }
        }
        count += 1;
        if count > measure.events {
            return Err(changed());
        }
        players.heed(&event);
        let touches = event.kind.touches();
        let again = touches && !fetched.insert(event.key());
        for run in &mut *runs {
            run.cache.tell(&event, &players);
            if touches {
                run.score.accesses += 1;
                if !run.cache.access(&event, &players) {
                    let bytes = measure.storages[event.storage as usize].piece_bytes;
                    run.score.miss(again, event.kind.is_waited_for(), bytes);
                }
            }
        }
        if count.is_multiple_of(4096) {
            progress(events.bytes_read());
        }
    }
    progress(events.bytes_read());
    if count == measure.events { Ok(()) } else { Err(changed()) }
}
