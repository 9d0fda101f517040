//! The trace's films and viewers as the library sees them: bytes, windows, and what players do.

use std::ops::Range;
use std::time::Duration;

use ahash::AHashMap;
use lookbehind::{Action, PlayerEvent, StorageId};

use crate::measure::Measure;
use crate::players::Players;
use crate::trace::{Event, Kind, Storage};

/// What a player did, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    pub(crate) storage: u32,
    pub(crate) viewer: u64,
    pub(crate) action: Action,
    /// The byte that is needed next.
    pub(crate) position: u64,
    /// The window ahead.
    pub(crate) ahead: u64,
}

/// Where a viewer is.
#[derive(Clone, Copy)]
struct Seat {
    storage: u32,
    /// The piece that the playhead is in.
    piece: u32,
}

/// Films and viewers, at the time of the last event.
pub(crate) struct Films {
    storages: Vec<Storage>,
    /// Pieces of live films that exist by now.
    edges: Vec<u32>,
    viewers: AHashMap<u64, Seat>,
    start: Option<f64>,
    now: Duration,
    /// Bytes of a piece; the trace's if `None`.
    len: Option<u64>,
}

impl Films {
    pub(crate) fn new(trace: &Measure) -> Films {
        Films {
            storages: trace.storages.clone(),
            edges: vec![0; trace.storages.len()],
            viewers: AHashMap::new(),
            start: None,
            now: Duration::ZERO,
            len: None,
        }
    }

    /// The same films in pieces of this length, so that they fit into memory.
    pub(crate) fn in_pieces_of(self, len: u64) -> Films {
        Films { len: Some(len), ..self }
    }

    /// What the event means for a player: a viewer who goes to another film leaves this one first.
    pub(crate) fn heed(&mut self, event: &Event, players: &Players) -> Vec<Move> {
        let start = *self.start.get_or_insert(event.time);
        self.now = Duration::try_from_secs_f64(event.time - start).unwrap_or(Duration::MAX);
        let storage = event.storage;
        if event.kind != Kind::Probe {
            let edge = &mut self.edges[storage as usize];
            *edge = (*edge).max(event.piece.saturating_add(1));
        }
        let mut moves = Vec::new();
        if !event.kind.is_position() {
            return moves;
        }
        let len = self.piece_len(storage);
        let step = |action| Move {
            storage,
            viewer: event.viewer,
            action,
            position: u64::from(event.piece).saturating_mul(len),
            ahead: u64::from(players.window(storage)).saturating_mul(len),
        };
        let before = self.viewers.get(&event.viewer).copied();
        if let Some(seat) = before.filter(|seat| seat.storage != storage) {
            let position = u64::from(seat.piece).saturating_mul(self.piece_len(seat.storage));
            moves.push(Move { storage: seat.storage, position, ..step(Action::Close) });
        }
        let before = before.filter(|seat| seat.storage == storage);
        match (before, event.kind) {
            (None, Kind::Close) => {}
            (Some(_), Kind::Close) => moves.push(step(Action::Close)),
            (None, _) => moves.push(step(Action::Open)),
            (Some(seat), Kind::Seek) if seat.piece != event.piece => {
                moves.push(step(Action::Seek { from: u64::from(seat.piece).saturating_mul(len) }));
            }
            (_, Kind::Pause) => moves.push(step(Action::Pause)),
            (_, Kind::Resume) => moves.push(step(Action::Resume)),
            _ => {}
        }
        if event.kind == Kind::Close {
            self.viewers.remove(&event.viewer);
        } else {
            self.viewers.insert(event.viewer, Seat { storage, piece: event.piece });
        }
        moves
    }

    /// The same for the policy.
    pub(crate) fn event(&self, step: &Move, storage: StorageId) -> PlayerEvent {
        let (film, bitrate) = (self.bytes(step.storage), self.bitrate(step.storage));
        let (viewer, action, position) = (step.viewer, step.action, step.position);
        let mut event =
            PlayerEvent::new(storage, viewer, self.now, action, position, film, bitrate);
        event.ahead = step.ahead;
        event.live = self.is_live(step.storage);
        event
    }

    /// The time since the trace began.
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    pub(crate) fn is_live(&self, storage: u32) -> bool {
        self.storages[storage as usize].is_live()
    }

    pub(crate) fn piece_len(&self, storage: u32) -> u64 {
        self.len.unwrap_or(self.storages[storage as usize].piece_bytes)
    }

    /// Bytes a second.
    pub(crate) fn bitrate(&self, storage: u32) -> u64 {
        let seconds = self.storages[storage as usize].piece_seconds;
        ((self.piece_len(storage) as f64 / seconds).round() as u64).max(1)
    }

    /// The pieces that can be asked for: of a live film those of its window, as far as they exist.
    pub(crate) fn pieces(&self, storage: u32) -> Range<u32> {
        let film = &self.storages[storage as usize];
        if !film.is_live() {
            return 0..film.pieces;
        }
        let edge = self.edges[storage as usize];
        let window = (film.live_window / film.piece_seconds).floor() as u32;
        edge.saturating_sub(window.saturating_add(1))..edge
    }

    /// The bytes of those pieces.
    pub(crate) fn bytes(&self, storage: u32) -> Range<u64> {
        let (pieces, len) = (self.pieces(storage), self.piece_len(storage));
        u64::from(pieces.start).saturating_mul(len)..u64::from(pieces.end).saturating_mul(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_to_another_film_leaves_the_one_before_where_he_was() {
        let storage =
            Storage { id: 0, pieces: 100, piece_bytes: 10, piece_seconds: 1.0, live_window: 0.0 };
        let storages = vec![storage, Storage { piece_bytes: 1000, ..storage }];
        let trace = Measure { storages, windows: vec![2, 3], ..Measure::default() };
        let (mut films, players) = (Films::new(&trace), Players::new(&trace));
        let mut moves = |storage, kind, piece| {
            let event = Event { time: 0.0, viewer: 7, storage, kind, piece };
            let what = |step: Move| (step.storage, step.viewer, step.action, step.position);
            films.heed(&event, &players).into_iter().map(what).collect::<Vec<_>>()
        };
        assert_eq!(moves(0, Kind::Open, 4), [(0, 7, Action::Open, 40)]);
        assert_eq!(moves(0, Kind::Play, 5), []);
        let left = [(0, 7, Action::Close, 50), (1, 7, Action::Open, 6000)];
        assert_eq!(moves(1, Kind::Seek, 6), left);
        // To close another film is to leave the one that he is in, and no more.
        assert_eq!(moves(0, Kind::Close, 0), [(1, 7, Action::Close, 6000)]);
        assert_eq!(moves(1, Kind::Close, 6), []);
    }
}
