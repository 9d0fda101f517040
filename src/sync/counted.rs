//! The atomics of `std`, noting what a thread does to which memory: `--cfg counted`, for a test.
//!
//! How hits scale over many processors is decided by the lines that they write: one that others
//! read or write has to travel. Two processors cannot measure that; but it can be counted, and
//! `tests/counted.rs` does, line by line. Each atomic is laid out as `std`'s, so that what shares a
//! line here shares it in what ships. Locks and [`Owned`](super::Owned) values are noted as well.
//!
//! Not noted:
//! - Plain writes. A snapshot counts its hits in cells of its own, on its owner's stack or wherever
//!   he keeps it: no other thread looks there, and when it is dropped the sums go to its lane. And a
//!   plain write to what two readers reach would be a data race, which TSan looks for.
//! - What other crates and `Arc`s write. A borrowed hit calls none of them (`Snapshot::slices`
//!   does: it loads the layout from an `ArcSwap`), nor does taking a snapshot with the default
//!   scheme. With the others it calls their collectors: there only kept snapshots are counted.
#![allow(dead_code, reason = "all atomics have the same methods")]

use std::cell::RefCell;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::atomic;
pub(crate) use std::sync::atomic::{Ordering, fence};

/// What is done to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is read.
    Load,
    /// It is written.
    Store,
    /// Both in one step, also if nothing changes by it: the line has to be the processor's alone.
    ReadModifyWrite,
}

/// One access to memory that threads may share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// What was done.
    pub kind: Kind,
    /// The address.
    pub at: usize,
    /// Bytes at that address.
    pub len: usize,
}

impl Access {
    /// Whether the line must be this processor's alone.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.kind != Kind::Load
    }

    /// The numbers of the lines that it touches, if a line has `size` bytes.
    #[must_use]
    pub fn lines(&self, size: usize) -> RangeInclusive<usize> {
        self.at / size..=(self.at + self.len - 1) / size
    }
}

thread_local! {
    /// What this thread has done since it began to record.
    static RECORD: RefCell<Option<Vec<Access>>> = const { RefCell::new(None) };
}

/// Runs `f`; with each access that it makes on this thread.
pub fn record<T>(f: impl FnOnce() -> T) -> (T, Vec<Access>) {
    RECORD.set(Some(Vec::new()));
    let result = f();
    (result, RECORD.take().unwrap_or_default())
}

/// Notes an access to `place`, if this thread records.
pub(crate) fn note<T>(kind: Kind, place: &T) {
    // A thread that ends may have no record any more.
    let _ = RECORD.try_with(|record| {
        if let Some(accesses) = record.borrow_mut().as_mut() {
            let at = std::ptr::from_ref(place).addr();
            accesses.push(Access { kind, at, len: size_of::<T>().max(1) });
        }
    });
}

macro_rules! counted {
    ($($name:ident $(<$T:ident>)? of $value:ty: $($change:ident)*;)*) => {$(
        #[repr(transparent)]
        pub(crate) struct $name $(<$T>)? (atomic::$name $(<$T>)?);

        impl $(<$T>)? $name $(<$T>)? {
            pub(crate) const fn new(value: $value) -> Self {
                Self(atomic::$name::new(value))
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                note(Kind::Load, self);
                self.0.load(order)
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                note(Kind::Store, self);
                self.0.store(value, order);
            }

            pub(crate) fn compare_exchange(
                &self,
                from: $value,
                to: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                note(Kind::ReadModifyWrite, self);
                self.0.compare_exchange(from, to, success, failure)
            }

            pub(crate) fn compare_exchange_weak(
                &self,
                from: $value,
                to: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                note(Kind::ReadModifyWrite, self);
                self.0.compare_exchange_weak(from, to, success, failure)
            }

            pub(crate) fn fetch_update(
                &self,
                success: Ordering,
                failure: Ordering,
                change: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                note(Kind::ReadModifyWrite, self);
                self.0.fetch_update(success, failure, change)
            }

            $(pub(crate) fn $change(&self, by: $value, order: Ordering) -> $value {
                note(Kind::ReadModifyWrite, self);
                self.0.$change(by, order)
            })*
        }

        impl $(<$T>)? Default for $name $(<$T>)? {
            fn default() -> Self {
                Self(Default::default())
            }
        }

        impl $(<$T>)? fmt::Debug for $name $(<$T>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

counted! {
    AtomicBool of bool: swap fetch_and fetch_or;
    AtomicPtr<T> of *mut T: swap;
    AtomicU8 of u8: swap fetch_and fetch_or fetch_add fetch_sub fetch_max;
    AtomicU32 of u32: swap fetch_and fetch_or fetch_add fetch_sub fetch_max;
    AtomicU64 of u64: swap fetch_and fetch_or fetch_add fetch_sub fetch_max;
    AtomicUsize of usize: swap fetch_and fetch_or fetch_add fetch_sub fetch_max;
}
