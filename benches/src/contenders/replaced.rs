//! The three designs of the system that Lookbehind replaces, with faults mended and locks left
//! as they were: one mutex around everything; a mutex for each storage, found under another one;
//! and a shared pointer that each thread keeps and compares by version, which that system had
//! under the name of read-copy-update.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ahash::RandomState;

use crate::contender::{Body, Contender};
use crate::stock::{Key, Piece, Stock, touch};

type Map<K, V> = HashMap<K, V, RandomState>;

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One mutex over one map.
pub struct OneMutex(Mutex<Map<Key, Piece>>);

impl OneMutex {
    /// With all pieces.
    #[must_use]
    pub fn new(stock: &Stock) -> Self {
        Self(Mutex::new(stock.iter().map(|(key, piece)| (key, Arc::clone(piece))).collect()))
    }
}

impl Contender for OneMutex {
    fn name(&self) -> String {
        "replaced: one mutex".into()
    }

    fn read<B: Body>(&self, body: B) -> B::Output {
        body.run(|key| {
            let piece = lock(&self.0).get(&key).cloned();
            piece.map_or(0, |piece| touch(&piece))
        })
    }

    fn replace(&self, key: Key, bytes: &[u8]) -> bool {
        let piece = Piece::from(bytes);
        let old = lock(&self.0).insert(key, piece);
        drop(old);
        true
    }
}

type Film = Arc<Mutex<Map<u32, Piece>>>;

/// A mutex for each storage, under one for their map.
pub struct MutexEach(Mutex<Map<u32, Film>>);

impl MutexEach {
    /// With all pieces.
    #[must_use]
    pub fn new(stock: &Stock) -> Self {
        let mut films: Map<u32, Film> = Map::default();
        for (key, piece) in stock.iter() {
            let film = films.entry(key.storage).or_default();
            lock(film).insert(key.piece, Arc::clone(piece));
        }
        Self(Mutex::new(films))
    }

    fn film(&self, storage: u32) -> Option<Film> {
        lock(&self.0).get(&storage).cloned()
    }
}

impl Contender for MutexEach {
    fn name(&self) -> String {
        "replaced: a mutex per storage".into()
    }

    fn read<B: Body>(&self, body: B) -> B::Output {
        body.run(|key| {
            let Some(film) = self.film(key.storage) else { return 0 };
            let piece = lock(&film).get(&key.piece).cloned();
            piece.map_or(0, |piece| touch(&piece))
        })
    }

    fn replace(&self, key: Key, bytes: &[u8]) -> bool {
        let Some(film) = self.film(key.storage) else { return false };
        let piece = Piece::from(bytes);
        let old = lock(&film).insert(key.piece, piece);
        drop(old);
        true
    }
}

struct Versioned {
    version: u64,
    map: Arc<Map<Key, Piece>>,
}

/// A map that is copied whole to be changed, behind a shared pointer of which each thread keeps
/// a copy; a mutex guards the version that says whether the copy is the newest.
pub struct ThreadLocal(Mutex<Versioned>);

impl ThreadLocal {
    /// With all pieces.
    #[must_use]
    pub fn new(stock: &Stock) -> Self {
        let map = stock.iter().map(|(key, piece)| (key, Arc::clone(piece))).collect();
        Self(Mutex::new(Versioned { version: next_version(), map: Arc::new(map) }))
    }

    fn map(&self) -> Arc<Map<Key, Piece>> {
        thread_local! {
            static KEPT: RefCell<Option<Versioned>> = const { RefCell::new(None) };
        }
        KEPT.with_borrow_mut(|kept| {
            let current = lock(&self.0);
            match kept {
                Some(kept) if kept.version == current.version => Arc::clone(&kept.map),
                _ => {
                    let map = Arc::clone(&current.map);
                    *kept = Some(Versioned { version: current.version, map: Arc::clone(&map) });
                    map
                }
            }
        })
    }
}

/// Unique, for threads keep one copy, whose cache ever it is of.
fn next_version() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

impl Contender for ThreadLocal {
    fn name(&self) -> String {
        "replaced: thread-local version check".into()
    }

    fn read<B: Body>(&self, body: B) -> B::Output {
        body.run(|key| self.map().get(&key).map_or(0, |piece| touch(piece)))
    }

    fn replace(&self, key: Key, bytes: &[u8]) -> bool {
        // There is one writer; so what is copied is the newest.
        let newest = Arc::clone(&lock(&self.0).map);
        let mut map = Map::clone(&newest);
        drop(newest);
        map.insert(key, Piece::from(bytes));
        let next = Versioned { version: next_version(), map: Arc::new(map) };
        let old = std::mem::replace(&mut *lock(&self.0), next);
        drop(old);
        true
    }
}
