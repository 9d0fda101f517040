//! A playhead that reads, and says what it will need.

use std::fmt;
use std::future::Future;
use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_io::{AsyncRead, AsyncSeek};

use super::wait::WaitPiece;
use crate::error::{Error, Result};
use crate::evict::playhead::Playhead;
use crate::evict::policy::Action;
use crate::evict::protect::Extent;
use crate::retire::{Interval, Reclaim};
use crate::storage::Storage;
use crate::table::snapshot::Reader;
use crate::wake::Ticket;

/// Who watches: players that share one are one viewer.
///
/// A player that seeks often opens a second connection and reads on both for a while; as one
/// viewer the two share one part of the windows' room.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Viewer(u64);

impl Viewer {
    /// A viewer different from all others in this process.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is different")]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Its number, as statistics show it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0
    }
}

/// How a player reads.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlayerConfig {
    /// How far ahead of the playhead pieces are fetched, and protected; see `behind`.
    pub ahead: Extent,
    /// How far behind it they are protected, if the cache's policy goes by windows. The default,
    /// [`Density`](crate::Density), does not: it keeps what viewers are likely to jump back to, for
    /// as long as nothing else is worth more. What must stay is named by
    /// [`set_lookbehind`](Storage::set_lookbehind).
    pub behind: Extent,
    /// Bytes a second, for windows given in time.
    pub bitrate: Option<u64>,
    /// The byte of the film at which it starts.
    pub position: u64,
    /// How long the windows stay, at a lower preference, after the player is closed or dropped.
    pub linger: Duration,
    /// Who watches; a viewer of its own if `None`.
    pub viewer: Option<Viewer>,
    /// How long one read may wait for a piece; for ever if `None`.
    pub deadline: Option<Duration>,
}

impl Default for PlayerConfig {
    /// 60 s ahead and 60 s behind, from the start, windows gone when the player is.
    fn default() -> Self {
        Self {
            ahead: Extent::Time(Duration::from_secs(60)),
            behind: Extent::Time(Duration::from_secs(60)),
            bitrate: None,
            position: 0,
            linger: Duration::ZERO,
            viewer: None,
            deadline: None,
        }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty => $value:expr,)*) => {
        impl PlayerConfig {
            $($(#[$doc])* #[must_use] pub fn $name(mut self, $name: $type) -> Self {
                self.$name = $value;
                self
            })*
        }
    };
}

setters! {
    /// Sets [`ahead`](Self::ahead).
    ahead: Extent => ahead,
    /// Sets [`behind`](Self::behind).
    behind: Extent => behind,
    /// Sets [`bitrate`](Self::bitrate).
    bitrate: u64 => Some(bitrate),
    /// Sets [`position`](Self::position).
    position: u64 => position,
    /// Sets [`linger`](Self::linger).
    linger: Duration => linger,
    /// Sets [`viewer`](Self::viewer).
    viewer: Viewer => Some(viewer),
    /// Sets [`deadline`](Self::deadline).
    deadline: Duration => Some(deadline),
}

/// Reads a film from a playhead on, waiting for what is missing, and protects its windows.
///
/// Three ways to read, which share the playhead:
/// - `AsyncRead` copies under a short snapshot and keeps no handle between calls. It also reads
///   the written prefix of a piece that is still arriving, where the storage allows that.
/// - `Stream` gives the rest of the piece under the playhead as `Bytes`, without a copy; the piece
///   is pinned while the `Bytes` live.
/// - `AsyncSeek` moves the playhead; a seek past the end reads nothing.
///
/// All windows of a cache together are kept to half its budget, by shrinking them. Closing or
/// dropping the player frees its windows at once, or lets them linger. Of a player that was closed
/// reads and seeks fail, and nothing else that is asked of it has an effect.
///
/// At the end of a live film's last segment a read waits for the next one, until
/// [`Storage::end`] was called.
pub struct Player<R: Reclaim = Interval> {
    storage: Storage<R>,
    reader: Reader<R>,
    playhead: Arc<Playhead>,
    viewer: Viewer,
    linger: Duration,
    deadline: Option<Duration>,
    wait: Option<WaitPiece<R>>,
    grown: Option<Ticket>,
    closed: bool,
}

