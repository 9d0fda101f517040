//! How often a piece was used lately, roughly: a count-min sketch of four rows (Cormode and
//! Muthukrishnan, 2005) that is halved from time to time (Einziger et al., 2017).

use ahash::RandomState;

use crate::trace::Key;

const ROWS: usize = 4;
/// Counts fit four bits, as in the paper.
const MOST: u8 = 15;

pub struct Sketch {
    rows: [Vec<u8>; ROWS],
    hash: RandomState,
    mask: usize,
    added: usize,
    /// Counts are halved after so many additions.
    period: usize,
}

impl Sketch {
    /// For a cache of so many pieces.
    pub fn new(capacity: usize) -> Sketch {
        // Wide enough that pieces which share a place are few.
        let width = capacity.saturating_mul(4).clamp(64, 1 << 28).next_power_of_two();
        Sketch {
            rows: std::array::from_fn(|_| vec![0; width]),
            // With fixed seeds, so that a replay repeats itself.
            hash: RandomState::with_seeds(1, 2, 3, 4),
            mask: width - 1,
            added: 0,
            period: capacity.saturating_mul(10).max(1),
        }
    }

    fn places(&self, key: Key) -> [usize; ROWS] {
        let hash = self.hash.hash_one(key);
        let (first, step) = (hash as usize, (hash >> 32) as usize | 1);
        std::array::from_fn(|row| first.wrapping_add(step.wrapping_mul(row)) & self.mask)
    }

    pub fn add(&mut self, key: Key) {
        let places = self.places(key);
        for (row, place) in self.rows.iter_mut().zip(places) {
            row[place] = (row[place] + 1).min(MOST);
        }
        self.added += 1;
        if self.added >= self.period {
            self.added /= 2;
            self.rows.iter_mut().flatten().for_each(|count| *count /= 2);
        }
    }

    pub fn estimate(&self, key: Key) -> u8 {
        let counts = self.rows.iter().zip(self.places(key)).map(|(row, place)| row[place]);
        counts.min().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_up_and_forgets() {
        let mut sketch = Sketch::new(64);
        let key = |piece| Key { storage: 0, piece };
        (0..9).for_each(|_| sketch.add(key(1)));
        sketch.add(key(2));
        assert!(sketch.estimate(key(1)) >= 9 && sketch.estimate(key(2)) >= 1);
        assert!(sketch.estimate(key(2)) < sketch.estimate(key(1)));
        (0..630).for_each(|_| sketch.add(key(3)));
        assert_eq!(sketch.estimate(key(1)), 4);
        assert_eq!(sketch.estimate(key(3)), 7);
    }
}
