//! A piece's memory: header and payload in one allocation.
//!
//! ```text
//! 0        64     96                                       96 + capacity
//! | counts | read | payload ............................. |
//! ```
//!
//! Line 0 holds what handles and the reclaimer write. Line 1 is what a borrowed hit reads: it is
//! written when the piece is published, when a first hit sets the visited mark, and when eviction
//! clears it (invariant 9). The payload begins on the same line, so that a hit which looks at the
//! first bytes misses once; it is 32-byte aligned.
//!
//! The reference count is 1 for the table plus one for each [`Held`](crate::Held). The table's
//! share is dropped by the reclaimer after the grace period, so a snapshot that shows the piece
//! may always take another.

use std::alloc::Layout;
use std::ptr::NonNull;

use super::Memory;
use super::budget::rounded;
use super::slab::{Slab, Slabs};
use crate::evict::roster;
use crate::retire::Link;
use crate::sync::{
    AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Canary, Ordering, fence,
};

/// Bytes in front of every payload.
pub(crate) const HEADER: usize = if cfg!(any(asan, tsan)) { 128 } else { 96 }; // with a canary
const ALIGN: usize = 64;

/// What may be done with a published piece: unpublished by whoever wins the claim.
const OPEN: u8 = 0;
const CLAIMED: u8 = 1;

/// The counts of a piece, on a line of their own.
#[repr(C, align(32))]
pub(crate) struct Counts {
    refs: AtomicUsize,
    claim: AtomicU8,
    /// The piece's seat in the roster; written before it is published.
    seat: AtomicU32,
    /// The next buffer in the list of those that handles have returned.
    pub(crate) returned: AtomicPtr<Header>,
    /// The memory that counts the buffer, kept alive by one strong count.
    pub(crate) home: *const Memory,
    /// Where the memory came from; null for the allocator.
    slab: *const Slab,
    /// The reclaimer's.
    pub(crate) link: Link,
}

/// The header of a buffer.
#[repr(C, align(32))]
pub(crate) struct Header {
    pub(crate) counts: Counts,
    len: u32,
    index: u32,
    /// Bytes of the whole allocation, as the budget counts them.
    size: usize,
    /// The version that first showed the piece. Relaxed: written before the publishing
    /// compare-and-swap, which orders it.
    born: AtomicU64,
    /// The [`Mark`] of who read it last.
    visited: AtomicU32,
    pub(crate) canary: Canary,
}

/// What a reader of a version leaves in a piece: a coarse time, a table's versions by the dozen, and in
/// the lowest bit that it was there. So a piece that is read again and again is written to once in many
/// versions, and what was read last can be told from what was read long ago. 0 is no mark.
///
/// (Ticks are of 31 bits: from a film's 2^37th version on, the time of a visit says nothing any more.)
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark(u32);

impl Mark {
    /// Versions of a tick, as a power of two.
    const TICK: u32 = 6;
    /// Eviction has not looked since.
    const FRESH: u32 = 1;

    pub(crate) fn of(version: u64) -> Self {
        let tick = ((version >> Self::TICK) as u32).wrapping_add(1);
        Self(tick << 1 | Self::FRESH)
    }

    /// The last version of its tick.
    fn last(self) -> u64 {
        (u64::from(self.0 >> 1) << Self::TICK).saturating_sub(1)
    }
}

/// A pointer to a buffer; says nothing about who owns it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PieceRef(NonNull<Header>);

// SAFETY: a pointer; every use of it is unsafe and names what keeps the buffer alive.
unsafe impl Send for PieceRef {}
// SAFETY: as above.
unsafe impl Sync for PieceRef {}

/// Bytes that the budget counts for a payload of `len` bytes.
pub(crate) const fn size_for(len: usize) -> usize {
    rounded(HEADER + len)
}

/// Where the payload starts. The checkers' atomics are larger than `std`'s, and so their headers.
const PAYLOAD: usize = size_of::<Header>();
const _: () = assert!(PAYLOAD >= HEADER);
const _: () = assert!(PAYLOAD == HEADER || cfg!(any(loom, shuttle)));
const _: () = assert!(std::mem::offset_of!(Header, len) == 64 || cfg!(any(loom, shuttle)));

/// How a buffer that the budget counts as `size` bytes is allocated.
fn layout_for(size: usize) -> Option<Layout> {
    Layout::from_size_align(size - HEADER + PAYLOAD, ALIGN).ok()
}

