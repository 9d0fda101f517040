//! From events to lines.

use std::io::{self, Write};

use super::parse::{HEADER, STORAGE};
use super::{Event, Storage};

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
    for Storage { id, pieces, piece_bytes, piece_seconds, live_window } in storages {
        writeln!(out, "{STORAGE}{id},{pieces},{piece_bytes},{piece_seconds},{live_window}")?;
    }
    writeln!(out, "{HEADER}")?;
    for Event { time, viewer, storage, kind, piece } in events {
        let id = storages[*storage as usize].id;
        writeln!(out, "{time:.3},{viewer},{id},{},{piece}", kind.name())?;
    }
    Ok(())
}
