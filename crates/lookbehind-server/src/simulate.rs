//! `lookbehind simulate`.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use lookbehind_simulator::budget::{Budget, percent};
use lookbehind_simulator::find::find_budget;
use lookbehind_simulator::measure::{Measure, measure};
use lookbehind_simulator::policies::{Policy, Unbuilt, build};
use lookbehind_simulator::replay::{Run, replay};
use lookbehind_simulator::report::{Report, Row, csv, found_json, found_text, json, plot, table};
use lookbehind_simulator::trace::{Error, TraceFile};

use crate::cli::size;
use crate::generate::to_stdout;

/// Whose budget is looked for if nobody says.
const DEFAULT: Policy = Policy::Density;

/// The options of `lookbehind simulate`.
#[derive(Args, Clone, Debug)]
pub struct SimulateArgs {
    /// The trace, plain or gzip
    #[arg(value_name = "TRACE")]
    pub trace: PathBuf,

    /// How much the caches hold: parts of what the trace touches (5%; of a live storage, of its
    /// window), numbers of pieces (300) or sizes (256MiB)
    #[arg(long, value_name = "LIST", value_parser = budget, value_delimiter = ',', default_value = "5%,10%,25%")]
    pub budget: Vec<Budget>,

    /// The policies; without it those that others know, and the library's own
    #[arg(long, value_name = "LIST", value_parser = policy(), value_delimiter = ',')]
    pub policy: Vec<Policy>,

    /// How to write the results
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    /// Also draw misses over budget, as SVG
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,

    /// Find the smallest budget whose misses are at most so many times those of infinite memory
    /// (say 1.1), for each of the policies (density without --policy)
    #[arg(long, value_name = "FACTOR", value_parser = factor, conflicts_with_all = ["budget", "plot"])]
    pub find_budget: Option<f64>,

    /// How much memory opt may take to look ahead: it needs four bytes for each access
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "2GiB")]
    pub opt_memory: u64,

    /// For policies that draw at random
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// To look at
    Table,
    /// All that is known
    Json,
    /// A line for each policy and budget
    Csv,
}

fn policy() -> impl TypedValueParser<Value = Policy> {
    PossibleValuesParser::new(Policy::all().map(Policy::name))
        .try_map(|name| name.parse::<Policy>())
}

/// A budget: `5%`, `300` pieces, `256MiB`.
fn budget(text: &str) -> Result<Budget, String> {
    let text = text.trim();
    let nothing = || "a budget is more than nothing".to_owned();
    if let Some(percent) = text.strip_suffix('%') {
        let percent: f64 = percent.trim().parse().map_err(|e| format!("{e} (say 5%)"))?;
        let fits = percent.is_finite() && percent > 0.0;
        return if fits { Ok(Budget::Percent(percent)) } else { Err(nothing()) };
    }
    let (number, make) = match text.parse() {
        Ok(pieces) => (pieces, Budget::Pieces as fn(u64) -> Budget),
        Err(_) => (size(text)?, Budget::Bytes as fn(u64) -> Budget),
    };
    if number > 0 { Ok(make(number)) } else { Err(nothing()) }
}

fn factor(text: &str) -> Result<f64, String> {
    let factor: f64 = text.parse().map_err(|e| format!("{e} (say 1.1)"))?;
    let fits = factor.is_finite() && factor >= 1.0;
    if fits { Ok(factor) } else { Err("no cache misses less than one of infinite memory".into()) }
}

/// A trace was not simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// It cannot be read.
    #[error(transparent)]
    Trace(#[from] Error),
    /// The results cannot be written.
    #[error("standard output: {0}")]
    Output(io::Error),
    /// The plot cannot be drawn or written.
    #[error("{}: {reason}", path.display())]
    Plot {
        /// The file that was to be.
        path: PathBuf,
        /// Why it is not.
        reason: String,
    },
    /// OPT was all that was asked for, and cannot look ahead.
    #[error("{0}")]
    TooLong(String),
    /// None of the policies takes the trace.
    #[error("none of the policies is left")]
    Nothing,
}

/// Simulates, and writes what came of it.
///
/// # Errors
/// If the trace cannot be read, or the results cannot be written.
pub fn run(args: &SimulateArgs) -> Result<(), SimulateError> {
    let trace = TraceFile::new(&args.trace)?;
    let mut bar = Bar::new(trace.bytes());
    let looks_ahead = match args.find_budget {
        Some(_) => args.policy.contains(&Policy::Opt),
        None => args.policy.is_empty() || args.policy.contains(&Policy::Opt),
    };
    let opt_memory = if looks_ahead { args.opt_memory } else { 0 };
    let measure = measure(&trace, opt_memory, &mut |bytes| bar.show("measuring", bytes))?;
    if looks_ahead && measure.next.is_none() {
        let reason = format!(
            "opt needs {} to look ahead in this trace, --opt-memory allows {}",
            ByteSize(measure.opt_bytes()),
            ByteSize(args.opt_memory)
        );
        if args.policy == [Policy::Opt] {
            return Err(SimulateError::TooLong(reason));
        }
        bar.clear();
        let _ = writeln!(io::stderr(), "lookbehind: {reason}: left out");
    }
    match args.find_budget {
        Some(factor) => find(args, &trace, &measure, factor, &mut bar),
        None => compare(args, &trace, measure, &mut bar),
    }
}

