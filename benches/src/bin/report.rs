//! Measures everything and writes docs/benchmarks.md: `cargo run --release -p lookbehind-benches`.
//!
//! `-- hot tails` measures these sections alone, `--quick` only shows that it runs, and
//! `--into FOLDER` writes elsewhere.

use std::error::Error;
use std::path::PathBuf;

use lookbehind_benches::report::{Effort, write};

fn main() -> Result<(), Box<dyn Error>> {
    let mut effort = Effort::full();
    let mut docs = PathBuf::from("docs");
    let mut names = Vec::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => effort = Effort::quick(),
            "--into" => docs = words.next().ok_or("--into what?")?.into(),
            option if option.starts_with('-') => return Err(format!("no option {option}").into()),
            _ => names.push(word),
        }
    }
    write(&docs, effort, &names)
}
