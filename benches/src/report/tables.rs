//! Tables of the page, and who is ahead in them.

use std::fmt::Write as _;

use serde_json::Value;

use crate::figures::{Row, find};

/// A number with as many digits as say something.
pub fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => "-".into(),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// A table out of its head and lines.
pub fn table(head: &[&str], lines: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for line in lines {
        let _ = writeln!(text, "| {} |", line.join(" | "));
    }
    text
}

/// The usual table of one run: nanoseconds, the quartiles around them, and ratios to the first.
pub fn usual(what: &str, rows: &[Row]) -> String {
    let head = [what, "ns", "quartiles", "ratio", "samples", "dropped"];
    let line = |row: &Row| {
        vec![
            row.name.clone(),
            number(row.nanos.median),
            format!("{} to {}", number(row.nanos.low), number(row.nanos.high)),
            number(row.ratio.median),
            row.kept.to_string(),
            row.dropped.to_string(),
        ]
    };
    table(&head, rows.iter().map(line))
}

/// All rows as JSON.
pub fn json(rows: &[Row]) -> Value {
    Value::Array(rows.iter().map(Row::json).collect())
}

/// Whether a name is that of another crate.
pub fn is_peer(name: &str) -> bool {
    let own = ["Interval", "Epoch", "Hyaline", "floor", "draw", "replaced", "copy", "Held"];
    !own.iter().any(|own| name.starts_with(own))
}

/// Says which peers take less time than Lookbehind's row of that name.
pub fn ahead(rows: &[Row], ours: &str, peers: impl Fn(&str) -> bool) -> String {
    let Some(our) = find(rows, ours) else { return String::new() };
    let first =
        |row: &&Row| is_peer(&row.name) && peers(&row.name) && row.ratio.median < our.ratio.median;
    let list: Vec<_> = rows
        .iter()
        .filter(first)
        .map(|row| {
            let share = row.ratio.median / our.ratio.median;
            format!("{} ({} of its time)", row.name, number(share))
        })
        .collect();
    if list.is_empty() {
        format!("No peer is ahead of \"{ours}\".\n")
    } else {
        format!("Ahead of \"{ours}\": {}.\n", list.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::rows;

    #[test]
    fn a_peer_that_is_ahead_is_named() {
        let names = ["floor", "Interval, x", "papaya", "moka"].map(str::to_owned);
        let samples = [1.0, 3.0, 2.0, 9.0].map(|nanos| vec![Some(nanos)]);
        let rows = rows(&names, &samples);
        assert!(ahead(&rows, "Interval, x", |_| true).contains("papaya (0.67 of its time)"));
        assert!(ahead(&rows, "Interval, x", |name| name != "papaya").starts_with("No peer"));
    }

    #[test]
    fn figures_have_three_digits_or_so() {
        assert_eq!([number(1.234), number(12.34), number(1234.4)], ["1.23", "12.3", "1234"]);
    }
}