/// Says that a policy is left out, unless that was said already.
fn left_out(policy: Policy, why: &Unbuilt, bar: &mut Bar) {
    if !matches!(why, Unbuilt::TooLong) {
        bar.clear();
        let _ = writeln!(io::stderr(), "lookbehind: {policy}: {why}: left out");
    }
}

/// Every policy with every budget.
fn compare(
    args: &SimulateArgs,
    trace: &TraceFile,
    measure: Measure,
    bar: &mut Bar,
) -> Result<(), SimulateError> {
    let policies = if args.policy.is_empty() { &Policy::COMPARED[..] } else { &args.policy };
    let (mut rows, mut runs, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for budget in &args.budget {
        for &policy in policies {
            let pieces = budget.pieces(&measure);
            match build(policy, &measure, pieces, args.seed) {
                Ok(cache) => {
                    runs.push(Run::new(cache));
                    rows.push((policy, budget.percent(&measure), pieces));
                }
                Err(_) if missing.contains(&policy) => {}
                Err(why) => {
                    left_out(policy, &why, bar);
                    missing.push(policy);
                }
            }
        }
    }
    if runs.is_empty() {
        return Err(SimulateError::Nothing);
    }
    replay(trace, &measure, &mut runs, &mut |bytes| bar.show("replaying", bytes))?;
    bar.clear();
    let rows = rows.into_iter().zip(&runs).map(|((policy, budget_percent, pieces), run)| Row {
        policy,
        budget_percent,
        pieces,
        score: run.score,
    });
    let report = Report { rows: rows.collect(), measure };
    print(&match args.format {
        Format::Table => table(&report),
        Format::Json => format!("{:#}\n", json(&report)),
        Format::Csv => csv(&report),
    })?;
    let Some(path) = &args.plot else { return Ok(()) };
    let failed = |reason: String| SimulateError::Plot { path: path.clone(), reason };
    let image = plot(&report).map_err(|error| failed(error.to_string()))?;
    fs::write(path, image).map_err(|error| failed(error.to_string()))
}

/// The least budget for each policy.
fn find(
    args: &SimulateArgs,
    trace: &TraceFile,
    measure: &Measure,
    factor: f64,
    bar: &mut Bar,
) -> Result<(), SimulateError> {
    let policies = if args.policy.is_empty() { &[DEFAULT][..] } else { &args.policy };
    let mut founds = Vec::new();
    for &policy in policies {
        let mut progress = |bytes| bar.show("searching", bytes);
        match find_budget(trace, measure, policy, factor, args.seed, &mut progress)? {
            Ok(found) => founds.push((policy, found)),
            Err(why) => left_out(policy, &why, bar),
        }
    }
    bar.clear();
    if founds.is_empty() {
        return Err(SimulateError::Nothing);
    }
    let text = match args.format {
        Format::Table => {
            let texts =
                founds.iter().map(|(policy, found)| found_text(measure, *policy, factor, found));
            texts.collect::<Vec<_>>().join("\n")
        }
        Format::Json => {
            let values =
                founds.iter().map(|(policy, found)| found_json(measure, *policy, factor, found));
            format!("{:#}\n", values.collect::<serde_json::Value>())
        }
        Format::Csv => {
            let rows = founds.into_iter().map(|(policy, found)| Row {
                policy,
                budget_percent: percent(found.pieces, measure),
                pieces: found.pieces,
                score: found.score,
            });
            csv(&Report { rows: rows.collect(), measure: measure.clone() })
        }
    };
    print(&text)
}

fn print(text: &str) -> Result<(), SimulateError> {
    to_stdout(&mut |out| out.write_all(text.as_bytes())).map_err(SimulateError::Output)
}

/// Before this, nobody wants to know how far it is.
const PATIENCE: Duration = Duration::from_millis(500);

/// How far a pass over the trace has come; shown on a terminal, if it takes a while.
struct Bar {
    begun: Instant,
    bytes: u64,
    bar: Option<ProgressBar>,
}

impl Bar {
    fn new(bytes: u64) -> Bar {
        Bar { begun: Instant::now(), bytes, bar: None }
    }

    fn show(&mut self, what: &'static str, bytes: u64) {
        if self.begun.elapsed() < PATIENCE {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            // On anything but a terminal it is invisible.
            let bar = ProgressBar::new(self.bytes);
            let style = ProgressStyle::with_template("{msg} {wide_bar} {percent}%");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        bar.set_message(what);
        bar.set_position(bytes);
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_parts_pieces_or_sizes() {
        assert_eq!(budget("5%"), Ok(Budget::Percent(5.0)));
        assert_eq!(budget("2.5 %"), Ok(Budget::Percent(2.5)));
        assert_eq!(budget("300"), Ok(Budget::Pieces(300)));
        assert_eq!(budget("1GiB"), Ok(Budget::Bytes(1 << 30)));
        for bad in ["0", "0%", "-5%", "NaN%", "inf%", "0MiB", "-3", "much", ""] {
            assert!(budget(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn factors_are_at_least_one() {
        assert_eq!(factor("1.1"), Ok(1.1));
        for bad in ["0.9", "-1", "NaN", "inf", "tenth"] {
            assert!(factor(bad).is_err(), "{bad}");
        }
    }
}
