//! A set of tasks that wait for the same kind of event, and are all woken by it.
//!
//! Duty: no lost wake-up (invariant 7). A waiter registers, then looks again whether what it
//! waits for is there; a notifier makes it be there, then looks whether anyone is registered.
//! Each puts a SeqCst fence between its two steps, so that at least one sees the other.
//! Model: `wait_against_publish`.
//!
//! Bound: the mutex is held for a few tree operations and never while a waker runs; a notifier
//! that finds nobody registered does not touch it.

use std::collections::BTreeMap;
use std::task::Waker;

use crate::foreign::{self, Guest};
use crate::sync::{AtomicUsize, Mutex, Ordering, fence, lock};

#[derive(Default)]
struct Registered {
    next: u64,
    wakers: BTreeMap<u64, Guest<Waker>>,
}

/// Tasks to be woken together.
pub(crate) struct Wakers {
    waiting: AtomicUsize,
    registered: Mutex<Registered>,
}

/// A place in a [`Wakers`]; given back by [`Wakers::leave`].
#[derive(Debug)]
pub(crate) struct Ticket(u64);

impl Default for Wakers {
    fn default() -> Self {
        Self { waiting: AtomicUsize::new(0), registered: Mutex::new(Registered::default()) }
    }
}

impl Wakers {
    /// Registers `waker`, anew or in place of an earlier one. The caller must look again for
    /// what it waits for afterwards.
    pub(crate) fn register(&self, ticket: &mut Option<Ticket>, waker: &Waker) {
        // Cloned outside the lock: a waker is a user's code.
        let waker = Guest::new(waker.clone());
        let mut registered = lock(&self.registered);
        let key = match ticket {
            Some(Ticket(key)) => *key,
            None => {
                registered.next += 1;
                *ticket = Some(Ticket(registered.next));
                registered.next
            }
        };
        let old = registered.wakers.insert(key, waker);
        self.waiting.store(registered.wakers.len(), Ordering::Relaxed);
        drop(registered);
        drop(old);
        // Pairs with the fence in `wake_all`.
        fence(Ordering::SeqCst);
    }

    /// Forgets a registration; does nothing for one that was woken.
    pub(crate) fn leave(&self, ticket: &mut Option<Ticket>) {
        if let Some(Ticket(key)) = ticket.take() {
            let mut registered = lock(&self.registered);
            let old = registered.wakers.remove(&key);
            self.waiting.store(registered.wakers.len(), Ordering::Relaxed);
            drop(registered);
            drop(old);
        }
    }

    /// Whether as many are counted as are registered.
    #[cfg(feature = "validate")]
    pub(crate) fn consistent(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == lock(&self.registered).wakers.len()
    }

    /// Whether nobody waits. A hint unless a SeqCst fence stands before it.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// Wakes everyone who registered before, after what they wait for was made visible.
    pub(crate) fn wake_all(&self) {
        // Pairs with the fence in `register`.
        fence(Ordering::SeqCst);
        if self.is_empty() {
            return;
        }
        let mut registered = lock(&self.registered);
        let woken = std::mem::take(&mut registered.wakers);
        self.waiting.store(0, Ordering::Relaxed);
        drop(registered);
        woken.into_values().for_each(wake);
    }
}

/// Wakes a task, whatever its waker does: the next one must be woken too.
pub(crate) fn wake(waker: Guest<Waker>) {
    foreign::call(|| waker.into_inner().wake());
}
