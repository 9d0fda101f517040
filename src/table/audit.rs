//! A table looked through from end to end, while nobody else uses it: for `Cache::validate`.

use super::leaf::{LeafRef, leaf_of};
use super::publish::Table;
use super::version::RootRef;
use crate::memory::piece::PieceRef;
use crate::retire::{Record, Scheme, Span};
use crate::sync::Ordering;
use crate::validate::check;

/// What there is of a table.
#[derive(Default)]
pub(crate) struct Audit {
    /// The current version.
    pub(crate) number: u64,
    /// Pieces that it shows.
    pub(crate) published: Vec<PieceRef>,
    /// Pieces that wait for their grace period, or for the pass that hands them over.
    pub(crate) limbo: Vec<PieceRef>,
    /// Bytes of those that a pass has handed over.
    pub(crate) kept: u64,
    /// Bytes of all nodes: live, in limbo, and spare.
    pub(crate) nodes: u64,
}

impl<S: Scheme> Table<S> {
    /// What there is of this table, or what is wrong with it.
    ///
    /// # Safety
    /// No other thread uses the cache until it returns.
    pub(crate) unsafe fn audit(&self) -> Result<Audit, String> {
        let mut audit = Audit::default();
        let root = RootRef::from_ptr(self.root.load(Ordering::Relaxed));
        let root = root.ok_or("a table has no root")?;
        check!(self.due.load(Ordering::Relaxed) == 0, "a pass is under way");
        // SAFETY: nobody changes anything, so all that is reached from here is alive.
        unsafe {
            self.audit_current(root, &mut audit)?;
            self.pass.with(|pass| {
                check!(pass.collected <= audit.number, "a version is collected before it is there");
                let unswept = pass.collected < audit.number;
                self.audit_unswept(root, pass.collected, &mut audit)?;
                let mut count = 0;
                let mut flaw = None;
                S::each(&pass.limbo, &mut |record| {
                    count += 1;
                    flaw = flaw.take().or(retired(record, record.died(), &mut audit, true));
                    if record.died() > pass.collected {
                        flaw = Some("a node was handed over before its time".into());
                    }
                });
                if let Some(flaw) = flaw {
                    return Err(flaw);
                }
                let counted = self.in_limbo.get();
                check!(count == counted, "{count} nodes in limbo, {counted} counted");
                // Closing alone is no reason for a pass.
                let due = self.unswept.get() > 0;
                check!(unswept || !due, "a pass is due, but nothing is unswept");
                Ok(())
            })?;
            let spare = self.spare.things().ok_or("the shelf of spare roots is torn")?;
            for root in spare.into_iter().filter_map(RootRef::from_ptr) {
                audit.nodes += root.size() as u64;
            }
        }
        Ok(audit)
    }

    /// # Safety
    /// As for `audit`.
    unsafe fn audit_current(&self, root: RootRef, audit: &mut Audit) -> Result<(), String> {
        // SAFETY: the caller's contract.
        unsafe {
            let head = root.head();
            audit.number = head.number;
            audit.nodes += root.size() as u64;
            check!(head.capacity == self.capacity, "a root of another capacity");
            check!(head.leaves <= head.capacity, "a root with too many leaves");
            let places = head.first..head.first + head.leaves;
            if self.fixed {
                check!(places == (0..self.capacity), "a fixed root shows leaves {places:?}");
            } else if !places.is_empty() {
                let ends = [places.start, places.end - 1];
                let shown = ends.iter().all(|number| root.leaf(*number).is_some());
                check!(shown, "a window of leaves {places:?} with an empty end");
            }
            for number in places {
                if let Some(leaf) = root.leaf(number) {
                    self.audit_leaf(number, leaf, audit)?;
                }
            }
            let (shown, counted) = (audit.published.len(), head.present);
            check!(shown == counted as usize, "{shown} pieces are shown, {counted} counted");
            Ok(())
        }
    }

    /// # Safety
    /// As for `audit`.
    unsafe fn audit_leaf(&self, at: u32, leaf: LeafRef, audit: &mut Audit) -> Result<(), String> {
        // SAFETY: the caller's contract.
        unsafe {
            let head = leaf.head();
            let (size, slots) = leaf.measures();
            audit.nodes += size as u64;
            let (number, born, used) = (head.number, head.born, head.used);
            check!(number == at, "leaf {number} in the place of leaf {at}");
            check!(slots == self.slots, "a leaf of {slots} slots");
            check!((1..=audit.number).contains(&born), "leaf {at} was born in version {born}");
            let before = audit.published.len();
            for (piece, shown) in leaf.pieces() {
                let header = shown.header();
                let index = header.index();
                check!(index == piece, "piece {index} in the place of piece {piece}");
                let first = header.born();
                check!((1..=born).contains(&first), "piece {piece} was born in {first}");
                check!(!header.claimed(), "piece {piece} is claimed by nobody");
                audit.published.push(shown);
            }
            let shown = audit.published.len() - before;
            check!(shown == used as usize && shown > 0, "leaf {at} has {shown}, counts {used}");
            Ok(())
        }
    }

    /// What the versions since the last pass have retired.
    ///
    /// # Safety
    /// As for `audit`.
    unsafe fn audit_unswept(
        &self,
        current: RootRef,
        collected: u64,
        audit: &mut Audit,
    ) -> Result<(), String> {
        let mut root = current;
        // SAFETY: the caller's contract; roots after `collected` and the one before them are
        // alive.
        unsafe {
            while root.head().number > collected {
                let (number, touched) = (root.head().number, root.head().touched);
                let previous = root.head().previous.ok_or("a version without the one before")?;
                check!(previous.head().number + 1 == number, "a gap before version {number}");
                if touched != Span::NONE
                    && let Some(leaf) = root.leaf(leaf_of(touched.first))
                {
                    let born = leaf.head().born;
                    check!(born == number, "version {number} shows a new leaf of {born}");
                }
                let mut flaw = None;
                root.retired(|record| {
                    flaw = flaw.take().or(retired(record, number, audit, false));
                });
                if let Some(flaw) = flaw {
                    return Err(flaw);
                }
                root = previous;
            }
        }
        Ok(())
    }
}

/// Notes a retired node; what is wrong with it.
///
/// # Safety
/// The node is alive, and nobody changes it.
unsafe fn retired(record: Record, died: u64, audit: &mut Audit, swept: bool) -> Option<String> {
    // SAFETY: the caller's contract.
    unsafe {
        let (born, _) = record.born();
        match record {
            Record::Root(root) => audit.nodes += root.size() as u64,
            Record::Leaf(leaf) => audit.nodes += leaf.measures().0 as u64,
            Record::Piece(piece) => {
                audit.limbo.push(piece);
                if swept {
                    audit.kept += piece.size() as u64;
                }
                if !piece.header().claimed() {
                    return Some(format!("{record:?} was unpublished without a claim"));
                }
            }
        }
        (born >= died).then(|| format!("{record:?} was born in {born} and died in {died}"))
    }
}
