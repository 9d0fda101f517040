//! Tests from within: they make functions panic.

use std::cell::Cell;

thread_local! {
    static PANIC: Cell<bool> = const { Cell::new(false) };
}

/// Called by each function of the interface before its body.
pub(crate) fn panic_if_asked() {
    assert!(!PANIC.take(), "a test asked for it");
}
