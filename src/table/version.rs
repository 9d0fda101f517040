//! A version of the table: a root, which points to leaves, which point to pieces.
//!
//! A version never changes (invariant 3). A writer copies one leaf and the root, and installs the
//! copy; everything else is shared with the version before. So what version n unpublished is the
//! difference between root n and its predecessor in the one leaf that n touched: no list of
//! retired nodes exists that a writer could be parked in front of.

use std::ptr::NonNull;

use super::leaf::{LeafRef, leaf_of};
use super::node::{allocate, free, size_of_node};
use crate::memory::piece::{Mark, PieceRef};
use crate::memory::{Memory, Purpose, Refused};
use crate::retire::{Keeps, Link, Record, Span};
use crate::sync::{Canary, Owned};

/// The head of a root; `Option<LeafRef>` times `capacity` follow.
#[repr(C, align(16))]
pub(crate) struct Root {
    pub(crate) number: u64,
    /// The first leaf's number and how many there are: a live film's window moves.
    pub(crate) first: u32,
    pub(crate) leaves: u32,
    /// Pieces of one leaf outside of which this version is as `previous`; [`Span::NONE`] if it is
    /// everywhere.
    pub(crate) touched: Span,
    pub(crate) capacity: u32,
    /// Pieces that this version shows.
    pub(crate) present: u32,
    /// The storage was removed: nothing is published any more.
    pub(crate) closed: bool,
    /// What its readers leave in pieces: computed once, for each hit needs it.
    pub(crate) mark: Mark,
    size: usize,
    /// The version before; looked into by the reclaimer only, while it has not collected it.
    pub(crate) previous: Option<RootRef>,
    pub(crate) keeps: Owned<Keeps>,
    pub(crate) link: Link,
    pub(crate) canary: Canary,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RootRef(NonNull<Root>);

// SAFETY: a pointer; every use is unsafe and names what keeps the node alive.
unsafe impl Send for RootRef {}
// SAFETY: as above.
unsafe impl Sync for RootRef {}

impl RootRef {
    /// An unpublished root for up to `capacity` leaves; only its head is initialised.
    pub(crate) fn allocate(
        memory: &Memory,
        capacity: u32,
        purpose: Purpose,
    ) -> Result<Self, Refused> {
        let (node, size) = allocate::<Root>(memory, capacity, purpose)?;
        let head = Root {
            number: 0,
            first: 0,
            leaves: 0,
            touched: Span::NONE,
            capacity,
            present: 0,
            closed: false,
            mark: Mark::of(0),
            size,
            previous: None,
            keeps: Owned::default(),
            link: Link::default(),
            canary: Canary::new(),
        };
        // SAFETY: fresh memory, large and aligned enough.
        unsafe { node.write(head) };
        Ok(Self(node))
    }

    pub(crate) const fn size_for(capacity: u32) -> usize {
        size_of_node::<Root>(capacity)
    }

    /// Bytes that the budget counts for it.
    ///
    /// # Safety
    /// The root is alive.
    #[cfg(feature = "validate")]
    pub(crate) unsafe fn size(self) -> usize {
        // SAFETY: the caller's contract.
        unsafe { self.head() }.size
    }

    pub(crate) fn from_ptr(pointer: *mut Root) -> Option<Self> {
        NonNull::new(pointer).map(Self)
    }

    pub(crate) fn as_ptr(self) -> *mut Root {
        self.0.as_ptr()
    }

    /// # Safety
    /// The root is alive for `'a`.
    #[inline(always)]
    pub(crate) unsafe fn head<'a>(self) -> &'a Root {
        // SAFETY: the caller's contract.
        unsafe { self.0.as_ref() }
    }

    /// # Safety
    /// The root is owned by the caller alone.
    pub(crate) unsafe fn head_mut<'a>(self) -> &'a mut Root {
        // SAFETY: the caller's contract.
        unsafe { &mut *self.0.as_ptr() }
    }

    fn places(self) -> NonNull<Option<LeafRef>> {
        // SAFETY: as for the slots of a leaf.
        unsafe { self.0.add(1).cast() }
    }

    /// The leaf of that number, if this version has it.
    ///
    /// # Safety
    /// The root is alive and was initialised.
    #[inline(always)]
    pub(crate) unsafe fn leaf(self, number: u32) -> Option<LeafRef> {
        // SAFETY: the caller's contract; the place is checked against `leaves`.
        unsafe {
            let head = self.head();
            head.canary.sing();
            let place = number.wrapping_sub(head.first);
            if place >= head.leaves { None } else { self.places().add(place as usize).read() }
        }
    }

    /// The piece of that number, if this version shows it.
    ///
    /// # Safety
    /// The root is alive and was initialised.
    #[inline(always)]
    pub(crate) unsafe fn get(self, piece: u32) -> Option<PieceRef> {
        // SAFETY: a leaf lives as long as a version that shows it.
        unsafe { self.leaf(leaf_of(piece))?.get(piece) }
    }

