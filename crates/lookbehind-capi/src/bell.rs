//! A thread that waits for a task: it looks, and looks again when the bell was rung.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Counts how often it was rung. Several threads may wait for it.
#[derive(Default)]
pub(crate) struct Bell {
    rings: Mutex<u64>,
    rung: Condvar,
}

impl Bell {
    pub(crate) fn ring(&self) {
        *self.rings.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.rung.notify_all();
    }

    fn rings(&self) -> u64 {
        *self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it has been rung more often than `seen`; `false` if the deadline comes first.
    fn wait(&self, seen: u64, deadline: Option<Instant>) -> bool {
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = |rings: &mut u64| *rings == seen;
        match deadline {
            None => {
                drop(self.rung.wait_while(rings, quiet));
                true
            }
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let waited = self.rung.wait_timeout_while(rings, left, quiet);
                !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
            }
        }
    }

    /// Polls until there is a result; `None` if there is none in time. Whoever changes what is
    /// polled for, other than by waking the task, rings.
    pub(crate) fn wait_for<T>(
        self: &Arc<Self>,
        timeout: Option<Duration>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Option<T> {
        // A deadline beyond what the clock can count is none.
        let deadline = timeout.and_then(|time| Instant::now().checked_add(time));
        let waker = Waker::from(Arc::clone(self));
        let mut cx = Context::from_waker(&waker);
        loop {
            let seen = self.rings();
            if let Poll::Ready(result) = poll(&mut cx) {
                return Some(result);
            }
            if !self.wait(seen, deadline) {
                return None;
            }
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}
