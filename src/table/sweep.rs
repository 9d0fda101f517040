//! The pass: collecting what versions have unpublished, once nobody can reach it.
//!
//! - W6 a pass is made by whoever raises `due` from 0, AcqRel; another one goes on. W7 it takes
//!   what the versions since the last pass retired, and W8 hands it to the scheme. W9 lowers
//!   `due`, Release; if somebody came meanwhile, again from W6: a plain try-lock would lose the
//!   last records.
//!
//! A parked pass stops reclaiming in its storage, and nothing else.

use std::sync::Arc;

use super::publish::{Domain, Table};
use super::version::RootRef;
use crate::memory::State;
use crate::retire::{List, Record, Scheme, Span};
use crate::sync::Ordering;

impl<S: Scheme> Table<S> {
    /// Whether enough was unpublished since the last pass to make one; nodes alone weigh little.
    pub(crate) fn pass_is_due(&self, worth: usize) -> bool {
        self.unswept.get() >= worth as u64
    }

    /// Collects what has passed its grace period (W6 to W9); whether anything had. The caller
    /// announces nothing.
    pub(crate) fn pass(&self) -> bool {
        if self.is_made_by_another() {
            return false;
        }
        let mut freed = false;
        loop {
            let unswept = self.unswept.get();
            // W7. Acquire: pairs with W4. Model: `retire_against_snapshot`, two passes.
            let current = self.root.load(Ordering::Acquire);
            // A table's root is never null.
            let Some(current) = RootRef::from_ptr(current) else { return freed };
            // SAFETY: `due` makes this thread the one reclaimer, and only it frees roots.
            unsafe {
                self.pass.with(|pass| {
                    let (fresh, count) = retired_since(current, &mut pass.collected);
                    self.in_limbo.add(count.nodes);
                    self.memory.budget.keep(count.bytes);
                    let mut free = |record| {
                        freed = true;
                        self.in_limbo.sub(1);
                        self.free_swept(record);
                    };
                    let Domain { lines, scheme } = &*self.domain;
                    scheme.collect(lines, &mut pass.limbo, fresh, &mut free);
                    let outlook = S::outlook(&pass.limbo).entries();
                    for (place, (version, span)) in self.stalled.iter().zip(outlook) {
                        place.0.set(version);
                        place.1.set(span);
                    }
                });
            }
            // Not to 0: what was unpublished after W7 is for the next pass.
            self.unswept.sub(unswept);
            // W9. Release: pairs with the Acquire of the W6 that finds 0.
            let came = self.due.swap(0, Ordering::Release);
            if came == 1 || self.is_made_by_another() {
                break;
            }
        }
        if freed {
            // Only now: a waker is a user's code.
            self.memory.freed.wake_all();
        }
        freed
    }

    /// W6: whether a pass is under way already, which then does not end before it has looked at what
    /// this caller wants collected; if not, the pass is this caller's to make.
    fn is_made_by_another(&self) -> bool {
        // AcqRel: Acquire pairs with W9's Release, so that the pass state comes along; Release, for
        // the one who is in there takes over what this caller wants collected. Models:
        // `retire_against_snapshot`, two passes and taken over.
        self.due.fetch_add(1, Ordering::AcqRel) != 0
    }

    /// Whether some thread makes a pass now, or was parked in one. A hint.
    pub(crate) fn pass_is_under_way(&self) -> bool {
        self.due.load(Ordering::Relaxed) > 0
    }

    /// Whether anything may wait for its grace period here. A hint: versions are unswept, or a
    /// stalled snapshot keeps something.
    pub(crate) fn has_limbo(&self) -> bool {
        self.unswept.get() > 0 || self.in_limbo.get() > 0
    }

    /// Whether a stalled snapshot shows that piece, as of the last pass. A hint.
    pub(crate) fn shown_by_stalled(&self, piece: u32, born: u64) -> bool {
        self.stalled.iter().any(|(version, span)| {
            born <= version.get() && Span::unpacked(span.get()).contains(piece)
        })
    }

    /// As `free`, for what a pass has taken over.
    ///
    /// # Safety
    /// As for `free`.
    unsafe fn free_swept(&self, record: Record) {
        // SAFETY: the caller's contract.
        unsafe {
            if let Record::Piece(piece) = record {
                self.memory.budget.keep_no_longer(piece.size());
            }
            self.free(record);
        }
    }

    /// # Safety
    /// The scheme has said that no snapshot reaches the node; called once for it.
    pub(super) unsafe fn free(&self, record: Record) {
        // SAFETY: the caller's contract: the node is this call's alone.
        unsafe {
            match record {
                Record::Piece(piece) => self.memory.drop_share(piece, State::Limbo),
                Record::Leaf(leaf) => leaf.free(&self.memory),
                Record::Root(root) => {
                    root.head().canary.fall();
                    if self.spare.put(root.as_ptr()).is_err() {
                        root.free(&self.memory);
                    }
                }
            }
        }
    }
}

/// How much was retired: nodes and pieces, and the bytes of the pieces.
#[derive(Default)]
struct Count {
    nodes: u64,
    bytes: usize,
}

/// W7: what the versions after `collected` up to `current` have unpublished.
///
/// # Safety
/// The caller is the one reclaimer, and alone frees roots.
unsafe fn retired_since(current: RootRef, collected: &mut u64) -> (List, Count) {
    let (mut fresh, mut count) = (List::default(), Count::default());
    // SAFETY: the caller's contract. A root after `collected` was not handed over yet, nor was
    // the predecessor of the first of them; so all that is looked into here is alive.
    unsafe {
        let newest = current.head().number;
        let mut root = current;
        while root.head().number > *collected {
            let died = root.head().number;
            root.retired(|record| {
                count.nodes += 1;
                if let Record::Piece(piece) = record {
                    count.bytes += piece.size();
                }
                fresh.push_dead(record, died);
            });
            match root.head().previous {
                Some(previous) => root = previous,
                None => break,
            }
        }
        *collected = newest;
    }
    (fresh, count)
}

impl<S: Scheme> Drop for Table<S> {
    fn drop(&mut self) {
        // SAFETY: nobody has a handle to the storage any more, so no snapshot lives and none can
        // come; everything is this call's alone.
        unsafe {
            let memory = Arc::clone(&self.memory);
            let Some(current) = RootRef::from_ptr(self.root.load(Ordering::Relaxed)) else {
                return;
            };
            self.pass.with(|pass| {
                let (mut fresh, count) = retired_since(current, &mut pass.collected);
                memory.budget.keep(count.bytes);
                fresh.drain(|record| self.free_swept(record));
                S::surrender(&mut pass.limbo, &mut |record| self.free_swept(record));
            });
            for leaf in current.iter() {
                for (_, piece) in leaf.pieces() {
                    let size = piece.size();
                    memory.budget.transfer(size, State::Published, State::Limbo);
                    memory.budget.keep(size);
                    self.free_swept(Record::Piece(piece));
                }
                self.free_swept(Record::Leaf(leaf));
            }
            self.free_swept(Record::Root(current));
            while let Some(root) = self.spare.take(|_| true).and_then(RootRef::from_ptr) {
                root.free(&memory);
            }
        }
    }
}
