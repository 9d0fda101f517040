//! Reading: hits, tails, growth.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::tables::{ahead, is_peer, json as rows_json, number, table, usual};
use super::{Outcome, Scene, Section};
use crate::contenders;
use crate::draw::Draw;
use crate::figures::{Row, find};
use crate::plot::{Axis, Series, bars, lines};
use crate::rounds;
use crate::stock::{Shape, Stock};
use crate::tails::{TailRow, measure, timer};
use crate::{crowd, growth as grow, thread};

const KEPT: &str = "Interval, snapshot kept";
pub(super) const PER_CALL: &str = "Interval, snapshot per call";

/// 64 pieces, again and again.
pub fn hot(scene: &Scene) -> Outcome {
    let shape = Shape { storages: 1, pieces: 64, len: scene.effort.piece_len };
    let text =
        "One storage, 64 pieces, both ends touched: all of it fits into the first cache.\n\n";
    hits(scene, "A hit among 64 hot pieces", "hot", text, shape)
}

/// Evenly over more than the caches hold.
pub fn uniform(scene: &Scene) -> Outcome {
    let shape = Shape { storages: 8, pieces: 1024, len: scene.effort.piece_len };
    let text = "Evenly over 8 storages of 1024 pieces: 16,384 lines on as many pages, so that misses \
                of the nearer caches and of the TLB are the floor. On huge pages, which the floor \
                has not and a cache has to be asked for, there are fewer of the latter.\n\n";
    hits(scene, "A hit among 8 x 1024 pieces", "uniform", text, shape)
}

fn hits(scene: &Scene, title: &'static str, file: &str, text: &str, shape: Shape) -> Outcome {
    let stock = Stock::new(shape);
    let cases = contenders::all(&stock);
    let draw = Draw::all(&shape, 0);
    let counts: Vec<usize> =
        [1, 2, 4, 8, 16].into_iter().filter(|n| *n <= thread::cores()).collect();
    let runs: Vec<Vec<Row>> = counts
        .iter()
        .map(|threads| rounds::hits(&cases, &draw, *threads, scene.effort.hits))
        .collect();
    let scaling = |name: &str, run: usize| {
        let nanos = |run: usize| find(&runs[run], name).map_or(0.0, |row| row.nanos.median);
        counts[run] as f64 * nanos(0) / nanos(run)
    };
    let mut head = vec!["contender".to_owned()];
    for (run, threads) in counts.iter().enumerate() {
        head.push(format!("ns, {threads}T"));
        head.push(format!("of the floor, {threads}T"));
        if run > 0 {
            head.push(format!("throughput {threads}T/1T"));
        }
    }
    head.push("samples kept".into());
    let line = |(index, row): (usize, &Row)| {
        let mut line = vec![row.name.clone()];
        for (run, rows) in runs.iter().enumerate() {
            line.push(number(rows[index].nanos.median));
            line.push(number(rows[index].ratio.median));
            if run > 0 {
                line.push(number(scaling(&row.name, run)));
            }
        }
        let (kept, all) = runs
            .iter()
            .map(|rows| &rows[index])
            .fold((0, 0), |(kept, all), row| (kept + row.kept, all + row.kept + row.dropped));
        line.push(format!("{kept} of {all}"));
        line
    };
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let mut text = text.to_owned();
    text.push_str(&table(&head, runs[0].iter().enumerate().map(line)));
    for (run, threads) in counts.iter().enumerate().skip(1) {
        let share = |name: &str| number(scaling(name, run) / scaling(&runs[0][0].name, run));
        text.push_str(&format!(
            "\nWith {threads} threads the throughput of a snapshot kept grows by {} of the floor's \
             growth, per call by {}.\n",
            share(KEPT),
            share(PER_CALL),
        ));
    }
    for (threads, rows) in counts.iter().zip(&runs) {
        text.push_str(&format!("\nWith {threads} thread(s). "));
        text.push_str(&ahead(rows, KEPT, |name| name.contains("kept")));
        text.push_str(&ahead(rows, PER_CALL, |name| !name.contains("kept")));
    }
    // What each throughput is over threads, and what a hit takes.
    let throughput = |row: &Row| Series {
        name: row.name.clone(),
        points: counts
            .iter()
            .zip(&runs)
            .filter_map(|(threads, rows)| {
                let nanos = find(rows, &row.name)?.nanos.median;
                Some((*threads as f64, *threads as f64 * 1000.0 / nanos))
            })
            .collect(),
    };
    let drawn = |row: &&Row| is_peer(&row.name) || [KEPT, PER_CALL].contains(&&*row.name);
    let series: Vec<_> = runs[0].iter().filter(drawn).map(throughput).collect();
    let axes = [axis("threads", false), axis("million hits a second", true)];
    let plot = scene.plots.join(format!("{file}-threads.svg"));
    lines(&plot, title, axes, &series).map_err(|error| error.to_string())?;
    let names: Vec<_> = runs[0].iter().map(|row| row.name.clone()).collect();
    let bar = |(threads, rows): (&usize, &Vec<Row>)| Series {
        name: format!("{threads} thread(s)"),
        points: rows.iter().map(|row| (0.0, row.nanos.median)).collect(),
    };
    let series: Vec<_> = counts.iter().zip(&runs).map(bar).collect();
    let plot = scene.plots.join(format!("{file}.svg"));
    bars(&plot, title, axis("nanoseconds", true), &names, &series)
        .map_err(|error| error.to_string())?;
    text.push_str(&format!("\n![{title}](benchmarks/{file}.svg)\n"));
    text.push_str(&format!("\n![{title}, over threads](benchmarks/{file}-threads.svg)\n"));
    let figures = counts.iter().zip(&runs).map(|(threads, rows)| {
        json!({ "threads": threads, "piece_len": shape.len, "rows": rows_json(rows) })
    });
    Ok(Section { title, text, figures: Value::Array(figures.collect()) })
}

