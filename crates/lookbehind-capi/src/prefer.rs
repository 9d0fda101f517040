//! Which pieces should stay.

use crate::call::{Out, guard, slice};
use crate::status::lb_status;
use crate::storage::{FILMS, lb_storage};

/// How much of the look-behind that was named is there.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct lb_lookbehind_statistics {
    /// Pieces that were named and are there.
    pub available: u32,
    /// Pieces that were named.
    pub named: u32,
    /// Bytes of memory that the available ones take.
    pub bytes: u64,
}

/// Prefers the pieces from `first` up to, without, `end` when room is needed, as the head and tail of
/// a film with which every player begins. A preference, not a promise. Adds to what was reserved
/// before.
#[unsafe(no_mangle)]
pub extern "C" fn lb_reserve(storage: lb_storage, first: u32, end: u32) -> lb_status {
    guard(|| {
        FILMS.get(storage)?.storage.reserve(first..end);
        Ok(())
    })
}

/// Takes back all reservations of the storage.
#[unsafe(no_mangle)]
pub extern "C" fn lb_unreserve(storage: lb_storage) -> lb_status {
    guard(|| {
        FILMS.get(storage)?.storage.unreserve();
        Ok(())
    })
}

/// Prefers these pieces as if they lay behind a playhead, in place of those named before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_lookbehind_set(
    storage: lb_storage,
    pieces: *const u32,
    count: usize,
) -> lb_status {
    guard(|| {
        // SAFETY: by contract.
        let pieces = unsafe { slice(pieces, count, "pieces")? };
        FILMS.get(storage)?.storage.set_lookbehind(pieces.iter().copied());
        Ok(())
    })
}

/// Names no look-behind any more.
#[unsafe(no_mangle)]
pub extern "C" fn lb_lookbehind_clear(storage: lb_storage) -> lb_status {
    guard(|| {
        FILMS.get(storage)?.storage.clear_lookbehind();
        Ok(())
    })
}

/// Whether a seek back to that piece finds it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_lookbehind_available(
    storage: lb_storage,
    piece: u32,
    available: *mut bool,
) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { Out::new(available, "available")? };
        out.set(FILMS.get(storage)?.storage.is_lookbehind_available(piece));
        Ok(())
    })
}

/// How much of the look-behind that was named is there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_lookbehind_stats(
    storage: lb_storage,
    stats: *mut lb_lookbehind_statistics,
) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { Out::new(stats, "stats")? };
        let stats = FILMS.get(storage)?.storage.lookbehind_stats();
        let (available, named, bytes) = (stats.available, stats.protected, stats.bytes);
        out.set(lb_lookbehind_statistics { available, named, bytes });
        Ok(())
    })
}
