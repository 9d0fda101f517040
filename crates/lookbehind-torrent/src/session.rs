//! libtorrent with one torrent, whose pieces go into a cache.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::ptr::NonNull;
use std::time::Duration;

use lookbehind::{Cache, Storage};
use lookbehind_capi::cache::lb_cache_close;
use lookbehind_capi::storage::lb_storage_close;

use crate::ffi::{self, Why};

/// How a session is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes of memory for pieces, those that are arriving included.
    pub budget: u64,
    /// Where peers may connect.
    pub listen: Vec<SocketAddr>,
    /// Finds peers by the distributed hash table.
    pub dht: bool,
    /// Finds peers on the local network.
    pub lsd: bool,
    /// Asks the router, by UPnP or NAT-PMP, to let peers in.
    pub upnp: bool,
    /// Learns of peers from peers.
    pub pex: bool,
    /// Asks the trackers that the torrent names.
    pub trackers: bool,
}

/// A torrent, as it was given.
#[derive(Clone, Debug)]
pub enum Torrent {
    /// The content of its file.
    File(Vec<u8>),
    /// A magnet link: the metadata come from peers.
    Magnet(String),
}

/// What a torrent has, once that is known.
#[derive(Debug)]
pub struct Content {
    /// The session's cache.
    pub cache: Cache,
    /// The storage in it that has the torrent's pieces.
    pub storage: Storage,
    /// The info-hash in hexadecimal digits: of version 1 if there is one, else of version 2.
    pub hash: String,
    /// The files that have bytes.
    pub files: Vec<File>,
}

/// A file of a torrent.
#[derive(Clone, Debug)]
pub struct File {
    /// Its number within the torrent.
    pub index: u32,
    /// Its path within the torrent.
    pub path: PathBuf,
    /// Where its bytes are in the storage.
    pub bytes: Range<u64>,
}

/// How a session does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Bytes of pieces a second that arrive.
    pub rate: u64,
    /// Bytes of pieces that arrived, ever.
    pub received: u64,
    /// Of these, bytes that were wrong, or there already.
    pub wasted: u64,
    /// Peers that are connected.
    pub peers: u32,
}

/// How far a torrent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its metadata are not there, or its storage.
    NotYet,
    /// It can be played.
    Ready,
    /// It has stopped for good, for this reason.
    Failed(String),
}

/// How bad it is what a session tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Peers come and go.
    Debug,
    /// To be known.
    Info,
    /// Something is wrong.
    Warn,
}

/// Why libtorrent did not do what it was told, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(String);

