//! The C interface of the Lookbehind piece cache.
//!
//! `include/lookbehind.h` is made of the public items of the modules below and their
//! documentation, which is written for its readers: each module is a section of the header, in
//! this order. It is a manual for programmers of C and C++; here stands how it is done.
//!
//! - **Handles** are numbers, never addresses: see `handle.rs`. A stale, invented or foreign one is
//!   refused.
//! - **Failures** are values of [`lb_status`](status::lb_status); the last one of each thread is kept
//!   with its figures, and put into words when somebody asks.
//! - **Panics** end in the function that was called, at `guard` in `call.rs`; one on the thread of a
//!   publisher or of the timer ends the read that it comes from.
//! - **Pins** are counted by address in a table of this crate: see [`pin`].
//! - **Locks.** The tables of handles and of pins are sharded, with a lock for one map operation. A
//!   player has a mutex, held while it is polled or told something. A read has one for its outcome. No
//!   callback is called under any of them.
//! - **Lifetimes.** The handles of a cache, of its films and of its players share one `Shared`, in
//!   `cache.rs`; with the last of them the cache is aborted, for a read that waits could never end
//!   otherwise. Calls that wait, reads and fetches do not keep it.
//!
//! A Rust program may link code in C or C++ that uses this interface, and pass it a cache of its
//! own: [`adopt`], [`cache`](fn@cache) and [`storage`](fn@storage) lead from one to the other. Both
//! sides then have to be linked with this crate as an rlib, for each copy of the crate has handles
//! of its own.
#![allow(non_camel_case_types, reason = "the names are those of the header")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the rules for pointers are said once, at the head of the header"
)]

mod bell;
mod call;
mod handle;

pub mod status;

pub mod cache;

pub mod storage;

pub mod ingest;

pub mod pin;

pub mod read;

pub mod player;

pub mod prefer;

pub mod wanted;

pub use cache::{adopt, cache};
pub use storage::storage;

#[cfg(test)]
mod tests;
