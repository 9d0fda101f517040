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
/// Where a viewer stays no longer he only looked: a player reads the index at a film's end before it
/// plays, a reader seeks there for the length, and who steps through a film is on his way.
const LOOK: Duration = Duration::from_secs(2);
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
    /// Where it was closed, in seconds of film.
    position: f64,
    /// The film has no more to show.
    at_end: bool,
    /// Where it last jumped, and when.
    landed: f64,
    jumped: Duration,
    /// From where, if that is not counted yet, for it may be a look; nothing counts from the end.
    left: Option<(f64, bool)>,
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
            return self.open(key, event, at, at_end);
        }
        let Some(session) = self.sessions.get_mut(&key) else { return false };
        if session.players > 0 {
            session.play(now, &mut self.tally);
        }
        match event.action {
            Action::Open => {}
            Action::Seek { from } => {
                session.jump(event.seconds(from), at, now);
                session.at_end = at_end;
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

    fn open(&mut self, key: Key, event: &PlayerEvent, at: f64, at_end: bool) -> bool {
        let now = event.now;
        if let Some(session) = self.sessions.get_mut(&key) {
            if session.players == 0 {
                // It goes on, perhaps elsewhere.
                session.settle(session.closed, &mut self.tally);
                session.jump(session.position, at, now);
                (session.counted, session.at_end) = (now, at_end);
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
            at_end,
            landed: at,
            jumped: now,
            left: None,
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
        self.settle(now, tally);
        let since = std::mem::replace(&mut self.counted, now);
        if self.playing {
            let age = since.saturating_sub(self.opened).as_secs_f64();
            tally.play(age, now.saturating_sub(since).as_secs_f64());
        }
    }

    fn jump(&mut self, from: f64, to: f64, now: Duration) {
        self.left.get_or_insert((from, self.at_end));
        (self.landed, self.jumped) = (to, now);
    }

    /// Counts a jump, from where play last was to where it went on, if it stayed there until then.
    /// What moves nowhere is no jump, and a start anew after the end is a start.
    fn settle(&mut self, until: Duration, tally: &mut Tally) {
        let stayed = until.saturating_sub(self.jumped) >= LOOK;
        if let Some((left, at_end)) = self.left.take_if(|_| stayed) {
            let by = self.landed - left;
            if by.abs() >= 1.0 && !at_end {
                tally.jump(by);
            }
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

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    /// Bytes of a second, and seconds of the film.
    const SECOND: u64 = 1000;
    const FILM: u64 = 6000;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Viewers of one film, and what was counted of them beyond what is assumed.
    struct Seen(Ledger);

    impl Seen {
        fn new() -> Self {
            Self(Ledger::new())
        }

        /// Notes what a viewer does, at a time and a second of the film.
        fn note(&mut self, viewer: u64, now: f64, action: Action, second: u64) {
            let film = StorageId { index: 0, generation: 0 };
            let (position, bytes) = (second * SECOND, 0..FILM * SECOND);
            self.0.note(&PlayerEvent::new(film, viewer, at(now), action, position, bytes, SECOND));
        }

        fn seek(&mut self, now: f64, from: u64, to: u64) {
            self.note(0, now, Action::Seek { from: from * SECOND }, to);
        }

        /// Jumps back and forward, and pauses.
        fn jumps(&self) -> [f64; 3] {
            let (is, was) = (&self.0.tally, Tally::new());
            [is.back.0 - was.back.0, is.skip.0 - was.skip.0, is.pause.0 - was.pause.0]
        }

        fn played(&self) -> f64 {
            self.0.tally.played - Tally::new().played
        }

        fn quits(&self) -> f64 {
            let sum = |tally: &Tally| tally.quits.iter().sum::<f64>();
            (sum(&self.0.tally) - sum(&Tally::new())).round()
        }
    }

    #[test]
    fn a_look_is_no_jump_and_what_comes_of_steps_is_one() {
        let mut seen = Seen::new();
        seen.note(0, 0.0, Action::Open, 0);
        // The index at the end, and back to the beginning.
        seen.seek(0.1, 0, FILM - 1);
        seen.seek(0.4, FILM - 1, 0);
        seen.seek(500.0, 500, 510);
        assert_eq!(seen.jumps(), [0.0, 0.0, 0.0]);
        // Three steps, and a stay.
        seen.seek(501.0, 511, 521);
        seen.seek(502.5, 522, 532);
        seen.seek(600.0, 630, 570);
        assert_eq!(seen.jumps(), [0.0, 1.0, 0.0]);
        assert!(seen.0.is_due(at(601.9)));
        assert_eq!(seen.jumps(), [0.0, 1.0, 0.0]);
        assert!(seen.0.is_due(at(603.0)));
        assert_eq!(seen.jumps(), [1.0, 1.0, 0.0]);
    }

    #[test]
    fn who_comes_back_by_another_player_has_jumped_from_where_he_was_before() {
        let mut seen = Seen::new();
        seen.note(0, 0.0, Action::Open, 0);
        seen.note(0, 100.0, Action::Close, 100);
        seen.note(0, 101.0, Action::Open, 50);
        // What is open stays; what is closed may be gone.
        seen.note(0, 102.0, Action::Close, 51);
        seen.note(0, 120.0, Action::Open, 70);
        seen.note(0, 200.0, Action::Close, 150);
        assert_eq!(seen.jumps(), [1.0, 0.0, 0.0], "from 100 to 70");
        assert!((seen.played() - 181.0).abs() < 0.1, "{}", seen.played());
    }

    #[test]
    fn from_the_end_of_a_film_nobody_jumps_or_quits() {
        let mut seen = Seen::new();
        seen.note(0, 0.0, Action::Open, 0);
        // Less than a thousandth is left, but for two seconds.
        seen.seek(100.0, 100, FILM - 7);
        seen.seek(110.0, FILM, 200);
        seen.note(0, 300.0, Action::Close, FILM);
        assert_eq!(seen.jumps(), [0.0, 1.0, 0.0], "there, and not back");
        seen.note(1, 400.0, Action::Open, 0);
        assert_eq!(seen.quits(), 0.0);
        seen.note(1, 500.0, Action::Close, 100);
        seen.note(2, 600.0, Action::Open, 0);
        assert_eq!(seen.quits(), 1.0);
    }

    #[test]
    fn what_is_played_counts_while_it_is_and_pauses_when_they_end() {
        let mut seen = Seen::new();
        seen.note(0, 0.0, Action::Open, 0);
        assert!(seen.0.is_due(at(100.0)));
        assert!((seen.played() - 100.0).abs() < 0.1, "{}", seen.played());
        seen.note(0, 200.0, Action::Pause, 200);
        seen.note(0, 260.0, Action::Close, 200);
        assert_eq!(seen.jumps(), [0.0, 0.0, 1.0]);
        assert!((seen.played() - 200.0).abs() < 0.1, "{}", seen.played());
    }

    #[test]
    fn of_many_that_were_closed_the_oldest_have_quit() {
        let mut seen = Seen::new();
        for viewer in 0..CLOSED as u64 + 10 {
            seen.note(viewer, 1.0, Action::Open, 0);
            seen.note(viewer, 1.0, Action::Close, 0);
        }
        seen.note(u64::MAX, 1.0, Action::Open, 0);
        assert_eq!(seen.quits(), 10.0);
    }
}
