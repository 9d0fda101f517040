//! Where the viewers are.

use std::collections::{BTreeMap, BTreeSet};

use ahash::AHashMap;

use crate::measure::Measure;
use crate::trace::{Event, Key, Kind};

/// The playheads that are open, and the windows ahead of them that no policy likes to evict from.
#[derive(Clone, Debug)]
pub struct Players {
    windows: Vec<u32>,
    /// For each storage, how many are at each position.
    positions: Vec<BTreeMap<u32, u32>>,
    watched: BTreeSet<u32>,
    viewers: AHashMap<u64, Key>,
}

impl Players {
    /// Nobody is there yet.
    pub fn new(trace: &Measure) -> Players {
        Players {
            windows: trace.windows.clone(),
            positions: vec![BTreeMap::new(); trace.storages.len()],
            watched: BTreeSet::new(),
            viewers: AHashMap::new(),
        }
    }

    /// Somebody did something.
    pub fn heed(&mut self, event: &Event) {
        if !event.kind.is_position() {
            return;
        }
        let at = (event.kind != Kind::Close).then(|| event.key());
        let before = match at {
            Some(at) => self.viewers.insert(event.viewer, at),
            None => self.viewers.remove(&event.viewer),
        };
        if before == at {
            return;
        }
        if let Some(at) = before {
            let positions = &mut self.positions[at.storage as usize];
            if let Some(count) = positions.get_mut(&at.piece) {
                *count -= 1;
                if *count == 0 {
                    positions.remove(&at.piece);
                }
            }
            if positions.is_empty() {
                self.watched.remove(&at.storage);
            }
        }
        if let Some(at) = at {
            *self.positions[at.storage as usize].entry(at.piece).or_default() += 1;
            self.watched.insert(at.storage);
        }
    }

    /// Whether the piece is where a playhead is, or in the window ahead of one.
    pub fn protect(&self, key: Key) -> bool {
        let first = key.piece.saturating_sub(self.window(key.storage));
        self.positions[key.storage as usize].range(first..=key.piece).next().is_some()
    }

    /// Whether the event is a use of its own, for policies that count uses: to play what the
    /// player has read ahead is not, or every piece would be used twice by whoever comes by once.
    pub fn is_use(&self, event: &Event) -> bool {
        event.kind != Kind::Play || self.window(event.storage) == 0
    }

    /// How far ahead players of this storage read, in pieces.
    pub fn window(&self, storage: u32) -> u32 {
        self.windows[storage as usize]
    }

    /// The playheads of a storage in ascending order, those in one place once.
    pub fn positions(&self, storage: u32) -> impl DoubleEndedIterator<Item = u32> {
        self.positions[storage as usize].keys().copied()
    }

    /// The storages that somebody watches.
    pub fn watched(&self) -> impl Iterator<Item = u32> {
        self.watched.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Storage;

    fn players() -> Players {
        let storage =
            Storage { id: 0, pieces: 100, piece_bytes: 1, piece_seconds: 1.0, live_window: 0.0 };
        let storages = vec![storage; 2];
        Players::new(&Measure { storages, windows: vec![2, 5], ..Measure::default() })
    }

    fn event(viewer: u64, storage: u32, kind: Kind, piece: u32) -> Event {
        Event { time: 0.0, viewer, storage, kind, piece }
    }

    fn protected(players: &Players, storage: u32) -> Vec<u32> {
        (0..100).filter(|&piece| players.protect(Key { storage, piece })).collect()
    }

    #[test]
    fn windows_go_with_their_playheads() {
        let mut players = players();
        players.heed(&event(1, 0, Kind::Open, 3));
        players.heed(&event(2, 0, Kind::Open, 4));
        assert_eq!(protected(&players, 0), [3, 4, 5, 6]);
        players.heed(&event(1, 0, Kind::Readahead, 5));
        players.heed(&event(1, 0, Kind::Probe, 99));
        players.heed(&event(1, 0, Kind::Seek, 4));
        assert_eq!(players.positions(0).collect::<Vec<_>>(), [4]);
        players.heed(&event(1, 0, Kind::Pause, 4));
        players.heed(&event(2, 0, Kind::Close, 4));
        assert_eq!(protected(&players, 0), [4, 5, 6]);
        // Who goes to another film has left this one.
        players.heed(&event(1, 1, Kind::Open, 0));
        assert!(protected(&players, 0).is_empty());
        assert_eq!(protected(&players, 1), [0, 1, 2, 3, 4, 5]);
        assert_eq!(players.watched().collect::<Vec<_>>(), [1]);
        players.heed(&event(1, 1, Kind::Close, 0));
        players.heed(&event(1, 1, Kind::Close, 0));
        assert_eq!(players.watched().count(), 0);
    }
}
