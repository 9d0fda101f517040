//! A thread that waits for a task: it looks, and looks again when the bell was rung.

use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crate::call::{deadline, lock, wait_while};

/// Counts how often it was rung. Several threads may wait for it.
#[derive(Default)]
pub(crate) struct Bell {
    heard: Mutex<Heard>,
    rung: Condvar,
}

#[derive(Default)]
struct Heard {
    rings: u64,
    /// Threads that wait: without any there is nobody to wake, which costs a call of the system.
    waiting: usize,
}

impl Bell {
    pub(crate) fn ring(&self) {
        let mut heard = lock(&self.heard);
        heard.rings += 1;
        if heard.waiting > 0 {
            self.rung.notify_all();
        }
    }

    fn rings(&self) -> u64 {
        lock(&self.heard).rings
    }

    /// Waits until it has been rung more often than `seen`; `false` if the deadline comes first.
    // By its name TSan is told of the mutex that it does not see let go.
    #[inline(never)]
    fn wait(&self, seen: u64, deadline: Option<Instant>) -> bool {
        let mut heard = lock(&self.heard);
        heard.waiting += 1;
        let quiet = |heard: &mut Heard| heard.rings == seen;
        heard = wait_while(&self.rung, heard, deadline, quiet);
        heard.waiting -= 1;
        heard.rings != seen
    }

    /// Polls until there is a result; `None` if there is none in time. Whoever changes what is
    /// polled for, other than by waking the task, rings.
    pub(crate) fn wait_for<T>(
        self: &Arc<Self>,
        timeout: Option<Duration>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Option<T> {
        let deadline = deadline(timeout);
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
