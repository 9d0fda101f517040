//! The film, its players, and the fetches under way.

use std::collections::BTreeMap;
use std::io::SeekFrom;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_io::{AsyncRead, AsyncSeek};
use lookbehind::{
    Action, Cache, Clock, Error, Extent, Fetch, Layout, Player, PlayerConfig, Reclaim, Storage,
    StorageOptions, Wanted,
};

use super::told::Told;
use crate::input::{Input, Woken, content};

/// What a read waits for.
#[derive(Clone, PartialEq)]
pub(super) enum Outcome {
    None,
    Delivered,
    Failed,
}

pub(super) struct Wait {
    pub(super) piece: u32,
    pub(super) deadline: Option<Duration>,
    pub(super) outcome: Outcome,
    /// How often the waker had been woken at the last poll.
    pub(super) before: usize,
    /// By a read, which takes a part of a piece as well.
    pub(super) reads: bool,
}

pub(super) struct Playing<R: Reclaim> {
    pub(super) player: Player<R>,
    pub(super) ahead: u64,
    pub(super) time: Option<Duration>,
    pub(super) limit: u64,
    pub(super) paused: bool,
    pub(super) wait: Option<Wait>,
    pub(super) woken: Arc<Woken>,
    pub(super) waker: Waker,
}

pub(super) struct Flying<R: Reclaim> {
    pub(super) fetch: Fetch<R>,
    pub(super) landed: bool,
    /// Somebody needed it all the time.
    pub(super) needed: bool,
}

/// Where a player stands: when and where, in which piece, and whether that is present; and where
/// what it may play ends.
struct Place {
    now: Duration,
    at: u64,
    piece: u32,
    end: u64,
    there: bool,
}

pub(super) struct World<R: Reclaim> {
    pub(super) cache: Cache<R>,
    pub(super) film: Storage<R>,
    pub(super) clock: Clock,
    pub(super) piece_len: u64,
    pub(super) total: u64,
    pub(super) prefixes: bool,
    pub(super) players: Vec<Playing<R>>,
    pub(super) flying: Vec<Flying<R>>,
    /// Bytes written of pieces that arrive in blocks.
    pub(super) open: BTreeMap<u32, usize>,
    pub(super) held: Vec<(Bytes, Range<u64>)>,
    pub(super) told: Told,
    pub(super) wanted: Wanted<R>,
    /// Since when nothing was wanted: how often the waker had been woken.
    pub(super) idle: Option<usize>,
    pub(super) woken: Arc<Woken>,
    pub(super) waker: Waker,
}

impl<R: Reclaim> World<R> {
    pub(super) fn new(input: &mut Input) -> Self {
        let clock = Clock::manual();
        let budget = input.between(28 << 10, 40 << 10);
        let told = Told::default();
        let cache = Cache::builder().budget(budget).clock(clock.clone()).policy(told.policy());
        let cache = cache.build_with().unwrap();
        let piece_len = input.between(1, 1500);
        let total = piece_len * input.between(0, 29) + input.between(1, piece_len);
        let prefixes = input.flag();
        let options = StorageOptions::default()
            .readable_prefix(prefixes)
            .keep_assemblies(true)
            .assembly_limit(Duration::MAX);
        let layout = Layout::fixed(total, piece_len as u32).unwrap();
        let film = cache.add_storage_with(layout, options).unwrap();
        let (woken, waker) = Woken::waker();
        let mut world = Self {
            wanted: film.wanted(),
            cache,
            film,
            clock,
            piece_len,
            total,
            prefixes,
            players: Vec::new(),
            flying: Vec::new(),
            open: BTreeMap::new(),
            held: Vec::new(),
            told,
            idle: None,
            woken,
            waker,
        };
        world.open_player(input);
        world
    }

    pub(super) fn pieces(&self) -> u32 {
        self.total.div_ceil(self.piece_len) as u32
    }

    pub(super) fn range(&self, piece: u32) -> Range<u64> {
        let start = u64::from(piece) * self.piece_len;
        start..(start + self.piece_len).min(self.total)
    }

