//! The steps.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_io::AsyncRead;
use lookbehind::{Error, Extent, Insert, PlayerConfig, Progress, Reason, Reclaim, Wait};

use super::film::{Film, Open, Piece};
use super::holding::{Fate, Handle, Reading, Waiting};
use super::world::{Flying, Playing, World};
use crate::input::Input;

impl<R: Reclaim> World<R> {
    pub(super) fn step(&mut self, input: &mut Input) {
        let op = input.below(32);
        match op {
            0 => return self.add(input),
            1 => return self.set_budget(input),
            2 => return self.shrink(),
            3 => {
                self.clock.advance(Duration::from_secs(input.below(40)));
                return;
            }
            4 => return self.let_go(input),
            5 if input.once_in(16) => return self.abort(),
            6 => return self.use_snapshot(input),
            7 => return self.use_handle(input),
            8 | 9 => return self.poll_wait(input),
            10 => return self.use_fetch(input),
            11 => return self.use_player(input),
            _ => {}
        }
        let Some(place) = self.pick(input) else { return };
        let number = self.films[&place].choose(input);
        match op {
            12..19 => self.insert(place, number),
            19 | 20 => self.write(input, place, number),
            21 => self.commit(place, number),
            22 => self.evict(input, place, number),
            23 => self.get(place, number),
            24 | 25 => self.snapshot(input, place, number),
            26 => self.wait(input, place, number),
            27 => self.fetch(place),
            28 => self.play(input, place),
            29 => self.protect(input, place, number),
            30 if input.once_in(3) => self.remove(place),
            _ => self.change_segments(input, place, number),
        }
    }

    /// Why nothing can be written to the film, or to that piece.
    fn unusable(&self, place: usize, number: u32) -> Option<Error> {
        let film = &self.films[&place];
        if self.aborted {
            return Some(Error::Aborted);
        }
        if film.removed {
            return Some(Error::UnknownStorage { id: film.id });
        }
        film.len(number).is_none().then(|| film.out_of_range(number))
    }

    pub(super) fn add(&mut self, input: &mut Input) {
        if self.films.values().filter(|film| !film.removed).count() > 2 || self.added > 11 {
            return;
        }
        let (layout, options, plan) = Film::<R>::plan(input);
        let largest = u64::from(layout.largest_piece());
        let result =
            self.cache.add_storage_with(layout, options.assembly_limit(super::world::LIMIT));
        self.learn(&[Reason::Room]);
        self.dropped();
        match result {
            Ok(storage) => {
                let id = storage.id();
                let stale = self.films.values().all(|film| film.id != id);
                assert!(stale && !self.aborted, "{id} is used again");
                let film = Film::new(storage, self.added as u64, plan);
                self.films.insert(self.added, film);
                self.added += 1;
            }
            Err(Error::Aborted) => assert!(self.aborted),
            Err(Error::PieceTooLarge { budget, .. }) => {
                assert_eq!(budget, self.cache.budget());
                assert!(largest + 8192 > budget / 2);
            }
            Err(Error::BudgetTooSmall { budget, least }) => assert!(budget < least),
            other => assert!(self.refused(&other), "{other:?}"),
        }
    }

    fn set_budget(&mut self, input: &mut Input) {
        let budget = input.between(100, 900) * 128;
        match self.cache.set_budget(budget) {
            Ok(()) => {
                assert_eq!(self.cache.budget(), budget);
                self.largest = self.largest.max(budget);
                self.bound = self.bound.max(budget);
            }
            Err(Error::BudgetTooSmall { budget: given, least }) => {
                assert!(given == budget && budget <= least);
            }
            other => panic!("{other:?}"),
        }
    }

    fn shrink(&mut self) {
        let result = self.cache.shrink(Duration::ZERO);
        self.learn(&[Reason::Shrink]);
        self.dropped();
        let stats = self.cache.stats();
        if result.is_ok() {
            assert!(stats.resident <= stats.budget);
            self.bound = stats.budget;
        } else {
            assert_eq!(result, Err(Error::TimedOut));
            if self.snapshots() == 0 && self.pinned().is_empty() {
                assert_eq!((stats.states.published, stats.states.limbo), (0, 0));
            }
        }
    }

    /// Drops the last handle of a film that was removed.
    fn let_go(&mut self, input: &mut Input) {
        let used = |place: &usize| {
            self.readings.iter().any(|reading| reading.film == *place)
                || self.waits.iter().any(|wait| wait.film == *place)
                || self.players.iter().any(|playing| playing.film == *place)
                || self.flying.iter().any(|flying| flying.film == *place)
        };
        let gone = |film: &Film<R>| film.removed && film.present.is_empty();
        let free: Vec<usize> =
            self.films.iter().filter(|(n, f)| gone(f) && !used(n)).map(|(n, _)| *n).collect();
        if !free.is_empty() {
            self.films.remove(&free[input.index(free.len())]);
        } else if !self.readings.is_empty() {
            let reading = input.index(self.readings.len());
            drop(self.readings.swap_remove(reading));
        }
    }

