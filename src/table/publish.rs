//! Making a new version: publish, unpublish, close; and the pass that collects old ones.
//!
//! Duty: invariants 3 and 8. Steps, by the names that the models and comments use:
//!
//! - W0 the nodes of the new version are reserved and allocated before anything is announced.
//! - W1 the writer announces the current version v as a reader does, so that no address can come
//!   back: a compare-and-swap that succeeds means "still version v".
//! - W2 victims are claimed (see `Header::claim`).
//! - W3 version v + 1 is built. It carries what it retires, as its difference to v.
//! - W4 compare-and-swap of the root, Release on success: it publishes nodes, piece and
//!   retirement in one step. Relaxed on failure: the root is announced and loaded again.
//! - W5 the announcement ends, also on giving up. W6 to W9 are the pass: see `sweep`.
//!
//! A record pushed to some list after W4 would be wrong: a writer parked between the two would
//! hide a root that a reader still holds, while another's pass frees its pieces.
//!
//! Lock-free: W4 fails only because another version was installed. A parked writer keeps its
//! version's root and the leaf that it copies.

use std::sync::Arc;

use super::leaf::{LEAF, LeafRef, leaf_of, nodes_of};
use super::version::{Root, RootRef};
use crate::memory::piece::PieceRef;
use crate::memory::pool::Shelf;
use crate::memory::{Buffer, Memory, Purpose, Refused, State};
use crate::read::held::Held;
use crate::retire::{Lane, Lines, Outlook, Record, Scheme, Span};
use crate::sync::{Apart, AtomicPtr, AtomicU64, Counter, Ordering, Owned};

/// What all storages of a cache share for reclamation.
pub(crate) struct Domain<S: Scheme> {
    // Lines first: announcements are dropped before the scheme that they belong to.
    pub(crate) lines: Lines<S>,
    pub(crate) scheme: S,
}

impl<S: Scheme> Domain<S> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { lines: Lines::new(), scheme: S::new() })
    }

    /// Runs `f` with a lane of its own.
    pub(crate) fn with_lane<T>(&self, f: impl FnOnce(&Lane<S>) -> T) -> T {
        self.lines.with_lane(&self.scheme, f)
    }
}

/// What one thread at a time keeps between passes.
pub(super) struct Pass<S: Scheme> {
    /// Versions up to this one have handed over what they retired.
    pub(super) collected: u64,
    pub(super) limbo: S::Limbo,
}

/// The versioned table of one storage.
pub(crate) struct Table<S: Scheme> {
    /// Apart: each snapshot looks at it twice, and what else is here changes with each pass.
    pub(crate) root: Apart<AtomicPtr<Root>>,
    pub(crate) domain: Arc<Domain<S>>,
    pub(super) memory: Arc<Memory>,
    /// Slots in a leaf; fewer than [`LEAF`] in a short film.
    pub(super) slots: u32,
    /// Places for leaves in a root.
    pub(super) capacity: u32,
    /// All places are in use and stay where they are: the film's length is known.
    pub(super) fixed: bool,
    /// Roots for reuse. They come back to this storage only, so that a reader stalled between
    /// R1 and R4 never announces another storage's version.
    pub(super) spare: Shelf<Root>,
    /// 64 bits: those who come while a pass is parked must not come around to 0.
    pub(super) due: AtomicU64,
    pub(super) pass: Owned<Pass<S>>,
    /// Bytes unpublished since the last pass: says when the next one is due.
    pub(super) unswept: Counter,
    /// Pieces and nodes that the last pass left in limbo.
    pub(super) in_limbo: Counter,
    /// Pieces born at or before a version, within the span beside it, are shown by a stalled
    /// snapshot, as of the last pass.
    pub(super) stalled: [(Counter, Counter); Outlook::LEN],
}

/// The nodes of a version to come, reserved and allocated (W0).
pub(crate) struct Nodes<'t, S: Scheme> {
    table: &'t Table<S>,
    root: Option<RootRef>,
    leaf: Option<LeafRef>,
}

/// What came of a publication.
pub(crate) enum Published {
    /// Shown; the handle was taken before anyone could see the piece, so that no eviction comes
    /// between publishing and handing it to those who wait (invariant 7).
    Done(Held),
    /// The piece was there already.
    Present,
    /// The storage was removed.
    Closed,
    /// The piece lies too far from a live film's window.
    OutOfWindow,
}

/// Leaves that a live film's window may span.
const WINDOW: u32 = (crate::layout::MAX_SEGMENTS as u32).div_ceil(LEAF) + 1;

/// A piece whose eviction is the caller's to carry through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) piece: u32,
    /// Bytes as the budget counts them.
    pub(crate) size: usize,
    /// Its seat in the roster, for whoever carries it through to give back.
    pub(crate) seat: u32,
}

