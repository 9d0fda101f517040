//! A trace goes through the policies, and each counts what it must.

use std::collections::BTreeSet;

use lookbehind_simulator::budget::Budget;
use lookbehind_simulator::measure::measure;
use lookbehind_simulator::policies::{Policy, build};
use lookbehind_simulator::replay::{Run, replay};
use lookbehind_simulator::trace::{Key, TraceFile};

use super::Found;
use crate::input::Input;
use crate::memory;

/// Longer traces are only read.
const EVENTS: usize = 400;
const STORAGES: usize = 40;
/// A cache of the library itself is built for films of no more pieces.
const PIECES: u32 = 1000;
/// What all policies together take in any case, and for each event and storage.
const ALWAYS: u64 = 16 << 20;
const FOR_EACH: u64 = 64 << 10;

/// How much the caches hold.
pub(super) fn budget(input: &mut Input<'_>) -> Budget {
    match input.below(4) {
        0 => Budget::Pieces(8 + input.below(16)),
        1 => Budget::Percent(input.below(120) as f64),
        2 => Budget::Pieces(input.hostile()),
        _ => Budget::Bytes(input.hostile()),
    }
}

pub(super) fn check(trace: &TraceFile, found: &Found, budget: Budget) {
    if found.events.len() > EVENTS || found.storages.len() > STORAGES {
        return;
    }
    let count = (found.events.len() + found.storages.len()) as u64;
    let ((), taken) = memory::peak(|| replayed(trace, found, budget));
    assert!(taken <= ALWAYS + FOR_EACH * count, "{taken} bytes are taken to replay {count} lines");
}

fn replayed(trace: &TraceFile, found: &Found, budget: Budget) {
    let measure = measure(trace, 1 << 20, &mut |_| ()).unwrap();
    let needed: Vec<Key> =
        found.events.iter().filter(|event| event.kind.touches()).map(|event| event.key()).collect();
    let distinct = needed.iter().collect::<BTreeSet<_>>().len() as u64;
    let counts = (measure.events, measure.accesses, measure.distinct);
    assert_eq!(counts, (found.events.len() as u64, needed.len() as u64, distinct));
    let capacity = budget.pieces(&measure);
    let library = found.storages.iter().all(|storage| storage.pieces <= PIECES);
    let policies = Policy::COMPARED.into_iter().chain([Policy::LruReserved]);
    let policies: Vec<Policy> = policies.chain(library.then_some(Policy::Library)).collect();
    let mut runs: Vec<Run> = Vec::new();
    for policy in &policies {
        match build(*policy, &measure, capacity, 1) {
            Ok(cache) => runs.push(Run::new(cache)),
            // It comes last.
            Err(error) => assert_eq!(*policy, Policy::Library, "{error}"),
        }
    }
    replay(trace, &measure, &mut runs, &mut |_| ()).unwrap();
    let least = belady(&needed, capacity);
    for (policy, run) in policies.iter().zip(&runs) {
        let score = run.score;
        assert_eq!(score.accesses, measure.accesses);
        assert_eq!(score.refetches, score.misses - distinct, "{policy}");
        assert!(score.stalls <= score.refetches);
        match policy {
            Policy::Opt => assert_eq!(score.misses, least, "opt"),
            // Its budget is in bytes, and what it holds goes up and down around the capacity.
            Policy::Library => {}
            _ if capacity as u64 >= distinct => assert_eq!(score.misses, distinct, "{policy}"),
            _ => assert!(score.misses >= least, "{policy} beats opt: {score:?}, not {least}"),
        }
    }
}

/// The fewest misses: of what is there and what comes, that goes which is needed last.
fn belady(needed: &[Key], capacity: usize) -> u64 {
    let mut there: Vec<Key> = Vec::new();
    let mut misses = 0;
    for (at, key) in needed.iter().enumerate() {
        if there.contains(key) {
            continue;
        }
        misses += 1;
        there.push(*key);
        if there.len() > capacity {
            let next = |key: &Key| needed[at + 1..].iter().position(|needed| needed == key);
            let last =
                (0..there.len()).max_by_key(|place| next(&there[*place]).unwrap_or(usize::MAX));
            there.swap_remove(last.unwrap());
        }
    }
    misses
}
