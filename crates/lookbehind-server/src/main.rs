//! The program's frame: options, log, runtime, exit code.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use lookbehind_server::cli::{Cli, Command, ServeArgs};
use lookbehind_server::serve::{Server, StartError, runtime};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => serve_films(args),
        Command::Simulate(args) => ended(lookbehind_server::simulate::run(&args)),
        Command::Generate(args) => ended(lookbehind_server::generate::run(&args)),
    }
}

fn ended(outcome: Result<(), impl std::fmt::Display>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string()),
    }
}

fn serve_films(args: ServeArgs) -> ExitCode {
    start_log();
    let runtime = match runtime(args.files.len()) {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("cannot start the runtime: {error}")),
    };
    let outcome = runtime.block_on(serve(args));
    // A read that hangs (a network file system) must not keep the program from ending.
    runtime.shutdown_timeout(Duration::from_millis(200));
    ended(outcome)
}

async fn serve(args: ServeArgs) -> Result<(), StartError> {
    // First of all: from here on a signal ends the program in good order.
    let mut stop = std::pin::pin!(first_signal()?);
    let server = tokio::select! {
        server = Server::bind(args) => server?,
        () = &mut stop => return Ok(()),
    };
    // Whoever started the program may have closed its output; that is no reason to stop.
    let mut out = std::io::stdout().lock();
    for line in server.announcement() {
        let _ = writeln!(out, "{line}");
    }
    let _ = out.flush();
    drop(out);
    server.run(stop).await;
    Ok(())
}

/// Ends at the first SIGINT or SIGTERM; a second one ends the program at once.
#[cfg(unix)]
fn first_signal() -> Result<impl Future<Output = ()>, StartError> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|e| StartError::new(format!("no signals: {e}")));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    Ok(async move {
        let first = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        };
        tracing::info!("{first}: no new connections, transfers may end");
        tokio::spawn(async move {
            let code = tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            };
            std::process::exit(code);
        });
    })
}

/// Ends at the first Ctrl-C; a second one ends the program at once.
#[cfg(not(unix))]
fn first_signal() -> Result<impl Future<Output = ()>, StartError> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
        tracing::info!("no new connections, transfers may end");
        tokio::spawn(async {
            let _ = tokio::signal::ctrl_c().await;
            std::process::exit(130);
        });
    })
}

/// Logs to stderr; `RUST_LOG` chooses (`debug`, `lookbehind_server=trace,warn`).
fn start_log() {
    let filter = std::env::var("RUST_LOG")
        .ok()
        .and_then(|text| text.parse::<Targets>().ok())
        .unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}

fn failed(message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "lookbehind: {message}");
    ExitCode::FAILURE
}
