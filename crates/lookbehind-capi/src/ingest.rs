//! Pieces in: blocks, or whole.

use lookbehind::Progress;

use crate::call::{Out, guard, slice};
use crate::status::lb_status;
use crate::storage::{FILMS, lb_storage, piece_len};

/// What lb_write did.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum lb_progress {
    /// Bytes of the piece are still missing.
    LB_PROGRESS_PARTIAL = 0,
    /// This block completed the piece; it awaits lb_commit, for there is no verifier.
    LB_PROGRESS_COMPLETE = 1,
    /// The piece is published: by this block, or before.
    LB_PROGRESS_PUBLISHED = 2,
}

/// Writes a block of a piece, of any size, in any order, from any thread. Never waits. The bytes
/// are copied; what was written before stays as it is.
///
/// The first block reserves memory for the whole piece: LB_BUDGET_EXHAUSTED, LB_ASSEMBLIES_FULL
/// or LB_SHARE_EXHAUSTED if there is none. LB_VERIFY_FAILED if the piece is complete and wrong: it
/// was dropped. LB_NOT_OPEN if it was abandoned or dropped meanwhile. LB_BUDGET_EXHAUSTED from the
/// last block: the piece is complete, and lb_commit tries again.
///
/// `progress`, unless null, is how far the piece is; `written`, unless null, how many of its bytes
/// are written by now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_write(
    storage: lb_storage,
    piece: u32,
    offset: u32,
    data: *const u8,
    len: usize,
    progress: *mut lb_progress,
    written: *mut u64,
) -> lb_status {
    guard(|| {
        // SAFETY: by contract.
        let block = unsafe { slice(data, len, "data")? };
        let film = FILMS.get(storage)?;
        let (done, bytes) = match film.storage.write(piece, offset, block)? {
            Progress::Partial { written } => (lb_progress::LB_PROGRESS_PARTIAL, Some(written)),
            Progress::Complete => (lb_progress::LB_PROGRESS_COMPLETE, None),
            Progress::Published => (lb_progress::LB_PROGRESS_PUBLISHED, None),
        };
        // SAFETY: null or writable, by contract.
        if let Some(out) = unsafe { Out::optional(progress) } {
            out.set(done);
        }
        // SAFETY: as above.
        if let Some(out) = unsafe { Out::optional(written) } {
            // A segment that has just fallen out of a live film has no length any more.
            let whole = || piece_len(&film.storage, piece).map_or(0, u64::from);
            out.set(bytes.unwrap_or_else(whole));
        }
        Ok(())
    })
}

/// Publishes a piece whose blocks are all written; one that is published already is no failure.
/// LB_NOT_OPEN if nothing of it was written, LB_INCOMPLETE if bytes are missing,
/// LB_BUDGET_EXHAUSTED if readers leave no room for a new version of the table.
#[unsafe(no_mangle)]
pub extern "C" fn lb_commit(storage: lb_storage, piece: u32) -> lb_status {
    guard(|| Ok(FILMS.get(storage)?.storage.commit(piece)?))
}

/// Drops what has arrived of a piece; `dropped`, unless null, says whether anything had.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_abandon(
    storage: lb_storage,
    piece: u32,
    dropped: *mut bool,
) -> lb_status {
    guard(|| {
        let any = FILMS.get(storage)?.storage.abandon(piece)?;
        // SAFETY: null or writable, by contract.
        if let Some(out) = unsafe { Out::optional(dropped) } {
            out.set(any);
        }
        Ok(())
    })
}

/// Publishes a whole piece, after its verification if there is any. Never waits. A piece that is
/// there already is no failure; what is given is not looked at then. LB_WRONG_LENGTH unless `len` is
/// the length of the piece.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_insert(
    storage: lb_storage,
    piece: u32,
    data: *const u8,
    len: usize,
) -> lb_status {
    guard(|| {
        // SAFETY: by contract.
        let bytes = unsafe { slice(data, len, "data")? };
        FILMS.get(storage)?.storage.insert(piece, bytes)?;
        Ok(())
    })
}

/// Evicts the pieces from `first` up to, without, `end` that are there; `count`, unless null, is how
/// many were. LB_BUDGET_EXHAUSTED if readers leave no room for a new version of the table.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_evict(
    storage: lb_storage,
    first: u32,
    end: u32,
    count: *mut usize,
) -> lb_status {
    guard(|| {
        let evicted = FILMS.get(storage)?.storage.evict(first..end)?;
        // SAFETY: null or writable, by contract.
        if let Some(out) = unsafe { Out::optional(count) } {
            out.set(evicted);
        }
        Ok(())
    })
}

/// Whether the piece is there now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_contains(
    storage: lb_storage,
    piece: u32,
    contains: *mut bool,
) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { Out::new(contains, "contains")? };
        out.set(FILMS.get(storage)?.storage.contains(piece));
        Ok(())
    })
}
