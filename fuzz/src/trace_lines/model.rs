//! A trace as a list of lines.

use std::collections::BTreeMap;

use lookbehind_simulator::trace::{Event, Kind, Storage};

const KINDS: [(&str, Kind); 8] = [
    ("open", Kind::Open),
    ("probe", Kind::Probe),
    ("seek", Kind::Seek),
    ("readahead", Kind::Readahead),
    ("play", Kind::Play),
    ("pause", Kind::Pause),
    ("resume", Kind::Resume),
    ("close", Kind::Close),
];

#[derive(Debug)]
pub(super) enum Line {
    Nothing,
    Storage(Storage),
    Event(Event),
    /// All that is wrong with it.
    Wrong(Vec<&'static str>),
}

impl Line {
    pub(super) fn storage(&self) -> Option<&Storage> {
        if let Self::Storage(storage) = self { Some(storage) } else { None }
    }

    pub(super) fn event(&self) -> Option<&Event> {
        if let Self::Event(event) = self { Some(event) } else { None }
    }
}

/// What the lines before have told.
#[derive(Default)]
struct Before {
    /// By name: the place in the order of the trace, and how many pieces there are.
    films: BTreeMap<u64, (u32, u32)>,
    header: bool,
    time: f64,
}

/// The lines of a trace. What stands behind one that is wrong is not looked at.
pub(super) fn lines(text: &[u8]) -> Vec<Line> {
    let mut before = Before::default();
    let mut lines = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        lines.push(before.line(line));
        if matches!(lines.last(), Some(Line::Wrong(_))) {
            break;
        }
    }
    lines
}

impl Before {
    fn line(&mut self, line: &[u8]) -> Line {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if line.len() > 1024 {
            return Line::Wrong(vec!["too long"]);
        }
        let Ok(line) = std::str::from_utf8(line) else { return Line::Wrong(vec!["not text"]) };
        let line = line.strip_suffix('\r').unwrap_or(line);
        let fields: Vec<&str> = line.split(',').collect();
        match (line.bytes().next(), fields[0]) {
            (None, _) => Line::Nothing,
            (_, "# storage") if fields.len() > 1 => self.storage(&fields[1..]),
            (Some(b'#'), _) => Line::Nothing,
            _ if self.header => self.event(&fields),
            _ if line == "t_seconds,viewer,storage,event,piece" => {
                self.header = true;
                Line::Nothing
            }
            _ => Line::Wrong(vec!["no header"]),
        }
    }

    fn storage(&mut self, fields: &[&str]) -> Line {
        let [id, pieces, bytes, seconds, window] = fields else {
            return Line::Wrong(vec!["fields"]);
        };
        let mut faults = Faults::default();
        let id = faults.unless("id", whole(id));
        let pieces = whole(pieces).and_then(|pieces| u32::try_from(pieces).ok());
        let pieces = faults.unless("pieces", pieces.filter(|pieces| *pieces > 0));
        let bytes = faults.unless("bytes per piece", whole(bytes).filter(|bytes| *bytes > 0));
        let seconds = seconds.parse().ok().filter(|s: &f64| *s > 0.0 && *s <= f64::MAX);
        let piece_seconds = faults.unless("seconds per piece", seconds);
        let live_window = faults.unless("live window", time(window));
        if self.films.contains_key(&id) {
            faults.0.push("storage again");
        }
        faults.or_else(|| {
            self.films.insert(id, (self.films.len() as u32, pieces));
            Line::Storage(Storage { id, pieces, piece_bytes: bytes, piece_seconds, live_window })
        })
    }

    fn event(&mut self, fields: &[&str]) -> Line {
        let [at, viewer, id, kind, piece] = fields else { return Line::Wrong(vec!["fields"]) };
        let mut faults = Faults::default();
        let time = faults.unless("t_seconds", time(at));
        let viewer = faults.unless("viewer", whole(viewer));
        let known = whole(id).and_then(|id| self.films.get(&id)).copied();
        let (storage, pieces) = known.unwrap_or_default();
        faults.unless("storage", whole(id));
        faults.unless("unknown storage", known);
        let kind = KINDS.iter().find(|(name, _)| name == kind).map(|(_, kind)| *kind);
        let kind = kind.unwrap_or_else(|| {
            faults.0.push("event");
            Kind::Open
        });
        let piece = faults.unless("piece", whole(piece));
        if piece >= u64::from(pieces) {
            faults.0.push("beyond");
        }
        if time < self.time {
            faults.0.push("backwards");
        }
        faults.or_else(|| {
            self.time = time;
            Line::Event(Event { time, viewer, storage, kind, piece: piece as u32 })
        })
    }
}

#[derive(Default)]
struct Faults(Vec<&'static str>);

impl Faults {
    fn unless<T: Default>(&mut self, name: &'static str, value: Option<T>) -> T {
        if value.is_none() {
            self.0.push(name);
        }
        value.unwrap_or_default()
    }

    fn or_else(self, right: impl FnOnce() -> Line) -> Line {
        if self.0.is_empty() { right() } else { Line::Wrong(self.0) }
    }
}

/// A number in digits, perhaps with a plus.
fn whole(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let mut number: u64 = 0;
    for digit in digits.chars() {
        number = number.checked_mul(10)?.checked_add(u64::from(digit.to_digit(10)?))?;
    }
    (!digits.is_empty()).then_some(number)
}

/// Seconds from 0 to 1e12.
fn time(text: &str) -> Option<f64> {
    text.parse().ok().filter(|time: &f64| *time >= 0.0 && *time <= 1e12)
}
