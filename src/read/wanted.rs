//! What should be fetched, most urgent first.
//!
//! Duty: single flight. Each missing piece that a wait or a player's window ahead needs is
//! offered once, as a [`Fetch`]; a fetch that is dropped unfinished is offered again, and one
//! that nobody needs any more is cancelled.
//!
//! Nothing is queued: what is wanted is computed from the waits, the playheads and the table
//! when somebody asks, so that it cannot be stale. Order: waits by deadline, then windows by the
//! distance from their playhead.
//!
//! Bound: the mutex is held for map operations; it is not held while the table is looked at,
//! nor while a waker runs.

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use crate::clock::block_on;
use crate::error::Error;
use crate::film::Film;
use crate::retire::{Interval, Reclaim};
use crate::storage::Storage;
use crate::sync::{AtomicBool, AtomicUsize, Mutex, Ordering, fence, lock};
use crate::wake::{Ticket, Wakers};

/// A fetch under way.
#[derive(Default)]
struct Flight {
    cancelled: AtomicBool,
    told: Wakers,
}

/// What is being fetched in one storage, and who wants to hear when more is wanted.
#[derive(Default)]
pub(crate) struct Demand {
    flights: Mutex<HashMap<u32, Arc<Flight>>>,
    count: AtomicUsize,
    changed: Wakers,
    /// Players at the end of what a film or an arriving piece has so far.
    grown: Wakers,
}

impl Demand {
    /// A live film got longer or ended, or an arriving piece that may be read grew.
    pub(crate) fn grew(&self) {
        self.grown.wake_all();
    }

    pub(crate) fn await_grown(&self, ticket: &mut Option<Ticket>, waker: &Waker) {
        self.grown.register(ticket, waker);
    }

    pub(crate) fn leave_grown(&self, ticket: &mut Option<Ticket>) {
        self.grown.leave(ticket);
    }

    /// Something became wanted, or may have.
    pub(crate) fn changed(&self) {
        self.changed.wake_all();
    }

    /// Something may not be wanted any more, or something else is: cancels what nobody needs.
    pub(crate) fn recheck<R: Reclaim>(&self, film: &Film<R>) {
        self.changed();
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let flights: Vec<_> =
            lock(&self.flights).iter().map(|(piece, f)| (*piece, Arc::clone(f))).collect();
        let needed = needed_ahead(film);
        for (piece, flight) in flights {
            if !film.needs(piece, &needed) {
                flight.cancel();
            }
        }
    }

    /// The piece is there: its fetch is over.
    pub(crate) fn arrived<R: Reclaim>(&self, film: &Film<R>, piece: u32) {
        if self.count.load(Ordering::Relaxed) > 0 && self.land(piece).is_some() {
            self.offer_if_gone(film, piece);
        }
    }

    /// A piece that has landed may be gone again and wanted anew, and whoever fetches have seen that
    /// it was under way. They saw so under the mutex, so that what they knew of the table is known
    /// here.
    fn offer_if_gone<R: Reclaim>(&self, film: &Film<R>, piece: u32) {
        if !film.contains(piece) {
            self.changed();
        }
    }

    pub(crate) fn cancel_all(&self) {
        let flights: Vec<_> = lock(&self.flights).values().cloned().collect();
        flights.iter().for_each(|flight| flight.cancel());
        self.changed();
    }

    /// Whether as many fetches are counted as are under way, and as many wakers as registered.
    #[cfg(feature = "validate")]
    pub(crate) fn consistent(&self) -> bool {
        self.count.load(Ordering::Relaxed) == lock(&self.flights).len()
            && self.changed.consistent()
            && self.grown.consistent()
    }

    fn land(&self, piece: u32) -> Option<Arc<Flight>> {
        let mut flights = lock(&self.flights);
        let landed = flights.remove(&piece);
        self.count.store(flights.len(), Ordering::Relaxed);
        landed
    }

    fn land_only(&self, piece: u32, flight: &Arc<Flight>) -> bool {
        let mut flights = lock(&self.flights);
        let mine = flights.get(&piece).is_some_and(|known| Arc::ptr_eq(known, flight));
        if mine {
            flights.remove(&piece);
            self.count.store(flights.len(), Ordering::Relaxed);
        }
        mine
    }

    fn in_flight(&self, piece: u32) -> bool {
        lock(&self.flights).contains_key(&piece)
    }

