//! What is held across steps: snapshots, handles, waits.

use std::collections::BTreeMap;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use lookbehind::{Error, Held, Reader, Reclaim, Snapshot, WaitPiece};

use super::film::{Film, Piece};
use crate::input::{Input, Woken};

/// A reader and its snapshots.
pub(super) struct Reading<R: Reclaim> {
    /// The film's place in the world.
    pub(super) film: usize,
    pub(super) snapshots: Vec<Seen<R>>,
    reader: *mut Reader<R>,
}

/// A snapshot, and what it showed when it was taken.
pub(super) struct Seen<R: Reclaim> {
    snapshot: Snapshot<'static, R>,
    version: u64,
    span: Range<u32>,
    shows: BTreeMap<u32, Piece>,
}

impl<R: Reclaim> Reading<R> {
    pub(super) fn new(place: usize, film: &Film<R>) -> Self {
        let reader = Box::into_raw(Box::new(film.storage.reader()));
        Self { film: place, snapshots: Vec::new(), reader }
    }

    pub(super) fn take(&mut self, film: &Film<R>, span: Option<Range<u32>>) {
        // SAFETY: freed by the drop of this, after all snapshots.
        let reader: &'static Reader<R> = unsafe { &*self.reader };
        let snapshot = match &span {
            Some(span) => reader.snapshot_range(span.clone()),
            None => reader.snapshot(),
        };
        let span = span.unwrap_or(0..u32::MAX);
        let shown = film.present.iter().filter(|(piece, _)| span.contains(piece));
        let shows = shown.map(|(number, piece)| (*number, *piece)).collect();
        assert_eq!(snapshot.version(), film.storage.version());
        self.snapshots.push(Seen { version: snapshot.version(), snapshot, span, shows });
    }

    /// Forgets a snapshot: its lane is lost, and what it keeps.
    pub(super) fn forget(&mut self) -> bool {
        self.snapshots.pop().map(|seen| std::mem::forget(seen.snapshot)).is_some()
    }
}

impl<R: Reclaim> Drop for Reading<R> {
    fn drop(&mut self) {
        self.snapshots.clear();
        // SAFETY: made in `new`; what borrowed it is gone, or was forgotten and is never used.
        drop(unsafe { Box::from_raw(self.reader) });
    }
}

impl<R: Reclaim> Seen<R> {
    /// It must show what it showed.
    pub(super) fn check(&self) {
        assert_eq!(self.snapshot.version(), self.version);
        for (number, piece) in &self.shows {
            let bytes = self.snapshot.get(*number);
            assert!(bytes.is_some_and(|b| piece.looks_like(b)), "{piece:?} in {:?}", self.span);
        }
    }

    /// The same, to the last byte.
    pub(super) fn check_whole(&self) {
        self.check();
        for (number, piece) in &self.shows {
            let bytes = self.snapshot.get(*number);
            assert!(bytes.is_some_and(|bytes| piece.is(bytes)), "{piece:?} in {:?}", self.span);
        }
        let shown: Vec<u32> = self.snapshot.runs().flatten().collect();
        assert!(shown.iter().eq(self.shows.keys()), "{shown:?}, not {:?}", self.shows);
    }

    pub(super) fn look(&self, film: &Film<R>, input: &mut Input) -> Option<(Held, Piece)> {
        let number = film.choose(input);
        let known = self.shows.get(&number);
        assert_eq!(self.snapshot.contains(number), known.is_some());
        assert_eq!(self.snapshot.get(number).is_some(), known.is_some());
        if !film.removed {
            let (start, end) = (input.below(film.total() + 2), input.below(film.total() + 2));
            self.check_slices(film, start..end.max(start).min(start + 6000));
        }
        let held = self.snapshot.held(number);
        assert_eq!(held.is_some(), known.is_some());
        held.zip(known.copied())
    }

    fn check_slices(&self, film: &Film<R>, bytes: Range<u64>) {
        let slices = self.snapshot.slices(bytes.clone()).map(|parts| parts.collect::<Vec<_>>());
        let mut expected = Some(Vec::new());
        if bytes.start < film.range(film.first).map_or(film.total(), |range| range.start)
            || bytes.end > film.total()
        {
            expected = None;
        }
        for number in film.first..film.end() {
            let Some(range) = film.range(number) else { continue };
            let part = bytes.start.max(range.start)..bytes.end.min(range.end);
            if part.is_empty() {
                continue;
            }
            let within = (part.start - range.start) as usize..(part.end - range.start) as usize;
            match (self.shows.get(&number), &mut expected) {
                (Some(piece), Some(all)) => all.extend_from_slice(&piece.bytes()[within]),
                _ => expected = None,
            }
        }
        assert_eq!(slices.map(|slices| slices.concat()), expected);
    }
}

/// A handle, in one of its forms.
pub(super) enum Handle {
    Held(Held),
    Bytes(Bytes),
}

impl std::ops::Deref for Handle {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Handle::Held(held) => held,
            Handle::Bytes(bytes) => bytes,
        }
    }
}

/// What becomes of a wait.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fate {
    /// Not polled yet.
    New,
    Waits,
    Ends(Result<Piece, Error>),
    Over,
}

pub(super) struct Waiting<R: Reclaim> {
    pub(super) film: usize,
    pub(super) piece: u32,
    pub(super) deadline: Option<Duration>,
    pub(super) fate: Fate,
    wait: WaitPiece<R>,
    woken: Arc<Woken>,
    waker: Waker,
    /// How often it had been woken when it was polled last.
    before: usize,
}

impl<R: Reclaim> Waiting<R> {
    pub(super) fn new(
        film: usize,
        piece: u32,
        wait: WaitPiece<R>,
        deadline: Option<Duration>,
    ) -> Self {
        let (woken, waker) = Woken::waker();
        Self { film, piece, deadline, fate: Fate::New, wait, woken, waker, before: 0 }
    }

    pub(super) fn poll(&mut self) -> Poll<Result<Held, Error>> {
        self.before = self.woken.times();
        Pin::new(&mut self.wait).poll(&mut Context::from_waker(&self.waker))
    }

    pub(super) fn ends(&mut self, with: Result<Piece, Error>) {
        if self.fate == Fate::Waits {
            self.fate = Fate::Ends(with);
        }
    }

    /// Whoever waits is told of the end.
    pub(super) fn check(&self) {
        if matches!(self.fate, Fate::Ends(_)) {
            assert!(self.woken.times() > self.before, "nobody woke the wait for {}", self.piece);
        }
    }
}
