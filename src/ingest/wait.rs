//! Writing that waits for memory: blocking, and async.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::clock::{Sleep, block_on};
use crate::error::{Error, Result};
use crate::retire::Reclaim;
use crate::storage::{Insert, Progress, Storage};
use crate::wake::Ticket;

/// A dropped snapshot signals nobody: whoever waits for memory looks again this often.
const RETRY: Duration = Duration::from_millis(5);

/// Tries again until it is not memory that is missing.
struct Patiently<'a, R: Reclaim, F> {
    storage: &'a Storage<R>,
    attempt: F,
    deadline: Option<Duration>,
    ticket: Option<Ticket>,
    retry: Option<Sleep>,
}

impl<'a, R: Reclaim, T, F: Fn() -> Result<T> + Unpin> Patiently<'a, R, F> {
    fn new(storage: &'a Storage<R>, time: Option<Duration>, attempt: F) -> Self {
        let now = storage.film.shared.clock.now();
        let deadline = time.map(|time| now.saturating_add(time));
        Self { storage, attempt, deadline, ticket: None, retry: None }
    }
}

fn is_for_memory(error: &Error) -> bool {
    matches!(
        error,
        Error::BudgetExhausted { .. } | Error::AssembliesFull { .. } | Error::ShareExhausted { .. }
    )
}

impl<R: Reclaim, T, F: Fn() -> Result<T> + Unpin> Future for Patiently<'_, R, F> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let this = self.get_mut();
        let shared = &this.storage.film.shared;
        loop {
            // Register, then try: memory that comes back in between wakes.
            shared.memory.freed.register(&mut this.ticket, cx.waker());
            let result = (this.attempt)();
            let now = shared.clock.now();
            match result {
                Err(error) if is_for_memory(&error) => {
                    if this.deadline.is_some_and(|deadline| deadline <= now) {
                        return Poll::Ready(Err(error));
                    }
                }
                other => return Poll::Ready(other),
            }
            let again = now.saturating_add(RETRY);
            let again = this.deadline.map_or(again, |deadline| again.min(deadline));
            let retry = this.retry.insert(shared.clock.sleep_until(again));
            if Pin::new(retry).poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl<R: Reclaim, F> Drop for Patiently<'_, R, F> {
    fn drop(&mut self) {
        self.storage.film.shared.memory.freed.leave(&mut self.ticket);
    }
}

impl<R: Reclaim> Storage<R> {
    /// As [`insert`](Self::insert), but waits for memory, at most for `time`, on this thread.
    ///
    /// A caller who holds a handle or a snapshot meanwhile may be waiting for itself.
    ///
    /// # Errors
    /// As for `insert`; an error for want of memory only when the time is over.
    pub fn insert_wait(&self, piece: u32, bytes: &[u8], time: Duration) -> Result<Insert> {
        block_on(self.insert_async(piece, bytes, Some(time)))
    }

    /// As [`insert_wait`](Self::insert_wait), async; for ever if `time` is `None`. Dropping the
    /// future leaves nothing behind. The copy is made within `poll`.
    pub fn insert_async<'a>(
        &'a self,
        piece: u32,
        bytes: &'a [u8],
        time: Option<Duration>,
    ) -> impl Future<Output = Result<Insert>> + Send + 'a {
        Patiently::new(self, time, move || self.try_insert(piece, bytes, true))
    }

    /// As [`commit`](Self::commit), but waits for the memory of the new version, at most for
    /// `time`; for ever if `time` is `None`.
    pub fn commit_async(
        &self,
        piece: u32,
        time: Option<Duration>,
    ) -> impl Future<Output = Result<()>> + Send + '_ {
        Patiently::new(self, time, move || self.commit(piece))
    }

    /// As [`write`](Self::write), but waits for memory, at most for `time`, on this thread.
    ///
    /// # Errors
    /// As for `write`; an error for want of memory only when the time is over.
    pub fn write_wait(
        &self,
        piece: u32,
        offset: u32,
        block: &[u8],
        time: Duration,
    ) -> Result<Progress> {
        block_on(self.write_async(piece, offset, block, Some(time)))
    }

    /// As [`write_wait`](Self::write_wait), async; for ever if `time` is `None`.
    pub fn write_async<'a>(
        &'a self,
        piece: u32,
        offset: u32,
        block: &'a [u8],
        time: Option<Duration>,
    ) -> impl Future<Output = Result<Progress>> + Send + 'a {
        Patiently::new(self, time, move || {
            let written = self.try_write(piece, offset, block, true);
            match written {
                // Complete, but there was no memory for the version: commit is what is left.
                Ok(Progress::Partial { written })
                    if Some(written) == self.layout().piece_len(piece).map(u64::from)
                        && self.film.options.verifier.is_some() =>
                {
                    self.commit(piece).map(|()| Progress::Published)
                }
                other => other,
            }
        })
    }
}