    pub(super) fn bytes(&self, piece: u32) -> Vec<u8> {
        let range = self.range(piece);
        content(0, piece, (range.end - range.start) as usize)
    }

    /// The bytes of the film.
    fn film_bytes(&self, bytes: &Range<u64>) -> Vec<u8> {
        let mut all = Vec::new();
        let first = (bytes.start / self.piece_len) as u32;
        for piece in first..self.pieces() {
            let range = self.range(piece);
            if range.start >= bytes.end {
                break;
            }
            let part = bytes.start.max(range.start)..bytes.end.min(range.end);
            if !part.is_empty() {
                let within = (part.start - range.start) as usize..(part.end - range.start) as usize;
                all.extend_from_slice(&self.bytes(piece)[within]);
            }
        }
        all
    }

    pub(super) fn step(&mut self, input: &mut Input) {
        match input.below(19) {
            0 => self.open_player(input),
            1..4 => self.read(input),
            4 => self.next(input),
            5 | 6 => self.seek(input),
            7 => self.limit(input),
            8 | 9 => self.ask(),
            10 | 11 => self.deliver(input),
            12 => self.blocks(input),
            13 => self.give_up(input),
            14 => {
                let piece = input.small(self.pieces());
                let until = piece + input.small(self.pieces() + 1);
                self.film.evict(piece..until).unwrap();
            }
            15 => match input.below(4) {
                0 => {
                    self.clock.advance(Duration::from_secs(input.below(20)));
                }
                1 => self.held.clear(),
                2 => self.publish(input.small(self.pieces())),
                _ => {
                    if !self.players.is_empty() {
                        let which = input.index(self.players.len());
                        self.tells(which, Action::Close);
                        drop(self.players.swap_remove(which));
                    }
                }
            },
            16 => self.pause(input, true),
            17 => self.pause(input, false),
            _ => self.close(input),
        }
    }

    fn open_player(&mut self, input: &mut Input) {
        if self.players.len() > 2 {
            return;
        }
        let ahead = input.below(10 * self.piece_len + 100);
        let time = input.flag().then(|| Duration::from_secs(1 + input.below(30)));
        let mut config = PlayerConfig::default()
            .ahead(Extent::Bytes(ahead))
            .behind(Extent::Bytes(input.below(20_000)))
            .position(input.below(self.total + 2));
        config.deadline = time;
        let player = self.film.player(config).unwrap();
        let (woken, waker) = Woken::waker();
        self.players.push(Playing {
            player,
            ahead,
            time,
            limit: u64::MAX,
            paused: false,
            wait: None,
            woken,
            waker,
        });
        self.tells(self.players.len() - 1, Action::Open);
    }

    pub(super) fn pick(&self, input: &mut Input) -> Option<usize> {
        (!self.players.is_empty()).then(|| input.index(self.players.len()))
    }

    fn read(&mut self, input: &mut Input) {
        if let Some(which) = self.pick(input) {
            self.read_some(which, input.index(4000));
        }
    }

    /// Where a player stands before it is polled.
    fn place(&self, which: usize) -> Place {
        let playing = &self.players[which];
        let at = playing.player.position();
        let piece = (at / self.piece_len) as u32;
        let end = self.total.min(playing.limit);
        Place { now: self.clock.now(), at, piece, end, there: self.film.contains(piece) }
    }

