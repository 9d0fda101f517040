//! What should stay: the windows of the players, reserved pieces, explicit look-behind.
//!
//! Duty: invariant 2. Protection is an order of preference, never a veto. An eviction takes a
//! [`View`] of what is protected now and asks it for each candidate's [`Protection`].
//!
//! The lists change rarely and are read often: arc-swap.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::playhead::Playhead;
use super::policy::{Scene, Watcher};
use crate::id::StorageId;
use crate::layout::Layout;
use crate::sync::{ArcSwap, Counter, Guard};

/// Bytes a second that are assumed where a window is given in time and no bitrate is known.
pub const ASSUMED_BITRATE: u64 = 1 << 20;

/// The length of a window, in bytes or in seconds of film.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// So many bytes.
    Bytes(u64),
    /// So much film, by the player's bitrate; without one, 1 MiB a second is assumed.
    Time(Duration),
}

impl Extent {
    /// The window in bytes at `bitrate` bytes a second.
    #[must_use]
    pub fn bytes(self, bitrate: Option<u64>) -> u64 {
        match self {
            Extent::Bytes(bytes) => bytes,
            Extent::Time(time) => {
                let rate = u128::from(bitrate.unwrap_or(ASSUMED_BITRATE));
                u64::try_from(time.as_millis().saturating_mul(rate) / 1000).unwrap_or(u64::MAX)
            }
        }
    }
}

/// How much a piece is protected; a lower class goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protection {
    /// Nothing protects the piece.
    None,
    /// It lies in a window that a closed player has left behind.
    Lingering,
    /// It lies behind a playhead, or was named by `set_lookbehind`.
    Behind,
    /// It was reserved: head and tail of a film, which every player opens with.
    Reserved,
    /// It lies ahead of a playhead, which is about to need it.
    Ahead,
}

/// What protects pieces of one storage.
pub(crate) struct Protections {
    pub(crate) playheads: ArcSwap<Vec<Arc<Playhead>>>,
    reserved: ArcSwap<Vec<Range<u32>>>,
    /// Sorted, without duplicates.
    lookbehind: ArcSwap<Vec<u32>>,
    /// Bytes a second as its players said last; 0 if none did.
    bitrate: Counter,
}

/// The lists of films that nothing protects: the same for all, for an eviction looks at dozens of
/// films, and finds these in its cache.
#[derive(Default)]
struct Nothing {
    playheads: Arc<Vec<Arc<Playhead>>>,
    reserved: Arc<Vec<Range<u32>>>,
    lookbehind: Arc<Vec<u32>>,
}

static NOTHING: LazyLock<Nothing> = LazyLock::new(Nothing::default);

impl Default for Protections {
    fn default() -> Self {
        Self {
            playheads: ArcSwap::new(Arc::clone(&NOTHING.playheads)),
            reserved: ArcSwap::new(Arc::clone(&NOTHING.reserved)),
            lookbehind: ArcSwap::new(Arc::clone(&NOTHING.lookbehind)),
            bitrate: Counter::default(),
        }
    }
}

impl Protections {
    pub(crate) fn reserve(&self, pieces: Range<u32>) {
        if pieces.is_empty() {
            return;
        }
        self.reserved.rcu(|old| {
            let mut new = Vec::clone(old);
            if !new.contains(&pieces) {
                new.push(pieces.clone());
            }
            new
        });
    }

    pub(crate) fn unreserve(&self) {
        self.reserved.store(Arc::default());
    }

    pub(crate) fn set_lookbehind(&self, mut pieces: Vec<u32>) {
        pieces.sort_unstable();
        pieces.dedup();
        self.lookbehind.store(Arc::new(pieces));
    }

    pub(crate) fn lookbehind(&self) -> Arc<Vec<u32>> {
        self.lookbehind.load_full()
    }

    pub(crate) fn bitrate(&self) -> u64 {
        Some(self.bitrate.get()).filter(|rate| *rate > 0).unwrap_or(ASSUMED_BITRATE)
    }

    pub(crate) fn set_bitrate(&self, rate: u64) {
        self.bitrate.set(rate);
    }

    /// What is protected now, as piece numbers; without the windows for who does not ask about them.
    /// The memory of `watchers` is used again.
    pub(crate) fn view(
        &self,
        layout: &Layout,
        now: Duration,
        windows: bool,
        live: bool,
        mut watchers: Vec<Watcher>,
    ) -> View {
        let playheads = self.playheads.load();
        watchers.clear();
        watchers.reserve(playheads.len());
        watchers.extend(playheads.iter().filter(|p| !p.ended(now)).map(|p| p.watcher()));
        let there = playheads.iter().filter(|p| windows && !p.ended(now));
        let windows = there.map(|playhead| Window {
            active: playhead.active(),
            at: layout.piece_at(playhead.position()).map_or(u32::MAX, |(piece, _)| piece),
            ahead: layout.pieces_of(playhead.window_ahead()),
            behind: layout.pieces_of(playhead.window_behind()),
        });
        View {
            windows: windows.collect(),
            reserved: self.reserved.load(),
            lookbehind: self.lookbehind.load(),
            known: layout.pieces(),
            watchers,
            now,
            film: layout.start_offset()..layout.total_len(),
            live,
            piece_len: u64::from(layout.largest_piece()),
            bitrate: self.bitrate(),
        }
    }
}

