//! The editions that a film's file goes through.
//!
//! When the file is found changed, by a request or by a fetch, the edition ends: its storage is
//! removed, which ends the responses that still read it, and the next request opens a new one,
//! with a storage of its own. So the bytes of two states never meet.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use lookbehind::{Cache, Layout};
use tokio::sync::Semaphore;

use crate::conditions::Validators;
use crate::film::{Edition, Unavailable};
use crate::origin::{self, Origin};
use crate::probe;
use crate::source::{Source, Stamp};

/// What all films from sources share.
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

/// The editions of one film, of which one at most is current.
pub struct Editions {
    /// The film's name, for the log.
    name: String,
    source: Arc<Source>,
    threads: Threads,
    shared: Shared,
    latest: Mutex<Option<Arc<FileState>>>,
    /// Held while looking at the file, so that an older look never replaces a newer one. When it
    /// was last found being written.
    looking: tokio::sync::Mutex<Option<Instant>>,
}

/// One state of a film's file: its edition, and what it takes to fetch that.
pub struct FileState {
    /// What clients see of it.
    pub edition: Arc<Edition>,
    stamp: Stamp,
    source: Arc<Source>,
    threads: Threads,
    /// One bit for each piece that was fetched before.
    fetched: Vec<AtomicU64>,
}

impl Editions {
    /// The editions of what this source has. Nothing is read yet.
    pub fn new(name: String, source: Source, shared: Shared) -> Editions {
        Editions {
            name,
            source: Arc::new(source),
            threads: Threads::default(),
            shared,
            latest: Mutex::new(None),
            looking: tokio::sync::Mutex::new(None),
        }
    }

    /// The edition that was current when the file was last looked at.
    pub fn latest(&self) -> Option<Arc<Edition>> {
        self.known().map(|state| Arc::clone(&state.edition))
    }

    fn known(&self) -> Option<Arc<FileState>> {
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
            if let (Some(known), Ok(stamp)) = (self.known(), &stamp)
                && known.stamp == *stamp
                && !known.edition.has_ended()
            {
                return Ok(Arc::clone(&known.edition));
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
            start: 0,
            len,
            validators: Validators {
                // Hexadecimal digits in quotes, which is an entity tag.
                etag: etag.parse().map_err(|_| Unavailable::Gone)?,
                last_modified: stamp.modified.and_then(sayable),
            },
            bitrate: rate.unwrap_or(self.shared.bitrate),
            name: self.name.clone(),
            ended: AtomicBool::new(false),
        });
        let state = Arc::new(FileState {
            edition: Arc::clone(&edition),
            stamp,
            source: Arc::clone(&self.source),
            threads: self.threads.clone(),
            fetched: (0..pieces.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
        });
        tokio::spawn(origin::run(Arc::clone(&state), Arc::clone(&self.shared.origin)));
        self.replace(Some(state));
        Ok(edition)
    }

    fn replace(&self, state: Option<Arc<FileState>>) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *latest, state);
        drop(latest);
        if let Some(old) = old
            && old.edition.end()
        {
            tracing::info!(film = self.name, "the file changed");
        }
    }
}

impl FileState {
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
