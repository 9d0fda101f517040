//! The options of the program and how their values are written.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use lookbehind::Extent;

use crate::generate::GenerateArgs;
use crate::simulate::SimulateArgs;

/// Streams films through a piece cache in memory.
#[derive(Debug, Parser)]
#[command(name = "lookbehind", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How programs that serve films end.
pub const STOPPING: &str = "SIGINT and SIGTERM end the program: no new connections, transfers may go on \
     for 5 s, exit code 0. A second signal ends it at once, with 130 or 143.";

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve films over HTTP
    #[command(after_help = STOPPING)]
    Serve(ServeArgs),
    /// Replay a trace of players through eviction policies
    Simulate(SimulateArgs),
    /// Write a synthetic trace of players
    Generate(GenerateArgs),
}

/// The options of `lookbehind serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// The films; without one, a clip that the program carries
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// What does not depend on where the films come from.
    #[command(flatten)]
    pub server: ServerArgs,

    /// Length of a piece; at most half the budget
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "1MiB")]
    pub piece_size: u64,

    /// Makes the origin answer late, to try the cache against
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "0s")]
    pub origin_delay: Duration,

    /// Makes the origin slow: all fetches together at this rate (20Mbit, 2MB)
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub origin_rate: Option<u64>,
}

/// The options of every program that serves films.
#[derive(Args, Clone, Debug)]
pub struct ServerArgs {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Allow to listen where other machines can connect: there is no access control yet
    #[arg(long)]
    pub insecure: bool,

    /// A further name or address that a request's Host header may give (can be repeated)
    #[arg(long = "allow-host", value_name = "HOST")]
    pub allow_hosts: Vec<String>,

    /// All the memory that the cache may use
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "256MiB")]
    pub budget: u64,

    /// How far to fetch ahead of a player: a time (60s) or a size (64MiB)
    #[arg(long, value_name = "SPAN", value_parser = span, default_value = "60s")]
    pub ahead: Extent,

    /// How much to keep behind a player: a time (60s) or a size (64MiB)
    #[arg(long, value_name = "SPAN", value_parser = span, default_value = "60s")]
    pub behind: Extent,

    /// Bit rate by which times become sizes, for films that do not tell their own
    #[arg(long, value_name = "RATE", value_parser = rate, default_value = "8Mbit")]
    pub bitrate: u64,

    /// How long a client may take nothing of its answer before it is cut off; a player that pauses for
    /// longer has to connect anew; 0s for no limit
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "5min")]
    pub send_timeout: Duration,

    /// Writes what viewers do to this new file, as a trace for `lookbehind simulate`
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
}

/// A size in bytes: `65536`, `256MiB`, `1.5GB`.
pub fn size(text: &str) -> Result<u64, String> {
    if text.starts_with(['-', '+']) {
        return Err("a size has no sign".into());
    }
    let size: bytesize::ByteSize = text.parse().map_err(|e| format!("{e} (say 256MiB)"))?;
    Ok(size.as_u64())
}

/// A rate in bytes per second: `20Mbit`, `800kbit/s`, `2MB`.
pub fn rate(text: &str) -> Result<u64, String> {
    let text = text.trim().trim_end_matches("/s");
    let lower = text.to_ascii_lowercase();
    let bytes = match lower.strip_suffix("bits").or(lower.strip_suffix("bit")) {
        // bytesize knows the prefixes; only the unit differs.
        Some(number) if number.ends_with(|c: char| c.is_ascii_alphabetic()) => {
            size(&format!("{number}b"))? / 8
        }
        Some(number) => size(number)? / 8,
        None => size(text)?,
    };
    if bytes == 0 {
        return Err("a rate is at least one byte per second (say 20Mbit)".into());
    }
    Ok(bytes)
}

/// A stretch of a film: `30s`, `2min`, `500ms` or `64MiB`.
pub fn span(text: &str) -> Result<Extent, String> {
    let text = text.trim();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == ' ');
    match unit {
        // Without a unit nobody can tell what was meant.
        "" if text != "0" => Err("a span needs a unit: a time (60s) or a size (64MiB)".into()),
        // Named one by one, for elsewhere M means months.
        "ms" | "s" | "sec" | "secs" | "seconds" | "m" | "min" | "mins" | "minutes" | "h" => {
            let time = humantime::parse_duration(text).map_err(|e| format!("{e} (say 60s)"))?;
            Ok(Extent::Time(time))
        }
        _ => Ok(Extent::Bytes(size(text)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("256MiB"), Ok(256 << 20));
        assert_eq!(size("65536"), Ok(65536));
        assert_eq!(size("1KB"), Ok(1000));
        assert!(size("-1").is_err() && size("").is_err() && size("much").is_err());
    }

    #[test]
    fn rates_are_in_bits_or_bytes() {
        assert_eq!(rate("20Mbit"), Ok(2_500_000));
        assert_eq!(rate("20Mbit/s"), Ok(2_500_000));
        assert_eq!(rate("800kbit"), Ok(100_000));
        assert_eq!(rate("80bit"), Ok(10));
        assert_eq!(rate("2MB"), Ok(2_000_000));
        assert!(rate("0").is_err() && rate("fast").is_err());
    }

    #[test]
    fn spans_are_times_or_sizes() {
        assert!(matches!(span("30s"), Ok(Extent::Time(t)) if t == Duration::from_secs(30)));
        assert!(matches!(span("2min"), Ok(Extent::Time(t)) if t == Duration::from_secs(120)));
        assert!(matches!(span("64MiB"), Ok(Extent::Bytes(n)) if n == 64 << 20));
        assert!(matches!(span("64M"), Ok(Extent::Bytes(n)) if n == 64_000_000));
        assert!(matches!(span("0"), Ok(Extent::Bytes(0))));
        assert!(span("30").is_err() && span("soon").is_err());
    }

    #[test]
    fn the_command_line_holds_together() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
