//! The cache, what is held of it, and what both must agree on after each step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lookbehind::{Cache, Clock, Error, Eviction, Fetch, Player, Reason, Reclaim, Wait};

use super::film::{Film, Piece};
use super::holding::{Fate, Handle, Reading, Waiting};
use crate::input::Input;

/// Without progress for so long an assembly may go.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

pub(super) struct Playing<R: Reclaim> {
    pub(super) film: usize,
    pub(super) player: Player<R>,
    pub(super) limit: u64,
    pub(super) closed: bool,
}

pub(super) struct Flying<R: Reclaim> {
    pub(super) film: usize,
    pub(super) fetch: Fetch<R>,
    /// The piece was published meanwhile.
    pub(super) landed: bool,
}

pub(super) struct World<R: Reclaim> {
    pub(super) readings: Vec<Reading<R>>,
    pub(super) handles: Vec<(Handle, Piece)>,
    pub(super) waits: Vec<Waiting<R>>,
    pub(super) players: Vec<Playing<R>>,
    pub(super) flying: Vec<Flying<R>>,
    /// By number; removed ones are among them until they are let go.
    pub(super) films: BTreeMap<usize, Film<R>>,
    pub(super) added: usize,
    pub(super) cache: Cache<R>,
    pub(super) clock: Clock,
    evicted: Arc<Mutex<Vec<Eviction>>>,
    pub(super) forgotten: u32,
    pub(super) aborted: bool,
    /// The largest budget ever, and since the last time all was within it.
    pub(super) largest: u64,
    pub(super) bound: u64,
    /// Whether more was resident than may be, before the step.
    pub(super) over: bool,
    sweeps: bool,
    published: u64,
    evictions: u64,
}