// SAFETY: `pass` is used by the owner of `due` alone; nodes are reached under announcements.
unsafe impl<S: Scheme> Sync for Table<S> {}
// SAFETY: as above.
unsafe impl<S: Scheme> Send for Table<S> {}

impl<S: Scheme> Table<S> {
    /// A table for `pieces` pieces, or for a moving window if `None`.
    pub(crate) fn new(
        memory: &Arc<Memory>,
        domain: &Arc<Domain<S>>,
        pieces: Option<u32>,
    ) -> Result<Self, Refused> {
        let slots = pieces.map_or(LEAF, |n| n.clamp(1, LEAF));
        let fixed = pieces.is_some();
        let capacity = pieces.map_or(WINDOW, |n| n.div_ceil(LEAF).max(1));
        let root = RootRef::allocate(memory, capacity, Purpose::Publish)?;
        // SAFETY: fresh, so owned here alone.
        unsafe { root.clear(if fixed { capacity } else { 0 }) };
        Ok(Self {
            root: Apart(AtomicPtr::new(root.as_ptr())),
            domain: Arc::clone(domain),
            memory: Arc::clone(memory),
            slots,
            capacity,
            fixed,
            spare: Shelf::new(4),
            due: AtomicU64::new(0),
            pass: Owned::new(Pass { collected: 0, limbo: S::Limbo::default() }),
            unswept: Counter::default(),
            in_limbo: Counter::default(),
            stalled: Default::default(),
        })
    }

    /// Bytes of the first root of a table.
    pub(crate) fn root_bytes(pieces: Option<u32>) -> usize {
        RootRef::size_for(pieces.map_or(WINDOW, |n| n.div_ceil(LEAF).max(1)))
    }

    /// Bytes of a root and a leaf of such a table.
    pub(crate) fn version_bytes(pieces: Option<u32>) -> usize {
        Self::root_bytes(pieces) + LeafRef::size_for(pieces.map_or(LEAF, |n| n.clamp(1, LEAF)))
    }

    /// Bytes of a root and a leaf, which every new version needs.
    pub(crate) fn node_bytes(&self) -> usize {
        RootRef::size_for(self.capacity) + LeafRef::size_for(self.slots)
    }

