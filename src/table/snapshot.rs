//! Reading a version: readers and their snapshots.
//!
//! A [`Reader`] owns a line of lanes, so that taking a snapshot needs no search, no lock and no
//! thread-local: it announces the version in a lane of its own and is done. Orderings are the
//! scheme's (`retire`).

use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use super::leaf::leaf_of;
use super::version::RootRef;
use crate::film::Film;
use crate::memory::piece::PieceRef;
use crate::read::held::Held;
use crate::retire::{Interval, Lane, Line, Reclaim, Span};
use crate::storage::Storage;

/// Takes snapshots of one storage: owned, sendable, one per task that reads.
///
/// Up to eight snapshots of a reader can live at once at full speed; more are served by further
/// lines, which the reader keeps. A line is at most 640 bytes, lives as long as the cache, and is
/// handed on when the reader is dropped.
///
/// ```
/// # use lookbehind::{Cache, Layout};
/// # let cache = Cache::builder().budget(1 << 20).build()?;
/// # let film = cache.add_storage(Layout::fixed(200, 100)?)?;
/// let reader = film.reader();
/// film.insert(0, &[1; 100])?;
/// let snapshot = reader.snapshot();
/// film.insert(1, &[2; 100])?;
/// assert!(snapshot.contains(0) && !snapshot.contains(1)); // a point in time
/// assert!(reader.snapshot().contains(1));
/// # Ok::<(), lookbehind::Error>(())
/// ```
///
/// A snapshot cannot outlive its reader, nor a borrowed piece its snapshot:
///
/// ```compile_fail
/// # use lookbehind::{Cache, Layout};
/// # let cache = Cache::builder().budget(1 << 20).build().unwrap();
/// # let film = cache.add_storage(Layout::fixed(200, 100).unwrap()).unwrap();
/// let reader = film.reader();
/// let bytes = reader.snapshot().get(0).unwrap();
/// assert_eq!(bytes.len(), 100);
/// ```
pub struct Reader<R: Reclaim = Interval> {
    storage: Storage<R>,
    /// Lines of the cache's domain, which the storage keeps alive.
    line: *const Line<R>,
    more: RefCell<Vec<*const Line<R>>>,
    /// Pieces before number `.0` are `.1` bytes long.
    alike: (u32, u32),
    /// One thread at a time: lanes are looked for without synchronisation.
    _not_sync: PhantomData<Cell<()>>,
}

// SAFETY: the lines are this reader's alone, wherever it is; snapshots dropped elsewhere leave
// their lane with Release, and the reader finds it with Acquire.
unsafe impl<R: Reclaim> Send for Reader<R> {}

/// A view of one version of a storage: what it shows is readable until it is dropped.
///
/// Short-lived by intent: with the default scheme a snapshot that stays keeps the memory of what
/// it shows, and of nothing else; with the others it keeps all that is unpublished after it.
/// `std::mem::forget` leaks one lane and what the version shows, for as long as the cache
/// lives; [`Stats::snapshots`](crate::Stats::snapshots) counts it.
pub struct Snapshot<'r, R: Reclaim = Interval> {
    film: &'r Film<R>,
    /// As for the reader; of no piece, in a snapshot of a range.
    alike: (u32, u32),
    lane: &'r Lane<R>,
    root: RootRef,
    span: Span,
    hits: Cell<u64>,
    misses: Cell<u64>,
}

impl<R: Reclaim> Reader<R> {
    pub(crate) fn new(storage: Storage<R>) -> Self {
        let domain = &storage.film.table.domain;
        let line = std::ptr::from_ref(domain.lines.claim(&domain.scheme));
        let alike = storage.film.layout.load().alike();
        Self { storage, line, more: RefCell::default(), alike, _not_sync: PhantomData }
    }

    /// The storage that this reader reads.
    #[must_use]
    pub fn storage(&self) -> &Storage<R> {
        &self.storage
    }

