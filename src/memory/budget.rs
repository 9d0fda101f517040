//! The ledger: how many bytes may be alive, and how many are.
//!
//! Duty: invariant 1. Memory is reserved here before it is allocated and released here after it
//! was freed, so that the sum of the six states is never above the limit, at any instant.
//!
//! Limit and resident bytes share one word. A reservation is one compare-and-swap on both, so
//! that lowering the limit binds every reservation that completes after it: there is no moment
//! in which a thread may act on a limit that it read before. What is resident when the limit
//! falls stays, and only falls: the effective budget is `max(limit, resident)`.
//!
//! Orderings: Relaxed, for the ledger orders no other memory; but for the ceiling, whose change
//! must not be settled by a ledger that is older, and which is in no word with the ledger: who goes
//! by it says so before, and who lowers it looks for those afterwards.
//!
//! Limits: amounts are counted in units of 128 bytes, 32 bits of them: 512 GiB.

use super::State;
use crate::stats::States;
use crate::sync::{AtomicU64, AtomicUsize, Counter, Ordering, fence};

/// The grain of the ledger in bytes; every allocation is rounded up to it.
pub(crate) const UNIT: usize = 128;
/// The largest budget that the ledger can hold.
pub(crate) const MAX_BUDGET: u64 = (u32::MAX as u64) * UNIT as u64;

/// Rounds a size up to what the ledger will count for it.
pub(crate) const fn rounded(bytes: usize) -> usize {
    bytes.div_ceil(UNIT) * UNIT
}

pub(crate) struct Budget {
    /// Limit in the upper half, resident in the lower one, both in units.
    ledger: AtomicU64,
    /// Units that only an eviction may take: without room for a new root and leaf nothing could
    /// be evicted from a full cache.
    headroom: Counter,
    /// After the limit was lowered: units up to which evictions may still go, which need new
    /// nodes before they free old ones. Follows what is resident down to the limit.
    ceiling: AtomicU64,
    /// Evictions that are going by the ceiling just now.
    above: AtomicUsize,
    /// Bytes reserved by open assemblies, which together take at most half the limit.
    assemblies: AtomicUsize,
    states: [Counter; 6],
    /// Bytes in limbo that a pass has found kept by a snapshot.
    kept: Counter,
    peak: Counter,
}

fn split(ledger: u64) -> (u64, u64) {
    (ledger >> 32, ledger & u64::from(u32::MAX))
}

fn units(bytes: usize) -> u64 {
    debug_assert!(bytes.is_multiple_of(UNIT));
    (bytes / UNIT) as u64
}

