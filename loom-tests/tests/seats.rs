//! Threads take seats of the roster and give them back: nobody has a seat that another one has, and
//! none is lost, however often the same seat comes back to the top; a sample meanwhile finds only who
//! sits there, or did.
#![cfg(loom)]

use std::sync::Arc;

use lookbehind::model::{Seats, Thing};
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use loom_tests::check;

/// Seats that there are from the start.
const FIRST: usize = 2;

struct Shared {
    seats: Seats,
    things: Box<[Thing]>,
}

/// Both first seats are on the stack, or none was ever taken.
fn shared(on_the_stack: bool) -> Arc<Shared> {
    let seats = Seats::new();
    if on_the_stack {
        let both = [0, 1].map(|piece| seats.take(piece).unwrap());
        both.into_iter().for_each(|seat| seats.give_back(seat));
    }
    Arc::new(Shared { seats, things: (0..FIRST).map(|_| Thing::new()).collect() })
}

impl Shared {
    /// Takes a seat if one is free, and uses what goes with it.
    fn take(&self, piece: u32) -> Option<u32> {
        let seat = self.seats.take(piece)?;
        self.things[seat as usize].with();
        Some(seat)
    }

    fn all_are_there(&self) {
        let mut all: Vec<_> = std::iter::from_fn(|| self.seats.take(9)).collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1]);
    }
}

/// One seat comes back to the top while another thread is about to take it, and the one below is gone.
fn taken_and_given_back(on_the_stack: bool) {
    let shared = shared(on_the_stack);
    let other = Arc::clone(&shared);
    let other = thread::spawn(move || {
        let both = [other.take(0), other.take(1)];
        let [first, second] = both;
        first.into_iter().for_each(|seat| other.seats.give_back(seat));
        if let Some(seat) = second {
            other.things[seat as usize].with();
            other.seats.give_back(seat);
        }
    });
    let both = [shared.take(2), shared.take(3)];
    both.into_iter().flatten().for_each(|seat| {
        shared.things[seat as usize].with();
        shared.seats.give_back(seat);
    });
    other.join().unwrap();
    shared.all_are_there();
}

#[test]
fn from_the_stack() {
    check("seats, from the stack", 3, || taken_and_given_back(true));
}

#[test]
fn for_the_first_time() {
    check("seats, for the first time", 3, || taken_and_given_back(false));
}

#[test]
fn three_threads() {
    check("seats, three threads", (2, 3), || {
        let shared = shared(true);
        let threads = [0, 1].map(|piece| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.take(piece).into_iter().for_each(|seat| shared.seats.give_back(seat));
            })
        });
        shared.take(2).into_iter().for_each(|seat| shared.seats.give_back(seat));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        shared.all_are_there();
    });
}

#[test]
fn a_sample() {
    check("seats, a sample", 3, || {
        let shared = shared(false);
        assert!(shared.take(0).is_some());
        let steps: Arc<[AtomicBool; 3]> = Arc::default();
        let (other, done) = (Arc::clone(&shared), Arc::clone(&steps));
        let other = thread::spawn(move || {
            let done = |step: usize| done[step].store(true, Ordering::Relaxed);
            let seat = other.take(1).unwrap();
            done(0);
            other.seats.give_back(seat);
            done(1);
            assert!(other.take(2).is_some());
            done(2);
        });
        // loom compares an access with the last one only, whoever made that: these flags bring the
        // interleavings of a sample with the steps. They order nothing.
        let _ = steps.iter().map(|step| step.load(Ordering::Relaxed)).filter(|done| *done).count();
        let found = shared.seats.sample();
        assert!(found.contains(&0) && found.len() <= 2, "{found:?}");
        assert!(found.iter().all(|piece| *piece <= 2), "{found:?}");
        other.join().unwrap();
        assert_eq!(shared.seats.sample(), [0, 2]);
    });
}

/// A segment more is allocated by one of two, counted once, and seen as it was made.
#[test]
fn a_new_segment() {
    check("seats, a new segment", 3, || {
        let seats = Arc::new(Seats::new());
        (0..2).for_each(|piece| assert!(seats.take(piece).is_some()));
        let take = |seats: &Seats, piece| {
            seats.take(piece).unwrap_or_else(|| {
                seats.grow();
                seats.take(piece).unwrap()
            })
        };
        let other = Arc::clone(&seats);
        let other = thread::spawn(move || take(&other, 2));
        let found = seats.sample();
        assert!(found == [0, 1] || found == [0, 1, 2]);
        let mine = take(&seats, 3);
        let mut taken = [mine, other.join().unwrap()];
        taken.sort_unstable();
        assert_eq!(taken, [2, 3]);
        let bytes = seats.bytes();
        assert!(bytes > 0);
        (4..6).for_each(|piece| assert!(seats.take(piece).is_some()));
        assert_eq!((seats.take(6), seats.bytes()), (None, bytes));
    });
}