    /// The addresses of what is this reader's alone: its first line of lanes.
    #[cfg(counted)]
    #[doc(hidden)]
    pub fn own(&self) -> Range<usize> {
        let start = self.line.addr();
        // What follows in the last pair of the processor's lines is the list's, which hits leave alone.
        start..(start + size_of::<Line<R>>()).next_multiple_of(128)
    }

    /// A view of the version that is current at some moment within this call. Wait-free but for
    /// versions installed meanwhile; takes no lock (with the default scheme).
    #[must_use]
    #[inline]
    pub fn snapshot(&self) -> Snapshot<'_, R> {
        self.announce(Span::ALL, self.alike)
    }

    /// A view that shows, and keeps, only these pieces.
    #[must_use]
    #[inline]
    pub fn snapshot_range(&self, pieces: Range<u32>) -> Snapshot<'_, R> {
        let span = if pieces.is_empty() {
            Span::NONE
        } else {
            Span { first: pieces.start, last: pieces.end - 1 }
        };
        self.announce(span, (0, 0))
    }

    #[inline]
    fn announce(&self, span: Span, alike: (u32, u32)) -> Snapshot<'_, R> {
        let film = &*self.storage.film;
        // SAFETY: lines live as long as the domain, which the storage keeps alive.
        let lane = match unsafe { (*self.line).idle_lane() } {
            Some(lane) => lane,
            None => self.another_lane(),
        };
        let table = &film.table;
        // SAFETY: the lane is idle, and this reader's alone.
        let root = unsafe { table.domain.scheme.enter(&lane.announcement, &table.root, span) };
        Snapshot { film, alike, lane, root, span, hits: Cell::new(0), misses: Cell::new(0) }
    }

    #[cold]
    fn another_lane(&self) -> &Lane<R> {
        let mut more = self.more.borrow_mut();
        // SAFETY: as in `announce`.
        let idle = more.iter().find_map(|line| unsafe { (**line).idle_lane() });
        idle.unwrap_or_else(|| {
            let domain = &self.storage.film.table.domain;
            let line = domain.lines.claim(&domain.scheme);
            more.push(line);
            // A claimed line always has an idle lane.
            line.idle_lane().unwrap_or_else(|| unreachable!("claimed without a lane"))
        })
    }
}

impl<R: Reclaim> Drop for Reader<R> {
    fn drop(&mut self) {
        let lines = &self.storage.film.table.domain.lines;
        for line in self.more.get_mut().iter().chain([&self.line]) {
            // SAFETY: lines live as long as the domain, which the storage keeps alive.
            lines.leave(unsafe { &**line });
        }
    }
}

impl<'r, R: Reclaim> Snapshot<'r, R> {
    /// The number of the version; it grows with every publication and eviction.
    #[must_use]
    pub fn version(&self) -> u64 {
        // SAFETY: the announced root lives until the snapshot is dropped (invariant 4); so does
        // what it shows within the span. The same holds for each look below.
        unsafe { self.root.head() }.number
    }

    /// The piece, and its length.
    #[inline(always)]
    fn piece(&self, piece: u32) -> Option<(PieceRef, u32)> {
        let (alike, len) = self.alike;
        // SAFETY: announced, and looked for within the span only; the table of a film whose pieces
        // are alike has a place for each of them.
        unsafe {
            let (found, len) = if piece < alike {
                // The first look at the payload need not wait for what the header says.
                (self.root.get_fixed(piece)?, len)
            } else if self.span.contains(piece) {
                let found = self.root.get(piece)?;
                (found, found.header().len())
            } else {
                return None;
            };
            found.header().canary.sing();
            found.header().visit(self.root.head().mark);
            Some((found, len))
        }
    }

    /// Whether the piece is there (within the range, for a snapshot of a range).
    #[must_use]
    pub fn contains(&self, piece: u32) -> bool {
        // SAFETY: announced, and within the span.
        self.span.contains(piece) && unsafe { self.root.get(piece) }.is_some()
    }

