//! Handles: numbers that name something of the library's.
//!
//! The top byte says of what kind it is, the others are a serial number that is never used again.
//! So a handle that was closed, one of another kind, zero, and nearly all that is invented are
//! found in no table, and refused.
//!
//! What a handle stands for is taken out of its table when it is closed, and goes with the last call
//! that uses it. A lock is held for one map operation, as for pins; nothing is kept for a thread, so
//! that one which ends, and whose places have gone, can still close what it has.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use dashmap::DashMap;

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

/// All live handles of one kind.
pub(crate) struct Table<T> {
    kind: Kind,
    live: LazyLock<DashMap<u64, Arc<T>>>,
}

impl<T> Table<T> {
    pub(crate) const fn new(kind: Kind) -> Self {
        Self { kind, live: LazyLock::new(DashMap::new) }
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
        self.live.insert(handle, Arc::clone(&thing));
        (handle, thing)
    }

    /// What the handle stands for.
    pub(crate) fn get(&self, handle: u64) -> Result<Arc<T>> {
        let found = self.live.get(&handle).map(|thing| Arc::clone(&thing));
        found.ok_or(Failure::InvalidHandle { handle, kind: self.kind })
    }

    /// Ends the handle: to one caller it gives what it stood for.
    pub(crate) fn remove(&self, handle: u64) -> Result<Arc<T>> {
        let removed = self.live.remove(&handle).map(|(_, thing)| thing);
        removed.ok_or(Failure::InvalidHandle { handle, kind: self.kind })
    }
}
