//! Contenders take turns, so that what changes about the machine changes for all of them.

use std::thread;
use std::time::Instant;

use crate::contender::Case;
use crate::draw::Draw;
use crate::figures::{Row, Samples, rows};
use crate::hits::{Gate, Hits};
use crate::stock::Key;
use crate::thread::{pin, preemptions};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Samples of each contender on each thread.
    pub rounds: usize,
    /// Operations of a sample. So many take less than a time slice, and most samples count.
    pub operations: u64,
}

/// Hits of all contenders on so many threads, all of which read the same pieces.
///
/// # Panics
/// If a thread does.
#[must_use]
pub fn hits(cases: &[Box<dyn Case>], draw: &Draw, threads: usize, plan: Plan) -> Vec<Row> {
    let gate = Gate::new(threads);
    let on_one = |number: usize| {
        pin(number);
        let mut samples: Vec<Samples> = vec![Vec::new(); cases.len()];
        let mut turn = 0;
        for round in 0..plan.rounds {
            for index in order(cases.len(), round) {
                // Other keys each time: peers share the bytes, and the next one would find what
                // the last one has just looked at.
                let draw = draw.reseeded((turn * threads + number) as u64);
                let work = Hits { draw, hits: plan.operations, gate: &gate, turn };
                let sample = cases[index].hits(work);
                samples[index].push(sample.clean.then_some(sample.nanos));
                turn += 1;
            }
        }
        samples
    };
    let mut all: Vec<Samples> = vec![Vec::new(); cases.len()];
    thread::scope(|scope| {
        let on_one = &on_one;
        let at_work: Vec<_> = (0..threads).map(|n| scope.spawn(move || on_one(n))).collect();
        for thread in at_work {
            let samples = thread.join().expect("the contenders do not panic");
            for (all, of_thread) in all.iter_mut().zip(samples) {
                all.extend(of_thread);
            }
        }
    });
    let names: Vec<_> = cases.iter().map(|case| case.name()).collect();
    rows(&names, &all)
}

/// In each round someone else begins, and so everyone comes after everyone's neighbour.
fn order(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |n| (n + round) % count)
}

/// Something to be measured that is no hit.
pub struct Probe<'a> {
    name: String,
    work: Box<dyn FnMut(u64) + 'a>,
}

impl<'a> Probe<'a> {
    /// `work` does it so many times.
    pub fn new(name: impl Into<String>, work: impl FnMut(u64) + 'a) -> Self {
        Self { name: name.into(), work: Box::new(work) }
    }

    /// A call for a key that is drawn each time.
    pub fn drawing(
        name: impl Into<String>,
        mut draw: Draw,
        call: impl Fn(Key) -> u64 + 'a,
    ) -> Self {
        Self::new(name, move |times| {
            let mut sum = 0;
            for _ in 0..times {
                sum += call(draw.key());
            }
            std::hint::black_box(sum);
        })
    }
}

/// Probes in turn, on this thread.
#[must_use]
pub fn probes(mut probes: Vec<Probe<'_>>, plan: Plan) -> Vec<Row> {
    pin(0);
    let mut samples: Vec<Samples> = vec![Vec::new(); probes.len()];
    for round in 0..plan.rounds {
        for index in order(probes.len(), round) {
            let work = &mut probes[index].work;
            work(plan.operations / 8);
            let before = preemptions();
            let start = Instant::now();
            work(plan.operations);
            let nanos = start.elapsed().as_nanos() as f64 / plan.operations as f64;
            samples[index].push((preemptions() == before).then_some(nanos));
        }
    }
    let names: Vec<_> = probes.into_iter().map(|probe| probe.name).collect();
    rows(&names, &samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_has_one_turn_a_round_and_another_first_each_time() {
        for round in 0..4 {
            let mut turns: Vec<_> = order(3, round).collect();
            assert_eq!(turns[0], round % 3);
            turns.sort_unstable();
            assert_eq!(turns, [0, 1, 2]);
        }
    }
}
