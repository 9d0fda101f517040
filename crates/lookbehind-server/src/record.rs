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
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    /// Sessions so far.
    count: u64,
    /// When it was last looked for who has left.
    swept: Instant,
}

/// A viewer in a film: what a trace calls a viewer, for it is over when he leaves the film.
#[derive(Debug)]
struct Session {
    number: u64,
    place: Place,
    last: Instant,
}

/// Where somebody reads.
#[derive(Clone, Copy, Debug)]
struct Place {
    piece: u32,
    /// Pieces up to this one were read ahead.
    ahead: u32,
}

/// Writes down one response. A viewer may have several at once, each of which goes on by itself.
#[derive(Debug)]
pub struct Tape {
    recorder: Arc<Recorder>,
    /// The window ahead in bytes.
    ahead: u64,
    place: Option<Place>,
}

impl Tape {
    /// A response whose viewer has so many bytes read ahead.
    pub fn new(recorder: Arc<Recorder>, ahead: u64) -> Tape {
        Tape { recorder, ahead, place: None }
    }

    /// The viewer takes bytes of this range of the storage from its start on.
    pub fn read(&mut self, edition: &Edition, viewer: u64, range: &Range<u64>) {
        let ahead = self.ahead.min(range.end.saturating_sub(range.start));
        let reach = range.start..range.start.saturating_add(ahead.max(1));
        self.recorder.read(edition, viewer, reach, &mut self.place);
    }
}

impl Recorder {
    /// Creates the file. What is there is not touched: it may be a film, or an earlier recording.
    ///
    /// # Errors
    /// If it is there or cannot be created, or there is no thread to write it.
    pub fn create(path: &Path) -> io::Result<Recorder> {
        let file = File::create_new(path)?;
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
            count: 0,
            swept: now,
        };
        Ok(Recorder { start: now, state: Mutex::new(state), writer: Mutex::new(Some(writer)) })
    }

    /// A viewer takes bytes at the start of `reach`, by a response that was at `place`, if it has begun;
    /// up to its end they are read ahead.
    fn read(&self, edition: &Edition, viewer: u64, reach: Range<u64>, place: &mut Option<Place>) {
        let layout = edition.storage.layout();
        let Some((piece, _)) = layout.piece_at(reach.start) else { return };
        let reach = layout.pieces_of(reach);
        let mut state = self.state();
        // Under the mutex: times do not fall.
        let now = Instant::now();
        self.sweep(&mut state, now);
        let storage = edition.storage.id();
        let name = state.name(edition);
        let time = now.saturating_duration_since(self.start).as_secs_f64();
        let mut say = Vec::new();
        let State { sessions, count, .. } = &mut *state;
        let session = sessions.entry((storage, viewer)).or_insert_with(|| {
            say.extend([(Kind::Open, piece), (Kind::Seek, piece)]);
            let number = *count;
            *count += 1;
            *place = Some(Place { piece, ahead: piece });
            Session { number, place: Place { piece, ahead: piece }, last: now }
        });
        // Another response goes on where the one before it was, or elsewhere.
        let mut at = place.unwrap_or(session.place);
        if piece == at.piece + 1 {
            say.push((Kind::Play, piece));
        } else if piece != at.piece {
            say.push((Kind::Seek, piece));
            at.ahead = piece;
        }
        say.extend((at.ahead.max(piece) + 1..reach.end).map(|piece| (Kind::Readahead, piece)));
        at = Place { piece, ahead: at.ahead.max(reach.end.saturating_sub(1)) };
        *place = Some(at);
        (session.place, session.last) = (at, now);
        let viewer = session.number;
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
        for ((storage, _), session) in gone {
            let Some(&name) = state.names.get(&storage) else { continue };
            let (viewer, piece) = (session.number, session.place.piece);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_away_for_as_long_as_his_windows_linger_has_left() {
        let name = format!("lookbehind-record-{}.csv", std::process::id());
        let path = std::env::temp_dir().join(name);
        let recorder = Recorder::create(&path).unwrap();
        let storage = StorageId { index: 0, generation: 0 };
        let mut state = recorder.state();
        let now = state.swept;
        state.names.insert(storage, 0);
        for (number, seconds) in [(7, 0), (8, 30)] {
            let place = Place { piece: 3, ahead: 3 };
            let last = now + Duration::from_secs(seconds);
            state.sessions.insert((storage, number), Session { number, place, last });
        }
        recorder.sweep(&mut state, now + LINGER / 2);
        assert_eq!(state.sessions.len(), 2);
        recorder.sweep(&mut state, now + LINGER);
        assert_eq!(state.sessions.keys().collect::<Vec<_>>(), [&(storage, 8)]);
        drop(state);
        recorder.end();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(lines[0], "60.000,7,0,close,3");
        assert!(lines.len() == 2 && lines[1].ends_with(",8,0,close,3"), "{text}");
    }
}
