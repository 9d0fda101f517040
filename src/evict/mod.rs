//! Goes: making room, by unpublishing what is worth least.
//!
//! Duty: invariants 1 (in need, in this order: what handles returned and what is pooled, what
//! has passed its grace period, eviction by policy) and 2 (preference, never a veto).
//!
//! A victim is chosen from a sample of all that is resident, whatever films it is of, without a lock:
//! see [`choose`]. First what gives its memory back now; what a stalled snapshot shows or a handle
//! pins goes last, and only for a caller who may wait for it. Nothing is evicted while as much as is
//! needed waits for its grace period already, unless evicting gives memory back now: a reader that
//! stalls must not cost the cache its content.

pub(crate) mod choose;
pub(crate) mod density;
pub(crate) mod observe;
pub(crate) mod playhead;
pub(crate) mod policy;
pub(crate) mod protect;
pub(crate) mod roster;
pub(crate) mod shortlist;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::film::Film;
use crate::memory::piece::PieceRef;
use crate::memory::{Purpose, Refused, State};
use crate::retire::{Reclaim, Span};
use crate::shared::Shared;
use crate::sync::yield_now;
use crate::table::publish::Claim;
use choose::Choice;
use observe::{Eviction, Reason};
use roster::Entry;

/// Times that a caller looks again for memory that other threads are about to give back.
const PATIENCE: u32 = 3;
/// Times that a caller evicts what it needs before it gives up.
const ENOUGH: usize = 16;

/// For whom room is made.
pub(crate) struct Need<'a, R: Reclaim> {
    /// Bytes wanted.
    pub(crate) bytes: usize,
    /// Only pieces of this film may go.
    pub(crate) only: Option<&'a Arc<Film<R>>>,
    pub(crate) reason: Reason,
    /// The caller waits: pieces may go whose memory comes back later.
    pub(crate) patient: bool,
}

impl<R: Reclaim> Shared<R> {
    /// Calls `attempt` until it gets its memory, making room in between; or says that there is
    /// none. Never waits. Lock-free: a round is repeated only when something was freed, and
    /// freed memory is missing afterwards only because another thread took it.
    pub(crate) fn obtain<T>(
        &self,
        need: &Need<'_, R>,
        mut attempt: impl FnMut() -> Result<T, Refused>,
    ) -> Result<T> {
        let mut patience = 0..PATIENCE;
        let mut wait = || patience.next().map(|_| yield_now()).is_some();
        // Of each piece no more counts than is needed: a large one for a small need is one try.
        let mut evicted = 0;
        loop {
            match attempt() {
                Ok(got) => return Ok(got),
                Err(Refused::Allocator) => {
                    return Err(Error::OutOfMemory { bytes: need.bytes as u64 });
                }
                Err(Refused::Budget) => {}
            }
            // Nothing goes for what cannot fit. Somebody's table takes some of the room.
            if need.bytes as u64 >= self.memory.budget.room_for_data() {
                return Err(self.exhausted(need.bytes));
            }
            if self.memory.take_back_returned() || self.memory.free_one_pooled() {
                continue;
            }
            if self.pass_all() || self.expire_assemblies() {
                continue;
            }
            // What is on its way: evicting more for it would cost content and give nothing.
            // With a precise scheme a pass has just said what snapshots keep: that does not come.
            let limbo = self.memory.budget.state(State::Limbo);
            let coming = if R::PRECISE { self.memory.budget.unswept_limbo() } else { limbo };
            if coming >= need.bytes as u64 {
                if wait() {
                    continue;
                }
                if !R::PRECISE {
                    return Err(self.exhausted(need.bytes));
                }
            }
            let stuck = limbo + self.memory.budget.state(State::Held);
            let futile = need.patient && stuck < need.bytes as u64;
            // Evicted in vain, time and again: a pass is parked, or others take it all. Content is
            // worth more than one more try.
            if evicted > ENOUGH * need.bytes {
                return Err(self.exhausted(need.bytes));
            }
            match self.evict_one(need, futile, evicted > 0) {
                Ok(bytes @ 1..) => evicted += bytes.min(need.bytes),
                // A thread that was parked inside a short snapshot may be all that is in the way.
                Ok(0) | Err(_) if wait() => {}
                // The budget is not to blame.
                Err(error @ Error::OutOfMemory { .. }) => return Err(error),
                Ok(0) | Err(_) => return Err(self.exhausted(need.bytes)),
            }
        }
    }

