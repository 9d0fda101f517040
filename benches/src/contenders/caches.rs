//! Caches with a policy and a bound. What is measured is hits, and not what a policy keeps: so each
//! has so much room that no part of it is ever full.

use std::sync::Arc;

use ahash::RandomState;
use foyer_memory::{CacheBuilder, CacheProperties, EvictionConfig, LruConfig, S3FifoConfig};
use quick_cache::sync::{Cache as Quick, DefaultLifecycle};

use crate::contender::{Body, Contender};
use crate::stock::{Key, Piece, Stock, touch};

/// How much more room a cache has than its pieces take. Two of them share it out among parts that
/// keys are hashed to, and not evenly.
const ROOM: usize = 8;

/// Moka, its synchronous cache.
pub struct Moka(moka::sync::Cache<Key, Piece, RandomState>);

impl Moka {
    /// With all pieces.
    #[must_use]
    pub fn new(stock: &Stock) -> Self {
        let cache = moka::sync::Cache::builder()
            .max_capacity((ROOM * stock.shape.bytes()) as u64)
            .weigher(|_: &Key, piece: &Piece| piece.len() as u32)
            .build_with_hasher(RandomState::new());
        for (key, piece) in stock.iter() {
            cache.insert(key, Arc::clone(piece));
        }
        cache.run_pending_tasks();
        Self(cache)
    }
}

impl Contender for Moka {
    fn name(&self) -> String {
        "moka".into()
    }

    fn read<B: Body>(&self, body: B) -> B::Output {
        body.run(|key| self.0.get(&key).map_or(0, |piece| touch(&piece)))
    }

    fn replace(&self, key: Key, bytes: &[u8]) -> bool {
        self.0.insert(key, Piece::from(bytes));
        true
    }
}

/// A piece weighs its bytes.
#[derive(Clone)]
struct Bytes;

impl quick_cache::Weighter<Key, Piece> for Bytes {
    fn weight(&self, _: &Key, piece: &Piece) -> u64 {
        piece.len() as u64
    }
}

/// quick_cache, its synchronous cache.
pub struct QuickCache(Quick<Key, Piece, Bytes, RandomState>);

impl QuickCache {
    /// With all pieces.
    #[must_use]
    pub fn new(stock: &Stock) -> Self {
        // It has fewer parts if it expects fewer entries.
        let (count, room) = (ROOM * stock.shape.count(), (ROOM * stock.shape.bytes()) as u64);
        let lifecycle = DefaultLifecycle::default();
        let cache = Quick::with(count, room, Bytes, RandomState::new(), lifecycle);
        for (key, piece) in stock.iter() {
            cache.insert(key, Arc::clone(piece));
        }
        Self(cache)
    }
}

impl Contender for QuickCache {
    fn name(&self) -> String {
        "quick_cache".into()
    }

    fn read<B: Body>(&self, body: B) -> B::Output {
        body.run(|key| self.0.get(&key).map_or(0, |piece| touch(&piece)))
    }

    fn replace(&self, key: Key, bytes: &[u8]) -> bool {
        self.0.insert(key, Piece::from(bytes));
        true
    }
}

/// foyer, its part in memory, with one of its policies.
pub struct Foyer {
    cache: foyer_memory::Cache<Key, Piece, RandomState, CacheProperties>,
    policy: &'static str,
}

impl Foyer {
    /// With all pieces, S3-FIFO.
    #[must_use]
    pub fn s3_fifo(stock: &Stock) -> Self {
        Self::new(stock, "S3-FIFO", S3FifoConfig::default().into())
    }

    /// With all pieces, LRU.
    #[must_use]
    pub fn lru(stock: &Stock) -> Self {
        Self::new(stock, "LRU", LruConfig::default().into())
    }

    fn new(stock: &Stock, policy: &'static str, config: EvictionConfig) -> Self {
        let cache = CacheBuilder::new(ROOM * stock.shape.bytes())
            .with_hash_builder(RandomState::new())
            .with_weighter(|_: &Key, piece: &Piece| piece.len())
            .with_eviction_config(config)
            .build();
        for (key, piece) in stock.iter() {
            cache.insert(key, Arc::clone(piece));
        }
        Self { cache, policy }
    }
}

impl Contender for Foyer {
    fn name(&self) -> String {
        format!("foyer, {}", self.policy)
    }

    fn read<B: Body>(&self, body: B) -> B::Output {
        body.run(|key| self.cache.get(&key).map_or(0, |entry| touch(entry.value())))
    }

    fn replace(&self, key: Key, bytes: &[u8]) -> bool {
        self.cache.insert(key, Piece::from(bytes));
        true
    }
}
