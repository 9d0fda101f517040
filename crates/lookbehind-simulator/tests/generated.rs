//! Generated traces have the distributions that they should.

use std::collections::HashMap;

use lookbehind_simulator::generate::{Generated, Kind, Recipe, generate};
use lookbehind_simulator::trace::Kind as Did;

/// A few seeds of a kind, to be looked at together.
fn several(kind: Kind) -> Vec<Generated> {
    (1..=4).map(|seed| generate(&Recipe::new(kind, seed)).unwrap()).collect()
}

#[derive(Default)]
struct Facts {
    opened: Vec<f64>,
    first: Vec<(f64, u32)>,
    stayed: Vec<f64>,
    back: Vec<f64>,
    forward: Vec<f64>,
    pauses: Vec<f64>,
    by_storage: HashMap<u32, u32>,
    ahead: u32,
}

fn facts(trace: &Generated) -> Facts {
    let mut facts = Facts::default();
    // For each viewer: when it opened, its position, whether it has begun, when it paused.
    let mut viewers: HashMap<u64, (f64, u32, bool, f64)> = HashMap::new();
    for event in &trace.events {
        let seconds = trace.storages[event.storage as usize].piece_seconds;
        if event.kind == Did::Open {
            viewers.insert(event.viewer, (event.time, event.piece, false, 0.0));
            facts.opened.push(event.time);
            facts.first.push((event.time / seconds, event.piece));
            *facts.by_storage.entry(event.storage).or_default() += 1;
        }
        let viewer = viewers.get_mut(&event.viewer).expect("who does something has opened");
        match event.kind {
            Did::Seek => {
                let jump = (f64::from(event.piece) - f64::from(viewer.1)) * seconds;
                match jump {
                    _ if !viewer.2 => viewer.2 = true,
                    ..0.0 => facts.back.push(-jump),
                    _ => facts.forward.push(jump),
                }
                viewer.1 = event.piece;
            }
            Did::Play => {
                assert_eq!(event.piece, viewer.1 + 1, "play goes on from piece to piece");
                viewer.1 = event.piece;
            }
            Did::Readahead => facts.ahead = facts.ahead.max(event.piece - viewer.1),
            Did::Pause => viewer.3 = event.time,
            Did::Resume => facts.pauses.push(event.time - viewer.3),
            Did::Close => facts.stayed.push(event.time - viewer.0),
            Did::Open | Did::Probe => {}
        }
    }
    facts
}

fn together(traces: &[Generated]) -> Facts {
    traces.iter().map(facts).fold(Facts::default(), |mut all, one| {
        all.opened.extend(one.opened);
        all.first.extend(one.first);
        all.stayed.extend(one.stayed);
        all.back.extend(one.back);
        all.forward.extend(one.forward);
        all.pauses.extend(one.pauses);
        all.ahead = all.ahead.max(one.ahead);
        all
    })
}

