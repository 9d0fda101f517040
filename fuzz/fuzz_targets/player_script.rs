//! See `lookbehind_fuzz::player_script`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| lookbehind_fuzz::player_script::run(data));

#[cfg(not(fuzzing))]
fn main() {}
