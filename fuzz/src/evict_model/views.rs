//! The steps that read: snapshots, handles, waits, players, fetches.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_io::AsyncRead;
use lookbehind::{Error, Extent, PlayerConfig, Reclaim};

use super::film::{Film, Piece};
use super::holding::{Fate, Handle, Reading, Waiting};
use super::world::{Flying, Playing, World};
use crate::input::Input;

impl<R: Reclaim> World<R> {
    pub(super) fn use_snapshot(&mut self, input: &mut Input) {
        if self.readings.is_empty() {
            return;
        }
        let at = input.index(self.readings.len());
        let reading = &mut self.readings[at];
        if reading.snapshots.is_empty() {
            return;
        }
        let which = input.index(reading.snapshots.len());
        if input.flag() {
            let film = &self.films[&reading.film];
            if let Some((held, piece)) = reading.snapshots[which].look(film, input)
                && self.handles.len() < 6
            {
                self.handles.push((Handle::Held(held), piece));
            }
        } else if input.once_in(48) && self.forgotten == 0 {
            self.forgotten += u32::from(reading.forget());
        } else {
            reading.snapshots.swap_remove(which).check_whole();
        }
    }

    pub(super) fn use_handle(&mut self, input: &mut Input) {
        if self.handles.is_empty() {
            return;
        }
        let which = input.index(self.handles.len());
        match input.below(4) {
            0 | 1 => drop(self.handles.swap_remove(which)),
            2 => {
                let (handle, piece) = &self.handles[which];
                let piece = *piece;
                let copy = match handle {
                    Handle::Held(held) => {
                        assert_eq!(held.piece(), piece.number);
                        Handle::Held(held.clone())
                    }
                    Handle::Bytes(bytes) => Handle::Bytes(bytes.clone()),
                };
                if self.handles.len() < 8 {
                    self.handles.push((copy, piece));
                }
            }
            _ => {
                let (handle, piece) = self.handles.swap_remove(which);
                let bytes = match handle {
                    Handle::Held(held) => held.into(),
                    Handle::Bytes(bytes) => bytes,
                };
                self.handles.push((Handle::Bytes(bytes), piece));
            }
        }
    }

    pub(super) fn get(&mut self, place: usize, number: u32) {
        let film = &self.films[&place];
        let expected = match film.present.get(&number) {
            _ if film.removed => Err(Error::UnknownStorage { id: film.id }),
            Some(piece) => Ok(*piece),
            None if self.aborted => Err(Error::Aborted),
            None if film.len(number).is_none() => Err(film.out_of_range(number)),
            None => Err(Error::Missing { piece: number }),
        };
        match (film.storage.get(number), expected) {
            (Ok(held), Ok(piece)) => {
                assert!(piece.is(&held));
                if self.handles.len() < 6 {
                    self.handles.push((Handle::Held(held), piece));
                }
            }
            (Err(error), Err(expected)) => assert_eq!(error, expected),
            (found, expected) => panic!("{found:?}, not {expected:?}"),
        }
    }

    pub(super) fn snapshot(&mut self, input: &mut Input, place: usize, number: u32) {
        let film = &self.films[&place];
        let fresh = self.readings.len() < 5 && input.once_in(3);
        if fresh || !self.readings.iter().any(|reading| reading.film == place) {
            if self.readings.len() > 5 {
                self.readings.remove(0);
            }
            self.readings.push(Reading::new(place, film));
        }
        let span = input.flag().then(|| {
            let first = number.saturating_sub(input.small(4));
            first..first + input.small(6)
        });
        let some: Vec<usize> =
            (0..self.readings.len()).filter(|at| self.readings[*at].film == place).collect();
        let reading = &mut self.readings[some[input.index(some.len())]];
        if reading.snapshots.len() < 10 {
            reading.take(film, span);
        }
    }

    pub(super) fn wait(&mut self, input: &mut Input, place: usize, number: u32) {
        if self.waits.len() > 5 {
            self.waits.remove(0);
        }
        let wait = self.films[&place].storage.wait(number);
        let time = input.flag().then(|| Duration::from_secs(input.below(60)));
        let (wait, deadline) = match time {
            Some(time) => (wait.deadline(time), Some(self.clock.now() + time)),
            None => (wait, None),
        };
        self.waits.push(Waiting::new(place, number, wait, deadline));
        self.poll(self.waits.len() - 1, input);
    }

