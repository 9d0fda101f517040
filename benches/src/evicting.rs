//! What an eviction costs: a piece into a full cache, in which another one must go for it.

use std::time::Duration;

use lookbehind::{Cache, Clock, Extent, Insert, Layout, Player, PlayerConfig, Storage};

use crate::figures::Row;
use crate::rounds::{Plan, Probe, probes};

/// Bytes of a piece: so few that the copy does not hide the rest.
const LEN: u32 = 4 << 10;
/// Pieces that the cache has room for, and those that there are, of all films.
const ROOM: u64 = 1_573;
const PIECES: u64 = 4 * ROOM;

/// Beside so many films and viewers; below the first row, what it costs to name the piece that goes.
///
/// # Panics
/// If a cache cannot be set up.
#[must_use]
pub fn by_viewers(crowds: &[(u32, u32)], plan: Plan) -> Vec<Row> {
    let mut list = vec![named()];
    list.extend(crowds.iter().map(|(films, viewers)| chosen(*films, *viewers)));
    probes(list, plan)
}

/// Beside so many films of a piece or none, of which nobody watches any.
///
/// # Panics
/// If a cache cannot be set up.
#[must_use]
pub fn by_films(counts: &[u32], plan: Plan) -> Vec<Row> {
    probes(counts.iter().map(|count| beside(*count)).collect(), plan)
}

/// A cache with room for `ROOM` pieces beside the tables of so many films, and its clock, which stands
/// still: else its players would be taken for paused while it is measured.
fn cache(films: u32) -> (Cache, Clock) {
    let clock = Clock::manual();
    let tables = (u64::from(films) + 1) * (64 << 10);
    let budget = ROOM * (u64::from(LEN) + 128) + tables;
    let cache = Cache::builder().budget(budget).clock(clock.clone()).build().expect("a budget");
    (cache, clock)
}

fn film(cache: &Cache, pieces: u64) -> Storage {
    let layout = Layout::fixed(pieces * u64::from(LEN), LEN).expect("a layout");
    cache.add_storage(layout).expect("room for a table")
}

/// Pieces come in an order of no pattern, as far as they are missing.
struct Coming {
    films: Vec<Storage>,
    state: u64,
    bytes: Vec<u8>,
}

impl Coming {
    fn new(films: Vec<Storage>) -> Self {
        Self { films, state: 0x9e37_79b9_7f4a_7c15, bytes: vec![7; LEN as usize] }
    }

    fn next(&mut self) -> (usize, u32) {
        loop {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            let film = (self.state >> 33) as usize % self.films.len();
            let pieces = self.films[film].layout().pieces().end;
            let piece = self.state as u32 % pieces;
            // What is there already costs nothing, and does not count.
            let done = self.films[film].insert(piece, &self.bytes).expect("room is made");
            if done == Insert::Published {
                return (film, piece);
            }
        }
    }
}

fn chosen(films: u32, viewers: u32) -> Probe<'static> {
    let (cache, clock) = cache(films);
    let each = PIECES.max(u64::from(films) * 64) / u64::from(films);
    let films: Vec<_> = (0..films).map(|_| film(&cache, each)).collect();
    let mut players: Vec<Player> = Vec::new();
    for viewer in 0..u64::from(viewers) {
        clock.advance(Duration::from_secs(60));
        let config = PlayerConfig::default()
            .ahead(Extent::Bytes(8 * u64::from(LEN)))
            .bitrate(u64::from(LEN));
        let film = &films[viewer as usize % films.len()];
        players.push(film.player(config).expect("the film is there"));
    }
    // All play, each somewhere else.
    for (viewer, player) in players.iter_mut().enumerate() {
        player.seek_to((viewer as u64 * 151 % each) * u64::from(LEN));
    }
    let name = format!("{} films, {viewers} viewers", films.len());
    let mut coming = Coming::new(films);
    while cache.stats().evictions < ROOM {
        coming.next();
    }
    Probe::new(name, move |times| {
        for _ in 0..times {
            coming.next();
        }
        // They stay.
        std::hint::black_box(&players);
    })
}

fn named() -> Probe<'static> {
    let (cache, _) = cache(1);
    let film = film(&cache, PIECES);
    let mut coming = Coming::new(vec![film.clone()]);
    let mut there = std::collections::VecDeque::new();
    for _ in 0..ROOM / 2 {
        there.push_back(coming.next().1);
    }
    Probe::new("1 film, the caller says which piece goes", move |times| {
        for _ in 0..times {
            let oldest = there.pop_front().expect("there are some");
            film.evict(oldest..oldest + 1).expect("room for a version");
            there.push_back(coming.next().1);
        }
    })
}

fn beside(count: u32) -> Probe<'static> {
    let budget = (16 << 20) + u64::from(count) * (16 << 10);
    let cache = Cache::builder().budget(budget).build().expect("a budget");
    let idle: Vec<Storage> = (0..count).map(|_| film(&cache, 1)).collect();
    for film in &idle {
        film.insert(0, &[7; LEN as usize]).expect("room for a piece");
    }
    let mut coming = Coming::new(vec![film(&cache, 2 * budget / u64::from(LEN))]);
    while cache.stats().evictions < 256 {
        coming.next();
    }
    Probe::new(format!("{count} films, nobody watches"), move |times| {
        for _ in 0..times {
            coming.next();
        }
        // The films stay.
        std::hint::black_box(&idle);
    })
}