impl PieceRef {
    /// A buffer of `size` bytes in all, out of these slabs if they give one, or from the
    /// allocator; `None` if it refuses.
    pub(crate) fn allocate(size: usize, slabs: Option<&Slabs>) -> Option<Self> {
        debug_assert!(size >= HEADER);
        let (memory, slab) = match slabs.and_then(|slabs| slabs.allocate(size)) {
            Some((memory, slab)) => (memory, std::ptr::from_ref(slab)),
            None => {
                let layout = layout_for(size)?;
                // SAFETY: the size is not zero.
                let memory = unsafe { std::alloc::alloc(layout) };
                (NonNull::new(memory)?, std::ptr::null())
            }
        };
        let header = memory.cast::<Header>();
        // SAFETY: fresh memory, large and aligned enough for a header.
        unsafe {
            header.write(Header {
                len: 0,
                index: 0,
                size,
                born: AtomicU64::new(0),
                visited: AtomicU32::new(0),
                canary: Canary::new(),
                counts: Counts {
                    refs: AtomicUsize::new(0),
                    claim: AtomicU8::new(OPEN),
                    seat: AtomicU32::new(roster::NONE),
                    returned: AtomicPtr::new(std::ptr::null_mut()),
                    home: std::ptr::null(),
                    slab,
                    link: Link::default(),
                },
            });
        }
        Some(Self(header))
    }

    /// # Safety
    /// The caller owns the buffer alone, and nobody uses it afterwards; the slabs that it was
    /// allocated from are alive.
    pub(crate) unsafe fn free(self) {
        // SAFETY: alive until here, as is its slab.
        let (layout, slab) =
            unsafe { (layout_for(self.size()), self.header().counts.slab.as_ref()) };
        #[cfg(loom)] // A late reader shall find the fallen canary instead of reused memory.
        if let Some(layout) = layout {
            crate::sync::quarantine::keep(self.0.as_ptr().cast(), layout);
        }
        #[cfg(not(loom))]
        // SAFETY: allocated in `allocate` with this layout; owned by the caller.
        unsafe {
            std::ptr::drop_in_place(self.0.as_ptr());
            match (slab, layout) {
                (Some(slab), _) => slab.free(self.0.cast()),
                (None, Some(layout)) => std::alloc::dealloc(self.0.as_ptr().cast(), layout),
                (None, None) => {}
            }
        }
    }

    /// # Safety
    /// The buffer is alive for `'a`, and not mutated but through atomics and `link`.
    #[inline(always)]
    pub(crate) unsafe fn header<'a>(self) -> &'a Header {
        // SAFETY: the caller's contract.
        unsafe { self.0.as_ref() }
    }

    /// # Safety
    /// The buffer is alive.
    pub(crate) unsafe fn size(self) -> usize {
        // SAFETY: alive; `size` never changes.
        unsafe { (*self.0.as_ptr()).size }
    }

    /// Makes the buffer ready for `len` bytes of piece `index`, owned by its writer alone.
    ///
    /// # Safety
    /// The caller owns the buffer alone, and `len` fits.
    pub(crate) unsafe fn prepare(self, index: u32, len: u32) {
        // SAFETY: alive, for the caller owns it.
        debug_assert!(HEADER + len as usize <= unsafe { self.size() });
        // SAFETY: owned by the caller alone.
        let header = unsafe { &mut *self.0.as_ptr() };
        header.len = len;
        header.index = index;
        header.visited.store(0, Ordering::Relaxed);
        header.counts.claim.store(OPEN, Ordering::Relaxed);
        header.counts.seat.store(roster::NONE, Ordering::Relaxed);
        header.counts.refs.store(1, Ordering::Relaxed);
    }

    /// Notes which memory counts the buffer; one strong count of it moves in.
    ///
    /// # Safety
    /// The caller owns the buffer alone.
    pub(crate) unsafe fn set_home(self, home: *const Memory) {
        // SAFETY: the caller's contract.
        unsafe { (*self.0.as_ptr()).counts.home = home };
    }

    /// Takes a share of the piece.
    ///
    /// # Safety
    /// A share exists that cannot go meanwhile: the caller's own, or the table's under a
    /// snapshot that shows the piece (invariant 4).
    pub(crate) unsafe fn retain(self) {
        // Relaxed: as for any reference count, the share that the caller leans on orders it.
        // SAFETY: the caller's contract.
        let before = unsafe { self.header().counts.refs.fetch_add(1, Ordering::Relaxed) };
        // Only forgotten handles get there; going on would wrap to a use after free.
        if before > isize::MAX as usize {
            std::process::abort();
        }
    }

    /// Drops a share; true if it was the last one, and the buffer is the caller's alone.
    ///
    /// # Safety
    /// The share is the caller's, and not used afterwards.
    pub(crate) unsafe fn release(self) -> bool {
        // Release: what this share's owner read comes before the buffer's next use.
        // SAFETY: the caller's contract.
        let before = unsafe { self.header().counts.refs.fetch_sub(1, Ordering::Release) };
        if before == 1 {
            // Pairs with the Release of every other share. Model: `held_against_evict`.
            fence(Ordering::Acquire);
        }
        before == 1
    }

    /// The first byte of the payload.
    #[inline(always)]
    pub(crate) fn payload(self) -> NonNull<u8> {
        // SAFETY: every buffer is at least HEADER bytes long, so this stays in bounds or one past.
        unsafe { self.0.cast::<u8>().add(PAYLOAD) }
    }

