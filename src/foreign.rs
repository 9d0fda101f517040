//! Code of others: wakers, verifiers and their hashers, observers, policies.
//!
//! It may panic: when it is called, when it is dropped, and what it has thrown may throw again
//! when that is dropped. None of it shall cost memory, a lock, a wake-up or somebody else's call.
//! (A waker that panics when it is cloned does so in the poll of its own task, which hears of it.)

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls others' code; `None` if it panics. The panic hook has reported it by then.
pub(crate) fn call<T>(code: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(result) => Some(result),
        Err(thrown) => {
            if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(thrown))) {
                // What panics with something that panics when dropped shall not do so once more.
                std::mem::forget(again);
            }
            None
        }
    }
}

/// Something of others' that is kept: a panic of its destructor is caught.
#[derive(Debug)]
pub(crate) struct Guest<T>(ManuallyDrop<T>);

impl<T> Guest<T> {
    pub(crate) fn new(thing: T) -> Self {
        Self(ManuallyDrop::new(thing))
    }

    pub(crate) fn into_inner(self) -> T {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is neither used nor dropped again, so the thing moves out once.
        unsafe { ManuallyDrop::take(&mut this.0) }
    }
}

impl<T> Deref for Guest<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Guest<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> Drop for Guest<T> {
    fn drop(&mut self) {
        // SAFETY: dropped here alone, and not used afterwards.
        call(|| unsafe { ManuallyDrop::drop(&mut self.0) });
    }
}
