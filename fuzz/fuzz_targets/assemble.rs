//! See `lookbehind_fuzz::assemble`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| lookbehind_fuzz::assemble::run(data));

#[cfg(not(fuzzing))]
fn main() {}
