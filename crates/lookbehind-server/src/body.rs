//! The body of a response: pieces on their way out.
//!
//! A piece goes out as it lies in the cache, without a copy, and is pinned until the socket has
//! taken it. A slow client would pin it for long, so all responses together may pin a quarter of
//! the budget. Whoever comes beyond that copies, at most [`COPY`] bytes at a time, and
//! takes no more before these have left. In neither case does a snapshot live while a client is
//! waited for.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use futures_util::{AsyncRead, Stream};
use lookbehind::{Layout, Player};

use crate::film::Edition;
use crate::record::Tape;
use crate::viewer::Seat;

/// Bytes that a connection copies at a time when it may not pin.
pub const COPY: usize = 64 * 1024;

/// What all responses together may pin.
#[derive(Debug)]
pub struct Pins {
    limit: u64,
    used: AtomicU64,
}

/// Leave to pin some bytes; given back when dropped.
#[derive(Debug)]
struct Permit {
    pins: Arc<Pins>,
    bytes: u64,
}

impl Pins {
    /// Leave for this many bytes in all.
    pub fn new(limit: u64) -> Arc<Pins> {
        Arc::new(Pins { limit, used: AtomicU64::new(0) })
    }

    /// Bytes pinned by responses now.
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    fn try_take(self: &Arc<Pins>, bytes: u64) -> Option<Permit> {
        // Relaxed: this counts and guards nothing else.
        let room = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Relaxed, Relaxed, room).ok()?;
        Some(Permit { pins: Arc::clone(self), bytes })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.pins.used.fetch_sub(self.bytes, Relaxed);
    }
}

/// Bytes of a pinned piece with the leave to pin it.
struct Pinned {
    bytes: Bytes,
    _permit: Permit,
}

impl AsRef<[u8]> for Pinned {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The one copy buffer of a response: at home, or away with bytes that the socket has yet to take.
#[derive(Default)]
struct CopyBuffer {
    state: Mutex<CopyState>,
}

#[derive(Default)]
struct CopyState {
    away: bool,
    buffer: Vec<u8>,
    waiting: Option<Waker>,
}

/// The copy buffer while it is away.
struct Copied {
    buffer: Vec<u8>,
    len: usize,
    home: Arc<CopyBuffer>,
}

impl CopyBuffer {
    fn poll_take(self: &Arc<CopyBuffer>, cx: &mut Context<'_>) -> Poll<Copied> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.away {
            state.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.away = true;
        let mut buffer = std::mem::take(&mut state.buffer);
        drop(state);
        buffer.resize(COPY, 0);
        Poll::Ready(Copied { buffer, len: 0, home: Arc::clone(self) })
    }
}

impl AsRef<[u8]> for Copied {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let mut state = self.home.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.buffer = std::mem::take(&mut self.buffer);
        state.away = false;
        let waiting = state.waiting.take();
        drop(state);
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

/// A stretch of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stretch {
    /// Bytes of the answer itself: the head of a part.
    Text(Bytes),
    /// Bytes of the film.
    Film(Range<u64>),
}

/// The stream that a response sends.
pub struct FilmBody {
    player: Player,
    /// Where the stretch ends that the player is at.
    end: u64,
    layout: Layout,
    left: VecDeque<Stretch>,
    pins: Arc<Pins>,
    copy: Arc<CopyBuffer>,
    edition: Arc<Edition>,
    /// What is read is written down.
    tape: Option<Tape>,
    /// Dropped after the player, so that the viewer lives as long as its windows move.
    _seat: Seat,
}

impl FilmBody {
    /// A body of these stretches of the film, read with this player, which stands at the first of
    /// them, on behalf of the viewer in this seat.
    pub fn new(
        edition: Arc<Edition>,
        player: Player,
        stretches: impl Into<VecDeque<Stretch>>,
        pins: Arc<Pins>,
        seat: Seat,
    ) -> FilmBody {
        FilmBody {
            player,
            layout: edition.storage.layout(),
            left: stretches.into(),
            end: u64::MAX,
            pins,
            copy: Arc::default(),
            edition,
            tape: None,
            _seat: seat,
        }
    }