    fn abort(&mut self) {
        let drained = self.cache.abort(Wait::No);
        assert_eq!(drained, self.snapshots() == 0);
        self.aborted = true;
        self.waits.iter_mut().for_each(|wait| wait.ends(Err(Error::Aborted)));
        for flying in &self.flying {
            assert!(flying.landed || flying.fetch.is_cancelled());
        }
    }

    fn use_snapshot(&mut self, input: &mut Input) {
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

    fn use_handle(&mut self, input: &mut Input) {
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

    fn insert(&mut self, place: usize, number: u32) {
        let unusable = self.unusable(place, number);
        let film = self.films.get_mut(&place).unwrap();
        let there = film.present.contains_key(&number);
        let piece = film.next(number, film.len(number).unwrap_or(7));
        let result = film.storage.insert(number, &piece.bytes());
        if result == Ok(Insert::Published) {
            // What was arriving of it is dropped.
            film.open.remove(&number);
        }
        self.learn(&[Reason::Room]);
        self.dropped();
        if let Some(error) = unusable {
            assert_eq!(result, Err(error));
        } else if there {
            assert_eq!(result, Ok(Insert::AlreadyPresent));
        } else if !self.refused(&result) {
            assert_eq!(result, Ok(Insert::Published));
            self.publish(place, piece);
        }
    }

    fn write(&mut self, input: &mut Input, place: usize, number: u32) {
        let half = input.index(2);
        let unusable = self.unusable(place, number);
        let now = self.clock.now();
        let film = self.films.get_mut(&place).unwrap();
        let there = film.present.contains_key(&number);
        let (was_open, piece) = match film.open.get(&number) {
            Some(open) => (true, open.piece),
            None => (false, film.next(number, film.len(number).unwrap_or(7))),
        };
        let mut open = Open { piece, written: [false; 2], progress: now };
        let range = open.half(half);
        let block = &piece.bytes()[range.clone()];
        let result = film.storage.write(number, range.start as u32, block);
        self.learn(&[Reason::Room]);
        if !was_open {
            self.dropped();
        }
        if let Some(error) = unusable {
            assert_eq!(result, Err(error));
            return;
        }
        if there {
            assert_eq!(result, Ok(Progress::Published));
            return;
        }
        if !was_open && self.refused(&result) {
            return;
        }
        let film = self.films.get_mut(&place).unwrap();
        if let Some(before) = film.open.get(&number) {
            open.written = before.written;
        }
        let before = open.count();
        open.written[half] = true;
        let written = open.count();
        let complete = open.is_complete() && before < written;
        film.open.insert(number, open);
        let expected = if complete { Progress::Complete } else { Progress::Partial { written } };
        assert_eq!(result, Ok(expected));
    }

    fn commit(&mut self, place: usize, number: u32) {
        let unusable = self.unusable(place, number);
        let film = self.films.get_mut(&place).unwrap();
        let there = film.present.contains_key(&number);
        let result = film.storage.commit(number);
        self.learn(&[Reason::Room]);
        let film = self.films.get_mut(&place).unwrap();
        let open = film.open.get(&number).map(|open| (open.piece, open.count()));
        match (unusable, open) {
            (Some(error), _) => assert_eq!(result, Err(error)),
            (None, None) if there => assert_eq!(result, Ok(())),
            (None, None) => assert_eq!(result, Err(Error::NotOpen { piece: number })),
            (None, Some((piece, written))) if written < piece.len as u64 => {
                let piece_len = piece.len as u32;
                let error = Error::Incomplete { piece: number, written, piece_len };
                assert_eq!(result, Err(error));
            }
            (None, Some((piece, _))) => {
                if result.is_ok() {
                    film.open.remove(&number);
                    self.publish(place, piece);
                } else if !self.refused(&result) {
                    panic!("{result:?}");
                }
                self.dropped();
            }
        }
    }

    fn evict(&mut self, input: &mut Input, place: usize, number: u32) {
        let film = &self.films[&place];
        if input.once_in(4) {
            let result = film.storage.abandon(number);
            let film = self.films.get_mut(&place).unwrap();
            if film.removed {
                assert_eq!(result, Err(Error::UnknownStorage { id: film.id }));
            } else {
                assert_eq!(result, Ok(film.open.remove(&number).is_some()));
            }
            return;
        }
        let until = if input.flag() { number + 1 } else { number + input.small(300) };
        let result = film.storage.evict(number..until);
        if film.removed {
            assert_eq!(result, Err(Error::UnknownStorage { id: film.id }));
            return;
        }
        let there = film.present.range(number..until).count();
        let learnt = self.learn(&[Reason::Requested]);
        match result {
            Ok(count) => assert_eq!((count, learnt), (there, there)),
            Err(error) => {
                let result = Err::<(), _>(error);
                assert!(self.refused(&result) && self.snapshots() > 0, "{result:?}");
            }
        }
    }

    fn get(&mut self, place: usize, number: u32) {
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

    fn snapshot(&mut self, input: &mut Input, place: usize, number: u32) {
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

    fn wait(&mut self, input: &mut Input, place: usize, number: u32) {
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

    fn poll_wait(&mut self, input: &mut Input) {
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
    fn fetch(&mut self, place: usize) {
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

    fn use_fetch(&mut self, input: &mut Input) {
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

    fn play(&mut self, input: &mut Input, place: usize) {
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

    fn use_player(&mut self, input: &mut Input) {
        if self.players.is_empty() {
            return;
        }
        let which = input.index(self.players.len());
        let playing = &mut self.players[which];
        let film = &self.films[&playing.film];
        match input.below(8) {
            0 => drop(self.players.swap_remove(which)),
            1 => {
                playing.player.close();
                playing.closed = true;
            }
            2 => {
                let to = input.below(film.total() + 2);
                playing.limit = if input.flag() { to } else { u64::MAX };
                playing.player.limit(playing.limit);
            }
            3 | 4 => {
                let to = input.below(film.total() + 3);
                playing.player.seek_to(to);
                assert_eq!(playing.player.position(), to);
            }
            _ => playing.read(film, self.aborted, input),
        }
    }

    fn protect(&mut self, input: &mut Input, place: usize, number: u32) {
        let count = input.small(5);
        let film = self.films.get_mut(&place).unwrap();
        match input.below(4) {
            0 => film.storage.reserve(number..number + count),
            1 => film.storage.unreserve(),
            2 => {
                film.storage.set_lookbehind(number..number + count);
                film.lookbehind = (number..number + count).collect();
            }
            _ => {
                film.storage.clear_lookbehind();
                film.lookbehind.clear();
            }
        }
    }

    pub(super) fn remove(&mut self, place: usize) {
        let film = self.films.get_mut(&place).unwrap();
        let result = film.storage.remove();
        if film.removed {
            assert_eq!(result, Err(Error::UnknownStorage { id: film.id }));
            return;
        }
        assert_eq!(result, Ok(()));
        film.removed = true;
        film.open.clear();
        self.learn(&[Reason::Removed]);
        let left = self.films[&place].present.len();
        assert!(left == 0 || self.snapshots() > 0, "{left} pieces stayed");
        self.end_waits(place, None, &Err(Error::Removed));
    }

    fn change_segments(&mut self, input: &mut Input, place: usize, number: u32) {
        let (aborted, film) = (self.aborted, &self.films[&place]);
        let append = input.below(3) > 0;
        let len = input.between(1, 2500);
        let result = if append {
            film.storage.append_segment(len as u32).map(|_| ())
        } else {
            film.storage.drop_segments_before(number)
        };
        let unknown = Err(Error::UnknownStorage { id: film.id });
        let (first, end, live) = (film.first, film.end(), film.is_live());
        if film.removed {
            assert_eq!(result, unknown);
            return;
        }
        if append && aborted {
            assert_eq!(result, Err(Error::Aborted));
            return;
        }
        if let Err(Error::PieceTooLarge { .. }) = result {
            assert!(append && len + 8192 > self.cache.budget() / 2);
            return;
        }
        if !live {
            assert_eq!(result, Err(Error::NotSegmented));
            return;
        }
        if !append && number > end {
            assert_eq!(result, Err(Error::PieceOutOfRange { piece: number, first, end }));
            return;
        }
        self.learn(&[Reason::Room, Reason::Window]);
        self.dropped_segments(place, append.then_some(len), number);
        if result.is_err() {
            assert!(self.refused(&result), "{result:?}");
        }
    }

    fn dropped_segments(&mut self, place: usize, appended: Option<u64>, number: u32) {
        let film = self.films.get_mut(&place).unwrap();
        // An append that was refused may have come to nothing.
        let grown = film.storage.layout().pieces().end > film.end();
        let before = film.first;
        match appended {
            Some(len) if grown => {
                film.appended(len);
                film.dropped_before(film.window_start());
            }
            Some(_) => {}
            None => film.dropped_before(number),
        }
        let layout = film.storage.layout();
        assert_eq!(layout.pieces(), film.first..film.end());
        assert_eq!(layout.total_len(), film.total());
        let stay = film.present.range(..film.first).count();
        let gone: Vec<_> =
            (before..film.first).map(|piece| (piece, film.out_of_range(piece))).collect();
        assert!(stay == 0 || self.snapshots() > 0, "{stay} pieces stay before the window");
        for (piece, error) in gone {
            self.end_waits(place, Some(piece), &Err(error));
        }
        self.dropped();
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