fn part(values: &[f64], is_so: impl Fn(f64) -> bool) -> f64 {
    values.iter().filter(|value| is_so(**value)).count() as f64 / values.len() as f64
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[track_caller]
fn near(value: f64, wanted: f64, tolerance: f64) {
    assert!((value - wanted).abs() <= tolerance, "{value}, not {wanted} +- {tolerance}");
}

#[test]
fn a_seed_always_gives_the_same_trace() {
    for kind in Kind::ALL {
        let recipe = Recipe::new(kind, 7);
        let trace = generate(&recipe).unwrap();
        assert_eq!(trace, generate(&recipe).unwrap());
        assert_ne!(trace.events, generate(&Recipe::new(kind, 8)).unwrap().events);
        assert!(trace.events.is_sorted_by(|a, b| a.time <= b.time));
    }
}

#[test]
fn in_a_catalogue_watch_times_are_the_published_ones() {
    let facts = together(&several(Kind::Catalogue));
    near(part(&facts.stayed, |time| time < 300.0), 0.36, 0.04);
    near(part(&facts.stayed, |time| time < 600.0), 0.52, 0.04);
    near(part(&facts.stayed, |time| time < 1500.0), 0.69, 0.04);
    near(facts.opened.len() as f64, 4.0 * 391.0, 120.0);
    near(
        part(&facts.first.iter().map(|f| f.1.into()).collect::<Vec<_>>(), |p| p > 0.0),
        0.15,
        0.03,
    );
    assert_eq!(facts.ahead, 8);
}

#[test]
fn interactions_are_as_they_were_assumed() {
    let facts = together(&several(Kind::Catalogue));
    let all = (facts.back.len() + facts.forward.len() + facts.pauses.len()) as f64;
    near(facts.pauses.len() as f64 / all, 0.30, 0.03);
    near(facts.back.len() as f64 / all, 0.27, 0.03);
    near(facts.forward.len() as f64 / all, 0.41, 0.04);
    near(median(&facts.pauses), 60.0, 8.0);
    near(median(&facts.back), 20.0, 6.0);
    near(median(&facts.forward), 65.0, 15.0);
    // So long they watch for each of them, less the pauses.
    let watched: f64 = facts.stayed.iter().sum::<f64>() - facts.pauses.iter().sum::<f64>();
    near(watched / all, 360.0, 25.0);
}

#[test]
fn viewers_come_at_random_and_as_many_as_are_wanted() {
    let facts = together(&several(Kind::Party));
    near(facts.opened.len() as f64, 4.0 * 40.0, 40.0);
    assert_eq!(facts.ahead, 8);
    let twice = Recipe { load: 2.0, ..Recipe::new(Kind::Party, 1) };
    near(self::facts(&generate(&twice).unwrap()).opened.len() as f64, 80.0, 25.0);
    let solo = Recipe { load: 9.0, ..Recipe::new(Kind::Solo, 1) };
    let solo = self::facts(&generate(&solo).unwrap());
    assert_eq!((solo.opened.len(), solo.ahead), (1, 29));
}

#[test]
fn popularity_follows_the_exponent() {
    let top = |zipf| {
        let counts = (1..=3).map(|seed| {
            let recipe = Recipe { zipf, ..Recipe::new(Kind::Catalogue, seed) };
            let facts = facts(&generate(&recipe).unwrap());
            let most = *facts.by_storage.values().max().unwrap();
            f64::from(most) / facts.opened.len() as f64
        });
        counts.sum::<f64>() / 3.0
    };
    // The first of 200 has a part of 1 / (sum of k^-0.8) = 0.1.
    near(top(0.8), 0.1, 0.03);
    near(top(1.2), 0.26, 0.05);
    assert!(top(0.0) < 0.03);
}

#[test]
fn live_viewers_begin_near_the_edge_and_stay_in_the_window() {
    // Many who pause, some of them where the window leaves them behind.
    let restless = Recipe { seek_every: 60.0, load: 2.0, ..Recipe::new(Kind::Live, 1) };
    let usual = several(Kind::Live);
    for trace in usual.iter().chain(&generate(&restless)) {
        for event in trace.events.iter().filter(|event| event.kind.touches()) {
            let seconds = trace.storages[0].piece_seconds;
            let age = event.time - f64::from(event.piece + 1) * seconds;
            assert!((-0.001..7200.0).contains(&age), "{event:?}: {age} s old");
        }
    }
    let facts = together(&usual);
    let lags: Vec<f64> = facts.first.iter().map(|(now, piece)| now - f64::from(*piece)).collect();
    near(part(&lags, |lag| lag <= 9.0), 0.73, 0.05);
    near(part(&lags, |lag| lag > 3600.0 / 2.7962), 0.05, 0.03);
    near(facts.opened.len() as f64, 4.0 * 351.0, 120.0);
    near(facts.stayed.iter().sum::<f64>() / facts.stayed.len() as f64, 1300.0, 150.0);
    assert_eq!(facts.ahead, 11);
}

#[test]
fn more_seeks_if_they_are_wanted() {
    let often = Recipe { seek_every: 120.0, ..Recipe::new(Kind::Catalogue, 1) };
    let [seldom, often] = [Recipe::new(Kind::Catalogue, 1), often].map(|recipe| {
        let facts = facts(&generate(&recipe).unwrap());
        (facts.back.len() + facts.forward.len()) as f64 / facts.stayed.iter().sum::<f64>()
    });
    near(often / seldom, 2.7, 0.5);
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let solo = Recipe::new(Kind::Solo, 1);
    for bad in [
        Recipe { seek_every: 0.0, ..solo },
        Recipe { zipf: -1.0, ..solo },
        Recipe { zipf: f64::NAN, ..solo },
        Recipe { load: 0.0, ..solo },
        Recipe { load: f64::INFINITY, ..solo },
    ] {
        assert!(generate(&bad).is_err(), "{bad:?}");
    }
}
