//! Where a film's bytes come from, and how to tell one state of them from another.
//!
//! A state is known by its [`Stamp`]. A stamp is taken from the open handle that is read from,
//! before and after reading; if both are the one that the film was opened with, the bytes
//! between are that state's. This holds because a stamp is only trusted once it has
//! [settled](Stamp::settles_in): a later write then cannot bear the same time.

use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

/// File times move in steps of the kernel's tick, 10 ms at most.
const TICK: Duration = Duration::from_millis(20);
/// A time without a fraction may come from a file system that keeps no finer ones.
const COARSE_TICK: Duration = Duration::from_millis(2100);

/// Where a film's bytes come from.
#[derive(Debug)]
pub enum Source {
    /// A file; opened anew for each fetch, so that a replaced one is noticed.
    File(PathBuf),
    /// Bytes that the program carries.
    Memory(&'static [u8]),
    /// Bytes from elsewhere; so far only tests have such, which stall and lie.
    Remote(Arc<dyn Remote>),
}

/// Bytes from elsewhere. Nothing that it says is trusted; its calls may block.
pub trait Remote: fmt::Debug + Send + Sync {
    /// The present state.
    fn stamp(&self) -> io::Result<Stamp>;

    /// Fills `buffer` from `offset`; an error if there is less.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// What identifies one state of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Length in bytes.
    pub len: u64,
    /// Time of the last change of the content, if the source has one.
    pub modified: Option<SystemTime>,
    /// Time of the last change of content or attributes, and the file's place on its disk: a
    /// tool can set `modified` back, but not these.
    identity: [i128; 4],
}

/// A source opened for reading.
#[derive(Debug)]
pub enum Opened {
    /// An open file.
    File(File),
    /// Bytes that the program carries.
    Memory(&'static [u8]),
    /// Bytes from elsewhere.
    Remote(Arc<dyn Remote>),
}

impl Source {
    /// The present state. Blocks on the file system.
    pub fn stamp(&self) -> io::Result<Stamp> {
        match self {
            Source::File(path) => Stamp::of(&std::fs::metadata(path)?),
            Source::Memory(bytes) => Ok(Stamp::memory(bytes)),
            Source::Remote(remote) => remote.stamp(),
        }
    }

    /// Opens the source. Blocks on the file system.
    pub fn open(&self) -> io::Result<Opened> {
        match self {
            Source::File(path) => {
                // To open a pipe would wait for its writer.
                Stamp::of(&std::fs::metadata(path)?)?;
                File::open(path).map(Opened::File)
            }
            Source::Memory(bytes) => Ok(Opened::Memory(bytes)),
            Source::Remote(remote) => Ok(Opened::Remote(Arc::clone(remote))),
        }
    }

    /// An entity tag for the state with this stamp. It tells nothing about the file system.
    pub fn etag(&self, stamp: &Stamp) -> String {
        let mut hash = Sha256::new();
        match self {
            Source::File(_) | Source::Remote(_) => {
                hash.update(stamp.len.to_le_bytes());
                hash.update(nanos(stamp.modified).to_le_bytes());
                for part in stamp.identity {
                    hash.update(part.to_le_bytes());
                }
            }
            Source::Memory(bytes) => hash.update(bytes),
        }
        let hex: String = hash.finalize()[..16].iter().map(|b| format!("{b:02x}")).collect();
        format!("\"{hex}\"")
    }
}

impl Opened {
    /// The state of what is open. Blocks on the file system.
    pub fn stamp(&self) -> io::Result<Stamp> {
        match self {
            Opened::File(file) => Stamp::of(&file.metadata()?),
            Opened::Memory(bytes) => Ok(Stamp::memory(bytes)),
            Opened::Remote(remote) => remote.stamp(),
        }
    }

    /// Fills `buffer` from `offset`; an error if the source ends before.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Opened::File(file) => read_file(file, buffer, offset),
            Opened::Remote(remote) => remote.read_exact_at(buffer, offset),
            Opened::Memory(bytes) => {
                let part = usize::try_from(offset)
                    .ok()
                    .and_then(|from| bytes.get(from..from.checked_add(buffer.len())?))
                    .ok_or(io::ErrorKind::UnexpectedEof)?;
                buffer.copy_from_slice(part);
                Ok(())
            }
        }
    }
}

