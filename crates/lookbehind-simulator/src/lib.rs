//! Replays what players did through eviction policies, and says how well each did.
//!
//! The modules stand in the order of a trace's way:
//!
//! 1. [`trace`] reads it, line by line; [`measure`] goes over it once and says what is in it.
//! 2. [`budget`] makes capacities of it, [`policies`] are built for these; [`players`] knows where
//!    each viewer is, for all of them.
//! 3. [`replay`](mod@replay) goes over the trace once more and asks all policies at once; [`score`] counts.
//! 4. [`find`] looks for the least budget that is good enough.
//! 5. [`report`] writes rows as a table, CSV, JSON or a plot.
//!
//! [`generate`] makes traces of known distributions.
//!
//! A trace is never in memory. What is kept grows with the pieces that it touches and the viewers
//! that are open at once; only OPT, which looks ahead, keeps four bytes for each access.

#![forbid(unsafe_code)]

pub mod budget;
mod films;
pub mod find;
pub mod generate;
pub mod measure;
pub mod players;
pub mod policies;
pub mod replay;
pub mod report;
pub mod score;
pub mod trace;
