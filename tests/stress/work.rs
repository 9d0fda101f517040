//! Everything at once on one cache: what each thread does, chosen at random.
//!
//! Bytes follow from film, generation and piece, and so any that are read can be judged. What the
//! threads share beside the cache is behind atomics of arc-swap alone: `std`'s locks would look
//! like races to TSan, and order what is to be tested.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use lookbehind::{
    Cache, Error, Extent, Held, Player, PlayerConfig, Reclaim, Storage, StorageOptions, Wait,
    verify_fn,
};
use rand::Rng;
use rand::rngs::StdRng;

use super::common::{self, KIB, MIB, content, eventually, layout, sweep};
use super::tally::{Kind, Tally};

pub const BUDGET: usize = 2 * MIB;
/// Two leaves of the table.
const PIECES: u32 = 600;
/// The lengths of the films' pieces. The first film has a verifier, the second shows what is
/// arriving.
const LENS: [usize; 3] = [16 * KIB, 4 * KIB, 700];

/// Operations that each thread makes in any case, however slow the machine.
const ENOUGH: u64 = 200;

/// A film in its place; each that moves in has a generation of its own.
struct Film<R: Reclaim> {
    storage: Storage<R>,
    place: usize,
    generation: u64,
}

/// What one thread leaves for another.
struct Parcel<R: Reclaim> {
    film: Arc<Film<R>>,
    piece: u32,
    content: Content,
}

enum Content {
    Held(Held),
    Bytes(Bytes),
}

pub struct Work<R: Reclaim> {
    pub cache: Cache<R>,
    pub tally: Tally,
    places: Vec<ArcSwap<Film<R>>>,
    desk: Vec<ArcSwapOption<Parcel<R>>>,
    /// A small cache that is aborted and replaced.
    brief: ArcSwap<(Cache<R>, Storage<R>)>,
    generations: AtomicU64,
    /// A piece of the second film that somebody is writing, perhaps.
    arriving: AtomicU32,
}

/// What a thread has for itself.
pub struct Hand<R: Reclaim> {
    rng: StdRng,
    number: u64,
    held: Vec<Parcel<R>>,
    player: Option<(Arc<Film<R>>, Player<R>)>,
    /// Of the one thread that resizes: what has been binding since it shrank.
    binding: u64,
}

/// When the threads stop.
#[derive(Clone, Copy)]
pub struct Until {
    pub time: Option<Instant>,
    /// Operations of each thread.
    pub ops: u64,
}

impl<R: Reclaim> Film<R> {
    fn bytes(&self, piece: u32) -> Vec<u8> {
        content(self.place as u64, self.generation, piece, LENS[self.place])
    }

    fn is_part(&self, piece: u32, start: usize, bytes: &[u8]) -> bool {
        self.bytes(piece).get(start..start + bytes.len()) == Some(bytes)
    }
}

impl Content {
    fn bytes(&self) -> &[u8] {
        match self {
            Content::Held(held) => held,
            Content::Bytes(bytes) => bytes,
        }
    }
}

fn brief<R: Reclaim>() -> Arc<(Cache<R>, Storage<R>)> {
    let cache = common::cache(64 * KIB);
    let film = common::film(&cache, 40, KIB);
    Arc::new((cache, film))
}

impl<R: Reclaim> Work<R> {
    pub fn new() -> Self {
        let cache = common::cache(BUDGET);
        let generations = AtomicU64::new(0);
        let film = |place| add(&cache, place, &generations).expect("there is room for a table");
        Self {
            places: (0..LENS.len()).map(|place| ArcSwap::new(film(place))).collect(),
            desk: (0..4).map(|_| ArcSwapOption::empty()).collect(),
            brief: ArcSwap::new(brief()),
            cache,
            tally: Tally::default(),
            generations,
            arriving: AtomicU32::new(0),
        }
    }

    /// One thread's part.
    pub fn run(&self, number: u64, seed: u64, until: Until) {
        let rng = common::rng(seed.wrapping_add(number));
        let (held, binding) = (Vec::new(), BUDGET as u64);
        let mut hand = Hand { rng, number, held, player: None, binding };
        for done in 0..until.ops {
            if done >= ENOUGH && until.time.is_some_and(|time| Instant::now() >= time) {
                break;
            }
            self.step(&mut hand);
        }
        hand.held.drain(..).for_each(|parcel| self.open(&parcel));
    }

