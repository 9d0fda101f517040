//! Traces are files: one that is gone with its test, and how it is packed.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;
use lookbehind_simulator::trace::TraceFile;

use crate::input::Input;

/// What compressed files begin with.
pub(super) const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Removed when dropped.
pub(super) struct File(PathBuf);

impl File {
    pub(super) fn new(content: &[u8]) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lookbehind-fuzz-{}-{number}.csv", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, content).unwrap();
        Self(path)
    }

    pub(super) fn trace(&self) -> TraceFile {
        TraceFile::new(&self.0).unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    /// Compressed in two parts, the first of so many bytes, one behind the other.
    Twice(usize),
    /// Compressed, and then so many bytes are left, or fewer.
    Cut(usize),
}

impl Packing {
    pub(super) fn choose(input: &mut Input<'_>) -> Self {
        match input.below(6) {
            0..3 => Self::Plain,
            3 => Self::Gzip,
            4 => Self::Twice(input.index(2000)),
            _ => Self::Cut(input.index(1000)),
        }
    }

    pub(super) fn is_cut(self) -> bool {
        matches!(self, Self::Cut(_))
    }

    pub(super) fn pack(self, text: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => text.to_vec(),
            Self::Gzip => gzip(text),
            Self::Twice(at) => {
                let (first, second) = text.split_at(at.min(text.len()));
                [gzip(first), gzip(second)].concat()
            }
            Self::Cut(left) => {
                let mut packed = gzip(text);
                // Still to be told from text, and never whole.
                packed.truncate(left.clamp(GZIP.len(), packed.len() - 1));
                packed
            }
        }
    }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text).unwrap();
    gzip.finish().unwrap()
}
