//! What one viewer does.
//!
//! While playing, something happens after an exponential time: 30% pause (lognormal, median a
//! minute), 22% go back and 25% forward by steps of 10 and 30 s (how many, geometric), 22% scrub,
//! three times forward for each time back (lognormal, median 3 minutes; forward in a live stream:
//! to its edge), 1% go to the start, or to the live edge. Assumptions, all of them. Who would land
//! in the piece under the playhead does nothing.
//!
//! After an open or a jump the player fills its window by four pieces a second; then it asks for a
//! piece whenever the playhead enters one, of a live stream as soon as it exists.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp, Geometric};

use super::shape::{Shape, about};
use crate::trace::{Event, Kind, Storage};

/// Between two pieces of a window that fills.
const FILL: f64 = 0.25;
/// So close to the end of a live window nobody goes, in seconds.
const SHORE: f64 = 30.0;
/// So close to the live edge nobody goes, in pieces.
const EDGE: f64 = 3.0;

pub(super) struct Session<'a> {
    shape: &'a Shape,
    viewer: u64,
    storage: u32,
    film: &'a Storage,
    random: &'a mut ChaCha8Rng,
    events: &'a mut Vec<Event>,
    time: f64,
    /// Of the playhead, in seconds.
    position: f64,
    /// The piece under it.
    piece: u32,
    window: u32,
    /// What the player will ask for, and when.
    wanted: Vec<(f64, u32)>,
    /// The last piece that it has asked for, or will.
    reach: u32,
}

impl<'a> Session<'a> {
    pub fn new(
        shape: &'a Shape,
        viewer: u64,
        storage: u32,
        film: &'a Storage,
        random: &'a mut ChaCha8Rng,
        events: &'a mut Vec<Event>,
    ) -> Session<'a> {
        let (window, wanted) = (shape.window(film), Vec::new());
        let (time, position, piece, reach) = (0.0, 0.0, 0, 0);
        Session {
            shape,
            viewer,
            storage,
            film,
            random,
            events,
            time,
            position,
            piece,
            window,
            wanted,
            reach,
        }
    }

    /// From opening to closing.
    pub fn watch(mut self, time: f64, seek_every: f64) {
        let actions = Exp::new(1.0 / seek_every).expect("it is above 0");
        self.time = time;
        self.position = self.shape.first_position(time, self.film, self.random);
        self.position = self.within(self.position);
        let mut left = self.shape.watch_time(self.random);
        let mut until_action = actions.sample(self.random);
        self.piece = self.piece_at(self.position);
        self.tell(Kind::Open, self.piece);
        if !self.film.is_live() {
            self.tell(Kind::Probe, 0);
            self.tell(Kind::Probe, self.film.pieces - 1);
        }
        self.jump(self.position);
        loop {
            let piece = self.piece;
            let border = f64::from(piece + 1) * self.film.piece_seconds;
            let until_border = (border - self.position).max(1e-6);
            let step = until_border.min(until_action).min(left).min(self.shape.end - self.time);
            self.time += step;
            self.position += step;
            left -= step;
            until_action -= step;
            if left <= 0.0 || self.time >= self.shape.end {
                self.read_ahead();
                return self.tell(Kind::Close, piece);
            }
            if step == until_border {
                if piece + 1 == self.film.pieces {
                    return self.tell(Kind::Close, piece);
                }
                self.position = border;
                self.enter(piece + 1);
                self.read_ahead();
            } else {
                self.read_ahead();
                until_action = actions.sample(self.random);
                self.act();
            }
        }
    }

    fn act(&mut self) {
        let drawn = self.random.random::<f64>();
        let steps = Geometric::new(0.5).expect("a probability");
        let mut steps = || 1.0 + steps.sample(self.random) as f64;
        let position = if drawn < 0.30 {
            return self.pause();
        } else if drawn < 0.52 {
            self.position - 10.0 * steps()
        } else if drawn < 0.77 {
            self.position + 30.0 * steps()
        } else if drawn < 0.99 {
            let far = about(180.0, 1.0, self.random);
            match (self.random.random_bool(0.75), self.film.is_live()) {
                (false, _) => self.position - far,
                (true, false) => self.position + far,
                (true, true) => self.time,
            }
        } else if self.film.is_live() {
            self.time
        } else {
            0.0
        };
        let position = self.within(position);
        if self.piece_at(position) != self.piece {
            self.jump(position);
        }
    }

    fn pause(&mut self) {
        self.tell(Kind::Pause, self.piece);
        self.time += about(60.0, 1.2, self.random);
        self.tell(Kind::Resume, self.piece);
        // What the live window has left behind meanwhile is gone.
        let position = self.within(self.position);
        if position > self.position && self.time < self.shape.end {
            self.jump(position);
        }
    }

    fn jump(&mut self, position: f64) {
        self.position = self.within(position);
        let piece = self.piece_at(self.position);
        self.piece = piece;
        self.tell(Kind::Seek, piece);
        self.reach = piece.saturating_add(self.window).min(self.film.pieces - 1);
        let filling = (piece + 1..=self.reach).zip(1..);
        self.wanted = filling.map(|(piece, n)| (self.time + FILL * f64::from(n), piece)).collect();
    }

    fn enter(&mut self, piece: u32) {
        self.piece = piece;
        self.tell(Kind::Play, piece);
        let next = piece + self.window;
        if next < self.film.pieces && next > self.reach {
            self.reach = next;
            self.wanted.push((self.time, next));
        }
    }

    /// Asks for what is due and exists.
    fn read_ahead(&mut self) {
        let mut wanted = std::mem::take(&mut self.wanted);
        wanted.retain(|&(due, piece)| {
            let exists = f64::from(piece + 1) * self.film.piece_seconds;
            let due = if self.film.is_live() { due.max(exists) } else { due };
            if due <= self.time {
                self.tell_at(due, Kind::Readahead, piece);
            }
            due > self.time
        });
        self.wanted = wanted;
    }

    /// The nearest position that can be watched.
    fn within(&self, position: f64) -> f64 {
        let seconds = self.film.piece_seconds;
        let (first, last) = if self.film.is_live() {
            (self.time - self.film.live_window + SHORE, self.time - EDGE * seconds)
        } else {
            (0.0, f64::from(self.film.pieces - 1) * seconds)
        };
        position.clamp(first.max(0.0), last)
    }

    /// The piece under the playhead; at a border the later one, whatever the rounding.
    fn piece_at(&self, position: f64) -> u32 {
        let piece = (position / self.film.piece_seconds + 1e-4) as u32;
        piece.min(self.film.pieces - 1)
    }

    fn tell(&mut self, kind: Kind, piece: u32) {
        self.tell_at(self.time, kind, piece);
    }

    fn tell_at(&mut self, time: f64, kind: Kind, piece: u32) {
        // As it is written, in milliseconds.
        let time = (time * 1000.0).round() / 1000.0;
        let (viewer, storage) = (self.viewer, self.storage);
        self.events.push(Event { time, viewer, storage, kind, piece });
    }
}
