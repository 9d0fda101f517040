//! Which piece is worth least.
//!
//! The cache samples candidates, sorts out those whose eviction would free nothing, respects the
//! order of protection, and asks the policy about what is left. So a policy is a number for each
//! candidate, and cannot break a promise of the cache.

use std::ops::Range;
use std::time::Duration;

use super::protect::Protection;
use crate::foreign;
use crate::id::StorageId;

/// A piece that may be evicted, as a [`Policy`] sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Candidate {
    /// The film.
    pub storage: StorageId,
    /// The piece.
    pub piece: u32,
    /// Where in the film it lies.
    pub bytes: Range<u64>,
    /// Bytes that its eviction frees.
    pub size: usize,
    /// How much it is protected. Candidates of a lower protection go first, whatever the policy
    /// says. For a policy that [weighs windows itself](Policy::soft_windows), by name alone.
    pub protection: Protection,
    /// Pieces from the nearest playhead to this one, if one will come by. Not told to a policy that
    /// weighs windows itself: it finds the playheads in its [`Scene`].
    pub next_use: Option<u32>,
    /// Pieces from this one to the nearest playhead that has passed it; likewise.
    pub last_use: Option<u32>,
    /// Whether it was read since eviction last looked at it.
    pub visited: bool,
    /// Versions of its film since it was published: its age, in publications and evictions.
    pub age: u64,
    /// Versions of its film since it was last read, to a few dozen; its age if it never was.
    pub idle: u64,
}

impl Candidate {
    /// A piece that nobody has read and nothing protects, for trying a policy out.
    #[must_use]
    pub fn new(storage: StorageId, piece: u32, bytes: Range<u64>) -> Self {
        let size = usize::try_from(bytes.end.saturating_sub(bytes.start)).unwrap_or(usize::MAX);
        Self {
            storage,
            piece,
            bytes,
            size,
            protection: Protection::None,
            next_use: None,
            last_use: None,
            visited: false,
            age: 0,
            idle: 0,
        }
    }
}

/// A film at the moment of an eviction.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Scene<'a> {
    /// The film.
    pub storage: StorageId,
    /// The time on the cache's clock.
    pub now: Duration,
    /// The bytes of the film that there are: a live film's begin where its window does.
    pub film: Range<u64>,
    /// Whether it still grows.
    pub live: bool,
    /// Whether only its pieces may go: it is the only film, or makes room within its share. Each film
    /// counts its versions by itself, so that ages in one say nothing of those in another.
    pub alone: bool,
    /// Bytes of its longest piece.
    pub piece_len: u64,
    /// Bytes a second, as its players say, or as is assumed.
    pub bitrate: u64,
    /// Its players, open and lingering.
    pub watchers: &'a [Watcher],
}

impl<'a> Scene<'a> {
    /// A film of so many bytes, watched by these.
    #[must_use]
    pub fn new(
        storage: StorageId,
        now: Duration,
        film: Range<u64>,
        piece_len: u64,
        bitrate: u64,
        watchers: &'a [Watcher],
    ) -> Self {
        Self { storage, now, film, live: false, alone: false, piece_len, bitrate, watchers }
    }

    /// The same, still growing.
    #[must_use]
    pub fn live(self) -> Self {
        Self { live: true, ..self }
    }

    /// The same, with no other film whose pieces may go.
    #[must_use]
    pub fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    /// How long so many bytes play, in seconds.
    #[must_use]
    pub fn seconds(&self, bytes: u64) -> f64 {
        seconds(bytes, self.bitrate)
    }
}

/// A player's place in the film.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Watcher {
    /// The byte that is read next.
    pub position: u64,
    /// Bytes ahead of it that it wants to have read, before windows were fitted to the budget.
    pub ahead: u64,
    /// When it was opened.
    pub opened: Duration,
    /// When it last entered another piece, was moved, paused, resumed or closed.
    pub moved: Duration,
    /// Whether it plays, as far as it said.
    pub playing: bool,
    /// Whether it is open; one that was closed lingers, for its viewer may come back.
    pub open: bool,
}