    /// Takes off, unless somebody else did.
    fn take_off(&self, piece: u32) -> Option<Arc<Flight>> {
        let mut flights = lock(&self.flights);
        if flights.contains_key(&piece) {
            return None;
        }
        let flight = Arc::new(Flight::default());
        flights.insert(piece, Arc::clone(&flight));
        self.count.store(flights.len(), Ordering::Relaxed);
        Some(flight)
    }
}

impl Flight {
    fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        // Fences: `wake_all` has one between this store and its look at who is registered.
        self.told.wake_all();
    }
}

/// The windows ahead of the active playheads: where each starts, and its pieces.
fn needed_ahead<R: Reclaim>(film: &Film<R>) -> Vec<(u32, Range<u32>)> {
    let layout = film.layout();
    let playheads = film.protections.playheads.load();
    let active = playheads.iter().filter(|playhead| playhead.active());
    active.filter_map(|playhead| playhead.pieces_ahead(&layout)).collect()
}

impl<R: Reclaim> Film<R> {
    /// Whether a wait needs the piece, or one of the windows.
    fn needs(&self, piece: u32, ahead: &[(u32, Range<u32>)]) -> bool {
        self.waits.contains(piece) || ahead.iter().any(|(_, window)| window.contains(&piece))
    }
}

/// The most urgent piece that is missing and not being fetched.
fn most_urgent<R: Reclaim>(film: &Film<R>) -> Option<u32> {
    let free = |piece: &u32| !film.contains(*piece) && !film.demand.in_flight(*piece);
    let mut waited = film.waits.pieces();
    waited.sort_unstable_by_key(|(piece, deadline)| (deadline.is_none(), *deadline, *piece));
    if let Some(piece) = waited.into_iter().map(|(piece, _)| piece).find(free) {
        return Some(piece);
    }
    let first_missing = |(at, window): (u32, Range<u32>)| {
        window.into_iter().find(free).map(|piece| (piece - at, piece))
    };
    let near = needed_ahead(film).into_iter().filter_map(first_missing).min();
    near.map(|(_, piece)| piece)
}

/// The pieces of a storage that should be fetched, most urgent first: a stream, an async and a
/// blocking call. Ends when the storage is removed or the cache aborted.
///
/// Several tasks may each have one; a piece goes to one of them.
///
/// ```
/// # use lookbehind::{Cache, Layout, PlayerConfig};
/// # let cache = Cache::builder().budget(1 << 20).build()?;
/// # let film = cache.add_storage(Layout::fixed(1000, 100)?)?;
/// let mut wanted = film.wanted();
/// let player = film.player(PlayerConfig::default())?;
/// let fetch = wanted.next_blocking().unwrap();
/// assert_eq!((fetch.piece(), fetch.byte_range()), (0, 0..100));
/// film.insert(fetch.piece(), &[0; 100])?;
/// assert_eq!(wanted.next_blocking().unwrap().piece(), 1);
/// # Ok::<(), lookbehind::Error>(())
/// ```
pub struct Wanted<R: Reclaim = Interval> {
    storage: Storage<R>,
    ticket: Option<Ticket>,
}

impl<R: Reclaim> Wanted<R> {
    pub(crate) fn new(storage: Storage<R>) -> Self {
        Self { storage, ticket: None }
    }

