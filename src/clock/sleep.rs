//! Waiting by the clock: as a future, and by a parked thread.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use super::{Shared, TimerId};

/// A future that is ready once the time of a clock has come; made by `Clock::sleep_until`.
///
/// It does not keep the clock. With the last clone of a manual clock dropped it is ready at
/// once; of a system clock, in its time. Dropping it takes its timer back.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub(crate) struct Sleep {
    shared: Arc<Shared>,
    when: Duration,
    timer: Option<TimerId>,
}

impl Sleep {
    pub(super) fn new(shared: Arc<Shared>, when: Duration) -> Self {
        Self { shared, when, timer: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared.is_over(self.when) {
            if let Some(timer) = self.timer.take() {
                self.shared.cancel(timer);
            }
            return Poll::Ready(());
        }
        // The time may come before the timer is set: then this task is woken at once.
        self.timer = Some(self.shared.arm(self.timer, self.when, cx.waker()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.shared.cancel(timer);
        }
    }
}

/// Runs a future to its end on this thread, which is parked in between.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    /// Parking alone does not do: anybody may unpark a thread, and the future itself may park it
    /// and so use up the token. The flag says whether there was a wake.
    struct Unpark {
        thread: thread::Thread,
        woken: AtomicBool,
    }

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.wake_by_ref();
        }

        fn wake_by_ref(self: &Arc<Self>) {
            self.woken.store(true, Ordering::Release);
            self.thread.unpark();
        }
    }

    let unpark = Arc::new(Unpark { thread: thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&unpark));
    let mut cx = Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        while !unpark.woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}
