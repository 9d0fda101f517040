//! Traces of what viewers did, as text, compressed, cut off, or anything at all.
//!
//! The model of a trace is a list of its lines, each taken apart by itself: what was read is
//! compared with it up to the first line that is wrong, which must be the one that is named. A
//! trace without such a line is written, read again, and replayed. What is allocated follows the
//! length of the trace, never a number that stands in it.

mod compose;
mod file;
mod model;
mod replays;

use lookbehind_simulator::trace::{
    Error, Event, Fault, Storage, TraceFile, event_line, head, storage_line, write,
};

use crate::input::Input;
use crate::memory;
use file::{File, Packing};
use model::Line;

/// What a reader takes in any case: its buffers, and those of a decompressor.
const BUFFERS: u64 = 512 << 10;
/// What it takes for a byte of the trace: a storage in a short line, twice while a list grows.
const FOR_A_BYTE: u64 = 16;
/// A byte that was compressed is no more than so many.
const COMPRESSED: u64 = 1032;

/// Reads a trace, as the first bytes say: composed of the others, or made of them as they are.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let composed = input.flag();
    let packing = Packing::choose(&mut input);
    let budget = replays::budget(&mut input);
    let text = if composed { compose::trace(input) } else { input.rest().to_vec() };
    let file = File::new(&packing.pack(&text));
    let foreign = packing == Packing::Plain && text.starts_with(&file::GZIP);
    let limit = BUFFERS + FOR_A_BYTE * text.len() as u64 * if foreign { COMPRESSED } else { 1 };
    let (length, taken) = memory::peak(|| count(&file.trace()));
    assert!(taken <= limit, "{taken} bytes are taken to read {}", text.len());
    if foreign {
        // Not text, and nobody knows what.
        return;
    }
    let found = Found::read(&file.trace());
    assert_eq!(length, found.events.len());
    let lines = model::lines(&text);
    found.check(&lines, packing.is_cut());
    if found.fault.is_none() {
        found.check_written();
        replays::check(&file.trace(), &found, budget);
    }
}

/// Reads it to its end, or as far as it goes, and keeps nothing.
fn count(trace: &TraceFile) -> usize {
    let mut pass = trace.events().unwrap();
    let mut count = 0;
    while let Ok(Some(_)) = pass.next_event() {
        count += 1;
    }
    count
}

/// What was found in a trace, up to its end or to what is wrong.
#[derive(Debug, PartialEq)]
struct Found {
    storages: Vec<Storage>,
    events: Vec<Event>,
    /// The number of the line, and what is wrong with it.
    fault: Option<(u64, &'static str)>,
}

impl Found {
    fn read(trace: &TraceFile) -> Self {
        let mut pass = trace.events().unwrap();
        let mut events = Vec::new();
        let fault = loop {
            match pass.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break None,
                Err(error @ Error::Line { line, .. }) => {
                    let text = error.to_string();
                    assert!(text.contains(&format!("line {line}: ")), "{text}");
                    let Error::Line { fault, .. } = error else { unreachable!() };
                    break Some((line, name(&fault)));
                }
                Err(other) => panic!("{other}"),
            }
        };
        assert!(pass.bytes_read() <= trace.bytes());
        Self { storages: pass.storages().to_vec(), events, fault }
    }

    /// All lines before the one that is named are right, and were read; that one is wrong so.
    fn check(&self, lines: &[Line], cut: bool) {
        let end = lines.len() as u64 + 1;
        let line = self.fault.map_or(end, |(line, _)| line);
        assert!((1..=end).contains(&line), "there is no line {line}");
        let good = line as usize - 1;
        let (before, after) = lines.split_at(good);
        let wrong = before.iter().position(|line| matches!(line, Line::Wrong(_)));
        assert_eq!(wrong, None, "counted from 0, a line is wrong and was read: {:?}", self.fault);
        let storages = before.iter().filter_map(Line::storage);
        assert!(storages.eq(&self.storages), "{:?}", self.storages);
        let events = before.iter().filter_map(Line::event);
        assert!(events.eq(&self.events), "{:?}", self.events);
        match (self.fault, after.first()) {
            // It cannot be read; the line may be any.
            (Some((_, "read")), _) => assert!(cut),
            (Some((_, name)), Some(Line::Wrong(faults))) => {
                assert!(faults.contains(&name), "{name}, not {faults:?}");
            }
            (Some((_, name)), None) => {
                assert!(name == "no storage" && self.storages.is_empty() && !cut, "{name}");
            }
            (Some((line, name)), Some(right)) => panic!("line {line}, {name}: {right:?}"),
            (None, _) => assert!(!cut && !self.storages.is_empty()),
        }
    }

    /// What is written of it reads as the same, but for what is finer than a millisecond.
    fn check_written(&self) {
        let mut written = Vec::new();
        write(&mut written, "a test", &self.storages, &self.events).unwrap();
        let again = Self::read(&File::new(&written).trace());
        let events = self.events.iter().map(|event| {
            let time = format!("{:.3}", event.time).parse().unwrap();
            Event { time, ..*event }
        });
        let storages = self.storages.clone();
        assert_eq!(again, Self { storages, events: events.collect(), fault: None });
        // As a recording does: a storage when somebody comes to it.
        let mut lines = head("a test");
        let mut told = 0;
        for event in &self.events {
            let storage = event.storage as usize;
            for storage in self.storages.iter().take(storage + 1).skip(told) {
                lines.push_str(&storage_line(storage));
            }
            told = told.max(storage + 1);
            lines.push_str(&event_line(event, self.storages[storage].id));
        }
        let recorded = Self::read(&File::new(lines.as_bytes()).trace());
        assert_eq!(recorded.events, again.events);
        assert_eq!(recorded.storages, again.storages[..told]);
    }
}

/// A word for each fault; for a field that has no sense it is the field's.
fn name(fault: &Fault) -> &'static str {
    match fault {
        Fault::Read(_) => "read",
        Fault::TooLong(_) => "too long",
        Fault::NotText => "not text",
        Fault::Fields { .. } => "fields",
        Fault::Value { field, .. } => field,
        Fault::NoHeader(_) => "no header",
        Fault::StorageAgain(_) => "storage again",
        Fault::UnknownStorage(_) => "unknown storage",
        Fault::NoStorage => "no storage",
        Fault::Beyond { .. } => "beyond",
        Fault::Backwards { .. } => "backwards",
    }
}
