//! Films.

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::time::Duration;

use lookbehind::{
    Layout, Sha1Verifier, Sha256Verifier, Storage, StorageId, StorageOptions, Verifier, verify_fn,
};

use crate::cache::{CACHES, Shared, id_of, lb_cache};
use crate::call::{Context, Failure, Out, Result, guard, slice};
use crate::handle::{Kind, Table};
use crate::status::{lb_drop_fn, lb_status};

/// What a handle on a storage stands for.
///
/// The cache is aborted with the last [`Shared`]. A call that waits must not keep it from that:
/// it clones the storage, and lets go of this.
pub(crate) struct Film {
    pub(crate) storage: Storage,
    pub(crate) cache: Arc<Shared>,
}

pub(crate) static FILMS: Table<Film> = Table::new(Kind::Storage);

/// The storage of a handle, apart from what keeps its cache.
pub(crate) fn storage_of(storage: lb_storage) -> Result<Storage> {
    Ok(FILMS.get(storage)?.storage.clone())
}

/// The storage behind a handle: for a Rust program that got the handle from C or C++ code.
#[must_use]
pub fn storage(handle: lb_storage) -> Option<Storage> {
    storage_of(handle).ok()
}

/// A storage: one film within a cache. Closing the handle leaves the film where it is.
pub type lb_storage = u64;

/// Says whether these are the bytes of the piece. Comes on the threads that write, several at once.
pub type lb_verify_fn = Option<
    unsafe extern "C" fn(context: *mut c_void, piece: u32, data: *const u8, len: usize) -> bool,
>;

/// How a storage is used. All zero is a storage with the defaults. At most one of `sha1`, `sha256`
/// and `verify` may be set. A storage that has one publishes each piece when its last block is
/// written, if it is right; without one lb_commit does, unjudged.
#[repr(C)]
pub struct lb_storage_options {
    /// The most bytes that its pieces may take; 0 for no limit of its own.
    pub share: u64,
    /// Never drops what has arrived of a piece for that of another one.
    pub keep_assemblies: bool,
    /// Lets players read what has been written of a piece that is still arriving.
    pub readable_prefix: bool,
    /// How long a piece may arrive without progress, in ms; 0 for a minute.
    pub assembly_limit_ms: u64,
    /// The segments that a live film keeps; 0 for all.
    pub window: u32,
    /// SHA-1 hashes, 20 bytes for each piece; copied. A piece beyond the list is wrong, whatever its
    /// bytes: LB_VERIFY_FAILED. An empty list is none.
    pub sha1: *const u8,
    /// The length of `sha1` in bytes.
    pub sha1_len: usize,
    /// The same of SHA-256, 32 bytes for each piece.
    pub sha256: *const u8,
    /// The length of `sha256` in bytes.
    pub sha256_len: usize,
    /// Judges whole pieces.
    pub verify: lb_verify_fn,
    /// What `verify` is given.
    pub context: *mut c_void,
    /// Is given `context` once the library is done with it; may be null.
    pub drop_context: lb_drop_fn,
}

impl Default for lb_storage_options {
    fn default() -> Self {
        Self {
            share: 0,
            keep_assemblies: false,
            readable_prefix: false,
            assembly_limit_ms: 0,
            window: 0,
            sha1: null(),
            sha1_len: 0,
            sha256: null(),
            sha256_len: 0,
            verify: None,
            context: null_mut(),
            drop_context: None,
        }
    }
}

/// A range of pieces: from `first` up to, without, `end`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct lb_range {
    /// The first piece.
    pub first: u32,
    /// One past the last piece.
    pub end: u32,
}

/// What a storage is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct lb_storage_description {
    /// Its number within the cache.
    pub id: u64,
    /// Where the film ends, in bytes; a live film's grows.
    pub total_len: u64,
    /// The first piece; above 0 once segments of a live film were dropped.
    pub first_piece: u32,
    /// One past the last piece.
    pub end_piece: u32,
    /// The number of the current version: each publication and eviction makes a new one.
    pub version: u64,
}

/// A storage at one moment.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct lb_storage_statistics {
    /// The number of the current version.
    pub version: u64,
    /// Pieces present.
    pub present_pieces: u32,
    /// Pieces that are arriving.
    pub assembling_pieces: u32,
    /// Bytes of memory that the pieces present take.
    pub present_bytes: u64,
    /// Pieces evicted, ever.
    pub evictions: u64,
    /// Reads that wait now.
    pub waits: u64,
    /// Windows of players, of closed ones that linger included.
    pub windows: u64,
}

