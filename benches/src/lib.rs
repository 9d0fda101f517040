//! Lookbehind beside its peers.
//!
//! Every benchmark is one body over a small trait, [`contender::Contender`], with one
//! implementation for each way to read each cache. What counts is ratios: contenders take turns
//! in one process, on threads that are pinned, in samples so short that one in which the thread
//! was preempted can be dropped. `cargo run --release -p lookbehind-benches` measures everything
//! and writes docs/benchmarks.md.
//!
//! This is a package of its own, and no default member of the workspace, so that nobody who uses
//! the library builds a peer.

pub mod contender;
pub mod contenders;
pub mod copying;
pub mod crowd;
pub mod draw;
pub mod evicting;
pub mod figures;
pub mod growth;
pub mod handles;
pub mod hits;
pub mod machine;
pub mod memory;
pub mod plot;
pub mod publish;
pub mod report;
pub mod rounds;
pub mod stalled;
pub mod stock;
pub mod tails;
pub mod thread;
pub mod waking;