#[cfg(unix)]
fn read_file(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(not(unix))]
fn read_file(mut file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    use std::io::{Read, Seek};
    // Each fetch has a handle of its own, so that moving its position disturbs nobody.
    file.seek(io::SeekFrom::Start(offset))?;
    file.read_exact(buffer)
}

impl Stamp {
    /// The stamp of a source that numbers its states.
    pub fn numbered(len: u64, number: u64) -> Stamp {
        Stamp { len, modified: None, identity: [number.into(), 0, 0, 0] }
    }

    fn memory(bytes: &[u8]) -> Stamp {
        Stamp { len: bytes.len() as u64, modified: None, identity: [0; 4] }
    }

    fn of(meta: &Metadata) -> io::Result<Stamp> {
        if meta.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
        }
        if !meta.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let identity = identity(meta);
        Ok(Stamp { len: meta.len(), modified: meta.modified().ok(), identity })
    }

    /// How long to wait until a further write is sure to change the stamp; zero if it is now.
    pub fn settles_in(&self, now: SystemTime) -> Duration {
        let wait = |time: SystemTime| {
            let whole = nanos(Some(time)) % 1_000_000_000 == 0;
            let tick = if whole { COARSE_TICK } else { TICK };
            match now.duration_since(time) {
                Ok(age) => tick.saturating_sub(age),
                // A time to come was set by a tool; a write would set the clock's.
                Err(_) => Duration::ZERO,
            }
        };
        // Both: with the time of the content set back, only that of the attributes tells writes.
        let times = [self.modified, self.changed()];
        times.into_iter().flatten().map(wait).max().unwrap_or_default()
    }

    /// Time of the last change of content or attributes, where it is known.
    #[cfg(unix)]
    fn changed(&self) -> Option<SystemTime> {
        let [_, _, seconds, fraction] = self.identity;
        let since = Duration::new(u64::try_from(seconds).ok()?, u32::try_from(fraction).ok()?);
        SystemTime::UNIX_EPOCH.checked_add(since)
    }

    #[cfg(not(unix))]
    fn changed(&self) -> Option<SystemTime> {
        None
    }
}

#[cfg(unix)]
fn identity(meta: &Metadata) -> [i128; 4] {
    use std::os::unix::fs::MetadataExt;
    let changed = (meta.ctime().into(), meta.ctime_nsec().into());
    [meta.dev().into(), meta.ino().into(), changed.0, changed.1]
}

#[cfg(not(unix))]
fn identity(meta: &Metadata) -> [i128; 4] {
    [nanos(meta.created().ok()), 0, 0, 0]
}

/// Nanoseconds since 1970, before it negative.
fn nanos(time: Option<SystemTime>) -> i128 {
    let Some(time) = time else { return 0 };
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        // A Duration has at most 2^64 seconds, which fits by far.
        Ok(since) => since.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_reads_within_its_bounds_only() {
        let opened = Source::Memory(b"0123456789").open().unwrap();
        let mut four = [0; 4];
        opened.read_exact_at(&mut four, 6).unwrap();
        assert_eq!(&four, b"6789");
        for offset in [7, 10, u64::MAX] {
            let error = opened.read_exact_at(&mut four, offset).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn a_stamp_settles_after_a_tick() {
        let base = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let at = |modified| Stamp { len: 1, modified: Some(modified), identity: [0; 4] };
        let fine = base + Duration::from_millis(1);
        assert_eq!(at(fine).settles_in(fine), TICK);
        assert_eq!(at(fine).settles_in(fine + TICK), Duration::ZERO);
        assert_eq!(at(base).settles_in(base), COARSE_TICK);
        assert_eq!(at(fine).settles_in(base), Duration::ZERO);
    }

    #[cfg(unix)]
    #[test]
    fn a_time_set_back_settles_no_sooner() {
        let written = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 5_000_000);
        let old = Some(written - Duration::from_secs(1000));
        let stamp = Stamp { len: 1, modified: old, identity: [0, 0, 1_000_000_000, 5_000_000] };
        assert_eq!(stamp.settles_in(written), TICK);
        assert_eq!(stamp.settles_in(written + TICK), Duration::ZERO);
    }

    #[test]
    fn tags_differ_where_stamps_do() {
        let file = Source::File("unused".into());
        let one = Stamp { len: 1, modified: None, identity: [1, 2, 3, 4] };
        let two = Stamp { identity: [1, 2, 3, 5], ..one.clone() };
        assert_ne!(file.etag(&one), file.etag(&two));
        assert_eq!(file.etag(&one), file.etag(&one.clone()));
    }
}