struct Window {
    active: bool,
    at: u32,
    ahead: Range<u32>,
    behind: Range<u32>,
}

/// What is protected in one storage, at one moment.
pub(crate) struct View {
    windows: Vec<Window>,
    reserved: Guard<Arc<Vec<Range<u32>>>>,
    lookbehind: Guard<Arc<Vec<u32>>>,
    known: Range<u32>,
    pub(crate) watchers: Vec<Watcher>,
    now: Duration,
    film: Range<u64>,
    live: bool,
    piece_len: u64,
    bitrate: u64,
}

impl View {
    /// What a policy goes by.
    pub(crate) fn scene(&self, storage: StorageId) -> Scene<'_> {
        let film = self.film.clone();
        let (len, rate) = (self.piece_len, self.bitrate);
        let scene = Scene::new(storage, self.now, film, len, rate, &self.watchers);
        if self.live { scene.live() } else { scene }
    }

    /// How much the piece is protected by name, whatever the windows are.
    pub(crate) fn named(&self, piece: u32) -> Protection {
        if self.reserved.iter().any(|r| r.contains(&piece)) {
            Protection::Reserved
        } else if self.lookbehind.binary_search(&piece).is_ok() {
            Protection::Behind
        } else {
            Protection::None
        }
    }

    /// How much the piece is protected.
    pub(crate) fn class(&self, piece: u32) -> Protection {
        let mut class = Protection::None;
        for window in &self.windows {
            let ahead = window.ahead.contains(&piece);
            let behind = window.behind.contains(&piece);
            class = class.max(match (window.active, ahead, behind) {
                (true, true, _) => Protection::Ahead,
                (true, false, true) => Protection::Behind,
                (false, true, _) | (false, _, true) => Protection::Lingering,
                _ => Protection::None,
            });
        }
        class.max(self.named(piece))
    }

    /// Pieces from the nearest playhead behind the piece to it, over active players first.
    pub(crate) fn next_use(&self, piece: u32) -> Option<u32> {
        let ahead = |window: &&Window| window.at <= piece;
        let distance = |window: &Window| piece - window.at;
        let active = self.windows.iter().filter(|w| w.active).filter(ahead).map(distance).min();
        active.or_else(|| self.windows.iter().filter(ahead).map(distance).min())
    }

    /// Pieces from the piece to the nearest active playhead that has passed it.
    pub(crate) fn last_use(&self, piece: u32) -> Option<u32> {
        let passed = self.windows.iter().filter(|w| w.active && w.at != u32::MAX && w.at > piece);
        passed.map(|window| window.at - piece).min()
    }

    /// Whether the layout still knows the piece: segments fall out of a live film's window.
    pub(crate) fn known(&self, piece: u32) -> bool {
        self.known.contains(&piece)
    }

    pub(crate) fn watched(&self) -> bool {
        !self.windows.is_empty()
    }
}

