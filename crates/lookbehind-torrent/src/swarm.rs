//! A session that is kept going, on a thread of its own, for its calls wait for libtorrent.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::session::{Content, Figures, Level, Progress, Refused, Session};

/// How often the session is asked how it does, and whether it is to end.
const POLL: Duration = Duration::from_millis(100);
/// How often peers that were named are tried anew: by itself libtorrent gives them up after three
/// failures.
const AGAIN: Duration = Duration::from_secs(5);

/// A session at work. Dropping it ends it, and waits for that.
#[derive(Debug)]
pub struct Swarm {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    figures: Mutex<Figures>,
}

/// Tells how a session does.
#[derive(Clone, Debug)]
pub struct Gauge(Arc<Shared>);

impl Gauge {
    /// How it did when it was last asked.
    pub fn figures(&self) -> Figures {
        *self.0.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a torrent has, as soon as that is known; or why it will not be.
pub type Arrival = oneshot::Receiver<Result<Content, Refused>>;

impl Swarm {
    /// Keeps the session going, and connected to these peers.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn start(session: Session, peers: Vec<SocketAddr>) -> std::io::Result<(Swarm, Arrival)> {
        let shared = Arc::new(Shared::default());
        let (ready, arrival) = oneshot::channel();
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("swarm".into());
        let thread = thread.spawn(move || run(&session, &peers, &own, ready))?;
        Ok((Swarm { shared, thread: Some(thread) }, arrival))
    }

    /// What tells how it does.
    pub fn gauge(&self) -> Gauge {
        Gauge(Arc::clone(&self.shared))
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // It does not panic; and if so, there is nothing left to end.
            let _ = thread.join();
        }
    }
}

fn run(
    session: &Session,
    peers: &[SocketAddr],
    shared: &Shared,
    ready: oneshot::Sender<Result<Content, Refused>>,
) {
    let mut ready = Some(ready);
    let mut failed = false;
    let mut again = Instant::now();
    while !shared.stop.load(Relaxed) {
        if Instant::now() >= again {
            again = Instant::now() + AGAIN;
            for peer in peers {
                if let Err(error) = session.connect(*peer) {
                    tracing::warn!(%peer, %error, "cannot connect");
                }
            }
        }
        session.wait(POLL, |level, text| match level {
            Level::Debug => tracing::debug!("{text}"),
            Level::Info => tracing::info!("{text}"),
            Level::Warn => tracing::warn!("{text}"),
        });
        let (figures, progress) = session.state();
        *shared.figures.lock().unwrap_or_else(PoisonError::into_inner) = figures;
        match (progress, ready.take()) {
            (Progress::NotYet, still) => ready = still,
            // If nobody waits any more the program is about to end.
            (Progress::Ready, Some(ready)) => drop(ready.send(session.content())),
            (Progress::Failed(why), Some(ready)) => drop(ready.send(Err(Refused::new(why)))),
            (Progress::Failed(why), None) if !failed => {
                failed = true;
                tracing::error!("the torrent has stopped: {why}");
            }
            (Progress::Ready | Progress::Failed(_), None) => {}
        }
    }
}
