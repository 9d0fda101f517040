//! Tests of all functions alike: what they refuse, what they say, and that no panic leaves them.

mod refused;
mod statuses;
mod within;

use std::cell::Cell;
use std::ptr::null;

use crate::cache::{lb_cache, lb_cache_new, lb_cache_options};
use crate::status::lb_status::{self, LB_OK};
use crate::storage::{lb_storage, lb_storage_add};

thread_local! {
    static PANIC: Cell<bool> = const { Cell::new(false) };
}

/// Called by each function of the interface before its body.
pub(crate) fn panic_if_asked() {
    assert!(!PANIC.take(), "a test asked for it");
}

/// Makes the next call of this thread panic; what it says, and in which words.
fn panicking(call: impl FnOnce() -> lb_status) -> lb_status {
    PANIC.set(true);
    let status = call();
    PANIC.set(false);
    status
}

/// A value that a call that must succeed writes.
fn got<T: Default>(call: impl FnOnce(*mut T) -> lb_status) -> T {
    let mut value = T::default();
    assert_eq!(call(&mut value), LB_OK, "{}", crate::call::last_failure());
    value
}

fn cache(budget: u64) -> lb_cache {
    let options = lb_cache_options { budget, ..Default::default() };
    // SAFETY: both pointers are good.
    got(|out| unsafe { lb_cache_new(&options, out) })
}

/// Ten pieces of a hundred bytes, the last one of fifty.
fn film(cache: lb_cache) -> lb_storage {
    // SAFETY: the pointer is good.
    got(|out| unsafe { lb_storage_add(cache, 950, 100, null(), out) })
}
