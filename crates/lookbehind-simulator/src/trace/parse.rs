//! From lines to events.

use std::str::FromStr;

use ahash::AHashMap;

use super::error::Fault;
use super::{Event, Kind, Storage};

/// The line above the events.
pub(super) const HEADER: &str = "t_seconds,viewer,storage,event,piece";
/// What a line that describes a storage starts with.
pub(super) const STORAGE: &str = "# storage,";

/// Takes the lines of a trace, one after the other.
#[derive(Debug, Default)]
pub struct Parser {
    storages: Vec<Storage>,
    by_id: AHashMap<u64, u32>,
    header: bool,
    last: f64,
}

impl Parser {
    /// Takes a line, without its end; gives the event if it is one.
    ///
    /// # Errors
    /// If the line is none of a trace, or none that may stand here.
    pub fn line(&mut self, line: &str) -> Result<Option<Event>, Fault> {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if let Some(fields) = line.strip_prefix(STORAGE) {
            return self.storage(fields).map(|()| None);
        }
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        if !self.header {
            self.header = line == HEADER;
            return if self.header { Ok(None) } else { Err(Fault::NoHeader(HEADER)) };
        }
        self.event(line).map(Some)
    }

    /// The storages so far.
    pub fn storages(&self) -> &[Storage] {
        &self.storages
    }

    fn storage(&mut self, fields: &str) -> Result<(), Fault> {
        let [id, pieces, bytes, seconds, window] = split(fields)?;
        let storage = Storage {
            id: whole("id", id)?,
            pieces: number("pieces", pieces, "a number from 1 to 4294967295", |n| *n > 0)?,
            piece_bytes: number("bytes per piece", bytes, "a number above 0", |n| *n > 0)?,
            piece_seconds: number("seconds per piece", seconds, "a number above 0", |n: &f64| {
                n.is_finite() && *n > 0.0
            })?,
            live_window: time("live window", window)?,
        };
        let index = self.storages.len() as u32;
        if self.by_id.insert(storage.id, index).is_some() {
            return Err(Fault::StorageAgain(storage.id));
        }
        self.storages.push(storage);
        Ok(())
    }

    fn event(&mut self, line: &str) -> Result<Event, Fault> {
        let [at, viewer, id, kind, piece] = split(line)?;
        let at = time("t_seconds", at)?;
        let viewer = whole("viewer", viewer)?;
        let id = whole("storage", id)?;
        let kind = Kind::of(kind).ok_or_else(|| {
            wrong("event", kind, "open, probe, seek, readahead, play, pause, resume or close")
        })?;
        let piece = whole("piece", piece)?;
        let storage = *self.by_id.get(&id).ok_or(Fault::UnknownStorage(id))?;
        let pieces = self.storages[storage as usize].pieces;
        let piece = match u32::try_from(piece) {
            Ok(piece) if piece < pieces => piece,
            _ => return Err(Fault::Beyond { storage: id, pieces, piece }),
        };
        if at < self.last {
            return Err(Fault::Backwards { time: at, last: self.last });
        }
        self.last = at;
        Ok(Event { time: at, viewer, storage, kind, piece })
    }
}

fn split<const N: usize>(line: &str) -> Result<[&str; N], Fault> {
    let mut fields = [""; N];
    let mut found = 0;
    for field in line.split(',') {
        if let Some(place) = fields.get_mut(found) {
            *place = field;
        }
        found += 1;
    }
    if found == N { Ok(fields) } else { Err(Fault::Fields { found, wanted: N }) }
}

fn wrong(field: &'static str, text: &str, wanted: &'static str) -> Fault {
    Fault::Value { field, text: text.to_owned(), wanted }
}

fn number<T: FromStr>(
    field: &'static str,
    text: &str,
    wanted: &'static str,
    fits: impl Fn(&T) -> bool,
) -> Result<T, Fault> {
    text.parse().ok().filter(fits).ok_or_else(|| wrong(field, text, wanted))
}

fn whole(field: &'static str, text: &str) -> Result<u64, Fault> {
    number(field, text, "a whole number", |_| true)
}

