//! Functions of a time, as tables: what the policy learns and what it looks up.
//!
//! Everything that players do spreads over orders of magnitude, from a skip of ten seconds to a
//! film of hours. So the tables' steps widen with time: four to an octave, a second wide at first.

use std::array;

/// Steps of a table. The last ones end after three days.
pub(super) const STEPS: usize = 64;

/// Sightings that weigh no more than this are not forgotten any further: parts of nothing are not
/// numbers.
pub(super) const FAINT: f64 = 1e-100;

/// The step that a time lies in, and how far in it.
fn place(seconds: f64) -> (usize, f64) {
    // Four added, the exponent counts octaves and the two bits behind it their quarters.
    let bits = (seconds.max(0.0) + 4.0).to_bits();
    let octave = (bits >> 52).saturating_sub(1023 + 2) as usize;
    let step = octave * 4 + ((bits >> 50) & 3) as usize;
    let rest = bits & ((1 << 50) - 1);
    if step < STEPS { (step, rest as f64 / (1u64 << 50) as f64) } else { (STEPS - 1, 1.0) }
}

/// Where a step begins, in seconds.
pub(super) fn start(step: usize) -> f64 {
    ((1u64 << (step / 4 + 2)) as f64) * (1.0 + (step % 4) as f64 / 4.0) - 4.0
}

pub(super) fn width(step: usize) -> f64 {
    start(step + 1) - start(step)
}

pub(super) fn middle(step: usize) -> f64 {
    (start(step) + start(step + 1)) / 2.0
}

/// The step that a time lies in.
pub(super) fn step_of(seconds: f64) -> usize {
    place(seconds).0
}

/// A function of a time, by its values where the steps begin; straight in between, and level
/// behind the last.
#[derive(Clone)]
pub(super) struct Curve([f64; STEPS + 1]);

impl Curve {
    pub(super) fn new(value: impl FnMut(usize) -> f64) -> Self {
        Self(array::from_fn(value))
    }

    /// The sum, from 0 on, of what grows by so much in each step.
    pub(super) fn sum(mut growth: impl FnMut(usize) -> f64) -> Self {
        let mut sum = 0.0;
        Self::new(|step| {
            let before = sum;
            sum += if step < STEPS { growth(step) } else { 0.0 };
            before
        })
    }

    #[inline]
    pub(super) fn at(&self, seconds: f64) -> f64 {
        let (step, part) = place(seconds);
        self.0[step] + (self.0[step + 1] - self.0[step]) * part
    }

    /// The area below it up to each time.
    pub(super) fn integral(&self) -> Self {
        Self::sum(|step| (self.0[step] + self.0[step + 1]) / 2.0 * width(step))
    }

    pub(super) fn last(&self) -> f64 {
        self.0[STEPS]
    }

    pub(super) fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self(self.0.map(f))
    }
}

/// How often something took how long.
#[derive(Clone)]
pub(super) struct Histogram {
    counts: [f64; STEPS],
    total: f64,
}

impl Histogram {
    /// What is assumed before anything was seen, as so many sightings: a mixture of lognormal
    /// distributions, each given by its median in seconds, its spread, and its part.
    pub(super) fn assumed(parts: &[(f64, f64, f64)], sightings: f64) -> Self {
        let mut counts = [0.0; STEPS];
        for &(median, spread, part) in parts {
            let density = |step: usize| {
                let at = (middle(step) / median).ln() / spread;
                (-at * at / 2.0).exp() * width(step) / middle(step)
            };
            let whole: f64 = (0..STEPS).map(density).sum();
            for (step, count) in counts.iter_mut().enumerate() {
                *count += sightings * part * density(step) / whole;
            }
        }
        Self { counts, total: counts.iter().sum() }
    }

    pub(super) fn add(&mut self, seconds: f64) {
        self.counts[step_of(seconds)] += 1.0;
        self.total += 1.0;
    }

    /// Forgets half of it.
    pub(super) fn fade(&mut self) {
        if self.total <= FAINT {
            return;
        }
        self.counts.iter_mut().for_each(|count| *count /= 2.0);
        self.total /= 2.0;
    }

    /// The part that lies in a step.
    pub(super) fn part(&self, step: usize) -> f64 {
        self.counts[step] / self.total
    }

    /// The part that took at least so long.
    pub(super) fn survival(&self) -> Curve {
        let mut left = self.total;
        Curve::new(|step| {
            let before = left.max(0.0) / self.total;
            left -= self.counts.get(step).unwrap_or(&0.0);
            if step == STEPS { 0.0 } else { before }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_each_other_without_gaps() {
        assert_eq!((start(0), start(1), start(4), start(8)), (0.0, 1.0, 4.0, 12.0));
        for step in 0..STEPS {
            assert_eq!(step_of(start(step)), step);
            assert_eq!(step_of(start(step + 1) * 0.999_999), step);
            assert!(start(step) < middle(step) && middle(step) < start(step + 1));
        }
        assert!(start(STEPS) > 3.0 * 86_400.0);
    }

    #[test]
    fn a_curve_is_straight_between_its_values_and_level_at_its_ends() {
        let line = Curve::new(|step| 2.0 * start(step));
        for x in [0.0, 0.3, 1.0, 5.5, 100.0, 3600.0] {
            assert!((line.at(x) - 2.0 * x).abs() < 1e-9, "{x}");
        }
        assert_eq!(line.at(f64::INFINITY), line.last());
        assert_eq!((line.at(-5.0), line.at(f64::NAN)), (0.0, 0.0));
        assert_eq!(line.at(f64::MAX), line.last());
    }

    #[test]
    fn an_integral_is_the_area_so_far() {
        let area = Curve::new(start).integral();
        for x in [1.0, 4.0, 12.0, 1020.0] {
            assert!((area.at(x) - x * x / 2.0).abs() < 1e-6, "{x}: {}", area.at(x));
        }
    }

    #[test]
    fn survival_falls_from_one_to_zero_past_what_was_seen() {
        let mut seen = Histogram::assumed(&[(30.0, 1.0, 1.0)], 4.0);
        for _ in 0..10_000 {
            seen.add(9.5);
        }
        let survival = seen.survival();
        assert!((survival.at(0.0) - 1.0).abs() < 1e-9 && survival.last() == 0.0);
        assert!(survival.at(7.9) > 0.999 && survival.at(10.1) < 0.001);
        seen.fade();
        assert!((seen.survival().at(7.9) - survival.at(7.9)).abs() < 1e-9);
        assert!((0..STEPS).map(|step| seen.part(step)).sum::<f64>() > 0.999);
    }

    #[test]
    fn what_is_assumed_has_its_median_and_its_weight() {
        let assumed = Histogram::assumed(&[(60.0, 1.2, 0.7), (600.0, 0.5, 0.3)], 8.0);
        assert!((assumed.total - 8.0).abs() < 1e-9);
        let survival = assumed.survival();
        assert!((survival.at(60.0) - 0.65).abs() < 0.03, "{}", survival.at(60.0));
        assert!((survival.at(600.0) - 0.16).abs() < 0.03, "{}", survival.at(600.0));
    }
}
