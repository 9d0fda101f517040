//! From events to lines.

use std::io::{self, Write};

use super::parse::{HEADER, STORAGE};
use super::{Event, Storage};

/// The lines before the first storage: what the trace is, and the names of the columns.
pub fn head(title: &str) -> String {
    format!("# {title}\n{HEADER}\n")
}

/// The line that describes a storage. It stands before the events that name it.
pub fn storage_line(storage: &Storage) -> String {
    let Storage { id, pieces, piece_bytes, piece_seconds, live_window } = storage;
    format!("{STORAGE}{id},{pieces},{piece_bytes},{piece_seconds},{live_window}\n")
}

/// The line of an event in the storage of this name.
pub fn event_line(event: &Event, id: u64) -> String {
    let Event { time, viewer, kind, piece, .. } = event;
    format!("{time:.3},{viewer},{id},{},{piece}\n", kind.name())
}

/// Writes a trace, with a first line that says what it is.
///
/// # Errors
/// If the output fails.
pub fn write(
    out: &mut dyn Write,
    title: &str,
    storages: &[Storage],
    events: &[Event],
) -> io::Result<()> {
    writeln!(out, "# {title}")?;
    for storage in storages {
        out.write_all(storage_line(storage).as_bytes())?;
    }
    writeln!(out, "{HEADER}")?;
    for event in events {
        out.write_all(event_line(event, storages[event.storage as usize].id).as_bytes())?;
    }
    Ok(())
}
