//! Something is left in a film, which is marked, while another thread finds nothing there and takes
//! the mark away: it is seen, or the mark is there.
#![cfg(loom)]

use std::sync::Arc;

use lookbehind::model::Marks;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use loom_tests::check;

const SLOT: usize = 5;

/// Those who leave something in the film, and those who visit it.
fn model(visitors: usize) {
    let shared = Arc::new((Marks::new(), AtomicBool::new(false)));
    // Left from before.
    shared.0.mark(SLOT);
    let visitors: Vec<_> = (0..visitors)
        .map(|_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (marks, left) = &*shared;
                if marks.marked() == [SLOT] {
                    marks.unless(SLOT, || left.load(Ordering::Relaxed));
                }
            })
        })
        .collect();
    let (marks, left) = &*shared;
    left.store(true, Ordering::Relaxed);
    marks.mark(SLOT);
    visitors.into_iter().for_each(|visitor| visitor.join().unwrap());
    assert_eq!(marks.marked(), [SLOT], "nobody will visit");
}

#[test]
fn a_visitor() {
    check("marks, a visitor", 3, || model(1));
}

#[test]
fn two_visitors() {
    check("marks, two visitors", 3, || model(2));
}