/// The limit in whole units: rounding it up would overrun it.
fn limit_units(bytes: u64) -> u64 {
    bytes.min(MAX_BUDGET) / UNIT as u64
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            ledger: AtomicU64::new(limit_units(limit) << 32),
            headroom: Counter::default(),
            ceiling: AtomicU64::new(0),
            above: AtomicUsize::new(0),
            assemblies: AtomicUsize::new(0),
            states: Default::default(),
            kept: Counter::default(),
            peak: Counter::default(),
        }
    }

    /// The limit in bytes that was asked for, rounded down to whole units.
    pub(crate) fn limit(&self) -> u64 {
        split(self.ledger.load(Ordering::Relaxed)).0 * UNIT as u64
    }

    /// Bytes alive now, in all six states together.
    pub(crate) fn resident(&self) -> u64 {
        split(self.ledger.load(Ordering::Relaxed)).1 * UNIT as u64
    }

    /// The most bytes that were ever alive at once.
    pub(crate) fn peak(&self) -> u64 {
        self.peak.get()
    }

    /// Binds every reservation from now on; gives back nothing by itself.
    pub(crate) fn set_limit(&self, limit: u64) {
        let limit = limit_units(limit) << 32;
        let change = |now| {
            // Before the limit falls: what bound until now still binds evictions. Release: pairs
            // with the Acquire in `settle`. Models: `budget_reservation`, late settlings.
            self.ceiling.fetch_max(split(now).0, Ordering::Release);
            Some(limit + split(now).1)
        };
        let _ = self.ledger.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
        self.settle();
    }

    /// Lowers the ceiling to what is resident, and what evictions need beside it; to the limit
    /// once data is back below its headroom. Whether it is, and no eviction goes by an older
    /// ceiling any more: from then on nothing comes above the limit, unless a call changes it
    /// just now.
    pub(crate) fn settle(&self) -> bool {
        // Acquire: pairs with the Release in `set_limit`, so that the ledger below is of that
        // limit or a later one. What is lowered is the ceiling that was seen here: one that was
        // raised meanwhile stays.
        let seen = self.ceiling.load(Ordering::Acquire);
        let (limit, resident) = split(self.ledger.load(Ordering::Relaxed));
        let headroom = self.headroom.get();
        let down = resident <= limit.saturating_sub(headroom);
        // Never below the limit that was read: should it fall before the next line, it stays
        // what evictions are bound by. Model: `budget_reservation`, a settling.
        let ceiling = if down { limit } else { limit.max(resident + headroom) };
        if ceiling < seen {
            let relaxed = Ordering::Relaxed;
            // If it was raised meanwhile, a later settling lowers it.
            if self.ceiling.compare_exchange(seen, ceiling, relaxed, relaxed).is_err() {
                return false;
            }
        }
        // Pairs with the fence in `reserve_to_evict`: who goes by an older ceiling is seen here, and
        // if gone again, what it took. Model: `budget_reservation`, settled.
        fence(Ordering::SeqCst);
        // Acquire: pairs with the Release there.
        let alone = self.above.load(Ordering::Acquire) == 0;
        let (limit, resident) = split(self.ledger.load(Ordering::Relaxed));
        down && alone && resident <= limit
    }

    /// Keeps so many bytes for evictions.
    pub(crate) fn set_headroom(&self, bytes: usize) {
        self.headroom.set(units(rounded(bytes)));
    }

    pub(crate) fn headroom(&self) -> u64 {
        self.headroom.get() * UNIT as u64
    }

    /// Bytes that data may use at the present limit.
    pub(crate) fn room_for_data(&self) -> u64 {
        self.limit().saturating_sub(self.headroom())
    }

    /// Whether more is resident than data may use.
    pub(crate) fn over(&self) -> bool {
        let (limit, resident) = split(self.ledger.load(Ordering::Relaxed));
        resident > limit.saturating_sub(self.headroom.get())
    }

    /// Takes `bytes` (whole units) into `state`, or nothing; leaves the headroom. Lock-free: a
    /// step is repeated only because another thread's reservation or release went through.
    pub(crate) fn reserve(&self, bytes: usize, state: State) -> bool {
        let headroom = self.headroom.get();
        self.reserve_below(|limit| limit.saturating_sub(headroom), bytes, state)
    }

    /// As `reserve`, out of the headroom as well, and up to the ceiling: for what makes room.
    pub(crate) fn reserve_to_evict(&self, bytes: usize, state: State) -> bool {
        if self.reserve_below(|limit| limit, bytes, state) {
            return true;
        }
        self.above.fetch_add(1, Ordering::Relaxed);
        // Pairs with the fence in `settle`: it sees this eviction, or is seen here.
        fence(Ordering::SeqCst);
        let bound = |limit: u64| limit.max(self.ceiling.load(Ordering::Relaxed));
        let reserved = self.reserve_below(bound, bytes, state);
        // Release: pairs with the Acquire in `settle`, which then sees what was taken. Model:
        // `budget_reservation`, settled.
        self.above.fetch_sub(1, Ordering::Release);
        reserved
    }

    fn reserve_below(&self, bound: impl Fn(u64) -> u64, bytes: usize, state: State) -> bool {
        let wanted = units(bytes);
        let taken = self.ledger.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
            let (limit, resident) = split(now);
            (resident + wanted <= bound(limit)).then_some(now + wanted)
        });
        let Ok(before) = taken else { return false };
        self.peak.raise_to((split(before).1 + wanted) * UNIT as u64);
        self.states[state as usize].add(bytes as u64);
        true
    }

    /// Gives `bytes` of `state` back, after they were freed.
    pub(crate) fn release(&self, bytes: usize, state: State) {
        self.states[state as usize].sub(bytes as u64);
        let before = self.ledger.fetch_sub(units(bytes), Ordering::Relaxed);
        debug_assert!(split(before).1 >= units(bytes), "released more than was reserved");
    }

    /// Notes that `bytes` went from one state to another; resident does not change.
    pub(crate) fn transfer(&self, bytes: usize, from: State, to: State) {
        self.states[from as usize].sub(bytes as u64);
        self.states[to as usize].add(bytes as u64);
    }

    /// Counts `bytes` against the half that assemblies may take together.
    pub(crate) fn open_assembly(&self, bytes: usize) -> bool {
        let half = usize::try_from(self.limit() / 2).unwrap_or(usize::MAX);
        self.assemblies
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                now.checked_add(bytes).filter(|sum| *sum <= half)
            })
            .is_ok()
    }

    pub(crate) fn close_assembly(&self, bytes: usize) {
        self.assemblies.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn assemblies(&self) -> u64 {
        self.assemblies.load(Ordering::Relaxed) as u64
    }

    /// Bytes in one state. A move may be noted just before the one that it follows: never less
    /// than nothing.
    pub(crate) fn state(&self, state: State) -> u64 {
        (self.states[state as usize].get() as i64).max(0) as u64
    }

    /// A pass found `bytes` in limbo that a snapshot keeps.
    pub(crate) fn keep(&self, bytes: usize) {
        self.kept.add(bytes as u64);
    }

    pub(crate) fn keep_no_longer(&self, bytes: usize) {
        self.kept.sub(bytes as u64);
    }

    /// Bytes in limbo that no pass has looked at yet.
    pub(crate) fn unswept_limbo(&self) -> u64 {
        self.state(State::Limbo).saturating_sub((self.kept.get() as i64).max(0) as u64)
    }

    /// The six counters as they are, for who recounts them.
    #[cfg(feature = "validate")]
    pub(crate) fn counters(&self) -> [u64; 6] {
        std::array::from_fn(|state| self.states[state].get())
    }

    /// Bytes in limbo that passes have found kept.
    #[cfg(feature = "validate")]
    pub(crate) fn kept(&self) -> u64 {
        self.kept.get()
    }

    /// What is resident is never above this.
    #[cfg(feature = "validate")]
    pub(crate) fn bound(&self) -> u64 {
        self.limit().max(self.ceiling.load(Ordering::Relaxed) * UNIT as u64)
    }

    /// The resident bytes split by state.
    ///
    /// The sum is `resident` exactly. The split is exact when nothing moves; while bytes move
    /// the published share takes up what the other five, read one after another, do not say.
    pub(crate) fn states(&self) -> States {
        let resident = self.resident();
        let mut left = resident;
        let mut take = |state: State| {
            // A move between two reads may show a share that never was: never more than is left.
            let bytes = self.state(state).min(left);
            left -= bytes;
            bytes
        };
        let table = take(State::Table);
        let assembling = take(State::Assembling);
        let limbo = take(State::Limbo);
        let held = take(State::Held);
        let pooled = take(State::Pooled);
        States { assembling, published: left, limbo, held, pooled, table }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_over_the_limit_takes_nothing() {
        let budget = Budget::new(1024);
        assert!(budget.reserve(896, State::Assembling));
        assert!(!budget.reserve(256, State::Assembling));
        assert_eq!(budget.resident(), 896);
        assert!(budget.reserve(128, State::Assembling));
        assert_eq!(budget.peak(), 1024);
    }

    #[test]
    fn only_evictions_may_use_the_headroom() {
        let budget = Budget::new(1024);
        budget.set_headroom(200);
        assert_eq!((budget.headroom(), budget.room_for_data()), (256, 768));
        assert!(!budget.reserve(896, State::Assembling));
        assert!(budget.reserve(768, State::Assembling));
        assert!(!budget.reserve(128, State::Table) && !budget.over());
        assert!(budget.reserve_to_evict(256, State::Table) && budget.over());
    }

    #[test]
    fn a_lowered_limit_binds_at_once_and_what_is_resident_only_falls() {
        let budget = Budget::new(1024);
        assert!(budget.reserve(1024, State::Assembling));
        budget.set_limit(512);
        assert_eq!(budget.resident(), 1024);
        budget.release(256, State::Assembling);
        assert!(!budget.reserve(128, State::Assembling));
        budget.release(384, State::Assembling);
        assert!(budget.reserve(128, State::Assembling));
        assert_eq!(budget.resident(), 512);
    }

    #[test]
    fn evictions_may_go_on_above_a_lowered_limit_and_follow_it_down() {
        let budget = Budget::new(1024);
        budget.set_headroom(128);
        assert!(budget.reserve(896, State::Assembling));
        budget.set_limit(512);
        assert!(!budget.reserve(128, State::Table));
        assert!(budget.reserve_to_evict(128, State::Table));
        assert!(!budget.reserve_to_evict(128, State::Table));
        budget.release(384, State::Assembling);
        assert!(!budget.settle());
        assert!(budget.reserve_to_evict(128, State::Table));
        assert!(!budget.reserve_to_evict(128, State::Table));
        // At the limit, with what evictions need: not down yet.
        budget.release(256, State::Assembling);
        assert_eq!(budget.resident(), 512);
        assert!(!budget.settle());
        // Once down, the limit is all there is.
        budget.release(256, State::Assembling);
        assert!(budget.settle());
        assert!(budget.reserve_to_evict(256, State::Table));
        assert!(!budget.reserve_to_evict(128, State::Table));
    }

    #[test]
    fn assemblies_together_take_at_most_half() {
        let budget = Budget::new(1024);
        assert!(budget.open_assembly(512));
        assert!(!budget.open_assembly(128));
        budget.close_assembly(256);
        assert_eq!(budget.assemblies(), 256);
        assert!(budget.open_assembly(256));
    }

    #[test]
    fn limbo_is_unswept_until_a_pass_finds_it_kept() {
        let budget = Budget::new(4096);
        assert!(budget.reserve(1024, State::Limbo));
        assert_eq!(budget.unswept_limbo(), 1024);
        budget.keep(256);
        assert_eq!(budget.unswept_limbo(), 768);
        budget.keep_no_longer(256);
        assert_eq!(budget.unswept_limbo(), 1024);
        // Noted before, or after, what it follows: never less than nothing.
        budget.keep(2048);
        assert_eq!(budget.unswept_limbo(), 0);
        budget.keep_no_longer(4096);
        assert_eq!(budget.unswept_limbo(), 1024);
    }

    #[test]
    fn the_states_add_up_to_what_is_resident() {
        let budget = Budget::new(4096);
        assert!(budget.reserve(1024, State::Assembling));
        budget.transfer(1024, State::Assembling, State::Published);
        assert!(budget.reserve(256, State::Table));
        let states = budget.states();
        assert_eq!((states.published, states.table), (1024, 256));
        assert_eq!(states.total(), budget.resident());
    }
}
