//! Blocks of any size, order and overlap become pieces, or do not.
//!
//! The model of a piece on its way is an array of bytes with a map of those that are written; the
//! first writer of a byte wins. What was published is an array of bytes. Which pieces were
//! evicted to make room is learnt from an observer; which assemblies were dropped is looked up,
//! and must be explained by their age or by how little they were wanted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use lookbehind::{
    Arriving, Cache, Clock, Error, Eviction, Held, Insert, Layout, Progress, Reason, Sha1Verifier,
    Storage, StorageOptions, Verifier, verify_fn,
};
use sha1::{Digest, Sha1};

use crate::input::{Input, content};

/// Without progress for so long an assembly may go.
const LIMIT: Duration = Duration::from_secs(60);
/// Pieces of the film, the last one shorter.
const PIECES: u32 = 5;

/// No piece of the film.
const NONE: u32 = u32::MAX;

/// A piece on its way.
struct Open {
    bytes: Vec<u8>,
    written: Vec<bool>,
    progress: Duration,
}

impl Open {
    fn count(&self) -> u64 {
        self.written.iter().filter(|written| **written).count() as u64
    }

    fn prefix(&self) -> usize {
        self.written.iter().take_while(|written| **written).count()
    }

    fn runs(&self) -> usize {
        let starts = |at: &usize| self.written[*at] && (*at == 0 || !self.written[*at - 1]);
        (0..self.written.len()).filter(starts).count()
    }

    /// Writes what nobody wrote before, stretch by stretch, as far as no more than `limit`
    /// separate stretches come of it; whether all was written.
    fn write(&mut self, offset: usize, block: &[u8], limit: usize) -> bool {
        let mut at = offset;
        let end = offset + block.len();
        while at < end {
            if self.written[at] {
                at += 1;
                continue;
            }
            let gap = (at..end).take_while(|byte| !self.written[*byte]).count();
            self.written[at..at + gap].fill(true);
            if self.runs() > limit {
                self.written[at..at + gap].fill(false);
                return false;
            }
            self.bytes[at..at + gap].copy_from_slice(&block[at - offset..at - offset + gap]);
            at += gap;
        }
        true
    }
}

/// Who judges a piece.
#[derive(Clone, Copy, PartialEq)]
enum Judge {
    Nobody,
    Hash,
    /// Lets pieces pass whose bytes have an even sum.
    Sum,
}

struct World {
    cache: Cache,
    film: Storage,
    clock: Clock,
    evicted: Arc<Mutex<Vec<Eviction>>>,
    judge: Judge,
    keep_assemblies: bool,
    lens: Vec<usize>,
    reserved: bool,
    open: BTreeMap<u32, Open>,
    published: BTreeMap<u32, Vec<u8>>,
    prefixes: Vec<(Arriving, Vec<u8>)>,
    handles: Vec<(Held, Vec<u8>)>,
}

/// Writes, commits, abandons and inserts pieces as the input says.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new(&mut input);
    while !input.is_over() {
        world.step(&mut input);
        world.check();
    }
    world.finish();
}

