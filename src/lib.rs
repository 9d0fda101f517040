//! A lock-free RCU piece cache in RAM for streaming media.
//!
//! Pieces of films arrive from a swarm, an HTTP origin or an object store, are assembled from
//! blocks, verified, published in a versioned table, read by many players at once through
//! snapshots, kept for as long as a player is likely to want them, evicted, and their memory
//! reused. Three promises:
//!
//! 1. **Never a byte over budget.** Pieces arriving, published, unpublished but still reachable,
//!    kept for reuse, and the tables: all of it counts, and is reserved before it is allocated.
//! 2. **Never a reader blocked, never a use after free.** Readers take snapshots; they wait for
//!    no lock, no writer and no destructor.
//! 3. **The right pieces stay.** Eviction knows the playheads: what is about to be played, and
//!    what a viewer may seek back to.
//!
//! ```
//! use lookbehind::{Cache, Layout};
//!
//! let cache = Cache::builder().budget(64 << 20).build()?;
//! let film = cache.add_storage(Layout::fixed(3_000_000, 1 << 20)?)?;
//!
//! film.insert(0, &vec![1; 1 << 20])?; // a whole piece
//! film.write(1, 0, &vec![2; 1 << 20])?; // or block by block, then
//! film.commit(1)?;
//!
//! let reader = film.reader();
//! let snapshot = reader.snapshot(); // a point in time
//! assert_eq!(snapshot.get(1).unwrap()[0], 2); // borrowed, no copy
//! let held = film.get(0)?; // outlives snapshot and eviction
//! film.evict(0..1)?;
//! assert_eq!(held[0], 1);
//! # Ok::<(), lookbehind::Error>(())
//! ```
//!
//! The modules, in the order in which a piece passes through them: ingest (blocks become
//! pieces), table (versions), read (handles, waits, players), evict (what goes), retire (when
//! its memory may be used again), memory (budget and buffers).
//!
//! # Invariants
//!
//! The code cites these by number.
//!
//! 1. The six [`States`] together never exceed the effective budget, at any instant. Memory is
//!    reserved before it is allocated. In need, in this order: what handles returned and what is
//!    pooled, what has passed its grace period, eviction by policy; then a caller that may wait
//!    waits until its deadline, and one that may not gets [`Error::BudgetExhausted`]. Lowering
//!    the budget binds new reservations at once; evictions alone, which need the nodes of a new
//!    version before they free those of the old one, may still use what was kept for them, never
//!    above what bound before, and follow what is resident down to the new limit. Not counted is
//!    what a user's own objects take: caches (10 KiB each, with the first 512 seats of their
//!    roster), films (a KiB each), handles, readers (a line of lanes each), players, waits; nor what allocator and system add, the rest of
//!    [huge pages](CacheBuilder::huge_pages) included.
//! 2. Protection is an order of preference, never a veto: what is named by `reserve` and
//!    `set_lookbehind`, and with a policy that does not weigh them itself the windows of players.
//!    Pinned pieces go last, for they free nothing. The first block of a piece reserves the whole piece; assemblies together take at
//!    most half the budget.
//! 3. A version never changes. Every publish and every eviction makes a new version, installed by
//!    one successful compare-and-swap.
//! 4. What a snapshot shows is readable until it is dropped.
//! 5. Unverified bytes are never shown as a piece. Each byte range of an assembly is claimed
//!    before it is written, and written bytes are never written again. Unwritten bytes are never
//!    readable.
//! 6. A handle to a removed storage, or an id whose slot is used again, fails with
//!    [`Error::UnknownStorage`]; ids carry a generation.
//! 7. Every wait ends: by the piece, deadline, removal, abort or drop, and says which. Publishing
//!    hands a counted handle to each waiter, so that no eviction comes in between.
//! 8. No reader runs a destructor of a piece or of a table node. The last drop of a [`Held`]
//!    puts the buffer on a lock-free list that writers take back.
//! 9. A borrowed hit of a piece that was read before in the same few dozen versions, and not looked at
//!    by an eviction since, writes nothing that another reader's hit reads or writes.
//! 10. [`Observer`]s are told of each eviction exactly once, on the evicting thread, outside
//!     every lock, before the piece is unpublished.
//! 11. Abort is idempotent: pending waits end, later writes and waits fail, what is present stays
//!     readable.
//!
//! # Locks
//!
//! Reading, publishing and evicting take none, and a thread that is parked anywhere in them stops
//! nobody: nor do those hints that evictions share, the seats of the roster, the runners-up of the
//! last sample, and the marks of films where something waits, which are words of their own. It keeps some of the budget: a buffer and the nodes of a version that are on their way,
//! the version that it looks into and a leaf of it, and the piece that it looks at (those of its
//! range in the leaf, in [`Storage::evict`]). Parked in a pass, it stops reclaiming in that storage.
//! Who finds no room for its sake is told so, as for a stalled snapshot's.
//!
//! These exist beside them, each held for a few map operations, never while copying, hashing,
//! allocating a piece or calling a user's code: the lists of waits, of fetches under way and of
//! wakers, and each wait's own state, into which a writer looks only where somebody is registered;
//! the map of open assemblies, and the map of ranges, the buffer and the hasher of each, into which
//! `insert` looks only while blocks are arriving in the same storage; changes of the directory of
//! storages, for which only such changes wait; the fitting of windows, when a player opens, closes
//! or changes what it asks for; what [`Density`] has counted of viewers, when a player opens, jumps,
//! pauses or closes, for the microseconds in which its tables are made anew; the timer's queue. With [`Hyaline`] a snapshot takes a mutex of
//! seize's. A pass of the reclaimer is made by one thread at a time, and nobody waits for it.
//!
//! # Faults
//!
//! A verifier, an observer, a policy or a waker that panics, when it is called or when it is
//! dropped, is caught; the panic hook reports it. (A waker that panics when it is cloned does so in
//! the poll of its own task.) If the allocator refuses what the budget counts, buffers, nodes,
//! maps and lists of segments, the call fails with [`Error::OutOfMemory`] and changes nothing that
//! it cannot repeat. What is small and not counted, as an entry of a list of waits or a reader's
//! lanes, ends the program if it cannot be had, as everywhere in Rust.
#![cfg_attr(loom, allow(dead_code, unused_imports))]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("sizes of pieces and budgets are computed in 64 bits");