/// Adds a film of `total_len` bytes in pieces of `piece_len`, the last of which may be shorter.
/// `options` may be null; their context is taken over as by lb_cache_new, and dropped when the
/// film has gone, or at once if `verify` is null.
///
/// LB_ZERO_LENGTH, LB_ZERO_PIECE_LENGTH, LB_TOO_MANY_PIECES above 2^24, LB_PIECE_TOO_LARGE for
/// pieces of more than half the budget, LB_BUDGET_TOO_SMALL or LB_BUDGET_EXHAUSTED without room
/// for the table, LB_HASH_LIST_LENGTH, LB_INVALID_ARGUMENT for several verifiers, LB_ABORTED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_storage_add(
    cache: lb_cache,
    total_len: u64,
    piece_len: u32,
    options: *const lb_storage_options,
    storage: *mut lb_storage,
) -> lb_status {
    guard(|| {
        // SAFETY: null, or readable and writable, by contract.
        unsafe { add(cache, || Ok(Layout::fixed(total_len, piece_len)?), options, storage) }
    })
}

/// Adds a live film, of no segments as yet: a segment is a piece of any length. Otherwise as
/// lb_storage_add.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_storage_add_live(
    cache: lb_cache,
    options: *const lb_storage_options,
    storage: *mut lb_storage,
) -> lb_status {
    guard(|| {
        // SAFETY: null, or readable and writable, by contract.
        unsafe { add(cache, || Ok(Layout::segments()), options, storage) }
    })
}

/// # Safety
/// As for the two above.
unsafe fn add(
    cache: lb_cache,
    layout: impl FnOnce() -> Result<Layout>,
    options: *const lb_storage_options,
    storage: *mut lb_storage,
) -> Result<()> {
    // First of all, for it takes the context over.
    // SAFETY: null or readable, by contract.
    let options = unsafe { options_of(options)? };
    // SAFETY: null or writable, by contract.
    let out = unsafe { Out::new(storage, "storage")? };
    let cache = CACHES.get(cache)?;
    let storage = cache.cache.add_storage_with(layout()?, options)?;
    out.set(FILMS.add(Arc::new(Film { storage, cache })));
    Ok(())
}

/// # Safety
/// The pointer is null, or the options are readable, and the lists that they name.
unsafe fn options_of(options: *const lb_storage_options) -> Result<StorageOptions> {
    let new = StorageOptions::default();
    // SAFETY: null or readable, by contract.
    let Some(options) = (unsafe { options.as_ref() }) else { return Ok(new) };
    let context = Context::new(options.context, options.drop_context);
    // SAFETY: by contract.
    let sha1 = unsafe { slice(options.sha1, options.sha1_len, "sha1")? };
    // SAFETY: by contract.
    let sha256 = unsafe { slice(options.sha256, options.sha256_len, "sha256")? };
    let verifier: Option<Arc<dyn Verifier>> = match (sha1, sha256, options.verify) {
        ([], [], None) => None,
        (hashes, [], None) => Some(Arc::new(Sha1Verifier::from_concatenated(hashes)?)),
        ([], hashes, None) => Some(Arc::new(Sha256Verifier::from_concatenated(hashes)?)),
        ([], [], Some(verify)) => Some(Arc::new(verify_fn(move |piece, bytes: &[u8]| {
            // SAFETY: the function and its context were given together.
            unsafe { verify(context.pointer(), piece, bytes.as_ptr(), bytes.len()) }
        }))),
        _ => return Err(Failure::InvalidArgument("more than one of sha1, sha256 and verify")),
    };
    let mut new = new.keep_assemblies(options.keep_assemblies);
    new = new.readable_prefix(options.readable_prefix);
    if let Some(verifier) = verifier {
        new = new.verifier(verifier);
    }
    if options.share > 0 {
        new = new.share(options.share);
    }
    if options.assembly_limit_ms > 0 {
        new = new.assembly_limit(Duration::from_millis(options.assembly_limit_ms));
    }
    if options.window > 0 {
        new = new.window(options.window);
    }
    Ok(new)
}

/// Appends a segment of `len` bytes to a live film; `piece`, unless null, is its number.
/// LB_NOT_SEGMENTED for another film.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_storage_append(
    storage: lb_storage,
    len: u32,
    piece: *mut u32,
) -> lb_status {
    guard(|| {
        let number = FILMS.get(storage)?.storage.append_segment(len)?;
        // SAFETY: null or writable, by contract.
        if let Some(out) = unsafe { Out::optional(piece) } {
            out.set(number);
        }
        Ok(())
    })
}

/// Lets the segments before `piece` fall out of a live film: they are evicted, and gone for good. Reads
/// that wait for them end with LB_PIECE_OUT_OF_RANGE.
#[unsafe(no_mangle)]
pub extern "C" fn lb_storage_drop_before(storage: lb_storage, piece: u32) -> lb_status {
    guard(|| Ok(FILMS.get(storage)?.storage.drop_segments_before(piece)?))
}