    /// The same, without a look at the ends of root and leaf.
    ///
    /// # Safety
    /// As for `get`; all places of the table are in use and stay where they are, and the piece
    /// has one.
    #[inline(always)]
    pub(crate) unsafe fn get_fixed(self, piece: u32) -> Option<PieceRef> {
        // SAFETY: the caller's contract.
        unsafe {
            let head = self.head();
            head.canary.sing();
            debug_assert!(head.first == 0 && leaf_of(piece) < head.leaves);
            self.places().add(leaf_of(piece) as usize).read()?.get_fixed(piece)
        }
    }

    /// Makes this the version after `from`, which differs in these pieces of one leaf, with `leaf` in
    /// its place; `None` if it has not the capacity for it.
    ///
    /// # Safety
    /// This root is owned by the caller alone, `from` is alive; `leaf` is as it shall be shown.
    pub(crate) unsafe fn copy(
        self,
        from: RootRef,
        touched: Span,
        leaf: Option<LeafRef>,
        fixed: bool,
    ) -> Option<()> {
        let number = (touched != Span::NONE).then(|| leaf_of(touched.first));
        // SAFETY: the caller's contract; places are within the capacity that is checked.
        unsafe {
            let old = from.head();
            let head = self.head_mut();
            let (mut first, mut end) = (old.first, old.first + old.leaves);
            if let Some(number) = number.filter(|_| !fixed) {
                // The window of a live film: without the empty leaves at either end.
                let shows =
                    |n: u32| if n == number { leaf.is_some() } else { from.leaf(n).is_some() };
                if leaf.is_some() {
                    (first, end) = if old.leaves == 0 {
                        (number, number + 1)
                    } else {
                        (first.min(number), end.max(number + 1))
                    };
                }
                while first < end && !shows(first) {
                    first += 1;
                }
                while first < end && !shows(end - 1) {
                    end -= 1;
                }
            }
            if end - first > head.capacity {
                return None;
            }
            head.number = old.number + 1;
            head.mark = Mark::of(head.number);
            head.previous = Some(from);
            head.first = first;
            head.leaves = end - first;
            head.touched = touched;
            head.closed = old.closed;
            let before = number.and_then(|number| from.leaf(number));
            head.present = old.present + leaf.map_or(0, |l| l.head().used)
                - before.map_or(0, |l| l.head().used);
            if fixed {
                let count = head.leaves as usize;
                self.places().copy_from_nonoverlapping(from.places(), count);
            } else {
                for n in first..end {
                    self.places().add((n - first) as usize).write(from.leaf(n));
                }
            }
            if let Some(number) = number.filter(|number| (first..end).contains(number)) {
                self.places().add((number - first) as usize).write(leaf);
            }
            head.canary.rise();
            Some(())
        }
    }

    /// Makes this version 0: `leaves` empty places.
    ///
    /// # Safety
    /// This root is owned by the caller alone and has the capacity.
    pub(crate) unsafe fn clear(self, leaves: u32) {
        // SAFETY: the caller's contract.
        unsafe {
            self.head_mut().leaves = leaves;
            for place in 0..leaves as usize {
                self.places().add(place).write(None);
            }
        }
    }

    /// The numbers of the leaves that this version has places for.
    ///
    /// # Safety
    /// The root is alive.
    pub(crate) unsafe fn leaf_numbers(self) -> std::ops::Range<u32> {
        // SAFETY: the caller's contract.
        let head = unsafe { self.head() };
        head.first..head.first + head.leaves
    }

    /// The leaves of this version.
    ///
    /// # Safety
    /// The root is alive for as long as the iterator is used.
    pub(crate) unsafe fn iter(self) -> impl Iterator<Item = LeafRef> {
        // SAFETY: the caller's contract.
        let leaves = unsafe { self.head().leaves } as usize;
        // SAFETY: as above; places below `leaves` are initialised.
        (0..leaves).filter_map(move |place| unsafe { self.places().add(place).read() })
    }

    /// # Safety
    /// The root is owned by the caller alone, and not used afterwards.
    pub(crate) unsafe fn free(self, memory: &Memory) {
        // SAFETY: the caller's contract.
        unsafe {
            let size = self.head().size;
            free(memory, self.0, size);
        }
    }

    /// What this version unpublished: its predecessor, the leaf it replaced, and the pieces of
    /// that leaf that it no longer shows.
    ///
    /// # Safety
    /// This root and its predecessor are alive, and the caller is the one reclaimer.
    pub(crate) unsafe fn retired(self, mut each: impl FnMut(Record)) {
        // SAFETY: the caller's contract; what the predecessor shows lives until it is collected,
        // which is what the caller is about to do.
        unsafe {
            let head = self.head();
            let Some(previous) = head.previous else { return };
            each(Record::Root(previous));
            if head.touched == Span::NONE {
                return;
            }
            let leaf = leaf_of(head.touched.first);
            let Some(old) = previous.leaf(leaf) else { return };
            let new = self.leaf(leaf);
            for (number, piece) in old.pieces_in(head.touched) {
                if new.and_then(|leaf| leaf.get(number)) != Some(piece) {
                    each(Record::Piece(piece));
                }
            }
            each(Record::Leaf(old));
        }
    }
}
