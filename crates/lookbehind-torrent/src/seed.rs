//! The program that seeds, to try the other against.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use lookbehind_server::program::{self, first_signal};
use lookbehind_server::serve::{StartError, runtime};
use lookbehind_torrent::cli::SeedCli;
use lookbehind_torrent::seeder::Seeder;

fn main() -> ExitCode {
    let args = SeedCli::parse();
    program::run("lookbehind-seed", runtime(0), seed(args))
}

async fn seed(args: SeedCli) -> Result<(), StartError> {
    let stop = first_signal()?;
    let failed =
        |path: &std::path::Path, why| StartError::new(format!("{}: {why}", path.display()));
    let piece_len = u32::try_from(args.piece_size.unwrap_or(0))
        .map_err(|_| StartError::new("--piece-size must be below 2 GiB"))?;
    let seeder = Seeder::start(&args.path, args.listen, piece_len, args.only)
        .map_err(|why| failed(&args.path, why.to_string()))?;
    std::fs::write(&args.torrent, &seeder.torrent)
        .map_err(|why| failed(&args.torrent, why.to_string()))?;
    // Whoever started the program may have closed its output; that is no reason to stop.
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}\nseeding at {}", seeder.magnet, seeder.address);
    let _ = out.flush();
    drop(out);
    stop.await;
    Ok(())
}
