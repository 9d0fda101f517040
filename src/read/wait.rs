//! Waiting until a piece arrives.
//!
//! Duty: invariant 7. Every wait ends: by the piece, its deadline, removal, abort or drop, and
//! says which. Publishing hands a counted handle to each waiter that is registered for the
//! piece, so that no eviction comes between waking and reading.
//!
//! No lost wake-up: a waiter registers, passes a SeqCst fence and looks into the table; a
//! publisher installs its version, passes a SeqCst fence and looks whether anyone is registered.
//! At least one sees the other. Removal and abort raise their flag, and then always take the lock
//! of the list, which orders the two. Models:
//! `wait_against_publish`, `wait_against_abort`.
//!
//! Bound: the mutex of the list is held for a map operation; each wait has a mutex of its own
//! for its state. No waker runs, and nothing is dropped, under either.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::held::Held;
use crate::clock::{Sleep, block_on};
use crate::error::{Error, Result};
use crate::foreign::Guest;
use crate::retire::{Interval, Reclaim};
use crate::storage::Storage;
use crate::sync::{AtomicUsize, Mutex, Ordering, fence, lock};
use crate::wake::wake;

/// One registered wait.
struct Waiter {
    state: Mutex<Waiting>,
    /// When it will give up: waits that end sooner are fetched for sooner.
    deadline: Option<Duration>,
}

enum Waiting {
    For(Guest<Waker>),
    Done(Result<Held>),
    Taken,
}

/// All waits of one storage.
#[derive(Default)]
pub(crate) struct Waits {
    count: AtomicUsize,
    by_piece: Mutex<HashMap<u32, Vec<Arc<Waiter>>>>,
}

impl Waiter {
    fn end(&self, result: Result<Held>) {
        let mut state = lock(&self.state);
        if !matches!(*state, Waiting::For(_)) {
            drop(state);
            return;
        }
        let before = std::mem::replace(&mut *state, Waiting::Done(result));
        drop(state);
        if let Waiting::For(waker) = before {
            wake(waker);
        }
    }
}

impl Waits {
    fn register(&self, piece: u32, waiter: &Arc<Waiter>) {
        let mut by_piece = lock(&self.by_piece);
        by_piece.entry(piece).or_default().push(Arc::clone(waiter));
        self.count.fetch_add(1, Ordering::Relaxed);
        drop(by_piece);
        // Pairs with the fence in `end`.
        fence(Ordering::SeqCst);
    }

    fn unregister(&self, piece: u32, waiter: &Arc<Waiter>) {
        let mut by_piece = lock(&self.by_piece);
        if let Some(waiters) = by_piece.get_mut(&piece) {
            if let Some(at) = waiters.iter().position(|w| Arc::ptr_eq(w, waiter)) {
                waiters.swap_remove(at);
                self.count.fetch_sub(1, Ordering::Relaxed);
            }
            if waiters.is_empty() {
                by_piece.remove(&piece);
            }
        }
    }

    /// Hands `held` to everyone who waits for its piece. Called after the version that shows it
    /// was installed.
    pub(crate) fn published(&self, held: &Held) {
        self.end(held.piece(), || Ok(held.clone()));
    }

    /// Ends the waits for one piece, after what ends them was made visible.
    pub(crate) fn end(&self, piece: u32, result: impl Fn() -> Result<Held>) {
        // Pairs with the fence in `register`.
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut by_piece = lock(&self.by_piece);
        let ended = by_piece.remove(&piece).unwrap_or_default();
        self.count.fetch_sub(ended.len(), Ordering::Relaxed);
        drop(by_piece);
        ended.iter().for_each(|waiter| waiter.end(result()));
    }

    /// Ends all waits, after the flag that says why was raised.
    pub(crate) fn end_all(&self, why: &Error) {
        // The lock is all the order that is needed, for it is always taken: a wait that is not in
        // the list yet registers under it later, and then sees the flag.
        let mut by_piece = lock(&self.by_piece);
        let ended = std::mem::take(&mut *by_piece);
        self.count.store(0, Ordering::Relaxed);
        drop(by_piece);
        ended.values().flatten().for_each(|waiter| waiter.end(Err(why.clone())));
    }

