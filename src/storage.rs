//! One film: the handle that users have, and what stands behind it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::cache::{Owner, Shared};
use crate::error::{Error, Result};
use crate::evict::observe::Reason;
use crate::evict::protect::{Playhead, Protections};
use crate::id::StorageId;
use crate::ingest::assembly::Arriving;
use crate::ingest::verify::Verifier;
use crate::layout::Layout;
use crate::memory::piece::PieceRef;
use crate::read::held::Held;
use crate::read::player::{Player, PlayerConfig};
use crate::read::wait::{WaitPiece, Waits};
use crate::read::wanted::{Demand, Wanted};
use crate::retire::{Interval, Reclaim, Span};
use crate::sync::{AtomicBool, AtomicU32, Counter, Ordering};
use crate::table::publish::{Claim, Table};
use crate::table::snapshot::Reader;
use crate::table::version::{LEAF, RootRef, leaf_of};

/// How a storage is used.
#[derive(Clone, Default)]
#[must_use]
pub struct StorageOptions {
    pub(crate) verifier: Option<Arc<dyn Verifier>>,
    pub(crate) share: Option<u64>,
    pub(crate) readable_prefix: bool,
    pub(crate) assembly_limit: Option<Duration>,
    pub(crate) keep_assemblies: bool,
}

impl StorageOptions {
    /// Judges each piece when it is complete, and publishes it: no `commit` is needed then.
    pub fn verifier(mut self, verifier: Arc<dyn Verifier>) -> Self {
        self.verifier = Some(verifier);
        self
    }

    /// The most bytes that pieces of this storage may take, published or arriving; beyond it,
    /// its own pieces make room.
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

/// A storage as the cache has it.
pub(crate) struct Film<R: Reclaim> {
    pub(crate) id: StorageId,
    pub(crate) shared: Arc<Shared<R>>,
    pub(crate) table: Table<R>,
    layout: ArcSwap<Layout>,
    pub(crate) options: StorageOptions,
    pub(crate) protections: Protections,
    pub(crate) waits: Waits,
    pub(crate) demand: Demand,
    pub(crate) assemblies: crate::ingest::Assemblies,
    removed: AtomicBool,
    /// Removed, and all that was published was evicted.
    emptied: AtomicBool,
    ended: AtomicBool,
    /// Where eviction looks next.
    pub(crate) hand: AtomicU32,
    /// Bytes of memory that published pieces take.
    pub(crate) published: Counter,
    pub(crate) present: Counter,
    pub(crate) evictions: Counter,
}

/// A handle on one film. Clones share it; it is `Send` and `Sync`.
///
/// Methods that write never wait unless their name says so. After [`remove`](Self::remove) every
/// method fails with [`Error::UnknownStorage`]; after [`Cache::abort`](crate::Cache::abort),
/// writes and waits fail with [`Error::Aborted`], and what is present stays readable.
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

impl<R: Reclaim> Film<R> {
    pub(crate) fn new(
        id: StorageId,
        shared: &Arc<Shared<R>>,
        table: Table<R>,
        layout: Layout,
        options: StorageOptions,
    ) -> Self {
        Self {
            id,
            shared: Arc::clone(shared),
            table,
            // A film of fixed length has all its pieces from the start.
            ended: AtomicBool::new(!layout.is_segmented()),
            layout: ArcSwap::from_pointee(layout),
            options,
            protections: Protections::default(),
            waits: Waits::default(),
            demand: Demand::default(),
            assemblies: crate::ingest::Assemblies::default(),
            removed: AtomicBool::new(false),
            emptied: AtomicBool::new(false),
            hand: AtomicU32::new(0),
            published: Counter::default(),
            present: Counter::default(),
            evictions: Counter::default(),
        }
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout::clone(&self.layout.load())
    }

    /// Pieces present. Only informs: where eviction looks, and statistics.
    pub(crate) fn present(&self) -> u32 {
        u32::try_from(self.present.get()).unwrap_or(0)
    }

    pub(crate) fn removed(&self) -> bool {
        self.removed.load(Ordering::Relaxed)
    }

    /// Removed, but there was no room yet to evict all of it.
    pub(crate) fn lingers(&self) -> bool {
        self.removed() && !self.emptied.load(Ordering::Relaxed)
    }

    /// Removed, and nothing of it is left to collect.
    pub(crate) fn gone(&self) -> bool {
        self.emptied.load(Ordering::Relaxed) && !self.table.has_limbo()
    }

    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Fails if the storage was removed.
    pub(crate) fn known(&self) -> Result<()> {
        if self.removed() { Err(Error::UnknownStorage { id: self.id }) } else { Ok(()) }
    }

    /// Fails if the storage was removed or the cache aborted.
    pub(crate) fn usable(&self) -> Result<()> {
        self.known()?;
        if self.shared.aborted() { Err(Error::Aborted) } else { Ok(()) }
    }

