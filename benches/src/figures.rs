//! From samples to figures.

use serde_json::{Value, json};

/// Samples of one contender, one a round and thread; `None` for those that were dropped.
pub type Samples = Vec<Option<f64>>;

/// The middle of what was measured, and how far it spreads.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// A quarter lies below.
    pub low: f64,
    /// Half lies below.
    pub median: f64,
    /// A quarter lies above.
    pub high: f64,
}

impl Spread {
    /// Of samples in any order; not numbers if there are none.
    #[must_use]
    pub fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let index = (samples.len().saturating_sub(1) as f64 * part).round();
            samples.get(index as usize).copied().unwrap_or(f64::NAN)
        };
        Self { low: at(0.25), median: at(0.5), high: at(0.75) }
    }

    fn json(self) -> Value {
        json!({ "p25": self.low, "median": self.median, "p75": self.high })
    }
}

/// One contender's line of a table.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Nanoseconds per operation.
    pub nanos: Spread,
    /// The same divided by what the first contender took in the same round on the same thread.
    pub ratio: Spread,
    /// Samples that count.
    pub kept: usize,
    /// Samples in which the thread was preempted.
    pub dropped: usize,
}

impl Row {
    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "name": self.name,
            "nanos": self.nanos.json(),
            "ratio": self.ratio.json(),
            "kept": self.kept,
            "dropped": self.dropped,
        })
    }
}

/// Rows from samples; the first contender is what the others are compared with.
#[must_use]
pub fn rows(names: &[String], samples: &[Samples]) -> Vec<Row> {
    let first = samples.first().map_or(&[][..], Vec::as_slice);
    let row = |(name, own): (&String, &Samples)| {
        let kept: Vec<f64> = own.iter().flatten().copied().collect();
        let pairs = own.iter().zip(first);
        let ratios = pairs.filter_map(|(own, first)| Some((*own)? / (*first)?)).collect();
        Row {
            name: name.clone(),
            dropped: own.len() - kept.len(),
            kept: kept.len(),
            nanos: Spread::of(kept),
            ratio: Spread::of(ratios),
        }
    };
    names.iter().zip(samples).map(row).collect()
}

/// The row of that name.
#[must_use]
pub fn find<'a>(rows: &'a [Row], name: &str) -> Option<&'a Row> {
    rows.iter().find(|row| row.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_those_of_the_sorted_samples() {
        let spread = Spread::of(vec![5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!(spread, Spread { low: 2.0, median: 3.0, high: 4.0 });
        assert!(Spread::of(Vec::new()).median.is_nan());
    }

    #[test]
    fn ratios_are_taken_within_a_round_and_only_between_samples_that_count() {
        let names = ["floor".to_owned(), "other".to_owned()];
        let floor = vec![Some(1.0), Some(10.0), None, Some(4.0)];
        let other = vec![Some(2.0), Some(20.0), Some(1000.0), None];
        let rows = rows(&names, &[floor, other]);
        assert_eq!(rows[1].ratio.median, 2.0);
        assert_eq!((rows[1].kept, rows[1].dropped), (3, 1));
        assert_eq!(rows[0].ratio.median, 1.0);
    }
}
