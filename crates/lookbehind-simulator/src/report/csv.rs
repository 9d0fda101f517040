//! Rows for other programs.

use super::Report;

/// The first line.
pub const HEADER: &str = "trace,policy,budget_percent,pieces,accesses,misses,refetches,stalls";

/// A line for each row, under the header.
pub fn csv(report: &Report) -> String {
    let trace = quoted(&report.measure.name);
    let mut text = format!("{HEADER}\n");
    for row in &report.rows {
        let score = &row.score;
        text += &format!(
            "{trace},{},{},{},{},{},{},{}\n",
            row.policy,
            row.budget_percent,
            row.pieces,
            score.accesses,
            score.misses,
            score.refetches,
            score.stalls
        );
    }
    text
}

/// A file may be called anything.
fn quoted(name: &str) -> String {
    if name.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_if_need_be() {
        assert_eq!(quoted("party-8"), "party-8");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