    fn step(&self, hand: &mut Hand<R>) {
        let film = self.film(&mut hand.rng);
        let kind = match hand.rng.random_range(0..1000) {
            0..350 => self.insert(hand, &film),
            350..450 => self.write_blocks(hand, &film),
            450..490 => self.fetch(&film),
            490..540 => self.peek(),
            540..690 => self.look(hand, &film),
            690..820 => self.hold(hand, &film),
            820..900 => self.play(hand, &film),
            900..902 => self.wait(hand, &film),
            902..970 => self.evict(hand, &film),
            970..980 => self.resize(hand),
            980..985 => self.renew(hand),
            _ => self.abort(hand),
        };
        self.tally.count(kind);
        if hand.rng.random_bool(0.05) {
            self.tally.resident(self.cache.stats().resident, hand.binding);
        }
    }

    fn film(&self, rng: &mut StdRng) -> Arc<Film<R>> {
        self.places[rng.random_range(0..LENS.len())].load_full()
    }

    /// Whether a call did what it should. There may be no room, and others may remove the film or
    /// drop what is arriving; nothing else. Bytes that a verifier refuses were right when they
    /// were given.
    fn done<T>(&self, result: lookbehind::Result<T>) -> bool {
        match result {
            Ok(_) => return true,
            Err(Error::VerifyFailed { .. }) => self.tally.compare(false),
            Err(
                Error::BudgetExhausted { .. }
                | Error::ShareExhausted { .. }
                | Error::AssembliesFull { .. }
                | Error::NotOpen { .. }
                | Error::Incomplete { .. }
                | Error::UnknownStorage { .. }
                | Error::Removed
                | Error::Aborted,
            ) => {}
            Err(other) => panic!("{other}"),
        }
        false
    }

    fn insert(&self, hand: &mut Hand<R>, film: &Film<R>) -> Kind {
        let piece = hand.rng.random_range(0..PIECES);
        self.done(film.storage.insert(piece, &film.bytes(piece)));
        Kind::Insert
    }

    /// In blocks, from the end or from the start; others may be at the same piece.
    fn write_blocks(&self, hand: &mut Hand<R>, film: &Film<R>) -> Kind {
        let piece = hand.rng.random_range(0..PIECES);
        let (bytes, storage) = (film.bytes(piece), &film.storage);
        let step = (bytes.len() / hand.rng.random_range(1..40)).max(100);
        let mut starts: Vec<usize> = (0..bytes.len()).step_by(step).collect();
        if hand.rng.random_bool(0.5) {
            starts.reverse();
        }
        if film.place == 1 {
            self.arriving.store(piece, Ordering::Relaxed);
        }
        for start in starts {
            let block = start..(start + step).min(bytes.len());
            if !self.done(storage.write(piece, start as u32, &bytes[block.clone()])) {
                return Kind::Blocks;
            }
            if hand.rng.random_bool(0.05) {
                self.read_back(film, piece, block);
            }
        }
        if hand.rng.random_bool(0.1) {
            self.done(storage.abandon(piece));
        } else {
            self.done(storage.commit(piece));
        }
        Kind::Blocks
    }

    /// What has arrived of what another thread is writing.
    fn peek(&self) -> Kind {
        let film = self.places[1].load_full();
        if let Some(arriving) = film.storage.arriving(self.arriving.load(Ordering::Relaxed)) {
            self.tally.compare(film.is_part(arriving.piece(), 0, &arriving));
        }
        Kind::Peek
    }

    /// What has arrived, by either way.
    fn read_back(&self, film: &Film<R>, piece: u32, block: Range<usize>) {
        thread::yield_now();
        if let Ok(back) = film.storage.read_back(piece, block.start as u32, block.len() as u32) {
            self.tally.compare(film.is_part(piece, block.start, &back));
        }
        if let Some(arriving) = film.storage.arriving(piece) {
            thread::yield_now();
            self.tally.compare(film.is_part(piece, 0, &arriving));
        }
    }

