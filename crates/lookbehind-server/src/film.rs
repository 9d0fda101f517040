//! A served film, and the editions that its file goes through.
//!
//! An [`Edition`] is one state of the file: its stamp, its validators, and a storage of the cache
//! that holds pieces of this state only. When the file is found changed, by a request or by a
//! fetch, the edition ends: its storage is removed, which ends the responses that still read
//! it, and the next request opens a new one. So the bytes of two states never meet.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::HeaderValue;
use lookbehind::{Cache, Extent, Layout, Storage};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::Semaphore;

use crate::conditions::Validators;
use crate::origin::{self, Origin};
use crate::probe;
use crate::source::{Source, Stamp};

/// What is written with percent signs in an address: all but what needs it nowhere.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What all films share.
#[derive(Clone)]
pub struct Shared {
    /// The one cache.
    pub cache: Cache,
    /// The one origin: all fetches together keep to its rate.
    pub origin: Arc<Origin>,
    /// Bytes of a piece.
    pub piece_len: u32,
    /// Bytes per second of films that do not tell.
    pub bitrate: u64,
}

/// A film in the order in which it was given.
pub struct Film {
    /// Its number, from 0.
    pub index: usize,
    /// Its readable name: the file's, never its path.
    pub name: String,
    /// Its media type.
    pub content_type: HeaderValue,
    source: Arc<Source>,
    threads: Threads,
    shared: Shared,
    latest: Mutex<Option<Arc<Edition>>>,
    /// Held while looking at the file, so that an older look never replaces a newer one. When it
    /// was last found being written.
    looking: tokio::sync::Mutex<Option<Instant>>,
}

/// One state of a film's file, and the pieces cached of it.
pub struct Edition {
    /// The film's pieces in the cache.
    pub storage: Storage,
    /// Length in bytes.
    pub len: u64,
    /// What identifies this state to clients.
    pub validators: Validators,
    /// Bytes per second, to turn times into sizes.
    pub bitrate: u64,
    /// The film's name, for the log.
    pub name: String,
    stamp: Stamp,
    source: Arc<Source>,
    threads: Threads,
    ended: AtomicBool,
    /// One bit for each piece that was fetched before.
    fetched: Vec<AtomicU64>,
}

/// Why a film cannot be served now.
#[derive(Debug)]
pub enum Unavailable {
    /// There is no such file any more.
    Gone,
    /// It has no bytes.
    Empty,
    /// It is being written at this moment.
    Changing,
    /// It cannot be read.
    Unreadable(io::Error),
    /// The cache does not take it.
    Refused(lookbehind::Error),
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unavailable::Gone => f.write_str("there is no such file"),
            Unavailable::Empty => f.write_str("the file is empty"),
            Unavailable::Changing => f.write_str("the file is being written"),
            Unavailable::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Unavailable::Refused(error) => write!(f, "the cache refuses it: {error}"),
        }
    }
}

impl Film {
    /// A film from this source. Nothing is read yet.
    pub fn new(index: usize, name: String, source: Source, shared: Shared) -> Film {
        let guess = mime_guess::from_path(&name).first_or_octet_stream();
        let content_type = HeaderValue::from_str(guess.as_ref())
            .unwrap_or(HeaderValue::from_static("application/octet-stream"));
        Film {
            index,
            name,
            content_type,
            source: Arc::new(source),
            threads: Threads::default(),
            shared,
            latest: Mutex::new(None),
            looking: tokio::sync::Mutex::new(None),
        }
    }

    /// The readable name of a path: its last part, without anything a terminal would obey.
    pub fn name_of(path: &Path) -> String {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
    }

    /// Where it is served: its number, and its name to read.
    pub fn url_path(&self) -> String {
        let name = utf8_percent_encode(&self.name, ENCODED);
        format!("/media/{}/{name}", self.index)
    }

    /// The edition that was current when the file was last looked at.
    pub fn latest(&self) -> Option<Arc<Edition>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The edition of the file as it is now; looks at the file.
    pub async fn current(&self) -> Result<Arc<Edition>, Unavailable> {
        let asked = Instant::now();
        let mut changing = self.looking.lock().await;
        // Found out while we waited: else many that ask would wait for one another's looks in turn.
        if changing.is_some_and(|found| found >= asked) {
            return Err(Unavailable::Changing);
        }
        // Three looks, a tick apart, are enough for a file that is not being written.
        for _ in 0..3 {
            let stamp = self.stamp().await;
            if let (Some(known), Ok(stamp)) = (self.latest(), &stamp)
                && known.stamp == *stamp
                && !known.has_ended()
            {
                return Ok(known);
            }
            // The old bytes are not to be had any more, whatever comes of the new ones.
            self.replace(None);
            let stamp = stamp?;
            let wait = stamp.settles_in(SystemTime::now());
            if wait.is_zero() {
                return self.open(stamp).await;
            }
            tokio::time::sleep(wait).await;
        }
        *changing = Some(Instant::now());
        Err(Unavailable::Changing)
    }