impl Watcher {
    /// One that was opened at that time, and plays.
    #[must_use]
    pub fn new(position: u64, ahead: u64, opened: Duration) -> Self {
        Self { position, ahead, opened, moved: opened, playing: true, open: true }
    }
}

/// What a player did, beyond reading on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlayerEvent {
    /// The film.
    pub storage: StorageId,
    /// Who watches.
    pub viewer: u64,
    /// The time on the cache's clock.
    pub now: Duration,
    /// What was done.
    pub action: Action,
    /// The byte that is read next.
    pub position: u64,
    /// Bytes of the window ahead.
    pub ahead: u64,
    /// The bytes of the film that there are.
    pub film: Range<u64>,
    /// Whether the film still grows.
    pub live: bool,
    /// Bytes a second.
    pub bitrate: u64,
}

impl PlayerEvent {
    /// What a player without a window did in a film that does not grow.
    #[must_use]
    pub fn new(
        storage: StorageId,
        viewer: u64,
        now: Duration,
        action: Action,
        position: u64,
        film: Range<u64>,
        bitrate: u64,
    ) -> Self {
        Self { storage, viewer, now, action, position, ahead: 0, film, live: false, bitrate }
    }

    /// How long so many bytes play, in seconds.
    #[must_use]
    pub fn seconds(&self, bytes: u64) -> f64 {
        seconds(bytes, self.bitrate)
    }
}

/// A kind of [`PlayerEvent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// A player was opened.
    Open,
    /// Its playhead was moved.
    Seek {
        /// The byte that it would have read next.
        from: u64,
    },
    /// It says that it pauses.
    Pause,
    /// It says that it plays on.
    Resume,
    /// It was closed.
    Close,
}

fn seconds(bytes: u64, bitrate: u64) -> f64 {
    bytes as f64 / bitrate.max(1) as f64
}

/// Says what keeping a piece is worth.
///
/// Called on the thread that needs room, outside every lock, for a few dozen candidates an
/// eviction. A panic in it is caught, and what it said nothing of counts as worth nothing.
///
/// ```
/// use lookbehind::{Cache, Candidate, Policy};
///
/// /// Evicts what was published first.
/// struct Fifo;
/// impl Policy for Fifo {
///     fn worth(&self, candidate: &Candidate) -> f64 {
///         -(candidate.age as f64)
///     }
/// }
/// let cache = Cache::builder().budget(1 << 20).policy(Fifo).build()?;
/// # Ok::<(), lookbehind::Error>(())
/// ```
pub trait Policy: Send + Sync {
    /// The worth of keeping the piece; the candidate of the least worth is evicted. Not a number
    /// counts as worth nothing.
    fn worth(&self, candidate: &Candidate) -> f64;

    /// The worth of several pieces of one film, in their order, appended to `worth`. What is not
    /// appended counts as worth nothing. By default each is asked about by itself.
    fn rank(&self, scene: &Scene<'_>, candidates: &[Candidate], worth: &mut Vec<f64>) {
        let _ = scene;
        worth.extend(candidates.iter().map(|candidate| self.worth(candidate)));
    }

    /// Told what players do, on their threads and outside every lock: a policy may learn from it.
    fn notice(&self, event: &PlayerEvent) {
        let _ = event;
    }

    /// Whether it weighs the windows of players by itself. If so, these do not come before its
    /// word: only what was reserved, and what was named by `set_lookbehind`, still does.
    fn soft_windows(&self) -> bool {
        false
    }
}

/// A policy without a memory: next use by playhead, else SIEVE.
///
/// What a playhead will come by is worth the more the sooner that is. What all playheads have
/// passed is worth the less the longer ago. A film that nobody watches goes by SIEVE (Zhang et
/// al., NSDI 2024): unread before read, older before newer, and a mark counts once, for eviction
/// clears the marks that it passes.
#[derive(Clone, Copy, Debug, Default)]
pub struct NextUse;

impl Policy for NextUse {
    fn worth(&self, candidate: &Candidate) -> f64 {
        let near = |distance: u32| 1.0 / (1.0 + f64::from(distance));
        match (candidate.next_use, candidate.last_use) {
            (Some(ahead), _) => 3.0 + near(ahead),
            (None, Some(behind)) => near(behind),
            (None, None) => {
                let mark = if candidate.visited { 2.0 } else { 1.0 };
                mark + 1.0 / (1.0 + candidate.age as f64)
            }
        }
    }
}