    /// The next piece to fetch, when there is one; `None` at the end.
    #[expect(clippy::should_implement_trait, reason = "as a stream's `next` is called")]
    pub fn next(&mut self) -> impl Future<Output = Option<Fetch<R>>> + Send + '_ {
        poll_fn(|cx| self.poll_fetch(cx))
    }

    /// The same, on this thread.
    pub fn next_blocking(&mut self) -> Option<Fetch<R>> {
        block_on(self.next())
    }

    /// The next piece to fetch, if there is one now.
    pub fn try_next(&mut self) -> Option<Fetch<R>> {
        let film = &self.storage.film;
        if film.usable().is_err() {
            return None;
        }
        while let Some(piece) = most_urgent(film) {
            if let Some(flight) = film.demand.take_off(piece) {
                // Pairs with the fence in `Demand::changed`, by `recheck`: who moved the windows
                // sees the flight, or it sees the windows below. For the end of all fetches the
                // mutex does the same.
                fence(Ordering::SeqCst);
                // It may have arrived between the look and the take-off.
                if film.contains(piece) {
                    if film.demand.land_only(piece, &flight) {
                        film.demand.offer_if_gone(film, piece);
                    }
                    continue;
                }
                if film.usable().is_err() || !film.needs(piece, &needed_ahead(film)) {
                    // Nobody cancels a flight that took off after they looked.
                    flight.cancel();
                }
                let len = film.layout().piece_len(piece).unwrap_or(0);
                return Some(Fetch { storage: self.storage.clone(), piece, len, flight });
            }
        }
        None
    }

    fn poll_fetch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Fetch<R>>> {
        // Register first, then look: see `Wakers`.
        self.storage.film.demand.changed.register(&mut self.ticket, cx.waker());
        if self.storage.film.usable().is_err() {
            return Poll::Ready(None);
        }
        match self.try_next() {
            Some(fetch) => Poll::Ready(Some(fetch)),
            None => Poll::Pending,
        }
    }
}

impl<R: Reclaim> Stream for Wanted<R> {
    type Item = Fetch<R>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Fetch<R>>> {
        self.get_mut().poll_fetch(cx)
    }
}

impl<R: Reclaim> Drop for Wanted<R> {
    fn drop(&mut self) {
        self.storage.film.demand.changed.leave(&mut self.ticket);
    }
}

/// A piece to fetch. It is nobody else's until it is dropped; then, unless the piece has
/// arrived, it is offered again if it is still wanted.
#[must_use = "dropping it offers the piece again"]
pub struct Fetch<R: Reclaim = Interval> {
    storage: Storage<R>,
    piece: u32,
    len: u32,
    flight: Arc<Flight>,
}

impl<R: Reclaim> Fetch<R> {
    /// The piece.
    #[must_use]
    pub fn piece(&self) -> u32 {
        self.piece
    }

    /// Its length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no piece is empty")]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Where it lies in the film; empty if its segment has fallen out of a live window.
    #[must_use]
    pub fn byte_range(&self) -> Range<u64> {
        self.storage.film.layout().byte_range(self.piece).unwrap_or(0..0)
    }

    /// The storage that it is for.
    #[must_use]
    pub fn storage(&self) -> &Storage<R> {
        &self.storage
    }

    /// Whether nobody needs the piece any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.flight.cancelled.load(Ordering::Relaxed)
    }

    /// Ends when nobody needs the piece any more: its player was closed or went elsewhere, the
    /// wait was dropped, the storage removed, the cache aborted. Stays pending once the piece
    /// has arrived.
    pub fn cancelled(&self) -> Cancelled {
        Cancelled { flight: Arc::clone(&self.flight), ticket: None }
    }

    /// Says that the piece cannot be had: waits for it end with [`Error::FetchFailed`]. It is
    /// offered again when it is wanted anew, or still is by a window. A fetch whose piece has
    /// arrived since, from wherever, fails nobody.
    pub fn fail(self, reason: impl fmt::Display) {
        let (piece, reason) = (self.piece, Arc::<str>::from(reason.to_string()));
        let film = &self.storage.film;
        // Who publishes lands the fetch last of all.
        if film.demand.land_only(piece, &self.flight) && !film.contains(piece) {
            let failed = || Err(Error::FetchFailed { piece, reason: Arc::clone(&reason) });
            film.waits.end(piece, failed);
            // Somebody may have taken off for a wait that has just failed.
            film.demand.recheck(film);
        }
    }
}

impl<R: Reclaim> Drop for Fetch<R> {
    fn drop(&mut self) {
        let demand = &self.storage.film.demand;
        if demand.land_only(self.piece, &self.flight) {
            demand.changed();
        }
    }
}

impl<R: Reclaim> fmt::Debug for Fetch<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch").field("piece", &self.piece).finish_non_exhaustive()
    }
}

/// See [`Fetch::cancelled`].
#[must_use = "a future does nothing unless it is polled"]
pub struct Cancelled {
    flight: Arc<Flight>,
    ticket: Option<Ticket>,
}

impl Future for Cancelled {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        // Has a fence behind it, which pairs with the one in `cancel`.
        this.flight.told.register(&mut this.ticket, cx.waker());
        if this.flight.cancelled.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.flight.told.leave(&mut self.ticket);
    }
}
