//! This crate, by its public API as it is: statistics, visited marks and checks are on.

use std::sync::Arc;

use lookbehind::{Cache, Layout, Reader, Reclaim, Storage};

use crate::contender::{Body, Contender};
use crate::stock::{Key, Stock, touch};

/// Films in one cache. The ways to read it share one of these.
pub struct Films<R: Reclaim> {
    films: Vec<Storage<R>>,
    huge_pages: bool,
}

impl<R: Reclaim> Films<R> {
    /// With all pieces, and as much room again.
    ///
    /// # Panics
    /// If the cache does not take them.
    #[must_use]
    pub fn new(stock: &Stock) -> Arc<Self> {
        Self::with(stock, false)
    }

    /// The same on huge pages, as no peer is.
    ///
    /// # Panics
    /// If the cache does not take them.
    #[must_use]
    pub fn on_huge_pages(stock: &Stock) -> Arc<Self> {
        Self::with(stock, true)
    }

    fn with(stock: &Stock, huge_pages: bool) -> Arc<Self> {
        let shape = stock.shape;
        // A header and a place in the table each, and rounding.
        let budget = (32 << 20) + shape.count() as u64 * 2 * (shape.len as u64 + 512);
        let cache: Cache<R> =
            Cache::builder().budget(budget).huge_pages(huge_pages).build_with().expect("a budget");
        let layout = Layout::fixed(u64::from(shape.pieces) * shape.len as u64, shape.len as u32)
            .expect("a layout");
        let films = (0..shape.storages).map(|_| cache.add_storage(layout.clone()).expect("room"));
        let films: Vec<_> = films.collect();
        for (key, piece) in stock.iter() {
            films[key.storage as usize].insert(key.piece, piece).expect("room");
        }
        Arc::new(Self { films, huge_pages })
    }

    /// The name of a way to read them.
    fn name(&self, way: &str) -> String {
        let pages = if self.huge_pages { ", huge pages" } else { "" };
        format!("{}, {way}{pages}", scheme::<R>())
    }

    fn readers(&self) -> Vec<Reader<R>> {
        self.films.iter().map(Storage::reader).collect()
    }

    fn replace(&self, key: Key, bytes: &[u8]) -> bool {
        let film = &self.films[key.storage as usize];
        film.evict(key.piece..key.piece + 1).is_ok() && film.insert(key.piece, bytes).is_ok()
    }
}

/// The name of a scheme.
#[must_use]
pub fn scheme<R: Reclaim>() -> &'static str {
    let path = std::any::type_name::<R>();
    path.rsplit("::").next().unwrap_or(path)
}

/// A snapshot of each film, kept.
pub struct Kept<R: Reclaim>(pub Arc<Films<R>>);

impl<R: Reclaim> Contender for Kept<R> {
    const KEPT: bool = true;

    fn name(&self) -> String {
        self.0.name("snapshot kept")
    }

    fn read<B: Body>(&self, body: B) -> B::Output {
        let readers = self.0.readers();
        let snapshots: Vec<_> = readers.iter().map(Reader::snapshot).collect();
        body.run(|key| match snapshots.get(key.storage as usize) {
            Some(snapshot) => snapshot.get(key.piece).map_or(0, touch),
            None => 0,
        })
    }

    fn replace(&self, key: Key, bytes: &[u8]) -> bool {
        self.0.replace(key, bytes)
    }
}

/// A snapshot for each hit, by a reader of each film that is kept.
pub struct PerCall<R: Reclaim>(pub Arc<Films<R>>);

impl<R: Reclaim> Contender for PerCall<R> {
    fn name(&self) -> String {
        self.0.name("snapshot per call")
    }

    fn read<B: Body>(&self, body: B) -> B::Output {
        let readers = self.0.readers();
        body.run(|key| match readers.get(key.storage as usize) {
            Some(reader) => reader.snapshot().get(key.piece).map_or(0, touch),
            None => 0,
        })
    }

    fn replace(&self, key: Key, bytes: &[u8]) -> bool {
        self.0.replace(key, bytes)
    }
}

/// `Storage::get`: no reader, a handle for each hit.
pub struct Convenience<R: Reclaim>(pub Arc<Films<R>>);

impl<R: Reclaim> Contender for Convenience<R> {
    fn name(&self) -> String {
        self.0.name("without a reader")
    }

    fn read<B: Body>(&self, body: B) -> B::Output {
        body.run(|key| match self.0.films.get(key.storage as usize) {
            Some(film) => film.get(key.piece).map_or(0, |held| touch(&held)),
            None => 0,
        })
    }

    fn replace(&self, key: Key, bytes: &[u8]) -> bool {
        self.0.replace(key, bytes)
    }
}

/// A snapshot and an owned handle for each hit, by a reader of each film that is kept.
pub struct HeldHandle<R: Reclaim>(pub Arc<Films<R>>);

impl<R: Reclaim> Contender for HeldHandle<R> {
    fn name(&self) -> String {
        self.0.name("Held handle")
    }

    fn read<B: Body>(&self, body: B) -> B::Output {
        let readers = self.0.readers();
        body.run(|key| match readers.get(key.storage as usize) {
            Some(reader) => {
                let held = reader.snapshot().held(key.piece);
                held.map_or(0, |held| touch(&held))
            }
            None => 0,
        })
    }

    fn replace(&self, key: Key, bytes: &[u8]) -> bool {
        self.0.replace(key, bytes)
    }
}