fn axis(label: &'static str, logarithmic: bool) -> Axis {
    Axis { label, logarithmic }
}

/// Pieces so small that publishing is all that the writer does.
pub fn tails(scene: &Scene) -> Outcome {
    let text = "Pieces of 64 bytes, so that no copy hides the scheme.";
    tails_of(scene, "Tails beside a writer, handles only", "tails", text, 64)
}

/// Pieces as they are.
pub fn copied_tails(scene: &Scene) -> Outcome {
    let text = "The same with the copy: pieces as long as in the tables above.";
    let len = scene.effort.piece_len;
    tails_of(scene, "Tails beside a writer that copies", "copied-tails", text, len)
}

const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 99.99];

fn tails_of(scene: &Scene, title: &'static str, file: &str, about: &str, len: usize) -> Outcome {
    let shape = Shape { storages: 1, pieces: 1024, len };
    let (turns, time): (usize, Duration) = scene.effort.tails;
    let timer = timer();
    let mut rows = measure(shape, turns, time);
    let percentiles = |times: &Histogram<u64>| PERCENTILES.map(|at| times.value_at_percentile(at));
    rows.retain(|row| row.sample.kept > 0);
    rows.sort_by_key(|row| percentiles(&row.sample.nanos)[4]);
    let line = |row: &TailRow| {
        let mut line = vec![row.name.clone()];
        line.extend(percentiles(&row.sample.nanos).map(|nanos| nanos.to_string()));
        line.push(row.sample.nanos.len().to_string());
        line.push(row.sample.dropped.to_string());
        line.push(row.sample.misses.to_string());
        line.push(number(row.writes));
        line
    };
    let head = [
        "contender",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "p99.99",
        "hits",
        "chunks dropped",
        "misses",
        "writes/ms",
    ];
    let mut text = format!(
        "{about} One reader, one writer, each bound to a core; nanoseconds of one hit, of which \
         the clock takes {} (p99.99: {}). The floor's writer copies, and publishes to nobody. \
         Lookbehind's writer evicts the piece and inserts it again: two versions, and a reader \
         may find nothing in between, which does not count as a hit. Each writer does as many as it \
         can. In the order of the last percentile.\n\n",
        timer.value_at_percentile(50.0),
        timer.value_at_percentile(99.99),
    );
    text.push_str(&table(&head, rows.iter().map(line)));
    let curve = |row: &TailRow| Series {
        name: row.name.clone(),
        points: PERCENTILES
            .into_iter()
            .zip(percentiles(&row.sample.nanos))
            .map(|(at, nanos)| (100.0 / (100.0 - at), nanos as f64))
            .collect(),
    };
    let axes = [axis("one hit in so many takes longer than", true), axis("nanoseconds", true)];
    lines(
        &scene.plots.join(format!("{file}.svg")),
        title,
        axes,
        &rows.iter().map(curve).collect::<Vec<_>>(),
    )
    .map_err(|error| error.to_string())?;
    text.push_str(&format!("\n![{title}](benchmarks/{file}.svg)\n"));
    let figures = rows.iter().map(|row| {
        json!({
            "name": row.name,
            "nanos": percentiles(&row.sample.nanos),
            "hits": row.sample.nanos.len(),
            "dropped": row.sample.dropped,
            "misses": row.sample.misses,
            "writes_per_ms": row.writes,
        })
    });
    let figures = json!({
        "timer": percentiles(&timer),
        "percentiles": PERCENTILES,
        "rows": figures.collect::<Vec<_>>(),
    });
    Ok(Section { title, text, figures })
}

/// Whether a hit stays what it is.
pub fn growth(scene: &Scene) -> Outcome {
    let effort = &scene.effort;
    let pieces = grow::by_pieces(&effort.tables, effort.hits);
    let storages = grow::by_storages(&effort.storages, effort.hits);
    let mut text = String::from(
        "64 hot pieces in ever larger tables, and one film among ever more. Ratios are to the \
         first line of each table.\n\n",
    );
    text.push_str(&usual("film", &pieces));
    text.push('\n');
    text.push_str(&usual("cache", &storages));
    let readers = crowd::by_readers(&effort.readers, effort.publications);
    text.push_str("\nBeside readers who are there and do nothing:\n\n");
    text.push_str(&usual("call", &readers));
    let figures = json!({
        "pieces": rows_json(&pieces),
        "storages": rows_json(&storages),
        "readers": rows_json(&readers),
    });
    Ok(Section { title: "In a large cache", text, figures })
}