    /// Polls a read of so many bytes; what it gave, if it is ready.
    fn read_some(&mut self, which: usize, count: usize) -> Option<usize> {
        let mut buffer = vec![0; count];
        let Place { now, at, piece, end, there } = self.place(which);
        let playing = &mut self.players[which];
        let prefix = self.open.get(&piece).copied().unwrap_or(0);
        let readable = self.prefixes && prefix as u64 > at % self.piece_len;
        let before = playing.woken.times();
        let mut context = Context::from_waker(&playing.waker);
        let read = Pin::new(&mut playing.player).poll_read(&mut context, &mut buffer);
        match read {
            Poll::Ready(Ok(got)) => {
                assert!(got as u64 <= end.saturating_sub(at));
                assert!(got > 0 || count == 0 || at >= end, "an end at {at} of {end}");
                assert_eq!(playing.player.position(), at + got as u64);
                if got > 0 {
                    let handed = playing.wait.as_ref();
                    let handed = handed.is_some_and(|w| w.outcome == Outcome::Delivered);
                    assert!(there || readable || handed, "nobody delivered piece {piece}");
                    playing.wait = None;
                }
                let expected = self.film_bytes(&(at..at + got as u64));
                assert_eq!(buffer[..got], expected, "at {at}");
                Some(got)
            }
            Poll::Ready(Err(error)) => {
                assert!(count > 0 && at < end && !there && !readable);
                playing.failed(piece, now, error.downcast().expect("the library's error"));
                Some(0)
            }
            Poll::Pending => {
                assert!(count > 0 && at < end && !there && !readable, "waits at {at} in vain");
                playing.waits(piece, now, before, true);
                None
            }
        }
    }

    /// Polls the stream.
    fn next(&mut self, input: &mut Input) {
        let Some(which) = self.pick(input) else { return };
        let Place { now, at, piece, end, there } = self.place(which);
        let playing = &mut self.players[which];
        let before = playing.woken.times();
        let mut context = Context::from_waker(&playing.waker);
        match Pin::new(&mut playing.player).poll_next(&mut context) {
            Poll::Ready(None) => assert!(at >= end),
            Poll::Ready(Some(Ok(bytes))) => {
                let until = (at + bytes.len() as u64).min(end);
                assert!(at < until && until == end.min((u64::from(piece) + 1) * self.piece_len));
                assert_eq!(playing.player.position(), until);
                playing.wait = None;
                assert_eq!(bytes[..], self.film_bytes(&(at..until)));
                if self.held.len() < 3 {
                    self.held.push((bytes, at..until));
                }
            }
            Poll::Ready(Some(Err(error))) => {
                assert!(at < end);
                playing.failed(piece, now, error);
            }
            Poll::Pending => {
                assert!(at < end && !there);
                playing.waits(piece, now, before, false);
            }
        }
    }

