//! Rows to look at.

use bytesize::ByteSize;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::Report;
use crate::budget::percent;
use crate::find::Found;
use crate::measure::Measure;
use crate::policies::Policy;

const COLUMNS: [&str; 9] = [
    "policy",
    "budget",
    "pieces",
    "misses",
    "x opt",
    "refetches",
    "x opt",
    "stalls",
    "refetched/viewer-hour",
];

/// What the trace is, and its rows.
pub fn table(report: &Report) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(COLUMNS);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let ratio = |ratio: Option<f64>| ratio.map_or(String::new(), |ratio| format!("{ratio:.3}"));
    for row in &report.rows {
        let hourly = report.refetched_per_hour(row).map(|bytes| ByteSize(bytes as u64).to_string());
        table.add_row([
            row.policy.to_string(),
            format!("{}%", row.budget_percent),
            row.pieces.to_string(),
            row.score.misses.to_string(),
            ratio(report.ratio(row)),
            row.score.refetches.to_string(),
            ratio(report.refetch_ratio(row)),
            row.score.stalls.to_string(),
            hourly.unwrap_or_default(),
        ]);
    }
    format!("{}{}\n", head(&report.measure), table.trim_fmt())
}

/// What the trace is.
fn head(measure: &Measure) -> String {
    format!(
        "{}: {} accesses to {} pieces ({}), {} viewers, {:.1} viewer-hours\n",
        measure.name,
        measure.accesses,
        measure.distinct,
        ByteSize(measure.distinct_bytes),
        measure.viewers,
        measure.viewer_seconds / 3600.0
    )
}

/// A budget that was found.
pub fn found_text(measure: &Measure, policy: Policy, factor: f64, found: &Found) -> String {
    let bytes = measure.bytes(found.pieces as u64);
    format!(
        "{}budget for at most {factor} x the misses at infinite memory, by {policy}:\n\
         {} pieces, {}% of what is touched, {} ({bytes} bytes)\n\
         {} misses, {:.4} x the {} at infinite memory\n",
        head(measure),
        found.pieces,
        percent(found.pieces, measure),
        ByteSize(bytes),
        found.score.misses,
        found.ratio(measure),
        measure.distinct,
    )
}
