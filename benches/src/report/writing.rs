//! Writing: publications, copies, handles, waking.

use serde_json::{Map, Value, json};

use super::reading::PER_CALL;
use super::tables::{ahead, json as rows_json, number, table, usual};
use super::{Outcome, Scene, Section};
use crate::figures::{Row, find};
use crate::plot::{Axis, Series, lines};
use crate::rounds::Plan;
use crate::{
    copying as copies, evicting as evictions, handles as taking, publish as publishing,
    waking as wakes,
};

/// A piece replaced, over the size of the table.
pub fn publish(scene: &Scene) -> Outcome {
    let title = "A piece replaced, over the size of the table";
    let sizes = &scene.effort.tables;
    let plan = scene.effort.publications;
    let runs: Vec<Vec<Row>> = sizes.iter().map(|n| publishing::measure(*n, plan)).collect();
    let head: Vec<String> = sizes.iter().map(|size| format!("{size} pieces")).collect();
    let mut columns = vec!["contender"];
    columns.extend(head.iter().map(String::as_str));
    let nanos = |rows: &Vec<Row>, name: &str| find(rows, name).map_or(0.0, |row| row.nanos.median);
    let line = |row: &Row| {
        let mut line = vec![row.name.clone()];
        line.extend(runs.iter().map(|rows| number(nanos(rows, &row.name))));
        line
    };
    let mut text = String::from(
        "Nanoseconds for replacing a given piece of 64 bytes. Lookbehind makes two versions for \
         it: the piece is evicted, and inserted again.\n\n",
    );
    text.push_str(&table(&columns, runs[0].iter().map(line)));
    for (size, rows) in sizes.iter().zip(&runs) {
        let said = ahead(rows, PER_CALL, |_| true);
        text.push_str(&format!("\n{size} pieces. {said}"));
    }
    let series = runs[0].iter().map(|row| Series {
        name: row.name.clone(),
        points: sizes
            .iter()
            .zip(&runs)
            .map(|(n, rows)| (f64::from(*n), nanos(rows, &row.name)))
            .collect(),
    });
    let axes = [
        Axis { label: "pieces of the film", logarithmic: true },
        Axis { label: "nanoseconds", logarithmic: true },
    ];
    lines(&scene.plots.join("publish.svg"), title, axes, &series.collect::<Vec<_>>())
        .map_err(|error| error.to_string())?;
    text.push_str(&format!("\n![{title}](benchmarks/publish.svg)\n"));
    let figures: Map<String, Value> =
        sizes.iter().zip(&runs).map(|(n, rows)| (n.to_string(), rows_json(rows))).collect();
    Ok(Section { title, text, figures: Value::Object(figures) })
}

/// Evictions.
pub fn evicting(scene: &Scene) -> Outcome {
    let effort = &scene.effort;
    // So few that they take less than a time slice.
    let few = Plan { operations: effort.publications.operations / 10, ..effort.publications };
    let viewers = evictions::by_viewers(&[(1, 0), (1, 40), (8, 40), (40, 40)], few);
    let films = evictions::by_films(&effort.storages, few);
    let mut text = String::from(
        "A piece of 4 KiB into a full cache of 1573 pieces, from the call to its return: room \
         refused, candidates drawn and ranked, one of them unpublished and its memory taken \
         back, the copy, the publication. The viewers play, each somewhere else.\n\n",
    );
    text.push_str(&usual("who is there", &viewers));
    text.push_str("\nBeside films of a piece each, in a cache of 16 MiB and what they take:\n\n");
    text.push_str(&usual("who is there", &films));
    let figures = json!({ "viewers": rows_json(&viewers), "films": rows_json(&films) });
    Ok(Section { title: "A piece into a full cache", text, figures })
}

/// Copies of a mebibyte.
pub fn copying(scene: &Scene) -> Outcome {
    const FULL: &str = "Interval, insert into a full cache";
    let rows = copies::measure(scene.effort.copies);
    let mut text = String::from(
        "Room made, a victim chosen, a mebibyte copied in, published: in a full cache of 64 \
         pieces. Below it what a path costs that maps fresh memory for each piece, and peers that \
         are given an allocation for each. quick_cache keeps what it had first and lets newcomers \
         go: its allocator hands out the same three buffers again and again, which stay in the \
         processor's cache.\n\n",
    );
    text.push_str(&usual("way", &rows));
    let share = |name: &str| find(&rows, name).map_or(0.0, |row| 1.0 / row.ratio.median);
    let ours = share(FULL);
    let fresh = share("copy into fresh memory, mapped and unmapped");
    text.push_str(&format!(
        "\nInterval reaches {} of the rate of the plain copy, and {} times that of fresh memory.\n",
        number(ours),
        number(ours / fresh),
    ));
    text.push_str(&ahead(&rows, FULL, |_| true));
    Ok(Section { title: "Pieces of a mebibyte in", text, figures: rows_json(&rows) })
}

/// Owned handles.
pub fn handles(scene: &Scene) -> Outcome {
    let rows = taking::measure(scene.effort.hits);
    let text = format!("Taken and dropped, by one thread.\n\n{}", usual("handle", &rows));
    Ok(Section { title: "Owned handles", text, figures: rows_json(&rows) })
}

/// Wake-ups.
pub fn waking(scene: &Scene) -> Outcome {
    const WAITERS: u32 = 10_000;
    let one = wakes::on_one_thread(scene.effort.wakes);
    let across = wakes::across_threads(scene.effort.wakes);
    let beside = wakes::beside_waiters(WAITERS, scene.effort.publications);
    let mut text = String::from(
        "From the call that publishes, or notifies, until the waiting task runs, on the same \
         runtime of tokio. A wait ends with a publication, which is part of its time, and stands \
         below it as it is when nobody waits. On one thread:\n\n",
    );
    text.push_str(&usual("what", &one));
    text.push_str("\nFrom one core to another, where the task's thread sleeps:\n\n");
    text.push_str(&usual("what", &across));
    text.push_str("\nPublishing and evicting a piece beside those who wait for others:\n\n");
    text.push_str(&usual("who waits", &beside));
    let figures = json!({
        "one_thread": rows_json(&one),
        "across_threads": rows_json(&across),
        "beside_waiters": rows_json(&beside),
    });
    Ok(Section { title: "Waking", text, figures })
}