impl Refused {
    pub(crate) fn new(why: impl Into<String>) -> Refused {
        Refused(why.into())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl From<Why> for Refused {
    fn from(why: Why) -> Refused {
        Refused(why.to_string())
    }
}

/// A session with one torrent. Dropping it ends it, and waits for its threads.
#[derive(Debug)]
pub struct Session(NonNull<ffi::RawSession>);

// SAFETY: libtorrent's session and handles may be used on any thread; nothing here is bound to the
// one that made it. Not `Sync`: one at a time, as `session.h` asks for.
unsafe impl Send for Session {}

impl Session {
    /// Starts a session and adds the torrent.
    ///
    /// # Errors
    /// If there is no cache of that budget, or the torrent is none.
    pub fn start(settings: &Settings, torrent: &Torrent) -> Result<Session, Refused> {
        let listen: Vec<String> = settings.listen.iter().map(SocketAddr::to_string).collect();
        let listen = text(listen.join(","))?;
        let raw = ffi::Settings {
            budget: i64::try_from(settings.budget).unwrap_or(i64::MAX),
            listen: listen.as_ptr(),
            dht: settings.dht,
            lsd: settings.lsd,
            upnp: settings.upnp,
            pex: settings.pex,
            trackers: settings.trackers,
        };
        let mut why = Why::new();
        // SAFETY: both are good until the call returns, and so is the text of `listen`.
        let session = unsafe { ffi::lbt_start(&raw const raw, &raw mut why) };
        let session = Session(NonNull::new(session).ok_or(why)?);
        session.add(torrent)?;
        Ok(session)
    }

    fn add(&self, torrent: &Torrent) -> Result<(), Refused> {
        let mut why = Why::new();
        let why_now = &raw mut why;
        let added = match torrent {
            // SAFETY: the session lives, the bytes do until the call returns.
            Torrent::File(bytes) => unsafe {
                ffi::lbt_add_file(self.0.as_ptr(), bytes.as_ptr().cast(), bytes.len(), why_now)
            },
            Torrent::Magnet(link) => {
                let link = text(link.clone())?;
                // SAFETY: the session lives, the text does until the call returns.
                unsafe { ffi::lbt_add_magnet(self.0.as_ptr(), link.as_ptr(), why_now) }
            }
        };
        if added { Ok(()) } else { Err(why.into()) }
    }

    /// Connects to a peer, unless it is connected. If it cannot be reached it is tried a few times; to
    /// call this again has it tried on.
    ///
    /// # Errors
    /// If the torrent is gone.
    pub fn connect(&self, peer: SocketAddr) -> Result<(), Refused> {
        let address = text(peer.ip().to_string())?;
        let mut why = Why::new();
        let (session, why_now) = (self.0.as_ptr(), &raw mut why);
        // SAFETY: the session lives, the text does until the call returns.
        let known = unsafe { ffi::lbt_connect(session, address.as_ptr(), peer.port(), why_now) };
        if known { Ok(()) } else { Err(why.into()) }
    }

    /// Waits at most so long for news, and passes on what there is.
    pub fn wait<F: FnMut(Level, &str)>(&self, time: Duration, mut told: F) {
        unsafe extern "C" fn tell<F: FnMut(Level, &str)>(
            context: *mut c_void,
            level: c_int,
            text: *const c_char,
        ) {
            // SAFETY: `lbt_wait` passes on the context that it was given, which nobody else uses.
            let told = unsafe { &mut *context.cast::<F>() };
            // SAFETY: a text that ends with a zero, good for this call.
            let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
            let level = match level {
                ffi::WARN => Level::Warn,
                ffi::INFO => Level::Info,
                _ => Level::Debug,
            };
            told(level, &text);
        }
        let milliseconds = c_int::try_from(time.as_millis()).unwrap_or(c_int::MAX);
        let context = (&raw mut told).cast();
        // SAFETY: the session lives, the context does until the call returns.
        unsafe { ffi::lbt_wait(self.0.as_ptr(), milliseconds, tell::<F>, context) }
    }

    /// How the torrent is.
    pub fn state(&self) -> (Figures, Progress) {
        let (mut figures, mut why) = (ffi::Figures::default(), Why::new());
        // SAFETY: the session lives, the others do until the call returns.
        let progress = unsafe { ffi::lbt_state(self.0.as_ptr(), &raw mut figures, &raw mut why) };
        let progress = match progress {
            ffi::NOT_YET => Progress::NotYet,
            ffi::READY => Progress::Ready,
            _ => Progress::Failed(why.to_string()),
        };
        let count = |figure: i64| u64::try_from(figure).unwrap_or(0);
        let figures = Figures {
            rate: count(figures.rate),
            received: count(figures.received),
            wasted: count(figures.wasted),
            peers: u32::try_from(figures.peers).unwrap_or(0),
        };
        (figures, progress)
    }

    /// What the torrent has; to be asked when it is [ready](Progress::Ready).
    ///
    /// # Errors
    /// If it is not, or is gone.
    pub fn content(&self) -> Result<Content, Refused> {
        unsafe extern "C" fn note(
            context: *mut c_void,
            index: i32,
            offset: u64,
            size: u64,
            path: *const c_char,
            length: usize,
        ) {
            // SAFETY: `lbt_content_of` passes on the context that it was given, which nobody else
            // uses.
            let files = unsafe { &mut *context.cast::<Vec<File>>() };
            // SAFETY: that many bytes, good for this call.
            let path = unsafe { std::slice::from_raw_parts(path.cast::<u8>(), length) };
            files.push(File {
                index: index.unsigned_abs(),
                path: String::from_utf8_lossy(path).into_owned().into(),
                bytes: offset..offset.saturating_add(size),
            });
        }
        let (mut files, mut why) = (Vec::new(), Why::new());
        let mut content = ffi::Content::default();
        let context = (&raw mut files).cast();
        let (session, into) = (self.0.as_ptr(), &raw mut content);
        // SAFETY: the session lives, the others do until the call returns.
        if !unsafe { ffi::lbt_content_of(session, into, note, context, &raw mut why) } {
            return Err(why.into());
        }
        let cache = lookbehind_capi::cache(content.cache);
        let storage = lookbehind_capi::storage(content.storage);
        lb_cache_close(content.cache);
        lb_storage_close(content.storage);
        let (Some(cache), Some(storage)) = (cache, storage) else {
            return Err(Refused::new("the torrent is gone"));
        };
        let hash = content.hash.iter().take(content.hash_length as usize);
        let hash = hash.map(|byte| format!("{byte:02x}")).collect();
        Ok(Content { cache, storage, hash, files })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: it lives, and is not used again.
        unsafe { ffi::lbt_stop(self.0.as_ptr()) }
    }
}

/// A text as C has it.
pub(crate) fn text(text: String) -> Result<CString, Refused> {
    CString::new(text).map_err(|_| Refused::new("there is a zero byte in it"))
}