    /// W0.
    pub(crate) fn nodes(&self, purpose: Purpose) -> Result<Nodes<'_, S>, Refused> {
        let root = match self.spare.take(|_| true).and_then(RootRef::from_ptr) {
            Some(root) => {
                // SAFETY: taken off the shelf, so owned here alone.
                unsafe { root.head().canary.rise() };
                root
            }
            None => RootRef::allocate(&self.memory, self.capacity, purpose)?,
        };
        let mut nodes = Nodes { table: self, root: Some(root), leaf: None };
        nodes.leaf = Some(LeafRef::allocate(&self.memory, self.slots, purpose)?);
        Ok(nodes)
    }

    /// A writer announces what it looks into and no more: parked, it keeps just that.
    fn enter(&self, lane: &Lane<S>, span: Span) -> RootRef {
        // SAFETY: the lane is this call's (see `Domain::with_lane`), and idle.
        unsafe { self.domain.scheme.enter(&lane.announcement, &self.root, span) }
    }

    fn renew(&self, lane: &Lane<S>) -> RootRef {
        // SAFETY: as for `enter`, and announced.
        unsafe { self.domain.scheme.renew(&lane.announcement, &self.root) }
    }

    fn leave(&self, lane: &Lane<S>) {
        // SAFETY: announced by `enter`; the callers use nothing of the version afterwards.
        unsafe { S::leave(&lane.announcement) };
    }

    /// W4. Installs `new`, which was built on `current`.
    fn install(&self, current: RootRef, new: RootRef) -> bool {
        // Release: pairs with every Acquire load of the root (R4, W7). Models:
        // `publish_against_snapshot`, `retire_against_snapshot`.
        self.root
            .compare_exchange(current.as_ptr(), new.as_ptr(), Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    /// Shows `buffer` as piece `piece` in a new version.
    pub(crate) fn publish(
        &self,
        lane: &Lane<S>,
        mut nodes: Nodes<'_, S>,
        piece: u32,
        buffer: Buffer,
    ) -> Published {
        let (root, leaf) = nodes.both();
        let size = buffer.size();
        let shown = buffer.into_piece();
        // SAFETY: the piece is this call's alone; the share becomes the `Held` below.
        unsafe { shown.retain() };
        let number = leaf_of(piece);
        let mut current = self.enter(lane, nodes_of(number)); // W1
        let outcome = loop {
            // SAFETY: `current` is announced, so it and the leaf are alive, and the leaf's pieces
            // are not looked into; the nodes and the piece are owned here alone until the
            // compare-and-swap succeeds.
            unsafe {
                if current.head().closed {
                    break Published::Closed;
                }
                if current.get(piece).is_some() {
                    break Published::Present;
                }
                let version = current.head().number + 1;
                leaf.copy(current.leaf(number), number, version); // W3
                leaf.set(piece, Some(shown));
                shown.header().set_born(version);
                if root.copy(current, Span::one(piece), Some(leaf), self.fixed).is_none() {
                    break Published::OutOfWindow;
                }
                if self.install(current, root) {
                    break Published::Done(Held::new(shown));
                }
            }
            current = self.renew(lane);
        };
        self.leave(lane); // W5
        if matches!(outcome, Published::Done(_)) {
            nodes.used(true);
            self.memory.budget.transfer(size, State::Assembling, State::Published);
            self.unswept.add(self.node_bytes() as u64);
        } else {
            // SAFETY: not installed, so the owner's share and the one just taken are still here.
            unsafe {
                shown.release();
                drop(Buffer::from_piece(shown, &self.memory));
            }
        }
        outcome
    }

    /// W2: claims the pieces of `span`, which lies in one leaf, that `wanted` chooses, up to
    /// `limit`.
    pub(crate) fn claim(
        &self,
        lane: &Lane<S>,
        span: Span,
        limit: usize,
        mut wanted: impl FnMut(u32, PieceRef) -> bool,
    ) -> Vec<Claim> {
        let mut claims = Vec::new();
        let current = self.enter(lane, span);
        // SAFETY: announced, so the version and what it shows within the span is alive.
        unsafe {
            if let Some(leaf) = current.leaf(leaf_of(span.first)) {
                for (piece, shown) in leaf.pieces_in(span) {
                    if claims.len() == limit {
                        break;
                    }
                    if wanted(piece, shown) && shown.header().claim() {
                        let header = shown.header();
                        claims.push(Claim { piece, size: header.size(), seat: header.seat() });
                    }
                }
            }
        }
        self.leave(lane);
        claims
    }

    /// Unpublishes claimed pieces of one leaf in a new version.
    ///
    /// # Panics
    /// If `claims` is empty.
    pub(crate) fn unpublish(&self, lane: &Lane<S>, mut nodes: Nodes<'_, S>, claims: &[Claim]) {
        let (root, leaf) = nodes.both();
        let number = leaf_of(claims[0].piece);
        let one = |claim: &Claim| Span::one(claim.piece);
        let touched = claims.iter().map(one).fold(Span::NONE, Span::hull);
        let bytes: usize = claims.iter().map(|claim| claim.size).sum();
        // Noted before it is seen, lest a pass that frees the pieces at once be noted first.
        self.memory.budget.transfer(bytes, State::Published, State::Limbo);
        let mut current = self.enter(lane, nodes_of(number)); // W1
        let leaf_used = loop {
            // SAFETY: as in `publish`. The claims are the caller's, so the pieces are still
            // shown, and nobody else unpublishes them.
            unsafe {
                let version = current.head().number + 1;
                leaf.copy(current.leaf(number), number, version); // W3
                for claim in claims {
                    debug_assert_eq!(leaf_of(claim.piece), number);
                    leaf.set(claim.piece, None);
                }
                let left = (leaf.head().used > 0).then_some(leaf);
                // Unpublishing never widens the span of leaves, so the root has the capacity.
                let built = root.copy(current, touched, left, self.fixed);
                debug_assert!(built.is_some());
                if self.install(current, root) {
                    break left.is_some();
                }
            }
            current = self.renew(lane);
        };
        self.leave(lane); // W5
        nodes.used(leaf_used);
        self.unswept.add((bytes + self.node_bytes()) as u64);
    }

    /// Installs a version in which nothing is published any more; idempotent.
    pub(crate) fn close(&self, lane: &Lane<S>, mut nodes: Nodes<'_, S>) {
        let (root, _) = nodes.both();
        let mut current = self.enter(lane, Span::NONE);
        loop {
            // SAFETY: as in `publish`.
            unsafe {
                let built = root.copy(current, Span::NONE, None, self.fixed);
                debug_assert!(built.is_some());
                root.head_mut().closed = true;
                if self.install(current, root) {
                    break;
                }
            }
            current = self.renew(lane);
        }
        self.leave(lane);
        nodes.used(false);
    }
}

impl<S: Scheme> Nodes<'_, S> {
    fn both(&self) -> (RootRef, LeafRef) {
        // Nodes are made whole, and `used` is the last that is done with them.
        self.root.zip(self.leaf).unwrap_or_else(|| unreachable!("nodes were used twice"))
    }

    /// The root belongs to the table now, and the leaf too if it was used.
    fn used(&mut self, leaf: bool) {
        self.root = None;
        if leaf {
            self.leaf = None;
        }
    }
}

impl<S: Scheme> Drop for Nodes<'_, S> {
    fn drop(&mut self) {
        // SAFETY: nodes that were not used are owned here alone.
        unsafe {
            if let Some(root) = self.root.take() {
                self.table.free(Record::Root(root));
            }
            if let Some(leaf) = self.leaf.take() {
                leaf.free(&self.table.memory);
            }
        }
    }
}
