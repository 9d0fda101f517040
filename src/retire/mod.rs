//! Grace period: when may the memory of what was unpublished be used again?
//!
//! Duty: the contract between the table and a reclamation scheme. A reader announces a storage's
//! root in a [`Lane`] before it looks into it; the reclaimer hands what was unpublished to the
//! scheme, and the scheme hands back what no snapshot can reach any more.
//!
//! Three schemes stand behind the contract: [`Interval`], which knows what each snapshot can
//! reach and is bounded by it; [`Epoch`] (crossbeam-epoch) and [`Hyaline`] (seize), which keep
//! all that is unpublished while any snapshot lives. All pass the same tests.
//!
//! Lists of retired nodes are threaded through the nodes ([`Link`]), so that a pass allocates
//! nothing: it runs when memory is short. (Epoch and Hyaline keep a small queue of flags.)

pub(crate) mod batches;
mod epoch;
mod hyaline;
mod interval;
mod lines;
#[cfg(loom)]
mod specification;
#[cfg(all(test, not(loom)))]
mod tests;

pub use epoch::Epoch;
pub use hyaline::Hyaline;
pub use interval::Interval;
pub(crate) use lines::{Lane, Line, Lines};
#[cfg(loom)]
pub use specification::Specification;

use crate::memory::piece::PieceRef;
use crate::sync::{AtomicPtr, Owned};
use crate::table::leaf::{LeafRef, span_of};
use crate::table::version::{Root, RootRef};

/// A reclamation scheme: [`Interval`], [`Epoch`] or [`Hyaline`].
///
/// The trait is sealed: its contract is between this crate's table and this crate's schemes.
#[expect(private_bounds, reason = "sealed")]
pub trait Reclaim: Scheme {}

impl<S: Scheme> Reclaim for S {}

/// The contract. Numbers are those of the crate's invariants.
pub(crate) trait Scheme: Send + Sync + Sized + 'static {
    /// Where one snapshot is announced.
    type Announcement: Send + Sync;
    /// What waits for its grace period in one storage; touched by one pass at a time.
    type Limbo: Default + Send;

    /// Whether a stalled snapshot keeps only what it shows: then evicting something else gives
    /// memory back now.
    const PRECISE: bool;

    fn new() -> Self;

    fn announcement(&self) -> Self::Announcement;

    /// Whether no snapshot is announced here. Acquire: what the last one's owner did, wherever
    /// it was dropped, happens before.
    fn is_idle(announcement: &Self::Announcement) -> bool;

    /// Announces the version that `root` names, and returns it. It and all it shows within
    /// `span` stay alive until [`leave`](Self::leave) (invariant 4).
    ///
    /// # Safety
    /// The announcement is idle and used by no other thread meanwhile; whatever replaces the
    /// root is handed to `collect` of the same scheme, and freed only when that says so.
    unsafe fn enter(
        &self,
        announcement: &Self::Announcement,
        root: &AtomicPtr<Root>,
        span: Span,
    ) -> RootRef;

    /// Announces what `root` names now, in place of what was announced.
    ///
    /// # Safety
    /// As for `enter`, but the announcement is the caller's and not idle.
    unsafe fn renew(&self, announcement: &Self::Announcement, root: &AtomicPtr<Root>) -> RootRef;

    /// Ends the announcement.
    ///
    /// # Safety
    /// It is the caller's, and nothing that it protected is used afterwards.
    unsafe fn leave(announcement: &Self::Announcement);

    /// Takes over `fresh`, and passes to `free` what no snapshot can reach.
    ///
    /// # Safety
    /// One thread at a time for one `limbo`. Each fresh node was unpublished before this call,
    /// its link says by which version, and it is handed over once.
    unsafe fn collect(
        &self,
        lines: &Lines<Self>,
        limbo: &mut Self::Limbo,
        fresh: List,
        free: &mut dyn FnMut(Record),
    );

    /// What stalled snapshots are known to show: evicting that frees nothing now. A hint, and
    /// nothing at all unless the scheme is precise.
    fn outlook(_: &Self::Limbo) -> Outlook {
        Outlook::default()
    }

    /// Shows everything that waits.
    ///
    /// # Safety
    /// No pass is under way, and none comes meanwhile.
    #[cfg(feature = "validate")]
    unsafe fn each(limbo: &Self::Limbo, see: &mut dyn FnMut(Record));

    /// Passes everything to `free`.
    ///
    /// # Safety
    /// No snapshot of the storage lives, nor ever will.
    unsafe fn surrender(limbo: &mut Self::Limbo, free: &mut dyn FnMut(Record));
}

/// A range of piece numbers, both ends included. With its ends exchanged it contains none, and
/// overlaps what contains both: a leaf without its pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u32,
    pub(crate) last: u32,
}

impl Span {
    pub(crate) const ALL: Self = Self { first: 0, last: u32::MAX };
    /// Contains no piece (numbers end before `u32::MAX`).
    pub(crate) const NONE: Self = Self { first: u32::MAX, last: u32::MAX };

