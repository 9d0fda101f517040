//! One budget, many films.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use lookbehind::{Cache, Eviction, Reason, StorageId, Wait};

use crate::call::{Context, Failure, Out, guard, timeout};
use crate::handle::{Kind, Table};
use crate::status::{lb_drop_fn, lb_status};

/// What the handles of one cache, of its films and of its players have in common.
pub(crate) struct Shared {
    pub(crate) cache: Cache,
    /// Made by `lb_cache_new`, so that nobody else uses it.
    ours: bool,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.ours {
            // Nobody can write to it any more, and so no read that waits could end.
            self.cache.abort(Wait::No);
        }
    }
}

pub(crate) static CACHES: Table<Shared> = Table::new(Kind::Cache);

static GLOBAL: ArcSwapOption<Shared> = ArcSwapOption::const_empty();

/// The cache behind a handle: for a Rust program that got the handle from C or C++ code. It is no
/// handle itself: a cache that was made by `lb_cache_new` is aborted with the last of those.
#[must_use]
pub fn cache(handle: lb_cache) -> Option<Cache> {
    CACHES.get(handle).ok().map(|shared| shared.cache.clone())
}

/// A handle on a cache of a Rust program's, to be passed to C or C++ code.
///
/// It is closed by `lb_cache_close` like any other. The last handle does not abort the cache, for
/// the Rust program may have further use for it: what C code waits for goes on waiting.
#[must_use]
pub fn adopt(cache: Cache) -> lb_cache {
    CACHES.add(Arc::new(Shared { cache, ours: false }))
}

/// A cache. Closing a handle ends this handle only. When the last handle of a cache, of its
/// storages and of its players is closed, the cache is aborted, as by lb_cache_abort: reads that
/// still wait end with LB_ABORTED. What is pinned stays.
pub type lb_cache = u64;

/// Why a piece was evicted.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum lb_reason {
    /// Another piece needed the room.
    LB_REASON_ROOM = 0,
    /// lb_evict was called.
    LB_REASON_REQUESTED = 1,
    /// Its storage was removed.
    LB_REASON_REMOVED = 2,
    /// lb_cache_shrink made room under a lowered budget.
    LB_REASON_SHRINK = 3,
    /// Its segment fell out of a live film's window.
    LB_REASON_WINDOW = 4,
    /// Another reason, of a later version.
    LB_REASON_OTHER = 5,
}

/// A piece that is about to be evicted.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct lb_eviction {
    /// The storage, as lb_storage_id names it.
    pub storage_id: u64,
    /// The piece.
    pub piece: u32,
    /// Bytes of memory that it takes.
    pub bytes: u64,
    /// Why it goes.
    pub reason: lb_reason,
}

/// Is told of every eviction, once, on the thread that evicts, just before the piece is gone.
pub type lb_evicted_fn =
    Option<unsafe extern "C" fn(context: *mut c_void, eviction: *const lb_eviction)>;

/// How a cache is made. All zero is a cache with the defaults.
#[repr(C)]
pub struct lb_cache_options {
    /// The most bytes of memory that the cache may take; 0 for 256 MiB.
    pub budget: u64,
    /// Whether pieces come on huge pages, where the system has them.
    pub huge_pages: bool,
    /// Is told of evictions; may be null.
    pub evicted: lb_evicted_fn,
    /// What `evicted` is given.
    pub context: *mut c_void,
    /// Is given `context` once the library is done with it; may be null.
    pub drop_context: lb_drop_fn,
}

impl Default for lb_cache_options {
    fn default() -> Self {
        Self {
            budget: 0,
            huge_pages: false,
            evicted: None,
            context: null_mut(),
            drop_context: None,
        }
    }
}

/// A cache at one moment. Bytes count against the budget, with headers and padding.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct lb_cache_statistics {
    /// The limit that was asked for last, in bytes.
    pub budget: u64,
    /// What is binding now: the limit, or what was there when it was lowered and still is.
    pub effective_budget: u64,
    /// Bytes in use: the sum of the six that follow `resident_peak`.
    pub resident: u64,
    /// The most bytes that were ever in use at once.
    pub resident_peak: u64,
    /// Of pieces that are arriving.
    pub assembling: u64,
    /// Of pieces that can be found.
    pub published: u64,
    /// Of evicted pieces that a reader may still be at.
    pub limbo: u64,
    /// Of evicted pieces that are pinned.
    pub held: u64,
    /// Of free buffers kept for reuse.
    pub pooled: u64,
    /// Of tables.
    pub table: u64,
    /// Of pieces that are pinned, evicted or not.
    pub pinned: u64,
    /// Lookups that found their piece.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Pieces published, ever.
    pub publications: u64,
    /// Pieces evicted, ever.
    pub evictions: u64,
    /// Pieces that failed verification, ever.
    pub verify_failures: u64,
    /// Storages now.
    pub storages: u32,
    /// Snapshots that readers look into now.
    pub snapshots: u32,
    /// Reads that wait now.
    pub waits: u64,
}

