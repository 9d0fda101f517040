//! A whole cache, driven by one thread that holds whatever it likes for as long as it likes.
//!
//! The model of a film is a map from pieces to what was published last. Which pieces were
//! evicted is learnt from an observer, so that the model is exact whatever the policy picks: what
//! was never evicted must be there. Snapshots and handles must go on saying what they said at
//! first. After each step all invariants are checked by `Cache::validate`.

mod film;
mod holding;
mod ops;
mod views;
mod world;

use lookbehind::{Epoch, Hyaline, Interval};

use crate::input::Input;

/// Steps of one input at most.
const STEPS: usize = 400;

/// Does with a cache what the input says, under the scheme that it names.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(3) {
        0 => drive::<Interval>(input),
        1 => drive::<Epoch>(input),
        _ => drive::<Hyaline>(input),
    }
}

fn drive<R: lookbehind::Reclaim>(mut input: Input<'_>) {
    let mut world = world::World::<R>::new(&mut input);
    for _ in 0..STEPS {
        if input.is_over() {
            break;
        }
        world.step(&mut input);
        world.check(&mut input);
    }
    world.finish(&mut input);
}
