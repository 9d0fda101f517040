//! See `lookbehind_fuzz::layout_range`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| lookbehind_fuzz::layout_range::run(data));

#[cfg(not(fuzzing))]
fn main() {}