/// Makes a cache. `options` may be null.
///
/// The context of the options is taken over by the call: whatever comes of it, `drop_context`
/// is called once, before it returns if it fails or `evicted` is null, or else when the cache has
/// gone, some time after the last handle.
///
/// LB_BUDGET_TOO_SMALL below 16 KiB, LB_BUDGET_TOO_LARGE above 512 GiB.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_cache_new(
    options: *const lb_cache_options,
    cache: *mut lb_cache,
) -> lb_status {
    guard(|| {
        let mut builder = Cache::builder();
        // SAFETY: null or readable, by contract.
        if let Some(options) = unsafe { options.as_ref() } {
            let context = Context::new(options.context, options.drop_context);
            if options.budget > 0 {
                builder = builder.budget(options.budget);
            }
            builder = builder.huge_pages(options.huge_pages);
            if let Some(evicted) = options.evicted {
                builder = builder.observer(move |eviction: &Eviction| {
                    let eviction = lb_eviction {
                        storage_id: id_of(eviction.storage),
                        piece: eviction.piece,
                        bytes: eviction.size as u64,
                        reason: reason_of(eviction.reason),
                    };
                    // SAFETY: the function and its context were given together.
                    unsafe { evicted(context.pointer(), &eviction) }
                });
            }
        }
        // SAFETY: null or writable, by contract.
        let out = unsafe { Out::new(cache, "cache")? };
        out.set(CACHES.add(Arc::new(Shared { cache: builder.build()?, ours: true })));
        Ok(())
    })
}

/// Closes a handle on a cache.
#[unsafe(no_mangle)]
pub extern "C" fn lb_cache_close(cache: lb_cache) -> lb_status {
    guard(|| CACHES.remove(cache).map(drop))
}

/// The budget in bytes that was asked for last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_cache_budget(cache: lb_cache, bytes: *mut u64) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { Out::new(bytes, "bytes")? };
        out.set(CACHES.get(cache)?.cache.budget());
        Ok(())
    })
}

/// Changes the budget. It binds at once; what is there above it goes when room is next needed, or
/// by lb_cache_shrink. LB_BUDGET_TOO_SMALL for less than what cannot be evicted.
#[unsafe(no_mangle)]
pub extern "C" fn lb_cache_set_budget(cache: lb_cache, bytes: u64) -> lb_status {
    guard(|| Ok(CACHES.get(cache)?.cache.set_budget(bytes)?))
}

/// Evicts until what is there is within the budget. LB_TIMED_OUT if pins, or readers, still keep
/// more.
#[unsafe(no_mangle)]
pub extern "C" fn lb_cache_shrink(cache: lb_cache, timeout_ms: i64) -> lb_status {
    guard(|| {
        // A call that waits does not keep the cache from ending.
        let cache = CACHES.get(cache)?.cache.clone();
        Ok(cache.shrink(timeout(timeout_ms).unwrap_or(Duration::MAX))?)
    })
}

/// What the cache says about itself. Looks through all tables: for dashboards, not for hot paths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_cache_stats(
    cache: lb_cache,
    stats: *mut lb_cache_statistics,
) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { Out::new(stats, "stats")? };
        let stats = CACHES.get(cache)?.cache.stats();
        out.set(lb_cache_statistics {
            budget: stats.budget,
            effective_budget: stats.effective_budget,
            resident: stats.resident,
            resident_peak: stats.resident_peak,
            assembling: stats.states.assembling,
            published: stats.states.published,
            limbo: stats.states.limbo,
            held: stats.states.held,
            pooled: stats.states.pooled,
            table: stats.states.table,
            pinned: stats.pinned,
            hits: stats.hits,
            misses: stats.misses,
            publications: stats.published,
            evictions: stats.evictions,
            verify_failures: stats.verify_failures,
            storages: stats.storages,
            snapshots: stats.snapshots,
            waits: stats.waits,
        });
        Ok(())
    })
}

/// Ends the cache's work: reads that wait end with LB_ABORTED, later ones and writes fail with it,
/// and what is there can still be read. Idempotent.
///
/// Waits up to `timeout_ms` until calls that are under way have ended; `ended`, unless null, says
/// whether they have.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_cache_abort(
    cache: lb_cache,
    timeout_ms: i64,
    ended: *mut bool,
) -> lb_status {
    guard(|| {
        let cache = CACHES.get(cache)?.cache.clone();
        let wait = match timeout_ms {
            0 => Wait::No,
            ms => Wait::For(timeout(ms).unwrap_or(Duration::MAX)),
        };
        let drained = cache.abort(wait);
        // SAFETY: null or writable, by contract.
        if let Some(out) = unsafe { Out::optional(ended) } {
            out.set(drained);
        }
        Ok(())
    })
}

/// Makes a cache the global one of the process, in place of another. It counts as a handle, and
/// leaves the one that is given as it is.
#[unsafe(no_mangle)]
pub extern "C" fn lb_global_set(cache: lb_cache) -> lb_status {
    guard(|| {
        let shared = CACHES.get(cache)?;
        drop(GLOBAL.swap(Some(shared)));
        Ok(())
    })
}

/// A new handle on the global cache; LB_MISSING if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_global_get(cache: *mut lb_cache) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { Out::new(cache, "cache")? };
        out.set(CACHES.add(GLOBAL.load_full().ok_or(Failure::NoGlobal)?));
        Ok(())
    })
}

/// From now on there is no global cache.
#[unsafe(no_mangle)]
pub extern "C" fn lb_global_clear() -> lb_status {
    guard(|| {
        drop(GLOBAL.swap(None));
        Ok(())
    })
}

/// The number of a storage: its generation above its index.
pub(crate) fn id_of(id: StorageId) -> u64 {
    u64::from(id.generation) << 32 | u64::from(id.index)
}

fn reason_of(reason: Reason) -> lb_reason {
    match reason {
        Reason::Room => lb_reason::LB_REASON_ROOM,
        Reason::Requested => lb_reason::LB_REASON_REQUESTED,
        Reason::Removed => lb_reason::LB_REASON_REMOVED,
        Reason::Shrink => lb_reason::LB_REASON_SHRINK,
        Reason::Window => lb_reason::LB_REASON_WINDOW,
        _ => lb_reason::LB_REASON_OTHER,
    }
}
