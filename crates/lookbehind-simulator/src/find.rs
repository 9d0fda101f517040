//! The least budget that is good enough.

use crate::budget::LEAST;
use crate::measure::Measure;
use crate::policies::{Policy, Unbuilt, build};
use crate::replay::{Run, replay};
use crate::score::Score;
use crate::trace::{Error, TraceFile};

/// So many budgets are tried in one pass.
const AT_ONCE: usize = 8;

/// A budget that was found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// In pieces.
    pub pieces: usize,
    /// What the policy does with it.
    pub score: Score,
}

impl Found {
    /// Its misses, relative to those of infinite memory.
    pub fn ratio(&self, measure: &Measure) -> f64 {
        self.score.misses as f64 / measure.distinct.max(1) as f64
    }
}

/// Finds the least budget with which the policy has at most `factor` times the misses of infinite
/// memory, or says why there is no such cache for this trace.
///
/// The search halves, or rather ninths: it takes for granted that more memory means no more misses.
/// Of a policy for which that is not quite so it finds a budget that is good enough, and whose
/// next smaller one is not.
///
/// # Errors
/// If the trace is malformed.
pub fn find_budget(
    trace: &TraceFile,
    measure: &Measure,
    policy: Policy,
    factor: f64,
    seed: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<Result<Found, Unbuilt>, Error> {
    let most = usize::try_from(measure.distinct).unwrap_or(usize::MAX).max(LEAST);
    let enough = (measure.distinct as f64 * factor).floor() as u64;
    let (mut low, mut high) = (LEAST, most);
    let mut found = None;
    // With room for everything, everything is missed once; that is tried as well, for its score.
    loop {
        if let Some(found) = found.filter(|_| low >= high) {
            return Ok(Ok(found));
        }
        let budgets = spread(low, high);
        let caches = budgets.iter().map(|&pieces| build(policy, measure, pieces, seed));
        let mut runs = match caches.map(|cache| cache.map(Run::new)).collect::<Result<Vec<_>, _>>()
        {
            Ok(runs) => runs,
            Err(why) => return Ok(Err(why)),
        };
        replay(trace, measure, &mut runs, progress)?;
        for (&pieces, run) in budgets.iter().zip(&runs) {
            if run.score.misses <= enough || pieces == most {
                high = pieces;
                found = Some(Found { pieces, score: run.score });
                break;
            }
            low = pieces + 1;
        }
    }
}

/// Budgets between two, evenly, the higher one among them.
fn spread(low: usize, high: usize) -> Vec<usize> {
    let width = high - low;
    let part = |i: usize| low + (width as u128 * i as u128 / AT_ONCE as u128) as usize;
    let mut budgets: Vec<usize> = (0..=AT_ONCE).map(part).collect();
    budgets.dedup();
    budgets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_between_two() {
        assert_eq!(spread(8, 8), [8]);
        assert_eq!(spread(8, 10), [8, 9, 10]);
        assert_eq!(spread(0, 80), [0, 10, 20, 30, 40, 50, 60, 70, 80]);
    }
}
