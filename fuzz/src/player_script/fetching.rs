//! What is wanted, and who brings it.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use lookbehind::{Insert, Progress, Reclaim};

use super::world::{Flying, Outcome, World};
use crate::input::Input;

impl<R: Reclaim> World<R> {
    pub(super) fn in_flight(&self, piece: u32) -> bool {
        self.flying.iter().any(|flying| !flying.landed && flying.fetch.piece() == piece)
    }

    /// Pieces that must be fetched: for reads that wait, and in whole in the windows as they are.
    pub(super) fn needed(&self) -> BTreeSet<u32> {
        let waits = self.players.iter().filter_map(|playing| playing.wait.as_ref());
        let waits = waits.filter(|wait| wait.outcome == Outcome::None).map(|wait| wait.piece);
        let mut needed: BTreeSet<u32> = waits.collect();
        for window in self.film.stats().windows {
            needed.extend(self.within(window.position, window.ahead.end - window.ahead.start));
        }
        needed
    }

    /// Pieces that may be fetched: windows are never longer than asked for.
    pub(super) fn allowed(&self) -> BTreeSet<u32> {
        let mut allowed = self.needed();
        for playing in &self.players {
            let at = playing.player.position();
            let end = playing.limit.min(self.total);
            let ahead = self.within(at, playing.ahead);
            allowed.extend(ahead.filter(|piece| self.range(*piece).start < end));
        }
        allowed
    }

    /// The pieces from that position on which have room in so many bytes, whole.
    fn within(&self, at: u64, bytes: u64) -> impl Iterator<Item = u32> + use<R> {
        let first = if at < self.total { (at / self.piece_len) as u32 } else { self.pieces() };
        let mut left = bytes;
        let mut end = first;
        while end < self.pieces() && self.range(end).end - self.range(end).start <= left {
            left -= self.range(end).end - self.range(end).start;
            end += 1;
        }
        first..end
    }

    /// Asks what is wanted.
    pub(super) fn ask(&mut self) {
        let (needed, allowed) = (self.needed(), self.allowed());
        let before = self.woken.times();
        let mut context = Context::from_waker(&self.waker);
        match Pin::new(&mut self.wanted).poll_next(&mut context) {
            Poll::Ready(None) => panic!("the film is not at its end"),
            Poll::Pending => {
                let missing =
                    |piece: &&u32| !self.film.contains(**piece) && !self.in_flight(**piece);
                assert_eq!(needed.iter().find(missing), None, "it is needed and not offered");
                self.idle = Some(before);
            }
            Poll::Ready(Some(fetch)) => {
                self.idle = None;
                let piece = fetch.piece();
                assert!(!self.film.contains(piece) && !self.in_flight(piece));
                assert!(allowed.contains(&piece), "piece {piece} is offered, nobody needs it");
                assert!(self.is_most_urgent(piece), "piece {piece} is not the most urgent one");
                assert_eq!(fetch.byte_range(), self.range(piece));
                assert!(!fetch.is_cancelled());
                let needed = needed.contains(&piece);
                self.flying.push(Flying { fetch, landed: false, needed });
            }
        }
    }

    /// Reads that wait come first; then what is next in somebody's window.
    fn is_most_urgent(&self, piece: u32) -> bool {
        let missing = |piece: u32| !self.film.contains(piece) && !self.in_flight(piece);
        let waits = self.players.iter().filter_map(|playing| playing.wait.as_ref());
        let mut waited = waits.filter(|w| w.outcome == Outcome::None).map(|wait| wait.piece);
        if waited.clone().any(missing) {
            return waited.any(|waited| waited == piece);
        }
        self.players.iter().any(|playing| {
            let at = (playing.player.position() / self.piece_len) as u32;
            at <= piece && !(at..piece).any(missing)
        })
    }

    /// Brings a piece, whoever asked for it.
    pub(super) fn publish(&mut self, piece: u32) {
        let there = self.film.contains(piece);
        let inserted = self.film.insert(piece, &self.bytes(piece));
        if there {
            assert_eq!(inserted, Ok(Insert::AlreadyPresent));
            return;
        }
        // There is room for all that is held here, and a piece.
        assert_eq!(inserted, Ok(Insert::Published));
        self.open.remove(&piece);
        self.delivered(piece);
    }

    fn delivered(&mut self, piece: u32) {
        for flying in &mut self.flying {
            flying.landed |= flying.fetch.piece() == piece;
        }
        for playing in &mut self.players {
            playing.end_wait(piece, &Outcome::Delivered);
        }
    }

    pub(super) fn deliver(&mut self, input: &mut Input) {
        if self.flying.is_empty() {
            return;
        }
        let which = input.index(self.flying.len());
        let piece = self.flying[which].fetch.piece();
        self.publish(piece);
        match input.below(4) {
            0 => self.publish(piece),
            1 => {
                // It is evicted before anybody looked.
                self.film.evict(piece..piece + 1).unwrap();
            }
            _ => {}
        }
        if input.flag() {
            drop(self.flying.swap_remove(which));
        }
    }

    /// Brings a piece by two blocks.
    pub(super) fn blocks(&mut self, input: &mut Input) {
        let piece = match self.flying.first() {
            Some(flying) if input.flag() => flying.fetch.piece(),
            _ => input.small(self.pieces()),
        };
        if self.film.contains(piece) {
            return;
        }
        let bytes = self.bytes(piece);
        match self.open.get(&piece).copied() {
            None if self.open.len() < 2 => {
                let half = bytes.len() / 2;
                let written = self.film.write(piece, 0, &bytes[..half]).unwrap();
                assert_eq!(written, Progress::Partial { written: half as u64 });
                self.open.insert(piece, half);
                if self.prefixes && half > 0 {
                    for playing in self.players.iter().filter(|playing| playing.reads()) {
                        playing.must_be_woken(piece);
                    }
                }
            }
            None => {}
            Some(half) => {
                let written = self.film.write(piece, half as u32, &bytes[half..]);
                assert_eq!(written, Ok(Progress::Complete));
                assert_eq!(self.film.commit(piece), Ok(()));
                self.open.remove(&piece);
                self.delivered(piece);
            }
        }
    }

    /// A fetch fails, or its fetcher goes.
    pub(super) fn give_up(&mut self, input: &mut Input) {
        if self.flying.is_empty() {
            return;
        }
        let which = input.index(self.flying.len());
        let flying = self.flying.swap_remove(which);
        let piece = flying.fetch.piece();
        if input.flag() {
            flying.fetch.fail("broken");
            if flying.landed {
                return;
            }
            for playing in &mut self.players {
                playing.end_wait(piece, &Outcome::Failed);
            }
        }
    }
}