/// Says that a live film is complete: players at its end find LB_END there.
#[unsafe(no_mangle)]
pub extern "C" fn lb_storage_end(storage: lb_storage) -> lb_status {
    guard(|| {
        FILMS.get(storage)?.storage.end();
        Ok(())
    })
}

/// A new handle on the storage of that number; LB_UNKNOWN_STORAGE if there is none any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_storage_find(
    cache: lb_cache,
    storage_id: u64,
    storage: *mut lb_storage,
) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { Out::new(storage, "storage")? };
        let cache = CACHES.get(cache)?;
        let (generation, index) = ((storage_id >> 32) as u32, storage_id as u32);
        let storage = cache.cache.storage(StorageId { index, generation })?;
        out.set(FILMS.add(Arc::new(Film { storage, cache })));
        Ok(())
    })
}

/// The number of the storage within its cache; none is used twice.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_storage_id(storage: lb_storage, storage_id: *mut u64) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { Out::new(storage_id, "storage_id")? };
        out.set(id_of(FILMS.get(storage)?.storage.id()));
        Ok(())
    })
}

/// A new handle on the storage's cache.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_storage_cache(storage: lb_storage, cache: *mut lb_cache) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { Out::new(cache, "cache")? };
        out.set(CACHES.add(Arc::clone(&FILMS.get(storage)?.cache)));
        Ok(())
    })
}

/// Closes a handle on a storage.
#[unsafe(no_mangle)]
pub extern "C" fn lb_storage_close(storage: lb_storage) -> lb_status {
    guard(|| FILMS.remove(storage).map(drop))
}

/// Removes the film from the cache: its pieces are evicted, its reads end with LB_REMOVED, and what
/// writes, reads or evicts pieces of it fails with LB_UNKNOWN_STORAGE. Its handles are still to be
/// closed. What is pinned stays.
#[unsafe(no_mangle)]
pub extern "C" fn lb_storage_remove(storage: lb_storage) -> lb_status {
    guard(|| Ok(FILMS.get(storage)?.storage.remove()?))
}

/// What the storage is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_storage_info(
    storage: lb_storage,
    info: *mut lb_storage_description,
) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { Out::new(info, "info")? };
        let film = FILMS.get(storage)?;
        let layout = film.storage.layout();
        out.set(lb_storage_description {
            id: id_of(film.storage.id()),
            total_len: layout.total_len(),
            first_piece: layout.pieces().start,
            end_piece: layout.pieces().end,
            version: film.storage.version(),
        });
        Ok(())
    })
}

/// The length of a piece in bytes, there or not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_piece_len(storage: lb_storage, piece: u32, len: *mut u32) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { Out::new(len, "len")? };
        out.set(piece_len(&FILMS.get(storage)?.storage, piece)?);
        Ok(())
    })
}

pub(crate) fn piece_len(storage: &Storage, piece: u32) -> Result<u32> {
    let layout = storage.layout();
    let pieces = layout.pieces();
    let (first, end) = (pieces.start, pieces.end);
    let unknown = lookbehind::Error::PieceOutOfRange { piece, first, end };
    layout.piece_len(piece).ok_or(Failure::Cache(unknown))
}

/// What the storage says about itself. Looks through its table: for dashboards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_storage_stats(
    storage: lb_storage,
    stats: *mut lb_storage_statistics,
) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { Out::new(stats, "stats")? };
        let stats = FILMS.get(storage)?.storage.stats();
        out.set(lb_storage_statistics {
            version: stats.version,
            present_pieces: stats.present_pieces,
            assembling_pieces: stats.assembling_pieces,
            present_bytes: stats.present_bytes,
            evictions: stats.evictions,
            waits: stats.waits,
            windows: stats.windows.len() as u64,
        });
        Ok(())
    })
}

/// The runs of pieces present, in order: writes as many as `capacity` allows, and to `count` how
/// many there are. `runs` may be null if `capacity` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_storage_runs(
    storage: lb_storage,
    runs: *mut lb_range,
    capacity: usize,
    count: *mut usize,
) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { Out::new(count, "count")? };
        if runs.is_null() && capacity > 0 {
            return Err(Failure::NullPointer("runs"));
        }
        let reader = FILMS.get(storage)?.storage.reader();
        let mut found = 0;
        for run in reader.snapshot().runs() {
            if found < capacity {
                // SAFETY: within the capacity, which is writable by contract.
                unsafe { runs.add(found).write(lb_range { first: run.start, end: run.end }) }
            }
            found += 1;
        }
        out.set(found);
        Ok(())
    })
}
