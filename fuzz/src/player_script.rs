//! Players that read, seek and wait, and whoever fetches for them.
//!
//! The bytes of the film are known; each read must give those at its position. What a player may
//! want is derived from its window as statistics show it and from the reads that wait: a piece
//! that is needed is offered, once at a time; a fetch that nobody needs is cancelled, and no
//! other. A read that waits ends with the next poll after its piece was delivered, though it may
//! be evicted by then. The policy is the one that ships; what it is told is compared with what the
//! players did.

mod fetching;
mod told;
mod world;

use lookbehind::{Epoch, Hyaline, Interval, Reclaim};

use crate::input::Input;

/// Plays a film as the input says, under the scheme that it names.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(3) {
        0 => drive::<Interval>(input),
        1 => drive::<Epoch>(input),
        _ => drive::<Hyaline>(input),
    }
}

fn drive<R: Reclaim>(mut input: Input<'_>) {
    let mut world = world::World::<R>::new(&mut input);
    while !input.is_over() {
        world.step(&mut input);
        world.check();
    }
    world.finish();
}
