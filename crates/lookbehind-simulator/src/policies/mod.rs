//! The policies that a trace can be replayed through.
//!
//! Each owns what is resident in it and follows its paper, with two rules that suit players. For
//! all but OPT: what is inside the window of an open viewer is not evicted unless everything is,
//! for its player would fetch it again at once. For those that count uses: that a piece is read
//! ahead and then played is one use ([`Players::is_use`]). Without the rules these policies only
//! look worse.

mod clock;
mod density;
mod fifo;
mod library;
mod lru;
mod next_use;
mod opt;
mod queue;
mod s3_fifo;
mod sieve;
mod sketch;
mod w_tinylfu;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use lookbehind::Term;
use serde::{Serialize, Serializer};

use crate::measure::Measure;
use crate::players::Players;
use crate::trace::Event;

pub(crate) use opt::NEVER;

/// A cache of a number of pieces under some policy.
pub trait Cache {
    /// Something happened; called for every event, before [`Cache::access`] if it needs a piece.
    fn tell(&mut self, event: &Event, players: &Players) {
        let _ = (event, players);
    }

    /// A piece is needed: whether it is there. If not, it is fetched, and stored unless the policy
    /// refuses it. `players` know of the event already.
    fn access(&mut self, event: &Event, players: &Players) -> bool;
}

/// A policy, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Belady's, with bypass: what no other can beat.
    Opt,
    /// What was used least recently goes.
    Lru,
    /// The same, with heads and tails of films kept.
    LruReserved,
    /// What came first goes.
    Fifo,
    /// What came first goes, unless it was used since the hand came by.
    Clock,
    /// SIEVE.
    Sieve,
    /// S3-FIFO.
    S3Fifo,
    /// W-TinyLFU.
    WTinyLfu,
    /// What a playhead comes by last goes.
    NextUse,
    /// What is expected to bring the fewest hits a second goes: the library's own.
    Density,
    /// The same without one of its terms.
    Without(Term),
    /// The library itself, policy, tables, budget and all.
    Library,
}

impl Policy {
    /// Those that are compared unless others are asked for, in the order of reports.
    pub const COMPARED: [Policy; 9] = [
        Policy::Opt,
        Policy::Lru,
        Policy::Fifo,
        Policy::Clock,
        Policy::Sieve,
        Policy::S3Fifo,
        Policy::WTinyLfu,
        Policy::NextUse,
        Policy::Density,
    ];

    /// All that there are, in the order of reports.
    pub fn all() -> impl Iterator<Item = Policy> {
        let without = Term::ALL.into_iter().map(Policy::Without);
        Self::COMPARED.into_iter().chain([Policy::LruReserved, Policy::Library]).chain(without)
    }

    /// Its name in reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Opt => "opt",
            Policy::Lru => "lru",
            Policy::LruReserved => "lru-reserved",
            Policy::Fifo => "fifo",
            Policy::Clock => "clock",
            Policy::Sieve => "sieve",
            Policy::S3Fifo => "s3-fifo",
            Policy::WTinyLfu => "w-tinylfu",
            Policy::NextUse => "next-use",
            Policy::Density => "density",
            Policy::Without(Term::Quitting) => "density-without-quitting",
            Policy::Without(Term::Skipping) => "density-without-skipping",
            Policy::Without(Term::JumpingBack) => "density-without-jumping-back",
            Policy::Without(Term::Pausing) => "density-without-pausing",
            Policy::Without(Term::Arriving) => "density-without-arriving",
            Policy::Without(Term::Probing) => "density-without-probing",
            Policy::Without(_) => "density-without",
            Policy::Library => "library",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Policy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// There is no policy of this name.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no policy is called {0:?}")]
pub struct UnknownPolicy(String);

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Policy, UnknownPolicy> {
        let known = Policy::all().find(|policy| policy.name() == name);
        known.ok_or_else(|| UnknownPolicy(name.to_owned()))
    }
}

/// A policy has no cache for a trace.
#[derive(Debug, thiserror::Error)]
pub enum Unbuilt {
    /// It looks ahead, and the trace was measured with too little memory for that.
    #[error("the trace is too long to look ahead in")]
    TooLong,
    /// The library does not take the trace's films.
    #[error("the library does not take it: {0}")]
    Library(#[from] lookbehind::Error),
}

/// An empty cache for this trace. What a policy draws at random follows from `seed`.
///
/// # Errors
/// If the policy looks ahead and the trace is too long for that, or if the library refuses the films
/// that it has.
pub fn build(
    policy: Policy,
    trace: &Measure,
    capacity: usize,
    seed: u64,
) -> Result<Box<dyn Cache>, Unbuilt> {
    // With room for one piece more than there are it is never full: what a policy sets up by its
    // capacity need not follow a number that stands in the trace, or that was asked for.
    let capacity = capacity.min((trace.distinct as usize).saturating_add(1));
    Ok(match policy {
        Policy::Opt => {
            Box::new(opt::Opt::new(trace.next.clone().ok_or(Unbuilt::TooLong)?, capacity))
        }
        Policy::Lru => Box::new(lru::Lru::new(capacity)),
        Policy::LruReserved => Box::new(lru::Lru::reserving(capacity, &trace.storages)),
        Policy::Fifo => Box::new(fifo::Fifo::new(capacity)),
        Policy::Clock => Box::new(clock::Clock::new(capacity)),
        Policy::Sieve => Box::new(sieve::Sieve::new(capacity)),
        Policy::S3Fifo => Box::new(s3_fifo::S3Fifo::new(capacity)),
        Policy::WTinyLfu => Box::new(w_tinylfu::WTinyLfu::new(capacity)),
        Policy::NextUse => Box::new(next_use::NextUse::new(capacity, &trace.storages)),
        Policy::Density => Box::new(density::Density::new(capacity, trace, seed, None)),
        Policy::Without(term) => Box::new(density::Density::new(capacity, trace, seed, Some(term))),
        Policy::Library => Box::new(library::Library::new(capacity, trace)?),
    })
}
