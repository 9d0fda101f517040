//! The default policy: a piece is worth the hits a second that keeping it will bring.
//!
//! Belady's optimum evicts what is needed again last. Here nobody knows what is needed when, but
//! much is known of who watches: what a playhead comes by soon is worth much, and less if its viewer
//! may quit or skip until then; what it has passed is worth as much as its viewer is likely to jump
//! back; and each film is worth something to viewers who are yet to arrive, its head and tail the
//! most. [`outlook`] puts these together, from what [`habits`] says of viewers in general, which is
//! learnt from what they do: [`ledger`] counts it.
//!
//! Players tell when they open, seek, pause and close. Between that their playheads move without a
//! word: a hit writes its own cursor and nothing else.
//!
//! Bound: the mutex is held to count an event, and once a second to count all play and make the tables
//! anew, which takes some microseconds and as many steps as there are viewers. Evictions do not take
//! it.

mod curve;
mod habits;
mod ledger;
mod outlook;
mod popularity;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

use std::sync::Arc;

use super::policy::{Candidate, PlayerEvent, Policy, Scene};
use crate::sync::{ArcSwap, Mutex, lock};
use habits::Habits;
use ledger::Ledger;
use outlook::Outlook;
use popularity::Popularity;

/// Hits a second of a piece that was read, in a film that no player has ever opened.
const READ: f64 = 1.0 / 3600.0;

/// The default policy: expected hits a second.
///
/// The worth of a piece is the hits that keeping it is expected to bring, for each second that it is
/// kept, from the playheads that will come by, those that may jump back, and viewers who are yet to
/// arrive. What it goes by is learnt from the players of its cache. Its windows are soft: a piece
/// close ahead of a playhead is worth much for just that, and no more than it is worth.
///
/// Of films that no player has opened yet, what was read since eviction last looked stays longer than
/// what was not, and newer pieces longer than older ones, as in SIEVE (Zhang et al., NSDI 2024). If
/// the pieces of one film only may go, what was read last stays longest, by the coarse time of its
/// versions.
///
/// ```
/// use lookbehind::{Cache, Density};
///
/// let cache = Cache::builder().budget(1 << 20).policy(Density::new()).build()?; // as by default
/// # Ok::<(), lookbehind::Error>(())
/// ```
pub struct Density {
    terms: Terms,
    ledger: Mutex<Ledger>,
    habits: ArcSwap<Habits>,
    popularity: Popularity,
}

impl Density {
    /// A policy that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with_terms(Terms::default())
    }

    /// The same without one term, as if that never happened: to see what it is good for.
    #[must_use]
    pub fn without(self, term: Term) -> Self {
        Self::with_terms(Terms { without: self.terms.without | term.bit() })
    }

    fn with_terms(terms: Terms) -> Self {
        let ledger = Ledger::new();
        let habits = ArcSwap::from_pointee(Habits::new(&ledger.tally, terms));
        Self { terms, ledger: Mutex::new(ledger), habits, popularity: Popularity::default() }
    }
}

/// Something that viewers do, which [`Density`] goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Term {
    /// They leave before the film ends.
    Quitting,
    /// They jump forward over what would have been next.
    Skipping,
    /// They jump back.
    JumpingBack,
    /// They pause.
    Pausing,
    /// New ones come.
    Arriving,
    /// Those read head and tail of the film first.
    Probing,
}

impl Term {
    /// All of them.
    pub const ALL: [Term; 6] = [
        Term::Quitting,
        Term::Skipping,
        Term::JumpingBack,
        Term::Pausing,
        Term::Arriving,
        Term::Probing,
    ];

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The terms that count.
#[derive(Clone, Copy, Default)]
struct Terms {
    without: u8,
}

impl Terms {
    fn has(self, term: Term) -> bool {
        self.without & term.bit() == 0
    }
}

impl Default for Density {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Density {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Density").finish_non_exhaustive()
    }
}

/// The worth of what was read last, or of what is younger where both were in one tick.
fn recent(candidate: &Candidate) -> f64 {
    1.0 / (1.0 + candidate.age as f64) - candidate.idle as f64
}

impl Policy for Density {
    fn worth(&self, candidate: &Candidate) -> f64 {
        let mark = if candidate.visited { 1.0 } else { 0.1 };
        READ * (mark + 0.1 / (1.0 + candidate.age as f64))
    }

    fn rank(&self, scene: &Scene<'_>, candidates: &[Candidate], worth: &mut Vec<f64>) {
        let arrivals = self.popularity.arrivals(scene.storage, scene.now);
        let Some(arrivals) = arrivals.or((!scene.watchers.is_empty()).then_some(0.0)) else {
            let of =
                |candidate| if scene.alone { recent(candidate) } else { self.worth(candidate) };
            return worth.extend(candidates.iter().map(of));
        };
        let habits = self.habits.load();
        let arrivals = if self.terms.has(Term::Arriving) { arrivals } else { 0.0 };
        let outlook = Outlook::new(&habits, scene, arrivals);
        worth.extend(candidates.iter().map(|candidate| outlook.density(candidate)));
    }

    fn notice(&self, event: &PlayerEvent) {
        let mut ledger = lock(&self.ledger);
        if ledger.note(event) {
            self.popularity.arrived(event.storage, event.now);
        }
        if ledger.is_due(event.now) {
            self.habits.store(Arc::new(Habits::new(&ledger.tally, self.terms)));
        }
    }

    fn soft_windows(&self) -> bool {
        true
    }
}