    /// What players and waits want.
    fn fetch(&self, film: &Film<R>) -> Kind {
        if let Some(fetch) = film.storage.wanted().try_next() {
            thread::yield_now();
            self.done(film.storage.insert(fetch.piece(), &film.bytes(fetch.piece())));
        }
        Kind::Fetch
    }

    fn look(&self, hand: &mut Hand<R>, film: &Film<R>) -> Kind {
        let reader = film.storage.reader();
        let start = hand.rng.random_range(0..PIECES);
        let snapshot = if hand.rng.random_bool(0.5) {
            reader.snapshot()
        } else {
            reader.snapshot_range(start..start + 40)
        };
        let shown: Vec<u32> = snapshot.runs().flatten().take(12).collect();
        for piece in shown {
            if hand.rng.random_bool(0.1) {
                thread::yield_now();
            }
            // What it showed it goes on to show.
            let found = snapshot.get(piece);
            self.tally.compare(found.is_some_and(|bytes| film.is_part(piece, 0, bytes)));
        }
        Kind::Snapshot
    }

    /// Holds, clones, converts, hands over to another thread, and drops.
    fn hold(&self, hand: &mut Hand<R>, film: &Arc<Film<R>>) -> Kind {
        let piece = hand.rng.random_range(0..PIECES);
        if let Ok(held) = film.storage.get(piece) {
            let content = match hand.rng.random_range(0..3) {
                0 => Content::Held(held),
                1 => Content::Held(held.clone()),
                _ => Content::Bytes(Bytes::from(held)),
            };
            let parcel = Parcel { film: Arc::clone(film), piece, content };
            if hand.rng.random_bool(0.5) {
                hand.held.push(parcel);
            } else {
                let place = hand.rng.random_range(0..self.desk.len());
                if let Some(left) = self.desk[place].swap(Some(Arc::new(parcel))) {
                    self.open(&left);
                }
            }
        }
        if hand.held.len() > 20 {
            hand.held.drain(..10).for_each(|parcel| self.open(&parcel));
        }
        Kind::Hold
    }

    fn open(&self, parcel: &Parcel<R>) {
        self.tally.compare(parcel.film.is_part(parcel.piece, 0, parcel.content.bytes()));
    }

    fn play(&self, hand: &mut Hand<R>, film: &Arc<Film<R>>) -> Kind {
        let rng = &mut hand.rng;
        let Some((film, player)) = &mut hand.player else {
            let window = || Extent::Bytes(BUDGET as u64 / 8);
            let config = PlayerConfig::default().ahead(window()).behind(window());
            let config = config.linger(Duration::from_millis(rng.random_range(0..3)));
            let player = film.storage.player(config).ok();
            hand.player = player.map(|player| (Arc::clone(film), player));
            return Kind::Play;
        };
        let len = LENS[film.place];
        let mut buffer = vec![0; rng.random_range(1..2 * len)];
        let at = player.position() as usize;
        match common::poll_read(player, &mut buffer) {
            Poll::Ready(Ok(count)) if count > 0 => {
                let (piece, within) = ((at / len) as u32, at % len);
                self.tally.compare(film.is_part(piece, within, &buffer[..count]));
            }
            Poll::Ready(Ok(_)) | Poll::Pending => {
                player.seek_to(rng.random_range(0..u64::from(PIECES) * len as u64));
            }
            Poll::Ready(Err(_)) => hand.player = None,
        }
        if rng.random_bool(0.02) {
            hand.player = None;
        }
        Kind::Play
    }

    fn wait(&self, hand: &mut Hand<R>, film: &Film<R>) -> Kind {
        let piece = hand.rng.random_range(0..PIECES);
        let time = Duration::from_micros(hand.rng.random_range(0..500));
        // Whoever waits for memory holds none.
        hand.held.drain(..).for_each(|parcel| self.open(&parcel));
        if hand.rng.random_bool(0.5) {
            self.done(film.storage.insert_wait(piece, &film.bytes(piece), time));
        } else if let Ok(held) = film.storage.wait(piece).deadline(time).blocking() {
            self.tally.compare(film.is_part(piece, 0, &held));
        }
        Kind::Wait
    }

