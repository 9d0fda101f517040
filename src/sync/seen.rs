//! A mutex and a condition variable that ThreadSanitizer sees through.
//!
//! `std` comes compiled without its instrumentation: a contended lock and a wait look to it as if
//! they ordered nothing. These mean the same as `std`'s, and are slow; only under `cfg(tsan)`.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{LockResult, TryLockError, TryLockResult};
use std::thread;
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(crate) struct Mutex<T> {
    locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by the one owner of the lock.
unsafe impl<T: Send> Sync for Mutex<T> {}

pub(crate) struct MutexGuard<'a, T>(&'a Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { locked: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Never poisoned: see `sync::lock`.
    pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        while self.locked.swap(true, Ordering::Acquire) {
            thread::yield_now();
        }
        Ok(MutexGuard(self))
    }

    pub(crate) fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        if self.locked.swap(true, Ordering::Acquire) {
            return Err(TryLockError::WouldBlock);
        }
        Ok(MutexGuard(self))
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard owns the lock.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard owns the lock.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.0.locked.store(false, Ordering::Release);
    }
}

/// Waiters look every millisecond.
#[derive(Debug, Default)]
pub(crate) struct Condvar(AtomicU32);

pub(crate) struct Waited(bool);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn notify_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        time: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, Waited)> {
        // Under the lock: whoever notifies from now on is noticed.
        let before = self.0.load(Ordering::Relaxed);
        let mutex = guard.0;
        drop(guard);
        let start = Instant::now();
        let notified = || self.0.load(Ordering::Relaxed) != before;
        while !notified() && start.elapsed() < time {
            thread::sleep(time.min(Duration::from_millis(1)));
        }
        let waited = Waited(!notified());
        mutex.lock().map(|guard| (guard, waited)).map_err(|_| unreachable!("never poisoned"))
    }
}

impl Waited {
    pub(crate) fn timed_out(&self) -> bool {
        self.0
    }
}
