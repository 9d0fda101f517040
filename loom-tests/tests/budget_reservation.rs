//! Reservations, a release and a lowered limit at once: what is resident never exceeds the limit
//! by a reservation, and a lowered limit binds every reservation that completes after it.
#![cfg(loom)]

use std::sync::Arc;

use lookbehind::model::Budget;
use loom::thread;
use loom_tests::check;

const UNIT: usize = 128;

/// Room for two, of which one is taken; two more want one each while the first is released.
#[test]
fn two_reservers_and_a_release() {
    check("budget_reservation, two reservers and a release", 3, || {
        let budget = Budget::new(2 * UNIT as u64);
        assert!(budget.reserve(UNIT));
        let reservers = [(); 2].map(|()| {
            let budget = budget.clone();
            thread::spawn(move || {
                let reserved = budget.reserve(UNIT);
                assert!(budget.resident() <= 2 * UNIT as u64, "over the limit");
                reserved
            })
        });
        budget.release(UNIT);
        assert!(budget.resident() <= 2 * UNIT as u64, "over the limit");
        let reserved = reservers.map(|reserver| reserver.join().unwrap());
        let count = reserved.into_iter().filter(|reserved| *reserved).count();
        assert!(count >= 1, "there was room for one all the time");
        assert_eq!(budget.resident(), (count * UNIT) as u64);
    });
}

/// The limit falls to what is resident: whoever reserves afterwards gets nothing.
#[test]
fn lowered_limit() {
    check("budget_reservation, a lowered limit", 3, || {
        let budget = Budget::new(3 * UNIT as u64);
        assert!(budget.reserve(UNIT));
        let reservers = [(); 2].map(|()| {
            let budget = budget.clone();
            thread::spawn(move || budget.reserve(UNIT))
        });
        budget.set_limit(UNIT as u64);
        let seen = budget.resident();
        assert!(!budget.reserve(UNIT), "over the lowered limit");
        let reserved = reservers.map(|reserver| reserver.join().unwrap());
        let count = reserved.into_iter().filter(|reserved| *reserved).count();
        assert_eq!(budget.resident(), ((1 + count) * UNIT) as u64);
        assert_eq!(budget.resident(), seen, "a reservation came through after the limit fell");
    });
}

/// The limit has fallen below what is resident: there is something to settle.
fn on_the_way_down() -> Arc<Budget> {
    let budget = Budget::new(16 * UNIT as u64);
    budget.set_headroom(2 * UNIT);
    assert!(budget.reserve(14 * UNIT));
    budget.set_limit(8 * UNIT as u64);
    budget.release(4 * UNIT);
    budget
}

/// A settling that comes late, when the limit has risen, the room been taken and the limit fallen
/// again, leaves evictions the room that they need on the way down.
#[test]
fn late_settling() {
    check("budget_reservation, a late settling", 3, || {
        let budget = on_the_way_down();
        let settling = budget.clone();
        let settling = thread::spawn(move || settling.settle());
        budget.set_limit(32 * UNIT as u64);
        assert!(budget.reserve(20 * UNIT));
        budget.set_limit(4 * UNIT as u64);
        settling.join().unwrap();
        assert!(budget.reserve_to_evict(2 * UNIT), "evictions are stuck above the limit");
        assert!(!budget.reserve_to_evict(UNIT), "over what bound before");
    });
}

/// The same, but another thread than the one that raised the limit fills the room, and lowers it.
#[test]
fn late_settling_between_two() {
    check("budget_reservation, a late settling between two", 3, || {
        let budget = on_the_way_down();
        let settling = budget.clone();
        let settling = thread::spawn(move || settling.settle());
        let filling = budget.clone();
        let filling = thread::spawn(move || {
            let filled = filling.reserve(20 * UNIT);
            if filled {
                filling.set_limit(4 * UNIT as u64);
            }
            filled
        });
        budget.set_limit(32 * UNIT as u64);
        let filled = filling.join().unwrap();
        settling.join().unwrap();
        if filled {
            assert!(budget.reserve_to_evict(2 * UNIT), "evictions are stuck above the limit");
            assert!(!budget.reserve_to_evict(UNIT), "over what bound before");
        }
    });
}

/// Two change the limit at once, and one fills what is there: whoever comes last, what is resident
/// above the limit can be evicted.
#[test]
fn two_limits() {
    check("budget_reservation, two limits", 3, || {
        let budget = Budget::new(8 * UNIT as u64);
        budget.set_headroom(2 * UNIT);
        let other = budget.clone();
        let other = thread::spawn(move || other.set_limit(4 * UNIT as u64));
        budget.set_limit(16 * UNIT as u64);
        budget.reserve(14 * UNIT);
        other.join().unwrap();
        assert!(budget.reserve_to_evict(UNIT), "evictions are stuck above the limit");
        assert!(budget.resident() <= 16 * UNIT as u64);
    });
}

/// The limit falls while one thread settles and another evicts: evictions may go on up to what
/// bound before, and not a unit beyond.
#[test]
fn lowered_while_settling() {
    check("budget_reservation, a settling", 3, || {
        let (before, after, headroom) = (8 * UNIT, 4 * UNIT, 2 * UNIT);
        let budget = Budget::new(before as u64);
        budget.set_headroom(headroom);
        assert!(budget.reserve(before - headroom));
        let settling = budget.clone();
        let settling = thread::spawn(move || settling.settle());
        let lowering = budget.clone();
        let lowering = thread::spawn(move || lowering.set_limit(after as u64));
        budget.reserve_to_evict(headroom);
        budget.reserve_to_evict(UNIT);
        assert!(budget.resident() <= before as u64, "over what bound before");
        settling.join().unwrap();
        lowering.join().unwrap();
        // On the way down there is room for evictions, whoever came first.
        budget.release(headroom);
        assert!(budget.reserve_to_evict(UNIT));
        assert!(budget.resident() <= before as u64, "over what bound before");
    });
}

/// Evictions that have seen what bound before the limit fell, and are late: once a settling has
/// said so, nothing comes above the limit, although what is resident is what it was.
#[test]
fn settled() {
    check("budget_reservation, settled", 3, || {
        let after = 4 * UNIT as u64;
        let budget = Budget::new(8 * UNIT as u64);
        budget.set_headroom(UNIT);
        assert!(budget.reserve(4 * UNIT));
        budget.set_limit(after);
        let evicting = budget.clone();
        let evicting = thread::spawn(move || {
            let taken = [(); 2].map(|()| evicting.reserve_to_evict(UNIT));
            taken.into_iter().filter(|taken| *taken).count()
        });
        budget.release(UNIT);
        let settled = budget.settle();
        let again = budget.reserve_to_evict(UNIT);
        let seen = budget.resident();
        let taken = evicting.join().unwrap() + usize::from(again);
        if settled {
            assert!(seen.max(budget.resident()) <= after, "over the limit");
        }
        // However it went, a settling ends with all that is above the limit gone.
        budget.release(taken * UNIT);
        assert!(budget.settle());
    });
}
