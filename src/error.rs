//! The one error type of the crate.

use std::{io, sync::Arc};

use crate::{id::StorageId, stats::States};

/// A result whose error is the crate's [`enum@Error`] unless said otherwise.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong.
///
/// That a piece is already there when it arrives once more is no error: the calls that
/// publish say so in what they return. Sizes, lengths and offsets are in bytes; pieces are
/// numbers within one storage.
///
/// An error turns into a [`std::io::Error`] of a fitting kind, and can be had back from it:
///
/// ```
/// use lookbehind::Error;
///
/// let failed = std::io::Error::from(Error::TimedOut);
/// assert_eq!(failed.kind(), std::io::ErrorKind::TimedOut);
/// assert_eq!(failed.downcast::<Error>().ok(), Some(Error::TimedOut));
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no room, none could be made at once, and the caller may not wait or has waited
    /// until its deadline.
    ///
    /// With many live snapshots and much in limbo, the readers keep the memory; with much in
    /// `held`, the handles do.
    #[error(
        "budget exhausted: {needed} bytes needed, {} of {budget} in use ({states}), \
         live snapshots: {snapshots}",
        states.total()
    )]
    BudgetExhausted {
        /// Bytes that were asked for, all overheads included.
        needed: u64,
        /// The effective budget.
        budget: u64,
        /// Where the memory was at that moment.
        states: States,
        /// How many snapshots were live.
        snapshots: u32,
    },
    /// The storage has been removed, or there never was one of this name.
    #[error("unknown storage {id}: removed, or never added")]
    UnknownStorage {
        /// The id that was used.
        id: StorageId,
    },
    /// The piece is not in the cache.
    #[error("piece {piece} is not in the cache")]
    Missing {
        /// The piece that was asked for.
        piece: u32,
    },
    /// The layout has no such piece, no longer, or not yet.
    #[error("piece {piece} is out of range: the layout has {first}..{end}")]
    PieceOutOfRange {
        /// The piece that was asked for.
        piece: u32,
        /// The first piece of the layout.
        first: u32,
        /// One past the last piece of the layout.
        end: u32,
    },
    /// A block reaches beyond the end of its piece.
    #[error("block of {len} bytes at offset {offset} exceeds piece {piece} of {piece_len} bytes")]
    BlockOutOfRange {
        /// The piece written to.
        piece: u32,
        /// Where in the piece the block starts.
        offset: u32,
        /// The length of the block.
        len: u64,
        /// The length of the piece.
        piece_len: u32,
    },
    /// A whole piece was given with a length that is not its own.
    #[error("piece {piece} was given {given} bytes, but is {expected} bytes long")]
    WrongLength {
        /// The piece that was given.
        piece: u32,
        /// The bytes that were given.
        given: u64,
        /// The length of the piece by the layout.
        expected: u32,
    },
    /// The bytes are not those of the piece, or nothing is known to judge them by.
    #[error("piece {piece} failed verification")]
    VerifyFailed {
        /// The piece that was refused.
        piece: u32,
    },
    /// A piece was to be committed of which no block has been written.
    #[error("piece {piece} is not being assembled")]
    NotOpen {
        /// The piece to be committed.
        piece: u32,
    },
    /// A piece was to be committed of which blocks are still missing.
    #[error("piece {piece} is incomplete: {written} of {piece_len} bytes written")]
    Incomplete {
        /// The piece to be committed.
        piece: u32,
        /// The bytes written so far.
        written: u64,
        /// The length of the piece.
        piece_len: u32,
    },
    /// The deadline passed.
    #[error("timed out")]
    TimedOut,
    /// The cache was aborted.
    #[error("the cache was aborted")]
    Aborted,
    /// The storage was removed in the meantime.
    #[error("the storage was removed")]
    Removed,
    /// Whoever fetched the piece gave up.
    #[error("fetching piece {piece} failed: {reason}")]
    FetchFailed {
        /// The piece that did not come.
        piece: u32,
        /// What the fetching side said.
        reason: Arc<str>,
    },
    /// A layout or a segment of no bytes at all.
    #[error("a length of zero bytes was given for a film or a segment")]
    ZeroLength,
    /// A layout with pieces of no bytes.
    #[error("a piece length of zero bytes was given")]
    ZeroPieceLength,
    /// A layout with more pieces than the tables take.
    #[error("{pieces} pieces are too many: the limit is {limit}")]
    TooManyPieces {
        /// How many pieces there would be.
        pieces: u64,
        /// How many there may be.
        limit: u64,
    },
    /// The longest piece takes more than half the budget, so that it could never be assembled.
    #[error(
        "a piece of {piece_len} bytes, with what its assembly takes beside, is over half the \
         budget of {budget} bytes"
    )]
    PieceTooLarge {
        /// The length of the piece.
        piece_len: u32,
        /// The budget.
        budget: u64,
    },
    /// The budget is more than a cache can count.
    #[error("a budget of {budget} bytes is too large: at most {most} can be counted")]
    BudgetTooLarge {
        /// The budget that was asked for.
        budget: u64,
        /// The most that works.
        most: u64,
    },
    /// The budget does not even hold the tables.
    #[error("a budget of {budget} bytes is too small: at least {least} are needed")]
    BudgetTooSmall {
        /// The budget that was asked for.
        budget: u64,
        /// The least that works.
        least: u64,
    },
    /// Segments were appended to or dropped from a layout of equal pieces.
    #[error("the layout is not segmented: its pieces are fixed")]
    NotSegmented,
    /// A layout of equal pieces was needed, and this one is a list of segments.
    #[error("the layout is not fixed: it is a list of segments")]
    NotFixed,
    /// The written ranges of an assembly lie too far apart to be kept track of.
    #[error("piece {piece} is too fragmented: at most {limit} separate ranges are tracked")]
    TooFragmented {
        /// The piece written to.
        piece: u32,
        /// How many separate ranges an assembly may have.
        limit: u32,
    },
    /// Pieces in assembly take all that they may take together.
    #[error(
        "assemblies are full: {needed} bytes needed, {assembling} of at most {limit} assembling"
    )]
    AssembliesFull {
        /// Bytes that the new assembly needs.
        needed: u64,
        /// What assemblies may take together.
        limit: u64,
        /// What they take now.
        assembling: u64,
    },
    /// The storage has used up its own share of the budget.
    #[error("share exhausted: {needed} bytes needed, {used} of {share} in use by the storage")]
    ShareExhausted {
        /// Bytes that were asked for.
        needed: u64,
        /// The share of the storage.
        share: u64,
        /// What the storage uses now.
        used: u64,
    },
    /// The allocator refused, although the budget had room.
    #[error("out of memory: the allocator refused {bytes} bytes")]
    OutOfMemory {
        /// The size of the allocation.
        bytes: u64,
    },
    /// The other side is gone, so that nobody can answer any more.
    #[error("the other side was dropped")]
    Dropped,
    /// An offset beyond the end of the film.
    #[error("offset {offset} is out of range: the end is at {len}")]
    OffsetOutOfRange {
        /// The offset that was asked for.
        offset: u64,
        /// The end offset of the layout.
        len: u64,
    },
    /// A string of concatenated hashes whose length is no multiple of one hash.
    #[error("{given} bytes are no whole number of hashes of {hash_len} bytes")]
    HashListLength {
        /// The bytes that were given.
        given: u64,
        /// The length of one hash.
        hash_len: u32,
    },
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        use io::ErrorKind as Kind;
        // Never `Interrupted` or `WouldBlock`: read loops take them as a call to try again.
        let kind = match &error {
            Error::BudgetExhausted { .. }
            | Error::AssembliesFull { .. }
            | Error::ShareExhausted { .. } => Kind::QuotaExceeded,
            Error::OutOfMemory { .. } => Kind::OutOfMemory,
            Error::UnknownStorage { .. }
            | Error::Missing { .. }
            | Error::NotOpen { .. }
            | Error::Removed => Kind::NotFound,
            Error::VerifyFailed { .. } => Kind::InvalidData,
            Error::TimedOut => Kind::TimedOut,
            Error::Aborted => Kind::ConnectionAborted,
            Error::Dropped => Kind::BrokenPipe,
            Error::NotSegmented | Error::NotFixed => Kind::Unsupported,
            Error::FetchFailed { .. } => Kind::Other,
            Error::PieceOutOfRange { .. }
            | Error::BlockOutOfRange { .. }
            | Error::WrongLength { .. }
            | Error::Incomplete { .. }
            | Error::ZeroLength
            | Error::ZeroPieceLength
            | Error::TooManyPieces { .. }
            | Error::PieceTooLarge { .. }
            | Error::BudgetTooSmall { .. }
            | Error::BudgetTooLarge { .. }
            | Error::TooFragmented { .. }
            | Error::OffsetOutOfRange { .. }
            | Error::HashListLength { .. } => Kind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exhausted_budget_names_the_six_figures_and_the_snapshots() {
        let error = Error::BudgetExhausted {
            needed: 7,
            budget: 22,
            states: States { assembling: 1, published: 2, limbo: 3, held: 4, pooled: 5, table: 6 },
            snapshots: 8,
        };
        assert_eq!(
            error.to_string(),
            "budget exhausted: 7 bytes needed, 21 of 22 in use (assembling 1, published 2, \
             limbo 3, held 4, pooled 5, table 6), live snapshots: 8"
        );
    }

    #[test]
    fn an_error_survives_the_way_through_io() {
        let error = Error::FetchFailed { piece: 4, reason: "origin said 503".into() };
        let io = io::Error::from(error.clone());
        assert_eq!(
            io.to_string(),
            "fetching piece 4 failed: origin said 503",
            "the message must not be lost"
        );
        assert_eq!(io.downcast::<Error>().ok(), Some(error));
    }

    #[test]
    fn an_error_can_cross_threads_and_stays_small() {
        fn sent<T: Send + Sync + 'static>() {}
        sent::<Error>();
        assert!(size_of::<Error>() <= 80, "{}", size_of::<Error>());
    }
}
