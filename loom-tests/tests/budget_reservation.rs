//! Reservations, a release and a lowered limit at once: what is resident never exceeds the limit
//! by a reservation, and a lowered limit binds every reservation that completes after it.
#![cfg(loom)]

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