    /// The same, and what is read is written down.
    pub fn recorded(self, tape: Option<Tape>) -> FilmBody {
        FilmBody { tape, ..self }
    }

    /// The next bytes of the film from the start of the range; none past its end, never none at all.
    fn poll_film(&mut self, range: &Range<u64>, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        // The player and the layout count in bytes of the storage.
        let range = self.edition.within_storage(range);
        if self.player.position() != range.start || self.end != range.end {
            self.end = range.end;
            self.player.seek_to(range.start);
            // Nothing is read ahead that was not asked for.
            self.player.limit(range.end);
        }
        if let Some(tape) = &mut self.tape {
            tape.read(&self.edition, self.player.viewer().id(), &range);
        }
        let left = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        // A handle keeps the whole piece, however little of it is sent.
        let whole = self.layout.piece_at(range.start).and_then(|at| self.layout.piece_len(at.0));
        let permit = whole.and_then(|len| self.pins.try_take(len.into()));
        let bytes = match permit {
            Some(permit) => {
                // While the piece is still to come the permit goes back: nothing is pinned yet.
                let item = ready!(Pin::new(&mut self.player).poll_next(cx));
                let bytes = item.transpose().map_err(io::Error::other)?.unwrap_or_default();
                Bytes::from_owner(Pinned { bytes, _permit: permit })
            }
            None => {
                let mut copy = ready!(self.copy.poll_take(cx));
                let part = &mut copy.buffer[..left.min(COPY)];
                copy.len = ready!(Pin::new(&mut self.player).poll_read(cx, part))?;
                Bytes::from_owner(copy)
            }
        };
        if bytes.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        Poll::Ready(Ok(bytes))
    }
}

impl Stream for FilmBody {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match this.left.front() {
                None => return Poll::Ready(None),
                Some(Stretch::Text(text)) => {
                    let text = text.clone();
                    this.left.pop_front();
                    return Poll::Ready(Some(Ok(text)));
                }
                Some(Stretch::Film(range)) if range.is_empty() => {
                    this.left.pop_front();
                }
                Some(Stretch::Film(range)) => {
                    let range = range.clone();
                    let result = ready!(this.poll_film(&range, cx));
                    match &result {
                        Ok(bytes) => {
                            let rest = range.start + bytes.len() as u64..range.end;
                            this.left[0] = Stretch::Film(rest);
                        }
                        Err(error) => {
                            let (film, at) = (&this.edition.name, range.start);
                            tracing::warn!(film, at, %error, "a response ends early");
                            this.left.clear();
                        }
                    }
                    return Poll::Ready(Some(result));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_come_back_with_the_last_byte() {
        let pins = Pins::new(100);
        let permit = pins.try_take(60).unwrap();
        assert!(pins.try_take(41).is_none() && pins.try_take(u64::MAX).is_none());
        let bytes =
            Bytes::from_owner(Pinned { bytes: Bytes::from_static(b"abc"), _permit: permit });
        let part = bytes.slice(1..2);
        drop(bytes);
        assert_eq!(pins.used(), 60);
        drop(part);
        assert_eq!(pins.used(), 0);
    }

    #[test]
    fn one_copy_is_under_way_at_a_time() {
        let copy = Arc::new(CopyBuffer::default());
        let cx = &mut Context::from_waker(Waker::noop());
        let Poll::Ready(mut away) = copy.poll_take(cx) else { panic!("it is at home") };
        away.len = 3;
        let bytes = Bytes::from_owner(away);
        assert!(copy.poll_take(cx).is_pending());
        drop(bytes);
        assert!(copy.poll_take(cx).is_ready());
    }
}
