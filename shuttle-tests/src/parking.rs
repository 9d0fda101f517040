//! Parks a thread at each of its steps, and requires the others to go on.
//!
//! This is what "lock-free" claims. A step is what a thread does between two accesses to what
//! threads share. For k = 0, 1, 2, ... the thread under test runs k steps, and then none until all
//! others are done, under many schedules of those; until k is more than it takes. Half of the
//! schedules let it run its k steps alone, the others let all threads run. If the others cannot go
//! on without it, or do not end, the test fails, and says where it stood.

use std::backtrace::Backtrace;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use shuttle::Runner;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Schedule, Scheduler, Task, TaskId};
use shuttle::thread;

use crate::{DEPTH, config, number, say, schedules, seed};

/// More steps than any call here takes.
const MOST: usize = 20_000;

/// What a test is made of, anew for each schedule.
pub struct Cast {
    /// Is parked.
    pub parked: Box<dyn FnOnce() + Send>,
    /// Must end meanwhile.
    pub others: Vec<Box<dyn FnOnce() + Send>>,
    /// Looks at what is left when all have ended.
    pub after: Box<dyn FnOnce() + Send>,
}

/// Where the thread under test is parked; of use to those who may be refused something then.
#[derive(Clone)]
pub struct Place(Arc<Standing>);

struct Standing {
    alone: bool,
    /// All others have ended, so that the thread may go on.
    released: AtomicBool,
    at: Mutex<Option<Backtrace>>,
}

impl Place {
    /// Whether the thread came there before any other took a step.
    pub fn alone(&self) -> bool {
        self.0.alone
    }

    /// The functions of the library that the thread is in, the innermost first.
    pub fn functions(&self) -> Vec<String> {
        let at = self.0.at.lock().expect("not poisoned");
        let at = at.as_ref().map(Backtrace::to_string).unwrap_or_default();
        // Each function, then its file in a line of its own.
        let lines: Vec<&str> = at.lines().map(str::trim).collect();
        let place = |pair: &[&str]| {
            let function = pair[0].split_once(": ")?.1;
            let file = pair[1].strip_prefix("at ")?.rsplit_once("/src/")?;
            let ours = !["/rustc/", "/registry/", "./", "/shuttle-tests"]
                .iter()
                .any(|other| file.0.contains(other));
            ours.then(|| format!("{} in {}", function.split('<').next().unwrap_or(""), file.1))
        };
        lines.windows(2).filter_map(place).collect()
    }
}

/// Parks the thread after `step` steps.
struct Parking<S> {
    others: S,
    place: Place,
    step: usize,
    taken: usize,
    stands: bool,
    /// How often it was there to be parked.
    parked: Arc<Mutex<usize>>,
}

/// The first thread that is spawned.
fn is_parked(task: TaskId) -> bool {
    usize::from(task) == 1
}

impl<S: Scheduler> Scheduler for Parking<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        (self.taken, self.stands) = (0, false);
        self.place.0.released.store(false, Relaxed);
        *self.place.0.at.lock().expect("not poisoned") = None;
        self.others.new_execution()
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        yielding: bool,
    ) -> Option<TaskId> {
        if self.place.0.released.load(Relaxed) {
            return self.others.next_task(runnable, current, yielding);
        }
        let parked = runnable.iter().map(|task| task.id()).find(|task| is_parked(*task));
        if self.taken < self.step {
            let next = match parked {
                Some(parked) if self.place.0.alone => Some(parked),
                _ => self.others.next_task(runnable, current, yielding),
            };
            self.taken += usize::from(next.is_some_and(is_parked));
            return next;
        }
        if current.is_some_and(is_parked) {
            // This runs on the stack of the thread that has run until now.
            *self.place.0.at.lock().expect("not poisoned") = Some(Backtrace::force_capture());
        }
        if parked.is_none() {
            return self.others.next_task(runnable, current, yielding);
        }
        if !std::mem::replace(&mut self.stands, true) {
            *self.parked.lock().expect("not poisoned") += 1;
        }
        let rest: Vec<&Task> =
            runnable.iter().copied().filter(|task| !is_parked(task.id())).collect();
        assert!(!rest.is_empty(), "all others wait for the thread that is parked");
        self.others.next_task(&rest, current, yielding)
    }

    fn next_u64(&mut self) -> u64 {
        self.others.next_u64()
    }
}

/// Parks the thread of the cast at each step; the others run under `schedules() / 800` random
/// schedules for each, and as many of PCT, each alone and not.
///
/// # Panics
/// If they do not go on.
pub fn at_every_step(name: &str, cast: impl Fn(&Place) -> Cast + Send + Sync + 'static) {
    let each = (schedules() / 800).max(1);
    let cast = Arc::new(cast);
    let started = Instant::now();
    say(&format!("{name}, parked: LOOKBEHIND_SEED={}", seed()));
    let first = number("LOOKBEHIND_STEP").map_or(0, |step| step as usize);
    let mut count = 0;
    for step in first..MOST {
        let seed = seed().wrapping_add(step as u64);
        let mut parked = 0;
        for alone in [true, false] {
            let random = RandomScheduler::new_from_seed(seed, each);
            let pct = PctScheduler::new_from_seed(seed, DEPTH, each);
            let random = park(name, step, alone, &cast, random);
            let pct = park(name, step, alone, &cast, pct);
            count += random.0 + pct.0;
            parked += random.1 + pct.1;
        }
        if parked == 0 {
            assert!(step > 10 || first > 0, "{name}: parked at {step} steps only");
            let took = started.elapsed().as_secs_f64();
            say(&format!(
                "{name}, parked at {} steps: {count} schedules in {took:.1} s, all went on",
                step - first
            ));
            return;
        }
    }
    panic!("{name}: takes more than {MOST} steps");
}

/// Schedules that were run, and in how many of them the thread was parked.
fn park<C: Fn(&Place) -> Cast + Send + Sync + 'static>(
    name: &str,
    step: usize,
    alone: bool,
    cast: &Arc<C>,
    others: impl Scheduler + 'static,
) -> (usize, usize) {
    let standing = Standing { alone, released: AtomicBool::new(false), at: Mutex::new(None) };
    let place = Place(Arc::new(standing));
    let parked = Arc::new(Mutex::new(0));
    let scheduler = Parking {
        others,
        place: place.clone(),
        step,
        taken: 0,
        stands: false,
        parked: Arc::clone(&parked),
    };
    let (cast, there) = (Arc::clone(cast), place.clone());
    let run = move || {
        let Cast { parked, others, after } = cast(&there);
        let parked = thread::spawn(parked);
        let others: Vec<_> = others.into_iter().map(thread::spawn).collect();
        others.into_iter().for_each(|other| other.join().expect("it went on"));
        there.0.released.store(true, Relaxed);
        parked.join().expect("it went on at last");
        after();
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| Runner::new(scheduler, config()).run(run)));
    let count = outcome.unwrap_or_else(|panic| {
        let functions = place.functions();
        say(&format!("{name}: failed with LOOKBEHIND_STEP={step}, while the thread was in"));
        functions.iter().for_each(|function| say(&format!("    {function}")));
        resume_unwind(panic)
    });
    let parked = *parked.lock().expect("not poisoned");
    (count, parked)
}