/// Fits the windows of all players of a cache to `room` bytes, by one factor for all.
///
/// Several players of one viewer share one viewer's part. Active players come first; windows
/// that linger share what those leave.
pub(crate) fn fit(playheads: &[Arc<Playhead>], room: u64) {
    // Counted beforehand: this runs whenever a player opens or closes, and there may be many.
    let mut players = HashMap::<(u64, bool), u64>::new();
    for playhead in playheads {
        *players.entry((playhead.viewer, playhead.active())).or_default() += 1;
    }
    let wish = |playhead: &Playhead| {
        // One that was closed meanwhile may not have been counted.
        let key = (playhead.viewer, playhead.active());
        let players = players.get(&key).copied().unwrap_or(1);
        let (ahead, behind) = playhead.asked();
        (ahead / players, behind / players)
    };
    // In 128 bits: windows without a bound are u64::MAX, and their sum must not saturate.
    let sum = |active: bool| -> u128 {
        let some = playheads.iter().filter(|p| p.active() == active).map(|p| wish(p));
        some.map(|(ahead, behind)| u128::from(ahead) + u128::from(behind)).sum()
    };
    let mut left = u128::from(room);
    for active in [true, false] {
        let asked = sum(active);
        let granted = asked.min(left);
        left -= granted;
        for playhead in playheads.iter().filter(|p| p.active() == active) {
            let (ahead, behind) = wish(playhead);
            let part = |bytes: u64| {
                if asked == 0 {
                    return 0;
                }
                // At most `bytes`, for granted <= asked.
                (u128::from(bytes) * granted / asked) as u64
            };
            playhead.fit(part(ahead), part(behind));
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn playhead(viewer: u64, ahead: u64, behind: u64) -> Arc<Playhead> {
        let extents = (Extent::Bytes(ahead), Extent::Bytes(behind));
        Arc::new(Playhead::new(viewer, 1000, extents.0, extents.1, Duration::ZERO))
    }

    #[test]
    fn windows_that_fit_are_left_as_they_are() {
        let players = [playhead(1, 300, 100), playhead(2, 300, 100)];
        fit(&players, 1000);
        assert_eq!(players[0].window_ahead(), 1000..1300);
        assert_eq!(players[1].window_behind(), 900..1000);
    }

    #[test]
    fn windows_that_exceed_the_room_shrink_alike() {
        let players = [playhead(1, 600, 200), playhead(2, 600, 200)];
        fit(&players, 800);
        assert_eq!(players[0].window_ahead(), 1000..1300);
        assert_eq!(players[1].window_behind(), 900..1000);
    }

    #[test]
    fn two_players_of_one_viewer_share_one_part() {
        let players = [playhead(1, 600, 200), playhead(1, 600, 200)];
        fit(&players, 800);
        assert_eq!(players[0].window_ahead(), 1000..1300);
        assert_eq!(players[1].window_behind(), 900..1000);
    }

    #[test]
    fn lingering_windows_get_what_active_ones_leave() {
        let players = [playhead(1, 600, 200), playhead(2, 600, 200)];
        players[1].linger_until(Duration::from_secs(60));
        fit(&players, 1000);
        assert_eq!(players[0].window_ahead(), 1000..1600);
        assert_eq!(players[1].window_ahead(), 1000..1150);
    }

    #[test]
    fn a_window_in_time_follows_the_bitrate() {
        assert_eq!(Extent::Time(Duration::from_secs(2)).bytes(Some(500)), 1000);
        assert_eq!(Extent::Time(Duration::from_secs(2)).bytes(None), 2 << 20);
        assert_eq!(Extent::Time(Duration::MAX).bytes(Some(u64::MAX)), u64::MAX);
        let seconds = |n| Extent::Time(Duration::from_secs(n));
        let playhead = Playhead::new(1, 0, seconds(2), seconds(1), Duration::ZERO);
        assert_eq!(playhead.asked(), (2 * ASSUMED_BITRATE, ASSUMED_BITRATE));
        playhead.set_bitrate(500);
        assert_eq!(playhead.asked(), (1000, 500));
    }

    /// A playhead in a film of 100 pieces of 10 bytes, with windows of so many pieces.
    fn at(piece: u64, ahead: u64, behind: u64) -> Arc<Playhead> {
        let playhead = playhead(piece, 0, 0);
        playhead.move_to(piece * 10);
        playhead.fit(ahead * 10, behind * 10);
        playhead
    }

    fn view(active: &[Arc<Playhead>], lingering: &[Arc<Playhead>], by: &Protections) -> View {
        lingering.iter().for_each(|playhead| playhead.linger_until(Duration::from_secs(60)));
        by.playheads.store(Arc::new([active, lingering].concat()));
        by.view(
            &Layout::fixed(1000, 10).expect("a sensible layout"),
            Duration::ZERO,
            true,
            false,
            Vec::new(),
        )
    }

    #[test]
    fn the_strongest_protection_of_a_piece_counts() {
        let protections = Protections::default();
        protections.reserve(47..49);
        protections.reserve(52..53);
        protections.set_lookbehind(vec![46, 48, 53]);
        let view = view(&[at(50, 3, 2)], &[at(52, 3, 0), at(60, 0, 2)], &protections);
        let classes: Vec<_> = (45..61).map(|piece| view.class(piece)).collect();
        use Protection::{Ahead, Behind, Lingering, None, Reserved};
        assert_eq!(classes[..5], [None, Behind, Reserved, Reserved, Behind]);
        assert_eq!(classes[5..11], [Ahead, Ahead, Ahead, Behind, Lingering, None]);
        assert_eq!(classes[11..], [None, None, Lingering, Lingering, None]);
    }

    #[test]
    fn uses_are_counted_from_the_nearest_playhead() {
        let none = Protections::default();
        let end = at(100, 0, 0);
        let watched = view(&[at(10, 0, 0), at(20, 0, 0), end], &[at(15, 0, 0)], &none);
        let next = [5, 10, 14, 17, 25].map(|piece| watched.next_use(piece));
        assert_eq!(next, [None, Some(0), Some(4), Some(7), Some(5)], "active ones come first");
        let last = [5, 9, 10, 19, 20, 25].map(|piece| watched.last_use(piece));
        assert_eq!(last, [Some(5), Some(1), Some(10), Some(1), None, None]);
        let left = view(&[], &[at(15, 0, 0)], &none);
        assert_eq!((left.next_use(17), left.last_use(10)), (Some(2), None));
        assert!(watched.watched() && left.watched() && !view(&[], &[], &none).watched());
        assert!(left.known(99) && !left.known(100));
    }
}
