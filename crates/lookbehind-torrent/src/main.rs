//! The program that streams.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use lookbehind_server::program;
use lookbehind_server::serve::runtime;
use lookbehind_torrent::cli::Cli;
use lookbehind_torrent::serve::serve;

fn main() -> ExitCode {
    let args = Cli::parse();
    program::run("lookbehind-torrent", runtime(0), serve(args))
}
