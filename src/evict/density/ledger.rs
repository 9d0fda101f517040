//! Who watches what: the sessions that are going on, and what is counted of them.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::habits::Tally;
use crate::evict::policy::{Action, PlayerEvent};
use crate::id::StorageId;

/// How long after its last player was closed a session may go on with another one: an HTTP client
/// seeks by a new request.
const GRACE: Duration = Duration::from_secs(30);
/// Closed sessions that are remembered; the oldest count as quit first.
const CLOSED: usize = 1024;
/// How often what is counted makes new tables. One event changes little, and in a crowd there are
/// thousands a second.
const EVERY: Duration = Duration::from_secs(1);

/// A viewer in a film.
struct Session {
    /// Open players.
    players: u32,
    opened: Duration,
    /// Play is counted up to here.
    counted: Duration,
    playing: bool,
    paused: Duration,
    closed: Duration,
    /// Seconds of film.
    position: f64,
    /// The film has no more to show.
    at_end: bool,
}

type Key = (StorageId, u64);

/// The sessions and the counts.
pub(super) struct Ledger {
    pub(super) tally: Tally,
    sessions: HashMap<Key, Session>,
    /// In the order in which they were closed; some have gone on since.
    closed: VecDeque<(Key, Duration)>,
    /// When the tables were made last.
    made: Option<Duration>,
}

impl Ledger {
    pub(super) fn new() -> Self {
        let (sessions, closed) = (HashMap::new(), VecDeque::new());
        Self { tally: Tally::new(), sessions, closed, made: None }
    }

    /// Whether it is time for new tables; all play is counted then.
    pub(super) fn is_due(&mut self, now: Duration) -> bool {
        let due = self.made.is_none_or(|made| now.saturating_sub(made) >= EVERY);
        if due {
            self.made = Some(now);
            let open = self.sessions.values_mut().filter(|session| session.players > 0);
            open.for_each(|session| session.play(now, &mut self.tally));
        }
        due
    }

    /// Counts what happened; whether a new session began.
    pub(super) fn note(&mut self, event: &PlayerEvent) -> bool {
        let now = event.now;
        self.count_quits(now);
        let key = (event.storage, event.viewer);
        let at = event.seconds(event.position);
        let length = event.seconds(event.film.end);
        let at_end = !event.live && at + 2.0 >= length * 0.999;
        if event.action == Action::Open {
            return self.open(key, event, at);
        }
        let Some(session) = self.sessions.get_mut(&key) else { return false };
        if session.players > 0 {
            session.play(now, &mut self.tally);
        }
        match event.action {
            Action::Open => {}
            Action::Seek { from } => {
                session.jump(at - event.seconds(from), &mut self.tally);
                (session.position, session.at_end) = (at, at_end);
            }
            Action::Pause => {
                if session.playing {
                    session.playing = false;
                    session.paused = now;
                }
            }
            Action::Resume => session.resume(now, &mut self.tally),
            Action::Close => {
                session.players = session.players.saturating_sub(1);
                if session.players == 0 {
                    session.resume(now, &mut self.tally);
                    (session.position, session.at_end) = (at, at_end);
                    session.closed = now;
                    self.closed.push_back((key, now));
                }
            }
        }
        false
    }

    fn open(&mut self, key: Key, event: &PlayerEvent, at: f64) -> bool {
        let now = event.now;
        if let Some(session) = self.sessions.get_mut(&key) {
            if session.players == 0 {
                // It goes on, perhaps elsewhere.
                session.jump(at - session.position, &mut self.tally);
                session.counted = now;
            }
            session.players += 1;
            return false;
        }
        let session = Session {
            players: 1,
            opened: now,
            counted: now,
            playing: true,
            paused: now,
            closed: now,
            position: at,
            at_end: false,
        };
        self.sessions.insert(key, session);
        let behind = if event.live { event.seconds(event.film.end) - at } else { at };
        self.tally.start(behind.max(0.0), event.live, event.seconds(event.ahead));
        true
    }

    /// Counts those as quit that were closed and have not gone on.
    fn count_quits(&mut self, now: Duration) {
        while let Some(&(key, closed)) = self.closed.front() {
            if now.saturating_sub(closed) < GRACE && self.closed.len() <= CLOSED {
                break;
            }
            self.closed.pop_front();
            let over = |session: &&Session| session.players == 0 && session.closed == closed;
            if let Some(session) = self.sessions.get(&key).filter(over) {
                if !session.at_end {
                    self.tally.quit(closed.saturating_sub(session.opened).as_secs_f64());
                }
                self.sessions.remove(&key);
            }
        }
    }
}

impl Session {
    /// Counts what was played since it was last counted.
    fn play(&mut self, now: Duration, tally: &mut Tally) {
        let since = std::mem::replace(&mut self.counted, now);
        if self.playing {
            let age = since.saturating_sub(self.opened).as_secs_f64();
            tally.play(age, now.saturating_sub(since).as_secs_f64());
        }
    }

    /// What moves nowhere is no jump, and a start anew after the end is a start.
    fn jump(&self, by: f64, tally: &mut Tally) {
        if by.abs() >= 1.0 && !self.at_end {
            tally.jump(by);
        }
    }

    fn resume(&mut self, now: Duration, tally: &mut Tally) {
        if !self.playing {
            self.playing = true;
            self.counted = now;
            tally.pause(now.saturating_sub(self.paused).as_secs_f64());
        }
    }
}