impl<R: Reclaim> Player<R> {
    pub(crate) fn open(storage: Storage<R>, config: PlayerConfig) -> Result<Self> {
        storage.film.usable()?;
        let viewer = config.viewer.unwrap_or_else(Viewer::new);
        let now = storage.film.shared.clock.now();
        let (ahead, behind) = (config.ahead, config.behind);
        let playhead = Playhead::new(viewer.id(), config.position, ahead, behind, now);
        playhead.set_bitrate(config.bitrate.unwrap_or(0));
        let playhead = Arc::new(playhead);
        storage.film.open_playhead(&playhead);
        Ok(Self {
            reader: storage.reader(),
            storage,
            playhead,
            viewer,
            linger: config.linger,
            deadline: config.deadline,
            wait: None,
            grown: None,
            closed: false,
        })
    }

    /// The byte of the film that is read next.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.playhead.position()
    }

    /// Who watches: give it to another player, and the two are one viewer.
    #[must_use]
    pub fn viewer(&self) -> &Viewer {
        &self.viewer
    }

    /// Moves the playhead; nothing is read. What only the old place wanted is fetched no more.
    pub fn seek_to(&mut self, position: u64) {
        if self.closed {
            return;
        }
        let from = self.position();
        self.playhead.move_to(position);
        self.storage.film.moved(&self.playhead, Action::Seek { from });
        if self.playhead.end() != u64::MAX {
            // The window ahead was fitted to what was left up to the limit.
            self.storage.film.shared.fit_windows();
        } else {
            self.storage.film.demand.recheck(&self.storage.film);
        }
        // Only now: who stops waiting has what nobody needs cancelled, by the windows as they are.
        self.wait = None;
    }

    /// Reads end at this byte of the film, as at the film's end, and nothing is fetched beyond:
    /// for a reader who knows how much he wants. `u64::MAX` for no limit, as at first.
    pub fn limit(&mut self, end: u64) {
        if self.closed {
            return;
        }
        self.playhead.end_at(end);
        self.storage.film.shared.fit_windows();
        if self.position() >= end {
            self.wait = None;
        }
    }

    /// Says that the viewer has paused. Nothing changes for the player; but what it was about to need
    /// is needed later, and may go before what others need sooner. A player that reads nothing for
    /// a while is taken for paused anyway.
    pub fn pause(&self) {
        if !self.closed && self.playhead.pause(true) {
            self.storage.film.moved(&self.playhead, Action::Pause);
        }
    }

    /// Says that the viewer plays on.
    pub fn resume(&self) {
        if !self.closed && self.playhead.pause(false) {
            self.storage.film.moved(&self.playhead, Action::Resume);
        }
    }

    /// Sets the bitrate in bytes a second, by which windows in time are measured.
    pub fn set_bitrate(&self, bitrate: u64) {
        if self.closed {
            return;
        }
        self.playhead.set_bitrate(bitrate);
        if bitrate > 0 {
            self.storage.film.protections.set_bitrate(bitrate);
        }
        self.storage.film.shared.fit_windows();
    }

    /// Frees the windows, or lets them linger, as dropping the player does.
    pub fn close(&mut self) {
        if !self.closed {
            self.closed = true;
            self.storage.film.demand.leave_grown(&mut self.grown);
            self.storage.film.close_playhead(&self.playhead, self.linger);
            self.wait = None;
        }
    }

    /// The piece under the playhead, and where in it; `None` at the end of the film.
    fn place(&self) -> Result<Option<(u32, u32)>> {
        if self.closed {
            return Err(Error::Dropped);
        }
        // Not `usable`: after an abort what is present stays readable.
        self.storage.film.known()?;
        let (layout, at) = (self.storage.film.layout(), self.position());
        if at >= self.playhead.end() {
            return Ok(None);
        }
        if at < layout.start_offset() {
            return Err(Error::OffsetOutOfRange { offset: at, len: layout.total_len() });
        }
        Ok(layout.piece_at(at))
    }

    /// Like `place`, but at the end of what a live film has so far it waits for more.
    fn poll_place(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<(u32, u32)>>> {
        let place = self.place();
        let film = &self.storage.film;
        let limited = self.position() >= self.playhead.end();
        if !matches!(place, Ok(None)) || film.ended() || limited {
            return Poll::Ready(place);
        }
        // Register, then look again.
        film.demand.await_grown(&mut self.grown, cx.waker());
        let place = self.place();
        if matches!(place, Ok(None)) && !self.storage.film.ended() {
            // What is present stays readable after an abort, but nothing will come any more.
            self.storage.film.usable()?;
            return Poll::Pending;
        }
        Poll::Ready(place)
    }

    /// The piece under the playhead, when it is there.
    fn poll_piece(&mut self, cx: &mut Context<'_>, piece: u32) -> Poll<Result<super::held::Held>> {
        if self.wait.as_ref().is_some_and(|wait| wait.piece() != piece) {
            self.wait = None;
        }
        let wait = self.wait.get_or_insert_with(|| {
            let wait = self.storage.wait(piece);
            match self.deadline {
                Some(time) => wait.deadline(time),
                None => wait,
            }
        });
        let result = ready!(Pin::new(wait).poll(cx));
        self.wait = None;
        Poll::Ready(result)
    }

    fn advance(&mut self, piece: u32, bytes: usize) {
        let position = self.position().saturating_add(bytes as u64);
        self.playhead.move_to(position);
        // The window moves on by whole pieces: no need to look more often.
        let film = &self.storage.film;
        if film.layout().piece_at(position).map(|(now, _)| now) != Some(piece) {
            self.playhead.moved_at(film.shared.clock.now());
            film.demand.recheck(film);
        }
    }

    /// The part of the buffer that may be filled; the position is before the limit.
    fn within_limit<'b>(&self, buffer: &'b mut [u8]) -> &'b mut [u8] {
        let left = self.playhead.end().saturating_sub(self.position());
        let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        &mut buffer[..count]
    }

    /// Copies what is there at the playhead, if anything is.
    fn copy(&mut self, piece: u32, within: u32, buffer: &mut [u8]) -> Option<usize> {
        let copy = |from: &[u8], buffer: &mut [u8]| {
            let rest = from.get(within as usize..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            count
        };
        let buffer = self.within_limit(buffer);
        let snapshot = self.reader.snapshot_range(piece..piece.saturating_add(1));
        if let Some(bytes) = snapshot.get(piece) {
            return Some(copy(bytes, buffer));
        }
        drop(snapshot);
        let arriving = self.storage.arriving(piece)?;
        Some(copy(&arriving, buffer)).filter(|count| *count > 0)
    }

    fn poll_copy(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            let Some((piece, within)) = ready!(self.poll_place(cx))? else {
                return Poll::Ready(Ok(0));
            };
            if let Some(count) = self.copy(piece, within, buffer) {
                self.wait = None;
                self.advance(piece, count);
                return Poll::Ready(Ok(count));
            }
            if self.storage.film.options.readable_prefix {
                // Register for growth, then look again.
                self.storage.film.demand.await_grown(&mut self.grown, cx.waker());
                if let Some(count) = self.copy(piece, within, buffer) {
                    self.wait = None;
                    self.advance(piece, count);
                    return Poll::Ready(Ok(count));
                }
            }
            let held = ready!(self.poll_piece(cx, piece))?;
            // Straight from the handle that was handed over: an eviction may have come since.
            let rest = held.get(within as usize..).unwrap_or_default();
            let buffer = self.within_limit(buffer);
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            drop(held);
            if count > 0 {
                self.advance(piece, count);
                return Poll::Ready(Ok(count));
            }
        }
    }
}

