//! One film: the handle that users have, and what stands behind it.

use std::cell::Cell;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::evict::observe::Reason;
use crate::film::Film;
use crate::id::StorageId;
use crate::ingest::assembly::{Arriving, Written};
use crate::ingest::verify::Verifier;
use crate::layout::Layout;
use crate::read::held::Held;
use crate::read::player::{Player, PlayerConfig};
use crate::read::wait::WaitPiece;
use crate::read::wanted::Wanted;
use crate::retire::{Interval, Reclaim, Span};
use crate::shared::Owner;
use crate::sync::{Guard, Ordering, fence};
use crate::table::snapshot::Reader;

/// How a storage is used.
#[derive(Clone, Default)]
#[must_use]
pub struct StorageOptions {
    pub(crate) verifier: Option<Arc<dyn Verifier>>,
    pub(crate) share: Option<u64>,
    pub(crate) readable_prefix: bool,
    pub(crate) assembly_limit: Option<Duration>,
    pub(crate) keep_assemblies: bool,
    pub(crate) window: Option<u32>,
}

impl StorageOptions {
    /// Judges each piece when it is complete, and publishes it: no `commit` is needed then.
    pub fn verifier(mut self, verifier: Arc<dyn Verifier>) -> Self {
        self.verifier = Some(verifier);
        self
    }

    /// The most bytes that pieces of this storage may take, published or arriving; beyond it,
    /// its own pieces make room. Writers that come at once each find the room that there is: each
    /// but one may exceed the share by a piece, until the next one comes.
    pub fn share(mut self, bytes: u64) -> Self {
        self.share = Some(bytes);
        self
    }

    /// Lets players read what is written of a piece that is still arriving, unverified: for
    /// origins that are trusted. Off by default.
    pub fn readable_prefix(mut self, allow: bool) -> Self {
        self.readable_prefix = allow;
        self
    }

    /// The segments that a live film keeps: appending one more lets the oldest fall out, as
    /// [`Storage::drop_segments_before`] does. Without it they stay until that is called.
    pub fn window(mut self, segments: u32) -> Self {
        self.window = Some(segments.max(1));
        self
    }

    /// How long an assembly may stay without progress; 60 s by default. Expired ones are dropped
    /// when room is needed or another one is opened.
    pub fn assembly_limit(mut self, time: Duration) -> Self {
        self.assembly_limit = Some(time);
        self
    }

    /// Never drops an open assembly for another one: for engines that must find again what they
    /// wrote. Off by default. Expiry still applies.
    pub fn keep_assemblies(mut self, keep: bool) -> Self {
        self.keep_assemblies = keep;
        self
    }
}

impl fmt::Debug for StorageOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageOptions")
            .field("verifier", &self.verifier.is_some())
            .field("share", &self.share)
            .field("readable_prefix", &self.readable_prefix)
            .finish_non_exhaustive()
    }
}

/// What `insert` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insert {
    /// The piece is published.
    Published,
    /// It was there already; the bytes given were not looked at.
    AlreadyPresent,
}

/// What `write` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes of the piece are written by now.
    Partial {
        /// Bytes written, by all writers.
        written: u64,
    },
    /// This block completed the piece; it awaits [`Storage::commit`], for there is no verifier.
    Complete,
    /// The piece is published: by this block, or before it.
    Published,
}

/// Counts about explicit look-behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookbehindStats {
    /// Pieces named by `set_lookbehind` that are there.
    pub available: u32,
    /// Pieces named.
    pub protected: u32,
    /// Bytes of memory that the available ones take.
    pub bytes: u64,
}

/// A handle on one film. Clones share it; it is `Send` and `Sync`.
///
/// Methods that write never wait unless their name says so. After [`remove`](Self::remove) what
/// writes or gets pieces fails with [`Error::UnknownStorage`], and waits with [`Error::Removed`];
/// after [`Cache::abort`](crate::Cache::abort), writes and waits fail with [`Error::Aborted`],
/// and what is present stays readable.
pub struct Storage<R: Reclaim = Interval> {
    pub(crate) film: Arc<Film<R>>,
    pub(crate) owner: Arc<Owner<R>>,
}

impl<R: Reclaim> Clone for Storage<R> {
    fn clone(&self) -> Self {
        Self { film: Arc::clone(&self.film), owner: Arc::clone(&self.owner) }
    }
}

impl<R: Reclaim> fmt::Debug for Storage<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl<R: Reclaim> Storage<R> {
    /// The id under which [`Cache::storage`](crate::Cache::storage) finds it.
    #[must_use]
    pub fn id(&self) -> StorageId {
        self.film.id
    }

