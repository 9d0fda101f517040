//! The frame of a program that serves: log, runtime, signals, exit code.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::Runtime;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::serve::{Server, StartError};

/// Runs a program that serves, to its end; says in one line why it could not start.
pub fn run(
    name: &str,
    runtime: std::io::Result<Runtime>,
    serve: impl Future<Output = Result<(), StartError>>,
) -> ExitCode {
    start_log();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failed(name, &format!("cannot start the runtime: {error}")),
    };
    let outcome = runtime.block_on(serve);
    // A read that hangs (a network file system) must not keep the program from ending.
    runtime.shutdown_timeout(Duration::from_millis(200));
    ended(name, outcome)
}

/// The exit code for this outcome; says in one line what failed.
pub fn ended(name: &str, outcome: Result<(), impl Display>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(name, &error.to_string()),
    }
}

fn failed(name: &str, message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{name}: {message}");
    ExitCode::FAILURE
}

/// Prints where the films are.
pub fn announce(server: &Server) {
    // Whoever started the program may have closed its output; that is no reason to stop.
    let mut out = std::io::stdout().lock();
    for line in server.announcement() {
        let _ = writeln!(out, "{line}");
    }
    let _ = out.flush();
}

/// Ends at the first SIGINT or SIGTERM; a second one ends the program at once.
#[cfg(unix)]
pub fn first_signal() -> Result<impl Future<Output = ()>, StartError> {
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
pub fn first_signal() -> Result<impl Future<Output = ()>, StartError> {
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
