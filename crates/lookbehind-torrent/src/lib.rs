//! The program `lookbehind-torrent`: the films of a torrent, streamed over HTTP while they are
//! downloaded, as their viewers go.
//!
//! From the outside in:
//!
//! 1. [`cli`] reads the options, [`serve`] brings up the parts and ends them in their order; the
//!    HTTP server is that of `lookbehind serve`.
//! 2. [`swarm`] keeps a session going on a thread of its own, and says how it does.
//! 3. [`session`] is libtorrent with its pieces in a cache, called through `ffi`; its other side is
//!    `session.cpp`, and behind that the adapter in `crates/libtorrent`.
//!
//! Nothing here drives the download: a response is a player of the cache, which knows what it
//! will need, and the adapter asks the cache and tells libtorrent.
//!
//! [`seeder`] is for the program `lookbehind-seed`, to try the first against.

pub mod cli;
mod ffi;
pub mod seeder;
pub mod serve;
pub mod session;
pub mod swarm;
