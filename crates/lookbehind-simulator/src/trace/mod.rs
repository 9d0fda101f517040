//! What a trace is: storages, and what viewers did with their pieces.
//!
//! ```text
//! # storage,<id>,<pieces>,<bytes per piece>,<seconds per piece>,<live window in s, or 0>
//! t_seconds,viewer,storage,event,piece
//! 0.000,0,0,open,0
//! ```
//!
//! A storage stands before the events that name it; other lines that start with `#` are comments,
//! and empty lines are nothing. Times do not fall. The first event of a viewer need not be `open`,
//! for a recording may start while somebody watches: a viewer is there from its first event with a
//! position until it closes, and one that comes back after that is there again.

mod error;
mod file;
mod parse;
mod write;

pub use error::{Error, Fault};
pub use file::{Events, TraceFile};
pub use parse::Parser;
pub use write::{event_line, head, storage_line, write};

/// A film, as a trace describes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Storage {
    /// Its name in the trace.
    pub id: u64,
    /// How many pieces it has.
    pub pieces: u32,
    /// The length of a piece.
    pub piece_bytes: u64,
    /// How long a piece plays.
    pub piece_seconds: f64,
    /// For how long a piece of a live storage can be asked for, in seconds; 0 if it is not live.
    pub live_window: f64,
}

impl Storage {
    /// Whether pieces come into being while it is watched.
    pub fn is_live(&self) -> bool {
        self.live_window > 0.0
    }
}

/// What a viewer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Came, at this position.
    Open,
    /// Read head or tail, as players do when they open a film.
    Probe,
    /// Needs the first piece after an open or a jump.
    Seek,
    /// The player's window wants the piece.
    Readahead,
    /// The playhead enters the piece.
    Play,
    /// Stopped for a while.
    Pause,
    /// Went on.
    Resume,
    /// Left.
    Close,
}

impl Kind {
    const NAMES: [(&str, Kind); 8] = [
        ("readahead", Kind::Readahead),
        ("play", Kind::Play),
        ("seek", Kind::Seek),
        ("probe", Kind::Probe),
        ("open", Kind::Open),
        ("pause", Kind::Pause),
        ("resume", Kind::Resume),
        ("close", Kind::Close),
    ];

    /// The kind of this name.
    pub fn of(name: &str) -> Option<Kind> {
        Self::NAMES.iter().find(|known| known.0 == name).map(|known| known.1)
    }

    /// Its name in a trace.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|known| known.1 == self).map_or("", |known| known.0)
    }

    /// Whether it needs the piece; the others only tell.
    pub fn touches(self) -> bool {
        matches!(self, Kind::Probe | Kind::Seek | Kind::Readahead | Kind::Play)
    }

    /// Whether somebody waits while the piece is fetched.
    pub fn is_waited_for(self) -> bool {
        matches!(self, Kind::Probe | Kind::Seek | Kind::Play)
    }

    /// Whether the piece is where the playhead is.
    pub fn is_position(self) -> bool {
        !matches!(self, Kind::Probe | Kind::Readahead)
    }
}

/// A piece of one of the trace's storages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Index among the storages, in the order of the trace.
    pub storage: u32,
    /// The piece.
    pub piece: u32,
}

/// A line of a trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// When, in seconds; does not fall from one event to the next.
    pub time: f64,
    /// Who: one session of viewing.
    pub viewer: u64,
    /// Where: index among the storages, in the order of the trace.
    pub storage: u32,
    /// What.
    pub kind: Kind,
    /// With which piece; the storage has it.
    pub piece: u32,
}

impl Event {
    /// The piece that it is about.
    pub fn key(&self) -> Key {
        Key { storage: self.storage, piece: self.piece }
    }
}
