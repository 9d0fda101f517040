//! Rows with everything that is known.

use serde_json::{Value, json};

use super::{Report, Row};
use crate::find::Found;
use crate::measure::Measure;
use crate::policies::Policy;

/// The trace and its rows.
pub fn json(report: &Report) -> Value {
    let row = |row: &Row| {
        json!({
            "policy": row.policy,
            "budget_percent": row.budget_percent,
            "pieces": row.pieces,
            "bytes": report.measure.bytes(row.pieces as u64),
            "accesses": row.score.accesses,
            "misses": row.score.misses,
            "refetches": row.score.refetches,
            "stalls": row.score.stalls,
            "refetched_bytes": row.score.refetched_bytes,
            "refetched_bytes_per_viewer_hour": report.refetched_per_hour(row),
            "misses_to_opt": report.ratio(row),
            "refetches_to_opt": report.refetch_ratio(row),
        })
    };
    json!({
        "trace": trace(&report.measure),
        "rows": report.rows.iter().map(row).collect::<Vec<_>>(),
    })
}

/// A budget that was found.
pub fn found_json(measure: &Measure, policy: Policy, factor: f64, found: &Found) -> Value {
    json!({
        "trace": trace(measure),
        "policy": policy,
        "factor": factor,
        "pieces": found.pieces,
        "bytes": measure.bytes(found.pieces as u64),
        "misses": found.score.misses,
        "misses_at_infinite_memory": measure.distinct,
        "ratio": found.ratio(measure),
    })
}

fn trace(measure: &Measure) -> Value {
    json!({
        "name": measure.name,
        "storages": measure.storages.len(),
        "viewers": measure.viewers,
        "viewer_hours": measure.viewer_seconds / 3600.0,
        "seconds": measure.seconds,
        "accesses": measure.accesses,
        "distinct_pieces": measure.distinct,
        "distinct_bytes": measure.distinct_bytes,
        "base_pieces": measure.base,
    })
}
