//! One page out of everything that is measured: docs/benchmarks.md, with plots and the figures
//! as JSON beside it.

mod bounded;
mod effort;
mod reading;
mod tables;
mod writing;

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, thread};

use serde_json::{Map, Value};

pub use self::effort::Effort;
use crate::machine;

/// A part of the page.
pub struct Section {
    /// Its heading.
    pub title: &'static str,
    /// What stands under it.
    pub text: String,
    /// The figures.
    pub figures: Value,
}

type Outcome = Result<Section, Box<dyn Error + Send + Sync>>;

/// What a section is given.
pub struct Scene {
    /// How much to measure.
    pub effort: Effort,
    /// Where plots go.
    pub plots: PathBuf,
}

type Measure = fn(&Scene) -> Outcome;

/// All sections, by the names under which they can be asked for.
pub const SECTIONS: [(&str, Measure); 12] = [
    ("hot", reading::hot),
    ("uniform", reading::uniform),
    ("tails", reading::tails),
    ("copied-tails", reading::copied_tails),
    ("growth", reading::growth),
    ("stalled", bounded::stalled),
    ("publish", writing::publish),
    ("evicting", writing::evicting),
    ("copying", writing::copying),
    ("handles", writing::handles),
    ("waking", writing::waking),
    ("memory", bounded::memory),
];

/// Measures the sections of these names, or all if there are none, and writes the page into
/// `docs`.
///
/// # Errors
/// If something cannot be written, or a name is unknown.
///
/// # Panics
/// If a measurement does.
pub fn write(docs: &Path, effort: Effort, names: &[String]) -> Result<(), Box<dyn Error>> {
    let unknown = names.iter().find(|name| !SECTIONS.iter().any(|(known, _)| known == name));
    if let Some(name) = unknown {
        let known: Vec<_> = SECTIONS.iter().map(|(name, _)| *name).collect();
        return Err(format!("no section {name}; there are {}", known.join(", ")).into());
    }
    let facts = machine::facts();
    let scene = Scene { effort, plots: docs.join("benchmarks") };
    fs::create_dir_all(&scene.plots)?;
    let mut page = opening(&scene.effort, &facts);
    let mut figures = Map::new();
    for (name, value) in facts {
        figures.insert(name.to_owned(), Value::String(value));
    }
    for (name, measure) in SECTIONS {
        if !names.is_empty() && !names.iter().any(|asked| asked == name) {
            continue;
        }
        eprintln!("measuring {name}");
        // On a thread of its own, for measuring binds threads to cores.
        let outcome = thread::scope(|scope| scope.spawn(|| measure(&scene)).join());
        let section = outcome.map_err(|_| format!("{name} panicked"))?;
        let section = section.map_err(|error| format!("{name}: {error}"))?;
        println!("## {}\n\n{}", section.title, section.text);
        write!(page, "\n## {}\n\n{}", section.title, section.text)?;
        figures.insert(name.to_owned(), section.figures);
    }
    fs::write(docs.join("benchmarks.md"), page)?;
    let figures = serde_json::to_string(&Value::Object(figures))?;
    fs::write(scene.plots.join("figures.json"), figures + "\n")?;
    Ok(())
}

fn opening(effort: &Effort, facts: &[(&str, String)]) -> String {
    let mut page = String::from(OPENING);
    if effort.quick {
        page.push_str(
            "\n**This was a quick run: it shows that all of it works, and no figure.**\n",
        );
    }
    page.push_str("\n| | |\n|---|---|\n");
    for (name, value) in facts {
        page.push_str(&format!("| {name} | {value} |\n"));
    }
    page
}

const OPENING: &str = "# Benchmarks

Written by `cargo run --release -p lookbehind-benches`, which measures all of it anew.

**Trust ratios, not nanoseconds.** Contenders take turns in one process, on threads that are bound
to their cores, in samples of less than a time slice; one in which the kernel took the core away is
dropped. A ratio is taken between samples of the same round, and the median of these is shown.
Every map hashes with ahash. The peers share the bytes of the pieces among each other; Lookbehind
has its own, in the buffers of its pool. Its statistics, visited marks and checks are on. Unless a
line says so it is not on huge pages, as nobody else is.

A peer that is ahead of Lookbehind in hits, publications or copies is named under the table; tails
are in order.
";
