//! Where a player is in its film, and the windows that it asked for.
//!
//! Written by its player alone and read by evictions and fetchers: each field is an atomic of its own
//! (Relaxed: they are hints, and order nothing).

use std::ops::Range;
use std::time::Duration;

use super::policy::Watcher;
use super::protect::Extent;
use crate::layout::Layout;
use crate::sync::{AtomicBool, Counter, Ordering};

/// When a playhead's windows end: never, by itself.
const ACTIVE: u64 = u64::MAX;

/// A player's place in the film, and its windows.
pub(crate) struct Playhead {
    pub(crate) viewer: u64,
    position: Counter,
    /// The byte at which its reader stops: it needs nothing beyond.
    end: Counter,
    bitrate: Counter,
    ahead: Extent,
    behind: Extent,
    /// What is left of the windows after all windows together were fitted to half the budget.
    fitted_ahead: Counter,
    fitted_behind: Counter,
    /// Milliseconds on the cache's clock at which the windows end.
    until: Counter,
    opened: Duration,
    /// Milliseconds at which it entered the piece that it is in, was moved, paused or resumed.
    moved: Counter,
    paused: AtomicBool,
}

impl Playhead {
    pub(crate) fn new(
        viewer: u64,
        position: u64,
        ahead: Extent,
        behind: Extent,
        now: Duration,
    ) -> Self {
        let playhead = Self {
            viewer,
            position: Counter::default(),
            end: Counter::default(),
            bitrate: Counter::default(),
            ahead,
            behind,
            fitted_ahead: Counter::default(),
            fitted_behind: Counter::default(),
            until: Counter::default(),
            opened: now,
            moved: Counter::default(),
            paused: AtomicBool::new(false),
        };
        playhead.moved_at(now);
        playhead.position.set(position);
        playhead.end.set(u64::MAX);
        playhead.until.set(ACTIVE);
        playhead
    }

    pub(crate) fn position(&self) -> u64 {
        self.position.get()
    }

    pub(crate) fn move_to(&self, position: u64) {
        self.position.set(position);
    }

    pub(crate) fn moved_at(&self, now: Duration) {
        self.moved.set(millis(now));
    }

    /// Whether that is news.
    pub(crate) fn pause(&self, paused: bool) -> bool {
        self.paused.swap(paused, Ordering::Relaxed) != paused
    }

    pub(super) fn watcher(&self) -> Watcher {
        Watcher {
            position: self.position(),
            ahead: self.asked().0,
            opened: self.opened,
            moved: Duration::from_millis(self.moved.get()),
            playing: self.active() && !self.paused.load(Ordering::Relaxed),
            open: self.active(),
        }
    }

    pub(crate) fn end(&self) -> u64 {
        self.end.get()
    }

    pub(crate) fn end_at(&self, end: u64) {
        self.end.set(end);
    }

    /// Bytes a second, if known.
    pub(crate) fn bitrate(&self) -> Option<u64> {
        Some(self.bitrate.get()).filter(|rate| *rate > 0)
    }

    pub(crate) fn set_bitrate(&self, rate: u64) {
        self.bitrate.set(rate);
    }

    pub(crate) fn linger_until(&self, until: Duration) {
        self.until.set(millis(until));
    }

    pub(crate) fn active(&self) -> bool {
        self.until.get() == ACTIVE
    }

    pub(crate) fn ended(&self, now: Duration) -> bool {
        self.until.get() <= millis(now)
    }

    /// The windows that were asked for, ahead and behind.
    pub(crate) fn asked(&self) -> (u64, u64) {
        let rate = self.bitrate();
        let left = self.end().saturating_sub(self.position());
        (self.ahead.bytes(rate).min(left), self.behind.bytes(rate))
    }

    pub(crate) fn fit(&self, ahead: u64, behind: u64) {
        self.fitted_ahead.set(ahead);
        self.fitted_behind.set(behind);
    }

    /// The window ahead in bytes of the film, from the playhead on.
    pub(crate) fn window_ahead(&self) -> Range<u64> {
        let at = self.position();
        at..at.saturating_add(self.fitted_ahead.get()).min(self.end()).max(at)
    }

    /// The pieces that the window ahead has room for, whole: the first piece, and the window.
    ///
    /// All windows together fit half the budget, and so do their whole pieces; rounding each
    /// window up would have a crowd of players fetch over and over what evicts each other. A
    /// player whose window is shorter than a piece is served by its wait.
    pub(crate) fn pieces_ahead(&self, layout: &Layout) -> Option<(u32, Range<u32>)> {
        let (at, _) = layout.piece_at(self.position())?;
        let mut left = self.fitted_ahead.get();
        let end = layout.pieces_of(self.position()..self.end()).end;
        let fits = |piece: &u32| {
            let len = u64::from(layout.piece_len(*piece).unwrap_or(0));
            let fits = len <= left;
            left = left.saturating_sub(len);
            fits
        };
        let count = (at..end).take_while(fits).count() as u32;
        Some((at, at..at + count))
    }

    pub(crate) fn window_behind(&self) -> Range<u64> {
        let at = self.position();
        at.saturating_sub(self.fitted_behind.get())..at
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(ACTIVE - 1)
}
