//! `serve --record`: what viewers do, written down as a trace for `lookbehind simulate`.
//!
//! A response that goes on in the next piece plays it; one that goes on elsewhere has jumped. What the
//! window ahead comes to reach is read ahead. The server does not see what a viewer has on his
//! screen: a player that fetches in bursts plays in bursts here, and a pause is a time in which
//! nothing happens. A viewer who was away for as long as his windows linger has left.
//!
//! Lines are made under a mutex, in the order of their times, and written by a thread of their own:
//! no response waits for the disk. Should the disk be so slow that `WAITING` lines wait, the rest
//! is dropped, and the log says so.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lookbehind::StorageId;
use lookbehind_simulator::trace::{Event, Kind, Storage, event_line, head, storage_line};

use crate::film::Edition;
use crate::viewer::LINGER;

/// Lines that may wait for the disk.
const WAITING: usize = 1 << 16;
/// Lines that are written at once, at most.
const BATCH: usize = 1 << 10;
/// How often it is looked for who has left.
const SWEEP: Duration = Duration::from_secs(1);

/// Writes down what viewers do.
#[derive(Debug)]
pub struct Recorder {
    start: Instant,
    state: Mutex<State>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct State {
    /// Nothing after the end, or a failure.
    lines: Option<SyncSender<String>>,
    /// The names that storages have in the trace.
    names: HashMap<StorageId, u64>,
    sessions: HashMap<(StorageId, u64), Session>,
    /// When it was last looked for who has left.
    swept: Instant,
}

/// A viewer in a film.
#[derive(Debug)]
struct Session {
    piece: u32,
    /// Pieces up to this one were read ahead.
    ahead: u32,
    last: Instant,
}

impl Recorder {
    /// Creates the file, or begins it anew.
    ///
    /// # Errors
    /// If it cannot be created, or there is no thread to write it.
    pub fn create(path: &Path) -> io::Result<Recorder> {
        let file = File::create(path)?;
        let (lines, written) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("recorder".into());
        let writer = thread.spawn(move || {
            if let Err(error) = write(file, &written) {
                tracing::warn!(%error, "the recording ends early");
            }
        })?;
        let now = Instant::now();
        let state = State {
            lines: Some(lines),
            names: HashMap::new(),
            sessions: HashMap::new(),
            swept: now,
        };
        Ok(Recorder { start: now, state: Mutex::new(state), writer: Mutex::new(Some(writer)) })
    }

    /// A viewer takes bytes of the film at `position`, with a window ahead of so many.
    pub fn read(&self, edition: &Edition, viewer: u64, position: u64, ahead: u64) {
        let layout = edition.storage.layout();
        let Some((piece, _)) = layout.piece_at(position) else { return };
        let reach = layout.pieces_of(position..position.saturating_add(ahead.max(1)));
        let mut state = self.state();
        // Under the mutex: times do not fall.
        let now = Instant::now();
        self.sweep(&mut state, now);
        let storage = edition.storage.id();
        let name = state.name(edition);
        let time = now.saturating_duration_since(self.start).as_secs_f64();
        let mut say = Vec::new();
        let session = state.sessions.entry((storage, viewer)).or_insert_with(|| {
            say.extend([(Kind::Open, piece), (Kind::Seek, piece)]);
            Session { piece, ahead: piece, last: now }
        });
        session.last = now;
        if piece == session.piece + 1 {
            say.push((Kind::Play, piece));
        } else if piece != session.piece {
            say.push((Kind::Seek, piece));
            session.ahead = piece;
        }
        session.piece = piece;
        let first = session.ahead.max(piece) + 1;
        say.extend((first..reach.end).map(|piece| (Kind::Readahead, piece)));
        session.ahead = session.ahead.max(reach.end.saturating_sub(1));
        for (kind, piece) in say {
            state.say(&Event { time, viewer, storage: 0, kind, piece }, name);
        }
    }

    /// Says of whom nothing was seen for a while that they have left.
    fn sweep(&self, state: &mut State, now: Instant) {
        if now.saturating_duration_since(state.swept) < SWEEP {
            return;
        }
        state.swept = now;
        self.close(state, now, |session| now.saturating_duration_since(session.last) >= LINGER);
    }

    fn close(&self, state: &mut State, now: Instant, left: impl Fn(&Session) -> bool) {
        let time = now.saturating_duration_since(self.start).as_secs_f64();
        let gone: Vec<_> = state.sessions.extract_if(|_, session| left(session)).collect();
        for ((storage, viewer), session) in gone {
            let Some(&name) = state.names.get(&storage) else { continue };
            let piece = session.piece;
            state.say(&Event { time, viewer, storage: 0, kind: Kind::Close, piece }, name);
        }
    }

    /// Ends the recording: all have left, and what was recorded is on disk. Waits for that.
    pub fn end(&self) {
        let mut state = self.state();
        let now = Instant::now();
        self.close(&mut state, now, |_| true);
        state.lines = None;
        drop(state);
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // It does not panic; and if so, there is nothing left to do.
            let _ = writer.join();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The name of the edition's storage, which is described when it is first named.
    fn name(&mut self, edition: &Edition) -> u64 {
        let next = self.names.len() as u64;
        let storage = edition.storage.id();
        if let Some(name) = self.names.get(&storage) {
            return *name;
        }
        self.names.insert(storage, next);
        let layout = edition.storage.layout();
        let piece_bytes = u64::from(layout.largest_piece());
        let line = storage_line(&Storage {
            id: next,
            pieces: layout.pieces().end,
            piece_bytes,
            piece_seconds: piece_bytes as f64 / edition.bitrate.max(1) as f64,
            live_window: 0.0,
        });
        self.line(line);
        next
    }

    fn say(&mut self, event: &Event, name: u64) {
        self.line(event_line(event, name));
    }

    fn line(&mut self, line: String) {
        let Some(lines) = &self.lines else { return };
        match lines.try_send(line) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                tracing::warn!("the recording ends early: the disk is too slow");
                self.lines = None;
            }
            // The thread has said why.
            Err(TrySendError::Disconnected(_)) => self.lines = None,
        }
    }
}

/// Writes lines as they come, until there are no more to come. What waits goes in one write, and
/// always whole lines: the file can be read at any time, and after a crash.
fn write(mut file: File, lines: &Receiver<String>) -> io::Result<()> {
    file.write_all(head("lookbehind-trace 1 recorded").as_bytes())?;
    while let Ok(mut batch) = lines.recv() {
        batch.extend(lines.try_iter().take(BATCH));
        file.write_all(batch.as_bytes())?;
    }
    Ok(())
}