    /// The length of the piece, if the film has it.
    pub(crate) fn piece_len(&self, piece: u32) -> Result<u32> {
        let layout = self.layout.load();
        layout.piece_len(piece).ok_or_else(|| {
            let Range { start: first, end } = layout.pieces();
            Error::PieceOutOfRange { piece, first, end }
        })
    }

    /// Runs `look` on the current version, announced for it.
    pub(crate) fn with_version<T>(&self, span: Span, look: impl FnOnce(RootRef) -> T) -> T {
        let domain = &self.table.domain;
        domain.with_lane(|lane| {
            // SAFETY: the lane is this call's, and idle; what was looked at is not used after
            // `leave`, for `look` returns no reference into it.
            unsafe {
                let root = domain.scheme.enter(&lane.announcement, &self.table.root, span);
                let result = look(root);
                R::leave(&lane.announcement);
                result
            }
        })
    }

    pub(crate) fn contains(&self, piece: u32) -> bool {
        let span = Span { first: piece, last: piece };
        // SAFETY: the version is announced for the piece.
        self.with_version(span, |root| unsafe { root.get(piece) }.is_some())
    }

    /// A handle on the piece, if it is there.
    pub(crate) fn take(&self, piece: u32) -> Option<Held> {
        let domain = &self.table.domain;
        domain.with_lane(|lane| {
            let span = Span { first: piece, last: piece };
            // SAFETY: as in `with_version`; the reference is taken while the piece is shown.
            unsafe {
                let root = domain.scheme.enter(&lane.announcement, &self.table.root, span);
                let held = root.get(piece).map(|found| {
                    found.header().visit();
                    found.retain();
                    Held::new(found)
                });
                R::leave(&lane.announcement);
                let count = if held.is_some() { &lane.hits } else { &lane.misses };
                count.add_alone(1);
                held
            }
        })
    }

    /// Notes what was unpublished.
    pub(crate) fn account_evicted(&self, claims: &[Claim]) {
        let bytes: u64 = claims.iter().map(|claim| claim.size as u64).sum();
        self.published.sub(bytes);
        self.present.sub(claims.len() as u64);
        self.evictions.add(claims.len() as u64);
        self.demand.changed();
    }

    /// Evicts pieces of a range, leaf by leaf.
    pub(crate) fn evict_range(&self, pieces: Range<u32>, reason: Reason) -> Result<usize> {
        let mut count = 0;
        if pieces.is_empty() {
            return Ok(0);
        }
        let wanted = |piece: u32, _: PieceRef| pieces.contains(&piece);
        let first = leaf_of(pieces.start);
        let leaves = self.with_version(Span::NONE, |root| {
            // SAFETY: announced; only the root is looked at.
            unsafe { root.leaf_numbers() }
        });
        for leaf in leaves.start.max(first)..leaves.end.min(leaf_of(pieces.end - 1) + 1) {
            count += self.evict_from(leaf, LEAF as usize, reason, wanted)?;
        }
        if count > 0 {
            self.table.pass();
        }
        Ok(count)
    }

    pub(crate) fn open_playhead(&self, playhead: &Arc<Playhead>) {
        self.change_playheads(|list| list.push(Arc::clone(playhead)));
    }

    pub(crate) fn close_playhead(&self, playhead: &Arc<Playhead>, linger: Duration) {
        /// Windows that one viewer may leave behind in one film.
        const LEFT_BEHIND: usize = 4;
        if linger.is_zero() {
            self.change_playheads(|list| list.retain(|p| !Arc::ptr_eq(p, playhead)));
            return;
        }
        playhead.linger_until(self.shared.clock.now().saturating_add(linger));
        self.change_playheads(|list| {
            // Newest last: `open` appends, and closing moves to the end.
            list.retain(|p| !Arc::ptr_eq(p, playhead));
            list.push(Arc::clone(playhead));
            let left = |p: &Arc<Playhead>| p.viewer == playhead.viewer && !p.active();
            let mut surplus = list.iter().filter(|p| left(p)).count().saturating_sub(LEFT_BEHIND);
            list.retain(|p| {
                let goes = surplus > 0 && left(p);
                surplus -= usize::from(goes);
                !goes
            });
        });
    }

    fn change_playheads(&self, change: impl Fn(&mut Vec<Arc<Playhead>>)) {
        let now = self.shared.clock.now();
        self.protections.playheads.rcu(|old| {
            let mut list = Vec::clone(old);
            list.retain(|playhead| !playhead.ended(now));
            change(&mut list);
            list
        });
        self.shared.fit_windows();
        self.demand.recheck(self);
    }

