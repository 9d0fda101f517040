//! See `lookbehind_fuzz::evict_model`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| lookbehind_fuzz::evict_model::run(data));

#[cfg(not(fuzzing))]
fn main() {}