/// Asks the policy, whatever it does: `worth` is made a worth for each candidate, in their order.
pub(crate) fn rank(
    policy: &dyn Policy,
    scene: &Scene<'_>,
    candidates: &[Candidate],
    worth: &mut Vec<f64>,
) {
    worth.clear();
    // Should it panic, what it said before counts.
    foreign::call(|| policy.rank(scene, candidates, worth));
    worth.resize(candidates.len(), 0.0);
    worth.iter_mut().filter(|worth| worth.is_nan()).for_each(|worth| *worth = 0.0);
}

/// Tells the policy, whatever it does.
pub(crate) fn notice(policy: &dyn Policy, event: &PlayerEvent) {
    // Should it panic, the player goes on.
    foreign::call(|| policy.notice(event));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate() -> Candidate {
        Candidate::new(StorageId { index: 0, generation: 0 }, 0, 0..1)
    }

    #[test]
    fn what_is_needed_sooner_is_worth_more() {
        let near = Candidate { next_use: Some(1), ..candidate() };
        let far = Candidate { next_use: Some(100), ..candidate() };
        let passed = Candidate { last_use: Some(1), ..candidate() };
        assert!(NextUse.worth(&near) > NextUse.worth(&far));
        assert!(NextUse.worth(&far) > NextUse.worth(&passed));
    }

    #[test]
    fn in_a_film_that_nobody_watches_the_unread_and_the_old_go_first() {
        let read = Candidate { visited: true, age: 9, ..candidate() };
        let old = Candidate { age: 9, ..candidate() };
        let new = Candidate { age: 1, ..candidate() };
        assert!(NextUse.worth(&old) < NextUse.worth(&new));
        assert!(NextUse.worth(&new) < NextUse.worth(&read));
    }

    #[test]
    fn what_will_be_used_what_was_read_what_was_not_and_what_was_passed_never_mix() {
        let in_order = |candidates: [Candidate; 3], least: f64| {
            let worths = candidates.map(|candidate| NextUse.worth(&candidate));
            assert!(worths[0] <= least + 1.0 && worths[2] >= least, "{worths:?}");
            assert!(worths.is_sorted_by(|a, b| a > b), "{worths:?}");
        };
        let distances = [1, 2, 1 << 24];
        in_order([0, 1, 1 << 24].map(|n| Candidate { next_use: Some(n), ..candidate() }), 3.0);
        let ages = [0, 1, 1 << 24];
        in_order(ages.map(|age| Candidate { visited: true, age, ..candidate() }), 2.0);
        in_order(ages.map(|age| Candidate { age, ..candidate() }), 1.0);
        in_order(distances.map(|n| Candidate { last_use: Some(n), ..candidate() }), 0.0);
    }

    #[test]
    fn a_policy_that_panics_or_says_nonsense_is_survived() {
        struct Bad;
        impl Policy for Bad {
            fn worth(&self, candidate: &Candidate) -> f64 {
                assert!(candidate.visited, "unread");
                f64::NAN
            }
        }
        let film = StorageId { index: 0, generation: 0 };
        let scene = Scene::new(film, Duration::ZERO, 0..1, 1, 1, &[]);
        let worths = |policy: &dyn Policy, candidates: &[Candidate]| {
            let mut worths = vec![9.0];
            rank(policy, &scene, candidates, &mut worths);
            worths
        };
        let read = Candidate { visited: true, ..candidate() };
        assert_eq!(worths(&Bad, &[candidate(), read.clone()]), [0.0, 0.0]);
        assert_eq!(worths(&Bad, &[read]), [0.0]);
        struct Silent;
        impl Policy for Silent {
            fn worth(&self, _: &Candidate) -> f64 {
                f64::INFINITY
            }
            fn rank(&self, _: &Scene<'_>, _: &[Candidate], worth: &mut Vec<f64>) {
                worth.push(2.0);
            }
        }
        assert_eq!(worths(&Silent, &[candidate(), candidate()]), [2.0, 0.0]);
    }
}