    fn evict(&self, hand: &mut Hand<R>, film: &Film<R>) -> Kind {
        let first = hand.rng.random_range(0..PIECES);
        self.done(film.storage.evict(first..first + hand.rng.random_range(1..20)));
        Kind::Evict
    }

    /// One thread resizes, and so knows what binds: once `shrink` has said so, nothing comes above
    /// the limit until that is raised.
    fn resize(&self, hand: &mut Hand<R>) -> Kind {
        if hand.number == 0 {
            let budget = BUDGET as u64 / hand.rng.random_range(1..4);
            hand.binding = BUDGET as u64;
            self.cache.set_budget(budget).expect("above the least");
            if self.cache.shrink(Duration::from_millis(1)).is_ok() {
                hand.binding = budget;
            }
        }
        Kind::Resize
    }

    /// Removes a film and puts another one in its place.
    fn renew(&self, hand: &mut Hand<R>) -> Kind {
        let place = hand.rng.random_range(0..LENS.len());
        let Ok(film) = add(&self.cache, place, &self.generations) else { return Kind::Renew };
        let old = self.places[place].swap(film);
        old.storage.remove().expect("whoever takes it out removes it");
        assert!(self.cache.storage(old.storage.id()).is_err() && old.storage.get(0).is_err());
        Kind::Renew
    }

    /// Uses the small cache; seldom aborts it. Afterwards what was there can still be read.
    fn abort(&self, hand: &mut Hand<R>) -> Kind {
        let brief_now = self.brief.load_full();
        let (cache, film) = &*brief_now;
        let piece = hand.rng.random_range(0..40);
        let bytes = content(99, 0, piece, KIB);
        let _ = film.insert(piece, &bytes);
        let held = film.get(piece);
        if hand.rng.random_bool(0.1) {
            cache.abort(Wait::No);
            cache.abort(Wait::No);
            assert!(film.insert(piece, &bytes).is_err());
            self.brief.store(brief());
        }
        if let Ok(held) = held {
            self.tally.compare(held[..] == bytes[..]);
        }
        let peak = cache.stats().resident_peak;
        self.tally.resident(peak, 64 * KIB as u64);
        Kind::Abort
    }

    /// Ends all films; what is left is the cache, and no handle on anything in it.
    pub fn finish(self) -> (Cache<R>, Tally) {
        for desk in &self.desk {
            desk.swap(None).into_iter().for_each(|parcel| self.open(&parcel));
        }
        for place in &self.places {
            place.load().storage.remove().expect("nobody else does");
        }
        self.tally.resident(self.cache.stats().resident_peak, BUDGET as u64);
        (self.cache, self.tally)
    }
}

fn add<R: Reclaim>(
    cache: &Cache<R>,
    place: usize,
    generations: &AtomicU64,
) -> lookbehind::Result<Arc<Film<R>>> {
    let generation = generations.fetch_add(1, Ordering::Relaxed);
    let judge =
        move |piece, bytes: &[u8]| bytes == content(place as u64, generation, piece, LENS[place]);
    let options = match place {
        0 => StorageOptions::default().verifier(Arc::new(verify_fn(judge))),
        1 => StorageOptions::default().readable_prefix(true),
        _ => StorageOptions::default().share(BUDGET as u64 / 8),
    };
    let storage = cache.add_storage_with(layout(PIECES, LENS[place]), options)?;
    Ok(Arc::new(Film { storage, place, generation }))
}

/// Whether the ledger has nothing left in it but what is pooled, and the table of one film.
pub fn nothing_is_left<R: Reclaim>(cache: &Cache<R>) {
    assert_eq!((cache.stats().snapshots, cache.stats().storages), (0, 0));
    let last = common::film(cache, 4, KIB);
    eventually("only pool and table are left", || {
        sweep(cache, &[&last]);
        let states = cache.stats().states;
        states.total() == states.pooled + states.table
    });
    let stats = cache.stats();
    assert!(stats.states.table < 8 * KIB as u64, "{stats:?}");
    assert_eq!(stats.states.total(), stats.resident);
}
