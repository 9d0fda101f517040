//! A served film, and the state of it that requests are answered with.
//!
//! An [`Edition`] is one state of a film: its validators, and where in the cache its pieces are. A
//! film whose pieces are fetched here goes through several, for its file may change: see
//! [`editions`](crate::editions). One whose pieces somebody else brings has one, and keeps it.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use headers::ETag;
use http::HeaderValue;
use lookbehind::{Extent, Storage};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::conditions::Validators;
use crate::editions::{Editions, Shared};
use crate::source::Source;

/// What is written with percent signs in an address: all but what needs it nowhere.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How long a client should wait before it asks for a film that is being written.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A film in the order in which it was given.
pub struct Film {
    /// Its number, from 0.
    pub index: usize,
    /// Its readable name: the file's, never its path.
    pub name: String,
    /// Its media type.
    pub content_type: HeaderValue,
    supply: Supply,
}

/// Who brings a film's pieces.
enum Supply {
    /// We do, from a source that may change.
    Fetched(Editions),
    /// Somebody else, into a storage that was given. The film stays as it is.
    Given(Arc<Edition>),
}

/// One state of a film, as the cache has it.
pub struct Edition {
    /// The storage with the film's pieces.
    pub storage: Storage,
    /// The byte of the storage at which the film begins.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// What identifies this state to clients.
    pub validators: Validators,
    /// Bytes per second, to turn times into sizes.
    pub bitrate: u64,
    /// The film's name, for the log.
    pub name: String,
    pub(crate) ended: AtomicBool,
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

impl From<io::Error> for Unavailable {
    fn from(error: io::Error) -> Unavailable {
        match error.kind() {
            io::ErrorKind::NotFound => Unavailable::Gone,
            _ => Unavailable::Unreadable(error),
        }
    }
}

impl Film {
    /// A film from this source. Nothing is read yet.
    pub fn new(index: usize, name: String, source: Source, shared: Shared) -> Film {
        let supply = Supply::Fetched(Editions::new(name.clone(), source, shared));
        Film { index, content_type: content_type(&name), name, supply }
    }

    /// A film that lies at `bytes` of this storage, whose pieces are brought by somebody else. `etag`
    /// is strong: it stands for just these bytes. `bitrate` is in bytes per second.
    pub fn given(
        index: usize,
        name: String,
        storage: Storage,
        bytes: Range<u64>,
        etag: ETag,
        bitrate: u64,
    ) -> Film {
        let edition = Arc::new(Edition {
            storage,
            start: bytes.start,
            len: bytes.end.saturating_sub(bytes.start),
            validators: Validators { etag, last_modified: None },
            bitrate,
            name: name.clone(),
            ended: AtomicBool::new(false),
        });
        Film { index, content_type: content_type(&name), name, supply: Supply::Given(edition) }
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

    /// The edition that was current when the film was last looked at.
    pub fn latest(&self) -> Option<Arc<Edition>> {
        match &self.supply {
            Supply::Fetched(editions) => editions.latest(),
            Supply::Given(edition) => Some(Arc::clone(edition)),
        }
    }

    /// The edition of the film as it is now; looks at the file, if it has one.
    pub async fn current(&self) -> Result<Arc<Edition>, Unavailable> {
        match &self.supply {
            Supply::Fetched(editions) => editions.current().await,
            Supply::Given(edition) if edition.len == 0 => Err(Unavailable::Empty),
            Supply::Given(edition) => Ok(Arc::clone(edition)),
        }
    }
}

fn content_type(name: &str) -> HeaderValue {
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    HeaderValue::from_str(guess.as_ref())
        .unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

impl Edition {
    /// Whether the film is known to have another state by now.
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

    /// Where in the storage these bytes of the film are.
    pub fn within_storage(&self, bytes: &Range<u64>) -> Range<u64> {
        self.start.saturating_add(bytes.start)..self.start.saturating_add(bytes.end)
    }
}

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
