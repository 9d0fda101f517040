//! What can be wrong with a trace.

use std::io;
use std::path::PathBuf;

/// A trace cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened or looked at.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A trace is read several times; what comes through a pipe cannot be.
    #[error("{}: not a regular file; a trace is read more than once", .0.display())]
    NotRegular(PathBuf),
    /// A line is wrong.
    #[error("{}: line {line}: {fault}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, the first one being 1.
        line: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// Another pass found other lines.
    #[error("{}: it changed while it was read", .0.display())]
    Changed(PathBuf),
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file, or the decompression of it, ends in an error here.
    #[error("cannot be read: {0}")]
    Read(io::Error),
    /// No line of a trace is nearly as long.
    #[error("longer than {0} bytes")]
    TooLong(usize),
    /// Not text.
    #[error("not UTF-8")]
    NotText,
    /// Fewer or more fields than such a line has.
    #[error("{found} fields instead of {wanted}")]
    Fields {
        /// So many it has.
        found: usize,
        /// So many it should have.
        wanted: usize,
    },
    /// A field has no sense.
    #[error("{field}: {text:?} is not {wanted}")]
    Value {
        /// The field's name.
        field: &'static str,
        /// What stands there.
        text: String,
        /// What should.
        wanted: &'static str,
    },
    /// The line above the events is missing.
    #[error("{0:?} should come before the events")]
    NoHeader(&'static str),
    /// A storage that was described already.
    #[error("storage {0} was described before")]
    StorageAgain(u64),
    /// A storage that was not described.
    #[error("storage {0} is not described above")]
    UnknownStorage(u64),
    /// The file ended without one.
    #[error("the trace ends without a line \"# storage,...\"")]
    NoStorage,
    /// A piece that the storage does not have.
    #[error("storage {storage} has {pieces} pieces, {piece} is not among them")]
    Beyond {
        /// The storage.
        storage: u64,
        /// How many it has.
        pieces: u32,
        /// Which was asked for.
        piece: u64,
    },
    /// Events are in the order of time.
    #[error("{time} s is earlier than {last} s in the event before")]
    Backwards {
        /// Its time.
        time: f64,
        /// That of the event before.
        last: f64,
    },
}