    pub(super) fn poll_wait(&mut self, input: &mut Input) {
        if self.waits.is_empty() {
            return;
        }
        let which = input.index(self.waits.len());
        if input.once_in(4) {
            self.waits.swap_remove(which);
        } else if self.waits[which].fate != Fate::Over {
            self.poll(which, input);
        }
    }

    fn poll(&mut self, which: usize, input: &mut Input) {
        let (aborted, now) = (self.aborted, self.clock.now());
        let wait = &mut self.waits[which];
        let (film, number) = (&self.films[&wait.film], wait.piece);
        let late = wait.deadline.is_some_and(|deadline| deadline <= now);
        let expected: Option<Result<Piece, Error>> = match &wait.fate {
            Fate::New if film.removed => Some(Err(Error::UnknownStorage { id: film.id })),
            Fate::New => match film.present.get(&number) {
                Some(piece) => Some(Ok(*piece)),
                None if aborted => Some(Err(Error::Aborted)),
                None if film.len(number).is_none() => Some(Err(film.out_of_range(number))),
                None if late => Some(Err(Error::TimedOut)),
                None => None,
            },
            Fate::Waits if late => Some(Err(Error::TimedOut)),
            Fate::Waits => None,
            Fate::Ends(with) => Some(with.clone()),
            Fate::Over => return,
        };
        match (wait.poll(), expected) {
            (Poll::Pending, None) => wait.fate = Fate::Waits,
            (Poll::Ready(found), Some(expected)) => {
                wait.fate = Fate::Over;
                match (found, expected) {
                    (Ok(held), Ok(piece)) => {
                        assert!(piece.is(&held));
                        if input.flag() && self.handles.len() < 6 {
                            self.handles.push((Handle::Held(held), piece));
                        }
                    }
                    (Err(error), Err(expected)) => assert_eq!(error, expected),
                    (found, expected) => panic!("{found:?}, not {expected:?}"),
                }
            }
            (found, expected) => panic!("a wait says {found:?}, not {expected:?}"),
        }
    }

    /// Asks what is wanted.
    pub(super) fn fetch(&mut self, place: usize) {
        let film = self.films.get_mut(&place).unwrap();
        let fetch = film.storage.wanted().try_next();
        if film.removed || self.aborted {
            assert!(fetch.is_none());
            return;
        }
        let missing =
            |piece: &u32| !film.present.contains_key(piece) && !film.in_flight.contains(piece);
        let waited: Vec<_> = self
            .waits
            .iter()
            .filter(|wait| wait.film == place && wait.fate == Fate::Waits && missing(&wait.piece))
            .map(|wait| (wait.deadline.is_none(), wait.deadline, wait.piece))
            .collect();
        // The soonest deadline of each piece counts, and none is later than all.
        let urgent = waited.iter().min().map(|(.., piece)| *piece);
        let watched = self.players.iter().any(|p| p.film == place && !p.closed);
        let Some(fetch) = fetch else {
            assert_eq!(urgent, None, "a piece that is waited for is not offered");
            return;
        };
        let piece = fetch.piece();
        assert!(missing(&piece) && film.len(piece).is_some(), "piece {piece} is offered");
        assert!(urgent.map_or(watched, |urgent| urgent == piece), "{piece}, not {urgent:?}");
        assert_eq!(Some(fetch.len() as usize), film.len(piece));
        assert_eq!(Some(fetch.byte_range()), film.range(piece));
        assert!(!fetch.is_cancelled());
        film.in_flight.insert(piece);
        self.flying.push(Flying { film: place, fetch, landed: false });
        if self.flying.len() > 4 {
            self.drop_fetch(0);
        }
    }

    fn drop_fetch(&mut self, which: usize) {
        let flying = self.flying.swap_remove(which);
        if !flying.landed
            && let Some(film) = self.films.get_mut(&flying.film)
        {
            film.in_flight.remove(&flying.fetch.piece());
        }
    }

    pub(super) fn use_fetch(&mut self, input: &mut Input) {
        if self.flying.is_empty() {
            return;
        }
        let which = input.index(self.flying.len());
        let (place, number) = (self.flying[which].film, self.flying[which].fetch.piece());
        match input.below(4) {
            0 => self.drop_fetch(which),
            1 => {
                let flying = self.flying.swap_remove(which);
                flying.fetch.fail("no such thing");
                if !flying.landed {
                    self.films.get_mut(&place).unwrap().in_flight.remove(&number);
                }
                let reason = "no such thing".into();
                let error = Error::FetchFailed { piece: number, reason };
                self.end_waits(place, Some(number), &Err(error));
            }
            _ => {
                self.insert(place, number);
                self.drop_fetch(which);
            }
        }
    }

