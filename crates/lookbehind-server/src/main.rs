//! The program: chooses what to do.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use lookbehind_server::cli::{Cli, Command, ServeArgs};
use lookbehind_server::program::{self, announce, ended, first_signal};
use lookbehind_server::serve::{Server, StartError, runtime};

const NAME: &str = "lookbehind";

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => program::run(NAME, runtime(args.files.len()), serve(args)),
        Command::Simulate(args) => ended(NAME, lookbehind_server::simulate::run(&args)),
        Command::Generate(args) => ended(NAME, lookbehind_server::generate::run(&args)),
    }
}

async fn serve(args: ServeArgs) -> Result<(), StartError> {
    // First of all: from here on a signal ends the program in good order.
    let mut stop = std::pin::pin!(first_signal()?);
    let server = tokio::select! {
        server = Server::bind(args) => server?,
        () = &mut stop => return Ok(()),
    };
    announce(&server);
    server.run(stop).await;
    Ok(())
}
