//! Which bytes of a piece there are: a sorted set of ranges.

use std::ops::Range;

use crate::error::{Error, Result};

/// A set of bytes of one piece, kept as sorted, disjoint, half-open ranges that do not touch.
///
/// Room for the ranges is taken once, at creation, so that the budget can count it and writing
/// a block never allocates. Blocks that arrive in any order leave few ranges; only blocks far
/// apart leave many, and beyond the capacity they are refused.
#[derive(Debug)]
pub(crate) struct Ranges {
    /// Each ends before the next starts, with a gap of at least one byte.
    runs: Vec<Range<u32>>,
    /// Kept apart from the vector's capacity, which may turn out larger than asked for.
    limit: usize,
}

/// A range could not be added, for the set has as many separate ranges as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Ranges {
    /// An empty set with room for `limit` separate ranges.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`] if the allocator refuses.
    pub(crate) fn with_capacity(limit: usize) -> Result<Self> {
        let mut runs = Vec::new();
        runs.try_reserve_exact(limit).map_err(|_| Error::OutOfMemory {
            bytes: (limit as u64).saturating_mul(size_of::<Range<u32>>() as u64),
        })?;
        Ok(Self { runs, limit })
    }

    /// Adds the bytes of `range`, which may overlap and touch what is there. An empty range
    /// adds nothing.
    ///
    /// # Errors
    ///
    /// [`Full`] if one more separate range would be one too many; the set is unchanged then.
    pub(crate) fn insert(&mut self, range: Range<u32>) -> Result<(), Full> {
        if range.is_empty() {
            return Ok(());
        }
        // From `from` up to `to` are the runs that overlap or touch the new one.
        let from = self.runs.partition_point(|run| run.end < range.start);
        let to = self.runs.partition_point(|run| run.start <= range.end);
        if from == to {
            if self.runs.len() >= self.limit {
                return Err(Full);
            }
            self.runs.insert(from, range);
        } else {
            let start = range.start.min(self.runs[from].start);
            let end = range.end.max(self.runs[to - 1].end);
            self.runs[from] = start..end;
            self.runs.drain(from + 1..to);
        }
        Ok(())
    }

    /// The first stretch within `range` that is not in the set, as long as it goes; `None` if
    /// all of it is in the set, or it is empty.
    pub(crate) fn first_gap(&self, range: Range<u32>) -> Option<Range<u32>> {
        let mut start = range.start;
        let mut next = self.runs.partition_point(|run| run.end <= start);
        if let Some(run) = self.runs.get(next)
            && run.start <= start
        {
            // Runs do not touch, so that a gap follows this one for certain.
            start = run.end;
            next += 1;
        }
        let end = match self.runs.get(next) {
            Some(run) => range.end.min(run.start),
            None => range.end,
        };
        (start < end).then_some(start..end)
    }

    /// Whether every byte of `range` is in the set; so for an empty range.
    pub(crate) fn contains(&self, range: Range<u32>) -> bool {
        self.first_gap(range).is_none()
    }

    /// The end of the run that starts at 0, or 0 if byte 0 is not in the set.
    pub(crate) fn prefix(&self) -> u32 {
        match self.runs.first() {
            Some(run) if run.start == 0 => run.end,
            _ => 0,
        }
    }

    /// How many bytes are in the set.
    pub(crate) fn covered(&self) -> u64 {
        self.runs.iter().map(|run| u64::from(run.end - run.start)).sum()
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a list of ranges it is")]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    fn ranges(limit: usize, parts: &[Range<u32>]) -> Ranges {
        let mut set = Ranges::with_capacity(limit).expect("a few bytes");
        for part in parts {
            set.insert(part.clone()).expect("within the capacity");
        }
        set
    }

    #[test]
    fn touching_and_overlapping_ranges_become_one() {
        assert_eq!(ranges(2, &[0..4, 4..8]).runs, [0..8]);
        assert_eq!(ranges(2, &[4..8, 0..4]).runs, [0..8]);
        assert_eq!(ranges(2, &[0..6, 2..8]).runs, [0..8]);
        assert_eq!(ranges(3, &[0..2, 4..6, 8..9, 1..9]).runs, [0..9]);
    }

    #[test]
    fn a_full_set_refuses_a_new_run_but_still_merges() {
        let mut set = ranges(2, &[0..1, 4..5]);
        assert_eq!(set.insert(2..3), Err(Full));
        assert_eq!(set.runs, [0..1, 4..5], "nothing changed");
        assert_eq!(set.insert(1..2), Ok(()));
        assert_eq!(set.insert(0..5), Ok(()));
        assert_eq!(set.insert(7..8), Ok(()), "merging made room");
    }

    #[test]
    fn the_first_gap_is_as_long_as_it_goes_and_no_longer() {
        let set = ranges(2, &[2..4, 6..8]);
        assert_eq!(set.first_gap(0..10), Some(0..2));
        assert_eq!(set.first_gap(2..10), Some(4..6));
        assert_eq!(set.first_gap(3..5), Some(4..5));
        assert_eq!(set.first_gap(7..10), Some(8..10));
        assert_eq!(set.first_gap(6..8), None);
    }

    #[test]
    fn the_whole_range_of_offsets_is_usable() {
        let set = ranges(1, &[0..u32::MAX]);
        assert_eq!(set.covered(), u64::from(u32::MAX));
        assert_eq!(set.prefix(), u32::MAX);
        assert!(set.contains(0..u32::MAX));
    }

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "the point of the test")]
    fn empty_and_reversed_ranges_add_nothing_and_lack_nothing() {
        let mut set = ranges(0, &[3..3, 5..2]);
        assert_eq!(set.covered(), 0);
        assert!(set.contains(3..3) && set.contains(5..2));
        assert_eq!(set.insert(0..1), Err(Full));
    }

    #[test]
    fn a_capacity_that_no_machine_has_is_an_error() {
        assert!(matches!(Ranges::with_capacity(usize::MAX), Err(Error::OutOfMemory { .. })));
    }

    #[test]
    fn any_sequence_agrees_with_a_map_of_bytes() {
        const LEN: u32 = 48;
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let any = |rng: &mut StdRng| {
            let start = rng.random_range(0..LEN);
            start..rng.random_range(start..=LEN.min(start + 9))
        };
        for _ in 0..400 {
            let limit = rng.random_range(0..8);
            let mut set = ranges(limit, &[]);
            let heap = set.runs.capacity();
            let mut map = vec![false; LEN as usize];
            for _ in 0..40 {
                let new = any(&mut rng);
                let mut wanted = map.clone();
                wanted[new.start as usize..new.end as usize].fill(true);
                let runs = wanted.chunk_by(|a, b| a == b).filter(|run| run[0]).count();
                // A set that is full refuses what lies apart, and takes all else.
                if runs > limit {
                    assert_eq!(set.insert(new), Err(Full));
                } else {
                    assert_eq!(set.insert(new), Ok(()));
                    map = wanted;
                }
                let part = any(&mut rng);
                let gap = part.clone().find(|&at| !map[at as usize]).map(|start| {
                    let end = (start..part.end).find(|&at| map[at as usize]);
                    start..end.unwrap_or(part.end)
                });
                assert_eq!(set.contains(part.clone()), gap.is_none());
                assert_eq!(set.first_gap(part), gap);
                let covered = map.iter().filter(|&&there| there).count();
                assert_eq!(set.covered(), covered as u64);
                let prefix = map.iter().take_while(|&&there| there).count();
                assert_eq!(set.prefix() as usize, prefix);
                assert_eq!(set.runs.capacity(), heap, "the room is taken once");
            }
        }
    }
}
