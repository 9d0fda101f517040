//! The steps that write, and those that change the cache.

use std::time::Duration;

use lookbehind::{Error, Insert, Progress, Reason, Reclaim, Wait};

use super::film::{Film, Open};
use super::world::World;
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

    pub(super) fn insert(&mut self, place: usize, number: u32) {
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
