//! Leaves: the pieces that lie side by side.

use std::ptr::NonNull;

use super::node::{allocate, free, size_of_node};
use crate::memory::piece::PieceRef;
use crate::memory::{Memory, Purpose, Refused};
use crate::retire::{Link, Span};
use crate::sync::Canary;

/// Pieces in a leaf: few, so that copying one is cheap; many, so that the root stays short.
pub(crate) const LEAF: u32 = if cfg!(loom) { 2 } else { 512 };
const SHIFT: u32 = LEAF.trailing_zeros();

pub(crate) const fn leaf_of(piece: u32) -> u32 {
    piece >> SHIFT
}

/// A leaf, and none of its pieces: what is about neither end but both. For a writer, who copies
/// what stands in a leaf and does not follow it, so that, parked, it keeps a few nodes.
pub(crate) const fn nodes_of(leaf: u32) -> Span {
    let Span { first, last } = span_of(leaf);
    Span { first: last, last: first }
}

/// The pieces of a leaf.
pub(crate) const fn span_of(leaf: u32) -> Span {
    let first = leaf << SHIFT;
    Span { first, last: first + (LEAF - 1) }
}

const fn slot_of(piece: u32) -> u32 {
    piece & (LEAF - 1)
}

/// The head of a leaf; `Option<PieceRef>` times `slots` follow.
#[repr(C, align(16))]
pub(crate) struct Leaf {
    /// The version that first showed this leaf.
    pub(crate) born: u64,
    pub(crate) number: u32,
    slots: u32,
    pub(crate) used: u32,
    size: usize,
    pub(crate) link: Link,
    pub(crate) canary: Canary,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LeafRef(NonNull<Leaf>);

// SAFETY: pointers; every use is unsafe and names what keeps the node alive.
unsafe impl Send for LeafRef {}

impl LeafRef {
    /// An unpublished leaf for `slots` pieces; only its head is initialised.
    pub(crate) fn allocate(memory: &Memory, slots: u32, purpose: Purpose) -> Result<Self, Refused> {
        let (node, size) = allocate::<Leaf>(memory, slots, purpose)?;
        let head = Leaf {
            born: 0,
            number: 0,
            slots,
            used: 0,
            size,
            link: Link::default(),
            canary: Canary::new(),
        };
        // SAFETY: fresh memory, large and aligned enough.
        unsafe { node.write(head) };
        Ok(Self(node))
    }

    /// Bytes that the budget counts for it, and its slots.
    ///
    /// # Safety
    /// The leaf is alive.
    #[cfg(feature = "validate")]
    pub(crate) unsafe fn measures(self) -> (usize, u32) {
        // SAFETY: the caller's contract.
        let head = unsafe { self.head() };
        (head.size, head.slots)
    }

    /// Bytes that the budget counts for a leaf of `slots` pieces.
    pub(crate) const fn size_for(slots: u32) -> usize {
        size_of_node::<Leaf>(slots)
    }

    /// # Safety
    /// The leaf is alive for `'a`.
    #[inline(always)]
    pub(crate) unsafe fn head<'a>(self) -> &'a Leaf {
        // SAFETY: the caller's contract.
        unsafe { self.0.as_ref() }
    }

    fn slots(self) -> NonNull<Option<PieceRef>> {
        // SAFETY: a leaf's allocation is longer than its head, and the head's size is a multiple
        // of its alignment, which is a pointer's at least.
        unsafe { self.0.add(1).cast() }
    }

    /// # Safety
    /// The leaf is alive, its slots are initialised, and `piece` belongs to it.
    #[inline(always)]
    pub(crate) unsafe fn get(self, piece: u32) -> Option<PieceRef> {
        // SAFETY: the caller's contract; a slot past the end is answered without a look.
        unsafe {
            let head = self.head();
            head.canary.sing();
            let slot = slot_of(piece);
            if slot >= head.slots { None } else { self.slots().add(slot as usize).read() }
        }
    }

    /// The same, without a look at the leaf's end.
    ///
    /// # Safety
    /// As for `get`, and the leaf has a slot for the piece.
    #[inline(always)]
    pub(super) unsafe fn get_fixed(self, piece: u32) -> Option<PieceRef> {
        // SAFETY: the caller's contract.
        unsafe {
            self.head().canary.sing();
            debug_assert!(slot_of(piece) < self.head().slots);
            self.slots().add(slot_of(piece) as usize).read()
        }
    }

    /// # Safety
    /// The leaf is owned by the caller alone, and `piece` belongs to it.
    pub(crate) unsafe fn set(self, piece: u32, to: Option<PieceRef>) {
        // SAFETY: the caller's contract.
        unsafe {
            let head = &mut *self.0.as_ptr();
            let slot = slot_of(piece);
            debug_assert!(slot < head.slots);
            let place = self.slots().add(slot as usize);
            head.used = head.used + u32::from(to.is_some()) - u32::from(place.read().is_some());
            place.write(to);
        }
    }

    /// Makes this a copy of `from`, or an empty leaf, as part of version `born`.
    ///
    /// # Safety
    /// This leaf is owned by the caller alone; `from` is alive and has as many slots.
    pub(crate) unsafe fn copy(self, from: Option<LeafRef>, number: u32, born: u64) {
        // SAFETY: the caller's contract.
        unsafe {
            let head = &mut *self.0.as_ptr();
            head.number = number;
            head.born = born;
            let slots = head.slots as usize;
            match from {
                Some(from) => {
                    debug_assert_eq!(from.head().slots as usize, slots);
                    from.head().canary.sing();
                    head.used = from.head().used;
                    self.slots().copy_from_nonoverlapping(from.slots(), slots);
                }
                None => {
                    head.used = 0;
                    for slot in 0..slots {
                        self.slots().add(slot).write(None);
                    }
                }
            }
            head.canary.rise();
        }
    }

    /// The pieces of this leaf, with their numbers.
    ///
    /// # Safety
    /// The leaf is alive for as long as the iterator is used.
    pub(crate) unsafe fn pieces(self) -> impl Iterator<Item = (u32, PieceRef)> {
        // SAFETY: the caller's contract.
        unsafe { self.pieces_in(Span::ALL) }
    }

    /// Those within the span.
    ///
    /// # Safety
    /// As for `pieces`.
    pub(crate) unsafe fn pieces_in(self, span: Span) -> impl Iterator<Item = (u32, PieceRef)> {
        // SAFETY: the caller's contract.
        let (number, slots) = unsafe { (self.head().number, self.head().slots) };
        let first = number * LEAF;
        let start = span.first.saturating_sub(first);
        let end = span.last.checked_sub(first).map_or(0, |last| slots.min(last.saturating_add(1)));
        (start..end).filter_map(move |slot| {
            // SAFETY: the caller's contract; `slot` is within the leaf.
            let piece = unsafe { self.slots().add(slot as usize).read() };
            piece.map(|piece| (first + slot, piece))
        })
    }

    /// # Safety
    /// The leaf is owned by the caller alone, and not used afterwards.
    pub(crate) unsafe fn free(self, memory: &Memory) {
        // SAFETY: the caller's contract.
        unsafe {
            self.head().canary.fall();
            let size = self.head().size;
            free(memory, self.0, size);
        }
    }
}
