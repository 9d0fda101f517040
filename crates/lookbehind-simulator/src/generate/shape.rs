//! What distinguishes the kinds of traffic.

use rand::Rng;
use rand_distr::{Distribution, Exp, LogNormal};

use super::Kind;
use crate::trace::Storage;

/// The numbers of a kind.
pub(super) struct Shape {
    kind: Kind,
    /// When the first viewer comes, in seconds.
    pub start: f64,
    /// When no more come.
    pub doors_close: f64,
    /// When all that are left go.
    pub end: f64,
    /// Mean time between two that come.
    pub gap: f64,
}

impl Shape {
    pub fn of(kind: Kind) -> Shape {
        let (start, doors_close, end, gap) = match kind {
            Kind::Solo => (0.0, 0.0, f64::INFINITY, 1.0),
            Kind::Party => (0.0, 18_000.0, 18_000.0, 450.0),
            Kind::Catalogue => (0.0, 10_800.0, 10_800.0, 27.6),
            // Its window is full when the first one comes.
            Kind::Live => (7200.0, 21_600.0, 21_600.0, 41.0),
        };
        Shape { kind, start, doors_close, end, gap }
    }

    pub fn storages(&self, random: &mut impl Rng) -> Vec<Storage> {
        let film = |id, pieces, piece_bytes, piece_seconds, live_window| Storage {
            id,
            pieces,
            piece_bytes,
            piece_seconds,
            live_window,
        };
        match self.kind {
            // 110 minutes at 8 Mbit/s.
            Kind::Solo | Kind::Party => vec![film(0, 6295, 1 << 20, 1.0486, 0.0)],
            // 6 hours at 6 Mbit/s, of which 2 can be asked for.
            Kind::Live => vec![film(0, 7724, 2 << 20, 2.7962, 7200.0)],
            // Half an hour to three hours at 8, 5 or 3 Mbit/s.
            Kind::Catalogue => {
                let mut one = |id| {
                    let length = about(4577.0, 0.4, random).clamp(1800.0, 10_800.0);
                    let seconds = [4.1943, 6.7109, 11.1848][random.random_range(0..3)];
                    film(id, (length / seconds) as u32 + 1, 4 << 20, seconds, 0.0)
                };
                (0..200).map(&mut one).collect()
            }
        }
    }

    /// For how long somebody watches, in seconds.
    pub fn watch_time(&self, random: &mut impl Rng) -> f64 {
        match self.kind {
            // To the end.
            Kind::Solo => f64::INFINITY,
            Kind::Party if random.random_bool(0.6) => f64::INFINITY,
            Kind::Party => about(500.0, 1.3, random),
            Kind::Catalogue => {
                let minutes = match random.random::<f64>() {
                    ..0.37 => 0.0..5.0,
                    ..0.53 => 5.0..10.0,
                    ..0.70 => 10.0..25.0,
                    ..0.775 => 25.0..90.0,
                    _ => return f64::INFINITY,
                };
                60.0 * random.random_range(minutes)
            }
            Kind::Live => Exp::new(1.0 / 1200.0).expect("it is above 0").sample(random),
        }
    }

    /// How far a player reads ahead, in pieces.
    pub fn window(&self, film: &Storage) -> u32 {
        match self.kind {
            Kind::Solo => 29,
            Kind::Party => 8,
            Kind::Catalogue => (30.0 / film.piece_seconds).ceil().min(8.0) as u32,
            Kind::Live => 11,
        }
    }

    /// Where somebody who comes at this time begins, in seconds.
    pub fn first_position(&self, time: f64, film: &Storage, random: &mut impl Rng) -> f64 {
        match self.kind {
            Kind::Solo | Kind::Party => 0.0,
            // Some go on where they were the day before.
            Kind::Catalogue if random.random_bool(0.15) => {
                0.8 * f64::from(film.pieces) * film.piece_seconds * random.random::<f64>()
            }
            Kind::Catalogue => 0.0,
            // Most begin near the live edge, some up to an hour before, few anywhere.
            Kind::Live => {
                let half = film.live_window / 2.0;
                time - match random.random::<f64>() {
                    ..0.73 => film.piece_seconds * random.random_range(3.0..8.0),
                    ..0.95 => half * random.random::<f64>(),
                    _ => half * random.random_range(1.0..2.0),
                }
            }
        }
    }
}

/// A positive number with this median, lognormal.
pub(super) fn about(median: f64, sigma: f64, random: &mut impl Rng) -> f64 {
    let numbers = LogNormal::new(median.ln(), sigma).expect("the spread is finite");
    numbers.sample(random)
}