    async fn stamp(&self) -> Result<Stamp, Unavailable> {
        let source = Arc::clone(&self.source);
        self.threads.run(move || source.stamp()).await.map_err(Unavailable::from)
    }

    async fn open(&self, stamp: Stamp) -> Result<Arc<Edition>, Unavailable> {
        if stamp.len == 0 {
            return Err(Unavailable::Empty);
        }
        let (source, len) = (Arc::clone(&self.source), stamp.len);
        let probe = move || Ok(probe::bytes_per_second(&source.open()?, len));
        let rate = self.threads.run(probe).await?;
        let layout = Layout::fixed(len, self.shared.piece_len).map_err(Unavailable::Refused)?;
        let pieces = layout.pieces().len();
        let storage = self.shared.cache.add_storage(layout).map_err(Unavailable::Refused)?;
        let etag = self.source.etag(&stamp);
        let edition = Arc::new(Edition {
            storage,
            len,
            validators: Validators {
                // Hexadecimal digits in quotes, which is an entity tag.
                etag: etag.parse().map_err(|_| Unavailable::Gone)?,
                last_modified: stamp.modified.and_then(sayable),
            },
            bitrate: rate.unwrap_or(self.shared.bitrate),
            name: self.name.clone(),
            stamp,
            source: Arc::clone(&self.source),
            threads: self.threads.clone(),
            ended: AtomicBool::new(false),
            fetched: (0..pieces.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
        });
        tokio::spawn(origin::run(Arc::clone(&edition), Arc::clone(&self.shared.origin)));
        self.replace(Some(Arc::clone(&edition)));
        Ok(edition)
    }

    fn replace(&self, edition: Option<Arc<Edition>>) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *latest, edition);
        drop(latest);
        if let Some(old) = old
            && old.end()
        {
            tracing::info!(film = self.name, "the file changed");
        }
    }
}

impl Edition {
    /// Where the bytes come from.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Where the film's files are read.
    pub(crate) fn threads(&self) -> &Threads {
        &self.threads
    }

    /// What this state of the source is known by.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Whether the file is known to have another state by now.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// Ends the edition: waits and reads of its storage fail from now on. False if it had ended.
    pub fn end(&self) -> bool {
        // Relaxed: the flag orders nothing, the storage looks after itself.
        let first = !self.ended.swap(true, Relaxed);
        if first && let Err(error) = self.storage.remove() {
            tracing::debug!(film = self.name, %error, "storage was gone already");
        }
        first
    }

    /// A span in bytes of this film.
    pub fn bytes_in(&self, span: Extent) -> u64 {
        match span {
            Extent::Bytes(bytes) => bytes,
            // Casts of floats saturate.
            Extent::Time(time) => (time.as_secs_f64() * self.bitrate as f64) as u64,
        }
    }

    /// Whether the piece was fetched before.
    pub fn was_fetched(&self, piece: u32) -> bool {
        let word = self.fetched.get(piece as usize / 64);
        word.is_some_and(|word| word.load(Relaxed) & (1 << (piece % 64)) != 0)
    }

    /// Remembers that the piece was fetched.
    pub fn note_fetched(&self, piece: u32) {
        if let Some(word) = self.fetched.get(piece as usize / 64) {
            word.fetch_or(1 << (piece % 64), Relaxed);
        }
    }
}

impl From<io::Error> for Unavailable {
    fn from(error: io::Error) -> Unavailable {
        match error.kind() {
            io::ErrorKind::NotFound => Unavailable::Gone,
            _ => Unavailable::Unreadable(error),
        }
    }
}

/// The time as HTTP can say it: never one to come, and none before 1970, for which it has no words.
fn sayable(modified: SystemTime) -> Option<SystemTime> {
    (modified >= SystemTime::UNIX_EPOCH).then(|| modified.min(SystemTime::now()))
}

/// The threads that a film may keep busy, or hanging. A place goes with the work and not with who
/// asked for it, who may be gone long before.
#[derive(Clone)]
pub(crate) struct Threads(Arc<Semaphore>);

impl Default for Threads {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(origin::BLOCKING)))
    }
}

impl Threads {
    /// Runs a file operation where it may block.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let place = Arc::clone(&self.0).acquire_owned().await.map_err(io::Error::other)?;
        let work = move || {
            let result = work();
            drop(place);
            result
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(io::Error::other(error)), // it panicked, or the runtime is stopping
        }
    }
}

/// How long a client should wait before it asks for a film that is being written.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_never_paths() {
        assert_eq!(Film::name_of(Path::new("/secret/place/film one.mkv")), "film one.mkv");
        assert_eq!(Film::name_of(Path::new("film.mkv")), "film.mkv");
        assert_eq!(Film::name_of(Path::new("a\n\u{1b}[2Jb.mp4")), "a\u{fffd}\u{fffd}[2Jb.mp4");
    }
}