impl World {
    fn new(input: &mut Input) -> Self {
        let judge = [Judge::Nobody, Judge::Hash, Judge::Sum][input.index(3)];
        // Short ones can be written byte by byte, long ones can be too fragmented.
        let piece_len = match input.below(4) {
            0 => input.between(1, 12),
            1 => input.between(13, 300),
            2 => input.between(300, 700),
            _ => input.between(700, 1200),
        };
        let last = input.between(1, piece_len);
        let total = piece_len * u64::from(PIECES - 1) + last;
        let lens = (0..PIECES)
            .map(|piece| if piece + 1 < PIECES { piece_len as usize } else { last as usize })
            .collect::<Vec<_>>();
        let mut options = StorageOptions::default().readable_prefix(true).assembly_limit(LIMIT);
        let keep_assemblies = input.flag();
        options = options.keep_assemblies(keep_assemblies);
        match judge {
            Judge::Nobody => {}
            Judge::Hash => {
                let hash = |(piece, len): (u32, &usize)| -> [u8; 20] {
                    Sha1::digest(content(0, piece, *len)).into()
                };
                let hashes: Vec<_> = (0..).zip(&lens).map(hash).collect();
                let verifier: Arc<dyn Verifier> = Arc::new(Sha1Verifier::new(hashes));
                options = options.verifier(verifier);
            }
            Judge::Sum => {
                let even = |_: u32, bytes: &[u8]| sum(bytes).is_multiple_of(2);
                options = options.verifier(Arc::new(verify_fn(even)));
            }
        }
        let evicted = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&evicted);
        let clock = Clock::manual();
        let cache = Cache::builder()
            .budget(input.between(20 << 10, 64 << 10))
            .clock(clock.clone())
            .observer(move |eviction: &Eviction| log.lock().unwrap().push(*eviction))
            .build()
            .unwrap();
        let layout = Layout::fixed(total, piece_len as u32).unwrap();
        let film = cache.add_storage_with(layout, options).unwrap();
        Self {
            cache,
            film,
            clock,
            evicted,
            judge,
            keep_assemblies,
            lens,
            reserved: false,
            open: BTreeMap::new(),
            published: BTreeMap::new(),
            prefixes: Vec::new(),
            handles: Vec::new(),
        }
    }

    fn approves(&self, piece: u32, bytes: &[u8]) -> bool {
        match self.judge {
            Judge::Nobody => true,
            Judge::Hash => bytes == content(0, piece, bytes.len()),
            Judge::Sum => sum(bytes).is_multiple_of(2),
        }
    }

    fn step(&mut self, input: &mut Input) {
        let piece = input.small(PIECES);
        match input.below(16) {
            0..7 => self.write(input, piece),
            7 => self.comb(input, piece),
            8 => self.commit(piece),
            9 => self.insert(input, piece),
            10 => {
                let abandoned = self.film.abandon(piece).unwrap();
                assert_eq!(abandoned, self.open.remove(&piece).is_some());
            }
            11 => self.read_back(input, piece),
            12 => self.read(input, piece),
            13 => match input.below(4) {
                0 => self.prefixes.clear(),
                1 => self.handles.clear(),
                2 => {
                    let until = piece + 1 + input.small(3);
                    let count = self.film.evict(piece..until).unwrap();
                    assert_eq!(count, self.learn(Reason::Requested));
                }
                _ => {
                    self.reserved = !self.reserved;
                    self.film.unreserve();
                    if self.reserved {
                        self.film.reserve(0..2);
                    }
                }
            },
            14 => {
                self.clock.advance(Duration::from_secs(input.below(40)));
            }
            _ => self.out_of_range(input, piece),
        }
    }

    /// A block of the piece: the bytes that it should have, or others.
    fn block(&self, input: &mut Input, piece: u32, from: usize, to: usize) -> Vec<u8> {
        let mut bytes = content(0, piece, to)[from..].to_vec();
        if input.once_in(8) {
            let by = input.byte();
            bytes.iter_mut().for_each(|byte| *byte ^= by);
        }
        bytes
    }

    fn write(&mut self, input: &mut Input, piece: u32) {
        let len = self.lens[piece as usize];
        let from = if input.flag() { input.index(len + 1) } else { 0 };
        let to = if input.flag() { len } else { from + input.index(len - from + 1) };
        let block = self.block(input, piece, from, to);
        self.write_block(piece, from, &block);
    }

    /// Single bytes far apart: many separate stretches.
    fn comb(&mut self, input: &mut Input, piece: u32) {
        let len = self.lens[piece as usize];
        let (from, stride) = (input.index(len), input.index(4) + 2);
        let count = input.index(150);
        let bytes = content(0, piece, len);
        for at in (from..len).step_by(stride).take(count) {
            self.write_block(piece, at, &bytes[at..=at]);
        }
    }

    fn write_block(&mut self, piece: u32, from: usize, block: &[u8]) {
        let len = self.lens[piece as usize];
        let was_open = self.open.contains_key(&piece);
        let before = self.open.get(&piece).map_or(0, Open::count);
        let result = self.film.write(piece, from as u32, block);
        self.learn(Reason::Room);
        if self.published.contains_key(&piece) {
            assert_eq!(result, Ok(Progress::Published));
            return;
        }
        if !was_open {
            self.dropped(piece);
            if self.refused(&result) {
                if self.film.arriving(piece).is_none() {
                    return;
                }
                // A piece that came in one block stays complete without room for its version.
                assert!(block.len() == len && self.judge != Judge::Nobody);
            }
        }
        let now = self.clock.now();
        let open = self.open.entry(piece).or_insert_with(|| Open {
            bytes: vec![0; len],
            written: vec![false; len],
            progress: now,
        });
        // By the documentation: 128 separate stretches, and one for each 8 KiB.
        let limit = (len / 2 + 1).min((len / 8192).clamp(128, 1024));
        if !open.write(from, block, limit) {
            let limit = limit as u32;
            assert_eq!(result, Err(Error::TooFragmented { piece, limit }));
            return;
        }
        open.progress = now;
        let written = open.count();
        if written < len as u64 || before == written {
            assert_eq!(result, Ok(Progress::Partial { written }));
            return;
        }
        if self.judge == Judge::Nobody {
            assert_eq!(result, Ok(Progress::Complete));
            return;
        }
        self.finished(piece, result.map(|progress| assert_eq!(progress, Progress::Published)));
    }

    fn commit(&mut self, piece: u32) {
        let result = self.film.commit(piece);
        self.learn(Reason::Room);
        match self.open.get(&piece) {
            None if self.published.contains_key(&piece) => assert_eq!(result, Ok(())),
            None => assert_eq!(result, Err(Error::NotOpen { piece })),
            Some(open) if open.count() < open.bytes.len() as u64 => {
                let (written, piece_len) = (open.count(), open.bytes.len() as u32);
                assert_eq!(result, Err(Error::Incomplete { piece, written, piece_len }));
            }
            Some(_) => self.finished(piece, result),
        }
    }

    /// A complete piece was judged, and published unless there was no room for a version.
    fn finished(&mut self, piece: u32, result: Result<(), Error>) {
        let open = &self.open[&piece];
        if !self.approves(piece, &open.bytes) {
            assert_eq!(result, Err(Error::VerifyFailed { piece }));
            self.open.remove(&piece);
        } else if result == Err(Error::NotOpen { piece }) {
            // So old, as is asserted below, that its own search for room dropped it.
            assert!(self.film.arriving(piece).is_none());
        } else if !self.refused(&result) {
            assert_eq!(result, Ok(()));
            if let Some(open) = self.open.remove(&piece) {
                self.published.insert(piece, open.bytes);
            }
        }
        // The version needs room, too; but nothing that is wanted less goes for it.
        self.dropped(NONE);
    }

    fn insert(&mut self, input: &mut Input, piece: u32) {
        let len = self.lens[piece as usize];
        let bytes = self.block(input, piece, 0, len);
        let result = self.film.insert(piece, &bytes);
        self.learn(Reason::Room);
        if self.published.contains_key(&piece) {
            assert_eq!(result, Ok(Insert::AlreadyPresent));
        } else if !self.approves(piece, &bytes) {
            assert_eq!(result, Err(Error::VerifyFailed { piece }));
        } else {
            if result.is_ok() {
                // What was arriving of it is dropped.
                self.open.remove(&piece);
            }
            self.dropped(NONE);
            if !self.refused(&result) {
                assert_eq!(result, Ok(Insert::Published));
                self.published.insert(piece, bytes);
            }
        }
    }

    fn read_back(&mut self, input: &mut Input, piece: u32) {
        let len = self.lens[piece as usize];
        let from = input.index(len + 1);
        let to = from + input.index(len - from + 1);
        let result = self.film.read_back(piece, from as u32, (to - from) as u32);
        let open = self.open.get(&piece);
        let written = open.filter(|open| open.written[from..to].iter().all(|w| *w));
        match written.map(|open| &open.bytes).or(self.published.get(&piece)) {
            Some(bytes) => assert_eq!(result, Ok(Bytes::copy_from_slice(&bytes[from..to]))),
            None => assert_eq!(result, Err(Error::Missing { piece })),
        }
    }

    fn read(&mut self, input: &mut Input, piece: u32) {
        match (self.film.get(piece), self.published.get(&piece)) {
            (Ok(held), Some(bytes)) => {
                assert_eq!(held[..], bytes[..]);
                if input.once_in(4) && self.handles.len() < 3 {
                    self.handles.push((held, bytes.clone()));
                }
            }
            (Err(error), None) => assert_eq!(error, Error::Missing { piece }),
            (found, expected) => panic!("piece {piece}: {found:?}, not {expected:?}"),
        }
        let arriving = self.film.arriving(piece);
        if let Some(arriving) = arriving
            && input.flag()
            && self.prefixes.len() < 3
        {
            let prefix = arriving.to_vec();
            self.prefixes.push((arriving, prefix));
        }
    }

    fn out_of_range(&mut self, input: &mut Input, piece: u32) {
        let len = self.lens[piece as usize];
        let (offset, count) = (input.hostile() as u32, input.index(len) + 1);
        if u64::from(offset) + count as u64 > len as u64 {
            let block = vec![1; count];
            let (piece_len, len) = (len as u32, count as u64);
            let expected = Error::BlockOutOfRange { piece, offset, len, piece_len };
            assert_eq!(self.film.write(piece, offset, &block), Err(expected.clone()));
            assert_eq!(self.film.read_back(piece, offset, count as u32), Err(expected));
        }
        let beyond = PIECES.saturating_add(input.hostile() as u32);
        let unknown = Error::PieceOutOfRange { piece: beyond, first: 0, end: PIECES };
        assert_eq!(self.film.write(beyond, 0, &[1]), Err(unknown.clone()));
        assert_eq!(self.film.commit(beyond), Err(unknown.clone()));
        assert_eq!(self.film.insert(beyond, &[1]), Err(unknown));
        assert_eq!(self.film.abandon(beyond), Ok(false));
        let wrong = vec![1; len + 1];
        let (given, expected) = (len as u64 + 1, len as u32);
        let error = Error::WrongLength { piece, given, expected };
        assert_eq!(self.film.insert(piece, &wrong), Err(error));
    }

    /// Takes over what the observer was told: pieces that were there, each once, for this reason.
    fn learn(&mut self, reason: Reason) -> usize {
        let evicted = std::mem::take(&mut *self.evicted.lock().unwrap());
        for eviction in &evicted {
            assert_eq!((eviction.storage, eviction.reason), (self.film.id(), reason));
            let there = self.published.remove(&eviction.piece);
            assert!(there.is_some(), "{eviction:?}: it was not there");
        }
        evicted.len()
    }

    /// Looks which assemblies are gone since something else needed room: the old ones, and when
    /// the assembly of a piece that is reserved opens, such that are not.
    fn dropped(&mut self, for_piece: u32) {
        let (film, now, keeps) = (&self.film, self.clock.now(), self.keep_assemblies);
        let reserved = |piece: u32| self.reserved && piece < 2;
        self.open.retain(|piece, open| {
            let here = film.arriving(*piece).is_some();
            let old = now - open.progress >= LIMIT;
            let wanted_less = !keeps && reserved(for_piece) && !reserved(*piece);
            assert!(here || old || wanted_less, "the assembly of piece {piece} is gone");
            here
        });
    }

    /// Whether there was no room, which there must be a reason for.
    fn refused<T: std::fmt::Debug>(&self, result: &Result<T, Error>) -> bool {
        match result {
            Err(Error::AssembliesFull { needed, limit, assembling }) => {
                assert_eq!(*limit, self.cache.budget() / 2);
                assert!(needed + assembling > *limit && !self.open.is_empty());
                true
            }
            Err(Error::BudgetExhausted { needed, budget, states, snapshots }) => {
                assert_eq!(*snapshots, 0);
                assert!(states.total() <= *budget && *needed > 0);
                assert_eq!((states.limbo, states.pooled), (0, 0), "{result:?}");
                // What is published is pinned.
                let pinned = !self.handles.is_empty() || !self.prefixes.is_empty();
                let fits = needed + self.cache.headroom() < *budget;
                assert!(states.published == 0 || pinned || !fits, "{result:?}");
                true
            }
            _ => false,
        }
    }

    fn check(&mut self) {
        self.cache.validate().unwrap();
        assert!(self.evicted.lock().unwrap().is_empty());
        let stats = self.cache.stats();
        assert!(stats.resident_peak <= stats.budget, "{stats:?}");
        for piece in 0..PIECES {
            let there = self.published.contains_key(&piece);
            assert_eq!(self.film.contains(piece), there, "piece {piece}");
            let arriving = self.film.arriving(piece);
            let open = self.open.get(&piece);
            assert_eq!(arriving.is_some(), open.is_some(), "the assembly of piece {piece}");
            if let (Some(arriving), Some(open)) = (arriving, open) {
                assert_eq!(arriving[..], open.bytes[..open.prefix()]);
            }
        }
        for (arriving, prefix) in &self.prefixes {
            assert_eq!(arriving[..], prefix[..]);
        }
        for (held, bytes) in &self.handles {
            assert_eq!(held[..], bytes[..]);
        }
    }

    fn finish(self) {
        for (piece, bytes) in &self.published {
            assert_eq!(self.film.get(*piece).unwrap()[..], bytes[..]);
        }
        self.cache.validate_swept().unwrap();
        self.film.remove().unwrap();
        drop(self.film);
        self.cache.validate_swept().unwrap();
        drop(self.cache);
        for (arriving, prefix) in &self.prefixes {
            assert_eq!(arriving[..], prefix[..]);
        }
        for (held, bytes) in &self.handles {
            assert_eq!(held[..], bytes[..]);
        }
    }
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}