    /// The payload as a piece.
    ///
    /// # Safety
    /// The buffer is alive for `'a`, all of its `len` bytes were written before it was
    /// published, and nobody writes to it during `'a` (invariants 4 and 5).
    #[inline(always)]
    pub(crate) unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: the caller's contract.
        unsafe { self.first(self.header().len) }
    }

    /// The first bytes of a piece.
    ///
    /// # Safety
    /// As for [`PieceRef::bytes`]; the piece is not shorter.
    #[inline(always)]
    pub(crate) unsafe fn first<'a>(self, len: u32) -> &'a [u8] {
        // SAFETY: the caller's contract.
        unsafe {
            debug_assert!(len <= self.header().len);
            std::slice::from_raw_parts(self.payload().as_ptr(), len as usize)
        }
    }

    pub(crate) fn as_ptr(self) -> *mut Header {
        self.0.as_ptr()
    }

    pub(crate) fn from_ptr(pointer: *mut Header) -> Option<Self> {
        NonNull::new(pointer).map(Self)
    }
}

impl Header {
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    #[cfg(feature = "validate")]
    pub(crate) fn refs(&self) -> usize {
        self.counts.refs.load(Ordering::Relaxed)
    }

    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Its seat in the roster, or none. Relaxed, as `born`.
    pub(crate) fn seat(&self) -> u32 {
        self.counts.seat.load(Ordering::Relaxed)
    }

    pub(crate) fn set_seat(&self, seat: u32) {
        self.counts.seat.store(seat, Ordering::Relaxed);
    }

    pub(crate) fn born(&self) -> u64 {
        self.born.load(Ordering::Relaxed)
    }

    pub(crate) fn set_born(&self, version: u64) {
        self.born.store(version, Ordering::Relaxed);
    }

    /// Leaves the visited mark: writes only if it is not there yet, or of an earlier tick. One of a
    /// later tick stays, lest readers of an older and a newer version write in turn.
    #[inline(always)]
    pub(crate) fn visit(&self, mark: Mark) {
        if self.visited.load(Ordering::Relaxed) < mark.0 {
            self.visited.store(mark.0, Ordering::Relaxed);
        }
    }

    /// Whether it was read since eviction last looked.
    pub(crate) fn visited(&self) -> bool {
        self.visited.load(Ordering::Relaxed) & Mark::FRESH != 0
    }

    /// The last version of the tick in which it was read last; 0 if it never was.
    pub(crate) fn last_visit(&self) -> u64 {
        Mark(self.visited.load(Ordering::Relaxed)).last()
    }

    /// The mark counts no more. When the piece was read last is still known.
    pub(crate) fn clear_visited(&self) {
        self.visited.fetch_and(!Mark::FRESH, Ordering::Relaxed);
    }

    /// Whether handles keep the piece: evicting it would free nothing now.
    pub(crate) fn pinned(&self) -> bool {
        self.counts.refs.load(Ordering::Relaxed) > 1
    }

    /// W2: takes the right to unpublish the piece; one claim in its life succeeds.
    ///
    /// Relaxed: the claim settles who goes on, and orders nothing; the buffer is alive by the
    /// claimant's own announcement.
    pub(crate) fn claim(&self) -> bool {
        let claim = &self.counts.claim;
        claim.compare_exchange(OPEN, CLAIMED, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    pub(crate) fn claimed(&self) -> bool {
        self.counts.claim.load(Ordering::Relaxed) == CLAIMED
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::budget::UNIT;
    use super::*;

    #[test]
    fn the_allocator_is_asked_for_what_the_budget_counts() {
        for len in [1, 127, 128, 129, 1000, 1 << 20] {
            let size = size_for(len);
            assert!(
                size.is_multiple_of(UNIT) && (HEADER + len..HEADER + len + UNIT).contains(&size)
            );
            let layout = layout_for(size).unwrap();
            assert_eq!((layout.size(), layout.align()), (size - HEADER + PAYLOAD, 64));
        }
    }

    #[test]
    fn a_piece_is_claimed_once_pinned_by_handles_and_marked_by_hits() {
        let piece = PieceRef::allocate(size_for(100), None).unwrap();
        // SAFETY: fresh, and freed at the end.
        unsafe {
            // Twice, for a buffer is used for one piece after the other.
            for index in [7, 8] {
                piece.prepare(index, 100);
                let header = piece.header();
                assert_eq!((header.index(), header.size()), (index, size_for(100)));
                assert!(!header.claimed() && !header.pinned() && !header.visited());
                assert!(header.claim() && !header.claim() && header.claimed());
                piece.retain();
                assert!(header.pinned() && !piece.release() && !header.pinned());
                let visits = || (header.visited(), header.last_visit());
                assert_eq!(visits(), (false, 0));
                header.visit(Mark::of(700));
                assert_eq!(visits(), (true, 703));
                header.clear_visited();
                assert_eq!(visits(), (false, 703));
                header.visit(Mark::of(600));
                assert_eq!(visits(), (false, 703), "there are readers of later versions");
                header.visit(Mark::of(641));
                assert_eq!(visits(), (true, 703));
                header.visit(Mark::of(704));
                assert_eq!(visits(), (true, 767));
                assert!(piece.release());
            }
            piece.free();
        }
    }
}
