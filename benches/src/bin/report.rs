//! Measures everything and writes docs/benchmarks.md: `cargo run --release -p lookbehind-benches`.
//!
//! `-- hot tails` measures these sections alone and writes into target/benchmarks, `--quick` only
//! shows that it runs, and `--into FOLDER` writes elsewhere.

use std::error::Error;
use std::path::PathBuf;

use lookbehind_benches::report::{Effort, write};

fn main() -> Result<(), Box<dyn Error>> {
    let mut effort = Effort::full();
    let mut docs = None;
    let mut names = Vec::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => effort = Effort::quick(),
            "--into" => docs = Some(PathBuf::from(words.next().ok_or("--into what?")?)),
            option if option.starts_with('-') => return Err(format!("no option {option}").into()),
            _ => names.push(word),
        }
    }
    // A page of some sections is not to take the place of the whole one.
    let part = effort.quick || !names.is_empty();
    let docs = docs.unwrap_or_else(|| (if part { "target/benchmarks" } else { "docs" }).into());
    write(&docs, effort, &names)
}
