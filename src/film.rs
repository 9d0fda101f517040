//! One film as the cache has it, behind the handles that users have.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::evict::observe::Reason;
use crate::evict::playhead::Playhead;
use crate::evict::policy::{self, Action, PlayerEvent};
use crate::evict::protect::Protections;
use crate::foreign::Guest;
use crate::id::StorageId;
use crate::layout::Layout;
use crate::read::held::Held;
use crate::read::wait::Waits;
use crate::read::wanted::Demand;
use crate::retire::{Lane, Reclaim, Span};
use crate::shared::Shared;
use crate::storage::StorageOptions;
use crate::sync::{ArcSwap, AtomicBool, AtomicU32, Counter, Ordering};
use crate::table::leaf::{LEAF, leaf_of, span_of};
use crate::table::publish::{Claim, Table};
use crate::table::version::RootRef;

/// A storage as the cache has it.
pub(crate) struct Film<R: Reclaim> {
    pub(crate) id: StorageId,
    pub(crate) shared: Arc<Shared<R>>,
    pub(crate) table: Table<R>,
    pub(crate) layout: ArcSwap<Layout>,
    pub(crate) options: Guest<StorageOptions>,
    pub(crate) protections: Protections,
    pub(crate) waits: Waits,
    pub(crate) demand: Demand,
    pub(crate) assemblies: crate::ingest::Assemblies,
    removed: AtomicBool,
    /// Removed, and all that was published was evicted, or is another thread's to evict.
    emptied: AtomicBool,
    pub(crate) ended: AtomicBool,
    /// Where eviction looks next.
    pub(crate) hand: AtomicU32,
    /// Bytes of memory that published pieces take.
    pub(crate) published: Counter,
    pub(crate) present: Counter,
    pub(crate) evictions: Counter,
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
            options: Guest::new(options),
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
        self.emptied.load(Ordering::Relaxed) && self.present() == 0 && !self.table.has_limbo()
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
        self.table.domain.with_lane(|lane| self.look(lane, span, look))
    }

    /// As `with_version`, with a lane that is the caller's.
    pub(crate) fn look<T>(&self, lane: &Lane<R>, span: Span, look: impl FnOnce(RootRef) -> T) -> T {
        // SAFETY: the lane is the caller's, and idle; what was looked at is not used after
        // `leave`, for `look` returns no reference into it.
        unsafe {
            let scheme = &self.table.domain.scheme;
            let root = scheme.enter(&lane.announcement, &self.table.root, span);
            let result = look(root);
            R::leave(&lane.announcement);
            result
        }
    }

    pub(crate) fn contains(&self, piece: u32) -> bool {
        // SAFETY: the version is announced for the piece.
        self.with_version(Span::one(piece), |root| unsafe { root.get(piece) }.is_some())
    }

    /// A handle on the piece, if it is there; `counts` as a hit or miss.
    pub(crate) fn take(&self, piece: u32, counts: bool) -> Option<Held> {
        let domain = &self.table.domain;
        domain.with_lane(|lane| {
            let span = Span::one(piece);
            // SAFETY: as in `with_version`; the reference is taken while the piece is shown.
            unsafe {
                let root = domain.scheme.enter(&lane.announcement, &self.table.root, span);
                let held = root.get(piece).map(|found| {
                    found.header().visit(root.head().mark);
                    found.retain();
                    Held::new(found)
                });
                R::leave(&lane.announcement);
                if counts {
                    let count = if held.is_some() { &lane.hits } else { &lane.misses };
                    count.add_alone(1);
                }
                held
            }
        })
    }

    /// The number of the current version.
    pub(crate) fn version(&self) -> u64 {
        // SAFETY: announced.
        self.with_version(Span::NONE, |root| unsafe { root.head() }.number)
    }

    /// The numbers of the leaves that the current version has places for.
    pub(crate) fn leaf_numbers(&self) -> Range<u32> {
        // SAFETY: announced; only the root is looked at.
        self.with_version(Span::NONE, |root| unsafe { root.leaf_numbers() })
    }

    /// Notes what was unpublished.
    pub(crate) fn account_evicted(&self, claims: &[Claim]) {
        let bytes: u64 = claims.iter().map(|claim| claim.size as u64).sum();
        self.published.sub(bytes);
        self.present.sub(claims.len() as u64);
        self.evictions.add(claims.len() as u64);
        self.shared.resident.sub(claims.len() as u64);
        claims.iter().for_each(|claim| self.shared.roster.give_back(claim.seat));
        self.demand.changed();
    }

    /// Evicts pieces of a range, leaf by leaf.
    pub(crate) fn evict_range(&self, pieces: Range<u32>, reason: Reason) -> Result<usize> {
        let mut count = 0;
        if pieces.is_empty() {
            return Ok(0);
        }
        let (first, last) = (pieces.start, pieces.end - 1);
        let leaves = self.leaf_numbers();
        for leaf in leaves.start.max(leaf_of(first))..leaves.end.min(leaf_of(last) + 1) {
            let all = span_of(leaf);
            let span = Span { first: all.first.max(first), last: all.last.min(last) };
            count += self.evict_from(span, LEAF as usize, reason, |_, _| true)?;
        }
        if count > 0 {
            self.table.pass();
        }
        Ok(count)
    }

    pub(crate) fn open_playhead(&self, playhead: &Arc<Playhead>) {
        if let Some(rate) = playhead.bitrate() {
            self.protections.set_bitrate(rate);
        }
        self.change_playheads(|list| list.push(Arc::clone(playhead)));
        self.notice(playhead, Action::Open);
    }

    pub(crate) fn close_playhead(&self, playhead: &Arc<Playhead>, linger: Duration) {
        /// Windows that one viewer may leave behind in one film.
        const LEFT_BEHIND: usize = 4;
        /// Windows that all viewers together may: who invents viewers must not slow the others.
        const LEFT_BEHIND_BY_ALL: usize = 256;
        self.moved(playhead, Action::Close);
        if linger.is_zero() {
            self.change_playheads(|list| list.retain(|p| !Arc::ptr_eq(p, playhead)));
            return;
        }
        playhead.linger_until(self.shared.clock.now().saturating_add(linger));
        self.change_playheads(|list| {
            // Newest last: `open` appends, and closing moves to the end.
            list.retain(|p| !Arc::ptr_eq(p, playhead));
            list.push(Arc::clone(playhead));
            let keep =
                |list: &mut Vec<Arc<Playhead>>, most: usize, left: &dyn Fn(&Playhead) -> bool| {
                    let mut surplus = list.iter().filter(|p| left(p)).count().saturating_sub(most);
                    list.retain(|p| {
                        let goes = surplus > 0 && left(p);
                        surplus -= usize::from(goes);
                        !goes
                    });
                };
            keep(list, LEFT_BEHIND, &|p| p.viewer == playhead.viewer && !p.active());
            keep(list, LEFT_BEHIND_BY_ALL, &|p| !p.active());
        });
    }

    /// A player's place changed, and not by reading on.
    pub(crate) fn moved(&self, playhead: &Playhead, action: Action) {
        playhead.moved_at(self.shared.clock.now());
        self.notice(playhead, action);
    }

    /// Tells the policy what a player did.
    pub(crate) fn notice(&self, playhead: &Playhead, action: Action) {
        let layout = self.layout();
        let event = PlayerEvent {
            storage: self.id,
            viewer: playhead.viewer,
            now: self.shared.clock.now(),
            action,
            position: playhead.position(),
            ahead: playhead.asked().0,
            film: layout.start_offset()..layout.total_len(),
            live: !self.ended(),
            bitrate: self.protections.bitrate(),
        };
        policy::notice(&**self.shared.policy, &event);
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
    }

    /// Everything that `remove` does, once. Should stalled snapshots leave no room for the
    /// versions in which the pieces go, the rest goes first when somebody needs room.
    pub(crate) fn remove(&self) -> Result<()> {
        if self.removed.swap(true, Ordering::Relaxed) {
            return Err(Error::UnknownStorage { id: self.id });
        }
        self.shared.lingering.add(1);
        self.waits.end_all(&Error::Removed);
        self.demand.cancel_all();
        self.demand.grew();
        self.assemblies.clear(&self.shared.memory);
        self.protections.playheads.store(Arc::default());
        self.shared.fit_windows();
        self.empty();
        if self.gone() {
            self.shared.forget(self.id);
        } else {
            // While a snapshot keeps some of it, passes must find it.
            self.shared.limbo.mark(self.id.index as usize);
        }
        Ok(())
    }

    /// Evicts everything from a removed film, as far as there is room for the versions.
    pub(crate) fn empty(&self) {
        let Ok(nodes) = self.nodes_to_evict() else { return };
        // From here on nothing is published.
        self.table.domain.with_lane(|lane| self.table.close(lane, nodes));
        if self.evict_range(0..u32::MAX, Reason::Removed).is_ok()
            && !self.emptied.swap(true, Ordering::Relaxed)
        {
            self.shared.lingering.sub(1);
        }
    }
}

impl<R: Reclaim> Drop for Film<R> {
    fn drop(&mut self) {
        self.assemblies.clear(&self.shared.memory);
        // First freed, then given back.
        let bytes = self.layout.load().heap_bytes();
        drop(self.layout.swap(Arc::new(Layout::segments())));
        self.shared.release_segments(bytes);
    }
}
