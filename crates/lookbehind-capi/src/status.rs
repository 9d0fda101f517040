//! What a function says of how it went.

use std::ffi::{c_char, c_int, c_void};

use lookbehind::Error;

use crate::call::{Failure, last_failure};

/// How a call went. The numbers stay as they are.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum lb_status {
    /// It went well.
    LB_OK = 0,
    /// Not yet: what was asked for did not come in time. Ask again.
    LB_PENDING = 1,
    /// Nothing more will come: the end of the film, or of what is wanted.
    LB_END = 2,
    /// The read was cancelled.
    LB_CANCELLED = 3,

    /// No such handle: it was closed, is one of something else, or never was one.
    LB_INVALID_HANDLE = 10,
    /// A pointer is null that must not be.
    LB_NULL_POINTER = 11,
    /// An argument makes no sense.
    LB_INVALID_ARGUMENT = 12,
    /// The address is not pinned.
    LB_NOT_PINNED = 13,
    /// A fault of the library. The call may have been made in part; everything can be used on.
    LB_PANICKED = 14,
    /// A failure that this header has no number for; lb_last_error has the words.
    LB_OTHER = 15,

    /// No room in the budget, and none could be made at once.
    LB_BUDGET_EXHAUSTED = 20,
    /// The storage was removed, or never added.
    LB_UNKNOWN_STORAGE = 21,
    /// The piece is not in the cache.
    LB_MISSING = 22,
    /// The layout has no such piece, no longer, or not yet.
    LB_PIECE_OUT_OF_RANGE = 23,
    /// The bytes reach beyond the end of the piece.
    LB_BLOCK_OUT_OF_RANGE = 24,
    /// A whole piece was given with a length that is not its own.
    LB_WRONG_LENGTH = 25,
    /// The bytes are not those of the piece.
    LB_VERIFY_FAILED = 26,
    /// No block of the piece has been written, or what was written was dropped.
    LB_NOT_OPEN = 27,
    /// Blocks of the piece are missing.
    LB_INCOMPLETE = 28,
    /// The deadline passed.
    LB_TIMED_OUT = 29,
    /// The cache was aborted.
    LB_ABORTED = 30,
    /// The storage was removed in the meantime.
    LB_REMOVED = 31,
    /// Whoever fetched the piece gave up.
    LB_FETCH_FAILED = 32,
    /// A film or a segment of no bytes.
    LB_ZERO_LENGTH = 33,
    /// Pieces of no bytes.
    LB_ZERO_PIECE_LENGTH = 34,
    /// More pieces than the tables take.
    LB_TOO_MANY_PIECES = 35,
    /// A piece of more than half the budget.
    LB_PIECE_TOO_LARGE = 36,
    /// A budget of more than can be counted.
    LB_BUDGET_TOO_LARGE = 37,
    /// A budget that does not even hold the tables.
    LB_BUDGET_TOO_SMALL = 38,
    /// The film is not a live one: its pieces are fixed.
    LB_NOT_SEGMENTED = 39,
    /// The film is a live one, a list of segments.
    LB_NOT_FIXED = 40,
    /// The blocks of the piece lie in too many parts.
    LB_TOO_FRAGMENTED = 41,
    /// Pieces that arrive take all that they may take together.
    LB_ASSEMBLIES_FULL = 42,
    /// The storage has used up its own share of the budget.
    LB_SHARE_EXHAUSTED = 43,
    /// The allocator refused.
    LB_OUT_OF_MEMORY = 44,
    /// The player was closed meanwhile.
    LB_DROPPED = 45,
    /// An offset beyond the end of the film, or before its first segment.
    LB_OFFSET_OUT_OF_RANGE = 46,
    /// The length of a list of hashes is no multiple of one hash.
    LB_HASH_LIST_LENGTH = 47,
}

use lb_status::*;

/// All of them, with their names.
macro_rules! names {
    ($($status:ident),* $(,)?) => {
        const NAMES: &[(lb_status, &str)] = &[$(($status, concat!(stringify!($status), "\0"))),*];
    };
}

names! {
    LB_OK, LB_PENDING, LB_END, LB_CANCELLED,
    LB_INVALID_HANDLE, LB_NULL_POINTER, LB_INVALID_ARGUMENT, LB_NOT_PINNED, LB_PANICKED, LB_OTHER,
    LB_BUDGET_EXHAUSTED, LB_UNKNOWN_STORAGE, LB_MISSING, LB_PIECE_OUT_OF_RANGE,
    LB_BLOCK_OUT_OF_RANGE, LB_WRONG_LENGTH, LB_VERIFY_FAILED, LB_NOT_OPEN, LB_INCOMPLETE,
    LB_TIMED_OUT, LB_ABORTED, LB_REMOVED, LB_FETCH_FAILED, LB_ZERO_LENGTH, LB_ZERO_PIECE_LENGTH,
    LB_TOO_MANY_PIECES, LB_PIECE_TOO_LARGE, LB_BUDGET_TOO_LARGE, LB_BUDGET_TOO_SMALL,
    LB_NOT_SEGMENTED, LB_NOT_FIXED, LB_TOO_FRAGMENTED, LB_ASSEMBLIES_FULL, LB_SHARE_EXHAUSTED,
    LB_OUT_OF_MEMORY, LB_DROPPED, LB_OFFSET_OUT_OF_RANGE, LB_HASH_LIST_LENGTH,
}

