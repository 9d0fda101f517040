//! One trait for everything that is compared.

use crate::draw::Draw;
use crate::hits::{Count, Hits, Sample};
use crate::stock::Key;
use crate::tails::{Tail, TailSample};

/// What a reading thread does.
pub trait Body {
    /// What comes of it.
    type Output;

    /// Does it. `hit` looks a piece up and touches its ends; 0 if it is not there.
    fn run<H: FnMut(Key) -> u64>(self, hit: H) -> Self::Output;
}

/// One way to read one cache, and to replace what is in it.
pub trait Contender: Send + Sync {
    /// Whether a thread keeps its view, and so does not see what is replaced meanwhile.
    const KEPT: bool = false;

    /// Its name in tables: this crate's begin with the scheme, the old designs' with "replaced".
    fn name(&self) -> String;

    /// Runs `body` on this thread. What a thread keeps from hit to hit, a reader, a guard, a
    /// snapshot, lives on the stack of this call; what it takes for each hit is in the closure.
    fn read<B: Body>(&self, body: B) -> B::Output;

    /// Puts a copy of `bytes` in the place of the piece; whether that was possible. One thread
    /// at a time.
    fn replace(&self, key: Key, bytes: &[u8]) -> bool;
}

/// A contender as the harnesses take it: each body compiled for it.
pub trait Case: Send + Sync {
    /// [`Contender::name`].
    fn name(&self) -> String;
    /// [`Contender::KEPT`].
    fn kept(&self) -> bool;
    /// [`Contender::replace`].
    fn replace(&self, key: Key, bytes: &[u8]) -> bool;
    /// A sample of hits.
    fn hits(&self, work: Hits<'_>) -> Sample;
    /// The times of single hits.
    fn tail(&self, work: Tail) -> TailSample;
    /// Hits without a clock; their sum.
    fn count(&self, draw: Draw, hits: u64) -> u64;
}

impl<C: Contender> Case for C {
    fn name(&self) -> String {
        Contender::name(self)
    }

    fn kept(&self) -> bool {
        C::KEPT
    }

    fn replace(&self, key: Key, bytes: &[u8]) -> bool {
        Contender::replace(self, key, bytes)
    }

    fn hits(&self, work: Hits<'_>) -> Sample {
        self.read(work)
    }

    fn tail(&self, work: Tail) -> TailSample {
        self.read(work)
    }

    fn count(&self, draw: Draw, hits: u64) -> u64 {
        self.read(Count { draw, hits })
    }
}