    pub(crate) const fn one(piece: u32) -> Self {
        Self { first: piece, last: piece }
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    #[inline(always)]
    pub(crate) fn contains(self, piece: u32) -> bool {
        self.first <= piece && piece <= self.last
    }

    /// A span that contains, and overlaps, what either does.
    pub(crate) fn hull(self, other: Self) -> Self {
        if self == Self::NONE {
            return other;
        }
        if other == Self::NONE {
            return self;
        }
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }

    pub(crate) fn packed(self) -> u64 {
        (u64::from(self.first) << 32) + u64::from(self.last)
    }

    pub(crate) fn unpacked(packed: u64) -> Self {
        Self { first: (packed >> 32) as u32, last: packed as u32 }
    }
}

/// What stalled snapshots show: versions, and the pieces of each. Few are told apart; beyond
/// that they count as one that shows what any of them does.
#[derive(Clone, Copy, Default)]
pub(crate) struct Outlook([(u64, u64); Outlook::LEN]);

impl Outlook {
    pub(crate) const LEN: usize = 8;

    fn add(&mut self, version: u64, span: Span) {
        // Version 0 shows nothing, and so marks a free place.
        let place = self.0.iter().position(|(other, _)| *other == 0);
        let last = &mut self.0[place.unwrap_or(Self::LEN - 1)];
        let before = if last.0 == 0 { Span::NONE } else { Span::unpacked(last.1) };
        *last = (last.0.max(version), before.hull(span).packed());
    }

    /// Versions and packed spans, in no order.
    pub(crate) fn entries(&self) -> [(u64, u64); Self::LEN] {
        self.0
    }
}

/// A node that was unpublished.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Record {
    Root(RootRef),
    Leaf(LeafRef),
    Piece(PieceRef),
}

impl Record {
    /// The version that first showed the node, and the pieces that it is about.
    ///
    /// # Safety
    /// The node is alive.
    pub(crate) unsafe fn born(self) -> (u64, Span) {
        // SAFETY: the caller's contract.
        unsafe {
            match self {
                Record::Root(root) => (root.head().number, Span::ALL),
                Record::Leaf(leaf) => (leaf.head().born, span_of(leaf.head().number)),
                Record::Piece(piece) => {
                    let header = piece.header();
                    (header.born(), Span::one(header.index()))
                }
            }
        }
    }

    /// The version that no longer showed the node, once a pass has taken it over.
    ///
    /// # Safety
    /// The node is alive, retired, and no pass is under way.
    #[cfg(feature = "validate")]
    pub(crate) unsafe fn died(self) -> u64 {
        // SAFETY: the caller's contract.
        unsafe { self.link().with(|link| link.died) }
    }

    /// # Safety
    /// The node is alive.
    pub(crate) unsafe fn link<'a>(self) -> &'a Link {
        // SAFETY: the caller's contract.
        unsafe {
            match self {
                Record::Root(root) => &root.head().link,
                Record::Leaf(leaf) => &leaf.head().link,
                Record::Piece(piece) => &piece.header().counts.link,
            }
        }
    }
}

/// The reclaimer's part of a node: meaningless while the node is published.
pub(crate) type Link = Owned<LinkState>;

#[derive(Default)]
pub(crate) struct LinkState {
    next: Option<Record>,
    /// The version that no longer showed the node.
    died: u64,
}

/// The reclaimer's notes on a retired root that a snapshot announces.
#[derive(Default)]
pub(crate) struct Keeps {
    /// What its snapshots keep alive.
    hanging: List,
    /// The hull of what its snapshots may look at: as this pass finds it, and as it was when the
    /// list was made.
    seen: Option<Span>,
    hull: Option<Span>,
}

/// A list of retired nodes, threaded through their links.
#[derive(Default)]
pub(crate) struct List(Option<Record>);

impl List {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// # Safety
    /// The caller is the one reclaimer; the node is alive and on no list.
    pub(crate) unsafe fn push(&mut self, record: Record) {
        let next = self.0.replace(record);
        // SAFETY: the caller's contract.
        unsafe { record.link().with(|link| link.next = next) };
    }

    /// Notes the version that unpublished the node, and pushes it.
    ///
    /// # Safety
    /// As for [`List::push`].
    pub(crate) unsafe fn push_dead(&mut self, record: Record, died: u64) {
        // SAFETY: the caller's contract.
        unsafe {
            record.link().with(|link| link.died = died);
            self.push(record);
        }
    }

    /// # Safety
    /// The caller is the one reclaimer, and the nodes on the list are alive.
    pub(crate) unsafe fn pop(&mut self) -> Option<Record> {
        let record = self.0?;
        // SAFETY: the caller's contract.
        self.0 = unsafe { record.link().with(|link| link.next.take()) };
        Some(record)
    }

    /// # Safety
    /// As for [`List::pop`].
    #[cfg(feature = "validate")]
    pub(crate) unsafe fn each(&self, mut see: impl FnMut(Record)) {
        let mut next = self.0;
        while let Some(record) = next {
            see(record);
            // SAFETY: the caller's contract.
            next = unsafe { record.link().with(|link| link.next) };
        }
    }

    /// # Safety
    /// As for [`List::pop`].
    pub(crate) unsafe fn drain(&mut self, mut each: impl FnMut(Record)) {
        // SAFETY: the caller's contract.
        while let Some(record) = unsafe { self.pop() } {
            each(record);
        }
    }
}
