//! Which piece is worth least.
//!
//! The cache samples candidates, sorts out those whose eviction would free nothing, respects the
//! order of protection, and asks the policy about what is left. So a policy is a number for each
//! candidate, and cannot break a promise of the cache.

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
    /// Bytes that its eviction frees.
    pub size: usize,
    /// How much it is protected. Candidates of a lower protection go first, whatever the policy
    /// says.
    pub protection: Protection,
    /// Pieces from the nearest playhead to this one, if one will come by.
    pub next_use: Option<u32>,
    /// Pieces from this one to the nearest playhead that has passed it.
    pub last_use: Option<u32>,
    /// Whether it was read since eviction last looked at it.
    pub visited: bool,
    /// Versions of its film since it was published: its age, in publications and evictions.
    pub age: u64,
}

/// Says what keeping a piece is worth.
///
/// Called on the thread that needs room, outside every lock, for a few dozen candidates an
/// eviction. A panic in it is caught, and the candidate counts as worth nothing.
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
}

/// The first good policy: next use by playhead, else SIEVE.
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

/// Asks the policy, whatever it does.
pub(crate) fn worth(policy: &dyn Policy, candidate: &Candidate) -> f64 {
    let worth = foreign::call(|| policy.worth(candidate));
    worth.filter(|worth| !worth.is_nan()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate() -> Candidate {
        Candidate {
            storage: StorageId { index: 0, generation: 0 },
            piece: 0,
            size: 0,
            protection: Protection::None,
            next_use: None,
            last_use: None,
            visited: false,
            age: 0,
        }
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
        assert_eq!(worth(&Bad, &candidate()), 0.0);
        assert_eq!(worth(&Bad, &Candidate { visited: true, ..candidate() }), 0.0);
    }
}
