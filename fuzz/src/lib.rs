//! Fuzz targets: each drives the library by its public interface as the input says, and compares
//! it with a slow and plain model that shares no code with it.
//!
//! A target is a function of bytes. `scripts/fuzz.sh` runs it under libFuzzer; the tests of this
//! package replay the committed corpus on any toolchain.
#![cfg(any(fuzzing, test))]

pub mod assemble;
pub mod evict_model;
mod input;
pub mod layout_range;
mod memory;
pub mod player_script;
#[cfg(test)]
mod replay;
pub mod trace_lines;
