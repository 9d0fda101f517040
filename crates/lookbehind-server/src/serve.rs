//! Listening, and stopping.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use lookbehind::Wait;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower_service::Service;

use crate::app::App;
use crate::cli::{ServeArgs, ServerArgs};
use crate::stall::Impatient;

/// How long transfers may go on after the signal to stop.
pub const STOP_DEADLINE: Duration = Duration::from_secs(5);
/// How long a connection may be silent between two requests, or take to send one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// What a connection may keep of a request's head, and of an answer that it writes.
const CONNECTION_BUFFER: usize = 64 * 1024;
/// Connections at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;

/// Threads for work on files, whatever films there are.
const FILE_THREADS: usize = 16;
/// The most, for many films.
const MOST_THREADS: usize = 512;

/// What the server runs on.
///
/// File reads block, and have threads of their own: few, for each costs memory that the budget
/// does not see. They come on need. A film uses [`BLOCKING`](crate::origin::BLOCKING) at a time,
/// so that those on a file system that hangs leave the others theirs.
pub fn runtime(films: usize) -> io::Result<Runtime> {
    let threads = films.saturating_mul(crate::origin::BLOCKING).clamp(FILE_THREADS, MOST_THREADS);
    Builder::new_multi_thread().enable_all().max_blocking_threads(threads).build()
}

/// Why the server cannot start, in one line.
#[derive(Debug)]
pub struct StartError(String);

impl StartError {
    /// An error that says this.
    pub fn new(message: impl Into<String>) -> StartError {
        StartError(message.into())
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Number of the connection.
    pub connection: u64,
    /// Address of the client.
    pub address: SocketAddr,
    /// Address that it connected to.
    pub local: SocketAddr,
}

impl Default for Peer {
    /// Nobody in particular, on this machine.
    fn default() -> Peer {
        let here = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Peer { connection: 0, address: here, local: here }
    }
}

/// A socket that connections come to, who wait until there is a server.
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

/// Begins to listen where the options say, if they allow it.
pub async fn listen(args: &ServerArgs) -> Result<Listening, StartError> {
    may_listen(args)?;
    let listen = args.listen;
    let cannot = |error: io::Error| StartError::new(format!("cannot listen on {listen}: {error}"));
    let listener = TcpListener::bind(listen).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    Ok(Listening { listener, address })
}

fn may_listen(args: &ServerArgs) -> Result<(), StartError> {
    let listen = args.listen;
    if listen.ip().to_canonical().is_loopback() || args.insecure {
        return Ok(());
    }
    Err(StartError::new(format!(
        "--listen {listen} lets other machines connect and there is no access control yet; \
         --insecure allows it"
    )))
}

/// A server that listens.
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Checks the options, opens the films of files and begins to listen.
    pub async fn bind(args: ServeArgs) -> Result<Server, StartError> {
        may_listen(&args.server)?;
        let app = App::new(&args).await?;
        Ok(Server::new(app, listen(&args.server).await?))
    }

    /// Serves with what [`listen`] gave.
    pub fn new(app: App, Listening { listener, address }: Listening) -> Server {
        Server { app: Arc::new(app), listener, address }
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it serves with.
    pub fn app(&self) -> Arc<App> {
        Arc::clone(&self.app)
    }

    /// The lines that tell a user where the films are.
    pub fn announcement(&self) -> Vec<String> {
        let mut shown = self.address;
        if shown.ip().is_unspecified() {
            // Nobody can visit 0.0.0.0 everywhere, but this machine is always among them.
            shown.set_ip(match shown.ip() {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
            });
        }
        let films = self.app.films.iter();
        let films = films.map(|f| format!("serving {} at http://{shown}{}", f.name, f.url_path()));
        films.chain([format!("page at http://{shown}/")]).collect()
    }

    /// Serves until `stop` ends; then transfers may end for [`STOP_DEADLINE`].
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Server { app, listener, .. } = self;
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        tokio::select! {
            () = accept(&app, &listener, &graceful, &mut connections) => {}
            () = stop => {}
        }
        drop(listener);
        if tokio::time::timeout(STOP_DEADLINE, graceful.shutdown()).await.is_err() {
            tracing::warn!(transfers = connections.len(), "aborted what had not ended in time");
        }
        connections.shutdown().await;
        if let Some(recorder) = app.recorder.clone() {
            let end = tokio::task::spawn_blocking(move || recorder.end());
            let _ = tokio::time::timeout(STOP_DEADLINE / 4, end).await;
        }
        let cache = app.cache.clone();
        // It may wait, so not here; that it drained is not needed, for the process ends. Reads that
        // hang may hold all threads for such work, so that it would never begin.
        let abort = tokio::task::spawn_blocking(move || cache.abort(Wait::For(STOP_DEADLINE / 5)));
        let _ = tokio::time::timeout(STOP_DEADLINE / 4, abort).await;
    }
}

/// Accepts connections for ever.
async fn accept(
    app: &Arc<App>,
    listener: &TcpListener,
    graceful: &GracefulShutdown,
    connections: &mut JoinSet<()>,
) {
    let router = app.router();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    for connection in 1.. {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let (stream, address) = loop {
            match listener.accept().await {
                Ok(accepted) => break accepted,
                Err(error) => {
                    // Out of descriptors, or the client is gone already. Neither ends the server.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        };
        while connections.try_join_next().is_some() {}
        let Ok(local) = stream.local_addr() else {
            continue;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let peer = Peer { connection, address, local };
        let (app, router, watcher) = (Arc::clone(app), router.clone(), graceful.watcher());
        connections.spawn(async move {
            let stream = Impatient::new(stream, app.send_timeout);
            let open = Open::new(app, connection);
            converse(stream, peer, router, watcher).await;
            drop((open, place));
        });
    }
}

/// Counts a connection while it is open, and tells the viewers when it closes.
struct Open {
    app: Arc<App>,
    connection: u64,
}

impl Open {
    fn new(app: Arc<App>, connection: u64) -> Open {
        app.connections.fetch_add(1, Relaxed);
        Open { app, connection }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.app.connections.fetch_sub(1, Relaxed);
        self.app.viewers.closed(self.connection);
    }
}

/// Answers the requests of one connection.
async fn converse(stream: Impatient<TcpStream>, peer: Peer, router: Router, watcher: Watcher) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().call(request.map(Body::new))
    });
    // With half-closed connections refused (the default), hyper looks for the end of the stream
    // while it waits for a body: a closed socket drops the body, its player, and its fetches.
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(CONNECTION_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(served).await {
        tracing::debug!(connection = peer.connection, %error, "connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn reads_that_hang_do_not_keep_it_from_stopping() {
        let cli = Cli::parse_from(["lookbehind", "serve", "--listen", "127.0.0.1:0"]);
        let Command::Serve(args) = cli.command else { panic!("not {:?}", cli.command) };
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.enable_all().max_blocking_threads(1).build().unwrap();
        let (release, hang) = mpsc::channel::<()>();
        runtime.block_on(async {
            let server = Server::bind(args).await.unwrap();
            let _hanging = tokio::task::spawn_blocking(move || hang.recv());
            let stopped = tokio::time::timeout(STOP_DEADLINE * 2, server.run(async {}));
            assert!(stopped.await.is_ok());
        });
        drop(release);
    }
}