    /// The bytes of a piece, borrowed: no copy, no counter. Counts as a use of the piece.
    #[must_use]
    #[inline]
    pub fn get(&self, piece: u32) -> Option<&[u8]> {
        match self.piece(piece) {
            Some((found, len)) => {
                self.hits.set(self.hits.get() + 1);
                // SAFETY: published, so written whole and immutable (invariant 5); alive while
                // the snapshot is, to which the slice is tied.
                Some(unsafe { found.first(len) })
            }
            None => {
                self.misses.set(self.misses.get() + 1);
                None
            }
        }
    }

    /// A handle on a piece, which outlives the snapshot. Counts as a use of the piece.
    #[must_use]
    pub fn held(&self, piece: u32) -> Option<Held> {
        let found = self.piece(piece);
        let count = if found.is_some() { &self.hits } else { &self.misses };
        count.set(count.get() + 1);
        // SAFETY: the table's share cannot go while the snapshot shows the piece.
        found.map(|(found, _)| unsafe {
            found.retain();
            Held::new(found)
        })
    }

    /// The runs of pieces that are there, in order.
    pub fn runs(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        // SAFETY: announced; leaves outside the span may be gone and are not touched.
        let numbers = unsafe { self.root.leaf_numbers() };
        let (first, last) = (leaf_of(self.span.first), leaf_of(self.span.last));
        let mut pieces = (numbers.start.max(first)..numbers.end.min(last.saturating_add(1)))
            // SAFETY: as above.
            .filter_map(|number| unsafe { self.root.leaf(number) })
            // SAFETY: as above.
            .flat_map(|leaf| unsafe { leaf.pieces() })
            .map(|(number, _)| number)
            .filter(|number| self.span.contains(*number))
            .peekable();
        std::iter::from_fn(move || {
            let start = pieces.next()?;
            let mut end = start + 1;
            while pieces.next_if_eq(&end).is_some() {
                end += 1;
            }
            Some(start..end)
        })
    }

    /// The bytes of a range of the film, borrowed from the pieces that it spans; `None` if any of
    /// them is missing, or the range reaches past the film's end.
    ///
    /// ```
    /// # use lookbehind::{Cache, Layout};
    /// # let cache = Cache::builder().budget(1 << 20).build()?;
    /// # let film = cache.add_storage(Layout::fixed(200, 100)?)?;
    /// film.insert(0, &[1; 100])?;
    /// film.insert(1, &[2; 100])?;
    /// let reader = film.reader();
    /// let snapshot = reader.snapshot();
    /// let slices: Vec<&[u8]> = snapshot.slices(98..103).unwrap().collect();
    /// assert_eq!(slices, [&[1, 1][..], &[2, 2, 2]]);
    /// assert!(snapshot.slices(150..201).is_none());
    /// # Ok::<(), lookbehind::Error>(())
    /// ```
    #[must_use]
    pub fn slices(&self, bytes: Range<u64>) -> Option<impl Iterator<Item = &[u8]>> {
        let layout = self.film.layout();
        if bytes.start < layout.start_offset() || bytes.end > layout.total_len() {
            return None;
        }
        let mut slices = Vec::new();
        for (piece, within) in layout.parts(bytes) {
            slices.push(self.get(piece)?.get(within.start as usize..within.end as usize)?);
        }
        Some(slices.into_iter())
    }
}

impl<R: Reclaim> Drop for Snapshot<'_, R> {
    #[inline]
    fn drop(&mut self) {
        self.lane.hits.add_alone(self.hits.get());
        if self.misses.get() > 0 {
            self.lane.misses.add_alone(self.misses.get());
        }
        // SAFETY: announced by `Reader::announce`; nothing borrowed of it is left.
        unsafe { R::leave(&self.lane.announcement) };
    }
}

impl<R: Reclaim> fmt::Debug for Snapshot<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("version", &self.version()).finish_non_exhaustive()
    }
}

impl<R: Reclaim> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("storage", &self.storage.id()).finish_non_exhaustive()
    }
}