    /// Everything that `remove` does, once. Should stalled snapshots leave no room for the
    /// versions in which the pieces go, the rest goes first when somebody needs room.
    pub(crate) fn remove(&self) -> Result<()> {
        if self.removed.swap(true, Ordering::Relaxed) {
            return Err(Error::UnknownStorage { id: self.id });
        }
        self.waits.end_all(&Error::Removed);
        self.demand.cancel_all();
        self.demand.grew();
        self.assemblies.clear(&self.shared.memory);
        self.protections.playheads.store(Arc::default());
        self.shared.fit_windows();
        self.empty();
        // While a snapshot keeps some of it, passes must find it.
        if self.gone() {
            self.shared.forget(self.id);
        }
        Ok(())
    }

    /// Evicts everything from a removed film, as far as there is room for the versions.
    pub(crate) fn empty(&self) {
        let Ok(nodes) = self.nodes() else { return };
        // From here on nothing is published.
        self.table.domain.with_lane(|lane| self.table.close(lane, nodes));
        self.emptied
            .store(self.evict_range(0..u32::MAX, Reason::Removed).is_ok(), Ordering::Relaxed);
    }
}

impl<R: Reclaim> Drop for Film<R> {
    fn drop(&mut self) {
        self.assemblies.clear(&self.shared.memory);
        self.shared.release_segments(self.layout.load().heap_bytes(), 0);
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
        // SAFETY: announced.
        self.film.with_version(Span::NONE, |root| unsafe { root.head() }.number)
    }

    /// Appends a segment of `len` bytes to a live film; its number.
    ///
    /// # Errors
    /// For a film of fixed layout, a length of 0, a segment of more than half the budget, or a
    /// window of too many segments.
    pub fn append_segment(&self, len: u32) -> Result<u32> {
        self.film.usable()?;
        self.film.shared.check_piece_len(len)?;
        let (_, piece) = self.change_layout(|old| old.appended(len))?;
        self.film.demand.grew();
        self.film.demand.changed();
        Ok(piece)
    }

    /// Lets the segments before `piece` fall out of a live film's window: they are evicted, and
    /// cannot be asked for any more.
    ///
    /// # Errors
    /// For a film of fixed layout.
    pub fn drop_segments_before(&self, piece: u32) -> Result<()> {
        self.film.known()?;
        let (before, ()) = self.change_layout(|old| Ok((old.dropped_before(piece)?, ())))?;
        let gone = before.pieces().start..self.layout().pieces().start;
        for piece in gone.clone() {
            self.film.assemblies.abandon(piece, &self.film.shared.memory);
            let (first, end) = (gone.end, self.layout().pieces().end);
            self.film.waits.end(piece, || Err(Error::PieceOutOfRange { piece, first, end }));
        }
        self.film.demand.recheck(&self.film);
        self.film.evict_range(gone, Reason::Window)?;
        Ok(())
    }

    /// Says that a live film is complete: players at its end read no further.
    pub fn end(&self) {
        self.film.ended.store(true, Ordering::Relaxed);
        self.film.demand.grew();
    }

    /// Installs a changed layout, and accounts for its table of segments; the old one, and what
    /// `change` said.
    fn change_layout<T>(
        &self,
        change: impl Fn(&Layout) -> Result<(Layout, T)>,
    ) -> Result<(Arc<Layout>, T)> {
        let film = &self.film;
        let mut old = film.layout.load_full();
        loop {
            let (new, said) = change(&old)?;
            let (before, after) = (old.heap_bytes(), new.heap_bytes());
            film.shared.reserve_segments(before, after)?;
            let seen = film.layout.compare_and_swap(&old, Arc::new(new));
            if Arc::ptr_eq(&seen, &old) {
                film.shared.release_segments(before, after);
                return Ok((old, said));
            }
            // Another change came first: undo the reservation, and again.
            film.shared.release_segments(after, before);
            old = arc_swap::Guard::into_inner(seen);
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
        if let Some(held) = self.film.take(piece) {
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

    /// Copies written bytes of a piece that is still arriving, verified or not: for engines that
    /// must read back what they wrote. Published pieces are read as well.
    ///
    /// # Errors
    /// [`Error::Missing`] unless every byte of the range was written.
    pub fn read_back(&self, piece: u32, offset: u32, buffer: &mut [u8]) -> Result<()> {
        self.film.known()?;
        let piece_len = self.film.piece_len(piece)?;
        let range = crate::ingest::block_range(piece, offset, buffer.len(), piece_len)?;
        if let Some(assembly) = self.film.assemblies.get(piece)
            && assembly.has(range.clone())
        {
            // SAFETY: found written, within the piece.
            buffer.copy_from_slice(unsafe { assembly.bytes(range) });
            return Ok(());
        }
        let held = self.get(piece)?;
        buffer.copy_from_slice(&held[range.start as usize..range.end as usize]);
        Ok(())
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