impl<R: Reclaim> AsyncRead for Player<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_copy(cx, buffer).map_err(io::Error::from)
    }
}

impl<R: Reclaim> AsyncSeek for Player<R> {
    fn poll_seek(self: Pin<&mut Self>, _: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        let this = self.get_mut();
        let end = this.storage.film.layout().total_len();
        let position = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => end.checked_add_signed(by),
            SeekFrom::Current(by) => this.position().checked_add_signed(by),
        };
        let Some(position) = position else {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "seek before the film's start");
            return Poll::Ready(Err(error));
        };
        if this.closed {
            return Poll::Ready(Err(Error::Dropped.into()));
        }
        this.seek_to(position);
        Poll::Ready(Ok(position))
    }
}

impl<R: Reclaim> Stream for Player<R> {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let place = match ready!(this.poll_place(cx)) {
            Ok(place) => place,
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        let Some((piece, within)) = place else { return Poll::Ready(None) };
        match ready!(this.poll_piece(cx, piece)) {
            Ok(held) => {
                let bytes = Bytes::from(held);
                // A piece is as long as the layout says, and `within` lies in it.
                let rest = bytes.slice((within as usize).min(bytes.len())..);
                let left = this.playhead.end().saturating_sub(this.position());
                let rest =
                    rest.slice(..rest.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
                this.advance(piece, rest.len());
                Poll::Ready(Some(Ok(rest)))
            }
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }
}

impl<R: Reclaim> Drop for Player<R> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<R: Reclaim> fmt::Debug for Player<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let position = self.position();
        f.debug_struct("Player").field("position", &position).finish_non_exhaustive()
    }
}