    /// The pieces that are waited for, each with its soonest deadline.
    pub(crate) fn pieces(&self) -> Vec<(u32, Option<Duration>)> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let by_piece = lock(&self.by_piece);
        let soonest = |waiters: &[Arc<Waiter>]| waiters.iter().filter_map(|w| w.deadline).min();
        by_piece.iter().map(|(piece, waiters)| (*piece, soonest(waiters))).collect()
    }

    pub(crate) fn contains(&self, piece: u32) -> bool {
        self.count.load(Ordering::Relaxed) > 0 && lock(&self.by_piece).contains_key(&piece)
    }

    /// Whether as many are counted as are registered, and all of these wait.
    #[cfg(feature = "validate")]
    pub(crate) fn consistent(&self) -> bool {
        let by_piece = lock(&self.by_piece);
        let waits = |w: &Arc<Waiter>| matches!(*lock(&w.state), Waiting::For(_));
        by_piece.values().all(|waiters| !waiters.is_empty() && waiters.iter().all(waits))
            && by_piece.values().map(Vec::len).sum::<usize>() == self.count()
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

/// A wait for one piece: a future, and a blocking call.
///
/// It ends with a handle on the piece, or with the reason: [`Error::TimedOut`],
/// [`Error::Removed`], [`Error::Aborted`], or [`Error::FetchFailed`] if who fetches the piece
/// gave up on it. Dropping it at any point leaves nothing behind. A wait makes its piece wanted:
/// [`Storage::wanted`] offers it at once.
///
/// Runs under any executor. Nothing is registered before the first poll.
///
/// ```
/// # use lookbehind::{Cache, Error, Layout};
/// # use std::time::Duration;
/// # let cache = Cache::builder().budget(1 << 20).build()?;
/// # let film = cache.add_storage(Layout::fixed(200, 100)?)?;
/// let wait = film.wait(1).deadline(Duration::from_millis(1));
/// assert_eq!(wait.blocking().unwrap_err(), Error::TimedOut);
/// film.insert(1, &[9; 100])?;
/// assert_eq!(film.wait(1).blocking()?[0], 9);
/// # Ok::<(), Error>(())
/// ```
#[must_use = "a wait does nothing unless it is polled, or `blocking` is called"]
pub struct WaitPiece<R: Reclaim = Interval> {
    storage: Storage<R>,
    piece: u32,
    deadline: Option<Duration>,
    registered: Option<Registered>,
}

struct Registered {
    waiter: Arc<Waiter>,
    sleep: Option<Sleep>,
}

impl<R: Reclaim> WaitPiece<R> {
    pub(crate) fn new(storage: Storage<R>, piece: u32) -> Self {
        Self { storage, piece, deadline: None, registered: None }
    }

    /// Gives up after `time`, counted from now, with [`Error::TimedOut`].
    pub fn deadline(mut self, time: Duration) -> Self {
        self.deadline = Some(self.storage.film.shared.clock.now().saturating_add(time));
        self
    }

    /// Waits on this thread.
    ///
    /// # Errors
    /// As the future does.
    pub fn blocking(self) -> Result<Held> {
        block_on(self)
    }

    /// The piece that is waited for.
    #[must_use]
    pub fn piece(&self) -> u32 {
        self.piece
    }

    /// Looks for the piece. Only the first look of a wait counts as a lookup.
    fn look(&self, counts: bool) -> Result<Option<Held>> {
        let film = &self.storage.film;
        film.known()?;
        let found = film.take(self.piece, counts);
        if found.is_none() {
            film.usable()?;
            film.piece_len(self.piece)?;
        }
        Ok(found)
    }

    fn forget(&mut self) {
        if let Some(registered) = self.registered.take() {
            let film = &self.storage.film;
            film.waits.unregister(self.piece, &registered.waiter);
            film.demand.recheck(film);
        }
    }
}

impl<R: Reclaim> Future for WaitPiece<R> {
    type Output = Result<Held>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some(registered) = &mut this.registered {
            // Cloned outside the lock: a waker is a user's code.
            let waker = Guest::new(cx.waker().clone());
            let mut state = lock(&registered.waiter.state);
            match std::mem::replace(&mut *state, Waiting::Taken) {
                Waiting::Done(result) => {
                    drop(state);
                    this.registered = None;
                    return Poll::Ready(result);
                }
                Waiting::For(old) => {
                    *state = Waiting::For(waker);
                    drop(state);
                    drop(old);
                }
                Waiting::Taken => drop(state),
            }
        } else {
            match this.look(true) {
                Ok(Some(held)) => return Poll::Ready(Ok(held)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            let film = &this.storage.film;
            let waiter = Arc::new(Waiter {
                state: Mutex::new(Waiting::For(Guest::new(cx.waker().clone()))),
                deadline: this.deadline,
            });
            film.waits.register(this.piece, &waiter);
            let sleep = this.deadline.map(|at| film.shared.clock.sleep_until(at));
            this.registered = Some(Registered { waiter, sleep });
            // Look again: whoever published, removed or aborted before the registration did not
            // see it.
            let found = this.look(false);
            if !matches!(found, Ok(None)) {
                this.forget();
                return Poll::Ready(
                    found.and_then(|held| held.ok_or(Error::Missing { piece: this.piece })),
                );
            }
            this.storage.film.demand.changed();
        }
        let sleep = this.registered.as_mut().and_then(|registered| registered.sleep.as_mut());
        if let Some(sleep) = sleep
            && Pin::new(sleep).poll(cx).is_ready()
        {
            this.forget();
            return Poll::Ready(Err(Error::TimedOut));
        }
        Poll::Pending
    }
}

impl<R: Reclaim> Drop for WaitPiece<R> {
    fn drop(&mut self) {
        self.forget();
    }
}
