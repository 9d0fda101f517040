//! The library itself, driven by one thread on a clock that stands still between events.
//!
//! Players open, jump, read, pause and close as in the trace; a piece that is missing is inserted, in
//! short pieces of zeros. A budget in bytes holds tables beside the pieces, which grow and shrink:
//! so it is moved a little whenever the cache holds more pieces than it should, or evicted one when
//! it held fewer.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use ahash::AHashMap;
use futures_io::AsyncRead;
use lookbehind::{
    Action, Clock, Eviction, Extent, Layout, Player, PlayerConfig, Storage, StorageOptions,
};

use super::Cache;
use crate::films::{Films, Move};
use crate::measure::Measure;
use crate::players::Players;
use crate::trace::{Event, Kind};

/// Bytes of a piece here, whatever it has in the trace: long beside what tables take, short enough
/// that all pieces together take no more than so many bytes, if there are not too many.
const LONGEST: usize = 16 << 10;
const SHORTEST: usize = 1 << 10;
const TOGETHER: usize = 64 << 20;
/// Bytes that a film's table takes, and more.
const BESIDE: u64 = 64 << 10;

pub struct Library {
    cache: lookbehind::Cache,
    clock: Clock,
    films: Films,
    storages: Vec<Storage>,
    players: Vec<AHashMap<u64, Player>>,
    capacity: u64,
    /// A piece.
    zeros: Vec<u8>,
    /// Where players read to.
    buffer: Vec<u8>,
    inserted: u64,
    evicted: Arc<AtomicU64>,
    budget: u64,
    /// The budget was set by what the cache holds.
    fitted: bool,
}

impl Library {
    /// An empty cache.
    ///
    /// # Errors
    /// What the library says to its budget or to the films.
    pub fn new(capacity: usize, trace: &Measure) -> Result<Library, lookbehind::Error> {
        let len = (TOGETHER / capacity.max(1)).clamp(SHORTEST, LONGEST);
        let films = Films::new(trace).in_pieces_of(len as u64);
        let capacity = capacity as u64;
        let budget = (capacity + 64) * 2 * len as u64 + BESIDE * (trace.storages.len() as u64 + 4);
        let evicted = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&evicted);
        let clock = Clock::manual();
        let cache = lookbehind::Cache::builder()
            .budget(budget)
            .clock(clock.clone())
            .observer(move |_: &Eviction| {
                count.fetch_add(1, Ordering::Relaxed);
            })
            .build()?;
        let add = |storage: &crate::trace::Storage| {
            if storage.is_live() {
                cache.add_storage_with(Layout::segments(), StorageOptions::default())
            } else {
                let bytes = u64::from(storage.pieces) * len as u64;
                cache.add_storage(Layout::fixed(bytes, len as u32)?)
            }
        };
        let storages = trace.storages.iter().map(add).collect::<Result<_, _>>()?;
        Ok(Library {
            cache,
            clock,
            films,
            storages,
            players: trace.storages.iter().map(|_| AHashMap::new()).collect(),
            capacity,
            zeros: vec![0; len],
            buffer: vec![0; len],
            inserted: 0,
            evicted,
            budget,
            fitted: false,
        })
    }

    fn resident(&self) -> u64 {
        self.inserted - self.evicted.load(Ordering::Relaxed)
    }

    /// Moves the budget, so that it has room for as many pieces as it should.
    fn fit(&mut self, full: bool) {
        let (resident, piece) = (self.resident(), self.zeros.len() as u64);
        if !self.fitted {
            if resident < self.capacity {
                return;
            }
            self.fitted = true;
            self.budget = self.cache.stats().resident;
        } else if resident > self.capacity {
            self.budget -= (resident - self.capacity) * piece;
        } else if full && resident < self.capacity {
            self.budget += (self.capacity - resident) * piece;
        } else {
            return;
        }
        // What does not fit now will, when tables have shrunk.
        let _ = self.cache.set_budget(self.budget);
    }

    fn follow(&mut self, step: &Move) {
        let storage = &self.storages[step.storage as usize];
        let players = &mut self.players[step.storage as usize];
        match step.action {
            Action::Open => {
                let config = PlayerConfig::default()
                    .ahead(Extent::Bytes(step.ahead))
                    .behind(Extent::Bytes(0))
                    .bitrate(self.films.bitrate(step.storage))
                    .position(step.position);
                players.extend(storage.player(config).map(|player| (step.viewer, player)));
            }
            Action::Close => {
                players.remove(&step.viewer);
            }
            action => {
                let Some(player) = players.get_mut(&step.viewer) else { return };
                match action {
                    Action::Pause => player.pause(),
                    Action::Resume => player.resume(),
                    _ => player.seek_to(step.position),
                }
            }
        }
    }

    /// Lets a live film grow up to where somebody reads, and its window move.
    fn grow(&self, storage: u32) {
        if !self.films.is_live(storage) {
            return;
        }
        let film = &self.storages[storage as usize];
        let pieces = self.films.pieces(storage);
        while film.layout().pieces().end < pieces.end {
            // A segment that does not fit is one that nobody will find.
            if film.append_segment(self.zeros.len() as u32).is_err() {
                break;
            }
        }
        if pieces.start > film.layout().pieces().start {
            let _ = film.drop_segments_before(pieces.start);
        }
    }

    /// The player reads the piece that it is at.
    fn read(&mut self, event: &Event) {
        let Some(player) = self.players[event.storage as usize].get_mut(&event.viewer) else {
            return;
        };
        let len = self.zeros.len() as u64;
        let start = u64::from(event.piece) * len;
        // After a pause, or where the trace leaves something out.
        if player.position() != start {
            player.seek_to(start);
        }
        let mut context = Context::from_waker(Waker::noop());
        while player.position() < start + len {
            match pin!(&mut *player).poll_read(&mut context, &mut self.buffer) {
                Poll::Ready(Ok(1..)) => {}
                _ => break,
            }
        }
    }
}

impl Cache for Library {
    fn tell(&mut self, event: &Event, players: &Players) {
        let before = self.films.now();
        let moves = self.films.heed(event, players);
        self.clock.advance(self.films.now().saturating_sub(before));
        self.grow(event.storage);
        for step in &moves {
            self.follow(step);
        }
    }

    fn access(&mut self, event: &Event, _: &Players) -> bool {
        let storage = &self.storages[event.storage as usize];
        let hit = storage.get(event.piece).is_ok();
        if !hit {
            let before = self.evicted.load(Ordering::Relaxed);
            if storage.insert(event.piece, &self.zeros).is_ok() {
                self.inserted += 1;
            }
            self.fit(self.evicted.load(Ordering::Relaxed) != before);
        }
        if matches!(event.kind, Kind::Seek | Kind::Play) {
            self.read(event);
        }
        hit
    }
}
