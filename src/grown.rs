//! A list that only grows, the newest first: what is on it stays where it is for as long as the
//! list lives, so that anyone may walk it without protection.
//!
//! Orderings: appended with Release and walked with Acquire. Model: `evict_against_get`.

use crate::sync::{AtomicPtr, Ordering};

pub(crate) struct Grown<T> {
    newest: AtomicPtr<Node<T>>,
}

/// On pairs of lines of its own, for processors fetch them in pairs.
#[repr(C, align(128))]
struct Node<T> {
    thing: T,
    older: *mut Node<T>,
}

// SAFETY: `older` is written before the node is shared, and never again; references to things are
// handed out to any thread, and they are dropped on whatever thread drops the list.
unsafe impl<T: Send + Sync> Sync for Grown<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Send for Grown<T> {}

impl<T> Grown<T> {
    pub(crate) fn new() -> Self {
        Self { newest: AtomicPtr::new(std::ptr::null_mut()) }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        // Acquire: pairs with the Release in `append`.
        let mut next = self.newest.load(Ordering::Acquire);
        std::iter::from_fn(move || {
            // SAFETY: nodes are freed only with the whole list, which is borrowed.
            let node = unsafe { next.as_ref() }?;
            next = node.older;
            Some(&node.thing)
        })
    }

    /// Lock-free: a step is repeated only because another thread appended something.
    pub(crate) fn append(&self, thing: T) -> &T {
        let node = Box::into_raw(Box::new(Node { thing, older: std::ptr::null_mut() }));
        let mut newest = self.newest.load(Ordering::Relaxed);
        loop {
            // SAFETY: not shared yet.
            unsafe { (*node).older = newest };
            let pushed = self.newest.compare_exchange_weak(
                newest,
                node,
                Ordering::Release,
                Ordering::Relaxed,
            );
            match pushed {
                // SAFETY: freed only with the whole list, which is borrowed.
                Ok(_) => return unsafe { &(*node).thing },
                Err(now) => newest = now,
            }
        }
    }
}

impl<T> Drop for Grown<T> {
    fn drop(&mut self) {
        let mut next = self.newest.load(Ordering::Relaxed);
        while !next.is_null() {
            // SAFETY: made by `Box::into_raw` in `append`; nobody borrows the list any more.
            let node = unsafe { Box::from_raw(next) };
            next = node.older;
        }
    }
}