    /// The layout as it is now; a live film's grows.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.film.layout()
    }

    /// The number of the current version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.film.version()
    }

    /// Appends a segment of `len` bytes to a live film; its number.
    ///
    /// # Errors
    /// [`Error::NotSegmented`] for a film of fixed layout, [`Error::ZeroLength`],
    /// [`Error::PieceTooLarge`] for a segment of more than half the budget,
    /// [`Error::TooManyPieces`] if the window would be too long, [`Error::OffsetOutOfRange`] if the
    /// film would; [`Error::BudgetExhausted`] or [`Error::OutOfMemory`] without room for the longer
    /// list of segments; [`Error::UnknownStorage`], [`Error::Aborted`].
    pub fn append_segment(&self, len: u32) -> Result<u32> {
        self.film.usable()?;
        self.film.shared.check_piece_len(len)?;
        let (_, piece) = self.change_layout(|old, reserve| old.appended(len, reserve))?;
        self.film.demand.grew();
        self.film.demand.changed();
        if let Some(window) = self.film.options.window {
            let oldest = (piece + 1).saturating_sub(window);
            if oldest > self.layout().pieces().start {
                // The new segment is there, whatever comes of this: without memory for a version
                // the old pieces go with the next one, or first when room is needed.
                let _ = self.drop_segments_before(oldest);
            }
        }
        Ok(piece)
    }

    /// Lets the segments before `piece` fall out of a live film's window: they are evicted, and
    /// cannot be asked for any more.
    ///
    /// # Errors
    /// [`Error::NotSegmented`] for a film of fixed layout, [`Error::PieceOutOfRange`] for a piece
    /// beyond the end, [`Error::UnknownStorage`]; [`Error::BudgetExhausted`] or
    /// [`Error::OutOfMemory`] without room for a version of the table: the segments did fall out
    /// of the window, but the memory of their pieces comes back later.
    pub fn drop_segments_before(&self, piece: u32) -> Result<()> {
        self.film.known()?;
        let (before, ()) = self.change_layout(|old, _| Ok((old.dropped_before(piece)?, ())))?;
        // The ends may cross if another call came in between.
        let gone = before.start..self.layout().pieces().start;
        // Pairs with the fence behind the opening of an assembly: it is seen here, or who opened it
        // sees the window. Model: `window_against_snapshot`, a block.
        fence(Ordering::SeqCst);
        for piece in gone.clone() {
            self.film.assemblies.abandon(piece, &self.film.shared.memory);
            let (first, end) = (gone.end, self.layout().pieces().end);
            self.film.waits.end(piece, || Err(Error::PieceOutOfRange { piece, first, end }));
        }
        self.film.demand.recheck(&self.film);
        // All before the window, for an earlier call may have found no room for the version.
        self.film.evict_range(0..gone.end, Reason::Window)?;
        Ok(())
    }

    /// Says that a live film is complete: players at its end read no further.
    pub fn end(&self) {
        self.film.ended.store(true, Ordering::Relaxed);
        self.film.demand.grew();
    }

    /// Installs a changed layout; the pieces of the old one, and what `change` said. A new list of
    /// segments is reserved by the function that `change` is given; the old one goes then.
    fn change_layout<T>(
        &self,
        change: impl Fn(&Layout, &dyn Fn(usize) -> Result<()>) -> Result<(Layout, T)>,
    ) -> Result<(Range<u32>, T)> {
        let film = &self.film;
        let mut old = film.layout.load_full();
        loop {
            let reserved = Cell::new(0);
            let reserve = |bytes| {
                film.shared.reserve_segments(bytes)?;
                reserved.set(bytes);
                Ok(())
            };
            let (new, said) = change(&old, &reserve)
                .inspect_err(|_| film.shared.release_segments(reserved.get()))?;
            let seen = film.layout.compare_and_swap(&old, Arc::new(new));
            if Arc::ptr_eq(&seen, &old) {
                let (pieces, bytes) = (old.pieces(), old.heap_bytes());
                drop((seen, old));
                if reserved.get() > 0 {
                    film.shared.release_segments(bytes);
                }
                return Ok((pieces, said));
            }
            // Another change came first: again from that one.
            film.shared.release_segments(reserved.get());
            old = Guard::into_inner(seen);
        }
    }

    /// Whether the piece is there now.
    #[must_use]
    pub fn contains(&self, piece: u32) -> bool {
        self.film.contains(piece)
    }

    /// A handle on a piece: zero-copy, owned. Convenient; a task that reads much is better off
    /// with a [`reader`](Self::reader), which need not look for a lane each time.
    ///
    /// # Errors
    /// [`Error::Missing`] if it is not there; [`Error::PieceOutOfRange`] if it cannot be.
    pub fn get(&self, piece: u32) -> Result<Held> {
        self.film.known()?;
        if let Some(held) = self.film.take(piece, true) {
            return Ok(held);
        }
        self.film.usable()?;
        self.film.piece_len(piece)?;
        Err(Error::Missing { piece })
    }

    /// Takes snapshots: owned and sendable, one per task that reads.
    #[must_use]
    pub fn reader(&self) -> Reader<R> {
        Reader::new(self.clone())
    }

    /// Waits for a piece.
    pub fn wait(&self, piece: u32) -> WaitPiece<R> {
        WaitPiece::new(self.clone(), piece)
    }

    /// Opens a player.
    ///
    /// # Errors
    /// If the storage was removed or the cache aborted.
    pub fn player(&self, config: PlayerConfig) -> Result<Player<R>> {
        Player::open(self.clone(), config)
    }

    /// What should be fetched, most urgent first.
    #[must_use]
    pub fn wanted(&self) -> Wanted<R> {
        Wanted::new(self.clone())
    }

    /// The written prefix of a piece that is still arriving, if the storage allows it to be read
    /// and there is one.
    #[must_use]
    pub fn arriving(&self, piece: u32) -> Option<Arriving> {
        if !self.film.options.readable_prefix {
            return None;
        }
        self.film.assemblies.get(piece).map(Arriving::new)
    }

    /// Written bytes of a piece that is still arriving, verified or not, without a copy: for engines
    /// that must read back what they wrote. Published pieces are read as well. The bytes stay as
    /// they are while they are held, whatever becomes of the piece.
    ///
    /// ```
    /// # use lookbehind::{Cache, Layout};
    /// # let cache = Cache::builder().budget(1 << 20).build()?;
    /// # let film = cache.add_storage(Layout::fixed(100, 100)?)?;
    /// film.write(0, 50, &[7; 50])?;
    /// let written = film.read_back(0, 60, 10)?;
    /// assert!(film.read_back(0, 49, 10).is_err());
    /// film.abandon(0)?;
    /// assert_eq!(written, [7; 10][..]);
    /// # Ok::<(), lookbehind::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Missing`] unless every byte of the range was written; [`Error::PieceOutOfRange`],
    /// [`Error::BlockOutOfRange`] for what the film does not have; [`Error::UnknownStorage`].
    pub fn read_back(&self, piece: u32, offset: u32, len: u32) -> Result<Bytes> {
        self.film.known()?;
        let piece_len = self.film.piece_len(piece)?;
        let range = crate::ingest::block_range(piece, offset, len as usize, piece_len)?;
        if let Some(written) = self
            .film
            .assemblies
            .get(piece)
            .and_then(|assembly| Written::new(assembly, range.clone()))
        {
            return Ok(Bytes::from_owner(written));
        }
        let whole = Bytes::from(self.get(piece)?);
        Ok(whole.slice(range.start as usize..range.end as usize))
    }

    /// Evicts those of the pieces that are there; how many.
    ///
    /// # Errors
    /// [`Error::BudgetExhausted`] if stalled snapshots leave not even room for a new version.
    pub fn evict(&self, pieces: Range<u32>) -> Result<usize> {
        self.film.known()?;
        self.film.evict_range(pieces, Reason::Requested)
    }

    /// Removes the storage from the cache: every handle to it becomes unknown, its waits end, its
    /// pieces are evicted. What snapshots show and handles hold stays readable.
    ///
    /// # Errors
    /// [`Error::UnknownStorage`] if it was removed before.
    pub fn remove(&self) -> Result<()> {
        self.film.remove()
    }

    /// Prefers these pieces to others when room is needed, as head and tail of a film that every
    /// player opens with. A preference, not a veto. Adds to what was reserved before.
    pub fn reserve(&self, pieces: Range<u32>) {
        self.film.protections.reserve(pieces);
    }

    /// Takes back all reservations.
    pub fn unreserve(&self) {
        self.film.protections.unreserve();
    }

    /// Prefers these pieces as if they lay behind a playhead, in place of those named before.
    pub fn set_lookbehind(&self, pieces: impl IntoIterator<Item = u32>) {
        self.film.protections.set_lookbehind(pieces.into_iter().collect());
    }

    /// Names no look-behind pieces any more.
    pub fn clear_lookbehind(&self) {
        self.film.protections.set_lookbehind(Vec::new());
    }

    /// Whether a seek back to that piece finds it.
    #[must_use]
    pub fn is_lookbehind_available(&self, piece: u32) -> bool {
        self.film.known().is_ok() && self.contains(piece)
    }

    /// How much of the named look-behind is there.
    #[must_use]
    pub fn lookbehind_stats(&self) -> LookbehindStats {
        let named = self.film.protections.lookbehind();
        let mut stats = LookbehindStats { protected: named.len() as u32, ..Default::default() };
        self.film.with_version(Span::ALL, |root| {
            for piece in named.iter() {
                // SAFETY: announced for all pieces.
                if let Some(found) = unsafe { root.get(*piece) } {
                    stats.available += 1;
                    // SAFETY: as above.
                    stats.bytes += unsafe { found.size() } as u64;
                }
            }
        });
        stats
    }
}