impl<R: Reclaim> World<R> {
    pub(super) fn new(input: &mut Input) -> Self {
        let evicted = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&evicted);
        let clock = Clock::manual();
        let budget = input.between(128, 800) * 128;
        let cache = Cache::builder()
            .budget(budget)
            .clock(clock.clone())
            .observer(move |eviction: &Eviction| log.lock().unwrap().push(*eviction))
            .build_with()
            .unwrap();
        let mut world = Self {
            readings: Vec::new(),
            handles: Vec::new(),
            waits: Vec::new(),
            players: Vec::new(),
            flying: Vec::new(),
            films: BTreeMap::new(),
            added: 0,
            cache,
            clock,
            evicted,
            forgotten: 0,
            aborted: false,
            largest: budget,
            bound: budget,
            over: false,
            sweeps: input.flag(),
            published: 0,
            evictions: 0,
        };
        world.add(input);
        world
    }

    /// The number of a film, seldom of one that was removed.
    pub(super) fn pick(&self, input: &mut Input) -> Option<usize> {
        let removed = input.once_in(8);
        let some: Vec<usize> =
            self.films.iter().filter(|(_, f)| f.removed == removed).map(|(n, _)| *n).collect();
        if some.is_empty() { None } else { Some(some[input.index(some.len())]) }
    }

    pub(super) fn snapshots(&self) -> u32 {
        let taken = self.readings.iter().map(|reading| reading.snapshots.len() as u32);
        taken.sum::<u32>() + self.forgotten
    }

    /// The pieces under a handle, those that a wait was handed included.
    pub(super) fn pinned(&self) -> BTreeSet<Piece> {
        let handed = self.waits.iter().filter_map(|wait| match &wait.fate {
            Fate::Ends(Ok(piece)) => Some(*piece),
            _ => None,
        });
        self.handles.iter().map(|(_, piece)| *piece).chain(handed).collect()
    }

    /// Takes over what the observer was told; how many went.
    pub(super) fn learn(&mut self, reasons: &[Reason]) -> usize {
        let evicted = std::mem::take(&mut *self.evicted.lock().unwrap());
        for eviction in &evicted {
            let film = self.films.values_mut().find(|film| film.id == eviction.storage);
            let film = film.unwrap_or_else(|| panic!("{eviction:?} of no film"));
            let piece = film.present.remove(&eviction.piece);
            let piece = piece.unwrap_or_else(|| panic!("{eviction:?}: it was not there"));
            assert_eq!(eviction.size as u64, piece.size());
            let late = film.removed && eviction.reason == Reason::Removed;
            assert!(late || reasons.contains(&eviction.reason), "{eviction:?}, not {reasons:?}");
        }
        self.evictions += evicted.len() as u64;
        evicted.len()
    }

    /// A piece was published.
    pub(super) fn publish(&mut self, place: usize, piece: Piece) {
        self.published += 1;
        if let Some(film) = self.films.get_mut(&place) {
            let before = film.present.insert(piece.number, piece);
            assert_eq!(before, None);
            film.in_flight.remove(&piece.number);
        }
        for flying in &mut self.flying {
            flying.landed |= flying.film == place && flying.fetch.piece() == piece.number;
        }
        self.end_waits(place, Some(piece.number), &Ok(piece));
    }

    /// Ends the waits of a film, all of them or those for one piece.
    pub(super) fn end_waits(
        &mut self,
        place: usize,
        number: Option<u32>,
        with: &Result<Piece, Error>,
    ) {
        for wait in &mut self.waits {
            if wait.film == place && number.is_none_or(|number| number == wait.piece) {
                wait.ends(with.clone());
            }
        }
    }

    /// Whether there was no room, which there must be a reason for.
    pub(super) fn refused<T: std::fmt::Debug>(&self, result: &Result<T, Error>) -> bool {
        match result {
            Err(Error::AssembliesFull { needed, limit, assembling }) => {
                assert_eq!(*limit, self.cache.budget() / 2);
                assert!(needed + assembling > *limit);
                true
            }
            Err(Error::ShareExhausted { needed, share, used }) => {
                assert!(needed + used > *share);
                assert!(self.films.values().any(|film| film.shared_out == Some(*share)));
                true
            }
            Err(Error::BudgetExhausted { needed, budget, states, snapshots }) => {
                assert_eq!(*snapshots, self.snapshots());
                assert!(states.total() <= *budget && *needed > 0);
                // Nothing was left that could have made room. Some of it is a table's in any case.
                let fits = needed + self.cache.headroom() < self.cache.budget();
                if fits && self.snapshots() == 0 && self.pinned().is_empty() && !self.over {
                    let free = (states.published, states.limbo, states.held, states.pooled);
                    assert_eq!(free, (0, 0, 0, 0), "{result:?}");
                }
                true
            }
            _ => false,
        }
    }

    /// Looks which assemblies are gone: too old, or dropped for another one.
    pub(super) fn dropped(&mut self) {
        let now = self.clock.now();
        for film in self.films.values_mut() {
            let Film { open, storage, keep_assemblies, .. } = film;
            open.retain(|piece, open| {
                let here = storage.arriving(*piece).is_some();
                let old = now - open.progress >= LIMIT;
                assert!(here || old || !*keep_assemblies, "the assembly of {piece} is gone");
                here
            });
        }
    }

    pub(super) fn check(&mut self, input: &mut Input) {
        let checked = if self.sweeps { self.cache.validate_swept() } else { self.cache.validate() };
        checked.unwrap();
        assert_eq!(self.learn(&[]), 0, "evicted by nobody");
        let stats = self.cache.stats();
        assert!(stats.resident <= self.bound, "{stats:?}, not above {}", self.bound);
        assert!(stats.resident_peak <= self.largest, "{stats:?}");
        self.over = stats.resident > stats.budget;
        assert_eq!(stats.snapshots, self.snapshots());
        let waiting = self.waits.iter().filter(|wait| wait.fate == Fate::Waits).count();
        assert_eq!(stats.waits, waiting as u64);
        assert_eq!((stats.published, stats.evictions), (self.published, self.evictions));
        let live = self.films.values().filter(|film| !film.removed).count();
        assert_eq!(stats.storages as usize, live);
        let pinned: u64 = self.pinned().iter().map(Piece::size).sum();
        if stats.states.limbo == 0 && self.films.values().all(|film| !film.removed) {
            assert_eq!(stats.pinned, pinned);
        }
        self.waits.iter().for_each(Waiting::check);
        for (handle, piece) in &self.handles {
            assert!(piece.looks_like(handle), "a handle on {piece:?}");
        }
        for seen in self.readings.iter().flat_map(|reading| &reading.snapshots) {
            seen.check();
        }
        for flying in &self.flying {
            let ended = self.aborted || self.films[&flying.film].removed;
            assert!(!ended || flying.landed || flying.fetch.is_cancelled());
        }
        for film in self.films.values() {
            if film.removed {
                assert!(self.cache.storage(film.id).is_err());
                continue;
            }
            assert_eq!(self.cache.storage(film.id).map(|found| found.id()), Ok(film.id));
            let piece = film.choose(input);
            let there = film.present.get(&piece);
            assert_eq!(film.storage.contains(piece), there.is_some(), "piece {piece}");
            assert_eq!(film.storage.is_lookbehind_available(piece), there.is_some());
            let named: Vec<_> =
                film.lookbehind.iter().filter_map(|piece| film.present.get(piece)).collect();
            let said = film.storage.lookbehind_stats();
            let bytes = named.iter().map(|piece| piece.size()).sum();
            assert_eq!((said.available as usize, said.bytes), (named.len(), bytes));
            assert_eq!(said.protected as usize, film.lookbehind.len());
            let arriving = film.storage.arriving(piece).map(|arriving| arriving.to_vec());
            let open = film.open.get(&piece);
            assert_eq!(arriving, open.map(|open| open.piece.bytes()[..open.prefix()].to_vec()));
        }
    }

    /// Lets go of everything, and looks what is left.
    pub(super) fn finish(mut self, input: &mut Input) {
        if input.flag() {
            let shown = self.films.values().filter(|film| !film.removed);
            for film in shown {
                let runs: Vec<u32> = film.storage.stats().runs.into_iter().flatten().collect();
                assert!(runs.iter().eq(film.present.keys()), "{runs:?}, not {:?}", film.present);
                for (number, piece) in &film.present {
                    assert!(piece.is(&film.storage.get(*number).unwrap()));
                }
            }
        }
        self.players.clear();
        self.flying.clear();
        if input.flag() {
            self.readings.clear();
            self.waits.clear();
        }
        if input.flag() {
            let there: Vec<usize> = self.films.keys().copied().collect();
            for place in there {
                self.remove(place);
            }
            self.waits.clear();
            self.readings.clear();
            // Those that no snapshot let go before are emptied when room is made.
            let _ = self.cache.add_storage(lookbehind::Layout::fixed(1, 1).unwrap()).map(|film| {
                film.remove().unwrap();
            });
            self.learn(&[Reason::Removed, Reason::Room]);
            self.films.clear();
            self.cache.validate_swept().unwrap();
            let stats = self.cache.stats();
            if self.forgotten == 0 {
                let pinned = self.pinned().iter().map(Piece::size).sum();
                let states = stats.states;
                assert_eq!((states.held, stats.resident), (pinned, pinned + states.pooled));
            }
        }
        let drained = self.cache.abort(Wait::No);
        assert_eq!(drained, self.snapshots() == 0);
        let Self { readings, handles, waits, films, cache, .. } = self;
        drop((waits, films));
        for seen in readings.iter().flat_map(|reading| &reading.snapshots) {
            seen.check_whole();
        }
        drop(cache);
        drop(readings);
        for (handle, piece) in &handles {
            assert!(piece.is(handle), "a handle on {piece:?}, after the end");
        }
    }
}
