//! Reserve, choose a victim, copy in, publish: pieces of a mebibyte in a full cache, beside the
//! copy alone.

use std::ptr;
use std::sync::Arc;

use lookbehind::{Cache, Epoch, Hyaline, Insert, Interval, Layout, Reclaim};

use crate::contenders::scheme;
use crate::figures::Row;
use crate::rounds::{Plan, Probe, probes};

/// Bytes of a piece.
pub const LEN: usize = 1 << 20;
/// Buffers that whoever copies goes round; as many pieces does a cache hold.
const BUFFERS: usize = 64;

/// One copy, by the contender; the first one copies into recycled buffers and does no more.
///
/// # Panics
/// If a cache cannot be set up.
#[must_use]
pub fn measure(plan: Plan) -> Vec<Row> {
    let bytes: Vec<u8> = (0..LEN).map(|n| n as u8).collect();
    let source = &*bytes;
    let list = vec![
        recycling(source),
        inserting::<Interval>(source),
        inserting::<Epoch>(source),
        inserting::<Hyaline>(source),
        mapping(source),
        newcomers_go(source),
        oldest_go(source),
    ];
    probes(list, plan)
}

fn recycling(source: &[u8]) -> Probe<'_> {
    let mut buffers: Vec<Vec<u8>> = (0..BUFFERS).map(|_| vec![1; LEN]).collect();
    let mut next = 0;
    Probe::new("copy into recycled buffers", move |times| {
        for _ in 0..times {
            buffers[next].copy_from_slice(source);
            std::hint::black_box(&buffers[next]);
            next = (next + 1) % BUFFERS;
        }
    })
}

fn mapping(source: &[u8]) -> Probe<'_> {
    let mut maps = Maps::default();
    Probe::new("copy into fresh memory, mapped and unmapped", move |times| {
        for _ in 0..times {
            maps.copy(source);
        }
    })
}

/// quick_cache keeps what it had first, and lets newcomers go.
fn newcomers_go(source: &[u8]) -> Probe<'_> {
    let cache = quick_cache::sync::Cache::new(BUFFERS);
    allocating("quick_cache, a fresh Arc each", source, move |key, piece| cache.insert(key, piece))
}

/// An LRU lets the oldest go, as long as nobody reads.
fn oldest_go(source: &[u8]) -> Probe<'_> {
    let builder = foyer_memory::CacheBuilder::new(BUFFERS).with_shards(1);
    let cache: foyer_memory::Cache<u64, Arc<[u8]>> =
        builder.with_eviction_config(foyer_memory::LruConfig::default()).build();
    allocating("foyer LRU, a fresh Arc each", source, move |key, piece| {
        cache.insert(key, piece);
    })
}

/// As peers do it that leave memory to their user: an allocation for each piece.
fn allocating<'a>(name: &str, source: &'a [u8], insert: impl Fn(u64, Arc<[u8]>) + 'a) -> Probe<'a> {
    let mut key = 0;
    Probe::new(name, move |times| {
        for _ in 0..times {
            insert(key, Arc::from(source));
            key += 1;
        }
    })
}

/// Publishes piece after piece of a film that has twice as many as there is room for.
fn inserting<R: Reclaim>(source: &[u8]) -> Probe<'_> {
    let budget = ((BUFFERS + 1) * LEN + (1 << 19)) as u64;
    let cache: Cache<R> = Cache::builder().budget(budget).build_with().expect("a budget");
    let pieces = 2 * BUFFERS as u32;
    let layout = Layout::fixed(u64::from(pieces) * LEN as u64, LEN as u32).expect("a layout");
    let film = cache.add_storage(layout).expect("room for a table");
    // What is measured is a full cache.
    for piece in 0..pieces {
        film.insert(piece, source).expect("room is made");
    }
    let mut next = 0;
    Probe::new(format!("{}, insert into a full cache", scheme::<R>()), move |times| {
        for _ in 0..times {
            // Present ones are those that the policy keeps; they cost nothing, and count nothing.
            while film.insert(next, source).expect("room is made") != Insert::Published {
                next = (next + 1) % pieces;
            }
            next = (next + 1) % pieces;
        }
    })
}

/// Memory as a cache has it that keeps none for reuse, and whose allocator keeps none either.
#[derive(Default)]
struct Maps {
    alive: std::collections::VecDeque<Map>,
}

impl Maps {
    fn copy(&mut self, source: &[u8]) {
        if self.alive.len() == BUFFERS {
            self.alive.pop_front();
        }
        let map = Map::new(source.len());
        // SAFETY: fresh memory of that length, which nothing else names.
        unsafe { ptr::copy_nonoverlapping(source.as_ptr(), map.start.cast(), source.len()) };
        self.alive.push_back(map);
    }
}

struct Map {
    start: *mut libc::c_void,
    len: usize,
}

impl Map {
    fn new(len: usize) -> Self {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new map, at no place in particular.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, access, kind, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED, "no memory");
        Self { start, len }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, of that length, and used no more.
        unsafe { libc::munmap(self.start, self.len) };
    }
}