/// A time that can be reckoned with: at most 1e12 s, so that a millisecond still counts, and what is
/// rounded to one is in bounds.
fn time(field: &'static str, text: &str) -> Result<f64, Fault> {
    number(field, text, "a time in seconds, 0 or more", |time| (0.0..=1e12).contains(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A parser that has seen a storage of ten pieces and the header.
    fn begun() -> Parser {
        let mut parser = Parser::default();
        parser.line("# storage,7,10,1048576,1.5,0").unwrap();
        parser.line(HEADER).unwrap();
        parser
    }

    #[track_caller]
    fn refused(line: &str, words: &str) {
        let fault = begun().line(line).unwrap_err().to_string();
        assert!(fault.contains(words), "{line:?}: {fault:?} does not say {words:?}");
    }

    #[test]
    fn events_and_storages() {
        let mut parser = begun();
        assert_eq!(parser.storages()[0].piece_seconds, 1.5);
        let event = parser.line("1.250,3,7,readahead,9\r").unwrap().unwrap();
        let wanted = Event { time: 1.25, viewer: 3, storage: 0, kind: Kind::Readahead, piece: 9 };
        assert_eq!(event, wanted);
        assert!(parser.line("# anything").unwrap().is_none());
        assert!(parser.line("").unwrap().is_none());
        // A recording learns of a storage when it is opened.
        parser.line("# storage,1,2,4096,2,7200").unwrap();
        assert_eq!(parser.line("1.25,0,1,open,1").unwrap().unwrap().storage, 1);
        assert!(parser.storages()[1].is_live());
    }

    #[test]
    fn every_kind_has_its_name() {
        for (name, kind) in Kind::NAMES {
            assert_eq!((Kind::of(name), kind.name()), (Some(kind), name));
        }
    }

    #[test]
    fn malformed_events() {
        refused("1,0,7,play", "4 fields instead of 5");
        refused("1,0,7,play,1,1", "6 fields instead of 5");
        refused("soon,0,7,play,1", "t_seconds: \"soon\"");
        for time in ["NaN", "inf", "-inf", "-1", "1e13", ""] {
            refused(&format!("{time},0,7,play,1"), "is not a time");
        }
        refused("1,me,7,play,1", "viewer: \"me\"");
        refused("1,0,film,play,1", "storage: \"film\"");
        refused("1,0,7,dance,1", "event: \"dance\"");
        refused("1,0,7,play,first", "piece: \"first\"");
        refused("1,0,7,play,-1", "piece: \"-1\"");
        refused("1,0,8,play,1", "storage 8 is not described");
        refused("1,0,7,play,10", "storage 7 has 10 pieces, 10 is not");
        refused("1,0,7,play,4294967296", "4294967296 is not among them");
    }

    #[test]
    fn malformed_storages() {
        refused("# storage,1,10,1,1", "4 fields instead of 5");
        refused("# storage,x,10,1,1,0", "id: \"x\"");
        refused("# storage,1,0,1,1,0", "pieces: \"0\"");
        refused("# storage,1,4294967296,1,1,0", "pieces: \"4294967296\"");
        refused("# storage,1,1,0,1,0", "bytes per piece: \"0\"");
        for seconds in ["0", "NaN", "inf", "-1"] {
            refused(&format!("# storage,1,1,1,{seconds},0"), "seconds per piece");
        }
        refused("# storage,1,1,1,1,-1", "live window: \"-1\"");
        refused("# storage,7,1,1,1,0", "storage 7 was described before");
    }

    #[test]
    fn time_goes_on() {
        let mut parser = begun();
        parser.line("2,0,7,open,0").unwrap();
        parser.line("2,0,7,seek,0").unwrap();
        let fault = parser.line("1.999,0,7,play,1").unwrap_err().to_string();
        assert_eq!(fault, "1.999 s is earlier than 2 s in the event before");
    }

    #[test]
    fn events_need_the_header() {
        let fault = Parser::default().line("1,0,7,play,1").unwrap_err();
        assert!(matches!(fault, Fault::NoHeader(_)));
    }
}