    /// A seat for a piece that is about to be published. If all are taken, room is made for more: by
    /// what gives a seat back, which may do. A piece that gets none is published without one.
    pub(crate) fn seat(&self, entry: Entry, piece: PieceRef) -> u32 {
        let bytes = self.roster.growth();
        let need = Need { bytes, only: None, reason: Reason::Room, patient: false };
        let take = || self.roster.take(entry, piece);
        let attempt = || match take() {
            Some(seat) => Ok(seat),
            None => self.roster.grow().and_then(|()| take().ok_or(Refused::Budget)),
        };
        self.obtain(&need, attempt).unwrap_or(roster::NONE)
    }

    /// The error that says why there is no memory.
    pub(crate) fn exhausted(&self, needed: usize) -> Error {
        let states = self.memory.budget.states();
        Error::BudgetExhausted {
            needed: needed as u64,
            budget: self.memory.budget.limit().max(states.total()),
            states,
            snapshots: self.live_snapshots(),
        }
    }

    /// Collects what has passed its grace period, in every storage where something may; whether
    /// anything had.
    pub(crate) fn pass_all(&self) -> bool {
        let mut any = false;
        let waits = |film: &Film<R>| film.table.has_limbo() || film.removed();
        self.visit(&self.limbo, waits, |film| {
            if film.table.has_limbo() {
                any |= film.table.pass();
            }
            if film.gone() {
                self.try_forget(film.id);
            }
        });
        any
    }

    /// Evicts the least valuable piece; its bytes, or 0 if there was none.
    pub(crate) fn evict_one(&self, need: &Need<'_, R>, futile: bool, again: bool) -> Result<usize> {
        // What is lost to another thread means another victim; that thread made room.
        let mut lost = false;
        for _ in 0..64 {
            let victim = match self.choose(need.only, futile, again) {
                Choice::Victim(victim) => victim,
                Choice::Gone => continue,
                Choice::Nothing => return Ok(0),
            };
            let wanted = |_, shown| shown == victim.shown;
            let count = victim.film.evict_from(Span::one(victim.piece), 1, need.reason, wanted)?;
            if count != 0 {
                victim.film.table.pass();
                self.memory.budget.settle();
                return Ok(victim.size);
            }
            lost = true;
        }
        Ok(if lost { need.bytes.max(1) } else { 0 })
    }
}

impl<R: Reclaim> Film<R> {
    /// Evicts the pieces of `span`, which lies in one leaf, that `wanted` chooses, at most
    /// `limit`: claims them, tells the observers, unpublishes them in one version. How many went.
    pub(crate) fn evict_from(
        &self,
        span: Span,
        limit: usize,
        reason: Reason,
        wanted: impl FnMut(u32, PieceRef) -> bool,
    ) -> Result<usize> {
        let domain = &self.table.domain;
        // W0: first the nodes, for a claim must be carried through.
        let nodes = self.nodes_to_evict()?;
        let claims = domain.with_lane(|lane| self.table.claim(lane, span, limit, wanted));
        if claims.is_empty() {
            return Ok(0);
        }
        for &Claim { piece, size, .. } in &claims {
            let eviction = Eviction { storage: self.id, piece, size, reason };
            for observer in &self.shared.observers {
                observe::tell(&***observer, &eviction);
            }
        }
        domain.with_lane(|lane| self.table.unpublish(lane, nodes, &claims));
        self.shared.limbo.mark(self.id.index as usize);
        self.account_evicted(&claims);
        Ok(claims.len())
    }

    /// The nodes of a version in which something goes. They may use the headroom; should even
    /// that be in limbo, a pass may bring it back.
    pub(crate) fn nodes_to_evict(&self) -> Result<crate::table::publish::Nodes<'_, R>> {
        let mut tries = 0..16;
        loop {
            match self.table.nodes(Purpose::Evict) {
                Ok(nodes) => return Ok(nodes),
                Err(Refused::Allocator) => {
                    return Err(Error::OutOfMemory { bytes: self.table.node_bytes() as u64 });
                }
                Err(Refused::Budget) if self.shared.memory.free_one_pooled() => {}
                Err(Refused::Budget) if tries.next().is_some() => {
                    self.shared.memory.take_back_returned();
                    if !self.shared.pass_all() {
                        // Another thread may have the pass, and what it is about to free.
                        yield_now();
                    }
                }
                Err(Refused::Budget) => return Err(self.shared.exhausted(self.table.node_bytes())),
            }
        }
    }
}
