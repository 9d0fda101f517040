//! Bounds: a stalled reader, and what memory is spent on.

use serde_json::{Value, json};

use super::tables::{number, table};
use super::{Outcome, Scene, Section};
use crate::memory::{Beside, measure};
use crate::plot::{Axis, Series, lines};
use crate::stalled::{Plan, measure as stall};

const MIB: f64 = (1 << 20) as f64;

/// Writers beside a reader that stalls.
pub fn stalled(scene: &Scene) -> Outcome {
    let title = "A reader that stalls";
    let (time, budget) = scene.effort.stall;
    let outcomes = stall(Plan { budget, len: 64 << 10, time })?;
    let mut text = format!(
        "A reader stalls for {} s inside a snapshot of film A that shows a quarter of the budget \
         of {} MiB, all of which is evicted meanwhile. A writer of A and one of B publish pieces of \
         64 KiB without pause, each in the place of another. Epoch is crossbeam-epoch and Hyaline \
         is seize, each behind the same table.\n\n",
        time.as_secs_f64(),
        number(budget as f64 / MIB),
    );
    let head = [
        "scheme",
        "A, pieces/ms free",
        "A, stalled",
        "of it",
        "B, free",
        "B, stalled",
        "of it",
        "refused",
        "shown, MiB",
        "unreclaimed at most, free, MiB",
        "stalled, MiB",
        "over budget, bytes",
        "left, bytes",
    ];
    let line = |outcome: &crate::stalled::Outcome| {
        let mut line = vec![outcome.scheme.to_owned()];
        for (film, share) in outcome.shares().into_iter().enumerate() {
            line.push(number(outcome.free.rates[film]));
            line.push(number(outcome.stalled.rates[film]));
            line.push(number(share));
        }
        line.push(outcome.stalled.refused.to_string());
        line.push(number(outcome.shown as f64 / MIB));
        line.push(number(outcome.free.limbo as f64 / MIB));
        line.push(number(outcome.stalled.limbo as f64 / MIB));
        line.push(outcome.over_budget.to_string());
        line.push(outcome.left.to_string());
        line
    };
    text.push_str(&table(&head, outcomes.iter().map(line)));
    let mut series = Vec::new();
    for outcome in &outcomes {
        for (what, of) in [("unreclaimed", 0), ("resident", 1)] {
            let point = |moment: &crate::stalled::Moment| {
                (moment.at, [moment.limbo, moment.resident][of] as f64 / MIB)
            };
            series.push(Series {
                name: format!("{}, {what}", outcome.scheme),
                points: outcome.stalled.moments.iter().map(point).collect(),
            });
        }
    }
    let seconds = Axis { label: "seconds since the reader stalled", logarithmic: false };
    let axes = [seconds, Axis { label: "MiB", logarithmic: false }];
    lines(&scene.plots.join("stalled-memory.svg"), "Memory beside a stalled reader", axes, &series)
        .map_err(|error| error.to_string())?;
    let rates = outcomes.iter().flat_map(|outcome| {
        ["A", "B"].into_iter().enumerate().map(|(film, name)| Series {
            name: format!("{}, film {name}", outcome.scheme),
            points: outcome.stalled.moments.iter().map(|m| (m.at, m.rates[film])).collect(),
        })
    });
    let axes = [seconds, Axis { label: "pieces published a millisecond", logarithmic: false }];
    lines(
        &scene.plots.join("stalled-rates.svg"),
        "Writers beside a stalled reader",
        axes,
        &rates.collect::<Vec<_>>(),
    )
    .map_err(|error| error.to_string())?;
    text.push_str("\n![Memory beside a stalled reader](benchmarks/stalled-memory.svg)\n");
    text.push_str("\n![Writers beside a stalled reader](benchmarks/stalled-rates.svg)\n");
    let figures = outcomes.iter().map(crate::stalled::Outcome::json).collect();
    Ok(Section { title, text, figures: Value::Array(figures) })
}

/// What the cache keeps beside the pieces.
pub fn memory(scene: &Scene) -> Outcome {
    let most = scene.effort.tables.last().copied().unwrap_or(1024);
    let shapes = [(1024, 64), (most, 64), (most.min(8192), 16 << 10), (256, 1 << 20)];
    let list: Vec<Beside> =
        shapes.into_iter().map(|(pieces, len)| measure(pieces, len)).collect::<Result<_, _>>()?;
    let head = [
        "pieces",
        "bytes of each",
        "table, bytes a piece, empty",
        "full",
        "beside the payload, bytes a piece",
    ];
    let line = |beside: &Beside| {
        vec![
            beside.pieces.to_string(),
            beside.len.to_string(),
            number(beside.per_slot_empty),
            number(beside.per_slot),
            number(beside.per_piece),
        ]
    };
    let mut text = String::from("As the cache accounts for it, right after a film was filled.\n\n");
    text.push_str(&table(&head, list.iter().map(line)));
    let figures = list.iter().map(Beside::json).collect::<Vec<_>>();
    Ok(Section { title: "Memory beside the pieces", text, figures: json!(figures) })
}
