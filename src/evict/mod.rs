//! Goes: making room, by unpublishing what is worth least.
//!
//! Duty: invariants 1 (in need, in this order: what handles returned and what is pooled, what
//! has passed its grace period, eviction by policy) and 2 (preference, never a veto).
//!
//! A victim is chosen from candidates that are sampled from the tables of all storages, each read
//! under an announcement of its own, without a lock. First those whose memory comes back now; what
//! a stalled snapshot shows or a handle pins goes last, and only for a caller who may wait for it.
//! Nothing is evicted while as much as is needed waits for its grace period already, unless
//! evicting gives memory back now: a reader that stalls must not cost the cache its content.

pub(crate) mod density;
pub(crate) mod observe;
pub(crate) mod policy;
pub(crate) mod protect;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::film::Film;
use crate::foreign;
use crate::memory::piece::PieceRef;
use crate::memory::{Purpose, Refused, State};
use crate::retire::{Lane, Reclaim, Span};
use crate::shared::Shared;
use crate::sync::{Ordering, yield_now};
use crate::table::leaf::{leaf_of, nodes_of};
use crate::table::publish::Claim;
use observe::{Eviction, Reason};
use policy::Candidate;
use protect::{Protection, View};

/// Candidates that an eviction looks at, if one of them is unprotected.
const SAMPLE: usize = 32;
/// Times that a caller looks again for memory that other threads are about to give back.
const PATIENCE: u32 = 3;
/// Times that a caller evicts what it needs before it gives up.
const ENOUGH: usize = 16;

/// The least valuable piece that was found.
struct Victim<R: Reclaim> {
    film: Arc<Film<R>>,
    piece: u32,
    shown: PieceRef,
    size: usize,
    rank: Rank,
}

enum Choice<R: Reclaim> {
    Victim(Victim<R>),
    /// The films changed while they were looked at: there may be others now.
    Gone,
    Nothing,
}

/// What there is to know of a candidate. Only numbers, and an address to compare: the piece may be
/// gone by now.
struct Seen {
    shown: PieceRef,
    size: usize,
    born: u64,
    version: u64,
    visited: bool,
    pinned: bool,
}

