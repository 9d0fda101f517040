//! What is said about a replay.

mod csv;
mod json;
mod plot;
mod table;

pub use csv::{HEADER, csv};
pub use json::{found_json, json};
pub use plot::plot;
pub use table::{found_text, table};

use crate::measure::Measure;
use crate::policies::Policy;
use crate::score::Score;

/// A policy with a budget, and how it did.
#[derive(Clone, Debug)]
pub struct Row {
    /// The policy.
    pub policy: Policy,
    /// The budget, in percent of what the trace touches.
    pub budget_percent: f64,
    /// The same in pieces.
    pub pieces: usize,
    /// How it did.
    pub score: Score,
}

/// All rows of a trace.
#[derive(Clone, Debug)]
pub struct Report {
    /// The trace.
    pub measure: Measure,
    /// Its rows, budget by budget.
    pub rows: Vec<Row>,
}

impl Report {
    /// OPT with the same budget.
    fn best(&self, row: &Row) -> Option<&Score> {
        let best = self.rows.iter().find(|r| r.policy == Policy::Opt && r.pieces == row.pieces);
        best.map(|row| &row.score)
    }

    /// Misses relative to OPT's, if it was asked as well.
    pub fn ratio(&self, row: &Row) -> Option<f64> {
        let best = self.best(row)?.misses;
        (best > 0).then(|| row.score.misses as f64 / best as f64)
    }

    /// Refetches relative to OPT's, if it was asked as well and has some.
    pub fn refetch_ratio(&self, row: &Row) -> Option<f64> {
        let best = self.best(row)?.refetches;
        (best > 0).then(|| row.score.refetches as f64 / best as f64)
    }

    /// Bytes that were fetched again, for an hour that one viewer watches.
    pub fn refetched_per_hour(&self, row: &Row) -> Option<f64> {
        let hours = self.measure.viewer_seconds / 3600.0;
        (hours > 0.0).then(|| row.score.refetched_bytes as f64 / hours)
    }
}
