//! The program `lookbehind`: films from local files, streamed over HTTP through the cache.
//!
//! The modules stand in the order in which a request passes through them:
//!
//! 1. [`cli`] reads the options, [`app`] wires what they ask for, [`serve`] listens and stops;
//!    [`stall`] gives up on a client that takes nothing.
//! 2. [`host`] turns away what a rebound name brings, [`media`] answers for a film:
//!    [`conditions`] and [`range`] say what of it is asked for, [`viewer`] on whose behalf.
//! 3. [`film`] knows the storage that has its pieces; if they come from a file ([`source`]),
//!    [`editions`] sees to it that they are those of the file as it is, and [`probe`] guesses how
//!    fast it plays.
//! 4. [`origin`] fetches the pieces that the storage wants.
//! 5. [`body`] carries them out, [`multipart`] wraps several ranges.
//!
//! [`program`] is the frame of a program around all that: log, signals, exit code.
//!
//! Beside the films there are [`page`], [`api`] and [`metrics`], and [`record`] writes down who
//! watches; beside the server, [`simulate`] and [`generate`], with what happens in
//! `lookbehind_simulator`.
//!
//! The crate is a library so that its tests can start a server in their own process, and that
//! `lookbehind-torrent` can serve films in the same way; the interface to rely on is the programs'.

#![forbid(unsafe_code)]

pub mod api;
pub mod app;
pub mod body;
pub mod cli;
pub mod conditions;
pub mod editions;
pub mod film;
pub mod generate;
pub mod host;
pub mod media;
pub mod metrics;
pub mod multipart;
pub mod origin;
pub mod page;
pub mod probe;
pub mod program;
pub mod range;
pub mod record;
pub mod serve;
pub mod simulate;
pub mod source;
pub mod stall;
pub mod viewer;