mod cache;
mod clock;
mod error;
mod evict;
mod film;
mod foreign;
pub mod global;
mod grown;
mod id;
mod ingest;
mod layout;
mod marks;
mod memory;
#[cfg(loom)]
#[doc(hidden)]
pub mod model;
mod read;
mod retire;
mod shared;
mod stats;
mod storage;
mod sync;
mod table;
#[cfg(feature = "validate")]
mod validate;
mod wake;

pub use cache::{Cache, CacheBuilder, Wait};
pub use clock::Clock;
pub use error::{Error, Result};
pub use evict::density::{Density, Term};
pub use evict::observe::{Eviction, Observer, Reason};
pub use evict::policy::{Action, Candidate, NextUse, PlayerEvent, Policy, Scene, Watcher};
pub use evict::protect::{ASSUMED_BITRATE, Extent, Protection};
pub use id::StorageId;
pub use ingest::assembly::Arriving;
pub use ingest::verify::{
    DigestVerifier, FnVerifier, PieceHasher, Sha1Verifier, Sha256Verifier, Verifier, verify_fn,
};
pub use layout::Layout;
pub use read::held::Held;
pub use read::player::{Player, PlayerConfig, Viewer};
pub use read::wait::WaitPiece;
pub use read::wanted::{Cancelled, Fetch, Wanted};
pub use retire::{Epoch, Hyaline, Interval, Reclaim};
pub use stats::{States, Stats, StorageStats, WindowStats};
pub use storage::{Insert, LookbehindStats, Progress, Storage, StorageOptions};
#[cfg(counted)]
#[doc(hidden)]
pub use sync::counted;
pub use table::snapshot::{Reader, Snapshot};

/// The README's example is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
