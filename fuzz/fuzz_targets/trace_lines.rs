//! See `lookbehind_fuzz::trace_lines`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| lookbehind_fuzz::trace_lines::run(data));

#[cfg(not(fuzzing))]
fn main() {}
