//! Handles: numbers that name something of the library's.
//!
//! The top byte says of what kind it is, the others are a serial number that is never used again.
//! So a handle that was closed, one of another kind, zero, and nearly all that is invented are
//! found in no table, and refused.
//!
//! What a handle stands for is taken out of its table at once when it is closed, and goes with
//! the last call that uses it. The map itself frees its entries some time later, when no lookup can
//! be at them any more; what it keeps that long is an empty shell.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwapOption;

use crate::call::{Failure, Result};

/// What a handle may stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Cache = 1,
    Storage = 2,
    Player = 3,
    Read = 4,
    Fetch = 5,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Cache => "cache",
            Kind::Storage => "storage",
            Kind::Player => "player",
            Kind::Read => "read",
            Kind::Fetch => "fetch",
        })
    }
}

const SERIAL_BITS: u32 = 56;

/// All live handles of one kind. Lookups take no lock.
pub(crate) struct Table<T> {
    kind: Kind,
    live: LazyLock<papaya::HashMap<u64, ArcSwapOption<T>>>,
}

impl<T> Table<T> {
    pub(crate) const fn new(kind: Kind) -> Self {
        Self { kind, live: LazyLock::new(papaya::HashMap::new) }
    }

    /// A new handle.
    pub(crate) fn add(&self, thing: Arc<T>) -> u64 {
        self.add_with(|_| thing).0
    }

    /// The same for a thing that knows its handle.
    pub(crate) fn add_with(&self, make: impl FnOnce(u64) -> Arc<T>) -> (u64, Arc<T>) {
        // One counter for all kinds. 56 bits last for two years of a handle every nanosecond.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let handle = (self.kind as u64) << SERIAL_BITS | serial;
        let thing = make(handle);
        self.live.pin().insert(handle, ArcSwapOption::new(Some(Arc::clone(&thing))));
        (handle, thing)
    }

    /// What the handle stands for.
    pub(crate) fn get(&self, handle: u64) -> Result<Arc<T>> {
        let live = self.live.pin();
        let found = live.get(&handle).and_then(ArcSwapOption::load_full);
        found.ok_or(Failure::InvalidHandle { handle, kind: self.kind })
    }

    /// Ends the handle: to one caller it gives what it stood for.
    pub(crate) fn remove(&self, handle: u64) -> Result<Arc<T>> {
        let live = self.live.pin();
        let removed = live.remove(&handle).and_then(|shell| shell.swap(None));
        removed.ok_or(Failure::InvalidHandle { handle, kind: self.kind })
    }
}
