//! Traces of known distributions.
//!
//! They are synthetic: no public trace that has playheads and seeks was found. Watch times follow
//! published figures (Yu et al., EuroSys 2006: 37% of sessions under 5 minutes, 53% under 10, about
//! 70% under 25) where many films are watched; popularity is Zipf's; how often viewers do something, and what, are assumptions,
//! which stand in `session.rs`.

mod session;
mod shape;

use std::str::FromStr;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp, Zipf};

use crate::trace::{Event, Storage};
use session::Session;
use shape::Shape;

/// What kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One viewer of one film.
    Solo,
    /// A film that about eight watch at any time, each from its start.
    Party,
    /// Two hundred films.
    Catalogue,
    /// One live stream.
    Live,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::Solo, Kind::Party, Kind::Catalogue, Kind::Live];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Solo => "solo",
            Kind::Party => "party",
            Kind::Catalogue => "catalogue",
            Kind::Live => "live",
        }
    }
}

/// There is no kind of this name.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no kind of trace is called {0:?}")]
pub struct UnknownKind(String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Kind, UnknownKind> {
        let known = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| UnknownKind(name.to_owned()))
    }
}

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// The kind of traffic.
    pub kind: Kind,
    /// The same seed gives the same trace.
    pub seed: u64,
    /// A viewer does something after this time on average, in seconds; above 0.
    pub seek_every: f64,
    /// Zipf's exponent: 0 if all films are as popular; not negative.
    pub zipf: f64,
    /// So many times the usual number of viewers come; above 0. A solo viewer stays alone.
    pub load: f64,
}

impl Recipe {
    /// The usual trace of a kind.
    pub fn new(kind: Kind, seed: u64) -> Recipe {
        Recipe { kind, seed, seek_every: 360.0, zipf: 0.8, load: 1.0 }
    }
}

/// A trace in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// Its storages.
    pub storages: Vec<Storage>,
    /// Its events, in the order of time.
    pub events: Vec<Event>,
}

/// A recipe that nothing can be made from.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{what} is {value}: it should be {wanted}")]
pub struct BadRecipe {
    what: &'static str,
    value: f64,
    wanted: &'static str,
}

/// Makes a trace.
///
/// # Errors
/// If a number of the recipe makes no sense.
pub fn generate(recipe: &Recipe) -> Result<Generated, BadRecipe> {
    let Recipe { kind, seed, seek_every, zipf, load } = *recipe;
    check("the time between a viewer's actions", seek_every, 1.0..1e9, "from 1 s to 1e9 s")?;
    check("Zipf's exponent", zipf, 0.0..10.0, "from 0 to 10")?;
    check("the load", load, 0.001..1000.0, "from 0.001 to 1000")?;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let shape = Shape::of(kind);
    let storages = shape.storages(&mut random);
    let mut by_rank: Vec<u32> = (0..storages.len() as u32).collect();
    by_rank.shuffle(&mut random);
    let ranks = Zipf::new(storages.len() as f64, zipf).expect("both numbers are checked");
    let gaps = Exp::new(load / shape.gap).expect("both numbers are above 0");
    let mut events = Vec::new();
    let mut time = shape.start;
    for viewer in 0.. {
        let rank = ranks.sample(&mut random) as usize - 1;
        let storage = by_rank[rank.min(by_rank.len() - 1)];
        let film = &storages[storage as usize];
        let session = Session::new(&shape, viewer, storage, film, &mut random, &mut events);
        session.watch(time, seek_every);
        time += gaps.sample(&mut random);
        if time >= shape.doors_close {
            break;
        }
    }
    // Stable: what one viewer does at one time stays in its order.
    events.sort_by(|a, b| a.time.total_cmp(&b.time));
    Ok(Generated { storages, events })
}

fn check(
    what: &'static str,
    value: f64,
    range: std::ops::Range<f64>,
    wanted: &'static str,
) -> Result<(), BadRecipe> {
    if range.contains(&value) { Ok(()) } else { Err(BadRecipe { what, value, wanted }) }
}