    pub(super) fn play(&mut self, input: &mut Input, place: usize) {
        if self.players.len() > 3 {
            self.players.remove(0);
        }
        let film = &self.films[&place];
        let position = input.below(film.total() + 2);
        let config = PlayerConfig::default()
            .ahead(Extent::Bytes(input.below(30_000)))
            .behind(Extent::Bytes(input.below(30_000)))
            .position(position)
            .linger(Duration::from_secs(input.below(3) * 20));
        let player = film.storage.player(config);
        let error = if film.removed {
            Some(Error::UnknownStorage { id: film.id })
        } else {
            self.aborted.then_some(Error::Aborted)
        };
        match player {
            Ok(player) => {
                assert_eq!(error, None);
                let limit = u64::MAX;
                self.players.push(Playing { film: place, player, limit, closed: false });
            }
            Err(other) => assert_eq!(Some(other), error),
        }
    }

    pub(super) fn use_player(&mut self, input: &mut Input) {
        if self.players.is_empty() {
            return;
        }
        let which = input.index(self.players.len());
        let playing = &mut self.players[which];
        let film = &self.films[&playing.film];
        match input.below(10) {
            0 => drop(self.players.swap_remove(which)),
            1 => {
                playing.player.close();
                playing.closed = true;
            }
            2 => {
                let to = input.below(film.total() + 2);
                let limit = if input.flag() { to } else { u64::MAX };
                playing.player.limit(limit);
                if !playing.closed {
                    playing.limit = limit;
                }
            }
            3 | 4 => {
                let to = input.below(film.total() + 3);
                let before = playing.player.position();
                playing.player.seek_to(to);
                let there = if playing.closed { before } else { to };
                assert_eq!(playing.player.position(), there);
            }
            5 => playing.player.pause(),
            6 => playing.player.resume(),
            _ => playing.read(film, self.aborted, input),
        }
    }
}

impl<R: Reclaim> Playing<R> {
    /// Reads once, and stops waiting if it would have to.
    fn read(&mut self, film: &Film<R>, aborted: bool, input: &mut Input) {
        let mut buffer = vec![0; input.index(3000)];
        let at = self.player.position();
        let mut context = Context::from_waker(Waker::noop());
        let result = Pin::new(&mut self.player).poll_read(&mut context, &mut buffer);
        let result = result.map(|read| {
            read.map_err(|error| error.downcast::<Error>().expect("the library's error"))
        });
        // Nothing stays behind: a wait would be handed what comes.
        if result.is_pending() {
            self.player.seek_to(at);
        }
        let start = film.range(film.first).map_or(film.total(), |range| range.start);
        let expected = match film.at(at) {
            _ if buffer.is_empty() => Poll::Ready(Ok(Vec::new())),
            _ if self.closed => Poll::Ready(Err(Error::Dropped)),
            _ if film.removed => Poll::Ready(Err(Error::UnknownStorage { id: film.id })),
            _ if at >= self.limit => Poll::Ready(Ok(Vec::new())),
            _ if at < start => {
                Poll::Ready(Err(Error::OffsetOutOfRange { offset: at, len: film.total() }))
            }
            None if film.is_live() && aborted => Poll::Ready(Err(Error::Aborted)),
            None if film.is_live() => Poll::Pending,
            None => Poll::Ready(Ok(Vec::new())),
            Some((number, within)) => {
                let there = film.present.get(&number).map(Piece::bytes);
                let coming = film.open.get(&number).map(|o| o.piece.bytes()[..o.prefix()].to_vec());
                let coming = coming.filter(|prefix| prefix.len() > within);
                match there.or(coming) {
                    Some(bytes) => {
                        let left = (self.limit - at).min(buffer.len() as u64) as usize;
                        let count = (bytes.len() - within).min(left);
                        Poll::Ready(Ok(bytes[within..within + count].to_vec()))
                    }
                    None if aborted => Poll::Ready(Err(Error::Aborted)),
                    None => Poll::Pending,
                }
            }
        };
        let found = result.map(|read| read.map(|count| buffer[..count].to_vec()));
        if let Poll::Ready(Ok(bytes)) = &found {
            assert_eq!(self.player.position(), at + bytes.len() as u64);
        }
        assert_eq!(found, expected, "at byte {at}");
    }
}
