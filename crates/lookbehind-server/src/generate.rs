//! `lookbehind generate`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use lookbehind_simulator::generate::{BadRecipe, Kind, Recipe, generate};
use lookbehind_simulator::trace::write;

/// The options of `lookbehind generate`.
#[derive(Args, Clone, Debug)]
pub struct GenerateArgs {
    /// What kind of traffic: one viewer, a film that many watch, two hundred films, a live stream
    #[arg(value_parser = kind())]
    pub kind: Kind,

    /// The same seed gives the same trace
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// A viewer pauses or jumps after this time, on average
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "6min")]
    pub seek_every: Duration,

    /// How unequally popular the films are: Zipf's exponent
    #[arg(long, value_name = "EXPONENT", default_value_t = 0.8)]
    pub zipf: f64,

    /// So many times the usual number of viewers come; a solo viewer stays alone
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub load: f64,

    /// Where to write; standard output without it
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

fn kind() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(Kind::ALL.map(Kind::name)).try_map(|name| name.parse::<Kind>())
}

/// No trace was written.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// No trace can be made of these options.
    #[error(transparent)]
    Recipe(#[from] BadRecipe),
    /// It cannot be written.
    #[error("{place}: {source}")]
    Write {
        /// Where to.
        place: String,
        /// Why not.
        source: io::Error,
    },
}

/// Writes a trace.
///
/// # Errors
/// If the options make no sense, or the output fails.
pub fn run(args: &GenerateArgs) -> Result<(), GenerateError> {
    let GenerateArgs { kind, seed, seek_every, zipf, load, output } = args;
    let seek_every_s = seek_every.as_secs_f64();
    let (kind, seed, zipf, load) = (*kind, *seed, *zipf, *load);
    let recipe = Recipe { kind, seed, seek_every: seek_every_s, zipf, load };
    let trace = generate(&recipe)?;
    let title = format!(
        "lookbehind-trace 1 {} seed {seed}, an action every {}, zipf {zipf}, load {load}",
        kind.name(),
        humantime::format_duration(*seek_every)
    );
    let written =
        to(output.as_deref(), &mut |out| write(out, &title, &trace.storages, &trace.events));
    written.map_err(|source| {
        let place =
            output.as_ref().map_or("standard output".into(), |path| path.display().to_string());
        GenerateError::Write { place, source }
    })
}

/// Writes to a file or standard output. Whoever reads that may stop when there is enough.
fn to(
    path: Option<&Path>,
    content: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let Some(path) = path else { return to_stdout(content) };
    let mut out = BufWriter::new(File::create(path)?);
    content(&mut out)?;
    out.flush()
}

/// Writes to standard output, which may be closed before the end.
pub(crate) fn to_stdout(
    content: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match content(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            // Nor does anybody want the rest.
            let _ = out.into_parts();
            Ok(())
        }
        outcome => outcome,
    }
}