/// The order in which pieces go.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
struct Rank {
    /// Evicting it frees nothing now.
    futile: bool,
    protection: Protection,
    worth: f64,
}

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
            match self.evict_one(need, futile) {
                Ok(bytes @ 1..) => evicted += bytes.min(need.bytes),
                // A thread that was parked inside a short snapshot may be all that is in the way.
                Ok(0) | Err(_) if wait() => {}
                // The budget is not to blame.
                Err(error @ Error::OutOfMemory { .. }) => return Err(error),
                Ok(0) | Err(_) => return Err(self.exhausted(need.bytes)),
            }
        }
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

    /// Collects what has passed its grace period, in every storage; whether anything had.
    pub(crate) fn pass_all(&self) -> bool {
        let mut any = false;
        for film in self.directory.load().films() {
            if film.table.has_limbo() {
                any |= film.table.pass();
            }
            if film.gone() {
                self.try_forget(film.id);
            }
        }
        any
    }

    /// Evicts the least valuable piece; its bytes, or 0 if there was none.
    pub(crate) fn evict_one(&self, need: &Need<'_, R>, futile: bool) -> Result<usize> {
        // What is lost to another thread means another victim; that thread made room.
        let mut lost = false;
        for _ in 0..64 {
            let victim = match self.choose(need.only, futile) {
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

    /// Looks for the least valuable piece.
    fn choose(&self, only: Option<&Arc<Film<R>>>, futile: bool) -> Choice<R> {
        let directory = self.directory.load();
        let films: Vec<&Arc<Film<R>>> = match only {
            Some(film) => vec![film],
            None => directory.films().collect(),
        };
        let resident: u64 = films.iter().map(|film| u64::from(film.present())).sum();
        if resident == 0 {
            return Choice::Nothing;
        }
        let (mut best, mut gone) = (None, false);
        let start = self.hand.fetch_add(1, Ordering::Relaxed) % films.len();
        let order = || films[start..].iter().chain(&films[..start]);
        // First a sample, each film in proportion to what it holds; then, if all of it is
        // protected or futile, everything.
        for all in [false, true] {
            for film in order() {
                let share = (u64::from(film.present()) * SAMPLE as u64).div_ceil(resident);
                let count = if all { usize::MAX } else { share.max(1) as usize };
                gone |= self.sample(film, count, futile, &mut best);
            }
            let good = |v: &Victim<R>| !v.rank.futile && v.rank.protection == Protection::None;
            if resident <= SAMPLE as u64 || best.as_ref().is_some_and(good) {
                break;
            }
        }
        match best {
            Some(victim) => Choice::Victim(victim),
            None if gone => Choice::Gone,
            None => Choice::Nothing,
        }
    }

    /// Compares up to `count` pieces of one film, from its hand on, with the best so far; whether
    /// it found none, but the film changed meanwhile.
    ///
    /// A leaf's numbers are copied under an announcement of its nodes, and then each piece is
    /// looked at under one of its own: a thread that is parked here keeps one piece at most, and
    /// the policy, which is a user's code, none.
    fn sample(
        &self,
        film: &Arc<Film<R>>,
        count: usize,
        futile: bool,
        best: &mut Option<Victim<R>>,
    ) -> bool {
        let view = film.protections.view(&film.layout(), self.clock.now());
        let hand = film.hand.load(Ordering::Relaxed);
        let (version, leaves) = film.with_version(Span::NONE, |root| {
            // SAFETY: announced; only the root is looked at.
            unsafe { (root.head().number, root.leaf_numbers()) }
        });
        let middle = leaf_of(hand).clamp(leaves.start, leaves.end);
        let before = hand.checked_sub(1).map_or(Span::NONE, |last| Span { first: 0, last });
        // The hand's own leaf comes twice: from the hand on, and at the end what lies before it.
        let after = (middle..leaves.end).map(|leaf| (leaf, Span { first: hand, last: u32::MAX }));
        let around = (leaves.start..leaves.end.min(middle + 1)).map(|leaf| (leaf, before));
        let mut left = count;
        film.table.domain.with_lane(|lane| {
            let mut numbers = Vec::with_capacity(count.min(SAMPLE));
            for (leaf, part) in after.chain(around) {
                film.look(lane, nodes_of(leaf), |root| {
                    numbers.clear();
                    // SAFETY: the leaf is announced; no piece is looked into.
                    let pieces = unsafe { root.leaf(leaf).map(|leaf| leaf.pieces_in(part)) };
                    let pieces = pieces.into_iter().flatten().map(|(piece, _)| piece);
                    numbers.extend(pieces.take(left));
                });
                let mut found = Vec::with_capacity(numbers.len());
                for &piece in &numbers {
                    film.hand.store(piece.wrapping_add(1), Ordering::Relaxed);
                    found.extend(film.see(lane, piece, count != usize::MAX).map(|s| (piece, s)));
                }
                for ((piece, seen), rank) in found.iter().zip(self.rank(film, &view, &found)) {
                    let worse = |b: &Victim<R>| rank < b.rank;
                    if (futile || !rank.futile) && best.as_ref().is_none_or(worse) {
                        let (&piece, &Seen { shown, size, .. }) = (piece, seen);
                        *best = Some(Victim { film: Arc::clone(film), piece, shown, size, rank });
                    }
                }
                left -= numbers.len();
                if left == 0 {
                    break;
                }
            }
        });
        best.is_none() && film.version() != version
    }

    /// The ranks of a film's candidates.
    fn rank(&self, film: &Film<R>, view: &View, found: &[(u32, Seen)]) -> Vec<Rank> {
        let layout = film.layout.load();
        let candidate = |(piece, seen): &(u32, Seen)| Candidate {
            storage: film.id,
            piece: *piece,
            bytes: layout.byte_range(*piece).unwrap_or(0..0),
            size: seen.size,
            protection: view.class(*piece),
            next_use: if view.watched() { view.next_use(*piece) } else { None },
            last_use: if view.watched() { view.last_use(*piece) } else { None },
            visited: seen.visited,
            age: seen.version.saturating_sub(seen.born),
        };
        let candidates: Vec<_> = found.iter().map(candidate).collect();
        let worths = policy::rank(&**self.policy, &view.scene(film.id), &candidates);
        let soft = foreign::call(|| self.policy.soft_windows()).unwrap_or(false);
        let rank = |((piece, seen), worth): (&(u32, Seen), f64)| {
            let futile = seen.pinned || film.table.shown_by_stalled(*piece, seen.born);
            if film.removed() || !view.known(*piece) {
                return Rank { futile, protection: Protection::None, worth: f64::MIN };
            }
            let protection = if soft { view.named(*piece) } else { view.class(*piece) };
            Rank { futile, protection, worth }
        };
        found.iter().zip(worths).map(rank).collect()
    }
}

impl<R: Reclaim> Film<R> {
    /// Looks at a candidate, and takes its mark if `unmark`; `None` if it is gone, or somebody is
    /// evicting it already.
    fn see(&self, lane: &Lane<R>, piece: u32, unmark: bool) -> Option<Seen> {
        // SAFETY: announced for this piece, so it and the version are alive.
        self.look(lane, Span::one(piece), |root| unsafe {
            let shown = root.get(piece)?;
            let header = shown.header();
            header.canary.sing();
            if header.claimed() {
                return None;
            }
            let visited = header.visited();
            if visited && unmark {
                header.clear_visited();
            }
            let (born, version) = (header.born(), root.head().number);
            let (size, pinned) = (header.size(), header.pinned());
            Some(Seen { shown, size, born, version, visited, pinned })
        })
    }

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
        for &Claim { piece, size } in &claims {
            let eviction = Eviction { storage: self.id, piece, size, reason };
            for observer in &self.shared.observers {
                observe::tell(&***observer, &eviction);
            }
        }
        domain.with_lane(|lane| self.table.unpublish(lane, nodes, &claims));
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
