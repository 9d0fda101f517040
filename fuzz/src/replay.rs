//! Replays the committed corpus, and some inputs drawn at random, so that the targets are run by
//! every `cargo test`.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};

/// Inputs drawn at random for each target.
const DRAWN: usize = 200;
/// Their length at most.
const LONGEST: usize = 400;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in &files {
        let data = fs::read(file).unwrap();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&data))) {
            eprintln!("{} fails on {}", target, file.display());
            resume_unwind(panic);
        }
    }
}

fn draw(target: &str, run: fn(&[u8])) {
    let given = std::env::var("LOOKBEHIND_SEED").ok().and_then(|text| text.parse().ok());
    let seed: u64 = given.unwrap_or_else(rand::random);
    println!("LOOKBEHIND_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for number in 0..DRAWN {
        let mut data = vec![0; rng.random_range(0..LONGEST)];
        rng.fill_bytes(&mut data);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&data))) {
            eprintln!("{target} fails on input {number} of seed {seed}: {data:?}");
            resume_unwind(panic);
        }
    }
}

macro_rules! targets {
    ($($name:ident),*) => {$(
        mod $name {
            #[test]
            fn the_corpus_passes() {
                super::replay(stringify!($name), crate::$name::run);
            }

            #[test]
            fn inputs_drawn_at_random_pass() {
                super::draw(stringify!($name), crate::$name::run);
            }
        }
    )*};
}

targets!(layout_range, assemble, evict_model, player_script, trace_lines);