    fn seek(&mut self, input: &mut Input) {
        let Some(which) = self.pick(input) else { return };
        let playing = &mut self.players[which];
        let (at, by) = (playing.player.position(), input.below(2 * self.total) as i64);
        let by = by - self.total as i64;
        let (to, expected) = match input.below(4) {
            0 => (SeekFrom::Current(by), i128::from(at) + i128::from(by)),
            1 => (SeekFrom::End(by), i128::from(self.total) + i128::from(by)),
            _ => {
                let to = input.below(self.total + 1);
                (SeekFrom::Start(to), i128::from(to))
            }
        };
        let mut context = Context::from_waker(Waker::noop());
        let sought = Pin::new(&mut playing.player).poll_seek(&mut context, to);
        let Poll::Ready(sought) = sought else { panic!("a seek never waits") };
        if expected < 0 {
            assert_eq!(sought.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
        } else {
            assert_eq!(i128::from(sought.unwrap()), expected);
            assert_eq!(i128::from(playing.player.position()), expected);
            playing.wait = None;
            self.tells(which, Action::Seek { from: at });
        }
    }

    fn limit(&mut self, input: &mut Input) {
        let Some(which) = self.pick(input) else { return };
        let playing = &mut self.players[which];
        playing.limit = if input.flag() { u64::MAX } else { input.below(self.total + 10) };
        playing.player.limit(playing.limit);
        if playing.player.position() >= playing.limit {
            playing.wait = None;
        }
    }

    pub(super) fn check(&mut self) {
        self.cache.validate().unwrap();
        self.told.check();
        let stats = self.cache.stats();
        assert!(stats.resident_peak <= stats.budget, "{stats:?}");
        let (needed, allowed) = (self.needed(), self.allowed());
        for flying in &mut self.flying {
            let piece = flying.fetch.piece();
            flying.needed &= needed.contains(&piece);
            if !flying.landed {
                let cancelled = flying.fetch.is_cancelled();
                assert!(!(cancelled && flying.needed), "the fetch of {piece} is cancelled");
                assert!(cancelled || allowed.contains(&piece), "nobody needs {piece}");
            }
        }
        let missing = |piece: &&u32| !self.film.contains(**piece) && !self.in_flight(**piece);
        if let Some(before) = self.idle
            && let Some(piece) = needed.iter().find(missing)
        {
            assert!(self.woken.times() > before, "nobody said that {piece} is wanted");
        }
        for (bytes, range) in &self.held {
            assert_eq!(bytes[..], self.film_bytes(range));
        }
    }

    /// One of them reads on to the end: with each piece that is delivered a read comes further.
    pub(super) fn finish(mut self) {
        self.held.clear();
        for which in 0..self.players.len().min(1) {
            let end = self.players[which].limit.min(self.total);
            // Two polls a piece, and one for each read that had failed before.
            let most = 2 * self.pieces() + 4;
            for _ in 0..most {
                let at = self.players[which].player.position();
                if at >= end {
                    break;
                }
                if self.read_some(which, 4000) == Some(0)
                    || self.players[which]
                        .wait
                        .as_ref()
                        .is_none_or(|wait| wait.outcome != Outcome::None)
                {
                    continue;
                }
                let piece = (at / self.piece_len) as u32;
                // Offered to somebody: it is under way, or comes next.
                while !self.in_flight(piece) {
                    self.ask();
                    assert!(self.idle.is_none(), "piece {piece} is not offered");
                }
                self.publish(piece);
                assert!(self.read_some(which, 4000).is_some_and(|got| got > 0));
            }
            let at = self.players[which].player.position();
            assert!(at >= end, "stuck at {at} of {end}");
        }
        self.check();
        for which in 0..self.players.len() {
            self.tells(which, Action::Close);
        }
        self.players.clear();
        self.told.check();
        self.flying.clear();
        assert!(self.wanted.try_next().is_none());
        self.cache.validate_swept().unwrap();
    }
}

impl<R: Reclaim> Playing<R> {
    fn waits(&mut self, piece: u32, now: Duration, before: usize, reads: bool) {
        let wait = match self.wait.take() {
            Some(wait) if wait.piece == piece => {
                assert!(wait.outcome == Outcome::None, "a read hangs that was answered");
                assert!(wait.deadline.is_none_or(|deadline| now < deadline));
                Wait { before, reads, ..wait }
            }
            _ => {
                let deadline = self.time.map(|time| now + time);
                Wait { piece, deadline, outcome: Outcome::None, before, reads }
            }
        };
        self.wait = Some(wait);
    }

    fn failed(&mut self, piece: u32, now: Duration, error: Error) {
        let wait = self.wait.take();
        let wait = wait.filter(|wait| wait.piece == piece).expect("it did not wait");
        match error {
            Error::TimedOut => {
                assert!(wait.deadline.is_some_and(|deadline| deadline <= now));
                assert!(wait.outcome == Outcome::None);
            }
            Error::FetchFailed { piece: failed, .. } => {
                assert!(failed == piece && wait.outcome == Outcome::Failed);
            }
            other => panic!("{other}"),
        }
    }

    pub(super) fn end_wait(&mut self, piece: u32, with: &Outcome) {
        self.must_be_woken(piece);
        if let Some(wait) = &mut self.wait
            && wait.piece == piece
            && wait.outcome == Outcome::None
        {
            wait.outcome = with.clone();
        }
    }

    pub(super) fn reads(&self) -> bool {
        self.wait.as_ref().is_some_and(|wait| wait.reads)
    }

    /// Whoever waits for the piece was told.
    pub(super) fn must_be_woken(&self, piece: u32) {
        if let Some(wait) = &self.wait
            && wait.piece == piece
            && wait.outcome == Outcome::None
        {
            assert!(self.woken.times() > wait.before, "nobody woke the read of {piece}");
        }
    }
}