impl From<&Error> for lb_status {
    fn from(error: &Error) -> Self {
        match error {
            Error::BudgetExhausted { .. } => LB_BUDGET_EXHAUSTED,
            Error::UnknownStorage { .. } => LB_UNKNOWN_STORAGE,
            Error::Missing { .. } => LB_MISSING,
            Error::PieceOutOfRange { .. } => LB_PIECE_OUT_OF_RANGE,
            Error::BlockOutOfRange { .. } => LB_BLOCK_OUT_OF_RANGE,
            Error::WrongLength { .. } => LB_WRONG_LENGTH,
            Error::VerifyFailed { .. } => LB_VERIFY_FAILED,
            Error::NotOpen { .. } => LB_NOT_OPEN,
            Error::Incomplete { .. } => LB_INCOMPLETE,
            Error::TimedOut => LB_TIMED_OUT,
            Error::Aborted => LB_ABORTED,
            Error::Removed => LB_REMOVED,
            Error::FetchFailed { .. } => LB_FETCH_FAILED,
            Error::ZeroLength => LB_ZERO_LENGTH,
            Error::ZeroPieceLength => LB_ZERO_PIECE_LENGTH,
            Error::TooManyPieces { .. } => LB_TOO_MANY_PIECES,
            Error::PieceTooLarge { .. } => LB_PIECE_TOO_LARGE,
            Error::BudgetTooLarge { .. } => LB_BUDGET_TOO_LARGE,
            Error::BudgetTooSmall { .. } => LB_BUDGET_TOO_SMALL,
            Error::NotSegmented => LB_NOT_SEGMENTED,
            Error::NotFixed => LB_NOT_FIXED,
            Error::TooFragmented { .. } => LB_TOO_FRAGMENTED,
            Error::AssembliesFull { .. } => LB_ASSEMBLIES_FULL,
            Error::ShareExhausted { .. } => LB_SHARE_EXHAUSTED,
            Error::OutOfMemory { .. } => LB_OUT_OF_MEMORY,
            Error::Dropped => LB_DROPPED,
            Error::OffsetOutOfRange { .. } => LB_OFFSET_OUT_OF_RANGE,
            Error::HashListLength { .. } => LB_HASH_LIST_LENGTH,
            // Errors may come that this interface does not know yet.
            _ => LB_OTHER,
        }
    }
}

/// Is given the context of a callback once the library will not use it any more.
pub type lb_drop_fn = Option<unsafe extern "C" fn(context: *mut c_void)>;

/// The name of a status, as "LB_MISSING"; "unknown status" for any other number. Static.
#[unsafe(no_mangle)]
pub extern "C" fn lb_status_name(status: c_int) -> *const c_char {
    let known = NAMES.iter().find(|(known, _)| *known as c_int == status);
    known.map_or("unknown status\0", |(_, name)| name).as_ptr().cast()
}

/// The last failure of this thread in words, with the figures that belong to it; empty if there was
/// none. A success, LB_PENDING and LB_END leave it as it is. Within a callback of a read it says why
/// that read failed.
///
/// Writes as snprintf does: at most `capacity` bytes, the zero at the end included, and returns
/// how long the whole text is without it. `buffer` may be null to ask for the length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_last_error(buffer: *mut c_char, capacity: usize) -> usize {
    let words = last_failure();
    if !buffer.is_null() && capacity > 0 {
        let count = words.len().min(capacity - 1);
        // SAFETY: by contract the buffer has room for `capacity` bytes, and this is less.
        unsafe {
            buffer.copy_from_nonoverlapping(words.as_ptr().cast(), count);
            buffer.add(count).write(0);
        }
    }
    words.len()
}

/// The version of the library, as "0.1.0". Static.
#[unsafe(no_mangle)]
pub extern "C" fn lb_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

impl Failure {
    pub(crate) fn status(&self) -> lb_status {
        match self {
            Failure::Cache(error) => error.into(),
            Failure::Pending => LB_PENDING,
            Failure::End => LB_END,
            Failure::Cancelled => LB_CANCELLED,
            Failure::NoGlobal => LB_MISSING,
            Failure::InvalidHandle { .. } => LB_INVALID_HANDLE,
            Failure::NullPointer(_) => LB_NULL_POINTER,
            Failure::InvalidArgument(_) => LB_INVALID_ARGUMENT,
            Failure::NotPinned { .. } => LB_NOT_PINNED,
            Failure::Panicked(_) => LB_PANICKED,
        }
    }
}

#[cfg(test)]
pub(crate) fn all() -> impl Iterator<Item = (lb_status, &'static str)> {
    NAMES.iter().map(|(status, name)| (*status, name.trim_end_matches('\0')))
}
