//! What is in a trace, found in one pass.

use std::collections::BTreeMap;
use std::sync::Arc;

use ahash::{AHashMap, AHashSet};

use crate::policies::NEVER;
use crate::trace::{Error, Event, Events, Key, Kind, Storage, TraceFile};

/// What a pass over a trace tells.
#[derive(Clone, Debug, Default)]
pub struct Measure {
    /// The trace's name.
    pub name: String,
    /// Its storages; events name them by their index here.
    pub storages: Vec<Storage>,
    /// For each storage, how far ahead of a playhead its players read, in pieces: the most that one
    /// request in a hundred reaches, for one that comes late, after a jump back, says nothing.
    pub windows: Vec<u32>,
    /// How many events there are.
    pub events: u64,
    /// How many of them need a piece.
    pub accesses: u64,
    /// How many different pieces they need: the misses of a cache that never evicts.
    pub distinct: u64,
    /// What those pieces weigh.
    pub distinct_bytes: u64,
    /// The longest piece among them.
    pub largest_piece: u64,
    /// Pieces that a budget of 100% holds: the different ones, of a live storage its window.
    pub base: u64,
    /// From the first event to the last, in seconds.
    pub seconds: f64,
    /// How many sessions there were.
    pub viewers: u64,
    /// How long viewers were there, all together.
    pub viewer_seconds: f64,
    /// For OPT: when the piece of each access is needed next, as the number of that access;
    /// nothing if that took more memory than allowed.
    pub next: Option<Arc<Vec<u32>>>,
}

impl Measure {
    /// Bytes that OPT keeps for this trace.
    pub fn opt_bytes(&self) -> u64 {
        self.accesses.saturating_mul(size_of::<u32>() as u64)
    }

    /// A number of pieces in bytes, of the longest kind; what a cache needs beside them is not in it.
    pub fn bytes(&self, pieces: u64) -> u64 {
        pieces.saturating_mul(self.largest_piece)
    }
}

/// Goes over the trace; keeps what OPT needs if that is at most `opt_memory` bytes.
///
/// `progress` is told how many bytes of the file were read.
///
/// # Errors
/// If the trace is malformed.
pub fn measure(
    trace: &TraceFile,
    opt_memory: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<Measure, Error> {
    let mut events = trace.events()?;
    let mut pass = Pass::new(opt_memory);
    while let Some(event) = events.next_event()? {
        pass.take(&event, &events);
        if pass.found.events.is_multiple_of(4096) {
            progress(events.bytes_read());
        }
    }
    progress(events.bytes_read());
    Ok(pass.end(trace.name(), &events))
}

struct Viewer {
    since: f64,
    storage: u32,
    /// Nothing before the first event that tells it.
    position: Option<u32>,
}

struct Pass {
    found: Measure,
    /// The last access of each piece, if OPT is to know.
    last: AHashMap<Key, u32>,
    /// The pieces that were needed, once OPT cannot know.
    seen: AHashSet<Key>,
    next: Option<Vec<u32>>,
    limit: u64,
    viewers: AHashMap<u64, Viewer>,
    /// For each storage, how many requests were so far ahead of their playhead.
    reach: Vec<BTreeMap<u32, u64>>,
    first: f64,
    now: f64,
}

impl Pass {
    fn new(opt_memory: u64) -> Pass {
        // Accesses are numbered in 32 bits.
        let limit = (opt_memory / size_of::<u32>() as u64).min(u64::from(NEVER));
        Pass {
            found: Measure::default(),
            last: AHashMap::new(),
            seen: AHashSet::new(),
            next: Some(Vec::new()),
            limit,
            viewers: AHashMap::new(),
            reach: Vec::new(),
            first: 0.0,
            now: 0.0,
        }
    }

    fn take(&mut self, event: &Event, events: &Events) {
        if self.found.events == 0 {
            self.first = event.time;
        }
        self.now = event.time;
        self.found.events += 1;
        self.follow(event);
        if !event.kind.touches() {
            return;
        }
        if self.is_new(event.key()) {
            let bytes = events.storages()[event.storage as usize].piece_bytes;
            self.found.distinct += 1;
            self.found.distinct_bytes = self.found.distinct_bytes.saturating_add(bytes);
            self.found.largest_piece = self.found.largest_piece.max(bytes);
        }
        self.found.accesses += 1;
    }

    fn is_new(&mut self, key: Key) -> bool {
        if self.found.accesses >= self.limit && self.next.take().is_some() {
            self.seen = std::mem::take(&mut self.last).into_keys().collect();
        }
        let Some(next) = &mut self.next else { return self.seen.insert(key) };
        // It fits: the limit is below.
        let number = self.found.accesses as u32;
        next.push(NEVER);
        let before = self.last.insert(key, number);
        if let Some(before) = before {
            next[before as usize] = number;
        }
        before.is_none()
    }

    /// Where viewers are, how long they stay, how far they read ahead.
    fn follow(&mut self, event: &Event) {
        let storage = event.storage as usize;
        if self.reach.len() <= storage {
            self.reach.resize(storage + 1, BTreeMap::new());
        }
        if matches!(event.kind, Kind::Open | Kind::Close)
            && let Some(viewer) = self.viewers.remove(&event.viewer)
        {
            self.found.viewer_seconds += event.time - viewer.since;
        }
        if event.kind == Kind::Close {
            return;
        }
        let viewer = self.viewers.entry(event.viewer).or_insert_with(|| {
            self.found.viewers += 1;
            Viewer { since: event.time, storage: event.storage, position: None }
        });
        if event.kind.is_position() {
            (viewer.storage, viewer.position) = (event.storage, Some(event.piece));
        } else if event.kind == Kind::Readahead
            && viewer.storage == event.storage
            && let Some(position) = viewer.position
        {
            let ahead = event.piece.saturating_sub(position);
            *self.reach[storage].entry(ahead).or_default() += 1;
        }
    }

    fn end(mut self, name: String, events: &Events) -> Measure {
        let mut found = self.found;
        found.name = name;
        found.storages = events.storages().to_vec();
        self.reach.resize(found.storages.len(), BTreeMap::new());
        found.windows = self.reach.iter().map(reached).collect();
        found.seconds = self.now - self.first;
        for viewer in self.viewers.values() {
            found.viewer_seconds += self.now - viewer.since;
        }
        // Live storages count by their window, the others by what was needed of them.
        let mut touched = vec![0_u64; found.storages.len()];
        for key in self.last.keys().chain(&self.seen) {
            touched[key.storage as usize] += 1;
        }
        found.base = touched.iter().zip(&found.storages).fold(0, |base, (touched, storage)| {
            let window = (storage.live_window / storage.piece_seconds).floor() as u64;
            let live = storage.is_live() && *touched > 0;
            base.saturating_add(if live { window } else { *touched })
        });
        found.next = self.next.take().map(Arc::new);
        found
    }
}

/// The most that one in a hundred reaches.
fn reached(requests: &BTreeMap<u32, u64>) -> u32 {
    let enough = (requests.values().sum::<u64>() / 100).max(1);
    let mut count = 0;
    let found = requests.iter().rev().find(|(_, requests)| {
        count += **requests;
        count >= enough
    });
    found.map_or(0, |(ahead, _)| *ahead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_what_many_requests_reach() {
        assert_eq!(reached(&BTreeMap::new()), 0);
        assert_eq!(reached(&BTreeMap::from([(3, 1)])), 3);
        assert_eq!(reached(&BTreeMap::from([(1, 10), (8, 981), (500, 9)])), 8);
        assert_eq!(reached(&BTreeMap::from([(1, 10), (8, 980), (500, 10)])), 500);
    }
}
