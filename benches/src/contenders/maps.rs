//! Concurrent maps: no bound, no policy, no order.

use std::sync::Arc;

use ahash::RandomState;

use crate::contender::{Body, Contender};
use crate::stock::{Key, Piece, Stock, touch};

/// papaya, a guard for each hit.
#[derive(Clone)]
pub struct Papaya(Arc<papaya::HashMap<Key, Piece, RandomState>>);

impl Papaya {
    /// With all pieces.
    #[must_use]
    pub fn new(stock: &Stock) -> Self {
        let map =
            papaya::HashMap::with_capacity_and_hasher(stock.shape.count(), RandomState::new());
        let pinned = map.pin();
        for (key, piece) in stock.iter() {
            pinned.insert(key, Arc::clone(piece));
        }
        drop(pinned);
        Self(Arc::new(map))
    }
}

impl Contender for Papaya {
    fn name(&self) -> String {
        "papaya, guard per call".into()
    }

    fn read<B: Body>(&self, body: B) -> B::Output {
        body.run(|key| self.0.pin().get(&key).map_or(0, |piece| touch(piece)))
    }

    fn replace(&self, key: Key, bytes: &[u8]) -> bool {
        self.0.pin().insert(key, Piece::from(bytes));
        true
    }
}

/// papaya, a guard kept.
pub struct PapayaKept(pub Papaya);

impl Contender for PapayaKept {
    const KEPT: bool = true;

    fn name(&self) -> String {
        "papaya, guard kept".into()
    }

    fn read<B: Body>(&self, body: B) -> B::Output {
        let map = self.0.0.pin();
        body.run(|key| map.get(&key).map_or(0, |piece| touch(piece)))
    }

    fn replace(&self, key: Key, bytes: &[u8]) -> bool {
        self.0.replace(key, bytes)
    }
}

/// dashmap; a piece is touched under the lock of its shard, which spares a counter.
pub struct Dash(dashmap::DashMap<Key, Piece, RandomState>);

impl Dash {
    /// With all pieces.
    #[must_use]
    pub fn new(stock: &Stock) -> Self {
        let map =
            dashmap::DashMap::with_capacity_and_hasher(stock.shape.count(), RandomState::new());
        for (key, piece) in stock.iter() {
            map.insert(key, Arc::clone(piece));
        }
        Self(map)
    }
}

impl Contender for Dash {
    fn name(&self) -> String {
        "dashmap".into()
    }

    fn read<B: Body>(&self, body: B) -> B::Output {
        body.run(|key| self.0.get(&key).map_or(0, |piece| touch(&piece)))
    }

    fn replace(&self, key: Key, bytes: &[u8]) -> bool {
        let old = self.0.insert(key, Piece::from(bytes));
        drop(old);
        true
    }
}

/// scc, its map; as with dashmap a piece is touched under a lock.
pub struct SccMap(scc::HashMap<Key, Piece, RandomState>);

impl SccMap {
    /// With all pieces.
    #[must_use]
    pub fn new(stock: &Stock) -> Self {
        let map = scc::HashMap::with_capacity_and_hasher(stock.shape.count(), RandomState::new());
        for (key, piece) in stock.iter() {
            map.upsert_sync(key, Arc::clone(piece));
        }
        Self(map)
    }
}

impl Contender for SccMap {
    fn name(&self) -> String {
        "scc::HashMap".into()
    }

    fn read<B: Body>(&self, body: B) -> B::Output {
        body.run(|key| self.0.read_sync(&key, |_, piece| touch(piece)).unwrap_or(0))
    }

    fn replace(&self, key: Key, bytes: &[u8]) -> bool {
        let old = self.0.upsert_sync(key, Piece::from(bytes));
        drop(old);
        true
    }
}

/// scc, its index, which is read without a lock.
pub struct SccIndex(scc::HashIndex<Key, Piece, RandomState>);

impl SccIndex {
    /// With all pieces.
    #[must_use]
    pub fn new(stock: &Stock) -> Self {
        let map = scc::HashIndex::with_capacity_and_hasher(stock.shape.count(), RandomState::new());
        for (key, piece) in stock.iter() {
            // A fresh map has no such key.
            let _ = map.insert_sync(key, Arc::clone(piece));
        }
        Self(map)
    }
}

impl Contender for SccIndex {
    fn name(&self) -> String {
        "scc::HashIndex".into()
    }

    fn read<B: Body>(&self, body: B) -> B::Output {
        body.run(|key| self.0.peek_with(&key, |_, piece| touch(piece)).unwrap_or(0))
    }

    fn replace(&self, key: Key, bytes: &[u8]) -> bool {
        let Some(mut entry) = self.0.get_sync(&key) else { return false };
        entry.update(Piece::from(bytes));
        true
    }
}
