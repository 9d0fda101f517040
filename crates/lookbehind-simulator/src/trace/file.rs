//! A trace in a file, plain or compressed, read one line at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Take};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::error::{Error, Fault};
use super::parse::Parser;
use super::{Event, Storage};

/// No line of a trace is nearly as long; so a file without lines takes no memory.
const LONGEST: usize = 1024;
/// The first bytes of what gzip wrote.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A trace that can be read as often as needed.
#[derive(Clone, Debug)]
pub struct TraceFile {
    path: PathBuf,
    bytes: u64,
}

impl TraceFile {
    /// Looks at the file, and reads nothing yet.
    ///
    /// # Errors
    /// If it is not there or not a regular file.
    pub fn new(path: impl Into<PathBuf>) -> Result<TraceFile, Error> {
        let path = path.into();
        // Before it is opened: to open a pipe would wait for ever.
        match std::fs::metadata(&path) {
            Ok(data) if data.is_file() => Ok(TraceFile { path, bytes: data.len() }),
            Ok(_) => Err(Error::NotRegular(path)),
            Err(source) => Err(Error::File { path, source }),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How long the file is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file's name without `.csv` or `.csv.gz`.
    pub fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        name.strip_suffix(".csv").unwrap_or(name).to_owned()
    }

    /// Its events, from the first one on.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn events(&self) -> Result<Events, Error> {
        let failed = |source| Error::File { path: self.path.clone(), source };
        // What is appended from now on belongs to no pass.
        let file = File::open(&self.path).map_err(failed)?.take(self.bytes);
        let mut file = BufReader::with_capacity(1 << 16, file);
        let input = if file.fill_buf().map_err(failed)?.starts_with(&GZIP) {
            Input::Gzip(Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file))))
        } else {
            Input::Plain(file)
        };
        let (line, parser) = (Vec::with_capacity(LONGEST + 1), Parser::default());
        Ok(Events { path: self.path.clone(), bytes: self.bytes, input, line, number: 0, parser })
    }
}

type Compressed = BufReader<Take<File>>;

enum Input {
    Plain(BufReader<Take<File>>),
    Gzip(Box<BufReader<MultiGzDecoder<Compressed>>>),
}

impl Input {
    /// Reads up to the end of a line or the longest length; `false` at the end of the file.
    fn line(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        let longest = LONGEST as u64 + 1;
        let count = match self {
            Input::Plain(input) => input.take(longest).read_until(b'\n', line)?,
            Input::Gzip(input) => input.take(longest).read_until(b'\n', line)?,
        };
        Ok(count > 0)
    }

    /// Bytes of the file that nobody has read.
    fn left(&self) -> u64 {
        match self {
            Input::Plain(input) => input.get_ref().limit(),
            Input::Gzip(input) => input.get_ref().get_ref().get_ref().limit(),
        }
    }
}

/// One pass over a trace.
pub struct Events {
    path: PathBuf,
    bytes: u64,
    input: Input,
    line: Vec<u8>,
    number: u64,
    parser: Parser,
}

impl Events {
    /// The next event, or nothing at the end.
    ///
    /// # Errors
    /// If a line is wrong.
    pub fn next_event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            match self.line() {
                Ok(Step::Event(event)) => return Ok(Some(event)),
                Ok(Step::Other) => {}
                Ok(Step::End) => return Ok(None),
                Err(fault) => {
                    return Err(Error::Line { path: self.path.clone(), line: self.number, fault });
                }
            }
        }
    }

    fn line(&mut self) -> Result<Step, Fault> {
        self.number += 1;
        if !self.input.line(&mut self.line).map_err(Fault::Read)? {
            return if self.parser.storages().is_empty() {
                Err(Fault::NoStorage)
            } else {
                Ok(Step::End)
            };
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        if line.len() > LONGEST {
            return Err(Fault::TooLong(LONGEST));
        }
        let line = std::str::from_utf8(line).map_err(|_| Fault::NotText)?;
        Ok(self.parser.line(line)?.map_or(Step::Other, Step::Event))
    }

    /// The storages that were described so far.
    pub fn storages(&self) -> &[Storage] {
        self.parser.storages()
    }

    /// Bytes of the file that were read so far, to tell how far the pass has come.
    pub fn bytes_read(&self) -> u64 {
        self.bytes - self.input.left().min(self.bytes)
    }
}

enum Step {
    Event(Event),
    Other,
    End,
}
